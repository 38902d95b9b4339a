//! Pure: how long something usually takes, from its last answers: a tool over all replicas, or all
//! tools at one replica.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// Answers that quantiles are taken over.
pub const SAMPLES: usize = 256;
/// Quantiles are found anew after so many answers.
const FRESH: usize = 32;
/// Before so many answers nothing is known.
pub const KNOWN_AFTER: usize = 20;
/// How far the baseline moves at an answer.
const STEP: f32 = 0.002;
/// What usually takes longer says nothing of a replica by its latency.
const LONG: Duration = Duration::from_secs(5);
/// Bounds of a relative latency: one odd answer must not count for a thousand.
pub const RELATIVE_MIN: f32 = 0.01;
/// The upper one; also what a failure counts as.
pub const RELATIVE_MAX: f32 = 100.0;

/// How long something usually takes.
#[derive(Debug, Default)]
pub struct Pace {
    recent: Mutex<Recent>,
    /// In seconds, as bits of an `f32`; 0 = not known. Read without the lock.
    baseline: AtomicU32,
    p50: AtomicU32,
    p95: AtomicU32,
    p99: AtomicU32,
    count: AtomicU32,
}

#[derive(Debug, Default)]
struct Recent {
    /// In seconds.
    took: Vec<f32>,
    next: usize,
}

impl Pace {
    /// An answer came after this time.
    pub fn record(&self, took: Duration) {
        let took = took.as_secs_f32();
        let count = self.count.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let mut recent = self.recent.lock();
        recent.note(took);
        let known = recent.took.len() >= KNOWN_AFTER;
        if known && (recent.next.is_multiple_of(FRESH) || count < 64) {
            let mut took = recent.took.clone();
            drop(recent);
            self.find_quantiles(&mut took);
            if load(&self.baseline) <= 0.0 {
                store(&self.baseline, load(&self.p50).max(f32::MIN_POSITIVE));
            }
            return;
        }
        drop(recent);
    }

    /// Each quantile is looked for within what lies below the one above it: sorting all would cost
    /// nearly twice as much.
    fn find_quantiles(&self, took: &mut [f32]) {
        let len = took.len();
        let mut within = took;
        for (slot, percent) in [(&self.p99, 99), (&self.p95, 95), (&self.p50, 50)] {
            let place = (len * percent / 100).min(len.saturating_sub(1));
            if place >= within.len() {
                return;
            }
            store(slot, *within.select_nth_unstable_by(place, f32::total_cmp).1);
            let (up_to, _) = within.split_at_mut(place + 1);
            within = up_to;
        }
    }

    /// A call was given up after this time. Left out, those that take longest would be missing from
    /// the quantiles, and a call that is asked a second time would make the next ones look slow
    /// sooner. How long it would have taken is not known, so it counts for no more than
    /// [`Pace::p99`].
    pub fn record_at_least(&self, took: Duration) {
        if let (Some(p95), Some(p99)) = (self.p95(), self.p99())
            && took > p95
        {
            self.record(took.min(p99));
        }
    }

    /// The same for the baseline: only answers that succeeded move it. It follows the lower
    /// quarter slowly, so that an overload, which slows all replicas alike, still shows.
    pub fn follow(&self, took: Duration) {
        let baseline = load(&self.baseline);
        if baseline > 0.0 {
            let pull = if took.as_secs_f32() > baseline { 0.25 } else { -0.75 };
            store(&self.baseline, baseline * (1.0 + STEP * pull));
        }
    }

    /// A time relative to what is usual: 1 = as usual. 1 as long as nothing is known.
    pub fn relative(&self, took: Duration) -> f32 {
        let baseline = load(&self.baseline);
        if baseline <= 0.0 {
            return 1.0;
        }
        (took.as_secs_f32() / baseline).clamp(RELATIVE_MIN, RELATIVE_MAX)
    }

    /// What is usual: the lower quarter over all replicas; `None` before [`KNOWN_AFTER`] answers.
    pub fn usual(&self) -> Option<Duration> {
        known(&self.baseline)
    }

    /// Whether it usually takes so long that its latency says nothing of a replica.
    pub fn is_long(&self) -> bool {
        self.usual().is_some_and(|usual| usual > LONG)
    }

    /// How long the last answers took, exactly; `None` before the first one. For those who look from
    /// outside: it sorts the window.
    pub fn window(&self) -> Option<Window> {
        let mut sorted = self.recent.lock().took.clone();
        sorted.sort_unstable_by(f32::total_cmp);
        let at = |percent: usize| {
            let place = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
            let seconds = sorted.get(place).copied()?;
            Duration::try_from_secs_f32(seconds).ok()
        };
        Some(Window { count: sorted.len(), p50: at(50)?, p95: at(95)?, p99: at(99)? })
    }

    /// Half of the answers took no longer.
    pub fn p50(&self) -> Option<Duration> {
        known(&self.p50)
    }

    /// 95 of 100 answers took no longer.
    pub fn p95(&self) -> Option<Duration> {
        known(&self.p95)
    }

    /// 99 of 100 answers took no longer.
    pub fn p99(&self) -> Option<Duration> {
        known(&self.p99)
    }

    /// Answers so far.
    pub fn count(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }
}

/// How long the last answers took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// How many answers, up to [`SAMPLES`].
    pub count: usize,
    /// Half of them took no longer.
    pub p50: Duration,
    /// 95 of 100 took no longer.
    pub p95: Duration,
    /// 99 of 100 took no longer.
    pub p99: Duration,
}

impl Recent {
    fn note(&mut self, took: f32) {
        if self.took.len() < SAMPLES {
            self.took.push(took);
        } else if let Some(slot) = self.took.get_mut(self.next) {
            *slot = took;
        }
        self.next = (self.next + 1) % SAMPLES;
    }
}

fn load(slot: &AtomicU32) -> f32 {
    f32::from_bits(slot.load(Ordering::Relaxed))
}

fn store(slot: &AtomicU32, value: f32) {
    slot.store(value.to_bits(), Ordering::Relaxed);
}

fn known(slot: &AtomicU32) -> Option<Duration> {
    let seconds = load(slot);
    (seconds > 0.0).then(|| Duration::try_from_secs_f32(seconds).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn nothing_is_known_at_first_and_the_usual_time_after_twenty_answers() {
        let pace = Pace::default();
        for _ in 0..KNOWN_AFTER - 1 {
            pace.record(millis(10));
        }
        assert_eq!((pace.usual(), pace.relative(millis(500))), (None, 1.0));
        pace.record(millis(10));
        assert!(pace.usual().is_some_and(|usual| usual.abs_diff(millis(10)) < millis(1)));
        assert!((pace.relative(millis(30)) - 3.0).abs() < 0.01);
        assert!((pace.relative(Duration::from_mins(1)) - RELATIVE_MAX).abs() < 0.01);
    }

    #[test]
    fn quantiles_are_those_of_the_last_answers() {
        let pace = Pace::default();
        (1..=1_000).for_each(|n| pace.record(millis(n)));
        // The last 256 are 745 to 1,000.
        let (p50, p95, p99) = (pace.p50().unwrap(), pace.p95().unwrap(), pace.p99().unwrap());
        assert!((millis(850)..millis(890)).contains(&p50), "{p50:?}");
        assert!((millis(960)..millis(995)).contains(&p95), "{p95:?}");
        assert!((millis(970)..=millis(1_000)).contains(&p99), "{p99:?}");
        let window = pace.window().unwrap();
        assert_eq!(window.count, SAMPLES);
        let wanted = [873, 988, 998].map(millis);
        for (got, wanted) in [window.p50, window.p95, window.p99].into_iter().zip(wanted) {
            assert!(got.abs_diff(wanted) <= millis(1), "{window:?}");
        }
        let few = Pace::default();
        assert_eq!(few.window(), None);
        few.record(millis(7));
        assert!(
            few.window().is_some_and(|w| w.count == 1 && w.p99.abs_diff(millis(7)) < millis(1))
        );
    }

    #[test]
    fn quantiles_are_as_exact_as_if_all_were_sorted() {
        for len in KNOWN_AFTER..=SAMPLES {
            // Each once, in an order of its own.
            let mut took: Vec<f32> = (0..len)
                .map(|n| f32::from(u16::try_from(n * 7_919 % len).unwrap()) + 1.0)
                .collect();
            let pace = Pace::default();
            let mut sorted = took.clone();
            sorted.sort_unstable_by(f32::total_cmp);
            pace.find_quantiles(&mut took);
            let found = [&pace.p50, &pace.p95, &pace.p99].map(load);
            let wanted = [50, 95, 99].map(|percent| sorted[(len * percent / 100).min(len - 1)]);
            assert_eq!(found.map(f32::to_bits), wanted.map(f32::to_bits), "{len}");
        }
        Pace::default().find_quantiles(&mut []);
    }

    #[test]
    fn calls_that_were_given_up_late_keep_their_place_among_the_slowest() {
        let pace = Pace::default();
        (0..256).for_each(|n| pace.record(millis(n)));
        let (p95, p99) = (pace.p95().unwrap(), pace.p99().unwrap());
        // Each call that takes longer than p95 is given up there.
        for n in 0..1_000_u64 {
            let took = millis(n * 101 % 256);
            if took > p95 { pace.record_at_least(took) } else { pace.record(took) }
        }
        let now = pace.p95().unwrap();
        assert!(now.abs_diff(p95) < millis(6), "{now:?} for {p95:?}");
        let count = pace.count();
        pace.record_at_least(p95 / 2);
        assert_eq!(pace.count(), count, "one that was given up early says nothing");
        (0..256).for_each(|_| pace.record_at_least(Duration::from_mins(5)));
        assert!(pace.p99().unwrap() <= p99, "how long they would have taken is not known");
    }

    #[test]
    fn the_baseline_follows_the_lower_quarter_and_slowly() {
        let pace = Pace::default();
        (0..30).for_each(|_| pace.record(millis(100)));
        // Twice as slow from now on: after a hundred answers that still shows.
        (0..100).for_each(|_| pace.follow(millis(200)));
        assert!(pace.relative(millis(200)) > 1.8);
        // Spread evenly over 0 to 400 ms it settles near 100 ms.
        for round in 0..40_000_u64 {
            pace.follow(millis(round * 7_919 % 400));
        }
        let usual = pace.usual().unwrap();
        assert!((millis(85)..millis(115)).contains(&usual), "{usual:?}");
    }
}
