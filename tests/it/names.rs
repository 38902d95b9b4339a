//! Replicas that are the addresses of one host name: they come and go as the name server says, and
//! no call fails for it.

use std::process::Command;

use serde_json::Value;

use crate::support::load::Load;
use crate::support::names::{NAME, NameServer};
use crate::support::process::{WAYPOST, free_port};
use crate::support::toml::{demo, upstream};
use crate::support::upstream::config;
use crate::support::{
    Demo, Gateway, Http, eventually, health, listed, metric, own_error, replicas_up,
};

/// A demo server at an address of this machine, at a port that all of a test share.
fn server(address: &str, port: u16, args: &[&str]) -> Demo {
    Demo::start_on(port, &[&["--host", address, "--name", address], args].concat())
}

/// An entry for all addresses of the name.
fn entry(port: u16, keys: &str) -> String {
    format!("url = \"http://{NAME}:{port}/mcp\"\nresolve = \"1s\"\n{keys}")
}

/// A configuration whose upstream `u` is the name.
fn behind(names: &NameServer, port: u16, keys: &str) -> String {
    let u = upstream("u", &format!("balance = \"round_robin\"\n{keys}"), &[entry(port, "")]);
    names.table() + &config(&u)
}

/// The replicas of `u`, in their order.
fn replicas(gateway: &Gateway) -> Vec<String> {
    let told = health(gateway, "u");
    let all = told["replicas"].as_array().unwrap();
    all.iter().map(|replica| replica["name"].as_str().unwrap().to_owned()).collect()
}

fn lookups(gateway: &Gateway, result: &str) -> f64 {
    let labels = format!("upstream=\"u\",result=\"{result}\"");
    metric(gateway, &format!("mcp_dns_lookups_total{{{labels}}}"))
}

/// Waits until so many more lookups have ended like this.
fn looked_up(gateway: &Gateway, result: &str, more: f64) {
    let until = lookups(gateway, result) + more;
    let ended = || (lookups(gateway, result) >= until).then_some(());
    eventually(&format!("{more} lookups: {result}"), ended);
}

fn whoami(gateway: &Gateway) -> String {
    let answer = Http::modern_call(&gateway.url(), "u__whoami", "{}").answer();
    let name = answer["result"]["structuredContent"]["name"].as_str();
    name.unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[test]
fn each_address_of_a_name_is_a_replica_and_all_take_calls() {
    let port = free_port();
    let one = server("127.0.0.1", port, &[]);
    let other = server("127.0.0.2", port, &[]);
    let names = NameServer::start(&["127.0.0.2", "::1", "127.0.0.1"]);
    let gateway = Gateway::start(&behind(&names, port, ""));
    // Nothing is at the third one: it is a replica, and down.
    replicas_up(&gateway, "u", 2);
    assert_eq!(replicas(&gateway), ["0-127.0.0.1", "0-127.0.0.2", "0-__1"]);
    let mut who: Vec<_> = (0..6).map(|_| whoami(&gateway)).collect();
    who.sort();
    assert_eq!(who, [["127.0.0.1"; 3], ["127.0.0.2"; 3]].concat());
    // Each server is spoken to by the name of the URL.
    for demo in [&one, &other] {
        let calls = demo.requests("tools/call");
        let host = Value::from(format!("host: {NAME}:{port}"));
        let headers = calls[0]["headers"].as_array().unwrap();
        assert!(headers.contains(&host), "{headers:?}");
    }
    let url = format!("{}/api/v1/upstreams/u", gateway.base);
    let told = Http::send("GET", &url, &[], "").answer();
    assert_eq!(told["replicas"][1]["address"], "127.0.0.2", "{told}");
    let up = |replica: &str| {
        metric(&gateway, &format!("mcp_upstream_up{{upstream=\"u\",replica=\"{replica}\"}}"))
    };
    assert_eq!((up("0-127.0.0.1"), up("0-127.0.0.2"), up("0-__1")), (1.0, 1.0, 0.0));
}

#[test]
fn addresses_come_and_go_under_load_and_no_call_fails() {
    let port = free_port();
    // Slow enough that calls are in flight whenever one goes.
    let start = |address: &str| server(address, port, &["--delay", "20"]);
    let (one, two, three) = (start("127.0.0.1"), start("127.0.0.2"), start("127.0.0.3"));
    let names = NameServer::start(&["127.0.0.1", "127.0.0.2"]);
    let gateway = Gateway::start(&behind(&names, port, ""));
    replicas_up(&gateway, "u", 2);
    listed(&gateway, "u__whoami");
    let load = Load::start(&gateway, 4, &["u__whoami", "u__add"]);
    load.goes_on(50);
    let calls = |demo: &Demo| demo.requests("tools/call").len();
    assert!(calls(&one) > 0 && calls(&two) > 0 && calls(&three) == 0);
    // One comes.
    names.tells(&["127.0.0.3", "127.0.0.1", "127.0.0.2"]);
    eventually("calls at the new one", || (calls(&three) > 0).then_some(()));
    load.goes_on(50);
    // One goes, and one goes for another that comes.
    names.tells(&["127.0.0.2", "127.0.0.3"]);
    eventually("two replicas", || {
        (replicas(&gateway) == ["0-127.0.0.2", "0-127.0.0.3"]).then_some(())
    });
    // Whoever chose it before has sent by then what there was to send.
    eventually("quiet at the old one", || {
        let before = calls(&one);
        load.goes_on(60);
        (calls(&one) == before).then_some(())
    });
    names.tells(&["127.0.0.1", "127.0.0.3"]);
    eventually("the other two", || {
        (replicas(&gateway) == ["0-127.0.0.1", "0-127.0.0.3"]).then_some(())
    });
    let before = calls(&one);
    eventually("calls at the one that is back", || (calls(&one) > before).then_some(()));
    load.goes_on(50);
    let seen = load.stop();
    assert_eq!(seen.failed, [""; 0], "after {} calls", seen.answered);
    assert_eq!(seen.pids["u__whoami"].len(), 3);
    let gone = metric(&gateway, r#"mcp_upstream_up{upstream="u",replica="0-127.0.0.2"}"#);
    assert!(gone.is_nan(), "nobody is down that nobody wants: {gone}");
    assert_eq!(metric(&gateway, "mcp_config_generation").to_string(), "1");
}

#[test]
fn a_call_in_flight_at_an_address_that_goes_is_answered() {
    let port = free_port();
    // A session tells when the gateway has left it for good.
    let slow = server("127.0.0.1", port, &["--era", "legacy", "--delay", "4000"]);
    let _other = server("127.0.0.2", port, &[]);
    let names = NameServer::start(&["127.0.0.1"]);
    let gateway = Gateway::start(&behind(&names, port, ""));
    replicas_up(&gateway, "u", 1);
    listed(&gateway, "u__whoami");
    let url = gateway.url();
    let calling = std::thread::spawn(move || Http::modern_call(&url, "u__whoami", "{}").answer());
    eventually("the call", || (!slow.requests("tools/call").is_empty()).then_some(()));
    names.tells(&["127.0.0.2"]);
    eventually("the new one", || (replicas(&gateway) == ["0-127.0.0.2"]).then_some(()));
    assert_eq!(whoami(&gateway), "127.0.0.2");
    let left = || slow.received().iter().any(|entry| entry["method"] == "DELETE");
    assert!(!calling.is_finished() && !left(), "it has gone while the call runs");
    let answer = calling.join().unwrap();
    eventually("the end of its session", || left().then_some(()));
    assert_eq!(answer["result"]["structuredContent"]["name"], "127.0.0.1", "{answer}");
}

#[test]
fn a_name_server_that_fails_takes_nobody_away() {
    let port = free_port();
    let one = server("127.0.0.1", port, &["--era", "legacy"]);
    let two = server("127.0.0.2", port, &["--era", "legacy"]);
    let names = NameServer::start(&["127.0.0.1", "127.0.0.2"]);
    let gateway = Gateway::start(&behind(&names, port, ""));
    replicas_up(&gateway, "u", 2);
    looked_up(&gateway, "found", 1.0);
    names.fails();
    looked_up(&gateway, "failed", 2.0);
    names.tells(&[]);
    looked_up(&gateway, "nothing", 2.0);
    names.is_silent();
    looked_up(&gateway, "failed", 1.0);
    replicas_up(&gateway, "u", 2);
    let who: std::collections::BTreeSet<_> = (0..4).map(|_| whoami(&gateway)).collect();
    assert_eq!(who.len(), 2);
    for (what, times) in [
        ("cannot look it up; what is known of it stays", 3),
        ("the name server answers: Server Failure", 1),
        ("there is no address under this name", 1),
    ] {
        let told = gateway.stderr().matches(what).count();
        assert_eq!(told, times, "{what}: {}", gateway.stderr());
    }
    names.tells(&["127.0.0.2", "127.0.0.1"]);
    looked_up(&gateway, "found", 1.0);
    assert!(gateway.stderr().contains("can be looked up again"), "{}", gateway.stderr());
    for demo in [&one, &two] {
        assert_eq!(demo.requests("initialize").len(), 1, "it is the same replica all the time");
    }
}

#[test]
fn an_upstream_whose_name_cannot_be_looked_up_begins_without_replicas_and_heals() {
    let port = free_port();
    let _one = server("127.0.0.1", port, &[]);
    let names = NameServer::start(&[]);
    names.fails();
    let others = upstream("v", "", &[demo(&[])]);
    let gateway = Gateway::start(&(behind(&names, port, "") + &others));
    replicas_up(&gateway, "v", 1);
    listed(&gateway, "v__whoami");
    let told = health(&gateway, "u");
    assert_eq!(
        (&told["status"], &told["reason"]),
        (&"unhealthy".into(), &"no address of its host name is known".into())
    );
    assert_eq!(replicas(&gateway), [""; 0]);
    // Whoever checks the configuration is told too.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, behind(&names, port, "")).unwrap();
    let check = Command::new(WAYPOST).arg("check").arg("--config").arg(&file).output().unwrap();
    let text = String::from_utf8(check.stdout).unwrap();
    let why = "no address of fleet.test is known: the name server answers: Server Failure";
    assert!(check.status.success() && text.contains(why), "{text}");
    names.tells(&["127.0.0.1"]);
    replicas_up(&gateway, "u", 1);
    listed(&gateway, "u__whoami");
    assert_eq!(whoami(&gateway), "127.0.0.1");
    // It goes down with all that there is: the tools are known, and the error says what is wrong.
    let elsewhere = behind(&names, port, "").replace(NAME, "elsewhere.test");
    assert_eq!(gateway.reload(&elsewhere), "applied");
    let (code, kind, delivery, retryable, of) =
        own_error(&Http::modern_call(&gateway.url(), "u__whoami", "{}").answer());
    assert_eq!((code, kind.as_str(), delivery.as_str()), (-31002, "unavailable", "not_sent"));
    assert!(retryable && of == "u");
}

#[test]
fn a_reload_leaves_the_addresses_that_stay_alone() {
    let port = free_port();
    let one = server("127.0.0.1", port, &["--era", "legacy"]);
    let two = server("127.0.0.2", port, &["--era", "legacy"]);
    let three = server("127.0.0.3", port, &["--era", "legacy"]);
    let names = NameServer::start(&["127.0.0.1", "127.0.0.2"]);
    let gateway = Gateway::start(&behind(&names, port, ""));
    replicas_up(&gateway, "u", 2);
    listed(&gateway, "u__whoami");
    let load = Load::start(&gateway, 2, &["u__whoami"]);
    load.goes_on(20);
    assert_eq!(gateway.reload(&behind(&names, port, "")), "unchanged");
    let more = upstream("v", "", &[demo(&[])]);
    assert_eq!(gateway.reload(&(behind(&names, port, "timeout = \"9s\"") + &more)), "applied");
    listed(&gateway, "v__whoami");
    load.goes_on(20);
    let greeted = |demo: &Demo| demo.requests("initialize").len();
    let plain = greeted(&one);
    assert_eq!((greeted(&two), greeted(&three)), (plain, 0));
    // The name goes on being looked up by the new configuration, and by one of another weight.
    let weight = behind(&names, port, "").replace("resolve", "weight = 3\nresolve");
    assert_eq!(gateway.reload(&weight), "applied");
    names.tells(&["127.0.0.1", "127.0.0.2", "127.0.0.3"]);
    replicas_up(&gateway, "u", 3);
    eventually("calls at the new one", || (!three.requests("tools/call").is_empty()).then_some(()));
    let seen = load.stop();
    assert_eq!(seen.failed, [""; 0], "after {} calls", seen.answered);
    assert_eq!((greeted(&one), greeted(&two)), (plain, plain), "the same replicas all the time");
}

#[test]
fn no_more_addresses_than_allowed_become_replicas() {
    let port = free_port();
    let _servers = ["127.0.0.1", "127.0.0.2"].map(|address| server(address, port, &[]));
    let names = NameServer::start(&["127.0.0.3", "127.0.0.2", "127.0.0.1"]);
    let text = behind(&names, port, "").replace("[dns]\n", "[dns]\naddresses_max = 2\n");
    let gateway = Gateway::start(&text);
    replicas_up(&gateway, "u", 2);
    assert_eq!(replicas(&gateway), ["0-127.0.0.1", "0-127.0.0.2"]);
    assert!(gateway.stderr().contains("left_out=1"), "{}", gateway.stderr());
    let before = names.asked();
    looked_up(&gateway, "found", 2.0);
    assert_eq!(gateway.stderr().matches("left_out").count(), 1, "told once");
    // A and AAAA each time; and nobody asks more often than configured.
    assert!((4..=8).contains(&(names.asked() - before)), "{}", names.asked() - before);
}
