//! Whether a child sleeps, and who keeps it awake. One short lock holds both: a child that is about
//! to be stopped is asleep before its stop begins, and no call gets at one that is asleep; a call
//! that is at one has been counted before anybody can decide to stop it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::idle::{Rest, Use, rest};
use super::replica::Replica;
use crate::base::clock;

/// Whether a child sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It does not: it is up, down, or starting for another reason than that it slept.
    Awake,
    /// It was stopped because nobody used it, or was never started.
    Asleep,
    /// It slept, somebody wants it, and it starts.
    Waking,
}

/// What one replica has of it.
#[derive(Debug)]
pub(super) struct Nap {
    state: Mutex<State>,
    /// The phase, for those who only look: it is written under the lock.
    phase: AtomicU8,
    /// Its keeper looks again.
    stir: Notify,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// How often the phase has changed.
    turns: u64,
    holds: usize,
    last: Instant,
    /// It is stopped when it was not used for so long; `None` = never.
    after: Option<Duration>,
}

/// Somebody is at a child: it does not fall asleep as long as this is held.
#[derive(Debug)]
pub struct Hold {
    /// `None` for a server behind a URL, which never sleeps.
    replica: Option<Arc<Replica>>,
    /// It is a use; else only a look, after which the child is as idle as before.
    uses: bool,
}

impl Hold {
    /// At a replica that is counted already, or that never sleeps.
    pub(super) fn new(replica: Option<Arc<Replica>>, uses: bool) -> Self {
        Self { replica, uses }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(replica) = &self.replica {
            replica.nap().release(self.uses.then(clock::now));
        }
    }
}

impl Nap {
    pub(super) fn new() -> Self {
        let (phase, last) = (Phase::Awake, clock::now());
        let state = State { phase, turns: 0, holds: 0, last, after: None };
        Self { state: Mutex::new(state), phase: AtomicU8::new(0), stir: Notify::new() }
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            1 => Phase::Asleep,
            2 => Phase::Waking,
            _ => Phase::Awake,
        }
    }

    /// How often the phase has changed: who looks twice finds out whether it did in between.
    pub(super) fn turns(&self) -> u64 {
        self.state.lock().turns
    }

    /// It is stopped when it was not used for so long; `None` = never.
    pub(super) fn set_after(&self, after: Option<Duration>) {
        let mut state = self.state.lock();
        if state.after != after {
            state.after = after;
            self.stir.notify_one();
        }
    }

    /// Counts one more at it, unless it sleeps.
    pub(super) fn hold(&self) -> bool {
        let mut state = self.state.lock();
        let awake = state.phase == Phase::Awake;
        state.holds += usize::from(awake);
        awake
    }

    fn release(&self, used: Option<Instant>) {
        let mut state = self.state.lock();
        state.holds -= 1;
        state.last = used.map_or(state.last, |used| used.max(state.last));
    }

    /// Counts one more at one that sleeps or wakes up already. `starts` runs if it slept.
    pub(super) fn rouse(&self, starts: impl FnOnce()) -> bool {
        let mut state = self.state.lock();
        match state.phase {
            Phase::Awake => return false,
            Phase::Waking => {}
            Phase::Asleep => {
                self.enter(&mut state, Phase::Waking);
                starts();
                self.stir.notify_one();
            }
        }
        state.holds += 1;
        true
    }

    /// It was used a moment ago.
    pub(super) fn touch(&self, now: Instant) {
        let mut state = self.state.lock();
        state.last = now.max(state.last);
    }

    /// It is awake, and `becomes` so: up, or down for a reason. Who finds that it is awake finds that
    /// it has become so.
    pub(super) fn awake(&self, now: Instant, becomes: impl FnOnce()) {
        let mut state = self.state.lock();
        state.last = now;
        becomes();
        self.enter(&mut state, Phase::Awake);
    }

    /// It falls asleep if nobody has used it for long enough; `goes` takes it from the calls then.
    pub(super) fn settle(&self, now: Instant, watched: bool, goes: impl FnOnce()) -> Rest {
        let mut state = self.state.lock();
        let used = Use { holds: state.holds, watched, last: state.last };
        let rest = rest(now, &used, state.after);
        if rest == Rest::Now {
            self.enter(&mut state, Phase::Asleep);
            goes();
        }
        rest
    }

    /// It begins its life asleep.
    pub(super) fn begin_asleep(&self) {
        self.enter(&mut self.state.lock(), Phase::Asleep);
    }

    fn enter(&self, state: &mut State, phase: Phase) {
        state.turns += u64::from(state.phase != phase);
        state.phase = phase;
        self.phase.store(phase.number(), Ordering::Release);
    }

    /// Resolves when there is reason to look again.
    pub(super) async fn stirred(&self) {
        self.stir.notified().await;
    }
}

impl Phase {
    fn number(self) -> u8 {
        match self {
            Self::Awake => 0,
            Self::Asleep => 1,
            Self::Waking => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize};

    const SOON: Duration = Duration::from_nanos(1);

    #[test]
    #[expect(clippy::disallowed_methods, reason = "its threads are its own")]
    fn nobody_is_at_one_that_falls_asleep_and_nobody_gets_at_one_that_sleeps() {
        const CALLS: u64 = 2_000;
        let (nap, at_it) = (Nap::new(), AtomicUsize::new(0));
        let (asleep, wrong) = <(AtomicBool, AtomicUsize)>::default();
        let (naps, calls, wakes) = <(AtomicUsize, AtomicUsize, AtomicUsize)>::default();
        let all = Ordering::SeqCst;
        // A thread that stopped here would leave the others waiting.
        let must = |holds: bool| _ = wrong.fetch_add(usize::from(!holds), all);
        nap.set_after(Some(SOON));
        let calls_it = || {
            for nth in 0..CALLS {
                std::thread::sleep(Duration::from_micros(nth % 3 * 20));
                if nap.hold() {
                    at_it.fetch_add(1, all);
                    must(!asleep.load(all));
                    calls.fetch_add(1, all);
                    at_it.fetch_sub(1, all);
                    nap.release(Some(clock::now()));
                } else if nap.rouse(|| _ = wakes.fetch_add(1, all)) {
                    while nap.phase() != Phase::Awake {
                        std::thread::yield_now();
                    }
                    must(!asleep.load(all));
                    nap.release(None);
                }
            }
        };
        std::thread::scope(|scope| {
            let callers = [scope.spawn(calls_it), scope.spawn(calls_it), scope.spawn(calls_it)];
            // What its keeper does.
            while callers.iter().any(|caller| !caller.is_finished()) {
                if nap.phase() == Phase::Waking {
                    nap.awake(clock::now(), || asleep.store(false, all));
                }
                let goes = || {
                    must(at_it.load(all) == 0);
                    asleep.store(true, all);
                    naps.fetch_add(1, all);
                };
                if nap.phase() == Phase::Awake {
                    nap.settle(clock::now(), false, goes);
                }
            }
        });
        assert_eq!(wrong.load(all), 0, "a call was at one that slept");
        assert!(naps.load(all) > 10 && calls.load(all) > 10, "{naps:?} {calls:?}");
        let sleeps = usize::from(nap.phase() == Phase::Asleep);
        assert_eq!(wakes.load(all) + sleeps, naps.load(all), "each sleep is ended once");
    }

    #[test]
    fn whoever_wakes_it_holds_it_until_it_is_up_and_longer() {
        let nap = Nap::new();
        let now = clock::now();
        nap.set_after(Some(SOON));
        let later = now + Duration::from_secs(1);
        assert_eq!(nap.settle(later, true, || unreachable!()), Rest::LookAt(later + SOON));
        assert_eq!(nap.settle(later, false, || ()), Rest::Now);
        assert!(!nap.hold(), "it sleeps");
        let mut starts = 0;
        let turns = nap.turns();
        assert!(nap.rouse(|| starts += 1) && nap.rouse(|| starts += 1));
        assert_eq!((starts, nap.phase(), nap.turns()), (1, Phase::Waking, turns + 1));
        assert!(!nap.hold(), "nobody gets at it before it is up");
        nap.awake(later, || ());
        assert!(!nap.rouse(|| starts += 1));
        let much_later = later + Duration::from_secs(1);
        for _ in 0..2 {
            assert!(matches!(nap.settle(much_later, false, || unreachable!()), Rest::LookAt(_)));
            nap.release(Some(later));
        }
        // A look holds it too, and is no use of it.
        assert!(nap.hold());
        nap.release(None);
        assert_eq!(nap.settle(later + SOON, false, || ()), Rest::Now);
    }
}
