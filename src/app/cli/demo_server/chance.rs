//! Which calls fail when `--fail RATE` asks for some: by counter and seed, never by luck.
//!
//! The same seed gives the same calls on every run, so a test can say which. Pure: no I/O.

/// A share of calls, drawn from a seed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chance {
    rate: f64,
    seed: u64,
}

// === impl Chance ===

impl Chance {
    pub(super) const fn new(rate: f64, seed: u64) -> Self {
        Self { rate, seed }
    }

    /// True if call number `n` is one of the failing ones.
    pub(super) fn strikes(self, n: u64) -> bool {
        let top = u32::try_from(mix(self.seed, n) >> 32).unwrap_or(u32::MAX);
        f64::from(top) / (f64::from(u32::MAX) + 1.0) < self.rate
    }
}

/// Splitmix64: small, and well spread even for neighbouring numbers.
fn mix(seed: u64, n: u64) -> u64 {
    let mut z = seed.wrapping_add(n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Reads `--fail`: a share from 0 to 1.
pub(super) fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.0..=1.0).contains(&rate) => Ok(rate),
        _ => Err("a share from 0 to 1, such as 0.25".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn struck(rate: f64, seed: u64) -> Vec<u64> {
        (0..10_000).filter(|n| Chance::new(rate, seed).strikes(*n)).collect()
    }

    #[test]
    fn none_and_all_are_exact() {
        assert!(struck(0.0, 1).is_empty());
        assert_eq!(struck(1.0, 1).len(), 10_000);
    }

    #[test]
    fn the_share_is_about_the_rate_and_repeats_with_the_seed() {
        let first = struck(0.25, 7);
        assert!((2_300..2_700).contains(&first.len()), "{}", first.len());
        assert_eq!(first, struck(0.25, 7));
        assert_ne!(first, struck(0.25, 8));
    }

    #[test]
    fn a_rate_is_between_none_and_all() {
        assert_eq!(parse_rate("0.5"), Ok(0.5));
        for bad in ["-0.1", "1.1", "NaN", "x", ""] {
            assert!(parse_rate(bad).is_err(), "{bad}");
        }
    }
}
