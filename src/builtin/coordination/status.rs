//! `gateway_status`: the gateway and its upstreams in numbers.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{schema, show, upstream_of};
use crate::builtin::args::Args;
use crate::builtin::reply::{self, Definition};
use crate::builtin::{Builtin, CallFuture, Host, ToolReply};

#[derive(Debug)]
pub(in crate::builtin) struct GatewayStatus {
    definition: Bytes,
}

impl GatewayStatus {
    pub(in crate::builtin) fn new() -> Self {
        Self { definition: definition() }
    }
}

fn answer(arguments: &[u8], host: &dyn Host) -> Result<ToolReply, ToolReply> {
    let args = Args::read(arguments, &["upstream"])?;
    let only = upstream_of(&args, host)?;
    let mut overview = host.overview();
    if let (Some(only), Some(all)) =
        (only, overview.get_mut("upstreams").and_then(Value::as_array_mut))
    {
        all.retain(|one| show::text(one, "name") == only);
    }
    let mut lines = vec![format!("The gateway is {}.", show::text(&overview, "status"))];
    lines.extend(show::list(&overview, "upstreams").iter().map(show::upstream));
    Ok(reply::success(&lines.join("\n"), &overview))
}

impl Builtin for GatewayStatus {
    fn name(&self) -> &'static str {
        "gateway_status"
    }

    fn definition(&self) -> &Bytes {
        &self.definition
    }

    fn call<'a>(&'a self, arguments: &'a [u8], host: &'a dyn Host) -> CallFuture<'a> {
        let reply = answer(arguments, host).unwrap_or_else(|refusal| refusal);
        Box::pin(std::future::ready(Ok(reply)))
    }
}

fn definition() -> Bytes {
    Definition {
        name: "gateway_status",
        title: "Gateway status",
        description:
            "Shows the MCP gateway and the servers behind it: which copies of each are up, \
                      whether calls go to them, what they carry and how fast they answer. Sends \
                      nothing to the servers."
                .to_owned(),
        input: json!({
            "type": "object",
            "properties": {
                "upstream": schema::upstream_argument("Only this server; default: all."),
            },
            "additionalProperties": false,
        }),
        output: json!({
            "type": "object",
            "properties": {
                "status": schema::health(),
                "version": { "type": "string", "description": "The version of the gateway." },
                "upstreams": { "type": "array", "items": schema::upstream() },
            },
            "required": ["status", "version", "upstreams"],
            "additionalProperties": false,
        }),
        annotations: super::shows(),
    }
    .into_bytes()
}
