//! The replicas as one client finds them, and as a balancer sees them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::member::{Level, Member};
use super::pick::{Candidate, Field};
use super::pool::Pool;
use crate::proto::Abilities;
use crate::upstream::Replica;
use crate::upstream::replica::State;

/// Replicas for clients of some ability, in the order of the replicas for everybody beside which
/// they stand; `None` where those serve all clients alike.
pub(super) type Able = HashMap<Abilities, Vec<Option<Arc<Member>>>>;

/// The replicas as one client finds them: the one for its own abilities in each place where there
/// is one that is up, or sleeps.
pub(super) struct Seats<'a> {
    pub(super) members: &'a [Arc<Member>],
    pub(super) able: Option<Arc<Able>>,
    pub(super) abilities: Abilities,
    /// There is one, and it is the client session's or the call's alone.
    pub(super) own: bool,
}

impl<'a> Seats<'a> {
    /// One that nobody else has.
    pub(super) fn alone(member: &'a [Arc<Member>; 1]) -> Self {
        Self { members: member, able: None, abilities: Abilities::NONE, own: true }
    }
}

impl Seats<'_> {
    /// Whether it was decided which replicas these clients have.
    pub(super) fn is_known(&self) -> bool {
        self.able.as_ref().is_none_or(|able| able.contains_key(&self.abilities))
    }

    fn own(&self) -> &[Option<Arc<Member>>] {
        let able = self.able.as_ref().and_then(|able| able.get(&self.abilities));
        able.map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn get(&self, place: usize) -> Option<&Arc<Member>> {
        let own = self.own().get(place).and_then(Option::as_ref);
        own.filter(|own| own.replica.is_usable()).or_else(|| self.members.get(place))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Member>> {
        (0..self.members.len()).filter_map(|place| self.get(place))
    }

    /// Whether any of them takes calls.
    pub(super) fn is_up(&self) -> bool {
        self.iter().any(|member| member.replica.is_up())
    }

    /// Whether one for the client's own abilities starts for the first time.
    pub(super) fn any_new(&self) -> bool {
        self.own().iter().flatten().any(|own| own.replica.is_new())
    }

    /// Whether a call is early: nothing is up that could take it, or not yet its own, and it is
    /// about to be. Where something sleeps it need not wait for what starts.
    pub(super) fn is_early(&self) -> bool {
        if self.is_up() {
            return self.any_new();
        }
        let any = |state| self.iter().any(|member| member.replica.state() == state);
        any(State::Starting) && !any(State::Asleep)
    }

    /// Replicas that satisfy a condition, of those that were not tried.
    pub(super) fn count(&self, tried: &[usize], fits: impl Fn(&Replica) -> bool) -> usize {
        let fresh = |(place, member): &(usize, &Arc<Member>)| {
            !tried.contains(place) && fits(&member.replica)
        };
        self.iter().enumerate().filter(fresh).count()
    }
}

/// The replicas that may take one call, as a balancer sees them.
pub(super) struct Choosing<'a> {
    pub(super) pool: &'a Pool,
    pub(super) seats: &'a Seats<'a>,
    pub(super) level: Level,
    pub(super) tried: &'a [usize],
    /// The ones that may take it; `None` = all.
    pub(super) fits: Option<&'a [usize]>,
    pub(super) now: Instant,
}

impl Field for Choosing<'_> {
    fn len(&self) -> usize {
        self.seats.len()
    }

    fn at(&self, place: usize) -> Option<Candidate> {
        if self.tried.contains(&place) || self.fits.is_some_and(|fits| !fits.contains(&place)) {
            return None;
        }
        let member = self.seats.get(place)?;
        if !member.is_settled() {
            self.pool.look(member, self.now);
        }
        member.candidate(self.level, self.now)
    }

    fn heaviest(&self) -> f32 {
        self.pool.heaviest
    }

    fn label(&self, place: usize, name: &str) -> Option<&str> {
        self.seats.get(place)?.label(name)
    }

    fn name_hash(&self, place: usize) -> u64 {
        self.seats.get(place).map_or(0, |member| member.name_hash)
    }
}
