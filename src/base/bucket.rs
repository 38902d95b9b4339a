//! Pure: a rate limit as a token bucket: so many calls at once, and then so many in a time.
//!
//! Kept as one instant (the virtual schedule of a leaky bucket): no counting, no rounding, and a
//! refusal knows to the nanosecond when the next call fits.

use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

/// A bucket of tokens that refills evenly.
#[derive(Debug)]
pub struct Bucket {
    /// The time in which one token comes; `None` = no call ever fits.
    interval: Option<Duration>,
    /// The time in which an empty bucket is full again.
    size: Duration,
    /// When the bucket would be full again.
    full_at: Option<Instant>,
}

impl Bucket {
    /// So many calls a minute, all at once or spread out; 0 = none ever.
    pub fn per_minute(calls: u32) -> Self {
        Self { interval: MINUTE.checked_div(calls), size: MINUTE, full_at: None }
    }

    /// So many calls a second, and up to `burst` (1 or more) at once; 0 a second = none ever.
    pub fn per_second(calls: u32, burst: u32) -> Self {
        let interval = SECOND.checked_div(calls);
        let size = interval.unwrap_or_default().saturating_mul(burst.max(1));
        Self { interval, size, full_at: None }
    }

    /// Takes one token, or answers how long until there is one (`None` = never).
    pub fn take(&mut self, now: Instant) -> Result<(), Option<Duration>> {
        let interval = self.interval.ok_or(None)?;
        let full_at = self.full_at.map_or(now, |at| at.max(now)) + interval;
        let debt = full_at.saturating_duration_since(now);
        match debt.checked_sub(self.size) {
            Some(excess) if !excess.is_zero() => Err(Some(excess)),
            _ => {
                self.full_at = Some(full_at);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    #[test]
    fn the_hundred_and_first_call_of_a_minute_waits_for_one_token() {
        let (mut bucket, start) = (Bucket::per_minute(100), clock::now());
        for _ in 0..100 {
            assert_eq!(bucket.take(start), Ok(()));
        }
        let wait = Duration::from_millis(600);
        assert_eq!(bucket.take(start), Err(Some(wait)));
        assert_eq!(bucket.take(start + wait / 2), Err(Some(wait / 2)), "a refusal costs nothing");
        assert_eq!(bucket.take(start + wait), Ok(()));
        assert_eq!(bucket.take(start + wait), Err(Some(wait)));
    }

    #[test]
    fn the_bucket_refills_and_never_over_its_size() {
        let (mut bucket, start) = (Bucket::per_minute(7), clock::now());
        let full = |bucket: &mut Bucket, now| (0..20).filter(|_| bucket.take(now).is_ok()).count();
        assert_eq!(full(&mut bucket, start), 7);
        assert_eq!(full(&mut bucket, start + MINUTE), 7);
        assert_eq!(full(&mut bucket, start + 100 * MINUTE), 7);
        assert_eq!(full(&mut bucket, start + 100 * MINUTE + MINUTE / 2), 3);
    }

    #[test]
    fn a_burst_is_spent_at_once_and_comes_back_at_the_rate() {
        let (mut bucket, start) = (Bucket::per_second(50, 100), clock::now());
        let full = |bucket: &mut Bucket, now| (0..300).filter(|_| bucket.take(now).is_ok()).count();
        assert_eq!(full(&mut bucket, start), 100);
        assert_eq!(bucket.take(start), Err(Some(Duration::from_millis(20))));
        assert_eq!(full(&mut bucket, start + SECOND), 50);
        assert_eq!(full(&mut bucket, start + 10 * SECOND), 100);
        let mut single = Bucket::per_second(1, 1);
        assert_eq!((single.take(start), single.take(start)), (Ok(()), Err(Some(SECOND))));
    }

    #[test]
    fn none_in_a_time_is_never() {
        assert_eq!(Bucket::per_minute(0).take(clock::now()), Err(None));
        assert_eq!(Bucket::per_second(0, 5).take(clock::now()), Err(None));
    }
}
