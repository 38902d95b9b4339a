//! What shuts the gate of a replica and what never does, and when it opens again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use waypost::base::clock;

use crate::support::fake::Fake;
use crate::support::puppet::{Offer, Puppet, tool};
use crate::support::toml::{named, upstream, url};
use crate::support::upstream::config;
use crate::support::{
    Era, Gateway, Http, Session, eventually, listed, metric, own_error, replicas_up,
};

/// What a server says to a call, and whether that is a failure of the server. It is none that its
/// client gave up; that it said nothing until then is no failure either.
const SAYINGS: [(&str, bool); 7] = [
    ("result", false),
    ("isError", false),
    ("-32602", false),
    ("404", false),
    ("503", true),
    ("garbage", true),
    ("nothing", false),
];

/// A legacy server with the tool `t`, which answers `ping` whatever it says to calls.
struct Server {
    fake: Fake,
    says: Arc<AtomicU8>,
}

impl Server {
    fn start() -> Self {
        let says = Arc::new(AtomicU8::new(0));
        let now = Arc::clone(&says);
        let fake = Fake::start(move |message| {
            let say = SAYINGS[usize::from(now.load(Ordering::SeqCst))].0;
            let silent = say == "nothing" && message["method"] == "tools/call";
            (!silent).then(|| answer(message, say))
        });
        Self { fake, says }
    }

    fn say(&self, what: &str) {
        let at = SAYINGS.iter().position(|(say, _)| *say == what).unwrap();
        self.says.store(u8::try_from(at).unwrap(), Ordering::SeqCst);
    }

    fn calls(&self) -> usize {
        self.fake.requests("tools/call").len()
    }
}

fn answer(message: &Value, say: &str) -> (u16, String) {
    let id = &message["id"];
    let result =
        |result: Value| (200, json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string());
    let error = |code: i64| {
        let error = json!({"code": code, "message": "as asked"});
        (200, json!({"jsonrpc": "2.0", "id": id, "error": error}).to_string())
    };
    let tool = json!({"name": "t", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": true}});
    match message["method"].as_str().unwrap_or_default() {
        "initialize" => result(json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "fake", "version": "1"},
        })),
        "tools/list" => result(json!({ "tools": [tool] })),
        "ping" => result(json!({})),
        "tools/call" => match say {
            "result" => result(json!({"content": []})),
            "isError" => result(json!({"content": [], "isError": true})),
            "-32602" => error(-32_602),
            "404" => (404, String::new()),
            "503" => (503, String::new()),
            _ => (200, "{this is no JSON".to_owned()),
        },
        _ if id.is_null() => (202, String::new()),
        _ => error(-32_601),
    }
}

/// A gateway before two of them. Gates that shut stay so but for looks, which come every second.
fn two(keys: &str) -> (Gateway, Server, Server) {
    let (a, b) = (Server::start(), Server::start());
    let common = "era = \"legacy\"\nbalance = \"round_robin\"\ntrust_annotations = true\n\
                  health = { interval = \"1s\", skip_if_traffic = false }";
    let replicas = [named("a", &url(&a.fake.url)), named("b", &url(&b.fake.url))];
    let gateway = Gateway::start(&upstream("u", &format!("{common}\n{keys}"), &replicas));
    replicas_up(&gateway, "u", 2);
    listed(&gateway, "u__t");
    (gateway, a, b)
}

const LONG: &str = "breaker = { eject_base = \"10m\", eject_max = \"10m\" }";

fn gate(gateway: &Gateway, at: usize) -> String {
    let all = Http::send("GET", &format!("{}/api/v1/upstreams/u", gateway.base), &[], "").answer();
    all["replicas"][at]["gate"].as_str().unwrap().to_owned()
}

fn call(gateway: &Gateway) -> Value {
    Http::modern_call(&gateway.url(), "u__t", "{}").answer()
}

#[test]
fn only_failures_of_the_server_shut_its_gate() {
    for (say, fails) in SAYINGS.into_iter().filter(|(say, _)| *say != "nothing") {
        let (gateway, a, _b) = two(LONG);
        a.say(say);
        for _ in 0..24 {
            call(&gateway);
        }
        let expected = if fails { "shut" } else { "open" };
        assert_eq!(gate(&gateway, 0), expected, "{say}");
        assert_eq!(gate(&gateway, 1), "open", "{say}");
        assert!(a.calls() <= if fails { 6 } else { 24 }, "{say}: {}", a.calls());
        // The list is as it was.
        listed(&gateway, "u__t");
    }
}

#[test]
fn clients_that_give_up_one_after_the_other_shut_no_gate() {
    let (gateway, a, b) = two(LONG);
    a.say("nothing");
    b.say("nothing");
    let calls = || a.calls() + b.calls();
    let session = Session::open(&gateway, "{}");
    for n in 1..=24 {
        if n % 2 == 0 {
            let mut open = session.start(&n.to_string(), "u__t");
            eventually("the call to arrive", || (calls() == n).then_some(()));
            session.cancel(&n.to_string());
            assert_eq!(open.next(), None, "no answer after a cancel");
        } else {
            let params = r#""name":"u__t","arguments":{}"#;
            let (headers, body) = Http::modern_parts("1", "tools/call", Some("u__t"), params);
            let open = Http::open(&gateway.url(), &headers, &body);
            eventually("the call to arrive", || (calls() == n).then_some(()));
            drop(open);
        }
        let inflight = |name| {
            let series = format!(r#"mcp_upstream_inflight{{upstream="u",replica="{name}"}}"#);
            metric(&gateway, &series)
        };
        let none = || inflight("a") + inflight("b") < 0.5;
        eventually("the call to be given up", || none().then_some(()));
    }
    assert!(a.calls() >= 10 && b.calls() >= 10, "{} {}", a.calls(), b.calls());
    assert_eq!([gate(&gateway, 0), gate(&gateway, 1)], ["open", "open"]);
    a.say("result");
    b.say("result");
    assert!((0..6).all(|_| call(&gateway)["result"].is_object()));
}

#[test]
fn where_the_only_gate_is_shut_a_call_is_refused_at_once_and_not_sent() {
    let server = Server::start();
    // Looks are as far away as the end of the rest, and a call may be silent for minutes.
    let keys =
        format!("era = \"legacy\"\ntimeout = \"10m\"\nhealth = {{ interval = \"10m\" }}\n{LONG}");
    let gateway = Gateway::start(&upstream("u", &keys, &[url(&server.fake.url)]));
    replicas_up(&gateway, "u", 1);
    listed(&gateway, "u__t");
    server.say("503");
    eventually("its gate to shut", || {
        call(&gateway);
        (gate(&gateway, 0) == "shut").then_some(())
    });
    // A call that it got would now be silent for ten minutes.
    server.say("nothing");
    let (sent, began) = (server.calls(), clock::now());
    for _ in 0..20 {
        let answer = call(&gateway);
        let wanted = (-31002, "unavailable".into(), "not_sent".into(), true, "u".into());
        assert_eq!(own_error(&answer), wanted, "{answer}");
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?} for 20", began.elapsed());
    assert_eq!(server.calls(), sent);
    listed(&gateway, "u__t");
}

#[test]
fn tools_stay_listed_while_every_replica_is_down_and_their_calls_are_refused() {
    let (mut a, mut b) = (Server::start(), Server::start());
    let other = Puppet::offers(Offer::new("v", Era::Legacy).tools(&["t"]));
    let replicas = [url(&a.fake.url), url(&b.fake.url)];
    let gateway = Gateway::start(&config(
        &[
            upstream("u", "health = { interval = \"1s\" }", &replicas),
            upstream("v", "", &[url(&other.url)]),
        ]
        .concat(),
    ));
    replicas_up(&gateway, "u", 2);
    listed(&gateway, "u__t");
    listed(&gateway, "v__t");
    a.fake.stop();
    b.fake.stop();
    replicas_up(&gateway, "u", 0);
    // The list is made anew while they are down.
    eventually("the other one's stream", || (other.standing() > 0).then_some(()));
    other.change(|offer| offer.tools.push(tool("more")));
    other.tell("notifications/tools/list_changed");
    listed(&gateway, "v__more");
    assert_eq!(replicas_up(&gateway, "u", 0)["replicas"].as_array().unwrap().len(), 2);
    // To who comes now too.
    let tools = Session::open(&gateway, "{}").tools();
    assert!(tools.contains(&"u__t".to_owned()), "{tools:?}");
    let answer = call(&gateway);
    let wanted = (-31002, "unavailable".into(), "not_sent".into(), true, "u".into());
    assert_eq!(own_error(&answer), wanted, "{answer}");
}

/// A server that answers looks all along while its calls fail is not cured by them.
#[test]
fn looks_answered_before_a_gate_shut_do_not_open_it() {
    let (gateway, a, b) = two(LONG);
    let looks = || a.fake.requests("ping").len();
    eventually("some looks", || (looks() >= 3).then_some(()));
    a.say("503");
    for _ in 0..60 {
        let answer = call(&gateway);
        assert!(answer["result"].is_object(), "{answer}");
    }
    let sent = a.calls();
    assert!((5..=6).contains(&sent), "five in a row shut it: {sent}");
    assert!(b.calls() >= 60);
    // Answered since then, they let one call try it, and its failure shuts it again.
    let before = looks();
    eventually("more looks", || (looks() >= before + 3).then_some(()));
    for _ in 0..20 {
        let answer = call(&gateway);
        assert!(answer["result"].is_object(), "{answer}");
    }
    assert!(a.calls() <= sent + 2, "{} calls more", a.calls() - sent);
    a.say("result");
    eventually("its gate to open", || {
        call(&gateway);
        (gate(&gateway, 0) == "open").then_some(())
    });
}
