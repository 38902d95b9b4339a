//! `gateway_health_check`: asks every replica now whether it is there.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{schema, show, upstream_of};
use crate::builtin::args::Args;
use crate::builtin::reply::{self, Definition};
use crate::builtin::{Builtin, CallFuture, Host, ToolReply};

/// Longest wait for one replica, in seconds, unless the call says less. A replica's own
/// `health.timeout` may be shorter.
const SECONDS_MAX: u32 = 5;

#[derive(Debug)]
pub(in crate::builtin) struct HealthCheck {
    definition: Bytes,
}

impl HealthCheck {
    pub(in crate::builtin) fn new() -> Self {
        Self { definition: definition() }
    }
}

async fn answer(arguments: &[u8], host: &dyn Host) -> Result<ToolReply, ToolReply> {
    let args = Args::read(arguments, &["upstream", "timeout_seconds"])?;
    let only = upstream_of(&args, host)?;
    let seconds = args.integer("timeout_seconds", 1..=SECONDS_MAX)?.unwrap_or(SECONDS_MAX);
    let limit = Duration::from_secs(seconds.into());
    let upstreams = host.look(only.as_deref(), limit).await;
    let replicas = || upstreams.iter().flat_map(|one| show::list(one, "replicas"));
    // One that sleeps is not asked.
    let sleeps = |one: &&Value| one.get("asleep") == Some(&Value::Bool(true));
    let asked = replicas().filter(|one| !sleeps(one)).count();
    let answered = replicas().filter(|one| one.get("answers") == Some(&Value::Bool(true))).count();
    let mut lines = vec![format!("{answered} of {asked} replicas answer.")];
    for one in &upstreams {
        lines.push(format!("{}:", show::text(one, "name")));
        lines.extend(show::list(one, "replicas").iter().map(line));
    }
    let data = json!({ "asked": asked, "answered": answered, "upstreams": upstreams });
    Ok(reply::success(&lines.join("\n"), &data))
}

fn line(replica: &Value) -> String {
    let took = replica.get("took_ms").and_then(Value::as_f64);
    let took = took.map_or_else(String::new, |took| format!(" after {took:.1} ms"));
    let name = show::text(replica, "name");
    format!("  {name}: {}{took}", show::text(replica, "detail"))
}

impl Builtin for HealthCheck {
    fn name(&self) -> &'static str {
        "gateway_health_check"
    }

    fn definition(&self) -> &Bytes {
        &self.definition
    }

    fn call<'a>(&'a self, arguments: &'a [u8], host: &'a dyn Host) -> CallFuture<'a> {
        Box::pin(async move { Ok(answer(arguments, host).await.unwrap_or_else(|no| no)) })
    }
}

fn definition() -> Bytes {
    let replica = json!({
        "type": "object",
        "properties": {
            "name": { "type": "string" },
            "answers": {
                "type": "boolean",
                "description": "It answered: any answer counts. Not there if it was not asked.",
            },
            "asleep": {
                "type": "boolean",
                "description": "It is not running, because nobody uses it, and was not asked.",
            },
            "took_ms": { "type": "number", "description": "How long the answer, or the failure, took." },
            "detail": { "type": "string", "description": "What it answered, or why it did not." },
        },
        "required": ["name", "detail"],
        "additionalProperties": false,
    });
    Definition {
        name: "gateway_health_check",
        title: "Gateway health check",
        description:
            "Asks every copy of every server behind the MCP gateway now whether it is there \
                      (server/discover or ping; no tool is called), and tells how long each took."
                .to_owned(),
        input: json!({
            "type": "object",
            "properties": {
                "upstream": schema::upstream_argument("Only this server; default: all."),
                "timeout_seconds": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": SECONDS_MAX,
                    "default": SECONDS_MAX,
                    "description": "Longest wait for one copy.",
                },
            },
            "additionalProperties": false,
        }),
        output: json!({
            "type": "object",
            "properties": {
                "asked": { "type": "integer", "minimum": 0 },
                "answered": { "type": "integer", "minimum": 0 },
                "upstreams": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "name": { "type": "string" },
                            "status": schema::health(),
                            "replicas": { "type": "array", "items": replica },
                        },
                        "required": ["name", "status", "replicas"],
                        "additionalProperties": false,
                    },
                },
            },
            "required": ["asked", "answered", "upstreams"],
            "additionalProperties": false,
        }),
        annotations: super::shows(),
    }
    .into_bytes()
}
