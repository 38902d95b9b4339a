//! Wiring: checked specs become live parts, started and stopped in order. This is the only place
//! that knows every floor.

pub mod cli;
mod discover;
mod live;
mod nursery;
pub mod reload;
pub mod reloader;
mod seal;
pub mod signals;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::{broadcast, mpsc};

use crate::base::{Tasks, UpstreamName};
use crate::config::Environment;
use crate::gateway::demand::DEMANDS_MAX;
use crate::gateway::diff::diff;
use crate::gateway::director::{Director, EVENTS_MAX, Inbox, ORDERS_MAX, Order, Parts};
use crate::gateway::hub::UPDATES_MAX;
use crate::gateway::memory::Memory;
use crate::gateway::spec::{CacheSpec, GatewaySpec};
use crate::gateway::spread::spread;
use crate::gateway::{Gateway, status};
use crate::store::Files;
use crate::telemetry::Meters;
use crate::upstream::connect::Means;
use crate::upstream::supervisor::Supervisor;

use self::discover::Discovery;
use self::live::Live;
use self::nursery::Nursery;

/// How long children may take to end when we stop.
const CHILDREN_STOP: Duration = Duration::from_secs(15);
/// The same where a client waits at the other end of a pipe.
const CHILDREN_STOP_AT_ONCE: Duration = Duration::from_millis(700);
/// How long the catalog may take to reach the disk then.
const DIRECTOR_STOP_AT_ONCE: Duration = Duration::from_millis(200);
/// How often it is looked whether every upstream has come up or failed.
const SETTLE_LOOK: Duration = Duration::from_millis(10);

/// What a gateway needs of the process it runs in.
#[derive(Debug)]
pub struct Process {
    /// Our own binary: it guards children, and runs as one.
    pub binary: PathBuf,
    /// The variables of which children inherit some.
    pub variables: Vec<(OsString, OsString)>,
    /// Where caches belong; `None` = nowhere.
    pub cache_dir: Option<PathBuf>,
}

impl Process {
    /// The process we are.
    pub fn this(environment: &Environment) -> std::io::Result<Self> {
        let home = environment.var("HOME").map(|home| PathBuf::from(home).join(".cache"));
        let cache = environment.var("XDG_CACHE_HOME").map(PathBuf::from).or(home);
        Ok(Self {
            binary: std::env::current_exe()?,
            variables: environment.all(),
            cache_dir: cache.map(|cache| cache.join("waypost")),
        })
    }
}

/// A running gateway, without any front.
#[derive(Debug)]
pub struct App {
    /// What fronts call.
    pub gateway: Gateway,
    /// Every metric.
    pub meters: Meters,
    keepers: Tasks,
    director: Tasks,
    orders: mpsc::Sender<Order>,
    live: Live,
    /// The configuration as it was read: its names are not replicas yet.
    configured: GatewaySpec,
    discovery: Discovery,
    /// Where caches belong that the configuration puts nowhere else.
    cache_dir: Option<PathBuf>,
}

impl App {
    /// Starts everything behind the fronts. Nothing is waited for but, for 2 s at most, the first
    /// lookup of host names whose addresses are replicas.
    pub async fn start(spec: &GatewaySpec, process: Process, meters: Meters) -> Self {
        let Process { binary, variables, cache_dir } = process;
        let means = Means {
            supervisor: Arc::new(Supervisor::new(binary, variables)),
            dial: None,
            tasks: Tasks::new(),
            us: Arc::new(json!({ "name": "waypost", "version": env!("CARGO_PKG_VERSION") })),
        };
        let mut discovery = Discovery::new(&meters);
        discovery.follow(spec);
        discovery.first().await;
        Self::begin(spec, means, cache_dir, meters, discovery)
    }

    /// The same with other means than processes and TCP, for simulations. No name is looked up
    /// before a reload.
    pub fn start_with(
        spec: &GatewaySpec,
        means: Means,
        cache_dir: Option<PathBuf>,
        meters: Meters,
    ) -> Self {
        let discovery = Discovery::new(&meters);
        Self::begin(spec, means, cache_dir, meters, discovery)
    }

    fn begin(
        configured: &GatewaySpec,
        means: Means,
        cache_dir: Option<PathBuf>,
        meters: Meters,
        mut discovery: Discovery,
    ) -> Self {
        let spec = &spread(configured, discovery.known());
        let (keepers, director) = (means.tasks.clone(), Tasks::new());
        let (events, happened) = mpsc::channel(EVENTS_MAX);
        let (updates, _) = broadcast::channel(UPDATES_MAX);
        let (demands, demanded) = mpsc::channel(DEMANDS_MAX);
        let (orders, ordered) = mpsc::channel(ORDERS_MAX);
        let nursery = Nursery { means, events, updates: updates.clone(), meters: meters.clone() };
        let mut live = Live::new(nursery.clone(), keepers.stop_token().clone());
        let files = cache_folder(&spec.cache, cache_dir.clone()).map(Files::new);
        let sealer = seal::sealer(files.as_ref());
        let memory = Memory::new(files);
        let built = live.build(spec, &diff(&GatewaySpec::default(), spec), &memory);
        live.adopt(spec, &built);
        let parts = Parts {
            naming: spec.naming.clone(),
            members: built.members,
            builtins: built.builtins,
            memory,
            spawn: nursery.beside(),
            keepers: keepers.stop_token().clone(),
            tasks: director.clone(),
        };
        let mut writer = Director::new(parts, &meters);
        let gateway = Gateway::new(writer.build(None), demands, updates, &meters);
        let gateway = gateway.sealing_with(sealer);
        gateway.keep_at_most(spec.keep);
        let inbox = Inbox { events: happened, demands: demanded, orders: ordered };
        director.spawn(writer.run(gateway.clone(), inbox, director.stop_token().clone()));
        live.raise(&built.fresh);
        let configured = configured.clone();
        Self { gateway, meters, keepers, director, orders, live, configured, discovery, cache_dir }
    }

    /// Upstreams with a host name of which no address is known, with the reason.
    pub fn lost_names(&self) -> Vec<(UpstreamName, String)> {
        self.discovery.lost().map(|(upstream, why)| (upstream.clone(), why)).collect()
    }

    /// Resolves when every upstream has come up or failed to, or after `limit`.
    pub async fn settled(&self, limit: Duration) {
        let all = async {
            while !status::all_tried(&self.gateway.snapshot()) {
                tokio::time::sleep(SETTLE_LOOK).await;
            }
        };
        if tokio::time::timeout(limit, all).await.is_err() {
            tracing::debug!("some upstreams are still starting");
        }
    }

    /// Stops everything and waits no longer than a client at the other end of a pipe would: the
    /// guards of the children finish the work if they must.
    pub async fn stop_at_once(self) {
        self.gateway.end_parked().await;
        self.keepers.stop(CHILDREN_STOP_AT_ONCE).await;
        self.director.stop(DIRECTOR_STOP_AT_ONCE).await;
    }

    /// Stops everything: children are ended, sessions closed, what is to be kept is written.
    pub async fn stop(self) {
        self.gateway.end_parked().await;
        if !self.keepers.stop(CHILDREN_STOP).await {
            tracing::warn!("some upstreams could not be stopped in time");
        }
        self.director.stop(Duration::from_secs(2)).await;
    }
}

fn cache_folder(spec: &CacheSpec, default: Option<PathBuf>) -> Option<PathBuf> {
    let folder = spec.dir.clone().or(default).filter(|_| spec.enabled)?;
    Some(folder.join("catalog"))
}
