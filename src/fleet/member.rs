//! A replica with what the fleet knows of it: what it carries, how it does, whether its gate is
//! open. What calls read while they choose is read without a lock.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::breaker::{Breaker, Gate, Moment, Pass, Turn, Why};
use super::load::Load;
use super::outcome::{Outcome, Sample, Signal};
use super::pace::Pace;
use super::pick::Candidate;
use super::spec::BreakerSpec;
use crate::base::{hash, rng};
use crate::upstream::Replica;
use crate::upstream::spec::ReplicaSpec;

/// A replica that comes back gets its full share after this time.
pub const WARM_UP: Duration = Duration::from_secs(30);
/// What it gets at first, and what one gets that should be shut and cannot be spared.
pub const WARM_MIN: f32 = 0.1;

/// The gate is open, as [`Member::gate`] keeps it.
const OPEN: u8 = 0;

/// How well a replica must be to take a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Its gate is open, it answers when asked, and it did not ask for a rest.
    Well,
    /// Its gate is open.
    Doubtful,
    /// It is up.
    AnyUp,
}

/// A replica with what the fleet knows of it, and the operator's rules over it.
#[derive(Debug)]
pub struct Member {
    /// The replica.
    pub replica: Arc<Replica>,
    vitals: Arc<Vitals>,
    /// Its share by the operator's word; 0 takes no new calls.
    weight: u16,
    tier: u32,
    labels: BTreeMap<String, String>,
    /// The hash of its name, for consistent hashing.
    pub name_hash: u64,
}

/// What is known of a replica. It stays when the rules over the replica change.
#[derive(Debug)]
pub struct Vitals {
    /// What it carries and how it does.
    pub load: Load,
    /// How long its answers take, all tools together.
    pub pace: Pace,
    breaker: Mutex<Breaker>,
    /// What the breaker said last ([`Gate::number`]).
    gate: AtomicU8,
    /// The life of the replica that the breaker knows.
    life: AtomicU32,
    epoch: Instant,
    /// It warms up since then, in milliseconds of `epoch`; 0 = it is warm.
    warms_since: AtomicU64,
    /// It rests until then, in milliseconds of `epoch`.
    rests_until: AtomicU64,
    spared: AtomicU8,
}

impl Deref for Member {
    type Target = Vitals;

    fn deref(&self) -> &Vitals {
        &self.vitals
    }
}

/// What changed at a member, for the log and the metrics.
pub type Change = Option<Turn>;

impl Member {
    /// A replica of which nothing is known: it is taken to be as fast as `slowness`, the middle of
    /// its group.
    pub fn new(replica: Arc<Replica>, slowness: f32, now: Instant) -> Self {
        let vitals = Arc::new(Vitals {
            load: Load::new(now, slowness),
            pace: Pace::default(),
            breaker: Mutex::new(Breaker::new(now)),
            gate: AtomicU8::new(OPEN),
            life: AtomicU32::new(0),
            epoch: now,
            warms_since: AtomicU64::new(0),
            rests_until: AtomicU64::new(0),
            spared: AtomicU8::new(0),
        });
        let spec = replica.spec.clone();
        Self::ruled(replica, vitals, &spec)
    }

    /// The same replica with all that is known of it, under these rules.
    pub fn under(self: &Arc<Self>, spec: &ReplicaSpec) -> Arc<Self> {
        let same = self.weight == weight(spec) && self.tier == spec.tier;
        if same && self.labels == spec.labels {
            return Arc::clone(self);
        }
        Arc::new(Self::ruled(Arc::clone(&self.replica), Arc::clone(&self.vitals), spec))
    }

    fn ruled(replica: Arc<Replica>, vitals: Arc<Vitals>, spec: &ReplicaSpec) -> Self {
        Self {
            vitals,
            weight: weight(spec),
            tier: spec.tier,
            labels: spec.labels.clone(),
            name_hash: hash::stable(replica.spec.name.as_str().as_bytes()),
            replica,
        }
    }

    /// What a balancer may know of it; `None` if it may not take a call that wants this level.
    pub fn candidate(&self, level: Level, now: Instant) -> Option<Candidate> {
        let fits = self.weight > 0
            && self.replica.is_up()
            && match level {
                Level::Well => {
                    self.gate.load(Ordering::Acquire) == OPEN
                        && !self.replica.is_suspect()
                        && !self.rests(now)
                }
                Level::Doubtful => self.gate.load(Ordering::Acquire) == OPEN,
                Level::AnyUp => true,
            };
        if !fits {
            return None;
        }
        let warmth = self.warmth(now);
        Some(Candidate {
            busy: self.load.busy(),
            slowness: self.load.slowness(now),
            weight: f32::from(self.weight) * warmth,
            warmth,
            errors: self.load.errors(),
            tier: self.tier,
        })
    }

    /// A label of the operator's own.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }

    /// Its share by the operator's word; 0 takes no new calls.
    pub fn weight(&self) -> u16 {
        self.weight
    }

    /// Whether it is below its bound of calls in flight.
    pub fn has_room(&self) -> bool {
        self.replica.permits.available_permits() > 0
    }

    /// Whether it would take any call now.
    pub fn is_well(&self, now: Instant) -> bool {
        self.candidate(Level::Well, now).is_some()
    }

    /// Whether its gate was open when it was last looked at.
    pub fn is_open(&self) -> bool {
        self.gate.load(Ordering::Acquire) == OPEN
    }

    /// Whether the server asked for a rest that is not over.
    pub fn rests(&self, now: Instant) -> bool {
        let until = self.rests_until.load(Ordering::Relaxed);
        until > 0 && self.millis(now) < until
    }

    /// How much of its share it gets, [`WARM_MIN`] to 1.
    pub fn warmth(&self, now: Instant) -> f32 {
        if self.spared.load(Ordering::Relaxed) != 0 {
            return WARM_MIN;
        }
        let since = self.warms_since.load(Ordering::Relaxed);
        if since == 0 {
            return 1.0;
        }
        let passed = Duration::from_millis(self.millis(now).saturating_sub(since));
        if passed >= WARM_UP {
            self.warms_since.store(0, Ordering::Relaxed);
            return 1.0;
        }
        (passed.as_secs_f32() / WARM_UP.as_secs_f32()).max(WARM_MIN)
    }

    /// What its gate answers now; a gate whose time is over, a replica that came back, and looks
    /// that were answered all show here. `warm` = it has siblings that are warm, so that it may
    /// take its share slowly.
    pub fn look(&self, now: Instant, warm: bool) -> (Gate, Change) {
        let mut breaker = self.breaker.lock();
        let life = self.replica.lives();
        let seen = self.life.swap(life, Ordering::AcqRel);
        if seen != life && seen != 0 {
            breaker.restarted(now);
            if warm {
                self.warm_up(now);
            }
        }
        let looks = (self.replica.good_looks(), self.replica.health().rise);
        let mut change = breaker.looked(looks, now);
        let (gate, turn) = breaker.gate(now);
        change = turn.or(change);
        drop(breaker);
        self.note(gate, change, now, warm);
        (gate, change)
    }

    /// Whether [`Member::look`] has anything to do: most often not.
    pub fn is_settled(&self) -> bool {
        self.is_open() && self.life.load(Ordering::Acquire) == self.replica.lives()
    }

    /// The pass of a call that begins now.
    pub fn pass(&self) -> Pass {
        self.breaker.lock().pass()
    }

    /// The pass of the one call that may try a probing gate.
    pub fn lease(&self, now: Instant) -> Option<Pass> {
        self.breaker.lock().lease(now)
    }

    /// A call ended. `took` counts from its start, `pace` is that of its tool.
    pub fn record(
        &self,
        spec: &BreakerSpec,
        outcome: &Outcome,
        (pass, took): (Pass, Duration),
        pace: &Pace,
        (now, may_shut, warm): (Instant, bool, bool),
    ) -> Change {
        self.sample(outcome, took, pace, now);
        if outcome.signal == Signal::Nothing && !pass.is_probe() {
            return None;
        }
        if outcome.signal == Signal::Good {
            self.replica.succeeded();
        }
        let draw = if outcome.failed() { rng::draw() } else { 0 };
        let moment = Moment { now, draw, may_shut, p99: self.pace.p99() };
        let mut breaker = self.breaker.lock();
        let change = breaker.record(spec, outcome.signal, pass, moment);
        let (gate, _) = breaker.gate(now);
        let spared = u8::from(breaker.is_spared());
        drop(breaker);
        if self.spared.load(Ordering::Relaxed) != spared {
            self.spared.store(spared, Ordering::Relaxed);
        }
        if change.is_some() {
            self.note(gate, change, now, warm);
        }
        change
    }

    /// It hangs: its gate shuts at once.
    pub fn trip(&self, spec: &BreakerSpec, why: Why, now: Instant, may_shut: bool) -> Change {
        let moment = Moment { now, draw: rng::draw(), may_shut, p99: None };
        let mut breaker = self.breaker.lock();
        let change = breaker.trip(spec, why, moment);
        let (gate, _) = breaker.gate(now);
        drop(breaker);
        self.note(gate, change, now, false);
        change
    }

    fn sample(&self, outcome: &Outcome, took: Duration, pace: &Pace, now: Instant) {
        match outcome.sample {
            Sample::Took => {
                self.load.record(pace.relative(took), now);
                self.pace.record(took);
                pace.record(took);
                pace.follow(took);
            }
            Sample::AtLeast => {
                if pace.usual().is_some_and(|usual| took > usual) {
                    self.load.at_least(pace.relative(took), now);
                }
            }
            Sample::Penalty => self.load.penalise(now),
            Sample::Nothing => {}
        }
        if outcome.signal != Signal::Nothing {
            self.load.count(outcome.failed());
        }
        if let Some(rest) = outcome.rest {
            let until = self.millis(now + rest);
            self.rests_until.fetch_max(until, Ordering::Relaxed);
        }
    }

    fn note(&self, gate: Gate, change: Change, now: Instant, warm: bool) {
        self.gate.store(gate.number(), Ordering::Release);
        self.replica.meters.gate.set(f64::from(gate.number()));
        if change == Some(Turn::Opened) && warm {
            self.warm_up(now);
        }
    }

    fn warm_up(&self, now: Instant) {
        self.warms_since.store(self.millis(now).max(1), Ordering::Relaxed);
    }

    fn millis(&self, now: Instant) -> u64 {
        let age = now.saturating_duration_since(self.epoch);
        u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
    }
}

fn weight(spec: &ReplicaSpec) -> u16 {
    u16::try_from(spec.weight).unwrap_or(u16::MAX)
}
