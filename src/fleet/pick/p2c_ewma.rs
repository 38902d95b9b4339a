//! Pure: the better of two replicas drawn by weight, by latency times load. The latency is
//! normalised by tool: raw latency would send the calls of fast tools away from every replica that
//! happens to run a slow one.

use super::sample::{lowest, sample};
use super::{Ask, Balancer, Field};
use crate::base::rng::Draws;

/// The better of two.
#[derive(Clone, Copy, Debug, Default)]
pub struct P2cEwma;

impl Balancer for P2cEwma {
    fn pick(&self, field: &dyn Field, ask: &Ask) -> Option<usize> {
        let mut draws = Draws::new(ask.draw);
        let two = sample(field, 2, &mut draws);
        lowest(two, &mut draws, |c| (c.slowness * c.load(), c.load()))
    }

    fn because(&self, field: &dyn Field, _ask: &Ask, place: usize) -> String {
        field.at(place).map_or_else(String::new, |c| {
            format!("the better of two (latency {:.2} of usual, {} in flight)", c.slowness, c.busy)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Fleet;
    use super::*;

    #[test]
    fn of_two_the_better_one_is_taken_always_and_of_three_the_worst_never() {
        let mut fleet = Fleet::of(3);
        fleet.set(0, |c| c.slowness = 3.0);
        fleet.set(1, |c| c.busy = 1);
        let mut shares = [0; 3];
        for draw in 0..3_000 {
            shares[P2cEwma.pick(&fleet, &Ask { draw, ..Ask::default() }).unwrap()] += 1;
        }
        assert_eq!(shares[0], 0, "the slowest of three wins against nobody: {shares:?}");
        assert!((1_800..2_200).contains(&shares[2]), "{shares:?}");
    }
}
