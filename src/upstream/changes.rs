//! The standing stream on which an HTTP server tells what changed: the legacy GET stream or a modern
//! `subscriptions/listen`. Lost streams are opened again; what may have been missed in between
//! counts as a change.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;

use crate::base::{Fault, Kind, clock, rng};
use crate::proto::answer::{Incoming, read};
use crate::proto::listen::Filter;
use crate::proto::{Abilities, Era, Lists, Method, modern};

use super::ask::refusal;
use super::events::Events;
use super::http::HttpLink;
use super::messages::Messages;

/// First wait before a lost stream is opened again.
const REOPEN_BASE: Duration = Duration::from_secs(1);
/// Longest wait before a lost stream is opened again.
const REOPEN_MAX: Duration = Duration::from_mins(1);

/// The stream of one server.
pub struct Changes<'a> {
    link: &'a HttpLink,
    us: &'a Value,
    events: &'a Events,
    /// Told which resources a modern server watches for us.
    taken: &'a (dyn Fn(Arc<BTreeSet<String>>) + Sync),
    /// What a modern server is asked to tell; a legacy one tells what it likes.
    filter: Filter,
    /// What the server was told that its clients can be asked.
    declared: Abilities,
    /// Lists that count as changed when the stream stands again.
    missed: Lists,
    open: Option<Messages>,
    /// The resources that the open stream was asked to tell of.
    asked: Arc<BTreeSet<String>>,
    failures: u32,
    reopen_at: Instant,
    /// The server has no such stream.
    refused: bool,
    /// A stream that stood was lost, or the server was away.
    lost: bool,
    /// The stream that stands asks for something else than the filter.
    stale: bool,
}

impl<'a> Changes<'a> {
    /// Not open yet. `lists` are the ones whose changes the server tells, `declared` is what it may
    /// ask for.
    pub fn new(
        link: &'a HttpLink,
        us: &'a Value,
        events: &'a Events,
        (lists, declared): (Lists, Abilities),
        taken: &'a (dyn Fn(Arc<BTreeSet<String>>) + Sync),
    ) -> Self {
        let filter = Filter { lists, ..Filter::default() };
        Self {
            link,
            us,
            events,
            taken,
            filter,
            declared,
            missed: lists,
            open: None,
            asked: Arc::default(),
            failures: 0,
            reopen_at: clock::now(),
            refused: false,
            lost: false,
            stale: false,
        }
    }

    /// If the server was away, what is watched counts as changed when the stream stands.
    pub fn was_away(&mut self, away: bool) {
        self.lost |= away;
    }

    /// Asks for these changes from now on. A modern stream is opened anew for that, before the old
    /// one is closed: what is told twice does no harm, what is told to nobody does.
    pub fn watch(&mut self, filter: Filter) {
        if self.filter != filter {
            self.filter = filter;
            if self.link.dialect().era == Era::Modern {
                (self.refused, self.reopen_at, self.failures) = (false, clock::now(), 0);
                self.stale = true;
            }
        }
    }

    /// Reads the stream and puts what it tells into the events; resolves when a stream that stood
    /// is lost, or none could be opened because nobody was there, and goes on when called again. May
    /// be dropped at any time.
    pub async fn run(&mut self) {
        loop {
            let idle = self.link.dialect().era == Era::Modern && self.filter.is_empty();
            if self.refused || idle {
                return std::future::pending().await;
            }
            if self.open.is_none() || self.stale {
                if self.reopen().await {
                    continue;
                }
                return;
            }
            let message = match &mut self.open {
                Some(open) => open.next().await,
                None => None,
            };
            if let Some(message) = message {
                self.take(&message);
            } else {
                (self.open, self.lost) = (None, true);
                return;
            }
        }
    }

    fn take(&mut self, message: &Bytes) {
        self.failures = 0;
        match read(message) {
            // From now on it watches them: what it changes is told.
            Ok(Incoming::Note { method: Method::Acknowledged, .. }) => {
                (self.taken)(Arc::clone(&self.asked));
            }
            Ok(Incoming::Note { method, about }) => self.events.note(message, method, about),
            Ok(Incoming::Ask { id, method, url }) => {
                let back = self.link.back();
                if self.declared.allow(method, url) {
                    if self.events.lobby.ask(message, id, (method, url), back) {
                        self.events.crowded();
                    }
                } else {
                    // It was told not to: it may be of a call whose client cannot be asked it.
                    back.send(refusal(id.of(message), method));
                }
            }
            Ok(Incoming::Answer(_)) | Err(_) => {}
        }
    }

    /// Opens the stream, waiting as long as it takes, or finds that there is none. `false` if the
    /// server did not answer at all.
    async fn reopen(&mut self) -> bool {
        // The time stands in `self`, because this future may be dropped and made again.
        tokio::time::sleep_until(self.reopen_at.into()).await;
        let asked = Arc::new(self.filter.uris.clone());
        let outcome = self.request().await;
        // Only now: a request that was dropped on its way was no attempt, and is made again at once.
        let doubled = REOPEN_BASE.saturating_mul(1 << self.failures.min(6));
        let wait = rng::jitter(doubled.min(REOPEN_MAX), 20, rng::draw());
        self.failures += 1;
        self.reopen_at = clock::now() + wait;
        match outcome {
            Ok(Some(messages)) => self.opened(messages, asked).await,
            Ok(None) => (self.open, self.refused) = (None, true),
            Err(fault) => {
                tracing::debug!(%fault, "could not open the stream of changes");
                return !matches!(fault.kind, Kind::Connect | Kind::Closed | Kind::Timeout);
            }
        }
        true
    }

    /// A new stream stands.
    async fn opened(&mut self, messages: Messages, asked: Arc<BTreeSet<String>>) {
        self.stale = false;
        match self.open.replace(messages) {
            // What the old one has told already is not lost.
            Some(mut old) => {
                let none = Duration::ZERO;
                while let Ok(Some(message)) = tokio::time::timeout(none, old.next()).await {
                    self.take(&message);
                }
            }
            // What changed before it stood was told to nobody.
            None => self.events.lists(self.missed),
        }
        self.asked = asked;
        if std::mem::take(&mut self.lost) {
            self.events.uris(&self.filter.uris);
        }
    }

    async fn request(&self) -> Result<Option<Messages>, Fault> {
        match self.link.dialect().era {
            Era::Legacy => self.link.open_stream().await,
            Era::Modern => {
                let number = self.link.number();
                let body = modern::listen_request(number, self.us, &self.filter);
                self.link.open_listen(body).await
            }
        }
    }
}
