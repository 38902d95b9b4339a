//! Shares of the calls, and what happens to calls when a replica goes away: nothing that may have
//! run is sent twice, and nothing that was not sent is lost.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use waypost::base::clock;

use crate::support::peer::{no_method, result, text};
use crate::support::process::{WAYPOST, free_port, received};
use crate::support::puppet::{Offer, Puppet};
use crate::support::toml::{command, demo, named, upstream, url};
use crate::support::{
    Demo, Era, Gateway, Http, Over, Peer, eventually, listed, metric, own_error, replicas_up,
};

fn call(gateway: &Gateway, tool: &str, arguments: &str) -> Value {
    Http::modern_call(&gateway.url(), tool, arguments).answer()
}

/// A gateway over two children and a URL, which answer as a, b and c.
fn mixed(port: u16) -> (Gateway, Demo) {
    let server = Demo::start_on(port, &["--name", "c"]);
    let replicas = [
        named("a", &demo(&["--name", "a"])),
        named("b", &demo(&["--name", "b"])),
        named("c", &url(&server.url)),
    ];
    let gateway = Gateway::start(&upstream("u", "balance = \"round_robin\"", &replicas));
    replicas_up(&gateway, "u", 3);
    listed(&gateway, "u__whoami");
    (gateway, server)
}

/// Who answers so many calls, one after the other; none of them may fail.
fn shares(gateway: &Gateway, calls: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for _ in 0..calls {
        let answer = call(gateway, "u__whoami", "{}");
        let name = answer["result"]["structuredContent"]["name"].as_str();
        assert!(name.is_some(), "a call failed: {answer}");
        *shares.entry(name.unwrap().to_owned()).or_default() += 1;
    }
    shares
}

fn each(names: &[&str], calls: usize) -> BTreeMap<String, usize> {
    names.iter().map(|name| ((*name).to_owned(), calls)).collect()
}

fn kill(pid: &str) {
    assert!(Command::new("kill").args(["-9", pid]).status().unwrap().success());
}

#[test]
fn round_robin_gives_exact_shares_to_the_replicas_that_are_up() {
    let port = free_port();
    let (gateway, mut server) = mixed(port);
    assert_eq!(shares(&gateway, 30), each(&["a", "b", "c"], 10));
    server.kill();
    shares(&gateway, 3);
    replicas_up(&gateway, "u", 2);
    assert_eq!(shares(&gateway, 20), each(&["a", "b"], 10));
    let _again = Demo::start_on(port, &["--name", "c"]);
    replicas_up(&gateway, "u", 3);
    assert_eq!(shares(&gateway, 30), each(&["a", "b", "c"], 10));
}

#[test]
fn legacy_clients_get_the_same_shares() {
    let (gateway, _server) = mixed(0);
    let session = Http::legacy_session(&gateway.url(), "2025-03-26");
    let mut shares = BTreeMap::new();
    for _ in 0..9 {
        let answer = Http::legacy_call(&gateway.url(), &session, "u__whoami", "{}").answer();
        let name = answer["result"]["structuredContent"]["name"].as_str().unwrap().to_owned();
        *shares.entry(name).or_default() += 1;
    }
    assert_eq!(shares, each(&["a", "b", "c"], 3));
}

#[test]
fn a_url_that_died_between_two_calls_costs_no_client_an_error() {
    for _ in 0..3 {
        let (gateway, mut server) = mixed(0);
        // Connections of the past stand open to it.
        shares(&gateway, 6);
        server.kill();
        let after = shares(&gateway, 30);
        assert!(!after.contains_key("c"), "{after:?}");
        let series = |replica| format!(r#"mcp_upstream_up{{upstream="u",replica="{replica}"}}"#);
        eventually("the dead one to be down", || {
            (metric(&gateway, &series("c")) < 0.5).then_some(())
        });
        assert!(metric(&gateway, &series("a")) > 0.5);
        assert!(metric(&gateway, r#"mcp_failovers_total{upstream="u"}"#) <= 1.0 + 30.0 / 3.0);
    }
}

#[test]
fn a_url_that_died_is_down_before_anybody_calls_it() {
    for era in ["legacy", "modern"] {
        let mut server = Demo::start(&["--era", era]);
        let replicas = [url(&server.url), demo(&["--name", "a"])];
        let gateway = Gateway::start(&upstream("u", "", &replicas));
        replicas_up(&gateway, "u", 2);
        let stands = |server: &Demo| {
            let opens = |entry: &Value| {
                let body = entry["body"].as_str().unwrap_or_default();
                entry["method"] == "GET" || body.contains("subscriptions/listen")
            };
            server.received().iter().any(opens)
        };
        eventually("its stream", || stands(&server).then_some(()));
        server.kill();
        let began = clock::now();
        eventually("the dead one to be down", || {
            let series = r#"mcp_upstream_up{upstream="u",replica="0"}"#;
            (metric(&gateway, series) < 0.5).then_some(())
        });
        // The next look on time would have been ten seconds away.
        assert!(began.elapsed() < Duration::from_secs(5), "{era}: {:?}", began.elapsed());
    }
}

/// How many looks have reached a server.
fn looks(server: &Puppet) -> usize {
    server.requests("ping").len() + server.requests("server/discover").len()
}

fn wait_until_down(gateway: &Gateway) {
    eventually("the dead one to be down", || {
        let series = r#"mcp_upstream_up{upstream="u",replica="0"}"#;
        (metric(gateway, series) < 0.5).then_some(())
    });
}

/// No look on time, nor a fast one, comes within a test.
const NO_LOOKS: &str = "[upstreams.u.health]\ninterval = \"10m\"\nfast_interval = \"10m\"";

/// A server that closes every connection on which something comes, once it `dies`.
fn mortal(era: Era) -> (Puppet, Arc<AtomicBool>) {
    let dies = Arc::new(AtomicBool::new(false));
    let dying = Arc::clone(&dies);
    let server = Puppet::start(Offer::new("u", era).tools(&["t"]), move |_, wire| {
        let dying = dying.load(Ordering::SeqCst);
        if dying {
            wire.hang_up();
        }
        dying
    });
    (server, dies)
}

/// How many looks reach a server in the moment of its death, while no other is due.
fn looks_at_its_death(era: Era) -> usize {
    let (mut server, dies) = mortal(era);
    let replicas = [url(&server.url), demo(&["--name", "a"])];
    let gateway = Gateway::start(&upstream("u", NO_LOOKS, &replicas));
    replicas_up(&gateway, "u", 2);
    eventually("its stream", || (server.standing() > 0).then_some(()));
    // All is listed once more when the stream stands, and leaves connections open.
    eventually("its lists", || {
        (server.requests("resources/templates/list").len() > 1).then_some(())
    });
    eventually("a call of it", || {
        Http::modern_call(&gateway.url(), "u__t", "{}").answer();
        (!server.requests("tools/call").is_empty()).then_some(())
    });
    let before = looks(&server);
    server.stop_listening();
    dies.store(true, Ordering::SeqCst);
    server.cut_streams();
    wait_until_down(&gateway);
    looks(&server) - before
}

/// The connections of a server that is killed are closed one after the other: the first look after
/// that may be sent on one that still stands.
#[test]
fn a_look_whose_connection_breaks_is_repeated_on_a_new_one() {
    for era in [Era::Legacy, Era::Modern] {
        // None reaches it where no connection was at rest in that moment, which is rare.
        let looks = eventually("a connection to stand open to it", || {
            Some(looks_at_its_death(era)).filter(|looks| *looks > 0)
        });
        assert_eq!(looks, 1, "{era:?}");
    }
}

#[test]
fn a_url_that_dies_between_two_streams_is_down_before_anybody_calls_it() {
    for era in [Era::Legacy, Era::Modern] {
        let (mut server, dies) = mortal(era);
        let replicas = [url(&server.url), demo(&["--name", "a"])];
        let gateway = Gateway::start(&upstream("u", NO_LOOKS, &replicas));
        replicas_up(&gateway, "u", 2);
        eventually("its stream", || (server.standing() > 0).then_some(()));
        let before = looks(&server);
        server.cut_streams();
        eventually("a look that finds it well", || (looks(&server) > before).then_some(()));
        // The next stream is asked for a second later.
        dies.store(true, Ordering::SeqCst);
        server.stop_listening();
        wait_until_down(&gateway);
    }
}

#[test]
fn the_death_of_one_under_many_calls_costs_the_next_calls_of_the_others_nothing() {
    let mut dies = Demo::start(&["--name", "dies"]);
    let stays = Demo::start(&["--name", "stays"]);
    let replicas = [url(&dies.url), url(&stays.url)];
    let gateway = Gateway::start(&upstream("u", "balance = \"round_robin\"", &replicas));
    replicas_up(&gateway, "u", 2);
    let running = || metric(&gateway, r#"mcp_upstream_inflight{upstream="u",replica="0"}"#);
    std::thread::scope(|scope| {
        let calls: Vec<_> =
            (0..50).map(|_| scope.spawn(|| call(&gateway, "u__sleep", r#"{"ms":5000}"#))).collect();
        // One that is not written yet would go to the other.
        let there = || dies.requests("tools/call").len() == 25;
        eventually("25 calls there", || there().then_some(()));
        dies.kill();
        eventually("their ends", || (running() < 0.5).then_some(()));
        for _ in 0..30 {
            let next = call(&gateway, "u__whoami", "{}");
            assert_eq!(next["error"], Value::Null, "{next}");
        }
        let ends = calls.into_iter().map(|call| call.join().unwrap());
        assert_eq!(ends.filter(|end| end["error"]["code"] == -31003).count(), 25);
    });
}

#[test]
fn a_url_that_was_never_there_costs_no_client_an_error() {
    let dead = format!("http://127.0.0.1:{}/mcp", free_port());
    let replicas = [url(&dead), demo(&["--name", "a"])];
    let gateway = Gateway::start(&upstream("u", "", &replicas));
    assert_eq!(shares(&gateway, 10), each(&["a"], 10));
}

#[test]
fn when_the_last_replica_died_the_call_was_not_sent() {
    let mut server = Demo::start(&[]);
    let gateway = Gateway::start(&upstream("u", "timeout = \"1s\"", &[url(&server.url)]));
    listed(&gateway, "u__whoami");
    assert!(call(&gateway, "u__whoami", "{}")["result"].is_object());
    server.kill();
    for _ in 0..3 {
        let answer = call(&gateway, "u__whoami", "{}");
        let wanted = (-31002, "unavailable".into(), "not_sent".into(), true, "u".into());
        assert_eq!(own_error(&answer), wanted, "{answer}");
    }
}

#[test]
fn a_child_that_was_killed_is_replaced_and_costs_later_calls_nothing() {
    let (gateway, _server) = mixed(0);
    let pids = |gateway: &Gateway| -> Vec<String> {
        let who = |_| call(gateway, "u__whoami", "{}")["result"]["structuredContent"].clone();
        let all: Vec<Value> = (0..3).map(who).collect();
        all.iter().filter(|who| who["name"] == "a").map(|who| who["pid"].to_string()).collect()
    };
    let before = pids(&gateway);
    kill(&before[0]);
    eventually("its end to be noticed", || {
        let series = r#"mcp_child_restarts_total{upstream="u",reason="exited"}"#;
        (metric(&gateway, series) > 0.5).then_some(())
    });
    shares(&gateway, 10);
    replicas_up(&gateway, "u", 3);
    assert_eq!(shares(&gateway, 30), each(&["a", "b", "c"], 10));
    assert_ne!(pids(&gateway), before);
}

fn lines(file: &Path) -> Vec<Value> {
    received(file)
}

#[test]
fn a_child_that_is_killed_in_mid_call_ran_it_once_and_nobody_runs_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.jsonl");
    // It runs the tool and answers under another id, so the call waits until the child is killed.
    let replica = demo(&["--quirk", "wrong-id", "--journal", journal.to_str().unwrap()]);
    let keys = "trust_annotations = true";
    let gateway = Gateway::start(&upstream("u", keys, &[replica.clone(), replica]));
    replicas_up(&gateway, "u", 2);
    listed(&gateway, "u__append");
    let url = gateway.url();
    let waiting = std::thread::spawn(move || {
        Http::modern_call(&url, "u__append", r#"{"line":"x"}"#).answer()
    });
    let run = eventually("the run", || lines(&journal).pop());
    kill(&run["pid"].to_string());
    let answer = waiting.join().unwrap();
    let wanted = (-31003, "delivery_unknown".into(), "unknown".into(), false, "u".into());
    assert_eq!(own_error(&answer), wanted, "{answer}");
    replicas_up(&gateway, "u", 2);
    assert_eq!(lines(&journal).len(), 1, "it ran exactly once");
}

/// How long its caller waits, from the kill of a child that is in the middle of a call; `None` if the
/// call was not there yet.
fn heard_after(gateway: &Gateway) -> Option<Duration> {
    listed(gateway, "u__sleep");
    // One that was killed before may have a moment left in which calls are refused.
    let pid = eventually("a child", || {
        let who = call(gateway, "u__whoami", "{}")["result"]["structuredContent"].clone();
        who["pid"].as_u64()
    });
    let params = r#""name":"u__sleep","arguments":{"ms":600000}"#;
    let (headers, body) = Http::modern_parts("1", "tools/call", Some("u__sleep"), params);
    let mut open = Http::open(&gateway.url(), &headers, &body);
    let series = r#"mcp_upstream_inflight{upstream="u",replica="0"}"#;
    eventually("the call to arrive", || (metric(gateway, series) > 0.5).then_some(()));
    let began = clock::now();
    kill(&pid.to_string());
    let answer = open.next().unwrap();
    let took = began.elapsed();
    let (code, _, delivery, ..) = own_error(&answer);
    assert!(matches!((code, &*delivery), (-31003, "unknown") | (-31002, "not_sent")), "{answer}");
    (code == -31003).then_some(took)
}

#[test]
fn the_caller_of_a_child_that_is_killed_in_mid_call_hears_of_it_at_once() {
    let server = format!("{WAYPOST} demo-server --stdio");
    let shell = |script: &str| command(&["sh", "-c", &format!("{script} & exec {server}")]);
    let children = [
        ("alone", demo(&[])),
        ("with a child of its own", shell("sleep 1000")),
        // It holds the pipe that the answer would come on, and does not end when it is asked to.
        ("with a stubborn child", shell("(trap '' TERM; while :; do sleep 1000; done)")),
    ];
    for (what, child) in children {
        let gateway = Gateway::start(&upstream("u", "", &[child]));
        let heard = |_| eventually("a call in its middle", || heard_after(&gateway));
        let times: Vec<Duration> = (0..3).map(heard).collect();
        eprintln!("{what}: heard after {times:?}");
        // It takes some milliseconds. The bound is for machines that have much else to do, and
        // below the second for which an end may be looked into.
        let best = times.iter().min().unwrap();
        assert!(*best < Duration::from_millis(500), "{what}: {times:?}");
    }
}

#[test]
fn a_url_that_dies_in_mid_call_got_it_once_and_nobody_gets_it_again() {
    for era in ["legacy", "modern"] {
        let servers = [Demo::start(&["--era", era]), Demo::start(&["--era", era])];
        let replicas = [url(&servers[0].url), url(&servers[1].url)];
        // The tool says that it only reads; the operator's word goes first.
        let keys = "trust_annotations = true\ntools.effect = { sleep = \"unsafe\" }";
        let gateway = Gateway::start(&upstream("u", keys, &replicas));
        replicas_up(&gateway, "u", 2);
        listed(&gateway, "u__sleep");
        let address = gateway.url();
        let waiting = std::thread::spawn(move || {
            Http::modern_call(&address, "u__sleep", r#"{"ms":600000}"#).answer()
        });
        let asked = |server: &Demo| !server.requests("tools/call").is_empty();
        let at = eventually("the call to arrive", || servers.iter().position(asked));
        let mut servers = servers;
        servers[at].kill();
        let answer = waiting.join().unwrap();
        let wanted = (-31003, "delivery_unknown".into(), "unknown".into(), false, "u".into());
        assert_eq!(own_error(&answer), wanted, "{era}: {answer}");
        let calls: usize = servers.iter().map(|server| server.requests("tools/call").len()).sum();
        assert_eq!(calls, 1, "{era}");
    }
}

#[test]
fn a_call_that_only_reads_is_asked_again_where_the_operator_trusts_or_says_so() {
    for keys in ["trust_annotations = true", "tools.effect = { sleep = \"read_only\" }"] {
        let servers = [Demo::start(&[]), Demo::start(&[])];
        let replicas = [url(&servers[0].url), url(&servers[1].url)];
        let gateway = Gateway::start(&upstream("u", keys, &replicas));
        replicas_up(&gateway, "u", 2);
        listed(&gateway, "u__sleep");
        let address = gateway.url();
        let waiting = std::thread::spawn(move || {
            Http::modern_call(&address, "u__sleep", r#"{"ms":3000}"#).answer()
        });
        let asked = |server: &Demo| !server.requests("tools/call").is_empty();
        let at = eventually("the call to arrive", || servers.iter().position(asked));
        let mut servers = servers;
        servers[at].kill();
        let answer = waiting.join().unwrap();
        assert!(answer["result"].is_object(), "{keys}: {answer}");
        assert_eq!(servers[1 - at].requests("tools/call").len(), 1, "{keys}");
        let metrics = Http::send("GET", &format!("{}/metrics", gateway.base), &[], "").body;
        let again: Vec<_> =
            metrics.lines().filter(|l| l.starts_with("mcp_retries_total")).collect();
        // Where its end is noticed first is left to the moment.
        assert!(matches!(again[..], [one] if one.ends_with(" 1")), "{keys}: {again:?}");
    }
}

/// Two servers of a tool that says that it only reads, a prompt and a resource. The first request
/// of a method that reaches either of them is its end: of the child, or of the connection.
fn one_dies_at(method: &'static str, era: Era, over: Over) -> [Peer; 2] {
    let died = Arc::new(AtomicBool::new(false));
    [(), ()].map(|()| {
        let died = Arc::clone(&died);
        let offered = json!({"tools": {}, "prompts": {}, "resources": {}, "completions": {}});
        Peer::offering(era, over, offered, move |turn| {
            if turn.method() == method && !died.swap(true, Ordering::SeqCst) {
                turn.hang_up();
                return Value::Null;
            }
            let reads = json!({"readOnlyHint": true});
            let tool =
                json!({"name": "t", "inputSchema": {"type": "object"}, "annotations": reads});
            let resource = json!({"uri": "r:1", "name": "r"});
            let said = json!({"role": "user", "content": {"type": "text", "text": "survived"}});
            match turn.method() {
                "tools/list" => result(&json!({ "tools": [tool] })),
                "prompts/list" => result(&json!({"prompts": [{"name": "p"}]})),
                "resources/list" => result(&json!({ "resources": [resource] })),
                "resources/templates/list" => result(&json!({"resourceTemplates": []})),
                "tools/call" => text("survived"),
                "prompts/get" => result(&json!({ "messages": [said] })),
                "resources/read" => {
                    result(&json!({"contents": [{"uri": "r:1", "text": "survived"}]}))
                }
                "completion/complete" => result(&json!({"completion": {"values": ["survived"]}})),
                _ => no_method(),
            }
        })
    })
}

fn of_two(peers: &[Peer; 2], era: Era, keys: &str) -> Gateway {
    let era = if era == Era::Legacy { "legacy" } else { "modern" };
    let keys = format!("era = {era:?}\n{keys}");
    let gateway = Gateway::start(&upstream("u", &keys, &peers.each_ref().map(Peer::replica)));
    replicas_up(&gateway, "u", 2);
    listed(&gateway, "u__t");
    gateway
}

/// How often each of them was asked.
fn asked(peers: &[Peer; 2], method: &str) -> [usize; 2] {
    peers.each_ref().map(|peer| peer.heard(method).len())
}

const EVERY_KIND: [(Era, Over); 4] = [
    (Era::Legacy, Over::Http),
    (Era::Modern, Over::Http),
    (Era::Legacy, Over::Stdio),
    (Era::Modern, Over::Stdio),
];

#[test]
fn a_read_whose_replica_dies_in_the_middle_of_it_is_answered_by_the_other_one() {
    let reads = [
        ("resources/read", Some("r:1"), r#""uri":"r:1""#),
        ("prompts/get", Some("u__p"), r#""name":"u__p""#),
        (
            "completion/complete",
            None,
            r#""ref":{"type":"ref/prompt","name":"u__p"},"argument":{"name":"a","value":""}"#,
        ),
    ];
    for (era, over) in EVERY_KIND {
        for (method, name, params) in reads {
            let peers = one_dies_at(method, era, over);
            // Neither needs the operator's trust: by the protocol they only read.
            let gateway = of_two(&peers, era, "trust_annotations = false");
            let messages = Http::modern(&gateway.url(), "1", method, name, params).messages();
            let (kind, text) = ((era, over, method), messages[0].to_string());
            assert_eq!(messages.len(), 1, "{kind:?}: {messages:?}");
            assert!(text.contains("result") && text.contains("survived"), "{kind:?}: {text}");
            assert_eq!(asked(&peers, method), [1, 1], "{kind:?}");
        }
    }
}

#[test]
fn a_call_whose_tool_says_that_it_reads_is_not_asked_again_where_nobody_trusts_it() {
    for (era, over) in EVERY_KIND {
        for (keys, trusted) in
            [("", false), ("trust_annotations = false", false), ("trust_annotations = true", true)]
        {
            let peers = one_dies_at("tools/call", era, over);
            let gateway = of_two(&peers, era, keys);
            let answer = call(&gateway, "u__t", "{}");
            let times: usize = asked(&peers, "tools/call").iter().sum();
            if trusted {
                let text = &answer["result"]["content"][0]["text"];
                assert_eq!((text, times), (&json!("survived"), 2), "{era:?} {over:?}: {answer}");
                continue;
            }
            let wanted = (-31003, "delivery_unknown".into(), "unknown".into(), false, "u".into());
            assert_eq!(own_error(&answer), wanted, "{era:?} {over:?} {keys}: {answer}");
            assert_eq!(times, 1, "{era:?} {over:?} {keys}");
        }
    }
}

#[test]
fn an_answer_that_cannot_be_read_is_not_asked_for_again() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.jsonl");
    let args = ["--quirk", "wrong-id", "--journal", journal.to_str().unwrap()];
    let servers = [Demo::start(&args), Demo::start(&args)];
    let gateway = Gateway::start(&upstream(
        "u",
        "trust_annotations = true",
        &[url(&servers[0].url), url(&servers[1].url)],
    ));
    replicas_up(&gateway, "u", 2);
    listed(&gateway, "u__append");
    let answer = call(&gateway, "u__append", r#"{"line":"x"}"#);
    assert_eq!(own_error(&answer).0, -31003, "{answer}");
    assert_eq!(lines(&journal).len(), 1, "it ran exactly once");
}

#[test]
fn a_lost_session_was_refused_before_anything_ran_so_the_call_goes_to_another_replica() {
    let port = free_port();
    let mut first = Demo::start_on(port, &["--era", "legacy", "--name", "a"]);
    let other = Demo::start(&["--era", "legacy", "--name", "b"]);
    let in_turn = "balance = \"round_robin\"";
    let gateway = Gateway::start(&upstream("u", in_turn, &[url(&first.url), url(&other.url)]));
    replicas_up(&gateway, "u", 2);
    listed(&gateway, "u__whoami");
    first.kill();
    let again = Demo::start_on(port, &["--era", "legacy", "--name", "a"]);
    assert_eq!(shares(&gateway, 4).values().sum::<usize>(), 4, "no call fails");
    eventually("the first one to be greeted again", || {
        (shares(&gateway, 2) == each(&["a", "b"], 1)).then_some(())
    });
    assert_eq!(again.requests("initialize").len(), 1);
}

#[test]
fn a_call_that_its_client_gives_up_is_cancelled_and_runs_nowhere_else() {
    for era in ["legacy", "modern"] {
        let servers = [Demo::start(&["--era", era]), Demo::start(&["--era", era])];
        let replicas = [url(&servers[0].url), url(&servers[1].url)];
        let gateway = Gateway::start(&upstream("u", "", &replicas));
        replicas_up(&gateway, "u", 2);
        listed(&gateway, "u__sleep");
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"u__sleep","arguments":{{"ms":600000}},{}}}}}"#,
            crate::support::MODERN_META
        );
        let head = format!(
            "POST /mcp HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: u__sleep\r\nContent-Length: {}\r\n\r\n",
            gateway.addr(),
            body.len()
        );
        let mut socket = std::net::TcpStream::connect(gateway.addr()).unwrap();
        std::io::Write::write_all(&mut socket, [head, body].concat().as_bytes()).unwrap();
        let calls = || servers.iter().map(|s| s.requests("tools/call").len()).sum::<usize>();
        eventually("the call to arrive", || (calls() == 1).then_some(()));
        drop(socket);
        let inflight = |replica| {
            let series = format!(r#"mcp_upstream_inflight{{upstream="u",replica="{replica}"}}"#);
            metric(&gateway, &series)
        };
        eventually("the call to be given up", || {
            (inflight("0") + inflight("1") < 0.5).then_some(())
        });
        if era == "legacy" {
            eventually("the server to be told", || {
                let told = |s: &Demo| s.requests("notifications/cancelled").len();
                (servers.iter().map(told).sum::<usize>() == 1).then_some(())
            });
        }
        assert_eq!(calls(), 1);
    }
}
