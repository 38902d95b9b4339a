//! What a replica is made from: checked values, translated from the configuration file.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};

use crate::base::{ReplicaName, Secret};

/// How the era of a replica is found (specification 2026-07-28, versioning, "Era detection").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EraPolicy {
    /// Ask the server.
    #[default]
    Auto,
    /// 2026-07-28 and later: self-contained requests.
    Modern,
    /// 2025-11-25 and earlier: handshake and sessions.
    Legacy,
}

/// How a server behind a URL is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Streamable HTTP; a legacy server that refuses it is asked for HTTP+SSE (2025-11-25,
    /// basic/transports, "Backwards Compatibility").
    #[default]
    Auto,
    /// Streamable HTTP and nothing else.
    Http,
    /// HTTP+SSE of 2024-11-05.
    Sse,
}

/// One running copy of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaSpec {
    /// Its configured name, else its index.
    pub name: ReplicaName,
    /// A child process or a URL.
    pub kind: ReplicaKind,
    /// How its era is found.
    pub era: EraPolicy,
    /// Share of the calls, relative to its siblings; 0 takes no new calls.
    pub weight: u32,
    /// Lower tiers are used first (`balance = "priority"`).
    pub tier: u32,
    /// Free labels of the operator.
    pub labels: BTreeMap<String, String>,
}

impl ReplicaSpec {
    /// Whether it is one address of a host name that stands for many.
    pub fn has_address(&self) -> bool {
        matches!(&self.kind, ReplicaKind::Http(http) if http.address.is_some())
    }
}

/// How a replica is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplicaKind {
    /// A child process that speaks MCP on its stdin and stdout.
    Child(LaunchSpec),
    /// A server behind a URL.
    Http(HttpSpec),
}

/// How a child process is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchSpec {
    /// What runs.
    pub program: Program,
    /// Its arguments; never passed through a shell.
    pub args: Vec<Secret>,
    /// Variables beside the allow-list that every child inherits.
    pub env: BTreeMap<String, Secret>,
    /// Its working directory; default: ours.
    pub cwd: Option<PathBuf>,
    /// How long it may take to its first answer (30 s; 120 s for npx, uvx, docker).
    pub start_timeout: Duration,
}

/// What a child process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// The running binary itself (`command = "waypost"`).
    Waypost,
    /// A path, or a name looked up in `PATH`.
    Named(String),
}

/// A server behind a URL. Its `Debug` form shows where the server is and not the rest of the
/// URL, which may hold a key.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpSpec {
    /// Its endpoint, `http` or `https`, with path.
    pub url: Uri,
    /// Headers sent with every request; values are marked sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The one address of its host that this server stands at; `None` = whatever its name says at
    /// each connection.
    pub address: Option<IpAddr>,
    /// How it is spoken to.
    pub transport: Transport,
}

impl fmt::Debug for HttpSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.url.scheme_str().unwrap_or_default();
        let authority = self.url.authority().map_or("", http::uri::Authority::as_str);
        f.debug_struct("HttpSpec")
            .field("url", &format_args!("{scheme}://{authority}/…"))
            .field("headers", &self.headers)
            .field("address", &self.address)
            .field("transport", &self.transport)
            .finish()
    }
}

/// Time to the first answer of a child that is installed.
pub const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Time to the first answer of a child whose launcher may download it first.
pub const START_TIMEOUT_LAUNCHER: Duration = Duration::from_mins(2);

impl LaunchSpec {
    /// The start timeout that fits a command: launchers that may download get more.
    pub fn default_start_timeout(command: &str) -> Duration {
        let base = command.rsplit(['/', '\\']).next().unwrap_or(command);
        match base.trim_end_matches(".exe").trim_end_matches(".cmd") {
            "npx" | "uvx" | "docker" | "pnpx" | "bunx" | "pipx" | "podman" => {
                START_TIMEOUT_LAUNCHER
            }
            _ => START_TIMEOUT,
        }
    }
}

/// How a replica is looked at while it is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthSpec {
    /// Between two looks at a replica that is well.
    pub interval: Duration,
    /// Between two looks at one that is doubted or does not answer.
    pub fast_interval: Duration,
    /// Longest wait before one that is down is tried again.
    pub down_interval: Duration,
    /// Longest wait for the answer to a look at a server behind a URL.
    pub timeout: Duration,
    /// The same for a child, which may be busy.
    pub timeout_child: Duration,
    /// Looks without an answer that take a server behind a URL down.
    pub fall: u32,
    /// Good looks that make a suspect well again.
    pub rise: u32,
    /// No look where a call just succeeded.
    pub skip_if_traffic: bool,
    /// A read-only tool to call instead of `server/discover` or `ping`, without arguments.
    pub tool: Option<String>,
}

impl Default for HealthSpec {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            fast_interval: Duration::from_secs(1),
            down_interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            timeout_child: Duration::from_secs(5),
            fall: 3,
            rise: 2,
            skip_if_traffic: true,
            tool: None,
        }
    }
}
