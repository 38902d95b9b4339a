//! What changes at several upstreams of different kinds is told to every kind of client, once each
//! (2026-07-28, basic/patterns/subscriptions; 2025-11-25, basic/transports).

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::Open;
use crate::support::lists::names;
use crate::support::peer::{no_method, result, tools};
use crate::support::process::WAYPOST;
use crate::support::puppet::{Offer, Puppet, resource, tool};
use crate::support::toml::{command, demo, upstream, url};
use crate::support::upstream::config;
use crate::support::{
    Era, Gateway, Http, Over, Peer, Session, StdioClient, eventually, listed, replicas_up,
};

const ID: &str = "io.modelcontextprotocol/subscriptionId";
/// How long a test listens for what must not come.
const A_MOMENT: Duration = Duration::from_millis(400);
/// Longer than upstreams and gateway gather changes.
const QUIET: Duration = Duration::from_millis(900);

const ALL: &str = r#""notifications":{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true}"#;

/// The list, and the notification of its changes.
const KINDS: [(&str, &str); 3] = [
    ("tools/list", "notifications/tools/list_changed"),
    ("prompts/list", "notifications/prompts/list_changed"),
    ("resources/list", "notifications/resources/list_changed"),
];

/// A child that has every list and can change each.
fn fixture() -> String {
    let path = Path::new(WAYPOST).with_file_name("examples").join("conformance_fixture");
    assert!(path.is_file(), "`cargo build --examples` makes {}", path.display());
    command(&[path.to_str().unwrap(), "--stdio", "--era", "legacy"])
}

/// The three upstreams: modern and legacy over HTTP, and a child.
struct Three {
    modern: Puppet,
    legacy: Puppet,
    text: String,
}

impl Three {
    fn start() -> Self {
        let offer = |who, era, uri: &str| {
            Offer::new(who, era).tools(&["t"]).prompts(&["p"]).resources(&[uri])
        };
        let modern = Puppet::offers(offer("m", Era::Modern, "m:r"));
        let legacy = Puppet::offers(offer("l", Era::Legacy, "l:r"));
        let text = config(&format!(
            "{}{}{}",
            upstream("m", "", &[url(&modern.url)]),
            upstream("l", "", &[url(&legacy.url)]),
            upstream("c", "", &[fixture()])
        ));
        Self { modern, legacy, text }
    }

    /// Waits until every upstream is there and can tell of changes.
    fn ready(&self, gateway: &Gateway) {
        for name in ["m__t", "l__t", "c__test_simple_text"] {
            listed(gateway, name);
        }
        self.standing();
    }

    fn standing(&self) {
        eventually("the streams of changes", || {
            (self.modern.standing() > 0 && self.legacy.standing() > 0).then_some(())
        });
    }

    /// Changes a list at one of the upstreams, by the name of its configuration.
    fn change(&self, at: &str, list: &str, gateway: &str, n: usize) {
        let puppet = match at {
            "m" => &self.modern,
            "l" => &self.legacy,
            _ => {
                let trigger = match list {
                    "tools/list" => "c__test_trigger_tool_change",
                    "prompts/list" => "c__test_trigger_prompt_change",
                    _ => "c__test_trigger_resource_list_change",
                };
                assert_eq!(Http::modern_call(gateway, trigger, "{}").verdict(), (200, 0));
                return;
            }
        };
        add(puppet, list, n);
        let (_, note) = KINDS.iter().find(|(known, _)| *known == list).unwrap();
        puppet.tell(note);
    }
}

/// One more entry in a list, of which nobody is told.
fn add(puppet: &Puppet, list: &str, n: usize) {
    puppet.change(|offer| match list {
        "tools/list" => offer.tools.push(tool(&format!("t{n}"))),
        "prompts/list" => offer.prompts.push(json!({"name": format!("p{n}")})),
        _ => offer.resources.push(resource(&format!("{}:{n}", offer.who))),
    });
}

/// A modern subscription to every list that stands.
fn listen(gateway: &Gateway, id: &str) -> Open {
    let (headers, body) = Http::modern_parts(id, "subscriptions/listen", None, ALL);
    let mut stream = Http::open(&gateway.url(), &headers, &body);
    let first = stream.message().unwrap();
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged", "{first}");
    assert_eq!(first["params"]["_meta"][ID].to_string(), id);
    stream
}

/// The legacy stream of a session, which stands.
fn stream(gateway: &Gateway) -> Open {
    let session = Http::legacy_session(&gateway.url(), "2025-11-25");
    let mut stream = Http::open_get(&gateway.url(), &session);
    assert_eq!(stream.event().unwrap(), ":");
    stream
}

#[test]
fn each_change_at_each_of_three_upstreams_is_told_once() {
    let three = Three::start();
    let gateway = Gateway::start(&three.text);
    three.ready(&gateway);
    let (mut modern, mut legacy) = (listen(&gateway, "\"s\""), stream(&gateway));
    // What the upstreams may have been asked again at their start changes nothing.
    assert_eq!(modern.message_within(A_MOMENT), None);
    for (n, at) in ["m", "l", "c"].into_iter().enumerate() {
        for (list, note) in KINDS {
            let before = names(&gateway.url(), list);
            three.change(at, list, &gateway.url(), n);
            let told = modern.message().unwrap();
            assert_eq!(
                (&told["method"], &told["params"]["_meta"][ID]),
                (&json!(note), &json!("s"))
            );
            assert_eq!(legacy.message().unwrap()["method"], note, "{at}");
            // Who is told finds the change at once.
            let after = names(&gateway.url(), list);
            assert_eq!(after.len(), before.len() + 1, "{at} {list}: {after:?}");
            assert_eq!(modern.message_within(A_MOMENT), None, "{at} {list}: once");
            assert_eq!(legacy.message_within(Duration::from_millis(10)), None, "{at} {list}: once");
        }
    }
}

#[test]
fn each_change_at_each_of_three_upstreams_is_told_on_the_pipe_once() {
    let three = Three::start();
    let mut pipe = StdioClient::start(&three.text);
    pipe.handshake("2025-11-25");
    let (_, listening) = Http::modern_parts("\"s\"", "subscriptions/listen", None, ALL);
    let all = |pipe: &mut StdioClient| {
        let (_, list) = Http::modern_parts("\"l\"", "tools/list", None, "");
        let text = pipe.ask(&list).to_string();
        ["m__t", "l__t", "c__test_simple_text"].iter().all(|name| text.contains(name))
    };
    eventually("every upstream", || all(&mut pipe).then_some(()));
    three.standing();
    pipe.send(&listening);
    while pipe.next()["method"] != "notifications/subscriptions/acknowledged" {}
    // The session may still be told of the start.
    while pipe.next_within(QUIET).is_some() {}
    for (n, at) in ["m", "l"].into_iter().enumerate() {
        for (list, note) in KINDS {
            three.change(at, list, "", n);
            let (one, other) = (pipe.next(), pipe.next());
            assert_eq!((&one["method"], &other["method"]), (&json!(note), &json!(note)), "{at}");
            let ids: Vec<&Value> = [&one, &other].map(|told| &told["params"]["_meta"][ID]).into();
            assert!(ids.contains(&&json!("s")) && ids.contains(&&Value::Null), "{one} {other}");
        }
    }
    // Each was told twice, once for each era: nothing is left but the end of the subscription.
    let (code, rest) = pipe.close();
    assert_eq!(code, 0);
    let rest: Vec<Value> = rest.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rest.len(), 1, "{rest:?}");
    assert_eq!((&rest[0]["id"], &rest[0]["result"]["_meta"][ID]), (&json!("s"), &json!("s")));
    assert_eq!(rest[0]["result"]["resultType"], "complete");
}

#[test]
fn a_burst_of_changes_at_three_upstreams_is_told_a_few_times_and_ends_with_the_last() {
    let three = Three::start();
    let gateway = Gateway::start(&three.text);
    three.ready(&gateway);
    let (mut modern, mut legacy) = (listen(&gateway, "1"), stream(&gateway));
    assert_eq!(modern.message_within(QUIET), None);
    let lists = |puppet: &Puppet| puppet.requests("tools/list").len();
    let before = (lists(&three.modern), lists(&three.legacy));
    for n in 0..30 {
        three.change("m", "tools/list", "", n);
        three.change("l", "tools/list", "", n);
    }
    three.change("c", "tools/list", &gateway.url(), 0);
    for name in ["m__t29", "l__t29", "c__test_added_tool"] {
        listed(&gateway, name);
    }
    for (who, stream) in [("modern", &mut modern), ("legacy", &mut legacy)] {
        let told = std::iter::from_fn(|| stream.message_within(QUIET)).count();
        assert!((1..=6).contains(&told), "{who}: 61 changes were told {told} times");
    }
    let after = (lists(&three.modern) - before.0, lists(&three.legacy) - before.1);
    assert!(after.0 <= 4 && after.1 <= 4, "30 changes each were listed {after:?} times");
}

#[test]
fn what_changed_while_an_upstream_could_tell_nobody_is_told_when_it_can_again() {
    let three = Three::start();
    let gateway = Gateway::start(&three.text);
    three.ready(&gateway);
    let (mut modern, mut legacy) = (listen(&gateway, "1"), stream(&gateway));
    for (n, puppet) in [&three.modern, &three.legacy].into_iter().enumerate() {
        // The change comes first, so that no second stream can be there before it.
        add(puppet, "prompts/list", n);
        puppet.cut_streams();
        for stream in [&mut modern, &mut legacy] {
            let told = stream.message().unwrap();
            assert_eq!(told["method"], "notifications/prompts/list_changed", "{told}");
        }
        let last = format!("{}__p{n}", if n == 0 { "m" } else { "l" });
        assert!(names(&gateway.url(), "prompts/list").contains(&last));
        three.standing();
    }
    assert_eq!(modern.message_within(A_MOMENT), None, "once");
    assert_eq!(legacy.message_within(Duration::from_millis(10)), None, "once");
}

#[test]
fn an_upstream_that_comes_back_with_other_lists_is_told_of() {
    for era in [Era::Modern, Era::Legacy] {
        let offer = |more: &[&str]| Offer::new("u", era).tools(&["t"]).resources(more);
        let mut puppet = Puppet::offers(offer(&["r:1"]));
        let gateway = Gateway::start(&upstream("u", "", &[url(&puppet.url)]));
        listed(&gateway, "u__t");
        let mut modern = listen(&gateway, "1");
        let mut legacy = stream(&gateway);
        let port = puppet.port;
        puppet.stop();
        let again = Puppet::start_on(port, offer(&["r:2"]), |_, _| false);
        for stream in [&mut modern, &mut legacy] {
            let told = stream.message().unwrap();
            assert_eq!(told["method"], "notifications/resources/list_changed", "{era:?}: {told}");
        }
        assert_eq!(names(&gateway.url(), "resources/list"), ["r:2"], "{era:?}");
        assert_eq!(modern.message_within(A_MOMENT), None, "{era:?}: nothing else has changed");
        drop(again);
    }
}

/// Watches a resource of `u` and answers the stream on which news of it comes.
fn watching(gateway: &Gateway, uri: &str) -> Open {
    let session = Session::open(gateway, "{}");
    let mut stream = session.stream();
    assert_eq!(stream.event().unwrap(), ":");
    let answer = session.ask("resources/subscribe", &format!(r#"{{"uri":"{uri}"}}"#)).answer();
    assert_eq!(answer["result"], json!({}), "{answer}");
    stream
}

/// The resources of which a stream tells that they have changed, until it is silent.
fn changed(stream: &mut Open) -> Vec<Value> {
    let first = stream.message().unwrap();
    let more = std::iter::from_fn(|| stream.message_within(QUIET));
    let all: Vec<Value> = std::iter::once(first).chain(more).collect();
    let of = all.iter().filter(|told| told["method"] == "notifications/resources/updated");
    of.map(|told| told["params"]["uri"].clone()).collect()
}

#[test]
fn a_watched_resource_may_have_changed_while_its_upstream_was_away() {
    for era in [Era::Modern, Era::Legacy] {
        let offer = || Offer::new("u", era).tools(&["t"]).resources(&["r:1", "r:2"]);
        let mut puppet = Puppet::offers(offer());
        let gateway = Gateway::start(&upstream("u", "", &[url(&puppet.url)]));
        listed(&gateway, "u__t");
        let mut stream = watching(&gateway, "r:1");
        let port = puppet.port;
        puppet.stop();
        // Who comes back sooner is greeted again only if that was seen.
        replicas_up(&gateway, "u", 0);
        let again = Puppet::start_on(port, offer(), |_, _| false);
        assert_eq!(changed(&mut stream), ["r:1"], "{era:?}");
        again.cut_streams();
        assert_eq!(changed(&mut stream), ["r:1"], "{era:?}: the stream was away");
    }
}

#[test]
fn a_watched_resource_may_have_changed_while_its_child_was_away() {
    for era in [Era::Modern, Era::Legacy] {
        let capabilities = json!({"tools": {}, "resources": {"subscribe": true}});
        let peer = Peer::offering(era, Over::Stdio, capabilities, |turn| match turn.method() {
            "tools/list" => tools(&["t"]),
            "resources/list" => result(&json!({"resources": [resource("r:1"), resource("r:2")]})),
            "resources/templates/list" => result(&json!({"resourceTemplates": []})),
            "resources/subscribe" => result(&json!({})),
            "subscriptions/listen" => {
                let mut params = turn.message["params"].clone();
                params["_meta"] = json!({ ID: turn.message["id"] });
                let method = "notifications/subscriptions/acknowledged";
                turn.tell(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
                Value::Null
            }
            _ => no_method(),
        });
        let gateway = peer.gateway("");
        listed(&gateway, "u__t");
        let mut stream = watching(&gateway, "r:1");
        let method =
            if era == Era::Modern { "subscriptions/listen" } else { "resources/subscribe" };
        let asked = peer.first(method).session;
        peer.hang_up(asked);
        assert_eq!(changed(&mut stream), ["r:1"], "{era:?}");
        assert_ne!(peer.heard(method).last().unwrap().session, asked, "{era:?}");
    }
}

#[test]
fn a_child_that_comes_back_with_another_list_is_told_of() {
    for era in ["legacy", "modern"] {
        let child = demo(&["--era", era, "--quirk", "crash-after=1"]);
        let gateway = Gateway::start(&upstream("u", "", &[child]));
        listed(&gateway, "u__grow");
        let mut modern = listen(&gateway, "1");
        Http::modern_call(&gateway.url(), "u__grow", "{}");
        let told = modern.message().unwrap();
        assert_eq!(told["method"], "notifications/tools/list_changed", "{era}: {told}");
        // It crashes in the next call, and has forgotten the tool.
        let extra =
            |gateway: &Gateway| Http::tools(&gateway.url()).contains(&"u__extra_1".to_owned());
        assert!(extra(&gateway), "{era}");
        Http::modern_call(&gateway.url(), "u__whoami", "{}");
        let told = modern.message().unwrap();
        assert_eq!(told["method"], "notifications/tools/list_changed", "{era}: {told}");
        assert!(!extra(&gateway), "{era}");
    }
}

#[test]
fn a_stop_ends_every_subscription_with_its_own_id_and_lets_go_of_every_upstream() {
    let three = Three::start();
    let gateway = Gateway::start(&three.text);
    three.ready(&gateway);
    let ids = ["1", "\"1\"", "\"\"", "-7"];
    let mut streams = ids.map(|id| listen(&gateway, id));
    let stopping = std::thread::spawn(move || gateway.terminate());
    for (stream, id) in streams.iter_mut().zip(ids) {
        let last = stream.message().unwrap();
        assert_eq!(last["id"].to_string(), id);
        assert_eq!(last["result"]["_meta"][ID].to_string(), id);
        assert_eq!(last["result"]["resultType"], "complete");
        assert_eq!(stream.message(), None, "the result is the last message");
    }
    assert_eq!(stopping.join().unwrap(), 0);
    let over = |puppet: &Puppet| (puppet.standing() == 0).then_some(());
    eventually("the modern upstream's stream to be closed", || over(&three.modern));
    eventually("the legacy upstream's stream to be closed", || over(&three.legacy));
    assert_eq!(three.legacy.verbs("DELETE").len(), 1, "a session that is not needed any more");
}
