//! Pure: the severities of log messages (RFC 5424; 2025-11-25 and 2026-07-28, server/utilities/
//! logging).

use super::scan::unquote;

/// How severe a log message is; a greater one is more severe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// `debug`
    Debug,
    /// `info`
    Info,
    /// `notice`
    Notice,
    /// `warning`
    Warning,
    /// `error`
    Error,
    /// `critical`
    Critical,
    /// `alert`
    Alert,
    /// `emergency`
    Emergency,
}

/// Every level, the least severe first.
pub const LEVELS: [Level; 8] = [
    Level::Debug,
    Level::Info,
    Level::Notice,
    Level::Warning,
    Level::Error,
    Level::Critical,
    Level::Alert,
    Level::Emergency,
];

impl Level {
    /// The level of a raw JSON string.
    pub fn read(raw: &[u8]) -> Option<Self> {
        let text = unquote(raw)?;
        LEVELS.into_iter().find(|level| level.as_str() == text)
    }

    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::Alert => "alert",
            Self::Emergency => "emergency",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_an_order_and_names() {
        assert!(Level::Debug < Level::Emergency);
        for level in LEVELS {
            assert_eq!(Level::read(format!("\"{}\"", level.as_str()).as_bytes()), Some(level));
        }
        assert_eq!(Level::read(b"\"loud\""), None);
        assert_eq!(Level::read(b"7"), None);
    }
}
