//! Tools across the eras: what a client of one era finds when its upstream speaks the other.

use serde_json::{Value, json};

use crate::support::upstream::{Upstream, gateway_to, pipe_to};
use crate::support::{Gateway, Http};

fn legacy_tool(gateway: &Gateway, session: &str, name: &str) -> Option<Value> {
    let list = Http::legacy(&gateway.url(), session, "1", "tools/list", "{}").answer();
    list["result"]["tools"].as_array().unwrap().iter().find(|tool| tool["name"] == name).cloned()
}

fn modern_tool(gateway: &Gateway, name: &str) -> Option<Value> {
    let list = Http::modern(&gateway.url(), "1", "tools/list", None, "").answer();
    list["result"]["tools"].as_array().unwrap().iter().find(|tool| tool["name"] == name).cloned()
}

#[test]
fn a_legacy_client_sees_no_modern_member_in_what_a_modern_upstream_answers() {
    for upstream in [
        Upstream::url(&["--era", "modern", "--quirk", "object-output"]),
        Upstream::pipe(&["--era", "modern", "--quirk", "object-output"]),
    ] {
        let gateway = gateway_to(&upstream);
        let url = gateway.url();
        let session = Http::legacy_session(&url, "2025-11-25");
        let list = Http::legacy(&url, &session, "1", "tools/list", "{}").answer();
        let call = Http::legacy_call(&url, &session, "u__whoami", "{}").answer();
        for answer in [list, call] {
            for member in ["resultType", "ttlMs", "cacheScope"] {
                assert!(answer["result"].get(member).is_none(), "{member}: {answer}");
            }
        }
        // Structured content that is no object is modern; its JSON stands in a text instead.
        let tool = legacy_tool(&gateway, &session, "u__array_result").unwrap();
        assert!(tool.get("outputSchema").is_none(), "{tool}");
        let call = Http::legacy_call(&url, &session, "u__array_result", "{}").answer();
        assert!(call["result"].get("structuredContent").is_none(), "{call}");
        assert_eq!(call["result"]["content"], json!([{"type": "text", "text": "[1,2,3]"}]));
        let tool = modern_tool(&gateway, "u__array_result").unwrap();
        assert_eq!(tool["outputSchema"]["type"], "array");
        let call = Http::modern_call(&url, "u__array_result", "{}").answer();
        assert_eq!(call["result"]["structuredContent"], json!([1, 2, 3]));
    }
}

#[test]
fn what_a_legacy_client_said_once_is_in_each_modern_request() {
    let upstream = Upstream::url(&["--era", "modern"]);
    let gateway = gateway_to(&upstream);
    let url = gateway.url();
    let hello = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{"roots":{"listChanged":true},"x.example":{"n":1e2}},"clientInfo":{"name":"c","version":"9"}}}"#;
    let session = Http::post(&url, &[], hello).header("mcp-session-id").unwrap().to_owned();
    let level = |level: &str| {
        let params = format!(r#"{{"level":{level}}}"#);
        Http::legacy(&url, &session, "7", "logging/setLevel", &params).verdict()
    };
    let meta = || {
        assert_eq!(Http::legacy_call(&url, &session, "u__whoami", "{}").verdict(), (200, 0));
        upstream.of("tools/call").last().unwrap().json()["params"]["_meta"].clone()
    };
    let before = meta();
    assert_eq!(
        before,
        json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {"roots": {"listChanged": true}, "x.example": {"n": 1e2}},
            "io.modelcontextprotocol/clientInfo": {"name": "c", "version": "9"},
        })
    );
    assert_eq!(level("\"warning\""), (200, 0));
    assert_eq!(meta()["io.modelcontextprotocol/logLevel"], "warning");
    for bad in ["\"loud\"", "3", "null"] {
        assert_eq!(level(bad), (200, -32602), "{bad}");
    }
    assert_eq!(meta()["io.modelcontextprotocol/logLevel"], "warning");
    // Of this session alone.
    let other = Http::legacy_session(&url, "2025-06-18");
    Http::legacy_call(&url, &other, "u__whoami", "{}");
    let last = upstream.of("tools/call").last().unwrap().json();
    assert!(last["params"]["_meta"].get("io.modelcontextprotocol/logLevel").is_none(), "{last}");
    assert_eq!(last["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"], json!({}));
    let got = upstream.of("tools/call");
    assert!(got.iter().all(|got| got.header("mcp-session-id").is_empty()));
}

#[test]
fn a_modern_client_finds_what_its_era_requires_in_every_answer_of_a_legacy_upstream() {
    for upstream in [Upstream::url(&["--era", "legacy"]), Upstream::pipe(&["--era", "legacy"])] {
        let gateway = gateway_to(&upstream);
        let url = gateway.url();
        let mut pipe = pipe_to(&upstream);
        let list = Http::modern(&url, "1", "tools/list", None, "").answer();
        assert_eq!(list["result"]["resultType"], "complete");
        assert!(list["result"]["ttlMs"].is_u64(), "{list}");
        assert!(["public", "private"].contains(&list["result"]["cacheScope"].as_str().unwrap()));
        for (tool, arguments) in [
            ("u__whoami", "{}"),
            ("u__echo_args", r#"{"a":1}"#),
            ("u__fail", r#"{"how":"is_error"}"#),
            ("u__add", r#"{"a":1}"#),
        ] {
            let reply = Http::modern_call(&url, tool, arguments);
            assert_eq!(reply.answer()["result"]["resultType"], "complete", "{tool}: {reply:?}");
            let (_, body) = Http::modern_parts(
                "3",
                "tools/call",
                None,
                &format!(r#""name":"{tool}","arguments":{arguments}"#),
            );
            assert_eq!(pipe.ask(&body)["result"]["resultType"], "complete", "{tool}");
        }
        // No claim reaches a server that cannot read it.
        for call in upstream.of("tools/call") {
            assert!(!call.body.contains("io.modelcontextprotocol/"), "{call:?}");
            assert!(call.header("mcp-method").is_empty(), "{call:?}");
        }
    }
}

#[test]
fn a_result_type_is_added_where_a_modern_upstream_forgot_it_and_on_streams() {
    let upstream = Upstream::url(&["--era", "modern", "--quirk", "no-result-type"]);
    let gateway = gateway_to(&upstream);
    let reply = Http::modern_call(&gateway.url(), "u__whoami", "{}");
    assert_eq!(reply.answer()["result"]["resultType"], "complete");
    let upstream = Upstream::pipe(&["--era", "legacy"]);
    let gateway = gateway_to(&upstream);
    let (headers, body) = Http::modern_parts(
        "1",
        "tools/call",
        Some("u__progress"),
        r#""name":"u__progress","arguments":{"steps":2}"#,
    );
    let body = body.replacen("\"_meta\":{", "\"_meta\":{\"progressToken\":1,", 1);
    let reply = Http::post(&gateway.url(), &headers, &body);
    assert_eq!(reply.header("content-type"), Some("text/event-stream"));
    assert_eq!(reply.answer()["result"]["resultType"], "complete");
}

#[test]
fn an_annotation_of_a_legacy_upstream_binds_nobody_to_headers() {
    let upstream = Upstream::url(&["--era", "legacy", "--quirk", "x-mcp-header"]);
    let gateway = gateway_to(&upstream);
    let tool = modern_tool(&gateway, "u__headers_ok").unwrap();
    assert!(!tool.to_string().contains("x-mcp-header"), "{tool}");
    assert_eq!(tool["inputSchema"]["properties"]["region"]["type"], "string");
    let reply = Http::modern_call(&gateway.url(), "u__headers_ok", r#"{"region":"eu"}"#);
    assert_eq!(reply.verdict(), (200, 0));
}
