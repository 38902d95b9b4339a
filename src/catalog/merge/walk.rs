//! Pure: one list of one owner, entry by entry: what is taken of it, within which bounds, and what
//! is reported.

use std::collections::HashSet;

use super::Source;
use super::report::{Event, Reports};
use crate::catalog::Kind;
use crate::catalog::item::{Draft, Unfit};
use crate::catalog::spec::{
    LISTED_LEN_MAX, PROMPTS_LEN_MAX, RESOURCES_LEN_MAX, TEMPLATES_LEN_MAX, TOOLS_LEN_MAX,
};

/// What was found in a list.
pub(super) struct Walked<T> {
    /// What passed all checks, in order.
    pub(super) taken: Vec<T>,
    /// Keys of what is not offered.
    pub(super) hidden: Vec<String>,
    /// Keys of both.
    pub(super) keys: HashSet<String>,
    /// There was too much, and the rest was not looked at.
    pub(super) cut: bool,
}

/// Entries of one list of one owner that are offered.
fn len_max(kind: Kind) -> usize {
    match kind {
        Kind::Tools => TOOLS_LEN_MAX,
        Kind::Prompts => PROMPTS_LEN_MAX,
        Kind::Resources => RESOURCES_LEN_MAX,
        Kind::Templates => TEMPLATES_LEN_MAX,
    }
}

/// Walks the list of a source. `offers` says by the key whether the operator wants the entry, and
/// `take` whether it is fit. Of two fit entries with one key the first is taken.
pub(super) fn walk<'a, T>(
    source: &Source<'a>,
    kind: Kind,
    reports: &mut Reports,
    offers: impl Fn(&str) -> bool,
    mut take: impl FnMut(Draft<'a>) -> Result<T, Unfit>,
) -> Walked<T> {
    let (owner, list) = (source.owner, source.part.map_or(&[][..], |part| part.list(kind)));
    let mut walked =
        Walked { taken: Vec::new(), hidden: Vec::new(), keys: HashSet::new(), cut: false };
    for (index, definition) in list.iter().enumerate() {
        let number = || format!("#{}", index + 1);
        let too_many = |most| Event::TooMany { listed: list.len(), most };
        if index >= LISTED_LEN_MAX {
            reports.add(owner, kind, &number(), too_many(LISTED_LEN_MAX));
            walked.cut = true;
            return walked;
        }
        let draft = match Draft::open(kind, definition) {
            Ok(draft) => draft,
            Err(why) => {
                reports.add(owner, kind, &number(), Event::Unfit(why));
                continue;
            }
        };
        if !offers(&draft.key) {
            if walked.keys.insert(draft.key.clone()) {
                walked.hidden.push(draft.key);
            }
            continue;
        }
        if walked.taken.len() >= len_max(kind) {
            reports.add(owner, kind, &number(), too_many(len_max(kind)));
            walked.cut = true;
            return walked;
        }
        let key = draft.key.clone();
        if walked.keys.contains(&key) {
            reports.add(owner, kind, &key, Event::Twice);
            continue;
        }
        match take(draft) {
            Ok(item) => {
                walked.taken.push(item);
                walked.keys.insert(key);
            }
            Err(why) => reports.add(owner, kind, &key, Event::Unfit(why)),
        }
    }
    walked
}
