//! Pure: smooth weighted round robin. Each replica gains its weight at every call, the one that has
//! most takes the call and pays the weights of all: shares are exact, and calls of one replica do
//! not come in bursts.

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::sample::all;
use super::{Ask, Balancer, Field};

/// Each replica as often as its weight says.
#[derive(Debug, Default)]
pub struct Weighted {
    credit: Mutex<Credit>,
}

/// What each replica has gained and not spent, by place.
type Credit = SmallVec<[f32; 8]>;

impl Balancer for Weighted {
    fn pick(&self, field: &dyn Field, _ask: &Ask) -> Option<usize> {
        turn(&mut self.credit.lock(), field)
    }

    fn peek(&self, field: &dyn Field, _ask: &Ask) -> Option<usize> {
        let mut credit = self.credit.lock().clone();
        turn(&mut credit, field)
    }

    fn because(&self, field: &dyn Field, _ask: &Ask, place: usize) -> String {
        let weight = field.at(place).map_or(0.0, |candidate| candidate.weight);
        format!(
            "its weight is {weight} of {}",
            all(field).iter().map(|(_, c)| c.weight).sum::<f32>()
        )
    }
}

/// Gives the turn to whoever has gained most.
fn turn(credit: &mut Credit, field: &dyn Field) -> Option<usize> {
    let able = all(field);
    credit.resize(field.len(), 0.0);
    let total: f32 = able.iter().map(|(_, candidate)| candidate.weight).sum();
    let mut best: Option<(f32, usize)> = None;
    for (place, candidate) in &able {
        let own = credit.get_mut(*place)?;
        // What was gained while nobody else could is not spent at once later.
        *own = (*own + candidate.weight).min(total);
        if best.is_none_or(|(most, _)| *own > most) {
            best = Some((*own, *place));
        }
    }
    let (_, place) = best?;
    if let Some(own) = credit.get_mut(place) {
        *own -= total;
    }
    Some(place)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Fleet;
    use super::*;

    fn shares(fleet: &Fleet, rule: &Weighted, calls: usize) -> Vec<usize> {
        let mut shares = vec![0; fleet.len()];
        for _ in 0..calls {
            shares[rule.pick(fleet, &Ask::default()).unwrap()] += 1;
        }
        shares
    }

    #[test]
    fn shares_are_the_weights_and_calls_are_spread() {
        let mut fleet = Fleet::of(3);
        fleet.weigh(0, 5.0);
        let rule = Weighted::default();
        let order: Vec<_> = (0..7).map(|_| rule.pick(&fleet, &Ask::default()).unwrap()).collect();
        assert_eq!(order, [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(shares(&fleet, &rule, 700), [500, 100, 100]);
    }

    #[test]
    fn the_last_one_left_takes_all_and_then_shares_at_once() {
        let (mut fleet, rule) = (Fleet::of(2), Weighted::default());
        fleet.close(0);
        assert_eq!(shares(&fleet, &rule, 50), [0, 50]);
        fleet.open(0);
        assert_eq!(shares(&fleet, &rule, 10), [5, 5]);
    }
}
