//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::cells::Part;
use crate::driver::Amount;
use crate::protocol::Pair;

/// Measures direct, nginx and waypost in one run; only the ratios of one run count.
#[derive(Parser, Debug)]
#[command(name = "load", bin_name = "cargo bench --bench load --")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct Options {
    /// Fewer calls: the whole run takes two or three minutes
    #[arg(long)]
    pub(crate) quick: bool,
    /// Calls of a cell with small results; the other cells take a share of it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    calls: Option<u32>,
    /// How often everything is measured; the table shows medians
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) rounds: u32,
    /// Write everything that was measured to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// What to measure [default: all]
    #[arg(long, value_name = "LIST", value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Eras of waypost's clients and upstreams [default: ll and mm, in some cells all four]
    #[arg(long, value_name = "LIST", value_enum, value_delimiter = ',')]
    pairs: Vec<Pair>,
    /// Leave out direct and nginx, and so all ratios: for a profiler
    #[arg(long, conflicts_with = "without_waypost")]
    pub(crate) waypost_only: bool,
    /// Leave out waypost: what do direct and nginx do on this machine?
    #[arg(long)]
    pub(crate) without_waypost: bool,
    /// Tools of each upstream
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(3..=1000))]
    tools: u16,

    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
    /// Serve as the upstream
    #[arg(long, hide = true)]
    pub(crate) peer: bool,
    /// Set when the process has been put on its core
    #[arg(long, hide = true)]
    pub(crate) pinned: bool,
}

const CALLS: u32 = 40_000;
const TIME: Duration = Duration::from_secs(20);
const CALLS_QUICK: u32 = 6_000;
const TIME_QUICK: Duration = Duration::from_secs(3);

impl Options {
    /// What a cell with small results does on one lane in one round.
    pub(crate) fn amount(&self) -> Amount {
        let (calls, time) = if self.quick { (CALLS_QUICK, TIME_QUICK) } else { (CALLS, TIME) };
        let calls = usize::try_from(self.calls.unwrap_or(calls)).unwrap_or(usize::MAX);
        Amount { calls, time }
    }

    pub(crate) fn pairs(&self) -> &[Pair] {
        if self.pairs.is_empty() { &Pair::EVERY } else { &self.pairs }
    }

    /// Whether the pairs were named one by one.
    pub(crate) const fn chose_pairs(&self) -> bool {
        !self.pairs.is_empty()
    }

    pub(crate) fn tools(&self) -> usize {
        usize::from(self.tools)
    }

    pub(crate) fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}
