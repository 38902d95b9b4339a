//! Pure: from host names of the configuration to replicas, one for each known address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::base::{ReplicaName, UpstreamName};
use crate::upstream::spec::{HttpSpec, ReplicaKind, ReplicaSpec};

use super::spec::{GatewaySpec, NameSpec, UpstreamSpec};

/// The addresses that are known of each host name, in lower case.
pub type Known = BTreeMap<String, BTreeSet<IpAddr>>;

/// The configuration with a replica for each known address of its names. `spec` is as it was
/// compiled: what was spread before is not to be spread again.
#[must_use]
pub fn spread(spec: &GatewaySpec, known: &Known) -> GatewaySpec {
    let mut spread = spec.clone();
    for upstream in spread.upstreams.iter_mut().filter(|upstream| !upstream.names.is_empty()) {
        upstream.pool.replicas = replicas(upstream, known);
    }
    spread
}

/// The replicas of an upstream, in the order of the file.
fn replicas(upstream: &UpstreamSpec, known: &Known) -> Vec<ReplicaSpec> {
    let fixed = &upstream.pool.replicas;
    let of_names = |place: usize| {
        let here = upstream.names.iter().filter(move |name| name.place == place);
        here.flat_map(|name| of_name(name, known))
    };
    let mut all = Vec::with_capacity(fixed.len());
    for (place, replica) in fixed.iter().enumerate() {
        all.extend(of_names(place));
        all.push(replica.clone());
    }
    all.extend(of_names(fixed.len()));
    all
}

fn of_name(name: &NameSpec, known: &Known) -> Vec<ReplicaSpec> {
    let addresses = known.get(&name.host()).into_iter().flatten();
    addresses.filter_map(|address| at(name, *address)).collect()
}

/// The replica of an entry at one address.
fn at(entry: &NameSpec, address: IpAddr) -> Option<ReplicaSpec> {
    let ReplicaKind::Http(http) = &entry.replica.kind else { return None };
    let kind = ReplicaKind::Http(HttpSpec { address: Some(address), ..http.clone() });
    // The configuration was checked for entries with too long a name.
    let name = ReplicaName::new(&entry.label(address)).ok()?;
    Some(ReplicaSpec { name, kind, ..entry.replica.clone() })
}

/// A host name that has to be looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// How often: as often as the most impatient entry says.
    pub every: Duration,
    /// The upstreams that need it.
    pub upstreams: BTreeSet<UpstreamName>,
}

/// The host names that have to be looked up, in lower case. Upstreams that are switched off need
/// none.
pub fn wanted(spec: &GatewaySpec) -> BTreeMap<String, Wanted> {
    let mut all: BTreeMap<String, Wanted> = BTreeMap::new();
    for upstream in spec.upstreams.iter().filter(|upstream| upstream.off.is_none()) {
        for name in &upstream.names {
            let fresh = || Wanted { every: name.every, upstreams: BTreeSet::new() };
            let wanted = all.entry(name.host()).or_insert_with(fresh);
            wanted.every = wanted.every.min(name.every);
            wanted.upstreams.insert(upstream.name.clone());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::spec::OfferSpec;
    use crate::fleet::spec::PoolSpec;
    use crate::gateway::diff::{What, diff};
    use crate::gateway::spec::ENTRY_BYTES_MAX;
    use crate::upstream::spec::{EraPolicy, Transport};

    fn entry(name: &str, url: &str) -> ReplicaSpec {
        let http = HttpSpec {
            url: url.parse().unwrap(),
            headers: Vec::new(),
            address: None,
            transport: Transport::Auto,
        };
        ReplicaSpec {
            name: ReplicaName::new(name).unwrap(),
            kind: ReplicaKind::Http(http),
            era: EraPolicy::Auto,
            weight: 3,
            tier: 0,
            labels: BTreeMap::new(),
        }
    }

    fn named(place: usize, name: &str, url: &str, secs: u64) -> NameSpec {
        NameSpec { place, every: Duration::from_secs(secs), replica: entry(name, url) }
    }

    fn gateway(fixed: Vec<ReplicaSpec>, names: Vec<NameSpec>) -> GatewaySpec {
        let upstream = UpstreamSpec {
            name: UpstreamName::new("u").unwrap(),
            required: false,
            trust_annotations: false,
            effects: BTreeMap::new(),
            fallbacks: BTreeMap::new(),
            bridge: crate::gateway::spec::Bridge::Park,
            start: crate::gateway::spec::Start::Eager,
            offer: OfferSpec::all("u"),
            pool: PoolSpec::new(fixed),
            names,
            off: None,
        };
        GatewaySpec { upstreams: vec![upstream], ..GatewaySpec::default() }
    }

    fn known(addresses: &[&str]) -> Known {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Known::from([("docs.test".to_owned(), addresses)])
    }

    fn shown(spec: &GatewaySpec) -> Vec<String> {
        spec.upstreams[0].running().iter().map(|r| r.name.to_string()).collect()
    }

    #[test]
    fn each_address_is_a_replica_at_the_place_of_its_entry() {
        let fixed = vec![entry("a", "http://a/"), entry("b", "http://b/")];
        let names = vec![
            named(1, "docs", "http://Docs.Test:8080/mcp", 30),
            named(2, "more", "https://docs.test/mcp", 5),
        ];
        let spec = gateway(fixed, names);
        assert_eq!(shown(&spread(&spec, &Known::new())), ["a", "b"], "nothing is known yet");
        let spread = spread(&spec, &known(&["10.0.0.2", "2001:db8::1"]));
        assert_eq!(
            shown(&spread),
            ["a", "docs-10.0.0.2", "docs-2001_db8__1", "b", "more-10.0.0.2", "more-2001_db8__1"]
        );
        let replica = &spread.upstreams[0].pool.replicas[2];
        let ReplicaKind::Http(http) = &replica.kind else { panic!() };
        assert_eq!(http.url.to_string(), "http://Docs.Test:8080/mcp", "the URL stays");
        assert_eq!(http.address, "2001:db8::1".parse().ok());
        assert_eq!(replica.weight, 3);
        let wanted = wanted(&spec);
        let [(host, wanted)] = &wanted.iter().collect::<Vec<_>>()[..] else { panic!("{wanted:?}") };
        assert_eq!((host.as_str(), wanted.every), ("docs.test", Duration::from_secs(5)));
    }

    #[test]
    fn another_set_of_addresses_is_a_reload_in_which_replicas_come_and_go() {
        let spec = gateway(vec![], vec![named(0, "docs", "http://docs.test/", 30)]);
        let spread = |addresses: &[&str]| spread(&spec, &known(addresses));
        let way = diff(&spread(&["10.0.0.1", "10.0.0.2"]), &spread(&["10.0.0.2", "10.0.0.3"]));
        let step = &way.upstreams[0];
        assert_eq!((step.what, &step.gone[..]), (What::Replace, &[0][..]), "{step:?}");
        let same = diff(&spread(&["10.0.0.1"]), &spread(&["10.0.0.1"]));
        assert!(same.is_empty(), "{same:?}");
    }

    #[test]
    fn no_two_replicas_can_have_one_name_unseen() {
        for (entry, name, is_one) in [
            ("docs", "docs-10.0.0.1", true),
            ("docs", "docs-2001_db8__1", true),
            ("docs", "docs-a", false),
            ("docs", "docs-2001_0db8__1", false),
            ("docs", "docs", false),
            ("doc", "docs-10.0.0.1", false),
        ] {
            let entry = named(0, entry, "http://h/", 1);
            assert_eq!(entry.may_be(name), is_one, "{entry:?} {name}");
        }
        let longest = "2001:1db8:1111:1111:1111:1111:1111:1111".parse().unwrap();
        let name = named(0, &"x".repeat(ENTRY_BYTES_MAX), "http://h/", 1).label(longest);
        assert!(ReplicaName::new(&name).is_ok(), "{name}");
    }
}
