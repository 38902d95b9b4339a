//! Pure: JSON objects and arrays as raw parts, in their order. For cold paths that edit a few
//! members and must leave the rest byte for byte: numbers, escapes and key order stay as written.
//!
//! Nothing here recurses, so that depth cannot exhaust the stack; who recurses bounds [`depth`]
//! first.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// One member of an object.
#[derive(Clone, Debug)]
pub struct Member<'a> {
    /// The key as text.
    pub key: Cow<'a, str>,
    /// The key as it is written, with its quotes.
    pub raw_key: &'a str,
    /// The value as it is written, without white space around it.
    pub value: &'a RawValue,
}

/// The members of the one object that `json` is, in order; a key that stands twice stands twice.
pub fn members(json: &str) -> Result<Vec<Member<'_>>, serde_json::Error> {
    let mut parser = serde_json::Deserializer::from_str(json);
    let found = parser.deserialize_map(Members)?;
    parser.end()?;
    Ok(found)
}

/// The elements of the one array that `json` is, in order.
pub fn elements(json: &str) -> Result<Vec<&RawValue>, serde_json::Error> {
    let mut parser = serde_json::Deserializer::from_str(json);
    let found = parser.deserialize_seq(Elements)?;
    parser.end()?;
    Ok(found)
}

/// The text of a JSON string; `None` for any other value, and for a lone surrogate.
pub fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    unquote(value.get()).ok()
}

/// Whether the value is an object.
pub fn is_object(value: &RawValue) -> bool {
    value.get().starts_with('{')
}

/// Whether the value is an array.
pub fn is_array(value: &RawValue) -> bool {
    value.get().starts_with('[')
}

/// How deep the objects and arrays of a valid JSON text are nested; 0 for a scalar.
pub fn depth(json: &str) -> usize {
    let (mut now, mut deepest) = (0_usize, 0_usize);
    let (mut in_string, mut escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                now += 1;
                deepest = deepest.max(now);
            }
            b'}' | b']' => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Text of a peer as it may stand in a message for people: one line, at most `chars_max`
/// characters.
pub fn shown(text: &str, chars_max: usize) -> String {
    let mut out: String = text.chars().take(chars_max).flat_map(char::escape_debug).collect();
    if text.chars().nth(chars_max).is_some() {
        out.push('…');
    }
    out
}

/// The text of a JSON string as it is written; borrowed where nothing is escaped.
fn unquote(raw: &str) -> Result<Cow<'_, str>, serde_json::Error> {
    let inner = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match inner {
        Some(plain) if !plain.contains('\\') => Ok(Cow::Borrowed(plain)),
        _ => serde_json::from_str(raw).map(Cow::Owned),
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<Member<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        while let Some((raw, value)) = map.next_entry::<&'de RawValue, &'de RawValue>()? {
            let raw_key = raw.get();
            let key = unquote(raw_key).map_err(serde::de::Error::custom)?;
            found.push(Member { key, raw_key, value });
        }
        Ok(found)
    }
}

struct Elements;

impl<'de> Visitor<'de> for Elements {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        while let Some(value) = seq.next_element()? {
            found.push(value);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_their_twins_and_their_bytes() {
        let json = r#" { "a" : 1e2, "n\u0061me": 12345678901234567890123, "a":[ 1, 2 ] } "#;
        let got = members(json).unwrap();
        let seen: Vec<_> = got.iter().map(|m| (&*m.key, m.raw_key, m.value.get())).collect();
        let name = ("name", r#""n\u0061me""#, "12345678901234567890123");
        assert_eq!(seen, [("a", r#""a""#, "1e2"), name, ("a", r#""a""#, "[ 1, 2 ]")]);
    }

    #[test]
    fn what_is_not_one_object_is_refused() {
        for bad in ["", "[]", "1", "{} {}", "{\"a\":}", "{\"\\ud800\":1}", "{\"a\":01}"] {
            assert!(members(bad).is_err(), "{bad}");
        }
        assert!(elements("{}").is_err());
        assert_eq!(elements("[1, {}]").unwrap().len(), 2);
    }

    #[test]
    fn depth_counts_brackets_outside_strings() {
        let cases = [("1", 0), ("{}", 1), (r#"{"a":"[[[\"{"}"#, 1), (r#"[{"a":[]},[]]"#, 3)];
        for (json, want) in cases {
            assert_eq!(depth(json), want, "{json}");
        }
    }

    #[test]
    fn deep_nesting_is_only_counted() {
        let json = format!("{{\"a\":{}1{}}}", "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(members(&json).unwrap().len(), 1);
        assert_eq!(depth(&json), 200_001);
    }

    #[test]
    fn text_is_only_text() {
        let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
        assert_eq!(text(&raw(r#""a\nb""#)).unwrap(), "a\nb");
        assert!(text(&raw("1")).is_none());
        assert!(text(&raw(r#""\ud800""#)).is_none());
    }

    #[test]
    fn shown_text_is_one_short_line() {
        assert_eq!(shown("a\nb", 10), "a\\nb");
        assert_eq!(shown("abcdef", 3), "abc…");
    }
}
