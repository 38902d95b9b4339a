//! Pure: what messages about tasks say, and the same with another name of the task in them.

use std::time::Duration;

use bytes::Bytes;

use crate::proto::answer::{Incoming, read};
use crate::proto::meta::RELATED_TASK;
use crate::proto::scan::{Member, Span, member, quote, unquote, within};
use crate::proto::splice::Splice;
use crate::upstream::Done;

/// Characters of a status message that a client is shown as progress.
const MESSAGE_CHARS_MAX: usize = 500;
/// How often a task is asked after, unless its server says.
const POLL: Duration = Duration::from_secs(1);
/// Bounds of what a server may say.
const POLL_MIN: Duration = Duration::from_millis(100);
/// The upper one.
const POLL_MAX: Duration = Duration::from_secs(5);

/// Where a member of a message stands, by the names on the way to it.
pub(super) fn at(text: &[u8], path: &[&str]) -> Option<Member> {
    let whole = Span { start: 0, end: text.len() };
    let mut found: Option<Member> = None;
    for name in path {
        found = Some(within(text, found.map_or(whole, |found| found.value), name)?);
    }
    found
}

/// Where a result names its task, in the way of each era and method.
pub(super) const CREATED_LEGACY: &[&str] = &["result", "task", "taskId"];
/// The same for a task of the extension, and for all that tells the state of a task.
pub(super) const STATE: &[&str] = &["result", "taskId"];
/// The same for the result of a call that ran as a task.
pub(super) const RELATED_RESULT: &[&str] = &["result", "_meta", RELATED_TASK, "taskId"];
/// Where a question or a notification names its task.
pub(super) const RELATED_PARAMS: &[&str] = &["params", "_meta", RELATED_TASK, "taskId"];

/// A message with another name in this place. `name` is a raw string.
pub(super) fn renamed(text: &Bytes, path: &[&str], name: &[u8]) -> Bytes {
    let Some(found) = at(text, path) else { return text.clone() };
    let mut splice = Splice::new(text);
    splice.put(found.value, name);
    splice.apply_to(text)
}

/// The name of the task that a result of a call made; `None` if it made none.
pub(super) fn created(done: &Done, path: &[&str]) -> Option<String> {
    let found = at(&done.message, path)?;
    unquote(found.value.of(&done.message)).map(std::borrow::Cow::into_owned)
}

/// A call that is to run as a task.
pub(super) fn as_task(text: &Bytes, params: Span) -> Vec<u8> {
    let mut splice = Splice::new(text);
    if let Some(own) = within(text, params, "task") {
        splice.put(own.value, b"{}");
    } else {
        splice.insert(params.start + 1, br#""task":{},"#);
    }
    splice.apply(0)
}

/// A request about a task, less its `_meta`. `more` = further members of its params.
pub(super) fn request(id: u64, method: &str, own: &str, more: &str) -> String {
    // Numbers that every server can hold.
    let (id, own) = (id >> 11, quote(own));
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{"taskId":{own}{more}}}}}"#
    )
}

/// The result of a call for a client that knows of no task: nothing in it speaks of one.
pub(super) fn unrelated(done: Done) -> Done {
    let text = &done.message;
    let Some(meta) = at(text, &["result", "_meta"]) else { return done };
    let Some(related) = within(text, meta.value, RELATED_TASK) else { return done };
    let mut splice = Splice::new(text);
    splice.cut(related);
    let message = splice.apply_to(text);
    answer(message, done.status).unwrap_or(done)
}

/// A message as the answer to a request.
pub(super) fn answer(message: Bytes, status: u16) -> Option<Done> {
    match read(&message) {
        Ok(Incoming::Answer(answer)) => Some(Done { message, answer, status }),
        _ => None,
    }
}

/// How a task is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// `working`, `input_required`, `completed`, `failed`, `cancelled`.
    pub(super) status: String,
    pub(super) message: Option<String>,
    /// When to ask again.
    pub(super) poll: Duration,
}

impl State {
    /// Reads an object that tells the state of a task, of either era.
    pub(super) fn read(object: &[u8]) -> Self {
        let text =
            |name: &str| member(object, name).and_then(unquote).map(std::borrow::Cow::into_owned);
        let millis = |name: &str| -> Option<u64> {
            std::str::from_utf8(member(object, name)?).ok()?.parse().ok()
        };
        let poll = millis("pollIntervalMs").or_else(|| millis("pollInterval"));
        let poll = poll.map_or(POLL, Duration::from_millis).clamp(POLL_MIN, POLL_MAX);
        let message = text("statusMessage");
        Self { status: text("status").unwrap_or_default(), message, poll }
    }

    /// Whether nothing changes any more.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.status.as_str(), "completed" | "failed" | "cancelled")
    }

    /// What a client that wants progress is told of it.
    pub(super) fn progress(&self, token: &[u8], step: u32) -> Bytes {
        let head =
            br#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"#;
        let message = self.message.as_deref().unwrap_or(&self.status);
        let message: String = message.chars().take(MESSAGE_CHARS_MAX).collect();
        let message = quote(&message);
        let rest = format!(r#","progress":{step},"message":{message}}}}}"#);
        [head, token, rest.as_bytes()].concat().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    fn done(text: &str) -> Done {
        answer(Bytes::from(text.to_owned()), 200).unwrap()
    }

    #[test]
    fn only_the_name_of_the_task_changes() {
        let message = Bytes::from_static(
            br#"{"jsonrpc":"2.0","id":1,"result":{"task":{"taskId":"own","ttl":1e3},"taskId":"x"}}"#,
        );
        assert_eq!(
            text(&renamed(&message, CREATED_LEGACY, b"\"ours\"")),
            r#"{"jsonrpc":"2.0","id":1,"result":{"task":{"taskId":"ours","ttl":1e3},"taskId":"x"}}"#
        );
        assert_eq!(renamed(&message, RELATED_RESULT, b"\"ours\""), message);
        assert_eq!(created(&done(text(&message)), CREATED_LEGACY).as_deref(), Some("own"));
        assert_eq!(created(&done(text(&message)), STATE).as_deref(), Some("x"));
        let error = done(r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}"#);
        assert_eq!(created(&error, STATE), None);
    }

    #[test]
    fn a_call_is_made_a_task_once() {
        let made = |params: &str| {
            let call = Bytes::from(format!(r#"{{"id":1,"params":{params}}}"#));
            let span = at(&call, &["params"]).unwrap().value;
            String::from_utf8(as_task(&call, span)).unwrap()
        };
        assert_eq!(made(r#"{"name":"t"}"#), r#"{"id":1,"params":{"task":{},"name":"t"}}"#);
        let own = made(r#"{"name":"t","task":7}"#);
        assert_eq!(own, r#"{"id":1,"params":{"name":"t","task":{}}}"#);
    }

    #[test]
    fn a_result_loses_what_speaks_of_a_task() {
        let with =
            |meta: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[],{meta}}}}}"#);
        let related = format!(r#""_meta":{{"{RELATED_TASK}":{{"taskId":"x"}},"k":1}}"#);
        assert_eq!(text(&unrelated(done(&with(&related))).message), with(r#""_meta":{"k":1}"#));
        let none = with(r#""_meta":{"k":1}"#);
        assert_eq!(text(&unrelated(done(&none)).message), none);
    }

    #[test]
    fn the_state_of_a_task_is_read_in_both_eras_and_told_as_progress() {
        let read = |text: &str| State::read(text.as_bytes());
        let legacy =
            read(r#"{"status":"working","statusMessage":"half \"a\"\n","pollInterval":700}"#);
        assert_eq!(legacy.poll, Duration::from_millis(700));
        assert_eq!(
            text(&legacy.progress(b"\"t\"", 2)),
            r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","progress":2,"message":"half \"a\"\n"}}"#
        );
        let modern = read(r#"{"status":"completed","pollIntervalMs":1}"#);
        assert_eq!((modern.poll, modern.message.as_deref()), (POLL_MIN, None));
        assert!(text(&modern.progress(b"1", 0)).contains(r#""message":"completed""#));
        assert_eq!(read("{}").poll, POLL);
        assert_eq!(read(r#"{"pollInterval":99999999}"#).poll, POLL_MAX);
    }

    #[test]
    fn a_request_names_the_task_as_its_server_does() {
        assert_eq!(
            request(9 << 11, "tasks/get", "a\"b", ""),
            r#"{"jsonrpc":"2.0","id":9,"method":"tasks/get","params":{"taskId":"a\"b"}}"#
        );
    }
}
