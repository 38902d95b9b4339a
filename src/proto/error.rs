//! Pure: JSON-RPC error objects and the codes of both eras and of the gateway itself.

use serde_json::{Value, json};

/// The text is not JSON.
pub const PARSE: i64 = -32700;
/// Not a JSON-RPC request, or one the gateway refuses for its shape.
pub const INVALID_REQUEST: i64 = -32600;
/// Unknown method.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// Wrong parameters; also an unknown tool.
pub const INVALID_PARAMS: i64 = -32602;
/// Something failed inside.
pub const INTERNAL: i64 = -32603;
/// Header and body disagree (2026-07-28).
pub const HEADER_MISMATCH: i64 = -32020;
/// The client lacks a capability that the request needs (2026-07-28).
pub const MISSING_CAPABILITY: i64 = -32021;
/// The protocol version is not supported (2026-07-28).
pub const UNSUPPORTED_VERSION: i64 = -32022;

/// No such resource (2025-11-25); modern clients must not see it.
pub const LEGACY_NOT_FOUND: i64 = -32002;
/// The client must open a URL first (2025-11-25); modern clients must not see it.
pub const LEGACY_URL_ELICITATION: i64 = -32042;

/// The gateway is at one of its bounds.
pub const OVERLOADED: i64 = -31001;
/// The upstream cannot be reached; nothing was sent.
pub const UNAVAILABLE: i64 = -31002;
/// The upstream may have run the call; nobody knows.
pub const DELIVERY_UNKNOWN: i64 = -31003;
/// The deadline of the call passed.
pub const DEADLINE: i64 = -31004;
/// The upstream lost our session.
pub const SESSION_LOST: i64 = -31005;
/// Refused by policy.
pub const DENIED: i64 = -31006;
/// A message is too large or too deep.
pub const TOO_LARGE: i64 = -31007;

/// An error object.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorBody {
    /// The code.
    pub code: i64,
    /// One sentence: what, where, what to do.
    pub message: String,
    /// Facts for programs.
    pub data: Option<Value>,
}

impl ErrorBody {
    /// An error without data.
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// The same error with facts for programs.
    #[must_use]
    pub fn with(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }

    /// The whole JSON-RPC message. Without a readable id the member is left out, as MCP allows;
    /// `null` would be refused by its schema.
    pub fn message(&self, id: Option<&[u8]>) -> Vec<u8> {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let (Some(data), Some(object)) = (&self.data, error.as_object_mut()) {
            object.insert("data".to_owned(), data.clone());
        }
        let mut out = br#"{"jsonrpc":"2.0","#.to_vec();
        if let Some(id) = id {
            out.extend_from_slice(br#""id":"#);
            out.extend_from_slice(id);
            out.push(b',');
        }
        out.extend_from_slice(br#""error":"#);
        out.extend_from_slice(error.to_string().as_bytes());
        out.push(b'}');
        out
    }
}

/// A whole JSON-RPC result message around the text of a result.
pub fn result_message(id: &[u8], result: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(id.len() + result.len() + 40);
    out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    out.extend_from_slice(id);
    out.extend_from_slice(br#","result":"#);
    out.extend_from_slice(result);
    out.push(b'}');
    out
}

/// A whole JSON-RPC error message around the text of an error object.
pub fn error_message(id: &[u8], error: &[u8]) -> Vec<u8> {
    [br#"{"jsonrpc":"2.0","id":"#, id, br#","error":"#, error, b"}"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_echoed_raw_and_left_out_when_unreadable() {
        let error = ErrorBody::new(INVALID_REQUEST, "no \"method\"");
        let with = String::from_utf8(error.message(Some(b"1.50"))).unwrap();
        assert_eq!(
            with,
            r#"{"jsonrpc":"2.0","id":1.50,"error":{"code":-32600,"message":"no \"method\""}}"#
        );
        let without = String::from_utf8(error.message(None)).unwrap();
        assert!(!without.contains("\"id\""));
    }
}
