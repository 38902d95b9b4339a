//! Which era an upstream speaks: found without harm to it, per replica, and found again when it
//! changes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use waypost::base::{ReplicaName, Secret, Tasks, UpstreamName};
use waypost::gateway::snapshot::server_info;
use waypost::proto::{Method, Version};
use waypost::telemetry::Meters;
use waypost::upstream::Replica;
use waypost::upstream::connect::{Means, Session, connect};
use waypost::upstream::place::Numbers;
use waypost::upstream::replica::Bonds;
use waypost::upstream::spec::{EraPolicy, LaunchSpec, Program, ReplicaKind, ReplicaSpec};
use waypost::upstream::supervisor::{StopPace, Supervisor};

use crate::support::process::{WAYPOST, free_port, received};
use crate::support::procfs::{children, mark, marked, marked_with};
use crate::support::puppet::{Offer, Puppet};
use crate::support::toml::{command, upstream, url};
use crate::support::{
    Demo, Era, Fake, Gateway, Http, eventually, health, listed, metric, replicas_up,
};

const MODERN: &str = "2026-07-28";
const LEGACY: &str = "2025-11-25";

// === children ===

/// A replica that records what each of its processes received in a file of that process: `$$` is
/// its id in a shell, and a dollar in a configuration.
fn recorded(folder: &Path, args: &str) -> String {
    let line = format!(
        "exec {WAYPOST} demo-server --stdio --name u --record {}/$$$$.jsonl {args}",
        folder.display()
    );
    command(&["sh", "-c", &line])
}

/// The methods that each process of the folder received.
fn methods(folder: &Path) -> Vec<Vec<String>> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let method = |entry: &Value| {
        let message: Value = serde_json::from_str(entry["line"].as_str()?).ok()?;
        Some(message["method"].as_str()?.to_owned())
    };
    files.map(|file| received(&file).iter().filter_map(method).collect()).collect()
}

/// Starts a gateway over one child, and shows that it was asked for its era on a sibling, speaks
/// the era that is expected, works, and left no probe behind.
fn child_is(version: &str, args: &str) {
    let records = tempfile::tempdir().unwrap();
    let mark = mark();
    let replica = format!("{}\n{}", recorded(records.path(), args), marked_with(&mark));
    let gateway = Gateway::start(&upstream("u", "", &[replica]));
    let seen = replicas_up(&gateway, "u", 1);
    assert_eq!(seen["replicas"][0]["version"], version, "{args}");
    listed(&gateway, "u__add");
    let call = Http::modern_call(&gateway.url(), "u__add", r#"{"a":1,"b":2}"#).answer();
    assert_eq!(call["result"]["structuredContent"]["sum"], 3, "{args}: {call}");

    let methods = methods(records.path());
    let kept: Vec<_> =
        methods.iter().filter(|seen| seen.iter().any(|m| m == "tools/call")).collect();
    assert_eq!(kept.len(), 1, "{args}: {methods:?}");
    assert!(!kept[0].iter().any(|method| method == "server/discover"), "{args}: {kept:?}");
    let greeted = kept[0].iter().any(|method| method == "initialize");
    assert_eq!(greeted, version != MODERN, "{args}: {kept:?}");
    let probes: Vec<_> = methods.iter().filter(|seen| *seen != kept[0]).collect();
    assert!(matches!(probes.as_slice(), [seen] if seen[0] == "server/discover"), "{probes:?}");

    // The guard, and the child that was kept.
    eventually("the probe to be gone", || (marked(&mark).len() == 2).then_some(()));
    assert_eq!(children(gateway.pid()), 1, "{args}: the probe was waited for");
    let restarts = metric(&gateway, r#"mcp_child_restarts_total{upstream="u",reason="exited"}"#);
    assert!(restarts < 0.5, "{args}: the kept child was restarted");
}

#[test]
fn a_modern_child_is_found_to_be_modern() {
    child_is(MODERN, "--era modern");
}

#[test]
fn a_child_of_both_eras_is_spoken_to_in_the_modern_one() {
    child_is(MODERN, "");
}

#[test]
fn a_legacy_child_is_found_to_be_legacy() {
    child_is(LEGACY, "--era legacy");
}

#[test]
fn a_legacy_child_that_dies_from_the_question_is_found_to_be_legacy() {
    child_is(LEGACY, "--era legacy --quirk exit-on-discover");
}

#[test]
fn a_banner_on_stdout_changes_no_verdict() {
    child_is(LEGACY, "--era legacy --quirk banner");
    child_is(MODERN, "--era modern --quirk banner");
}

#[test]
fn a_child_that_answers_the_question_with_an_odd_error_is_found_to_be_legacy() {
    child_is(LEGACY, "--era legacy --quirk discover-32000");
}

#[test]
fn a_child_that_locks_its_era_on_the_first_message_works_after_the_question() {
    child_is(MODERN, "--quirk lock-era");
    child_is(LEGACY, "--era legacy --quirk lock-era");
}

#[test]
fn a_slow_start_changes_no_verdict() {
    child_is(MODERN, "--era modern --quirk slow-start=1500");
}

/// Greets a child with a start timeout of the test's own.
async fn greeted(script: &str, start_timeout: Duration) -> (Session, Tasks) {
    let launch = LaunchSpec {
        program: Program::Named("sh".to_owned()),
        args: ["-c", script, WAYPOST].into_iter().map(Secret::new).collect(),
        env: BTreeMap::new(),
        cwd: None,
        start_timeout,
    };
    let spec = ReplicaSpec {
        name: ReplicaName::new("0").unwrap(),
        kind: ReplicaKind::Child(launch),
        era: EraPolicy::Auto,
        weight: 1,
        tier: 0,
        labels: BTreeMap::new(),
    };
    let tasks = Tasks::default();
    let means = Means {
        supervisor: Arc::new(Supervisor::new(WAYPOST, std::env::vars_os())),
        dial: None,
        tasks: tasks.clone(),
        us: Arc::new(server_info()),
    };
    let upstream = UpstreamName::new("u").unwrap();
    let meters = Meters::new().replica("u", "0");
    let (_, watched) = watch::channel(Arc::default());
    let bonds = Bonds::new(16, watched, Arc::default());
    let mut numbers = Numbers::default();
    let id = numbers.upstream();
    let replica = Replica::new(upstream, spec, meters, numbers.replica(id), bonds);
    (connect(&replica, &means, None).await.unwrap(), tasks)
}

async fn lists(session: &Session) -> bool {
    let limit = Duration::from_secs(10);
    let asked = session.live.ask(Method::ToolsList, None, limit, &server_info()).await;
    String::from_utf8_lossy(&asked.unwrap().message).contains("whoami")
}

async fn stop(session: Session, tasks: Tasks) {
    let why = waypost::base::Fault::gateway(waypost::base::Kind::Cancelled, "the test is over");
    session.child.unwrap().stop(StopPace::default(), &why).await;
    drop(tasks);
}

#[tokio::test]
async fn a_legacy_child_that_ignores_the_question_is_greeted_once_the_time_is_up() {
    let script = "exec \"$0\" demo-server --stdio --era legacy --quirk ignore-discover";
    let (session, tasks) = greeted(script, Duration::from_secs(1)).await;
    assert_eq!(session.live.dialect().version, Version::V2025_11_25);
    assert!(lists(&session).await);
    stop(session, tasks).await;
}

#[tokio::test]
async fn a_modern_child_that_was_too_slow_for_the_question_is_found_out_by_the_handshake() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "mkdir {}/asked && sleep 60; exec \"$0\" demo-server --stdio --era modern",
        folder.path().display()
    );
    let (session, tasks) = greeted(&script, Duration::from_secs(1)).await;
    assert_eq!(session.live.dialect().version, Version::V2026_07_28);
    assert!(lists(&session).await);
    stop(session, tasks).await;
}

#[test]
fn a_legacy_child_that_talks_but_ignores_the_question_is_greeted_after_ten_seconds() {
    child_is(LEGACY, "--era legacy --quirk banner --quirk ignore-discover");
}

// === URLs ===

/// A URL that is no evidence leaves the replica down with a reason, and a modern server that takes
/// its place is found to be modern.
fn is_no_evidence(mut bad: impl FnMut(u16), port: u16, reason: &str) {
    let address = format!("http://127.0.0.1:{port}/mcp");
    let gateway = Gateway::start(&upstream("u", "", &[url(&address)]));
    let down = eventually("a reason", || {
        let seen = health(&gateway, "u");
        assert_ne!(seen["replicas"][0]["state"], "up", "{seen}");
        (seen["replicas"][0]["state"] == "down").then_some(seen)
    });
    assert!(down["replicas"][0]["reason"].as_str().unwrap().contains(reason), "{down}");
    bad(port);
    let good = Demo::start_on(port, &["--name", "good"]);
    assert_eq!(replicas_up(&gateway, "u", 1)["replicas"][0]["version"], MODERN);
    listed(&gateway, "u__whoami");
    let who = Http::modern_call(&gateway.url(), "u__whoami", "{}").answer();
    assert_eq!(who["result"]["structuredContent"]["name"], "good");
    assert_eq!(good.requests("initialize").len(), 0, "it was never taken for legacy");
}

fn status_is_no_evidence(status: u16) {
    let port = free_port();
    let quirk = format!("status={status}");
    let mut bad = Demo::start_on(port, &["--quirk", &quirk]);
    is_no_evidence(
        |_| {
            assert!(bad.requests("initialize").is_empty(), "no handshake after HTTP {status}");
            bad.kill();
        },
        port,
        &status.to_string(),
    );
}

#[test]
fn a_url_that_answers_401_is_not_taken_for_legacy() {
    status_is_no_evidence(401);
}

#[test]
fn a_url_that_answers_403_is_not_taken_for_legacy() {
    status_is_no_evidence(403);
}

#[test]
fn a_url_that_answers_500_is_not_taken_for_legacy() {
    status_is_no_evidence(500);
}

#[test]
fn a_url_that_refuses_connections_is_not_taken_for_legacy() {
    is_no_evidence(|_| {}, free_port(), "connect");
}

#[test]
fn a_url_that_never_answers_is_not_taken_for_legacy() {
    let mut silent = Fake::start(|_| None);
    let port = silent.port;
    is_no_evidence(
        |_| {
            assert!(silent.requests("initialize").is_empty());
            silent.stop();
        },
        port,
        "did not answer",
    );
}

#[test]
fn a_url_that_answers_everything_with_something_else_is_down_by_the_handshake() {
    let mut odd = Fake::start(|message| {
        let answer = json!({"jsonrpc": "2.0", "id": message["id"], "result": {"hello": "there"}});
        Some((200, answer.to_string()))
    });
    let port = odd.port;
    is_no_evidence(
        |_| {
            assert!(!odd.requests("initialize").is_empty());
            odd.stop();
        },
        port,
        "initialize",
    );
}

#[test]
fn a_legacy_url_that_answers_the_question_with_an_empty_result_is_greeted_as_legacy() {
    let server = Puppet::start(Offer::new("u", Era::Legacy).tools(&["t"]), |seen, wire| {
        seen.method() == "server/discover" && wire.json(&seen.result(&json!({})))
    });
    let gateway = Gateway::start(&upstream("u", "", &[url(&server.url)]));
    assert_eq!(replicas_up(&gateway, "u", 1)["replicas"][0]["version"], LEGACY);
    listed(&gateway, "u__t");
    assert_eq!(server.requests("initialize").len(), 1);
}

#[test]
fn a_url_that_answers_the_question_with_a_page_and_4xx_is_greeted_as_legacy() {
    for status in ["400", "404", "405"] {
        let quirk = format!("discover-status={status}");
        let demo = Demo::start(&["--era", "legacy", "--quirk", &quirk]);
        let gateway = Gateway::start(&upstream("u", "", &[url(&demo.url)]));
        let seen = replicas_up(&gateway, "u", 1);
        assert_eq!(seen["replicas"][0]["version"], LEGACY, "{status}");
        let who = Http::modern_call(&gateway.url(), "u__whoami", "{}").answer();
        assert_eq!(who["result"]["resultType"], "complete", "{who}");
        assert_eq!(demo.requests("initialize").len(), 1);
        assert_eq!(demo.requests("notifications/initialized").len(), 1);
    }
}

#[test]
fn a_legacy_url_without_a_page_is_greeted_as_legacy() {
    let demo = Demo::start(&["--era", "legacy"]);
    let gateway = Gateway::start(&upstream("u", "", &[url(&demo.url)]));
    assert_eq!(replicas_up(&gateway, "u", 1)["replicas"][0]["version"], LEGACY);
}

// === change ===

#[test]
fn each_replica_is_called_in_its_own_era_during_a_rolling_upgrade() {
    let (old, new) = (
        Demo::start(&["--era", "legacy", "--name", "old"]),
        Demo::start(&["--era", "modern", "--name", "new"]),
    );
    let replicas = [url(&old.url), url(&new.url)];
    let gateway = Gateway::start(&upstream("u", "balance = \"round_robin\"", &replicas));
    let seen = replicas_up(&gateway, "u", 2);
    assert_eq!(seen["replicas"][0]["version"], LEGACY);
    assert_eq!(seen["replicas"][1]["version"], MODERN);
    let session = Http::legacy_session(&gateway.url(), "2025-06-18");
    for _ in 0..4 {
        let modern = Http::modern_call(&gateway.url(), "u__add", r#"{"a":1,"b":2}"#).answer();
        assert_eq!(modern["result"]["structuredContent"]["sum"], 3);
        assert_eq!(modern["result"]["resultType"], "complete");
        let legacy =
            Http::legacy_call(&gateway.url(), &session, "u__add", r#"{"a":1,"b":2}"#).answer();
        assert_eq!(legacy["result"]["structuredContent"]["sum"], 3);
        assert!(legacy["result"].get("resultType").is_none());
    }
    assert_eq!((old.requests("tools/call").len(), new.requests("tools/call").len()), (4, 4));
    for call in old.requests("tools/call") {
        assert!(!call.to_string().contains(MODERN), "{call}");
    }
}

/// A server that is replaced between two calls, on the same port, so fast that nobody sees it
/// gone: calls work again, in the era of the new one.
fn replaced(before: &[&str], after: &[&str], version: &str) {
    let port = free_port();
    let mut first = Demo::start_on(port, before);
    let gateway = Gateway::start(&upstream("u", "", &[url(&first.url)]));
    replicas_up(&gateway, "u", 1);
    let call = || Http::modern_call(&gateway.url(), "u__whoami", "{}").answer();
    assert_eq!(call()["result"]["structuredContent"]["count"], 1);
    first.kill();
    let _second = Demo::start_on(port, after);
    eventually("calls to work again", || {
        (call()["result"]["structuredContent"]["name"] == "second").then_some(())
    });
    assert_eq!(health(&gateway, "u")["replicas"][0]["version"], version);
}

#[test]
fn a_modern_url_that_was_rolled_back_to_legacy_is_found_out_by_its_errors() {
    replaced(&["--era", "modern"], &["--era", "legacy", "--name", "second"], LEGACY);
}

#[test]
fn a_legacy_url_that_was_upgraded_to_modern_is_found_out_by_its_errors() {
    replaced(&["--era", "legacy"], &["--era", "modern", "--name", "second"], MODERN);
}

#[test]
fn a_legacy_url_that_was_upgraded_to_both_eras_becomes_modern() {
    replaced(&["--era", "legacy"], &["--name", "second"], MODERN);
}

#[test]
fn a_legacy_url_that_lost_its_sessions_is_greeted_again() {
    replaced(&["--era", "legacy"], &["--era", "legacy", "--name", "second"], LEGACY);
}

#[test]
fn a_child_is_asked_for_its_era_again_at_each_restart() {
    let folder = tempfile::tempdir().unwrap();
    let flag = folder.path().join("upgraded");
    let line = format!(
        "if [ -e {flag} ]; then era=modern; else era=legacy; fi; \
         exec {WAYPOST} demo-server --stdio --era $era --quirk crash-after=1",
        flag = flag.display()
    );
    let gateway = Gateway::start(&upstream("u", "", &[command(&["sh", "-c", &line])]));
    assert_eq!(replicas_up(&gateway, "u", 1)["replicas"][0]["version"], LEGACY);
    std::fs::write(&flag, "").unwrap();
    for _ in 0..2 {
        Http::modern_call(&gateway.url(), "u__whoami", "{}");
    }
    eventually("the modern era", || {
        (health(&gateway, "u")["replicas"][0]["version"] == MODERN).then_some(())
    });
}
