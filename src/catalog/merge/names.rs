//! Pure: tools and prompts get their exposed names, each kind in a name space of its own.

use super::report::{Event, Reports, short};
use crate::catalog::Kind;
use crate::catalog::item::Owner;
use crate::catalog::naming::{self, Given, Wanted};
use crate::catalog::spec::NamingSpec;

/// Where a tool or prompt is at home.
#[derive(Clone)]
pub(super) struct Place<'a> {
    pub(super) owner: Owner,
    pub(super) prefix: &'a str,
    pub(super) original: String,
    /// What the operator calls it.
    pub(super) renamed: Option<&'a str>,
}

impl Place<'_> {
    fn wanted(&self) -> Wanted<'_> {
        Wanted { prefix: self.prefix, name: self.renamed.unwrap_or(&self.original) }
    }
}

/// What became of each place.
pub(super) fn give(naming: &NamingSpec, places: &[Place<'_>]) -> Vec<Given> {
    let wishes: Vec<Wanted<'_>> = places.iter().map(Place::wanted).collect();
    naming::expose(naming, &wishes)
}

/// Reports that the place got no name, because the winner has it.
pub(super) fn lose(
    naming: &NamingSpec,
    reports: &mut Reports,
    kind: Kind,
    loser: &Place<'_>,
    winner: Option<&Place<'_>>,
) {
    // The winner is always known; who lost to nobody would have lost to itself.
    let winner = winner.unwrap_or(loser);
    let event = Event::Collision {
        name: short(&naming::full_name(naming, &loser.wanted())),
        winner: winner.owner,
        winner_name: short(&winner.original),
    };
    reports.add(loser.owner, kind, &loser.original, event);
}
