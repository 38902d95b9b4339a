//! For tests: calls tools, and checks each answer against the tool's own definition.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;

use crate::telemetry::Status;

use super::schema_check::problems;
use super::{Builtin, Builtins, ToolReply};

/// An answer, taken apart.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) status: Status,
    pub(super) text: String,
    /// `structuredContent`; null for failures.
    pub(super) data: Value,
}

/// Calls a tool that must answer, whatever it says.
pub(super) async fn call(tools: &Builtins, name: &str, arguments: Value) -> Told {
    let tool = tools.get(name).unwrap();
    let reply = tool.call(arguments.to_string().as_bytes()).await.unwrap();
    told(tool, &reply)
}

/// The same call many times at once.
pub(super) async fn call_at_once(
    tools: &Arc<Builtins>,
    name: &'static str,
    arguments: &Value,
    times: usize,
) -> Vec<Told> {
    let mut calls = JoinSet::new();
    for _ in 0..times {
        let (tools, arguments) = (Arc::clone(tools), arguments.clone());
        calls.spawn(async move { call(&tools, name, arguments).await });
    }
    calls.join_all().await
}

fn told(tool: &dyn Builtin, reply: &ToolReply) -> Told {
    let result: Value = serde_json::from_slice(&reply.result).unwrap();
    let definition = definition(tool);
    let is_error = result["isError"].as_bool().unwrap();
    assert_eq!(is_error, reply.status != Status::Success);
    let data = result["structuredContent"].clone();
    if is_error {
        assert!(result.get("structuredContent").is_none(), "{result}");
    } else {
        let problems = problems(&definition["outputSchema"], &data);
        assert!(problems.is_empty(), "{problems:?}");
    }
    let content = result["content"].as_array().unwrap();
    assert_eq!((content.len(), &content[0]["type"]), (1, &Value::from("text")));
    Told { status: reply.status, text: content[0]["text"].as_str().unwrap().to_owned(), data }
}

pub(super) fn definition(tool: &dyn Builtin) -> Value {
    serde_json::from_slice(tool.definition()).unwrap()
}

/// Lets time pass without waiting for it. Real connections live on.
pub(super) async fn later(by: Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
}
