//! What changes while the server runs, and who wants to hear of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use rmcp::model::ResourceUpdatedNotificationParam;
use rmcp::service::SubscriptionSink;
use rmcp::{Peer, RoleServer};

use crate::offer::WATCHED;

/// What a trigger changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// One tool comes or goes.
    Tools,
    /// One prompt comes or goes.
    Prompts,
    /// One resource comes or goes.
    Resources,
    /// The content of the watched resource.
    Watched,
}

/// The URIs that one legacy session has subscribed to.
pub(crate) type Uris = Arc<Mutex<BTreeSet<String>>>;

/// The state that all sessions and requests share.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    more_tools: AtomicBool,
    more_prompts: AtomicBool,
    more_resources: AtomicBool,
    revision: AtomicU64,
    next_listener: AtomicU64,
    /// Open `subscriptions/listen` requests.
    listeners: Mutex<BTreeMap<u64, SubscriptionSink>>,
    /// Legacy sessions, each with what it has subscribed to.
    sessions: Mutex<Vec<(Peer<RoleServer>, Uris)>>,
}

impl Changes {
    /// Is the tool that comes and goes there?
    pub(crate) fn more_tools(&self) -> bool {
        self.more_tools.load(Ordering::SeqCst)
    }

    /// Is the prompt that comes and goes there?
    pub(crate) fn more_prompts(&self) -> bool {
        self.more_prompts.load(Ordering::SeqCst)
    }

    /// Is the resource that comes and goes there?
    pub(crate) fn more_resources(&self) -> bool {
        self.more_resources.load(Ordering::SeqCst)
    }

    /// How often the watched resource has changed.
    pub(crate) fn revision(&self) -> u64 {
        self.revision.load(Ordering::SeqCst)
    }

    /// A legacy session began.
    pub(crate) fn join(&self, peer: Peer<RoleServer>, uris: Uris) {
        let mut sessions = self.sessions.lock();
        sessions.retain(|(peer, _)| !peer.is_transport_closed());
        sessions.push((peer, uris));
    }

    /// A modern client listens. The number is for [`Self::unlisten`].
    pub(crate) fn listen(&self, sink: SubscriptionSink) -> u64 {
        let number = self.next_listener.fetch_add(1, Ordering::SeqCst);
        self.listeners.lock().insert(number, sink);
        number
    }

    /// It has hung up.
    pub(crate) fn unlisten(&self, number: u64) {
        self.listeners.lock().remove(&number);
    }

    /// Makes the change, then tells everyone who asked. One who is gone is no error.
    pub(crate) async fn make(&self, change: Change) {
        match change {
            Change::Tools => flip(&self.more_tools),
            Change::Prompts => flip(&self.more_prompts),
            Change::Resources => flip(&self.more_resources),
            Change::Watched => {
                self.revision.fetch_add(1, Ordering::SeqCst);
            }
        }
        let listeners: Vec<_> = self.listeners.lock().values().cloned().collect();
        for sink in listeners {
            // The sink refuses what its client did not ask for.
            let told = match change {
                Change::Tools => sink.notify_tool_list_changed().await,
                Change::Prompts => sink.notify_prompt_list_changed().await,
                Change::Resources => sink.notify_resource_list_changed().await,
                Change::Watched => sink.notify_resource_updated(WATCHED).await,
            };
            drop(told);
        }
        let sessions = self.sessions.lock().clone();
        for (peer, uris) in sessions {
            let subscribed = uris.lock().contains(WATCHED);
            let told = match change {
                Change::Tools => peer.notify_tool_list_changed().await,
                Change::Prompts => peer.notify_prompt_list_changed().await,
                Change::Resources => peer.notify_resource_list_changed().await,
                Change::Watched if subscribed => {
                    let update = ResourceUpdatedNotificationParam::new(WATCHED);
                    peer.notify_resource_updated(update).await
                }
                Change::Watched => Ok(()),
            };
            drop(told);
        }
    }
}

fn flip(flag: &AtomicBool) {
    flag.fetch_not(Ordering::SeqCst);
}
