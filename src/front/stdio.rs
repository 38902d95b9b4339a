//! stdin and stdout as one client. The pipe is one connection for both eras at once: some clients
//! ask `server/discover` and then send a legacy `initialize`, and both are answered.
//!
//! Nobody is asked for a key here: whoever started the process is the one who calls.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Semaphore, mpsc};

use crate::base::{Fault, Kind, Sent, Tasks};
use crate::gateway::{Call, Gateway, Reply, Wish, answer};
use crate::proto::envelope::{Envelope, Shape, Why, split};
use crate::proto::error::{ErrorBody, INVALID_PARAMS, INVALID_REQUEST, result_message};
use crate::proto::frame::{LineFramer, line};
use crate::proto::{Era, Method, Version, batch, ladder, legacy};
use crate::upstream::{Caller, Told};

use super::asks::CallAsks;
use super::batch::{Part, Taken, all, take};
use super::message::{abilities, malformed, modern_caller, notified, say, settle};
use super::notes::{Notes, Waiting};
use super::session::Session;
use super::spec::LimitSpec;
use super::subscribe::{Subscription, Tidings, session_messages};

/// Messages that wait to be written.
const QUEUE_MAX: usize = 256;
/// Calls of the one client in flight at once.
const INFLIGHT_MAX: usize = 1_024;
/// How much is read at once.
const READ_BYTES: usize = 64 * 1024;
/// At the end of stdin: how long calls that were asked may still take.
const LAST_WORDS: Duration = Duration::from_millis(800);

/// Serves one client until its input ends or `tasks` is told to stop.
pub async fn serve<R, W>(gateway: Gateway, limits: LimitSpec, tasks: &Tasks, input: R, output: W)
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let (lines, queue) = mpsc::channel(QUEUE_MAX);
    let (calls, watchers) = (Tasks::new(), Tasks::new());
    let writer = tasks.spawn(write(output, queue));
    let pipe = Pipe {
        gateway,
        lines,
        session: Mutex::default(),
        before: Arc::new(Session::silent()),
        calls: calls.clone(),
        watchers: watchers.clone(),
        room: Arc::new(Semaphore::new(INFLIGHT_MAX)),
    };
    let stop = tasks.stop_token().clone();
    tokio::select! {
        () = Arc::new(pipe).read(input, limits.body_bytes_max) => {}
        () = stop.cancelled() => {}
    }
    calls.finish(LAST_WORDS).await;
    watchers.stop(LAST_WORDS).await;
    if tokio::time::timeout(LAST_WORDS, writer).await.is_err() {
        tracing::debug!("the client does not read its last answers");
    }
}

/// The one client.
struct Pipe {
    gateway: Gateway,
    lines: mpsc::Sender<Bytes>,
    /// Since a legacy `initialize`.
    session: Mutex<Option<Arc<Session>>>,
    /// Stands in for a session before there is one.
    before: Arc<Session>,
    /// Calls: they are waited for at the end.
    calls: Tasks,
    /// Subscriptions: they end when they are told to.
    watchers: Tasks,
    room: Arc<Semaphore>,
}

impl Pipe {
    async fn read<R: AsyncRead + Unpin>(self: Arc<Self>, mut input: R, line_bytes_max: usize) {
        let mut framer = LineFramer::new(line_bytes_max);
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(READ_BYTES);
            match input.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(_) => framer.push(buffer.split().freeze()),
            }
            while let Some(line) = framer.next_line() {
                self.line(line.map_err(|error| error.to_string())).await;
            }
        }
        if let Some(line) = framer.finish() {
            self.line(line.map_err(|error| error.to_string())).await;
        }
    }

    async fn line(self: &Arc<Self>, line: Result<Bytes, String>) {
        match line {
            Ok(body) => self.message(body).await,
            Err(text) => {
                let fault = Fault::gateway(Kind::TooLarge, text);
                self.say(answer::error(&fault, None).message(None)).await;
            }
        }
    }

    async fn message(self: &Arc<Self>, body: Bytes) {
        if batch::is_batch(&body) {
            return self.batch(&body).await;
        }
        let shape = match split(&body) {
            Ok(shape) => shape,
            Err(error) => {
                let id = error.id.map(|span| span.of(&body));
                return self.say(malformed(&error.why).message(id)).await;
            }
        };
        let judged = ladder::era(&body, &shape, None).and_then(|era| match era {
            Era::Modern => ladder::modern(&body, &shape, None).map(|()| era),
            Era::Legacy => Ok(era),
        });
        match (judged, shape.shape) {
            (Err(refusal), _) => self.say(refusal.error.message(id(&body, &shape))).await,
            (_, Shape::Response) => self.current().asks.answered(&body, shape.id),
            (_, Shape::Notification) => notified(&self.current(), &body, &shape),
            (Ok(Era::Legacy), Shape::Request) => self.legacy(body, shape).await,
            (Ok(Era::Modern), Shape::Request) => {
                let caller = Arc::new(modern_caller(&body, &shape, None, 0));
                self.start(body, shape, caller).await;
            }
        }
    }

    async fn legacy(self: &Arc<Self>, body: Bytes, shape: Envelope) {
        if shape.method == Method::Initialize {
            return self.initialize(&body, &shape).await;
        }
        let session = self.current();
        if let Err(error) = say(&session, &self.gateway, &body, &shape) {
            self.gateway.answered(shape.method, false);
            return self.say(error.message(id(&body, &shape))).await;
        }
        self.start(body, shape, session.caller()).await;
    }

    async fn initialize(self: &Arc<Self>, body: &Bytes, shape: &Envelope) {
        let hello = match legacy::read_initialize(shape.params.map(|span| span.of(body))) {
            Ok(hello) => hello,
            Err(text) => {
                self.gateway.answered(Method::Initialize, false);
                return self
                    .say(ErrorBody::new(INVALID_PARAMS, text).message(id(body, shape)))
                    .await;
            }
        };
        let result = self.gateway.snapshot().initialize(hello.version);
        self.gateway.answered(Method::Initialize, true);
        let session = Session::new(&hello, &self.gateway).after(&self.current());
        let first = self.session.lock().replace(Arc::new(session)).is_none();
        self.say(result_message(id(body, shape).unwrap_or(b"null"), &result)).await;
        if first {
            let pipe = Arc::clone(self);
            self.watchers.spawn(async move { pipe.tell_changes().await });
        }
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
    async fn batch(self: &Arc<Self>, body: &Bytes) {
        let refused = |text: String| ErrorBody::new(INVALID_REQUEST, text).message(None);
        let items = match batch::items(body) {
            Ok(items) => items,
            Err(batch::BatchError::Scan(error)) => {
                return self.say(malformed(&Why::Scan(error)).message(None)).await;
            }
            Err(other) => return self.say(refused(other.to_string())).await,
        };
        let session = self.current();
        if session.version != Version::V2025_03_26 {
            return self.say(refused(Why::Batch.to_string())).await;
        }
        let part = |item| self.part(item, &session);
        let parts: Vec<Part> = items.into_iter().filter_map(part).collect();
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else {
            return self.say(answer::error(&full(), None).message(None)).await;
        };
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
            drop(permit);
        });
    }

    /// One message of a batch; `None` where no answer is due.
    fn part(self: &Arc<Self>, item: batch::Item, session: &Arc<Session>) -> Option<Part> {
        let (body, shape, entered) = match take(item, session, &self.gateway) {
            Taken::Call(body, shape, entered) => (body, shape, entered),
            Taken::Over(answer) => return answer,
        };
        let (pipe, caller) = (Arc::clone(self), session.caller());
        Some(Box::pin(async move {
            tokio::select! {
                reply = pipe.reply(&body, &shape, &caller) => Some(reply),
                () = entered.cancelled() => None,
            }
        }))
    }

    /// Starts a call as a task of its own: one slow tool does not hold up the next message.
    async fn start(self: &Arc<Self>, body: Bytes, shape: Envelope, caller: Arc<Caller>) {
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else {
            return self.say(answer::error(&full(), None).message(id(&body, &shape))).await;
        };
        let entered =
            self.current().enter(Bytes::copy_from_slice(id(&body, &shape).unwrap_or_default()));
        let pipe = Arc::clone(self);
        let listen = shape.method == Method::Listen && caller.era == Era::Modern;
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
                        let text = "the gateway ends with its input, and the answer has not come";
                        let fault = Fault::upstream(Kind::Closed, Sent::Maybe, text);
                        pipe.say(answer::error(&fault, None).message(id(&body, &shape))).await;
                    }
                }
            };
            tokio::select! {
                () = work => {}
                () = entered.cancelled() => {}
            }
            drop(permit);
        });
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
                Waiting::Note(note) => drop(self.lines.try_send(line(&note))),
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

    fn current(&self) -> Arc<Session> {
        self.session.lock().clone().unwrap_or_else(|| Arc::clone(&self.before))
    }

    /// Queues a message. A client that does not read holds up only itself.
    async fn say(&self, message: impl AsRef<[u8]>) {
        // A writer that is gone means that the client is.
        drop(self.lines.send(line(message.as_ref())).await);
    }
}

/// How a call goes on.
enum Step {
    Reply(Reply),
    Question(Bytes),
}

fn full() -> Fault {
    Fault::gateway(Kind::Overloaded, format!("{INFLIGHT_MAX} calls are in flight already"))
}

fn id<'b>(body: &'b [u8], shape: &Envelope) -> Option<&'b [u8]> {
    shape.id.map(|span| span.of(body))
}

async fn write<W: AsyncWrite + Unpin>(mut output: W, mut queue: mpsc::Receiver<Bytes>) {
    while let Some(line) = queue.recv().await {
        if output.write_all(&line).await.is_err() || output.flush().await.is_err() {
            return;
        }
    }
}
