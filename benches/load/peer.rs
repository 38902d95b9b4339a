//! The upstream of every measurement: a minimal MCP server of both eras in a process of its own.
//! Its replies are built beforehand and only the id is put in, so that it costs far less than what
//! is measured.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinSet, LocalSet};

use crate::Result;
use crate::content::{self, Size};
use crate::protocol::{ARGUMENTS, Era, METHOD, NAME, REPLY_HEAD, SESSION, VERSION};
use crate::spliced::Spliced;

/// No request of the bench comes near it.
const REQUEST_MAX: usize = 1 << 20;

/// Serves on a free port, printed on stdout, until stdin ends: so the peer never outlives the run.
pub(crate) async fn serve() -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("{}", listener.local_addr()?.port());
    let peer = Rc::new(Peer::default());
    let tasks = LocalSet::new();
    tokio::select! {
        failed = tasks.run_until(accept(listener, peer)) => failed,
        ended = until_stdin_ends() => ended,
    }
}

async fn until_stdin_ends() -> Result<()> {
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    Ok(())
}

async fn accept(listener: TcpListener, peer: Rc<Peer>) -> Result<()> {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        connections.spawn_local(connection(stream, Rc::clone(&peer)));
        // Ended connections are let go here, so that the set stays as large as what is open.
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, peer: Rc<Peer>) {
    let service = service_fn(move |request| {
        let peer = Rc::clone(&peer);
        async move { Ok::<_, Infallible>(peer.answer(request).await) }
    });
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    // A client that goes away in the middle of a reply is the driver's to report, not ours.
    drop(served);
}

/// The parts of a request that the peer acts on.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow, default)]
    params: Params<'a>,
}

#[derive(Deserialize, Default)]
struct Params<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow, rename = "_meta", default)]
    meta: Meta<'a>,
}

#[derive(Deserialize, Default)]
struct Meta<'a> {
    #[serde(borrow, rename = "io.modelcontextprotocol/protocolVersion", default)]
    version: Cow<'a, str>,
    #[serde(borrow, rename = "io.modelcontextprotocol/clientCapabilities")]
    capabilities: Option<&'a RawValue>,
}

/// Any id that is there, `null` too, is given back as it came.
fn present<'de, D: Deserializer<'de>>(
    from: D,
) -> std::result::Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// Why a request is refused: HTTP status, JSON-RPC code, words.
type Refusal = (StatusCode, i32, &'static str);

/// All that one upstream answers in one era, each ready but for its beginning and the id.
struct Replies {
    era: Era,
    upstream: String,
    greeting: Bytes,
    empty: Bytes,
    list: Bytes,
    /// Made when first asked for: a hundred upstreams do not all need their large one.
    small: OnceCell<Bytes>,
    medium: OnceCell<Bytes>,
    large: OnceCell<Bytes>,
}

impl Replies {
    fn new(era: Era, upstream: &str, tools: &[serde_json::Value]) -> Self {
        Self {
            era,
            upstream: upstream.to_owned(),
            greeting: tail(&greeting(era, upstream)),
            empty: tail("{}"),
            list: tail(&content::list_result(era, tools)),
            small: OnceCell::new(),
            medium: OnceCell::new(),
            large: OnceCell::new(),
        }
    }

    fn call(&self, tool: &str) -> Bytes {
        let size = Size::of_tool(tool);
        let reply = match size {
            Size::Small => &self.small,
            Size::Medium => &self.medium,
            Size::Large => &self.large,
        };
        reply.get_or_init(|| tail(&content::call_result(self.era, &self.upstream, size))).clone()
    }
}

/// What follows the id in a reply.
fn tail(result: &str) -> Bytes {
    Bytes::from(format!(r#","result":{result}}}"#))
}

fn greeting(era: Era, path: &str) -> String {
    let version = era.version();
    match era {
        Era::Legacy => format!(
            r#"{{"protocolVersion":"{version}","capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"peer {path}","version":"1"}}}}"#
        ),
        Era::Modern => format!(
            r#"{{"resultType":"complete","supportedVersions":["{version}"],"capabilities":{{"tools":{{}}}},"ttlMs":3600000,"cacheScope":"public","_meta":{{"io.modelcontextprotocol/serverInfo":{{"name":"peer {path}","version":"1"}}}}}}"#
        ),
    }
}

struct Upstream {
    legacy: Replies,
    modern: Replies,
    tools: HashSet<String>,
}

impl Upstream {
    fn new(name: &str, count: usize) -> Self {
        let tools = content::tools(name, count);
        Self {
            legacy: Replies::new(Era::Legacy, name, &tools),
            modern: Replies::new(Era::Modern, name, &tools),
            tools: tools
                .iter()
                .filter_map(|tool| Some(tool["name"].as_str()?.to_owned()))
                .collect(),
        }
    }

    const fn replies(&self, era: Era) -> &Replies {
        match era {
            Era::Legacy => &self.legacy,
            Era::Modern => &self.modern,
        }
    }
}

#[derive(Default)]
struct Peer {
    /// By path, each made when first asked for.
    upstreams: RefCell<HashMap<String, Rc<Upstream>>>,
    sessions: Cell<u64>,
}

impl Peer {
    fn upstream(&self, path: &str) -> Option<Rc<Upstream>> {
        if let Some(known) = self.upstreams.borrow().get(path) {
            return Some(Rc::clone(known));
        }
        let (name, tools) = content::parse_path(path)?;
        let made = Rc::new(Upstream::new(name, tools));
        self.upstreams.borrow_mut().insert(path.to_owned(), Rc::clone(&made));
        Some(made)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Spliced> {
        if request.method() != Method::POST {
            let mut refused = empty(StatusCode::METHOD_NOT_ALLOWED);
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return refused;
        }
        let (head, body) = request.into_parts();
        let Some(upstream) = self.upstream(head.uri.path()) else {
            return empty(StatusCode::NOT_FOUND);
        };
        let Ok(body) = Limited::new(body, REQUEST_MAX).collect().await else {
            return empty(StatusCode::PAYLOAD_TOO_LARGE);
        };
        let body = body.to_bytes();
        match serde_json::from_slice::<Message<'_>>(&body) {
            Ok(message) => self.reply(&upstream, &head.headers, &message),
            Err(_) => error("null", (StatusCode::BAD_REQUEST, -32700, "not a request")),
        }
    }

    fn reply(
        &self,
        upstream: &Upstream,
        headers: &HeaderMap,
        message: &Message<'_>,
    ) -> Response<Spliced> {
        let Some(id) = message.id.map(RawValue::get) else {
            return empty(StatusCode::ACCEPTED);
        };
        let modern = !message.params.meta.version.is_empty();
        let era = if modern { Era::Modern } else { Era::Legacy };
        let checked = match era {
            Era::Legacy => self.check_legacy(headers, message),
            Era::Modern => check_modern(headers, message),
        };
        match checked.and_then(|()| result(upstream, era, message)) {
            Ok(tail) => self.complete(id, tail, message),
            Err(refusal) => error(id, refusal),
        }
    }

    fn complete(&self, id: &str, tail: Bytes, message: &Message<'_>) -> Response<Spliced> {
        let mut response = json(StatusCode::OK, Spliced::new(REPLY_HEAD, id, tail));
        if message.method == "initialize" {
            let number = self.sessions.get() + 1;
            self.sessions.set(number);
            if let Ok(value) = HeaderValue::from_str(&format!("peer-{number}")) {
                response.headers_mut().insert(SESSION, value);
            }
        }
        response
    }

    fn check_legacy(
        &self,
        headers: &HeaderMap,
        message: &Message<'_>,
    ) -> std::result::Result<(), Refusal> {
        if message.method == "initialize" {
            return Ok(());
        }
        let Some(session) = headers.get(SESSION) else {
            return Err((StatusCode::BAD_REQUEST, -32000, "Mcp-Session-Id is missing"));
        };
        let number = session.to_str().ok().and_then(|id| id.strip_prefix("peer-")?.parse().ok());
        match number {
            Some(number) if (1..=self.sessions.get()).contains(&number) => Ok(()),
            _ => Err((StatusCode::NOT_FOUND, -32001, "unknown session")),
        }
    }
}

/// Headers must say what the body says.
fn check_modern(headers: &HeaderMap, message: &Message<'_>) -> std::result::Result<(), Refusal> {
    if message.params.meta.capabilities.is_none() {
        return Err((StatusCode::BAD_REQUEST, -32602, "clientCapabilities are missing"));
    }
    if message.params.meta.version != Era::Modern.version() {
        return Err((StatusCode::BAD_REQUEST, -32022, "unsupported version"));
    }
    let same = |header: &str, value: &str| {
        headers.get(header).is_some_and(|found| found.as_bytes() == value.as_bytes())
    };
    let agree = same(VERSION, &message.params.meta.version)
        && same(METHOD, &message.method)
        && (message.method != "tools/call" || same(NAME, &message.params.name));
    if agree { Ok(()) } else { Err((StatusCode::BAD_REQUEST, -32020, "headers and body differ")) }
}

fn result(
    upstream: &Upstream,
    era: Era,
    message: &Message<'_>,
) -> std::result::Result<Bytes, Refusal> {
    let replies = upstream.replies(era);
    match (era, message.method.as_ref()) {
        (Era::Legacy, "initialize") | (Era::Modern, "server/discover") => {
            Ok(replies.greeting.clone())
        }
        (Era::Legacy, "ping") => Ok(replies.empty.clone()),
        (_, "tools/list") => Ok(replies.list.clone()),
        (_, "tools/call") => call(upstream, replies, &message.params),
        (Era::Legacy, _) => Err((StatusCode::OK, -32601, "unknown method")),
        (Era::Modern, _) => Err((StatusCode::NOT_FOUND, -32601, "unknown method")),
    }
}

fn call(
    upstream: &Upstream,
    replies: &Replies,
    params: &Params<'_>,
) -> std::result::Result<Bytes, Refusal> {
    if !upstream.tools.contains(params.name.as_ref()) {
        return Err((StatusCode::OK, -32602, "unknown tool"));
    }
    if params.arguments.map(RawValue::get) != Some(ARGUMENTS) {
        return Err((StatusCode::OK, -32602, "the arguments were changed on their way"));
    }
    Ok(replies.call(&params.name))
}

fn error(id: &str, (status, code, words): Refusal) -> Response<Spliced> {
    let tail = format!(r#","error":{{"code":{code},"message":"{words}"}}}}"#);
    json(status, Spliced::new(REPLY_HEAD, id, Bytes::from(tail)))
}

fn json(status: StatusCode, body: Spliced) -> Response<Spliced> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn empty(status: StatusCode) -> Response<Spliced> {
    let mut response = Response::new(Spliced::default());
    *response.status_mut() = status;
    response
}
