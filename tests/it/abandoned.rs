//! Legacy clients that come and never say goodbye: real ones seldom do.

use crate::support::kept::Kept;
use crate::support::procfs::{descriptors, resident_kib, threads};
use crate::support::puppet::{Offer, Puppet};
use crate::support::toml::{upstream, url};
use crate::support::{Era, Gateway, Http, eventually, listed, metric};

/// Sessions in all, from so many connections.
const SESSIONS: usize = 10_000;
const CONNECTIONS: usize = 4;
/// What a session may cost: 4 KiB, and something for what is not theirs.
const MEMORY_GROWTH_KIB: u64 = 64 * 1024;

/// Connections to the upstream that were opened side by side at the start wait to be used again.
const UPSTREAM_IDLE: usize = 16;

/// What clients declare: each kind has an upstream session of its own, and no more.
const ABILITIES: [&str; 3] = ["{}", r#"{"sampling":{}}"#, r#"{"elicitation":{},"roots":{}}"#];

const SERIES: &str = r#"mcp_sessions{era="legacy"}"#;

fn hello(abilities: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"2025-11-25","capabilities":{abilities},"clientInfo":{{"name":"raw","version":"1"}}}}}}"#
    )
}

/// Opens sessions with these abilities in turn; the last one's id.
fn open(gateway: &Gateway, count: usize, abilities: &[&str]) -> String {
    let mut client = Kept::to(gateway);
    let mut last = None;
    for n in 0..count {
        let reply = client.post(&[], &hello(abilities[n % abilities.len()]));
        assert_eq!(reply.status, 200, "{reply:?}");
        last = reply.header("mcp-session-id").map(str::to_owned);
        assert!(last.is_some(), "{reply:?}");
    }
    last.unwrap()
}

#[test]
fn ten_thousand_abandoned_sessions_hold_no_session_no_socket_and_little_memory() {
    let server = Puppet::offers(Offer::new("u", Era::Legacy).tools(&["t"]));
    let gateway = Gateway::start(&upstream("u", "", &[url(&server.url)]));
    listed(&gateway, "u__t");
    let greeted = || server.requests("initialize").len();
    // One of each kind first: what they cost is not the sessions' cost.
    open(&gateway, ABILITIES.len(), &ABILITIES);
    eventually("an upstream session for each kind", || {
        (greeted() == ABILITIES.len()).then_some(())
    });
    eventually("their streams", || (server.standing() == ABILITIES.len()).then_some(()));
    let pid = gateway.pid();
    let before = (resident_kib(pid), descriptors(pid), threads(pid));

    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| open(&gateway, SESSIONS / CONNECTIONS, &ABILITIES));
        }
    });
    let sessions = (SESSIONS + ABILITIES.len()).to_string();
    assert_eq!(metric(&gateway, SERIES).to_string(), sessions);
    assert_eq!(greeted(), ABILITIES.len(), "no client has an upstream session of its own");
    // A stream may be given up and opened again while it is being opened.
    eventually("no other stream", || (server.standing() == ABILITIES.len()).then_some(()));
    let opened = server.verbs("GET").len();
    assert!(opened <= 3 * ABILITIES.len(), "{opened} streams");
    let grown = resident_kib(pid).saturating_sub(before.0);
    assert!(grown < MEMORY_GROWTH_KIB, "{SESSIONS} sessions cost {grown} KiB");
    eventually("the connections of the clients to be gone", || {
        (descriptors(pid) <= before.1 + UPSTREAM_IDLE).then_some(())
    });
    assert_eq!(threads(pid), before.2);

    // It works on for the next one, and for an abandoned one that comes back.
    let back = open(&gateway, 1, &ABILITIES);
    let reply = Http::legacy_call(&gateway.url(), &back, "u__t", "{}");
    assert_eq!(reply.answer()["result"]["content"][0]["text"], "u:t");
}

#[test]
fn the_end_of_a_session_is_not_the_end_of_the_upstreams_session_that_others_use() {
    let server = Puppet::offers(Offer::new("u", Era::Legacy).tools(&["t"]));
    let gateway = Gateway::start(&upstream("u", "", &[url(&server.url)]));
    listed(&gateway, "u__t");
    let (one, other) = (open(&gateway, 1, &ABILITIES), open(&gateway, 1, &ABILITIES));
    for session in [&one, &other] {
        assert_eq!(Http::legacy_call(&gateway.url(), session, "u__t", "{}").verdict(), (200, 0));
    }
    let gone = Http::send("DELETE", &gateway.url(), &[("Mcp-Session-Id", &one)], "");
    assert!((200..300).contains(&gone.status), "{gone:?}");
    assert_eq!(Http::legacy_call(&gateway.url(), &one, "u__t", "{}").status, 404);
    assert_eq!(Http::legacy_call(&gateway.url(), &other, "u__t", "{}").verdict(), (200, 0));
    assert!(server.verbs("DELETE").is_empty());
    let sessions: std::collections::BTreeSet<String> = server
        .requests("tools/call")
        .iter()
        .map(|seen| seen.header("mcp-session-id").unwrap().to_owned())
        .collect();
    assert_eq!(sessions.len(), 1, "one upstream session for both: {sessions:?}");
    assert_eq!(server.requests("initialize").len(), 1);
}

#[test]
fn every_verb_asks_for_the_session_and_knows_when_there_is_none() {
    let gateway = Gateway::start(&crate::support::upstream::config(""));
    let url = gateway.url();
    let stream = ("Accept", "text/event-stream");
    let unknown = ("Mcp-Session-Id", "nobody");
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}"#;
    let note = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    let answer = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    for body in [call, note, answer] {
        assert_eq!(Http::post(&url, &[], body).status, 400, "{body}");
        assert_eq!(Http::post(&url, &[unknown], body).status, 404, "{body}");
    }
    assert_eq!(Http::send("GET", &url, &[stream], "").status, 400);
    assert_eq!(Http::send("GET", &url, &[stream, unknown], "").status, 404);
    assert_eq!(Http::send("DELETE", &url, &[], "").status, 400);
    assert_eq!(Http::send("DELETE", &url, &[unknown], "").status, 404);
    for odd in ["", " ", "a b", "\u{e9}", &"x".repeat(4_000)] {
        let status = Http::post(&url, &[("Mcp-Session-Id", odd)], call).status;
        assert!(status == 404 || status == 400, "{odd:?}: {status}");
    }
}
