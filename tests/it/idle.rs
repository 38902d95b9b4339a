//! Children that nobody uses: when they are stopped, what clients see of it, and what wakes them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use waypost::base::clock;

use crate::support::process::{WAYPOST, fixture};
use crate::support::toml::{command, named, upstream};
use crate::support::upstream::config;
use crate::support::{
    Era, Gateway, Http, Over, Peer, Session, cached, eventually, health, listed, metric, own_error,
    replicas_up,
};

/// So many clients call at once in the moment of a stop, each so many times.
const CALLERS: u64 = 3;
const CALLS: u64 = 40;
/// Soon enough for a test, and long enough that a child is seen awake.
const SOON: &str = "idle_stop = \"400ms\"";

/// A child whose every start is noted.
struct Nursling {
    folder: tempfile::TempDir,
    args: Vec<String>,
    exec: &'static str,
    more: String,
}

impl Nursling {
    fn demo(args: &[&str]) -> Self {
        let all = [&["demo-server", "--stdio"], args].concat();
        Self::of(&all.iter().map(|arg| format!("'{arg}'")).collect::<Vec<_>>(), WAYPOST)
    }

    /// One whose shell does more once the server has ended.
    fn lingering(more: &str) -> Self {
        let mut child = Self::demo(&[]);
        (child.exec, child.more) = ("", more.to_owned());
        child
    }

    fn of(args: &[String], program: &str) -> Self {
        let args = [&[format!("'{program}'")], args].concat();
        Self { folder: tempfile::tempdir().unwrap(), args, exec: "exec", more: String::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Its lines of a replica's table. It fails to start as long as there is a file `broken`.
    fn replica(&self) -> String {
        let (starts, broken) = (self.path("starts"), self.path("broken"));
        // A dollar is written twice in a configuration.
        let script = format!(
            "echo $$$$ >> '{}'; test -e '{}' && exit 3; {} {}{}",
            starts.display(),
            broken.display(),
            self.exec,
            self.args.join(" "),
            self.more
        );
        command(&["sh", "-c", &script])
    }

    /// The process ids of all its starts.
    fn starts(&self) -> Vec<u32> {
        let text = std::fs::read_to_string(self.path("starts")).unwrap_or_default();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }

    fn is_gone(&self) -> bool {
        self.starts().iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists())
    }

    fn broken(&self, broken: bool) {
        if broken {
            std::fs::write(self.path("broken"), "").unwrap();
        } else {
            std::fs::remove_file(self.path("broken")).unwrap();
        }
    }
}

fn tables(keys: &str, replicas: &[String]) -> String {
    upstream("u", &format!("era = \"modern\"\ntrust_annotations = true\n{keys}"), replicas)
}

/// A gateway over one such child, which is up.
fn one(keys: &str, child: &Nursling) -> Gateway {
    let gateway = Gateway::start(&config(&tables(keys, &[child.replica()])));
    listed(&gateway, "u__whoami");
    gateway
}

/// Waits until so many replicas of `u` sleep, and answers what `GET /health` says.
#[track_caller]
fn asleep(gateway: &Gateway, count: usize) -> Value {
    eventually(&format!("{count} replicas asleep"), || {
        let health = health(gateway, "u");
        let replicas = health["replicas"].as_array()?;
        let asleep = replicas.iter().filter(|replica| replica["state"] == "asleep").count();
        (asleep == count).then_some(health)
    })
}

/// Waits until it sleeps and its process is gone.
#[track_caller]
fn gone(gateway: &Gateway, child: &Nursling) {
    asleep(gateway, 1);
    eventually("its process to be gone", || child.is_gone().then_some(()));
}

#[track_caller]
fn pid(answer: &Value) -> u32 {
    let pid = answer["result"]["structuredContent"]["pid"].as_u64();
    pid.unwrap_or_else(|| panic!("no process: {answer}")).try_into().unwrap()
}

#[track_caller]
fn whoami(gateway: &Gateway) -> u32 {
    pid(&Http::modern_call(&gateway.url(), "u__whoami", "{}").answer())
}

fn stops(gateway: &Gateway) -> f64 {
    metric(gateway, r#"mcp_child_stops_total{upstream="u",reason="idle"}"#)
}

fn shown(gateway: &Gateway) -> Value {
    let reply = Http::send("GET", &format!("{}/api/v1/upstreams", gateway.base), &[], "");
    let all: Value = serde_json::from_str(&reply.body).unwrap();
    all.as_array().unwrap().iter().find(|one| one["name"] == "u").unwrap().clone()
}

fn is(value: f64, wanted: f64) -> bool {
    (value - wanted).abs() < 0.5
}

#[test]
fn a_child_that_nobody_uses_is_stopped_stays_listed_and_is_started_by_a_call() {
    let child = Nursling::demo(&[]);
    let gateway = one(SOON, &child);
    let session = Session::open(&gateway, "{}");
    let mut stream = session.stream();
    assert_eq!(stream.event().unwrap(), ":");
    let (before, first) = (Http::tools(&gateway.url()), whoami(&gateway));
    gone(&gateway, &child);
    assert_eq!(child.starts(), [first]);
    // It is as good as up, everywhere.
    let health = health(&gateway, "u");
    assert_eq!(health["status"], "healthy", "{health}");
    let shown = shown(&gateway);
    let replica = &shown["replicas"][0];
    assert_eq!(shown["status"], "healthy", "{shown}");
    assert_eq!(
        (&replica["state"], &replica["gate"], &replica["well"], &replica["restarts"]),
        (&json!("asleep"), &json!("open"), &json!(true), &json!(0)),
        "{shown}"
    );
    let of = |name: &str| metric(&gateway, &format!(r#"{name}{{upstream="u",replica="0"}}"#));
    assert!(is(of("mcp_upstream_up"), 1.0) && is(of("mcp_upstream_asleep"), 1.0));
    assert!(is(stops(&gateway), 1.0));
    assert_eq!(Http::tools(&gateway.url()), before);
    assert_eq!(child.starts(), [first], "nobody has woken it");
    // A call wakes it.
    let second = whoami(&gateway);
    assert_eq!(child.starts(), [first, second]);
    assert!(is(of("mcp_upstream_up"), 1.0) && is(of("mcp_upstream_asleep"), 0.0));
    let shown = self::shown(&gateway);
    assert_eq!(shown["replicas"][0]["restarts"], 0, "{shown}");
    // And again.
    gone(&gateway, &child);
    assert_ne!(whoami(&gateway), second);
    assert!(is(stops(&gateway), 2.0));
    let reason = ["exited", "protocol", "too_large", "other"];
    let restarts = reason.map(|reason| {
        metric(&gateway, &format!(r#"mcp_child_restarts_total{{upstream="u",reason="{reason}"}}"#))
    });
    assert!(restarts.iter().all(|count| is(*count, 0.0)), "none of it was an accident");
    assert_eq!(Http::tools(&gateway.url()), before);
    let told = std::iter::from_fn(|| stream.message_within(Duration::from_millis(300)));
    assert_eq!(told.collect::<Vec<_>>(), [json!(null); 0], "no list has changed");
}

#[test]
fn many_calls_at_once_wake_it_once() {
    let child = Nursling::demo(&["--quirk", "slow-start=600"]);
    let gateway = one(SOON, &child);
    gone(&gateway, &child);
    let pids: BTreeSet<u32> = thread::scope(|scope| {
        let calls: Vec<_> = (0..20).map(|_| scope.spawn(|| whoami(&gateway))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert_eq!(pids.len(), 1, "{pids:?}");
    assert_eq!(child.starts().len(), 2);
}

#[test]
fn a_child_that_does_not_end_by_itself_is_asked_to_as_soon_as_a_call_wants_it() {
    // What its shell does once the server has ended takes longer than the patience with it.
    let child = Nursling::lingering("; sleep 60");
    let gateway = one(SOON, &child);
    for _ in 0..2 {
        asleep(&gateway, 1);
        let began = clock::now();
        let before = child.starts();
        whoami(&gateway);
        assert!(began.elapsed() < Duration::from_millis(2_500), "{:?}", began.elapsed());
        let is_gone = |pid: &u32| !Path::new(&format!("/proc/{pid}")).exists();
        assert!(before.iter().all(is_gone), "never two of them at once");
    }
}

#[test]
fn a_call_that_takes_longer_than_it_may_be_idle_is_not_cut() {
    let child = Nursling::demo(&[]);
    let gateway = one("idle_stop = \"100ms\"", &child);
    for _ in 0..2 {
        gone(&gateway, &child);
        let before = child.starts().len();
        let answer = Http::modern_call(&gateway.url(), "u__sleep", r#"{"ms":1500}"#).answer();
        assert!(answer["result"].is_object() && answer["result"]["isError"] != true, "{answer}");
        assert_eq!(child.starts().len(), before + 1, "it was woken once, and stayed");
    }
    gone(&gateway, &child);
}

#[test]
fn a_watched_resource_keeps_it_awake_and_wakes_it() {
    for era in [Era::Legacy, Era::Modern] {
        let word = if era == Era::Legacy { "legacy" } else { "modern" };
        let args = ["--stdio", "--era", word].map(str::to_owned);
        let child = Nursling::of(&args, fixture().to_str().unwrap());
        let twin = Nursling::demo(&[]);
        let keys = format!("era = \"{word}\"\n{SOON}");
        let text = [
            upstream("u", &keys, &[child.replica()]),
            upstream("twin", &format!("era = \"modern\"\n{SOON}"), &[twin.replica()]),
        ];
        let gateway = Gateway::start(&config(&text.concat()));
        listed(&gateway, "u__test_trigger_resource_change");
        listed(&gateway, "twin__whoami");
        gone(&gateway, &child);
        let starts = child.starts().len();
        // To watch something of it wakes it.
        let session = Session::open(&gateway, "{}");
        let mut stream = session.stream();
        assert_eq!(stream.event().unwrap(), ":");
        let watch = r#"{"uri":"test://watched-resource"}"#;
        let reply = session.ask("resources/subscribe", watch).answer();
        assert!(reply["result"].is_object(), "{era:?}: {reply}");
        replicas_up(&gateway, "u", 1);
        assert_eq!(child.starts().len(), starts + 1, "{era:?}");
        // Another one as idle as it falls asleep again and again meanwhile.
        for _ in 0..3 {
            let seen = twin.starts().len();
            eventually("the twin to be gone", || twin.is_gone().then_some(()));
            Http::modern_call(&gateway.url(), "twin__whoami", "{}");
            assert_eq!(twin.starts().len(), seen + 1);
        }
        replicas_up(&gateway, "u", 1);
        assert_eq!(child.starts().len(), starts + 1, "{era:?}: it stayed awake");
        let changed = session.call("u__test_trigger_resource_change", "{}");
        assert_eq!(changed.verdict(), (200, 0), "{changed:?}");
        let note = stream.message().unwrap();
        assert_eq!(note["params"]["uri"], "test://watched-resource", "{era:?}: {note}");
        assert!(session.ask("resources/unsubscribe", watch).answer()["result"].is_object());
        gone(&gateway, &child);
    }
}

#[test]
fn one_that_is_started_lazily_runs_when_a_call_needs_it() {
    let child = Nursling::demo(&[]);
    let cache = tempfile::tempdir().unwrap();
    let text = |keys: &str| {
        let keys = format!("start = \"lazy\"\n{keys}");
        let catalog = format!("[catalog]\ncache_dir = \"{}\"\n", cache.path().display());
        config(&format!("{catalog}{}", tables(&keys, &[child.replica()])))
    };
    // Nothing is remembered of it: it is started to be listed.
    let gateway = Gateway::start(&text(""));
    listed(&gateway, "u__whoami");
    assert_eq!(child.starts().len(), 1);
    let before = Http::tools(&gateway.url());
    eventually("the catalog on disk", || (cached(cache.path()).len() == 1).then_some(()));
    assert_eq!(gateway.terminate(), 0);

    let gateway = Gateway::start(&text(""));
    asleep(&gateway, 1);
    assert_eq!(Http::tools(&gateway.url()), before);
    assert_eq!(health(&gateway, "u")["status"], "healthy");
    let ready = Http::send("GET", &format!("{}/health/ready", gateway.base), &[], "");
    assert_eq!(ready.status, 200);
    assert_eq!(child.starts().len(), 1, "not started");
    let pid = whoami(&gateway);
    assert_eq!(child.starts()[1..], [pid]);
    assert_eq!(gateway.terminate(), 0);

    // One that must be there is started in any case.
    let gateway = Gateway::start(&text("required = true"));
    replicas_up(&gateway, "u", 1);
    assert_eq!(child.starts().len(), 3);
    // An upstream that a reload adds may begin asleep too, and nothing waits for it.
    assert_eq!(gateway.reload(&config("")), "applied");
    let began = clock::now();
    assert_eq!(gateway.reload(&text("")), "applied");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    asleep(&gateway, 1);
    assert_eq!(Http::tools(&gateway.url()).len(), before.len());
    assert_eq!(child.starts().len(), 3);
}

#[test]
fn a_wake_that_fails_says_that_nothing_was_sent_and_no_write_runs_twice() {
    let journal = tempfile::tempdir().unwrap();
    let journal = journal.path().join("journal");
    let child = Nursling::demo(&["--journal", journal.to_str().unwrap()]);
    let gateway = one(SOON, &child);
    let write = || Http::modern_call(&gateway.url(), "u__append", r#"{"line":"x"}"#).answer();
    let written = || std::fs::read_to_string(&journal).unwrap_or_default().lines().count();
    assert!(write()["result"].is_object());
    gone(&gateway, &child);
    child.broken(true);
    let answer = write();
    let wanted = (-31002, "unavailable".into(), "not_sent".into(), true, "u".into());
    assert_eq!(own_error(&answer), wanted, "{answer}");
    assert_eq!(written(), 1);
    // It is down like any other now, and stays listed.
    let health = health(&gateway, "u");
    assert_eq!(
        (&health["status"], &health["replicas"][0]["state"]),
        (&json!("unhealthy"), &json!("down"))
    );
    listed(&gateway, "u__append");
    child.broken(false);
    let answer = eventually("it to be back", || {
        let answer = write();
        answer["result"].is_object().then_some(answer)
    });
    assert_eq!(answer["result"]["structuredContent"]["runs"], 1, "{answer}");
    assert_eq!(written(), 2);
    gone(&gateway, &child);
}

#[test]
fn a_call_in_the_very_moment_of_a_stop_is_answered_and_runs_once() {
    let journal = tempfile::tempdir().unwrap();
    let journal = journal.path().join("journal");
    let child = Nursling::demo(&["--journal", journal.to_str().unwrap()]);
    // It is stopped as soon as an answer is out: every other call meets the stop.
    let gateway = one("idle_stop = \"1ms\"", &child);
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let gateway = &gateway;
            scope.spawn(move || {
                for nth in 0..CALLS {
                    thread::sleep(Duration::from_micros((caller * 7 + nth * 13) % 29 * 300));
                    let line = json!({ "line": format!("{caller}-{nth}") });
                    let answer =
                        Http::modern_call(&gateway.url(), "u__append", &line.to_string()).answer();
                    assert!(answer["result"].is_object(), "{caller}-{nth}: {answer}");
                }
            });
        }
    });
    let text = std::fs::read_to_string(&journal).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let different: BTreeSet<String> = lines.iter().map(|line| line["line"].to_string()).collect();
    let all = usize::try_from(CALLERS * CALLS).unwrap();
    assert_eq!((lines.len(), different.len()), (all, all));
    assert!(stops(&gateway) > 10.0, "{} stops", stops(&gateway));
}

#[test]
fn of_several_copies_one_that_is_awake_goes_first_and_a_full_one_makes_another_wake() {
    let children = ["a", "b", "c"].map(|name| Nursling::demo(&["--name", name]));
    let replicas = ["a", "b", "c"].iter().zip(&children);
    let replicas: Vec<String> = replicas.map(|(name, c)| named(name, &c.replica())).collect();
    let keys = "idle_stop = \"1500ms\"\nlimits.inflight_replica = 2\nbalance = \"round_robin\"";
    let gateway = Gateway::start(&config(&tables(keys, &replicas)));
    replicas_up(&gateway, "u", 3);
    let starts = || children.each_ref().map(|child| child.starts().len()).iter().sum::<usize>();
    asleep(&gateway, 3);
    for _ in 0..5 {
        whoami(&gateway);
    }
    assert_eq!(starts(), 4, "one is enough");
    let sleep = || {
        let answer = Http::modern_call(&gateway.url(), "u__sleep", r#"{"ms":3000}"#).answer();
        assert!(answer["result"].is_object(), "{answer}");
    };
    thread::scope(|scope| {
        let two = [scope.spawn(sleep), scope.spawn(sleep)];
        eventually("both at work", || {
            let shown = shown(&gateway);
            (shown["in_flight"] == 2).then_some(())
        });
        assert_eq!(starts(), 4);
        whoami(&gateway);
        assert!(two.iter().all(|call| !call.is_finished()), "it did not wait for a place");
        assert_eq!(starts(), 5, "the first is full");
    });
    asleep(&gateway, 3);
}

#[test]
fn looks_reloads_and_a_stop_leave_it_asleep() {
    let child = Nursling::demo(&[]);
    let keys = format!("{SOON}\nhealth.interval = \"100ms\"\nhealth.fast_interval = \"100ms\"");
    let text = tables(&keys, &[child.replica()]);
    let gateway = Gateway::start(&text);
    listed(&gateway, "u__whoami");
    gone(&gateway, &child);
    let starts = child.starts().len();
    let call = |tool: &str| {
        let answer = Http::modern_call(&gateway.url(), tool, "{}").answer();
        answer["result"]["structuredContent"].clone()
    };
    let looked = call("gateway_health_check");
    let replica = &looked["upstreams"][0]["replicas"][0];
    assert_eq!((&replica["asleep"], &replica["answers"]), (&json!(true), &json!(null)), "{looked}");
    assert_eq!(looked["upstreams"][0]["status"], "healthy", "{looked}");
    let status = call("gateway_status");
    let replica = &status["upstreams"][0]["replicas"][0];
    assert_eq!((&replica["state"], &replica["suspect"]), (&json!("asleep"), &json!(false)));
    let verb = std::process::Command::new(WAYPOST)
        .args(["list", "upstreams", "--url", &gateway.base])
        .output()
        .unwrap();
    let listed = String::from_utf8(verb.stdout).unwrap();
    assert!(listed.contains("asleep"), "{listed}");
    let explained = Http::modern_call(
        &gateway.url(),
        "gateway_route_explain",
        r#"{"tool":"u__whoami","arguments":{}}"#,
    );
    let explained = explained.answer();
    assert_eq!(explained["result"]["structuredContent"]["pick"]["replica"], "0", "{explained}");
    // Unchanged, then under another rule.
    for (more, wanted) in [("", "unchanged"), ("[tools.echo]\nmax_message_length = 7\n", "applied")]
    {
        assert_eq!(gateway.reload(&[&text, more].concat()), wanted);
        asleep(&gateway, 1);
    }
    let tuned = text.replace("400ms", "500ms");
    assert_eq!(gateway.reload(&tuned), "applied");
    asleep(&gateway, 1);
    assert_eq!(child.starts().len(), starts);
    let began = clock::now();
    assert_eq!(gateway.terminate(), 0);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn a_reload_that_shortens_the_time_is_followed_at_once_and_zero_means_never() {
    let child = Nursling::demo(&[]);
    let text = |time: &str| config(&tables(&format!("idle_stop = \"{time}\""), &[child.replica()]));
    let gateway = Gateway::start(&text("0s"));
    listed(&gateway, "u__whoami");
    assert_eq!(gateway.reload(&text("1ms")), "applied");
    gone(&gateway, &child);
    assert_eq!(gateway.reload(&text("0s")), "applied");
    let awake = whoami(&gateway);
    assert_eq!(gateway.reload(&text("10m")), "applied");
    assert_eq!(whoami(&gateway), awake);
}

#[test]
fn children_of_client_sessions_and_those_beside_which_they_are_made_stay() {
    let child = Nursling::demo(&[]);
    let twin = Nursling::demo(&[]);
    let text = |isolation: &str| {
        config(&format!(
            "{}{}",
            tables(
                &format!("isolation = \"{isolation}\"\nidle_stop = \"1ms\""),
                &[child.replica()]
            ),
            upstream("twin", "era = \"modern\"\nidle_stop = \"1ms\"", &[twin.replica()])
        ))
    };
    let gateway = Gateway::start(&text("session"));
    listed(&gateway, "u__whoami");
    listed(&gateway, "twin__whoami");
    let mine = whoami(&gateway);
    for _ in 0..3 {
        eventually("the twin to be gone", || twin.is_gone().then_some(()));
        Http::modern_call(&gateway.url(), "twin__whoami", "{}");
    }
    assert_eq!(whoami(&gateway), mine);
    assert_eq!(child.starts().len(), 2, "one for all, one for this client");
    // What sleeps when clients get their own is woken for that.
    assert_eq!(gateway.reload(&text("shared")), "applied");
    asleep(&gateway, 1);
    assert_eq!(gateway.reload(&text("session")), "applied");
    replicas_up(&gateway, "u", 1);
    whoami(&gateway);
}

#[test]
fn a_client_that_can_be_asked_wakes_the_child_for_its_kind_and_no_other() {
    let peer = Peer::start(Era::Legacy, Over::Stdio, |turn| match turn.method() {
        "tools/list" => {
            json!({"result": {"tools": [{"name": "t", "inputSchema": {"type": "object"}}]}})
        }
        _ => {
            json!({"result": {"content": [{"type": "text", "text": turn.declared().to_string()}]}})
        }
    });
    let gateway = Gateway::start(&config(&peer.tables("u", SOON)));
    listed(&gateway, "u__t");
    let session = Session::open(&gateway, r#"{"roots":{}}"#);
    let call = || {
        let answer = session.call("u__t", "{}").answer();
        answer["result"]["content"][0]["text"].as_str().unwrap().to_owned()
    };
    eventually("the child for its kind", || call().contains("roots").then_some(()));
    eventually("both to sleep", || (stops(&gateway) > 1.5).then_some(()));
    let kinds = || {
        let all = peer.handshakes();
        let able = all.iter().filter(|said| said.to_string().contains("roots")).count();
        (able, all.len() - able)
    };
    let before = kinds();
    assert!(call().contains("roots"));
    assert_eq!(kinds(), (before.0 + 1, before.1));
}
