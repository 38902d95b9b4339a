//! Pure: good results that are kept for when their tool does not answer. Each belongs to one
//! principal, one tool and the very bytes of its arguments; how many there are and how large they
//! are is bounded, and the oldest goes first.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::base::Principal;
use crate::gateway::spec::KeepSpec;
use crate::upstream::UpstreamId;

/// What a result belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner<'a> {
    /// Who asked; `None` where nobody has to show who they are.
    pub(super) who: Option<&'a Principal>,
    /// The client session, where the upstream keeps something for each; else 0.
    pub(super) home: u64,
    /// The upstream.
    pub(super) upstream: UpstreamId,
    /// Its own name of the tool.
    pub(super) tool: &'a str,
    /// The arguments as the client wrote them.
    pub(super) arguments: &'a [u8],
}

impl Owner<'_> {
    fn bytes(&self) -> usize {
        let who = self.who.map_or(0, |who| who.name().as_str().len());
        who + self.tool.len() + self.arguments.len()
    }

    /// One text for all of it: what could run into the next part has its length before it.
    fn key(&self) -> Key {
        let who = self.who.map(|who| who.name().as_str());
        let mut key = Vec::with_capacity(self.bytes() + 48);
        key.push(u8::from(who.is_some()));
        for part in [who.unwrap_or_default(), self.tool] {
            key.extend_from_slice(&part.len().to_le_bytes());
            key.extend_from_slice(part.as_bytes());
        }
        key.extend_from_slice(&self.home.to_le_bytes());
        key.extend_from_slice(self.arguments);
        Key { upstream: self.upstream, rest: key.into() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    upstream: UpstreamId,
    rest: Arc<[u8]>,
}

#[derive(Debug)]
struct Entry {
    result: Bytes,
    since: Instant,
    /// Its place in the order of age.
    number: u64,
}

impl Entry {
    fn bytes(&self, key: &Key) -> usize {
        self.result.len() + key.rest.len()
    }
}

/// The results.
#[derive(Debug, Default)]
pub(super) struct Kept {
    spec: KeepSpec,
    entries: HashMap<Key, Entry>,
    /// By age, the oldest first.
    ages: BTreeMap<u64, Key>,
    next: u64,
    bytes: usize,
}

impl Kept {
    /// Keeps no more than this from now on.
    pub(super) fn bound(&mut self, spec: KeepSpec) {
        self.spec = spec;
        self.shrink();
    }

    /// Whether a result of so many bytes is small enough to be kept.
    pub(super) fn takes(&self, owner: &Owner<'_>, result: usize) -> bool {
        owner.bytes() + result <= self.spec.entry_bytes
    }

    /// Keeps a copy of a result object instead of the one before it.
    pub(super) fn put(&mut self, owner: &Owner<'_>, result: &[u8], now: Instant) {
        if !self.takes(owner, result.len()) {
            return;
        }
        let key = owner.key();
        self.remove(&key);
        let entry = Entry { result: Bytes::copy_from_slice(result), since: now, number: self.next };
        self.bytes += entry.bytes(&key);
        self.ages.insert(self.next, key.clone());
        self.entries.insert(key, entry);
        self.next += 1;
        self.shrink();
    }

    /// The last good result and its age, if it is no older than `longest`. One that is older is
    /// dropped.
    pub(super) fn get(
        &mut self,
        owner: &Owner<'_>,
        longest: Duration,
        now: Instant,
    ) -> Option<(Bytes, Duration)> {
        let key = owner.key();
        let entry = self.entries.get(&key)?;
        let age = now.saturating_duration_since(entry.since);
        if age <= longest {
            return Some((entry.result.clone(), age));
        }
        self.remove(&key);
        None
    }

    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes -= entry.bytes(key);
            self.ages.remove(&entry.number);
        }
    }

    fn shrink(&mut self) {
        while self.entries.len() > self.spec.entries || self.bytes > self.spec.bytes {
            let Some((_, oldest)) = self.ages.pop_first() else { return };
            self.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{PrincipalName, clock};
    use crate::upstream::place::Numbers;
    use proptest::prelude::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn upstreams() -> [UpstreamId; 2] {
        let mut numbers = Numbers::default();
        [numbers.upstream(), numbers.upstream()]
    }

    fn owner(arguments: &[u8]) -> Owner<'_> {
        Owner { who: None, home: 0, upstream: upstreams()[0], tool: "t", arguments }
    }

    fn bounded(entries: usize, entry_bytes: usize, bytes: usize) -> Kept {
        let mut kept = Kept::default();
        kept.bound(KeepSpec { entries, entry_bytes, bytes });
        kept
    }

    fn found(kept: &mut Kept, owner: &Owner<'_>, now: Instant) -> Option<Bytes> {
        kept.get(owner, HOUR, now).map(|(result, _)| result)
    }

    #[test]
    fn each_result_is_for_its_owner_alone() {
        let (mut kept, now) = (Kept::default(), clock::now());
        let who = |name: &str| Principal::new(PrincipalName::new(name).unwrap());
        let (alice, bob) = (who("alice"), who("bob"));
        let base = Owner { who: Some(&alice), ..owner(b"{}") };
        kept.put(&base, b"hers", now);
        let others = [
            Owner { who: Some(&bob), ..base },
            Owner { who: None, ..base },
            Owner { home: 1, ..base },
            Owner { upstream: upstreams()[1], ..base },
            Owner { tool: "T", ..base },
            Owner { arguments: b"{ }", ..base },
            // The same bytes in a row, cut at other places.
            Owner { tool: "t{", arguments: b"}", ..base },
            Owner { tool: "", arguments: b"t{}", ..base },
        ];
        for other in &others {
            assert_eq!(found(&mut kept, other, now), None, "{other:?}");
        }
        assert_eq!(found(&mut kept, &base, now).unwrap(), "hers");
        for (place, other) in others.iter().enumerate() {
            kept.put(other, &[u8::try_from(place).unwrap()], now);
        }
        assert_eq!(found(&mut kept, &base, now).unwrap(), "hers");
    }

    #[test]
    fn a_result_gets_old_and_a_new_one_takes_its_place() {
        let (mut kept, now) = (Kept::default(), clock::now());
        let owner = owner(b"{}");
        let limit = Duration::from_secs(10);
        kept.put(&owner, b"old", now);
        let (result, age) = kept.get(&owner, limit, now + limit).unwrap();
        assert_eq!((&result[..], age), (&b"old"[..], limit));
        kept.put(&owner, b"new", now + limit);
        assert_eq!(kept.get(&owner, limit, now + limit * 2).unwrap().0, "new");
        let late = now + limit * 2 + Duration::from_millis(1);
        assert_eq!(kept.get(&owner, limit, late), None);
        assert_eq!((kept.bytes, kept.entries.len(), kept.ages.len()), (0, 0, 0), "it is gone");
    }

    #[test]
    fn the_oldest_goes_first_and_what_is_too_large_never_comes() {
        let now = clock::now();
        let mut kept = bounded(2, 100, 10_000);
        for name in [b"1", b"2", b"1", b"3"] {
            kept.put(&owner(name), b"x", now);
        }
        assert_eq!(found(&mut kept, &owner(b"2"), now), None, "1 was renewed, so 2 was older");
        assert!(found(&mut kept, &owner(b"1"), now).is_some());
        kept.put(&owner(b"4"), &[b'x'; 100], now);
        assert_eq!(found(&mut kept, &owner(b"4"), now), None);
        kept.put(&owner(&[b'y'; 100]), b"x", now);
        assert_eq!(kept.entries.len(), 2);
        kept.bound(KeepSpec { entries: 1, entry_bytes: 100, bytes: 10_000 });
        assert_eq!(kept.entries.len(), 1);
        assert!(found(&mut kept, &owner(b"3"), now).is_some());
    }

    proptest! {
        #[test]
        fn the_bounds_hold_and_the_sums_are_right(
            puts in proptest::collection::vec((0_u8..20, 0_usize..300), 0..80),
            entries in 1_usize..10, bytes in 100_usize..1_500,
        ) {
            let (mut kept, now) = (bounded(entries, 200, bytes), clock::now());
            for (name, len) in puts {
                kept.put(&owner(&[name]), &vec![b'x'; len], now);
                let sum: usize = kept.entries.iter().map(|(key, entry)| entry.bytes(key)).sum();
                prop_assert_eq!(kept.bytes, sum);
                prop_assert_eq!(kept.ages.len(), kept.entries.len());
                prop_assert!(kept.entries.len() <= entries && kept.bytes <= bytes);
            }
        }
    }
}
