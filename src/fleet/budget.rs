//! Pure: how many calls may be sent again. Each call that is answered earns a part of a
//! repetition, and a little is always there; so in an outage repetitions stay a small share of the
//! calls instead of multiplying them.

use std::time::{Duration, Instant};

/// What is always earned.
pub const PER_SECOND: f64 = 1.0;
/// How much of what is always earned can be kept.
pub const RESERVE_MAX: f64 = 5.0;
/// How much of what calls earned can be kept.
pub const EARNED_MAX: f64 = 50.0;
/// What calls earned fades to a third in this time.
pub const FADE: Duration = Duration::from_secs(10);

/// How many calls may be sent again.
#[derive(Clone, Debug)]
pub struct Budget {
    reserve: f64,
    reserve_max: f64,
    per_second: f64,
    earned: f64,
    earned_max: f64,
    at: Instant,
}

impl Budget {
    /// A budget for repetitions.
    pub fn new(now: Instant) -> Self {
        Self {
            reserve: RESERVE_MAX,
            reserve_max: RESERVE_MAX,
            per_second: PER_SECOND,
            earned: 0.0,
            earned_max: EARNED_MAX,
            at: now,
        }
    }

    /// A budget without anything that is always there: so many at most.
    pub fn earned_only(now: Instant, burst: f64) -> Self {
        Self {
            reserve: 0.0,
            reserve_max: 0.0,
            per_second: 0.0,
            earned_max: burst,
            ..Self::new(now)
        }
    }

    /// A call was answered: it earns `ratio` of a repetition.
    pub fn earn(&mut self, ratio: f64, now: Instant) {
        self.pass(now);
        self.earned = (self.earned + ratio).min(self.earned_max);
    }

    /// Takes the cost of a repetition, if it is there.
    pub fn spend(&mut self, cost: f64, now: Instant) -> bool {
        self.pass(now);
        if self.earned + self.reserve < cost {
            return false;
        }
        let from_earned = self.earned.min(cost);
        self.earned -= from_earned;
        self.reserve -= cost - from_earned;
        true
    }

    /// What is there now.
    pub fn left(&mut self, now: Instant) -> f64 {
        self.pass(now);
        self.earned + self.reserve
    }

    fn pass(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        if passed > 0.0 {
            self.reserve = (self.reserve + passed * self.per_second).min(self.reserve_max);
            self.earned *= (-passed / FADE.as_secs_f64()).exp();
            self.at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    #[test]
    fn in_a_total_outage_repetitions_are_one_a_second_after_the_first_few() {
        let start = clock::now();
        let mut budget = Budget::new(start);
        // 100 calls a second, none answered, each wants to be sent again.
        let granted =
            (0..6_000).filter(|n| budget.spend(1.0, start + Duration::from_millis(n * 10))).count();
        assert!((60..=66).contains(&granted), "{granted} in a minute");
    }

    #[test]
    fn of_many_answered_calls_a_tenth_may_be_repeated() {
        let start = clock::now();
        let mut budget = Budget::new(start);
        let mut granted = 0;
        for n in 0..10_000_u64 {
            let now = start + Duration::from_millis(n * 10);
            budget.earn(0.1, now);
            granted += usize::from(n % 5 == 0 && budget.spend(1.0, now));
        }
        // A tenth of 10,000, one a second for 100 s, and what was there at first.
        assert!((1_000..=1_160).contains(&granted), "{granted}");
    }

    #[test]
    fn what_was_earned_fades_and_is_bounded() {
        let now = clock::now();
        let mut budget = Budget::earned_only(now, 10.0);
        assert!(!budget.spend(1.0, now));
        (0..10_000).for_each(|_| budget.earn(0.05, now));
        assert!((budget.left(now) - 10.0).abs() < 1e-9);
        assert!(budget.left(now + FADE * 10) < 0.001);
    }
}
