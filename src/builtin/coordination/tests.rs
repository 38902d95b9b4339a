//! What the tools of the gateway tell, over a gateway that is a table.

use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::builtin::schema_check::problems;
use crate::builtin::spec::{BuiltinSpec, CoordinationSpec};
use crate::builtin::{Builtins, Host, HostCall, HostFuture, Outcome, Target};
use crate::telemetry::Status;

/// A gateway with one upstream of three replicas, whose tool `t` does what its arguments say.
#[derive(Default)]
struct Table {
    nested: bool,
    writes: bool,
}

impl Host for Table {
    fn is_nested(&self) -> bool {
        self.nested
    }

    fn call<'a>(&'a self, call: HostCall<'a>) -> HostFuture<'a, Outcome> {
        Box::pin(async move {
            let arguments: Value = serde_json::from_str(call.arguments).unwrap();
            tokio::time::sleep(Duration::from_millis(arguments["ms"].as_u64().unwrap_or(1))).await;
            let raw = |value: Value| RawValue::from_string(value.to_string()).unwrap();
            match arguments["do"].as_str() {
                Some("down") => Outcome::Error(raw(json!({
                    "code": -31002, "message": "nobody; the call did not run",
                    "data": { "source": "gateway", "delivery": "not_sent" },
                }))),
                Some("refuse") => Outcome::Error(raw(json!({
                    "code": -32602, "message": "no", "data": { "delivery": "not_sent" },
                }))),
                Some("fail") => {
                    Outcome::Result(raw(json!({ "content": [], "isError": true })), true)
                }
                _ => {
                    let odd = call.replica == Some(1) && arguments["odd"] == true;
                    let told = json!({ "n": arguments["n"], "v": if odd { 2 } else { 1 } });
                    Outcome::Result(raw(json!({ "content": [], "structuredContent": told })), false)
                }
            }
        })
    }

    fn target(&self, tool: &str, strategy: Option<&str>) -> Result<Target, String> {
        let replicas = ["a", "b", "c"].map(ToOwned::to_owned).to_vec();
        match (tool, strategy) {
            (_, Some("fastest")) => Err("strategy \"fastest\" is not known".to_owned()),
            ("t", _) => Ok(Target {
                reads: !self.writes,
                effect: if self.writes { "unsafe" } else { "read_only" },
                replicas: Ok(replicas),
            }),
            ("echo", _) => Ok(Target {
                reads: true,
                effect: "read_only",
                replicas: Err("runs inside: there are no replicas to ask"),
            }),
            _ => Err(format!("unknown tool {tool:?}")),
        }
    }

    fn overview(&self) -> Value {
        let replica = json!({
            "name": "a", "state": "up", "gate": "open", "suspect": false, "in_flight": 2,
            "latency_ms": { "answers": 1, "p50": 1.0, "p95": 2.0, "p99": 3.0 },
        });
        let upstream = |name: &str| {
            json!({
                "name": name, "status": "healthy", "strategy": "auto", "in_flight": 2,
                "replicas": [replica],
            })
        };
        json!({ "status": "healthy", "version": "0", "upstreams": [upstream("u"), upstream("w")] })
    }

    fn upstreams(&self) -> Vec<String> {
        ["u", "w"].map(ToOwned::to_owned).to_vec()
    }

    fn look<'a>(&'a self, only: Option<&'a str>, limit: Duration) -> HostFuture<'a, Vec<Value>> {
        assert!(limit <= Duration::from_secs(5));
        let good = json!({ "name": "a", "answers": true, "took_ms": 1.5, "detail": "it answered" });
        let bad = json!({ "name": "b", "answers": false, "detail": "it is still starting" });
        let idle = json!({ "name": "c", "asleep": true, "detail": "it is asleep" });
        let upstream =
            |name| json!({ "name": name, "status": "degraded", "replicas": [good, bad, idle] });
        let all = ["u", "w"].into_iter().filter(|name| only.is_none_or(|only| only == *name));
        Box::pin(std::future::ready(all.map(upstream).collect()))
    }

    fn explain(&self, tool: &str, _: &[u8], _: Option<&str>) -> Result<Value, String> {
        match tool {
            "t" => Ok(json!({
                "tool": "t", "origin": "u", "name_there": "t", "effect": "read_only",
                "effect_why": "the operator says so", "sent_again": "also after it may have run",
                "strategy": "auto", "pick": { "replica": "a", "why": "it is the fastest" },
                "replicas": [],
            })),
            "echo" => Ok(json!({ "tool": "echo", "origin": "built-in", "replicas": [] })),
            _ => Err(format!("unknown tool {tool:?}")),
        }
    }
}

/// Status, text and structured content of a call, which fits the tool's own schema.
async fn call(
    host: &Table,
    spec: CoordinationSpec,
    tool: &str,
    arguments: Value,
) -> (Status, String, Value) {
    let tools = Builtins::new(&BuiltinSpec { gateway: spec, ..BuiltinSpec::default() });
    let tool = tools.get(tool).unwrap();
    let reply = tool.call(arguments.to_string().as_bytes(), host).await.unwrap();
    let result: Value = serde_json::from_slice(&reply.result).unwrap();
    let data = result["structuredContent"].clone();
    if reply.status == Status::Success {
        let definition: Value = serde_json::from_slice(tool.definition()).unwrap();
        let problems = problems(&definition["outputSchema"], &data);
        assert!(problems.is_empty(), "{problems:?}");
    }
    (reply.status, result["content"][0]["text"].as_str().unwrap().to_owned(), data)
}

async fn aggregate(host: &Table, arguments: Value) -> (Status, String, Value) {
    call(host, CoordinationSpec::default(), "gateway_aggregate", arguments).await
}

#[tokio::test(start_paused = true)]
async fn an_aggregate_keeps_the_order_and_each_call_has_its_own_end() {
    let list = json!([
        { "n": 0, "ms": 50 }, { "do": "down" }, { "n": 2 }, { "do": "fail" }, { "do": "refuse" },
    ]);
    let arguments = json!({ "tool": "t", "arguments_list": list, "max_concurrency": 2 });
    let (status, text, data) = aggregate(&Table::default(), arguments).await;
    assert_eq!(status, Status::Success);
    assert_eq!(
        (&data["calls"], &data["succeeded"], &data["failed"]),
        (&json!(5), &json!(2), &json!(3))
    );
    let results = data["results"].as_array().unwrap();
    for (index, (ok, delivery)) in [
        (true, "answered"),
        (false, "not_sent"),
        (true, "answered"),
        (false, "answered"),
        // What an upstream writes there is not the gateway's word.
        (false, "answered"),
    ]
    .into_iter()
    .enumerate()
    {
        let entry = &results[index];
        assert_eq!((&entry["index"], &entry["ok"]), (&json!(index), &json!(ok)), "{entry}");
        assert_eq!(entry["delivery"], delivery, "{entry}");
    }
    assert_eq!(results[0]["result"]["structuredContent"]["n"], 0);
    assert_eq!(results[1]["error"]["code"], -31002);
    assert_eq!(results[3]["result"]["isError"], true);
    assert!(text.starts_with("2 of 5 calls of t succeeded."), "{text}");
    assert!(text.contains("#1: nobody"), "{text}");
    assert!(data.get("same").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_names_who_differs() {
    let arguments = json!({ "tool": "t", "mode": "broadcast", "arguments": { "odd": true } });
    let (_, text, data) = aggregate(&Table::default(), arguments).await;
    assert_eq!((&data["same"], &data["difference_count"]), (&json!(false), &json!(1)));
    let values = json!([
        { "replica": "a", "value": "1" }, { "replica": "b", "value": "2" },
        { "replica": "c", "value": "1" },
    ]);
    assert_eq!(data["differences"], json!([{ "path": "/v", "values": values }]));
    assert_eq!(data["results"][1]["replica"], "b");
    assert!(text.contains("They differ in 1 places."), "{text}");
    let arguments = json!({ "tool": "t", "mode": "broadcast" });
    let (_, text, data) = aggregate(&Table::default(), arguments).await;
    assert_eq!(data["same"], true);
    assert!(text.contains("All replicas say the same."), "{text}");
    let arguments = json!({ "tool": "t", "mode": "broadcast", "arguments": { "do": "down" } });
    assert_eq!(aggregate(&Table::default(), arguments).await.2["same"], false);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_meant_is_refused_before_anything_is_called() {
    let one = json!([{}]);
    let many = json!(vec![json!({}); 101]);
    let writes = Table { writes: true, ..Table::default() };
    let nested = Table { nested: true, ..Table::default() };
    let plain = Table::default();
    let broadcast = json!({ "tool": "t", "mode": "broadcast" });
    for (host, arguments, says) in [
        (&plain, json!({ "tool": "gateway_aggregate", "arguments_list": one }), "itself included"),
        (&nested, json!({ "tool": "t", "arguments_list": one }), "cannot be called by a tool"),
        (&plain, json!({ "tool": "x", "arguments_list": one }), "unknown tool \"x\""),
        (&plain, json!({ "tool": "t" }), "`arguments_list` is missing"),
        (&plain, json!({ "tool": "t", "arguments_list": [] }), "1 to 100 objects, found 0 items"),
        (&plain, json!({ "tool": "t", "arguments_list": many }), "found 101 items"),
        (&plain, json!({ "tool": "t", "arguments": {} }), "use `arguments_list`"),
        (&plain, json!({ "tool": "t", "mode": "all" }), "\"each\" or \"broadcast\""),
        (
            &plain,
            json!({ "tool": "t", "arguments_list": one, "max_concurrency": 17 }),
            "a whole number from 1 to 16",
        ),
        (&plain, json!({ "tool": "t", "arguments_list": one, "strategy": "fastest" }), "not known"),
        (&plain, json!({ "tool": "echo", "mode": "broadcast" }), "there are no replicas to ask"),
        (
            &plain,
            json!({ "tool": "t", "mode": "broadcast", "strategy": "auto" }),
            "asks every replica",
        ),
        (&writes, broadcast.clone(), "set `allow_writes`"),
    ] {
        let (status, text, _) = aggregate(host, arguments.clone()).await;
        assert_eq!(status, Status::Invalid, "{arguments}");
        assert!(text.contains(says), "{arguments}: {text}");
    }
    let allowed = json!({ "tool": "t", "mode": "broadcast", "allow_writes": true });
    assert_eq!(aggregate(&writes, allowed).await.2["succeeded"], 3);
    let each = json!({ "tool": "t", "arguments_list": one });
    assert_eq!(aggregate(&writes, each).await.2["succeeded"], 1, "a client may call it anyway");
}

#[tokio::test(start_paused = true)]
async fn at_the_time_limit_what_came_is_told_and_the_rest_says_whether_it_may_have_run() {
    let mut spec = CoordinationSpec::default();
    spec.tool.timeout = Duration::from_secs(2);
    let list = json!([{ "ms": 1 }, { "ms": 60_000 }, { "ms": 60_000 }, { "ms": 1 }]);
    let arguments = json!({ "tool": "t", "arguments_list": list, "max_concurrency": 1 });
    let (status, _, data) = call(&Table::default(), spec, "gateway_aggregate", arguments).await;
    assert_eq!(status, Status::Success);
    let delivery: Vec<_> =
        data["results"].as_array().unwrap().iter().map(|entry| &entry["delivery"]).collect();
    assert_eq!(delivery, ["answered", "unknown", "not_sent", "not_sent"]);
    assert_eq!(data["results"][1]["error"]["code"], -31004);
}

#[tokio::test(start_paused = true)]
async fn results_without_room_are_left_out_and_named() {
    let spec = CoordinationSpec { max_answer_bytes: 150, ..CoordinationSpec::default() };
    let arguments =
        json!({ "tool": "t", "arguments_list": [{}, {}, {}, {}], "max_concurrency": 1 });
    let (_, _, data) = call(&Table::default(), spec, "gateway_aggregate", arguments).await;
    let codes: Vec<_> =
        data["results"].as_array().unwrap().iter().map(|e| e["error"]["code"].clone()).collect();
    assert_eq!(codes, [json!(null), json!(null), json!(-31007), json!(-31007)]);
    assert_eq!(data["results"][2]["delivery"], "answered");
}

#[tokio::test]
async fn status_health_and_route_are_readable_and_true_to_their_schemas() {
    let host = Table::default();
    let call = |tool, arguments| call(&host, CoordinationSpec::default(), tool, arguments);
    let (_, text, data) = call("gateway_status", json!({})).await;
    assert_eq!(data["upstreams"].as_array().unwrap().len(), 2);
    assert!(text.contains("u: healthy, auto, 2 in flight"), "{text}");
    assert!(text.contains("  a up, gate open, 2 in flight, p50 1.0 ms, p95 2.0 ms"), "{text}");
    let (_, _, data) = call("gateway_status", json!({ "upstream": "w" })).await;
    assert_eq!(data["upstreams"].as_array().unwrap().len(), 1);
    let (status, text, _) = call("gateway_status", json!({ "upstream": "x" })).await;
    assert_eq!(status, Status::Invalid);
    assert!(text.contains("known: u, w"), "{text}");

    let (_, text, data) = call("gateway_health_check", json!({ "upstream": "u" })).await;
    assert_eq!((&data["asked"], &data["answered"]), (&json!(2), &json!(1)));
    assert!(text.contains("1 of 2 replicas answer."), "{text}");
    assert!(text.contains("a: it answered after 1.5 ms"), "{text}");

    let (_, text, _) = call("gateway_route_explain", json!({ "tool": "t" })).await;
    assert!(text.contains("By auto the next call would go to a: it is the fastest."), "{text}");
    let (_, text, _) = call("gateway_route_explain", json!({ "tool": "echo" })).await;
    assert!(text.contains("runs inside the gateway"), "{text}");
    let (status, ..) = call("gateway_route_explain", json!({ "tool": "x" })).await;
    assert_eq!(status, Status::Invalid);
}
