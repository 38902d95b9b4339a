//! `gateway_aggregate`: one tool with many sets of arguments, or one call at every replica.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rmcp::model::ToolAnnotations;
use serde::Serialize;
use serde_json::{Value, json};

use super::compare::{Difference, differences};
use super::entry::{Entry, Who};
use super::{name_of, schema};
use crate::base::{clock, together};
use crate::builtin::args::{Args, BadArguments, refused, required};
use crate::builtin::host::{HostCall, Target};
use crate::builtin::reply::{self, Definition};
use crate::builtin::spec::CoordinationSpec;
use crate::builtin::{Builtin, CallFuture, Host, ToolReply};
use crate::telemetry::Status;

const NAME: &str = "gateway_aggregate";
/// Calls at once, unless the call says otherwise.
const AT_ONCE: usize = 8;
const KEYS: [&str; 7] =
    ["tool", "arguments_list", "arguments", "mode", "max_concurrency", "allow_writes", "strategy"];

#[derive(Debug)]
pub(in crate::builtin) struct Aggregate {
    definition: Bytes,
    spec: CoordinationSpec,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Each,
    Broadcast,
}

/// What is asked for.
struct Plan<'a> {
    tool: String,
    mode: Mode,
    /// In the mode `broadcast` one set for all.
    sets: Vec<&'a str>,
    at_once: usize,
    allow_writes: bool,
    strategy: Option<String>,
}

#[derive(Serialize)]
struct Answer<'a> {
    tool: &'a str,
    mode: &'static str,
    calls: usize,
    succeeded: usize,
    failed: usize,
    took_ms: f64,
    results: &'a [Entry],
    /// Every replica gave a result, and all are the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    same: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    differences: Option<&'a [Difference]>,
    /// How many differences there are, named or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    difference_count: Option<usize>,
}

impl Aggregate {
    pub(in crate::builtin) fn new(spec: &CoordinationSpec) -> Self {
        Self { definition: definition(spec), spec: spec.clone() }
    }

    async fn answer(&self, arguments: &[u8], host: &dyn Host) -> Result<ToolReply, ToolReply> {
        let plan = self.plan(arguments)?;
        if host.is_nested() || plan.tool == NAME {
            return Err(invalid(&format!("{NAME} cannot be called by a tool, itself included")));
        }
        let target = host.target(&plan.tool, plan.strategy.as_deref());
        let target = target.map_err(|why| invalid(&why))?;
        let whose = match plan.mode {
            Mode::Each => (0..plan.sets.len()).map(Who::Index).collect(),
            Mode::Broadcast => self.replicas(&plan, target)?,
        };
        let began = clock::now();
        let run = Run {
            host,
            plan: &plan,
            bytes_max: self.spec.max_answer_bytes,
            bytes: AtomicUsize::new(0),
            deadline: began + self.spec.tool.timeout,
        };
        let work = async |place: usize| run.one(place, whose.get(place)).await;
        let entries = together(whose.len(), plan.at_once, work).await;
        let entries: Vec<Entry> = entries.into_iter().flatten().collect();
        Ok(told(&plan, &entries, millis(clock::now() - began)))
    }

    fn plan<'a>(&self, arguments: &'a [u8]) -> Result<Plan<'a>, BadArguments> {
        let args = Args::read(arguments, &KEYS)?;
        let tool = required(name_of(&args, "tool")?, "tool", "the name of a tool")?;
        let modes = [("each", Mode::Each), ("broadcast", Mode::Broadcast)];
        let mode = args.choice("mode", &modes)?.unwrap_or(Mode::Each);
        let list = args.objects("arguments_list", 1..=self.spec.max_calls)?;
        let one = args.object("arguments")?;
        let strategy = name_of(&args, "strategy")?;
        let sets = match (mode, list, one) {
            (Mode::Each, list, None) => {
                required(list, "arguments_list", "a list of sets of arguments")?
            }
            (Mode::Each, _, Some(_)) => {
                return Err(refused("`arguments` is for mode \"broadcast\"; use `arguments_list`"));
            }
            (Mode::Broadcast, None, one) if strategy.is_none() => vec![one.unwrap_or("{}")],
            (Mode::Broadcast, None, _) => {
                return Err(refused("mode \"broadcast\" asks every replica: no `strategy`"));
            }
            (Mode::Broadcast, Some(_), _) => {
                return Err(refused("mode \"broadcast\" takes one set for all, in `arguments`"));
            }
        };
        let most = u32::try_from(self.spec.max_concurrency).unwrap_or(u32::MAX);
        let at_once = args.integer("max_concurrency", 1..=most)?;
        let at_once = at_once.and_then(|asked| usize::try_from(asked).ok()).unwrap_or(AT_ONCE);
        let allow_writes = args.flag("allow_writes")?.unwrap_or(false);
        let at_once = at_once.min(self.spec.max_concurrency);
        Ok(Plan { tool, mode, sets, at_once, allow_writes, strategy })
    }

    /// Whom a broadcast goes to.
    fn replicas(&self, plan: &Plan<'_>, target: Target) -> Result<Vec<Who>, ToolReply> {
        let tool = &plan.tool;
        let names = target.replicas.map_err(|why| invalid(&format!("{tool} {why}")))?;
        if !target.reads && !plan.allow_writes {
            let effect = target.effect;
            return Err(invalid(&format!(
                "{tool} is {effect}: a broadcast would run it at every replica. If that is what you \
                 want, set `allow_writes`; if it only reads, tools.effect can say so"
            )));
        }
        if names.len() > self.spec.max_calls {
            let (count, most) = (names.len(), self.spec.max_calls);
            return Err(invalid(&format!(
                "{tool} has {count} replicas, more than the {most} calls of one aggregate \
                 (tools.gateway.max_calls)"
            )));
        }
        Ok(names.into_iter().map(Who::Replica).collect())
    }
}

/// One aggregate while it runs.
struct Run<'a> {
    host: &'a dyn Host,
    plan: &'a Plan<'a>,
    bytes_max: usize,
    /// Bytes of results so far.
    bytes: AtomicUsize,
    deadline: Instant,
}

impl Run<'_> {
    /// One of its calls.
    async fn one(&self, place: usize, who: Option<&Who>) -> Option<Entry> {
        let who = who?.clone();
        let (set, replica) = match who {
            Who::Index(index) => (index, None),
            Who::Replica(_) => (0, Some(place)),
        };
        let began = clock::now();
        if began >= self.deadline {
            return Some(Entry::late(who, false, 0.0));
        }
        let call = HostCall {
            tool: &self.plan.tool,
            arguments: self.plan.sets.get(set)?,
            strategy: self.plan.strategy.as_deref(),
            replica,
            bytes_max: self.bytes_max,
        };
        let outcome = tokio::time::timeout_at(self.deadline.into(), self.host.call(call)).await;
        let took = millis(clock::now() - began);
        let Ok(outcome) = outcome else { return Some(Entry::late(who, true, took)) };
        let entry = Entry::of(who.clone(), outcome, took);
        let size = entry.result.as_ref().map_or(0, |result| result.get().len());
        if self.bytes.fetch_add(size, Ordering::Relaxed) + size > self.bytes_max {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
            return Some(Entry::left_out(who, size, took));
        }
        Some(entry)
    }
}

fn told(plan: &Plan<'_>, entries: &[Entry], took_ms: f64) -> ToolReply {
    let succeeded = entries.iter().filter(|entry| entry.ok).count();
    let broadcast = plan.mode == Mode::Broadcast;
    let results: Vec<(&str, Value)> = entries.iter().filter(|_| broadcast).filter_map(of).collect();
    let (named, count) = differences(&results);
    let same = succeeded == entries.len() && count == 0;
    let answer = Answer {
        tool: &plan.tool,
        mode: if broadcast { "broadcast" } else { "each" },
        calls: entries.len(),
        succeeded,
        failed: entries.len() - succeeded,
        took_ms,
        results: entries,
        same: broadcast.then_some(same),
        differences: broadcast.then_some(named.as_slice()),
        difference_count: broadcast.then_some(count),
    };
    let mut text = format!("{succeeded} of {} calls of {} succeeded.", entries.len(), plan.tool);
    if broadcast {
        let verdict = match (same, count) {
            (true, _) => " All replicas say the same.".to_owned(),
            (false, 0) => " Those that answered say the same.".to_owned(),
            (false, count) => format!(" They differ in {count} places."),
        };
        text.push_str(&verdict);
    }
    for entry in entries {
        if let Some(complaint) = entry.complaint() {
            let who = match &entry.who {
                Who::Index(index) => format!("#{index}"),
                Who::Replica(name) => name.clone(),
            };
            text.extend(["\n", &who, ": ", &complaint]);
        }
    }
    // Clients that do not know structured content find the results here.
    if let Ok(json) = serde_json::to_string(&answer) {
        text.push('\n');
        text.push_str(&json);
    }
    reply::success(&text, &answer)
}

/// The name and the result of a replica that gave one.
fn of(entry: &Entry) -> Option<(&str, Value)> {
    let Who::Replica(name) = &entry.who else { return None };
    let result = serde_json::from_str(entry.result.as_ref()?.get()).ok()?;
    Some((name, result))
}

fn invalid(text: &str) -> ToolReply {
    reply::failure(Status::Invalid, text)
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

impl Builtin for Aggregate {
    fn name(&self) -> &'static str {
        NAME
    }

    fn definition(&self) -> &Bytes {
        &self.definition
    }

    fn call<'a>(&'a self, arguments: &'a [u8], host: &'a dyn Host) -> CallFuture<'a> {
        Box::pin(async move { Ok(self.answer(arguments, host).await.unwrap_or_else(|no| no)) })
    }
}

fn definition(spec: &CoordinationSpec) -> Bytes {
    let annotations = ToolAnnotations::new()
        .read_only(false)
        .destructive(true)
        .idempotent(false)
        .open_world(true);
    Definition {
        name: NAME,
        title: "Aggregate calls",
        description: format!(
            "Calls one tool with many sets of arguments at once (mode \"each\"), or the same call at \
             every copy of its server to compare what they say (mode \"broadcast\"). The results keep \
             the order of the arguments; one that fails does not fail the others, and says whether it \
             may have run. At most {} calls.",
            spec.max_calls
        ),
        input: input(spec),
        output: output(),
        annotations,
    }
    .into_bytes()
}

fn input(spec: &CoordinationSpec) -> Value {
    json!({
        "type": "object",
        "properties": {
            "tool": schema::upstream_argument("The tool, by the name it is listed under; not this one."),
            "arguments_list": {
                "type": "array",
                "description": "For mode \"each\": a set of arguments for each call.",
                "items": { "type": "object" },
                "minItems": 1,
                "maxItems": spec.max_calls,
            },
            "arguments": {
                "type": "object",
                "description": "For mode \"broadcast\": the arguments for every copy; default: none.",
            },
            "mode": {
                "type": "string",
                "enum": ["each", "broadcast"],
                "default": "each",
                "description": "\"each\": a call for each set of arguments. \"broadcast\": the same call at every copy, compared.",
            },
            "max_concurrency": {
                "type": "integer",
                "minimum": 1,
                "maximum": spec.max_concurrency,
                "default": AT_ONCE.min(spec.max_concurrency),
                "description": "Most calls at once.",
            },
            "allow_writes": {
                "type": "boolean",
                "default": false,
                "description": "Broadcast a tool too that may change something.",
            },
            "strategy": schema::upstream_argument("For mode \"each\": how a copy is chosen, instead of as configured: auto, round_robin, weighted, least_busy, p2c_ewma, random, consistent_hash, priority, expression."),
        },
        "required": ["tool"],
        "additionalProperties": false,
    })
}

fn output() -> Value {
    let entry = json!({
        "type": "object",
        "properties": {
            "index": { "type": "integer", "minimum": 0, "description": "Which set of arguments, from 0." },
            "replica": { "type": "string", "description": "Which copy, in mode \"broadcast\"." },
            "ok": { "type": "boolean", "description": "There is a result, and it is no error of the tool." },
            "delivery": { "type": "string", "enum": ["answered", "not_sent", "rejected", "unknown"], "description": "`unknown`: it may have run." },
            "took_ms": { "type": "number" },
            "result": { "type": "object", "description": "The whole result of the call." },
            "error": { "type": "object", "description": "Or its error, with code, message and data." },
        },
        "required": ["ok", "delivery", "took_ms"],
        "additionalProperties": false,
    });
    let value = json!({
        "type": "object",
        "properties": {
            "replica": { "type": "string" },
            "value": { "type": "string", "description": "As JSON; not there if it has nothing there." },
        },
        "required": ["replica"],
        "additionalProperties": false,
    });
    json!({
        "type": "object",
        "properties": {
            "tool": { "type": "string" },
            "mode": { "type": "string", "enum": ["each", "broadcast"] },
            "calls": { "type": "integer", "minimum": 0 },
            "succeeded": { "type": "integer", "minimum": 0 },
            "failed": { "type": "integer", "minimum": 0 },
            "took_ms": { "type": "number" },
            "results": { "type": "array", "items": entry, "description": "In the order of the arguments, or of the copies." },
            "same": { "type": "boolean", "description": "Broadcast: every copy gave a result, and all are the same." },
            "differences": {
                "type": "array",
                "description": "Broadcast: where the results differ, up to 20 places.",
                "items": {
                    "type": "object",
                    "properties": {
                        "path": { "type": "string", "description": "A JSON pointer into structuredContent, or into content where there is none." },
                        "values": { "type": "array", "items": value },
                    },
                    "required": ["path", "values"],
                    "additionalProperties": false,
                },
            },
            "difference_count": { "type": "integer", "minimum": 0 },
        },
        "required": ["tool", "mode", "calls", "succeeded", "failed", "took_ms", "results"],
        "additionalProperties": false,
    })
}
