//! The reference server of `tests/conformance/run`: it offers every tool, prompt and resource that
//! the official conformance suite asks for, in both eras, over Streamable HTTP and stdio. It is
//! built on the official Rust SDK, so it shares no protocol code with the gateway, whose upstream
//! it is.
//!
//! Usage: `conformance_fixture (--port P | --stdio) [--era legacy|modern|both]`
//!
//! Port 0 takes any free one. Once it listens, one line on stderr says where.

mod asks;
mod calls;
mod changes;
mod door;
mod offer;
mod seal;
mod server;
mod stdio;
mod tasks;

use std::io::{Write as _, stderr};
use std::process::ExitCode;

use crate::server::Fixture;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const USAGE: &str = "usage: conformance_fixture (--port P | --stdio) [--era legacy|modern|both]";

/// The eras that are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Eras {
    /// 2025-11-25 and earlier: it knows nothing of later revisions.
    Legacy,
    /// 2026-07-28 and later: it refuses `initialize`.
    Modern,
    #[default]
    Both,
}

#[derive(Debug, Clone, Copy)]
enum Transport {
    Http(u16),
    Stdio,
}

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let told = writeln!(stderr(), "conformance_fixture: {error}");
            drop(told); // whoever would read it is gone
            ExitCode::from(2)
        }
    }
}

fn run(arguments: impl Iterator<Item = String>) -> Result<()> {
    let (transport, eras) = parse(arguments)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let served = runtime.block_on(async {
        let fixture = Fixture::new(eras);
        match transport {
            Transport::Http(port) => door::serve(fixture, port).await,
            Transport::Stdio => stdio::serve(fixture).await,
        }
    });
    // A read of stdin that never ends must not hold the process.
    runtime.shutdown_background();
    served
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<(Transport, Eras)> {
    let (mut transport, mut eras) = (None, Eras::default());
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--stdio" => transport = Some(Transport::Stdio),
            "--port" => {
                let port = arguments.next().ok_or(USAGE)?;
                transport = Some(Transport::Http(port.parse()?));
            }
            "--era" => {
                eras = match arguments.next().as_deref() {
                    Some("legacy") => Eras::Legacy,
                    Some("modern") => Eras::Modern,
                    Some("both") => Eras::Both,
                    _ => return Err(USAGE.into()),
                };
            }
            _ => return Err(USAGE.into()),
        }
    }
    Ok((transport.ok_or(USAGE)?, eras))
}
