//! Many calls at once, the same call at every replica, where a call goes and why, and what the
//! gateway tells of its upstreams.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::process::{WAYPOST, free_port};
use crate::support::puppet::{Offer, Puppet};
use crate::support::toml::{demo, named, upstream, url};
use crate::support::{
    Demo, Era, Gateway, Http, MODERN_META, eventually, listed, metric, replicas_up,
};

/// A gateway over three children that answer as a, b and c.
fn three(keys: &str) -> Gateway {
    let replicas = ["a", "b", "c"].map(|name| named(name, &demo(&["--name", name])));
    let keys = format!("trust_annotations = true\n{keys}");
    let gateway = Gateway::start(&upstream("u", &keys, &replicas));
    replicas_up(&gateway, "u", 3);
    listed(&gateway, "u__whoami");
    gateway
}

/// Three servers behind URLs, which record what they get.
fn three_urls(keys: &str) -> (Gateway, Vec<Demo>) {
    let servers: Vec<_> = ["a", "b", "c"].map(|name| Demo::start(&["--name", name])).into();
    let replicas: Vec<_> =
        ["a", "b", "c"].iter().zip(&servers).map(|(name, s)| named(name, &url(&s.url))).collect();
    let keys = format!("trust_annotations = true\n{keys}");
    let gateway = Gateway::start(&upstream("u", &keys, &replicas));
    replicas_up(&gateway, "u", 3);
    listed(&gateway, "u__whoami");
    (gateway, servers)
}

/// The structured content of a call that goes well.
#[track_caller]
fn told(gateway: &Gateway, tool: &str, arguments: &Value) -> Value {
    let answer = Http::modern_call(&gateway.url(), tool, &arguments.to_string()).answer();
    let content = answer["result"]["structuredContent"].clone();
    assert!(content.is_object() && answer["result"]["isError"] != true, "{answer}");
    content
}

/// The text of a call that is refused.
#[track_caller]
fn refused(gateway: &Gateway, tool: &str, arguments: &Value) -> String {
    let answer = Http::modern_call(&gateway.url(), tool, &arguments.to_string()).answer();
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    answer["result"]["content"][0]["text"].as_str().unwrap().to_owned()
}

/// A modern call with more members in its `_meta`.
fn asked(gateway: &Gateway, tool: &str, arguments: &str, more: &str) -> Value {
    let meta = MODERN_META.replacen("\"_meta\":{", &format!("\"_meta\":{{{more},"), 1);
    let params = format!(r#"{{"name":"{tool}","arguments":{arguments},{meta}}}"#);
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
    let headers =
        [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/call"), ("Mcp-Name", tool)];
    Http::post(&gateway.url(), &headers, &body).answer()
}

const TRACE: &str = r#""dev.waypost/trace":true"#;

#[track_caller]
fn traced(gateway: &Gateway, tool: &str) -> Value {
    let answer = asked(gateway, tool, "{}", TRACE);
    let trace = answer["result"]["_meta"]["dev.waypost/trace"].clone();
    assert!(trace.is_object(), "{answer}");
    trace
}

fn api(gateway: &Gateway, path: &str) -> (u16, Value) {
    let reply = Http::send("GET", &format!("{}{path}", gateway.base), &[], "");
    (reply.status, reply.answer())
}

// === aggregate ===

#[test]
fn an_aggregate_keeps_the_order_and_a_failing_call_fails_alone() {
    let gateway = three("");
    // The first takes longest; the third is refused by the tool.
    let list = json!([{ "ms": 300 }, { "ms": 1 }, { "ms": "soon" }, { "ms": 20 }]);
    let arguments = json!({ "tool": "u__sleep", "arguments_list": list, "max_concurrency": 4 });
    let data = told(&gateway, "gateway_aggregate", &arguments);
    assert_eq!(
        (&data["calls"], &data["succeeded"], &data["failed"]),
        (&json!(4), &json!(3), &json!(1))
    );
    let ok: Vec<_> = data["results"].as_array().unwrap().iter().map(|e| &e["ok"]).collect();
    assert_eq!(ok, [true, true, false, true]);
    let indices: Vec<_> =
        data["results"].as_array().unwrap().iter().map(|e| e["index"].as_u64().unwrap()).collect();
    assert_eq!(indices, [0, 1, 2, 3]);
    // They are ordinary calls: counted as such, under the tool's own name.
    let series = r#"mcp_requests_total{tool_name="u__sleep",status="success"}"#;
    assert!((metric(&gateway, series) - 3.0).abs() < 0.5);
    let text = refused(
        &gateway,
        "gateway_aggregate",
        &json!({ "tool": "gateway_aggregate", "arguments_list": [{}] }),
    );
    assert!(text.contains("itself included"), "{text}");
    let unknown = json!({ "tool": "u__whoam", "arguments_list": [{}] });
    let text = refused(&gateway, "gateway_aggregate", &unknown);
    assert!(text.contains("u__whoami"), "the nearest name: {text}");
}

#[test]
fn the_calls_of_an_aggregate_may_choose_their_strategy() {
    let gateway = three("balance = \"weighted\"");
    let arguments = json!({
        "tool": "u__whoami", "arguments_list": vec![json!({}); 9], "max_concurrency": 1,
        "strategy": "round_robin",
    });
    let data = told(&gateway, "gateway_aggregate", &arguments);
    let mut shares: BTreeMap<String, usize> = BTreeMap::new();
    for entry in data["results"].as_array().unwrap() {
        let name = entry["result"]["structuredContent"]["name"].as_str().unwrap();
        *shares.entry(name.to_owned()).or_default() += 1;
    }
    assert_eq!(shares.values().copied().collect::<Vec<_>>(), [3, 3, 3]);
}

#[test]
fn a_call_of_an_aggregate_that_was_not_sent_says_so() {
    let mut server = Demo::start(&[]);
    let gateway = Gateway::start(&upstream("u", "timeout = \"1s\"", &[url(&server.url)]));
    listed(&gateway, "u__whoami");
    server.kill();
    let list = json!({ "tool": "u__whoami", "arguments_list": [{}, {}] });
    let data = told(&gateway, "gateway_aggregate", &list);
    assert_eq!((&data["succeeded"], &data["failed"]), (&json!(0), &json!(2)));
    for entry in data["results"].as_array().unwrap() {
        let error = &entry["error"];
        assert_eq!((&entry["delivery"], &error["code"]), (&json!("not_sent"), &json!(-31002)));
        assert_eq!(error["data"]["upstream"], "u", "{entry}");
    }
}

#[test]
fn a_broadcast_asks_every_replica_once_and_names_who_differs() {
    let (gateway, servers) = three_urls("balance = \"round_robin\"");
    let arguments = json!({ "tool": "u__whoami", "mode": "broadcast" });
    let data = told(&gateway, "gateway_aggregate", &arguments);
    let who: Vec<_> = data["results"].as_array().unwrap().iter().map(|e| &e["replica"]).collect();
    assert_eq!(who, ["a", "b", "c"]);
    for (entry, name) in data["results"].as_array().unwrap().iter().zip(["a", "b", "c"]) {
        assert_eq!(entry["result"]["structuredContent"]["name"], name, "{entry}");
    }
    for server in &servers {
        assert_eq!(server.requests("tools/call").len(), 1);
    }
    assert_eq!(data["same"], false);
    let places = data["differences"].as_array().unwrap();
    let name = places.iter().find(|place| place["path"] == "/name").unwrap();
    let values = json!([
        { "replica": "a", "value": "\"a\"" }, { "replica": "b", "value": "\"b\"" },
        { "replica": "c", "value": "\"c\"" },
    ]);
    assert_eq!(name["values"], values);
    let sum = json!({ "tool": "u__add", "mode": "broadcast", "arguments": { "a": 1, "b": 2 } });
    let text = refused(&gateway, "gateway_aggregate", &sum);
    assert!(text.contains("u__add is idempotent") && text.contains("allow_writes"), "{text}");
    let mut sum = sum;
    sum["allow_writes"] = true.into();
    let data = told(&gateway, "gateway_aggregate", &sum);
    assert_eq!((&data["same"], &data["difference_count"]), (&json!(true), &json!(0)));
}

#[test]
fn a_replica_that_is_down_is_an_entry_of_a_broadcast() {
    let (gateway, mut servers) = three_urls("");
    servers[1].kill();
    replicas_up(&gateway, "u", 2);
    let data =
        told(&gateway, "gateway_aggregate", &json!({ "tool": "u__whoami", "mode": "broadcast" }));
    let entry = &data["results"][1];
    assert_eq!((&entry["replica"], &entry["ok"]), (&json!("b"), &json!(false)), "{entry}");
    assert_eq!((&entry["delivery"], &entry["error"]["code"]), (&json!("not_sent"), &json!(-31002)));
    assert!(entry["error"]["message"].as_str().unwrap().contains("the replica b of u is down"));
    assert_eq!((&data["succeeded"], &data["same"]), (&json!(2), &json!(false)));
}

#[test]
fn a_client_that_hangs_up_cancels_what_its_aggregate_began() {
    let (gateway, servers) = three_urls("");
    let list = vec![json!({ "ms": 600_000 }); 6];
    let arguments = json!({ "tool": "u__sleep", "arguments_list": list, "max_concurrency": 3 });
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"gateway_aggregate","arguments":{arguments},{MODERN_META}}}}}"#
    );
    let headers = [
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", "tools/call"),
        ("Mcp-Name", "gateway_aggregate"),
    ];
    let socket = Http::begin(&gateway.url(), &headers, &body);
    let calls = || servers.iter().map(|s| s.requests("tools/call").len()).sum::<usize>();
    eventually("three calls", || (calls() == 3).then_some(()));
    drop(socket);
    let inflight = |name| {
        let series = format!(r#"mcp_upstream_inflight{{upstream="u",replica="{name}"}}"#);
        metric(&gateway, &series)
    };
    eventually("their end", || {
        (["a", "b", "c"].map(inflight).iter().sum::<f64>() < 0.5).then_some(())
    });
    assert_eq!(calls(), 3, "the others were never begun");
}

// === trace and route ===

#[test]
fn a_route_explained_is_the_route_a_trace_then_shows() {
    for strategy in ["round_robin", "weighted"] {
        let gateway = three(&format!("balance = \"{strategy}\""));
        for _ in 0..7 {
            let told = told(&gateway, "gateway_route_explain", &json!({ "tool": "u__whoami" }));
            let again = told_pick(&gateway);
            assert_eq!(told["pick"]["replica"], again, "to explain takes no turn");
            let trace = traced(&gateway, "u__whoami");
            let attempt = &trace["attempts"][0];
            assert_eq!(attempt["replica"], told["pick"]["replica"], "{told} {trace}");
            assert_eq!(attempt["why"], told["pick"]["why"]);
            assert_eq!(
                (&told["effect"], &trace["effect"]),
                (&json!("read_only"), &json!("read_only"))
            );
        }
    }
}

fn told_pick(gateway: &Gateway) -> Value {
    told(gateway, "gateway_route_explain", &json!({ "tool": "u__whoami" }))["pick"]["replica"]
        .clone()
}

#[test]
fn a_route_says_what_it_takes_a_tool_to_do_and_why() {
    let gateway = three("tools.effect = { append = \"idempotent\" }");
    let explain = |tool: &str| told(&gateway, "gateway_route_explain", &json!({ "tool": tool }));
    let append = explain("u__append");
    assert_eq!(
        (&append["effect"], &append["effect_why"]),
        (&json!("idempotent"), &json!("tools.effect says so"))
    );
    let who = explain("u__whoami");
    assert!(who["effect_why"].as_str().unwrap().contains("readOnlyHint"), "{who}");
    assert_eq!((&who["origin"], &who["name_there"]), (&json!("u"), &json!("whoami")));
    let replicas = who["replicas"].as_array().unwrap();
    assert_eq!(replicas.len(), 3);
    for replica in replicas {
        assert_eq!((&replica["state"], &replica["gate"]), (&json!("up"), &json!("open")));
        for number in ["in_flight", "weight", "warmth", "errors", "latency_relative", "lives"] {
            assert!(replica[number].is_number(), "{number} in {replica}");
        }
    }
    assert_eq!(explain("echo")["origin"], "built-in");
    let text = refused(&gateway, "gateway_route_explain", &json!({ "tool": "u__whoam" }));
    assert!(text.contains("u__whoami"), "{text}");
    let fastest = json!({ "tool": "u__whoami", "strategy": "fastest" });
    let text = refused(&gateway, "gateway_route_explain", &fastest);
    assert!(text.contains("one of auto, round_robin"), "{text}");
}

#[test]
fn a_trace_tells_of_each_try_and_of_why_it_was_the_last() {
    let port = free_port();
    let dead = format!("http://127.0.0.1:{port}/mcp");
    let mut first = Demo::start_on(port, &["--name", "a"]);
    let other = Demo::start(&["--name", "b"]);
    let replicas = [named("a", &url(&dead)), named("b", &url(&other.url))];
    let keys =
        "balance = \"round_robin\"\nhealth = { interval = \"10m\", fast_interval = \"10m\" }";
    let gateway = Gateway::start(&upstream("u", keys, &replicas));
    replicas_up(&gateway, "u", 2);
    listed(&gateway, "u__whoami");
    first.kill();
    let trace = eventually("a call that meets the dead one", || {
        let trace = traced(&gateway, "u__whoami");
        (trace["attempts"].as_array().unwrap().len() == 2).then_some(trace)
    });
    let (one, two) = (&trace["attempts"][0], &trace["attempts"][1]);
    assert_eq!((&one["replica"], &one["delivery"]), (&json!("a"), &json!("not_sent")), "{trace}");
    assert_eq!((&one["retried"], &two["outcome"]), (&json!(true), &json!("result")), "{trace}");
    assert_eq!((&two["replica"], &two["delivery"]), (&json!("b"), &json!("answered")), "{trace}");
    assert!(two["began_ms"].as_f64() >= one["began_ms"].as_f64());
    drop(other);
    let answer = eventually("nobody to answer", || {
        let answer = asked(&gateway, "u__append", r#"{"line":"x"}"#, TRACE);
        answer["error"].is_object().then_some(answer)
    });
    let trace = &answer["error"]["data"]["dev.waypost/trace"];
    assert_eq!(answer["error"]["data"]["source"], "gateway");
    let last = trace["attempts"].as_array().unwrap().last();
    assert!(
        last.is_none_or(|last| last["retried"] == false || last["retried"] == true),
        "{answer}"
    );
    assert_eq!(trace["effect"], "unsafe");
}

#[test]
fn who_does_not_ask_gets_no_trace_and_no_key_of_ours_reaches_an_upstream() {
    for era in ["modern", "legacy"] {
        let server = Demo::start(&["--era", era]);
        let gateway = Gateway::start(&upstream("u", "", &[url(&server.url)]));
        listed(&gateway, "u__whoami");
        let plain = Http::modern_call(&gateway.url(), "u__whoami", "{}").answer();
        assert!(!plain.to_string().contains("dev.waypost"), "{plain}");
        let ours = format!(r#"{TRACE},"dev.waypost/strategy":"random","kept":"yes""#);
        let answer = asked(&gateway, "u__whoami", "{}", &ours);
        let trace = &answer["result"]["_meta"]["dev.waypost/trace"];
        assert_eq!(trace["strategy"], "random", "{answer}");
        let session = Http::legacy_session(&gateway.url(), "2025-06-18");
        let params = format!(r#"{{"name":"u__whoami","_meta":{{{ours}}}}}"#);
        let legacy = Http::legacy(&gateway.url(), &session, "7", "tools/call", &params).answer();
        assert!(legacy["result"]["_meta"]["dev.waypost/trace"].is_object(), "{legacy}");
        let seen = server.requests("tools/call");
        assert_eq!(seen.len(), 3);
        for request in &seen {
            assert!(!request.to_string().contains("dev.waypost"), "{request}");
        }
        let kept = |request: &&Value| request["body"].as_str().unwrap().contains("\"kept\"");
        assert_eq!(seen.iter().filter(kept).count(), 2, "what is not ours goes on: {seen:?}");
    }
}

#[test]
fn an_unknown_strategy_and_a_trace_that_is_no_flag_are_refused() {
    let gateway = three("");
    for tool in ["u__whoami", "echo"] {
        for (more, says) in [
            (r#""dev.waypost/strategy":"fastest""#, "auto, round_robin, weighted"),
            (r#""dev.waypost/strategy":7"#, "must be a string"),
            (r#""dev.waypost/trace":"yes""#, "must be true or false"),
        ] {
            let answer = asked(&gateway, tool, r#"{"message":"x"}"#, more);
            assert_eq!(answer["error"]["code"], -32602, "{answer}");
            assert!(answer["error"]["message"].as_str().unwrap().contains(says), "{answer}");
        }
    }
    let answer = asked(&gateway, "u__whoami", "{}", r#""dev.waypost/strategy":"expression""#);
    assert!(answer["error"]["message"].as_str().unwrap().contains("no expression"), "{answer}");
}

#[test]
fn a_large_answer_carries_its_trace_too() {
    let server = Puppet::start(Offer::new("u", Era::Modern).tools(&["t"]), |seen, wire| {
        let call = seen.method() == "tools/call";
        if call {
            let text = json!({ "type": "text", "text": "x".repeat(400_000) });
            wire.json(&seen.result(&json!({ "resultType": "complete", "content": [text] })));
        }
        call
    });
    let gateway = Gateway::start(&upstream("u", "", &[url(&server.url)]));
    listed(&gateway, "u__t");
    let answer = asked(&gateway, "u__t", "{}", TRACE);
    let trace = &answer["result"]["_meta"]["dev.waypost/trace"];
    assert_eq!(trace["attempts"][0]["outcome"], "large_result", "{trace}");
    assert_eq!(answer["result"]["content"][0]["text"].as_str().map(str::len), Some(400_000));
}

// === what is told of upstreams ===

#[test]
fn the_api_tells_of_a_killed_replica_within_a_second() {
    let gateway = three("");
    let who = |_| told(&gateway, "u__whoami", &json!({}));
    let all: Vec<Value> = (0..30).map(who).collect();
    let pid = all.iter().find(|who| who["name"] == "b").map(|who| who["pid"].to_string());
    let pid = pid.unwrap_or_else(|| {
        let data = told(
            &gateway,
            "gateway_aggregate",
            &json!({ "tool": "u__whoami", "mode": "broadcast" }),
        );
        data["results"][1]["result"]["structuredContent"]["pid"].to_string()
    });
    let (status, before) = api(&gateway, "/api/v1/upstreams/u");
    assert_eq!(
        (status, &before["status"], &before["strategy"]),
        (200, &json!("healthy"), &json!("auto"))
    );
    assert_eq!(before["replicas"][1]["lives"], 1);
    assert!(before["retry_budget"].as_f64().unwrap() >= 5.0, "{before}");
    let answers: u64 = before["replicas"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|replica| replica["latency_ms"]["answers"].as_u64())
        .sum();
    assert!(answers >= 30, "{before}");
    let killed = now();
    assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    // It is down, or up again in another life: both tell the story.
    let seen = eventually("the API to tell", || {
        let (_, upstream) = api(&gateway, "/api/v1/upstreams/u");
        let b = upstream["replicas"][1].clone();
        (b["state"] != "up" || b["lives"] == 2).then(|| killed.elapsed())
    });
    assert!(seen < Duration::from_secs(1), "{seen:?}");
    let list = waypost(&gateway, &["list", "upstreams"]);
    assert!(list.starts_with("u  "), "{list}");
    eventually("its next life", || {
        let (_, all) = api(&gateway, "/api/v1/upstreams");
        let b = &all[0]["replicas"][1];
        (b["state"] == "up" && b["restarts"] == 1).then_some(())
    });
}

#[test]
fn an_upstream_that_nobody_has_is_a_problem_with_its_detail() {
    let gateway = three("");
    let reply = Http::send("GET", &format!("{}/api/v1/upstreams/x", gateway.base), &[], "");
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (404, Some("application/problem+json"))
    );
    let problem = reply.answer();
    assert_eq!((&problem["status"], &problem["title"]), (&json!(404), &json!("Not Found")));
    assert!(problem["detail"].as_str().unwrap().contains("known: u"), "{problem}");
}

#[test]
fn a_gate_that_shut_is_told_everywhere() {
    let port = free_port();
    let server = Demo::start_on(port, &["--name", "a", "--quirk", "wrong-id"]);
    let other = Demo::start(&["--name", "b"]);
    let keys = "breaker = { consecutive = 1, eject_base = \"10m\", eject_max = \"10m\" }\n\
                timeout = \"1s\"\nbalance = \"round_robin\"\nhealth = { interval = \"10m\" }\n\
                tools.effect = { whoami = \"idempotent\" }";
    let replicas = [named("a", &url(&server.url)), named("b", &url(&other.url))];
    let gateway = Gateway::start(&upstream("u", keys, &replicas));
    listed(&gateway, "u__whoami");
    let shut = eventually("its gate to shut", || {
        drop(Http::modern_call(&gateway.url(), "u__whoami", "{}").answer());
        let (_, upstream) = api(&gateway, "/api/v1/upstreams/u");
        let a = upstream["replicas"][0].clone();
        (a["gate"] == "shut").then_some(a)
    });
    assert!(shut["gate_shut_for_ms"].as_f64().unwrap() > 1_000.0, "{shut}");
    assert_eq!((&shut["trips"], &shut["well"]), (&json!(1), &json!(false)), "{shut}");
    let list = waypost(&gateway, &["list", "upstreams"]);
    assert!(list.contains("gate shut"), "{list}");
    let route = told(&gateway, "gateway_route_explain", &json!({ "tool": "u__whoami" }));
    assert_eq!(
        (&route["pick"]["replica"], &route["replicas"][0]["share_percent"]),
        (&json!("b"), &json!(0))
    );
    let status = Http::modern_call(&gateway.url(), "gateway_status", "{}").answer();
    let text = status["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("gate shut"), "{text}");
}

#[test]
fn a_health_check_asks_every_replica_now() {
    let (gateway, mut servers) = three_urls("");
    let data = told(&gateway, "gateway_health_check", &json!({}));
    assert_eq!((&data["asked"], &data["answered"]), (&json!(3), &json!(3)));
    assert!(data["upstreams"][0]["replicas"][0]["took_ms"].is_number());
    servers[2].kill();
    let data = told(&gateway, "gateway_health_check", &json!({ "upstream": "u" }));
    assert_eq!(data["answered"], 2, "{data}");
    assert_eq!(data["upstreams"][0]["replicas"][2]["answers"], false);
    let text = refused(&gateway, "gateway_health_check", &json!({ "upstream": "x" }));
    assert!(text.contains("known: u"), "{text}");
}

#[test]
fn the_tools_can_be_switched_off_and_have_bounds_in_the_configuration() {
    let config = upstream("u", "", &[demo(&[])]);
    let off = Gateway::start(&format!("[tools.gateway]\nenabled = false\n{config}"));
    listed(&off, "u__whoami");
    assert!(!Http::tools(&off.url()).iter().any(|name| name.starts_with("gateway_")));
    let small = Gateway::start(&format!("[tools.gateway]\nmax_calls = 2\n{config}"));
    listed(&small, "u__whoami");
    let three = json!({ "tool": "u__whoami", "arguments_list": [{}, {}, {}] });
    let text = refused(&small, "gateway_aggregate", &three);
    assert!(text.contains("a list of 1 to 2 objects, found 3 items"), "{text}");
}

// === the command line and the library ===

/// What a verb prints on stdout, asked of a running gateway.
#[track_caller]
fn waypost(gateway: &Gateway, args: &[&str]) -> String {
    let (stdout, stderr) = run(gateway, args);
    assert!(!stdout.is_empty(), "{stderr}");
    stdout
}

fn run(gateway: &Gateway, args: &[&str]) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(WAYPOST)
        .current_dir(folder.path())
        .args(args)
        .args(["--url", &gateway.base])
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr))
}

#[test]
fn call_shows_the_route_and_who_answered_how_many() {
    let gateway = three("balance = \"weighted\"");
    let (stdout, stderr) =
        run(&gateway, &["call", "u__whoami", "--trace", "--strategy", "round_robin"]);
    assert!(!stdout.contains("trace:"), "{stdout}");
    assert!(stderr.contains("trace: u, round_robin, read_only"), "{stderr}");
    assert!(stderr.contains("it was its turn\n    result after "), "{stderr}");
    let (stdout, stderr) =
        run(&gateway, &["call", "u__whoami", "--repeat", "9", "--strategy", "round_robin"]);
    assert_eq!(stdout.lines().count(), 9);
    assert!(stderr.contains("answered by: a 3 (33 %), b 3 (33 %), c 3 (33 %)"), "{stderr}");
    let (json, _) = run(&gateway, &["call", "u__whoami", "--trace", "--json"]);
    let result: Value = serde_json::from_str(&json).unwrap();
    assert!(result["_meta"]["dev.waypost/trace"]["attempts"].is_array(), "{json}");
    let (json, _) = run(&gateway, &["call", "u__whoami", "--json", "--repeat", "2"]);
    assert!(!json.contains("dev.waypost"), "{json}");
    let (_, stderr) = run(&gateway, &["call", "u__whoami", "--strategy", "fastest"]);
    assert!(stderr.contains("error -32602") && stderr.contains("round_robin"), "{stderr}");
}

#[test]
fn a_program_with_the_gateway_inside_has_the_same_verbs() {
    let example = Path::new(WAYPOST).with_file_name("examples").join("coordination");
    assert!(example.exists(), "cargo build --example coordination makes {}", example.display());
    let output = Command::new(example).arg(WAYPOST).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout} {}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines[0], "in turn: a b c");
    let by_weight: Vec<&str> = lines[1].strip_prefix("by weight: ").unwrap().split(' ').collect();
    let count = |name: &str| by_weight.iter().filter(|who| **who == name).count();
    assert_eq!([count("a"), count("b"), count("c")], [3, 2, 1]);
    let wanted = [
        "with failover: 42",
        r#"one of many: {"a":1,"b":2} -> 3"#,
        r#"one of many: {"a":"no number"} -> the tool failed"#,
        r#"one of many: {"a":3,"b":4} -> 7"#,
        "unknown: error -32602 (not_sent)",
        "again until it went well: done after 3 runs",
    ];
    assert_eq!(&lines[2..], wanted);
}

fn now() -> Instant {
    waypost::base::clock::now()
}
