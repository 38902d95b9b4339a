//! Where the messages of one call go: the one writer of stdio, or the answer of one HTTP request.

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::mpsc;

/// One thing to put on the wire.
#[derive(Debug)]
pub(super) enum Frame {
    /// A notification, or a request of ours: more will follow.
    Message(Value),
    /// The answer: nothing follows for this request.
    Last(Value),
    /// Bytes as they are, for the faults that are no JSON.
    Raw(Bytes),
}

/// The sending half; the receiving half belongs to the transport.
#[derive(Debug, Clone)]
pub(super) struct Outlet(mpsc::Sender<Frame>);

/// Frames that may wait before the sender has to.
const FRAMES_MAX: usize = 64;

/// An outlet and what comes out of it.
pub(super) fn pair() -> (Outlet, mpsc::Receiver<Frame>) {
    let (sender, receiver) = mpsc::channel(FRAMES_MAX);
    (Outlet(sender), receiver)
}

// === impl Outlet ===

impl Outlet {
    /// False once the peer is gone. Most callers do not care: nobody is left to tell.
    pub(super) async fn send(&self, frame: Frame) -> bool {
        self.0.send(frame).await.is_ok()
    }

    /// Resolves when nobody reads any more.
    pub(super) async fn gone(&self) {
        self.0.closed().await;
    }
}
