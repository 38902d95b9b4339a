//! Pure: how long to wait before a replica is started or dialled again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::base::rng::jitter;

/// First wait.
pub const BACKOFF_BASE: Duration = Duration::from_millis(500);
/// Longest wait for a child: starting one costs the whole machine.
pub const BACKOFF_CHILD_MAX: Duration = Duration::from_mins(1);
/// A replica that was up for so long is started again at once.
pub const UPTIME_HEALTHY: Duration = Duration::from_mins(1);
/// Spread of every wait, in percent.
pub const JITTER_PERCENT: u32 = 20;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A child process.
    Child,
    /// A server behind a URL: dialling one is cheap, so the longest wait is the operator's.
    Url {
        /// The longest wait.
        longest: Duration,
    },
}

/// A replica that is there but wants a new greeting gets so many of them at once.
pub const GREET_AT_ONCE_MAX: u32 = 3;

/// So many ends of a child…
pub const LOOP_ENDS: usize = 5;
/// …within this time are a crash loop…
pub const LOOP_WITHIN: Duration = Duration::from_mins(2);
/// …and it rests so long before it is tried once more.
pub const LOOP_REST: Duration = Duration::from_mins(5);

/// The last ends of a child.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    recent: VecDeque<Instant>,
}

impl Ends {
    /// It ended. Answers whether it does nothing but end.
    pub fn note(&mut self, now: Instant) -> bool {
        self.recent.push_back(now);
        while self.recent.len() > LOOP_ENDS {
            self.recent.pop_front();
        }
        let first = self.recent.front().filter(|_| self.recent.len() == LOOP_ENDS);
        first.is_some_and(|first| now.saturating_duration_since(*first) <= LOOP_WITHIN)
    }
}

/// How many lives in a row have failed, after one that was up for so long.
pub fn failures_after(failures: u32, uptime: Duration) -> u32 {
    if uptime >= UPTIME_HEALTHY { 0 } else { failures.saturating_add(1) }
}

/// The wait before start number `failures + 1`. `uptime` is how long the last one was up.
pub fn delay(what: What, failures: u32, uptime: Duration, draw: u64) -> Duration {
    if failures == 0 || uptime >= UPTIME_HEALTHY {
        return Duration::ZERO;
    }
    let max = match what {
        What::Child => BACKOFF_CHILD_MAX,
        What::Url { longest } => longest,
    };
    let doubled = BACKOFF_BASE.saturating_mul(1 << (failures - 1).min(16));
    jitter(doubled.min(max), JITTER_PERCENT, draw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_ends_in_two_minutes_are_a_loop() {
        let start = crate::base::clock::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut ends = Ends::default();
        assert!(!(0..4).any(|n| ends.note(at(n * 10))));
        assert!(ends.note(at(100)));
        assert!(!ends.note(at(400)), "after its rest it gets a chance");
        let mut rare = Ends::default();
        assert!(!(0..50).any(|n| rare.note(at(n * 31))));
    }

    #[test]
    fn waits_double_up_to_a_bound_and_a_long_life_forgives() {
        let wait = |failures| delay(What::Child, failures, Duration::ZERO, 20);
        assert_eq!(wait(0), Duration::ZERO);
        assert_eq!(wait(1), Duration::from_millis(500));
        assert_eq!(wait(3), Duration::from_secs(2));
        assert_eq!(wait(40), BACKOFF_CHILD_MAX);
        let longest = Duration::from_secs(5);
        assert_eq!(delay(What::Url { longest }, 40, Duration::ZERO, 20), longest);
        assert_eq!(delay(What::Child, 5, UPTIME_HEALTHY, 7), Duration::ZERO);
        assert_eq!(failures_after(5, UPTIME_HEALTHY), 0);
        assert_eq!(failures_after(5, Duration::from_secs(1)), 6);
    }
}
