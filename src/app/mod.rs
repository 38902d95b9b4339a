//! Wiring: checked specs become live parts, started and stopped in order. This is the only place
//! that knows every floor.

pub mod cli;
pub mod signals;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::base::Tasks;
use crate::builtin::Builtins;
use crate::config::Environment;
use crate::fleet::Pool;
use crate::gateway::demand::DEMANDS_MAX;
use crate::gateway::director::{Director, EVENTS_MAX, Parts, Spawn};
use crate::gateway::hub::UPDATES_MAX;
use crate::gateway::memory::Memory;
use crate::gateway::spec::{CacheSpec, GatewaySpec, UpstreamSpec};
use crate::gateway::{Gateway, status};
use crate::proto::Abilities;
use crate::store::Files;
use crate::telemetry::Meters;
use crate::upstream::Replica;
use crate::upstream::connect::Means;
use crate::upstream::keeper::Keeper;
use crate::upstream::replica::Bonds;
use crate::upstream::report::{Event, Place, Report, Updated};
use crate::upstream::spec::ReplicaKind;
use crate::upstream::supervisor::Supervisor;

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
}

impl App {
    /// Starts everything behind the fronts and returns at once: nothing is waited for.
    pub fn start(spec: &GatewaySpec, process: Process, meters: Meters) -> Self {
        let (keepers, director) = (Tasks::new(), Tasks::new());
        let files = cache_folder(&spec.cache, process.cache_dir).map(Files::new);
        let means = Means {
            supervisor: Arc::new(Supervisor::new(process.binary, process.variables)),
            tasks: keepers.clone(),
            us: Arc::new(json!({ "name": "waypost", "version": env!("CARGO_PKG_VERSION") })),
        };
        let (events, happened) = mpsc::channel(EVENTS_MAX);
        let (updates, _) = broadcast::channel(UPDATES_MAX);
        let (demands, demanded) = mpsc::channel(DEMANDS_MAX);
        let nursery = Nursery { means, events, updates: updates.clone(), meters: meters.clone() };
        let pools: Vec<_> =
            spec.upstreams.iter().map(|u| (Arc::new(u.clone()), pool(u, &meters))).collect();
        let parts = Parts {
            naming: spec.naming.clone(),
            pools: pools.clone(),
            builtins: Builtins::new(&spec.builtins),
            memory: Memory::new(files),
            spawn: nursery.clone().beside(),
            keepers: keepers.stop_token().clone(),
            tasks: director.clone(),
        };
        let mut writer = Director::new(parts, &meters);
        let gateway = Gateway::new(writer.build(None), demands, updates, &meters);
        let stop = director.stop_token().clone();
        director.spawn(writer.run(gateway.clone(), happened, demanded, stop));
        for (upstream, (_, pool)) in pools.iter().enumerate() {
            for (replica, kept) in pool.replicas.iter().enumerate() {
                let place = Place { upstream, replica, abilities: Abilities::NONE };
                nursery.keep(Arc::clone(kept), place, keepers.stop_token().clone());
            }
        }
        Self { gateway, meters, keepers, director }
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
        self.keepers.stop(CHILDREN_STOP_AT_ONCE).await;
        self.director.stop(DIRECTOR_STOP_AT_ONCE).await;
    }

    /// Stops everything: children are ended, sessions closed, what is to be kept is written.
    pub async fn stop(self) {
        if !self.keepers.stop(CHILDREN_STOP).await {
            tracing::warn!("some upstreams could not be stopped in time");
        }
        self.director.stop(Duration::from_secs(2)).await;
    }
}

/// Starts the keepers of replicas.
#[derive(Clone)]
struct Nursery {
    means: Means,
    events: mpsc::Sender<Event>,
    updates: broadcast::Sender<Updated>,
    meters: Meters,
}

impl Nursery {
    fn keep(&self, replica: Arc<Replica>, place: Place, stop: CancellationToken) {
        let (events, updates) = (self.events.clone(), self.updates.clone());
        let report = Report { place, events, updates };
        let keeper = Keeper { replica, means: self.means.clone(), report, stop };
        self.means.tasks.spawn(keeper.run());
    }

    /// Starts a replica for clients of some abilities beside the one for everybody. Both count as
    /// one in the metrics, and share the bound of calls in flight.
    fn beside(self) -> Spawn {
        Box::new(move |place, base, stop| {
            let handles =
                self.meters.replica_beside(base.upstream.as_str(), base.spec.name.as_str());
            let beside = Arc::new(Replica::new(
                base.upstream.clone(),
                base.spec.clone(),
                handles,
                place.abilities,
                base.bonds(),
            ));
            self.keep(Arc::clone(&beside), place, stop);
            beside
        })
    }
}

fn cache_folder(spec: &CacheSpec, default: Option<PathBuf>) -> Option<PathBuf> {
    let folder = spec.dir.clone().or(default).filter(|_| spec.enabled)?;
    Some(folder.join("catalog"))
}

/// The pool of an upstream. One that is switched off has no replicas.
fn pool(spec: &UpstreamSpec, meters: &Meters) -> Arc<Pool> {
    let stir = Arc::new(Notify::new());
    let (watched, watching) = watch::channel(Arc::default());
    let wanted = if spec.off.is_some() { &[][..] } else { &spec.pool.replicas };
    let replicas = wanted.iter().map(|replica| {
        let handles = meters.replica(spec.name.as_str(), replica.name.as_str());
        let inflight_max = match replica.kind {
            ReplicaKind::Child(_) => spec.pool.limits.inflight_child,
            ReplicaKind::Http(_) => spec.pool.limits.inflight_http,
        };
        Arc::new(Replica::new(
            spec.name.clone(),
            replica.clone(),
            handles,
            Abilities::NONE,
            Bonds::new(inflight_max, watching.clone(), Arc::clone(&stir)),
        ))
    });
    let replicas = replicas.collect();
    Arc::new(Pool::new(
        spec.name.clone(),
        spec.pool.clone(),
        replicas,
        watched,
        stir,
        meters.pool(spec.name.as_str()),
    ))
}
