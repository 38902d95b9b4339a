//! Pure: what several answers to the same call have in common, and where they differ.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

/// Most differences that are named.
pub(super) const NAMED_MAX: usize = 20;
/// Longest value that is shown, in characters.
const SHOWN_CHARS_MAX: usize = 200;
/// Answers with more values than this are compared as a whole.
const LEAVES_MAX: usize = 5_000;

/// One place where answers differ.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Difference {
    /// A JSON pointer into the structured content, or into the content where there is none.
    path: String,
    values: Vec<At>,
}

/// What one replica has there.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct At {
    replica: String,
    /// As JSON; not there if the replica has nothing there.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

/// Every place where the results differ, up to [`NAMED_MAX`], and how many there are in all.
pub(super) fn differences(results: &[(&str, Value)]) -> (Vec<Difference>, usize) {
    let told: Vec<_> = results.iter().map(|(_, result)| told(result)).collect();
    let mut all: Vec<_> = told.iter().map(|value| leaves(value)).collect();
    if all.iter().any(Option::is_none) {
        let whole = |value: &&Value| Some(BTreeMap::from([(String::new(), value.to_string())]));
        all = told.iter().map(whole).collect();
    }
    let all: Vec<_> = all.into_iter().flatten().collect();
    let mut paths: Vec<&String> = all.iter().flat_map(BTreeMap::keys).collect();
    paths.sort_unstable();
    paths.dedup();
    let differs = |path: &&&String| {
        let mut values = all.iter().map(|leaves| leaves.get(**path));
        let first = values.next();
        values.any(|value| Some(value) != first)
    };
    let differing: Vec<&&String> = paths.iter().filter(differs).collect();
    let count = differing.len();
    let named = differing.into_iter().take(NAMED_MAX).map(|path| {
        let at = |((replica, _), leaves): (&(&str, Value), &BTreeMap<String, String>)| At {
            replica: (*replica).to_owned(),
            value: leaves.get(*path).map(|value| shown(value)),
        };
        let values = results.iter().zip(&all).map(at).collect();
        Difference { path: (*path).clone(), values }
    });
    (named.collect(), count)
}

/// What a result tells: its structured content, else its content.
fn told(result: &Value) -> &Value {
    result.get("structuredContent").or_else(|| result.get("content")).unwrap_or(&Value::Null)
}

/// Every value that holds no other ones, by its pointer; `None` if there are too many.
fn leaves(value: &Value) -> Option<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let mut open = vec![(String::new(), value)];
    while let Some((path, value)) = open.pop() {
        if found.len() + open.len() > LEAVES_MAX {
            return None;
        }
        match value {
            Value::Object(members) if !members.is_empty() => {
                open.extend(members.iter().map(|(key, value)| {
                    let key = key.replace('~', "~0").replace('/', "~1");
                    (format!("{path}/{key}"), value)
                }));
            }
            Value::Array(items) if !items.is_empty() => {
                open.extend(items.iter().enumerate().map(|(n, v)| (format!("{path}/{n}"), v)));
            }
            leaf => {
                found.insert(path, leaf.to_string());
            }
        }
    }
    Some(found)
}

fn shown(value: &str) -> String {
    let mut short: String = value.chars().take(SHOWN_CHARS_MAX).collect();
    if short.len() < value.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(structured: &Value) -> Value {
        json!({ "content": [{ "type": "text", "text": "not looked at" }], "structuredContent": structured })
    }

    #[test]
    fn only_what_differs_is_named_with_each_replicas_value() {
        let results = [
            ("a", of(&json!({"v": 1, "list": [1, {"x/y": true}], "same": "s"}))),
            ("b", of(&json!({"v": 1, "list": [1, {"x/y": false}], "same": "s", "more": null}))),
        ];
        let (named, count) = differences(&results);
        let at = |replica: &str, value: Option<&str>| At {
            replica: replica.to_owned(),
            value: value.map(ToOwned::to_owned),
        };
        let list = Difference {
            path: "/list/1/x~1y".to_owned(),
            values: vec![at("a", Some("true")), at("b", Some("false"))],
        };
        let more = Difference {
            path: "/more".to_owned(),
            values: vec![at("a", None), at("b", Some("null"))],
        };
        assert_eq!((named, count), (vec![list, more], 2));
        assert_eq!(differences(&[results[0].clone(), results[0].clone()]).1, 0);
        assert_eq!(differences(&[]), (vec![], 0));
    }

    #[test]
    fn the_content_is_compared_where_there_is_nothing_structured() {
        let of = |text: &str| json!({ "content": [{ "type": "text", "text": text }] });
        let (named, _) = differences(&[("a", of("x")), ("b", of("y"))]);
        assert_eq!(named[0].path, "/0/text");
    }

    #[test]
    fn there_are_bounds() {
        let wide = |seed: usize| of(&json!((0..100).map(|n| n + seed).collect::<Vec<_>>()));
        let (named, count) = differences(&[("a", wide(0)), ("b", wide(1))]);
        assert_eq!((named.len(), count), (NAMED_MAX, 100));
        let huge = |seed: usize| of(&json!((0..10_000).map(|n| n + seed).collect::<Vec<_>>()));
        let (named, count) = differences(&[("a", huge(0)), ("b", huge(1))]);
        assert_eq!((named[0].path.as_str(), count), ("", 1));
        let value = named[0].values[0].value.as_deref().unwrap();
        assert_eq!(value.chars().count(), SHOWN_CHARS_MAX + 1);
    }
}
