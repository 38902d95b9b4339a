//! The stream on which an HTTP server tells that its tools changed: the legacy GET stream or a
//! modern `subscriptions/listen`. Lost streams are opened again; what may have been missed in
//! between counts as a change.

use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use hyper::body::Incoming as Body;
use serde_json::Value;

use crate::base::{Fault, clock, rng};
use crate::proto::answer::{Incoming, read};
use crate::proto::frame::SseFramer;
use crate::proto::{Era, Method, modern};

use super::http::{EVENT_BYTES_MAX, HttpLink};

/// First wait before a lost stream is opened again.
const REOPEN_BASE: Duration = Duration::from_secs(1);
/// Longest wait before a lost stream is opened again.
const REOPEN_MAX: Duration = Duration::from_mins(1);

/// The stream of one server.
#[derive(Debug)]
pub struct Changes<'a> {
    link: &'a HttpLink,
    us: &'a Value,
    open: Option<(Body, SseFramer)>,
    failures: u32,
    reopen_at: Instant,
    /// The server has no such stream.
    refused: bool,
}

impl<'a> Changes<'a> {
    /// Not open yet.
    pub fn new(link: &'a HttpLink, us: &'a Value) -> Self {
        Self { link, us, open: None, failures: 0, reopen_at: clock::now(), refused: false }
    }

    /// Resolves when the tools may have changed. A server without such a stream never resolves.
    /// May be dropped and called again.
    pub async fn next(&mut self) {
        loop {
            if self.refused {
                return std::future::pending().await;
            }
            if self.open.is_none() {
                self.reopen().await;
                if self.open.is_some() {
                    return; // what changed before it stood was told to nobody
                }
            } else if self.read().await {
                return;
            }
        }
    }

    /// Opens the stream, waiting as long as it takes, or finds that there is none.
    async fn reopen(&mut self) {
        // The time stands in `self`, because this future may be dropped and made again.
        tokio::time::sleep_until(self.reopen_at.into()).await;
        let doubled = REOPEN_BASE.saturating_mul(1 << self.failures.min(6));
        let wait = rng::jitter(doubled.min(REOPEN_MAX), 20, rng::draw());
        self.failures += 1;
        self.reopen_at = clock::now() + wait;
        match self.request().await {
            Ok(Some(body)) => self.open = Some((body, SseFramer::new(EVENT_BYTES_MAX))),
            Ok(None) => self.refused = true,
            Err(fault) => tracing::debug!(%fault, "could not open the stream of changes"),
        }
    }

    async fn request(&self) -> Result<Option<Body>, Fault> {
        match self.link.dialect().era {
            Era::Legacy => self.link.open_stream().await,
            Era::Modern => {
                let number = self.link.number();
                self.link.open_listen(modern::listen_request(number, self.us)).await
            }
        }
    }

    /// Reads until a change is told or the stream ends. Answers whether a change was told.
    async fn read(&mut self) -> bool {
        let Some((body, framer)) = &mut self.open else {
            return false;
        };
        loop {
            while let Some(event) = framer.next_event() {
                let Ok(event) = event else { break };
                self.failures = 0;
                if let Ok(Incoming::Note { method: Method::ToolsChanged, .. }) = read(&event.data) {
                    return true;
                }
            }
            if let Some(Ok(frame)) = body.frame().await {
                if let Ok(data) = frame.into_data() {
                    framer.push(data);
                }
            } else {
                self.open = None;
                return false;
            }
        }
    }
}
