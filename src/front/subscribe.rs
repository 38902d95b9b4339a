//! Streams on which clients learn what changed: the legacy GET stream and the modern
//! `subscriptions/listen` (2026-07-28, basic/patterns/subscriptions).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::{CancellationToken, ReusableBoxFuture};

use crate::gateway::{Changes, Counts, Demand, Gateway, Watching};
use crate::proto::error::{ErrorBody, INVALID_PARAMS};
use crate::proto::frame::sse_event;
use crate::proto::listen::{self, Filter, ID_BYTES_MAX};
use crate::proto::{Abilities, Lists};
use crate::upstream::lobby::Mailbox;
use crate::upstream::report::Updated;

use super::body::Events;
use super::session::Session;

/// Changes of lists within this time are told once.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// Longest wait of an acknowledgement for servers that are asked to watch resources.
const TAKEN_WAIT: Duration = Duration::from_millis(500);

/// What happened.
#[derive(Debug)]
pub enum News {
    /// Lists may have changed: so often each.
    Lists(Arc<Changes>),
    /// A resource changed.
    Updated(Updated),
    /// Changes of resources came faster than they were taken: any may have changed.
    Lost,
    /// A message for this client alone.
    Mail(Bytes),
}

/// Where news comes from.
#[derive(Debug)]
pub struct Tidings {
    changes: watch::Receiver<Arc<Changes>>,
    updates: broadcast::Receiver<Updated>,
    mail: Option<Arc<Mailbox>>,
}

impl Tidings {
    /// The news of a gateway from now on.
    pub fn new(gateway: &Gateway) -> Self {
        Self { changes: gateway.changes(), updates: gateway.updates(), mail: None }
    }

    /// The same with what waits for the client of a session.
    pub fn of(gateway: &Gateway, session: &Session) -> Self {
        Self { mail: session.caller().mail.clone(), ..Self::new(gateway) }
    }

    /// Resolves with the next piece of news; never, if there can be none any more.
    pub async fn next(&mut self) -> News {
        tokio::select! {
            changed = self.changes.changed() => {
                if changed.is_err() {
                    return std::future::pending().await;
                }
                tokio::time::sleep(DEBOUNCE).await;
                News::Lists(Arc::clone(&self.changes.borrow_and_update()))
            }
            update = self.updates.recv() => match update {
                Ok(updated) => News::Updated(updated),
                Err(broadcast::error::RecvError::Lagged(_)) => News::Lost,
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            },
            message = mail(self.mail.as_deref()) => News::Mail(message),
        }
    }

    /// Resolves with the next piece of news, or with nothing when one of the tokens is cancelled.
    async fn before(mut self, ends: [CancellationToken; 2]) -> Option<(Self, News)> {
        let [one, other] = ends;
        tokio::select! {
            news = self.next() => Some((self, news)),
            () = one.cancelled() => None,
            () = other.cancelled() => None,
        }
    }
}

async fn mail(mailbox: Option<&Mailbox>) -> Bytes {
    match mailbox {
        Some(mailbox) => mailbox.next().await,
        None => std::future::pending().await,
    }
}

/// A modern subscription: what of the client's wish is honoured.
#[derive(Debug)]
pub struct Subscription {
    /// The raw id of the request, which names it.
    id: Bytes,
    /// What its client can be asked for: legacy servers offer it other things.
    abilities: Abilities,
    lists: Lists,
    told: Counts,
    watching: Vec<Watching>,
    /// What they offer to its kind is kept ready while it stands.
    _demand: Option<Demand>,
}

impl Subscription {
    /// Reads the params of a listen request. What cannot be told is not honoured: the
    /// acknowledgement says so.
    pub fn open(
        id: &[u8],
        params: &[u8],
        abilities: Abilities,
        gateway: &Gateway,
    ) -> Result<Self, ErrorBody> {
        if id.len() > ID_BYTES_MAX {
            let text = format!("the id of a subscription may have {ID_BYTES_MAX} bytes");
            return Err(ErrorBody::new(INVALID_PARAMS, text));
        }
        let Filter { lists, uris } = Filter::read(params)?;
        let watch = |uri: String| gateway.watch(abilities, &uri).ok();
        let watching = uris.into_iter().filter_map(watch).collect();
        let told = gateway.changes().borrow().of(abilities);
        let (id, demand) = (Bytes::copy_from_slice(id), gateway.demand(abilities));
        Ok(Self { id, abilities, lists, told, watching, _demand: demand })
    }

    /// Resolves when the servers of the watched resources have been asked to watch them, so that what
    /// changes after the acknowledgement is told; or after [`TAKEN_WAIT`], since a slow server must
    /// not hold the acknowledgement up.
    pub async fn taken(&self) {
        let all = async {
            for watching in &self.watching {
                watching.pool().taken(&watching.uri).await;
            }
        };
        drop(tokio::time::timeout(TAKEN_WAIT, all).await);
    }

    /// The first message: what is honoured.
    pub fn acknowledged(&self) -> Vec<u8> {
        let uris = self.watching.iter().map(|watching| watching.uri.clone()).collect();
        listen::acknowledged(&self.id, &Filter { lists: self.lists, uris })
    }

    /// The last message: it ends because we stop.
    pub fn ended(&self) -> Vec<u8> {
        listen::ended(&self.id)
    }

    /// What its client is told of some news.
    pub fn messages(&mut self, news: &News) -> Vec<Vec<u8>> {
        let updated = |uri: &str| listen::updated(uri, Some(&self.id));
        match news {
            News::Lists(changes) => {
                let now = changes.of(self.abilities);
                let lists = now.since(self.told).and(self.lists);
                self.told = now;
                lists.methods().map(|m| listen::list_changed(m, Some(&self.id))).collect()
            }
            News::Updated(what) => {
                let own = |w: &&Watching| w.upstream == what.upstream && w.uri == what.uri;
                self.watching.iter().find(own).map(|w| updated(&w.uri)).into_iter().collect()
            }
            News::Lost => self.watching.iter().map(|w| updated(&w.uri)).collect(),
            News::Mail(_) => Vec::new(),
        }
    }
}

/// What the client of a session is told of some news.
pub fn session_messages(session: &Session, news: &News) -> Vec<Vec<u8>> {
    match news {
        News::Lists(changes) => {
            let lists = session.untold(changes.of(session.caller().abilities));
            lists.methods().map(|method| listen::list_changed(method, None)).collect()
        }
        News::Updated(what) if session.watches(what) => vec![listen::updated(&what.uri, None)],
        News::Updated(_) => Vec::new(),
        News::Mail(message) => vec![message.to_vec()],
        News::Lost => session.watched().iter().map(|uri| listen::updated(uri, None)).collect(),
    }
}

type Next = ReusableBoxFuture<'static, Option<(Tidings, News)>>;

/// The stream of a modern subscription.
pub struct Listening {
    subscription: Subscription,
    ready: VecDeque<Bytes>,
    next: Next,
    stop: CancellationToken,
    over: bool,
}

impl Listening {
    /// A stream whose first event is the acknowledgement.
    pub fn new(subscription: Subscription, tidings: Tidings, stop: CancellationToken) -> Self {
        let ready = VecDeque::from([sse_event(&subscription.acknowledged())]);
        let next = ReusableBoxFuture::new(tidings.before([stop.clone(), stop.clone()]));
        Self { subscription, ready, next, stop, over: false }
    }
}

impl Events for Listening {
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Poll::Ready(Some(event));
            }
            if self.over {
                return Poll::Ready(None);
            }
            match self.next.poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some((tidings, news))) => {
                    self.next.set(tidings.before([self.stop.clone(), self.stop.clone()]));
                    let messages = self.subscription.messages(&news);
                    self.ready.extend(messages.iter().map(|message| sse_event(message)));
                }
                Poll::Ready(None) => {
                    self.over = true;
                    self.ready.push_back(sse_event(&self.subscription.ended()));
                }
            }
        }
    }
}

/// Which of a session's GET streams gets the messages: each goes to exactly one (2025-11-25,
/// transports, "Multiple Connections").
#[derive(Debug, Default)]
pub struct Turn {
    next: AtomicU64,
    current: AtomicU64,
}

impl Turn {
    /// A new stream takes over.
    fn take(&self) -> u64 {
        let number = self.next.fetch_add(1, Ordering::AcqRel) + 1;
        self.current.store(number, Ordering::Release);
        number
    }

    /// Whether the stream of this number delivers; the first to ask inherits from one that closed.
    fn is_mine(&self, number: u64) -> bool {
        let inherited =
            self.current.compare_exchange(0, number, Ordering::AcqRel, Ordering::Acquire);
        inherited.is_ok() || self.current.load(Ordering::Acquire) == number
    }

    fn leave(&self, number: u64) {
        // Another stream may have taken over before; then there is nothing to leave.
        let _left = self.current.compare_exchange(number, 0, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// The legacy stream for what belongs to no request.
pub struct Standing {
    session: Arc<Session>,
    number: u64,
    ready: VecDeque<Bytes>,
    next: Next,
    stop: CancellationToken,
}

impl Standing {
    /// A stream of a session; it ends with the session or with us.
    pub fn new(session: Arc<Session>, tidings: Tidings, stop: CancellationToken) -> Self {
        let number = session.turn.take();
        session.streams.fetch_add(1, Ordering::AcqRel);
        // What changed since the session was last told was told to nobody.
        let missed = News::Lists(Arc::clone(&tidings.changes.borrow()));
        let missed = session_messages(&session, &missed);
        let next = ReusableBoxFuture::new(tidings.before([session.ended.clone(), stop.clone()]));
        // A first comment, so that clients that wait for a byte know that it stands.
        let mut ready = VecDeque::from([Bytes::from_static(b":\n\n")]);
        ready.extend(missed.iter().map(|message| sse_event(message)));
        Self { session, number, ready, next, stop }
    }
}

impl Events for Standing {
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Poll::Ready(Some(event));
            }
            match self.next.poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some((tidings, news))) => {
                    let ends = [self.session.ended.clone(), self.stop.clone()];
                    self.next.set(tidings.before(ends));
                    // Mail is taken by one stream only, whichever it is.
                    if matches!(news, News::Mail(_)) || self.session.turn.is_mine(self.number) {
                        let messages = session_messages(&self.session, &news);
                        self.ready.extend(messages.iter().map(|message| sse_event(message)));
                    }
                }
            }
        }
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.session.turn.leave(self.number);
        self.session.streams.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stream_of_a_session_delivers_and_another_inherits() {
        let turn = Turn::default();
        let (a, b) = (turn.take(), turn.take());
        assert!(!turn.is_mine(a) && turn.is_mine(b));
        turn.leave(a);
        assert!(turn.is_mine(b));
        turn.leave(b);
        assert!(turn.is_mine(a) && !turn.is_mine(b));
    }
}
