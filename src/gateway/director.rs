//! The one task that may change what calls see. Everything that happens to replicas comes to it as
//! an event; it gathers what has come, builds one whole new snapshot and stores it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::base::{Tasks, clock};
use crate::builtin::Builtins;
use crate::catalog::spec::{NamingSpec, OfferSpec};
use crate::catalog::{Kind, Merged, Owner, Part, Source, merge};
use crate::fleet::Pool;
use crate::proto::{Abilities, Era};
use crate::telemetry::Meters;
use crate::upstream::Replica;
use crate::upstream::report::{Event, Happening, Place};

use super::Gateway;
use super::changes::Changes;
use super::demand::Wanted;
use super::listed::{Known, Listed, kept};
use super::memory::Memory;
use super::snapshot::{Snapshot, Upstream, View};
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

/// What a director works with.
pub struct Parts {
    /// How exposed names are made.
    pub naming: NamingSpec,
    /// The upstreams and their pools, in the order of the configuration.
    pub pools: Vec<(Arc<UpstreamSpec>, Arc<Pool>)>,
    /// The tools that run in this process.
    pub builtins: Builtins,
    /// The last known catalog.
    pub memory: Memory,
    /// Starts replicas for clients of some abilities.
    pub spawn: Spawn,
    /// Ends them when the gateway stops, with all other replicas.
    pub keepers: CancellationToken,
    /// Where the catalog is written to disk.
    pub tasks: Tasks,
}

/// Replicas for clients of one set of abilities.
struct Able {
    wanted: Wanted,
    /// By upstream and replica, where there is one.
    listed: Vec<Vec<Option<(Listed, CancellationToken)>>>,
    /// Since when no client has them.
    idle: Option<Instant>,
    /// First lists wait no longer than this.
    settles: Instant,
    settled: bool,
}

/// The single writer.
pub struct Director {
    naming: NamingSpec,
    upstreams: Vec<Upstream>,
    listed: Vec<Vec<Listed>>,
    able: HashMap<Abilities, Able>,
    spawn: Spawn,
    keepers: CancellationToken,
    builtins: Arc<Builtins>,
    builtin_part: Part,
    meters: Meters,
    changes: Changes,
    memory: Memory,
    /// What upstreams offered when they were last seen, until they list.
    recalled: Vec<Option<Part>>,
    tasks: Tasks,
}

impl Director {
    /// A director over pools whose keepers are about to start.
    pub fn new(parts: Parts, meters: &Meters) -> Self {
        let Parts { naming, pools, builtins, memory, spawn, keepers, tasks } = parts;
        let recalled = pools.iter().map(|(spec, _)| memory.recall(spec)).collect();
        let tools = builtins.iter().map(|tool| tool.definition().clone()).collect();
        let listed = pools
            .iter()
            .map(|(_, pool)| pool.replicas.iter().map(|_| Listed::default()).collect())
            .collect();
        let upstreams = pools
            .into_iter()
            .map(|(spec, pool)| Upstream {
                spec,
                pool,
                listed: false,
                known: false,
                offers: crate::proto::Offers::default(),
                listings: 0,
            })
            .collect();
        Self {
            naming,
            upstreams,
            listed,
            able: HashMap::new(),
            spawn,
            keepers,
            builtins: Arc::new(builtins),
            builtin_part: Part { era: Era::Modern, tools, ..Part::default() },
            meters: meters.clone(),
            changes: Changes::default(),
            memory,
            recalled,
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
        for place in 0..self.upstreams.len() {
            let known = self.offered(place, Abilities::NONE).is_some();
            let offers = self.known(place, Abilities::NONE).map(|known| known.offers);
            if let Some(upstream) = self.upstreams.get_mut(place) {
                upstream.known = known;
                upstream.offers = offers.unwrap_or(upstream.offers);
            }
        }
        let mut snapshot = Snapshot::build(
            (view, views),
            &self.naming.separator,
            self.upstreams.clone(),
            Arc::clone(&self.builtins),
            &self.meters,
            before,
        );
        snapshot.reports = reports;
        snapshot
    }

    /// Runs until it is told to stop or every keeper is gone.
    pub async fn run(
        mut self,
        gateway: Gateway,
        mut events: mpsc::Receiver<Event>,
        mut demands: mpsc::Receiver<Wanted>,
        stop: CancellationToken,
    ) {
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
                event = events.recv() => match event {
                    Some(event) => self.apply(event),
                    None => return,
                },
                Some(wanted) = demands.recv() => {
                    let abilities = wanted.abilities();
                    let changed = self.demand(wanted);
                    if !self.able.contains_key(&abilities) {
                        gateway.settle(abilities); // it gets no view of its own to wait for
                    }
                    changed
                }
                _ = sweep.tick() => self.forget(clock::now()),
                () = tokio::time::sleep(self.next_look(&gateway, began, now)) => false,
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
        let changed = self.changes.note(&snapshot);
        gateway.store(snapshot, changed.then(|| self.changes.clone()));
    }

    /// Takes an event in. Answers whether calls must see it.
    fn apply(&mut self, event: Event) -> bool {
        let place = event.place;
        let everybody = place.abilities.is_empty();
        let Some(listed) = self.listed_at(place) else {
            return false;
        };
        match event.what {
            Happening::Listed { era, offers, listing } => {
                let known = Known::new(era, offers, listing, clock::now());
                *listed = Listed { known: Some(known), gone: None, tried: true };
                if let Some(upstream) = self.upstreams.get_mut(place.upstream) {
                    upstream.listed = true;
                    upstream.listings += 1;
                }
                if everybody {
                    self.remember(place.upstream);
                    self.stand_beside(place, era);
                }
                true
            }
            Happening::Down(_) => {
                listed.gone.get_or_insert_with(clock::now);
                listed.tried = true;
                false
            }
        }
    }

    fn listed_at(&mut self, place: Place) -> Option<&mut Listed> {
        if place.abilities.is_empty() {
            return self.listed.get_mut(place.upstream)?.get_mut(place.replica);
        }
        let able = self.able.get_mut(&place.abilities)?;
        let slot = able.listed.get_mut(place.upstream)?.get_mut(place.replica)?;
        slot.as_mut().map(|(listed, _)| listed)
    }

    // === clients of some abilities ===

    /// The first client of some abilities has come: legacy upstreams may offer it other things.
    fn demand(&mut self, wanted: Wanted) -> bool {
        let abilities = wanted.abilities();
        if let Some(able) = self.able.get_mut(&abilities) {
            (able.wanted, able.idle) = (wanted, None);
            return false;
        }
        let decided = |upstream: &Upstream| {
            let none = upstream.pool.replicas.iter().map(|_| None).collect();
            upstream.pool.set_able(abilities, Some(none));
        };
        if self.able.len() >= ABLE_MAX {
            self.upstreams.iter().for_each(decided);
            tracing::warn!(
                max = ABLE_MAX,
                "too many kinds of clients at once; one sees what all see"
            );
            return false;
        }
        let empty = self.listed.iter().map(|of| of.iter().map(|_| None).collect()).collect();
        let settles = clock::now() + FIRST_LIST_WAIT;
        let able = Able { wanted, listed: empty, idle: None, settles, settled: false };
        self.able.insert(abilities, able);
        for upstream in 0..self.upstreams.len() {
            for replica in 0..self.listed.get(upstream).map_or(0, Vec::len) {
                let era = self.era_of(upstream, replica);
                let place = Place { upstream, replica, abilities: Abilities::NONE };
                if let Some(era) = era {
                    self.stand_beside(place, era);
                }
            }
        }
        for upstream in &self.upstreams {
            if upstream.pool.able(abilities).is_empty() {
                decided(upstream);
            }
        }
        true
    }

    /// The era of a replica, from what it listed, else from what its upstream was before our start.
    fn era_of(&self, upstream: usize, replica: usize) -> Option<Era> {
        let listed = self.listed.get(upstream)?.get(replica)?;
        let recalled = || Some(self.recalled.get(upstream)?.as_ref()?.era);
        listed.known.as_ref().map(|known| known.part.era).or_else(recalled)
    }

    /// A replica is of this era: beside a legacy one stands one for each kind of clients.
    fn stand_beside(&mut self, place: Place, era: Era) {
        let Some(pool) = self.upstreams.get(place.upstream).map(|u| Arc::clone(&u.pool)) else {
            return;
        };
        let Some(base) = pool.replicas.get(place.replica) else { return };
        for (abilities, able) in &mut self.able {
            let slot = able.listed.get_mut(place.upstream).and_then(|of| of.get_mut(place.replica));
            let Some(slot) = slot else { continue };
            let mut seats = pool.able(*abilities);
            seats.resize(pool.replicas.len(), None);
            match (era, slot.take()) {
                (Era::Legacy, Some(there)) => {
                    *slot = Some(there);
                    continue;
                }
                (Era::Modern, None) => continue,
                (Era::Modern, Some((_, stop))) => {
                    stop.cancel();
                    seats.iter_mut().skip(place.replica).take(1).for_each(|seat| *seat = None);
                }
                (Era::Legacy, None) => {
                    let stop = self.keepers.child_token();
                    let beside = Place { abilities: *abilities, ..place };
                    let replica = (self.spawn)(beside, base, stop.clone());
                    seats
                        .iter_mut()
                        .skip(place.replica)
                        .take(1)
                        .for_each(|seat| *seat = Some(Arc::clone(&replica)));
                    *slot = Some((Listed::default(), stop));
                }
            }
            pool.set_able(*abilities, Some(seats));
        }
    }

    /// First lists of some clients wait no longer, because all is known or the time is over.
    fn settle_able(&mut self, gateway: &Gateway, now: Instant) {
        let based = gateway.is_settled(Abilities::NONE);
        for (abilities, able) in &mut self.able {
            let known = able.listed.iter().flatten().flatten().all(|(listed, _)| listed.tried);
            if !able.settled && based && (known || now >= able.settles) {
                able.settled = true;
                gateway.settle(*abilities);
            }
        }
    }

    /// When to look again whether first lists have waited long enough.
    fn next_look(&self, gateway: &Gateway, began: Instant, now: Instant) -> Duration {
        let base = (!gateway.is_settled(Abilities::NONE)).then_some(began + FIRST_LIST_WAIT);
        let able = self.able.values().filter(|able| !able.settled).map(|able| able.settles);
        let next = base.into_iter().chain(able).min();
        next.map_or(SWEEP, |next| next.saturating_duration_since(now).max(GATHER))
    }

    /// Ends the replicas of clients that have been away for long enough.
    fn dismiss(&mut self, gone: Abilities) {
        let Some(able) = self.able.remove(&gone) else { return };
        able.listed.iter().flatten().flatten().for_each(|(_, stop)| stop.cancel());
        for upstream in &self.upstreams {
            upstream.pool.set_able(gone, None);
        }
    }

    // === what is known ===

    /// Whether nothing is to be waited for: every upstream has told what it offers, now or before,
    /// or has failed to.
    fn all_known(&self) -> bool {
        let known = |(place, listed): (usize, &Vec<Listed>)| {
            self.offered(place, Abilities::NONE).is_some() || listed.iter().all(|l| l.tried)
        };
        self.listed.iter().enumerate().all(known)
    }

    /// Keeps what an upstream offers for the next start, if it is news.
    fn remember(&mut self, place: usize) {
        let (Some(part), Some(upstream)) =
            (self.offered(place, Abilities::NONE).cloned(), self.upstreams.get(place))
        else {
            return;
        };
        let news = self.recalled.get(place).and_then(Option::as_ref).is_none_or(|old| *old != part);
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

    /// Forgets the tools of upstreams, and the clients, that have been away for longer than their
    /// grace.
    fn forget(&mut self, now: Instant) -> bool {
        let mut changed = false;
        for (listed, recalled) in self.listed.iter_mut().zip(&mut self.recalled) {
            let since = |l: &Listed| l.gone.map(|gone| now.saturating_duration_since(gone));
            if !listed.is_empty()
                && listed.iter().all(|l| since(l).is_some_and(|away| away > GRACE))
            {
                let forgotten = listed.iter_mut().filter_map(|l| l.known.take()).count();
                changed |= recalled.take().is_some() || forgotten > 0;
            }
        }
        let mut gone = Vec::new();
        for (abilities, able) in &mut self.able {
            able.idle = (!able.wanted.is_alive()).then(|| able.idle.unwrap_or(now));
            if able.idle.is_some_and(|since| now.saturating_duration_since(since) > ABLE_IDLE) {
                gone.push(*abilities);
            }
        }
        changed |= !gone.is_empty();
        for abilities in gone {
            self.dismiss(abilities);
        }
        changed
    }

    fn view(&self, abilities: Abilities) -> (Vec<crate::catalog::Report>, View) {
        let Merged { catalog, reports } = self.merge(abilities);
        let places = 0..self.upstreams.len();
        let known: Vec<_> = places.map(|place| self.known(place, abilities)).collect();
        (reports, View::build(catalog, kept(&known)))
    }

    fn merge(&self, abilities: Abilities) -> Merged {
        let everything = OfferSpec::all("");
        let mut sources = vec![Source {
            owner: Owner::Builtin,
            offer: &everything,
            part: Some(&self.builtin_part),
        }];
        for (place, upstream) in self.upstreams.iter().enumerate() {
            let owner = Owner::Upstream(place);
            let part = self.offered(place, abilities);
            sources.push(Source { owner, offer: &upstream.spec.offer, part });
        }
        merge(&self.naming, &sources)
    }

    /// What an upstream offers to clients of these abilities: what is known of its replicas, else
    /// what is remembered from before our start.
    fn offered(&self, place: usize, abilities: Abilities) -> Option<&Part> {
        let known = self.known(place, abilities).map(|known| &known.part);
        known.or_else(|| self.recalled.get(place)?.as_ref())
    }

    /// What is known of an upstream: of its first replica for these clients that is up, else of the
    /// first that was, else of those for everybody.
    fn known(&self, place: usize, abilities: Abilities) -> Option<&Known> {
        let able = self.able.get(&abilities).and_then(|able| able.listed.get(place));
        let own = able.into_iter().flatten().flatten().map(|(listed, _)| listed);
        let own: Vec<&Listed> = own.collect();
        let all: Vec<&Listed> = self.listed.get(place).into_iter().flatten().collect();
        best(&own).or_else(|| best(&all))
    }
}

/// The first of them that is there, else the first that was.
fn best<'a>(listed: &[&'a Listed]) -> Option<&'a Known> {
    let present = listed.iter().find(|l| l.known.is_some() && l.gone.is_none());
    let any = present.or_else(|| listed.iter().find(|l| l.known.is_some()));
    any.and_then(|l| l.known.as_ref())
}
