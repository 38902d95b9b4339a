//! `context7_search_libraries`: which libraries there are for a question, and under which id.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use crate::builtin::args::{Args, required};
use crate::builtin::context7::resolve::{first_word, trust_words};
use crate::builtin::context7::wire::{Library, Search};
use crate::builtin::context7::{Attempt, Context7, Failure, Given};
use crate::builtin::reply::{self, Definition};
use crate::builtin::text::push;
use crate::builtin::{Builtin, CallFuture, Host, ToolReply};

use super::{Origin, PRIVACY, SEARCH_LIBRARIES, TEXT_CHARS_MAX};

#[derive(Debug)]
pub(in crate::builtin) struct SearchLibraries {
    service: Arc<Context7>,
    definition: Bytes,
}

#[derive(Serialize)]
struct Libraries<'a> {
    results: Vec<Entry<'a>>,
    /// How many the service found.
    total: usize,
    truncated: bool,
    /// The name that was searched for.
    searched: &'a str,
    #[serde(flatten)]
    origin: Origin<'a>,
}

#[derive(Serialize)]
struct Entry<'a> {
    id: &'a str,
    title: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    versions: &'a [String],
    trust: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    benchmark: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snippets: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stars: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated: Option<&'a str>,
}

impl SearchLibraries {
    pub(in crate::builtin) fn new(service: &Arc<Context7>) -> Self {
        Self { service: Arc::clone(service), definition: definition() }
    }

    async fn answer(&self, arguments: &[u8]) -> Result<ToolReply, ToolReply> {
        let args = Args::read(arguments, &["query", "limit", "library"])?;
        let query = args.text("query", 1..=TEXT_CHARS_MAX)?;
        let query = required(query, "query", "what you are looking for")?;
        let limit = args.integer("limit", 1..=50)?.unwrap_or(10);
        let library = args.text("library", 1..=TEXT_CHARS_MAX)?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let named = library.as_deref();
        match self.search(&query, named).await {
            Ok((given, searched, attempted)) => Ok(show(&given, &searched, limit, &attempted)),
            Err(failure) => Err(failure.into_reply(named.unwrap_or(&query))),
        }
    }

    /// Searches for the library, else for the whole question, else for its first telling word.
    /// Answers what was found, for which name, and what was tried.
    async fn search(
        &self,
        query: &str,
        library: Option<&str>,
    ) -> Result<(Given<Arc<Search>>, String, Vec<Attempt>), Failure> {
        let deadline = self.service.deadline();
        let name = library.unwrap_or(query);
        let mut given = self.service.search(name, query, deadline).await?;
        let mut attempted = std::mem::take(&mut given.attempted);
        let word = first_word(query).filter(|_| library.is_none() && is_empty(&given.value));
        let Some(word) = word else {
            return Ok((given, name.to_owned(), attempted));
        };
        match self.service.search(word, query, deadline).await {
            Ok(mut second) => {
                attempted.append(&mut second.attempted);
                Ok((second, word.to_owned(), attempted))
            }
            Err(failure) => Err(failure.after(attempted)),
        }
    }
}

impl Builtin for SearchLibraries {
    fn name(&self) -> &str {
        SEARCH_LIBRARIES
    }

    fn definition(&self) -> &Bytes {
        &self.definition
    }

    fn call<'a>(&'a self, arguments: &'a [u8], _host: &'a dyn Host) -> CallFuture<'a> {
        Box::pin(async move { Ok(self.answer(arguments).await.unwrap_or_else(|refusal| refusal)) })
    }
}

fn is_empty(search: &Search) -> bool {
    search.results.as_ref().is_none_or(Vec::is_empty)
}

fn show(
    given: &Given<Arc<Search>>,
    searched: &str,
    limit: usize,
    attempted: &[Attempt],
) -> ToolReply {
    let all = given.value.results.as_deref().unwrap_or(&[]);
    let results: Vec<_> = all.iter().take(limit).map(Entry::new).collect();
    let truncated = results.len() < all.len();
    let origin = Origin::new(given, attempted);
    let libraries = Libraries { results, total: all.len(), truncated, searched, origin };
    reply::success(&libraries.text(), &libraries)
}

impl<'a> Entry<'a> {
    fn new(library: &'a Library) -> Self {
        let known = |count: Option<i64>| count.filter(|count| *count >= 0);
        Self {
            id: &library.id,
            title: &library.title,
            description: library.description.as_deref(),
            versions: library.versions.as_deref().unwrap_or(&[]),
            trust: trust_words(library.trust_score),
            score: library.trust_score.filter(|score| *score >= 0.0),
            benchmark: library.benchmark_score.filter(|score| *score >= 0.0),
            snippets: known(library.total_snippets),
            stars: known(library.stars),
            state: library.state.as_deref(),
            updated: library.last_update_date.as_deref(),
        }
    }

    fn text(&self) -> String {
        let mut text = format!("- {} — {}", self.title, self.id);
        if let Some(description) = self.description {
            push(&mut text, format_args!("\n  {description}"));
        }
        push(&mut text, format_args!("\n  trust {}", self.trust));
        if let Some(snippets) = self.snippets {
            push(&mut text, format_args!(", {snippets} snippets"));
        }
        if let Some(benchmark) = self.benchmark {
            push(&mut text, format_args!(", benchmark {benchmark}"));
        }
        if !self.versions.is_empty() {
            push(&mut text, format_args!(", versions {}", self.versions.join(", ")));
        }
        text.push('\n');
        text
    }
}

impl Libraries<'_> {
    fn text(&self) -> String {
        let (searched, total) = (self.searched, self.total);
        let mut text = match self.results.len() {
            0 => format!("No library on Context7 matches `{searched}`.\n"),
            shown if self.truncated => format!("{shown} of {total} libraries for `{searched}`:\n"),
            shown => format!("{shown} libraries for `{searched}`:\n"),
        };
        text.extend(self.results.iter().map(Entry::text));
        text.push_str(&self.origin.text());
        text
    }
}

fn definition() -> Bytes {
    Definition {
        name: SEARCH_LIBRARIES,
        title: "Search libraries",
        description: format!(
            "Finds libraries in Context7's documentation index, with the ids that \
             context7_get_documentation and context7_get_examples take. {PRIVACY}"
        ),
        input: json!({
            "type": "object",
            "properties": {
                "query": super::text_schema("What you are looking for, such as \"fastapi authentication\"."),
                "limit": {
                    "type": "integer",
                    "description": "Most libraries to list.",
                    "minimum": 1,
                    "maximum": 50,
                    "default": 10,
                },
                "library": super::text_schema("The library's name, if you know it; the query then only ranks."),
            },
            "required": ["query"],
            "additionalProperties": false,
        }),
        output: super::output_schema(properties(), &["results", "total", "truncated", "searched"]),
        annotations: reply::looks_up(),
    }
    .into_bytes()
}

fn properties() -> Value {
    json!({
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "id": { "type": "string" },
                    "title": { "type": "string" },
                    "description": { "type": "string" },
                    "versions": { "type": "array", "items": { "type": "string" } },
                    "trust": { "type": "string", "enum": ["high", "medium", "low", "unknown"] },
                    "score": { "type": "number", "description": "Trust in numbers, 0 to 10." },
                    "benchmark": { "type": "number", "description": "Quality, 0 to 100." },
                    "snippets": { "type": "integer" },
                    "stars": { "type": "integer" },
                    "state": { "type": "string" },
                    "updated": { "type": "string" },
                },
                "required": ["id", "title", "versions", "trust"],
                "additionalProperties": false,
            },
        },
        "total": { "type": "integer", "description": "How many the service found." },
        "truncated": { "type": "boolean" },
        "searched": { "type": "string", "description": "The name that was searched for." },
    })
}
