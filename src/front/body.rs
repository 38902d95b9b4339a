//! Bodies of our HTTP answers: one document, or a stream of events with keep-alive comments.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use crate::base::{Fault, clock};
use crate::upstream::large::Mended;

/// A stream that was silent for so long sends a comment.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The comment.
const COMMENT: Bytes = Bytes::from_static(b":\n\n");

/// What a stream yields, and the end of it with `None`.
pub trait Events: Send {
    /// The next event as it goes over the wire.
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>>;
}

/// The body of an answer.
pub enum Answer {
    /// One document.
    Whole(Full<Bytes>),
    /// A stream of events.
    Stream(Stream),
    /// One large document, which still comes in.
    Coming(Box<Mended>),
}

/// A document that broke off on its way: the connection is closed, so that nobody takes what has
/// come for all of it.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off: {0}")]
pub struct BrokenOff(Fault);

/// A stream of events.
pub struct Stream {
    events: Box<dyn Events>,
    silence: Pin<Box<Sleep>>,
    over: bool,
    _held: Held,
}

impl Stream {
    /// A stream that holds its places while it lives.
    pub fn new(events: impl Events + 'static, held: Held) -> Self {
        let silence = Box::pin(tokio::time::sleep(KEEP_ALIVE));
        Self { events: Box::new(events), silence, over: false, _held: held }
    }
}

impl Answer {
    /// One document.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(Full::new(bytes.into()))
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match self.get_mut() {
            Self::Whole(full) => Pin::new(full).poll_frame(context).map_err(|never| match never {}),
            Self::Coming(mended) => mended
                .poll_piece(context)
                .map(|next| next.map(|piece| piece.map(Frame::data).map_err(BrokenOff))),
            Self::Stream(stream) => {
                stream.poll(context).map(|next| next.map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(full) => full.is_end_stream(),
            Self::Stream(stream) => stream.over,
            Self::Coming(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(full) => full.size_hint(),
            Self::Stream(_) | Self::Coming(_) => SizeHint::default(),
        }
    }
}

impl Stream {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.over {
            return Poll::Ready(None);
        }
        if let Poll::Ready(event) = self.events.poll_event(context) {
            self.over = event.is_none();
            self.rest();
            return Poll::Ready(event);
        }
        if self.silence.as_mut().poll(context).is_ready() {
            self.rest();
            // The new timer must know whom to wake.
            if self.silence.as_mut().poll(context).is_pending() {
                return Poll::Ready(Some(COMMENT));
            }
        }
        Poll::Pending
    }

    fn rest(&mut self) {
        let until = tokio::time::Instant::from_std(clock::now() + KEEP_ALIVE);
        self.silence.as_mut().reset(until);
    }
}

/// Counts something while it lives.
#[derive(Debug)]
pub struct Counted(Arc<AtomicUsize>);

impl Counted {
    /// Counts one more, unless `max` are there already.
    pub fn enter(count: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        let entered = Self(Arc::clone(count));
        if count.fetch_add(1, Ordering::AcqRel) >= max {
            return None; // dropping `entered` takes it back
        }
        Some(entered)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The places that a call or a stream takes while it lives.
#[derive(Debug, Default)]
pub struct Held {
    /// Among all.
    pub all: Option<Counted>,
    /// Among those of its principal.
    pub own: Option<Counted>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    struct After(Pin<Box<Sleep>>);

    impl Events for After {
        fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
            self.0.as_mut().poll(context).map(|()| None)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_stream_sends_a_comment_every_15_seconds() {
        let events = After(Box::pin(tokio::time::sleep(Duration::from_secs(40))));
        let mut answer = Answer::Stream(Stream::new(events, Held::default()));
        let mut comments = 0;
        while let Some(Ok(frame)) = answer.frame().await {
            assert_eq!(frame.into_data().unwrap(), COMMENT);
            comments += 1;
        }
        assert_eq!(comments, 2);
    }

    #[test]
    fn a_count_is_bounded_and_given_back() {
        let count = Arc::new(AtomicUsize::new(0));
        let first = Counted::enter(&count, 1);
        assert!(first.is_some() && Counted::enter(&count, 1).is_none());
        drop(first);
        assert_eq!(count.load(Ordering::Acquire), 0);
    }
}
