//! Pure: a rate limit as a token bucket: so many calls a minute, all at once or spread out.
//!
//! Kept as one instant (the virtual schedule of a leaky bucket): no counting, no rounding, and a
//! refusal knows to the nanosecond when the next call fits.

use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_mins(1);

/// A bucket of `per_minute` tokens that refills evenly within a minute.
#[derive(Debug)]
pub(super) struct Bucket {
    /// One token's share of the minute; `None` = no call ever fits.
    interval: Option<Duration>,
    /// When the bucket would be full again.
    full_at: Option<Instant>,
}

impl Bucket {
    pub(super) fn new(per_minute: u32) -> Self {
        Self { interval: MINUTE.checked_div(per_minute), full_at: None }
    }

    /// Takes one token, or answers how long until there is one (`None` = never).
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Option<Duration>> {
        let interval = self.interval.ok_or(None)?;
        let full_at = self.full_at.map_or(now, |at| at.max(now)) + interval;
        let debt = full_at.saturating_duration_since(now);
        match debt.checked_sub(MINUTE) {
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
        let (mut bucket, start) = (Bucket::new(100), clock::now());
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
        let (mut bucket, start) = (Bucket::new(7), clock::now());
        let full = |bucket: &mut Bucket, now| (0..20).filter(|_| bucket.take(now).is_ok()).count();
        assert_eq!(full(&mut bucket, start), 7);
        assert_eq!(full(&mut bucket, start + MINUTE), 7);
        assert_eq!(full(&mut bucket, start + 100 * MINUTE), 7);
        assert_eq!(full(&mut bucket, start + 100 * MINUTE + MINUTE / 2), 3);
    }

    #[test]
    fn zero_calls_a_minute_is_never() {
        assert_eq!(Bucket::new(0).take(clock::now()), Err(None));
    }
}
