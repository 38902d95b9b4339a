//! The gateway under test, started as a user would start it.

use std::ffi::OsString;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{env, fs};

use crate::Result;
use crate::content;
use crate::lane::{Lane, System, Work};
use crate::procfs;
use crate::protocol::{Era, Pair};
use crate::scratch::Scratch;
use crate::server::{Server, Speaks};
use crate::session::Session;
use crate::wire::Wire;

const READY: Duration = Duration::from_secs(10);
const TOOLS: Duration = Duration::from_mins(1);
/// Longest wait for the answer to one scrape of the metrics.
const SCRAPE: Duration = Duration::from_secs(10);
/// How often a state is asked for that is waited for.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// What stands behind a gateway.
#[derive(Clone, Debug)]
pub(crate) struct Fleet {
    /// Names its files.
    pub(crate) name: String,
    pub(crate) upstreams: usize,
    /// Of each upstream.
    pub(crate) tools: usize,
    /// What waypost is told to speak with them; `None`: it finds out, and finds modern.
    pub(crate) era: Option<Era>,
    /// Whether its own tools are on offer too, as they are by default.
    pub(crate) builtins: bool,
}

impl Fleet {
    pub(crate) const fn all_tools(&self) -> usize {
        self.upstreams * self.tools
    }
}

/// The program and the folder it gets.
#[derive(Clone)]
pub(crate) struct Site<'a> {
    pub(crate) program: PathBuf,
    /// A command that runs it, such as `taskset -c 0`.
    pub(crate) prefix: Vec<&'static str>,
    pub(crate) scratch: &'a Scratch,
    pub(crate) peer: SocketAddr,
}

/// How to start it, again and again with the same configuration and the same cache.
pub(crate) struct Launch {
    command: Vec<OsString>,
    prefix: Vec<&'static str>,
    cache: PathBuf,
    fleet: Fleet,
}

pub(crate) struct Gateway {
    server: Server,
    address: SocketAddr,
    pub(crate) fleet: Fleet,
}

/// `WAYPOST` from the environment, else the binary that cargo built with this bench.
pub(crate) fn program() -> Result<PathBuf> {
    let given = env::var_os("WAYPOST").map(PathBuf::from);
    let built = option_env!("CARGO_BIN_EXE_waypost").map(PathBuf::from);
    let program = given.or(built).ok_or("no waypost to measure: set WAYPOST to its binary")?;
    // Absolute, because it is also started in another folder.
    let absolute = fs::canonicalize(&program);
    absolute.map_err(|error| format!("{}: {error}", program.display()).into())
}

impl Launch {
    pub(crate) fn new(site: &Site<'_>, fleet: Fleet) -> Result<Self> {
        let text = configuration(site.peer, &fleet);
        let config = site.scratch.write(&format!("{}.toml", fleet.name), &text)?;
        let command = vec![
            site.program.clone().into(),
            "serve".into(),
            "--config".into(),
            config.into(),
            "--port".into(),
            "0".into(),
        ];
        Self::with(site, command, fleet)
    }

    /// With no configuration at all: the one that is built in, whose upstream is three children.
    pub(crate) fn built_in(site: &Site<'_>) -> Result<Self> {
        let name = "built-in".to_owned();
        // In an empty folder, so that it finds no gateway.toml.
        let folder = site.scratch.folder("empty")?;
        let mut command: Vec<OsString> = vec!["env".into(), "-C".into(), folder.into()];
        command.extend([site.program.clone().into(), "serve".into()]);
        command.extend(["--port".into(), "0".into()]);
        Self::with(site, command, Fleet { name, upstreams: 1, tools: 0, era: None, builtins: true })
    }

    fn with(site: &Site<'_>, command: Vec<OsString>, fleet: Fleet) -> Result<Self> {
        let cache = site.scratch.folder(&format!("cache-{}", fleet.name))?;
        Ok(Self { command, prefix: site.prefix.clone(), cache, fleet })
    }

    /// Until it says that it is ready; upstreams may still be coming up.
    pub(crate) fn start(&self) -> Result<Gateway> {
        let cache = self.cache.to_string_lossy();
        let envs = [("XDG_CACHE_HOME", cache.as_ref())];
        let command = self.command.clone();
        let server = Server::start("waypost", &self.prefix, command, &envs, Speaks::Stderr)?;
        let address = server.wait(READY, ready_address)?;
        Ok(Gateway { server, address, fleet: self.fleet.clone() })
    }
}

/// From `waypost ready on http://HOST:PORT/mcp (…)`.
fn ready_address(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("waypost ready on http://")?;
    let (address, _) = rest.split_once("/mcp")?;
    address.parse().ok()
}

/// Everything else is the gateway's default: metrics and every reliability feature are on.
fn configuration(peer: SocketAddr, fleet: &Fleet) -> String {
    let mut text = "[server]\nport = 0\n".to_owned();
    if !fleet.builtins {
        for tool in ["echo", "weather", "context7"] {
            text.extend(["\n[tools.", tool, "]\nenabled = false\n"]);
        }
    }
    let era = match fleet.era {
        None => "",
        Some(Era::Legacy) => "era = \"legacy\"\n",
        Some(Era::Modern) => "era = \"modern\"\n",
    };
    for name in (0..fleet.upstreams).map(content::upstream) {
        let path = content::path(&name, fleet.tools);
        let written = write!(
            text,
            "\n[upstreams.{name}]\n{era}[[upstreams.{name}.replicas]]\nurl = \"http://{peer}{path}\"\n"
        );
        debug_assert!(written.is_ok(), "a String takes all that is written to it");
    }
    text
}

/// The sum of all series of metrics that begin so.
pub(crate) fn sum(metrics: &str, series: &str) -> f64 {
    let lines = metrics.lines().filter(|line| line.starts_with(series));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

impl Gateway {
    /// Clients of this era, `pair` naming both sides where that is measured.
    pub(crate) fn lane(&self, client: Era, pair: Option<Pair>) -> Lane {
        Lane {
            system: System::Waypost,
            era: client,
            pair,
            address: self.address,
            processes: vec![self.server.process()],
            upstreams: self.fleet.upstreams,
            tools: self.fleet.tools,
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
                Err(_) => tokio::time::sleep(ASK_AGAIN).await,
            }
        }
    }

    async fn lists_all(&self) -> Result<()> {
        let lane = self.lane(Era::Legacy, None);
        let steps = lane.steps(Work::List);
        let ask = async { Session::open(&lane, 0, &steps).await?.learn(&lane, &steps).await };
        tokio::time::timeout(READY, ask).await??;
        Ok(())
    }

    /// Until the sum of the series that begin with `series` is at least `wanted`.
    pub(crate) async fn wait_for(&self, series: &str, wanted: f64) -> Result<()> {
        let until = Instant::now() + TOOLS;
        loop {
            let found = sum(&self.metrics().await?, series);
            if found >= wanted {
                return Ok(());
            }
            if Instant::now() > until {
                let said = self.server.said();
                return Err(format!("{series} is {found}, not {wanted}\n  {said}").into());
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    /// What `/metrics` says.
    pub(crate) async fn metrics(&self) -> Result<String> {
        let ask = async {
            let mut wire = Wire::connect(self.address).await?;
            let request = format!("GET /metrics HTTP/1.1\r\nhost: {}\r\n\r\n", self.address);
            let reply = wire.exchange(request.as_bytes()).await?;
            if reply.status != 200 {
                return Err(format!("status {} for /metrics", reply.status).into());
            }
            Ok::<_, crate::Error>(String::from_utf8_lossy(reply.body).into_owned())
        };
        tokio::time::timeout(SCRAPE, ask).await?
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
