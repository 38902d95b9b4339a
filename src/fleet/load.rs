//! Pure: what a replica carries and how it does, in numbers that are read without a lock.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::pace::RELATIVE_MAX;

/// How much one answer counts.
const WEIGHT: f32 = 0.15;
/// How much one answer counts for the share of failures.
const ERROR_WEIGHT: f32 = 0.1;
/// What is known of the latency fades to a third in this time.
pub const FADE: Duration = Duration::from_secs(10);

/// What a replica carries and how it does.
#[derive(Debug)]
pub struct Load {
    /// Times are kept relative to this.
    epoch: Instant,
    busy: AtomicU32,
    /// The bits of an `f32` and the time of the last answer in milliseconds.
    slowness: AtomicU64,
    errors: AtomicU32,
}

impl Load {
    /// An idle one that is as fast as the others: `slowness` is the middle of the group.
    pub fn new(now: Instant, slowness: f32) -> Self {
        let load = Self {
            epoch: now,
            busy: AtomicU32::new(0),
            slowness: AtomicU64::new(0),
            errors: AtomicU32::new(0),
        };
        load.slowness.store(pack(slowness, 0), Ordering::Relaxed);
        load
    }

    /// Calls in flight.
    pub fn busy(&self) -> u32 {
        self.busy.load(Ordering::Relaxed)
    }

    /// A call begins.
    pub fn begin(&self) {
        self.busy.fetch_add(1, Ordering::Relaxed);
    }

    /// A call is over.
    pub fn end(&self) {
        self.busy.fetch_sub(1, Ordering::Relaxed);
    }

    /// An answer whose latency is this, relative to what is usual.
    pub fn record(&self, relative: f32, now: Instant) {
        self.change(now, |old| old + (relative - old) * WEIGHT);
    }

    /// A failure: as slow as can be.
    pub fn penalise(&self, now: Instant) {
        self.record(RELATIVE_MAX, now);
    }

    /// A call that was given up after this time, relative to what is usual: its answer would have
    /// counted for at least so much.
    pub fn record_at_least(&self, relative: f32, now: Instant) {
        self.change(now, |old| old + (relative - old).max(0.0) * WEIGHT);
    }

    /// A call is in flight for longer than usual: it is at least so slow.
    pub fn at_least(&self, relative: f32, now: Instant) {
        self.change(now, |old| old.max(relative));
    }

    /// Latency relative to what is usual, fading since the last answer.
    pub fn slowness(&self, now: Instant) -> f32 {
        let (slowness, at) = unpack(self.slowness.load(Ordering::Relaxed));
        let age = self.millis(now).saturating_sub(at);
        if age == 0 {
            return slowness;
        }
        slowness * (-Duration::from_millis(age.into()).as_secs_f32() / FADE.as_secs_f32()).exp()
    }

    /// Share of the recent calls that failed.
    pub fn errors(&self) -> f32 {
        f32::from_bits(self.errors.load(Ordering::Relaxed))
    }

    /// A call ended, well or not.
    pub fn count(&self, failed: bool) {
        let target = if failed { 1.0 } else { 0.0 };
        let old = self.errors();
        if failed || old > 0.0 {
            let new = old + (target - old) * ERROR_WEIGHT;
            let new = if new < 1e-4 { 0.0 } else { new };
            self.errors.store(new.to_bits(), Ordering::Relaxed);
        }
    }

    fn change(&self, now: Instant, change: impl Fn(f32) -> f32) {
        let at = self.millis(now);
        let mut old = self.slowness.load(Ordering::Relaxed);
        loop {
            let new = pack(change(unpack(old).0), at);
            let swapped =
                self.slowness.compare_exchange_weak(old, new, Ordering::Relaxed, Ordering::Relaxed);
            match swapped {
                Ok(_) => return,
                Err(present) => old = present,
            }
        }
    }

    fn millis(&self, now: Instant) -> u32 {
        let age = now.saturating_duration_since(self.epoch);
        u32::try_from(age.as_millis()).unwrap_or(u32::MAX)
    }
}

fn pack(value: f32, at: u32) -> u64 {
    u64::from(value.to_bits()) << 32 | u64::from(at)
}

fn unpack(packed: u64) -> (f32, u32) {
    let high = u32::try_from(packed >> 32).unwrap_or(0);
    let low = u32::try_from(packed & u64::from(u32::MAX)).unwrap_or(0);
    (f32::from_bits(high), low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    #[test]
    fn slowness_follows_the_answers_and_fades() {
        let now = clock::now();
        let load = Load::new(now, 1.0);
        assert!((load.slowness(now) - 1.0).abs() < 1e-6);
        (0..60).for_each(|_| load.record(4.0, now));
        assert!((load.slowness(now) - 4.0).abs() < 0.05);
        let later = load.slowness(now + FADE);
        assert!((later - 4.0 / std::f32::consts::E).abs() < 0.05, "{later}");
        assert!(load.slowness(now + Duration::from_hours(1)) < 1e-6);
    }

    #[test]
    fn one_failure_outweighs_many_fast_answers() {
        let now = clock::now();
        let load = Load::new(now, 1.0);
        load.penalise(now);
        assert!(load.slowness(now) > 15.0);
        load.at_least(3.0, now);
        assert!(load.slowness(now) > 15.0, "at least is not exactly");
    }

    #[test]
    fn a_call_that_was_given_up_counts_as_one_answer_and_never_as_a_fast_one() {
        let now = clock::now();
        let load = Load::new(now, 1.0);
        load.record_at_least(11.0, now);
        assert!((load.slowness(now) - 2.5).abs() < 1e-5, "{}", load.slowness(now));
        load.record_at_least(2.0, now);
        assert!((load.slowness(now) - 2.5).abs() < 1e-5, "it may have taken longer");
    }

    #[test]
    fn failures_have_their_share_and_are_forgotten() {
        let load = Load::new(clock::now(), 1.0);
        (0..100).for_each(|n| load.count(n % 2 == 0));
        assert!((0.35..0.65).contains(&load.errors()), "{}", load.errors());
        (0..200).for_each(|_| load.count(false));
        assert!(load.errors().abs() < f32::EPSILON);
    }
}
