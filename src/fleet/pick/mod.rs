//! Pure: chooses a replica for a call. One balancer a file; chance and turn come in as numbers.

mod round_robin;

use super::spec::Balance;

/// A replica as a balancer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// It takes calls, and was not tried for this call.
    pub eligible: bool,
    /// It is below its bound of calls in flight.
    pub has_room: bool,
}

/// The place of the replica that takes the call; `None` if no candidate is eligible. `turn` grows
/// by one a call. Replicas with room go first; if none has room, the one whose turn it is will
/// queue the call.
pub fn pick(balance: Balance, candidates: &[Candidate], turn: usize) -> Option<usize> {
    match balance {
        Balance::Auto | Balance::RoundRobin => round_robin::pick(candidates, turn),
    }
}
