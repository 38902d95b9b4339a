//! The MCP endpoint over HTTP: bytes become calls, replies become a document or a stream. Both eras
//! side by side (2025-11-25 and 2026-07-28, basic/transports/streamable-http).

#![expect(clippy::result_large_err, reason = "a refusal is a whole HTTP answer, made once")]

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method as HttpMethod, Request, Response, StatusCode,
};
use hyper::body::Incoming;

use crate::base::{Principal, Tasks, clock};
use crate::gateway::{self, Call, Gateway, Reply, Wish, answer};
use crate::proto::envelope::{Envelope, Shape, Why, split};
use crate::proto::error::{ErrorBody, INVALID_PARAMS, INVALID_REQUEST, result_message};
use crate::proto::ladder::{self, Head, Header};
use crate::proto::{Era, Method, Version, batch, era, legacy};
use crate::telemetry::Meters;
use crate::upstream::http::{MCP_METHOD, MCP_NAME, PROTOCOL_VERSION, SESSION_ID};
use crate::upstream::{Caller, Told};

use super::asks::{Asks, CallAsks};
use super::batch::{Part, Taken, all, take};
use super::body::{Answer, Counted, Held, Stream};
use super::http::{
    Outcome, accepted, crowded, document, empty, not_allowed, overloaded, receive, refuse, stream,
};
use super::intake::Intake;
use super::member::Member;
use super::message::{abilities, malformed, modern_caller, notified, say, settle};
use super::negotiate::{accepts, is_json};
use super::notes::Notes;
use super::pressure::Level;
use super::running::{CallFuture, First, Nothing, Running};
use super::session::{Entered, Session, Sessions};
use super::spec::LimitSpec;
use super::subscribe::{Listening, Standing, Subscription, Tidings};

/// Where memory is short, sessions may be idle for this part of the usual time.
const THRIFT: u32 = 4;

/// What may be done at the endpoint.
const METHODS: &str = "POST, GET, DELETE";

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The MCP endpoint. Clones share it.
#[derive(Clone, Debug)]
pub struct Mcp {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    gateway: Gateway,
    sessions: Sessions,
    intake: Arc<Intake>,
    tasks: Tasks,
    /// Bytes that are kept for clients that come back, in all.
    replayed: Arc<AtomicUsize>,
}

impl Mcp {
    /// An endpoint in front of a gateway. `tasks` run calls that their clients left behind.
    pub fn new(gateway: Gateway, limits: LimitSpec, tasks: Tasks, meters: &Meters) -> Self {
        let sessions = Sessions::new(limits.sessions_max, meters.sessions(Era::Legacy.as_str()));
        let intake = Arc::new(Intake::new(limits, tasks.stop_token().clone(), meters));
        let shared = Shared { gateway, sessions, intake, tasks, replayed: Arc::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Its legacy sessions.
    pub fn sessions(&self) -> &Sessions {
        &self.shared.sessions
    }

    /// How much it takes. Other fronts of the same gateway take from the same.
    pub fn intake(&self) -> &Arc<Intake> {
        &self.shared.intake
    }

    /// The gateway behind it.
    pub fn gateway(&self) -> &Gateway {
        &self.shared.gateway
    }

    /// Forgets sessions that were idle for too long, sooner where memory is short.
    pub fn reap(&self, now: Instant) {
        let thrifty = self.shared.intake.pressure().level() >= Level::Thrifty;
        let idle_max = self.shared.intake.limits().session_idle_max;
        self.shared.sessions.reap(now, if thrifty { idle_max / THRIFT } else { idle_max });
    }

    /// Answers one HTTP request to the endpoint. `who` sent it; nobody is asked = `None`.
    /// `connection` tells the connection it came by from others.
    pub async fn handle(
        &self,
        request: Request<Incoming>,
        who: Option<Arc<Member>>,
        connection: u64,
    ) -> Response<Answer> {
        match *request.method() {
            HttpMethod::POST => self.post(request, who, connection).await,
            HttpMethod::GET => self.get(request.headers(), who.as_deref()),
            HttpMethod::DELETE => self.delete(request.headers(), who.as_deref()),
            _ => not_allowed(METHODS),
        }
        .unwrap_or_else(|refused| refused)
    }

    // === POST ===

    async fn post(
        &self,
        request: Request<Incoming>,
        who: Option<Arc<Member>>,
        connection: u64,
    ) -> Outcome {
        let (parts, body) = request.into_parts();
        if !accepts(&parts.headers, "application/json")
            || !accepts(&parts.headers, "text/event-stream")
        {
            let text = "the Accept header must allow both application/json and text/event-stream";
            return Err(refuse(406, None, &ErrorBody::new(INVALID_REQUEST, text)));
        }
        if !is_json(&parts.headers) {
            let text = "the Content-Type must be application/json";
            return Err(refuse(415, None, &ErrorBody::new(INVALID_REQUEST, text)));
        }
        let (body, counted) = receive(&self.shared.intake, body).await?;
        if batch::is_batch(&body) {
            self.has_memory(None)?;
            return self.batch(&body, &parts.headers, who, counted).await;
        }
        let shape = match split(&body) {
            Ok(shape) => shape,
            Err(error) => {
                let id = error.id.map(|span| span.of(&body));
                return Err(refuse(400, id, &malformed(&error.why)));
            }
        };
        if shape.shape == Shape::Request {
            self.has_memory(shape.id.map(|span| span.of(&body)))?;
        }
        let headers = parts.headers;
        let own = self
            .asked(who.as_deref(), &shape)
            .map_err(|error| refuse(200, shape.id.map(|span| span.of(&body)), &error))?;
        let held = Held { all: Some(counted), own };
        let message = Box::new(Message { body, shape, headers, who, connection, _held: held });
        let head = head(&message.headers);
        match ladder::era(&message.body, &message.shape, Some(&head)) {
            Err(refusal) => Err(message.refuse(refusal.status, &refusal.error)),
            Ok(Era::Legacy) => self.legacy(message).await,
            Ok(Era::Modern) => match ladder::modern(&message.body, &message.shape, Some(&head)) {
                Err(refusal) => Err(message.refuse(refusal.status, &refusal.error)),
                Ok(()) => self.modern(message).await,
            },
        }
    }

    /// Takes the place of a request among those of its principal, which is told in-band that there is
    /// none, as nobody else is concerned. What is no request (an answer, a cancellation) needs none,
    /// and is never refused.
    fn asked(&self, who: Option<&Member>, shape: &Envelope) -> Result<Option<Counted>, ErrorBody> {
        let asking = who.filter(|_| shape.shape == Shape::Request);
        self.shared.intake.ask(asking).map_err(|fault| answer::error(&fault, None))
    }

    /// Whether there is memory for one more request.
    fn has_memory(&self, asked: Option<&[u8]>) -> Result<(), Response<Answer>> {
        self.shared.intake.has_memory().map_err(|fault| overloaded(asked, &fault))
    }

    async fn modern(&self, message: Box<Message>) -> Outcome {
        match (message.shape.shape, message.shape.method) {
            (Shape::Notification | Shape::Response, _) => Ok(accepted()),
            (Shape::Request, Method::Listen) => {
                let outcome = self.listen(&message).await;
                self.counted(&message, outcome)
            }
            (Shape::Request, _) => {
                let who = message.who.as_deref().map(|member| Arc::clone(member.who()));
                let caller =
                    Arc::new(modern_caller(&message.body, &message.shape, who, message.connection));
                Ok(self.run(message, caller, None).await)
            }
        }
    }

    /// Counts a request that never reaches the gateway.
    fn counted(&self, message: &Message, outcome: Outcome) -> Outcome {
        self.shared.gateway.answered(message.shape.method, outcome.is_ok());
        outcome
    }

    async fn listen(&self, message: &Message) -> Outcome {
        let params = message.shape.params.map_or(b"{}".as_slice(), |span| span.of(&message.body));
        let gateway = &self.shared.gateway;
        let tidings = Tidings::new(gateway);
        let (id, able) =
            (message.id().unwrap_or(b"null"), abilities(&message.body, &message.shape));
        let subscription = Subscription::open(id, params, able, gateway)
            .map_err(|error| message.refuse(400, &error))?;
        let held = self.stream(message.who.as_deref(), message.id())?;
        subscription.taken().await;
        let stop = self.shared.intake.pressure().stream();
        let events = Listening::new(subscription, tidings, stop);
        Ok(stream(Stream::new(events, held)))
    }

    async fn legacy(&self, message: Box<Message>) -> Outcome {
        if message.shape.shape == Shape::Request && message.shape.method == Method::Initialize {
            return self.counted(&message, self.initialize(&message));
        }
        let session = self
            .session(&message.headers, message.who.as_deref(), message.id())
            .map_err(|refused| *refused)?;
        match message.shape.shape {
            Shape::Response => {
                session.asks.answered(&message.body, message.shape.id);
                Ok(accepted())
            }
            Shape::Notification => {
                notified(&session, &message.body, &message.shape);
                Ok(accepted())
            }
            Shape::Request => {
                let said = say(&session, &self.shared.gateway, &message.body, &message.shape);
                if let Err(error) = said {
                    return self.counted(&message, Err(message.refuse(200, &error)));
                }
                settle(&session, &message.body, &message.shape).await;
                let entered =
                    session.enter(Bytes::copy_from_slice(message.id().unwrap_or_default()));
                let caller = session.caller();
                Ok(self.run(message, caller, Some((entered, session))).await)
            }
        }
    }

    fn initialize(&self, message: &Message) -> Outcome {
        let params = message.shape.params.map(|span| span.of(&message.body));
        let hello = legacy::read_initialize(params)
            .map_err(|text| message.refuse(400, &ErrorBody::new(INVALID_PARAMS, text)))?;
        let own = self.shared.intake.open_session(message.who.as_deref());
        let own = own.map_err(|full| crowded(message.id(), &full))?;
        let result = self.shared.gateway.snapshot().initialize(hello.version);
        let session = Session::new(&hello, &self.shared.gateway)
            .of_principal(message.who.as_deref().map(Member::who), own);
        let Ok(id) = self.shared.sessions.open(session) else {
            let full = self.shared.intake.full("the gateway is at its bound of sessions");
            return Err(overloaded(message.id(), &full));
        };
        let mut response = document(200, result_message(message.id().unwrap_or(b"null"), &result));
        if let Ok(id) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(SESSION_ID, id);
        }
        Ok(response)
    }

    /// The session that the headers name, if it is one of `who`. `asked` is the id of the request
    /// that needs it.
    fn session(
        &self,
        headers: &HeaderMap,
        who: Option<&Member>,
        asked: Option<&[u8]>,
    ) -> Result<Arc<Session>, Box<Response<Answer>>> {
        let Some(id) = headers.get(SESSION_ID) else {
            let text = "the header Mcp-Session-Id is missing; send initialize first";
            return Err(Box::new(refuse(400, asked, &ErrorBody::new(INVALID_REQUEST, text))));
        };
        let who: Option<&Principal> = who.map(|member| &**member.who());
        id.to_str().ok().and_then(|id| self.shared.sessions.get(id, who)).ok_or_else(|| {
            let text = "there is no such session; send initialize to begin a new one";
            Box::new(refuse(404, asked, &ErrorBody::new(INVALID_REQUEST, text)))
        })
    }

    /// Runs a call and answers in the form it turns out to need.
    async fn run(
        &self,
        message: Box<Message>,
        caller: Arc<Caller>,
        session: Option<(Entered, Arc<Session>)>,
    ) -> Response<Answer> {
        let notes = Notes::default();
        let (entered, session) = session.unzip();
        let asks = session.as_ref().map(|session| Arc::clone(&session.asks));
        let call = Box::pin(self.call(message, caller, entered.zip(asks), notes.clone()));
        self.answer(call, session, notes).await
    }

    /// Answers in the form that a call turns out to need.
    async fn answer(
        &self,
        call: CallFuture,
        session: Option<Arc<Session>>,
        notes: Notes,
    ) -> Response<Answer> {
        // A legacy client that hangs up has not cancelled (2025-11-25, transports).
        let left_behind = session.is_some().then(|| self.shared.tasks.clone());
        let polls = session.as_ref().is_some_and(|session| session.polls());
        let mut running = Running::new(call, left_behind, notes, polls);
        match running.first().await {
            First::Reply(Some(Reply { message: gateway::Message::Whole(whole), status })) => {
                document(status, whole)
            }
            First::Reply(Some(Reply { message: gateway::Message::Coming(mended), status })) => {
                let mut response = document(status, Bytes::new());
                *response.body_mut() = Answer::Coming(mended);
                response
            }
            First::Reply(None) => stream(Stream::new(Nothing, Held::default())),
            First::Streams => {
                if let Some(session) = &session {
                    running.may_come_back(session, &self.shared.replayed);
                }
                stream(Stream::new(running, Held::default()))
            }
        }
    }

    /// A call, from its message to its reply; `None` if its client cancels it.
    fn call(
        &self,
        message: Box<Message>,
        caller: Arc<Caller>,
        session: Option<(Entered, Arc<Asks>)>,
        notes: Notes,
    ) -> impl Future<Output = Option<Reply>> + Send + use<> {
        let gateway = self.shared.gateway.clone();
        async move {
            let headers = (caller.era == Era::Modern).then_some(&message.headers);
            let call = Call {
                body: &message.body,
                shape: &message.shape,
                caller: &caller,
                headers,
                wish: Wish::default(),
            };
            let Some((entered, asks)) = session else {
                // Nobody is asked in the middle of a modern call: a question drops, and is refused.
                let reply = gateway.call(call, |told| {
                    if let Told::Note(note) = told {
                        notes.push(note);
                    }
                });
                return Some(reply.await);
            };
            let mut asks = CallAsks::new(asks, notes.clone());
            let reply = tokio::select! {
                reply = gateway.call(call, |told| match told {
                    Told::Note(note) => notes.push(note),
                    Told::Ask(ask) => asks.put(ask),
                    Told::Away(wait) => notes.away(wait),
                }) => Some(reply),
                () = entered.cancelled() => None,
            };
            asks.take_back();
            reply
        }
    }

    // === batches: 2025-03-26 only ===

    async fn batch(
        &self,
        body: &Bytes,
        headers: &HeaderMap,
        who: Option<Arc<Member>>,
        counted: Counted,
    ) -> Outcome {
        let refused = |text: String| refuse(400, None, &ErrorBody::new(INVALID_REQUEST, text));
        let items = batch::items(body).map_err(|error| match error {
            batch::BatchError::Scan(error) => refuse(400, None, &malformed(&Why::Scan(error))),
            other => refused(other.to_string()),
        })?;
        legacy_only(headers).map_err(|_modern| refused(Why::Batch.to_string()))?;
        let session = self.session(headers, who.as_deref(), None).map_err(|refused| *refused)?;
        if session.version != Version::V2025_03_26 {
            return Err(refused(Why::Batch.to_string()));
        }
        let notes = Notes::default();
        let part = |item| self.part(item, headers, who.as_ref(), &session, &notes);
        let parts: Vec<Part> = items.into_iter().filter_map(part).collect();
        if parts.is_empty() {
            return Ok(accepted());
        }
        let together = Box::pin(async move {
            let _counted = counted;
            all(parts).await.map(Reply::ok)
        });
        Ok(self.answer(together, Some(session), notes).await)
    }

    /// One message of a batch; `None` where no answer is due.
    fn part(
        &self,
        item: batch::Item,
        headers: &HeaderMap,
        who: Option<&Arc<Member>>,
        session: &Arc<Session>,
        notes: &Notes,
    ) -> Option<Part> {
        let own = match &item {
            (body, Ok(shape)) => match self.asked(who.map(|member| &**member), shape) {
                Ok(own) => own,
                Err(error) => {
                    let id = shape.id.map(|span| span.of(body));
                    let refused = Bytes::from(error.message(id));
                    return Some(Box::pin(std::future::ready(Some(refused))));
                }
            },
            (_, Err(_)) => None,
        };
        let (body, shape, entered) = match take(item, session, &self.shared.gateway) {
            Taken::Call(body, shape, entered) => (body, shape, entered),
            Taken::Over(answer) => return answer,
        };
        let headers = headers.clone();
        let (who, held) = (who.cloned(), Held { all: None, own });
        // A batch is of a session, which has its own key.
        let message = Box::new(Message { body, shape, headers, who, connection: 0, _held: held });
        let asks = Some((entered, Arc::clone(&session.asks)));
        let id = message.id().map(Bytes::copy_from_slice);
        let call = self.call(message, session.caller(), asks, notes.clone());
        Some(Box::pin(async move { Some(call.await?.whole(id.as_deref()).await) }))
    }

    // === GET, DELETE: legacy only ===

    fn get(&self, headers: &HeaderMap, who: Option<&Member>) -> Outcome {
        legacy_only(headers)?;
        if headers.get(ACCEPT).is_none() || !accepts(headers, "text/event-stream") {
            let text = "this is an MCP endpoint: POST JSON-RPC messages to it, or GET a stream with Accept: text/event-stream";
            return Err(refuse(406, None, &ErrorBody::new(INVALID_REQUEST, text)));
        }
        let session = self.session(headers, who, None).map_err(|refused| *refused)?;
        let held = self.stream(who, None)?;
        if let Some(last) = headers.get(LAST_EVENT_ID) {
            let last = last.to_str().unwrap_or_default();
            let opened = session.polls().then(clock::now);
            let events = session.replay.after(last, session.ended.clone(), opened);
            let events = events.ok_or_else(|| {
                let text = "Last-Event-ID names no event of this session, or what followed on it is no longer kept";
                refuse(400, None, &ErrorBody::new(INVALID_REQUEST, text))
            })?;
            return Ok(stream(Stream::new(events, held)));
        }
        let stop = self.shared.intake.pressure().stream();
        let tidings = Tidings::of(&self.shared.gateway, &session);
        let events = Standing::new(session, tidings, stop);
        Ok(stream(Stream::new(events, held)))
    }

    fn delete(&self, headers: &HeaderMap, who: Option<&Member>) -> Outcome {
        legacy_only(headers)?;
        self.session(headers, who, None).map_err(|refused| *refused)?;
        let id = headers.get(SESSION_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
        self.shared.sessions.close(id);
        Ok(empty(StatusCode::NO_CONTENT))
    }

    /// The places of one more open stream. `asked` is the id of the request that opens it.
    fn stream(&self, who: Option<&Member>, asked: Option<&[u8]>) -> Result<Held, Response<Answer>> {
        self.shared.intake.open_stream(who).map_err(|full| crowded(asked, &full))
    }
}

/// A message that arrived by POST. Boxed on its way: it is handed from one future to the next.
struct Message {
    body: Bytes,
    shape: Envelope,
    headers: HeaderMap,
    /// Who sent it; nobody is asked = `None`.
    who: Option<Arc<Member>>,
    /// What tells its connection from others.
    connection: u64,
    _held: Held,
}

impl Message {
    fn id(&self) -> Option<&[u8]> {
        self.shape.id.map(|span| span.of(&self.body))
    }

    fn refuse(&self, status: u16, error: &ErrorBody) -> Response<Answer> {
        refuse(status, self.id(), error)
    }
}

fn head(headers: &HeaderMap) -> Head<'_> {
    let header = |name: &HeaderName| {
        let mut lines = headers.get_all(name).iter();
        match (lines.next(), lines.next()) {
            (None, _) => Header::Absent,
            (Some(line), None) => Header::One(line.as_bytes().trim_ascii()),
            (Some(_), Some(_)) => Header::Many,
        }
    };
    Head {
        version: header(&PROTOCOL_VERSION),
        method: header(&MCP_METHOD),
        name: header(&MCP_NAME),
    }
}

/// Modern servers have neither GET nor DELETE (2026-07-28, "Earlier Streamable HTTP Revisions").
fn legacy_only(headers: &HeaderMap) -> Result<(), Response<Answer>> {
    let version = headers.get(PROTOCOL_VERSION).and_then(|value| value.to_str().ok());
    if version.is_some_and(era::names_modern) { not_allowed(METHODS).map(|_| ()) } else { Ok(()) }
}
