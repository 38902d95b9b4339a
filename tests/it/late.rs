//! What comes too late, unasked, or for somebody else: cancels, answers and progress that must
//! reach nobody (2025-11-25 and 2026-07-28, basic/utilities).

use std::time::Duration;

use serde_json::{Value, json};
use waypost::base::clock;

use crate::support::peer::{Turn, no_method, progressed, text, tools};
use crate::support::session::{call, cancel};
use crate::support::upstream::config;
use crate::support::{
    Era, Gateway, Http, MODERN_META, Over, Peer, Session, StdioClient, eventually, metric,
};

/// A server whose tool `hold` answers when the test says so, and `t` at once.
fn server(era: Era, over: Over) -> Peer {
    Peer::start(era, over, |turn| match (turn.method(), turn.name()) {
        ("tools/list", _) => tools(&["t", "hold", "never", "ticks", "after", "strange"]),
        ("tools/call", "t") => text("now"),
        ("tools/call", "hold") => {
            turn.wait("hold");
            text("late")
        }
        ("tools/call", "never") => Value::Null,
        ("tools/call", "ticks") => ticks(turn),
        ("tools/call", "after") => after(turn),
        ("tools/call", "strange") => strange(turn),
        _ => no_method(),
    })
}

fn token(turn: &Turn<'_>) -> Value {
    turn.message["params"]["_meta"]["progressToken"].clone()
}

/// Two steps of progress if it was asked for, and none if not.
fn ticks(turn: &mut Turn<'_>) -> Value {
    let token = token(turn);
    if !token.is_null() {
        turn.progress(&token, 1);
        turn.progress(&token, 2);
    }
    text("ticked")
}

/// Progress behind the answer.
fn after(turn: &mut Turn<'_>) -> Value {
    let (token, id) = (token(turn), turn.message["id"].clone());
    turn.progress(&token, 1);
    let mut answer = text("answered");
    answer
        .as_object_mut()
        .unwrap()
        .extend([("jsonrpc".to_owned(), json!("2.0")), ("id".to_owned(), id)]);
    turn.tell(&answer);
    turn.progress(&token, 2);
    // A second answer to the same request, too.
    text("answered twice")
}

/// Progress that nobody asked for: under the ids of the request, tokens of clients, and nonsense.
fn strange(turn: &mut Turn<'_>) -> Value {
    let id = turn.message["id"].clone();
    let asked = token(turn);
    for token in [id.clone(), json!(id.to_string()), json!("p"), json!(-1), Value::Null, json!({})]
    {
        if token != asked {
            turn.progress(&token, 1);
        }
    }
    text("strange")
}

fn cells(check: impl Fn(Era, Over)) {
    for era in [Era::Legacy, Era::Modern] {
        for over in [Over::Http, Over::Stdio] {
            check(era, over);
        }
    }
}

fn said(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_default()
}

fn running(gateway: &Gateway) -> f64 {
    metric(gateway, r#"mcp_upstream_inflight{upstream="u",replica="0"}"#)
}

// === cancels ===

#[test]
fn an_answer_that_comes_after_the_cancel_reaches_nobody() {
    cells(|era, over| {
        let peer = server(era, over);
        let gateway = peer.gateway("");
        let session = Session::open(&gateway, "{}");
        let mut open = session.start("7", "u__hold");
        peer.called("hold", 1);
        session.cancel("7");
        assert_eq!(open.message(), None, "{era:?} {over:?}");
        eventually("the call to end", || (running(&gateway) == 0.0).then_some(()));
        // The server answers all the same, while the same id is used again.
        peer.say("hold");
        for _ in 0..3 {
            let answer = session.post(&call("7", "u__t", "")).answer();
            assert_eq!((&answer["id"], said(&answer)), (&json!(7), "now"), "{era:?} {over:?}");
        }
    });
}

#[test]
fn an_id_that_two_clients_use_at_once_is_cancelled_for_the_one_who_says_so() {
    cells(|era, over| {
        let peer = server(era, over);
        let gateway = peer.gateway("");
        let (one, other) = (Session::open(&gateway, "{}"), Session::open(&gateway, "{}"));
        let (mut mine, mut its) = (one.start("7", "u__hold"), other.start("7", "u__hold"));
        peer.called("hold", 2);
        // Modern clients cancel by hanging up: what they post is nobody's cancel.
        for headers in [&[][..], &[("MCP-Protocol-Version", "2026-07-28")]] {
            let reply = Http::post(&gateway.url(), headers, &cancel("7"));
            assert!(reply.status == 202 || reply.status == 400, "{reply:?}");
        }
        one.cancel("7");
        assert_eq!(mine.message(), None, "{era:?} {over:?}");
        // Once is enough, and finished is finished.
        one.cancel("7");
        peer.say("hold");
        let rest = its.rest();
        assert_eq!((rest.len(), said(&rest[0])), (1, "late"), "{era:?} {over:?}: {rest:?}");
        one.cancel("7");
        other.cancel("7");
        let closing = era == Era::Modern && over == Over::Http;
        let cancels = || peer.heard("notifications/cancelled").len();
        eventually("the cancel at the server", || (closing || cancels() > 0).then_some(()));
        assert_eq!(cancels(), usize::from(!closing), "{era:?} {over:?}");
    });
}

#[test]
fn a_call_that_is_given_up_while_it_waits_for_its_turn_never_reaches_the_server() {
    cells(|era, over| {
        let peer = server(era, over);
        let gateway = peer.gateway("[upstreams.u.limits]\ninflight_replica = 1");
        let session = Session::open(&gateway, "{}");
        let mut first = session.start("1", "u__hold");
        peer.called("hold", 1);
        let given_up =
            || metric(&gateway, r#"mcp_requests_total{tool_name="u__after",status="cancelled"}"#);
        let mut cancelled = session.start("2", "u__ticks");
        let ends = std::thread::spawn(move || cancelled.message());
        // It may take a moment until the call is there to be cancelled.
        eventually("the cancelled call to end", || {
            session.cancel("2");
            ends.is_finished().then_some(())
        });
        assert_eq!(ends.join().unwrap(), None, "{era:?} {over:?}");
        let (headers, body) =
            Http::modern_parts("3", "tools/call", Some("u__after"), r#""name":"u__after""#);
        eventually("the call that was hung up to end", || {
            let hung_up = Http::open(&gateway.url(), &headers, &body);
            assert_eq!(session.ask("ping", "{}").verdict(), (200, 0));
            drop(hung_up);
            (given_up() > 0.0).then_some(())
        });
        peer.say("hold");
        assert_eq!(said(first.rest().last().unwrap()), "late");
        assert_eq!(said(&session.call("u__t", "{}").answer()), "now");
        assert!(peer.calls("ticks").is_empty(), "{era:?} {over:?}");
        assert!(peer.calls("after").is_empty(), "{era:?} {over:?}");
        assert!(peer.heard("notifications/cancelled").is_empty(), "{era:?} {over:?}");
    });
}

/// How soon a server hears that a modern client has hung up.
const SOON: Duration = Duration::from_millis(100);

#[test]
fn a_server_hears_within_a_tenth_of_a_second_that_a_modern_client_has_hung_up() {
    cells(|era, over| {
        let peer = server(era, over);
        let gateway = peer.gateway("");
        let (headers, body) =
            Http::modern_parts("1", "tools/call", Some("u__never"), r#""name":"u__never""#);
        let closing = era == Era::Modern && over == Over::Http;
        let told = || {
            if closing { peer.left() } else { peer.heard("notifications/cancelled").len() }
        };
        // The best of some tries: the machine of a test may be busy with others.
        let tries = (1..=10).map(|number| {
            let open = Http::open(&gateway.url(), &headers, &body);
            peer.called("never", number);
            let began = clock::now();
            drop(open);
            eventually("the cancel", || (told() >= number).then_some(()));
            began.elapsed()
        });
        let best = tries.min().unwrap();
        assert!(best < SOON, "{era:?} {over:?}: {best:?}");
    });
}

// === progress ===

/// A modern call with a progress token, raw JSON, or none.
fn modern(gateway: &Gateway, tool: &str, token: Option<&str>) -> Vec<Value> {
    let meta = token.map_or(MODERN_META.to_owned(), |token| {
        MODERN_META.replacen("\"_meta\":{", &format!(r#""_meta":{{"progressToken":{token},"#), 1)
    });
    let headers =
        [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/call"), ("Mcp-Name", tool)];
    let body = call("1", tool, &format!(r#""arguments":{{}},{meta}"#));
    Http::post(&gateway.url(), &headers, &body).messages()
}

fn legacy(session: &Session, tool: &str, token: Option<&str>) -> Vec<Value> {
    let meta = token.map(|token| format!(r#""_meta":{{"progressToken":{token}}}"#));
    session.post(&call("1", tool, &meta.unwrap_or_default())).messages()
}

#[test]
fn progress_that_comes_after_the_answer_reaches_nobody() {
    cells(|era, over| {
        let peer = server(era, over);
        let gateway = peer.gateway("");
        let session = Session::open(&gateway, "{}");
        for _ in 0..3 {
            for messages in [
                modern(&gateway, "u__after", Some("\"p\"")),
                legacy(&session, "u__after", Some("\"p\"")),
            ] {
                assert_eq!(messages.len(), 2, "{era:?} {over:?}: {messages:?}");
                assert_eq!(messages[0]["params"]["progress"], 1);
                assert_eq!(said(&messages[1]), "answered");
            }
        }
    });
}

#[test]
fn on_a_pipe_nothing_follows_an_answer_and_the_pipe_goes_on() {
    cells(|era, over| {
        let peer = server(era, over);
        let mut pipe = StdioClient::start(&config(&peer.tables("u", "")));
        pipe.handshake("2025-11-25");
        let next = |pipe: &StdioClient| loop {
            let message = pipe.next();
            if message["method"] != "notifications/tools/list_changed" {
                return message;
            }
        };
        for id in [1, 3, 5] {
            pipe.send(&call(&id.to_string(), "u__after", r#""_meta":{"progressToken":"p"}"#));
            assert_eq!(next(&pipe)["params"]["progress"], 1, "{era:?} {over:?}");
            assert_eq!(next(&pipe)["id"], id);
            pipe.send(&call(&(id + 1).to_string(), "u__t", ""));
            let answer = next(&pipe);
            assert_eq!((&answer["id"], said(&answer)), (&json!(id + 1), "now"), "{era:?} {over:?}");
        }
    });
}

#[test]
fn progress_that_nobody_asked_for_reaches_nobody() {
    cells(|era, over| {
        let peer = server(era, over);
        let gateway = peer.gateway("");
        let session = Session::open(&gateway, "{}");
        for messages in [
            modern(&gateway, "u__strange", None),
            legacy(&session, "u__strange", None),
            modern(&gateway, "u__strange", Some("\"mine\"")),
            legacy(&session, "u__strange", Some("\"mine\"")),
        ] {
            assert_eq!(messages.len(), 1, "{era:?} {over:?}: {messages:?}");
            assert_eq!(said(&messages[0]), "strange");
        }
        // No token was sent where none was asked for.
        let tokens: Vec<bool> = peer
            .calls("strange")
            .iter()
            .map(|c| c.message["params"]["_meta"].get("progressToken").is_some())
            .collect();
        assert_eq!(tokens, [false, false, true, true], "{era:?} {over:?}");
    });
}

#[test]
fn two_clients_with_the_same_token_at_once_get_each_their_own_progress_in_their_own_type() {
    cells(|era, over| {
        let peer = server(era, over);
        let gateway = peer.gateway("");
        std::thread::scope(|scope| {
            for token in ["1", "\"1\"", "1", "\"1\""] {
                let gateway = &gateway;
                scope.spawn(move || {
                    let wanted: Value = serde_json::from_str(token).unwrap();
                    let session = Session::open(gateway, "{}");
                    for _ in 0..10 {
                        for messages in [
                            modern(gateway, "u__ticks", Some(token)),
                            legacy(&session, "u__ticks", Some(token)),
                        ] {
                            let notes: Vec<(&Value, &Value)> = messages[..messages.len() - 1]
                                .iter()
                                .map(|note| {
                                    (&note["params"]["progressToken"], &note["params"]["progress"])
                                })
                                .collect();
                            let steps = [(&wanted, &json!(1)), (&wanted, &json!(2))];
                            assert_eq!(notes, steps, "{era:?} {over:?}: {messages:?}");
                            assert_eq!(said(messages.last().unwrap()), "ticked");
                        }
                    }
                });
            }
        });
    });
}

#[test]
fn progress_of_a_finished_call_is_not_taken_for_the_next_one() {
    // One child, one client, one token used again and again.
    let peer = Peer::start(Era::Legacy, Over::Stdio, |turn| match turn.method() {
        "tools/list" => tools(&["t"]),
        "tools/call" => text(&token(turn).to_string()),
        _ => no_method(),
    });
    let gateway = peer.gateway("");
    let session = Session::open(&gateway, "{}");
    let first = legacy(&session, "u__t", Some("\"p\""));
    let old: Value = serde_json::from_str(said(&first[0])).unwrap();
    peer.tell(peer.session(false), &progressed(&old, 9));
    let second = legacy(&session, "u__t", Some("\"p\""));
    assert_eq!(second.len(), 1, "{second:?}");
    assert_ne!(said(&second[0]), said(&first[0]), "a token of ours is used once");
}
