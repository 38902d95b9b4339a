//! The messages of a standing stream: events, or lines where a server calls lines one JSON document.

use crate::egress::Body;
use bytes::Bytes;
use http_body_util::BodyExt as _;

use crate::proto::frame::{FrameError, LineFramer, SseFramer};

use super::http::EVENT_BYTES_MAX;

/// A stream of messages.
#[derive(Debug)]
pub struct Messages {
    body: Body,
    framer: Framer,
}

#[derive(Debug)]
enum Framer {
    Events(SseFramer),
    Lines(LineFramer),
}

impl Messages {
    /// The messages of a body.
    pub fn new(body: Body, lines: bool) -> Self {
        let framer = if lines {
            Framer::Lines(LineFramer::new(EVENT_BYTES_MAX))
        } else {
            Framer::Events(SseFramer::new(EVENT_BYTES_MAX))
        };
        Self { body, framer }
    }

    /// The next message; `None` at the end of the stream, or when it cannot go on. May be dropped
    /// and called again.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            match self.framer.next() {
                Some(Ok(message)) if message.is_empty() => continue,
                Some(Ok(message)) => return Some(message),
                Some(Err(error)) => {
                    tracing::debug!(%error, "a stream of changes cannot go on");
                    return None;
                }
                None => {}
            }
            let frame = self.body.frame().await?.ok()?;
            if let Ok(data) = frame.into_data() {
                self.framer.push(data);
            }
        }
    }
}

impl Framer {
    fn push(&mut self, data: Bytes) {
        match self {
            Self::Events(framer) => framer.push(data),
            Self::Lines(framer) => framer.push(data),
        }
    }

    fn next(&mut self) -> Option<Result<Bytes, FrameError>> {
        match self {
            Self::Events(framer) => framer.next_event().map(|event| event.map(|e| e.data)),
            Self::Lines(framer) => framer.next_line(),
        }
    }
}
