//! Servers whose tools run as tasks, in the way of each era.

use serde_json::{Value, json};

use super::peer::{Turn, no_method, result, text};
use super::{Era, Over, Peer};

/// What ties a message of 2025-11-25 to a task.
pub(crate) const RELATED: &str = "io.modelcontextprotocol/related-task";
/// The tasks extension.
pub(crate) const TASKS: &str = "io.modelcontextprotocol/tasks";

fn bad_params(text: &str) -> Value {
    json!({"error": {"code": -32602, "message": text}})
}

fn legacy_tool(name: &str, support: &str) -> Value {
    json!({"name": name, "inputSchema": {"type": "object"}, "execution": {"taskSupport": support}})
}

/// What a legacy server tells of a task.
pub(crate) fn legacy_state(status: &str) -> Value {
    json!({
        "taskId": "t", "status": status, "statusMessage": format!("it is {status}"),
        "createdAt": "2026-11-27T10:00:00Z", "lastUpdatedAt": "2026-11-27T10:00:00Z",
        "ttl": 60_000, "pollInterval": 100,
    })
}

/// A legacy server whose tasks are all called `t`. `must` and `asking` run only as a task; before its
/// end one asks if the test said `ask`.
pub(crate) fn legacy(over: Over, tag: &'static str) -> Peer {
    let tasks = json!({"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}});
    // Tasks of the extension are none in this era.
    let extensions = json!({TASKS: {}, "x.example/own": {"a": 1}});
    let capabilities = json!({"tools": {}, "tasks": tasks, "extensions": extensions});
    Peer::offering(Era::Legacy, over, capabilities, move |turn| {
        let task = turn.message["params"]["taskId"].clone();
        let wants_task = turn.message["params"]["task"].is_object();
        match (turn.method(), turn.name()) {
            ("tools/list", _) => result(&json!({"tools": [
                legacy_tool("may", "optional"), legacy_tool("must", "required"),
                legacy_tool("asking", "required"), legacy_tool("never", "forbidden"),
            ]})),
            ("tools/call", "must" | "asking" | "may") if wants_task => {
                result(&json!({"task": legacy_state("working"), "_meta": {"k": tag}}))
            }
            ("tools/call", "may") => text("without a task"),
            ("tools/call", _) => no_method(),
            (method, _) if method.starts_with("tasks/") && task != "t" => {
                bad_params("Task not found")
            }
            ("tasks/get", _) => {
                let status = if turn.was_said("done") { "completed" } else { "working" };
                result(&legacy_state(status))
            }
            ("tasks/cancel", _) => result(&legacy_state("cancelled")),
            ("tasks/result", _) => legacy_result(turn, tag),
            _ => no_method(),
        }
    })
}

/// Blocks until the task is done; asks its client first, if it is to.
fn legacy_result(turn: &mut Turn<'_>, tag: &str) -> Value {
    let related = json!({RELATED: {"taskId": "t"}});
    let mut said = String::new();
    if turn.was_said("ask") {
        let params = json!({"message": "who?", "requestedSchema": {}, "_meta": related});
        let answer = turn.ask(&json!("q"), "elicitation/create", &params);
        said = answer["result"]["content"]["name"].to_string();
    }
    turn.wait("done");
    let content = json!([{"type": "text", "text": format!("{tag} is done {said}")}]);
    result(&json!({"content": content, "_meta": related}))
}

fn modern_state(status: &str) -> Value {
    json!({
        "taskId": "t", "status": status, "statusMessage": format!("it is {status}"),
        "createdAt": "2026-11-27T10:00:00Z", "lastUpdatedAt": "2026-11-27T10:00:00Z",
        "ttlMs": 60_000, "pollIntervalMs": 100,
    })
}

/// The params that name a task.
pub(crate) fn about(task: &Value) -> String {
    format!(r#""taskId":{task}"#)
}

/// An object with more members.
pub(crate) fn with(mut object: Value, more: &Value) -> Value {
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    object
}

/// A modern server whose tasks are all called `t`. Its one tool runs only as a task; it asks if the
/// test said so.
pub(crate) fn modern(over: Over, tag: &'static str) -> Peer {
    let capabilities = json!({"tools": {}, "extensions": {TASKS: {}, "x.example/own": {"a": 1}}});
    Peer::offering(Era::Modern, over, capabilities, move |turn| {
        let params = turn.message["params"].clone();
        let declared = &params["_meta"]["io.modelcontextprotocol/clientCapabilities"];
        let declares = declared["extensions"][TASKS].is_object();
        let complete = json!({"resultType": "complete"});
        match turn.method() {
            "tools/list" => result(&json!({
                "resultType": "complete", "ttlMs": 0, "cacheScope": "private",
                "tools": [{"name": "must", "inputSchema": {"type": "object"}}],
            })),
            "tools/call" | "tasks/get" | "tasks/update" | "tasks/cancel" if !declares => {
                json!({"status": 400, "error": {"code": -32021, "message": "tasks", "data":
                    {"requiredCapabilities": {"extensions": {TASKS: {}}}}}})
            }
            "tools/call" => {
                result(&with(modern_state("working"), &json!({"resultType": "task", "k": tag})))
            }
            method if method.starts_with("tasks/") && params["taskId"] != "t" => {
                bad_params("Task not found")
            }
            "tasks/get" if turn.was_said("fail") => {
                let error = json!({"error": {"code": -32050, "message": "it broke"}});
                result(&with(with(modern_state("failed"), &complete), &error))
            }
            "tasks/get" if turn.was_said("ask") && !turn.was_said("answered") => {
                let asks = json!({"inputRequests": {"name": {"method": "elicitation/create",
                    "params": {"message": "who?", "requestedSchema": {}}}}});
                result(&with(with(modern_state("input_required"), &complete), &asks))
            }
            "tasks/get" if turn.was_said("done") => {
                let end = json!({"content": [{"type": "text", "text": format!("{tag} is done")}]});
                let state = with(modern_state("completed"), &complete);
                result(&with(state, &json!({"result": end})))
            }
            "tasks/get" => result(&with(modern_state("working"), &complete)),
            "tasks/update" | "tasks/cancel" => result(&complete),
            _ => no_method(),
        }
    })
}
