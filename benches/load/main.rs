//! The load benchmark: direct, nginx and waypost measured in one run, every reply checked.
//!
//! How to run it and how to read it: `benches/README.md`.

#![allow(
    clippy::allow_attributes,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench reads the clock and the environment and prints what it finds"
)]
#![allow(clippy::indexing_slicing, reason = "a member that a JSON value lacks reads as null")]

mod bystanders;
mod cells;
mod content;
mod driver;
mod expected;
mod footprint;
mod gateway;
mod growth;
mod held;
mod lane;
mod limits;
mod nginx;
mod options;
mod peer;
mod pinning;
mod procfs;
mod protocol;
mod report;
mod request;
mod run;
mod scratch;
mod server;
mod session;
mod spliced;
mod stats;
mod targets;
mod wire;

use std::env;
use std::process::ExitCode;

use clap::Parser;

use crate::options::Options;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Result<T> = std::result::Result<T, Error>;

fn main() -> ExitCode {
    // Test runners start bench targets too; `cargo bench` alone says that it wants one.
    let asked = env::args().any(|argument| argument == "--bench" || argument == "--peer");
    if !asked {
        return ExitCode::SUCCESS;
    }
    match start(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(options: &Options) -> Result<()> {
    if !options.peer && !options.pinned {
        pinning::restart_pinned()?;
    }
    limits::raise_descriptors()?;
    // One thread: peer and driver each have but a part of a core.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if options.peer { runtime.block_on(peer::serve()) } else { runtime.block_on(run::run(options)) }
}
