//! Pure: what everybody lists → one catalog. The order is fixed: built-in tools, then upstreams as
//! the configuration file has them, then each one's own order; where two want one name the first
//! gets it. The order in which listings arrived makes no difference.

use std::collections::HashSet;
use std::fmt;

use bytes::Bytes;

use super::item::{Checked, Draft, Oddity, Owner, Tool, Unfit};
use super::naming::{self, Given, Wanted};
use super::spec::{LISTED_LEN_MAX, NamingSpec, OfferSpec, TOOLS_LEN_MAX};
use super::{Catalog, Entry, Transparent, filter};
use crate::proto::era::Era;
use crate::proto::members::shown;

/// What one owner lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The era it listed in.
    pub era: Era,
    /// The tool objects in its order, as it wrote them.
    pub tools: Vec<Bytes>,
}

/// One who may have tools: the built-in ones, or a configured upstream.
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
    /// What the operator should know, owner by owner.
    pub reports: Vec<Report>,
}

/// What the operator should know about one tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whose tool it is.
    pub owner: Owner,
    /// The owner's own name of it, fit to be shown; `#7` for the seventh listed without a name.
    pub tool: String,
    /// What happened.
    pub event: Event,
}

/// What happened to a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Not offered: another has its name.
    Collision {
        /// The name both want.
        name: String,
        /// Whose tool has it.
        winner: Owner,
        /// That owner's own name of it.
        winner_tool: String,
    },
    /// Not offered: its owner lists another tool of this name before it.
    Twice,
    /// Not offered: it cannot be.
    Unfit(Unfit),
    /// This tool and all after it are not offered: its owner has too many.
    TooMany {
        /// How many its owner lists.
        listed: usize,
    },
    /// Offered all the same.
    Odd(Oddity),
    /// `rename` or `describe` names a tool that is not listed.
    NotListed,
}

impl Event {
    /// Whether a tool is missing because of it.
    pub fn is_loss(&self) -> bool {
        !matches!(self, Self::Odd(_) | Self::NotListed)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Collision { name, winner, winner_tool } => {
                write!(f, "is left out: `{name}` is already `{winner_tool}` of {winner}")
            }
            Self::Twice => f.write_str("is left out: it is listed twice"),
            Self::Unfit(why) => write!(f, "is left out: {why}"),
            Self::TooMany { listed } => {
                write!(f, "and all after it are left out: {listed} tools, {TOOLS_LEN_MAX} at most")
            }
            Self::Odd(what) => what.fmt(f),
            Self::NotListed => f.write_str("is configured, but not listed"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tool `{}` of {} {}", self.tool, self.owner, self.event)
    }
}

/// One catalog out of what everybody lists.
pub fn merge(naming: &NamingSpec, sources: &[Source<'_>]) -> Merged {
    let mut sources: Vec<&Source<'_>> = sources.iter().collect();
    sources.sort_by_key(|source| source.owner);
    let mut merger = Merger::default();
    for source in &sources {
        merger.gather(source);
    }
    let mut catalog = merger.name(naming);
    catalog.finish(transparent(&sources), &hidden_names(&sources));
    Merged { catalog, reports: merger.reports }
}

/// A tool that passed all checks.
struct Offered<'a> {
    checked: Checked<'a>,
    owner: Owner,
    offer: &'a OfferSpec,
}

impl<'a> Offered<'a> {
    fn place(&self) -> Place<'a> {
        let original = self.checked.original().to_owned();
        Place { owner: self.owner, offer: self.offer, original }
    }
}

/// Where a tool is at home. All that is known of one that the operator hides.
#[derive(Clone)]
struct Place<'a> {
    owner: Owner,
    offer: &'a OfferSpec,
    original: String,
}

impl Place<'_> {
    fn wanted(&self) -> Wanted<'_> {
        let renamed = self.offer.rename.get(&self.original);
        let name = renamed.unwrap_or(&self.original);
        Wanted { prefix: &self.offer.prefix, name }
    }
}

#[derive(Default)]
struct Merger<'a> {
    offered: Vec<Offered<'a>>,
    denied: Vec<Place<'a>>,
    reports: Vec<Report>,
}

impl<'a> Merger<'a> {
    fn report(&mut self, owner: Owner, tool: &str, event: Event) {
        self.reports.push(Report { owner, tool: shown(tool, 128), event });
    }

    /// Takes over what one source lists.
    fn gather(&mut self, source: &Source<'a>) {
        let Some(part) = source.part else { return };
        let mut names = HashSet::new();
        let mut room = TOOLS_LEN_MAX;
        for (index, definition) in part.tools.iter().enumerate() {
            let draft = match Draft::open(definition) {
                _ if index >= LISTED_LEN_MAX => return self.too_many(source, index, part),
                Ok(draft) => draft,
                Err(why) => {
                    self.report(source.owner, &format!("#{}", index + 1), Event::Unfit(why));
                    continue;
                }
            };
            let original = draft.name.clone();
            if !filter::offers(source.offer, &original) {
                if names.insert(original.clone()) {
                    let (owner, offer) = (source.owner, source.offer);
                    self.denied.push(Place { owner, offer, original });
                }
                continue;
            }
            if room == 0 {
                return self.too_many(source, index, part);
            }
            if names.contains(&original) {
                self.report(source.owner, &original, Event::Twice);
            } else if self.offer(source, draft, part.era) {
                room -= 1;
                names.insert(original);
            }
        }
        for key in source.offer.rename.keys().chain(source.offer.describe.keys()) {
            if !names.contains(key) {
                self.report(source.owner, key, Event::NotListed);
            }
        }
    }

    /// Takes a tool if it can be offered.
    fn offer(&mut self, source: &Source<'a>, draft: Draft<'a>, era: Era) -> bool {
        let original = draft.name.clone();
        match draft.check(era) {
            Ok(checked) => {
                self.offered.push(Offered { checked, owner: source.owner, offer: source.offer });
                true
            }
            Err(why) => {
                self.report(source.owner, &original, Event::Unfit(why));
                false
            }
        }
    }

    fn too_many(&mut self, source: &Source<'a>, index: usize, part: &Part) {
        let event = Event::TooMany { listed: part.tools.len() };
        self.report(source.owner, &format!("#{}", index + 1), event);
    }

    /// Gives names and renders. Hidden tools take part after all others: hiding one renames none.
    fn name(&mut self, naming: &NamingSpec) -> Catalog {
        let offered = std::mem::take(&mut self.offered);
        let denied = std::mem::take(&mut self.denied);
        let places: Vec<Place<'a>> =
            (offered.iter().map(Offered::place)).chain(denied.iter().cloned()).collect();
        let wishes: Vec<Wanted<'_>> = places.iter().map(Place::wanted).collect();
        let given = naming::expose(naming, &wishes);
        let mut given = given.into_iter();
        let mut catalog = Catalog::default();
        for (tool, given) in offered.into_iter().zip(given.by_ref()) {
            match given {
                Given::Name(name) => catalog.add(self.build(naming, tool, &name)),
                Given::TakenBy(index) => self.lose(naming, &tool.place(), places.get(index)),
            }
        }
        for (tool, given) in denied.into_iter().zip(given) {
            if let Given::Name(name) = given {
                catalog.hide(&name, Entry::Denied(tool.owner));
            }
        }
        catalog
    }

    fn build(&mut self, naming: &NamingSpec, tool: Offered<'a>, name: &str) -> Tool {
        let original = tool.checked.original().to_owned();
        let describe = tool.offer.describe.get(&original).map(String::as_str);
        let mut oddities = tool.checked.oddities(describe);
        if !naming::fits(naming, name) {
            oddities.push(Oddity::Name);
        }
        for oddity in oddities {
            self.report(tool.owner, &original, Event::Odd(oddity));
        }
        tool.checked.into_tool(tool.owner, name, describe)
    }

    fn lose(&mut self, naming: &NamingSpec, loser: &Place<'a>, winner: Option<&Place<'a>>) {
        // The winner is always known; a tool that lost to nobody would have lost to itself.
        let winner = winner.unwrap_or(loser);
        let event = Event::Collision {
            name: shown(&naming::full_name(naming, &loser.wanted()), 128),
            winner: winner.owner,
            winner_tool: shown(&winner.original, 128),
        };
        self.report(loser.owner, &loser.original, event);
    }
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
