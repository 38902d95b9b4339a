//! How late this machine is at anything: a task that sleeps for a moment, and notes by how much it
//! overslept. What other work on the machine costs a call shows here too.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::task::JoinHandle;

use crate::time::now_ms;

/// How long it sleeps.
const NAP: Duration = Duration::from_millis(5);

/// Naps that are remembered: an hour and a half of them.
const NAPS_MAX: usize = 1_000_000;

/// When it woke, and by how many ms too late.
static NAPS: Mutex<Vec<(u64, f64)>> = Mutex::new(Vec::new());

/// Naps until it is aborted.
pub(crate) fn listen() -> JoinHandle<()> {
    tokio::spawn(async {
        loop {
            let from = Instant::now();
            tokio::time::sleep(NAP).await;
            let late = from.elapsed().saturating_sub(NAP).as_secs_f64() * 1e3;
            let mut naps = NAPS.lock();
            if naps.len() < NAPS_MAX {
                naps.push((now_ms(), late));
            }
        }
    })
}

/// What 99 of 100 naps between two moments did not exceed, in ms.
pub(crate) fn between(from_ms: u64, to_ms: u64) -> f64 {
    let naps = NAPS.lock();
    let inside = naps.iter().filter(|(at, _)| (from_ms..=to_ms).contains(at));
    let mut late: Vec<f64> = inside.map(|(_, late)| *late).collect();
    drop(naps);
    late.sort_unstable_by(f64::total_cmp);
    let at = (late.len() * 99).div_ceil(100).max(1) - 1;
    late.get(at).copied().unwrap_or_default()
}
