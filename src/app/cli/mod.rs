//! The verbs of the binary; each verb's body is a file of this folder.

mod call;
mod check;
pub mod demo_server;
pub mod guard;
mod health;
mod list;
mod remote;
mod serve;
mod stdio;
mod trace;
mod write;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::app::reloader::First;
use crate::config::{self, CliOverrides, Environment, Spec, Text};
use crate::telemetry::spec::Level;

/// One front door for your MCP servers: many servers behind one endpoint, as one dependable server.
#[derive(Debug, Parser)]
#[command(name = "waypost", version)]
struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    serve: serve::ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serves MCP over HTTP (the default verb).
    Serve(serve::ServeArgs),
    /// Serves MCP on stdin and stdout, for editors that start it themselves.
    Stdio(ConfigArgs),
    /// Checks a configuration and names every problem at once.
    Check(check::CheckArgs),
    /// Lists the merged tools, or the upstreams with their replicas.
    List(list::ListArgs),
    /// Calls one tool through the gateway.
    Call(call::CallArgs),
    /// Asks a running gateway how it is; exit code 0 if it is healthy or degraded.
    Health(health::HealthArgs),
    /// Prints the JSON Schema of gateway.toml.
    Schema,
    /// A small real MCP server for demos and drills.
    DemoServer(demo_server::DemoServerArgs),
    /// Starts a child process and ends it, with all below it, when the gateway is gone.
    #[command(hide = true)]
    Guard(guard::GuardArgs),
}

/// Which configuration.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ConfigArgs {
    /// The configuration; default: ./gateway.toml if it is there, else the built-in one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigArgs {
    /// Loads it for a verb that answers once and ends: the log tells only what its user must know,
    /// unless the environment asks for more.
    fn load_quietly(&self) -> anyhow::Result<(Spec, Environment)> {
        let environment = Environment::process();
        let cli = CliOverrides { insecure_public: true, ..CliOverrides::default() };
        let (mut spec, warnings) = config::load(self.config.as_deref(), &cli, &environment)?;
        if environment.var("MCP_LOG_LEVEL").is_none() {
            spec.log.level = Level::Error;
        }
        crate::telemetry::log::start(&spec.log.filter());
        for warning in &warnings {
            write::err(&warning.to_string());
        }
        Ok((spec, environment))
    }
}

/// A configuration that was loaded to be served.
struct Loaded {
    spec: Spec,
    environment: Environment,
    /// What reloads start from.
    first: First,
}

/// Loads a configuration to be served and starts the log.
fn load(args: &ConfigArgs, cli: CliOverrides) -> anyhow::Result<Loaded> {
    let environment = Environment::process();
    let text = Text::open(args.config.as_deref(), &environment)?;
    let (spec, warnings) = text.compile(&cli, &environment)?;
    crate::telemetry::log::start(&spec.log.filter());
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let first = First { text, cli, listen: spec.listen.clone() };
    Ok(Loaded { spec, environment, first })
}

/// Runs the verb of the command line.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let verb = match cli.verb {
        // Before any runtime or log: a guard stays small.
        Some(Verb::Guard(args)) => return guard::run(&args),
        Some(verb) => verb,
        None => Verb::Serve(cli.serve),
    };
    match run(verb) {
        Ok(code) => code,
        Err(error) => {
            write::err(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = runtime.block_on(async {
        match verb {
            Verb::Serve(args) => serve::run(args).await,
            Verb::Stdio(args) => stdio::run(&args).await,
            Verb::Check(args) => check::run(args).await,
            Verb::List(args) => list::run(args).await,
            Verb::Call(args) => call::run(args).await,
            Verb::Health(args) => health::run(&args).await,
            Verb::Schema => write::out(&config::schema_json()).map(|()| ExitCode::SUCCESS),
            Verb::DemoServer(args) => demo_server::run(args).await.map(|()| ExitCode::SUCCESS),
            Verb::Guard(args) => Ok(guard::run(&args)),
        }
    });
    // A read of stdin that nobody waits for any more must not hold up the end.
    runtime.shutdown_background();
    code
}
