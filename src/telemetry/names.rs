//! Pure: every metric and label value, with its help text. The names are part of the contract.

/// How a tool call ended; the `status` label of `mcp_requests_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// A result without `isError`.
    Success,
    /// `isError`, or a JSON-RPC error of the tool.
    Error,
    /// No answer in time.
    Timeout,
    /// Refused by a rate limit.
    RateLimited,
    /// The client gave up.
    Cancelled,
    /// No replica could take it.
    Unavailable,
    /// The arguments or the tool name are wrong.
    Invalid,
}

/// Every status, in the order of their places.
pub const STATUSES: [Status; 7] = [
    Status::Success,
    Status::Error,
    Status::Timeout,
    Status::RateLimited,
    Status::Cancelled,
    Status::Unavailable,
    Status::Invalid,
];

impl Status {
    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::RateLimited => "rate_limited",
            Self::Cancelled => "cancelled",
            Self::Unavailable => "unavailable",
            Self::Invalid => "invalid",
        }
    }
}

/// How a reload ended; the `result` label of `mcp_config_reloads_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// Something changed, and is in force.
    Applied,
    /// Nothing that counts is different.
    Unchanged,
    /// The configuration has problems; the old one stays.
    Invalid,
    /// It could not be taken in; the old one stays.
    Failed,
}

/// Every result of a reload.
pub const RELOADED: [Reloaded; 4] =
    [Reloaded::Applied, Reloaded::Unchanged, Reloaded::Invalid, Reloaded::Failed];

impl Reloaded {
    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Invalid => "invalid",
            Self::Failed => "failed",
        }
    }
}

/// How the lookup of a host name ended whose addresses are replicas; the `result` label of
/// `mcp_dns_lookups_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// It has addresses.
    Found,
    /// It has none; what was known stays.
    Nothing,
    /// It is not known, or of one kind of addresses only; what was known stays.
    Failed,
}

impl Lookup {
    /// Every result.
    pub const ALL: [Self; 3] = [Self::Found, Self::Nothing, Self::Failed];

    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Nothing => "nothing",
            Self::Failed => "failed",
        }
    }
}

/// `replica` of all replicas of an upstream beyond those that are told apart: labels are bounded.
pub const OTHER_REPLICA: &str = "_other";

/// `tool_name` of calls to tools that nobody offers: labels are bounded.
pub const UNKNOWN_TOOL: &str = "_unknown";

/// Calls of tools.
pub const REQUESTS: &str = "mcp_requests_total";
/// Requests of other methods.
pub const METHOD_REQUESTS: &str = "mcp_method_requests_total";
/// Duration of tool calls.
pub const DURATION: &str = "mcp_request_duration_seconds";
/// Client connections.
pub const CONNECTIONS: &str = "mcp_active_connections";
/// Whether a replica takes calls.
pub const UPSTREAM_UP: &str = "mcp_upstream_up";
/// Whether a replica is asleep.
pub const UPSTREAM_ASLEEP: &str = "mcp_upstream_asleep";
/// Requests sent to a replica.
pub const UPSTREAM_REQUESTS: &str = "mcp_upstream_requests_total";
/// Duration of requests at a replica.
pub const UPSTREAM_DURATION: &str = "mcp_upstream_duration_seconds";
/// Requests in flight at a replica.
pub const UPSTREAM_INFLIGHT: &str = "mcp_upstream_inflight";
/// Calls that went to another replica.
pub const FAILOVERS: &str = "mcp_failovers_total";
/// What the gate of a replica answers.
pub const BREAKER_STATE: &str = "mcp_breaker_state";
/// Gates that shut.
pub const EJECTIONS: &str = "mcp_ejections_total";
/// Calls that were sent again.
pub const RETRIES: &str = "mcp_retries_total";
/// Calls that failed and were not sent again.
pub const RETRIES_DENIED: &str = "mcp_retries_denied_total";
/// Calls that were asked a second time.
pub const HEDGES: &str = "mcp_hedges_total";
/// Calls that failed where something may stand in.
pub const FALLBACKS: &str = "mcp_fallbacks_total";
/// What belonged to client sessions and was lost.
pub const SESSIONS_LOST: &str = "mcp_session_lost_total";
/// Calls that wait for answers of their clients.
pub const PARKED: &str = "mcp_parked_calls";
/// Calls that wait in the line of an upstream.
pub const QUEUE_DEPTH: &str = "mcp_queue_depth";
/// How long calls waited in the line of an upstream.
pub const QUEUE_WAIT: &str = "mcp_queue_wait_seconds";
/// Calls that may be sent again.
pub const RETRY_BUDGET: &str = "mcp_retry_budget";
/// Upstreams of which so few replicas are well that calls go to all.
pub const PANIC: &str = "mcp_panic";
/// How slow a replica is beside what is usual.
pub const RELATIVE_LATENCY: &str = "mcp_relative_latency";
/// Calls refused at a bound.
pub const SHED: &str = "mcp_shed_total";
/// How near its limit the memory is.
pub const MEMORY_PRESSURE: &str = "mcp_memory_pressure";
/// Requests that showed no key of ours.
pub const AUTH_FAIL: &str = "mcp_auth_fail_total";
/// Legacy sessions and modern clients.
pub const SESSIONS: &str = "mcp_sessions";
/// What the catalog offers.
pub const CATALOG_ITEMS: &str = "mcp_catalog_items";
/// Tools that not all replicas offer alike.
pub const CATALOG_SKEW: &str = "mcp_catalog_skew";
/// Restarts of children.
pub const CHILD_RESTARTS: &str = "mcp_child_restarts_total";
/// Stops of children that nobody used.
pub const CHILD_STOPS: &str = "mcp_child_stops_total";
/// Reloads of the configuration.
pub const CONFIG_RELOADS: &str = "mcp_config_reloads_total";
/// Which configuration since the start is in force.
pub const CONFIG_GENERATION: &str = "mcp_config_generation";
/// Lookups of host names whose addresses are replicas.
pub const DNS_LOOKUPS: &str = "mcp_dns_lookups_total";
/// Which build this is.
pub const BUILD_INFO: &str = "mcp_build_info";

/// Upper bounds of the duration histograms, in seconds.
pub const DURATION_BUCKETS: [f64; 12] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by buckets.
    Histogram,
}

/// Every metric with its kind and help text.
pub const METRICS: &[(&str, MetricKind, &str)] = &[
    (REQUESTS, MetricKind::Counter, "Total MCP requests"),
    (METHOD_REQUESTS, MetricKind::Counter, "Requests of methods other than tools/call"),
    (DURATION, MetricKind::Histogram, "Duration of tools/call in seconds, as the client sees it"),
    (CONNECTIONS, MetricKind::Gauge, "Client connections"),
    (UPSTREAM_UP, MetricKind::Gauge, "1 while the replica takes calls, or is asleep"),
    (UPSTREAM_ASLEEP, MetricKind::Gauge, "1 while the child is not running because nobody uses it"),
    (UPSTREAM_REQUESTS, MetricKind::Counter, "Requests sent to the replica, by outcome"),
    (UPSTREAM_DURATION, MetricKind::Histogram, "Duration of requests at the replica in seconds"),
    (UPSTREAM_INFLIGHT, MetricKind::Gauge, "Requests in flight at the replica"),
    (
        BREAKER_STATE,
        MetricKind::Gauge,
        "What the gate of the replica answers: 0 open, 1 probing, 2 shut",
    ),
    (EJECTIONS, MetricKind::Counter, "Gates of replicas that shut, by reason"),
    (RETRIES, MetricKind::Counter, "Calls sent again, by what the attempt before failed at"),
    (RETRIES_DENIED, MetricKind::Counter, "Calls that failed and were not sent again, by reason"),
    (FAILOVERS, MetricKind::Counter, "Calls that were sent again to another replica"),
    (HEDGES, MetricKind::Counter, "Slow calls that were asked a second time, by which answer won"),
    (
        FALLBACKS,
        MetricKind::Counter,
        "Calls that failed where a fallback is declared, by the step that answered",
    ),
    (
        SESSIONS_LOST,
        MetricKind::Counter,
        "State of client sessions lost with an upstream, by whether the client was told",
    ),
    (PARKED, MetricKind::Gauge, "Calls that wait for answers of their clients"),
    (QUEUE_DEPTH, MetricKind::Gauge, "Calls that wait for a place at the upstream"),
    (
        QUEUE_WAIT,
        MetricKind::Histogram,
        "How long calls waited for a place at the upstream in seconds; those that had one at once are left out",
    ),
    (RETRY_BUDGET, MetricKind::Gauge, "Calls of the upstream that may be sent again now"),
    (PANIC, MetricKind::Gauge, "1 while so few replicas are well that calls go to all that are up"),
    (
        RELATIVE_LATENCY,
        MetricKind::Gauge,
        "Latency of the replica relative to what each tool usually takes; 1 = as usual",
    ),
    (SHED, MetricKind::Counter, "Calls refused at a bound, by stage"),
    (MEMORY_PRESSURE, MetricKind::Gauge, "How near its limit the memory is, 0 to 4"),
    (AUTH_FAIL, MetricKind::Counter, "Requests refused because they showed no valid key, by why"),
    (SESSIONS, MetricKind::Gauge, "Client sessions by era"),
    (CATALOG_ITEMS, MetricKind::Gauge, "Items on offer, by kind"),
    (CATALOG_SKEW, MetricKind::Gauge, "Tools that not all replicas of the upstream offer alike"),
    (CHILD_RESTARTS, MetricKind::Counter, "Ends of child processes that were up, by reason"),
    (CHILD_STOPS, MetricKind::Counter, "Child processes that were stopped while all was well"),
    (CONFIG_RELOADS, MetricKind::Counter, "Reloads of the configuration, by result"),
    (
        CONFIG_GENERATION,
        MetricKind::Gauge,
        "Configurations in force since the start; 1 = the first",
    ),
    (
        DNS_LOOKUPS,
        MetricKind::Counter,
        "Lookups of host names whose addresses are replicas, by result",
    ),
    (BUILD_INFO, MetricKind::Gauge, "Always 1; the labels tell the build"),
];
