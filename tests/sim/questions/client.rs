//! Simulated clients of both eras. All of them count their ids from 1 and use them as progress tokens,
//! so ids and tokens of different clients are the same all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use waypost::base::Tasks;
use waypost::front::member::Member;
use waypost::front::parting::COME_BACK;

use super::books::{Books, Op};
use super::door::{Door, Frame, Pipe, Stream};
use super::order::{Comeback, Ending, Order, Reply};

/// A call that has not ended after this time never ends: its server waits ten minutes for each of its
/// rounds.
const FOREVER: Duration = Duration::from_hours(2);
/// A state is not good any more after this time, and the gateway has looked.
const EXPIRED: Duration = Duration::from_secs(10 * 60 + 40);

/// One that leaves as soon as it has come back does so after this time: not in the same moment, in
/// which nobody could say what goes first.
const LEAVES: Duration = Duration::from_millis(7);

/// How a client reaches the gateway.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    Http(Door),
    Pipe(Pipe),
}

/// Who a client is.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    pub(crate) number: usize,
    pub(crate) modern: bool,
    pub(crate) capabilities: Value,
    pub(crate) member: Option<Arc<Member>>,
    /// Another principal, for what that one must not be able to do.
    pub(crate) stranger: Option<Arc<Member>>,
}

/// A client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) who: Who,
    way: Way,
    books: Books,
    tasks: Tasks,
    session: Option<String>,
    ids: AtomicU64,
    /// What it brings back when the gateway was started anew.
    kept: Mutex<Vec<(Op, Value)>>,
}

/// What comes for one call.
enum Frames {
    Http(Box<Stream>),
    Pipe(mpsc::Receiver<Value>),
}

impl Frames {
    async fn next(&mut self) -> Option<Frame> {
        match self {
            Self::Http(stream) => stream.next().await,
            Self::Pipe(frames) => frames.recv().await.map(|message| (message, None)),
        }
    }
}

/// What a modern client was asked.
struct Asked {
    questions: Map<String, Value>,
    state: Option<String>,
}

/// How a request of a modern client ended.
enum End {
    Asked(Asked),
    Result,
    Error(i64),
    /// Its client left.
    Left,
}

impl Client {
    /// A client that has said hello, if that is the way of its era.
    pub(crate) async fn new(who: Who, way: Way, books: Books, tasks: Tasks) -> Self {
        let (ids, kept) = (AtomicU64::new(1), Mutex::default());
        let mut client = Self { who, way, books, tasks, session: None, ids, kept };
        if client.who.modern {
            return client;
        }
        let params = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": client.who.capabilities,
            "clientInfo": { "name": "simulated", "version": "1" },
        });
        let hello = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params });
        match &client.way {
            Way::Http(_) => client.session = client.post(&hello, None).await.session,
            Way::Pipe(pipe) => {
                let mut answer = pipe.enter(&json!(0), 0);
                pipe.say(&hello).await;
                drop(answer.recv().await);
                pipe.leave(&json!(0), false);
            }
        }
        client
    }

    /// Says goodbye.
    pub(crate) async fn closes(&self) {
        if let (Way::Http(door), Some(session)) = (&self.way, &self.session) {
            let request = Request::delete("/mcp").header("mcp-session-id", session);
            let request = request.body(Full::default()).unwrap();
            door.send(self.shown(), request).await;
        }
    }

    fn shown(&self) -> (Option<Arc<Member>>, u64) {
        (self.who.member.clone(), u64::try_from(self.who.number).unwrap())
    }

    fn breach(&self, op: Op, what: impl AsRef<str>) {
        let text = format!("op {op} of client {}: {}", self.who.number, what.as_ref());
        self.books.ledger.breach(text);
    }

    /// Sends a message by POST; as somebody else, if there is one.
    async fn post(&self, message: &Value, other: Option<&Arc<Member>>) -> Stream {
        let Way::Http(door) = &self.way else { panic!("a pipe has no POST") };
        let mut request = Request::post("/mcp")
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        if self.who.modern {
            request = request
                .header("mcp-protocol-version", "2026-07-28")
                .header("mcp-method", message["method"].as_str().unwrap());
            if let Some(name) = message["params"]["name"].as_str() {
                request = request.header("mcp-name", name);
            }
        }
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session);
        }
        let request = request.body(Full::new(Bytes::from(message.to_string()))).unwrap();
        let (member, number) = self.shown();
        door.send((other.cloned().or(member), number), request).await
    }

    /// Says something that has no answer.
    async fn says(&self, message: &Value) {
        match &self.way {
            Way::Http(_) => drop(self.post(message, None).await),
            Way::Pipe(pipe) => pipe.say(message).await,
        }
    }

    async fn begins(&self, message: &Value, op: Op) -> Frames {
        match &self.way {
            Way::Http(_) => Frames::Http(Box::new(self.post(message, None).await)),
            Way::Pipe(pipe) => {
                let frames = pipe.enter(&message["id"], op);
                pipe.say(message).await;
                Frames::Pipe(frames)
            }
        }
    }

    /// A call is over for it; `left` = what still comes was on its way.
    fn leaves(&self, id: &Value, left: bool) {
        if let Way::Pipe(pipe) = &self.way {
            pipe.leave(id, left);
        }
    }

    fn request(&self, order: &Order, op: Op, more: &Value) -> Value {
        let number = self.ids.fetch_add(1, Ordering::Relaxed);
        let id = if number.is_multiple_of(3) { json!(number.to_string()) } else { json!(number) };
        let mut params = json!({
            "name": format!("u{}__ask", order.upstream),
            "arguments": order.arguments(op),
            "_meta": { "progressToken": id },
        });
        if self.who.modern {
            let meta = &mut params["_meta"];
            meta["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
            meta["io.modelcontextprotocol/clientCapabilities"] = self.who.capabilities.clone();
        }
        for (key, value) in more.as_object().into_iter().flatten() {
            params[key] = value.clone();
        }
        json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params })
    }

    /// Progress of a call must be its own, under its own token with its type.
    fn hears(&self, op: Op, id: &Value, note: &Value) {
        if note["method"] == "notifications/cancelled" {
            return;
        }
        let params = &note["params"];
        if params["progressToken"] != *id || params["message"] != format!("op-{op}") {
            self.breach(op, format!("Q4: it hears of another: {note}"));
        }
        self.books.count("progress");
    }

    /// Holds a last answer against its call.
    fn reads(&self, op: Op, id: &Value, answer: &Value) -> Result<(), i64> {
        if answer["id"] != *id {
            self.breach(op, format!("Q4: its id is {id}, and it got {answer}"));
        }
        if let Some(code) = answer["error"]["code"].as_i64() {
            self.books.ledger.note(format!("op {op}: {}", answer["error"]));
            return Err(code);
        }
        let result = &answer["result"];
        if result["isError"] != true && result["op"] != op {
            self.breach(op, format!("Q4: it got the result of another: {answer}"));
        }
        if result["isError"] == true { Err(0) } else { Ok(()) }
    }

    fn may_be_asked(&self, op: Op, kind: &str) {
        let able = kind.split('/').next().unwrap_or_default();
        if self.who.capabilities.get(able).is_none() {
            self.breach(op, format!("Q1: it cannot be asked {kind}, and was"));
        }
    }

    /// Makes one call.
    pub(crate) async fn call(self: &Arc<Self>, order: &Order, must: bool) {
        let op = self.books.begins(self.who.number);
        let who = if self.who.modern { "modern" } else { "legacy" };
        self.books.ledger.note(format!("op {op} of {who} client {}: {order:?}", self.who.number));
        let how = if self.who.modern {
            self.modern(order, op).await
        } else {
            self.legacy(order, op).await
        };
        self.books.ends(op, how);
        if must && how != "a result" {
            self.breach(op, format!("Q2: nothing went wrong, and it ended with {how}"));
        }
    }

    // === legacy: asked on the stream of the call ===

    async fn legacy(self: &Arc<Self>, order: &Order, op: Op) -> &'static str {
        let request = self.request(order, op, &Value::Null);
        let id = request["id"].clone();
        let mut last = None;
        let follows = async {
            let mut frames = self.begins(&request, op).await;
            self.follows(order, op, &id, &mut frames, &mut last).await
        };
        let cancels = order.cancels.unwrap_or(FOREVER);
        let http = matches!(self.way, Way::Http(_));
        let (leaves, back) = order.leaves.filter(|_| http).unwrap_or((FOREVER, None));
        let how = tokio::select! {
            how = follows => how,
            () = tokio::time::sleep(cancels) => {
                self.leaves(&id, true);
                self.says(&cancelled(&id)).await;
                return if cancels == FOREVER { self.never(op) } else { "cancelled" };
            }
            () = tokio::time::sleep(leaves) => "left",
        };
        self.leaves(&id, how == "left");
        match (how, back, last) {
            ("left", Some(back), Some(last)) => {
                tokio::time::sleep(back).await;
                self.returns(order, op, &id, last).await
            }
            _ => how,
        }
    }

    fn never(&self, op: Op) -> &'static str {
        self.breach(op, "Q2: it never ended");
        "nothing"
    }

    /// Comes back to the stream of a call.
    async fn returns(
        self: &Arc<Self>,
        order: &Order,
        op: Op,
        id: &Value,
        last: String,
    ) -> &'static str {
        let Some(stream) = self.resumes(op, &last).await else { return "no longer kept" };
        self.books.count("returns");
        let (mut last, mut frames) = (None, Frames::Http(Box::new(stream)));
        let follows = self.follows(order, op, id, &mut frames, &mut last);
        tokio::time::timeout(FOREVER, follows).await.unwrap_or_else(|_| self.never(op))
    }

    /// Opens the stream of a call again; `None` if what followed is no longer kept.
    async fn resumes(&self, op: Op, last: &str) -> Option<Stream> {
        let Way::Http(door) = &self.way else { return None };
        let session = self.session.as_deref().unwrap_or_default();
        let request = Request::get("/mcp")
            .header("accept", "text/event-stream")
            .header("mcp-session-id", session)
            .header("last-event-id", last);
        let stream = door.send(self.shown(), request.body(Full::default()).unwrap()).await;
        self.books.ledger.note(format!("op {op} comes back to {last}: {}", stream.status));
        (stream.status != 400).then_some(stream)
    }

    /// Follows the messages of a call to its end. A stream that ends before is one that the gateway
    /// ends itself: its client comes back to it.
    async fn follows(
        self: &Arc<Self>,
        order: &Order,
        op: Op,
        id: &Value,
        frames: &mut Frames,
        last: &mut Option<String>,
    ) -> &'static str {
        let mut how = None;
        loop {
            let Some((message, event)) = frames.next().await else {
                let (None, Frames::Http(_), Some(from)) = (how, &*frames, last.as_deref()) else {
                    break;
                };
                tokio::time::sleep(COME_BACK).await;
                let Some(stream) = self.resumes(op, from).await else { return "no longer kept" };
                self.books.count("is sent away");
                *frames = Frames::Http(Box::new(stream));
                continue;
            };
            *last = event.or(last.take());
            if message.is_null() {
                continue; // what the stream begins with
            }
            if how.is_some() {
                self.breach(op, format!("Q2: it has its answer, and then came {message}"));
            }
            match (message["method"].as_str(), message.get("id").is_some()) {
                (Some(method), true) => self.asked(order, op, method, &message),
                (Some(_), false) => self.hears(op, id, &message),
                (None, _) => {
                    how = Some(match self.reads(op, id, &message) {
                        Ok(()) => "a result",
                        Err(0) => "a tool's failure",
                        Err(_) => "an error",
                    });
                    if matches!(frames, Frames::Pipe(_)) {
                        break;
                    }
                }
            }
        }
        how.unwrap_or_else(|| {
            self.breach(op, "Q2: its stream ended without an answer");
            "nothing"
        })
    }

    fn asked(self: &Arc<Self>, order: &Order, op: Op, method: &str, message: &Value) {
        let q = message["params"]["q"].as_str().unwrap_or_default().to_owned();
        self.may_be_asked(op, method);
        self.books.shown(&q, op, self.who.number, false);
        self.books.count("asked by a request");
        let (id, reply, think) = (message["id"].clone(), order.reply, order.think);
        let client = Arc::clone(self);
        self.tasks.spawn(async move {
            tokio::time::sleep(think).await;
            let result = |action: &str, by: Op| json!({ "action": action, "q": q, "by": by });
            let answer =
                |id: &Value, result: Value| json!({ "jsonrpc": "2.0", "id": id, "result": result });
            match reply {
                Reply::Nothing => return,
                Reply::Error => {
                    let error = json!({ "code": -1, "message": "no" });
                    let refused = json!({ "jsonrpc": "2.0", "id": id, "error": error });
                    return client.says(&refused).await;
                }
                Reply::Stray => {
                    for stray in [json!(99_999), json!("1"), json!(-1)] {
                        client.says(&answer(&stray, result("accept", 0))).await;
                    }
                }
                _ => {}
            }
            client.books.gives(&q);
            let action = if reply == Reply::Decline { "decline" } else { "accept" };
            client.says(&answer(&id, result(action, op))).await;
            if reply == Reply::Twice {
                client.says(&answer(&id, result("decline", 0))).await;
            }
        });
    }

    // === modern: asked by results ===

    async fn modern(self: &Arc<Self>, order: &Order, op: Op) -> &'static str {
        let mut more = Value::Null;
        let mut comebacks = order.comebacks.iter().copied();
        loop {
            let asked = match self.asks(order, op, &more, None).await {
                End::Asked(asked) => asked,
                End::Result => return "a result",
                End::Error(0) => return "a tool's failure",
                End::Error(_) => return "an error",
                End::Left => return "left",
            };
            let comeback = comebacks.next().unwrap_or(Comeback::Answers);
            tokio::time::sleep(order.think).await;
            match self.comes_back(order, op, asked, comeback).await {
                Ok(next) => more = next,
                Err(how) => return how,
            }
        }
    }

    /// Makes a request and waits for what becomes of it. `other` = as another principal.
    async fn asks(
        self: &Arc<Self>,
        order: &Order,
        op: Op,
        more: &Value,
        other: Option<&Arc<Member>>,
    ) -> End {
        let request = self.request(order, op, more);
        self.ends(order, op, &request, other).await
    }

    async fn ends(
        self: &Arc<Self>,
        order: &Order,
        op: Op,
        request: &Value,
        other: Option<&Arc<Member>>,
    ) -> End {
        let id = request["id"].clone();
        let follows = async {
            let mut frames = match (&self.way, other) {
                (Way::Http(_), Some(_)) => Frames::Http(Box::new(self.post(request, other).await)),
                _ => self.begins(request, op).await,
            };
            let mut end = None;
            while let Some((message, _)) = frames.next().await {
                if end.is_some() {
                    self.breach(op, format!("Q2: it has its answer, and then came {message}"));
                }
                match (message["method"].as_str(), message.get("id").is_some()) {
                    (Some(_), true) => self.breach(op, format!("Q1: it got a request: {message}")),
                    (Some(_), false) => self.hears(op, &id, &message),
                    (None, _) => end = Some(self.judges(op, &id, message)),
                }
                if end.is_some() && matches!(frames, Frames::Pipe(_)) {
                    break;
                }
            }
            end.unwrap_or_else(|| {
                self.breach(op, "Q2: its stream ended without an answer");
                End::Left
            })
        };
        let leaves = match (order.cancels, order.leaves) {
            (Some(after), _) | (None, Some((after, _))) => after,
            (None, None) => FOREVER,
        };
        let end = tokio::time::timeout(leaves, follows).await;
        self.leaves(&id, end.is_err());
        if let (Way::Pipe(pipe), true) = (&self.way, end.is_err()) {
            pipe.say(&cancelled(&id)).await;
        }
        end.unwrap_or_else(|_| {
            if leaves == FOREVER {
                self.never(op);
            }
            End::Left
        })
    }

    fn judges(&self, op: Op, id: &Value, mut message: Value) -> End {
        let result = &mut message["result"];
        if result["resultType"] != "input_required" {
            return match self.reads(op, id, &message) {
                Ok(()) => End::Result,
                Err(code) => End::Error(code),
            };
        }
        let questions = result["inputRequests"].as_object().cloned().unwrap_or_default();
        let state = result["requestState"].as_str().map(str::to_owned);
        if message["id"] != *id || state.is_none() {
            self.breach(op, format!("Q4: its id is {id}, and it got {message}"));
        }
        for question in questions.values() {
            self.may_be_asked(op, question["method"].as_str().unwrap_or_default());
            let q = question["params"]["q"].as_str().unwrap_or_default();
            self.books.shown(q, op, self.who.number, true);
            self.books.count("asked by a result");
        }
        End::Asked(Asked { questions, state })
    }

    /// What it brings for what it was asked; an end, if it does not go on.
    async fn comes_back(
        self: &Arc<Self>,
        order: &Order,
        op: Op,
        asked: Asked,
        comeback: Comeback,
    ) -> Result<Value, &'static str> {
        let ticket = asked.state.as_deref().is_some_and(|state| {
            // The simulated modern servers have states that begin so too, and are longer.
            state.strip_prefix("wp1.").is_some_and(|rest| rest.len() == 32 && !rest.contains('-'))
        });
        let action = if comeback == Comeback::Declines { "decline" } else { "accept" };
        let mut answers = Map::new();
        for (key, question) in &asked.questions {
            let answer = json!({ "action": action, "q": question["params"]["q"], "by": op });
            answers.insert(key.clone(), answer);
        }
        if comeback == Comeback::Partly && answers.len() > 1 {
            answers.remove(&answers.keys().next().unwrap().clone());
        }
        if comeback == Comeback::Extra {
            answers.insert("nobody asked".to_owned(), json!({ "action": "accept" }));
        }
        let more = json!({ "inputResponses": answers, "requestState": asked.state });
        if ticket {
            self.tries(order, op, &more, comeback).await?;
        }
        match comeback {
            Comeback::Never => return Err("never came back"),
            Comeback::Leaves => {
                let order = Order { leaves: Some((LEAVES, None)), ..order.clone() };
                self.gives(&asked.questions, &more);
                self.asks(&order, op, &more, None).await;
                return Err("left");
            }
            _ => {}
        }
        self.gives(&asked.questions, &more);
        if ticket && comeback == Comeback::Twice {
            return self.twice(order, op, &more).await;
        }
        Ok(more)
    }

    /// The questions that are answered now.
    fn gives(&self, questions: &Map<String, Value>, more: &Value) {
        let answered = |key: &str| more["inputResponses"].get(key).is_some();
        for (_, question) in questions.iter().filter(|(key, _)| answered(key)) {
            self.books.gives(question["params"]["q"].as_str().unwrap_or_default());
        }
    }

    /// What must not serve: a state that differs, is too old, or is shown by somebody else.
    async fn tries(
        self: &Arc<Self>,
        order: &Order,
        op: Op,
        more: &Value,
        comeback: Comeback,
    ) -> Result<(), &'static str> {
        let patient = Order { leaves: None, cancels: None, ..order.clone() };
        let mut bad = more.clone();
        for answer in bad["inputResponses"].as_object_mut().unwrap().values_mut() {
            answer["by"] = 0.into();
        }
        let mut other = None;
        match comeback {
            Comeback::Late => {
                tokio::time::sleep(EXPIRED).await;
            }
            Comeback::Restarted => {
                self.kept.lock().push((op, self.request(order, op, &bad)));
                return Err("waits for another gateway");
            }
            Comeback::Flipped => {
                let mut state = bad["requestState"].as_str().unwrap().to_owned();
                let last = if state.pop() == Some('0') { '1' } else { '0' };
                state.push(last);
                bad["requestState"] = state.into();
            }
            Comeback::Stranger if self.who.stranger.is_some() => {
                other = self.who.stranger.as_ref();
            }
            Comeback::Otherwise => {
                let mut arguments = order.arguments(op);
                arguments["pace"] = 1_000_000.into();
                bad["arguments"] = arguments;
            }
            _ => return Ok(()),
        }
        self.books.count("a state that must not serve");
        match self.asks(&patient, op, &bad, other).await {
            End::Error(-32602) => {}
            _ => self.breach(op, format!("Q3: a state served that must not: {comeback:?}")),
        }
        if comeback == Comeback::Late { Err("came too late") } else { Ok(()) }
    }

    /// The same twice at once: one goes on, the other is refused.
    async fn twice(
        self: &Arc<Self>,
        order: &Order,
        op: Op,
        more: &Value,
    ) -> Result<Value, &'static str> {
        let patient = Order { leaves: None, cancels: None, ..order.clone() };
        let both = (self.asks(&patient, op, more, None), self.asks(&patient, op, more, None));
        let (one, two) = tokio::join!(both.0, both.1);
        let refused = |end: &End| matches!(end, End::Error(-32602));
        if refused(&one) == refused(&two) {
            self.breach(op, "Q3: of two that come back at once not one was refused");
        }
        self.books.count("two at once");
        let end = if refused(&one) { two } else { one };
        let again = self.asks(&patient, op, more, None).await;
        if !refused(&again) {
            self.breach(op, "Q3: a state served that was used");
        }
        match end {
            End::Asked(asked) => {
                let answers = asked.questions.iter().map(|(key, question)| {
                    let q = &question["params"]["q"];
                    (key.clone(), json!({ "action": "accept", "q": q, "by": op }))
                });
                let answers: Map<_, _> = answers.collect();
                let more = json!({ "inputResponses": answers, "requestState": asked.state });
                self.gives(&asked.questions, &more);
                Ok(more)
            }
            End::Result => Err("a result"),
            End::Error(0) => Err("a tool's failure"),
            End::Error(_) => Err("an error"),
            End::Left => Err("left"),
        }
    }

    /// The gateway was started anew: what was parked at the old one serves nobody at this one.
    pub(crate) async fn after_restart(&self, door: &Door) {
        let kept = std::mem::take(&mut *self.kept.lock());
        for (op, request) in kept {
            let client = Self {
                who: self.who.clone(),
                way: Way::Http(door.clone()),
                books: self.books.clone(),
                tasks: self.tasks.clone(),
                session: None,
                ids: AtomicU64::new(1),
                kept: Mutex::default(),
            };
            self.books.count("a state of another gateway");
            let mut stream = client.post(&request, None).await;
            let answer = stream.next().await.map(|(message, _)| message).unwrap_or_default();
            if answer["error"]["code"] != -32602 {
                self.breach(op, format!("Q3: a state of another gateway served: {answer}"));
            }
        }
    }
}

fn cancelled(id: &Value) -> Value {
    let params = json!({ "requestId": id });
    json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params })
}

/// Whether a call of this order must succeed where nothing else goes wrong.
pub(crate) fn is_well(order: &Order) -> bool {
    order.ending == Ending::Well && order.leaves.is_none() && order.cancels.is_none()
}
