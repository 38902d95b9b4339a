//! A field of replicas for tests of balancers.

use super::{Candidate, Field};

/// Replicas whose numbers a test sets.
#[derive(Clone, Debug)]
pub(in crate::fleet) struct Fleet {
    replicas: Vec<(bool, Candidate)>,
}

impl Fleet {
    /// So many equal ones, idle and usual.
    pub(in crate::fleet) fn of(count: usize) -> Self {
        let usual =
            Candidate { busy: 0, slowness: 1.0, weight: 1.0, warmth: 1.0, errors: 0.0, tier: 0 };
        Self { replicas: vec![(true, usual); count] }
    }

    pub(in crate::fleet) fn close(&mut self, place: usize) {
        self.replicas[place].0 = false;
    }

    pub(in crate::fleet) fn open(&mut self, place: usize) {
        self.replicas[place].0 = true;
    }

    pub(in crate::fleet) fn weigh(&mut self, place: usize, weight: f32) {
        self.replicas[place].1.weight = weight;
    }

    pub(in crate::fleet) fn set(&mut self, place: usize, change: impl FnOnce(&mut Candidate)) {
        change(&mut self.replicas[place].1);
    }
}

impl Field for Fleet {
    fn len(&self) -> usize {
        self.replicas.len()
    }

    fn at(&self, place: usize) -> Option<Candidate> {
        self.replicas.get(place).filter(|(open, _)| *open).map(|(_, candidate)| *candidate)
    }
}
