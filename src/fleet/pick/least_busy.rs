//! Pure: the replica with the fewest calls in flight for its weight; equal ones share by chance.

use super::sample::{all, lowest};
use super::{Ask, Balancer, Field};
use crate::base::rng::Draws;

/// The replica with the fewest calls in flight for its weight.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeastBusy;

impl Balancer for LeastBusy {
    fn pick(&self, field: &dyn Field, ask: &Ask) -> Option<usize> {
        lowest(all(field), &mut Draws::new(ask.draw), |candidate| (candidate.load(), 0.0))
    }

    fn because(&self, field: &dyn Field, _ask: &Ask, place: usize) -> String {
        let busy = field.at(place).map_or(0, |candidate| candidate.busy);
        format!("the fewest calls in flight for its weight ({busy})")
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Fleet;
    use super::*;

    #[test]
    fn weight_counts_and_equal_ones_share() {
        let mut fleet = Fleet::of(3);
        fleet.set(0, |c| c.busy = 1);
        fleet.set(1, |c| (c.busy, c.weight) = (3, 4.0));
        fleet.set(2, |c| c.busy = 2);
        assert_eq!(LeastBusy.pick(&fleet, &Ask::default()), Some(1));
        let even = Fleet::of(3);
        let mut shares = [0; 3];
        for draw in 0..3_000 {
            shares[LeastBusy.pick(&even, &Ask { draw, ..Ask::default() }).unwrap()] += 1;
        }
        assert!(shares.iter().all(|share| (850..1_150).contains(share)), "{shares:?}");
    }
}
