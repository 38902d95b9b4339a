//! Pure: the JSON of Context7's API, version 2. Every field that the service may leave out, or may
//! send as `null`, is optional here.

use serde::{Deserialize, Serialize};

/// The answer to a search.
#[derive(Debug, Deserialize)]
pub(super) struct Search {
    pub(super) results: Option<Vec<Library>>,
}

/// One library.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Library {
    /// `/owner/repo`
    pub(super) id: String,
    pub(super) title: String,
    pub(super) description: Option<String>,
    /// finalized, initial, processing, error, delete
    pub(super) state: Option<String>,
    pub(super) last_update_date: Option<String>,
    /// -1 = unknown
    pub(super) total_snippets: Option<i64>,
    /// -1 = unknown
    pub(super) stars: Option<i64>,
    pub(super) trust_score: Option<f64>,
    pub(super) benchmark_score: Option<f64>,
    pub(super) versions: Option<Vec<String>>,
}

/// The documentation of one library.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Context {
    pub(super) code_snippets: Option<Vec<CodeSnippet>>,
    pub(super) info_snippets: Option<Vec<InfoSnippet>>,
    pub(super) rules: Option<Rules>,
}

/// A piece of code with its explanation.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CodeSnippet {
    pub(super) code_title: Option<String>,
    pub(super) code_description: Option<String>,
    pub(super) code_language: Option<String>,
    pub(super) code_tokens: Option<u64>,
    /// Where it comes from: an address with an anchor.
    pub(super) code_id: Option<String>,
    pub(super) page_title: Option<String>,
    pub(super) code_list: Option<Vec<Code>>,
}

/// The code itself.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Code {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) language: Option<String>,
    pub(super) code: String,
}

/// A piece of prose.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InfoSnippet {
    pub(super) page_id: Option<String>,
    pub(super) breadcrumb: Option<String>,
    pub(super) content: String,
    pub(super) content_tokens: Option<u64>,
}

/// What the library's owners want every reader to know.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Rules {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) global: Option<Vec<String>>,
    #[serde(rename = "libraryOwn", skip_serializing_if = "Option::is_none")]
    pub(super) library_own: Option<Vec<String>>,
    #[serde(rename = "libraryTeam", skip_serializing_if = "Option::is_none")]
    pub(super) library_team: Option<Vec<String>>,
}

impl Rules {
    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        let lists = [&self.global, &self.library_own, &self.library_team];
        lists.into_iter().flatten().flatten().map(String::as_str)
    }
}

/// The body of everything that is not a success.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Refusal {
    /// A word such as `library_not_found`.
    pub(super) error: Option<String>,
    pub(super) message: Option<String>,
    /// With 301: the library's new id, not an address.
    pub(super) redirect_url: Option<String>,
}
