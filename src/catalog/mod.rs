//! Pure: what is on offer, under which names. Parts that upstreams listed become one [`Catalog`]
//! (`merge`), a table of names that is never split at a separator; its lists are rendered once
//! (`page`) and sent as they are.
//!
//! Not here: walking an upstream's list, caching it, deciding who may call what.

mod digest;
mod filter;
pub mod item;
pub mod merge;
pub mod naming;
mod near;
pub mod page;
pub mod spec;

use std::collections::HashMap;
use std::sync::Arc;

pub use digest::Digest;
pub use item::{Hints, Owner, Tool};
pub use merge::{Merged, Part, Report, Source, merge};
pub use page::{CacheScope, CursorError, PageSpec, Pages};

/// Everything on offer. Immutable: a change makes a new one.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    tools: Vec<Tool>,
    names: HashMap<Arc<str>, Entry>,
    originals: HashMap<Owner, HashMap<Arc<str>, usize>>,
    transparent: Option<Transparent>,
    digest: Digest,
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

/// What a called name is.
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

impl Catalog {
    /// Everything on offer, in the order of the lists.
    pub fn tools(&self) -> &[Tool] {
        &self.tools
    }

    /// What a called name is: one look into the table.
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

    /// Up to `count` exposed names that someone who wrote `name` may have meant, best first.
    pub fn nearest(&self, name: &str, count: usize) -> Vec<&str> {
        near::nearest(&self.tools, name, count)
    }

    /// What clients can see of it, as one number.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    // === Building (merge) ===

    /// Adds a tool whose name nobody has.
    fn add(&mut self, tool: Tool) {
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
        self.digest = Digest::of(&self.tools);
    }
}

#[cfg(test)]
mod tests;
