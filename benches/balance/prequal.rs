//! Prequal (NSDI '24), as far as it can be had: replicas that tell their load when they are probed.
//! MCP servers do not, so this is what a balancer with local numbers is held against.

use parking_lot::Mutex;
use waypost::base::rng::Draws;
use waypost::fleet::pick::{Ask, Balancer, Field};

/// Probes for each call, answered at once.
const PROBES: usize = 3;
/// Answers kept.
const POOL: usize = 16;
/// An answer is used so often.
const USES: u32 = 2;
/// An answer is too old after so many nanoseconds.
const OLD: u64 = 1_000_000_000;
/// Above so many percent of the loads of the last probes a replica is hot.
const HOT_PERCENT: usize = 84;
const RECENT: usize = 128;
/// Latency is kept for each number of calls in flight up to this.
const BUCKETS: usize = 48;

/// What the replicas would tell.
#[derive(Debug)]
pub(crate) struct Truth {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    now: u64,
    replicas: Vec<Told>,
}

#[derive(Clone, Debug)]
struct Told {
    held: u32,
    /// Latency relative to its tool, by how many calls were there when the call came; and when.
    latency: [(f64, u64); BUCKETS],
}

impl Told {
    /// The latency to expect now: that of the nearest bucket with fresh figures.
    fn latency(&self, now: u64) -> f64 {
        let own = bucket(self.held);
        let fresh = |at: u64| at > 0 && now.saturating_sub(at) < 5 * OLD;
        let near = (0..BUCKETS).filter(|nth| fresh(self.latency[*nth].1));
        near.min_by_key(|nth| nth.abs_diff(own)).map_or(0.5, |nth| {
            // With more calls there than were ever seen it takes longer.
            let excess = own.saturating_sub(nth) as f64;
            self.latency[nth].0 * (1.0 + excess / 8.0)
        })
    }
}

fn bucket(held: u32) -> usize {
    (held as usize).min(BUCKETS - 1)
}

impl Truth {
    pub(crate) fn new(replicas: usize) -> Self {
        let told = Told { held: 0, latency: [(1.0, 0); BUCKETS] };
        Self { state: Mutex::new(State { now: 0, replicas: vec![told; replicas] }) }
    }

    pub(crate) fn at(&self, now: u64) {
        self.state.lock().now = now;
    }

    pub(crate) fn holds(&self, place: usize, held: u32) {
        self.state.lock().replicas[place].held = held;
    }

    /// A replica answered a call that came when it held so many.
    pub(crate) fn answered(&self, place: usize, held: u32, relative: f64, now: u64) {
        let slot = &mut self.state.lock().replicas[place].latency[bucket(held)];
        *slot = if slot.1 == 0 { (relative, now) } else { (slot.0 * 0.9 + relative * 0.1, now) };
    }
}

/// Hot and cold by probes.
#[derive(Debug)]
pub(crate) struct Prequal {
    truth: std::sync::Arc<Truth>,
    pool: Mutex<Pool>,
}

#[derive(Debug, Default)]
struct Pool {
    probes: Vec<Probe>,
    recent: Vec<u32>,
    next: usize,
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    place: usize,
    held: u32,
    latency: f64,
    at: u64,
    uses: u32,
}

impl Prequal {
    pub(crate) fn new(truth: std::sync::Arc<Truth>) -> Self {
        Self { truth, pool: Mutex::default() }
    }
}

impl Balancer for Prequal {
    fn pick(&self, field: &dyn Field, ask: &Ask) -> Option<usize> {
        let mut draws = Draws::new(ask.draw);
        let (mut pool, state) = (self.pool.lock(), self.truth.state.lock());
        for _ in 0..PROBES {
            let place = draws.below(field.len());
            if field.at(place).is_some() {
                let told = &state.replicas[place];
                let (held, latency) = (told.held, told.latency(state.now));
                pool.add(Probe { place, held, latency, at: state.now, uses: USES });
            }
        }
        let now = state.now;
        drop(state);
        pool.probes.retain(|p| now - p.at < OLD && p.uses > 0 && field.at(p.place).is_some());
        let bound = pool.bound();
        let cold = pool.probes.iter().enumerate().filter(|(_, probe)| probe.held <= bound);
        let fastest = cold.min_by(|a, b| a.1.latency.total_cmp(&b.1.latency));
        let least = || pool.probes.iter().enumerate().min_by_key(|(_, probe)| probe.held);
        let nth = fastest.or_else(least).map(|(nth, _)| nth);
        let Some(nth) = nth else {
            return (0..field.len()).find(|place| field.at(*place).is_some());
        };
        let place = pool.probes[nth].place;
        pool.probes[nth].uses -= 1;
        pool.probes.iter_mut().filter(|p| p.place == place).for_each(|p| p.held += 1);
        pool.forget();
        Some(place)
    }
}

impl Pool {
    fn add(&mut self, probe: Probe) {
        if self.probes.len() >= POOL {
            self.probes.remove(0);
        }
        self.probes.push(probe);
        if self.recent.len() < RECENT {
            self.recent.push(probe.held);
        } else {
            self.recent[self.next] = probe.held;
        }
        self.next = (self.next + 1) % RECENT;
    }

    fn bound(&self) -> u32 {
        let mut sorted = self.recent.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() * HOT_PERCENT / 100).copied().unwrap_or(u32::MAX)
    }

    /// One of the worst goes with each call, so that the pool does not fill with them.
    fn forget(&mut self) {
        if self.probes.len() > POOL / 2 {
            let key = |p: &Probe| (p.held, p.latency);
            let worst = self.probes.iter().enumerate().max_by(|a, b| {
                let (a, b) = (key(a.1), key(b.1));
                a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
            });
            if let Some((nth, _)) = worst {
                self.probes.remove(nth);
            }
        }
    }
}
