//! Pure: one tool: what an upstream wrote about it, checked, and what clients of each era see.
//!
//! White space between the members of the definition itself is dropped; `inputSchema`,
//! `outputSchema` and `execution` may differ between the eras; the rest stays byte for byte.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::item::{Draft, Item, ObjectText, Oddity, Owner, Unfit, find, odd_description};
use super::spec::{SCHEMA_BYTES_MAX, SCHEMA_DEPTH_MAX};
use crate::proto::era::Era;
use crate::proto::headers::{self, HeaderParam};
use crate::proto::members::{self, Member};
use crate::proto::scan::{self, Span, quote};
use crate::proto::splice::Splice;

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
    /// It runs only as a task, in the way of 2025-11-25.
    pub only_as_task: bool,
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

impl Item for Tool {
    fn key(&self) -> &Arc<str> {
        &self.name
    }

    fn owner(&self) -> Owner {
        self.owner
    }

    fn shown(&self, era: Era) -> &Bytes {
        self.definition(era)
    }

    fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }
}

// === Checking ===

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
    /// Checks what stands behind the name.
    pub(super) fn new(draft: Draft<'a>, era: Era) -> Result<Self, Unfit> {
        let input = draft.find("inputSchema").ok_or(Unfit::InputSchema)?;
        if !is_object_schema(input) {
            return Err(Unfit::InputSchema);
        }
        if !within_bounds(input) {
            return Err(Unfit::InputSchemaBounds);
        }
        let output = draft.find("outputSchema").map_or(Output::Shown, output_kind);
        let mut checked = Self {
            draft,
            era,
            output,
            header_params: Vec::new(),
            stripped_input: None,
            stripped_output: None,
        };
        match era {
            Era::Modern => checked.header_params = headers::parse_header_params(input)?,
            Era::Legacy => checked.strip(input)?,
        }
        Ok(checked)
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
        &self.draft.key
    }

    /// What the operator should know of it, its name apart.
    pub(super) fn oddities(&self, describe: Option<&str>) -> Vec<Oddity> {
        let len = self.description(describe).map_or(0, |text| text.len());
        let mut found: Vec<Oddity> = odd_description(len).into_iter().collect();
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
        let title = self.draft.text("title");
        let title = title.or_else(|| find(&annotations, "title").and_then(members::text));
        Tool {
            name: Arc::from(name),
            original: Arc::from(self.draft.key.as_str()),
            owner,
            era: self.era,
            hints: hints(&annotations),
            only_as_task: self.only_as_task(),
            title: title.map(|text| Box::from(&*text)),
            description: self.description(describe).map(String::into_boxed_str),
            header_params: self.header_params,
            legacy,
            modern,
        }
    }

    fn description(&self, describe: Option<&str>) -> Option<String> {
        let own = || self.draft.text("description").map(Cow::into_owned);
        describe.map(str::to_owned).or_else(own)
    }

    fn annotations(&self) -> Vec<Member<'a>> {
        let raw = self.draft.find("annotations");
        raw.and_then(|value| members::members(value.get()).ok()).unwrap_or_default()
    }

    fn only_as_task(&self) -> bool {
        let execution = self.draft.find("execution").filter(|_| self.era == Era::Legacy);
        let says = execution.and_then(|raw| scan::member(raw.get().as_bytes(), "taskSupport"));
        says == Some(b"\"required\"")
    }

    fn render(&self, view: Era, name: &str, describe: Option<&str>) -> Vec<u8> {
        let mut out = ObjectText::new();
        for member in &self.draft.members {
            let raw = member.value.get();
            match &*member.key {
                "name" => out.put(member.raw_key, &quote(name)),
                "description" if describe.is_some() => {}
                // Task support of 2025-11-25: the modern era has another, and knows not this one.
                "execution" if view == Era::Modern && self.era == Era::Legacy => {}
                // The gateway sees a task to its end for a client that has none.
                "execution" if self.only_as_task() => out.put(member.raw_key, &optional_task(raw)),
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

/// An `execution` that leaves it to the client whether a call runs as a task.
fn optional_task(execution: &str) -> String {
    let text = execution.as_bytes();
    let mut splice = Splice::new(text);
    if let Some(support) = scan::within(text, Span { start: 0, end: text.len() }, "taskSupport") {
        splice.put(support.value, br#""optional""#);
    }
    String::from_utf8(splice.apply(0)).unwrap_or_else(|_not_text| execution.to_owned())
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

#[cfg(test)]
mod tests;
