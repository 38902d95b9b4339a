//! One errand at an upstream: the request, and what comes of it as its client gets it.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value, json};

use crate::base::{Fault, Kind, clock};
use crate::catalog::skew::Copies;
use crate::fleet::pool::{Answered, Held};
use crate::fleet::{Pace, Terms, Trace};
use crate::proto::answer::{Body, Reader, mend};
use crate::proto::error::{
    ErrorBody, HEADER_MISMATCH, INTERNAL, INVALID_PARAMS, LEGACY_NOT_FOUND, LEGACY_URL_ELICITATION,
    METHOD_NOT_FOUND, MISSING_CAPABILITY, UNSUPPORTED_VERSION, result_message,
};
use crate::proto::extensions::{TASKS, is_lacking};
use crate::proto::passage::Summary;
use crate::proto::scan::{member, unquote};
use crate::proto::{Abilities, Era, Method, Span};
use crate::telemetry::Status;
use crate::upstream::large::{Ending, Large};
use crate::upstream::{Caller, Done, Mirrored, Request, Subject, Told};

use super::call::{Call, Message, Reply};
use super::effect::Nature;
use super::fallback::{Covered, Heard, Instead, instead, keep};
use super::names::unknown;
use super::parked::{input_required, urls};
use super::rounds::{self, Unasked};
use super::snapshot::{Snapshot, Upstream};
use super::spec::{Bridge, FallbackSpec};
use super::traced::traced;
use super::wish::{self, Asked, Hashable};
use super::{Inner, answer, tasks};

/// What an upstream is asked about.
#[derive(Clone, Copy)]
pub(super) struct Errand<'a> {
    /// The upstream's place.
    pub(super) place: usize,
    /// The upstream's own name of the subject.
    pub(super) name: &'a str,
    /// Where the client's name of it stands.
    pub(super) span: Option<Span>,
    /// What is mirrored in headers.
    pub(super) mirrored: Mirrored<'a>,
    /// What a second run would do.
    pub(super) nature: Nature,
    /// How long calls of its tool take.
    pub(super) pace: Option<&'a Arc<Pace>>,
    /// The replicas that offer the tool as the client knows it; `None` = all.
    pub(super) fits: Option<&'a Copies>,
    /// What stands in for it if the upstream is away.
    pub(super) fallback: Option<&'a FallbackSpec>,
    /// It runs only as a task, and its client has none: the gateway follows it.
    pub(super) as_task: bool,
    /// Since when the client waits.
    pub(super) since: Instant,
}

impl<'a> Errand<'a> {
    /// An errand to any replica, with nothing mirrored and nobody who stands in.
    pub(super) fn new(
        place: usize,
        name: &'a str,
        span: Option<Span>,
        nature: Nature,
        since: Instant,
    ) -> Self {
        let (mirrored, as_task) = (Mirrored::Nothing, false);
        let (pace, fits, fallback) = (None, None, None);
        Self { place, name, span, mirrored, nature, pace, fits, fallback, as_task, since }
    }
}

/// A request to an upstream, and its answer mended for the client.
pub(super) async fn upstream(
    inner: &Inner,
    snapshot: &Snapshot,
    errand: Errand<'_>,
    call: Call<'_>,
    tell: &mut (impl FnMut(Told) + Send),
) -> End {
    let Errand { place, name, span, mirrored, nature, pace, fits, fallback, as_task, since } =
        errand;
    let Some(upstream) = snapshot.upstreams.get(place) else {
        let error = unknown(snapshot, call.caller.abilities, name);
        return End::new(refuse(call, 200, &error), Status::Invalid);
    };
    let subject = span.map(|span| Subject { span, name });
    let (body, shape, caller) = (call.body, call.shape, call.caller);
    let request = Request { body, shape, subject, caller, mirrored };
    let asked = wish::asked(call).and_then(|asked| Ok((asked.balancer(&upstream.pool)?, asked)));
    let (balancer, asked) = match asked {
        Ok(asked) => asked,
        Err(error) => return End::new(refuse(call, 200, &error), Status::Invalid),
    };
    let trace = asked.trace.then(|| Trace::new(clock::now()));
    let waits = call.shape.method == Method::TasksResult;
    let terms = Terms {
        effect: nature.effect,
        hedge: nature.hedge,
        pace,
        key: key(upstream, &asked, call),
        balancer,
        fits: fits.map(Copies::as_slice),
        since: Some(since),
        silence: waits.then_some(upstream.pool.spec().timeout_max),
        pin: call.wish.replica,
        attempts: call.wish.attempts,
        trace: trace.as_ref(),
    };
    let (effect, declared) = (nature.effect, narrowed(upstream, call));
    let request = Request { caller: declared.as_ref().unwrap_or(caller), ..request };
    let covered = fallback.map(|fallback| Covered { upstream, tool: name, fallback, effect });
    let mut heard = Heard::default();
    let mut hear = |told: Told| {
        heard.note(&told);
        tell(told);
    };
    let outcome = sent(inner, upstream, as_task, &request, &terms, &mut hear).await;
    let (end, note) = match (outcome, covered) {
        (Err(unasked), _) => (unanswered(upstream, &unasked, call), None),
        (Ok(Ok(Answered::Done { done, at, unsure })), covered) => {
            let mut end = settle(inner, place, upstream, &done, call);
            if call.shape.method == Method::ToolsCall && tasks::is_created(&done, call) {
                end = tasks::created(inner, (upstream, at), &done, end, call);
            }
            if let Some(covered) = covered {
                keep(inner, covered, heard, &done, call);
            }
            // The last attempt did not run; one before it may have: the call has had its chance.
            (End { outdated: end.outdated.filter(|_| !unsure), ..end }, None)
        }
        (Ok(Ok(Answered::Large(large, held))), _) => (passes(upstream, large, held, call), None),
        (Ok(Err(fault)), None) => (faulty(upstream, &fault, call), None),
        (Ok(Err(fault)), Some(covered)) => {
            let failed = (&fault, heard, since);
            // Rare: a future of its own, so that not every call carries it.
            Box::pin(away(inner, snapshot, covered, failed, call, tell)).await
        }
    };
    let Some(trace) = &trace else { return end };
    let mut about = about(upstream, &asked, nature);
    about.extend(note.map(|note| ("fallback".to_owned(), note)));
    // Rare too.
    let reply = Box::pin(traced(end.reply, call, trace, about)).await;
    End { reply, ..end }
}

/// Makes a request, and what its client cannot do for itself: answers questions of the other era,
/// follows a task.
async fn sent(
    inner: &Inner,
    upstream: &Upstream,
    as_task: bool,
    request: &Request<'_>,
    terms: &Terms<'_>,
    hear: &mut (impl FnMut(Told) + Send),
) -> Result<Result<Answered, Fault>, Unasked> {
    let (pool, tasks) = (&upstream.pool, &inner.tasks);
    // What is rare is a future of its own, so that not every call carries it.
    if as_task {
        return Ok(Box::pin(tasks::required(tasks, pool, request, terms, hear)).await);
    }
    let answered = pool.call(request, terms, &mut *hear).await;
    match answered {
        Ok(Answered::Done { done, .. }) if request.caller.era == Era::Legacy && done.asks() => {
            Box::pin(rounds::carry(pool, request, terms, done, hear)).await
        }
        Ok(Answered::Done { done, .. })
            if request.caller.era == Era::Legacy && wants_tasks(upstream, &done) =>
        {
            Box::pin(tasks::extension(tasks, pool, request, terms, hear)).await
        }
        answered => Ok(answered),
    }
}

/// The caller with what it declares to this upstream, if that is less than it declares: an extension
/// is shown only to servers that have it (2026-07-28, basic/versioning, "Extensions"). Tasks of the
/// modern era are none of a legacy client.
fn narrowed(upstream: &Upstream, call: Call<'_>) -> Option<Caller> {
    let (caller, extensions) = (call.caller, &upstream.offers.extensions);
    let hidden = (caller.era == Era::Legacy).then_some(TASKS);
    let capabilities = extensions.narrowed(&caller.capabilities, hidden)?.into();
    Some(Caller { capabilities, ..caller.clone() })
}

/// Whether a server refused a call because it runs only as a task, and its client has none.
fn wants_tasks(upstream: &Upstream, done: &Done) -> bool {
    let Body::Error(error) = &done.answer.body else { return false };
    error.code == MISSING_CAPABILITY
        && upstream.offers.tasks
        && is_lacking(error.span.of(&done.message), TASKS)
}

/// A call that failed, where something may stand in: the answer, and what a trace says of its way.
/// Whatever answers, the call counts as one that failed.
pub(super) async fn away(
    inner: &Inner,
    snapshot: &Snapshot,
    covered: Covered<'_>,
    failed: (&Fault, Heard, Instant),
    call: Call<'_>,
    tell: &mut (dyn FnMut(Told) + Send),
) -> (End, Option<Value>) {
    let (fault, ..) = failed;
    match instead(inner, snapshot, covered, failed, call, tell).await {
        Ok(Instead { reply, note }) => {
            shed(covered.upstream, fault);
            (End::new(reply, answer::status(fault)), Some(note))
        }
        Err(note) => (faulty(covered.upstream, fault, call), Some(note)),
    }
}

/// What the calls have in common that go to the same replica, where that is the rule.
fn key(upstream: &Upstream, asked: &Asked<'_>, call: Call<'_>) -> Option<u64> {
    let arguments = call.shape.arguments.map(|span| span.of(call.body));
    let told = Hashable { client: call.caller.key, arguments, headers: call.headers };
    told.key(upstream.pool.spec(), asked.strategy.as_deref())
}

/// What a trace says of a call beside its tries.
fn about(upstream: &Upstream, asked: &Asked<'_>, nature: Nature) -> Map<String, Value> {
    let own = upstream.pool.spec().balance.as_str();
    let facts = [
        ("upstream", upstream.spec.name.as_str()),
        ("effect", nature.effect.as_str()),
        ("strategy", asked.strategy.as_deref().unwrap_or(own)),
    ];
    facts.into_iter().map(|(key, fact)| (key.to_owned(), Value::from(fact))).collect()
}

/// How a request ended.
pub(super) struct End {
    pub(super) reply: Reply,
    pub(super) status: Status,
    /// The upstream does not know the method at all.
    pub(super) no_method: bool,
    /// The upstream says that there is no such thing.
    pub(super) missing: bool,
    /// It did not run, because this upstream's list has changed.
    pub(super) outdated: Option<usize>,
}

impl End {
    pub(super) fn new(reply: Reply, status: Status) -> Self {
        Self { reply, status, no_method: false, missing: false, outdated: None }
    }
}

/// An error of our own.
pub(super) fn refuse(call: Call<'_>, status: u16, error: &ErrorBody) -> Reply {
    let message = error.message(call.shape.id.map(|span| span.of(call.body)));
    Reply { status, ..Reply::ok(message) }
}

/// A fault, told to the client.
fn faulty(upstream: &Upstream, fault: &Fault, call: Call<'_>) -> End {
    if fault.kind == Kind::StateLost {
        return state_lost(fault, call);
    }
    shed(upstream, fault);
    let error = answer::error(fault, Some(upstream.spec.name.as_str()));
    End::new(refuse(call, 200, &error), answer::status(fault))
}

/// Counts a call that was refused at a bound.
fn shed(upstream: &Upstream, fault: &Fault) {
    if fault.kind == Kind::Overloaded {
        upstream.pool.meters.shed.increment(1);
    }
}

/// The client must build the state that was lost anew: a result of the tool, so that the model sees
/// it (2026-07-28, server/tools, "Error Handling").
fn state_lost(fault: &Fault, call: Call<'_>) -> End {
    failed(
        &format!("{fault}. This call did not run. Create what you need anew, and call again."),
        call,
    )
}

/// A call that needs its client's input, and did not get it.
fn unanswered(upstream: &Upstream, Unasked(why): &Unasked, call: Call<'_>) -> End {
    let text = format!("{} needs the client's input for this call: {why}", upstream.spec.name);
    if call.shape.method == Method::ToolsCall {
        return failed(&text, call);
    }
    let data = json!({ "source": "gateway", "kind": "input", "delivery": "unknown" });
    End::new(refuse(call, 200, &ErrorBody::new(INTERNAL, text).with(data)), Status::Error)
}

/// A result of the tool that says that it failed.
fn failed(text: &str, call: Call<'_>) -> End {
    let mut result = json!({ "content": [{ "type": "text", "text": text }], "isError": true });
    if let (Era::Modern, Some(result)) = (call.caller.era, result.as_object_mut()) {
        result.insert("resultType".to_owned(), "complete".into());
    }
    let message = result_message(call.id(), result.to_string().as_bytes());
    End::new(Reply::ok(message), Status::Error)
}

/// A large answer, mended while it passes.
fn passes(upstream: &Upstream, large: Large, held: Held, call: Call<'_>) -> End {
    let silence = held.silence;
    let passing = Passing { held };
    match large.mend(call.id(), call.caller.era, silence, Box::new(passing)) {
        Ok(mended) => {
            let message = Message::Coming(Box::new(mended));
            End::new(Reply { message, status: 200 }, Status::Success)
        }
        Err(fault) => faulty(upstream, &fault, call),
    }
}

/// What is held while a large answer passes.
struct Passing {
    held: Held,
}

impl Ending for Passing {
    fn ended(&mut self, how: Result<Summary, &Fault>) {
        self.held.ended(how.map(drop));
        if let Err(fault) = how {
            tracing::warn!(%fault, "a large answer broke off on its way to the client");
        }
    }
}

/// The upstream's answer as the client gets it.
fn settle(inner: &Inner, place: usize, upstream: &Upstream, done: &Done, call: Call<'_>) -> End {
    let cacheable = call.shape.method == Method::ResourcesRead;
    let reader = Reader { id: call.id(), era: call.caller.era, cacheable };
    let pass = |status| Reply { status, ..Reply::ok(mend(&done.message, &done.answer, reader)) };
    let own = |error: &ErrorBody| End::new(refuse(call, 200, error), Status::Error);
    match &done.answer.body {
        Body::Result(parts) => {
            let result = parts.span.map(|span| span.of(&done.message)).unwrap_or_default();
            inner.links.note(result, upstream.id);
            let status = if parts.is_error { Status::Error } else { Status::Success };
            End::new(pass(200), status)
        }
        Body::Error(error) => match (error.code, call.caller.era) {
            (HEADER_MISMATCH, _) => {
                // Its schemas may have changed under us: nothing ran.
                End { outdated: Some(place), ..own(&our_request(upstream, error.code)) }
            }
            (UNSUPPORTED_VERSION, _) => own(&our_request(upstream, error.code)),
            (MISSING_CAPABILITY, Era::Legacy) => {
                let data = member(error.span.of(&done.message), "data");
                own(&unable(upstream, data))
            }
            (LEGACY_URL_ELICITATION, Era::Modern) => {
                by_url(upstream, error.span.of(&done.message), call)
            }
            (MISSING_CAPABILITY, Era::Modern) => End::new(pass(400), Status::Error),
            (LEGACY_NOT_FOUND | INVALID_PARAMS, _)
                if is_not_found(error.span.of(&done.message), call) =>
            {
                let error = not_found(error.span.of(&done.message), call);
                let end = End::new(refuse(call, 200, &error), Status::Invalid);
                End { missing: true, ..end }
            }
            (INVALID_PARAMS | LEGACY_NOT_FOUND, _) => {
                End { missing: true, ..End::new(pass(200), Status::Invalid) }
            }
            (METHOD_NOT_FOUND, _) => {
                let end = End::new(pass(200), Status::Error);
                End { no_method: true, missing: true, ..end }
            }
            _ => End::new(pass(200), Status::Error),
        },
    }
}

/// An error that is about our own request to the upstream, so that it is ours to explain.
fn our_request(upstream: &Upstream, code: i64) -> ErrorBody {
    let name = &upstream.spec.name;
    ErrorBody::new(INTERNAL, format!("{name} refused the gateway's own request (error {code})"))
}

/// A legacy server wants URLs to be opened before the call: it did not run, and the client calls
/// again when they were (2025-11-25, client/elicitation; 2026-07-28, basic/patterns/mrtr).
fn by_url(upstream: &Upstream, error: &[u8], call: Call<'_>) -> End {
    let name = &upstream.spec.name;
    let own = |status, error: &ErrorBody| End::new(refuse(call, status, error), Status::Error);
    if upstream.spec.bridge == Bridge::Refuse {
        let text = format!(
            "{name} wants a URL to be opened first, and interactive_bridge = \"refuse\" keeps its \
             questions from modern clients; the call did not run"
        );
        return own(200, &ErrorBody::new(INTERNAL, text));
    }
    if !Abilities::read(&call.caller.capabilities).url {
        let data = json!({ "requiredCapabilities": { "elicitation": { "url": {} } } });
        let text = format!(
            "{name} wants a URL to be opened first: declare elicitation.url to be asked for that; the \
             call did not run"
        );
        return own(400, &ErrorBody::new(MISSING_CAPABILITY, text).with(data));
    }
    let Some(asked) = urls(error) else {
        let text = format!("{name} wants a URL to be opened first, and does not say which");
        return own(200, &ErrorBody::new(INTERNAL, text));
    };
    End::new(Reply::ok(input_required(call.id(), &asked, None)), Status::Success)
}

/// A call that needs a client that can be asked for more.
fn unable(upstream: &Upstream, data: Option<&[u8]>) -> ErrorBody {
    let text = format!(
        "{} needs the client's input for this call, and the client did not declare that it can be \
         asked for it",
        upstream.spec.name
    );
    let data = data.and_then(|raw| serde_json::from_slice(raw).ok());
    let error = ErrorBody::new(INTERNAL, text);
    match data {
        Some(data) => error.with(data),
        None => error,
    }
}

/// Whether an error says that there is no such resource, in the way of the era that is not the
/// client's.
fn is_not_found(error: &[u8], call: Call<'_>) -> bool {
    let code = member(error, "code");
    match call.caller.era {
        Era::Modern => code == Some(b"-32002"),
        Era::Legacy => {
            let uri = member(error, "data").and_then(|data| member(data, "uri"));
            call.shape.method == Method::ResourcesRead && code == Some(b"-32602") && uri.is_some()
        }
    }
}

/// An upstream's word that there is no such resource, with the code of the client's era, and the
/// URI in any case (2026-07-28 and 2025-11-25, server/resources, "Error Handling").
fn not_found(error: &[u8], call: Call<'_>) -> ErrorBody {
    let error: Value = serde_json::from_slice(error).unwrap_or_default();
    let message = error.get("message").and_then(Value::as_str).unwrap_or("Resource not found");
    let mut data = error.get("data").filter(|data| data.is_object()).cloned().unwrap_or(json!({}));
    let uri = call.shape.uri.and_then(|span| unquote(span.of(call.body)));
    if let (Some(uri), Some(data)) = (uri, data.as_object_mut()) {
        data.entry("uri").or_insert_with(|| Value::from(uri.as_ref()));
    }
    let code = match call.caller.era {
        Era::Legacy => LEGACY_NOT_FOUND,
        Era::Modern => INVALID_PARAMS,
    };
    ErrorBody::new(code, message).with(data)
}
