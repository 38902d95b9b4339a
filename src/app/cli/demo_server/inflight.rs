//! The requests being answered on one channel, so that the client can cancel them by id.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// The requests of one channel: a stdio process or a legacy session.
#[derive(Debug, Default)]
pub(super) struct Inflight(Mutex<HashMap<String, CancellationToken>>);

/// The place of one request in the table; dropping it frees the place.
#[derive(Debug)]
pub(super) struct Ticket {
    table: Arc<Inflight>,
    key: String,
    token: CancellationToken,
}

// === impl Inflight ===

impl Inflight {
    /// Taken before the request's task starts, or a cancel right behind it would find nothing.
    pub(super) fn enter(self: &Arc<Self>, id: &Value) -> Ticket {
        let (key, token) = (id.to_string(), CancellationToken::new());
        self.0.lock().insert(key.clone(), token.clone());
        Ticket { table: Arc::clone(self), key, token }
    }

    /// Cancels a request. Unknown and finished ids are ignored, as the protocol wants.
    pub(super) fn cancel(&self, id: &Value) {
        if let Some(token) = self.0.lock().get(&id.to_string()) {
            token.cancel();
        }
    }

    /// Cancels all: the session is over.
    pub(super) fn cancel_all(&self) {
        self.0.lock().values().for_each(CancellationToken::cancel);
    }
}

// === impl Ticket ===

impl Ticket {
    pub(super) async fn cancelled(&self) {
        self.token.cancelled().await;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.table.0.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_of_another_type_are_other_requests() {
        let table = Arc::new(Inflight::default());
        let (number, text) = (table.enter(&json!(1)), table.enter(&json!("1")));
        table.cancel(&json!("1"));
        assert!(!number.token.is_cancelled());
        assert!(text.token.is_cancelled());
    }

    #[test]
    fn a_finished_request_leaves_nothing_behind() {
        let table = Arc::new(Inflight::default());
        drop(table.enter(&json!(1)));
        table.cancel(&json!(1));
        assert!(table.0.lock().is_empty());
    }
}
