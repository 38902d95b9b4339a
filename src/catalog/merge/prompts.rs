//! Pure: the prompts of a merge. The operator's settings for tools do not concern them, but the
//! prefix does.

use super::Source;
use super::names::{self, Place};
use super::report::{Event, Reports};
use super::walk::walk;
use crate::catalog::item::{Item, Oddity};
use crate::catalog::naming::{self, Given};
use crate::catalog::prompt::Prompt;
use crate::catalog::spec::NamingSpec;
use crate::catalog::{Catalog, Kind};

/// Takes over the prompts of all sources.
pub(super) fn merge(
    catalog: &mut Catalog,
    naming: &NamingSpec,
    sources: &[&Source<'_>],
    reports: &mut Reports,
) {
    let (mut drafts, mut places) = (Vec::new(), Vec::new());
    for source in sources {
        let (owner, prefix) = (source.owner, source.offer.prefix.as_str());
        for draft in walk(source, Kind::Prompts, reports, |_| true, Ok).taken {
            places.push(Place { owner, prefix, original: draft.key.clone(), renamed: None });
            drafts.push(draft);
        }
    }
    let given = names::give(naming, &places);
    for ((draft, place), given) in drafts.iter().zip(&places).zip(given) {
        let name = match given {
            Given::Name(name) => name,
            Given::TakenBy(index) => {
                names::lose(naming, reports, Kind::Prompts, place, places.get(index));
                continue;
            }
        };
        let prompt = Prompt::new(draft, place.owner, &name);
        let odd_name = (!naming::fits(naming, &name)).then_some(Oddity::Name);
        for oddity in prompt.oddity().into_iter().chain(odd_name) {
            reports.add(place.owner, Kind::Prompts, &place.original, Event::Odd(oddity));
        }
        // No name is given twice.
        let added = catalog.prompts.add(prompt);
        debug_assert!(added.is_ok(), "an exposed name was given twice");
    }
}
