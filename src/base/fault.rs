//! Facts about a failure. Nothing below the fleet decides anything: it reports what happened, on
//! whose side, and whether the upstream can have seen the request. Retry, breaker and answer read
//! these facts and decide.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// No connection could be made (DNS, TCP, TLS, or the child could not be started).
    Connect,
    /// The connection or the child ended before the answer.
    Closed,
    /// No answer within the time allowed.
    Timeout,
    /// The upstream broke the protocol: unparsable, wrong id, truncated.
    Protocol,
    /// A message is larger or deeper than the gateway accepts.
    TooLarge,
    /// The upstream answered with an HTTP status that is not an answer to the call.
    Status(u16),
    /// The upstream no longer knows our session.
    SessionLost,
    /// What the upstream kept for this client is gone, and the client has not been told yet.
    StateLost,
    /// A bound of the gateway is reached.
    Overloaded,
    /// A rate limit is reached.
    RateLimited,
    /// No replica of the upstream is up.
    NoReplica,
    /// The caller gave up.
    Cancelled,
}

impl Kind {
    /// Its word, in metrics and traces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Closed => "closed",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::TooLarge => "too_large",
            Self::Status(_) => "status",
            Self::SessionLost | Self::StateLost => "session_lost",
            Self::Overloaded => "overloaded",
            Self::RateLimited => "rate_limited",
            Self::NoReplica => "no_replica",
            Self::Cancelled => "cancelled",
        }
    }
}

/// On whose side it went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The client's doing.
    Client,
    /// Ours.
    Gateway,
    /// The upstream's.
    Upstream,
}

/// Whether the upstream can have seen the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sent {
    /// The upstream has surely seen nothing: sending again is safe for every method.
    No,
    /// The request may have been seen, and may have run.
    Maybe,
    /// The upstream answered that it refused the request before running it.
    Rejected,
}

impl Sent {
    /// Its word, as `delivery` in errors and traces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::No => "not_sent",
            Self::Maybe => "unknown",
            Self::Rejected => "rejected",
        }
    }
}

/// One failure, as facts.
#[derive(Clone, Debug)]
pub struct Fault {
    /// What went wrong.
    pub kind: Kind,
    /// On whose side.
    pub side: Side,
    /// Whether the upstream can have seen the request.
    pub sent: Sent,
    /// How long the other side asked us to wait.
    pub retry_after: Option<Duration>,
    /// One sentence for people, without secrets.
    pub message: Cow<'static, str>,
}

impl Fault {
    /// A fault on the upstream's side.
    pub fn upstream(kind: Kind, sent: Sent, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, side: Side::Upstream, sent, retry_after: None, message: message.into() }
    }

    /// A fault on our side; the upstream has seen nothing.
    pub fn gateway(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        let (side, sent) = (Side::Gateway, Sent::No);
        Self { kind, side, sent, retry_after: None, message: message.into() }
    }

    /// The same fault with the wait that the other side asked for.
    #[must_use]
    pub fn retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }
}

/// Text of somebody else for a message of ours: at most 200 characters, and none that would move a
/// cursor or break a line of the log.
pub fn brief(text: &[u8]) -> String {
    const CHARS_MAX: usize = 200;
    let text = String::from_utf8_lossy(text.get(..CHARS_MAX * 4).unwrap_or(text));
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut brief: String = text.chars().take(CHARS_MAX).map(plain).collect();
    if text.chars().count() > CHARS_MAX {
        brief.push('…');
    }
    brief
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}
