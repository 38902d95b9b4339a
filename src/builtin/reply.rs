//! Pure: tool definitions and results as JSON text, each serialised once.

use std::sync::Arc;

use bytes::Bytes;
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde::Serialize;
use serde_json::Value;

use crate::telemetry::Status;

use super::ToolReply;
use super::args::BadArguments;

/// What a definition is made of.
pub(super) struct Definition {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) description: String,
    /// A JSON Schema object.
    pub(super) input: Value,
    /// A JSON Schema object.
    pub(super) output: Value,
    pub(super) annotations: ToolAnnotations,
}

impl Definition {
    /// The tool object of `tools/list`.
    pub(super) fn into_bytes(self) -> Bytes {
        let tool = Tool::new(self.name, self.description, object(self.input))
            .with_title(self.title)
            .with_raw_output_schema(object(self.output))
            .with_annotations(self.annotations);
        json(&tool)
    }
}

/// Annotations of a tool that only looks something up at a service on the internet.
pub(super) fn looks_up() -> ToolAnnotations {
    ToolAnnotations::new().read_only(true).destructive(false).idempotent(true).open_world(true)
}

fn object(schema: Value) -> Arc<JsonObject> {
    match schema {
        Value::Object(object) => Arc::new(object),
        _ => Arc::default(),
    }
}

#[derive(Serialize)]
struct CallResult<'a, T> {
    content: [Content<'a>; 1],
    #[serde(rename = "structuredContent", skip_serializing_if = "Option::is_none")]
    structured: Option<&'a T>,
    #[serde(rename = "isError")]
    is_error: bool,
}

#[derive(Serialize)]
struct Content<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    text: &'a str,
}

fn result<T: Serialize>(text: &str, structured: Option<&T>, is_error: bool) -> Bytes {
    json(&CallResult { content: [Content { kind: "text", text }], structured, is_error })
}

/// A result: a text to read, and the same as data.
pub(super) fn success<T: Serialize>(text: &str, structured: &T) -> ToolReply {
    ToolReply { result: result(text, Some(structured), false), status: Status::Success }
}

/// A failure the model can read and act upon (`isError`). Without structured content: the output
/// schema describes results only.
pub(super) fn failure(status: Status, text: &str) -> ToolReply {
    ToolReply { result: result::<()>(text, None, true), status }
}

impl From<BadArguments> for ToolReply {
    fn from(bad: BadArguments) -> Self {
        failure(Status::Invalid, &bad.to_string())
    }
}

fn json<T: Serialize>(value: &T) -> Bytes {
    // Our own types with text keys: there is nothing in them that JSON cannot say.
    serde_json::to_vec(value).map_or_else(
        |_unsayable| {
            debug_assert!(false, "a result that JSON cannot say");
            Bytes::from_static(br#"{"content":[],"isError":true}"#)
        },
        Bytes::from,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_have_text_and_structure_and_failures_text_only() {
        let good = success("hi", &serde_json::json!({"n": 1}));
        let expected = r#"{"content":[{"type":"text","text":"hi"}],"structuredContent":{"n":1},"isError":false}"#;
        assert_eq!((good.result, good.status), (Bytes::from(expected), Status::Success));
        let bad = failure(Status::Error, "no");
        let expected = r#"{"content":[{"type":"text","text":"no"}],"isError":true}"#;
        assert_eq!((bad.result, bad.status), (Bytes::from(expected), Status::Error));
    }
}
