//! One legacy session: a stdio process after `initialize`, or an `Mcp-Session-Id` on HTTP.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::inflight::Inflight;

/// Sessions kept at the same time; one more ends the oldest.
const SESSIONS_MAX: usize = 1000;

/// What a legacy session remembers between messages.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: String,
    /// What the client declared in `initialize`.
    pub(super) capabilities: Value,
    pub(super) inflight: Arc<Inflight>,
    /// Requests of ours that the client has not answered yet, by id.
    pub(super) asks: Mutex<HashMap<String, oneshot::Sender<Value>>>,
    /// List changes not told yet. Whoever holds the lock tells them: one stream at a time.
    pub(super) changes: tokio::sync::Mutex<watch::Receiver<usize>>,
    /// Stops the GET stream that is open now.
    stream: Mutex<CancellationToken>,
    /// Set once somebody tells list changes on stdio.
    telling: AtomicBool,
    pub(super) ended: CancellationToken,
}

// === impl Session ===

impl Session {
    pub(super) fn new(capabilities: Value, changes: watch::Receiver<usize>) -> Self {
        Self {
            id: new_id(),
            capabilities,
            inflight: Arc::default(),
            asks: Mutex::default(),
            changes: tokio::sync::Mutex::new(changes),
            stream: Mutex::default(),
            telling: AtomicBool::new(false),
            ended: CancellationToken::new(),
        }
    }

    /// The turn of a new GET stream; the one before ends, so a reconnect never has to wait.
    pub(super) fn next_stream(&self) -> CancellationToken {
        let turn = self.ended.child_token();
        std::mem::replace(&mut *self.stream.lock(), turn.clone()).cancel();
        turn
    }

    /// True for the first who asks.
    pub(super) fn starts_telling(&self) -> bool {
        !self.telling.swap(true, Ordering::Relaxed)
    }

    /// Hands the client's answer to whoever asked; nobody may, by now.
    pub(super) fn answered(&self, id: &Value, body: Value) {
        let asker = self.asks.lock().remove(&id.to_string());
        if let Some(asker) = asker {
            drop(asker.send(body));
        }
    }

    /// Ends it, and all that runs in it.
    pub(super) fn end(&self) {
        self.ended.cancel();
        self.inflight.cancel_all();
    }
}

/// Keys of the standard hasher are random per process: hard enough to guess for a loopback demo.
fn new_id() -> String {
    let (one, two) = (RandomState::new(), RandomState::new());
    format!("{:016x}{:016x}", one.hash_one(std::process::id()), two.hash_one(0_u8))
}

/// The sessions of an HTTP server.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    by_id: HashMap<String, Arc<Session>>,
    oldest_first: VecDeque<String>,
}

// === impl Sessions ===

impl Sessions {
    pub(super) fn get(&self, id: &str) -> Option<Arc<Session>> {
        self.0.lock().by_id.get(id).cloned()
    }

    pub(super) fn insert(&self, session: &Arc<Session>) {
        let mut table = self.0.lock();
        table.by_id.insert(session.id.clone(), Arc::clone(session));
        table.oldest_first.push_back(session.id.clone());
        let excess = table.by_id.len() > SESSIONS_MAX;
        let oldest = if excess { table.oldest_first.pop_front() } else { None };
        let oldest = oldest.and_then(|id| table.by_id.remove(&id));
        drop(table);
        if let Some(oldest) = oldest {
            oldest.end();
        }
    }

    /// False if there was none.
    pub(super) fn remove(&self, id: &str) -> bool {
        let mut table = self.0.lock();
        let removed = table.by_id.remove(id);
        table.oldest_first.retain(|known| known != id);
        drop(table);
        removed.inspect(|session| session.end()).is_some()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn session() -> Arc<Session> {
        Arc::new(Session::new(json!({}), watch::channel(0).1))
    }

    #[test]
    fn a_removed_session_is_over() {
        let (sessions, session) = (Sessions::default(), session());
        sessions.insert(&session);
        assert!(sessions.get(&session.id).is_some());
        assert!(sessions.remove(&session.id));
        assert!(session.ended.is_cancelled());
        assert!(sessions.get(&session.id).is_none());
        assert!(!sessions.remove(&session.id));
    }

    #[test]
    fn one_too_many_ends_the_oldest() {
        let (sessions, first) = (Sessions::default(), session());
        sessions.insert(&first);
        for _ in 0..SESSIONS_MAX {
            sessions.insert(&session());
        }
        assert!(first.ended.is_cancelled());
        assert!(sessions.get(&first.id).is_none());
        assert_eq!(sessions.0.lock().by_id.len(), SESSIONS_MAX);
    }

    #[test]
    fn a_new_stream_ends_the_one_before() {
        let session = session();
        let (one, two) = (session.next_stream(), session.next_stream());
        assert!(one.is_cancelled());
        assert!(!two.is_cancelled());
        session.end();
        assert!(two.is_cancelled());
    }
}
