//! Which replica a call would get now, and why, without sending it and without taking a turn.

use std::time::Instant;

use super::breaker::Gate;
use super::effect::Effect;
use super::levels::Among;
use super::member::Level;
use super::pick::{Ask, Balancer, foresee};
use super::pool::Pool;
use super::seats::{Choosing, Seats};
use super::tries::Terms;
use crate::base::rng::Draws;
use crate::proto::Abilities;

/// How often it is asked, with other chance each time, to tell how likely each replica is.
pub const DRAWS: u32 = 200;
/// Why a call that only reads goes to a replica whose gate is not open.
pub(super) const PROBES: &str = "its gate lets one call find out whether it is well again";

/// Why a call goes to one that sleeps.
pub(super) const WAKES: &str = "all that could take it sleep; the call wakes one";

/// What would become of a call.
#[derive(Clone, Debug)]
pub struct Forecast {
    /// The place of the replica that is most likely; `None` if there is none.
    pub place: Option<usize>,
    /// Why it is chosen.
    pub why: String,
    /// How often each replica is chosen, in percent, by place; where chance has no part one of them
    /// has all.
    pub shares: Vec<u32>,
}

impl Pool {
    /// What would become of a call of these terms. `draw` is chance.
    pub fn forecast(&self, terms: &Terms<'_>, now: Instant, draw: u64) -> Forecast {
        let seats = self.plain_seats(Abilities::NONE);
        if let Some(place) = self.would_probe(&seats, terms, now) {
            let mut shares = vec![0; seats.len()];
            shares.get_mut(place).into_iter().for_each(|share| *share = 100);
            return Forecast { place: Some(place), why: PROBES.to_owned(), shares };
        }
        let (fits, effect) = (terms.fits, terms.effect);
        let among = Among { pool: self, seats: &seats, tried: &[], fits, effect, now };
        let balancer = terms.balancer.unwrap_or(self.balancer.as_ref());
        let pace = terms.pace.unwrap_or(&self.pace);
        let ask = Ask { draw, key: terms.key, long: pace.is_long() };
        likely(&among, balancer, &ask)
    }

    /// The place of a replica whose gate waits for a call like this one.
    fn would_probe(&self, seats: &Seats<'_>, terms: &Terms<'_>, now: Instant) -> Option<usize> {
        let reads = terms.effect == Effect::ReadOnly && self.any_not_open();
        let fits = |place: &usize| terms.fits.is_none_or(|fits| fits.contains(place));
        let waits = |place: &usize| {
            fits(place)
                && seats.get(*place).is_some_and(|member| {
                    matches!(self.look(member, now), Gate::Probing { free: true })
                        && !member.replica.is_suspect()
                        && member.has_room()
                        && member.fits(Level::AnyUp, now)
                })
        };
        (0..seats.len()).filter(|_| reads).find(waits)
    }
}

fn likely(among: &Among<'_>, balancer: &dyn Balancer, ask: &Ask) -> Forecast {
    let room = |place: usize| among.has_room(place);
    let mut draws = Draws::new(ask.draw);
    let mut counts = vec![0_u32; among.seats.len()];
    for _ in 0..DRAWS {
        let ask = Ask { draw: draws.bits(), ..*ask };
        let foreseen = |field: &Choosing<'_>| foresee(balancer, field, &room, &ask);
        let choice = among.first(foreseen).or_else(|| among.sleeper(foreseen));
        if let Some(count) = choice.and_then(|choice| counts.get_mut(choice.place)) {
            *count += 1;
        }
    }
    let most = counts.iter().max().copied().filter(|most| *most > 0);
    let place = most.and_then(|most| counts.iter().position(|count| *count == most));
    let mut why = String::new();
    if let Some(place) = place {
        let awake = among.first(|field| {
            let choice = foresee(balancer, field, &room, ask)?;
            why = balancer.because(field, ask, place);
            Some(choice)
        });
        if awake.is_none() {
            WAKES.clone_into(&mut why);
        }
    }
    let shares = counts.into_iter().map(|count| count * 100 / DRAWS).collect();
    Forecast { place, why, shares }
}
