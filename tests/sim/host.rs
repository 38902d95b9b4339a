//! A simulated host of one replica: its life, its state, and what it makes of a request. How bytes
//! come and go is in `child` and `server`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use waypost::base::Tasks;

use crate::chance::Dice;
use crate::faults::{Dialled, Ill, Mix};
use crate::ledger::{Ledger, Op};

/// The era that a host speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Era {
    Legacy,
    Modern,
}

/// One thing that a host does for a request.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Wait(Duration),
    /// The tool runs.
    Run(Op),
    /// A message before the answer.
    Tell(Value),
    /// The answer. More than one may come.
    Answer(Value),
    /// Bytes that are no message.
    Garbage,
    /// An HTTP status that is no answer, with `Retry-After` in seconds.
    Status(u16, Option<u64>),
    /// An answer with another HTTP status than 200.
    Refuse(u16, Value),
    /// What is written from now on ends after so many bytes; then it breaks or stops.
    Limit {
        bytes: usize,
        stall: bool,
    },
    Hang,
    Crash,
}

/// What a host does for a request.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) steps: Vec<Step>,
    /// The call it is for.
    pub(crate) op: Option<Op>,
    /// The session that a greeting begins.
    pub(crate) session: Option<String>,
    /// It stays open, for what changes.
    pub(crate) stands: bool,
}

impl Script {
    fn of(steps: impl Into<Vec<Step>>) -> Self {
        Self { steps: steps.into(), ..Self::default() }
    }
}

/// What does not change in the life of a host.
#[expect(clippy::struct_excessive_bools, reason = "each is one independent throw of the dice")]
#[derive(Clone, Debug)]
pub(crate) struct Traits {
    pub(crate) name: String,
    pub(crate) upstream: usize,
    pub(crate) child: bool,
    pub(crate) era: Era,
    /// A legacy server behind a URL may have sessions.
    pub(crate) has_sessions: bool,
    /// It says when its lists change.
    pub(crate) tells_changes: bool,
    /// A server behind a URL that answers calls with a stream.
    pub(crate) streams: bool,
    /// A child that dies from what comes before `initialize`, as some old ones do.
    pub(crate) fragile: bool,
    /// A child that does not end when its stdin does: it must be told.
    pub(crate) stubborn: bool,
    /// Longest time a tool takes in milliseconds.
    pub(crate) pace: u64,
}

/// A host.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) traits: Traits,
    pub(crate) ledger: Ledger,
    pub(crate) tasks: Tasks,
    state: Mutex<State>,
    thawed: Notify,
    healed: CancellationToken,
    /// Told when the lists change.
    pub(crate) changed: Notify,
    /// Told when there is something for the log.
    pub(crate) chatter: Notify,
}

#[derive(Debug)]
struct State {
    life: CancellationToken,
    down: bool,
    /// Connections of a life that ended stay half-open.
    silent: bool,
    frozen: bool,
    mix: Mix,
    dice: Dice,
    tools: u32,
    sessions: BTreeSet<String>,
    next_session: u64,
    active: BTreeMap<(String, String), (Op, CancellationToken)>,
    processes: usize,
}

impl Host {
    pub(crate) fn new(traits: Traits, mix: Mix, dice: Dice, ledger: Ledger, tasks: Tasks) -> Self {
        let state = State {
            life: CancellationToken::new(),
            down: false,
            silent: false,
            frozen: false,
            mix,
            dice,
            tools: 0,
            sessions: BTreeSet::new(),
            next_session: 1,
            active: BTreeMap::new(),
            processes: 0,
        };
        let state = Mutex::new(state);
        let (thawed, changed, chatter) = (Notify::new(), Notify::new(), Notify::new());
        let healed = CancellationToken::new();
        Self { traits, ledger, tasks, state, thawed, healed, changed, chatter }
    }

    pub(crate) fn name(&self) -> &str {
        &self.traits.name
    }

    /// The life it is in now.
    pub(crate) fn life(&self) -> CancellationToken {
        self.state.lock().life.clone()
    }

    /// Dice for a new connection or process.
    pub(crate) fn dice(&self) -> Dice {
        self.state.lock().dice.fork()
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.state.lock().silent
    }

    /// What happens to a new connection.
    pub(crate) fn dialled(&self) -> Dialled {
        let mut state = self.state.lock();
        if state.down {
            return if state.silent { Dialled::Hole } else { Dialled::Refused };
        }
        let State { mix, dice, .. } = &mut *state;
        mix.dialled(dice)
    }

    /// Waits while it is stopped.
    pub(crate) async fn thaw(&self) {
        loop {
            let thawed = self.thawed.notified();
            if !self.state.lock().frozen {
                return;
            }
            thawed.await;
        }
    }

    // === what happens to it ===

    /// It dies, or its machine does.
    pub(crate) fn dies(&self, silent: bool) {
        self.ledger.trouble(format!(
            "{} dies{}",
            self.name(),
            if silent { " silently" } else { "" }
        ));
        let mut state = self.state.lock();
        (state.down, state.silent) = (true, silent && !self.traits.child);
        state.sessions.clear();
        state.active.clear();
        let life = std::mem::replace(&mut state.life, CancellationToken::new());
        drop(state);
        life.cancel();
    }

    /// It can be reached again.
    pub(crate) fn rises(&self) {
        self.ledger.note(format!("{} rises", self.name()));
        self.state.lock().down = false;
    }

    pub(crate) fn freezes(&self, frozen: bool) {
        self.ledger.trouble(format!(
            "{} {}",
            self.name(),
            if frozen { "stops" } else { "goes on" }
        ));
        self.state.lock().frozen = frozen;
        self.thawed.notify_waiters();
    }

    pub(crate) fn forgets(&self) {
        self.ledger.note(format!("{} forgets its sessions", self.name()));
        self.state.lock().sessions.clear();
    }

    pub(crate) fn changes(&self) {
        self.ledger.note(format!("{} changes its tools", self.name()));
        self.state.lock().tools += 1;
        self.changed.notify_waiters();
    }

    /// Resolves when somebody has come to start again what is stuck.
    pub(crate) async fn healed(&self) {
        self.healed.cancelled().await;
    }

    /// Whether nothing goes wrong any more.
    pub(crate) fn is_healed(&self) -> bool {
        self.healed.is_cancelled()
    }

    /// From now on nothing goes wrong.
    pub(crate) fn heals(&self) {
        self.healed.cancel();
        let mut state = self.state.lock();
        state.mix = Mix::default();
        let (down, frozen) = (state.down, state.frozen);
        drop(state);
        if down {
            self.rises();
        }
        if frozen {
            self.freezes(false);
        }
    }

    pub(crate) fn falls_ill(&self, mix: Mix) {
        self.state.lock().mix = mix;
    }

    // === what it holds ===

    /// A process of it begins: its number.
    pub(crate) fn begins(&self) -> u64 {
        let mut state = self.state.lock();
        state.processes += 1;
        state.next_session += 1;
        state.next_session
    }

    /// A process of it ended.
    pub(crate) fn ended(&self) {
        self.state.lock().processes -= 1;
    }

    pub(crate) fn processes(&self) -> usize {
        self.state.lock().processes
    }

    /// Calls that it works on.
    pub(crate) fn active(&self) -> usize {
        self.state.lock().active.len()
    }

    /// A call begins on a channel (a session, a process): what cancels it. Its id must be the only
    /// one of its kind there, except where no session tells old connections from new ones.
    pub(crate) fn enters(&self, channel: &str, id: &Value, op: Op) -> CancellationToken {
        let unwanted = CancellationToken::new();
        let entry = (op, unwanted.clone());
        let key = (channel.to_owned(), id.to_string());
        let before = self.state.lock().active.insert(key, entry);
        if before.is_some() && channel != NO_SESSION {
            self.ledger.breach(format!("I4: {} got id {id} twice on {channel}", self.name()));
        }
        unwanted
    }

    pub(crate) fn leaves(&self, channel: &str, id: &Value) {
        self.state.lock().active.remove(&(channel.to_owned(), id.to_string()));
    }

    /// `notifications/cancelled` came.
    fn cancelled(&self, channel: &str, message: &Value) {
        let id = message["params"]["requestId"].to_string();
        let known = self.state.lock().active.get(&(channel.to_owned(), id)).cloned();
        if let Some((op, unwanted)) = known {
            self.ledger.cancels(op, self.name());
            unwanted.cancel();
        }
    }

    // === what it makes of a request ===

    /// What it does for a message. `session` is the one that came with it.
    pub(crate) fn plan(&self, message: &Value, session: Option<&str>) -> Script {
        let method = message["method"].as_str().unwrap_or_default();
        if message.get("id").is_none() {
            if method == "notifications/cancelled" {
                self.cancelled(session.unwrap_or(NO_SESSION), message);
            }
            return Script::default();
        }
        if let Some(lost) = self.without_session(message, session, method) {
            return lost;
        }
        match method {
            "tools/call" => self.call(message, session),
            _ => self.other(message, method),
        }
    }

    fn without_session(
        &self,
        message: &Value,
        session: Option<&str>,
        method: &str,
    ) -> Option<Script> {
        if !self.traits.has_sessions || method == "initialize" {
            return None;
        }
        let op = op_of(message);
        let Some(session) = session else {
            self.refuses(op);
            return Some(Script::of([Step::Status(400, None)]));
        };
        if self.state.lock().sessions.contains(session) {
            return None;
        }
        self.refuses(op);
        Some(Script::of([Step::Status(404, None)]))
    }

    fn refuses(&self, op: Option<Op>) {
        if let Some(op) = op {
            self.ledger.reaches(op, self.name(), true);
        }
    }

    fn roll(&self) -> (Option<Ill>, Dice) {
        let mut state = self.state.lock();
        let State { mix, dice, .. } = &mut *state;
        (mix.ill(dice), dice.fork())
    }

    /// A request that runs no tool.
    fn other(&self, message: &Value, method: &str) -> Script {
        let id = &message["id"];
        let modern = self.traits.era == Era::Modern;
        let result = match (method, modern) {
            ("initialize", false) => self.welcome(),
            ("server/discover", true) => self.discovered(),
            ("ping", false) => json!({}),
            ("tools/list", _) => self.listed(),
            ("subscriptions/listen", true) => {
                return Script { stands: true, ..Script::default() };
            }
            ("server/discover", false) if self.traits.fragile => return Script::of([Step::Crash]),
            _ => {
                let error = json!({ "code": -32601, "message": "no such method" });
                let answer = json!({ "jsonrpc": "2.0", "id": id, "error": error });
                let status = if modern { 404 } else { 200 };
                return Script::of([Step::Refuse(status, answer)]);
            }
        };
        let answer = json!({ "jsonrpc": "2.0", "id": id, "result": result });
        let (ill, mut dice) = self.roll();
        let pace = Step::Wait(dice.millis(20));
        let mut script = Script::of(match ill {
            None => vec![pace, Step::Answer(answer)],
            Some(Ill::Unauthorised) => vec![Step::Status(401, None)],
            Some(Ill::TooMany) => vec![Step::Status(429, Some(1))],
            Some(Ill::Unavailable) => vec![Step::Status(503, None)],
            Some(Ill::Broken) => vec![Step::Status(500, None)],
            Some(Ill::Crash) => vec![pace, Step::Crash],
            Some(Ill::Hang) => vec![Step::Hang],
            Some(Ill::Garbage) => vec![Step::Garbage, Step::Answer(answer)],
            Some(Ill::CutAnswer | Ill::StallAnswer) => {
                let stall = ill == Some(Ill::StallAnswer);
                vec![Step::Limit { bytes: dice.below(400), stall }, Step::Answer(answer)]
            }
            Some(_) => vec![Step::Wait(dice.millis(5_000)), Step::Answer(answer)],
        });
        if method == "initialize" && self.traits.has_sessions {
            let mut state = self.state.lock();
            let session = format!("{}-{}", self.traits.name, state.next_session);
            state.next_session += 1;
            state.sessions.insert(session.clone());
            script.session = Some(session);
        }
        script
    }

    fn capabilities(&self) -> Value {
        json!({ "tools": { "listChanged": self.traits.tells_changes } })
    }

    fn welcome(&self) -> Value {
        json!({
            "protocolVersion": "2025-11-25",
            "capabilities": self.capabilities(),
            "serverInfo": { "name": self.traits.name, "version": "1" },
        })
    }

    fn discovered(&self) -> Value {
        json!({
            "resultType": "complete",
            "supportedVersions": ["2026-07-28"],
            "capabilities": self.capabilities(),
            "ttlMs": 60_000,
            "cacheScope": "public",
        })
    }

    fn listed(&self) -> Value {
        let tool = |name: &str, annotations: Value| {
            json!({
                "name": name,
                "inputSchema": { "type": "object" },
                "annotations": annotations,
            })
        };
        let mut tools = vec![
            tool("read", json!({ "readOnlyHint": true })),
            tool("idem", json!({ "idempotentHint": true })),
            tool("write", json!({})),
            tool("slow", json!({ "idempotentHint": true })),
            tool("secret", json!({ "readOnlyHint": true })),
        ];
        let version = self.state.lock().tools;
        if version > 0 {
            tools.push(tool(&format!("extra{version}"), json!({})));
        }
        json!({ "tools": tools, "resultType": "complete", "ttlMs": 30_000, "cacheScope": "public" })
    }

    /// A call of a tool.
    fn call(&self, message: &Value, session: Option<&str>) -> Script {
        let Some(op) = op_of(message) else {
            self.ledger.breach(format!("I4: {} got a call without an op", self.name()));
            return Script::default();
        };
        let (ill, mut dice) = self.roll();
        let id = &message["id"];
        let arguments = &message["params"]["arguments"];
        let (nonce, tool) = (&arguments["nonce"], message["params"]["name"].as_str());
        let refused = ill.and_then(|ill| self.refusal(ill, session, id));
        if let Some(step) = refused {
            self.ledger.reaches(op, self.name(), true);
            return Script { op: Some(op), ..Script::of([Step::Wait(dice.millis(50)), step]) };
        }
        self.ledger.reaches(op, self.name(), false);
        let size = usize::try_from(arguments["size"].as_u64().unwrap_or(0)).unwrap();
        let text = format!("{nonce} {} {}", self.traits.name, "x".repeat(size));
        let content = json!([{ "type": "text", "text": text }]);
        let mut result = json!({ "content": content, "nonce": nonce });
        if self.traits.era == Era::Modern {
            result["resultType"] = "complete".into();
        }
        let answer = json!({ "jsonrpc": "2.0", "id": id, "result": result });
        let work = self.work(message, &mut dice, tool == Some("slow"));
        let steps = match ill {
            Some(ill) => self.failing(ill, work, (id, nonce), answer, &mut dice),
            None => [work, vec![Step::Answer(answer)]].concat(),
        };
        Script { op: Some(op), ..Script::of(steps) }
    }

    /// What is answered instead of running, where an ill refuses.
    fn refusal(&self, ill: Ill, session: Option<&str>, id: &Value) -> Option<Step> {
        match ill {
            Ill::Unauthorised if !self.traits.child => Some(Step::Status(401, None)),
            Ill::SessionLost if self.traits.has_sessions => {
                self.state.lock().sessions.remove(session.unwrap_or_default());
                Some(Step::Status(404, None))
            }
            Ill::Mismatch if self.traits.era == Era::Modern && !self.traits.child => {
                let error = json!({ "code": -32020, "message": "the headers do not match" });
                let answer = json!({ "jsonrpc": "2.0", "id": id, "error": error });
                Some(Step::Refuse(400, answer))
            }
            _ => None,
        }
    }

    /// What comes of the work of a tool with an ill.
    fn failing(
        &self,
        ill: Ill,
        work: Vec<Step>,
        (id, nonce): (&Value, &Value),
        answer: Value,
        dice: &mut Dice,
    ) -> Vec<Step> {
        // Whether it gets as far as running before it fails.
        let ran = dice.coin();
        let after = dice.coin().then(|| dice.between(0, 3));
        let answer = Step::Answer(answer);
        let then = |work: Vec<Step>, steps: &[Step]| [work, steps.to_vec()].concat();
        let failed = |step: Step| {
            let kept = |step: &Step| ran || !matches!(step, Step::Run(_) | Step::Tell(_));
            let early = work.iter().filter(|step| kept(step)).cloned().collect();
            then(early, &[step])
        };
        match ill {
            Ill::TooMany => failed(Step::Status(429, after)),
            Ill::Unavailable => failed(Step::Status(503, after)),
            Ill::Broken => failed(Step::Status(500, None)),
            Ill::BadGateway => failed(Step::Status(502, None)),
            Ill::Internal => {
                let error = json!({ "code": -32603, "message": "no", "data": { "nonce": nonce } });
                failed(Step::Answer(json!({ "jsonrpc": "2.0", "id": id, "error": error })))
            }
            Ill::WrongId => {
                let result = json!({ "content": [], "nonce": "of nobody" });
                let other = format!("{id}-other");
                let wrong =
                    Step::Answer(json!({ "jsonrpc": "2.0", "id": other, "result": result }));
                if self.traits.child {
                    then(work, &[wrong, Step::Hang])
                } else {
                    then(work, &[wrong])
                }
            }
            Ill::Garbage if dice.coin() => then(work, &[Step::Garbage, answer]),
            Ill::Garbage => then(work, &[Step::Garbage]),
            Ill::Twice => then(work, &[answer.clone(), answer]),
            Ill::CutAnswer | Ill::StallAnswer => {
                let stall = ill == Ill::StallAnswer;
                then(work, &[Step::Limit { bytes: dice.below(600), stall }, answer])
            }
            Ill::Hang => failed(Step::Hang),
            Ill::Crash => failed(Step::Crash),
            Ill::Slow => {
                let late = Step::Wait(Duration::from_millis(dice.between(100, 9_000)));
                then([vec![late], work].concat(), &[answer])
            }
            Ill::Unauthorised | Ill::SessionLost | Ill::Mismatch => then(work, &[answer]),
        }
    }

    /// The work of a tool, without its answer.
    fn work(&self, message: &Value, dice: &mut Dice, slow: bool) -> Vec<Step> {
        let params = &message["params"];
        let arguments = &params["arguments"];
        let op = op_of(message).unwrap_or_default();
        let pace = Step::Wait(dice.millis(self.traits.pace));
        if let Some(millis) = arguments["ms"].as_u64() {
            return vec![Step::Run(op), Step::Wait(Duration::from_millis(millis))];
        }
        if !slow {
            return vec![pace, Step::Run(op), Step::Wait(dice.millis(self.traits.pace))];
        }
        let mut steps = vec![pace, Step::Run(op)];
        let token = &params["_meta"]["progressToken"];
        for progress in 1..=dice.between(1, 6) {
            steps.push(Step::Wait(Duration::from_millis(dice.between(10, 1_500))));
            if !token.is_null() {
                let told = json!({
                    "progressToken": token,
                    "progress": progress,
                    "message": arguments["nonce"],
                });
                let method = "notifications/progress";
                steps.push(Step::Tell(
                    json!({ "jsonrpc": "2.0", "method": method, "params": told }),
                ));
            }
        }
        steps
    }
}

/// The channel of a legacy server behind a URL that has no sessions.
pub(crate) const NO_SESSION: &str = "no session";

/// The op of a call.
pub(crate) fn op_of(message: &Value) -> Option<Op> {
    message["params"]["arguments"]["op"].as_u64()
}

/// Hosts by their names.
pub(crate) type Hosts = Arc<BTreeMap<String, Arc<Host>>>;
