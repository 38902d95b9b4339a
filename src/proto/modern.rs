//! Pure: `server/discover` and the shape of modern requests and results (2026-07-28).

use serde_json::{Value, json};

use super::era::{Era, MODERN_VERSIONS, Version};
use super::extensions::Extensions;
use super::listen::Filter;
use super::meta;
use super::offers::{self, Offers};

/// The result of `server/discover` (2026-07-28, server/discover).
pub fn discover_result(
    server_info: &Value,
    instructions: Option<&str>,
    extensions: &Extensions,
    ttl_ms: u64,
) -> Value {
    let mut capabilities = offers::own();
    extensions.put_into(&mut capabilities);
    let mut result = json!({
        "resultType": "complete",
        "supportedVersions": MODERN_VERSIONS.map(Version::as_str),
        "capabilities": capabilities,
        "ttlMs": ttl_ms,
        "cacheScope": "private",
        "_meta": { meta::SERVER_INFO: server_info },
    });
    if let (Some(text), Some(object)) = (instructions, result.as_object_mut()) {
        object.insert("instructions".to_owned(), Value::from(text));
    }
    result
}

/// A request of our own to a modern upstream. The gateway itself declares no capability.
pub fn request(id: u64, method: &str, cursor: Option<&str>, client_info: &Value) -> Vec<u8> {
    let mut params = json!({
        "_meta": {
            meta::VERSION: Version::MODERN_NEWEST.as_str(),
            meta::CAPABILITIES: {},
            meta::CLIENT_INFO: client_info,
        },
    });
    if let (Some(cursor), Some(object)) = (cursor, params.as_object_mut()) {
        object.insert("cursor".to_owned(), Value::from(cursor));
    }
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
        .to_string()
        .into_bytes()
}

/// A call of a tool without arguments: our own look whether a server is well.
pub fn tool_request(id: u64, tool: &str, client_info: &Value) -> Vec<u8> {
    json!({
        "jsonrpc": "2.0",
        "id": id,
        "method": "tools/call",
        "params": {
            "_meta": {
                meta::VERSION: Version::MODERN_NEWEST.as_str(),
                meta::CAPABILITIES: {},
                meta::CLIENT_INFO: client_info,
            },
            "name": tool,
            "arguments": {},
        },
    })
    .to_string()
    .into_bytes()
}

/// Our own `subscriptions/listen`.
pub fn listen_request(id: u64, client_info: &Value, filter: &Filter) -> Vec<u8> {
    json!({
        "jsonrpc": "2.0",
        "id": id,
        "method": "subscriptions/listen",
        "params": {
            "_meta": {
                meta::VERSION: Version::MODERN_NEWEST.as_str(),
                meta::CAPABILITIES: {},
                meta::CLIENT_INFO: client_info,
            },
            "notifications": filter.to_value(),
        },
    })
    .to_string()
    .into_bytes()
}

/// What an upstream said in its `server/discover` result.
#[derive(Clone, Debug, PartialEq)]
pub struct Discovered {
    /// The newest modern revision that both speak; `None` if there is none.
    pub version: Option<Version>,
    /// What it offers.
    pub offers: Offers,
}

/// Reads the result object of `server/discover`; `None` if it is not one.
pub fn read_discovered(result: &[u8]) -> Option<Discovered> {
    let result: Value = serde_json::from_slice(result).ok()?;
    let supported = result.get("supportedVersions")?.as_array()?;
    let mutual = |version: &Version| supported.iter().any(|v| v.as_str() == Some(version.as_str()));
    Some(Discovered {
        version: MODERN_VERSIONS.into_iter().rev().find(mutual),
        offers: Offers::read(result.get("capabilities").unwrap_or(&Value::Null), Era::Modern),
    })
}

/// The versions that a -32022 error lists as supported.
pub fn supported_in_error(error: &[u8]) -> Vec<String> {
    let error: Value = serde_json::from_slice(error).unwrap_or_default();
    let list = error.pointer("/data/supported").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::extensions::TASKS;
    use super::*;

    #[test]
    fn discover_goes_both_ways() {
        let tasks = Extensions::read(&json!({ "extensions": { TASKS: {} } }));
        let result = discover_result(&json!({"name": "waypost"}), None, &tasks, 60_000);
        let read = read_discovered(result.to_string().as_bytes()).unwrap();
        let offers = Offers { tasks: true, extensions: tasks, ..Offers::EVERYTHING };
        assert_eq!(read, Discovered { version: Some(Version::V2026_07_28), offers });
        let old =
            read_discovered(br#"{"supportedVersions":["2025-11-25"],"capabilities":{}}"#).unwrap();
        assert_eq!(old.version, None);
        assert_eq!(read_discovered(b"{}"), None);
    }
}
