//! Answers that many calls share: a [`Shelf`] behind a lock, and one fetch at a time for one key.
//!
//! Callers of one key queue behind the first, which fetches; the others get its answer or its
//! failure. Nothing is spawned: when the fetching caller gives up, the next in the queue takes over.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::base::clock;

use super::cache::{Bounds, Held, Life, Shelf};

/// What a fetch brings.
#[derive(Clone, Debug)]
pub(super) struct Fetched<V> {
    pub(super) value: V,
    /// About how much memory it takes.
    pub(super) bytes: usize,
    pub(super) life: Life,
}

/// The outcome of one fetch, once there is one. The lock is held while it runs.
type Flight<V, E> = tokio::sync::Mutex<Option<Result<Held<V>, E>>>;
type Flights<V, E> = Mutex<HashMap<String, Arc<Flight<V, E>>>>;

/// A shared cache.
#[derive(Debug)]
pub(super) struct Shared<V, E> {
    shelf: Mutex<Shelf<V>>,
    flights: Flights<V, E>,
}

impl<V: Clone, E: Clone> Shared<V, E> {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { shelf: Mutex::new(Shelf::new(bounds)), flights: Mutex::default() }
    }

    /// A fresh entry, else what `fetch` brings, else its failure.
    pub(super) async fn get<F>(&self, key: &str, fetch: F) -> Result<Held<V>, E>
    where
        F: Future<Output = Result<Fetched<V>, E>>,
    {
        if let Some(held) = self.any_age(key).filter(|held| held.fresh) {
            return Ok(held);
        }
        let seat = Seat::take(&self.flights, key);
        let mut outcome = seat.flight.lock().await;
        if let Some(outcome) = outcome.as_ref() {
            return outcome.clone();
        }
        let fetched = fetch.await.map(|fetched| {
            let Fetched { value, bytes, life } = fetched;
            self.shelf.lock().put(key, value.clone(), bytes, life, clock::now());
            Held { value, age: std::time::Duration::ZERO, fresh: true, cached: false }
        });
        *outcome = Some(fetched.clone());
        // From here on newcomers look at the shelf, or fetch anew.
        seat.land();
        fetched
    }

    /// The entry of whatever age, for when a new answer cannot be had.
    pub(super) fn any_age(&self, key: &str) -> Option<Held<V>> {
        self.shelf.lock().get(key, clock::now())
    }
}

/// A caller's place in the queue of a key.
struct Seat<'a, V, E> {
    flights: &'a Flights<V, E>,
    key: &'a str,
    flight: Arc<Flight<V, E>>,
}

impl<'a, V, E> Seat<'a, V, E> {
    fn take(flights: &'a Flights<V, E>, key: &'a str) -> Self {
        let flight = Arc::clone(flights.lock().entry(key.to_owned()).or_default());
        Self { flights, key, flight }
    }

    /// Closes the queue to newcomers.
    fn land(&self) {
        let mut flights = self.flights.lock();
        if flights.get(self.key).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight)) {
            flights.remove(self.key);
        }
    }
}

impl<V, E> Drop for Seat<'_, V, E> {
    fn drop(&mut self) {
        // The last one to leave a queue without an outcome takes it away. Two references are the
        // table's and ours: nobody can get a third while the table is locked.
        let mut flights = self.flights.lock();
        let ours = flights.get(self.key).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight));
        if ours && Arc::strong_count(&self.flight) <= 2 {
            flights.remove(self.key);
        }
        // Another seat of this queue that leaves right now waits for the lock, and must find our
        // reference gone: it is given back under the lock.
        self.flight = Arc::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;
    use tokio::task::JoinSet;

    const LIFE: Life = Life { fresh: Duration::from_secs(10), keep: Duration::from_secs(100) };
    const SLOW: Duration = Duration::from_secs(1);

    type Cache = Arc<Shared<u32, &'static str>>;

    fn cache() -> Cache {
        Arc::new(Shared::new(Bounds { entries_max: 10, bytes_max: 10_000 }))
    }

    /// A slow fetch that counts itself and brings its number, or fails.
    async fn fetch(fetches: &AtomicU32, fails: bool) -> Result<Fetched<u32>, &'static str> {
        let number = fetches.fetch_add(1, Ordering::SeqCst) + 1;
        tokio::time::sleep(SLOW).await;
        let (bytes, life) = (1, LIFE);
        let value = number;
        if fails { Err("down") } else { Ok(Fetched { value, bytes, life }) }
    }

    /// Calls at the same time.
    fn crowd(
        cache: &Cache,
        fetches: &Arc<AtomicU32>,
        fails: bool,
    ) -> JoinSet<Result<u32, &'static str>> {
        let mut calls = JoinSet::new();
        for _ in 0..100 {
            let (cache, fetches) = (Arc::clone(cache), Arc::clone(fetches));
            calls.spawn(async move {
                let held = cache.get("key", fetch(&fetches, fails)).await;
                held.map(|held| held.value)
            });
        }
        calls
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_calls_at_once_are_one_fetch() {
        let (cache, fetches) = (cache(), Arc::default());
        let outcomes = crowd(&cache, &fetches, false).join_all().await;
        assert!(outcomes.iter().all(|outcome| *outcome == Ok(1)));
        assert_eq!(fetches.load(Ordering::SeqCst), 1);
        assert!(cache.flights.lock().is_empty());
        assert_eq!(cache.get("key", fetch(&fetches, true)).await.map(|held| held.cached), Ok(true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_shared_too_but_not_kept() {
        let (cache, fetches) = (cache(), Arc::default());
        let outcomes = crowd(&cache, &fetches, true).join_all().await;
        assert!(outcomes.iter().all(|outcome| *outcome == Err("down")));
        assert_eq!(fetches.load(Ordering::SeqCst), 1);
        assert!(cache.flights.lock().is_empty());
        assert_eq!(cache.get("key", fetch(&fetches, false)).await.map(|held| held.value), Ok(2));
    }

    #[tokio::test(start_paused = true)]
    async fn when_the_fetching_call_gives_up_the_next_one_fetches() {
        let (cache, fetches) = (cache(), Arc::<AtomicU32>::default());
        let impatient = cache.get("key", fetch(&fetches, false));
        let patient = async {
            tokio::time::sleep(SLOW / 10).await;
            cache.get("key", fetch(&fetches, false)).await
        };
        let (gave_up, got) = tokio::join!(tokio::time::timeout(SLOW / 2, impatient), patient);
        assert!(gave_up.is_err());
        assert_eq!(got.map(|held| (held.value, held.cached)), Ok((2, false)));
        assert!(cache.flights.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_everybody_left_is_gone() {
        let (cache, fetches) = (cache(), Arc::default());
        let crowd = crowd(&cache, &fetches, false);
        tokio::time::sleep(SLOW / 2).await;
        assert_eq!(cache.flights.lock().len(), 1);
        drop(crowd);
        tokio::time::sleep(SLOW / 10).await;
        assert_eq!(cache.flights.lock().len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stale_entry_is_fetched_anew_and_stays_for_when_that_fails() {
        let (cache, fetches) = (cache(), Arc::default());
        assert!(cache.any_age("key").is_none());
        let first = cache.get("key", fetch(&fetches, false)).await.unwrap();
        assert_eq!((first.value, first.cached), (1, false));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(cache.get("key", fetch(&fetches, true)).await, Err("down"));
        let old = cache.any_age("key").unwrap();
        assert_eq!((old.value, old.fresh, old.age), (1, false, Duration::from_secs(11)));
    }
}
