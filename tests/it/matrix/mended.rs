//! What is changed on the way between the eras, and what never is.

use serde_json::{Value, json};

use crate::support::caller::tool;
use crate::support::toml::{demo, upstream, url};
use crate::support::{Caller, Demo, Era, Fake, Http, Over};

/// Arguments that any parser with a value type would change.
const ODD: &str = r#"{"n":12345678901234567890123,"e":1e2,"z":-0.0,"u":"\u00e9\ud83d\ude00é","d":{"k":1,"k":2},  "s":"a\/b"}"#;

/// A gateway with one demo server behind it, and a client before it.
struct Cell {
    client: Caller,
    client_era: Era,
    demo: Option<Demo>,
    record: tempfile::TempDir,
}

impl Cell {
    fn new(client: (Era, Over), server: (Era, Over), quirks: &[&str]) -> Self {
        let era = if server.0 == Era::Legacy { "legacy" } else { "modern" };
        let mut args = vec!["--era", era, "--name", "u"];
        args.extend(quirks.iter().flat_map(|quirk| ["--quirk", *quirk]));
        let record = tempfile::tempdir().unwrap();
        let path = record.path().join("record.jsonl");
        let (replica, demo) = match server.1 {
            Over::Stdio => {
                args.extend(["--record", path.to_str().unwrap()]);
                (demo(&args), None)
            }
            Over::Http => {
                let demo = Demo::start(&args);
                (url(&demo.url), Some(demo))
            }
        };
        let client_ = Caller::start(client.0, client.1, &upstream("u", "", &[replica]));
        Self { client: client_, client_era: client.0, demo, record }
    }

    /// Every message that the upstream got.
    fn received(&self) -> Vec<Value> {
        let (entries, key) = if let Some(demo) = &self.demo {
            (demo.received(), "body")
        } else {
            let path = self.record.path().join("record.jsonl");
            (crate::support::process::received(&path), "line")
        };
        let message = |entry: &Value| serde_json::from_str(entry[key].as_str()?).ok();
        entries.iter().filter_map(message).collect()
    }

    /// What a result must show and must not show in the client's era.
    fn check_result(&self, result: &Value) {
        match self.client_era {
            Era::Modern => assert_eq!(result["resultType"], "complete", "{result}"),
            Era::Legacy => {
                for key in ["resultType", "ttlMs", "cacheScope"] {
                    assert!(result.get(key).is_none(), "{key} in {result}");
                }
            }
        }
    }

    fn lists_what_the_era_needs(&mut self) {
        let list = self.client.list();
        self.check_result(&list);
        if self.client_era == Era::Modern {
            assert!(list["ttlMs"].as_u64().is_some(), "{list}");
            assert!(["private", "public"].contains(&list["cacheScope"].as_str().unwrap()));
        }
        let whoami = tool(&list, "u__whoami").unwrap();
        assert_eq!(whoami["inputSchema"]["type"], "object");
        assert_eq!(whoami["outputSchema"]["properties"]["pid"]["type"], "integer");
        assert_eq!(whoami["annotations"]["readOnlyHint"], true);
        assert_eq!(
            list["tools"].as_array().unwrap().iter().filter(|tool| is_of_u(tool)).count(),
            8,
            "{list}"
        );
    }

    fn calls(&mut self) {
        let who = self.client.call("u__whoami", "{}");
        self.check_result(&who["result"]);
        assert_eq!(who["id"], "q");
        assert_eq!(who["result"]["structuredContent"]["name"], "u");
        let sum = self.client.call("u__add", r#"{"a":2,"b":40}"#);
        assert_eq!(sum["result"]["structuredContent"], json!({"sum": 42}));
        assert_eq!(sum["result"]["content"][0]["text"], "42");
        let echo = self.client.call("u__echo_args", ODD);
        assert_eq!(echo["result"]["content"][0]["text"], ODD, "byte for byte");
    }
}

fn line(header: &Value) -> String {
    let text = header.as_str().unwrap();
    let (name, value) = text.split_once(':').unwrap();
    format!("{}:{value}", name.to_ascii_lowercase())
}

fn is_of_u(tool: &Value) -> bool {
    tool["name"].as_str().unwrap().starts_with("u__")
}

fn each_client(check: impl Fn((Era, Over))) {
    for era in [Era::Legacy, Era::Modern] {
        for over in [Over::Stdio, Over::Http] {
            check((era, over));
        }
    }
}

#[test]
fn a_result_without_a_type_is_completed_for_modern_clients_only() {
    each_client(|client| {
        for over in [Over::Stdio, Over::Http] {
            let mut cell = Cell::new(client, (Era::Modern, over), &["no-result-type"]);
            cell.lists_what_the_era_needs();
            cell.calls();
        }
    });
}

#[test]
fn structured_content_that_is_an_array_becomes_text_for_legacy_clients() {
    each_client(|client| {
        let mut cell = Cell::new(client, (Era::Modern, Over::Http), &["object-output"]);
        let list = cell.client.list();
        let schema = tool(&list, "u__array_result").unwrap().get("outputSchema").cloned();
        let called = cell.client.call("u__array_result", "{}");
        cell.check_result(&called["result"]);
        let result = &called["result"];
        match client.0 {
            Era::Modern => {
                assert_eq!(schema.unwrap()["type"], "array");
                assert_eq!(result["structuredContent"], json!([1, 2, 3]));
            }
            Era::Legacy => {
                assert_eq!(schema, None);
                assert!(result.get("structuredContent").is_none(), "{result}");
                assert_eq!(result["content"], json!([{"type": "text", "text": "[1,2,3]"}]));
            }
        }
    });
}

#[test]
fn mirrored_parameters_reach_a_modern_url_as_headers_and_bad_annotations_cost_their_tool_only() {
    each_client(|client| {
        let mut cell = Cell::new(client, (Era::Modern, Over::Http), &["x-mcp-header"]);
        let list = cell.client.list();
        for bad in ["u__headers_bad_number", "u__headers_bad_items", "u__headers_dup"] {
            assert!(tool(&list, bad).is_none(), "{bad} is listed");
        }
        assert!(tool(&list, "u__headers_ok").is_some());
        assert!(tool(&list, "u__whoami").is_some());
        if client == (Era::Modern, Over::Http) {
            return; // This client must send the headers itself: that is the front's business.
        }
        let arguments = r#"{"region":"eu ü","shard":42,"options":{"dry":true}}"#;
        let called = cell.client.call("u__headers_ok", arguments);
        let text = called["result"]["content"][0]["text"].as_str().unwrap();
        let seen: Value = serde_json::from_str(text).unwrap();
        assert_eq!(seen, serde_json::from_str::<Value>(arguments).unwrap());
        let calls = cell.demo.as_ref().unwrap().requests("tools/call");
        let headers: Vec<String> =
            calls[0]["headers"].as_array().unwrap().iter().map(line).collect();
        for wanted in ["mcp-param-shard: 42", "mcp-param-dry: true"] {
            assert!(headers.iter().any(|header| header == wanted), "{wanted} in {headers:?}");
        }
    });
}

#[test]
fn annotations_for_headers_are_taken_out_of_what_a_legacy_upstream_lists() {
    each_client(|client| {
        let mut cell = Cell::new(client, (Era::Legacy, Over::Stdio), &["x-mcp-header"]);
        let list = cell.client.list();
        assert!(tool(&list, "u__headers_ok").is_some());
        if client.0 == Era::Modern {
            assert!(!list.to_string().contains("x-mcp-header"), "{list}");
        }
        let called = cell.client.call("u__headers_ok", r#"{"region":"eu"}"#);
        assert_eq!(called["result"]["content"][0]["text"], r#"{"region":"eu"}"#);
    });
}

#[test]
fn the_task_support_of_a_legacy_tool_is_not_shown_to_modern_clients() {
    let tools = json!([{
        "name": "slow", "inputSchema": {"type": "object"},
        "execution": {"taskSupport": "optional"},
    }]);
    let called = json!({"content": [{"type": "text", "text": "done"}]});
    each_client(|client| {
        let fake = Fake::legacy(tools.clone(), called.clone());
        let config = upstream("u", "", &[url(&fake.url)]);
        let mut client_ = Caller::start(client.0, client.1, &config);
        let list = client_.list();
        let slow = tool(&list, "u__slow").unwrap();
        if client.0 == Era::Modern {
            assert!(slow.get("execution").is_none(), "{slow}");
        }
        assert_eq!(client_.call("u__slow", "{}")["result"]["content"][0]["text"], "done");
    });
}

#[test]
fn what_a_legacy_client_declares_once_a_modern_upstream_hears_in_each_call() {
    let mut cell = Cell::new((Era::Legacy, Over::Http), (Era::Modern, Over::Stdio), &[]);
    cell.client.call("u__whoami", "{}");
    let received = cell.received();
    let call = received.iter().find(|message| message["method"] == "tools/call").unwrap();
    let meta = &call["params"]["_meta"];
    assert_eq!(meta["io.modelcontextprotocol/clientCapabilities"], json!({}));
    assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "raw");
}

#[test]
fn modern_keys_of_a_client_never_reach_a_legacy_upstream() {
    let mut cell = Cell::new((Era::Modern, Over::Stdio), (Era::Legacy, Over::Stdio), &[]);
    cell.client.call("u__whoami", "{}");
    let received = cell.received();
    let call = received.iter().find(|message| message["method"] == "tools/call").unwrap();
    assert!(!call.to_string().contains("io.modelcontextprotocol/"), "{call}");
}

#[test]
fn nothing_of_a_clients_own_headers_reaches_an_upstream() {
    let demo = Demo::start(&["--era", "modern"]);
    let config = upstream("u", "", &[url(&demo.url)]);
    let gateway = crate::support::Gateway::start(&config);
    crate::support::replicas_up(&gateway, "u", 1);
    let session = Http::legacy_session(&gateway.url(), "2025-06-18");
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"u__whoami","arguments":{}}}"#;
    let more = [
        ("Mcp-Session-Id", session.as_str()),
        ("MCP-Protocol-Version", "2025-06-18"),
        ("Authorization", "Bearer of-the-client"),
        ("Cookie", "of=the-client"),
        ("X-Forwarded-For", "10.9.8.7"),
    ];
    assert!(Http::post(&gateway.url(), &more, body).answer()["result"].is_object());
    let seen = demo.requests("tools/call")[0].to_string();
    for secret in ["of-the-client", "of=the-client", "10.9.8.7", session.as_str(), "2025-06-18"] {
        assert!(!seen.contains(secret), "{secret} in {seen}");
    }
}
