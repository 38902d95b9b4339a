//! Pure: what a second run of a request would do. Annotations of a server are claims: they count
//! only where the operator trusts them, and the operator's own word goes before them
//! (2026-07-28, server/tools, "Tool Annotations").

use crate::catalog::Hints;
use crate::fleet::Effect;
use crate::proto::Method;

/// What is known of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nature {
    /// What a second run would do.
    pub(super) effect: Effect,
    /// It may be asked a second time while it runs.
    pub(super) hedge: bool,
}

/// Of a request that calls no tool.
pub(super) fn of_method(method: Method) -> Nature {
    let effect = match method {
        Method::ResourcesRead
        | Method::PromptsGet
        | Method::Complete
        | Method::TasksGet
        | Method::TasksResult => Effect::ReadOnly,
        // Answers that a task has are ignored the second time (tasks extension, "Task Update").
        Method::TasksUpdate => Effect::Idempotent,
        _ => Effect::Unsafe,
    };
    Nature { effect, hedge: false }
}

/// Of a call of a tool. `operator` is the operator's word, `trusted` whether the server's counts,
/// `answers` whether the call carries the client's answers to questions of the server.
pub(super) fn of_tool(
    hints: Hints,
    operator: Option<Effect>,
    trusted: bool,
    answers: bool,
) -> Nature {
    let claimed = match (hints.read_only, hints.destructive, hints.idempotent) {
        // Reading and destroying at once: one of the two is wrong, and nobody knows which.
        (Some(true), Some(true), _) => Effect::Unsafe,
        (Some(true), _, _) => Effect::ReadOnly,
        (_, _, Some(true)) => Effect::Idempotent,
        _ => Effect::Unsafe,
    };
    let effect = operator.unwrap_or(if trusted { claimed } else { Effect::Unsafe });
    // What a server asked and was told belongs to one run.
    let effect = if answers { effect.max(Effect::Idempotent) } else { effect };
    let closed = operator.is_some() || hints.open_world == Some(false);
    Nature { effect, hedge: effect == Effect::ReadOnly && closed }
}

/// Why it is taken to be so, for explanations; `operator` = the operator said so.
pub(super) fn why(hints: Hints, operator: bool, trusted: bool) -> &'static str {
    match (hints.read_only, hints.destructive, hints.idempotent) {
        _ if operator => "tools.effect says so",
        _ if !trusted => {
            "what its server says of it is not trusted (trust_annotations = false), and tools.effect \
             does not name it"
        }
        (Some(true), Some(true), _) => "its server says that it reads and that it destroys",
        (Some(true), _, _) => "its server says so (readOnlyHint), and is trusted",
        (_, _, Some(true)) => "its server says so (idempotentHint), and is trusted",
        _ => "its server does not say that it could run twice",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hints(read_only: bool, destructive: Option<bool>, idempotent: bool) -> Hints {
        let said = |said: bool| said.then_some(true);
        Hints {
            read_only: said(read_only),
            destructive,
            idempotent: said(idempotent),
            open_world: Some(false),
        }
    }

    #[test]
    fn a_claim_counts_only_where_it_is_trusted_and_the_operator_goes_first() {
        use Effect::{Idempotent, ReadOnly, Unsafe};
        let reads = hints(true, None, false);
        let table = [
            (reads, None, false, Unsafe),
            (reads, None, true, ReadOnly),
            (hints(true, Some(true), true), None, true, Unsafe),
            (hints(false, Some(true), true), None, true, Idempotent),
            (hints(false, None, false), None, true, Unsafe),
            (Hints::default(), None, true, Unsafe),
            (reads, Some(Unsafe), true, Unsafe),
            (Hints::default(), Some(ReadOnly), false, ReadOnly),
        ];
        for (hints, operator, trusted, wanted) in table {
            let got = of_tool(hints, operator, trusted, false);
            assert_eq!(got.effect, wanted, "{hints:?} {operator:?} {trusted}");
        }
    }

    #[test]
    fn only_what_surely_reads_a_closed_world_is_asked_twice() {
        let reads = hints(true, None, false);
        assert!(of_tool(reads, None, true, false).hedge);
        let open = Hints { open_world: None, ..reads };
        assert!(!of_tool(open, None, true, false).hedge);
        assert!(of_tool(open, Some(Effect::ReadOnly), false, false).hedge);
        assert!(!of_tool(hints(false, None, true), None, true, false).hedge);
        let answering = of_tool(reads, None, true, true);
        assert_eq!((answering.effect, answering.hedge), (Effect::Idempotent, false));
        assert!(!of_method(Method::ResourcesRead).hedge);
        assert_eq!(of_method(Method::ResourcesRead).effect, Effect::ReadOnly);
        assert_eq!(of_method(Method::Other).effect, Effect::Unsafe);
    }
}
