//! The books: what ran, by the journals of the servers, against what the clients were told.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::client::{End, Kind, Told};
use crate::noise;
use crate::report::{Figure, NOISE_MS};

/// One run of a tool, as its server wrote it down before it began.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) op: String,
    pub(crate) name: String,
    pub(crate) at_ms: u64,
}

/// Every run in a journal. A line that a killed server did not finish is no run that it began.
pub(crate) fn runs(journal: &Path) -> Vec<Run> {
    let text = std::fs::read_to_string(journal).unwrap_or_default();
    let read = |line: &str| {
        let entry: Value = serde_json::from_str(line).ok()?;
        Some(Run {
            op: entry["op"].as_str()?.to_owned(),
            name: entry["name"].as_str()?.to_owned(),
            at_ms: entry["at_ms"].as_u64()?,
        })
    };
    text.lines().filter_map(read).collect()
}

/// The promises that must hold whatever happens (reliability, "Ledger checker").
pub(crate) fn clean(journal: &Path, told: &[Told]) -> Vec<Figure> {
    let runs = runs(journal);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for run in &runs {
        *counts.entry(run.op.as_str()).or_default() += 1;
    }
    let ran = |one: &Told| counts.get(one.call.op.as_str()).copied().unwrap_or_default();
    let pick = |bad: &dyn Fn(&Told) -> bool| -> Vec<String> {
        told.iter().filter(|one| bad(one)).map(|one| describe(one, ran(one))).collect()
    };
    let untrue = |one: &Told| matches!(one.delivery(), "not_sent" | "rejected") && ran(one) > 0;
    let unsure = |one: &Told| match &one.end {
        End::Refused(_, _, delivery) => {
            !matches!(delivery.as_str(), "not_sent" | "rejected" | "unknown")
        }
        _ => false,
    };
    let alien: Vec<String> = told.iter().flat_map(|one| one.alien.iter().cloned()).collect();
    let called = told.iter().filter(|one| one.call.kind.once()).count();
    vec![
        Figure::told(
            "calls; of those that must not run twice",
            format!("{}; {called}", told.len()),
        ),
        Figure::none("I1 ran twice, must not", &pick(&|one| one.call.kind.once() && ran(one) > 1)),
        Figure::none("I2 told of success, never ran", &pick(&|one| one.done() && ran(one) == 0)),
        Figure::none("I3 not exactly one answer", &pick(&|one| one.answers != 1)),
        Figure::none("I4 what was another's", &alien),
        Figure::none("I5 told that it did not run, ran", &pick(&untrue)),
        Figure::none("I5 told nothing of its delivery", &pick(&unsure)),
    ]
}

fn describe(one: &Told, ran: usize) -> String {
    let (op, kind, took) = (&one.call.op, one.call.kind, one.took.as_millis());
    format!("{op} ({kind:?}) ran {ran} x, {took} ms: {:?}", one.end)
}

/// The share of successes among the calls of a kind; 1 if there were none.
pub(crate) fn success(told: &[Told], kind: Kind) -> f64 {
    let of: Vec<&Told> = told.iter().filter(|one| one.call.kind == kind).collect();
    if of.is_empty() {
        return 1.0;
    }
    of.iter().filter(|one| one.done()).count() as f64 / of.len() as f64
}

/// The figure that so much of what only reads succeeds; what failed is shown.
pub(crate) fn reads(told: &[Told], least: f64) -> Figure {
    let failed: Vec<&Told> =
        told.iter().filter(|one| one.call.kind == Kind::Read && !one.done()).collect();
    let mut what = "success of calls that read".to_owned();
    if let Some(one) = failed.first() {
        what = format!("{what}; {} failed, the first {:?}", failed.len(), one.end);
    }
    Figure::at_least(&what, success(told, Kind::Read), least)
}

/// The time in ms that so many of a hundred successful calls of a kind did not exceed.
pub(crate) fn percentile(told: &[Told], kind: Kind, percent: usize) -> f64 {
    let of = told.iter().filter(|one| one.call.kind == kind && one.done());
    rank(of.map(|one| one.took).collect(), percent)
}

/// Wakings of clients, gateway and servers on the way of one call: so often can the machine be late.
const WAKINGS: f64 = 6.0;

/// The figure that reads take no longer than so many times what they took in a steady run; on top
/// of it what this machine, as late as it was at everything meanwhile, may have added.
pub(crate) fn slower(what: &str, told: &[Told], steady: &[Told], factor: f64) -> Figure {
    let from = told.iter().map(|one| one.began_ms).min().unwrap_or_default();
    let to = told.iter().map(Told::ended_ms).max().unwrap_or_default();
    let noise = NOISE_MS + WAKINGS * noise::between(from, to);
    Figure::times(what, (p99(told), p99(steady)), factor, noise)
}

/// Parts of a run whose times are looked at one by one.
const PARTS: u64 = 5;

/// The 99th percentile of successful reads in ms: the median over five parts of the run, so that one
/// bad moment of a shared machine is not the figure.
fn p99(told: &[Told]) -> f64 {
    let of = || told.iter().filter(|one| one.call.kind == Kind::Read && one.done());
    let first = of().map(|one| one.began_ms).min().unwrap_or_default();
    let last = of().map(|one| one.began_ms).max().unwrap_or_default();
    let part = (last - first) / PARTS + 1;
    let mut parts: Vec<f64> = (0..PARTS)
        .map(|n| {
            let inside = |one: &&Told| (one.began_ms - first) / part == n;
            rank(of().filter(inside).map(|one| one.took).collect(), 99)
        })
        .collect();
    parts.sort_unstable_by(f64::total_cmp);
    parts.get(parts.len() / 2).copied().unwrap_or_default()
}

/// The time in ms that so many of a hundred did not exceed.
pub(crate) fn rank(mut times: Vec<Duration>, percent: usize) -> f64 {
    times.sort_unstable();
    let at = (times.len() * percent).div_ceil(100).max(1) - 1;
    times.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

/// How calls ended, by words.
pub(crate) fn endings(told: &[Told]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for one in told {
        let word = match &one.end {
            End::Done(_) => "done".to_owned(),
            End::Refused(code, kind, delivery) => format!("{code} {kind}/{delivery}"),
            End::Odd(why) if why.starts_with('{') => "odd: an error of the server".to_owned(),
            End::Odd(why) => format!("odd: {why:.60}"),
        };
        *counts.entry(word).or_default() += 1;
    }
    let words: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
    words.join(", ")
}
