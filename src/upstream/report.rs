//! What keepers tell the director.

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::base::Fault;
use crate::proto::Era;

use super::replica::{Live, Replica};

/// Which replica of which upstream, by their places in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The upstream's place.
    pub upstream: usize,
    /// The replica's place in it.
    pub replica: usize,
}

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
    /// It is up and offers these tools, as it wrote them.
    Listed {
        /// Its era.
        era: Era,
        /// Its tools.
        tools: Vec<Bytes>,
    },
    /// It is down, for this reason.
    Down(Fault),
}

/// Where one keeper tells what happens.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which replica it keeps.
    pub place: Place,
    /// To the director.
    pub events: mpsc::Sender<Event>,
}

impl Report {
    /// The replica is up and offers these tools.
    pub async fn listed(&self, replica: &Replica, live: &Live, tools: Vec<Bytes>) {
        let dialect = live.dialect();
        tracing::info!(
            upstream = %replica.upstream,
            replica = %replica.spec.name,
            version = dialect.version.as_str(),
            tools = tools.len(),
            "listed"
        );
        self.tell(Happening::Listed { era: dialect.era, tools }).await;
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
