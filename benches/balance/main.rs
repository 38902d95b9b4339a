//! The balancer benchmark: the gateway's balancers, loads, gates and budgets on a virtual clock,
//! with simulated replicas behind them. The same seed gives the same figures on every machine.
//!
//! How to run it and how to read it: `benches/README.md`.
#![allow(
    clippy::allow_attributes,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    missing_docs,
    reason = "a simulation computes with numbers of its own making and reports to people"
)]

mod chance;
mod cost;
mod gates;
mod gateway;
mod options;
mod plan;
mod prequal;
mod queue;
mod report;
mod rivals;
mod rule;
mod scenarios;
mod server;
mod sim;
mod stats;
mod world;

use std::env;
use std::process::ExitCode;

use clap::Parser;

use crate::options::Options;

fn main() -> ExitCode {
    // Test runners start bench targets too; `cargo bench` alone says that it wants one.
    if !env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    let options = Options::parse();
    let results = plan::run(&options);
    report::table(&results);
    if options.scenario.is_none() {
        cost::print();
    }
    let gates = gates::judge(&results);
    gates::print(&gates);
    if let Some(path) = &options.json
        && let Err(error) = report::write(path, &results, &gates)
    {
        eprintln!("balance: {} cannot be written: {error}", path.display());
        return ExitCode::FAILURE;
    }
    let failed = gates.iter().filter(|gate| !gate.holds()).count();
    println!("balance: {} gates held, {failed} failed", gates.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
