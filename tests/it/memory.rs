//! A gateway whose memory runs out takes less, says so, and takes all again when there is enough.

use std::io::Write as _;
use std::net::TcpStream;

use crate::support::client::{Http, Reply, initialize};
use crate::support::eventually;
use crate::support::process::Gateway;
use crate::support::procfs::resident_kib;

/// Bodies that are sent but for their last byte, each within the bound of one: the gateway holds them.
const HELD: usize = 24;
const HELD_BYTES: usize = 4_000_000;

fn limited(bytes: u64) -> String {
    format!("[server]\nmax_memory_bytes = {bytes}\n")
}

fn metric(gateway: &Gateway, name: &str) -> f64 {
    let page = Http::send("GET", &format!("{}/metrics", gateway.base), &[], "").body;
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or(0.0)
}

fn ping(gateway: &Gateway) -> Reply {
    Http::modern_call(&gateway.url(), "echo", r#"{"message":"x"}"#)
}

/// The status, and the code and text of the error.
fn refusal(reply: &Reply) -> (u16, i64, String) {
    let text = reply.answer()["error"]["message"].as_str().unwrap_or_default().to_owned();
    let (status, code) = reply.verdict();
    (status, code, text)
}

/// Sends the head of a request and all of its body but the end.
fn hold(gateway: &Gateway) -> TcpStream {
    let mut socket = TcpStream::connect(gateway.addr()).unwrap();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nContent-Length: {}\r\n\r\n",
        gateway.addr(),
        HELD_BYTES + 1,
    );
    socket.write_all(head.as_bytes()).unwrap();
    // One that is refused is closed before all of it is sent.
    let _refused = socket.write_all(&vec![b' '; HELD_BYTES]);
    socket
}

#[test]
fn a_gateway_that_is_short_of_memory_refuses_and_says_so() {
    let gateway = Gateway::start(&limited(16 * 1024 * 1024));
    let (status, code, text) = eventually("a refusal", || {
        let refused = refusal(&ping(&gateway));
        (refused.0 == 503).then_some(refused)
    });
    assert_eq!((status, code), (503, -31001));
    assert!(text.contains("short of memory"), "{text}");
    let hello = Http::post(&gateway.url(), &[], &initialize("2025-11-25"));
    assert_eq!(hello.verdict(), (503, -31001));
    assert_eq!(hello.header("retry-after"), Some("1"));
    let note = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    let more = [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "notifications/cancelled")];
    let told = Http::post(&gateway.url(), &more, note);
    assert_ne!(told.status, 503, "what is no request is never refused: {told:?}");
    assert_eq!(Http::send("GET", &format!("{}/health", gateway.base), &[], "").status, 200);
    assert!(metric(&gateway, r#"mcp_shed_total{stage="memory"}"#) >= 2.0);
    assert!(metric(&gateway, "mcp_memory_pressure ") >= 3.0);
}

#[test]
fn it_takes_all_again_when_there_is_enough() {
    let usual = resident_kib(Gateway::start("").pid()) * 1_024;
    // Room for some of the bodies, and not for all of them.
    let held = u64::try_from(HELD * HELD_BYTES).unwrap();
    let gateway = Gateway::start(&limited(usual + held / 2));
    assert_eq!(ping(&gateway).verdict(), (200, 0));
    let session = Http::legacy_session(&gateway.url(), "2025-11-25");
    let mut stream = Http::open_get(&gateway.url(), &session);
    assert_eq!(stream.status(), 200);
    let bodies: Vec<TcpStream> = (0..HELD).map(|_| hold(&gateway)).collect();
    eventually("pressure", || (metric(&gateway, "mcp_memory_pressure ") >= 4.0).then_some(()));
    assert_eq!(ping(&gateway).verdict(), (503, -31001));
    // Standing streams end: this would wait for ever.
    stream.rest();
    drop(bodies);
    eventually("an answer", || (ping(&gateway).verdict() == (200, 0)).then_some(()));
    eventually("a stream", || {
        (Http::open_get(&gateway.url(), &session).status() == 200).then_some(())
    });
}
