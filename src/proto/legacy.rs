//! Pure: the handshake of the legacy era, both as server and as client (2025-11-25, basic/lifecycle).

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::abilities::Abilities;
use super::era::{Era, Version};
use super::extensions::{Extensions, TASKS};
use super::level::Level;
use super::offers::{self, Offers};
use super::scan::{member, quote};

/// What a legacy client says of itself in `initialize`.
#[derive(Clone, Debug)]
pub struct Hello {
    /// The version we answer with.
    pub version: Version,
    /// Its capabilities, raw.
    pub capabilities: Box<RawValue>,
    /// Who it is, raw.
    pub client_info: Option<Box<RawValue>>,
}

/// Most bytes a client may say of itself: they are kept as long as its session.
pub const HELLO_BYTES_MAX: usize = 16 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InitializeParams {
    protocol_version: String,
    #[serde(default)]
    capabilities: Option<Box<RawValue>>,
    #[serde(default)]
    client_info: Option<Box<RawValue>>,
}

/// Reads the params of `initialize`. What they lack is named.
pub fn read_initialize(params: Option<&[u8]>) -> Result<Hello, String> {
    if params.is_some_and(|params| params.len() > HELLO_BYTES_MAX) {
        return Err(format!("the params of initialize are larger than {HELLO_BYTES_MAX} bytes"));
    }
    let params: InitializeParams = serde_json::from_slice(params.unwrap_or(b"{}"))
        .map_err(|error| format!("the params of initialize are wrong: {error}"))?;
    let object = |raw: &RawValue| raw.get().starts_with('{');
    if params.capabilities.as_deref().is_some_and(|raw| !object(raw)) {
        return Err("params.capabilities must be an object".to_owned());
    }
    Ok(Hello {
        version: Version::negotiate_legacy(&params.protocol_version),
        capabilities: params.capabilities.map_or_else(empty_object, Ok)?,
        client_info: params.client_info.filter(|raw| object(raw)),
    })
}

fn empty_object() -> Result<Box<RawValue>, String> {
    RawValue::from_string("{}".to_owned()).map_err(|error| error.to_string())
}

/// The result of `initialize`. Tasks of the extension are none in this era.
pub fn initialize_result(
    version: Version,
    server_info: &Value,
    instructions: Option<&str>,
    extensions: &Extensions,
) -> Value {
    let mut capabilities = offers::own();
    extensions.clone().without(TASKS).put_into(&mut capabilities);
    // Older revisions have no tasks.
    if let (true, Some(all)) = (version >= Version::V2025_11_25, capabilities.as_object_mut()) {
        all.insert("tasks".to_owned(), offers::legacy_tasks());
    }
    let mut result = json!({
        "protocolVersion": version.as_str(),
        "capabilities": capabilities,
        "serverInfo": server_info,
    });
    if let (Some(text), Some(object)) = (instructions, result.as_object_mut()) {
        object.insert("instructions".to_owned(), Value::from(text));
    }
    result
}

/// Our own `initialize` request to an upstream. The gateway declares what the clients of this
/// session can be asked for, and nothing of its own.
pub fn initialize_request(id: u64, client_info: &Value, abilities: Abilities) -> Vec<u8> {
    json!({
        "jsonrpc": "2.0",
        "id": id,
        "method": "initialize",
        "params": {
            "protocolVersion": Version::LEGACY_NEWEST.as_str(),
            "capabilities": abilities.to_capabilities(),
            "clientInfo": client_info,
        },
    })
    .to_string()
    .into_bytes()
}

/// Our own `notifications/initialized`.
pub const INITIALIZED: &[u8] = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// A plain request without params, such as `ping`.
pub fn request(id: u64, method: &str) -> Vec<u8> {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{}}}"#, quote(method)).into_bytes()
}

/// One page of a legacy list.
pub fn list_request(id: u64, method: &str, cursor: Option<&str>) -> Vec<u8> {
    let params = cursor.map_or_else(|| json!({}), |cursor| json!({ "cursor": cursor }));
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
        .to_string()
        .into_bytes()
}

/// A call of a tool without arguments: our own look whether a server is well.
pub fn tool_request(id: u64, tool: &str) -> Vec<u8> {
    let params = json!({ "name": tool, "arguments": {} });
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params })
        .to_string()
        .into_bytes()
}

/// A request about one resource: `resources/subscribe` or `resources/unsubscribe`.
pub fn uri_request(id: u64, method: &str, uri: &str) -> Vec<u8> {
    let (method, uri) = (quote(method), quote(uri));
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{method},"params":{{"uri":{uri}}}}}"#)
        .into_bytes()
}

/// Our own `logging/setLevel`.
pub fn level_request(id: u64, level: Level) -> Vec<u8> {
    let level = level.as_str();
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"logging/setLevel","params":{{"level":"{level}"}}}}"#)
        .into_bytes()
}

/// A cancellation of a request of ours.
pub fn cancelled(id: &[u8], reason: &str) -> Vec<u8> {
    let mut out =
        br#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"#.to_vec();
    out.extend_from_slice(id);
    out.extend_from_slice(format!(r#","reason":{}}}}}"#, quote(reason)).as_bytes());
    out
}

/// What an upstream said in its `initialize` result.
#[derive(Clone, Debug, PartialEq)]
pub struct Welcome {
    /// The version of the session.
    pub version: Version,
    /// What it offers.
    pub offers: Offers,
}

/// Reads the result object of `initialize`.
pub fn read_welcome(result: &[u8]) -> Result<Welcome, String> {
    let result: Value = serde_json::from_slice(result).map_err(|error| error.to_string())?;
    let text = result.pointer("/protocolVersion").and_then(Value::as_str).unwrap_or_default();
    let version = Version::parse(text)
        .ok_or_else(|| format!("it answered initialize with the unknown version {text:?}"))?;
    Ok(Welcome {
        version,
        offers: Offers::read(result.get("capabilities").unwrap_or(&Value::Null), Era::Legacy),
    })
}

/// The `requestId` of a `notifications/cancelled`.
pub fn cancelled_id(params: &[u8]) -> Option<&[u8]> {
    member(params, "requestId")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::offers::Lists;

    #[test]
    fn a_handshake_is_read_and_answered() {
        let hello = read_initialize(Some(br#"{"protocolVersion":"2024-11-05","capabilities":{"roots":{}},"clientInfo":{"name":"c","version":"1"}}"#)).unwrap();
        assert_eq!(hello.version, Version::V2024_11_05);
        assert_eq!(hello.capabilities.get(), r#"{"roots":{}}"#);
        assert!(read_initialize(Some(b"{}")).unwrap_err().contains("protocolVersion"));
        let result = initialize_result(
            hello.version,
            &json!({"name":"waypost"}),
            Some("hi"),
            &Extensions::NONE,
        );
        assert_eq!(result["protocolVersion"], "2024-11-05");
        assert!(result["capabilities"].get("tasks").is_none());
        let all = Extensions::read(&json!({ "extensions": { TASKS: {}, "x/y": {} } }));
        let newer = initialize_result(Version::V2025_11_25, &json!({}), None, &all);
        assert_eq!(newer["capabilities"]["extensions"], json!({ "x/y": {} }));
        assert!(newer["capabilities"]["tasks"]["requests"]["tools"]["call"].is_object());
        assert_eq!(result["instructions"], "hi");
    }

    #[test]
    fn a_welcome_is_read() {
        let welcome = read_welcome(
            br#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true}}}"#,
        )
        .unwrap();
        let tools = Lists { tools: true, ..Lists::NONE };
        let offers = Offers { lists: tools, changes: tools, ..Offers::default() };
        assert_eq!(welcome, Welcome { version: Version::V2025_11_25, offers });
        assert!(read_welcome(br#"{"protocolVersion":"x"}"#).is_err());
    }

    #[test]
    fn a_cancellation_names_the_request() {
        let text = cancelled(b"17", "gone");
        let params = member(&text, "params").unwrap();
        assert_eq!(cancelled_id(params), Some(b"17".as_slice()));
    }
}
