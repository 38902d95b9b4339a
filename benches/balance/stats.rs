//! From single calls to the figures of the table.

use crate::sim::Totals;

/// What one run found. Times in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) calls: usize,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    /// Of the first tool alone, the one that most calls are of.
    pub(crate) fast_p999: f64,
    /// Share of the calls that failed.
    pub(crate) errors: f64,
    pub(crate) attempts: f64,
    /// 1 = every replica worked equally much of its time; 1/n = one did all.
    pub(crate) fairness: f64,
    /// Most calls at one replica.
    pub(crate) most: u32,
    /// Failures at a replica that one gateway took before it shut its gate, at most.
    pub(crate) found_after: u32,
}

pub(crate) fn figures(mut totals: Totals) -> Figures {
    let calls: usize = totals.times.iter().map(Vec::len).sum();
    totals.times.iter_mut().for_each(|times| times.sort_unstable());
    let fast_p999 = quantile(&totals.times[0], 0.999);
    let mut all: Vec<u64> = totals.times.into_iter().flatten().collect();
    all.sort_unstable();
    let count = (calls as u64 + totals.failed).max(1) as f64;
    Figures {
        calls,
        p50: quantile(&all, 0.5),
        p99: quantile(&all, 0.99),
        p999: quantile(&all, 0.999),
        fast_p999,
        errors: totals.failed as f64 / count,
        attempts: totals.attempts as f64 / count,
        fairness: jain(&totals.worked),
        most: totals.most,
        found_after: totals.found_after,
    }
}

/// Of sorted nanoseconds, in milliseconds.
fn quantile(sorted: &[u64], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share) as usize;
    sorted.get(place.min(sorted.len().saturating_sub(1))).map_or(f64::NAN, |&t| t as f64 / 1e6)
}

fn jain(values: &[f64]) -> f64 {
    let sum: f64 = values.iter().sum();
    let squares: f64 = values.iter().map(|value| value * value).sum();
    sum * sum / (values.len() as f64 * squares)
}

/// The middle value; of an even number the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let upper = values.get(values.len() / 2);
    let lower = values.get(values.len().saturating_sub(1) / 2);
    lower.zip(upper).map_or(f64::NAN, |(lower, upper)| f64::midpoint(*lower, *upper))
}

pub(crate) fn worst(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}
