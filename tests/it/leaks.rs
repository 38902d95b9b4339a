//! Nothing stays behind: no process after the gateway's end, and no descriptor, thread, task or
//! session after its clients' and children's.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use waypost::base::clock;

use crate::support::process::WAYPOST;
use crate::support::procfs::{children, descriptors, mark, marked, marked_with, threads};
use crate::support::toml::{command, demo, upstream};
use crate::support::{
    Gateway, Http, StdioClient, eventually, listed, metric, own_error, replicas_up,
};

/// How long anything may outlive a gateway that was killed.
const AFTER_KILL: Duration = Duration::from_secs(2);
/// A guard, the child below it, and what that child left behind a double fork.
const PROCESSES: usize = 3;

/// A configuration with two children that ignore SIGTERM and the end of stdin, each with a
/// grandchild in a session of its own that ignores SIGTERM too.
fn stubborn(mark: &str) -> String {
    let args = ["--quirk", "double-fork", "--quirk", "ignore-sigterm"];
    let replica = format!("{}\ncount = 2\n{}", demo(&args), marked_with(mark));
    format!("[server]\ngrace = \"1s\"\n{}", upstream("u", "", &[replica]))
}

/// Waits until the children run and the probes are gone.
fn all_there(mark: &str) {
    eventually("two trees and no probe", || (marked(mark).len() == 2 * PROCESSES).then_some(()));
}

fn all_gone(mark: &str, since: Instant) {
    eventually("every process to be gone", || marked(mark).is_empty().then_some(()));
    assert!(since.elapsed() < AFTER_KILL, "they were there for {:?}", since.elapsed());
}

#[test]
fn a_gateway_that_is_killed_leaves_no_child_and_no_grandchild() {
    let mark = mark();
    let mut gateway = Gateway::start(&stubborn(&mark));
    replicas_up(&gateway, "u", 2);
    all_there(&mark);
    gateway.kill();
    all_gone(&mark, clock::now());
}

#[test]
fn a_gateway_that_is_killed_while_it_asks_for_an_era_leaves_no_probe() {
    let mark = mark();
    let args =
        ["--quirk", "double-fork", "--quirk", "ignore-sigterm", "--quirk", "ignore-discover"];
    let replica = format!("{}\n{}", demo(&args), marked_with(&mark));
    let mut gateway = Gateway::start(&upstream("u", "", &[replica]));
    eventually("the probe", || (marked(&mark).len() == PROCESSES).then_some(()));
    gateway.kill();
    all_gone(&mark, clock::now());
}

#[test]
fn a_gateway_that_is_asked_to_end_takes_everything_with_it_and_exits_with_0() {
    let mark = mark();
    let gateway = Gateway::start(&stubborn(&mark));
    replicas_up(&gateway, "u", 2);
    all_there(&mark);
    assert_eq!(gateway.terminate(), 0);
    all_gone(&mark, clock::now());
}

#[test]
fn a_gateway_on_a_pipe_takes_everything_with_it_however_it_ends() {
    for killed in [false, true] {
        let mark = mark();
        let mut pipe = StdioClient::start(&stubborn(&mark));
        pipe.handshake("2025-11-25");
        all_there(&mark);
        if killed {
            drop(pipe);
        } else {
            assert_eq!(pipe.close().0, 0);
        }
        all_gone(&mark, clock::now());
    }
}

/// A server as people start it, behind a shell that starts something else too, and how many
/// processes that is with the guard.
fn wrapped() -> [(String, usize); 2] {
    let run = format!("{WAYPOST} demo-server --stdio");
    // The shell becomes the server; the shell waits for the server, as `npx` does.
    [(format!("sleep 1000 & exec {run}"), 3), (format!("sleep 1000 & {run}; exit"), 4)]
}

#[test]
fn what_a_shell_starts_beside_its_server_ends_with_the_gateway() {
    for (script, processes) in wrapped() {
        for killed in [false, true] {
            let mark = mark();
            let replica = format!("{}\n{}", command(&["sh", "-c", &script]), marked_with(&mark));
            let mut gateway = Gateway::start(&upstream("u", "", &[replica]));
            listed(&gateway, "u__whoami");
            let all = || (marked(&mark).len() == processes).then_some(());
            eventually("the shell's processes and no probe", all);
            let began = if killed {
                gateway.kill();
                clock::now()
            } else {
                assert_eq!(gateway.terminate(), 0);
                clock::now()
            };
            all_gone(&mark, began);
        }
    }
}

#[test]
fn what_a_shell_starts_beside_its_server_ends_with_the_server() {
    for (script, processes) in wrapped() {
        let mark = mark();
        let replica = format!("{}\n{}", command(&["sh", "-c", &script]), marked_with(&mark));
        let gateway = Gateway::start(&upstream("u", "", &[replica]));
        listed(&gateway, "u__whoami");
        eventually("the shell's processes and no probe", || {
            (marked(&mark).len() == processes).then_some(())
        });
        let before = marked(&mark);
        let answer = Http::modern_call(&gateway.url(), "u__whoami", "{}").answer();
        let pid = answer["result"]["structuredContent"]["pid"].to_string();
        assert!(std::process::Command::new("kill").args(["-9", &pid]).status().unwrap().success());
        eventually("other processes in the place of all of them", || {
            let now = marked(&mark);
            (now.len() == processes && now.iter().all(|pid| !before.contains(pid))).then_some(())
        });
    }
}

/// What the gateway holds.
#[derive(Debug, PartialEq, PartialOrd)]
struct Held {
    children: usize,
    descriptors: usize,
    threads: usize,
    sessions: f64,
    connections: f64,
}

impl Held {
    fn by(gateway: &Gateway) -> Self {
        let pid = gateway.pid();
        Self {
            children: children(pid),
            descriptors: descriptors(pid),
            threads: threads(pid),
            sessions: metric(gateway, r#"mcp_sessions{era="legacy"}"#),
            connections: metric(gateway, "mcp_active_connections"),
        }
    }

    /// Waits until it holds no more than before. A connection of a pool, or a thread for blocking
    /// work, may come and go.
    #[track_caller]
    fn back_to(&self, gateway: &Gateway) {
        eventually(&format!("the gateway to hold no more than {self:?}"), || {
            let now = Self::by(gateway);
            let back = now.children == self.children
                && now.descriptors <= self.descriptors + 3
                && now.threads <= self.threads + 4
                && now.sessions <= self.sessions
                && now.connections <= self.connections;
            back.then_some(())
        });
    }
}

/// Opens the GET stream of a session and waits for the head of the answer.
fn open_stream(gateway: &Gateway, session: &str) -> TcpStream {
    let mut socket = TcpStream::connect(gateway.addr()).unwrap();
    let head = format!(
        "GET /mcp HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\nMcp-Session-Id: {session}\r\nMCP-Protocol-Version: 2025-06-18\r\n\r\n",
        gateway.addr()
    );
    socket.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    socket
}

/// Sessions that each open a stream, call, drop the stream, and say goodbye.
fn sessions(gateway: &Gateway, count: usize) {
    let mut open = Vec::new();
    for _ in 0..count {
        let session = Http::legacy_session(&gateway.url(), "2025-06-18");
        let stream = open_stream(gateway, &session);
        let sum = Http::legacy_call(&gateway.url(), &session, "u__add", r#"{"a":1,"b":2}"#);
        assert_eq!(sum.answer()["result"]["structuredContent"]["sum"], 3);
        open.push((session, stream));
    }
    assert!(
        metric(gateway, r#"mcp_sessions{era="legacy"}"#)
            >= f64::from(u16::try_from(count).unwrap())
    );
    for (session, stream) in open {
        drop(stream);
        let gone = Http::send("DELETE", &gateway.url(), &[("Mcp-Session-Id", &session)], "");
        assert!((200..300).contains(&gone.status), "{gone:?}");
    }
}

#[test]
fn two_hundred_sessions_with_streams_leave_nothing_behind() {
    let gateway = Gateway::start(&upstream("u", "", &[demo(&["--era", "legacy"])]));
    listed(&gateway, "u__add");
    sessions(&gateway, 10);
    eventually("the probe to be gone", || (children(gateway.pid()) == 1).then_some(()));
    eventually("the first sessions to be gone", || {
        (metric(&gateway, r#"mcp_sessions{era="legacy"}"#) < 0.5).then_some(())
    });
    let before = Held::by(&gateway);
    sessions(&gateway, 200);
    before.back_to(&gateway);
}

#[test]
fn calls_that_their_clients_drop_leave_nothing_behind() {
    let gateway = Gateway::start(&upstream("u", "", &[demo(&[])]));
    listed(&gateway, "u__sleep");
    eventually("the probe to be gone", || (children(gateway.pid()) == 1).then_some(()));
    let drop_calls = |count: usize| {
        for _ in 0..count {
            let session = Http::legacy_session(&gateway.url(), "2025-06-18");
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"u__sleep","arguments":{{"ms":600000}},{}}}}}"#,
                crate::support::MODERN_META
            );
            let head = format!(
                "POST /mcp HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: u__sleep\r\nContent-Length: {}\r\n\r\n",
                gateway.addr(),
                body.len()
            );
            let mut socket = TcpStream::connect(gateway.addr()).unwrap();
            socket.write_all([head, body].concat().as_bytes()).unwrap();
            drop(socket);
            Http::send("DELETE", &gateway.url(), &[("Mcp-Session-Id", &session)], "");
        }
    };
    drop_calls(5);
    let inflight = || metric(&gateway, r#"mcp_upstream_inflight{upstream="u",replica="0"}"#);
    eventually("nothing in flight", || (inflight() < 0.5).then_some(()));
    let before = Held::by(&gateway);
    drop_calls(100);
    eventually("nothing in flight", || (inflight() < 0.5).then_some(()));
    before.back_to(&gateway);
}

#[test]
fn twenty_crashes_of_children_leave_nothing_behind() {
    let mark = mark();
    let replica =
        format!("{}\ncount = 20\n{}", demo(&["--quirk", "crash-after=0"]), marked_with(&mark));
    let gateway = Gateway::start(&upstream("u", "", &[replica]));
    replicas_up(&gateway, "u", 20);
    listed(&gateway, "u__whoami");
    let settled = || (marked(&mark).len() == 40 && children(gateway.pid()) == 20).then_some(());
    eventually("twenty guards with a child each", settled);
    let mut first = marked(&mark);
    let before = Held::by(&gateway);
    for _ in 0..20 {
        let answer = Http::modern_call(&gateway.url(), "u__whoami", "{}").answer();
        assert_eq!(own_error(&answer).0, -31003, "{answer}");
    }
    let restarts = r#"mcp_child_restarts_total{upstream="u",reason="exited"}"#;
    eventually("twenty restarts", || (metric(&gateway, restarts) >= 20.0).then_some(()));
    replicas_up(&gateway, "u", 20);
    eventually("twenty guards with a child each", settled);
    first.retain(|pid| marked(&mark).contains(pid));
    assert!(first.len() < 20, "the crashed ones were replaced");
    before.back_to(&gateway);
}
