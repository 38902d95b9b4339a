//! What an upstream may offer, under which names, and how much of it.

use indexmap::IndexMap;

/// How exposed names are made: `prefix + separator + tool`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamingSpec {
    /// Between prefix and tool name.
    pub separator: String,
    /// Longest exposed name in bytes; longer ones are cut and get a stable hash.
    pub name_max: usize,
}

/// Longest exposed name, unless configured: fits every known client with its own prefix.
pub const NAME_MAX: usize = 48;

impl Default for NamingSpec {
    fn default() -> Self {
        Self { separator: "__".to_owned(), name_max: NAME_MAX }
    }
}

/// What of one upstream is offered, and how it is described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferSpec {
    /// Before every name; empty = the upstream is transparent.
    pub prefix: String,
    /// Patterns (`*`, `?`) over the upstream's own tool names; a tool must match one of them.
    pub include: Vec<String>,
    /// Patterns over the upstream's own tool names; a tool that matches one is refused.
    pub exclude: Vec<String>,
    /// The upstream's own name → the name to use instead of it (the prefix still applies).
    pub rename: IndexMap<String, String>,
    /// The upstream's own name → the description to show.
    pub describe: IndexMap<String, String>,
}

impl OfferSpec {
    /// Everything of an upstream, under `prefix`.
    pub fn all(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            include: vec!["*".to_owned()],
            exclude: Vec::new(),
            rename: IndexMap::new(),
            describe: IndexMap::new(),
        }
    }
}

/// Tools of one upstream that are offered; what it lists beyond them is left out and reported.
pub const TOOLS_LEN_MAX: usize = 1_000;
/// Prompts of one upstream that are offered.
pub const PROMPTS_LEN_MAX: usize = 1_000;
/// Resources of one upstream that are offered; some list every file they have.
pub const RESOURCES_LEN_MAX: usize = 5_000;
/// Resource templates of one upstream that are offered: an unlisted URI is held against all.
pub const TEMPLATES_LEN_MAX: usize = 500;
/// Entries of one list of an upstream that are looked at, tools that a filter hides included.
pub const LISTED_LEN_MAX: usize = 10_000;
/// Longest name of a tool or prompt of an upstream in bytes.
pub const ORIGINAL_BYTES_MAX: usize = 1_024;
/// Longest URI of a resource, and text of a template, in bytes; a longer URI is matched by none.
pub const URI_BYTES_MAX: usize = 8 * 1024;
/// Variables of a template that is matched whole; one with more stands for all that begins alike.
pub const TEMPLATE_VARIABLES_MAX: usize = 32;
/// Upstreams that are named for one unlisted URI: each may be asked in turn.
pub const CANDIDATES_MAX: usize = 8;
/// Longest description in bytes; a longer one is shown, and reported.
pub const DESCRIPTION_BYTES_MAX: usize = 8 * 1024;
/// Largest schema of a tool in bytes.
pub const SCHEMA_BYTES_MAX: usize = 64 * 1024;
/// Deepest nesting of a schema.
pub const SCHEMA_DEPTH_MAX: usize = 32;
/// Largest definition of anything listed in bytes, all its members together: icons may be in it.
pub const DEFINITION_BYTES_MAX: usize = 256 * 1024;
/// Deepest nesting of a definition: as deep as a request may be.
pub const DEFINITION_DEPTH_MAX: usize = 64;
/// Entries on one page of a list.
pub const PAGE_LEN_MAX: usize = 1_000;
/// Largest page of a list in bytes.
pub const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
