//! The HTTP front: binds, accepts, keeps one task per connection, drains.

use std::any::Any;
use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1::{self, UpgradeableConnection};
use hyper::service::HttpService;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use metrics::{Counter, Gauge};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;

use crate::base::{Tasks, clock, rng};
use crate::proto::error::{ErrorBody, INTERNAL, INVALID_REQUEST};
use crate::telemetry::Meters;

use super::auth::{self, Keys, WHYS, Why};
use super::body::{Answer, Counted};
use super::guard::Guard;
use super::http::Outcome;
use super::latch::latch;
use super::mcp::Mcp;
use super::member::Member;
use super::memory::Gauge as MemoryGauge;
use super::negotiate::accepts;
use super::opener::Opener;
use super::patience::Patient;
use super::spec::ListenSpec;
use super::sse_legacy::{self, SseLegacy};
use super::ws;

/// The routes of the operator, mounted by the one who wires: `None` where there is no such route.
pub type Operator = Arc<dyn Fn(&Parts) -> Option<Response<Bytes>> + Send + Sync>;

/// A stop goes on serving open connections for so long: clients that do not know of it send requests
/// still.
const LINGER: Duration = Duration::from_millis(500);
/// Longest time for which a stop lets in who has come already.
const LAST_MAX: Duration = Duration::from_millis(100);
/// How often it is looked meanwhile whether any connection is left; who has come is let in within it.
const LINGER_LOOK: Duration = Duration::from_millis(10);
/// How long a `WebSocket` may take after the grace to say that it is over.
const FAREWELL_MAX: Duration = Duration::from_secs(2);
/// How often idle sessions are looked for.
const REAP_INTERVAL: Duration = Duration::from_secs(30);
/// How often it is looked how much memory is used, and where nothing limits it, whether something
/// does by now.
const MEMORY_LOOK: Duration = Duration::from_millis(500);
const MEMORY_REST: Duration = Duration::from_secs(30);
/// How long accepting rests after the system refused it (too many open files, say).
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// A bound HTTP front that does not accept yet.
pub struct HttpFront {
    listener: TcpListener,
    addr: SocketAddr,
    spec: ListenSpec,
    rules: Rules,
}

/// What of a front can change while it serves: whom it lets in, and how long a stop waits for
/// calls. Clones share it.
#[derive(Clone, Debug)]
pub struct Rules {
    inner: Arc<RulesInner>,
}

#[derive(Debug)]
struct RulesInner {
    /// The bound host and port.
    bound: (String, u16),
    admission: ArcSwap<Admission>,
    grace: Mutex<Duration>,
}

/// Whom a front lets in.
#[derive(Debug)]
struct Admission {
    guard: Guard,
    keys: Keys,
}

impl Rules {
    fn new(spec: &ListenSpec, port: u16) -> Self {
        let bound = (spec.host.clone(), port);
        let (guard, keys) = (guard(&bound, spec), Keys::new(&spec.auth));
        let admission = ArcSwap::from_pointee(Admission { guard, keys });
        let grace = Mutex::new(spec.grace);
        Self { inner: Arc::new(RulesInner { bound, admission, grace }) }
    }

    /// Goes by this configuration from now on. Its host and port do not count: the front is bound.
    pub fn set(&self, spec: &ListenSpec) {
        let RulesInner { bound, admission, grace } = &*self.inner;
        let before = admission.load();
        // A host that nobody else can reach needs no keys, but it is the old one that is bound.
        let exposed = spec.auth.keys.is_empty() && spec.host != bound.0;
        let keys = if exposed && !before.keys.is_empty() {
            tracing::warn!(
                "clients are asked for the old keys until a restart brings the new host"
            );
            before.keys.clone()
        } else {
            before.keys.renewed(&spec.auth)
        };
        admission.store(Arc::new(Admission { guard: guard(bound, spec), keys }));
        *grace.lock() = spec.grace;
    }

    /// How long a stop waits for calls.
    pub(super) fn grace(&self) -> Duration {
        *self.inner.grace.lock()
    }
}

fn guard((host, port): &(String, u16), spec: &ListenSpec) -> Guard {
    Guard::new(host, &spec.allowed_hosts, &spec.allowed_origins, *port)
}

impl HttpFront {
    /// Binds the address of the spec.
    pub async fn bind(spec: ListenSpec) -> io::Result<Self> {
        let host = spec.host.trim_start_matches('[').trim_end_matches(']');
        let listener = TcpListener::bind((host, spec.port)).await?;
        let addr = listener.local_addr()?;
        let rules = Rules::new(&spec, addr.port());
        Ok(Self { listener, addr, spec, rules })
    }

    /// What of it can change while it serves.
    pub fn rules(&self) -> Rules {
        self.rules.clone()
    }

    /// The bound address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `tasks` is told to stop; then answers what runs, up to the grace of the spec.
    pub async fn serve(self, mcp: Mcp, operator: Operator, tasks: &Tasks, meters: &Meters) {
        let opener = Arc::new(Opener {
            gateway: mcp.gateway().clone(),
            intake: Arc::clone(mcp.intake()),
            rules: self.rules.clone(),
            tasks: tasks.clone(),
        });
        let shared = Arc::new(Shared {
            rules: self.rules.clone(),
            strangers: WHYS.map(|why| (why, meters.auth_fail(why.as_str()))),
            mcp,
            sse: SseLegacy::new(Arc::clone(&opener)),
            opener,
            operator,
            connections: meters.connections(),
            stopping: tasks.stop_token().clone(),
            closing: CancellationToken::new(),
            sockets: Arc::default(),
        });
        let stop = tasks.stop_token().clone();
        let door = Door { front: &self, shared: &shared, tasks };
        tasks.spawn(pressed(shared.mcp.clone(), self.spec.limits.memory_bytes_max, tasks, meters));
        let count = Arc::new(AtomicUsize::new(0));
        let rest = REAP_INTERVAL.min(self.spec.limits.session_idle_max);
        let mut reap = tokio::time::interval(rest);
        loop {
            tokio::select! {
                () = door.accept(&count) => {}
                _ = reap.tick() => {
                    shared.mcp.reap(clock::now());
                    meters.upkeep();
                }
                () = stop.cancelled() => break,
            }
        }
        let until = clock::now() + self.rules.grace();
        door.last(&count).await;
        drop(self.listener);
        linger(&count, until).await;
        shared.closing.cancel();
        none_left(&count, until).await;
        if count.load(Ordering::Acquire) > shared.sockets.load(Ordering::Acquire) {
            tracing::warn!("some calls did not end within the grace");
        }
        none_left(&shared.sockets, until + FAREWELL_MAX).await;
    }
}

/// Goes on looking how much memory there is, and takes less where it is short.
fn pressed(
    mcp: Mcp,
    limit: Option<u64>,
    tasks: &Tasks,
    meters: &Meters,
) -> impl Future<Output = ()> + Send + use<> {
    let (stop, shown) = (tasks.stop_token().clone(), meters.memory_pressure());
    let look = async move {
        let gauge = MemoryGauge::find(limit).await;
        loop {
            let memory = gauge.read().await;
            let before = mcp.intake().pressure().level();
            let now = before.next(memory.used, memory.limit);
            mcp.intake().pressure().set(now);
            shown.set(f64::from(now.number()));
            if now != before {
                tracing::warn!(used = memory.used, limit = memory.limit, ?before, ?now, "memory");
                mcp.reap(clock::now());
            }
            let rest = if memory.limit == 0 { MEMORY_REST } else { MEMORY_LOOK };
            tokio::time::sleep(rest).await;
        }
    };
    async move {
        let _stopped: Option<Infallible> = stop.run_until_cancelled_owned(look).await;
    }
}

/// We stop. A request may be on its way on a connection that rests: whoever sent it could not know.
/// So for a moment all connections go on, and each answer says that it is the last one.
async fn linger(count: &AtomicUsize, until: Instant) {
    none_left(count, until.min(clock::now() + LINGER)).await;
}

/// Waits until no connection is left, or until then.
async fn none_left(count: &AtomicUsize, until: Instant) {
    while count.load(Ordering::Acquire) > 0 && clock::now() < until {
        tokio::time::sleep(LINGER_LOOK).await;
    }
}

/// Where connections come in.
struct Door<'a> {
    front: &'a HttpFront,
    shared: &'a Arc<Shared>,
    tasks: &'a Tasks,
}

impl Door<'_> {
    /// Lets the next connection in.
    async fn accept(&self, count: &Arc<AtomicUsize>) {
        match self.front.listener.accept().await {
            Ok((socket, _)) => {
                let spec = &self.front.spec;
                // Where there are too many, dropping the socket closes it.
                if let Some(counted) = Counted::enter(count, spec.limits.connections_max) {
                    let connection = self.shared.connection(socket, spec, counted);
                    self.tasks.spawn(connection);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }

    /// Lets in who has come before the door is closed: they would be thrown out without a word.
    async fn last(&self, count: &Arc<AtomicUsize>) {
        if let Err(error) = latch(&self.front.listener) {
            tracing::debug!(%error, "cannot keep new connections from coming");
        }
        let all =
            async { while tokio::time::timeout(LINGER_LOOK, self.accept(count)).await.is_ok() {} };
        drop(tokio::time::timeout(LAST_MAX, all).await);
    }
}

struct Shared {
    rules: Rules,
    strangers: [(Why, Counter); WHYS.len()],
    mcp: Mcp,
    sse: SseLegacy,
    /// For what a connection may become.
    opener: Arc<Opener>,
    operator: Operator,
    connections: Gauge,
    /// Cancelled when we stop.
    stopping: CancellationToken,
    /// Cancelled when connections are to end with the answer that they are at.
    closing: CancellationToken,
    /// Connections that have become something else than HTTP.
    sockets: Arc<AtomicUsize>,
}

impl Shared {
    /// The task of one connection.
    fn connection(
        self: &Arc<Self>,
        socket: TcpStream,
        spec: &ListenSpec,
        counted: Counted,
    ) -> impl Future<Output = ()> + Send + use<> {
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let (shared, line) = (Arc::clone(self), Arc::new(Line::new()));
        let asked = Arc::clone(&line);
        let routes = move |request| {
            let (shared, line) = (Arc::clone(&shared), Arc::clone(&asked));
            async move { Ok::<_, Infallible>(shared.answer(request, &line).await) }
        };
        let guarded = ServiceBuilder::new().layer(CatchPanicLayer::custom(panicked));
        let service = TowerToHyperService::new(guarded.service_fn(routes));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(spec.limits.header_timeout)
            .serve_connection(TokioIo::new(Patient::new(socket)), service)
            .with_upgrades();
        let (gauge, closing) = (self.connections.clone(), self.closing.clone());
        let sockets = Arc::clone(&self.sockets);
        async move {
            gauge.increment(1.0);
            if let Err(error) = until_closing(connection, closing).await {
                tracing::debug!(%error, "a connection ended");
            }
            let next = line.next.lock().take();
            if let Some(next) = next {
                let _socket = Counted::enter(&sockets, usize::MAX);
                next.await;
            }
            gauge.decrement(1.0);
            drop(counted);
        }
    }

    /// The answer, which is the last one of its connection if we stop.
    async fn answer(&self, request: Request<Incoming>, line: &Line) -> Response<Answer> {
        let mut response = self.route(request, line).await;
        if self.stopping.is_cancelled() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn route(&self, mut request: Request<Incoming>, line: &Line) -> Response<Answer> {
        let known = self.rules.inner.admission.load().guard.check(request.uri(), request.headers());
        if let Err(stranger) = known {
            let text = format!(
                "{stranger:?} is not allowed; see server.allowed_hosts and server.allowed_origins"
            );
            return plain(StatusCode::FORBIDDEN, &ErrorBody::new(INVALID_REQUEST, text));
        }
        let who = match self.admit(&request) {
            Ok(who) => who,
            Err(refused) => return *refused,
        };
        auth::strip(request.headers_mut());
        let wants_page = request.method() == Method::GET && accepts(request.headers(), "text/html");
        match request.uri().path() {
            "/mcp" => self.mcp.handle(request, who, line.number).await,
            "/" if !wants_page => self.mcp.handle(request, who, line.number).await,
            sse_legacy::STREAM => either(self.sse.open(&request, who)),
            sse_legacy::MESSAGES => either(self.sse.message(request, who).await),
            ws::PATH => self.socket(request, who, line),
            _ => self.other(request),
        }
    }

    /// Asks who it is that sends a request, before anything of its body is read.
    fn admit(
        &self,
        request: &Request<Incoming>,
    ) -> Result<Option<Arc<Member>>, Box<Response<Answer>>> {
        let admission = self.rules.inner.admission.load();
        let admitted = admission.keys.admit(request.uri().path(), request.headers());
        admitted.map(Option::<&_>::cloned).map_err(|why| {
            if let Some((_, counter)) = self.strangers.iter().find(|(known, _)| *known == why) {
                counter.increment(1);
            }
            tracing::debug!(why = why.as_str(), "a request without a key of ours");
            let mut refused =
                plain(StatusCode::UNAUTHORIZED, &ErrorBody::new(INVALID_REQUEST, why.text()));
            let scheme = HeaderValue::from_static("Bearer");
            refused.headers_mut().insert(WWW_AUTHENTICATE, scheme);
            Box::new(refused)
        })
    }

    /// The connection becomes a WebSocket once the answer is written.
    fn socket(
        &self,
        mut request: Request<Incoming>,
        who: Option<Arc<Member>>,
        line: &Line,
    ) -> Response<Answer> {
        match ws::open(&self.opener, &mut request, who) {
            Ok((response, next)) => {
                *line.next.lock() = Some(Box::pin(next));
                response
            }
            Err(refused) => refused,
        }
    }

    fn other(&self, request: Request<Incoming>) -> Response<Answer> {
        let (parts, _) = request.into_parts();
        if let Some(response) = (self.operator)(&parts) {
            response.map(Answer::whole)
        } else {
            let text =
                format!("there is nothing at {}; the MCP endpoint is /mcp", parts.uri.path());
            plain(StatusCode::NOT_FOUND, &ErrorBody::new(INVALID_REQUEST, text))
        }
    }
}

/// Serves a connection, which ends with the answer that it is at when it is to close.
async fn until_closing<S, B>(
    connection: UpgradeableConnection<TokioIo<Patient<TcpStream>>, S>,
    closing: CancellationToken,
) -> hyper::Result<()>
where
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut connection = pin!(connection);
    tokio::select! {
        served = &mut connection => served,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}

/// One connection.
struct Line {
    /// What tells it from others.
    number: u64,
    /// What it becomes when HTTP is done with it.
    next: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
}

impl Line {
    fn new() -> Self {
        Self { number: rng::draw(), next: Mutex::default() }
    }
}

fn either(outcome: Outcome) -> Response<Answer> {
    outcome.unwrap_or_else(|refused| refused)
}

/// A bug of ours ends one call and nothing else: the client is told, and the connection lives.
#[expect(clippy::needless_pass_by_value, reason = "the layer hands the panic over")]
fn panicked(panic: Box<dyn Any + Send>) -> Response<Answer> {
    let text = panic.downcast_ref::<&str>().copied().unwrap_or("no text");
    let text = panic.downcast_ref::<String>().map_or(text, String::as_str);
    tracing::error!(panic = text, "a call panicked; this is a bug of the gateway");
    plain(
        StatusCode::INTERNAL_SERVER_ERROR,
        &ErrorBody::new(INTERNAL, "the gateway failed in this call; its log says more"),
    )
}

fn plain(status: StatusCode, error: &ErrorBody) -> Response<Answer> {
    let mut response = Response::new(Answer::whole(error.message(None)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{PrincipalName, Secret};
    use crate::front::spec::{AuthSpec, KeySpec, LimitSpec};
    use crate::gateway::Gateway;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// Serves with this operator and these keys, sends one request after the other on one connection,
    /// and answers what came back.
    async fn ask(operator: Operator, auth: AuthSpec, requests: &[&str]) -> Vec<String> {
        let (tasks, meters) = (Tasks::new(), Meters::new());
        let gateway = Gateway::bare(&meters);
        let spec = ListenSpec { port: 0, auth, ..ListenSpec::default() };
        let front = HttpFront::bind(spec).await.unwrap();
        let addr = front.addr();
        let mcp = Mcp::new(gateway, LimitSpec::default(), tasks.clone(), &meters);
        let serving = front.serve(mcp, operator, &tasks, &meters);
        let asking = async {
            let mut socket = TcpStream::connect(addr).await.unwrap();
            let mut answers = Vec::new();
            for request in requests {
                let request = format!("GET {request}\r\nHost: localhost\r\n\r\n");
                socket.write_all(request.as_bytes()).await.unwrap();
                let mut answer = vec![0; 4096];
                let read = socket.read(&mut answer).await.unwrap();
                answers.push(String::from_utf8_lossy(&answer[..read]).into_owned());
            }
            drop(socket);
            tasks.stop_token().cancel();
            answers
        };
        tokio::join!(serving, asking).1
    }

    #[tokio::test]
    async fn a_panic_ends_one_call_and_the_connection_lives() {
        let operator: Operator = Arc::new(|parts| {
            assert_ne!(parts.uri.path(), "/boom", "a bug");
            None
        });
        let requests = ["/boom HTTP/1.1", "/nothing HTTP/1.1"];
        let answers = ask(operator, AuthSpec::default(), &requests).await;
        for (answer, status) in answers.iter().zip(["500", "404"]) {
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        }
    }

    #[tokio::test]
    async fn behind_the_door_nobody_sees_what_a_client_has_shown() {
        let operator: Operator = Arc::new(|parts| {
            let names: Vec<_> = parts.headers.keys().map(http::HeaderName::as_str).collect();
            Some(Response::new(Bytes::from(names.join(" "))))
        });
        let key = KeySpec {
            name: PrincipalName::new("alice").unwrap(),
            key: Secret::new("0123456789abcdef"),
        };
        let auth = AuthSpec { keys: vec![key], ..AuthSpec::default() };
        let shown = "/seen HTTP/1.1\r\nAuthorization: Bearer 0123456789abcdef\r\nCookie: a=b";
        let answers = ask(Arc::clone(&operator), auth, &["/seen HTTP/1.1", shown]).await;
        assert!(answers[0].starts_with("HTTP/1.1 401 "), "{answers:?}");
        assert!(answers[1].ends_with("\r\n\r\nhost"), "{answers:?}");
        let answers = ask(operator, AuthSpec::default(), &[shown]).await;
        assert!(answers[0].ends_with("\r\n\r\nhost"), "where nobody is asked too: {answers:?}");
    }

    #[test]
    fn keys_stay_until_the_host_that_needs_none_is_bound() {
        let key = KeySpec {
            name: PrincipalName::new("alice").unwrap(),
            key: Secret::new("a-key-that-alice-shows"),
        };
        let auth = AuthSpec { keys: vec![key], ..AuthSpec::default() };
        let public = ListenSpec { host: "0.0.0.0".to_owned(), auth, ..ListenSpec::default() };
        let asks = |rules: &Rules| !rules.inner.admission.load().keys.is_empty();
        let rules = Rules::new(&public, 8000);
        rules.set(&ListenSpec::default());
        assert!(asks(&rules), "other machines can reach it still");
        let open = ListenSpec { auth: AuthSpec::default(), ..public.clone() };
        rules.set(&open);
        assert!(!asks(&rules), "the operator accepts it");
        rules.set(&public);
        assert!(asks(&rules));
    }
}
