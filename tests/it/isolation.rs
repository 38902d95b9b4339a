//! `isolation = "session"`: what belongs to one client session, and what becomes of it when it is
//! lost.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::duplex::{Duplex, KINDS};
use crate::support::toml::{demo, upstream, url};
use crate::support::{Demo, Gateway, Http, eventually, listed, metric, replicas_up};

const KEYS: &str = "isolation = \"session\"\ntrust_annotations = true";

fn call(gateway: &Gateway, session: &str, tool: &str, arguments: &str) -> Value {
    Http::legacy_call(&gateway.url(), session, tool, arguments).answer()
}

/// The process that answers this client session.
fn pid(gateway: &Gateway, session: &str) -> u64 {
    let answer = call(gateway, session, "u__whoami", "{}");
    let pid = answer["result"]["structuredContent"]["pid"].as_u64();
    pid.unwrap_or_else(|| panic!("no process: {answer}"))
}

fn session(gateway: &Gateway) -> String {
    Http::legacy_session(&gateway.url(), "2025-11-25")
}

fn gateway(replicas: &[String]) -> Gateway {
    let gateway = Gateway::start(&upstream("u", KEYS, replicas));
    replicas_up(&gateway, "u", replicas.len());
    listed(&gateway, "u__whoami");
    gateway
}

fn kill(pid: u64) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

fn is_alive(pid: u64) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn each_client_session_has_a_child_of_its_own_which_ends_with_it() {
    let gateway = gateway(&[demo(&["--era", "legacy"]), demo(&["--era", "legacy"])]);
    let sessions: Vec<String> = (0..4).map(|_| session(&gateway)).collect();
    let pids: Vec<u64> = sessions.iter().map(|session| pid(&gateway, session)).collect();
    assert_eq!(pids.iter().collect::<BTreeSet<_>>().len(), 4, "each has its own: {pids:?}");
    for (session, first) in sessions.iter().zip(&pids) {
        assert!((0..5).all(|_| pid(&gateway, session) == *first), "all calls go there");
    }
    let reply = Http::send("DELETE", &gateway.url(), &[("Mcp-Session-Id", &sessions[0])], "");
    assert_eq!(reply.status, 204, "{}", reply.body);
    eventually("its child to end", || (!is_alive(pids[0])).then_some(()));
    assert!(pids[1..].iter().all(|pid| is_alive(*pid)), "the others stay");
}

#[test]
fn a_session_that_nobody_uses_is_forgotten_with_what_it_has() {
    let server = "[server]\nsession_idle = \"1s\"\n";
    let gateway =
        Gateway::start(&format!("{server}{}", upstream("u", KEYS, &[demo(&["--era", "legacy"])])));
    replicas_up(&gateway, "u", 1);
    listed(&gateway, "u__whoami");
    let [idle, listening, busy] = [(); 3].map(|()| session(&gateway));
    let pids = [&idle, &listening, &busy].map(|session| pid(&gateway, session));
    let _stream = Http::open_get(&gateway.url(), &listening);
    eventually("its child to end", || {
        assert_eq!(pid(&gateway, &busy), pids[2]);
        (!is_alive(pids[0])).then_some(())
    });
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let asked = Http::post(&gateway.url(), &[("Mcp-Session-Id", &idle)], list);
    assert_eq!(asked.verdict(), (404, -32600));
    assert_eq!([pid(&gateway, &listening), pid(&gateway, &busy)], [pids[1], pids[2]]);
}

#[test]
fn a_connection_that_is_a_session_has_a_child_of_its_own_with_or_without_a_handshake() {
    let gateway = gateway(&[demo(&["--era", "legacy"])]);
    for kind in KINDS {
        for greets in [true, false] {
            let mut client = Duplex::connect(kind, &gateway);
            if greets {
                client.greet("2025-11-25", "{}");
            }
            let call = crate::support::session::call("1", "u__whoami", "");
            let answer = client.ask(&call);
            let own = answer["result"]["structuredContent"]["pid"].as_u64().unwrap();
            assert_ne!(own, pid(&gateway, &session(&gateway)));
            client.hang_up();
            eventually("its child to end", || (!is_alive(own)).then_some(()));
        }
    }
}

#[test]
fn modern_clients_without_keys_share_one_and_it_is_not_that_of_a_session() {
    let gateway = gateway(&[demo(&[]), demo(&[])]);
    let modern = || {
        let answer = Http::modern_call(&gateway.url(), "u__whoami", "{}").answer();
        answer["result"]["structuredContent"]["pid"].as_u64().unwrap()
    };
    let first = modern();
    assert!((0..6).all(|_| modern() == first));
    assert_ne!(pid(&gateway, &session(&gateway)), first);
}

#[test]
fn a_session_that_only_read_goes_on_and_one_that_wrote_is_told_once() {
    let gateway = gateway(&[demo(&["--era", "legacy"])]);
    let (reader, writer) = (session(&gateway), session(&gateway));
    let (read, wrote) = (pid(&gateway, &reader), pid(&gateway, &writer));
    let answer = call(&gateway, &writer, "u__append", r#"{"line":"x"}"#);
    assert!(answer["result"].is_object(), "{answer}");
    kill(read);
    kill(wrote);
    let lost = |dirty| {
        let series = format!(r#"mcp_session_lost_total{{upstream="u",dirty="{dirty}"}}"#);
        metric(&gateway, &series)
    };
    eventually("the reader to go on", || {
        let answer = call(&gateway, &reader, "u__whoami", "{}");
        assert_ne!(answer["result"]["isError"], true, "it only read: {answer}");
        let now = answer["result"]["structuredContent"]["pid"].as_u64()?;
        (now != read).then_some(())
    });
    let notice = eventually("the notice", || {
        let answer = call(&gateway, &writer, "u__append", r#"{"line":"y"}"#);
        answer["result"].is_object().then_some(answer)
    });
    assert_eq!(notice["result"]["isError"], true, "{notice}");
    let text = notice["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("u kept for this session was lost"), "{text}");
    let after = call(&gateway, &writer, "u__append", r#"{"line":"y"}"#);
    assert_ne!(after["result"]["isError"], true, "told once: {after}");
    let counted = &after["result"]["structuredContent"];
    assert_eq!(counted["runs"], 1, "the call that got the notice did not run: {after}");
    assert!((lost("false") - 1.0).abs() < 0.5 && (lost("true") - 1.0).abs() < 0.5);
}

#[test]
fn each_client_session_has_an_upstream_session_of_its_own() {
    let servers = [Demo::start(&["--era", "legacy"]), Demo::start(&["--era", "legacy"])];
    let gateway = gateway(&[url(&servers[0].url), url(&servers[1].url)]);
    let greeted = |server: &Demo| server.requests("initialize").len();
    let before = servers.each_ref().map(greeted);
    let sessions: Vec<String> = (0..4).map(|_| session(&gateway)).collect();
    for session in &sessions {
        let first = pid(&gateway, session);
        assert!((0..3).all(|_| pid(&gateway, session) == first));
    }
    for (server, before) in servers.iter().zip(before) {
        assert_eq!(greeted(server) - before, 2, "new sessions are spread evenly");
    }
}

#[test]
fn when_its_server_is_gone_a_session_moves_to_another_one() {
    let mut servers = [Demo::start(&["--era", "legacy"]), Demo::start(&["--era", "legacy"])];
    let gateway = gateway(&[url(&servers[0].url), url(&servers[1].url)]);
    let (one, two) = (session(&gateway), session(&gateway));
    let (first, second) = (pid(&gateway, &one), pid(&gateway, &two));
    assert_ne!(first, second);
    let at = usize::from(servers[0].requests("tools/call").is_empty());
    servers[at].kill();
    for session in [&one, &two] {
        let moved = eventually("its calls to go on", || {
            let answer = call(&gateway, session, "u__whoami", "{}");
            answer["result"]["structuredContent"]["pid"].as_u64()
        });
        assert!([first, second].contains(&moved));
    }
    assert_eq!(pid(&gateway, &one), pid(&gateway, &two), "both are at the one that is left");
}
