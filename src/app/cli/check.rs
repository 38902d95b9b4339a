//! `waypost check`: validates a configuration without serving.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{ConfigArgs, write};
use crate::app::{App, Process};
use crate::catalog::Lookup;
use crate::config::{self, CliOverrides, Environment, Report, Spec};
use crate::gateway::Snapshot;
use crate::gateway::snapshot::Upstream;
use crate::telemetry::Meters;
use crate::upstream::replica::State;

/// Upstreams that take longer than this to come up are warned of.
const SETTLE_MAX: Duration = Duration::from_secs(30);

/// Arguments of `waypost check`.
#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Answer as JSON.
    #[arg(long)]
    json: bool,
    /// Spawn and dial nothing: look at the file only.
    #[arg(long)]
    offline: bool,
}

/// Exit code 0 if it is good, 1 if it has problems. What only shows when the upstreams are asked
/// (one that is down, names that collide or break a client's limit) is a warning.
pub(crate) async fn run(args: CheckArgs) -> anyhow::Result<ExitCode> {
    let environment = Environment::process();
    let mut report =
        config::check(args.config.config.as_deref(), &CliOverrides::default(), &environment);
    if let (Some(spec), false) = (report.spec.clone(), args.offline) {
        ask(&spec, &environment, &mut report).await?;
    }
    if args.json {
        write::out(&serde_json::to_string_pretty(&report.to_json())?)?;
    } else {
        write::out(&report.to_text())?;
    }
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Starts the upstreams, and adds to the report what they show.
async fn ask(spec: &Spec, environment: &Environment, report: &mut Report) -> anyhow::Result<()> {
    let app = App::start(&spec.gateway.eager(), Process::this(environment)?, Meters::new()).await;
    app.settled(SETTLE_MAX).await;
    let snapshot = app.gateway.snapshot();
    for (key, what) in findings(&snapshot) {
        report.warn(&key, what);
    }
    drop(snapshot);
    for (upstream, why) in app.lost_names() {
        report.warn(&format!("upstreams.{upstream}"), why);
    }
    app.stop_at_once().await;
    Ok(())
}

fn findings(snapshot: &Snapshot) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for upstream in &snapshot.upstreams {
        for replica in &upstream.pool.replicas {
            let why = match replica.state() {
                State::Up { .. } | State::Asleep => continue,
                State::Starting => "is still starting".to_owned(),
                State::Down(why) => format!("is down: {why}"),
            };
            let key = format!("upstreams.{}", upstream.spec.name);
            found.push((key, format!("its replica {} {why}", replica.spec.name)));
        }
    }
    found.extend(snapshot.upstreams.iter().flat_map(|one| fallbacks(snapshot, one)));
    found.extend(snapshot.reports.iter().map(|report| ("catalog".to_owned(), report.clone())));
    found
}

/// Fallbacks for tools, and by tools, that nobody lists.
fn fallbacks(snapshot: &Snapshot, upstream: &Upstream) -> Vec<(String, String)> {
    let listed = |name: &str| !matches!(snapshot.view.catalog.lookup(name), Lookup::Unknown);
    let mut found = Vec::new();
    for (tool, fallback) in &upstream.spec.fallbacks {
        let key = format!("upstreams.{}.fallback.{tool}", upstream.spec.name);
        if upstream.listed && !listed(&fallback.exposed) {
            found.push((key.clone(), "its server has no tool of this name".to_owned()));
        }
        if let Some(stand_in) = &fallback.stand_in
            && !listed(&stand_in.tool)
        {
            let what = format!("no tool has the name {:?} now", stand_in.tool);
            found.push((format!("{key}.tool"), what));
        }
    }
    found
}
