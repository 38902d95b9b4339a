//! Balancers of others, for comparison: the better of two by calls in flight, which is what most
//! proxies do, and by latency that knows nothing of tools.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use waypost::base::rng::Draws;
use waypost::fleet::pick::{Ask, Balancer, Candidate, Field};

/// Two replicas drawn evenly.
fn two(field: &dyn Field, draws: &mut Draws) -> Vec<(usize, Candidate)> {
    let mut found: Vec<(usize, Candidate)> = Vec::with_capacity(2);
    for _ in 0..32 {
        let place = draws.below(field.len());
        if found.iter().all(|(known, _)| *known != place)
            && let Some(candidate) = field.at(place)
        {
            found.push((place, candidate));
        }
        if found.len() == 2 {
            return found;
        }
    }
    if found.is_empty() {
        let first = (0..field.len()).find_map(|place| Some((place, field.at(place)?)));
        found.extend(first);
    }
    found
}

fn better(found: &[(usize, Candidate)], value: impl Fn(usize, &Candidate) -> f64) -> Option<usize> {
    let values = found.iter().map(|(place, candidate)| (*place, value(*place, candidate)));
    values.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(place, _)| place)
}

/// Of two the one with fewer calls in flight.
#[derive(Debug)]
pub(crate) struct LeastOfTwo;

impl Balancer for LeastOfTwo {
    fn pick(&self, field: &dyn Field, ask: &Ask) -> Option<usize> {
        let found = two(field, &mut Draws::new(ask.draw));
        better(&found, |_, candidate| f64::from(candidate.load()))
    }
}

/// Of two the one with less latency times load. Latency jumps to a peak and decays.
#[derive(Debug)]
pub(crate) struct PeakEwma {
    /// Seconds, and when they were measured.
    latency: Mutex<Vec<(f64, u64)>>,
    now: AtomicU64,
}

const DECAY: Duration = Duration::from_secs(10);
/// What a replica is taken for before it has answered, in seconds (as linkerd does).
const AT_FIRST: f64 = 0.03;

impl PeakEwma {
    pub(crate) fn new(replicas: usize) -> Self {
        Self { latency: Mutex::new(vec![(AT_FIRST, 0); replicas]), now: AtomicU64::new(0) }
    }

    pub(crate) fn at(&self, now: u64) {
        self.now.store(now, Ordering::Relaxed);
    }

    /// An answer came after so many seconds.
    pub(crate) fn record(&self, place: usize, took: f64, now: u64) {
        let slot = &mut self.latency.lock()[place];
        *slot = if took > slot.0 {
            (took, now)
        } else {
            let keep = kept(now - slot.1);
            (slot.0.mul_add(keep, took * (1.0 - keep)), now)
        };
    }
}

fn kept(age: u64) -> f64 {
    (-(age as f64) / 1e9 / DECAY.as_secs_f64()).exp()
}

impl Balancer for PeakEwma {
    fn pick(&self, field: &dyn Field, ask: &Ask) -> Option<usize> {
        let found = two(field, &mut Draws::new(ask.draw));
        let now = self.now.load(Ordering::Relaxed);
        let latency = self.latency.lock();
        better(&found, |place, candidate| {
            let (latency, at) = latency[place];
            latency * kept(now.saturating_sub(at)) * f64::from(candidate.load())
        })
    }
}
