//! The chaos suite: real processes, real faults, and a ledger of what ran against what clients were
//! told. How to run it, and what it found: `tests/chaos/README.md`.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the suite reads the clock, starts tasks of its own and prints what it finds"
)]
#![expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "counts of calls and milliseconds become figures"
)]
#![expect(clippy::indexing_slicing, reason = "a member that a JSON value lacks reads as null")]

mod client;
mod config;
mod gateway;
mod ledger;
mod load;
mod monster;
mod noise;
mod options;
mod proc;
mod proxy;
mod replica;
mod report;
mod rig;
mod scenarios;
mod time;

use std::process::ExitCode;

use clap::Parser;

use crate::options::Options;

fn main() -> ExitCode {
    // Test runners start this too, and ask it for a list of tests: it has none of their kind.
    let given: Vec<String> = std::env::args().skip(1).collect();
    let ours = ["--quick", "--all", "--only", "--table", "--help", "-h"];
    if !given.iter().any(|word| ours.iter().any(|own| word.split('=').next() == Some(*own))) {
        if !given.iter().any(|word| word == "--list") {
            println!("chaos: nothing asked for; `cargo test --test chaos -- --quick` runs it");
        }
        return ExitCode::SUCCESS;
    }
    let options = Options::parse();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let passed = runtime.map_err(Into::into).and_then(|rt| rt.block_on(scenarios::run(&options)));
    match passed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chaos: {error:#}");
            ExitCode::FAILURE
        }
    }
}
