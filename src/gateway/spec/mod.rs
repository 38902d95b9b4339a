//! What a gateway is made from: upstreams, names and built-in tools.

pub mod fallback;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::base::UpstreamName;
use crate::base::name::NAME_BYTES_MAX;
use crate::builtin::spec::BuiltinSpec;
use crate::catalog::spec::{NamingSpec, OfferSpec};
use crate::fleet::Effect;
use crate::fleet::spec::{Isolation, PoolSpec};
use crate::upstream::spec::{ReplicaKind, ReplicaSpec};

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
    /// How host names are looked up whose addresses are replicas.
    pub dns: DnsSpec,
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
    /// Whether its questions reach modern clients, where it is of the legacy era.
    pub bridge: Bridge,
    /// When its child processes are started.
    pub start: Start,
    /// Its replicas and the rules over them.
    pub pool: PoolSpec,
    /// Host names of which each address is a replica of its own. [`spread`](super::spread) puts
    /// those that are known among the replicas of the pool.
    pub names: Vec<NameSpec>,
    /// Why it is switched off (an unset variable, say); nothing of it is started.
    pub off: Option<String>,
}

/// What becomes of the questions of a legacy server to a modern client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bridge {
    /// The client is asked by the result of its call, which waits until it calls again.
    #[default]
    Park,
    /// The server is told that the client cannot be asked.
    Refuse,
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

/// The longest text of an address, in bytes: eight groups of four digits.
const ADDRESS_BYTES_MAX: usize = 39;
/// The longest name of an entry whose replicas are named by their addresses, in bytes.
pub const ENTRY_BYTES_MAX: usize = NAME_BYTES_MAX - 1 - ADDRESS_BYTES_MAX;

/// A host name of which each address is a replica of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct NameSpec {
    /// Where its replicas stand: before the one that the file names at this place.
    pub place: usize,
    /// How often it is looked up, give or take a tenth; 1 s at least.
    pub every: Duration,
    /// What they are made from, but for the address. Its name is the first part of theirs.
    pub replica: ReplicaSpec,
}

impl NameSpec {
    /// The host name, in lower case; empty for a child process, which has none.
    pub fn host(&self) -> String {
        match &self.replica.kind {
            ReplicaKind::Http(http) => http.url.host().unwrap_or_default().to_ascii_lowercase(),
            ReplicaKind::Child(_) => String::new(),
        }
    }

    /// The name of its replica at an address.
    pub fn label(&self, address: IpAddr) -> String {
        format!("{}-{}", self.replica.name, address.to_string().replace(':', "_"))
    }

    /// Whether one of its replicas could have this name.
    pub fn may_be(&self, name: &str) -> bool {
        let rest = name.strip_prefix(self.replica.name.as_str());
        let text = rest.and_then(|rest| rest.strip_prefix('-'));
        let address = text.and_then(|text| text.replace('_', ":").parse().ok());
        address.is_some_and(|address| self.label(address) == name)
    }
}

/// How host names are looked up whose addresses are replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsSpec {
    /// The name server to ask; `None` = those of the system.
    pub server: Option<SocketAddr>,
    /// Most addresses of one name that become replicas.
    pub addresses_max: usize,
}

impl Default for DnsSpec {
    fn default() -> Self {
        // As many as a fleet behind one name usually is; each costs a handshake and metrics.
        Self { server: None, addresses_max: 32 }
    }
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
