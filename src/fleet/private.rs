//! Replicas that not everybody shares. Of upstreams that keep state for their clients
//! (`isolation = "session"`) each client session has a child or an upstream session of its own.
//! Where it is made is chosen once, by the number of sessions; from then on all its calls go there.
//!
//! State that is lost is told, once: a client whose calls may have changed something gets one
//! notice instead of the answer to its next call, so that it can build the state anew. One that has
//! only read goes on as if nothing had happened.
//!
//! Of upstreams that ask clients in the middle of calls, over a pipe that carries no link to a call,
//! each call whose client can be asked has a child to itself, once two such calls have met. It is
//! leased: the next call takes over one that no call is at.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::member::{Level, Member};
use crate::base::{Fault, Kind, UpstreamName, clock};
use crate::proto::Abilities;
use crate::upstream::Replica;
use crate::upstream::replica::State;

/// Most children of one upstream that belong to one client session each, or to one call.
pub const CHILDREN_MAX: usize = 64;
/// What belongs to a client session ends when it was not used for so long.
pub const IDLE_MAX: Duration = Duration::from_mins(30);
/// A child or an upstream session for one call at a time ends when no call was at it for so long.
pub const LEASE_IDLE_MAX: Duration = Duration::from_mins(5);

/// Makes a replica for one client session from the one for everybody, and keeps it until it is told
/// to stop.
pub type Make = dyn Fn(&Replica, Abilities, CancellationToken) -> Arc<Replica> + Send + Sync;

/// The means to make replicas for single client sessions.
#[derive(Clone)]
pub struct Raise {
    /// Makes one.
    pub make: Arc<Make>,
    /// Told when the gateway stops: all of them end.
    pub keepers: CancellationToken,
}

impl fmt::Debug for Raise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Raise")
    }
}

/// Whose a replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// A client session's, for as long as that lasts.
    Session,
    /// That of one call at a time.
    Call,
}

/// What belongs to client sessions, or to one call at a time.
#[derive(Debug)]
pub(super) struct Private {
    upstream: UpstreamName,
    raise: Raise,
    whose: Whose,
    /// By client session, or by a number of their own; in order, so that the same happens again in
    /// a simulation.
    pins: Mutex<BTreeMap<u64, Arc<Pin>>>,
    numbers: AtomicU64,
}

/// What belongs to one client session, or to one call. It ends when nobody holds it.
#[derive(Debug)]
pub(super) struct Pin {
    pub(super) member: Arc<Member>,
    /// The replica beside which it was made.
    base: Arc<Member>,
    whose: Whose,
    stop: CancellationToken,
    calls: AtomicUsize,
    state: Mutex<PinState>,
}

#[derive(Debug)]
struct PinState {
    used: Instant,
    /// The life of the replica that the client knows; 0 = none yet.
    life: u32,
    /// A call of the client may have changed something in that life.
    dirty: bool,
    /// What the client must be told.
    lost: Option<Lost>,
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A call of a client session is at its own replica as long as it holds this.
#[derive(Debug)]
pub(super) struct Pinned(pub(super) Arc<Pin>);

impl Drop for Pinned {
    fn drop(&mut self) {
        self.0.state.lock().used = clock::now();
        self.0.calls.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Private {
    pub(super) fn new(upstream: UpstreamName, raise: Raise, whose: Whose) -> Self {
        Self { upstream, raise, whose, pins: Mutex::default(), numbers: AtomicU64::new(0) }
    }

    /// How many client sessions have something of their own.
    pub(super) fn len(&self) -> usize {
        self.pins.lock().len()
    }

    /// What belongs to a client session; made now if there is nothing, or if that is down and
    /// something else is not. `most` = sessions at one replica behind a URL.
    pub(super) fn pin(
        &self,
        session: (u64, Abilities),
        bases: &[Arc<Member>],
        most: usize,
        now: Instant,
    ) -> Result<Pinned, Fault> {
        self.pin_in(&mut self.pins.lock(), session, bases, most, now)
    }

    /// One for a call alone, as long as that is held: the one that was used last of those that no
    /// call is at, and on whose pipe no question of a given-up call can come; made now if there is
    /// none. Where one has just ended none is made: its keeper starts it again in its own time, and
    /// the call goes where all go.
    pub(super) fn lease(
        &self,
        abilities: Abilities,
        bases: &[Arc<Member>],
        most: usize,
        now: Instant,
    ) -> Result<Pinned, Fault> {
        let mut pins = self.pins.lock();
        let rests = |pin: &Arc<Pin>| pin.calls.load(Ordering::Acquire) == 0;
        // One that hangs or fails is of no use to the next call either.
        pins.retain(|_, pin| !(rests(pin) && pin.is_bad()));
        let alike = |pin: &Arc<Pin>| {
            let same = pin.member.replica.place.abilities == abilities;
            rests(pin) && same && pin.is_beside(bases)
        };
        let fits =
            |pin: &Arc<Pin>| alike(pin) && !pin.is_down() && !pin.member.replica.is_haunted(now);
        let free = pins.iter().filter(|(_, pin)| fits(pin));
        let last = free.max_by_key(|(_, pin)| pin.state.lock().used).map(|(number, _)| *number);
        if last.is_none() && pins.values().any(|pin| alike(pin) && pin.is_down()) {
            let text = format!("one of {} has just ended", self.upstream);
            return Err(Fault::gateway(Kind::NoReplica, text));
        }
        let number = last.unwrap_or_else(|| self.numbers.fetch_add(1, Ordering::Relaxed));
        self.pin_in(&mut pins, (number, abilities), bases, most, now)
    }

    fn pin_in(
        &self,
        pins: &mut BTreeMap<u64, Arc<Pin>>,
        (home, abilities): (u64, Abilities),
        bases: &[Arc<Member>],
        most: usize,
        now: Instant,
    ) -> Result<Pinned, Fault> {
        let before = pins.get(&home).cloned();
        if let Some(pin) = before.as_ref().filter(|pin| pin.stays(bases, now)) {
            return Ok(pin.enter(now));
        }
        pins.remove(&home);
        if let Some(before) = &before {
            // What it was made beside may be gone too, and nobody has seen it yet.
            before.base.replica.doubt();
        }
        let old = before.as_ref().map(|before| &before.base);
        let base = match self.place(pins, bases, (old, most), now) {
            Ok(base) => base,
            Err(fault) => {
                // What was there may come back: better than nothing.
                if let Some(before) = before {
                    let entered = before.enter(now);
                    pins.insert(home, before);
                    return Ok(entered);
                }
                return Err(fault);
            }
        };
        let stop = self.raise.keepers.child_token();
        let replica = (self.raise.make)(&base.replica, abilities, stop.clone());
        replica.set_health(base.replica.health().as_ref().clone());
        let slowness = base.vital.load.slowness(now);
        let member = Arc::new(Member::new(replica, slowness, now));
        member.shares_with(base);
        let lost = before.and_then(|before| before.left());
        let state = Mutex::new(PinState { used: now, life: 0, dirty: false, lost });
        let calls = AtomicUsize::new(0);
        let (base, whose) = (Arc::clone(base), self.whose);
        let pin = Arc::new(Pin { member, base, whose, stop, calls, state });
        let entered = pin.enter(now);
        pins.insert(home, pin);
        Ok(entered)
    }

    /// The replica beside which a new one is made: of those that are well the one with the fewest
    /// sessions for its weight, and not the one beside which the `old` one was, if there is another.
    fn place<'a>(
        &self,
        pins: &mut BTreeMap<u64, Arc<Pin>>,
        bases: &'a [Arc<Member>],
        (old, most): (Option<&Arc<Member>>, usize),
        now: Instant,
    ) -> Result<&'a Arc<Member>, Fault> {
        let well = |level| move |base: &&'a Arc<Member>| base.fits(level, now);
        let any = bases.iter().any(|base| well(Level::Well)(&base));
        let level = if any { Level::Well } else { Level::Doubtful };
        // What is for one call is made from one that sleeps as well: it need not be there itself.
        let takes = |base: &&'a Arc<Member>| match self.whose {
            Whose::Call => well(level)(base) || base.is_ready(now),
            Whose::Session => well(level)(base),
        };
        let sessions = |base: &Arc<Member>, pins: &BTreeMap<u64, Arc<Pin>>| {
            pins.values().filter(|pin| Arc::ptr_eq(&pin.base, base)).count()
        };
        let fewest = bases.iter().filter(takes).min_by_key(|base| {
            let weight = usize::from(base.weight()).max(1);
            let again = old.is_some_and(|old| Arc::ptr_eq(&old.replica, &base.replica));
            (again, sessions(base, pins) * 1_000 / weight)
        });
        let Some(base) = fewest else {
            let text = format!("no replica of {} can take a session", self.upstream);
            return Err(Fault::gateway(Kind::NoReplica, text));
        };
        let child = base.replica.is_child();
        let full = |pins: &BTreeMap<u64, Arc<Pin>>| {
            if child {
                pins.values().filter(|pin| pin.base.replica.is_child()).count() >= CHILDREN_MAX
            } else {
                sessions(base, pins) >= most
            }
        };
        if full(pins) {
            evict(pins);
        }
        if full(pins) {
            let text = format!("{} is at its bound of {}", self.upstream, self.whose.many());
            let wait = Some(Duration::from_secs(1));
            return Err(Fault::gateway(Kind::Overloaded, text).retry_after(wait));
        }
        Ok(base)
    }

    /// A client session is over.
    pub(super) fn left(&self, home: u64) {
        let gone = self.pins.lock().remove(&home);
        drop(gone);
    }

    /// Ends what was made beside replicas that are there no more, unless a call is at it.
    pub(super) fn keep(&self, bases: &[Arc<Member>]) {
        let busy = |pin: &Arc<Pin>| pin.calls.load(Ordering::Acquire) > 0;
        self.pins.lock().retain(|_, pin| busy(pin) || pin.is_beside(bases));
    }

    /// Ends what was not used for long.
    pub(super) fn sweep(&self, now: Instant) {
        let idle = |pin: &Arc<Pin>| {
            let rests = now.saturating_duration_since(pin.state.lock().used);
            pin.calls.load(Ordering::Acquire) == 0 && rests > self.whose.idle_max()
        };
        self.pins.lock().retain(|_, pin| !idle(pin));
    }
}

impl Whose {
    fn idle_max(self) -> Duration {
        match self {
            Self::Session => IDLE_MAX,
            Self::Call => LEASE_IDLE_MAX,
        }
    }

    fn many(self) -> &'static str {
        match self {
            Self::Session => "client sessions",
            Self::Call => "calls at once whose client can be asked",
        }
    }
}

/// The one that was not used for longest goes, if no call is at it.
fn evict(pins: &mut BTreeMap<u64, Arc<Pin>>) {
    let idle = pins.iter().filter(|(_, pin)| pin.calls.load(Ordering::Acquire) == 0);
    let oldest = idle.min_by_key(|(_, pin)| pin.state.lock().used).map(|(home, _)| *home);
    if let Some(home) = oldest {
        pins.remove(&home);
    }
}

impl Pin {
    fn enter(self: &Arc<Self>, now: Instant) -> Pinned {
        self.calls.fetch_add(1, Ordering::AcqRel);
        self.state.lock().used = now;
        Pinned(Arc::clone(self))
    }

    fn is_down(&self) -> bool {
        matches!(self.member.replica.state(), State::Down(_))
    }

    /// It does not answer, or its gate is shut.
    fn is_bad(&self) -> bool {
        self.member.replica.is_suspect() || !self.member.is_open()
    }

    /// Whether one of these is the one beside which it was made.
    fn is_beside(&self, bases: &[Arc<Member>]) -> bool {
        bases.iter().any(|base| Arc::ptr_eq(&base.replica, &self.base.replica))
    }

    /// Whether calls go on at it: it is there or about to come, or nothing else is.
    fn stays(&self, bases: &[Arc<Member>], now: Instant) -> bool {
        let elsewhere = bases.iter().any(|base| base.is_well(now));
        self.is_beside(bases) && !(self.is_down() && elsewhere)
    }

    /// What is to be said when it is left for another one.
    fn left(&self) -> Option<Lost> {
        let state = self.state.lock();
        if state.lost.is_some() || state.life == 0 {
            return state.lost.clone();
        }
        if !state.dirty {
            return Some(Lost::Silent);
        }
        let why = match self.member.replica.state() {
            State::Down(why) => why,
            _ => "its replica is no longer in the configuration".to_owned(),
        };
        Some(Lost::Told(why))
    }

    /// What the client of a call of a tool must be told instead of an answer, once; `dirty` comes
    /// with whether state may be lost at all. Nothing is kept where each call may come to another.
    pub(super) fn notice(&self) -> Option<Lost> {
        if self.whose == Whose::Call {
            return None;
        }
        let mut state = self.state.lock();
        let life = self.member.replica.lives();
        if let Some(lost) = state.lost.take() {
            (state.life, state.dirty) = (life, false);
            return Some(lost);
        }
        if state.life == 0 || state.life == life {
            state.life = life;
            return None;
        }
        state.life = life;
        let dirty = std::mem::take(&mut state.dirty);
        Some(if dirty { Lost::Told("it was started anew".to_owned()) } else { Lost::Silent })
    }

    /// A call of the client may have changed something.
    pub(super) fn changed(&self) {
        let mut state = self.state.lock();
        state.life = self.member.replica.lives();
        state.dirty = true;
    }
}

/// State of a client session is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// The client has only read: it need not know.
    Silent,
    /// The client must know, and why.
    Told(String),
}
