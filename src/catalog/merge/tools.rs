//! Pure: the tools of a merge: filters, renames, descriptions of the operator.

use super::names::{self, Place};
use super::report::{Event, Reports};
use super::walk::walk;
use super::{Source, filter};
use crate::catalog::item::{Oddity, Owner};
use crate::catalog::naming::{self, Given};
use crate::catalog::spec::{NamingSpec, OfferSpec};
use crate::catalog::tool::{Checked, Tool};
use crate::catalog::{Catalog, Entry, Kind};

/// A tool that passed all checks.
struct Offered<'a> {
    checked: Checked<'a>,
    owner: Owner,
    offer: &'a OfferSpec,
}

impl<'a> Offered<'a> {
    fn place(&self) -> Place<'a> {
        place(self.owner, self.offer, self.checked.original().to_owned())
    }
}

fn place(owner: Owner, offer: &OfferSpec, original: String) -> Place<'_> {
    let renamed = offer.rename.get(&original).map(String::as_str);
    Place { owner, prefix: &offer.prefix, original, renamed }
}

/// Takes over the tools of all sources.
pub(super) fn merge(
    catalog: &mut Catalog,
    naming: &NamingSpec,
    sources: &[&Source<'_>],
    reports: &mut Reports,
) {
    let (mut offered, mut hidden) = (Vec::new(), Vec::new());
    for source in sources {
        gather(source, reports, &mut offered, &mut hidden);
    }
    expose(catalog, naming, offered, hidden, reports);
}

/// Takes over what one source lists.
fn gather<'a>(
    source: &Source<'a>,
    reports: &mut Reports,
    offered: &mut Vec<Offered<'a>>,
    hidden: &mut Vec<Place<'a>>,
) {
    let (owner, offer) = (source.owner, source.offer);
    let Some(part) = source.part else { return };
    let offers = |name: &str| filter::offers(offer, name);
    let walked = walk(source, Kind::Tools, reports, offers, |draft| Checked::new(draft, part.era));
    let taken = walked.taken.into_iter();
    offered.extend(taken.map(|checked| Offered { checked, owner, offer }));
    hidden.extend(walked.hidden.into_iter().map(|original| place(owner, offer, original)));
    if walked.cut {
        return;
    }
    for key in offer.rename.keys().chain(offer.describe.keys()) {
        if !walked.keys.contains(key) {
            reports.add(owner, Kind::Tools, key, Event::NotListed);
        }
    }
}

/// Gives names and renders. Hidden tools take part after all others: hiding one renames none.
fn expose<'a>(
    catalog: &mut Catalog,
    naming: &NamingSpec,
    offered: Vec<Offered<'a>>,
    hidden: Vec<Place<'a>>,
    reports: &mut Reports,
) {
    let places: Vec<Place<'a>> =
        (offered.iter().map(Offered::place)).chain(hidden.iter().cloned()).collect();
    let mut given = names::give(naming, &places).into_iter();
    for (tool, given) in offered.into_iter().zip(given.by_ref()) {
        match given {
            Given::Name(name) => catalog.add_tool(build(naming, tool, &name, reports)),
            Given::TakenBy(index) => {
                names::lose(naming, reports, Kind::Tools, &tool.place(), places.get(index));
            }
        }
    }
    for (tool, given) in hidden.into_iter().zip(given) {
        if let Given::Name(name) = given {
            catalog.hide(&name, Entry::Denied(tool.owner));
        }
    }
}

fn build(naming: &NamingSpec, tool: Offered<'_>, name: &str, reports: &mut Reports) -> Tool {
    let original = tool.checked.original().to_owned();
    let describe = tool.offer.describe.get(&original).map(String::as_str);
    let mut oddities = tool.checked.oddities(describe);
    if !naming::fits(naming, name) {
        oddities.push(Oddity::Name);
    }
    for oddity in oddities {
        reports.add(tool.owner, Kind::Tools, &original, Event::Odd(oddity));
    }
    tool.checked.into_tool(tool.owner, name, describe)
}
