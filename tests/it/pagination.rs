//! Lists in pages, on both sides: every page of every upstream is walked, and a cursor of ours is
//! good for its own list and nothing else (2026-07-28, server/utilities/pagination).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::lists::{LISTS, names, names_on, pages};
use crate::support::puppet::{Offer, Puppet, resource, tool};
use crate::support::toml::{upstream, url};
use crate::support::upstream::config;
use crate::support::{Era, Gateway, Http, eventually};

/// A server with so many entries in each list.
fn many(who: &'static str, era: Era, count: usize, page: Option<usize>) -> Offer {
    let mut offer = Offer::new(who, era);
    for n in 0..count {
        let name = format!("n{n:04}");
        offer.tools.push(tool(&name));
        offer.prompts.push(json!({ "name": name }));
        offer.resources.push(resource(&format!("{who}:{name}")));
        offer.templates.push(json!({"uriTemplate": format!("{who}:{name}/{{x}}"), "name": name}));
    }
    Offer { page, ..offer }
}

/// The whole list as it should be.
fn wanted(list: &str, upstreams: &[&str], count: usize) -> Vec<String> {
    let builtin = (list == "tools/list").then(|| "echo".to_owned());
    let of = |who: &&str| -> Vec<String> {
        let who = *who;
        let one = move |n| match list {
            "tools/list" | "prompts/list" => format!("{who}__n{n:04}"),
            "resources/list" => format!("{who}:n{n:04}"),
            _ => format!("{who}:n{n:04}/{{x}}"),
        };
        (0..count).map(one).collect()
    };
    builtin.into_iter().chain(upstreams.iter().flat_map(of)).collect()
}

fn gateway(servers: &[(&str, &Puppet)]) -> Gateway {
    let tables: Vec<String> =
        servers.iter().map(|(name, server)| upstream(name, "", &[url(&server.url)])).collect();
    Gateway::start(&config(&tables.concat()))
}

/// Waits until a list has so many entries.
fn complete(gateway: &Gateway, list: &str, count: usize) {
    eventually(&format!("{count} entries of {list}"), || {
        (names(&gateway.url(), list).len() == count).then_some(())
    });
}

#[test]
fn every_page_of_three_upstreams_with_other_page_sizes_is_in_every_list_in_order() {
    let servers = [
        ("a", Puppet::offers(many("a", Era::Modern, 250, Some(1)))),
        ("b", Puppet::offers(many("b", Era::Legacy, 250, Some(100)))),
        ("c", Puppet::offers(many("c", Era::Modern, 250, None))),
    ];
    let gateway = gateway(&servers.each_ref().map(|(name, server)| (*name, server)));
    complete(&gateway, "tools/list", 751);
    let session = Http::legacy_session(&gateway.url(), "2025-11-25");
    for list in LISTS {
        let wanted = wanted(list, &["a", "b", "c"], 250);
        assert_eq!(names(&gateway.url(), list), wanted, "{list}");
        let legacy = Http::legacy(&gateway.url(), &session, "1", list, "{}").answer();
        assert_eq!(names_on(&legacy["result"], list), wanted, "{list}");
    }
    for ((_, server), pages) in servers.iter().zip([250, 3, 1]) {
        for list in LISTS {
            let asked = server.requests(list).len();
            assert!(asked >= pages, "{list}: {asked} requests for {pages} pages");
        }
    }
}

#[test]
fn an_empty_text_is_a_cursor_of_an_upstream_like_any_other() {
    for era in [Era::Modern, Era::Legacy] {
        let server = Puppet::offers(Offer { second_page: "", ..many("a", era, 50, Some(20)) });
        let gateway = gateway(&[("a", &server)]);
        complete(&gateway, "tools/list", 51);
        for list in LISTS {
            assert_eq!(names(&gateway.url(), list), wanted(list, &["a"], 50), "{era:?} {list}");
            let empty = |seen: &crate::support::puppet::Seen| {
                seen.body["params"].get("cursor") == Some(&json!(""))
            };
            assert!(server.requests(list).iter().any(empty), "{era:?} {list}");
        }
    }
}

#[test]
fn an_upstream_whose_cursors_go_round_is_cut_and_the_others_are_listed() {
    for era in [Era::Modern, Era::Legacy] {
        // The pages lead from one to the next and back to the first for ever.
        let rounds = Puppet::start(many("a", era, 3, None), move |seen, wire| {
            let Some(list) = LISTS.iter().find(|list| **list == seen.method()) else {
                return false;
            };
            let next = match seen.param("cursor") {
                "one" => "two",
                _ => "one",
            };
            let (member, key) = crate::support::lists::words(list);
            let entry = json!({
                key: format!("a:{next}"), "name": format!("{next}"), "inputSchema": {"type": "object"},
            });
            let result = json!({
                member: [entry], "nextCursor": next,
                "resultType": "complete", "ttlMs": 600_000, "cacheScope": "public",
            });
            wire.json(&seen.result(&result))
        });
        let good = Puppet::offers(many("b", Era::Modern, 3, None));
        let gateway = gateway(&[("a", &rounds), ("b", &good)]);
        eventually("both", || {
            let names = names(&gateway.url(), "tools/list");
            let has = |name: &str| names.iter().any(|known| known == name);
            (has("a__one") && has("a__two") && has("b__n0002")).then_some(())
        });
        for list in LISTS {
            let names = names(&gateway.url(), list);
            let distinct: BTreeSet<&String> = names.iter().collect();
            assert_eq!(distinct.len(), names.len(), "{era:?} {list}: {names:?}");
            assert!(rounds.requests(list).len() <= 8, "{list}: {}", rounds.requests(list).len());
        }
    }
}

// === our own cursors ===

/// A gateway whose lists all have two pages.
fn two_pages() -> (Gateway, Vec<Puppet>) {
    let servers: Vec<Puppet> =
        ["a", "b", "c"].map(|who| Puppet::offers(many(who, Era::Modern, 400, Some(100)))).into();
    let gateway = gateway(&[("a", &servers[0]), ("b", &servers[1]), ("c", &servers[2])]);
    complete(&gateway, "resources/templates/list", 1_200);
    (gateway, servers)
}

fn next_cursor(gateway: &Gateway, list: &str) -> String {
    let first = Http::modern(&gateway.url(), "1", list, None, "").answer();
    first["result"]["nextCursor"]
        .as_str()
        .unwrap_or_else(|| panic!("one page of {list}"))
        .to_owned()
}

fn with_cursor(gateway: &Gateway, list: &str, cursor: &Value) -> Value {
    Http::modern(&gateway.url(), "1", list, None, &format!(r#""cursor":{cursor}"#)).answer()
}

#[test]
fn a_list_of_more_than_a_page_is_whole_in_order_and_alike_on_all_pages_in_both_eras() {
    let (gateway, _servers) = two_pages();
    let session = Http::legacy_session(&gateway.url(), "2025-11-25");
    for list in LISTS {
        let wanted = wanted(list, &["a", "b", "c"], 400);
        let modern = pages(&gateway.url(), list);
        assert_eq!(modern.len(), 2, "{list}");
        let got: Vec<String> = modern.iter().flat_map(|page| names_on(page, list)).collect();
        assert_eq!(got, wanted, "{list}");
        assert_eq!(modern[0]["cacheScope"], modern[1]["cacheScope"], "{list}");
        assert!(modern.iter().all(|page| page["ttlMs"].is_u64()), "{list}");
        // A legacy client walks the same pages, with cursors from either side.
        let cursor = next_cursor(&gateway, list);
        let first = Http::legacy(&gateway.url(), &session, "1", list, "{}").answer();
        assert_eq!(first["result"]["nextCursor"], json!(cursor), "{list}");
        let params = format!(r#"{{"cursor":"{cursor}"}}"#);
        let second = Http::legacy(&gateway.url(), &session, "1", list, &params).answer();
        let legacy = [&first, &second].map(|page| names_on(&page["result"], list)).concat();
        assert_eq!(legacy, wanted, "{list}");
        assert!(second["result"].get("nextCursor").is_none());
    }
}

#[test]
fn a_cursor_of_one_list_is_no_cursor_of_another() {
    let (gateway, _servers) = two_pages();
    for of in LISTS {
        let cursor = json!(next_cursor(&gateway, of));
        for at in LISTS {
            let code = with_cursor(&gateway, at, &cursor)["error"]["code"].clone();
            let wanted = if at == of { Value::Null } else { json!(-32602) };
            assert_eq!(code, wanted, "a cursor of {of} at {at}");
        }
    }
}

#[test]
fn a_cursor_that_was_changed_or_made_up_is_refused() {
    let (gateway, _servers) = two_pages();
    let session = Http::legacy_session(&gateway.url(), "2025-11-25");
    let good = next_cursor(&gateway, "tools/list");
    let mut bad: Vec<Value> = vec![
        json!(""),
        json!("0"),
        json!("1000"),
        json!(format!("{good}A")),
        json!(format!("{good}=")),
        json!(format!(" {good}")),
        json!(good.get(1..).unwrap()),
        json!(good.to_lowercase()),
        json!("x".repeat(100_000)),
        json!("\u{1f600}"),
        json!(7),
        json!(null),
        json!([good]),
        json!({ "c": good }),
    ];
    // Every character of it counts.
    for at in 0..good.len() {
        let other = if good.as_bytes()[at] == b'A' { "B" } else { "A" };
        let mut text = good.clone();
        text.replace_range(at..=at, other);
        bad.push(json!(text));
    }
    for cursor in bad {
        let answer = with_cursor(&gateway, "tools/list", &cursor);
        if cursor.is_null() {
            // As absent as it gets: either answer will do, but not another page.
            let first = names_on(&answer["result"], "tools/list");
            assert!(answer["error"]["code"] == -32602 || first[0] == "echo", "{answer}");
            continue;
        }
        assert_eq!(answer["error"]["code"], -32602, "{cursor}: {answer}");
        let params = format!(r#"{{"cursor":{cursor}}}"#);
        let legacy = Http::legacy(&gateway.url(), &session, "1", "tools/list", &params);
        assert_eq!(legacy.verdict(), (200, -32602), "{cursor}");
    }
    assert!(with_cursor(&gateway, "tools/list", &json!(good))["result"].is_object());
}

#[test]
fn a_cursor_from_before_a_change_of_its_list_is_refused_and_those_of_others_are_good() {
    let (gateway, servers) = two_pages();
    let before = LISTS.map(|list| json!(next_cursor(&gateway, list)));
    servers[1].change(|offer| offer.prompts.push(json!({"name": "more"})));
    servers[1].tell("notifications/prompts/list_changed");
    complete(&gateway, "prompts/list", 1_201);
    for (list, cursor) in LISTS.iter().zip(&before) {
        let answer = with_cursor(&gateway, list, cursor);
        if *list == "prompts/list" {
            assert_eq!(answer["error"]["code"], -32602, "{answer}");
        } else {
            assert!(answer["result"].is_object(), "{list}: {answer}");
        }
    }
    // The list as it was has the same cursors again.
    servers[1].change(|offer| drop(offer.prompts.pop()));
    servers[1].tell("notifications/prompts/list_changed");
    complete(&gateway, "prompts/list", 1_200);
    assert!(with_cursor(&gateway, "prompts/list", &before[1])["result"].is_object());
}
