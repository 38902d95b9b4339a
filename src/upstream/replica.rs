//! One running copy of an upstream, as calls see it: whether it is up, which era it speaks, and
//! how a request is started on it. Its keeper is the only one that changes it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};

use crate::base::{Fault, Kind, Sent, UpstreamName, clock};
use crate::proto::headers::encode_value;
use crate::proto::{Era, Level, Method, Offers, Version, legacy, modern};
use crate::telemetry::ReplicaMeters;

use super::channel::ChannelLink;
use super::events::Events;
use super::exchange::{Dialect, Done, Exchange, Request, Told};
use super::http::{HttpLink, named};
use super::idle::Rest;
use super::lobby::{Mailbox, Questions, Seat};
use super::nap::{Hold, Nap, Phase};
use super::place::Place;
use super::spec::{HealthSpec, ReplicaKind, ReplicaSpec};

/// How bytes reach it.
#[derive(Debug)]
pub enum Link {
    /// A child's pipes.
    Stdio(ChannelLink),
    /// A server behind a URL, over Streamable HTTP.
    Http(HttpLink),
    /// A server behind a URL, over the HTTP+SSE transport of 2024-11-05. What is asked outside of
    /// the session goes by the second.
    Sse(ChannelLink, HttpLink),
}

/// Longest wait until a server has taken the level of its log messages.
const LEVEL_TIMEOUT: Duration = Duration::from_secs(2);

/// A replica that was greeted and listed.
#[derive(Debug)]
pub struct Live {
    /// How bytes reach it.
    pub link: Link,
    /// What it offers.
    pub offers: Offers,
    /// What it tells of itself.
    pub events: Arc<Events>,
    /// The least severe log message that it was asked to send.
    level: Mutex<Option<Level>>,
}

/// What comes for a call beside its stream, as long as it is held.
#[derive(Debug, Default)]
pub struct Beside {
    seat: Option<Seat>,
    /// Log messages for a modern client, which gets them on the stream of its call or not at all.
    pub mail: Option<Arc<Mailbox>>,
    /// Questions for the client.
    questions: Option<Questions>,
}

impl Beside {
    /// The call was answered, or never reached the server. One that is dropped without may be asked
    /// about still.
    pub fn over(&mut self) {
        self.seat.iter_mut().for_each(Seat::over);
    }

    /// The next thing; never, if nothing comes beside the stream. May be dropped and called again.
    pub async fn next(&mut self) -> Told {
        match (&self.mail, &mut self.questions) {
            (None, None) => std::future::pending().await,
            (Some(mail), None) => Told::Note(mail.next().await),
            (None, Some(questions)) => Told::Ask(questions.next().await),
            (Some(mail), Some(questions)) => tokio::select! {
                biased;
                log = mail.next() => Told::Note(log),
                ask = questions.next() => Told::Ask(ask),
            },
        }
    }

    /// Whether the client has been asked something and has not answered.
    pub fn awaits_client(&self) -> bool {
        self.questions.as_ref().is_some_and(Questions::any_open)
    }
}

impl Live {
    /// A replica that was greeted.
    pub fn new(link: Link, offers: Offers, events: Arc<Events>) -> Self {
        Self { link, offers, events, level: Mutex::new(None) }
    }

    /// A legacy server logs as its session says, and clients share the session: it is asked for the
    /// least severe messages that any of them wants, and each gets its own (2025-11-25, logging).
    pub async fn log_at_least(&self, wanted: Option<Level>) {
        let Some(level) = wanted.filter(|_| self.offers.logging) else { return };
        if self.dialect().era == Era::Modern {
            return;
        }
        {
            let mut asked = self.level.lock();
            if asked.is_some_and(|asked| asked <= level) {
                return;
            }
            *asked = Some(level);
        }
        let body = |number| legacy::level_request(number, level);
        // Rare, and 5 KB: a future of its own, so that not every call carries it.
        let asked = Box::pin(self.ask_with(body, Method::SetLevel, LEVEL_TIMEOUT));
        if let Err(fault) = asked.await {
            tracing::debug!(%fault, "could not set the level of its log messages");
        }
    }

    /// The dialect it speaks.
    pub fn dialect(&self) -> Dialect {
        match &self.link {
            Link::Stdio(link) | Link::Sse(link, _) => link.dialect(),
            Link::Http(link) => link.dialect(),
        }
    }

    /// Whether it is reached over the HTTP+SSE transport of 2024-11-05.
    pub fn is_sse(&self) -> bool {
        matches!(self.link, Link::Sse(..))
    }

    /// Whether its log messages may come outside of the streams of calls, on a connection of their
    /// own.
    pub fn logs_outside(&self) -> bool {
        self.offers.logging
            && matches!(self.link, Link::Http(_))
            && self.dialect().era == Era::Legacy
    }

    /// A call of a client begins; what comes outside of its stream may be meant for it, as long
    /// as it holds the answer.
    pub fn seat(&self, request: &Request<'_>) -> Beside {
        let caller = request.caller;
        if self.dialect().era == Era::Modern {
            return Beside::default();
        }
        let over_http = matches!(self.link, Link::Http(_));
        let reads = caller.era == Era::Modern && caller.log_level.is_some();
        let mail = (reads && over_http && self.offers.logging).then(Arc::default);
        let lobby = &self.events.lobby;
        if over_http && !request.abilities().is_empty() {
            let (seat, questions) = lobby.sit_and_hear(caller, mail.clone());
            return Beside { seat: Some(seat), mail, questions: Some(questions) };
        }
        let seat = self.offers.logging.then(|| lobby.sit(caller, mail.clone()));
        Beside { seat, mail, questions: None }
    }

    /// The server is in doubt: what is asked from now on goes over new connections. Those that wait
    /// may be half-open, and would tell of themselves and not of the server.
    pub fn forget_connections(&self) {
        if let Link::Http(link) | Link::Sse(_, link) = &self.link {
            link.forget_connections();
        }
    }

    /// Starts a client's request.
    pub fn begin(&self, request: &Request<'_>) -> Result<Exchange, Fault> {
        match &self.link {
            Link::Stdio(link) | Link::Sse(link, _) => link.begin(request).map(Exchange::Channel),
            Link::Http(link) => link.begin(request).map(Exchange::Http),
        }
    }

    /// A request of our own without parameters or with a cursor, answered within `limit`.
    pub async fn ask(
        &self,
        method: Method,
        cursor: Option<&str>,
        limit: Duration,
        us: &serde_json::Value,
    ) -> Result<Done, Fault> {
        let body = |number: u64| match self.dialect().era {
            Era::Modern => modern::request(number, method.name(), cursor, us),
            Era::Legacy if method == Method::Ping => legacy::request(number, method.name()),
            Era::Legacy => legacy::list_request(number, method.name(), cursor),
        };
        self.ask_with(body, method, limit).await
    }

    /// Calls a tool without arguments, to see whether it answers.
    pub async fn ask_tool(
        &self,
        tool: &str,
        limit: Duration,
        us: &serde_json::Value,
    ) -> Result<Done, Fault> {
        let method = Method::ToolsCall;
        let body = |number| match self.dialect().era {
            Era::Modern => modern::tool_request(number, tool, us),
            Era::Legacy => legacy::tool_request(number, tool),
        };
        let exchange = match &self.link {
            Link::Stdio(link) | Link::Sse(link, _) => {
                let number = link.channel().number();
                Exchange::Channel(link.ask(body(number), number)?)
            }
            Link::Http(link) => {
                let number = link.number();
                let name = named(&encode_value(tool))?;
                Exchange::Http(link.ask_about(body(number), number, method, Some(&name)))
            }
        };
        within(limit, method, exchange.finish()).await
    }

    /// A request of our own whose body is made from its number.
    pub async fn ask_with(
        &self,
        body: impl FnOnce(u64) -> Vec<u8>,
        method: Method,
        limit: Duration,
    ) -> Result<Done, Fault> {
        let exchange = match &self.link {
            Link::Stdio(link) | Link::Sse(link, _) => {
                let number = link.channel().number();
                Exchange::Channel(link.ask(body(number), number)?)
            }
            Link::Http(link) => {
                let number = link.number();
                Exchange::Http(link.ask(body(number), number, method))
            }
        };
        within(limit, method, exchange.finish()).await
    }
}

/// Runs a request of ours with a bound.
async fn within<T>(
    limit: Duration,
    method: Method,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        let message = format!("it did not answer {} within {} s", method.name(), limit.as_secs());
        Err(Fault::upstream(Kind::Timeout, Sent::Maybe, message))
    })
}

/// What a replica is doing, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Being connected, greeted or listed.
    Starting,
    /// Taking calls.
    Up {
        /// The revision it speaks.
        version: Version,
    },
    /// A child that is not running because nobody uses it: the next call starts it.
    Asleep,
    /// Not taking calls, for this reason; it is tried again.
    Down(String),
}

/// What replicas have in common: those of one upstream what is watched and whom they tell, those that
/// stand beside each other for clients of different abilities all.
#[derive(Clone, Debug)]
pub struct Bonds {
    /// Calls in flight, bounded.
    pub permits: Arc<Semaphore>,
    /// Resources that somebody watches.
    pub watched: watch::Receiver<Arc<BTreeSet<String>>>,
    /// Told of every change of state.
    pub stir: Arc<Notify>,
    /// It asks in the middle of calls, and two that could be asked have met there.
    interactive: Arc<AtomicBool>,
}

impl Bonds {
    /// Bonds of a replica with at most so many calls in flight.
    pub fn new(
        inflight_max: usize,
        watched: watch::Receiver<Arc<BTreeSet<String>>>,
        stir: Arc<Notify>,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(inflight_max.min(Semaphore::MAX_PERMITS)));
        Self { permits, watched, stir, interactive: Arc::default() }
    }
}

/// One running copy of an upstream.
#[derive(Debug)]
pub struct Replica {
    /// The upstream it is a copy of.
    pub upstream: UpstreamName,
    /// What it is made from.
    pub spec: ReplicaSpec,
    /// Its handles on the metrics.
    pub meters: ReplicaMeters,
    /// Calls in flight, bounded.
    pub permits: Arc<Semaphore>,
    /// How many they were when it was made.
    bound: usize,
    /// Which one it is, and what its clients can be asked for: the gateway declares that in the
    /// handshake. Replicas for clients of some ability stand beside the one for everybody.
    pub place: Place,
    /// Resources that somebody watches.
    pub watched: watch::Receiver<Arc<BTreeSet<String>>>,
    /// Those of them that the server watches: a legacy one was asked to, a modern one has said so.
    taken: Mutex<Arc<BTreeSet<String>>>,
    relist: Notify,
    live: ArcSwapOption<Live>,
    state: Mutex<State>,
    /// Whether it sleeps, and who keeps it awake.
    nap: Nap,
    /// How often it came up after it had slept.
    wakes: AtomicU32,
    /// It was up or down at least once.
    tried: AtomicBool,
    /// `mcp_upstream_up` is this one's to say.
    counted: AtomicBool,
    doubt: Notify,
    stir: Arc<Notify>,
    interactive: Arc<AtomicBool>,
    /// How it is looked at.
    health: ArcSwap<HealthSpec>,
    /// How often it has come up.
    lives: AtomicU32,
    /// Looks in a row that it answered, in this life.
    good_looks: AtomicU32,
    /// It does not answer looks.
    suspect: AtomicBool,
    /// A call of it succeeded since the last look.
    traffic: AtomicBool,
}

impl Replica {
    /// A replica that is not up yet. It says nothing in `mcp_upstream_up` before it is
    /// [counted](Self::count).
    pub fn new(
        upstream: UpstreamName,
        spec: ReplicaSpec,
        meters: ReplicaMeters,
        place: Place,
        bonds: Bonds,
    ) -> Self {
        let Bonds { permits, watched, stir, interactive } = bonds;
        Self {
            upstream,
            spec,
            meters,
            bound: permits.available_permits(),
            permits,
            place,
            watched,
            taken: Mutex::default(),
            relist: Notify::new(),
            live: ArcSwapOption::empty(),
            state: Mutex::new(State::Starting),
            nap: Nap::new(),
            wakes: AtomicU32::new(0),
            tried: AtomicBool::new(false),
            counted: AtomicBool::new(false),
            doubt: Notify::new(),
            stir,
            interactive,
            health: ArcSwap::default(),
            lives: AtomicU32::new(0),
            good_looks: AtomicU32::new(0),
            suspect: AtomicBool::new(false),
            traffic: AtomicBool::new(false),
        }
    }

    /// How it is looked at.
    pub fn health(&self) -> Arc<HealthSpec> {
        self.health.load_full()
    }

    /// It is looked at so from now on.
    pub fn set_health(&self, spec: HealthSpec) {
        self.health.store(Arc::new(spec));
    }

    /// How often it has come up: a higher number is another process or another greeting.
    pub fn lives(&self) -> u32 {
        self.lives.load(Ordering::Acquire)
    }

    /// Looks in a row that it answered, in this life.
    pub fn good_looks(&self) -> u32 {
        self.good_looks.load(Ordering::Relaxed)
    }

    /// Whether it does not answer looks. It may be busy: it gets no new call while another one is
    /// up, and nothing of it is cancelled, counted or killed.
    pub fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Relaxed)
    }

    /// A call of it succeeded: it need not be looked at for a while.
    pub fn succeeded(&self) {
        // Most often it is set already: then the line of the cache stays shared.
        if !self.traffic.load(Ordering::Relaxed) {
            self.traffic.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a call of it succeeded since this was last asked.
    pub(super) fn take_traffic(&self) -> bool {
        self.traffic.swap(false, Ordering::Relaxed)
    }

    /// Whether it asks in the middle of calls, and two that could be asked have met there or at one
    /// that stands beside it: from then on each such call has one to itself.
    pub fn is_interactive(&self) -> bool {
        self.interactive.load(Ordering::Relaxed)
    }

    /// Two calls that could be asked have met there when it asked.
    pub(super) fn set_interactive(&self) {
        if !self.interactive.swap(true, Ordering::Relaxed) {
            let (upstream, replica) = (&self.upstream, &self.spec.name);
            tracing::info!(
                %upstream,
                %replica,
                "it asked while two calls could be meant; from now on each has one to itself"
            );
        }
    }

    /// What a look found: `good` looks in a row were answered, and whether it is suspect.
    pub(super) fn looked(&self, good: u32, suspect: bool) {
        self.good_looks.store(good, Ordering::Relaxed);
        if self.suspect.swap(suspect, Ordering::Relaxed) != suspect {
            let (upstream, replica) = (&self.upstream, &self.spec.name);
            if suspect {
                tracing::warn!(%upstream, %replica, "suspect: it does not answer when asked");
            } else {
                tracing::info!(%upstream, %replica, "answers again");
            }
            self.stir.notify_waiters();
        }
    }

    /// Its live connection, if it is up.
    pub fn live(&self) -> Option<Arc<Live>> {
        self.live.load_full()
    }

    /// Whether it takes calls.
    pub fn is_up(&self) -> bool {
        self.live.load().is_some()
    }

    /// Whether it is up over the HTTP+SSE transport of 2024-11-05.
    pub fn is_sse(&self) -> bool {
        self.live.load().as_ref().is_some_and(|live| live.is_sse())
    }

    /// Whether a question of it may be of a call that was given up: it is asked of nobody.
    pub fn is_haunted(&self, now: Instant) -> bool {
        self.live.load().as_ref().is_some_and(|live| match &live.link {
            Link::Stdio(link) | Link::Sse(link, _) => link.channel().is_haunted(now),
            Link::Http(_) => live.events.lobby.is_haunted(now),
        })
    }

    /// Whether it is a child process.
    pub fn is_child(&self) -> bool {
        matches!(self.spec.kind, ReplicaKind::Child(_))
    }

    /// What it is doing.
    pub fn state(&self) -> State {
        self.state.lock().clone()
    }

    // === sleep ===

    pub(super) fn nap(&self) -> &Nap {
        &self.nap
    }

    /// Whether it sleeps.
    pub fn phase(&self) -> Phase {
        self.nap.phase()
    }

    /// How often it has fallen asleep or woken up: who looks twice finds out whether it did in between.
    pub fn turns(&self) -> u64 {
        self.nap.turns()
    }

    /// Whether calls can have it: it takes them now, or as soon as it is awake.
    pub fn is_usable(&self) -> bool {
        let (up, phase) = self.up_and_phase();
        up || phase != Phase::Awake
    }

    /// Whether it takes calls, and whether it sleeps. It goes to sleep before it is taken from the
    /// calls, and is awake after it was given to them: looked at in this order it is never neither.
    pub fn up_and_phase(&self) -> (bool, Phase) {
        let (up, phase) = (self.is_up(), self.phase());
        (up || self.is_up(), phase)
    }

    /// How often it came up again without having slept before.
    pub fn restarts(&self) -> u32 {
        self.lives().saturating_sub(1).saturating_sub(self.wakes.load(Ordering::Relaxed))
    }

    /// A child is stopped when it was not used for so long; zero or `None` = never.
    pub fn set_idle_stop(&self, after: Option<Duration>) {
        self.nap.set_after(after.filter(|_| self.is_child()));
    }

    /// Somebody is at it now, and it does not fall asleep under them; `None` if it sleeps already.
    pub fn hold(self: &Arc<Self>) -> Option<Hold> {
        self.held(true)
    }

    /// The same for a look, which is no use of it.
    pub fn glance(self: &Arc<Self>) -> Option<Hold> {
        self.held(false)
    }

    fn held(self: &Arc<Self>, uses: bool) -> Option<Hold> {
        if !self.is_child() {
            return Some(Hold::new(None, uses));
        }
        self.nap.hold().then(|| Hold::new(Some(Arc::clone(self)), uses))
    }

    /// Wakes it, if it sleeps. Whoever holds the answer can wait for it to be up: it does not fall
    /// asleep again before. `None` if it does not sleep.
    pub fn rouse(self: &Arc<Self>) -> Option<Hold> {
        let starts = || self.enter(State::Starting, 1.0);
        let roused = self.nap.rouse(starts);
        if roused {
            self.stir.notify_waiters();
        }
        roused.then(|| Hold::new(Some(Arc::clone(self)), true))
    }

    /// It is not started before somebody wants it. For one that nobody keeps yet.
    pub fn begin_asleep(&self) {
        self.nap.begin_asleep();
        self.tried.store(true, Ordering::Release);
        self.enter(State::Asleep, 1.0);
    }

    /// Resolves when nobody has used it for so long that it sleeps from now on: no call is at it,
    /// and none gets there. Nothing is lost if the future is dropped.
    pub(super) async fn falls_asleep(&self) {
        loop {
            let watched = !self.watched.borrow().is_empty();
            let goes = || {
                self.live.store(None);
                *self.taken.lock() = Arc::default();
                self.enter(State::Asleep, 1.0);
            };
            match self.nap.settle(clock::now(), watched, goes) {
                Rest::Now => {
                    self.stir.notify_waiters();
                    return;
                }
                Rest::Never => self.nap.stirred().await,
                Rest::LookAt(due) => {
                    drop(tokio::time::timeout_at(due.into(), self.nap.stirred()).await);
                }
            }
        }
    }

    /// Resolves when somebody wants it: at once if it does not sleep.
    pub(super) async fn wakes(self: &Arc<Self>) {
        let mut watched = self.watched.clone();
        while self.phase() == Phase::Asleep {
            if !watched.borrow_and_update().is_empty() {
                // A resource is to be watched: it stays awake for that, nobody waits.
                drop(self.rouse());
                return;
            }
            tokio::select! {
                () = self.nap.stirred() => {}
                Ok(()) = watched.changed() => {}
            }
        }
    }

    /// It was used a moment ago.
    pub(super) fn touch(&self) {
        self.nap.touch(clock::now());
    }

    // === what its keeper says ===

    /// Whether it starts for the first time.
    pub fn is_new(&self) -> bool {
        !self.tried.load(Ordering::Acquire)
    }

    /// A call found it not answering, or its stream broke: its keeper looks at once.
    pub fn doubt(&self) {
        self.doubt.notify_one();
    }

    /// Whether the server has been asked to watch a resource.
    pub fn has_taken(&self, uri: &str) -> bool {
        self.taken.lock().contains(uri)
    }

    /// The server has been asked to watch these, and no others.
    pub(super) fn set_taken(&self, uris: Arc<BTreeSet<String>>) {
        *self.taken.lock() = uris;
        self.stir.notify_waiters();
    }

    /// The same with places of its own: another process takes as many calls as this one.
    pub fn bonds_of_its_own(&self) -> Bonds {
        Bonds { permits: Arc::new(Semaphore::new(self.bound)), ..self.bonds() }
    }

    /// What one that stands beside it has in common with it.
    pub fn bonds(&self) -> Bonds {
        let (permits, stir) = (Arc::clone(&self.permits), Arc::clone(&self.stir));
        let interactive = Arc::clone(&self.interactive);
        Bonds { permits, watched: self.watched.clone(), stir, interactive }
    }

    /// Whether `mcp_upstream_up` is this one's to say: one that stands beside another is not
    /// counted.
    fn is_counted(&self) -> bool {
        self.place.abilities.is_empty() && self.counted.load(Ordering::Acquire)
    }

    /// A call found its lists to be old: its keeper lists at once.
    pub fn relist(&self) {
        self.relist.notify_one();
    }

    /// Resolves when a call found the lists to be old.
    pub(super) async fn outdated(&self) {
        self.relist.notified().await;
    }

    /// Resolves when a call had doubts.
    pub(super) async fn doubted(&self) {
        self.doubt.notified().await;
    }

    /// Takes calls from now on.
    pub(super) fn set_up(&self, live: Arc<Live>) {
        let version = live.dialect().version;
        // First what calls look at: nobody must find it neither starting nor up.
        self.good_looks.store(0, Ordering::Relaxed);
        self.suspect.store(false, Ordering::Relaxed);
        let lived = self.lives.fetch_add(1, Ordering::AcqRel) > 0;
        if lived && self.phase() == Phase::Waking {
            self.wakes.fetch_add(1, Ordering::Relaxed);
        }
        self.nap.awake(clock::now(), || {
            self.live.store(Some(live));
            self.tried.store(true, Ordering::Release);
            self.enter(State::Up { version }, 1.0);
        });
        self.stir.notify_waiters();
    }

    /// Takes no calls from now on.
    pub(super) fn set_down(&self, state: State) {
        self.live.store(None);
        if matches!(state, State::Down(_)) {
            self.tried.store(true, Ordering::Release);
            // One that could not be woken is down like any other.
            self.nap.awake(clock::now(), || self.enter(state, 0.0));
        } else {
            // One that wakes up is not missing.
            let up = if self.phase() == Phase::Waking { 1.0 } else { 0.0 };
            self.enter(state, up);
        }
        self.stir.notify_waiters();
    }

    fn enter(&self, entered: State, up: f64) {
        let mut state = self.state.lock();
        *state = entered;
        if self.is_counted() {
            self.meters.up.set(up);
            self.meters.asleep.set(if *state == State::Asleep { 1.0 } else { 0.0 });
        }
    }

    /// `mcp_upstream_up` and `mcp_breaker_state` are this one's to say from now on, or no more: then
    /// they have no value, unless another one of the same name says it.
    pub fn count(&self, counted: bool) {
        // Whoever changes the state waits, so that the last word is the right one.
        let state = self.state.lock();
        self.counted.store(counted, Ordering::Release);
        let says = |yes| if yes { 1.0 } else { 0.0 };
        let asleep = *state == State::Asleep;
        let up = says(asleep || matches!(*state, State::Up { .. }));
        self.meters.up.set(if counted { up } else { f64::NAN });
        self.meters.asleep.set(if counted { says(asleep) } else { f64::NAN });
        // Whoever takes a name over begins with an open gate.
        self.meters.gate.set(if counted { 0.0 } else { f64::NAN });
    }

    /// What changes the bound of calls in flight: `before` is the one it has, `now` the one it gets.
    /// Resolves when so many calls have ended as are too many.
    pub async fn resize(&self, before: usize, now: usize) {
        let most = |bound: usize| bound.min(Semaphore::MAX_PERMITS);
        let (before, now) = (most(before), most(now));
        self.permits.add_permits(now.saturating_sub(before));
        let less = u32::try_from(before.saturating_sub(now)).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        if let Ok(taken) = self.permits.acquire_many(less).await {
            taken.forget();
        }
    }

    /// Resolves when no call is in flight, here and at those that stand beside it. `bound` is the
    /// one it has.
    pub async fn quiet(&self, bound: usize) {
        let all = u32::try_from(bound.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        drop(self.permits.acquire_many(all).await);
    }
}
