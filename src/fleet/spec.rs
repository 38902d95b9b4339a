//! What a pool is made from: the replicas of one upstream and the rules over them. Every default
//! is here, beside its reason.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use crate::upstream::spec::{HealthSpec, ReplicaSpec};

pub use super::effect::Effect;
pub use super::pick::Expression;
pub use crate::upstream::idle::IDLE_STOP;

/// How a replica is chosen for a call.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Balance {
    /// The gateway's own rule: the fastest of those that are not unusually busy.
    #[default]
    Auto,
    /// Each replica that is up in turn; weights are ignored.
    RoundRobin,
    /// In turn, by weight.
    Weighted,
    /// The fewest calls in flight.
    LeastBusy,
    /// The better of two by latency times load.
    P2cEwma,
    /// By chance and weight.
    Random,
    /// Calls with the same key go to the same replica.
    ConsistentHash,
    /// The lowest tier first.
    Priority,
    /// The operator's own expression.
    Expression(Arc<Expression>),
}

/// Every rule that needs no text of its own, by its name in the configuration.
pub const BALANCES: [(&str, Balance); 8] = [
    ("auto", Balance::Auto),
    ("round_robin", Balance::RoundRobin),
    ("weighted", Balance::Weighted),
    ("least_busy", Balance::LeastBusy),
    ("p2c_ewma", Balance::P2cEwma),
    ("random", Balance::Random),
    ("consistent_hash", Balance::ConsistentHash),
    ("priority", Balance::Priority),
];

impl Balance {
    /// Its name in the configuration.
    pub fn as_str(&self) -> &'static str {
        let known = BALANCES.iter().find(|(_, rule)| rule == self);
        known.map_or("expression", |(name, _)| *name)
    }
}

/// What `consistent_hash` hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HashOn {
    /// The client: its principal, else its session or connection.
    #[default]
    Client,
    /// An argument of the call, by its name at the top level.
    Argument(String),
    /// A header of the client's request.
    Header(HeaderName),
}

/// Whether clients share the children and sessions of an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// They do: each call goes to any replica.
    #[default]
    Shared,
    /// Each client session has a child or an upstream session of its own.
    Session,
}

/// The replicas of one upstream and the rules over them.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolSpec {
    /// At least one, unless the upstream is off.
    pub replicas: Vec<ReplicaSpec>,
    /// Whether clients share them.
    pub isolation: Isolation,
    /// A child that clients share is stopped when nobody used it for so long; 0 = never.
    pub idle_stop: Duration,
    /// How one of them is chosen.
    pub balance: Balance,
    /// What `consistent_hash` hashes.
    pub hash_on: HashOn,
    /// Longest silence of a call; any byte or progress resets it.
    pub timeout: Duration,
    /// Longest duration of a call in all.
    pub timeout_max: Duration,
    /// When a call is sent again.
    pub retry: RetrySpec,
    /// When a replica gets no calls for a while.
    pub breaker: BreakerSpec,
    /// How replicas are looked at.
    pub health: HealthSpec,
    /// When a slow call is asked a second time.
    pub hedge: HedgeSpec,
    /// Bounds.
    pub limits: LimitSpec,
}

/// Longest silence of a call, unless configured.
pub const TIMEOUT: Duration = Duration::from_mins(1);
/// Longest duration of a call, unless configured.
pub const TIMEOUT_MAX: Duration = Duration::from_mins(15);

impl PoolSpec {
    /// A pool with every default.
    pub fn new(replicas: Vec<ReplicaSpec>) -> Self {
        Self {
            replicas,
            isolation: Isolation::default(),
            idle_stop: IDLE_STOP,
            balance: Balance::default(),
            hash_on: HashOn::default(),
            timeout: TIMEOUT,
            timeout_max: TIMEOUT_MAX,
            retry: RetrySpec::default(),
            breaker: BreakerSpec::default(),
            health: HealthSpec::default(),
            hedge: HedgeSpec::default(),
            limits: LimitSpec::default(),
        }
    }
}

/// When a call is sent again. Calls that must not run twice are sent again only while nothing was
/// sent, whatever stands here.
#[derive(Clone, Debug, PartialEq)]
pub struct RetrySpec {
    /// Attempts in all, for calls that may be repeated.
    pub max_attempts: u32,
    /// The longest first wait.
    pub backoff_base: Duration,
    /// By how much each longest wait is longer than the one before; at least 1.
    pub backoff_factor: f64,
    /// The longest wait of all.
    pub backoff_max: Duration,
    /// Part of a repetition that an answered call earns, 0 to 1.
    pub budget_ratio: f64,
    /// The longest wait that an upstream may ask for.
    pub retry_after_max: Duration,
    /// Whether -32603 and HTTP 500 of read-only calls are asked again, once.
    pub on_server_error: bool,
}

impl Default for RetrySpec {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            backoff_base: Duration::from_millis(50),
            backoff_factor: 2.0,
            backoff_max: Duration::from_secs(2),
            budget_ratio: 0.1,
            retry_after_max: Duration::from_secs(30),
            on_server_error: false,
        }
    }
}

/// When a replica gets no calls for a while.
#[derive(Clone, Debug, PartialEq)]
pub struct BreakerSpec {
    /// Failures in a row that shut the gate.
    pub consecutive: u32,
    /// The time over which the success rate is taken, at least; it grows to twice the 99th
    /// percentile, so that slow calls are still in it when they fail.
    pub window: Duration,
    /// Below it the gate shuts, 0 to 1.
    pub success_rate: f64,
    /// Calls in the window before the rate counts.
    pub min_requests: u32,
    /// The first time a gate is shut; doubled at each trip.
    pub eject_base: Duration,
    /// The longest time a gate is shut.
    pub eject_max: Duration,
    /// At most so many percent of the replicas have a shut gate; of two or more one is always kept.
    pub eject_max_percent: u32,
    /// With fewer percent of the replicas able to take calls, those that only read or can be
    /// repeated go to all that are up. 0 = never.
    pub panic_percent: u32,
}

impl Default for BreakerSpec {
    fn default() -> Self {
        Self {
            consecutive: 5,
            window: Duration::from_secs(30),
            success_rate: 0.6,
            min_requests: 8,
            eject_base: Duration::from_secs(5),
            eject_max: Duration::from_mins(5),
            eject_max_percent: 50,
            panic_percent: 50,
        }
    }
}

impl BreakerSpec {
    /// Whether a group of `count` replicas can do without one more, if `kept` others are up with an
    /// open gate and `shut` others have none: of two or more one is always kept, and at most the
    /// configured share is left out.
    pub fn may_shut(&self, count: usize, kept: usize, shut: usize) -> bool {
        let percent = usize::try_from(self.eject_max_percent).unwrap_or(100);
        count <= 1 || kept >= 1 && (shut + 1) * 100 <= percent * count
    }
}

/// When a slow call is asked a second time.
#[derive(Clone, Debug, PartialEq)]
pub struct HedgeSpec {
    /// Whether it ever is.
    pub enabled: bool,
    /// Second calls, as a share of the calls, 0 to 1.
    pub budget: f64,
    /// No second call earlier than this.
    pub delay_min: Duration,
}

impl Default for HedgeSpec {
    fn default() -> Self {
        Self { enabled: true, budget: 0.05, delay_min: Duration::from_millis(10) }
    }
}

/// Bounds of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitSpec {
    /// Most calls in flight at the upstream.
    pub inflight: usize,
    /// Most calls in flight at one HTTP replica.
    pub inflight_http: usize,
    /// Most calls in flight at one child: most are single-threaded.
    pub inflight_child: usize,
    /// Most calls that wait for a place at the upstream.
    pub queue: usize,
    /// Most sessions at one replica.
    pub sessions_replica: usize,
}

impl Default for LimitSpec {
    fn default() -> Self {
        Self {
            inflight: 512,
            inflight_http: 64,
            inflight_child: 16,
            queue: 1_024,
            sessions_replica: 256,
        }
    }
}
