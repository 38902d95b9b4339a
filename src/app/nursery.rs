//! Where replicas and their keepers come from.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::fleet::Pool;
use crate::fleet::private::{Make, Raise};
use crate::fleet::spec::PoolSpec;
use crate::gateway::director::Spawn;
use crate::gateway::spec::UpstreamSpec;
use crate::telemetry::Meters;
use crate::upstream::connect::Means;
use crate::upstream::keeper::Keeper;
use crate::upstream::replica::Bonds;
use crate::upstream::report::{Event, Report, Updated};
use crate::upstream::spec::{ReplicaKind, ReplicaSpec};
use crate::upstream::{Place, Replica};

/// What all replicas and keepers are made with.
#[derive(Clone, Debug)]
pub(super) struct Nursery {
    pub(super) means: Means,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) updates: broadcast::Sender<Updated>,
    pub(super) meters: Meters,
}

/// What the replicas of one upstream share.
pub(super) struct Nest {
    watched: watch::Sender<Arc<BTreeSet<String>>>,
    stir: Arc<Notify>,
}

impl Nest {
    /// That of a new upstream.
    pub(super) fn new() -> Self {
        Self { watched: watch::channel(Arc::default()).0, stir: Arc::new(Notify::new()) }
    }

    /// That of one that is there.
    pub(super) fn of(pool: &Pool) -> Self {
        Self { watched: pool.watched().clone(), stir: Arc::clone(pool.stir()) }
    }
}

impl Nursery {
    /// A replica that nobody keeps yet.
    pub(super) fn replica(
        &self,
        upstream: &UpstreamSpec,
        spec: &ReplicaSpec,
        place: Place,
        nest: &Nest,
    ) -> Arc<Replica> {
        let meters = self.meters.replica(upstream.name.as_str(), spec.name.as_str());
        let (watched, stir) = (nest.watched.subscribe(), Arc::clone(&nest.stir));
        let bonds = Bonds::new(bound(&upstream.pool, spec), watched, stir);
        Arc::new(Replica::new(upstream.name.clone(), spec.clone(), meters, place, bonds))
    }

    /// A pool over the replicas of a new upstream.
    pub(super) fn pool(
        &self,
        upstream: &UpstreamSpec,
        replicas: Vec<Arc<Replica>>,
        nest: Nest,
    ) -> Pool {
        let (name, spec) = (upstream.name.clone(), upstream.pool.clone());
        let meters = self.meters.pool(name.as_str());
        let pool = Pool::new(name, spec, replicas, nest.watched, nest.stir, meters);
        pool.with_raise(self.clone().raise())
    }

    /// Starts a replica for one client session from the one for everybody. Nobody is told what it
    /// lists: that is the same as with all others.
    fn raise(self) -> Raise {
        let (events, _) = mpsc::channel(1);
        let keepers = self.means.tasks.stop_token().clone();
        let make: Arc<Make> = Arc::new(move |base, abilities, stop| {
            let meters = self.meters.replica(base.upstream.as_str(), base.spec.name.as_str());
            let bonds = if base.is_child() { base.bonds_of_its_own() } else { base.bonds() };
            let place = Place { abilities, ..base.place };
            let (upstream, spec) = (base.upstream.clone(), base.spec.clone());
            let own = Arc::new(Replica::new(upstream, spec, meters, place, bonds));
            let report = Report { place, events: events.clone(), updates: self.updates.clone() };
            let keeper =
                Keeper { replica: Arc::clone(&own), means: self.means.clone(), report, stop };
            self.means.tasks.spawn(keeper.run());
            own
        });
        Raise { make, keepers }
    }

    /// Starts the keeper of a replica, until it is told to stop.
    pub(super) fn keep(&self, replica: Arc<Replica>, stop: CancellationToken) {
        let (events, updates) = (self.events.clone(), self.updates.clone());
        let report = Report { place: replica.place, events, updates };
        let keeper = Keeper { replica, means: self.means.clone(), report, stop };
        self.means.tasks.spawn(keeper.run());
    }

    /// Starts a replica for clients of some abilities beside the one for everybody. Both count as
    /// one in the metrics, and share the bound of calls in flight.
    pub(super) fn beside(self) -> Spawn {
        Box::new(move |place, base, stop| {
            let meters = self.meters.replica(base.upstream.as_str(), base.spec.name.as_str());
            let beside = Arc::new(Replica::new(
                base.upstream.clone(),
                base.spec.clone(),
                meters,
                place,
                base.bonds(),
            ));
            self.keep(Arc::clone(&beside), stop);
            beside
        })
    }
}

/// Most calls in flight at a replica.
pub(super) fn bound(pool: &PoolSpec, replica: &ReplicaSpec) -> usize {
    match replica.kind {
        ReplicaKind::Child(_) => pool.limits.inflight_child,
        ReplicaKind::Http(_) => pool.limits.inflight_http,
    }
}
