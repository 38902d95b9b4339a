//! What happens while a call runs: progress, log messages, giving it up.

use serde_json::{Value, json};

use crate::support::hearer::call_of;
use crate::support::{Era, PATIENCE, eventually};

use super::Cell;

/// Progress comes under the client's own token with its type, and not without one.
pub(super) fn progress(cell: &mut Cell) {
    let params = call_of("u__test_tool_with_progress", "{}");
    for token in [json!("p"), json!(7), json!("7")] {
        let heard =
            cell.client.ask_with("tools/call", &params, &format!(r#""progressToken":{token}"#));
        let seen: Vec<Value> = heard
            .notes_of("notifications/progress")
            .iter()
            .map(|note| note["params"].clone())
            .collect();
        let step = |progress: f64, message: &str| json!({"progressToken": token, "progress": progress, "total": 100.0, "message": message});
        assert_eq!(seen, [step(0.0, "begun"), step(50.0, "half done"), step(100.0, "done")]);
        heard.result();
    }
    let heard = cell.client.ask("tools/call", &params);
    assert_eq!(heard.notes_of("notifications/progress"), Vec::<&Value>::new());
}

const STARTED: &str = "Tool execution started";
const LOGGED: [&str; 3] = [STARTED, "Tool processing data", "Tool execution completed"];

/// Log messages come from the level on that the client names: a legacy one once, a modern one in
/// each request.
pub(super) fn logs(cell: &mut Cell) {
    match cell.client.era {
        Era::Legacy => logs_of_a_session(cell),
        Era::Modern => logs_of_a_request(cell),
    }
}

fn logs_of_a_session(cell: &mut Cell) {
    cell.client.listen(&Value::Null);
    cell.result("logging/setLevel", r#""level":"warning""#);
    let mut logs = logged(&cell.client.call("u__test_logging_tool", "{}").notes);
    cell.result("logging/setLevel", r#""level":"info""#);
    logs.extend(logged(&cell.client.call("u__test_tool_with_logging", "{}").notes));
    // Those that their server sends outside of the call come as news.
    while logs.len() < LOGGED.len() {
        let news = cell.client.news();
        logs.extend(logged(&[news]));
    }
    assert_eq!(logs, LOGGED);
    cell.client.unlisten();
}

fn logs_of_a_request(cell: &mut Cell) {
    let params = call_of("u__test_tool_with_logging", "{}");
    let mut logs = |meta: &str| logged(&cell.client.ask_with("tools/call", &params, meta).notes);
    let none = Vec::<String>::new();
    assert_eq!(logs(""), none, "without a level");
    assert_eq!(logs(r#""io.modelcontextprotocol/logLevel":"warning""#), none);
    assert_eq!(logs(r#""io.modelcontextprotocol/logLevel":"info""#), LOGGED);
}

/// What the fixture logged at level info.
fn logged(messages: &[Value]) -> Vec<String> {
    let logs = messages.iter().filter(|message| message["method"] == "notifications/message");
    let text = |log: &Value| {
        assert_eq!(
            (&log["params"]["level"], &log["params"]["logger"]),
            (&json!("info"), &json!("fixture"))
        );
        log["params"]["data"].as_str().unwrap().to_owned()
    };
    logs.map(text).collect()
}

/// A call that the client gives up is given up at the upstream.
pub(super) fn cancellation(cell: &mut Cell) {
    if cell.watched.is_some() {
        return cancellation_closes_the_connection(cell);
    }
    let before = cell.demo.of("notifications/cancelled").len();
    let begun = cell.client.begin("tools/call", &call_of("d__sleep", r#"{"ms":600000}"#), "");
    let id = eventually("the call to arrive", || {
        let got = cell.demo.of("tools/call");
        let call = got.iter().rev().find(|got| got.json()["params"]["name"] == "sleep")?;
        Some(call.json()["id"].clone())
    });
    cell.client.cancel(begun);
    let note = eventually("the cancellation", || {
        cell.demo.of("notifications/cancelled").into_iter().nth(before)
    });
    assert_eq!(note.json()["params"]["requestId"], id, "{note:?}");
    cell.call("d__whoami", "{}");
}

/// To a modern server behind a URL the end of the connection is the whole message.
fn cancellation_closes_the_connection(cell: &mut Cell) {
    let begun = cell.client.begin("tools/call", &call_of("w__t", "{}"), "");
    let events = &cell.watched.as_ref().unwrap().events;
    assert_eq!(events.recv_timeout(PATIENCE), Ok("called"));
    cell.client.cancel(begun);
    assert_eq!(events.recv_timeout(PATIENCE), Ok("closed"));
    cell.call("d__whoami", "{}");
}
