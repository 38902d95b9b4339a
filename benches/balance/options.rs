//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Simulates fleets behind the gateway's balancers; the same seed gives the same figures.
#[derive(Parser, Debug)]
#[command(name = "balance", bin_name = "cargo bench --bench balance --")]
pub(crate) struct Options {
    /// What CI runs, in less than a minute: every gate, shorter runs, fewer rules beside them
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only this scenario: a letter, or a name as the table shows it [default: all]
    #[arg(long, value_name = "NAME")]
    pub(crate) scenario: Option<String>,
    /// Only this seed [default: 1, 2 and 3]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Write everything that was measured to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    pub(crate) fn seeds(&self) -> Vec<u64> {
        self.seed.map_or_else(|| vec![1, 2, 3], |seed| vec![seed])
    }

    pub(crate) fn wants(&self, scenario: &str) -> bool {
        self.scenario.as_deref().is_none_or(|wanted| {
            scenario == wanted || scenario.split(' ').next().is_some_and(|letter| letter == wanted)
        })
    }
}
