//! The catalog as its users see it: lookups of every kind, near names, the digest.

use super::spec::{NamingSpec, OfferSpec};
use super::*;
use crate::proto::era::Era;

/// A legacy upstream's list of tools that take nothing.
pub(super) fn part(names: &[&str]) -> Part {
    let definition = |name: &&str| {
        let name = crate::proto::scan::quote(name);
        format!(r#"{{"name":{name},"inputSchema":{{"type":"object"}}}}"#).into()
    };
    Part { era: Era::Legacy, tools: names.iter().map(definition).collect() }
}

/// One catalog of upstreams with these offers and names, in this order.
fn catalog(upstreams: &[(OfferSpec, &[&str])]) -> Catalog {
    let parts: Vec<Part> = upstreams.iter().map(|(_, names)| part(names)).collect();
    let sources: Vec<Source<'_>> = upstreams
        .iter()
        .zip(&parts)
        .enumerate()
        .map(|(index, ((offer, _), part))| Source {
            owner: Owner::Upstream(index),
            offer,
            part: Some(part),
        })
        .collect();
    merge(&NamingSpec::default(), &sources).catalog
}

fn original<'a>(catalog: &'a Catalog, name: &str) -> (Owner, &'a str) {
    match catalog.lookup(name) {
        Lookup::Tool(tool) => (tool.owner, &tool.original),
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn names_are_looked_up_and_never_split() {
    let catalog =
        catalog(&[(OfferSpec::all("a"), &["b__c", "x"]), (OfferSpec::all("a__b"), &["d"])]);
    assert_eq!(original(&catalog, "a__b__c"), (Owner::Upstream(0), "b__c"));
    assert_eq!(original(&catalog, "a__b__d"), (Owner::Upstream(1), "d"));
    for unknown in ["x", "a__", "a__y", "A__x", "a__x ", ""] {
        assert!(matches!(catalog.lookup(unknown), Lookup::Unknown), "{unknown}");
    }
}

#[test]
fn a_hidden_tool_is_denied_and_not_listed() {
    let mut offer = OfferSpec::all("up");
    offer.exclude = vec!["delete_*".to_owned()];
    offer.rename.insert("delete_all".to_owned(), "wipe".to_owned());
    let catalog = catalog(&[(offer, &["read", "delete_one", "delete_all"])]);
    assert_eq!(catalog.tools().len(), 1);
    for name in ["up__delete_one", "up__wipe"] {
        assert!(matches!(catalog.lookup(name), Lookup::Denied(Owner::Upstream(0))), "{name}");
    }
    assert!(matches!(catalog.lookup("up__delete_all"), Lookup::Unknown));
    assert!(catalog.find_original(Owner::Upstream(0), "delete_one").is_none());
}

#[test]
fn a_renamed_tool_is_called_by_its_new_name_only() {
    let mut offer = OfferSpec::all("up");
    offer.rename.insert("old".to_owned(), "new".to_owned());
    let catalog = catalog(&[(offer, &["old"])]);
    assert_eq!(original(&catalog, "up__new"), (Owner::Upstream(0), "old"));
    assert!(matches!(catalog.lookup("up__old"), Lookup::Unknown));
    let found = catalog.find_original(Owner::Upstream(0), "old").unwrap();
    assert_eq!(&*found.name, "up__new");
    assert!(catalog.find_original(Owner::Upstream(1), "old").is_none());
    assert!(catalog.find_original(Owner::Builtin, "old").is_none());
}

#[test]
fn two_tools_can_swap_their_names() {
    let mut offer = OfferSpec::all("");
    offer.rename.insert("a".to_owned(), "b".to_owned());
    offer.rename.insert("b".to_owned(), "a".to_owned());
    let catalog = catalog(&[(offer, &["a", "b"])]);
    assert_eq!(original(&catalog, "a").1, "b");
    assert_eq!(original(&catalog, "b").1, "a");
}

#[test]
fn unlisted_names_reach_the_upstream_without_prefix() {
    let mut offer = OfferSpec::all("");
    offer.rename.insert("old".to_owned(), "new".to_owned());
    let catalog = catalog(&[(OfferSpec::all("a"), &["x"]), (offer, &["old"])]);
    assert!(matches!(catalog.lookup("secret"), Lookup::Transparent(1)));
    assert!(matches!(catalog.lookup("a__y"), Lookup::Transparent(1)));
    assert!(matches!(catalog.lookup("old"), Lookup::Unknown));
    assert_eq!(original(&catalog, "new"), (Owner::Upstream(1), "old"));
    assert_eq!(original(&catalog, "a__x"), (Owner::Upstream(0), "x"));
}

#[test]
fn unlisted_names_do_not_pass_a_filter() {
    let mut offer = OfferSpec::all("");
    offer.exclude = vec!["w*".to_owned()];
    offer.rename.insert("old".to_owned(), "new".to_owned());
    let catalog = catalog(&[(offer, &["read", "write"])]);
    assert_eq!(original(&catalog, "read").1, "read");
    for name in ["write", "unlisted"] {
        assert!(matches!(catalog.lookup(name), Lookup::Denied(Owner::Upstream(0))), "{name}");
    }
    assert!(matches!(catalog.lookup("old"), Lookup::Unknown));
}

#[test]
fn an_upstream_without_prefix_takes_unlisted_names_before_it_has_listed() {
    let offer = OfferSpec::all("");
    let source = Source { owner: Owner::Upstream(4), offer: &offer, part: None };
    let catalog = merge(&NamingSpec::default(), &[source]).catalog;
    assert!(matches!(catalog.lookup("x"), Lookup::Transparent(4)));
}

#[test]
fn neither_two_bare_upstreams_nor_built_in_tools_are_transparent() {
    let bare = OfferSpec::all("");
    let two = catalog(&[(bare.clone(), &["x"]), (bare.clone(), &["y"])]);
    assert!(matches!(two.lookup("z"), Lookup::Unknown));
    let builtin = part(&["echo"]);
    let source = Source { owner: Owner::Builtin, offer: &bare, part: Some(&builtin) };
    let catalog = merge(&NamingSpec::default(), &[source]).catalog;
    assert!(matches!(catalog.lookup("z"), Lookup::Unknown));
    assert_eq!(original(&catalog, "echo").0, Owner::Builtin);
}

#[test]
fn near_names_are_found_by_exposed_and_by_own_name() {
    let catalog = catalog(&[
        (OfferSpec::all("demo"), &["echo", "append", "sleep"]),
        (OfferSpec::all("docs"), &["search_repositories"]),
    ]);
    assert_eq!(catalog.nearest("demo_echo", 1), ["demo__echo"]);
    assert_eq!(catalog.nearest("echo", 3), ["demo__echo"]);
    assert_eq!(catalog.nearest("APEND", 3), ["demo__append"]);
    assert_eq!(catalog.nearest("search", 3), ["docs__search_repositories"]);
    assert_eq!(catalog.nearest("zzzzzz", 3), Vec::<&str>::new());
    assert_eq!(catalog.nearest("", 3), Vec::<&str>::new());
    assert_eq!(catalog.nearest("echo", 0), Vec::<&str>::new());
    assert_eq!(Catalog::default().nearest("x", 3), Vec::<&str>::new());
}

#[test]
fn near_names_cost_little_whatever_is_asked() {
    let names: Vec<String> = (0..1_000).map(|n| format!("{}{n}", "ab".repeat(20))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let catalog = catalog(&[(OfferSpec::all("a"), &names), (OfferSpec::all("b"), &names)]);
    let asked = "ab".repeat(1_000_000);
    assert!(catalog.nearest(&asked, 3).len() <= 3);
}

#[test]
fn the_digest_is_of_what_clients_see() {
    let one = catalog(&[(OfferSpec::all("a"), &["x", "y"])]);
    assert_eq!(one.digest(), catalog(&[(OfferSpec::all("a"), &["x", "y"])]).digest());
    for other in [
        catalog(&[(OfferSpec::all("a"), &["y", "x"])]),
        catalog(&[(OfferSpec::all("a"), &["x"])]),
        catalog(&[(OfferSpec::all("b"), &["x", "y"])]),
        Catalog::default(),
    ] {
        assert_ne!(one.digest(), other.digest());
    }
    // A hidden tool shows nowhere.
    let mut offer = OfferSpec::all("a");
    offer.exclude = vec!["z".to_owned()];
    assert_eq!(one.digest(), catalog(&[(offer, &["x", "y", "z"])]).digest());
    assert_eq!(one.digest().to_string().len(), 64);
    assert_eq!(Catalog::default().digest(), catalog(&[]).digest());
}
