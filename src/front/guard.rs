//! Pure: whom the HTTP front lets in. A browser that was tricked into sending requests to this
//! machine shows itself by its `Host` or `Origin` (2025-11-25 and 2026-07-28, transports, "Security
//! Warning").

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, Uri};

/// The hosts and origins that are let in.
#[derive(Clone, Debug)]
pub struct Guard {
    hosts: Vec<String>,
    origins: Vec<String>,
    port: u16,
}

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// Its `Host` is not one of ours.
    Host,
    /// Its `Origin` is not one of ours.
    Origin,
}

impl Guard {
    /// Lets in the loopback names, the bound host, and what the operator allowed. `port` is the
    /// bound one.
    pub fn new(
        bound_host: &str,
        allowed_hosts: &[String],
        allowed_origins: &[String],
        port: u16,
    ) -> Self {
        let own = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned);
        let bracketed = if bound_host.contains(':') {
            format!("[{bound_host}]")
        } else {
            bound_host.to_owned()
        };
        let lower = |text: &String| text.to_ascii_lowercase();
        let hosts = own.into_iter().chain([bracketed.to_ascii_lowercase()]);
        Self {
            hosts: hosts.chain(allowed_hosts.iter().map(lower)).collect(),
            origins: allowed_origins
                .iter()
                .map(|o| lower(o).trim_end_matches('/').to_owned())
                .collect(),
            port,
        }
    }

    /// Judges a request. The authority of an absolute-form target counts as a `Host` too.
    pub fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Stranger> {
        let mut hosts = headers.get_all(HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().map_err(|_odd| Stranger::Host)?,
            _ => return Err(Stranger::Host),
        };
        if !self.knows(host) || uri.authority().is_some_and(|a| !self.knows(a.as_str())) {
            return Err(Stranger::Host);
        }
        let mut origins = headers.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => Ok(()),
            (Some(origin), None) if origin.to_str().is_ok_and(|o| self.is_own(o)) => Ok(()),
            _ => Err(Stranger::Origin),
        }
    }

    /// Whether an authority names one of our hosts, whatever its port: behind a port mapping the
    /// client's port is not ours.
    fn knows(&self, authority: &str) -> bool {
        match split(authority) {
            Some((host, _)) => self.is_host(host),
            None => false,
        }
    }

    fn is_host(&self, host: &str) -> bool {
        self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host))
    }

    fn is_own(&self, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        if self.origins.contains(&origin) {
            return true;
        }
        let (authority, usual) = match origin.split_once("://") {
            Some(("http", rest)) => (rest, 80),
            Some(("https", rest)) => (rest, 443),
            _ => return false,
        };
        split(authority)
            .is_some_and(|(host, port)| self.is_host(host) && port.unwrap_or(usual) == self.port)
    }
}

/// Host and port of an authority; `None` for anything odd, such as user information or a trailing
/// dot. The host keeps its brackets.
fn split(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = if authority.starts_with('[') {
        authority.split_at_checked(authority.find(']')? + 1)?
    } else {
        authority.split_at_checked(authority.find(':').unwrap_or(authority.len()))?
    };
    match port.strip_prefix(':') {
        None if port.is_empty() => Some((host, None)),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().map(|port| (host, Some(port)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(uri: &str, headers: &[(&str, &str)]) -> Result<(), Stranger> {
        let guard =
            Guard::new("127.0.0.1", &["gw.example".into()], &["https://app.example".into()], 8000);
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.parse().unwrap(),
            );
        }
        guard.check(&uri.parse().unwrap(), &map)
    }

    #[test]
    fn only_our_hosts_are_let_in() {
        for host in [
            "localhost",
            "localhost:8000",
            "127.0.0.1:1",
            "[::1]:8000",
            "LOCALHOST:8000",
            "gw.example",
        ] {
            assert_eq!(judge("/mcp", &[("host", host)]), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "localhost.",
            "user@localhost",
            "localhost:8000:1",
            "[::1",
            "127.0.0.1.nip.io",
            "localhost:x",
            "",
        ] {
            assert_eq!(judge("/mcp", &[("host", host)]), Err(Stranger::Host), "{host}");
        }
        assert_eq!(judge("/mcp", &[]), Err(Stranger::Host));
        assert_eq!(
            judge("/mcp", &[("host", "localhost"), ("host", "localhost")]),
            Err(Stranger::Host)
        );
        assert_eq!(judge("http://evil.example/mcp", &[("host", "localhost")]), Err(Stranger::Host));
    }

    #[test]
    fn an_origin_must_be_ours() {
        for origin in [
            "http://localhost:8000",
            "http://127.0.0.1:8000",
            "https://app.example",
            "http://[::1]:8000",
        ] {
            assert_eq!(
                judge("/mcp", &[("host", "localhost"), ("origin", origin)]),
                Ok(()),
                "{origin}"
            );
        }
        for origin in [
            "null",
            "http://evil.example",
            "http://localhost:9999",
            "https://app.example.evil",
            "http://localhost",
            "file://",
            "",
        ] {
            assert_eq!(
                judge("/mcp", &[("host", "localhost"), ("origin", origin)]),
                Err(Stranger::Origin),
                "{origin}"
            );
        }
    }
}
