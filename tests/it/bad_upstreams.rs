//! One bad upstream never delays or removes the others, and a call to it gets an honest error.

use std::io::Read as _;
use std::time::Duration;

use serde_json::Value;
use waypost::base::clock;

use crate::support::procfs::{mark, marked, marked_with, resident_kib};
use crate::support::toml::{command, demo, upstream, url};
use crate::support::{
    Demo, Gateway, Http, Reply, eventually, health, listed, metric, own_error, replicas_up,
};

/// The first list waits two seconds at most; the rest is for a loaded machine.
const FIRST_LIST: Duration = Duration::from_secs(5);
/// A growth of memory that no bound on lines, tails and queues explains.
const MEMORY_GROWTH_KIB: u64 = 64 * 1024;

fn call(gateway: &Gateway, tool: &str, arguments: &str) -> Value {
    Http::modern_call(&gateway.url(), tool, arguments).answer()
}

/// A gateway with a good upstream and a bad one without prefix, so that calls to it are forwarded
/// though it never listed anything.
fn beside_a_good_one(timeout: &str, bad: &str) -> (Gateway, Demo) {
    let good = Demo::start(&["--name", "good"]);
    let keys = format!("prefix = \"\"\ntimeout = \"{timeout}\"");
    let config = format!(
        "{}{}",
        upstream("bad", &keys, &[bad.to_owned()]),
        upstream("good", "", &[url(&good.url)])
    );
    (Gateway::start(&config), good)
}

/// The good one's tools are in the first list, which waits no longer than it may, and they work.
fn the_good_one_works(gateway: &Gateway) {
    let began = clock::now();
    let tools = Http::tools(&gateway.url());
    assert!(began.elapsed() < FIRST_LIST, "the first list took {:?}", began.elapsed());
    assert!(tools.iter().any(|tool| tool == "good__whoami"), "{tools:?}");
    let began = clock::now();
    let who = call(gateway, "good__whoami", "{}");
    assert_eq!(who["result"]["structuredContent"]["name"], "good", "{who}");
    assert!(began.elapsed() < Duration::from_secs(2), "the call took {:?}", began.elapsed());
    assert_eq!(health(gateway, "good")["status"], "healthy");
}

/// A call to the bad one says that it was not sent.
fn the_bad_one_was_not_called(gateway: &Gateway) {
    let began = clock::now();
    let answer = call(gateway, "whoami", "{}");
    let wanted = (-31002, "unavailable".to_owned(), "not_sent".to_owned(), true, "bad".to_owned());
    assert_eq!(own_error(&answer), wanted, "{answer}");
    assert!(began.elapsed() < FIRST_LIST, "the call took {:?}", began.elapsed());
}

fn harms_nobody(bad: &str) {
    let (gateway, _good) = beside_a_good_one("1s", bad);
    the_good_one_works(&gateway);
    the_bad_one_was_not_called(&gateway);
    the_good_one_works(&gateway);
}

#[test]
fn a_dead_url_harms_nobody() {
    let port = crate::support::process::free_port();
    harms_nobody(&url(&format!("http://127.0.0.1:{port}/mcp")));
}

#[test]
fn a_url_that_never_answers_harms_nobody() {
    let silent = crate::support::Fake::start(|_| None);
    harms_nobody(&url(&silent.url));
}

#[test]
fn a_child_that_says_nothing_harms_nobody() {
    harms_nobody(&command(&["sleep", "600"]));
}

#[test]
fn a_child_that_crashes_at_its_start_harms_nobody() {
    harms_nobody(&demo(&["--quirk", "crash-at-start"]));
}

#[test]
fn a_program_that_does_not_exist_harms_nobody() {
    harms_nobody(&command(&["no-such-program-anywhere"]));
}

#[test]
fn a_child_that_never_lists_harms_nobody() {
    harms_nobody(&demo(&["--quirk", "slow-list"]));
}

#[test]
fn a_url_that_never_lists_harms_nobody() {
    let slow = Demo::start(&["--quirk", "slow-list"]);
    harms_nobody(&url(&slow.url));
}

#[test]
fn a_child_that_answers_its_greeting_only_harms_nobody() {
    harms_nobody(&demo(&["--quirk", "never-answer"]));
}

#[test]
fn a_child_that_prints_garbage_harms_nobody() {
    let (gateway, _good) = beside_a_good_one("1s", &demo(&["--quirk", "garbage"]));
    the_good_one_works(&gateway);
    eventually("the garbage to be noticed", || {
        let state = health(&gateway, "bad")["replicas"][0].clone();
        state["reason"].as_str()?.contains("no JSON-RPC").then_some(())
    });
    the_good_one_works(&gateway);
}

#[test]
fn a_list_whose_pages_never_end_is_cut_and_harms_nobody() {
    for over_http in [false, true] {
        let server = Demo::start(&["--quirk", "loop-cursor"]);
        let bad = if over_http { url(&server.url) } else { demo(&["--quirk", "loop-cursor"]) };
        let (gateway, _good) = beside_a_good_one("1s", &bad);
        the_good_one_works(&gateway);
        // What it listed before it repeated itself counts, once.
        listed(&gateway, "whoami");
        let tools = Http::tools(&gateway.url());
        assert_eq!(tools.iter().filter(|tool| *tool == "whoami").count(), 1, "{tools:?}");
        assert!(call(&gateway, "whoami", "{}")["result"].is_object());
    }
}

#[test]
fn a_child_that_floods_stderr_works_and_costs_no_memory() {
    let (gateway, _good) = beside_a_good_one("1s", &demo(&["--quirk", "flood-stderr"]));
    the_good_one_works(&gateway);
    listed(&gateway, "whoami");
    let before = resident_kib(gateway.pid());
    let began = clock::now();
    let mut calls = 0;
    while began.elapsed() < Duration::from_secs(3) {
        assert!(call(&gateway, "whoami", "{}")["result"].is_object());
        calls += 1;
    }
    assert!(calls > 10, "only {calls} calls in three seconds");
    let after = resident_kib(gateway.pid());
    assert!(after < before + MEMORY_GROWTH_KIB, "{before} KiB grew to {after} KiB");
    the_good_one_works(&gateway);
}

// === bad in the middle of a call ===

/// A gateway whose bad upstream is up and listed, beside a good one.
fn up(timeout: &str, quirks: &[&str], over_http: bool) -> (Gateway, Vec<Demo>) {
    let args: Vec<&str> = quirks.iter().flat_map(|quirk| ["--quirk", *quirk]).collect();
    let server = Demo::start(&args);
    let bad = if over_http { url(&server.url) } else { demo(&args) };
    let (gateway, good) = beside_a_good_one(timeout, &bad);
    listed(&gateway, "whoami");
    listed(&gateway, "good__whoami");
    (gateway, vec![server, good])
}

fn told(answer: &Value, code: i64, kind: &str) {
    let (got, kind_, delivery, retryable, upstream) = own_error(answer);
    assert_eq!((got, kind_.as_str()), (code, kind), "{answer}");
    assert_eq!((delivery.as_str(), retryable), ("unknown", false), "{answer}");
    assert_eq!(upstream, "bad", "{answer}");
    let text = answer["error"]["message"].as_str().unwrap();
    assert!(text.contains("bad") && text.contains("may have run"), "{text:?}");
}

#[test]
fn an_answer_under_another_id_is_never_taken_for_the_call() {
    let (gateway, _demos) = up("1s", &["wrong-id"], false);
    told(&call(&gateway, "whoami", "{}"), -31004, "deadline");
    the_good_one_works(&gateway);
    let (gateway, _demos) = up("1s", &["wrong-id"], true);
    told(&call(&gateway, "whoami", "{}"), -31003, "delivery_unknown");
    the_good_one_works(&gateway);
}

#[test]
fn a_call_that_hangs_ends_at_its_deadline_and_the_child_goes_on() {
    for over_http in [false, true] {
        let (gateway, _demos) = up("1s", &[], over_http);
        let pid = call(&gateway, "whoami", "{}")["result"]["structuredContent"]["pid"].clone();
        let began = clock::now();
        told(&call(&gateway, "fail", r#"{"how":"hang"}"#), -31004, "deadline");
        assert!(began.elapsed() >= Duration::from_secs(1));
        the_good_one_works(&gateway);
        let again = call(&gateway, "whoami", "{}");
        assert_eq!(again["result"]["structuredContent"]["pid"], pid, "{again}");
    }
}

#[test]
fn garbage_instead_of_an_answer_ends_the_call_and_nothing_else() {
    let (gateway, _demos) = up("1s", &[], false);
    told(&call(&gateway, "fail", r#"{"how":"garbage"}"#), -31004, "deadline");
    assert!(call(&gateway, "whoami", "{}")["result"].is_object());
    let (gateway, _demos) = up("1s", &[], true);
    told(&call(&gateway, "fail", r#"{"how":"garbage"}"#), -31003, "delivery_unknown");
    assert!(call(&gateway, "whoami", "{}")["result"].is_object());
}

#[test]
fn a_child_that_dies_in_a_call_fails_that_call_at_once_and_is_replaced() {
    let (gateway, _demos) = up("30s", &[], false);
    let pid = call(&gateway, "whoami", "{}")["result"]["structuredContent"]["pid"].clone();
    let began = clock::now();
    told(&call(&gateway, "fail", r#"{"how":"exit"}"#), -31003, "delivery_unknown");
    assert!(began.elapsed() < Duration::from_secs(2), "it took {:?}", began.elapsed());
    the_good_one_works(&gateway);
    // A call while the child is being replaced waits or is told that it was not sent.
    eventually("the next child", || {
        let answer = call(&gateway, "whoami", "{}");
        if answer["error"].is_object() {
            assert_eq!(own_error(&answer).0, -31002, "{answer}");
        }
        let next = answer["result"]["structuredContent"]["pid"].clone();
        (next.is_number() && next != pid).then_some(())
    });
}

#[test]
fn every_call_on_a_child_that_dies_is_told_and_no_other_is() {
    let (gateway, _demos) = up("30s", &[], false);
    let url = gateway.url();
    let waiting = |tool: &'static str| {
        let url = url.clone();
        std::thread::spawn(move || Http::modern_call(&url, tool, r#"{"ms":900}"#).answer())
    };
    let on_bad: Vec<_> = (0..5).map(|_| waiting("sleep")).collect();
    let on_good: Vec<_> = (0..5).map(|_| waiting("good__sleep")).collect();
    let inflight = |upstream: &str| {
        let series = format!(r#"mcp_upstream_inflight{{upstream="{upstream}",replica="0"}}"#);
        metric(&gateway, &series)
    };
    eventually("ten calls in flight", || {
        (inflight("bad") >= 5.0 && inflight("good") >= 5.0).then_some(())
    });
    told(&call(&gateway, "fail", r#"{"how":"exit"}"#), -31003, "delivery_unknown");
    for answer in on_bad {
        told(&answer.join().unwrap(), -31003, "delivery_unknown");
    }
    for answer in on_good {
        assert_eq!(answer.join().unwrap()["result"]["structuredContent"]["slept_ms"], 900);
    }
    assert!((inflight("bad") - 0.0).abs() < 0.5 && (inflight("good") - 0.0).abs() < 0.5);
}

#[test]
fn a_line_without_end_costs_its_call_and_bounded_memory() {
    let mark = mark();
    let good = Demo::start(&["--name", "good"]);
    let bad = format!("{}\n{}", demo(&["--quirk", "long-line"]), marked_with(&mark));
    let config = format!(
        "{}{}",
        upstream("bad", "prefix = \"\"\ntimeout = \"20s\"", &[bad]),
        upstream("good", "", &[url(&good.url)])
    );
    let gateway = Gateway::start(&config);
    listed(&gateway, "whoami");
    let before = resident_kib(gateway.pid());
    let first: Vec<u32> = marked(&mark);
    let answer = call(&gateway, "whoami", "{}");
    let (code, kind, delivery, retryable, upstream) = own_error(&answer);
    assert_eq!((code, kind.as_str()), (-31007, "too_large"), "{answer}");
    assert_eq!((delivery.as_str(), retryable, upstream.as_str()), ("unknown", false, "bad"));
    let after = resident_kib(gateway.pid());
    assert!(after < before + MEMORY_GROWTH_KIB, "{before} KiB grew to {after} KiB");
    the_good_one_works(&gateway);
    eventually("the next child", || {
        let now = marked(&mark);
        (!now.is_empty() && now.iter().all(|pid| !first.contains(pid))).then_some(())
    });
    replicas_up(&gateway, "bad", 1);
}

#[test]
fn an_answer_without_end_passes_in_bounded_memory_until_its_client_has_enough() {
    const ENOUGH: usize = 16 * 1024 * 1024;
    let server = Demo::start(&["--quirk", "long-line"]);
    let keys = "prefix = \"\"\ntimeout = \"20s\"";
    let gateway = Gateway::start(&upstream("bad", keys, &[url(&server.url)]));
    listed(&gateway, "whoami");
    let before = resident_kib(gateway.pid());
    let params = r#""name":"whoami","arguments":{}"#;
    let (headers, body) = Http::modern_parts("1", "tools/call", Some("whoami"), params);
    let mut socket = Http::begin(&gateway.url(), &headers, &body);
    let (mut got, mut buffer) = (0, vec![0; 64 * 1024]);
    while got < ENOUGH {
        let read = socket.read(&mut buffer).unwrap();
        assert!(read > 0, "it ended after {got} bytes");
        got += read;
    }
    let after = resident_kib(gateway.pid());
    assert!(after < before + MEMORY_GROWTH_KIB, "{before} KiB grew to {after} KiB");
    drop(socket);
    let series = r#"mcp_upstream_inflight{upstream="bad",replica="0"}"#;
    eventually("the call to be given up", || (metric(&gateway, series) < 0.5).then_some(()));
}

#[test]
fn credentials_that_an_upstream_refuses_are_not_the_clients_401() {
    for status in ["401", "403"] {
        let port = crate::support::process::free_port();
        let mut server = Demo::start_on(port, &[]);
        let gateway = Gateway::start(&upstream("bad", "", &[url(&server.url)]));
        listed(&gateway, "bad__whoami");
        server.kill();
        let quirk = format!("status={status}");
        let _refusing = Demo::start_on(port, &["--quirk", &quirk]);
        let reply: Reply = Http::modern_call(&gateway.url(), "bad__whoami", "{}");
        assert_eq!(reply.status, 200, "{reply:?}");
        let wanted = (-31002, "unavailable".into(), "rejected".into(), false, "bad".into());
        assert_eq!(own_error(&reply.answer()), wanted, "{reply:?}");
        assert!(reply.header("www-authenticate").is_none());
    }
}
