//! What a scenario stands on: a folder, a journal, replicas, perhaps proxies before them, a gateway,
//! and what it held before the load came.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::client::{Client, Told};
use crate::config;
use crate::gateway::{Gateway, Metrics};
use crate::ledger;
use crate::load::{Load, MIX};
use crate::options::Options;
use crate::proc;
use crate::proxy::Proxy;
use crate::replica::Replica;
use crate::report::Figure;
use crate::time::{now_ms, sleep_ms, until};

/// Everything of one scenario. What runs ends with it.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) options: Options,
    pub(crate) waypost: PathBuf,
    pub(crate) journal: PathBuf,
    pub(crate) mark: String,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) proxies: Vec<Proxy>,
    /// Where its gateway listens; 0: anywhere.
    pub(crate) port: u16,
    /// What its gateway finds in its environment.
    pub(crate) variables: Vec<(String, String)>,
    gateway: Option<Gateway>,
    folder: Option<tempfile::TempDir>,
    name: &'static str,
}

/// What the gateway held when it was warm.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Baseline {
    descriptors: usize,
    threads: usize,
    processes: usize,
}

impl Rig {
    pub(crate) fn new(name: &'static str, options: &Options) -> anyhow::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let folder = tempfile::Builder::new().prefix("waypost-chaos-").tempdir()?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Ok(Self {
            waypost: options.waypost(),
            journal: folder.path().join("journal.jsonl"),
            mark: format!("{}-{number}.", std::process::id()),
            options: options.clone(),
            replicas: Vec::new(),
            proxies: Vec::new(),
            port: 0,
            variables: Vec::new(),
            gateway: None,
            folder: Some(folder),
            name,
        })
    }

    /// The folder of its files.
    pub(crate) fn folder(&self) -> &Path {
        self.journal.parent().unwrap_or(&self.journal)
    }

    /// Starts replicas of these names.
    pub(crate) async fn serve(&mut self, names: &[&str]) -> anyhow::Result<()> {
        for name in names {
            let mut replica = Replica::new(name, &self.waypost, &self.journal, &self.mark)?;
            replica.start().await?;
            self.replicas.push(replica);
        }
        Ok(())
    }

    /// Puts a proxy before each replica.
    pub(crate) async fn proxied(&mut self) -> anyhow::Result<()> {
        for (number, replica) in self.replicas.iter().enumerate() {
            let seed = self.options.seed.wrapping_mul(1_000) + number as u64;
            self.proxies.push(Proxy::start(replica.port, seed).await?);
        }
        Ok(())
    }

    /// Four replicas of upstream `h`, behind proxies if so wanted, and a gateway before them.
    pub(crate) async fn four(&mut self, proxied: bool) -> anyhow::Result<()> {
        self.serve(&["a", "b", "c", "d"]).await?;
        if proxied {
            self.proxied().await?;
        }
        self.gateway(&config::upstream("h", "", &self.urls())).await?;
        self.up(&self.client(), "h", 4.0).await
    }

    /// The tables of the replicas: behind their proxies, if they have some.
    pub(crate) fn urls(&self) -> Vec<String> {
        let port = |at: usize, replica: &Replica| {
            self.proxies.get(at).map_or(replica.port, |proxy| proxy.port)
        };
        let replicas = self.replicas.iter().enumerate();
        replicas.map(|(at, replica)| config::url(&replica.name, port(at, replica))).collect()
    }

    /// The table of a demo server on stdio, with more arguments.
    pub(crate) fn child(&self, name: &str, more: &[&str]) -> String {
        let (waypost, journal) =
            (self.waypost.display().to_string(), self.journal.display().to_string());
        let own = [
            &waypost,
            "demo-server",
            "--stdio",
            "--name",
            name,
            "--quirk",
            "ledger",
            "--journal",
            &journal,
        ];
        config::command(name, &[&own[..], more].concat(), &self.mark)
    }

    /// Changes the configuration of the gateway while it runs.
    pub(crate) fn reconfigure(&self, tables: &str) -> anyhow::Result<()> {
        let (file, next) = (self.folder().join("gateway.toml"), self.folder().join("next.toml"));
        std::fs::write(&next, format!("{}{tables}", config::BASE))?;
        Ok(std::fs::rename(next, file)?)
    }

    /// Starts the gateway with these tables, in place of the one before.
    pub(crate) async fn gateway(&mut self, tables: &str) -> anyhow::Result<()> {
        self.gateway = None;
        let config = format!("{}{tables}", config::BASE);
        let mut variables = self.variables.clone();
        variables.push((proc::MARK.to_owned(), self.mark.clone()));
        let started =
            Gateway::start(&self.waypost, self.folder(), (&config, self.port), &variables).await?;
        self.gateway = Some(started);
        Ok(())
    }

    pub(crate) fn waypost_process(&mut self) -> anyhow::Result<&mut Gateway> {
        self.gateway.as_mut().context("no gateway")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.gateway.as_ref().map_or(0, Gateway::pid)
    }

    /// Its address, without a scheme.
    pub(crate) fn address(&self) -> String {
        let base = self.gateway.as_ref().map_or("", |gateway| gateway.base.as_str());
        base.trim_start_matches("http://").to_owned()
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.gateway.as_ref().map_or("", |gateway| gateway.base.as_str()))
    }

    /// Waits until so many replicas of an upstream take calls.
    pub(crate) async fn up(
        &self,
        client: &Client,
        upstream: &str,
        count: f64,
    ) -> anyhow::Result<()> {
        let label = format!("upstream=\"{upstream}\"");
        let mut found = 0.0;
        let up = until(60_000, async || {
            found = match Metrics::read(client).await {
                Ok(metrics) => metrics.sum("mcp_upstream_up", &[&label]),
                Err(_) => 0.0,
            };
            found >= count
        });
        if up.await.is_none() {
            bail!("{found} of {count} replicas of {upstream} are up");
        }
        // The list follows the replicas by a moment.
        sleep_ms(300).await;
        Ok(())
    }

    /// The load of the suite on these upstreams.
    pub(crate) fn load(&self, tag: &str, upstreams: &[&str]) -> Load {
        let slow = if self.options.is_short() { (500, 3_000) } else { (2_000, 20_000) };
        Load {
            client: self.client(),
            tag: format!("{}-{tag}", self.name),
            rate: f64::from(self.options.rate),
            mix: MIX,
            upstreams: upstreams.iter().map(|&name| name.to_owned()).collect(),
            keys: Vec::new(),
            ms: None,
            slow,
            seed: self.options.seed,
        }
    }

    /// Where its upstreams are.
    pub(crate) fn ports(&self) -> Vec<u16> {
        let proxies = self.proxies.iter().map(|proxy| proxy.port);
        self.replicas.iter().map(|replica| replica.port).chain(proxies).collect()
    }

    /// What the gateway holds now. To be asked when it is warm and its load runs.
    pub(crate) fn baseline(&self) -> Baseline {
        Baseline {
            descriptors: proc::descriptors(self.pid(), &self.ports()),
            threads: proc::threads(self.pid()),
            processes: proc::marked(&self.mark).len(),
        }
    }

    /// The promises of the ledger, and that nothing was kept: I9.
    pub(crate) async fn settled(&self, told: &[Told], before: Baseline) -> Vec<Figure> {
        self.settled_by(&self.client(), told, before).await
    }

    /// The same, asking with this client.
    pub(crate) async fn settled_by(
        &self,
        client: &Client,
        told: &[Told],
        before: Baseline,
    ) -> Vec<Figure> {
        let mut inflight = f64::NAN;
        let quiet = until(15_000, async || {
            inflight = match Metrics::read(client).await {
                Ok(metrics) => metrics.sum("mcp_upstream_inflight", &[]),
                Err(_) => f64::NAN,
            };
            inflight == 0.0
        });
        quiet.await;
        let back = until(15_000, async || {
            proc::marked(&self.mark).len() <= before.processes
                && self.baseline().descriptors <= before.descriptors + SPARE_DESCRIPTORS
        });
        back.await;
        let mut figures = ledger::clean(&self.journal, told);
        figures.push(Figure::told("endings", ledger::endings(told)));
        figures.push(Figure::at_most("I9 calls in flight afterwards", inflight, 0.0));
        let (now, zombies) = (self.baseline(), proc::zombies(self.pid()));
        let most = (before.descriptors + SPARE_DESCRIPTORS) as f64;
        figures.push(Figure::at_most("I9 descriptors afterwards", now.descriptors as f64, most));
        let most = (before.threads + SPARE_THREADS) as f64;
        figures.push(Figure::at_most("I9 threads afterwards", now.threads as f64, most));
        let (processes, most) = (now.processes as f64, before.processes as f64);
        figures.push(Figure::at_most("I9 processes afterwards", processes, most));
        figures.push(Figure::at_most("I9 zombies afterwards", zombies as f64, 0.0));
        figures
    }

    /// Warm: a steady load, and what it was told; with what the gateway held in the midst of it.
    pub(crate) async fn steady(&self, load: Load, seconds: u64) -> (Vec<Told>, Baseline) {
        let running = load.start();
        let half = Duration::from_millis(seconds * 500);
        let mut held = self.baseline();
        let until = now_ms() + u64::try_from(half.as_millis() * 2).unwrap_or_default();
        while now_ms() < until {
            sleep_ms(250).await;
            let now = self.baseline();
            held = Baseline {
                descriptors: held.descriptors.max(now.descriptors),
                threads: held.threads.max(now.threads),
                processes: held.processes.max(now.processes),
            };
        }
        (running.finish().await, held)
    }
}

/// Connections of the client that asks, beyond what there was under a steady load. Connections to
/// upstreams that rest are not counted at all.
const SPARE_DESCRIPTORS: usize = 16;

/// Threads that do blocking work come and go.
const SPARE_THREADS: usize = 4;

impl Drop for Rig {
    fn drop(&mut self) {
        self.gateway = None;
        self.replicas.clear();
        if self.options.keep
            && let Some(folder) = self.folder.take()
        {
            println!("{}: kept {}", self.name, folder.keep().display());
        }
    }
}
