//! Pure: successes and failures of a span of time, in ten exact buckets.

use std::time::{Duration, Instant};

/// Buckets of a window.
const BUCKETS: usize = 10;

/// Successes and failures of a span of time.
#[derive(Clone, Debug, Default)]
pub struct Window {
    buckets: [Bucket; BUCKETS],
    began: Option<Instant>,
    /// The number of the bucket in use, counted from `began`.
    present: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    good: u32,
    bad: u32,
}

/// What a window holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Successes.
    pub good: u32,
    /// Failures.
    pub bad: u32,
}

impl Sums {
    /// All of them.
    pub fn all(self) -> u32 {
        self.good.saturating_add(self.bad)
    }

    /// Share of successes; 1 if there is nothing.
    pub fn rate(self) -> f64 {
        if self.all() == 0 { 1.0 } else { f64::from(self.good) / f64::from(self.all()) }
    }
}

impl Window {
    /// Counts one, over a window of this length.
    pub fn count(&mut self, good: bool, length: Duration, now: Instant) {
        self.roll(length, now);
        let place = usize::try_from(self.present).unwrap_or(0) % BUCKETS;
        if let Some(bucket) = self.buckets.get_mut(place) {
            if good { bucket.good += 1 } else { bucket.bad += 1 }
        }
    }

    /// What it holds now.
    pub fn sums(&mut self, length: Duration, now: Instant) -> Sums {
        self.roll(length, now);
        let add = |sums: Sums, bucket: &Bucket| Sums {
            good: sums.good.saturating_add(bucket.good),
            bad: sums.bad.saturating_add(bucket.bad),
        };
        self.buckets.iter().fold(Sums::default(), add)
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Empties the buckets whose time is over.
    fn roll(&mut self, length: Duration, now: Instant) {
        let began = *self.began.get_or_insert(now);
        let each = length.as_nanos() / u128::try_from(BUCKETS).unwrap_or(1);
        let age = now.saturating_duration_since(began).as_nanos();
        let present = u64::try_from(age / each.max(1)).unwrap_or(u64::MAX);
        let passed = present.saturating_sub(self.present).min(u64::try_from(BUCKETS).unwrap_or(0));
        for step in 1..=passed {
            let place = usize::try_from(self.present + step).unwrap_or(0) % BUCKETS;
            if let Some(bucket) = self.buckets.get_mut(place) {
                *bucket = Bucket::default();
            }
        }
        // A window that became longer has fewer buckets behind it: it goes on where it is.
        self.present = self.present.max(present);
        if passed == u64::try_from(BUCKETS).unwrap_or(0) {
            self.buckets = [Bucket::default(); BUCKETS];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    const LENGTH: Duration = Duration::from_secs(30);

    #[test]
    fn what_is_older_than_the_window_is_gone_and_nothing_else() {
        let (mut window, now) = (Window::default(), clock::now());
        window.count(false, LENGTH, now);
        window.count(true, LENGTH, now + Duration::from_secs(4));
        let sums = |window: &mut Window, secs| window.sums(LENGTH, now + Duration::from_secs(secs));
        assert_eq!(sums(&mut window, 29), Sums { good: 1, bad: 1 });
        assert_eq!(sums(&mut window, 31), Sums { good: 1, bad: 0 });
        assert_eq!(sums(&mut window, 34), Sums::default());
        window.count(true, LENGTH, now + Duration::from_hours(5));
        assert_eq!(sums(&mut window, 18_001), Sums { good: 1, bad: 0 });
    }

    proptest::proptest! {
        #[test]
        fn it_counts_what_an_exact_list_counts_up_to_one_bucket(
            steps in proptest::collection::vec((0_u64..4_000, proptest::bool::ANY), 1..200),
        ) {
            let (mut window, start) = (Window::default(), clock::now());
            let mut now = start;
            let mut list: Vec<(Instant, bool)> = Vec::new();
            for (wait, good) in steps {
                now += Duration::from_millis(wait);
                window.count(good, LENGTH, now);
                list.push((now, good));
                let exact = |age: Duration, wanted: bool| {
                    let of = |(at, good): &&(Instant, bool)| *good == wanted && now - *at < age;
                    u32::try_from(list.iter().filter(of).count()).unwrap()
                };
                let sums = window.sums(LENGTH, now);
                let short = LENGTH / 10 * 9;
                proptest::prop_assert!(sums.good <= exact(LENGTH, true));
                proptest::prop_assert!(sums.good >= exact(short, true));
                proptest::prop_assert!(sums.bad <= exact(LENGTH, false));
                proptest::prop_assert!(sums.bad >= exact(short, false));
            }
        }
    }
}
