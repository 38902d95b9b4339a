//! The three tools, one a file, and what they share.

mod documentation;
mod examples;
mod library;
mod search;

use serde::Serialize;
use serde_json::{Value, json};

use crate::builtin::text::push;

use super::{Attempt, Given};

pub(in crate::builtin) use self::documentation::GetDocumentation;
pub(in crate::builtin) use self::examples::GetExamples;
pub(in crate::builtin) use self::search::SearchLibraries;

pub(super) const SEARCH_LIBRARIES: &str = "context7_search_libraries";
pub(super) const GET_DOCUMENTATION: &str = "context7_get_documentation";
pub(super) const GET_EXAMPLES: &str = "context7_get_examples";

/// Longest text the service takes, in characters.
const TEXT_CHARS_MAX: usize = 500;

/// Where an answer comes from: part of every result.
#[derive(Debug, Serialize)]
struct Origin<'a> {
    source: &'static str,
    fetched_at: &'a str,
    age_seconds: u64,
    stale: bool,
    attempted: &'a [Attempt],
}

impl<'a> Origin<'a> {
    /// `attempted` may hold more than the last step.
    fn new<A>(given: &'a Given<A>, attempted: &'a [Attempt]) -> Self {
        let Given { source, fetched_at, age, stale, .. } = given;
        Self { source, fetched_at, age_seconds: age.as_secs(), stale: *stale, attempted }
    }

    fn text(&self) -> String {
        let Self { source, fetched_at, age_seconds, .. } = self;
        let mut text = format!("Context7 ({source}), fetched {fetched_at}");
        if *age_seconds > 0 {
            push(&mut text, format_args!(", {age_seconds} s ago"));
        }
        if self.stale {
            // The last thing that was tried before the old answer was taken.
            let mut tried = self.attempted.iter().rev();
            let why = tried.find(|attempt| attempt.provider != "cache");
            let why = why.map_or("unknown", |attempt| attempt.outcome.as_str());
            push(&mut text, format_args!("; STALE: a new answer cannot be had: {why}"));
        }
        text
    }
}

/// The schema properties of an [`Origin`].
fn origin_properties() -> Value {
    json!({
        "source": {
            "type": "string",
            "enum": ["live", "anonymous", "cache"],
            "description": "live: with an API key; anonymous: without; cache: an earlier answer.",
        },
        "fetched_at": { "type": "string", "description": "When the service answered, UTC." },
        "age_seconds": { "type": "integer", "minimum": 0 },
        "stale": {
            "type": "boolean",
            "description": "An old answer stands in because a new one cannot be had.",
        },
        "attempted": {
            "type": "array",
            "description": "What was tried, in order.",
            "items": {
                "type": "object",
                "properties": {
                    "step": { "type": "string", "enum": ["search", "context"] },
                    "provider": { "type": "string", "enum": ["live", "anonymous", "cache", "local"] },
                    "outcome": { "type": "string" },
                },
                "required": ["step", "provider", "outcome"],
                "additionalProperties": false,
            },
        },
    })
}

/// A schema of results: a tool's own properties and the origin's. All of `required` and of the
/// origin's must be there.
fn output_schema(own: Value, required: &[&str]) -> Value {
    let origin = origin_properties();
    let names = origin.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    let required: Vec<_> = required.iter().copied().chain(names).collect();
    json!({
        "type": "object",
        "required": required,
        "properties": merged([own, origin.clone()]),
        "additionalProperties": false,
    })
}

/// One object of several.
fn merged<const N: usize>(objects: [Value; N]) -> Value {
    let members = objects.into_iter().filter_map(|object| match object {
        Value::Object(members) => Some(members),
        _ => None,
    });
    Value::Object(members.flatten().collect())
}

/// What every description says about what leaves the machine.
const PRIVACY: &str = "The arguments are sent to context7.com: no secrets or private code.";

fn text_schema(description: &str) -> Value {
    json!({
        "type": "string",
        "description": description,
        "minLength": 1,
        "maxLength": TEXT_CHARS_MAX,
    })
}
