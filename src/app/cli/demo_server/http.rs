//! The Streamable HTTP transport: one endpoint, `/mcp`, for both eras side by side.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderName, ORIGIN, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request as HttpRequest, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::answer::{Reply, from_frames, plain, refusal, stream};
use super::era::{self, Era};
use super::quirks::Quirk;
use super::server::Server;
use super::session::{Session, Sessions};
use super::wire::{self, Inbound, Request, RpcError, code};
use super::{answer, headers, legacy, modern, outlet, tools};

/// The longest body that is read.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Connections at the same time.
const CONNECTIONS_MAX: usize = 4096;

/// Before the next try when a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

/// What all connections share.
struct Front {
    server: Arc<Server>,
    sessions: Sessions,
}

/// Binds, says so on stderr, and serves until the process is killed.
pub(super) async fn serve(server: Arc<Server>, host: IpAddr, port: u16) -> anyhow::Result<()> {
    let place = SocketAddr::new(host, port);
    let listener = TcpListener::bind(place).await;
    let listener = listener.with_context(|| format!("cannot listen on {place}"))?;
    let place = listener.local_addr()?;
    server.say(&format!("ready on http://{place}/mcp"));
    let tasks = server.tasks.clone();
    let front = Arc::new(Front { server, sessions: Sessions::default() });
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await?;
        let Ok((connection, _)) = listener.accept().await else {
            // Out of files, most likely: that passes, and must not end the server.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let front = Arc::clone(&front);
        tasks.spawn(async move {
            serve_connection(front, connection).await;
            drop(place);
        });
    }
}

async fn serve_connection(front: Arc<Front>, connection: TcpStream) {
    // Small answers must not wait for more of them.
    drop(connection.set_nodelay(true));
    let service = service_fn(move |request| {
        let front = Arc::clone(&front);
        async move { Ok::<_, Infallible>(front.handle(request).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(connection), service);
    // A broken connection is the client's business.
    drop(serving.await);
}

// === impl Front ===

impl Front {
    async fn handle(&self, request: HttpRequest<Incoming>) -> Reply {
        let (head, body) = request.into_parts();
        let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
            return plain(StatusCode::PAYLOAD_TOO_LARGE, "The body is too large or broken");
        };
        let body = body.to_bytes();
        self.server.record(|| recorded(&head, &body));
        if head.uri.path() != "/mcp" {
            return plain(StatusCode::NOT_FOUND, "Not found: the endpoint is /mcp");
        }
        if !origin_is_local(&head.headers) {
            return plain(StatusCode::FORBIDDEN, "This origin is not welcome");
        }
        if head.method == Method::POST {
            self.post(&head.headers, &body).await
        } else if !self.server.served.legacy {
            not_allowed("POST")
        } else if head.method == Method::GET {
            self.get(&head.headers)
        } else if head.method == Method::DELETE {
            self.delete(&head.headers)
        } else {
            not_allowed("GET, POST, DELETE")
        }
    }

    async fn post(&self, head: &HeaderMap, body: &Bytes) -> Reply {
        if let Some(status) = self.server.quirks.status() {
            return forced(status);
        }
        if !media_type(head).eq_ignore_ascii_case("application/json") {
            return plain(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Content-Type must be application/json",
            );
        }
        if !accepts(head, "application/json") || !accepts(head, "text/event-stream") {
            let text = "Accept must have application/json and text/event-stream";
            return plain(StatusCode::NOT_ACCEPTABLE, text);
        }
        if wire::is_batch(body) {
            let error = RpcError::new(code::INVALID_REQUEST, "Batches are not supported");
            return refusal(StatusCode::BAD_REQUEST, &Value::Null, &error);
        }
        match wire::parse(body) {
            Ok(Inbound::Request(request)) => self.request(head, request).await,
            Ok(Inbound::Notification(notification)) => {
                let modern = text(head, headers::VERSION) == Some(era::MODERN)
                    || era::claims_modern(&notification.params);
                if modern && self.server.served.modern || !self.server.served.legacy {
                    return plain(StatusCode::ACCEPTED, "");
                }
                match self.session(head, &Value::Null) {
                    Ok(session) => {
                        legacy::notified(&session, &notification);
                        plain(StatusCode::ACCEPTED, "")
                    }
                    Err(reply) => *reply,
                }
            }
            Ok(Inbound::Response(response)) => match self.session(head, &Value::Null) {
                Ok(session) => {
                    session.answered(&response.id, response.body);
                    plain(StatusCode::ACCEPTED, "")
                }
                Err(reply) => *reply,
            },
            Err(unread) => refusal(StatusCode::BAD_REQUEST, &unread.id, &unread.error),
        }
    }

    async fn request(&self, head: &HeaderMap, request: Request) -> Reply {
        if request.method == "server/discover"
            && let Some(status) = self.server.quirks.discover_status()
        {
            return plain(status, "<!doctype html><title>Nothing here</title>");
        }
        let id = request.id.clone();
        match era::classify(&request, text(head, headers::VERSION), self.server.served) {
            Ok(Era::Legacy) if request.method == "initialize" => self.initialize(&request),
            Ok(Era::Legacy) => self.legacy(head, request).await,
            Ok(Era::Modern) => self.modern(head, request).await,
            Err(error) => refusal(StatusCode::BAD_REQUEST, &id, &error),
        }
    }

    // === modern ===

    async fn modern(&self, head: &HeaderMap, request: Request) -> Reply {
        if let Err(error) = self.check_modern(head, &request) {
            let unknown = error.code == code::METHOD_NOT_FOUND;
            let status = if unknown { StatusCode::NOT_FOUND } else { StatusCode::BAD_REQUEST };
            return refusal(status, &request.id, &error);
        }
        let (out, frames) = outlet::pair();
        let server = Arc::clone(&self.server);
        let gone = out.clone();
        self.start(request.id.clone(), frames, async move {
            tokio::select! {
                () = modern::answer(server, request, out) => {}
                // Whoever closes the stream cancels the request.
                () = gone.gone() => {}
            }
        })
        .await
    }

    fn check_modern(&self, head: &HeaderMap, request: &Request) -> Result<(), RpcError> {
        era::check_modern(request, |version| headers::check_version(head, version))?;
        headers::check_standard(head, request)?;
        let name = request.params.get("name").and_then(Value::as_str).unwrap_or_default();
        if request.method != "tools/call" || name != "headers_ok" {
            return Ok(());
        }
        let grown = *self.server.grown.borrow();
        let Some(tool) = self.server.catalog.find(name, Era::Modern, grown) else {
            return Ok(());
        };
        let arguments = tools::arguments(request).unwrap_or_default();
        let schema = tool.get("inputSchema").unwrap_or(&Value::Null);
        headers::check_params(head, schema, &arguments)
    }

    /// Runs the work on its own task and answers with what it sends.
    async fn start(
        &self,
        id: Value,
        frames: tokio::sync::mpsc::Receiver<outlet::Frame>,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Reply {
        let server = Arc::clone(&self.server);
        if server.places.available_permits() == 0 {
            let error = RpcError::new(code::INTERNAL, "Too many requests at once");
            return refusal(StatusCode::SERVICE_UNAVAILABLE, &id, &error);
        }
        self.server.tasks.spawn(async move {
            let _place = server.places.acquire().await;
            work.await;
        });
        from_frames(frames).await
    }

    // === legacy ===

    fn initialize(&self, request: &Request) -> Reply {
        let (session, result) = match legacy::initialize(&self.server, &request.params) {
            Ok(opened) => opened,
            Err(error) => return refusal(StatusCode::OK, &request.id, &error),
        };
        self.sessions.insert(&session);
        let mut reply = answer::json(StatusCode::OK, &wire::response(&request.id, &result));
        if let Ok(id) = HeaderValue::from_str(&session.id) {
            reply.headers_mut().insert(SESSION, id);
        }
        reply
    }

    async fn legacy(&self, head: &HeaderMap, request: Request) -> Reply {
        if request.method == "server/discover" && self.server.quirks.has(&Quirk::IgnoreDiscover) {
            return std::future::pending().await;
        }
        let session = match self.session(head, &request.id) {
            Ok(session) => session,
            Err(reply) => return *reply,
        };
        let ticket = session.inflight.enter(&request.id);
        let (out, frames) = outlet::pair();
        let (server, id) = (Arc::clone(&self.server), request.id.clone());
        // The work goes on when the client hangs up: in this era that is no cancellation.
        self.start(id, frames, legacy::answer(server, session, request, out, ticket)).await
    }

    /// The session that the headers name, or what to say instead. The words are those of the
    /// servers that clients know best.
    fn session(&self, head: &HeaderMap, id: &Value) -> Result<Arc<Session>, Box<Reply>> {
        let refused = |status, code, message: &str| {
            Err(Box::new(refusal(status, id, &RpcError::new(code, message))))
        };
        let Some(name) = text(head, SESSION.as_str()) else {
            let message = if self.server.served.modern {
                "Bad Request: Mcp-Session-Id header is required"
            } else {
                "Bad Request: Server not initialized"
            };
            return refused(StatusCode::BAD_REQUEST, code::LEGACY_BAD_REQUEST, message);
        };
        let Some(session) = self.sessions.get(name) else {
            let code = code::LEGACY_SESSION_NOT_FOUND;
            return refused(StatusCode::NOT_FOUND, code, "Session not found");
        };
        if text(head, headers::VERSION).is_some_and(|version| !era::LEGACY.contains(&version)) {
            let message = "Bad Request: Unsupported protocol version";
            return refused(StatusCode::BAD_REQUEST, code::LEGACY_BAD_REQUEST, message);
        }
        Ok(session)
    }

    fn get(&self, head: &HeaderMap) -> Reply {
        if !self.server.get_stream {
            return not_allowed("POST, DELETE");
        }
        if !accepts(head, "text/event-stream") {
            return plain(StatusCode::NOT_ACCEPTABLE, "Accept must have text/event-stream");
        }
        let session = match self.session(head, &Value::Null) {
            Ok(session) => session,
            Err(reply) => return *reply,
        };
        let (out, frames) = outlet::pair();
        let turn = session.next_stream();
        self.server.tasks.spawn(async move {
            tokio::select! {
                () = legacy::tell_changes(&session, &out) => {}
                () = turn.cancelled() => {}
            }
        });
        stream(None, frames)
    }

    fn delete(&self, head: &HeaderMap) -> Reply {
        match self.session(head, &Value::Null) {
            Ok(session) => {
                self.sessions.remove(&session.id);
                plain(StatusCode::OK, "")
            }
            Err(reply) => *reply,
        }
    }
}

// === headers ===

fn text<'a>(head: &'a HeaderMap, name: &str) -> Option<&'a str> {
    head.get(name)?.to_str().ok()
}

fn media_type(head: &HeaderMap) -> &str {
    let whole = text(head, CONTENT_TYPE.as_str()).unwrap_or_default();
    whole.split(';').next().unwrap_or_default().trim()
}

fn accepts(head: &HeaderMap, kind: &str) -> bool {
    let group = kind.split('/').next().unwrap_or_default();
    let values = head.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|range| {
        let range = range.split(';').next().unwrap_or_default().trim();
        range.eq_ignore_ascii_case(kind) || range == "*/*" || range == format!("{group}/*")
    })
}

/// A page of somewhere else must not talk to this server through the user's browser.
fn origin_is_local(head: &HeaderMap) -> bool {
    let Some(origin) = head.get(ORIGIN) else {
        return true;
    };
    let Some(host) = origin.to_str().ok().and_then(|origin| origin.split_once("://")) else {
        return false;
    };
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|local| {
        host.1.strip_prefix(local).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    })
}

fn not_allowed(allow: &'static str) -> Reply {
    let mut reply = plain(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed");
    reply.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    reply
}

fn forced(status: StatusCode) -> Reply {
    let mut reply = plain(status, "This status was asked for");
    if status == StatusCode::UNAUTHORIZED {
        reply.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    reply
}

/// What `--record` keeps of a request.
fn recorded(head: &Parts, body: &Bytes) -> Value {
    let mut lines: Vec<String> = head
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    lines.sort();
    json!({
        "method": head.method.as_str(),
        "path": head.uri.to_string(),
        "headers": lines,
        "body": String::from_utf8_lossy(body),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn only_local_origins_are_welcome() {
        for good in ["http://localhost", "http://127.0.0.1:8000", "http://[::1]:1"] {
            assert!(origin_is_local(&head(ORIGIN, good)), "{good}");
        }
        for bad in ["null", "http://evil.example", "http://localhost.evil.example", ""] {
            assert!(!origin_is_local(&head(ORIGIN, bad)), "{bad}");
        }
        assert!(origin_is_local(&HeaderMap::new()));
    }

    #[test]
    fn both_kinds_of_answer_must_be_accepted() {
        let both = head(ACCEPT, "application/json;q=0.9, text/event-stream");
        assert!(accepts(&both, "application/json") && accepts(&both, "text/event-stream"));
        assert!(accepts(&head(ACCEPT, "*/*"), "text/event-stream"));
        assert!(!accepts(&head(ACCEPT, "application/json"), "text/event-stream"));
        assert!(!accepts(&HeaderMap::new(), "application/json"));
    }

    #[test]
    fn parameters_of_the_content_type_do_not_matter() {
        let head = head(CONTENT_TYPE, "application/json; charset=utf-8");
        assert_eq!(media_type(&head), "application/json");
    }
}
