//! The cells: what is measured on every lane.

use clap::ValueEnum;

use crate::content::Size;
use crate::driver::{Amount, Pace};
use crate::lane::{Lane, Work};
use crate::protocol::Pair;

/// What `--only` chooses: the cells, and what is measured beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    Small1,
    Small16,
    Small64,
    Medium1,
    Medium16,
    Medium64,
    Large,
    List,
    Open,
    /// CPU for each call as upstreams and tools grow
    Growth,
    /// Time to the first answer, memory of an idle gateway
    Start,
    /// Memory of 1,000 listen streams
    Streams,
    /// Memory of 10,000 idle legacy sessions
    Sessions,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) name: &'static str,
    pub(crate) part: Part,
    pub(crate) work: Work,
    pub(crate) sessions: usize,
    pub(crate) pace: Pace,
    /// It makes this part of the calls that were asked for: dear ones fewer.
    share: usize,
    /// Whether clients of one era on upstreams of the other are measured too.
    crossed: bool,
}

/// Calls a second of the open loop.
const RATE: u32 = 1_000;

impl Cell {
    const fn closed(
        name: &'static str,
        part: Part,
        work: Work,
        sessions: usize,
        share: usize,
    ) -> Self {
        Self { name, part, work, sessions, pace: Pace::Closed, share, crossed: false }
    }

    const fn crossed(self) -> Self {
        Self { crossed: true, ..self }
    }

    /// At least one call for each session.
    pub(crate) fn amount(&self, asked: Amount) -> Amount {
        let calls = (asked.calls / self.share).max(self.sessions);
        Amount { calls, ..asked }
    }

    /// Whether it is measured on this lane; `chosen`: the pairs of eras were named one by one.
    pub(crate) fn takes(&self, lane: &Lane, chosen: bool) -> bool {
        chosen || self.crossed || !lane.pair.is_some_and(Pair::crosses)
    }
}

const SMALL: Work = Work::Call(Size::Small);
const MEDIUM: Work = Work::Call(Size::Medium);
const LARGE: Work = Work::Call(Size::Large);

pub(crate) const CELLS: [Cell; 9] = [
    Cell::closed("100 B results, 1 session", Part::Small1, SMALL, 1, 4),
    Cell::closed("100 B results, 16 sessions", Part::Small16, SMALL, 16, 1).crossed(),
    Cell::closed("100 B results, 64 sessions", Part::Small64, SMALL, 64, 1),
    Cell::closed("16 KiB results, 1 session", Part::Medium1, MEDIUM, 1, 8),
    Cell::closed("16 KiB results, 16 sessions", Part::Medium16, MEDIUM, 16, 4).crossed(),
    Cell::closed("16 KiB results, 64 sessions", Part::Medium64, MEDIUM, 64, 4),
    Cell::closed("1 MiB results, 4 sessions", Part::Large, LARGE, 4, 40).crossed(),
    Cell::closed("tools/list of all upstreams, 4 sessions", Part::List, Work::List, 4, 20),
    Cell {
        pace: Pace::Open { rate: RATE },
        ..Cell::closed("100 B results, 1,000 calls/s open loop", Part::Open, SMALL, 32, 8)
    },
];

/// What is repeated at each point of the growth.
pub(crate) const SPREAD: Cell =
    Cell::closed("100 B results of the whole catalog", Part::Growth, Work::Spread, 16, 4);
