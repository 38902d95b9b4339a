//! Pure: what several copies of a server offer, as one. While a fleet is brought from one version to
//! the next its copies differ: all tools of all of them are offered, each as most of them define it,
//! and calls go only to those that define it so.
//!
//! Two definitions are alike if they take the same arguments and say the same of what a second run
//! would do. Words, titles and the order of members may differ: copies of different eras write them
//! differently.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::Value;
use smallvec::SmallVec;

use super::merge::Part;

/// Places of copies.
pub type Copies = SmallVec<[usize; 8]>;

/// Tools that not all copies offer alike, by their own name: the places of those that do.
pub type Fits = HashMap<Box<str>, Copies>;

/// What one copy offers.
#[derive(Clone, Copy, Debug)]
pub struct Copy<'a> {
    /// Its place.
    pub place: usize,
    /// What it listed.
    pub part: &'a Part,
    /// How much it counts where definitions differ; 0 for one that is away.
    pub weight: u32,
}

/// What copies offer together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct United {
    /// The whole offer.
    pub part: Part,
    /// What not all of them offer alike.
    pub fits: Fits,
}

/// One definition of a tool, and who has it.
struct Variant<'a> {
    takes: Value,
    text: &'a Bytes,
    weight: u64,
    places: Copies,
}

/// Unites what copies offer. Everything but the tools is that of `best`, the first that counts most.
/// `None` if all offer the same.
pub fn unite(best: &Part, copies: &[Copy<'_>]) -> Option<United> {
    let (first, rest) = copies.split_first()?;
    if rest.iter().all(|copy| copy.part.tools == first.part.tools) {
        return None;
    }
    let mut order: Vec<Box<str>> = Vec::new();
    let mut tools: HashMap<Box<str>, Vec<Variant<'_>>> = HashMap::new();
    for copy in copies {
        for text in &copy.part.tools {
            let Some((name, takes)) = read(text) else { continue };
            let variants = tools.entry(name.clone()).or_insert_with(|| {
                order.push(name);
                Vec::new()
            });
            let known = variants.iter_mut().find(|variant| variant.takes == takes);
            match known {
                // A copy that lists a tool twice has it once.
                Some(known) if known.places.last() == Some(&copy.place) => {}
                Some(known) => {
                    known.weight += u64::from(copy.weight);
                    known.places.push(copy.place);
                }
                None => variants.push(Variant {
                    takes,
                    text,
                    weight: copy.weight.into(),
                    places: Copies::from_slice(&[copy.place]),
                }),
            }
        }
    }
    let mut part = Part { tools: Vec::with_capacity(order.len()), ..best.clone() };
    let mut fits = Fits::new();
    for name in order {
        let variants = tools.remove(&name).unwrap_or_default();
        // Of equal ones the first: a tie changes nothing.
        let most = variants.into_iter().reduce(|a, b| if b.weight > a.weight { b } else { a });
        let Some(most) = most else { continue };
        part.tools.push(most.text.clone());
        if most.places.len() < copies.len() {
            fits.insert(name, most.places);
        }
    }
    Some(United { part, fits })
}

/// The name of a tool, and what two definitions of it are compared by. What cannot be read is left
/// to the merge, which says why.
fn read(text: &[u8]) -> Option<(Box<str>, Value)> {
    let mut tool: Value = serde_json::from_slice(text).ok()?;
    let name = tool.get("name")?.as_str()?.into();
    let mut take = |key: &str| tool.get_mut(key).map(Value::take).unwrap_or_default();
    let (mut input, annotations) = (take("inputSchema"), take("annotations"));
    if let Some(input) = input.as_object_mut() {
        // Of no meaning for what it takes.
        input.remove("$schema");
    }
    let hint = |key: &str| annotations.get(key).cloned().unwrap_or_default();
    let hints = ["readOnlyHint", "destructiveHint", "idempotentHint"].map(hint);
    Some((name, Value::from(vec![input, Value::from(hints.to_vec())])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(tools: &[&str]) -> Part {
        let tools = tools.iter().map(|tool| Bytes::from((*tool).to_owned())).collect();
        Part { tools, ..Part::default() }
    }

    fn tool(name: &str, schema: &str) -> String {
        format!(r#"{{"name":"{name}","inputSchema":{schema}}}"#)
    }

    const OBJECT: &str = r#"{"type":"object"}"#;
    const WITH_A: &str = r#"{"type":"object","properties":{"a":{"type":"string"}}}"#;

    fn united(parts: &[(&Part, u32)]) -> Option<United> {
        let copies: Vec<_> = parts
            .iter()
            .enumerate()
            .map(|(place, (part, weight))| Copy { place, part, weight: *weight })
            .collect();
        unite(parts[0].0, &copies)
    }

    fn fits(united: &United, name: &str) -> Option<Vec<usize>> {
        united.fits.get(name).map(|places| places.to_vec())
    }

    #[test]
    fn copies_that_offer_the_same_need_no_care() {
        let one = part(&[&tool("x", OBJECT)]);
        assert_eq!(united(&[(&one, 1), (&one.clone(), 1)]), None);
        assert_eq!(united(&[(&one, 1)]), None);
    }

    #[test]
    fn a_tool_that_only_some_have_is_offered_and_called_there() {
        let old = part(&[&tool("x", OBJECT), &tool("gone", OBJECT)]);
        let new = part(&[&tool("x", OBJECT), &tool("new", OBJECT)]);
        let united = united(&[(&old, 1), (&new, 1), (&old, 1)]).unwrap();
        let names: Vec<_> = united.part.tools.iter().map(|t| read(t).unwrap().0).collect();
        assert_eq!(names, ["x".into(), "gone".into(), Box::<str>::from("new")]);
        assert_eq!(fits(&united, "x"), None);
        assert_eq!(fits(&united, "gone"), Some(vec![0, 2]));
        assert_eq!(fits(&united, "new"), Some(vec![1]));
    }

    #[test]
    fn of_two_definitions_that_of_the_greater_weight_counts_and_at_a_tie_the_first() {
        let (old, new) = (part(&[&tool("x", OBJECT)]), part(&[&tool("x", WITH_A)]));
        let heavy = united(&[(&old, 1), (&new, 2)]).unwrap();
        assert_eq!((&heavy.part, fits(&heavy, "x")), (&new, Some(vec![1])));
        let tie = united(&[(&old, 1), (&new, 1)]).unwrap();
        assert_eq!((&tie.part, fits(&tie, "x")), (&old, Some(vec![0])));
        let away = united(&[(&old, 0), (&new, 1)]).unwrap();
        assert_eq!(fits(&away, "x"), Some(vec![1]));
    }

    #[test]
    fn words_and_the_order_of_members_make_no_difference_and_hints_do() {
        let one = part(&[r#"{"name":"x","inputSchema":{"type":"object","required":["a"]}}"#]);
        let other = part(&[
            r#"{"description":"d","inputSchema":{"required":["a"],"type":"object"},"name":"x"}"#,
        ]);
        let same = united(&[(&one, 1), (&other, 1)]).unwrap();
        assert!(same.fits.is_empty(), "{:?}", same.fits);
        let claims = part(&[
            r#"{"name":"x","inputSchema":{"type":"object","required":["a"]},"annotations":{"readOnlyHint":true}}"#,
        ]);
        assert_eq!(united(&[(&one, 1), (&claims, 1)]).unwrap().fits.len(), 1);
    }

    #[test]
    fn what_cannot_be_read_and_what_stands_twice_is_no_trouble() {
        let odd = part(&["{", r#"{"name":7}"#, &tool("x", OBJECT), &tool("x", OBJECT)]);
        let good = part(&[&tool("x", OBJECT)]);
        let united = united(&[(&odd, 1), (&good, 1)]).unwrap();
        assert_eq!((united.part.tools.len(), united.fits.len()), (1, 0));
    }
}
