//! What an operator sees from outside: metrics, health, and what happens at a bound.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::process::free_port;
use crate::support::{Demo, Gateway, Http, MODERN_META, PATIENCE, Reply, eventually};

/// Every metric there may be, with its kind and its labels: the outer contract.
const METRICS: &[(&str, &str, &[&str])] = &[
    ("mcp_requests_total", "counter", &["tool_name", "status"]),
    ("mcp_method_requests_total", "counter", &["method", "status"]),
    ("mcp_request_duration_seconds", "histogram", &["tool_name"]),
    ("mcp_active_connections", "gauge", &[]),
    ("mcp_upstream_up", "gauge", &["upstream", "replica"]),
    ("mcp_upstream_asleep", "gauge", &["upstream", "replica"]),
    ("mcp_upstream_requests_total", "counter", &["upstream", "replica", "outcome"]),
    ("mcp_upstream_duration_seconds", "histogram", &["upstream", "replica"]),
    ("mcp_upstream_inflight", "gauge", &["upstream", "replica"]),
    ("mcp_breaker_state", "gauge", &["upstream", "replica"]),
    ("mcp_parked_calls", "gauge", &[]),
    ("mcp_queue_depth", "gauge", &["upstream"]),
    ("mcp_queue_wait_seconds", "histogram", &["upstream"]),
    ("mcp_retry_budget", "gauge", &["upstream"]),
    ("mcp_panic", "gauge", &["upstream"]),
    ("mcp_relative_latency", "gauge", &["upstream", "replica"]),
    ("mcp_ejections_total", "counter", &["upstream", "reason"]),
    ("mcp_retries_total", "counter", &["upstream", "reason"]),
    ("mcp_retries_denied_total", "counter", &["upstream", "why"]),
    ("mcp_session_lost_total", "counter", &["upstream", "dirty"]),
    ("mcp_hedges_total", "counter", &["upstream", "result"]),
    ("mcp_fallbacks_total", "counter", &["upstream", "step"]),
    ("mcp_failovers_total", "counter", &["upstream"]),
    ("mcp_shed_total", "counter", &["stage"]),
    ("mcp_memory_pressure", "gauge", &[]),
    ("mcp_auth_fail_total", "counter", &["why"]),
    ("mcp_sessions", "gauge", &["era"]),
    ("mcp_catalog_items", "gauge", &["kind"]),
    ("mcp_catalog_skew", "gauge", &["upstream"]),
    ("mcp_child_restarts_total", "counter", &["upstream", "reason"]),
    ("mcp_child_stops_total", "counter", &["upstream", "reason"]),
    ("mcp_build_info", "gauge", &["version"]),
    ("mcp_config_generation", "gauge", &[]),
    ("mcp_config_reloads_total", "counter", &["result"]),
];

const STATUSES: [&str; 7] =
    ["success", "error", "timeout", "rate_limited", "cancelled", "unavailable", "invalid"];

const BUCKETS: [&str; 13] =
    ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "30", "+Inf"];

/// One child as the upstream `demo`, whose calls may be silent for so long.
fn one_child(timeout: &str) -> String {
    format!(
        "[upstreams.demo]\ntimeout = \"{timeout}\"\n[[upstreams.demo.replicas]]\nname = \"a\"\n\
         command = \"waypost\"\nargs = [\"demo-server\", \"--stdio\", \"--name\", \"a\"]\n"
    )
}

fn get(gateway: &Gateway, path: &str) -> Reply {
    Http::send("GET", &format!("{}{path}", gateway.base), &[], "")
}

/// Waits until the tools of the upstream `demo` are there. Answers how often it listed them.
fn up(gateway: &Gateway) -> u64 {
    let mut lists = 0;
    eventually("the tools of the demo", || {
        lists += 1;
        Http::tools(&gateway.url()).iter().any(|tool| tool == "demo__add").then_some(lists)
    })
}

/// The metrics at one moment, by name and labels as they are written.
#[derive(Debug)]
struct Metrics {
    text: String,
    samples: BTreeMap<String, f64>,
}

impl Metrics {
    fn of(gateway: &Gateway) -> Self {
        let reply = get(gateway, "/metrics");
        assert_eq!(reply.status, 200);
        let kind = reply.header("content-type").unwrap();
        assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
        let sample = |line: &str| {
            let (key, value) = line.rsplit_once(' ').unwrap();
            (key.to_owned(), value.parse().unwrap())
        };
        let lines = reply.body.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self { samples: lines.map(sample).collect(), text: reply.body.clone() }
    }

    /// A counter or gauge; one that is not there counts as never touched.
    fn value(&self, key: &str) -> u64 {
        let value = self.samples.get(key).copied().unwrap_or(0.0);
        format!("{value}").parse().unwrap_or_else(|error| panic!("{key} {value}: {error}"))
    }

    fn calls(&self, tool: &str, status: &str) -> u64 {
        self.value(&format!(r#"mcp_requests_total{{tool_name="{tool}",status="{status}"}}"#))
    }

    /// How the calls of a tool ended; what never happened is left out.
    fn ends(&self, tool: &str) -> Vec<(&'static str, u64)> {
        let count = |status: &'static str| (status, self.calls(tool, status));
        STATUSES.into_iter().map(count).filter(|(_, count)| *count > 0).collect()
    }

    fn sum(&self, name: &str) -> u64 {
        let keys = self.samples.keys().filter(|key| key.split('{').next() == Some(name));
        keys.map(|key| self.value(key)).sum()
    }
}

/// Name and labels of a sample.
fn parts(key: &str) -> (&str, Vec<(&str, &str)>) {
    let (name, labels) = key.split_once('{').unwrap_or((key, ""));
    let labels = labels.trim_end_matches('}').split("\",").filter(|label| !label.is_empty());
    (name, labels.map(|one| one.trim_end_matches('"').split_once("=\"").unwrap()).collect())
}

// === metrics ===

#[test]
fn every_call_is_counted_once_under_its_tool_and_end() {
    let gateway = Gateway::start(&one_child("60s"));
    let url = gateway.url();
    up(&gateway);
    let session = Http::legacy_session(&url, "2025-11-25");
    for message in [r#"{"message":"x"}"#, r#"{"message":"y"}"#, r#"{"message":1}"#] {
        Http::modern_call(&url, "echo", message);
        Http::legacy_call(&url, &session, "echo", message);
    }
    for number in 0..20 {
        let name = format!("made_up_{number}");
        assert_eq!(Http::modern_call(&url, &name, "{}").verdict(), (200, -32_602));
    }
    for _ in 0..4 {
        let sum = Http::modern_call(&url, "demo__add", r#"{"a":1,"b":2}"#).answer();
        assert_eq!(sum["result"]["structuredContent"]["sum"], 3);
    }
    Http::modern_call(&url, "demo__fail", r#"{"how":"error"}"#);
    Http::legacy_call(&url, &session, "demo__fail", r#"{"how":"is_error"}"#);

    let metrics = Metrics::of(&gateway);
    assert_eq!(metrics.ends("echo"), [("success", 4), ("invalid", 2)]);
    assert_eq!(metrics.ends("_unknown"), [("invalid", 20)]);
    assert_eq!(metrics.ends("demo__add"), [("success", 4)]);
    assert_eq!(metrics.ends("demo__fail"), [("error", 2)]);
    assert_eq!(metrics.sum("mcp_requests_total"), 32, "{}", metrics.text);
    assert_eq!(metrics.sum("mcp_request_duration_seconds_count"), 32, "{}", metrics.text);
    assert!(!metrics.text.contains("made_up"), "a client makes labels");

    let at = |outcome: &str| {
        let labels = format!(r#"upstream="demo",replica="a",outcome="{outcome}""#);
        metrics.value(&format!("mcp_upstream_requests_total{{{labels}}}"))
    };
    assert_eq!([at("answered"), at("failed"), at("given_up")], [6, 0, 0]);
    let labels = r#"{upstream="demo",replica="a"}"#;
    assert_eq!(metrics.value(&format!("mcp_upstream_duration_seconds_count{labels}")), 6);
    assert_eq!(metrics.value(&format!("mcp_upstream_up{labels}")), 1);
    assert_eq!(metrics.value(&format!("mcp_upstream_inflight{labels}")), 0);
}

#[test]
fn every_other_request_is_counted_once_under_its_method() {
    let gateway = Gateway::start(&one_child("60s"));
    let url = gateway.url();
    let lists = up(&gateway);
    let session = Http::legacy_session(&url, "2025-11-25");
    let legacy = |method, params| Http::legacy(&url, &session, "1", method, params).verdict();
    assert_eq!(legacy("ping", "{}"), (200, 0));
    assert_eq!(legacy("tools/list", "{}"), (200, 0));
    assert_eq!(legacy("tools/list", r#"{"cursor":7}"#), (200, -32_602));
    assert_eq!(legacy("logging/setLevel", r#"{"level":"info"}"#), (200, 0));
    assert_eq!(legacy("logging/setLevel", r#"{"level":"loud"}"#), (200, -32_602));
    assert_eq!(legacy("no/such", "{}"), (200, -32_601));
    assert_eq!(legacy("no/such/either", "{}"), (200, -32_601));
    assert_eq!(Http::modern(&url, "1", "server/discover", None, "").verdict(), (200, 0));

    let metrics = Metrics::of(&gateway);
    let count = |method: &str, status: &str| {
        let labels = format!(r#"method="{method}",status="{status}""#);
        metrics.value(&format!("mcp_method_requests_total{{{labels}}}"))
    };
    assert_eq!(count("initialize", "success"), 1);
    assert_eq!(count("ping", "success"), 1);
    assert_eq!(count("tools/list", "success"), lists + 1);
    assert_eq!(count("tools/list", "error"), 1);
    assert_eq!(count("logging/setLevel", "success"), 1);
    assert_eq!(count("logging/setLevel", "error"), 1);
    assert_eq!(count("server/discover", "success"), 1);
    // The two that nobody knows share a label.
    assert_eq!(metrics.sum("mcp_method_requests_total"), lists + 9, "{}", metrics.text);
    assert!(!metrics.text.contains("no/such"), "a client makes labels");
    assert_eq!(metrics.sum("mcp_requests_total"), 0);
    assert_eq!(metrics.value(r#"mcp_sessions{era="legacy"}"#), 1);
}

#[test]
fn names_kinds_and_labels_of_the_metrics_are_the_contract() {
    let gateway = Gateway::start(&one_child("60s"));
    up(&gateway);
    let tools = Http::tools(&gateway.url());
    Http::modern_call(&gateway.url(), "demo__add", r#"{"a":1,"b":2}"#);
    let metrics = Metrics::of(&gateway);
    let known: BTreeMap<_, _> = METRICS.iter().map(|(name, ..)| *name).zip(METRICS).collect();
    let mut seen = BTreeSet::new();
    for key in metrics.samples.keys() {
        let (name, labels) = parts(key);
        let suffix = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let name = suffix.filter(|name| known.contains_key(name)).unwrap_or(name);
        let (_, kind, expected) =
            known.get(name).unwrap_or_else(|| panic!("{key} is not in the contract"));
        let labels: Vec<&str> = labels.iter().map(|(label, _)| *label).collect();
        let expected: Vec<&str> = if key.contains("_bucket{") {
            expected.iter().copied().chain(["le"]).collect()
        } else {
            expected.to_vec()
        };
        assert_eq!(labels, expected, "{key}");
        if seen.insert(name.to_owned()) {
            let line = format!("# TYPE {name} {kind}");
            assert!(metrics.text.lines().any(|known| known == line), "{line}");
            assert!(metrics.text.contains(&format!("# HELP {name} ")), "{name} has no help");
        }
    }
    let never = [
        "mcp_child_stops_total",
        "mcp_child_restarts_total",
        "mcp_ejections_total",
        "mcp_fallbacks_total",
        "mcp_hedges_total",
        "mcp_session_lost_total",
        "mcp_retries_total",
        "mcp_retries_denied_total",
    ];
    for (name, ..) in METRICS {
        assert!(seen.contains(*name) || never.contains(name), "{name}\n{}", metrics.text);
    }
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(metrics.value(&format!(r#"mcp_build_info{{version="{version}"}}"#)), 1);
    let items = metrics.value(r#"mcp_catalog_items{kind="tools"}"#);
    assert_eq!(usize::try_from(items).unwrap(), tools.len());
    // The one connection is that of this very scrape.
    assert_eq!(metrics.value("mcp_active_connections"), 1);
}

#[test]
fn durations_fall_into_the_thirteen_buckets() {
    let gateway = Gateway::start(&one_child("60s"));
    let url = gateway.url();
    up(&gateway);
    Http::modern_call(&url, "demo__sleep", r#"{"ms":120}"#);
    Http::modern_call(&url, "demo__sleep", r#"{"ms":0}"#);
    let metrics = Metrics::of(&gateway);
    for (name, label) in [
        ("mcp_request_duration_seconds", r#"tool_name="demo__sleep""#),
        ("mcp_upstream_duration_seconds", r#"upstream="demo",replica="a""#),
    ] {
        let lines = metrics.text.lines();
        let mut places = Vec::new();
        let mut counts = Vec::new();
        for line in lines.filter(|line| line.starts_with(&format!("{name}_bucket{{{label},"))) {
            let (key, count) = line.rsplit_once(' ').unwrap();
            places.push(parts(key).1.last().unwrap().1);
            counts.push(count.parse::<u64>().unwrap());
        }
        assert_eq!(places, BUCKETS, "{name}");
        assert!(counts.is_sorted(), "buckets add up: {counts:?}");
        assert!(counts[4] <= 1, "120 ms are more than 100: {counts:?}");
        assert_eq!(counts.last(), Some(&2), "{counts:?}");
        assert_eq!(metrics.value(&format!("{name}_count{{{label}}}")), 2);
        assert!(metrics.samples[&format!("{name}_sum{{{label}}}")] >= 0.12);
    }
}

#[test]
fn a_silent_call_counts_as_a_timeout() {
    let gateway = Gateway::start(&one_child("300ms"));
    let url = gateway.url();
    up(&gateway);
    let reply = Http::modern_call(&url, "demo__sleep", r#"{"ms":60000}"#);
    assert_eq!(reply.verdict(), (200, -31_004));
    let data = &reply.answer()["error"]["data"];
    assert_eq!((&data["source"], &data["kind"]), (&json!("gateway"), &json!("deadline")));
    assert_eq!((&data["delivery"], &data["retryable"]), (&json!("unknown"), &json!(false)));
    assert_eq!(data["upstream"], "demo");
    let metrics = Metrics::of(&gateway);
    assert_eq!(metrics.ends("demo__sleep"), [("timeout", 1)]);
    let labels = r#"{upstream="demo",replica="a",outcome="failed"}"#;
    assert_eq!(metrics.value(&format!("mcp_upstream_requests_total{labels}")), 1);
}

#[test]
fn a_call_that_its_client_gives_up_counts_as_cancelled() {
    let gateway = Gateway::start(&one_child("60s"));
    up(&gateway);
    let inflight = r#"mcp_upstream_inflight{upstream="demo",replica="a"}"#;
    let mut socket = TcpStream::connect(gateway.addr()).unwrap();
    let request = modern_request(gateway.addr(), "demo__sleep", r#"{"ms":60000}"#);
    socket.write_all(request.as_bytes()).unwrap();
    eventually("the call to be in flight", || {
        (Metrics::of(&gateway).value(inflight) == 1).then_some(())
    });
    drop(socket);
    let metrics = eventually("the call to be given up", || {
        let metrics = Metrics::of(&gateway);
        (metrics.calls("demo__sleep", "cancelled") == 1).then_some(metrics)
    });
    assert_eq!(metrics.value(inflight), 0);
    let labels = r#"{upstream="demo",replica="a",outcome="given_up"}"#;
    assert_eq!(metrics.value(&format!("mcp_upstream_requests_total{labels}")), 1);
}

#[test]
fn a_call_that_nobody_can_take_counts_as_unavailable() {
    let mut demo = Demo::start(&[]);
    let gateway = Gateway::start(&one_url(&demo.url, false));
    let url = gateway.url();
    up(&gateway);
    demo.kill();
    let reply = eventually("the upstream to be missed", || {
        let reply = Http::modern_call(&url, "demo__add", r#"{"a":1,"b":2}"#);
        (reply.verdict() == (200, -31_002)).then_some(reply)
    });
    let data = &reply.answer()["error"]["data"];
    assert_eq!((&data["source"], &data["kind"]), (&json!("gateway"), &json!("unavailable")));
    assert_eq!((&data["delivery"], &data["retryable"]), (&json!("not_sent"), &json!(true)));
    assert_eq!(data["upstream"], "demo");
    let metrics = Metrics::of(&gateway);
    assert!(metrics.calls("demo__add", "unavailable") >= 1, "{}", metrics.text);
    assert_eq!(metrics.calls("demo__add", "success"), 0);
}

// === bounds ===

#[test]
fn a_call_over_the_rate_limit_is_told_how_long_to_wait() {
    let gateway = Gateway::start("[tools.echo]\nrate_limit = 1\n");
    let url = gateway.url();
    let session = Http::legacy_session(&url, "2025-06-18");
    let message = r#"{"message":"x"}"#;
    assert_eq!(Http::modern_call(&url, "echo", message).verdict(), (200, 0));
    // One allowance for all clients of both eras.
    for reply in [
        Http::modern_call(&url, "echo", message),
        Http::legacy_call(&url, &session, "echo", message),
    ] {
        assert_eq!(reply.verdict(), (200, -31_001), "{reply:?}");
        let error = &reply.answer()["error"];
        let data = &error["data"];
        assert_eq!(data["source"], "gateway");
        assert_eq!(data["kind"], "rate_limited");
        assert_eq!(data["delivery"], "not_sent");
        assert_eq!(data["retryable"], true);
        let wait = data["retryAfterMs"].as_u64().unwrap();
        assert!((1..=60_000).contains(&wait), "{wait}");
        let says = error["message"].as_str().unwrap();
        assert!(says.contains("echo") && says.contains("1 calls a minute"), "{says}");
    }
    assert_eq!(Metrics::of(&gateway).ends("echo"), [("success", 1), ("rate_limited", 2)]);
}

#[test]
fn a_call_over_the_bound_of_an_upstream_is_refused_and_not_sent() {
    let gateway =
        Gateway::start(&format!("{}\n[upstreams.demo.limits]\ninflight = 1\n", one_child("60s")));
    let url = gateway.url();
    up(&gateway);
    let mut first = TcpStream::connect(gateway.addr()).unwrap();
    let request = modern_request(gateway.addr(), "demo__sleep", r#"{"ms":60000}"#);
    first.write_all(request.as_bytes()).unwrap();
    let inflight = r#"mcp_upstream_inflight{upstream="demo",replica="a"}"#;
    eventually("the call to be in flight", || {
        (Metrics::of(&gateway).value(inflight) == 1).then_some(())
    });
    let depth = r#"mcp_queue_depth{upstream="demo"}"#;
    let reply = std::thread::scope(|scope| {
        let second = scope.spawn(|| Http::modern_call(&url, "demo__add", r#"{"a":1,"b":2}"#));
        eventually("the call to stand in line", || {
            (Metrics::of(&gateway).value(depth) == 1).then_some(())
        });
        second.join().unwrap()
    });
    assert_eq!(reply.verdict(), (200, -31_001), "{reply:?}");
    let metrics = Metrics::of(&gateway);
    assert_eq!(metrics.value(r#"mcp_queue_wait_seconds_count{upstream="demo"}"#), 1);
    assert_eq!(metrics.value(depth), 0);
    let data = &reply.answer()["error"]["data"];
    assert_eq!((&data["kind"], &data["delivery"]), (&json!("overloaded"), &json!("not_sent")));
    assert_eq!(data["retryable"], true);
    // The built-in tools are not behind that bound.
    assert_eq!(Http::modern_call(&url, "echo", r#"{"message":"x"}"#).verdict(), (200, 0));
    drop(first);
    eventually("the place to become free", || {
        let reply = Http::modern_call(&url, "demo__add", r#"{"a":1,"b":2}"#);
        (reply.verdict() == (200, 0)).then_some(())
    });
}

#[test]
fn thousands_of_calls_leave_nothing_in_flight() {
    const CONNECTIONS: u64 = 50;
    const CALLS: u64 = 240;
    let gateway = Gateway::start(&one_child("60s"));
    let url = gateway.url();
    up(&gateway);
    std::thread::scope(|scope| {
        for number in 0..CONNECTIONS {
            let (addr, url) = (gateway.addr(), &url);
            scope.spawn(move || {
                let session = (number % 2 == 0).then(|| Http::legacy_session(url, "2025-11-25"));
                let mut line = KeptAlive::new(addr);
                for call in 0..CALLS {
                    let (tool, arguments) = match call % 4 {
                        0 => ("demo__add", r#"{"a":1,"b":2}"#),
                        _ => ("echo", r#"{"message":"x"}"#),
                    };
                    let request = match &session {
                        Some(session) => legacy_request(addr, session, tool, arguments),
                        None => modern_request(addr, tool, arguments),
                    };
                    let answer = line.ask(&request);
                    assert_ne!(answer["result"]["isError"], true, "{answer}");
                    assert!(answer["result"]["structuredContent"].is_object(), "{answer}");
                }
                if let Some(session) = session {
                    let ended = Http::send("DELETE", url, &[("Mcp-Session-Id", &session)], "");
                    assert_eq!(ended.status, 204);
                }
            });
        }
    });
    let metrics = eventually("the gauges to come to rest", || {
        let metrics = Metrics::of(&gateway);
        // The one connection is that of this very scrape.
        (metrics.value("mcp_active_connections") == 1).then_some(metrics)
    });
    assert_eq!(metrics.sum("mcp_upstream_inflight"), 0);
    assert_eq!(metrics.sum("mcp_sessions"), 0);
    assert_eq!(metrics.ends("echo"), [("success", CONNECTIONS * CALLS * 3 / 4)]);
    assert_eq!(metrics.ends("demo__add"), [("success", CONNECTIONS * CALLS / 4)]);
    assert_eq!(metrics.sum("mcp_requests_total"), 12_000);
    assert_eq!(metrics.sum("mcp_shed_total"), 0);
    assert_eq!(metrics.sum("mcp_failovers_total"), 0);
}

fn modern_request(addr: &str, tool: &str, arguments: &str) -> String {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments},{MODERN_META}}}}}"#
    );
    let more = format!(
        "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: {tool}\r\n"
    );
    request(addr, &more, &body)
}

fn legacy_request(addr: &str, session: &str, tool: &str, arguments: &str) -> String {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#
    );
    request(addr, &format!("Mcp-Session-Id: {session}\r\n"), &body)
}

fn request(addr: &str, more: &str, body: &str) -> String {
    format!(
        "POST /mcp HTTP/1.1\r\nHost: {addr}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n{more}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A connection that takes one request after the other.
struct KeptAlive {
    socket: BufReader<TcpStream>,
}

impl KeptAlive {
    fn new(addr: &str) -> Self {
        let socket = TcpStream::connect(addr).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Self { socket: BufReader::new(socket) }
    }

    /// Sends a whole request; the answer must be plain JSON.
    fn ask(&mut self, request: &str) -> Value {
        self.socket.get_mut().write_all(request.as_bytes()).unwrap();
        let mut length = 0;
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.socket.read_line(&mut line).unwrap() > 0, "the connection ended");
            let head = line.trim().to_ascii_lowercase();
            assert!(!head.starts_with("http/") || head.starts_with("http/1.1 200"), "{head}");
            if let Some(value) = head.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if head.is_empty() {
                break;
            }
        }
        assert!(length > 0, "an answer without a length");
        let mut body = vec![0; length];
        self.socket.read_exact(&mut body).unwrap();
        serde_json::from_slice(&body).unwrap()
    }
}

// === health ===

fn one_url(url: &str, required: bool) -> String {
    format!(
        "[upstreams.demo]\nrequired = {required}\n[[upstreams.demo.replicas]]\nname = \"far\"\nurl = \"{url}\"\n"
    )
}

fn health(gateway: &Gateway) -> (u16, Value) {
    let reply = get(gateway, "/health");
    assert_eq!(reply.header("content-type"), Some("application/json"));
    (reply.status, reply.answer())
}

/// Waits until the health is this word, and answers the status and the body.
#[track_caller]
fn until(gateway: &Gateway, word: &str) -> (u16, Value) {
    eventually(word, || Some(health(gateway)).filter(|(_, body)| body["status"] == word))
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn health_has_the_shape_that_was_promised() {
    let gateway = Gateway::start(&one_child("60s"));
    let (status, body) = until(&gateway, "healthy");
    assert_eq!(status, 200);
    assert_eq!(keys(&body), ["status", "timestamp", "version", "services"]);
    assert_eq!(body["version"], env!("CARGO_PKG_VERSION"));
    let time = body["timestamp"].as_str().unwrap();
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert!(shape.starts_with("0000-00-00T00:00:00") && shape.ends_with('Z'), "{time}");
    assert_eq!(keys(&body["services"]), ["weather", "context7", "demo"]);
    for (name, service) in body["services"].as_object().unwrap() {
        assert_eq!(service["status"], "healthy", "{name}");
    }
    let demo = &body["services"]["demo"];
    assert_eq!(demo["required"], false);
    assert_eq!(demo["replicas"], json!([{ "name": "a", "state": "up", "version": "2026-07-28" }]));
    // It was asked more than once, and no paid service was called for it.
    assert_eq!(Metrics::of(&gateway).sum("mcp_requests_total"), 0);
}

#[test]
fn health_is_read_by_get_and_head_only() {
    let gateway = Gateway::start("");
    for path in ["/health", "/health/live", "/health/ready", "/metrics"] {
        let url = format!("{}{path}", gateway.base);
        assert_eq!(Http::send("GET", &url, &[], "").status, 200, "{path}");
        let refused = Http::send("POST", &url, &[], "{}");
        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")), "{path}");
    }
    assert_eq!(get(&gateway, "/health/live").answer(), json!({ "status": "alive" }));
    assert_eq!(get(&gateway, "/health/ready").answer(), json!({ "status": "ready" }));
    assert_eq!(get(&gateway, "/health/nothing").status, 404);
    let stranger = [("Host", "evil.example")];
    assert_eq!(Http::send("GET", &format!("{}/health", gateway.base), &stranger, "").status, 403);
}

#[test]
fn a_missing_replica_is_a_degraded_gateway_that_answers() {
    let missing = free_port();
    let gateway = Gateway::start(&format!(
        "{}[[upstreams.demo.replicas]]\nname = \"gone\"\nurl = \"http://127.0.0.1:{missing}/mcp\"\n",
        one_child("60s")
    ));
    let (status, body) = eventually("the replica to be missed", || {
        let seen = health(&gateway);
        (seen.1["services"]["demo"]["replicas"][1]["state"] == "down"
            && seen.1["services"]["demo"]["replicas"][0]["state"] == "up")
            .then_some(seen)
    });
    assert_eq!((status, &body["status"]), (200, &json!("degraded")));
    let demo = &body["services"]["demo"];
    assert_eq!(demo["status"], "degraded");
    assert_eq!(keys(&demo["replicas"][1]), ["name", "state", "reason"]);
    assert!(!demo["replicas"][1]["reason"].as_str().unwrap().is_empty());
    assert_eq!(get(&gateway, "/health/ready").status, 200);
    let metrics = Metrics::of(&gateway);
    let takes = |replica: &str| {
        metrics.value(&format!(r#"mcp_upstream_up{{upstream="demo",replica="{replica}"}}"#))
    };
    assert_eq!((takes("a"), takes("gone")), (1, 0));
    up(&gateway);
    for _ in 0..4 {
        let sum = Http::modern_call(&gateway.url(), "demo__add", r#"{"a":1,"b":2}"#);
        assert_eq!(sum.verdict(), (200, 0));
    }
}

#[test]
fn a_call_that_comes_before_the_first_lists_waits_for_them() {
    let slow =
        one_child("60s").replace("\"--stdio\"", "\"--stdio\", \"--quirk\", \"slow-start=200\"");
    // It waits two seconds at most: on a busy machine a child may take longer now and then.
    let waited = (0..5).any(|_| {
        let gateway = Gateway::start(&slow);
        let url = gateway.url();
        std::thread::scope(|scope| {
            let unknown = scope.spawn(|| Http::modern_call(&url, "demo__nobody", "{}").verdict());
            let sum = Http::modern_call(&url, "demo__add", r#"{"a":1,"b":2}"#).verdict();
            assert_eq!(unknown.join().unwrap(), (200, -32_602));
            sum == (200, 0)
        })
    });
    assert!(waited, "a call is told that there is no such tool, and a moment later there is");
}

#[test]
fn a_required_upstream_decides_over_ready_and_healthy() {
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}/mcp");
    let config = format!(
        "{}\n{}",
        one_url(&url, true),
        one_child("60s").replace("demo]", "other]").replace("demo.", "other.")
    );
    let gateway = Gateway::start(&config);
    let ready = get(&gateway, "/health/ready");
    assert_eq!(ready.status, 503);
    assert_eq!(ready.answer()["status"], "waiting");
    let (status, body) = until(&gateway, "unhealthy");
    assert_eq!(status, 503);
    assert_eq!(body["services"]["demo"]["status"], "unhealthy");
    assert_eq!(get(&gateway, "/health/live").status, 200);
    // What does not need it works all the same.
    assert_eq!(Http::modern_call(&gateway.url(), "echo", r#"{"message":"x"}"#).verdict(), (200, 0));

    let mut demo = Demo::start_on(port, &[]);
    eventually("the gateway to be ready", || {
        (get(&gateway, "/health/ready").status == 200).then_some(())
    });
    assert_eq!(until(&gateway, "healthy").0, 200);
    demo.kill();
    // A call makes it look at once.
    drop(Http::modern_call(&gateway.url(), "demo__add", r#"{"a":1,"b":2}"#));
    assert_eq!(until(&gateway, "unhealthy").0, 503);
    // Ready means: answered once.
    assert_eq!(get(&gateway, "/health/ready").status, 200);
}

#[test]
fn a_gateway_without_any_upstream_left_is_unhealthy() {
    let gone = free_port();
    let gateway = Gateway::start(&one_url(&format!("http://127.0.0.1:{gone}/mcp"), false));
    assert_eq!(until(&gateway, "unhealthy").0, 503);
    // Nothing is required, so it takes calls.
    assert_eq!(get(&gateway, "/health/ready").status, 200);
}

#[test]
fn an_upstream_without_its_variable_is_disabled_and_says_why() {
    let gateway = Gateway::start(&format!(
        "{}\n[upstreams.search]\n[[upstreams.search.replicas]]\nurl = \"http://127.0.0.1:9/mcp\"\nheaders = {{ Authorization = \"Bearer ${{WAYPOST_TEST_IS_NOT_SET}}\" }}\n",
        one_child("60s")
    ));
    let (status, body) = eventually("the demo", || {
        let seen = health(&gateway);
        (seen.1["services"]["demo"]["status"] == "healthy").then_some(seen)
    });
    assert_eq!(status, 200);
    let search = &body["services"]["search"];
    assert_eq!(search["status"], "disabled");
    let reason = search["reason"].as_str().unwrap();
    assert!(reason.contains("WAYPOST_TEST_IS_NOT_SET"), "{reason}");
}

#[test]
fn a_child_that_ends_is_counted_and_comes_back() {
    let gateway = Gateway::start(&one_child("60s"));
    up(&gateway);
    drop(Http::modern_call(&gateway.url(), "demo__fail", r#"{"how":"exit"}"#));
    let restarts = r#"mcp_child_restarts_total{upstream="demo",reason="exited"}"#;
    eventually("the end of the child", || {
        (Metrics::of(&gateway).value(restarts) == 1).then_some(())
    });
    eventually("the child to be back", || {
        let sum = Http::modern_call(&gateway.url(), "demo__add", r#"{"a":1,"b":2}"#);
        (sum.verdict() == (200, 0)).then_some(())
    });
    assert_eq!(Metrics::of(&gateway).value(restarts), 1);
}
