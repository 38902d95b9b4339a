//! Pure: each replica in turn; weights are ignored.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Ask, Balancer, Field};

/// Each replica in turn.
#[derive(Debug, Default)]
pub struct RoundRobin {
    turn: AtomicUsize,
}

impl Balancer for RoundRobin {
    fn pick(&self, field: &dyn Field, _ask: &Ask) -> Option<usize> {
        whose(field, |count| self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(count))
    }

    fn peek(&self, field: &dyn Field, _ask: &Ask) -> Option<usize> {
        whose(field, |count| self.turn.load(Ordering::Relaxed).checked_rem(count))
    }

    fn because(&self, _field: &dyn Field, _ask: &Ask, _place: usize) -> String {
        "it was its turn".to_owned()
    }
}

/// Whose turn it is among those that may take the call; `turn` gets how many there are.
fn whose(field: &dyn Field, turn: impl Fn(usize) -> Option<usize>) -> Option<usize> {
    let able = |place: &usize| field.at(*place).is_some();
    let count = (0..field.len()).filter(able).count();
    (0..field.len()).filter(able).nth(turn(count)?)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Fleet;
    use super::*;

    #[test]
    fn three_replicas_share_exactly() {
        let (fleet, rule) = (Fleet::of(3), RoundRobin::default());
        let mut shares = [0; 3];
        for _ in 0..300 {
            shares[rule.pick(&fleet, &Ask::default()).unwrap()] += 1;
        }
        assert_eq!(shares, [100; 3]);
    }

    #[test]
    fn what_may_not_is_skipped_and_the_others_share_exactly() {
        let (mut fleet, rule) = (Fleet::of(4), RoundRobin::default());
        fleet.close(1);
        let mut shares = [0; 4];
        for _ in 0..300 {
            shares[rule.pick(&fleet, &Ask::default()).unwrap()] += 1;
        }
        assert_eq!(shares, [100, 0, 100, 100]);
        (0..4).for_each(|place| fleet.close(place));
        assert_eq!(rule.pick(&fleet, &Ask::default()), None);
        assert_eq!(rule.pick(&Fleet::of(0), &Ask::default()), None);
    }
}
