//! Pure: what a `completion/complete` is about (2025-11-25 and 2026-07-28, server/utilities/
//! completion): a prompt by its name, or a resource template by its text.

use std::collections::HashSet;

use super::error::{ErrorBody, INVALID_PARAMS};
use super::scan::{Span, members, unquote};

/// What is to be completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// An argument of the prompt with this name.
    Prompt(String),
    /// A variable of the template with this text, or of the resource with this URI.
    Resource(String),
}

/// Reads `params.ref`, which stands at `span` of `text`. Answers what it names, and where in `text`
/// the name stands, to be replaced by the one that the upstream knows.
pub fn reference(text: &[u8], span: Option<Span>) -> Result<(Reference, Span), ErrorBody> {
    let bad = |what: &str| ErrorBody::new(INVALID_PARAMS, format!("params.ref {what}"));
    let span = span.ok_or_else(|| bad("is missing"))?;
    let object = span.of(text);
    if object.first() != Some(&b'{') {
        return Err(bad("must be an object"));
    }
    let all = members(object).map_err(|_scanned_before| bad("cannot be read"))?;
    let mut seen = HashSet::new();
    let (mut kind, mut name, mut uri) = (None, None, None);
    for member in all {
        let key = unquote(member.key.of(object)).unwrap_or_default().into_owned();
        match key.as_str() {
            "type" => kind = unquote(member.value.of(object)),
            "name" => name = Some(member.value),
            "uri" => uri = Some(member.value),
            _ => {}
        }
        if !seen.insert(key.to_lowercase()) {
            return Err(bad("has a member twice"));
        }
    }
    let (place, make): (_, fn(String) -> Reference) = match kind.as_deref() {
        Some("ref/prompt") => (name, Reference::Prompt),
        Some("ref/resource") => (uri, Reference::Resource),
        _ => return Err(bad("must have the type \"ref/prompt\" or \"ref/resource\"")),
    };
    let place = place.ok_or_else(|| bad("names nothing"))?;
    let named = unquote(place.of(object)).ok_or_else(|| bad("must name it by a string"))?;
    let whole = Span { start: span.start + place.start, end: span.start + place.end };
    Ok((make(named.into_owned()), whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::envelope::split;

    fn read(reference_json: &str) -> Result<(Reference, String), i64> {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{{"ref":{reference_json}}}}}"#
        );
        let shape = split(text.as_bytes()).unwrap();
        let (reference, span) =
            reference(text.as_bytes(), shape.reference).map_err(|error| error.code)?;
        Ok((reference, String::from_utf8_lossy(span.of(text.as_bytes())).into_owned()))
    }

    #[test]
    fn prompts_and_templates_are_named_and_found_in_the_text() {
        assert_eq!(
            read(r#"{"type":"ref/prompt","name":"u__p"}"#),
            Ok((Reference::Prompt("u__p".into()), "\"u__p\"".into()))
        );
        assert_eq!(
            read(r#"{"uri":"t://{id}", "type":"ref/resource"}"#),
            Ok((Reference::Resource("t://{id}".into()), "\"t://{id}\"".into()))
        );
    }

    #[test]
    fn what_names_nothing_or_two_things_is_refused() {
        for bad in [
            "7",
            "{}",
            r#"{"type":"ref/x","name":"a"}"#,
            r#"{"type":"ref/prompt","uri":"a"}"#,
            r#"{"type":"ref/prompt","name":7}"#,
            r#"{"type":"ref/prompt","name":"a","name":"b"}"#,
            r#"{"type":"ref/prompt","name":"a","Name":"b"}"#,
        ] {
            assert_eq!(read(bad), Err(INVALID_PARAMS), "{bad}");
        }
    }
}
