//! Pure: `x-mcp-header` annotations in a tool's `inputSchema` (specification 2026-07-28,
//! basic/transports/streamable-http, "Schema Extension"; server/tools, "x-mcp-header").

use http::HeaderName;
use serde_json::value::RawValue;

use super::{HeaderParam, ParamKind, label};
use crate::proto::members::{self, Member};

/// The annotation itself.
const ANNOTATION: &str = "x-mcp-header";
/// What stands before the annotated name in the header.
const PREFIX: &str = "mcp-param-";
/// Longest annotated name in bytes; the specification names no bound.
const NAME_BYTES_MAX: usize = 256;
/// Deepest schema that is walked.
const DEPTH_MAX: usize = 128;

/// Which rule of "Schema Extension" an annotation breaks. A tool with one must not be offered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAnnotation {
    /// The schema is not JSON, or too deep to be walked.
    #[error("the schema cannot be read")]
    Unreadable,
    /// The value is not text.
    #[error("`x-mcp-header` of `{0}` is not a string")]
    NotText(String),
    /// The value is empty, too long, or no `1*tchar` (control characters included).
    #[error("`x-mcp-header` of `{0}` is not a header name")]
    NotToken(String),
    /// Another parameter has the same name; the case of letters makes no difference.
    #[error("`x-mcp-header` of `{0}` is used twice")]
    Twice(String),
    /// The parameter is no string, integer or boolean.
    #[error("`x-mcp-header` of `{0}`: only a string, an integer or a boolean can be mirrored")]
    NotPrimitive(String),
    /// Not reachable from the root through `properties` alone.
    #[error("`x-mcp-header` stands where no fixed path of `properties` leads")]
    Unreachable,
    /// A key on the way stands twice, so that two readers could see two schemas.
    #[error("a member that decides about `x-mcp-header` stands twice")]
    Ambiguous,
}

/// What a keyword of a schema holds.
enum Keyword {
    /// Named schemas: the names are no keywords.
    Named,
    /// Data or names, never a schema.
    Data,
    /// A schema, several, or something unknown: looked into, so that nothing hides there.
    Other,
}

/// `properties` is asked about before: it alone leads to parameters.
fn keyword(key: &str) -> Keyword {
    match key {
        "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas"
        | "dependencies" => Keyword::Named,
        "default" | "const" | "enum" | "examples" | "dependentRequired" => Keyword::Data,
        _ => Keyword::Other,
    }
}

/// Whether the text may hold the annotation at all; an escaped key is possible, so `\u` counts.
fn may_mention(json: &str) -> bool {
    json.contains(ANNOTATION) || json.contains("\\u")
}

fn unreadable(_detail: serde_json::Error) -> InvalidAnnotation {
    InvalidAnnotation::Unreadable
}

// === Reading ===

/// The mirrored parameters of a tool, in the order of its schema; the first broken rule otherwise.
pub fn parse_header_params(schema: &RawValue) -> Result<Vec<HeaderParam>, InvalidAnnotation> {
    if !may_mention(schema.get()) {
        return Ok(Vec::new());
    }
    if members::depth(schema.get()) > DEPTH_MAX {
        return Err(InvalidAnnotation::Unreadable);
    }
    let mut walk = Walk::default();
    walk.value(schema, Place::Root)?;
    if walk.ambiguous && !walk.params.is_empty() {
        return Err(InvalidAnnotation::Ambiguous);
    }
    Ok(walk.params)
}

/// Where a schema stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    /// A parameter: reached through `properties` alone.
    Property,
    Elsewhere,
}

#[derive(Default)]
struct Walk {
    params: Vec<HeaderParam>,
    path: Vec<String>,
    ambiguous: bool,
}

impl Walk {
    fn value(&mut self, value: &RawValue, place: Place) -> Result<(), InvalidAnnotation> {
        if !may_mention(value.get()) {
            return Ok(());
        }
        if members::is_array(value) {
            for element in members::elements(value.get()).map_err(unreadable)? {
                self.value(element, Place::Elsewhere)?;
            }
        } else if members::is_object(value) {
            self.schema(&members::members(value.get()).map_err(unreadable)?, place)?;
        }
        Ok(())
    }

    fn schema(&mut self, schema: &[Member<'_>], place: Place) -> Result<(), InvalidAnnotation> {
        for member in schema {
            match &*member.key {
                ANNOTATION if place == Place::Property => self.annotation(member.value, schema)?,
                ANNOTATION => return Err(InvalidAnnotation::Unreachable),
                "properties" if place != Place::Elsewhere => self.properties(member.value)?,
                key => match keyword(key) {
                    Keyword::Data => {}
                    Keyword::Named => self.named(member.value)?,
                    Keyword::Other => self.value(member.value, Place::Elsewhere)?,
                },
            }
        }
        let decides = |key: &str| matches!(key, ANNOTATION | "type" | "properties");
        self.ambiguous |= place != Place::Elsewhere && stands_twice(schema, decides);
        Ok(())
    }

    fn properties(&mut self, value: &RawValue) -> Result<(), InvalidAnnotation> {
        if !members::is_object(value) {
            return self.value(value, Place::Elsewhere);
        }
        let properties = members::members(value.get()).map_err(unreadable)?;
        for property in &properties {
            self.path.push(property.key.clone().into_owned());
            self.value(property.value, Place::Property)?;
            self.path.pop();
        }
        let all = |_: &str| true;
        self.ambiguous |= may_mention(value.get()) && stands_twice(&properties, all);
        Ok(())
    }

    fn named(&mut self, value: &RawValue) -> Result<(), InvalidAnnotation> {
        if !members::is_object(value) {
            return self.value(value, Place::Elsewhere);
        }
        for entry in members::members(value.get()).map_err(unreadable)? {
            self.value(entry.value, Place::Elsewhere)?;
        }
        Ok(())
    }

    fn annotation(
        &mut self,
        value: &RawValue,
        schema: &[Member<'_>],
    ) -> Result<(), InvalidAnnotation> {
        let at = || label(&self.path);
        let name = members::text(value).ok_or_else(|| InvalidAnnotation::NotText(at()))?;
        let is_token = !name.is_empty() && name.bytes().all(is_tchar);
        if !is_token || name.len() > NAME_BYTES_MAX {
            return Err(InvalidAnnotation::NotToken(at()));
        }
        let header = HeaderName::try_from(format!("{PREFIX}{name}"))
            .map_err(|_detail| InvalidAnnotation::NotToken(at()))?;
        if self.params.iter().any(|param| param.header == header) {
            return Err(InvalidAnnotation::Twice(at()));
        }
        let kind = schema.iter().find(|member| member.key == "type");
        let kind = match kind.and_then(|member| members::text(member.value)).as_deref() {
            Some("string") => ParamKind::String,
            Some("integer") => ParamKind::Integer,
            Some("boolean") => ParamKind::Boolean,
            _ => return Err(InvalidAnnotation::NotPrimitive(at())),
        };
        self.params.push(HeaderParam { header, path: self.path.clone(), kind });
        Ok(())
    }
}

/// `tchar` of RFC 9110 section 5.6.2.
fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn stands_twice(members: &[Member<'_>], counts: impl Fn(&str) -> bool) -> bool {
    let mut keys: Vec<&str> = members.iter().map(|m| &*m.key).filter(|key| counts(key)).collect();
    keys.sort_unstable();
    keys.windows(2).any(|pair| matches!(pair, [a, b] if a == b))
}

// === Removing ===

/// The schema without its annotations, all else byte for byte; `None` if it has none. A legacy
/// server knows nothing of the annotation: republished, it would bind us to check headers that the
/// server never asked for.
pub fn without_annotations(schema: &RawValue) -> Result<Option<String>, InvalidAnnotation> {
    if !may_mention(schema.get()) {
        return Ok(None);
    }
    if members::depth(schema.get()) > DEPTH_MAX {
        return Err(InvalidAnnotation::Unreadable);
    }
    let mut out = String::with_capacity(schema.get().len());
    let removed = strip(schema, &mut out)?;
    Ok(removed.then_some(out))
}

/// Appends a schema without its annotations; answers whether there was one.
fn strip(value: &RawValue, out: &mut String) -> Result<bool, InvalidAnnotation> {
    let mark = out.len();
    let mut removed = false;
    if !may_mention(value.get()) {
        out.push_str(value.get());
    } else if members::is_array(value) {
        out.push('[');
        for element in members::elements(value.get()).map_err(unreadable)? {
            removed |= strip(element, out)?;
            out.push(',');
        }
        close(out, ']');
    } else if members::is_object(value) {
        out.push('{');
        for member in members::members(value.get()).map_err(unreadable)? {
            if member.key == ANNOTATION {
                removed = true;
                continue;
            }
            out.push_str(member.raw_key);
            out.push(':');
            removed |= strip_keyword(&member, out)?;
            out.push(',');
        }
        close(out, '}');
    } else {
        out.push_str(value.get());
    }
    if !removed {
        // Nothing was here: put back the white space that was between the tokens.
        out.truncate(mark);
        out.push_str(value.get());
    }
    Ok(removed)
}

fn strip_keyword(member: &Member<'_>, out: &mut String) -> Result<bool, InvalidAnnotation> {
    match keyword(&member.key) {
        Keyword::Named if members::is_object(member.value) => strip_named(member.value, out),
        Keyword::Data => {
            out.push_str(member.value.get());
            Ok(false)
        }
        Keyword::Named | Keyword::Other => strip(member.value, out),
    }
}

/// The schemas of a map; its names stay, whatever they are.
fn strip_named(map: &RawValue, out: &mut String) -> Result<bool, InvalidAnnotation> {
    let mark = out.len();
    let mut removed = false;
    out.push('{');
    for entry in members::members(map.get()).map_err(unreadable)? {
        out.push_str(entry.raw_key);
        out.push(':');
        removed |= strip(entry.value, out)?;
        out.push(',');
    }
    close(out, '}');
    if !removed {
        out.truncate(mark);
        out.push_str(map.get());
    }
    Ok(removed)
}

/// Ends an object or array whose parts each left a comma.
fn close(out: &mut String, bracket: char) {
    if out.ends_with(',') {
        out.pop();
    }
    out.push(bracket);
}
