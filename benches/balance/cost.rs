//! What one pick among a hundred replicas costs in time. Only for information: `counts` holds the
//! instructions and that nothing is allocated, which no busy machine can change.

use std::hint::black_box;
use std::time::Instant;

use waypost::fleet::pick::{Ask, Balancer, Candidate, Field, balancer, choose};
use waypost::fleet::spec::Balance;
use waypost::fleet::vital::{Level, Seen, Vital};
use waypost::upstream::nap::Phase;

const REPLICAS: u32 = 100;
const PICKS: u64 = 2_000;
const BATCHES: usize = 50;

struct Fleet {
    vitals: Vec<Vital>,
    now: Instant,
}

impl Field for Fleet {
    fn len(&self) -> usize {
        self.vitals.len()
    }

    fn at(&self, place: usize) -> Option<Candidate> {
        let seen = Seen { up: true, suspect: false, phase: Phase::Awake };
        self.vitals[place].candidate(Level::Well, seen, self.now)
    }

    fn heaviest(&self) -> f32 {
        1.0
    }
}

/// Prints the nanoseconds of a pick: of some batches the fastest, which others disturbed least.
pub(crate) fn print() {
    let start = Instant::now();
    let fleet = Fleet {
        vitals: (0..REPLICAS).map(|_| Vital::new((1, 0), 1.0, start)).collect(),
        now: start + std::time::Duration::from_secs(3),
    };
    for (nth, vital) in (0_u16..).zip(&fleet.vitals) {
        (0..nth % 4).for_each(|_| vital.load.begin());
        vital.load.record(f32::from(nth % 7), start);
    }
    for rule in [Balance::Auto, Balance::P2cEwma, Balance::LeastBusy, Balance::RoundRobin] {
        let least =
            (0..BATCHES).map(|_| batch(balancer(&rule).as_ref(), &fleet)).min_by(f64::total_cmp);
        println!("a pick of {REPLICAS}, {}: {:.0} ns", rule.as_str(), least.unwrap_or(f64::NAN));
    }
    println!();
}

fn batch(rule: &dyn Balancer, fleet: &Fleet) -> f64 {
    let began = Instant::now();
    for draw in 0..PICKS {
        let ask = Ask { draw, key: None, long: false };
        let room = |place: usize| fleet.vitals[place].load.busy() < 64;
        black_box(choose(rule, black_box(fleet), &room, &ask));
    }
    began.elapsed().as_nanos() as f64 / PICKS as f64
}
