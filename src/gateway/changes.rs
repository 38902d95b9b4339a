//! Pure: how often each list has changed, for each kind of clients: what fronts compare to know
//! whether to tell their clients.

use std::collections::HashMap;

use crate::catalog::{Digest, Kind, PerKind};
use crate::proto::{Abilities, Lists};

use super::snapshot::{Snapshot, View};

/// How often lists have changed. The numbers only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    tools: u64,
    prompts: u64,
    resources: u64,
}

impl Counts {
    /// The lists that have changed since.
    pub fn since(self, before: Self) -> Lists {
        Lists {
            tools: self.tools != before.tools,
            prompts: self.prompts != before.prompts,
            resources: self.resources != before.resources,
        }
    }

    fn count(&mut self, changed: Lists) {
        self.tools += u64::from(changed.tools);
        self.prompts += u64::from(changed.prompts);
        self.resources += u64::from(changed.resources);
    }
}

/// What was seen last of one view, and how often it has changed.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    digests: PerKind<Digest>,
    counts: Counts,
}

/// The counts of every view.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    everybody: Seen,
    able: HashMap<Abilities, Seen>,
}

impl Changes {
    /// The counts of the view that clients of these abilities see.
    pub fn of(&self, abilities: Abilities) -> Counts {
        self.able.get(&abilities).map_or(self.everybody.counts, |seen| seen.counts)
    }

    /// Takes in a new snapshot. Answers whether any list of any view has changed.
    pub fn note(&mut self, snapshot: &Snapshot) -> bool {
        let before = self.everybody;
        let mut changed = step(&mut self.everybody, &snapshot.view);
        // Who had no view of its own until now saw the one for everybody.
        let seen = |abilities: &Abilities| self.able.get(abilities).copied().unwrap_or(before);
        let mut able = HashMap::with_capacity(snapshot.views.len());
        for (abilities, view) in &snapshot.views {
            let mut seen = seen(abilities);
            changed |= step(&mut seen, view);
            able.insert(*abilities, seen);
        }
        self.able = able;
        changed
    }
}

fn step(seen: &mut Seen, view: &View) -> bool {
    let digests = PerKind::from_fn(|kind| view.catalog.digest(kind));
    let differs = |kind: Kind| digests[kind] != seen.digests[kind];
    let lists = Lists {
        tools: differs(Kind::Tools),
        prompts: differs(Kind::Prompts),
        resources: differs(Kind::Resources) || differs(Kind::Templates),
    };
    seen.digests = digests;
    seen.counts.count(lists);
    !lists.is_empty()
}
