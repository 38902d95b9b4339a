//! Pure: what is on offer, under which names: tools, prompts, resources, resource templates. Parts
//! that upstreams listed become one [`Catalog`] (`merge`), a table of names that is never split at
//! a separator; its lists are rendered once (`page`) and sent as they are.
//!
//! Not here: walking an upstream's list, caching it, deciding who may call what.

mod digest;
mod filter;
pub mod item;
mod kind;
mod list;
pub mod merge;
pub mod naming;
mod near;
pub mod page;
mod places;
mod prompt;
mod resource;
pub mod skew;
pub mod spec;
mod template;
mod tool;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

pub use digest::Digest;
pub use item::Owner;
pub use kind::{Kind, PerKind};
pub use merge::{Merged, Part, Report, Source, merge};
pub use page::{CacheScope, CursorError, PageSpec, Pages, Scopes};
pub use places::Candidates;
pub use prompt::Prompt;
pub use resource::Resource;
pub use template::Template;
pub use tool::{Hints, Tool};

use list::List;
use places::Places;

/// Everything on offer. Immutable: a change makes a new one.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    tools: Vec<Tool>,
    names: HashMap<Arc<str>, Entry>,
    originals: HashMap<Owner, HashMap<Arc<str>, usize>>,
    prompts: List<Prompt>,
    resources: List<Resource>,
    templates: List<Template>,
    /// Indexes of the templates: the longest literal prefix first.
    ranked: Vec<usize>,
    places: Places,
    transparent: Option<Transparent>,
    digests: PerKind<Digest>,
}

/// What stands behind an exposed name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    /// The tool with this index.
    Tool(usize),
    /// A tool that a filter hides.
    Denied(Owner),
    /// The old name of a renamed tool.
    Renamed,
}

/// The upstream whose names are exposed as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Transparent {
    upstream: usize,
    /// The operator hides something of it.
    filtered: bool,
}

/// What the name of a called tool is.
#[derive(Clone, Copy, Debug)]
pub enum Lookup<'a> {
    /// A tool on offer.
    Tool(&'a Tool),
    /// A name that the operator's filter hides.
    Denied(Owner),
    /// Not listed; the upstream with this index is mounted without prefix and may know it.
    Transparent(usize),
    /// Nobody's.
    Unknown,
}

/// What the name of a wanted prompt is.
#[derive(Clone, Copy, Debug)]
pub enum PromptLookup<'a> {
    /// A prompt on offer.
    Prompt(&'a Prompt),
    /// Not listed; the upstream with this index is mounted without prefix and may know it.
    Transparent(usize),
    /// Nobody's.
    Unknown,
}

impl Catalog {
    /// The tools on offer, in the order of their list.
    pub fn tools(&self) -> &[Tool] {
        &self.tools
    }

    /// The prompts on offer, in the order of their list.
    pub fn prompts(&self) -> &[Prompt] {
        self.prompts.items()
    }

    /// The resources on offer, in the order of their list.
    pub fn resources(&self) -> &[Resource] {
        self.resources.items()
    }

    /// The resource templates on offer, in the order of their list.
    pub fn templates(&self) -> &[Template] {
        self.templates.items()
    }

    /// What the name of a called tool is: one look into the table.
    pub fn lookup(&self, name: &str) -> Lookup<'_> {
        match (self.names.get(name), self.transparent) {
            (Some(Entry::Tool(index)), _) => {
                self.tools.get(*index).map_or(Lookup::Unknown, Lookup::Tool)
            }
            (Some(Entry::Denied(owner)), _) => Lookup::Denied(*owner),
            (None, Some(bare)) if bare.filtered => Lookup::Denied(Owner::Upstream(bare.upstream)),
            (None, Some(bare)) => Lookup::Transparent(bare.upstream),
            (Some(Entry::Renamed), _) | (None, None) => Lookup::Unknown,
        }
    }

    /// The tool that its owner knows by this name.
    pub fn find_original(&self, owner: Owner, original: &str) -> Option<&Tool> {
        let index = self.originals.get(&owner)?.get(original)?;
        self.tools.get(*index)
    }

    /// What the name of a wanted prompt is: one look into the table. What the operator hides or
    /// renames concerns tools only.
    pub fn prompt(&self, name: &str) -> PromptLookup<'_> {
        match (self.prompts.get(name), self.transparent) {
            (Some(prompt), _) => PromptLookup::Prompt(prompt),
            (None, Some(bare)) => PromptLookup::Transparent(bare.upstream),
            (None, None) => PromptLookup::Unknown,
        }
    }

    /// The resource that is listed under this URI.
    pub fn resource(&self, uri: &str) -> Option<&Resource> {
        self.resources.get(uri)
    }

    /// The template of exactly this text.
    pub fn template(&self, text: &str) -> Option<&Template> {
        self.templates.get(text)
    }

    /// Of the templates that an unlisted URI may come from the one with the longest text before its
    /// first expression; of those with equally long ones the first.
    pub fn matching(&self, uri: &str) -> Option<&Template> {
        let mut ranked = self.ranked.iter().filter_map(|index| self.templates().get(*index));
        ranked.find(|template| template.matches(uri))
    }

    /// Upstreams that may know a URI that is not listed, best first, at most
    /// [`spec::CANDIDATES_MAX`]: those that list something with its scheme and authority (the
    /// longest shared beginning first), the one mounted without prefix, then all that list a
    /// resource or template at all.
    pub fn candidates(&self, uri: &str) -> Candidates {
        self.places.candidates(uri, self.transparent.map(|bare| bare.upstream))
    }

    /// Up to `count` exposed names of tools that someone who wrote `name` may have meant, best
    /// first.
    pub fn nearest(&self, name: &str, count: usize) -> Vec<&str> {
        near::nearest(self.tools.iter().map(|tool| (&*tool.name, &*tool.original)), name, count)
    }

    /// As [`Self::nearest`], of prompts.
    pub fn nearest_prompts(&self, name: &str, count: usize) -> Vec<&str> {
        let names = self.prompts().iter().map(|prompt| (&*prompt.name, &*prompt.original));
        near::nearest(names, name, count)
    }

    /// What clients can see of one list, as one number.
    pub fn digest(&self, kind: Kind) -> Digest {
        self.digests[kind]
    }

    // === Building (merge) ===

    /// Adds a tool whose name nobody has.
    fn add_tool(&mut self, tool: Tool) {
        let index = self.tools.len();
        self.names.insert(Arc::clone(&tool.name), Entry::Tool(index));
        let originals = self.originals.entry(tool.owner).or_default();
        originals.insert(Arc::clone(&tool.original), index);
        self.tools.push(tool);
    }

    /// Gives a name that no tool has another meaning.
    fn hide(&mut self, name: &str, entry: Entry) {
        self.names.entry(Arc::from(name)).or_insert(entry);
    }

    fn finish(&mut self, transparent: Option<Transparent>, renamed: &[&str]) {
        for name in renamed {
            self.hide(name, Entry::Renamed);
        }
        self.transparent = transparent;
        self.places.finish();
        let prefix = |index: &usize| self.templates().get(*index).map(|t| t.prefix().len());
        let mut ranked: Vec<usize> = (0..self.templates().len()).collect();
        ranked.sort_by_key(|index| Reverse(prefix(index)));
        self.ranked = ranked;
        self.digests = PerKind {
            tools: Digest::of(&self.tools),
            prompts: Digest::of(self.prompts()),
            resources: Digest::of(self.resources()),
            templates: Digest::of(self.templates()),
        };
    }
}

#[cfg(test)]
mod tests;
