//! How much other work the machine did during a run: with much of it the figures are rough.

use std::collections::BTreeSet;
use std::process;
use std::time::{Duration, Instant};

use crate::Result;
use crate::lane::Lane;
use crate::procfs;

/// More than this part of a core is worth a warning.
pub(crate) const TOLERABLE: f64 = 0.1;

/// Watches from its making on.
pub(crate) struct Bystanders {
    ours: BTreeSet<u32>,
    since: Instant,
    before: Duration,
}

impl Bystanders {
    pub(crate) fn watch(peer: u32, lanes: &[Lane]) -> Result<Self> {
        let proxies = lanes.iter().flat_map(|lane| lane.processes.iter().copied());
        let ours = proxies.chain([peer, process::id()]).collect();
        let before = used_by_others(&ours)?;
        Ok(Self { ours, since: Instant::now(), before })
    }

    /// How many cores the others used so far, on average.
    pub(crate) fn cores(&self) -> Result<f64> {
        let used = used_by_others(&self.ours)?.saturating_sub(self.before);
        Ok(used.as_secs_f64() / self.since.elapsed().as_secs_f64())
    }
}

fn used_by_others(ours: &BTreeSet<u32>) -> Result<Duration> {
    let own: Result<Vec<_>> = ours.iter().map(|&process| procfs::cpu(process)).collect();
    Ok(procfs::machine()?.saturating_sub(own?.into_iter().sum()))
}
