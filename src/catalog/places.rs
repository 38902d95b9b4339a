//! Pure: which upstreams may know a URI that nobody lists: results may speak of such URIs
//! (specification 2026-07-28, server/resources). A guess, best first: who lists what is most like
//! it, then the upstream that is mounted as it is, then everybody who lists resources at all.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::spec::CANDIDATES_MAX;

/// Upstreams by index, best first; no two alike.
pub type Candidates = SmallVec<[usize; CANDIDATES_MAX]>;

/// What upstreams list, by the beginning of the URIs.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    /// Who lists a resource or a template, in the order of the configuration.
    listing: Vec<usize>,
    shelves: HashMap<Box<str>, Vec<Shelf>>,
}

/// What one upstream lists that begins alike.
#[derive(Clone, Debug)]
struct Shelf {
    upstream: usize,
    /// URIs, and templates as far as their first expression; sorted when all are there.
    texts: Vec<Arc<str>>,
}

impl Places {
    /// The upstream lists something, fit to be shown or not. Called in the order of the
    /// configuration.
    pub(super) fn note(&mut self, upstream: usize) {
        self.listing.push(upstream);
    }

    /// The upstream lists this URI.
    pub(super) fn put_uri(&mut self, upstream: usize, uri: &Arc<str>) {
        if let Some(start) = Start::of(uri) {
            self.shelve(upstream, &start.place(), Arc::clone(uri));
        }
    }

    /// The upstream lists a template with this text before the first expression.
    pub(super) fn put_prefix(&mut self, upstream: usize, prefix: &str) {
        if let Some(start) = Start::of(prefix) {
            // An authority that the expression may go on with is not known.
            let place = if start.ended { start.place() } else { start.scheme() };
            self.shelve(upstream, &place, Arc::from(prefix));
        }
    }

    fn shelve(&mut self, upstream: usize, place: &str, text: Arc<str>) {
        let shelves = match self.shelves.get_mut(place) {
            Some(shelves) => shelves,
            None => self.shelves.entry(Box::from(place)).or_default(),
        };
        match shelves.iter_mut().rev().find(|shelf| shelf.upstream == upstream) {
            Some(shelf) => shelf.texts.push(text),
            None => shelves.push(Shelf { upstream, texts: vec![text] }),
        }
    }

    /// To be called when all is there.
    pub(super) fn finish(&mut self) {
        for shelf in self.shelves.values_mut().flatten() {
            shelf.texts.sort_unstable();
        }
    }

    /// Who may know the URI.
    pub(super) fn candidates(&self, uri: &str, transparent: Option<usize>) -> Candidates {
        let mut near: Vec<(Reverse<usize>, usize)> = Vec::new();
        if let Some(start) = Start::of(uri) {
            let (whole, scheme) = (start.place(), start.scheme());
            let scheme = (scheme != whole).then_some(scheme);
            for shelf in [Some(whole), scheme].iter().flatten().flat_map(|place| self.at(place)) {
                near.push((Reverse(shelf.shared(uri)), shelf.upstream));
            }
        }
        near.sort_unstable();
        let mut found = Candidates::new();
        let near = near.into_iter().map(|(_, upstream)| upstream);
        for upstream in near.chain(transparent).chain(self.listing.iter().copied()) {
            if found.len() == CANDIDATES_MAX {
                break;
            }
            if !found.contains(&upstream) {
                found.push(upstream);
            }
        }
        found
    }

    fn at(&self, place: &str) -> &[Shelf] {
        self.shelves.get(place).map_or(&[], Vec::as_slice)
    }
}

impl Shelf {
    /// How many first bytes the URI shares with one of the texts, at most. In a sorted list one of
    /// the two beside it shares the most.
    fn shared(&self, uri: &str) -> usize {
        let after = self.texts.partition_point(|text| &**text < uri);
        let before = after.checked_sub(1).and_then(|at| self.texts.get(at));
        let beside = [before, self.texts.get(after)];
        beside.into_iter().flatten().map(|text| common_prefix(text, uri)).max().unwrap_or_default()
    }
}

fn common_prefix(a: &str, b: &str) -> usize {
    a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count()
}

/// How a URI begins (RFC 3986, 3): `scheme://authority`, or `scheme:`.
struct Start<'a> {
    scheme: &'a str,
    /// With the two slashes before it, if there are any.
    authority: &'a str,
    /// Something follows that is no authority any more.
    ended: bool,
}

impl<'a> Start<'a> {
    fn of(uri: &'a str) -> Option<Self> {
        let (scheme, rest) = uri.split_once(':')?;
        let Some(after) = rest.strip_prefix("//") else {
            // One slash less: `//` could still come.
            let ended = !matches!(rest, "" | "/");
            return Some(Self { scheme, authority: "", ended });
        };
        let len = after.find(['/', '?', '#']);
        let authority = rest.get(..2 + len.unwrap_or(after.len()))?;
        Some(Self { scheme, authority, ended: len.is_some() })
    }

    /// Scheme and authority; both are the same in any case of letters.
    fn place(&self) -> String {
        let mut place = [self.scheme, ":", self.authority].concat();
        place.make_ascii_lowercase();
        place
    }

    /// The scheme alone.
    fn scheme(&self) -> String {
        let mut scheme = [self.scheme, ":"].concat();
        scheme.make_ascii_lowercase();
        scheme
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn places(lists: &[(usize, &[&str], &[&str])]) -> Places {
        let mut places = Places::default();
        for (upstream, uris, prefixes) in lists {
            places.note(*upstream);
            uris.iter().for_each(|uri| places.put_uri(*upstream, &Arc::from(*uri)));
            prefixes.iter().for_each(|prefix| places.put_prefix(*upstream, prefix));
        }
        places.finish();
        places
    }

    #[test]
    fn who_lists_the_most_alike_comes_first() {
        let places = places(&[
            (0, &["memo:a"], &[]),
            (1, &["https://host/a/b", "https://hostile/a/b/c/d"], &[]),
            (2, &["https://HOST/x", "https://host/a/b/c", "https://host/a/b/z"], &[]),
            (4, &["https://hostile/a/b/c/dd"], &["https://host/a/b/c/"]),
        ]);
        let near = |uri: &str| places.candidates(uri, None).to_vec();
        assert_eq!(near("https://host/a/b/c/d"), [4, 2, 1, 0]);
        assert_eq!(near("https://host/a/b/"), [2, 4, 1, 0]);
        assert_eq!(near("HTTPS://Host/q"), [1, 2, 4, 0]);
        assert_eq!(near("https://hostile/a/b/c/ddd"), [4, 1, 0, 2]);
        assert_eq!(near("memo:b"), [0, 1, 2, 4]);
        for strange in ["other:x", "https://else/", "no scheme", "", ":", "https:"] {
            assert_eq!(near(strange), [0, 1, 2, 4], "{strange}");
        }
    }

    #[test]
    fn the_upstream_mounted_as_it_is_comes_after_those_that_list_the_like() {
        let places = places(&[(0, &["a:x"], &[]), (1, &["b:x"], &[]), (2, &[], &["b:"])]);
        assert_eq!(places.candidates("b:y", Some(0)).to_vec(), [1, 2, 0]);
        assert_eq!(places.candidates("c:y", Some(1)).to_vec(), [1, 0, 2]);
        // It may list nothing.
        assert_eq!(places.candidates("c:y", Some(9)).to_vec(), [9, 0, 1, 2]);
        assert_eq!(places.candidates("a:x", Some(0)).to_vec(), [0, 1, 2]);
        assert_eq!(Places::default().candidates("a:x", Some(3)).to_vec(), [3]);
    }

    #[test]
    fn an_authority_that_a_template_leaves_open_may_be_any() {
        let places =
            places(&[(0, &[], &["db://ma"]), (1, &["db://main/a"], &[]), (2, &[], &["db://"])]);
        assert_eq!(places.candidates("db://main/b", None).to_vec(), [1, 0, 2]);
        assert_eq!(places.candidates("db://other/b", None).to_vec(), [0, 2, 1]);
    }

    #[test]
    fn eight_are_enough() {
        let lists: Vec<(usize, &[&str], &[&str])> =
            (0..20).map(|upstream| (upstream, &["a:x"][..], &[][..])).collect();
        let places = places(&lists);
        assert_eq!(places.candidates("a:y", Some(19)).to_vec(), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(places.candidates("b:y", Some(19)).to_vec(), [19, 0, 1, 2, 3, 4, 5, 6]);
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_the_longest_shared_beginnings(
            lists in prop::collection::vec(prop::collection::vec("a:[ab/]{0,4}", 1..6), 1..6),
            uri in "a:[abc]{1,5}",
        ) {
            let mut places = Places::default();
            for (upstream, uris) in lists.iter().enumerate() {
                places.note(upstream);
                for uri in uris {
                    places.put_uri(upstream, &Arc::from(uri.as_str()));
                }
            }
            places.finish();
            // The scheme is the only thing that all of them share; `//` would begin an authority.
            prop_assume!(!lists.iter().flatten().any(|uri| uri.starts_with("a://")));
            let shared = |uris: &Vec<String>| uris.iter().map(|u| common_prefix(u, &uri)).max();
            let mut want: Vec<usize> = (0..lists.len()).collect();
            want.sort_by_key(|upstream| Reverse(shared(&lists[*upstream])));
            prop_assert_eq!(places.candidates(&uri, None).to_vec(), want);
        }
    }
}
