//! The gateway under test, started as a user would start it.

use std::env;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::Result;
use crate::content::{self, UPSTREAMS};
use crate::lane::{Lane, System, Work};
use crate::options::UpstreamEra;
use crate::procfs;
use crate::protocol::Era;
use crate::scratch::Scratch;
use crate::server::{Server, Speaks};
use crate::session::Session;

const READY: Duration = Duration::from_secs(10);
const TOOLS: Duration = Duration::from_secs(30);

/// How to start it, again and again with the same configuration and the same cache.
pub(crate) struct Launch {
    program: PathBuf,
    prefix: Vec<&'static str>,
    config: PathBuf,
    cache: PathBuf,
    tools: usize,
}

pub(crate) struct Gateway {
    server: Server,
    address: SocketAddr,
    tools: usize,
}

/// `WAYPOST` from the environment, else the binary that cargo built with this bench.
pub(crate) fn program() -> Result<PathBuf> {
    let given = env::var_os("WAYPOST").map(PathBuf::from);
    let built = option_env!("CARGO_BIN_EXE_waypost").map(PathBuf::from);
    given.or(built).ok_or_else(|| "no waypost to measure: set WAYPOST to its binary".into())
}

impl Launch {
    pub(crate) fn new(
        program: PathBuf,
        prefix: Vec<&'static str>,
        scratch: &Scratch,
        peer: SocketAddr,
        era: UpstreamEra,
    ) -> Result<Self> {
        let config = scratch.write("gateway.toml", &configuration(peer, era))?;
        let cache = scratch.folder("cache")?;
        Ok(Self { program, prefix, config, cache, tools: 0 })
    }

    pub(crate) fn with_tools(self, tools: usize) -> Self {
        Self { tools, ..self }
    }

    /// Until it says that it is ready; upstreams may still be coming up.
    pub(crate) fn start(&self) -> Result<Gateway> {
        let command = vec![
            self.program.clone().into(),
            "serve".into(),
            "--config".into(),
            self.config.clone().into(),
            "--port".into(),
            "0".into(),
        ];
        let cache = self.cache.to_string_lossy();
        let envs = [("XDG_CACHE_HOME", cache.as_ref())];
        let server = Server::start("waypost", &self.prefix, command, &envs, Speaks::Stderr)?;
        let address = server.wait(READY, ready_address)?;
        Ok(Gateway { server, address, tools: self.tools })
    }
}

/// From `waypost ready on http://HOST:PORT/mcp (…)`.
fn ready_address(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("waypost ready on http://")?;
    let (address, _) = rest.split_once("/mcp")?;
    address.parse().ok()
}

/// Everything else is the gateway's default: metrics and every reliability feature are on.
fn configuration(peer: SocketAddr, era: UpstreamEra) -> String {
    let mut text = "[server]\nport = 0\n".to_owned();
    for name in (0..UPSTREAMS).map(content::upstream) {
        let era = era.setting().map_or_else(String::new, |era| format!("era = \"{era}\"\n"));
        let written = write!(
            text,
            "\n[upstreams.{name}]\n{era}[[upstreams.{name}.replicas]]\nurl = \"http://{peer}/{name}/mcp\"\n"
        );
        debug_assert!(written.is_ok(), "a String takes all that is written to it");
    }
    text
}

impl Gateway {
    pub(crate) fn lane(&self, era: Era) -> Lane {
        Lane {
            system: System::Waypost,
            era,
            address: self.address,
            processes: vec![self.server.process()],
            tools: self.tools,
        }
    }

    /// Until `tools/list` has every tool of every upstream.
    pub(crate) async fn wait_for_tools(&self) -> Result<()> {
        let until = Instant::now() + TOOLS;
        loop {
            match self.lists_all().await {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > until => {
                    let said = self.server.said();
                    return Err(format!("waypost never listed all tools: {error}\n  {said}").into());
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    async fn lists_all(&self) -> Result<()> {
        let lane = self.lane(Era::Legacy);
        let steps = lane.steps(Work::List);
        let ask = async { Session::open(&lane, 0, &steps).await?.learn(&lane, &steps).await };
        tokio::time::timeout(READY, ask).await??;
        Ok(())
    }

    pub(crate) fn resident_kib(&self) -> Result<u64> {
        procfs::resident_kib(self.server.process())
    }

    pub(crate) fn process(&self) -> u32 {
        self.server.process()
    }

    pub(crate) fn said(&self) -> String {
        self.server.said()
    }
}
