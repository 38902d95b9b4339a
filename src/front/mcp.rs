//! The MCP endpoint over HTTP: bytes become calls, replies become a document or a stream. Both eras
//! side by side (2025-11-25 and 2026-07-28, basic/transports/streamable-http).

#![expect(clippy::result_large_err, reason = "a refusal is a whole HTTP answer, made once")]

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method as HttpMethod, Request, Response, StatusCode,
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use metrics::Counter;

use crate::base::{Fault, Kind, Tasks};
use crate::gateway::{Call, Gateway, Reply, answer};
use crate::proto::envelope::{Envelope, Shape, Why, split};
use crate::proto::error::{ErrorBody, INVALID_PARAMS, INVALID_REQUEST, PARSE, result_message};
use crate::proto::frame::sse_event;
use crate::proto::ladder::{self, Head, Header};
use crate::proto::scan::{ScanError, member};
use crate::proto::{Era, Method, era, legacy};
use crate::telemetry::Meters;
use crate::upstream::Caller;
use crate::upstream::http::{MCP_METHOD, MCP_NAME, PROTOCOL_VERSION, SESSION_ID};

use super::body::{Answer, Counted, Events, Stream};
use super::negotiate::{accepts, is_json};
use super::notes::Notes;
use super::session::{Entered, Session, Sessions};
use super::spec::LimitSpec;
use super::subscribe::{Listening, Standing, Wanted};

/// A call that was silent for so long is answered as a stream, so that nobody on the way gives up.
const QUIET_MAX: Duration = Duration::from_secs(10);

const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

type CallFuture = Pin<Box<dyn Future<Output = Option<Reply>> + Send>>;

/// The MCP endpoint. Clones share it.
#[derive(Clone, Debug)]
pub struct Mcp {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    gateway: Gateway,
    sessions: Sessions,
    limits: LimitSpec,
    tasks: Tasks,
    inflight: Arc<AtomicUsize>,
    streams: Arc<AtomicUsize>,
    shed: Counter,
}

impl Mcp {
    /// An endpoint in front of a gateway. `tasks` run calls that their clients left behind.
    pub fn new(gateway: Gateway, limits: LimitSpec, tasks: Tasks, meters: &Meters) -> Self {
        let sessions = Sessions::new(
            limits.sessions_max,
            limits.session_idle_max,
            meters.sessions(Era::Legacy.as_str()),
        );
        let shed = meters.shed("front");
        let (inflight, streams) = Default::default();
        Self {
            shared: Arc::new(Shared { gateway, sessions, limits, tasks, inflight, streams, shed }),
        }
    }

    /// Its legacy sessions.
    pub fn sessions(&self) -> &Sessions {
        &self.shared.sessions
    }

    /// Answers one HTTP request to the endpoint.
    pub async fn handle(&self, request: Request<Incoming>) -> Response<Answer> {
        match *request.method() {
            HttpMethod::POST => self.post(request).await,
            HttpMethod::GET => self.get(request.headers()),
            HttpMethod::DELETE => self.delete(request.headers()),
            _ => not_allowed(),
        }
        .unwrap_or_else(|refused| refused)
    }

    // === POST ===

    async fn post(&self, request: Request<Incoming>) -> Outcome {
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
        let Some(counted) = Counted::enter(&self.shared.inflight, self.shared.limits.inflight_max)
        else {
            self.shared.shed.increment(1);
            return Err(overloaded(None, "the gateway is at its bound of calls in flight"));
        };
        let body = self.read(body).await?;
        let shape = match split(&body) {
            Ok(shape) => shape,
            Err(error) => {
                let id = error.id.map(|span| span.of(&body));
                return Err(refuse(400, id, &malformed(&error.why)));
            }
        };
        let message = Message { body, shape, headers: parts.headers, _counted: counted };
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

    async fn read(&self, body: Incoming) -> Result<Bytes, Response<Answer>> {
        let max = self.shared.limits.body_bytes_max;
        let too_large = || {
            let text = format!("the request is larger than {max} bytes");
            let error = answer::error(&Fault::gateway(Kind::TooLarge, text), None);
            let mut refused = refuse(413, None, &error);
            refused.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            refused
        };
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if announced > max {
            return Err(too_large());
        }
        let whole = Limited::new(body, max).collect();
        match tokio::time::timeout(self.shared.limits.body_timeout, whole).await {
            Ok(Ok(whole)) => Ok(whole.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => {
                Err(refuse(400, None, &ErrorBody::new(PARSE, "the request body broke off")))
            }
            Err(_) => {
                Err(refuse(408, None, &ErrorBody::new(PARSE, "the request body took too long")))
            }
        }
    }

    async fn modern(&self, message: Message) -> Outcome {
        match (message.shape.shape, message.shape.method) {
            (Shape::Notification | Shape::Response, _) => Ok(accepted()),
            (Shape::Request, Method::Listen) => self.counted(&message, self.listen(&message)),
            (Shape::Request, _) => {
                let caller = Arc::new(modern_caller(&message.body, &message.shape));
                Ok(self.run(message, caller, None).await)
            }
        }
    }

    /// Counts a request that never reaches the gateway.
    fn counted(&self, message: &Message, outcome: Outcome) -> Outcome {
        self.shared.gateway.answered(message.shape.method, outcome.is_ok());
        outcome
    }

    fn listen(&self, message: &Message) -> Outcome {
        let params = message.shape.params.map_or(b"{}".as_slice(), |span| span.of(&message.body));
        let wanted = Wanted::read(message.id().unwrap_or(b"null"), params)
            .map_err(|error| message.refuse(400, &error))?;
        let counted = self.stream(message.id())?;
        let stop = self.shared.tasks.stop_token().clone();
        let events = Listening::new(wanted, self.shared.gateway.changes(), stop);
        Ok(stream(Stream::new(events, Some(counted))))
    }

    async fn legacy(&self, message: Message) -> Outcome {
        if message.shape.shape == Shape::Request && message.shape.method == Method::Initialize {
            return self.counted(&message, self.initialize(&message));
        }
        let session = self.session(&message.headers, message.id()).map_err(|refused| *refused)?;
        match message.shape.shape {
            Shape::Response => Ok(accepted()),
            Shape::Notification => {
                notified(&session, &message.body, &message.shape);
                Ok(accepted())
            }
            Shape::Request => {
                if message.shape.method == Method::SetLevel {
                    let set = set_level(&session, &message.body, &message.shape);
                    if let Err(error) = set {
                        return self.counted(&message, Err(message.refuse(200, &error)));
                    }
                }
                let entered =
                    session.enter(Bytes::copy_from_slice(message.id().unwrap_or_default()));
                Ok(self.run(message, session.caller(), Some(entered)).await)
            }
        }
    }

    fn initialize(&self, message: &Message) -> Outcome {
        let params = message.shape.params.map(|span| span.of(&message.body));
        let hello = legacy::read_initialize(params)
            .map_err(|text| message.refuse(400, &ErrorBody::new(INVALID_PARAMS, text)))?;
        let result = self.shared.gateway.snapshot().initialize(hello.version);
        let Ok(id) = self.shared.sessions.open(Session::new(&hello)) else {
            self.shared.shed.increment(1);
            return Err(overloaded(message.id(), "the gateway is at its bound of sessions"));
        };
        let mut response = document(200, result_message(message.id().unwrap_or(b"null"), &result));
        if let Ok(id) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(SESSION_ID, id);
        }
        Ok(response)
    }

    /// The session that the headers name. `asked` is the id of the request that needs it.
    fn session(
        &self,
        headers: &HeaderMap,
        asked: Option<&[u8]>,
    ) -> Result<Arc<Session>, Box<Response<Answer>>> {
        let Some(id) = headers.get(SESSION_ID) else {
            let text = "the header Mcp-Session-Id is missing; send initialize first";
            return Err(Box::new(refuse(400, asked, &ErrorBody::new(INVALID_REQUEST, text))));
        };
        id.to_str().ok().and_then(|id| self.shared.sessions.get(id)).ok_or_else(|| {
            let text = "there is no such session; send initialize to begin a new one";
            Box::new(refuse(404, asked, &ErrorBody::new(INVALID_REQUEST, text)))
        })
    }

    /// Runs a call and answers in the form it turns out to need.
    async fn run(
        &self,
        message: Message,
        caller: Arc<Caller>,
        entered: Option<Entered>,
    ) -> Response<Answer> {
        let notes = Notes::default();
        let legacy = caller.era == Era::Legacy;
        let call = {
            let (gateway, notes) = (self.shared.gateway.clone(), notes.clone());
            async move {
                let headers = (!legacy).then_some(&message.headers);
                let call =
                    Call { body: &message.body, shape: &message.shape, caller: &caller, headers };
                let reply = gateway.call(call, |note| notes.push(note));
                match &entered {
                    None => Some(reply.await),
                    Some(entered) => tokio::select! {
                        reply = reply => Some(reply),
                        () = entered.cancelled() => None,
                    },
                }
            }
        };
        // A legacy client that hangs up has not cancelled (2025-11-25, transports).
        let left_behind = legacy.then(|| self.shared.tasks.clone());
        let mut running = Running { call: Some(Box::pin(call)), left_behind, notes };
        match running.first().await {
            First::Reply(Some(reply)) => document(reply.status, reply.message),
            First::Reply(None) => stream(Stream::new(Nothing, None)),
            First::Streams => stream(Stream::new(running, None)),
        }
    }

    // === GET, DELETE: legacy only ===

    fn get(&self, headers: &HeaderMap) -> Outcome {
        legacy_only(headers)?;
        if headers.get(ACCEPT).is_none() || !accepts(headers, "text/event-stream") {
            let text = "this is an MCP endpoint: POST JSON-RPC messages to it, or GET a stream with Accept: text/event-stream";
            return Err(refuse(406, None, &ErrorBody::new(INVALID_REQUEST, text)));
        }
        let session = self.session(headers, None).map_err(|refused| *refused)?;
        let counted = self.stream(None)?;
        let stop = self.shared.tasks.stop_token().clone();
        let events = Standing::new(session, self.shared.gateway.changes(), stop);
        Ok(stream(Stream::new(events, Some(counted))))
    }

    fn delete(&self, headers: &HeaderMap) -> Outcome {
        legacy_only(headers)?;
        self.session(headers, None).map_err(|refused| *refused)?;
        let id = headers.get(SESSION_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
        self.shared.sessions.close(id);
        Ok(empty(StatusCode::NO_CONTENT))
    }

    fn stream(&self, asked: Option<&[u8]>) -> Result<Counted, Response<Answer>> {
        Counted::enter(&self.shared.streams, self.shared.limits.streams_max).ok_or_else(|| {
            self.shared.shed.increment(1);
            overloaded(asked, "the gateway is at its bound of open streams")
        })
    }
}

type Outcome = Result<Response<Answer>, Response<Answer>>;

/// A message that arrived by POST.
struct Message {
    body: Bytes,
    shape: Envelope,
    headers: HeaderMap,
    _counted: Counted,
}

impl Message {
    fn id(&self) -> Option<&[u8]> {
        self.shape.id.map(|span| span.of(&self.body))
    }

    fn refuse(&self, status: u16, error: &ErrorBody) -> Response<Answer> {
        refuse(status, self.id(), error)
    }
}

/// What a modern request says of its client.
pub(super) fn modern_caller(body: &Bytes, shape: &Envelope) -> Caller {
    let slice = |member: Option<crate::proto::scan::Member>| {
        member.map(|m| body.slice(m.value.start..m.value.end))
    };
    Caller {
        era: Era::Modern,
        capabilities: slice(shape.keys.capabilities).unwrap_or(Bytes::from_static(b"{}")),
        info: slice(shape.keys.client_info),
        log_level: slice(shape.keys.log_level),
    }
}

/// A notification of a legacy client. What the gateway does not act on is accepted all the same.
pub(super) fn notified(session: &Session, body: &[u8], shape: &Envelope) {
    if shape.method != Method::Cancelled {
        return;
    }
    if let Some(id) = shape.params.and_then(|span| legacy::cancelled_id(span.of(body))) {
        session.cancel(id);
    }
}

/// `logging/setLevel`: remembered for the calls to come.
pub(super) fn set_level(session: &Session, body: &[u8], shape: &Envelope) -> Result<(), ErrorBody> {
    const LEVELS: [&str; 8] =
        ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];
    let level = shape.params.and_then(|span| member(span.of(body), "level"));
    let text = level.and_then(crate::proto::scan::unquote);
    match (level, text) {
        (Some(raw), Some(text)) if LEVELS.contains(&text.as_ref()) => {
            session.set_log_level(Bytes::copy_from_slice(raw));
            Ok(())
        }
        _ => Err(ErrorBody::new(
            INVALID_PARAMS,
            format!("params.level must be one of {}", LEVELS.join(", ")),
        )),
    }
}

/// What a message that cannot be read is answered with.
pub(super) fn malformed(why: &Why) -> ErrorBody {
    let code = match why {
        Why::Scan(ScanError::Syntax(_) | ScanError::Utf8(_)) => PARSE,
        _ => INVALID_REQUEST,
    };
    ErrorBody::new(code, why.to_string())
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
    if version.is_some_and(era::names_modern) { not_allowed().map(|_| ()) } else { Ok(()) }
}

// === answers ===

fn document(status: u16, body: impl Into<Bytes>) -> Response<Answer> {
    let mut response = Response::new(Answer::whole(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn refuse(status: u16, id: Option<&[u8]>, error: &ErrorBody) -> Response<Answer> {
    document(status, error.message(id))
}

fn overloaded(id: Option<&[u8]>, text: &'static str) -> Response<Answer> {
    let fault = Fault::gateway(Kind::Overloaded, text).retry_after(Some(Duration::from_secs(1)));
    let mut response = refuse(503, id, &answer::error(&fault, None));
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn empty(status: StatusCode) -> Response<Answer> {
    let mut response = Response::new(Answer::whole(Bytes::new()));
    *response.status_mut() = status;
    response
}

fn accepted() -> Response<Answer> {
    empty(StatusCode::ACCEPTED)
}

fn not_allowed() -> Outcome {
    let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST, GET, DELETE"));
    Err(response)
}

fn stream(stream: Stream) -> Response<Answer> {
    let mut response = Response::new(Answer::Stream(stream));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(BUFFERING, HeaderValue::from_static("no"));
    response
}

// === a running call ===

enum First {
    Reply(Option<Reply>),
    Streams,
}

/// A call while it runs. Dropped, it is cancelled; a legacy one runs on.
struct Running {
    call: Option<CallFuture>,
    left_behind: Option<Tasks>,
    notes: Notes,
}

impl Running {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Reply>> {
        let Some(call) = &mut self.call else { return Poll::Ready(None) };
        let reply = call.as_mut().poll(context);
        if reply.is_ready() {
            self.call = None;
        }
        reply
    }

    /// Waits until it is clear how to answer: at once, or by a stream.
    async fn first(&mut self) -> First {
        let settled = poll_fn(|context| match self.poll(context) {
            Poll::Ready(reply) => Poll::Ready(First::Reply(reply)),
            Poll::Pending if !self.notes.is_empty() => Poll::Ready(First::Streams),
            Poll::Pending => Poll::Pending,
        });
        let first = tokio::time::timeout(QUIET_MAX, settled).await.unwrap_or(First::Streams);
        match first {
            // Notes that came together with the reply go before it.
            First::Reply(Some(reply)) if !self.notes.is_empty() => {
                self.call = Some(Box::pin(std::future::ready(Some(reply))));
                First::Streams
            }
            other => other,
        }
    }
}

impl Events for Running {
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(note) = self.notes.pop() {
            return Poll::Ready(Some(sse_event(&note)));
        }
        if self.call.is_none() {
            return Poll::Ready(None);
        }
        let reply = self.poll(context);
        match (self.notes.pop(), reply) {
            (Some(note), Poll::Pending) => Poll::Ready(Some(sse_event(&note))),
            (None, Poll::Pending) => Poll::Pending,
            (None, Poll::Ready(reply)) => Poll::Ready(reply.map(|reply| sse_event(&reply.message))),
            (Some(note), Poll::Ready(reply)) => {
                self.call = Some(Box::pin(std::future::ready(reply)));
                Poll::Ready(Some(sse_event(&note)))
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let (Some(call), Some(tasks)) = (self.call.take(), &self.left_behind) {
            tasks.spawn(call);
        }
    }
}

/// A stream that ends at once.
struct Nothing;

impl Events for Nothing {
    fn poll_event(&mut self, _: &mut Context<'_>) -> Poll<Option<Bytes>> {
        Poll::Ready(None)
    }
}
