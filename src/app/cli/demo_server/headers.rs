//! The header checks of modern HTTP: headers must say what the body says.
//!
//! Legacy clients may send anything in these headers; nobody looks. Pure: no I/O.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use serde_json::{Map, Value};

use super::wire::{Request, RpcError, code};

pub(super) const VERSION: &str = "mcp-protocol-version";
const METHOD: &str = "mcp-method";
const NAME: &str = "mcp-name";

/// The version header against the version in the body.
pub(super) fn check_version(headers: &HeaderMap, version: &str) -> Result<(), RpcError> {
    if single(headers, VERSION)? == Some(version) {
        return Ok(());
    }
    Err(mismatch("MCP-Protocol-Version", "the version in _meta"))
}

/// The method and the name in the headers against those in the body.
pub(super) fn check_standard(headers: &HeaderMap, request: &Request) -> Result<(), RpcError> {
    if single(headers, METHOD)? != Some(request.method.as_str()) {
        return Err(mismatch("Mcp-Method", "the method"));
    }
    if request.method != "tools/call" {
        return Ok(());
    }
    let name = single(headers, NAME)?.map(decode).transpose()?;
    if name.as_deref() != request.params.get("name").and_then(Value::as_str) {
        return Err(mismatch("Mcp-Name", "params.name"));
    }
    Ok(())
}

/// The `Mcp-Param-*` headers that `schema` asks for, against the arguments of the call.
pub(super) fn check_params(
    headers: &HeaderMap,
    schema: &Value,
    arguments: &Map<String, Value>,
) -> Result<(), RpcError> {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return Ok(());
    };
    for (key, property) in properties {
        let value = arguments.get(key).filter(|value| !value.is_null());
        if let Some(wanted) = property.get("x-mcp-header").and_then(Value::as_str) {
            check_param(headers, wanted, value)?;
        }
        if property.get("properties").is_some() {
            let nested = value.and_then(Value::as_object).cloned().unwrap_or_default();
            check_params(headers, property, &nested)?;
        }
    }
    Ok(())
}

fn check_param(headers: &HeaderMap, name: &str, value: Option<&Value>) -> Result<(), RpcError> {
    let header = format!("mcp-param-{}", name.to_ascii_lowercase());
    let sent = single(headers, &header)?.map(decode).transpose()?;
    let same = match (&sent, value) {
        (None, None) => true,
        (Some(sent), Some(value)) => says(sent, value),
        _ => false,
    };
    if same { Ok(()) } else { Err(mismatch(&header, "the argument")) }
}

/// Integers are compared as numbers: `42.0` says 42.
fn says(sent: &str, value: &Value) -> bool {
    match value {
        Value::String(text) => sent == text,
        Value::Bool(truth) => sent == if *truth { "true" } else { "false" },
        Value::Number(number) => {
            let whole = sent.split_once('.').map_or(sent, |(whole, fraction)| {
                if fraction.bytes().all(|digit| digit == b'0') { whole } else { sent }
            });
            number.to_string() == whole || number.to_string() == sent
        }
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

/// The value of a header that may come once at most.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, RpcError> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(RpcError::new(code::HEADER_MISMATCH, format!("Header mismatch: {name} twice")));
    }
    first.map(|value| value.to_str().ok().ok_or_else(|| mismatch(name, "plain ASCII"))).transpose()
}

/// `=?base64?…?=` carries what a header cannot; everything else is plain.
fn decode(value: &str) -> Result<String, RpcError> {
    let Some(coded) = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?="))
    else {
        return Ok(value.to_owned());
    };
    STANDARD
        .decode(coded)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| mismatch("a base64 value", "base64 of UTF-8"))
}

fn mismatch(header: &str, what: &str) -> RpcError {
    let message = format!("Header mismatch: {header} is not {what}");
    RpcError::new(code::HEADER_MISMATCH, message)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use serde_json::json;

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn call(name: &str) -> Request {
        let params = Map::from_iter([("name".to_owned(), json!(name))]);
        let method = "tools/call".to_owned();
        Request { id: json!(1), method, params, raw_arguments: String::new() }
    }

    const CALL: (&str, &str) = (METHOD, "tools/call");

    fn with_name(name: &str, header: &str) -> bool {
        check_standard(&headers(&[CALL, (NAME, header)]), &call(name)).is_ok()
    }

    #[test]
    fn names_are_decoded_before_they_are_compared() {
        assert!(with_name("whoami", "whoami"));
        assert!(with_name("zoë", "=?base64?em/Dqw==?="));
        assert!(with_name("=?base64?x?=", "=?base64?PT9iYXNlNjQ/eD89?="));
        assert!(!with_name("whoami", "Whoami"));
        assert!(!with_name("zoë", "=?BASE64?em/Dqw==?="));
        assert!(!with_name("zoë", "=?base64?%%?="));
    }

    #[test]
    fn missing_and_doubled_headers_are_mismatches() {
        let name = (NAME, "whoami");
        for wrong in [vec![name], vec![CALL], vec![CALL, CALL, name], vec![CALL, name, name]] {
            let error = check_standard(&headers(&wrong), &call("whoami")).unwrap_err();
            assert_eq!(error.code, code::HEADER_MISMATCH, "{wrong:?}");
        }
    }

    #[test]
    fn the_version_comes_once_and_as_in_the_body() {
        let good = (VERSION, "2026-07-28");
        let check = |pairs: &[(&str, &str)]| check_version(&headers(pairs), "2026-07-28").is_ok();
        assert!(check(&[good]));
        assert!(!check(&[]));
        assert!(!check(&[good, good]));
        assert!(!check(&[(VERSION, "2025-11-25")]));
    }

    #[test]
    fn annotated_arguments_are_mirrored_or_absent() {
        let schema = json!({"properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "n": {"type": "integer", "x-mcp-header": "N"},
            "deep": {"type": "object", "properties": {"on": {"type": "boolean", "x-mcp-header": "On"}}},
        }});
        let check = |pairs: &[(&str, &str)], arguments: Value| {
            let Value::Object(arguments) = arguments else { unreachable!() };
            check_params(&headers(pairs), &schema, &arguments).is_ok()
        };
        assert!(check(&[], json!({})));
        assert!(check(&[("mcp-param-n", "42.0")], json!({"n": 42})));
        assert!(check(&[("mcp-param-on", "true")], json!({"deep": {"on": true}})));
        assert!(check(&[], json!({"region": null})));
        assert!(!check(&[("mcp-param-region", "eu")], json!({"region": null})));
        assert!(!check(&[], json!({"region": "eu"})));
        assert!(!check(&[("mcp-param-n", "42.5")], json!({"n": 42})));
        assert!(!check(&[("mcp-param-on", "1")], json!({"deep": {"on": true}})));
    }
}
