//! What happened to one call, try by try, for a client that asked to be told. A call that did not
//! ask carries none, and pays nothing.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::attempt::Got;
use super::retry::Verdict;
use crate::base::{Fault, ReplicaName};
use crate::proto::answer::{Body, ResultKind};
use crate::upstream::Done;

/// Most steps that are kept; a call has at most 20 tries, and a second one beside each.
pub const STEPS_MAX: usize = 64;

/// What happened to one call.
#[derive(Debug)]
pub struct Trace {
    began: Instant,
    steps: Mutex<Vec<Step>>,
}

/// One try at one replica.
#[derive(Clone, Debug)]
pub struct Step {
    place: usize,
    /// The replica.
    pub replica: ReplicaName,
    /// Why it was chosen.
    pub why: Cow<'static, str>,
    /// When it began, counted from the start of the call.
    pub began: Duration,
    /// How long it took; `None` if its end was not waited for.
    pub took: Option<Duration>,
    /// How it ended.
    pub end: Option<End>,
    /// Whether the call was sent again after it; `None` after an answer.
    pub next: Option<Verdict>,
}

/// How a try ended.
#[derive(Clone, Debug)]
pub enum End {
    /// By an answer.
    Answered(Answer),
    /// By a failure.
    Failed(Fault),
}

/// What kind of answer it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A result.
    Result,
    /// A result whose `isError` is true.
    ToolError,
    /// The server needs input first.
    InputRequired,
    /// An error with this code.
    Error(i64),
    /// A large result began to come in.
    Large,
}

impl Answer {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Result => "result",
            Self::ToolError => "tool_error",
            Self::InputRequired => "input_required",
            Self::Error(_) => "error",
            Self::Large => "large_result",
        }
    }

    fn of(done: &Done) -> Self {
        match &done.answer.body {
            Body::Error(error) => Self::Error(error.code),
            Body::Result(parts) if parts.is_error => Self::ToolError,
            Body::Result(parts) => match parts.kind(&done.message) {
                ResultKind::InputRequired => Self::InputRequired,
                ResultKind::Complete | ResultKind::Other => Self::Result,
            },
        }
    }
}

impl Trace {
    /// A call begins.
    pub fn new(now: Instant) -> Self {
        Self { began: now, steps: Mutex::default() }
    }

    /// The tries so far.
    pub fn steps(&self) -> Vec<Step> {
        self.steps.lock().clone()
    }

    /// How long the call has taken so far.
    pub fn took(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }

    /// A replica was chosen for a try, which begins.
    pub(super) fn chosen(
        &self,
        place: usize,
        replica: &ReplicaName,
        why: Cow<'static, str>,
        now: Instant,
    ) {
        let mut steps = self.steps.lock();
        if steps.len() < STEPS_MAX {
            let (began, replica) = (self.took(now), replica.clone());
            steps.push(Step { place, replica, why, began, took: None, end: None, next: None });
        }
    }

    /// The try at this place ended.
    pub(super) fn ended(&self, place: usize, outcome: &Result<Got, Fault>, now: Instant) {
        let end = match outcome {
            Ok(Got::Done(done)) => End::Answered(Answer::of(done)),
            Ok(Got::Large(..)) => End::Answered(Answer::Large),
            Err(fault) => End::Failed(fault.clone()),
        };
        let passed = self.took(now);
        let mut steps = self.steps.lock();
        if let Some(step) = steps.iter_mut().rev().find(|s| s.place == place && s.end.is_none()) {
            step.took = Some(passed.saturating_sub(step.began));
            step.end = Some(end);
        }
    }

    /// What was decided after the try at this place, which failed.
    pub(super) fn decided(&self, place: usize, verdict: Verdict) {
        if let Some(step) = self.steps.lock().iter_mut().rev().find(|step| step.place == place) {
            step.next = Some(verdict);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Kind, Sent, clock};
    use crate::fleet::retry::Refusal;

    #[test]
    fn each_try_keeps_its_own_end_and_there_is_a_bound() {
        let (start, name) = (clock::now(), |name| ReplicaName::new(name).unwrap());
        let trace = Trace::new(start);
        let at = |millis| start + Duration::from_millis(millis);
        trace.chosen(0, &name("a"), "first".into(), at(1));
        trace.chosen(1, &name("b"), "beside".into(), at(5));
        let fault = Fault::upstream(Kind::Connect, Sent::No, "x");
        trace.ended(0, &Err(fault), at(7));
        trace.decided(0, Verdict::Surface(Refusal::Nobody));
        let steps = trace.steps();
        let millis = |step: &Step| (step.began.as_millis(), step.took.map(|took| took.as_millis()));
        assert_eq!((millis(&steps[0]), millis(&steps[1])), ((1, Some(6)), (5, None)));
        assert!(matches!(&steps[0].end, Some(End::Failed(fault)) if fault.kind == Kind::Connect));
        assert!(steps[1].end.is_none() && steps[1].next.is_none());
        (0..200).for_each(|_| trace.chosen(2, &name("c"), Cow::default(), at(9)));
        assert_eq!(trace.steps().len(), STEPS_MAX);
    }
}
