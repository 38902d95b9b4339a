//! Pure: whether a replica gets calls, from what came of the last ones. Its gate is open, shut, or
//! probing: shut for a while after failures, then one call at a time until two went well.
//!
//! It heals by itself: a gate that is shut has an end, and one that is probing opens by good looks
//! of the keeper if no call comes. An answer to a call that began before the gate last moved never
//! moves it again ([`Pass`]).

use std::time::{Duration, Instant};

use super::outcome::Signal;
use super::spec::BreakerSpec;
use super::window::Window;
use crate::base::rng::jitter;

/// Broken messages in a row that shut the gate.
pub const PROTOCOL_MAX: u32 = 3;
/// Good answers that open a probing gate.
pub const PROBES: u32 = 2;
/// A probing gate opens by good looks alone after this time without a call.
pub const LOOKS_ALONE: Duration = Duration::from_secs(10);
/// The lease of a probing call that never came back is given to another one after this.
pub const LEASE_MAX: Duration = Duration::from_mins(1);
/// One trip is forgiven for so long a time with an open gate.
pub const FORGIVE: Duration = Duration::from_secs(30);
/// Spread of the time that a gate is shut, in percent.
const JITTER_PERCENT: u32 = 20;

/// What a gate answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Calls pass.
    Open,
    /// One call passes at a time, if its lease is free; only one that changes nothing.
    Probing {
        /// Whether the lease is free.
        free: bool,
    },
    /// No call passes.
    Shut {
        /// Until then, at the latest.
        until: Instant,
    },
}

impl Gate {
    /// The value of `mcp_breaker_state`.
    pub fn number(self) -> u8 {
        match self {
            Self::Open => 0,
            Self::Probing { .. } => 1,
            Self::Shut { .. } => 2,
        }
    }

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Probing { .. } => "probing",
            Self::Shut { .. } => "shut",
        }
    }
}

/// How the gate moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It shut, for this reason.
    Shut(Why),
    /// It lets probes through.
    Probing,
    /// It opened.
    Opened,
    /// It should have shut, and too many others are: it gets little instead.
    Spared,
}

/// Why a gate shut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Failures in a row.
    Consecutive,
    /// Too few calls of the window succeeded.
    Rate,
    /// Broken messages in a row.
    Protocol,
    /// A probe failed.
    Probe,
    /// It hangs: calls are silent and so is it when it is asked.
    Hang,
}

impl Why {
    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Consecutive => "consecutive",
            Self::Rate => "success_rate",
            Self::Protocol => "protocol",
            Self::Probe => "probe",
            Self::Hang => "hang",
        }
    }
}

/// What a call carries from its start to its end: which state of the gate it began in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    generation: u64,
    probe: bool,
}

impl Pass {
    /// It holds the lease of a probing gate.
    pub fn is_probe(self) -> bool {
        self.probe
    }
}

/// What is known when something is recorded.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Now.
    pub now: Instant,
    /// Chance.
    pub draw: u64,
    /// Whether the group can do without this replica.
    pub may_shut: bool,
    /// What 99 of 100 calls take at most, where that is known.
    pub p99: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open { since: Instant },
    Shut { until: Instant, soft: bool },
    Probing { since: Instant, good: u32, leased: Option<Instant> },
}

/// Whether a replica gets calls.
#[derive(Clone, Debug)]
pub struct Breaker {
    phase: Phase,
    generation: u64,
    /// Trips that were not forgiven.
    trips: u32,
    streak: u32,
    broken: u32,
    window: Window,
    forgiven: Instant,
    spared: bool,
    /// When it last opened after a trip or a restart.
    opened: Option<Instant>,
    /// Looks in a row that were answered when it was first asked for them after it shut.
    before: Option<u32>,
}

impl Breaker {
    /// An open gate.
    pub fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Open { since: now },
            generation: 0,
            trips: 0,
            streak: 0,
            broken: 0,
            window: Window::default(),
            forgiven: now,
            spared: false,
            opened: None,
            before: None,
        }
    }

    /// What the gate answers now. A gate whose time is over lets probes through.
    pub fn gate(&mut self, now: Instant) -> (Gate, Option<Turn>) {
        match self.phase {
            Phase::Open { .. } => (Gate::Open, None),
            Phase::Shut { until, .. } if now < until => (Gate::Shut { until }, None),
            Phase::Shut { until, .. } => {
                // Since then, whenever it is looked at: looks may have told enough meanwhile.
                self.probe(until);
                (Gate::Probing { free: true }, Some(Turn::Probing))
            }
            Phase::Probing { leased, .. } => {
                let taken = leased.is_some_and(|at| now.saturating_duration_since(at) < LEASE_MAX);
                (Gate::Probing { free: !taken }, None)
            }
        }
    }

    /// The pass of a call that begins now.
    pub fn pass(&self) -> Pass {
        Pass { generation: self.generation, probe: false }
    }

    /// The pass of the one call that may try a probing gate; `None` if another one does.
    pub fn lease(&mut self, now: Instant) -> Option<Pass> {
        let (Gate::Probing { free: true }, _) = self.gate(now) else { return None };
        if let Phase::Probing { leased, .. } = &mut self.phase {
            *leased = Some(now);
        }
        Some(Pass { generation: self.generation, probe: true })
    }

    /// A call ended.
    pub fn record(
        &mut self,
        spec: &BreakerSpec,
        signal: Signal,
        pass: Pass,
        at: Moment,
    ) -> Option<Turn> {
        if pass.generation != self.generation {
            return None;
        }
        match self.phase {
            Phase::Open { .. } => self.record_open(spec, signal, at),
            Phase::Probing { since, good, .. } => {
                let (leased, good) = match signal {
                    Signal::Good => (None, good + 1),
                    Signal::Nothing => (None, good),
                    Signal::Soft | Signal::Hard | Signal::Protocol => {
                        return Some(self.shut(spec, Why::Probe, signal == Signal::Soft, at));
                    }
                };
                if good >= PROBES {
                    return Some(self.open(at.now));
                }
                self.phase = Phase::Probing { since, good, leased };
                None
            }
            Phase::Shut { .. } => None,
        }
    }

    fn record_open(&mut self, spec: &BreakerSpec, signal: Signal, at: Moment) -> Option<Turn> {
        let length = spec.window.max(at.p99.unwrap_or_default() * 2);
        match signal {
            Signal::Nothing => return None,
            Signal::Good => {
                (self.streak, self.broken, self.spared) = (0, 0, false);
                self.window.count(true, length, at.now);
                self.forgive(at.now);
                return None;
            }
            Signal::Soft => {}
            Signal::Hard => self.streak += 1,
            Signal::Protocol => (self.streak, self.broken) = (self.streak + 1, self.broken + 1),
        }
        self.window.count(false, length, at.now);
        let sums = self.window.sums(length, at.now);
        let why = if self.broken >= PROTOCOL_MAX {
            Why::Protocol
        } else if self.streak >= spec.consecutive {
            Why::Consecutive
        } else if sums.all() >= spec.min_requests && sums.rate() < spec.success_rate {
            Why::Rate
        } else {
            return None;
        };
        if !at.may_shut {
            let news = !self.spared;
            self.spared = true;
            return news.then_some(Turn::Spared);
        }
        Some(self.shut(spec, why, self.streak == 0, at))
    }

    /// Shuts it at once: the replica was found not to answer at all.
    pub fn trip(&mut self, spec: &BreakerSpec, why: Why, at: Moment) -> Option<Turn> {
        let shut = matches!(self.phase, Phase::Shut { .. });
        (!shut && at.may_shut).then(|| self.shut(spec, why, false, at))
    }

    /// The keeper looked at it and it answered, `good` times in a row; `rise` are enough.
    pub fn looked(&mut self, (good, rise): (u32, u32), now: Instant) -> Option<Turn> {
        let since_shut = self.since_shut(good);
        if good < rise {
            return None;
        }
        match self.phase {
            // What calls failed at is not cured by a ping: a soft trip waits for its end.
            Phase::Shut { soft: false, .. } if since_shut >= rise => {
                self.probe(now);
                Some(Turn::Probing)
            }
            Phase::Probing { since, leased: None, .. }
                if now.saturating_duration_since(since) >= LOOKS_ALONE =>
            {
                Some(self.open(now))
            }
            _ => None,
        }
    }

    /// How many of so many answered looks came after the gate had shut: those before prove nothing,
    /// for a server may answer looks all along while its calls fail.
    fn since_shut(&mut self, good: u32) -> u32 {
        let before = self.before.get_or_insert(good);
        // One was not answered meanwhile, so all of these are new.
        if good < *before {
            *before = 0;
        }
        good - *before
    }

    /// The replica was started anew: what was before says nothing of it.
    pub fn restarted(&mut self, now: Instant) {
        self.generation += 1;
        self.open(now);
    }

    /// When it last opened after a trip or a restart; from then on it warms up.
    pub fn opened(&self) -> Option<Instant> {
        self.opened
    }

    /// It should be shut, and too many others are.
    pub fn is_spared(&self) -> bool {
        self.spared
    }

    /// Trips that were not forgiven yet.
    pub fn trips(&self) -> u32 {
        self.trips
    }

    fn probe(&mut self, now: Instant) {
        self.generation += 1;
        self.phase = Phase::Probing { since: now, good: 0, leased: None };
    }

    fn open(&mut self, now: Instant) -> Turn {
        self.generation += 1;
        self.phase = Phase::Open { since: now };
        (self.streak, self.broken, self.spared) = (0, 0, false);
        self.window.clear();
        self.forgiven = now;
        self.opened = Some(now);
        Turn::Opened
    }

    fn shut(&mut self, spec: &BreakerSpec, why: Why, soft: bool, at: Moment) -> Turn {
        self.forgive(at.now);
        self.trips = self.trips.saturating_add(1);
        self.generation += 1;
        let doubled = spec.eject_base.saturating_mul(1 << (self.trips - 1).min(16));
        let wait = jitter(doubled.min(spec.eject_max), JITTER_PERCENT, at.draw);
        self.phase = Phase::Shut { until: at.now + wait, soft };
        self.before = None;
        (self.streak, self.broken, self.spared) = (0, 0, false);
        self.window.clear();
        Turn::Shut(why)
    }

    /// Forgets a trip for each [`FORGIVE`] that the gate has been open.
    fn forgive(&mut self, now: Instant) {
        let Phase::Open { .. } = self.phase else { return };
        while self.trips > 0 && now.saturating_duration_since(self.forgiven) >= FORGIVE {
            self.trips -= 1;
            self.forgiven += FORGIVE;
        }
        if self.trips == 0 {
            self.forgiven = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;
    use crate::base::rng::Draws;

    const SECOND: Duration = Duration::from_secs(1);

    struct Rig {
        breaker: Breaker,
        spec: BreakerSpec,
        now: Instant,
        may_shut: bool,
    }

    impl Rig {
        fn new() -> Self {
            let now = clock::now();
            let (breaker, spec) = (Breaker::new(now), BreakerSpec::default());
            Self { breaker, spec, now, may_shut: true }
        }

        fn moment(&self) -> Moment {
            Moment { now: self.now, draw: 20, may_shut: self.may_shut, p99: None }
        }

        fn record(&mut self, signal: Signal) -> Option<Turn> {
            let pass = self.breaker.pass();
            self.breaker.record(&self.spec, signal, pass, self.moment())
        }

        fn wait(&mut self, time: Duration) -> Gate {
            self.now += time;
            self.breaker.gate(self.now).0
        }

        fn shut(&mut self) {
            while !matches!(self.record(Signal::Hard), Some(Turn::Shut(_))) {}
        }

        fn probe(&mut self, signal: Signal) -> Option<Turn> {
            let pass = self.breaker.lease(self.now).expect("no lease");
            self.breaker.record(&self.spec, signal, pass, self.moment())
        }
    }

    #[test]
    fn five_failures_in_a_row_shut_it_and_four_do_not() {
        let mut rig = Rig::new();
        for _ in 0..3 {
            (0..4).for_each(|_| assert_eq!(rig.record(Signal::Hard), None));
            (0..20).for_each(|_| assert_eq!(rig.record(Signal::Good), None));
        }
        (0..4).for_each(|_| assert_eq!(rig.record(Signal::Hard), None));
        assert_eq!(rig.record(Signal::Hard), Some(Turn::Shut(Why::Consecutive)));
        assert!(matches!(rig.breaker.gate(rig.now).0, Gate::Shut { .. }));
    }

    #[test]
    fn soft_failures_shut_it_only_by_their_share() {
        let mut rig = Rig::new();
        for _ in 0..40 {
            assert_eq!(rig.record(Signal::Soft), None.filter(|_: &Turn| false));
            assert_eq!(rig.record(Signal::Good), None);
            assert_eq!(rig.record(Signal::Good), None);
        }
        let turns: Vec<_> = (0..60).filter_map(|_| rig.record(Signal::Soft)).collect();
        assert_eq!(turns.first(), Some(&Turn::Shut(Why::Rate)));
        // A ping does not open what calls shut.
        assert_eq!(rig.breaker.looked((5, 2), rig.now + SECOND), None);
    }

    #[test]
    fn three_broken_messages_shut_it() {
        let mut rig = Rig::new();
        rig.record(Signal::Protocol);
        rig.record(Signal::Protocol);
        assert_eq!(rig.record(Signal::Protocol), Some(Turn::Shut(Why::Protocol)));
    }

    #[test]
    fn it_probes_when_its_time_is_over_with_one_call_at_a_time() {
        let mut rig = Rig::new();
        rig.shut();
        assert!(matches!(rig.wait(4 * SECOND), Gate::Shut { .. }));
        assert_eq!(rig.wait(SECOND), Gate::Probing { free: true });
        let pass = rig.breaker.lease(rig.now).unwrap();
        assert_eq!(rig.breaker.lease(rig.now), None);
        let moment = rig.moment();
        assert_eq!(rig.breaker.record(&rig.spec, Signal::Good, pass, moment), None);
        assert_eq!(rig.probe(Signal::Good), Some(Turn::Opened));
        assert_eq!(rig.breaker.opened(), Some(rig.now));
        assert_eq!(rig.wait(SECOND), Gate::Open);
    }

    #[test]
    fn each_trip_lasts_longer_up_to_a_bound_and_time_forgives() {
        let mut rig = Rig::new();
        rig.shut();
        for seconds in [5, 10, 20, 40, 80, 160, 300, 300] {
            assert!(matches!(rig.wait(SECOND * (seconds - 1)), Gate::Shut { .. }), "{seconds}");
            assert!(matches!(rig.wait(SECOND), Gate::Probing { .. }), "{seconds}");
            assert_eq!(rig.probe(Signal::Hard), Some(Turn::Shut(Why::Probe)));
        }
        rig.wait(300 * SECOND);
        rig.probe(Signal::Good);
        rig.probe(Signal::Good);
        let trips = rig.breaker.trips();
        rig.wait(FORGIVE * 3);
        rig.record(Signal::Good);
        assert_eq!(rig.breaker.trips(), trips - 3);
    }

    #[test]
    fn what_began_before_the_gate_moved_says_nothing() {
        let mut rig = Rig::new();
        let old = rig.breaker.pass();
        rig.shut();
        let moment = rig.moment();
        assert_eq!(rig.breaker.record(&rig.spec, Signal::Good, old, moment), None);
        rig.wait(5 * SECOND);
        let moment = rig.moment();
        for signal in [Signal::Good, Signal::Good, Signal::Hard] {
            assert_eq!(rig.breaker.record(&rig.spec, signal, old, moment), None);
        }
        assert_eq!(rig.breaker.gate(rig.now).0, Gate::Probing { free: true });
        rig.probe(Signal::Good);
        rig.probe(Signal::Good);
        let moment = rig.moment();
        (0..9).for_each(|_| {
            assert_eq!(rig.breaker.record(&rig.spec, Signal::Hard, old, moment), None);
        });
    }

    #[test]
    fn good_looks_bring_it_back_without_a_call() {
        let mut rig = Rig::new();
        rig.shut();
        rig.now += SECOND;
        assert_eq!(rig.breaker.looked((0, 2), rig.now), None);
        assert_eq!(rig.breaker.looked((1, 2), rig.now), None);
        assert_eq!(rig.breaker.looked((2, 2), rig.now), Some(Turn::Probing));
        assert_eq!(rig.breaker.looked((3, 2), rig.now), None);
        rig.now += LOOKS_ALONE;
        assert_eq!(rig.breaker.looked((4, 2), rig.now), Some(Turn::Opened));
    }

    #[test]
    fn looks_from_before_it_shut_do_not_bring_it_back() {
        let mut rig = Rig::new();
        for before in [2, 7, u32::MAX - 2] {
            rig.shut();
            for good in [before, before, before + 1] {
                assert_eq!(rig.breaker.looked((good, 2), rig.now + SECOND), None, "{good}");
            }
            assert_eq!(rig.breaker.looked((before + 2, 2), rig.now), Some(Turn::Probing));
            rig.now += LOOKS_ALONE;
            assert_eq!(rig.breaker.looked((before, 2), rig.now), Some(Turn::Opened));
        }
        // One that was not answered begins a new row, all of which counts.
        rig.shut();
        assert_eq!(rig.breaker.looked((9, 2), rig.now), None);
        assert_eq!(rig.breaker.looked((0, 2), rig.now), None);
        assert_eq!(rig.breaker.looked((1, 2), rig.now), None);
        assert_eq!(rig.breaker.looked((2, 2), rig.now), Some(Turn::Probing));
    }

    #[test]
    fn a_gate_whose_time_was_over_long_ago_opens_at_the_first_look() {
        let mut rig = Rig::new();
        rig.shut();
        assert!(matches!(rig.wait(Duration::from_mins(6)), Gate::Probing { free: true }));
        assert_eq!(rig.breaker.looked((2, 2), rig.now), Some(Turn::Opened));
    }

    #[test]
    fn one_that_cannot_be_spared_gets_little_instead() {
        let mut rig = Rig::new();
        rig.may_shut = false;
        let turns: Vec<_> = (0..9).filter_map(|_| rig.record(Signal::Hard)).collect();
        assert_eq!(turns, [Turn::Spared], "told once");
        assert!(rig.breaker.is_spared());
        rig.record(Signal::Good);
        assert!(!rig.breaker.is_spared());
    }

    #[test]
    fn a_lease_that_never_came_back_is_given_again() {
        let mut rig = Rig::new();
        rig.shut();
        rig.wait(5 * SECOND);
        rig.breaker.lease(rig.now).unwrap();
        assert_eq!(rig.wait(LEASE_MAX / 2), Gate::Probing { free: false });
        assert_eq!(rig.wait(LEASE_MAX / 2), Gate::Probing { free: true });
    }

    #[test]
    fn whatever_happened_it_heals_when_the_faults_do() {
        for seed in 0..500 {
            let mut rig = Rig::new();
            let mut draws = Draws::new(seed);
            let mut old: Vec<Pass> = Vec::new();
            for _ in 0..200 {
                rig.now += Duration::from_millis(draws.bits() % 3_000);
                rig.may_shut = draws.below(4) > 0;
                let signals =
                    [Signal::Good, Signal::Soft, Signal::Hard, Signal::Protocol, Signal::Nothing];
                let signal = signals[draws.below(5)];
                let pass = match draws.below(6) {
                    0 => rig.breaker.lease(rig.now),
                    1 => old.get(draws.below(old.len())).copied(),
                    2 => {
                        rig.breaker.looked((u32::try_from(draws.below(4)).unwrap(), 2), rig.now);
                        None
                    }
                    _ => matches!(rig.breaker.gate(rig.now).0, Gate::Open)
                        .then(|| rig.breaker.pass()),
                };
                let Some(pass) = pass else { continue };
                old.push(pass);
                if draws.below(8) > 0 {
                    let moment = Moment { draw: draws.bits(), ..rig.moment() };
                    rig.breaker.record(&rig.spec, signal, pass, moment);
                }
            }
            // The faults are over: read-only calls come once a second.
            let healed = (0..420).any(|_| {
                rig.now += SECOND;
                match rig.breaker.gate(rig.now).0 {
                    Gate::Open => true,
                    Gate::Probing { free: true } => {
                        rig.probe(Signal::Good);
                        false
                    }
                    _ => false,
                }
            });
            assert!(healed, "seed {seed}: {:?}", rig.breaker);
        }
    }
}
