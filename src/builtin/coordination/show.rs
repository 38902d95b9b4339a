//! Pure: upstreams and replicas as lines of text, from the same values that programs get.

use serde_json::Value;

/// The text of a member.
pub(super) fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, key: &str) -> f64 {
    value.get(key).and_then(Value::as_f64).unwrap_or_default()
}

fn is(value: &Value, key: &str) -> bool {
    value.get(key) == Some(&Value::Bool(true))
}

/// The members of a list.
pub(super) fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// An upstream with its replicas, a line each.
pub(super) fn upstream(one: &Value) -> String {
    let mut lines = vec![format!(
        "{}: {}, {}, {} in flight{}",
        text(one, "name"),
        text(one, "status"),
        text(one, "strategy"),
        number(one, "in_flight"),
        because(one),
    )];
    lines.extend(list(one, "replicas").iter().map(|one| format!("  {}", replica(one))));
    lines.join("\n")
}

/// A replica in one line.
pub(super) fn replica(one: &Value) -> String {
    let mut parts = vec![format!("{} {}{}", text(one, "name"), text(one, "state"), because(one))];
    parts.push(format!("gate {}", text(one, "gate")));
    if is(one, "suspect") {
        parts.push("suspect".to_owned());
    }
    if is(one, "resting") {
        parts.push("resting".to_owned());
    }
    parts.push(format!("{} in flight", number(one, "in_flight")));
    if let Some(latency) = one.get("latency_ms") {
        let (p50, p95) = (number(latency, "p50"), number(latency, "p95"));
        parts.push(format!("p50 {p50:.1} ms, p95 {p95:.1} ms"));
    }
    let errors = number(one, "errors");
    if errors > 0.0 {
        parts.push(format!("{:.0} % failed", errors * 100.0));
    }
    parts.join(", ")
}

fn because(one: &Value) -> String {
    match text(one, "reason") {
        "" => String::new(),
        reason => format!(" ({reason})"),
    }
}
