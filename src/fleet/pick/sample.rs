//! Pure: looks at a few replicas instead of at all of them.

use smallvec::SmallVec;

use super::{Candidate, Field};
use crate::base::rng::Draws;

/// Up to so many replicas are all looked at; of more, so many are drawn.
pub(super) const SAMPLE: usize = 8;
/// Draws for one replica of the sample before all are looked at: when many may not take the call,
/// drawing is slower than walking.
const DRAWS_EACH: usize = 4;

/// Replicas with their places.
pub(super) type Sample = SmallVec<[(usize, Candidate); SAMPLE]>;

/// All replicas that may take the call, up to `size` of them; of more, `size` drawn by weight and
/// without repetition.
pub(super) fn sample(field: &dyn Field, size: usize, draws: &mut Draws) -> Sample {
    let count = field.len();
    if count <= SAMPLE {
        return shrunk(all(field), size, draws);
    }
    let mut sample = Sample::new();
    let heaviest = f64::from(field.heaviest());
    for _ in 0..size * DRAWS_EACH {
        if sample.len() == size {
            return sample;
        }
        let place = draws.below(count);
        if sample.iter().any(|(known, _)| *known == place) {
            continue;
        }
        let Some(candidate) = field.at(place) else { continue };
        // By weight: a light one is passed over as often as it is lighter than the heaviest.
        let weight = f64::from(candidate.weight);
        if weight >= heaviest || weight >= heaviest * draws.unit() {
            sample.push((place, candidate));
        }
    }
    if sample.is_empty() { shrunk(all(field), size, draws) } else { sample }
}

/// Every replica that may take the call.
pub(super) fn all(field: &dyn Field) -> Sample {
    (0..field.len()).filter_map(|place| Some((place, field.at(place)?))).collect()
}

/// `size` of them at random.
fn shrunk(mut all: Sample, size: usize, draws: &mut Draws) -> Sample {
    while all.len() > size {
        let gone = draws.below(all.len());
        all.swap_remove(gone);
    }
    all
}

/// The place whose value is lowest; equal ones share by chance.
pub(super) fn lowest(
    some: impl IntoIterator<Item = (usize, Candidate)>,
    draws: &mut Draws,
    value: impl Fn(&Candidate) -> (f32, f32),
) -> Option<usize> {
    let mut best: Option<((f32, f32), usize)> = None;
    let mut equals = 0_usize;
    for (place, candidate) in some {
        let value = value(&candidate);
        let order = best
            .map(|(best, _)| value.0.total_cmp(&best.0).then_with(|| value.1.total_cmp(&best.1)));
        match order {
            None | Some(std::cmp::Ordering::Less) => {
                (best, equals) = (Some((value, place)), 1);
            }
            Some(std::cmp::Ordering::Equal) => {
                equals += 1;
                if draws.below(equals) == 0 {
                    best = Some((value, place));
                }
            }
            Some(std::cmp::Ordering::Greater) => {}
        }
    }
    best.map(|(_, place)| place)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Fleet;
    use super::*;

    #[test]
    fn a_sample_holds_no_replica_twice_and_none_that_may_not() {
        let mut fleet = Fleet::of(100);
        for gone in 0..60 {
            fleet.close(gone);
        }
        let mut draws = Draws::new(3);
        let mut seen = [0_u32; 100];
        for _ in 0..2_000 {
            let sample = sample(&fleet, SAMPLE, &mut draws);
            assert!((1..=SAMPLE).contains(&sample.len()));
            for (nth, (place, _)) in sample.iter().enumerate() {
                assert!(*place >= 60);
                assert!(sample[nth + 1..].iter().all(|(other, _)| other != place));
                seen[*place] += 1;
            }
        }
        assert!(seen[60..].iter().all(|seen| *seen > 100), "{seen:?}");
    }

    #[test]
    fn heavier_ones_are_drawn_as_often_as_they_are_heavier() {
        let mut fleet = Fleet::of(40);
        (0..20).for_each(|place| fleet.weigh(place, 4.0));
        let mut draws = Draws::new(9);
        let mut hits = [0_u32; 2];
        for _ in 0..4_000 {
            for (place, _) in sample(&fleet, 2, &mut draws) {
                hits[usize::from(place >= 20)] += 1;
            }
        }
        let ratio = f64::from(hits[0]) / f64::from(hits[1]);
        assert!((3.0..5.0).contains(&ratio), "{ratio}");
    }

    #[test]
    fn nobody_left_is_nobody_drawn() {
        let mut fleet = Fleet::of(30);
        (0..30).for_each(|place| fleet.close(place));
        assert!(sample(&fleet, SAMPLE, &mut Draws::new(1)).is_empty());
        fleet.open(17);
        let found = sample(&fleet, SAMPLE, &mut Draws::new(1));
        assert_eq!(found.iter().map(|(place, _)| *place).collect::<Vec<_>>(), [17]);
    }
}
