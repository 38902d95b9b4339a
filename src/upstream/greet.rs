//! Pure: which era a server speaks, read from how it answers `server/discover` (2026-07-28,
//! basic/versioning, "Era detection"; transports, "Backward Compatibility").
//!
//! A stale modern verdict fails loudly; a stale legacy verdict would succeed silently for ever. So
//! everything that may be a passing trouble is no evidence at all.

use crate::base::fault::brief;
use crate::base::{Fault, Kind};
use crate::proto::answer::Body;
use crate::proto::era::{MODERN_VERSIONS, Version};
use crate::proto::error::{HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION};
use crate::proto::modern::{Discovered, read_discovered, supported_in_error};
use crate::proto::{Lists, Offers};

use super::exchange::Done;

/// What an answer to `server/discover` shows.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// A modern server.
    Modern(Discovered),
    /// A legacy server: greet it with `initialize`.
    Legacy,
    /// A modern server that speaks none of our revisions.
    Incompatible(String),
    /// No evidence: try again later.
    Unknown(Fault),
}

/// The verdict on a server behind a URL.
pub fn over_http(outcome: Result<Done, Fault>) -> Verdict {
    match outcome {
        Ok(done) if done.status >= 500 || matches!(done.status, 401 | 403 | 408 | 429) => {
            let message = format!("it answered HTTP {}", done.status);
            Verdict::Unknown(Fault::upstream(
                Kind::Status(done.status),
                crate::base::Sent::Rejected,
                message,
            ))
        }
        Ok(done) => from_answer(&done),
        Err(fault) => match fault.kind {
            Kind::Status(401 | 403 | 408 | 429) => Verdict::Unknown(fault),
            Kind::Status(status) if (400..500).contains(&status) => Verdict::Legacy,
            _ => Verdict::Unknown(fault),
        },
    }
}

/// The verdict on a child. Here a timeout and an exit do mean legacy: old servers ignore, or die
/// from, what comes before `initialize`. It is provisional: a server that was only slow answers
/// `initialize` with -32022 and is then known to be modern.
pub fn over_stdio(outcome: Result<Done, Fault>) -> Verdict {
    match outcome {
        Ok(done) => from_answer(&done),
        Err(fault) => match fault.kind {
            Kind::Timeout | Kind::Closed | Kind::Protocol => Verdict::Legacy,
            _ => Verdict::Unknown(fault),
        },
    }
}

/// What an answer shows by itself.
fn from_answer(done: &Done) -> Verdict {
    match &done.answer.body {
        Body::Result(parts) => {
            let result = parts.span.map(|span| span.of(&done.message)).unwrap_or_default();
            match read_discovered(result) {
                Some(found) if found.version.is_some() => Verdict::Modern(found),
                // A server that lists only legacy revisions wants the handshake. So does one that
                // answers whatever it does not know with a result of its own; if there is no MCP
                // server at all, the handshake shows that.
                _ => Verdict::Legacy,
            }
        }
        Body::Error(error) if error.code == UNSUPPORTED_VERSION => {
            let supported = supported_in_error(error.span.of(&done.message));
            if supported
                .iter()
                .filter_map(|v| Version::parse(v))
                .any(|v| MODERN_VERSIONS.contains(&v))
            {
                // It names a revision that we asked with: it contradicts itself, so it is odd, not old.
                return Verdict::Modern(Discovered {
                    version: Some(Version::MODERN_NEWEST),
                    offers: Offers { changes: Lists::NONE, ..Offers::EVERYTHING },
                });
            }
            if supported.iter().any(|v| Version::parse(v).is_some()) {
                return Verdict::Legacy;
            }
            Verdict::Incompatible(format!(
                "it speaks {}, the gateway speaks up to {}",
                brief(supported.join(", ").as_bytes()),
                Version::MODERN_NEWEST.as_str()
            ))
        }
        Body::Error(_) => Verdict::Legacy,
    }
}

/// Whether a failed `initialize` shows that the server is modern after all.
pub fn refused_handshake(done: &Done) -> bool {
    matches!(&done.answer.body, Body::Error(error) if error.code == UNSUPPORTED_VERSION)
}

/// Whether a failed `initialize` may come from a server of the HTTP+SSE transport, which takes no
/// POST at its URL: a client then asks for its stream (2026-07-28, transports, "Backward
/// Compatibility").
pub fn may_be_older(outcome: &Result<Done, Fault>) -> bool {
    const REFUSALS: [u16; 3] = [400, 404, 405];
    match outcome {
        Ok(done) => match &done.answer.body {
            Body::Error(error) => REFUSALS.contains(&done.status) && !is_modern(error.code),
            Body::Result(_) => false,
        },
        Err(fault) => matches!(fault.kind, Kind::Status(status) if REFUSALS.contains(&status)),
    }
}

/// Codes that only modern servers know.
fn is_modern(code: i64) -> bool {
    matches!(code, HEADER_MISMATCH | MISSING_CAPABILITY | UNSUPPORTED_VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Sent;
    use crate::proto::answer::{Incoming, read};
    use bytes::Bytes;

    fn done(status: u16, text: &str) -> Done {
        let message = Bytes::from(text.to_owned());
        let Incoming::Answer(answer) = read(&message).unwrap() else { panic!("{text}") };
        Done { message, answer, status }
    }

    fn error(status: u16, code: i64, data: &str) -> Done {
        done(
            status,
            &format!(
                r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":{code},"message":"m","data":{data}}}}}"#
            ),
        )
    }

    fn fault(kind: Kind) -> Fault {
        Fault::upstream(kind, Sent::Maybe, "x")
    }

    const DISCOVERED: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}}"#;

    #[test]
    fn over_http_only_a_clear_answer_is_evidence() {
        assert!(matches!(over_http(Ok(done(200, DISCOVERED))), Verdict::Modern(_)));
        for kind in [
            Kind::Status(401),
            Kind::Status(403),
            Kind::Status(500),
            Kind::Status(503),
            Kind::Timeout,
            Kind::Connect,
            Kind::Closed,
            Kind::Protocol,
        ] {
            assert!(matches!(over_http(Err(fault(kind))), Verdict::Unknown(_)), "{kind:?}");
        }
        for status in [400, 404, 405, 406, 415] {
            assert!(
                matches!(over_http(Err(fault(Kind::Status(status)))), Verdict::Legacy),
                "{status}"
            );
        }
        for code in [-32601, -32000, -32001, -32020, -32021] {
            assert!(matches!(over_http(Ok(error(400, code, "null"))), Verdict::Legacy), "{code}");
        }
        assert!(matches!(over_http(Ok(error(401, -32001, "null"))), Verdict::Unknown(_)));
        assert!(matches!(over_http(Ok(error(500, -32603, "null"))), Verdict::Unknown(_)));
    }

    #[test]
    fn a_result_that_no_discover_has_is_of_a_legacy_server() {
        for other in ["{}", r#"{"hello":"there"}"#] {
            let other = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{other}}}"#);
            assert!(matches!(over_http(Ok(done(200, &other))), Verdict::Legacy), "{other}");
            assert!(matches!(over_stdio(Ok(done(200, &other))), Verdict::Legacy), "{other}");
        }
    }

    #[test]
    fn unsupported_versions_are_told_apart() {
        let with =
            |list: &str| over_http(Ok(error(400, -32022, &format!(r#"{{"supported":{list}}}"#))));
        assert!(matches!(with(r#"["2026-07-28"]"#), Verdict::Modern(_)));
        assert!(matches!(with(r#"["2025-11-25"]"#), Verdict::Legacy));
        assert!(matches!(with(r#"["2031-01-01"]"#), Verdict::Incompatible(_)));
    }

    #[test]
    fn only_a_refusal_without_a_modern_error_may_come_from_an_older_transport() {
        for status in [400, 404, 405] {
            assert!(may_be_older(&Err(fault(Kind::Status(status)))), "{status}");
            assert!(may_be_older(&Ok(error(status, -32000, "null"))), "{status}");
            for code in [-32020, -32021, -32022] {
                assert!(!may_be_older(&Ok(error(status, code, "null"))), "{status} {code}");
            }
        }
        for kind in [Kind::Status(401), Kind::Status(406), Kind::Status(500), Kind::Timeout] {
            assert!(!may_be_older(&Err(fault(kind))), "{kind:?}");
        }
        assert!(!may_be_older(&Ok(error(200, -32000, "null"))));
        assert!(!may_be_older(&Ok(done(404, DISCOVERED))));
    }

    #[test]
    fn on_stdio_silence_and_death_mean_legacy() {
        for kind in [Kind::Timeout, Kind::Closed] {
            assert!(matches!(over_stdio(Err(fault(kind))), Verdict::Legacy), "{kind:?}");
        }
        assert!(matches!(over_stdio(Err(fault(Kind::Connect))), Verdict::Unknown(_)));
        assert!(matches!(over_stdio(Ok(error(200, -32000, "null"))), Verdict::Legacy));
        let legacy_only = DISCOVERED.replace("2026-07-28", "2025-11-25");
        assert!(matches!(over_stdio(Ok(done(200, &legacy_only))), Verdict::Legacy));
        assert!(refused_handshake(&error(200, -32022, "null")));
    }
}
