//! Pure: a legacy server's questions as an `input_required` result, the answers as its client
//! brings them, and what a call that went on under another request must look like there
//! (2026-07-28, basic/patterns/mrtr; 2025-11-25, client features).

use bytes::Bytes;

use crate::proto::answer::{Incoming, read};
use crate::proto::error::result_message;
use crate::proto::scan::{Span, member, quote, within};
use crate::proto::splice::Splice;
use crate::proto::{Level, Method};

/// A question for a modern client: its key, and a raw object with `method` and `params`.
pub(in crate::gateway) type Question = (String, String);

fn whole(text: &[u8]) -> Span {
    Span { start: 0, end: text.len() }
}

/// Without the name that only legacy elicitations have.
fn unnamed(params: &[u8]) -> String {
    let mut splice = Splice::new(params);
    if let Some(id) = within(params, whole(params), "elicitationId") {
        splice.cut(id);
    }
    String::from_utf8(splice.apply(0)).unwrap_or_else(|_not_text| "{}".to_owned())
}

/// What a legacy request asks, as a modern client is asked.
pub(super) fn question(method: Method, request: &[u8]) -> String {
    let params = member(request, "params").filter(|raw| raw.first() == Some(&b'{'));
    let params = params.map_or_else(|| "{}".to_owned(), unnamed);
    format!(r#"{{"method":"{}","params":{params}}}"#, method.name())
}

/// Whether a legacy request wants a URL to be opened.
pub(super) fn is_by_url(request: &[u8]) -> bool {
    let mode = member(request, "params").and_then(|params| member(params, "mode"));
    mode == Some(b"\"url\"")
}

/// What the error of a legacy server that wants URLs to be opened first asks (2025-11-25,
/// `URLElicitationRequiredError`); `None` if it does not say which.
pub(in crate::gateway) fn urls(error: &[u8]) -> Option<Vec<Question>> {
    let data = member(error, "data")?;
    let all: Vec<&serde_json::value::RawValue> =
        serde_json::from_slice(member(data, "elicitations")?).ok()?;
    let asked = all.iter().filter(|one| one.get().starts_with('{')).enumerate();
    let asked = asked.map(|(number, one)| {
        let params = unnamed(one.get().as_bytes());
        (format!("u{number}"), format!(r#"{{"method":"elicitation/create","params":{params}}}"#))
    });
    Some(asked.collect::<Vec<_>>()).filter(|asked| !asked.is_empty())
}

/// The answer that asks. `state` is what the client must bring back.
pub(in crate::gateway) fn input_required(
    id: &[u8],
    questions: &[Question],
    state: Option<&str>,
) -> Vec<u8> {
    let asked: Vec<String> =
        questions.iter().map(|(key, raw)| format!("{}:{raw}", quote(key))).collect();
    let state = state.map(|state| format!(r#","requestState":{}"#, quote(state)));
    let result = format!(
        r#"{{"resultType":"input_required","inputRequests":{{{}}}{}}}"#,
        asked.join(","),
        state.unwrap_or_default()
    );
    result_message(id, result.as_bytes())
}

/// The raw result that a client's params bring for a question; `None` if there is none, or one that
/// is no object.
pub(super) fn answer<'p>(params: &'p [u8], key: &str) -> Option<&'p [u8]> {
    member(member(params, "inputResponses")?, key).filter(|raw| raw.first() == Some(&b'{'))
}

/// An answer under the id of another request.
pub(super) fn readdressed(message: &Bytes, id: &[u8]) -> Bytes {
    let Some(found) = within(message, whole(message), "id") else { return message.clone() };
    if found.value.of(message) == id {
        return message.clone();
    }
    let mut splice = Splice::new(message);
    splice.put(found.value, id);
    splice.apply_to(message)
}

/// A notification for the request that the call goes on under: with its progress token, and only if
/// that wants it.
pub(super) fn passed_on(note: &Bytes, token: Option<&[u8]>, least: Option<Level>) -> Option<Bytes> {
    let Ok(Incoming::Note { method, about }) = read(note) else { return Some(note.clone()) };
    match method {
        Method::Progress => {
            let (span, token) = (about.token?, token?);
            let mut splice = Splice::new(note);
            splice.put(span, token);
            Some(splice.apply_to(note))
        }
        Method::LogMessage => {
            let level = about.level.and_then(|span| Level::read(span.of(note)))?;
            (level >= least?).then(|| note.clone())
        }
        _ => Some(note.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_question_keeps_every_byte_but_the_legacy_name() {
        let ask = |params: &str| {
            let request =
                format!(r#"{{"jsonrpc":"2.0","id":7,"method":"elicitation/create"{params}}}"#);
            question(Method::Elicit, request.as_bytes())
        };
        assert_eq!(
            ask(r#","params":{"n":1e2,"elicitationId":"x","mode":"url"}"#),
            r#"{"method":"elicitation/create","params":{"n":1e2,"mode":"url"}}"#
        );
        assert_eq!(
            ask(r#","params":{"mode":"url", "elicitationId":"x"}"#),
            r#"{"method":"elicitation/create","params":{"mode":"url"}}"#
        );
        assert_eq!(ask(""), r#"{"method":"elicitation/create","params":{}}"#);
        assert!(is_by_url(br#"{"params":{"mode":"url"}}"#));
        assert!(!is_by_url(br#"{"params":{"mode":"form"}}"#) && !is_by_url(b"{}"));
    }

    #[test]
    fn an_error_that_wants_urls_becomes_questions() {
        let error = br#"{"code":-32042,"message":"m","data":{"elicitations":[{"mode":"url","elicitationId":"a","url":"https://x","message":"m"},7]}}"#;
        let asked = urls(error).unwrap();
        let params = r#"{"mode":"url","url":"https://x","message":"m"}"#;
        let raw = format!(r#"{{"method":"elicitation/create","params":{params}}}"#);
        assert_eq!(asked, [("u0".to_owned(), raw)]);
        for without in [r#"{"code":-32042}"#, r#"{"code":1,"data":{"elicitations":[]}}"#] {
            assert_eq!(urls(without.as_bytes()), None);
        }
    }

    #[test]
    fn the_answer_that_asks_is_one_of_the_modern_era() {
        let asked = vec![("r\"0".to_owned(), r#"{"method":"roots/list","params":{}}"#.to_owned())];
        assert_eq!(
            text(&input_required(b"\"a\"", &asked, Some("wp1.x"))),
            r#"{"jsonrpc":"2.0","id":"a","result":{"resultType":"input_required","inputRequests":{"r\"0":{"method":"roots/list","params":{}}},"requestState":"wp1.x"}}"#
        );
        assert!(!text(&input_required(b"1", &asked, None)).contains("requestState"));
    }

    #[test]
    fn answers_are_found_by_their_key() {
        let params = br#"{"name":"t","inputResponses":{"a":{"n":1e2},"b":3}}"#;
        assert_eq!(answer(params, "a"), Some(br#"{"n":1e2}"#.as_slice()));
        assert_eq!(
            (answer(params, "b"), answer(params, "c"), answer(b"{}", "a")),
            (None, None, None)
        );
    }

    #[test]
    fn what_comes_late_comes_under_the_request_that_waits() {
        let message = Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"result":{"id":1}}"#);
        let moved = readdressed(&message, b"\"b\"");
        assert_eq!(text(&moved), r#"{"jsonrpc":"2.0","id":"b","result":{"id":1}}"#);
        assert_eq!(readdressed(&message, b"1"), message);

        let note = Bytes::from_static(
            br#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"a","progress":1}}"#,
        );
        let moved = passed_on(&note, Some(b"7"), None).unwrap();
        assert!(text(&moved).contains(r#""progressToken":7,"#), "{}", text(&moved));
        assert_eq!(passed_on(&note, None, None), None);
        let log = Bytes::from_static(
            br#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}"#,
        );
        assert_eq!(passed_on(&log, None, None), None);
        assert_eq!(passed_on(&log, None, Some(Level::Error)), None);
        assert_eq!(passed_on(&log, None, Some(Level::Debug)), Some(log));
    }
}
