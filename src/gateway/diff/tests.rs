//! Only what differs is touched, whatever two configurations say.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::base::{ReplicaName, Secret};
use crate::catalog::spec::OfferSpec;
use crate::fleet::spec::PoolSpec;
use crate::upstream::spec::{EraPolicy, LaunchSpec, Program, ReplicaKind, START_TIMEOUT};

fn replica(name: &str, argument: &str, weight: u32) -> ReplicaSpec {
    let kind = ReplicaKind::Child(LaunchSpec {
        program: Program::Waypost,
        args: vec![Secret::new(argument)],
        env: BTreeMap::new(),
        cwd: None,
        start_timeout: START_TIMEOUT,
    });
    let name = ReplicaName::new(name).unwrap();
    ReplicaSpec { name, kind, era: EraPolicy::Auto, weight, tier: 0, labels: BTreeMap::new() }
}

fn upstream(name: &str, replicas: Vec<ReplicaSpec>) -> UpstreamSpec {
    UpstreamSpec {
        name: UpstreamName::new(name).unwrap(),
        required: false,
        trust_annotations: false,
        effects: BTreeMap::new(),
        fallbacks: BTreeMap::new(),
        offer: OfferSpec::all(name),
        bridge: crate::gateway::spec::Bridge::Park,
        start: crate::gateway::spec::Start::Eager,
        pool: PoolSpec::new(replicas),
        names: Vec::new(),
        off: None,
    }
}

fn gateway(upstreams: Vec<UpstreamSpec>) -> GatewaySpec {
    GatewaySpec { upstreams, ..GatewaySpec::default() }
}

fn whats(diff: &Diff) -> Vec<What> {
    diff.upstreams.iter().map(|step| step.what).collect()
}

#[test]
fn only_what_differs_is_touched() {
    let two = || vec![replica("a", "x", 1), replica("b", "x", 1)];
    let old = gateway(vec![upstream("same", two()), upstream("u", two()), upstream("gone", two())]);
    let mut tuned = upstream("u", two());
    tuned.required = true;
    tuned.pool.replicas[0].weight = 7;
    let new = gateway(vec![upstream("same", two()), tuned, upstream("new", two())]);
    let way = diff(&old, &new);
    assert_eq!(whats(&way), [What::Keep, What::Tune, What::Add]);
    assert_eq!(way.upstreams[1].replicas, [Seat::Kept(0), Seat::Kept(1)]);
    assert_eq!(way.removed, [UpstreamName::new("gone").unwrap()]);
    let line = way.to_string();
    assert_eq!(line, "1 upstreams as before; added: new; tuned: u; removed: gone");
}

#[test]
fn siblings_of_a_replica_that_changes_stay() {
    let old = gateway(vec![upstream("u", vec![replica("a", "x", 1), replica("b", "x", 1)])]);
    let new = gateway(vec![upstream("u", vec![replica("b", "x", 1), replica("a", "y", 1)])]);
    let step = &diff(&old, &new).upstreams[0];
    assert_eq!((step.what, &step.replicas[..]), (What::Replace, &[Seat::Kept(1), Seat::New][..]));
    assert_eq!(step.gone, [0]);
    let mut era = old.clone();
    era.upstreams[0].pool.replicas[1].era = EraPolicy::Legacy;
    assert_eq!(diff(&old, &era).upstreams[0].gone, [1]);
    let renamed = gateway(vec![upstream("u", vec![replica("c", "x", 1), replica("b", "x", 1)])]);
    let step = &diff(&old, &renamed).upstreams[0];
    assert_eq!((&step.replicas[..], &step.gone[..]), (&[Seat::New, Seat::Kept(1)][..], &[0][..]));
}

#[test]
fn an_upstream_that_is_switched_off_has_no_replicas() {
    let on = gateway(vec![upstream("u", vec![replica("a", "x", 1)])]);
    let mut off = on.clone();
    off.upstreams[0].off = Some("a variable is not set".to_owned());
    let (down, up) = (diff(&on, &off), diff(&off, &on));
    assert_eq!((&down.upstreams[0].replicas[..], &down.upstreams[0].gone[..]), (&[][..], &[0][..]));
    assert_eq!(
        (&up.upstreams[0].replicas[..], whats(&up)),
        (&[Seat::New][..], vec![What::Replace])
    );
}

#[test]
fn the_order_and_the_rest_count_too() {
    let of = |names: [&str; 2]| gateway(names.map(|name| upstream(name, Vec::new())).to_vec());
    let turned = diff(&of(["a", "b"]), &of(["b", "a"]));
    assert!(turned.others && !turned.is_empty() && whats(&turned) == [What::Keep, What::Keep]);
    let mut named = of(["a", "b"]);
    named.naming.name_max = 20;
    assert!(!diff(&of(["a", "b"]), &named).is_empty());
    let fewer = diff(&of(["a", "b"]), &gateway(vec![upstream("b", Vec::new())]));
    assert!(!fewer.others && !fewer.is_empty());
}

fn any_replicas() -> impl Strategy<Value = Vec<ReplicaSpec>> {
    let one = ("[a-d]", "[xy]", 0_u32..3);
    prop::collection::vec(one, 0..4).prop_map(|replicas| {
        let mut named = BTreeMap::new();
        for (name, argument, weight) in replicas {
            named.entry(name.clone()).or_insert_with(|| replica(&name, &argument, weight));
        }
        named.into_values().collect()
    })
}

fn any_gateway() -> impl Strategy<Value = GatewaySpec> {
    let one = ("[m-q]", any_replicas(), any::<bool>(), any::<bool>());
    prop::collection::vec(one, 0..5).prop_map(|upstreams| {
        let mut named: Vec<UpstreamSpec> = Vec::new();
        for (name, mut replicas, turn, off) in upstreams {
            if turn {
                replicas.reverse();
            }
            if named.iter().all(|known| known.name.as_str() != name) {
                let off = off.then(|| "off".to_owned());
                named.push(UpstreamSpec { off, ..upstream(&name, replicas) });
            }
        }
        gateway(named)
    })
}

proptest! {
    #[test]
    fn from_itself_to_itself_there_is_no_way(a in any_gateway()) {
        prop_assert!(diff(&a, &a).is_empty());
    }

    /// Whoever goes the way from `a` has the replicas of `b`, and leaves all that `b` has not.
    #[test]
    fn the_way_leads_from_one_to_the_other(a in any_gateway(), b in any_gateway()) {
        let way = diff(&a, &b);
        prop_assert_eq!(way.is_empty(), a == b);
        prop_assert_eq!(way.upstreams.len(), b.upstreams.len());
        for (step, after) in way.upstreams.iter().zip(&b.upstreams) {
            prop_assert_eq!(&step.name, &after.name);
            let before = a.upstreams.iter().find(|u| u.name == after.name);
            let old = before.map(UpstreamSpec::running).unwrap_or_default();
            prop_assert_eq!(step.what == What::Keep, before == Some(after));
            prop_assert_eq!(step.what == What::Add, before.is_none());
            prop_assert_eq!(step.replicas.len(), after.running().len());
            let mut used = step.gone.clone();
            for (seat, replica) in step.replicas.iter().zip(after.running()) {
                match seat {
                    Seat::Kept(place) => {
                        prop_assert!(is_same(&old[*place], replica));
                        used.push(*place);
                    }
                    Seat::New => prop_assert!(!old.iter().any(|old| is_same(old, replica))),
                }
            }
            used.sort_unstable();
            prop_assert_eq!(used, (0..old.len()).collect::<Vec<_>>(), "each stays or goes, once");
        }
        for upstream in &a.upstreams {
            let is_left = b.upstreams.iter().any(|after| after.name == upstream.name);
            prop_assert_eq!(way.removed.contains(&upstream.name), !is_left);
        }
    }
}
