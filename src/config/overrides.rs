//! What goes before the file: arguments of the command line, then variables.

use std::time::Duration;

use super::env::Environment;
use super::problem::{At, Findings};
use super::text;
use crate::base::Secret;
use crate::telemetry::spec::{Level, LogSpec};

/// What the command line says about the configuration; it goes before everything else.
#[derive(Clone, Debug, Default)]
pub struct CliOverrides {
    /// `--host`
    pub host: Option<String>,
    /// `--port`
    pub port: Option<u16>,
    /// `--insecure-public`. Verbs that bind nothing set it too: the host is not their concern.
    pub insecure_public: bool,
}

/// The most that `MCP_MAX_RETRIES` may say: one less than `max_attempts` may be.
const RETRIES_MAX: u32 = 19;

/// From here on a bare `MCP_TIMEOUT` is in milliseconds: some editors pass theirs on, in that unit.
const BARE_MILLIS_MIN: u64 = 1_000;

/// Values that go before those of the file.
pub(super) struct Overrides {
    /// For `server.host`, with the place that it comes from.
    pub(super) host: Option<(String, At<'static>)>,
    /// For `server.port`.
    pub(super) port: Option<u16>,
    /// The operator accepts a public bind.
    pub(super) insecure_public: bool,
    /// For `defaults.timeout`.
    pub(super) timeout: Option<Duration>,
    /// For `defaults.retry.max_attempts`.
    pub(super) max_attempts: Option<u32>,
    /// For `tools.context7.api_key`.
    pub(super) context7_key: Option<Secret>,
    /// For `tools.context7.base_url`.
    pub(super) context7_url: Option<String>,
    /// What is logged.
    pub(super) log: LogSpec,
}

impl Overrides {
    /// Reads the arguments and the variables.
    pub(super) fn read(
        cli: &CliOverrides,
        environment: &Environment,
        findings: &mut Findings<'_>,
    ) -> Self {
        let var = |name: &str| environment.var(name).map(|value| value.trim().to_owned());
        let host = match (&cli.host, var("MCP_SERVER_HOST")) {
            (Some(host), _) => Some((host.clone(), At::Argument("--host"))),
            (None, Some(host)) => Some((host, At::Variable("MCP_SERVER_HOST"))),
            (None, None) => None,
        };
        let port = cli.port.or_else(|| port(&var("MCP_SERVER_PORT")?, findings));
        Self {
            host,
            port,
            insecure_public: cli.insecure_public,
            timeout: var("MCP_TIMEOUT").and_then(|text| timeout(&text, findings)),
            context7_key: var("CONTEXT7_API_KEY").map(|key| Secret::new(&key)),
            context7_url: var("CONTEXT7_API_URL"),
            max_attempts: max_attempts(var("MCP_MAX_RETRIES").as_deref(), findings),
            log: log(var("MCP_LOG_LEVEL"), var("RUST_LOG"), findings),
        }
    }

    /// The paths of the file whose values do not count.
    pub(super) fn paths(&self) -> Vec<&'static str> {
        [
            (self.host.is_some(), "server.host"),
            (self.port.is_some(), "server.port"),
            (self.timeout.is_some(), "defaults.timeout"),
            (self.max_attempts.is_some(), "defaults.retry.max_attempts"),
            (self.context7_key.is_some(), "tools.context7.api_key"),
            (self.context7_url.is_some(), "tools.context7.base_url"),
        ]
        .into_iter()
        .filter_map(|(is_set, path)| is_set.then_some(path))
        .collect()
    }
}

fn port(text: &str, findings: &mut Findings<'_>) -> Option<u16> {
    let port = text.parse().ok();
    if port.is_none() {
        let hint = "a whole number from 0 to 65535".to_owned();
        findings.problem(At::Variable("MCP_SERVER_PORT"), "not a port", Some(hint));
    }
    port
}

fn timeout(text: &str, findings: &mut Findings<'_>) -> Option<Duration> {
    let at = At::Variable("MCP_TIMEOUT");
    let with_unit = match text.parse::<u64>() {
        Ok(bare) if bare >= BARE_MILLIS_MIN => {
            let what = format!("{bare} without a unit is read as milliseconds");
            findings.warn(at, what, Some(format!("write {bare}ms")));
            format!("{bare}ms")
        }
        Ok(bare) => format!("{bare}s"),
        Err(_) => text.to_owned(),
    };
    match text::positive_time(&with_unit) {
        Ok(time) => Some(time),
        Err(bad) => {
            let hint = r#""30", "30s", "30000ms" or "5m""#.to_owned();
            findings.problem(at, bad.what, Some(hint));
            None
        }
    }
}

/// A retry is an attempt beside the first one.
fn max_attempts(text: Option<&str>, findings: &mut Findings<'_>) -> Option<u32> {
    match text?.parse::<u32>() {
        Ok(retries) if retries <= RETRIES_MAX => Some(retries + 1),
        _ => {
            let hint = format!("a whole number from 0 to {RETRIES_MAX}");
            let at = At::Variable("MCP_MAX_RETRIES");
            findings.problem(at, "not a number of retries", Some(hint));
            None
        }
    }
}

fn log(level: Option<String>, directives: Option<String>, findings: &mut Findings<'_>) -> LogSpec {
    let level = level.map_or(Some(Level::default()), |name| level_of(&name)).unwrap_or_else(|| {
        let hint = "one of DEBUG, INFO, WARNING, ERROR, CRITICAL".to_owned();
        findings.problem(At::Variable("MCP_LOG_LEVEL"), "not a log level", Some(hint));
        Level::default()
    });
    // The variable is shared with other programs: a filter that is none of ours does no harm.
    let directives = directives.filter(|directives| {
        let parsed = tracing_subscriber::EnvFilter::builder().parse(directives);
        if parsed.is_err() {
            let hint = "for example `info` or `waypost=debug,warn`".to_owned();
            let what = "not a log filter; it is ignored";
            findings.warn(At::Variable("RUST_LOG"), what, Some(hint));
        }
        parsed.is_ok()
    });
    LogSpec { level, directives }
}

/// Python's names, and those of this program.
fn level_of(name: &str) -> Option<Level> {
    Some(match name.to_ascii_uppercase().as_str() {
        "TRACE" => Level::Trace,
        "DEBUG" => Level::Debug,
        "INFO" => Level::Info,
        "WARNING" | "WARN" => Level::Warn,
        "ERROR" | "CRITICAL" | "FATAL" => Level::Error,
        _ => return None,
    })
}
