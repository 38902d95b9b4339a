//! Servers that ask in the middle of a call: what they do with a message. How messages come and go is
//! in `wire`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use waypost::base::Tasks;

use crate::chance::Dice;

use super::books::{Books, Fate, Op};

/// One that died can be reached again after this time.
const DOWN: Duration = Duration::from_millis(300);

/// What does not change in its life.
#[derive(Clone, Debug)]
pub(crate) struct Traits {
    pub(crate) name: String,
    pub(crate) upstream: usize,
    pub(crate) child: bool,
    pub(crate) modern: bool,
    /// It takes its time before it looks at a message, in milliseconds at most.
    pub(crate) dawdles: u64,
}

/// A server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) traits: Traits,
    pub(crate) books: Books,
    pub(crate) tasks: Tasks,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    dice: Dice,
    life: CancellationToken,
    down: bool,
    count: u64,
    sessions: BTreeSet<String>,
    channels: BTreeMap<String, u64>,
    /// Questions by their channel and id, until for ever: a second answer must be noticed.
    asked: BTreeMap<(String, String), Asked>,
    /// Calls it works on, by their channel and id.
    active: BTreeMap<(String, String), CancellationToken>,
    /// Of a server that asks by results: the states that it gave out.
    states: BTreeMap<String, Round>,
    processes: usize,
}

/// The name of a question, and who waits for its answer.
type Asked = (String, Option<oneshot::Sender<()>>);

/// What a state stands for.
#[derive(Clone, Debug)]
struct Round {
    op: Op,
    /// The round that its questions are of.
    number: usize,
    open: BTreeMap<String, Value>,
    used: bool,
}

/// The way out for what belongs to one channel, or one request.
#[derive(Clone, Debug)]
pub(crate) enum Mouth {
    Lines(mpsc::Sender<Bytes>),
    Events(mpsc::Sender<Bytes>),
}

impl Mouth {
    /// Whoever does not listen any more hears nothing.
    pub(crate) async fn say(&self, message: &Value) {
        drop(match self {
            Self::Lines(to) => to.send(format!("{message}\n").into()).await,
            Self::Events(to) => to.send(format!("data: {message}\n\n").into()).await,
        });
    }

    async fn closed(&self) {
        match self {
            Self::Lines(to) | Self::Events(to) => to.closed().await,
        }
    }
}

fn answer(id: &Value, result: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": result })
}

fn refusal(id: &Value, code: i64) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": "no" } })
}

/// The op that an answer says it was given for, and the question.
fn by(result: &Value) -> Option<(&str, Op)> {
    Some((result["q"].as_str()?, result["by"].as_u64()?))
}

impl Server {
    pub(crate) fn new(traits: Traits, books: Books, tasks: Tasks, dice: Dice) -> Self {
        let state = State {
            dice,
            life: CancellationToken::new(),
            down: false,
            count: 0,
            sessions: BTreeSet::new(),
            channels: BTreeMap::new(),
            asked: BTreeMap::new(),
            active: BTreeMap::new(),
            states: BTreeMap::new(),
            processes: 0,
        };
        Self { traits, books, tasks, state: Mutex::new(state) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.traits.name
    }

    pub(crate) fn life(&self) -> CancellationToken {
        self.state.lock().life.clone()
    }

    pub(crate) fn is_down(&self) -> bool {
        self.state.lock().down
    }

    /// A new process, session or connection of it.
    pub(crate) fn channel(&self, what: &str) -> String {
        let mut state = self.state.lock();
        state.count += 1;
        let name = format!("{}-{what}-{}", self.traits.name, state.count);
        state.channels.insert(name.clone(), 0);
        name
    }

    pub(crate) fn opens(&self, session: &str) {
        self.state.lock().sessions.insert(session.to_owned());
    }

    pub(crate) fn knows(&self, session: &str) -> bool {
        self.state.lock().sessions.contains(session)
    }

    /// A session or a process is over.
    pub(crate) fn closes(&self, channel: &str) {
        let mut state = self.state.lock();
        state.sessions.remove(channel);
        state.channels.remove(channel);
        state.active.retain(|(on, _), unwanted| {
            if on == channel {
                unwanted.cancel();
            }
            on != channel
        });
        drop(state);
        self.books.void(channel);
    }

    pub(crate) fn starts(&self) {
        self.state.lock().processes += 1;
    }

    pub(crate) fn stops(&self) {
        self.state.lock().processes -= 1;
    }

    pub(crate) fn processes(&self) -> usize {
        self.state.lock().processes
    }

    /// Calls that it works on.
    pub(crate) fn active(&self) -> usize {
        self.state.lock().active.len()
    }

    /// It dies with all that it has, and is back soon.
    pub(crate) fn dies(self: &Arc<Self>) {
        self.books.ledger.note(format!("{} dies", self.name()));
        let mut state = self.state.lock();
        state.down = true;
        state.states.clear();
        let channels: Vec<String> = state.channels.keys().cloned().collect();
        let life = std::mem::replace(&mut state.life, CancellationToken::new());
        drop(state);
        for channel in &channels {
            self.closes(channel);
        }
        life.cancel();
        let server = Arc::clone(self);
        self.tasks.spawn(async move {
            tokio::time::sleep(DOWN).await;
            server.state.lock().down = false;
        });
    }

    // === what it makes of a message ===

    /// A message that is no request.
    pub(crate) fn hears(&self, message: &Value, channel: &str) {
        let Some(method) = message["method"].as_str() else {
            return self.answered(message, channel);
        };
        if method == "notifications/cancelled" {
            let id = message["params"]["requestId"].to_string();
            let active = self.state.lock().active.get(&(channel.to_owned(), id)).cloned();
            if let Some(unwanted) = active {
                unwanted.cancel();
            }
        }
    }

    fn answered(&self, message: &Value, channel: &str) {
        let key = (channel.to_owned(), message["id"].to_string());
        let asked = self.state.lock().asked.get_mut(&key).map(|(q, go)| (q.clone(), go.take()));
        let Some((q, go)) = asked else {
            let text = format!("Q1: {} was answered what it did not ask: {message}", self.name());
            return self.books.ledger.breach(text);
        };
        let result = &message["result"];
        let fate = match (by(result), result["action"].as_str()) {
            (Some(_), _) => Fate::Answered,
            (None, Some("cancel")) => Fate::Cancelled,
            _ => Fate::Refused,
        };
        self.books.comes_back(&q, fate, by(result));
        // A call that was cancelled meanwhile does not wait.
        if let Some(go) = go
            && go.send(()).is_err()
        {
            self.books.ledger.note(format!("nobody waits for {q}"));
        }
    }

    /// It looks at the next message only now.
    pub(crate) async fn dawdles(&self) {
        if self.traits.dawdles > 0 {
            let time = self.state.lock().dice.millis(self.traits.dawdles);
            tokio::time::sleep(time).await;
        }
    }

    /// What it answers to a request at once; `None` to a call.
    pub(crate) fn plain(&self, message: &Value) -> Option<Value> {
        let (id, modern) = (&message["id"], self.traits.modern);
        let tools = json!([{ "name": "ask", "inputSchema": { "type": "object" } }]);
        Some(match (message["method"].as_str().unwrap_or_default(), modern) {
            ("tools/call", _) => return None,
            ("initialize", false) => answer(
                id,
                &json!({
                    "protocolVersion": "2025-11-25",
                    "capabilities": { "tools": {} },
                    "serverInfo": { "name": self.name(), "version": "1" },
                }),
            ),
            ("server/discover", true) => answer(
                id,
                &json!({
                    "resultType": "complete",
                    "supportedVersions": ["2026-07-28"],
                    "capabilities": { "tools": {} },
                    "ttlMs": 60_000,
                    "cacheScope": "public",
                }),
            ),
            ("ping", false) => answer(id, &json!({})),
            ("tools/list", false) => answer(id, &json!({ "tools": tools })),
            ("tools/list", true) => answer(
                id,
                &json!({
                    "tools": tools,
                    "resultType": "complete",
                    "ttlMs": 60_000,
                    "cacheScope": "public",
                }),
            ),
            _ => refusal(id, -32601),
        })
    }

    /// A call, from its request to its end. It also ends when it is cancelled, and when its server
    /// dies.
    pub(crate) async fn call(self: Arc<Self>, message: Value, channel: String, mouth: Mouth) {
        let id = message["id"].clone();
        let (key, unwanted) = ((channel.clone(), id.to_string()), CancellationToken::new());
        let before = self.state.lock().active.insert(key.clone(), unwanted.clone());
        if before.is_some() {
            let text = format!("Q4: {} got id {id} twice on {channel}", self.name());
            self.books.ledger.breach(text);
        }
        let life = self.life();
        let modern_http = self.traits.modern && !self.traits.child;
        tokio::select! {
            biased;
            () = life.cancelled() => {}
            () = unwanted.cancelled() => self.books.ledger.note(format!("{id} is cancelled on {channel}")),
            // Whoever closes the stream has cancelled (2026-07-28, transports).
            () = mouth.closed(), if modern_http => self.books.ledger.note(format!("{channel} is closed")),
            () = self.works(&message, &channel, &mouth) => {}
        }
        self.state.lock().active.remove(&key);
    }

    async fn works(self: &Arc<Self>, message: &Value, channel: &str, mouth: &Mouth) {
        if self.traits.modern {
            self.works_by_results(message, channel, mouth).await;
        } else {
            self.works_by_requests(message, channel, mouth).await;
        }
    }

    async fn rests(&self, message: &Value) {
        let pace = message["params"]["arguments"]["pace"].as_u64().unwrap_or_default();
        let time = self.state.lock().dice.millis(pace.max(1));
        tokio::time::sleep(time).await;
    }

    async fn progress(&self, message: &Value, mouth: &Mouth, step: usize) {
        let params = &message["params"];
        let token = &params["_meta"]["progressToken"];
        if token.is_null() {
            return;
        }
        let text = format!("op-{}", params["arguments"]["op"]);
        let about = json!({ "progressToken": token, "progress": step + 1, "message": text });
        let method = "notifications/progress";
        mouth.say(&json!({ "jsonrpc": "2.0", "method": method, "params": about })).await;
    }

    /// How a call ends when its rounds are over.
    async fn finishes(self: &Arc<Self>, message: &Value, mouth: &Mouth) -> Option<Op> {
        let arguments = &message["params"]["arguments"];
        let op = arguments["op"].as_u64().unwrap();
        match arguments["ending"].as_str().unwrap() {
            "Hangs" => std::future::pending().await,
            "Dies" => {
                self.dies();
                return None;
            }
            _ => {}
        }
        let content = json!([{ "type": "text", "text": format!("op-{op}") }]);
        let mut result = json!({ "op": op, "content": content });
        if self.traits.modern {
            result["resultType"] = "complete".into();
        }
        mouth.say(&answer(&message["id"], &result)).await;
        Some(op)
    }

    // === the legacy way: questions are requests ===

    /// Puts a question on its channel; it is answered when the receiver resolves.
    async fn asks(
        &self,
        q: &str,
        (op, kind, must_end): (Op, &str, bool),
        channel: &str,
        mouth: &Mouth,
    ) -> oneshot::Receiver<()> {
        let (go, gone) = oneshot::channel();
        let id = {
            let mut state = self.state.lock();
            let count = state.channels.entry(channel.to_owned()).or_default();
            *count += 1;
            // Ids of both types, the same on every channel.
            let id = if count.is_multiple_of(2) { json!(*count) } else { json!(count.to_string()) };
            let key = (channel.to_owned(), id.to_string());
            state.asked.insert(key, (q.to_owned(), Some(go)));
            id
        };
        self.books.asks(q, op, channel, must_end);
        let params = json!({ "q": q, "message": "?" });
        mouth.say(&json!({ "jsonrpc": "2.0", "id": id, "method": kind, "params": params })).await;
        gone
    }

    async fn works_by_requests(self: &Arc<Self>, message: &Value, channel: &str, mouth: &Mouth) {
        let arguments = &message["params"]["arguments"];
        let op = arguments["op"].as_u64().unwrap();
        self.books.runs(op, self.name());
        if !message["params"]["requestState"].is_null() {
            let text = format!("Q3: the legacy {} got a state", self.name());
            self.books.ledger.breach(text);
        }
        let rounds = arguments["rounds"].as_array().unwrap();
        let alone = ["Alone", "Dies"].contains(&arguments["ending"].as_str().unwrap());
        for (number, round) in rounds.iter().enumerate() {
            self.rests(message).await;
            self.progress(message, mouth, number).await;
            let mut waits = Vec::new();
            for (place, kind) in round.as_array().unwrap().iter().enumerate() {
                let q = format!("q-{op}-{number}-{place}");
                let about = (op, kind.as_str().unwrap(), true);
                waits.push(self.asks(&q, about, channel, mouth).await);
            }
            if alone && number + 1 == rounds.len() {
                self.rests(message).await;
                break;
            }
            for wait in waits {
                drop(wait.await);
            }
        }
        self.rests(message).await;
        if let Some(op) = self.finishes(message, mouth).await
            && arguments["ending"] == "AsksOn"
        {
            let about = (op, super::order::KINDS[0], false);
            drop(self.asks(&format!("q-{op}-late"), about, channel, mouth).await);
        }
    }

    // === the modern way: questions are results ===

    async fn works_by_results(self: &Arc<Self>, message: &Value, channel: &str, mouth: &Mouth) {
        let params = &message["params"];
        let op = params["arguments"]["op"].as_u64().unwrap();
        let round = match params["requestState"].as_str() {
            None => {
                self.books.runs(op, self.name());
                Round { op, number: 0, open: BTreeMap::new(), used: false }
            }
            Some(state) => match self.brought(state, op, &params["inputResponses"]) {
                Some(round) => round,
                None => return mouth.say(&refusal(&message["id"], -32602)).await,
            },
        };
        self.rests(message).await;
        self.progress(message, mouth, round.number).await;
        match self.next_round(round, message, channel) {
            Some((state, open)) => {
                let result = json!({
                    "resultType": "input_required",
                    "inputRequests": open,
                    "requestState": state,
                });
                mouth.say(&answer(&message["id"], &result)).await;
            }
            None => drop(self.finishes(message, mouth).await),
        }
    }

    /// What a client brings for a state; `None` if that is not known.
    fn brought(&self, state: &str, op: Op, answers: &Value) -> Option<Round> {
        let mut round = {
            let mut inner = self.state.lock();
            let round = inner.states.get_mut(state)?;
            let before = round.clone();
            round.used = true;
            before
        };
        if round.used || round.op != op {
            let text = format!("Q3: the state of op {} comes again, for op {op}", round.op);
            self.books.ledger.breach(text);
        }
        let given = answers.as_object().into_iter().flatten();
        for (key, result) in given.filter(|(key, _)| round.open.remove(*key).is_some()) {
            self.books.comes_back(key, Fate::Answered, by(result));
        }
        if round.open.is_empty() {
            round.number += 1;
        }
        Some(round)
    }

    /// What it asks now: what is still open, or the next round. Only for what the client declared.
    fn next_round(
        &self,
        mut round: Round,
        message: &Value,
        channel: &str,
    ) -> Option<(String, BTreeMap<String, Value>)> {
        let params = &message["params"];
        let declared = &params["_meta"]["io.modelcontextprotocol/clientCapabilities"];
        let rounds = params["arguments"]["rounds"].as_array().unwrap();
        while round.open.is_empty() {
            let kinds = rounds.get(round.number)?.as_array().unwrap();
            for (place, kind) in kinds.iter().enumerate() {
                let kind = kind.as_str().unwrap();
                let able = kind.split('/').next().unwrap();
                if declared.get(able).is_some() {
                    let q = format!("q-{}-{}-{place}", round.op, round.number);
                    self.books.asks(&q, round.op, channel, false);
                    let asked = json!({ "method": kind, "params": { "q": q, "message": "?" } });
                    round.open.insert(q, asked);
                }
            }
            if round.open.is_empty() {
                round.number += 1;
            }
        }
        let mut state = self.state.lock();
        // Among them one that looks like a ticket of the gateway, and some with what JSON escapes.
        let begin = state.dice.pick(&["wp1.", "é\"\u{1} ", ""]);
        let text =
            format!("{begin}{}-{}-{}", round.op, round.number, state.dice.between(0, 1 << 60));
        let open = round.open.clone();
        state.states.insert(text.clone(), Round { used: false, ..round });
        Some((text, open))
    }
}
