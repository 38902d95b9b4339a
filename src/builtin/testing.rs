//! For tests: calls tools, and checks each answer against the tool's own definition.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::telemetry::Status;

use super::schema_check::problems;
use super::{Builtin, Builtins, Host, HostCall, HostFuture, Outcome, Target, ToolReply};

/// A gateway with nothing behind it, for tools that ask nothing of theirs.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoHost;

impl Host for NoHost {
    fn is_nested(&self) -> bool {
        false
    }

    fn call<'a>(&'a self, call: HostCall<'a>) -> HostFuture<'a, Outcome> {
        unreachable!("nobody calls {}", call.tool)
    }

    fn target(&self, tool: &str, _: Option<&str>) -> Result<Target, String> {
        Err(format!("unknown tool {tool:?}"))
    }

    fn overview(&self) -> Value {
        json!({ "status": "healthy", "version": "0", "upstreams": [] })
    }

    fn upstreams(&self) -> Vec<String> {
        Vec::new()
    }

    fn look<'a>(&'a self, _: Option<&'a str>, _: Duration) -> HostFuture<'a, Vec<Value>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    fn explain(&self, tool: &str, _: &[u8], _: Option<&str>) -> Result<Value, String> {
        Err(format!("unknown tool {tool:?}"))
    }
}

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
    let reply = tool.call(arguments.to_string().as_bytes(), &NoHost).await.unwrap();
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
