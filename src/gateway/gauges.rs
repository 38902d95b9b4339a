//! Gauges that are filled when somebody looks: what the pools know at that moment. Calls pay
//! nothing for them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use parking_lot::Mutex;

use crate::telemetry::Meters;

use super::Gateway;

/// What was shown, so that what a reload took away is not shown for ever.
#[derive(Debug)]
pub struct Gauges {
    meters: Meters,
    /// Upstreams and their replicas.
    shown: Mutex<BTreeMap<String, BTreeSet<String>>>,
}

impl Gauges {
    /// Nothing shown yet.
    pub fn new(meters: Meters) -> Self {
        Self { meters, shown: Mutex::default() }
    }

    /// Fills the gauges. Those of what is gone are NaN, as it is neither good nor bad.
    pub fn show(&self, gateway: &Gateway, now: Instant) {
        self.meters.parked_now(u32::try_from(gateway.parked()).unwrap_or(u32::MAX));
        let snapshot = gateway.snapshot();
        let mut shown = self.shown.lock();
        let mut gone = std::mem::take(&mut *shown);
        for one in snapshot.upstreams.iter().filter(|one| one.spec.off.is_none()) {
            let (name, view) = (one.spec.name.as_str(), one.pool.view(now));
            let waiting = u32::try_from(view.waiting).unwrap_or(u32::MAX);
            let panicking = u8::from(view.panicking);
            self.meters.pool_now(name, [waiting.into(), view.retry_budget, panicking.into()]);
            let mut before = gone.remove(name).unwrap_or_default();
            let replicas = shown.entry(name.to_owned()).or_default();
            for replica in &view.replicas {
                let label = replica.member.replica.spec.name.as_str();
                self.meters.replica_now(name, label, replica.numbers.slowness.into());
                before.remove(label);
                replicas.insert(label.to_owned());
            }
            self.forget(name, &before);
        }
        for (name, replicas) in &gone {
            self.meters.pool_now(name, [f64::NAN; 3]);
            self.forget(name, replicas);
        }
    }

    fn forget(&self, upstream: &str, replicas: &BTreeSet<String>) {
        for name in replicas {
            self.meters.replica_now(upstream, name, f64::NAN);
        }
    }
}
