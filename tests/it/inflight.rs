//! What happens while a call runs: progress on its way to the client who asked for it, and calls
//! that are given up (2025-11-25 and 2026-07-28, basic/utilities).

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use waypost::base::clock;

use crate::support::upstream::{Fake, Upstream, gateway, gateway_to, pipe_to};
use crate::support::{Http, MODERN_META, PATIENCE, eventually};

/// A `_meta` with a progress token, whose text is given.
fn meta(token: &str, modern: bool) -> String {
    if modern {
        MODERN_META.replacen("\"_meta\":{", &format!("\"_meta\":{{\"progressToken\":{token},"), 1)
    } else {
        format!(r#""_meta":{{"progressToken":{token}}}"#)
    }
}

/// Params of a call of `progress`.
fn steps(token: &str, modern: bool) -> String {
    let meta = meta(token, modern);
    format!(r#""name":"u__progress","arguments":{{"steps":3,"delay_ms":20}},{meta}"#)
}

fn body(id: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{{params}}}}}"#)
}

const MODERN: [(&str, &str); 3] = [
    ("MCP-Protocol-Version", "2026-07-28"),
    ("Mcp-Method", "tools/call"),
    ("Mcp-Name", "u__progress"),
];

/// Three steps in order, each with this token and no other, then the answer.
#[track_caller]
fn told(messages: &[Value], token: &Value, what: &str) {
    let (answer, notes) = messages.split_last().unwrap();
    assert_eq!(answer["result"]["structuredContent"]["steps"], 3, "{what}: {messages:?}");
    let seen: Vec<(&Value, &Value)> = notes
        .iter()
        .map(|note| (&note["params"]["progressToken"], &note["params"]["progress"]))
        .collect();
    assert_eq!(seen, [(token, &json!(1)), (token, &json!(2)), (token, &json!(3))], "{what}");
}

#[test]
fn progress_reaches_the_client_who_asked_under_its_own_token_with_its_type() {
    for (kind, upstream) in Upstream::every_kind() {
        let gateway = gateway_to(&upstream);
        let url = gateway.url();
        let session = Http::legacy_session(&url, "2025-06-18");
        let session = [("Mcp-Session-Id", session.as_str())];
        std::thread::scope(|scope| {
            for (token, modern) in [("1", true), ("\"1\"", true), ("1", false), ("\"1\"", false)] {
                let (url, session) = (&url, &session);
                scope.spawn(move || {
                    let headers: &[_] = if modern { &MODERN } else { session };
                    for _ in 0..5 {
                        let reply = Http::post(url, headers, &body("1", &steps(token, modern)));
                        assert_eq!(reply.header("content-type"), Some("text/event-stream"));
                        assert_eq!(reply.header("x-accel-buffering"), Some("no"));
                        let token = serde_json::from_str(token).unwrap();
                        told(&reply.messages(), &token, kind);
                    }
                });
            }
        });
    }
}

#[test]
fn progress_comes_while_the_call_runs_and_not_after_it() {
    let upstream = Upstream::pipe(&[]);
    let gateway = gateway_to(&upstream);
    let params = |steps: u32| {
        let (name, meta) = (r#""name":"u__progress""#, meta("5", true));
        format!(r#"{name},"arguments":{{"steps":{steps},"delay_ms":100}},{meta}"#)
    };
    // This one takes a quarter of an hour: its first step is here long before its end.
    let mut open = Http::open(&gateway.url(), &MODERN, &body("1", &params(9000)));
    assert_eq!(open.message().unwrap()["params"]["progress"], 1);
    drop(open);
    let mut open = Http::open(&gateway.url(), &MODERN, &body("1", &params(2)));
    let first = open.message().unwrap();
    assert_eq!((open.status(), &first["params"]["progress"]), (200, &json!(1)));
    assert_eq!(open.header("content-type").unwrap(), "text/event-stream");
    assert_eq!(open.message().unwrap()["params"]["progress"], 2);
    assert_eq!(open.message().unwrap()["result"]["resultType"], "complete");
    assert_eq!(open.message(), None, "the answer ends the stream");
}

#[test]
fn a_call_without_a_token_has_none_at_the_upstream_and_gets_one_document() {
    for (kind, upstream) in Upstream::every_kind() {
        let gateway = gateway_to(&upstream);
        let reply = Http::modern_call(&gateway.url(), "u__progress", r#"{"steps":3}"#);
        assert_eq!(reply.header("content-type"), Some("application/json"), "{kind}");
        assert!(!upstream.only_call().body.contains("progressToken"), "{kind}");
    }
}

#[test]
fn progress_passes_the_pipe_under_the_clients_tokens() {
    for (kind, upstream) in Upstream::every_kind() {
        let mut pipe = pipe_to(&upstream);
        pipe.handshake("2025-11-25");
        let calls =
            [("10", "1", true), ("11", "\"1\"", true), ("12", "2", false), ("13", "\"2\"", false)];
        for (id, token, modern) in calls {
            pipe.send(&body(id, &steps(token, modern)));
        }
        let mut all = Vec::new();
        while all.iter().filter(|message: &&Value| message.get("id").is_some()).count() < 4 {
            all.push(pipe.next());
        }
        for (id, token, _) in calls {
            let (id, token): (Value, Value) =
                (serde_json::from_str(id).unwrap(), serde_json::from_str(token).unwrap());
            let mine = |message: &&Value| {
                message["id"] == id || message["params"]["progressToken"] == token
            };
            let mine: Vec<Value> = all.iter().filter(mine).cloned().collect();
            told(&mine, &token, kind);
        }
    }
}

// === calls that are given up ===

const LONG: &str = r#""name":"u__sleep","arguments":{"ms":600000}"#;

/// Waits until so many calls are at the upstream, and answers the id that the first has there.
fn arrived(upstream: &Upstream, calls: usize) -> Value {
    eventually("the call to arrive", || {
        let got = upstream.of("tools/call");
        (got.len() == calls).then(|| got[0].json()["id"].clone())
    })
}

/// Waits for the cancellation of this call at the upstream.
fn cancelled(upstream: &Upstream, id: &Value) {
    let note = eventually("the cancellation", || {
        upstream.of("notifications/cancelled").into_iter().next()
    });
    assert_eq!(&note.json()["params"]["requestId"], id, "{note:?}");
}

/// How many calls run at the only replica.
fn running(gateway: &crate::support::Gateway) -> String {
    let metrics = Http::send("GET", &format!("{}/metrics", gateway.base), &[], "").body;
    let line = metrics.lines().find(|line| line.starts_with("mcp_upstream_inflight{"));
    line.and_then(|line| line.rsplit(' ').next()).unwrap_or_default().to_owned()
}

fn long_headers() -> [(&'static str, &'static str); 3] {
    [MODERN[0], MODERN[1], ("Mcp-Name", "u__sleep")]
}

#[test]
fn a_modern_client_that_hangs_up_cancels_its_call() {
    for (kind, upstream) in Upstream::every_kind() {
        let gateway = gateway_to(&upstream);
        let params = format!("{LONG},{MODERN_META}");
        let open = Http::open(&gateway.url(), &long_headers(), &body("1", &params));
        let id = arrived(&upstream, 1);
        drop(open);
        if kind == "modern, URL" {
            // Closing the connection is the whole message: see the next test.
            eventually("the call to end", || (running(&gateway) == "0").then_some(()));
        } else {
            cancelled(&upstream, &id);
        }
        assert_eq!(Http::modern_call(&gateway.url(), "u__whoami", "{}").verdict(), (200, 0));
    }
}

/// The bound is that of the design. The best of some counts: a machine may have much else to do.
#[test]
fn the_end_of_a_modern_client_reaches_the_upstream_within_a_tenth_of_a_second() {
    for (kind, upstream) in Upstream::every_kind() {
        let gateway = gateway_to(&upstream);
        let params = format!("{LONG},{MODERN_META}");
        let times: Vec<Duration> = (1..=5)
            .map(|nth| {
                let open = Http::open(&gateway.url(), &long_headers(), &body("1", &params));
                arrived(&upstream, nth);
                let began = clock::now();
                drop(open);
                eventually("its end there", || {
                    let over = match kind {
                        "modern, URL" => running(&gateway) == "0",
                        _ => upstream.of("notifications/cancelled").len() == nth,
                    };
                    over.then_some(())
                });
                began.elapsed()
            })
            .collect();
        eprintln!("{kind}: {times:?}");
        assert!(times.iter().min().unwrap() < &Duration::from_millis(100), "{kind}: {times:?}");
    }
}

#[test]
fn a_long_call_shows_its_client_that_it_lives() {
    let gateway = gateway_to(&Upstream::pipe(&[]));
    let url = gateway.url();
    let slow = r#""name":"u__sleep","arguments":{"ms":27000}"#;
    let (url, session) = (&url, &Http::legacy_session(&url, "2025-11-25"));
    let old = &Http::legacy_session(url, "2025-06-18");
    let legacy = |session: &str| Http::post(url, &[("Mcp-Session-Id", session)], &body("1", slow));
    std::thread::scope(|scope| {
        let modern = scope.spawn(|| {
            let body = body("1", &format!("{slow},{MODERN_META}"));
            Http::post(url, &long_headers(), &body)
        });
        let (newest, older) = (scope.spawn(|| legacy(session)), scope.spawn(|| legacy(old)));
        for (what, reply) in [("modern", modern), ("2025-11-25", newest), ("2025-06-18", older)] {
            let reply = reply.join().unwrap();
            assert_eq!(
                reply.header("content-type"),
                Some("text/event-stream"),
                "{what}: {reply:?}"
            );
            assert_eq!(reply.header("x-accel-buffering"), Some("no"), "{what}");
            assert!(reply.body.lines().any(|line| line.starts_with(':')), "{what}: {reply:?}");
            // Only a client of 2025-11-25 is told by an event without data where it can come back.
            let primed = reply.body.lines().any(|line| line.trim_end() == "data:");
            assert_eq!(primed, what == "2025-11-25", "{what}: {reply:?}");
            assert_eq!(reply.last_event().is_some(), what != "modern", "{what}: {reply:?}");
            assert!(reply.answer()["result"].is_object(), "{what}: {reply:?}");
        }
    });
}

#[test]
fn a_modern_client_that_hangs_up_closes_the_connection_to_a_modern_upstream() {
    let fake = Fake::start(None);
    let gateway = gateway(&fake.replica("u"));
    let params = format!(r#""name":"u__t","arguments":{{}},{MODERN_META}"#);
    let headers = [MODERN[0], MODERN[1], ("Mcp-Name", "u__t")];
    let open = Http::open(&gateway.url(), &headers, &body("1", &params));
    assert_eq!(fake.events.recv_timeout(PATIENCE), Ok("called"));
    drop(open);
    assert_eq!(fake.events.recv_timeout(PATIENCE), Ok("closed"));
}

#[test]
fn a_modern_client_that_hangs_up_in_mid_stream_cancels_its_call() {
    let upstream = Upstream::pipe(&[]);
    let gateway = gateway_to(&upstream);
    let params = format!(
        r#""name":"u__progress","arguments":{{"steps":9000,"delay_ms":50}},{}"#,
        meta("1", true)
    );
    let mut open = Http::open(&gateway.url(), &MODERN, &body("1", &params));
    assert!(open.message().is_some());
    drop(open);
    cancelled(&upstream, &arrived(&upstream, 1));
}

#[test]
fn a_legacy_client_that_hangs_up_has_not_cancelled() {
    for args in [["--era", "modern"], ["--era", "legacy"]] {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("journal.jsonl");
        let journal_text = journal.display().to_string();
        let more = ["--delay", "400", "--journal", &journal_text];
        for upstream in [
            Upstream::url(&[&args[..], &more].concat()),
            Upstream::pipe(&[&args[..], &more].concat()),
        ] {
            let gateway = gateway_to(&upstream);
            let session = Http::legacy_session(&gateway.url(), "2025-11-25");
            let params = r#""name":"u__append","arguments":{"line":"kept"}"#;
            let headers = [("Mcp-Session-Id", session.as_str())];
            let open = Http::open(&gateway.url(), &headers, &body("1", params));
            arrived(&upstream, 1);
            drop(open);
            eventually("the call to run to its end", || {
                std::fs::read_to_string(&journal).ok().filter(|text| text.contains("kept"))
            });
            std::fs::remove_file(&journal).unwrap();
            assert!(upstream.of("notifications/cancelled").is_empty());
        }
    }
}

fn cancel(id: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id},"reason":"enough"}}}}"#
    )
}

#[test]
fn a_legacy_client_cancels_by_a_notification_and_gets_no_answer() {
    for (kind, upstream) in Upstream::every_kind() {
        let gateway = gateway_to(&upstream);
        let url = gateway.url();
        let session = Http::legacy_session(&url, "2025-11-25");
        let other = Http::legacy_session(&url, "2025-11-25");
        let headers = [("Mcp-Session-Id", session.as_str())];
        let mut open = Http::open(&url, &headers, &body("7", LONG));
        let id = arrived(&upstream, 1);
        // Another session's id, an unknown id, an id of another type: ignored.
        for (session, id) in [(&other, "7"), (&session, "8"), (&session, "\"7\""), (&session, "{}")]
        {
            let reply = Http::post(&url, &[("Mcp-Session-Id", session)], &cancel(id));
            assert_eq!((reply.status, reply.body.as_str()), (202, ""), "{kind}");
        }
        let nameless = r#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#;
        assert_eq!(Http::post(&url, &headers, nameless).status, 202);
        assert_eq!(running(&gateway), "1", "{kind}");
        assert_eq!(Http::post(&url, &headers, &cancel("7")).status, 202);
        assert_eq!(open.message(), None, "{kind}: no answer after a cancel");
        if kind == "modern, URL" {
            eventually("the call to end", || (running(&gateway) == "0").then_some(()));
        } else {
            cancelled(&upstream, &id);
        }
        assert_eq!(
            upstream.of("notifications/cancelled").len(),
            usize::from(kind != "modern, URL")
        );
        // A finished id is ignored too.
        assert_eq!(Http::post(&url, &headers, &cancel("7")).status, 202);
        assert_eq!(Http::legacy_call(&url, &session, "u__whoami", "{}").verdict(), (200, 0));
    }
}

#[test]
fn a_client_on_the_pipe_cancels_by_a_notification_in_both_eras() {
    for (kind, upstream) in Upstream::every_kind() {
        let mut pipe = pipe_to(&upstream);
        pipe.handshake("2025-11-25");
        pipe.send(&body("7", LONG));
        pipe.send(&body("\"7\"", &format!("{LONG},{MODERN_META}")));
        arrived(&upstream, 2);
        pipe.send(&cancel("8"));
        pipe.send(&cancel("7"));
        pipe.send(&cancel("\"7\""));
        if kind != "modern, URL" {
            eventually("both cancellations", || {
                (upstream.of("notifications/cancelled").len() == 2).then_some(())
            });
        }
        // Were there an answer to one of them, it would come before this.
        pipe.send(&body("9", r#""name":"u__whoami","arguments":{}"#));
        assert_eq!(pipe.next()["id"], 9, "{kind}");
        let (code, rest) = pipe.close();
        assert_eq!((code, rest), (0, vec![]), "{kind}");
    }
}

#[test]
fn a_call_that_began_before_a_handshake_can_be_cancelled_after_it() {
    let upstream = Upstream::pipe(&[]);
    let mut pipe = pipe_to(&upstream);
    pipe.send(&body("7", &format!("{LONG},{MODERN_META}")));
    let id = arrived(&upstream, 1);
    pipe.handshake("2025-11-25");
    pipe.send(&cancel("7"));
    cancelled(&upstream, &id);
}

#[test]
fn a_client_that_hangs_up_before_its_body_is_whole_starts_nothing() {
    let upstream = Upstream::pipe(&[]);
    let gateway = gateway_to(&upstream);
    let text = body("1", &format!("{LONG},{MODERN_META}"));
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: */*\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: u__sleep\r\nContent-Length: {}\r\n\r\n",
        text.len()
    );
    let mut socket = TcpStream::connect(gateway.addr()).unwrap();
    socket.write_all(head.as_bytes()).unwrap();
    socket.write_all(&text.as_bytes()[..text.len() - 1]).unwrap();
    drop(socket);
    let half = Http::raw(
        gateway.addr(),
        format!(
            "{}{text}",
            head.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
                .replace(&format!("Length: {}", text.len()), "Length: 20")
        )
        .as_bytes(),
    );
    assert_eq!(half.verdict(), (400, -32700), "{half:?}");
    assert!(upstream.by_clients().is_empty());
}

/// How long a slow client is left alone, in the one test that must wait for something not to come.
const A_MOMENT: Duration = Duration::from_millis(300);

#[test]
fn a_cancelled_stream_stays_silent() {
    let upstream = Upstream::pipe(&[]);
    let gateway = gateway_to(&upstream);
    let url = gateway.url();
    let session = Http::legacy_session(&url, "2025-11-25");
    let headers = [("Mcp-Session-Id", session.as_str())];
    let params = format!(
        r#""name":"u__progress","arguments":{{"steps":9000,"delay_ms":20}},{}"#,
        meta("1", false)
    );
    let mut open = Http::open(&url, &headers, &body("7", &params));
    assert_eq!(open.message().unwrap()["params"]["progress"], 1);
    assert_eq!(Http::post(&url, &headers, &cancel("7")).status, 202);
    while let Some(message) = open.message_within(A_MOMENT) {
        assert!(message.get("id").is_none(), "no answer after a cancel: {message}");
    }
    cancelled(&upstream, &arrived(&upstream, 1));
}
