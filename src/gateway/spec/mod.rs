//! What a gateway is made from: upstreams, names and built-in tools.

pub mod fallback;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::base::UpstreamName;
use crate::builtin::spec::BuiltinSpec;
use crate::catalog::spec::{NamingSpec, OfferSpec};
use crate::fleet::Effect;
use crate::fleet::spec::{Isolation, PoolSpec};
use crate::upstream::spec::ReplicaSpec;

pub use self::fallback::{FallbackSpec, KeepSpec, StandIn};

/// Everything behind the front.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GatewaySpec {
    /// How exposed names are made.
    pub naming: NamingSpec,
    /// In the order of the configuration file, which decides collisions.
    pub upstreams: Vec<UpstreamSpec>,
    /// The tools that run in this process.
    pub builtins: BuiltinSpec,
    /// The last known catalog on disk.
    pub cache: CacheSpec,
    /// How much is kept of good results for fallbacks.
    pub keep: KeepSpec,
}

/// The last known catalog on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSpec {
    /// Whether it is kept.
    pub enabled: bool,
    /// Where; default: the user's cache folder.
    pub dir: Option<PathBuf>,
}

impl GatewaySpec {
    /// The same with every upstream started at once: for those who want to see them.
    #[must_use]
    pub fn eager(&self) -> Self {
        let mut eager = self.clone();
        eager.upstreams.iter_mut().for_each(|upstream| upstream.start = Start::Eager);
        eager
    }
}

impl Default for CacheSpec {
    fn default() -> Self {
        Self { enabled: true, dir: None }
    }
}

/// One logical MCP server.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamSpec {
    /// The key of `[upstreams.NAME]`.
    pub name: UpstreamName,
    /// Not ready until it is up.
    pub required: bool,
    /// Whether its annotations may make retries legal.
    pub trust_annotations: bool,
    /// What a second run of a tool would do, by the operator's word; keys are its own tool names.
    pub effects: BTreeMap<String, Effect>,
    /// What stands in for a tool that does not answer; keys are its own tool names.
    pub fallbacks: BTreeMap<String, FallbackSpec>,
    /// What of it is offered, under which names.
    pub offer: OfferSpec,
    /// When its child processes are started.
    pub start: Start,
    /// Its replicas and the rules over them.
    pub pool: PoolSpec,
    /// Why it is switched off (an unset variable, say); nothing of it is started.
    pub off: Option<String>,
}

/// When child processes are started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With the gateway: what is broken shows at once, and no call waits for a start.
    #[default]
    Eager,
    /// By the first call, where it is remembered what they offer.
    Lazy,
}

impl UpstreamSpec {
    /// Whether its children may begin asleep. Nobody would know whether a required upstream is
    /// there, and beside replicas of an upstream that keeps state others are made.
    pub fn may_sleep(&self) -> bool {
        self.start == Start::Lazy && !self.required && self.pool.isolation == Isolation::Shared
    }

    /// The replicas that run: none of one that is switched off.
    pub fn running(&self) -> &[ReplicaSpec] {
        if self.off.is_some() { &[] } else { &self.pool.replicas }
    }
}
