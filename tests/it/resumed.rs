//! A legacy client that lost the stream of its call comes back to it (2025-11-25, transports,
//! "Resumability and Redelivery"): it misses nothing, gets nothing twice, and only what is its own.

use serde_json::{Value, json};

use crate::support::client::Open;
use crate::support::peer::{no_method, text, tools};
use crate::support::session::call;
use crate::support::{Era, Gateway, Http, MODERN_META, Over, Peer, Session, eventually, listed};

/// A server whose tools tell something, and go on when the test says so.
fn telling() -> Peer {
    Peer::start(Era::Legacy, Over::Http, |turn| match (turn.method(), turn.name()) {
        ("tools/list", _) => tools(&["talk", "ask"]),
        ("tools/call", "talk") => {
            let token = turn.message["params"]["_meta"]["progressToken"].clone();
            turn.progress(&token, 1);
            turn.wait("more");
            turn.progress(&token, 2);
            turn.wait("end");
            text("done")
        }
        ("tools/call", "ask") => {
            let token = turn.message["params"]["_meta"]["progressToken"].clone();
            turn.progress(&token, 1);
            turn.wait("ask");
            let params = json!({"message": "?", "requestedSchema": {}});
            text(&turn.ask(&json!("q"), "elicitation/create", &params)["result"].to_string())
        }
        _ => no_method(),
    })
}

/// A gateway before it, where the tools are known.
fn stage() -> (Peer, Gateway) {
    let peer = telling();
    let gateway = peer.gateway("");
    listed(&gateway, "u__talk");
    (peer, gateway)
}

fn begin(client: &Session, id: &str, tool: &str) -> Open {
    client.begin(&call(id, tool, &format!(r#""_meta":{{"progressToken":{id}}}"#)))
}

/// The id and the message of an event; null where it has no data.
#[track_caller]
fn event(open: &mut Open) -> Option<(String, Value)> {
    let text = open.event()?;
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let data = line("data:").unwrap_or_default();
    Some((
        line("id: ").unwrap_or_default().to_owned(),
        serde_json::from_str(data).unwrap_or_default(),
    ))
}

/// The stream begins with the event that the client has had, without data: so it has one to come
/// back with.
fn come_back(gateway: &Gateway, client: &Session, last: &str) -> Open {
    let mut open = Http::come_back(&gateway.url(), &client.id, last);
    if open.status() == 200 {
        assert_eq!(event(&mut open), Some((last.to_owned(), Value::Null)));
    }
    open
}

fn rest(open: &mut Open) -> Vec<(String, Value)> {
    std::iter::from_fn(|| event(open)).collect()
}

#[test]
fn a_client_that_lost_its_stream_gets_the_rest_of_it_once() {
    let (peer, gateway) = stage();
    let client = Session::open(&gateway, r#"{"elicitation":{}}"#);
    let mut open = begin(&client, "7", "u__talk");
    let (first, nothing) = event(&mut open).unwrap();
    assert_eq!(nothing, Value::Null, "an event to come back with");
    let (second, note) = event(&mut open).unwrap();
    assert_eq!(note["params"]["progress"], 1);
    assert_ne!(first, second);
    // Another call of the same session, whose events are not this one's.
    let mut other = begin(&client, "8", "u__talk");
    event(&mut other).unwrap();
    let (others, _) = event(&mut other).unwrap();
    drop(open);
    peer.say("more");

    let mut back = come_back(&gateway, &client, &second);
    let (third, note) = event(&mut back).unwrap();
    assert_eq!(
        (&note["params"]["progress"], &note["params"]["progressToken"]),
        (&json!(2), &json!(7))
    );
    // Lost once more.
    drop(back);
    peer.say("end");
    let mut back = come_back(&gateway, &client, &third);
    let end = rest(&mut back);
    assert_eq!(end.len(), 1, "{end:?}");
    assert_eq!(end[0].1["id"], 7);
    assert_eq!(end[0].1["result"]["content"][0]["text"], "done");
    // From the beginning again: the same events under the same ids.
    let all = rest(&mut come_back(&gateway, &client, &first));
    let ids: Vec<&str> = all.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, [&second, &third, &end[0].0]);
    assert!(rest(&mut come_back(&gateway, &client, &end[0].0)).is_empty());
    let others = rest(&mut come_back(&gateway, &client, &others));
    assert_eq!(others.last().unwrap().1["id"], 8);

    assert_eq!(peer.calls("talk").len(), 2);
    assert!(peer.heard("notifications/cancelled").is_empty());
}

#[test]
fn a_client_that_was_away_when_it_was_asked_answers_when_it_is_back() {
    let (peer, gateway) = stage();
    let client = Session::open(&gateway, r#"{"elicitation":{}}"#);
    let mut open = begin(&client, "1", "u__ask");
    event(&mut open).unwrap();
    let (last, _) = event(&mut open).unwrap();
    drop(open);
    peer.say("ask");
    let mut back = come_back(&gateway, &client, &last);
    let (_, asked) = event(&mut back).unwrap();
    assert_eq!(asked["method"], "elicitation/create");
    client.answer(&asked, &json!({"result": {"action": "accept"}}));
    let (_, done) = event(&mut back).unwrap();
    assert_eq!(done["result"]["content"][0]["text"], r#"{"action":"accept"}"#);
    assert_eq!(peer.answers(&json!("q")).len(), 1);
}

#[test]
fn what_is_not_kept_is_refused_and_a_session_gets_nothing_of_another() {
    let (peer, gateway) = stage();
    let (one, other) = (Session::open(&gateway, "{}"), Session::open(&gateway, "{}"));
    let mut open = begin(&one, "1", "u__talk");
    let (first, _) = event(&mut open).unwrap();
    event(&mut open).unwrap();
    for (client, last) in [(&other, first.as_str()), (&one, "99-0"), (&one, "1-99"), (&one, "x")] {
        assert_eq!(come_back(&gateway, client, last).status(), 400, "{last}");
    }
    peer.say("more");
    peer.say("end");
    rest(&mut open);
    // A session that ends takes the streams with it.
    let ended = Http::send("DELETE", &gateway.url(), &[("Mcp-Session-Id", &one.id)], "");
    assert!((200..300).contains(&ended.status));
    assert_eq!(come_back(&gateway, &one, &first).status(), 404);
}

#[test]
fn only_the_newest_legacy_clients_get_an_event_without_data_and_modern_ones_no_ids() {
    let (peer, gateway) = stage();
    let client = Session::of(&gateway, "2025-06-18", "{}");
    let mut open = begin(&client, "1", "u__talk");
    let (id, note) = event(&mut open).unwrap();
    assert_eq!((id.is_empty(), &note["params"]["progress"]), (false, &json!(1)));

    let meta = MODERN_META.replacen('{', r#"{"progressToken":2,"#, 1);
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{{"name":"u__talk",{meta}}}}}"#
    );
    let headers = [
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", "tools/call"),
        ("Mcp-Name", "u__talk"),
    ];
    let mut open = Http::open(&gateway.url(), &headers, &body);
    let (id, note) = event(&mut open).unwrap();
    assert_eq!((id.as_str(), &note["params"]["progress"]), ("", &json!(1)));
    // It hangs up, and so cancels.
    drop(open);
    eventually("the cancellation", || peer.heard("notifications/cancelled").pop());
    peer.say("more");
    peer.say("end");
}
