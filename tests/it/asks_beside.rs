//! Questions of a legacy server on the standing stream of its session, in the middle of a call: they
//! reach the client of the one call that can be asked, and nobody else (2025-11-25, basic/transports,
//! "Listening for Messages from the Server").

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use serde_json::{Value, json};

use crate::support::puppet::{Offer, Puppet, Seen, Wire};
use crate::support::session::call;
use crate::support::toml::{upstream, url};
use crate::support::{Era, Gateway, PATIENCE, Session, eventually, replicas_up};

/// What the server has said and heard.
#[derive(Default)]
struct Table {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Sessions whose standing stream is open.
    standing: Vec<String>,
    /// Questions that were not put yet, with their sessions.
    put: Vec<(String, Value)>,
    answers: Vec<Value>,
}

impl Table {
    /// Waits until something can be taken out of the state.
    fn take<T>(&self, mut take: impl FnMut(&mut State) -> Option<T>) -> Option<T> {
        let mut state = self.state.lock();
        loop {
            if let Some(taken) = take(&mut state) {
                return Some(taken);
            }
            if self.changed.wait_for(&mut state, PATIENCE).timed_out() {
                return None;
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.changed.notify_all();
    }
}

/// A server with nothing but tools. Each call of `ask` asks on the standing stream of its session,
/// and answers with what was answered; `hold` waits until somebody has asked and was answered.
fn server() -> (Puppet, Arc<Table>) {
    let table = Arc::<Table>::default();
    let mut offer = Offer::new("u", Era::Legacy).tools(&["ask", "hold"]);
    offer.capabilities = json!({"tools": {}});
    let own = Arc::clone(&table);
    let puppet = Puppet::start(offer, move |seen, wire| play(&own, seen, wire));
    (puppet, table)
}

fn play(table: &Table, seen: &Seen, wire: &mut Wire) -> bool {
    let session = seen.header("mcp-session-id").unwrap_or_default().to_owned();
    if seen.verb == "GET" {
        wire.stream();
        table.change(|state| state.standing.push(session.clone()));
        while let Some(question) = table.take(|state| {
            let place = state.put.iter().position(|(whose, _)| *whose == session)?;
            Some(state.put.remove(place).1)
        }) {
            wire.event(&question);
        }
    } else if seen.method() == "tools/call" {
        let id = json!(format!("q-{}", seen.body["id"]));
        if seen.param("name") == "ask" {
            let params = json!({"message": "?", "requestedSchema": {"type": "object"}});
            let question = json!({"jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": params});
            table.take(|state| state.standing.contains(&session).then_some(()));
            table.change(|state| state.put.push((session.clone(), question)));
        }
        let asks = seen.param("name") == "ask";
        let answered = table
            .take(|state| state.answers.iter().find(|answer| !asks || answer["id"] == id).cloned());
        let text = json!({"type": "text", "text": answered.unwrap_or_default().to_string()});
        wire.json(&seen.result(&json!({"content": [text]})));
    } else if seen.body.get("method").is_none() && seen.verb == "POST" {
        table.change(|state| state.answers.push(seen.body.clone()));
        wire.whole(202, &[], "");
    } else {
        return false;
    }
    true
}

fn said(answer: &Value) -> Value {
    serde_json::from_str(answer["result"]["content"][0]["text"].as_str().unwrap()).unwrap()
}

/// A gateway before the server, and a client that can be asked and has listed the tools.
fn stage(server: &Puppet) -> (Gateway, Session) {
    let gateway = Gateway::start(&upstream("u", "", &[url(&server.url)]));
    replicas_up(&gateway, "u", 1);
    let client = Session::open(&gateway, r#"{"elicitation":{}}"#);
    eventually("the tools", || client.tools().iter().find(|tool| *tool == "u__ask").cloned());
    (gateway, client)
}

#[test]
fn the_one_call_that_can_be_asked_is_asked_and_its_answer_goes_back() {
    let (server, _) = server();
    let (gateway, client) = stage(&server);
    // A client that cannot be asked has a call too: it is not meant.
    let other = Session::open(&gateway, "{}");
    let held = other.begin(&call("1", "u__hold", ""));
    eventually("the held call", || (server.requests("tools/call").len() == 1).then_some(()));
    let mut open = client.begin(&call("2", "u__ask", ""));
    let question = open.next().unwrap();
    assert_eq!(
        (&question["method"], &question["params"]["message"]),
        (&json!("elicitation/create"), &json!("?"))
    );
    client.answer(&question, &json!({"result": {"action": "accept", "content": {"a": 1}}}));
    let answer = open.next().unwrap();
    assert_eq!(answer["id"], 2);
    assert_eq!(said(&answer)["result"], json!({"action": "accept", "content": {"a": 1}}));
    drop(held);
}

#[test]
fn what_could_be_meant_for_two_is_refused() {
    let (server, _) = server();
    let (_gateway, client) = stage(&server);
    let mut held = client.begin(&call("1", "u__hold", ""));
    eventually("the held call", || (server.requests("tools/call").len() == 1).then_some(()));
    let answer = client.post(&call("2", "u__ask", "")).answer();
    assert_eq!(said(&answer)["error"]["code"], -32601, "{answer}");
    assert_eq!(said(&held.next().unwrap())["error"]["code"], -32601);
}

#[test]
fn what_may_be_of_a_call_that_was_given_up_is_refused() {
    let (server, _) = server();
    let (_gateway, client) = stage(&server);
    let _held = client.begin(&call("1", "u__hold", ""));
    eventually("the held call", || (server.requests("tools/call").len() == 1).then_some(()));
    client.cancel("1");
    let is_told = || (!server.requests("notifications/cancelled").is_empty()).then_some(());
    eventually("the server to be told", is_told);
    let answer = client.post(&call("2", "u__ask", "")).answer();
    assert_eq!(said(&answer)["error"]["code"], -32601, "{answer}");
}
