//! Which replicas are looked at first. One order for calls and for explanations.

use std::time::Instant;

use super::effect::Effect;
use super::member::Level;
use super::pick::Choice;
use super::pool::Pool;
use super::seats::{Choosing, Seats};

/// Who may take a call, and since when it is asked.
#[derive(Clone, Copy)]
pub(super) struct Among<'a> {
    pub(super) pool: &'a Pool,
    pub(super) seats: &'a Seats<'a>,
    /// Places that were tried.
    pub(super) tried: &'a [usize],
    /// The places that may take it; `None` = all.
    pub(super) fits: Option<&'a [usize]>,
    pub(super) effect: Effect,
    pub(super) now: Instant,
}

impl Among<'_> {
    /// Asks for a replica among those that are well, then among those in doubt, and last, where a
    /// call can be repeated and few are well, among all that are up.
    pub(super) fn first(
        &self,
        mut at: impl FnMut(&Choosing<'_>) -> Option<Choice>,
    ) -> Option<Choice> {
        let mut level = |level| at(&self.of(level));
        if let Some(choice) = level(Level::Well).or_else(|| level(Level::Doubtful)) {
            return Some(choice);
        }
        let panic = self.effect.is_repeatable() && self.pool.is_panicking(self.now);
        if panic { level(Level::AnyUp) } else { None }
    }

    /// Asks for a replica to wake: first among those that wake up already.
    pub(super) fn sleeper(
        &self,
        mut at: impl FnMut(&Choosing<'_>) -> Option<Choice>,
    ) -> Option<Choice> {
        at(&self.of(Level::Waking)).or_else(|| at(&self.of(Level::Asleep)))
    }

    fn of(&self, level: Level) -> Choosing<'_> {
        let Self { pool, seats, tried, fits, effect: _, now } = *self;
        Choosing { pool, seats, level, tried, fits, now }
    }

    /// Whether there is room at a place.
    pub(super) fn has_room(&self, place: usize) -> bool {
        self.seats.get(place).is_some_and(|m| m.has_room())
    }
}
