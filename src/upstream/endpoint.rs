//! Pure: where the messages to a server of the HTTP+SSE transport go, as its first event says
//! (2024-11-05, basic/transports, "HTTP with SSE").

use http::Uri;
use url::{Position, Url};

/// The address in the data of an `endpoint` event, which may be relative to that of the stream. It
/// must have the same origin: what is posted there may hold the credentials of that origin.
pub(super) fn resolve(stream: &Uri, data: &[u8]) -> Result<Uri, String> {
    let unreadable = || "the address in its `endpoint` event cannot be read".to_owned();
    let base = Url::parse(&stream.to_string()).map_err(|_bad| unreadable())?;
    let text = std::str::from_utf8(data).map_err(|_bad| unreadable())?.trim();
    if text.is_empty() {
        return Err("its `endpoint` event has no address".to_owned());
    }
    let found = base.join(text).map_err(|_bad| unreadable())?;
    let (own, other) = (base.origin(), found.origin());
    if own != other {
        return Err(format!(
            "its `endpoint` event leads to another origin, {}, and nothing is sent there: let it \
             say a relative address, or give the URL of that origin instead of {}",
            other.ascii_serialization(),
            own.ascii_serialization(),
        ));
    }
    let mut parts = stream.clone().into_parts();
    let path = &found[Position::BeforePath..Position::AfterQuery];
    parts.path_and_query = Some(path.parse().map_err(|_bad| unreadable())?);
    Uri::from_parts(parts).map_err(|_bad| unreadable())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(stream: &str, data: &str) -> Result<String, String> {
        resolve(&stream.parse().unwrap(), data.as_bytes()).map(|uri| uri.to_string())
    }

    #[test]
    fn an_address_is_relative_to_the_stream_or_of_its_origin() {
        for (stream, data, expected) in [
            ("http://h:1/sse", "/message?sessionId=a-b", "http://h:1/message?sessionId=a-b"),
            ("http://h:1/a/sse?key=k", "message", "http://h:1/a/message"),
            ("http://h:1/a/sse?key=k", "../m?x=1", "http://h:1/m?x=1"),
            ("http://h:1/a/sse?key=k", "?s=2", "http://h:1/a/sse?s=2"),
            ("http://h:1/sse", " /m \n", "http://h:1/m"),
            ("http://h:1/sse", "http://h:1/m?a=%20b", "http://h:1/m?a=%20b"),
            ("http://h/sse", "http://H:80/m", "http://h/m"),
            ("https://h/sse", "//h:443/m", "https://h/m"),
            ("http://[::1]:8/sse", "http://[0:0::1]:8/m", "http://[::1]:8/m"),
            ("http://h/sse", "/m#part", "http://h/m"),
        ] {
            assert_eq!(resolved(stream, data).as_deref(), Ok(expected), "{stream} {data}");
        }
    }

    #[test]
    fn nothing_leads_to_another_origin() {
        for data in [
            "https://h:1/m",
            "http://h:2/m",
            "http://h/m",
            "http://other:1/m",
            "//other:1/m",
            "\\\\other:1\\m",
            "http://h:1@other/m",
            "http://h.:1/m",
            "file:///m",
            "data:text/plain,x",
        ] {
            let refused = resolved("http://h:1/sse", data).unwrap_err();
            assert!(refused.contains("another origin"), "{data}: {refused}");
        }
        assert_eq!(
            resolved("http://h:1/sse", "http://u:pw@h:1/m").as_deref(),
            Ok("http://h:1/m"),
            "credentials in it are not taken over"
        );
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for data in ["", "  ", "http://", "http://h:x/"] {
            assert!(resolved("http://h:1/sse", data).is_err(), "{data}");
        }
        assert!(resolve(&"http://h:1/sse".parse().unwrap(), b"/\xff").is_err());
    }
}
