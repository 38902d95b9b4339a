//! One connection and the one exchange on it. No task stands behind it: whoever waits for the
//! answer moves the connection too, so a call costs no hop between tasks, and dropping the call
//! closes the connection.

use std::future::{Future as _, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use parking_lot::Mutex;

use super::dial::Stream;

/// A connection with the end that requests go in at.
pub(super) struct Wire {
    sender: SendRequest<Full<Bytes>>,
    /// `None` once it has ended. What waits for it inside hyper is then told.
    connection: Option<Connection<Stream, Full<Bytes>>>,
    /// Why it ended, if that was a failure.
    failure: Option<hyper::Error>,
    signal: Arc<Signal>,
    /// Wakes `signal`.
    waker: Waker,
}

/// Why a request got no answer.
pub(super) enum Failed {
    /// The connection had ended before; nothing of the request was written, and here it is again.
    Unsent(hyper::Error, Box<Request<Full<Bytes>>>),
    /// It may have been written.
    Broken(hyper::Error),
}

impl Wire {
    pub(super) async fn new(stream: Stream) -> hyper::Result<Box<Self>> {
        let (sender, connection) = handshake(stream).await?;
        let signal = Arc::new(Signal::default());
        let waker = Waker::from(Arc::clone(&signal));
        let connection = Some(connection);
        Ok(Box::new(Self { sender, connection, failure: None, signal, waker }))
    }

    /// Sends one request and waits for the head of its answer. A connection that was closed while
    /// nobody looked is noticed here: reading comes before writing.
    pub(super) async fn exchange(
        mut self: Box<Self>,
        request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, Box<Self>), Failed> {
        // Unconstrained: it is polled with a waker that wakes nobody, so a pause for the sake of
        // other tasks would never end. The connection itself does take such pauses.
        let response = tokio::task::unconstrained(self.sender.try_send_request(request));
        let mut response = pin!(response);
        let answered = poll_fn(|cx| {
            self.advance(cx);
            // Only the connection, just polled, resolves this: it needs no waker of its own.
            response.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        });
        match answered.await {
            Ok(response) => Ok((response, self)),
            Err(mut unanswered) => Err(match unanswered.take_message() {
                Some(request) => Failed::Unsent(unanswered.into_error(), Box::new(request)),
                None => Failed::Broken(unanswered.into_error()),
            }),
        }
    }

    /// Moves the connection on; the task of `cx` is woken when it can move again.
    pub(super) fn advance(&mut self, cx: &Context<'_>) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        self.signal.tell(cx.waker());
        let moved = Pin::new(connection).poll(&mut Context::from_waker(&self.waker));
        if let Poll::Ready(ended) = moved {
            self.connection = None;
            self.failure = ended.err();
        }
    }

    /// Why the connection ended, if that was a failure.
    pub(super) fn failure(&self) -> Option<&hyper::Error> {
        self.failure.as_ref()
    }

    /// Whether the last exchange is over, both ways, and another may follow.
    pub(super) fn is_free(&self) -> bool {
        self.connection.is_some() && self.sender.is_ready()
    }

    /// Forgets the task that waited: from now on nobody is woken.
    pub(super) fn rest(&self) {
        self.signal.rest();
    }

    /// Whether anything happened to it since it was left to rest. Nothing should: the other side
    /// has closed it or speaks out of turn.
    pub(super) fn has_stirred(&self) -> bool {
        self.signal.stirred.load(Ordering::Relaxed)
    }
}

/// Who is woken when the connection can move. The connection always sees the same waker, so it
/// keeps no reference to a task that has gone on to other things, and what this side does to it
/// between two polls wakes nobody.
#[derive(Default)]
struct Signal {
    task: Mutex<Option<Waker>>,
    stirred: AtomicBool,
}

impl Signal {
    fn tell(&self, waker: &Waker) {
        let mut task = self.task.lock();
        match &mut *task {
            Some(known) => known.clone_from(waker),
            None => *task = Some(waker.clone()),
        }
    }

    fn rest(&self) {
        self.stirred.store(false, Ordering::Relaxed);
        // Not dropped under the lock: it may be the last reference to a task.
        let task = self.task.lock().take();
        drop(task);
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let task = self.task.lock().take();
        match task {
            Some(task) => task.wake(),
            None => self.stirred.store(true, Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wire_may_be_held_by_any_task() {
        fn held_anywhere<T: Send + Sync>() {}
        held_anywhere::<Wire>();
    }

    #[test]
    fn only_who_waits_is_woken() {
        let signal = Arc::new(Signal::default());
        let waiting = Arc::new(Signal::default());
        signal.tell(&Waker::from(Arc::clone(&waiting)));
        assert_eq!(Arc::strong_count(&waiting), 2);
        signal.rest();
        assert_eq!(Arc::strong_count(&waiting), 1, "forgotten");
        signal.wake_by_ref();
        assert!(signal.stirred.load(Ordering::Relaxed));
        assert!(!waiting.stirred.load(Ordering::Relaxed));
        signal.tell(&Waker::from(Arc::clone(&waiting)));
        signal.wake_by_ref();
        assert!(waiting.stirred.load(Ordering::Relaxed));
    }
}
