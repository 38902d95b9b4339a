//! The try loop of one call: choose, try, and decide whether to try again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::attempt::{Answered, Counted, Got, Held, Try};
use super::breaker::{Gate, Pass};
use super::effect::Effect;
use super::member::{Level, Member};
use super::pace::Pace;
use super::pick::{Ask, Balancer, choose};
use super::pool::Pool;
use super::retry::{Tried, Verdict, decide};
use super::seats::{Choosing, Seats};
use crate::base::{Fault, Kind, Sent, clock, rng};
use crate::proto::answer::Body;
use crate::proto::error::INTERNAL;
use crate::upstream::replica::State;
use crate::upstream::{Done, Replica, Request, Told};

/// A tool that usually takes longer says nothing of a replica by its latency.
const LONG: Duration = Duration::from_secs(5);

/// What is known of a call beside its bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms<'a> {
    /// What a second run of it would do.
    pub effect: Effect,
    /// It may be asked a second time while it runs.
    pub hedge: bool,
    /// How long calls of its tool take; `None` for requests that call no tool.
    pub pace: Option<&'a Arc<Pace>>,
    /// What `hash_on` names, hashed.
    pub key: Option<u64>,
    /// Another balancer than the upstream's own, for this call.
    pub balancer: Option<&'a dyn Balancer>,
}

impl Pool {
    /// Sends a request to one of the replicas and waits for its answer. `tell` gets what comes
    /// before it; once it was called the call is committed. Dropping the future cancels the request.
    pub async fn call(
        self: &Arc<Self>,
        request: &Request<'_>,
        terms: &Terms<'_>,
        mut tell: impl FnMut(Told) + Send,
    ) -> Result<Answered, Fault> {
        let counted = self.enter()?;
        let deadline = clock::now() + self.spec.timeout_max;
        let seats = self.known_seats(request.caller.abilities).await;
        let mut tries = Tries::new(self, &seats, terms, deadline);
        loop {
            if !self.is_up() || seats.any_new() {
                self.starting(&seats).await;
            }
            let Some(chosen) = tries.choose(clock::now()) else { return Err(tries.nobody()) };
            let attempt = Try {
                pool: self,
                member: &chosen.member,
                lease: chosen.lease,
                pace: tries.pace,
                request,
                deadline,
            };
            let committed = &mut tries.committed;
            let mut told = |what| {
                *committed = true;
                tell(what);
            };
            let (fault, answer) = match attempt.run(&mut told).await {
                Ok(Got::Large(large, flight, permit)) => {
                    let held = Held::new(flight, permit, counted, self.spec.timeout);
                    return Ok(Answered::Large(large, held));
                }
                Ok(Got::Done(done)) => match tries.server_error(&done) {
                    Some(fault) => (fault, Some(done)),
                    None => return Ok(Answered::Done(done)),
                },
                Err(fault) => (fault, None),
            };
            match tries.after(&chosen, &fault) {
                Verdict::Again(wait) => tokio::time::sleep(wait).await,
                Verdict::Surface(_) => {
                    return answer
                        .map_or_else(|| Err(tries.honest(fault)), |done| Ok(Answered::Done(done)));
                }
            }
        }
    }

    fn enter(&self) -> Result<Counted, Fault> {
        let most = self.spec.limits.inflight;
        let (counted, before) = Counted::enter(&self.inflight);
        if before >= most {
            let message = format!("{most} calls are in flight at {}", self.upstream);
            let wait = Some(Duration::from_secs(1));
            return Err(Fault::gateway(Kind::Overloaded, message).retry_after(wait));
        }
        Ok(counted)
    }
}

/// A replica that was chosen.
struct Chosen {
    place: usize,
    member: Arc<Member>,
    /// It was chosen to try whether it is well again.
    lease: Option<Pass>,
}

/// One call over its tries.
struct Tries<'a> {
    pool: &'a Arc<Pool>,
    seats: &'a Seats<'a>,
    terms: &'a Terms<'a>,
    pace: &'a Arc<Pace>,
    deadline: Instant,
    /// Places that were tried since all were fresh.
    tried: SmallVec<[usize; 4]>,
    attempts: u32,
    committed: bool,
    /// Some attempt may have run.
    unknown: bool,
    last: Option<Fault>,
}

impl<'a> Tries<'a> {
    fn new(
        pool: &'a Arc<Pool>,
        seats: &'a Seats<'a>,
        terms: &'a Terms<'a>,
        deadline: Instant,
    ) -> Self {
        Self {
            pool,
            seats,
            terms,
            pace: terms.pace.unwrap_or(&pool.pace),
            deadline,
            tried: SmallVec::new(),
            attempts: 0,
            committed: false,
            unknown: false,
            last: None,
        }
    }

    /// The replica that takes the next try.
    fn choose(&mut self, now: Instant) -> Option<Chosen> {
        if let Some(chosen) = self.probing(now) {
            return Some(chosen);
        }
        let balancer = self.terms.balancer.unwrap_or(self.pool.balancer.as_ref());
        let long = self.pace.usual().is_some_and(|usual| usual > LONG);
        let ask = Ask { draw: rng::draw(), key: self.terms.key, long };
        let room = |place: usize| {
            self.seats.get(place).is_some_and(|m| m.replica.permits.available_permits() > 0)
        };
        let at = |level| {
            let (pool, seats, tried) = (self.pool.as_ref(), self.seats, self.tried.as_slice());
            choose(balancer, &Choosing { pool, seats, level, tried, now }, &room, &ask)
        };
        let panic = || self.terms.effect.is_repeatable() && self.pool.is_panicking(now);
        let choice = at(Level::Well).or_else(|| at(Level::Doubtful));
        let choice = choice.or_else(|| if panic() { at(Level::AnyUp) } else { None })?;
        let member = self.seats.get(choice.place).cloned()?;
        Some(Chosen { place: choice.place, member, lease: None })
    }

    /// A replica whose gate wants to know whether it is well again; only a call that changes
    /// nothing finds out.
    fn probing(&self, now: Instant) -> Option<Chosen> {
        let first = self.attempts == 0 && self.terms.effect == Effect::ReadOnly;
        if !first || !self.pool.any_not_open() {
            return None;
        }
        for (place, member) in self.seats.iter().enumerate() {
            let free = matches!(self.pool.look(member, now), Gate::Probing { free: true });
            if free
                && member.candidate(Level::AnyUp, now).is_some()
                && let Some(pass) = member.lease(now)
            {
                return Some(Chosen { place, member: Arc::clone(member), lease: Some(pass) });
            }
        }
        None
    }

    /// A server error that may be asked again, as a fault.
    fn server_error(&self, done: &Done) -> Option<Fault> {
        let soft = self.pool.spec.retry.on_server_error && !self.committed;
        match &done.answer.body {
            Body::Error(error) if soft && error.code == INTERNAL => {
                let text = "it answered with an internal error";
                Some(Fault::upstream(Kind::Status(500), Sent::Maybe, text))
            }
            _ => None,
        }
    }

    /// What to do after a try that failed.
    fn after(&mut self, chosen: &Chosen, fault: &Fault) -> Verdict {
        self.attempts += 1;
        self.tried.push(chosen.place);
        self.unknown |= fault.sent == Sent::Maybe;
        let up = |replica: &Replica| replica.is_up() || replica.state() == State::Starting;
        let tried = Tried {
            effect: self.terms.effect,
            committed: self.committed,
            attempts: self.attempts,
            fresh: self.seats.count(&self.tried, Replica::is_up),
            up: self.seats.count(&[], up),
            usual: self.pace.p50(),
            deadline: self.deadline,
        };
        let moment = (clock::now(), rng::draw());
        let verdict =
            decide(&self.pool.spec.retry, &tried, fault, &mut self.pool.budget.lock(), moment);
        match verdict {
            Verdict::Again(_) => {
                self.pool.meters.again(fault, tried.fresh > 0);
                if tried.fresh == 0 {
                    self.tried.clear();
                }
                self.last = Some(fault.clone());
            }
            Verdict::Surface(refusal) => self.pool.meters.refused(refusal.as_str()),
        }
        verdict
    }

    /// Why there is nobody to try: the last failure says more than that.
    fn nobody(&mut self) -> Fault {
        match self.last.take() {
            Some(last) => self.honest(last),
            None => self.pool.nobody(),
        }
    }

    /// Once an attempt may have run, the end is never that nothing was sent, whatever the last
    /// attempt says.
    fn honest(&self, fault: Fault) -> Fault {
        if self.unknown && fault.sent != Sent::Maybe {
            return Fault { sent: Sent::Maybe, ..fault };
        }
        fault
    }
}
