//! Pure: which step may stand in for a call that failed. What a second run would do and whether the
//! first one may have happened decide, as they do over repetitions: nothing that may have run is
//! run elsewhere, and no answer of ours hides that it may have.

use crate::base::{Fault, Kind, Sent, Side};
use crate::fleet::Effect;
use crate::gateway::spec::FallbackSpec;

/// A step of a fallback, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Another tool answers.
    Tool,
    /// The last good result.
    Cache,
    /// The text of the configuration.
    Static,
}

impl Step {
    /// Its word: `source` in answers, `step` in metrics and traces.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Cache => "cache",
            Self::Static => "static",
        }
    }
}

/// What is known of a call that failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed {
    /// What a second run of it would do.
    pub(super) effect: Effect,
    /// Its client was told something before it failed.
    pub(super) committed: bool,
    /// It carries the client's answers to questions of the upstream, which are for nobody else.
    pub(super) answers: bool,
}

/// The first step behind `after` that may be taken; `None` = the honest error.
pub(super) fn next(
    fallback: &FallbackSpec,
    failed: Failed,
    fault: &Fault,
    after: Option<Step>,
) -> Option<Step> {
    if !is_away(fault) {
        return None;
    }
    let reads = failed.effect == Effect::ReadOnly;
    let may = |step: &Step| match step {
        Step::Tool => {
            let alone = !failed.committed && !failed.answers;
            fallback.stand_in.is_some() && alone && (reads || fault.sent == Sent::No)
        }
        Step::Cache => fallback.cached.is_some() && reads,
        Step::Static => fallback.text.is_some() && (reads || fault.sent != Sent::Maybe),
    };
    let behind = |step: &Step| after.is_none_or(|after| *step > after);
    [Step::Tool, Step::Cache, Step::Static].into_iter().filter(behind).find(may)
}

/// Whether a fault says that the upstream is away, and not that something is wrong with the call.
pub(super) fn is_away(fault: &Fault) -> bool {
    if fault.side == Side::Client {
        return false;
    }
    match fault.kind {
        Kind::Connect
        | Kind::Closed
        | Kind::Timeout
        | Kind::Protocol
        | Kind::Overloaded
        | Kind::RateLimited
        | Kind::NoReplica => true,
        // It refuses us, or has trouble; other words of this class are about the request.
        Kind::Status(code) => code >= 500 || matches!(code, 401 | 403 | 404 | 408 | 429),
        // The client must know that what it has built up is gone; the others are its own doing.
        Kind::SessionLost | Kind::StateLost | Kind::TooLarge | Kind::Cancelled => false,
    }
}

/// How the call of another tool ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stood {
    /// It brought a result.
    Result,
    /// It failed, and has surely not run.
    NotRun,
    /// It wants something of the client first.
    Unfinished,
    /// It failed, and may have run.
    MayHaveRun,
}

/// What follows when the other tool has been asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Its answer is the answer of the call.
    Answer,
    /// The next step.
    Next,
}

/// Whether the answer of another tool is the end. One that writes and may have run there is: its
/// client must not be told that nothing was sent.
pub(super) fn settles(effect: Effect, stood: Stood) -> Then {
    match stood {
        Stood::NotRun | Stood::Unfinished => Then::Next,
        Stood::MayHaveRun if effect == Effect::ReadOnly => Then::Next,
        Stood::Result | Stood::MayHaveRun => Then::Answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::spec::StandIn;
    use crate::proto::mapping::Mapping;
    use Effect::{Idempotent, ReadOnly, Unsafe};
    use std::time::Duration;

    fn whole() -> FallbackSpec {
        FallbackSpec {
            exposed: "a__x".to_owned(),
            stand_in: Some(StandIn { tool: "b__x".to_owned(), mapping: Mapping::default() }),
            cached: Some(Duration::from_secs(1)),
            text: Some("x".to_owned()),
        }
    }

    fn fault(kind: Kind, sent: Sent) -> Fault {
        Fault::upstream(kind, sent, "x")
    }

    /// All steps that are taken one after the other.
    fn way(fallback: &FallbackSpec, failed: Failed, fault: &Fault) -> Vec<Step> {
        let mut way: Vec<Step> = Vec::new();
        while let Some(step) = next(fallback, failed, fault, way.last().copied()) {
            way.push(step);
        }
        way
    }

    fn plain(effect: Effect) -> Failed {
        Failed { effect, committed: false, answers: false }
    }

    #[test]
    fn effect_against_delivery_against_steps() {
        use Step::{Cache, Static, Tool};
        let table: [(Effect, Sent, &[Step]); 9] = [
            (ReadOnly, Sent::No, &[Tool, Cache, Static]),
            (ReadOnly, Sent::Rejected, &[Tool, Cache, Static]),
            (ReadOnly, Sent::Maybe, &[Tool, Cache, Static]),
            (Idempotent, Sent::No, &[Tool, Static]),
            (Idempotent, Sent::Rejected, &[Static]),
            (Idempotent, Sent::Maybe, &[]),
            (Unsafe, Sent::No, &[Tool, Static]),
            (Unsafe, Sent::Rejected, &[Static]),
            (Unsafe, Sent::Maybe, &[]),
        ];
        for (effect, sent, wanted) in table {
            for kind in [Kind::Connect, Kind::Closed, Kind::Timeout, Kind::Status(503)] {
                let got = way(&whole(), plain(effect), &fault(kind, sent));
                assert_eq!(got, wanted, "{effect:?} {sent:?} {kind:?}");
            }
        }
    }

    #[test]
    fn only_what_is_declared_is_done() {
        let unsent = fault(Kind::NoReplica, Sent::No);
        let all = [Step::Tool, Step::Cache, Step::Static];
        for bits in 0..8_u8 {
            let on = |bit: u8| bits & (1 << bit) != 0;
            let fallback = FallbackSpec {
                exposed: String::new(),
                stand_in: whole().stand_in.filter(|_| on(0)),
                cached: whole().cached.filter(|_| on(1)),
                text: whole().text.filter(|_| on(2)),
            };
            let wanted: Vec<Step> =
                (0..3_u8).filter(|bit| on(*bit)).map(|bit| all[usize::from(bit)]).collect();
            assert_eq!(way(&fallback, plain(ReadOnly), &unsent), wanted, "{bits:03b}");
        }
    }

    #[test]
    fn what_was_begun_with_a_client_is_not_begun_with_another_tool() {
        let unsent = fault(Kind::Connect, Sent::No);
        let rest = [Step::Cache, Step::Static];
        let committed = Failed { committed: true, ..plain(ReadOnly) };
        let answers = Failed { answers: true, ..plain(ReadOnly) };
        assert_eq!(way(&whole(), committed, &unsent), rest);
        assert_eq!(way(&whole(), answers, &unsent), rest);
    }

    #[test]
    fn only_an_upstream_that_is_away_is_stood_in_for() {
        let away = [
            Kind::Connect,
            Kind::Closed,
            Kind::Timeout,
            Kind::Protocol,
            Kind::Overloaded,
            Kind::NoReplica,
            Kind::Status(401),
            Kind::Status(429),
            Kind::Status(500),
            Kind::Status(503),
        ];
        let not = [
            Kind::Cancelled,
            Kind::TooLarge,
            Kind::SessionLost,
            Kind::StateLost,
            Kind::Status(400),
            Kind::Status(413),
        ];
        for kind in away {
            assert!(!way(&whole(), plain(ReadOnly), &fault(kind, Sent::No)).is_empty(), "{kind:?}");
        }
        for kind in not {
            assert!(way(&whole(), plain(ReadOnly), &fault(kind, Sent::No)).is_empty(), "{kind:?}");
        }
        let left = Fault { side: Side::Client, ..fault(Kind::Closed, Sent::Maybe) };
        assert!(way(&whole(), plain(ReadOnly), &left).is_empty());
    }

    #[test]
    fn a_write_that_may_have_run_elsewhere_is_told() {
        for effect in [ReadOnly, Idempotent, Unsafe] {
            assert_eq!(settles(effect, Stood::Result), Then::Answer);
            assert_eq!(settles(effect, Stood::NotRun), Then::Next);
            assert_eq!(settles(effect, Stood::Unfinished), Then::Next);
            let wanted = if effect == ReadOnly { Then::Next } else { Then::Answer };
            assert_eq!(settles(effect, Stood::MayHaveRun), wanted);
        }
    }
}
