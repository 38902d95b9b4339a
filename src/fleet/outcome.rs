//! Pure: what came of an attempt says what about the replica. One table, so that no controller
//! judges on its own.

use std::time::Duration;

use crate::base::{Fault, Kind, Side};
use crate::proto::answer::{Body, ResultKind};
use crate::proto::error::INTERNAL;
use crate::upstream::Done;

/// Longest rest that a server may ask for.
pub const REST_MAX: Duration = Duration::from_mins(5);

/// What an attempt says to the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// The replica answered: it is well, whatever the answer says.
    Good,
    /// It answered that it is not well. Too often the arguments of a call are the cause for it to
    /// count as a failure of the server.
    Soft,
    /// It did not answer.
    Hard,
    /// It broke the protocol.
    Protocol,
    /// Nothing: the client gave up, or the attempt never left us.
    Nothing,
}

/// What an attempt says of the latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// It took so long.
    Took,
    /// It took at least so long.
    AtLeast,
    /// It failed fast, which must not look like speed.
    Penalty,
    /// Nothing: the work was of another kind.
    Nothing,
}

/// What an attempt says about the replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// To the breaker.
    pub signal: Signal,
    /// To the balancer.
    pub sample: Sample,
    /// It earns the right to a part of a retry.
    pub earns: bool,
    /// The server asked for a rest.
    pub rest: Option<Duration>,
    /// The connection or the child ended under it, and with that perhaps many calls at once.
    pub broke: bool,
}

impl Outcome {
    const fn new(signal: Signal, sample: Sample) -> Self {
        Self { signal, sample, earns: false, rest: None, broke: false }
    }

    /// The client gave up: its impatience is not the replica's fault.
    pub const GIVEN_UP: Self = Self::new(Signal::Nothing, Sample::AtLeast);

    /// An answer.
    pub fn of_answer(done: &Done) -> Self {
        match &done.answer.body {
            Body::Result(parts) => match parts.kind(&done.message) {
                ResultKind::Complete => Self::RESULT,
                ResultKind::InputRequired | ResultKind::Other => {
                    Self { earns: true, ..Self::new(Signal::Good, Sample::Nothing) }
                }
            },
            Body::Error(error) if error.code == INTERNAL || done.status == 500 => {
                Self::new(Signal::Soft, Sample::Penalty)
            }
            Body::Error(_) => Self::new(Signal::Good, Sample::Nothing),
        }
    }

    /// A result, good or `isError`.
    pub const RESULT: Self = Self { earns: true, ..Self::new(Signal::Good, Sample::Took) };

    /// A failure.
    pub fn of_fault(fault: &Fault) -> Self {
        if fault.side != Side::Upstream {
            return Self::new(Signal::Nothing, Sample::Nothing);
        }
        let rest = fault.retry_after.map(|wait| wait.min(REST_MAX));
        match fault.kind {
            Kind::Status(429) => Self { rest, ..Self::new(Signal::Soft, Sample::Penalty) },
            Kind::Status(503) if rest.is_some() => {
                Self { rest, ..Self::new(Signal::Soft, Sample::Penalty) }
            }
            Kind::Status(500) => Self::new(Signal::Soft, Sample::Penalty),
            Kind::Status(400..=499) | Kind::SessionLost => Self::new(Signal::Good, Sample::Nothing),
            Kind::Closed => Self { broke: true, ..Self::new(Signal::Hard, Sample::Penalty) },
            Kind::Connect | Kind::Status(_) => Self::new(Signal::Hard, Sample::Penalty),
            Kind::Timeout => Self::new(Signal::Hard, Sample::AtLeast),
            Kind::Protocol | Kind::TooLarge => Self::new(Signal::Protocol, Sample::Nothing),
            Kind::Overloaded
            | Kind::RateLimited
            | Kind::NoReplica
            | Kind::StateLost
            | Kind::Cancelled => Self::new(Signal::Nothing, Sample::Nothing),
        }
    }

    /// Whether it counts as a failure of the replica.
    pub fn failed(&self) -> bool {
        matches!(self.signal, Signal::Soft | Signal::Hard | Signal::Protocol)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::base::Sent;
    use crate::proto::answer::{Incoming, read};

    fn answer(text: &str, status: u16) -> Outcome {
        let message = Bytes::from(text.to_owned());
        let Ok(Incoming::Answer(answer)) = read(&message) else { panic!("no answer: {text}") };
        Outcome::of_answer(&Done { message, answer, status })
    }

    #[test]
    fn an_answer_is_never_the_servers_fault_but_for_the_one_that_says_so() {
        let result =
            |inner: &str| answer(&format!(r#"{{"jsonrpc":"2.0","id":1,"result":{inner}}}"#), 200);
        let error = |code: i64| {
            answer(
                &format!(r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":{code},"message":"m"}}}}"#),
                200,
            )
        };
        let good = |sample, earns| Outcome { earns, ..Outcome::new(Signal::Good, sample) };
        assert_eq!(result(r#"{"content":[]}"#), good(Sample::Took, true));
        assert_eq!(result(r#"{"content":[],"isError":true}"#), good(Sample::Took, true));
        assert_eq!(result(r#"{"resultType":"input_required"}"#), good(Sample::Nothing, true));
        assert_eq!(result(r#"{"resultType":"task"}"#), good(Sample::Nothing, true));
        for code in [-32602, -32601, -32600, -32002, -32020, -32021, -32022, -32000, 7] {
            assert_eq!(error(code), good(Sample::Nothing, false), "{code}");
        }
        assert_eq!(error(-32603), Outcome::new(Signal::Soft, Sample::Penalty));
    }

    #[test]
    fn failures_count_as_the_table_says() {
        let of = |kind, wait: Option<u64>| {
            let wait = wait.map(Duration::from_secs);
            Outcome::of_fault(&Fault::upstream(kind, Sent::Maybe, "x").retry_after(wait))
        };
        let closed = Outcome { broke: true, ..Outcome::new(Signal::Hard, Sample::Penalty) };
        assert_eq!(of(Kind::Closed, None), closed);
        for kind in [Kind::Connect, Kind::Status(502), Kind::Status(503), Kind::Status(504)] {
            assert_eq!(of(kind, None), Outcome::new(Signal::Hard, Sample::Penalty), "{kind:?}");
        }
        assert_eq!(of(Kind::Timeout, None), Outcome::new(Signal::Hard, Sample::AtLeast));
        for kind in [Kind::Protocol, Kind::TooLarge] {
            assert_eq!(of(kind, None).signal, Signal::Protocol);
        }
        let resting = of(Kind::Status(503), Some(900));
        assert_eq!((resting.signal, resting.rest), (Signal::Soft, Some(REST_MAX)));
        assert_eq!(of(Kind::Status(429), None).signal, Signal::Soft);
        assert_eq!(of(Kind::Status(500), None).signal, Signal::Soft);
        for status in [400, 401, 403, 404, 413] {
            assert_eq!(of(Kind::Status(status), None).signal, Signal::Good, "{status}");
        }
        assert_eq!(of(Kind::SessionLost, None).signal, Signal::Good);
        let ours = Outcome::of_fault(&Fault::gateway(Kind::Timeout, "x"));
        assert_eq!((ours.signal, ours.sample), (Signal::Nothing, Sample::Nothing));
        assert_eq!(Outcome::GIVEN_UP.signal, Signal::Nothing);
    }
}
