//! One try at one replica: start the exchange, wait for what comes, and tell what
//! became of it.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::admit::{Place, Seat};
use super::breaker::Pass;
use super::checks::{Age, Checks, HANG_SILENCE};
use super::member::Member;
use super::outcome::Outcome;
use super::pace::Pace;
use super::pool::Pool;
use super::private::Pinned;
use crate::base::{Fault, Kind, Sent, clock};
use crate::upstream::large::Large;
use crate::upstream::lobby::Mailbox;
use crate::upstream::replica::{Beside, Live};
use crate::upstream::{Done, Exchange, Frame, Request, Told};

/// A call waits so long for its client to answer a question.
pub const INPUT_WAIT: Duration = Duration::from_mins(10);

/// How often the answer of a legacy server behind a URL lets others go first that may hold its log
/// messages.
const OUTSIDE_TURNS: usize = 8;
/// What a legacy server logs on its standing stream may come so long after the answer of the call
/// it belongs to. Waited for only where a modern client wants log messages of such a server.
const LATE_LOGS: Duration = Duration::from_millis(50);

/// A call that was answered.
#[derive(Debug)]
pub enum Answered {
    /// The whole answer.
    Done {
        /// The answer.
        done: Done,
        /// The place of the replica that gave it.
        at: usize,
        /// An attempt before the one that was answered may have run too.
        unsure: bool,
    },
    /// The beginning of a large one, and what is held until its end.
    Large(Large, Held),
}

/// What a large answer holds until its end: its places at the upstream and at the replica.
#[derive(Debug)]
pub struct Held {
    flight: Flight,
    _places: (Place, Seat, Option<Pinned>),
    /// Longest time without a byte of it.
    pub silence: Duration,
}

impl Held {
    pub(super) fn new(
        flight: Flight,
        places: (Place, Seat, Option<Pinned>),
        silence: Duration,
    ) -> Self {
        Self { flight, _places: places, silence }
    }

    /// The answer has come to its end, or broke off.
    pub fn ended(&mut self, how: Result<(), &Fault>) {
        let outcome = how.map_or_else(Outcome::of_fault, |()| Outcome::RESULT);
        self.flight.end(&outcome, how.is_ok());
    }
}

/// What one try brought.
#[derive(Debug)]
pub(super) enum Got {
    Done(Done),
    Large(Large, Flight),
}

/// What a try is made with.
pub(super) struct Try<'a> {
    pub(super) pool: &'a Arc<Pool>,
    pub(super) member: &'a Arc<Member>,
    /// Of a call that holds the lease of a probing gate; else it is taken when the call begins.
    pub(super) lease: Option<Pass>,
    pub(super) pace: &'a Arc<Pace>,
    pub(super) request: &'a Request<'a>,
    /// Longest time without a sign of life.
    pub(super) silence: Duration,
    pub(super) deadline: Instant,
}

impl Try<'_> {
    /// Runs it. `tell` gets what comes before the answer.
    pub(super) async fn run(&self, tell: &mut (dyn FnMut(Told) + Send)) -> Result<Got, Fault> {
        let replica = &self.member.replica;
        let live = replica.live().ok_or_else(|| self.pool.nobody())?;
        live.log_at_least(self.request.caller.log_level).await;
        let mut beside = live.seat(self.request);
        let pass = self.lease.unwrap_or_else(|| self.member.pass());
        let mut flight = Flight::start(self.pool, self.member, self.pace, pass);
        let begun = live.begin(self.request);
        let outcome = match begun {
            Ok(mut exchange) => self.follow(&mut exchange, &mut beside, flight.began, tell).await,
            Err(fault) => Err(fault),
        };
        if outcome.as_ref().err().is_none_or(|fault| fault.sent == Sent::No) {
            beside.over();
        }
        match outcome {
            Ok(Frame::Large(large)) => Ok(Got::Large(large, flight)),
            Ok(Frame::Done(done)) => {
                flight.end(&Outcome::of_answer(&done), true);
                logs_first(&live, beside.mail.as_deref(), tell).await;
                if done.status >= 400 {
                    // It refuses our way of asking: another server may stand there now.
                    replica.doubt();
                }
                Ok(Got::Done(done))
            }
            Ok(Frame::Note(_) | Frame::Ask(_) | Frame::Alive | Frame::Away(_)) => {
                Err(self.pool.nobody())
            }
            Err(fault) => {
                flight.end(&Outcome::of_fault(&fault), false);
                if doubtful(&fault) {
                    replica.doubt();
                }
                Err(self.named(&fault))
            }
        }
    }

    /// Waits for the end of an exchange, or for the beginning of its large answer.
    async fn follow(
        &self,
        exchange: &mut Exchange,
        beside: &mut Beside,
        start: Instant,
        tell: &mut (dyn FnMut(Told) + Send),
    ) -> Result<Frame, Fault> {
        // While its client thinks, the upstream is not slow, and the call's time stands still.
        let patience = clock::now() + INPUT_WAIT;
        let mut deadline = self.deadline;
        let mut checks = Checks::new(start, self.pace.p99());
        loop {
            let (mut began, awaits) = (clock::now(), exchange.awaits_client());
            let (frame, thinking) = {
                // Never dropped half-way: what it has taken out of the connection would be lost.
                let mut next = pin!(exchange.next());
                loop {
                    let thinking = awaits || beside.awaits_client();
                    let last = if thinking { patience } else { deadline };
                    let limit = (began + self.silence).min(last);
                    let due = if thinking { limit } else { checks.due().min(limit) };
                    tokio::select! {
                        biased;
                        frame = &mut next => break (Some(frame), thinking),
                        told = beside.next() => {
                            tell(told);
                            // A sign of life; and time is the client's only while it was asked.
                            let now = clock::now();
                            if thinking {
                                deadline += now - began;
                            }
                            began = now;
                        }
                        () = tokio::time::sleep_until(due.into()) => {
                            let now = clock::now();
                            if now >= limit {
                                break (None, thinking);
                            }
                            self.check(checks.pass(now), now - began);
                        }
                    }
                }
            };
            if thinking {
                deadline += clock::now() - began;
            }
            let frame = match frame {
                Some(frame) => frame?,
                None if thinking && clock::now() < patience => continue,
                None => return Err(self.silence(deadline)),
            };
            match frame {
                Frame::Note(bytes) => tell(Told::Note(bytes)),
                Frame::Ask(ask) => tell(Told::Ask(ask)),
                Frame::Away(wait) => tell(Told::Away(wait)),
                Frame::Alive => {}
                Frame::Done(_) | Frame::Large(_) => return Ok(frame),
            }
            checks.alive(clock::now());
        }
    }

    /// The call is older than most, and was silent for so long.
    fn check(&self, age: Age, silent: Duration) {
        let member = self.member;
        member.vital.load.at_least(age.relative(self.pace), clock::now());
        member.replica.doubt();
        if age.may_hang && silent >= HANG_SILENCE && member.replica.is_suspect() {
            self.pool.hangs(member);
        }
    }

    fn silence(&self, deadline: Instant) -> Fault {
        let spec = &self.pool.spec;
        let message = if clock::now() >= deadline {
            format!("no answer within {} s in all", spec.timeout_max.as_secs_f32())
        } else {
            format!("no sign of life for {} s", self.silence.as_secs_f32())
        };
        Fault::upstream(Kind::Timeout, Sent::Maybe, message)
    }

    fn named(&self, fault: &Fault) -> Fault {
        let message = format!("{}: {}", self.pool.upstream, fault.message).into();
        Fault { message, ..fault.clone() }
    }
}

/// Log messages that a server writes beside the stream of a call were written before its answer:
/// whoever holds them goes first.
async fn logs_first(live: &Live, mail: Option<&Mailbox>, tell: &mut (dyn FnMut(Told) + Send)) {
    if live.logs_outside() {
        for _ in 0..OUTSIDE_TURNS {
            tokio::task::yield_now().await;
        }
    }
    if let Some(mail) = mail {
        let late = |log| tell(Told::Note(log));
        drop(tokio::time::timeout(LATE_LOGS, mail.drain(late)).await);
    }
}

/// Whether a fault says something about the replica that its keeper should look into at once.
fn doubtful(fault: &Fault) -> bool {
    match fault.kind {
        Kind::Connect | Kind::SessionLost | Kind::Closed | Kind::Protocol => true,
        Kind::Status(status) => (400..500).contains(&status) && status != 429,
        _ => false,
    }
}

/// A request while it is in flight at a replica; one that is dropped was given up.
#[derive(Debug)]
pub(super) struct Flight {
    pool: Arc<Pool>,
    member: Arc<Member>,
    pace: Arc<Pace>,
    pass: Pass,
    began: Instant,
    over: bool,
}

impl Flight {
    fn start(pool: &Arc<Pool>, member: &Arc<Member>, pace: &Arc<Pace>, pass: Pass) -> Self {
        member.vital.load.begin();
        member.replica.meters.inflight.increment(1.0);
        let (pool, member, pace) = (Arc::clone(pool), Arc::clone(member), Arc::clone(pace));
        Self { pool, member, pace, pass, began: clock::now(), over: false }
    }

    /// It came to its end: an answer, or none.
    fn end(&mut self, outcome: &Outcome, answered: bool) {
        if self.over {
            return;
        }
        self.over = true;
        let took = clock::now() - self.began;
        let meters = &self.member.replica.meters;
        if answered { &meters.answered } else { &meters.failed }.increment(1);
        meters.duration.record(took.as_secs_f64());
        self.pool.settle(&self.member, outcome, (self.pass, took), &self.pace);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.member.vital.load.end();
        self.member.replica.meters.inflight.decrement(1.0);
        if !self.over {
            self.member.replica.meters.given_up.increment(1);
            let took = clock::now() - self.began;
            self.pool.settle(&self.member, &Outcome::GIVEN_UP, (self.pass, took), &self.pace);
        }
    }
}
