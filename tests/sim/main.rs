//! Seeded simulation of the whole path of a call: the real gateway, director, keepers, pools and
//! transports, in front of simulated hosts that fail in every way of an alphabet of faults, in
//! virtual time. What servers did and what clients were told are two books, which must agree.
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
mod faults;
mod host;
mod ledger;
mod model;
mod server;
mod world;

use std::ops::Range;

/// Seeds of one test, of which there are eight, so that they run beside each other.
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

/// Runs seeds; those that fail are named with the command that repeats them.
fn simulate(seeds: Range<u64>) {
    let (mut failed, mut calls, count) = (Vec::new(), 0, seeds.end - seeds.start);
    let tell = variable("SIM_SEED").is_some();
    for seed in seeds {
        let end = std::panic::catch_unwind(|| world::run(seed, tell));
        match end {
            Ok(end) => {
                calls += end.calls;
                if !end.breaches.is_empty() {
                    let shown = end.breaches.iter().take(5).cloned().collect::<Vec<_>>();
                    failed.push(format!("seed {seed}: {}", shown.join("\n    ")));
                }
                if tell {
                    eprintln!("{}", end.story);
                }
            }
            Err(_) => failed.push(format!("seed {seed}: panicked")),
        }
    }
    eprintln!("{count} seeds, {calls} calls, {} failed", failed.len());
    let command = "SIM_SEED=<seed> cargo test --test sim one_seed -- --nocapture";
    assert!(failed.is_empty(), "repeat with {command}\n{}", failed.join("\n"));
}

/// The seeds of one of the eight tests: by default its own forty, else its share of what is wanted.
fn share(part: u64) {
    if variable("SIM_SEED").is_some() {
        return;
    }
    let all = variable("SIM_SEEDS").map_or(0..SEEDS * 8, |text| range(&text));
    let step = (all.end - all.start).div_ceil(8);
    let from = (all.start + step * part).min(all.end);
    simulate(from..(from + step).min(all.end));
}

#[test]
fn seeds_1_of_8() {
    share(0);
}

#[test]
fn seeds_2_of_8() {
    share(1);
}

#[test]
fn seeds_3_of_8() {
    share(2);
}

#[test]
fn seeds_4_of_8() {
    share(3);
}

#[test]
fn seeds_5_of_8() {
    share(4);
}

#[test]
fn seeds_6_of_8() {
    share(5);
}

#[test]
fn seeds_7_of_8() {
    share(6);
}

#[test]
fn seeds_8_of_8() {
    share(7);
}

#[test]
fn one_seed() {
    if let Some(seed) = variable("SIM_SEED") {
        simulate(range(&format!("{seed}..{}", seed.parse::<u64>().unwrap() + 1)));
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..20 {
        let (one, other) = (world::run(seed, false), world::run(seed, false));
        if one.digest != other.digest {
            let mut lines = one.story.lines().zip(other.story.lines()).enumerate();
            let first = lines.find(|(_, (a, b))| a != b);
            panic!("two runs of seed {seed} differ, first at {first:?}");
        }
    }
}
