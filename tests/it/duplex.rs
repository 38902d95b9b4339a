//! What holds on both transports that carry messages both ways over HTTP: HTTP+SSE (2024-11-05) and
//! WebSocket. What only one of them has is in `sse_front` and `websocket`.

use std::time::Duration;

use serde_json::{Value, json};
use waypost::base::clock;

use crate::support::duplex::{Duplex, HANDSHAKE, KINDS, Kind, Socket, Sse, handshake};
use crate::support::keyed::{self, ALICE, BOB, Shower};
use crate::support::peer::{no_method, result, text, tools};
use crate::support::session::{call, cancel};
use crate::support::upstream::{Upstream, config, gateway_to};
use crate::support::{Era, Gateway, Http, Over, Peer, eventually, listed, metric};

const PING: &str = r#"{"jsonrpc":"2.0","id":9,"method":"ping"}"#;
const FORM: &str = r#"{"elicitation":{"form":{}}}"#;

/// The question that `ask` asks, and what clients answer.
fn question() -> Value {
    let schema = json!({"type": "object", "properties": {"name": {"type": "string"}}});
    json!({"mode": "form", "message": "Name?", "requestedSchema": schema})
}

fn accepted() -> Value {
    json!({"action": "accept", "content": {"name": "N"}})
}

/// A server of either era with a tool that tells its progress, one that asks, one that waits for the
/// word `go`, and one that says what it was given.
fn peer(era: Era) -> Peer {
    Peer::start(era, Over::Http, move |turn| {
        let message = turn.message.clone();
        let params = &message["params"];
        let done = |said: &str| {
            let mut answer = text(said);
            if era == Era::Modern {
                answer["result"]["resultType"] = json!("complete");
            }
            answer
        };
        match (turn.method(), turn.name()) {
            ("tools/list", _) => {
                let mut list = tools(&["steps", "ask", "hold", "say"]);
                if era == Era::Modern {
                    list["result"]["resultType"] = json!("complete");
                    list["result"]["ttlMs"] = json!(0);
                    list["result"]["cacheScope"] = json!("private");
                }
                list
            }
            ("tools/call", "steps") => {
                for step in 1..=3 {
                    turn.progress(&params["_meta"]["progressToken"], step);
                }
                done("stepped")
            }
            ("tools/call", "ask") if era == Era::Legacy => {
                let answer = turn.ask(&json!("q"), "elicitation/create", &question());
                done(&answer["result"].to_string())
            }
            ("tools/call", "ask") => {
                let Some(given) = params.get("inputResponses") else {
                    let ask = json!({"method": "elicitation/create", "params": question()});
                    return result(&json!({
                        "resultType": "input_required", "requestState": "s", "inputRequests": {"k": ask},
                    }));
                };
                done(&given["k"].to_string())
            }
            ("tools/call", "hold") => {
                turn.wait("go");
                done("held")
            }
            ("tools/call", "say") => done(params["arguments"]["what"].as_str().unwrap()),
            _ => no_method(),
        }
    })
}

fn said(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}"))
}

/// A client that has listed the tools of the peer, as clients do.
#[track_caller]
fn listing(kind: Kind, gateway: &Gateway) -> Duplex {
    let mut client = Duplex::greeted(kind, gateway, FORM);
    let list = r#"{"jsonrpc":"2.0","id":"l","method":"tools/list"}"#;
    eventually("the tools", || client.ask(list).to_string().contains("u__hold").then_some(()));
    client
}

/// What comes before the end that is not about lists; `None` at the end.
fn end(client: &mut Duplex) -> Option<Value> {
    loop {
        let message = client.message()?;
        if message["method"] != "notifications/tools/list_changed" {
            return Some(message);
        }
    }
}

/// The next message that is not about lists.
#[track_caller]
fn next(client: &mut Duplex) -> Value {
    end(client).expect("a message")
}

#[test]
fn every_legacy_revision_shakes_hands_lists_and_calls() {
    let upstream = Upstream::pipe(&[]);
    let gateway = gateway_to(&upstream);
    for kind in KINDS {
        for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
            let mut client = Duplex::connect(kind, &gateway);
            let hello = client.greet(version, "{}");
            assert_eq!(hello["result"]["protocolVersion"], version, "{kind:?}");
            let list = client.ask(r#"{"jsonrpc":"2.0","id":"é","method":"tools/list"}"#);
            assert!(list.to_string().contains("u__whoami"), "{kind:?}: {list}");
            let done = client.ask(&call("2", "echo", r#""arguments":{"message":"hi\nü"}"#));
            assert!(said(&done).contains("hi"), "{kind:?}: {done}");
            assert_eq!(client.ask(PING)["result"], json!({}));
        }
    }
    eventually("the sessions to be over", || {
        (metric(&gateway, r#"mcp_sessions{era="legacy"}"#) < 0.5).then_some(())
    });
}

#[test]
fn progress_comes_in_order_and_before_the_answer() {
    for era in [Era::Legacy, Era::Modern] {
        let peer = peer(era);
        let gateway = peer.gateway("");
        for kind in KINDS {
            let mut client = listing(kind, &gateway);
            client.send(&call("\"c\"", "u__steps", r#""_meta":{"progressToken":"p"}"#));
            for step in 1..=3 {
                let note = next(&mut client);
                assert_eq!(note["params"]["progressToken"], "p", "{kind:?} {era:?}: {note}");
                assert_eq!(note["params"]["progress"], step);
            }
            assert_eq!(said(&next(&mut client)), "stepped", "{kind:?} {era:?}");
        }
    }
}

#[test]
fn a_question_of_a_server_of_either_era_is_asked_and_its_answer_goes_back() {
    for era in [Era::Legacy, Era::Modern] {
        for kind in KINDS {
            let peer = peer(era);
            let gateway = peer.gateway("");
            let mut client = listing(kind, &gateway);
            client.send(&call("5", "u__ask", ""));
            let asked = next(&mut client);
            assert_eq!(asked["method"], "elicitation/create", "{kind:?} {era:?}: {asked}");
            assert_eq!(asked["params"]["message"], "Name?");
            let answer = json!({"jsonrpc": "2.0", "id": asked["id"], "result": accepted()});
            client.send(&answer.to_string());
            let done = next(&mut client);
            assert_eq!((&done["id"], said(&done)), (&json!(5), accepted().to_string().as_str()));
        }
    }
}

#[test]
fn a_call_that_is_cancelled_is_not_answered_and_its_server_is_told() {
    for kind in KINDS {
        let peer = peer(Era::Legacy);
        let gateway = peer.gateway("");
        let mut client = listing(kind, &gateway);
        client.send(&call("\"c\"", "u__hold", ""));
        peer.called("hold", 1);
        client.send(&cancel("\"c\""));
        let told = peer.first("notifications/cancelled");
        assert_eq!(told.message["params"]["requestId"], peer.calls("hold")[0].message["id"]);
        peer.say("go");
        client.send(&call("2", "u__hold", ""));
        let next = std::iter::repeat_with(|| client.next()).find(|next| next.get("id").is_some());
        assert_eq!(next.unwrap()["id"], 2, "{kind:?}: what was cancelled has no answer");
    }
}

#[test]
fn what_a_client_that_leaves_had_asked_is_cancelled() {
    for kind in KINDS {
        let peer = peer(Era::Legacy);
        let gateway = peer.gateway("");
        let mut client = listing(kind, &gateway);
        client.send(&call("1", "u__hold", ""));
        peer.called("hold", 1);
        let began = clock::now();
        client.hang_up();
        peer.first("notifications/cancelled");
        assert!(began.elapsed() < Duration::from_secs(5), "{kind:?}: {:?}", began.elapsed());
        eventually("the session to be over", || {
            (metric(&gateway, r#"mcp_sessions{era="legacy"}"#) < 0.5).then_some(())
        });
    }
}

#[test]
fn a_change_of_the_list_is_told_once() {
    for kind in KINDS {
        let upstream = Upstream::pipe(&[]);
        let gateway = gateway_to(&upstream);
        let mut client = Duplex::greeted(kind, &gateway, "{}");
        client.send(&call("\"g\"", "u__grow", ""));
        let mut methods = [client.next(), client.next()].map(|message| message["method"].clone());
        methods.sort_by_key(Value::is_null);
        assert_eq!(methods, [json!("notifications/tools/list_changed"), Value::Null], "{kind:?}");
        client.send(PING);
        assert_eq!(client.next()["id"], 9, "{kind:?}: once");
    }
}

#[test]
fn clients_with_the_same_ids_get_their_own_answers() {
    let peer = peer(Era::Legacy);
    let gateway = peer.gateway("");
    listed(&gateway, "u__say");
    let mut clients: Vec<(String, Duplex)> = (0..8)
        .map(|nth| {
            let kind = KINDS[nth % 2];
            (format!("{kind:?} {nth}"), Duplex::greeted(kind, &gateway, "{}"))
        })
        .collect();
    for id in 0..20 {
        for (name, client) in &mut clients {
            let what = format!(r#""arguments":{{"what":"{name} {id}"}}"#);
            client.send(&call(&id.to_string(), "u__say", &what));
        }
    }
    for (name, client) in &mut clients {
        let mut ids = Vec::new();
        for _ in 0..20 {
            let answer = next(client);
            assert_eq!(said(&answer), format!("{name} {}", answer["id"]));
            ids.push(answer["id"].as_u64().unwrap());
        }
        ids.sort_unstable();
        assert_eq!(ids, (0..20).collect::<Vec<_>>());
    }
}

#[test]
fn what_fits_no_session_is_answered_and_the_session_goes_on() {
    let gateway = Gateway::start(&config(""));
    for kind in KINDS {
        let mut client = Duplex::greeted(kind, &gateway, "{}");
        for (message, code, id) in [
            (r#"{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{}}"#, -32602, json!("x")),
            (r#"{"jsonrpc":"2.0","id":6,"method":"initialize","params":{}}"#, -32602, json!(6)),
            (r#"{"jsonrpc":"2.0","id":7,"method":"no/such"}"#, -32601, json!(7)),
        ] {
            client.send(message);
            let answer = client.next();
            let got = (&answer["error"]["code"], &answer["id"]);
            assert_eq!(got, (&json!(code), &id), "{kind:?}: {message}");
        }
        client.send(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
        assert_eq!(client.ask(PING)["result"], json!({}), "{kind:?}");
    }
}

#[test]
fn a_batch_of_the_one_revision_that_has_them_is_answered_together() {
    let gateway = Gateway::start(&config(""));
    for kind in KINDS {
        let mut client = Duplex::connect(kind, &gateway);
        client.greet("2025-03-26", "{}");
        client.send(&format!("[{PING},{}]", PING.replace('9', "\"a\"")));
        let answers = client.next();
        assert_eq!((&answers[0]["id"], &answers[1]["id"]), (&json!(9), &json!("a")), "{kind:?}");
    }
}

// === who is let in ===

/// The answer to a request for either connection that is not let in.
fn refused(kind: Kind, addr: &str, more: &[(&str, &str)]) -> crate::support::Reply {
    match kind {
        Kind::Sse => Http::send("GET", &format!("http://{addr}/sse"), more, ""),
        Kind::Socket => Http::raw(addr, &handshake(addr, &[&HANDSHAKE, more].concat())),
    }
}

#[test]
fn pages_and_names_of_somewhere_else_are_kept_out() {
    let gateway = Gateway::start(&config(""));
    for kind in KINDS {
        for bad in [
            ("Origin", "http://evil.example"),
            ("Origin", "null"),
            ("Origin", "http://localhost"),
            ("Host", "evil.example"),
        ] {
            assert_eq!(refused(kind, gateway.addr(), &[bad]).verdict(), (403, -32600), "{bad:?}");
        }
        let own = gateway.base.clone();
        drop(Duplex::connect_with(kind, &gateway, &[("Origin", &own)]));
    }
    let sse = Sse::open(&gateway, &[]);
    let place = format!("{}{}", gateway.base, sse.place);
    let json = ("Content-Type", "application/json");
    let reply = Http::send("POST", &place, &[json, ("Origin", "http://evil.example")], PING);
    assert_eq!(reply.verdict(), (403, -32600));
}

#[test]
fn with_keys_nobody_comes_in_without_one_and_bounds_are_each_ones_own() {
    let gateway = keyed::gateway("streams = 2\nsessions = 1", "");
    let (alice, bob) = (format!("Bearer {ALICE}"), format!("Bearer {BOB}"));
    let shown = |line| [("Authorization", line)];
    for kind in KINDS {
        assert_eq!(refused(kind, gateway.addr(), &[]).verdict(), (401, -32600), "{kind:?}");
        assert_eq!(refused(kind, gateway.addr(), &shown("Bearer no")).status, 401, "{kind:?}");
        let mut one = Duplex::connect_with(kind, &gateway, &shown(&alice));
        assert!(one.greet("2025-11-25", "{}")["result"].is_object(), "{kind:?}");
        // Who begins anew has its place already.
        assert!(one.greet("2025-11-25", "{}")["result"].is_object(), "{kind:?}");
        let mut two = Duplex::connect_with(kind, &gateway, &shown(&alice));
        let full = two.greet("2025-11-25", "{}");
        assert_eq!(keyed::refusal(&full).1, "overloaded", "{kind:?}: sessions");
        let three = refused(kind, gateway.addr(), &shown(&alice));
        assert_eq!((three.status, three.header("retry-after")), (429, Some("1")), "{kind:?}");
        let mut other = Duplex::connect_with(kind, &gateway, &shown(&bob));
        assert!(other.greet("2025-11-25", "{}")["result"].is_object(), "{kind:?}");
        for client in [one, two, other] {
            client.hang_up();
        }
        let sessions = || Shower::of(&gateway, ALICE).metric(r#"mcp_sessions{era="legacy"}"#);
        eventually("the sessions to be over", || (sessions() < 0.5).then_some(()));
    }
}

#[test]
fn the_rate_of_a_principal_holds_on_its_connections_too() {
    let gateway = keyed::gateway("rate = 1\nburst = 3", "");
    let alice = format!("Bearer {ALICE}");
    for kind in KINDS {
        let mut client = Duplex::connect_with(kind, &gateway, &[("Authorization", &alice)]);
        let answers: Vec<Value> = (0..6).map(|_| client.ask(PING)).collect();
        let limited = answers.iter().filter(|answer| answer.get("error").is_some());
        let limited: Vec<String> = limited.map(|answer| keyed::refusal(answer).1).collect();
        assert!(
            limited.len() >= 2 && limited.iter().all(|kind| kind == "rate_limited"),
            "{answers:?}"
        );
    }
}

// === the end ===

#[test]
fn a_stop_answers_what_runs_takes_nothing_new_and_closes() {
    for kind in KINDS {
        let peer = peer(Era::Legacy);
        let gateway = peer.gateway("");
        let mut client = listing(kind, &gateway);
        let mut idle = Duplex::greeted(kind, &gateway, "{}");
        client.send(&call("\"c\"", "u__hold", ""));
        peer.called("hold", 1);
        gateway.ask_to_end();
        assert_eq!(end(&mut idle), None, "{kind:?}: nothing runs, and it ends");
        if let Duplex::Socket(socket) = &mut client {
            // The POST of HTTP+SSE finds the port closed.
            eventually("that nothing new is taken", || {
                socket.text(PING);
                match socket.next_frame() {
                    crate::support::duplex::Frame::Text(text) => {
                        text.contains("-31002").then_some(())
                    }
                    other => panic!("{other:?}"),
                }
            });
        }
        peer.say("go");
        assert_eq!(said(&next(&mut client)), "held", "{kind:?}");
        assert_eq!(end(&mut client), None, "{kind:?}");
        drop(client);
        assert_eq!(gateway.terminate(), 0, "{kind:?}");
    }
}

#[test]
fn a_stop_tells_a_websocket_that_it_goes_away() {
    let gateway = Gateway::start(&config(""));
    let mut socket = Socket::open(&gateway, &[]);
    gateway.ask_to_end();
    assert_eq!(socket.closed(), (1001, "the gateway stops".to_owned()));
    assert_eq!(gateway.terminate(), 0);
}
