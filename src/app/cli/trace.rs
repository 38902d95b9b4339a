//! What a trace says, for people: each try of a call, and who answered how many of many calls.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::proto::meta;

/// Takes the trace out of an answer, so that what is left is what the call brought.
pub(super) fn take(answer: &mut Value) -> Option<Value> {
    for (part, holder) in [("result", "_meta"), ("error", "data")] {
        let Some(part) = answer.get_mut(part).and_then(Value::as_object_mut) else { continue };
        let Some(inner) = part.get_mut(holder).and_then(Value::as_object_mut) else { continue };
        let trace = inner.shift_remove(meta::TRACE);
        if trace.is_some() && inner.is_empty() {
            part.shift_remove(holder);
        }
        return trace;
    }
    None
}

/// The trace in lines.
pub(super) fn lines(trace: &Value) -> String {
    let mut lines = match text(trace, "upstream") {
        "" => format!("trace: the gateway itself, {} ms", number(trace, "took_ms")),
        upstream => format!(
            "trace: {upstream}, {}, {}, {} ms in all",
            text(trace, "strategy"),
            text(trace, "effect"),
            number(trace, "took_ms")
        ),
    };
    for attempt in attempts(trace) {
        // Writing to a `String` cannot fail.
        let written = write!(
            lines,
            "\n  {}, chosen after {} ms: {}\n    {}",
            text(attempt, "replica"),
            number(attempt, "began_ms"),
            text(attempt, "why"),
            end(attempt),
        );
        debug_assert!(written.is_ok(), "writing to a string failed");
    }
    for step in list(trace, "fallback") {
        lines.push_str("\n  ");
        lines.push_str(&fallback(step));
    }
    lines
}

/// A step of a fallback, and whether it brought the answer.
fn fallback(step: &Value) -> String {
    let mut line = format!("fallback, {}", text(step, "step"));
    if let Some(tool) = step.get("tool").and_then(Value::as_str) {
        line.extend([" ", tool]);
    }
    if let Some(age) = step.get("ageMs") {
        line.extend([", ", &age.to_string(), " ms old"]);
    }
    match text(step, "why_not") {
        "" => line.push_str(": answered"),
        why => line.extend([": ", why]),
    }
    line
}

/// How an attempt ended, and what was done then.
fn end(attempt: &Value) -> String {
    let outcome = text(attempt, "outcome");
    let took = match attempt.get("took_ms") {
        Some(took) => format!(" after {took} ms"),
        None => String::new(),
    };
    let detail = match (text(attempt, "error"), attempt.get("code")) {
        ("", None) => String::new(),
        ("", Some(code)) => format!(" {code}"),
        (error, _) => format!(" ({}): {error}", text(attempt, "delivery")),
    };
    let next = match (attempt.get("retried").and_then(Value::as_bool), text(attempt, "why_not")) {
        (Some(true), _) => format!("; sent again after {} ms", number(attempt, "wait_ms")),
        (Some(false), why) => format!("; not sent again: {why}"),
        (None, _) => String::new(),
    };
    format!("{outcome}{took}{detail}{next}")
}

/// Who answered how many calls.
#[derive(Debug, Default)]
pub(super) struct Shares {
    by: BTreeMap<String, u32>,
}

impl Shares {
    /// One more call.
    pub(super) fn count(&mut self, trace: &Value) {
        if text(trace, "upstream").is_empty() {
            return;
        }
        let answered = |attempt: &&Value| text(attempt, "delivery") == "answered";
        let by = attempts(trace).iter().rev().find(answered);
        let by = by.map_or("nobody", |attempt| text(attempt, "replica"));
        *self.by.entry(by.to_owned()).or_default() += 1;
    }

    /// One line; nothing where no replica was asked.
    pub(super) fn line(&self) -> Option<String> {
        let all: u32 = self.by.values().sum();
        let one = |(name, count): (&String, &u32)| {
            format!("{name} {count} ({:.0} %)", f64::from(*count) * 100.0 / f64::from(all))
        };
        let parts: Vec<String> = self.by.iter().map(one).collect();
        (all > 0).then(|| format!("answered by: {}", parts.join(", ")))
    }
}

fn attempts(trace: &Value) -> &[Value] {
    list(trace, "attempts")
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, key: &str) -> f64 {
    value.get(key).and_then(Value::as_f64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn trace() -> Value {
        json!({
            "upstream": "u", "effect": "read_only", "strategy": "auto", "took_ms": 9.5,
            "attempts": [
                {
                    "replica": "a", "why": "it was its turn", "began_ms": 0.1, "took_ms": 1.5,
                    "outcome": "connect", "delivery": "not_sent", "error": "refused",
                    "retried": true, "wait_ms": 0.0,
                },
                {
                    "replica": "b", "why": "it was its turn", "began_ms": 2.0, "took_ms": 7.0,
                    "outcome": "error", "delivery": "answered", "code": -32603,
                    "retried": false, "why_not": "effect",
                },
            ],
        })
    }

    #[test]
    fn a_trace_is_told_line_by_line() {
        let wanted = "trace: u, auto, read_only, 9.5 ms in all
  a, chosen after 0.1 ms: it was its turn
    connect after 1.5 ms (not_sent): refused; sent again after 0 ms
  b, chosen after 2 ms: it was its turn
    error after 7.0 ms -32603; not sent again: effect";
        assert_eq!(lines(&trace()), wanted);
        let mut fallen = trace();
        fallen["attempts"] = json!([]);
        fallen["fallback"] = json!([
            { "step": "tool", "tool": "b__x", "answered": false, "why_not": "it failed too" },
            { "step": "cache", "answered": true, "ageMs": 7 },
        ]);
        let wanted = "trace: u, auto, read_only, 9.5 ms in all
  fallback, tool b__x: it failed too
  fallback, cache, 7 ms old: answered";
        assert_eq!(lines(&fallen), wanted);
        assert_eq!(lines(&json!({ "took_ms": 1.0 })), "trace: the gateway itself, 1 ms");
    }

    #[test]
    fn shares_count_who_answered_in_the_end() {
        let mut shares = Shares::default();
        assert_eq!(shares.line(), None);
        shares.count(&json!({ "origin": "built-in", "attempts": [] }));
        assert_eq!(shares.line(), None);
        (0..3).for_each(|_| shares.count(&trace()));
        shares.count(&json!({ "upstream": "u", "attempts": [] }));
        assert_eq!(shares.line().unwrap(), "answered by: b 3 (75 %), nobody 1 (25 %)");
    }

    #[test]
    fn what_is_taken_leaves_no_mark() {
        let mut answer = json!({ "result": { "content": [], "_meta": { meta::TRACE: 1 } } });
        assert_eq!(take(&mut answer), Some(json!(1)));
        assert_eq!(answer, json!({ "result": { "content": [] } }));
        let mut answer = json!({ "error": { "code": 1, "data": { "x": 2, meta::TRACE: 1 } } });
        assert_eq!(take(&mut answer), Some(json!(1)));
        assert_eq!(answer, json!({ "error": { "code": 1, "data": { "x": 2 } } }));
        assert_eq!(take(&mut answer), None);
    }
}
