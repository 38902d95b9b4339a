//! Which runs make up the whole.

use std::time::Instant;

use crate::options::Options;
use crate::rule::Rule;
use crate::scenarios as of;
use crate::sim;
use crate::stats::{Figures, figures};
use crate::world::{Trouble, World};

/// What the seeds of one scenario found under one rule.
pub(crate) struct Found {
    pub(crate) scenario: &'static str,
    pub(crate) rule: Rule,
    pub(crate) seeds: Vec<(u64, Figures)>,
}

struct Planned {
    world: World,
    rules: &'static [Rule],
    /// Rules that a gate needs, so that a quick run has them too.
    gated: &'static [Rule],
    /// What a quick run shows beside them, of the first seed alone.
    shown: &'static [Rule],
}

use Rule::{Auto, LeastBusy, LeastOfTwo, P2cEwma, PeakEwma, Prequal, RoundRobin};

const LOCAL: &[Rule] = &[RoundRobin, LeastOfTwo, PeakEwma, P2cEwma, LeastBusy, Auto];
const ALL: &[Rule] = &[RoundRobin, LeastOfTwo, PeakEwma, P2cEwma, LeastBusy, Auto, Prequal];
const SHOWN: &[Rule] = &[RoundRobin, PeakEwma, P2cEwma, Prequal];
const BESIDE: &[Rule] = &[LeastOfTwo, Auto];
const AUTO: &[Rule] = &[Auto];
const NONE: &[Rule] = &[];

/// A quick run lasts so much of a whole one, but for those that count what probes cost: gates are
/// shut for longer and longer, so the share depends on the length.
const QUICK: f64 = 0.6;

fn planned() -> Vec<Planned> {
    let plan = |world, rules, gated, shown| Planned { world, rules, gated, shown };
    vec![
        plan(of::A, ALL, BESIDE, SHOWN),
        plan(of::A85, ALL, BESIDE, NONE),
        plan(of::G1, ALL, NONE, AUTO),
        plan(of::G32, ALL, NONE, &[LeastOfTwo, Auto, Prequal]),
        plan(of::B, LOCAL, BESIDE, &[PeakEwma]),
        plan(of::C, LOCAL, AUTO, NONE),
        plan(of::D, LOCAL, AUTO, NONE),
        plan(of::E, LOCAL, AUTO, NONE),
        plan(of::F, LOCAL, AUTO, NONE),
        plan(of::H, LOCAL, AUTO, NONE),
        plan(of::I, LOCAL, NONE, BESIDE),
        plan(of::J, LOCAL, NONE, BESIDE),
        plan(of::K, LOCAL, NONE, BESIDE),
        plan(of::L, LOCAL, NONE, BESIDE),
        plan(of::M, LOCAL, NONE, BESIDE),
    ]
}

pub(crate) fn run(options: &Options) -> Vec<Found> {
    let mut found = Vec::new();
    let seeds = options.seeds();
    for planned in planned().iter().filter(|planned| options.wants(planned.world.name)) {
        let mut world = planned.world;
        if !options.quick {
            planned.rules.iter().for_each(|rule| found.push(one(&world, *rule, &seeds)));
            continue;
        }
        if !matches!(world.trouble, Trouble::Fail(_) | Trouble::Hang(_)) {
            world.length *= QUICK;
        }
        for rule in planned.rules {
            if planned.gated.contains(rule) {
                found.push(one(&world, *rule, &seeds));
            } else if planned.shown.contains(rule) {
                found.push(one(&world, *rule, &seeds[..1]));
            }
        }
    }
    found
}

fn one(world: &World, rule: Rule, seeds: &[u64]) -> Found {
    let began = Instant::now();
    let of_seed = |seed: &u64| (*seed, figures(sim::run(world, rule, *seed)));
    let seeds = seeds.iter().map(of_seed).collect();
    eprintln!("{}, {}: {:.1} s", world.name, rule.name(), began.elapsed().as_secs_f64());
    Found { scenario: world.name, rule, seeds }
}
