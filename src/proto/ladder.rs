//! Pure: which era a client's message belongs to, and the checks it must pass, in a fixed order:
//! the first failure wins (2026-07-28, basic/versioning and basic/transports/streamable-http,
//! "Server Validation").
//!
//! The body decides the era; a header never upgrades or downgrades it. Everything refused here was
//! refused before anything was forwarded.

use serde_json::json;

use super::envelope::{Envelope, Shape};
use super::era::{Era, MODERN_VERSIONS, Version, names_modern};
use super::error::{
    ErrorBody, HEADER_MISMATCH, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND,
    UNSUPPORTED_VERSION,
};
use super::headers::decode_value;
use super::meta;
use super::method::{Method, SubjectKey};
use super::scan::{Span, says, unquote};

/// A refused message: the HTTP status of its answer and the error in it. On stdio only the error
/// counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The error.
    pub error: ErrorBody,
}

impl Refusal {
    fn bad(code: i64, message: impl Into<String>) -> Self {
        Self { status: 400, error: ErrorBody::new(code, message) }
    }
}

/// The lines of one request header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Header<'a> {
    /// No such line.
    #[default]
    Absent,
    /// One line, white space trimmed.
    One(&'a [u8]),
    /// Several lines: nobody can tell which one counts.
    Many,
}

/// The request headers that mirror the body.
#[derive(Clone, Copy, Debug, Default)]
pub struct Head<'a> {
    /// `MCP-Protocol-Version`
    pub version: Header<'a>,
    /// `Mcp-Method`
    pub method: Header<'a>,
    /// `Mcp-Name`
    pub name: Header<'a>,
}

/// The era of a message. `head` is `None` on stdio, where there are no headers.
pub fn era(text: &[u8], envelope: &Envelope, head: Option<&Head<'_>>) -> Result<Era, Refusal> {
    let header = head.map_or(Header::Absent, |head| head.version);
    let header_modern = match header {
        Header::One(value) => std::str::from_utf8(value).is_ok_and(names_modern),
        Header::Absent | Header::Many => false,
    };
    let claimed = envelope.keys.version.is_some();
    match (envelope.shape, envelope.method) {
        (Shape::Response, _) => Ok(Era::Legacy),
        (_, _) if claimed => Ok(Era::Modern),
        (Shape::Notification, _) => Ok(if header_modern { Era::Modern } else { Era::Legacy }),
        (Shape::Request, Method::Initialize) if header_modern => Err(Refusal::bad(
            HEADER_MISMATCH,
            "the header MCP-Protocol-Version names a revision without a handshake, but the body is \
             an initialize request; leave the header out",
        )),
        (Shape::Request, _) if header_modern => Err(missing_claim(text, envelope)),
        (Shape::Request, _) => legacy_header(header).map(|()| Era::Legacy),
    }
}

/// A request under a modern header must describe itself in its body.
fn missing_claim(text: &[u8], envelope: &Envelope) -> Refusal {
    let place = if envelope.meta.is_some() { "params._meta" } else { "params" };
    debug_assert!(envelope.method_span.is_some_and(|span| !span.of(text).is_empty()));
    let missing = if envelope.meta.is_some() { meta::VERSION } else { "_meta" };
    Refusal::bad(
        INVALID_PARAMS,
        format!("{place} lacks \"{missing}\", which this revision requires"),
    )
}

/// A legacy request may name its negotiated version; one that nobody knows is refused (2025-11-25,
/// transports, "Protocol Version Header").
fn legacy_header(header: Header<'_>) -> Result<(), Refusal> {
    let known = |value: &[u8]| std::str::from_utf8(value).ok().and_then(Version::parse).is_some();
    match header {
        Header::Absent => Ok(()),
        Header::One(value) if known(value) => Ok(()),
        Header::One(_) => Err(Refusal::bad(
            INVALID_REQUEST,
            "the header MCP-Protocol-Version names no known revision",
        )),
        Header::Many => {
            Err(Refusal::bad(INVALID_REQUEST, "the header MCP-Protocol-Version stands twice"))
        }
    }
}

/// The rungs for a modern message, after its era is known: the shape of `_meta`, the version (the
/// header first, then whether we speak it), the method, its params, the other headers.
pub fn modern(text: &[u8], envelope: &Envelope, head: Option<&Head<'_>>) -> Result<(), Refusal> {
    if envelope.shape == Shape::Notification {
        return Ok(());
    }
    let requested = claim(text, envelope)?;
    if let Some(head) = head {
        let version = envelope.keys.version.map(|m| m.value);
        compare("MCP-Protocol-Version", head.version, version, text, false)?;
    }
    supported(requested)?;
    if !envelope.method.served_to(Era::Modern) {
        return Err(unknown_method(text, envelope));
    }
    subject(text, envelope)?;
    match head {
        Some(head) => mirror(text, envelope, head),
        None => Ok(()),
    }
}

/// The claim must be well formed. Answers the version it names, a JSON string.
fn claim<'t>(text: &'t [u8], envelope: &Envelope) -> Result<&'t [u8], Refusal> {
    let keys = &envelope.keys;
    let bad = |key: &str, what: &str| {
        Err(Refusal::bad(INVALID_PARAMS, format!("params._meta[\"{key}\"] must be {what}")))
    };
    let version = keys.version.map(|m| m.value.of(text)).unwrap_or_default();
    if version.first() != Some(&b'"') {
        return bad(meta::VERSION, "a string");
    }
    let object = |span: Span| span.of(text).first() == Some(&b'{');
    if !keys.capabilities.is_some_and(|m| object(m.value)) {
        return bad(meta::CAPABILITIES, "an object");
    }
    if keys.client_info.is_some_and(|m| !object(m.value)) {
        return bad(meta::CLIENT_INFO, "an object");
    }
    Ok(version)
}

fn supported(version: &[u8]) -> Result<(), Refusal> {
    let supported = MODERN_VERSIONS.map(Version::as_str);
    if supported.iter().any(|known| says(version, known)) {
        return Ok(());
    }
    let requested = unquote(version).unwrap_or_default();
    let message = format!("the protocol version {requested:?} is not supported inline");
    let data = json!({ "supported": supported, "requested": requested });
    let error = ErrorBody::new(UNSUPPORTED_VERSION, message).with(data);
    Err(Refusal { status: 400, error })
}

/// What an unknown method is answered with: 404 over HTTP (2026-07-28), in-band elsewhere.
pub fn unknown_method(text: &[u8], envelope: &Envelope) -> Refusal {
    let name = envelope.method_span.and_then(|span| unquote(span.of(text))).unwrap_or_default();
    let name: String = name.chars().take(80).collect();
    Refusal {
        status: 404,
        error: ErrorBody::new(METHOD_NOT_FOUND, format!("unknown method: {name}")),
    }
}

/// A request that is about something must say about what.
pub fn subject(text: &[u8], envelope: &Envelope) -> Result<(), Refusal> {
    let key = match envelope.method.subject_key() {
        Some(SubjectKey::Name) => "name",
        Some(SubjectKey::Uri) => "uri",
        Some(SubjectKey::TaskId) => "taskId",
        None => return Ok(()),
    };
    if envelope.subject().is_none_or(|span| span.of(text).first() != Some(&b'"')) {
        return Err(Refusal::bad(INVALID_PARAMS, format!("params.{key} must be a string")));
    }
    let arguments = envelope.arguments.map(|span| span.of(text));
    if envelope.method == Method::ToolsCall
        && arguments.is_some_and(|raw| raw.first() != Some(&b'{'))
    {
        return Err(Refusal::bad(INVALID_PARAMS, "params.arguments must be an object"));
    }
    Ok(())
}

/// The headers must say what the body says: whoever parses the body must compare (2026-07-28,
/// "Server Validation").
fn mirror(text: &[u8], envelope: &Envelope, head: &Head<'_>) -> Result<(), Refusal> {
    compare("Mcp-Method", head.method, envelope.method_span, text, false)?;
    match envelope.method.subject_key() {
        Some(_) => compare("Mcp-Name", head.name, envelope.subject(), text, true),
        None => Ok(()),
    }
}

fn compare(
    name: &str,
    header: Header<'_>,
    body: Option<Span>,
    text: &[u8],
    encoded: bool,
) -> Result<(), Refusal> {
    let mismatch =
        |what: &str| Err(Refusal::bad(HEADER_MISMATCH, format!("the header {name} {what}")));
    let value = match header {
        Header::Absent => return mismatch("is missing"),
        Header::Many => return mismatch("stands twice"),
        Header::One(value) => value,
    };
    let body = body.map_or(b"\"\"".as_slice(), |span| span.of(text));
    let equal = if encoded {
        decode_value(value).is_ok_and(|decoded| says(body, decoded.as_bytes()))
    } else {
        says(body, value)
    };
    if equal { Ok(()) } else { mismatch("does not say what the body says") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::envelope::split;

    const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

    fn judge(text: &str, head: Option<&Head<'_>>) -> Result<Era, (u16, i64)> {
        let text = text.as_bytes();
        let envelope = split(text).unwrap();
        let run = || {
            let era = era(text, &envelope, head)?;
            if era == Era::Modern {
                modern(text, &envelope, head)?;
            }
            Ok(era)
        };
        run().map_err(|refusal: Refusal| (refusal.status, refusal.error.code))
    }

    fn head<'a>(version: &'a str, method: &'a str, name: &'a str) -> Head<'a> {
        let one = |value: &'a str| {
            if value.is_empty() { Header::Absent } else { Header::One(value.as_bytes()) }
        };
        Head { version: one(version), method: one(method), name: one(name) }
    }

    #[test]
    fn the_body_decides_the_era() {
        let init = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#;
        assert_eq!(judge(init, Some(&head("", "", ""))), Ok(Era::Legacy));
        assert_eq!(judge(init, Some(&head("2026-07-28", "", ""))), Err((400, -32020)));
        let claimed =
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{{{META}}}}}"#);
        assert_eq!(
            judge(&claimed, Some(&head("2026-07-28", "initialize", ""))),
            Err((404, -32601))
        );
        let bare = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
        assert_eq!(judge(bare, Some(&head("", "", ""))), Ok(Era::Legacy));
        assert_eq!(judge(bare, Some(&head("2025-06-18", "", ""))), Ok(Era::Legacy));
        assert_eq!(judge(bare, Some(&head("1999-01-01", "", ""))), Err((400, -32600)));
        assert_eq!(judge(bare, Some(&head("2026-07-28", "tools/list", ""))), Err((400, -32602)));
        assert_eq!(judge(bare, None), Ok(Era::Legacy));
        let note = r#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#;
        assert_eq!(judge(note, Some(&head("2026-07-28", "", ""))), Ok(Era::Modern));
        assert_eq!(judge(note, Some(&head("", "", ""))), Ok(Era::Legacy));
    }

    #[test]
    fn the_first_rung_that_fails_wins() {
        let with = |meta: &str, method: &str| {
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{meta}}}}}"#)
        };
        let wrong_version = META.replace("2026-07-28", "2099-01-01");
        // the version header before the version, the version before the method
        let says = |version| Some(Head { version, ..Head::default() });
        let judged = |text: &str, head: Option<Head<'_>>| judge(text, head.as_ref());
        assert_eq!(
            judged(&with(&wrong_version, "nope"), says(Header::One(b"2026-07-28"))),
            Err((400, -32020))
        );
        assert_eq!(
            judged(&with(&wrong_version, "nope"), says(Header::One(b"2099-01-01"))),
            Err((400, -32022))
        );
        // envelope before headers
        let no_caps = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;
        assert_eq!(
            judge(&with(no_caps, "tools/list"), Some(&head("", "", ""))),
            Err((400, -32602))
        );
        // method before the other headers
        assert_eq!(
            judge(&with(META, "ping"), Some(&head("2026-07-28", "", ""))),
            Err((404, -32601))
        );
        // params before the other headers
        assert_eq!(
            judge(&with(META, "tools/call"), Some(&head("2026-07-28", "", ""))),
            Err((400, -32602))
        );
        assert_eq!(judge(&with(META, "tools/list"), Some(&head("", "", ""))), Err((400, -32020)));
        assert_eq!(
            judge(&with(META, "tools/list"), Some(&head("2026-07-28", "Tools/List", ""))),
            Err((400, -32020))
        );
        assert_eq!(
            judge(&with(META, "tools/list"), Some(&head("2026-07-28", "tools/list", ""))),
            Ok(Era::Modern)
        );
    }

    #[test]
    fn the_name_header_is_compared_decoded() {
        let call = |name: &str| {
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{name}",{META}}}}}"#
            )
        };
        let check = |name: &str, header: &str| {
            judge(&call(name), Some(&head("2026-07-28", "tools/call", header)))
        };
        assert_eq!(check("echo", "echo"), Ok(Era::Modern));
        assert_eq!(check("echo", "Echo"), Err((400, -32020)));
        assert_eq!(check("wetter_münchen", "=?base64?d2V0dGVyX23DvG5jaGVu?="), Ok(Era::Modern));
        assert_eq!(check(" x", "=?base64?IHg=?="), Ok(Era::Modern));
        assert_eq!(check("x", "=?BASE64?eA==?="), Err((400, -32020)));
        assert_eq!(check("x", "=?base64?***?="), Err((400, -32020)));
        let text = call("echo");
        let twice = Head { name: Header::Many, ..head("2026-07-28", "tools/call", "") };
        assert_eq!(judge(&text, Some(&twice)), Err((400, -32020)));
    }
}
