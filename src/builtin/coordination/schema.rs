//! Pure: the schemas of what is shown of upstreams and replicas.

use serde_json::{Map, Value, json};

/// A replica in numbers, with more members of the tool's own. What they mean stands in the
/// documentation: models read every word of a definition, and pay for it.
pub(super) fn replica(more: &[(&str, Value)]) -> Value {
    let text = || json!({ "type": "string" });
    let number = || json!({ "type": "number", "minimum": 0 });
    let count = || json!({ "type": "integer", "minimum": 0 });
    let flag = || json!({ "type": "boolean" });
    let word = |words: &[&str]| json!({ "type": "string", "enum": words });
    let latency = json!({
        "type": "object",
        "properties": { "answers": count(), "p50": number(), "p95": number(), "p99": number() },
        "required": ["answers", "p50", "p95", "p99"],
        "additionalProperties": false,
    });
    let mut properties: Map<String, Value> = [
        ("name", text()),
        ("kind", word(&["child", "http"])),
        ("state", word(&["starting", "up", "asleep", "down"])),
        ("version", text()),
        ("era", word(&["modern", "legacy"])),
        ("transport", word(&["sse"])),
        ("reason", text()),
        ("gate", word(&["open", "probing", "shut"])),
        ("gate_shut_for_ms", number()),
        ("suspect", flag()),
        ("resting", flag()),
        ("well", flag()),
        ("in_flight", count()),
        ("weight", count()),
        ("tier", count()),
        ("warmth", number()),
        ("errors", number()),
        ("latency_relative", number()),
        ("latency_ms", latency),
        ("lives", count()),
        ("restarts", count()),
        ("trips", count()),
    ]
    .into_iter()
    .map(|(key, schema)| (key.to_owned(), schema))
    .collect();
    properties.extend(more.iter().map(|(key, schema)| ((*key).to_owned(), schema.clone())));
    json!({
        "type": "object",
        "properties": properties,
        "required": ["name", "state", "gate", "suspect", "in_flight"],
        "additionalProperties": false,
    })
}

/// An upstream in numbers.
pub(super) fn upstream() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": { "type": "string" },
            "status": health(),
            "required": { "type": "boolean" },
            "reason": { "type": "string" },
            "strategy": { "type": "string" },
            "in_flight": { "type": "integer", "minimum": 0 },
            "in_flight_max": { "type": "integer", "minimum": 0 },
            "waiting": { "type": "integer", "minimum": 0 },
            "retry_budget": { "type": "number" },
            "panicking": { "type": "boolean" },
            "replicas": { "type": "array", "items": replica(&[]) },
        },
        "required": ["name", "status", "replicas"],
        "additionalProperties": false,
    })
}

/// A word for the health of the gateway or an upstream.
pub(super) fn health() -> Value {
    json!({ "type": "string", "enum": ["healthy", "degraded", "unhealthy", "disabled"] })
}

/// The argument that names an upstream.
pub(super) fn upstream_argument(description: &str) -> Value {
    json!({ "type": "string", "description": description, "minLength": 1, "maxLength": super::NAME_CHARS_MAX })
}
