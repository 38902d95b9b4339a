//! The tools that show the gateway and call through it: `gateway_status`, `gateway_health_check`,
//! `gateway_aggregate`, `gateway_route_explain`.

mod aggregate;
mod compare;
mod entry;
mod explain;
mod health;
mod schema;
mod show;
mod status;
#[cfg(test)]
mod tests;

pub(super) use aggregate::Aggregate;
pub(super) use explain::RouteExplain;
pub(super) use health::HealthCheck;
pub(super) use status::GatewayStatus;

/// The tools, in the order of their listing.
pub(super) const NAMES: [&str; 4] =
    ["gateway_status", "gateway_health_check", "gateway_aggregate", "gateway_route_explain"];

use rmcp::model::ToolAnnotations;

use super::ToolReply;
use super::args::{Args, BadArguments};
use super::host::Host;
use super::reply;
use crate::telemetry::Status;

/// Annotations of a tool that shows what the gateway knows.
fn shows() -> ToolAnnotations {
    ToolAnnotations::new().read_only(true).destructive(false).idempotent(true).open_world(false)
}

/// Longest name of an upstream, a tool or a strategy that is looked up, in characters.
const NAME_CHARS_MAX: usize = 128;

/// The upstream that a call is about, if it names one; refused if there is no such one.
fn upstream_of(args: &Args<'_>, host: &dyn Host) -> Result<Option<String>, ToolReply> {
    let Some(name) = name_of(args, "upstream")? else { return Ok(None) };
    let known = host.upstreams();
    if known.contains(&name) {
        return Ok(Some(name));
    }
    let text = match known.as_slice() {
        [] => format!("there is no upstream {name:?}: none is configured"),
        known => format!("there is no upstream {name:?}; known: {}", known.join(", ")),
    };
    Err(reply::failure(Status::Invalid, &text))
}

fn name_of(args: &Args<'_>, key: &str) -> Result<Option<String>, BadArguments> {
    args.text(key, 1..=NAME_CHARS_MAX)
}
