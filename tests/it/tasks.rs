//! Calls of tools that run as tasks: between legacy peers (2025-11-25, basic/utilities/tasks), between
//! modern ones (the tasks extension, SEP-2663), and tools that run only as a task for clients of the
//! other era, or without tasks.

use serde_json::json;

use crate::support::client::Open;
use crate::support::hearer::{Hearer, call_of};
use crate::support::keyed::{ALICE, BOB, Shower, gateway};
use crate::support::peer::{no_method, result, text};
use crate::support::session::{Session, call};
use crate::support::upstream::config;
use crate::support::worker::{RELATED, TASKS, about, legacy, legacy_state, modern, with};
use crate::support::{Era, Http, MODERN_META, Over, Peer, eventually, replicas_up};

/// What a modern client declares that follows tasks.
const FOLLOWS: &str = r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;

// === between legacy peers ===

fn as_task(tool: &str) -> String {
    format!(r#"{},"task":{{"ttl":60000}}"#, call_of(tool, "{}"))
}

#[test]
fn a_legacy_client_follows_the_task_of_a_legacy_server() {
    for (way, path) in [
        (Over::Http, Over::Stdio),
        (Over::Stdio, Over::Http),
        (Over::Http, Over::Http),
        (Over::Stdio, Over::Stdio),
    ] {
        let peer = legacy(path, "one");
        let config = config(&peer.tables("u", ""));
        let mut client = Hearer::start(Era::Legacy, way, &config, "{}");
        let listed = client.ask("tools/list", "");
        let tools = listed.result()["tools"].as_array().unwrap().clone();
        let support = |name: &str| {
            let tool = tools.iter().find(|tool| tool["name"] == name).unwrap();
            tool["execution"]["taskSupport"].as_str().unwrap().to_owned()
        };
        // The gateway follows the task for whoever has none.
        assert_eq!((support("u__may"), support("u__must")), ("optional".into(), "optional".into()));
        assert_eq!(support("u__never"), "forbidden");

        let made = client.ask("tools/call", &as_task("u__must"));
        let made = made.result();
        assert_eq!(made["_meta"]["k"], "one", "the rest is the server's own");
        assert_eq!(made["task"]["ttl"], 60_000);
        let task = made["task"]["taskId"].clone();
        let name = task.as_str().unwrap();
        assert!(name.starts_with("wt1.") && name.len() > 60, "nobody guesses {name}");
        let sent = peer.called("must", 1);
        assert_eq!(sent[0].message["params"]["task"]["ttl"], 60_000);

        let state = client.ask("tasks/get", &about(&task));
        assert_eq!(state.result(), &with(legacy_state("working"), &json!({"taskId": task})));
        let list = client.ask("tasks/list", "");
        assert_eq!(list.result()["tasks"], json!([state.result()]));
        assert_eq!(list.result().get("nextCursor"), None);

        let waits = client.begin("tasks/result", &about(&task), "");
        peer.first("tasks/result");
        peer.say("done");
        let end = client.finish(waits, &mut |question| panic!("asked: {question}"));
        assert_eq!(end.result()["content"][0]["text"], "one is done ");
        assert_eq!(end.result()["_meta"][RELATED]["taskId"], task);
        let cancelled = client.ask("tasks/cancel", &about(&task));
        assert_eq!(cancelled.result()["status"], "cancelled");
        assert_eq!(cancelled.result()["taskId"], task);
        // The server knows it by its own name, and by no other.
        for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
            for heard in peer.heard(method) {
                assert_eq!(heard.message["params"]["taskId"], "t", "{method}");
            }
        }
        assert!(peer.heard("tasks/list").is_empty(), "it would list those of others too");
    }
}

#[test]
fn a_waiting_client_is_asked_what_its_task_asks() {
    let peer = legacy(Over::Http, "one");
    let config = config(&peer.tables("u", ""));
    let able = r#"{"elicitation":{}}"#;
    let mut client = Hearer::start(Era::Legacy, Over::Stdio, &config, able);
    let made = client.ask("tools/call", &as_task("u__asking"));
    let task = made.result()["task"]["taskId"].clone();
    peer.say("ask");
    peer.say("done");
    let waits = client.begin("tasks/result", &about(&task), "");
    let end = client.finish(waits, &mut |question| {
        assert_eq!(question["params"]["_meta"][RELATED]["taskId"], task, "its own name of it");
        json!({"action": "accept", "content": {"name": "ann"}, "_meta": {RELATED: {"taskId": task}}})
    });
    assert_eq!(end.result()["content"][0]["text"], r#"one is done "ann""#);
    assert_eq!(end.questions.len(), 1);
    let answer = peer.answered(&json!("q"));
    assert_eq!(answer.message["result"]["_meta"][RELATED]["taskId"], "t");
}

#[test]
fn a_client_is_told_of_its_task_alone() {
    for path in [Over::Http, Over::Stdio] {
        let peer = legacy(path, "one");
        let gateway = peer.gateway("");
        let (mine, other) = (Session::open(&gateway, "{}"), Session::open(&gateway, "{}"));
        let (mut heard, mut unheard) = (mine.stream(), other.stream());
        for stream in [&mut heard, &mut unheard] {
            assert_eq!(stream.event().as_deref(), Some(":"));
        }
        let more = r#""task":{},"_meta":{"progressToken":"p"}"#;
        let made = mine.post(&call("1", "u__may", more)).answer();
        let task = made["result"]["task"]["taskId"].clone();
        let sent = peer.called("may", 1)[0].message.clone();
        let session = peer.session(false);
        peer.tell(
            session,
            &json!({"jsonrpc": "2.0", "method": "notifications/tasks/status",
            "params": legacy_state("input_required")}),
        );
        let token = sent["params"]["_meta"]["progressToken"].clone();
        assert_ne!(token, "p");
        peer.tell(
            session,
            &json!({"jsonrpc": "2.0", "method": "notifications/progress",
            "params": {"progressToken": token, "progress": 1}}),
        );
        let news = std::iter::repeat_with(|| heard.next().unwrap())
            .find(|news| !news["method"].to_string().contains("list_changed"))
            .unwrap();
        assert_eq!(news["params"]["status"], "input_required");
        assert_eq!(news["params"]["taskId"], task);
        let progress = heard.next().unwrap();
        assert_eq!(progress["params"], json!({"progressToken": "p", "progress": 1}));
        while let Some(other) = unheard.message_within(std::time::Duration::from_millis(200)) {
            assert!(other["method"].to_string().contains("list_changed"), "{other}");
        }
    }
}

#[test]
fn two_servers_may_call_their_tasks_the_same() {
    let (one, two) = (legacy(Over::Http, "one"), legacy(Over::Stdio, "two"));
    let tables = [one.tables("a", ""), two.tables("b", "")].concat();
    let mut client = Hearer::start(Era::Legacy, Over::Http, &config(&tables), "{}");
    eventually("both", || {
        let listed = client.ask("tools/list", "").answer.to_string();
        (listed.contains("a__must") && listed.contains("b__must")).then_some(())
    });
    let mut task = |tool: &str| {
        let made = client.ask("tools/call", &as_task(tool));
        made.result()["task"]["taskId"].clone()
    };
    let (first, second) = (task("a__must"), task("b__must"));
    one.say("done");
    two.say("done");
    for (task, says) in [(&second, "two is done "), (&first, "one is done ")] {
        let end = client.ask("tasks/result", &about(task));
        assert_eq!(end.result()["content"][0]["text"], says);
    }
    let list = client.ask("tasks/list", "");
    let list = list.result()["tasks"].as_array().unwrap().clone();
    assert_eq!([&list[0]["taskId"], &list[1]["taskId"]], [&first, &second]);
}

#[test]
fn a_task_is_of_whoever_made_it() {
    let peer = legacy(Over::Http, "one");
    let gateway = gateway("", &peer.tables("u", ""));
    let (alice, bob) = (Shower::of(&gateway, ALICE), Shower::of(&gateway, BOB));
    let sessions = [alice.session("2025-11-25"), bob.session("2025-11-25")];
    let ask = |who: &Shower, session: &str, method: &str, params: &str| {
        let body =
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}}}}}"#);
        who.post(&[("Mcp-Session-Id", session)], &body).answer()
    };
    let made = eventually("the tool", || {
        let made = ask(&alice, &sessions[0], "tools/call", &as_task("u__must"));
        made["result"].is_object().then_some(made)
    });
    let task = made["result"]["task"]["taskId"].clone();
    for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
        let refused = ask(&bob, &sessions[1], method, &about(&task));
        assert_eq!(refused["error"]["code"], -32602, "{refused}");
        assert!(peer.heard(method).is_empty(), "nothing was sent");
    }
    let none = ask(&bob, &sessions[1], "tasks/list", "");
    assert_eq!(none["result"]["tasks"], json!([]));
    let again = alice.session("2025-11-25");
    let state = ask(&alice, &again, "tasks/get", &about(&task));
    assert_eq!(state["result"]["status"], "working", "any session of hers: {state}");

    let name = task.as_str().unwrap();
    let last = if name.ends_with('A') { "B" } else { "A" };
    let changed = format!("{}{last}", name.split_at(name.len() - 1).0);
    let long = "x".repeat(1 << 20);
    for odd in ["t", "", "wt1.", &changed, &long] {
        let refused = ask(&alice, &again, "tasks/get", &about(&json!(odd)));
        assert_eq!(refused["error"]["code"], -32602, "{refused}");
    }
    let refused = ask(&alice, &again, "tasks/get", r#""taskId":7"#);
    assert_eq!(refused["error"]["code"], -32602, "{refused}");
    assert_eq!(peer.heard("tasks/get").len(), 1);
}

#[test]
fn the_tasks_of_one_era_are_not_offered_in_the_other() {
    let (with_tasks, without) = (
        legacy(Over::Http, "one"),
        Peer::start(Era::Legacy, Over::Http, |turn| match turn.method() {
            "tools/list" => crate::support::peer::tools(&["plain"]),
            "tools/call" => text("plain"),
            _ => no_method(),
        }),
    );
    let gateway = without.gateway("");
    let hello = |url: &str, version: &str| {
        let answer = Http::post(url, &[], &crate::support::client::initialize(version)).answer();
        answer["result"]["capabilities"].clone()
    };
    // A legacy client is told once, and servers come later.
    let tasks = &hello(&gateway.url(), "2025-11-25")["tasks"];
    assert_eq!(tasks["requests"]["tools"]["call"], json!({}));
    assert_eq!(hello(&gateway.url(), "2025-06-18").get("tasks"), None);
    let session = Session::open(&gateway, "{}");
    assert_eq!(session.ask("tasks/list", "{}").answer()["result"], json!({"tasks": []}));
    let refused = session.ask("tasks/get", r#"{"taskId":"t"}"#);
    assert_eq!(refused.verdict(), (200, -32602), "{refused:?}");
    let gateway = with_tasks.gateway("");
    // The era has another kind, which nobody has here.
    let extensions = eventually("what the server says", || {
        let found = Http::modern(&gateway.url(), "1", "server/discover", None, "").answer();
        found["result"]["capabilities"].get("extensions").cloned()
    });
    assert_eq!(extensions, json!({"x.example/own": {"a": 1}}));
    let get = Http::modern(&gateway.url(), "1", "tasks/get", Some("t"), r#""taskId":"t""#);
    assert_eq!(get.verdict(), (404, -32601), "{get:?}");
}

// === between modern peers ===

fn following() -> String {
    let declared = r#""io.modelcontextprotocol/clientCapabilities":{}"#;
    let follows = declared.replace("{}", FOLLOWS);
    MODERN_META.replace(declared, &follows)
}

#[test]
fn a_modern_client_follows_the_task_of_a_modern_server() {
    for (way, path) in [
        (Over::Http, Over::Stdio),
        (Over::Stdio, Over::Http),
        (Over::Http, Over::Http),
        (Over::Stdio, Over::Stdio),
    ] {
        let peer = modern(path, "one");
        let config = config(&peer.tables("u", ""));
        let mut client = Hearer::start(Era::Modern, way, &config, FOLLOWS);
        eventually("the extension", || {
            let found = client.ask("server/discover", "").answer;
            let extensions = found["result"]["capabilities"]["extensions"].clone();
            (extensions == json!({TASKS: {}, "x.example/own": {"a": 1}})).then_some(())
        });
        let made = client.call("u__must", "{}");
        assert_eq!(made.result()["resultType"], "task");
        assert_eq!(made.result()["k"], "one", "the rest is the server's own");
        let task = made.result()["taskId"].clone();
        assert!(task.as_str().unwrap().starts_with("wt1."));
        let state = client.ask("tasks/get", &about(&task));
        assert_eq!(state.result()["status"], "working");
        assert_eq!(state.result()["taskId"], task);
        peer.say("ask");
        let asking = client.ask("tasks/get", &about(&task));
        let asked = &asking.result()["inputRequests"]["name"];
        assert_eq!(asked["method"], "elicitation/create");
        let answers = r#","inputResponses":{"name":{"action":"accept","content":{"n":1e2}}}"#;
        let ack = client.ask("tasks/update", &format!("{}{answers}", about(&task)));
        assert_eq!(ack.result(), &json!({"resultType": "complete"}));
        let update = peer.first("tasks/update").message;
        assert_eq!(update["params"]["inputResponses"]["name"]["action"], "accept");
        peer.say("answered");
        peer.say("done");
        let end = client.ask("tasks/get", &about(&task));
        assert_eq!(end.result()["result"]["content"][0]["text"], "one is done");
        let ack = client.ask("tasks/cancel", &about(&task));
        assert_eq!(ack.result(), &json!({"resultType": "complete"}));
        for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
            for heard in peer.heard(method) {
                assert_eq!(heard.message["params"]["taskId"], "t", "{method}");
                if path == Over::Http {
                    assert_eq!(heard.header("mcp-name"), Some("t"));
                }
            }
        }
    }
}

#[test]
fn a_request_about_a_modern_task_is_checked_first() {
    let peer = modern(Over::Http, "one");
    let gateway = peer.gateway("");
    let send = |method: &str, name: &str, params: &str, meta: &str| {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params},{meta}}}}}"#
        );
        let headers =
            [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", method), ("Mcp-Name", name)];
        Http::post(&gateway.url(), &headers, &body)
    };
    let meta = following();
    let made = send("tools/call", "u__must", r#""name":"u__must""#, &meta).answer();
    let task = made["result"]["taskId"].as_str().unwrap().to_owned();
    let params = format!(r#""taskId":"{task}""#);
    for method in ["tasks/get", "tasks/cancel", "tasks/update"] {
        let undeclared = send(method, &task, &params, MODERN_META);
        assert_eq!(undeclared.verdict(), (400, -32021), "{undeclared:?}");
        let wanted = &undeclared.answer()["error"]["data"]["requiredCapabilities"];
        assert_eq!(wanted["extensions"][TASKS], json!({}));
        let mismatch = send(method, "other", &params, &meta);
        assert_eq!(mismatch.verdict(), (400, -32020), "{mismatch:?}");
        let none = send(method, "t", r#""taskId":"t""#, &meta);
        assert_eq!(none.verdict(), (200, -32602), "{none:?}");
    }
    for gone in ["tasks/result", "tasks/list"] {
        let refused = send(gone, &task, &params, &meta);
        assert_eq!(refused.verdict(), (404, -32601), "{refused:?}");
    }
    assert_eq!(peer.heard("tasks/get").len() + peer.heard("tasks/update").len(), 0);
    // Who follows no tasks is told what the server says.
    let refused = send("tools/call", "u__must", r#""name":"u__must""#, MODERN_META);
    assert_eq!(refused.verdict(), (400, -32021), "{refused:?}");
    // `task` is no member of this era: the server may ignore it.
    let made = send("tools/call", "u__must", r#""name":"u__must","task":{}"#, &meta).answer();
    assert_eq!(made["result"]["resultType"], "task", "{made}");
}

#[test]
fn a_client_shows_its_extensions_only_to_servers_that_have_them() {
    let plain = Peer::start(Era::Modern, Over::Http, |turn| match turn.method() {
        "tools/list" => result(&json!({
            "resultType": "complete", "ttlMs": 0, "cacheScope": "private",
            "tools": [{"name": "plain", "inputSchema": {"type": "object"}}],
        })),
        "tools/call" => result(&json!({"resultType": "complete", "content": []})),
        _ => no_method(),
    });
    let able = modern(Over::Http, "one");
    let tables = [plain.tables("p", ""), able.tables("u", "")].concat();
    let capabilities = r#"{"sampling":{},"extensions":{"io.modelcontextprotocol/tasks":{},"x.example/own":{"n":1e2},"y.example/none":{}}}"#;
    let mut client = Hearer::start(Era::Modern, Over::Http, &config(&tables), capabilities);
    eventually("both", || {
        let listed = client.ask("tools/list", "").answer.to_string();
        (listed.contains("p__plain") && listed.contains("u__must")).then_some(())
    });
    client.call("p__plain", "{}");
    client.call("u__must", "{}");
    let declared = |peer: &Peer, tool: &str| {
        let call = peer.called(tool, 1)[0].message.clone();
        call["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"].clone()
    };
    assert_eq!(declared(&plain, "plain"), json!({"sampling": {}, "extensions": {}}));
    let both = json!({TASKS: {}, "x.example/own": {"n": 1e2}});
    assert_eq!(declared(&able, "must"), json!({"sampling": {}, "extensions": both}));
}

// === across the eras, and for clients without tasks ===

#[test]
fn a_legacy_task_is_followed_for_a_client_that_has_none() {
    for (era, way, path) in [
        (Era::Modern, Over::Http, Over::Http),
        (Era::Modern, Over::Stdio, Over::Stdio),
        (Era::Legacy, Over::Http, Over::Stdio),
        (Era::Legacy, Over::Stdio, Over::Http),
    ] {
        let peer = legacy(path, "one");
        let config = config(&peer.tables("u", ""));
        let mut client = Hearer::start(era, way, &config, "{}");
        let params = call_of("u__must", r#"{"n":1e2}"#);
        let begun = client.begin("tools/call", &params, r#""progressToken":"p""#);
        peer.first("tasks/result");
        peer.say("done");
        let heard = client.finish(begun, &mut |question| panic!("asked: {question}"));
        assert_eq!(heard.result()["content"][0]["text"], "one is done ");
        assert_eq!(heard.result()["_meta"].get(RELATED), None, "{heard:?}");
        let told = heard.notes_of("notifications/progress");
        assert_eq!(told[0]["params"]["message"], "it is working", "{heard:?}");
        assert_eq!(told[0]["params"]["progressToken"], "p");
        let calls = peer.called("must", 1);
        assert_eq!((calls.len(), &calls[0].message["params"]["task"]), (1, &json!({})));
        assert!(peer.heard("tasks/cancel").is_empty());
    }
}

#[test]
fn a_call_that_is_given_up_cancels_the_task_that_was_followed_for_it() {
    for era in [Era::Modern, Era::Legacy] {
        let peer = legacy(Over::Http, "one");
        let mut client = Hearer::start(era, Over::Http, &config(&peer.tables("u", "")), "{}");
        let begun = client.begin("tools/call", &call_of("u__must", "{}"), "");
        peer.first("tasks/result");
        client.cancel(begun);
        let cancel = peer.first("tasks/cancel").message;
        assert_eq!(cancel["params"]["taskId"], "t");
    }
}

#[test]
fn a_modern_client_is_asked_what_a_followed_task_asks() {
    let peer = legacy(Over::Http, "one");
    peer.say("ask");
    peer.say("done");
    let able = r#"{"elicitation":{"form":{}}}"#;
    let mut client = Hearer::start(Era::Modern, Over::Http, &config(&peer.tables("u", "")), able);
    let params = call_of("u__asking", "{}");
    let asked = client.ask("tools/call", &params);
    let asked = asked.result();
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    let (key, question) = asked["inputRequests"].as_object().unwrap().iter().next().unwrap();
    assert_eq!(question["params"]["message"], "who?");
    let answers = json!({key: {"action": "accept", "content": {"name": "ann"}}});
    let again =
        format!(r#"{params},"inputResponses":{answers},"requestState":{}"#, asked["requestState"]);
    let end = client.ask("tools/call", &again);
    assert_eq!(end.result()["content"][0]["text"], r#"one is done "ann""#);
    assert_eq!(peer.calls("asking").len(), 1, "it ran once");
}

#[test]
fn a_modern_task_is_followed_for_a_legacy_client() {
    for (way, path) in [(Over::Http, Over::Http), (Over::Stdio, Over::Stdio)] {
        let peer = modern(path, "one");
        let able = r#"{"elicitation":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;
        let mut client = Hearer::start(Era::Legacy, way, &config(&peer.tables("u", "")), able);
        let params = call_of("u__must", "{}");
        let begun = client.begin("tools/call", &params, r#""progressToken":7"#);
        eventually("a look", || (!peer.heard("tasks/get").is_empty()).then_some(()));
        peer.say("ask");
        let heard = client.finish(begun, &mut |question| {
            assert_eq!(question["params"]["message"], "who?");
            peer.say("answered");
            peer.say("done");
            json!({"action": "accept", "content": {"name": "ann"}})
        });
        assert_eq!(heard.result()["content"][0]["text"], "one is done");
        assert_eq!(heard.result().get("resultType"), None);
        assert_eq!(heard.questions.len(), 1, "the same question is not put twice");
        let told = heard.notes_of("notifications/progress");
        assert_eq!(told[0]["params"]["progressToken"], 7);
        assert_eq!(told[0]["params"]["message"], "it is working");
        let update = peer.first("tasks/update").message;
        let answer = &update["params"]["inputResponses"]["name"];
        assert_eq!(answer["content"]["name"], "ann");
        // It was refused once, and then ran once.
        let calls = peer.calls("must");
        let declared = |at: usize| {
            let meta = &calls[at].message["params"]["_meta"];
            meta["io.modelcontextprotocol/clientCapabilities"]["extensions"].clone()
        };
        assert_eq!(calls.len(), 2);
        assert_eq!((declared(0), declared(1)), (json!({}), json!({TASKS: {}})));
        if path == Over::Http {
            assert_eq!(peer.first("tasks/get").header("mcp-name"), Some("t"));
        }
    }
}

#[test]
fn a_followed_modern_task_that_fails_or_is_given_up_ends_so() {
    let peer = modern(Over::Http, "one");
    let mut client = Hearer::start(Era::Legacy, Over::Http, &config(&peer.tables("u", "")), "{}");
    let begun = client.begin("tools/call", &call_of("u__must", "{}"), "");
    peer.first("tasks/get");
    client.cancel(begun);
    assert_eq!(peer.first("tasks/cancel").message["params"]["taskId"], "t");
    peer.say("fail");
    let failed = client.call("u__must", "{}");
    assert_eq!(failed.error(), &json!({"code": -32050, "message": "it broke"}));
    assert_eq!(peer.heard("tasks/cancel").len(), 1, "what is over is not cancelled");
}

#[test]
fn a_client_waits_for_a_task_longer_than_a_server_may_be_silent() {
    let peer = legacy(Over::Stdio, "one");
    let gateway = peer.gateway("timeout = \"1s\"\ntimeout_max = \"30s\"");
    let session = Session::open(&gateway, "{}");
    let made = session.post(&call("1", "u__may", r#""task":{}"#)).answer();
    let task = made["result"]["task"]["taskId"].clone();
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":2,"method":"tasks/result","params":{{"taskId":{task}}}}}"#
    );
    let mut waits: Open = session.begin(&body);
    peer.first("tasks/result");
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    peer.say("done");
    let end = waits.next().unwrap();
    assert_eq!(end["result"]["content"][0]["text"], "one is done ", "{end}");
    replicas_up(&gateway, "u", 1);
}

#[test]
fn a_client_finds_its_task_after_a_restart_of_the_gateway_that_kept_its_key() {
    for kept in [true, false] {
        let peer = modern(Over::Http, "one");
        let cache = tempfile::tempdir().unwrap();
        let text = config(&format!(
            "[catalog]\ncache = {kept}\ncache_dir = \"{}\"\n{}",
            cache.path().display(),
            peer.tables("u", "")
        ));
        let mut first = Hearer::start(Era::Modern, Over::Http, &text, FOLLOWS);
        let made = first.call("u__must", "{}");
        let task = about(&made.result()["taskId"]);
        drop(first);
        let mut second = Hearer::start(Era::Modern, Over::Http, &text, FOLLOWS);
        second.ask("tools/list", "").result();
        let state = second.ask("tasks/get", &task);
        if kept {
            assert_eq!(state.result()["status"], "working");
        } else {
            assert_eq!(state.error()["code"], -32602);
        }
    }
}

#[test]
fn a_result_of_a_kind_that_nobody_knows_is_no_task() {
    let peer = Peer::start(Era::Modern, Over::Http, |turn| match turn.method() {
        "tools/list" => result(&json!({
            "resultType": "complete", "ttlMs": 0, "cacheScope": "private",
            "tools": [{"name": "odd", "inputSchema": {"type": "object"}}],
        })),
        "tools/call" => result(&json!({"resultType": "x.example/kind", "content": [], "n": 1})),
        _ => no_method(),
    });
    let config = config(&peer.tables("u", ""));
    let mut client = Hearer::start(Era::Legacy, Over::Http, &config, "{}");
    assert_eq!(client.call("u__odd", "{}").result(), &json!({"content": [], "n": 1}));
}
