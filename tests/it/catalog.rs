//! What is on offer under which names: who wins, what is hidden, what is cut, what changes, and
//! what is remembered.

use serde_json::{Value, json};

use crate::support::caller::tool;
use crate::support::toml::{demo, upstream, url};
use crate::support::{
    Caller, Demo, Era, Fake, Gateway, Http, MODERN_META, Over, StdioClient, eventually, health,
    listed, own_error,
};

fn call(gateway: &Gateway, tool: &str, arguments: &str) -> Value {
    Http::modern_call(&gateway.url(), tool, arguments).answer()
}

fn plain(names: &[&str]) -> Value {
    let tools = names.iter().map(|name| json!({"name": name, "inputSchema": {"type": "object"}}));
    tools.collect()
}

/// A server with these tools; each call says the server's name.
fn says(who: &str, names: &[&str]) -> Fake {
    Fake::legacy(plain(names), json!({"content": [{"type": "text", "text": who}]}))
}

fn said(answer: &Value) -> &str {
    let text = answer["result"]["content"][0]["text"].as_str();
    assert!(text.is_some(), "{answer}");
    text.unwrap()
}

// === collisions ===

#[test]
fn of_two_upstreams_with_one_name_the_first_in_the_configuration_wins_however_they_start() {
    for slow in ["first", "second"] {
        let delay = |name: &str| if name == slow { "slow-start=700" } else { "slow-start=0" };
        let config = format!(
            "{}{}",
            upstream(
                "first",
                "prefix = \"x\"\ntools.rename = { whoami = \"y__whoami\" }",
                &[demo(&["--name", "first", "--quirk", delay("first")])]
            ),
            upstream(
                "second",
                "prefix = \"x__y\"",
                &[demo(&["--name", "second", "--quirk", delay("second")])]
            ),
        );
        let gateway = Gateway::start(&config);
        listed(&gateway, "x__add");
        listed(&gateway, "x__y__add");
        let names = Http::tools(&gateway.url());
        assert_eq!(names.iter().filter(|name| *name == "x__y__whoami").count(), 1);
        let order = |name: &str| names.iter().position(|known| known == name).unwrap();
        assert!(order("x__add") < order("x__y__add"), "{names:?}");
        let who = call(&gateway, "x__y__whoami", "{}");
        assert_eq!(who["result"]["structuredContent"]["name"], "first", "{slow} started late");
        let text = "is left out: `x__y__whoami` is already `whoami` of upstream 0";
        eventually("the loser in the log", || gateway.stderr().contains(text).then_some(()));
    }
}

#[test]
fn a_built_in_tool_wins_over_an_upstream_without_prefix() {
    let fake = says("upstream", &["echo", "other"]);
    let gateway = Gateway::start(&upstream("u", "prefix = \"\"", &[url(&fake.url)]));
    listed(&gateway, "other");
    let answer = call(&gateway, "echo", r#"{"message":"hi"}"#);
    assert_eq!(answer["result"]["structuredContent"]["message"], "hi", "{answer}");
    assert!(fake.requests("tools/call").is_empty());
    assert!(gateway.stderr().contains("`echo`"), "{}", gateway.stderr());
}

#[test]
fn a_tool_that_one_upstream_lists_twice_is_listed_once_and_reported() {
    let fake = says("u", &["x", "x", "y"]);
    let gateway = Gateway::start(&upstream("u", "", &[url(&fake.url)]));
    listed(&gateway, "u__y");
    let names = Http::tools(&gateway.url());
    assert_eq!(names.iter().filter(|name| *name == "u__x").count(), 1, "{names:?}");
    assert!(gateway.stderr().contains("it is listed twice"), "{}", gateway.stderr());
}

#[test]
fn names_that_differ_only_in_forbidden_characters_stay_apart_and_callable() {
    let fake = says("u", &["a.b", "a/b", "a_b"]);
    let config = upstream("u", "", &[url(&fake.url)]);
    let gateway = Gateway::start(&config);
    listed(&gateway, "u__a_b");
    let names: Vec<String> =
        Http::tools(&gateway.url()).into_iter().filter(|name| name.starts_with("u__")).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    for name in &names {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        assert!(name.chars().all(allowed) && name.len() <= 48, "{name}");
        assert_eq!(said(&call(&gateway, name, "{}")), "u");
    }
    let mut called: Vec<String> = fake
        .requests("tools/call")
        .iter()
        .map(|call| call["params"]["name"].as_str().unwrap().to_owned())
        .collect();
    called.sort();
    assert_eq!(called, ["a.b", "a/b", "a_b"]);
    // Another start gives the same names.
    let again = Gateway::start(&config);
    listed(&again, "u__a_b");
    let second: Vec<String> =
        Http::tools(&again.url()).into_iter().filter(|name| name.starts_with("u__")).collect();
    assert_eq!(names, second);
}

// === names ===

#[test]
fn a_name_over_48_bytes_is_cut_with_a_stable_hash_and_is_callable() {
    let long = "a_tool_with_a_name_that_is_far_too_long_for_any_client_one";
    let other = "a_tool_with_a_name_that_is_far_too_long_for_any_client_two";
    let fake = says("u", &[long, other]);
    let gateway = Gateway::start(&upstream("u", "", &[url(&fake.url)]));
    let names = eventually("both", || {
        let names: Vec<String> =
            Http::tools(&gateway.url()).into_iter().filter(|n| n.starts_with("u__")).collect();
        (names.len() == 2).then_some(names)
    });
    for (name, original) in names.iter().zip([long, other]) {
        let full = format!("u__{original}");
        assert_eq!(name.len(), 48, "{name}");
        assert_eq!(name.get(..42), Some(format!("{}_", full.get(..41).unwrap()).as_str()));
        assert!(name.get(42..).unwrap().chars().all(|c| c.is_ascii_hexdigit()), "{name}");
        assert_eq!(said(&call(&gateway, name, "{}")), "u");
        assert_eq!(fake.requests("tools/call").last().unwrap()["params"]["name"], original);
        assert_eq!(call(&gateway, &full, "{}")["error"]["code"], -32602, "the whole name is none");
    }
    assert_ne!(names[0], names[1]);
}

#[test]
fn names_are_looked_up_and_never_split() {
    let fake = says("inner", &["a__b", "__c", "d__"]);
    let config = format!(
        "{}{}",
        upstream("u", "", &[url(&fake.url)]),
        upstream("a", "prefix = \"a\"", &[demo(&[])])
    );
    let gateway = Gateway::start(&config);
    for name in ["a__b", "__c", "d__"] {
        let exposed = format!("u__{name}");
        listed(&gateway, &exposed);
        assert_eq!(said(&call(&gateway, &exposed, "{}")), "inner");
        assert_eq!(fake.requests("tools/call").last().unwrap()["params"]["name"], name);
    }
    assert_eq!(call(&gateway, "a__b", "{}")["error"]["code"], -32602);
}

#[test]
fn an_upstream_without_prefix_gets_names_that_it_never_listed() {
    for era in [Era::Legacy, Era::Modern] {
        let fake = says("u", &["shown"]);
        let config = upstream("u", "prefix = \"\"", &[url(&fake.url)]);
        let mut client = Caller::start(era, Over::Http, &config);
        assert!(tool(&client.list(), "shown").is_some());
        assert_eq!(said(&client.call("hidden", "{}")), "u");
        assert_eq!(fake.requests("tools/call")[0]["params"]["name"], "hidden");
    }
    // Its own error for a name that it does not know passes.
    let config = upstream("u", "prefix = \"\"", &[demo(&["--era", "legacy"])]);
    let mut client = Caller::start(Era::Modern, Over::Stdio, &config);
    let wanted = json!({"code": -32602, "message": "Unknown tool: nobody"});
    assert_eq!(client.call("nobody", "{}")["error"], wanted);
}

#[test]
fn a_call_right_after_the_start_waits_for_the_tool_to_be_known() {
    // Without the wait the name would go to the upstream that takes any name, or to nobody.
    let fake = says("wrong", &["other"]);
    let config = format!(
        "{}{}",
        upstream("all", "prefix = \"\"", &[url(&fake.url)]),
        upstream("u", "", &[demo(&["--name", "right", "--quirk", "slow-start=300"])])
    );
    let gateway = Gateway::start(&config);
    let who = call(&gateway, "u__whoami", "{}");
    assert_eq!(who["result"]["structuredContent"]["name"], "right", "{who}");
    assert!(fake.requests("tools/call").is_empty());
}

// === what is hidden ===

const CHOSEN: &str = r#"
tools.include = ["who*", "add", "sleep", "grow"]
tools.exclude = ["sl*"]
tools.rename = { add = "plus" }
tools.describe = { whoami = "Tells who is there." }
"#;

#[test]
fn what_the_configuration_hides_renames_and_describes_is_so_in_both_eras() {
    for era in [Era::Legacy, Era::Modern] {
        for over in [Over::Stdio, Over::Http] {
            let mut client = Caller::start(era, over, &upstream("u", CHOSEN, &[demo(&[])]));
            let list = client.list();
            let names: Vec<&str> = list["tools"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(|tool| tool["name"].as_str()?.strip_prefix("u__"))
                .collect();
            assert_eq!(names, ["whoami", "plus", "grow"], "{era:?}");
            let whoami = tool(&list, "u__whoami").unwrap();
            assert_eq!(whoami["description"], "Tells who is there.");

            let sum = client.call("u__plus", r#"{"a":1,"b":2}"#);
            assert_eq!(sum["result"]["structuredContent"]["sum"], 3);
            let old = client.call("u__add", r#"{"a":1,"b":2}"#);
            assert_eq!(old["error"]["code"], -32602, "{old}");
            for hidden in ["u__sleep", "u__fail", "u__append"] {
                let answer = client.call(hidden, "{}");
                let wanted = (-31006, "denied".into(), "not_sent".into(), false, "u".into());
                assert_eq!(own_error(&answer), wanted, "{era:?} {hidden}: {answer}");
            }
        }
    }
}

#[test]
fn what_is_hidden_of_an_upstream_without_prefix_is_not_reached_by_its_bare_name() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.jsonl");
    let replica = demo(&["--journal", journal.to_str().unwrap()]);
    let keys = format!("prefix = \"\"\n{CHOSEN}");
    let gateway = Gateway::start(&upstream("u", &keys, &[replica]));
    listed(&gateway, "plus");
    let answer = call(&gateway, "append", r#"{"line":"x"}"#);
    assert_eq!(own_error(&answer).0, -31006, "{answer}");
    assert_eq!(call(&gateway, "add", r#"{"a":1,"b":2}"#)["error"]["code"], -32602);
    // A name that no filter lets through is not forwarded either.
    assert!(call(&gateway, "never_listed", "{}")["error"].is_object());
    assert!(crate::support::process::received(&journal).is_empty());
}

// === what changes ===

#[test]
fn a_list_that_grows_reaches_clients_from_every_kind_of_upstream() {
    for era in ["legacy", "modern"] {
        for over_http in [false, true] {
            let server = Demo::start(&["--era", era]);
            let replica = if over_http { url(&server.url) } else { demo(&["--era", era]) };
            let mut pipe = StdioClient::start(&upstream("u", "", &[replica]));
            pipe.handshake("2025-11-25");
            let list = |pipe: &mut StdioClient| {
                pipe.ask(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#)["result"].clone()
            };
            assert!(tool(&list(&mut pipe), "u__whoami").is_some());
            pipe.send(r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"u__grow","arguments":{}}}"#);
            // The first thing told may be that the upstream came up.
            let mut told = false;
            while !told || tool(&list(&mut pipe), "u__extra_1").is_none() {
                told = pipe.next()["method"] == "notifications/tools/list_changed";
            }
            let called = pipe.ask(&format!(
                r#"{{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{{"name":"u__extra_1","arguments":{{}},{MODERN_META}}}}}"#
            ));
            assert_eq!(said(&called), "extra_1");
        }
    }
}

#[test]
fn a_page_of_an_upstream_is_not_the_whole_list() {
    let replica = demo(&["--tools", "250", "--page-size", "7"]);
    let gateway = Gateway::start(&upstream("u", "", &[replica]));
    listed(&gateway, "u__tool_0250");
    let names = Http::tools(&gateway.url());
    let wanted: Vec<String> = (1..=250).map(|n| format!("u__tool_{n:04}")).collect();
    let got: Vec<&String> = names.iter().filter(|name| name.starts_with("u__tool_")).collect();
    assert_eq!(got, wanted.iter().collect::<Vec<_>>());
}

// === what is remembered ===

#[test]
fn after_a_restart_with_the_upstream_down_its_tools_are_listed_and_a_call_says_so() {
    let cache = tempfile::tempdir().unwrap();
    let mut server = Demo::start(&[]);
    let config = format!(
        "[catalog]\ncache_dir = {:?}\n{}",
        cache.path(),
        upstream("u", "timeout = \"1s\"", &[url(&server.url)])
    );
    let first = Gateway::start(&config);
    listed(&first, "u__whoami");
    let before = Http::tools(&first.url());
    eventually("the cache on disk", || std::fs::read_dir(cache.path()).unwrap().next().map(|_| ()));
    assert_eq!(first.terminate(), 0);
    server.kill();

    let second = Gateway::start(&config);
    assert_eq!(Http::tools(&second.url()), before, "the first list has them");
    for _ in 0..2 {
        let answer = call(&second, "u__whoami", "{}");
        let wanted = (-31002, "unavailable".into(), "not_sent".into(), true, "u".into());
        assert_eq!(own_error(&answer), wanted, "{answer}");
    }
    assert_eq!(health(&second, "u")["status"], "unhealthy");
}

#[test]
fn the_tools_of_an_upstream_that_went_away_stay_listed() {
    let mut server = Demo::start(&[]);
    let gateway = Gateway::start(&upstream("u", "timeout = \"1s\"", &[url(&server.url)]));
    listed(&gateway, "u__whoami");
    server.kill();
    call(&gateway, "u__whoami", "{}");
    eventually("its end to be noticed", || {
        (health(&gateway, "u")["status"] == "unhealthy").then_some(())
    });
    assert!(Http::tools(&gateway.url()).contains(&"u__whoami".to_owned()));
}

#[test]
fn without_the_cache_nothing_is_remembered() {
    let mut server = Demo::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "[catalog]\ncache = false\ncache_dir = {:?}\n{}",
        folder.path(),
        upstream("u", "", &[url(&server.url)])
    );
    let first = Gateway::start(&config);
    listed(&first, "u__whoami");
    assert_eq!(first.terminate(), 0);
    server.kill();
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
    let second = Gateway::start(&config);
    assert!(!Http::tools(&second.url()).contains(&"u__whoami".to_owned()));
}
