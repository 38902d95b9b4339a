//! Pure: calls on a pipe that were given up, and may ask all the same. Their child may have put a
//! question before it heard that nobody waits any more. A question carries no link to its call, so
//! while one may come, the next one could be meant for them: it must not reach somebody else.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::proto::{Abilities, Method};

/// The question of a call that was given up may come so long after that: twice as long as a child
/// that reads nothing lives.
pub const GHOST_FOR: Duration = Duration::from_secs(10);

/// What calls that were given up could be asked, and when the last one of each kind was. There are as
/// many kinds as sets of abilities, which are few.
#[derive(Debug, Default)]
pub struct Ghosts {
    given_up: HashMap<Abilities, Instant>,
}

impl Ghosts {
    /// A call of a client that can be asked this was given up.
    pub fn note(&mut self, abilities: Abilities, now: Instant) {
        if !abilities.is_empty() {
            self.given_up.insert(abilities, now);
        }
    }

    /// Whether a question may be one of theirs.
    pub fn may_ask(&mut self, method: Method, url: bool, now: Instant) -> bool {
        self.any(now) && self.given_up.keys().any(|abilities| abilities.allow(method, url))
    }

    /// Whether any question may be one of theirs.
    pub fn any(&mut self, now: Instant) -> bool {
        self.given_up.retain(|_, at| now.saturating_duration_since(*at) < GHOST_FOR);
        !self.given_up.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    #[test]
    fn a_call_that_was_given_up_may_ask_for_a_while_what_its_client_could_be_asked() {
        let (mut ghosts, now) = (Ghosts::default(), clock::now());
        let roots = Abilities { roots: true, ..Abilities::NONE };
        ghosts.note(Abilities::NONE, now);
        assert!(!ghosts.may_ask(Method::RootsList, false, now));
        ghosts.note(roots, now);
        assert!(ghosts.may_ask(Method::RootsList, false, now));
        assert!(!ghosts.may_ask(Method::Elicit, false, now) && ghosts.any(now));
        ghosts.note(roots, now + GHOST_FOR / 2);
        assert!(ghosts.may_ask(Method::RootsList, false, now + GHOST_FOR));
        assert!(!ghosts.may_ask(Method::RootsList, false, now + GHOST_FOR / 2 + GHOST_FOR));
        assert!(ghosts.given_up.is_empty());
    }
}
