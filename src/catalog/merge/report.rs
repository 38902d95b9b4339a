//! Pure: what the operator should know of a merge, in sentences.

use std::fmt;

use crate::catalog::Kind;
use crate::catalog::item::{Oddity, Owner, Unfit};
use crate::proto::members::shown;

/// Characters of a name or URI of an upstream in a report.
const SHOWN_LEN_MAX: usize = 128;

/// What the operator should know about one entry of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whose it is.
    pub owner: Owner,
    /// Of which list.
    pub kind: Kind,
    /// What its owner knows it by (a name, a URI, a template), fit to be shown; `#7` for the
    /// seventh listed if it has nothing of the kind.
    pub name: String,
    /// What happened.
    pub event: Event,
}

/// What happened to an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A tool or prompt that is not offered: another has its name.
    Collision {
        /// The name both want.
        name: String,
        /// Whose tool or prompt has it.
        winner: Owner,
        /// That owner's own name of it.
        winner_name: String,
    },
    /// A resource or template that is not offered: another owner lists the same before.
    Shadowed {
        /// Who.
        winner: Owner,
    },
    /// Not offered: its owner lists another of the same name, URI or text before it.
    Twice,
    /// Not offered: it cannot be.
    Unfit(Unfit),
    /// This entry and all after it are not offered: its owner has too many.
    TooMany {
        /// How many its owner lists.
        listed: usize,
        /// How many are taken.
        most: usize,
    },
    /// Offered all the same.
    Odd(Oddity),
    /// `rename` or `describe` names a tool that is not listed.
    NotListed,
}

impl Event {
    /// Whether an entry is missing because of it.
    pub fn is_loss(&self) -> bool {
        !matches!(self, Self::Odd(_) | Self::NotListed)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Collision { name, winner, winner_name } => {
                write!(f, "is left out: `{name}` is already `{winner_name}` of {winner}")
            }
            Self::Shadowed { winner } => write!(f, "is left out: it is already listed by {winner}"),
            Self::Twice => f.write_str("is left out: it is listed twice"),
            Self::Unfit(why) => write!(f, "is left out: {why}"),
            Self::TooMany { listed, most } => {
                write!(f, "and all after it are left out: {listed} listed, {most} at most")
            }
            Self::Odd(what) => what.fmt(f),
            Self::NotListed => f.write_str("is configured, but not listed"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}` of {} {}", self.kind.noun(), self.name, self.owner, self.event)
    }
}

/// The reports of a merge as they come.
#[derive(Debug, Default)]
pub(super) struct Reports(Vec<Report>);

impl Reports {
    pub(super) fn add(&mut self, owner: Owner, kind: Kind, name: &str, event: Event) {
        self.0.push(Report { owner, kind, name: short(name), event });
    }

    pub(super) fn into_vec(self) -> Vec<Report> {
        self.0
    }
}

/// A name or URI of an upstream, fit to be shown.
pub(super) fn short(name: &str) -> String {
    shown(name, SHOWN_LEN_MAX)
}
