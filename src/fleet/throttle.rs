//! Pure: fewer calls to an upstream that takes ever less of them (the client-side throttling of
//! "Handling Overload" in Google's SRE book). It acts before a breaker does, and lets enough through
//! to see it recover.

use std::time::{Duration, Instant};

use super::window::Window;
use crate::base::rng::Draws;

/// So many calls may be sent for each that is taken.
pub const FACTOR: f64 = 2.0;
/// The most that is refused: the rest finds out whether it is better.
pub const REFUSED_MAX: f64 = 0.9;
/// The shortest time over which calls are counted; it grows to twice the 99th percentile. Short
/// enough for an outage to be forgotten when nobody called for a while.
pub const WINDOW: Duration = Duration::from_secs(30);
/// With fewer calls in the window nothing is refused.
pub const CALLS_MIN: u32 = 20;

/// One call passes in this time whatever else is refused: where calls are few a share of them is
/// none, and nobody would find out that the upstream is back.
pub const TRICKLE: Duration = Duration::from_secs(1);

/// So many calls in a row that were taken end it: an upstream that is back must not wait until its
/// past has left the window.
pub const BACK_AFTER: u32 = 5;

/// Counts what an upstream takes.
#[derive(Debug, Default)]
pub struct Throttle {
    ended: Window,
    streak: u32,
    /// Something failed since it was last well.
    strained: bool,
    /// When a call passed last while others were refused.
    passed: Option<Instant>,
}

impl Throttle {
    /// A call came to its end. `taken` = the upstream did not fail it for being overloaded or away.
    pub fn count(&mut self, taken: bool, p99: Duration, now: Instant) {
        self.strained |= !taken;
        self.streak = if taken { self.streak.saturating_add(1) } else { 0 };
        if self.strained && self.streak >= BACK_AFTER {
            self.strained = false;
            self.ended.clear();
        }
        if self.strained || !taken {
            self.ended.count(taken, WINDOW.max(p99 * 2), now);
        }
    }

    /// Whether a call is refused.
    pub fn refuses(&mut self, p99: Duration, now: Instant, draw: u64) -> bool {
        if !self.strained {
            return false;
        }
        let sums = self.ended.sums(WINDOW.max(p99 * 2), now);
        if sums.all() < CALLS_MIN {
            return false;
        }
        let (all, taken) = (f64::from(sums.all()), f64::from(sums.good));
        let share = ((all - FACTOR * taken) / (all + 1.0)).clamp(0.0, REFUSED_MAX);
        let due = self.passed.is_none_or(|last| now.saturating_duration_since(last) >= TRICKLE);
        if due || share <= 0.0 || Draws::new(draw).unit() >= share {
            self.passed = Some(now);
            return false;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    fn refused(good: u32, bad: u32) -> usize {
        let (mut throttle, now) = (Throttle::default(), clock::now());
        // Spread evenly, so that there is no row of good ones.
        let all = good + bad;
        for n in 0..all {
            let taken = n * good / all.max(1) != (n + 1) * good / all.max(1);
            throttle.count(taken, Duration::ZERO, now);
        }
        (0..1_000).filter(|draw| throttle.refuses(Duration::ZERO, now, *draw)).count()
    }

    #[test]
    fn half_may_fail_before_anything_is_refused_and_a_tenth_always_passes() {
        assert_eq!(refused(100, 0), 0);
        assert_eq!(refused(100, 100), 0);
        assert!((280..380).contains(&refused(100, 200)), "{}", refused(100, 200));
        assert!((870..930).contains(&refused(0, 500)));
        assert_eq!(refused(0, CALLS_MIN - 1), 0);
    }

    #[test]
    fn an_upstream_that_is_back_gets_all_at_once() {
        let (mut throttle, now) = (Throttle::default(), clock::now());
        (0..5_000).for_each(|_| throttle.count(false, Duration::ZERO, now));
        (1..BACK_AFTER).for_each(|_| throttle.count(true, Duration::ZERO, now));
        assert!((0..99).any(|draw| throttle.refuses(Duration::ZERO, now, draw)));
        throttle.count(true, Duration::ZERO, now);
        assert!((0..99).all(|draw| !throttle.refuses(Duration::ZERO, now, draw)));
    }

    #[test]
    fn one_call_a_second_passes_whatever_fails() {
        let (mut throttle, now) = (Throttle::default(), clock::now());
        (0..500).for_each(|_| throttle.count(false, Duration::ZERO, now));
        let refused_at = |throttle: &mut Throttle, millis| {
            let at = now + Duration::from_millis(millis);
            // A draw that refuses wherever anything is refused.
            let low = (0..100_000).find(|draw| Draws::new(*draw).unit() < 0.01).unwrap();
            throttle.refuses(Duration::ZERO, at, low)
        };
        let refused = [0, 500, 999, 1_000, 1_500, 2_000].map(|at| refused_at(&mut throttle, at));
        assert_eq!(refused, [false, true, true, false, true, false]);
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let (mut throttle, now) = (Throttle::default(), clock::now());
        (0..100).for_each(|_| throttle.count(false, Duration::ZERO, now));
        let later = now + WINDOW + Duration::from_secs(1);
        assert!((0..100).all(|draw| !throttle.refuses(Duration::ZERO, later, draw)));
    }
}
