//! `gateway_route_explain`: where a call would go now, and why.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{name_of, schema, show};
use crate::builtin::args::{Args, required};
use crate::builtin::reply::{self, Definition};
use crate::builtin::{Builtin, CallFuture, Host, ToolReply};
use crate::telemetry::Status;

#[derive(Debug)]
pub(in crate::builtin) struct RouteExplain {
    definition: Bytes,
}

impl RouteExplain {
    pub(in crate::builtin) fn new() -> Self {
        Self { definition: definition() }
    }
}

fn answer(arguments: &[u8], host: &dyn Host) -> Result<ToolReply, ToolReply> {
    let args = Args::read(arguments, &["tool", "arguments", "strategy"])?;
    let tool = required(name_of(&args, "tool")?, "tool", "the name of a tool")?;
    let of_call = args.object("arguments")?.unwrap_or("{}");
    let strategy = name_of(&args, "strategy")?;
    let told = host.explain(&tool, of_call.as_bytes(), strategy.as_deref());
    let told = told.map_err(|why| reply::failure(Status::Invalid, &why))?;
    Ok(reply::success(&text(&told), &told))
}

fn text(told: &Value) -> String {
    let tool = show::text(told, "tool");
    if told.get("strategy").is_none() {
        return format!("{tool} runs inside the gateway: there are no replicas to choose from.");
    }
    let mut lines = vec![format!(
        "{tool} is {} of {}. It is {}: {}. A call is sent again {}.",
        show::text(told, "name_there"),
        show::text(told, "origin"),
        show::text(told, "effect"),
        show::text(told, "effect_why"),
        show::text(told, "sent_again"),
    )];
    lines.push(match told.get("pick") {
        Some(pick) => format!(
            "By {} the next call would go to {}: {}.",
            show::text(told, "strategy"),
            show::text(pick, "replica"),
            show::text(pick, "why"),
        ),
        None => format!("Nobody would take it: {}.", show::text(told, "nobody_because")),
    });
    lines.extend(told.get("note").and_then(Value::as_str).map(ToOwned::to_owned));
    lines.extend(show::list(told, "replicas").iter().map(|one| {
        let share = one.get("share_percent").and_then(Value::as_u64).unwrap_or_default();
        format!("  {}, {share} % of the next calls", show::replica(one))
    }));
    lines.join("\n")
}

impl Builtin for RouteExplain {
    fn name(&self) -> &'static str {
        "gateway_route_explain"
    }

    fn definition(&self) -> &Bytes {
        &self.definition
    }

    fn call<'a>(&'a self, arguments: &'a [u8], host: &'a dyn Host) -> CallFuture<'a> {
        let reply = answer(arguments, host).unwrap_or_else(|refusal| refusal);
        Box::pin(std::future::ready(Ok(reply)))
    }
}

fn input() -> Value {
    json!({
        "type": "object",
        "properties": {
            "tool": schema::upstream_argument("The tool, by the name it is listed under."),
            "arguments": {
                "type": "object",
                "description": "The arguments of the call. They matter only where calls of the same argument go to the same copy (consistent_hash).",
            },
            "strategy": schema::upstream_argument("Another strategy than the configured one: auto, round_robin, weighted, least_busy, p2c_ewma, random, consistent_hash, priority, expression."),
        },
        "required": ["tool"],
        "additionalProperties": false,
    })
}

fn definition() -> Bytes {
    let share = json!({
        "type": "integer",
        "minimum": 0,
        "maximum": 100,
        "description": "How likely the next call goes to it, in percent. Where chance has no part, one of them has 100.",
    });
    Definition {
        name: "gateway_route_explain",
        title: "Explain a route",
        description: "Tells where the MCP gateway would send the next call of a tool and why: what the \
                      tool may be taken to do, how a copy of its server is chosen, and each copy with \
                      its numbers. Sends nothing."
            .to_owned(),
        input: input(),
        output: json!({
            "type": "object",
            "properties": {
                "tool": { "type": "string" },
                "origin": { "type": "string", "description": "The server it belongs to, or `built-in`." },
                "name_there": { "type": "string", "description": "The server's own name of it." },
                "effect": { "type": "string", "enum": ["read_only", "idempotent", "unsafe"], "description": "What a second run would do." },
                "effect_why": { "type": "string" },
                "sent_again": { "type": "string", "description": "When a call that failed is sent again." },
                "strategy": { "type": "string" },
                "pick": {
                    "type": "object",
                    "properties": {
                        "replica": { "type": "string" },
                        "why": { "type": "string" },
                    },
                    "required": ["replica", "why"],
                    "additionalProperties": false,
                },
                "note": { "type": "string" },
                "nobody_because": { "type": "string", "description": "Why no copy would take it." },
                "replicas": { "type": "array", "items": schema::replica(&[("share_percent", share)]) },
            },
            "required": ["tool", "origin", "replicas"],
            "additionalProperties": false,
        }),
        annotations: super::shows(),
    }
    .into_bytes()
}
