//! Distributions, from the crate's own draws: repeatable everywhere.

use waypost::base::rng::Draws;

/// Draws by distribution.
pub(crate) struct Chance {
    draws: Draws,
    /// Of two normal draws the second.
    spare: Option<f64>,
}

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        let mut draws = Draws::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        draws.bits();
        Self { draws, spare: None }
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.draws.bits()
    }

    pub(crate) fn below(&mut self, count: usize) -> usize {
        self.draws.below(count)
    }

    pub(crate) fn unit(&mut self) -> f64 {
        self.draws.unit()
    }

    /// Exponential, of this mean.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * self.unit()).sin_cos();
        self.spare = Some(radius * sin);
        radius * cos
    }

    /// Lognormal, of this mean.
    pub(crate) fn lognormal(&mut self, mean: f64, sigma: f64) -> f64 {
        mean * sigma.mul_add(self.normal(), -sigma * sigma / 2.0).exp()
    }

    /// Pareto with this shape (above 1), of this mean, at most a thousand times it.
    pub(crate) fn pareto(&mut self, mean: f64, shape: f64) -> f64 {
        let least = mean * (shape - 1.0) / shape;
        (least / (1.0 - self.unit()).powf(1.0 / shape)).min(mean * 1_000.0)
    }
}
