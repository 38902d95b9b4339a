//! The words of the protocol that peer and driver share: both eras, their versions and headers.

use clap::ValueEnum;

/// Which family of revisions a message belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Era {
    /// `initialize`, then `Mcp-Session-Id` on every request.
    Legacy,
    /// No session: every request carries its version and capabilities in `_meta`.
    Modern,
}

impl Era {
    pub(crate) const fn version(self) -> &'static str {
        match self {
            Self::Legacy => "2025-11-25",
            Self::Modern => "2026-07-28",
        }
    }
}

/// The eras on both sides of waypost. What crosses from one to the other is mended on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pair {
    /// Legacy client, legacy upstreams
    Ll,
    /// Modern client, modern upstreams
    Mm,
    /// Legacy client, modern upstreams
    Lm,
    /// Modern client, legacy upstreams
    Ml,
}

impl Pair {
    pub(crate) const EVERY: [Self; 4] = [Self::Ll, Self::Mm, Self::Lm, Self::Ml];

    pub(crate) const fn client(self) -> Era {
        match self {
            Self::Ll | Self::Lm => Era::Legacy,
            Self::Mm | Self::Ml => Era::Modern,
        }
    }

    pub(crate) const fn upstream(self) -> Era {
        match self {
            Self::Ll | Self::Ml => Era::Legacy,
            Self::Mm | Self::Lm => Era::Modern,
        }
    }

    pub(crate) const fn crosses(self) -> bool {
        matches!(self, Self::Lm | Self::Ml)
    }

    /// Client first.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ll => "L>L",
            Self::Mm => "M>M",
            Self::Lm => "L>M",
            Self::Ml => "M>L",
        }
    }
}

pub(crate) const SESSION: &str = "mcp-session-id";
pub(crate) const VERSION: &str = "mcp-protocol-version";
pub(crate) const METHOD: &str = "mcp-method";
pub(crate) const NAME: &str = "mcp-name";

/// How every reply of the peer starts; the id follows.
pub(crate) const REPLY_HEAD: &str = r#"{"jsonrpc":"2.0","id":"#;

/// The arguments of every measured call. The peer compares them, so a gateway that changes a
/// request on its way is found out too.
pub(crate) const ARGUMENTS: &str = r#"{"query":"how do I add a middleware that logs the time of each request?","limit":10,"exact":false}"#;
