//! Pure: when a call that is silent is looked into, and what its age says of its replica.

use std::time::{Duration, Instant};

use super::pace::Pace;

/// A call that is silent for longer than 99 of 100 take, and for longer than this, makes its
/// replica be asked whether it is there.
const DOUBT_AFTER: Duration = Duration::from_secs(1);
/// A call so old, and three times older than 99 of 100 get, may hang…
const HANG_AFTER: Duration = Duration::from_secs(30);
/// …if it was silent for so long and its replica does not answer when asked.
pub const HANG_SILENCE: Duration = Duration::from_secs(10);

/// When a call that is silent is looked into.
#[derive(Debug)]
pub struct Checks {
    start: Instant,
    p99: Duration,
    next: Instant,
}

/// How old a call is.
#[derive(Clone, Copy, Debug)]
pub struct Age {
    /// Since its start.
    pub age: Duration,
    /// It is so old that it may hang.
    pub may_hang: bool,
}

impl Age {
    /// The latency of its replica is at least this, relative to what is usual: half of what the age
    /// says, for it may be the call that is slow.
    pub fn relative(&self, pace: &Pace) -> f32 {
        pace.relative(self.age) / 2.0
    }
}

impl Checks {
    /// Of a call that began then, if 99 of 100 take no longer than `p99`.
    pub fn new(start: Instant, p99: Option<Duration>) -> Self {
        let p99 = p99.unwrap_or_default();
        Self { start, p99, next: start + p99.max(DOUBT_AFTER) }
    }

    /// When it is looked into next, unless something comes.
    pub fn due(&self) -> Instant {
        self.next
    }

    /// It is due: how old the call is. The next one comes a second later at first, and then more
    /// and more rarely.
    pub fn pass(&mut self, now: Instant) -> Age {
        let age = now.saturating_duration_since(self.start);
        self.next = now + (age / 4).clamp(DOUBT_AFTER, HANG_SILENCE);
        Age { age, may_hang: age >= HANG_AFTER.max(self.p99 * 3) }
    }

    /// Something came: it is not silent.
    pub fn alive(&mut self, now: Instant) {
        self.next = self.next.max(now + DOUBT_AFTER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    #[test]
    fn a_silent_call_is_looked_into_more_and_more_rarely() {
        let start = clock::now();
        let mut checks = Checks::new(start, Some(Duration::from_millis(300)));
        let mut dues = Vec::new();
        let mut hangs = Vec::new();
        for _ in 0..12 {
            let now = checks.due();
            dues.push((now - start).as_secs());
            hangs.push(checks.pass(now).may_hang);
        }
        assert_eq!(dues, [1, 2, 3, 4, 5, 6, 7, 9, 12, 15, 19, 23]);
        assert!(!hangs.contains(&true), "nothing hangs before 30 s");
        assert!(checks.pass(start + Duration::from_secs(31)).may_hang);
        let slow = Checks::new(start, Some(Duration::from_mins(1)));
        assert_eq!(slow.due(), start + Duration::from_mins(1), "a slow tool has its time");
    }

    #[test]
    fn what_comes_puts_the_next_look_off() {
        let start = clock::now();
        let mut checks = Checks::new(start, None);
        checks.alive(start + Duration::from_millis(900));
        assert_eq!(checks.due(), start + Duration::from_millis(1_900));
    }
}
