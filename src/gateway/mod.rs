//! What a call means: a cheap handle that answers requests of both eras from one snapshot.

pub mod addresses;
pub mod answer;
pub mod call;
pub mod changes;
pub mod coordinator;
pub mod demand;
pub mod diff;
pub mod director;
pub mod dispatch;
mod effect;
pub mod errand;
mod fallback;
pub mod gauges;
mod host;
pub mod hub;
pub mod links;
pub mod listed;
pub mod memory;
pub mod names;
mod nested;
pub mod overview;
mod parked;
mod rewritten;
mod rounds;
mod route;
pub mod snapshot;
pub mod spec;
pub mod spread;
pub mod status;
pub mod subject;
mod tasks;
mod traced;
pub mod wish;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::{broadcast, mpsc, watch};

use crate::base::Sealer;
use crate::proto::error::ErrorBody;
use crate::proto::{Abilities, Method};
use crate::telemetry::Meters;
use crate::telemetry::names::UNKNOWN_TOOL;
use crate::upstream::Told;
use crate::upstream::report::Updated;

pub use call::{Call, Message, Reply};
pub use changes::{Changes, Counts};
pub use coordinator::{CallError, Coordinator};
pub use demand::Demand;
pub use hub::Watching;
pub use snapshot::{Snapshot, ToolRecord};
pub use wish::Wish;

use self::demand::{Demands, Wanted};
use self::dispatch::MethodMeters;
use self::fallback::Shelf;
use self::hub::Hub;
use self::links::Links;
use self::parked::Parked;
use self::spec::KeepSpec;
use self::tasks::Tasks;

/// The gateway. Clones share it.
#[derive(Clone, Debug)]
pub struct Gateway {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    snapshot: ArcSwap<Snapshot>,
    /// How many snapshots there have been.
    published: watch::Sender<u64>,
    changed: watch::Sender<Arc<Changes>>,
    /// For whose first lists nothing is waited for any more.
    settled: watch::Sender<BTreeSet<Abilities>>,
    demands: Demands,
    hub: Arc<Hub>,
    links: Links,
    shelf: Shelf,
    parked: Parked,
    tasks: Tasks,
    unknown: ToolRecord,
    methods: MethodMeters,
}

impl Gateway {
    /// A gateway that answers from `first` until the director stores another snapshot. `demands`
    /// lead to the director, `updates` come from the keepers.
    pub fn new(
        first: Snapshot,
        demands: mpsc::Sender<Wanted>,
        updates: broadcast::Sender<Updated>,
        meters: &Meters,
    ) -> Self {
        let inner = Inner {
            snapshot: ArcSwap::from_pointee(first),
            published: watch::channel(0).0,
            changed: watch::channel(Arc::default()).0,
            settled: watch::channel(BTreeSet::new()).0,
            demands: Demands::new(demands),
            hub: Arc::new(Hub::new(updates)),
            links: Links::default(),
            shelf: Shelf::default(),
            parked: Parked::default(),
            tasks: Tasks::new(Sealer::random()),
            unknown: ToolRecord::new(meters, UNKNOWN_TOOL),
            methods: MethodMeters::new(meters),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The same with names of tasks that another gateway of this sealer knows too. For one that is not
    /// shared yet.
    #[must_use]
    pub fn sealing_with(mut self, sealer: Sealer) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.tasks = Tasks::new(sealer);
        }
        self
    }

    /// A gateway in front of nothing, for tests of the fronts.
    #[cfg(test)]
    pub(crate) fn bare(meters: &Meters) -> Self {
        use crate::builtin::{Builtins, spec::BuiltinSpec};
        let builtins = Arc::new(Builtins::new(&BuiltinSpec::default()));
        let view = snapshot::View::build(
            crate::catalog::Catalog::default(),
            crate::catalog::PerKind::default(),
            Vec::new(),
        );
        let none = std::collections::HashMap::new();
        let snapshot = Snapshot::build((view, none), "__", Vec::new(), builtins, meters, None);
        Self::new(snapshot, mpsc::channel(1).0, broadcast::channel(1).0, meters)
    }

    /// The snapshot in force. Held over awaits, so it is a whole `Arc`.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.inner.snapshot.load_full()
    }

    /// Tells when a list changes.
    pub fn changes(&self) -> watch::Receiver<Arc<Changes>> {
        self.inner.changed.subscribe()
    }

    /// Tells when a watched resource changes.
    pub fn updates(&self) -> broadcast::Receiver<Updated> {
        self.inner.hub.updates()
    }

    /// A client of these abilities is there as long as it holds this.
    pub fn demand(&self, abilities: Abilities) -> Option<Demand> {
        self.inner.demands.hold(abilities)
    }

    /// Watches a resource for a client, as long as it holds the answer.
    pub fn watch(&self, abilities: Abilities, uri: &str) -> Result<Watching, ErrorBody> {
        subject::watch(&self.inner, abilities, uri)
    }

    /// Resolves when every upstream has told what it offers or cannot come up, or has had
    /// [`director::FIRST_LIST_WAIT`] to do so.
    pub async fn settled(&self) {
        self.inner.settled(Abilities::NONE).await;
    }

    /// Whether the first lists of these clients wait no longer.
    pub(crate) fn is_settled(&self, abilities: Abilities) -> bool {
        self.inner.settled.borrow().contains(&abilities)
    }

    /// The first lists of these clients wait no longer. Only the director calls this.
    pub(crate) fn settle(&self, abilities: Abilities) {
        self.inner.settled.send_modify(|settled| {
            settled.insert(abilities);
        });
    }

    /// Stores a new snapshot, with the changes that clients must be told. Only the director calls
    /// this.
    pub(crate) fn store(&self, snapshot: Snapshot, changes: Option<Changes>) {
        self.inner.snapshot.store(Arc::new(snapshot));
        self.inner.published.send_modify(|count| *count += 1);
        if let Some(changes) = changes {
            self.inner.changed.send_replace(Arc::new(changes));
        }
    }

    /// Answers a request. `tell` gets what belongs to the client before the answer; it is called
    /// only while the future is polled. Dropping the future cancels the call.
    pub async fn call(&self, call: Call<'_>, mut tell: impl FnMut(Told) + Send) -> Reply {
        match parked::concerns(&self.inner, call) {
            None => dispatch::dispatch(&self.inner, call, tell).await,
            // A future of its own, so that not every call carries it.
            Some(abilities) => {
                Box::pin(parked::call(&self.inner, call, abilities, &mut tell)).await
            }
        }
    }

    /// How many calls wait for answers of their clients.
    pub fn parked(&self) -> usize {
        self.inner.parked.len()
    }

    /// Calls that wait for answers of their clients end: nobody will come back.
    pub async fn end_parked(&self) {
        self.inner.parked.stop().await;
    }

    /// Forgets clients without sessions that have not called for long, and ends calls whose clients
    /// have not come back to them. Only the director calls this.
    pub(crate) fn sweep(&self, now: Instant) {
        self.inner.demands.sweep(now);
        self.inner.parked.sweep(now);
        self.inner.tasks.sweep(now);
    }

    /// Keeps no more good results than this for fallbacks.
    pub fn keep_at_most(&self, spec: KeepSpec) {
        self.inner.shelf.bound(spec);
    }

    /// A client session is over: what upstreams keep for it alone ends.
    pub fn left(&self, home: u64) {
        for upstream in &self.inner.snapshot.load().upstreams {
            upstream.pool.left(home);
        }
    }

    /// Counts a request that a front answered by itself.
    pub fn answered(&self, method: Method, ok: bool) {
        self.inner.methods.count(method, ok);
    }
}

impl Inner {
    /// Resolves when the first lists of these clients wait no longer.
    async fn settled(&self, abilities: Abilities) {
        let mut settled = self.settled.subscribe();
        // The sender lives as long as we do.
        drop(settled.wait_for(|settled| settled.contains(&abilities)).await);
    }
}
