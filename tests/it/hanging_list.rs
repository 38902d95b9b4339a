//! An upstream that cannot give a list holds up nobody's, and what it could give stays.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use waypost::base::clock;

use crate::support::client::Open;
use crate::support::lists::{LISTS, names};
use crate::support::puppet::{Gate, Offer, Puppet};
use crate::support::toml::{upstream, url};
use crate::support::upstream::config;
use crate::support::{Era, Gateway, Http, eventually, health, listed};

/// The first list waits two seconds at most; the rest is for a loaded machine.
const FIRST_LIST: Duration = Duration::from_secs(6);
/// A list that waits for nobody; most of it is for a loaded machine.
const AT_ONCE: Duration = Duration::from_secs(2);

fn offer(who: &'static str, era: Era) -> Offer {
    Offer::new(who, era)
        .tools(&["t"])
        .prompts(&["p"])
        .resources(&[&format!("{who}:r")])
        .templates(&[&format!("{who}:{{x}}")])
}

/// A server that holds back its answers to one method until the gate opens.
fn holding(who: &'static str, era: Era, method: &'static str, gate: &Gate) -> Puppet {
    let gate = gate.clone();
    Puppet::start(offer(who, era), move |seen, _| {
        if seen.method() == method {
            gate.pass();
        }
        false
    })
}

fn gateway(servers: &[&Puppet], names: &[&str]) -> Gateway {
    let table = |(name, server): (&&str, &&Puppet)| upstream(name, "", &[url(&server.url)]);
    let tables: Vec<String> = names.iter().zip(servers).map(table).collect();
    Gateway::start(&config(&tables.concat()))
}

fn listen(gateway: &Gateway) -> Open {
    let all = r#""notifications":{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true}"#;
    let (headers, body) = Http::modern_parts("1", "subscriptions/listen", None, all);
    let mut stream = Http::open(&gateway.url(), &headers, &body);
    let first = stream.message().unwrap();
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged", "{first}");
    stream
}

/// A list, which must come within a time.
fn within(gateway: &Gateway, list: &str, longest: Duration) -> Vec<String> {
    let began: Instant = clock::now();
    let names = names(&gateway.url(), list);
    assert!(began.elapsed() < longest, "{list} took {:?}", began.elapsed());
    names
}

#[test]
fn an_upstream_that_hangs_in_its_first_list_is_missed_for_as_long_as_it_hangs_and_then_told_of() {
    for era in [Era::Modern, Era::Legacy] {
        let gate = Gate::default();
        let bad = holding("bad", era, "tools/list", &gate);
        let (one, two) =
            (Puppet::offers(offer("one", Era::Modern)), Puppet::offers(offer("two", Era::Legacy)));
        let gateway = gateway(&[&one, &bad, &two], &["one", "bad", "two"]);
        let first = within(&gateway, "tools/list", FIRST_LIST);
        assert_eq!(first, ["echo", "one__t", "two__t"], "{era:?}");
        assert_eq!(within(&gateway, "prompts/list", AT_ONCE), ["one__p", "two__p"], "{era:?}");
        let mut stream = listen(&gateway);
        gate.open();
        let mut told = Vec::new();
        while told.len() < 3 {
            told.push(stream.message().unwrap()["method"].as_str().unwrap().to_owned());
        }
        told.sort();
        let changed = ["prompts", "resources", "tools"]
            .map(|list| format!("notifications/{list}/list_changed"));
        assert_eq!(told, changed, "{era:?}");
        let all = names(&gateway.url(), "tools/list");
        assert_eq!(all, ["echo", "one__t", "bad__t", "two__t"], "in its place");
    }
}

#[test]
fn an_upstream_that_hangs_when_its_list_changes_keeps_the_old_one_and_works() {
    for era in [Era::Modern, Era::Legacy] {
        let gate = Gate::default();
        let (asked, at) = (Gate::default(), gate.clone());
        let waits = asked.clone();
        let hangs = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let now = std::sync::Arc::clone(&hangs);
        let server = Puppet::start(offer("u", era), move |seen, _| {
            if seen.method() == "tools/list" && now.load(std::sync::atomic::Ordering::SeqCst) {
                waits.open();
                at.pass();
            }
            false
        });
        let gateway = gateway(&[&server], &["u"]);
        listed(&gateway, "u__t");
        eventually("its stream of changes", || (server.standing() > 0).then_some(()));
        // What it is asked at the start is over when a change has gone through.
        server.change(|offer| offer.tools.push(crate::support::puppet::tool("t2")));
        server.tell("notifications/tools/list_changed");
        listed(&gateway, "u__t2");
        hangs.store(true, std::sync::atomic::Ordering::SeqCst);
        let mut stream = listen(&gateway);
        server.change(|offer| offer.tools.push(crate::support::puppet::tool("t3")));
        server.tell("notifications/tools/list_changed");
        asked.pass();
        for _ in 0..3 {
            let stale = within(&gateway, "tools/list", AT_ONCE);
            assert_eq!(stale, ["echo", "u__t", "u__t2"], "{era:?}");
            assert_eq!(Http::modern_call(&gateway.url(), "u__t", "{}").verdict(), (200, 0));
            assert_eq!(within(&gateway, "prompts/list", AT_ONCE), ["u__p"]);
        }
        assert_eq!(health(&gateway, "u")["status"], "healthy");
        gate.open();
        let told = stream.message().unwrap();
        assert_eq!(told["method"], "notifications/tools/list_changed", "{told}");
        assert_eq!(names(&gateway.url(), "tools/list"), ["echo", "u__t", "u__t2", "u__t3"]);
    }
}

/// What a server may say to a list that it cannot give.
fn refusals() -> Vec<(&'static str, Value)> {
    vec![
        ("an error", json!({"error": {"code": -32603, "message": "no"}})),
        ("no such method", json!({"error": {"code": -32601, "message": "no"}})),
        ("a result that is no list", json!({"result": {"resultType": "complete", "prompts": 7}})),
    ]
}

#[test]
fn a_list_that_an_upstream_cannot_give_does_not_take_its_other_lists() {
    for era in [Era::Modern, Era::Legacy] {
        for list in ["prompts/list", "resources/list", "resources/templates/list"] {
            for (what, said) in refusals() {
                let server = Puppet::start(offer("u", era), move |seen, wire| {
                    if seen.method() != list {
                        return false;
                    }
                    let mut answer = said.clone();
                    answer["jsonrpc"] = json!("2.0");
                    answer["id"] = seen.body["id"].clone();
                    wire.json(&answer)
                });
                let gateway = gateway(&[&server], &["u"]);
                listed(&gateway, "u__t");
                let answer = Http::modern_call(&gateway.url(), "u__t", "{}").answer();
                assert_eq!(
                    answer["result"]["content"][0]["text"], "u:t",
                    "{era:?} {list} {what}: {answer}"
                );
                for other in LISTS.iter().filter(|other| **other != list) {
                    let names = names(&gateway.url(), other);
                    assert!(!names.is_empty(), "{era:?} {list} {what}: {other} is empty");
                }
            }
        }
    }
}

#[test]
fn a_list_that_an_upstream_never_answers_does_not_take_its_tools() {
    for era in [Era::Modern, Era::Legacy] {
        let gate = Gate::default();
        let server = holding("u", era, "prompts/list", &gate);
        let gateway = gateway(&[&server], &["u"]);
        eventually("the list to be asked for", || {
            (!server.requests("prompts/list").is_empty()).then_some(())
        });
        // Longer than the gateway waits for one page.
        listed(&gateway, "u__t");
        let answer = Http::modern_call(&gateway.url(), "u__t", "{}").answer();
        assert_eq!(answer["result"]["content"][0]["text"], "u:t", "{era:?}: {answer}");
        gate.open();
    }
}
