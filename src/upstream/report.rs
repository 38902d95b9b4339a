//! What keepers tell the director.

use std::collections::BTreeSet;

use tokio::sync::{broadcast, mpsc};

use crate::base::Fault;
use crate::proto::{Era, Offers};

use super::listing::Listing;
use super::place::{Place, UpstreamId};
use super::replica::{Live, Replica};

/// What a keeper tells the director.
#[derive(Debug)]
pub struct Event {
    /// Who.
    pub place: Place,
    /// What.
    pub what: Happening,
}

/// What happened to a replica.
#[derive(Debug)]
pub enum Happening {
    /// It is up and offers this.
    Listed {
        /// Its era.
        era: Era,
        /// What it can do.
        offers: Offers,
        /// What it offers, as it wrote it.
        listing: Listing,
    },
    /// It is down, for this reason.
    Down(Fault),
}

/// A resource changed.
#[derive(Clone, Debug)]
pub struct Updated {
    /// The upstream that told.
    pub upstream: UpstreamId,
    /// Which resource.
    pub uri: String,
}

/// Where one keeper tells what happens.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which replica it keeps.
    pub place: Place,
    /// To the director.
    pub events: mpsc::Sender<Event>,
    /// To those who watch resources.
    pub updates: broadcast::Sender<Updated>,
}

impl Report {
    /// The replica is up and offers this.
    pub async fn listed(&self, replica: &Replica, live: &Live, listing: Listing) {
        let dialect = live.dialect();
        tracing::info!(
            upstream = %replica.upstream,
            replica = %replica.spec.name,
            version = dialect.version.as_str(),
            tools = listing.tools.items.len(),
            prompts = listing.prompts.items.len(),
            resources = listing.resources.items.len(),
            templates = listing.templates.items.len(),
            "listed"
        );
        let offers = live.offers.clone();
        self.tell(Happening::Listed { era: dialect.era, offers, listing }).await;
    }

    /// These resources changed.
    pub fn updated(&self, uris: BTreeSet<String>) {
        for uri in uris {
            // Nobody watching is no mistake: the last one has just gone.
            drop(self.updates.send(Updated { upstream: self.place.upstream, uri }));
        }
    }

    /// The replica is down.
    pub async fn down(&self, fault: Fault) {
        self.tell(Happening::Down(fault)).await;
    }

    async fn tell(&self, what: Happening) {
        // A director that is gone means that we are stopping.
        drop(self.events.send(Event { place: self.place, what }).await);
    }
}
