//! From what the caller calls a library to its documentation: id, version, and the reasons.

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use serde_json::{Value, json};

use crate::builtin::ToolReply;
use crate::builtin::args::{Args, BadArguments, refused, required};
use crate::builtin::context7::api::Found;
use crate::builtin::context7::resolve::{
    find_version, is_id, rank, reason, split_id, tags_in, trust_words, with_version,
};
use crate::builtin::context7::verdict::Trouble;
use crate::builtin::context7::wire::Library;
use crate::builtin::context7::{Attempt, Context7, Failure, Given};
use crate::builtin::reply;
use crate::builtin::text::push;
use crate::telemetry::Status;

use super::TEXT_CHARS_MAX;

/// How many libraries that were not picked a result names.
const RUNNERS_UP_MAX: usize = 4;
/// How many versions an error lists.
const VERSIONS_MAX: usize = 50;

/// Which library, as the caller said it.
pub(super) struct Asked {
    /// A name or an id.
    library: String,
    /// `None` = the newest.
    version: Option<String>,
}

/// The library that was taken, and why.
#[derive(Debug, Serialize)]
pub(super) struct Pick {
    id: String,
    title: String,
    /// Why this one.
    picked_because: &'static str,
    runners_up: Vec<RunnerUp>,
}

#[derive(Debug, Serialize)]
struct RunnerUp {
    id: String,
    title: String,
    trust: &'static str,
}

/// The documentation that was found.
pub(super) struct Documentation {
    pub(super) found: Given<Arc<Found>>,
    /// `None`: the caller named the id.
    pub(super) pick: Option<Pick>,
    pub(super) attempted: Vec<Attempt>,
}

impl Asked {
    pub(super) fn read(args: &Args<'_>) -> Result<Self, BadArguments> {
        let library = args.text("library", 1..=TEXT_CHARS_MAX)?;
        let library = required(library, "library", "a library's name or Context7 id")?;
        if library.starts_with('/') && !is_id(&library) {
            let text = "`library`: an id has the form /owner/repo or /owner/repo/version";
            return Err(refused(text));
        }
        let version = args.text("version", 1..=100)?.filter(|version| version != "latest");
        if version.as_ref().is_some_and(|version| {
            version.contains(['/', '@']) || version.contains(char::is_whitespace)
        }) {
            return Err(refused("`version`: expected one version, such as 1.2.3 or latest"));
        }
        match (split_id(&library), &version) {
            ((_, Some(inner)), Some(outer)) if find_version(outer, [inner]).is_none() => {
                Err(refused(format!(
                    "`library` names version {inner}, `version` names {outer}: give one"
                )))
            }
            _ => Ok(Self { library, version }),
        }
    }

    /// Its documentation for a question.
    pub(super) async fn documentation(
        &self,
        service: &Context7,
        question: &str,
    ) -> Result<Documentation, ToolReply> {
        let deadline = service.deadline();
        if is_id(&self.library) {
            return self.by_id(service, question, deadline).await;
        }
        let search = service.search(&self.library, &self.library, deadline).await;
        let mut search = search.map_err(|failure| failure.into_reply(&self.library))?;
        let attempted = std::mem::take(&mut search.attempted);
        let ranked = rank(&self.library, search.value.results.as_deref().unwrap_or(&[]));
        let Some((first, others)) = ranked.split_first() else {
            return Err(self.no_library());
        };
        let version = self.listed_version(first)?;
        let pick = pick(&self.library, first, others);
        let id = with_version(&first.id, version);
        let found = service.context(&id, question, deadline).await;
        self.documented(found, Some(pick), attempted)
    }

    /// Without a search no versions are known: the wanted one is tried as it is, then as the
    /// service's refusal lists it.
    async fn by_id(
        &self,
        service: &Context7,
        question: &str,
        deadline: Instant,
    ) -> Result<Documentation, ToolReply> {
        let (base, inner) = split_id(&self.library);
        let Some(version) = self.version.as_deref().filter(|_| inner.is_none()) else {
            let found = service.context(&self.library, question, deadline).await;
            return self.documented(found, None, Vec::new());
        };
        let id = with_version(base, Some(version));
        match service.context(&id, question, deadline).await {
            Err(Failure { trouble: Trouble::Missing { code, message }, attempted }) => {
                let listed = find_version(version, tags_in(&message)).filter(|tag| *tag != version);
                let Some(tag) = listed else {
                    let trouble = Trouble::Missing { code, message };
                    return self.documented(Err(Failure { trouble, attempted }), None, Vec::new());
                };
                let id = with_version(base, Some(tag));
                self.documented(service.context(&id, question, deadline).await, None, attempted)
            }
            other => self.documented(other, None, Vec::new()),
        }
    }

    fn documented(
        &self,
        found: Result<Given<Arc<Found>>, Failure>,
        pick: Option<Pick>,
        mut attempted: Vec<Attempt>,
    ) -> Result<Documentation, ToolReply> {
        match found {
            Ok(mut found) => {
                attempted.append(&mut found.attempted);
                Ok(Documentation { found, pick, attempted })
            }
            Err(failure) => Err(failure.after(attempted).into_reply(&self.library)),
        }
    }

    fn listed_version<'a>(&self, library: &'a Library) -> Result<Option<&'a str>, ToolReply> {
        let Some(asked) = self.version.as_deref() else {
            return Ok(None);
        };
        let listed = library.versions.as_deref().unwrap_or(&[]);
        if let Some(version) = find_version(asked, listed.iter().map(String::as_str)) {
            return Ok(Some(version));
        }
        let (title, id) = (&library.title, &library.id);
        let known = if listed.is_empty() {
            "it lists no versions: use latest".to_owned()
        } else {
            let shown: Vec<_> = listed.iter().take(VERSIONS_MAX).map(String::as_str).collect();
            let more = listed.len().saturating_sub(shown.len());
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            format!("versions are latest, {}{more}", shown.join(", "))
        };
        let text = format!("no documentation for version {asked} of {title} ({id}): {known}");
        Err(reply::failure(Status::Error, &text))
    }

    fn no_library(&self) -> ToolReply {
        let text = format!(
            "no library on Context7 matches `{}`: look for its id with context7_search_libraries",
            self.library
        );
        reply::failure(Status::Error, &text)
    }
}

fn pick(name: &str, first: &Library, others: &[&Library]) -> Pick {
    let runner_up = |library: &&Library| RunnerUp {
        id: library.id.clone(),
        title: library.title.clone(),
        trust: trust_words(library.trust_score),
    };
    Pick {
        id: first.id.clone(),
        title: first.title.clone(),
        picked_because: reason(name, first),
        runners_up: others.iter().take(RUNNERS_UP_MAX).map(runner_up).collect(),
    }
}

impl Documentation {
    /// Id without version.
    pub(super) fn id(&self) -> &str {
        split_id(&self.found.value.id).0
    }

    pub(super) fn version(&self) -> &str {
        split_id(&self.found.value.id).1.unwrap_or("latest")
    }

    /// The heading of the text.
    pub(super) fn heading(&self) -> String {
        let (id, version) = (self.id(), self.version());
        let title = self.pick.as_ref().map_or(id, |pick| pick.title.as_str());
        let mut heading = format!("# {title} ({id}, {version})\n");
        if let Some(pick) = &self.pick {
            push(&mut heading, format_args!("Picked {}: {}.", pick.id, pick.picked_because));
            if !pick.runners_up.is_empty() {
                let others: Vec<_> =
                    pick.runners_up.iter().map(|other| other.id.as_str()).collect();
                push(&mut heading, format_args!(" Runners-up: {}.", others.join(", ")));
            }
            heading.push('\n');
        }
        heading.push('\n');
        heading
    }
}

/// The schema properties of the arguments that name a library.
pub(super) fn input_properties() -> Value {
    json!({
        "library": super::text_schema("A library's name, such as fastapi, or its Context7 id, such as /vercel/next.js."),
        "version": {
            "type": "string",
            "description": "A version that the library lists, with or without v; latest = the newest.",
            "minLength": 1,
            "maxLength": 100,
            "default": "latest",
        },
    })
}

/// The schema properties of what was found.
pub(super) fn output_properties() -> Value {
    json!({
        "library": { "type": "string", "description": "The id of the library." },
        "version": { "type": "string" },
        "query": { "type": "string", "description": "What the service was asked." },
        "pick": pick_schema(),
        "snippets": { "type": "array", "items": snippet_schema() },
        "info": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "id": { "type": "string", "description": "What to cite." },
                    "breadcrumb": { "type": "string" },
                    "tokens": { "type": "integer" },
                    "content": { "type": "string" },
                },
                "required": ["tokens", "content"],
                "additionalProperties": false,
            },
        },
        "rules": {
            "type": "object",
            "description": "What the library's owners want every reader to know.",
        },
        "tokens": { "type": "integer", "description": "Of all that is shown." },
        "truncated": { "type": "boolean" },
        "omitted": { "type": "integer", "description": "Pieces that were left out." },
    })
}

fn pick_schema() -> Value {
    json!({
        "type": "object",
        "description": "Which library was taken for the name, why, and which were not.",
        "properties": {
            "id": { "type": "string" },
            "title": { "type": "string" },
            "picked_because": { "type": "string" },
            "runners_up": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "id": { "type": "string" },
                        "title": { "type": "string" },
                        "trust": { "type": "string" },
                    },
                    "required": ["id", "title", "trust"],
                    "additionalProperties": false,
                },
            },
        },
        "required": ["id", "title", "picked_because", "runners_up"],
        "additionalProperties": false,
    })
}

fn snippet_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "id": { "type": "string", "description": "What to cite." },
            "title": { "type": "string" },
            "description": { "type": "string" },
            "page": { "type": "string" },
            "language": { "type": "string" },
            "tokens": { "type": "integer" },
            "code": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "language": { "type": "string" },
                        "code": { "type": "string" },
                    },
                    "required": ["code"],
                    "additionalProperties": false,
                },
            },
        },
        "required": ["title", "tokens", "code"],
        "additionalProperties": false,
    })
}

/// The properties of what was found that are always there.
pub(super) const OUTPUT_REQUIRED: [&str; 7] =
    ["library", "version", "query", "snippets", "tokens", "truncated", "omitted"];
