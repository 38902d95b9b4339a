//! Pure: a replica by chance, as likely as its weight.

use super::sample::all;
use super::{Ask, Balancer, Field};
use crate::base::rng::Draws;

/// A replica by chance.
#[derive(Clone, Copy, Debug, Default)]
pub struct Random;

impl Balancer for Random {
    fn pick(&self, field: &dyn Field, ask: &Ask) -> Option<usize> {
        let able = all(field);
        let total: f64 = able.iter().map(|(_, candidate)| f64::from(candidate.weight)).sum();
        let mut left = Draws::new(ask.draw).unit() * total;
        for (place, candidate) in &able {
            left -= f64::from(candidate.weight);
            if left < 0.0 {
                return Some(*place);
            }
        }
        able.last().map(|(place, _)| *place)
    }

    fn because(&self, _field: &dyn Field, _ask: &Ask, _place: usize) -> String {
        "by chance".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Fleet;
    use super::*;

    #[test]
    fn chances_are_the_weights() {
        let mut fleet = Fleet::of(3);
        fleet.weigh(2, 2.0);
        fleet.close(0);
        let mut shares = [0; 3];
        for draw in 0..3_000 {
            shares[Random.pick(&fleet, &Ask { draw, ..Ask::default() }).unwrap()] += 1;
        }
        assert_eq!(shares[0], 0);
        assert!((900..1_100).contains(&shares[1]), "{shares:?}");
    }
}
