//! Calls that run as tasks: peers of one era have them, others get the result within the call.

use serde_json::{Value, json};

use crate::support::Era;
use crate::support::hearer::call_of;
use crate::support::worker::about;

use super::Cell;

/// A call that becomes a task, and the name of that; `None` where the eras differ: there are no
/// tasks.
fn made(cell: &mut Cell) -> Option<Value> {
    let plain = call_of("t__must", "{}");
    let (params, path) = match (cell.client_side.0, cell.upstream_side.0) {
        (Era::Legacy, Era::Legacy) => (format!(r#"{plain},"task":{{}}"#), "/task/taskId"),
        (Era::Modern, Era::Modern) => (plain, "/taskId"),
        _ => return None,
    };
    let made = cell.client.ask("tools/call", &params);
    Some(made.result().pointer(path).unwrap().clone())
}

/// A tool that runs only as a task comes to its end, and runs once.
pub(super) fn to_its_end(cell: &mut Cell) {
    cell.worker.say("done");
    let end = match (made(cell), cell.client_side.0) {
        (None, _) => cell.client.call("t__must", "{}").result().clone(),
        (Some(task), Era::Legacy) => {
            cell.client.ask("tasks/result", &about(&task)).result().clone()
        }
        (Some(task), Era::Modern) => {
            let state = cell.client.ask("tasks/get", &about(&task));
            assert_eq!(state.result()["status"], "completed");
            state.result()["result"].clone()
        }
    };
    assert!(end["content"][0]["text"].as_str().unwrap().starts_with("it is done"), "{end}");
}

/// A client asks after its task and gives it up. Across the eras there is none to ask after.
pub(super) fn state(cell: &mut Cell) {
    let Some(task) = made(cell) else {
        let refused = cell.error("tasks/get", r#""taskId":"t""#);
        assert!([-32601, -32602].map(Value::from).contains(&refused["code"]), "{refused}");
        return;
    };
    let state = cell.client.ask("tasks/get", &about(&task)).result().clone();
    assert_eq!(state["taskId"], task, "{state}");
    assert_eq!(state["statusMessage"], json!("it is completed"), "{state}");
    let end = cell.client.ask("tasks/cancel", &about(&task)).result().clone();
    let known = match cell.client_side.0 {
        Era::Legacy => end["status"] == "cancelled" && end["taskId"] == task,
        Era::Modern => end == json!({"resultType": "complete"}),
    };
    assert!(known, "{end}");
}
