//! `waypost stdio`: the gateway on stdin and stdout. Nothing but JSON-RPC is ever written there.

use std::process::ExitCode;

use super::ConfigArgs;
use crate::app::signals::Signals;
use crate::app::{App, Process};
use crate::base::Tasks;
use crate::front;
use crate::telemetry::Meters;

/// Serves one client until its input ends or a signal comes.
pub(crate) async fn run(args: &ConfigArgs) -> anyhow::Result<ExitCode> {
    let (spec, environment) = args.load()?;
    let mut signals = Signals::listen()?;
    let app = App::start(&spec.gateway, Process::this(&environment)?, Meters::new());
    let tasks = Tasks::new();
    let limits = spec.listen.limits;
    let (input, output) = (tokio::io::stdin(), tokio::io::stdout());
    tokio::select! {
        () = front::stdio::serve(app.gateway.clone(), limits, &tasks, input, output) => {}
        () = signals.next() => {}
    }
    app.stop_at_once().await;
    Ok(ExitCode::SUCCESS)
}
