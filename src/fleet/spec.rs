//! What a pool is made from: the replicas of one upstream and the rules over them.

use std::time::Duration;

use crate::upstream::spec::ReplicaSpec;

/// How a replica is chosen for a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// The gateway's own rule. Until measured balancing arrives it is `round_robin`.
    #[default]
    Auto,
    /// Each replica that is up in turn; weights are ignored.
    RoundRobin,
}

/// The replicas of one upstream and the rules over them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSpec {
    /// At least one, unless the upstream is off.
    pub replicas: Vec<ReplicaSpec>,
    /// How one of them is chosen.
    pub balance: Balance,
    /// Longest silence of a call; any byte or progress resets it.
    pub timeout: Duration,
    /// Longest duration of a call in all.
    pub timeout_max: Duration,
    /// Most calls in flight at one upstream.
    pub inflight_max: usize,
    /// Most calls in flight at one HTTP replica.
    pub inflight_http_max: usize,
    /// Most calls in flight at one child.
    pub inflight_child_max: usize,
}

/// Longest silence of a call, unless configured.
pub const TIMEOUT: Duration = Duration::from_mins(1);
/// Longest duration of a call, unless configured.
pub const TIMEOUT_MAX: Duration = Duration::from_mins(15);
/// Calls in flight at one upstream, unless configured.
pub const INFLIGHT_MAX: usize = 512;
/// Calls in flight at one HTTP replica, unless configured.
pub const INFLIGHT_HTTP_MAX: usize = 64;
/// Calls in flight at one child, unless configured: most are single-threaded.
pub const INFLIGHT_CHILD_MAX: usize = 16;

impl PoolSpec {
    /// A pool with every default.
    pub fn new(replicas: Vec<ReplicaSpec>) -> Self {
        Self {
            replicas,
            balance: Balance::default(),
            timeout: TIMEOUT,
            timeout_max: TIMEOUT_MAX,
            inflight_max: INFLIGHT_MAX,
            inflight_http_max: INFLIGHT_HTTP_MAX,
            inflight_child_max: INFLIGHT_CHILD_MAX,
        }
    }
}
