//! A program with the gateway inside: three copies of the demo server, called in turn, by weight,
//! with failover and many at once, and a policy that runs work of its own again.
//!
//! Usage: `coordination WAYPOST`, where WAYPOST is the path of the `waypost` binary, which guards
//! the child processes and is the demo server too.
#![expect(
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "it shows what came; an index into JSON that is not there is null"
)]

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use waypost::app::{App, Process};
use waypost::base::{Fault, Kind, Sent};
use waypost::config::{CliOverrides, Environment, load};
use waypost::gateway::Snapshot;
use waypost::telemetry::Meters;
use waypost::{CallError, Coordinator, RetryPolicy};

const CONFIG: &str = r#"
[catalog]
cache = false
[upstreams.demo]
trust_annotations = true
[[upstreams.demo.replicas]]
name = "a"
command = "waypost"
args = ["demo-server", "--stdio", "--name", "a"]
weight = 3
[[upstreams.demo.replicas]]
name = "b"
command = "waypost"
args = ["demo-server", "--stdio", "--name", "b"]
weight = 2
[[upstreams.demo.replicas]]
name = "c"
command = "waypost"
args = ["demo-server", "--stdio", "--name", "c"]
"#;

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let binary =
        std::env::args_os().nth(1).map(PathBuf::from).ok_or("usage: coordination WAYPOST")?;
    let environment = Environment::process();
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), CONFIG)?;
    let (spec, _) = load(Some(file.path()), &CliOverrides::default(), &environment)?;
    let process = Process { binary, ..Process::this(&environment)? };
    let app = App::start(&spec.gateway, process, Meters::new()).await;
    tokio::time::timeout(Duration::from_secs(30), all_up(&app)).await?;
    let shown = show(&Coordinator::new(app.gateway.clone())).await;
    app.stop().await;
    shown
}

/// Resolves when every replica takes calls and the tools are listed.
async fn all_up(app: &App) {
    let up = |snapshot: &Snapshot| {
        let mut replicas = snapshot.upstreams.iter().flat_map(|one| &one.pool.replicas);
        replicas.all(|replica| replica.is_up()) && snapshot.upstreams.iter().all(|one| one.listed)
    };
    while !up(&app.gateway.snapshot()) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn show(coordinator: &Coordinator) -> Result<(), Failure> {
    let none = json!({});
    let mut in_turn = Vec::new();
    for _ in 0..3 {
        in_turn.push(name(&coordinator.round_robin_request("demo__whoami", &none).await?));
    }
    println!("in turn: {}", in_turn.join(" "));

    let mut by_weight = Vec::new();
    for _ in 0..6 {
        by_weight.push(name(&coordinator.weighted_request("demo__whoami", &none).await?));
    }
    println!("by weight: {}", by_weight.join(" "));

    let sum = coordinator.failover_request("demo__add", &json!({ "a": 40, "b": 2 }), 3).await?;
    println!("with failover: {}", sum["structuredContent"]["sum"]);

    let sets = [json!({ "a": 1, "b": 2 }), json!({ "a": "no number" }), json!({ "a": 3, "b": 4 })];
    for (set, outcome) in sets.iter().zip(coordinator.aggregate_request("demo__add", &sets).await) {
        println!("one of many: {set} -> {}", end(outcome));
    }
    let unknown = coordinator.aggregate_request("demo__ad", &sets).await.swap_remove(0);
    println!("unknown: {}", end(unknown));

    let mut runs = 0;
    let answer = RetryPolicy::default()
        .execute(|| {
            runs += 1;
            let unsent = Fault::upstream(Kind::Connect, Sent::No, "connection refused");
            let outcome = if runs < 3 { Err(unsent) } else { Ok("done") };
            async move { outcome }
        })
        .await?;
    println!("again until it went well: {answer} after {runs} runs");
    Ok(())
}

fn name(result: &Value) -> String {
    result["structuredContent"]["name"].as_str().unwrap_or("?").to_owned()
}

/// How one of many calls ended.
fn end(outcome: Result<Value, CallError>) -> String {
    match outcome {
        Ok(result) if result["isError"] == true => "the tool failed".to_owned(),
        Ok(result) => result["structuredContent"]["sum"].to_string(),
        Err(error) => format!("error {} ({})", error.code, error.delivery),
    }
}
