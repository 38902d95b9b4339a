//! The one task that may change what calls see. Everything that happens to replicas comes to it as
//! an event, and a new configuration as an order; it gathers what has come, builds one whole new
//! snapshot and stores it.

mod able;
mod known;
mod turn;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::base::{Tasks, clock};
use crate::builtin::Builtins;
use crate::catalog::spec::NamingSpec;
use crate::catalog::{Kind, Part};
use crate::fleet::Pool;
use crate::proto::{Abilities, Era};
use crate::telemetry::Meters;
use crate::upstream::report::Event;
use crate::upstream::{Place, Replica, UpstreamId};

use super::Gateway;
use super::changes::Changes;
use super::demand::Wanted;
use super::listed::Listed;
use super::memory::{Memory, Remembered};
use super::snapshot::{Snapshot, Upstream};
use super::spec::UpstreamSpec;

use self::able::Able;
use self::turn::Coming;
pub use self::turn::{Order, Turn, Turned, Until};

/// Most events that wait for the director.
pub const EVENTS_MAX: usize = 1_024;
/// Most orders that wait for the director: whoever gives one waits for its end.
pub const ORDERS_MAX: usize = 1;
/// Events that come within this time are built into one snapshot.
const GATHER: Duration = Duration::from_millis(10);
/// Tools of an upstream that went away stay listed so long: lists that flap destroy the caches of
/// models.
pub const GRACE: Duration = Duration::from_mins(10);
/// How often the grace is looked at.
const SWEEP: Duration = Duration::from_secs(30);

/// The first lists of clients wait so long, counted from our start, for upstreams that were never
/// seen before; and so long for what upstreams offer to clients of their abilities.
pub const FIRST_LIST_WAIT: Duration = Duration::from_secs(2);

/// Most sets of abilities for which replicas are kept at once; further clients see what is there for
/// everybody.
pub const ABLE_MAX: usize = 8;
/// Replicas for clients of some abilities stay so long after the last of those clients has gone.
pub const ABLE_IDLE: Duration = Duration::from_mins(10);

/// Starts a replica for clients of some abilities beside the one for everybody, until it is told to
/// stop.
pub type Spawn = Box<dyn Fn(Place, &Replica, CancellationToken) -> Arc<Replica> + Send>;

/// An upstream with its replicas.
#[derive(Clone, Debug)]
pub struct Member {
    /// Which one it is.
    pub id: UpstreamId,
    /// What it is made from.
    pub spec: Arc<UpstreamSpec>,
    /// Its replicas.
    pub pool: Arc<Pool>,
}

/// What a director works with.
pub struct Parts {
    /// How exposed names are made.
    pub naming: NamingSpec,
    /// The upstreams, in the order of the configuration.
    pub members: Vec<Member>,
    /// The tools that run in this process.
    pub builtins: Arc<Builtins>,
    /// The last known catalog.
    pub memory: Memory,
    /// Starts replicas for clients of some abilities.
    pub spawn: Spawn,
    /// Ends them when the gateway stops, with all other replicas.
    pub keepers: CancellationToken,
    /// Where the catalog is written to disk.
    pub tasks: Tasks,
}

/// What a director is told.
#[derive(Debug)]
pub struct Inbox {
    /// What happens to replicas.
    pub events: mpsc::Receiver<Event>,
    /// Which clients have come.
    pub demands: mpsc::Receiver<Wanted>,
    /// A new configuration.
    pub orders: mpsc::Receiver<Order>,
}

/// An upstream as the director knows it.
struct Standing {
    upstream: Upstream,
    /// What its replicas listed, in their order.
    listed: Vec<Listed>,
    /// What it offered when it was last seen, until it lists.
    recalled: Option<Remembered>,
    /// Whether that is on disk, where the next start looks for it.
    saved: bool,
}

impl Standing {
    fn new(member: Member, recalled: Option<Remembered>) -> Self {
        let Member { id, spec, pool } = member;
        let listed = pool.replicas.iter().map(|_| Listed::default()).collect();
        // What it can be asked to watch is known before it is up, or while it sleeps.
        let offers = recalled.as_ref().map(Remembered::offers).unwrap_or_default();
        let upstream = Upstream {
            id,
            spec,
            pool,
            listed: false,
            known: false,
            offers,
            modern: false,
            listings: 0,
        };
        let saved = recalled.is_some();
        Self { upstream, listed, recalled, saved }
    }

    /// Whether every replica listed last in the modern era.
    fn is_modern(&self) -> bool {
        let era = |listed: &Listed| listed.known.as_ref().map(|known| known.part.era);
        !self.listed.is_empty() && self.listed.iter().all(|one| era(one) == Some(Era::Modern))
    }
}

/// What all snapshots of one configuration hold.
struct Generation {
    /// Cancelled when no call is left that began under it.
    over: CancellationToken,
    guard: Arc<DropGuard>,
}

impl Generation {
    fn new() -> Self {
        let over = CancellationToken::new();
        let guard = Arc::new(over.clone().drop_guard());
        Self { over, guard }
    }
}

/// The single writer.
pub struct Director {
    naming: NamingSpec,
    upstreams: Vec<Standing>,
    able: HashMap<Abilities, Able>,
    /// Kinds of clients that see what all see, because there were too many kinds.
    alike: BTreeSet<Abilities>,
    /// The replicas of a configuration that is about to come.
    coming: Option<Coming>,
    generation: Generation,
    spawn: Spawn,
    keepers: CancellationToken,
    builtins: Arc<Builtins>,
    builtin_part: Part,
    meters: Meters,
    changes: Changes,
    memory: Memory,
    tasks: Tasks,
}

impl Director {
    /// A director over pools whose keepers are about to start.
    pub fn new(parts: Parts, meters: &Meters) -> Self {
        let Parts { naming, members, builtins, memory, spawn, keepers, tasks } = parts;
        let standing = |member: Member| {
            let recalled = memory.recall(&member.spec);
            Standing::new(member, recalled)
        };
        Self {
            naming,
            upstreams: members.into_iter().map(standing).collect(),
            able: HashMap::new(),
            alike: BTreeSet::new(),
            coming: None,
            generation: Generation::new(),
            spawn,
            keepers,
            builtin_part: part_of(&builtins),
            builtins,
            meters: meters.clone(),
            changes: Changes::default(),
            memory,
            tasks,
        }
    }

    /// A snapshot of what is known now.
    pub fn build(&mut self, before: Option<&Snapshot>) -> Snapshot {
        let (merged, view) = self.view(Abilities::NONE);
        let reports: Vec<String> = merged.iter().map(ToString::to_string).collect();
        let told = |report: &String| before.is_some_and(|before| before.reports.contains(report));
        for report in reports.iter().filter(|report| !told(report)) {
            tracing::warn!("{report}");
        }
        let views = self.able.keys().map(|able| (*able, Arc::new(self.view(*able).1))).collect();
        for kind in Kind::ALL {
            let (label, count) = match kind {
                Kind::Tools => ("tools", view.catalog.tools().len()),
                Kind::Prompts => ("prompts", view.catalog.prompts().len()),
                Kind::Resources => ("resources", view.catalog.resources().len()),
                Kind::Templates => ("templates", view.catalog.templates().len()),
            };
            let items = self.meters.catalog_items(label);
            items.set(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
        }
        for (standing, fits) in self.upstreams.iter().zip(&view.fits) {
            let skew = self.meters.catalog_skew(standing.upstream.spec.name.as_str());
            skew.set(f64::from(u32::try_from(fits.len()).unwrap_or(u32::MAX)));
        }
        for at in 0..self.upstreams.len() {
            let known = self.offered(at, Abilities::NONE).is_some();
            let offers = self.known(at, Abilities::NONE).map(|known| known.offers.clone());
            if let Some(standing) = self.upstreams.get_mut(at) {
                standing.upstream.known = known;
                standing.upstream.modern = standing.is_modern();
                if let Some(offers) = offers {
                    standing.upstream.offers = offers;
                }
            }
        }
        let mut snapshot = Snapshot::build(
            (view, views),
            &self.naming.separator,
            self.upstreams.iter().map(|standing| standing.upstream.clone()).collect(),
            Arc::clone(&self.builtins),
            &self.meters,
            before,
        );
        snapshot.reports = reports;
        snapshot.generation = Arc::clone(&self.generation.guard);
        snapshot
    }

    /// Runs until it is told to stop or every keeper is gone.
    pub async fn run(mut self, gateway: Gateway, inbox: Inbox, stop: CancellationToken) {
        let Inbox { mut events, mut demands, mut orders } = inbox;
        self.changes.note(&gateway.snapshot());
        let mut sweep = tokio::time::interval(SWEEP);
        let began = clock::now();
        loop {
            let now = clock::now();
            if !gateway.is_settled(Abilities::NONE)
                && (self.all_known() || now >= began + FIRST_LIST_WAIT)
            {
                gateway.settle(Abilities::NONE);
            }
            self.settle_able(&gateway, now);
            let changed = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(order) = orders.recv() => {
                    self.obey(order, &gateway);
                    false
                }
                Some(wanted) = demands.recv() => {
                    let abilities = wanted.abilities();
                    let changed = self.demand(wanted);
                    if !self.able.contains_key(&abilities) {
                        gateway.settle(abilities); // it gets no view of its own to wait for
                    }
                    changed
                }
                _ = sweep.tick() => {
                    gateway.sweep(clock::now());
                    self.forget(clock::now())
                }
                event = events.recv() => match event {
                    Some(event) => self.apply(event),
                    None => return,
                },
                () = tokio::time::sleep(self.next_look(&gateway, began, now)) => false,
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
        let changed = self.changes.note(&snapshot);
        gateway.store(snapshot, changed.then(|| self.changes.clone()));
    }

    /// Takes an event in. Answers whether calls must see it. What comes of a replica that is no
    /// longer there is about nothing.
    fn apply(&mut self, event: Event) -> bool {
        let Event { place, what } = event;
        if place.abilities.is_empty() && self.is_coming(place) {
            self.came(place, what);
            return false;
        }
        let now = clock::now();
        let Some(at) = self.upstreams.iter().position(|s| s.upstream.id == place.upstream) else {
            return false;
        };
        let Some(era) = self.listed_at(at, place).and_then(|listed| listed.take(what, now)) else {
            return false;
        };
        self.heard(at, place, era);
        true
    }

    fn listed_at(&mut self, at: usize, place: Place) -> Option<&mut Listed> {
        if place.abilities.is_empty() {
            let standing = self.upstreams.get_mut(at)?;
            let replicas = &standing.upstream.pool.replicas;
            let seat = replicas.iter().position(|r| r.place.replica == place.replica)?;
            return standing.listed.get_mut(seat);
        }
        let able = self.able.get_mut(&place.abilities)?;
        able.beside.get_mut(&place.replica).map(|beside| &mut beside.listed)
    }

    /// A replica has listed what it offers.
    fn heard(&mut self, at: usize, place: Place, era: Era) {
        if let Some(standing) = self.upstreams.get_mut(at) {
            standing.upstream.listed = true;
            standing.upstream.listings += 1;
        }
        if place.abilities.is_empty() {
            self.remember(at);
            self.stand_beside(at, place.replica, era);
        }
    }

    /// Forgets the tools of upstreams, and the clients, that have been away for longer than their
    /// grace.
    fn forget(&mut self, now: Instant) -> bool {
        self.upstreams.iter().for_each(|standing| standing.upstream.pool.sweep(now));
        let mut changed = false;
        for Standing { listed, recalled, .. } in &mut self.upstreams {
            let since = |l: &Listed| l.gone.map(|gone| now.saturating_duration_since(gone));
            if !listed.is_empty()
                && listed.iter().all(|l| since(l).is_some_and(|away| away > GRACE))
            {
                let forgotten = listed.iter_mut().filter_map(|l| l.known.take()).count();
                changed |= recalled.take().is_some() || forgotten > 0;
            }
        }
        self.forget_able(now) || changed
    }
}

/// What the built-in tools offer.
fn part_of(builtins: &Builtins) -> Part {
    let tools = builtins.iter().map(|tool| tool.definition().clone()).collect();
    Part { era: Era::Modern, tools, ..Part::default() }
}

#[cfg(test)]
mod tests;
