//! How messages of the simulated servers come and go: the pipes of children, and HTTP over
//! connections in memory.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response, Uri};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, duplex};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use waypost::base::{Fault, Kind, Sent};
use waypost::egress::{Dial, Dialed, Duplex};
use waypost::upstream::launch::{Ends, Launch, Launched, Soon};
use waypost::upstream::spec::{LaunchSpec, Program};

use super::server::{Mouth, Server};
use crate::child::Handle;

/// Servers by their names.
pub(crate) type Servers = Arc<BTreeMap<String, Arc<Server>>>;

/// Messages that wait for whoever reads them.
const QUEUE: usize = 64;
/// Bytes on the way in a pipe or a connection.
const PIPE_BYTES: usize = 64 * 1024;

// === children ===

/// Starts children: tasks with pipes in the place of processes.
#[derive(Debug)]
pub(crate) struct Cradle(pub(crate) Servers);

impl Launch for Cradle {
    fn launch<'a>(&'a self, spec: &'a LaunchSpec) -> Soon<'a, Result<Launched, Fault>> {
        let Program::Named(name) = &spec.program else { panic!("no such server") };
        let server = Arc::clone(&self.0[name]);
        Box::pin(async move { start(&server) })
    }
}

fn start(server: &Arc<Server>) -> Result<Launched, Fault> {
    if server.is_down() {
        return Err(Fault::upstream(Kind::Connect, Sent::No, "cannot start it"));
    }
    let (stdin, from) = duplex(PIPE_BYTES);
    let (mut to, stdout) = duplex(PIPE_BYTES);
    let (_noise, stderr) = duplex(64);
    let (exited, kill) = (CancellationToken::new(), CancellationToken::new());
    let (lines, mut written) = mpsc::channel::<Bytes>(QUEUE);
    let (own, killed, exit, life) =
        (Arc::clone(server), kill.clone(), exited.clone(), server.life());
    server.starts();
    server.tasks.spawn(async move {
        let channel = own.channel("pipe");
        own.books.ledger.note(format!("{channel} starts"));
        let write = async {
            while let Some(line) = written.recv().await {
                // Nobody reads: we are about to be stopped.
                drop(to.write_all(&line).await);
            }
        };
        tokio::select! {
            biased;
            () = life.cancelled() => {}
            () = killed.cancelled() => {}
            () = read(&own, from, &channel, &lines) => {}
            () = write => {}
        }
        own.books.ledger.note(format!("{channel} ends"));
        own.closes(&channel);
        own.stops();
        exit.cancel();
    });
    let ends = Ends { stdin: Box::new(stdin), stdout: Box::new(stdout), stderr: Box::new(stderr) };
    Ok((Box::new(Handle { exited, kill }), ends))
}

async fn read(
    server: &Arc<Server>,
    from: tokio::io::DuplexStream,
    channel: &str,
    lines: &mpsc::Sender<Bytes>,
) {
    let mut from = BufReader::new(from).lines();
    while let Ok(Some(line)) = from.next_line().await {
        server.dawdles().await;
        let message: Value = serde_json::from_str(&line).unwrap();
        if message.get("method").is_none() || message.get("id").is_none() {
            server.hears(&message, channel);
            continue;
        }
        let mouth = Mouth::Lines(lines.clone());
        if let Some(answer) = server.plain(&message) {
            mouth.say(&answer).await;
        } else {
            server.tasks.spawn(Arc::clone(server).call(message, channel.to_owned(), mouth));
        }
    }
}

// === HTTP ===

/// Connects to the servers.
#[derive(Debug)]
pub(crate) struct Net(pub(crate) Servers);

impl Dial for Net {
    fn dial(&self, to: &Uri) -> Dialed {
        let server = Arc::clone(&self.0[to.host().unwrap_or_default()]);
        Box::pin(async move {
            if server.is_down() {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (ours, theirs) = duplex(PIPE_BYTES);
            let (own, life) = (Arc::clone(&server), server.life());
            server.tasks.spawn(async move {
                let service = service_fn(move |request| respond(Arc::clone(&own), request));
                let served = http1::Builder::new().serve_connection(TokioIo::new(theirs), service);
                tokio::select! {
                    biased;
                    () = life.cancelled() => {}
                    // Whoever was there has gone.
                    served = served => drop(served),
                }
            });
            let ours: Box<dyn Duplex> = Box::new(ours);
            Ok(ours)
        })
    }
}

/// A body: one document, or events.
pub(crate) enum Out {
    Whole(Option<Bytes>),
    Events(mpsc::Receiver<Bytes>),
}

impl Body for Out {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(document) => Poll::Ready(document.take().map(|all| Ok(Frame::data(all)))),
            Self::Events(events) => {
                events.poll_recv(context).map(|e| e.map(|e| Ok(Frame::data(e))))
            }
        }
    }
}

fn empty(status: u16) -> Response<Out> {
    Response::builder().status(status).body(Out::Whole(None)).unwrap()
}

async fn respond(
    server: Arc<Server>,
    request: Request<Incoming>,
) -> Result<Response<Out>, Infallible> {
    const SESSION: &str = "mcp-session-id";
    let session = request.headers().get(SESSION).map(|id| id.to_str().unwrap().to_owned());
    match *request.method() {
        Method::POST => {}
        Method::DELETE => {
            if let Some(session) = &session {
                server.closes(session);
            }
            return Ok(empty(200));
        }
        _ => return Ok(empty(405)),
    }
    let Ok(body) = request.into_body().collect().await else { return Ok(empty(400)) };
    let message: Value = serde_json::from_slice(&body.to_bytes()).unwrap();
    let greets = message["method"] == "initialize";
    let channel = match (server.traits.modern, session) {
        (true, _) => server.channel("request"),
        (false, _) if greets => {
            let session = server.channel("session");
            server.opens(&session);
            session
        }
        (false, Some(session)) if server.knows(&session) => session,
        (false, _) => return Ok(empty(404)),
    };
    if message.get("method").is_none() || message.get("id").is_none() {
        server.hears(&message, &channel);
        return Ok(empty(202));
    }
    if let Some(answer) = server.plain(&message) {
        let unknown = server.traits.modern && answer["error"]["code"] == -32601;
        let mut response = Response::builder()
            .status(if unknown { 404 } else { 200 })
            .header("content-type", "application/json");
        if greets && !server.traits.modern {
            response = response.header(SESSION, channel);
        }
        return Ok(response.body(Out::Whole(Some(answer.to_string().into()))).unwrap());
    }
    let (events, said) = mpsc::channel(QUEUE);
    server.tasks.spawn(Arc::clone(&server).call(message, channel, Mouth::Events(events)));
    let response = Response::builder().header("content-type", "text/event-stream");
    Ok(response.body(Out::Events(said)).unwrap())
}
