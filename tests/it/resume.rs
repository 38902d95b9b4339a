//! A legacy server that closes a call's stream before the answer is asked to go on where it ended,
//! and the call is never sent twice (2025-11-25, transports, "Resumability and Redelivery").

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};
use waypost::base::clock;

use crate::support::puppet::{Offer, Puppet, Seen, Wire};
use crate::support::toml::{named, upstream, url};
use crate::support::{Era, Gateway, Http, Reply, listed, own_error};

/// A legacy server with one tool; `play` gets its calls and every GET that goes on with a stream.
fn server(who: &'static str, play: impl Fn(&Seen, &mut Wire) + Send + Sync + 'static) -> Puppet {
    Puppet::start(Offer::new(who, Era::Legacy).tools(&["t"]), move |seen, wire| {
        let ours = seen.method() == "tools/call" || seen.header("last-event-id").is_some();
        if ours {
            play(seen, wire);
        }
        ours
    })
}

fn gateway(servers: &[&Puppet]) -> Gateway {
    let name = |server: &&Puppet| named(&format!("r{}", server.port), &url(&server.url));
    let replicas: Vec<String> = servers.iter().map(name).collect();
    let gateway = Gateway::start(&upstream("u", "timeout = \"20s\"", &replicas));
    listed(&gateway, "u__t");
    for server in servers {
        crate::support::eventually("every replica", || {
            (!server.requests("tools/list").is_empty()).then_some(())
        });
    }
    crate::support::replicas_up(&gateway, "u", servers.len());
    gateway
}

/// A call that wants progress.
fn call(gateway: &Gateway, era: Era) -> Reply {
    let url = gateway.url();
    match era {
        Era::Legacy => {
            let session = Http::legacy_session(&url, "2025-11-25");
            let params = r#"{"name":"u__t","arguments":{},"_meta":{"progressToken":"p"}}"#;
            let mut reply = Http::legacy(&url, &session, "1", "tools/call", params);
            // The gateway ends its own stream with that of the server.
            while reply.messages().iter().all(|message| message.get("id").is_none()) {
                let mut back = Http::come_back(&url, &session, &reply.last_event().unwrap());
                while let Some(event) = back.event() {
                    reply.body.extend([event.as_str(), "\n\n"]);
                }
            }
            reply
        }
        Era::Modern => {
            let (headers, body) = Http::modern_parts(
                "1",
                "tools/call",
                Some("u__t"),
                r#""name":"u__t","arguments":{}"#,
            );
            let body = body.replace(r#""_meta":{"#, r#""_meta":{"progressToken":"p","#);
            Http::post(&url, &headers, &body)
        }
    }
}

fn resumptions(server: &Puppet) -> Vec<Seen> {
    let all = server.verbs("GET");
    all.into_iter().filter(|seen| seen.header("last-event-id").is_some()).collect()
}

fn done(of: &Value) -> String {
    let result = json!({"content": [{"type": "text", "text": "at last"}]});
    format!("id: end\ndata: {}\n\n", json!({"jsonrpc": "2.0", "id": of, "result": result}))
}

/// The call that is running at a server: its request and when its stream was closed.
type Running = Arc<Mutex<Option<(Seen, Instant)>>>;

/// Primes the stream of a call, reports progress once, and closes; answers when it is taken up.
fn closes_once(who: &'static str) -> Puppet {
    let running = Running::default();
    server(who, move |seen, wire| {
        wire.stream();
        if seen.verb == "POST" {
            wire.piece(b"id: e-1\nretry: 200\ndata: \n\n");
            let note = seen.progress(1, "before");
            wire.piece(format!("id: e-2\ndata: {note}\n\n").as_bytes());
            *running.lock() = Some((seen.clone(), clock::now()));
            wire.end();
            return;
        }
        let (of, closed) = running.lock().clone().unwrap();
        let waited = seen.at.saturating_duration_since(closed);
        let note = of.progress(2, &format!("{}", waited.as_millis()));
        wire.piece(format!("id: e-3\ndata: {note}\n\n").as_bytes());
        wire.piece(done(&of.body["id"]).as_bytes());
        wire.end();
    })
}

#[test]
fn a_stream_that_its_server_closes_goes_on_at_the_same_replica_and_session_after_the_wait() {
    for era in [Era::Legacy, Era::Modern] {
        let (a, b) = (closes_once("a"), closes_once("b"));
        let gateway = gateway(&[&a, &b]);
        let reply = call(&gateway, era);
        let messages = reply.messages();
        assert_eq!(messages.len(), 3, "{era:?}: {reply:?}");
        assert_eq!(messages[0]["params"]["message"], "before");
        assert_eq!(messages[1]["params"]["progress"], 2);
        let waited: u64 = messages[1]["params"]["message"].as_str().unwrap().parse().unwrap();
        assert!(waited >= 195, "asked again after {waited} ms, not 200");
        assert_eq!(messages[2]["result"]["content"][0]["text"], "at last", "{reply:?}");

        let (ran, idle) = if a.requests("tools/call").is_empty() { (&b, &a) } else { (&a, &b) };
        let posts = ran.requests("tools/call");
        assert_eq!((posts.len(), idle.requests("tools/call").len()), (1, 0), "sent once");
        let taken_up = resumptions(ran);
        assert_eq!((taken_up.len(), resumptions(idle).len()), (1, 0));
        assert_eq!(taken_up[0].header("last-event-id"), Some("e-2"));
        assert_eq!(taken_up[0].header("mcp-session-id"), posts[0].header("mcp-session-id"));
        assert_eq!(taken_up[0].header("mcp-protocol-version"), Some("2025-11-25"));
        assert_eq!(taken_up[0].header("accept"), Some("text/event-stream"));
    }
}

#[test]
fn a_stream_is_taken_up_as_often_as_it_is_closed_each_time_after_its_last_event() {
    let (running, count) = (Running::default(), AtomicU32::new(0));
    let u = server("u", move |seen, wire| {
        wire.stream();
        if seen.verb == "POST" {
            *running.lock() = Some((seen.clone(), clock::now()));
        }
        let n = count.fetch_add(1, Ordering::SeqCst);
        if n < 4 {
            wire.piece(format!("id: {n}\nretry: 1\ndata:\n\n").as_bytes());
        } else {
            let of = running.lock().clone().unwrap().0;
            wire.piece(done(&of.body["id"]).as_bytes());
        }
        // Every other time without the last chunk, as a connection that breaks.
        if n % 2 == 0 {
            wire.end();
        } else {
            wire.hang_up();
        }
    });
    let gateway = gateway(&[&u]);
    let reply = call(&gateway, Era::Modern);
    assert_eq!(reply.answer()["result"]["content"][0]["text"], "at last", "{reply:?}");
    let last: Vec<String> = resumptions(&u)
        .iter()
        .map(|seen| seen.header("last-event-id").unwrap().to_owned())
        .collect();
    assert_eq!(last, ["0", "1", "2", "3"]);
    assert_eq!(u.requests("tools/call").len(), 1);
}

/// A server that logs on its standing stream while a call runs; `play` gets its calls and every GET
/// that goes on with a stream, and answers whether the call is over.
fn logs_meanwhile(play: impl Fn(&Seen, &mut Wire) -> bool + Send + Sync + 'static) -> Puppet {
    let mut offer = Offer::new("u", Era::Legacy).tools(&["t"]);
    offer.capabilities["logging"] = json!({});
    let busy = AtomicBool::new(false);
    Puppet::start(offer, move |seen, wire| {
        let resumes = seen.header("last-event-id").is_some();
        match (seen.verb.as_str(), seen.method()) {
            ("POST", "logging/setLevel") => {
                wire.json(&seen.result(&json!({})));
            }
            ("GET", _) if !resumes => {
                let params = json!({"level": "info", "data": "meanwhile"});
                let log =
                    json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params});
                wire.stream();
                while if busy.load(Ordering::SeqCst) {
                    wire.event(&log)
                } else {
                    wire.piece(b":\n\n")
                } {
                    std::thread::sleep(Duration::from_micros(500));
                }
            }
            ("POST", "tools/call") | ("GET", _) => {
                busy.store(true, Ordering::SeqCst);
                if play(seen, wire) {
                    busy.store(false, Ordering::SeqCst);
                }
            }
            _ => return false,
        }
        true
    })
}

/// Calls it again and again as a client that takes log messages: each call is answered, sent once,
/// and messages came in the middle of them.
fn each_is_answered(u: &Puppet) {
    let gateway = gateway(&[u]);
    let (headers, body) =
        Http::modern_parts("1", "tools/call", Some("u__t"), r#""name":"u__t","arguments":{}"#);
    let level = r#""_meta":{"io.modelcontextprotocol/logLevel":"debug","#;
    let body = body.replace(r#""_meta":{"#, level);
    let mut logs = 0;
    for n in 1..=25 {
        let reply = Http::post(&gateway.url(), &headers, &body);
        assert_eq!(reply.answer()["result"]["content"][0]["text"], "at last", "{n}: {reply:?}");
        logs += reply.messages().len() - 1;
        assert_eq!(u.requests("tools/call").len(), n, "sent once");
    }
    assert!(logs > 25, "only {logs} log messages came in the middle of calls");
}

#[test]
fn a_log_message_in_the_moment_a_stream_is_taken_up_costs_the_call_nothing() {
    let (running, count) = (Running::default(), AtomicU32::new(0));
    let u = logs_meanwhile(move |seen, wire| {
        wire.stream();
        if seen.verb == "POST" {
            *running.lock() = Some((seen.clone(), clock::now()));
            count.store(0, Ordering::SeqCst);
        }
        let n = count.fetch_add(1, Ordering::SeqCst);
        let over = n == 12;
        if over {
            let of = running.lock().clone().unwrap().0;
            wire.piece(done(&of.body["id"]).as_bytes());
        } else {
            wire.piece(format!("id: {n}\nretry: 1\ndata:\n\n").as_bytes());
        }
        wire.end();
        over
    });
    each_is_answered(&u);
}

#[test]
fn a_log_message_while_a_document_comes_in_costs_the_call_nothing() {
    let u = logs_meanwhile(|seen, wire| {
        let answer = seen.result(&json!({"content": [{"type": "text", "text": "at last"}]}));
        let text = answer.to_string();
        wire.chunked("application/json");
        for piece in text.as_bytes().chunks(16) {
            std::thread::sleep(Duration::from_millis(2));
            wire.piece(piece);
        }
        wire.end()
    });
    each_is_answered(&u);
}

#[test]
fn a_stream_that_never_gets_on_is_given_up_after_a_bounded_number_of_times() {
    let u = server("u", |_, wire| {
        wire.stream();
        wire.piece(b"id: same\nretry: 1\ndata:\n\n");
        wire.end();
    });
    let gateway = gateway(&[&u]);
    let answer = call(&gateway, Era::Modern).answer();
    assert_eq!((own_error(&answer).0, own_error(&answer).2.as_str()), (-31003, "unknown"));
    assert!(resumptions(&u).len() <= 16, "{}", resumptions(&u).len());
    assert_eq!(u.requests("tools/call").len(), 1, "never sent again");
}

/// The call failed with the truth: nobody knows whether it ran, and it was sent once.
fn unknown(reply: &Reply, servers: &[&Puppet], what: &str) {
    let answer = reply.answer();
    let (code, kind, delivery, retryable, _) = own_error(&answer);
    let got = (code, kind.as_str(), delivery.as_str(), retryable);
    assert_eq!(got, (-31003, "delivery_unknown", "unknown", false), "{what}: {answer}");
    let calls: usize = servers.iter().map(|server| server.requests("tools/call").len()).sum();
    assert_eq!(calls, 1, "{what}: never sent again");
}

#[test]
fn without_an_event_id_a_closed_stream_is_an_unknown_outcome_and_nothing_is_sent_again() {
    let cut = |wire: &mut Wire, broken: bool| {
        if broken {
            wire.hang_up();
        } else {
            wire.end();
        }
    };
    for (what, first, broken) in [
        ("a stream without anything", "", false),
        ("a broken connection", "", true),
        ("a wait without an id", "retry: 1\ndata:\n\n", false),
        ("an id that was taken back", "id: 1\ndata:\n\nid:\ndata:\n\n", false),
    ] {
        let play = move |_: &Seen, wire: &mut Wire| {
            wire.stream();
            if !first.is_empty() {
                wire.piece(first.as_bytes());
            }
            cut(wire, broken);
        };
        let (a, b) = (server("a", play), server("b", play));
        let gateway = gateway(&[&a, &b]);
        unknown(&call(&gateway, Era::Modern), &[&a, &b], what);
        assert!(resumptions(&a).is_empty() && resumptions(&b).is_empty(), "{what}");
    }
}

#[test]
fn a_server_that_refuses_to_go_on_leaves_an_unknown_outcome() {
    let refusals: [(&str, u16, &str); 6] = [
        ("405", 405, "text/plain"),
        ("404", 404, "application/json"),
        ("400", 400, "application/json"),
        ("500", 500, "text/plain"),
        ("a document", 200, "application/json"),
        ("202", 202, "text/plain"),
    ];
    for (what, status, kind) in refusals {
        let play = move |seen: &Seen, wire: &mut Wire| {
            if seen.verb == "GET" {
                let body = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"no"}}"#;
                wire.whole(status, &[&format!("Content-Type: {kind}")], body);
                return;
            }
            wire.stream();
            wire.piece(b"id: e-1\nretry: 1\ndata:\n\n");
            wire.end();
        };
        let (a, b) = (server("a", play), server("b", play));
        let gateway = gateway(&[&a, &b]);
        unknown(&call(&gateway, Era::Legacy), &[&a, &b], what);
        assert_eq!(resumptions(&a).len() + resumptions(&b).len(), 1, "{what}");
    }
}

#[test]
fn a_modern_stream_cannot_be_taken_up_and_nobody_tries() {
    let offer = || Offer::new("m", Era::Modern).tools(&["t"]);
    let play = |seen: &Seen, wire: &mut Wire| {
        if seen.method() != "tools/call" {
            return false;
        }
        wire.stream();
        wire.piece(b"id: e-1\nretry: 1\ndata:\n\n");
        wire.end();
        true
    };
    let (a, b) = (Puppet::start(offer(), play), Puppet::start(offer(), play));
    let gateway = gateway(&[&a, &b]);
    unknown(&call(&gateway, Era::Modern), &[&a, &b], "modern");
    for server in [&a, &b] {
        assert!(server.seen().iter().all(|seen| seen.header("last-event-id").is_none()));
        assert!(server.verbs("GET").is_empty());
    }
}

#[test]
fn a_server_may_ask_for_a_long_wait_and_the_call_still_ends_at_its_time() {
    let u = server("u", |_, wire| {
        wire.stream();
        wire.piece(b"id: e-1\nretry: 3600000\ndata:\n\n");
        wire.end();
    });
    let gateway = Gateway::start(&upstream("u", "timeout = \"1s\"", &[url(&u.url)]));
    listed(&gateway, "u__t");
    let began = clock::now();
    let answer = call(&gateway, Era::Modern).answer();
    assert_eq!(own_error(&answer).2, "unknown", "{answer}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(u.requests("tools/call").len(), 1);
}
