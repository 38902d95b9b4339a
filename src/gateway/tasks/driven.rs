//! A tool that runs only as a task, for a client that has no tasks: the gateway makes the task,
//! follows it to its end within the call, and answers with its result. What the server says of its
//! state on the way is told as progress; what it asks, the client is asked. A call that is given up
//! cancels its task.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::base::{Fault, Kind, Sent, Tasks, clock, rng};
use crate::fleet::pool::{Answered, Pool};
use crate::fleet::spec::Isolation;
use crate::fleet::{Effect, Pace, Terms};
use crate::gateway::rewritten::Rewritten;
use crate::gateway::rounds::{self, Round, Unasked};
use crate::proto::Method;
use crate::proto::error::{ErrorBody, INTERNAL, error_message, result_message};
use crate::proto::extensions::{TASKS, declaring};
use crate::proto::scan::member;
use crate::upstream::{Caller, Done, Request, Told};

use super::words::{self, State};

type Tell<'t> = &'t mut (dyn FnMut(Told) + Send);

/// Longest wait for a task to be cancelled.
const CANCEL_WAIT: Duration = Duration::from_secs(5);

// === tasks of 2025-11-25 ===

/// A call of a legacy server's tool that runs only as a task.
pub(in crate::gateway) async fn required(
    tasks: &super::Tasks,
    pool: &Arc<Pool>,
    request: &Request<'_>,
    terms: &Terms<'_>,
    tell: Tell<'_>,
) -> Result<Answered, Fault> {
    let made = request.shape.params.map(|params| words::as_task(request.body, params));
    let made = made.and_then(Rewritten::new).ok_or_else(unwritten)?;
    let answered = pool.call(&made.about(request), terms, &mut *tell).await?;
    // A server that does not make a task of it has said what there is to say.
    let Some((own, done, at)) = made_task(&answered, words::CREATED_LEGACY) else {
        return Ok(answered);
    };
    let task = Followed::new(tasks, pool, request.caller.clone(), own, at);
    let state = member(done.result().unwrap_or_default(), "task").map(State::read);
    let done = task.result(state.unwrap_or_default(), request, terms, tell).await?;
    Ok(Answered::Done { done: words::unrelated(done), at, unsure: true })
}

/// What a call became, if that is a task: its server's name of it, the answer, and the place of the
/// replica that holds it.
fn made_task<'a>(answered: &'a Answered, path: &[&str]) -> Option<(String, &'a Done, usize)> {
    let Answered::Done { done, at, .. } = answered else { return None };
    Some((words::created(done, path)?, done, *at))
}

fn unwritten() -> Fault {
    Fault::gateway(Kind::Protocol, "a request about a task could not be written")
}

/// A task that is followed. Dropped before its end, it is cancelled.
struct Followed {
    pool: Arc<Pool>,
    caller: Caller,
    own: String,
    /// The place of the replica that holds it; `None` where a session has one of its own.
    pin: Option<usize>,
    pace: Arc<Pace>,
    runs: Tasks,
    over: bool,
}

impl Followed {
    fn new(tasks: &super::Tasks, pool: &Arc<Pool>, caller: Caller, own: String, at: usize) -> Self {
        let pin = (pool.spec().isolation == Isolation::Shared).then_some(at);
        let (pace, runs) = (Arc::clone(&tasks.pace), tasks.runs.clone());
        Self { pool: Arc::clone(pool), caller, own, pin, pace, runs, over: false }
    }

    fn message(&self, method: Method, more: &str) -> Result<Rewritten, Fault> {
        let text = words::request(rng::draw(), method.name(), &self.own, more);
        Rewritten::new(text).ok_or_else(unwritten)
    }

    /// Terms for requests about the task within a call that began at `since`.
    fn terms(&self, effect: Effect, since: Option<Instant>) -> Terms<'_> {
        Terms { effect, pin: self.pin, since, ..Terms::default() }
    }

    /// Asks the replica that holds it.
    async fn ask(&self, method: Method, more: &str, terms: &Terms<'_>) -> Result<Done, Fault> {
        let message = self.message(method, more)?;
        let request = message.named(&self.own, &self.caller);
        let answered = self.pool.call(&request, terms, |_| {}).await?;
        match answered {
            Answered::Done { done, .. } => Ok(done),
            Answered::Large(..) => Err(Fault::gateway(Kind::TooLarge, "the task is too large")),
        }
    }

    /// Waits for the result of the call, asks after the state meanwhile, and passes on what comes.
    async fn result(
        mut self,
        mut state: State,
        request: &Request<'_>,
        terms: &Terms<'_>,
        tell: Tell<'_>,
    ) -> Result<Done, Fault> {
        let message = self.message(Method::TasksResult, "")?;
        let asked = message.named(&self.own, &self.caller);
        let longest = self.pool.spec().timeout_max;
        let waits = Terms {
            // It waits for the task, not for the server.
            pace: Some(&self.pace),
            silence: Some(longest),
            ..self.terms(Effect::ReadOnly, terms.since)
        };
        let tell = Mutex::new(tell);
        let mut wait = Box::pin(self.pool.call(&asked, &waits, |told| (tell.lock())(told)));
        let mut told = Progress::default();
        let outcome = loop {
            if let Some(note) = told.of(&state, request.token()) {
                (tell.lock())(Told::Note(note));
            }
            let next = async {
                match request.token() {
                    Some(_) => tokio::time::sleep(state.poll).await,
                    None => std::future::pending().await,
                }
                let looks = self.terms(Effect::ReadOnly, None);
                self.ask(Method::TasksGet, "", &looks).await
            };
            tokio::select! {
                biased;
                outcome = &mut wait => break outcome,
                // One that does not say how it is doing may say its result all the same.
                found = next => if let Ok(done) = found {
                    state = State::read(done.result().unwrap_or_default());
                },
            }
        };
        drop(wait);
        let answered = outcome?;
        match answered {
            Answered::Done { done, .. } => {
                self.over = true;
                Ok(done)
            }
            Answered::Large(..) => Err(Fault::gateway(Kind::TooLarge, "the result is too large")),
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let Ok(message) = self.message(Method::TasksCancel, "") else { return };
        let (pool, own, pin) = (Arc::clone(&self.pool), std::mem::take(&mut self.own), self.pin);
        let caller = self.caller.clone();
        self.runs.spawn(async move {
            let terms = Terms { pin, ..Terms::default() };
            let request = message.named(&own, &caller);
            let cancelled = pool.call(&request, &terms, |_| {});
            let outcome = tokio::time::timeout(CANCEL_WAIT, cancelled).await;
            tracing::debug!(?outcome, "cancelled a task whose call was given up");
        });
    }
}

/// What was told of a task so far.
#[derive(Default)]
struct Progress {
    last: Option<(String, Option<String>)>,
    steps: u32,
}

impl Progress {
    /// What is to be told of this state to a client with this token: nothing twice.
    fn of(&mut self, state: &State, token: Option<&[u8]>) -> Option<Bytes> {
        let now = (state.status.clone(), state.message.clone());
        if self.last.as_ref() == Some(&now) {
            return None;
        }
        self.last = Some(now);
        self.steps += 1;
        token.map(|token| state.progress(token, self.steps))
    }
}

// === tasks of the extension ===

/// A call of a modern server's tool that runs only as a task, for a legacy client: the server
/// refused it, because the client does not declare the extension. Nothing ran.
pub(in crate::gateway) async fn extension(
    tasks: &super::Tasks,
    pool: &Arc<Pool>,
    request: &Request<'_>,
    terms: &Terms<'_>,
    tell: Tell<'_>,
) -> Result<Result<Answered, Fault>, Unasked> {
    let capabilities = Bytes::from(declaring(&request.caller.capabilities, TASKS));
    let caller = Caller { capabilities, ..request.caller.clone() };
    let request = Request { caller: &caller, ..*request };
    let answered = match pool.call(&request, terms, &mut *tell).await {
        Ok(Answered::Done { done, .. }) if done.asks() => {
            rounds::carry(pool, &request, terms, done, &mut *tell).await?
        }
        answered => answered,
    };
    let made = answered.as_ref().ok().and_then(|answered| made_task(answered, words::STATE));
    let Some((own, done, at)) = made.filter(|(_, done, _)| !done.is_complete()) else {
        return Ok(answered);
    };
    let state = State::read(done.result().unwrap_or_default());
    let task = Followed::new(tasks, pool, caller.clone(), own, at);
    let done = task.end(state, &request, terms, tell).await?;
    Ok(done.map(|done| Answered::Done { done, at, unsure: true }))
}

impl Followed {
    /// Asks after the task until it is over, and passes on what it asks.
    async fn end(
        mut self,
        mut state: State,
        request: &Request<'_>,
        terms: &Terms<'_>,
        tell: Tell<'_>,
    ) -> Result<Result<Done, Fault>, Unasked> {
        let mut deadline = terms.since.unwrap_or_else(clock::now) + self.pool.spec().timeout_max;
        let (mut told, mut answered) = (Progress::default(), HashSet::new());
        loop {
            if let Some(note) = told.of(&state, request.token()) {
                tell(Told::Note(note));
            }
            tokio::time::sleep(state.poll).await;
            if clock::now() >= deadline {
                let seconds = self.pool.spec().timeout_max.as_secs_f32();
                let text = format!("the task did not end within {seconds} s");
                return Ok(Err(Fault::upstream(Kind::Timeout, Sent::Maybe, text)));
            }
            let looks = self.terms(Effect::ReadOnly, None);
            let done = match self.ask(Method::TasksGet, "", &looks).await {
                Ok(done) => done,
                Err(fault) => return Ok(Err(Fault { sent: Sent::Maybe, ..fault })),
            };
            // An error says that it is gone: the call ends with it.
            let Some(result) = done.result() else {
                self.over = true;
                return Ok(Ok(done));
            };
            state = State::read(result);
            if state.is_over() {
                self.over = true;
                return Ok(ended(&state, result).ok_or_else(|| {
                    Fault::upstream(Kind::Protocol, Sent::Maybe, "the task ended without a result")
                }));
            }
            if state.status != "input_required" {
                continue;
            }
            let mut round = Round::of(std::str::from_utf8(result).unwrap_or("{}"))?;
            round.forget(&answered);
            if round.is_empty() {
                continue; // the server has not seen the answers yet
            }
            let began = clock::now();
            let answers = round.put(request.caller.abilities, &mut *tell).await?;
            deadline += clock::now() - began;
            answered.extend(answers.iter().map(|(key, _)| key.clone()));
            let more = format!(",{}", rounds::input_responses(&answers));
            let brings = self.terms(Effect::Idempotent, None);
            match self.ask(Method::TasksUpdate, &more, &brings).await {
                Ok(done) if done.result().is_none() => return Ok(Ok(done)),
                Ok(_) => {}
                Err(fault) => return Ok(Err(Fault { sent: Sent::Maybe, ..fault })),
            }
        }
    }
}

/// The answer of a call whose task is over; `None` if the server does not say it.
fn ended(state: &State, result: &[u8]) -> Option<Done> {
    let inner = |name: &str| member(result, name).filter(|raw| raw.first() == Some(&b'{'));
    let message = match state.status.as_str() {
        "completed" => result_message(b"0", inner("result")?),
        "failed" => error_message(b"0", inner("error")?),
        "cancelled" => {
            let why = state.message.as_deref().unwrap_or("its server does not say why");
            let text = format!("the task of the call was cancelled: {why}");
            ErrorBody::new(INTERNAL, text).message(Some(b"0"))
        }
        _ => return None,
    };
    words::answer(message.into(), 200)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(text: &str) -> Option<String> {
        let end = ended(&State::read(text.as_bytes()), text.as_bytes())?;
        Some(String::from_utf8(end.message.to_vec()).unwrap())
    }

    #[test]
    fn a_task_that_is_over_answers_its_call() {
        assert_eq!(over(r#"{"status":"working"}"#), None);
        assert_eq!(over(r#"{"status":"input_required","inputRequests":{}}"#), None);
        let completed = over(r#"{"status":"completed","result":{"content":[],"n":1e2}}"#);
        let answer = r#"{"jsonrpc":"2.0","id":0,"result":{"content":[],"n":1e2}}"#;
        assert_eq!(completed.as_deref(), Some(answer));
        let failed = over(r#"{"status":"failed","error":{"code":-32000,"message":"m"}}"#);
        let answer = r#"{"jsonrpc":"2.0","id":0,"error":{"code":-32000,"message":"m"}}"#;
        assert_eq!(failed.as_deref(), Some(answer));
        let cancelled = over(r#"{"status":"cancelled","statusMessage":"no room"}"#);
        assert!(cancelled.unwrap().contains("cancelled: no room"));
        assert_eq!(over(r#"{"status":"completed"}"#), None);
    }

    #[test]
    fn nothing_is_told_twice() {
        let mut told = Progress::default();
        let state = |message: &str| State {
            status: "working".to_owned(),
            message: Some(message.to_owned()),
            ..State::default()
        };
        assert!(told.of(&state("a"), Some(b"1")).is_some());
        assert!(told.of(&state("a"), Some(b"1")).is_none());
        assert!(told.of(&state("b"), None).is_none(), "nobody wants it");
        let third = told.of(&state("c"), Some(b"1")).unwrap();
        assert!(third.windows(12).any(|w| w == br#""progress":3"#));
    }
}
