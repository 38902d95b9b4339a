//! How known clients begin. Nothing here was recorded: the bytes are rebuilt from descriptions of
//! what those clients send, so they show the shape of a greeting, not every detail of a release.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::client::initialize;
use crate::support::process::WAYPOST;
use crate::support::upstream::{Upstream, config, gateway, gateway_to};
use crate::support::{Gateway, Http, StdioClient};

const CLAIM: &str = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"elicitation":{"form":{},"url":{}}},"io.modelcontextprotocol/clientInfo":{"name":"claude-code","version":"2.1.317"}"#;

#[test]
fn the_oldest_line_piped_in_gets_one_line_back_and_a_clean_end() {
    use std::io::Write as _;
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(WAYPOST)
        .arg("stdio")
        .current_dir(folder.path())
        .env("XDG_CACHE_HOME", folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let line = br#"{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "test", "version": "1.0"}}}"#;
    child.stdin.take().unwrap().write_all(&[line, &b"\n"[..]].concat()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!((output.status.code(), text.lines().count()), (Some(0), 1), "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&answer["id"], &answer["result"]["protocolVersion"]),
        (&json!(1), &json!("2024-11-05"))
    );
    assert_eq!(answer["result"]["serverInfo"]["name"], "waypost");
}

#[test]
fn codex_greets_over_the_pipe_and_its_metadata_travels_with_the_call() {
    let upstream = Upstream::pipe(&["--era", "legacy"]);
    let mut pipe = StdioClient::start(&config(&upstream.replica("u")));
    let hello = pipe.ask(
        r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{"elicitation":{}},"clientInfo":{"name":"codex-mcp-client","title":"Codex","version":"0.130.0"}}}"#,
    );
    assert_eq!(hello["result"]["protocolVersion"], "2025-06-18");
    pipe.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    let tools = pipe.ask(
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"progressToken":0}}}"#,
    );
    assert!(tools["result"].get("ttlMs").is_none(), "{tools}");
    let turn = r#""x-codex-turn-metadata":{"turn_id":"t","n":12345678901234567890123}"#;
    let call = pipe.ask(&format!(
        r#"{{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{{"_meta":{{"progressToken":1,{turn}}},"name":"u__add","arguments":{{"a":1,"b":2}}}}}}"#
    ));
    assert_eq!(call["result"]["structuredContent"], json!({"sum": 3}));
    let got = upstream.only_call();
    assert!(got.body.contains(turn), "{got:?}");
}

#[test]
fn claude_code_greets_over_http_and_hears_of_its_progress() {
    let upstream = Upstream::url(&[]);
    let gateway = gateway_to(&upstream);
    let hello = Http::post(
        &gateway.url(),
        &[],
        r#"{"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"roots":{},"elicitation":{"form":{},"url":{}}},"clientInfo":{"name":"claude-code","title":"Claude Code","version":"2.1.258","websiteUrl":"https://claude.com/claude-code"}},"jsonrpc":"2.0","id":0}"#,
    );
    assert_eq!(hello.answer()["result"]["protocolVersion"], "2025-11-25");
    let session = hello.header("mcp-session-id").unwrap().to_owned();
    let headers = [("mcp-session-id", session.as_str()), ("mcp-protocol-version", "2025-11-25")];
    let note = r#"{"method":"notifications/initialized","jsonrpc":"2.0"}"#;
    assert_eq!(Http::post(&gateway.url(), &headers, note).verdict(), (202, 0));
    let call = r#"{"method":"tools/call","params":{"name":"u__progress","arguments":{"steps":2},"_meta":{"claudecode/toolUseId":"toolu_01A","progressToken":3}},"jsonrpc":"2.0","id":3}"#;
    let reply = Http::post(&gateway.url(), &headers, call);
    let messages = reply.messages();
    assert_eq!(messages.len(), 3, "{reply:?}");
    assert_eq!(messages[0]["params"]["progressToken"], 3);
    assert_eq!(messages[2]["id"], 3);
    let got = upstream.only_call().json();
    let meta = &got["params"]["_meta"];
    assert_eq!(meta["claudecode/toolUseId"], "toolu_01A");
    // What it said once travels with each call to a modern upstream.
    assert_eq!(
        meta["io.modelcontextprotocol/clientCapabilities"],
        json!({"roots": {}, "elicitation": {"form": {}, "url": {}}})
    );
    assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "claude-code");
}

fn discover(version: &str) -> String {
    let claim = CLAIM.replace("2026-07-28", version);
    format!(
        r#"{{"jsonrpc":"2.0","id":"discover-1","method":"server/discover","params":{{"_meta":{{{claim}}}}}}}"#
    )
}

#[test]
fn claude_code_discovers_first_and_goes_on_modern() {
    let upstream = Upstream::url(&[]);
    let gateway = gateway_to(&upstream);
    let mut pipe = StdioClient::start(&config(&upstream.replica("u")));
    let head = [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "server/discover")];
    let reply = Http::post(&gateway.url(), &head, &discover("2026-07-28"));
    assert_eq!((reply.verdict(), reply.header("mcp-session-id")), ((200, 0), None));
    for answer in [reply.answer(), pipe.ask(&discover("2026-07-28"))] {
        let result = &answer["result"];
        assert_eq!(result["supportedVersions"], json!(["2026-07-28"]));
        assert_eq!(result["resultType"], "complete");
        assert!(result["capabilities"]["tools"].is_object(), "{answer}");
        assert!(result["ttlMs"].is_u64() && result["cacheScope"].is_string(), "{answer}");
        assert_eq!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "waypost");
    }
    let call = format!(
        r#"{{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{{"name":"u__whoami","arguments":{{}},"_meta":{{{CLAIM},"claudecode/toolUseId":"toolu_01A","progressToken":2}}}}}}"#
    );
    let head = [head[0], ("Mcp-Method", "tools/call"), ("Mcp-Name", "u__whoami")];
    for answer in [Http::post(&gateway.url(), &head, &call).answer(), pipe.ask(&call)] {
        assert_eq!(
            (&answer["id"], &answer["result"]["resultType"]),
            (&json!(2), &json!("complete"))
        );
    }
}

#[test]
fn a_client_whose_revision_is_unknown_here_can_fall_back_to_a_handshake() {
    let gateway = gateway("");
    let mut pipe = StdioClient::start(&config(""));
    let head = [("MCP-Protocol-Version", "2027-01-15"), ("Mcp-Method", "server/discover")];
    let reply = Http::post(&gateway.url(), &head, &discover("2027-01-15"));
    assert_eq!(reply.verdict(), (400, -32022));
    for answer in [reply.answer(), pipe.ask(&discover("2027-01-15"))] {
        assert_eq!(answer["id"], "discover-1");
        let data = json!({"supported": ["2026-07-28"], "requested": "2027-01-15"});
        assert_eq!((&answer["error"]["code"], &answer["error"]["data"]), (&json!(-32022), &data));
    }
    let session = Http::legacy_session(&gateway.url(), "2025-11-25");
    assert_eq!(Http::legacy(&gateway.url(), &session, "1", "ping", "{}").verdict(), (200, 0));
    assert_eq!(pipe.handshake("2025-11-25")["result"]["protocolVersion"], "2025-11-25");
}

#[test]
fn copilot_discovers_and_then_shakes_hands_on_one_pipe() {
    let upstream = Upstream::pipe(&[]);
    let mut pipe = StdioClient::start(&config(&upstream.replica("u")));
    assert_eq!(pipe.ask(&discover("2026-07-28"))["result"]["resultType"], "complete");
    let hello = pipe.handshake("2025-11-25");
    assert_eq!(hello["result"]["protocolVersion"], "2025-11-25");
    assert!(hello["result"].get("resultType").is_none(), "{hello}");
    let tools = pipe.ask(r#"{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{}}"#);
    assert!(tools["result"]["tools"].as_array().unwrap().len() > 1);
    assert!(tools["result"].get("cacheScope").is_none(), "{tools}");
    let call = pipe.ask(r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"u__whoami","arguments":{}}}"#);
    assert!(call["result"].get("resultType").is_none() && call["result"]["content"].is_array());
}

#[test]
fn a_modern_client_with_wrong_headers_is_told_which_one() {
    let upstream = Upstream::url(&[]);
    let gateway = gateway_to(&upstream);
    let (mut headers, body) =
        Http::modern_parts("4", "tools/call", Some("u__append"), r#""name":"u__whoami""#);
    let reply = Http::post(&gateway.url(), &headers, &body);
    assert_eq!((reply.verdict(), &reply.answer()["id"]), ((400, -32020), &json!(4)));
    assert!(reply.body.contains("Mcp-Name"), "{reply:?}");
    headers[1] = ("Mcp-Method", "tools/list");
    let reply = Http::post(&gateway.url(), &headers, &body);
    assert_eq!((reply.verdict(), &reply.answer()["id"]), ((400, -32020), &json!(4)));
    assert!(reply.body.contains("Mcp-Method"), "{reply:?}");
    assert!(upstream.by_clients().is_empty());
}

#[test]
fn a_client_that_lists_prompts_and_resources_unasked_is_not_turned_away() {
    let gateway = gateway("");
    let mut pipe = StdioClient::start(&config(""));
    pipe.handshake("2025-06-18");
    let session = Http::legacy_session(&gateway.url(), "2025-06-18");
    for (method, member) in [
        ("prompts/list", "prompts"),
        ("resources/list", "resources"),
        ("resources/templates/list", "resourceTemplates"),
    ] {
        let legacy = Http::legacy(&gateway.url(), &session, "1", method, "{}").answer();
        let piped = pipe.ask(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#));
        for answer in [legacy, piped] {
            assert_eq!(answer["result"], json!({member: []}), "{method}");
        }
        let modern = Http::modern(&gateway.url(), "1", method, None, "").answer();
        let result = &modern["result"];
        assert_eq!((&result[member], &result["resultType"]), (&json!([]), &json!("complete")));
        assert!(result["ttlMs"].is_u64() && result["cacheScope"].is_string(), "{modern}");
    }
}

// === versions ===

/// What each wish is answered with.
const VERSIONS: [(&str, &str); 7] = [
    ("2024-11-05", "2024-11-05"),
    ("2025-03-26", "2025-03-26"),
    ("2025-06-18", "2025-06-18"),
    ("2025-11-25", "2025-11-25"),
    ("2099-01-01", "2025-11-25"),
    ("2026-07-28", "2025-11-25"),
    ("draft", "2025-11-25"),
];

fn list(gateway: &Gateway, session: &str, more: &[(&str, &str)]) -> (u16, i64) {
    let headers = [&[("Mcp-Session-Id", session)], more].concat();
    Http::post(&gateway.url(), &headers, r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#)
        .verdict()
}

#[test]
fn a_legacy_handshake_settles_on_a_version_that_both_know_and_its_header_is_checked() {
    let gateway = gateway("");
    for (asked, agreed) in VERSIONS {
        let hello = Http::post(&gateway.url(), &[], &initialize(asked));
        assert_eq!(hello.verdict(), (200, 0), "{asked}");
        assert_eq!(hello.answer()["result"]["protocolVersion"], agreed, "{asked}");
        let session = hello.header("mcp-session-id").unwrap();
        let mut pipe = StdioClient::start(&config(""));
        assert_eq!(pipe.handshake(asked)["result"]["protocolVersion"], agreed, "{asked}");
        assert_eq!(list(&gateway, session, &[]), (200, 0), "{asked}: no header");
        let with = |version| list(&gateway, session, &[("MCP-Protocol-Version", version)]);
        assert_eq!(with(agreed), (200, 0), "{asked}");
        assert_eq!(with("1999-01-01"), (400, -32600), "{asked}");
        assert_eq!(with(""), (400, -32600), "{asked}");
        assert_eq!(with("2026-07-28"), (400, -32602), "{asked}: a modern header and no claim");
    }
}

#[test]
fn a_client_that_never_says_it_is_initialized_is_served() {
    let gateway = gateway("");
    let hello = Http::post(&gateway.url(), &[], &initialize("2025-11-25"));
    assert_eq!(list(&gateway, hello.header("mcp-session-id").unwrap(), &[]), (200, 0));
}
