//! `waypost serve`: the HTTP front, from the bound socket to the last answered call.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::{ConfigArgs, Loaded, write};
use crate::admin::Admin;
use crate::app::reloader::Reloader;
use crate::app::signals::Signals;
use crate::app::{App, Process};
use crate::base::Tasks;
use crate::config::CliOverrides;
use crate::front::{HttpFront, mcp::Mcp};
use crate::telemetry::Meters;

/// Arguments of `waypost serve`.
#[derive(Args, Debug, Default)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Address to listen on, before the configuration.
    #[arg(long)]
    host: Option<String>,
    /// Port to listen on, before the configuration; 0 = any free one.
    #[arg(long)]
    port: Option<u16>,
    /// Accept an address that other machines can reach, though nothing asks who they are.
    #[arg(long)]
    insecure_public: bool,
}

/// Serves until a signal; a second signal stops at once.
pub(crate) async fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let cli =
        CliOverrides { host: args.host, port: args.port, insecure_public: args.insecure_public };
    let Loaded { spec, environment, first } = super::load(&args.config, cli)?;
    let mut signals = Signals::listen()?;
    let place = format!("{}:{}", spec.listen.host, spec.listen.port);
    let front = HttpFront::bind(spec.listen.clone()).await.with_context(|| {
        format!(
            "cannot listen on {place}; is another waypost running? Try --port 0 for any free port"
        )
    })?;
    let addr = front.addr();
    let mut app = App::start(&spec.gateway, Process::this(&environment)?, Meters::new()).await;
    let reloader = Reloader::new(first, Some(front.rules()), &app.meters)?;
    let connections = Tasks::new();
    let stop = connections.stop_token().clone();
    let mcp = Mcp::new(app.gateway.clone(), spec.listen.limits, connections.clone(), &app.meters);
    let (gateway, meters) = (app.gateway.clone(), app.meters.clone());
    let admin = Admin::new(gateway, meters.clone(), reloader.standing(), stop.clone());
    let snapshot = app.gateway.snapshot();
    let (upstreams, tools) = (snapshot.upstreams.len(), snapshot.view.catalog.tools().len());
    drop(snapshot);
    write::err(&format!(
        "waypost ready on http://{addr}/mcp ({upstreams} upstreams, {tools} tools)"
    ));
    let serving = async {
        let serving = front.serve(mcp, admin.service(), &connections, &meters);
        tokio::join!(serving, reloader.run(&mut app, stop.clone()));
        app.stop().await;
    };
    let stopping = async {
        signals.next().await;
        write::err(
            "waypost is stopping: running calls are answered first; a second signal stops at once",
        );
        stop.cancel();
        signals.next().await;
    };
    tokio::select! {
        () = serving => {}
        () = stopping => write::err("stopped at once"),
    }
    Ok(ExitCode::SUCCESS)
}
