//! The gateway under test: a process, its log in a file, and what its metrics say.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::Context;
use rustix::process::Signal;

use crate::client::Client;
use crate::replica::signal;
use crate::time::until;

/// A running `waypost serve`.
#[derive(Debug)]
pub(crate) struct Gateway {
    child: Child,
    /// Such as `http://127.0.0.1:40123`.
    pub(crate) base: String,
    log: PathBuf,
}

impl Gateway {
    /// Starts it and waits for its ready line.
    pub(crate) async fn start(
        waypost: &Path,
        folder: &Path,
        (config, port): (&str, u16),
        variables: &[(String, String)],
    ) -> anyhow::Result<Self> {
        let file = folder.join("gateway.toml");
        std::fs::write(&file, config)?;
        let log = folder.join("gateway.log");
        let child = Command::new(waypost)
            .args(["serve", "--port", &port.to_string(), "--config"])
            .arg(&file)
            .env("XDG_CACHE_HOME", folder.join("cache"))
            .env_remove("MCP_SERVER_HOST")
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log)?)
            .spawn()
            .with_context(|| format!("cannot start {}", waypost.display()))?;
        let mut gateway = Self { child, base: String::new(), log };
        let ready = until(30_000, async || gateway.said("waypost ready on ").is_some()).await;
        let line = gateway.said("waypost ready on ").filter(|_| ready.is_some());
        let line = line.with_context(|| format!("not ready; its log: {}", gateway.log_tail()))?;
        let url = line.split_whitespace().find(|word| word.starts_with("http://"));
        let base = url.context("no address in the ready line")?.trim_end_matches("/mcp").to_owned();
        gateway.base = base;
        Ok(gateway)
    }

    fn said(&self, what: &str) -> Option<String> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().find(|line| line.contains(what)).map(str::to_owned)
    }

    fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.join(" / ")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, which: Signal) {
        signal(self.child.id(), which);
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A page of metrics.
#[derive(Debug)]
pub(crate) struct Metrics(String);

impl Metrics {
    pub(crate) async fn read(client: &Client) -> anyhow::Result<Self> {
        Ok(Self(client.get("/metrics").await?))
    }

    /// The sum of the series of a name, those of replicas that were taken away (NaN) left out, with all of these labels, such as `replica="a"`.
    pub(crate) fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let of = |line: &str| {
            let rest = line.strip_prefix(name)?;
            let (series, value) = rest.rsplit_once(' ')?;
            let ours = (series.is_empty() || series.starts_with('{'))
                && labels.iter().all(|label| series.contains(label));
            let value = value.trim().parse::<f64>().ok().filter(|value| !value.is_nan());
            if ours { value } else { None }
        };
        self.0.lines().filter_map(of).sum()
    }
}
