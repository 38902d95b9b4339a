//! Merging: who wins, what is reported, and that the order of arrival makes no difference.

use proptest::prelude::*;

use super::*;
use crate::catalog::item::{Item, Oddity, Unfit};
use crate::catalog::spec::{
    LISTED_LEN_MAX, PROMPTS_LEN_MAX, RESOURCES_LEN_MAX, TEMPLATES_LEN_MAX, TOOLS_LEN_MAX,
};
use crate::catalog::tests::{holding, part, prompting};
use crate::catalog::{Lookup, PromptLookup};

fn source<'a>(index: usize, offer: &'a OfferSpec, part: &'a Part) -> Source<'a> {
    Source { owner: Owner::Upstream(index), offer, part: Some(part) }
}

fn merged(sources: &[Source<'_>]) -> Merged {
    merge(&NamingSpec::default(), sources)
}

fn report(index: usize, kind: Kind, name: &str, event: Event) -> Report {
    Report { owner: Owner::Upstream(index), kind, name: name.to_owned(), event }
}

fn said(merged: &Merged) -> Vec<String> {
    merged.reports.iter().map(Report::to_string).collect()
}

fn keys<T: Item>(items: &[T]) -> Vec<(Owner, &str)> {
    items.iter().map(|item| (item.owner(), &**item.key())).collect()
}

fn names(merged: &Merged) -> Vec<&str> {
    merged.catalog.tools().iter().map(|tool| &*tool.name).collect()
}

#[test]
fn the_first_in_the_order_of_the_configuration_wins() {
    let (bare, a) = (OfferSpec::all(""), OfferSpec::all("a"));
    let (builtins, first, second) = (part(&["echo"]), part(&["echo", "a__x"]), part(&["x"]));
    let builtin = Source { owner: Owner::Builtin, offer: &bare, part: Some(&builtins) };
    let got = merged(&[source(1, &a, &second), source(0, &bare, &first), builtin]);
    assert_eq!(names(&got), ["echo", "a__x"]);
    let collision = |name: &str, winner, tool: &str| Event::Collision {
        name: name.to_owned(),
        winner,
        winner_name: tool.to_owned(),
    };
    assert_eq!(
        got.reports,
        [
            report(0, Kind::Tools, "echo", collision("echo", Owner::Builtin, "echo")),
            report(1, Kind::Tools, "x", collision("a__x", Owner::Upstream(0), "a__x")),
        ]
    );
    assert!(got.reports.iter().all(|report| report.event.is_loss()));
    assert_eq!(
        got.reports[1].to_string(),
        "tool `x` of upstream 1 is left out: `a__x` is already `a__x` of upstream 0"
    );
}

#[test]
fn a_tool_listed_twice_is_kept_once() {
    let (offer, part) = (OfferSpec::all("a"), part(&["x", "x", "y"]));
    let got = merged(&[source(0, &offer, &part)]);
    assert_eq!(names(&got), ["a__x", "a__y"]);
    assert_eq!(got.reports, [report(0, Kind::Tools, "x", Event::Twice)]);
}

#[test]
fn one_bad_tool_spoils_no_other() {
    let offer = OfferSpec::all("a");
    let mut part = part(&["x", "y", "z"]);
    part.era = Era::Modern;
    part.tools[0] = Bytes::from_static(b"7");
    part.tools[1] = Bytes::from_static(
        br#"{"name":"y","inputSchema":{"type":"object","items":{"x-mcp-header":"A"}}}"#,
    );
    let got = merged(&[source(0, &offer, &part)]);
    assert_eq!(names(&got), ["a__z"]);
    assert_eq!(
        said(&got),
        [
            "tool `#1` of upstream 0 is left out: its definition is not a JSON object",
            "tool `y` of upstream 0 is left out: `x-mcp-header` stands where no fixed path of \
             `properties` leads",
        ]
    );
}

#[test]
fn a_good_tool_takes_the_place_of_a_bad_one_of_its_name() {
    let offer = OfferSpec::all("a");
    let mut part = part(&["x", "x"]);
    part.tools[0] = Bytes::from_static(br#"{"name":"x"}"#);
    assert_eq!(names(&merged(&[source(0, &offer, &part)])), ["a__x"]);
}

#[test]
fn at_most_a_thousand_tools_of_one_upstream_are_offered() {
    let listed: Vec<String> = (0..1_002).map(|n| format!("t{n}")).collect();
    let listed: Vec<&str> = listed.iter().map(String::as_str).collect();
    let part = part(&listed);
    let mut offer = OfferSpec::all("a");
    offer.rename.insert("t1001".to_owned(), "last".to_owned());
    let got = merged(&[source(0, &offer, &part), source(1, &OfferSpec::all("b"), &part)]);
    assert_eq!(got.catalog.tools().len(), 2_000);
    assert_eq!(got.reports.len(), 2);
    assert_eq!(got.reports[0].name, "#1001");
    let event = Event::TooMany { listed: 1_002, most: TOOLS_LEN_MAX };
    assert_eq!(got.reports[0].event, event);
    // Hidden tools do not count.
    offer.exclude = vec!["t0".to_owned(), "t1".to_owned()];
    assert_eq!(merged(&[source(0, &offer, &part)]).reports, []);
}

#[test]
fn endless_listings_are_cut() {
    let mut part = part(&[]);
    part.tools = vec![Bytes::from_static(b"{}"); LISTED_LEN_MAX + 10];
    let got = merged(&[source(0, &OfferSpec::all("a"), &part)]);
    assert_eq!(got.reports.len(), LISTED_LEN_MAX + 1);
}

#[test]
fn names_that_clients_refuse_are_reported() {
    let part = part(&["fine", "not fine"]);
    let got = merged(&[source(0, &OfferSpec::all(""), &part)]);
    assert_eq!(names(&got), ["fine", "not fine"]);
    assert_eq!(got.reports.len(), 1);
    assert_eq!(got.reports[0].event, Event::Odd(Oddity::Name));
    assert!(!got.reports[0].event.is_loss());
}

#[test]
fn settings_for_tools_that_are_not_listed_are_reported() {
    let mut offer = OfferSpec::all("a");
    offer.rename.insert("typo".to_owned(), "new".to_owned());
    offer.describe.insert("x".to_owned(), "Does x.".to_owned());
    let part = part(&["x"]);
    let got = merged(&[source(0, &offer, &part)]);
    assert_eq!(got.catalog.tools()[0].description.as_deref(), Some("Does x."));
    assert_eq!(got.reports, [report(0, Kind::Tools, "typo", Event::NotListed)]);
    // While nothing is listed there is nothing to miss.
    let silent = Source { owner: Owner::Upstream(0), offer: &offer, part: None };
    assert_eq!(merged(&[silent]).reports, []);
}

#[test]
fn two_tools_renamed_alike_collide_within_their_upstream() {
    let mut offer = OfferSpec::all("a");
    offer.rename.insert("x".to_owned(), "z".to_owned());
    offer.rename.insert("y".to_owned(), "z".to_owned());
    let part = part(&["x", "y"]);
    let got = merged(&[source(0, &offer, &part)]);
    assert_eq!(names(&got), ["a__z"]);
    assert!(matches!(&got.reports[0].event, Event::Collision { name, .. } if name == "a__z"));
}

#[test]
fn hiding_a_tool_renames_no_other() {
    let part = part(&["x.y", "x/y", "z"]);
    let mut offer = OfferSpec::all("a");
    let all = merged(&[source(0, &offer, &part)]);
    let before: Vec<String> = names(&all).into_iter().map(str::to_owned).collect();
    offer.exclude = vec!["x.y".to_owned()];
    let some = merged(&[source(0, &offer, &part)]);
    assert_eq!(names(&some), before[1..]);
    assert!(matches!(some.catalog.lookup(&before[0]), Lookup::Denied(_)));
}

#[test]
fn an_offered_tool_comes_before_a_hidden_one_of_its_name() {
    let mut hiding = OfferSpec::all("a");
    hiding.exclude = vec!["*".to_owned()];
    let (bare, hidden, open) = (OfferSpec::all(""), part(&["x"]), part(&["a__x"]));
    let got = merged(&[source(0, &hiding, &hidden), source(1, &bare, &open)]);
    assert_eq!(names(&got), ["a__x"]);
    assert_eq!(got.reports, []);
}

#[test]
fn text_of_an_upstream_in_reports_is_one_short_line() {
    let part = part(&[&format!("a\n{}", "x".repeat(500))]);
    let got = merged(&[source(0, &OfferSpec::all(""), &part)]);
    let said = got.reports[0].to_string();
    assert!(!said.contains('\n') && said.len() < 400, "{said}");
}

// === Prompts, resources, templates ===

#[test]
fn three_owners_want_one_prompt() {
    let (bare, a) = (OfferSpec::all(""), OfferSpec::all("a"));
    let (builtins, first, second) =
        (prompting(&["a__x"]), prompting(&["a__x", "y"]), prompting(&["x", "y", "y"]));
    let builtin = Source { owner: Owner::Builtin, offer: &bare, part: Some(&builtins) };
    let got = merged(&[source(1, &a, &second), builtin, source(0, &bare, &first)]);
    assert_eq!(
        keys(got.catalog.prompts()),
        [(Owner::Builtin, "a__x"), (Owner::Upstream(0), "y"), (Owner::Upstream(1), "a__y")]
    );
    assert_eq!(
        said(&got),
        [
            "prompt `y` of upstream 1 is left out: it is listed twice",
            "prompt `a__x` of upstream 0 is left out: `a__x` is already `a__x` of the built-in \
             tools",
            "prompt `x` of upstream 1 is left out: `a__x` is already `a__x` of the built-in tools",
        ]
    );
    assert!(got.reports.iter().all(|report| report.kind == Kind::Prompts));
}

#[test]
fn a_prompt_and_a_tool_may_have_one_name() {
    let mut both = part(&["x"]);
    both.prompts = prompting(&["x", "not fine"]).prompts;
    let got = merged(&[source(0, &OfferSpec::all(""), &both)]);
    assert_eq!(names(&got), ["x"]);
    assert_eq!(keys(got.catalog.prompts()).len(), 2);
    assert_eq!(got.reports, [report(0, Kind::Prompts, "not fine", Event::Odd(Oddity::Name))]);
}

#[test]
fn three_owners_list_one_uri_and_one_template() {
    let (bare, a, b) = (OfferSpec::all(""), OfferSpec::all("a"), OfferSpec::all("b"));
    let builtins = holding(&["f:1"], &["t:{x}"]);
    let first = holding(&["f:1", "f:2", "t:{x}"], &["t:{y}", "t:{x}"]);
    let second = holding(&["f:3", "f:2", "f:1", "f:3"], &["t:{y}", "f:3"]);
    let builtin = Source { owner: Owner::Builtin, offer: &bare, part: Some(&builtins) };
    let got = merged(&[source(1, &b, &second), source(0, &a, &first), builtin]);
    let (builtin, one, two) = (Owner::Builtin, Owner::Upstream(0), Owner::Upstream(1));
    assert_eq!(
        keys(got.catalog.resources()),
        [(builtin, "f:1"), (one, "f:2"), (one, "t:{x}"), (two, "f:3")]
    );
    assert_eq!(keys(got.catalog.templates()), [(builtin, "t:{x}"), (one, "t:{y}"), (two, "f:3")]);
    assert_eq!(
        said(&got),
        [
            "resource `f:1` of upstream 0 is left out: it is already listed by the built-in tools",
            "resource `f:3` of upstream 1 is left out: it is listed twice",
            "resource `f:2` of upstream 1 is left out: it is already listed by upstream 0",
            "resource `f:1` of upstream 1 is left out: it is already listed by the built-in tools",
            "resource template `t:{x}` of upstream 0 is left out: it is already listed by \
             the built-in tools",
            "resource template `t:{y}` of upstream 1 is left out: it is already listed by upstream 0",
        ]
    );
    assert_eq!(got.reports[2], report(1, Kind::Resources, "f:2", Event::Shadowed { winner: one }));
}

#[test]
fn one_bad_entry_spoils_no_other() {
    fn bad(texts: &[&'static str]) -> Vec<Bytes> {
        texts.iter().map(|text| Bytes::from_static(text.as_bytes())).collect()
    }
    let mut part = holding(&["f:1"], &["t:{x}"]);
    part.prompts = bad(&["[]", r#"{"title":"x"}"#, r#"{"name":"x"}"#]);
    part.resources.extend(bad(&["1", r#"{"name":"x"}"#, r#"{"uri":"f:2"}"#]));
    part.templates.extend(bad(&[r#"{"name":"x","uriTemplate":"t:{y}","NAME":"y"}"#]));
    let got = merged(&[source(3, &OfferSpec::all("a"), &part)]);
    assert_eq!(got.catalog.prompts().len(), 1);
    assert_eq!(got.catalog.resources().len(), 1);
    assert_eq!(got.catalog.templates().len(), 1);
    assert_eq!(
        said(&got),
        [
            "prompt `#1` of upstream 3 is left out: its definition is not a JSON object",
            "prompt `#2` of upstream 3 is left out: it has no name",
            "resource `#2` of upstream 3 is left out: its definition is not a JSON object",
            "resource `#3` of upstream 3 is left out: it has no `uri`",
            "resource `f:2` of upstream 3 is left out: it has no name",
            "resource template `#2` of upstream 3 is left out: `NAME` stands in its definition \
             twice, or in another case",
        ]
    );
    assert_eq!(got.reports[4].event, Event::Unfit(Unfit::NoName));
}

#[test]
fn every_list_of_one_upstream_is_bounded() {
    for (kind, most) in [
        (Kind::Prompts, PROMPTS_LEN_MAX),
        (Kind::Resources, RESOURCES_LEN_MAX),
        (Kind::Templates, TEMPLATES_LEN_MAX),
    ] {
        let listed: Vec<String> = (0..most + 2).map(|n| format!("f:{n}")).collect();
        let listed: Vec<&str> = listed.iter().map(String::as_str).collect();
        let mut part = Part::default();
        *part.list_mut(kind) = match kind {
            Kind::Prompts => prompting(&listed).prompts,
            _ => holding(&listed, &listed).list(kind).to_vec(),
        };
        let mut got = merged(&[source(0, &OfferSpec::all("a"), &part)]);
        got.reports.retain(|report| report.event.is_loss());
        let event = Event::TooMany { listed: most + 2, most };
        assert_eq!(got.reports, [report(0, kind, &format!("#{}", most + 1), event)]);
        assert_eq!(got.reports.len(), 1);
        *part.list_mut(kind) = vec![Bytes::from_static(b"{}"); LISTED_LEN_MAX + 10];
        let got = merged(&[source(0, &OfferSpec::all("a"), &part)]);
        assert_eq!(got.reports.len(), LISTED_LEN_MAX + 1, "{kind:?}");
    }
}

#[test]
fn long_descriptions_are_reported_for_every_list() {
    let text = "x".repeat(9_000);
    let entry = format!(
        r#"{{"name":"n","uri":"f:1","uriTemplate":"t:{{x}}","description":"{text}","inputSchema":{{"type":"object"}}}}"#
    );
    let list = vec![Bytes::from(entry)];
    let part = Part {
        era: Era::Legacy,
        tools: list.clone(),
        prompts: list.clone(),
        resources: list.clone(),
        templates: list,
    };
    let got = merged(&[source(0, &OfferSpec::all("a"), &part)]);
    let want = Event::Odd(Oddity::LongDescription(9_000));
    let kinds = Kind::ALL.into_iter().zip(["n", "n", "f:1", "t:{x}"]);
    assert_eq!(
        got.reports,
        kinds.map(|(kind, name)| report(0, kind, name, want.clone())).collect::<Vec<_>>()
    );
}

/// Everything that a client or an operator can see, as text.
fn picture(merged: &Merged) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for tool in merged.catalog.tools() {
        let shown = [Era::Legacy, Era::Modern].map(|era| tool.definition(era));
        writeln!(out, "{} {} {} {shown:?}", tool.name, tool.owner, tool.original).unwrap();
    }
    let catalog = &merged.catalog;
    put(&mut out, catalog.prompts());
    put(&mut out, catalog.resources());
    put(&mut out, catalog.templates());
    writeln!(out, "{:?} {:?}", merged.reports, Kind::ALL.map(|kind| catalog.digest(kind))).unwrap();
    for uri in ["a:", "a:b", "a:a.b", "b:", "c:a"] {
        let best = catalog.matching(uri).map(|template| (&template.text, template.owner));
        writeln!(out, "{best:?} {:?}", catalog.candidates(uri)).unwrap();
    }
    out
}

fn put<T: Item>(out: &mut String, items: &[T]) {
    use std::fmt::Write as _;
    for item in items {
        writeln!(out, "{} {} {:?}", item.key(), item.owner(), item.shown(Era::Modern)).unwrap();
    }
}

fn refs(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).collect()
}

/// A permutation drawn from a seed.
fn shuffle<T>(items: &mut [T], mut seed: u64) {
    for index in (1..items.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        items.swap(index, usize::try_from(seed >> 33).unwrap() % (index + 1));
    }
}

proptest! {
    #[test]
    fn the_order_of_arrival_makes_no_difference(
        lists in prop::collection::vec(prop::collection::vec("[ab._]{1,4}|t{60}", 0..12), 1..6),
        bare in 0_usize..8,
        order in any::<u64>(),
    ) {
        let parts: Vec<Part> = lists
            .iter()
            .map(|names| part(&names.iter().map(String::as_str).collect::<Vec<_>>()))
            .collect();
        let prefixes = ["a", "a__b", "a.b", "a_b", "b", "c"];
        let offers: Vec<OfferSpec> = (0..lists.len())
            .map(|index| OfferSpec::all(if index == bare { "" } else { prefixes[index] }))
            .collect();
        let sources: Vec<Source<'_>> =
            offers.iter().zip(&parts).enumerate().map(|(i, (o, p))| source(i, o, p)).collect();
        let want = merged(&sources);
        let mut shuffled = sources.clone();
        shuffle(&mut shuffled, order);
        prop_assert_eq!(picture(&merged(&shuffled)), picture(&want));
        // Every tool is offered or reported as missing, and is found under its name.
        let listed: usize = lists.iter().map(Vec::len).sum();
        let lost = want.reports.iter().filter(|report| report.event.is_loss()).count();
        prop_assert_eq!(want.catalog.tools().len() + lost, listed);
        for tool in want.catalog.tools() {
            let found = want.catalog.lookup(&tool.name);
            prop_assert!(matches!(found, Lookup::Tool(same) if std::ptr::eq(same, tool)));
            let found = want.catalog.find_original(tool.owner, &tool.original).unwrap();
            prop_assert!(std::ptr::eq(found, tool));
        }
    }
    #[test]
    fn the_order_of_arrival_makes_no_difference_to_any_list(
        lists in prop::collection::vec(
            (
                prop::collection::vec("[ab._]{1,3}", 0..6),
                prop::collection::vec("[ab]:[ab.]{0,2}", 0..6),
                prop::collection::vec("[ab]:[ab.]{0,1}(\\{[+/]?x\\})?", 0..6),
            ),
            1..6,
        ),
        bare in 0_usize..8,
        order in any::<u64>(),
    ) {
        let parts: Vec<Part> = lists
            .iter()
            .map(|(prompts, uris, templates)| Part {
                prompts: prompting(&refs(prompts)).prompts,
                ..holding(&refs(uris), &refs(templates))
            })
            .collect();
        let prefixes = ["a", "a__b", "a.b", "a_b", "b", "c"];
        let offers: Vec<OfferSpec> = (0..lists.len())
            .map(|index| OfferSpec::all(if index == bare { "" } else { prefixes[index] }))
            .collect();
        let sources: Vec<Source<'_>> =
            offers.iter().zip(&parts).enumerate().map(|(i, (o, p))| source(i, o, p)).collect();
        let want = merged(&sources);
        let mut shuffled = sources.clone();
        shuffle(&mut shuffled, order);
        prop_assert_eq!(picture(&merged(&shuffled)), picture(&want));
        // Every entry is offered or reported as missing, and is found under its key.
        let lost = |kind| {
            want.reports.iter().filter(|r| r.kind == kind && r.event.is_loss()).count()
        };
        let listed = |kind| parts.iter().map(|part| part.list(kind).len()).sum::<usize>();
        let catalog = &want.catalog;
        prop_assert_eq!(catalog.prompts().len() + lost(Kind::Prompts), listed(Kind::Prompts));
        prop_assert_eq!(catalog.resources().len() + lost(Kind::Resources), listed(Kind::Resources));
        prop_assert_eq!(catalog.templates().len() + lost(Kind::Templates), listed(Kind::Templates));
        for prompt in catalog.prompts() {
            let found = catalog.prompt(&prompt.name);
            prop_assert!(matches!(found, PromptLookup::Prompt(same) if std::ptr::eq(same, prompt)));
        }
        for resource in catalog.resources() {
            // The first who lists it has it.
            let lists = |part: &&Part| {
                let uri = crate::proto::scan::quote(&resource.uri);
                part.resources.iter().any(|text| {
                    str::from_utf8(text).unwrap().contains(&format!(r#""uri":{uri},"#))
                })
            };
            let first = parts.iter().position(|part| lists(&part)).unwrap();
            prop_assert_eq!(resource.owner, Owner::Upstream(first));
            prop_assert!(std::ptr::eq(catalog.resource(&resource.uri).unwrap(), resource));
        }
        for template in catalog.templates() {
            prop_assert!(std::ptr::eq(catalog.template(&template.text).unwrap(), template));
            // Of all that match, none has a longer beginning.
            let uri = template.prefix();
            let best = catalog.matching(uri).unwrap();
            let longer = |other: &&crate::catalog::Template| {
                other.matches(uri) && other.prefix().len() > best.prefix().len()
            };
            prop_assert!(!catalog.templates().iter().any(|other| longer(&other)));
        }
        // No candidate stands twice, and all list something or are transparent.
        let candidates = catalog.candidates("a:b");
        for (place, index) in candidates.iter().enumerate() {
            prop_assert!(!candidates[..place].contains(index));
            let part = &parts[*index];
            let lists = part.resources.len() + part.templates.len() > 0;
            prop_assert!(lists || *index == bare);
        }
    }
}
