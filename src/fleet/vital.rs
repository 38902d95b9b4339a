//! Pure: what the fleet knows of a replica, whatever the replica is: what it carries, how it does,
//! whether its gate is open, and whether it warms up or rests. What calls read while they choose is
//! read without a lock.

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::breaker::{Breaker, Gate, Moment, Pass, Turn, Why};
use super::load::Load;
use super::outcome::{Outcome, Sample, Signal};
use super::pace::Pace;
use super::pick::Candidate;
use super::spec::BreakerSpec;
use crate::upstream::nap::Phase;

/// A replica that comes back gets its full share after this time.
pub const WARM_UP: Duration = Duration::from_secs(30);
/// What it gets at first, and what one gets that should be shut and cannot be spared.
pub const WARM_MIN: f32 = 0.1;

/// The gate is open, as [`Vital::gate`] keeps it.
const OPEN: u8 = 0;
/// The gate is shut.
const SHUT: u8 = 2;

/// How well a replica must be to take a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Its gate is open, it answers when asked, and it did not ask for a rest.
    Well,
    /// Its gate is open.
    Doubtful,
    /// It is up.
    AnyUp,
    /// It slept and wakes up: the calls that want it wait for that. Its gate is not shut.
    Waking,
    /// It sleeps. Its gate is not shut.
    Asleep,
}

/// What changed at a replica, for the log and the metrics.
pub type Change = Option<Turn>;

/// What its keeper knows of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// It takes calls.
    pub up: bool,
    /// Whether it sleeps.
    pub phase: Phase,
    /// It does not answer when it is asked.
    pub suspect: bool,
}

/// What is known when a call ends.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// Now.
    pub now: Instant,
    /// Chance; used only if the call failed.
    pub draw: u64,
    /// Whether the group can do without this replica.
    pub may_shut: bool,
    /// Whether it has siblings that are warm, so that it may take its share slowly.
    pub warm: bool,
}

/// What the fleet knows of a replica.
#[derive(Debug)]
pub struct Vital {
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
    /// A call broke off there last, in milliseconds of `epoch`.
    broke_at: AtomicU64,
    spared: AtomicU8,
    weight: AtomicU16,
    tier: AtomicU32,
}

impl Vital {
    /// One of which nothing is known: it is taken to be as fast as `slowness`, the middle of its
    /// group.
    pub fn new((weight, tier): (u16, u32), slowness: f32, now: Instant) -> Self {
        Self {
            load: Load::new(now, slowness),
            pace: Pace::default(),
            breaker: Mutex::new(Breaker::new(now)),
            gate: AtomicU8::new(OPEN),
            life: AtomicU32::new(0),
            epoch: now,
            warms_since: AtomicU64::new(0),
            rests_until: AtomicU64::new(0),
            broke_at: AtomicU64::new(0),
            spared: AtomicU8::new(0),
            weight: AtomicU16::new(weight),
            tier: AtomicU32::new(tier),
        }
    }

    /// The operator's word about it has changed: its weight and its tier.
    pub fn share(&self, (weight, tier): (u16, u32)) {
        self.weight.store(weight, Ordering::Relaxed);
        self.tier.store(tier, Ordering::Relaxed);
    }

    /// Its tier, by the operator's word.
    pub fn tier(&self) -> u32 {
        self.tier.load(Ordering::Relaxed)
    }

    /// Its share by the operator's word; 0 takes no new calls.
    pub fn weight(&self) -> u16 {
        self.weight.load(Ordering::Relaxed)
    }

    /// A call that began then broke off. Answers whether that is news: what one death ends at once is
    /// one failure.
    pub fn broke(&self, began: Instant, now: Instant) -> bool {
        let last = self.broke_at.fetch_max(self.millis(now), Ordering::Relaxed);
        self.millis(began) >= last
    }

    /// What a balancer may know of it; `None` if it may not take a call that wants this level.
    pub fn candidate(&self, level: Level, seen: Seen, now: Instant) -> Option<Candidate> {
        self.fits(level, seen, now).then(|| self.numbers(now))
    }

    /// Whether it may take a call that wants this level.
    pub fn fits(&self, level: Level, seen: Seen, now: Instant) -> bool {
        // A gate that probes lets one look whether its replica is well: it must be awake for that.
        let may_wake = |phase| seen.phase == phase && self.gate.load(Ordering::Acquire) != SHUT;
        self.weight() > 0
            && match level {
                Level::Well => seen.up && self.is_open() && !seen.suspect && !self.rests(now),
                Level::Doubtful => seen.up && self.is_open(),
                Level::AnyUp => seen.up,
                Level::Waking => may_wake(Phase::Waking),
                Level::Asleep => may_wake(Phase::Asleep),
            }
    }

    /// What a balancer sees of it, whether it may take calls or not.
    pub fn numbers(&self, now: Instant) -> Candidate {
        let warmth = self.warmth(now);
        Candidate {
            busy: self.load.busy(),
            slowness: self.load.slowness(now),
            weight: f32::from(self.weight()) * warmth,
            warmth,
            errors: self.load.errors(),
            tier: self.tier.load(Ordering::Relaxed),
        }
    }

    /// How often its gate shut, less what was forgiven.
    pub fn trips(&self) -> u32 {
        self.breaker.lock().trips()
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

    /// What its gate answers now; a gate whose time is over, a replica that came back (`life`), and
    /// looks that were answered (how many, and how many are enough) all show here. `warm` = it has
    /// siblings that are warm.
    pub fn look(&self, life: u32, looks: (u32, u32), now: Instant, warm: bool) -> (Gate, Change) {
        let mut breaker = self.breaker.lock();
        let seen = self.life.swap(life, Ordering::AcqRel);
        if seen != life && seen != 0 {
            breaker.restarted(now);
            if warm {
                self.warm_up(now);
            }
        }
        let due = breaker.gate(now).1;
        let change = breaker.looked(looks, now).or(due);
        let gate = breaker.gate(now).0;
        drop(breaker);
        self.note(gate, change, now, warm);
        (gate, change)
    }

    /// Whether [`Vital::look`] has anything to do: most often not.
    pub fn is_settled(&self, life: u32) -> bool {
        self.is_open() && self.life.load(Ordering::Acquire) == life
    }

    /// The pass of a call that begins now.
    pub fn pass(&self) -> Pass {
        self.breaker.lock().pass()
    }

    /// The pass of the one call that may try a probing gate.
    pub fn lease(&self, now: Instant) -> Option<Pass> {
        self.breaker.lock().lease(now)
    }

    /// A call ended; answers with what the gate says now, if that changed. `took` counts from its
    /// start, `pace` is that of its tool.
    pub fn record(
        &self,
        spec: &BreakerSpec,
        outcome: &Outcome,
        (pass, took): (Pass, Duration),
        pace: &Pace,
        end: End,
    ) -> Option<(Gate, Turn)> {
        let now = end.now;
        self.sample(outcome, took, pace, now);
        if outcome.signal == Signal::Nothing && !pass.is_probe() {
            return None;
        }
        let moment = Moment { now, draw: end.draw, may_shut: end.may_shut, p99: self.pace.p99() };
        let mut breaker = self.breaker.lock();
        let change = breaker.record(spec, outcome.signal, pass, moment);
        let (gate, _) = breaker.gate(now);
        let spared = u8::from(breaker.is_spared());
        drop(breaker);
        if self.spared.load(Ordering::Relaxed) != spared {
            self.spared.store(spared, Ordering::Relaxed);
        }
        let turn = change?;
        self.note(gate, change, now, end.warm);
        Some((gate, turn))
    }

    /// It hangs: its gate shuts at once.
    pub fn trip(&self, spec: &BreakerSpec, why: Why, at: Moment) -> (Gate, Change) {
        let mut breaker = self.breaker.lock();
        let change = breaker.trip(spec, why, at);
        let (gate, _) = breaker.gate(at.now);
        drop(breaker);
        self.note(gate, change, at.now, false);
        (gate, change)
    }

    fn sample(&self, outcome: &Outcome, took: Duration, pace: &Pace, now: Instant) {
        match outcome.sample {
            Sample::Took => {
                self.load.record(pace.relative(took), now);
                self.pace.record(took);
                pace.record(took);
                pace.follow(took);
            }
            Sample::AtLeast if outcome.signal == Signal::Nothing => {
                // It counts as its answer would have, as far as that is known.
                if pace.usual().is_some_and(|usual| took > usual) {
                    self.load.record_at_least(pace.relative(took), now);
                }
                pace.record_at_least(took);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    const SEEN: Seen = Seen { up: true, suspect: false, phase: Phase::Awake };
    const HARD: Outcome = Outcome {
        signal: Signal::Hard,
        sample: Sample::Penalty,
        earns: false,
        rest: None,
        broke: false,
    };

    fn end(vital: &Vital, outcome: &Outcome, pass: Pass, now: Instant) -> Option<(Gate, Turn)> {
        let end = End { now, draw: 20, may_shut: true, warm: true };
        let took = Duration::from_millis(5);
        vital.record(&BreakerSpec::default(), outcome, (pass, took), &Pace::default(), end)
    }

    #[test]
    fn what_it_may_take_depends_on_its_gate_its_keeper_and_its_rest() {
        let now = clock::now();
        let vital = Vital::new((1, 0), 1.0, now);
        let takes = |level, seen, now| vital.candidate(level, seen, now).is_some();
        assert!(takes(Level::Well, SEEN, now));
        let suspect = Seen { suspect: true, ..SEEN };
        assert!(!takes(Level::Well, suspect, now) && takes(Level::Doubtful, suspect, now));
        assert!(!takes(Level::AnyUp, Seen { up: false, ..SEEN }, now));
        let rest = Some(Duration::from_secs(3));
        end(&vital, &Outcome { signal: Signal::Soft, rest, ..HARD }, vital.pass(), now);
        assert!(!takes(Level::Well, SEEN, now) && takes(Level::Doubtful, SEEN, now));
        let later = now + Duration::from_secs(3);
        assert!(takes(Level::Well, SEEN, later));
        for _ in 0..5 {
            end(&vital, &HARD, vital.pass(), later);
        }
        assert!(!takes(Level::Doubtful, SEEN, later) && takes(Level::AnyUp, SEEN, later));
        assert!(Vital::new((0, 0), 1.0, now).candidate(Level::AnyUp, SEEN, now).is_none());
    }

    #[test]
    fn what_one_death_ends_is_one_failure_and_the_next_death_is_another() {
        let start = clock::now();
        let vital = Vital::new((1, 0), 1.0, start);
        let at = |millis| start + Duration::from_millis(millis);
        let broke = [(5, 50), (40, 50), (1, 51), (52, 60), (51, 61)];
        let news = broke.map(|(began, now)| vital.broke(at(began), at(now)));
        assert_eq!(news, [true, false, false, true, false]);
    }

    #[test]
    fn one_that_sleeps_is_nothing_but_one_to_wake_and_not_while_its_gate_is_shut() {
        let now = clock::now();
        let vital = Vital::new((1, 0), 1.0, now);
        let asleep = Seen { up: false, suspect: false, phase: Phase::Asleep };
        let waking = Seen { phase: Phase::Waking, ..asleep };
        let levels = [Level::Well, Level::Doubtful, Level::AnyUp, Level::Waking, Level::Asleep];
        let takes = |seen, now| levels.map(|level| vital.candidate(level, seen, now).is_some());
        assert_eq!(takes(asleep, now), [false, false, false, false, true]);
        assert_eq!(takes(waking, now), [false, false, false, true, false]);
        assert_eq!(takes(SEEN, now), [true, true, true, false, false]);
        for _ in 0..5 {
            end(&vital, &HARD, vital.pass(), now);
        }
        assert_eq!(takes(asleep, now), [false; 5]);
        let later = now + Duration::from_secs(5);
        assert!(matches!(vital.look(0, (0, 2), later, false).0, Gate::Probing { free: true }));
        assert_eq!(takes(asleep, later), [false, false, false, false, true]);
        let drained = Vital::new((0, 0), 1.0, now);
        assert!(drained.candidate(Level::Asleep, asleep, now).is_none());
    }

    #[test]
    fn one_that_comes_back_warms_up_if_others_are_warm() {
        let mut now = clock::now();
        let vital = Vital::new((4, 0), 1.0, now);
        for _ in 0..5 {
            end(&vital, &HARD, vital.pass(), now);
        }
        now += Duration::from_secs(5);
        assert!(matches!(vital.look(0, (0, 2), now, true).0, Gate::Probing { free: true }));
        for _ in 0..2 {
            let pass = vital.lease(now).unwrap();
            end(&vital, &Outcome::RESULT, pass, now);
        }
        let weight = |after| {
            let now = now + Duration::from_secs(after);
            vital.candidate(Level::Well, SEEN, now).unwrap().weight
        };
        assert!((weight(0) - 0.4).abs() < 1e-3, "{}", weight(0));
        assert!((weight(15) - 2.0).abs() < 1e-3, "{}", weight(15));
        assert!((weight(30) - 4.0).abs() < 1e-3, "{}", weight(30));
        assert!(vital.is_settled(0) && !vital.is_settled(1));
        // Started anew, with nobody warm beside it: it takes all at once.
        vital.look(1, (0, 2), now, false);
        vital.look(2, (0, 2), now, false);
        assert!((vital.warmth(now) - 1.0).abs() < 1e-6);
        vital.look(3, (0, 2), now, true);
        assert!((vital.warmth(now) - WARM_MIN).abs() < 1e-6);
    }
}
