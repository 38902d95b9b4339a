//! Which replica asked a client for input. What it needs to go on may be in its memory, so the
//! request that brings the answers goes back there, as long as that replica takes calls (2026-07-28,
//! basic/patterns/mrtr, leaves open whether another one could go on). The server's `requestState`
//! passes as it is, and is known again by its hash.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::pool::Pool;
use super::seats::Seats;
use crate::base::clock;
use crate::proto::scan::{member, unquote};
use crate::upstream::{Done, Replica, Request};

/// Most states of one upstream that are known: the oldest gives way.
const ASKED_MAX: usize = 4_096;
/// A state is known for so long: as long as a legacy server waits for its client.
const ASKED_FOR: Duration = Duration::from_mins(10);

/// Who gave which state out.
#[derive(Debug)]
pub(super) struct Asked<T> {
    keys: RandomState,
    by: HashMap<u64, (Instant, T)>,
    /// The oldest first; a state that was given out again stands here twice.
    order: VecDeque<(Instant, u64)>,
}

impl<T> Default for Asked<T> {
    fn default() -> Self {
        Self { keys: RandomState::new(), by: HashMap::new(), order: VecDeque::new() }
    }
}

impl<T: Clone> Asked<T> {
    /// A state was given out.
    fn note(&mut self, state: &str, by: T, now: Instant) {
        let key = self.keys.hash_one(state);
        self.by.insert(key, (now, by));
        self.order.push_back((now, key));
        while self.order.front().is_some_and(|(at, _)| self.is_old(*at, now)) {
            let Some((at, key)) = self.order.pop_front() else { return };
            if self.by.get(&key).is_some_and(|(noted, _)| *noted == at) {
                self.by.remove(&key);
            }
        }
    }

    /// Who gave it out.
    fn recall(&self, state: &str, now: Instant) -> Option<T> {
        let (at, by) = self.by.get(&self.keys.hash_one(state))?;
        (now.saturating_duration_since(*at) < ASKED_FOR).then(|| by.clone())
    }

    fn is_old(&self, at: Instant, now: Instant) -> bool {
        self.order.len() > ASKED_MAX || now.saturating_duration_since(at) >= ASKED_FOR
    }
}

impl Pool {
    /// Notes who answered, if the answer is a question that belongs to a state.
    pub(super) fn note_asked(&self, replica: &Arc<Replica>, done: &Done) {
        if !done.asks() || self.replicas.len() < 2 {
            return;
        }
        let state = done.result().and_then(|result| member(result, "requestState"));
        if let Some(state) = state.and_then(unquote) {
            self.asked.lock().note(&state, Arc::downgrade(replica), clock::now());
        }
    }

    /// The place of the replica that asked what this request answers.
    pub(super) fn asked_by(&self, request: &Request<'_>, seats: &Seats<'_>) -> Option<usize> {
        let shape = request.shape;
        if !shape.answers {
            return None;
        }
        let state = member(shape.params?.of(request.body), "requestState").and_then(unquote)?;
        let by = self.asked.lock().recall(&state, clock::now()).as_ref().and_then(Weak::upgrade)?;
        seats.iter().position(|member| Arc::ptr_eq(&member.replica, &by))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_leads_back_to_who_gave_it_out_last_for_as_long_as_a_client_may_think() {
        let (mut asked, start) = (Asked::default(), clock::now());
        asked.note("s", 1, start);
        asked.note("t", 2, start);
        assert_eq!(asked.recall("s", start), Some(1));
        assert_eq!(asked.recall("other", start), None);
        let later = start + ASKED_FOR / 2;
        asked.note("s", 3, later);
        let over = start + ASKED_FOR;
        assert_eq!((asked.recall("s", over), asked.recall("t", over)), (Some(3), None));
        // What is old is let go, and not what was given out again since.
        asked.note("u", 4, over);
        assert_eq!((asked.by.len(), asked.order.len()), (2, 2));
        assert_eq!(asked.recall("s", over), Some(3));
        assert_eq!(asked.recall("s", later + ASKED_FOR), None);
    }

    #[test]
    fn the_table_is_bounded() {
        let (mut asked, now) = (Asked::default(), clock::now());
        for number in 0..=ASKED_MAX {
            asked.note(&number.to_string(), number, now);
        }
        // All came at one moment: an entry of that moment goes with its place in the order.
        assert_eq!((asked.by.len(), asked.order.len()), (ASKED_MAX, ASKED_MAX));
        assert_eq!((asked.recall("0", now), asked.recall("1", now)), (None, Some(1)));
    }
}
