//! `waypost health`: for container health checks.

use std::process::ExitCode;

use clap::Args;

use super::remote::Remote;
use super::{ConfigArgs, write};
use crate::config::Environment;

/// Arguments of `waypost health`.
#[derive(Args, Debug)]
pub(crate) struct HealthArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The gateway's address, such as `http://127.0.0.1:8000`; default: the configured one.
    #[arg(long)]
    url: Option<String>,
}

/// Exit code 0 if the gateway answers that it is healthy or degraded.
pub(crate) async fn run(args: &HealthArgs) -> anyhow::Result<ExitCode> {
    let remote = match &args.url {
        Some(url) => Remote::at(url, &Environment::process())?,
        None => Remote::configured(&args.config.load_quietly()?.0.listen),
    };
    let (status, body) = remote.get("/health").await?;
    write::out(&body)?;
    Ok(if status == 200 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
