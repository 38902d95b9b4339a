//! One running copy of an upstream, as calls see it: whether it is up, which era it speaks, and
//! how a request is started on it. Its keeper is the only one that changes it.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};

use crate::base::{Fault, Kind, Sent, UpstreamName};
use crate::proto::{Era, Method, Version, legacy, modern};
use crate::telemetry::ReplicaMeters;

use super::exchange::{Dialect, Done, Exchange, Request};
use super::http::HttpLink;
use super::spec::{ReplicaKind, ReplicaSpec};
use super::stdio::StdioLink;

/// How bytes reach it.
#[derive(Debug)]
pub enum Link {
    /// A child's pipes.
    Stdio(StdioLink),
    /// A server behind a URL.
    Http(HttpLink),
}

/// A replica that was greeted and listed.
#[derive(Debug)]
pub struct Live {
    /// How bytes reach it.
    pub link: Link,
    /// It tells when its tools change.
    pub tools_changed: bool,
}

impl Live {
    /// The dialect it speaks.
    pub fn dialect(&self) -> Dialect {
        match &self.link {
            Link::Stdio(link) => link.dialect(),
            Link::Http(link) => link.dialect(),
        }
    }

    /// Starts a client's request.
    pub fn begin(&self, request: &Request<'_>) -> Result<Exchange, Fault> {
        match &self.link {
            Link::Stdio(link) => link.begin(request).map(Exchange::Stdio),
            Link::Http(link) => link.begin(request).map(Exchange::Http),
        }
    }

    /// A request of our own without parameters or with a cursor, answered within `limit`.
    pub async fn ask(
        &self,
        method: Method,
        cursor: Option<&str>,
        limit: Duration,
        us: &serde_json::Value,
    ) -> Result<Done, Fault> {
        let body = |number: u64| match self.dialect().era {
            Era::Modern => modern::request(number, method.name(), cursor, us),
            Era::Legacy if method == Method::Ping => legacy::request(number, method.name()),
            Era::Legacy => legacy::list_request(number, method.name(), cursor),
        };
        self.ask_with(body, method, limit).await
    }

    /// A request of our own whose body is made from its number.
    pub async fn ask_with(
        &self,
        body: impl FnOnce(u64) -> Vec<u8>,
        method: Method,
        limit: Duration,
    ) -> Result<Done, Fault> {
        let exchange = match &self.link {
            Link::Stdio(link) => {
                let number = link.channel().number();
                Exchange::Stdio(link.ask(body(number), number)?)
            }
            Link::Http(link) => {
                let number = link.number();
                Exchange::Http(link.ask(body(number), number, method))
            }
        };
        within(limit, method, exchange.finish()).await
    }
}

/// Runs a request of ours with a bound.
async fn within<T>(
    limit: Duration,
    method: Method,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        let message = format!("it did not answer {} within {} s", method.name(), limit.as_secs());
        Err(Fault::upstream(Kind::Timeout, Sent::Maybe, message))
    })
}

/// What a replica is doing, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Being connected, greeted or listed.
    Starting,
    /// Taking calls.
    Up {
        /// The revision it speaks.
        version: Version,
    },
    /// Not taking calls, for this reason; it is tried again.
    Down(String),
}

/// One running copy of an upstream.
#[derive(Debug)]
pub struct Replica {
    /// The upstream it is a copy of.
    pub upstream: UpstreamName,
    /// What it is made from.
    pub spec: ReplicaSpec,
    /// Its handles on the metrics.
    pub meters: ReplicaMeters,
    /// Calls in flight, bounded.
    pub permits: Semaphore,
    live: ArcSwapOption<Live>,
    state: Mutex<State>,
    doubt: Notify,
    stir: Arc<Notify>,
}

impl Replica {
    /// A replica that is not up yet.
    /// `stir` is told of every change of state; all replicas of an upstream share it.
    pub fn new(
        upstream: UpstreamName,
        spec: ReplicaSpec,
        meters: ReplicaMeters,
        inflight_max: usize,
        stir: Arc<Notify>,
    ) -> Self {
        Self {
            upstream,
            spec,
            meters,
            permits: Semaphore::new(inflight_max.min(Semaphore::MAX_PERMITS)),
            live: ArcSwapOption::empty(),
            state: Mutex::new(State::Starting),
            doubt: Notify::new(),
            stir,
        }
    }

    /// Its live connection, if it is up.
    pub fn live(&self) -> Option<Arc<Live>> {
        self.live.load_full()
    }

    /// Whether it takes calls.
    pub fn is_up(&self) -> bool {
        self.live.load().is_some()
    }

    /// Whether it is a child process.
    pub fn is_child(&self) -> bool {
        matches!(self.spec.kind, ReplicaKind::Child(_))
    }

    /// What it is doing.
    pub fn state(&self) -> State {
        self.state.lock().clone()
    }

    /// A call found it not answering: its keeper looks at once.
    pub fn doubt(&self) {
        self.doubt.notify_one();
    }

    /// Resolves when a call had doubts.
    pub(super) async fn doubted(&self) {
        self.doubt.notified().await;
    }

    /// Takes calls from now on.
    pub(super) fn set_up(&self, live: Arc<Live>) {
        let version = live.dialect().version;
        // First what calls look at: nobody must find it neither starting nor up.
        self.live.store(Some(live));
        *self.state.lock() = State::Up { version };
        self.meters.up.set(1.0);
        self.stir.notify_waiters();
    }

    /// Takes no calls from now on.
    pub(super) fn set_down(&self, state: State) {
        self.live.store(None);
        *self.state.lock() = state;
        self.meters.up.set(0.0);
        self.stir.notify_waiters();
    }
}
