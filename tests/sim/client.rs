//! Simulated clients: they call through the gateway, read what comes, and give up now and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};
use waypost::gateway::{Call, Gateway, Wish};
use waypost::proto::envelope::split;
use waypost::proto::{Abilities, Era};
use waypost::upstream::{Caller, Told};

use crate::chance::Dice;
use crate::ledger::{Class, Ledger, Op, Outcome};

/// What clients share.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    pub(crate) gateway: Gateway,
    pub(crate) ledger: Ledger,
    /// The prefixes of the upstreams, and what a second run of their tools would do.
    pub(crate) upstreams: Arc<[Offer]>,
    /// How long a call may take until its answer.
    pub(crate) longest: Duration,
    ops: Arc<AtomicU64>,
}

/// What clients may call of one upstream.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) prefix: String,
    pub(crate) read: Class,
    pub(crate) idem: Class,
}

/// One call to make.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) upstream: usize,
    pub(crate) tool: &'static str,
    /// The client gives up after this time.
    pub(crate) patience: Option<Duration>,
    /// How long the tool is to work.
    pub(crate) millis: Option<u64>,
    pub(crate) size: usize,
    pub(crate) progress: bool,
}

impl Order {
    pub(crate) fn of(upstream: usize, tool: &'static str) -> Self {
        Self { upstream, tool, patience: None, millis: None, size: 0, progress: false }
    }

    pub(crate) fn roll(dice: &mut Dice, upstreams: usize, give_up_percent: u64) -> Self {
        const TOOLS: [&str; 10] =
            ["read", "read", "read", "idem", "idem", "write", "write", "write", "slow", "secret"];
        let tool = dice.pick(&TOOLS);
        let patience = dice.percent(give_up_percent).then(|| dice.millis(4_000));
        let size = if dice.percent(3) { 300 * 1_024 } else { 0 };
        let progress = tool == "slow" && dice.percent(80);
        Self { upstream: dice.below(upstreams), tool, patience, millis: None, size, progress }
    }
}

impl Desk {
    pub(crate) fn new(
        gateway: Gateway,
        ledger: Ledger,
        upstreams: Vec<Offer>,
        longest: Duration,
    ) -> Self {
        let (upstreams, ops) = (upstreams.into(), Arc::new(AtomicU64::new(1)));
        Self { gateway, ledger, upstreams, longest, ops }
    }

    fn class(&self, order: &Order) -> Class {
        let offer = &self.upstreams[order.upstream];
        match order.tool {
            "read" => offer.read,
            "idem" | "slow" => offer.idem,
            "secret" => Class::Denied,
            _ => Class::Once,
        }
    }
}

/// A client.
#[derive(Debug)]
pub(crate) struct Client {
    desk: Desk,
    name: usize,
    caller: Caller,
    ids: AtomicU64,
}

impl Client {
    pub(crate) fn new(desk: &Desk, name: usize, era: Era) -> Self {
        let caller = Caller {
            who: None,
            era,
            capabilities: Bytes::from_static(b"{}"),
            info: None,
            log_level: None,
            abilities: Abilities::NONE,
            mail: None,
            key: u64::try_from(name).unwrap(),
            home: u64::try_from(name).unwrap(),
        };
        Self { desk: desk.clone(), name, caller, ids: AtomicU64::new(1) }
    }

    /// Makes one call, and holds what comes against it.
    pub(crate) async fn call(&self, order: &Order) -> (Op, Outcome) {
        let desk = &self.desk;
        let op = desk.ops.fetch_add(1, Ordering::Relaxed);
        let nonce = format!("nonce-{}-{op}", self.name);
        // Clients count from 1, each for itself: their ids are often the same.
        let number = self.ids.fetch_add(1, Ordering::Relaxed);
        let id = if number.is_multiple_of(3) { json!(number.to_string()) } else { json!(number) };
        desk.ledger.begins(op, order.upstream, desk.class(order));
        let outcome = self.attempt(order, op, &nonce, &id).await;
        desk.ledger.ends(op, outcome.clone());
        (op, outcome)
    }

    fn request(&self, order: &Order, op: Op, nonce: &str, id: &Value) -> Bytes {
        let mut arguments = json!({ "op": op, "nonce": nonce, "size": order.size });
        if let Some(millis) = order.millis {
            arguments["ms"] = millis.into();
        }
        let mut meta = match self.caller.era {
            Era::Legacy => json!({}),
            Era::Modern => json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
            }),
        };
        if order.progress {
            meta["progressToken"] = id.clone();
        }
        let name = format!("{}__{}", self.desk.upstreams[order.upstream].prefix, order.tool);
        let params = json!({ "name": name, "arguments": arguments, "_meta": meta });
        let method = "tools/call";
        let text = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        Bytes::from(text.to_string())
    }

    async fn attempt(&self, order: &Order, op: Op, nonce: &str, id: &Value) -> Outcome {
        let desk = &self.desk;
        let body = self.request(order, op, nonce, id);
        let shape = split(&body).unwrap();
        let call = Call {
            body: &body,
            shape: &shape,
            caller: &self.caller,
            headers: None,
            wish: Wish::default(),
        };
        let last = Mutex::new(0_u64);
        let tell = |told: Told| {
            let Told::Note(note) = told else {
                return desk.ledger.breach(format!("I4: op {op} was asked something"));
            };
            let note: Value = serde_json::from_slice(&note).unwrap_or_default();
            let params = &note["params"];
            if params["progressToken"] != *id || params["message"] != nonce {
                desk.ledger.breach(format!("I4: op {op} was told of another: {note}"));
            }
            let progress = params["progress"].as_u64().unwrap_or(0);
            let before = std::mem::replace(&mut *last.lock(), progress);
            if progress <= before {
                desk.ledger.breach(format!("I4: op {op}: progress {progress} after {before}"));
            }
        };
        let began = desk.ledger.now();
        let whole = async {
            let reply = desk.gateway.call(call, tell).await;
            let took = desk.ledger.now().saturating_sub(began);
            if took > desk.longest {
                let longest = desk.longest;
                desk.ledger.breach(format!("I3: op {op} took {took:?}, more than {longest:?}"));
            }
            let raw = id.to_string();
            reply.whole(Some(raw.as_bytes())).await
        };
        // A call that never ends is a breach, not a simulation that never ends.
        let forever = Duration::from_mins(10);
        let patience = order.patience.unwrap_or(forever);
        let Ok(answer) = tokio::time::timeout(patience, whole).await else {
            if order.patience.is_none() {
                desk.ledger.breach(format!("I3: op {op} was never answered"));
            }
            return Outcome::GivenUp;
        };
        self.read(op, nonce, id, &answer)
    }

    fn read(&self, op: Op, nonce: &str, id: &Value, answer: &[u8]) -> Outcome {
        let ledger = &self.desk.ledger;
        let Ok(answer) = serde_json::from_slice::<Value>(answer) else {
            ledger.breach(format!("I3: op {op} got an answer that is no JSON"));
            return Outcome::Theirs;
        };
        let shown = |answer: &Value| answer.to_string().chars().take(300).collect::<String>();
        if answer["id"] != *id {
            ledger.breach(format!("I4: op {op} got the answer to another id: {}", shown(&answer)));
        }
        if let Some(result) = answer.get("result") {
            if result["nonce"] != nonce {
                ledger.breach(format!("I4: op {op} got another's result: {}", shown(&answer)));
            }
            return Outcome::Result;
        }
        let error = &answer["error"];
        if error["data"]["source"] == "gateway" {
            let code = error["code"].as_i64().unwrap_or_default();
            let delivery = error["data"]["delivery"].as_str().unwrap_or_default().to_owned();
            if !["not_sent", "rejected", "unknown"].contains(&delivery.as_str()) {
                ledger.breach(format!("I5: op {op}: no word about delivery: {error}"));
            }
            ledger.note(format!("op {op}: {}", error["message"]));
            return Outcome::Ours { code, delivery };
        }
        let theirs = error["code"] == -32603 && error["data"]["nonce"] == nonce;
        let known = theirs || matches!(error["code"].as_i64(), Some(-32602 | -32601));
        if !known && !shown(error).contains("own request (error -32020)") {
            ledger.breach(format!("I4: op {op} got an error of nobody: {}", shown(error)));
        }
        Outcome::Theirs
    }
}
