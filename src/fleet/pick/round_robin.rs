//! Pure: each eligible replica in turn; weights are ignored.

use super::Candidate;

/// The eligible candidate whose turn it is, among those with room if there are any.
pub(super) fn pick(candidates: &[Candidate], turn: usize) -> Option<usize> {
    let with_room = |c: &Candidate| c.eligible && c.has_room;
    let eligible = |c: &Candidate| c.eligible;
    nth(candidates, turn, with_room).or_else(|| nth(candidates, turn, eligible))
}

fn nth(candidates: &[Candidate], turn: usize, fits: impl Fn(&Candidate) -> bool) -> Option<usize> {
    let count = candidates.iter().filter(|c| fits(c)).count();
    let wanted = turn.checked_rem(count)?;
    let mut fitting = candidates.iter().enumerate().filter(|(_, c)| fits(c));
    fitting.nth(wanted).map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn candidate(eligible: bool, has_room: bool) -> Candidate {
        Candidate { eligible, has_room }
    }

    #[test]
    fn three_replicas_share_exactly() {
        let all = [candidate(true, true); 3];
        let mut shares = [0; 3];
        for turn in 0..300 {
            shares[pick(&all, turn).unwrap()] += 1;
        }
        assert_eq!(shares, [100; 3]);
    }

    #[test]
    fn what_is_down_is_skipped_and_what_is_full_comes_last() {
        let some = [candidate(false, true), candidate(true, false), candidate(true, true)];
        assert!((0..10).all(|turn| pick(&some, turn) == Some(2)));
        let full = [candidate(true, false), candidate(true, false)];
        assert_eq!((pick(&full, 0), pick(&full, 1)), (Some(0), Some(1)));
        assert_eq!(pick(&[candidate(false, true)], 0), None);
        assert_eq!(pick(&[], 7), None);
    }
}
