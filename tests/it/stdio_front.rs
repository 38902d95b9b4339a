//! stdin and stdout as one client: both eras on one pipe, one line a message, and a clean end.

use serde_json::{Value, json};

use crate::support::upstream::{Upstream, config, pipe_to};
use crate::support::{MODERN_META, StdioClient, eventually};

fn modern(id: &str, method: &str, params: &str) -> String {
    let comma = if params.is_empty() { "" } else { "," };
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params}{comma}{MODERN_META}}}}}"#
    )
}

fn legacy(id: &str, method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params}}}}}"#)
}

const ECHO: &str = r#""name":"echo","arguments":{"message":"hi"}"#;

#[test]
fn both_eras_speak_in_any_order_on_one_pipe() {
    let upstream = Upstream::pipe(&[]);
    let mut pipe = pipe_to(&upstream);
    // Before any handshake: a client that says nothing of itself is a legacy one.
    assert_eq!(pipe.ask(&legacy("1", "ping", ""))["result"], json!({}));
    let early = pipe.ask(&legacy("2", "tools/call", ECHO));
    assert!(early["result"].get("resultType").is_none(), "{early}");
    let call = pipe.ask(&modern("3", "tools/call", r#""name":"u__whoami""#));
    assert_eq!(call["result"]["resultType"], "complete");
    assert_eq!(pipe.handshake("2025-06-18")["result"]["protocolVersion"], "2025-06-18");
    let call = pipe.ask(&legacy("4", "tools/call", r#""name":"u__whoami""#));
    assert!(call["result"].get("resultType").is_none(), "{call}");
    let discover = pipe.ask(&modern("5", "server/discover", ""));
    assert_eq!(discover["result"]["supportedVersions"], json!(["2026-07-28"]));
    assert_eq!(pipe.ask(&modern("6", "ping", ""))["error"]["code"], -32601);
    assert_eq!(pipe.handshake("2024-11-05")["result"]["protocolVersion"], "2024-11-05");
    let wrong = modern("7", "tools/list", "").replace("2026-07-28", "2099-01-01");
    let data = &pipe.ask(&wrong)["error"];
    assert_eq!((&data["code"], &data["data"]["requested"]), (&json!(-32022), &json!("2099-01-01")));
    let bare = modern("8", "tools/list", "").replace("clientCapabilities", "other");
    assert_eq!(pipe.ask(&bare)["error"]["code"], -32602);
    assert_eq!(pipe.close(), (0, vec![]));
}

#[test]
fn what_is_no_message_is_answered_and_the_pipe_goes_on() {
    let mut pipe = StdioClient::start(&config(""));
    for (line, code, id) in [
        ("this is no JSON", -32700, Value::Null),
        ("[]", -32600, Value::Null),
        (r#"{"jsonrpc":"2.0","id":4}"#, -32600, json!(4)),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600, Value::Null),
        (r#"{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{}}"#, -32602, json!("x")),
        (r#"{"jsonrpc":"2.0","id":6,"method":"initialize","params":{}}"#, -32602, json!(6)),
    ] {
        pipe.send(line);
        let answer = pipe.next();
        assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(code), &id), "{line}");
    }
    // Neither of these is answered.
    for line in [
        "",
        "   ",
        "\r",
        r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        r#"{"jsonrpc":"2.0","method":"no/such"}"#,
    ] {
        pipe.send(line);
    }
    pipe.send(&format!("{}\r", legacy("9", "ping", "")));
    assert_eq!(pipe.next(), json!({"jsonrpc": "2.0", "id": 9, "result": {}}));
    assert_eq!(pipe.close(), (0, vec![]));
}

#[test]
fn a_line_over_four_mebibytes_is_refused_and_the_next_one_served() {
    let mut pipe = StdioClient::start(&config(""));
    let filler = "x".repeat(4 * 1024 * 1024);
    pipe.send(&legacy("1", "tools/call", &format!(r#""name":"{filler}""#)));
    let answer = pipe.next();
    assert_eq!((&answer["error"]["code"], answer.get("id")), (&json!(-31007), None));
    assert_eq!(pipe.ask(&legacy("2", "ping", ""))["result"], json!({}));
}

#[test]
fn a_slow_call_does_not_hold_up_the_next_one() {
    let upstream = Upstream::pipe(&[]);
    let mut pipe = pipe_to(&upstream);
    pipe.send(&legacy("2", "tools/call", r#""name":"u__sleep","arguments":{"ms":600000}"#));
    eventually("the slow call", || (upstream.of("tools/call").len() == 1).then_some(()));
    pipe.send(&legacy("3", "tools/call", r#""name":"u__whoami""#));
    assert_eq!(pipe.next()["id"], 3);
    pipe.send(&legacy("4", "ping", ""));
    assert_eq!(pipe.next()["id"], 4);
}

#[test]
fn at_the_end_of_stdin_what_was_asked_is_answered() {
    let upstream = Upstream::pipe(&[]);
    let mut pipe = pipe_to(&upstream);
    for id in 1..=20 {
        pipe.send(&legacy(
            &id.to_string(),
            "tools/call",
            r#""name":"u__sleep","arguments":{"ms":50}"#,
        ));
    }
    let (code, lines) = pipe.close();
    assert_eq!(code, 0);
    let mut ids: Vec<u64> = lines
        .iter()
        .map(|line| {
            let answer: Value = serde_json::from_str(line).unwrap();
            assert_eq!(answer["result"]["structuredContent"]["slept_ms"], 50, "{line}");
            answer["id"].as_u64().unwrap()
        })
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=20).collect::<Vec<_>>());
}

#[test]
fn a_call_that_hangs_does_not_hold_up_the_end() {
    let upstream = Upstream::pipe(&[]);
    let mut pipe = pipe_to(&upstream);
    pipe.send(&legacy("1", "tools/call", r#""name":"u__sleep","arguments":{"ms":600000}"#));
    eventually("the call", || (upstream.of("tools/call").len() == 1).then_some(()));
    assert_eq!(pipe.close().0, 0);
}

#[test]
fn a_legacy_client_hears_of_changes_and_a_silent_one_does_not() {
    for (kind, upstream) in Upstream::every_kind() {
        let mut pipe = pipe_to(&upstream);
        let grow = |pipe: &mut StdioClient, extra: &str| {
            pipe.send(&modern("1", "tools/call", r#""name":"u__grow""#));
            let answer = pipe.next();
            assert_eq!(answer["id"], 1, "{kind}: {answer}");
            eventually("the new tool", || {
                pipe.send(&modern("2", "tools/list", ""));
                let list = loop {
                    let message = pipe.next();
                    if message["id"] == 2 {
                        break message;
                    }
                    assert_eq!(message["method"], "notifications/tools/list_changed", "{kind}");
                    assert!(message.get("params").is_none(), "{kind}: {message}");
                };
                list.to_string().contains(extra).then_some(())
            });
        };
        grow(&mut pipe, "u__extra_1");
        pipe.handshake("2025-11-25");
        pipe.send(&modern("1", "tools/call", r#""name":"u__grow""#));
        let mut methods = [pipe.next(), pipe.next()].map(|message| message["method"].clone());
        methods.sort_by_key(Value::is_null);
        assert_eq!(methods, [json!("notifications/tools/list_changed"), Value::Null], "{kind}");
        assert_eq!(pipe.close(), (0, vec![]), "{kind}: once");
    }
}

#[test]
fn a_subscription_on_the_pipe_is_acknowledged_told_cancelled_and_ended() {
    const ID: &str = "io.modelcontextprotocol/subscriptionId";
    let upstream = Upstream::pipe(&[]);
    let mut pipe = pipe_to(&upstream);
    let wish = r#""notifications":{"toolsListChanged":true}"#;
    for id in ["5", "\"5\""] {
        pipe.send(&modern(id, "subscriptions/listen", wish));
        let first = pipe.next();
        assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
        assert_eq!(first["params"]["_meta"][ID].to_string(), id);
    }
    let changed = |pipe: &mut StdioClient, tellings: usize| {
        pipe.send(&modern("1", "tools/call", r#""name":"u__grow""#));
        let all: Vec<Value> = (0..=tellings).map(|_| pipe.next()).collect();
        let told = all.iter().filter(|m| m["method"] == "notifications/tools/list_changed");
        let mut told: Vec<String> =
            told.map(|note| note["params"]["_meta"][ID].to_string()).collect();
        told.sort();
        told
    };
    assert_eq!(changed(&mut pipe, 2), ["\"5\"", "5"]);
    pipe.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}"#);
    assert_eq!(changed(&mut pipe, 1), ["\"5\""]);
    let (code, rest) = pipe.close();
    assert_eq!((code, rest.len()), (0, 1), "{rest:?}");
    let last: Value = serde_json::from_str(&rest[0]).unwrap();
    assert_eq!((&last["id"], &last["result"]["_meta"][ID]), (&json!("5"), &json!("5")));
    assert_eq!(last["result"]["resultType"], "complete");
}

#[test]
fn a_call_before_the_first_list_waits_for_the_upstream_that_has_the_tool() {
    let upstream = Upstream::pipe(&["--quirk", "slow-start=500"]);
    let mut pipe = StdioClient::start(&config(&upstream.replica("u")));
    let call = pipe.ask(&modern("1", "tools/call", r#""name":"u__whoami""#));
    assert_eq!(call["result"]["resultType"], "complete", "{call}");
    let unknown = pipe.ask(&modern("2", "tools/call", r#""name":"u__nobody""#));
    assert_eq!(unknown["error"]["code"], -32602);
}
