//! Who needs replicas of its own: legacy upstreams offer other things to clients that can be asked
//! for something. The first client of some abilities makes the director start them; they stay as
//! long as such clients are there.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::proto::Abilities;

/// A client without a session counts as there for so long after its last call.
pub const VISIT: Duration = Duration::from_mins(1);

/// Most demands that wait for the director.
pub const DEMANDS_MAX: usize = 64;

/// Held by every client of some abilities.
#[derive(Clone, Debug)]
pub struct Demand(#[expect(dead_code, reason = "it counts by being held")] Arc<Abilities>);

/// What the director holds of it.
#[derive(Clone, Debug)]
pub struct Wanted {
    abilities: Abilities,
    clients: Weak<Abilities>,
}

impl Wanted {
    /// For which clients.
    pub fn abilities(&self) -> Abilities {
        self.abilities
    }

    /// Whether any of them is there.
    pub fn is_alive(&self) -> bool {
        self.clients.strong_count() > 0
    }
}

/// Every demand.
#[derive(Debug)]
pub struct Demands {
    held: Mutex<HashMap<Abilities, Weak<Abilities>>>,
    /// Of clients without sessions, and when one of each kind called last.
    visits: Mutex<HashMap<Abilities, (Demand, Instant)>>,
    director: mpsc::Sender<Wanted>,
}

impl Demands {
    /// Demands that are told to a director.
    pub fn new(director: mpsc::Sender<Wanted>) -> Self {
        Self { held: Mutex::default(), visits: Mutex::default(), director }
    }

    /// A client without a session calls. It counts as there for [`VISIT`].
    pub fn visit(&self, abilities: Abilities, now: Instant) {
        // Held anew each time: the director may not have taken the last one.
        if let Some(demand) = self.hold(abilities) {
            self.visits.lock().insert(abilities, (demand, now));
        }
    }

    /// Clients without sessions that have not called for long are gone.
    pub fn sweep(&self, now: Instant) {
        self.visits.lock().retain(|_, (_, last)| now.saturating_duration_since(*last) < VISIT);
    }

    /// A client of these abilities is there as long as it holds this. One that can be asked for
    /// nothing needs nothing.
    pub fn hold(&self, abilities: Abilities) -> Option<Demand> {
        if abilities.is_empty() {
            return None;
        }
        let mut held = self.held.lock();
        if let Some(there) = held.get(&abilities).and_then(Weak::upgrade) {
            return Some(Demand(there));
        }
        let new = Arc::new(abilities);
        let clients = Arc::downgrade(&new);
        held.retain(|_, clients| clients.strong_count() > 0);
        held.insert(abilities, Weak::clone(&clients));
        if self.director.try_send(Wanted { abilities, clients }).is_err() {
            // The next client of its kind asks again; until then it sees what all see.
            held.remove(&abilities);
        }
        Some(Demand(new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_without_sessions_are_there_for_a_while_after_each_call() {
        let (sender, mut told) = mpsc::channel(4);
        let (demands, now) = (Demands::new(sender), crate::base::clock::now());
        let roots = Abilities { roots: true, ..Abilities::NONE };
        demands.visit(Abilities::NONE, now);
        demands.visit(roots, now);
        let wanted = told.try_recv().unwrap();
        demands.visit(roots, now + VISIT / 2);
        demands.sweep(now + VISIT);
        assert!(wanted.is_alive() && told.try_recv().is_err());
        demands.sweep(now + VISIT / 2 + VISIT);
        assert!(!wanted.is_alive());
    }

    #[test]
    fn a_visit_that_the_director_could_not_take_is_told_with_the_next_one() {
        let (sender, mut told) = mpsc::channel(1);
        let (demands, now) = (Demands::new(sender), crate::base::clock::now());
        let roots = Abilities { roots: true, ..Abilities::NONE };
        let form = Abilities { form: true, ..Abilities::NONE };
        demands.visit(form, now);
        demands.visit(roots, now);
        assert_eq!(told.try_recv().unwrap().abilities(), form);
        demands.visit(roots, now);
        assert_eq!(told.try_recv().unwrap().abilities(), roots);
    }

    #[test]
    fn the_first_client_of_its_kind_is_told_and_the_last_one_ends_it() {
        let (sender, mut told) = mpsc::channel(4);
        let demands = Demands::new(sender);
        let roots = Abilities { roots: true, ..Abilities::NONE };
        assert!(demands.hold(Abilities::NONE).is_none());
        let (a, b) = (demands.hold(roots), demands.hold(roots));
        let wanted = told.try_recv().unwrap();
        assert!(told.try_recv().is_err() && wanted.is_alive());
        drop(a);
        assert!(wanted.is_alive());
        drop(b);
        assert!(!wanted.is_alive());
        let _again = demands.hold(roots);
        assert_eq!(told.try_recv().unwrap().abilities(), roots);
    }
}
