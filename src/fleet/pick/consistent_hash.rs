//! Pure: calls with the same key go to the same replica, as long as it has room for its share. A
//! replica that goes away moves only its own keys (highest random weight), and no key can pile more
//! than a quarter above the mean on one replica (consistent hashing with bounded loads).

use super::least_busy::LeastBusy;
use super::sample::all;
use super::{Ask, Balancer, Candidate, Field};
use crate::base::rng::Draws;

/// A replica takes so much more than the mean load, relative to its weight, before the next one in
/// line for the key is asked.
pub(super) const BOUND: f32 = 1.25;

/// The replica of the call's key. A call without the key goes to the least busy one.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConsistentHash;

impl Balancer for ConsistentHash {
    fn pick(&self, field: &dyn Field, ask: &Ask) -> Option<usize> {
        let Some(key) = ask.key else { return LeastBusy.pick(field, ask) };
        let able = all(field);
        let weights: f32 = able.iter().map(|(_, c)| c.weight).sum();
        let busy: f32 = able.iter().map(|(_, c)| c.load() * c.weight).sum();
        let bound = (busy / weights).max(1.0) * BOUND;
        let score = |(place, candidate): &&(usize, Candidate)| {
            rank(key, field.name_hash(*place), candidate.weight)
        };
        let best = |fits: &dyn Fn(&Candidate) -> bool| {
            let fitting = able.iter().filter(|(_, candidate)| fits(candidate));
            fitting.max_by(|a, b| score(a).total_cmp(&score(b))).map(|(place, _)| *place)
        };
        // The smallest possible load is one call for the weight: a light replica may have that.
        best(&|c| c.busy == 0 || c.load() <= bound).or_else(|| best(&|_| true))
    }

    fn because(&self, field: &dyn Field, ask: &Ask, place: usize) -> String {
        match ask.key {
            Some(_) => "the key of the call belongs to it".to_owned(),
            None => format!("the call has no key; {}", LeastBusy.because(field, ask, place)),
        }
    }
}

/// How much a replica wants a key: as often the highest as its weight says.
fn rank(key: u64, name: u64, weight: f32) -> f64 {
    let mut draws = Draws::new(key ^ name.rotate_left(32));
    // -weight / ln(u) orders replicas so that each comes first in proportion to its weight.
    f64::from(weight) / -draws.unit().max(f64::MIN_POSITIVE).ln()
}

#[cfg(test)]
mod tests {
    use super::super::testing::Fleet;
    use super::*;

    fn place_of(fleet: &Fleet, key: u64) -> usize {
        ConsistentHash.pick(fleet, &Ask { key: Some(key), ..Ask::default() }).unwrap()
    }

    #[test]
    fn only_the_keys_of_a_replica_that_goes_move() {
        let mut fleet = Fleet::of(5);
        let before: Vec<_> = (0..2_000).map(|key| place_of(&fleet, key)).collect();
        fleet.close(2);
        for (key, before) in before.iter().enumerate() {
            let now = place_of(&fleet, u64::try_from(key).unwrap());
            assert!(now == *before || *before == 2, "key {key} moved from {before} to {now}");
        }
        let moved = before.iter().filter(|place| **place == 2).count();
        assert!((320..480).contains(&moved), "{moved}");
    }

    #[test]
    fn keys_are_shared_by_weight() {
        let mut fleet = Fleet::of(3);
        fleet.weigh(1, 3.0);
        let heavy = (0..5_000).filter(|key| place_of(&fleet, *key) == 1).count();
        assert!((2_800..3_200).contains(&heavy), "{heavy} of 5,000 for 3 of 5");
    }

    #[test]
    fn one_hot_key_cannot_pile_up_on_one_replica() {
        let mut fleet = Fleet::of(4);
        for _ in 0..400 {
            let place = place_of(&fleet, 77);
            fleet.set(place, |c| c.busy += 1);
        }
        let most = (0..4).map(|place| fleet.at(place).unwrap().busy).max().unwrap();
        assert!(most <= 127, "{most} of 400 in flight on one of four");
        let home = place_of(&Fleet::of(4), 77);
        assert_eq!(fleet.at(home).unwrap().busy, most, "its own replica has most of it");
    }

    #[test]
    fn a_call_without_the_key_goes_to_the_least_busy() {
        let mut fleet = Fleet::of(2);
        fleet.set(0, |c| c.busy = 9);
        assert_eq!(ConsistentHash.pick(&fleet, &Ask::default()), Some(1));
    }
}
