//! Pure: the arguments of a call for another tool than the one that was called: members of the top
//! level get other names, go, or come with a constant. Values stay byte for byte as they are.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use super::Span;
use super::meta::inside;
use super::scan::{Member, members, quote, unquote};
use super::splice::Splice;

/// How the arguments of one tool become those of another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    /// Our name → the other tool's name, and the same as JSON.
    renames: BTreeMap<String, Renamed>,
    /// The other tool's name → the JSON text of a value that every call gets.
    constants: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Renamed {
    Gone,
    To { name: String, quoted: String },
}

/// Why arguments cannot be mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// They are no object.
    NoObject,
    /// Two arguments would get this name.
    Twice(String),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoObject => f.write_str("the arguments are no object"),
            Self::Twice(name) => write!(f, "two arguments would have the name {name:?}"),
        }
    }
}

impl Mapping {
    /// `renames`: our name → theirs, "" = left out. `constants`: their name → the JSON text of a
    /// value, which goes before what the client says.
    pub fn new(
        renames: impl IntoIterator<Item = (String, String)>,
        constants: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let renamed = |(ours, theirs): (String, String)| {
            let to = if theirs.is_empty() {
                Renamed::Gone
            } else {
                Renamed::To { quoted: quote(&theirs), name: theirs }
            };
            (ours, to)
        };
        Self {
            renames: renames.into_iter().map(renamed).collect(),
            constants: constants.into_iter().collect(),
        }
    }

    /// Whether arguments stay as they are.
    pub fn is_empty(&self) -> bool {
        self.renames.is_empty() && self.constants.is_empty()
    }

    /// The arguments for the other tool. `arguments` is valid JSON.
    pub fn apply<'a>(&self, arguments: &'a [u8]) -> Result<Cow<'a, [u8]>, Unfit> {
        if self.is_empty() {
            return Ok(Cow::Borrowed(arguments));
        }
        let all = members(arguments).map_err(|_not_an_object| Unfit::NoObject)?;
        let start = arguments.len() - arguments.trim_ascii_start().len();
        let there = self.names(arguments, &all)?;
        let (at, empty) = inside(arguments, Span { start, end: arguments.len() });
        let added = self.added(&there, empty);
        let mut splice = Splice::new(arguments);
        splice.insert(at, added.as_bytes());
        for member in all {
            let name = unquote(member.key.of(arguments)).unwrap_or_default();
            let theirs = match self.renames.get(name.as_ref()) {
                Some(Renamed::Gone) => {
                    splice.cut(member);
                    continue;
                }
                Some(Renamed::To { name, quoted }) => {
                    splice.put(member.key, quoted.as_bytes());
                    name
                }
                None => name.as_ref(),
            };
            if let Some(constant) = self.constants.get(theirs) {
                splice.put(member.value, constant.as_bytes());
            }
        }
        Ok(Cow::Owned(splice.apply(0)))
    }

    /// The names that the arguments get. One that stands twice goes on twice, as it would to its own
    /// tool; two never become one.
    fn names<'a>(
        &'a self,
        arguments: &'a [u8],
        all: &[Member],
    ) -> Result<HashSet<Cow<'a, str>>, Unfit> {
        let mut owners: HashMap<Cow<'_, str>, Cow<'_, str>> = HashMap::with_capacity(all.len());
        for member in all {
            let name = unquote(member.key.of(arguments)).unwrap_or_default();
            let theirs = match self.renames.get(name.as_ref()) {
                Some(Renamed::Gone) => continue,
                Some(Renamed::To { name, .. }) => Cow::Borrowed(name.as_str()),
                None => name.clone(),
            };
            match owners.get(&theirs) {
                Some(owner) if *owner != name => return Err(Unfit::Twice(theirs.into_owned())),
                Some(_) => {}
                None => {
                    owners.insert(theirs, name);
                }
            }
        }
        Ok(owners.into_keys().collect())
    }

    /// The constants that no argument has made room for, as the first members of an object.
    fn added(&self, there: &HashSet<Cow<'_, str>>, empty: bool) -> String {
        let new = self.constants.iter().filter(|(name, _)| !there.contains(name.as_str()));
        let mut text = String::new();
        for (name, value) in new {
            text.extend([&quote(name), ":", value, ","]);
        }
        if empty {
            text.pop();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    fn mapping(renames: &[(&str, &str)], constants: &[(&str, &str)]) -> Mapping {
        let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
        };
        Mapping::new(owned(renames), owned(constants))
    }

    fn applied(mapping: &Mapping, arguments: &str) -> String {
        String::from_utf8(mapping.apply(arguments.as_bytes()).unwrap().into_owned()).unwrap()
    }

    #[test]
    fn names_change_and_values_stay_byte_for_byte() {
        let map = mapping(&[("query", "q"), ("old", ""), ("a b", "c\"d")], &[("lang", "\"en\"")]);
        let table = [
            ("{}", r#"{"lang":"en"}"#),
            (" { } ", r#" {"lang":"en" } "#),
            (r#"{"query": 1.00e2}"#, r#"{"lang":"en","q": 1.00e2}"#),
            (r#"{"qu\u0065ry":"\u00e9"}"#, r#"{"lang":"en","q":"\u00e9"}"#),
            (r#"{"a b":{"query":1}}"#, r#"{"lang":"en","c\"d":{"query":1}}"#),
            (r#"{"old":1}"#, r#"{"lang":"en"}"#),
            (r#"{"x":1, "old":[2] , "query":3}"#, r#"{"lang":"en","x":1,  "q":3}"#),
            (r#"{"lang":"de","x":1}"#, r#"{"lang":"en","x":1}"#),
            (r#"{"l\u0061ng":"de"}"#, r#"{"l\u0061ng":"en"}"#),
            (r#"{"query":1,"query":2}"#, r#"{"lang":"en","q":1,"q":2}"#),
            (r#"{"":1,"\ud800":2}"#, r#"{"lang":"en","":1,"\ud800":2}"#),
        ];
        for (before, after) in table {
            assert_eq!(applied(&map, before), after, "{before}");
        }
        assert_eq!(applied(&Mapping::default(), " [1] "), " [1] ");
    }

    #[test]
    fn two_names_can_change_places_and_two_never_become_one() {
        let swap = mapping(&[("a", "b"), ("b", "a")], &[]);
        assert_eq!(applied(&swap, r#"{"a":1,"b":2}"#), r#"{"b":1,"a":2}"#);
        let map = mapping(&[("query", "q")], &[]);
        let twice = Unfit::Twice("q".to_owned());
        for bad in [r#"{"query":1,"q":2}"#, r#"{"\u0071":2,"query":1}"#] {
            assert_eq!(map.apply(bad.as_bytes()), Err(twice.clone()), "{bad}");
        }
        for bad in ["[]", "null", "1", "\"query\""] {
            assert_eq!(map.apply(bad.as_bytes()), Err(Unfit::NoObject), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn it_is_what_a_parser_would_do(
            given in proptest::collection::btree_map("[a-f]{1,2}|\"|\\\\|é", 0_i32..9, 0..6),
            pretty in any::<bool>(),
        ) {
            let map = mapping(&[("a", "z"), ("b", ""), ("\"", "\\"), ("é", "y")], &[("z", "[0]"), ("k", "{}")]);
            let whole: Map<String, Value> =
                given.iter().map(|(name, value)| (name.clone(), (*value).into())).collect();
            let text = if pretty { serde_json::to_string_pretty(&whole) } else { serde_json::to_string(&whole) };
            let mut wanted = Map::new();
            wanted.insert("k".into(), serde_json::json!({}));
            wanted.insert("z".into(), serde_json::json!([0]));
            for (name, value) in &given {
                let theirs = match name.as_str() { "a" | "b" => continue, "\"" => "\\", "é" => "y", other => other };
                wanted.entry(theirs).or_insert((*value).into());
            }
            let twice = given.contains_key("\"") && given.contains_key("\\");
            match map.apply(text.unwrap().as_bytes()) {
                Ok(got) => {
                    let got: Map<String, Value> = serde_json::from_slice(&got).unwrap();
                    prop_assert!(!twice);
                    prop_assert_eq!(got.len(), wanted.len());
                    for (name, value) in wanted { prop_assert_eq!(got.get(&name), Some(&value)); }
                }
                Err(unfit) => prop_assert_eq!((unfit, twice), (Unfit::Twice("\\".to_owned()), true)),
            }
        }
    }
}
