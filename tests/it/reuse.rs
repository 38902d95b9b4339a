//! Connections to upstreams are used again, whatever form their answers have, and wrong ones are
//! not.

use std::collections::BTreeSet;

use crate::support::puppet::{Offer, Puppet};
use crate::support::toml::{upstream, url};
use crate::support::{Era, Gateway, Http, listed, metric};

/// A server that answers the tools in the form that their names say.
fn server(era: Era) -> Puppet {
    let offer = Offer::new("u", era).tools(&["json", "stream", "late", "chunks", "error"]);
    Puppet::start(offer, move |seen, wire| {
        let answer = seen.result(&serde_json::json!({"resultType": "complete", "content": []}));
        match (seen.method(), seen.param("name")) {
            ("tools/call", "stream") => {
                wire.stream();
                wire.event(&answer);
                wire.end();
            }
            // The end of the stream comes in a packet of its own.
            ("tools/call", "late") => {
                wire.stream();
                wire.event(&answer);
                wire.piece(b": one more\n\n");
                wire.end();
            }
            ("tools/call", "chunks") => {
                wire.chunked("application/json");
                wire.piece(answer.to_string().as_bytes());
                wire.end();
            }
            ("tools/call", "error") => {
                let text = seen.error(-32602, "no").to_string();
                wire.whole(400, &["Content-Type: application/json"], &text);
            }
            _ => return false,
        }
        true
    })
}

/// How many connections carried so many calls.
fn connections(server: &Puppet) -> (usize, usize) {
    let calls = server.requests("tools/call");
    let distinct: BTreeSet<usize> = calls.iter().map(|seen| seen.connection).collect();
    (distinct.len(), calls.len())
}

#[test]
fn calls_one_after_the_other_use_one_connection_in_a_hundred_or_less() {
    for era in [Era::Modern, Era::Legacy] {
        for tool in ["json", "stream", "late", "chunks"] {
            let server = server(era);
            let gateway = Gateway::start(&upstream("u", "", &[url(&server.url)]));
            listed(&gateway, "u__json");
            for _ in 0..1_000 {
                let reply = Http::modern_call(&gateway.url(), &format!("u__{tool}"), "{}");
                assert_eq!(reply.verdict(), (200, 0), "{reply:?}");
            }
            let (used, calls) = connections(&server);
            assert_eq!(calls, 1_000);
            assert!(used * 100 <= calls, "{era:?} {tool}: {used} connections for {calls} calls");
        }
    }
}

#[test]
fn calls_side_by_side_use_one_connection_in_a_hundred_or_less() {
    let server = server(Era::Modern);
    let gateway = Gateway::start(&upstream("u", "", &[url(&server.url)]));
    listed(&gateway, "u__json");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for n in 0..200 {
                    let tool = if n % 2 == 0 { "u__json" } else { "u__late" };
                    let reply = Http::modern_call(&gateway.url(), tool, "{}");
                    assert_eq!(reply.verdict(), (200, 0), "{reply:?}");
                }
            });
        }
    });
    let (used, calls) = connections(&server);
    assert_eq!(calls, 1_600);
    assert!(used * 100 <= calls, "{used} connections for {calls} calls");
    let inflight = r#"mcp_upstream_inflight{upstream="u",replica="0"}"#;
    assert!(metric(&gateway, inflight).abs() < 0.5);
}

#[test]
fn an_error_of_the_upstream_does_not_cost_a_connection() {
    let server = server(Era::Modern);
    let gateway = Gateway::start(&upstream("u", "", &[url(&server.url)]));
    listed(&gateway, "u__json");
    for _ in 0..800 {
        let reply = Http::modern_call(&gateway.url(), "u__error", "{}");
        assert_eq!(reply.verdict(), (200, -32602), "{reply:?}");
    }
    let (used, calls) = connections(&server);
    assert_eq!(calls, 800);
    // The gateway looks after the server beside the calls, on connections of its own.
    assert!(used * 100 <= calls, "{used} connections for {calls} calls");
}
