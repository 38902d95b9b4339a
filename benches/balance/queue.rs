//! What happens next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Nanoseconds since the start.
pub(crate) type Time = u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// A call comes.
    Arrive,
    /// A replica is done with an attempt.
    Done(u32),
    /// A replica refuses an attempt, or fails at it.
    Failed(u32),
    /// An attempt that is silent is looked into.
    Check(u32, u32),
    /// An attempt is given up.
    Timeout(u32, u32),
    /// A call that is slow is asked a second time.
    Hedge(u32, u32),
    /// A call is tried again.
    Again(u32, u32),
    /// A brown-out of a replica begins or ends.
    Brown(u32),
    /// A replica goes.
    Down(u32),
    /// It comes back.
    Up(u32),
    /// The gateways see whether it is there.
    Seen(u32),
    /// The next replicas are replaced.
    Roll(u32),
}

/// Events in the order of their times; of one time, in the order in which they were set.
#[derive(Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Reverse<(Time, u64, Event)>>,
    count: u64,
}

impl Queue {
    pub(crate) fn push(&mut self, at: Time, event: Event) {
        self.count += 1;
        self.heap.push(Reverse((at, self.count, event)));
    }

    pub(crate) fn pop(&mut self) -> Option<(Time, Event)> {
        self.heap.pop().map(|Reverse((at, _, event))| (at, event))
    }
}

pub(crate) fn nanos(seconds: f64) -> Time {
    (seconds * 1e9) as Time
}
