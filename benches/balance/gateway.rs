//! One gateway as it is in production, without its input and output: what it knows of each replica,
//! its balancer, its budgets, and how it chooses.

use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use waypost::fleet::Pace;
use waypost::fleet::breaker::{Gate, Pass, Turn};
use waypost::fleet::budget::Budget;
use waypost::fleet::outcome::Outcome;
use waypost::fleet::pick::{Ask, Candidate, Field, choose};
use waypost::fleet::spec::{BreakerSpec, HedgeSpec, LimitSpec, RetrySpec};
use waypost::fleet::vital::{End, Level, Seen, Vital};
use waypost::upstream::nap::Phase;

use crate::prequal::Truth;
use crate::rule::{Rule, Working};
use crate::world::World;

/// Second calls that may be saved up.
const HEDGE_BURST: f64 = 10.0;

pub(crate) struct Gateway {
    pub(crate) vitals: Vec<Vital>,
    /// By tool.
    pub(crate) paces: Vec<Pace>,
    pub(crate) working: Working,
    pub(crate) retries: Budget,
    pub(crate) hedges: Budget,
    breaker: BreakerSpec,
    room: u32,
    /// Gates that may not be open.
    not_open: usize,
    /// Failures at each replica before its gate first shut, and whether it did.
    pub(crate) first: Vec<(u32, bool)>,
}

/// The replicas as the keepers see them.
pub(crate) struct Keepers {
    pub(crate) up: Vec<bool>,
    pub(crate) lives: Vec<u32>,
}

/// A call that wants a replica.
#[derive(Clone, Copy)]
pub(crate) struct Wish<'a> {
    pub(crate) tried: &'a [usize],
    pub(crate) tool: usize,
    /// Only every second replica has the tool.
    pub(crate) half: bool,
    /// It is the first attempt, so it may try a gate that is probing.
    pub(crate) first: bool,
    pub(crate) draw: u64,
}

pub(crate) struct Chosen {
    pub(crate) place: usize,
    pub(crate) pass: Pass,
}

impl Gateway {
    pub(crate) fn new(world: &World, rule: Rule, truth: &Arc<Truth>, now: Instant) -> Self {
        let vital = |_| Vital::new((1, 0), 1.0, now);
        let inflight = LimitSpec::default().inflight_http;
        Self {
            vitals: (0..world.replicas).map(vital).collect(),
            paces: world.tools.iter().map(|_| Pace::default()).collect(),
            working: rule.working(world.replicas, truth),
            retries: Budget::new(now),
            hedges: Budget::earned_only(now, HEDGE_BURST),
            breaker: BreakerSpec::default(),
            room: u32::try_from(inflight).unwrap_or(u32::MAX),
            not_open: 0,
            first: vec![(0, false); world.replicas],
        }
    }

    /// The replica of a call, in the order of production: a gate that wants to be tried, one that
    /// is well, any with an open gate.
    pub(crate) fn choose(
        &mut self,
        keepers: &Keepers,
        wish: &Wish<'_>,
        now: Instant,
    ) -> Option<Chosen> {
        if wish.first
            && self.not_open > 0
            && let Some(chosen) = self.probing(keepers, wish, now)
        {
            return Some(chosen);
        }
        let long = self.paces[wish.tool].is_long();
        let ask = Ask { draw: wish.draw, key: None, long };
        let room = |place: usize| self.vitals[place].load.busy() < self.room;
        let at = |level| {
            let view = View { gateway: self, keepers, wish, level, now };
            choose(self.working.balancer.as_ref(), &view, &room, &ask)
        };
        let choice = at(Level::Well).or_else(|| at(Level::Doubtful));
        let choice =
            choice.or_else(|| if self.panics(keepers, now) { at(Level::AnyUp) } else { None })?;
        self.count_shut();
        Some(Chosen { place: choice.place, pass: self.vitals[choice.place].pass() })
    }

    fn probing(&mut self, keepers: &Keepers, wish: &Wish<'_>, now: Instant) -> Option<Chosen> {
        let places = 0..self.vitals.len();
        let unsettled = |place: &usize| !self.vitals[*place].is_settled(keepers.lives[*place]);
        let found = places.filter(|place| has(*place, wish)).filter(unsettled).find_map(|place| {
            let gate = self.look(keepers, place, now);
            let free = matches!(gate, Gate::Probing { free: true }) && keepers.up[place];
            let pass = if free { self.vitals[place].lease(now) } else { None };
            pass.map(|pass| Chosen { place, pass })
        });
        self.count_shut();
        found
    }

    fn look(&self, keepers: &Keepers, place: usize, now: Instant) -> Gate {
        let warm = self.has_warm(keepers, place, now);
        // Nobody is asked whether it is well: only calls open a gate.
        self.vitals[place].look(keepers.lives[place], (0, 2), now, warm).0
    }

    fn count_shut(&mut self) {
        if self.not_open > 0 {
            self.not_open = self.vitals.iter().filter(|vital| !vital.is_open()).count();
        }
    }

    fn has_warm(&self, keepers: &Keepers, place: usize, now: Instant) -> bool {
        let warm = |(other, vital): (usize, &Vital)| {
            let seen = Seen { up: keepers.up[other], suspect: false, phase: Phase::Awake };
            other != place
                && vital.candidate(Level::Well, seen, now).is_some_and(|c| c.warmth >= 1.0)
        };
        self.vitals.iter().enumerate().any(warm)
    }

    fn panics(&self, keepers: &Keepers, now: Instant) -> bool {
        let well = |(place, vital): &(usize, &Vital)| {
            let seen = Seen { up: keepers.up[*place], suspect: false, phase: Phase::Awake };
            vital.candidate(Level::Well, seen, now).is_some()
        };
        let well = self.vitals.iter().enumerate().filter(well).count();
        well * 100 < self.breaker.panic_percent as usize * self.vitals.len()
    }

    fn may_shut(&self, keepers: &Keepers, place: usize) -> bool {
        let others = || self.vitals.iter().enumerate().filter(|(other, _)| *other != place);
        let kept = others().filter(|(other, vital)| keepers.up[*other] && vital.is_open()).count();
        let shut = others().filter(|(_, vital)| !vital.is_open()).count();
        self.breaker.may_shut(self.vitals.len(), kept, shut)
    }

    /// An attempt came to its end.
    pub(crate) fn settle(
        &mut self,
        keepers: &Keepers,
        (place, tool, pass): (usize, usize, Pass),
        outcome: &Outcome,
        took: Duration,
        (now, draw): (Instant, u64),
    ) {
        let may_shut = outcome.failed() && self.may_shut(keepers, place);
        let warm = pass.is_probe() && self.has_warm(keepers, place, now);
        if outcome.failed() && !self.first[place].1 {
            self.first[place].0 += 1;
        }
        let end = End { now, draw, may_shut, warm };
        let pace = &self.paces[tool];
        let turn = self.vitals[place].record(&self.breaker, outcome, (pass, took), pace, end);
        if let Some((_, turn)) = turn {
            if matches!(turn, Turn::Shut(_)) {
                self.first[place].1 = true;
            }
            self.not_open = self.vitals.iter().filter(|vital| !vital.is_open()).count();
        }
        if outcome.earns {
            self.retries.earn(RetrySpec::default().budget_ratio, now);
            self.hedges.earn(HedgeSpec::default().budget, now);
        }
    }
}

/// Whether a replica has the tool of a call.
fn has(place: usize, wish: &Wish<'_>) -> bool {
    !wish.half || place.is_multiple_of(2)
}

struct View<'a> {
    gateway: &'a Gateway,
    keepers: &'a Keepers,
    wish: &'a Wish<'a>,
    level: Level,
    now: Instant,
}

impl Field for View<'_> {
    fn len(&self) -> usize {
        self.gateway.vitals.len()
    }

    fn at(&self, place: usize) -> Option<Candidate> {
        if self.wish.tried.contains(&place) || !has(place, self.wish) {
            return None;
        }
        let vital = &self.gateway.vitals[place];
        if !vital.is_settled(self.keepers.lives[place]) {
            self.gateway.look(self.keepers, place, self.now);
        }
        let seen = Seen { up: self.keepers.up[place], suspect: false, phase: Phase::Awake };
        vital.candidate(self.level, seen, self.now)
    }

    fn heaviest(&self) -> f32 {
        1.0
    }
}

/// Places that were tried.
pub(crate) type Places = SmallVec<[usize; 4]>;
