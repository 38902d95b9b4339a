//! The processes of a test: the gateway and demo servers. Each ends with its handle.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use parking_lot::Mutex;
use serde_json::Value;

use super::eventually;

/// The binary under test.
pub(crate) const WAYPOST: &str = env!("CARGO_BIN_EXE_waypost");

/// A running `waypost serve` with its own configuration, folder and port.
pub(crate) struct Gateway {
    child: Child,
    folder: tempfile::TempDir,
    stderr: Arc<Mutex<String>>,
    /// Such as `http://127.0.0.1:40123`, without a path.
    pub(crate) base: String,
}

impl Gateway {
    /// Starts it with the text of a gateway.toml and waits for its ready line.
    pub(crate) fn start(config: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), config)
    }

    /// The same in a folder that may hold a cache already.
    pub(crate) fn start_in(folder: tempfile::TempDir, config: &str) -> Self {
        Self::start_with(folder, config, &[])
    }

    /// The same with these variables.
    pub(crate) fn start_with(
        folder: tempfile::TempDir,
        config: &str,
        variables: &[(&str, &str)],
    ) -> Self {
        let file = folder.path().join("gateway.toml");
        std::fs::write(&file, config).unwrap();
        let mut child = Command::new(WAYPOST)
            .args(["serve", "--port", "0", "--config"])
            .arg(&file)
            .env("XDG_CACHE_HOME", folder.path().join("cache"))
            .env_remove("MCP_SERVER_HOST")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = gather(child.stderr.take().unwrap());
        let ready = eventually("the ready line", || find_url(&stderr.lock(), "waypost ready on "));
        let base = ready.trim_end_matches("/mcp").to_owned();
        Self { child, folder, stderr, base }
    }

    /// The MCP endpoint.
    pub(crate) fn url(&self) -> String {
        format!("{}/mcp", self.base)
    }

    /// `127.0.0.1:PORT`
    pub(crate) fn addr(&self) -> &str {
        self.base.trim_start_matches("http://")
    }

    /// What it has written to stderr.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.lock().clone()
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes another text into its gateway.toml.
    pub(crate) fn write(&self, config: &str) {
        // As careful editors do: nobody finds half of it.
        let beside = self.folder.path().join("gateway.toml~");
        std::fs::write(&beside, config).unwrap();
        std::fs::rename(&beside, self.folder.path().join("gateway.toml")).unwrap();
    }

    /// Sends it SIGHUP.
    pub(crate) fn hang_up(&self) {
        signal(self.child.id(), "-HUP");
    }

    /// Asks it to end with SIGTERM and does not wait.
    pub(crate) fn ask_to_end(&self) {
        signal(self.child.id(), "-TERM");
    }

    /// How a reload ended that is asked for now, by SIGHUP, with this text: the label of its metric.
    #[track_caller]
    pub(crate) fn reload(&self, config: &str) -> &'static str {
        let results = ["applied", "unchanged", "invalid", "failed"];
        let count = |result: &&'static str| {
            super::metric(self, &format!("mcp_config_reloads_total{{result=\"{result}\"}}"))
        };
        let before: Vec<f64> = results.iter().map(count).collect();
        self.write(config);
        self.hang_up();
        eventually("the end of the reload", || {
            let ended = |(result, before): &(&&'static str, &f64)| count(result) > **before;
            results.iter().zip(&before).find(ended).map(|(result, _)| *result)
        })
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end with SIGTERM, and answers its exit code.
    pub(crate) fn terminate(mut self) -> i32 {
        self.ask_to_end();
        eventually("the gateway to end", || self.child.try_wait().unwrap()).code().unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends a process a signal, such as `-HUP`.
pub(super) fn signal(pid: u32, which: &str) {
    assert!(Command::new("kill").args([which, &pid.to_string()]).status().unwrap().success());
}

/// A running `waypost demo-server --port 0`.
pub(crate) struct Demo {
    child: Child,
    record: PathBuf,
    _folder: tempfile::TempDir,
    /// Its MCP endpoint.
    pub(crate) url: String,
}

impl Demo {
    /// Starts it with more arguments; all it receives is recorded.
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_on(free_port(), args)
    }

    /// The same on a port that was free a moment ago.
    pub(crate) fn start_on(port: u16, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let record = folder.path().join("record.jsonl");
        let mut child = Command::new(WAYPOST)
            .args(["demo-server", "--port", &port.to_string(), "--record"])
            .arg(&record)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = gather(child.stderr.take().unwrap());
        let url = eventually("the demo server", || find_url(&stderr.lock(), " ready on "));
        Self { child, record, _folder: folder, url }
    }

    /// Everything it has received: `{method, path, headers: ["name: value", …], body}` each.
    pub(crate) fn received(&self) -> Vec<Value> {
        received(&self.record)
    }

    /// What it received as JSON-RPC requests of a method.
    pub(crate) fn requests(&self, method: &str) -> Vec<Value> {
        let is_it = |entry: &Value| {
            let body = entry["body"].as_str().unwrap_or_default();
            serde_json::from_str::<Value>(body).is_ok_and(|body| body["method"] == method)
        };
        self.received().into_iter().filter(is_it).collect()
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The dual-era server of `examples/conformance_fixture`, which is built with the tests.
pub(crate) fn fixture() -> PathBuf {
    let path = Path::new(WAYPOST).with_file_name("examples").join("conformance_fixture");
    assert!(path.exists(), "cargo build --example conformance_fixture makes {}", path.display());
    path
}

/// A running fixture behind a URL.
pub(crate) struct Fixture {
    child: Child,
    /// Its MCP endpoint.
    pub(crate) url: String,
}

impl Fixture {
    /// One that speaks one era.
    pub(crate) fn start(era: &str) -> Self {
        let mut child = Command::new(fixture())
            .args(["--port", "0", "--era", era])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = gather(child.stderr.take().unwrap());
        let url = eventually("the fixture", || find_url(&stderr.lock(), " ready on "));
        Self { child, url }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The entries of a record file.
pub(crate) fn received(record: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(record).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// A port of this machine on which nothing listens. It is below those that the system gives to
/// whoever does not name one: no other test gets it while nothing listens there.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let ports = 10_240..32_768;
    // Tests that run beside each other as processes begin at different ones.
    let begin = std::process::id().wrapping_mul(40_503);
    let mut all = std::iter::repeat_with(|| {
        let nth = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed).into());
        ports.start + u16::try_from(nth % u32::from(ports.end - ports.start)).unwrap()
    });
    all.find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

fn gather(stderr: std::process::ChildStderr) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let shared = Arc::clone(&text);
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let mut text = shared.lock();
            if text.len() < 1024 * 1024 {
                text.push_str(&line);
                text.push('\n');
            }
        }
    });
    text
}

fn find_url(text: &str, before: &str) -> Option<String> {
    let line = text.lines().find(|line| line.contains(before) && line.contains("http://"))?;
    let url = line.get(line.find("http://")?..)?;
    Some(url.split_whitespace().next()?.to_owned())
}
