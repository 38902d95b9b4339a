//! What a legacy server offers may depend on what its client can be asked for (protocol of
//! 2025-11-25, "Capability Negotiation"): each kind of clients sees its own, side by side.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::peer::{Way, each, no_method, note, text, tools};
use crate::support::{Era, Gateway, Http, Over, Peer, Session, StdioClient, eventually, health};

const ABLE: &str = r#"{"roots":{"listChanged":true},"sampling":{},"elicitation":{}}"#;

/// What everybody sees, and what only clients that can be asked for everything do.
const PLAIN: [&str; 13] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"];
const EXTRA: [&str; 4] = ["ask-roots", "ask-sample", "ask-form", "ask-all"];

/// A server like the reference server: thirteen tools, and four more for able clients. When the
/// test says so, the list for one kind of clients has one more: `new-plain` or `new-able`.
fn varying(over: impl Into<Way>) -> Peer {
    let capabilities = json!({"tools": {"listChanged": true}});
    Peer::offering(Era::Legacy, over, capabilities, |turn| {
        let declared = turn.declared();
        let can = |key: &str| declared.get(key).is_some();
        let able = can("roots") && can("sampling") && can("elicitation");
        match turn.method() {
            "tools/list" => {
                let mut names = PLAIN.to_vec();
                if able {
                    names.extend(EXTRA);
                }
                let new = if able { "new-able" } else { "new-plain" };
                if turn.was_said(new) {
                    names.push(new);
                }
                tools(&names)
            }
            "tools/call" => text(&format!("{} {able}", turn.name())),
            _ => no_method(),
        }
    })
}

/// The tools of `u` that a session sees, by their own names.
fn seen(session: &Session) -> Vec<String> {
    let tools = session.tools();
    tools.iter().filter_map(|name| name.strip_prefix("u__").map(str::to_owned)).collect()
}

fn all_of(able: bool) -> Vec<&'static str> {
    if able { [&PLAIN[..], &EXTRA].concat() } else { PLAIN.to_vec() }
}

fn said(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_default()
}

#[test]
fn two_kinds_of_clients_see_and_call_their_own_tools_at_once() {
    each(|over| {
        let peer = varying(over);
        let gateway = peer.gateway("");
        std::thread::scope(|scope| {
            for able in [false, true, false, true] {
                let gateway = &gateway;
                scope.spawn(move || {
                    // Each lists right after it has come, as clients do, and again and again.
                    let session = Session::open(gateway, if able { ABLE } else { "{}" });
                    for _ in 0..20 {
                        assert_eq!(seen(&session), all_of(able), "{over:?}");
                        let plain = session.call("u__a", "{}").answer();
                        assert_eq!(said(&plain), format!("a {able}"), "{over:?}: {plain}");
                        let extra = session.call("u__ask-all", "{}").answer();
                        if able {
                            assert_eq!(said(&extra), "ask-all true", "{over:?}: {extra}");
                        } else {
                            assert_eq!(extra["error"]["code"], -32602, "{over:?}: {extra}");
                        }
                    }
                });
            }
        });
        // The extra tool was never called in the wrong session.
        let wrong = peer.session(false);
        assert!(peer.calls("ask-all").iter().all(|call| call.session != wrong));
        assert_eq!(peer.calls("ask-all").len(), 40, "{over:?}");
    });
}

#[test]
fn what_stands_for_a_kind_of_clients_starts_once_and_is_shared() {
    each(|over| {
        let peer = varying(over);
        let gateway = peer.gateway("");
        assert_eq!(peer.handshakes(), [json!({})], "{over:?}: nobody has asked for more");
        let sessions: Vec<Session> = std::thread::scope(|scope| {
            let open = || scope.spawn(|| Session::open(&gateway, ABLE));
            let opening: Vec<_> = (0..6).map(|_| open()).collect();
            opening.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for session in &sessions {
            assert_eq!(seen(session), all_of(true), "{over:?}");
        }
        // In other words, in another order, and over the pipe of another revision: the same kind.
        let same =
            r#"{"elicitation":{"form":{}},"sampling":{},"roots":{},"experimental":{"x":{}}}"#;
        assert_eq!(seen(&Session::of(&gateway, "2025-06-18", same)), all_of(true), "{over:?}");
        drop(sessions);
        assert_eq!(seen(&Session::open(&gateway, ABLE)), all_of(true), "{over:?}");
        let handshakes = peer.handshakes();
        assert_eq!(handshakes.len(), 2, "{over:?}: {handshakes:?}");
        // It declares what its clients can be asked for, and nothing that none of them can.
        let declared = &handshakes[1];
        for key in ["roots", "sampling", "elicitation"] {
            assert!(declared[key].is_object(), "{over:?}: {declared}");
        }
        assert!(declared["elicitation"].get("url").is_none(), "{declared}");
        assert!(declared.get("experimental").is_none() && declared.get("tasks").is_none());
        // Another kind has its own.
        assert_eq!(seen(&Session::open(&gateway, r#"{"roots":{}}"#)), all_of(false), "{over:?}");
        assert_eq!(peer.handshakes().len(), 3, "{over:?}");
    });
}

#[test]
fn clients_that_can_be_asked_for_nothing_share_one_whatever_else_they_say() {
    each(|over| {
        let peer = varying(over);
        let gateway = peer.gateway("");
        for capabilities in ["{}", r#"{"experimental":{"x":{}}}"#, r#"{"x":{},"sampling":true}"#] {
            assert_eq!(seen(&Session::open(&gateway, capabilities)), all_of(false), "{over:?}");
        }
        let modern: Vec<String> = Http::tools(&gateway.url());
        assert_eq!(modern.iter().filter(|name| name.starts_with("u__")).count(), PLAIN.len());
        assert_eq!(peer.handshakes(), [json!({})], "{over:?}");
    });
}

#[test]
fn a_client_on_the_pipe_sees_the_tools_of_its_kind() {
    each(|over| {
        let peer = varying(over);
        for (capabilities, able) in [(ABLE, true), ("{}", false)] {
            let tables = crate::support::upstream::config(&peer.tables("u", ""));
            let mut pipe = StdioClient::start(&tables);
            pipe.handshake_able("2025-11-25", capabilities);
            let list = pipe.ask(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
            let tools = list["result"]["tools"].as_array().unwrap();
            let of_u = |tool: &&Value| tool["name"].as_str().unwrap().starts_with("u__");
            assert_eq!(tools.iter().filter(of_u).count(), all_of(able).len(), "{over:?}");
            let call = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"u__ask-form","arguments":{}}}"#;
            let answer = pipe.ask(call);
            assert_eq!(answer.get("result").is_some(), able, "{over:?}: {answer}");
        }
    });
}

/// How long the one who is not concerned is left alone, in the one test that must wait for
/// something not to come. Changes are told after a tenth of a second.
const A_MOMENT: Duration = Duration::from_millis(500);

#[test]
fn a_change_of_a_list_is_told_to_the_kind_of_clients_whom_it_concerns() {
    each(|over| {
        let peer = varying(over);
        let gateway = peer.gateway("");
        let plain = Session::open(&gateway, "{}");
        let able = Session::open(&gateway, ABLE);
        assert_eq!((seen(&plain), seen(&able)), (own(&all_of(false)), own(&all_of(true))));
        let (mut to_plain, mut to_able) = (plain.stream(), able.stream());
        // What its kind came to see when it came is old news; it may be told of it once.
        for stream in [&mut to_plain, &mut to_able] {
            while let Some(message) = stream.message_within(A_MOMENT) {
                assert_eq!(message["method"], CHANGED, "{over:?}");
            }
        }
        let changed = note(CHANGED);
        peer.say("new-able");
        peer.tell(peer.session(true), &changed);
        assert_eq!(to_able.message().unwrap()["method"], CHANGED, "{over:?}");
        assert!(seen(&able).contains(&"new-able".to_owned()), "{over:?}");
        assert_eq!(seen(&plain), all_of(false), "{over:?}");
        assert_eq!(to_plain.message_within(A_MOMENT), None, "{over:?}: not its business");
        peer.say("new-plain");
        peer.tell(peer.session(false), &changed);
        assert_eq!(to_plain.message().unwrap()["method"], CHANGED, "{over:?}");
        assert!(seen(&plain).contains(&"new-plain".to_owned()), "{over:?}");
        assert!(!seen(&able).contains(&"new-plain".to_owned()), "{over:?}");
        assert_eq!(to_able.message_within(A_MOMENT), None, "{over:?}: not its business");
    });
}

const CHANGED: &str = "notifications/tools/list_changed";

fn own(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn what_stands_for_a_kind_of_clients_comes_back_when_it_is_lost() {
    let peer = varying(Over::Stdio);
    let gateway: Gateway = peer.gateway("");
    let (able, plain) = (Session::open(&gateway, ABLE), Session::open(&gateway, "{}"));
    assert_eq!(seen(&able), all_of(true));
    peer.hang_up(peer.session(true));
    // The other kind does not notice; health speaks of what stands for everybody.
    assert_eq!(said(&plain.call("u__a", "{}").answer()), "a false");
    assert_eq!(health(&gateway, "u")["status"], "healthy");
    eventually("the extra tool to answer again", || {
        (said(&able.call("u__ask-all", "{}").answer()) == "ask-all true").then_some(())
    });
    assert_eq!(seen(&able), all_of(true));
    assert_eq!(peer.handshakes().len(), 3);
}

#[test]
fn clients_of_a_kind_are_served_by_modern_servers_as_all_others() {
    for over in Way::MODERN {
        let peer = Peer::start(Era::Modern, over, |turn| match turn.method() {
            "tools/list" => tools(&PLAIN),
            "tools/call" => text(turn.name()),
            _ => no_method(),
        });
        let gateway = peer.gateway("");
        let able = Session::open(&gateway, ABLE);
        assert_eq!(seen(&able), all_of(false), "{over:?}");
        assert_eq!(said(&able.call("u__a", "{}").answer()), "a");
        let call = &peer.calls("a")[0].message["params"]["_meta"];
        let declared: Value = serde_json::from_str(ABLE).unwrap();
        assert_eq!(call["io.modelcontextprotocol/clientCapabilities"], declared, "{over:?}");
        // One list for all: a modern server must not make it depend on who asks.
        assert_eq!(peer.heard("tools/list").len(), 1, "{over:?}");
    }
}
