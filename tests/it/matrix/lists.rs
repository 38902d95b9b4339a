//! What is on offer: tools, prompts, resources and templates, with all that is said of them.

use serde_json::json;

use super::Cell;

/// Every tool of every upstream is there, in the order of each.
pub(super) fn tools(cell: &mut Cell) {
    let names = cell.names("tools/list", "tools", "name");
    let of = |prefix: &str| {
        names.iter().filter(|name| name.starts_with(prefix)).map(String::as_str).collect::<Vec<_>>()
    };
    let fixture = of("u__");
    assert_eq!(fixture.len(), 37, "{fixture:?}");
    assert_eq!(
        fixture[..3],
        ["u__test_simple_text", "u__test_image_content", "u__test_audio_content"]
    );
    assert_eq!(fixture[36], "u__test_custom_header");
    assert!(fixture.contains(&"u__test_input_required_result_multiple_inputs"), "{fixture:?}");
    assert_eq!(of("d__").len(), 8, "{names:?}");
    assert_eq!(of("l__"), ["l__link"]);
    let simple = cell.tool("u__test_simple_text");
    assert_eq!(simple["description"], "One text.");
    assert_eq!(simple["inputSchema"]["type"], "object");
}

/// A schema keeps the keywords of JSON Schema 2020-12.
pub(super) fn schemas(cell: &mut Cell) {
    let schema = &cell.tool("u__json_schema_2020_12_tool")["inputSchema"];
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["$defs"]["address"]["$anchor"], "addressDef");
    assert_eq!(schema["properties"]["address"], json!({"$ref": "#/$defs/address"}));
    assert_eq!(
        schema["allOf"],
        json!([{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}])
    );
    assert_eq!(schema["if"]["properties"]["contactMethod"], json!({"const": "phone"}));
    assert_eq!(schema["then"], json!({"required": ["phone"]}));
    assert_eq!(schema["else"], json!({"required": ["email"]}));
    assert_eq!(schema["additionalProperties"], false);
}

/// What a tool says of itself and of its results.
pub(super) fn annotations(cell: &mut Cell) {
    let whoami = cell.tool("d__whoami");
    assert_eq!(whoami["annotations"]["readOnlyHint"], true, "{whoami}");
    assert_eq!(whoami["outputSchema"]["properties"]["pid"]["type"], "integer", "{whoami}");
    assert_eq!(cell.tool("d__append")["annotations"]["readOnlyHint"], false);
}

/// Every resource and template, under its own URI.
pub(super) fn resources(cell: &mut Cell) {
    let list = cell.result("resources/list", "");
    let uris = cell.names("resources/list", "resources", "uri");
    let wanted = [
        "test://static-text",
        "test://static-binary",
        "test://stateless-static-text",
        "test://watched-resource",
        "test://input-required-resource",
    ];
    assert_eq!(uris, wanted);
    let text = &list["resources"][0];
    assert_eq!(text["description"], "A text that never changes.", "{list}");
    assert_eq!(text["mimeType"], "text/plain", "{list}");
    let templates = cell.result("resources/templates/list", "");
    let template = &templates["resourceTemplates"][0];
    assert_eq!(template["uriTemplate"], "test://template/{id}/data", "{templates}");
    assert_eq!(template["mimeType"], "application/json", "{templates}");
}

/// Every prompt with its arguments.
pub(super) fn prompts(cell: &mut Cell) {
    let names = cell.names("prompts/list", "prompts", "name");
    let wanted = [
        "u__test_simple_prompt",
        "u__test_prompt_with_arguments",
        "u__test_prompt_with_embedded_resource",
        "u__test_prompt_with_image",
        "u__test_input_required_result_prompt",
    ];
    assert_eq!(names, wanted);
    let list = cell.result("prompts/list", "");
    let arguments = json!([
        {"name": "arg1", "description": "The first", "required": true},
        {"name": "arg2", "description": "The second", "required": true},
    ]);
    assert_eq!(list["prompts"][1]["arguments"], arguments, "{list}");
}
