//! The cells: what is measured on every lane.

use clap::ValueEnum;

use crate::content::Size;
use crate::driver::{Amount, Pace};
use crate::lane::Work;

/// What `--cells` chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    Small,
    Medium,
    Large,
    List,
    Open,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) name: &'static str,
    pub(crate) group: Group,
    pub(crate) work: Work,
    pub(crate) sessions: usize,
    pub(crate) pace: Pace,
    /// It makes this part of the calls that were asked for: dear ones fewer.
    share: usize,
}

/// Calls a second of the open loop.
const RATE: u32 = 1_000;

impl Cell {
    const fn closed(
        name: &'static str,
        group: Group,
        work: Work,
        sessions: usize,
        share: usize,
    ) -> Self {
        Self { name, group, work, sessions, pace: Pace::Closed, share }
    }

    /// At least one call for each session.
    pub(crate) fn amount(&self, asked: Amount) -> Amount {
        let calls = (asked.calls / self.share).max(self.sessions);
        Amount { calls, ..asked }
    }
}

const SMALL: Work = Work::Call(Size::Small);

pub(crate) const CELLS: [Cell; 7] = [
    Cell::closed("small results, 1 session", Group::Small, SMALL, 1, 4),
    Cell::closed("small results, 16 sessions", Group::Small, SMALL, 16, 1),
    Cell::closed("small results, 64 sessions", Group::Small, SMALL, 64, 1),
    Cell::closed("64 KiB results, 16 sessions", Group::Medium, Work::Call(Size::Medium), 16, 8),
    Cell::closed("1 MiB results, 4 sessions", Group::Large, Work::Call(Size::Large), 4, 40),
    Cell::closed("tools/list of all upstreams, 4 sessions", Group::List, Work::List, 4, 20),
    Cell {
        name: "small results, 1,000 calls/s open loop",
        group: Group::Open,
        work: SMALL,
        sessions: 32,
        pace: Pace::Open { rate: RATE },
        share: 8,
    },
];
