//! Pure: the gateway's own rule. Of up to eight replicas, those with more calls in flight than is
//! usual are hot; among the others the one that is fastest for its tools takes the call. If all are
//! hot, the least loaded one does.
//!
//! The hot/cold split is that of Prequal (NSDI '24), on local numbers: MCP servers tell nothing of
//! their load. Latency is normalised by tool and fades, so that a minute-long tool does not make a
//! replica look slow and a slow replica is tried again.

use parking_lot::Mutex;

use super::sample::{SAMPLE, lowest, sample};
use super::{Ask, Balancer, Candidate, Field};
use crate::base::rng::Draws;

/// A load above those of so many percent of the recent calls is hot.
pub(super) const HOT_PERCENT: usize = 84;
/// So many recent loads are kept.
const RECENT: usize = 256;
/// The bound between cold and hot is found anew after so many calls.
const FRESH: usize = 16;

/// The gateway's own rule.
#[derive(Debug)]
pub struct Auto {
    recent: Mutex<Recent>,
}

#[derive(Debug)]
struct Recent {
    loads: [f32; RECENT],
    /// Where the next one goes.
    next: usize,
    filled: usize,
    bound: f32,
}

impl Default for Auto {
    fn default() -> Self {
        let recent = Recent { loads: [0.0; RECENT], next: 0, filled: 0, bound: f32::INFINITY };
        Self { recent: Mutex::new(recent) }
    }
}

impl Balancer for Auto {
    fn pick(&self, field: &dyn Field, ask: &Ask) -> Option<usize> {
        let (place, heat) = self.fastest(field, ask)?;
        self.recent.lock().note(heat);
        Some(place)
    }

    fn peek(&self, field: &dyn Field, ask: &Ask) -> Option<usize> {
        self.fastest(field, ask).map(|(place, _)| place)
    }

    fn because(&self, field: &dyn Field, ask: &Ask, place: usize) -> String {
        let Some(candidate) = field.at(place) else { return String::new() };
        let (bound, load) = (self.recent.lock().bound, candidate.load());
        if ask.long {
            return format!("the tool takes long, and it has the lowest load ({load:.1})");
        }
        if heat(&candidate) <= bound {
            let slowness = candidate.slowness;
            return format!("the fastest that is not hot (latency {slowness:.2} of usual)");
        }
        format!("all are hot, and it has the lowest load ({load:.1})")
    }
}

impl Auto {
    /// The replica that takes the call, and how hot it is.
    fn fastest(&self, field: &dyn Field, ask: &Ask) -> Option<(usize, f32)> {
        let mut draws = Draws::new(ask.draw);
        let some = sample(field, SAMPLE, &mut draws);
        let place = match some.as_slice() {
            [] => return None,
            [(only, _)] => *only,
            some if ask.long => lowest(some.iter().copied(), &mut draws, |c| (c.load(), 0.0))?,
            some => {
                let bound = self.recent.lock().bound;
                let cold = some.iter().copied().filter(|(_, c)| heat(c) <= bound);
                let fastest = lowest(cold, &mut draws, |c| (c.slowness / c.warmth, c.load()));
                match fastest {
                    Some(place) => place,
                    None => lowest(some.iter().copied(), &mut draws, |c| (c.load(), c.slowness))?,
                }
            }
        };
        let heat = some.iter().find(|(known, _)| *known == place).map(|(_, c)| heat(c));
        Some((place, heat.unwrap_or(1.0)))
    }
}

/// What makes a replica hot: its calls for its share by the operator's word. How warm it is does
/// not count here. It is drawn less often and taken for slower while it warms up; if its load were
/// scaled up too, the few calls that it gets would be the highest loads of all, the bound would
/// follow them, and nobody would be hot while replicas come back.
fn heat(candidate: &Candidate) -> f32 {
    candidate.load() * candidate.warmth
}

impl Recent {
    fn note(&mut self, load: f32) {
        if let Some(slot) = self.loads.get_mut(self.next) {
            *slot = load;
        }
        self.next = (self.next + 1) % RECENT;
        self.filled = (self.filled + 1).min(RECENT);
        if self.next.is_multiple_of(FRESH) {
            self.bound = self.quantile();
        }
    }

    fn quantile(&self) -> f32 {
        let mut sorted = self.loads;
        let Some(known) = sorted.get_mut(..self.filled) else { return f32::INFINITY };
        let nth = known.len() * HOT_PERCENT / 100;
        if nth >= known.len() {
            return f32::INFINITY;
        }
        *known.select_nth_unstable_by(nth, f32::total_cmp).1
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Fleet;
    use super::*;

    fn shares(rule: &Auto, fleet: &Fleet, ask: Ask) -> Vec<usize> {
        let mut shares = vec![0; fleet.len()];
        for draw in 0..2_000 {
            shares[rule.pick(fleet, &Ask { draw, ..ask }).unwrap()] += 1;
        }
        shares
    }

    #[test]
    fn the_fastest_of_the_cold_ones_takes_the_call() {
        let (mut fleet, rule) = (Fleet::of(3), Auto::default());
        fleet.set(0, |c| c.slowness = 2.0);
        fleet.set(2, |c| c.slowness = 0.5);
        assert_eq!(shares(&rule, &fleet, Ask::default()), [0, 0, 2_000]);
    }

    #[test]
    fn a_hot_replica_is_left_out_however_fast_it_is() {
        let rule = Auto::default();
        // Usually there is one call in flight.
        let mut usual = Fleet::of(3);
        (0..3).for_each(|place| usual.set(place, |c| c.busy = 1));
        shares(&rule, &usual, Ask::default());
        let mut fleet = usual;
        fleet.set(0, |c| (c.busy, c.slowness) = (9, 0.1));
        fleet.set(1, |c| c.slowness = 3.0);
        let ask = Ask::default();
        assert_eq!(rule.pick(&fleet, &ask), Some(2));
        (0..3).for_each(|place| fleet.set(place, |c| c.busy += 20));
        fleet.set(1, |c| c.busy = 15);
        assert_eq!(rule.pick(&fleet, &ask), Some(1), "all hot: the least loaded");
    }

    #[test]
    fn replicas_that_warm_up_do_not_move_the_bound_for_the_others() {
        let (mut fleet, rule) = (Fleet::of(4), Auto::default());
        for place in 0..2 {
            fleet.set(place, |c| (c.weight, c.warmth, c.slowness) = (0.1, 0.1, 0.01));
        }
        let shares = shares(&rule, &fleet, Ask::default());
        assert_eq!(shares[0] + shares[1], 2_000, "they are the fastest by far");
        fleet.set(0, |c| c.busy = 5);
        fleet.set(1, |c| c.busy = 5);
        fleet.set(2, |c| (c.busy, c.slowness) = (5, 0.5));
        assert_eq!(rule.pick(&fleet, &Ask::default()), Some(3), "the only one that is not hot");
    }

    #[test]
    fn equal_ones_share_by_chance() {
        let shares = shares(&Auto::default(), &Fleet::of(4), Ask::default());
        assert!(shares.iter().all(|share| (420..580).contains(share)), "{shares:?}");
    }

    #[test]
    fn for_a_tool_that_takes_long_only_the_load_counts() {
        let (mut fleet, rule) = (Fleet::of(2), Auto::default());
        fleet.set(0, |c| (c.slowness, c.busy) = (0.1, 2));
        fleet.set(1, |c| (c.slowness, c.busy) = (9.0, 1));
        assert_eq!(rule.pick(&fleet, &Ask { long: true, ..Ask::default() }), Some(1));
    }

    #[test]
    fn one_that_warms_up_gets_less() {
        let (mut fleet, rule) = (Fleet::of(2), Auto::default());
        fleet.set(0, |c| (c.weight, c.warmth) = (0.1, 0.1));
        assert_eq!(rule.pick(&fleet, &Ask::default()), Some(1));
    }
}
