//! A call over HTTP while it runs: whether it is answered by a document or a stream, the events of
//! that stream, and what becomes of it when its client hangs up.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use crate::base::{Tasks, clock};
use crate::gateway::{self, Reply};
use crate::proto::Version;
use crate::proto::frame::sse_event;

use super::body::Events;
use super::notes::Notes;
use super::replay::Track;
use super::session::Session;

/// A call that was silent for so long is answered as a stream, so that nobody on the way gives up.
const QUIET_MAX: Duration = Duration::from_secs(10);

/// A call; it answers nothing if its client cancelled it.
pub(super) type CallFuture = Pin<Box<dyn Future<Output = Option<Reply>> + Send>>;

/// How a call is answered.
pub(super) enum First {
    /// By a document; nothing if its client cancelled it.
    Reply(Option<Reply>),
    /// By a stream.
    Streams,
}

/// A call while it runs. Dropped, it is cancelled; a legacy one runs on.
pub(super) struct Running {
    call: Option<CallFuture>,
    left_behind: Option<Tasks>,
    notes: Notes,
    /// Where its stream is kept for a client that comes back to it.
    track: Option<Arc<Track>>,
    /// What its stream begins with.
    first: Option<Bytes>,
}

impl Running {
    /// A call whose notes are these. `left_behind` runs it on if its client hangs up.
    pub(super) fn new(call: CallFuture, left_behind: Option<Tasks>, notes: Notes) -> Self {
        Self { call: Some(call), left_behind, notes, track: None, first: None }
    }

    /// Its stream can be taken up again: its events have ids.
    pub(super) fn may_come_back(&mut self, session: &Session, replayed: &Arc<AtomicUsize>) {
        let track = session.replay.open(replayed, clock::now());
        // Earlier revisions have no events without data.
        self.first = (session.version >= Version::V2025_11_25).then(|| track.priming());
        self.track = Some(track);
    }

    fn event(&self, message: &[u8]) -> Bytes {
        self.track.as_ref().map_or_else(|| sse_event(message), |track| track.write(message))
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Reply>> {
        let Some(call) = &mut self.call else { return Poll::Ready(None) };
        let reply = call.as_mut().poll(context);
        if reply.is_ready() {
            self.call = None;
        }
        reply
    }

    /// Waits until it is clear how to answer: at once, or by a stream.
    pub(super) async fn first(&mut self) -> First {
        let settled = poll_fn(|context| match self.poll(context) {
            Poll::Ready(reply) => Poll::Ready(First::Reply(reply)),
            Poll::Pending if !self.notes.is_empty() => Poll::Ready(First::Streams),
            Poll::Pending => Poll::Pending,
        });
        let first = tokio::time::timeout(QUIET_MAX, settled).await.unwrap_or(First::Streams);
        match first {
            // Notes that came together with the reply go before it.
            First::Reply(Some(reply)) if !self.notes.is_empty() => {
                self.call = Some(Box::pin(std::future::ready(Some(reply))));
                First::Streams
            }
            other => other,
        }
    }
}

impl Events for Running {
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        loop {
            if let Some(note) = self.notes.pop() {
                return Poll::Ready(Some(self.event(&note)));
            }
            if self.call.is_none() {
                return Poll::Ready(None);
            }
            let Poll::Ready(reply) = self.poll(context) else {
                if self.notes.is_empty() {
                    return Poll::Pending;
                }
                continue;
            };
            match reply {
                // What came together with the reply goes before it.
                Some(reply) if !self.notes.is_empty() => {
                    self.call = Some(Box::pin(std::future::ready(Some(reply))));
                }
                Some(Reply { message: gateway::Message::Whole(message), .. }) => {
                    return Poll::Ready(Some(self.event(&message)));
                }
                // An event is one line: a large answer must be whole before it can be one.
                Some(reply) => {
                    let whole = async { Some(Reply::ok(reply.whole(None).await)) };
                    self.call = Some(Box::pin(whole));
                }
                None => {}
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let track = self.track.take();
        let (Some(call), Some(tasks)) = (self.call.take(), self.left_behind.take()) else {
            if let Some(track) = track {
                track.over(clock::now());
            }
            return;
        };
        let notes = self.notes.clone();
        let mut rest = Self { call: Some(call), left_behind: None, notes, track, first: None };
        tasks.spawn(async move {
            // Its client may come back for what it tells.
            while poll_fn(|context| rest.poll_event(context)).await.is_some() {}
        });
    }
}

/// A stream that ends at once.
pub(super) struct Nothing;

impl Events for Nothing {
    fn poll_event(&mut self, _: &mut Context<'_>) -> Poll<Option<Bytes>> {
        Poll::Ready(None)
    }
}
