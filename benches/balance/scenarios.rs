//! The scenarios, by their letters in the design: what the tables of `docs/performance.md` show.

use crate::world::{Brown, Load, Spread, Tool, Trouble, World};

const PLAIN: &[Tool] =
    &[Tool { share: 1.0, mean: 0.05, spread: Spread::Lognormal(1.0), half: false }];

const MIX: &[Tool] = &[
    Tool { share: 0.85, mean: 0.03, spread: Spread::Lognormal(0.7), half: false },
    Tool { share: 0.13, mean: 0.5, spread: Spread::Lognormal(0.7), half: false },
    Tool { share: 0.02, mean: 60.0, spread: Spread::Lognormal(0.7), half: false },
];

const SKEWED: &[Tool] = &[
    Tool { share: 0.75, mean: 0.05, spread: Spread::Lognormal(1.0), half: false },
    Tool { share: 0.25, mean: 0.05, spread: Spread::Lognormal(1.0), half: true },
];

const SIZED: &[Tool] = &[Tool { share: 1.0, mean: 0.05, spread: Spread::Pareto(1.6), half: false }];

/// A: 100 replicas of four workers, 5 of them three times slower, 15 one and a half; brown-outs.
pub(crate) const A: World = World {
    name: "A 70 %",
    replicas: 100,
    gateways: 8,
    workers: 4,
    tools: PLAIN,
    slow: &[(5, 3.0), (15, 1.5)],
    brown: Some(Brown { times: 5.0, lasts: 5.0, every: 95.0 }),
    load: Load::Share(0.7),
    length: 160.0,
    from: 20.0,
    trouble: Trouble::None,
    timeout: None,
    retries: false,
    sticky: 0.0,
    hedge: false,
};

pub(crate) const A85: World = World { name: "A 85 %", load: Load::Share(0.85), ..A };

/// G: how many gateways there are.
pub(crate) const G1: World = World { name: "G 1 gateway", gateways: 1, ..A };
pub(crate) const G32: World = World { name: "G 32 gateways", gateways: 32, ..A };

/// B: fast tools beside some that take a minute.
pub(crate) const B: World = World {
    name: "B mix",
    workers: 64,
    tools: MIX,
    slow: &[(5, 8.0)],
    brown: None,
    load: Load::Share(0.5),
    length: 400.0,
    from: 120.0,
    ..A
};

pub(crate) const C: World =
    World { name: "C black hole", trouble: Trouble::Fail(1), from: 40.0, ..A };

pub(crate) const D: World =
    World { name: "D hang", trouble: Trouble::Hang(2), timeout: Some(5.0), from: 40.0, ..A };

pub(crate) const E: World = World {
    name: "E roll",
    trouble: Trouble::Roll { percent: 10, every: 10.0, away: 3.0 },
    retries: true,
    ..A
};

pub(crate) const F: World = World {
    name: "F flap",
    trouble: Trouble::Flap { count: 5, up: 2.0, away: 2.0 },
    retries: true,
    ..A
};

pub(crate) const H: World = World { name: "H hedge", hedge: true, ..A };

pub(crate) const I: World = World { name: "I skew", tools: SKEWED, ..A };

pub(crate) const J: World = World { name: "J sizes", tools: SIZED, ..A };

pub(crate) const K: World = World { name: "K sticky", sticky: 0.3, ..A };

/// L: three replicas, one of them slow.
pub(crate) const L: World =
    World { name: "L three", replicas: 3, gateways: 1, slow: &[(34, 3.0)], length: 1_200.0, ..A };

/// M: one call in two seconds.
pub(crate) const M: World =
    World { name: "M trickle", gateways: 1, load: Load::PerSecond(0.5), length: 20_000.0, ..A };
