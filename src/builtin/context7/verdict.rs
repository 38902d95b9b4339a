//! Pure: what an answer of the API means for us: its status table.

use std::time::Duration;

use http::HeaderMap;

use crate::base::{Fault, Kind};
use crate::builtin::standing::Shut;
use crate::builtin::wait;
use crate::telemetry::Status;

use super::resolve::is_id;
use super::wire::Refusal;

/// How long a rate limit without a time holds.
const LIMITED_WAIT: Duration = Duration::from_mins(1);
/// How long a spent budget without a time holds.
const SPENT_WAIT: Duration = Duration::from_hours(1);

/// Why there is no new answer.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    /// No connection, no answer in time, or no whole one.
    Unreachable(Fault),
    /// It may not be called, from an answer of just now or of before.
    Shut(Shut),
    /// The library is still being read.
    Indexing(String),
    /// There is no such thing.
    Missing { code: String, message: String },
    /// It does not accept the question.
    Refused { status: u16, code: String, message: String },
    /// It fails on its side.
    Failing { status: u16, message: String },
    /// What it said is not what it says it says.
    Garbled(String),
}

impl Trouble {
    pub(super) fn missing(code: &str, message: &str) -> Self {
        Self::Missing { code: code.to_owned(), message: message.to_owned() }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Unreachable(fault) => format!("unreachable: {fault}"),
            Self::Shut(shut) => shut.text(),
            Self::Indexing(message) => format!("still being indexed: {message}"),
            Self::Missing { code, message } => format!("not found ({code}): {message}"),
            Self::Refused { status, code, message } => {
                format!("refused ({status} {code}): {message}")
            }
            Self::Failing { status, message } => format!("fails on its side ({status}): {message}"),
            Self::Garbled(what) => format!("its answer cannot be read: {what}"),
        }
    }

    pub(super) fn status(&self) -> Status {
        match self {
            Self::Unreachable(fault) if fault.kind == Kind::Timeout => Status::Timeout,
            Self::Unreachable(_) | Self::Failing { .. } => Status::Unavailable,
            Self::Shut(Shut { wait: Some(_), .. }) => Status::RateLimited,
            Self::Shut(_)
            | Self::Indexing(_)
            | Self::Missing { .. }
            | Self::Refused { .. }
            | Self::Garbled(_) => Status::Error,
        }
    }

    /// Whether an older answer to the same question is better than none: it is where the service
    /// did not judge the question.
    pub(super) fn old_will_do(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Shut(_) | Self::Failing { .. } | Self::Garbled(_) => true,
            Self::Indexing(_) | Self::Missing { .. } | Self::Refused { .. } => false,
        }
    }
}

/// What to do with an answer.
#[derive(Debug)]
pub(super) enum Verdict {
    /// The body holds what was asked for.
    Good,
    /// The library has this id now.
    Moved(String),
    /// Do not call again for a time, or (`wait: None`) until the configuration changes.
    Stop(Shut),
    /// Nothing to be had, for this reason.
    Bad(Trouble),
}

/// Judges an answer. `unix_now` in seconds.
pub(super) fn verdict(status: u16, headers: &HeaderMap, body: &[u8], unix_now: u64) -> Verdict {
    let refusal: Refusal = serde_json::from_slice(body).unwrap_or_default();
    let code = refusal.error.unwrap_or_else(|| "no code".to_owned());
    let message = refusal.message.unwrap_or_else(|| "no reason given".to_owned());
    let stop = |what: &str, wait| {
        Verdict::Stop(Shut { why: format!("{what} ({status} {code}: {message})"), wait })
    };
    let asked = || wait::wait(headers, unix_now);
    match status {
        200 if body.trim_ascii().is_empty() => {
            Verdict::Bad(Trouble::missing("empty", "an empty answer: not found or not ready yet"))
        }
        200 => Verdict::Good,
        202 => Verdict::Bad(Trouble::Indexing(message)),
        301 => match refusal.redirect_url.filter(|id| is_id(id)) {
            Some(id) => Verdict::Moved(id),
            None => Verdict::Bad(Trouble::Garbled("a redirect without a library id".to_owned())),
        },
        401 => stop("Context7 refuses the API key", None),
        402 => stop("the spending limit is reached", Some(asked().unwrap_or(SPENT_WAIT))),
        404 => Verdict::Bad(Trouble::Missing { code, message }),
        429 => stop("Context7 limits our requests", Some(asked().unwrap_or(LIMITED_WAIT))),
        500..=599 => Verdict::Bad(Trouble::Failing { status, message }),
        _ => Verdict::Bad(Trouble::Refused { status, code, message }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(status: u16, headers: &[(&'static str, &str)], body: &str) -> Verdict {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        verdict(status, &map, body.as_bytes(), 1_800_000_000)
    }

    #[test]
    fn each_status_has_its_meaning() {
        let body = r#"{"error":"some_code","message":"Some words"}"#;
        let bad = |status| match judge(status, &[], body) {
            Verdict::Bad(trouble) => trouble.text(),
            other => panic!("{status}: {other:?}"),
        };
        assert!(matches!(judge(200, &[], "{}"), Verdict::Good));
        assert!(matches!(judge(200, &[], " \n"), Verdict::Bad(Trouble::Missing { .. })));
        assert_eq!(bad(202), "still being indexed: Some words");
        for status in [400, 403, 422, 302, 418] {
            assert_eq!(bad(status), format!("refused ({status} some_code): Some words"));
        }
        assert_eq!(bad(404), "not found (some_code): Some words");
        for status in [500, 503, 504] {
            assert_eq!(bad(status), format!("fails on its side ({status}): Some words"));
        }
    }

    #[test]
    fn a_bad_key_stops_for_good_and_limits_for_a_time() {
        let stop = |status, headers: &[(&'static str, &str)]| match judge(status, headers, "{}") {
            Verdict::Stop(shut) => shut.wait.map(|wait| wait.as_secs()),
            other => panic!("{status}: {other:?}"),
        };
        assert_eq!(stop(401, &[("retry-after", "5")]), None);
        assert_eq!(stop(402, &[]), Some(3_600));
        assert_eq!(stop(402, &[("ratelimit-reset", "1800000099")]), Some(99));
        assert_eq!(stop(429, &[]), Some(60));
        assert_eq!(stop(429, &[("retry-after", "7")]), Some(7));
    }

    #[test]
    fn a_redirect_is_a_library_id_and_nothing_else() {
        let moved = |to: &str| judge(301, &[], &format!(r#"{{"redirectUrl":"{to}"}}"#));
        assert!(matches!(moved("/new/repo"), Verdict::Moved(id) if id == "/new/repo"));
        for to in ["https://evil.example/x", "//evil.example/x", "/only", ""] {
            assert!(matches!(moved(to), Verdict::Bad(Trouble::Garbled(_))), "{to}");
        }
        assert!(matches!(judge(301, &[], ""), Verdict::Bad(Trouble::Garbled(_))));
    }
}
