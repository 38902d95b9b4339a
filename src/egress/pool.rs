//! Connections that wait for the next request. The last one given back is the first one taken, so
//! that what a quiet time does not need grows old and is dropped.
//!
//! No task looks after them. Every visit drops what has grown old or was closed by the other side,
//! the longest unused first; between visits there are never more than the bound.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::uri::Authority;
use http::{HeaderValue, Uri};
use parking_lot::Mutex;

use crate::base::clock;

use super::ClientSpec;
use super::connect::Connector;
use super::dial::Dial;
use super::wire::Wire;

/// Most hosts of one client whose connections are kept. A client serves one replica or one tool:
/// more than a few hosts means that something is wrong.
const SITES_MAX: usize = 32;

/// Where a request goes.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) secure: bool,
    pub(super) authority: &'a Authority,
}

/// Which host a connection belongs to: its place in the table, which never changes. `None` if the
/// table was full: the connection is not kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct SiteId(Option<usize>);

/// The connections of one client.
pub(super) struct Pool {
    pub(super) connector: Connector,
    idle_timeout: Duration,
    idle_max: usize,
    sites: Mutex<Vec<Site>>,
}

struct Site {
    secure: bool,
    authority: Authority,
    /// `Host`, written once.
    host: HeaderValue,
    /// The longest unused first.
    idle: VecDeque<Idle>,
}

struct Idle {
    wire: Box<Wire>,
    since: Instant,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("sites", &self.sites.lock().len()).finish_non_exhaustive()
    }
}

impl Pool {
    pub(super) fn new(spec: &ClientSpec, dial: Option<Arc<dyn Dial>>) -> Self {
        Self {
            connector: Connector::new(spec, dial),
            idle_timeout: spec.idle_timeout,
            idle_max: spec.idle_max,
            sites: Mutex::default(),
        }
    }

    /// The place of a host, and what `Host` is to say there. `None` if that cannot be written.
    pub(super) fn site(&self, target: Target<'_>) -> Option<(SiteId, HeaderValue)> {
        let mut sites = self.sites.lock();
        if let Some((at, site)) = sites.iter().enumerate().find(|(_, site)| site.is(target)) {
            return Some((SiteId(Some(at)), site.host.clone()));
        }
        let host = host(target)?;
        if sites.len() >= SITES_MAX {
            return Some((SiteId(None), host));
        }
        sites.push(Site {
            secure: target.secure,
            authority: target.authority.clone(),
            host: host.clone(),
            idle: VecDeque::new(),
        });
        Some((SiteId(Some(sites.len() - 1)), host))
    }

    /// The connection that was given back last, if there is one that is still good.
    pub(super) fn take(&self, at: SiteId) -> Option<Box<Wire>> {
        let now = clock::now();
        // Closing is left for after the lock.
        let mut old = Vec::new();
        let mut sites = self.sites.lock();
        let idle = &mut sites.get_mut(at.0?)?.idle;
        while let Some(last) = idle.pop_back() {
            if !self.is_spent(&last, now) {
                return Some(last.wire);
            }
            old.push(last);
        }
        drop(sites);
        None
    }

    /// Keeps a connection whose exchange is over, and drops those that have waited too long.
    pub(super) fn give(&self, at: SiteId, wire: Box<Wire>) {
        let Some(at) = at.0 else {
            return;
        };
        wire.rest();
        let now = clock::now();
        let mut old = Vec::new();
        let mut sites = self.sites.lock();
        for site in sites.iter_mut() {
            while site.idle.front().is_some_and(|first| self.is_spent(first, now)) {
                old.extend(site.idle.pop_front());
            }
        }
        if let Some(site) = sites.get_mut(at) {
            site.idle.push_back(Idle { wire, since: now });
            if site.idle.len() > self.idle_max {
                old.extend(site.idle.pop_front());
            }
        }
        drop(sites);
    }

    /// Drops all that waits.
    pub(super) fn forget(&self) {
        let mut sites = self.sites.lock();
        let old: Vec<Idle> = sites.iter_mut().flat_map(|site| site.idle.drain(..)).collect();
        drop(sites);
        drop(old);
    }

    /// Whether an unused connection is of no use any more.
    fn is_spent(&self, idle: &Idle, now: Instant) -> bool {
        now.saturating_duration_since(idle.since) >= self.idle_timeout || idle.wire.has_stirred()
    }

    /// How many unused connections are kept, of all hosts.
    #[cfg(test)]
    pub(super) fn idle_len(&self) -> usize {
        self.sites.lock().iter().map(|site| site.idle.len()).sum()
    }

    /// How many of them the other side has disturbed. `overlook`: as if it had not, because the
    /// news came between two looks.
    #[cfg(test)]
    pub(super) fn stirred_len(&self, overlook: bool) -> usize {
        let sites = self.sites.lock();
        let stirred = sites.iter().flat_map(|site| &site.idle).filter(|i| i.wire.has_stirred());
        stirred
            .inspect(|idle| {
                if overlook {
                    idle.wire.rest();
                }
            })
            .count()
    }
}

impl Site {
    fn is(&self, target: Target<'_>) -> bool {
        self.secure == target.secure && self.authority == *target.authority
    }
}

/// The value of `Host`: no user part, and the port only if it is not the scheme's own.
fn host(target: Target<'_>) -> Option<HeaderValue> {
    let name = target.authority.host();
    match target.authority.port_u16() {
        Some(port) if port != target.port() => HeaderValue::try_from(format!("{name}:{port}")).ok(),
        _ => HeaderValue::from_str(name).ok(),
    }
}

impl<'a> Target<'a> {
    /// Where an absolute `http` or `https` address leads.
    pub(super) fn of(uri: &'a Uri) -> Option<Self> {
        let secure = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        Some(Self { secure, authority: uri.authority()? })
    }

    /// The port of the scheme.
    fn port(self) -> u16 {
        if self.secure { 443 } else { 80 }
    }
}

impl fmt::Display for Target<'_> {
    /// Host and port as people write them: never the user part of an address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.authority.port_u16().unwrap_or(self.port());
        write!(f, "{}:{port}", self.authority.host())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_says_what_the_address_says() {
        for (address, says) in [
            ("http://a.example/x", "a.example"),
            ("http://a.example:80/", "a.example"),
            ("https://a.example:443/", "a.example"),
            ("https://a.example:80/", "a.example:80"),
            ("http://user:key@a.example:8080/", "a.example:8080"),
            ("http://[::1]:8080/", "[::1]:8080"),
        ] {
            let uri: Uri = address.parse().unwrap();
            assert_eq!(host(Target::of(&uri).unwrap()).unwrap(), says, "{address}");
        }
    }

    #[test]
    fn hosts_are_told_apart_and_the_table_is_bounded() {
        let pool = Pool::new(&ClientSpec::default(), None);
        let place = |address: &str| {
            let uri: Uri = address.parse().unwrap();
            pool.site(Target::of(&uri).unwrap()).unwrap().0.0
        };
        assert_eq!(place("http://a.example/1"), Some(0));
        assert_eq!(place("https://a.example/"), Some(1));
        assert_eq!(place("http://a.example:8080/"), Some(2));
        assert_eq!(place("http://A.example/2"), Some(0), "names have no case");
        for n in 3..SITES_MAX {
            assert_eq!(place(&format!("http://h{n}.example/")), Some(n));
        }
        assert_eq!(place("http://one-more.example/"), None, "used, but not kept");
    }
}
