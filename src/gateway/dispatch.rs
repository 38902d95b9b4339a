//! The request path, one step a function: what is answered here, what goes to a built-in tool, and
//! what goes to an upstream.

use std::collections::HashMap;
use std::time::Instant;

use bytes::Bytes;
use metrics::Counter;
use serde_json::json;

use crate::base::{Kind, clock};
use crate::catalog::{Lookup, Owner, Tool};
use crate::fleet::pool::Answered;
use crate::proto::answer::{Body, ResultKind, mend};
use crate::proto::error::{
    DENIED, ErrorBody, HEADER_MISMATCH, INTERNAL, INVALID_PARAMS, MISSING_CAPABILITY,
    UNSUPPORTED_VERSION, result_message,
};
use crate::proto::headers::{HeaderParam, check_call};
use crate::proto::scan::unquote;
use crate::proto::{Era, Method, ladder};
use crate::telemetry::{Meters, Status, ToolMeters};
use crate::upstream::Request;

use super::call::{Call, Reply};
use super::snapshot::{Snapshot, Upstream};
use super::{Inner, answer};

/// URL elicitation of the 2025-11-25 revision, which modern clients must not see.
const LEGACY_URL_ELICITATION: i64 = -32042;
/// How many names an unknown tool is answered with.
const NEAREST: usize = 3;

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
    note: impl FnMut(Bytes) + Send,
) -> Reply {
    let mut snapshot = inner.snapshot.load_full();
    if !*inner.settled.borrow() && needs_more(&snapshot, call) {
        drop(inner.settled.subscribe().wait_for(|settled| *settled).await);
        snapshot = inner.snapshot.load_full();
    }
    if call.shape.method == Method::ToolsCall {
        return tool(inner, &snapshot, call, note).await;
    }
    let outcome = answered_here(&snapshot, call);
    inner.methods.count(call.shape.method, outcome.is_ok());
    outcome.unwrap_or_else(|refused| refused)
}

/// Whether a request right after our start should wait until the upstreams have told what they
/// offer: a client that lists once, right after it connects, must not miss what is about to come,
/// and a tool that is not known yet is not an unknown one.
fn needs_more(snapshot: &Snapshot, call: Call<'_>) -> bool {
    match call.shape.method {
        Method::ToolsList => true,
        Method::ToolsCall => {
            let name = call.shape.name.and_then(|span| unquote(span.of(call.body)));
            name.is_some_and(|name| !matches!(snapshot.catalog.lookup(&name), Lookup::Tool(_)))
        }
        _ => false,
    }
}

/// Methods that the gateway answers by itself.
fn answered_here(snapshot: &Snapshot, call: Call<'_>) -> Result<Reply, Reply> {
    let era = call.caller.era;
    let result = |body: &[u8]| Ok(Reply::ok(result_message(call.id(), body)));
    if !call.shape.method.served_to(era) {
        let refusal = ladder::unknown_method(call.body, call.shape);
        return Err(refuse(call, 200, &refusal.error));
    }
    match call.shape.method {
        Method::Discover => result(snapshot.discover()),
        Method::ToolsList => tools_list(snapshot, call),
        Method::ResourcesList => result(&snapshot.empty_list("resources", era)),
        Method::TemplatesList => result(&snapshot.empty_list("resourceTemplates", era)),
        Method::PromptsList => result(&snapshot.empty_list("prompts", era)),
        _ => result(b"{}"),
    }
}

fn tools_list(snapshot: &Snapshot, call: Call<'_>) -> Result<Reply, Reply> {
    let cursor = match call.shape.cursor.map(|span| unquote(span.of(call.body))) {
        None => None,
        Some(Some(cursor)) => Some(cursor),
        Some(None) => {
            return Err(refuse(
                call,
                200,
                &ErrorBody::new(INVALID_PARAMS, "params.cursor must be a string"),
            ));
        }
    };
    match snapshot.pages.get(call.caller.era, cursor.as_deref()) {
        Ok(page) => Ok(Reply::ok(result_message(call.id(), page))),
        Err(error) => Err(refuse(call, 200, &ErrorBody::new(INVALID_PARAMS, error.to_string()))),
    }
}

fn refuse(call: Call<'_>, status: u16, error: &ErrorBody) -> Reply {
    Reply { message: error.message(call.shape.id.map(|span| span.of(call.body))).into(), status }
}

/// A `tools/call`: look the name up, never split it.
async fn tool(
    inner: &Inner,
    snapshot: &Snapshot,
    call: Call<'_>,
    note: impl FnMut(Bytes) + Send,
) -> Reply {
    let began = clock::now();
    let name = match ladder::subject(call.body, call.shape) {
        Ok(()) => call.shape.name.and_then(|span| unquote(span.of(call.body))).unwrap_or_default(),
        Err(refusal) => {
            inner.unknown.ended(Status::Invalid, clock::now() - began);
            return refuse(call, refusal.status, &refusal.error);
        }
    };
    match snapshot.catalog.lookup(&name) {
        Lookup::Tool(tool) => {
            let meters = snapshot.meters.get(&tool.name).unwrap_or(&inner.unknown);
            let mut timer = Timer { meters, began, status: Status::Cancelled };
            let (reply, status) = known(snapshot, tool, call, note).await;
            timer.status = status;
            reply
        }
        Lookup::Transparent(place) => {
            let mut timer = Timer { meters: &inner.unknown, began, status: Status::Cancelled };
            let (reply, status) = upstream(snapshot, place, &name, &[], call, note).await;
            timer.status = status;
            reply
        }
        Lookup::Denied(owner) => {
            inner.unknown.ended(Status::Invalid, clock::now() - began);
            refuse(call, 200, &denied(snapshot, owner, &name))
        }
        Lookup::Unknown => {
            if let Some(upstream) = unlisted(snapshot, &name) {
                inner.unknown.ended(Status::Unavailable, clock::now() - began);
                let fault = upstream.pool.nobody();
                refuse(call, 200, &answer::error(&fault, Some(upstream.spec.name.as_str())))
            } else {
                inner.unknown.ended(Status::Invalid, clock::now() - began);
                refuse(call, 200, &unknown(snapshot, &name))
            }
        }
    }
}

/// The upstream that never told what it offers, and whose tools would begin like this name: nobody
/// can say whether it has the tool, only that it is not there.
fn unlisted<'s>(snapshot: &'s Snapshot, name: &str) -> Option<&'s Upstream> {
    let begins = |u: &&Upstream| {
        let prefix = &u.spec.offer.prefix;
        !prefix.is_empty()
            && name
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.starts_with(&snapshot.separator))
    };
    snapshot.upstreams.iter().filter(|u| !u.known && u.spec.off.is_none()).find(begins)
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

fn denied(snapshot: &Snapshot, owner: Owner, name: &str) -> ErrorBody {
    let upstream = match owner {
        Owner::Upstream(place) => snapshot.upstreams.get(place).map(|u| u.spec.name.as_str()),
        Owner::Builtin => None,
    };
    let data = json!({
        "source": "gateway",
        "kind": "denied",
        "delivery": "not_sent",
        "retryable": false,
        "upstream": upstream,
    });
    ErrorBody::new(
        DENIED,
        format!("the tool {name:?} is filtered out by tools.include or tools.exclude"),
    )
    .with(data)
}

fn unknown(snapshot: &Snapshot, name: &str) -> ErrorBody {
    let shown: String = name.chars().take(128).collect();
    let near = snapshot.catalog.nearest(name, NEAREST);
    let hint = match near.as_slice() {
        [] => "; tools/list names what there is".to_owned(),
        near => format!("; the nearest names are {}", near.join(", ")),
    };
    ErrorBody::new(INVALID_PARAMS, format!("Unknown tool: {shown}{hint}"))
}

/// A tool of the catalog.
async fn known(
    snapshot: &Snapshot,
    tool: &Tool,
    call: Call<'_>,
    note: impl FnMut(Bytes) + Send,
) -> (Reply, Status) {
    if let Some(error) = mismatched_param(&tool.header_params, call) {
        return (refuse(call, 400, &error), Status::Invalid);
    }
    match tool.owner {
        Owner::Builtin => builtin(snapshot, tool, call).await,
        Owner::Upstream(place) => {
            upstream(snapshot, place, &tool.original, &tool.header_params, call, note).await
        }
    }
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

async fn builtin(snapshot: &Snapshot, tool: &Tool, call: Call<'_>) -> (Reply, Status) {
    let Some(builtin) = snapshot.builtins.get(&tool.original) else {
        return (refuse(call, 200, &unknown(snapshot, &tool.name)), Status::Invalid);
    };
    let arguments = call.shape.arguments.map_or(b"{}".as_slice(), |span| span.of(call.body));
    match builtin.call(arguments).await {
        Ok(reply) => {
            let message = match call.caller.era {
                Era::Legacy => result_message(call.id(), &reply.result),
                Era::Modern => complete(call.id(), &reply.result),
            };
            (Reply::ok(message), reply.status)
        }
        Err(fault) => (refuse(call, 200, &answer::error(&fault, None)), answer::status(&fault)),
    }
}

/// A result of ours for a modern client: the members it must find, then the tool's own.
fn complete(id: &[u8], result: &[u8]) -> Vec<u8> {
    let rest = result.strip_prefix(b"{").unwrap_or(b"}");
    let comma: &[u8] = if rest.starts_with(b"}") { b"" } else { b"," };
    result_message(id, &[br#"{"resultType":"complete""#, comma, rest].concat())
}

/// A call to an upstream, and its answer mended for the client.
async fn upstream(
    snapshot: &Snapshot,
    place: usize,
    subject: &str,
    params: &[HeaderParam],
    call: Call<'_>,
    note: impl FnMut(Bytes) + Send,
) -> (Reply, Status) {
    let Some(upstream) = snapshot.upstreams.get(place) else {
        return (refuse(call, 200, &unknown(snapshot, subject)), Status::Invalid);
    };
    let request =
        Request { body: call.body, shape: call.shape, subject, caller: call.caller, params };
    match upstream.pool.call(&request, note).await {
        Ok(answered) => settle(upstream, &answered, call),
        Err(fault) => {
            if fault.kind == Kind::Overloaded {
                upstream.pool.shed.increment(1);
            }
            let error = answer::error(&fault, Some(upstream.spec.name.as_str()));
            (refuse(call, 200, &error), answer::status(&fault))
        }
    }
}

/// The upstream's answer as the client gets it.
fn settle(upstream: &Upstream, answered: &Answered, call: Call<'_>) -> (Reply, Status) {
    let done = &answered.done;
    let pass = |http| Reply {
        message: mend(&done.message, &done.answer, call.id(), call.caller.era),
        status: http,
    };
    match &done.answer.body {
        Body::Result(parts) => {
            let input = parts.kind(&done.message) == ResultKind::InputRequired;
            if input && call.caller.era == Era::Legacy {
                return (refuse(call, 200, &needs_input(upstream, None)), Status::Error);
            }
            let status = if parts.is_error { Status::Error } else { Status::Success };
            (pass(200), status)
        }
        Body::Error(error) => match (error.code, call.caller.era) {
            (HEADER_MISMATCH | UNSUPPORTED_VERSION, _) => {
                // It is about our own request to the upstream, so it is ours to explain.
                let text = format!(
                    "{} refused the gateway's own request (error {})",
                    upstream.spec.name, error.code
                );
                (refuse(call, 200, &ErrorBody::new(INTERNAL, text)), Status::Error)
            }
            (MISSING_CAPABILITY, Era::Legacy) => {
                let data = crate::proto::scan::member(error.span.of(&done.message), "data");
                (refuse(call, 200, &needs_input(upstream, data)), Status::Error)
            }
            (LEGACY_URL_ELICITATION, Era::Modern) => {
                (refuse(call, 200, &needs_input(upstream, None)), Status::Error)
            }
            (MISSING_CAPABILITY, Era::Modern) => (pass(400), Status::Error),
            (INVALID_PARAMS, _) => (pass(200), Status::Invalid),
            _ => (pass(200), Status::Error),
        },
    }
}

/// A call that needs the client's input in a way the gateway cannot carry yet.
fn needs_input(upstream: &Upstream, data: Option<&[u8]>) -> ErrorBody {
    let text = format!(
        "{} needs the client's input for this call, and the gateway does not carry such questions \
         between the two eras of the protocol",
        upstream.spec.name
    );
    let data = data.and_then(|raw| serde_json::from_slice(raw).ok());
    let error = ErrorBody::new(INTERNAL, text);
    match data {
        Some(data) => error.with(data),
        None => error,
    }
}
