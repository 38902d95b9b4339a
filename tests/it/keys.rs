//! Static keys: who is let in, as whom, and where a key never shows.

use serde_json::Value;

use crate::support::client::initialize;
use crate::support::keyed::{ALICE, BOB, Shower, gateway, gateway_with};
use crate::support::process::WAYPOST;
use crate::support::upstream::{Upstream, config};
use crate::support::{Gateway, Http, Reply, StdioClient, eventually};

const OPEN: [&str; 3] = ["/health", "/health/live", "/health/ready"];
const CLOSED: [&str; 11] = [
    "/mcp",
    "/mcp/view",
    "/sse",
    "/messages",
    "/ws",
    "/",
    "/metrics",
    "/api/v1/tools",
    "/health/",
    "/nothing",
    "/%68ealth",
];

fn is_refused(reply: &Reply) -> bool {
    if reply.status != 401 {
        return false;
    }
    assert_eq!(reply.header("www-authenticate"), Some("Bearer"), "{reply:?}");
    assert_eq!(reply.answer()["error"]["code"], -32600, "{reply:?}");
    true
}

#[test]
fn every_route_but_health_needs_a_key() {
    let gateway = gateway("", "");
    let bearer = |token: &str| format!("Bearer {token}");
    let wrong = [
        ("unknown", bearer("nobodys-Key-0123456789")),
        ("unknown", bearer(&ALICE.to_ascii_uppercase())),
        ("unknown", bearer(&format!("{ALICE}x"))),
        ("malformed", ALICE.to_owned()),
        ("malformed", format!("Basic {ALICE}")),
        ("malformed", format!("Bearer {ALICE}, Bearer {BOB}")),
        ("malformed", "Bearer ".to_owned()),
    ];
    let (mut missing, mut malformed, mut unknown) = (0.0, 0.0, 0.0);
    for path in CLOSED {
        let url = format!("{}{path}", gateway.base);
        for method in ["GET", "POST", "DELETE", "PUT", "OPTIONS"] {
            assert!(is_refused(&Http::send(method, &url, &[], "")), "{method} {path}");
            missing += 1.0;
        }
        for (why, line) in &wrong {
            let reply = Http::send("POST", &url, &[("Authorization", line)], "");
            assert!(is_refused(&reply), "{path} {line}");
            assert!(!reply.body.contains("Key-"), "{reply:?}");
            *if *why == "unknown" { &mut unknown } else { &mut malformed } += 1.0;
        }
        let alice = bearer(ALICE);
        let twice = [("Authorization", alice.as_str()), ("authorization", alice.as_str())];
        assert!(is_refused(&Http::send("GET", &url, &twice, "")), "{path} twice");
        malformed += 1.0;
    }
    for path in OPEN {
        let url = format!("{}{path}", gateway.base);
        assert_eq!(Http::send("GET", &url, &[], "").status, 200, "{path}");
    }
    // Clients look there how to get a token: there is nothing, and they must see that.
    let url = format!("{}/.well-known/oauth-protected-resource/mcp", gateway.base);
    assert_eq!(Http::send("GET", &url, &[], "").status, 404);
    let alice = Shower::of(&gateway, ALICE);
    let fails = |why: &str| alice.metric(&format!("mcp_auth_fail_total{{why=\"{why}\"}}"));
    assert_eq!(
        (fails("missing"), fails("malformed"), fails("unknown")),
        (missing, malformed, unknown)
    );
}

#[test]
fn a_strange_host_is_refused_before_a_key_is_asked_for() {
    let gateway = gateway("", "");
    let reply = Http::send("GET", &gateway.url(), &[("Host", "evil.example")], "");
    assert_eq!(reply.status, 403, "{reply:?}");
}

#[test]
fn nothing_of_a_body_is_waited_for_without_a_key() {
    let gateway = gateway("", "");
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nAccept: */*\r\nContent-Length: 1000\r\n\r\n",
        gateway.addr()
    );
    assert!(is_refused(&Http::raw(gateway.addr(), head.as_bytes())));
}

#[test]
fn a_key_lets_clients_of_both_eras_in() {
    let gateway = gateway("", "");
    for key in [ALICE, BOB] {
        let client = Shower::of(&gateway, key);
        let call = client.call("echo", r#"{"message":"x"}"#);
        assert_eq!(call.verdict(), (200, 0), "{call:?}");
        let session = client.session("2025-11-25");
        let named = [("Mcp-Session-Id", session.as_str())];
        let list = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#;
        let tools = client.post(&named, list).answer();
        assert_eq!(tools["result"]["tools"][0]["name"], "echo");
        let mut stream = client.stream(&session);
        assert_eq!(stream.status(), 200);
        assert_eq!(client.send("DELETE", "/mcp", &named).status, 204);
        assert_eq!(stream.message(), None);
        for path in ["/metrics", "/api/v1/tools", "/health"] {
            assert_eq!(client.send("GET", path, &[]).status, 200, "{path}");
        }
        let page = client.send("GET", "/", &[("Accept", "text/html")]);
        assert!(page.body.contains("<h1>waypost</h1>"), "{page:?}");
    }
    let lower = format!("bEARER {ALICE}");
    let (mut headers, body) = Http::modern_parts("1", "tools/list", None, "");
    headers.push(("aUTHORIZATION", &lower));
    assert_eq!(Http::post(&gateway.url(), &headers, &body).verdict(), (200, 0));
}

#[test]
fn a_session_is_there_for_its_principal_alone() {
    let gateway = gateway("", "");
    let (alice, bob) = (Shower::of(&gateway, ALICE), Shower::of(&gateway, BOB));
    let session = alice.session("2025-11-25");
    let unknown = "0".repeat(session.len());
    let bodies = [
        r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
        r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
    ];
    for body in bodies {
        let [hers, nobodys] =
            [&session, &unknown].map(|id| bob.post(&[("Mcp-Session-Id", id)], body));
        assert_eq!((hers.status, hers.body), (404, nobodys.body), "{body}");
    }
    for method in ["GET", "DELETE"] {
        let [hers, nobodys] = [&session, &unknown].map(|id| {
            bob.send(method, "/mcp", &[("Accept", "text/event-stream"), ("Mcp-Session-Id", id)])
        });
        assert_eq!((hers.status, hers.body), (404, nobodys.body), "{method}");
    }
    let named = [("Mcp-Session-Id", session.as_str())];
    assert_eq!(alice.post(&named, bodies[0]).verdict(), (200, 0), "it lives");
}

#[test]
fn a_key_is_shown_to_nobody_else() {
    let (modern, legacy) =
        (Upstream::url(&["--era", "modern"]), Upstream::url(&["--era", "legacy"]));
    // Unknown names go on to an upstream without prefix, with what the client mirrored.
    let plain = Upstream::url(&["--era", "modern"]);
    let tables = [
        modern.replica("m"),
        legacy.replica("l"),
        "[upstreams.p]\nprefix = \"\"\n".to_owned(),
        plain.replica("p"),
    ]
    .concat();
    let gateway = gateway_with("", &tables, &[("MCP_LOG_LEVEL", "DEBUG"), ("RUST_LOG", "trace")]);
    let alice = Shower::of(&gateway, ALICE);
    let mut told = Vec::new();
    eventually("the tools of all", || {
        let list = alice.modern("tools/list", None, "").body;
        ["m__whoami", "l__whoami", "\"whoami"].iter().all(|tool| list.contains(tool)).then_some(())
    });
    let more = [("Cookie", "c=cookies-Key-1"), ("Proxy-Authorization", "Basic proxys-Key-1")];
    let session = alice.session("2025-11-25");
    for tool in ["m__whoami", "l__whoami", "m__fail", "l__nope", "whoami", "nope"] {
        let params = format!(r#""name":"{tool}","arguments":{{}}"#);
        let (mut headers, body) = Http::modern_parts("1", "tools/call", Some(tool), &params);
        headers.extend(more);
        told.push(alice.post(&headers, &body));
        let body =
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{params}}}}}"#);
        let headers = [&more[..], &[("Mcp-Session-Id", session.as_str())]].concat();
        told.push(alice.post(&headers, &body));
    }
    told.push(Shower::of(&gateway, "nobodys-Key-0123456789").call("m__whoami", "{}"));
    told.push(Http::post(&gateway.url(), &[("Authorization", ALICE)], ""));
    for path in ["/health", "/metrics", "/api/v1/tools", "/nothing"] {
        told.push(alice.send("GET", path, &[]));
    }
    for (upstream, calls) in [(&modern, 4), (&legacy, 2), (&plain, 6)] {
        assert_eq!(upstream.by_clients().len(), calls, "{:?}", upstream.by_clients());
        for got in upstream.got() {
            assert!(!format!("{got:?}").contains("Key-"), "{got:?}");
            for name in ["authorization", "cookie", "proxy-authorization"] {
                assert!(!got.header_names().contains(&name), "{got:?}");
            }
        }
    }
    for reply in told {
        assert!(!format!("{reply:?}").contains("Key-"), "{reply:?}");
    }
    let log = gateway.stderr();
    assert!(log.len() < 1024 * 1024, "more than is kept");
    assert!(log.contains("DEBUG") && log.contains("a request without a key of ours"), "{log}");
    assert!(!log.contains("Key-"), "{log}");
}

#[test]
fn a_headers_own_credentials_for_an_upstream_are_not_the_clients() {
    let upstream = Upstream::url(&[]);
    let own = "headers = { Authorization = \"Bearer upstreams-own\" }";
    let gateway = gateway("", &format!("{}{own}\n", upstream.replica("u")));
    let alice = Shower::of(&gateway, ALICE);
    eventually("the tools", || {
        alice.modern("tools/list", None, "").body.contains("u__whoami").then_some(())
    });
    assert_eq!(alice.call("u__whoami", "{}").verdict(), (200, 0));
    assert_eq!(upstream.only_call().header("authorization"), ["Bearer upstreams-own"]);
}

#[test]
fn with_keys_an_address_for_others_needs_no_flag() {
    let gateway = gateway("", "[server]\nhost = \"0.0.0.0\"\n");
    let base = gateway.base.replace("0.0.0.0", "127.0.0.1");
    assert!(is_refused(&Http::send("GET", &format!("{base}/metrics"), &[], "")));
    let alice = format!("Bearer {ALICE}");
    let (mut headers, body) = Http::modern_parts("1", "tools/list", None, "");
    headers.push(("Authorization", &alice));
    assert_eq!(Http::post(&format!("{base}/mcp"), &headers, &body).verdict(), (200, 0));
}

#[test]
fn a_gateway_whose_keys_are_not_there_does_not_start_open() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    let cases = [
        ("${ALICE_KEY}", "the variable ALICE_KEY is not set"),
        (ALICE, "a key must not stand in the file"),
        ("${SHORT}", "the key is short enough to be guessed"),
    ];
    for (key, what) in cases {
        let text = format!("[auth]\nkeys = [{{ name = \"alice\", key = \"{key}\" }}]\n");
        std::fs::write(&file, config(&text)).unwrap();
        for verb in [&["serve", "--port", "0"][..], &["check", "--offline"]] {
            let ended = std::process::Command::new(WAYPOST)
                .args(verb)
                .arg("--config")
                .arg(&file)
                .env("SHORT", "short-Key-1")
                .env_remove("ALICE_KEY")
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned();
            assert_eq!(ended.status.code(), Some(1), "{text}");
            assert!(
                text.contains(what) && text.contains("hint:") && !text.contains("Key-"),
                "{text}"
            );
        }
    }
}

#[test]
fn nobody_is_asked_on_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, ALICE).unwrap();
    let auth =
        format!("[auth]\nkeys = [{{ name = \"alice\", key = \"${{file:{}}}\" }}]\n", key.display());
    let mut pipe = StdioClient::start(&config(&auth));
    assert!(pipe.handshake("2025-11-25")["result"].is_object());
    let answer = pipe.ask(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    assert_eq!(answer["result"]["tools"][0]["name"], "echo", "{answer}");
}

#[test]
fn without_keys_nobody_is_asked_and_a_token_does_no_harm() {
    let gateway = Gateway::start(&config("[auth]\nkeys = []\n"));
    let reply =
        Http::post(&gateway.url(), &[("Authorization", "Basic x")], &initialize("2025-11-25"));
    assert_eq!(reply.verdict(), (200, 0), "{reply:?}");
    let list: Value = Http::modern(&gateway.url(), "1", "tools/list", None, "").answer();
    assert_eq!(list["result"]["tools"][0]["name"], "echo");
}
