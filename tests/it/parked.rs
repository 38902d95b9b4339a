//! Questions of a legacy server in the middle of a modern client's call: the call is parked, the
//! client asked by its result, and the call goes on when it comes back. It never runs twice
//! (2025-11-25, client features; 2026-07-28, basic/patterns/mrtr).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::client::Open;
use crate::support::kept::Kept;
use crate::support::keyed::{ALICE, BOB, Shower, gateway};
use crate::support::peer::{Turn, Way, each, no_method, text, tools};
use crate::support::{
    Era, Gateway, Http, MODERN_META, Over, Peer, Reply, StdioClient, eventually, metric,
    replicas_up,
};

/// A client that can be asked for all there is.
fn able() -> String {
    let able = r#""io.modelcontextprotocol/clientCapabilities":{"roots":{},"sampling":{},"elicitation":{"form":{},"url":{}}}"#;
    MODERN_META.replace(r#""io.modelcontextprotocol/clientCapabilities":{}"#, able)
}

const FORM: (&str, &str) = ("elicitation/create", r#"{"message":"é?","requestedSchema":{"n":1}}"#);
const URL: (&str, &str) = (
    "elicitation/create",
    r#"{"mode":"url","message":"Go","url":"https://x.example/","elicitationId":"e1"}"#,
);
const ROOTS: (&str, &str) = ("roots/list", "{}");

fn put(turn: &mut Turn<'_>, id: &Value, (method, params): (&str, &str)) {
    turn.put(id, method, &serde_json::from_str(params).unwrap());
}

fn ask(turn: &mut Turn<'_>, id: &Value, (method, params): (&str, &str)) -> Value {
    turn.ask(id, method, &serde_json::from_str(params).unwrap())["result"].clone()
}

/// A legacy server whose tools ask. Its questions have ids of every kind.
fn asking(over: impl Into<Way>) -> Peer {
    Peer::start(Era::Legacy, over, |turn| match (turn.method(), turn.name()) {
        ("tools/list", _) => {
            tools(&["form", "url", "two", "twice", "leave", "die", "first", "plain"])
        }
        ("tools/call", "form") => text(&ask(turn, &json!("q\"1"), FORM).to_string()),
        ("tools/call", "url") => text(&ask(turn, &json!(0), URL).to_string()),
        ("tools/call", "two") => {
            put(turn, &json!("one"), FORM);
            text(&ask(turn, &json!(2), ROOTS).to_string())
        }
        ("tools/call", "twice") => {
            let first = ask(turn, &json!("a"), FORM);
            let token = turn.message["params"]["_meta"]["progressToken"].clone();
            turn.progress(&token, 1);
            text(&json!([first, ask(turn, &json!("b"), FORM)]).to_string())
        }
        ("tools/call", "leave") => {
            put(turn, &json!("leave"), FORM);
            turn.wait("leave");
            text("left")
        }
        ("tools/call", "die") => {
            put(turn, &json!("die"), FORM);
            turn.wait("die");
            turn.hang_up();
            text("")
        }
        ("tools/call", "first") if !turn.was_said("opened") => {
            let url: Value = serde_json::from_str(URL.1).unwrap();
            json!({"error": {"code": -32042, "message": "first", "data": {"elicitations": [url]}}})
        }
        ("tools/call", _) => text("done"),
        _ => no_method(),
    })
}

/// A modern client over HTTP.
fn send(url: &str, tool: &str, more: &str, meta: &str) -> Reply {
    let (headers, body) = request("7", tool, more, meta);
    Http::post(url, &headers, &body)
}

fn request<'t>(
    id: &str,
    tool: &'t str,
    more: &str,
    meta: &str,
) -> ([(&'static str, &'t str); 3], String) {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{{"n":1}}{more},{meta}}}}}"#
    );
    let headers =
        [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/call"), ("Mcp-Name", tool)];
    (headers, body)
}

fn called(gateway: &Gateway, tool: &str, more: &str) -> Value {
    let reply = send(&gateway.url(), tool, more, &able());
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.answer()
}

/// What a result asks: the questions by their keys, and the state.
#[track_caller]
fn asked(answer: &Value) -> (Vec<(String, Value)>, String) {
    let result = &answer["result"];
    assert_eq!(result["resultType"], "input_required", "{answer}");
    let requests = result["inputRequests"].as_object().unwrap();
    let questions = requests.iter().map(|(key, question)| (key.clone(), question.clone()));
    (questions.collect(), result["requestState"].as_str().unwrap().to_owned())
}

fn accept(name: &str) -> Value {
    json!({"action": "accept", "content": {"name": name}})
}

/// The members of a request that brings answers.
fn bringing(answers: &[(&str, Value)], state: &str) -> String {
    let answers: serde_json::Map<String, Value> =
        answers.iter().map(|(key, answer)| ((*key).to_owned(), answer.clone())).collect();
    format!(r#","inputResponses":{},"requestState":{}"#, Value::Object(answers), json!(state))
}

fn said(answer: &Value) -> Value {
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    let text = answer["result"]["content"][0]["text"].as_str().unwrap();
    serde_json::from_str(text).unwrap_or_else(|_| json!(text))
}

#[test]
fn a_modern_client_is_asked_by_a_result_and_the_call_goes_on_when_it_comes_back() {
    each(|over| {
        let peer = asking(over);
        let gateway = peer.gateway("");
        let (questions, state) = asked(&called(&gateway, "u__form", ""));
        let (key, question) = &questions[0];
        let params: Value = serde_json::from_str(FORM.1).unwrap();
        assert_eq!(*question, json!({"method": FORM.0, "params": params}), "{over:?}");
        assert_eq!(questions.len(), 1);
        let done = called(&gateway, "u__form", &bringing(&[(key, accept("ü"))], &state));
        assert_eq!(said(&done), accept("ü"), "{over:?}");
        assert_eq!(done["id"], 7);
        assert_eq!(peer.calls("form").len(), 1, "{over:?}");
        // Its own id, with its type; once.
        assert_eq!(peer.answers(&json!("q\"1")).len(), 1, "{over:?}");

        let (questions, state) = asked(&called(&gateway, "u__url", ""));
        let params = &questions[0].1["params"];
        assert_eq!((&params["mode"], params.get("elicitationId")), (&json!("url"), None));
        let answers = [(questions[0].0.as_str(), json!({"action": "decline"}))];
        let done = called(&gateway, "u__url", &bringing(&answers, &state));
        assert_eq!(said(&done), json!({"action": "decline"}), "{over:?}");
        assert_eq!(peer.answers(&json!(0)).len(), 1, "{over:?}");
    });
}

#[test]
fn a_client_on_a_pipe_is_asked_by_results_too() {
    let peer = asking(Over::Http);
    let mut pipe = StdioClient::start(&crate::support::upstream::config(&peer.tables("u", "")));
    pipe.send(&request("1", "u__form", "", &able()).1);
    let (questions, state) = asked(&pipe.next());
    let more = bringing(&[(&questions[0].0, accept("x"))], &state);
    pipe.send(&request("\"2\"", "u__form", &more, &able()).1);
    let done = pipe.next();
    assert_eq!((said(&done), &done["id"]), (accept("x"), &json!("2")));
}

#[test]
fn questions_at_once_are_one_round_what_is_missing_is_asked_again_and_what_is_unknown_ignored() {
    each(|over| {
        // A busy machine may keep them apart for longer than they are waited for.
        let begin = || {
            let peer = asking(over);
            let gateway = peer.gateway("");
            let (questions, first) = asked(&called(&gateway, "u__two", ""));
            (questions.len() == 2).then_some((peer, gateway, questions, first))
        };
        let (peer, gateway, questions, first) = (0..10).find_map(|_| begin()).unwrap();
        let of = |method: &str| {
            questions.iter().find(|(_, q)| q["method"] == method).unwrap().0.as_str()
        };
        let some = [(of("elicitation/create"), accept("x")), ("else", json!({"n": 1}))];
        let (rest, second) = asked(&called(&gateway, "u__two", &bringing(&some, &first)));
        assert_eq!(rest.len(), 1);
        assert_eq!((rest[0].0.as_str(), first == second), (of("roots/list"), false));
        // What is no object is no answer.
        let odd = [(of("roots/list"), json!("x"))];
        let (_, third) = asked(&called(&gateway, "u__two", &bringing(&odd, &second)));
        let last = [(of("roots/list"), json!({"roots": []}))];
        let done = called(&gateway, "u__two", &bringing(&last, &third));
        assert_eq!(said(&done), json!({"roots": []}), "{over:?}");
        assert_eq!(peer.answers(&json!("one")).len(), 1);
        assert_eq!(peer.calls("two").len(), 1);
    });
}

#[test]
fn questions_one_after_the_other_are_rounds_and_notes_go_to_the_request_that_waits() {
    each(|over| {
        let peer = asking(over);
        let gateway = peer.gateway("");
        let with = |token: &str| {
            able().replacen("\"_meta\":{", &format!(r#""_meta":{{"progressToken":{token},"#), 1)
        };
        let url = gateway.url();
        let (questions, first) = asked(&send(&url, "u__twice", "", &with("\"t\"")).answer());
        let more = bringing(&[(&questions[0].0, accept("1"))], &first);
        let reply = send(&url, "u__twice", &more, &with("8"));
        let (next, second) = asked(&reply.answer());
        let progress: Vec<_> =
            reply.messages().iter().map(|m| m["params"]["progressToken"].clone()).collect();
        assert_eq!(progress[0], 8, "{over:?}: {reply:?}");
        assert_ne!((&next[0].0, &second), (&questions[0].0, &first));
        let more = bringing(&[(&next[0].0, accept("2"))], &second);
        let done = send(&url, "u__twice", &more, &able()).answer();
        assert_eq!(said(&done), json!([accept("1"), accept("2")]), "{over:?}");
        assert_eq!(peer.calls("twice").len(), 1);
    });
}

#[test]
fn a_state_serves_once_for_its_own_request_and_nothing_else_reaches_the_server() {
    let peer = asking(Over::Http);
    let gateway = peer.gateway("");
    let (questions, state) = asked(&called(&gateway, "u__form", ""));
    let answers = [(questions[0].0.as_str(), accept("x"))];
    let mut flipped = state.clone().into_bytes();
    let last = flipped.last_mut().unwrap();
    *last = if *last == b'0' { b'1' } else { b'0' };
    let flipped = String::from_utf8(flipped).unwrap();
    let long = format!("wp1.{}", "a".repeat(1 << 20));
    let mut cut = state.clone();
    cut.pop();
    for bad in [&flipped, &cut, "wp1.", &long] {
        let refused = called(&gateway, "u__form", &bringing(&answers, bad));
        assert_eq!(refused["error"]["code"], -32602, "{refused}");
    }
    // Another tool, and other arguments.
    for (tool, arguments) in [("u__url", r#"{"n":1}"#), ("u__form", r#"{"n":2}"#)] {
        let (headers, body) = request("7", tool, &bringing(&answers, &state), &able());
        let body = body.replace(r#"{"n":1}"#, arguments);
        let refused = Http::post(&gateway.url(), &headers, &body).answer();
        assert_eq!(refused["error"]["code"], -32602, "{refused}");
    }
    assert!(peer.answers(&json!("q\"1")).is_empty());
    // Two at once: one of them goes on.
    let more = bringing(&answers, &state);
    let ends: Vec<Value> = std::thread::scope(|scope| {
        let both: Vec<_> =
            (0..2).map(|_| scope.spawn(|| called(&gateway, "u__form", &more))).collect();
        both.into_iter().map(|call| call.join().unwrap()).collect()
    });
    let codes: BTreeSet<i64> =
        ends.iter().map(|end| end["error"]["code"].as_i64().unwrap_or(0)).collect();
    assert_eq!(codes, BTreeSet::from([-32602, 0]), "{ends:?}");
    let again = called(&gateway, "u__form", &more);
    assert_eq!(again["error"]["code"], -32602, "{again}");
    assert_eq!((peer.calls("form").len(), peer.answers(&json!("q\"1")).len()), (1, 1));
}

#[test]
fn a_state_serves_the_principal_it_was_given_to() {
    let peer = asking(Over::Http);
    let gateway = gateway("", &peer.tables("u", ""));
    let (alice, bob) = (Shower::of(&gateway, ALICE), Shower::of(&gateway, BOB));
    let by = |shower: &Shower, more: &str| {
        let (headers, body) = request("7", "u__form", more, &able());
        shower.post(&headers, &body).answer()
    };
    eventually("the tool", || by(&alice, "").get("result").map(drop));
    let before = peer.calls("form").len();
    let (questions, state) = asked(&by(&alice, ""));
    let more = bringing(&[(&questions[0].0, accept("x"))], &state);
    let refused = by(&bob, &more);
    assert_eq!(refused["error"]["code"], -32602, "{refused}");
    assert_eq!(said(&by(&alice, &more)), accept("x"));
    assert_eq!(peer.calls("form").len(), before + 1);
}

#[test]
fn a_call_that_ends_while_it_is_parked_is_answered_when_its_client_comes_back() {
    each(|over| {
        let peer = asking(over);
        let gateway = peer.gateway("");
        let (questions, state) = asked(&called(&gateway, "u__leave", ""));
        peer.say("leave");
        let more = bringing(&[(&questions[0].0, accept("late"))], &state);
        assert_eq!(said(&called(&gateway, "u__leave", &more)), "left", "{over:?}");

        let (questions, state) = asked(&called(&gateway, "u__die", ""));
        peer.say("die");
        let more = bringing(&[(&questions[0].0, accept("late"))], &state);
        let lost = called(&gateway, "u__die", &more);
        assert_eq!(lost["error"]["data"]["delivery"], "unknown", "{over:?}: {lost}");
        assert_eq!(peer.calls("die").len(), 1, "{over:?}");
    });
}

#[test]
fn a_client_with_too_many_parked_calls_loses_its_oldest_whose_server_hears_so() {
    let peer = asking(Over::Http);
    let gateway = peer.gateway("limits.inflight_replica = 200");
    // All on one connection, which is one client.
    let mut open = Kept::to(&gateway);
    let mut park = || {
        let (headers, body) = request("7", "u__leave", "", &able());
        asked(&open.post(&headers, &body).answer())
    };
    let (questions, oldest) = park();
    for _ in 0..63 {
        park();
    }
    assert!(peer.answers(&json!("leave")).is_empty());
    park();
    assert!((metric(&gateway, "mcp_parked_calls") - 64.0).abs() < 0.1);
    let told = peer.answered(&json!("leave")).message;
    assert_eq!(told["result"], json!({"action": "cancel"}));
    let call = peer.calls("leave")[0].message["id"].clone();
    let note = peer.first("notifications/cancelled");
    assert_eq!(note.message["params"]["requestId"], call);
    let more = bringing(&[(&questions[0].0, accept("late"))], &oldest);
    let refused = called(&gateway, "u__leave", &more);
    assert_eq!(refused["error"]["code"], -32602, "{refused}");
    assert_eq!(peer.calls("leave").len(), 65);
    peer.say("leave");
}

#[test]
fn two_clients_on_one_child_are_never_taken_for_each_other() {
    let peer = asking(Over::Stdio);
    let gateway = peer.gateway("");
    let (questions, state) = asked(&called(&gateway, "u__form", ""));
    // The child's next question could be of either call: it is refused.
    let other = called(&gateway, "u__url", "");
    assert_eq!(said(&other), Value::Null, "{other}");
    assert_eq!(peer.answered(&json!(0)).message["error"]["code"], -32601);
    let more = bringing(&[(&questions[0].0, accept("mine"))], &state);
    assert_eq!(said(&called(&gateway, "u__form", &more)), accept("mine"));
}

#[test]
fn once_two_have_met_on_a_child_each_parked_call_has_one_to_itself() {
    let peer = Peer::start(Era::Legacy, Over::Stdio, |turn| match turn.method() {
        "tools/list" => tools(&["form"]),
        "tools/call" => {
            let id = json!(format!("{} {}", turn.session, turn.message["id"]));
            text(&ask(turn, &id, FORM).to_string())
        }
        _ => no_method(),
    });
    let gateway = peer.gateway("");
    let mut parked = vec![asked(&called(&gateway, "u__form", ""))];
    assert_eq!(said(&called(&gateway, "u__form", "")), Value::Null, "it could be of either call");
    eventually("the gateway to take note", || {
        gateway.stderr().contains("from now on each has one to itself").then_some(())
    });
    parked.extend((0..3).map(|_| asked(&called(&gateway, "u__form", ""))));
    for (n, (questions, state)) in parked.iter().enumerate().rev() {
        let accept = accept(&n.to_string());
        let more = bringing(&[(&questions[0].0, accept.clone())], state);
        assert_eq!(said(&called(&gateway, "u__form", &more)), accept);
    }
    let at: Vec<usize> = peer.calls("form").iter().map(|call| call.session).collect();
    assert_eq!((at.len(), at[0] == at[1]), (5, true), "{at:?}");
    assert_eq!(at[1..].iter().collect::<BTreeSet<_>>().len(), 4, "{at:?}");
}

#[test]
fn a_client_that_cannot_be_asked_or_an_upstream_that_may_not_ask_is_told_so() {
    let peer = asking(Over::Http);
    let gateway = peer.gateway("");
    let only = MODERN_META.replace(
        r#""io.modelcontextprotocol/clientCapabilities":{}"#,
        r#""io.modelcontextprotocol/clientCapabilities":{"elicitation":{}}"#,
    );
    let done = send(&gateway.url(), "u__url", "", &only).answer();
    assert_eq!(said(&done), Value::Null, "{done}");
    assert_eq!(peer.answered(&json!(0)).message["error"]["code"], -32601);

    let peer = asking(Over::Http);
    let gateway = peer.gateway("interactive_bridge = \"refuse\"");
    let done = called(&gateway, "u__form", "");
    assert_eq!(said(&done), Value::Null, "{done}");
    assert_eq!(peer.answered(&json!("q\"1")).message["error"]["code"], -32601);
    // A ticket from before that was set, used or not, runs nothing.
    let refused = called(&gateway, "u__form", &bringing(&[], "wp1.0123456789abcdef"));
    assert_eq!(refused["error"]["code"], -32602, "{refused}");
    assert_eq!(peer.calls("form").len(), 1);
}

#[test]
fn a_server_that_wants_a_url_opened_first_gets_the_call_again_when_it_was() {
    each(|over| {
        let peer = asking(over);
        let gateway = peer.gateway("");
        let answer = called(&gateway, "u__first", "");
        let result = &answer["result"];
        assert_eq!(result["resultType"], "input_required", "{over:?}: {answer}");
        assert_eq!(result.get("requestState"), None);
        let (key, question) = result["inputRequests"].as_object().unwrap().iter().next().unwrap();
        let params = json!({"mode": "url", "message": "Go", "url": "https://x.example/"});
        assert_eq!(*question, json!({"method": "elicitation/create", "params": params}));
        peer.say("opened");
        let answers = json!({ key: {"action": "accept"} });
        let done = called(&gateway, "u__first", &format!(r#","inputResponses":{answers}"#));
        assert_eq!(said(&done), "done", "{over:?}");
        let seen = peer.calls("first");
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[1].message["params"].get("inputResponses"), None, "{over:?}");

        // A client that cannot open one is told what it lacks.
        let peer = asking(over);
        let gateway = peer.gateway("");
        replicas_up(&gateway, "u", 1);
        let refused = send(&gateway.url(), "u__first", "", MODERN_META);
        assert_eq!(refused.verdict(), (400, -32021), "{over:?}: {refused:?}");
        let peer = asking(over);
        let gateway = peer.gateway("interactive_bridge = \"refuse\"");
        let refused = called(&gateway, "u__first", "");
        assert_eq!(refused["error"]["code"], -32603, "{over:?}: {refused}");
        assert!(refused["error"]["message"].as_str().unwrap().contains("interactive_bridge"));
    });
}

#[test]
fn a_client_that_hangs_up_before_it_is_asked_cancels_the_call() {
    let peer = asking(Over::Http);
    let gateway = peer.gateway("");
    let (questions, state) = asked(&called(&gateway, "u__leave", ""));
    // It comes back, waits for the end, and leaves.
    let more = bringing(&[(&questions[0].0, accept("x"))], &state);
    let (headers, body) = request("7", "u__leave", &more, &able());
    let waiting: Open = Http::open(&gateway.url(), &headers, &body);
    peer.answered(&json!("leave"));
    drop(waiting);
    let call = peer.calls("leave")[0].message["id"].clone();
    let note = peer.first("notifications/cancelled");
    assert_eq!(note.message["params"]["requestId"], call);
    peer.say("leave");
}

#[test]
fn a_gateway_that_was_started_anew_runs_nothing_for_a_state_of_the_one_before() {
    each(|over| {
        let peer = asking(over);
        let config = crate::support::upstream::config(&peer.tables("u", ""));
        let mut first = Gateway::start(&config);
        replicas_up(&first, "u", 1);
        let (questions, state) = asked(&called(&first, "u__form", ""));
        // As `kill -9` does: nothing is handed over.
        first.kill();
        let second = Gateway::start(&config);
        replicas_up(&second, "u", 1);
        let more = bringing(&[(&questions[0].0, accept("x"))], &state);
        for _ in 0..2 {
            let refused = called(&second, "u__form", &more);
            assert_eq!(refused["error"]["code"], -32602, "{over:?}: {refused}");
        }
        assert_eq!(peer.calls("form").len(), 1, "{over:?}: it is not run again");
        // Anew, without it, it is another call.
        asked(&called(&second, "u__form", ""));
        assert_eq!(peer.calls("form").len(), 2, "{over:?}");
    });
}

#[test]
fn a_state_opens_no_tool_that_is_hidden() {
    let peer = asking(Over::Http);
    let gateway = peer.gateway("tools.exclude = [\"url\"]");
    let (questions, state) = asked(&called(&gateway, "u__form", ""));
    let more = bringing(&[(&questions[0].0, accept("x"))], &state);
    let refused = called(&gateway, "u__url", &more);
    assert!(refused["error"].is_object(), "{refused}");
    assert!(peer.calls("url").is_empty() && peer.answers(&json!("q\"1")).is_empty());
    assert_eq!(said(&called(&gateway, "u__form", &more)), accept("x"), "it is good still");
}
