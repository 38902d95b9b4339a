//! Streamable HTTP upstreams of either era: one POST is one exchange (2026-07-28 and 2025-11-25,
//! basic/transports/streamable-http).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{fmt, future::Future, pin::Pin};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method as HttpMethod, Request as HttpRequest, Response,
    StatusCode, Uri,
};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming as HttpBody;

use crate::base::{Fault, Kind, Sent, Tasks};
use crate::egress::{HttpClient, collect};
use crate::proto::answer::{Answer, Body, Incoming, read};
use crate::proto::frame::SseFramer;
use crate::proto::headers::{encode_value, param_headers};
use crate::proto::splice::Splice;
use crate::proto::{Era, Method, Span, Version, error, id, legacy};

use super::exchange::{Dialect, Done, Frame, Outgoing, RawId, Request, prepare};
use super::spec::HttpSpec;

/// Largest whole answer in bytes.
pub const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Largest event of a stream in bytes.
pub const EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest wait until an upstream has taken a notification.
pub const TELL_TIMEOUT: Duration = Duration::from_secs(5);
/// Most requests of an upstream in the middle of one call.
const ASKS_MAX: u32 = 64;
/// How long a stream whose answer is complete may take to its end, so that its connection can be
/// used again.
const DRAIN_MAX: Duration = Duration::from_secs(1);

/// `Mcp-Session-Id`
pub const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// `MCP-Protocol-Version`
pub const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// `Mcp-Method`
pub const MCP_METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// `Mcp-Name`
pub const MCP_NAME: HeaderName = HeaderName::from_static("mcp-name");

type Pending = Pin<Box<dyn Future<Output = Result<Response<HttpBody>, Fault>> + Send + Sync>>;

/// A server behind a URL, and the dialect that was found out.
#[derive(Clone, Debug)]
pub struct HttpLink {
    client: HttpClient,
    url: Uri,
    headers: HeaderMap,
    dialect: Dialect,
    session: Option<HeaderValue>,
    numbers: Arc<AtomicU64>,
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
        let mut link = Self {
            client,
            url: spec.url.clone(),
            headers,
            dialect: Dialect { era: Era::Modern, version: Version::MODERN_NEWEST, shared: false },
            session: None,
            numbers: Arc::new(AtomicU64::new(1)),
            tasks,
        };
        link.speak(Version::MODERN_NEWEST, None);
        link
    }

    /// Speaks another revision from now on, in the session given.
    pub fn speak(&mut self, version: Version, session: Option<HeaderValue>) {
        self.dialect =
            Dialect { era: version.era(), version, shared: version.era() == Era::Legacy };
        self.headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(version.as_str()));
        match &session {
            Some(id) => self.headers.insert(SESSION_ID, id.clone()),
            None => self.headers.remove(SESSION_ID),
        };
        self.session = session;
    }

    /// Speaks the legacy era before a version is agreed on: no version header yet.
    pub fn speak_handshake(&mut self) {
        self.speak(Version::LEGACY_NEWEST, None);
        self.headers.remove(PROTOCOL_VERSION);
    }

    /// The dialect it speaks.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Whether the server gave us a session.
    pub fn has_session(&self) -> bool {
        self.session.is_some()
    }

    /// The next number of ours.
    pub fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Starts a client's request.
    pub fn begin(&self, request: &Request<'_>) -> Result<HttpExchange, Fault> {
        let number = self.number();
        let out = prepare(request, self.dialect, number);
        let mut head = self.head();
        if self.dialect.era == Era::Modern {
            let method = request.shape.method.name();
            head.insert(MCP_METHOD, HeaderValue::from_static(method));
            if request.shape.method.subject_key().is_some() {
                head.insert(MCP_NAME, mirrored(&encode_value(request.subject))?);
            }
            let arguments = request.shape.arguments.map(|span| span.of(request.body));
            for (name, value) in param_headers(request.params, arguments.unwrap_or(b"{}"))
                .map_err(|error| Fault::gateway(Kind::Protocol, error.to_string()))?
            {
                head.insert(name, value);
            }
        }
        let notes = Notes::of(request, out.token_replaced, number);
        Ok(self.post(head, out, notes, number))
    }

    /// Starts a request of our own.
    pub fn ask(&self, body: Vec<u8>, number: u64, method: Method) -> HttpExchange {
        let mut head = self.head();
        if self.dialect.era == Era::Modern {
            head.insert(MCP_METHOD, HeaderValue::from_static(method.name()));
        }
        let id = RawId::from_slice(number.to_string().as_bytes());
        self.post(head, Outgoing { body, id, token_replaced: false }, Notes::default(), number)
    }

    /// Sends a notification, or our answer to an ask. Any 2xx is fine. Takes no longer than
    /// [`TELL_TIMEOUT`].
    pub async fn tell(&self, body: impl Into<Bytes>) -> Result<(), Fault> {
        let sent = self.client.send(self.request(self.head(), body.into()));
        let response =
            tokio::time::timeout(TELL_TIMEOUT, sent).await.unwrap_or_else(|_elapsed| {
                let text = "it did not take a notification in time";
                Err(Fault::upstream(Kind::Timeout, Sent::Maybe, text))
            })?;
        if response.status().is_success() {
            return Ok(());
        }
        Err(status_fault(response.status(), response.headers(), self.has_session()))
    }

    /// Opens the legacy stream for what belongs to no request; `None` if the server has none.
    pub async fn open_stream(&self) -> Result<Option<HttpBody>, Fault> {
        let mut request = self.request(self.head(), Bytes::new());
        *request.method_mut() = HttpMethod::GET;
        request.headers_mut().remove(CONTENT_TYPE);
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        self.opened(self.client.send(request).await?)
    }

    /// Opens a modern subscription; `None` if the server has none.
    pub async fn open_listen(&self, body: Vec<u8>) -> Result<Option<HttpBody>, Fault> {
        let mut head = self.head();
        head.insert(MCP_METHOD, HeaderValue::from_static(Method::Listen.name()));
        self.opened(self.client.send(self.request(head, Bytes::from(body))).await?)
    }

    /// A stream, or that the server has none. What may pass is a fault: it is asked again.
    fn opened(&self, response: Response<HttpBody>) -> Result<Option<HttpBody>, Fault> {
        let status = response.status();
        if status == StatusCode::OK && is_event_stream(response.headers()) {
            return Ok(Some(response.into_body()));
        }
        let fault = status_fault(status, response.headers(), self.has_session());
        let passes = matches!(status.as_u16(), 401 | 403 | 408 | 429) || status.is_server_error();
        if passes || fault.kind == Kind::SessionLost { Err(fault) } else { Ok(None) }
    }

    /// Ends the legacy session, as a good client does.
    pub async fn end_session(&self) {
        if self.session.is_none() {
            return;
        }
        let mut request = self.request(self.head(), Bytes::new());
        *request.method_mut() = HttpMethod::DELETE;
        let goodbye = tokio::time::timeout(DRAIN_MAX, self.client.send(request)).await;
        tracing::debug!(?goodbye, "ended the session");
    }

    fn head(&self) -> HeaderMap {
        self.headers.clone()
    }

    fn request(&self, head: HeaderMap, body: Bytes) -> HttpRequest<Full<Bytes>> {
        let mut request = HttpRequest::new(Full::new(body));
        *request.method_mut() = HttpMethod::POST;
        *request.uri_mut() = self.url.clone();
        *request.headers_mut() = head;
        request
    }

    fn post(&self, head: HeaderMap, out: Outgoing, notes: Notes, number: u64) -> HttpExchange {
        let request = self.request(head, Bytes::from(out.body));
        let client = self.client.clone();
        HttpExchange {
            state: State::Sending(Box::pin(async move { client.send(request).await })),
            id: out.id,
            notes,
            asks: 0,
            number,
            link: self.clone_for_exchange(),
            session: None,
        }
    }

    /// What an exchange needs when it is given up or done: for legacy servers a way to cancel, for
    /// all a place to drain.
    fn clone_for_exchange(&self) -> After {
        After {
            legacy: (self.dialect.era == Era::Legacy).then(|| self.clone()),
            has_session: self.has_session(),
            tasks: self.tasks.clone(),
        }
    }
}

fn mirrored(text: &str) -> Result<HeaderValue, Fault> {
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
    notes: Notes,
    /// How often the upstream asked something.
    asks: u32,
    number: u64,
    link: After,
    session: Option<HeaderValue>,
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
        if matches!(outcome, Ok(Frame::Done(_)) | Err(_)) {
            self.finish();
        }
        outcome
    }

    async fn advance(&mut self) -> Result<Frame, Fault> {
        if let State::Sending(pending) = &mut self.state {
            let response = pending.await?;
            self.session = response.headers().get(SESSION_ID).cloned();
            let stream = response.status() == StatusCode::OK && is_event_stream(response.headers());
            if !stream {
                return self.whole(response).await.map(Frame::Done);
            }
            let framer = SseFramer::new(EVENT_BYTES_MAX);
            self.state = State::Stream { framer, body: response.into_body() };
        }
        self.next_event().await
    }

    /// An answer that is one JSON document, or an HTTP error.
    async fn whole(&self, response: Response<HttpBody>) -> Result<Done, Fault> {
        let status = response.status();
        let refused = status_fault(status, response.headers(), self.link.has_session);
        let body = match collect(response.into_body(), ANSWER_BYTES_MAX).await {
            Ok(body) => body,
            Err(_) if !status.is_success() => return Err(refused),
            Err(fault) => return Err(fault),
        };
        match read(&body) {
            Ok(Incoming::Answer(answer)) if self.belongs(&body, &answer, status) => {
                Ok(Done { message: body, answer, status: status.as_u16() })
            }
            _ if !status.is_success() => Err(refused),
            Ok(Incoming::Answer(_)) => {
                Err(protocol("it answered with another id than it was asked with"))
            }
            Ok(_) => Err(protocol("it answered with a message that is no answer")),
            Err(_) if body.is_empty() => Err(protocol("it answered with nothing")),
            Err(error) => Err(protocol(format!("its answer cannot be read: {}", error.why))),
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

    async fn next_event(&mut self) -> Result<Frame, Fault> {
        let State::Stream { framer, body } = &mut self.state else {
            return Err(protocol("the exchange is over"));
        };
        loop {
            while let Some(event) = framer.next_event() {
                let event = event.map_err(|error| {
                    Fault::upstream(Kind::TooLarge, Sent::Maybe, format!("its stream: {error}"))
                })?;
                if !event.is_message() || event.data.is_empty() {
                    continue;
                }
                match sort(&event.data, &self.id, &self.notes)? {
                    Sorted::Done(answer) => {
                        return Ok(Frame::Done(Done { message: event.data, answer, status: 200 }));
                    }
                    Sorted::Note(note) => return Ok(Frame::Note(note)),
                    Sorted::Ask { id, method } => {
                        self.asks += 1;
                        if self.asks > ASKS_MAX {
                            return Err(protocol(format!(
                                "it asked more than {ASKS_MAX} times in one call"
                            )));
                        }
                        self.link.refuse_ask(id.of(&event.data), method);
                    }
                    Sorted::Nothing => {}
                }
            }
            match body.frame().await {
                None => {
                    // Some servers forget the blank line behind their last event.
                    let rest = std::mem::replace(framer, SseFramer::new(0)).finish();
                    let Some(Ok(event)) = rest else {
                        let text = "its stream ended before the answer";
                        return Err(Fault::upstream(Kind::Closed, Sent::Maybe, text));
                    };
                    return match sort(&event.data, &self.id, &self.notes)? {
                        Sorted::Done(answer) => {
                            Ok(Frame::Done(Done { message: event.data, answer, status: 200 }))
                        }
                        _ => Err(protocol("its stream ended with a message that is no answer")),
                    };
                }
                Some(Err(error)) => {
                    let message = format!("its stream broke: {error}");
                    return Err(Fault::upstream(Kind::Closed, Sent::Maybe, message));
                }
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        framer.push(data);
                        return Ok(Frame::Alive);
                    }
                }
            }
        }
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
    /// A request of the server in the middle of ours. Until interaction is bridged it is refused at
    /// once, so that nobody waits.
    fn refuse_ask(&self, id: &[u8], method: Method) {
        let Some(link) = self.legacy.clone() else {
            return;
        };
        let body = answer_ask(id, method);
        self.tasks.spawn(async move { link.tell(body).await });
    }
}

/// Our answer to a request of an upstream: a ping is answered, all else is refused.
pub fn answer_ask(id: &[u8], method: Method) -> Vec<u8> {
    if method == Method::Ping {
        return error::result_message(id, b"{}");
    }
    let text = "the client did not declare the capability that this request needs";
    error::ErrorBody::new(error::METHOD_NOT_FOUND, text).message(Some(id))
}

/// What one message of a stream is to the request that waits on it.
enum Sorted {
    Done(Answer),
    Note(Bytes),
    Ask { id: Span, method: Method },
    Nothing,
}

fn sort(data: &Bytes, own: &[u8], notes: &Notes) -> Result<Sorted, Fault> {
    let message =
        read(data).map_err(|error| protocol(format!("a message cannot be read: {}", error.why)))?;
    Ok(match message {
        Incoming::Answer(answer) => match answer.id {
            Some(span) if id::same(span.of(data), own) => Sorted::Done(answer),
            _ => Sorted::Nothing,
        },
        Incoming::Ask { id, method } => Sorted::Ask { id, method },
        Incoming::Note { method: Method::Progress, token: Some(span) } => {
            notes.progress(data, span).map_or(Sorted::Nothing, Sorted::Note)
        }
        Incoming::Note { method: Method::LogMessage, .. } if notes.logs => {
            Sorted::Note(data.clone())
        }
        Incoming::Note { .. } => Sorted::Nothing,
    })
}

/// Which notes of a stream belong to a request: never another client's.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    progress: Progress,
    /// The client takes log messages of this request.
    logs: bool,
}

/// Which progress belongs to a request.
#[derive(Clone, Debug, Default)]
enum Progress {
    /// None: the client did not ask for it.
    #[default]
    Unwanted,
    /// What carries the client's own token, which went out as it is.
    Own(Bytes),
    /// What carries our number; the client's token takes its place.
    Replaced(u64, Bytes),
}

impl Notes {
    /// What belongs to a request that went out under `number`.
    pub fn of(request: &Request<'_>, token_replaced: bool, number: u64) -> Self {
        let progress = match request.token().map(Bytes::copy_from_slice) {
            None => Progress::Unwanted,
            Some(token) if token_replaced => Progress::Replaced(number, token),
            Some(token) => Progress::Own(token),
        };
        // A modern client that names no level gets none (2026-07-28, logging).
        let logs = request.caller.era == Era::Legacy || request.caller.log_level.is_some();
        Self { progress, logs }
    }

    /// Whether any progress can belong to the request.
    pub fn any_progress(&self) -> bool {
        !matches!(self.progress, Progress::Unwanted)
    }

    /// A progress note as the client gets it; `None` if it is not the client's.
    pub fn progress(&self, data: &Bytes, token: Span) -> Option<Bytes> {
        match &self.progress {
            Progress::Unwanted => None,
            Progress::Own(own) => id::same(token.of(data), own).then(|| data.clone()),
            Progress::Replaced(number, own) => {
                if id::number(token.of(data)) != Some(*number) {
                    return None;
                }
                let mut splice = Splice::new(data);
                splice.put(token, own);
                Some(splice.apply_to(data))
            }
        }
    }
}

fn protocol(message: impl Into<std::borrow::Cow<'static, str>>) -> Fault {
    Fault::upstream(Kind::Protocol, Sent::Maybe, message)
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

    #[test]
    fn a_progress_note_gets_the_clients_token_with_its_type() {
        let data = Bytes::from_static(br#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":7,"progress":1}}"#);
        let notes = |number| Notes {
            progress: Progress::Replaced(number, Bytes::from_static(b"\"1\"")),
            logs: false,
        };
        let Sorted::Note(note) = sort(&data, b"7", &notes(7)).unwrap() else { panic!() };
        assert!(String::from_utf8_lossy(&note).contains(r#""progressToken":"1","progress":1"#));
        assert!(matches!(sort(&data, b"8", &notes(8)).unwrap(), Sorted::Nothing));
    }
}
