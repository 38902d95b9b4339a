//! Answers over 256 KiB pass to the client while they come in, byte for byte but for what its era
//! needs, and nobody takes a part of one for all of it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::procfs::resident_kib;
use crate::support::puppet::{Gate, Offer, Puppet, Seen, Wire};
use crate::support::toml::{upstream, url};
use crate::support::upstream::config;
use crate::support::{
    Era, Gateway, Http, MODERN_META, PATIENCE, StdioClient, eventually, listed, metric, own_error,
};

const INFLIGHT: &str = r#"mcp_upstream_inflight{upstream="u",replica="0"}"#;

/// Members of a result that only the bytes themselves keep.
const ODD: &str = r#""structuredContent":{"z":12345678901234567890123,"a":1e2,"m":1.0,"\u0061":"\ud83d\ude00 \/ é"},"_meta":{"x.y/z" : [ 1 , 2 ]}"#;

/// The members of a result with about so many bytes of text, which has all kinds of characters.
fn members(bytes: usize) -> String {
    let line = "0123456789 \\\" \\\\ \\n \\u20ac é € 😀 }]{[ ";
    let text = line.repeat(bytes / line.len() + 1);
    format!(r#""content":[{{"type":"text","text":"{text}"}}],{ODD}"#)
}

/// The bytes of an answer of an era, with the id before or behind the result.
fn answer(id: &Value, era: Era, bytes: usize, id_first: bool) -> String {
    let kind = if era == Era::Modern { r#""resultType":"complete","# } else { "" };
    let result = format!("{{{kind}{}}}", members(bytes));
    if id_first {
        format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
    } else {
        format!(r#"{{"result":{result},"jsonrpc":"2.0","id":{id}}}"#)
    }
}

/// A server whose calls the test answers.
fn server(era: Era, play: impl Fn(&Seen, &mut Wire) + Send + Sync + 'static) -> Puppet {
    Puppet::start(Offer::new("u", era).tools(&["t"]), move |seen, wire| {
        let call = seen.method() == "tools/call";
        if call {
            play(seen, wire);
        }
        call
    })
}

fn gateway(server: &Puppet, keys: &str) -> Gateway {
    let gateway = Gateway::start(&config(&upstream("u", keys, &[url(&server.url)])));
    listed(&gateway, "u__t");
    gateway
}

/// How a server writes a large body: with its length before it, or in chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Length,
    Chunks,
}

/// The head of a body of so many bytes.
fn head(wire: &mut Wire, form: Form, bytes: usize) {
    match form {
        Form::Chunks => {
            wire.chunked("application/json");
        }
        Form::Length => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ";
            wire.raw(format!("{head}{bytes}\r\n\r\n").as_bytes());
        }
    }
}

/// Some of the body. Answers whether it was taken.
fn part(wire: &mut Wire, form: Form, bytes: &[u8]) -> bool {
    match form {
        Form::Length => wire.raw(bytes),
        Form::Chunks => bytes.chunks(16_411).all(|piece| wire.piece(piece)),
    }
}

/// The end of the body.
fn last(wire: &mut Wire, form: Form) {
    if form == Form::Chunks {
        wire.end();
    }
}

fn nothing_in_flight(gateway: &Gateway) {
    eventually("nothing in flight", || (metric(gateway, INFLIGHT).abs() < 0.5).then_some(()));
}

/// The head and the body of a call as it goes over the wire.
fn request(gateway: &Gateway, era: Era) -> String {
    let params = r#""name":"u__t","arguments":{}"#;
    let (more, body) = match era {
        Era::Modern => (
            "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: u__t\r\n"
                .to_owned(),
            format!(
                r#"{{"jsonrpc":"2.0","id":"me","method":"tools/call","params":{{{params},{MODERN_META}}}}}"#
            ),
        ),
        Era::Legacy => (
            format!("Mcp-Session-Id: {}\r\n", Http::legacy_session(&gateway.url(), "2025-11-25")),
            format!(r#"{{"jsonrpc":"2.0","id":"me","method":"tools/call","params":{{{params}}}}}"#),
        ),
    };
    format!(
        "POST /mcp HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n{more}Content-Length: {}\r\n\r\n{body}",
        gateway.addr(),
        body.len()
    )
}

fn connect(gateway: &Gateway) -> TcpStream {
    let socket = TcpStream::connect(gateway.addr()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// A call, and its answer.
fn call(gateway: &Gateway, era: Era) -> String {
    let request = request(gateway, era).replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1);
    let reply = Http::raw(gateway.addr(), request.as_bytes());
    assert_eq!(reply.status, 200, "{}", reply.body.get(..400.min(reply.body.len())).unwrap_or("?"));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    reply.body
}

const ERAS: [(Era, Era); 4] = [
    (Era::Modern, Era::Modern),
    (Era::Modern, Era::Legacy),
    (Era::Legacy, Era::Modern),
    (Era::Legacy, Era::Legacy),
];

/// Smaller than what is passed on, and larger by little, by much, and than what is ever held.
const SIZES: [usize; 4] = [200 * 1024, 300 * 1024, 3 * 1024 * 1024, 40 * 1024 * 1024];

#[track_caller]
fn is_answer(body: &str, client: Era, bytes: usize, what: &str) {
    let members = members(bytes);
    let at = body.find(&members);
    let shown = body.get(..200).unwrap_or("?");
    let rest = body.replacen(&members, r#""M":0"#, 1);
    assert!(at.is_some(), "{what}: the result has changed: {} bytes, {shown}", body.len());
    let rest: Value = serde_json::from_str(&rest).unwrap_or_else(|e| panic!("{what}: {e}: {rest}"));
    let mut result = json!({"M": 0});
    if client == Era::Modern {
        result["resultType"] = json!("complete");
    }
    let mut got = rest;
    if client == Era::Legacy {
        // Of no meaning to a legacy client, and no harm.
        got["result"].as_object_mut().unwrap().remove("resultType");
    }
    assert_eq!(got, json!({"jsonrpc": "2.0", "id": "me", "result": result}), "{what}");
}

fn arrives(form: Form) {
    for (server_era, client) in ERAS {
        for size in SIZES {
            for id_first in [true, false] {
                let bridged = server_era != client;
                if size > 4 * 1024 * 1024 && id_first != (client == Era::Modern || bridged) {
                    continue; // the largest in one of the two forms
                }
                if size > 4 * 1024 * 1024 && bridged && client == Era::Legacy {
                    continue; // and over one bridge
                }
                let what = format!("{server_era:?} {client:?} {size} {id_first} {form:?}");
                let server = server(server_era, move |seen, wire| {
                    let text = answer(&seen.body["id"], server_era, size, id_first);
                    head(wire, form, text.len());
                    part(wire, form, text.as_bytes());
                    last(wire, form);
                });
                let gateway = gateway(&server, "");
                is_answer(&call(&gateway, client), client, size, &what);
                nothing_in_flight(&gateway);
                assert_eq!(server.requests("tools/call").len(), 1, "{what}");
            }
        }
    }
}

#[test]
fn a_large_answer_arrives_byte_for_byte_in_both_eras_wherever_its_id_stands() {
    arrives(Form::Length);
}

#[test]
fn a_large_answer_in_chunks_arrives_byte_for_byte_in_both_eras_wherever_its_id_stands() {
    arrives(Form::Chunks);
}

fn passes_at_once(form: Form) {
    for (server_era, client) in ERAS {
        for id_first in [true, false] {
            let gate = Gate::default();
            let at = gate.clone();
            let size = 2 * 1024 * 1024;
            let server = server(server_era, move |seen, wire| {
                let text = answer(&seen.body["id"], server_era, size, id_first);
                let (first, rest) = text.as_bytes().split_at(1024 * 1024);
                head(wire, form, text.len());
                part(wire, form, first);
                at.pass();
                part(wire, form, rest);
                last(wire, form);
            });
            let gateway = gateway(&server, "timeout = \"5s\"");
            let mut socket = connect(&gateway);
            let request =
                request(&gateway, client).replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1);
            socket.write_all(request.as_bytes()).unwrap();
            let mut got = vec![0; 900 * 1024];
            socket.read_exact(&mut got).unwrap();
            assert!(metric(&gateway, INFLIGHT) > 0.5, "it holds its place while it passes");
            gate.open();
            socket.read_to_end(&mut got).unwrap();
            assert!(got.ends_with(b"0\r\n\r\n"), "{server_era:?} {client:?}: whole");
            nothing_in_flight(&gateway);
        }
    }
}

#[test]
fn the_beginning_of_a_large_answer_is_at_the_client_before_its_end_has_left_the_upstream() {
    passes_at_once(Form::Length);
}

#[test]
fn the_beginning_of_a_large_answer_in_chunks_is_at_the_client_before_its_end_too() {
    passes_at_once(Form::Chunks);
}

fn costs_little(form: Form) {
    const PIECES: usize = 200;
    let server = server(Era::Modern, move |seen, wire| {
        let id = &seen.body["id"];
        let start = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"complete","content":[{{"type":"text","text":""#
        );
        let end = r#""}]}}"#;
        let piece = vec![b'x'; 1024 * 1024];
        head(wire, form, start.len() + PIECES * piece.len() + end.len());
        part(wire, form, start.as_bytes());
        for _ in 0..PIECES {
            if !part(wire, form, &piece) {
                return;
            }
        }
        part(wire, form, end.as_bytes());
        last(wire, form);
    });
    let gateway = gateway(&server, "");
    let mut socket = connect(&gateway);
    let request = request(&gateway, Era::Modern);
    let before = resident_kib(gateway.pid());
    socket.write_all(request.as_bytes()).unwrap();
    let (mut buffer, mut total, mut most) = (vec![0; 1024 * 1024], 0, 0);
    let mut end = Vec::new();
    while !end.ends_with(b"0\r\n\r\n") {
        let read = socket.read(&mut buffer).unwrap();
        assert!(read > 0, "broke off after {total} bytes: {}", String::from_utf8_lossy(&end));
        total += read;
        end.extend_from_slice(&buffer[..read]);
        end.drain(..end.len().saturating_sub(512));
        most = most.max(resident_kib(gateway.pid()));
    }
    assert!(total > PIECES * 1024 * 1024);
    let grown = most.saturating_sub(before);
    assert!(grown < 32 * 1024, "200 MiB cost {grown} KiB");
}

#[test]
fn a_large_answer_costs_little_memory_however_large_it_is() {
    costs_little(Form::Length);
}

#[test]
fn a_large_answer_in_chunks_costs_little_memory_however_large_it_is() {
    costs_little(Form::Chunks);
}

// === what breaks off ===

/// Everything that comes on a connection until it is closed.
fn until_closed(gateway: &Gateway, era: Era) -> String {
    let mut socket = connect(gateway);
    socket.write_all(request(gateway, era).as_bytes()).unwrap();
    let mut got = Vec::new();
    // A reset is an end too.
    drop(socket.read_to_end(&mut got));
    String::from_utf8_lossy(&got).into_owned()
}

type Breach = fn(&str) -> Vec<u8>;

/// What can be wrong with a large answer behind its first megabyte.
const BREACHES: &[(&str, Breach)] = &[
    ("no JSON in the middle", |text| {
        let mut text = text.as_bytes().to_vec();
        let at = text.len() - 100_000;
        let quote = text[..at].iter().rposition(|byte| *byte == b'0').unwrap();
        text[quote] = b'\n';
        text
    }),
    ("no UTF-8 in the middle", |text| {
        let mut text = text.as_bytes().to_vec();
        let at = text.len() - 100_000;
        let zero = text[..at].iter().rposition(|byte| *byte == b'0').unwrap();
        text[zero] = 0xFF;
        text
    }),
    ("another id at the end", |text| {
        let at = text.rfind("\"id\":").unwrap();
        format!("{}\"id\":\"not yours\"}}", text.get(..at).unwrap()).into_bytes()
    }),
    ("no id", |text| {
        let at = text.rfind(",\"id\":").unwrap();
        format!("{}}}", text.get(..at).unwrap()).into_bytes()
    }),
    ("an error besides", |text| {
        format!("{},\"error\":{{\"code\":1,\"message\":\"x\"}}}}", text.strip_suffix('}').unwrap())
            .into_bytes()
    }),
    ("garbage behind it", |text| format!("{text}garbage").into_bytes()),
    ("a second message behind it", |text| format!("{text}{text}").into_bytes()),
    ("a bracket too few", |text| text.strip_suffix('}').unwrap().as_bytes().to_vec()),
    ("too deep", |text| {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        text.replacen("\"_meta\":{", &format!("\"deep\":{deep},\"_meta\":{{"), 1).into_bytes()
    }),
];

#[test]
fn a_large_answer_that_is_no_answer_after_all_ends_with_the_connection() {
    for (server_era, client) in [(Era::Modern, Era::Modern), (Era::Legacy, Era::Legacy)] {
        for (what, breach) in BREACHES {
            let server = server(server_era, move |seen, wire| {
                let text = answer(&seen.body["id"], server_era, 1024 * 1024, false);
                let broken = breach(&text);
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                    broken.len()
                );
                wire.raw(head.as_bytes());
                wire.raw(&broken);
            });
            let gateway = gateway(&server, "");
            broke_off(&gateway, client, what);
            assert_eq!(server.requests("tools/call").len(), 1, "{what}: not sent again");
            // The next call works.
            let echo = Http::modern_call(&gateway.url(), "echo", r#"{"message":"x"}"#);
            assert_eq!(echo.verdict(), (200, 0));
        }
    }
}

/// A part of the answer has come, and the connection was closed before all of it had.
#[track_caller]
fn broke_off(gateway: &Gateway, client: Era, what: &str) {
    let got = until_closed(gateway, client);
    let shown = got.get(..500).unwrap_or(&got);
    let passing = "\r\ntransfer-encoding: chunked\r\n";
    assert!(got.starts_with("HTTP/1.1 200") && got.contains(passing), "{what}: {shown}");
    assert!(!got.ends_with("0\r\n\r\n"), "{what}: looks whole");
    nothing_in_flight(gateway);
}

fn goes_away(form: Form) {
    for client in [Era::Modern, Era::Legacy] {
        let server = server(Era::Modern, move |seen, wire| {
            let text = answer(&seen.body["id"], Era::Modern, 2 * 1024 * 1024, true);
            head(wire, form, text.len());
            part(wire, form, &text.as_bytes()[..1024 * 1024]);
            wire.hang_up();
        });
        let gateway = gateway(&server, "");
        broke_off(&gateway, client, &format!("{client:?}"));
        assert_eq!(server.requests("tools/call").len(), 1, "not sent again");
    }
}

#[test]
fn an_upstream_that_goes_away_in_the_middle_ends_the_connection() {
    goes_away(Form::Length);
}

#[test]
fn an_upstream_that_goes_away_between_chunks_ends_the_connection() {
    goes_away(Form::Chunks);
}

fn stops(form: Form) {
    for client in [Era::Modern, Era::Legacy] {
        let server = server(Era::Modern, move |seen, wire| {
            let text = answer(&seen.body["id"], Era::Modern, 2 * 1024 * 1024, true);
            head(wire, form, text.len());
            part(wire, form, &text.as_bytes()[..1024 * 1024]);
            wire.until_closed();
        });
        let gateway = gateway(&server, "timeout = \"1s\"");
        broke_off(&gateway, client, &format!("{client:?}"));
        assert_eq!(server.requests("tools/call").len(), 1, "not sent again");
    }
}

#[test]
fn an_upstream_that_stops_in_the_middle_is_given_up_after_its_timeout() {
    stops(Form::Length);
}

#[test]
fn an_upstream_that_stops_between_chunks_is_given_up_after_its_timeout() {
    stops(Form::Chunks);
}

#[test]
fn what_is_wrong_at_the_beginning_of_a_large_answer_is_an_error_and_no_broken_answer() {
    for client in [Era::Modern, Era::Legacy] {
        let server = server(Era::Modern, |_, wire| {
            let text = answer(&json!("not yours"), Era::Modern, 1024 * 1024, true);
            wire.whole(200, &["Content-Type: application/json"], &text);
        });
        let gateway = gateway(&server, "");
        let body: Value = serde_json::from_str(&call(&gateway, client)).unwrap();
        assert_eq!((own_error(&body).0, &body["id"]), (-31003, &json!("me")), "{client:?}");
        nothing_in_flight(&gateway);
    }
}

fn client_goes_away(form: Form) {
    for client in [Era::Modern, Era::Legacy] {
        let closed = Gate::default();
        let at = closed.clone();
        let server = server(Era::Modern, move |seen, wire| {
            let text = answer(&seen.body["id"], Era::Modern, 1024 * 1024, true);
            head(wire, form, usize::MAX / 4);
            // More and more of one text, for as long as anybody takes it.
            let start = text.find("0123456789").unwrap();
            part(wire, form, &text.as_bytes()[..start]);
            let piece = vec![b'x'; 64 * 1024];
            while part(wire, form, &piece) {}
            at.open();
        });
        let gateway = gateway(&server, "");
        let mut socket = connect(&gateway);
        socket.write_all(request(&gateway, client).as_bytes()).unwrap();
        socket.read_exact(&mut vec![0; 512 * 1024]).unwrap();
        drop(socket);
        closed.pass();
        nothing_in_flight(&gateway);
    }
}

#[test]
fn a_client_that_goes_away_in_the_middle_leaves_nothing_in_flight() {
    client_goes_away(Form::Length);
}

#[test]
fn a_client_that_goes_away_between_chunks_leaves_nothing_in_flight() {
    client_goes_away(Form::Chunks);
}

// === clients that must have it whole ===

#[test]
fn a_client_on_the_pipe_gets_a_large_answer_in_one_line() {
    for (server_era, client) in ERAS {
        let size = 2 * 1024 * 1024;
        let server = server(server_era, move |seen, wire| {
            let text = answer(&seen.body["id"], server_era, size, false);
            // Line breaks between tokens, which a line cannot have.
            let text = text.replacen("{\"result\"", "{\n\"result\"", 1);
            wire.whole(200, &["Content-Type: application/json"], &text);
        });
        let mut pipe = StdioClient::start(&config(&upstream("u", "", &[url(&server.url)])));
        if client == Era::Legacy {
            pipe.handshake("2025-11-25");
        }
        let meta = if client == Era::Modern { format!(",{MODERN_META}") } else { String::new() };
        eventually("the tool", || {
            let list = format!(
                r#"{{"jsonrpc":"2.0","id":"l","method":"tools/list","params":{{"x":0{meta}}}}}"#
            );
            pipe.ask(&list).to_string().contains("u__t").then_some(())
        });
        pipe.send(&format!(
            r#"{{"jsonrpc":"2.0","id":"me","method":"tools/call","params":{{"name":"u__t"{meta}}}}}"#
        ));
        let line = eventually("the answer", || {
            let line = pipe.next_line();
            line.contains("\"me\"").then_some(line)
        });
        is_answer(&line, client, size, &format!("{server_era:?} {client:?}"));
    }
}

#[test]
fn an_answer_too_large_to_be_held_is_refused_to_a_client_on_the_pipe_which_goes_on() {
    let server = server(Era::Modern, |seen, wire| {
        let text = answer(&seen.body["id"], Era::Modern, 40 * 1024 * 1024, true);
        wire.whole(200, &["Content-Type: application/json"], &text);
    });
    let mut pipe = StdioClient::start(&config(&upstream("u", "", &[url(&server.url)])));
    eventually("the tool", || {
        let (_, list) = Http::modern_parts("\"l\"", "tools/list", None, "");
        pipe.ask(&list).to_string().contains("u__t").then_some(())
    });
    let (_, call) = Http::modern_parts("\"me\"", "tools/call", Some("u__t"), r#""name":"u__t""#);
    for _ in 0..2 {
        let answer = pipe.ask(&call);
        assert_eq!(own_error(&answer).0, -31007, "{answer}");
        assert_eq!(answer["id"], "me");
    }
}

#[test]
fn a_batch_with_a_large_answer_is_one_whole_array() {
    let size = 1024 * 1024;
    let server = server(Era::Legacy, move |seen, wire| {
        let text = answer(&seen.body["id"], Era::Legacy, size, true);
        wire.whole(200, &["Content-Type: application/json"], &text);
    });
    let gateway = gateway(&server, "");
    let session = Http::legacy_session(&gateway.url(), "2025-03-26");
    let body = r#"[{"jsonrpc":"2.0","id":"me","method":"tools/call","params":{"name":"u__t"}},{"jsonrpc":"2.0","id":2,"method":"ping"}]"#;
    let reply = Http::post(&gateway.url(), &[("Mcp-Session-Id", &session)], body);
    assert_eq!(reply.status, 200);
    assert!(reply.body.contains(&members(size)), "{} bytes", reply.body.len());
    let all: Value =
        serde_json::from_str(&reply.body.replacen(&members(size), r#""M":0"#, 1)).unwrap();
    let mut all = all.as_array().unwrap().clone();
    all.sort_by_key(|answer| answer["id"] == "me");
    assert_eq!(all[0], json!({"jsonrpc": "2.0", "id": 2, "result": {}}));
    assert_eq!(all[1], json!({"jsonrpc": "2.0", "id": "me", "result": {"M": 0}}));
    nothing_in_flight(&gateway);
}

#[test]
fn a_large_answer_in_a_stream_comes_behind_its_progress_in_one_event() {
    for (server_era, client) in ERAS {
        let size = 1024 * 1024;
        let server = server(server_era, move |seen, wire| {
            wire.stream();
            wire.event(&seen.progress(1, "soon"));
            let text = answer(&seen.body["id"], server_era, size, true);
            wire.piece(format!("data: {text}\n\n").as_bytes());
            wire.end();
        });
        let gateway = gateway(&server, "");
        let request = request(&gateway, client);
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let body = match client {
            Era::Modern => body.replacen(r#""_meta":{"#, r#""_meta":{"progressToken":7,"#, 1),
            Era::Legacy => {
                body.replacen(r#""params":{"#, r#""params":{"_meta":{"progressToken":7},"#, 1)
            }
        };
        let head: Vec<&str> =
            head.split("\r\n").filter(|line| !line.starts_with("Content-Length")).collect();
        let request = format!(
            "{}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            head.join("\r\n"),
            body.len()
        );
        let reply = Http::raw(gateway.addr(), request.as_bytes());
        let data = reply.body.lines().filter_map(|line| line.strip_prefix("data:"));
        let events: Vec<&str> = data.filter(|data| !data.is_empty()).collect();
        assert_eq!(events.len(), 2, "{server_era:?} {client:?}");
        assert!(events[0].contains(r#""progressToken":7"#), "{}", events[0]);
        is_answer(events[1].trim(), client, size, &format!("{server_era:?} {client:?}"));
        nothing_in_flight(&gateway);
    }
}

#[test]
fn a_large_answer_to_a_call_that_is_answered_as_a_stream_already_is_one_event() {
    // After ten seconds of silence the gateway opens a stream; only then does the answer come.
    let size = 1024 * 1024;
    let gate = Gate::default();
    let at = gate.clone();
    let server = server(Era::Legacy, move |seen, wire| {
        at.pass();
        let text = answer(&seen.body["id"], Era::Legacy, size, true);
        wire.whole(200, &["Content-Type: application/json"], &text);
    });
    let gateway = gateway(&server, "");
    let (headers, body) =
        Http::modern_parts("\"me\"", "tools/call", Some("u__t"), r#""name":"u__t""#);
    let mut stream = Http::open(&gateway.url(), &headers, &body);
    assert_eq!(stream.header("content-type").as_deref(), Some("text/event-stream"));
    gate.open();
    let event = eventually("the answer", || {
        let event = stream.event().unwrap();
        event.starts_with("data:").then_some(event)
    });
    is_answer(event.strip_prefix("data:").unwrap().trim(), Era::Modern, size, "late");
    nothing_in_flight(&gateway);
}
