//! Seeded simulation of the whole path of a call: the real gateway, director, keepers, pools and
//! transports, in front of simulated hosts that fail in every way of an alphabet of faults, in
//! virtual time. What servers did and what clients were told are two books, which must agree.
//! [`questions`] are worlds of their own: servers that ask in the middle of a call.
//!
//! `SIM_SEED=n` runs one seed and shows its story, `SIM_SEEDS=n` or `SIM_SEEDS=a..b` as many as
//! wanted.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "the helpers of a test may fail as the test may"
)]

mod chance;
mod check;
mod child;
mod client;
mod equal_ids;
mod faults;
mod host;
mod ledger;
mod model;
mod questions;
mod replay;
mod server;
mod world;

use std::collections::BTreeMap;
use std::ops::Range;

/// Seeds of one test, of which there are several, so that they run beside each other.
const SEEDS: u64 = 40;

#[expect(clippy::disallowed_methods, reason = "what to run comes from the environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn range(text: &str) -> Range<u64> {
    let number = |text: &str| text.parse().unwrap();
    match text.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => 0..number(text),
    }
}

/// A kind of world, and the test that repeats one seed of it.
struct Kind {
    run: fn(u64, bool) -> world::End,
    /// Its tests.
    parts: u64,
    one: &'static str,
    /// What must happen in some seeds of it.
    must_happen: &'static [&'static str],
}

const CALLS: Kind = Kind { run: world::run, parts: 8, one: "one_seed", must_happen: &[] };
const QUESTIONS: Kind = Kind {
    run: questions::run,
    parts: 4,
    one: "one_seed_of_questions",
    must_happen: &questions::MUST_HAPPEN,
};

/// Fewer seeds than this may leave things out.
const SOME_SEEDS: u64 = 40;

/// Runs seeds; those that fail are named with the command that repeats them.
fn simulate(kind: &Kind, seeds: Range<u64>) {
    let (mut failed, mut calls, count) = (Vec::new(), 0, seeds.end - seeds.start);
    let tell = variable("SIM_SEED").is_some();
    let mut tally = BTreeMap::<&str, u64>::new();
    for seed in seeds {
        let end = std::panic::catch_unwind(|| (kind.run)(seed, tell));
        match end {
            Ok(end) => {
                calls += end.calls;
                if !end.breaches.is_empty() {
                    let shown = end.breaches.iter().take(5).cloned().collect::<Vec<_>>();
                    failed.push(format!("seed {seed}: {}", shown.join("\n    ")));
                }
                for (what, times) in end.tally {
                    *tally.entry(what).or_default() += times;
                }
                if tell {
                    eprintln!("{}", end.story);
                }
            }
            Err(_) => failed.push(format!("seed {seed}: panicked")),
        }
    }
    eprintln!("{count} seeds, {calls} calls, {} failed {tally:?}", failed.len());
    let command = format!("SIM_SEED=<seed> cargo test --test sim {} -- --nocapture", kind.one);
    assert!(failed.is_empty(), "repeat with {command}\n{}", failed.join("\n"));
    let never = kind.must_happen.iter().find(|what| !tally.contains_key(*what));
    if let (Some(what), true) = (never, count >= SOME_SEEDS) {
        panic!("in {count} seeds this never happened: {what}");
    }
}

/// The seeds of one of its tests: by default its own forty, else its share of what is wanted.
fn share(kind: &Kind, part: u64) {
    if variable("SIM_SEED").is_some() {
        return;
    }
    let all = variable("SIM_SEEDS").map_or(0..SEEDS * kind.parts, |text| range(&text));
    let step = (all.end - all.start).div_ceil(kind.parts);
    let from = (all.start + step * part).min(all.end);
    simulate(kind, from..(from + step).min(all.end));
}

#[test]
fn seeds_1_of_8() {
    share(&CALLS, 0);
}

#[test]
fn seeds_2_of_8() {
    share(&CALLS, 1);
}

#[test]
fn seeds_3_of_8() {
    share(&CALLS, 2);
}

#[test]
fn seeds_4_of_8() {
    share(&CALLS, 3);
}

#[test]
fn seeds_5_of_8() {
    share(&CALLS, 4);
}

#[test]
fn seeds_6_of_8() {
    share(&CALLS, 5);
}

#[test]
fn seeds_7_of_8() {
    share(&CALLS, 6);
}

#[test]
fn seeds_8_of_8() {
    share(&CALLS, 7);
}

#[test]
fn seeds_of_questions_1_of_4() {
    share(&QUESTIONS, 0);
}

#[test]
fn seeds_of_questions_2_of_4() {
    share(&QUESTIONS, 1);
}

#[test]
fn seeds_of_questions_3_of_4() {
    share(&QUESTIONS, 2);
}

#[test]
fn seeds_of_questions_4_of_4() {
    share(&QUESTIONS, 3);
}

/// Runs the seed that is wanted, if one is.
fn one(kind: &Kind) {
    if let Some(seed) = variable("SIM_SEED") {
        simulate(kind, range(&format!("{seed}..{}", seed.parse::<u64>().unwrap() + 1)));
    }
}

#[test]
fn one_seed() {
    one(&CALLS);
}

#[test]
fn one_seed_of_questions() {
    one(&QUESTIONS);
}

#[test]
fn the_same_seed_is_the_same_run() {
    for kind in [CALLS, QUESTIONS] {
        for seed in 0..20 {
            let (one, other) = ((kind.run)(seed, false), (kind.run)(seed, false));
            if one.digest != other.digest {
                let mut lines = one.story.lines().zip(other.story.lines()).enumerate();
                let first = lines.find(|(_, (a, b))| a != b);
                panic!("two runs of seed {seed} differ, first at {first:?}; see {}", kind.one);
            }
        }
    }
}
