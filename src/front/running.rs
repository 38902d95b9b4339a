//! A call over HTTP while it runs: whether it is answered by a document or a stream, the events of
//! that stream, and what becomes of it when its client hangs up.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::base::{Tasks, clock};
use crate::gateway::{self, Reply};
use crate::proto::frame::sse_event;

use super::body::Events;
use super::notes::Notes;
use super::parting::{COME_BACK, parting};
use super::replay::{Track, retry};
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
    /// Its client comes back to a stream that ends before the answer.
    polls: bool,
    /// Where its stream is kept for a client that comes back to it.
    track: Option<Arc<Track>>,
    /// What its stream begins with.
    first: Option<Bytes>,
    /// Since when its stream is open, if it may end before the answer.
    opened: Option<Instant>,
    /// It has.
    parted: bool,
}

impl Running {
    /// A call whose notes are these. `left_behind` runs it on if its client hangs up; one that
    /// `polls` comes back to a stream that ends before the answer.
    pub(super) fn new(
        call: CallFuture,
        left_behind: Option<Tasks>,
        notes: Notes,
        polls: bool,
    ) -> Self {
        let (track, first, opened) = (None, None, None);
        let call = Some(call);
        Self { call, left_behind, notes, polls, track, first, opened, parted: false }
    }

    /// Its stream can be taken up again: its events have ids.
    pub(super) fn may_come_back(&mut self, session: &Session, replayed: &Arc<AtomicUsize>) {
        let now = clock::now();
        let track = session.replay.open(replayed, now);
        if self.polls {
            (self.first, self.opened) = (Some(track.anchor(0)), Some(now));
        }
        self.track = Some(track);
    }

    /// There is nothing to say: the stream stays open, or ends until its client comes back to it.
    /// This is asked at least as often as a silent stream sends a comment.
    fn rest(&mut self) -> Poll<Option<Bytes>> {
        let kept = self.track.as_ref().filter(|track| track.is_kept());
        let Some((opened, track)) = self.opened.zip(kept) else { return Poll::Pending };
        let open = clock::now().saturating_duration_since(opened);
        let Some(wait) = parting(open, self.notes.take_away()) else { return Poll::Pending };
        track.expect_back();
        self.parted = true;
        Poll::Ready((wait != COME_BACK).then(|| retry(wait)))
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
            Poll::Pending if self.polls && self.notes.is_away() => Poll::Ready(First::Streams),
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
        if self.parted {
            return Poll::Ready(None);
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
                    return self.rest();
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
        let mut rest = Self::new(call, None, self.notes.clone(), false);
        rest.track = track;
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

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::front::body::{Answer, Held, KEEP_ALIVE, Stream};
    use crate::front::parting::STREAM_MAX;
    use crate::front::replay::TRACKS_MAX;
    use crate::gateway::Gateway;
    use crate::telemetry::Meters;

    /// All events that are written to a stream.
    async fn written(events: impl Events + 'static) -> String {
        let mut answer = Answer::Stream(Stream::new(events, Held::default()));
        let mut all = Vec::new();
        while let Some(Ok(frame)) = answer.frame().await {
            let written = frame.into_data().unwrap();
            // All but comments.
            all.extend(written.iter().filter(|_| !written.starts_with(b":")));
        }
        String::from_utf8(all).unwrap()
    }

    fn silent() -> Session {
        Session::silent(&Gateway::bare(&Meters::new()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_open_for_long_ends_and_its_call_goes_on_for_a_client_that_polls() {
        for polls in [true, false] {
            let (session, tasks) = (silent(), Tasks::new());
            let answer = STREAM_MAX * 2 + KEEP_ALIVE * 4;
            let call = Box::pin(async move {
                tokio::time::sleep(answer).await;
                Some(Reply::ok("done"))
            });
            let (began, all) = (clock::now(), Arc::default());
            let since = || clock::now() - began;
            let mut running = Running::new(call, Some(tasks), Notes::default(), polls);
            running.may_come_back(&session, &all);
            let first = written(running).await;
            if !polls {
                assert_eq!(first, "id: 1-1\ndata: done\n\n");
                assert_eq!(since(), answer);
                continue;
            }
            assert_eq!(first, "id: 1-0\nretry: 1000\ndata:\n\n");
            assert!((STREAM_MAX..STREAM_MAX + KEEP_ALIVE).contains(&since()));
            let back = || {
                let opened = Some(clock::now());
                written(session.replay.after("1-0", CancellationToken::new(), opened).unwrap())
            };
            assert_eq!(back().await, first, "once more for nothing");
            assert!(since() < answer);
            assert_eq!(back().await, format!("{first}id: 1-1\ndata: done\n\n"));
            assert_eq!(since(), answer);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_with_that_of_its_upstream_unless_nothing_of_it_is_kept() {
        for lost in [false, true] {
            let (session, all) = (silent(), Arc::default());
            let notes = Notes::default();
            let upstream = notes.clone();
            let call = Box::pin(async move {
                upstream.away(Duration::from_secs(7));
                tokio::time::sleep(Duration::from_secs(8)).await;
                Some(Reply::ok("done"))
            });
            let mut running = Running::new(call, Some(Tasks::new()), notes, true);
            assert!(matches!(running.first().await, First::Streams));
            running.may_come_back(&session, &all);
            if lost {
                for _ in 0..TRACKS_MAX {
                    session.replay.open(&all, clock::now());
                }
            }
            let rest = if lost { "id: 1-1\ndata: done\n\n" } else { "retry: 7000\n\n" };
            let expected = format!("id: 1-0\nretry: 1000\ndata:\n\n{rest}");
            assert_eq!(written(running).await, expected, "{lost}");
        }
    }
}
