//! Upstreams over the HTTP+SSE transport of 2024-11-05 (basic/transports, "HTTP with SSE"), set or
//! found by asking (2025-11-25, basic/transports, "Backwards Compatibility"). What is asked and told
//! in the middle of calls is in `asks`, `parked`, `logs` and `abilities`, over every transport.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::support::puppet::{Gate, Offer, Puppet, Seen, Wire};
use crate::support::toml::{upstream, url};
use crate::support::upstream::config;
use crate::support::{
    Era, Gateway, Http, PATIENCE, Session, eventually, health, listed, own_error, replicas_up,
};

/// What is written on a stream.
enum Piece {
    Bytes(Vec<u8>),
    /// Its end in the middle of things.
    Cut,
}

/// The streams of a server, by the numbers of their sessions.
#[derive(Default)]
struct Streams(Mutex<Vec<Sender<Piece>>>);

impl Streams {
    /// Opens one, and writes what is put on it.
    fn open(&self, wire: &mut Wire, endpoint: impl FnOnce(usize) -> String) {
        if wire.stream() {
            self.begin(wire, endpoint);
        }
    }

    /// The same on one whose head is written.
    fn begin(&self, wire: &mut Wire, endpoint: impl FnOnce(usize) -> String) {
        let (pieces, coming) = channel();
        let session = {
            let mut all = self.0.lock();
            all.push(pieces);
            all.len() - 1
        };
        let first = format!("event: endpoint\ndata: {}\n\n", endpoint(session));
        let mut open = wire.piece(first.as_bytes());
        while open && let Ok(Piece::Bytes(bytes)) = coming.recv_timeout(2 * PATIENCE) {
            open = wire.piece(&bytes);
        }
        wire.hang_up();
    }

    fn put(&self, session: usize, bytes: &[u8]) {
        drop(self.0.lock()[session].send(Piece::Bytes(bytes.to_vec())));
    }

    fn say(&self, session: usize, message: &Value) {
        self.put(session, format!("event: message\ndata: {message}\n\n").as_bytes());
    }

    fn cut(&self, session: usize) {
        drop(self.0.lock()[session].send(Piece::Cut));
    }

    fn len(&self) -> usize {
        self.0.lock().len()
    }
}

/// Where the messages of a session go.
fn endpoint(session: usize) -> String {
    format!("/message?session={session}")
}

/// A server of this transport, played by a test.
struct Server {
    puppet: Puppet,
    streams: Arc<Streams>,
}

impl Server {
    /// One whose answers come as its offer says, on the stream, where the test does not play.
    /// `play` gets the session of a message, and answers whether it did.
    fn start(
        play: impl Fn(&Seen, &mut Wire, &Streams, Option<usize>) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::speaking("2025-11-25", play)
    }

    /// The same in another revision.
    fn speaking(
        version: &'static str,
        play: impl Fn(&Seen, &mut Wire, &Streams, Option<usize>) -> bool + Send + Sync + 'static,
    ) -> Self {
        let offer = Offer::new("s", Era::Legacy).tools(&["t", "other"]);
        let (own, streams) = (offer.clone(), Arc::<Streams>::default());
        let all = Arc::clone(&streams);
        let puppet = Puppet::start(offer, move |seen, wire| {
            let session = seen.path.strip_prefix("/message?session=");
            let session = session.and_then(|number| number.parse::<usize>().ok());
            if play(seen, wire, &all, session) {
                return true;
            }
            match (seen.verb.as_str(), session) {
                ("GET", None) => all.open(wire, endpoint),
                ("POST", Some(session)) => {
                    wire.whole(202, &[], "Accepted");
                    if let Some(mut result) = own.result(seen) {
                        if seen.method() == "initialize" {
                            result["protocolVersion"] = json!(version);
                        }
                        all.say(session, &seen.result(&result));
                    }
                }
                _ => {
                    wire.whole(404, &["Content-Type: text/html"], "<pre>Cannot POST</pre>");
                }
            }
            true
        });
        Self { puppet, streams }
    }

    /// Its lines of a replica's table.
    fn replica(&self, keys: &str) -> String {
        format!("{}\n{keys}", url(&format!("http://127.0.0.1:{}/sse", self.puppet.port)))
    }

    fn config(&self, keys: &str) -> String {
        config(&upstream("u", "", &[self.replica(keys)]))
    }

    /// A gateway in front of it, which has listed it.
    fn gateway(&self) -> Gateway {
        let gateway = Gateway::start(&self.config("transport = \"sse\""));
        listed(&gateway, "u__t");
        gateway
    }
}

fn called(gateway: &Gateway) -> Value {
    Http::modern_call(&gateway.url(), "u__t", "{}").answer()
}

#[track_caller]
fn works(gateway: &Gateway) {
    let answer = called(gateway);
    assert_eq!(answer["result"]["content"][0]["text"], "s:t", "{answer}");
}

/// Waits until the one replica is down for a reason that has all these words.
#[track_caller]
fn down(gateway: &Gateway, words: &[&str]) {
    let mut last = Value::Null;
    eventually(&format!("down with {words:?}"), || {
        last = health(gateway, "u")["replicas"][0].clone();
        let reason = last["reason"].as_str()?;
        words.iter().all(|word| reason.contains(word)).then_some(())
    });
}

// === greeting ===

#[test]
fn a_session_is_a_stream_and_posts_with_the_headers_that_belong_there() {
    for (version, header) in [("2024-11-05", None), ("2025-11-25", Some("2025-11-25"))] {
        let server = Server::speaking(version, |_, _, _, _| false);
        let keys = "transport = \"sse\"\nheaders = { Authorization = \"Bearer k\" }";
        let gateway = Gateway::start(&server.config(keys));
        let up = replicas_up(&gateway, "u", 1);
        assert_eq!(up["replicas"][0]["version"], version);
        assert_eq!(up["replicas"][0]["transport"], "sse");
        works(&gateway);
        let seen = server.puppet.seen();
        assert_eq!((seen[0].verb.as_str(), seen[0].path.as_str()), ("GET", "/sse"));
        assert_eq!(seen[0].header("accept"), Some("text/event-stream"));
        let methods: Vec<&str> = seen[1..3].iter().map(Seen::method).collect();
        assert_eq!(methods, ["initialize", "notifications/initialized"]);
        for one in &seen {
            assert_eq!(one.header("authorization"), Some("Bearer k"), "{one:?}");
            assert_eq!(one.header("mcp-session-id"), None, "{one:?}");
            let agreed = one.verb == "POST" && one.method() != "initialize";
            let expected = header.filter(|_| agreed);
            assert_eq!(one.header("mcp-protocol-version"), expected, "{one:?}");
            assert_eq!(one.verb == "POST", one.path == "/message?session=0", "{one:?}");
        }
        assert_eq!(server.puppet.verbs("GET").len(), 1, "one stream");
    }
}

#[test]
fn an_endpoint_may_be_absolute_late_and_not_the_first_thing_on_the_stream() {
    let server = Server::start(|seen, wire, streams, _| {
        if seen.verb == "GET" {
            let host = seen.header("host").unwrap().to_owned();
            wire.stream();
            for early in [": hello\n\n", "event: ping\ndata: {}\n\n", "retry: 100\n\n"] {
                wire.piece(early.as_bytes());
            }
            std::thread::sleep(std::time::Duration::from_millis(1_200));
            streams.begin(wire, |session| format!("http://{host}{}", endpoint(session)));
            return true;
        }
        false
    });
    works(&server.gateway());
}

#[test]
fn an_endpoint_of_another_origin_is_refused_and_nothing_goes_there() {
    let other = Puppet::offers(Offer::new("other", Era::Legacy));
    let elsewhere = format!("http://127.0.0.1:{}/message", other.port);
    for keys in ["transport = \"sse\"", ""] {
        let elsewhere = elsewhere.clone();
        let server = Server::start(move |seen, wire, streams, _| {
            let opens = seen.verb == "GET";
            if opens {
                streams.open(wire, |_| elsewhere.clone());
            }
            opens
        });
        let gateway = Gateway::start(&server.config(keys));
        down(&gateway, &["another origin", &format!("http://127.0.0.1:{}", other.port)]);
        let posts = server.puppet.verbs("POST");
        assert!(posts.iter().all(|post| post.path == "/sse"), "{posts:?}");
    }
    assert!(other.seen().is_empty(), "{:?}", other.seen());
}

#[test]
fn a_stream_that_never_says_where_to_post_is_given_up() {
    let server = Server::start(|seen, wire, _, _| {
        let opens = seen.verb == "GET";
        if opens {
            wire.stream();
            wire.piece(
                b": hello\n\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}\n\n",
            );
            wire.until_closed();
        }
        opens
    });
    // Set, and found by asking: both are bounded.
    let set = Gateway::start(&server.config("transport = \"sse\""));
    let asked = Gateway::start(&server.config(""));
    down(&set, &["no stream with an `endpoint` event within 10 s"]);
    down(&asked, &["HTTP 404", "no stream with an `endpoint` event within 10 s"]);
    assert!(server.puppet.requests("initialize").iter().all(|post| post.path == "/sse"));
}

// === the stream ===

#[test]
fn events_may_come_in_any_shape_and_pieces() {
    let server = Server::start(|seen, wire, streams, session| {
        let (Some(session), "tools/call") = (session, seen.method()) else { return false };
        wire.whole(200, &[], "");
        let answer = seen.result(&json!({"content": [{"type": "text", "text": "é"}]})).to_string();
        let (head, tail) = answer.split_at(answer.find(',').unwrap() + 1);
        let event = format!(
            "\u{feff}: a comment\r\n\r\nevent: other\r\ndata: {{}}\r\n\r\ndata\r\n\r\n\
             id: 7\r\ndata:{head}\r\ndata: {tail}\r\n\r\n"
        );
        for piece in event.as_bytes().chunks(3) {
            streams.put(session, piece);
        }
        true
    });
    let gateway = server.gateway();
    for _ in 0..3 {
        assert_eq!(called(&gateway)["result"]["content"][0]["text"], "é");
    }
    assert_eq!(server.streams.len(), 1, "no event was taken amiss");
}

#[test]
fn answers_reach_their_calls_in_whatever_order_they_come() {
    let first = Mutex::new(None::<Seen>);
    let server = Server::start(move |seen, wire, streams, session| {
        let (Some(session), "tools/call") = (session, seen.method()) else { return false };
        wire.whole(202, &[], "");
        let answer = |seen: &Seen| {
            let text = seen.body["params"]["arguments"]["n"].to_string();
            seen.result(&json!({"content": [{"type": "text", "text": text}]}))
        };
        let mut first = first.lock();
        match first.take() {
            None => *first = Some(seen.clone()),
            Some(earlier) => {
                streams.say(session, &answer(seen));
                streams.say(session, &answer(&earlier));
            }
        }
        true
    });
    let gateway = server.gateway();
    std::thread::scope(|scope| {
        for n in 0..2 {
            let gateway = &gateway;
            scope.spawn(move || {
                let arguments = json!({ "n": n }).to_string();
                let answer = Http::modern_call(&gateway.url(), "u__t", &arguments).answer();
                assert_eq!(answer["result"]["content"][0]["text"], n.to_string(), "{answer}");
            });
        }
    });
    let ids: Vec<Value> =
        server.puppet.requests("tools/call").iter().map(|call| call.body["id"].clone()).collect();
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn a_call_whose_stream_ends_is_not_sent_again_and_the_server_is_greeted_anew() {
    let server = Server::start(|seen, wire, streams, session| {
        let (Some(0), "tools/call") = (session, seen.method()) else { return false };
        wire.whole(202, &[], "");
        streams.cut(0);
        true
    });
    let gateway = server.gateway();
    let answer = called(&gateway);
    let unknown =
        (-31003, "delivery_unknown".to_owned(), "unknown".to_owned(), false, "u".to_owned());
    assert_eq!(own_error(&answer), unknown, "{answer}");
    eventually("a new stream", || (server.streams.len() == 2).then_some(()));
    replicas_up(&gateway, "u", 1);
    works(&gateway);
    let calls = server.puppet.requests("tools/call");
    let paths: Vec<&str> = calls.iter().map(|call| call.path.as_str()).collect();
    assert_eq!(paths, ["/message?session=0", "/message?session=1"]);
}

#[test]
fn a_stream_that_ends_while_nobody_calls_is_opened_again() {
    let server = Server::start(|_, _, _, _| false);
    let gateway = server.gateway();
    server.streams.cut(0);
    eventually("a new stream", || (server.streams.len() == 2).then_some(()));
    replicas_up(&gateway, "u", 1);
    works(&gateway);
    assert_eq!(server.puppet.requests("initialize").len(), 2);
}

#[test]
fn changes_of_lists_are_told_on_the_stream() {
    let server = Server::start(|_, _, _, _| false);
    let gateway = server.gateway();
    let before = server.puppet.requests("tools/list").len();
    let note = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"});
    server.streams.say(0, &note);
    eventually("a new list", || {
        (server.puppet.requests("tools/list").len() > before).then_some(())
    });
    works(&gateway);
}

// === posts ===

#[test]
fn a_message_that_is_not_taken_fails_its_call_at_once() {
    let server = Server::start(|seen, wire, _, session| {
        let refuses = session.is_some() && seen.method() == "tools/call";
        if refuses {
            wire.whole(400, &[], "no");
        }
        refuses
    });
    let gateway = server.gateway();
    let answer = called(&gateway);
    assert_eq!(answer["error"]["data"]["upstream"], "u", "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("HTTP 400"), "{answer}");
    assert_eq!(server.puppet.requests("tools/call").len(), 1);
    // Whether it ran all the same nobody knows: it is told that nobody waits.
    eventually("a cancellation", || {
        (server.puppet.requests("notifications/cancelled").len() == 1).then_some(())
    });
}

#[test]
fn a_server_that_forgot_the_session_is_greeted_anew() {
    let server = Server::start(|seen, wire, _, session| {
        let forgot = session == Some(0) && matches!(seen.method(), "tools/call" | "ping");
        if forgot {
            wire.whole(404, &[], "Could not find session");
        }
        forgot
    });
    let gateway = server.gateway();
    // The first call finds it out.
    called(&gateway);
    eventually("a new stream", || (server.streams.len() == 2).then_some(()));
    replicas_up(&gateway, "u", 1);
    works(&gateway);
    let pings = server.puppet.requests("ping");
    let old = pings.iter().filter(|ping| ping.path == "/message?session=0").count();
    assert_eq!(old, 1, "one look is enough: it is there, and wants a greeting");
}

#[test]
fn a_post_that_is_answered_only_after_its_call_holds_up_nobody() {
    let (held, gate) = (Gate::default(), Gate::default());
    let (hold, open) = (held.clone(), gate.clone());
    let server = Server::start(move |seen, wire, streams, session| {
        let slow = seen.method() == "tools/call" && seen.param("name") == "other";
        if let Some(session) = session.filter(|_| slow) {
            // It asks something in between, as if the call were still being posted.
            streams.say(session, &json!({"jsonrpc": "2.0", "id": "q", "method": "ping"}));
            held.open();
            gate.pass();
            let result = json!({"content": [{"type": "text", "text": "slow"}]});
            streams.say(session, &seen.result(&result));
            wire.whole(200, &[], "");
        }
        slow
    });
    let gateway = server.gateway();
    let slow = std::thread::scope(|scope| {
        let call = scope.spawn(|| Http::modern_call(&gateway.url(), "u__other", "{}").answer());
        hold.pass();
        works(&gateway);
        let is = |seen: &Seen| seen.body["id"] == "q" && seen.body["result"] == json!({});
        eventually("an answer to its ping", || server.puppet.seen().iter().any(is).then_some(()));
        open.open();
        call.join().unwrap()
    });
    assert_eq!(slow["result"]["content"][0]["text"], "slow", "{slow}");
}

#[test]
fn an_answer_counts_though_its_post_is_never_answered() {
    let server = Server::start(|seen, wire, streams, session| {
        let Some(session) = session.filter(|_| seen.method() == "tools/call") else { return false };
        let result = json!({"content": [{"type": "text", "text": "s:t"}]});
        streams.say(session, &seen.result(&result));
        wire.until_closed();
        true
    });
    let gateway = server.gateway();
    works(&gateway);
    works(&gateway);
    assert!(server.puppet.requests("notifications/cancelled").is_empty());
}

#[test]
fn progress_reaches_the_client_and_a_call_it_gives_up_is_cancelled() {
    let server = Server::start(|seen, wire, streams, session| {
        let Some(session) = session.filter(|_| seen.method() == "tools/call") else { return false };
        wire.whole(202, &[], "");
        streams.say(session, &seen.progress(1, "half"));
        true
    });
    let gateway = server.gateway();
    let client = Session::open(&gateway, "{}");
    let mut call = client.begin(&crate::support::session::call(
        "\"c\"",
        "u__t",
        r#""_meta":{"progressToken":"mine"}"#,
    ));
    let note = call.message().unwrap();
    assert_eq!(note["params"], json!({"progressToken": "mine", "progress": 1, "message": "half"}));
    client.cancel("\"c\"");
    let told = eventually("the cancellation", || {
        server.puppet.requests("notifications/cancelled").into_iter().next()
    });
    let sent = &server.puppet.requests("tools/call")[0];
    assert_eq!(told.body["params"]["requestId"], sent.body["id"]);
    assert_eq!(told.path, "/message?session=0");
}

// === found by asking ===

#[test]
fn a_legacy_server_that_refuses_streamable_http_is_asked_for_its_stream() {
    for (status, era) in [(400, "auto"), (404, "auto"), (405, "legacy")] {
        let server = Server::start(move |seen, wire, _, _| {
            let refuses = seen.verb == "POST" && seen.path == "/sse";
            if refuses {
                wire.whole(status, &["Content-Type: text/plain"], "no");
            }
            refuses
        });
        let keys = format!("era = \"{era}\"");
        let gateway = Gateway::start(&config(&upstream("u", &keys, &[server.replica("")])));
        let up = replicas_up(&gateway, "u", 1);
        assert_eq!(up["replicas"][0]["transport"], "sse", "{status}: {up}");
        listed(&gateway, "u__t");
        works(&gateway);
        let tried = server.puppet.seen().into_iter().filter(|seen| seen.path == "/sse");
        let tried: Vec<String> = tried.map(|seen| seen.method().to_owned()).collect();
        let expected: &[&str] = if era == "auto" {
            &["server/discover", "initialize", ""]
        } else {
            &["initialize", ""]
        };
        assert_eq!(tried, expected, "{status}");
    }
}

#[test]
fn nobody_is_asked_for_a_stream_where_that_cannot_help() {
    let refusing = |status: u16, body: &'static str| {
        Puppet::start(Offer::new("s", Era::Legacy), move |seen, wire| {
            let post = seen.verb == "POST";
            if post {
                wire.whole(status, &["Content-Type: application/json"], body);
            } else {
                wire.whole(405, &[], "");
            }
            true
        })
    };
    let modern = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32020,"message":"headers"}}"#;
    for (status, body, keys, asked) in [
        (404, "", "", true),
        (404, "", "transport = \"http\"", false),
        (406, "", "", false),
        (400, modern, "", false),
    ] {
        let server = refusing(status, body);
        let replica = format!("{}\n{keys}", url(&server.url));
        let gateway = Gateway::start(&config(&upstream("u", "era = \"legacy\"", &[replica])));
        if asked {
            // What was tried is said.
            down(&gateway, &["neither", "HTTP 404", "GET", "HTTP 405"]);
        } else {
            let word = if body.is_empty() { format!("HTTP {status}") } else { "-32020".to_owned() };
            down(&gateway, &[&word]);
        }
        assert_eq!(!server.verbs("GET").is_empty(), asked, "{status} {keys}");
    }
}

#[test]
fn sessions_of_their_own_are_streams_of_their_own() {
    let server = Server::start(|_, _, _, _| false);
    let keys = "isolation = \"session\"";
    let replica = server.replica("transport = \"sse\"");
    let gateway = Gateway::start(&config(&upstream("u", keys, &[replica])));
    listed(&gateway, "u__t");
    let clients: Vec<Session> = (0..2).map(|_| Session::open(&gateway, "{}")).collect();
    for client in &clients {
        let answer = client.call("u__t", "{}").answer();
        assert_eq!(answer["result"]["content"][0]["text"], "s:t", "{answer}");
    }
    let calls = server.puppet.requests("tools/call");
    assert_ne!(calls[0].path, calls[1].path);
}
