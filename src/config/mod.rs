//! The configuration file, and what goes before it: `gateway.toml` → a checked [`Spec`], or every
//! problem at once, each with its place. The specs belong to the floors that obey them; this floor
//! only translates.

mod compile;
mod env;
mod file;
mod overrides;
mod problem;
mod read;
mod schema;
mod shape;
mod text;
mod watch;

#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

pub use env::Environment;
pub use overrides::CliOverrides;
pub use problem::{Finding, Origin, Problems, Warning};
pub use watch::Watch;

use crate::front::spec::ListenSpec;
use crate::gateway::spec::GatewaySpec;
use crate::telemetry::spec::LogSpec;
use problem::{AsWarning, Findings};

/// The file that is used where none is named and `./gateway.toml` is not there. It is the commented
/// reference of every key, too.
pub const BUILT_IN: &str = include_str!("../../gateway.toml");

/// The file that is looked for where none is named.
pub const DEFAULT_FILE: &str = "gateway.toml";

/// How findings name the built-in text.
const BUILT_IN_NAME: &str = "built-in gateway.toml";

/// All that a gateway is made from. Valid by construction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spec {
    /// Where the front listens.
    pub listen: ListenSpec,
    /// Everything behind the front.
    pub gateway: GatewaySpec,
    /// What is logged.
    pub log: LogSpec,
}

/// Loads a configuration: the file at `path`; without one `./gateway.toml` if it is there, else the
/// built-in text. Precedence: command line, environment, file, default.
pub fn load(
    path: Option<&Path>,
    cli: &CliOverrides,
    environment: &Environment,
) -> Result<(Spec, Vec<Warning>), Problems> {
    Text::open(path, environment)?.compile(cli, environment)
}

/// The text of a configuration, not looked at yet. It may hold secrets: it has no form for people.
#[derive(Clone, PartialEq, Eq)]
pub struct Text {
    name: String,
    content: String,
    file: Option<PathBuf>,
}

impl Text {
    /// Reads the file at `path`; without one `./gateway.toml` if it is there, else the built-in
    /// text.
    pub fn open(path: Option<&Path>, environment: &Environment) -> Result<Self, Problems> {
        let name = shown_path(path);
        let file = path.unwrap_or(Path::new(DEFAULT_FILE));
        match environment.read(file) {
            Ok(content) => Ok(Self { name, content, file: Some(file.to_owned()) }),
            Err(error) if path.is_none() && error.kind() == io::ErrorKind::NotFound => Ok(Self {
                name: BUILT_IN_NAME.to_owned(),
                content: BUILT_IN.to_owned(),
                file: None,
            }),
            Err(error) => Err(Problems::of_file(name, format!("cannot be read: {error}"))),
        }
    }

    /// The file it stands in; `None`: it is the built-in one.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The checked configuration, or every problem with it. Variables and files that it names are
    /// read anew.
    pub fn compile(
        &self,
        cli: &CliOverrides,
        environment: &Environment,
    ) -> Result<(Spec, Vec<Warning>), Problems> {
        let folder = self.file().and_then(Path::parent).unwrap_or(Path::new(""));
        compile(&self.name, &self.content, folder, cli, environment)
    }
}

/// Loads a configuration and reports on it instead of failing.
pub fn check(path: Option<&Path>, cli: &CliOverrides, environment: &Environment) -> Report {
    let file = Text::open(path, environment).map(|text| text.name);
    let file = file.unwrap_or_else(|_| shown_path(path));
    match load(path, cli, environment) {
        Ok((spec, warnings)) => Report { file, spec: Some(spec), problems: Vec::new(), warnings },
        Err(Problems { problems, warnings }) => Report { file, spec: None, problems, warnings },
    }
}

/// The JSON Schema of `gateway.toml`, without a line break at its end.
pub fn schema_json() -> String {
    schema::json()
}

fn shown_path(path: Option<&Path>) -> String {
    path.map_or_else(|| DEFAULT_FILE.to_owned(), |path| path.display().to_string())
}

/// Compiles a text. `name` stands for it in findings, relative paths in it start at `folder`.
fn compile(
    name: &str,
    text: &str,
    folder: &Path,
    cli: &CliOverrides,
    environment: &Environment,
) -> Result<(Spec, Vec<Warning>), Problems> {
    let mut findings = Findings::new(name, text);
    let overrides = overrides::Overrides::read(cli, environment, &mut findings);
    let folders = environment.folders(folder);
    let read = read::read(text, &folders, &overrides.paths(), environment, &mut findings);
    let spec = read.map(|read| {
        let context = compile::Context { read: &read, overrides: &overrides, folders: &folders };
        compile::compile(&context, &mut findings)
    });
    findings.finish(spec)
}

/// What `waypost check` says.
#[derive(Clone, Debug)]
pub struct Report {
    /// The file as findings name it.
    pub file: String,
    /// The configuration, if nothing is wrong with it.
    pub spec: Option<Spec>,
    /// What keeps the configuration from being used.
    pub problems: Vec<Finding>,
    /// What was noticed besides; [`Report::warn`] adds to it.
    pub warnings: Vec<Warning>,
}

impl Report {
    /// Whether the configuration can be used.
    pub fn is_good(&self) -> bool {
        self.problems.is_empty() && self.spec.is_some()
    }

    /// Adds a warning about a key of the file, for what shows only when upstreams are asked.
    pub fn warn(&mut self, key: &str, what: impl Into<String>) {
        self.warnings.push(Finding {
            origin: Origin::File { file: self.file.clone(), place: None },
            key: key.to_owned(),
            what: what.into(),
            hint: None,
        });
    }

    /// The report for people: a line for each finding, its hint below it, and a last line that sums
    /// up.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for problem in &self.problems {
            line(&mut text, format_args!("{problem}"));
        }
        for warning in &self.warnings {
            line(&mut text, format_args!("{}", AsWarning(warning)));
        }
        let warnings = count(self.warnings.len(), "warning");
        match &self.spec {
            Some(spec) if self.is_good() => {
                let upstreams = &spec.gateway.upstreams;
                let replicas = upstreams.iter().map(|upstream| upstream.pool.replicas.len()).sum();
                let (upstreams, replicas) =
                    (count(upstreams.len(), "upstream"), count(replicas, "replica"));
                let file = &self.file;
                line(&mut text, format_args!("{file}: good ({upstreams}, {replicas}, {warnings})"));
            }
            _ => {
                let problems = count(self.problems.len(), "problem");
                line(&mut text, format_args!("{}: {problems}, {warnings}", self.file));
            }
        }
        text
    }

    /// The report for programs.
    pub fn to_json(&self) -> Value {
        let list = |findings: &[Finding]| -> Value {
            findings.iter().map(Finding::to_json).collect::<Vec<_>>().into()
        };
        json!({
            "ok": self.is_good(),
            "file": self.file,
            "problems": list(&self.problems),
            "warnings": list(&self.warnings),
        })
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a `String` cannot fail.
    if writeln!(text, "{line}").is_err() {
        debug_assert!(false, "writing to a string failed");
    }
}

fn count(number: usize, word: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {word}{plural}")
}
