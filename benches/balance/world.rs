//! What a scenario is made of.

/// A fleet, what is wrong with it, and the calls that come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World {
    /// As the table shows it; the letter first.
    pub(crate) name: &'static str,
    pub(crate) replicas: usize,
    /// Gateways in front of them, each with only its own view.
    pub(crate) gateways: usize,
    /// Calls that a replica works on at a time; the others wait their turn there.
    pub(crate) workers: u32,
    pub(crate) tools: &'static [Tool],
    /// Percent of the replicas, and how many times slower they are.
    pub(crate) slow: &'static [(usize, f64)],
    pub(crate) brown: Option<Brown>,
    pub(crate) load: Load,
    /// In seconds.
    pub(crate) length: f64,
    /// What comes earlier is not counted.
    pub(crate) from: f64,
    pub(crate) trouble: Trouble,
    /// Silence after which a call is given up, in seconds.
    pub(crate) timeout: Option<f64>,
    /// Calls that failed are tried again by the gateway's rules.
    pub(crate) retries: bool,
    /// Share of the calls that belong to a session, which lives at one replica.
    pub(crate) sticky: f64,
    pub(crate) hedge: bool,
}

/// A tool: how long its calls take at a replica as it should be, without waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tool {
    pub(crate) share: f64,
    /// In seconds.
    pub(crate) mean: f64,
    pub(crate) spread: Spread,
    /// Only every second replica has it.
    pub(crate) half: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Spread {
    Lognormal(f64),
    /// As arguments are: many small ones and few that are very large.
    Pareto(f64),
}

/// Replicas slow down for a while.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Brown {
    pub(crate) times: f64,
    /// Mean seconds that it lasts.
    pub(crate) lasts: f64,
    /// Mean seconds between two.
    pub(crate) every: f64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// Of what the fleet can do, slow replicas and brown-outs taken into account.
    Share(f64),
    PerSecond(f64),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    None,
    /// So many replicas answer every call with a failure after a millisecond.
    Fail(usize),
    /// So many replicas take calls and never answer.
    Hang(usize),
    /// Every `every` seconds `percent` of the replicas are replaced: each finishes what it has,
    /// refuses what comes, and is back after `away` seconds.
    Roll {
        percent: usize,
        every: f64,
        away: f64,
    },
    /// So many replicas come and go: `up` seconds, then `away` seconds.
    Flap {
        count: usize,
        up: f64,
        away: f64,
    },
}

impl World {
    /// How much longer than it should the average call takes if calls go where there is room.
    fn capacity(&self) -> f64 {
        let brown = self.brown.map_or(1.0, |brown| {
            let share = brown.lasts / (brown.lasts + brown.every);
            1.0 - share + share / brown.times
        });
        let mean: f64 = self.tools.iter().map(|tool| tool.share * tool.mean).sum();
        let speeds: f64 = (0..self.replicas).map(|place| 1.0 / self.slowness(place)).sum();
        speeds * f64::from(self.workers) * brown / mean
    }

    /// How many times slower a replica is; the slow ones come first.
    pub(crate) fn slowness(&self, place: usize) -> f64 {
        let mut before = 0;
        for (percent, times) in self.slow {
            before += percent * self.replicas / 100;
            if place < before {
                return *times;
            }
        }
        1.0
    }

    /// Calls a second.
    pub(crate) fn rate(&self) -> f64 {
        match self.load {
            Load::Share(share) => self.capacity() * share,
            Load::PerSecond(rate) => rate,
        }
    }
}
