//! A configuration that changes while calls run, and a stop while calls run: no call fails, and what
//! is the same in both configurations notices nothing.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::Open;
use crate::support::load::Load;
use crate::support::procfs::{children, descriptors};
use crate::support::puppet::{Offer, Puppet};
use crate::support::toml::{command, demo, named, upstream, url};
use crate::support::upstream::config;
use crate::support::{
    Era, Gateway, Http, Session, StdioClient, eventually, health, listed, metric, own_error,
    replicas_up,
};

/// How long a test listens for what must not come.
const QUIET: Duration = Duration::from_millis(900);

fn whoami(gateway: &Gateway, upstream: &str) -> u64 {
    let answer = Http::modern_call(&gateway.url(), &format!("{upstream}__whoami"), "{}").answer();
    answer["result"]["structuredContent"]["pid"].as_u64().unwrap_or_else(|| panic!("{answer}"))
}

fn runs(pid: u64) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

/// Waits until a process is gone.
fn gone(pid: u64) {
    eventually("a process to end", || (!runs(pid)).then_some(()));
}

/// Waits until one call is in flight at `u`.
fn at_work(gateway: &Gateway) {
    let busy = || metric(gateway, r#"mcp_upstream_inflight{upstream="u",replica="0"}"#) > 0.5;
    eventually("the call to arrive", || busy().then_some(()));
}

/// Which configuration since the start is in force.
fn generation(gateway: &Gateway) -> String {
    metric(gateway, "mcp_config_generation").to_string()
}

fn one(name: &str, keys: &str, replica: &str) -> String {
    upstream(name, keys, &[replica.to_owned()])
}

#[test]
fn upstreams_come_go_and_change_while_calls_run_and_none_fails() {
    let (plain, other) = (demo(&[]), demo(&["--name", "other"]));
    let same = one("same", "", &plain);
    let tuned = upstream("tuned", "", &[named("a", &plain), named("b", &plain)]);
    let changed = |replica: &str| one("changed", "", replica);
    let first = config(&[same.clone(), tuned, changed(&plain), one("old", "", &plain)].concat());
    let gateway = Gateway::start(&first);
    for (name, count) in [("same", 1), ("tuned", 2), ("changed", 1), ("old", 1)] {
        replicas_up(&gateway, name, count);
    }
    let (same_pid, old_pid) = (whoami(&gateway, "same"), whoami(&gateway, "old"));
    let tools = ["same__whoami", "tuned__whoami", "changed__whoami"];
    let load = Load::start(&gateway, 3, &tools);
    load.goes_on(50);
    // Tuned, reordered, one added, one removed, one made from something else.
    let tuned = upstream(
        "tuned",
        "timeout = \"7s\"\nrequired = true\nlimits.inflight_replica = 3",
        &[named("b", &plain), named("a", &format!("{plain}\nweight = 4"))],
    );
    let second = config(&[one("new", "", &plain), changed(&other), tuned, same].concat());
    assert_eq!(gateway.reload(&second), "applied");
    load.goes_on(50);
    listed(&gateway, "new__whoami");
    let names = Http::tools(&gateway.url());
    assert!(!names.iter().any(|name| name.starts_with("old__")), "{names:?}");
    gone(old_pid);
    let answer = Http::modern_call(&gateway.url(), "changed__whoami", "{}").answer();
    assert_eq!(answer["result"]["structuredContent"]["name"], "other", "{answer}");
    assert_eq!(whoami(&gateway, "same"), same_pid);
    assert_eq!(health(&gateway, "tuned")["required"], true);
    assert_eq!(health(&gateway, "old"), Value::Null);
    let seen = load.stop();
    assert_eq!(seen.failed, [""; 0], "after {} calls", seen.answered);
    let processes = |tool: &str| seen.pids[tool].len();
    assert_eq!(
        (processes("same__whoami"), processes("tuned__whoami"), processes("changed__whoami")),
        (1, 2, 2),
        "what stays keeps its process: {seen:?}"
    );
    seen.pids["changed__whoami"].iter().filter(|pid| runs(**pid)).for_each(|pid| {
        let now = whoami(&gateway, "changed");
        if *pid != now {
            gone(*pid);
        }
    });
    assert_eq!(generation(&gateway), "2");
    let up = |name: &str, replica: &str| {
        metric(&gateway, &format!("mcp_upstream_up{{upstream=\"{name}\",replica=\"{replica}\"}}"))
    };
    assert_eq!((up("same", "0"), up("tuned", "a"), up("changed", "0")), (1.0, 1.0, 1.0));
    assert!(up("old", "0").is_nan(), "nobody is down that nobody wants");
    let latency = |upstream: &str| {
        metric(&gateway, &format!(r#"mcp_relative_latency{{upstream="{upstream}",replica="0"}}"#))
    };
    assert!(latency("old").is_nan(), "nobody is slow that nobody wants");
    assert!(metric(&gateway, r#"mcp_queue_depth{upstream="old"}"#).is_nan());
}

#[test]
fn a_renamed_upstream_is_found_under_its_new_name_and_a_new_prefix_keeps_the_process() {
    let plain = demo(&[]);
    let first = config(&[one("a", "", &plain), one("b", "", &plain)].concat());
    let gateway = Gateway::start(&first);
    replicas_up(&gateway, "a", 1);
    replicas_up(&gateway, "b", 1);
    let b = whoami(&gateway, "b");
    let second = [one("renamed", "", &plain), one("b", "prefix = \"other\"", &plain)].concat();
    assert_eq!(gateway.reload(&config(&second)), "applied");
    assert_eq!(whoami(&gateway, "other"), b);
    assert!(whoami(&gateway, "renamed") > 0);
    let old = Http::modern_call(&gateway.url(), "a__whoami", "{}").answer();
    assert_eq!(old["error"]["code"], -32602, "{old}");
}

#[test]
fn an_invalid_file_changes_nothing_and_every_problem_is_in_the_log() {
    let good = config(&one("u", "", &demo(&[])));
    let gateway = Gateway::start(&good);
    replicas_up(&gateway, "u", 1);
    let (pid, tools) = (whoami(&gateway, "u"), Http::tools(&gateway.url()));
    let bad = format!("{good}\ntimeout = \"soon\"\n[upstreams.v]\nbalanse = 1\n[tools.ecko]\n");
    assert_eq!(gateway.reload(&bad), "invalid");
    for what in ["timeout", "balanse", "ecko", "upstreams.v", "stays as it was"] {
        assert!(gateway.stderr().contains(what), "{what}: {}", gateway.stderr());
    }
    assert_eq!((whoami(&gateway, "u"), Http::tools(&gateway.url())), (pid, tools));
    assert_eq!(generation(&gateway), "1");
    let told = Http::send("GET", &format!("{}/health", gateway.base), &[], "").answer();
    assert_eq!(told["config"]["last_reload"]["result"], "invalid", "{told}");
    assert!(told["config"]["last_reload"]["reason"].as_str().unwrap().contains("problems"));
    // What it said before is nothing new.
    assert_eq!(gateway.reload(&good), "unchanged");
    let told = Http::send("GET", &format!("{}/health", gateway.base), &[], "").answer();
    assert_eq!(told["config"], Value::Null);
    assert_eq!(whoami(&gateway, "u"), pid);
}

#[test]
fn a_file_that_says_something_else_is_seen_without_a_signal() {
    let plain = demo(&[]);
    let gateway = Gateway::start(&config(&one("u", "", &plain)));
    replicas_up(&gateway, "u", 1);
    let pid = whoami(&gateway, "u");
    gateway.write(&config(&[one("u", "", &plain), one("v", "", &plain)].concat()));
    listed(&gateway, "v__whoami");
    assert_eq!(whoami(&gateway, "u"), pid);
    // A key that is read from a file of its own is read anew with SIGHUP.
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "one").unwrap();
    let with_key =
        one("u", "", &format!("{plain}\nenv = {{ KEY = \"${{file:{}}}\" }}", key.display()));
    assert_eq!(gateway.reload(&config(&with_key)), "applied");
    let before = whoami(&gateway, "u");
    assert_eq!(gateway.reload(&config(&with_key)), "unchanged");
    std::fs::write(&key, "two").unwrap();
    assert_eq!(gateway.reload(&config(&with_key)), "applied");
    assert_ne!(whoami(&gateway, "u"), before, "it is made from another key");
}

#[test]
fn a_gateway_on_a_pipe_reloads_too() {
    let plain = demo(&[]);
    let mut pipe = StdioClient::start(&config(&one("u", "", &plain)));
    pipe.handshake("2025-11-25");
    pipe.write(&config(&[one("u", "", &plain), one("v", "", &plain)].concat()));
    let told = pipe.next();
    assert_eq!(told["method"], "notifications/tools/list_changed", "{told}");
    let list = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#;
    eventually("the new tools", || {
        pipe.send(list);
        let answer = std::iter::repeat_with(|| pipe.next()).find(|answer| answer["id"] == 7);
        answer.unwrap().to_string().contains("v__whoami").then_some(())
    });
    assert_eq!(pipe.close().0, 0);
}

#[test]
fn a_weight_that_changes_takes_effect_and_the_process_stays() {
    let plain = demo(&[]);
    let of = |weight: u32| {
        let a = named("a", &format!("{}\nweight = {weight}", demo(&["--name", "a"])));
        config(&upstream("u", "balance = \"weighted\"", &[a, named("b", &plain)]))
    };
    let gateway = Gateway::start(&of(0));
    replicas_up(&gateway, "u", 2);
    let pids = || (0..12).map(|_| whoami(&gateway, "u")).collect::<std::collections::BTreeSet<_>>();
    let only_b = pids();
    assert_eq!(only_b.len(), 1, "a is drained");
    assert_eq!(gateway.reload(&of(1)), "applied");
    let both = pids();
    assert!(both.len() == 2 && both.is_superset(&only_b), "{only_b:?} {both:?}");
    assert_eq!(gateway.reload(&of(0)), "applied");
    assert_eq!(pids(), only_b);
    assert_eq!(gateway.reload(&of(1)), "applied");
    assert_eq!(pids(), both, "the drained one was never stopped");
}

#[test]
fn a_key_that_is_new_counts_at_once_and_one_that_is_gone_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, key: &str| std::fs::write(folder.path().join(name), key).unwrap();
    let keyed = |names: &[&str]| {
        let path = |name: &&str| folder.path().join(name).display().to_string();
        let table = |name| format!("{{ name = {name:?}, key = \"${{file:{}}}\" }}", path(name));
        let keys = names.iter().map(table).collect::<Vec<_>>().join(", ");
        format!("[auth]\nkeys = [{keys}]\n{}", config(""))
    };
    let (old, new) = ("an-old-key-of-alice", "a-new-key-of-alice");
    write("alice", old);
    write("bob", "a-key-that-bob-shows");
    let gateway = Gateway::start(&keyed(&["alice", "bob"]));
    let ask = |key: &str| {
        let bearer = format!("Bearer {key}");
        let (mut headers, body) = Http::modern_parts("1", "tools/list", None, "");
        headers.push(("Authorization", &bearer));
        Http::post(&gateway.url(), &headers, &body).status
    };
    assert_eq!((ask(old), ask("a-key-that-bob-shows"), ask(new)), (200, 200, 401));
    write("alice", new);
    gateway.write(&keyed(&["alice"]));
    gateway.hang_up();
    eventually("the new key", || (ask(new) == 200).then_some(()));
    assert_eq!((ask(old), ask("a-key-that-bob-shows")), (401, 401));
}

/// How many reloads, a quarter of them invalid: set `WAYPOST_RELOADS=200` for the whole number.
fn reloads() -> usize {
    std::env::var("WAYPOST_RELOADS").ok().and_then(|text| text.parse().ok()).unwrap_or(16)
}

#[test]
fn many_reloads_under_load_fail_no_call_and_leave_nothing_behind() {
    let plain = demo(&[]);
    let round = |n: usize| {
        // It changes what it is made from, has siblings that come and go, and rules that change.
        let made = demo(&["--name", &format!("n{}", n % 3)]);
        let replicas = [named("made", &made), named("same", &plain), named("more", &plain)];
        let wobbling =
            upstream("wobbling", &format!("timeout = \"{}s\"", 20 + n % 2), &replicas[..2 + n % 2]);
        let guest = if n.is_multiple_of(2) { one("guest", "", &plain) } else { String::new() };
        config(&[one("steady", "", &plain), wobbling, guest].concat())
    };
    let gateway = Gateway::start(&round(0));
    replicas_up(&gateway, "wobbling", 2);
    replicas_up(&gateway, "steady", 1);
    replicas_up(&gateway, "guest", 1);
    let load = Load::start(&gateway, 4, &["steady__whoami", "wobbling__whoami", "wobbling__add"]);
    load.goes_on(50);
    let held = |gateway: &Gateway| (descriptors(gateway.pid()), children(gateway.pid()));
    // The first one opens what is opened once.
    assert_eq!(gateway.reload(&round(1)), "applied");
    assert_eq!(gateway.reload(&round(6)), "applied");
    let settled = |most: (usize, usize)| {
        eventually(&format!("no more than {most:?} descriptors and children"), || {
            let now = held(&gateway);
            (now.0 <= most.0 + 4 && now.1 <= most.1).then_some(())
        });
    };
    // Guests and siblings of round 6: steady, two of wobbling, a guest; what went has gone.
    settled((usize::MAX - 4, 4));
    let before = held(&gateway);
    for n in 7..7 + reloads() {
        if n % 4 == 0 {
            assert_eq!(gateway.reload(&format!("{}\n[nonsense]\n", round(n))), "invalid");
        } else {
            assert_eq!(gateway.reload(&round(n)), "applied", "round {n}");
        }
        load.goes_on(10);
    }
    gateway.reload(&round(6));
    settled(before);
    let seen = load.stop();
    assert_eq!(seen.failed, [""; 0], "after {} calls", seen.answered);
    assert_eq!(seen.pids["steady__whoami"].len(), 1, "untouched");
    eprintln!("{} calls, none failed", seen.answered);
}

/// A wish to hear of the changes of all lists.
const WISH: &str = r#""notifications":{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true}"#;

/// A modern subscription to all lists that stands.
fn listen(gateway: &Gateway) -> Open {
    let (headers, body) = Http::modern_parts("\"s\"", "subscriptions/listen", None, WISH);
    let mut stream = Http::open(&gateway.url(), &headers, &body);
    assert_eq!(stream.message().unwrap()["method"], "notifications/subscriptions/acknowledged");
    stream
}

#[test]
fn clients_are_told_once_when_a_reload_changes_tools_and_never_when_it_does_not() {
    let plain = demo(&["--era", "legacy"]);
    let base = one("u", "", &plain);
    let gateway = Gateway::start(&config(&base));
    replicas_up(&gateway, "u", 1);
    listed(&gateway, "u__whoami");
    let session = Http::legacy_session(&gateway.url(), "2025-11-25");
    let mut legacy = Http::open_get(&gateway.url(), &session);
    assert_eq!(legacy.event().unwrap(), ":");
    let mut modern = listen(&gateway);
    assert_eq!(modern.message_within(QUIET), None, "the start is over");
    let steps = [
        ("tuned", one("u", "timeout = \"9s\"", &plain), false),
        (
            "made anew, the same tools",
            one("u", "", &demo(&["--era", "legacy", "--name", "x"])),
            false,
        ),
        ("another one", [one("u", "", &plain), one("v", "", &plain)].concat(), true),
        ("a filter", one("u", "tools.exclude = [\"add\"]", &plain), true),
        ("back", base, true),
    ];
    for (what, text, changes) in steps {
        assert_eq!(gateway.reload(&config(&text)), "applied", "{what}");
        for (who, stream) in [("modern", &mut modern), ("legacy", &mut legacy)] {
            if changes {
                let told = stream.message().unwrap();
                let method = &told["method"];
                assert_eq!(method, "notifications/tools/list_changed", "{what}, {who}");
            }
        }
        assert_eq!(modern.message_within(QUIET), None, "{what}: modern");
        assert_eq!(legacy.message_within(Duration::from_millis(10)), None, "{what}: legacy");
    }
}

/// The lists, by the notifications of their changes.
const CHANGES: [&str; 3] = [
    "notifications/prompts/list_changed",
    "notifications/resources/list_changed",
    "notifications/tools/list_changed",
];

/// Upstreams that come and go with everything that can be listed.
fn guests() -> [(&'static str, Puppet); 2] {
    [("come", Era::Modern), ("go", Era::Legacy)].map(|(name, era)| {
        let uri = if name == "come" { "come:r" } else { "go:r" };
        let offer = Offer::new(name, era).tools(&["t"]).prompts(&["p"]).resources(&[uri]);
        (name, Puppet::offers(offer))
    })
}

/// A configuration before, and one after one upstream went and another came, and after that one in
/// which a tool is hidden.
fn rounds(guests: &[(&str, Puppet); 2]) -> [String; 3] {
    let [come, go] = guests.each_ref().map(|(name, puppet)| one(name, "", &url(&puppet.url)));
    let stays = one("u", "", &demo(&["--era", "legacy"]));
    let fewer = one("u", "tools.exclude = [\"add\"]", &demo(&["--era", "legacy"]));
    [[&stays, &go], [&stays, &come], [&fewer, &come]]
        .map(|tables| config(&tables.map(String::as_str).concat()))
}

/// The methods of messages, sorted.
fn methods(messages: &[Value]) -> Vec<String> {
    let method = |message: &Value| message["method"].as_str().unwrap_or_default().to_owned();
    let mut methods: Vec<String> = messages.iter().map(method).collect();
    methods.sort();
    methods
}

#[test]
fn clients_of_both_eras_are_told_once_of_each_list_that_a_reload_changes() {
    let guests = guests();
    let [before, swapped, fewer] = rounds(&guests);
    let gateway = Gateway::start(&before);
    listed(&gateway, "u__whoami");
    listed(&gateway, "go__t");
    let session = Http::legacy_session(&gateway.url(), "2025-11-25");
    let mut legacy = Http::open_get(&gateway.url(), &session);
    assert_eq!(legacy.event().unwrap(), ":");
    let mut modern = listen(&gateway);
    assert_eq!(modern.message_within(QUIET), None, "the start is over");
    assert_eq!(legacy.message_within(QUIET), None, "the start is over");
    for (what, text, changed) in [
        ("one came and one went", &swapped, &CHANGES[..]),
        ("a tool went", &fewer, &CHANGES[2..]),
        ("nothing", &fewer, &[]),
    ] {
        let result = if changed.is_empty() { "unchanged" } else { "applied" };
        assert_eq!(gateway.reload(text), result, "{what}");
        for (who, stream) in [("modern", &mut modern), ("legacy", &mut legacy)] {
            let mut told: Vec<Value> = changed.iter().map(|_| stream.message().unwrap()).collect();
            told.extend(std::iter::from_fn(|| stream.message_within(QUIET)));
            assert_eq!(methods(&told), changed, "{what}, {who}: {told:?}");
        }
    }
    let tools = Http::tools(&gateway.url());
    let has = |name: &str| tools.iter().any(|tool| tool == name);
    assert!(has("come__t") && !has("go__t") && !has("u__add"), "{tools:?}");
}

#[test]
fn both_eras_on_a_pipe_are_told_once_of_each_list_that_a_reload_changes() {
    const ID: &str = "io.modelcontextprotocol/subscriptionId";
    let guests = guests();
    let [before, swapped, fewer] = rounds(&guests);
    let mut pipe = StdioClient::start(&before);
    pipe.handshake("2025-11-25");
    let (_, list) = Http::modern_parts("\"l\"", "tools/list", None, "");
    eventually("every upstream", || {
        let text = pipe.ask(&list).to_string();
        (text.contains("u__whoami") && text.contains("go__t")).then_some(())
    });
    let (_, listening) = Http::modern_parts("\"s\"", "subscriptions/listen", None, WISH);
    pipe.send(&listening);
    while pipe.next()["method"] != "notifications/subscriptions/acknowledged" {}
    // The session may still be told of the start.
    while pipe.next_within(QUIET).is_some() {}
    for (what, text, changed) in
        [("one came and one went", &swapped, &CHANGES[..]), ("a tool went", &fewer, &CHANGES[2..])]
    {
        pipe.write(text);
        let mut told: Vec<Value> = (0..2 * changed.len()).map(|_| pipe.next()).collect();
        told.extend(std::iter::from_fn(|| pipe.next_within(QUIET)));
        let subscribed = |message: &Value| !message["params"]["_meta"][ID].is_null();
        let (modern, legacy): (Vec<Value>, Vec<Value>) = told.into_iter().partition(subscribed);
        assert_eq!(methods(&modern), changed, "{what}: {modern:?}");
        assert!(modern.iter().all(|told| told["params"]["_meta"][ID] == "s"), "{modern:?}");
        assert_eq!(methods(&legacy), changed, "{what}: {legacy:?}");
    }
    assert_eq!(pipe.close().0, 0);
}

#[test]
fn clients_that_can_be_asked_keep_their_own_replicas_through_a_reload() {
    let plain = demo(&["--era", "legacy"]);
    let gateway = Gateway::start(&config(&one("u", "", &plain)));
    replicas_up(&gateway, "u", 1);
    let session = Session::open(&gateway, r#"{"roots":{}}"#);
    let pid = |session: &Session| {
        let answer = session.call("u__whoami", "{}").answer();
        answer["result"]["structuredContent"]["pid"].as_u64().unwrap_or_else(|| panic!("{answer}"))
    };
    let (own, all) = (pid(&session), whoami(&gateway, "u"));
    assert_ne!(own, all, "it has one for itself");
    let two = [one("v", "", &plain), one("u", "timeout = \"9s\"", &plain)].concat();
    assert_eq!(gateway.reload(&config(&two)), "applied");
    assert_eq!((pid(&session), whoami(&gateway, "u")), (own, all));
    assert_eq!(gateway.reload(&config(&one("v", "", &plain))), "applied");
    gone(own);
    gone(all);
    let answer = session.call("u__whoami", "{}").answer();
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    assert!(session.call("v__whoami", "{}").answer()["result"].is_object());
}

#[test]
fn a_long_call_at_an_upstream_that_is_removed_comes_to_its_end() {
    let (plain, rest) = (demo(&[]), one("v", "", &demo(&[])));
    let gateway = Gateway::start(&config(&[one("u", "", &plain), rest.clone()].concat()));
    replicas_up(&gateway, "u", 1);
    replicas_up(&gateway, "v", 1);
    let pid = whoami(&gateway, "u");
    let params = r#""name":"u__sleep","arguments":{"ms":3000}"#;
    let (headers, body) = Http::modern_parts("1", "tools/call", Some("u__sleep"), params);
    let mut long = Http::open(&gateway.url(), &headers, &body);
    at_work(&gateway);
    assert_eq!(gateway.reload(&config(&rest)), "applied");
    let unknown = Http::modern_call(&gateway.url(), "u__whoami", "{}").answer();
    assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
    assert!(runs(pid), "it is still at work");
    let answer = long.next().unwrap();
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    gone(pid);
}

#[test]
fn a_call_that_outlasts_the_grace_is_told_that_it_may_have_run() {
    let first = format!("[server]\ngrace = \"1s\"\n{}", config(&one("u", "", &demo(&[]))));
    let gateway = Gateway::start(&first);
    replicas_up(&gateway, "u", 1);
    let params = r#""name":"u__sleep","arguments":{"ms":600000}"#;
    let (headers, body) = Http::modern_parts("1", "tools/call", Some("u__sleep"), params);
    let mut long = Http::open(&gateway.url(), &headers, &body);
    at_work(&gateway);
    assert_eq!(gateway.reload(&format!("[server]\ngrace = \"1s\"\n{}", config(""))), "applied");
    let (code, kind, delivery, ..) = own_error(&long.next().unwrap());
    assert_eq!((code, kind.as_str(), delivery.as_str()), (-31003, "delivery_unknown", "unknown"));
}

#[test]
fn an_upstream_that_cannot_come_up_in_its_new_form_is_taken_in_after_a_while() {
    let (plain, rest) = (demo(&[]), one("v", "", &demo(&[])));
    let gateway = Gateway::start(&config(&[one("u", "", &plain), rest.clone()].concat()));
    replicas_up(&gateway, "u", 1);
    replicas_up(&gateway, "v", 1);
    let tools = Http::tools(&gateway.url());
    let broken = one("u", "", "command = \"/nowhere/at-all\"");
    assert_eq!(gateway.reload(&config(&[broken, rest.clone()].concat())), "applied");
    let answer = Http::modern_call(&gateway.url(), "u__whoami", "{}").answer();
    let (code, kind, ..) = own_error(&answer);
    assert_eq!((code, kind.as_str()), (-31002, "unavailable"), "{answer}");
    assert_eq!(Http::tools(&gateway.url()), tools, "what it offered stays listed for a while");
    assert!(gateway.stderr().contains("not up yet"), "{}", gateway.stderr());
    assert_eq!(gateway.reload(&config(&[one("u", "", &plain), rest].concat())), "applied");
    assert!(whoami(&gateway, "u") > 0);
}

#[test]
fn whom_the_front_lets_in_changes_at_once_and_where_it_listens_does_not() {
    let server = |keys: &str| format!("[server]\n{keys}\n{}", config(""));
    let gateway = Gateway::start(&server(""));
    let ask = || {
        let url = format!("{}/health/live", gateway.base);
        Http::send("GET", &url, &[("Host", "gw.example")], "").status
    };
    assert_eq!(ask(), 403);
    let next = server("allowed_hosts = [\"gw.example\"]\nhost = \"localhost\"");
    assert_eq!(gateway.reload(&next), "applied");
    assert_eq!(ask(), 200);
    let log = gateway.stderr();
    assert!(log.contains("server.host has changed: that needs a restart"), "{log}");
    assert_eq!(gateway.reload(&server("")), "applied");
    assert_eq!(ask(), 403);
}

// === a stop ===

#[test]
fn a_stop_under_load_answers_every_call_that_was_let_in() {
    for _ in 0..3 {
        let gateway = Gateway::start(&config(&upstream(
            "u",
            "",
            &[format!("{}\ncount = 2", demo(&["--delay", "5"]))],
        )));
        replicas_up(&gateway, "u", 2);
        let load = Load::start(&gateway, 6, &["u__whoami"]);
        let mut modern = listen(&gateway);
        load.goes_on(100);
        assert_eq!(gateway.terminate(), 0);
        // A change of the list may have been told before it.
        let last = std::iter::from_fn(|| modern.message()).find(|m| !m["id"].is_null()).unwrap();
        assert_eq!((&last["id"], &last["result"]["resultType"]), (&json!("s"), &json!("complete")));
        assert_eq!(modern.message(), None);
        let seen = load.end();
        assert_eq!(seen.failed, [""; 0], "after {} calls", seen.answered);
    }
}

#[test]
fn a_stop_is_seen_at_once_on_a_connection_that_stands_and_each_answer_is_the_last_one() {
    let gateway = Gateway::start(&config(&one("u", "", &demo(&[]))));
    replicas_up(&gateway, "u", 1);
    let mut kept = crate::support::kept::Kept::to(&gateway);
    assert_eq!(kept.get("/health/ready").status, 200);
    let params = r#""name":"u__sleep","arguments":{"ms":1500}"#;
    let (headers, body) = Http::modern_parts("1", "tools/call", Some("u__sleep"), params);
    let mut long = Http::open(&gateway.url(), &headers, &body);
    at_work(&gateway);
    gateway.ask_to_end();
    let ready = std::iter::repeat_with(|| kept.get("/health/ready")).find(|r| r.status != 200);
    let ready = ready.unwrap();
    assert_eq!((ready.status, ready.header("connection")), (503, Some("close")), "{ready:?}");
    assert_eq!(long.next().unwrap()["result"]["resultType"], "complete");
}

#[test]
fn a_stop_of_a_gateway_on_a_pipe_answers_what_was_asked() {
    let mut pipe = StdioClient::start(&config(&one("u", "", &demo(&[]))));
    pipe.handshake("2025-11-25");
    let call = |id: u32, tool: &str, arguments: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#
        )
    };
    assert!(pipe.ask(&call(1, "u__whoami", "{}"))["result"].is_object());
    pipe.send(&call(2, "u__sleep", r#"{"ms":300}"#));
    // What came after it was answered before it: it is at work.
    assert_eq!(pipe.ask(&call(3, "u__whoami", "{}"))["id"], 3);
    pipe.ask_to_end();
    let answer = std::iter::repeat_with(|| pipe.next()).find(|message| !message["id"].is_null());
    let answer = answer.unwrap();
    assert!(answer["id"] == 2 && answer["result"].is_object(), "{answer}");
    assert_eq!(pipe.close().0, 0);
}

// === what clients hold ===

/// A resource of the fixture that can be watched.
const WATCHED: &str = "test://watched-resource";

#[test]
fn a_watched_resource_is_told_of_after_its_upstream_moved_was_tuned_and_was_made_anew() {
    let path = crate::support::process::fixture();
    let fixture = command(&[path.to_str().unwrap(), "--stdio", "--era", "legacy"]);
    let plain = demo(&["--era", "legacy"]);
    let gateway = Gateway::start(&config(&one("u", "", &fixture)));
    listed(&gateway, "u__test_trigger_resource_change");
    let session = Session::open(&gateway, "{}");
    let mut stream = Http::open_get(&gateway.url(), &session.id);
    assert_eq!(stream.event().unwrap(), ":");
    let watch = format!(r#"{{"uri":"{WATCHED}"}}"#);
    assert!(session.ask("resources/subscribe", &watch).answer()["result"].is_object());
    let mut told = |what: &str| {
        eventually(what, || {
            // A server that has just come may not have been asked to tell yet.
            let changed = session.call("u__test_trigger_resource_change", "{}");
            assert_eq!(changed.verdict(), (200, 0), "{what}: {changed:?}");
            let news = std::iter::from_fn(|| stream.message_within(Duration::from_millis(300)));
            let about = |note: &Value| note["method"] == "notifications/resources/updated";
            news.into_iter().find(about).filter(|note| note["params"]["uri"] == WATCHED)
        });
    };
    told("as it was");
    for (what, keys, replica) in [
        ("moved and tuned", "timeout = \"9s\"", fixture.clone()),
        ("made anew", "timeout = \"9s\"", format!("{fixture}\nenv = {{ ANY = \"1\" }}")),
    ] {
        let text = config(&[one("v", "", &plain), one("u", keys, &replica)].concat());
        assert_eq!(gateway.reload(&text), "applied", "{what}");
        told(what);
    }
}
