//! The catalog on disk: right after a restart clients find the prompts, resources and templates of
//! upstreams that are not up yet.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use waypost::base::clock;

use crate::support::lists::{LISTS, names, pages};
use crate::support::puppet::{Gate, Offer, Puppet};
use crate::support::toml::{upstream, url};
use crate::support::upstream::config;
use crate::support::{Era, Gateway, Http, cached, eventually, own_error};

/// Shorter than the two seconds that first lists wait for unknown upstreams.
const AT_ONCE: Duration = Duration::from_millis(1_500);

/// A server that does not answer its greeting before the gate opens.
fn server(era: Era, gate: &Gate) -> Puppet {
    let gate = gate.clone();
    let offer = Offer::new("u", era)
        .tools(&["t"])
        .prompts(&["p", "q"])
        .resources(&["u:r", "u:s"])
        .templates(&["u:{x}/data"]);
    Puppet::start(offer, move |seen, _| {
        if matches!(seen.method(), "server/discover" | "initialize") {
            gate.pass();
        }
        false
    })
}

fn text(cache: &Path, server: &Puppet) -> String {
    config(&format!(
        "[catalog]\ncache_dir = \"{}\"\n{}",
        cache.display(),
        upstream("u", "timeout = \"20s\"", &[url(&server.url)])
    ))
}

/// Starts once with the server up, until its catalog is on disk. What was listed then.
fn first_life(cache: &Path, server: &Puppet) -> Vec<Vec<Value>> {
    let gateway = Gateway::start(&text(cache, server));
    eventually("everything", || {
        let templates = names(&gateway.url(), "resources/templates/list");
        (templates.len() == 1).then_some(())
    });
    let all = everything(&gateway);
    eventually("the catalog on disk", || (cached(cache).len() == 1).then_some(()));
    assert_eq!(gateway.terminate(), 0);
    all
}

/// All lists, without what changes from one moment to the next.
fn everything(gateway: &Gateway) -> Vec<Vec<Value>> {
    let lasting = |mut page: Value| {
        page.as_object_mut().unwrap().retain(|key, _| key != "ttlMs" && key != "cacheScope");
        page
    };
    LISTS.map(|list| pages(&gateway.url(), list).into_iter().map(lasting).collect()).into()
}

fn ask(gateway: &Gateway, method: &str, name: Option<&str>, params: &str) -> Value {
    Http::modern(&gateway.url(), "1", method, name, params).answer()
}

#[test]
fn every_list_is_there_right_after_a_restart_before_the_upstream_is_up() {
    for era in [Era::Modern, Era::Legacy] {
        let cache = tempfile::tempdir().unwrap();
        let open = Gate::default();
        open.open();
        let mut server = server(era, &open);
        let before = first_life(cache.path(), &server);
        let (port, gate) = (server.port, Gate::default());
        server.stop();
        let at = gate.clone();
        let again = Puppet::start_on(
            port,
            Offer::new("u", era)
                .tools(&["t"])
                .prompts(&["p", "q"])
                .resources(&["u:r", "u:s"])
                .templates(&["u:{x}/data"]),
            move |seen, _| {
                if matches!(seen.method(), "server/discover" | "initialize") {
                    at.pass();
                }
                false
            },
        );
        let gateway = Gateway::start(&text(cache.path(), &again));
        let began = clock::now();
        assert_eq!(everything(&gateway), before, "{era:?}");
        assert!(began.elapsed() < AT_ONCE, "{era:?}: {:?}", began.elapsed());
        let session = Http::legacy_session(&gateway.url(), "2025-11-25");
        let legacy = Http::legacy(&gateway.url(), &session, "1", "prompts/list", "{}").answer();
        assert_eq!(legacy["result"]["prompts"].as_array().unwrap().len(), 2);
        // Nobody may share or long keep what nobody has confirmed.
        let list = ask(&gateway, "resources/list", None, "");
        assert_eq!(list["result"]["cacheScope"], "private", "{list}");
        assert!(list["result"]["ttlMs"].as_u64().unwrap() <= 15_000, "{list}");
        for list in LISTS {
            assert!(again.requests(list).is_empty(), "{list}: not up yet");
        }

        // What is asked of it now waits until it is up.
        std::thread::scope(|scope| {
            let asks = [
                ("prompts/get", Some("u__p"), r#""name":"u__p""#),
                ("resources/read", Some("u:r"), r#""uri":"u:r""#),
                ("resources/read", Some("u:7/data"), r#""uri":"u:7/data""#),
                ("tools/call", Some("u__t"), r#""name":"u__t""#),
            ];
            let waiting: Vec<_> = asks
                .map(|(method, name, params)| {
                    let gateway = &gateway;
                    scope.spawn(move || ask(gateway, method, name, params))
                })
                .into();
            // They are in when they are counted as client connections beside this one.
            eventually("the calls to wait", || {
                (crate::support::metric(&gateway, "mcp_active_connections") > 4.5).then_some(())
            });
            assert!(waiting.iter().all(|call| !call.is_finished()), "{era:?}");
            gate.open();
            for call in waiting {
                let answer = call.join().unwrap();
                assert!(answer["result"].is_object(), "{era:?}: {answer}");
            }
        });
        assert_eq!(everything(&gateway), before, "{era:?}: when it is up");
    }
}

#[test]
fn with_the_upstream_gone_everything_is_listed_and_asking_for_it_says_that_it_is_gone() {
    for era in [Era::Modern, Era::Legacy] {
        let cache = tempfile::tempdir().unwrap();
        let open = Gate::default();
        open.open();
        let mut server = server(era, &open);
        let before = first_life(cache.path(), &server);
        server.stop();
        let gateway = Gateway::start(&text(cache.path(), &server));
        assert_eq!(everything(&gateway), before, "{era:?}");
        for (method, name, params) in [
            ("prompts/get", Some("u__p"), r#""name":"u__p""#),
            ("resources/read", Some("u:r"), r#""uri":"u:r""#),
            ("resources/read", Some("u:7/data"), r#""uri":"u:7/data""#),
            (
                "completion/complete",
                None,
                r#""ref":{"type":"ref/prompt","name":"u__p"},"argument":{"name":"a","value":""}"#,
            ),
        ] {
            let answer = ask(&gateway, method, name, params);
            let wanted = (-31002, "unavailable".into(), "not_sent".into(), true, "u".into());
            assert_eq!(own_error(&answer), wanted, "{era:?} {method}: {answer}");
        }
        // What it never had is nobody's, and does not wait for it.
        let answer = ask(&gateway, "prompts/get", Some("u__x"), r#""name":"u__x""#);
        assert_eq!(answer["error"]["code"], -32602, "{era:?}: {answer}");
    }
}

#[test]
fn what_has_changed_while_the_gateway_was_down_replaces_what_was_remembered() {
    let cache = tempfile::tempdir().unwrap();
    let open = Gate::default();
    open.open();
    let server = server(Era::Modern, &open);
    first_life(cache.path(), &server);
    server.change(|offer| {
        offer.prompts.remove(0);
        offer.resources.push(crate::support::puppet::resource("u:new"));
        offer.templates.clear();
    });
    for _ in 0..2 {
        let gateway = Gateway::start(&text(cache.path(), &server));
        eventually("what there is now", || {
            (names(&gateway.url(), "prompts/list") == ["u__q"]).then_some(())
        });
        assert_eq!(names(&gateway.url(), "resources/list"), ["u:r", "u:s", "u:new"]);
        assert!(names(&gateway.url(), "resources/templates/list").is_empty());
        assert_eq!(gateway.terminate(), 0);
    }
}

#[test]
fn a_catalog_on_disk_that_cannot_be_read_is_as_good_as_none() {
    let cache = tempfile::tempdir().unwrap();
    let open = Gate::default();
    open.open();
    let server = server(Era::Modern, &open);
    let before = first_life(cache.path(), &server);
    for content in ["", "{", "[]", "{\"layout\":99}", "\u{0}\u{1}\u{2}"] {
        let files = cached(cache.path());
        assert_eq!(files.len(), 1, "{files:?}");
        std::fs::write(&files[0], content).unwrap();
        let gateway = Gateway::start(&text(cache.path(), &server));
        eventually("everything", || (everything(&gateway) == before).then_some(()));
        assert_eq!(gateway.terminate(), 0, "{content:?}");
    }
}
