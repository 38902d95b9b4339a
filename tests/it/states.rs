//! The state of a modern server for a modern client passes as it is, whatever it looks like: it is the
//! server's, also where it begins as a ticket of the gateway does (2026-07-28, basic/patterns/mrtr).

use serde_json::{Value, json};

use crate::support::puppet::{Offer, Puppet, Seen, Wire};
use crate::support::toml::{upstream, url};
use crate::support::upstream::config;
use crate::support::{
    Caller, Era, Gateway, Http, Over, eventually, metric, own_error, replicas_up,
};

/// States that a server may give out.
fn states() -> [String; 6] {
    [
        String::new(),
        "é \u{1}\"\\/ \u{1F980}".to_owned(),
        "wp1.".to_owned(),
        "wp1.somebody else's".to_owned(),
        format!("wp1.{}", "0123456789abcdef".repeat(2)),
        "x".repeat(100_000),
    ]
}

/// A server that asks for everything first, with the state that the arguments want; for a second time
/// it answers with the state that came, as it came.
fn echoing() -> Puppet {
    let scene = |seen: &Seen, wire: &mut Wire| {
        if !["tools/call", "prompts/get", "resources/read"].contains(&seen.method()) {
            return false;
        }
        let params = &seen.body["params"];
        if params.get("inputResponses").is_none() {
            let asked = json!({"k": {"method": "roots/list", "params": {}}});
            let mut result = json!({"resultType": "input_required", "inputRequests": asked});
            let wanted = params["_meta"]["test/state"].as_str();
            if let Some(state) = wanted.filter(|number| *number != "none") {
                result["requestState"] = states()[state.parse::<usize>().unwrap()].clone().into();
            }
            return wire.json(&seen.result(&result));
        }
        let came = params.get("requestState").cloned().unwrap_or(json!("it is absent"));
        let result = match seen.method() {
            "tools/call" => json!({"content": []}),
            "prompts/get" => json!({"messages": []}),
            _ => json!({"contents": [], "ttlMs": 0, "cacheScope": "private"}),
        };
        let mut result = result;
        result["resultType"] = "complete".into();
        result["came"] = came;
        wire.json(&seen.result(&result))
    };
    let offer = Offer::new("m", Era::Modern).tools(&["t"]).prompts(&["p"]).resources(&["x://r"]);
    Puppet::start(offer, scene)
}

/// A modern server that asks, and a legacy one beside it, whose clients bring tickets.
fn tables(modern: &Puppet, legacy: &Puppet) -> String {
    let m = upstream("m", "", &[url(&modern.url)]);
    config(&format!("{m}{}", upstream("l", "", &[url(&legacy.url)])))
}

/// What the requests are about: method, name for the header, and the text of their params.
const SUBJECTS: [(&str, &str, &str); 3] = [
    ("tools/call", "m__t", r#""name":"m__t","arguments":{}"#),
    ("prompts/get", "m__p", r#""name":"m__p""#),
    ("resources/read", "x://r", r#""uri":"x://r""#),
];

#[test]
fn a_modern_servers_state_comes_back_to_it_as_it_was_whatever_it_looks_like() {
    for over in [Over::Http, Over::Stdio] {
        let (modern, legacy) = (echoing(), Puppet::offers(Offer::new("l", Era::Legacy)));
        let mut client = Caller::start(Era::Modern, over, &tables(&modern, &legacy));
        let able = r#""roots":{}"#;
        for (method, name, about) in SUBJECTS {
            for number in (0..states().len()).map(|n| n.to_string()).chain(["none".to_owned()]) {
                let what = format!("{over:?} {method} {number}");
                let state = number.parse::<usize>().ok().map(|number| states()[number].clone());
                let meta = format!(
                    r#""_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{{able}}},"test/state":"{number}"}}"#
                );
                let asked = eventually("the upstream", || {
                    let answer = client.ask_as(method, Some(name), &format!("{about},{meta}"));
                    answer.get("result").cloned()
                });
                assert_eq!(asked["resultType"], "input_required", "{what}: {asked}");
                let given = asked.get("requestState").map(|state| state.as_str().unwrap());
                assert_eq!(given, state.as_deref(), "{what}");
                for hint in ["ttlMs", "cacheScope"] {
                    assert!(asked.get(hint).is_none(), "{what}: a question is not kept: {asked}");
                }
                let state = state.map(|state| format!(r#","requestState":{}"#, json!(state)));
                let more = state.unwrap_or_default();
                let answers = r#""inputResponses":{"k":{"roots":[]}}"#;
                let params = format!("{about},{answers}{more},{meta}");
                let done = client.ask_as(method, Some(name), &params);
                let expected = given.map_or(json!("it is absent"), |state| json!(state));
                assert_eq!(done["result"]["came"], expected, "{what}: {done}");
            }
        }
        assert!(legacy.requests("tools/call").is_empty());
    }
}

#[test]
fn a_question_whose_only_replica_is_gone_is_answered_with_an_honest_error() {
    let (mut modern, legacy) = (echoing(), Puppet::offers(Offer::new("l", Era::Legacy)));
    let gateway = Gateway::start(&tables(&modern, &legacy));
    replicas_up(&gateway, "m", 1);
    let call = |more: &str| -> Value {
        let params = format!(r#""name":"m__t","arguments":{{}}{more}"#);
        Http::modern(&gateway.url(), "1", "tools/call", Some("m__t"), &params).answer()
    };
    let asked = call("");
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    modern.stop();
    eventually("it to be down", || {
        let up = metric(&gateway, r#"mcp_upstream_up{upstream="m",replica="0"}"#);
        (up < 0.5).then_some(())
    });
    let lost = call(r#","inputResponses":{},"requestState":"s""#);
    let (code, kind, delivery, ..) = own_error(&lost);
    assert_eq!((code, kind.as_str(), delivery.as_str()), (-31002, "unavailable", "not_sent"));
}
