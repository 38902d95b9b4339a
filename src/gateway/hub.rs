//! Who watches which resource. Watches are counted, so that an upstream is asked once for all
//! clients and left alone when the last of them has gone (2025-11-25, server/resources,
//! "Subscriptions"; 2026-07-28, basic/patterns/subscriptions).

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::broadcast;

use crate::fleet::Pool;
use crate::upstream::UpstreamId;
use crate::upstream::report::Updated;

/// Changes that wait for a slow client; beyond that it is told that all it watches may have changed.
pub const UPDATES_MAX: usize = 1_024;
/// Most resources that are watched at once, at one upstream.
pub const WATCHED_MAX: usize = 8_192;

/// Every watch.
#[derive(Debug)]
pub struct Hub {
    watched: Mutex<HashMap<(UpstreamId, String), usize>>,
    updates: broadcast::Sender<Updated>,
}

/// One client watches one resource, as long as it holds this.
#[derive(Debug)]
pub struct Watching {
    hub: Arc<Hub>,
    pool: Arc<Pool>,
    /// The upstream that owns it.
    pub upstream: UpstreamId,
    /// Which resource.
    pub uri: String,
}

impl Hub {
    /// A hub that gets the changes from `updates`.
    pub fn new(updates: broadcast::Sender<Updated>) -> Self {
        Self { watched: Mutex::default(), updates }
    }

    /// The changes from now on.
    pub fn updates(&self) -> broadcast::Receiver<Updated> {
        self.updates.subscribe()
    }

    /// Watches a resource of an upstream; `None` if too many are.
    pub fn watch(
        self: &Arc<Self>,
        pool: &Arc<Pool>,
        upstream: UpstreamId,
        uri: &str,
    ) -> Option<Watching> {
        let key = (upstream, uri.to_owned());
        let mut watched = self.watched.lock();
        if !watched.contains_key(&key) && watched.len() >= WATCHED_MAX {
            return None;
        }
        let count = watched.entry(key).or_default();
        *count += 1;
        if *count == 1 {
            pool.watched().send_modify(|uris| {
                Arc::make_mut(uris).insert(uri.to_owned());
            });
        }
        drop(watched);
        let (hub, pool) = (Arc::clone(self), Arc::clone(pool));
        Some(Watching { hub, pool, upstream, uri: uri.to_owned() })
    }
}

impl Watching {
    /// The upstream that is asked for it.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let key = (self.upstream, std::mem::take(&mut self.uri));
        let mut watched = self.hub.watched.lock();
        if let Some(count) = watched.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                watched.remove(&key);
                self.pool.watched().send_modify(|uris| {
                    Arc::make_mut(uris).remove(&key.1);
                });
            }
        }
    }
}
