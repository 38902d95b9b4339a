//! What a built-in tool may ask of the gateway that it runs in. The trait stands here and is
//! implemented above, so that tools know nothing of what carries a call.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;

/// A boxed future of something asked.
pub type HostFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The gateway as a tool sees it, on behalf of the client that called the tool.
pub trait Host: Send + Sync {
    /// Whether the tool was itself called by a tool.
    fn is_nested(&self) -> bool;

    /// Calls a tool as the client would: the same policy, retries and metrics. Dropping the future
    /// cancels the call.
    fn call<'a>(&'a self, call: HostCall<'a>) -> HostFuture<'a, Outcome>;

    /// Whose a tool is; one sentence if there is no such tool, or no such strategy.
    fn target(&self, tool: &str, strategy: Option<&str>) -> Result<Target, String>;

    /// The gateway and its upstreams in numbers: `status`, `version` and `upstreams`.
    fn overview(&self) -> Value;

    /// The names of all upstreams.
    fn upstreams(&self) -> Vec<String>;

    /// Asks every replica (of one upstream, or of all) whether it is there, each at most `limit`
    /// long: a list of upstreams.
    fn look<'a>(&'a self, upstream: Option<&'a str>, limit: Duration)
    -> HostFuture<'a, Vec<Value>>;

    /// Where a call would go now, and why; one sentence if it cannot be told.
    fn explain(
        &self,
        tool: &str,
        arguments: &[u8],
        strategy: Option<&str>,
    ) -> Result<Value, String>;
}

/// A call that a tool makes.
#[derive(Clone, Copy, Debug)]
pub struct HostCall<'a> {
    /// The exposed name.
    pub tool: &'a str,
    /// Its arguments, a JSON object.
    pub arguments: &'a str,
    /// Another balancer than the upstream's own.
    pub strategy: Option<&'a str>,
    /// The place of the only replica that may take it.
    pub replica: Option<usize>,
    /// Largest answer that is taken, in bytes.
    pub bytes_max: usize,
}

/// How a call came out, as JSON text.
#[derive(Debug)]
pub enum Outcome {
    /// A result object, and whether its `isError` is true.
    Result(Box<RawValue>, bool),
    /// An error object.
    Error(Box<RawValue>),
}

/// Whose a tool is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// It changes nothing.
    pub reads: bool,
    /// What a second run of it would do: `read_only`, `idempotent`, `unsafe`.
    pub effect: &'static str,
    /// The names of the replicas of its upstream, by place; or why it has none that could be asked
    /// side by side, after its name.
    pub replicas: Result<Vec<String>, &'static str>,
}
