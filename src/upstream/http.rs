//! Streamable HTTP upstreams of either era: one POST is one exchange (2026-07-28 and 2025-11-25,
//! basic/transports/streamable-http).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{fmt, future::Future, pin::Pin};

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method as HttpMethod, Request as HttpRequest, Response,
    StatusCode, Uri,
};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};

use crate::base::{Fault, Kind, Sent, Tasks};
use crate::egress::{Body as HttpBody, HttpClient, collect_rest};
use crate::proto::answer::{Answer, Body, Incoming, read};
use crate::proto::frame::{LineFramer, SseEvent, SseFramer};
use crate::proto::headers::{encode_value, param_headers};
use crate::proto::passage::{Peek, peek};
use crate::proto::{Era, Method, Version, id, legacy};

use super::ask::{ASKS_MAX, Answerer, Ask, Back, Waiting, refusal};
use super::exchange::{Dialect, Done, Frame, Mirrored, Outgoing, RawId, Request, prepare};
use super::large::{LARGE_FROM, Large};
use super::messages::Messages;
use super::sort::{Sorted, Wanted, sort, unreadable};
use super::spec::HttpSpec;

/// Largest whole answer in bytes.
pub const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// A large answer that does not show within so many bytes that it can be passed on is read whole.
const PEEK_BYTES_MAX: usize = 64 * 1024;
/// Largest event of a stream in bytes.
pub const EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest wait until an upstream has taken a notification.
pub const TELL_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a call's stream that ended before the answer is taken up again.
pub const RESUMES_MAX: u32 = 16;
/// How long to wait before that, unless the server says.
const RESUME_WAIT: Duration = Duration::from_secs(1);
/// Longest wait that a server may ask for before that.
const RESUME_WAIT_MAX: Duration = Duration::from_secs(30);
/// Longest event id that is kept.
const EVENT_ID_BYTES_MAX: usize = 1_024;
/// How long a stream whose answer is complete may take to its end, so that its connection can be
/// used again.
pub(super) const DRAIN_MAX: Duration = Duration::from_secs(1);

/// `Mcp-Session-Id`
pub const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// `MCP-Protocol-Version`
pub const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// `Mcp-Method`
pub const MCP_METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// `Mcp-Name`
pub const MCP_NAME: HeaderName = HeaderName::from_static("mcp-name");
/// `Last-Event-ID`
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// How the headers of mirrored parameters begin.
const MCP_PARAM: &str = "mcp-param-";

type Pending = Pin<Box<dyn Future<Output = Result<Response<HttpBody>, Fault>> + Send + Sync>>;

/// A server behind a URL, and the dialect that was found out. Clones share it.
#[derive(Clone, Debug)]
pub struct HttpLink {
    inner: Arc<Inner>,
    numbers: Arc<AtomicU64>,
}

#[derive(Clone, Debug)]
struct Inner {
    client: HttpClient,
    url: Uri,
    headers: HeaderMap,
    dialect: Dialect,
    session: Option<HeaderValue>,
    tasks: Tasks,
}

impl HttpLink {
    /// A link that has not greeted yet. It speaks modern until told otherwise.
    pub fn new(spec: &HttpSpec, client: HttpClient, tasks: Tasks) -> Self {
        let mut headers = HeaderMap::with_capacity(spec.headers.len() + 12);
        for (name, value) in &spec.headers {
            headers.append(name.clone(), value.clone());
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("waypost/", env!("CARGO_PKG_VERSION"))),
        );
        let inner = Inner {
            client,
            url: spec.url.clone(),
            headers,
            dialect: Dialect { era: Era::Modern, version: Version::MODERN_NEWEST, shared: false },
            session: None,
            tasks,
        };
        let mut link = Self { inner: Arc::new(inner), numbers: Arc::new(AtomicU64::new(1)) };
        link.speak(Version::MODERN_NEWEST, None);
        link
    }

    /// Speaks another revision from now on, in the session given. Clones made before do not.
    pub fn speak(&mut self, version: Version, session: Option<HeaderValue>) {
        let inner = Arc::make_mut(&mut self.inner);
        inner.dialect =
            Dialect { era: version.era(), version, shared: version.era() == Era::Legacy };
        inner.headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(version.as_str()));
        match &session {
            Some(id) => inner.headers.insert(SESSION_ID, id.clone()),
            None => inner.headers.remove(SESSION_ID),
        };
        inner.session = session;
    }

    /// Speaks the legacy era before a version is agreed on: no version header yet.
    pub fn speak_handshake(&mut self) {
        self.speak(Version::LEGACY_NEWEST, None);
        Arc::make_mut(&mut self.inner).headers.remove(PROTOCOL_VERSION);
    }

    /// The dialect it speaks.
    pub fn dialect(&self) -> Dialect {
        self.inner.dialect
    }

    /// Whether the server gave us a session.
    pub fn has_session(&self) -> bool {
        self.inner.session.is_some()
    }

    /// Drops the connections that wait for a request.
    pub fn forget_connections(&self) {
        self.inner.client.forget_idle();
    }

    /// The next number of ours.
    pub fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Starts a client's request.
    pub fn begin(&self, request: &Request<'_>) -> Result<HttpExchange, Fault> {
        let number = self.number();
        let out = prepare(request, self.inner.dialect, number);
        let mut head = self.head();
        if self.inner.dialect.era == Era::Modern {
            let method = request.shape.method.name();
            head.insert(MCP_METHOD, HeaderValue::from_static(method));
            if let Some(subject) = request.subject
                && request.shape.method.subject_key().is_some()
            {
                head.insert(MCP_NAME, named(&encode_value(subject.name))?);
            }
            mirror(request, &mut head)?;
        }
        let wanted = Wanted::of(request, out.token_replaced, number);
        let mut exchange = self.post(head, out, wanted, number);
        exchange.streams = request.streams();
        Ok(exchange)
    }

    /// Starts a request of our own.
    pub fn ask(&self, body: Vec<u8>, number: u64, method: Method) -> HttpExchange {
        self.ask_about(body, number, method, None)
    }

    /// The same about something that has a name.
    pub fn ask_about(
        &self,
        body: Vec<u8>,
        number: u64,
        method: Method,
        name: Option<&HeaderValue>,
    ) -> HttpExchange {
        let mut head = self.head();
        if self.inner.dialect.era == Era::Modern {
            head.insert(MCP_METHOD, HeaderValue::from_static(method.name()));
            if let Some(name) = name {
                head.insert(MCP_NAME, name.clone());
            }
        }
        let id = RawId::from_slice(number.to_string().as_bytes());
        self.post(head, Outgoing { body, id, token_replaced: false }, Wanted::default(), number)
    }

    /// Sends a notification, or our answer to an ask. Any 2xx is fine. Takes no longer than
    /// [`TELL_TIMEOUT`].
    pub async fn tell(&self, body: impl Into<Bytes>) -> Result<(), Fault> {
        let taken = tokio::time::timeout(TELL_TIMEOUT, self.put(body)).await;
        let taken = taken.unwrap_or_else(|_elapsed| {
            let text = "it did not take a notification in time";
            Err(Fault::upstream(Kind::Timeout, Sent::Maybe, text))
        });
        taken.map(drop)
    }

    /// Posts a message and answers what stands in the 2xx that takes it. Has no bound of its own.
    pub(super) async fn put(&self, body: impl Into<Bytes>) -> Result<HttpBody, Fault> {
        let response = self.inner.client.send(self.request(self.head(), body.into())).await?;
        if response.status().is_success() {
            return Ok(response.into_body());
        }
        Err(status_fault(response.status(), response.headers(), self.has_session()))
    }

    /// The way back for an answer to a question of the server.
    pub fn back(&self) -> Back {
        Back::Http(self.clone(), self.inner.tasks.clone())
    }

    /// Opens the legacy stream for what belongs to no request; `None` if the server has none.
    pub async fn open_stream(&self) -> Result<Option<Messages>, Fault> {
        self.opened(self.inner.client.send(self.get()).await?)
    }

    /// Opens the stream that is a session of the HTTP+SSE transport.
    pub(super) async fn open_session(&self) -> Result<HttpBody, Fault> {
        let response = self.inner.client.send(self.get()).await?;
        match response.status() {
            StatusCode::OK if is_event_stream(response.headers()) => Ok(response.into_body()),
            StatusCode::OK => Err(protocol("it answered a GET with no stream of events")),
            status => Err(status_fault(status, response.headers(), false)),
        }
    }

    /// The same server at another of its addresses.
    pub(super) fn at(&self, url: Uri) -> Self {
        let mut other = self.clone();
        Arc::make_mut(&mut other.inner).url = url;
        other
    }

    /// Its address.
    pub(super) fn url(&self) -> &Uri {
        &self.inner.url
    }

    /// Opens a modern subscription; `None` if the server has none.
    pub async fn open_listen(&self, body: Vec<u8>) -> Result<Option<Messages>, Fault> {
        let mut head = self.head();
        head.insert(MCP_METHOD, HeaderValue::from_static(Method::Listen.name()));
        self.opened(self.inner.client.send(self.request(head, Bytes::from(body))).await?)
    }

    /// The request for a stream.
    fn get(&self) -> HttpRequest<Full<Bytes>> {
        let mut request = self.request(self.head(), Bytes::new());
        *request.method_mut() = HttpMethod::GET;
        request.headers_mut().remove(CONTENT_TYPE);
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        request
    }

    /// A stream, or that the server has none. What may pass is a fault: it is asked again.
    fn opened(&self, response: Response<HttpBody>) -> Result<Option<Messages>, Fault> {
        let status = response.status();
        let lines = is_json(response.headers()) && self.inner.dialect.era == Era::Modern;
        if status == StatusCode::OK && (lines || is_event_stream(response.headers())) {
            return Ok(Some(Messages::new(response.into_body(), lines)));
        }
        let fault = status_fault(status, response.headers(), self.has_session());
        let passes = matches!(status.as_u16(), 401 | 403 | 408 | 429) || status.is_server_error();
        if passes || fault.kind == Kind::SessionLost { Err(fault) } else { Ok(None) }
    }

    /// Ends the legacy session, as a good client does.
    pub async fn end_session(&self) {
        if self.inner.session.is_none() {
            return;
        }
        let mut request = self.request(self.head(), Bytes::new());
        *request.method_mut() = HttpMethod::DELETE;
        let goodbye = tokio::time::timeout(DRAIN_MAX, self.inner.client.send(request)).await;
        tracing::debug!(?goodbye, "ended the session");
    }

    fn head(&self) -> HeaderMap {
        self.inner.headers.clone()
    }

    fn request(&self, head: HeaderMap, body: Bytes) -> HttpRequest<Full<Bytes>> {
        let mut request = HttpRequest::new(Full::new(body));
        *request.method_mut() = HttpMethod::POST;
        *request.uri_mut() = self.inner.url.clone();
        *request.headers_mut() = head;
        request
    }

    fn post(&self, head: HeaderMap, out: Outgoing, wanted: Wanted, number: u64) -> HttpExchange {
        let request = self.request(head, Bytes::from(out.body));
        let client = self.inner.client.clone();
        HttpExchange {
            state: State::Sending(Box::pin(async move { client.send(request).await })),
            id: out.id,
            wanted,
            asks: 0,
            waiting: Waiting::default(),
            resume: Resume::default(),
            streams: false,
            number,
            link: self.clone_for_exchange(),
            session: None,
        }
    }

    /// What an exchange needs when it is given up or done: for legacy servers a way to cancel, for
    /// all a place to drain.
    fn clone_for_exchange(&self) -> After {
        After {
            legacy: (self.inner.dialect.era == Era::Legacy).then(|| self.clone()),
            has_session: self.has_session(),
            tasks: self.inner.tasks.clone(),
        }
    }
}

/// Adds the headers of the parameters that are mirrored.
fn mirror(request: &Request<'_>, head: &mut HeaderMap) -> Result<(), Fault> {
    match request.mirrored {
        Mirrored::Nothing | Mirrored::Schema([]) => {}
        Mirrored::Schema(params) => {
            let arguments = request.shape.arguments.map(|span| span.of(request.body));
            let headers = param_headers(params, arguments.unwrap_or(b"{}"))
                .map_err(|error| Fault::gateway(Kind::Protocol, error.to_string()))?;
            head.extend(headers);
        }
        Mirrored::Headers(all) => {
            let mirrored = |(name, _): &(&HeaderName, _)| name.as_str().starts_with(MCP_PARAM);
            for (name, value) in all.iter().filter(mirrored) {
                head.append(name.clone(), value.clone());
            }
        }
    }
    Ok(())
}

pub(super) fn named(text: &str) -> Result<HeaderValue, Fault> {
    HeaderValue::from_str(text).map_err(|_unwritable| {
        Fault::gateway(Kind::Protocol, "the name cannot be written into a header")
    })
}

struct After {
    legacy: Option<HttpLink>,
    has_session: bool,
    tasks: Tasks,
}

/// One POST and what comes back.
pub struct HttpExchange {
    state: State,
    id: RawId,
    wanted: Wanted,
    /// How often the upstream asked something.
    asks: u32,
    waiting: Waiting,
    resume: Resume,
    /// A large answer may be passed on while it comes in.
    streams: bool,
    number: u64,
    link: After,
    session: Option<HeaderValue>,
}

/// How a stream that ends before the answer is taken up again (2025-11-25, transports,
/// "Resumability and Redelivery").
#[derive(Debug, Default)]
struct Resume {
    /// The id of the last event.
    last: Option<HeaderValue>,
    wait: Option<Duration>,
    count: u32,
}

impl Resume {
    /// Takes over what an event says of taking up again.
    fn note(&mut self, event: &SseEvent) {
        if let Some(id) = event.id.as_ref().filter(|id| id.len() <= EVENT_ID_BYTES_MAX) {
            self.last = HeaderValue::from_bytes(id).ok().filter(|id| !id.is_empty());
        }
        if let Some(wait) = event.retry {
            self.wait = Some(wait.min(RESUME_WAIT_MAX));
        }
    }
}

enum State {
    Sending(Pending),
    Stream { framer: SseFramer, body: HttpBody },
    Finished,
}

impl fmt::Debug for HttpExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpExchange").field("number", &self.number).finish_non_exhaustive()
    }
}

impl HttpExchange {
    /// The session that the server gave with its answer.
    pub fn session(&self) -> Option<&HeaderValue> {
        self.session.as_ref()
    }

    /// The next thing that happens.
    pub async fn next(&mut self) -> Result<Frame, Fault> {
        let outcome = self.advance().await;
        if matches!(outcome, Ok(Frame::Done(_) | Frame::Large(_)) | Err(_)) {
            self.finish();
        }
        outcome
    }

    async fn advance(&mut self) -> Result<Frame, Fault> {
        loop {
            if let State::Sending(pending) = &mut self.state {
                let again = self.resume.count > 0;
                // What takes a stream up again says nothing of the call, which was sent before.
                let response = pending.await.map_err(|fault| {
                    if again { Fault { sent: Sent::Maybe, ..fault } } else { fault }
                })?;
                let status = response.status();
                let stream = status == StatusCode::OK && is_event_stream(response.headers());
                if !stream && again {
                    let text = "its stream ended before the answer and cannot be taken up again";
                    return Err(Fault::upstream(Kind::Closed, Sent::Maybe, text));
                }
                if !again {
                    self.session = response.headers().get(SESSION_ID).cloned();
                }
                if !stream {
                    return self.document(response).await;
                }
                let framer = SseFramer::new(EVENT_BYTES_MAX);
                self.state = State::Stream { framer, body: response.into_body() };
            }
            if let Some(frame) = self.next_event().await? {
                return Ok(frame);
            }
        }
    }

    /// Whether the client has been asked something and has not answered.
    pub fn awaits_client(&self) -> bool {
        self.waiting.any()
    }

    /// An answer that is one JSON document, or an HTTP error. A large one is passed on while it
    /// comes in.
    async fn document(&self, mut response: Response<HttpBody>) -> Result<Frame, Fault> {
        let mut first = BytesMut::new();
        if self.streams && response.status() == StatusCode::OK {
            let body = response.body_mut();
            let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
            // An answer in chunks announces nothing: it shows that it is large by being so.
            let in_chunks = body.size_hint().upper().is_none();
            let mut looking = announced > LARGE_FROM || in_chunks;
            while looking {
                let Some(piece) = next_piece(body).await? else { break };
                let piece = if first.is_empty() && !in_chunks {
                    piece
                } else {
                    first.extend_from_slice(&piece);
                    if in_chunks && first.len() <= LARGE_FROM {
                        continue;
                    }
                    first.split().freeze()
                };
                match peek(&piece) {
                    Peek::Streams => {
                        let (id, rest) = (self.id.clone(), response.into_body());
                        return Ok(Frame::Large(Large { id, first: piece, rest }));
                    }
                    Peek::More if piece.len() <= LARGE_FROM + PEEK_BYTES_MAX => {
                        first.extend_from_slice(&piece);
                    }
                    Peek::Whole | Peek::More => {
                        first.extend_from_slice(&piece);
                        looking = false;
                    }
                }
            }
        }
        self.whole(first, response).await.map(Frame::Done)
    }

    /// An answer that is read whole; `first` has been read of it already.
    async fn whole(&self, first: BytesMut, response: Response<HttpBody>) -> Result<Done, Fault> {
        let status = response.status();
        let refused = status_fault(status, response.headers(), self.link.has_session);
        let body = match collect_rest(first, response.into_body(), ANSWER_BYTES_MAX).await {
            Ok(body) => body,
            Err(_) if !status.is_success() => return Err(refused),
            Err(fault) => return Err(fault),
        };
        match read(&body) {
            Ok(Incoming::Answer(answer)) if self.belongs(&body, &answer, status) => {
                Ok(Done { message: body, answer, status: status.as_u16() })
            }
            Err(_) if status.is_success() && memchr::memchr(b'\n', &body).is_some() => {
                self.among_lines(&body)
            }
            _ if !status.is_success() => Err(refused),
            Ok(Incoming::Answer(_)) => {
                Err(protocol("it answered with another id than it was asked with"))
            }
            Ok(_) => Err(protocol("it answered with a message that is no answer")),
            Err(_) if body.is_empty() => Err(protocol("it answered with nothing")),
            Err(error) => Err(unreadable("its answer", &error.why)),
        }
    }

    /// Whether an answer is ours. An error without a readable id can only be ours: one POST is one
    /// exchange. What a server says with 401 or 403, or with 404 in a session, is about us and not
    /// about the request, whatever stands in the body.
    fn belongs(&self, body: &[u8], answer: &Answer, status: StatusCode) -> bool {
        let lost = status == StatusCode::NOT_FOUND && self.link.has_session;
        if lost || status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
            return false;
        }
        match answer.id {
            Some(span) => id::same(span.of(body), &self.id),
            None => !status.is_success() && matches!(answer.body, Body::Error(_)),
        }
    }

    /// Some servers write a message a line and call it one JSON document: the answer is one of the
    /// lines. Notes among them came too late to be told.
    fn among_lines(&self, body: &Bytes) -> Result<Done, Fault> {
        let mut framer = LineFramer::new(ANSWER_BYTES_MAX);
        framer.push(body.clone());
        let mut lines = Vec::new();
        while let Some(line) = framer.next_line() {
            lines.extend(line);
        }
        lines.extend(framer.finish().and_then(Result::ok));
        for line in lines {
            if let Ok(Incoming::Answer(answer)) = read(&line)
                && self.belongs(&line, &answer, StatusCode::OK)
            {
                return Ok(Done { message: line, answer, status: 200 });
            }
        }
        Err(protocol("its answer cannot be read: it is neither one message nor a message a line"))
    }

    /// The next thing on the stream; `None` if it broke off and is taken up again.
    async fn next_event(&mut self) -> Result<Option<Frame>, Fault> {
        loop {
            let State::Stream { framer, body } = &mut self.state else {
                return Err(protocol("the exchange is over"));
            };
            while let Some(event) = framer.next_event() {
                let event = event.map_err(|error| {
                    Fault::upstream(Kind::TooLarge, Sent::Maybe, format!("its stream: {error}"))
                })?;
                self.resume.note(&event);
                if !event.is_message() || event.data.is_empty() {
                    continue;
                }
                match sort(&event.data, &self.id, &self.wanted)? {
                    Sorted::Done(answer) => {
                        let done = Done { message: event.data, answer, status: 200 };
                        return Ok(Some(Frame::Done(done)));
                    }
                    Sorted::Note(note) => return Ok(Some(Frame::Note(note))),
                    Sorted::Ask { id, method, allowed } => {
                        self.asks += 1;
                        if self.asks > ASKS_MAX {
                            return Err(protocol(format!(
                                "it asked more than {ASKS_MAX} times in one call"
                            )));
                        }
                        let Some(back) = self.link.back() else { continue };
                        if allowed {
                            let answerer = Answerer::new(back, id.of(&event.data), &self.waiting);
                            let body = event.data;
                            return Ok(Some(Frame::Ask(Ask { body, id, method, answerer })));
                        }
                        back.send(refusal(id.of(&event.data), method));
                    }
                    Sorted::Nothing => {}
                }
            }
            match body.frame().await {
                None => {
                    // Some servers forget the blank line behind their last event.
                    let rest = std::mem::replace(framer, SseFramer::new(0)).finish();
                    if let Some(Ok(event)) = rest
                        && let Ok(Sorted::Done(answer)) = sort(&event.data, &self.id, &self.wanted)
                    {
                        let done = Done { message: event.data, answer, status: 200 };
                        return Ok(Some(Frame::Done(done)));
                    }
                    self.take_up("its stream ended before the answer")?;
                    return Ok(self.resume.wait.map(Frame::Away));
                }
                Some(Err(fault)) => return self.take_up(&fault.message).map(|()| None),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        framer.push(data);
                        return Ok(Some(Frame::Alive));
                    }
                }
            }
        }
    }

    /// The stream ended before the answer. A legacy server that numbered its events goes on where
    /// it ended, in the same session at the same replica; else nobody knows what became of the call.
    fn take_up(&mut self, why: &str) -> Result<(), Fault> {
        let lost = || Fault::upstream(Kind::Closed, Sent::Maybe, why.to_owned());
        let (Some(link), Some(last)) = (&self.link.legacy, self.resume.last.clone()) else {
            return Err(lost());
        };
        self.resume.count += 1;
        if self.resume.count > RESUMES_MAX {
            return Err(lost());
        }
        let mut request = link.get();
        request.headers_mut().insert(LAST_EVENT_ID, last);
        let (client, wait) = (link.inner.client.clone(), self.resume.wait.unwrap_or(RESUME_WAIT));
        self.state = State::Sending(Box::pin(async move {
            tokio::time::sleep(wait).await;
            client.send(request).await
        }));
        Ok(())
    }

    /// The answer is in: lets a stream run to its end, so that its connection is used again.
    fn finish(&mut self) {
        if let State::Stream { mut body, .. } = std::mem::replace(&mut self.state, State::Finished)
        {
            self.link.tasks.spawn(async move {
                let drain = async { while let Some(Ok(_)) = body.frame().await {} };
                tokio::time::timeout(DRAIN_MAX, drain).await.is_ok()
            });
        }
    }
}

impl Drop for HttpExchange {
    /// Given up before the answer: closing the connection cancels a modern request; a legacy
    /// server must be told (2025-11-25, basic/utilities/cancellation).
    fn drop(&mut self) {
        if matches!(self.state, State::Finished) {
            return;
        }
        if let Some(link) = self.link.legacy.take() {
            let message = legacy::cancelled(&self.id, "the client gave up");
            self.link.tasks.spawn(async move { link.tell(message).await });
        }
    }
}

impl After {
    /// The way back for an answer to a question in the middle of our request. Modern servers have
    /// no such questions.
    fn back(&self) -> Option<Back> {
        self.legacy.as_ref().map(HttpLink::back)
    }
}

fn protocol(message: impl Into<std::borrow::Cow<'static, str>>) -> Fault {
    Fault::upstream(Kind::Protocol, Sent::Maybe, message)
}

async fn next_piece(body: &mut HttpBody) -> Result<Option<Bytes>, Fault> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

fn is_json(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/json"))
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}

/// The facts in an HTTP status that is no answer to the call.
fn status_fault(status: StatusCode, headers: &HeaderMap, has_session: bool) -> Fault {
    let code = status.as_u16();
    if status == StatusCode::NOT_FOUND && has_session {
        return Fault::upstream(
            Kind::SessionLost,
            Sent::Rejected,
            "it no longer knows our session",
        );
    }
    // Only these say that nothing ran; another 4xx may come from the tool itself.
    let sent = match code {
        401 | 403 | 405 | 406 | 413 | 415 => Sent::Rejected,
        _ => Sent::Maybe,
    };
    let message = match code {
        401 | 403 => {
            format!("it refused our credentials (HTTP {code}); check the headers configured for it")
        }
        _ => format!("it answered HTTP {code}"),
    };
    let wait = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Fault::upstream(Kind::Status(code), sent, message).retry_after(wait.map(Duration::from_secs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_404_means_a_lost_session_only_where_there_is_one() {
        let headers = HeaderMap::new();
        assert_eq!(status_fault(StatusCode::NOT_FOUND, &headers, true).kind, Kind::SessionLost);
        assert_eq!(status_fault(StatusCode::NOT_FOUND, &headers, false).kind, Kind::Status(404));
    }

    #[test]
    fn only_a_refusal_before_running_counts_as_rejected() {
        let headers = HeaderMap::new();
        for (code, sent) in [
            (400, Sent::Maybe),
            (405, Sent::Rejected),
            (401, Sent::Rejected),
            (429, Sent::Maybe),
            (500, Sent::Maybe),
            (503, Sent::Maybe),
        ] {
            let status = StatusCode::from_u16(code).unwrap();
            assert_eq!(status_fault(status, &headers, false).sent, sent, "{code}");
        }
    }
}
