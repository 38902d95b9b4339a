//! Pure: one tool: what an upstream wrote about it, checked, and what clients of each era see.
//!
//! Only members that must change are touched; all others, numbers and the order of keys included,
//! are passed on byte for byte. Two things differ from the text of the upstream everywhere: white
//! space between the members of the definition itself is dropped, and line breaks between tokens
//! become spaces, so that a page can travel on transports that end a message with a line break.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::spec::{
    DEFINITION_BYTES_MAX, DEFINITION_DEPTH_MAX, DESCRIPTION_BYTES_MAX, ORIGINAL_BYTES_MAX,
    SCHEMA_BYTES_MAX, SCHEMA_DEPTH_MAX,
};
use crate::proto::era::Era;
use crate::proto::headers::{self, HeaderParam, InvalidAnnotation};
use crate::proto::members::{self, Member};
use crate::proto::scan::quote;

/// Whose tool it is. Ordered as collisions are decided: built-in tools first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// It runs in this process.
    Builtin,
    /// The upstream with this index in the order of the configuration file.
    Upstream(usize),
}

/// A tool on offer.
#[derive(Clone, Debug)]
pub struct Tool {
    /// The name clients see and call.
    pub name: Arc<str>,
    /// The name its owner knows.
    pub original: Arc<str>,
    /// Whose it is.
    pub owner: Owner,
    /// The era in which its owner listed it.
    pub era: Era,
    /// The parameters that modern clients mirror into headers, and that we mirror to a modern
    /// HTTP upstream. Always empty for a tool of a legacy upstream.
    pub header_params: Vec<HeaderParam>,
    /// What its owner says of its behaviour. A claim, not a fact, unless the operator trusts it.
    pub hints: Hints,
    /// For people: `title`, else `annotations.title`.
    pub title: Option<Box<str>>,
    /// For people and models: the operator's, else its owner's.
    pub description: Option<Box<str>>,
    legacy: Bytes,
    modern: Bytes,
}

impl Tool {
    /// The tool object as `tools/list` shows it to clients of an era.
    pub fn definition(&self, era: Era) -> &Bytes {
        match era {
            Era::Legacy => &self.legacy,
            Era::Modern => &self.modern,
        }
    }
}

/// The `annotations` of a tool; `None` where nothing (or no boolean) is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// `readOnlyHint`
    pub read_only: Option<bool>,
    /// `destructiveHint`
    pub destructive: Option<bool>,
    /// `idempotentHint`
    pub idempotent: Option<bool>,
    /// `openWorldHint`
    pub open_world: Option<bool>,
}

/// Why a tool is not offered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Not JSON, or no object.
    #[error("its definition is not a JSON object")]
    NotObject,
    /// No name, an empty one, or one that is no text.
    #[error("it has no name")]
    NoName,
    /// Over [`ORIGINAL_BYTES_MAX`].
    #[error("its name is longer than {ORIGINAL_BYTES_MAX} bytes")]
    NameTooLong,
    /// A member stands twice, or differs from one of the specification by the case of letters
    /// only: readers disagree about which one counts.
    #[error("`{0}` stands in its definition twice, or in another case")]
    Ambiguous(String),
    /// Over [`DEFINITION_BYTES_MAX`].
    #[error("its definition is larger than {DEFINITION_BYTES_MAX} bytes")]
    TooLarge,
    /// Over [`DEFINITION_DEPTH_MAX`].
    #[error("its definition is nested deeper than {DEFINITION_DEPTH_MAX} levels")]
    TooDeep,
    /// No `inputSchema`, or one whose root is not `"type": "object"`.
    #[error("its `inputSchema` is not a schema with `\"type\": \"object\"`")]
    InputSchema,
    /// Over [`SCHEMA_BYTES_MAX`] or [`SCHEMA_DEPTH_MAX`].
    #[error(
        "its `inputSchema` is larger than {SCHEMA_BYTES_MAX} bytes or nested deeper than \
         {SCHEMA_DEPTH_MAX} levels"
    )]
    InputSchemaBounds,
    /// A broken `x-mcp-header` annotation.
    #[error(transparent)]
    Annotation(#[from] InvalidAnnotation),
}

/// What is odd about a tool that is offered all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Oddity {
    /// Over [`DESCRIPTION_BYTES_MAX`].
    #[error("its description has {0} bytes, more than {DESCRIPTION_BYTES_MAX}")]
    LongDescription(usize),
    /// Its `outputSchema` is over the bounds of a schema and was left out.
    #[error(
        "its `outputSchema` is larger than {SCHEMA_BYTES_MAX} bytes or nested deeper than \
         {SCHEMA_DEPTH_MAX} levels, and was left out"
    )]
    OutputSchemaLeftOut,
    /// Its exposed name is over the limit of some clients, or uses characters they refuse.
    #[error("some clients refuse its name: not `[A-Za-z0-9_-]` only, or too long")]
    Name,
}

/// Members of a tool that decide something here or in a client.
const KNOWN: [&str; 9] = [
    "name",
    "title",
    "description",
    "inputSchema",
    "outputSchema",
    "annotations",
    "execution",
    "icons",
    "_meta",
];

// === Checking ===

/// A definition whose name is known, before anything else of it is looked at.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    members: Vec<Member<'a>>,
    /// The upstream's own name.
    pub(super) name: String,
}

impl<'a> Draft<'a> {
    /// Reads one definition as far as its name.
    pub(super) fn open(definition: &'a [u8]) -> Result<Self, Unfit> {
        if definition.len() > DEFINITION_BYTES_MAX {
            return Err(Unfit::TooLarge);
        }
        let json = str::from_utf8(definition).map_err(|_detail| Unfit::NotObject)?;
        let members = members::members(json).map_err(|_detail| Unfit::NotObject)?;
        if members::depth(json) > DEFINITION_DEPTH_MAX {
            return Err(Unfit::TooDeep);
        }
        if let Some(key) = ambiguous(&members) {
            return Err(Unfit::Ambiguous(members::shown(key, 64)));
        }
        let name = find(&members, "name").and_then(members::text).ok_or(Unfit::NoName)?;
        if name.is_empty() {
            return Err(Unfit::NoName);
        }
        if name.len() > ORIGINAL_BYTES_MAX {
            return Err(Unfit::NameTooLong);
        }
        let name = name.into_owned();
        Ok(Self { members, name })
    }

    /// Checks the rest.
    pub(super) fn check(self, era: Era) -> Result<Checked<'a>, Unfit> {
        let input = self.find("inputSchema").ok_or(Unfit::InputSchema)?;
        if !is_object_schema(input) {
            return Err(Unfit::InputSchema);
        }
        if !within_bounds(input) {
            return Err(Unfit::InputSchemaBounds);
        }
        let mut checked = Checked { era, ..Checked::new(self) };
        if let Some(output) = checked.draft.find("outputSchema") {
            checked.output = output_kind(output);
        }
        match era {
            Era::Modern => checked.header_params = headers::parse_header_params(input)?,
            Era::Legacy => checked.strip(input)?,
        }
        Ok(checked)
    }

    fn find(&self, key: &str) -> Option<&'a RawValue> {
        find(&self.members, key)
    }
}

/// What becomes of an `outputSchema`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    /// Shown to everybody (or not there).
    Shown,
    /// Legal in the modern era only: its root is not `"type": "object"`.
    ModernOnly,
    /// Over the bounds.
    LeftOut,
}

/// A definition that can be offered.
#[derive(Debug)]
pub(super) struct Checked<'a> {
    draft: Draft<'a>,
    era: Era,
    output: Output,
    header_params: Vec<HeaderParam>,
    /// Schemas without annotations, where they differ from what the upstream wrote.
    stripped_input: Option<String>,
    stripped_output: Option<String>,
}

impl<'a> Checked<'a> {
    fn new(draft: Draft<'a>) -> Self {
        Self {
            draft,
            era: Era::Modern,
            output: Output::Shown,
            header_params: Vec::new(),
            stripped_input: None,
            stripped_output: None,
        }
    }

    fn strip(&mut self, input: &RawValue) -> Result<(), Unfit> {
        self.stripped_input = headers::without_annotations(input)?;
        let output = self.draft.find("outputSchema").filter(|_| self.output != Output::LeftOut);
        if let Some(output) = output {
            self.stripped_output = headers::without_annotations(output)?;
        }
        Ok(())
    }

    /// The upstream's own name.
    pub(super) fn original(&self) -> &str {
        &self.draft.name
    }

    /// What the operator should know of it, its name apart.
    pub(super) fn oddities(&self, describe: Option<&str>) -> Vec<Oddity> {
        let mut found = Vec::new();
        let len = self.description(describe).map_or(0, |text| text.len());
        if len > DESCRIPTION_BYTES_MAX {
            found.push(Oddity::LongDescription(len));
        }
        if self.output == Output::LeftOut {
            found.push(Oddity::OutputSchemaLeftOut);
        }
        found
    }

    /// The tool under its exposed name.
    pub(super) fn into_tool(self, owner: Owner, name: &str, describe: Option<&str>) -> Tool {
        let legacy = Bytes::from(self.render(Era::Legacy, name, describe));
        let modern = self.render(Era::Modern, name, describe);
        let modern = if legacy == modern { legacy.clone() } else { Bytes::from(modern) };
        let annotations = self.annotations();
        let title = self.draft.find("title").and_then(members::text);
        let title = title.or_else(|| find(&annotations, "title").and_then(members::text));
        Tool {
            name: Arc::from(name),
            original: Arc::from(self.draft.name.as_str()),
            owner,
            era: self.era,
            hints: hints(&annotations),
            title: title.map(|text| Box::from(&*text)),
            description: self.description(describe).map(String::into_boxed_str),
            header_params: self.header_params,
            legacy,
            modern,
        }
    }

    fn description(&self, describe: Option<&str>) -> Option<String> {
        let own = || self.draft.find("description").and_then(members::text);
        describe.map(str::to_owned).or_else(|| own().map(Cow::into_owned))
    }

    fn annotations(&self) -> Vec<Member<'a>> {
        let raw = self.draft.find("annotations");
        raw.and_then(|value| members::members(value.get()).ok()).unwrap_or_default()
    }

    fn render(&self, view: Era, name: &str, describe: Option<&str>) -> String {
        let mut out = ObjectText::new();
        for member in &self.draft.members {
            let raw = member.value.get();
            match &*member.key {
                "name" => out.put(member.raw_key, &quote(name)),
                "description" if describe.is_some() => {}
                // Task support of 2025-11-25: the modern era has another, and knows not this one.
                "execution" if view == Era::Modern && self.era == Era::Legacy => {}
                "inputSchema" if view == Era::Modern => {
                    out.put(member.raw_key, self.stripped_input.as_deref().unwrap_or(raw));
                }
                "outputSchema" => match (self.output, view) {
                    (Output::LeftOut, _) | (Output::ModernOnly, Era::Legacy) => {}
                    (_, Era::Legacy) => out.put(member.raw_key, raw),
                    (_, Era::Modern) => {
                        out.put(member.raw_key, self.stripped_output.as_deref().unwrap_or(raw));
                    }
                },
                _ => out.put(member.raw_key, raw),
            }
            if let (Some(text), "name") = (describe, &*member.key) {
                out.put("\"description\"", &quote(text));
            }
        }
        out.end()
    }
}

fn find<'a>(members: &[Member<'a>], key: &str) -> Option<&'a RawValue> {
    members.iter().find(|member| member.key == key).map(|member| member.value)
}

/// A key that stands twice, or that some decoders take for a key of the specification because they
/// do not see the case of letters.
fn ambiguous<'m>(members: &'m [Member<'_>]) -> Option<&'m str> {
    let mut seen = HashSet::with_capacity(members.len());
    let look_alike = |key: &str| KNOWN.iter().any(|k| *k != key && k.eq_ignore_ascii_case(key));
    members.iter().map(|member| &*member.key).find(|key| !seen.insert(*key) || look_alike(key))
}

fn is_object_schema(schema: &RawValue) -> bool {
    let members = members::members(schema.get()).unwrap_or_default();
    find(&members, "type").and_then(members::text).is_some_and(|kind| kind == "object")
}

fn within_bounds(schema: &RawValue) -> bool {
    schema.get().len() <= SCHEMA_BYTES_MAX && members::depth(schema.get()) <= SCHEMA_DEPTH_MAX
}

fn output_kind(schema: &RawValue) -> Output {
    if !within_bounds(schema) {
        Output::LeftOut
    } else if is_object_schema(schema) {
        Output::Shown
    } else {
        Output::ModernOnly
    }
}

fn hints(annotations: &[Member<'_>]) -> Hints {
    let flag = |key: &str| match find(annotations, key).map(RawValue::get) {
        Some("true") => Some(true),
        Some("false") => Some(false),
        _ => None,
    };
    Hints {
        read_only: flag("readOnlyHint"),
        destructive: flag("destructiveHint"),
        idempotent: flag("idempotentHint"),
        open_world: flag("openWorldHint"),
    }
}

// === Writing ===

/// The text of a JSON object as it grows.
struct ObjectText(String);

impl ObjectText {
    fn new() -> Self {
        Self("{".to_owned())
    }

    fn put(&mut self, raw_key: &str, raw_value: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(raw_key);
        self.0.push(':');
        self.0.push_str(raw_value);
    }

    fn end(mut self) -> String {
        self.0.push('}');
        on_one_line(self.0)
    }
}

/// A valid JSON text on one line: line breaks can only stand between tokens.
pub(super) fn on_one_line(json: String) -> String {
    if json.contains(['\n', '\r']) { json.replace(['\n', '\r'], " ") } else { json }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin => f.write_str("the built-in tools"),
            Self::Upstream(index) => write!(f, "upstream {index}"),
        }
    }
}

#[cfg(test)]
mod tests;
