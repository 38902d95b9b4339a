//! The one task that may change what calls see. Everything that happens to replicas comes to it as
//! an event; it gathers what has come, builds one whole new snapshot and stores it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::Gauge;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::base::{Tasks, clock};
use crate::builtin::Builtins;
use crate::catalog::spec::{NamingSpec, OfferSpec};
use crate::catalog::{Digest, Merged, Owner, Part, Source, merge};
use crate::fleet::Pool;
use crate::proto::Era;
use crate::telemetry::Meters;
use crate::upstream::report::{Event, Happening};

use super::Gateway;
use super::memory::Memory;
use super::snapshot::{Snapshot, Upstream};
use super::spec::UpstreamSpec;

/// Most events that wait for the director.
pub const EVENTS_MAX: usize = 1_024;
/// Events that come within this time are built into one snapshot.
const GATHER: Duration = Duration::from_millis(10);
/// Tools of an upstream that went away stay listed so long: lists that flap destroy the caches of
/// models.
pub const GRACE: Duration = Duration::from_mins(10);
/// How often the grace is looked at.
const SWEEP: Duration = Duration::from_secs(30);

/// The first lists of clients wait so long, counted from our start, for upstreams that were never
/// seen before.
pub const FIRST_LIST_WAIT: Duration = Duration::from_secs(2);

/// What one replica listed last.
#[derive(Debug, Default)]
struct Listed {
    part: Option<Part>,
    gone: Option<Instant>,
    /// It was up or down at least once.
    tried: bool,
}

/// What a director works with.
#[derive(Debug)]
pub struct Parts {
    /// How exposed names are made.
    pub naming: NamingSpec,
    /// The upstreams and their pools, in the order of the configuration.
    pub pools: Vec<(Arc<UpstreamSpec>, Arc<Pool>)>,
    /// The tools that run in this process.
    pub builtins: Builtins,
    /// The last known catalog.
    pub memory: Memory,
    /// Where the catalog is written to disk.
    pub tasks: Tasks,
}

/// The single writer.
#[derive(Debug)]
pub struct Director {
    naming: NamingSpec,
    upstreams: Vec<Upstream>,
    listed: Vec<Vec<Listed>>,
    builtins: Arc<Builtins>,
    builtin_part: Part,
    meters: Meters,
    items: Gauge,
    digest: Option<Digest>,
    memory: Memory,
    /// What upstreams offered when they were last seen, until they list.
    recalled: Vec<Option<Part>>,
    tasks: Tasks,
}

impl Director {
    /// A director over pools whose keepers are about to start.
    pub fn new(parts: Parts, meters: &Meters) -> Self {
        let Parts { naming, pools, builtins, memory, tasks } = parts;
        let recalled = pools.iter().map(|(spec, _)| memory.recall(spec)).collect();
        let tools = builtins.iter().map(|tool| tool.definition().clone()).collect();
        let listed = pools
            .iter()
            .map(|(_, pool)| pool.replicas.iter().map(|_| Listed::default()).collect())
            .collect();
        let upstreams = pools
            .into_iter()
            .map(|(spec, pool)| Upstream { spec, pool, listed: false, known: false })
            .collect();
        Self {
            naming,
            upstreams,
            listed,
            builtins: Arc::new(builtins),
            builtin_part: Part { era: Era::Modern, tools },
            meters: meters.clone(),
            items: meters.catalog_items("tools"),
            digest: None,
            memory,
            recalled,
            tasks,
        }
    }

    /// A snapshot of what is known now.
    pub fn build(&mut self, before: Option<&Snapshot>) -> Snapshot {
        let merged = self.merge();
        let reports: Vec<String> = merged.reports.iter().map(ToString::to_string).collect();
        let told = |report: &String| before.is_some_and(|before| before.reports.contains(report));
        for report in reports.iter().filter(|report| !told(report)) {
            tracing::warn!("{report}");
        }
        self.items.set(f64::from(u32::try_from(merged.catalog.tools().len()).unwrap_or(u32::MAX)));
        let builtins = Arc::clone(&self.builtins);
        let known: Vec<bool> =
            (0..self.upstreams.len()).map(|place| self.offered(place).is_some()).collect();
        for (upstream, known) in self.upstreams.iter_mut().zip(known) {
            upstream.known = known;
        }
        let separator = &self.naming.separator;
        let upstreams = self.upstreams.clone();
        let mut snapshot =
            Snapshot::build(merged.catalog, separator, upstreams, builtins, &self.meters, before);
        snapshot.reports = reports;
        snapshot
    }

    /// Runs until it is told to stop or every keeper is gone.
    pub async fn run(
        mut self,
        gateway: Gateway,
        mut events: mpsc::Receiver<Event>,
        stop: CancellationToken,
    ) {
        self.digest = Some(gateway.snapshot().catalog.digest());
        let mut sweep = tokio::time::interval(SWEEP);
        let mut first_lists = std::pin::pin!(tokio::time::sleep(FIRST_LIST_WAIT));
        let mut waiting = true;
        loop {
            if waiting && self.all_known() {
                gateway.settle();
                waiting = false;
            }
            let changed = tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.apply(event),
                    None => return,
                },
                _ = sweep.tick() => self.forget(clock::now()),
                () = &mut first_lists, if waiting => {
                    gateway.settle();
                    waiting = false;
                    false
                }
                () = stop.cancelled() => return,
            };
            if changed {
                self.gather(&mut events).await;
                self.publish(&gateway);
            }
        }
    }

    async fn gather(&mut self, events: &mut mpsc::Receiver<Event>) {
        let until = tokio::time::Instant::from_std(clock::now() + GATHER);
        while let Ok(Some(event)) = tokio::time::timeout_at(until, events.recv()).await {
            self.apply(event);
        }
    }

    fn publish(&mut self, gateway: &Gateway) {
        let snapshot = self.build(Some(&gateway.snapshot()));
        let digest = snapshot.catalog.digest();
        let tools_changed = self.digest.replace(digest) != Some(digest);
        gateway.store(snapshot, tools_changed);
    }

    /// Takes an event in. Answers whether calls must see it.
    fn apply(&mut self, event: Event) -> bool {
        let place = event.place;
        let Some(listed) =
            self.listed.get_mut(place.upstream).and_then(|all| all.get_mut(place.replica))
        else {
            return false;
        };
        match event.what {
            Happening::Listed { era, tools } => {
                *listed = Listed { part: Some(Part { era, tools }), gone: None, tried: true };
                if let Some(upstream) = self.upstreams.get_mut(place.upstream) {
                    upstream.listed = true;
                }
                self.remember(place.upstream);
                true
            }
            Happening::Down(_) => {
                listed.gone.get_or_insert_with(clock::now);
                listed.tried = true;
                false
            }
        }
    }

    /// Whether nothing is to be waited for: every upstream has told what it offers, now or before,
    /// or has failed to.
    fn all_known(&self) -> bool {
        let known = |(place, listed): (usize, &Vec<Listed>)| {
            self.offered(place).is_some() || listed.iter().all(|l| l.tried)
        };
        self.listed.iter().enumerate().all(known)
    }

    /// Keeps what an upstream offers for the next start, if it is news.
    fn remember(&mut self, place: usize) {
        let (Some(part), Some(upstream)) =
            (self.offered(place).cloned(), self.upstreams.get(place))
        else {
            return;
        };
        let news = self
            .recalled
            .get(place)
            .and_then(Option::as_ref)
            .is_none_or(|old| old.era != part.era || old.tools != part.tools);
        if news {
            let (memory, spec, kept) =
                (self.memory.clone(), Arc::clone(&upstream.spec), part.clone());
            let write = tokio::task::spawn_blocking(move || memory.remember(&spec, &kept));
            self.tasks.spawn(async move { drop(write.await) });
        }
        if let Some(recalled) = self.recalled.get_mut(place) {
            *recalled = Some(part);
        }
    }

    /// Forgets the tools of upstreams that have been away for longer than the grace.
    fn forget(&mut self, now: Instant) -> bool {
        let mut changed = false;
        for (listed, recalled) in self.listed.iter_mut().zip(&mut self.recalled) {
            let since = |l: &Listed| l.gone.map(|gone| now.saturating_duration_since(gone));
            if !listed.is_empty()
                && listed.iter().all(|l| since(l).is_some_and(|away| away > GRACE))
            {
                let forgotten = listed.iter_mut().filter_map(|l| l.part.take()).count();
                changed |= recalled.take().is_some() || forgotten > 0;
            }
        }
        changed
    }

    fn merge(&self) -> Merged {
        let everything = OfferSpec::all("");
        let mut sources = vec![Source {
            owner: Owner::Builtin,
            offer: &everything,
            part: Some(&self.builtin_part),
        }];
        for (place, upstream) in self.upstreams.iter().enumerate() {
            let owner = Owner::Upstream(place);
            sources.push(Source { owner, offer: &upstream.spec.offer, part: self.offered(place) });
        }
        merge(&self.naming, &sources)
    }

    /// What an upstream offers: the list of its first replica that is up, else of the first that
    /// was, else what is remembered from before our start.
    fn offered(&self, place: usize) -> Option<&Part> {
        let listed = self.listed.get(place)?;
        let present = listed.iter().find(|l| l.part.is_some() && l.gone.is_none());
        let any = present.or_else(|| listed.iter().find(|l| l.part.is_some()));
        any.and_then(|l| l.part.as_ref()).or_else(|| self.recalled.get(place)?.as_ref())
    }
}
