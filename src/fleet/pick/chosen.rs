//! Pure: from a rule to a replica: those with room first, and all others only if none has any.

use super::{Ask, Balancer, Candidate, Field};

/// What was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its place.
    pub place: usize,
    /// It has room for the call now; otherwise the call waits for a place there.
    pub has_room: bool,
}

/// The replica that takes the call. `room` says whether one is below its bound of calls in flight.
pub fn choose(
    balancer: &dyn Balancer,
    field: &dyn Field,
    room: &dyn Fn(usize) -> bool,
    ask: &Ask,
) -> Option<Choice> {
    first_with_room(field, room, |field| balancer.pick(field, ask))
}

/// What [`choose`] would answer, without taking a turn.
pub fn foresee(
    balancer: &dyn Balancer,
    field: &dyn Field,
    room: &dyn Fn(usize) -> bool,
    ask: &Ask,
) -> Option<Choice> {
    first_with_room(field, room, |field| balancer.peek(field, ask))
}

fn first_with_room(
    field: &dyn Field,
    room: &dyn Fn(usize) -> bool,
    pick: impl Fn(&dyn Field) -> Option<usize>,
) -> Option<Choice> {
    let roomy = Roomy { field, room };
    if let Some(place) = pick(&roomy) {
        return Some(Choice { place, has_room: true });
    }
    Some(Choice { place: pick(field)?, has_room: false })
}

/// The replicas that have room.
struct Roomy<'a> {
    field: &'a dyn Field,
    room: &'a dyn Fn(usize) -> bool,
}

impl Field for Roomy<'_> {
    fn len(&self) -> usize {
        self.field.len()
    }

    fn at(&self, place: usize) -> Option<Candidate> {
        self.field.at(place).filter(|_| (self.room)(place))
    }

    fn heaviest(&self) -> f32 {
        self.field.heaviest()
    }

    fn label(&self, place: usize, name: &str) -> Option<&str> {
        self.field.label(place, name)
    }

    fn name_hash(&self, place: usize) -> u64 {
        self.field.name_hash(place)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Fleet;
    use super::super::{LeastBusy, RoundRobin};
    use super::*;

    #[test]
    fn one_with_room_goes_before_a_better_one_without() {
        let mut fleet = Fleet::of(2);
        fleet.set(1, |c| c.busy = 7);
        let ask = Ask::default();
        let choice = choose(&LeastBusy, &fleet, &|place| place == 1, &ask);
        assert_eq!(choice, Some(Choice { place: 1, has_room: true }));
        let choice = choose(&LeastBusy, &fleet, &|_| false, &ask);
        assert_eq!(choice, Some(Choice { place: 0, has_room: false }));
        (0..2).for_each(|place| fleet.close(place));
        assert_eq!(choose(&RoundRobin::default(), &fleet, &|_| true, &ask), None);
    }
}
