//! Pure: which of an upstream's own tool names are offered.

use super::spec::OfferSpec;

/// Whether the operator offers the tool: a pattern of `include` matches, none of `exclude` does.
pub(super) fn offers(offer: &OfferSpec, original: &str) -> bool {
    let matched = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, original));
    matched(&offer.include) && !matched(&offer.exclude)
}

/// Whether the operator hides anything at all. If so, a name that the upstream does not list must
/// not reach it either: it could be one that would be hidden.
pub(super) fn hides(offer: &OfferSpec) -> bool {
    let all = |pattern: &String| !pattern.is_empty() && pattern.bytes().all(|byte| byte == b'*');
    !offer.exclude.is_empty() || !offer.include.iter().any(all)
}

/// Whether the whole name matches: `*` is any run of characters, `?` is any one.
fn matches(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (pattern.chars(), name.chars());
    // Where to go on if the last `*` must take one character more.
    let mut resume = None;
    loop {
        let mut next_pattern = pattern.clone();
        match next_pattern.next() {
            Some('*') => {
                resume = Some((next_pattern.clone(), name.clone()));
                pattern = next_pattern;
                continue;
            }
            Some(wanted) => {
                let mut next_name = name.clone();
                if next_name.next().is_some_and(|c| wanted == '?' || c == wanted) {
                    (pattern, name) = (next_pattern, next_name);
                    continue;
                }
            }
            None if name.as_str().is_empty() => return true,
            None => {}
        }
        let Some((after_star, mut from)) = resume.take() else {
            return false;
        };
        if from.next().is_none() {
            return false;
        }
        resume = Some((after_star.clone(), from.clone()));
        (pattern, name) = (after_star, from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        let yes = [
            ("*", ""),
            ("*", "a"),
            ("a", "a"),
            ("a*", "abc"),
            ("*c", "abc"),
            ("a?c", "abc"),
            ("a?c", "aéc"),
            ("*a*b*", "xxaxxbxx"),
            ("a*b*c", "aXbXbXc"),
            ("**", "x"),
        ];
        for (pattern, name) in yes {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        let no = [("", "a"), ("a", ""), ("a", "ab"), ("?", ""), ("a*b", "abc"), ("A", "a")];
        for (pattern, name) in no {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        assert!(!matches(&"*a".repeat(50), &"a".repeat(49)));
        assert!(!matches(&format!("{}b", "*a".repeat(30)), &"a".repeat(1_000)));
    }

    #[test]
    fn exclude_beats_include() {
        let mut offer = OfferSpec::all("");
        assert!(offers(&offer, "write") && !hides(&offer));
        offer.exclude = vec!["w*".to_owned()];
        assert!(!offers(&offer, "write") && offers(&offer, "read") && hides(&offer));
        offer = OfferSpec::all("");
        offer.include = vec!["r*".to_owned()];
        assert!(!offers(&offer, "write") && offers(&offer, "read") && hides(&offer));
        offer.include.clear();
        assert!(!offers(&offer, "read") && hides(&offer));
    }
}
