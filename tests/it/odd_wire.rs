//! Answers that upstreams write in odd forms, which every client has to understand, and forms that
//! are no answer, which must not hang or be run twice (HTML living standard, "Server-sent events";
//! specification, basic/transports).

use serde_json::{Value, json};

use crate::support::puppet::{Offer, Puppet, Seen, Wire};
use crate::support::toml::{upstream, url};
use crate::support::{Era, Gateway, Http, listed, own_error};

/// Characters of one to four bytes.
const TEXT: &str = "a \u{e9} \u{20ac} \u{1f600} \\ \" end";

fn result(seen: &Seen) -> String {
    let mut result = json!({"content": [{"type": "text", "text": TEXT}]});
    if seen.header("mcp-method").is_some() {
        result["resultType"] = json!("complete");
    }
    seen.result(&result).to_string()
}

fn stream(wire: &mut Wire, text: &str) {
    wire.stream();
    wire.piece(text.as_bytes());
    wire.end();
}

/// The message with a line break after each member, one `data:` a line.
fn over_lines(message: &str) -> String {
    let pretty: Value = serde_json::from_str(message).unwrap();
    let pretty = serde_json::to_string_pretty(&pretty).unwrap();
    format!("data: {}\n\n", pretty.replace('\n', "\ndata: "))
}

type Form = fn(&Seen, &mut Wire);

/// Forms that carry the answer.
const FORMS: &[(&str, Form)] = &[
    ("a message a line, called JSON", |seen, wire| {
        let body = format!("{}\n{}\n", seen.progress(1, "x"), result(seen));
        wire.whole(200, &["Content-Type: application/json"], &body);
    }),
    ("a message a line, without the last line break", |seen, wire| {
        let body = format!("{}\n{}", seen.progress(1, "x"), result(seen));
        wire.whole(200, &["Content-Type: application/json; charset=utf-8"], &body);
    }),
    ("JSON over many lines", |seen, wire| {
        let pretty: Value = serde_json::from_str(&result(seen)).unwrap();
        let body = format!("\r\n{}\r\n", serde_json::to_string_pretty(&pretty).unwrap());
        wire.whole(200, &["Content-Type: application/json"], &body);
    }),
    ("JSON in chunks of one byte", |seen, wire| {
        wire.chunked("application/json");
        result(seen).bytes().for_each(|byte| {
            wire.piece(&[byte]);
        });
        wire.end();
    }),
    ("JSON to the end of the connection", |seen, wire| {
        wire.raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n");
        wire.raw(result(seen).as_bytes());
        wire.hang_up();
    }),
    ("events with CRLF", |seen, wire| {
        stream(wire, &format!("event: message\r\ndata: {}\r\n\r\n", result(seen)));
    }),
    ("events with CR", |seen, wire| stream(wire, &format!("data: {}\r\r", result(seen)))),
    ("CRLF broken between two chunks", |seen, wire| {
        wire.stream();
        for piece in ["data: ", &result(seen), "\r", "\n\r", "\n"] {
            wire.piece(piece.as_bytes());
        }
        wire.end();
    }),
    ("events in chunks of one byte", |seen, wire| {
        wire.stream();
        format!("data: {}\n\n", result(seen)).bytes().for_each(|byte| {
            wire.piece(&[byte]);
        });
        wire.end();
    }),
    ("a byte order mark", |seen, wire| {
        stream(wire, &format!("\u{feff}data: {}\n\n", result(seen)));
    }),
    ("no space behind the colon", |seen, wire| {
        stream(wire, &format!("event:message\ndata:{}\n\n", result(seen)));
    }),
    ("data over many lines", |seen, wire| stream(wire, &over_lines(&result(seen)))),
    ("comments and fields that nobody knows", |seen, wire| {
        let before = ": hello\n\n:\n\nfield: x\nnothing\n\n";
        stream(wire, &format!("{before}: in it\nx: y\ndata: {}\n: after\n\n", result(seen)));
    }),
    ("events of other types", |seen, wire| {
        let other = "event: ping\ndata: {broken\n\nevent: endpoint\ndata: /messages\n\n";
        stream(wire, &format!("{other}event: message\ndata: {}\n\n", result(seen)));
    }),
    ("priming events", |seen, wire| {
        let prime = "id: 1\ndata:\n\nid: 2\nretry: 1\ndata: \n\nid: 3\n\n";
        stream(wire, &format!("{prime}id: 4\ndata: {}\n\n", result(seen)));
    }),
    ("no blank line at the end", |seen, wire| stream(wire, &format!("data: {}", result(seen)))),
    ("garbage behind the answer", |seen, wire| {
        let answer = result(seen);
        stream(wire, &format!("data: {answer}\n\ndata: {{garbage\n\ndata: {answer}\n\n\u{0}\u{1}"));
    }),
    ("a stream that stays open behind the answer", |seen, wire| {
        wire.stream();
        wire.piece(format!("data: {}\n\n", result(seen)).as_bytes());
        wire.until_closed();
    }),
    ("the answer under an HTTP error", |seen, wire| {
        wire.whole(400, &["Content-Type: application/json"], &result(seen));
    }),
];

/// Forms that carry none.
const NO_ANSWERS: &[(&str, Form)] = &[
    ("202", |_, wire| {
        wire.whole(202, &[], "");
    }),
    ("204", |_, wire| {
        wire.raw(b"HTTP/1.1 204 No Content\r\n\r\n");
    }),
    ("nothing", |_, wire| {
        wire.whole(200, &["Content-Type: application/json"], "");
    }),
    ("a page", |_, wire| {
        wire.whole(200, &["Content-Type: text/html"], "<html></html>");
    }),
    ("a notification", |seen, wire| {
        wire.json(&seen.progress(1, "x"));
    }),
    ("half of it", |seen, wire| {
        let answer = result(seen);
        wire.whole(200, &["Content-Type: application/json"], answer.get(..40).unwrap());
    }),
    ("garbage behind it on its line", |seen, wire| {
        let body = format!("{} garbage", result(seen));
        wire.whole(200, &["Content-Type: application/json"], &body);
    }),
    ("a stream of nothing", |_, wire| stream(wire, ": nothing\n\n")),
    ("an event that is no JSON", |_, wire| stream(wire, "data: {garbage\n\n")),
    ("text that is not UTF-8", |seen, wire| {
        let mut body = result(seen).into_bytes();
        let at = body.iter().position(|byte| *byte > 0x7F).unwrap();
        body[at] = 0xFF;
        wire.stream();
        wire.piece(&[b"data: ".as_slice(), &body, b"\n\n"].concat());
        wire.end();
    }),
];

/// A server of each era that answers the call of the tool `tN` in the form with this number.
fn servers(forms: &'static [(&str, Form)]) -> (Gateway, Vec<(Era, Puppet)>) {
    let good = std::iter::once("good".to_owned());
    let names: Vec<String> = (0..forms.len()).map(|n| format!("t{n}")).chain(good).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let play = move |seen: &Seen, wire: &mut Wire| {
        let form = seen.param("name").strip_prefix('t').and_then(|n| n.parse::<usize>().ok());
        let Some((_, form)) = form.and_then(|n| forms.get(n)) else { return false };
        form(seen, wire);
        true
    };
    let servers = [Era::Legacy, Era::Modern]
        .map(|era| (era, Puppet::start(Offer::new("u", era).tools(&names), play)));
    let [(_, legacy), (_, modern)] = &servers;
    let config = format!(
        "{}{}",
        upstream("legacy", "timeout = \"20s\"", &[url(&legacy.url)]),
        upstream("modern", "timeout = \"20s\"", &[url(&modern.url)])
    );
    let gateway = Gateway::start(&config);
    listed(&gateway, "legacy__t0");
    listed(&gateway, "modern__t0");
    (gateway, Vec::from(servers))
}

fn prefix(era: Era) -> &'static str {
    if era == Era::Legacy { "legacy" } else { "modern" }
}

fn calls(server: &Puppet, n: usize) -> usize {
    let name = format!("t{n}");
    server.requests("tools/call").iter().filter(|seen| seen.param("name") == name).count()
}

#[test]
fn an_answer_in_an_odd_form_is_the_answer_to_clients_of_both_eras() {
    let (gateway, servers) = servers(FORMS);
    let session = Http::legacy_session(&gateway.url(), "2025-11-25");
    for (era, server) in &servers {
        for (n, (form, _)) in FORMS.iter().enumerate() {
            let tool = format!("{}__t{n}", prefix(*era));
            let modern = Http::modern_call(&gateway.url(), &tool, "{}");
            let legacy = Http::legacy_call(&gateway.url(), &session, &tool, "{}");
            for reply in [&modern, &legacy] {
                let answer = reply.answer();
                let text = &answer["result"]["content"][0]["text"];
                assert_eq!(text, TEXT, "{form}, {era:?} server: {answer}");
                assert_eq!(answer["id"], 1, "{form}");
            }
            assert_eq!(modern.answer()["result"]["resultType"], "complete", "{form}");
            assert_eq!(calls(server, n), 2, "{form}: sent once for each client");
        }
    }
}

#[test]
fn what_is_no_answer_is_an_honest_error_at_once_and_is_not_sent_again() {
    let (gateway, servers) = servers(NO_ANSWERS);
    for (era, server) in &servers {
        for (n, (form, _)) in NO_ANSWERS.iter().enumerate() {
            let tool = format!("{}__t{n}", prefix(*era));
            let answer = Http::modern_call(&gateway.url(), &tool, "{}").answer();
            let (code, _, delivery, ..) = own_error(&answer);
            assert_eq!((code, delivery.as_str()), (-31003, "unknown"), "{form}, {era:?}: {answer}");
            assert_eq!(answer["id"], 1, "{form}");
            assert_eq!(calls(server, n), 1, "{form}: sent once");
            // Several in a row, or half of the calls, would shut its gate.
            let good = format!("{}__good", prefix(*era));
            for _ in 0..3 {
                let answer = Http::modern_call(&gateway.url(), &good, "{}").answer();
                assert!(answer["result"].is_object(), "after {form}, {era:?}: {answer}");
            }
        }
        // None of it took the server down.
        let health = crate::support::health(&gateway, prefix(*era));
        assert_eq!(health["status"], "healthy", "{era:?}: {health}");
    }
}
