//! What a front is made from: where it listens, whom it lets in, how much it takes.

use std::time::Duration;

use crate::base::{PrincipalName, Secret};

/// Where and how the HTTP front listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenSpec {
    /// Address or host name to bind.
    pub host: String,
    /// Port; 0 = any free one.
    pub port: u16,
    /// `Host` values accepted besides the loopback names and `host`, without port.
    pub allowed_hosts: Vec<String>,
    /// `Origin` values accepted besides those of an allowed host with our port.
    pub allowed_origins: Vec<String>,
    /// How long a stop waits for calls.
    pub grace: Duration,
    /// The operator accepts a public bind without authentication.
    pub insecure_public: bool,
    /// Who is let in, and how much each of them gets.
    pub auth: AuthSpec,
    /// Bounds.
    pub limits: LimitSpec,
}

/// Bounds of the front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitSpec {
    /// Largest request body in bytes.
    pub body_bytes_max: usize,
    /// Most client connections at once.
    pub connections_max: usize,
    /// Most legacy sessions at once.
    pub sessions_max: usize,
    /// A legacy session that was idle for so long is forgotten.
    pub session_idle_max: Duration,
    /// Most open streams (legacy GET, subscriptions) at once.
    pub streams_max: usize,
    /// Most calls in flight at once.
    pub inflight_max: usize,
    /// Time for the next request head, and so for how long a connection may rest between two.
    pub header_timeout: Duration,
    /// Time for the whole request body.
    pub body_timeout: Duration,
    /// Memory in bytes that we may use, nearing which less and less is taken; 0 = no limit, `None` =
    /// that of the control group we run in.
    pub memory_bytes_max: Option<u64>,
}

/// Whom clients have to show themselves to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthSpec {
    /// Clients must show one of these keys; with none of them nobody is asked. At most
    /// [`KEYS_MAX`], each name and each key once.
    pub keys: Vec<KeySpec>,
    /// What each principal gets.
    pub share: ShareSpec,
}

/// Most keys: all of them are compared with what a client shows.
pub const KEYS_MAX: usize = 256;
/// Shortest key in bytes: 16 random ones cannot be guessed.
pub const KEY_BYTES_MIN: usize = 16;
/// Longest key in bytes: more is no key that anybody makes, and would be hashed at each request.
pub const KEY_BYTES_MAX: usize = 1_024;

/// One key: whoever shows it is the principal of this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// The principal.
    pub name: PrincipalName,
    /// What it shows: [`KEY_BYTES_MIN`] to [`KEY_BYTES_MAX`] visible ASCII characters.
    pub key: Secret,
}

/// What each principal gets of the gateway, so that one of them cannot take it from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareSpec {
    /// Most calls in flight at once.
    pub inflight_max: usize,
    /// Requests a second, over a longer time; 1 or more.
    pub rate: u32,
    /// Requests at once after a rest; 1 or more.
    pub burst: u32,
    /// Most legacy sessions at once.
    pub sessions_max: usize,
    /// Most open streams (legacy GET, subscriptions) at once.
    pub streams_max: usize,
}

impl Default for ShareSpec {
    fn default() -> Self {
        Self { inflight_max: 64, rate: 50, burst: 100, sessions_max: 64, streams_max: 64 }
    }
}

/// Longer than the 60 s for which nginx and the load balancers of clouds keep a connection that
/// rests, so that it is they who close it; and not much longer, for whoever sends a head that never
/// ends holds a connection for as long.
const HEADER_TIMEOUT: Duration = Duration::from_secs(62);

impl Default for LimitSpec {
    fn default() -> Self {
        Self {
            body_bytes_max: 4 * 1024 * 1024,
            connections_max: 10_000,
            sessions_max: 50_000,
            session_idle_max: Duration::from_mins(30),
            streams_max: 10_000,
            inflight_max: 4_096,
            header_timeout: HEADER_TIMEOUT,
            body_timeout: Duration::from_mins(1),
            memory_bytes_max: None,
        }
    }
}

impl Default for ListenSpec {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 8000,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            grace: Duration::from_secs(30),
            insecure_public: false,
            auth: AuthSpec::default(),
            limits: LimitSpec::default(),
        }
    }
}
