//! `waypost stdio`: the gateway on stdin and stdout. Nothing but JSON-RPC is ever written there.

use std::process::ExitCode;

use super::{ConfigArgs, Loaded, load};
use crate::app::reloader::Reloader;
use crate::app::signals::Signals;
use crate::app::{App, Process};
use crate::base::Tasks;
use crate::config::CliOverrides;
use crate::front::{self, intake::Intake};
use crate::telemetry::Meters;

/// Serves one client until its input ends or a signal comes; what it has asked is answered first, and
/// a second signal stops at once.
pub(crate) async fn run(args: &ConfigArgs) -> anyhow::Result<ExitCode> {
    // The host is not its concern: it binds nothing.
    let cli = CliOverrides { insecure_public: true, ..CliOverrides::default() };
    let Loaded { spec, environment, first } = load(args, cli)?;
    let mut signals = Signals::listen()?;
    let mut app = App::start(&spec.gateway, Process::this(&environment)?, Meters::new()).await;
    let reloader = Reloader::new(first, None, &app.meters)?;
    let tasks = Tasks::new();
    let stop = tasks.stop_token().clone();
    let intake = Intake::new(spec.listen.limits, stop.clone(), &app.meters);
    let (input, output) = (tokio::io::stdin(), tokio::io::stdout());
    let serving = front::stdio::serve(app.gateway.clone(), intake, &tasks, input, output);
    let stopping = async {
        signals.next().await;
        stop.cancel();
        signals.next().await;
    };
    let reloading = async {
        reloader.run(&mut app, stop.clone()).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = serving => {}
        () = stopping => {}
        () = reloading => {}
    }
    app.stop_at_once().await;
    Ok(ExitCode::SUCCESS)
}
