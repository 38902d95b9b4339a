//! Pure: a small store of answers with an age: fresh for a while, then stale but still better than
//! nothing, then gone. Bounded by entries and by bytes; the least recently used goes first.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// What an entry costs beside its key and value, in bytes: a guess on the high side.
const ENTRY_OVERHEAD_BYTES: usize = 128;

/// How much a shelf may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) entries_max: usize,
    pub(super) bytes_max: usize,
}

/// How long an answer is worth something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    /// So long it is as good as a new one.
    pub(super) fresh: Duration,
    /// So long it may stand in for one that cannot be had.
    pub(super) keep: Duration,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held<V> {
    pub(super) value: V,
    /// Since it was put there.
    pub(super) age: Duration,
    pub(super) fresh: bool,
    /// Whether it was found here, or was fetched just now.
    pub(super) cached: bool,
}

/// The store.
#[derive(Debug)]
pub(super) struct Shelf<V> {
    bounds: Bounds,
    entries: HashMap<String, Entry<V>>,
    bytes: usize,
    /// Counts uses: the order of last use without a clock.
    uses: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: usize,
    life: Life,
    since: Instant,
    used: u64,
}

impl<V: Clone> Shelf<V> {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, entries: HashMap::new(), bytes: 0, uses: 0 }
    }

    /// The entry, fresh or stale.
    pub(super) fn get(&mut self, key: &str, now: Instant) -> Option<Held<V>> {
        let entry = self.entries.get_mut(key)?;
        let age = now.saturating_duration_since(entry.since);
        if age >= entry.life.keep.max(entry.life.fresh) {
            self.remove(key);
            return None;
        }
        self.uses += 1;
        entry.used = self.uses;
        let fresh = age < entry.life.fresh;
        Some(Held { value: entry.value.clone(), age, fresh, cached: true })
    }

    /// Keeps a value of about `bytes`; it takes the place of an older one. What is larger than the
    /// whole shelf is not kept.
    pub(super) fn put(&mut self, key: &str, value: V, bytes: usize, life: Life, now: Instant) {
        self.remove(key);
        let bytes = bytes.saturating_add(key.len()).saturating_add(ENTRY_OVERHEAD_BYTES);
        if bytes > self.bounds.bytes_max || self.bounds.entries_max == 0 {
            return;
        }
        while self.entries.len() >= self.bounds.entries_max
            || self.bytes.saturating_add(bytes) > self.bounds.bytes_max
        {
            self.remove_least_used();
        }
        self.uses += 1;
        self.bytes += bytes;
        let entry = Entry { value, bytes, life, since: now, used: self.uses };
        self.entries.insert(key.to_owned(), entry);
        self.check_invariants();
    }

    fn remove(&mut self, key: &str) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes = self.bytes.saturating_sub(entry.bytes);
        }
    }

    /// Looks at every entry: there are a few hundred, and a network call came before this.
    fn remove_least_used(&mut self) {
        let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used);
        if let Some(key) = oldest.map(|(key, _)| key.clone()) {
            self.remove(&key);
        }
    }

    fn check_invariants(&self) {
        debug_assert!(self.entries.len() <= self.bounds.entries_max);
        debug_assert!(self.bytes <= self.bounds.bytes_max);
        debug_assert_eq!(self.bytes, self.entries.values().map(|entry| entry.bytes).sum::<usize>());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    const LIFE: Life = Life { fresh: Duration::from_secs(10), keep: Duration::from_secs(100) };

    fn shelf(entries_max: usize, bytes_max: usize) -> Shelf<u32> {
        Shelf::new(Bounds { entries_max, bytes_max })
    }

    #[test]
    fn an_entry_is_fresh_then_stale_then_gone() {
        let (mut shelf, start) = (shelf(10, 10_000), clock::now());
        shelf.put("a", 1, 0, LIFE, start);
        let at = |shelf: &mut Shelf<u32>, secs| {
            let held = shelf.get("a", start + Duration::from_secs(secs))?;
            Some((held.value, held.age.as_secs(), held.fresh))
        };
        assert_eq!(at(&mut shelf, 0), Some((1, 0, true)));
        assert_eq!(at(&mut shelf, 9), Some((1, 9, true)));
        assert_eq!(at(&mut shelf, 10), Some((1, 10, false)));
        assert_eq!(at(&mut shelf, 99), Some((1, 99, false)));
        assert_eq!(at(&mut shelf, 100), None);
        assert_eq!((shelf.entries.len(), shelf.bytes), (0, 0), "and takes no room");
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let (mut shelf, now) = (shelf(3, 100_000), clock::now());
        for (key, value) in [("a", 1), ("b", 2), ("c", 3)] {
            shelf.put(key, value, 0, LIFE, now);
        }
        assert!(shelf.get("a", now).is_some());
        shelf.put("d", 4, 0, LIFE, now);
        let left = ["a", "b", "c", "d"].map(|key| shelf.get(key, now).is_some());
        assert_eq!(left, [true, false, true, true]);
    }

    #[test]
    fn bytes_are_bounded_too() {
        let (mut shelf, now) = (shelf(100, 1_000), clock::now());
        for key in ["a", "b", "c"] {
            shelf.put(key, 1, 400, LIFE, now);
        }
        assert!(shelf.get("a", now).is_none() && shelf.get("c", now).is_some());
        shelf.put("huge", 1, 1_000, LIFE, now);
        assert!(shelf.get("huge", now).is_none(), "larger than the shelf");
        assert!(shelf.get("c", now).is_some(), "and pushes nothing out");
        shelf.put("c", 2, 10, LIFE, now);
        assert_eq!(shelf.get("c", now).map(|held| held.value), Some(2));
        assert_eq!(shelf.bytes, shelf.entries.values().map(|entry| entry.bytes).sum::<usize>());
    }
}
