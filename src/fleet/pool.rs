//! The try loop of one upstream: pick, admit, exchange, decide.

use std::collections::{BTreeSet, HashMap};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use metrics::Counter;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::{Notify, OwnedSemaphorePermit, watch};

use crate::base::{Fault, Kind, Sent, UpstreamName, clock};
use crate::proto::Abilities;
use crate::upstream::large::Large;
use crate::upstream::lobby::Mailbox;
use crate::upstream::replica::{Live, State};
use crate::upstream::{Done, Frame, Replica, Request, Told};

use super::pick::{Candidate, pick};
use super::retry::{Verdict, decide};
use super::spec::PoolSpec;

/// A call waits so long for an upstream that is starting.
pub const START_WAIT: Duration = Duration::from_secs(30);
/// The first call of the first client of its abilities waits so long for it to be decided whether
/// it has replicas of its own.
const KNOWN_WAIT: Duration = Duration::from_secs(2);
/// A client that subscribes waits so long for the server to be asked.
pub const TAKEN_WAIT: Duration = Duration::from_secs(2);
/// A call waits so long for its client to answer a question.
pub const INPUT_WAIT: Duration = Duration::from_mins(10);

/// How often the answer of a legacy server behind a URL lets others go first that may hold its log
/// messages.
const OUTSIDE_TURNS: usize = 8;
/// What a legacy server logs on its standing stream may come so long after the answer of the call
/// it belongs to. Waited for only where a modern client wants log messages of such a server.
const LATE_LOGS: Duration = Duration::from_millis(50);

/// Replicas for clients of some ability, in the order of the replicas for everybody beside which
/// they stand; `None` where those serve all clients alike.
type Able = Vec<Option<Arc<Replica>>>;

/// An upstream's replicas and the rules over them.
#[derive(Debug)]
pub struct Pool {
    /// The upstream.
    pub upstream: UpstreamName,
    /// Its replicas, in the order of the configuration.
    pub replicas: Vec<Arc<Replica>>,
    able: ArcSwap<HashMap<Abilities, Able>>,
    /// Resources that somebody watches: what the replicas are asked to tell.
    watched: watch::Sender<Arc<BTreeSet<String>>>,
    spec: PoolSpec,
    turn: AtomicUsize,
    inflight: Arc<AtomicUsize>,
    stir: Arc<Notify>,
    relisted: Mutex<Option<Instant>>,
    /// Calls that were refused at a bound.
    pub shed: Counter,
}

/// A call that was answered.
#[derive(Debug)]
pub enum Answered {
    /// The whole answer.
    Done(Done),
    /// The beginning of a large one, and what is held until its end.
    Large(Large, Held),
}

/// What a large answer holds until its end: its places at the upstream and at the replica.
#[derive(Debug)]
pub struct Held {
    flight: Flight,
    _permit: OwnedSemaphorePermit,
    _counted: Counted,
    /// Longest time without a byte of it.
    pub silence: Duration,
}

impl Held {
    /// The answer has come to its end, or broke off.
    pub fn ended(&mut self, answered: bool) {
        self.flight.end(answered);
    }
}

impl Pool {
    /// A pool over replicas that their keepers bring up. `stir` is what its replicas tell their
    /// changes to, `watched` what they are asked to watch.
    pub fn new(
        upstream: UpstreamName,
        spec: PoolSpec,
        replicas: Vec<Arc<Replica>>,
        watched: watch::Sender<Arc<BTreeSet<String>>>,
        stir: Arc<Notify>,
        shed: Counter,
    ) -> Self {
        let (turn, inflight) = (AtomicUsize::new(0), Arc::default());
        let (able, relisted) = (ArcSwap::default(), Mutex::default());
        Self { upstream, replicas, able, watched, spec, turn, inflight, stir, relisted, shed }
    }

    /// Resolves when a server watches this resource for us, or after [`TAKEN_WAIT`].
    pub async fn taken(&self, uri: &str) {
        let taken = async {
            loop {
                let stirred = self.stir.notified();
                if self.replicas.iter().any(|replica| replica.has_taken(uri)) {
                    return;
                }
                stirred.await;
            }
        };
        drop(tokio::time::timeout(TAKEN_WAIT, taken).await);
    }

    /// What its replicas are asked to watch.
    pub fn watched(&self) -> &watch::Sender<Arc<BTreeSet<String>>> {
        &self.watched
    }

    /// Replicas for clients of these abilities; `None` takes them away. Only the director calls
    /// this.
    pub fn set_able(&self, abilities: Abilities, able: Option<Vec<Option<Arc<Replica>>>>) {
        let mut all = HashMap::clone(&self.able.load());
        match able {
            Some(able) => all.insert(abilities, able),
            None => all.remove(&abilities),
        };
        self.able.store(Arc::new(all));
        self.stir.notify_waiters();
    }

    /// The replicas for clients of these abilities, by place.
    pub fn able(&self, abilities: Abilities) -> Vec<Option<Arc<Replica>>> {
        self.able.load().get(&abilities).cloned().unwrap_or_default()
    }

    /// Calls found its lists to be old: every replica lists at once, unless they did so within
    /// `rest`. Answers whether they do.
    pub fn relist(&self, rest: Duration) -> bool {
        let now = clock::now();
        {
            let mut last = self.relisted.lock();
            if last.is_some_and(|last| now.saturating_duration_since(last) < rest) {
                return false;
            }
            *last = Some(now);
        }
        let able = self.able.load();
        let beside = able.values().flatten().flatten();
        self.replicas.iter().chain(beside).for_each(|replica| replica.relist());
        true
    }

    /// The replicas for these abilities, the one for the client's own abilities in each place where
    /// there is one that is up.
    fn seats(&self, abilities: Abilities) -> Seats<'_> {
        let able = (!abilities.is_empty()).then(|| self.able.load_full());
        Seats { replicas: &self.replicas, able, abilities }
    }

    /// The same, once it is known whether there are any for these abilities: the first client of its
    /// kind may call before they are told of.
    async fn known_seats(&self, abilities: Abilities) -> Seats<'_> {
        let known = async {
            loop {
                let stirred = self.stir.notified();
                let seats = self.seats(abilities);
                if seats.is_known() {
                    return seats;
                }
                stirred.await;
            }
        };
        if abilities.is_empty() {
            return self.seats(abilities);
        }
        let known = tokio::time::timeout(KNOWN_WAIT, known).await;
        known.unwrap_or_else(|_elapsed| self.seats(abilities))
    }

    /// Waits while nothing is up and something is starting, up to [`START_WAIT`] and no longer than
    /// a call may be silent: a call right after our start, or of the first client of its abilities,
    /// must not fail for being early.
    async fn starting(&self, seats: &Seats<'_>) {
        let longest = START_WAIT.min(self.spec.timeout).min(self.spec.timeout_max);
        let until = tokio::time::Instant::from_std(clock::now() + longest);
        loop {
            let stirred = self.stir.notified();
            let starting = |r: &Arc<Replica>| r.state() == State::Starting;
            let waits =
                if self.is_up() { seats.any_new() } else { self.replicas.iter().any(starting) };
            if !waits {
                return;
            }
            if tokio::time::timeout_at(until, stirred).await.is_err() {
                return;
            }
        }
    }

    /// Whether any replica takes calls.
    pub fn is_up(&self) -> bool {
        self.replicas.iter().any(|replica| replica.is_up())
    }

    /// Sends a request to one of the replicas and waits for its answer. `tell` gets what comes
    /// before it; once it was called the try is committed. Dropping the future cancels the request.
    pub async fn call(
        &self,
        request: &Request<'_>,
        mut tell: impl FnMut(Told) + Send,
    ) -> Result<Answered, Fault> {
        let mut counted = Some(self.enter()?);
        let deadline = clock::now() + self.spec.timeout_max;
        let seats = self.known_seats(request.caller.abilities).await;
        if !self.is_up() || seats.any_new() {
            self.starting(&seats).await;
        }
        let mut tried: SmallVec<[usize; 4]> = SmallVec::new();
        let mut committed = false;
        let mut last = None;
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        while let Some(place) = self.pick(&seats, &tried, turn)
            && let Some(replica) = seats.get(place)
        {
            let mut told = |what| {
                committed = true;
                tell(what);
            };
            let fault = match self.attempt(replica, request, deadline, &mut told).await {
                Ok(Got::Done(done)) => return Ok(Answered::Done(done)),
                Ok(Got::Large(large, flight, permit)) => {
                    let Some(counted) = counted.take() else { return Err(self.nobody()) };
                    let silence = self.spec.timeout;
                    let held = Held { flight, _permit: permit, _counted: counted, silence };
                    return Ok(Answered::Large(large, held));
                }
                Err(fault) => fault,
            };
            if doubtful(&fault) {
                replica.doubt();
            }
            tried.push(place);
            if decide(&fault, committed, seats.left(&tried)) == Verdict::Surface {
                return Err(fault);
            }
            replica.meters.failovers.increment(1);
            last = Some(fault);
        }
        Err(last.unwrap_or_else(|| self.nobody()))
    }

    fn enter(&self) -> Result<Counted, Fault> {
        let counted = Counted(Arc::clone(&self.inflight));
        if self.inflight.fetch_add(1, Ordering::Relaxed) >= self.spec.inflight_max {
            let message =
                format!("{} calls are in flight at {}", self.spec.inflight_max, self.upstream);
            let wait = Some(Duration::from_secs(1));
            return Err(Fault::gateway(Kind::Overloaded, message).retry_after(wait));
        }
        Ok(counted)
    }

    fn pick(&self, seats: &Seats<'_>, tried: &[usize], turn: usize) -> Option<usize> {
        let candidate = |(place, replica): (usize, &Arc<Replica>)| Candidate {
            eligible: replica.is_up() && !tried.contains(&place),
            has_room: replica.permits.available_permits() > 0,
        };
        let candidates: SmallVec<[Candidate; 8]> =
            seats.iter().enumerate().map(candidate).collect();
        pick(self.spec.balance, &candidates, turn)
    }

    /// A place at a replica.
    async fn admit(
        &self,
        replica: &Replica,
        deadline: Instant,
    ) -> Result<OwnedSemaphorePermit, Fault> {
        let permits = || Arc::clone(&replica.permits);
        if let Ok(permit) = permits().try_acquire_owned() {
            return Ok(permit);
        }
        let until = (clock::now() + self.spec.timeout).min(deadline);
        let waited = tokio::time::timeout_at(until.into(), permits().acquire_owned()).await;
        waited.ok().and_then(Result::ok).ok_or_else(|| {
            let text = format!("no place became free at {}", self.upstream);
            Fault::gateway(Kind::Overloaded, text)
        })
    }

    /// One try at one replica.
    async fn attempt(
        &self,
        replica: &Arc<Replica>,
        request: &Request<'_>,
        deadline: Instant,
        tell: &mut (dyn FnMut(Told) + Send),
    ) -> Result<Got, Fault> {
        let permit = self.admit(replica, deadline).await?;
        let live = replica.live().ok_or_else(|| self.nobody())?;
        live.log_at_least(request.caller.log_level).await;
        let (_seat, mail) = live.seat(request.caller);
        let mut flight = Flight::start(replica);
        let mut exchange = live.begin(request).map_err(|fault| {
            flight.end(false);
            self.named(&fault)
        })?;
        // While its client thinks, the upstream is not slow, and the call's time stands still.
        let patience = clock::now() + INPUT_WAIT;
        let mut deadline = deadline;
        loop {
            let (began, thinking) = (clock::now(), exchange.awaits_client());
            let last = if thinking { patience } else { deadline };
            let limit = (began + self.spec.timeout).min(last);
            let frame = {
                // Never dropped half-way: what it has taken out of the connection would be lost.
                let mut next = pin!(tokio::time::timeout_at(limit.into(), exchange.next()));
                loop {
                    tokio::select! {
                        frame = &mut next => break frame,
                        log = next_of(mail.as_deref()) => tell(Told::Note(log)),
                    }
                }
            };
            if thinking {
                deadline += clock::now() - began;
            }
            let frame = match frame {
                Ok(frame) => frame,
                Err(_) if thinking && clock::now() < patience => continue,
                Err(_) => Err(self.silence(deadline)),
            };
            match frame {
                Ok(Frame::Note(bytes)) => tell(Told::Note(bytes)),
                Ok(Frame::Ask(ask)) => tell(Told::Ask(ask)),
                Ok(Frame::Alive) => {}
                Ok(Frame::Done(done)) => {
                    flight.end(true);
                    logs_first(&live, mail.as_deref(), tell).await;
                    if done.status >= 400 {
                        // It refuses our way of asking: another server may stand there now.
                        replica.doubt();
                    }
                    return Ok(Got::Done(done));
                }
                Ok(Frame::Large(large)) => return Ok(Got::Large(large, flight, permit)),
                Err(fault) => {
                    flight.end(false);
                    return Err(self.named(&fault));
                }
            }
        }
    }

    fn silence(&self, deadline: Instant) -> Fault {
        let message = if clock::now() >= deadline {
            format!("no answer within {} s in all", self.spec.timeout_max.as_secs_f32())
        } else {
            format!("no sign of life for {} s", self.spec.timeout.as_secs_f32())
        };
        Fault::upstream(Kind::Timeout, Sent::Maybe, message)
    }

    fn named(&self, fault: &Fault) -> Fault {
        Fault { message: format!("{}: {}", self.upstream, fault.message).into(), ..fault.clone() }
    }

    /// Why nobody takes a call: nothing was sent.
    pub fn nobody(&self) -> Fault {
        let why = self.replicas.iter().find_map(|replica| match replica.state() {
            State::Down(why) => Some(why),
            _ => None,
        });
        let message = match why {
            Some(why) => format!("no replica of {} is up; {why}", self.upstream),
            None => format!("{} is still starting", self.upstream),
        };
        let wait = Some(Duration::from_secs(1));
        Fault::upstream(Kind::NoReplica, Sent::No, message).retry_after(wait)
    }
}

/// The next message of a mailbox, if there is one.
async fn next_of(mail: Option<&Mailbox>) -> Bytes {
    match mail {
        Some(mail) => mail.next().await,
        None => std::future::pending().await,
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

/// The replicas as one client finds them.
struct Seats<'a> {
    replicas: &'a [Arc<Replica>],
    able: Option<Arc<HashMap<Abilities, Able>>>,
    abilities: Abilities,
}

impl Seats<'_> {
    /// Whether it was decided which replicas these clients have.
    fn is_known(&self) -> bool {
        self.able.as_ref().is_none_or(|able| able.contains_key(&self.abilities))
    }

    fn own(&self) -> &[Option<Arc<Replica>>] {
        let able = self.able.as_ref().and_then(|able| able.get(&self.abilities));
        able.map(Vec::as_slice).unwrap_or_default()
    }

    fn get(&self, place: usize) -> Option<&Arc<Replica>> {
        let own = self.own().get(place).and_then(Option::as_ref).filter(|own| own.is_up());
        own.or_else(|| self.replicas.get(place))
    }

    fn iter(&self) -> impl Iterator<Item = &Arc<Replica>> {
        (0..self.replicas.len()).filter_map(|place| self.get(place))
    }

    /// Whether one for the client's own abilities starts for the first time.
    fn any_new(&self) -> bool {
        self.own().iter().flatten().any(|own| own.is_new())
    }

    fn left(&self, tried: &[usize]) -> usize {
        let fresh =
            |(place, replica): &(usize, &Arc<Replica>)| replica.is_up() && !tried.contains(place);
        self.iter().enumerate().filter(fresh).count()
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

/// What one try brought.
enum Got {
    Done(Done),
    Large(Large, Flight, OwnedSemaphorePermit),
}

/// Counts a call while it is in flight at the upstream.
#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts a request while it is in flight at a replica; one that is dropped was given up.
#[derive(Debug)]
struct Flight {
    replica: Arc<Replica>,
    began: Instant,
    over: bool,
}

impl Flight {
    fn start(replica: &Arc<Replica>) -> Self {
        replica.meters.inflight.increment(1.0);
        Self { replica: Arc::clone(replica), began: clock::now(), over: false }
    }

    fn end(&mut self, answered: bool) {
        self.over = true;
        let meters = &self.replica.meters;
        if answered { &meters.answered } else { &meters.failed }.increment(1);
        meters.duration.record((clock::now() - self.began).as_secs_f64());
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.replica.meters.inflight.decrement(1.0);
        if !self.over {
            self.replica.meters.given_up.increment(1);
        }
    }
}
