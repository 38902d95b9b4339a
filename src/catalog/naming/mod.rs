//! Pure: exposed names. `prefix + separator + tool`, made fit for every client: only
//! `[A-Za-z0-9_-]`, at most `name_max` bytes. A name that had to be changed and would then be
//! another's gets a piece of a hash of its whole self, so names depend on nothing but the names:
//! not on order, not on time. The way back is a table, never a split.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::spec::NamingSpec;

/// Hexadecimal digits of the hash, in the order they are tried. More than six are needed only if
/// six are the same for two names.
const HASH_DIGITS: [usize; 4] = [0, 6, 12, 24];

/// A name to be exposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// Of the upstream; empty = the name stays as it is, whatever clients make of it.
    pub prefix: &'a str,
    /// The tool's own name, or what the operator renamed it to.
    pub name: &'a str,
}

/// What became of a wanted name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// It is exposed under this name, which nobody else has.
    Name(String),
    /// The name belongs to the wanted name with this index.
    TakenBy(usize),
}

/// Gives every wanted name its exposed one; where two want the very same, the first gets it.
/// The answers stand in the order of the questions.
pub fn expose(naming: &NamingSpec, wanted: &[Wanted<'_>]) -> Vec<Given> {
    let mut table = Table { taken: HashMap::new(), given: vec![None; wanted.len()] };
    let mut changed = Vec::new();
    let mut owners: HashMap<Cow<'_, str>, usize> = HashMap::with_capacity(wanted.len());
    for (index, wish) in wanted.iter().enumerate() {
        let full = full_name(naming, wish);
        if let Some(first) = owners.get(&full) {
            table.lose(index, *first);
            continue;
        }
        owners.insert(full.clone(), index);
        let plain = sanitized(&full);
        if wish.prefix.is_empty() || (plain == full && plain.len() <= naming.name_max) {
            table.settle(index, full.into_owned());
        } else {
            let level = usize::from(plain.len() > naming.name_max);
            changed.push(Changed { index, level, plain, hash: hash(&full) });
        }
    }
    table.settle_changed(naming.name_max, changed);
    let lost = |(index, given): (usize, Option<Given>)| given.unwrap_or(Given::TakenBy(index));
    table.given.into_iter().enumerate().map(lost).collect()
}

/// Whether a name fits every known client: charset and length.
pub fn fits(naming: &NamingSpec, name: &str) -> bool {
    !name.is_empty() && name.len() <= naming.name_max && name.chars().all(is_allowed)
}

/// A name that cannot stay as it is.
struct Changed {
    index: usize,
    /// The first entry of [`HASH_DIGITS`] that may do.
    level: usize,
    /// Only allowed characters, any length.
    plain: String,
    /// Of the full name as it was.
    hash: String,
}

impl Changed {
    fn candidate(&self, name_max: usize, digits: usize) -> String {
        if digits == 0 {
            return self.plain.clone();
        }
        let room = name_max.saturating_sub(digits + 1);
        let hash: String = self.hash.chars().take(digits.min(name_max)).collect();
        if room == 0 {
            return hash;
        }
        let kept: String = self.plain.chars().take(room).collect();
        format!("{kept}_{hash}")
    }
}

struct Table {
    taken: HashMap<String, usize>,
    given: Vec<Option<Given>>,
}

impl Table {
    fn settle(&mut self, index: usize, name: String) {
        self.taken.insert(name.clone(), index);
        self.give(index, Given::Name(name));
    }

    fn lose(&mut self, index: usize, to: usize) {
        self.give(index, Given::TakenBy(to));
    }

    fn give(&mut self, index: usize, given: Given) {
        if let Some(slot) = self.given.get_mut(index) {
            *slot = Some(given);
        }
    }

    /// Level by level: a candidate that only one wants and nobody has is given; all others go on
    /// to a longer hash. All contenders go on, so that none depends on which came first.
    fn settle_changed(&mut self, name_max: usize, mut changed: Vec<Changed>) {
        for (level, digits) in HASH_DIGITS.into_iter().enumerate() {
            let (ready, later): (Vec<_>, Vec<_>) =
                changed.into_iter().partition(|name| name.level <= level);
            changed = later;
            let mut groups: BTreeMap<String, Vec<Changed>> = BTreeMap::new();
            for name in ready {
                groups.entry(name.candidate(name_max, digits)).or_default().push(name);
            }
            for (candidate, group) in groups {
                match <[Changed; 1]>::try_from(group) {
                    Ok([only]) if !self.taken.contains_key(&candidate) => {
                        self.settle(only.index, candidate);
                    }
                    Ok(only) => changed.extend(only),
                    Err(several) => changed.extend(several),
                }
            }
        }
        self.settle_rest(name_max, changed);
    }

    /// Names that even the longest hash does not keep apart (a tiny `name_max`): the first wins.
    fn settle_rest(&mut self, name_max: usize, mut rest: Vec<Changed>) {
        rest.sort_by_key(|name| name.index);
        let digits = HASH_DIGITS.last().copied().unwrap_or_default();
        for name in rest {
            let candidate = name.candidate(name_max, digits);
            match self.taken.get(&candidate) {
                Some(owner) => self.lose(name.index, *owner),
                None => self.settle(name.index, candidate),
            }
        }
    }
}

/// The name before it is made fit.
pub(super) fn full_name<'a>(naming: &NamingSpec, wish: &Wanted<'a>) -> Cow<'a, str> {
    if wish.prefix.is_empty() {
        return Cow::Borrowed(wish.name);
    }
    Cow::Owned([wish.prefix, &naming.separator, wish.name].concat())
}

fn sanitized(full: &str) -> String {
    full.chars().map(|c| if is_allowed(c) { c } else { '_' }).collect()
}

fn is_allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

/// The SHA-256 of a name in hexadecimal.
fn hash(full: &str) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(full.as_bytes()) {
        // Writing to a `String` cannot fail.
        let _written: Result<(), std::fmt::Error> = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests;
