//! When the configuration is read again: its file says something else, or SIGHUP came; and when
//! host names of it stand for other addresses. One reload at a time; what is asked for meanwhile is
//! the next one.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::admin::ConfigStanding;
use crate::base::clock;
use crate::config::{CliOverrides, Environment, Problems, Spec, Text, Warning, Watch};
use crate::front::Rules;
use crate::front::spec::ListenSpec;
use crate::telemetry::Meters;
use crate::telemetry::names::Reloaded;

use super::App;
use super::signals::Hangups;

/// Reloads begin no faster than this after each other.
const PACE: Duration = Duration::from_secs(1);

/// What a reload starts from, and what it changes beside the gateway.
pub struct Reloader {
    text: Text,
    cli: CliOverrides,
    /// The front as it was configured last.
    listen: ListenSpec,
    /// How long replicas that go may take to finish their calls.
    grace: Duration,
    /// The rules of an HTTP front.
    rules: Option<Rules>,
    hangups: Hangups,
    watch: Option<Watch>,
    standing: Arc<ConfigStanding>,
    meters: Meters,
}

/// What is known of a configuration at a start.
pub struct First {
    /// What was read.
    pub text: Text,
    /// What goes before it.
    pub cli: CliOverrides,
    /// The front that was made from it.
    pub listen: ListenSpec,
}

impl Reloader {
    /// Begins to listen for reasons to reload. `rules` are those of an HTTP front.
    pub fn new(first: First, rules: Option<Rules>, meters: &Meters) -> std::io::Result<Self> {
        let First { text, cli, listen } = first;
        let (hangups, watch) = (Hangups::listen()?, Watch::new(&text));
        let (standing, meters) = (Arc::<ConfigStanding>::default(), meters.clone());
        for result in crate::telemetry::names::RELOADED {
            meters.reloads(result).increment(0);
        }
        meters.config_generation().set(1.0);
        let grace = listen.grace;
        Ok(Self { text, cli, listen, grace, rules, hangups, watch, standing, meters })
    }

    /// How the last reload went, for operators.
    pub fn standing(&self) -> Arc<ConfigStanding> {
        Arc::clone(&self.standing)
    }

    /// Reloads whenever there is a reason to, until we are told to stop.
    pub async fn run(mut self, app: &mut App, stop: CancellationToken) {
        loop {
            let read = tokio::select! {
                () = self.wanted() => true,
                () = app.moved() => false,
                () = stop.cancelled() => return,
            };
            let began = clock::now();
            let reloaded = async {
                if read {
                    self.reload(app).await;
                } else {
                    self.readdress(app).await;
                }
            };
            tokio::select! {
                () = reloaded => {}
                () = stop.cancelled() => return,
            }
            tokio::select! {
                () = tokio::time::sleep_until((began + PACE).into()) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Resolves when there is a reason to reload.
    async fn wanted(&mut self) {
        loop {
            let changed = async {
                match &mut self.watch {
                    Some(watch) => watch.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.hangups.next() => {}
                () = changed => {}
            }
            if self.watch.is_some() {
                return;
            }
            tracing::warn!("the configuration is the built-in one: there is nothing to read again");
        }
    }

    /// The configuration is the same, its names stand for other addresses.
    async fn readdress(&self, app: &mut App) {
        match app.readdress(self.grace).await {
            Ok(diff) => tracing::info!("the new addresses are in force: {diff}"),
            Err(error) => tracing::error!(%error, "the addresses stay as they were"),
        }
    }

    async fn reload(&mut self, app: &mut App) {
        tracing::info!("reading the configuration again");
        let result = match self.load().await {
            None => {
                tracing::error!("the configuration could not be read; it stays as it was");
                self.standing.ended(Reloaded::Failed, Some("see the log".to_owned()));
                Reloaded::Failed
            }
            Some(Ok((spec, warnings))) => {
                for warning in &warnings {
                    tracing::warn!("{warning}");
                }
                self.apply(&spec, app).await
            }
            Some(Err(Problems { problems, .. })) => {
                for problem in &problems {
                    tracing::error!("{problem}");
                }
                let count = problems.len();
                tracing::error!(problems = count, "the configuration stays as it was");
                self.standing
                    .ended(Reloaded::Invalid, Some(format!("{count} problems; see the log")));
                Reloaded::Invalid
            }
        };
        self.meters.reloads(result).increment(1);
    }

    /// Reads and checks the file, and all that it names. `None` would be a bug of ours.
    async fn load(&mut self) -> Option<Result<(Spec, Vec<Warning>), Problems>> {
        let (path, cli) = (self.text.file().map(std::path::Path::to_owned), self.cli.clone());
        let read = tokio::task::spawn_blocking(move || {
            let environment = Environment::process();
            let text = Text::open(path.as_deref(), &environment);
            let loaded = text.clone().and_then(|text| text.compile(&cli, &environment));
            (text.ok(), loaded)
        });
        let (text, loaded) = read.await.ok()?;
        if let Some(watch) = &mut self.watch {
            watch.see(text);
        }
        Some(loaded)
    }

    async fn apply(&mut self, spec: &Spec, app: &mut App) -> Reloaded {
        self.grace = spec.listen.grace;
        let fronts = self.rules.is_some() && self.listen != spec.listen;
        match app.reload(&spec.gateway, spec.listen.grace).await {
            Ok(diff) if diff.is_empty() && !fronts => {
                tracing::info!("the configuration says what it said before");
                self.standing.ended(Reloaded::Unchanged, None);
                Reloaded::Unchanged
            }
            Ok(diff) => {
                self.set_front(&spec.listen);
                let generation = self.standing.applied();
                self.meters.config_generation().set(f64::from(generation));
                tracing::info!(generation, "the new configuration is in force: {diff}");
                Reloaded::Applied
            }
            Err(error) => {
                tracing::error!(%error, "the configuration stays as it was");
                self.standing.ended(Reloaded::Failed, Some(error.to_string()));
                Reloaded::Failed
            }
        }
    }

    /// Whom the front lets in changes at once; where it listens cannot.
    fn set_front(&mut self, listen: &ListenSpec) {
        let Some(rules) = &self.rules else { return };
        rules.set(listen);
        for (key, differs) in [
            ("server.host", self.listen.host != listen.host),
            ("server.port", self.listen.port != listen.port),
            (
                "server.session_idle",
                self.listen.limits.session_idle_max != listen.limits.session_idle_max,
            ),
            (
                "server.max_memory_bytes",
                self.listen.limits.memory_bytes_max != listen.limits.memory_bytes_max,
            ),
        ] {
            if differs {
                tracing::warn!("{key} has changed: that needs a restart, all else is in force");
            }
        }
        self.listen = listen.clone();
    }
}
