//! What a call means: a cheap handle that answers requests of both eras from one snapshot.

pub mod answer;
pub mod call;
pub mod director;
pub mod dispatch;
pub mod memory;
pub mod snapshot;
pub mod spec;
pub mod status;

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::watch;

use crate::proto::Method;
use crate::telemetry::names::UNKNOWN_TOOL;
use crate::telemetry::{Meters, ToolMeters};

pub use call::{Call, Reply};
pub use snapshot::Snapshot;

use self::dispatch::MethodMeters;

/// The gateway. Clones share it.
#[derive(Clone, Debug)]
pub struct Gateway {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    snapshot: ArcSwap<Snapshot>,
    changed: watch::Sender<u64>,
    settled: watch::Sender<bool>,
    unknown: ToolMeters,
    methods: MethodMeters,
}

impl Gateway {
    /// A gateway that answers from `first` until the director stores another snapshot.
    pub fn new(first: Snapshot, meters: &Meters) -> Self {
        let (changed, _) = watch::channel(0);
        let (settled, _) = watch::channel(false);
        let inner = Inner {
            snapshot: ArcSwap::from_pointee(first),
            changed,
            settled,
            unknown: meters.tool(UNKNOWN_TOOL),
            methods: MethodMeters::new(meters),
        };
        Self { inner: Arc::new(inner) }
    }

    /// A gateway in front of nothing, for tests of the fronts.
    #[cfg(test)]
    pub(crate) fn bare(meters: &Meters) -> Self {
        use crate::builtin::{Builtins, spec::BuiltinSpec};
        let builtins = Arc::new(Builtins::new(&BuiltinSpec::default()));
        let catalog = crate::catalog::Catalog::default();
        let snapshot = Snapshot::build(catalog, "__", Vec::new(), builtins, meters, None);
        Self::new(snapshot, meters)
    }

    /// The snapshot in force. Held over awaits, so it is a whole `Arc`.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.inner.snapshot.load_full()
    }

    /// Tells when the list of tools changes; the number only grows.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    /// Resolves when every upstream has told what it offers or cannot come up, or has had
    /// [`director::FIRST_LIST_WAIT`] to do so.
    pub async fn settled(&self) {
        let mut settled = self.inner.settled.subscribe();
        // The sender lives as long as we do.
        drop(settled.wait_for(|settled| *settled).await);
    }

    /// The first lists wait no longer. Only the director calls this.
    pub(crate) fn settle(&self) {
        self.inner.settled.send_replace(true);
    }

    /// Stores a new snapshot. Only the director calls this.
    pub(crate) fn store(&self, snapshot: Snapshot, tools_changed: bool) {
        self.inner.snapshot.store(Arc::new(snapshot));
        if tools_changed {
            self.inner.changed.send_modify(|count| *count += 1);
        }
    }

    /// Answers a request. `note` gets what belongs to the client before the answer; it is called
    /// only while the future is polled. Dropping the future cancels the call.
    pub async fn call(&self, call: Call<'_>, note: impl FnMut(Bytes) + Send) -> Reply {
        dispatch::dispatch(&self.inner, call, note).await
    }

    /// Counts a request that a front answered by itself.
    pub fn answered(&self, method: Method, ok: bool) {
        self.inner.methods.count(method, ok);
    }
}
