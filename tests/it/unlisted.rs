//! Resources that no list has: a link in a result may be read by who got it, and of those who may
//! own a URI the likeliest is asked first, one at a time (2026-07-28, server/tools, "Resource
//! Links"; server/resources).

use serde_json::{Value, json};

use crate::support::lists::names;
use crate::support::puppet::{Offer, Puppet, Seen};
use crate::support::toml::{upstream, url};
use crate::support::upstream::config;
use crate::support::{Caller, Era, Gateway, Http, Over, eventually};

const NOTHING: [&str; 0] = [];

/// What a server says of a resource that it does not have.
fn missing(seen: &Seen, era: Era) -> Value {
    let code = if era == Era::Modern { -32602 } else { -32002 };
    seen.error(code, "Resource not found")
}

/// A server that lists these URIs, has these unlisted ones, and whose results name others.
fn server(
    who: &'static str,
    era: Era,
    listed: &[&str],
    has: &'static [&'static str],
    links: &'static [&'static str],
) -> Puppet {
    let offer = Offer::new(who, era).tools(&["t"]).prompts(&["p"]).resources(listed);
    let own: Vec<String> = listed.iter().chain(has).map(|uri| (*uri).to_owned()).collect();
    Puppet::start(offer, move |seen, wire| {
        let blocks: Vec<Value> = links
            .iter()
            .enumerate()
            .map(|(n, uri)| match n % 2 {
                0 => json!({"type": "resource_link", "uri": uri, "name": "x"}),
                _ => json!({"type": "resource", "resource": {"uri": uri, "text": ""}}),
            })
            .collect();
        let result = match seen.method() {
            "resources/read" if !own.iter().any(|uri| uri == seen.param("uri")) => {
                return wire.json(&missing(seen, era));
            }
            "tools/call" => json!({"content": blocks, "resultType": "complete"}),
            "prompts/get" => {
                let message = |block: &Value| json!({"role": "user", "content": block});
                let messages: Vec<Value> = blocks.iter().map(message).collect();
                json!({"messages": messages, "resultType": "complete"})
            }
            _ => return false,
        };
        wire.json(&seen.result(&result))
    })
}

fn tables(servers: &[(&str, &Puppet)]) -> String {
    let table = |(name, server): &(&str, &Puppet)| upstream(name, "", &[url(&server.url)]);
    config(&servers.iter().map(table).collect::<Vec<_>>().concat())
}

/// The reads that reached a server.
fn reads(server: &Puppet) -> Vec<String> {
    server.requests("resources/read").iter().map(|seen| seen.param("uri").to_owned()).collect()
}

fn read(client: &mut Caller, uri: &str) -> Value {
    client.ask("resources/read", Some(uri), &format!(r#""uri":"{uri}""#))
}

fn said(answer: &Value) -> &str {
    answer["result"]["contents"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}"))
}

const CLIENTS: [(Era, Over); 4] = [
    (Era::Modern, Over::Http),
    (Era::Legacy, Over::Http),
    (Era::Modern, Over::Stdio),
    (Era::Legacy, Over::Stdio),
];

/// Links of the last server, which nobody would think to be its own.
const LINKS: &[&str] = &["a:far/1", "a:far/2", "odd scheme", "a:far/\u{e9}"];

#[test]
fn a_link_in_a_result_is_read_at_who_gave_it_and_nowhere_else() {
    for (n, (era, over)) in CLIENTS.into_iter().enumerate() {
        for what in ["tool", "prompt"] {
            let (one, two) =
                if n % 2 == 0 { (Era::Modern, Era::Legacy) } else { (Era::Legacy, Era::Modern) };
            let a = server("a", one, &["a:1", "a:far/x"], &[], &[]);
            let b = server("b", two, &["b:1"], LINKS, LINKS);
            let mut client = Caller::start(era, over, &tables(&[("a", &a), ("b", &b)]));
            eventually("both", || {
                let list = client.ask("resources/list", None, "")["result"]["resources"].clone();
                (list.as_array()?.len() == 3).then_some(())
            });
            let named = match what {
                "tool" => client.call("b__t", "{}"),
                _ => client.ask("prompts/get", Some("b__p"), r#""name":"b__p""#),
            };
            assert!(named["result"].is_object(), "{named}");
            for uri in LINKS {
                let header = Some(*uri).filter(|uri| uri.is_ascii());
                if header.is_none() && over == Over::Http && era == Era::Modern {
                    continue; // its header would have to be encoded, which this client does not
                }
                for _ in 0..2 {
                    let answer = read(&mut client, uri);
                    assert_eq!(said(&answer), format!("b:{uri}"), "{era:?} {over:?} {what}");
                }
            }
            assert_eq!(reads(&a), NOTHING, "{era:?} {over:?} {what}");
        }
    }
}

#[test]
fn a_link_stays_readable_after_thousands_of_others_and_a_listed_owner_goes_before_it() {
    let a = server("a", Era::Modern, &["a:1", "shared:r"], &[], &[]);
    let b = server("b", Era::Modern, &["b:1"], &["a:far/1"], &["a:far/1", "shared:r"]);
    let gateway = Gateway::start(&tables(&[("a", &a), ("b", &b)]));
    eventually("both", || (names(&gateway.url(), "resources/list").len() == 3).then_some(()));
    for _ in 0..100 {
        assert_eq!(Http::modern_call(&gateway.url(), "b__t", "{}").verdict(), (200, 0));
    }
    let read = |uri: &str| {
        let params = format!(r#""uri":"{uri}""#);
        Http::modern(&gateway.url(), "1", "resources/read", Some(uri), &params).answer()
    };
    assert_eq!(said(&read("a:far/1")), "b:a:far/1");
    assert_eq!(said(&read("shared:r")), "a:shared:r", "who lists it owns it");
}

/// Three servers of which the last lists what is most like `db://host/x/2`.
fn three(has: [&'static [&'static str]; 3]) -> [Puppet; 3] {
    [
        server("a", Era::Modern, &["file:///a/1", "db://other/x"], has[0], &[]),
        server("b", Era::Legacy, &["db://host/y"], has[1], &[]),
        server("c", Era::Modern, &["memo:1", "db://host/x/1"], has[2], &[]),
    ]
}

fn gateway(servers: &[Puppet; 3]) -> Gateway {
    let [a, b, c] = servers;
    let gateway = Gateway::start(&tables(&[("a", a), ("b", b), ("c", c)]));
    eventually("all", || (names(&gateway.url(), "resources/list").len() == 5).then_some(()));
    gateway
}

fn read_modern(gateway: &Gateway, uri: &str) -> Value {
    let params = format!(r#""uri":"{uri}""#);
    Http::modern(&gateway.url(), "1", "resources/read", Some(uri), &params).answer()
}

const WANTED: &str = "db://host/x/2";

#[test]
fn the_likeliest_owner_is_asked_first_and_alone_if_it_has_it() {
    let servers = three([&[WANTED], &[WANTED], &[WANTED]]);
    let gateway = gateway(&servers);
    for _ in 0..2 {
        assert_eq!(said(&read_modern(&gateway, WANTED)), format!("c:{WANTED}"));
    }
    assert_eq!(servers.each_ref().map(|server| reads(server).len()), [0, 0, 2]);
}

#[test]
fn who_does_not_have_it_hands_on_and_who_has_it_is_remembered() {
    let servers = three([&[WANTED], &[], &[]]);
    let gateway = gateway(&servers);
    assert_eq!(said(&read_modern(&gateway, WANTED)), format!("a:{WANTED}"));
    // The likeliest first; both said no before the third was asked.
    assert_eq!(servers.each_ref().map(|server| reads(server).len()), [1, 1, 1]);
    let at = |server: &Puppet| server.requests("resources/read")[0].at;
    let [a, b, c] = &servers;
    assert!(at(c) < at(b) && at(b) < at(a), "one after the other");
    let session = Http::legacy_session(&gateway.url(), "2025-11-25");
    for _ in 0..3 {
        assert_eq!(said(&read_modern(&gateway, WANTED)), format!("a:{WANTED}"));
        let params = format!(r#"{{"uri":"{WANTED}"}}"#);
        let legacy =
            Http::legacy(&gateway.url(), &session, "1", "resources/read", &params).answer();
        assert_eq!(said(&legacy), format!("a:{WANTED}"));
    }
    assert_eq!(servers.each_ref().map(|server| reads(server).len()), [7, 1, 1]);
}

#[test]
fn what_nobody_has_is_asked_for_once_of_each_and_refused_as_the_clients_era_wants() {
    let servers = three([&[], &[], &[]]);
    let gateway = gateway(&servers);
    let session = Http::legacy_session(&gateway.url(), "2025-11-25");
    let modern = read_modern(&gateway, WANTED);
    assert_eq!(modern["error"]["code"], -32602, "{modern}");
    assert_eq!(modern["error"]["message"], "Resource not found", "{modern}");
    assert_eq!(servers.each_ref().map(|server| reads(server).len()), [1, 1, 1]);
    let params = format!(r#"{{"uri":"{WANTED}"}}"#);
    let legacy = Http::legacy(&gateway.url(), &session, "1", "resources/read", &params).answer();
    let code = legacy["error"]["code"].as_i64().unwrap();
    assert!(code == -32002 || code == -32602, "{legacy}");
    assert_eq!(servers.each_ref().map(|server| reads(server).len()), [2, 2, 2]);
    // Nothing at all lists the like: still everybody who has resources is asked.
    let odd = read_modern(&gateway, "nobody:knows");
    assert_eq!(odd["error"]["code"], -32602, "{odd}");
    assert_eq!(servers.each_ref().map(|server| reads(server).len()), [3, 3, 3]);
}

#[test]
fn a_legacy_servers_not_found_becomes_the_modern_one_with_the_uri() {
    let b = server("b", Era::Legacy, &["b:1"], &[], &[]);
    let gateway = Gateway::start(&tables(&[("b", &b)]));
    eventually("it", || (names(&gateway.url(), "resources/list").len() == 1).then_some(()));
    let answer = read_modern(&gateway, "b:2");
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    assert_eq!(answer["error"]["data"]["uri"], "b:2", "{answer}");
}

#[test]
fn an_error_that_is_not_the_lack_of_it_is_the_answer_and_nobody_else_is_asked() {
    for (code, passes) in [(-32603, true), (-32000, true), (-32700, true)] {
        let [a, b, _] = three([&[WANTED], &[WANTED], &[]]);
        let offer = Offer::new("c", Era::Modern).resources(&["memo:1", "db://host/x/1"]);
        let c = Puppet::start(offer, move |seen, wire| {
            seen.method() == "resources/read" && wire.json(&seen.error(code, "trouble"))
        });
        let servers = [a, b, c];
        let gateway = gateway(&servers);
        let answer = read_modern(&gateway, WANTED);
        assert_eq!(answer["error"]["code"] == code, passes, "{answer}");
        assert_eq!(servers.each_ref().map(|server| reads(server).len()), [0, 0, 1], "{code}");
    }
}

#[test]
fn a_template_goes_before_likeness() {
    let a = server("a", Era::Modern, &["db://host/x/1"], &[WANTED], &[]);
    let offer = Offer::new("b", Era::Legacy).resources(&["b:1"]).templates(&["db://host/{+rest}"]);
    let b = Puppet::offers(offer);
    let gateway = Gateway::start(&tables(&[("a", &a), ("b", &b)]));
    eventually("both", || {
        (names(&gateway.url(), "resources/templates/list").len() == 1
            && names(&gateway.url(), "resources/list").len() == 2)
            .then_some(())
    });
    assert_eq!(said(&read_modern(&gateway, WANTED)), format!("b:{WANTED}"));
    assert_eq!(reads(&a), NOTHING);
}
