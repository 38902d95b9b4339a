//! What a client is told while its call runs. It is put in only while the call's future is polled,
//! and taken out by the one who polls it: no wake-up is needed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

/// Most notifications that wait for a slow client; the oldest goes first.
pub const NOTES_MAX: usize = 64;
/// Most bytes of notifications that wait for a slow client.
pub const NOTES_BYTES_MAX: usize = 1024 * 1024;

/// The messages for the client of one call. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Notes(Arc<Mutex<Queue>>);

/// A message that waits.
#[derive(Clone, Debug)]
pub enum Waiting {
    /// May be dropped.
    Note(Bytes),
    /// Must reach the client.
    Question(Bytes),
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Waiting>,
    notes: usize,
    note_bytes: usize,
    away: Option<Duration>,
}

impl Queue {
    fn take(&mut self, place: usize) -> Option<Waiting> {
        let message = self.messages.remove(place)?;
        if let Waiting::Note(note) = &message {
            self.notes -= 1;
            self.note_bytes -= note.len();
        }
        Some(message)
    }

    fn drop_oldest_note(&mut self) {
        let is_note = |message: &Waiting| matches!(message, Waiting::Note(_));
        let oldest = self.messages.iter().position(is_note);
        drop(oldest.and_then(|place| self.take(place)));
    }
}

impl Notes {
    /// Puts a notification in. A slow client loses the oldest.
    pub fn push(&self, note: Bytes) {
        let mut queue = self.0.lock();
        queue.notes += 1;
        queue.note_bytes += note.len();
        queue.messages.push_back(Waiting::Note(note));
        while queue.notes > 1 && (queue.notes > NOTES_MAX || queue.note_bytes > NOTES_BYTES_MAX) {
            queue.drop_oldest_note();
        }
    }

    /// Puts a question in, which is never lost: their number is bounded for each call.
    pub fn push_question(&self, question: Bytes) {
        self.0.lock().messages.push_back(Waiting::Question(question));
    }

    /// Takes the oldest out, knowing whether it may be dropped.
    pub fn next(&self) -> Option<Waiting> {
        self.0.lock().take(0)
    }

    /// Takes the oldest out.
    pub fn pop(&self) -> Option<Bytes> {
        self.next().map(|message| match message {
            Waiting::Note(bytes) | Waiting::Question(bytes) => bytes,
        })
    }

    /// Nothing comes for so long: the upstream ended its stream for now.
    pub fn away(&self, wait: Duration) {
        self.0.lock().away = Some(wait);
    }

    /// Whether that is so.
    pub fn is_away(&self) -> bool {
        self.0.lock().away.is_some()
    }

    /// Takes that out.
    pub fn take_away(&self) -> Option<Duration> {
        self.0.lock().away.take()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.0.lock().messages.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_client_loses_the_oldest_notes_and_never_a_question() {
        let notes = Notes::default();
        notes.push_question(Bytes::from_static(b"?"));
        for i in 0..=NOTES_MAX {
            notes.push(Bytes::from(i.to_string()));
        }
        assert_eq!(notes.pop().unwrap(), "?");
        assert_eq!(notes.pop().unwrap(), "1");
        assert_eq!(std::iter::from_fn(|| notes.pop()).count(), NOTES_MAX - 1);
        assert!(notes.is_empty());
    }

    #[test]
    fn large_notes_are_bounded_by_their_bytes() {
        let notes = Notes::default();
        let large = Bytes::from(vec![b'x'; NOTES_BYTES_MAX / 2]);
        for _ in 0..10 {
            notes.push(large.clone());
        }
        assert_eq!(std::iter::from_fn(|| notes.pop()).count(), 2);
        notes.push(Bytes::from(vec![b'x'; 2 * NOTES_BYTES_MAX]));
        assert!(notes.pop().is_some(), "one alone always waits");
    }
}
