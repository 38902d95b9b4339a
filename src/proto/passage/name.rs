//! Pure: the keys that the passage acts on.

use super::super::scan::unquote;

/// A key that means something to the passage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Id,
    Result,
    Error,
    Method,
    ResultType,
    IsError,
    Structured,
    Ttl,
    Scope,
    /// Any other, and those too long to be one of these.
    Other,
}

impl Name {
    /// What the raw key (quotes included) names.
    pub(super) fn of(raw: Option<&[u8]>) -> Self {
        match raw.and_then(unquote).as_deref() {
            Some("id") => Self::Id,
            Some("result") => Self::Result,
            Some("error") => Self::Error,
            Some("method") => Self::Method,
            Some("resultType") => Self::ResultType,
            Some("isError") => Self::IsError,
            Some("structuredContent") => Self::Structured,
            Some("ttlMs") => Self::Ttl,
            Some("cacheScope") => Self::Scope,
            _ => Self::Other,
        }
    }
}
