//! What shuts the gate of a replica and what never does, and when it opens again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use serde_json::{Value, json};

use crate::support::fake::Fake;
use crate::support::toml::{named, upstream, url};
use crate::support::{Gateway, Http, eventually, listed, replicas_up};

/// What a server says to a call, and whether that is a failure of the server.
const SAYINGS: [(&str, bool); 6] = [
    ("result", false),
    ("isError", false),
    ("-32602", false),
    ("404", false),
    ("503", true),
    ("garbage", true),
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
            Some(answer(message, say))
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
    for (say, fails) in SAYINGS {
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
