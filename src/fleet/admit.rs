//! Places at an upstream: how many calls run there at once, and who waits for one. Calls that find
//! a place take it without a lock; those that do not wait in the [`Queue`], and each place that
//! becomes free wakes the one whose turn it is.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::queue::Queue;
use crate::base::clock;
use crate::upstream::nap::Hold;

/// A call that waits longer than this for a place is refused, unless half of these calls take
/// longer themselves.
pub(super) const WAIT_MIN: Duration = Duration::from_secs(1);
/// The longest wait for a place, and that of a call of which nothing is known.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(10);

/// Places at an upstream.
#[derive(Debug)]
pub(super) struct Admission {
    most: AtomicUsize,
    running: AtomicUsize,
    /// How many wait: looked at without the lock.
    waiting: AtomicUsize,
    tickets: AtomicU64,
    queue_max: AtomicUsize,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    queue: Queue,
    bells: HashMap<u64, oneshot::Sender<Turn>>,
}

/// Why a call gets no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Too many wait already, of this client or of all.
    Full,
    /// It waited for too long.
    Waited,
}

/// A place among the calls of the upstream.
#[derive(Debug)]
pub(super) struct Seat(Arc<Admission>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::AcqRel);
        self.0.wake();
    }
}

/// A place at a replica, which stays awake as long as this is held.
#[derive(Debug)]
pub(super) struct Place {
    permit: Option<OwnedSemaphorePermit>,
    hold: Option<Hold>,
    admission: Arc<Admission>,
}

impl Place {
    pub(super) fn new(
        permit: OwnedSemaphorePermit,
        hold: Hold,
        admission: &Arc<Admission>,
    ) -> Self {
        Self { permit: Some(permit), hold: Some(hold), admission: Arc::clone(admission) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.hold.take());
        drop(self.permit.take());
        self.admission.wake();
    }
}

/// It is somebody's turn. One that nobody takes goes to the next.
#[derive(Debug)]
pub(super) struct Turn(Option<Arc<Admission>>);

impl Turn {
    /// It was used, or there was nothing to use it for.
    pub(super) fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(admission) = self.0.take() {
            admission.wake();
        }
    }
}

impl Admission {
    pub(super) fn new(most: usize, queue_max: usize) -> Self {
        Self {
            most: AtomicUsize::new(most),
            running: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            tickets: AtomicU64::new(0),
            queue_max: AtomicUsize::new(queue_max),
            line: Mutex::default(),
        }
    }

    /// Other bounds from now on. Calls that run or wait go on, also where they are too many now.
    pub(super) fn set_bounds(self: &Arc<Self>, most: usize, queue_max: usize) {
        self.most.store(most, Ordering::Relaxed);
        self.queue_max.store(queue_max, Ordering::Relaxed);
        self.wake();
    }

    /// Calls that run.
    pub(super) fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// Calls that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// A place among the calls of the upstream, if there is one now.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Seat> {
        let mut running = self.running.load(Ordering::Relaxed);
        while running < self.most.load(Ordering::Relaxed) {
            let next = running + 1;
            let swapped = self.running.compare_exchange_weak(
                running,
                next,
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            match swapped {
                Ok(_) => return Some(Seat(Arc::clone(self))),
                Err(present) => running = present,
            }
        }
        None
    }

    /// Waits for a turn, as one of a client's calls.
    pub(super) async fn turn(
        self: &Arc<Self>,
        client: u64,
        cost: u32,
        limit: Duration,
    ) -> Result<Turn, Refused> {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let (bell, mut rung) = oneshot::channel();
        {
            let mut line = self.line.lock();
            let now = clock::now();
            if line.queue.len() >= self.queue_max.load(Ordering::Relaxed) {
                let goes = line.queue.displace(client, now).ok_or(Refused::Full)?;
                // Its bell never rings: that tells it.
                line.bells.remove(&goes);
            }
            line.queue.push(client, ticket, cost, now);
            line.bells.insert(ticket, bell);
            self.waiting.store(line.queue.len(), Ordering::Release);
        }
        let _leaves = Leaves { admission: self, client, ticket };
        // A place that became free before this call stood in the line has rung for nobody.
        self.wake_if_idle();
        match tokio::time::timeout(limit, &mut rung).await {
            Ok(Ok(turn)) => Ok(turn),
            // It had to make room for a client that asks for less.
            Ok(Err(_)) => Err(Refused::Full),
            // The bell may ring in the very moment the time is over.
            Err(_) => rung.try_recv().map_err(|_none| Refused::Waited),
        }
    }

    /// A place is free: the one whose turn it is may look.
    pub(super) fn wake(self: &Arc<Self>) {
        if self.waiting() == 0 {
            return;
        }
        let bell = {
            let mut line = self.line.lock();
            let next = line.queue.pop(clock::now());
            self.waiting.store(line.queue.len(), Ordering::Release);
            next.and_then(|ticket| line.bells.remove(&ticket))
        };
        if let Some(bell) = bell {
            // One that has just left drops the turn, which goes to the next.
            drop(bell.send(Turn(Some(Arc::clone(self)))));
        }
    }

    /// Nothing runs that could ring: the first in the line may look at once.
    fn wake_if_idle(self: &Arc<Self>) {
        if self.running() == 0 {
            self.wake();
        }
    }
}

/// A call in the line; it leaves when it is dropped.
struct Leaves<'a> {
    admission: &'a Arc<Admission>,
    client: u64,
    ticket: u64,
}

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        let mut line = self.admission.line.lock();
        line.queue.remove(self.client, self.ticket);
        line.bells.remove(&self.ticket);
        self.admission.waiting.store(line.queue.len(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    const LONG: Duration = Duration::from_secs(5);

    fn admission(most: usize, queue: usize) -> Arc<Admission> {
        Arc::new(Admission::new(most, queue))
    }

    #[tokio::test(start_paused = true)]
    async fn a_bound_that_grows_lets_the_next_one_look_and_one_that_shrinks_ends_nothing() {
        let all = admission(1, 8);
        let seat = all.enter().unwrap();
        let grows = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            all.set_bounds(2, 8);
        };
        let (turn, ()) = tokio::join!(all.turn(1, 1, LONG), grows);
        turn.unwrap().done();
        let other = all.enter().unwrap();
        all.set_bounds(1, 0);
        assert_eq!((all.running(), all.enter().is_none()), (2, true));
        assert_eq!(all.turn(1, 1, LONG).await.unwrap_err(), Refused::Full);
        drop(seat);
        assert!(all.enter().is_none(), "still one too many");
        drop(other);
        assert!(all.enter().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_one_client_fills_has_room_for_another() {
        let all = admission(1, 2);
        let seat = all.enter().unwrap();
        let (first, second) = (all.turn(1, 1, LONG), all.turn(1, 1, LONG));
        let other = async {
            tokio::task::yield_now().await;
            let third = all.turn(1, 1, LONG).await.map(drop);
            assert_eq!(third.unwrap_err(), Refused::Full, "it fills the line itself");
            let turn = all.turn(2, 1, LONG);
            let frees = async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                drop(seat);
            };
            let (turn, ()) = tokio::join!(turn, frees);
            turn.map(drop)
        };
        let first = async { first.await.map(drop) };
        let (first, second, other) = tokio::join!(first, second, other);
        first.unwrap();
        assert_eq!(second.unwrap_err(), Refused::Full);
        other.unwrap();
        assert_eq!(all.waiting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_becomes_free_goes_to_the_one_whose_turn_it_is() {
        let all = admission(1, 8);
        let seat = all.enter().unwrap();
        assert!(all.enter().is_none());
        let (first, second) = (all.turn(1, 1, LONG), all.turn(2, 1, LONG));
        let later = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(seat);
        };
        let both = async {
            let turn = first.await.unwrap();
            let seat = all.enter().unwrap();
            turn.done();
            drop(seat);
        };
        let next = async {
            let turn = second.await.unwrap();
            let _seat = all.enter().unwrap();
            turn.done();
        };
        tokio::join!(both, next, later);
        assert_eq!((all.running(), all.waiting()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_line_is_bounded_in_length_and_in_time() {
        let all = admission(1, 1);
        let _seat = all.enter().unwrap();
        let one = all.turn(1, 1, LONG);
        let two = async {
            tokio::task::yield_now().await;
            all.turn(1, 1, LONG).await.map(drop)
        };
        let (one, two) = tokio::join!(one, two);
        assert_eq!(two, Err(Refused::Full));
        assert_eq!(one.map(drop), Err(Refused::Waited));
        assert_eq!(all.waiting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_the_line_takes_nobodys_turn() {
        let all = admission(1, 8);
        let seat = all.enter().unwrap();
        let mut gone = Box::pin(all.turn(1, 1, LONG));
        let waits = async {
            drop(tokio::time::timeout(Duration::ZERO, &mut gone).await);
            let next = all.turn(2, 1, LONG);
            let mut next = Box::pin(next);
            drop(tokio::time::timeout(Duration::ZERO, &mut next).await);
            // The bell rings for the first, which leaves without listening.
            drop(seat);
            drop(gone);
            next.await
        };
        assert!(waits.await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn under_load_never_more_than_the_bound_run_and_all_get_their_turn() {
        let all = admission(3, 1_000);
        let most = Arc::new(AtomicU32::new(0));
        let call = |client: u64| {
            let (all, most) = (Arc::clone(&all), Arc::clone(&most));
            async move {
                let mut must_wait = all.waiting() > 0;
                loop {
                    if !must_wait && let Some(_seat) = all.enter() {
                        let running = u32::try_from(all.running()).unwrap();
                        most.fetch_max(running, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_millis(7 + client)).await;
                        return;
                    }
                    let turn = all.turn(client, 1, LONG).await.expect("it waited too long");
                    turn.done();
                    must_wait = false;
                }
            }
        };
        let mut calls = tokio::task::JoinSet::new();
        for n in 0..300_u64 {
            calls.spawn(call(n % 5));
        }
        while let Some(done) = calls.join_next().await {
            done.unwrap();
        }
        assert_eq!(most.load(Ordering::Relaxed), 3);
        assert_eq!((all.running(), all.waiting()), (0, 0));
        assert!(all.line.lock().bells.is_empty());
    }
}
