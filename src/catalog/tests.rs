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
    Part { era: Era::Legacy, tools: names.iter().map(definition).collect(), ..Part::default() }
}

/// A legacy upstream with these resources and templates.
pub(super) fn holding(uris: &[&str], templates: &[&str]) -> Part {
    let entry = |key: &str, text: &&str| {
        format!(r#"{{"{key}":{},"name":"n"}}"#, crate::proto::scan::quote(text)).into()
    };
    Part {
        era: Era::Legacy,
        resources: uris.iter().map(|uri| entry("uri", uri)).collect(),
        templates: templates.iter().map(|text| entry("uriTemplate", text)).collect(),
        ..Part::default()
    }
}

/// A legacy upstream with these prompts.
pub(super) fn prompting(names: &[&str]) -> Part {
    let prompt = |name: &&str| format!(r#"{{"name":{}}}"#, crate::proto::scan::quote(name)).into();
    Part { era: Era::Legacy, prompts: names.iter().map(prompt).collect(), ..Part::default() }
}

/// One catalog of these parts, each under its prefix, in this order.
pub(super) fn catalog_of(parts: &[(&str, Part)]) -> Catalog {
    let offers: Vec<OfferSpec> = parts.iter().map(|(prefix, _)| OfferSpec::all(prefix)).collect();
    let sources: Vec<Source<'_>> = offers
        .iter()
        .zip(parts)
        .enumerate()
        .map(|(index, (offer, (_, part)))| Source {
            owner: Owner::Upstream(index),
            offer,
            part: Some(part),
        })
        .collect();
    merge(&NamingSpec::default(), &sources).catalog
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
    assert_eq!(
        one.digest(Kind::Tools),
        catalog(&[(OfferSpec::all("a"), &["x", "y"])]).digest(Kind::Tools)
    );
    for other in [
        catalog(&[(OfferSpec::all("a"), &["y", "x"])]),
        catalog(&[(OfferSpec::all("a"), &["x"])]),
        catalog(&[(OfferSpec::all("b"), &["x", "y"])]),
        Catalog::default(),
    ] {
        assert_ne!(one.digest(Kind::Tools), other.digest(Kind::Tools));
    }
    // A hidden tool shows nowhere.
    let mut offer = OfferSpec::all("a");
    offer.exclude = vec!["z".to_owned()];
    assert_eq!(one.digest(Kind::Tools), catalog(&[(offer, &["x", "y", "z"])]).digest(Kind::Tools));
    assert_eq!(one.digest(Kind::Tools).to_string().len(), 64);
    assert_eq!(Catalog::default().digest(Kind::Tools), catalog(&[]).digest(Kind::Tools));
}

#[test]
fn each_list_has_a_digest_of_its_own() {
    let all = |name: &str, uri: &str, text: &str| {
        let mut part = holding(&[uri], &[text]);
        part.prompts = prompting(&[name]).prompts;
        let catalog = catalog_of(&[("a", part)]);
        Kind::ALL.map(|kind| catalog.digest(kind))
    };
    let [tools, prompts, resources, templates] = all("x", "u:x", "t:{x}");
    assert_eq!(all("y", "u:x", "t:{x}")[2..], [resources, templates]);
    assert_ne!(all("y", "u:x", "t:{x}")[1], prompts);
    let other = all("x", "u:y", "t:{x}");
    assert!(other[1] == prompts && other[2] != resources && other[3] == templates);
    let other = all("x", "u:x", "t:{y}");
    assert!(other[1] == prompts && other[2] == resources && other[3] != templates);
    assert_eq!(tools, Digest::default());
    assert_eq!(Kind::ALL.map(|kind| Catalog::default().digest(kind)), [Digest::default(); 4]);
}

#[test]
fn the_digest_sees_what_only_one_era_sees() {
    // Clients of the modern era are shown neither `execution` nor, here, the annotation.
    let with = |member: &str, schema: &str| {
        let tool = format!(r#"{{"name":"x"{member},"inputSchema":{{"type":"object"{schema}}}}}"#);
        let tools = vec![bytes::Bytes::from(tool)];
        let part = Part { era: Era::Legacy, tools, ..Part::default() };
        catalog_of(&[("a", part)]).digest(Kind::Tools)
    };
    let plain = with("", "");
    assert_ne!(with(r#","execution":{}"#, ""), plain);
    assert_ne!(with(r#","execution":{"a":1}"#, ""), with(r#","execution":{}"#, ""));
    assert_ne!(with("", r#","x-mcp-header":"A""#), plain);
}

#[test]
fn prompts_have_names_of_their_own() {
    let mut both = part(&["x"]);
    both.prompts = prompting(&["x", "b__c"]).prompts;
    let catalog = catalog_of(&[("a", both), ("a__b", prompting(&["d"]))]);
    let known = |name: &str| match catalog.prompt(name) {
        PromptLookup::Prompt(prompt) => Some((prompt.owner, &*prompt.original)),
        PromptLookup::Transparent(_) => panic!("nobody is transparent"),
        PromptLookup::Unknown => None,
    };
    assert_eq!(known("a__x"), Some((Owner::Upstream(0), "x")));
    assert_eq!(known("a__b__c"), Some((Owner::Upstream(0), "b__c")));
    assert_eq!(known("a__b__d"), Some((Owner::Upstream(1), "d")));
    assert_eq!(known("x"), None);
    assert_eq!(known(""), None);
    assert_eq!(original(&catalog, "a__x").1, "x");
    assert!(matches!(catalog.lookup("a__b__d"), Lookup::Unknown));
    assert_eq!(catalog.nearest_prompts("a_b_d", 1), ["a__b__d"]);
    assert_eq!(catalog.nearest_prompts("a__x", 9)[0], "a__x");
}

#[test]
fn what_hides_or_renames_tools_touches_no_prompt() {
    let mut offer = OfferSpec::all("");
    offer.exclude = vec!["*".to_owned()];
    offer.rename.insert("p".to_owned(), "q".to_owned());
    let mut both = prompting(&["p"]);
    both.tools = part(&["t"]).tools;
    let source = Source { owner: Owner::Upstream(7), offer: &offer, part: Some(&both) };
    let catalog = merge(&NamingSpec::default(), &[source]).catalog;
    assert!(catalog.tools().is_empty());
    assert!(matches!(catalog.prompt("p"), PromptLookup::Prompt(_)));
    assert!(matches!(catalog.prompt("unlisted"), PromptLookup::Transparent(7)));
}

#[test]
fn resources_and_templates_are_found_by_their_text() {
    let catalog = catalog_of(&[("a", holding(&["f:///a", "ui://b"], &["f:///{x}", "f:{+y}"]))]);
    let found = catalog.resource("ui://b").unwrap();
    assert_eq!((&*found.uri, found.owner), ("ui://b", Owner::Upstream(0)));
    assert!(catalog.resource("f:///b").is_none() && catalog.resource("f:///{x}").is_none());
    assert_eq!(&*catalog.template("f:{+y}").unwrap().text, "f:{+y}");
    assert!(catalog.template("f:{+z}").is_none() && catalog.template("f:///a").is_none());
}

#[test]
fn the_template_with_the_longest_beginning_matches() {
    let catalog = catalog_of(&[
        ("a", holding(&[], &["{+any}", "f:{+x}", "f:///{x}"])),
        ("b", holding(&[], &["f:///{y}", "f:///dir/{x}", "f:///dir/{x}/z"])),
    ]);
    let best = |uri: &str| {
        let template = catalog.matching(uri)?;
        Some((template.owner, &*template.text))
    };
    assert_eq!(best("f:///dir/a"), Some((Owner::Upstream(1), "f:///dir/{x}")));
    assert_eq!(best("f:///dir/a/z"), Some((Owner::Upstream(1), "f:///dir/{x}/z")));
    assert_eq!(best("f:///a"), Some((Owner::Upstream(0), "f:///{x}")));
    assert_eq!(best("f:///dir/a/b"), Some((Owner::Upstream(0), "f:{+x}")));
    assert_eq!(best("g:1"), Some((Owner::Upstream(0), "{+any}")));
    assert_eq!(
        catalog_of(&[("a", holding(&["f:a"], &["g:{x}"]))]).matching("f:a").map(|_| ()),
        None
    );
}

#[test]
fn an_unlisted_uri_may_be_known_to_those_who_list_the_like() {
    let catalog = catalog_of(&[
        ("a", part(&["only_tools"])),
        ("b", holding(&["f:///a"], &[])),
        ("", prompting(&["only_prompts"])),
        // The first one has the URI, but the second knows it too.
        ("c", holding(&["f:///a", "g:1"], &[])),
        ("d", holding(&[], &["f:///a/b/{x}"])),
    ]);
    assert_eq!(catalog.candidates("f:///a/b/c").to_vec(), [4, 1, 3, 2]);
    assert_eq!(catalog.candidates("g:2").to_vec(), [3, 2, 1, 4]);
    assert_eq!(catalog.candidates("h:2").to_vec(), [2, 1, 3, 4]);
    assert!(Catalog::default().candidates("h:2").is_empty());
}

#[test]
fn an_upstream_whose_resources_are_all_unfit_may_still_know_more() {
    let mut broken = holding(&[], &[]);
    broken.resources = vec![bytes::Bytes::from_static(b"{}")];
    assert_eq!(catalog_of(&[("a", broken)]).candidates("h:2").to_vec(), [0]);
}
