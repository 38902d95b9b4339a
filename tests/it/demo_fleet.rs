//! The three copies of the demo server that the built-in configuration starts: one of them is killed
//! while clients call. Nobody who only reads notices, and nothing that must not run twice does.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::support::load::Load;
use crate::support::process::{WAYPOST, received};
use crate::support::{Gateway, Http, eventually, listed, replicas_up};

const BUILT_IN: &str = include_str!("../../gateway.toml");

/// How often one of them is killed.
const KILLS: usize = 4;

/// What a client was told of each line that it asked to append.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Told {
    Done,
    NotSent,
    Unknown,
}

fn append(gateway: &Gateway, line: &str) -> Told {
    let answer =
        Http::modern_call(&gateway.url(), "demo__append", &format!(r#"{{"line":"{line}"}}"#))
            .answer();
    if answer["result"].is_object() {
        return Told::Done;
    }
    let delivery = &answer["error"]["data"]["delivery"];
    match delivery.as_str() {
        Some("not_sent") => Told::NotSent,
        Some("unknown") => Told::Unknown,
        _ => panic!("nothing is said of the delivery: {answer}"),
    }
}

fn replicas(gateway: &Gateway) -> Vec<Value> {
    let url = format!("{}/api/v1/upstreams/demo", gateway.base);
    let upstream = Http::send("GET", &url, &[], "").answer();
    upstream["replicas"].as_array().cloned().unwrap_or_default()
}

fn lives(gateway: &Gateway, at: usize) -> u64 {
    replicas(gateway)[at]["lives"].as_u64().unwrap_or_default()
}

fn pid_of(gateway: &Gateway, name: &str) -> u64 {
    eventually("the process of a replica", || {
        let answer = Http::modern_call(&gateway.url(), "demo__whoami", "{}").answer();
        let who = &answer["result"]["structuredContent"];
        (who["name"] == name).then(|| who["pid"].as_u64().unwrap())
    })
}

/// Kills one of them and waits until each of the three places where an operator looks tells it.
fn kill_one(gateway: &Gateway, at: usize) {
    let name = ["a", "b", "c"][at];
    let before = lives(gateway, at);
    let pid = pid_of(gateway, name).to_string();
    assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    eventually("the API to tell", || {
        let replica = replicas(gateway)[at].clone();
        (replica["state"] != "up" || replica["lives"] == before + 1).then_some(())
    });
    eventually("its next life", || (lives(gateway, at) == before + 1).then_some(()));
    replicas_up(gateway, "demo", 3);
}

#[test]
fn nobody_who_reads_notices_that_a_replica_was_killed_and_no_append_runs_twice() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let with_journal = format!(r#""--stdio", "--journal", {:?}, "#, journal.to_str().unwrap());
    let config = BUILT_IN.replace(r#""--stdio", "#, &with_journal);
    assert_eq!(config.matches("--journal").count(), 3);
    let gateway = Gateway::start_in(folder, &config);
    replicas_up(&gateway, "demo", 3);
    listed(&gateway, "demo__append");

    let load = Load::start(&gateway, 2, &["demo__whoami", "demo__add"]);
    load.goes_on(50);
    let over = AtomicBool::new(false);
    let told: BTreeMap<String, Told> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                let (gateway, over) = (&gateway, &over);
                scope.spawn(move || {
                    let lines = (0..).map(|n| format!("{writer}-{n}"));
                    let goes_on = lines.take_while(|_| !over.load(Ordering::Acquire));
                    goes_on.map(|line| (line.clone(), append(gateway, &line))).collect::<Vec<_>>()
                })
            })
            .collect();
        for round in 0..KILLS {
            kill_one(&gateway, round % 3);
            load.goes_on(50);
        }
        over.store(true, Ordering::Release);
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    let seen = load.stop();
    assert_eq!(seen.failed, Vec::<String>::new(), "of {} calls", seen.answered);
    // The last life may still have been warming up.
    assert!(seen.pids["demo__whoami"].len() >= 2 + KILLS, "each life answered: {:?}", seen.pids);

    let mut ran: BTreeMap<String, usize> = BTreeMap::new();
    for entry in received(&journal) {
        *ran.entry(entry["line"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    for (line, told) in &told {
        let runs = ran.get(line).copied().unwrap_or_default();
        let honest = match told {
            Told::Done => runs == 1,
            Told::NotSent => runs == 0,
            Told::Unknown => runs <= 1,
        };
        assert!(honest, "{line} ran {runs} times, and its client was told {told:?}");
    }
    assert!(told.values().filter(|told| **told == Told::Done).count() > 50, "{}", told.len());

    let metrics = Http::send("GET", &format!("{}/metrics", gateway.base), &[], "").body;
    let restarts = metrics.lines().filter(|line| line.starts_with("mcp_child_restarts_total"));
    let restarts: f64 =
        restarts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
    assert!(restarts >= 4.0, "{metrics}");
    let list = Command::new(WAYPOST)
        .args(["list", "upstreams", "--url", &gateway.url()])
        .output()
        .unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(list.contains("demo") && list.contains("2 restarts"), "{list}");
}
