//! Log messages of servers: each client gets what it asked for, of its own calls, and nobody
//! another's (2025-11-25 and 2026-07-28, server/utilities/logging).

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::Open;
use crate::support::peer::{Turn, Way, each, log, no_method, text, tools};
use crate::support::session::call;
use crate::support::upstream::config;
use crate::support::{Era, Gateway, Http, MODERN_META, Over, Peer, Reply, Session, StdioClient};

const LEVELS: [&str; 8] =
    ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// A server whose tool `all` logs a message of each level and then answers; `quiet` logs nothing,
/// and `hold` answers when the test says so.
fn server(era: Era, over: impl Into<Way>) -> Peer {
    let capabilities = json!({"tools": {}, "logging": {}});
    Peer::offering(era, over, capabilities, |turn| match (turn.method(), turn.name()) {
        ("tools/list", _) => tools(&["all", "quiet", "hold"]),
        ("tools/call", "all") => {
            all(turn);
            text("logged")
        }
        ("tools/call", "hold") => {
            turn.wait("hold");
            text("held")
        }
        ("tools/call", _) => text("quiet"),
        _ => no_method(),
    })
}

/// Whatever level was asked for: a server that does not keep to it must not harm anybody.
fn all(turn: &mut Turn<'_>) {
    for level in LEVELS {
        turn.log(level, &format!("of {}", turn.message["id"]));
    }
}

/// The levels of the log messages among these.
fn levels(messages: &[Value]) -> Vec<String> {
    let logs = messages.iter().filter(|message| message["method"] == "notifications/message");
    logs.map(|log| log["params"]["level"].as_str().unwrap().to_owned()).collect()
}

fn from(level: &str) -> Vec<String> {
    let first = LEVELS.iter().position(|known| *known == level).unwrap();
    LEVELS[first..].iter().map(|level| (*level).to_owned()).collect()
}

/// A call of a modern client with this level, or with none.
fn modern(gateway: &Gateway, tool: &str, level: Option<&str>) -> Reply {
    let meta = match level {
        None => MODERN_META.to_owned(),
        Some(level) => MODERN_META.replacen(
            "\"_meta\":{",
            &format!(r#""_meta":{{"io.modelcontextprotocol/logLevel":"{level}","#),
            1,
        ),
    };
    let headers =
        [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/call"), ("Mcp-Name", tool)];
    Http::post(&gateway.url(), &headers, &call("1", tool, &format!(r#""arguments":{{}},{meta}"#)))
}

fn set_level(session: &Session, level: &str) {
    let reply = session.ask("logging/setLevel", &format!(r#"{{"level":"{level}"}}"#));
    assert_eq!(reply.answer()["result"], json!({}), "{reply:?}");
}

/// The levels that the server was asked for.
fn asked(peer: &Peer) -> Vec<String> {
    let level = |heard: &crate::support::peer::Heard| {
        heard.message["params"]["level"].as_str().unwrap().to_owned()
    };
    peer.heard("logging/setLevel").iter().map(level).collect()
}

#[test]
fn a_modern_client_that_names_no_level_gets_no_log_message_however_much_a_server_logs() {
    each(|over| {
        for &era in over.eras() {
            let peer = server(era, over);
            let gateway = peer.gateway("");
            // Another client has made the shared session say everything.
            let session = Session::open(&gateway, "{}");
            set_level(&session, "debug");
            assert_eq!(levels(&session.call("u__all", "{}").messages()), LEVELS, "{era:?}");
            let messages = modern(&gateway, "u__all", None).messages();
            assert_eq!(messages.len(), 1, "{era:?} {over:?}: {messages:?}");
            assert_eq!(messages[0]["result"]["resultType"], "complete", "{messages:?}");
        }
    });
}

#[test]
fn a_modern_client_gets_the_messages_of_its_level_and_above_from_servers_of_both_eras() {
    each(|over| {
        for &era in over.eras() {
            let peer = server(era, over);
            let gateway = peer.gateway("");
            for level in LEVELS {
                let messages = modern(&gateway, "u__all", Some(level)).messages();
                assert_eq!(levels(&messages), from(level), "{era:?} {over:?}: {messages:?}");
                assert_eq!(messages.last().unwrap()["result"]["resultType"], "complete");
                let call = peer.calls("all").pop().unwrap().message;
                let named = &call["params"]["_meta"]["io.modelcontextprotocol/logLevel"];
                match era {
                    Era::Modern => assert_eq!(named, level, "{over:?}: {call}"),
                    Era::Legacy => assert!(named.is_null(), "{over:?}: {call}"),
                }
            }
            if era == Era::Legacy {
                // The first client wanted everything: the session says everything since then.
                assert_eq!(asked(&peer), ["debug"], "{over:?}");
            }
        }
    });
}

#[test]
fn clients_of_one_session_at_a_server_each_get_their_own_level() {
    each(|over| {
        let peer = server(Era::Legacy, over);
        let gateway = peer.gateway("");
        let (few, many, all) = (
            Session::open(&gateway, "{}"),
            Session::open(&gateway, "{}"),
            Session::open(&gateway, "{}"),
        );
        set_level(&few, "error");
        set_level(&many, "info");
        let got = |session: &Session| levels(&session.call("u__all", "{}").messages());
        assert_eq!(got(&few), from("error"), "{over:?}");
        assert_eq!(got(&many), from("info"), "{over:?}");
        // Who set no level leaves it to the server.
        assert_eq!(got(&all), from("debug"), "{over:?}");
        set_level(&many, "alert");
        assert_eq!(got(&many), from("alert"), "{over:?}");
        set_level(&few, "notice");
        assert_eq!(got(&few), from("notice"), "{over:?}");
        // The server was only ever asked for more.
        assert_eq!(asked(&peer), ["error", "info"], "{over:?}");
    });
}

#[test]
fn a_level_of_a_legacy_client_is_named_in_each_request_to_a_modern_server() {
    for over in Way::MODERN {
        let peer = server(Era::Modern, over);
        let gateway = peer.gateway("");
        let session = Session::open(&gateway, "{}");
        set_level(&session, "warning");
        assert_eq!(levels(&session.call("u__all", "{}").messages()), from("warning"), "{over:?}");
        let call = peer.calls("all").pop().unwrap().message;
        assert_eq!(call["params"]["_meta"]["io.modelcontextprotocol/logLevel"], "warning");
        assert!(peer.heard("logging/setLevel").is_empty(), "{over:?}");
    }
}

#[test]
fn a_server_without_logging_is_not_asked_for_a_level() {
    each(|over| {
        let peer = Peer::start(Era::Legacy, over, |turn| match turn.method() {
            "tools/list" => tools(&["t"]),
            "tools/call" => text("t"),
            _ => no_method(),
        });
        let gateway = peer.gateway("");
        let session = Session::open(&gateway, "{}");
        set_level(&session, "debug");
        assert_eq!(session.call("u__t", "{}").verdict(), (200, 0));
        assert!(modern(&gateway, "u__t", Some("debug")).verdict() == (200, 0));
        assert!(peer.heard("logging/setLevel").is_empty(), "{over:?}");
    });
}

#[test]
fn two_clients_at_once_get_the_messages_of_their_own_calls_only() {
    let peer = server(Era::Legacy, Over::Http);
    let gateway = peer.gateway("");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let gateway = &gateway;
            scope.spawn(move || {
                let session = Session::open(gateway, "{}");
                for _ in 0..10 {
                    let messages = session.call("u__all", "{}").messages();
                    assert_eq!(messages.len(), LEVELS.len() + 1, "{messages:?}");
                    let texts: Vec<&Value> =
                        messages[..8].iter().map(|log| &log["params"]["data"]).collect();
                    assert!(texts.iter().all(|text| *text == texts[0]), "{messages:?}");
                }
            });
        }
    });
}

#[test]
fn a_child_that_logs_while_two_clients_call_is_heard_by_neither() {
    let peer = server(Era::Legacy, Over::Stdio);
    let gateway = peer.gateway("");
    let (one, other) = (Session::open(&gateway, "{}"), Session::open(&gateway, "{}"));
    let mut held = one.start("1", "u__hold");
    peer.called("hold", 1);
    // Whose message it is cannot be known.
    let messages = other.call("u__all", "{}").messages();
    assert_eq!(messages.len(), 1, "{messages:?}");
    peer.say("hold");
    let rest = held.rest();
    assert_eq!(rest.len(), 1, "{rest:?}");
    // Alone it is heard again.
    assert_eq!(levels(&other.call("u__all", "{}").messages()), LEVELS);
}

/// Tells a log message outside of any call, and shows that the gateway has read it: it answers a
/// ping that comes behind.
fn tell(peer: &Peer, level: &str, text: &str) {
    let session = peer.session(false);
    peer.tell(session, &log(level, text));
    let id = json!(format!("ping behind {text}"));
    peer.tell(session, &json!({"jsonrpc": "2.0", "id": id, "method": "ping"}));
    peer.answered(&id);
}

/// How long a stream is left alone on which nothing must come.
const A_MOMENT: Duration = Duration::from_millis(300);

/// The log messages that come on a stream until it is silent for a moment.
fn logged(stream: &mut Open) -> Vec<Value> {
    let messages = std::iter::from_fn(|| stream.message_within(A_MOMENT));
    let logs = messages.filter(|message| message["method"] == "notifications/message");
    logs.map(|log| log["params"]["data"].clone()).collect()
}

#[test]
fn what_a_server_logs_outside_of_calls_reaches_the_one_client_who_has_just_called() {
    each(|over| {
        let peer = server(Era::Legacy, over);
        let gateway = peer.gateway("");
        let (one, other) = (Session::open(&gateway, "{}"), Session::open(&gateway, "{}"));
        set_level(&one, "warning");
        let (mut to_one, mut to_other) = (one.stream(), other.stream());
        assert_eq!((to_one.status(), to_other.status()), (200, 200));
        // Of nobody: nobody has called yet.
        tell(&peer, "error", "too early");
        assert_eq!(one.call("u__quiet", "{}").messages().len(), 1, "{over:?}");
        tell(&peer, "info", "below its level");
        tell(&peer, "error", "late");
        assert_eq!(logged(&mut to_one), ["late"], "{over:?}");
        assert!(logged(&mut to_other).is_empty(), "{over:?}");
    });
}

#[test]
fn what_a_server_logs_outside_of_calls_of_two_clients_reaches_neither() {
    each(|over| {
        let peer = server(Era::Legacy, over);
        let gateway = peer.gateway("");
        let (one, other) = (Session::open(&gateway, "{}"), Session::open(&gateway, "{}"));
        let (mut to_one, mut to_other) = (one.stream(), other.stream());
        assert_eq!((to_one.status(), to_other.status()), (200, 200));
        let (mut mine, mut its) = (one.start("1", "u__hold"), other.start("1", "u__hold"));
        peer.called("hold", 2);
        tell(&peer, "error", "whose?");
        peer.say("hold");
        for held in [&mut mine, &mut its] {
            let rest = held.rest();
            assert_eq!(rest.len(), 1, "{over:?}: {rest:?}");
        }
        assert!(logged(&mut to_one).is_empty() && logged(&mut to_other).is_empty(), "{over:?}");
    });
}

#[test]
fn a_client_on_the_pipe_gets_the_messages_of_its_level() {
    each(|over| {
        let peer = server(Era::Legacy, over);
        let mut pipe = StdioClient::start(&config(&peer.tables("u", "")));
        pipe.handshake("2025-11-25");
        let level =
            r#"{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"critical"}}"#;
        assert_eq!(pipe.ask(level)["result"], json!({}));
        pipe.send(&call("2", "u__all", ""));
        let mut messages = Vec::new();
        while messages.last().is_none_or(|last: &Value| last["id"] != 2) {
            messages.push(pipe.next());
        }
        assert_eq!(levels(&messages), from("critical"), "{over:?}");
        // The same client in the other era names no level, and gets nothing.
        pipe.send(&call("3", "u__all", &format!(r#""arguments":{{}},{MODERN_META}"#)));
        let mut messages = Vec::new();
        while messages.last().is_none_or(|last: &Value| last["id"] != 3) {
            messages.push(pipe.next());
        }
        assert_eq!(levels(&messages), Vec::<String>::new(), "{over:?}");
    });
}
