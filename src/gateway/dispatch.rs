//! The request path, one step a function: what is answered here, what goes to a built-in tool, and
//! what goes to an upstream.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::Counter;

use crate::base::{clock, rng};
use crate::catalog::{Hints, Kind, Lookup, Owner, Tool};
use crate::fleet::{Pace, Trace};
use crate::proto::error::{ErrorBody, HEADER_MISMATCH, INVALID_PARAMS, result_message};
use crate::proto::headers::{HeaderParam, check_call};
use crate::proto::scan::unquote;
use crate::proto::{Abilities, Era, Method, ladder};
use crate::telemetry::{Meters, Status, ToolMeters};
use crate::upstream::{Mirrored, Told};

use super::call::{Call, Reply};
use super::director::FIRST_LIST_WAIT;
use super::effect::{self, Nature};
use super::errand::{End, Errand, away, refuse, upstream};
use super::fallback::{Covered, Heard};
use super::host::Hosted;
use super::names::{begins_with_prefix, denied, unknown, unlisted};
use super::snapshot::{Snapshot, Upstream};
use super::spec::FallbackSpec;
use super::traced::traced;
use super::wish::Wish;
use super::{Inner, answer, subject, tasks, wish};

/// An upstream is not asked again for unknown names more often than this.
const UNKNOWN_REST: Duration = Duration::from_secs(10);
/// Longest wait until an upstream whose list proved to be old has listed again.
const RELIST_WAIT: Duration = Duration::from_secs(5);

/// Handles for requests of methods other than `tools/call`.
#[derive(Debug)]
pub(super) struct MethodMeters {
    handles: HashMap<Method, (Counter, Counter)>,
}

impl MethodMeters {
    pub(super) fn new(meters: &Meters) -> Self {
        let both = |method: Method| {
            let of = |status| meters.method(method.name(), status);
            (method, (of(Status::Success), of(Status::Error)))
        };
        Self { handles: Method::known().chain([Method::Other]).map(both).collect() }
    }

    pub(super) fn count(&self, method: Method, ok: bool) {
        if let Some((success, error)) = self.handles.get(&method) {
            if ok { success } else { error }.increment(1);
        }
    }
}

/// Answers a request.
pub(super) async fn dispatch(
    inner: &Inner,
    call: Call<'_>,
    mut tell: impl FnMut(Told) + Send,
) -> Reply {
    let mut snapshot = inner.snapshot.load_full();
    if needs_more(inner, &snapshot, call) {
        wait_for_more(inner, call.caller.abilities).await;
        snapshot = inner.snapshot.load_full();
    }
    let method = call.shape.method;
    if method == Method::ToolsCall {
        return tool(inner, &snapshot, call, tell).await;
    }
    let outcome = match method {
        Method::PromptsGet | Method::ResourcesRead | Method::Complete => {
            subject::answer(inner, &snapshot, call, tell).await
        }
        method if method.is_of_tasks() => {
            Box::pin(tasks::answer(inner, &snapshot, call, &mut tell)).await
        }
        _ => answered_here(&snapshot, call),
    };
    inner.methods.count(method, outcome.is_ok());
    outcome.unwrap_or_else(|refused| refused)
}

/// Whether a request right after our start, or of the first client of its abilities, should wait
/// until the upstreams have told what they offer: a client that lists once, right after it
/// connects, must not miss what is about to come, and a name that is not known yet is not an
/// unknown one.
fn needs_more(inner: &Inner, snapshot: &Snapshot, call: Call<'_>) -> bool {
    let abilities = call.caller.abilities;
    {
        let settled = inner.settled.borrow();
        if settled.contains(&Abilities::NONE) && settled.contains(&abilities) {
            return false;
        }
    }
    let catalog = &snapshot.view(abilities).catalog;
    let named = |span: Option<crate::proto::Span>| unquote(span?.of(call.body));
    match call.shape.method {
        Method::ToolsList
        | Method::PromptsList
        | Method::ResourcesList
        | Method::TemplatesList
        | Method::Complete => true,
        Method::ToolsCall => named(call.shape.name)
            .is_some_and(|name| !matches!(catalog.lookup(&name), Lookup::Tool(_))),
        Method::PromptsGet => named(call.shape.name).is_some_and(|name| {
            !matches!(catalog.prompt(&name), crate::catalog::PromptLookup::Prompt(_))
        }),
        Method::ResourcesRead => {
            named(call.shape.uri).is_some_and(|uri| catalog.resource(&uri).is_none())
        }
        _ => false,
    }
}

async fn wait_for_more(inner: &Inner, abilities: Abilities) {
    inner.settled(Abilities::NONE).await;
    // A demand that the director could not take settles nothing.
    let longest = FIRST_LIST_WAIT + Duration::from_secs(1);
    drop(tokio::time::timeout(longest, inner.settled(abilities)).await);
}

/// Methods that the gateway answers by itself.
fn answered_here(snapshot: &Snapshot, call: Call<'_>) -> Result<Reply, Reply> {
    let result = |body: &[u8]| Ok(Reply::ok(result_message(call.id(), body)));
    if !call.shape.method.served_to(call.caller.era) {
        let refusal = ladder::unknown_method(call.body, call.shape);
        return Err(refuse(call, 200, &refusal.error));
    }
    match call.shape.method {
        Method::Discover => result(snapshot.discover()),
        Method::ToolsList => list(snapshot, call, Kind::Tools),
        Method::PromptsList => list(snapshot, call, Kind::Prompts),
        Method::ResourcesList => list(snapshot, call, Kind::Resources),
        Method::TemplatesList => list(snapshot, call, Kind::Templates),
        _ => result(b"{}"),
    }
}

fn list(snapshot: &Snapshot, call: Call<'_>, kind: Kind) -> Result<Reply, Reply> {
    let cursor = match call.shape.cursor.map(|span| unquote(span.of(call.body))) {
        None => None,
        Some(Some(cursor)) => Some(cursor),
        Some(None) => {
            let error = ErrorBody::new(INVALID_PARAMS, "params.cursor must be a string");
            return Err(refuse(call, 200, &error));
        }
    };
    let view = snapshot.view(call.caller.abilities);
    let ttl = match call.caller.era {
        Era::Modern => view.keep[kind].left_ms(clock::now(), rng::draw()),
        Era::Legacy => 0,
    };
    match view.pages.message(kind, call.caller.era, cursor.as_deref(), call.id(), ttl) {
        Ok(message) => Ok(Reply::ok(message)),
        Err(error) => Err(refuse(call, 200, &ErrorBody::new(INVALID_PARAMS, error.to_string()))),
    }
}

/// A `tools/call`: look the name up, never split it. A list that proves to be old is asked for
/// again, once.
async fn tool(
    inner: &Inner,
    snapshot: &Snapshot,
    call: Call<'_>,
    mut tell: impl FnMut(Told) + Send,
) -> Reply {
    let began = clock::now();
    let name = match ladder::subject(call.body, call.shape) {
        Ok(()) => call.shape.name.and_then(|span| unquote(span.of(call.body))).unwrap_or_default(),
        Err(refusal) => {
            inner.unknown.meters.ended(Status::Invalid, clock::now() - began);
            return refuse(call, refusal.status, &refusal.error);
        }
    };
    let mut fresh = None;
    if matches!(snapshot.view(call.caller.abilities).catalog.lookup(&name), Lookup::Unknown)
        && let Some(place) = begins_with_prefix(snapshot, &name)
    {
        fresh = list_again(inner, snapshot, place, (began, UNKNOWN_REST)).await;
    }
    let now = fresh.as_deref().unwrap_or(snapshot);
    let (reply, again) = one_call(inner, now, &name, began, call, &mut tell).await;
    let Some(place) = again else { return reply };
    // What the client mirrored was held against the list that it could know.
    let call = Call { headers: None, ..call };
    match list_again(inner, now, place, (began, Duration::ZERO)).await {
        Some(fresh) => one_call(inner, &fresh, &name, began, call, &mut tell).await.0,
        None => reply,
    }
}

/// One look at the table and one call. The place of an upstream comes with the answer if the call
/// did not run because its list has changed: then it may be tried once more.
async fn one_call(
    inner: &Inner,
    snapshot: &Snapshot,
    name: &str,
    began: Instant,
    call: Call<'_>,
    tell: &mut (impl FnMut(Told) + Send),
) -> (Reply, Option<usize>) {
    match snapshot.view(call.caller.abilities).catalog.lookup(name) {
        Lookup::Tool(tool) => {
            let record = snapshot.tools.get(&tool.name).unwrap_or(&inner.unknown);
            let meters = &record.meters;
            let mut timer = Timer { meters, began, status: Status::Cancelled };
            let end = known(inner, snapshot, (tool, &record.pace, began), call, tell).await;
            timer.status = end.status;
            (end.reply, end.outdated)
        }
        Lookup::Transparent(place) => {
            let meters = &inner.unknown.meters;
            let mut timer = Timer { meters, began, status: Status::Cancelled };
            let mirrored = call.headers.map_or(Mirrored::Nothing, Mirrored::Headers);
            let nature = nature(snapshot, place, name, Hints::default(), call);
            let (span, fallback) = (call.shape.name, fallback(snapshot, place, name, call));
            let errand =
                Errand { mirrored, fallback, ..Errand::new(place, name, span, nature, began) };
            let end = upstream(inner, snapshot, errand, call, tell).await;
            timer.status = end.status;
            (end.reply, None)
        }
        Lookup::Denied(owner) => {
            inner.unknown.meters.ended(Status::Invalid, clock::now() - began);
            (refuse(call, 200, &denied(snapshot, owner, name)), None)
        }
        Lookup::Unknown => {
            if let Some(upstream) = unlisted(snapshot, name) {
                let mut timer =
                    Timer { meters: &inner.unknown.meters, began, status: Status::Cancelled };
                let gone = (upstream, name, began);
                let end = Box::pin(unheard(inner, snapshot, gone, call, tell)).await;
                timer.status = Status::Unavailable;
                (end.reply, None)
            } else {
                inner.unknown.meters.ended(Status::Invalid, clock::now() - began);
                (refuse(call, 200, &unknown(snapshot, call.caller.abilities, name)), None)
            }
        }
    }
}

/// A call of a tool whose upstream has not been heard of since our start, or not for so long that its
/// tools are forgotten.
async fn unheard(
    inner: &Inner,
    snapshot: &Snapshot,
    (upstream, name, since): (&Upstream, &str, Instant),
    call: Call<'_>,
    tell: &mut (dyn FnMut(Told) + Send),
) -> End {
    let fault = upstream.pool.nobody();
    let named = upstream.spec.fallbacks.iter().find(|(_, fallback)| fallback.exposed == name);
    let covered = named.zip(snapshot.place(upstream.id)).and_then(|((tool, _), place)| {
        let fallback = fallback(snapshot, place, tool, call)?;
        let effect = nature(snapshot, place, tool, Hints::default(), call).effect;
        Some(Covered { upstream, tool, fallback, effect })
    });
    let Some(covered) = covered else {
        let error = answer::error(&fault, Some(upstream.spec.name.as_str()));
        return End::new(refuse(call, 200, &error), Status::Unavailable);
    };
    let failed = (&fault, Heard::default(), since);
    away(inner, snapshot, covered, failed, call, tell).await.0
}

/// Makes an upstream list what it offers, and waits for the snapshot that shows it, no longer than
/// the client does, who waits since `since`. `rest` = not again within this time, whoever asks.
async fn list_again(
    inner: &Inner,
    snapshot: &Snapshot,
    place: usize,
    (since, rest): (Instant, Duration),
) -> Option<Arc<Snapshot>> {
    let upstream = snapshot.upstreams.get(place)?;
    let left = (since + upstream.pool.spec().timeout_max).checked_duration_since(clock::now())?;
    if !upstream.pool.is_up() || !upstream.pool.relist(rest) {
        return None;
    }
    let mut published = inner.published.subscribe();
    let listed = async {
        loop {
            let now = inner.snapshot.load_full();
            // A reload may have moved it, or taken it away.
            if now.of(upstream.id)?.listings > upstream.listings {
                return Some(now);
            }
            published.changed().await.ok()?;
        }
    };
    tokio::time::timeout(RELIST_WAIT.min(left), listed).await.ok().flatten()
}

/// Counts a call when it ends; one that is dropped was cancelled.
struct Timer<'a> {
    meters: &'a ToolMeters,
    began: Instant,
    status: Status,
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        self.meters.ended(self.status, clock::now() - self.began);
    }
}

/// A tool of the catalog.
async fn known(
    inner: &Inner,
    snapshot: &Snapshot,
    (tool, pace, since): (&Tool, &Arc<Pace>, Instant),
    call: Call<'_>,
    tell: &mut (impl FnMut(Told) + Send),
) -> End {
    if let Some(error) = mismatched_param(&tool.header_params, call) {
        return End::new(refuse(call, 400, &error), Status::Invalid);
    }
    match tool.owner {
        Owner::Builtin => builtin(inner, snapshot, tool, call).await,
        Owner::Upstream(place) => {
            let mirrored = Mirrored::Schema(&tool.header_params);
            let (name, span) = (&*tool.original, call.shape.name);
            let nature = nature(snapshot, place, name, tool.hints, call);
            let (pace, fits) = (Some(pace), snapshot.view(call.caller.abilities).fits(place, name));
            let fallback = fallback(snapshot, place, name, call);
            let as_task = tool.only_as_task && !call.wants_task();
            let errand = Errand::new(place, name, span, nature, since);
            let errand = Errand { mirrored, pace, fits, fallback, as_task, ..errand };
            upstream(inner, snapshot, errand, call, tell).await
        }
    }
}

/// What stands in for a tool if its upstream is away: for no call that stands in itself, nor for one
/// that is meant for a certain replica.
fn fallback<'s>(
    snapshot: &'s Snapshot,
    place: usize,
    name: &str,
    call: Call<'_>,
) -> Option<&'s FallbackSpec> {
    let fallbacks = &snapshot.upstreams.get(place)?.spec.fallbacks;
    let covered = !call.wish.stands_in && call.wish.replica.is_none();
    if covered { fallbacks.get(name) } else { None }
}

/// What a second run of a call would do.
fn nature(snapshot: &Snapshot, place: usize, name: &str, hints: Hints, call: Call<'_>) -> Nature {
    let spec = snapshot.upstreams.get(place).map(|upstream| &upstream.spec);
    let operator = spec.and_then(|spec| spec.effects.get(name)).copied();
    let trusted = spec.is_some_and(|spec| spec.trust_annotations);
    let mut nature = effect::of_tool(hints, operator, trusted, call.shape.answers);
    // Progress of two runs at once would go back and forth.
    nature.hedge &= call.shape.keys.progress_token.is_none();
    nature
}

/// A parameter that the client mirrored in a header must say there what the body says
/// (2026-07-28, transports, "Custom Headers from Tool Parameters").
fn mismatched_param(params: &[HeaderParam], call: Call<'_>) -> Option<ErrorBody> {
    let headers = call.headers?;
    let arguments = call.shape.arguments.map_or(b"{}".as_slice(), |span| span.of(call.body));
    params.iter().find_map(|param| {
        let mut lines = headers.get_all(&param.header).iter();
        let header = lines.next().map(http::HeaderValue::as_bytes);
        let same = lines.next().is_none() && check_call(param, header, arguments);
        let place = param.path.join(".");
        let text =
            format!("the header {} does not say what the argument {place} says", param.header);
        (!same).then(|| ErrorBody::new(HEADER_MISMATCH, text))
    })
}

async fn builtin(inner: &Inner, snapshot: &Snapshot, tool: &Tool, call: Call<'_>) -> End {
    let Some(builtin) = snapshot.builtins.get(&tool.original) else {
        let error = unknown(snapshot, call.caller.abilities, &tool.name);
        return End::new(refuse(call, 200, &error), Status::Invalid);
    };
    let arguments = call.shape.arguments.map_or(b"{}".as_slice(), |span| span.of(call.body));
    let asked = match wish::asked(call) {
        Ok(asked) => asked,
        Err(error) => return End::new(refuse(call, 200, &error), Status::Invalid),
    };
    let trace = asked.trace.then(|| Trace::new(clock::now()));
    let Wish { nested, stands_in, .. } = call.wish;
    let host = Hosted { inner, snapshot, caller: call.caller, nested, stands_in };
    let end = match builtin.call(arguments, &host).await {
        Ok(reply) => {
            let message = match call.caller.era {
                Era::Legacy => result_message(call.id(), &reply.result),
                Era::Modern => complete(call.id(), &reply.result),
            };
            End::new(Reply::ok(message), reply.status)
        }
        Err(fault) => {
            let reply = refuse(call, 200, &answer::error(&fault, None));
            End::new(reply, answer::status(&fault))
        }
    };
    let Some(trace) = &trace else { return end };
    let about = [("origin".to_owned(), "built-in".into())].into_iter().collect();
    let reply = Box::pin(traced(end.reply, call, trace, about)).await;
    End { reply, ..end }
}

/// A result of ours for a modern client: the members it must find, then the tool's own.
fn complete(id: &[u8], result: &[u8]) -> Vec<u8> {
    let rest = result.strip_prefix(b"{").unwrap_or(b"}");
    let comma: &[u8] = if rest.starts_with(b"}") { b"" } else { b"," };
    result_message(id, &[br#"{"resultType":"complete""#, comma, rest].concat())
}
