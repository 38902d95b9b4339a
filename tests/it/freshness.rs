//! How long clients may keep a merged list, who may share it, and how rarely upstreams are asked
//! for it (2026-07-28, server/utilities/caching).

use std::time::Duration;

use serde_json::Value;
use waypost::base::clock;

use crate::support::client::Open;
use crate::support::kept::Kept;
use crate::support::keyed::{self, ALICE, BOB, Shower};
use crate::support::lists::{LISTS, names};
use crate::support::puppet::{Gate, Offer, Puppet, tool};
use crate::support::toml::{upstream, url};
use crate::support::upstream::config;
use crate::support::{Era, Gateway, Http, eventually, listed};

/// The longest that any list may be kept.
const LONGEST_MS: u64 = 60_000;
/// The same with something in it whose changes nobody announces.
const SILENT_MS: u64 = 15_000;

/// Longer than an upstream's changes are gathered before it is asked again.
const QUIET: Duration = Duration::from_millis(800);

fn gateway(servers: &[&Puppet]) -> Gateway {
    let table =
        |(n, server): (usize, &&Puppet)| upstream(&format!("u{n}"), "", &[url(&server.url)]);
    let tables: Vec<String> = servers.iter().enumerate().map(table).collect();
    let gateway = Gateway::start(&config(&tables.concat()));
    for n in 0..servers.len() {
        listed(&gateway, &format!("u{n}__t"));
    }
    gateway
}

fn modern(ttl_ms: u64, scope: &'static str) -> Puppet {
    Puppet::offers(Offer { ttl_ms, scope, ..Offer::new("u", Era::Modern).tools(&["t"]) })
}

fn legacy(capabilities: Value) -> Puppet {
    Puppet::offers(Offer { capabilities, ..Offer::new("u", Era::Legacy).tools(&["t"]) })
}

fn announcing(change: bool) -> Value {
    serde_json::json!({"tools": {"listChanged": change}})
}

/// The hints on a list.
fn hints(gateway: &Gateway, list: &str) -> (u64, String) {
    let result = Http::modern(&gateway.url(), "1", list, None, "").answer()["result"].clone();
    let scope = result["cacheScope"].as_str().unwrap_or_default().to_owned();
    (result["ttlMs"].as_u64().unwrap_or_else(|| panic!("no ttlMs in {result}")), scope)
}

#[test]
fn a_list_may_be_kept_as_long_as_the_part_with_the_least_time_left() {
    let (began, servers) = (clock::now(), [modern(600_000, "public"), modern(40_000, "public")]);
    let gateway = gateway(&servers.each_ref());
    for list in LISTS {
        for _ in 0..20 {
            let before = began.elapsed();
            let (ttl, _) = hints(&gateway, list);
            let passed = u64::try_from(before.as_millis()).unwrap() + 1_000;
            // Up to a tenth is taken off, so that not everybody asks again at once.
            let least = (40_000 - passed.min(40_000)) / 10 * 9;
            assert!(ttl <= 40_000 && ttl >= least.saturating_sub(1_000), "{list}: {ttl}");
        }
    }
    // The time runs.
    let (first, _) = hints(&gateway, "tools/list");
    eventually("less than was left", || {
        (hints(&gateway, "tools/list").0 + 6_000 < first.min(36_000) + 4_000).then_some(())
    });
}

#[test]
fn no_list_may_be_kept_longer_than_a_minute_and_not_all_clients_ask_again_at_once() {
    let server = modern(86_400_000, "public");
    let gateway = gateway(&[&server]);
    let ttls: Vec<u64> = (0..50).map(|_| hints(&gateway, "tools/list").0).collect();
    assert!(ttls.iter().all(|ttl| (LONGEST_MS * 9 / 10..=LONGEST_MS).contains(ttl)), "{ttls:?}");
    let distinct: std::collections::BTreeSet<&u64> = ttls.iter().collect();
    assert!(distinct.len() > 5, "{ttls:?}");
}

#[test]
fn a_list_is_private_as_soon_as_any_part_of_it_is() {
    let (public, private) = (|| modern(600_000, "public"), || modern(600_000, "private"));
    let (old, quiet) = (|| legacy(announcing(true)), || legacy(announcing(false)));
    let cases: [(&str, Vec<Puppet>, &str, u64); 6] = [
        ("nothing", vec![], "public", LONGEST_MS),
        ("all public", vec![public(), public()], "public", LONGEST_MS),
        ("the first private", vec![private(), public()], "private", LONGEST_MS),
        ("the last private", vec![public(), public(), private()], "private", LONGEST_MS),
        ("a legacy one", vec![public(), old()], "private", LONGEST_MS),
        ("a legacy one that tells no changes", vec![public(), quiet()], "private", SILENT_MS),
    ];
    for (what, servers, scope, longest) in cases {
        let gateway = gateway(&servers.iter().collect::<Vec<_>>());
        let (ttl, said) = hints(&gateway, "tools/list");
        assert_eq!(said, scope, "{what}");
        assert!(ttl <= longest && ttl >= longest / 10 * 8, "{what}: {ttl}");
    }
}

#[test]
fn a_legacy_client_gets_no_hints() {
    let server = modern(600_000, "public");
    let gateway = gateway(&[&server]);
    let session = Http::legacy_session(&gateway.url(), "2025-11-25");
    for list in LISTS {
        let result =
            Http::legacy(&gateway.url(), &session, "1", list, "{}").answer()["result"].clone();
        for hint in ["ttlMs", "cacheScope", "resultType"] {
            assert!(result.get(hint).is_none(), "{list}: {result}");
        }
    }
}

fn listen(gateway: &Gateway) -> Open {
    let (headers, body) = Http::modern_parts(
        "1",
        "subscriptions/listen",
        None,
        r#""notifications":{"toolsListChanged":true}"#,
    );
    let mut stream = Http::open(&gateway.url(), &headers, &body);
    assert!(stream.message().is_some());
    stream
}

#[test]
fn whoever_is_told_of_a_change_never_gets_the_old_list() {
    for era in [Era::Modern, Era::Legacy] {
        let server = Puppet::offers(Offer::new("u", era).tools(&["t"]));
        let gateway = gateway(&[&server]);
        eventually("its stream of changes", || (server.standing() > 0).then_some(()));
        let mut stream = listen(&gateway);
        for n in 0..10 {
            let name = format!("t{n}");
            server.change(|offer| offer.tools.push(tool(&name)));
            server.tell("notifications/tools/list_changed");
            let told = stream.message().unwrap();
            assert_eq!(told["method"], "notifications/tools/list_changed");
            let now = names(&gateway.url(), "tools/list");
            assert!(now.contains(&format!("u0__{name}")), "{era:?} {n}: {now:?}");
        }
    }
}

#[test]
fn a_thousand_lists_at_once_ask_no_upstream() {
    for era in [Era::Modern, Era::Legacy] {
        let server =
            Puppet::offers(Offer::new("u", era).tools(&["t"]).prompts(&["p"]).resources(&["u:r"]));
        let gateway = gateway(&[&server]);
        eventually("its stream of changes", || (server.standing() > 0).then_some(()));
        let count = || LISTS.map(|list| server.requests(list).len());
        // What was asked at the start is over when nothing was asked for so long.
        let (mut before, mut since) = (count(), clock::now());
        eventually("the start to be over", || {
            if count() != before {
                (before, since) = (count(), clock::now());
            }
            (since.elapsed() > QUIET).then_some(())
        });
        let (headers, body) = Http::modern_parts("1", "tools/list", None, "");
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    let mut client = Kept::to(&gateway);
                    for n in 0..50 {
                        let list = LISTS[n % LISTS.len()];
                        let headers: Vec<(&str, &str)> = headers
                            .iter()
                            .map(|(name, value)| {
                                (*name, if *name == "Mcp-Method" { list } else { value })
                            })
                            .collect();
                        let reply = client.post(&headers, &body.replace("tools/list", list));
                        assert_eq!(reply.verdict(), (200, 0), "{reply:?}");
                    }
                });
            }
        });
        assert_eq!(count(), before, "{era:?}");
    }
}

#[test]
fn lists_that_wait_for_an_upstream_to_come_up_ask_it_once() {
    let (gate, asked) = (Gate::default(), Gate::default());
    let (at, waits) = (gate.clone(), asked.clone());
    let server = Puppet::start(Offer::new("u", Era::Modern).tools(&["t"]), move |seen, _| {
        if seen.method() == "tools/list" {
            waits.open();
            at.pass();
        }
        false
    });
    let gateway = Gateway::start(&config(&upstream("u", "", &[url(&server.url)])));
    std::thread::scope(|scope| {
        for n in 0..40 {
            let (gateway, gate, asked) = (&gateway, &gate, &asked);
            scope.spawn(move || {
                if n == 0 {
                    asked.pass();
                    std::thread::sleep(Duration::from_millis(100));
                    gate.open();
                }
                names(&gateway.url(), "tools/list")
            });
        }
    });
    listed(&gateway, "u__t");
    // Once at the start, and once more when its stream of changes stood.
    assert!(server.requests("tools/list").len() <= 2, "{}", server.requests("tools/list").len());
}

#[test]
fn what_a_principal_reads_is_read_for_the_next_one_anew() {
    let offer = Offer { scope: "private", ..Offer::new("a", Era::Modern) };
    let server = Puppet::offers(offer.resources(&["x://r"]));
    let tables = upstream("a", "", &[url(&server.url)]);
    let gateway = keyed::gateway("", &tables);
    for (reads, key) in [ALICE, BOB, ALICE].into_iter().enumerate() {
        let who = Shower::of(&gateway, key);
        let read = eventually("the resource", || {
            let read = who.modern("resources/read", Some("x://r"), r#""uri":"x://r""#).answer();
            read.get("result").cloned()
        });
        assert_eq!(read["cacheScope"], "private", "{read}");
        assert_eq!(server.requests("resources/read").len(), reads + 1, "nothing is shared");
        let list = who.modern("resources/list", None, "").answer();
        assert_eq!(list["result"]["cacheScope"], "private", "{list}");
    }
}
