//! A response body of prepared bytes with an id put in.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};

/// Up to this length one copy is cheaper than a second buffer in the write.
const COPY_MAX: usize = 16 << 10;

/// One or two pieces; a large tail is shared, never copied.
#[derive(Default)]
pub(crate) struct Spliced(VecDeque<Bytes>);

impl Spliced {
    pub(crate) fn new(head: &str, id: &str, tail: Bytes) -> Self {
        let small = tail.len() <= COPY_MAX;
        let extra = if small { tail.len() } else { 0 };
        let mut start = BytesMut::with_capacity(head.len() + id.len() + extra);
        start.put_slice(head.as_bytes());
        start.put_slice(id.as_bytes());
        if small {
            start.put_slice(&tail);
            Self(VecDeque::from([start.freeze()]))
        } else {
            Self(VecDeque::from([start.freeze(), tail]))
        }
    }

    fn length(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }
}

impl Body for Spliced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        // Known exactly, so the reply has a Content-Length and is not chunked.
        SizeHint::with_exact(u64::try_from(self.length()).unwrap_or(u64::MAX))
    }
}
