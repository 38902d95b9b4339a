//! The only source of chance. Pure code takes a draw as an argument; shells ask here.

use std::cell::Cell;

use rand::RngExt as _;

thread_local! {
    /// What the draws of this thread follow from; `None` = chance.
    static SEEDED: Cell<Option<Draws>> = const { Cell::new(None) };
}

/// A uniform draw of 64 bits, for balancing, jitter and sampling.
#[expect(clippy::disallowed_methods, reason = "this is the one source of chance")]
pub fn draw() -> u64 {
    let Some(mut draws) = SEEDED.get() else { return rand::rng().random() };
    let bits = draws.bits();
    SEEDED.set(Some(draws));
    bits
}

/// From now on the draws of this thread follow from `seed`, so that a run of a simulation can be
/// repeated; `None` = chance again. Tokens stay unguessable.
pub fn seed(seed: Option<u64>) {
    SEEDED.set(seed.map(Draws::new));
}

/// 128 unguessable bits as 32 lower-case hex digits, for session ids.
#[expect(clippy::disallowed_methods, reason = "this is the one source of chance")]
pub fn token() -> String {
    let bits: u128 = rand::rng().random();
    format!("{bits:032x}")
}

/// Unguessable bytes, for keys.
#[expect(clippy::disallowed_methods, reason = "this is the one source of chance")]
pub fn secret<const LENGTH: usize>() -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    rand::rng().fill(&mut bytes[..]);
    bytes
}

/// `base` spread evenly over `base ± percent %`, by the given draw.
pub fn jitter(base: std::time::Duration, percent: u32, draw: u64) -> std::time::Duration {
    let span = u64::from(percent.min(100)) * 2 + 1;
    let factor = 100 - u64::from(percent.min(100)) + draw % span;
    base * u32::try_from(factor).unwrap_or(100) / 100
}

/// Any number of draws from one, for pure code that needs more than one (`SplitMix64`).
#[derive(Clone, Copy, Debug)]
pub struct Draws(u64);

impl Draws {
    /// The draws that follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A place below `count`; 0 where there is none.
    pub fn below(&mut self, count: usize) -> usize {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        // The high half of a product instead of a remainder: no division.
        let wide = u128::from(self.bits()) * u128::from(count);
        usize::try_from(wide >> 64).unwrap_or(0)
    }

    /// A number from 0 to just below 1.
    pub fn unit(&mut self) -> f64 {
        let high = u32::try_from(self.bits() >> 32).unwrap_or(0);
        f64::from(high) / (f64::from(u32::MAX) + 1.0)
    }
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
    fn draws_are_spread_evenly_and_repeat_with_their_seed() {
        let (mut one, mut other) = (Draws::new(7), Draws::new(7));
        let mut hits = [0_u32; 5];
        for _ in 0..50_000 {
            let place = one.below(5);
            assert_eq!(place, other.below(5));
            hits[place] += 1;
        }
        assert!(hits.iter().all(|hits| (9_500..10_500).contains(hits)), "{hits:?}");
        assert_eq!(one.below(0), 0);
        let mean = (0..10_000).map(|_| one.unit()).sum::<f64>() / 10_000.0;
        assert!((0.48..0.52).contains(&mean), "{mean}");
    }

    #[test]
    fn a_seed_makes_the_draws_of_a_thread_repeat_and_tokens_stay_unguessable() {
        let run = || {
            seed(Some(7));
            (std::array::from_fn::<u64, 8, _>(|_| draw()), token())
        };
        let (one, other) = (run(), run());
        assert_eq!(one.0, other.0);
        assert_ne!(one.1, other.1);
        seed(None);
        assert_ne!(draw(), Draws::new(7).bits());
    }

    #[test]
    fn tokens_are_32_hex_digits_and_differ() {
        let (a, b) = (token(), token());
        assert_eq!(a.len(), 32);
        assert_ne!(a, b);
    }
}
