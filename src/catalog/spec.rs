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
/// Tools of one upstream that are looked at, those that a filter hides included.
pub const LISTED_LEN_MAX: usize = 10_000;
/// Longest tool name of an upstream in bytes.
pub const ORIGINAL_BYTES_MAX: usize = 1_024;
/// Longest description in bytes; a longer one is shown, and reported.
pub const DESCRIPTION_BYTES_MAX: usize = 8 * 1024;
/// Largest schema of a tool in bytes.
pub const SCHEMA_BYTES_MAX: usize = 64 * 1024;
/// Deepest nesting of a schema.
pub const SCHEMA_DEPTH_MAX: usize = 32;
/// Largest definition of a tool in bytes, all its members together.
pub const DEFINITION_BYTES_MAX: usize = 256 * 1024;
/// Deepest nesting of a definition: as deep as a request may be.
pub const DEFINITION_DEPTH_MAX: usize = 64;
/// Tools on one page of a list.
pub const PAGE_LEN_MAX: usize = 1_000;
/// Largest page of a list in bytes.
pub const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
