//! Tools that run in this process. Each is a [`Builtin`]: a definition and a call; the registry
//! adds what every tool has (rate limit, timeout).

mod args;
mod cache;
mod context7;
mod coordination;
mod echo;
mod fetch;
mod host;
mod registry;
mod reply;
#[cfg(test)]
mod schema_check;
mod shared;
pub mod spec;
mod standing;
#[cfg(test)]
mod testing;
mod text;
mod url;
mod wait;
mod weather;

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use crate::base::Fault;
use crate::telemetry::Status;

pub use host::{Host, HostCall, HostFuture, Outcome, Target};
pub use registry::{Builtins, Off, Service};
pub use standing::Standing;

/// A boxed future of a tool call.
pub type CallFuture<'a> = Pin<Box<dyn Future<Output = Result<ToolReply, Fault>> + Send + 'a>>;

/// A tool that runs in this process.
pub trait Builtin: Send + Sync {
    /// The name clients see.
    fn name(&self) -> &str;

    /// The tool object as `tools/list` shows it (specification 2026-07-28, server/tools).
    fn definition(&self) -> &Bytes;

    /// Runs the tool on the raw JSON text of `arguments` (`{}` where the client sent none). `host` is
    /// the gateway, on behalf of the client.
    fn call<'a>(&'a self, arguments: &'a [u8], host: &'a dyn Host) -> CallFuture<'a>;
}

/// What a tool answered: a whole `CallToolResult` object, and how it counts.
#[derive(Clone, Debug)]
pub struct ToolReply {
    /// The result object as JSON text, without `resultType` (the gateway mends it for the era).
    pub result: Bytes,
    /// How the call counts in the metrics.
    pub status: Status,
}
