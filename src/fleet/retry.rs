//! Pure: may a call that failed be sent again, and where?

use crate::base::{Fault, Kind, Sent};

/// What to do after a failed try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send it to another replica: the first one has surely seen nothing.
    Elsewhere,
    /// Tell the client.
    Surface,
}

/// Decides after a try. `committed` = something of this call has reached the client already;
/// `left` = replicas that were not tried.
///
/// Only what was surely not seen is sent again. A lost session was refused before anything ran
/// (2025-11-25, "Session Management"), so it counts as not seen.
pub fn decide(fault: &Fault, committed: bool, left: usize) -> Verdict {
    let unseen = match fault.sent {
        Sent::No => fault.kind != Kind::Overloaded || left > 0,
        Sent::Rejected => fault.kind == Kind::SessionLost,
        Sent::Maybe => false,
    };
    if unseen && !committed && left > 0 { Verdict::Elsewhere } else { Verdict::Surface }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_surely_not_seen_goes_elsewhere() {
        let fault = |kind, sent| Fault::upstream(kind, sent, "x");
        let unsent = fault(Kind::Connect, Sent::No);
        assert_eq!(decide(&unsent, false, 1), Verdict::Elsewhere);
        assert_eq!(decide(&unsent, true, 1), Verdict::Surface);
        assert_eq!(decide(&unsent, false, 0), Verdict::Surface);
        assert_eq!(decide(&fault(Kind::SessionLost, Sent::Rejected), false, 1), Verdict::Elsewhere);
        for kind in [Kind::Closed, Kind::Timeout, Kind::Protocol, Kind::Status(503)] {
            assert_eq!(decide(&fault(kind, Sent::Maybe), false, 2), Verdict::Surface, "{kind:?}");
        }
        assert_eq!(decide(&fault(Kind::Status(401), Sent::Rejected), false, 2), Verdict::Surface);
    }
}
