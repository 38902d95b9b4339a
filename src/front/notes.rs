//! Notifications for a client that come while its call runs. They are put in only while the call's
//! future is polled, and taken out by the one who polls it: no wake-up is needed.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

/// Most notifications that wait for a slow client; the oldest goes first.
pub const NOTES_MAX: usize = 64;

/// The notifications of one call. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Notes(Arc<Mutex<VecDeque<Bytes>>>);

impl Notes {
    /// Puts one in.
    pub fn push(&self, note: Bytes) {
        let mut notes = self.0.lock();
        if notes.len() >= NOTES_MAX {
            notes.pop_front();
        }
        notes.push_back(note);
    }

    /// Takes the oldest out.
    pub fn pop(&self) -> Option<Bytes> {
        self.0.lock().pop_front()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_client_loses_the_oldest_notes_and_memory_stays_bounded() {
        let notes = Notes::default();
        for i in 0..=NOTES_MAX {
            notes.push(Bytes::from(i.to_string()));
        }
        assert_eq!(notes.pop().unwrap(), "1");
        assert_eq!(std::iter::from_fn(|| notes.pop()).count(), NOTES_MAX - 1);
    }
}
