//! Streams on which clients learn that the list of tools changed: the legacy GET stream and the
//! modern `subscriptions/listen` (2026-07-28, basic/patterns/subscriptions).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, ReusableBoxFuture};

use crate::proto::error::{ErrorBody, INVALID_PARAMS, result_message};
use crate::proto::frame::sse_event;
use crate::proto::scan::member;
use crate::proto::{meta, modern};

use super::body::Events;
use super::session::Session;

/// Longest id of a subscription in bytes: it is kept, and sent with every change.
const ID_BYTES_MAX: usize = 1_024;
/// Changes within this time are told once.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// What a `subscriptions/listen` asks for, as far as the gateway can tell it.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The raw id of the request, which names the subscription.
    pub id: Bytes,
    /// Changes of the tool list.
    pub tools: bool,
}

impl Wanted {
    /// Reads the params of a listen request.
    pub fn read(id: &[u8], params: &[u8]) -> Result<Self, ErrorBody> {
        if id.len() > ID_BYTES_MAX {
            let text = format!("the id of a subscription may have {ID_BYTES_MAX} bytes");
            return Err(ErrorBody::new(INVALID_PARAMS, text));
        }
        let wanted = member(params, "notifications").filter(|raw| raw.first() == Some(&b'{'));
        let Some(wanted) = wanted else {
            return Err(ErrorBody::new(INVALID_PARAMS, "params.notifications must be an object"));
        };
        let tools = member(wanted, "toolsListChanged") == Some(b"true");
        Ok(Self { id: Bytes::copy_from_slice(id), tools })
    }

    /// The first message of the subscription: what of it is honoured.
    pub fn acknowledged(&self) -> Vec<u8> {
        let honoured = if self.tools { json!({ "toolsListChanged": true }) } else { json!({}) };
        let params = json!({
            "notifications": honoured,
            "_meta": { meta::SUBSCRIPTION_ID: self.raw_id() },
        });
        let method = "notifications/subscriptions/acknowledged";
        json!({ "jsonrpc": "2.0", "method": method, "params": params }).to_string().into_bytes()
    }

    /// The last message: the subscription ends because we stop.
    pub fn ended(&self) -> Vec<u8> {
        let result =
            json!({ "resultType": "complete", "_meta": { meta::SUBSCRIPTION_ID: self.raw_id() } });
        result_message(&self.id, result.to_string().as_bytes())
    }

    /// One change.
    pub fn changed(&self) -> Vec<u8> {
        modern::tools_changed(Some(&self.id))
    }

    fn raw_id(&self) -> Value {
        serde_json::from_slice(&self.id).unwrap_or_default()
    }
}

/// Resolves after the next change, once for all that come shortly after it; `None` when the gateway
/// stops.
pub async fn next_change(
    mut changes: watch::Receiver<u64>,
    stop: CancellationToken,
) -> Option<watch::Receiver<u64>> {
    let changed = async {
        changes.changed().await.ok()?;
        tokio::time::sleep(DEBOUNCE).await;
        changes.mark_unchanged();
        Some(changes)
    };
    tokio::select! {
        changes = changed => changes,
        () = stop.cancelled() => None,
    }
}

/// The stream of a modern subscription.
pub struct Listening {
    wanted: Wanted,
    first: Option<Bytes>,
    next: ReusableBoxFuture<'static, Option<watch::Receiver<u64>>>,
    stop: CancellationToken,
    over: bool,
}

impl Listening {
    /// A stream whose first event is the acknowledgement.
    pub fn new(wanted: Wanted, changes: watch::Receiver<u64>, stop: CancellationToken) -> Self {
        let first = Some(sse_event(&wanted.acknowledged()));
        let next = ReusableBoxFuture::new(next_change(changes, stop.clone()));
        Self { wanted, first, next, stop, over: false }
    }
}

impl Events for Listening {
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        while !self.over {
            match self.next.poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(changes)) => {
                    self.next.set(next_change(changes, self.stop.clone()));
                    if self.wanted.tools {
                        return Poll::Ready(Some(sse_event(&self.wanted.changed())));
                    }
                }
                Poll::Ready(None) => {
                    self.over = true;
                    return Poll::Ready(Some(sse_event(&self.wanted.ended())));
                }
            }
        }
        Poll::Ready(None)
    }
}

/// Which of a session's GET streams gets the messages: each goes to exactly one (2025-11-25,
/// transports, "Multiple Connections").
#[derive(Debug, Default)]
pub struct Turn {
    next: AtomicU64,
    current: AtomicU64,
}

impl Turn {
    /// A new stream takes over.
    fn take(&self) -> u64 {
        let number = self.next.fetch_add(1, Ordering::AcqRel) + 1;
        self.current.store(number, Ordering::Release);
        number
    }

    /// Whether the stream of this number delivers; the first to ask inherits from one that closed.
    fn is_mine(&self, number: u64) -> bool {
        let inherited =
            self.current.compare_exchange(0, number, Ordering::AcqRel, Ordering::Acquire);
        inherited.is_ok() || self.current.load(Ordering::Acquire) == number
    }

    fn leave(&self, number: u64) {
        // Another stream may have taken over before; then there is nothing to leave.
        let _left = self.current.compare_exchange(number, 0, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// The legacy stream for what belongs to no request.
pub struct Standing {
    session: Arc<Session>,
    number: u64,
    next: ReusableBoxFuture<'static, Option<watch::Receiver<u64>>>,
    stop: CancellationToken,
    opened: bool,
}

/// The next change, unless the session ends or we stop.
async fn next_of(
    session: CancellationToken,
    changes: watch::Receiver<u64>,
    stop: CancellationToken,
) -> Option<watch::Receiver<u64>> {
    tokio::select! {
        changes = next_change(changes, stop) => changes,
        () = session.cancelled() => None,
    }
}

impl Standing {
    /// A stream of a session; it ends with the session or with us.
    pub fn new(
        session: Arc<Session>,
        changes: watch::Receiver<u64>,
        stop: CancellationToken,
    ) -> Self {
        let number = session.turn.take();
        session.streams.fetch_add(1, Ordering::AcqRel);
        let next = next_of(session.ended.clone(), changes, stop.clone());
        let next = ReusableBoxFuture::new(next);
        Self { session, number, next, stop, opened: false }
    }
}

impl Events for Standing {
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if !std::mem::replace(&mut self.opened, true) {
            // A first comment, so that clients that wait for a byte know that it stands.
            return Poll::Ready(Some(Bytes::from_static(b":\n\n")));
        }
        loop {
            match self.next.poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(changes)) => {
                    let (ended, stop) = (self.session.ended.clone(), self.stop.clone());
                    self.next.set(next_of(ended, changes, stop));
                    if self.session.turn.is_mine(self.number) {
                        return Poll::Ready(Some(sse_event(&modern::tools_changed(None))));
                    }
                }
            }
        }
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.session.turn.leave(self.number);
        self.session.streams.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_keeps_the_type_of_its_id_and_acknowledges_what_it_can() {
        let wanted = Wanted::read(
            b"7",
            br#"{"notifications":{"toolsListChanged":true,"promptsListChanged":true}}"#,
        )
        .unwrap();
        let ack: Value = serde_json::from_slice(&wanted.acknowledged()).unwrap();
        assert_eq!(ack["params"]["notifications"], json!({"toolsListChanged": true}));
        assert_eq!(ack["params"]["_meta"][meta::SUBSCRIPTION_ID], 7);
        assert!(Wanted::read(b"7", b"{}").is_err());
    }

    #[test]
    fn one_stream_of_a_session_delivers_and_another_inherits() {
        let turn = Turn::default();
        let (a, b) = (turn.take(), turn.take());
        assert!(!turn.is_mine(a) && turn.is_mine(b));
        turn.leave(a);
        assert!(turn.is_mine(b));
        turn.leave(b);
        assert!(turn.is_mine(a) && !turn.is_mine(b));
    }
}
