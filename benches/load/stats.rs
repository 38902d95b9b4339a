//! From single calls to the figures of the table.

use std::time::Duration;

use crate::Result;

/// What one round found for one cell on one lane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) calls: usize,
    pub(crate) figures: Figures,
}

/// Rates in calls a second, times in microseconds. A figure that does not exist is NaN, and so is
/// all that is computed from it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) rate: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// CPU time of the proxy for each call.
    pub(crate) cpu: f64,
}

/// The names of the figures, in the order of [`Figures::all`].
pub(crate) const NAMES: [&str; 4] = ["calls_per_s", "p50_us", "p99_us", "cpu_us_per_call"];

impl Figures {
    pub(crate) const fn all(&self) -> [f64; 4] {
        [self.rate, self.p50, self.p99, self.cpu]
    }

    const fn from_all([rate, p50, p99, cpu]: [f64; 4]) -> Self {
        Self { rate, p50, p99, cpu }
    }

    /// Each figure of this one and the other through `with`.
    pub(crate) fn zip(&self, other: &Self, with: impl Fn(f64, f64) -> f64) -> Self {
        let [rate, p50, p99, cpu] = self.all();
        let other = other.all();
        Self::from_all([
            with(rate, other[0]),
            with(p50, other[1]),
            with(p99, other[2]),
            with(cpu, other[3]),
        ])
    }

    pub(crate) fn ratio(&self, base: &Self) -> Self {
        self.zip(base, |own, base| own / base)
    }
}

pub(crate) fn sample(
    times: &mut [Duration],
    elapsed: Duration,
    cpu: Option<Duration>,
) -> Result<Sample> {
    if times.is_empty() {
        return Err("no call was made in time".into());
    }
    times.sort_unstable();
    let calls = count(times.len());
    let figures = Figures {
        rate: calls / elapsed.as_secs_f64(),
        p50: percentile(times, 50),
        p99: percentile(times, 99),
        cpu: cpu.map_or(f64::NAN, |cpu| micros(cpu) / calls),
    };
    Ok(Sample { calls: times.len(), figures })
}

/// The time that so many of a hundred calls did not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).map_or(f64::NAN, |&time| micros(time))
}

pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn count(calls: usize) -> f64 {
    f64::from(u32::try_from(calls).unwrap_or(u32::MAX))
}

/// The middle of each figure over the rounds.
pub(crate) fn medians(rounds: &[Sample]) -> Figures {
    over_rounds(rounds, median)
}

/// Each figure over that of the base in the same round, when the machine did the same beside it;
/// of these ratios the middle.
pub(crate) fn ratios(rounds: &[Sample], base: &[Sample]) -> Figures {
    let ratio = |(own, base): (&Sample, &Sample)| Sample {
        figures: own.figures.ratio(&base.figures),
        ..*own
    };
    medians(&rounds.iter().zip(base).map(ratio).collect::<Vec<_>>())
}

/// What each round has more than the same round of the base: times only.
pub(crate) fn added(rounds: &[Sample], base: &[Sample]) -> Vec<Sample> {
    let added = |(own, base): (&Sample, &Sample)| {
        let over = own.figures.zip(&base.figures, |own, base| own - base);
        Sample { figures: Figures { rate: f64::NAN, cpu: f64::NAN, ..over }, ..*own }
    };
    rounds.iter().zip(base).map(added).collect()
}

/// How far apart the rounds are, as a part of the median.
pub(crate) fn spreads(rounds: &[Sample]) -> Figures {
    over_rounds(rounds, |values| {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (high - low) / median(values)
    })
}

fn over_rounds(rounds: &[Sample], of: impl Fn(&mut [f64]) -> f64) -> Figures {
    let column = |pick: fn(&Figures) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(|round| pick(&round.figures)).collect();
        of(&mut values)
    };
    Figures {
        rate: column(|figures| figures.rate),
        p50: column(|figures| figures.p50),
        p99: column(|figures| figures.p99),
        cpu: column(|figures| figures.cpu),
    }
}

/// The middle value; of an even number the mean of the two in the middle.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let upper = values.get(values.len() / 2);
    let lower = values.get(values.len().saturating_sub(1) / 2);
    lower.zip(upper).map_or(f64::NAN, |(lower, upper)| f64::midpoint(*lower, *upper))
}
