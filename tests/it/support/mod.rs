//! What the integration tests share: the real binary with a configuration of the test's own, raw
//! clients of both eras over both transports, and recorded demo servers as upstreams.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test waits on its own thread, and fails by panicking"
)]

pub(crate) mod caller;
pub(crate) mod client;
pub(crate) mod duplex;
pub(crate) mod fake;
pub(crate) mod hearer;
pub(crate) mod kept;
pub(crate) mod keyed;
pub(crate) mod lists;
pub(crate) mod load;
pub(crate) mod names;
pub(crate) mod peer;
pub(crate) mod process;
pub(crate) mod procfs;
pub(crate) mod puppet;
pub(crate) mod session;
pub(crate) mod toml;
pub(crate) mod upstream;
pub(crate) mod worker;

use std::path::{Path, PathBuf};
use std::time::Duration;

use waypost::base::clock;

pub(crate) use caller::{Caller, Era, Over};
pub(crate) use client::{Http, Reply, StdioClient};
pub(crate) use fake::Fake;
pub(crate) use peer::Peer;
pub(crate) use process::{Demo, Gateway};
pub(crate) use session::Session;

/// Longest wait of a test for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `check` answers something, and fails the test after [`PATIENCE`].
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "a test has its thread to itself")]
pub(crate) fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let began = clock::now();
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "gave up waiting: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The catalogs in a cache folder, at any depth.
pub(crate) fn cached(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let below = |path: PathBuf| if path.is_dir() { cached(&path) } else { vec![path] };
    let all = paths.flat_map(below);
    let catalog = |path: &PathBuf| {
        path.extension().is_some_and(|ending| ending == "json") && !path.ends_with("seal.json")
    };
    all.filter(catalog).collect()
}

/// The `_meta` of a modern request whose client declares nothing.
pub(crate) const MODERN_META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"raw","version":"1"}}"#;

/// What `GET /health` says of an upstream.
pub(crate) fn health(gateway: &Gateway, upstream: &str) -> serde_json::Value {
    let reply = Http::send("GET", &format!("{}/health", gateway.base), &[], "");
    reply.answer()["services"][upstream].clone()
}

/// Waits until so many replicas of an upstream are up, and answers what `GET /health` says of it.
#[track_caller]
pub(crate) fn replicas_up(gateway: &Gateway, upstream: &str, count: usize) -> serde_json::Value {
    let mut last = serde_json::Value::Null;
    eventually(&format!("{count} replicas of {upstream} up"), || {
        last = health(gateway, upstream);
        let replicas = last["replicas"].as_array()?;
        let up = replicas.iter().filter(|replica| replica["state"] == "up").count();
        (up == count).then(|| last.clone())
    })
}

/// Waits until a tool is listed.
#[track_caller]
pub(crate) fn listed(gateway: &Gateway, tool: &str) {
    let has = || Http::tools(&gateway.url()).iter().any(|name| name == tool);
    eventually(&format!("{tool} in the list"), || has().then_some(()));
}

/// The value of one series of `GET /metrics`, 0 if it is not there.
pub(crate) fn metric(gateway: &Gateway, series: &str) -> f64 {
    let reply = Http::send("GET", &format!("{}/metrics", gateway.base), &[], "");
    let line = reply.body.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or(0.0)
}

/// The error of an answer as `(code, kind, delivery, retryable, upstream)`; the source is ours.
#[track_caller]
pub(crate) fn own_error(answer: &serde_json::Value) -> (i64, String, String, bool, String) {
    let error = &answer["error"];
    assert_eq!(error["data"]["source"], "gateway", "{answer}");
    let text = |key: &str| error["data"][key].as_str().unwrap_or_default().to_owned();
    (
        error["code"].as_i64().unwrap(),
        text("kind"),
        text("delivery"),
        error["data"]["retryable"].as_bool().unwrap(),
        text("upstream"),
    )
}
