//! The ways in for simulated clients: the real HTTP endpoint over connections in memory, and the real
//! front of a pipe.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1 as outward;
use hyper::server::conn::http1 as inward;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, duplex};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use waypost::app::App;
use waypost::base::Tasks;
use waypost::front::intake::Intake;
use waypost::front::mcp::Mcp;
use waypost::front::member::Member;
use waypost::front::spec::LimitSpec;
use waypost::front::stdio;
use waypost::proto::frame::SseFramer;
use waypost::telemetry::Meters;

use super::books::{Books, Op};

/// Bytes on the way in a pipe or a connection.
const PIPE_BYTES: usize = 64 * 1024;
/// Largest event, in bytes.
const EVENT_BYTES: usize = 1024 * 1024;
/// Messages that wait for one call of a client on a pipe.
const QUEUE: usize = 256;

/// A message, and the id of the event that it came as.
pub(crate) type Frame = (Value, Option<String>);

/// The HTTP endpoint of a gateway.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) mcp: Mcp,
    outside: Tasks,
}

impl Door {
    /// `left` runs the calls that their clients left behind.
    pub(crate) fn new(app: &App, left: Tasks, outside: Tasks) -> Self {
        let limits = LimitSpec { inflight_max: 8_192, ..LimitSpec::default() };
        let mcp = Mcp::new(app.gateway.clone(), limits, left, &app.meters);
        Self { mcp, outside }
    }

    /// Sends a request over a connection of its own. `number` tells its client from others.
    pub(crate) async fn send(
        &self,
        (who, number): (Option<Arc<Member>>, u64),
        request: Request<Full<Bytes>>,
    ) -> Stream {
        let (ours, theirs) = duplex(PIPE_BYTES);
        let mcp = self.mcp.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let (mcp, who) = (mcp.clone(), who.clone());
            async move { Ok::<_, Infallible>(mcp.handle(request, who, number).await) }
        });
        self.outside.spawn(async move {
            let served = inward::Builder::new().serve_connection(TokioIo::new(theirs), service);
            // A client that leaves breaks it.
            drop(served.await);
        });
        let (mut sender, connection) = outward::handshake(TokioIo::new(ours)).await.unwrap();
        let task = self.outside.spawn(async move { drop(connection.await) });
        let hold = Hold(task.abort_handle());
        let response = sender.send_request(request).await.ok();
        Stream::new(response, hold, sender)
    }
}

/// Closes the connection when it is dropped.
#[derive(Debug)]
struct Hold(AbortHandle);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The answer to one request: its messages, one by one.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) status: u16,
    pub(crate) session: Option<String>,
    body: Option<Incoming>,
    streams: bool,
    framer: SseFramer,
    whole: Vec<u8>,
    ready: VecDeque<Frame>,
    _hold: Hold,
    _sender: outward::SendRequest<Full<Bytes>>,
}

impl Stream {
    fn new(
        response: Option<Response<Incoming>>,
        hold: Hold,
        sender: outward::SendRequest<Full<Bytes>>,
    ) -> Self {
        let header = |name: &str| {
            let value = response.as_ref()?.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        Self {
            status: response.as_ref().map_or(0, |response| response.status().as_u16()),
            session: header("mcp-session-id"),
            streams: header("content-type").is_some_and(|kind| kind.contains("event-stream")),
            body: response.map(Response::into_body),
            framer: SseFramer::new(EVENT_BYTES),
            whole: Vec::new(),
            ready: VecDeque::new(),
            _hold: hold,
            _sender: sender,
        }
    }

    /// The next message; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Some(frame);
            }
            let frame = match &mut self.body {
                Some(body) => body.frame().await,
                None => return None,
            };
            let data = frame.and_then(Result::ok).and_then(|frame| frame.into_data().ok());
            let Some(data) = data else {
                self.body = None;
                if let Ok(message) = serde_json::from_slice(&self.whole) {
                    return Some((message, None));
                }
                return None;
            };
            if !self.streams {
                self.whole.extend_from_slice(&data);
                continue;
            }
            self.framer.push(data);
            while let Some(event) = self.framer.next_event() {
                let event = event.unwrap();
                let id = event.id.map(|id| String::from_utf8(id.to_vec()).unwrap());
                let message = serde_json::from_slice(&event.data).unwrap_or(Value::Null);
                self.ready.push_back((message, id));
            }
        }
    }
}

/// A pipe to the front of one client.
#[derive(Clone, Debug)]
pub(crate) struct Pipe {
    lines: mpsc::Sender<Bytes>,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Calls by their raw ids, which are their progress tokens too.
    calls: BTreeMap<String, (Op, mpsc::Sender<Value>)>,
    /// Those that their client left: what comes for them was on its way.
    left: Vec<String>,
    /// The same by their ops.
    left_ops: Vec<Op>,
}

impl Pipe {
    /// A pipe to a gateway, which serves it until `front` is told to stop.
    pub(crate) fn open(app: &App, books: &Books, front: &Tasks, outside: &Tasks) -> Self {
        let (mut ours, input) = duplex(PIPE_BYTES);
        let (output, theirs) = duplex(PIPE_BYTES);
        let (gateway, tasks) = (app.gateway.clone(), front.clone());
        front.spawn(async move {
            let stop = tasks.stop_token().clone();
            let intake = Intake::new(LimitSpec::default(), stop, &Meters::new());
            stdio::serve(gateway, intake, &tasks, input, output).await;
        });
        let (lines, mut queue) = mpsc::channel::<Bytes>(QUEUE);
        outside.spawn(async move {
            while let Some(line) = queue.recv().await {
                drop(ours.write_all(&line).await);
            }
        });
        let waiting: Arc<Mutex<Waiting>> = Arc::default();
        let pipe = Self { lines, waiting };
        let (own, books) = (Arc::clone(&pipe.waiting), books.clone());
        outside.spawn(async move {
            let mut from = BufReader::new(theirs).lines();
            while let Ok(Some(line)) = from.next_line().await {
                Waiting::sort(&own, serde_json::from_str(&line).unwrap(), &books).await;
            }
        });
        pipe
    }

    pub(crate) async fn say(&self, message: &Value) {
        drop(self.lines.send(format!("{message}\n").into()).await);
    }

    /// What comes for a call from now on.
    pub(crate) fn enter(&self, id: &Value, op: Op) -> mpsc::Receiver<Value> {
        let (sender, frames) = mpsc::channel(QUEUE);
        self.waiting.lock().calls.insert(id.to_string(), (op, sender));
        frames
    }

    /// A call is over; `left` = its client does not wait for what comes.
    pub(crate) fn leave(&self, id: &Value, left: bool) {
        let mut waiting = self.waiting.lock();
        let gone = waiting.calls.remove(&id.to_string());
        if let (true, Some((op, _))) = (left, gone) {
            waiting.left.push(id.to_string());
            waiting.left_ops.push(op);
        }
    }
}

/// The op that a question is asked for, by its name.
pub(crate) fn op_of(q: &str) -> Option<Op> {
    q.strip_prefix("q-")?.split('-').next()?.parse().ok()
}

impl Waiting {
    /// Gives a message of the pipe to the call it belongs to.
    async fn sort(own: &Arc<Mutex<Self>>, message: Value, books: &Books) {
        let method = message["method"].as_str().map(str::to_owned);
        let to = {
            let waiting = own.lock();
            let by_id = |id: &Value| waiting.calls.get(&id.to_string()).map(|(_, to)| to.clone());
            let left = |id: &Value| waiting.left.contains(&id.to_string());
            match method.as_deref() {
                None => Ok(by_id(&message["id"]).ok_or(left(&message["id"]))),
                Some("notifications/progress") => {
                    let token = &message["params"]["progressToken"];
                    Ok(by_id(token).ok_or(left(token)))
                }
                Some(method) if method.starts_with("notifications/") => Err(()),
                // What a server asks when it has answered may reach whoever is there.
                Some(_) if message["params"]["q"].as_str().is_some_and(|q| q.ends_with("late")) => {
                    Err(())
                }
                Some(_) => {
                    let op = message["params"]["q"].as_str().and_then(op_of);
                    let mut calls = waiting.calls.values();
                    let found = calls.find(|(call, _)| Some(*call) == op).map(|(_, to)| to.clone());
                    let left = op.is_some_and(|op| waiting.left_ops.contains(&op));
                    Ok(found.ok_or(left))
                }
            }
        };
        match to {
            Err(()) | Ok(Err(true)) => {}
            Ok(Ok(to)) => drop(to.send(message).await),
            Ok(Err(false)) => {
                books.ledger.breach(format!("Q2: nobody on the pipe waits for {message}"));
            }
        }
    }
}
