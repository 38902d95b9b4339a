//! Streams of calls that a legacy client may come back to (2025-11-25, transports, "Resumability and
//! Redelivery"). Each event has an id: the number of its stream in the session, and its place there.
//! What was sent is kept for a while, and a stream that lost its client goes on being written here.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::base::clock;
use crate::proto::frame::sse_event_with;

use super::body::Events;
use super::parting::{COME_BACK, parting};

/// Most streams of one session that are kept. Last to give way is one whose client is to come back,
/// first one that is over, then the oldest.
pub const TRACKS_MAX: usize = 16;
/// Most that is kept of one stream, in bytes; the oldest events give way. The newest one stays
/// where the client is to come back for it.
pub const TRACK_BYTES_MAX: usize = 1024 * 1024;
/// Most that is kept of all streams of all sessions, in bytes; whoever writes gives way.
pub const REPLAY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A stream that is over is kept so long.
pub const KEPT_FOR: Duration = Duration::from_mins(1);

/// The streams of one session.
#[derive(Debug, Default)]
pub struct Replay {
    tracks: Mutex<Tracks>,
}

#[derive(Debug, Default)]
struct Tracks {
    count: u64,
    /// The oldest first.
    kept: VecDeque<Arc<Track>>,
}

/// One stream.
#[derive(Debug)]
pub struct Track {
    number: u64,
    kept: Mutex<Kept>,
    written: Notify,
    /// Its client has no other stream of this call: it was sent away, or has come back.
    expected: AtomicBool,
    /// It gave way to others.
    lost: AtomicBool,
    /// What is kept of all streams, in bytes.
    all: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Ready events with their places, counted from 1.
    events: VecDeque<(u64, Bytes)>,
    bytes: usize,
    last: u64,
    over: Option<Instant>,
}

/// What follows on an event.
enum Next {
    Event(u64, Bytes),
    /// Nothing yet.
    Wait,
    Over,
}

impl Replay {
    /// A new stream. `all` counts the bytes that are kept of all streams of all sessions.
    pub fn open(&self, all: &Arc<AtomicUsize>, now: Instant) -> Arc<Track> {
        let mut tracks = self.tracks.lock();
        tracks.forget(now);
        if tracks.kept.len() >= TRACKS_MAX {
            tracks.give_way();
        }
        tracks.count += 1;
        let number = tracks.count;
        let (kept, written, all) = (Mutex::default(), Notify::new(), Arc::clone(all));
        let (expected, lost) = Default::default();
        let track = Arc::new(Track { number, kept, written, expected, lost, all });
        tracks.kept.push_back(Arc::clone(&track));
        track
    }

    /// What follows on the event of this id, until the stream is over or `ended`; `None` if that is
    /// not kept. `opened` = now, if the client comes back to a stream that ends before that.
    pub fn after(
        &self,
        id: &str,
        ended: CancellationToken,
        opened: Option<Instant>,
    ) -> Option<Resumed> {
        let (number, place) = id.split_once('-')?;
        let (number, place): (u64, u64) = (number.parse().ok()?, place.parse().ok()?);
        let tracks = self.tracks.lock();
        let track = tracks.kept.iter().find(|track| track.number == number)?;
        let kept = track.kept.lock().has(place);
        kept.then(|| Resumed::new(Arc::clone(track), place, ended, opened))
    }

    /// Forgets streams that have been over for long.
    pub fn sweep(&self, now: Instant) {
        self.tracks.lock().forget(now);
    }
}

impl Tracks {
    /// Forgets the one that will be missed least.
    fn give_way(&mut self) {
        let rank = |track: &Arc<Track>| (track.is_expected(), track.kept.lock().over.is_none());
        let least = self.kept.iter().enumerate().min_by_key(|(_, track)| rank(track));
        let least = least.map(|(at, _)| at).and_then(|at| self.kept.remove(at));
        if let Some(least) = least {
            least.lost.store(true, Ordering::Release);
        }
    }

    fn forget(&mut self, now: Instant) {
        self.kept.retain(|track| {
            let over = track.kept.lock().over;
            over.is_none_or(|over| now.saturating_duration_since(over) < KEPT_FOR)
        });
    }
}

impl Kept {
    /// Whether everything that follows on this place is there.
    fn has(&self, place: u64) -> bool {
        let first = self.events.front().map_or(self.last + 1, |(first, _)| *first);
        (first..=self.last + 1).contains(&(place + 1))
    }

    fn next(&self, place: u64) -> Next {
        match self.events.iter().find(|(at, _)| *at > place) {
            Some((at, event)) => Next::Event(*at, event.clone()),
            None if self.over.is_some() => Next::Over,
            None => Next::Wait,
        }
    }
}

impl Track {
    /// The event that a stream begins with: an id to come back with, and how soon that may be, in
    /// milliseconds. Nothing before this place is sent on it.
    pub fn anchor(&self, place: u64) -> Bytes {
        let wait = COME_BACK.as_millis();
        Bytes::from(format!("id: {}-{place}\nretry: {wait}\ndata:\n\n", self.number))
    }

    /// Its client was sent away, and is to come back.
    pub fn expect_back(&self) {
        self.expected.store(true, Ordering::Release);
    }

    fn is_expected(&self) -> bool {
        self.expected.load(Ordering::Acquire)
    }

    /// Whether a client could come back to it.
    pub fn is_kept(&self) -> bool {
        !self.lost.load(Ordering::Acquire)
    }

    /// A message as the next event, which is kept.
    pub fn write(&self, message: &[u8]) -> Bytes {
        let event = {
            let mut kept = self.kept.lock();
            kept.last += 1;
            let place = kept.last;
            let event = sse_event_with(message, Some(&format!("{}-{place}", self.number)), None);
            kept.bytes += event.len();
            let mut all = self.all.fetch_add(event.len(), Ordering::Relaxed) + event.len();
            kept.events.push_back((place, event.clone()));
            let least = usize::from(self.is_expected());
            while (kept.bytes > TRACK_BYTES_MAX && kept.events.len() > least
                || all > REPLAY_BYTES_MAX)
                && let Some((_, oldest)) = kept.events.pop_front()
            {
                kept.bytes -= oldest.len();
                all = self.all.fetch_sub(oldest.len(), Ordering::Relaxed) - oldest.len();
            }
            event
        };
        self.written.notify_waiters();
        event
    }

    /// Nothing follows.
    pub fn over(&self, now: Instant) {
        self.kept.lock().over.get_or_insert(now);
        self.written.notify_waiters();
    }

    /// Waits for what follows on an event.
    async fn next(&self, place: u64) -> Option<(u64, Bytes)> {
        loop {
            // Before the look: what is written in between is not missed.
            let written = self.written.notified();
            let next = self.kept.lock().next(place);
            match next {
                Next::Event(at, event) => return Some((at, event)),
                Next::Over => return None,
                Next::Wait => written.await,
            }
        }
    }
}

impl Drop for Track {
    fn drop(&mut self) {
        self.all.fetch_sub(self.kept.get_mut().bytes, Ordering::Relaxed);
    }
}

/// What follows: its place, and the event; nothing once the stream is over.
type Following = Pin<Box<dyn Future<Output = Option<(u64, Bytes)>> + Send>>;

/// How soon a client may come back to a stream that ends now. An event without an id and data tells
/// nothing else.
pub fn retry(wait: Duration) -> Bytes {
    Bytes::from(format!("retry: {}\n\n", wait.as_millis()))
}

/// A stream that a client came back to.
pub struct Resumed {
    first: Option<Bytes>,
    next: Following,
    opened: Option<Instant>,
    track: Arc<Track>,
    ended: CancellationToken,
}

impl Resumed {
    fn new(
        track: Arc<Track>,
        place: u64,
        ended: CancellationToken,
        opened: Option<Instant>,
    ) -> Self {
        track.expect_back();
        // It must have an id, should it end before the next event.
        let first = opened.map(|_| track.anchor(place));
        Self { first, next: Self::following(&track, place, &ended), opened, track, ended }
    }

    /// Nothing follows yet: whether it ends until its client comes back again.
    fn parts(&self) -> bool {
        let open = self.opened.map(|opened| clock::now().saturating_duration_since(opened));
        self.track.is_kept() && open.is_some_and(|open| parting(open, None).is_some())
    }

    fn following(track: &Arc<Track>, place: u64, ended: &CancellationToken) -> Following {
        let (track, ended) = (Arc::clone(track), ended.clone());
        Box::pin(async move {
            tokio::select! {
                next = track.next(place) => next,
                () = ended.cancelled() => None,
            }
        })
    }
}

impl Events for Resumed {
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        match self.next.as_mut().poll(context) {
            Poll::Ready(Some((place, event))) => {
                self.next = Self::following(&self.track, place, &self.ended);
                Poll::Ready(Some(event))
            }
            Poll::Ready(None) => {
                self.track.expected.store(false, Ordering::Release);
                Poll::Ready(None)
            }
            Poll::Pending if self.parts() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn rest(replay: &Replay, id: &str) -> Option<Vec<String>> {
        let mut resumed = replay.after(id, CancellationToken::new(), None)?;
        let mut events = Vec::new();
        while let Some(event) = std::future::poll_fn(|c| resumed.poll_event(c)).await {
            events.push(String::from_utf8(event.to_vec()).unwrap());
        }
        Some(events)
    }

    #[tokio::test]
    async fn a_client_gets_what_it_missed_of_its_stream_and_of_no_other() {
        let (replay, all, now) = (Replay::default(), Arc::default(), clock::now());
        let (one, other) = (replay.open(&all, now), replay.open(&all, now));
        assert_eq!(one.anchor(0), "id: 1-0\nretry: 1000\ndata:\n\n");
        assert_eq!(one.write(b"a"), "id: 1-1\ndata: a\n\n");
        other.write(b"x");
        one.write(b"b");
        other.over(now);
        one.over(now);
        assert_eq!(rest(&replay, "1-0").await.unwrap().len(), 2);
        assert_eq!(rest(&replay, "1-1").await.unwrap(), ["id: 1-2\ndata: b\n\n"]);
        assert!(rest(&replay, "1-2").await.unwrap().is_empty());
        for unknown in ["1-3", "3-0", "1", "", "1-x", "-1-0"] {
            assert!(rest(&replay, unknown).await.is_none(), "{unknown}");
        }
        replay.sweep(now + KEPT_FOR);
        assert!(rest(&replay, "1-1").await.is_none());
    }

    #[tokio::test]
    async fn one_that_runs_is_waited_for_until_it_is_over_or_its_session_is() {
        let (replay, all, now) = (Replay::default(), Arc::default(), clock::now());
        let track = replay.open(&all, now);
        let waits = rest(&replay, "1-0");
        let writes = async {
            tokio::task::yield_now().await;
            track.write(b"a");
            tokio::task::yield_now().await;
            track.over(now);
        };
        let (events, ()) = tokio::join!(waits, writes);
        assert_eq!(events.unwrap(), ["id: 1-1\ndata: a\n\n"]);

        let (ended, track) = (CancellationToken::new(), replay.open(&all, now));
        track.write(b"a");
        let mut resumed = replay.after("2-1", ended.clone(), None).unwrap();
        ended.cancel();
        assert!(std::future::poll_fn(|c| resumed.poll_event(c)).await.is_none());
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded_and_what_is_not_kept_is_not_pretended() {
        let (replay, all, now) = (Replay::default(), Arc::default(), clock::now());
        let track = replay.open(&all, now);
        let half = vec![b'x'; TRACK_BYTES_MAX / 2];
        for _ in 0..3 {
            track.write(&half);
        }
        track.over(now);
        assert!(rest(&replay, "1-0").await.is_none(), "the first ones are gone");
        assert_eq!(rest(&replay, "1-2").await.unwrap().len(), 1);
        for _ in 0..TRACKS_MAX {
            replay.open(&all, now);
        }
        assert!(rest(&replay, "1-2").await.is_none());
        assert_eq!(replay.tracks.lock().kept.len(), TRACKS_MAX);
    }

    #[tokio::test]
    async fn what_a_client_is_to_come_back_for_gives_way_last_and_its_newest_event_stays() {
        let (replay, all, now) = (Replay::default(), Arc::default(), clock::now());
        let away = replay.open(&all, now);
        away.expect_back();
        let large = vec![b'x'; TRACK_BYTES_MAX + 1];
        away.write(b"a");
        away.write(&large);
        assert!(rest(&replay, "1-0").await.is_none(), "the bound holds for the others");
        away.over(now);
        let there = replay.open(&all, now);
        there.write(&large);
        there.over(now);
        assert!(rest(&replay, "2-0").await.is_none(), "nobody is to come back for it");
        for _ in 0..TRACKS_MAX {
            replay.open(&all, now);
        }
        assert!((away.is_kept(), there.is_kept()) == (true, false));
        assert_eq!(rest(&replay, "1-1").await.unwrap().len(), 1);
        // It has it now.
        replay.open(&all, now);
        assert!(!away.is_kept());
    }

    #[tokio::test]
    async fn what_is_kept_of_all_is_bounded_and_given_back() {
        let (replay, other, now) = (Replay::default(), Replay::default(), clock::now());
        // As if other sessions kept nearly all there may be.
        let all = Arc::new(AtomicUsize::new(REPLAY_BYTES_MAX - 100));
        let (one, two) = (replay.open(&all, now), other.open(&all, now));
        one.write(&[b'x'; 40]);
        two.write(&[b'x'; 60]);
        assert!(rest(&other, "1-0").await.is_none(), "no room for it");
        two.over(now);
        assert!(rest(&other, "1-1").await.unwrap().is_empty());
        one.over(now);
        assert_eq!(rest(&replay, "1-0").await.unwrap().len(), 1);
        drop((one, two, replay, other));
        assert_eq!(all.load(Ordering::Relaxed), REPLAY_BYTES_MAX - 100);
    }
}
