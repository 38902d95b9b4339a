//! Pure: what becomes of each upstream and each replica when one configuration follows another.
//! Whatever a replica is made from must be the same for it to stay; all else is a rule that is read
//! when a call needs it.

use std::fmt;

use crate::base::UpstreamName;
use crate::upstream::spec::ReplicaSpec;

use super::spec::{GatewaySpec, UpstreamSpec};

/// The way from one configuration to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// The upstreams of the new one, in their order.
    pub upstreams: Vec<Step>,
    /// Upstreams that are gone.
    pub removed: Vec<UpstreamName>,
    /// Something else of the new one differs: names, built-in tools, the cache, the name server, or
    /// the order.
    pub others: bool,
}

/// What becomes of one upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The upstream.
    pub name: UpstreamName,
    /// All of it, in a word.
    pub what: What,
    /// Its replicas, in their new order.
    pub replicas: Vec<Seat>,
    /// The places, in the old order, of replicas that are gone.
    pub gone: Vec<usize>,
}

/// What becomes of one upstream, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Nothing.
    Keep,
    /// Other rules over the same replicas.
    Tune,
    /// Replicas come or go.
    Replace,
    /// There was none of this name.
    Add,
}

/// Where a replica of the new configuration comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seat {
    /// It stays: the place it had.
    Kept(usize),
    /// It has to be started.
    New,
}

/// The way from `old` to `new`. An upstream is the same if its name is; a replica, if its name is
/// too, and what it is made from.
pub fn diff(old: &GatewaySpec, new: &GatewaySpec) -> Diff {
    let before = |name: &UpstreamName| old.upstreams.iter().find(|u| u.name == *name);
    let step = |after: &UpstreamSpec| step(before(&after.name), after);
    let upstreams: Vec<Step> = new.upstreams.iter().map(step).collect();
    let stays = |u: &&UpstreamSpec| new.upstreams.iter().any(|after| after.name == u.name);
    let gone = old.upstreams.iter().filter(|u| !stays(u));
    let removed: Vec<UpstreamName> = gone.map(|u| u.name.clone()).collect();
    let kept = old.upstreams.iter().filter(stays).map(|u| &u.name);
    let same = upstreams.iter().filter(|s| s.what != What::Add).map(|s| &s.name);
    let others = old.naming != new.naming
        || old.builtins != new.builtins
        || old.cache != new.cache
        || old.keep != new.keep
        || old.dns != new.dns
        || !kept.eq(same);
    Diff { upstreams, removed, others }
}

fn step(old: Option<&UpstreamSpec>, new: &UpstreamSpec) -> Step {
    let before = old.map(UpstreamSpec::running).unwrap_or_default();
    let place = |replica: &ReplicaSpec| before.iter().position(|b| is_same(b, replica));
    let seat = |replica| place(replica).map_or(Seat::New, Seat::Kept);
    let replicas: Vec<Seat> = new.running().iter().map(seat).collect();
    let goes = |place: &usize| !replicas.contains(&Seat::Kept(*place));
    let gone: Vec<usize> = (0..before.len()).filter(goes).collect();
    let what = match old {
        None => What::Add,
        Some(old) if old == new => What::Keep,
        Some(_) if gone.is_empty() && !replicas.contains(&Seat::New) => What::Tune,
        Some(_) => What::Replace,
    };
    Step { name: new.name.clone(), what, replicas, gone }
}

/// Whether a replica may stay as it runs: weight, tier and labels are rules over it.
fn is_same(old: &ReplicaSpec, new: &ReplicaSpec) -> bool {
    old.name == new.name && old.kind == new.kind && old.era == new.era
}

impl Diff {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        !self.others
            && self.removed.is_empty()
            && self.upstreams.iter().all(|step| step.what == What::Keep)
    }
}

/// One line for the log.
impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.upstreams.iter().filter(|step| step.what == What::Keep).count();
        write!(f, "{kept} upstreams as before")?;
        for (what, word) in
            [(What::Add, "added"), (What::Replace, "changed"), (What::Tune, "tuned")]
        {
            let names = self.upstreams.iter().filter(|s| s.what == what).map(|s| s.name.as_str());
            say(f, word, &names.collect::<Vec<_>>())?;
        }
        say(f, "removed", &self.removed.iter().map(UpstreamName::as_str).collect::<Vec<_>>())
    }
}

fn say(f: &mut fmt::Formatter<'_>, word: &str, names: &[&str]) -> fmt::Result {
    if names.is_empty() { Ok(()) } else { write!(f, "; {word}: {}", names.join(", ")) }
}

#[cfg(test)]
mod tests;
