//! JSON-RPC 2.0 messages as the demo server reads and writes them.
//!
//! It is a peer of the gateway, not a part of it: nothing here is shared with the gateway's own
//! protocol code, so a mistake there cannot hide behind the same mistake here.
//! Pure: no I/O.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// A message from the client.
#[derive(Debug)]
pub(super) enum Inbound {
    Request(Request),
    Notification(Notification),
    Response(Response),
}

/// Something that wants an answer.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) id: Value,
    pub(super) method: String,
    /// Everything in `params` but `arguments`.
    pub(super) params: Map<String, Value>,
    /// The text of `params.arguments` exactly as it came; empty if there was none.
    pub(super) raw_arguments: String,
}

/// Something that wants none.
#[derive(Debug)]
pub(super) struct Notification {
    pub(super) method: String,
    pub(super) params: Map<String, Value>,
}

/// The client's answer to a request of ours.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) id: Value,
    /// The whole message: `result` or `error` is in it.
    pub(super) body: Value,
}

/// A JSON-RPC error object.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RpcError {
    pub(super) code: i64,
    pub(super) message: String,
    pub(super) data: Option<Value>,
}

/// The codes that this server uses.
pub(super) mod code {
    pub(in super::super) const PARSE: i64 = -32700;
    pub(in super::super) const INVALID_REQUEST: i64 = -32600;
    pub(in super::super) const METHOD_NOT_FOUND: i64 = -32601;
    pub(in super::super) const INVALID_PARAMS: i64 = -32602;
    pub(in super::super) const INTERNAL: i64 = -32603;
    pub(in super::super) const HEADER_MISMATCH: i64 = -32020;
    pub(in super::super) const MISSING_CAPABILITY: i64 = -32021;
    pub(in super::super) const UNSUPPORTED_VERSION: i64 = -32022;
    /// What legacy TypeScript servers answer when a session is missing.
    pub(in super::super) const LEGACY_BAD_REQUEST: i64 = -32000;
    /// What legacy TypeScript servers answer when a session is unknown.
    pub(in super::super) const LEGACY_SESSION_NOT_FOUND: i64 = -32001;
}

// === impl RpcError ===

impl RpcError {
    pub(super) fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    pub(super) fn with_data(code: i64, message: impl Into<String>, data: Value) -> Self {
        Self { code, message: message.into(), data: Some(data) }
    }

    pub(super) fn method_not_found(method: &str) -> Self {
        Self::new(code::METHOD_NOT_FOUND, format!("Method not found: {method}"))
    }

    /// The whole error response. An error without a request to point at has a null id.
    pub(super) fn response(&self, id: &Value) -> Value {
        let mut error = json!({"code": self.code, "message": self.message});
        if let (Some(data), Some(fields)) = (&self.data, error.as_object_mut()) {
            fields.insert("data".to_owned(), data.clone());
        }
        json!({"jsonrpc": "2.0", "id": id, "error": error})
    }
}

/// The whole success response.
pub(super) fn response(id: &Value, result: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": result})
}

/// A notification of ours.
pub(super) fn notification(method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "method": method, "params": params})
}

/// True if the text is a JSON array: a batch, which only revision 2025-03-26 had.
pub(super) fn is_batch(text: &[u8]) -> bool {
    text.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[')
}

/// Why a text is no message, and the id to answer with: null if none could be read.
#[derive(Debug)]
pub(super) struct Unread {
    pub(super) id: Value,
    pub(super) error: RpcError,
}

/// Reads one message.
pub(super) fn parse(text: &[u8]) -> Result<Inbound, Box<Unread>> {
    let envelope: Envelope<'_> = serde_json::from_slice(text).map_err(|error| {
        let code = if error.is_data() { code::INVALID_REQUEST } else { code::PARSE };
        unread(Value::Null, code, format!("Not a JSON-RPC message: {error}"))
    })?;
    let read = |raw: &RawValue| serde_json::from_str::<Value>(raw.get()).unwrap_or_default();
    let id = envelope.id.map(read);
    let blame = id.clone().filter(is_id).unwrap_or_default();
    if envelope.jsonrpc != "2.0" {
        return Err(unread(
            blame,
            code::INVALID_REQUEST,
            "Invalid request: jsonrpc is not \"2.0\"",
        ));
    }
    if id.as_ref().is_some_and(|id| !is_id(id)) {
        return Err(unread(blame, code::INVALID_REQUEST, "Invalid request: bad id"));
    }
    let Some(method) = envelope.method else {
        let answers = envelope.result.is_some() || envelope.error.is_some();
        return match id {
            Some(id) if answers => {
                let body = serde_json::from_slice(text).unwrap_or_default();
                Ok(Inbound::Response(Response { id, body }))
            }
            _ => Err(unread(blame, code::INVALID_REQUEST, "Invalid request: no method")),
        };
    };
    let (params, raw_arguments) = split_params(envelope.params)
        .map_err(|error| unread(blame, code::INVALID_PARAMS, format!("Bad params: {error}")))?;
    Ok(match id {
        Some(id) => Inbound::Request(Request { id, method, params, raw_arguments }),
        None => Inbound::Notification(Notification { method, params }),
    })
}

fn unread(id: Value, code: i64, why: impl Into<String>) -> Box<Unread> {
    Box::new(Unread { id, error: RpcError::new(code, why) })
}

fn is_id(id: &Value) -> bool {
    id.is_string() || id.is_i64() || id.is_u64()
}

/// `arguments` stays text: a value would lose key order, doubled keys and the shape of numbers,
/// and `echo_args` has to show them all.
fn split_params(raw: Option<&RawValue>) -> serde_json::Result<(Map<String, Value>, String)> {
    let Some(raw) = raw else {
        return Ok((Map::new(), String::new()));
    };
    let mut fields: BTreeMap<String, &RawValue> = serde_json::from_str(raw.get())?;
    let arguments = fields.remove("arguments").map(|raw| raw.get().to_owned()).unwrap_or_default();
    let params = fields
        .into_iter()
        .map(|(key, raw)| Ok((key, serde_json::from_str(raw.get())?)))
        .collect::<serde_json::Result<Map<_, _>>>()?;
    Ok((params, arguments))
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(default)]
    jsonrpc: String,
    #[serde(default, borrow, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(default)]
    method: Option<String>,
    #[serde(default, borrow)]
    params: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// Tells `null` (here, so `Some`) from absent: `"id": null` is not a notification.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(from: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Request {
        match parse(text.as_bytes()) {
            Ok(Inbound::Request(request)) => request,
            other => panic!("not a request: {other:?}"),
        }
    }

    fn refusal(text: &str) -> i64 {
        parse(text.as_bytes()).unwrap_err().error.code
    }

    #[test]
    fn arguments_stay_the_text_that_came() {
        let raw = r#"{"b" : 1e2,"a":[ 1, 99999999999999999999 ],"a":"\ud800"}"#;
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"x","arguments":{raw}}}}}"#
        );
        let request = request(&text);
        assert_eq!(request.raw_arguments, raw);
        assert_eq!(request.params.get("name"), Some(&json!("x")));
        assert!(!request.params.contains_key("arguments"));
    }

    #[test]
    fn ids_keep_their_json_type() {
        assert_eq!(request(r#"{"jsonrpc":"2.0","id":"1","method":"ping"}"#).id, json!("1"));
        assert_eq!(request(r#"{"jsonrpc":"2.0","id":-7,"method":"ping"}"#).id, json!(-7));
        assert_eq!(request(r#"{"jsonrpc":"2.0","id":"","method":"ping"}"#).id, json!(""));
    }

    #[test]
    fn a_null_id_is_refused_and_no_id_is_a_notification() {
        assert_eq!(
            refusal(r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#),
            code::INVALID_REQUEST
        );
        let inbound = parse(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        assert!(matches!(inbound, Ok(Inbound::Notification(_))));
    }

    #[test]
    fn answers_are_told_from_requests() {
        let inbound = parse(br#"{"jsonrpc":"2.0","id":3,"result":null}"#);
        assert!(matches!(inbound, Ok(Inbound::Response(Response { id, .. })) if id == json!(3)));
    }

    #[test]
    fn broken_text_and_broken_shape_have_their_own_codes() {
        assert_eq!(refusal("{\"jsonrpc\":"), code::PARSE);
        assert_eq!(refusal("nonsense"), code::PARSE);
        assert_eq!(refusal("[]"), code::INVALID_REQUEST);
        assert_eq!(refusal(r#"{"id":1,"method":"ping"}"#), code::INVALID_REQUEST);
        assert_eq!(refusal(r#"{"jsonrpc":"2.0","id":1}"#), code::INVALID_REQUEST);
        let params = r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}"#;
        assert_eq!(refusal(params), code::INVALID_PARAMS);
    }

    #[test]
    fn a_batch_is_known_by_its_first_byte() {
        assert!(is_batch(b" \n[{}]"));
        assert!(!is_batch(b"{\"a\":[]}"));
    }
}
