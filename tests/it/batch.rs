//! Batches, which the revision 2025-03-26 has and no other (2025-03-26, basic, "Batching").

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::client::initialize;
use crate::support::peer::{no_method, text, tools};
use crate::support::session::{call, cancel};
use crate::support::upstream::config;
use crate::support::{
    Era, Gateway, Http, MODERN_META, Over, Peer, Reply, Session, StdioClient, eventually,
    replicas_up,
};

const BATCHED: &str = "2025-03-26";
const LATER: [&str; 2] = ["2025-06-18", "2025-11-25"];

/// A server that echoes the name it goes by. `hold` never answers.
fn server(era: Era, over: Over, name: &'static str) -> Peer {
    Peer::start(era, over, move |turn| match (turn.method(), turn.name()) {
        ("tools/list", _) => tools(&["t", "hold"]),
        ("tools/call", "t") => text(name),
        ("tools/call", _) => Value::Null,
        _ => no_method(),
    })
}

/// Servers of both eras over both transports.
fn servers() -> Vec<(&'static str, Peer)> {
    vec![
        ("a", server(Era::Legacy, Over::Http, "a")),
        ("b", server(Era::Legacy, Over::Stdio, "b")),
        ("c", server(Era::Modern, Over::Http, "c")),
        ("d", server(Era::Modern, Over::Stdio, "d")),
    ]
}

fn tables(servers: &[(&str, Peer)]) -> String {
    let tables = servers.iter().map(|(name, peer)| peer.tables(name, ""));
    config(&tables.collect::<String>())
}

fn before(servers: &[(&str, Peer)]) -> Gateway {
    let gateway = Gateway::start(&tables(servers));
    for (name, _) in servers {
        replicas_up(&gateway, name, 1);
    }
    gateway
}

fn request(id: &str, method: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{}}}}"#)
}

fn said(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_default()
}

/// The answers of a batch by their ids.
#[track_caller]
fn by_id(answers: &Value) -> BTreeMap<String, Value> {
    let all = answers.as_array().unwrap_or_else(|| panic!("no array: {answers}"));
    let entry = |answer: &Value| (answer["id"].to_string(), answer.clone());
    let found: BTreeMap<_, _> = all.iter().map(entry).collect();
    assert_eq!(found.len(), all.len(), "an id stands twice: {answers}");
    found
}

/// A batch of everything: calls to all servers, lists, a ping, notifications, an answer to nothing,
/// a call that the batch itself cancels, and elements that are refused.
fn mixed() -> String {
    let parts = [
        call("1", "a__t", r#""arguments":{}"#),
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_owned(),
        call("\"1\"", "b__t", r#""arguments":{}"#),
        call("3", "c__t", ""),
        call("4", "d__t", ""),
        call("50", "a__hold", ""),
        cancel("50"),
        call("51", "b__hold", ""),
        call("52", "c__hold", ""),
        call("53", "d__hold", ""),
        cancel("51"),
        cancel("52"),
        cancel("53"),
        cancel("99"),
        request("6", "ping"),
        request("7", "tools/list"),
        request("8", "no/such"),
        call("9", "none", ""),
        r#"{"jsonrpc":"2.0","id":77,"result":{}}"#.to_owned(),
        initialize(BATCHED).replace("\"id\":0", "\"id\":10"),
        r#"{"jsonrpc":"1.0","id":11,"method":"ping"}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":12,"method":"ping","method":"ping"}"#.to_owned(),
    ];
    format!("[ {} ]", parts.join(" ,\n"))
}

#[track_caller]
fn answers_the_mix(answers: &Value) {
    let found = by_id(answers);
    for (id, name) in [("1", "a"), ("\"1\"", "b"), ("3", "c"), ("4", "d")] {
        assert_eq!(said(&found[id]), name, "{answers}");
        assert!(found[id]["result"].get("resultType").is_none(), "{answers}");
    }
    assert_eq!(found["6"]["result"], json!({}), "{answers}");
    assert!(found["7"]["result"]["tools"].as_array().unwrap().len() >= 8, "{answers}");
    for (id, code) in [("8", -32601), ("9", -32602), ("10", -32600), ("11", -32600), ("12", -32600)]
    {
        assert_eq!(found[id]["error"]["code"], code, "{answers}");
    }
    // Neither what was cancelled nor what is no request.
    assert_eq!(found.len(), 11, "{answers}");
}

/// What the batch cancelled is cancelled at the servers too, unless it never reached them: by a
/// notification, or, at a modern server behind a URL, by closing the connection.
fn nothing_runs(servers: &[(&str, Peer)]) {
    for (name, peer) in servers {
        eventually(&format!("the cancelled call to end at {name}"), || {
            let told = peer.heard("notifications/cancelled").len();
            let told = if *name == "c" { peer.left() } else { told };
            (told >= peer.calls("hold").len()).then_some(())
        });
    }
}

#[test]
fn a_batch_is_answered_by_an_array_without_what_it_cancels_itself() {
    let servers = servers();
    let gateway = before(&servers);
    let session = Session::of(&gateway, BATCHED, "{}");
    let reply = session.post(&mixed());
    assert_eq!(reply.status, 200, "{reply:?}");
    answers_the_mix(&reply.answer());
    nothing_runs(&servers);
}

#[test]
fn a_batch_on_the_pipe_is_one_line_and_so_is_its_answer() {
    let servers = servers();
    let mut pipe = StdioClient::start(&tables(&servers));
    pipe.handshake(BATCHED);
    pipe.send(&mixed().replace('\n', " "));
    let answers = loop {
        let message = pipe.next();
        if message.is_array() {
            break message;
        }
        assert_eq!(message["method"], "notifications/tools/list_changed", "{message}");
    };
    answers_the_mix(&answers);
    nothing_runs(&servers);
}

#[test]
fn a_batch_without_requests_is_accepted_and_one_that_cancels_all_it_asks_ends() {
    let servers = [("a", server(Era::Legacy, Over::Stdio, "a"))];
    let gateway = before(&servers);
    let session = Session::of(&gateway, BATCHED, "{}");
    let note = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let answer = r#"{"jsonrpc":"2.0","id":5,"result":{}}"#;
    let reply = session.post(&format!("[{note},{answer},{}]", cancel("1")));
    assert_eq!((reply.status, reply.body.as_str()), (202, ""));
    let reply = session.post(&format!("[{},{}]", call("5", "a__hold", ""), cancel("5")));
    assert!(reply.status == 200 || reply.status == 202, "{reply:?}");
    assert!(reply.messages().is_empty(), "nobody waits for an answer: {reply:?}");
    nothing_runs(&servers);
    // A cancel that stands before its call cancels nothing.
    let call = call("6", "a__t", "");
    let reply = session.post(&format!("[{},{call}]", cancel("6")));
    assert_eq!(said(&reply.answer()[0]), "a", "{reply:?}");
}

#[test]
fn a_cancel_from_outside_ends_its_part_of_a_batch_only() {
    let servers = [("a", server(Era::Legacy, Over::Http, "a"))];
    let gateway = before(&servers);
    let session = Session::of(&gateway, BATCHED, "{}");
    let batch = format!("[{},{}]", call("1", "a__hold", ""), call("2", "a__t", ""));
    let mut open = session.begin(&batch);
    servers[0].1.called("hold", 1);
    session.cancel("1");
    let rest = open.rest();
    assert_eq!(rest.len(), 1, "{rest:?}");
    assert_eq!(said(&by_id(&rest[0])["2"]), "a");
    assert_eq!(rest[0].as_array().unwrap().len(), 1, "{rest:?}");
    nothing_runs(&servers);
}

#[track_caller]
fn is_refused(reply: &Reply, why: &str) {
    assert_eq!(reply.verdict(), (400, -32600), "{why}: {reply:?}");
}

#[test]
fn later_revisions_and_modern_clients_have_no_batches() {
    let servers = servers();
    let gateway = before(&servers);
    let url = gateway.url();
    for version in LATER.into_iter().chain(["2024-11-05"]) {
        let session = Session::of(&gateway, version, "{}");
        let batch = format!("[{}]", call("1", "a__t", ""));
        is_refused(&session.post(&batch), version);
        is_refused(&session.post(&mixed()), version);
        let mut pipe = StdioClient::start(&tables(&servers[..1]));
        pipe.handshake(version);
        pipe.send(&batch);
        let answer = loop {
            let message = pipe.next();
            if message.get("method").is_none() {
                break message;
            }
        };
        assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(-32600), &Value::Null));
    }
    let (headers, body) =
        Http::modern_parts("1", "tools/call", Some("a__t"), r#""name":"a__t","arguments":{}"#);
    is_refused(&Http::post(&url, &headers, &format!("[{body}]")), "modern");
    is_refused(&Http::post(&url, &[], &format!("[{body}]")), "modern, no header");
    for (name, peer) in &servers {
        assert!(peer.heard("tools/call").is_empty(), "{name}");
    }
}

#[test]
fn a_batch_with_a_modern_message_in_it_is_refused_as_a_whole() {
    let servers = servers();
    let gateway = before(&servers);
    let session = Session::of(&gateway, BATCHED, "{}");
    let modern = call("2", "a__t", &format!(r#""arguments":{{}},{MODERN_META}"#));
    is_refused(&session.post(&format!("[{},{modern}]", call("1", "a__t", ""))), "one is modern");
    for (name, peer) in &servers {
        assert!(peer.heard("tools/call").is_empty(), "{name}");
    }
}

#[test]
fn what_is_no_batch_is_refused_and_reaches_nobody() {
    let servers = [("a", server(Era::Legacy, Over::Http, "a"))];
    let gateway = before(&servers);
    let session = Session::of(&gateway, BATCHED, "{}");
    let one = call("1", "a__t", "");
    let many = format!("[{}]", vec![one.as_str(); 101].join(","));
    for (body, wanted) in [
        ("[]", (400, -32600)),
        ("[ ]", (400, -32600)),
        (many.as_str(), (400, -32600)),
        (&format!("[{one}"), (400, -32700)),
        (&format!("[{one},]"), (400, -32700)),
        (&format!("[{one}]]"), (400, -32700)),
    ] {
        let reply = session.post(body);
        assert_eq!(reply.verdict(), wanted, "{body:.60}: {reply:?}");
    }
    // Each element that is no message has its own refusal, without an id.
    let reply = session.post(&format!(r#"[1,"a",null,[{one}],{{}},{}]"#, request("2", "ping")));
    let answers = reply.answer();
    let all = answers.as_array().unwrap();
    assert_eq!(all.len(), 6, "{answers}");
    assert!(
        all[..5].iter().all(|a| a["error"]["code"] == -32600 && a["id"].is_null()),
        "{answers}"
    );
    assert_eq!(all[5]["result"], json!({}));
    assert!(servers[0].1.heard("tools/call").is_empty());
    // A batch outside of a session belongs to nobody.
    let reply = Http::post(&gateway.url(), &[], &format!("[{one}]"));
    assert_eq!(reply.status, 400, "{reply:?}");
    let gone = [("Mcp-Session-Id", "gone")];
    assert_eq!(Http::post(&gateway.url(), &gone, &format!("[{one}]")).status, 404);
}

#[test]
fn progress_and_questions_of_a_batch_come_before_its_answer_on_one_stream() {
    let peer = Peer::start(Era::Legacy, Over::Http, |turn| match (turn.method(), turn.name()) {
        ("tools/list", _) => tools(&["ticks", "asks"]),
        ("tools/call", "ticks") => {
            let token = turn.message["params"]["_meta"]["progressToken"].clone();
            turn.progress(&token, 1);
            turn.progress(&token, 2);
            text("ticked")
        }
        ("tools/call", _) => {
            let id = json!(format!("q-{}", turn.message["id"]));
            text(&turn.ask(&id, "roots/list", &json!({}))["result"].to_string())
        }
        _ => no_method(),
    });
    let gateway = peer.gateway("");
    let session = Session::of(&gateway, BATCHED, r#"{"roots":{}}"#);
    assert!(session.tools().contains(&"u__asks".to_owned()));
    let ticks = |id: &str, token: &str| {
        call(id, "u__ticks", &format!(r#""_meta":{{"progressToken":{token}}}"#))
    };
    let batch =
        format!("[{},{},{}]", ticks("1", "\"t\""), ticks("2", "7"), call("3", "u__asks", ""));
    let mut open = session.begin(&batch);
    let mut notes = Vec::new();
    let answers = loop {
        let message = open.message().unwrap();
        if message.is_array() {
            break message;
        }
        if message["method"] == "roots/list" {
            session.answer(&message, &json!({"result": {"roots": []}}));
        } else {
            notes.push(message);
        }
    };
    for token in [json!("t"), json!(7)] {
        let mine = notes.iter().filter(|note| note["params"]["progressToken"] == token);
        let steps: Vec<&Value> = mine.map(|note| &note["params"]["progress"]).collect();
        assert_eq!(steps, [&json!(1), &json!(2)], "{notes:?}");
    }
    assert_eq!(notes.len(), 4, "{notes:?}");
    let found = by_id(&answers);
    assert_eq!((said(&found["1"]), said(&found["2"])), ("ticked", "ticked"));
    assert_eq!(said(&found["3"]), r#"{"roots":[]}"#);
    assert_eq!(open.message(), None, "the answer ends the stream");
}
