//! Parameters that are mirrored into headers (2026-07-28, basic/transports/streamable-http, "Custom
//! Headers from Tool Parameters"): what is the same, what is not, which tools are left out, and what
//! happens when a schema changes under a call.

use serde_json::{Value, json};

use crate::support::peer::{Turn, no_method, result, text, tools};
use crate::support::session::call;
use crate::support::upstream::config;
use crate::support::{
    Caller, Era, Gateway, Http, MODERN_META, Over, Peer, Reply, eventually, listed,
};

/// A list of tools with these input schemas.
fn schemas(all: &[(&str, Value)]) -> Value {
    let tool = |(name, schema): &(&str, Value)| json!({"name": name, "inputSchema": schema});
    let tools: Vec<Value> = all.iter().map(tool).collect();
    result(&json!({
        "tools": tools, "resultType": "complete", "ttlMs": 0, "cacheScope": "private",
    }))
}

fn object(properties: &Value) -> Value {
    json!({"type": "object", "properties": properties})
}

fn server(lists: impl Fn(&Turn<'_>) -> Value + Send + Sync + 'static) -> Peer {
    Peer::start(Era::Modern, Over::Http, move |turn| match turn.method() {
        "tools/list" => lists(turn),
        "tools/call" => text(turn.name()),
        _ => no_method(),
    })
}

/// A modern call over HTTP with headers of the test's own.
fn modern(gateway: &Gateway, tool: &str, arguments: &str, more: &[(&str, &str)]) -> Reply {
    let mut headers = vec![
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", "tools/call"),
        ("Mcp-Name", tool),
    ];
    headers.extend_from_slice(more);
    let body = call("7", tool, &format!(r#""arguments":{arguments},{MODERN_META}"#));
    Http::post(&gateway.url(), &headers, &body)
}

// === what is the same ===

/// Names and values of headers.
type Lines = &'static [(&'static str, &'static str)];

const N: &str = "Mcp-Param-N";
const S: &str = "Mcp-Param-S";
const B: &str = "Mcp-Param-B";
const DEEP: &str = "Mcp-Param-Deep";

fn annotated(_: &Turn<'_>) -> Value {
    let deep = json!({"type": "string", "x-mcp-header": "Deep"});
    schemas(&[(
        "t",
        object(&json!({
            "n": {"type": "integer", "x-mcp-header": "N"},
            "s": {"type": "string", "x-mcp-header": "S"},
            "b": {"type": "boolean", "x-mcp-header": "B"},
            "o": {"type": "object", "properties": {"p": {"type": "object", "properties": {"deep": deep}}}},
            "free": {"type": "string"},
        })),
    )])
}

#[test]
fn a_header_that_says_what_the_body_says_passes_and_is_made_anew_for_the_server() {
    let peer = server(annotated);
    let gateway = peer.gateway("");
    listed(&gateway, "u__t");
    let rows: &[(&str, Lines, Lines)] = &[
        (r#"{"n":42}"#, &[(N, "42")], &[(N, "42")]),
        (r#"{"n":42}"#, &[(N, "42.0")], &[(N, "42")]),
        (r#"{"n":42.0}"#, &[(N, "42")], &[(N, "42")]),
        (r#"{"n":1e2}"#, &[(N, "100")], &[(N, "100")]),
        (r#"{"n":-7}"#, &[(N, "-7.00")], &[(N, "-7")]),
        (r#"{"n":9007199254740993}"#, &[(N, "9007199254740993")], &[(N, "9007199254740993")]),
        (r#"{"b":true}"#, &[(B, "true")], &[(B, "true")]),
        (r#"{"b":false}"#, &[("mcp-PARAM-b", "false")], &[(B, "false")]),
        (r#"{"s":"a, b"}"#, &[(S, "  a, b ")], &[(S, "a, b")]),
        (r#"{"s":" a"}"#, &[(S, "=?base64?IGE=?=")], &[(S, "=?base64?IGE=?=")]),
        (r#"{"s":"\u00e9"}"#, &[(S, "=?base64?w6k=?=")], &[(S, "=?base64?w6k=?=")]),
        (r#"{"s":"a"}"#, &[(S, "=?base64?YQ==?=")], &[(S, "a")]),
        (r#"{"o":{"p":{"deep":"d"}}}"#, &[(DEEP, "d")], &[(DEEP, "d")]),
        // Absent is absent, at every depth.
        (r#"{"n":null,"o":{"p":{"deep":null}}}"#, &[], &[]),
        (r#"{"o":{"p":{}},"s":null}"#, &[], &[]),
        ("{}", &[], &[]),
        // A parameter that no annotation names may stand in a header, or not.
        (r#"{"free":"x"}"#, &[("Mcp-Param-Free", "y")], &[]),
        (r#"{"free":"x","deep":"y"}"#, &[], &[]),
        (
            r#"{"n":1,"s":"x","b":true}"#,
            &[(B, "true"), (N, "1"), (S, "x")],
            &[(N, "1"), (S, "x"), (B, "true")],
        ),
    ];
    for (place, (arguments, headers, wanted)) in rows.iter().enumerate() {
        let reply = modern(&gateway, "u__t", arguments, headers);
        assert_eq!(reply.verdict(), (200, 0), "{arguments} {headers:?}: {reply:?}");
        let got = peer.called("t", place + 1).pop().unwrap();
        let mirrored = got.headers.iter().filter(|line| line.starts_with("mcp-param-")).count();
        assert_eq!(mirrored, wanted.len(), "{arguments}: {:?}", got.headers);
        for (name, value) in *wanted {
            let found = got.header(&name.to_ascii_lowercase());
            assert_eq!(found, Some(*value), "{arguments}: {:?}", got.headers);
        }
    }
}

#[test]
fn a_header_that_says_something_else_is_refused_and_the_server_sees_nothing() {
    let peer = server(annotated);
    let gateway = peer.gateway("");
    listed(&gateway, "u__t");
    let rows: &[(&str, &[(&str, &str)])] = &[
        (r#"{"n":42}"#, &[(N, "42.5")]),
        (r#"{"n":42}"#, &[(N, "4 2")]),
        (r#"{"n":42}"#, &[(N, "0x2a")]),
        (r#"{"n":42}"#, &[(N, "\"42\"")]),
        (r#"{"n":42}"#, &[(N, "")]),
        (r#"{"n":9007199254740993}"#, &[(N, "9007199254740992")]),
        (r#"{"n":9007199254740993}"#, &[(N, "9007199254740993.5")]),
        (r#"{"b":true}"#, &[(B, "false")]),
        (r#"{"b":true}"#, &[(B, "TRUE")]),
        (r#"{"b":true}"#, &[(B, "1")]),
        (r#"{"b":null}"#, &[(B, "false")]),
        (r#"{"s":"a"}"#, &[(S, "A")]),
        (r#"{"s":"a"}"#, &[(S, "\"a\"")]),
        (r#"{"s":"a"}"#, &[(S, "=?Base64?YQ==?=")]),
        (r#"{"s":"=?base64?YQ==?="}"#, &[(S, "=?base64?YQ==?=")]),
        (r#"{"s":"true"}"#, &[]),
        (r#"{"o":{"p":{"deep":"d"}}}"#, &[]),
        (r#"{"o":{"p":{"deep":"d"}}}"#, &[(DEEP, "e")]),
        (r#"{"o":{"p":{"deep":null}}}"#, &[(DEEP, "null")]),
        (r#"{"o":null}"#, &[(DEEP, "d")]),
        (r#"{"o":"d"}"#, &[(DEEP, "d")]),
        (r#"{"deep":"d"}"#, &[(DEEP, "d")]),
    ];
    for (arguments, headers) in rows {
        let reply = modern(&gateway, "u__t", arguments, headers);
        assert_eq!(reply.verdict(), (400, -32020), "{arguments} {headers:?}: {reply:?}");
        assert_eq!(reply.answer()["id"], 7);
    }
    assert!(peer.heard("tools/call").is_empty(), "{:?}", peer.heard("tools/call"));
}

// === which tools are left out ===

/// Annotations that a client over HTTP must not follow, by the names of their tools.
fn bad() -> Vec<(&'static str, Value)> {
    let of = |name: Value| json!({"type": "string", "x-mcp-header": name});
    let named = |name: &str| object(&json!({"a": of(json!(name))}));
    let under =
        |keyword: &str, schema: Value| object(&json!({"a": {"type": "object", keyword: schema}}));
    let ok = || of(json!("A"));
    let inner = || object(&json!({"b": ok()}));
    vec![
        ("twice", object(&json!({"a": of(json!("Region")), "b": of(json!("rEGION"))}))),
        (
            "twice_nested",
            object(&json!({"a": of(json!("X")), "o": object(&json!({"b": of(json!("x"))}))})),
        ),
        ("number", object(&json!({"a": {"type": "number", "x-mcp-header": "A"}}))),
        ("object", object(&json!({"a": {"type": "object", "x-mcp-header": "A"}}))),
        ("array", object(&json!({"a": {"type": "array", "x-mcp-header": "A"}}))),
        ("null", object(&json!({"a": {"type": "null", "x-mcp-header": "A"}}))),
        ("empty", named("")),
        ("line_break", named("A\r\nX-Evil: 1")),
        ("space", named("A B")),
        ("colon", named("A:")),
        ("umlaut", named("\u{c4}")),
        ("no_text", object(&json!({"a": of(json!(7))}))),
        ("items", object(&json!({"a": {"type": "array", "items": ok()}}))),
        ("prefix_items", object(&json!({"a": {"type": "array", "prefixItems": [ok()]}}))),
        ("one_of", under("oneOf", json!([inner()]))),
        ("any_of", under("anyOf", json!([inner()]))),
        ("all_of", under("allOf", json!([inner()]))),
        ("not", under("not", inner())),
        ("then", under("then", inner())),
        ("else", under("else", inner())),
        ("pattern", under("patternProperties", json!({"^x": ok()}))),
        ("additional", under("additionalProperties", ok())),
        (
            "by_reference",
            json!({"type": "object", "$defs": {"d": ok()}, "properties": {"a": {"$ref": "#/$defs/d"}}}),
        ),
    ]
}

/// Annotations that a client must follow, and what only looks like one.
fn good() -> Vec<(&'static str, Value)> {
    let of = |name: &str| json!({"type": "string", "x-mcp-header": name});
    vec![
        ("plain", object(&json!({"a": {"type": "string"}}))),
        ("one", object(&json!({"a": of("A")}))),
        ("odd_token", object(&json!({"a": of("a.b-c_d~e!#$%&'*+^`|9")}))),
        ("nested", object(&json!({"o": object(&json!({"b": of("B")}))}))),
        // A property of that name is a parameter, and an example is an example.
        ("so_named", object(&json!({"x-mcp-header": {"type": "number"}}))),
        ("example", object(&json!({"a": {"type": "object", "default": {"x-mcp-header": ""}}}))),
    ]
}

#[test]
fn a_tool_whose_annotation_is_invalid_is_left_out_with_a_warning_and_the_others_stay() {
    for over in [Over::Http, Over::Stdio] {
        let peer = Peer::start(Era::Modern, over, |turn| match turn.method() {
            "tools/list" => schemas(&[&good()[..1], &bad(), &good()[1..]].concat()),
            "tools/call" => text(turn.name()),
            _ => no_method(),
        });
        let gateway = peer.gateway("");
        listed(&gateway, "u__one");
        let names = Http::tools(&gateway.url());
        let of_u: Vec<&str> = names.iter().filter_map(|name| name.strip_prefix("u__")).collect();
        let wanted: Vec<&str> = good().iter().map(|(name, _)| *name).collect();
        assert_eq!(of_u, wanted, "{over:?}");
        let said = eventually("a warning", || {
            let said = gateway.stderr();
            said.contains("by_reference").then_some(said)
        });
        for (name, _) in bad() {
            let line = said.lines().find(|line| line.contains(&format!("`{name}`")));
            let line = line.unwrap_or_else(|| panic!("{over:?}: no word of {name}:\n{said}"));
            assert!(line.contains("WARN") && line.contains("x-mcp-header"), "{line}");
            let reply = Http::modern_call(&gateway.url(), &format!("u__{name}"), "{}");
            assert_eq!(reply.verdict(), (200, -32602), "{over:?} {name}: {reply:?}");
        }
        for (name, _) in good() {
            let reply = Http::modern_call(&gateway.url(), &format!("u__{name}"), "{}");
            assert_eq!(reply.verdict(), (200, 0), "{over:?} {name}: {reply:?}");
        }
        assert!(!said.contains("X-Evil: 1\n"), "a name cannot break the log:\n{said}");
    }
}

// === a schema that changes under a call ===

/// A server that mirrors nothing in its first list, and then wants `Mcp-Param-Region`. `stubborn`
/// refuses every call for its headers.
fn changing(stubborn: bool) -> Peer {
    Peer::start(Era::Modern, Over::Http, move |turn| match turn.method() {
        "tools/list" => {
            let region = json!({"type": "string", "x-mcp-header": "Region"});
            let now = if turn.was_said("changed") { region } else { json!({"type": "string"}) };
            schemas(&[("t", object(&json!({"region": now})))])
        }
        "tools/call" => {
            let mirrored = turn.headers.iter().any(|line| line == "mcp-param-region: eu");
            if mirrored && !stubborn {
                return text("ran");
            }
            json!({"error": {"code": -32020, "message": "Header mismatch: Mcp-Param-Region"}, "status": 400})
        }
        _ => no_method(),
    })
}

/// A client that has seen the first list, before the server changes its mind.
fn before_the_change(peer: &Peer, client: (Era, Over)) -> Caller {
    let mut caller = Caller::start(client.0, client.1, &config(&peer.tables("u", "")));
    assert!(caller.list().to_string().contains("u__t"));
    peer.say("changed");
    caller
}

fn runs_after_the_change(client: (Era, Over)) {
    let peer = changing(false);
    let mut caller = before_the_change(&peer, client);
    let lists = peer.heard("tools/list").len();
    let answer = caller.call("u__t", r#"{"region":"eu"}"#);
    assert_eq!(answer["result"]["content"][0]["text"], "ran", "{client:?}: {answer}");
    assert_eq!(peer.calls("t").len(), 2, "{client:?}: refused once, run once");
    assert_eq!(peer.heard("tools/list").len(), lists + 1, "{client:?}");
    // Everybody sees the new list, and the next call is right at once.
    assert!(caller.list().to_string().contains("x-mcp-header"), "{client:?}");
    if client != (Era::Modern, Over::Http) {
        let again = caller.call("u__t", r#"{"region":"eu"}"#);
        assert_eq!(again["result"]["content"][0]["text"], "ran", "{client:?}: {again}");
        assert_eq!(peer.calls("t").len(), 3, "{client:?}");
    }
}

#[test]
fn a_call_that_the_server_refuses_for_its_headers_is_made_again_after_a_new_list() {
    runs_after_the_change((Era::Legacy, Over::Http));
    runs_after_the_change((Era::Legacy, Over::Stdio));
    runs_after_the_change((Era::Modern, Over::Stdio));
}

#[test]
fn a_modern_client_over_http_who_could_not_know_of_the_change_succeeds_too() {
    runs_after_the_change((Era::Modern, Over::Http));
}

#[test]
fn a_second_refusal_is_an_error_of_the_gateway_and_never_a_mismatch_of_the_client() {
    for client in [Era::Legacy, Era::Modern] {
        for over in [Over::Http, Over::Stdio] {
            let peer = changing(true);
            let mut caller = Caller::start(client, over, &config(&peer.tables("u", "")));
            assert!(caller.list().to_string().contains("u__t"));
            let lists = peer.heard("tools/list").len();
            let answer = caller.call("u__t", r#"{"region":"eu"}"#);
            assert_eq!(answer["error"]["code"], -32603, "{client:?} {over:?}: {answer}");
            assert_eq!(answer["id"], "q");
            assert_eq!(peer.calls("t").len(), 2, "{client:?} {over:?}: once, and once again");
            assert_eq!(peer.heard("tools/list").len(), lists + 1, "{client:?} {over:?}");
        }
    }
}

#[test]
fn a_tool_that_is_gone_from_the_new_list_is_an_unknown_tool() {
    let peer = Peer::start(Era::Modern, Over::Http, |turn| match turn.method() {
        "tools/list" if turn.was_said("changed") => tools(&["other"]),
        "tools/list" => tools(&["t", "other"]),
        "tools/call" => {
            json!({"error": {"code": -32020, "message": "Header mismatch"}, "status": 400})
        }
        _ => no_method(),
    });
    let mut caller = before_the_change(&peer, (Era::Legacy, Over::Http));
    let answer = caller.call("u__t", "{}");
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    assert_eq!(peer.calls("t").len(), 1);
}
