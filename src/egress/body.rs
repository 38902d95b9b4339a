//! What a server answers, as it comes in.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use crate::base::Fault;

use super::classify;
use super::pool::{Pool, SiteId};
use super::wire::Wire;

/// The body of an answer. While it is not at its end it owns the connection and moves it when it is
/// polled; at its end the connection is kept for the next request. Dropping it earlier closes the
/// connection. Trailers are left out: nobody here reads them.
pub struct Body {
    state: State,
}

enum State {
    /// All of it is here. `None` = it has been taken.
    Here(Option<Bytes>),
    /// It still comes.
    Coming(Coming),
}

struct Coming {
    incoming: Incoming,
    wire: Box<Wire>,
    pool: Arc<Pool>,
    site: SiteId,
}

impl Body {
    /// The body behind a head that just came over `wire`.
    pub(super) fn new(
        mut incoming: Incoming,
        wire: Box<Wire>,
        pool: &Arc<Pool>,
        site: SiteId,
    ) -> Self {
        // Taking a piece tells the connection to go on. That shall wake nobody, see `poll_data`.
        wire.rest();
        if !wire.is_free() {
            let pool = Arc::clone(pool);
            return Self { state: State::Coming(Coming { incoming, wire, pool, site }) };
        }
        // Nothing is outstanding: what there is came with the head, in one piece. It is taken
        // before the pool has the connection, which would be found disturbed there.
        let piece = match next(&mut incoming) {
            Poll::Ready(Some(Ok(frame))) => frame.into_data().ok(),
            _ => None,
        };
        pool.give(site, wire);
        Self { state: State::Here(piece) }
    }
}

/// What the connection has handed over so far. Whoever calls has moved the connection or will do
/// it: nobody needs to be woken.
fn next(incoming: &mut Incoming) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
    Pin::new(incoming).poll_frame(&mut Context::from_waker(Waker::noop()))
}

impl Coming {
    /// The next piece; `None` at the end.
    fn poll_data(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        // Taking a piece tells the connection to go on. That is done below, not by waking.
        self.wire.rest();
        let mut moved = false;
        loop {
            match next(&mut self.incoming) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    let cause = self.wire.failure().unwrap_or(&error);
                    return Poll::Ready(Some(Err(classify::broken_body(cause))));
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending if moved => return Poll::Pending,
                Poll::Pending => {
                    self.wire.advance(cx);
                    moved = true;
                }
            }
        }
    }

    /// Keeps the connection if it can be used again.
    fn end(self) {
        if self.wire.is_free() {
            self.pool.give(self.site, self.wire);
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let coming = match &mut self.state {
            State::Here(data) => return Poll::Ready(data.take().map(|data| Ok(Frame::data(data)))),
            State::Coming(coming) => coming,
        };
        let Poll::Ready(piece) = coming.poll_data(cx) else {
            return Poll::Pending;
        };
        let last = match &piece {
            Some(Ok(_)) => coming.wire.is_free(),
            Some(Err(_)) | None => true,
        };
        if last && let State::Coming(done) = std::mem::replace(&mut self.state, State::Here(None)) {
            done.end();
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Here(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Here(None) => SizeHint::with_exact(0),
            State::Here(Some(data)) => {
                SizeHint::with_exact(u64::try_from(data.len()).unwrap_or(u64::MAX))
            }
            State::Coming(coming) => coming.incoming.size_hint(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Here(_) => "Body(here)",
            State::Coming(_) => "Body(coming)",
        })
    }
}
