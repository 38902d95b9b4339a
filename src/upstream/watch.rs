//! Watches a replica that is up, until it is not.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::base::{Fault, Kind, Sent, clock, rng};
use crate::proto::listen::Filter;
use crate::proto::{Era, Lists, Method, Version, legacy};

use super::changes::Changes;
use super::channel::{Channel, ChannelLink};
use super::connect::{Means, Running, Session, listen_child, probe_http};
use super::events::News;
use super::greet::Verdict;
use super::http::HttpLink;
use super::listing::Listing;
use super::look::{Found, Looks};
use super::mux::ended;
use super::replica::{Link, Live, Replica};
use super::report::Report;

/// A legacy verdict on a URL is asked for again this often: the server may have been replaced.
pub const REPROBE_INTERVAL: Duration = Duration::from_mins(15);
/// Lists whose changes a server behind a URL does not tell are asked for again this often…
pub const RELIST_INTERVAL: Duration = Duration::from_mins(1);
/// …unless it says how long they may be kept, which counts between these two.
pub const RELIST_MIN: Duration = Duration::from_secs(15);
/// The longest of the two.
pub const RELIST_MAX: Duration = Duration::from_mins(10);
/// A list that a server offers and could not give is asked for again after this.
const MISSING_WAIT: Duration = Duration::from_secs(5);
/// Longest wait until a server has taken a subscription.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(5);
/// Changes within this time are listed once.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// Why watching ended.
#[derive(Debug)]
pub enum End {
    /// The replica is down.
    Down(Fault),
    /// The replica must be greeted anew, at once: it speaks another era, or lost our session.
    Greet(Fault),
    /// Nobody used the child for long: it sleeps.
    Idle,
}

/// Watches a session. Every new list is reported, and every change of a watched resource.
pub async fn watch(
    session: &mut Session,
    (listing, missing): (Listing, Lists),
    replica: &Replica,
    means: &Means,
    report: &Report,
) -> End {
    let live = Arc::clone(&session.live);
    let subscribed = BTreeSet::new();
    let unheard = None;
    let watch =
        Watch { live: &live, replica, means, report, listing, missing, subscribed, unheard };
    match (&live.link, &mut session.child) {
        (Link::Stdio(link), Some(running)) => watch.child(link, running).await,
        (Link::Http(link), _) => watch.url(link, None, session.probed).await,
        (Link::Sse(link, http), _) => watch.url(http, Some(link.channel()), session.probed).await,
        (Link::Stdio(_), None) => End::Down(Fault::gateway(Kind::Closed, "it has no process")),
    }
}

/// A replica while it is watched.
struct Watch<'a> {
    live: &'a Live,
    replica: &'a Replica,
    means: &'a Means,
    report: &'a Report,
    /// What it listed last.
    listing: Listing,
    /// Lists that it offers and could not give.
    missing: Lists,
    /// Resources that a legacy server was asked to watch.
    subscribed: BTreeSet<String>,
    /// The newest subscription at a modern child, as long as it has not acknowledged it, and what it
    /// watches then.
    unheard: Option<(u64, Arc<BTreeSet<String>>)>,
}

impl Watch<'_> {
    async fn child(mut self, link: &ChannelLink, running: &mut Running) -> End {
        let mut ended = std::pin::pin!(running.ended());
        let mut watched = self.replica.watched.clone();
        watched.mark_changed();
        let mut subscription = None;
        let mut was_away = self.was_away();
        let mut looks = Looks::new(self.live, self.replica, self.means);
        loop {
            tokio::select! {
                biased;
                fault = &mut ended => return End::Down(fault),
                // A child that does not answer may be busy: it is suspect, and left alone.
                _ = looks.next() => {}
                () = self.replica.outdated() => self.list_again(self.lists()).await,
                () = tokio::time::sleep(MISSING_WAIT), if !self.missing.is_empty() => {
                    self.list_again(self.missing).await;
                }
                () = next(&mut watched) => {
                    let uris = Arc::clone(&watched.borrow_and_update());
                    let filter = self.filter(&uris);
                    if link.dialect().era == Era::Legacy {
                        self.subscribe(&uris).await;
                    } else if !filter.is_empty() {
                        // The new one before the old one ends: nothing goes untold.
                        match listen_child(link, &filter, self.means) {
                            Ok((number, exchange)) => {
                                drop(subscription.replace(exchange));
                                self.unheard = Some((number, Arc::clone(&uris)));
                            }
                            Err(fault) => tracing::debug!(%fault, "cannot subscribe"),
                        }
                    } else {
                        (subscription, self.unheard) = (None, None);
                    }
                    if std::mem::take(&mut was_away) {
                        self.report.updated(BTreeSet::clone(&uris));
                    }
                    if subscription.is_none() {
                        self.replica.set_taken(uris);
                    }
                    self.replica.touch();
                }
                () = self.replica.falls_asleep() => return End::Idle,
                news = self.live.events.next() => self.take(news).await,
            }
        }
    }

    /// One select: each arm is one thing that can happen to a server behind a URL. `session` is the
    /// one stream of one that has no others.
    async fn url(mut self, link: &HttpLink, session: Option<&Channel>, probed: bool) -> End {
        let changes = self.live.offers.changes;
        let taken = |uris| self.replica.set_taken(uris);
        let expected = (changes, self.replica.place.abilities);
        let stream = Changes::new(link, &self.means.us, &self.live.events, expected, &taken);
        let mut outside = Outside::of(session, stream, self.was_away());
        let offers = &self.live.offers;
        let tells = !changes.is_empty() || offers.subscribe || offers.logging || offers.tasks;
        // A server asks clients there too, where it has some that can be asked.
        let asks = !self.replica.place.abilities.is_empty();
        let standing = tells || asks || session.is_some();
        let mut watched = self.replica.watched.clone();
        watched.mark_changed();
        let mut looks = Looks::new(self.live, self.replica, self.means);
        let mut reprobe = std::pin::pin!(tokio::time::sleep(REPROBE_INTERVAL));
        let mut relist = std::pin::pin!(tokio::time::sleep(self.relist_in()));
        loop {
            let found = tokio::select! {
                // In this order: what a server can make come at any time has the last turn.
                biased;
                lost = outside.lost(), if standing => {
                    if let Some(fault) = lost {
                        return End::Down(fault);
                    }
                    // A server that died takes its stream along: the first to know is not a call.
                    self.replica.doubt();
                    continue;
                }
                found = looks.next() => found,
                () = next(&mut watched) => {
                    let uris = Arc::clone(&watched.borrow_and_update());
                    self.follow(uris, &mut outside).await;
                    continue;
                }
                () = self.replica.outdated() => {
                    self.list_again(self.lists()).await;
                    continue;
                }
                () = tokio::time::sleep(MISSING_WAIT), if !self.missing.is_empty() => {
                    self.list_again(self.missing).await;
                    continue;
                }
                () = &mut relist, if changes != self.live.offers.lists => {
                    self.list_again(self.live.offers.lists).await;
                    relist.as_mut().reset((clock::now() + self.relist_in()).into());
                    continue;
                }
                () = &mut reprobe, if probed && self.live.dialect().era == Era::Legacy => {
                    reprobe.as_mut().reset((clock::now() + REPROBE_INTERVAL).into());
                    if let Some(era) = other_era(link, self.means).await {
                        return End::Greet(era);
                    }
                    continue;
                }
                news = self.live.events.next() => {
                    self.take(news).await;
                    continue;
                }
            };
            if let Some(end) = self.judge(found, link, probed).await {
                return end;
            }
        }
    }

    /// These resources are to be watched.
    async fn follow(&mut self, uris: Arc<BTreeSet<String>>, outside: &mut Outside<'_>) {
        outside.watch(self.filter(&uris));
        if self.live.dialect().era == Era::Legacy {
            self.subscribe(&uris).await;
            self.replica.set_taken(uris);
        }
    }

    /// Whether somebody has watched resources while it told nobody of their changes.
    fn was_away(&self) -> bool {
        self.replica.lives() > 1 && !self.replica.watched.borrow().is_empty()
    }

    /// What a look at a server behind a URL means for its replica.
    async fn judge(&self, found: Found, link: &HttpLink, probed: bool) -> Option<End> {
        match found.answer {
            Ok(content) if probed && (found.doubted || !content) => {
                other_era(link, self.means).await.map(End::Greet)
            }
            Ok(_) => None,
            Err(fault) if fault.kind == Kind::SessionLost => Some(End::Greet(fault)),
            Err(fault) => {
                let fall = self.replica.health().fall;
                let gone = fault.kind == Kind::Connect || found.misses >= fall;
                gone.then_some(End::Down(fault))
            }
        }
    }

    /// What is asked for when all is asked for.
    fn lists(&self) -> Lists {
        self.live.offers.lists.or(Lists { tools: true, ..Lists::NONE })
    }

    /// What a server that can be asked for it is asked to tell.
    fn filter(&self, uris: &BTreeSet<String>) -> Filter {
        let uris = if self.live.offers.subscribe { uris.clone() } else { BTreeSet::new() };
        Filter { lists: self.live.offers.changes, uris }
    }

    /// When lists whose changes nobody tells are asked for again.
    fn relist_in(&self) -> Duration {
        let ttl = self.listing.ttl().filter(|ttl| !ttl.is_zero());
        let wait = ttl.map_or(RELIST_INTERVAL, |ttl| ttl.clamp(RELIST_MIN, RELIST_MAX));
        rng::jitter(wait, 20, rng::draw())
    }

    /// Acts on what the server told.
    async fn take(&mut self, news: News) {
        let mut lists = news.lists;
        self.note(&news);
        self.report.updated(news.uris);
        if !lists.is_empty() {
            tokio::time::sleep(DEBOUNCE).await;
            let more = self.live.events.more();
            lists = lists.or(more.lists);
            self.note(&more);
            self.report.updated(more.uris);
            self.list_again(lists).await;
        }
    }

    /// What is for us and no client.
    fn note(&mut self, news: &News) {
        if news.crowded {
            self.replica.set_interactive();
        }
        let stands = |(number, _): &mut (u64, _)| {
            news.acknowledged.is_some_and(|newest| newest == 0 || newest >= *number)
        };
        if let Some((_, uris)) = self.unheard.take_if(stands) {
            self.replica.set_taken(uris);
        }
    }

    /// Lists anew, and reports what there is.
    async fn list_again(&mut self, lists: Lists) {
        let failed = self.listing.again(self.live, &self.means.us, lists).await;
        self.missing = failed.as_ref().map_or(Lists::NONE, |(lists, _)| *lists);
        if let Some((_, fault)) = failed {
            let (upstream, replica) = (&self.replica.upstream, &self.replica.spec.name);
            tracing::warn!(%upstream, %replica, %fault, "could not list again all that is offered");
            if matches!(fault.kind, Kind::Connect | Kind::Closed | Kind::Timeout) {
                self.live.forget_connections();
                self.replica.doubt();
            }
        }
        self.report.listed(self.replica, self.live, self.listing.clone()).await;
    }

    /// Brings what a legacy server watches in line with what is wanted.
    async fn subscribe(&mut self, wanted: &BTreeSet<String>) {
        if !self.live.offers.subscribe {
            return;
        }
        let added: Vec<String> = wanted.difference(&self.subscribed).cloned().collect();
        let removed: Vec<String> = self.subscribed.difference(wanted).cloned().collect();
        let both = [(Method::ResourcesSubscribe, added), (Method::ResourcesUnsubscribe, removed)];
        for (method, uri) in
            both.into_iter().flat_map(|(m, uris)| uris.into_iter().map(move |u| (m, u)))
        {
            let body = |number| legacy::uri_request(number, method.name(), &uri);
            if let Err(fault) = self.live.ask_with(body, method, SUBSCRIBE_TIMEOUT).await {
                tracing::debug!(%fault, method = method.name(), "a server did not take it");
            }
            if method == Method::ResourcesSubscribe {
                self.subscribed.insert(uri);
            } else {
                self.subscribed.remove(&uri);
            }
        }
    }
}

/// Resolves when a value changes; never, if nobody can change it any more.
async fn next<T>(watched: &mut tokio::sync::watch::Receiver<T>) {
    if watched.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Where a server behind a URL tells what belongs to no call.
enum Outside<'a> {
    /// On a stream of its own, which is opened again when it is lost.
    Stream(Changes<'a>),
    /// On the one stream that is its whole session. If the server was `away`, what is watched
    /// counts as changed.
    Session { channel: &'a Channel, away: bool },
}

impl<'a> Outside<'a> {
    fn of(session: Option<&'a Channel>, mut stream: Changes<'a>, away: bool) -> Self {
        if let Some(channel) = session {
            return Self::Session { channel, away };
        }
        stream.was_away(away);
        Self::Stream(stream)
    }

    /// Resolves when a stream is lost or finds nobody, with why the session is over where that was
    /// all of it.
    async fn lost(&mut self) -> Option<Fault> {
        match self {
            Self::Stream(changes) => {
                changes.run().await;
                None
            }
            Self::Session { channel, .. } => {
                channel.closed().await;
                let unknown = || ended("its session ended".to_owned());
                Some(channel.why_closed().unwrap_or_else(unknown))
            }
        }
    }

    /// Other changes are of interest from now on.
    fn watch(&mut self, filter: Filter) {
        match self {
            Self::Stream(changes) => changes.watch(filter),
            Self::Session { channel, away } => {
                if std::mem::take(away) {
                    channel.events().uris(&filter.uris);
                }
            }
        }
    }
}

/// Asks a server for its era anew: what is to be said if it is another one than we speak. A server
/// can be replaced by one of the other era so fast that nobody sees it gone.
async fn other_era(link: &HttpLink, means: &Means) -> Option<Fault> {
    let mut fresh = link.clone();
    fresh.speak(Version::MODERN_NEWEST, None);
    let era = match (probe_http(&fresh, means).await, link.dialect().era) {
        (Verdict::Modern(_), Era::Legacy) => "modern",
        (Verdict::Legacy, Era::Modern) => "legacy",
        _ => return None,
    };
    Some(Fault::upstream(Kind::Protocol, Sent::No, format!("it speaks the {era} era now")))
}
