//! What a call of a tool brings.

use serde_json::{Value, json};

use super::Cell;

/// Arguments that any parser with a value type would change.
const ODD: &str = r#"{"n":12345678901234567890123,"e":1e2,"z":-0.0,"u":"\u00e9\ud83d\ude00é","d":{"k":1,"k":2},  "s":"a\/b"}"#;
/// One red pixel.
pub(super) const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC";
/// A WAV file without a sample.
const WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=";

#[track_caller]
fn brings(cell: &mut Cell, tool: &str, content: &Value) {
    let result = cell.call(tool, "{}");
    assert_eq!(&result["content"], content, "{result}");
    assert_ne!(result["isError"], true, "{result}");
}

/// A text.
pub(super) fn text(cell: &mut Cell) {
    let text = "This is a simple text response for testing.";
    brings(cell, "u__test_simple_text", &json!([{"type": "text", "text": text}]));
}

/// An image.
pub(super) fn image(cell: &mut Cell) {
    let image = json!([{"type": "image", "data": PNG, "mimeType": "image/png"}]);
    brings(cell, "u__test_image_content", &image);
}

/// A sound.
pub(super) fn audio(cell: &mut Cell) {
    let sound = json!([{"type": "audio", "data": WAV, "mimeType": "audio/wav"}]);
    brings(cell, "u__test_audio_content", &sound);
}

/// A resource with its content.
pub(super) fn embedded(cell: &mut Cell) {
    let resource = json!({
        "uri": "test://embedded-resource",
        "mimeType": "text/plain",
        "text": "This is an embedded resource content.",
    });
    let content = json!([{"type": "resource", "resource": resource}]);
    brings(cell, "u__test_embedded_resource", &content);
}

/// Blocks of several kinds, in order.
pub(super) fn mixed(cell: &mut Cell) {
    let resource = json!({
        "uri": "test://mixed-content-resource",
        "mimeType": "application/json",
        "text": r#"{"test":"data","value":123}"#,
    });
    let content = json!([
        {"type": "text", "text": "Multiple content types test:"},
        {"type": "image", "data": PNG, "mimeType": "image/png"},
        {"type": "resource", "resource": resource},
    ]);
    brings(cell, "u__test_multiple_content_types", &content);
}

/// Content with a structure beside its text.
pub(super) fn structured(cell: &mut Cell) {
    assert_eq!(cell.call("d__whoami", "{}")["structuredContent"]["name"], "d");
    let sum = cell.call("d__add", r#"{"a":2,"b":40}"#);
    assert_eq!(sum["structuredContent"], json!({"sum": 42}), "{sum}");
    assert_eq!(sum["content"][0]["text"], "42", "{sum}");
}

/// Arguments arrive as they were written.
pub(super) fn arguments(cell: &mut Cell) {
    assert_eq!(cell.call("d__echo_args", ODD)["content"][0]["text"], ODD);
}

/// A tool that ran and failed.
pub(super) fn failing(cell: &mut Cell) {
    let failed = cell.call("u__test_error_handling", "{}");
    assert_eq!(failed["isError"], true, "{failed}");
    let text = "This tool intentionally returns an error for testing";
    assert_eq!(failed["content"][0]["text"], text);
}

/// An error of the upstream passes; the gateway's own for an unknown tool names the nearest.
pub(super) fn errors(cell: &mut Cell) {
    let error = cell.error("tools/call", r#""name":"d__fail","arguments":{"how":"error"}"#);
    assert_eq!(error, json!({"code": -32603, "message": "Failed as asked"}));
    let unknown = cell.error("tools/call", r#""name":"d__whoamy","arguments":{}"#);
    assert_eq!(unknown["code"], -32602, "{unknown}");
    let text = unknown["message"].as_str().unwrap();
    assert!(text.contains("d__whoami"), "the nearest name is in {text:?}");
}

/// An upstream without a prefix has its own names, and is asked for what it does not list.
pub(super) fn transparent(cell: &mut Cell) {
    let mut client = cell.transparent();
    let text = "This is a simple text response for testing.";
    assert_eq!(client.call("test_simple_text", "{}").result()["content"][0]["text"], text);
    let prompt = client.ask("prompts/get", r#""name":"test_simple_prompt""#);
    let text = &prompt.result()["messages"][0]["content"]["text"];
    assert_eq!(text, "This is a simple prompt for testing.");
    let wish = r#""ref":{"type":"ref/prompt","name":"test_prompt_with_arguments"},"argument":{"name":"arg1","value":"part"}"#;
    let completed = client.ask("completion/complete", wish);
    assert_eq!(completed.result()["completion"]["values"], json!(["party"]));
    let unknown = client.call("test_added_tool", "{}");
    assert_eq!(unknown.error()["message"], "Unknown tool: test_added_tool", "in its own words");
}
