//! Which era a message belongs to, and whether a modern one carries what it must.
//!
//! The body decides, message by message; the version header only settles what the body leaves
//! open. Pure: no I/O.

use serde_json::{Map, Value, json};

use super::wire::{Request, RpcError, code};

/// Legacy: 2025-11-25 and earlier, with `initialize`. Modern: 2026-07-28, metadata on each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Era {
    Legacy,
    Modern,
}

/// What this process serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Served {
    pub(super) legacy: bool,
    pub(super) modern: bool,
}

/// The one modern revision.
pub(super) const MODERN: &str = "2026-07-28";

/// The legacy revisions, oldest first.
pub(super) const LEGACY: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", NEWEST_LEGACY];

/// What `initialize` settles on when the client's wish is unknown.
const NEWEST_LEGACY: &str = "2025-11-25";

/// The methods of a modern server with tools and nothing else.
const MODERN_METHODS: [&str; 4] =
    ["server/discover", "tools/list", "tools/call", "subscriptions/listen"];

const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const META_CLIENT: &str = "io.modelcontextprotocol/clientInfo";

/// The era of a request. `version_header` is `MCP-Protocol-Version`; stdio has none.
pub(super) fn classify(
    request: &Request,
    version_header: Option<&str>,
    served: Served,
) -> Result<Era, RpcError> {
    if !served.modern {
        return Ok(Era::Legacy);
    }
    if claims_modern(&request.params) {
        return Ok(Era::Modern);
    }
    let modern_header = version_header == Some(MODERN);
    if request.method == "initialize" {
        return match (modern_header, served.legacy) {
            (true, true) => Err(RpcError::new(
                code::HEADER_MISMATCH,
                "Header mismatch: MCP-Protocol-Version is modern, initialize is legacy",
            )),
            (false, true) => Ok(Era::Legacy),
            // A legacy client cannot fall forward: naming the versions is all the help there is.
            (_, false) => Err(unsupported_version(request.params.get("protocolVersion"))),
        };
    }
    Ok(if modern_header || !served.legacy { Era::Modern } else { Era::Legacy })
}

/// True if the message says that it is modern, rightly or wrongly.
pub(super) fn claims_modern(params: &Map<String, Value>) -> bool {
    meta(params).is_some_and(|meta| meta.contains_key(META_VERSION))
}

/// The envelope's shape, then its version, the method, the parameters: the first fault wins.
///
/// HTTP has a version in its headers too, and `check_header` compares it with the envelope's before
/// anybody asks whether that version is served: a client that contradicts itself is told so.
pub(super) fn check_modern(
    request: &Request,
    check_header: impl FnOnce(&str) -> Result<(), RpcError>,
) -> Result<(), RpcError> {
    let version = check_envelope(&request.params)?;
    check_header(version)?;
    if version != MODERN {
        return Err(unsupported_version(Some(&Value::from(version))));
    }
    if !MODERN_METHODS.contains(&request.method.as_str()) {
        return Err(RpcError::method_not_found(&request.method));
    }
    let (field, good) = match request.method.as_str() {
        "tools/call" => ("name", request.params.get("name").is_some_and(Value::is_string)),
        "subscriptions/listen" => {
            ("notifications", request.params.get("notifications").is_some_and(Value::is_object))
        }
        _ => return Ok(()),
    };
    if good { Ok(()) } else { Err(invalid_params(&format!("params.{field} is missing or bad"))) }
}

/// The version that a well-formed envelope names.
fn check_envelope(params: &Map<String, Value>) -> Result<&str, RpcError> {
    let Some(meta) = meta(params) else {
        return Err(invalid_params("params._meta is missing"));
    };
    let Some(version) = meta.get(META_VERSION).and_then(Value::as_str) else {
        return Err(invalid_params(&format!("params._meta lacks \"{META_VERSION}\" (string)")));
    };
    if !meta.get(META_CAPABILITIES).is_some_and(Value::is_object) {
        return Err(invalid_params(&format!(
            "params._meta lacks \"{META_CAPABILITIES}\" (object)"
        )));
    }
    if meta.get(META_CLIENT).is_some_and(|client| !client.is_object()) {
        return Err(invalid_params(&format!("params._meta \"{META_CLIENT}\" is not an object")));
    }
    Ok(version)
}

/// -32022 with the versions that would have worked.
pub(super) fn unsupported_version(requested: Option<&Value>) -> RpcError {
    let mut data = json!({"supported": [MODERN]});
    if let (Some(requested), Some(fields)) = (requested, data.as_object_mut()) {
        fields.insert("requested".to_owned(), requested.clone());
    }
    let message = format!("Unsupported protocol version; this server speaks {MODERN}");
    RpcError::with_data(code::UNSUPPORTED_VERSION, message, data)
}

/// The version that a legacy session speaks: the client's if known, else the newest.
pub(super) fn negotiate(wanted: &str) -> &'static str {
    LEGACY.into_iter().find(|known| *known == wanted).unwrap_or(NEWEST_LEGACY)
}

/// The client's capabilities in a modern envelope.
pub(super) fn meta_capabilities(params: &Map<String, Value>) -> Value {
    meta(params).and_then(|meta| meta.get(META_CAPABILITIES)).cloned().unwrap_or_default()
}

/// The token to report progress under, in either era.
pub(super) fn progress_token(params: &Map<String, Value>) -> Option<Value> {
    meta(params)?.get("progressToken").filter(|token| !token.is_null()).cloned()
}

fn meta(params: &Map<String, Value>) -> Option<&Map<String, Value>> {
    params.get("_meta")?.as_object()
}

fn invalid_params(why: &str) -> RpcError {
    RpcError::new(code::INVALID_PARAMS, format!("Invalid params: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Served = Served { legacy: true, modern: true };
    const ONLY_MODERN: Served = Served { legacy: false, modern: true };
    const ONLY_LEGACY: Served = Served { legacy: true, modern: false };

    fn request(method: &str, params: Value) -> Request {
        let Value::Object(params) = params else { panic!("params must be an object") };
        Request { id: json!(1), method: method.to_owned(), params, raw_arguments: String::new() }
    }

    fn envelope(version: &str) -> Value {
        json!({"_meta": {META_VERSION: version, META_CAPABILITIES: {}}})
    }

    fn refusal(request: &Request) -> i64 {
        check_modern(request, |_| Ok(())).unwrap_err().code
    }

    #[test]
    fn the_body_decides_the_era() {
        let claim = request("tools/list", envelope(MODERN));
        let bare = request("tools/list", json!({}));
        assert_eq!(classify(&claim, Some("2025-11-25"), BOTH), Ok(Era::Modern));
        assert_eq!(classify(&bare, None, BOTH), Ok(Era::Legacy));
        assert_eq!(classify(&bare, Some("2025-06-18"), BOTH), Ok(Era::Legacy));
        assert_eq!(classify(&claim, Some(MODERN), ONLY_LEGACY), Ok(Era::Legacy));
        assert_eq!(classify(&bare, None, ONLY_MODERN), Ok(Era::Modern));
    }

    #[test]
    fn a_modern_header_without_a_claim_is_a_broken_modern_request() {
        let bare = request("tools/list", json!({}));
        assert_eq!(classify(&bare, Some(MODERN), BOTH), Ok(Era::Modern));
        assert_eq!(refusal(&bare), code::INVALID_PARAMS);
    }

    #[test]
    fn initialize_is_legacy_unless_it_says_otherwise() {
        let plain = request("initialize", json!({"protocolVersion": "2025-11-25"}));
        assert_eq!(classify(&plain, None, BOTH), Ok(Era::Legacy));
        let mismatch = classify(&plain, Some(MODERN), BOTH).unwrap_err();
        assert_eq!(mismatch.code, code::HEADER_MISMATCH);
        let claimed = request("initialize", envelope(MODERN));
        assert_eq!(classify(&claimed, None, BOTH), Ok(Era::Modern));
        assert_eq!(refusal(&claimed), code::METHOD_NOT_FOUND);
    }

    #[test]
    fn a_modern_only_server_names_its_versions_to_initialize() {
        let plain = request("initialize", json!({"protocolVersion": "2025-11-25"}));
        let error = classify(&plain, None, ONLY_MODERN).unwrap_err();
        assert_eq!(error.code, code::UNSUPPORTED_VERSION);
        let data = json!({"supported": [MODERN], "requested": "2025-11-25"});
        assert_eq!(error.data, Some(data));
    }

    #[test]
    fn the_envelope_is_checked_before_the_method() {
        assert_eq!(refusal(&request("nope", json!({}))), code::INVALID_PARAMS);
        assert_eq!(refusal(&request("nope", envelope("1900-01-01"))), code::UNSUPPORTED_VERSION);
        assert_eq!(refusal(&request("nope", envelope(MODERN))), code::METHOD_NOT_FOUND);
        let no_capabilities = json!({"_meta": {META_VERSION: MODERN}});
        assert_eq!(refusal(&request("tools/list", no_capabilities)), code::INVALID_PARAMS);
        assert_eq!(refusal(&request("tools/call", envelope(MODERN))), code::INVALID_PARAMS);
        assert!(check_modern(&request("tools/list", envelope(MODERN)), |_| Ok(())).is_ok());
    }

    #[test]
    fn a_header_that_differs_is_named_before_a_version_that_is_not_served() {
        let differs = |_: &str| Err(RpcError::new(code::HEADER_MISMATCH, "differs"));
        let error = check_modern(&request("nope", envelope("1900-01-01")), differs).unwrap_err();
        assert_eq!(error.code, code::HEADER_MISMATCH);
        let error = check_modern(&request("nope", json!({})), differs).unwrap_err();
        assert_eq!(error.code, code::INVALID_PARAMS);
    }

    #[test]
    fn unknown_versions_settle_on_the_newest_legacy_one() {
        for known in LEGACY {
            assert_eq!(negotiate(known), known);
        }
        assert_eq!(negotiate("2099-01-01"), NEWEST_LEGACY);
        assert_eq!(negotiate(MODERN), NEWEST_LEGACY);
    }

    #[test]
    fn the_progress_token_keeps_its_type() {
        let of = |token: Value| {
            progress_token(&request("x", json!({"_meta": {"progressToken": token}})).params)
        };
        assert_eq!(of(json!("1")), Some(json!("1")));
        assert_eq!(of(json!(1)), Some(json!(1)));
        assert_eq!(of(Value::Null), None);
    }
}
