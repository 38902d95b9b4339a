//! A call that takes longer than most is asked a second time, at another replica; the first answer
//! counts, and the other request is cancelled ("The Tail at Scale"). Only for calls that read, and
//! within a budget.

use std::pin::pin;
use std::time::Duration;

use parking_lot::Mutex;

use super::attempt::{Got, Try};
use super::pace::Pace;
use super::spec::HedgeSpec;
use crate::base::{Fault, Sent, clock};
use crate::upstream::Told;

/// With fewer answers of a tool it is not known what is slow for it.
const KNOWN_AFTER: u32 = 100;
/// Tools that are faster or slower than this at their 95th percentile are not asked twice.
const P95: std::ops::RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_secs(10);
/// Most messages that are kept of each of the two until one has won.
const NOTES_MAX: usize = 256;

/// When a call of this tool is slow; `None` if it is not asked a second time.
pub(super) fn delay(spec: &HedgeSpec, pace: &Pace) -> Option<Duration> {
    let p95 = pace.p95().filter(|p95| P95.contains(p95))?;
    (spec.enabled && pace.count() >= KNOWN_AFTER).then(|| p95.max(spec.delay_min))
}

/// Which of the two it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// The one that was sent first.
    First,
    /// The one that was sent when the first was slow.
    Second,
}

impl Which {
    /// The label value.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
        }
    }
}

/// What the two tell: kept until one of them has won.
struct Tales<'a> {
    tell: &'a mut (dyn FnMut(Told) + Send),
    won: Option<Which>,
    first: Vec<Told>,
    second: Vec<Told>,
}

impl Tales<'_> {
    fn told(&mut self, which: Which, what: Told) {
        match self.won {
            Some(won) if won == which => (self.tell)(what),
            Some(_) => {}
            // A question must reach the client for the call to go on.
            None if matches!(what, Told::Ask(_)) => {
                self.wins(which);
                (self.tell)(what);
            }
            None => {
                let notes = match which {
                    Which::First => &mut self.first,
                    Which::Second => &mut self.second,
                };
                if notes.len() < NOTES_MAX {
                    notes.push(what);
                }
            }
        }
    }

    /// Answers whether it wins, or has won already.
    fn wins(&mut self, which: Which) -> bool {
        if self.won.is_some() {
            return self.won == Some(which);
        }
        self.won = Some(which);
        let notes = match which {
            Which::First => std::mem::take(&mut self.first),
            Which::Second => std::mem::take(&mut self.second),
        };
        for note in notes {
            (self.tell)(note);
        }
        true
    }
}

/// Runs a try, and after `delay` the one that `second` makes beside it. Answers which one won, if
/// there were two. `second` is not asked once the first has told the client something.
pub(super) async fn race<'a>(
    first: &Try<'a>,
    delay: Duration,
    second: impl FnOnce() -> Option<Try<'a>>,
    tell: &mut (dyn FnMut(Told) + Send),
) -> (Result<Got, Fault>, Option<Which>) {
    let tales = Mutex::new(Tales { tell, won: None, first: Vec::new(), second: Vec::new() });
    let mut first_told = |what| tales.lock().told(Which::First, what);
    let mut one = pin!(first.run(&mut first_told));
    tokio::select! {
        biased;
        outcome = &mut one => {
            tales.lock().wins(Which::First);
            return (outcome, None);
        }
        () = tokio::time::sleep_until((clock::now() + delay).into()) => {}
    }
    let began = {
        let tales = tales.lock();
        tales.won.is_some() || !tales.first.is_empty()
    };
    let Some(beside) = (if began { None } else { second() }) else {
        tales.lock().wins(Which::First);
        return (one.await, None);
    };
    let mut second_told = |what| tales.lock().told(Which::Second, what);
    let mut other = pin!(beside.run(&mut second_told));
    let (which, outcome) = tokio::select! {
        biased;
        outcome = &mut one => (Which::First, outcome),
        outcome = &mut other => (Which::Second, outcome),
    };
    if outcome.is_ok() && tales.lock().wins(which) {
        return (outcome, Some(which));
    }
    // It failed, or the other one has the client's ear. Whatever becomes of that one now, this one
    // may have run.
    let ran = outcome.as_ref().err().is_none_or(|fault| fault.sent == Sent::Maybe);
    let (which, outcome) = match which {
        Which::First => (Which::Second, other.await),
        Which::Second => (Which::First, one.await),
    };
    tales.lock().wins(which);
    let honest = |fault| if ran { Fault { sent: Sent::Maybe, ..fault } } else { fault };
    (outcome.map_err(honest), Some(which))
}
