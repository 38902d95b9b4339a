//! What a client sends is what its upstream gets, byte for byte, save for what must change; and
//! what is ambiguous goes nowhere.

use std::sync::Barrier;

use serde_json::{Value, json};

use crate::support::upstream::{Got, Upstream, config, gateway, gateway_to, pipe_to};
use crate::support::{Http, MODERN_META, Reply, StdioClient};

/// Arguments that no parser keeps as they are: numbers beyond every type, several spellings of the
/// same, half a surrogate pair, doubled and odd keys, white space, an order.
const ODD: &str = r#"{"z":1,"a":12345678901234567890123456789,"e":1e2,"f":1E+02,"g":1.0,"h":-0,"i":0.1000,"j":1e400,"s":"\ud800","t":"\udc00\ud800 \u0000\/ \u00fc","u":"😀 \ud83d\ude00","k":{"k":1,"k":2,"K":3},"name":"x","Name":"y","method":"m","":null, "y" : [ 1 ,2,	3 ],"_meta":{"a":1,"a":2},"arguments":{"arguments":{}},"m":[[],{},"",true]}"#;

/// The text after `"arguments":` of a message that was sent.
fn arguments(got: &Got) -> &str {
    let (_, rest) = got.body.split_once(r#""arguments":"#).unwrap();
    rest
}

fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_default()
}

/// The answer of `echo_args` in the form it has in the answer's own text: quoted.
fn quoted(raw: &str) -> String {
    serde_json::to_string(raw).unwrap()
}

#[test]
fn arguments_reach_every_kind_of_upstream_byte_for_byte_from_every_kind_of_client() {
    for (kind, upstream) in Upstream::every_kind() {
        let gateway = gateway_to(&upstream);
        let url = gateway.url();
        let modern = Http::modern_call(&url, "u__echo_args", ODD);
        let session = Http::legacy_session(&url, "2025-11-25");
        let legacy = Http::legacy_call(&url, &session, "u__echo_args", ODD);
        for reply in [modern, legacy] {
            assert_eq!(reply.verdict(), (200, 0), "{kind}: {reply:?}");
            // Half a surrogate pair does not fit a value of the test either.
            assert!(reply.body.contains(&quoted(ODD)), "{kind}: {reply:?}");
        }
        let calls = upstream.of("tools/call");
        assert_eq!(calls.len(), 2, "{kind}");
        for call in calls {
            assert!(arguments(&call).starts_with(ODD), "{kind}: {call:?}");
            assert!(call.body.contains(r#""name":"echo_args""#), "{kind}: {call:?}");
        }
    }
}

#[test]
fn arguments_pass_the_pipe_byte_for_byte_too() {
    for (kind, upstream) in Upstream::every_kind() {
        let mut pipe = pipe_to(&upstream);
        pipe.handshake("2025-11-25");
        for meta in ["", &format!(",{MODERN_META}")] {
            pipe.send(&format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"u__echo_args","arguments":{ODD}{meta}}}}}"#
            ));
            let line = pipe.next_line();
            assert!(line.contains(&quoted(ODD)), "{kind}: {line}");
        }
        for call in upstream.of("tools/call") {
            assert!(arguments(&call).starts_with(ODD), "{kind}: {call:?}");
        }
    }
}

#[test]
fn between_peers_of_one_era_nothing_changes_but_the_name_and_the_id() {
    let odd_meta = r#""_meta":{"x.example/a":[1e2,{"k":1,"k":2}],"io.modelcontextprotocol/clientCapabilities":{"x":{}},"traceparent":"00-1-2-01","io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;
    let body = |name: &str| {
        format!(
            r#"{{ "params" : {{ {odd_meta} , "inputResponses":{{"a":{{}}}},"arguments":{ODD},"extra":[1.50], "na\u006de":{name} }}, "other":"member","id":"é-1", "method":"tools\/call","jsonrpc":"2.0"}}"#
        )
    };
    let upstream = Upstream::url(&["--era", "modern"]);
    let gateway = gateway_to(&upstream);
    let headers = [
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", "tools/call"),
        ("Mcp-Name", "u__echo_args"),
    ];
    let reply = Http::post(&gateway.url(), &headers, &body(r#""u__echo_\u0061rgs""#));
    assert_eq!(reply.verdict(), (200, 0), "{reply:?}");
    assert_eq!(reply.answer()["id"], "é-1");
    let got: Vec<Got> =
        upstream.got().into_iter().filter(|got| got.body.contains("inputResponses")).collect();
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].body, body(r#""echo_args""#));
}

#[test]
fn a_message_spread_over_lines_becomes_one_line_for_a_pipe() {
    let upstream = Upstream::pipe(&[]);
    let gateway = gateway_to(&upstream);
    let pretty = "{\r\n  \"a\": 1,\n\t\"b\": \"x\\ny\"\r}";
    let reply = Http::modern_call(&gateway.url(), "u__echo_args", pretty);
    assert_eq!(reply.verdict(), (200, 0), "{reply:?}");
    let flat = pretty.replace(['\r', '\n'], " ");
    assert_eq!(text(&reply.answer()), flat);
    assert!(arguments(&upstream.only_call()).starts_with(&flat));
}

#[test]
fn arguments_a_hundred_thousand_levels_deep_are_refused_and_the_gateway_lives() {
    let upstream = Upstream::url(&[]);
    let gateway = gateway_to(&upstream);
    let url = gateway.url();
    let session = Http::legacy_session(&url, "2025-11-25");
    let deep = |open: &str, close: &str, levels: usize| {
        format!(r#"{{"x":{}1{}}}"#, open.repeat(levels), close.repeat(levels))
    };
    for arguments in [
        deep("[", "]", 100_000),
        deep(r#"{"a":"#, "}", 100_000),
        format!(r#"{{"x":{}"#, "[".repeat(100_000)),
        deep("[", "]", 62),
    ] {
        let modern = Http::modern_call(&url, "u__echo_args", &arguments);
        let legacy = Http::legacy_call(&url, &session, "u__echo_args", &arguments);
        for reply in [modern, legacy] {
            assert_eq!(reply.verdict(), (400, -32600), "{:.200}", reply.body);
            assert_eq!(reply.answer()["id"], 1);
        }
    }
    let wide = format!("{{{}}}", vec![r#""k":1"#; 20_000].join(","));
    assert_eq!(Http::modern_call(&url, "u__echo_args", &wide).verdict(), (400, -32600));
    assert!(upstream.by_clients().is_empty());
    // message, params, arguments and 61 arrays are 64 levels
    let deepest = deep("[", "]", 61);
    let reply = Http::modern_call(&url, "u__echo_args", &deepest);
    assert_eq!((reply.verdict(), text(&reply.answer())), ((200, 0), deepest.as_str()));
    let mut pipe = StdioClient::start(&config(""));
    let arguments = deep("[", "]", 100_000);
    let answer = pipe.ask(r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{}}"#);
    assert_eq!(answer["result"], json!({}));
    pipe.send(&format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","arguments":{arguments}}}}}"#
    ));
    assert_eq!(pipe.next()["error"]["code"], -32600);
    assert_eq!(pipe.ask(r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#)["result"], json!({}));
}

#[test]
fn what_two_parsers_could_read_differently_is_refused_and_reaches_nobody() {
    let upstream = Upstream::url(&[]);
    let gateway = gateway(&format!(
        "[upstreams.u]\nprefix = \"\"\ntools.exclude = [\"append\"]\n{}",
        upstream.replica("u")
    ));
    let url = gateway.url();
    let session = Http::legacy_session(&url, "2025-11-25");
    let meta = MODERN_META.trim_start_matches("\"_meta\":{").trim_end_matches('}');
    let claim = |more: &str| format!(r#""_meta":{{{meta}}}{more}}}"#);
    let message = |members: &str, params: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":7,{members},"params":{{{params}}}}}"#)
    };
    let call = r#""method":"tools/call""#;
    let good = r#""name":"whoami","arguments":{}"#;
    let rows = [
        message(r#""method":"tools/call","method":"tools/list""#, good),
        message(r#""method":"tools/call","meth\u006fd":"tools/list""#, good),
        message(r#""method":"tools/call","Method":"tools/list""#, good),
        message(r#""method":"tools/call","METHOD":"x""#, good),
        message(r#""method":"tools/call","id":8"#, good),
        message(r#""method":"tools/call","ID":8"#, good),
        message(r#""method":"tools/call","jsonrpc":"2.0""#, good),
        message(r#""method":"tools/call","params":{"name":"append"}"#, good),
        message(r#""method":"tools/call","Params":{"name":"append"}"#, good),
        message(r#""method":"tools/call","param\u017f":{"name":"append"}"#, good),
        message(call, r#""name":"whoami","name":"append","arguments":{}"#),
        message(call, r#""name":"append","name":"whoami","arguments":{}"#),
        message(call, r#""name":"whoami","n\u0061me":"append","arguments":{}"#),
        message(call, r#""name":"whoami","Name":"append","arguments":{}"#),
        message(call, r#""NAME":"append","name":"whoami","arguments":{}"#),
        message(call, r#""name":"whoami","arguments":{},"arguments":{"line":"x"}"#),
        message(call, r#""name":"whoami","arguments":{},"Arguments":{"line":"x"}"#),
        message(call, r#""name":"whoami","argument\u017f":{"line":"x"}"#),
        message(call, r#""name":"whoami","_Meta":{}"#),
        message(call, r#""name":"whoami","x":1,"x":2"#),
    ];
    let headers = [
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", "tools/call"),
        ("Mcp-Name", "whoami"),
    ];
    let mut pipe = StdioClient::start(&config(&upstream.replica("p")));
    let mut refused = |text: &str, headers: &[(&str, &str)]| {
        let reply: Reply = Http::post(&url, headers, text);
        assert_eq!(reply.verdict(), (400, -32600), "{text}: {reply:?}");
        pipe.send(text);
        assert_eq!(pipe.next()["error"]["code"], -32600, "{text}");
    };
    for row in &rows {
        refused(row, &[("Mcp-Session-Id", &session)]);
        let modern = row.replacen(r#""params":{"#, &format!(r#""params":{{{},"#, claim("")), 1);
        let modern = if modern == *row { row.clone() } else { modern };
        refused(&modern, &headers);
    }
    for more in [
        r#","io.modelcontextprotocol/protocolVersion":"2026-07-28""#,
        r#","io.modelcontextprotocol/protocolversion":"2025-11-25""#,
        r#","progressToken":1,"progressToken":2"#,
        r#","progresstoken":1"#,
        r#","a":1,"a":1"#,
    ] {
        refused(&message(call, &format!("{good},{}", claim(more))), &headers);
    }
    refused(&message(call, &format!("{good},{},{}", claim(""), claim(""))), &headers);
    assert!(upstream.by_clients().is_empty(), "{:?}", upstream.by_clients());
    // The same upstream serves what is clear.
    let clear = Http::post(&url, &headers, &message(call, &format!("{good},{}", claim(""))));
    assert_eq!(clear.verdict(), (200, 0));
    let denied = Http::modern_call(&url, "append", "{}");
    assert_eq!(denied.verdict(), (200, -31006));
    assert_eq!(upstream.by_clients().len(), 1);
}

/// Raw ids, each of which must come back as it was.
fn ids() -> Vec<String> {
    let mut ids: Vec<String> = [
        r#""text""#,
        "7",
        "0",
        "-1",
        "-0",
        "9007199254740993",
        "-9223372036854775809",
        "123456789012345678901234567890",
        "1.5",
        "1.50",
        "1e2",
        r#""""#,
        r#"" ""#,
        r#""7""#,
        r#""a\u0062c\/\n""#,
        r#""\ud83d\ude00 ü""#,
        r#""\ud800""#,
    ]
    .map(str::to_owned)
    .to_vec();
    ids.push(format!("\"{}\"", "i".repeat(65)));
    ids.push(format!("\"{}\"", "i".repeat(1024 * 1024)));
    ids
}

/// Whether the text is an answer with this raw id and a result.
#[track_caller]
fn answers(text: &str, id: &str, what: &str) {
    let found = text.contains(&format!(r#""id":{id},"#));
    assert!(found && text.contains(r#""result":"#), "{what}: id {id:.40}: {text:.400}");
}

#[test]
fn an_id_comes_back_as_it_was_sent_whatever_it_is() {
    for (kind, upstream) in Upstream::every_kind() {
        let gateway = gateway_to(&upstream);
        let url = gateway.url();
        let session = Http::legacy_session(&url, "2025-11-25");
        let params = r#""name":"u__whoami","arguments":{}"#;
        for id in ids() {
            let reply = Http::modern(&url, &id, "tools/call", Some("u__whoami"), params);
            answers(&reply.body, &id, kind);
            let reply = Http::legacy(&url, &session, &id, "tools/call", &format!("{{{params}}}"));
            answers(&reply.body, &id, kind);
        }
        assert_eq!(upstream.of("tools/call").len(), 2 * ids().len(), "{kind}");
    }
}

#[test]
fn the_gateways_own_answers_and_errors_carry_the_id_as_it_was_sent() {
    let gateway = gateway("");
    let url = gateway.url();
    let mut pipe = StdioClient::start(&config(""));
    for id in ids() {
        for (method, name, params) in [
            ("server/discover", None, ""),
            ("tools/list", None, ""),
            ("tools/call", Some("echo"), r#""name":"echo","arguments":{"message":"x"}"#),
        ] {
            answers(&Http::modern(&url, &id, method, name, params).body, &id, method);
        }
        let wrong = Http::modern(&url, &id, "no/such", None, "");
        assert!(wrong.body.contains(&format!(r#""id":{id},"error""#)), "{:.300}", wrong.body);
        let hello = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"initialize","params":{{"protocolVersion":"2025-11-25","capabilities":{{}}}}}}"#
        );
        answers(&Http::post(&url, &[], &hello).body, &id, "initialize");
        pipe.send(&hello);
        answers(&pipe.next_line(), &id, "initialize on the pipe");
        pipe.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#));
        answers(&pipe.next_line(), &id, "ping on the pipe");
    }
    for id in ["null", "true", "{}", "[1]"] {
        let reply = Http::modern(&url, id, "tools/list", None, "");
        assert_eq!(reply.verdict(), (400, -32600), "id {id}");
        pipe.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#));
        assert_eq!(pipe.next()["error"]["code"], -32600, "id {id}");
    }
}

#[test]
fn two_clients_with_the_same_id_at_once_each_get_their_own_answer() {
    for (kind, upstream) in Upstream::every_kind() {
        let gateway = gateway_to(&upstream);
        let url = gateway.url();
        let session = Http::legacy_session(&url, "2025-11-25");
        let (start, rounds) = (Barrier::new(3), 20);
        std::thread::scope(|scope| {
            let ask = |who: &'static str, id: &'static str, legacy: bool| {
                let (url, session, start) = (&url, &session, &start);
                scope.spawn(move || {
                    for round in 0..rounds {
                        start.wait();
                        let own = format!(r#"{{"who":"{who}","round":{round}}}"#);
                        let params = format!(r#""name":"u__echo_args","arguments":{own}"#);
                        let reply = if legacy {
                            let params = format!("{{{params}}}");
                            Http::legacy(url, session, id, "tools/call", &params)
                        } else {
                            Http::modern(url, id, "tools/call", Some("u__echo_args"), &params)
                        };
                        assert_eq!(text(&reply.answer()), own, "{kind}: {reply:?}");
                        answers(&reply.body, id, kind);
                    }
                });
            };
            ask("a", "1", false);
            ask("b", "1", true);
            ask("c", "\"1\"", false);
        });
    }
}
