//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::cells::Group;
use crate::driver::Amount;
use crate::protocol::Era;

/// Measures direct, nginx and waypost in one run; only the ratios of one run count.
#[derive(Parser, Debug)]
#[command(name = "load", bin_name = "cargo bench --bench load --")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct Options {
    /// Fewer calls: the whole run takes less than a minute
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
    /// Which cells to measure [default: all]
    #[arg(long, value_name = "LIST", value_enum, value_delimiter = ',')]
    cells: Vec<Group>,
    /// Eras of waypost's clients [default: both]
    #[arg(long, value_name = "LIST", value_enum, value_delimiter = ',')]
    eras: Vec<Era>,
    /// Leave out direct and nginx, and so all ratios: for a profiler
    #[arg(long, conflicts_with = "without_waypost")]
    pub(crate) waypost_only: bool,
    /// Leave out waypost: what do direct and nginx do on this machine?
    #[arg(long)]
    pub(crate) without_waypost: bool,
    /// How waypost is told to talk to its upstreams
    #[arg(long, value_enum, default_value_t = UpstreamEra::Auto)]
    pub(crate) upstream_era: UpstreamEra,
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

/// Which era waypost speaks with its upstreams.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum UpstreamEra {
    /// It finds out: the peer speaks both, so modern
    Auto,
    Legacy,
    Modern,
}

impl UpstreamEra {
    /// The value of `era` in the configuration, unless the default.
    pub(crate) const fn setting(self) -> Option<&'static str> {
        match self {
            Self::Auto => None,
            Self::Legacy => Some("legacy"),
            Self::Modern => Some("modern"),
        }
    }
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

    pub(crate) fn eras(&self) -> Vec<Era> {
        if self.eras.is_empty() { vec![Era::Legacy, Era::Modern] } else { self.eras.clone() }
    }

    pub(crate) fn tools(&self) -> usize {
        usize::from(self.tools)
    }

    pub(crate) fn wants(&self, group: Group) -> bool {
        self.cells.is_empty() || self.cells.contains(&group)
    }
}
