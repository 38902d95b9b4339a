//! Pure: request ids as raw text. An id goes back to its sender byte for byte, whatever its type;
//! it is looked at only to see whether an upstream can be trusted to echo it.

use super::scan::unquote;

/// The largest integer that every JSON implementation keeps exact.
const EXACT_MAX: i64 = 1 << 53;
/// The longest string id that is passed on to an upstream, in bytes of JSON text.
const TEXT_BYTES_MAX: usize = 64;

/// Whether an upstream will surely echo this id unchanged: a plain integer within ±2^53 or a short
/// string of whole characters. Others (`1.5`, `-0`, half a surrogate pair) are legal JSON, but
/// common implementations refuse or change them, so such a request goes out under an id of ours.
pub fn portable(raw: &[u8]) -> bool {
    if raw.first() == Some(&b'"') {
        // Half a surrogate pair reads as the replacement character.
        let whole = |text: std::borrow::Cow<'_, str>| !text.contains(char::REPLACEMENT_CHARACTER);
        return raw.len() <= TEXT_BYTES_MAX && unquote(raw).is_some_and(whole);
    }
    let text = std::str::from_utf8(raw).unwrap_or_default();
    text != "-0"
        && text.parse::<i64>().is_ok_and(|number| (-EXACT_MAX..=EXACT_MAX).contains(&number))
}

/// Whether two ids are the same: the same text, or strings that differ only in their escapes.
/// `"5"` and `5` are different ids.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    a == b || matches!((unquote(a), unquote(b)), (Some(x), Some(y)) if x == y)
}

/// Whether a value may be a request id at all: a string or a number (JSON-RPC 2.0; MCP forbids
/// `null`).
pub fn allowed(raw: &[u8]) -> bool {
    matches!(raw.first(), Some(b'"' | b'-' | b'0'..=b'9'))
}

/// The number in a raw id of ours, if it is one.
pub fn number(raw: &[u8]) -> Option<u64> {
    std::str::from_utf8(raw).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_that_survive_every_implementation_are_passed_on() {
        for raw in ["0", "-1", "9007199254740992", "\"\"", "\"abc\""] {
            assert!(portable(raw.as_bytes()), "{raw}");
        }
        let long = format!("\"{}\"", "x".repeat(100));
        for raw in ["9007199254740993", "1.5", "1e2", "-0", r#""\ud800""#, long.as_str()] {
            assert!(!portable(raw.as_bytes()), "{raw}");
        }
    }

    #[test]
    fn ids_compare_by_value_and_type() {
        assert!(same(b"5", b"5"));
        assert!(!same(b"5", b"\"5\""));
        assert!(same(b"\"\\u0061\"", b"\"a\""));
        assert!(!allowed(b"null") && !allowed(b"{}") && allowed(b"1.5"));
    }
}
