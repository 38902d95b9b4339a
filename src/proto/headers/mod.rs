//! Pure: the headers that mirror the body (specification 2026-07-28, basic/transports/
//! streamable-http, "Request Metadata"): how values of `Mcp-Name` and `Mcp-Param-*` are written and
//! read ("Value Encoding"), which parameters of a tool are mirrored ("Schema Extension"), and
//! whether a header says what the body says ("Server Validation").
//!
//! Not here: which headers a request must have, and what is answered when one does not match.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};
use serde_json::value::RawValue;

use super::members::{self, Member};

mod annotation;
mod number;

pub use annotation::{InvalidAnnotation, parse_header_params, without_annotations};

/// Longest value of one mirrored header in bytes, encoded: what our own front accepts of a header.
pub const VALUE_BYTES_MAX: usize = 8 * 1024;

const OPEN: &str = "=?base64?";
const CLOSE: &str = "?=";

// === Values ("Value Encoding") ===

/// A value as it may stand in a header: as it is if it is visible ASCII, space and tab without
/// white space at its ends and does not look encoded; else `=?base64?…?=`.
pub fn encode_value(value: &str) -> Cow<'_, str> {
    let padded = value.starts_with([' ', '\t']) || value.ends_with([' ', '\t']);
    let plain = value.bytes().all(is_field_byte);
    let looks_encoded = value.starts_with(OPEN) && value.ends_with(CLOSE);
    if plain && !padded && !looks_encoded {
        return Cow::Borrowed(value);
    }
    Cow::Owned(format!("{OPEN}{}{CLOSE}", STANDARD.encode(value)))
}

/// Why a header value cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// A byte that is not visible ASCII, space or tab.
    #[error("the header value holds a character that a header cannot carry")]
    Character,
    /// Between the markers stands no canonical base64.
    #[error("the header value is not valid base64")]
    Base64,
    /// The encoded bytes are no text.
    #[error("the header value is not UTF-8")]
    Utf8,
}

/// The value that a header carries. White space around it belongs to the header, not to the value;
/// the markers of an encoded value are case-sensitive.
pub fn decode_value(header: &[u8]) -> Result<Cow<'_, str>, ValueError> {
    let header = trimmed(header);
    if !header.iter().copied().all(is_field_byte) {
        return Err(ValueError::Character);
    }
    let text = str::from_utf8(header).map_err(|_ascii| ValueError::Character)?;
    let Some(inner) = text.strip_prefix(OPEN).and_then(|rest| rest.strip_suffix(CLOSE)) else {
        return Ok(Cow::Borrowed(text));
    };
    let bytes = STANDARD.decode(inner).map_err(|_detail| ValueError::Base64)?;
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_detail| ValueError::Utf8)
}

/// Whether the value of `Mcp-Name` says what the body says.
pub fn check_name(header: &[u8], body: &str) -> bool {
    decode_value(header).is_ok_and(|value| value == body)
}

/// What RFC 9110 section 5.5 lets the specification put into a header value.
fn is_field_byte(byte: u8) -> bool {
    matches!(byte, b'\t' | 0x20..=0x7e)
}

fn trimmed(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

// === Parameters ("Custom Headers from Tool Parameters") ===

/// The type that the schema gives a mirrored parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamKind {
    /// `"type": "string"`
    String,
    /// `"type": "integer"`
    Integer,
    /// `"type": "boolean"`
    Boolean,
}

/// One parameter of a tool that is mirrored into a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderParam {
    /// The whole header name, `mcp-param-…`, in lower case.
    pub header: HeaderName,
    /// The keys from the arguments to the value.
    pub path: Vec<String>,
    /// What the schema says it is. The header follows what the value is: a value of another type
    /// is the upstream's to refuse.
    pub kind: ParamKind,
}

/// Why the arguments of a call cannot be mirrored or compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamError {
    /// The arguments are no JSON object.
    #[error("`arguments` is not a JSON object")]
    NotObject,
    /// A key on the way to the value stands twice, so that two readers could see two values.
    #[error("`{0}` stands twice in the arguments")]
    Ambiguous(String),
    /// An object or an array, or text that is not Unicode.
    #[error("`{0}` must be a string, an integer or a boolean")]
    NotPrimitive(String),
    /// Over [`VALUE_BYTES_MAX`].
    #[error("`{0}` is too long for a header")]
    TooLong(String),
}

/// The headers that a `tools/call` with these arguments must carry ("Client Behavior"), in the
/// order of `params`. A parameter that is absent or `null` has none. Empty `arguments` are `{}`.
pub fn param_headers(
    params: &[HeaderParam],
    arguments: &[u8],
) -> Result<Vec<(HeaderName, HeaderValue)>, ParamError> {
    let mut headers = Vec::with_capacity(params.len());
    for param in params {
        let Some(value) = value_at(arguments, &param.path)? else {
            continue;
        };
        let text =
            header_text(value).ok_or_else(|| ParamError::NotPrimitive(label(&param.path)))?;
        let encoded = encode_value(&text);
        if encoded.len() > VALUE_BYTES_MAX {
            return Err(ParamError::TooLong(label(&param.path)));
        }
        let value = HeaderValue::from_str(&encoded)
            .map_err(|_detail| ParamError::NotPrimitive(label(&param.path)))?;
        headers.push((param.header.clone(), value));
    }
    Ok(headers)
}

/// Whether a header says what the body says ("Server Behavior for Custom Headers"). `argument` is
/// the value at the parameter's path; where there is none, or `null`, there must be no header.
/// Integers are compared as numbers: `42.0` is `42`. A header line that stands twice is the
/// caller's to refuse.
pub fn check_param(
    param: &HeaderParam,
    header: Option<&[u8]>,
    argument: Option<&RawValue>,
) -> bool {
    let argument = argument.filter(|value| value.get() != "null");
    let (header, argument) = match (header, argument) {
        (None, None) => return true,
        (Some(header), Some(argument)) => (header, argument),
        _ => return false,
    };
    let Ok(said) = decode_value(header) else {
        return false;
    };
    if param.kind == ParamKind::Integer && number::equal(&said, argument.get()) {
        return true;
    }
    header_text(argument).is_some_and(|text| text == said)
}

/// [`check_param`] with all arguments of the call, in which it finds the value. A value that stands
/// there twice matches no header, and needs one.
pub fn check_call(param: &HeaderParam, header: Option<&[u8]>, arguments: &[u8]) -> bool {
    match value_at(arguments, &param.path) {
        Ok(argument) => check_param(param, header, argument),
        // There is nothing that could be mirrored; what is wrong with the arguments is said later.
        Err(ParamError::NotObject) => header.is_none(),
        Err(_) => false,
    }
}

/// The value at a path of keys in the arguments of a call; `None` if there is none, or `null`
/// ("Schema Extension": "If no value is present at that path in the call arguments, the header is
/// omitted").
pub fn value_at<'a>(
    arguments: &'a [u8],
    path: &[String],
) -> Result<Option<&'a RawValue>, ParamError> {
    if arguments.is_empty() {
        return Ok(None);
    }
    let mut json = str::from_utf8(arguments).map_err(|_detail| ParamError::NotObject)?;
    let mut found: Option<&'a RawValue> = None;
    for key in path {
        if found.is_some_and(|value| !members::is_object(value)) {
            return Ok(None);
        }
        let all = members::members(json).map_err(|_detail| ParamError::NotObject)?;
        let mut same = all.iter().filter(|member: &&Member<'a>| member.key == key.as_str());
        let Some(first) = same.next() else {
            return Ok(None);
        };
        if same.next().is_some() {
            return Err(ParamError::Ambiguous(label(path)));
        }
        json = first.value.get();
        found = Some(first.value);
    }
    Ok(found.filter(|value| value.get() != "null"))
}

/// The text that a value has in a header ("Type conversion"); `None` for what has none.
fn header_text(value: &RawValue) -> Option<Cow<'_, str>> {
    match value.get() {
        word @ ("true" | "false") => Some(Cow::Borrowed(word)),
        quoted if quoted.starts_with('"') => members::text(value),
        nested if nested.starts_with(['{', '[']) => None,
        digits => Some(number::decimal(digits)),
    }
}

/// A path as it is named to people.
fn label(path: &[String]) -> String {
    members::shown(&path.join("."), 64)
}

#[cfg(test)]
mod tests;
