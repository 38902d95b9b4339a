//! A replica with what the fleet knows of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::breaker::{Gate, Moment, Pass, Why};
use super::outcome::{Outcome, Signal};
use super::pace::Pace;
use super::pick::Candidate;
use super::spec::BreakerSpec;
use super::vital::{End, Seen, Vital};
use crate::base::{hash, rng};
use crate::upstream::Replica;
use crate::upstream::spec::ReplicaSpec;

pub use super::vital::{Change, Level};

/// A replica with what the fleet knows of it.
#[derive(Debug)]
pub struct Member {
    /// The replica.
    pub replica: Arc<Replica>,
    /// What it carries, how it does, whether its gate is open. It stays when the rules over the
    /// replica change.
    pub vital: Arc<Vital>,
    labels: BTreeMap<String, String>,
    /// The hash of its name, for consistent hashing.
    pub name_hash: u64,
}

impl Member {
    /// A replica of which nothing is known: it is taken to be as fast as `slowness`, the middle of
    /// its group.
    pub fn new(replica: Arc<Replica>, slowness: f32, now: Instant) -> Self {
        let share = share(&replica.spec);
        let (vital, labels) =
            (Arc::new(Vital::new(share, slowness, now)), replica.spec.labels.clone());
        Self::of(replica, vital, labels)
    }

    /// The same replica with all that is known of it, under these rules.
    pub fn under(self: &Arc<Self>, spec: &ReplicaSpec) -> Arc<Self> {
        self.vital.share(share(spec));
        if self.labels == spec.labels {
            return Arc::clone(self);
        }
        let (replica, vital) = (Arc::clone(&self.replica), Arc::clone(&self.vital));
        Arc::new(Self::of(replica, vital, spec.labels.clone()))
    }

    fn of(replica: Arc<Replica>, vital: Arc<Vital>, labels: BTreeMap<String, String>) -> Self {
        let name_hash = hash::stable(replica.spec.name.as_str().as_bytes());
        Self { replica, vital, labels, name_hash }
    }

    /// Whether it is below its bound of calls in flight.
    pub fn has_room(&self) -> bool {
        self.replica.permits.available_permits() > 0
    }

    /// What a balancer may know of it; `None` if it may not take a call that wants this level.
    pub fn candidate(&self, level: Level, now: Instant) -> Option<Candidate> {
        self.vital.candidate(level, self.seen(), now)
    }

    /// Whether it may take a call that wants this level.
    pub fn fits(&self, level: Level, now: Instant) -> bool {
        self.vital.fits(level, self.seen(), now)
    }

    fn seen(&self) -> Seen {
        let (up, phase) = self.replica.up_and_phase();
        Seen { up, phase, suspect: self.replica.is_suspect() }
    }

    /// What a balancer sees of it, whether it may take calls or not.
    pub fn numbers(&self, now: Instant) -> Candidate {
        self.vital.numbers(now)
    }

    /// How often its gate shut, less what was forgiven.
    pub fn trips(&self) -> u32 {
        self.vital.trips()
    }

    /// A label of the operator's own.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }

    /// It has the share that another one has by now, which may be another than that of its own spec.
    pub(super) fn shares_with(&self, other: &Self) {
        self.vital.share((other.weight(), other.vital.tier()));
    }

    /// Its share by the operator's word; 0 takes no new calls.
    pub fn weight(&self) -> u16 {
        self.vital.weight()
    }

    /// Whether it would take any call now.
    pub fn is_well(&self, now: Instant) -> bool {
        self.fits(Level::Well, now)
    }

    /// Whether it would take any call now, or as soon as it is awake.
    pub fn is_ready(&self, now: Instant) -> bool {
        let (levels, seen) = ([Level::Well, Level::Waking, Level::Asleep], self.seen());
        levels.into_iter().any(|level| self.vital.fits(level, seen, now))
    }

    /// Whether its gate was open when it was last looked at.
    pub fn is_open(&self) -> bool {
        self.vital.is_open()
    }

    /// Whether the server asked for a rest that is not over.
    pub fn rests(&self, now: Instant) -> bool {
        self.vital.rests(now)
    }

    /// How much of its share it gets, 0.1 to 1.
    pub fn warmth(&self, now: Instant) -> f32 {
        self.vital.warmth(now)
    }

    /// What its gate answers now ([`Vital::look`]). `warm` = it has siblings that are warm, so that
    /// it may take its share slowly.
    pub fn look(&self, now: Instant, warm: bool) -> (Gate, Change) {
        let looks = (self.replica.good_looks(), self.replica.health().rise);
        let (gate, change) = self.vital.look(self.replica.lives(), looks, now, warm);
        self.show(gate);
        (gate, change)
    }

    /// Whether [`Member::look`] has anything to do: most often not.
    pub fn is_settled(&self) -> bool {
        self.vital.is_settled(self.replica.lives())
    }

    /// The pass of a call that begins now.
    pub fn pass(&self) -> Pass {
        self.vital.pass()
    }

    /// The pass of the one call that may try a probing gate.
    pub fn lease(&self, now: Instant) -> Option<Pass> {
        self.vital.lease(now)
    }

    /// A call ended. `took` counts from its start, `pace` is that of its tool.
    pub fn record(
        &self,
        spec: &BreakerSpec,
        outcome: &Outcome,
        call: (Pass, Duration),
        pace: &Pace,
        (now, may_shut, warm): (Instant, bool, bool),
    ) -> Change {
        if outcome.signal == Signal::Good {
            self.replica.succeeded();
        }
        let draw = if outcome.failed() { rng::draw() } else { 0 };
        let end = End { now, draw, may_shut, warm };
        let (gate, turn) = self.vital.record(spec, outcome, call, pace, end)?;
        self.show(gate);
        Some(turn)
    }

    /// It hangs: its gate shuts at once.
    pub fn trip(&self, spec: &BreakerSpec, why: Why, now: Instant, may_shut: bool) -> Change {
        let moment = Moment { now, draw: rng::draw(), may_shut, p99: None };
        let (gate, change) = self.vital.trip(spec, why, moment);
        self.show(gate);
        change
    }

    fn show(&self, gate: Gate) {
        self.replica.meters.gate.set(f64::from(gate.number()));
    }
}

/// The share of a replica by the operator's word: its weight and its tier.
fn share(spec: &ReplicaSpec) -> (u16, u32) {
    (u16::try_from(spec.weight).unwrap_or(u16::MAX), spec.tier)
}
