//! The checks on the way in: which era a message belongs to, and which fault is told first
//! (2026-07-28, basic/versioning and basic/transports/streamable-http). What is refused reaches no
//! upstream.

use serde_json::{Value, json};

use crate::support::upstream::{Fake, Upstream, config, gateway, gateway_to};
use crate::support::{Gateway, Http, MODERN_META, Reply, StdioClient};

const VERSION: (&str, &str) = ("MCP-Protocol-Version", "2026-07-28");

type Headers<'a> = &'a [(&'a str, &'a str)];

/// A request with id 7 and these params.
fn request(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{{{params}}}}}"#)
}

/// The same with a modern claim.
fn claimed(method: &str, params: &str) -> String {
    let comma = if params.is_empty() { "" } else { "," };
    request(method, &format!("{params}{comma}{MODERN_META}"))
}

/// A modern call of a tool.
fn call(name: &str) -> String {
    claimed("tools/call", &format!(r#""name":"{name}","arguments":{{}}"#))
}

#[track_caller]
fn check(reply: &Reply, wanted: (u16, i64), row: &str) {
    assert_eq!(reply.verdict(), wanted, "{row}: {reply:?}");
    if wanted.1 != 0 {
        assert_eq!(reply.answer()["id"], 7, "{row}: {reply:?}");
    }
}

#[test]
fn every_row_of_the_classification_table_gets_its_status_and_code_and_the_upstream_sees_nothing() {
    let upstream = Upstream::url(&[]);
    let gateway = gateway_to(&upstream);
    let url = gateway.url();
    let hello = r#""protocolVersion":"2025-11-25","capabilities":{}"#;
    let no_capabilities = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;
    let future = claimed("tools/list", "").replace("2026-07-28", "2099-01-01");
    let note = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    let session = Http::legacy_session(&url, "2025-11-25");
    let session = ("Mcp-Session-Id", session.as_str());
    let legacy = ("MCP-Protocol-Version", "2025-11-25");
    let list = ("Mcp-Method", "tools/list");
    let rows: &[(&str, Headers<'_>, &str, (u16, i64))] = &[
        ("initialize", &[], &request("initialize", hello), (200, 0)),
        ("initialize, modern header", &[VERSION], &request("initialize", hello), (400, -32020)),
        (
            "initialize with a claim",
            &[VERSION, ("Mcp-Method", "initialize")],
            &claimed("initialize", hello),
            (404, -32601),
        ),
        ("a claim", &[VERSION, list], &claimed("tools/list", ""), (200, 0)),
        ("a claim in a session", &[VERSION, list, session], &claimed("tools/list", ""), (200, 0)),
        (
            "a malformed claim",
            &[VERSION, list],
            &request("tools/list", no_capabilities),
            (400, -32602),
        ),
        (
            "an unknown version",
            &[("MCP-Protocol-Version", "2099-01-01"), list],
            &future,
            (400, -32022),
        ),
        ("modern header, no claim", &[VERSION, list], &request("tools/list", ""), (400, -32602)),
        (
            "modern header, _meta",
            &[VERSION],
            &request("tools/list", r#""_meta":{}"#),
            (400, -32602),
        ),
        ("no claim, no header, no session", &[], &request("tools/list", ""), (400, -32600)),
        ("no claim, no header", &[session], &request("tools/list", ""), (200, 0)),
        ("no claim, legacy header", &[session, legacy], &request("tools/list", ""), (200, 0)),
        (
            "no claim, unknown header",
            &[session, ("MCP-Protocol-Version", "1999-01-01")],
            &request("tools/list", ""),
            (400, -32600),
        ),
        (
            "no claim, two headers",
            &[session, legacy, legacy],
            &request("tools/list", ""),
            (400, -32600),
        ),
        ("a modern note", &[VERSION], note, (202, 0)),
        ("a legacy note", &[session], note, (202, 0)),
        ("a posted response", &[session], r#"{"jsonrpc":"2.0","id":7,"result":{}}"#, (202, 0)),
    ];
    for (row, headers, body, wanted) in rows {
        check(&Http::post(&url, headers, body), *wanted, row);
    }
    assert!(upstream.by_clients().is_empty(), "{:?}", upstream.by_clients());
}

#[test]
fn what_is_no_message_is_refused_with_its_id_where_it_can_be_read() {
    let upstream = Upstream::url(&[]);
    let gateway = gateway_to(&upstream);
    let inner = call("u__whoami");
    let rows = [
        ("[]", (400, -32600), json!(null)),
        (&format!("[{inner}]"), (400, -32600), json!(null)),
        ("7", (400, -32600), json!(null)),
        ("{}", (400, -32600), json!(null)),
        ("", (400, -32700), json!(null)),
        ("{", (400, -32700), json!(null)),
        (&format!("{inner}{inner}"), (400, -32700), json!(7)),
        (&format!("\u{feff}{inner}"), (400, -32700), json!(null)),
        (r#"{"id":7,"method":"tools/call"}"#, (400, -32600), json!(7)),
        (r#"{"jsonrpc":"1.0","method":"tools/call","id":"x"}"#, (400, -32600), json!("x")),
        (r#"{"jsonrpc":"2.0","id":null,"method":"tools/list"}"#, (400, -32600), json!(null)),
        (r#"{"jsonrpc":"2.0","id":7,"method":5}"#, (400, -32600), json!(7)),
        (r#"{"jsonrpc":"2.0","id":7,"method":"tools/list","params":[]}"#, (400, -32600), json!(7)),
        (r#"{"jsonrpc":"2.0","id":7}"#, (400, -32600), json!(7)),
    ];
    for (body, wanted, id) in rows {
        let headers = [VERSION, ("Mcp-Method", "tools/call"), ("Mcp-Name", "u__whoami")];
        let reply = Http::post(&gateway.url(), &headers, body);
        assert_eq!((reply.verdict(), &reply.answer()["id"]), (wanted, &id), "{body}");
        // An id that cannot be read is left out; null is not what the schema allows.
        assert_eq!(reply.answer().get("id").is_some(), id != Value::Null, "{body}");
    }
    assert!(upstream.by_clients().is_empty(), "{:?}", upstream.by_clients());
}

#[test]
fn other_http_methods_are_for_legacy_clients_only() {
    let gateway = gateway("");
    let stream = ("Accept", "text/event-stream");
    let rows: &[(&str, Headers<'_>, u16)] = &[
        ("GET", &[stream, VERSION], 405),
        ("DELETE", &[VERSION], 405),
        ("PUT", &[], 405),
        ("PATCH", &[], 405),
        ("GET", &[("Accept", "application/json")], 406),
        ("GET", &[], 406),
        ("GET", &[stream], 400),
        ("DELETE", &[], 400),
        ("GET", &[stream, ("Mcp-Session-Id", "nobody")], 404),
        ("DELETE", &[("Mcp-Session-Id", "nobody")], 404),
    ];
    for (method, headers, status) in rows {
        let reply = Http::send(method, &gateway.url(), headers, "");
        assert_eq!(reply.status, *status, "{method} {headers:?}: {reply:?}");
        assert_eq!(reply.header("allow").is_some(), *status == 405, "{method} {headers:?}");
    }
}

#[test]
fn of_two_faults_the_first_rung_wins() {
    let upstream = Upstream::url(&[]);
    let gateway = gateway_to(&upstream);
    let future = |text: &str| text.replace("2026-07-28", "2099-01-01");
    let says = |version, method, name| {
        vec![("MCP-Protocol-Version", version), ("Mcp-Method", method), ("Mcp-Name", name)]
    };
    let (now, then) = ("2026-07-28", "2099-01-01");
    let no_params = claimed("tools/call", "");
    let rows = [
        (
            "no _meta, header mismatch",
            request("tools/call", ""),
            says(now, "x", "x"),
            (400, -32602),
        ),
        (
            "bad _meta, unknown version",
            future(&claimed("tools/list", ""))
                .replace(r#"Capabilities":{}"#, r#"Capabilities":[]"#),
            says(now, "tools/list", ""),
            (400, -32602),
        ),
        (
            "header mismatch, unknown version",
            future(&call("u__whoami")),
            says(now, "tools/call", "u__whoami"),
            (400, -32020),
        ),
        (
            "unknown version and method",
            future(&claimed("x", "")),
            says(then, "x", ""),
            (400, -32022),
        ),
        ("unknown method, wrong header", claimed("x/y", ""), says(now, "z", ""), (404, -32601)),
        ("no name, wrong header", no_params, says(now, "z", ""), (400, -32602)),
        ("wrong header, unknown tool", call("none"), says(now, "tools/call", "x"), (400, -32020)),
        ("only an unknown tool", call("none"), says(now, "tools/call", "none"), (200, -32602)),
    ];
    for (row, body, headers, wanted) in rows {
        for _ in 0..3 {
            check(&Http::post(&gateway.url(), &headers, &body), wanted, row);
        }
    }
    assert!(upstream.by_clients().is_empty(), "{:?}", upstream.by_clients());
}

#[test]
fn a_client_that_picks_from_the_supported_versions_succeeds() {
    let gateway = gateway("");
    let url = gateway.url();
    let discover = Http::modern(&url, "1", "server/discover", None, "").answer();
    let body = claimed("tools/list", "").replace("2026-07-28", "2031-01-01");
    let headers = [("MCP-Protocol-Version", "2031-01-01"), ("Mcp-Method", "tools/list")];
    let reply = Http::post(&url, &headers, &body);
    check(&reply, (400, -32022), "a version of the future");
    let data = &reply.answer()["error"]["data"];
    assert_eq!(data["requested"], "2031-01-01");
    assert_eq!(data["supported"], discover["result"]["supportedVersions"]);
    let pick = data["supported"][0].as_str().unwrap();
    let again = claimed("tools/list", "").replace("2026-07-28", pick);
    let headers = [("MCP-Protocol-Version", pick), ("Mcp-Method", "tools/list")];
    check(&Http::post(&url, &headers, &again), (200, 0), "the version picked");
    // The words of a client are echoed, whatever they are.
    let odd = claimed("tools/list", "").replace("2026-07-28", "tomorrow \\\"x\\\"");
    let reply = Http::post(&url, &[("MCP-Protocol-Version", "tomorrow \"x\"")], &odd);
    check(&reply, (400, -32022), "no date");
    assert_eq!(reply.answer()["error"]["data"]["requested"], "tomorrow \"x\"");
}

#[test]
fn a_header_that_is_missing_doubled_or_another_than_the_body_is_refused() {
    let upstream = Upstream::url(&[]);
    let gateway = gateway_to(&upstream);
    let (method, name) = (("Mcp-Method", "tools/call"), ("Mcp-Name", "u__whoami"));
    let old = ("MCP-Protocol-Version", "2025-11-25");
    let rows: &[&[(&str, &str)]] = &[
        &[method, name],
        &[old, method, name],
        &[("MCP-Protocol-Version", "2099-01-01"), method, name],
        &[VERSION, VERSION, method, name],
        &[VERSION, old, method, name],
        &[VERSION, name],
        &[VERSION, ("Mcp-Method", "tools/list"), name],
        &[VERSION, ("Mcp-Method", "Tools/Call"), name],
        &[VERSION, ("Mcp-Method", ""), name],
        &[VERSION, method, method, name],
        &[VERSION, method],
        &[VERSION, method, ("Mcp-Name", "")],
        &[VERSION, method, ("Mcp-Name", "u__append")],
        &[VERSION, method, ("Mcp-Name", "U__whoami")],
        &[VERSION, method, ("Mcp-Name", "whoami")],
        &[VERSION, method, name, name],
        &[VERSION, method, name, ("mcp-name", "u__append")],
        &[VERSION, method, ("Mcp-Name", "u__whoami, u__append")],
    ];
    for headers in rows {
        let reply = Http::post(&gateway.url(), headers, &call("u__whoami"));
        check(&reply, (400, -32020), &format!("{headers:?}"));
    }
    assert!(upstream.by_clients().is_empty(), "{:?}", upstream.by_clients());
    let padded = [("mcp-protocol-version", "  2026-07-28\t"), method, ("MCP-NAME", " u__whoami  ")];
    check(&Http::post(&gateway.url(), &padded, &call("u__whoami")), (200, 0), "padded");
    assert_eq!(upstream.only_call().json()["params"]["name"], "whoami");
}

#[test]
fn a_legacy_request_may_carry_any_modern_header_but_the_version() {
    let upstream = Upstream::url(&[]);
    let gateway = gateway_to(&upstream);
    let session = Http::legacy_session(&gateway.url(), "2025-06-18");
    let headers = [
        ("Mcp-Session-Id", session.as_str()),
        ("MCP-Protocol-Version", "2025-06-18"),
        ("Mcp-Method", "prompts/get"),
        ("Mcp-Name", "something else"),
        ("Mcp-Name", "=?base64?***?="),
        ("Mcp-Param-Region", "eu"),
    ];
    let body = request("tools/call", r#""name":"u__whoami","arguments":{}"#);
    check(&Http::post(&gateway.url(), &headers, &body), (200, 0), "legacy");
    let got = upstream.only_call();
    assert_eq!(
        (got.header("mcp-method"), got.header("mcp-name")),
        (vec!["tools/call"], vec!["whoami"])
    );
    assert!(got.header("mcp-param-region").is_empty(), "{got:?}");
}

#[test]
fn a_name_header_is_decoded_before_it_is_compared_and_encoded_again_on_the_way_out() {
    let upstream = Upstream::url(&[]);
    let gateway = gateway(&format!("[upstreams.u]\nprefix = \"\"\n{}", upstream.replica("u")));
    let ask = |name: &str, header: &str| {
        let headers = [VERSION, ("Mcp-Method", "tools/call"), ("Mcp-Name", header)];
        Http::post(&gateway.url(), &headers, &call(name)).verdict()
    };
    // The upstream knows none of these names: it is asked, and says so.
    let asked = (200, -32602);
    let forwarded = [
        ("whoam\u{ed}", "=?base64?d2hvYW3DrQ==?="),
        (" whoami", "=?base64?IHdob2FtaQ==?="),
        ("=?base64?x?=", "=?base64?PT9iYXNlNjQ/eD89?="),
        ("none", "=?base64?bm9uZQ==?="),
        ("plain", "plain"),
    ];
    for (name, header) in forwarded {
        assert_eq!(ask(name, header), asked, "{name:?}");
    }
    let refused = [
        ("whoam\u{ed}", "whoami"),
        ("whoami", "=?BASE64?d2hvYW1p?="),
        ("whoami", "=?base64?d2hvYW1p"),
        ("whoami", "=?base64?***?="),
        ("whoami", "=?base64?d2hvYW3DrQ==?="),
        ("whoami", "=?base64?/////w==?="),
        ("=?base64?x?=", "=?base64?x?="),
        (" whoami", " whoami"),
    ];
    for (name, header) in refused {
        assert_eq!(ask(name, header), (400, -32020), "{name:?} {header:?}");
    }
    let got: Vec<(String, String)> = upstream
        .by_clients()
        .iter()
        .map(|got| {
            let name = got.json()["params"]["name"].as_str().unwrap().to_owned();
            (name, got.header("mcp-name").join("|"))
        })
        .collect();
    let wanted = forwarded.map(|(name, header)| {
        let header = if name == "none" { name } else { header };
        (name.to_owned(), header.to_owned())
    });
    assert_eq!(got, wanted);
}

/// What a client sends beside the call and must never reach an upstream.
const PRIVATE: [(&str, &str); 8] = [
    ("Authorization", "Bearer secret"),
    ("Cookie", "a=secret"),
    ("Mcp-Session-Id", "secret"),
    ("X-Forwarded-For", "10.9.8.7"),
    ("Forwarded", "for=10.9.8.7"),
    ("X-Api-Key", "secret"),
    ("Last-Event-ID", "secret"),
    ("User-Agent", "secret"),
];

#[test]
fn a_call_reaches_the_upstream_under_its_own_name_with_headers_made_from_the_body() {
    let upstream = Upstream::url(&["--quirk", "x-mcp-header"]);
    let gateway = gateway_to(&upstream);
    let origin = format!("http://localhost:{}", gateway.addr().rsplit(':').next().unwrap());
    let arguments = r#"{"region":"s\u00fcd ","shard":42,"options":{"dry":true}}"#;
    let mut headers = vec![
        VERSION,
        ("Mcp-Method", "tools/call"),
        ("Mcp-Name", "=?base64?dV9faGVhZGVyc19vaw==?="),
        ("Mcp-Param-Region", "=?base64?c8O8ZCA=?="),
        ("Mcp-Param-Shard", "42.0"),
        ("Mcp-Param-Dry", "true"),
        ("Origin", &origin),
        ("Host", "localhost"),
    ];
    headers.extend(PRIVATE);
    let params = format!(r#""name":"u__headers_ok","arguments":{arguments}"#);
    let reply = Http::post(&gateway.url(), &headers, &claimed("tools/call", &params));
    check(&reply, (200, 0), "a call");
    let got = upstream.only_call();
    assert_eq!(got.header("mcp-name"), ["headers_ok"]);
    assert_eq!(got.header("mcp-param-region"), ["=?base64?c8O8ZCA=?="]);
    assert_eq!(got.header("mcp-param-shard"), ["42"], "from the body, not from the client");
    assert_eq!(got.header("mcp-param-dry"), ["true"]);
    assert_eq!(
        got.header_names(),
        [
            "accept",
            "content-length",
            "content-type",
            "host",
            "mcp-method",
            "mcp-name",
            "mcp-param-dry",
            "mcp-param-region",
            "mcp-param-shard",
            "mcp-protocol-version",
            "user-agent",
        ]
    );
    assert_ne!(got.header("host"), ["localhost"]);
    assert!(!got.headers.concat().contains("secret"), "{got:?}");
    assert_eq!(got.body, claimed("tools/call", &params).replace("u__headers_ok", "headers_ok"));
}

#[test]
fn a_mirrored_parameter_that_contradicts_the_body_stops_the_call() {
    let upstream = Upstream::url(&["--quirk", "x-mcp-header"]);
    let gateway = gateway_to(&upstream);
    let ask = |arguments: &str, more: &[(&str, &str)]| {
        let mut headers =
            vec![VERSION, ("Mcp-Method", "tools/call"), ("Mcp-Name", "u__headers_ok")];
        headers.extend_from_slice(more);
        let params = format!(r#""name":"u__headers_ok","arguments":{arguments}"#);
        Http::post(&gateway.url(), &headers, &claimed("tools/call", &params))
    };
    let (region, shard) = ("Mcp-Param-Region", "Mcp-Param-Shard");
    let rows: &[(&str, &[(&str, &str)])] = &[
        (r#"{"region":"eu"}"#, &[]),
        (r#"{"region":"eu"}"#, &[(region, "us")]),
        (r#"{"region":"eu"}"#, &[(region, "eu"), (region, "eu")]),
        (r#"{"region":"eu"}"#, &[(region, "=?base64?***?=")]),
        (r#"{"region":null}"#, &[(region, "null")]),
        ("{}", &[(region, "eu")]),
        (r#"{"shard":42}"#, &[(shard, "43")]),
        (r#"{"shard":42}"#, &[(shard, "42.5")]),
        (r#"{"options":{"dry":true}}"#, &[("Mcp-Param-Dry", "True")]),
        (r#"{"options":{"dry":true}}"#, &[]),
        (r#"{"region":"eu","region":"us"}"#, &[(region, "eu")]),
        (r#"{"region":"eu","region":"us"}"#, &[(region, "us")]),
    ];
    for (arguments, headers) in rows {
        check(&ask(arguments, headers), (400, -32020), &format!("{arguments} {headers:?}"));
    }
    assert!(upstream.by_clients().is_empty(), "{:?}", upstream.by_clients());
    check(
        &ask(r#"{"region":null,"free":1}"#, &[("Mcp-Param-Free", "x")]),
        (200, 0),
        "no annotation",
    );
    let got = upstream.only_call();
    assert!(!got.header_names().iter().any(|name| name.starts_with("mcp-param")), "{got:?}");
}

#[test]
fn an_unknown_method_is_404_over_http_and_in_band_elsewhere() {
    let upstream = Upstream::url(&[]);
    let gateway = gateway_to(&upstream);
    let session = Http::legacy_session(&gateway.url(), "2025-11-25");
    let mut pipe = StdioClient::start(&config(&upstream.replica("u")));
    // Unknown, legacy only, and what the gateway does not offer.
    let legacy_only = ["initialize", "ping", "logging/setLevel", "resources/subscribe"];
    for method in ["no/such", "tasks/result"].into_iter().chain(legacy_only) {
        let params = r#""name":"x","protocolVersion":"2025-11-25""#;
        let reply = Http::modern(&gateway.url(), "7", method, None, params);
        check(&reply, (404, -32601), method);
        let answer = pipe.ask(&claimed(method, params));
        assert_eq!(answer["error"]["code"], -32601, "{method}");
    }
    for method in ["no/such", "server/discover", "subscriptions/listen", "tasks/update"] {
        let reply = Http::legacy(&gateway.url(), &session, "7", method, "{}");
        check(&reply, (200, -32601), method);
        let answer = pipe.ask(&request(method, ""));
        assert_eq!(answer["error"]["code"], -32601, "{method}");
    }
    assert!(upstream.by_clients().is_empty(), "{:?}", upstream.by_clients());
}

#[test]
fn an_error_that_the_upstream_answers_stays_in_band_and_unchanged() {
    let error = r#""error":{"code":-32601,"message":"later","data":{"n":1e2}}"#;
    let fake = Fake::start(Some(error));
    let gateway: Gateway = gateway(&fake.replica("u"));
    let reply = Http::modern_call(&gateway.url(), "u__t", "{}");
    assert_eq!(reply.verdict(), (200, -32601));
    assert!(reply.body.contains(error), "{reply:?}");
    let session = Http::legacy_session(&gateway.url(), "2025-11-25");
    let reply = Http::legacy_call(&gateway.url(), &session, "u__t", "{}");
    assert_eq!(reply.verdict(), (200, -32601));
    assert!(reply.body.contains(error), "{reply:?}");
}

#[test]
fn an_error_about_the_gateways_own_request_is_not_passed_on() {
    for error in [
        r#""error":{"code":-32020,"message":"Header mismatch"}"#,
        r#""error":{"code":-32022,"message":"no","data":{"supported":[],"requested":"x"}}"#,
    ] {
        let fake = Fake::start(Some(error));
        let gateway = gateway(&fake.replica("u"));
        let reply = Http::modern_call(&gateway.url(), "u__t", "{}");
        assert_eq!(reply.verdict(), (200, -32603), "{reply:?}");
    }
}

#[test]
fn an_error_of_an_upstream_that_could_not_read_the_id_gets_the_clients() {
    for answer in [
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"odd"}}"#,
        r#"{"error":{"code":-32600,"message":"odd"},"jsonrpc":"2.0"}"#,
    ] {
        let fake = Fake::start(Some(answer));
        let gateway = gateway(&fake.replica("u"));
        let params = r#""name":"u__t","arguments":{}"#;
        let reply = Http::modern(&gateway.url(), "7", "tools/call", Some("u__t"), params);
        check(&reply, (200, -32600), answer);
    }
}
