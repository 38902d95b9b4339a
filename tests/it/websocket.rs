//! JSON-RPC over WebSocket (RFC 6455): what it has of its own. The rest is in `duplex`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::duplex::{
    BINARY, CLOSE, CONTINUE, Duplex, Frame, HANDSHAKE, Kind, PING, Socket, TEXT, handshake,
};
use crate::support::upstream::{Upstream, config, gateway_to};
use crate::support::{Gateway, Http, MODERN_META, Reply, eventually, metric};

const ASK: &str = r#"{"jsonrpc":"2.0","id":"é","method":"ping"}"#;
const ANSWER: &str = r#"{"jsonrpc":"2.0","id":"é","result":{}}"#;

fn gateway() -> Gateway {
    Gateway::start(&config(""))
}

fn modern(id: &str, method: &str, params: &str) -> String {
    let comma = if params.is_empty() { "" } else { "," };
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params}{comma}{MODERN_META}}}}}"#
    )
}

/// The answer to the good handshake with some lines in other words; without a value a line is left
/// out.
fn ask_with(gateway: &Gateway, changed: &[(&str, Option<&str>)]) -> Reply {
    let mut lines = HANDSHAKE.to_vec();
    for (name, value) in changed {
        lines.retain(|(known, _)| known != name);
        lines.extend(value.map(|value| (*name, value)));
    }
    Http::raw(gateway.addr(), &handshake(gateway.addr(), &lines))
}

#[test]
fn the_handshake_wants_the_upgrade_the_version_a_key_and_the_subprotocol() {
    let gateway = gateway();
    let plain = Http::send("GET", &format!("{}/ws", gateway.base), &[], "");
    assert_eq!(plain.verdict(), (426, -32600));
    assert_eq!(plain.header("upgrade"), Some("websocket"));
    for (changed, status, says) in [
        (("Upgrade", None), 426, "Upgrade"),
        (("Upgrade", Some("h2c")), 426, "Upgrade"),
        (("Connection", Some("keep-alive")), 426, "Upgrade"),
        (("Sec-WebSocket-Version", None), 426, "13"),
        (("Sec-WebSocket-Version", Some("8")), 426, "13"),
        (("Sec-WebSocket-Key", None), 400, "Sec-WebSocket-Key"),
        (("Sec-WebSocket-Key", Some("short")), 400, "Sec-WebSocket-Key"),
        (("Sec-WebSocket-Protocol", None), 400, "\\\"mcp\\\""),
        (("Sec-WebSocket-Protocol", Some("MCP, chat")), 400, "\\\"mcp\\\""),
    ] {
        let reply = ask_with(&gateway, &[changed]);
        assert_eq!(reply.verdict(), (status, -32600), "{changed:?}");
        assert!(reply.body.contains(says), "{changed:?}: {reply:?}");
        let version = (status == 426).then_some("13");
        assert_eq!(reply.header("sec-websocket-version"), version, "{changed:?}");
    }
    let posted = Http::send("POST", &format!("{}/ws", gateway.base), &[], "");
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET")));
    // Of several offers it takes the one it knows.
    let mut lines = HANDSHAKE.to_vec();
    lines.retain(|(name, _)| *name != "Sec-WebSocket-Protocol");
    lines.extend([("Sec-WebSocket-Protocol", "chat"), ("Sec-WebSocket-Protocol", "x, mcp")]);
    let reply = Http::raw(gateway.addr(), &handshake(gateway.addr(), &lines));
    assert_eq!((reply.status, reply.header("sec-websocket-protocol")), (101, Some("mcp")));
    eventually("the connections to be over", || {
        (metric(&gateway, "mcp_active_connections") < 1.5).then_some(())
    });
}

#[test]
fn both_eras_speak_in_any_order_on_one_socket() {
    let upstream = Upstream::pipe(&[]);
    let gateway = gateway_to(&upstream);
    let mut client = Duplex::connect(Kind::Socket, &gateway);
    let discover = client.ask(&modern("1", "server/discover", ""));
    assert_eq!(discover["result"]["supportedVersions"], json!(["2026-07-28"]));
    let call = client.ask(&modern("2", "tools/call", r#""name":"u__whoami""#));
    assert_eq!(call["result"]["resultType"], "complete");
    assert_eq!(client.greet("2025-06-18", "{}")["result"]["protocolVersion"], "2025-06-18");
    let call = client
        .ask(r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"u__whoami"}}"#);
    assert!(call["result"].is_object() && call["result"].get("resultType").is_none(), "{call}");
    let wrong = modern("4", "tools/list", "").replace("2026-07-28", "2099-01-01");
    assert_eq!(client.ask(&wrong)["error"]["code"], -32022);
}

#[test]
fn a_subscription_is_acknowledged_told_and_ended_with_a_result() {
    const ID: &str = "io.modelcontextprotocol/subscriptionId";
    let upstream = Upstream::pipe(&[]);
    let gateway = gateway_to(&upstream);
    let mut client = Duplex::connect(Kind::Socket, &gateway);
    let wish = r#""notifications":{"toolsListChanged":true}"#;
    client.send(&modern("5", "subscriptions/listen", wish));
    assert_eq!(client.next()["method"], "notifications/subscriptions/acknowledged");
    client.send(&modern("6", "tools/call", r#""name":"u__grow""#));
    let mut told =
        [client.next(), client.next()].map(|message| message["params"]["_meta"][ID].clone());
    told.sort_by_key(Value::is_null);
    assert_eq!(told, [json!(5), Value::Null]);
    gateway.ask_to_end();
    let last = client.next();
    assert_eq!((&last["id"], &last["result"]["resultType"]), (&json!(5), &json!("complete")));
    assert_eq!(client.message(), None);
    assert_eq!(gateway.terminate(), 0);
}

#[test]
fn a_message_may_come_in_pieces_with_a_ping_between_them() {
    let gateway = gateway();
    let mut socket = Socket::open(&gateway, &[]);
    let (head, tail) = ASK.as_bytes().split_at(ASK.find('é').unwrap() + 1); // within the letter
    socket.frame(TEXT, false, head);
    socket.frame(PING, true, b"are you there?");
    assert_eq!(socket.next_frame(), Frame::Pong(b"are you there?".to_vec()));
    socket.frame(CONTINUE, false, b"");
    socket.frame(CONTINUE, true, tail);
    assert_eq!(socket.next_frame(), Frame::Text(ANSWER.to_owned()));
}

#[test]
fn a_large_answer_comes_whole() {
    let gateway = Gateway::start(&config("[tools.echo]\nmax_message_length = 1000000\n"));
    let mut client = Duplex::greeted(Kind::Socket, &gateway, "{}");
    let message = "ü".repeat(700_000);
    let call = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "echo", "arguments": {"message": message}},
    });
    let answer = client.ask(&call.to_string());
    assert_eq!(answer["result"]["structuredContent"]["message"], json!(message));
}

#[test]
fn what_is_no_message_is_answered_and_the_socket_goes_on() {
    let gateway = gateway();
    let mut client = Duplex::connect(Kind::Socket, &gateway);
    for (message, code) in [
        ("this is no JSON", -32700),
        ("", -32700),
        ("[]", -32600),
        (r#"{"jsonrpc":"2.0","id":4}"#, -32600),
    ] {
        client.send(message);
        assert_eq!(client.next()["error"]["code"], code, "{message}");
    }
    assert_eq!(client.ask(ASK)["result"], json!({}));
}

/// A frame that a client sends: its code, whether it is the last one of its message, its payload.
type Sent<'p> = (u8, bool, &'p [u8]);

#[test]
fn what_breaks_the_rules_is_told_which_one() {
    let gateway = gateway();
    let large = vec![b' '; 4 * 1024 * 1024 + 1];
    let (one, two) = large.split_at(large.len() / 2);
    let breaks: [(&str, u16, &[Sent<'_>]); 6] = [
        ("binary", 1003, &[(BINARY, true, ASK.as_bytes())]),
        ("too large", 1009, &[(TEXT, true, &large)]),
        ("too large in pieces", 1009, &[(TEXT, false, one), (CONTINUE, true, two)]),
        ("no UTF-8", 1007, &[(TEXT, true, b"\"\xff\"")]),
        ("a reserved bit", 1002, &[(0x40 | TEXT, true, b"{}")]),
        ("a code that nobody knows", 1002, &[(11, true, b"")]),
    ];
    for (what, code, frames) in breaks {
        let mut socket = Socket::open(&gateway, &[]);
        socket.text(ASK);
        assert_eq!(socket.next_frame(), Frame::Text(ANSWER.to_owned()), "{what}");
        for (kind, last, payload) in frames {
            socket.frame(*kind, *last, payload);
        }
        let (closed, reason) = socket.closed();
        assert_eq!(closed, code, "{what}: {reason}");
        assert!(!reason.is_empty(), "{what}");
    }
    let mut socket = Socket::open(&gateway, &[]);
    socket.raw(b"\x81\x02{}");
    assert_eq!(socket.closed().0, 1002, "no mask");
}

#[test]
fn a_client_that_closes_is_answered_and_gone() {
    let gateway = gateway();
    let mut socket = Socket::open(&gateway, &[]);
    socket.frame(CLOSE, true, &[&1000_u16.to_be_bytes()[..], b"done"].concat());
    assert_eq!(socket.closed(), (1000, "done".to_owned()));
    let mut socket = Socket::open(&gateway, &[]);
    socket.frame(CLOSE, true, b"");
    assert_eq!(socket.closed(), (1005, String::new()));
    eventually("the connections to be over", || {
        (metric(&gateway, "mcp_active_connections") < 1.5).then_some(())
    });
}

#[test]
fn a_silent_client_is_asked_whether_it_is_still_there() {
    let gateway = gateway();
    let mut socket = Socket::open(&gateway, &[]);
    socket.read_at_most(Duration::from_secs(25));
    assert_eq!(socket.next_frame(), Frame::Ping(Vec::new()), "after 15 seconds");
    socket.text(ASK);
    assert_eq!(socket.next_frame(), Frame::Text(ANSWER.to_owned()));
}
