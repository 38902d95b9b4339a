//! Pure: how long to wait before a call is sent again. Full jitter: anything from nothing to the
//! step, so that clients that failed together do not come back together.

use std::time::Duration;

use super::spec::RetrySpec;
use crate::base::rng::Draws;

/// The wait before repetition number `nth`, counted from 0.
pub fn wait(spec: &RetrySpec, nth: u32, draw: u64) -> Duration {
    let factor = spec.backoff_factor.powi(i32::try_from(nth).unwrap_or(i32::MAX));
    let step = spec.backoff_base.as_secs_f64() * factor;
    let step = if step.is_finite() { step.min(spec.backoff_max.as_secs_f64()) } else { 0.0 };
    let step = if factor.is_finite() { step } else { spec.backoff_max.as_secs_f64() };
    Duration::try_from_secs_f64(step * Draws::new(draw).unit()).unwrap_or(spec.backoff_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_wait_is_never_longer_than_its_step_nor_than_the_longest(
            nth in 0_u32..2_000, draw in proptest::num::u64::ANY, factor in 1.0..10.0_f64,
        ) {
            let spec = RetrySpec { backoff_factor: factor, ..RetrySpec::default() };
            let got = wait(&spec, nth, draw);
            proptest::prop_assert!(got <= spec.backoff_max);
            if nth < 5 {
                let step = spec.backoff_base.mul_f64(factor.powi(i32::try_from(nth).unwrap()));
                proptest::prop_assert!(got <= step);
            }
        }
    }

    #[test]
    fn waits_are_spread_over_the_whole_step() {
        let spec = RetrySpec::default();
        let waits: Vec<_> = (0..1_000).map(|draw| wait(&spec, 3, draw)).collect();
        let step = spec.backoff_base * 8;
        assert!(waits.iter().any(|wait| *wait < step / 10));
        assert!(waits.iter().any(|wait| *wait > step * 9 / 10));
    }
}
