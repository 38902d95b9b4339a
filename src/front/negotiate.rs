//! Pure: what a request's `Accept` and `Content-Type` say.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};

/// Whether the client takes answers of this type. A client that says nothing takes everything.
pub fn accepts(headers: &HeaderMap, wanted: &str) -> bool {
    let mut any = false;
    for line in headers.get_all(ACCEPT) {
        any = true;
        let Ok(line) = line.to_str() else { continue };
        if line.split(',').any(|range| range_takes(range, wanted)) {
            return true;
        }
    }
    !any
}

fn range_takes(range: &str, wanted: &str) -> bool {
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
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|value| value.split(';').next()).unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: http::HeaderName, value: &str) -> HeaderMap {
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
    fn a_content_type_may_carry_a_charset() {
        assert!(is_json(&with(CONTENT_TYPE, "application/json; charset=utf-8")));
        assert!(!is_json(&with(CONTENT_TYPE, "text/plain")));
        assert!(!is_json(&HeaderMap::new()));
    }
}
