//! What stands in for a tool while its upstream is away: each step, their order, and what never
//! happens: a write that may have run is run nowhere else, and nobody gets another's result.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use waypost::base::clock;

use crate::support::keyed::{ALICE, BOB, Shower, gateway_with};
use crate::support::process::{WAYPOST, free_port, received};
use crate::support::toml::{demo, upstream, url};
use crate::support::upstream::config;
use crate::support::{
    Demo, Gateway, Http, PATIENCE, Session, eventually, listed, metric, own_error, replicas_up,
};

const DEGRADED: &str = "dev.waypost/degraded";

fn call(gateway: &Gateway, tool: &str, arguments: &str) -> Value {
    Http::modern_call(&gateway.url(), tool, arguments).answer()
}

fn mark(answer: &Value) -> &Value {
    &answer["result"]["_meta"][DEGRADED]
}

fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_default()
}

fn steps(gateway: &Gateway, step: &str) -> f64 {
    metric(gateway, &format!(r#"mcp_fallbacks_total{{upstream="u",step="{step}"}}"#))
}

/// An upstream u behind a URL, and one beside it, b, with a child or a URL.
fn pair(u: &str, keys: &str, fallbacks: &str, b: &str) -> String {
    let u = upstream("u", &format!("trust_annotations = true\n{keys}"), &[url(u)]);
    let b = upstream("b", "trust_annotations = true", &[b.to_owned()]);
    config(&format!("{u}{fallbacks}{b}"))
}

fn down(gateway: &Gateway) {
    eventually("u to be down", || {
        (metric(gateway, r#"mcp_upstream_up{upstream="u",replica="0"}"#) < 0.5).then_some(())
    });
}

#[test]
fn the_steps_are_taken_in_their_order_and_each_says_so() {
    let port = free_port();
    let mut u = Demo::start_on(port, &["--name", "u"]);
    let mut b = Demo::start(&["--name", "b"]);
    let table = "[upstreams.u.fallback.echo_args]\ntool = \"b__echo_args\"\ncached = \"10m\"\n\
                 text = \"Nobody is there.\"\narguments = { query = \"q\" }\n\
                 constants = { lang = \"en\" }\n";
    let effect = "tools.effect = { echo_args = \"read_only\" }";
    let gateway = Gateway::start(&pair(&u.url, effect, table, &url(&b.url)));
    listed(&gateway, "u__echo_args");
    listed(&gateway, "b__echo_args");

    let given = r#"{"query": 1.0}"#;
    let fresh = call(&gateway, "u__echo_args", given);
    assert_eq!((text(&fresh), mark(&fresh)), (given, &Value::Null), "{fresh}");

    u.kill();
    let other = call(&gateway, "u__echo_args", given);
    assert_eq!(text(&other), r#"{"lang":"en","q": 1.0}"#, "{other}");
    assert_eq!(*mark(&other), json!({ "source": "tool", "tool": "b__echo_args" }));
    assert_eq!(other["id"], 1);

    b.kill();
    let kept = call(&gateway, "u__echo_args", given);
    assert_eq!(text(&kept), given, "{kept}");
    assert_eq!(mark(&kept)["source"], "cache");
    assert!(mark(&kept)["ageMs"].as_u64().is_some_and(|age| age < 60_000), "{kept}");

    // Other bytes, another call.
    let said = call(&gateway, "u__echo_args", r#"{"query":1.0}"#);
    assert_eq!(text(&said), "Nobody is there.", "{said}");
    assert_eq!(*mark(&said), json!({ "source": "static" }));
    assert_eq!(said["result"]["resultType"], "complete");
    assert_eq!(said["result"]["isError"], false, "{said}");

    let session = Http::legacy_session(&gateway.url(), "2025-06-18");
    let legacy = Http::legacy_call(&gateway.url(), &session, "u__echo_args", given).answer();
    assert_eq!((text(&legacy), &mark(&legacy)["source"]), (given, &json!("cache")), "{legacy}");
    assert_eq!(legacy["result"].get("resultType"), None, "{legacy}");

    let told = ["tool", "cache", "static", "none"].map(|step| steps(&gateway, step));
    assert_eq!(told.map(|count| format!("{count}")), ["1", "2", "1", "0"]);
    let good = r#"mcp_requests_total{tool_name="u__echo_args",status="success"}"#;
    assert!((metric(&gateway, good) - 1.0).abs() < 0.1, "only the fresh answer was one");
    let answered = r#"mcp_upstream_requests_total{upstream="u",replica="0",outcome="answered"}"#;
    assert!((metric(&gateway, answered) - 1.0).abs() < 0.1);

    // It is back: fresh answers at once.
    let _u = Demo::start_on(port, &["--name", "u"]);
    replicas_up(&gateway, "u", 1);
    let fresh = call(&gateway, "u__echo_args", given);
    assert_eq!((text(&fresh), mark(&fresh)), (given, &Value::Null), "{fresh}");
}

#[test]
fn without_a_step_that_helps_the_error_is_the_honest_one() {
    let mut u = Demo::start(&[]);
    let table = "[upstreams.u.fallback.whoami]\ntool = \"b__nothing\"\ncached = \"1m\"\n";
    let gateway = Gateway::start(&pair(&u.url, "", table, &demo(&[])));
    listed(&gateway, "u__whoami");
    listed(&gateway, "b__whoami");
    u.kill();
    down(&gateway);
    let answer = call(&gateway, "u__whoami", "{}");
    let wanted = (-31002, "unavailable".into(), "not_sent".into(), true, "u".into());
    assert_eq!(own_error(&answer), wanted, "{answer}");
    assert!((steps(&gateway, "none") - 1.0).abs() < 0.1);
    // A tool without a fallback counts nowhere.
    assert_eq!(own_error(&call(&gateway, "u__progress", "{}")), wanted);
    assert!((steps(&gateway, "none") - 1.0).abs() < 0.1);
}

#[test]
fn what_a_tool_answers_is_its_answer() {
    let u = Demo::start(&[]);
    let table = ["fail", "add"].map(|tool| {
        format!("[upstreams.u.fallback.{tool}]\ntool = \"b__whoami\"\ntext = \"Down.\"\n")
    });
    let gateway = Gateway::start(&pair(&u.url, "", &table.concat(), &demo(&[])));
    listed(&gateway, "u__fail");
    listed(&gateway, "b__whoami");
    for (tool, arguments) in [("u__fail", "{}"), ("u__add", "{}"), ("u__add", r#"{"a":"x"}"#)] {
        let answer = call(&gateway, tool, arguments);
        assert!(!answer.to_string().contains(DEGRADED), "{answer}");
        assert!(!text(&answer).contains("Down."), "{answer}");
    }
    for step in ["tool", "static", "none"] {
        assert!(steps(&gateway, step) < 0.1, "{step}");
    }
}

fn lines(file: &Path) -> Vec<Value> {
    received(file)
}

fn kill(pid: &str) {
    assert!(Command::new("kill").args(["-9", pid]).status().unwrap().success());
}

/// `append` at u and b, each with a journal of its runs.
fn writers(quirk: &[&str], folder: &Path) -> String {
    let with = |name: &str, more: &[&str]| {
        let journal = folder.join(name);
        demo(&[more, &["--name", name, "--journal", journal.to_str().unwrap()]].concat())
    };
    let table = "[upstreams.u.fallback.append]\ntool = \"b__append\"\ntext = \"Closed.\"\n";
    let u = upstream("u", "trust_annotations = true", &[with("u", quirk)]);
    let b = upstream("b", "trust_annotations = true", &[with("b", &[])]);
    config(&format!("{u}{table}{b}"))
}

#[test]
fn a_write_that_may_have_run_runs_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    // It runs the tool and answers under another id, so the call waits until the child is killed.
    let gateway = Gateway::start(&writers(&["--quirk", "wrong-id"], folder.path()));
    listed(&gateway, "u__append");
    listed(&gateway, "b__append");
    let url = gateway.url();
    let waiting = std::thread::spawn(move || {
        Http::modern_call(&url, "u__append", r#"{"line":"x"}"#).answer()
    });
    let run = eventually("the run", || lines(&folder.path().join("u")).pop());
    kill(&run["pid"].to_string());
    let answer = waiting.join().unwrap();
    let wanted = (-31003, "delivery_unknown".into(), "unknown".into(), false, "u".into());
    assert_eq!(own_error(&answer), wanted, "{answer}");
    assert_eq!(lines(&folder.path().join("u")).len(), 1, "it ran exactly once");
    assert_eq!(lines(&folder.path().join("b")), [Value::Null; 0], "and nowhere else");
    assert!((steps(&gateway, "none") - 1.0).abs() < 0.1);
}

/// A gateway whose `u__append` has `b__append` to stand in for it, and whose `u` has just gone.
fn without_the_first(server: &mut Demo, b: &str) -> Gateway {
    let table = "[upstreams.u.fallback.append]\ntool = \"b__append\"\ntext = \"Closed.\"\n";
    let gateway = Gateway::start(&pair(&server.url, "", table, b));
    listed(&gateway, "u__append");
    listed(&gateway, "b__append");
    server.kill();
    down(&gateway);
    gateway
}

#[test]
fn a_write_that_was_not_sent_may_run_elsewhere_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Demo::start(&[]);
    let journal = folder.path().join("b");
    let b = demo(&["--journal", journal.to_str().unwrap()]);
    let gateway = without_the_first(&mut server, &b);
    let answer = call(&gateway, "u__append", r#"{"line":"x"}"#);
    assert_eq!(mark(&answer)["source"], "tool", "{answer}");
    let runs = lines(&journal);
    assert_eq!(runs.len(), 1, "{runs:?}");
}

#[test]
fn a_write_that_may_have_run_at_the_other_tool_is_no_call_that_was_not_sent() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Demo::start(&[]);
    let journal = folder.path().join("b");
    let b = demo(&["--quirk", "wrong-id", "--journal", journal.to_str().unwrap()]);
    let gateway = without_the_first(&mut server, &b);
    let url = gateway.url();
    let waiting = std::thread::spawn(move || {
        Http::modern_call(&url, "u__append", r#"{"line":"x"}"#).answer()
    });
    let run = eventually("the run", || lines(&journal).pop());
    kill(&run["pid"].to_string());
    let answer = waiting.join().unwrap();
    let wanted = (-31003, "delivery_unknown".into(), "unknown".into(), false, "b".into());
    assert_eq!(own_error(&answer), wanted, "{answer}");
    assert_eq!(answer["error"]["data"][DEGRADED]["tool"], "b__append", "{answer}");
    assert_eq!(lines(&journal).len(), 1);
}

#[test]
fn a_text_for_a_write_is_an_error_of_the_tool() {
    let mut u = Demo::start(&[]);
    let tables = "[upstreams.u.fallback.append]\ntext = \"Closed.\"\n\
                  [upstreams.u.fallback.whoami]\ntext = \"Nobody.\"\n";
    let gateway = Gateway::start(&pair(&u.url, "", tables, &demo(&[])));
    listed(&gateway, "u__append");
    u.kill();
    down(&gateway);
    let answer = call(&gateway, "u__append", r#"{"line":"x"}"#);
    assert_eq!((text(&answer), &answer["result"]["isError"]), ("Closed.", &json!(true)));
    // Clients hold its results against a schema, and a text has none.
    let answer = call(&gateway, "u__whoami", "{}");
    assert_eq!((text(&answer), &answer["result"]["isError"]), ("Nobody.", &json!(true)));
}

#[test]
fn a_call_that_stands_in_has_nothing_that_stands_in_for_it() {
    let mut u = Demo::start(&["--name", "u"]);
    let mut b = Demo::start(&["--name", "b"]);
    let c = upstream("c", "", &[demo(&["--name", "c"])]);
    let tables = "[upstreams.u.fallback.whoami]\ntool = \"b__whoami\"\n";
    let chained = "[upstreams.b.fallback.whoami]\ntool = \"c__whoami\"\n";
    let text = format!("{}{chained}{c}", pair(&u.url, "", tables, &url(&b.url)));
    let gateway = Gateway::start(&text);
    for tool in ["u__whoami", "b__whoami", "c__whoami"] {
        listed(&gateway, tool);
    }
    u.kill();
    b.kill();
    let answer = call(&gateway, "u__whoami", "{}");
    assert_eq!(answer["error"]["code"], -31002, "{answer}");
    let answer = call(&gateway, "b__whoami", "{}");
    assert_eq!(mark(&answer)["tool"], "c__whoami", "{answer}");
}

#[test]
fn nobody_gets_the_result_of_another() {
    let mut u = Demo::start(&[]);
    let upstream = upstream("u", "trust_annotations = true", &[url(&u.url)]);
    let table = "[upstreams.u.fallback.whoami]\ncached = \"10m\"\n";
    let gateway = gateway_with("", &format!("{upstream}{table}"), &[]);
    let (alice, bob) = (Shower::of(&gateway, ALICE), Shower::of(&gateway, BOB));
    eventually("the tools", || {
        alice.modern("tools/list", None, "").body.contains("u__whoami").then_some(())
    });
    let hers = alice.call("u__whoami", "{}").answer();
    assert!(hers["result"]["structuredContent"].is_object(), "{hers}");
    u.kill();
    let kept = alice.call("u__whoami", "{}").answer();
    assert_eq!(mark(&kept)["source"], "cache", "{kept}");
    assert_eq!(kept["result"]["structuredContent"], hers["result"]["structuredContent"]);
    for _ in 0..2 {
        let his = bob.call("u__whoami", "{}").answer();
        assert_eq!(his["error"]["code"], -31002, "{his}");
    }
}

#[test]
fn only_good_results_of_tools_that_read_are_kept() {
    let mut u = Demo::start(&[]);
    let tables = ["fail", "add", "sleep"]
        .map(|tool| format!("[upstreams.u.fallback.{tool}]\ncached = \"10m\"\n"));
    let effect = "tools.effect = { fail = \"read_only\" }";
    let gateway = Gateway::start(&pair(&u.url, effect, &tables.concat(), &demo(&[])));
    listed(&gateway, "u__fail");
    let calls = [
        ("u__fail", r#"{"how":"is_error"}"#, None),
        ("u__add", r#"{"a":1,"b":2}"#, None), // it is only idempotent
        ("u__sleep", r#"{"ms":1}"#, Some("cache")),
    ];
    for (tool, arguments, _) in calls {
        call(&gateway, tool, arguments);
    }
    u.kill();
    for (tool, arguments, source) in calls {
        let answer = call(&gateway, tool, arguments);
        assert_eq!(mark(&answer)["source"].as_str(), source, "{tool} {answer}");
    }
}

#[test]
fn the_bounds_of_the_cache_follow_the_configuration() {
    let mut u = Demo::start(&[]);
    let table = "[upstreams.u.fallback.echo_args]\ncached = \"10m\"\n";
    let effect = "tools.effect = { echo_args = \"read_only\" }";
    let text = pair(&u.url, effect, table, &demo(&[]));
    let gateway = Gateway::start(&format!("{text}[fallback]\ncache_entry_bytes = 1024\n"));
    listed(&gateway, "u__echo_args");
    let large = format!(r#"{{"x":"{}"}}"#, "y".repeat(600));
    let all = [large.as_str(), r#"{"x":1}"#, r#"{"x":2}"#];
    let sources = || {
        all.map(|arguments| {
            let answer = call(&gateway, "u__echo_args", arguments);
            mark(&answer)["source"].as_str().map(str::to_owned)
        })
    };
    assert_eq!(sources(), [None, None, None], "fresh");
    u.kill();
    let cache = || Some("cache".to_owned());
    assert_eq!(sources(), [None, cache(), cache()], "the large one was not kept");
    assert_eq!(gateway.reload(&format!("{text}[fallback]\ncache_entries = 1\n")), "applied");
    assert_eq!(sources(), [None, None, cache()], "the last one is left");
}

#[test]
fn a_trace_names_the_steps() {
    let mut u = Demo::start(&[]);
    let table = "[upstreams.u.fallback.whoami]\ntool = \"b__whoami\"\n";
    let text = pair(&u.url, "", table, &demo(&["--name", "bee"]));
    let gateway = Gateway::start(&text);
    listed(&gateway, "u__whoami");
    listed(&gateway, "b__whoami");
    u.kill();
    down(&gateway);
    let mut command = Command::new(WAYPOST);
    command.args(["call", "u__whoami", "--trace", "--url", &gateway.url()]);
    let ended = command.output().unwrap();
    let trace = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(trace.contains("fallback, tool b__whoami: answered"), "{trace}");
    assert!(String::from_utf8_lossy(&ended.stdout).contains("bee"));
    let ended = command.arg("--json").output().unwrap();
    let answer: Value = serde_json::from_slice(&ended.stdout).unwrap();
    let text = answer.to_string();
    assert!(text.contains(DEGRADED) && text.contains(r#""step":"tool""#), "{answer}");
    assert!(text.contains(r#""replica":"0""#), "the other's own tries: {answer}");
}

#[test]
fn a_tool_that_was_not_heard_of_since_the_start_is_stood_in_for() {
    let dead = format!("http://127.0.0.1:{}/mcp", free_port());
    let table = "[upstreams.u.fallback.whoami]\ntool = \"b__whoami\"\n";
    let gateway = Gateway::start(&pair(&dead, "", table, &demo(&["--name", "bee"])));
    listed(&gateway, "b__whoami");
    let answer = call(&gateway, "u__whoami", "{}");
    assert_eq!(mark(&answer)["tool"], "b__whoami", "{answer}");
    assert_eq!(call(&gateway, "u__add", "{}")["error"]["code"], -31002);
}

/// A modern call of a client that can be asked; `more` are further members of its parameters.
fn able_call(gateway: &Gateway, tool: &str, more: &str) -> Value {
    let params = format!(r#""name":"{tool}","arguments":{{}}{more}"#);
    let (headers, body) = Http::modern_parts("1", "tools/call", Some(tool), &params);
    let body = body.replace(r#"Capabilities":{}"#, r#"Capabilities":{"elicitation":{}}"#);
    Http::post(&gateway.url(), &headers, &body).answer()
}

#[test]
fn what_was_asked_and_answered_is_kept_for_nobody() {
    let mut u = Demo::start(&["--quirk", "ask"]);
    let table = "[upstreams.u.fallback.ask]\ncached = \"10m\"\n";
    let effect = "tools.effect = { ask = \"read_only\" }";
    let gateway = Gateway::start(&pair(&u.url, effect, table, &demo(&[])));
    listed(&gateway, "u__ask");
    let first = able_call(&gateway, "u__ask", "");
    assert_eq!(first["result"]["resultType"], "input_required", "{first}");
    let answers = format!(
        r#","inputResponses":{{"word":{{"action":"accept","content":{{"word":"x"}}}}}},"requestState":{}"#,
        first["result"]["requestState"]
    );
    let second = able_call(&gateway, "u__ask", &answers);
    assert_eq!(second["result"]["structuredContent"]["action"], "accept", "{second}");

    u.kill();
    down(&gateway);
    for more in ["", answers.as_str()] {
        let answer = able_call(&gateway, "u__ask", more);
        assert_eq!(answer["error"]["code"], -31002, "{answer}");
    }
}

#[test]
fn what_was_asked_in_the_middle_of_a_call_is_kept_for_nobody() {
    let mut u = Demo::start(&["--quirk", "ask", "--era", "legacy"]);
    let table = "[upstreams.u.fallback.ask]\ncached = \"10m\"\n";
    let effect = "tools.effect = { ask = \"read_only\" }";
    let gateway = Gateway::start(&pair(&u.url, effect, table, &demo(&[])));
    listed(&gateway, "u__ask");
    let session = Session::open(&gateway, r#"{"elicitation":{}}"#);
    let mut open = session.start("7", "u__ask");
    let question = open.message().unwrap();
    assert_eq!(question["method"], "elicitation/create", "{question}");
    session.answer(&question, &json!({ "result": { "action": "decline" } }));
    let told = open.rest();
    assert_eq!(told[0]["result"]["structuredContent"]["action"], "decline", "{told:?}");

    u.kill();
    down(&gateway);
    let answer = session.call("u__ask", "{}").answer();
    assert_eq!(answer["error"]["code"], -31002, "{answer}");
}

#[test]
fn a_tool_that_wants_to_ask_does_not_stand_in() {
    let mut u = Demo::start(&[]);
    let table = "[upstreams.u.fallback.echo_args]\ntool = \"b__ask\"\ntext = \"Nobody.\"\n";
    let gateway = Gateway::start(&pair(&u.url, "", table, &demo(&["--quirk", "ask"])));
    listed(&gateway, "u__echo_args");
    listed(&gateway, "b__ask");
    u.kill();
    down(&gateway);
    let answer = able_call(&gateway, "u__echo_args", "");
    assert_eq!(mark(&answer)["source"], "static", "{answer}");
}

#[test]
fn a_call_that_has_told_its_client_something_begins_nowhere_anew() {
    let mut u = Demo::start(&[]);
    let table = "[upstreams.u.fallback.progress]\ntool = \"b__progress\"\ntext = \"Broken.\"\n";
    let effect = "tools.effect = { progress = \"read_only\" }";
    let b = Demo::start(&[]);
    let gateway = Gateway::start(&pair(&u.url, effect, table, &url(&b.url)));
    listed(&gateway, "u__progress");
    listed(&gateway, "b__progress");
    let params = r#""name":"u__progress","arguments":{"steps":1000,"delay_ms":50}"#;
    let (headers, body) = Http::modern_parts("1", "tools/call", Some("u__progress"), params);
    let body = body.replace(r#""_meta":{"#, r#""_meta":{"progressToken":"p","#);
    let mut open = Http::open(&gateway.url(), &headers, &body);
    let told = open.message().unwrap();
    assert_eq!(told["method"], "notifications/progress", "{told}");
    u.kill();
    let rest = open.rest();
    let answer = rest.last().unwrap();
    assert_eq!(mark(answer)["source"], "static", "{answer}");
    assert!(b.requests("tools/call").is_empty());
}

#[test]
fn a_call_that_stands_in_has_the_time_that_was_left_to_the_first_one() {
    let mut u = Demo::start(&[]);
    let b = Demo::start(&["--delay", "60000"]);
    let tables = ["whoami", "append"].map(|tool| {
        format!("[upstreams.u.fallback.{tool}]\ntool = \"b__{tool}\"\ntext = \"Late.\"\n")
    });
    let keys = "timeout_max = \"1s\"";
    let gateway = Gateway::start(&pair(&u.url, keys, &tables.concat(), &url(&b.url)));
    listed(&gateway, "u__append");
    listed(&gateway, "b__append");
    u.kill();
    down(&gateway);
    let began = clock::now();
    let answer = call(&gateway, "u__whoami", "{}");
    assert_eq!(mark(&answer)["source"], "static", "{answer}");
    // It has gone out to b, and may run there.
    let answer = call(&gateway, "u__append", r#"{"line":"x"}"#);
    let error = &answer["error"];
    assert_eq!((&error["code"], &error["data"]["delivery"]), (&json!(-31004), &json!("unknown")));
    assert!(began.elapsed() < PATIENCE, "not as long as b takes");
}

#[test]
fn nothing_stands_in_for_what_a_tool_of_the_gateway_calls_as_a_stand_in() {
    let mut u = Demo::start(&[]);
    let table = "[upstreams.u.fallback.whoami]\ntool = \"gateway_aggregate\"\n";
    let text = pair(&u.url, "", table, &demo(&[]));
    let on = text.replace("[tools.gateway]\nenabled = false", "[tools.gateway]\nenabled = true");
    let gateway = Gateway::start(&on);
    listed(&gateway, "u__whoami");
    u.kill();
    down(&gateway);
    let arguments = r#"{"tool":"u__whoami","arguments_list":[{}]}"#;
    let answer = call(&gateway, "u__whoami", arguments);
    assert_eq!(mark(&answer)["tool"], "gateway_aggregate", "{answer}");
    assert_eq!(answer.to_string().matches(DEGRADED).count(), 1, "{answer}");
    assert!((steps(&gateway, "tool") - 1.0).abs() < 0.1);
}

#[test]
fn check_tells_of_tools_that_nobody_has() {
    let u = Demo::start(&[]);
    let tables = "[upstreams.u.fallback.nothing]\ntext = \"x\"\n\
                  [upstreams.u.fallback.whoami]\ntool = \"b__nobody\"\n\
                  [upstreams.u.fallback.add]\ntool = \"b__add\"\n";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, pair(&u.url, "", tables, &demo(&[]))).unwrap();
    let mut command = Command::new(WAYPOST);
    command.args(["check", "--config"]).arg(&file).env("XDG_CACHE_HOME", folder.path());
    let ended = command.output().unwrap();
    let text = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert_eq!(ended.status.code(), Some(0), "{text}");
    for (key, what) in [
        ("fallback.nothing", "its server has no tool of this name"),
        ("fallback.whoami.tool", "no tool has the name \"b__nobody\" now"),
    ] {
        assert!(text.contains(&format!("upstreams.u.{key}: {what}")), "{text}");
    }
    assert_eq!(text.matches("fallback").count(), 2, "{text}");
}
