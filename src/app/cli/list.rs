//! `waypost list`: the merged catalog with its origin, or the upstreams with their replicas.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::remote::Remote;
use super::{ConfigArgs, write};
use crate::app::{App, Process};
use crate::base::clock;
use crate::gateway::{Snapshot, overview, status};
use crate::telemetry::Meters;

/// How long upstreams may take to come up when no gateway is running.
pub(super) const SETTLE_MAX: Duration = Duration::from_mins(1);

/// Arguments of `waypost list`.
#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// What to list.
    #[arg(value_enum, default_value = "tools")]
    what: What,
    #[command(flatten)]
    config: ConfigArgs,
    /// Ask this running gateway; default: one at the configured address, else none is needed.
    /// It is shown the key in the variable `WAYPOST_KEY`.
    #[arg(long)]
    url: Option<String>,
    /// Answer as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    Tools,
    Resources,
    Prompts,
    Upstreams,
}

/// Lists.
pub(crate) async fn run(args: ListArgs) -> anyhow::Result<ExitCode> {
    let (spec, environment) = args.config.load_quietly()?;
    let remote = Remote::find(args.url.as_deref(), &spec.listen, &environment).await?;
    let items = if let Some(remote) = remote {
        from_running(&remote, args.what).await?
    } else {
        let app =
            App::start(&spec.gateway.eager(), Process::this(&environment)?, Meters::new()).await;
        app.settled(SETTLE_MAX).await;
        let items = from_snapshot(&app.gateway.snapshot(), args.what);
        app.stop_at_once().await;
        items
    };
    if args.json {
        write::out(&serde_json::to_string_pretty(&Value::Array(items))?)?;
    } else {
        write::out(&table(&items, args.what))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn from_snapshot(snapshot: &Snapshot, what: What) -> Vec<Value> {
    match what {
        What::Tools => status::tools(snapshot),
        What::Upstreams => overview::upstreams(snapshot, clock::now()),
        What::Resources => status::resources(snapshot),
        What::Prompts => status::prompts(snapshot),
    }
}

fn named(name: &str, mut entry: Value) -> Value {
    if let Some(object) = entry.as_object_mut() {
        object.insert("name".to_owned(), name.into());
    }
    entry
}

/// What a running gateway tells of its upstreams: all of it, or, where it asks for a key that we do
/// not have, what everybody may know.
async fn upstreams(remote: &Remote) -> anyhow::Result<Vec<Value>> {
    if let Ok((200, text)) = remote.get("/api/v1/upstreams").await {
        return Ok(serde_json::from_str(&text)?);
    }
    let (_, text) = remote.get("/health").await?;
    let health: Value = serde_json::from_str(&text)?;
    let services = health.get("services").and_then(Value::as_object).cloned().unwrap_or_default();
    let upstreams = services.into_iter().filter(|(_, entry)| entry.get("replicas").is_some());
    Ok(upstreams.map(|(name, entry)| named(&name, entry)).collect())
}

async fn from_running(remote: &Remote, what: What) -> anyhow::Result<Vec<Value>> {
    let path = match what {
        What::Upstreams => return upstreams(remote).await,
        What::Prompts => "/api/v1/prompts",
        What::Resources => "/api/v1/resources",
        What::Tools => "/api/v1/tools",
    };
    let (status, text) = remote.get(path).await?;
    anyhow::ensure!(status == 200, "the gateway at {} answered HTTP {status}", remote.base());
    Ok(serde_json::from_str(&text)?)
}

fn table(items: &[Value], what: What) -> String {
    let text = |item: &Value, key: &str| {
        item.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    // A resource is called by its URI; its name is for people.
    let name = |item: &Value| match what {
        What::Resources => [text(item, "uri"), text(item, "uriTemplate")].concat(),
        _ => text(item, "name"),
    };
    let width = items.iter().map(|item| name(item).chars().count()).max().unwrap_or(0);
    let origins = items.iter().map(|item| text(item, "origin").chars().count()).max().unwrap_or(0);
    let lines = items.iter().map(|item| {
        let name = name(item);
        let rest = match what {
            What::Upstreams => replicas(item),
            _ => text(item, "description")
                .lines()
                .next()
                .unwrap_or_default()
                .chars()
                .take(90)
                .collect(),
        };
        let origin = text(item, "origin");
        format!("{name:width$}  {origin:origins$}  {rest}").trim_end().to_owned()
    });
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() { "(nothing)".to_owned() } else { lines.join("\n") }
}

fn replicas(upstream: &Value) -> String {
    let all = upstream.get("replicas").and_then(Value::as_array);
    let all: Vec<String> = all.into_iter().flatten().map(replica).collect();
    let status = upstream.get("status").and_then(Value::as_str).unwrap_or_default();
    let reason = upstream.get("reason").and_then(Value::as_str).unwrap_or_default();
    format!("{status}  {}{reason}", all.join("; "))
}

/// A replica with its state, and what keeps calls from it. A gate that is open is not mentioned.
fn replica(replica: &Value) -> String {
    let text = |key: &str| replica.get(key).and_then(Value::as_str).unwrap_or_default();
    let is = |key: &str| replica.get(key) == Some(&Value::Bool(true));
    let transport = if text("transport") == "sse" { " over HTTP+SSE" } else { "" };
    let detail = [text("version"), transport, text("reason")].concat();
    let mut parts =
        vec![format!("{} {} {detail}", text("name"), text("state")).trim_end().to_owned()];
    if let gate @ ("shut" | "probing") = text("gate") {
        parts.push(format!("gate {gate}"));
    }
    parts.extend(is("suspect").then(|| "suspect".to_owned()));
    parts.extend(is("resting").then(|| "resting".to_owned()));
    if let (Some(busy), "up") = (replica.get("in_flight"), text("state")) {
        parts.push(format!("{busy} in flight"));
    }
    match replica.get("restarts").and_then(Value::as_u64) {
        None | Some(0) => {}
        Some(1) => parts.push("1 restart".to_owned()),
        Some(times) => parts.push(format!("{times} restarts")),
    }
    parts.join(", ")
}
