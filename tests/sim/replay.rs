//! The streams of a session that its client may come back to, against a model: whatever is written,
//! given up and forgotten in whatever order, a client gets exactly what followed on the event that it
//! names, of that stream and of no other, or is told that it is not kept.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use waypost::base::clock;
use waypost::front::body::Events as _;
use waypost::front::replay::{
    KEPT_FOR, REPLAY_BYTES_MAX, Replay, Resumed, TRACK_BYTES_MAX, TRACKS_MAX, Track,
};

use crate::chance::Dice;

const SEEDS: u64 = 100;
const STEPS: usize = 1_500;
/// So much is left of what all sessions may keep.
const ROOM: usize = 3 * 1024 * 1024;

/// What should be kept of one stream.
struct Known {
    number: u64,
    track: Arc<Track>,
    events: VecDeque<(u64, Bytes)>,
    last: u64,
    over: Option<Instant>,
    /// Its client came back, and has not heard the end: it gives way last.
    expected: bool,
    /// It gave way to others: it is written still, and nobody comes back to it.
    forgotten: bool,
}

impl Known {
    fn bytes(&self) -> usize {
        self.events.iter().map(|(_, event)| event.len()).sum()
    }
}

struct Model {
    replay: Replay,
    all: Arc<AtomicUsize>,
    known: Vec<Known>,
    count: u64,
    now: Instant,
    readers: Vec<(u64, u64, Resumed)>,
    dice: Dice,
}

impl Model {
    fn new(seed: u64) -> Self {
        let all = Arc::new(AtomicUsize::new(REPLAY_BYTES_MAX - ROOM));
        let (known, readers) = (Vec::new(), Vec::new());
        let (now, dice) = (clock::now(), Dice::new(seed));
        Self { replay: Replay::default(), all, known, count: 0, now, readers, dice }
    }

    fn kept(&self) -> usize {
        self.known.iter().map(Known::bytes).sum()
    }

    fn step(&mut self) {
        match self.dice.between(0, 99) {
            0..=9 => self.open(),
            10..=59 => self.write(),
            60..=69 => self.over(),
            70..=74 => {
                self.now += self.dice.millis(u64::try_from(KEPT_FOR.as_millis()).unwrap());
                self.replay.sweep(self.now);
                self.forget();
            }
            75..=89 => self.come_back(),
            _ => self.read(),
        }
        let kept = self.all.load(Ordering::Relaxed) - (REPLAY_BYTES_MAX - ROOM);
        assert_eq!(kept, self.kept(), "what is counted is what is kept");
        assert!(kept <= ROOM, "{kept} bytes are kept of {ROOM}");
    }

    /// Streams that were over for long are forgotten, and what nobody holds is gone.
    fn forget(&mut self) {
        let now = self.now;
        for known in &mut self.known {
            let old = known.over.is_some_and(|over| now - over >= KEPT_FOR);
            known.forgotten |= old;
        }
        let held = |number| self.readers.iter().any(|(of, ..)| *of == number);
        self.known.retain(|known| !known.forgotten || known.over.is_none() || held(known.number));
    }

    fn open(&mut self) {
        self.forget();
        let kept: Vec<usize> =
            (0..self.known.len()).filter(|at| !self.known[*at].forgotten).collect();
        if kept.len() >= TRACKS_MAX {
            let rank = |at: &&usize| (self.known[**at].expected, self.known[**at].over.is_none());
            let least = *kept.iter().min_by_key(rank).unwrap();
            self.known[least].forgotten = true;
        }
        let track = self.replay.open(&self.all, self.now);
        self.count += 1;
        let number = self.count;
        let priming = format!("id: {number}-0\nretry: 1000\ndata:\n\n");
        assert_eq!(track.anchor(0), priming);
        let events = VecDeque::new();
        self.known.push(Known {
            number,
            track,
            events,
            last: 0,
            over: None,
            expected: false,
            forgotten: false,
        });
        self.forget();
    }

    /// One that is written still.
    fn running(&mut self) -> Option<usize> {
        let open: Vec<usize> =
            (0..self.known.len()).filter(|at| self.known[*at].over.is_none()).collect();
        (!open.is_empty()).then(|| open[self.dice.below(open.len())])
    }

    fn write(&mut self) {
        let Some(at) = self.running() else { return };
        let size = self.dice.pick(&[0, 10, 1_000, 100_000, TRACK_BYTES_MAX / 2, TRACK_BYTES_MAX]);
        let others = self.kept() - self.known[at].bytes();
        let known = &mut self.known[at];
        let event = known.track.write(&vec![b'x'; size]);
        known.last += 1;
        let head = format!("id: {}-{}\n", known.number, known.last);
        assert!(event.starts_with(head.as_bytes()), "{head}");
        known.events.push_back((known.last, event));
        // The newest one stays for a client that is to come back for it, as far as there is room.
        let least = usize::from(known.expected);
        while known.bytes() > TRACK_BYTES_MAX && known.events.len() > least
            || known.bytes() + others > ROOM
        {
            if known.events.pop_front().is_none() {
                break;
            }
        }
    }

    fn over(&mut self) {
        let Some(at) = self.running() else { return };
        self.known[at].track.over(self.now);
        self.known[at].over = Some(self.now);
        self.forget();
    }

    /// A client names an event: mostly one that there is or was, else one that never was.
    fn come_back(&mut self) {
        let number = self.dice.between(0, self.count + 1);
        let place = self.dice.between(0, 12);
        let id = format!("{number}-{place}");
        let resumed = self.replay.after(&id, CancellationToken::new(), None);
        let mut known = self.known.iter_mut().find(|k| k.number == number && !k.forgotten);
        let there = known.as_ref().is_some_and(|known| {
            let first = known.events.front().map_or(known.last + 1, |(first, _)| *first);
            (first..=known.last + 1).contains(&(place + 1))
        });
        assert_eq!(resumed.is_some(), there, "{number}-{place}");
        if let Some(known) = known.as_mut().filter(|_| there) {
            known.expected = true;
        }
        self.readers.extend(resumed.map(|resumed| (number, place, resumed)));
        if self.readers.len() > 8 {
            self.readers.remove(0);
        }
        self.forget();
    }

    /// One that came back takes what is there.
    fn read(&mut self) {
        if self.readers.is_empty() {
            return;
        }
        let at = self.dice.below(self.readers.len());
        let (number, place, resumed) = &mut self.readers[at];
        let known = self.known.iter_mut().find(|known| known.number == *number).unwrap();
        let mut context = Context::from_waker(Waker::noop());
        loop {
            // What gave way while it did not read is lost for it.
            let next = known.events.iter().find(|(at, _)| at > place);
            match (resumed.poll_event(&mut context), next) {
                (Poll::Ready(Some(event)), Some((at, expected))) => {
                    assert_eq!(event, expected, "{number}-{at}");
                    *place = *at;
                }
                (Poll::Ready(None), None) => {
                    assert!(known.over.is_some(), "{number} goes on");
                    known.expected = false;
                    drop(self.readers.remove(at));
                    return self.forget();
                }
                (Poll::Pending, None) => {
                    assert!(known.over.is_none(), "{number} is over");
                    return;
                }
                (got, next) => panic!("{number} after {place}: {got:?} instead of {next:?}"),
            }
        }
    }
}

#[test]
fn a_client_that_comes_back_gets_what_followed_of_its_stream_and_no_other_or_is_told() {
    for seed in 0..SEEDS {
        let outcome = std::panic::catch_unwind(|| {
            let mut model = Model::new(seed);
            (0..STEPS).for_each(|_| model.step());
            let all = Arc::clone(&model.all);
            drop(model);
            assert_eq!(all.load(Ordering::Relaxed), REPLAY_BYTES_MAX - ROOM, "all is given back");
        });
        assert!(outcome.is_ok(), "seed {seed} failed");
    }
}
