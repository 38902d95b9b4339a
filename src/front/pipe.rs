//! One client at the other end of a connection that carries messages both ways: stdin and stdout, a
//! WebSocket, the stream and the POSTs of HTTP+SSE. What carries them is a thin shell: it hands in
//! what comes ([`Pipe::take`]) and writes what goes out ([`Outgoing`]).
//!
//! A pipe is one connection for both eras at once, unless it is told otherwise: some clients ask
//! `server/discover` and then send a legacy `initialize`, and both are answered. The connection is
//! the session: it ends with it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::base::{Fault, Kind, Sent, Tasks};
use crate::gateway::{Call, Gateway, Reply, Wish, answer};
use crate::proto::envelope::{Envelope, Shape, Why, split};
use crate::proto::error::{ErrorBody, INVALID_PARAMS, INVALID_REQUEST, result_message};
use crate::proto::{Era, Method, Version, batch, ladder, legacy};
use crate::upstream::{Caller, Told};

use super::asks::CallAsks;
use super::batch::{Part, Taken, all, take};
use super::body::{Counted, Held};
use super::intake::{Crowded, Intake, Seat};
use super::member::Member;
use super::message::{abilities, malformed, modern_caller, notified, say, settle};
use super::notes::{Notes, Waiting};
use super::outbox::{Outbox, Outgoing};
use super::session::Session;
use super::subscribe::{Subscription, Tidings, session_messages};

/// Calls of the one client in flight at once.
const INFLIGHT_MAX: usize = 1_024;
/// How long calls may still take at the end of a pipe whose client may read on, and how long what is
/// said last may take to go out.
pub const LAST_WORDS: Duration = Duration::from_millis(800);

/// Who is at the other end.
#[derive(Debug)]
pub struct Guest {
    /// Who it is; nobody is asked = `None`.
    pub who: Option<Arc<Member>>,
    /// What tells its connection from others.
    pub connection: u64,
    /// What it may speak.
    pub eras: Eras,
}

/// What may be spoken on a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eras {
    /// Both, in any order.
    Both,
    /// The legacy era alone: the transport has no other.
    Legacy,
}

/// The one client.
#[derive(Debug)]
pub struct Pipe {
    gateway: Gateway,
    intake: Arc<Intake>,
    guest: Guest,
    outbox: Outbox,
    /// Since a legacy `initialize`.
    session: Mutex<Option<Arc<Session>>>,
    /// Its place among the sessions, since then.
    seat: Mutex<Option<Seat>>,
    /// Stands in for a session before there is one.
    before: Arc<Session>,
    /// Calls: they are waited for at the end.
    calls: Tasks,
    /// Subscriptions: they end when they are told to.
    watchers: Tasks,
    room: Arc<Semaphore>,
    /// Nothing new is taken.
    ending: AtomicBool,
}

impl Pipe {
    /// A pipe to a client of whom nothing was heard yet, and what is to be written to it.
    pub fn open(gateway: Gateway, intake: Arc<Intake>, guest: Guest) -> (Arc<Self>, Outgoing) {
        let (outbox, outgoing) = Outbox::new();
        let before =
            Session::silent(&gateway).of_principal(guest.who.as_deref().map(Member::who), None);
        let pipe = Self {
            gateway,
            intake,
            guest,
            outbox,
            session: Mutex::default(),
            seat: Mutex::default(),
            before: Arc::new(before),
            calls: Tasks::new(),
            watchers: Tasks::new(),
            room: Arc::new(Semaphore::new(INFLIGHT_MAX)),
            ending: AtomicBool::new(false),
        };
        (Arc::new(pipe), outgoing)
    }

    /// Who is at the other end.
    pub fn guest(&self) -> &Guest {
        &self.guest
    }

    /// Resolves when the client has left, or when `stop` has come and what it had asked is answered
    /// or has had its `grace`. Then nothing more goes out.
    pub async fn last(&self, stop: &CancellationToken, grace: impl FnOnce() -> Duration + Send) {
        let told = async {
            stop.cancelled().await;
            self.end(grace()).await;
        };
        tokio::select! {
            () = self.outbox.left() => {}
            () = told => {}
        }
    }

    /// The pipe ends: no request is taken any more, calls that run have this time, and subscriptions
    /// are told. If the client has left, all of that is at once.
    pub async fn end(&self, patience: Duration) {
        self.ending.store(true, Ordering::Release);
        self.calls.finish(patience).await;
        self.watchers.stop(LAST_WORDS).await;
        self.outbox.close();
    }

    /// Takes what the client sent. Errs with the error for what is no message: it is for the shell to
    /// say so where its clients look for it.
    pub async fn take(self: &Arc<Self>, body: Bytes) -> Result<(), Bytes> {
        if batch::is_batch(&body) {
            return self.batch(&body).await;
        }
        let shape = split(&body).map_err(|error| {
            let id = error.id.map(|span| span.of(&body));
            Bytes::from(malformed(&error.why).message(id))
        })?;
        let judged = ladder::era(&body, &shape, None).and_then(|era| match era {
            Era::Modern => ladder::modern(&body, &shape, None).map(|()| era),
            Era::Legacy => Ok(era),
        });
        match (judged, shape.shape) {
            (Err(_) | Ok(Era::Modern), Shape::Request) if self.is_foreign(&shape) => {
                let text = "this address speaks revisions up to 2025-11-25 (HTTP+SSE); send requests of later ones to /mcp";
                self.refuse(&body, &shape, &ErrorBody::new(INVALID_REQUEST, text)).await;
            }
            (Err(refusal), _) => self.say(refusal.error.message(id(&body, &shape))).await,
            (_, Shape::Response) => self.current().asks.answered(&body, shape.id),
            (_, Shape::Notification) => notified(&self.current(), &body, &shape),
            (Ok(Era::Legacy), Shape::Request) => self.legacy(body, shape).await,
            (Ok(Era::Modern), Shape::Request) => {
                let who = self.who().map(|member| Arc::clone(member.who()));
                let caller = modern_caller(&body, &shape, who, self.guest.connection);
                self.start(body, shape, Arc::new(caller)).await;
            }
        }
        Ok(())
    }

    /// Queues a message. A client that does not read holds up only itself.
    pub async fn say(&self, message: impl Into<Bytes>) {
        self.outbox.put(message.into()).await;
    }

    /// Whether a request is of an era that is not spoken here.
    fn is_foreign(&self, shape: &Envelope) -> bool {
        self.guest.eras == Eras::Legacy && shape.keys.version.is_some()
    }

    async fn legacy(self: &Arc<Self>, body: Bytes, shape: Envelope) {
        if shape.method == Method::Initialize {
            return self.initialize(&body, &shape).await;
        }
        self.start(body, shape, self.current().caller()).await;
    }

    async fn initialize(self: &Arc<Self>, body: &Bytes, shape: &Envelope) {
        let _place = match self.place(|| self.held(false)) {
            Ok(place) => place,
            Err(fault) => return self.refuse(body, shape, &answer::error(&fault, None)).await,
        };
        let hello = match legacy::read_initialize(shape.params.map(|span| span.of(body))) {
            Ok(hello) => hello,
            Err(text) => {
                return self.refuse(body, shape, &ErrorBody::new(INVALID_PARAMS, text)).await;
            }
        };
        if let Err(crowded) = self.take_seat() {
            return self.refuse(body, shape, &answer::error(crowded.fault(), None)).await;
        }
        let result = self.gateway.snapshot().initialize(hello.version);
        self.gateway.answered(Method::Initialize, true);
        let session = Session::new(&hello, &self.gateway)
            .after(&self.current())
            .of_principal(self.who().map(Member::who), None);
        let first = self.session.lock().replace(Arc::new(session)).is_none();
        self.say(result_message(id(body, shape).unwrap_or(b"null"), &result)).await;
        if first {
            let pipe = Arc::clone(self);
            self.watchers.spawn(async move { pipe.tell_changes().await });
        }
    }

    /// Its place among the sessions. Who begins anew has it already.
    fn take_seat(&self) -> Result<(), Crowded> {
        let mut seat = self.seat.lock();
        if seat.is_none() {
            *seat = Some(self.intake.take_seat(self.who())?);
        }
        Ok(())
    }

    /// Tells a legacy client what changes.
    async fn tell_changes(&self) {
        let mut tidings = Tidings::of(&self.gateway, &self.current());
        loop {
            tokio::select! {
                news = tidings.next() => {
                    for message in session_messages(&self.current(), &news) {
                        self.say(message).await;
                    }
                }
                () = self.watchers.stop_token().cancelled() => return,
            }
        }
    }

    /// The messages of a batch, answered together.
    async fn batch(self: &Arc<Self>, body: &Bytes) -> Result<(), Bytes> {
        let refused =
            |text: String| Bytes::from(ErrorBody::new(INVALID_REQUEST, text).message(None));
        let items = batch::items(body).map_err(|error| match error {
            batch::BatchError::Scan(error) => malformed(&Why::Scan(error)).message(None).into(),
            other => refused(other.to_string()),
        })?;
        let session = self.current();
        if session.version != Version::V2025_03_26 {
            return Err(refused(Why::Batch.to_string()));
        }
        let place = match self.place(|| self.intake.call(None)) {
            Ok(place) => place,
            Err(fault) => {
                self.say(answer::error(&fault, None).message(None)).await;
                return Ok(());
            }
        };
        let part = |item| self.part(item, &session);
        let parts: Vec<Part> = items.into_iter().filter_map(part).collect();
        let pipe = Arc::clone(self);
        self.calls.spawn(async move {
            tokio::select! {
                reply = all(parts) => {
                    if let Some(reply) = reply {
                        pipe.say(reply).await;
                    }
                }
                () = pipe.calls.stop_token().cancelled() => {}
            }
            drop(place);
        });
        Ok(())
    }

    /// One message of a batch; `None` where no answer is due.
    fn part(self: &Arc<Self>, item: batch::Item, session: &Arc<Session>) -> Option<Part> {
        let own = match self.own(&item) {
            Ok(own) => own,
            Err(refused) => return Some(Box::pin(std::future::ready(Some(refused)))),
        };
        let (body, shape, entered) = match take(item, session, &self.gateway) {
            Taken::Call(body, shape, entered) => (body, shape, entered),
            Taken::Over(answer) => return answer,
        };
        let (pipe, caller) = (Arc::clone(self), session.caller());
        Some(Box::pin(async move {
            let _own = own;
            tokio::select! {
                reply = pipe.reply(&body, &shape, &caller) => Some(reply),
                () = entered.cancelled() => None,
            }
        }))
    }

    /// The place of a request of a batch among those of its principal, or what it is answered with.
    fn own(&self, (body, shape): &batch::Item) -> Result<Option<Counted>, Bytes> {
        let Ok(shape) = shape else { return Ok(None) };
        let asking = self.who().filter(|_| shape.shape == Shape::Request);
        self.intake
            .ask(asking)
            .map_err(|fault| answer::error(&fault, None).message(id(body, shape)).into())
    }

    /// Starts a call as a task of its own: one slow tool does not hold up the next message.
    async fn start(self: &Arc<Self>, body: Bytes, shape: Envelope, caller: Arc<Caller>) {
        let listen = shape.method == Method::Listen && caller.era == Era::Modern;
        let place = match self.place(|| self.held(listen)) {
            Ok(place) => place,
            Err(fault) => {
                return self.say(answer::error(&fault, None).message(id(&body, &shape))).await;
            }
        };
        let session = self.current();
        // Behind the place: what is refused has changed nothing.
        if caller.era == Era::Legacy
            && let Err(error) = say(&session, &self.gateway, &body, &shape)
        {
            return self.refuse(&body, &shape, &error).await;
        }
        let entered = session.enter(Bytes::copy_from_slice(id(&body, &shape).unwrap_or_default()));
        let pipe = Arc::clone(self);
        let tasks = if listen { &self.watchers } else { &self.calls };
        tasks.spawn(async move {
            let work = async {
                if listen {
                    return pipe.listen(&body, &shape).await;
                }
                tokio::select! {
                    () = pipe.call(&body, &shape, &caller) => {}
                    // It had its last words' time; the writer must not wait for it.
                    () = pipe.calls.stop_token().cancelled() => {
                        let text = "the connection ends, and the answer has not come";
                        let fault = Fault::upstream(Kind::Closed, Sent::Maybe, text);
                        pipe.say(answer::error(&fault, None).message(id(&body, &shape))).await;
                    }
                }
            };
            tokio::select! {
                () = work => {}
                () = entered.cancelled() => {}
            }
            drop(place);
        });
    }

    /// A place on this pipe, and those elsewhere that `held` takes.
    fn place(&self, held: impl FnOnce() -> Result<Held, Fault>) -> Result<Place, Fault> {
        if self.ending.load(Ordering::Acquire) {
            let text = "this connection ends: open another one, if there is still a gateway";
            return Err(Fault::gateway(Kind::Closed, text));
        }
        let room = Arc::clone(&self.room).try_acquire_owned();
        let full = |_| {
            self.intake.full("too many calls are in flight on this connection: wait for answers")
        };
        Ok(Place { _room: room.map_err(full)?, _held: held()? })
    }

    /// The places of a call, or of a subscription, which is a stream.
    fn held(&self, listen: bool) -> Result<Held, Fault> {
        let call = self.intake.call(self.who())?;
        if !listen {
            return Ok(call);
        }
        self.intake.open_stream(self.who()).map_err(|crowded| crowded.fault().clone())
    }

    async fn call(&self, body: &Bytes, shape: &Envelope, caller: &Caller) {
        settle(&self.current(), body, shape).await;
        let reply = self.reply(body, shape, caller).await;
        self.say(reply).await;
    }

    /// A call, from its message to its reply. What its client is told before goes out at once.
    async fn reply(&self, body: &Bytes, shape: &Envelope, caller: &Caller) -> Bytes {
        let notes = Notes::default();
        let mut asks = CallAsks::new(Arc::clone(&self.current().asks), notes.clone());
        let reply = {
            let call = Call { body, shape, caller, headers: None, wish: Wish::default() };
            let mut running = pin!(self.gateway.call(call, |told| match told {
                Told::Note(note) => notes.push(note),
                Told::Ask(ask) => asks.put(ask),
                // There is one pipe, which stays.
                Told::Away(_) => {}
            }));
            loop {
                let step = poll_fn(|context| {
                    let reply = running.as_mut().poll(context);
                    match (self.pass_on(&notes), reply) {
                        (_, Poll::Ready(reply)) => Poll::Ready(Step::Reply(reply)),
                        (Some(question), Poll::Pending) => Poll::Ready(Step::Question(question)),
                        (None, Poll::Pending) => Poll::Pending,
                    }
                });
                match step.await {
                    Step::Reply(reply) => break reply,
                    Step::Question(question) => self.say(question).await,
                }
            }
        };
        asks.take_back();
        self.pass_on(&notes);
        reply.whole(id(body, shape)).await
    }

    /// Queues notes, up to the first question. A client that does not read loses notes first, and
    /// never a question.
    fn pass_on(&self, notes: &Notes) -> Option<Bytes> {
        while let Some(told) = notes.next() {
            match told {
                Waiting::Note(note) => self.outbox.offer(note),
                Waiting::Question(question) => return Some(question),
            }
        }
        None
    }

    /// A modern subscription: acknowledged first, ended with a result when we stop.
    async fn listen(&self, body: &Bytes, shape: &Envelope) {
        let params = shape.params.map_or(b"{}".as_slice(), |span| span.of(body));
        let mut tidings = Tidings::new(&self.gateway);
        let (name, able) = (id(body, shape).unwrap_or(b"null"), abilities(body, shape));
        let opened = Subscription::open(name, params, able, &self.gateway);
        self.gateway.answered(Method::Listen, opened.is_ok());
        let mut subscription = match opened {
            Ok(subscription) => subscription,
            Err(error) => return self.say(error.message(id(body, shape))).await,
        };
        subscription.taken().await;
        self.say(subscription.acknowledged()).await;
        loop {
            tokio::select! {
                news = tidings.next() => {
                    for message in subscription.messages(&news) {
                        self.say(message).await;
                    }
                }
                () = self.watchers.stop_token().cancelled() => break,
            }
        }
        self.say(subscription.ended()).await;
    }

    /// Refuses a request that never reaches the gateway.
    async fn refuse(&self, body: &[u8], shape: &Envelope, error: &ErrorBody) {
        self.gateway.answered(shape.method, false);
        self.say(error.message(id(body, shape))).await;
    }

    fn current(&self) -> Arc<Session> {
        self.session.lock().clone().unwrap_or_else(|| Arc::clone(&self.before))
    }

    fn who(&self) -> Option<&Member> {
        self.guest.who.as_deref()
    }
}

/// The places that a call or a subscription takes while it runs.
struct Place {
    _room: OwnedSemaphorePermit,
    _held: Held,
}

/// How a call goes on.
enum Step {
    Reply(Reply),
    Question(Bytes),
}

fn id<'b>(body: &'b [u8], shape: &Envelope) -> Option<&'b [u8]> {
    shape.id.map(|span| span.of(body))
}
