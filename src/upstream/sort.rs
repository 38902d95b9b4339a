//! Pure: what one message of an upstream is to the request that waits: its answer, a note or a
//! question for its client, or nothing of its business. Never another client's.

use bytes::Bytes;

use crate::base::{Fault, Kind, Sent};
use crate::proto::answer::{About, Answer, Incoming, read};
use crate::proto::envelope::Why;
use crate::proto::scan::ScanError;
use crate::proto::splice::Splice;
use crate::proto::{Abilities, Era, Level, Method, Span, id};

use super::exchange::Request;

/// What a message is to the request that waits.
#[derive(Debug)]
pub enum Sorted {
    /// Its answer.
    Done(Answer),
    /// A note for its client.
    Note(Bytes),
    /// A question for its client, or a ping for us.
    Ask {
        /// The upstream's own raw id.
        id: Span,
        /// What it asks for.
        method: Method,
        /// The client said that it can be asked this.
        allowed: bool,
    },
    /// Nothing of its business.
    Nothing,
}

/// Sorts a message that came on the request's own stream. `own` is the id that the request went out
/// with.
pub fn sort(data: &Bytes, own: &[u8], wanted: &Wanted) -> Result<Sorted, Fault> {
    let message = read(data).map_err(|error| unreadable("a message", &error.why))?;
    Ok(match message {
        Incoming::Answer(answer) => match answer.id {
            Some(span) if id::same(span.of(data), own) => Sorted::Done(answer),
            _ => Sorted::Nothing,
        },
        Incoming::Ask { id, method, url } => {
            Sorted::Ask { id, method, allowed: wanted.abilities.allow(method, url) }
        }
        Incoming::Note { method, about } => {
            wanted.note(data, method, about).map_or(Sorted::Nothing, Sorted::Note)
        }
    })
}

/// What of an upstream's messages belongs to a request besides its answer.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    progress: Progress,
    /// The least severe log message that the client takes.
    logs: Option<Level>,
    /// What the client can be asked.
    pub abilities: Abilities,
}

/// Which progress belongs to a request.
#[derive(Clone, Debug, Default)]
enum Progress {
    /// None: the client did not ask for it.
    #[default]
    Unwanted,
    /// What carries the client's own token, which went out as it is.
    Own(Bytes),
    /// What carries our number; the client's token takes its place.
    Replaced(u64, Bytes),
}

impl Wanted {
    /// What belongs to a request that went out under `number`.
    pub fn of(request: &Request<'_>, token_replaced: bool, number: u64) -> Self {
        let progress = match request.token().map(Bytes::copy_from_slice) {
            None => Progress::Unwanted,
            Some(token) if token_replaced => Progress::Replaced(number, token),
            Some(token) => Progress::Own(token),
        };
        let logs = match (request.caller.log_level, request.caller.era) {
            (Some(level), _) => Some(level),
            // Who set no level leaves it to the server (2025-11-25, logging)…
            (None, Era::Legacy) => Some(Level::Debug),
            // …and a modern client that names none gets none (2026-07-28, logging).
            (None, Era::Modern) => None,
        };
        Self { progress, logs, abilities: request.abilities() }
    }

    /// Whether anything but the answer can belong to the request.
    pub fn anything(&self) -> bool {
        !matches!(self.progress, Progress::Unwanted)
            || self.logs.is_some()
            || !self.abilities.is_empty()
    }

    /// Whether the client takes log messages.
    pub fn takes_logs(&self) -> bool {
        self.logs.is_some()
    }

    /// A notification as the client gets it; `None` if it is not the client's.
    pub fn note(&self, data: &Bytes, method: Method, about: About) -> Option<Bytes> {
        match method {
            Method::Progress => self.progress(data, about.token?),
            Method::LogMessage => {
                let level = about.level.and_then(|span| Level::read(span.of(data)))?;
                (level >= self.logs?).then(|| data.clone())
            }
            _ => None,
        }
    }

    fn progress(&self, data: &Bytes, token: Span) -> Option<Bytes> {
        match &self.progress {
            Progress::Unwanted => None,
            Progress::Own(own) => id::same(token.of(data), own).then(|| data.clone()),
            Progress::Replaced(number, own) => {
                if id::number(token.of(data)) != Some(*number) {
                    return None;
                }
                let mut splice = Splice::new(data);
                splice.put(token, own);
                Some(splice.apply_to(data))
            }
        }
    }
}

/// One that is nested too deeply is too large, like one that is too long: its server is not broken.
pub(super) fn unreadable(what: &str, why: &Why) -> Fault {
    let kind = match why {
        Why::Scan(ScanError::TooDeep(_)) => Kind::TooLarge,
        _ => Kind::Protocol,
    };
    Fault::upstream(kind, Sent::Maybe, format!("{what} cannot be read: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(number: u64) -> Wanted {
        let progress = Progress::Replaced(number, Bytes::from_static(b"\"1\""));
        Wanted { progress, ..Wanted::default() }
    }

    #[test]
    fn an_answer_that_is_too_deep_is_too_large_and_one_that_is_no_json_breaks_the_protocol() {
        let kind = |result: &str| {
            let data = Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#));
            sort(&data, b"1", &Wanted::default()).err().map(|fault| fault.kind)
        };
        let deep = |levels| format!(r#"{{"x":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
        assert_eq!(kind(&deep(200)), None);
        assert_eq!(kind(&deep(100_000)), Some(Kind::TooLarge));
        assert_eq!(kind("{]"), Some(Kind::Protocol));
    }

    #[test]
    fn a_progress_note_gets_the_clients_token_with_its_type() {
        let data = Bytes::from_static(br#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":7,"progress":1}}"#);
        let Sorted::Note(note) = sort(&data, b"7", &progress(7)).unwrap() else { panic!() };
        assert!(String::from_utf8_lossy(&note).contains(r#""progressToken":"1","progress":1"#));
        assert!(matches!(sort(&data, b"8", &progress(8)).unwrap(), Sorted::Nothing));
    }

    #[test]
    fn log_messages_below_the_clients_level_are_not_its_business() {
        let log = |level: &str| {
            Bytes::from(format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"{level}","data":1}}}}"#
            ))
        };
        let from = |logs| Wanted { logs, ..Wanted::default() };
        let note = |level: &str, logs| {
            matches!(sort(&log(level), b"1", &from(logs)).unwrap(), Sorted::Note(_))
        };
        assert!(note("error", Some(Level::Warning)) && note("warning", Some(Level::Warning)));
        assert!(!note("info", Some(Level::Warning)) && !note("emergency", None));
        assert!(!note("loud", Some(Level::Debug)));
    }

    #[test]
    fn a_question_is_allowed_only_to_whom_it_can_be_put() {
        let data = Bytes::from_static(br#"{"jsonrpc":"2.0","id":3,"method":"roots/list"}"#);
        let able = Abilities { roots: true, ..Abilities::NONE };
        for (abilities, can) in [(able, true), (Abilities::NONE, false)] {
            let wanted = Wanted { abilities, ..Wanted::default() };
            let Sorted::Ask { allowed, method: Method::RootsList, .. } =
                sort(&data, b"3", &wanted).unwrap()
            else {
                panic!()
            };
            assert_eq!(allowed, can);
        }
    }
}
