//! Pure: which names someone may have meant who wrote one that nobody has.

/// A name that is less like the asked one than this is no help.
const LIKENESS_MIN: f64 = 0.5;
/// How like a name is that holds the asked one.
const LIKENESS_PART: f64 = 0.6;
/// A shorter piece stands in too many names to mean one.
const PART_BYTES_MIN: usize = 3;
/// Characters of the asked name that are compared.
const ASKED_LEN_MAX: usize = 64;
/// Names that are compared letter by letter, after a cheap look at all of them: the one who asks
/// chooses the name, so its cost is bounded.
const CLOSE_LEN_MAX: usize = 64;

/// A name, as clients see it and as its owner knows it.
type Pair<'a> = (&'a str, &'a str);

/// The exposed names most like `asked`, or whose owners' names are.
pub(super) fn nearest<'a>(
    names: impl ExactSizeIterator<Item = Pair<'a>>,
    asked: &str,
    count: usize,
) -> Vec<&'a str> {
    let asked: String = asked.chars().take(ASKED_LEN_MAX).flat_map(char::to_lowercase).collect();
    let letters = Letters::of(&asked);
    let mut close: Vec<(usize, usize, Pair<'a>)> = Vec::with_capacity(names.len());
    for (index, pair) in names.enumerate() {
        let (name, original) = pair;
        let distance = if is_part(&asked, name) {
            0
        } else {
            letters.distance(original).min(letters.distance(name))
        };
        close.push((distance, index, pair));
    }
    close.sort_unstable_by_key(|(distance, index, _)| (*distance, *index));
    close.truncate(CLOSE_LEN_MAX);
    let mut scored: Vec<(f64, usize, &'a str)> = Vec::with_capacity(close.len());
    for (_, index, (name, original)) in close {
        let score = likeness(&asked, name).max(likeness(&asked, original));
        if score >= LIKENESS_MIN {
            scored.push((score, index, name));
        }
    }
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    scored.into_iter().take(count).map(|(_, _, name)| name).collect()
}

fn likeness(asked: &str, name: &str) -> f64 {
    let name: String = name.chars().take(ASKED_LEN_MAX).flat_map(char::to_lowercase).collect();
    let part = if is_part(asked, &name) { LIKENESS_PART } else { 0.0 };
    strsim::normalized_levenshtein(asked, &name).max(part)
}

fn is_part(asked: &str, name: &str) -> bool {
    asked.len() >= PART_BYTES_MIN && name.contains(asked)
}

/// How often each letter stands in a name: a lower bound of how many edits two names are apart.
struct Letters([u16; 32]);

impl Letters {
    fn of(name: &str) -> Self {
        let mut counts = [0_u16; 32];
        for byte in name.bytes().take(2 * ASKED_LEN_MAX) {
            // The low five bits of a letter are the same in both cases.
            if let Some(count) = counts.get_mut(usize::from(byte & 31)) {
                *count = count.saturating_add(1);
            }
        }
        Self(counts)
    }

    fn distance(&self, name: &str) -> usize {
        let other = Self::of(name);
        let pairs = self.0.iter().zip(other.0);
        pairs.map(|(a, b)| usize::from(a.abs_diff(b))).sum()
    }
}
