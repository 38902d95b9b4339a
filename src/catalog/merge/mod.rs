//! Pure: what everybody lists → one catalog. The order is fixed: what is built in, then upstreams
//! as the configuration file has them, then each one's own order; where two want one name or URI
//! the first gets it. The order in which listings arrived makes no difference.

mod names;
mod prompts;
mod report;
mod resources;
mod tools;
mod walk;

use bytes::Bytes;

pub use self::report::{Event, Report};

use self::report::Reports;
use super::item::Owner;
use super::spec::{NamingSpec, OfferSpec};
use super::{Catalog, Kind, Transparent, filter};
use crate::proto::era::Era;

/// What one owner lists: the objects of each list in its order, as it wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The era it listed in.
    pub era: Era,
    /// Of `tools/list`.
    pub tools: Vec<Bytes>,
    /// Of `prompts/list`.
    pub prompts: Vec<Bytes>,
    /// Of `resources/list`.
    pub resources: Vec<Bytes>,
    /// Of `resources/templates/list`.
    pub templates: Vec<Bytes>,
}

impl Default for Part {
    /// Nothing, of a modern owner.
    fn default() -> Self {
        Self {
            era: Era::Modern,
            tools: Vec::new(),
            prompts: Vec::new(),
            resources: Vec::new(),
            templates: Vec::new(),
        }
    }
}

impl Part {
    /// One of the lists.
    pub fn list(&self, kind: Kind) -> &[Bytes] {
        match kind {
            Kind::Tools => &self.tools,
            Kind::Prompts => &self.prompts,
            Kind::Resources => &self.resources,
            Kind::Templates => &self.templates,
        }
    }

    /// One of the lists, to be filled.
    pub fn list_mut(&mut self, kind: Kind) -> &mut Vec<Bytes> {
        match kind {
            Kind::Tools => &mut self.tools,
            Kind::Prompts => &mut self.prompts,
            Kind::Resources => &mut self.resources,
            Kind::Templates => &mut self.templates,
        }
    }
}

/// One who may have something to list: what is built in, or a configured upstream.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Who; each stands once.
    pub owner: Owner,
    /// What of it is offered, under which names.
    pub offer: &'a OfferSpec,
    /// What it lists; `None` while nothing is known of it.
    pub part: Option<&'a Part>,
}

/// A catalog, and what went wrong on the way.
#[derive(Clone, Debug)]
pub struct Merged {
    /// What is on offer.
    pub catalog: Catalog,
    /// What the operator should know, list by list in the order of [`Kind::ALL`].
    pub reports: Vec<Report>,
}

/// One catalog out of what everybody lists.
pub fn merge(naming: &NamingSpec, sources: &[Source<'_>]) -> Merged {
    let mut sources: Vec<&Source<'_>> = sources.iter().collect();
    sources.sort_by_key(|source| source.owner);
    let (mut catalog, mut reports) = (Catalog::default(), Reports::default());
    tools::merge(&mut catalog, naming, &sources, &mut reports);
    prompts::merge(&mut catalog, naming, &sources, &mut reports);
    resources::merge(&mut catalog, &sources, &mut reports);
    resources::merge_templates(&mut catalog, &sources, &mut reports);
    resources::note(&mut catalog, &sources);
    catalog.finish(transparent(&sources), &hidden_names(&sources));
    Merged { catalog, reports: reports.into_vec() }
}

/// The one upstream without prefix. Two are a configuration error; then neither is.
fn transparent(sources: &[&Source<'_>]) -> Option<Transparent> {
    let mut found = sources.iter().filter_map(|source| match source.owner {
        Owner::Upstream(index) if source.offer.prefix.is_empty() => Some((index, source.offer)),
        _ => None,
    });
    let (upstream, offer) = found.next()?;
    let filtered = filter::hides(offer);
    found.next().is_none().then_some(Transparent { upstream, filtered })
}

/// Old names of renamed tools that would otherwise reach the transparent upstream unlisted.
fn hidden_names<'a>(sources: &[&Source<'a>]) -> Vec<&'a str> {
    let bare = sources.iter().filter(|source| source.offer.prefix.is_empty());
    bare.flat_map(|source| source.offer.rename.keys()).map(String::as_str).collect()
}

#[cfg(test)]
mod tests;
