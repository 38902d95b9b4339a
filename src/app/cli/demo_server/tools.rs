//! What the tools do.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::ask;
use super::era::{self, Era};
use super::ledger;
use super::outlet::{Frame, Outlet};
use super::quirks::{CRASH_CODE, Quirk};
use super::server::{Server, leave};
use super::session::Session;
use super::wire::{self, Request, RpcError, code};

/// The longest sleep and the longest wait between two steps: an hour.
pub(super) const SLEEP_MS_MAX: u64 = 3_600_000;

/// Steps of one `progress` call.
pub(super) const STEPS_MAX: u64 = 10_000;

/// One tools/call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) request: Request,
    pub(super) tool: String,
    pub(super) peer: Peer,
    pub(super) out: Outlet,
}

/// Who calls.
#[derive(Debug)]
pub(super) enum Peer {
    Legacy(Arc<Session>),
    /// With what the client declared in this very request.
    Modern {
        capabilities: Value,
    },
}

/// How a request ends.
#[derive(Debug)]
pub(super) enum Outcome {
    Done(Value),
    Failed(RpcError),
    /// With no answer at all, or one that was no JSON.
    Silent,
}

// === impl Peer ===

impl Peer {
    const fn era(&self) -> Era {
        match self {
            Self::Legacy(_) => Era::Legacy,
            Self::Modern { .. } => Era::Modern,
        }
    }
}

/// Finds the tool, lets the call wait or fail as the command line wants, and runs it.
pub(super) async fn call(server: &Server, call: &Call) -> Outcome {
    let grown = *server.grown.borrow();
    let Some(tool) = server.catalog.find(&call.tool, call.peer.era(), grown) else {
        let message = format!("Unknown tool: {}", call.tool);
        return Outcome::Failed(RpcError::new(code::INVALID_PARAMS, message));
    };
    let number = server.counts.calls.next();
    if server.quirks.crash_after().is_some_and(|calls| number > calls) {
        server.say("crashes, as asked");
        leave(CRASH_CODE);
    }
    tokio::time::sleep(server.delay).await;
    if server.chance.strikes(number) {
        return failed(&format!("Failed as asked: call {number}"));
    }
    if server.quirks.has(&Quirk::LongLine) {
        return long_line(call).await;
    }
    run(server, call, &tool).await
}

async fn run(server: &Server, call: &Call, tool: &Value) -> Outcome {
    if call.tool == "echo_args" {
        // Before anything reads the arguments: even what is no good value must come back.
        return Outcome::Done(text(&call.request.raw_arguments));
    }
    let arguments = match arguments(&call.request) {
        Ok(arguments) => arguments,
        Err(error) => return Outcome::Done(is_error(&format!("bad arguments: {error}"))),
    };
    let result = match call.tool.as_str() {
        "whoami" => Ok(whoami(server)),
        "add" => add(&arguments),
        "append" => append(server, &arguments),
        "sleep" => sleep(&arguments).await,
        "progress" => progress(call, &arguments).await,
        name if ledger::NAMES.contains(&name) => ledger::run(server, call, &arguments).await,
        "fail" => return fail(server, call, &arguments).await,
        "ask" => return ask::run(server, call).await,
        "grow" => grow(server),
        "headers_ok" => Ok(text(&Value::Object(arguments).to_string())),
        "array_result" => Ok(json!({"content": [], "structuredContent": [1, 2, 3]})),
        name => Ok(text(tool.get("name").and_then(Value::as_str).unwrap_or(name))),
    };
    Outcome::Done(result.unwrap_or_else(|why| is_error(&why)))
}

/// The arguments of a call; none is like an empty object.
pub(super) fn arguments(request: &Request) -> serde_json::Result<Map<String, Value>> {
    match request.raw_arguments.as_str() {
        "" => Ok(Map::new()),
        raw => serde_json::from_str(raw),
    }
}

// === results ===

fn text(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}]})
}

/// Structured content, with the same as text for clients that know no better.
pub(super) fn structured(text: &str, content: &Value) -> Value {
    json!({"content": [{"type": "text", "text": text}], "structuredContent": content})
}

/// Bad arguments are results too, so that a model can read what was wrong.
pub(super) fn is_error(why: &str) -> Value {
    json!({"content": [{"type": "text", "text": why}], "isError": true})
}

fn failed(why: &str) -> Outcome {
    Outcome::Failed(RpcError::new(code::INTERNAL, why))
}

// === arguments ===

pub(super) fn whole(arguments: &Map<String, Value>, key: &str, max: u64) -> Result<u64, String> {
    match arguments.get(key).and_then(Value::as_u64) {
        Some(number) if number <= max => Ok(number),
        _ => Err(format!("\"{key}\" must be an integer from 0 to {max}")),
    }
}

// === the tools ===

fn whoami(server: &Server) -> Value {
    let (pid, count) = (std::process::id(), server.counts.whoami.next());
    let says = format!("{} (pid {pid}), call {count}", server.name);
    structured(&says, &json!({"name": server.name, "pid": pid, "count": count}))
}

fn add(arguments: &Map<String, Value>) -> Result<Value, String> {
    let number = |key: &str| {
        let value = arguments.get(key).filter(|value| value.is_number());
        value.ok_or_else(|| format!("\"{key}\" must be a number"))
    };
    let (a, b) = (number("a")?, number("b")?);
    let exact = a.as_i64().zip(b.as_i64()).and_then(|(a, b)| a.checked_add(b));
    let sum = match exact {
        Some(sum) => json!(sum),
        None => json!(a.as_f64().unwrap_or_default() + b.as_f64().unwrap_or_default()),
    };
    Ok(structured(&sum.to_string(), &json!({"sum": sum})))
}

fn append(server: &Server, arguments: &Map<String, Value>) -> Result<Value, String> {
    let line = arguments.get("line").and_then(Value::as_str).ok_or("\"line\" must be a string")?;
    let runs = server.counts.append.next();
    if let Some(journal) = &server.journal {
        let pid = std::process::id();
        let entry = json!({"name": server.name, "pid": pid, "run": runs, "line": line});
        journal.append(&entry).map_err(|error| format!("cannot write the journal: {error}"))?;
    }
    Ok(structured(&format!("run {runs}"), &json!({"runs": runs})))
}

async fn sleep(arguments: &Map<String, Value>) -> Result<Value, String> {
    let ms = whole(arguments, "ms", SLEEP_MS_MAX)?;
    tokio::time::sleep(Duration::from_millis(ms)).await;
    Ok(structured(&format!("slept {ms} ms"), &json!({"slept_ms": ms})))
}

async fn progress(call: &Call, arguments: &Map<String, Value>) -> Result<Value, String> {
    let steps = whole(arguments, "steps", STEPS_MAX)?;
    let delay_ms = match arguments.get("delay_ms") {
        Some(_) => whole(arguments, "delay_ms", SLEEP_MS_MAX)?,
        None => 0,
    };
    let token = era::progress_token(&call.request.params);
    for step in 1..=steps {
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        if let Some(token) = &token {
            let says = format!("step {step} of {steps}");
            let params =
                json!({"progressToken": token, "progress": step, "total": steps, "message": says});
            let note = wire::notification("notifications/progress", &params);
            call.out.send(Frame::Message(note)).await;
        }
    }
    Ok(structured(&format!("{steps} steps"), &json!({"steps": steps})))
}

async fn fail(server: &Server, call: &Call, arguments: &Map<String, Value>) -> Outcome {
    match arguments.get("how").and_then(Value::as_str).unwrap_or_default() {
        "error" => failed("Failed as asked"),
        "is_error" => Outcome::Done(is_error("failed as asked")),
        "exit" => {
            server.say("exits, as asked");
            leave(1)
        }
        "hang" => std::future::pending().await,
        "garbage" => {
            call.out.send(Frame::Raw(Bytes::from_static(b"this is no JSON, as asked\n"))).await;
            Outcome::Silent
        }
        _ => {
            let why = "\"how\" must be one of error, is_error, exit, hang, garbage";
            Outcome::Done(is_error(why))
        }
    }
}

fn grow(server: &Server) -> Result<Value, String> {
    let added = server.grow().ok_or("there are enough extra tools")?;
    Ok(text(&format!("added extra_{added}")))
}

/// Begins like an answer and never ends, for as long as somebody reads.
async fn long_line(call: &Call) -> Outcome {
    let head = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{{\"content\":[{{\"type\":\"text\",\"text\":\"",
        call.request.id
    );
    let filler = Bytes::from(vec![b'x'; 64 * 1024]);
    let mut reading = call.out.send(Frame::Raw(Bytes::from(head))).await;
    while reading {
        reading = call.out.send(Frame::Raw(filler.clone())).await;
    }
    Outcome::Silent
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else { panic!("not an object") };
        map
    }

    #[test]
    fn sums_stay_integers_while_they_can() {
        let sum = |a: Value, b: Value| {
            add(&object(json!({"a": a, "b": b}))).unwrap()["structuredContent"]["sum"].to_string()
        };
        assert_eq!(sum(json!(1), json!(2)), "3");
        assert_eq!(sum(json!(1), json!(0.5)), "1.5");
        assert_eq!(sum(json!(i64::MAX), json!(1)), "9.223372036854776e+18");
        assert!(add(&object(json!({"a": "1", "b": 2}))).is_err());
    }

    #[test]
    fn whole_numbers_are_bounded() {
        let arguments = object(json!({"ms": 5, "neg": -1, "half": 0.5}));
        assert_eq!(whole(&arguments, "ms", 5), Ok(5));
        for bad in ["neg", "half", "none"] {
            assert!(whole(&arguments, bad, 5).is_err(), "{bad}");
        }
        assert!(whole(&arguments, "ms", 4).is_err());
    }
}
