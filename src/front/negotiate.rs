//! Pure: what a request's `Accept`, `Content-Type` and headers that list words say.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Whether the client takes answers of this type. A client that says nothing takes everything.
pub fn accepts(headers: &HeaderMap, wanted: &str) -> bool {
    let mut any = false;
    for line in headers.get_all(ACCEPT) {
        any = true;
        let mut ranges = line.as_bytes().split(|byte| *byte == b',');
        if ranges.any(|range| range_takes(range.trim_ascii(), wanted)) {
            return true;
        }
    }
    !any
}

fn range_takes(range: &[u8], wanted: &str) -> bool {
    // What every MCP client says needs no reading.
    range.eq_ignore_ascii_case(wanted.as_bytes())
        || std::str::from_utf8(range).is_ok_and(|range| reads_as(range, wanted))
}

fn reads_as(range: &str, wanted: &str) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    let refused = parts.any(|part| {
        let quality = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
        quality.is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q <= 0.0))
    });
    let family = || {
        let (own, any) = kind.split_once('/')?;
        let family = wanted.split('/').next()?;
        Some(any == "*" && own.eq_ignore_ascii_case(family))
    };
    let matches = kind.eq_ignore_ascii_case(wanted) || kind == "*/*" || family() == Some(true);
    matches && !refused
}

/// Whether the body is JSON by its own word.
pub fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

/// The words of a header that lists some, over all its lines (RFC 9110, 5.6.1).
pub fn tokens(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(name).into_iter();
    let words = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    words.map(<[u8]>::trim_ascii).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn accept_is_read_with_wildcards_and_weights() {
        let takes = |value: &str| accepts(&with(ACCEPT, value), "text/event-stream");
        for good in [
            "*/*",
            "text/*",
            "text/event-stream",
            "application/json, text/event-stream;q=0.5",
            "TEXT/EVENT-STREAM",
        ] {
            assert!(takes(good), "{good}");
        }
        for bad in ["application/json", "text/event-stream;q=0", "text/html, application/*"] {
            assert!(!takes(bad), "{bad}");
        }
        assert!(accepts(&HeaderMap::new(), "text/event-stream"));
    }

    #[test]
    fn words_are_listed_over_all_lines() {
        let mut headers = with(http::header::CONNECTION, "keep-alive , Upgrade");
        headers.append(http::header::CONNECTION, ",x,".parse().unwrap());
        let all: Vec<_> = tokens(&headers, http::header::CONNECTION).collect();
        assert_eq!(all, [&b"keep-alive"[..], b"Upgrade", b"x"]);
        assert_eq!(tokens(&headers, ACCEPT).count(), 0);
    }

    #[test]
    fn a_content_type_may_carry_a_charset() {
        assert!(is_json(&with(CONTENT_TYPE, "application/json; charset=utf-8")));
        assert!(!is_json(&with(CONTENT_TYPE, "text/plain")));
        assert!(!is_json(&HeaderMap::new()));
    }
}
