//! Tools for tests that count what ran (`--quirk ledger`): each run is in the journal, with the
//! caller's own word for it and the time, before its work begins.
//!
//! Who has both the journal and what its clients were told can say of every call whether it ran
//! never, once or twice, and whether the client was told the truth.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::era;
use super::outlet::Frame;
use super::server::Server;
use super::tools::{Call, SLEEP_MS_MAX, STEPS_MAX, structured, whole};
use super::wire;
use crate::base::clock;

/// The tools, all alike but for what they say of themselves.
pub(super) const NAMES: [&str; 4] = ["ledger_read", "ledger_set", "ledger_append", "ledger_slow"];

/// The most bytes that a result is made larger by.
const PAD_MAX: u64 = 8 * 1024 * 1024;

/// One run: `op` is the caller's word for it, `ms` how long it works, `steps` how many notes of
/// progress it sends meanwhile, `pad` how many bytes its result has besides.
pub(super) async fn run(
    server: &Server,
    call: &Call,
    arguments: &Map<String, Value>,
) -> Result<Value, String> {
    let op = arguments.get("op").and_then(Value::as_str).ok_or("\"op\" must be a string")?;
    let number = |key: &str, max: u64| match arguments.get(key) {
        Some(_) => whole(arguments, key, max),
        None => Ok(0),
    };
    let (ms, steps) = (number("ms", SLEEP_MS_MAX)?, number("steps", STEPS_MAX)?);
    let pad = usize::try_from(number("pad", PAD_MAX)?).unwrap_or_default();
    let pid = std::process::id();
    if let Some(journal) = &server.journal {
        let at_ms = clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let at_ms = u64::try_from(at_ms).unwrap_or(u64::MAX);
        let entry = json!({
            "op": op, "tool": call.tool, "name": server.name, "pid": pid, "at_ms": at_ms,
        });
        journal.append(&entry).map_err(|error| format!("cannot write the journal: {error}"))?;
    }
    let token = era::progress_token(&call.request.params);
    for step in 1..=steps {
        tokio::time::sleep(Duration::from_millis(ms / steps)).await;
        if let Some(token) = &token {
            let params =
                json!({"progressToken": token, "progress": step, "total": steps, "message": op});
            let note = wire::notification("notifications/progress", &params);
            call.out.send(Frame::Message(note)).await;
        }
    }
    if steps == 0 {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
    let text = format!("{op}{}", "x".repeat(pad));
    Ok(structured(&text, &json!({"op": op, "name": server.name, "pid": pid})))
}
