//! Questions of a legacy upstream in the middle of a legacy client's call (2025-11-25, client
//! features and basic/transports): they reach the client whose call it is, and nobody else.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::peer::{Turn, Way, each, no_method, text, tools};
use crate::support::session::{call, cancel};
use crate::support::upstream::config;
use crate::support::{
    Era, Gateway, Http, MODERN_META, Over, Peer, Session, StdioClient, eventually, replicas_up,
};

/// What a client declares that can be asked for all there is.
const ABLE: &str =
    r#"{"roots":{"listChanged":true},"sampling":{},"elicitation":{"form":{},"url":{}}}"#;

/// What the questions are, by the names of the tools that ask them.
fn question(tool: &str) -> Option<(&'static str, Value)> {
    Some(match tool {
        "sample" => (
            "sampling/createMessage",
            json!({"messages": [{"role": "user", "content": {"type": "text", "text": "é?"}}], "maxTokens": 7}),
        ),
        "form" => (
            "elicitation/create",
            json!({"message": "Name?", "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}}}),
        ),
        "url" => (
            "elicitation/create",
            json!({"mode": "url", "message": "Go", "url": "https://example.com/x", "elicitationId": "e1"}),
        ),
        "roots" => ("roots/list", json!({})),
        _ => return None,
    })
}

/// A server whose tools ask the question of their name, and answer with the client's answer. `hold`
/// waits for the word of the same name.
fn asking(over: impl Into<Way>) -> Peer {
    Peer::start(Era::Legacy, over, |turn| match (turn.method(), turn.name()) {
        ("tools/list", _) => tools(&["sample", "form", "url", "roots", "plain", "hold", "leave"]),
        ("tools/call", "plain") => text("plain"),
        ("tools/call", "hold") => {
            turn.wait("hold");
            text("held")
        }
        // Asks, and ends when the test says so, answered or not.
        ("tools/call", "leave") => {
            let (method, params) = question("form").unwrap();
            turn.put(&json!("leave"), method, &params);
            turn.wait("leave");
            text("left")
        }
        ("tools/call", _) => relay(turn),
        _ => no_method(),
    })
}

/// Asks under an id that no other call has, of the type that the call's own id says.
fn relay(turn: &mut Turn<'_>) -> Value {
    let (method, params) = question(turn.name()).unwrap();
    let id = match turn.message["params"]["arguments"].get("ask") {
        Some(id) => id.clone(),
        None => json!(format!("q-{}-{}", turn.session, turn.message["id"])),
    };
    let answer = turn.ask(&id, method, &params);
    let about = answer.get("result").or_else(|| answer.get("error")).cloned().unwrap_or_default();
    text(&about.to_string())
}

fn said(answer: &Value) -> Value {
    let text = answer["result"]["content"][0]["text"].as_str().unwrap_or_default();
    serde_json::from_str(text).unwrap_or_else(|_| json!(text))
}

/// A client of these capabilities that has listed the tools, as clients do.
fn listing(gateway: &Gateway, capabilities: &str) -> Session {
    let session = Session::open(gateway, capabilities);
    assert!(session.tools().iter().any(|tool| tool.starts_with("u__")));
    session
}

/// The next message on a pipe that is not about lists.
fn next(pipe: &StdioClient) -> Value {
    loop {
        let message = pipe.next();
        if message["method"] != "notifications/tools/list_changed" {
            return message;
        }
    }
}

/// What clients answer, by the tool that asks.
fn reply_to(tool: &str) -> Value {
    json!({"result": match tool {
        "sample" => json!({"role": "assistant", "content": {"type": "text", "text": "ü"}, "model": "m", "x": 1}),
        "roots" => json!({"roots": [{"uri": "file:///a", "name": "a"}]}),
        "url" => json!({"action": "accept"}),
        _ => json!({"action": "accept", "content": {"name": "N"}}),
    }})
}

#[test]
fn a_question_reaches_the_client_on_the_stream_of_its_call_and_the_answer_goes_back() {
    each(|over| {
        let peer = asking(over);
        let gateway = peer.gateway("");
        let client = listing(&gateway, ABLE);
        for (tool, ask) in [
            ("sample", json!(77)),
            ("form", json!("a\"b")),
            ("url", json!(0)),
            ("roots", json!("0")),
        ] {
            let mut open = client.begin(&call(
                "\"c\"",
                &format!("u__{tool}"),
                &format!(r#""arguments":{{"ask":{ask}}}"#),
            ));
            let asked = open.message().unwrap();
            assert_eq!(open.header("content-type").as_deref(), Some("text/event-stream"));
            let (method, params) = question(tool).unwrap();
            assert_eq!((&asked["method"], &asked["params"]), (&json!(method), &params), "{over:?}");
            assert!(asked["id"].is_u64() || asked["id"].is_string(), "{asked}");
            client.answer(&asked, &reply_to(tool));
            let rest = open.rest();
            assert_eq!(rest.len(), 1, "{rest:?}");
            assert_eq!(rest[0]["id"], "c");
            assert_eq!(said(&rest[0]), reply_to(tool)["result"], "{over:?} {tool}");
            // The upstream got it under its own id, once, as a bare answer in its own session.
            let answers = peer.answers(&ask);
            assert_eq!(answers.len(), 1, "{answers:?}");
            assert_eq!(answers[0].session, peer.session(true), "{over:?} {tool}");
        }
    });
}

/// Kinds of clients that can all be asked with a form, and differ in the rest.
const KINDS: [&str; 7] = [
    r#"{"elicitation":{}}"#,
    r#"{"elicitation":{"form":{},"url":{}}}"#,
    r#"{"elicitation":{},"roots":{}}"#,
    r#"{"elicitation":{},"sampling":{}}"#,
    r#"{"elicitation":{},"sampling":{"tools":{}}}"#,
    r#"{"elicitation":{},"roots":{},"sampling":{}}"#,
    r#"{"elicitation":{"form":{},"url":{}},"roots":{},"sampling":{}}"#,
];

#[test]
fn the_first_call_of_the_first_client_of_its_kind_is_asked_too() {
    each(|over| {
        let peer = asking(over);
        let gateway = peer.gateway("");
        // They come at once: the gateway is busy with each of them.
        std::thread::scope(|scope| {
            for capabilities in KINDS {
                let gateway = &gateway;
                scope.spawn(move || {
                    let client = Session::open(gateway, capabilities);
                    let mut open = client.start("1", "u__form");
                    let streams =
                        open.header("content-type").as_deref() == Some("text/event-stream");
                    let rest = if streams { Vec::new() } else { open.rest() };
                    assert!(streams, "{over:?} {capabilities}: it was not asked: {rest:?}");
                    let asked = open.message().unwrap();
                    client.answer(&asked, &reply_to("form"));
                    let answer = said(&open.rest()[0]);
                    assert_eq!(answer, reply_to("form")["result"], "{over:?} {capabilities}");
                });
            }
        });
        // Nor did any call run where its client's abilities were not declared.
        let plain = peer.session(false);
        let strays = peer.calls("form").iter().filter(|call| call.session == plain).count();
        assert_eq!(strays, 0, "{over:?}");
    });
}

#[test]
fn what_a_client_refuses_or_fails_at_reaches_the_upstream_as_it_is() {
    each(|over| {
        let peer = asking(over);
        let gateway = peer.gateway("");
        let client = listing(&gateway, ABLE);
        for body in [
            json!({"error": {"code": -1, "message": "User rejected", "data": {"n": [1]}}}),
            json!({"result": {"action": "decline"}}),
            json!({"result": {"action": "cancel"}}),
        ] {
            let mut open = client.start("1", "u__form");
            let asked = open.message().unwrap();
            client.answer(&asked, &body);
            let about = body.get("result").or_else(|| body.get("error")).unwrap();
            assert_eq!(said(&open.rest()[0]), *about, "{over:?}");
        }
    });
}

#[test]
fn of_two_clients_at_once_each_is_asked_its_own_questions_only() {
    let peer = asking(Over::Http);
    let gateway = peer.gateway("");
    let clients: Vec<Session> = (0..4).map(|_| listing(&gateway, ABLE)).collect();
    // All calls run under the same id, and all questions are open, before the first is answered.
    let ask = |n: usize| json!(format!("ask {n}"));
    let mut open: Vec<_> = clients
        .iter()
        .enumerate()
        .map(|(n, client)| {
            client.begin(&call("1", "u__form", &format!(r#""arguments":{{"ask":{}}}"#, ask(n))))
        })
        .collect();
    let asked: Vec<Value> = open.iter_mut().map(|open| open.message().unwrap()).collect();
    for (n, (client, asked)) in clients.iter().zip(&asked).enumerate().rev() {
        client.answer(asked, &json!({"result": {"action": "accept", "content": {"n": n}}}));
    }
    for (n, open) in open.iter_mut().enumerate() {
        let rest = open.rest();
        assert_eq!(rest.len(), 1, "nothing but the answer: {rest:?}");
        assert_eq!(said(&rest[0])["content"]["n"], n);
        assert_eq!(peer.answers(&ask(n)).len(), 1);
    }
}

#[test]
fn nobody_can_answer_for_another_session_or_twice() {
    let peer = asking(Over::Http);
    let gateway = peer.gateway("");
    let (one, other) = (listing(&gateway, ABLE), listing(&gateway, ABLE));
    let mut open = one.begin(&call("1", "u__form", r#""arguments":{"ask":"mine"}"#));
    let asked = open.message().unwrap();
    let wrong = json!({"result": {"action": "accept", "content": {"name": "evil"}}});
    other.answer(&asked, &wrong);
    // Ids of the same session that were never asked, and the right one in another type.
    one.answer(&json!({"id": 99}), &wrong);
    one.answer(&json!({"id": "x"}), &wrong);
    let id = &asked["id"];
    let retyped = if id.is_number() { json!(id.to_string()) } else { json!(0) };
    one.answer(&json!({ "id": retyped }), &wrong);
    one.answer(&asked, &json!({"result": {"action": "decline"}}));
    one.answer(&asked, &wrong);
    assert_eq!(said(&open.rest()[0]), json!({"action": "decline"}));
    assert_eq!(peer.answers(&json!("mine")).len(), 1, "{:?}", peer.answers(&json!("mine")));
}

#[test]
fn a_client_that_cannot_be_asked_is_not_and_the_upstream_hears_so_at_once() {
    each(|over| {
        let peer = asking(over);
        let gateway = peer.gateway("");
        for (capabilities, refused, allowed) in [
            ("{}", &["sample", "form", "url", "roots"][..], None),
            (r#"{"elicitation":{}}"#, &["sample", "url", "roots"], Some("form")),
            (r#"{"elicitation":{"url":{}}}"#, &["sample", "form", "roots"], Some("url")),
            (r#"{"roots":{}}"#, &["sample", "form", "url"], Some("roots")),
            (r#"{"sampling":{}}"#, &["form", "url", "roots"], Some("sample")),
        ] {
            let client = listing(&gateway, capabilities);
            for tool in refused {
                let reply = client.call(&format!("u__{tool}"), "{}");
                let messages = reply.messages();
                assert_eq!(messages.len(), 1, "{over:?} {capabilities} {tool}: {messages:?}");
                assert_eq!(said(&messages[0])["code"], -32601, "{capabilities} {messages:?}");
            }
            if let Some(tool) = allowed {
                let mut open = client.start("1", &format!("u__{tool}"));
                let asked = open.message().unwrap();
                client.answer(&asked, &reply_to(tool));
                assert_eq!(said(&open.rest()[0]), reply_to(tool)["result"], "{capabilities}");
            }
        }
    });
}

#[test]
fn a_modern_client_that_declares_nothing_is_asked_nothing_and_its_call_goes_on() {
    each(|over| {
        let peer = asking(over);
        let gateway = peer.gateway("");
        for tool in ["sample", "form", "url", "roots"] {
            let reply = Http::modern_call(&gateway.url(), &format!("u__{tool}"), "{}");
            let messages = reply.messages();
            assert_eq!(messages.len(), 1, "{over:?} {tool}: {messages:?}");
            assert_eq!(messages[0]["result"]["resultType"], "complete", "{messages:?}");
            assert_eq!(said(&messages[0])["code"], -32601, "{over:?} {tool}");
        }
    });
}

#[test]
fn a_question_on_a_shared_child_that_could_be_two_clients_is_refused() {
    let peer = asking(Over::Stdio);
    let gateway = peer.gateway("");
    let (one, other) = (listing(&gateway, ABLE), listing(&gateway, ABLE));
    let mut held = one.start("1", "u__hold");
    peer.called("hold", 1);
    // The child says nothing about whose question it is: both clients could be asked.
    let reply = other.call("u__form", "{}");
    assert_eq!(reply.messages().len(), 1, "{reply:?}");
    assert_eq!(said(&reply.answer())["code"], -32601, "{reply:?}");
    peer.say("hold");
    let rest = held.rest();
    assert_eq!(rest.len(), 1, "nothing but the answer: {rest:?}");
    assert_eq!(said(&rest[0]), "held");
    // Alone it is asked again.
    let mut open = other.start("1", "u__form");
    let asked = open.message().unwrap();
    other.answer(&asked, &reply_to("form"));
    assert_eq!(said(&open.rest()[0]), reply_to("form")["result"]);
}

#[test]
fn calls_whose_questions_could_be_two_clients_have_a_child_each_from_then_on() {
    have_a_child_each("");
}

#[test]
fn they_have_a_child_each_also_where_the_one_for_everybody_sleeps() {
    have_a_child_each("idle_stop = \"200ms\"");
}

fn have_a_child_each(keys: &str) {
    let peer = asking(Over::Stdio);
    let gateway = peer.gateway(keys);
    let clients: Vec<Session> = (0..4).map(|_| listing(&gateway, ABLE)).collect();
    let mut held = clients[0].start("1", "u__hold");
    peer.called("hold", 1);
    assert_eq!(said(&clients[1].call("u__form", "{}").answer())["code"], -32601);
    eventually("the gateway to take note", || {
        let (noted, sleeps) = ("from now on each has one to itself", "nobody uses it");
        let said = gateway.stderr();
        (said.contains(noted) && (keys.is_empty() || said.contains(sleeps))).then_some(())
    });
    // The shared one goes on with the call that it has.
    for round in 0..2 {
        let body =
            |n: usize| call("1", "u__form", &format!(r#""arguments":{{"ask":"{round}-{n}"}}"#));
        let begun = clients.iter().enumerate().map(|(n, client)| client.begin(&body(n)));
        let mut open: Vec<_> = begun.collect();
        let asked: Vec<Value> = open.iter_mut().map(|open| open.message().unwrap()).collect();
        let answer = |n: usize| json!({"result": {"action": "accept", "content": {"n": n}}});
        for (n, client) in clients.iter().enumerate().rev() {
            client.answer(&asked[n], &answer(n));
        }
        for (n, open) in open.iter_mut().enumerate() {
            assert_eq!(said(&open.rest()[0]), answer(n)["result"], "{round}: {n}");
        }
        let at: BTreeSet<usize> =
            peer.calls("form").iter().rev().take(4).map(|call| call.session).collect();
        assert_eq!(at.len(), 4, "each has one to itself");
        assert!(!at.contains(&peer.calls("hold")[0].session));
    }
    let at: BTreeSet<usize> = peer.calls("form")[1..].iter().map(|call| call.session).collect();
    assert_eq!(at.len(), 4, "the next calls take over what is there");
    // One that was given up may ask still: the next call does not go where that could be.
    let mut given_up = clients[0].begin(&call("9", "u__form", r#""arguments":{"ask":"late"}"#));
    given_up.message().unwrap();
    clients[0].cancel("9");
    let mut next = clients[0].begin(&call("1", "u__form", r#""arguments":{"ask":"next"}"#));
    clients[0].answer(&next.message().unwrap(), &reply_to("form"));
    assert_eq!(said(&next.rest()[0]), reply_to("form")["result"]);
    // Who cannot be asked shares one with all.
    assert_eq!(said(&listing(&gateway, "{}").call("u__plain", "{}").answer()), "plain");
    assert!(!at.contains(&peer.calls("plain")[0].session));
    peer.say("hold");
    assert_eq!(said(&held.rest()[0]), "held");
}

#[test]
fn a_question_on_a_child_is_not_ambiguous_because_of_clients_who_cannot_be_asked() {
    let peer = asking(Over::Stdio);
    let gateway = peer.gateway("");
    let (dumb, able) = (listing(&gateway, "{}"), listing(&gateway, ABLE));
    let mut held = dumb.start("1", "u__hold");
    peer.called("hold", 1);
    let mut open = able.start("1", "u__form");
    let asked = open.message().unwrap();
    able.answer(&asked, &reply_to("form"));
    assert_eq!(said(&open.rest()[0]), reply_to("form")["result"]);
    peer.say("hold");
    assert_eq!(held.rest().len(), 1);
}

#[test]
fn a_question_that_is_open_when_its_call_is_answered_is_taken_back() {
    each(|over| {
        let peer = asking(over);
        let gateway = peer.gateway("");
        let client = listing(&gateway, ABLE);
        let mut open = client.start("1", "u__leave");
        let asked = open.message().unwrap();
        assert_eq!(asked["method"], "elicitation/create");
        peer.say("leave");
        let rest = open.rest();
        let notes: Vec<&Value> = rest.iter().filter(|m| m.get("method").is_some()).collect();
        assert_eq!(notes.len(), 1, "{over:?}: {rest:?}");
        assert_eq!(notes[0]["method"], "notifications/cancelled");
        assert_eq!(notes[0]["params"]["requestId"], asked["id"]);
        assert_eq!(said(rest.last().unwrap()), "left", "the answer comes last: {rest:?}");
        let told = peer.answered(&json!("leave")).message;
        assert!(told["error"]["code"].is_i64(), "{over:?}: {told}");
        // Too late: it reaches nobody.
        client.answer(&asked, &reply_to("form"));
        assert_eq!(said(&client.call("u__plain", "{}").answer()), "plain");
        assert_eq!(peer.answers(&json!("leave")).len(), 1, "{over:?}");
    });
}

#[test]
fn a_client_that_cancels_instead_of_answering_ends_call_and_question() {
    each(|over| {
        let peer = asking(over);
        let gateway = peer.gateway("");
        let client = listing(&gateway, ABLE);
        let mut open = client.start("5", "u__leave");
        let asked = open.message().unwrap();
        client.cancel("5");
        for message in open.rest() {
            assert_eq!(message["method"], "notifications/cancelled", "{over:?}: {message}");
            assert_eq!(message["params"]["requestId"], asked["id"]);
        }
        assert!(peer.answered(&json!("leave")).message["error"].is_object(), "{over:?}");
        let call = peer.calls("leave")[0].message["id"].clone();
        let note = peer.first("notifications/cancelled");
        assert_eq!(note.message["params"]["requestId"], call, "{over:?}");
        peer.say("leave");
    });
}

#[test]
fn a_session_that_its_client_ends_takes_its_questions_with_it() {
    each(|over| {
        let peer = asking(over);
        let gateway = peer.gateway("");
        let client = listing(&gateway, ABLE);
        let mut open = client.start("5", "u__leave");
        assert_eq!(open.message().unwrap()["method"], "elicitation/create");
        let ended = Http::send("DELETE", &gateway.url(), &[("Mcp-Session-Id", &client.id)], "");
        assert!((200..300).contains(&ended.status), "{ended:?}");
        // Nobody can answer any more: there is no session to answer in.
        assert!(peer.answered(&json!("leave")).message["error"].is_object(), "{over:?}");
        peer.say("leave");
    });
}

#[test]
fn a_client_on_the_pipe_is_asked_too() {
    each(|over| {
        let peer = asking(over);
        let mut pipe = StdioClient::start(&config(&peer.tables("u", "")));
        pipe.handshake_able("2025-11-25", ABLE);
        for (id, tool) in ["sample", "form", "url", "roots"].into_iter().enumerate() {
            pipe.send(&call(&id.to_string(), &format!("u__{tool}"), r#""arguments":{}"#));
            let asked = next(&pipe);
            let (method, params) = question(tool).unwrap();
            assert_eq!((&asked["method"], &asked["params"]), (&json!(method), &params), "{over:?}");
            let mut answer = json!({"jsonrpc": "2.0", "id": asked["id"]});
            let body = reply_to(tool);
            answer.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
            pipe.send(&answer.to_string());
            let done = next(&pipe);
            assert_eq!((&done["id"], said(&done)), (&json!(id), body["result"].clone()));
        }
        pipe.send(&call("9", "u__leave", ""));
        let asked = next(&pipe);
        pipe.send(&cancel("9"));
        assert!(peer.answered(&json!("leave")).message["error"].is_object(), "{over:?}");
        peer.say("leave");
        pipe.send(&call("10", "u__plain", ""));
        let mut last = next(&pipe);
        if last["method"] == "notifications/cancelled" {
            assert_eq!(last["params"]["requestId"], asked["id"]);
            last = next(&pipe);
        }
        assert_eq!((&last["id"], said(&last)), (&json!(10), json!("plain")), "{over:?}");
    });
}

#[test]
fn a_question_outside_of_any_call_is_refused_and_a_ping_answered() {
    each(|over| {
        let peer =
            Peer::offering(Era::Legacy, over, json!({"tools": {"listChanged": true}}), |turn| {
                match turn.method() {
                    "tools/list" => tools(&["t"]),
                    _ => no_method(),
                }
            });
        let gateway = peer.gateway("");
        let client = listing(&gateway, ABLE);
        assert!(client.tools().contains(&"u__t".to_owned()));
        let session = peer.session(true);
        let (method, params) = question("roots").unwrap();
        let ask = |id: &str, method: &str| json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        peer.tell(session, &ask("r", method));
        peer.tell(session, &ask("p", "ping"));
        assert_eq!(peer.answered(&json!("r")).message["error"]["code"], -32601, "{over:?}");
        assert_eq!(peer.answered(&json!("p")).message["result"], json!({}), "{over:?}");
    });
}

#[test]
fn a_server_that_asks_for_roots_as_soon_as_it_is_greeted_is_answered_and_not_stuck() {
    each(|over| {
        // It lists nothing before it has an answer.
        let peer = Peer::start(Era::Legacy, over, |turn| match turn.method() {
            "tools/list" => {
                let (method, params) = question("roots").unwrap();
                let id = json!(format!("early {}", turn.session));
                let answer = turn.ask(&id, method, &params);
                if answer["error"]["code"] == -32601 { tools(&["t"]) } else { tools(&[]) }
            }
            "tools/call" => text("served"),
            _ => no_method(),
        });
        let gateway = peer.gateway("");
        // Of modern clients one declares nothing and one roots: the server has a session for each kind.
        let roots = MODERN_META.replace(r#"Capabilities":{}"#, r#"Capabilities":{"roots":{}}"#);
        for meta in [MODERN_META, &roots] {
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"u__t",{meta}}}}}"#
            );
            let headers = [
                ("MCP-Protocol-Version", "2026-07-28"),
                ("Mcp-Method", "tools/call"),
                ("Mcp-Name", "u__t"),
            ];
            let answer = Http::post(&gateway.url(), &headers, &body).answer();
            assert_eq!(answer["result"]["content"][0]["text"], "served", "{over:?}: {answer}");
        }
        let asked = peer.heard("tools/list");
        assert!(!asked.is_empty());
        for listing in asked {
            let id = json!(format!("early {}", listing.session));
            assert_eq!(peer.answers(&id).len(), 1, "{over:?}: one answer to each");
        }
    });
}

/// The time that an upstream may be silent in the next tests.
const IDLE: &str = "timeout = \"1s\"";
/// A client that takes longer than that.
const THINKING: Duration = Duration::from_millis(2_500);

#[test]
fn the_time_in_which_a_client_thinks_is_not_the_upstreams_silence() {
    each(|over| {
        let peer = asking(over);
        let gateway = peer.gateway(IDLE);
        let client = listing(&gateway, ABLE);
        let mut open = client.start("1", "u__form");
        let asked = open.message().unwrap();
        // Nothing comes: that is what this test is about.
        assert_eq!(open.message_within(THINKING), None, "{over:?}");
        client.answer(&asked, &reply_to("form"));
        let rest = open.rest();
        assert_eq!(said(rest.last().unwrap()), reply_to("form")["result"], "{over:?}: {rest:?}");
        assert_eq!(rest.len(), 1, "{rest:?}");
    });
}

#[test]
fn an_upstream_that_falls_silent_after_the_answer_is_given_up() {
    each(|over| {
        let peer = Peer::start(Era::Legacy, over, |turn| match turn.method() {
            "tools/list" => tools(&["t"]),
            "tools/call" => {
                let (method, params) = question("form").unwrap();
                turn.ask(&json!("q"), method, &params);
                Value::Null
            }
            _ => no_method(),
        });
        let gateway = peer.gateway(IDLE);
        let client = listing(&gateway, ABLE);
        let mut open = client.start("1", "u__t");
        let asked = open.message().unwrap();
        client.answer(&asked, &reply_to("form"));
        let rest = open.rest();
        assert_eq!(rest.last().unwrap()["error"]["code"], -31004, "{over:?}: {rest:?}");
        let id = peer.calls("t")[0].message["id"].clone();
        assert_eq!(peer.first("notifications/cancelled").message["params"]["requestId"], id);
    });
}

#[test]
fn a_client_that_hangs_up_in_the_middle_of_a_question_ends_neither_the_gateway_nor_others() {
    each(|over| {
        let peer = asking(over);
        let gateway: Gateway = peer.gateway("");
        let client = listing(&gateway, ABLE);
        let mut open = client.start("1", "u__leave");
        let asked = open.message().unwrap();
        drop(open);
        // A legacy client that hangs up has not cancelled: it may still answer.
        client.answer(&asked, &reply_to("form"));
        assert_eq!(peer.answered(&json!("leave")).message["result"], reply_to("form")["result"]);
        assert!(peer.heard("notifications/cancelled").is_empty(), "{over:?}");
        peer.say("leave");
        replicas_up(&gateway, "u", 1);
        assert_eq!(said(&client.call("u__plain", "{}").answer()), "plain");
    });
}
