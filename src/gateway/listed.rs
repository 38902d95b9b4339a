//! Pure: what a replica listed last, and how long clients may keep lists that are merged from it
//! (2026-07-28, server/utilities/caching).

use std::time::Instant;

use crate::catalog::{Kind, Part, PerKind};
use crate::proto::{Era, Offers};
use crate::upstream::listing::{List, Listing};
use crate::upstream::report::Happening;

use super::director::GRACE;
use super::snapshot::{Keep, LIST_TTL, SILENT_TTL};

/// What one replica listed last.
#[derive(Debug, Default)]
pub struct Listed {
    /// What it listed; `None` until it has.
    pub known: Option<Known>,
    /// Since when it is down.
    pub gone: Option<Instant>,
    /// It was up or down at least once.
    pub tried: bool,
}

impl Listed {
    /// Takes in what happened to the replica. Answers its era, if it has listed.
    pub fn take(&mut self, what: Happening, now: Instant) -> Option<Era> {
        self.tried = true;
        match what {
            Happening::Listed { era, offers, listing } => {
                self.known = Some(Known::new(era, offers, listing, now));
                self.gone = None;
                Some(era)
            }
            Happening::Down(_) => {
                self.gone.get_or_insert(now);
                None
            }
        }
    }

    /// Whether what it listed still counts: it is here, or was a short time ago.
    pub fn counts(&self, now: Instant) -> bool {
        let away = self.gone.map(|gone| now.saturating_duration_since(gone));
        self.known.is_some() && away.is_none_or(|away| away <= GRACE)
    }

    /// Whether it is up and has listed.
    pub fn is_here(&self) -> bool {
        self.known.is_some() && self.gone.is_none()
    }
}

/// What is known of a replica.
#[derive(Debug)]
pub struct Known {
    /// What it offers.
    pub part: Part,
    /// What it can do.
    pub offers: Offers,
    /// How long its lists may be kept.
    pub keep: PerKind<Keep>,
}

impl Known {
    /// What a replica of this era listed now.
    pub fn new(era: Era, offers: Offers, listing: Listing, now: Instant) -> Self {
        let keep = PerKind::from_fn(|kind| keep(era, &offers, of(&listing, kind), kind, now));
        let Listing { tools, prompts, resources, templates } = listing;
        let part = Part {
            era,
            tools: tools.items,
            prompts: prompts.items,
            resources: resources.items,
            templates: templates.items,
        };
        Self { part, offers, keep }
    }
}

fn of(listing: &Listing, kind: Kind) -> &List {
    match kind {
        Kind::Tools => &listing.tools,
        Kind::Prompts => &listing.prompts,
        Kind::Resources => &listing.resources,
        Kind::Templates => &listing.templates,
    }
}

/// How long one list of a replica may be kept. Legacy servers say nothing of it, and what they list
/// may depend on who asks.
fn keep(era: Era, offers: &Offers, list: &List, kind: Kind, now: Instant) -> Keep {
    let announced = match kind {
        Kind::Tools => offers.changes.tools,
        Kind::Prompts => offers.changes.prompts,
        Kind::Resources | Kind::Templates => offers.changes.resources,
    };
    match era {
        Era::Legacy => Keep {
            longest: if announced { LIST_TTL } else { SILENT_TTL },
            until: None,
            private: true,
        },
        Era::Modern => {
            let until = list.ttl.map(|ttl| now + ttl);
            Keep { longest: LIST_TTL, until, private: !list.public }
        }
    }
}

/// How long lists may be kept that are merged from these: as long as the part with the shortest
/// time, and by one authorization context if any part is.
pub fn kept(parts: &[Option<&Known>]) -> PerKind<Keep> {
    let none = Keep { longest: LIST_TTL, until: None, private: false };
    let mut merged = PerKind::from_fn(|_| none);
    for known in parts {
        let Some(known) = known else {
            // Something remembered, or nothing yet: it may change at any moment.
            for kind in Kind::ALL {
                merged[kind].private = true;
                merged[kind].longest = merged[kind].longest.min(SILENT_TTL);
            }
            continue;
        };
        for kind in Kind::ALL {
            let (part, all) = (known.keep[kind], &mut merged[kind]);
            all.longest = all.longest.min(part.longest);
            all.until = [all.until, part.until].into_iter().flatten().min();
            all.private |= part.private;
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;
    use crate::proto::Lists;
    use std::time::Duration;

    fn modern(ttl: u64, public: bool, now: Instant) -> Known {
        let list = List { items: Vec::new(), ttl: Some(Duration::from_secs(ttl)), public };
        let listing = Listing { tools: list, ..Listing::default() };
        Known::new(Era::Modern, Offers::EVERYTHING, listing, now)
    }

    #[test]
    fn the_shortest_time_counts_and_anything_private_makes_all_private() {
        let now = clock::now();
        let (a, b) = (modern(30, true, now), modern(20, true, now));
        let both = kept(&[Some(&a), Some(&b)]);
        assert_eq!(both.tools.until, Some(now + Duration::from_secs(20)));
        assert!(!both.tools.private);
        let private = modern(40, false, now);
        assert!(kept(&[Some(&a), Some(&private)]).tools.private);
    }

    #[test]
    fn a_legacy_server_is_private_and_short_unless_it_announces_changes() {
        let now = clock::now();
        let legacy = |changes| {
            let offers = Offers { changes, ..Offers::default() };
            Known::new(Era::Legacy, offers, Listing::default(), now)
        };
        let silent = kept(&[Some(&legacy(Lists::NONE))]);
        assert_eq!((silent.tools.longest, silent.tools.private), (SILENT_TTL, true));
        let told = kept(&[Some(&legacy(Lists::ALL))]);
        assert_eq!((told.prompts.longest, told.prompts.until), (LIST_TTL, None));
        assert_eq!(kept(&[None]).tools.longest, SILENT_TTL);
    }
}
