//! Chance by a seed: everything that may go one way or the other asks here.

use std::time::Duration;

use waypost::base::rng::Draws;

/// Dice that fall the same way for the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Dice(Draws);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        let mut draws = Draws::new(seed);
        // Seeds are small numbers next to each other; their dice should not be.
        Self(Draws::new(draws.bits()))
    }

    /// Dice of their own for a part of the world, so that what it throws moves no other part.
    pub(crate) fn fork(&mut self) -> Self {
        Self(Draws::new(self.0.bits()))
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        let count = usize::try_from(high - low + 1).unwrap();
        low + u64::try_from(self.0.below(count)).unwrap()
    }

    /// A place below `count`.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        self.0.below(count)
    }

    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.between(1, 100) <= percent
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.percent(50)
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A time in milliseconds, short ones more often than long ones.
    pub(crate) fn millis(&mut self, high: u64) -> Duration {
        let top = self.between(1, high.max(1));
        Duration::from_millis(self.between(0, top))
    }
}
