//! The try loop of one call: choose, try, and decide whether to try again.

use std::borrow::Cow;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::admit::{Place, Refused, Seat, Turn, WAIT_MAX, WAIT_MIN};
use super::attempt::{Answered, Got, Held, Try};
use super::breaker::{Gate, Pass};
use super::effect::Effect;
use super::forecast::PROBES;
use super::hedge::{self, Which};
use super::levels::Among;
use super::member::{Level, Member};
use super::pace::Pace;
use super::pick::{Ask, Balancer, Choice, choose};
use super::pool::Pool;
use super::private::{Lost, Pin, Pinned};
use super::retry::{Tried, Verdict, decide};
use super::seats::{Choosing, Seats};
use super::spec::RetrySpec;
use super::trace::Trace;
use crate::base::rng::Draws;
use crate::base::{Fault, Kind, Sent, clock, rng};
use crate::proto::Method;
use crate::proto::answer::Body;
use crate::proto::error::INTERNAL;
use crate::upstream::nap::Hold;
use crate::upstream::replica::State;
use crate::upstream::{Done, Replica, Request, Told};

/// A call that finds no place should wait so long at least, and up to five times as long.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// With fewer replicas up no call is asked a second time.
const HEDGE_REPLICAS_MIN: usize = 3;

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
    /// The replicas that may take it, by place; `None` = all.
    pub fits: Option<&'a [usize]>,
    /// Another balancer than the upstream's own, for this call.
    pub balancer: Option<&'a dyn Balancer>,
    /// Since when its client waits; `None` = since now.
    pub since: Option<Instant>,
    /// Longest time without a sign of life instead of what is configured.
    pub silence: Option<Duration>,
    /// The place of the only replica that may take it.
    pub pin: Option<usize>,
    /// Attempts in all instead of what is configured, up to [`ATTEMPTS_MAX`].
    pub attempts: Option<u32>,
    /// Where it is noted what happens to it.
    pub trace: Option<&'a Trace>,
}

/// Most attempts that a call may ask for.
pub(super) const ATTEMPTS_MAX: u32 = 20;
/// Why a call that has a pin goes where it goes.
const ALONE: &str = "the call is for it alone";
/// Why a call with a client's answers goes where it goes.
const BACK: &str = "it asked what the call answers";
/// Why a slow call goes to a second replica.
const BESIDE: &str = "the first one is slower than most";

impl Pool {
    /// Sends a request to one of the replicas and waits for its answer. `tell` gets what comes
    /// before it; once its client has heard something the call is committed. Dropping the future cancels the request.
    pub async fn call(
        self: &Arc<Self>,
        request: &Request<'_>,
        terms: &Terms<'_>,
        mut tell: impl FnMut(Told) + Send,
    ) -> Result<Answered, Fault> {
        let deadline = terms.since.unwrap_or_else(clock::now) + self.spec.timeout_max;
        self.throttled(terms.pace.unwrap_or(&self.pace))?;
        let session = self.pinned(request)?;
        let pinned = if session.is_some() { session } else { self.leased(request, terms)? };
        let own = pinned.as_ref().map(|pinned| [Arc::clone(&pinned.0.member)]);
        let seats = match &own {
            Some(own) => Seats::alone(own),
            None => self.known_seats(request.caller.abilities).await,
        };
        let mut tries = Tries::new(self, &seats, terms, deadline);
        tries.asked_by = self.asked_by(request, &seats);
        loop {
            if seats.is_early() {
                self.starting(&seats, deadline).await;
            }
            if let Some(pinned) = &pinned {
                self.told_of_loss(&pinned.0, request)?;
            }
            let chosen = match tries.seated() {
                Some(chosen) => chosen,
                // Rare: a future of its own, so that not every call carries it.
                None => Box::pin(tries.in_line(request.caller.key)).await?,
            };
            let (outcome, chosen) = tries.attempt(chosen, request, &mut tell).await;
            if let Some(trace) = terms.trace {
                trace.ended(chosen.index, &outcome, clock::now());
            }
            if let Some(pinned) = &pinned
                && terms.effect != Effect::ReadOnly
                && outcome.as_ref().err().is_none_or(|fault| fault.sent == Sent::Maybe)
            {
                pinned.0.changed();
            }
            let (fault, answer) = match outcome {
                Ok(Got::Large(large, flight)) => {
                    let Some(seat) = tries.seat.take() else { return Err(self.nobody()) };
                    let places = (chosen.place, seat, pinned);
                    let held = Held::new(flight, places, self.spec.timeout);
                    return Ok(Answered::Large(large, held));
                }
                Ok(Got::Done(done)) => {
                    if let Some(fault) = tries.server_error(&done) {
                        (fault, Some(done))
                    } else {
                        self.note_asked(&chosen.member.replica, &done);
                        return Ok(tries.answered(done, chosen.index));
                    }
                }
                Err(fault) => (fault, None),
            };
            let verdict = tries.after(&chosen, &fault);
            let at = chosen.index;
            drop(chosen);
            match verdict {
                Verdict::Again(wait) if wait.is_zero() => {}
                Verdict::Again(wait) => tokio::time::sleep(wait).await,
                Verdict::Surface(_) => {
                    return match answer {
                        Some(done) => Ok(tries.answered(done, at)),
                        None => Err(tries.honest(fault)),
                    };
                }
            }
        }
    }

    /// An upstream that takes ever less gets less.
    fn throttled(&self, pace: &Pace) -> Result<(), Fault> {
        let p99 = pace.p99().unwrap_or_default();
        if !self.throttle.lock().refuses(p99, clock::now(), rng::draw()) {
            return Ok(());
        }
        Err(overloaded(format!("{} fails too many calls", self.upstream)))
    }

    /// What belongs to the client session of a call, where clients do not share.
    fn pinned(&self, request: &Request<'_>) -> Result<Option<Pinned>, Fault> {
        let Some(private) = &self.private else { return Ok(None) };
        let home = (request.caller.home, request.caller.abilities);
        let most = self.spec.limits.sessions_replica;
        private.pin(home, &self.members, most, clock::now()).map(Some)
    }

    /// A replica for this call alone, where it may be asked in its middle and others have met it
    /// there. A call that makes a task has none: it is asked after its own end.
    fn leased(&self, request: &Request<'_>, terms: &Terms<'_>) -> Result<Option<Pinned>, Fault> {
        let (abilities, shape) = (request.caller.abilities, request.shape);
        let asks =
            matches!(shape.method, Method::ToolsCall | Method::PromptsGet | Method::ResourcesRead);
        if abilities.is_empty() || !asks || shape.task.is_some() || terms.pin.is_some() {
            return Ok(None);
        }
        let Some(leases) = self.leases.as_ref().filter(|_| self.private.is_none()) else {
            return Ok(None);
        };
        let bases = self.interactive(abilities, terms.fits);
        if bases.is_empty() {
            return Ok(None);
        }
        let leased =
            leases.lease(abilities, &bases, self.spec.limits.sessions_replica, clock::now());
        match leased {
            // Nothing can be made now, or one has just ended: it goes where all calls go.
            Err(fault) if fault.kind == Kind::NoReplica => Ok(None),
            leased => leased.map(Some),
        }
    }

    /// A client session whose state is lost is told so, once, instead of an answer to its next call
    /// of a tool.
    fn told_of_loss(&self, pin: &Pin, request: &Request<'_>) -> Result<(), Fault> {
        if request.shape.method != Method::ToolsCall || !pin.member.replica.is_up() {
            return Ok(());
        }
        let Some(lost) = pin.notice() else { return Ok(()) };
        self.meters.session_lost(lost != Lost::Silent);
        let Lost::Told(why) = lost else { return Ok(()) };
        let text = format!("what {} kept for this session was lost ({why})", self.upstream);
        Err(Fault::upstream(Kind::StateLost, Sent::No, text))
    }

    /// Whether any replica that would take a call has room for one.
    fn has_room(&self, now: Instant) -> bool {
        self.members.iter().any(|m| m.has_room() && m.fits(Level::Doubtful, now))
    }
}

/// What is refused may come again, and not all at once.
fn overloaded(message: String) -> Fault {
    let spread = RETRY_AFTER.mul_f64(Draws::new(rng::draw()).unit() * 4.0);
    Fault::gateway(Kind::Overloaded, message).retry_after(Some(RETRY_AFTER + spread))
}

/// A replica that was chosen.
struct Chosen {
    index: usize,
    member: Arc<Member>,
    /// It was chosen to try whether it is well again.
    lease: Option<Pass>,
    place: Place,
}

/// What became of a choice.
enum Placed {
    /// The call has its place there.
    At(Chosen),
    /// There is no room.
    Full,
    /// It sleeps.
    Asleep,
}

impl Placed {
    fn chosen(self) -> Option<Chosen> {
        match self {
            Self::At(chosen) => Some(chosen),
            Self::Full | Self::Asleep => None,
        }
    }
}

/// One call over its tries.
struct Tries<'a> {
    pool: &'a Arc<Pool>,
    seats: &'a Seats<'a>,
    terms: &'a Terms<'a>,
    pace: &'a Arc<Pace>,
    deadline: Instant,
    /// Its place among the calls of the upstream, from its first attempt on.
    seat: Option<Seat>,
    /// The place of the replica that asked what the call answers.
    asked_by: Option<usize>,
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
            seat: None,
            asked_by: None,
            tried: SmallVec::new(),
            attempts: 0,
            committed: false,
            unknown: false,
            last: None,
        }
    }

    /// A replica with a place at it, if there is one now and nobody waits for it.
    fn seated(&mut self) -> Option<Chosen> {
        if self.attempts == 0 && self.pool.admission.waiting() > 0 {
            return None;
        }
        self.take().ok().flatten()
    }

    /// A replica with a place at it, if there is one now; a fault if no replica takes the call.
    fn take(&mut self) -> Result<Option<Chosen>, Fault> {
        if self.seat.is_none() {
            self.seat = self.pool.admission.enter();
        }
        if self.seat.is_none() {
            return Ok(None);
        }
        loop {
            let (now, mut why) = (clock::now(), Cow::Borrowed(ALONE));
            let choice = if let Some(index) = self.terms.pin {
                self.only(index, now)
            } else if let Some(choice) = self.back(now) {
                why = Cow::Borrowed(BACK);
                Some(choice)
            } else {
                if let Some(chosen) = self.probing(now) {
                    self.note(&chosen, Cow::Borrowed(PROBES), now);
                    return Ok(Some(chosen));
                }
                self.choose(now, &mut why)
            };
            let Some(choice) = choice else { return Err(self.nobody()) };
            match self.placed(choice, None) {
                Placed::At(chosen) => {
                    if !chosen.member.is_well(now) {
                        // One that sleeps would do better: it is there for the next call.
                        drop(self.rouse());
                    }
                    self.note(&chosen, why, now);
                    return Ok(Some(chosen));
                }
                Placed::Full => return Ok(None),
                // It fell asleep in this very moment: it is not chosen again.
                Placed::Asleep => {}
            }
        }
    }

    /// Notes who was chosen, if somebody wants to know.
    fn note(&self, chosen: &Chosen, why: Cow<'static, str>, now: Instant) {
        if let Some(trace) = self.terms.trace {
            trace.chosen(chosen.index, &chosen.member.replica.spec.name, why, now);
        }
    }

    /// The only replica that may take the call, if it offers the tool as the others do, takes calls and was not tried.
    fn only(&self, index: usize, now: Instant) -> Option<Choice> {
        let fits = self.fits().is_none_or(|fits| fits.contains(&index));
        let member = self.seats.get(index).filter(|_| fits && !self.tried.contains(&index))?;
        self.pool.look(member, now);
        let choice = Choice { place: index, has_room: member.has_room() };
        member.fits(Level::Doubtful, now).then_some(choice)
    }

    /// The replica that asked what the call answers, if it has room and did not fail at it.
    fn back(&self, now: Instant) -> Option<Choice> {
        self.only(self.asked_by?, now).filter(|choice| choice.has_room)
    }

    fn placed(&self, choice: Choice, lease: Option<Pass>) -> Placed {
        let Some(member) = self.seats.get(choice.place).cloned() else { return Placed::Full };
        let Some(hold) = member.replica.hold() else { return Placed::Asleep };
        let Ok(permit) = Arc::clone(&member.replica.permits).try_acquire_owned() else {
            return Placed::Full;
        };
        let place = Place::new(permit, hold, &self.pool.admission);
        Placed::At(Chosen { index: choice.place, member, lease, place })
    }

    /// Waits for a replica with a place at it, and notes how long that took in the line.
    async fn in_line(&mut self, client: u64) -> Result<Chosen, Fault> {
        let mut since = None;
        let chosen = self.wait(client, &mut since).await;
        if let Some(since) = since {
            let waited = clock::now().saturating_duration_since(since);
            self.pool.meters.waited.record(waited.as_secs_f64());
        }
        chosen
    }

    /// A replica with a place at it, if there is one now. Where those that could take the call sleep,
    /// one is woken first, and waited for as for one that starts.
    async fn find(&mut self) -> Result<Option<Chosen>, Fault> {
        let until = self.pool.start_wait(self.deadline);
        // What was woken stays awake until the call has its place there.
        let mut _held = None;
        loop {
            let turns = self.turns();
            let fault = match self.take() {
                Ok(chosen) => return Ok(chosen),
                Err(fault) => fault,
            };
            let Some((replica, hold)) = self.rouse() else {
                // One that slept a moment ago was woken in between, for another call.
                if self.turns() != turns {
                    continue;
                }
                return Err(fault);
            };
            _held = hold;
            if !self.pool.woken(&replica, until).await && clock::now() >= until {
                return Err(self.nobody());
            }
        }
    }

    /// How often one of the replicas has fallen asleep or woken up.
    fn turns(&self) -> u64 {
        self.seats.iter().map(|member| member.replica.turns()).sum()
    }

    /// Wakes one of the replicas that could take the call and sleep, if there is one.
    fn rouse(&self) -> Option<(Arc<Replica>, Option<Hold>)> {
        let now = clock::now();
        let place = if let Some(index) = self.terms.pin {
            self.seats.get(index).filter(|member| {
                let may = |level| member.fits(level, now);
                !self.tried.contains(&index) && (may(Level::Waking) || may(Level::Asleep))
            })?;
            index
        } else {
            let balancer = self.terms.balancer.unwrap_or(self.pool.balancer.as_ref());
            let (among, ask) = (self.among(now), self.ask());
            let room = |place: usize| among.has_room(place);
            among.sleeper(|field| choose(balancer, field, &room, &ask))?.place
        };
        let replica = &self.seats.get(place)?.replica;
        Some((Arc::clone(replica), replica.rouse()))
    }

    /// Waits for a replica with a place at it: for one that is woken, or in the line, `since` then.
    async fn wait(&mut self, client: u64, since: &mut Option<Instant>) -> Result<Chosen, Fault> {
        let mut first = self.attempts > 0 || self.pool.admission.waiting() == 0;
        loop {
            if first && let Some(chosen) = self.find().await? {
                return Ok(chosen);
            }
            let since = *since.get_or_insert_with(clock::now);
            let until = (since + self.patience()).min(self.deadline);
            let turn = self.turn(client, until).await?;
            let taken = self.take();
            turn.done();
            match taken {
                Ok(Some(chosen)) => {
                    self.pass_on();
                    return Ok(chosen);
                }
                Ok(None) => first = false,
                // Whoever could take it sleeps by now, or nobody can.
                Err(_) => first = true,
            }
        }
    }

    /// Waits in the line. All that are awake are full: one that sleeps is woken for those who wait.
    async fn turn(&self, client: u64, until: Instant) -> Result<Turn, Fault> {
        let cost = self.pace.usual().map_or(1, |usual| usual.as_secs());
        let cost = u32::try_from(cost).unwrap_or(u32::MAX);
        let left = until.saturating_duration_since(clock::now());
        let mut turn = pin!(self.pool.admission.turn(client, cost, left));
        if let Some((replica, _hold)) = self.seat.as_ref().and_then(|_seat| self.rouse()) {
            tokio::select! {
                biased;
                turn = &mut turn => return turn.map_err(|why| self.refused(why)),
                _up = self.pool.woken(&replica, until) => self.pass_on(),
            }
        }
        turn.await.map_err(|why| self.refused(why))
    }

    /// There may be room for the next in the line.
    fn pass_on(&self) {
        let admission = &self.pool.admission;
        if admission.waiting() > 0 && self.pool.has_room(clock::now()) {
            admission.wake();
        }
    }

    /// How long the call waits for a place: no longer than such calls take themselves.
    fn patience(&self) -> Duration {
        self.pace.p50().map_or(WAIT_MAX, |usual| usual.clamp(WAIT_MIN, WAIT_MAX))
    }

    fn refused(&self, why: Refused) -> Fault {
        let (running, waiting) = self.pool.load();
        let upstream = &self.pool.upstream;
        let why = match why {
            Refused::Full => "the line for it is full",
            Refused::Waited => "no place became free in time",
        };
        let text = format!("{running} calls are in flight at {upstream}, {waiting} wait; {why}");
        self.honest(overloaded(text))
    }

    /// The replicas that may take it. A client session has one, which is not in question.
    fn fits(&self) -> Option<&'a [usize]> {
        if self.seats.own { None } else { self.terms.fits }
    }

    /// The replica that takes the next try. `why` gets the reason if somebody wants to know.
    fn choose(&self, now: Instant, why: &mut Cow<'static, str>) -> Option<Choice> {
        let balancer = self.terms.balancer.unwrap_or(self.pool.balancer.as_ref());
        let (among, ask) = (self.among(now), self.ask());
        let room = |place: usize| among.has_room(place);
        among.first(|field| {
            let choice = choose(balancer, field, &room, &ask)?;
            if self.terms.trace.is_some() {
                *why = Cow::Owned(balancer.because(field, &ask, choice.place));
            }
            Some(choice)
        })
    }

    fn ask(&self) -> Ask {
        Ask { draw: rng::draw(), key: self.terms.key, long: self.pace.is_long() }
    }

    fn among(&self, now: Instant) -> Among<'_> {
        Among {
            pool: self.pool,
            seats: self.seats,
            tried: self.tried.as_slice(),
            effect: self.terms.effect,
            fits: self.fits(),
            now,
        }
    }

    /// A replica whose gate wants to know whether it is well again; only a call that changes
    /// nothing finds out, and not at one that does not even answer when asked.
    fn probing(&self, now: Instant) -> Option<Chosen> {
        let first = self.attempts == 0 && self.terms.effect == Effect::ReadOnly;
        if !first || !self.pool.any_not_open() {
            return None;
        }
        let unsettled = self.seats.iter().enumerate().filter(|(_, member)| !member.is_settled());
        for (place, member) in unsettled {
            let fits = self.fits().is_none_or(|fits| fits.contains(&place));
            let free = fits && matches!(self.pool.look(member, now), Gate::Probing { free: true });
            if free
                && !member.replica.is_suspect()
                && member.has_room()
                && member.fits(Level::AnyUp, now)
                && let Some(pass) = member.lease(now)
            {
                return self.placed(Choice { place, has_room: true }, Some(pass)).chosen();
            }
        }
        None
    }

    /// One attempt, and another one beside it if it is slow and may be asked twice. Answers with the
    /// replica that the outcome is of.
    async fn attempt(
        &mut self,
        chosen: Chosen,
        request: &Request<'_>,
        tell: &mut (impl FnMut(Told) + Send),
    ) -> (Result<Got, Fault>, Chosen) {
        let hedge = &self.pool.spec.hedge;
        let hedges = self.terms.hedge && self.terms.pin.is_none();
        let delay = if hedges && self.attempts == 0 && chosen.lease.is_none() {
            self.pool.hedges.lock().earn(hedge.budget, clock::now());
            hedge::delay(hedge, self.pace)
        } else {
            None
        };
        let mut committed = false;
        let mut told = |what: Told| {
            committed |= what.is_heard();
            tell(what);
        };
        let (outcome, chosen) = match delay {
            None => {
                let outcome = self.try_at(&chosen, request).run(&mut told).await;
                (outcome, chosen)
            }
            // Rare: a future of its own, so that not every call carries it.
            Some(delay) => Box::pin(self.hedged(chosen, delay, request, &mut told)).await,
        };
        self.committed |= committed;
        (outcome, chosen)
    }

    fn try_at<'t>(&self, chosen: &'t Chosen, request: &'t Request<'t>) -> Try<'t>
    where
        'a: 't,
    {
        let (pool, pace, deadline) = (self.pool, self.pace, self.deadline);
        let (member, lease) = (&chosen.member, chosen.lease);
        let silence = self.terms.silence.unwrap_or(pool.spec.timeout);
        Try { pool, member, lease, pace, request, silence, deadline }
    }

    async fn hedged(
        &self,
        chosen: Chosen,
        delay: Duration,
        request: &Request<'_>,
        tell: &mut (dyn FnMut(Told) + Send),
    ) -> (Result<Got, Fault>, Chosen) {
        let other = OnceLock::new();
        let (outcome, won) = {
            let second = || {
                let beside = self.beside(&chosen)?;
                Some(self.try_at(other.get_or_init(|| beside), request))
            };
            hedge::race(&self.try_at(&chosen, request), delay, second, tell).await
        };
        let other = other.into_inner();
        if let Some(which) = won {
            self.pool.meters.hedged(which.as_str());
        }
        match (won, other) {
            (Some(Which::Second), Some(other)) => (outcome, other),
            _ => (outcome, chosen),
        }
    }

    /// Another replica for the same call while it runs, if that would not make things worse.
    fn beside(&self, chosen: &Chosen) -> Option<Chosen> {
        let (now, pool) = (clock::now(), self.pool);
        let up = self.seats.count(&[], Replica::is_up);
        let calm = pool.admission.waiting() == 0 && pool.well() * 4 >= pool.members.len() * 3;
        if up < HEDGE_REPLICAS_MIN || !calm || !pool.hedges.lock().spend(1.0, now) {
            return None;
        }
        let tried = [chosen.index];
        let (seats, level, fits) = (self.seats, Level::Well, self.fits());
        let field = Choosing { pool, seats, level, tried: &tried, fits, now };
        let room = |place: usize| self.seats.get(place).is_some_and(|member| member.has_room());
        let ask = Ask { draw: rng::draw(), ..Ask::default() };
        let choice = choose(pool.balancer.as_ref(), &field, &room, &ask)?;
        let chosen = self.placed(choice, None).chosen().filter(|_| choice.has_room)?;
        self.note(&chosen, Cow::Borrowed(BESIDE), now);
        Some(chosen)
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
        self.tried.push(chosen.index);
        self.unknown |= fault.sent == Sent::Maybe;
        let up = |replica: &Replica| replica.is_usable() || replica.state() == State::Starting;
        let tried = Tried {
            effect: self.terms.effect,
            committed: self.committed,
            attempts: self.attempts,
            fresh: self.seats.count(&self.tried, Replica::is_usable),
            up: self.seats.count(&[], up),
            usual: self.pace.p50(),
            deadline: self.deadline,
        };
        let moment = (clock::now(), rng::draw());
        let spec = self.retry_spec();
        let verdict = decide(&spec, &tried, fault, &mut self.pool.budget.lock(), moment);
        if let Some(trace) = self.terms.trace {
            trace.decided(chosen.index, verdict);
        }
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

    /// The rules for sending again, with what the call asks for. A call for one replica alone is
    /// not sent again.
    fn retry_spec(&self) -> Cow<'a, RetrySpec> {
        let spec = &self.pool.spec.retry;
        let alone = self.terms.pin.map(|_| 1);
        match alone.or(self.terms.attempts) {
            None => Cow::Borrowed(spec),
            Some(asked) => {
                let max_attempts = asked.clamp(1, ATTEMPTS_MAX);
                Cow::Owned(RetrySpec { max_attempts, ..spec.clone() })
            }
        }
    }

    /// Why there is nobody to try: the last failure says more than that.
    fn nobody(&self) -> Fault {
        match (&self.last, self.terms.pin) {
            (Some(last), _) => self.honest(last.clone()),
            (None, Some(index)) => self.pool.away(index),
            (None, None) => self.honest(match self.seats.get(0).filter(|_| self.seats.own) {
                Some(own) => self.pool.away_at(own).retry_after(Some(RETRY_AFTER)),
                None => self.pool.nobody(),
            }),
        }
    }

    fn answered(&self, done: Done, at: usize) -> Answered {
        Answered::Done { done, at, unsure: self.unknown }
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
