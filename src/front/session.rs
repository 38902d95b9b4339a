//! Legacy sessions over HTTP (2025-11-25, transports, "Session Management"). A session is what a
//! client said once in `initialize`; it has no task of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dashmap::DashMap;
use metrics::Gauge;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::base::{Principal, clock, rng};
use crate::gateway::{Counts, Demand, Gateway, Watching};
use crate::proto::error::{ErrorBody, INVALID_PARAMS};
use crate::proto::legacy::Hello;
use crate::proto::listen::URIS_MAX;
use crate::proto::{Abilities, Era, Level, Lists, Version, id};
use crate::upstream::Caller;
use crate::upstream::report::Updated;

use super::asks::Asks;
use super::body::Counted;
use super::replay::Replay;
use super::subscribe::Turn;

/// What a legacy client said once.
#[derive(Debug)]
pub struct Session {
    /// The revision that was agreed on.
    pub version: Version,
    /// Who it is, for calls.
    caller: Mutex<Arc<Caller>>,
    /// Cancelled when the session ends: its streams end with it.
    pub ended: CancellationToken,
    /// Calls that can be cancelled by a notification: the client's raw id and how.
    calls: Arc<Mutex<Vec<(Bytes, CancellationToken)>>>,
    /// Questions it has been asked.
    pub asks: Arc<Asks>,
    /// Keeps what upstreams offer to clients of its abilities.
    _demand: Option<Demand>,
    /// Resources it watches.
    watching: Mutex<HashMap<String, Watching>>,
    /// How often its lists had changed when it was last told.
    told: Mutex<Counts>,
    /// Streams of its calls, for when it comes back to them.
    pub replay: Replay,
    /// Which of its streams delivers.
    pub turn: Turn,
    /// Streams that are open on it.
    pub streams: AtomicUsize,
    used_ms: AtomicU64,
    /// Its place among the sessions of its principal.
    _counted: Option<Counted>,
    _leaves: Option<Leaves>,
}

/// A session is over when this is dropped: what upstreams keep for it alone ends.
#[derive(Debug)]
struct Leaves {
    gateway: Gateway,
    home: u64,
}

impl Drop for Leaves {
    fn drop(&mut self) {
        self.gateway.left(self.home);
    }
}

/// Most calls of one session that can be cancelled by a notification at once.
const CALLS_MAX: usize = 1_024;

impl Session {
    /// A session of a client that said hello.
    pub fn new(hello: &Hello, gateway: &Gateway) -> Self {
        let raw =
            |value: &serde_json::value::RawValue| Bytes::copy_from_slice(value.get().as_bytes());
        let abilities = Abilities::read(hello.capabilities.get().as_bytes());
        let caller = Caller {
            who: None,
            era: Era::Legacy,
            capabilities: raw(&hello.capabilities),
            info: hello.client_info.as_deref().map(raw),
            log_level: None,
            abilities,
            key: rng::draw(),
            home: rng::draw(),
            mail: Some(Arc::default()),
        };
        let told = gateway.changes().borrow().of(abilities);
        let home = caller.home;
        let session = Self::of(hello.version, caller, gateway.demand(abilities), told);
        Self { _leaves: Some(Leaves { gateway: gateway.clone(), home }), ..session }
    }

    /// Stands in for a session of a client that has not said hello: it declared nothing.
    pub fn silent(gateway: &Gateway) -> Self {
        let (key, home) = (rng::draw(), rng::draw());
        let caller = Caller { key, home, ..Caller::silent(Era::Legacy) };
        let session = Self::of(Version::LEGACY_NEWEST, caller, None, Counts::default());
        Self { _leaves: Some(Leaves { gateway: gateway.clone(), home }), ..session }
    }

    /// Whether its client comes back to a stream that ends before the answer: earlier revisions know
    /// no events without data, and so no id to come back with.
    pub fn polls(&self) -> bool {
        self.version >= Version::V2025_11_25
    }

    fn of(version: Version, caller: Caller, demand: Option<Demand>, told: Counts) -> Self {
        Self {
            version,
            caller: Mutex::new(Arc::new(caller)),
            ended: CancellationToken::new(),
            calls: Arc::default(),
            asks: Arc::default(),
            _demand: demand,
            watching: Mutex::default(),
            told: Mutex::new(told),
            replay: Replay::default(),
            turn: Turn::default(),
            streams: AtomicUsize::new(0),
            used_ms: AtomicU64::new(0),
            _counted: None,
            _leaves: None,
        }
    }

    /// The session belongs to a principal, if clients are asked who they are, and holds its place
    /// among the sessions of it while it lives.
    #[must_use]
    pub fn of_principal(mut self, who: Option<&Arc<Principal>>, counted: Option<Counted>) -> Self {
        if let Some(who) = who {
            let caller = self.caller.get_mut();
            let (who, key) = (Some(Arc::clone(who)), who.key());
            *caller = Arc::new(Caller { who, key, ..Caller::clone(caller) });
        }
        Self { _counted: counted, ..self }
    }

    /// Whether it is the session of this principal; of nobody, where nobody is asked.
    fn is_of(&self, who: Option<&Principal>) -> bool {
        self.caller.lock().who.as_deref() == who
    }

    /// The same client begins anew on the same pipe: its calls run on and can still be cancelled, and
    /// it reads the same mailbox.
    #[must_use]
    pub fn after(mut self, before: &Self) -> Self {
        self.calls = Arc::clone(&before.calls);
        self.asks = Arc::clone(&before.asks);
        if let Some(mail) = before.caller().mail.clone() {
            let caller = self.caller.get_mut();
            *caller = Arc::new(Caller { mail: Some(mail), ..Caller::clone(caller) });
        }
        self
    }

    /// Who calls.
    pub fn caller(&self) -> Arc<Caller> {
        Arc::clone(&self.caller.lock())
    }

    /// The client set the least severe log message it wants.
    pub fn set_log_level(&self, level: Level) {
        let mut caller = self.caller.lock();
        *caller = Arc::new(Caller { log_level: Some(level), ..Caller::clone(&caller) });
    }

    /// The client watches a resource from now on.
    pub fn watch(&self, gateway: &Gateway, uri: &str) -> Result<(), ErrorBody> {
        let mut watching = self.watching.lock();
        if watching.contains_key(uri) {
            return Ok(());
        }
        if watching.len() >= URIS_MAX {
            let text = format!("a session may watch {URIS_MAX} resources");
            return Err(ErrorBody::new(INVALID_PARAMS, text));
        }
        let abilities = self.caller().abilities;
        watching.insert(uri.to_owned(), gateway.watch(abilities, uri)?);
        Ok(())
    }

    /// Resolves when the server of a watched resource has been asked to watch it: what changes from
    /// then on is told.
    pub async fn taken(&self, uri: &str) {
        let pool = self.watching.lock().get(uri).map(|watching| Arc::clone(watching.pool()));
        if let Some(pool) = pool {
            pool.taken(uri).await;
        }
    }

    /// The client watches a resource no more. One that it never watched is no mistake.
    pub fn unwatch(&self, uri: &str) {
        let gone = self.watching.lock().remove(uri);
        drop(gone);
    }

    /// Whether the client watches what was updated.
    pub fn watches(&self, updated: &Updated) -> bool {
        let watching = self.watching.lock();
        watching.get(&updated.uri).is_some_and(|own| own.upstream == updated.upstream)
    }

    /// Everything the client watches.
    pub fn watched(&self) -> Vec<String> {
        self.watching.lock().keys().cloned().collect()
    }

    /// The lists that have changed since the client was last told, which it is now.
    pub fn untold(&self, now: Counts) -> Lists {
        let mut told = self.told.lock();
        let lists = now.since(*told);
        *told = now;
        lists
    }

    /// Enters a call that the client may cancel. It leaves when the guard is dropped.
    pub fn enter(self: &Arc<Self>, id: Bytes) -> Entered {
        let token = CancellationToken::new();
        let mut calls = self.calls.lock();
        if calls.len() < CALLS_MAX {
            calls.push((id.clone(), token.clone()));
        }
        Entered { session: Arc::clone(self), id, token }
    }

    /// The session ends: its streams and its calls with it.
    fn end(&self) {
        self.ended.cancel();
        for (_, token) in self.calls.lock().iter() {
            token.cancel();
        }
    }

    /// The client cancels a call. An id that is not in flight is ignored.
    pub fn cancel(&self, id: &[u8]) {
        if let Some((_, token)) = self.calls.lock().iter().find(|(known, _)| id::same(known, id)) {
            token.cancel();
        }
    }
}

/// A call of a session while it runs.
#[derive(Debug)]
pub struct Entered {
    session: Arc<Session>,
    id: Bytes,
    token: CancellationToken,
}

impl Entered {
    /// Resolves when the client cancels the call.
    pub async fn cancelled(&self) {
        self.token.cancelled().await;
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut calls = self.session.calls.lock();
        if let Some(place) = calls.iter().position(|(id, _)| *id == self.id) {
            calls.swap_remove(place);
        }
    }
}

/// Every legacy session.
#[derive(Debug)]
pub struct Sessions {
    table: DashMap<String, Arc<Session>>,
    began: Instant,
    len_max: usize,
    gauge: Gauge,
}

/// The table is full.
#[derive(Clone, Copy, Debug)]
pub struct Full;

impl Sessions {
    /// An empty table.
    pub fn new(sessions_max: usize, gauge: Gauge) -> Self {
        gauge.set(0.0);
        Self { table: DashMap::new(), began: clock::now(), len_max: sessions_max, gauge }
    }

    /// Enters a session. Answers its id: 128 unguessable bits in visible ASCII.
    pub fn open(&self, session: Session) -> Result<String, Full> {
        if self.table.len() >= self.len_max {
            return Err(Full);
        }
        let id = rng::token();
        session.used_ms.store(self.elapsed(clock::now()), Ordering::Relaxed);
        self.table.insert(id.clone(), Arc::new(session));
        self.gauge.increment(1.0);
        Ok(id)
    }

    /// The session of this id, which counts as used now. To anybody but its principal it is not
    /// there: an id is no proof of who one is.
    pub fn get(&self, id: &str, who: Option<&Principal>) -> Option<Arc<Session>> {
        let session = Arc::clone(self.table.get(id)?.value());
        if !session.is_of(who) {
            return None;
        }
        session.used_ms.store(self.elapsed(clock::now()), Ordering::Relaxed);
        Some(session)
    }

    /// Ends a session. Answers whether there was one.
    pub fn close(&self, id: &str) -> bool {
        match self.table.remove(id) {
            Some((_, session)) => {
                session.end();
                self.gauge.decrement(1.0);
                true
            }
            None => false,
        }
    }

    /// Forgets sessions that were idle for longer than this: real clients seldom say goodbye. One with an
    /// open stream is not idle.
    pub fn reap(&self, now: Instant, idle_max: Duration) {
        self.table.iter().for_each(|entry| entry.value().replay.sweep(now));
        let now = self.elapsed(now);
        let idle_max = u64::try_from(idle_max.as_millis()).unwrap_or(u64::MAX);
        let idle = |session: &Session| {
            session.streams.load(Ordering::Relaxed) == 0
                && now.saturating_sub(session.used_ms.load(Ordering::Relaxed)) > idle_max
        };
        let old: Vec<String> = self
            .table
            .iter()
            .filter(|entry| idle(entry.value()))
            .map(|entry| entry.key().clone())
            .collect();
        for id in old {
            self.close(&id);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    fn elapsed(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::PrincipalName;
    use crate::proto::legacy::read_initialize;
    use crate::telemetry::Meters;

    const IDLE: Duration = Duration::from_mins(1);

    fn sessions(sessions_max: usize) -> Sessions {
        Sessions::new(sessions_max, Meters::new().sessions("legacy"))
    }

    fn session() -> Session {
        let hello = br#"{"protocolVersion":"2025-06-18","capabilities":{}}"#;
        let gateway = Gateway::bare(&Meters::new());
        Session::new(&read_initialize(Some(hello)).unwrap(), &gateway)
    }

    #[test]
    fn who_begins_anew_on_a_pipe_reads_the_same_mailbox() {
        let first = session();
        let again = session().after(&first);
        let mail = |session: &Session| session.caller().mail.clone().unwrap();
        assert!(Arc::ptr_eq(&mail(&first), &mail(&again)));
        assert_ne!(first.caller().home, again.caller().home);
    }

    #[test]
    fn a_session_lives_until_it_is_closed_or_idle() {
        let all = sessions(10);
        let (a, b) = (all.open(session()).unwrap(), all.open(session()).unwrap());
        assert_ne!(a, b);
        assert!(all.close(&a) && !all.close(&a) && all.get(&a, None).is_none());
        all.reap(clock::now() + Duration::from_secs(59), IDLE);
        assert!(all.get(&b, None).is_some());
        let held = all.get(&b, None).unwrap();
        held.streams.store(1, Ordering::Relaxed);
        all.reap(clock::now() + Duration::from_hours(1), IDLE);
        assert_eq!(all.len(), 1, "an open stream keeps it");
        held.streams.store(0, Ordering::Relaxed);
        all.reap(clock::now() + Duration::from_hours(1), IDLE);
        assert!(all.is_empty() && held.ended.is_cancelled());
    }

    #[test]
    fn the_table_is_bounded() {
        let all = sessions(1);
        all.open(session()).unwrap();
        assert!(all.open(session()).is_err());
    }

    #[test]
    fn a_session_is_there_for_its_principal_alone() {
        let all = sessions(10);
        let name = |name| Principal::new(PrincipalName::new(name).unwrap());
        let (alice, bob) = (name("alice"), name("bob"));
        let count = Arc::default();
        let counted = Counted::enter(&count, 1);
        let owned = session().of_principal(Some(&Arc::new(alice.clone())), counted);
        let (hers, nobodys) = (all.open(owned).unwrap(), all.open(session()).unwrap());
        assert!(all.get(&hers, Some(&alice)).is_some());
        assert!(all.get(&hers, Some(&bob)).is_none() && all.get(&hers, None).is_none());
        assert!(all.get(&nobodys, Some(&alice)).is_none() && all.get(&nobodys, None).is_some());
        all.get(&hers, Some(&alice)).unwrap().set_log_level(Level::Debug);
        assert!(all.get(&hers, Some(&alice)).is_some(), "it stays hers");
        assert!(Counted::enter(&count, 1).is_none());
        all.close(&hers);
        assert!(Counted::enter(&count, 1).is_some(), "its place is free");
    }

    #[tokio::test]
    async fn only_the_call_that_is_named_is_cancelled() {
        let session = Arc::new(session());
        let one = session.enter(Bytes::from_static(b"1"));
        let text = session.enter(Bytes::from_static(b"\"1\""));
        session.cancel(b"\"1\"");
        session.cancel(b"99");
        text.cancelled().await;
        assert!(!one.token.is_cancelled());
        drop(one);
        assert_eq!(session.calls.lock().len(), 1);
    }
}
