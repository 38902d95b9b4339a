//! What a front is made from: where it listens, whom it lets in, how much it takes.

use std::time::Duration;

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
}

impl Default for LimitSpec {
    fn default() -> Self {
        Self {
            body_bytes_max: 4 * 1024 * 1024,
            connections_max: 10_000,
            sessions_max: 50_000,
            session_idle_max: Duration::from_mins(30),
            streams_max: 10_000,
            inflight_max: 4_096,
            header_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_mins(1),
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
            limits: LimitSpec::default(),
        }
    }
}
