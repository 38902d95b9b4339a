//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Kills, stops and cuts what stands behind a gateway, and holds the books over its calls.
#[derive(Parser, Debug, Clone)]
#[command(name = "chaos", bin_name = "cargo test --test chaos --")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct Options {
    /// The short run: a part of the scenarios, each at most 70 s
    #[arg(long, conflicts_with_all = ["all", "only"])]
    pub(crate) quick: bool,
    /// Every scenario, at length
    #[arg(long, conflicts_with = "only")]
    pub(crate) all: bool,
    /// These scenarios only, such as C1,C7; at the length of a short run unless --seconds says more
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// How long a scenario injects its faults [default: 30 in a short run, 120 with --all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(5..=3600))]
    pub(crate) seconds: Option<u64>,
    /// Calls a second in all
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=2000))]
    pub(crate) rate: u32,
    /// Where chance begins
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// The binary under test [default: $WAYPOST, else the one that cargo built]
    #[arg(long, value_name = "FILE")]
    waypost: Option<PathBuf>,
    /// Names the scenarios and ends
    #[arg(long)]
    pub(crate) table: bool,
    /// Keep the folder of each scenario, with the log of its gateway and its journal
    #[arg(long)]
    pub(crate) keep: bool,
}

/// Faults go on for so long in a short run, and in a whole one.
const SECONDS: (u64, u64) = (30, 120);

impl Options {
    /// How long faults go on.
    pub(crate) fn seconds(&self) -> u64 {
        self.seconds.unwrap_or(if self.all { SECONDS.1 } else { SECONDS.0 })
    }

    /// Whether figures that need time are scaled down.
    pub(crate) fn is_short(&self) -> bool {
        self.seconds() < SECONDS.1
    }

    /// The binary under test.
    pub(crate) fn waypost(&self) -> PathBuf {
        let given = self.waypost.clone();
        let given = given.or_else(|| std::env::var_os("WAYPOST").map(PathBuf::from));
        let path = given.unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_waypost")));
        std::path::absolute(&path).unwrap_or(path)
    }

    /// Whether a scenario is wanted.
    pub(crate) fn wants(&self, name: &str, in_short_run: bool) -> bool {
        if !self.only.is_empty() {
            return self.only.iter().any(|only| only.eq_ignore_ascii_case(name));
        }
        self.all || in_short_run
    }
}
