//! Questions that a client of a session has been asked and not answered. Each goes out under an id
//! of the session's own, on the stream of the call it belongs to (2025-11-25, transports), and its
//! answer comes back as a message of the client.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::proto::splice::Splice;
use crate::proto::{Span, id, legacy};
use crate::upstream::{Answerer, Ask};

use super::notes::Notes;

/// Most open questions of one session.
pub const ASKS_MAX: usize = 256;

/// The open questions of one session.
#[derive(Debug, Default)]
pub struct Asks {
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    answerers: HashMap<u64, Answerer>,
}

impl Asks {
    /// The client answers. What answers no open question is ignored.
    pub fn answered(&self, response: &[u8], id: Option<Span>) {
        let Some(span) = id else { return };
        let answerer = id::number(span.of(response))
            .and_then(|number| self.open.lock().answerers.remove(&number));
        if let Some(answerer) = answerer {
            answerer.answer(response, span);
        } else {
            tracing::debug!("dropped an answer of a client to no question of ours");
        }
    }
}

/// The questions of one call. What is open when it is dropped is over.
#[derive(Debug)]
pub struct CallAsks {
    asks: Arc<Asks>,
    notes: Notes,
    mine: Vec<u64>,
}

impl CallAsks {
    /// The questions of a call go where its notes go.
    pub fn new(asks: Arc<Asks>, notes: Notes) -> Self {
        Self { asks, notes, mine: Vec::new() }
    }

    /// Puts a question to the client.
    pub fn put(&mut self, ask: Ask) {
        let Ask { body, id, answerer, .. } = ask;
        let mut open = self.asks.open.lock();
        if open.answerers.len() >= ASKS_MAX {
            drop(open);
            return answerer.refuse();
        }
        open.next += 1;
        let number = open.next;
        open.answerers.insert(number, answerer);
        drop(open);
        self.mine.push(number);
        let text = number.to_string();
        let mut splice = Splice::new(&body);
        splice.put(id, text.as_bytes());
        self.notes.push_question(splice.apply_to(&body));
    }

    /// The call has its answer: questions that are still open are taken back.
    pub fn take_back(&mut self) {
        for number in std::mem::take(&mut self.mine) {
            if self.asks.open.lock().answerers.remove(&number).is_some() {
                let number = number.to_string();
                let text = legacy::cancelled(number.as_bytes(), "the call is over");
                self.notes.push(Bytes::from(text));
            }
        }
    }
}

impl Drop for CallAsks {
    fn drop(&mut self) {
        for number in &self.mine {
            // Outside of the lock: whoever asked is told.
            let answerer = self.asks.open.lock().answerers.remove(number);
            drop(answerer);
        }
    }
}
