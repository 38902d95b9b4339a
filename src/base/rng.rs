//! The only source of chance. Pure code takes a draw as an argument; shells ask here.

use rand::RngExt as _;

/// A uniform draw of 64 bits, for balancing, jitter and sampling.
#[expect(clippy::disallowed_methods, reason = "this is the one source of chance")]
pub fn draw() -> u64 {
    rand::rng().random()
}

/// 128 unguessable bits as 32 lower-case hex digits, for session ids.
#[expect(clippy::disallowed_methods, reason = "this is the one source of chance")]
pub fn token() -> String {
    let bits: u128 = rand::rng().random();
    format!("{bits:032x}")
}

/// `base` spread evenly over `base ± percent %`, by the given draw.
pub fn jitter(base: std::time::Duration, percent: u32, draw: u64) -> std::time::Duration {
    let span = u64::from(percent.min(100)) * 2 + 1;
    let factor = 100 - u64::from(percent.min(100)) + draw % span;
    base * u32::try_from(factor).unwrap_or(100) / 100
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn jitter_stays_within_its_percentage() {
        for draw in 0..1_000 {
            let got = jitter(Duration::from_secs(10), 20, draw);
            assert!(got >= Duration::from_secs(8) && got <= Duration::from_secs(12), "{got:?}");
        }
    }

    #[test]
    fn tokens_are_32_hex_digits_and_differ() {
        let (a, b) = (token(), token());
        assert_eq!(a.len(), 32);
        assert_ne!(a, b);
    }
}
