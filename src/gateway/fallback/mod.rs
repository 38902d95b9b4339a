//! What stands in for a tool while its upstream is away, where the configuration says so: another
//! tool, the last good result, a text. An answer of this kind says so in its `_meta`, and counts
//! for nothing at the upstream.

mod kept;
mod stand_in;
mod steps;

use std::borrow::Cow;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::base::{Fault, Kind, Sent, clock};
use crate::catalog::Lookup;
use crate::fleet::Effect;
use crate::fleet::spec::Isolation;
use crate::proto::annotate::annotate;
use crate::proto::answer::{Answer, Body, Incoming, Reader, ResultKind, mend, read};
use crate::proto::error::result_message;
use crate::proto::scan::{member, unquote};
use crate::proto::{Era, meta};
use crate::upstream::{Done, Told};

use super::call::{Call, Reply};
use super::snapshot::{Snapshot, Upstream};
use super::spec::{FallbackSpec, KeepSpec, StandIn};
use super::{Inner, answer};

use self::kept::{Kept, Owner};
use self::stand_in::{Came, Tell, ask};
use self::steps::{Failed, Step, Stood, Then, is_away, next, settles};

/// Good results of tools that may be stood in for by their last one.
#[derive(Debug, Default)]
pub(super) struct Shelf(Mutex<Kept>);

impl Shelf {
    /// Keeps no more than this from now on.
    pub(super) fn bound(&self, spec: KeepSpec) {
        self.0.lock().bound(spec);
    }
}

/// What a client was told before the end of its call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heard {
    anything: bool,
    question: bool,
}

impl Heard {
    /// It is about to be told this.
    pub(super) fn note(&mut self, told: &Told) {
        self.anything |= told.is_heard();
        self.question |= matches!(told, Told::Ask(_));
    }
}

/// A tool of an upstream, and what stands in for it.
#[derive(Clone, Copy)]
pub(super) struct Covered<'a> {
    pub(super) upstream: &'a Upstream,
    /// The upstream's own name of it.
    pub(super) tool: &'a str,
    pub(super) fallback: &'a FallbackSpec,
    /// What a second run of the call would do.
    pub(super) effect: Effect,
}

impl<'a> Covered<'a> {
    fn owner(&self, call: Call<'a>) -> Owner<'a> {
        let shared = self.upstream.spec.pool.isolation == Isolation::Shared;
        Owner {
            who: call.caller.who.as_deref(),
            home: if shared { 0 } else { call.caller.home },
            upstream: self.upstream.id,
            tool: self.tool,
            arguments: call.shape.arguments.map_or(b"{}", |span| span.of(call.body)),
        }
    }
}

/// Keeps a copy of a good result, if the tool wants that: complete, of a tool that only reads, no
/// error, and nothing that depends on what the client was asked.
pub(super) fn keep(inner: &Inner, covered: Covered<'_>, heard: Heard, done: &Done, call: Call<'_>) {
    let good = covered.effect == Effect::ReadOnly && !heard.question;
    if covered.fallback.cached.is_none() || !good {
        return;
    }
    let Body::Result(parts) = &done.answer.body else { return };
    if parts.is_error || parts.kind(&done.message) != ResultKind::Complete {
        return;
    }
    let Some(span) = parts.span else { return };
    inner.shelf.0.lock().put(&covered.owner(call), span.of(&done.message), clock::now());
}

/// An answer that stands in for the upstream's, and what a trace says of how it came.
pub(super) struct Instead {
    pub(super) reply: Reply,
    pub(super) note: Value,
}

/// Takes the steps for a call that failed with `fault`, one after the other, until one brings an
/// answer. Without one the honest error is left, and what a trace says of the attempt.
pub(super) async fn instead(
    inner: &Inner,
    snapshot: &Snapshot,
    covered: Covered<'_>,
    (fault, heard, since): (&Fault, Heard, Instant),
    call: Call<'_>,
    tell: &mut Tell<'_>,
) -> Result<Instead, Value> {
    let Covered { upstream, fallback, effect, .. } = covered;
    let failed = Failed { effect, committed: heard.anything, answers: call.shape.answers };
    let deadline = since + upstream.pool.spec().timeout_max;
    let (mut after, mut steps) = (None, Vec::new());
    while let Some(step) = next(fallback, failed, fault, after) {
        after = Some(step);
        let brought = match (step, &fallback.stand_in) {
            (Step::Tool, Some(stand_in)) => {
                let came = ask(inner, snapshot, stand_in, call, deadline, tell).await;
                other(stand_in, came, effect, call)
            }
            (Step::Cache, _) => last_good(inner, covered, call),
            _ => said(snapshot, covered, call),
        };
        steps.push(brought.note(step));
        if let Some(message) = brought.message {
            upstream.pool.meters.fell_back(step.as_str());
            return Ok(Instead { reply: Reply::ok(message), note: steps.into() });
        }
    }
    if is_away(fault) {
        upstream.pool.meters.fell_back("none");
    }
    Err(steps.into())
}

/// What a step brought.
struct Brought {
    message: Option<Bytes>,
    /// Why it brought nothing.
    why: Option<Cow<'static, str>>,
    /// More about it.
    about: Value,
}

impl Brought {
    /// An answer, marked; nothing if it cannot be marked.
    fn marked(message: &Bytes, mark: Value) -> Self {
        let marked = annotate(message, meta::DEGRADED, &mark.to_string());
        if marked == *message {
            return Self { about: mark, ..Self::nothing("its answer has no room for a mark") };
        }
        Self { message: Some(marked), why: None, about: mark }
    }

    fn nothing(why: impl Into<Cow<'static, str>>) -> Self {
        Self { message: None, why: Some(why.into()), about: json!({}) }
    }

    /// What a trace says of it.
    fn note(&self, step: Step) -> Value {
        let mut note = json!({ "step": step.as_str(), "answered": self.message.is_some() });
        if let (Some(note), Some(about)) = (note.as_object_mut(), self.about.as_object()) {
            let more = about.iter().filter(|(key, _)| *key != "source");
            note.extend(more.map(|(key, value)| (key.clone(), value.clone())));
            note.extend(self.why.iter().map(|why| ("why_not".to_owned(), why.as_ref().into())));
        }
        note
    }
}

/// What another tool has brought.
fn other(stand_in: &StandIn, came: Came, effect: Effect, call: Call<'_>) -> Brought {
    let mark = || json!({ "source": Step::Tool.as_str(), "tool": stand_in.tool });
    let (message, stood) = match came {
        Came::Answer(message, stood) => (message, stood),
        Came::Not(why) => return Brought { about: mark(), ..Brought::nothing(why) },
        Came::Late => {
            let text = format!("{} has not answered in the time that was left", stand_in.tool);
            let fault = Fault::upstream(Kind::Timeout, Sent::Maybe, text);
            let message = answer::error(&fault, None).message(Some(call.id()));
            (message.into(), Stood::MayHaveRun)
        }
    };
    let trace = traced(&message);
    let mut brought = match settles(effect, stood) {
        Then::Answer => Brought::marked(&message, mark()),
        Then::Next => {
            let why = match stood {
                Stood::Unfinished => "it wants something of the client first",
                _ => "it failed too",
            };
            Brought { about: mark(), ..Brought::nothing(why) }
        }
    };
    if brought.message.is_none() && settles(effect, stood) == Then::Answer {
        // It may have run: its client must know, with a mark or without.
        brought.message = Some(message);
    }
    if let (Some(trace), Some(about)) = (trace, brought.about.as_object_mut()) {
        about.insert("trace".to_owned(), trace);
    }
    brought
}

/// The trace of the other tool, where one was asked for.
fn traced(message: &[u8]) -> Option<Value> {
    let Ok(Incoming::Answer(Answer { body, .. })) = read(message) else { return None };
    let holder = match &body {
        Body::Result(parts) => member(parts.span?.of(message), "_meta"),
        Body::Error(parts) => member(parts.span.of(message), "data"),
    };
    serde_json::from_slice(member(holder?, meta::TRACE)?).ok()
}

/// The last good result.
fn last_good(inner: &Inner, covered: Covered<'_>, call: Call<'_>) -> Brought {
    let longest = covered.fallback.cached.unwrap_or_default();
    let found = inner.shelf.0.lock().get(&covered.owner(call), longest, clock::now());
    let Some((result, age)) = found else {
        return Brought::nothing("no good result of these arguments is young enough");
    };
    let message = Bytes::from(result_message(call.id(), &result));
    let Ok(Incoming::Answer(answer)) = read(&message) else {
        return Brought::nothing("the result cannot be read");
    };
    let reader = Reader { id: call.id(), era: call.caller.era, cacheable: false };
    let mark = json!({ "source": Step::Cache.as_str(), "ageMs": millis(age) });
    Brought::marked(&mend(&message, &answer, reader), mark)
}

fn millis(age: Duration) -> u64 {
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}

/// The text of the configuration. It is an error of the tool where nobody may take it for a result:
/// the call was to change something, or clients hold results against a schema.
fn said(snapshot: &Snapshot, covered: Covered<'_>, call: Call<'_>) -> Brought {
    let text = covered.fallback.text.as_deref().unwrap_or_default();
    let is_error = covered.effect != Effect::ReadOnly || has_schema(snapshot, call);
    let mut result = json!({ "content": [{ "type": "text", "text": text }], "isError": is_error });
    if let (Era::Modern, Some(result)) = (call.caller.era, result.as_object_mut()) {
        result.insert("resultType".to_owned(), "complete".into());
    }
    let message = Bytes::from(result_message(call.id(), result.to_string().as_bytes()));
    Brought::marked(&message, json!({ "source": Step::Static.as_str() }))
}

/// Whether the results of the tool that was called have a schema.
fn has_schema(snapshot: &Snapshot, call: Call<'_>) -> bool {
    let name = call.shape.name.and_then(|span| unquote(span.of(call.body))).unwrap_or_default();
    match snapshot.view(call.caller.abilities).catalog.lookup(&name) {
        Lookup::Tool(tool) => member(tool.definition(Era::Modern), "outputSchema").is_some(),
        _ => false,
    }
}
