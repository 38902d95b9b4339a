//! Prompts: getting them, and completing their arguments.

use serde_json::{Value, json};

use super::Cell;
use super::calls::PNG;

#[track_caller]
fn gets(cell: &mut Cell, params: &str, messages: &Value) {
    let result = cell.result("prompts/get", params);
    assert_eq!(&result["messages"], messages, "{result}");
}

fn said(text: &str) -> Value {
    json!({"role": "user", "content": {"type": "text", "text": text}})
}

/// A text.
pub(super) fn text(cell: &mut Cell) {
    let messages = json!([said("This is a simple prompt for testing.")]);
    gets(cell, r#""name":"u__test_simple_prompt""#, &messages);
}

/// One made from arguments.
pub(super) fn arguments(cell: &mut Cell) {
    let params =
        r#""name":"u__test_prompt_with_arguments","arguments":{"arg1":"one","arg2":"zwölf"}"#;
    let text = "Prompt with arguments: arg1='one', arg2='zwölf'";
    gets(cell, params, &json!([said(text)]));
}

/// A resource with its content.
pub(super) fn embedded(cell: &mut Cell) {
    let params = r#""name":"u__test_prompt_with_embedded_resource","arguments":{"resourceUri":"test://given"}"#;
    let resource = json!({
        "uri": "test://given",
        "mimeType": "text/plain",
        "text": "Embedded resource content for testing.",
    });
    let content = json!({"type": "resource", "resource": resource});
    let messages = json!([
        {"role": "user", "content": content},
        said("Please process the embedded resource above."),
    ]);
    gets(cell, params, &messages);
}

/// An image.
pub(super) fn image(cell: &mut Cell) {
    let content = json!({"type": "image", "data": PNG, "mimeType": "image/png"});
    let messages = json!([
        {"role": "user", "content": content},
        said("Please analyze the image above."),
    ]);
    gets(cell, r#""name":"u__test_prompt_with_image""#, &messages);
}

/// One that nobody has.
pub(super) fn unknown(cell: &mut Cell) {
    let error = cell.error("prompts/get", r#""name":"u__test_simple_promt""#);
    assert_eq!(error["code"], -32602, "{error}");
    let text = error["message"].as_str().unwrap();
    assert!(text.contains("u__test_simple_prompt"), "the nearest name is in {text:?}");
}

/// What may stand for an argument.
pub(super) fn completion(cell: &mut Cell) {
    let wish = r#""ref":{"type":"ref/prompt","name":"u__test_prompt_with_arguments"},"argument":{"name":"arg1","value":"par"}"#;
    let result = cell.result("completion/complete", wish);
    assert_eq!(result["completion"]["values"], json!(["paris", "park", "party"]), "{result}");
}
