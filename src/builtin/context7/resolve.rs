//! Pure: from a library's name and version, as people say them, to the service's id.

use std::cmp::Ordering;

use super::wire::Library;

/// Words that say nothing about which library is meant.
const STOPWORDS: [&str; 36] = [
    "a",
    "an",
    "and",
    "best",
    "by",
    "code",
    "docs",
    "documentation",
    "do",
    "does",
    "example",
    "examples",
    "find",
    "for",
    "from",
    "get",
    "how",
    "i",
    "in",
    "is",
    "library",
    "libraries",
    "me",
    "my",
    "of",
    "on",
    "or",
    "please",
    "search",
    "the",
    "to",
    "use",
    "using",
    "what",
    "which",
    "with",
];

/// Whether a text is an id: `/owner/repo`, `/owner/repo/version` or `/owner/repo@version`.
pub(super) fn is_id(text: &str) -> bool {
    let mut parts = text.split('/');
    let lead = parts.next() == Some("");
    let parts: Vec<_> = parts.collect();
    let full = parts.iter().all(|part| !part.is_empty() && !part.contains(char::is_whitespace));
    lead && full && (2..=3).contains(&parts.len())
}

/// An id without its version, and the version.
pub(super) fn split_id(id: &str) -> (&str, Option<&str>) {
    // The second part ends at `/` or `@`, whichever is first.
    let Some(second) = id.match_indices('/').nth(1).map(|(at, _)| at + 1) else {
        return (id, None);
    };
    let end = id.get(second..).and_then(|rest| rest.find(['/', '@'])).map(|at| at + second);
    match end.and_then(|end| Some((id.get(..end)?, id.get(end + 1..)?))) {
        Some((base, version)) => (base, Some(version)),
        None => (id, None),
    }
}

/// The id of a version of a library.
pub(super) fn with_version(base: &str, version: Option<&str>) -> String {
    version.map_or_else(|| base.to_owned(), |version| format!("{base}/{version}"))
}

/// The listed version that is meant: the same text, with or without the `v` in front.
pub(super) fn find_version<'a>(
    asked: &str,
    listed: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let bare = |version: &str| {
        let lower = version.to_lowercase();
        let digits =
            lower.strip_prefix('v').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        digits.map_or_else(|| lower.clone(), str::to_owned)
    };
    let wanted = bare(asked);
    listed.into_iter().find(|version| bare(version) == wanted)
}

/// The versions in a message such as "Available tags: v2.0.0, v1.5.0".
pub(super) fn tags_in(message: &str) -> Vec<&str> {
    let Some((_, list)) = message.split_once("vailable tags:") else {
        return Vec::new();
    };
    let word = |tag: &'_ str| !tag.is_empty() && !tag.contains(char::is_whitespace);
    list.split(',').map(|tag| tag.trim().trim_end_matches('.')).filter(|tag| word(tag)).collect()
}

/// The first word of a question that can be a library's name, if there is more than one word.
pub(super) fn first_word(question: &str) -> Option<&str> {
    let edge = |c: char| !c.is_alphanumeric() && !"@/.+#_-".contains(c);
    let mut words = question.split_whitespace().map(|word| word.trim_matches(edge));
    let telling =
        |word: &&str| !word.is_empty() && !STOPWORDS.contains(&word.to_lowercase().as_str());
    let first = words.find(telling)?;
    (first.len() < question.trim().len()).then_some(first)
}

/// Libraries in the order of preference for a name, the pick first: exact name, then finished
/// libraries, trust, benchmark, number of snippets, and at last the service's own order.
pub(super) fn rank<'a>(name: &str, libraries: &'a [Library]) -> Vec<&'a Library> {
    let mut ranked: Vec<_> = libraries.iter().collect();
    ranked.sort_by(|one, other| preference(name, one, other));
    ranked
}

/// Why the first of a ranking is the first.
pub(super) fn reason(name: &str, pick: &Library) -> &'static str {
    if is_named(name, pick) {
        "exact name"
    } else {
        "best ranked; no library has exactly this name"
    }
}

fn preference(name: &str, one: &Library, other: &Library) -> Ordering {
    let finished =
        |library: &Library| library.state.as_deref().is_none_or(|state| state == "finalized");
    let score = |score: Option<f64>| score.filter(|score| *score >= 0.0).unwrap_or(-1.0);
    let better = |one: bool, other: bool| other.cmp(&one);
    better(is_named(name, one), is_named(name, other))
        .then(better(finished(one), finished(other)))
        .then(score(other.trust_score).total_cmp(&score(one.trust_score)))
        .then(score(other.benchmark_score).total_cmp(&score(one.benchmark_score)))
        .then(other.total_snippets.cmp(&one.total_snippets))
}

/// Title or repository have this name; signs and capitals do not count ("Next.js", "nextjs").
fn is_named(name: &str, library: &Library) -> bool {
    let plain = |text: &str| -> String {
        text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let (wanted, repo) = (plain(name), library.id.rsplit('/').next().unwrap_or(""));
    plain(&library.title) == wanted || plain(repo) == wanted
}

/// Trust in words, as the service's own client puts it.
pub(super) fn trust_words(score: Option<f64>) -> &'static str {
    match score {
        Some(score) if score >= 7.0 => "high",
        Some(score) if score >= 4.0 => "medium",
        Some(score) if score > 0.0 => "low",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(id: &str, title: &str, state: &str, trust: f64, benchmark: f64) -> Library {
        Library {
            id: id.to_owned(),
            title: title.to_owned(),
            description: None,
            state: Some(state.to_owned()),
            last_update_date: None,
            total_snippets: None,
            stars: None,
            trust_score: Some(trust),
            benchmark_score: Some(benchmark),
            versions: None,
        }
    }

    #[test]
    fn ids_are_told_from_names() {
        for id in ["/vercel/next.js", "/vercel/next.js/v15.1.8", "/vercel/next.js@v15", "/npm/x"] {
            assert!(is_id(id), "{id}");
        }
        for text in [
            "react",
            "/react",
            "/a//b",
            "//a/b",
            "/a/b/c/d",
            "/a/b/",
            "a/b",
            "/a b/c",
            "https://a/b",
        ] {
            assert!(!is_id(text), "{text}");
        }
    }

    #[test]
    fn ids_split_at_their_version() {
        assert_eq!(split_id("/a/b"), ("/a/b", None));
        assert_eq!(split_id("/a/b/v1.0"), ("/a/b", Some("v1.0")));
        assert_eq!(split_id("/a/b@v1.0"), ("/a/b", Some("v1.0")));
        assert_eq!(split_id("/@scope/b"), ("/@scope/b", None));
        assert_eq!(with_version("/a/b", Some("v1")), "/a/b/v1");
    }

    #[test]
    fn versions_match_with_and_without_v() {
        let listed = ["v18.2.0", "17.0.2", "next", "v0"];
        let find = |asked: &str| find_version(asked, listed);
        assert_eq!(find("18.2.0"), Some("v18.2.0"));
        assert_eq!(find("v18.2.0"), Some("v18.2.0"));
        assert_eq!(find("v17.0.2"), Some("17.0.2"));
        assert_eq!(find("NEXT"), Some("next"));
        assert_eq!(find("18"), None, "no guessing");
        assert_eq!(find_version("vnext", ["next"]), None, "a v before a word is part of it");
    }

    #[test]
    fn tags_are_read_from_a_message() {
        let message = "Tag v9 not found. Available tags: v2.0.0, v1.5.0.";
        assert_eq!(tags_in(message), ["v2.0.0", "v1.5.0"]);
        assert_eq!(tags_in("Library not found"), [""; 0]);
    }

    #[test]
    fn the_first_telling_word_stands_for_the_library() {
        assert_eq!(first_word("fastapi authentication"), Some("fastapi"));
        assert_eq!(first_word("How to use next.js middleware?"), Some("next.js"));
        assert_eq!(first_word("fastapi"), None, "nothing new to try");
        assert_eq!(first_word(" fastapi "), None);
        assert_eq!(first_word("how to"), None);
    }

    #[test]
    fn the_pick_goes_by_name_state_trust_and_benchmark() {
        let first = |name: &str, libraries: &[Library]| rank(name, libraries)[0].id.clone();
        let exact = library("/x/fastapi", "FastAPI", "initial", 1.0, 1.0);
        let famous = library("/y/fastapi-users", "FastAPI Users", "finalized", 10.0, 99.0);
        assert_eq!(first("fastapi", &[famous, exact]), "/x/fastapi");
        let done = library("/a/z", "Z", "finalized", 2.0, 1.0);
        let begun = library("/b/z", "Z", "processing", 9.0, 99.0);
        assert_eq!(first("z", &[begun, done.clone()]), "/a/z");
        let trusted = library("/c/z", "Z", "finalized", 8.0, 1.0);
        assert_eq!(first("z", &[done, trusted.clone()]), "/c/z");
        let better = library("/d/z", "Z", "finalized", 8.0, 50.0);
        assert_eq!(first("z", &[trusted.clone(), better]), "/d/z");
        let same = Library { id: "/e/z".to_owned(), ..trusted.clone() };
        assert_eq!(first("z", &[same, trusted]), "/e/z", "equals keep the service's order");
        let next = library("/vercel/next.js", "Next JS", "finalized", 1.0, 1.0);
        assert_eq!(reason("nextjs", &next), "exact name");
    }

    #[test]
    fn trust_has_words() {
        let words = [Some(10.0), Some(7.0), Some(4.0), Some(1.0), Some(-1.0), Some(0.0), None];
        let words = words.map(trust_words);
        assert_eq!(words, ["high", "high", "medium", "low", "unknown", "unknown", "unknown"]);
    }
}
