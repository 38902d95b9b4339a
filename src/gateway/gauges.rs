//! Gauges that are filled when somebody looks: what the pools know at that moment. Calls pay
//! nothing for them.

use std::collections::BTreeSet;
use std::time::Instant;

use parking_lot::Mutex;

use crate::telemetry::Meters;

use super::snapshot::Snapshot;

/// What was shown, so that what a reload took away is not shown for ever.
#[derive(Debug)]
pub struct Gauges {
    meters: Meters,
    pools: Mutex<BTreeSet<String>>,
    replicas: Mutex<BTreeSet<(String, String)>>,
}

impl Gauges {
    /// Nothing shown yet.
    pub fn new(meters: Meters) -> Self {
        Self { meters, pools: Mutex::default(), replicas: Mutex::default() }
    }

    /// Fills the gauges. Those of what is gone are NaN, as it is neither good nor bad.
    pub fn show(&self, snapshot: &Snapshot, now: Instant) {
        let (mut pools, mut replicas) = (BTreeSet::new(), BTreeSet::new());
        for one in snapshot.upstreams.iter().filter(|one| one.spec.off.is_none()) {
            let (name, view) = (one.spec.name.as_str(), one.pool.view(now));
            let waiting = u32::try_from(view.waiting).unwrap_or(u32::MAX);
            let numbers = [waiting.into(), view.retry_budget, f64::from(u8::from(view.panicking))];
            self.meters.pool_now(name, numbers);
            for replica in &view.replicas {
                let label = replica.member.replica.spec.name.as_str();
                self.meters.replica_now(name, label, f64::from(replica.numbers.slowness));
                replicas.insert((name.to_owned(), label.to_owned()));
            }
            pools.insert(name.to_owned());
        }
        let before = std::mem::replace(&mut *self.pools.lock(), pools.clone());
        for gone in before.difference(&pools) {
            self.meters.pool_now(gone, [f64::NAN; 3]);
        }
        let before = std::mem::replace(&mut *self.replicas.lock(), replicas.clone());
        for (pool, gone) in before.difference(&replicas) {
            self.meters.replica_now(pool, gone, f64::NAN);
        }
    }
}
