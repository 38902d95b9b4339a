//! Who is let in, and how much: Origin and Host, Accept and Content-Type, sizes.

use crate::support::upstream::{Upstream, gateway, gateway_to};
use crate::support::{Gateway, Http, MODERN_META, Reply};

const HEAD: &str = "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/list\r\n";
const ACCEPT: &str = "Accept: application/json, text/event-stream\r\n";
const KIND: &str = "Content-Type: application/json\r\n";

fn list() -> String {
    format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{{{MODERN_META}}}}}"#)
}

/// A raw modern `tools/list`: the target and the header lines are the test's.
fn ask(addr: &str, target: &str, lines: &str) -> Reply {
    let body = list();
    let text = format!(
        "POST {target} HTTP/1.1\r\n{lines}{HEAD}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    Http::raw(addr, text.as_bytes())
}

const ALLOWED: &str =
    "[server]\nallowed_hosts = [\"gw.example\"]\nallowed_origins = [\"https://app.example\"]\n";

/// The status of a request with this target and these lines, in which PORT is the gateway's.
fn status(gateway: &Gateway, target: &str, lines: &str) -> u16 {
    let port = gateway.addr().rsplit(':').next().unwrap();
    let lines = format!("{lines}{ACCEPT}{KIND}").replace("PORT", port);
    let reply = ask(gateway.addr(), &target.replace("PORT", port), &lines);
    if reply.status == 403 {
        assert_eq!(reply.answer()["error"]["code"], -32600, "{reply:?}");
    }
    reply.status
}

#[test]
fn only_our_own_hosts_are_let_in_whether_named_in_the_header_or_in_the_target() {
    let upstream = Upstream::url(&[]);
    let gateway = gateway(&format!("{ALLOWED}{}", upstream.replica("u")));
    let own = "Host: 127.0.0.1:PORT\r\n";
    for host in [
        "localhost",
        "localhost:PORT",
        "LocalHost:1",
        "127.0.0.1:PORT",
        "[::1]:PORT",
        "gw.example",
        "GW.example:443",
    ] {
        assert_eq!(status(&gateway, "/mcp", &format!("Host: {host}\r\n")), 200, "Host {host}");
        assert_eq!(status(&gateway, &format!("http://{host}/mcp"), own), 200, "target {host}");
    }
    for host in [
        "evil.example",
        "evil.example:PORT",
        "localhost.evil.example",
        "localhost.",
        "127.0.0.2",
        "127.0.0.1.nip.io",
        "0.0.0.0",
        "[::]",
        "2130706433",
        "gw.example.",
        "a.gw.example",
        "localhost:x",
        "localhost:PORT:PORT",
    ] {
        assert_eq!(status(&gateway, "/mcp", &format!("Host: {host}\r\n")), 403, "Host {host}");
    }
    for target in
        ["http://evil.example/mcp", "http://127.0.0.2:PORT/mcp", "https://evil.example/mcp"]
    {
        assert_eq!(status(&gateway, target, own), 403, "target {target}");
    }
    // A name in the target does not stand for a wrong, missing or second one in the header.
    assert_eq!(status(&gateway, "http://localhost/mcp", "Host: evil.example\r\n"), 403);
    for lines in ["", "Host:\r\n", "Host: localhost\r\nHost: localhost\r\n"] {
        assert_eq!(status(&gateway, "/mcp", lines), 403, "{lines:?}");
    }
    assert!(upstream.by_clients().is_empty());
}

#[test]
fn a_page_of_somewhere_else_is_refused() {
    let gateway = gateway(ALLOWED);
    let status =
        |origins: &str| status(&gateway, "/mcp", &format!("Host: 127.0.0.1:PORT\r\n{origins}"));
    assert_eq!(status(""), 200, "no page at all");
    for origin in [
        "http://localhost:PORT",
        "http://127.0.0.1:PORT",
        "http://[::1]:PORT",
        "https://app.example",
        "HTTPS://APP.example",
        "http://gw.example:PORT",
    ] {
        assert_eq!(status(&format!("Origin: {origin}\r\n")), 200, "Origin {origin}");
    }
    for origin in [
        "null",
        "",
        "http://evil.example",
        "http://evil.example:PORT",
        "http://localhost",
        "http://localhost:1",
        "http://localhost.evil.example:PORT",
        "https://app.example.evil",
        "http://app.example",
        "https://app.example:8443",
        "file://",
        "localhost:PORT",
        "http://localhost:PORT, http://evil.example",
        "http://evil@localhost:PORT",
    ] {
        assert_eq!(status(&format!("Origin: {origin}\r\n")), 403, "Origin {origin}");
    }
    let own = "Origin: http://localhost:PORT\r\n";
    assert_eq!(status(&format!("{own}Origin: http://evil.example\r\n")), 403);
    assert_eq!(status(&format!("{own}{own}")), 403);
}

#[test]
fn a_strange_host_is_refused_on_every_route() {
    let gateway = gateway("");
    for path in ["/mcp", "/sse", "/messages", "/ws", "/", "/health", "/metrics", "/nothing"] {
        for method in ["GET", "POST", "DELETE"] {
            let url = format!("{}{path}", gateway.base);
            let reply = Http::send(method, &url, &[("Host", "evil.example")], "");
            assert_eq!(reply.status, 403, "{method} {path}: {reply:?}");
            let reply = Http::send(method, &url, &[("Origin", "http://evil.example")], "");
            assert_eq!(reply.status, 403, "{method} {path}: {reply:?}");
        }
    }
}

#[test]
fn a_client_must_take_both_kinds_of_answer() {
    let gateway = gateway("");
    let status = |accept: &str| {
        let lines = format!("Host: localhost\r\n{accept}{KIND}");
        ask(gateway.addr(), "/mcp", &lines).verdict()
    };
    for good in [
        "",
        ACCEPT,
        "Accept: */*\r\n",
        "Accept: text/event-stream;q=0.9, application/json;q=0.1\r\n",
        "Accept: APPLICATION/JSON,Text/Event-Stream\r\n",
        "Accept: application/*, text/*\r\n",
        "Accept: application/json\r\nAccept: text/event-stream\r\n",
    ] {
        assert_eq!(status(good), (200, 0), "{good:?}");
    }
    for bad in [
        "Accept: application/json\r\n",
        "Accept: text/event-stream\r\n",
        "Accept: text/html, application/xml\r\n",
        "Accept: application/json, text/event-stream;q=0\r\n",
        "Accept: application/json, text/event-streams\r\n",
        "Accept:\r\n",
    ] {
        assert_eq!(status(bad), (406, -32600), "{bad:?}");
    }
}

#[test]
fn a_body_that_does_not_call_itself_json_is_refused() {
    let gateway = gateway("");
    let status = |kind: &str| {
        let lines = format!("Host: localhost\r\n{ACCEPT}{kind}");
        ask(gateway.addr(), "/mcp", &lines).verdict()
    };
    for good in ["application/json", "application/json; charset=utf-8", "Application/JSON ;x=y"] {
        assert_eq!(status(&format!("Content-Type: {good}\r\n")), (200, 0), "{good:?}");
    }
    for bad in ["text/plain", "application/x-www-form-urlencoded", "text/json", "", "json"] {
        assert_eq!(status(&format!("Content-Type: {bad}\r\n")), (415, -32600), "{bad:?}");
    }
    assert_eq!(status(""), (415, -32600));
}

const BODY_MAX: usize = 4 * 1024 * 1024;

/// A body of so many bytes: a call of `echo` that is refused by the tool, not by the front.
fn body_of(bytes: usize) -> String {
    let body = |filler: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"echo","arguments":{{"message":"{filler}"}},{MODERN_META}}}}}"#
        )
    };
    body(&"x".repeat(bytes - body("").len()))
}

fn chunked(addr: &str, body: &str) -> Reply {
    let mut text = format!(
        "POST /mcp HTTP/1.1\r\nHost: {addr}\r\n{ACCEPT}{KIND}MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: echo\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    .into_bytes();
    for chunk in body.as_bytes().chunks(256 * 1024) {
        text.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        text.extend_from_slice(chunk);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"0\r\n\r\n");
    Http::raw(addr, &text)
}

#[test]
fn a_body_over_four_mebibytes_is_refused_however_it_is_sent() {
    let gateway = gateway("");
    let call = [
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", "tools/call"),
        ("Mcp-Name", "echo"),
    ];
    let largest = body_of(BODY_MAX);
    // In reach of the tool, which then finds the message too long.
    let reply = Http::post(&gateway.url(), &call, &largest);
    assert_eq!((reply.status, &reply.answer()["result"]["isError"]), (200, &true.into()));
    let reply = chunked(gateway.addr(), &largest);
    assert_eq!((reply.status, &reply.answer()["result"]["isError"]), (200, &true.into()));
    let one_more = body_of(BODY_MAX + 1);
    assert_eq!(chunked(gateway.addr(), &one_more).status, 413);
    // By its announced length alone: not a byte of it has to be sent.
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: {}\r\n{ACCEPT}{KIND}{HEAD}Content-Length: {}\r\n\r\n",
        gateway.addr(),
        BODY_MAX + 1
    );
    let reply = Http::raw(gateway.addr(), head.as_bytes());
    assert_eq!(reply.verdict(), (413, -31007), "{reply:?}");
    assert_eq!(reply.header("connection"), Some("close"));
    assert_eq!(Http::tools(&gateway.url()), ["echo"], "and it goes on serving");
}

#[test]
fn large_headers_are_carried_or_refused_cleanly_and_reach_nobody() {
    let upstream = Upstream::url(&[]);
    let gateway = gateway_to(&upstream);
    let call = |more: &[(&str, &str)]| {
        let params = r#""name":"u__whoami","arguments":{}"#;
        let (mut headers, body) = Http::modern_parts("7", "tools/call", Some("u__whoami"), params);
        headers.extend_from_slice(more);
        Http::post(&gateway.url(), &headers, &body)
    };
    let padding = "x".repeat(64 * 1024);
    assert_eq!(call(&[("X-Padding", &padding)]).verdict(), (200, 0));
    assert!(!upstream.only_call().headers.concat().contains("xxxx"));
    let padding = "x".repeat(1024 * 1024);
    assert_eq!(call(&[("X-Padding", &padding)]).status, 431);
    let many = vec![("X-Padding", "x"); 200];
    assert_eq!(call(&many).status, 431);
    assert_eq!(upstream.by_clients().len(), 1);
    assert_eq!(call(&[]).verdict(), (200, 0), "and it goes on serving");
}

#[test]
fn a_name_of_eight_kibibytes_is_compared_and_carried_whole() {
    let upstream = Upstream::url(&[]);
    let gateway = gateway(&format!("[upstreams.u]\nprefix = \"\"\n{}", upstream.replica("u")));
    let (name, longer) = ("n".repeat(8 * 1024 + 1), "n".repeat(8 * 1024 + 2));
    let reply = Http::modern_call(&gateway.url(), &name, "{}");
    assert_eq!(reply.verdict(), (200, -32602), "the upstream does not know it");
    let got = upstream.only_call();
    assert_eq!(got.header("mcp-name"), [name.as_str()]);
    assert_eq!(got.json()["params"]["name"], name.as_str());
    let (mut headers, body) = Http::modern_parts(
        "7",
        "tools/call",
        None,
        &format!(r#""name":"{name}","arguments":{{}}"#),
    );
    headers.push(("Mcp-Name", &longer));
    assert_eq!(Http::post(&gateway.url(), &headers, &body).verdict(), (400, -32020));
    assert_eq!(upstream.by_clients().len(), 1);
}
