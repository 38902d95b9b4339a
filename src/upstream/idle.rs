//! Pure: when a child that nobody uses is stopped.

use std::time::{Duration, Instant};

/// A child that was not used for so long is stopped, unless configured.
pub const IDLE_STOP: Duration = Duration::from_mins(10);

/// How much a child is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// Who is at it now: calls with the questions in them, large answers on their way.
    pub holds: usize,
    /// Somebody watches a resource of it.
    pub watched: bool,
    /// When it was last used, or came up.
    pub last: Instant,
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// It falls asleep.
    Now,
    /// It stays awake; look again then.
    LookAt(Instant),
    /// It stays awake for good.
    Never,
}

/// Whether a child is stopped now that is to be stopped after so long; `None` = never.
pub fn rest(now: Instant, used: &Use, after: Option<Duration>) -> Rest {
    let Some(after) = after.filter(|after| !after.is_zero()) else { return Rest::Never };
    let busy = used.holds > 0 || used.watched;
    // Whatever keeps it awake is its last use, as long as it does.
    let last = if busy { now } else { used.last };
    match last.checked_add(after) {
        Some(due) if due <= now => Rest::Now,
        Some(due) => Rest::LookAt(due),
        None => Rest::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_mins(10);

    #[test]
    fn it_falls_asleep_when_its_time_is_over_and_not_before() {
        let last = crate::base::clock::now();
        let used = Use { holds: 0, watched: false, last };
        let at = |passed| rest(last + passed, &used, Some(AFTER));
        assert_eq!(at(Duration::ZERO), Rest::LookAt(last + AFTER));
        assert_eq!(at(AFTER.saturating_sub(Duration::from_nanos(1))), Rest::LookAt(last + AFTER));
        assert_eq!(at(AFTER), Rest::Now);
        assert_eq!(at(AFTER * 9), Rest::Now);
        // A clock that was read before the use ended.
        let early = last.checked_sub(Duration::from_secs(1)).unwrap();
        assert_eq!(rest(early, &used, Some(AFTER)), Rest::LookAt(last + AFTER));
    }

    #[test]
    fn whoever_is_at_it_keeps_it_awake_however_long_that_takes() {
        let last = crate::base::clock::now();
        let now = last + AFTER * 9;
        for used in [
            Use { holds: 1, watched: false, last },
            Use { holds: 0, watched: true, last },
            Use { holds: 7, watched: true, last },
        ] {
            assert_eq!(rest(now, &used, Some(AFTER)), Rest::LookAt(now + AFTER), "{used:?}");
        }
    }

    #[test]
    fn without_a_time_it_stays_awake_for_good() {
        let last = crate::base::clock::now();
        let used = Use { holds: 0, watched: false, last };
        for after in [None, Some(Duration::ZERO), Some(Duration::MAX)] {
            assert_eq!(rest(last + AFTER * 9, &used, after), Rest::Never, "{after:?}");
        }
    }
}
