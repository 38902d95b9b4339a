//! Which addresses a host name has now, of both kinds, as the name server says at this moment.
//! (Connections to a URL ask the system themselves; this is for who wants all addresses.)
//!
//! Nothing is kept between two lookups: the system's configuration and its table of hosts are read
//! anew, so a machine that moves to another network is followed, and an answer is never older than
//! the question.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::read_system_conf;

/// Longest wait for all that is known of a name.
pub const LOOKUP_MAX: Duration = Duration::from_secs(5);
/// Longest wait for one answer of one name server.
const TRY_MAX: Duration = Duration::from_millis(1500);
/// How often a name server that does not answer is asked again.
const TRIES_MORE: usize = 2;

/// Asks for the addresses of names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resolver {
    /// The name server to ask; `None` = those of the system, and its table of hosts.
    pub server: Option<SocketAddr>,
}

/// The addresses of one kind, none if there surely are none; or why nobody knows.
pub type Half = Result<Vec<IpAddr>, String>;

/// What a lookup found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// IPv4 (A).
    pub v4: Half,
    /// IPv6 (AAAA).
    pub v6: Half,
}

impl Looked {
    fn failed(why: impl Into<String>) -> Self {
        let why = why.into();
        Self { v4: Err(why.clone()), v6: Err(why) }
    }

    /// Whether there surely is nothing under this name.
    fn is_nothing(&self) -> bool {
        [&self.v4, &self.v6].iter().all(|half| half.as_ref().is_ok_and(Vec::is_empty))
    }
}

impl Resolver {
    /// Looks a host name up, within [`LOOKUP_MAX`].
    pub async fn lookup(self, host: &str) -> Looked {
        match tokio::time::timeout(LOOKUP_MAX, self.look(host)).await {
            Ok(looked) => looked,
            Err(_) => Looked::failed(format!("no answer within {} s", LOOKUP_MAX.as_secs())),
        }
    }

    async fn look(self, host: &str) -> Looked {
        // Reads files: off the runtime's workers.
        let begun = tokio::task::spawn_blocking(move || self.begin()).await;
        let (resolver, search) = match begun {
            Ok(Ok(begun)) => begun,
            Ok(Err(error)) => return Looked::failed(brief(&error)),
            Err(_) => return Looked::failed("the lookup could not begin"),
        };
        let names = match search.names(host) {
            Ok(names) => names,
            Err(why) => return Looked::failed(why),
        };
        let mut looked = Looked { v4: Ok(Vec::new()), v6: Ok(Vec::new()) };
        for name in names {
            let v4 = resolver.lookup(name.clone(), RecordType::A);
            let v6 = resolver.lookup(name.clone(), RecordType::AAAA);
            let (v4, v6) = tokio::join!(v4, v6);
            let half = |found: Result<hickory_resolver::lookup::Lookup, NetError>| match found {
                Ok(found) => {
                    Ok(found.answers().iter().filter_map(|record| record.data.ip_addr()).collect())
                }
                // There is no such name, or it has nothing of this kind: that is known.
                Err(NetError::Dns(DnsError::NoRecordsFound(_))) => Ok(Vec::new()),
                Err(error) => Err(brief(&error)),
            };
            looked = Looked { v4: half(v4), v6: half(v6) };
            // The next name is another host: it stands in only if this one surely is not there.
            if !looked.is_nothing() {
                return looked;
            }
        }
        looked
    }

    fn begin(self) -> Result<(TokioResolver, Search), NetError> {
        let (config, mut options) = match self.server {
            None => read_system_conf()?,
            Some(server) => (only(server), ResolverOpts::default()),
        };
        options.cache_size = 0;
        options.timeout = TRY_MAX;
        options.attempts = TRIES_MORE;
        let search = Search {
            domains: config.search.clone(),
            dots: options.ndots,
            own: config.domain.clone(),
        };
        let provider = TokioRuntimeProvider::default();
        let builder = TokioResolver::builder_with_config(config, provider);
        Ok((builder.with_options(options).build()?, search))
    }
}

/// One name server and nothing else.
fn only(server: SocketAddr) -> ResolverConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = server.port();
        connection
    });
    let mut config = ResolverConfig::default();
    config.name_servers = vec![NameServerConfig::new(server.ip(), true, connections.into())];
    config
}

/// The domains that short names are looked for in, as resolv.conf(5) has them.
struct Search {
    domains: Vec<Name>,
    /// The domain of this machine.
    own: Option<Name>,
    /// A name with so many dots is tried as it is first.
    dots: usize,
}

impl Search {
    /// The whole names that a name of the configuration may mean, likeliest first.
    fn names(&self, host: &str) -> Result<Vec<Name>, String> {
        let name = Name::from_utf8(host).map_err(|_odd| "it is not a host name".to_owned())?;
        let mut whole = name.clone();
        whole.set_fqdn(true);
        if name.is_fqdn() {
            return Ok(vec![whole]);
        }
        let within = self.domains.iter().chain(&self.own);
        let mut names: Vec<Name> =
            within.filter_map(|domain| name.clone().append_domain(domain).ok()).collect();
        let first = host.matches('.').count() >= self.dots || name.is_localhost();
        names.insert(if first { 0 } else { names.len() }, whole);
        names.dedup();
        Ok(names)
    }
}

/// An error of the library in few words.
fn brief(error: &NetError) -> String {
    /// Longest text taken over, in characters.
    const CHARS_MAX: usize = 200;
    match error {
        NetError::Timeout => "the name server does not answer".to_owned(),
        NetError::Dns(DnsError::ResponseCode(code)) => format!("the name server answers: {code}"),
        other => other.to_string().chars().filter(|c| !c.is_control()).take(CHARS_MAX).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(host: &str, domains: &[&str], dots: usize) -> Vec<String> {
        let domains = domains.iter().map(|domain| Name::from_utf8(domain).unwrap()).collect();
        let search = Search { domains, own: None, dots };
        search.names(host).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn short_names_are_looked_for_in_the_domains_of_the_system() {
        let cluster = ["default.svc.cluster.local.", "svc.cluster.local."];
        assert_eq!(
            names("docs", &cluster, 5),
            ["docs.default.svc.cluster.local.", "docs.svc.cluster.local.", "docs."]
        );
        assert_eq!(names("docs.internal", &["lan."], 1), ["docs.internal.", "docs.internal.lan."]);
        assert_eq!(names("docs.internal.", &["lan."], 5), ["docs.internal."], "it is whole");
        assert_eq!(names("docs.internal", &[], 1), ["docs.internal."]);
        assert!(Search { domains: Vec::new(), own: None, dots: 1 }.names("a..b").is_err());
    }

    #[tokio::test]
    async fn a_name_server_that_is_not_there_is_a_failure_and_not_an_answer() {
        // Nothing listens at a port that was free a moment ago.
        let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().ok();
        let looked = Resolver { server }.lookup("docs.test").await;
        assert!(looked.v4.is_err() && looked.v6.is_err(), "{looked:?}");
    }
}
