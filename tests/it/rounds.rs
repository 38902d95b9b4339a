//! Rounds of questions of a modern server (2026-07-28, basic/patterns/mrtr). A call with a client's
//! answers goes to the replica that asked; a legacy client is asked by requests in the middle of its
//! call, and its call made again with the answers.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::puppet::{Offer, Puppet, Seen, Wire};
use crate::support::session::call as call_message;
use crate::support::toml::{named, upstream, url};
use crate::support::{Era, Gateway, Http, Session, eventually, listed, metric, replicas_up};

// === modern clients: back to the replica that asked ===

/// A server that asks once with a state of its own, and takes no other one.
fn asking(who: &'static str) -> Puppet {
    let scene = move |seen: &Seen, wire: &mut Wire| {
        if seen.method() != "tools/call" {
            return false;
        }
        let state = format!("{who} é \"1\"");
        let answer = match seen.param("requestState") {
            "" => seen.result(&json!({"resultType": "input_required", "requestState": state})),
            known if known == state => {
                let content = json!([{"type": "text", "text": who}]);
                seen.result(&json!({"resultType": "complete", "content": content}))
            }
            _ => seen.error(-32602, "a state of somebody else"),
        };
        wire.json(&answer)
    };
    Puppet::start(Offer::new(who, Era::Modern).tools(&["t"]), scene)
}

fn call(gateway: &Gateway, more: &str) -> Value {
    let params = format!(r#""name":"u__t","arguments":{{}}{more}"#);
    Http::modern(&gateway.url(), "1", "tools/call", Some("u__t"), &params).answer()
}

fn state(asked: &Value) -> String {
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    asked["result"]["requestState"].as_str().unwrap().to_owned()
}

/// The state as another JSON library may write it.
fn answered(gateway: &Gateway, state: &str) -> Value {
    let escaped: Vec<String> = state.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
    let escaped = escaped.concat();
    call(gateway, &format!(r#","inputResponses":{{}},"requestState":"{escaped}""#))
}

#[test]
fn a_clients_answers_go_to_the_replica_that_asked() {
    let mut servers = ["a", "b", "c"].map(asking);
    let replicas: Vec<_> =
        servers.iter().zip(["a", "b", "c"]).map(|(s, name)| named(name, &url(&s.url))).collect();
    let gateway = Gateway::start(&upstream("u", "balance = \"round_robin\"", &replicas));
    replicas_up(&gateway, "u", 3);

    let states: Vec<String> = (0..6).map(|_| state(&call(&gateway, ""))).collect();
    let who: BTreeSet<&String> = states.iter().collect();
    assert_eq!(who.len(), 3, "{states:?}");
    for state in states.iter().rev() {
        let done = answered(&gateway, state);
        let text = done["result"]["content"][0]["text"].as_str();
        assert_eq!(text, state.split(' ').next(), "{done}");
    }

    // One that is gone cannot be asked; another one says what it thinks of the state.
    servers[0].stop();
    eventually("a to be down", || {
        let up = metric(&gateway, r#"mcp_upstream_up{upstream="u",replica="a"}"#);
        (up < 0.5).then_some(())
    });
    let refused = answered(&gateway, "a é \"1\"");
    assert_eq!(refused["error"]["code"], -32602, "{refused}");
}

// === legacy clients: asked on the way ===

/// What a legacy client declares that can be asked for all there is.
const ABLE: &str = r#"{"roots":{},"sampling":{},"elicitation":{"form":{},"url":{}}}"#;
/// A state that must come back byte for byte.
const STATE: &str = "é \"\u{1}\" /";

fn form(about: &str) -> Value {
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}});
    let params = json!({"mode": "form", "message": about, "requestedSchema": schema});
    json!({"method": "elicitation/create", "params": params})
}

/// What each tool asks in its round of this number, counted from 0; `None` = it is satisfied.
fn questions(tool: &str, round: usize) -> Option<Value> {
    let roots = json!({"method": "roots/list", "params": {}});
    let url = json!({"mode": "url", "message": "go", "url": "https://x.example/1"});
    let url = json!({"method": "elicitation/create", "params": url});
    match (tool, round) {
        ("once", 0) => Some(json!({ "k": form("who?") })),
        ("thrice", 0..3) => Some(json!({ format!("k{round}"): form("and?") })),
        ("both", 0) => Some(json!({ "a": form("who?"), "b": roots })),
        ("url", 0) => Some(json!({ "u": url })),
        ("state", 0..2) => Some(json!({})),
        ("ever", _) => Some(json!({ "k": form("again?") })),
        _ => None,
    }
}

/// A modern server whose tools ask. Its state says which round comes next.
fn quiz() -> Puppet {
    let scene = |seen: &Seen, wire: &mut Wire| {
        if seen.method() != "tools/call" {
            return false;
        }
        let state = seen.param("requestState");
        let round: usize = state.strip_prefix(STATE).map_or(0, |round| round.parse().unwrap());
        let result = if let Some(questions) = questions(seen.param("name"), round) {
            json!({
                "resultType": "input_required",
                "inputRequests": questions,
                "requestState": format!("{STATE}{}", round + 1),
            })
        } else {
            let content = json!([{"type": "text", "text": format!("after {round}")}]);
            json!({"resultType": "complete", "content": content})
        };
        wire.json(&seen.result(&result))
    };
    let tools = ["once", "thrice", "both", "url", "state", "ever"];
    Puppet::start(Offer::new("u", Era::Modern).tools(&tools), scene)
}

/// A gateway before it, and a client that can be asked.
fn stage() -> (Puppet, Gateway, Session) {
    let server = quiz();
    let gateway = Gateway::start(&upstream("u", "", &[url(&server.url)]));
    replicas_up(&gateway, "u", 1);
    listed(&gateway, "u__once");
    let client = Session::open(&gateway, ABLE);
    (server, gateway, client)
}

fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_default()
}

/// The calls that the server saw, and that each has an id of its own.
fn calls(server: &Puppet) -> Vec<Seen> {
    let calls = server.requests("tools/call");
    let ids: BTreeSet<String> = calls.iter().map(|seen| seen.body["id"].to_string()).collect();
    assert_eq!(ids.len(), calls.len(), "{ids:?}");
    calls
}

#[test]
fn a_legacy_client_is_asked_round_by_round_and_the_call_made_again_with_each_rounds_answers() {
    let (server, _gateway, client) = stage();
    let arguments = r#""arguments":{"n":12345678901234567890123}"#;
    let mut open = client.begin(&call_message("\"c\"", "u__thrice", arguments));
    for round in 0..3 {
        let asked = open.message().unwrap();
        assert_eq!(asked["params"], form("and?")["params"]);
        client.answer(&asked, &json!({"result": {"action": "accept", "content": {"n": round}}}));
    }
    let rest = open.rest();
    assert_eq!((rest.len(), &rest[0]["id"], text(&rest[0])), (1, &json!("c"), "after 3"));
    assert_eq!(rest[0]["result"].get("resultType"), None);

    let seen = calls(&server);
    assert_eq!(seen.len(), 4);
    for (round, seen) in seen.iter().enumerate().skip(1) {
        assert_eq!(seen.param("requestState"), format!("{STATE}{round}"));
        let last = round - 1;
        let answer = json!({"action": "accept", "content": {"n": last}});
        assert_eq!(seen.body["params"]["inputResponses"], json!({ format!("k{last}"): answer }));
        assert_eq!(seen.param("name"), "thrice");
        assert_eq!(seen.header("mcp-name"), Some("thrice"));
    }
}

#[test]
fn what_one_round_asks_is_asked_at_once_and_a_refusal_ends_the_call_and_takes_the_others_back() {
    let (server, _gateway, client) = stage();
    let mut open = client.start("1", "u__both");
    let asked = [open.message().unwrap(), open.message().unwrap()];
    let of = |method: &str| asked.iter().find(|asked| asked["method"] == method).unwrap();
    // Answered in the other order.
    client.answer(of("roots/list"), &json!({"result": {"roots": []}}));
    client.answer(of("elicitation/create"), &json!({"result": {"action": "decline"}}));
    assert_eq!(text(&open.rest()[0]), "after 1");
    let given = &calls(&server)[1].body["params"]["inputResponses"];
    assert_eq!(*given, json!({"a": {"action": "decline"}, "b": {"roots": []}}));

    let mut open = client.start("2", "u__both");
    let asked = [open.message().unwrap(), open.message().unwrap()];
    client.answer(&asked[0], &json!({"error": {"code": -1, "message": "User rejected"}}));
    let rest = open.rest();
    assert_eq!(rest.len(), 2, "{rest:?}");
    assert_eq!(rest[0]["method"], "notifications/cancelled");
    assert_eq!(rest[0]["params"]["requestId"], asked[1]["id"]);
    assert_eq!(rest[1]["result"]["isError"], true);
    assert!(text(&rest[1]).contains("User rejected"), "{}", rest[1]);
    assert_eq!(calls(&server).len(), 3, "the refused call is not made again");
}

#[test]
fn a_server_that_wants_to_be_called_again_is_and_one_that_asks_without_end_is_not() {
    let (server, _gateway, client) = stage();
    let answer = client.call("u__state", "{}").answer();
    assert_eq!(text(&answer), "after 2");
    let seen = calls(&server);
    let apart: Vec<Duration> = seen.windows(2).map(|two| two[1].at - two[0].at).collect();
    assert_eq!(apart.len(), 2);
    assert!(apart.iter().all(|apart| *apart >= Duration::from_millis(250)), "{apart:?}");
    assert!(seen.iter().all(|seen| seen.body["params"].get("inputResponses").is_none()));

    let mut open = client.start("2", "u__ever");
    let last = loop {
        let message = open.message().unwrap();
        if message.get("method").is_none() {
            break message;
        }
        client.answer(&message, &json!({"result": {"action": "cancel"}}));
    };
    assert_eq!(last["result"]["isError"], true, "{last}");
    assert!(text(&last).contains("asked 8 times"), "{last}");
}

#[test]
fn a_legacy_client_is_asked_only_what_it_declared() {
    let (_server, gateway, client) = stage();
    // Revisions before 2025-11-25 know no elicitation by URL.
    for (version, capabilities, tool, says) in [
        ("2025-06-18", r#"{"elicitation":{}}"#, "url", "elicitation/create by URL"),
        ("2025-11-25", r#"{"elicitation":{}}"#, "both", "roots/list"),
        ("2025-11-25", "{}", "once", "elicitation/create"),
    ] {
        let other = Session::of(&gateway, version, capabilities);
        let messages = other.call(&format!("u__{tool}"), "{}").messages();
        assert_eq!(messages.len(), 1, "nothing is asked: {messages:?}");
        assert_eq!(messages[0]["result"]["isError"], true);
        assert!(text(&messages[0]).contains(says), "{messages:?}");
    }
    let mut open = client.start("1", "u__url");
    let asked = open.message().unwrap();
    let id = asked["params"]["elicitationId"].as_str().unwrap();
    assert!(id.len() >= 32, "{asked}");
    assert_eq!(asked["params"]["url"], "https://x.example/1");
    client.answer(&asked, &json!({"result": {"action": "accept"}}));
    assert_eq!(text(&open.rest()[0]), "after 1");
}

#[test]
fn a_client_that_cancels_while_it_is_asked_ends_the_call() {
    let (server, _gateway, client) = stage();
    let mut open = client.start("\"c\"", "u__once");
    let asked = open.message().unwrap();
    client.cancel("\"c\"");
    assert!(open.rest().iter().all(|message| message["id"] != "c"));
    client.answer(&asked, &json!({"result": {"action": "decline"}}));
    assert_eq!(text(&client.call("u__plain", "{}").answer()), "");
    assert_eq!(calls(&server).len(), 1, "it is not made again");
}
