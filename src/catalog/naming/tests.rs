//! Names: tables for the rules, properties for what must always hold.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

fn naming(name_max: usize) -> NamingSpec {
    NamingSpec { separator: "__".to_owned(), name_max }
}

fn names(naming: &NamingSpec, wanted: &[(&str, &str)]) -> Vec<Given> {
    let wanted: Vec<_> = wanted.iter().map(|(prefix, name)| Wanted { prefix, name }).collect();
    expose(naming, &wanted)
}

fn name(text: &str) -> Given {
    Given::Name(text.to_owned())
}

/// The first hexadecimal digits of the hash of a full name.
fn digits(full: &str, count: usize) -> String {
    hash(full).chars().take(count).collect()
}

#[test]
fn a_plain_name_gets_its_prefix() {
    let got = names(&naming(48), &[("search", "find"), ("", "find"), ("a", "x__y")]);
    assert_eq!(got, [name("search__find"), name("find"), name("a__x__y")]);
}

#[test]
fn a_long_name_keeps_41_bytes_and_six_digits_of_the_hash_of_all_of_it() {
    let tool = "t".repeat(60);
    let got = names(&naming(48), &[("up", &tool)]);

    let want = format!("up__{}_{}", "t".repeat(37), digits(&format!("up__{tool}"), 6));
    assert_eq!(want.len(), 48);
    assert_eq!(got, [name(&want)]);
}

#[test]
fn the_hash_is_sha_256() {
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(hash("abc"), abc);
}

#[test]
fn a_name_of_exactly_the_limit_stays() {
    let tool = "t".repeat(44);
    assert_eq!(names(&naming(48), &[("up", &tool)]), [name(&format!("up__{tool}"))]);
}

#[test]
fn other_characters_become_underscores() {
    let got = names(&naming(48), &[("a", "x.y"), ("a", "é/z"), ("b.c", "d")]);
    assert_eq!(got, [name("a__x_y"), name("a____z"), name("b_c__d")]);
}

#[test]
fn changed_names_that_collide_all_get_a_hash() {
    let got = names(&naming(48), &[("a", "x.y"), ("a", "x/y"), ("a", "x_y")]);
    let hashed = |full: &str| name(&format!("a__x_y_{}", digits(full, 6)));
    assert_eq!(got, [hashed("a__x.y"), hashed("a__x/y"), name("a__x_y")]);
}

#[test]
fn the_first_of_two_equal_names_gets_it() {
    let got = names(&naming(48), &[("a", "b__c"), ("a__b", "c"), ("", "a__b__c")]);
    assert_eq!(got, [name("a__b__c"), Given::TakenBy(0), Given::TakenBy(0)]);
}

#[test]
fn a_hashed_name_that_somebody_really_has_gets_a_longer_hash() {
    let tool = "t".repeat(60);
    let full = format!("up__{tool}");
    let squatter = format!("up__{}_{}", "t".repeat(37), digits(&full, 6));
    let got = names(&naming(48), &[("", &squatter), ("up", &tool)]);
    let want = format!("up__{}_{}", "t".repeat(31), digits(&full, 12));
    assert_eq!(got, [name(&squatter), name(&want)]);
}

#[test]
fn without_prefix_nothing_is_changed() {
    let odd = format!("é {}", "x".repeat(100));
    assert_eq!(names(&naming(48), &[("", &odd)]), [name(&odd)]);
    assert!(!fits(&naming(48), &odd));
    assert!(!fits(&naming(48), ""));
    assert!(fits(&naming(48), "a_B-9"));
}

/// Names that collide often: few letters, some of them not allowed, some long.
fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ab._/é-]{1,6}",
        "[ab._]{38,64}",
        "t{60}[ab.]{1,2}",
        any::<String>().prop_filter("a tool has a name", |name| !name.is_empty()),
    ]
}

fn any_wanted() -> impl Strategy<Value = Vec<(String, String)>> {
    let prefix = prop_oneof![Just(String::new()), "[ab._-]{1,4}"];
    prop::collection::vec((prefix, any_name()), 0..40)
}

proptest! {
    #[test]
    fn names_are_unique_fit_and_come_again(wanted in any_wanted(), name_max in 16_usize..=64) {
        let naming = naming(name_max);
        let wanted: Vec<_> =
            wanted.iter().map(|(prefix, name)| Wanted { prefix, name }).collect();
        let given = expose(&naming, &wanted);
        prop_assert_eq!(&given, &expose(&naming, &wanted));
        prop_assert_eq!(given.len(), wanted.len());
        let mut seen = HashSet::new();
        for (wish, answer) in wanted.iter().zip(&given) {
            match answer {
                Given::Name(name) => {
                    prop_assert!(seen.insert(name.clone()), "{} twice", name);
                    if wish.prefix.is_empty() {
                        prop_assert_eq!(name, wish.name);
                    } else {
                        prop_assert!(fits(&naming, name), "{}", name);
                    }
                }
                Given::TakenBy(index) => {
                    let full = full_name(&naming, wish);
                    prop_assert_eq!(full, full_name(&naming, &wanted[*index]));
                    prop_assert!(matches!(given[*index], Given::Name(_)));
                }
            }
        }
    }

    /// Only who has the very same name loses it: which other names there are, and in which order,
    /// decides about nothing else.
    #[test]
    fn order_changes_no_name(wanted in any_wanted(), turn in 0_usize..40) {
        let naming = naming(48);
        let mut unique: Vec<(String, String)> = Vec::new();
        let mut seen = HashSet::new();
        for (prefix, name) in wanted {
            let full = full_name(&naming, &Wanted { prefix: &prefix, name: &name }).into_owned();
            if seen.insert(full) {
                unique.push((prefix, name));
            }
        }
        let mut turned = unique.clone();
        let len = turned.len().max(1);
        turned.rotate_left(turn % len);
        turned.reverse();
        let table = |list: &[(String, String)]| {
            let wanted: Vec<_> =
                list.iter().map(|(prefix, name)| Wanted { prefix, name }).collect();
            let mut pairs: Vec<_> =
                list.iter().cloned().zip(expose(&naming, &wanted).into_iter().map(text)).collect();
            pairs.sort();
            pairs
        };
        prop_assert_eq!(table(&unique), table(&turned));
    }

    /// A tiny limit leaves no room for a hash: still nobody shares a name, and nothing is longer.
    #[test]
    fn tiny_limits_hold(wanted in any_wanted(), name_max in 1_usize..16) {
        let naming = naming(name_max);
        let wanted: Vec<_> =
            wanted.iter().map(|(prefix, name)| Wanted { prefix, name }).collect();
        let mut seen = HashSet::new();
        for (wish, given) in wanted.iter().zip(expose(&naming, &wanted)) {
            if let Given::Name(name) = given {
                prop_assert!(wish.prefix.is_empty() || name.len() <= name_max);
                prop_assert!(seen.insert(name));
            }
        }
    }
}

fn text(given: Given) -> String {
    match given {
        Given::Name(name) => name,
        Given::TakenBy(index) => panic!("lost to {index}"),
    }
}
