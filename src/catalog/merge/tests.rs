//! Merging: who wins, what is reported, and that the order of arrival makes no difference.

use proptest::prelude::*;

use super::*;
use crate::catalog::Lookup;
use crate::catalog::tests::part;

fn source<'a>(index: usize, offer: &'a OfferSpec, part: &'a Part) -> Source<'a> {
    Source { owner: Owner::Upstream(index), offer, part: Some(part) }
}

fn merged(sources: &[Source<'_>]) -> Merged {
    merge(&NamingSpec::default(), sources)
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
        winner_tool: tool.to_owned(),
    };
    let report = |index, tool: &str, event| Report {
        owner: Owner::Upstream(index),
        tool: tool.to_owned(),
        event,
    };
    assert_eq!(
        got.reports,
        [
            report(0, "echo", collision("echo", Owner::Builtin, "echo")),
            report(1, "x", collision("a__x", Owner::Upstream(0), "a__x")),
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
    let want = Report { owner: Owner::Upstream(0), tool: "x".to_owned(), event: Event::Twice };
    assert_eq!(got.reports, [want]);
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
    let said: Vec<String> = got.reports.iter().map(Report::to_string).collect();
    assert_eq!(
        said,
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
    assert_eq!(got.reports[0].tool, "#1001");
    assert_eq!(got.reports[0].event, Event::TooMany { listed: 1_002 });
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
    let want =
        Report { owner: Owner::Upstream(0), tool: "typo".to_owned(), event: Event::NotListed };
    assert_eq!(got.reports, [want]);
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

/// Everything that a client or an operator can see, as text.
fn picture(merged: &Merged) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for tool in merged.catalog.tools() {
        let shown = [Era::Legacy, Era::Modern].map(|era| tool.definition(era));
        writeln!(out, "{} {} {} {shown:?}", tool.name, tool.owner, tool.original).unwrap();
    }
    writeln!(out, "{:?} {}", merged.reports, merged.catalog.digest()).unwrap();
    out
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
        // A permutation drawn from the seed.
        let mut seed = order;
        for index in (1..shuffled.len()).rev() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(index, usize::try_from(seed >> 33).unwrap() % (index + 1));
        }
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
}
