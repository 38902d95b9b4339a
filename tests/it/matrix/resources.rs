//! Resources: reading them, and completing what a template leaves open.

use serde_json::{Value, json};

use crate::support::Era;

use super::Cell;
use super::calls::PNG;

#[track_caller]
fn read(cell: &mut Cell, uri: &str) -> Value {
    let result = cell.result("resources/read", &format!(r#""uri":"{uri}""#));
    assert_eq!(result["contents"].as_array().map(Vec::len), Some(1), "{result}");
    result["contents"][0].clone()
}

/// A text.
pub(super) fn text(cell: &mut Cell) {
    let content = read(cell, "test://static-text");
    let text = "This is the content of the static text resource.";
    assert_eq!(
        content,
        json!({"uri": "test://static-text", "mimeType": "text/plain", "text": text})
    );
}

/// Bytes.
pub(super) fn bytes(cell: &mut Cell) {
    let content = read(cell, "test://static-binary");
    assert_eq!(
        content,
        json!({"uri": "test://static-binary", "mimeType": "image/png", "blob": PNG})
    );
}

/// One that only a template lists.
pub(super) fn templated(cell: &mut Cell) {
    let content = read(cell, "test://template/7/data");
    let text: Value = serde_json::from_str(content["text"].as_str().unwrap()).unwrap();
    assert_eq!(text["id"], "7", "{content}");
}

/// One that nobody lists and a tool has named.
pub(super) fn linked(cell: &mut Cell) {
    let result = cell.call("l__link", "{}");
    let link = &result["content"][0];
    assert_eq!(link["type"], "resource_link", "{result}");
    let content = read(cell, link["uri"].as_str().unwrap());
    assert_eq!(content["text"], "what the link leads to");
}

/// One that nobody has: the code of the client's era, and the URI.
pub(super) fn unknown(cell: &mut Cell) {
    let error = cell.error("resources/read", r#""uri":"test://template/7/nothing""#);
    let code = match cell.client.era {
        Era::Legacy => -32002,
        Era::Modern => -32602,
    };
    assert_eq!(error["code"], code, "{error}");
    assert_eq!(error["data"]["uri"], "test://template/7/nothing", "{error}");
}

/// What may stand for a variable of a template.
pub(super) fn completion(cell: &mut Cell) {
    let wish = r#""ref":{"type":"ref/resource","uri":"test://template/{id}/data"},"argument":{"name":"id","value":"12"}"#;
    let result = cell.result("completion/complete", wish);
    assert_eq!(result["completion"]["values"], json!(["12", "123"]), "{result}");
}
