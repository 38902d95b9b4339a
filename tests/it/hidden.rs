//! What the operator hides is in no list and reached in no way, by clients of either era.

use serde_json::Value;

use crate::support::puppet::{Offer, Puppet};
use crate::support::toml::{upstream, url};
use crate::support::upstream::config;
use crate::support::{Caller, Era, Http, MODERN_META, Over, eventually, own_error};

/// Shown, hidden by not being included, hidden by being excluded, renamed.
const TOOLS: [&str; 4] = ["shown", "left_out", "shut_out", "old_name"];

const KEYS: &str = r#"
tools.include = ["sh*", "old_name"]
tools.exclude = ["shut*"]
tools.rename = { old_name = "new_name" }
"#;

/// What a retry of a call that needed input carries (2026-07-28, basic/patterns/mrtr).
const RETRY: &str =
    r#""inputResponses":{"r0":{"action":"accept","content":{"x":1}}},"requestState":"state""#;

/// What makes a legacy call a task (2025-11-25, basic/utilities/tasks).
const TASK: &str = r#""task":{"ttl":60000}"#;

const NOTHING: [&str; 0] = [];

fn server(era: Era) -> Puppet {
    Puppet::offers(Offer::new("u", era).tools(&TOOLS))
}

/// The calls that reached the server.
fn reached(server: &Puppet) -> Vec<String> {
    server.requests("tools/call").iter().map(|seen| seen.param("name").to_owned()).collect()
}

fn shown(client: &mut Caller) -> Vec<String> {
    let list = client.list();
    let tools = list["tools"].as_array().cloned().unwrap_or_default();
    let names = tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned());
    names.filter(|name| name != "echo").collect()
}

#[test]
fn a_hidden_tool_is_in_no_list_and_refused_to_every_client_in_every_form_of_a_call() {
    for (server_era, client_era, over, prefix) in [
        (Era::Modern, Era::Modern, Over::Http, true),
        (Era::Modern, Era::Legacy, Over::Http, false),
        (Era::Modern, Era::Modern, Over::Stdio, false),
        (Era::Modern, Era::Legacy, Over::Stdio, true),
        (Era::Legacy, Era::Modern, Over::Http, false),
        (Era::Legacy, Era::Legacy, Over::Http, true),
        (Era::Legacy, Era::Modern, Over::Stdio, true),
        (Era::Legacy, Era::Legacy, Over::Stdio, false),
    ] {
        let what = format!("{server_era:?} {client_era:?} {over:?} {prefix}");
        let server = server(server_era);
        let keys = format!("prefix = \"{}\"{KEYS}", if prefix { "u" } else { "" });
        let mut client =
            Caller::start(client_era, over, &config(&upstream("u", &keys, &[url(&server.url)])));
        let named = |name: &str| if prefix { format!("u__{name}") } else { name.to_owned() };
        let names = eventually("the tools", || {
            let names = shown(&mut client);
            (!names.is_empty()).then_some(names)
        });
        assert_eq!(names, ["shown", "new_name"].map(named), "{what}");

        for hidden in ["left_out", "shut_out"].map(named) {
            let call = format!(r#""name":"{hidden}","arguments":{{}}"#);
            for more in [String::new(), format!(",{RETRY}"), format!(",{TASK}")] {
                let answer = client.ask("tools/call", Some(&hidden), &format!("{call}{more}"));
                let (code, kind, delivery, retryable, _) = own_error(&answer);
                let got = (code, kind.as_str(), delivery.as_str(), retryable);
                assert_eq!(got, (-31006, "denied", "not_sent", false), "{what} {more}: {answer}");
            }
        }
        let old = named("old_name");
        let call = format!(r#""name":"{old}","arguments":{{}},{RETRY}"#);
        let answer = client.ask("tools/call", Some(&old), &call);
        assert!(answer["error"].is_object(), "{what}: {answer}");
        assert_eq!(reached(&server), NOTHING, "{what}");

        // The shown ones work, in the same forms.
        for (shown, original) in [("shown", "shown"), ("new_name", "old_name")] {
            let name = named(shown);
            let call = format!(r#""name":"{name}","arguments":{{}}"#);
            let answer = client.ask("tools/call", Some(&name), &call);
            assert_eq!(
                answer["result"]["content"][0]["text"],
                format!("u:{original}"),
                "{what}: {answer}"
            );
        }
        assert_eq!(reached(&server), ["shown", "old_name"], "{what}");
    }
}

#[test]
fn no_way_of_writing_its_name_reaches_a_hidden_tool() {
    for prefix in ["u", ""] {
        let server = server(Era::Modern);
        let keys = format!("prefix = \"{prefix}\"{KEYS}");
        let gateway =
            crate::support::Gateway::start(&config(&upstream("u", &keys, &[url(&server.url)])));
        let shown = if prefix.is_empty() { "shown" } else { "u__shown" };
        crate::support::listed(&gateway, shown);
        let session = Http::legacy_session(&gateway.url(), "2025-11-25");
        for name in [
            "shut_out",
            "u__shut_out",
            "u__u__shut_out",
            "__shut_out",
            "U__shut_out",
            "Shut_out",
            "SHUT_OUT",
            " shut_out",
            "shut_out ",
            "shut_out\\u0000",
            "shut\\u005fout",
            "u__shut\\u005fout",
            "shut_out/",
            "./shut_out",
        ] {
            let params = format!(r#"{{"name":"{name}","arguments":{{}}}}"#);
            let reply = Http::legacy(&gateway.url(), &session, "1", "tools/call", &params);
            assert!(reply.answer()["error"].is_object(), "{name}: {reply:?}");
            // A modern client whose header says the one and whose body says the other.
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{name}",{MODERN_META}}}}}"#
            );
            let headers = [
                ("MCP-Protocol-Version", "2026-07-28"),
                ("Mcp-Method", "tools/call"),
                ("Mcp-Name", shown),
            ];
            let reply = Http::post(&gateway.url(), &headers, &body);
            assert!(reply.answer()["error"].is_object(), "{name}: {reply:?}");
        }
        assert_eq!(reached(&server), NOTHING, "{prefix:?}");
    }
}

#[test]
fn a_task_of_a_legacy_client_cannot_be_made_of_a_hidden_tool_nor_asked_about() {
    let server = server(Era::Legacy);
    let gateway =
        crate::support::Gateway::start(&config(&upstream("u", KEYS, &[url(&server.url)])));
    crate::support::listed(&gateway, "u__shown");
    let session = Http::legacy_session(&gateway.url(), "2025-11-25");
    let ask = |method: &str, params: &str| {
        Http::legacy(&gateway.url(), &session, "1", method, params).answer()
    };
    let made = ask("tools/call", r#"{"name":"u__shut_out","arguments":{},"task":{}}"#);
    assert_eq!(made["error"]["code"], -31006, "{made}");
    for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
        let answer = ask(method, r#"{"taskId":"1"}"#);
        assert_eq!(answer["error"]["code"], -32602, "{method}: {answer}");
    }
    assert_eq!(ask("tasks/list", "{}")["result"]["tasks"], serde_json::json!([]));
    let asked: Vec<Value> = server.seen().into_iter().map(|seen| seen.body).collect();
    assert!(!asked.iter().any(|body| body.to_string().contains("tasks/")), "{asked:?}");
}
