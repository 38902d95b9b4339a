//! Pure: the lowest tier that has a replica for the call, and `auto` within it.

use super::auto::Auto;
use super::{Ask, Balancer, Candidate, Field};

/// The lowest tier first.
#[derive(Debug, Default)]
pub struct Priority {
    within: Auto,
}

impl Balancer for Priority {
    fn pick(&self, field: &dyn Field, ask: &Ask) -> Option<usize> {
        let tier = lowest_tier(field)?;
        self.within.pick(&Tier { field, tier }, ask)
    }

    fn peek(&self, field: &dyn Field, ask: &Ask) -> Option<usize> {
        let tier = lowest_tier(field)?;
        self.within.peek(&Tier { field, tier }, ask)
    }

    fn because(&self, field: &dyn Field, ask: &Ask, place: usize) -> String {
        let tier = field.at(place).map_or(0, |candidate| candidate.tier);
        let within = self.within.because(&Tier { field, tier }, ask, place);
        format!("tier {tier} comes first; {within}")
    }
}

fn lowest_tier(field: &dyn Field) -> Option<u32> {
    (0..field.len()).filter_map(|place| field.at(place)).map(|candidate| candidate.tier).min()
}

/// The replicas of one tier.
struct Tier<'a> {
    field: &'a dyn Field,
    tier: u32,
}

impl Field for Tier<'_> {
    fn len(&self) -> usize {
        self.field.len()
    }

    fn at(&self, place: usize) -> Option<Candidate> {
        self.field.at(place).filter(|candidate| candidate.tier == self.tier)
    }

    fn heaviest(&self) -> f32 {
        self.field.heaviest()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Fleet;
    use super::*;

    #[test]
    fn a_higher_tier_is_used_only_when_the_lower_one_is_gone() {
        let (mut fleet, rule) = (Fleet::of(3), Priority::default());
        fleet.set(0, |c| (c.tier, c.busy) = (0, 50));
        fleet.set(1, |c| c.tier = 1);
        fleet.set(2, |c| c.tier = 1);
        let pick = |fleet: &Fleet, draw| rule.pick(fleet, &Ask { draw, ..Ask::default() }).unwrap();
        assert!((0..100).all(|draw| pick(&fleet, draw) == 0));
        fleet.close(0);
        let seconds = (0..100).filter(|draw| pick(&fleet, *draw) == 2).count();
        assert!((20..80).contains(&seconds), "{seconds}");
    }
}
