//! Pure: chooses a replica for a call. One balancer a file; time has passed into the numbers
//! already, and chance comes in as a number.

mod auto;
mod chosen;
mod consistent_hash;
pub mod expression;
mod least_busy;
mod p2c_ewma;
mod priority;
mod random;
mod round_robin;
mod sample;
#[cfg(test)]
pub(super) mod testing;
mod weighted;

use std::fmt;
use std::sync::Arc;

use super::spec::Balance;

pub use auto::Auto;
pub use chosen::{Choice, choose, foresee};
pub use consistent_hash::ConsistentHash;
pub use expression::Expression;
pub use least_busy::LeastBusy;
pub use p2c_ewma::P2cEwma;
pub use priority::Priority;
pub use random::Random;
pub use round_robin::RoundRobin;
pub use weighted::Weighted;

/// What a balancer may look at of a replica that may take the call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Calls in flight on it, streams not counted.
    pub busy: u32,
    /// Its latency relative to what the same tools usually take: 1 = as usual, 2 = twice as slow.
    /// Fades while nothing is heard of it, so that it is tried again.
    pub slowness: f32,
    /// Its share by the operator's word, less while it warms up after an ejection; above 0.
    pub weight: f32,
    /// How much of its share it has after a start, 0.1 to 1.
    pub warmth: f32,
    /// Share of its recent calls that failed, 0 to 1.
    pub errors: f32,
    /// Lower tiers are used first.
    pub tier: u32,
}

impl Candidate {
    /// What it would carry with this call, relative to its weight.
    pub fn load(&self) -> f32 {
        let busy = f32::from(u16::try_from(self.busy).unwrap_or(u16::MAX));
        (busy + 1.0) / self.weight
    }
}

/// The replicas among which one is chosen. A replica is only looked at when it is asked for: with a
/// hundred of them a balancer looks at eight.
pub trait Field {
    /// How many there are; their places are below this.
    fn len(&self) -> usize;

    /// The replica at a place; `None` if it may not take this call.
    fn at(&self, place: usize) -> Option<Candidate>;

    /// No weight is above this.
    fn heaviest(&self) -> f32 {
        (0..self.len()).filter_map(|place| self.at(place)).map(|c| c.weight).fold(0.0, f32::max)
    }

    /// Whether there is none at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A label of the operator's own (`labels = { region = "eu", cost = "3" }`), for expressions.
    fn label(&self, _place: usize, _name: &str) -> Option<&str> {
        None
    }

    /// Its name, which stays the same however many there are: what consistent hashing hashes.
    fn name_hash(&self, place: usize) -> u64 {
        u64::try_from(place).unwrap_or(u64::MAX)
    }
}

/// What a balancer knows of the call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask {
    /// Chance.
    pub draw: u64,
    /// What `hash_on` names, hashed; `None` if the call does not have it.
    pub key: Option<u64>,
    /// The tool takes so long that latency says nothing about a replica.
    pub long: bool,
}

/// A rule that chooses a replica. Embedders may bring their own.
///
/// A balancer never sees a replica that may not take the call, and never waits. It may keep state
/// of its own behind atomics or a short lock.
pub trait Balancer: fmt::Debug + Send + Sync {
    /// The place of the replica that takes the call; `None` if the field offers none.
    fn pick(&self, field: &dyn Field, ask: &Ask) -> Option<usize>;

    /// What [`Balancer::pick`] would answer, without taking a turn: for explanations. A balancer
    /// with state of its own must not change it here.
    fn peek(&self, field: &dyn Field, ask: &Ask) -> Option<usize> {
        self.pick(field, ask)
    }

    /// Why it chose so, in a few words, for `--trace`.
    fn because(&self, _field: &dyn Field, _ask: &Ask, _place: usize) -> String {
        String::new()
    }
}

/// The balancer of a rule.
pub fn balancer(rule: &Balance) -> Arc<dyn Balancer> {
    match rule {
        Balance::Auto => Arc::new(Auto::default()),
        Balance::RoundRobin => Arc::new(RoundRobin::default()),
        Balance::Weighted => Arc::new(Weighted::default()),
        Balance::LeastBusy => Arc::new(LeastBusy),
        Balance::P2cEwma => Arc::new(P2cEwma),
        Balance::Random => Arc::new(Random),
        Balance::ConsistentHash => Arc::new(ConsistentHash),
        Balance::Priority => Arc::new(Priority::default()),
        Balance::Expression(expression) => Arc::new(Expression::clone(expression)),
    }
}
