//! Pure: may a call that failed be sent again, and when? What a second run would do ([`Effect`])
//! against what is known of the first ([`Sent`]) decides; everything else can only say no.

use std::fmt;
use std::time::{Duration, Instant};

use super::backoff;
use super::budget::Budget;
use super::effect::Effect;
use super::spec::RetrySpec;
use crate::base::rng::Draws;
use crate::base::{Fault, Kind, Sent};

/// Attempts beside the first one for a call that must not run twice: only while the upstream has
/// surely seen nothing.
pub const UNSEEN_RETRIES: u32 = 2;
/// The longest wait before a call that was not sent goes to another replica.
const AT_ONCE: Duration = Duration::from_millis(10);
/// What a repetition after a silence costs: the first one has held its place for long.
const COST_AFTER_TIMEOUT: f64 = 2.0;

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send it again after this wait.
    Again(Duration),
    /// Tell the client.
    Surface(Refusal),
}

/// Why a call is not sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It may have run, and must not run twice.
    Effect,
    /// Something of it has reached the client already.
    Committed,
    /// It was sent often enough.
    Attempts,
    /// Too many calls are sent again already.
    Budget,
    /// There is no time left for it.
    Deadline,
    /// Asking again would bring the same.
    Pointless,
    /// There is nobody to send it to.
    Nobody,
}

/// Every refusal.
pub const REFUSALS: [Refusal; 7] = [
    Refusal::Effect,
    Refusal::Committed,
    Refusal::Attempts,
    Refusal::Budget,
    Refusal::Deadline,
    Refusal::Pointless,
    Refusal::Nobody,
];

impl Refusal {
    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Effect => "effect",
            Self::Committed => "committed",
            Self::Attempts => "attempts",
            Self::Budget => "budget",
            Self::Deadline => "deadline",
            Self::Pointless => "pointless",
            Self::Nobody => "nobody",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A call after an attempt that failed.
#[derive(Clone, Copy, Debug)]
pub struct Tried {
    /// What a second run would do.
    pub effect: Effect,
    /// Something of it has reached the client.
    pub committed: bool,
    /// Attempts so far, this one included.
    pub attempts: u32,
    /// Replicas up that were not tried.
    pub fresh: usize,
    /// Replicas up, tried or not.
    pub up: usize,
    /// What half of these calls take at most, where that is known.
    pub usual: Option<Duration>,
    /// When the call must be over.
    pub deadline: Instant,
}

/// Decides after an attempt. Spends from the budget if the call is sent again after it may have
/// run.
pub fn decide(
    spec: &RetrySpec,
    tried: &Tried,
    fault: &Fault,
    budget: &mut Budget,
    (now, draw): (Instant, u64),
) -> Verdict {
    if let Some(refusal) = vetoed(spec, tried, fault) {
        return Verdict::Surface(refusal);
    }
    let wait = wait(spec, tried, fault, draw);
    if let Some(asked) = fault.retry_after.filter(|_| fault.sent == Sent::Maybe)
        && asked > spec.retry_after_max
    {
        return Verdict::Surface(Refusal::Deadline);
    }
    if now + wait + tried.usual.unwrap_or_default() > tried.deadline {
        return Verdict::Surface(Refusal::Deadline);
    }
    if fault.sent == Sent::Maybe {
        let cost = if fault.kind == Kind::Timeout { COST_AFTER_TIMEOUT } else { 1.0 };
        if !budget.spend(cost, now) {
            return Verdict::Surface(Refusal::Budget);
        }
    }
    Verdict::Again(wait)
}

/// What forbids it whatever the time and the budget are.
fn vetoed(spec: &RetrySpec, tried: &Tried, fault: &Fault) -> Option<Refusal> {
    if tried.committed {
        return Some(Refusal::Committed);
    }
    let most = match tried.effect {
        Effect::ReadOnly | Effect::Idempotent => spec.max_attempts,
        Effect::Unsafe => 1 + UNSEEN_RETRIES.min(spec.max_attempts.saturating_sub(1)),
    };
    match fault.sent {
        Sent::No if fault.kind == Kind::NoReplica => return Some(Refusal::Nobody),
        // A queue of ours that is full: another replica may have room, the same one has not.
        Sent::No if fault.kind == Kind::Overloaded && tried.fresh == 0 => {
            return Some(Refusal::Nobody);
        }
        // A lost session was refused before anything ran (2025-11-25, "Session Management").
        Sent::Rejected if fault.kind == Kind::SessionLost => {}
        Sent::Rejected => return Some(Refusal::Pointless),
        Sent::Maybe if !tried.effect.is_repeatable() => return Some(Refusal::Effect),
        Sent::Maybe if fault.kind == Kind::TooLarge => return Some(Refusal::Pointless),
        Sent::Maybe if fault.kind == Kind::Status(500) => {
            let once = spec.on_server_error && tried.effect == Effect::ReadOnly;
            if !once {
                return Some(Refusal::Pointless);
            }
            if tried.attempts >= 2 {
                return Some(Refusal::Attempts);
            }
        }
        // Nothing was seen, or seeing it twice does no harm.
        Sent::No | Sent::Maybe => {}
    }
    if tried.attempts >= most {
        return Some(Refusal::Attempts);
    }
    (tried.up == 0).then_some(Refusal::Nobody)
}

fn wait(spec: &RetrySpec, tried: &Tried, fault: &Fault, draw: u64) -> Duration {
    let repeated = tried.attempts.saturating_sub(1);
    if fault.sent != Sent::Maybe && tried.fresh > 0 {
        let spread = AT_ONCE.mul_f64(Draws::new(draw).unit());
        return if repeated == 0 { Duration::ZERO } else { spread };
    }
    let asked = fault.retry_after.filter(|_| tried.fresh == 0).unwrap_or_default();
    backoff::wait(spec, repeated, draw).max(asked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    fn tried(effect: Effect) -> Tried {
        let deadline = clock::now() + Duration::from_mins(1);
        Tried { effect, committed: false, attempts: 1, fresh: 2, up: 3, usual: None, deadline }
    }

    fn fault(kind: Kind, sent: Sent) -> Fault {
        Fault::upstream(kind, sent, "x")
    }

    fn ask(tried: &Tried, fault: &Fault) -> Verdict {
        let now = clock::now();
        decide(&RetrySpec::default(), tried, fault, &mut Budget::new(now), (now, 7))
    }

    fn again(verdict: Verdict) -> bool {
        matches!(verdict, Verdict::Again(_))
    }

    #[test]
    fn effect_against_delivery() {
        use Effect::{Idempotent, ReadOnly, Unsafe};
        let lost = fault(Kind::SessionLost, Sent::Rejected);
        let refused = fault(Kind::Status(401), Sent::Rejected);
        for effect in [ReadOnly, Idempotent, Unsafe] {
            let tried = tried(effect);
            assert!(again(ask(&tried, &fault(Kind::Connect, Sent::No))), "{effect:?}");
            assert!(again(ask(&tried, &fault(Kind::Closed, Sent::No))), "{effect:?}");
            assert!(again(ask(&tried, &lost)), "{effect:?}");
            assert_eq!(ask(&tried, &refused), Verdict::Surface(Refusal::Pointless), "{effect:?}");
            for kind in [Kind::Closed, Kind::Timeout, Kind::Protocol, Kind::Status(503)] {
                let verdict = ask(&tried, &fault(kind, Sent::Maybe));
                assert_eq!(again(verdict), effect.is_repeatable(), "{effect:?} {kind:?}");
            }
        }
        let unknown = fault(Kind::Closed, Sent::Maybe);
        assert_eq!(ask(&tried(Unsafe), &unknown), Verdict::Surface(Refusal::Effect));
    }

    #[test]
    fn vetoes() {
        let read = tried(Effect::ReadOnly);
        let closed = fault(Kind::Closed, Sent::Maybe);
        let surfaced = |tried: Tried, fault: &Fault| ask(&tried, fault);
        let committed = Tried { committed: true, ..read };
        assert_eq!(surfaced(committed, &closed), Verdict::Surface(Refusal::Committed));
        let unsent = fault(Kind::Connect, Sent::No);
        assert_eq!(surfaced(committed, &unsent), Verdict::Surface(Refusal::Committed));
        let often = Tried { attempts: 3, ..read };
        assert_eq!(surfaced(often, &closed), Verdict::Surface(Refusal::Attempts));
        let none = Tried { up: 0, fresh: 0, ..read };
        assert_eq!(surfaced(none, &closed), Verdict::Surface(Refusal::Nobody));
        let late = Tried { deadline: clock::now(), usual: Some(Duration::from_secs(1)), ..read };
        assert_eq!(surfaced(late, &closed), Verdict::Surface(Refusal::Deadline));
        let asked = closed.retry_after(Some(Duration::from_mins(2)));
        assert_eq!(surfaced(read, &asked), Verdict::Surface(Refusal::Deadline));
        let soft = fault(Kind::Status(500), Sent::Maybe);
        assert_eq!(surfaced(read, &soft), Verdict::Surface(Refusal::Pointless));
        let full = fault(Kind::Overloaded, Sent::No);
        assert!(again(surfaced(read, &full)));
        let full_all = Tried { fresh: 0, ..read };
        assert_eq!(surfaced(full_all, &full), Verdict::Surface(Refusal::Nobody));
    }

    #[test]
    fn a_call_that_must_not_run_twice_is_sent_three_times_at_most_while_nothing_was_sent() {
        let unsent = fault(Kind::Connect, Sent::No);
        for (attempts, allowed) in [(1, true), (2, true), (3, false)] {
            let tried = Tried { attempts, ..tried(Effect::Unsafe) };
            assert_eq!(again(ask(&tried, &unsent)), allowed, "{attempts}");
        }
        let now = clock::now();
        let once = RetrySpec { max_attempts: 1, ..RetrySpec::default() };
        let mut budget = Budget::new(now);
        let verdict = decide(&once, &tried(Effect::Unsafe), &unsent, &mut budget, (now, 0));
        assert_eq!(verdict, Verdict::Surface(Refusal::Attempts), "max_attempts = 1 is one attempt");
    }

    #[test]
    fn repetitions_have_a_budget_and_a_silence_costs_twice() {
        let now = clock::now();
        let read = tried(Effect::ReadOnly);
        for (kind, granted) in [(Kind::Closed, 5), (Kind::Timeout, 2)] {
            let mut budget = Budget::new(now);
            let mut ask = || {
                decide(
                    &RetrySpec::default(),
                    &read,
                    &fault(kind, Sent::Maybe),
                    &mut budget,
                    (now, 1),
                )
            };
            let verdicts: Vec<_> = (0..6).map(|_| ask()).collect();
            assert_eq!(verdicts.iter().filter(|v| again(**v)).count(), granted, "{kind:?}");
            assert_eq!(verdicts.last(), Some(&Verdict::Surface(Refusal::Budget)));
        }
        // What was not sent needs none.
        let mut empty = Budget::new(now);
        while empty.spend(1.0, now) {}
        let unsent = fault(Kind::Connect, Sent::No);
        assert!(again(decide(&RetrySpec::default(), &read, &unsent, &mut empty, (now, 1))));
    }

    #[test]
    fn a_server_error_of_a_read_only_call_is_asked_again_once_if_configured() {
        let now = clock::now();
        let spec = RetrySpec { on_server_error: true, ..RetrySpec::default() };
        let soft = fault(Kind::Status(500), Sent::Maybe);
        let verdict = |effect, attempts| {
            let tried = Tried { attempts, ..tried(effect) };
            decide(&spec, &tried, &soft, &mut Budget::new(now), (now, 3))
        };
        assert!(again(verdict(Effect::ReadOnly, 1)));
        assert!(!again(verdict(Effect::ReadOnly, 2)));
        assert!(!again(verdict(Effect::Idempotent, 1)));
    }

    #[test]
    fn what_was_not_sent_goes_elsewhere_at_once_and_to_the_same_one_after_a_wait() {
        let unsent = fault(Kind::Connect, Sent::No).retry_after(Some(Duration::from_secs(3)));
        assert_eq!(ask(&tried(Effect::Unsafe), &unsent), Verdict::Again(Duration::ZERO));
        let alone = Tried { fresh: 0, up: 1, ..tried(Effect::Unsafe) };
        assert_eq!(ask(&alone, &unsent), Verdict::Again(Duration::from_secs(3)));
    }

    proptest::proptest! {
        #[test]
        fn a_call_that_may_have_run_is_never_sent_again_unless_that_is_harmless(
            kind in proptest::sample::select(vec![
                Kind::Connect, Kind::Closed, Kind::Timeout, Kind::Protocol, Kind::TooLarge,
                Kind::Status(429), Kind::Status(500), Kind::Status(503), Kind::SessionLost,
                Kind::Overloaded, Kind::RateLimited, Kind::NoReplica, Kind::Cancelled,
            ]),
            committed in proptest::bool::ANY, attempts in 1_u32..6, fresh in 0_usize..4,
            server_error in proptest::bool::ANY, draw in proptest::num::u64::ANY,
        ) {
            let now = clock::now();
            let spec = RetrySpec { on_server_error: server_error, ..RetrySpec::default() };
            let tried = Tried { committed, attempts, fresh, up: fresh + 1, ..tried(Effect::Unsafe) };
            let fault = fault(kind, Sent::Maybe);
            let verdict = decide(&spec, &tried, &fault, &mut Budget::new(now), (now, draw));
            proptest::prop_assert!(!again(verdict));
        }
    }
}
