//! Three upstreams that want the same names, URIs and templates: the order of the configuration
//! decides, whatever else happens.

use serde_json::Value;

use crate::support::lists::{LISTS, names, pages};
use crate::support::puppet::{Gate, Offer, Puppet};
use crate::support::toml::{upstream, url};
use crate::support::{Era, Gateway, Http, cached, eventually, replicas_up};

/// The upstreams in the order of the configuration. Under their prefixes the tools and prompts that
/// each calls by its own name become one name.
const NAMES: [(&str, &str, &str); 3] =
    [("first", "x", "y__z__t"), ("second", "x__y", "z__t"), ("third", "x__y__z", "t")];

/// Every order of three.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// The three servers, each behind a gate, and the configuration over them.
fn three() -> (Vec<(Puppet, Gate)>, String) {
    let mut config = String::new();
    let servers = NAMES.iter().enumerate().map(|(n, (who, prefix, name))| {
        let era = if n == 1 { Era::Legacy } else { Era::Modern };
        let own = format!("own{n}");
        let offer = Offer::new(who, era)
            .tools(&[&own, name])
            .prompts(&[name, &own])
            .resources(&["shared:r", &format!("{who}:r")])
            .templates(&["shared:{id}/data", &format!("{who}:{{id}}")]);
        let gate = Gate::default();
        let at = gate.clone();
        let server = Puppet::start(offer, move |seen, _| {
            if matches!(seen.method(), "server/discover" | "initialize") {
                at.pass();
            }
            false
        });
        config += &upstream(who, &format!("prefix = {prefix:?}"), &[url(&server.url)]);
        (server, gate)
    });
    let servers = servers.collect();
    (servers, config)
}

/// Everything on offer, as the clients see it.
fn everything(gateway: &Gateway) -> Vec<(String, Vec<String>)> {
    LISTS.iter().map(|list| ((*list).to_owned(), names(&gateway.url(), list))).collect()
}

/// Who answers for what all three have.
fn owners(gateway: &Gateway) -> [String; 5] {
    let ask = |method: &str, name: Option<&str>, params: &str| {
        Http::modern(&gateway.url(), "1", method, name, params).answer()["result"].clone()
    };
    let first_word = |text: &Value| text.as_str().unwrap().split(':').next().unwrap().to_owned();
    let (shared, name) = ("x__y__z__t", r#""name":"x__y__z__t""#);
    let tool = ask("tools/call", Some(shared), &format!(r#"{name},"arguments":{{}}"#));
    let prompt = ask("prompts/get", Some(shared), name);
    let read = ask("resources/read", Some("shared:r"), r#""uri":"shared:r""#);
    let made = ask("resources/read", Some("shared:7/data"), r#""uri":"shared:7/data""#);
    let complete = ask(
        "completion/complete",
        None,
        r#""ref":{"type":"ref/resource","uri":"shared:{id}/data"},"argument":{"name":"id","value":"7"}"#,
    );
    [
        first_word(&tool["content"][0]["text"]),
        first_word(&prompt["messages"][0]["content"]["text"]),
        first_word(&read["contents"][0]["text"]),
        first_word(&made["contents"][0]["text"]),
        first_word(&complete["completion"]["values"][0]),
    ]
}

fn wanted() -> Vec<(String, Vec<String>)> {
    let list = |name: &str, items: &[&str]| {
        (name.to_owned(), items.iter().map(|item| (*item).to_owned()).collect())
    };
    vec![
        list("tools/list", &["echo", "x__own0", "x__y__z__t", "x__y__own1", "x__y__z__own2"]),
        list("prompts/list", &["x__y__z__t", "x__own0", "x__y__own1", "x__y__z__own2"]),
        list("resources/list", &["shared:r", "first:r", "second:r", "third:r"]),
        list(
            "resources/templates/list",
            &["shared:{id}/data", "first:{id}", "second:{id}", "third:{id}"],
        ),
    ]
}

#[test]
fn in_whatever_order_three_upstreams_start_the_lists_and_the_owners_are_the_same() {
    for order in ORDERS {
        let (servers, config) = three();
        let gateway = Gateway::start(&crate::support::upstream::config(&config));
        for place in order {
            servers[place].1.open();
            replicas_up(&gateway, NAMES[place].0, 1);
        }
        let wanted = wanted();
        eventually("all lists", || (everything(&gateway) == wanted).then_some(()));
        assert_eq!(owners(&gateway), ["first"; 5], "{order:?}");
        let log = gateway.stderr();
        for (who, _, name) in &NAMES[1..] {
            let asked = servers[NAMES.iter().position(|(n, ..)| n == who).unwrap()].0.seen();
            let reached = asked.iter().any(|seen| {
                ["tools/call", "prompts/get", "resources/read", "completion/complete"]
                    .contains(&seen.method())
            });
            assert!(!reached, "{who} was asked for {name}");
        }
        assert!(log.contains("x__y__z__t") && log.contains("shared:r"), "told the operator: {log}");
    }
}

#[test]
fn a_restart_gives_the_same_lists_byte_for_byte_and_the_same_owners_before_anything_is_up() {
    let cache = tempfile::tempdir().unwrap();
    let (servers, config) = three();
    for (_, gate) in &servers {
        gate.open();
    }
    let config = crate::support::upstream::config(&format!(
        "[catalog]\ncache_dir = {:?}\n{config}",
        cache.path()
    ));
    let text = |gateway: &Gateway| -> Vec<Vec<Value>> {
        // How long they may be kept is another matter.
        let without = |mut page: Value| {
            page.as_object_mut().unwrap().retain(|key, _| key != "ttlMs" && key != "cacheScope");
            page
        };
        let of = |list: &&str| pages(&gateway.url(), list).into_iter().map(without).collect();
        LISTS.iter().map(of).collect()
    };
    let first = Gateway::start(&config);
    let wanted = wanted();
    eventually("all lists", || (everything(&first) == wanted).then_some(()));
    let before = text(&first);
    eventually("the catalog on disk", || (cached(cache.path()).len() == 3).then_some(()));
    assert_eq!(first.terminate(), 0);
    let second = Gateway::start(&config);
    assert_eq!(text(&second), before, "right after the start");
    assert_eq!(owners(&second), ["first"; 5]);
    assert_eq!(text(&second), before, "when all are up");
}

#[test]
fn when_the_owner_is_not_there_yet_the_next_one_stands_in_and_gives_way_to_it() {
    let (servers, config) = three();
    let gateway = Gateway::start(&crate::support::upstream::config(&config));
    for place in [2, 1, 0] {
        servers[place].1.open();
        let who = NAMES[place].0;
        replicas_up(&gateway, who, 1);
        eventually("its place", || {
            let owners = owners(&gateway);
            (owners.iter().all(|owner| owner == who)).then_some(())
        });
    }
}

// === names ===

#[test]
fn the_longest_names_of_three_upstreams_are_cut_alike_each_time_and_all_reach_their_owner() {
    let long = "n".repeat(1_000);
    let other = format!("{}x", "n".repeat(999));
    let names_of = |gateway: &Gateway, list| -> Vec<String> {
        names(&gateway.url(), list).into_iter().filter(|name| name != "echo").collect()
    };
    let servers = ["a", "b", "c"].map(|who| {
        let offer = Offer::new(who, Era::Modern).tools(&[&long, &other]).prompts(&[&long, &other]);
        Puppet::offers(offer)
    });
    let tables: Vec<String> = ["a", "b", "c"]
        .iter()
        .zip(&servers)
        .map(|(name, server)| upstream(name, "", &[url(&server.url)]))
        .collect();
    let config = crate::support::upstream::config(&tables.concat());
    let gateway = Gateway::start(&config);
    eventually("all", || (names_of(&gateway, "tools/list").len() == 6).then_some(()));
    for (list, method) in [("tools/list", "tools/call"), ("prompts/list", "prompts/get")] {
        let exposed = names_of(&gateway, list);
        let mut distinct = exposed.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), 6, "{exposed:?}");
        let owners = ["a", "a", "b", "b", "c", "c"];
        for (n, (name, owner)) in exposed.iter().zip(owners).enumerate() {
            assert!(name.len() <= 48 && name.starts_with(&format!("{owner}__n")), "{name}");
            let params = format!(r#""name":"{name}""#);
            let answer = Http::modern(&gateway.url(), "1", method, Some(name), &params).answer();
            assert!(answer["result"].is_object(), "{answer}");
            let server = &servers[n / 2];
            let asked = server.requests(method);
            let original = if n % 2 == 0 { &long } else { &other };
            assert_eq!(asked.last().unwrap().param("name"), original);
            assert_eq!(asked.last().unwrap().header("mcp-name"), Some(original.as_str()));
            assert_eq!(asked.len(), n % 2 + 1);
        }
    }
    let again = Gateway::start(&config);
    eventually("all", || (names_of(&again, "tools/list").len() == 6).then_some(()));
    for list in ["tools/list", "prompts/list"] {
        assert_eq!(names_of(&again, list), names_of(&gateway, list));
    }
}

#[test]
fn prompts_whose_own_names_have_the_separator_are_looked_up_and_never_split() {
    let inner = Puppet::offers(Offer::new("inner", Era::Legacy).prompts(&["a__b", "__c", "d__"]));
    let outer = Puppet::offers(Offer::new("outer", Era::Modern).prompts(&["b"]));
    let config = format!(
        "{}{}",
        upstream("u", "", &[url(&inner.url)]),
        upstream("a", "", &[url(&outer.url)])
    );
    let gateway = Gateway::start(&config);
    eventually("all", || (names(&gateway.url(), "prompts/list").len() == 4).then_some(()));
    assert_eq!(names(&gateway.url(), "prompts/list"), ["u__a__b", "u____c", "u__d__", "a__b"]);
    let get = |name: &str| {
        let params = format!(r#""name":"{name}""#);
        Http::modern(&gateway.url(), "1", "prompts/get", Some(name), &params).answer()
    };
    for (exposed, said) in [
        ("u__a__b", "inner:a__b"),
        ("u____c", "inner:__c"),
        ("u__d__", "inner:d__"),
        ("a__b", "outer:b"),
    ] {
        let answer = get(exposed);
        assert_eq!(answer["result"]["messages"][0]["content"]["text"], said, "{answer}");
    }
    for nobody in ["a__b__c", "u__b", "b", "__c", "u__"] {
        assert_eq!(get(nobody)["error"]["code"], -32602, "{nobody}");
    }
    assert_eq!(inner.requests("prompts/get").len() + outer.requests("prompts/get").len(), 4);
}
