//! Pure: texts of the configuration and what they say: durations, URLs, hosts, key paths, and the
//! nearest known word.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;

/// What is wrong with a text, and what to write instead.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bad {
    /// What is wrong, without the text itself: it may be secret.
    pub(super) what: &'static str,
    /// What to do.
    pub(super) hint: Option<String>,
}

impl Bad {
    fn new(what: &'static str, hint: impl Into<String>) -> Self {
        Self { what, hint: Some(hint.into()) }
    }
}

/// The longest duration: what is longer is a slip, and would overflow clocks.
const TIME_MAX: Duration = Duration::from_hours(30 * 24);

/// What a duration looks like.
pub(super) const TIME_HINT: &str = r#"a whole number and a unit: "250ms", "30s", "5m", "1h""#;

/// A duration: a whole number and `ms`, `s`, `m` or `h`.
pub(super) fn time(text: &str) -> Result<Duration, Bad> {
    let digits = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let (number, unit) = text.split_at(text.len() - digits.len());
    if number.is_empty() {
        return Err(Bad::new("not a duration", TIME_HINT));
    }
    let unit_millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "" => {
            return Err(Bad::new("a duration needs a unit", format!(r#"write "{number}s""#)));
        }
        _ => return Err(Bad::new("not a duration", TIME_HINT)),
    };
    let millis = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_millis));
    match millis.map(Duration::from_millis) {
        Some(time) if time <= TIME_MAX => Ok(time),
        _ => Err(Bad::new("the duration is too long", "30 days (720h) at most")),
    }
}

/// A duration above zero.
pub(super) fn positive_time(text: &str) -> Result<Duration, Bad> {
    match time(text)? {
        Duration::ZERO => Err(Bad::new("the duration must be above zero", TIME_HINT)),
        time => Ok(time),
    }
}

/// An `http` or `https` URL with a host. The message never holds the URL: it may hold a key.
pub(super) fn http_url(text: &str) -> Result<Uri, Bad> {
    const HINT: &str = r#"a whole URL, like "http://127.0.0.1:9000/mcp""#;
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    if !matches!(scheme.as_deref(), Some("http" | "https")) {
        return Err(Bad::new("the URL does not begin with http:// or https://", HINT));
    }
    if text.contains('#') {
        return Err(Bad::new("the URL has a fragment (`#`), which is never sent", HINT));
    }
    let Ok(url) = text.parse::<Uri>() else {
        return Err(Bad::new("not a valid URL", HINT));
    };
    let authority = url.authority().map_or("", http::uri::Authority::as_str);
    if authority.contains('@') {
        let hint = r#"send them as a header: headers = { Authorization = "Basic ${…}" }"#;
        return Err(Bad::new("the URL holds credentials, which would not be sent", hint));
    }
    if url.host().unwrap_or_default().is_empty() {
        return Err(Bad::new("the URL has no host", HINT));
    }
    let port = authority.rsplit_once(':').map(|(_, port)| port);
    if port.is_some_and(|port| !port.ends_with(']') && port.parse::<u16>().is_err()) {
        return Err(Bad::new("the port of the URL is not a number up to 65535", HINT));
    }
    Ok(url)
}

/// A host to listen on, without the brackets of an IPv6 address.
pub(super) fn bare_host(host: &str) -> &str {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    inner.unwrap_or(host)
}

/// Whether a text is an address or a host name, without port.
pub(super) fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    bare_host(host).parse::<IpAddr>().is_ok()
        || (host.len() <= 253 && host.trim_end_matches('.').split('.').all(label))
}

/// Whether only this machine can reach what listens on a host.
pub(super) fn is_loopback(host: &str) -> bool {
    if let Ok(address) = host.parse::<IpAddr>() {
        return address.to_canonical().is_loopback();
    }
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// Where the paths of a configuration start.
pub(super) struct Folders<'a> {
    /// Relative ones: the folder of the file.
    pub(super) base: &'a Path,
    /// Those that begin with `~/`.
    pub(super) home: Option<PathBuf>,
}

impl Folders<'_> {
    /// A path of the configuration as the process can use it.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        match path.strip_prefix("~/").zip(self.home.as_deref()) {
            Some((rest, home)) => home.join(rest),
            None => self.base.join(path),
        }
    }
}

/// The path of a key within the table at `table`.
pub(super) fn join(table: &str, key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let quoted = key.is_empty() || !key.chars().all(bare);
    match (table.is_empty(), quoted) {
        (true, false) => key.to_owned(),
        (true, true) => format!("{key:?}"),
        (false, false) => format!("{table}.{key}"),
        (false, true) => format!("{table}.{key:?}"),
    }
}

/// The path of an item of the list at `list`.
pub(super) fn item(list: &str, index: usize) -> String {
    format!("{list}[{index}]")
}

/// The known word that a wrong one was most likely meant to be.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let fold = |word: &str| word.to_lowercase().replace(['-', ' '], "_");
    let word = fold(word);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &fold(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).clamp(1, 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        let good = [("250ms", 250), ("30s", 30_000), ("5m", 300_000), ("1h", 3_600_000), ("0s", 0)];
        for (text, millis) in good {
            assert_eq!(time(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "s",
            "30",
            "-1s",
            "1.5s",
            "1 s",
            " 1s",
            "1m30s",
            "1d",
            "1S",
            "721h",
            "99999999999999999999s",
        ] {
            assert!(time(text).is_err(), "{text}");
        }
        assert_eq!(time("30").unwrap_err().hint.unwrap(), r#"write "30s""#);
        assert!(positive_time("0ms").is_err());
    }

    #[test]
    fn urls_are_http_with_a_host() {
        for text in [
            "http://127.0.0.1:9000/mcp",
            "https://mcp.example.com",
            "HTTPS://example.com/a?b=c",
            "http://[::1]:9000/mcp",
            "http://[::1]/mcp",
        ] {
            assert!(http_url(text).is_ok(), "{text}: {:?}", http_url(text));
        }
        for text in [
            "",
            "mcp.example.com/mcp",
            "localhost:9000",
            "ftp://example.com",
            "http://",
            "http:///mcp",
            "http://exa mple.com/",
            "http://host:99999/",
            "http://host:port/",
            "http://user:pw@host/",
            "http://host/#there",
        ] {
            assert!(http_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn loopback_is_known_in_every_form() {
        for host in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "localhost", "LOCALHOST"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["0.0.0.0", "::", "10.0.0.1", "localhost.example.com", "gateway"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn the_nearest_word_is_near() {
        let known = ["balance", "breaker", "timeout", "timeout_max", "url"];
        assert_eq!(nearest("balanse", known), Some("balance"));
        assert_eq!(nearest("timeoutMax", known), Some("timeout_max"));
        assert_eq!(nearest("TimeOut", known), Some("timeout"));
        assert_eq!(nearest("uri", known), Some("url"));
        assert_eq!(nearest("command", known), None);
    }

    #[test]
    fn paths_quote_what_needs_quotes() {
        assert_eq!(join("", "server"), "server");
        assert_eq!(join("upstreams", "a.b"), "upstreams.\"a.b\"");
        assert_eq!(item("upstreams.a.replicas", 2), "upstreams.a.replicas[2]");
    }
}
