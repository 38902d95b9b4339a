//! Pure: numbers that name upstreams and replicas. They are given once and never again, so that
//! what is said of a replica after a reload is about that one and no other.

use crate::proto::Abilities;

/// An upstream, for as long as the configuration has one of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UpstreamId(u64);

/// A replica, for as long as the configuration says the same of it. Those that stand beside it for
/// clients of some abilities share its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplicaId(u64);

/// Which replica of which upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The upstream.
    pub upstream: UpstreamId,
    /// The replica.
    pub replica: ReplicaId,
    /// For which clients it is; those that can be asked for nothing share it with all others.
    pub abilities: Abilities,
}

/// Gives the numbers.
#[derive(Debug, Default)]
pub struct Numbers {
    last: u64,
}

impl Numbers {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// A new upstream.
    pub fn upstream(&mut self) -> UpstreamId {
        UpstreamId(self.next())
    }

    /// A new replica, for everybody.
    pub fn replica(&mut self, upstream: UpstreamId) -> Place {
        Place { upstream, replica: ReplicaId(self.next()), abilities: Abilities::NONE }
    }
}
