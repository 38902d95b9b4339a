//! What the fixture offers: tools, resources, templates and prompts, as the scenarios of the
//! suite name them. Definitions only; what they do is in `calls` and `server`.

use rmcp::ErrorData;
use rmcp::model::{Prompt, Resource, ResourceTemplate, Tool};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The resource whose changes can be subscribed to.
pub(crate) const WATCHED: &str = "test://watched-resource";
/// A resource that asks before it can be read.
pub(crate) const ASKING: &str = "test://input-required-resource";
/// A resource that comes and goes.
pub(crate) const ADDED: &str = "test://added-resource";
/// One red pixel.
pub(crate) const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC";
/// A WAV file without a sample.
pub(crate) const WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=";

/// A value of the SDK from its JSON.
pub(crate) fn typed<T: DeserializeOwned>(value: Value) -> Result<T, ErrorData> {
    serde_json::from_value(value)
        .map_err(|error| ErrorData::internal_error(format!("fixture: {error}"), None))
}

/// Every tool, in the order of the list.
pub(crate) fn tools(more: bool) -> Result<Vec<Tool>, ErrorData> {
    let mut all = plain_tools();
    all.extend(input_required_tools());
    all.extend(task_tools());
    all.push(schema_tool());
    all.push(header_tool());
    if more {
        all.push(tool("test_added_tool", "Is there after every other tool change.", &json!({})));
    }
    typed(Value::Array(all))
}

fn tool(name: &str, description: &str, properties: &Value) -> Value {
    let required: Vec<&String> =
        properties.as_object().into_iter().flat_map(|each| each.keys()).collect();
    let schema = json!({ "type": "object", "properties": properties, "required": required });
    json!({ "name": name, "description": description, "inputSchema": schema })
}

fn plain_tools() -> Vec<Value> {
    let prompt = json!({ "prompt": { "type": "string", "description": "What to ask the model" } });
    let message = json!({ "message": { "type": "string", "description": "What to ask the user" } });
    [
        ("test_simple_text", "One text.", json!({})),
        ("test_image_content", "One image.", json!({})),
        ("test_audio_content", "One sound.", json!({})),
        ("test_embedded_resource", "One embedded resource.", json!({})),
        ("test_multiple_content_types", "A text, an image and a resource.", json!({})),
        ("test_error_handling", "Fails, and says so in its result.", json!({})),
        ("test_tool_with_progress", "Reports progress three times.", json!({})),
        ("test_tool_with_logging", "Logs three messages.", json!({})),
        ("test_logging_tool", "Logs one message.", json!({})),
        ("test_sampling", "Asks the client's model.", prompt),
        ("test_elicitation", "Asks the user for a name and an address.", message),
        ("test_elicitation_sep1034_defaults", "Asks with a default for each field.", json!({})),
        ("test_elicitation_sep1330_enums", "Asks with each kind of choice.", json!({})),
        ("test_streaming_elicitation", "Reports progress, then asks the user.", json!({})),
        ("test_missing_capability", "Needs a client that can sample.", json!({})),
        ("test_reconnection", "Legacy over HTTP: ends the stream, answers after.", json!({})),
        ("test_trigger_tool_change", "Adds or removes a tool.", json!({})),
        ("test_trigger_prompt_change", "Adds or removes a prompt.", json!({})),
        ("test_trigger_resource_list_change", "Adds or removes a resource.", json!({})),
        ("test_trigger_resource_change", "Changes the watched resource.", json!({})),
    ]
    .into_iter()
    .map(|(name, description, properties)| tool(name, description, &properties))
    .collect()
}

fn input_required_tools() -> Vec<Value> {
    [
        ("elicitation", "Asks the user."),
        ("sampling", "Asks the client's model."),
        ("list_roots", "Asks for the client's roots."),
        ("request_state", "Asks the user, and wants its state back."),
        ("tampered_state", "Asks the user, and wants its state back unchanged."),
        ("multiple_inputs", "Asks for three things at once."),
        ("multi_round", "Asks the user twice, one after the other."),
        ("capabilities", "Asks for what the client can do."),
    ]
    .into_iter()
    .map(|(name, does)| tool(&format!("test_input_required_result_{name}"), does, &json!({})))
    .collect()
}

/// Work that can go on as a task.
fn task_tools() -> Vec<Value> {
    let text = || json!({ "type": "string" });
    let seconds = json!({ "type": "number", "minimum": 0 });
    [
        ("greet", "Greets at once, never as a task.", json!({ "name": text() })),
        (
            "slow_compute",
            "Works for some seconds, as a task if the client takes one.",
            json!({ "seconds": seconds, "label": text() }),
        ),
        ("failing_job", "Must be a task. Fails, and says so in its result.", json!({})),
        ("protocol_error_job", "Can be a task. Fails as a request does.", json!({})),
        ("confirm_delete", "Can be a task. Asks the user.", json!({ "filename": text() })),
        ("multi_input", "Can be a task. Asks the user for two things at once.", json!({})),
        ("test_tool_with_task", "Must be a task, once the user has answered.", json!({})),
    ]
    .into_iter()
    .map(|(name, description, properties)| tool(name, description, &properties))
    .collect()
}

/// Keywords of JSON Schema 2020-12 that nobody on the way may lose.
fn schema_tool() -> Value {
    json!({
        "name": "json_schema_2020_12_tool",
        "description": "Has a schema with keywords of JSON Schema 2020-12.",
        "inputSchema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "$defs": {
                "address": {
                    "$anchor": "addressDef",
                    "type": "object",
                    "properties": { "street": { "type": "string" }, "city": { "type": "string" } }
                }
            },
            "properties": {
                "name": { "type": "string" },
                "address": { "$ref": "#/$defs/address" },
                "contactMethod": { "type": "string", "enum": ["phone", "email"] },
                "phone": { "type": "string" },
                "email": { "type": "string" }
            },
            "allOf": [{ "anyOf": [{ "required": ["phone"] }, { "required": ["email"] }] }],
            "if": {
                "properties": { "contactMethod": { "const": "phone" } },
                "required": ["contactMethod"]
            },
            "then": { "required": ["phone"] },
            "else": { "required": ["email"] },
            "additionalProperties": false
        }
    })
}

/// Arguments that a modern client over HTTP repeats in headers.
fn header_tool() -> Value {
    json!({
        "name": "test_custom_header",
        "description": "Gives its arguments back, which are also in headers.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "value": { "type": "string", "x-mcp-header": "Value" },
                "count": { "type": "integer", "x-mcp-header": "Count" },
                "urgent": { "type": "boolean", "x-mcp-header": "Urgent" }
            },
            "required": ["value"]
        }
    })
}

/// Every resource that is listed.
pub(crate) fn resources(more: bool) -> Result<Vec<Resource>, ErrorData> {
    let resource = |uri: &str, name: &str, description: &str, kind: &str| json!({ "uri": uri, "name": name, "description": description, "mimeType": kind });
    let mut all = vec![
        resource("test://static-text", "Static text", "A text that never changes.", "text/plain"),
        resource("test://static-binary", "Static binary", "One pixel.", "image/png"),
        resource(
            "test://stateless-static-text",
            "Stateless text",
            "Another text that never changes.",
            "text/plain",
        ),
        resource(WATCHED, "Watched", "Its changes can be subscribed to.", "text/plain"),
        resource(ASKING, "Asking", "Asks the user before it can be read.", "text/plain"),
    ];
    if more {
        all.push(resource(ADDED, "Added", "Is there after every other change.", "text/plain"));
    }
    typed(Value::Array(all))
}

/// Every template that is listed.
pub(crate) fn templates() -> Result<Vec<ResourceTemplate>, ErrorData> {
    typed(json!([{
        "uriTemplate": "test://template/{id}/data",
        "name": "Template",
        "description": "A resource for each id.",
        "mimeType": "application/json"
    }]))
}

/// The id in a URI of the template.
pub(crate) fn template_id(uri: &str) -> Option<&str> {
    let id = uri.strip_prefix("test://template/")?.strip_suffix("/data")?;
    (!id.is_empty() && !id.contains('/')).then_some(id)
}

/// Every prompt, in the order of the list.
pub(crate) fn prompts(more: bool) -> Result<Vec<Prompt>, ErrorData> {
    let prompt = |name: &str, description: &str, arguments: &[(&str, &str)]| {
        let arguments: Vec<Value> = arguments
            .iter()
            .map(|(name, description)| {
                json!({ "name": name, "description": description, "required": true })
            })
            .collect();
        json!({ "name": name, "description": description, "arguments": arguments })
    };
    let mut all = vec![
        prompt("test_simple_prompt", "One message.", &[]),
        prompt(
            "test_prompt_with_arguments",
            "One message that repeats its arguments.",
            &[("arg1", "The first"), ("arg2", "The second")],
        ),
        prompt(
            "test_prompt_with_embedded_resource",
            "A resource and a message about it.",
            &[("resourceUri", "The URI that the resource gets")],
        ),
        prompt("test_prompt_with_image", "An image and a message about it.", &[]),
        prompt("test_input_required_result_prompt", "Asks the user before it is there.", &[]),
    ];
    if more {
        all.push(prompt("test_added_prompt", "Is there after every other prompt change.", &[]));
    }
    typed(Value::Array(all))
}
