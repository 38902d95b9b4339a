//! Completions of arguments: the upstream that owns the prompt or the template is asked, under its
//! own name of it (2026-07-28 and 2025-11-25, server/utilities/completion).

use serde_json::{Value, json};

use crate::support::lists::names;
use crate::support::puppet::{Offer, Puppet, Seen};
use crate::support::toml::{upstream, url};
use crate::support::upstream::config;
use crate::support::{Caller, Era, Over, eventually};

/// Numbers and keys that only the bytes themselves keep.
const ARGUMENT: &str =
    r#""argument":{"name":"a","value":"v \u00e9 €"},"context":{"arguments":{"z":"1","b":"2"}}"#;

/// A modern and a legacy server that complete, and one of each era that does not.
fn servers() -> [Puppet; 4] {
    let offer = |who, era| {
        Offer::new(who, era)
            .prompts(&["p", "p__q"])
            .resources(&[&format!("{who}:r")])
            .templates(&[&format!("{who}:{{x}}/{{y}}")])
    };
    let no_method = |seen: &Seen, wire: &mut crate::support::puppet::Wire, status| {
        seen.method() == "completion/complete" && {
            let kind = "Content-Type: application/json";
            wire.whole(status, &[kind], &seen.error(-32601, "Method not found").to_string())
        }
    };
    let lists_only = json!({"prompts": {}, "resources": {}});
    let without = |who, era| Offer { capabilities: lists_only.clone(), ..offer(who, era) };
    [
        Puppet::offers(offer("m", Era::Modern)),
        Puppet::offers(offer("l", Era::Legacy)),
        Puppet::start(without("mm", Era::Modern), move |seen, wire| no_method(seen, wire, 404)),
        Puppet::start(without("ll", Era::Legacy), move |seen, wire| no_method(seen, wire, 200)),
    ]
}

/// A client of a gateway before the servers, all of which are there.
fn client(servers: &[Puppet; 4], era: Era, over: Over) -> Caller {
    let table = |(name, server): (&&str, &Puppet)| upstream(name, "", &[url(&server.url)]);
    let tables: Vec<String> = ["m", "l", "mm", "ll"].iter().zip(servers).map(table).collect();
    let mut client = Caller::start(era, over, &config(&tables.concat()));
    eventually("all prompts", || {
        let list = client.ask("prompts/list", None, "")["result"]["prompts"].clone();
        (list.as_array()?.len() == 8).then_some(())
    });
    client
}

fn complete(client: &mut Caller, reference: &Value) -> Value {
    let params = format!(r#""ref":{reference},{ARGUMENT}"#);
    client.ask("completion/complete", None, &params)
}

fn prompt(name: &str) -> Value {
    json!({"type": "ref/prompt", "name": name})
}

fn resource(uri: &str) -> Value {
    json!({"type": "ref/resource", "uri": uri})
}

const CLIENTS: [(Era, Over); 4] = [
    (Era::Modern, Over::Http),
    (Era::Legacy, Over::Http),
    (Era::Modern, Over::Stdio),
    (Era::Legacy, Over::Stdio),
];

#[test]
fn the_owner_of_the_prompt_or_template_completes_it_under_its_own_name() {
    for (era, over) in CLIENTS {
        let servers = servers();
        let mut client = client(&servers, era, over);
        for (place, who) in ["m", "l"].into_iter().enumerate() {
            let template = format!("{who}:{{x}}/{{y}}");
            let listed = format!("{who}:r");
            let cases = [
                (prompt(&format!("{who}__p")), prompt("p")),
                (prompt(&format!("{who}__p__q")), prompt("p__q")),
                (resource(&template), resource(&template)),
                (resource(&listed), resource(&listed)),
            ];
            for (asked, wanted) in &cases {
                let answer = complete(&mut client, asked);
                let result = &answer["result"];
                assert_eq!(result["completion"]["values"], json!([who]), "{era:?}: {answer}");
                let kind = result.get("resultType");
                let complete = json!("complete");
                assert_eq!(kind, (era == Era::Modern).then_some(&complete), "{era:?}: {answer}");
                let seen = servers[place].requests("completion/complete").pop().unwrap();
                assert_eq!(&seen.body["params"]["ref"], wanted, "{era:?}");
                let sent: Value = serde_json::from_str(&format!("{{{ARGUMENT}}}")).unwrap();
                for key in ["argument", "context"] {
                    assert_eq!(seen.body["params"][key], sent[key], "{era:?}");
                }
                assert_eq!(seen.header("mcp-name"), None, "no name for this method");
                let method = (who == "m").then_some("completion/complete");
                assert_eq!(seen.header("mcp-method"), method);
            }
            assert_eq!(servers[place].requests("completion/complete").len(), cases.len());
        }
        for silent in &servers[2..] {
            assert!(silent.requests("completion/complete").is_empty());
        }
    }
}

#[test]
fn an_upstream_that_completes_nothing_gives_no_values_and_no_error() {
    for (era, over) in CLIENTS {
        let servers = servers();
        let mut client = client(&servers, era, over);
        for who in ["mm", "ll"] {
            for reference in [prompt(&format!("{who}__p")), resource(&format!("{who}:{{x}}/{{y}}"))]
            {
                for _ in 0..2 {
                    let answer = complete(&mut client, &reference);
                    let values = &answer["result"]["completion"]["values"];
                    assert_eq!(values, &json!([]), "{era:?} {reference}: {answer}");
                    if era == Era::Modern {
                        assert_eq!(answer["result"]["resultType"], "complete");
                    }
                }
            }
        }
        // The refusals took nothing down: calls of others and of these go on.
        assert!(complete(&mut client, &prompt("m__p"))["result"].is_object());
        let got = client.ask("prompts/get", Some("mm__p"), r#""name":"mm__p""#);
        assert!(got["result"].is_object(), "{got}");
    }
}

#[test]
fn what_nobody_offers_is_completed_by_nobody() {
    for (era, over) in CLIENTS {
        let servers = servers();
        let mut client = client(&servers, era, over);
        for reference in [
            prompt("p"),
            prompt("m__nobody"),
            prompt("m"),
            prompt(""),
            json!({"type": "ref/prompt"}),
            json!({"type": "ref/resource"}),
            json!({"type": "ref/tool", "name": "m__p"}),
            json!({}),
            json!("m__p"),
            Value::Null,
        ] {
            let answer = complete(&mut client, &reference);
            assert_eq!(answer["error"]["code"], -32602, "{era:?} {reference}: {answer}");
        }
        for server in &servers {
            assert!(server.requests("completion/complete").is_empty(), "{era:?}");
        }
    }
}

#[test]
fn the_upstreams_own_error_about_a_completion_passes() {
    let server = Puppet::start(Offer::new("u", Era::Modern).prompts(&["p"]), |seen, wire| {
        seen.method() == "completion/complete" && wire.json(&seen.error(-32602, "no such argument"))
    });
    let gateway = crate::support::Gateway::start(&config(&upstream("u", "", &[url(&server.url)])));
    eventually("the prompt", || (!names(&gateway.url(), "prompts/list").is_empty()).then_some(()));
    let params = format!(r#""ref":{},{ARGUMENT}"#, prompt("u__p"));
    let answer =
        crate::support::Http::modern(&gateway.url(), "1", "completion/complete", None, &params);
    assert_eq!(answer.answer()["error"], json!({"code": -32602, "message": "no such argument"}));
}
