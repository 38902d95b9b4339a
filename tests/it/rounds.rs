//! A call with a client's answers to a question goes to the replica that asked (2026-07-28,
//! basic/patterns/mrtr; `protocol.md`, test 58).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::puppet::{Offer, Puppet, Seen, Wire};
use crate::support::toml::{named, upstream, url};
use crate::support::{Era, Gateway, Http, eventually, metric, replicas_up};

/// A server that asks once with a state of its own, and takes no other one.
fn asking(who: &'static str) -> Puppet {
    let scene = move |seen: &Seen, wire: &mut Wire| {
        if seen.method() != "tools/call" {
            return false;
        }
        let state = format!("{who} é \"1\"");
        let answer = match seen.param("requestState") {
            "" => seen.result(&json!({"resultType": "input_required", "requestState": state})),
            known if known == state => {
                let content = json!([{"type": "text", "text": who}]);
                seen.result(&json!({"resultType": "complete", "content": content}))
            }
            _ => seen.error(-32602, "a state of somebody else"),
        };
        wire.json(&answer)
    };
    Puppet::start(Offer::new(who, Era::Modern).tools(&["t"]), scene)
}

fn call(gateway: &Gateway, more: &str) -> Value {
    let params = format!(r#""name":"u__t","arguments":{{}}{more}"#);
    Http::modern(&gateway.url(), "1", "tools/call", Some("u__t"), &params).answer()
}

fn state(asked: &Value) -> String {
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    asked["result"]["requestState"].as_str().unwrap().to_owned()
}

/// The state as another JSON library may write it.
fn answered(gateway: &Gateway, state: &str) -> Value {
    let escaped: String = state.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
    call(gateway, &format!(r#","inputResponses":{{}},"requestState":"{escaped}""#))
}

#[test]
fn a_clients_answers_go_to_the_replica_that_asked() {
    let mut servers = ["a", "b", "c"].map(asking);
    let replicas: Vec<_> =
        servers.iter().zip(["a", "b", "c"]).map(|(s, name)| named(name, &url(&s.url))).collect();
    let gateway = Gateway::start(&upstream("u", "balance = \"round_robin\"", &replicas));
    replicas_up(&gateway, "u", 3);

    let states: Vec<String> = (0..6).map(|_| state(&call(&gateway, ""))).collect();
    let who: BTreeSet<&String> = states.iter().collect();
    assert_eq!(who.len(), 3, "{states:?}");
    for state in states.iter().rev() {
        let done = answered(&gateway, state);
        let text = done["result"]["content"][0]["text"].as_str();
        assert_eq!(text, state.split(' ').next(), "{done}");
    }

    // One that is gone cannot be asked; another one says what it thinks of the state.
    servers[0].stop();
    eventually("a to be down", || {
        let up = metric(&gateway, r#"mcp_upstream_up{upstream="u",replica="a"}"#);
        (up < 0.5).then_some(())
    });
    let refused = answered(&gateway, "a é \"1\"");
    assert_eq!(refused["error"]["code"], -32602, "{refused}");
}
