//! Streams of calls that the gateway ends before the answer, as its upstream does: clients of
//! 2025-11-25 come back for the rest (2025-11-25, transports, "Sending Messages to the Server").

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use waypost::base::clock;

use crate::support::puppet::{Offer, Puppet, Seen};
use crate::support::session::call;
use crate::support::toml::{upstream, url};
use crate::support::{Era, Gateway, Http, PATIENCE, Session, eventually, listed};

/// A server that ends the stream of a call at once, and answers in the one that follows when it is
/// told to.
fn server() -> (Puppet, Arc<AtomicBool>) {
    let go = Arc::new(AtomicBool::new(false));
    let (running, goes) = (Mutex::<Option<Seen>>::default(), Arc::clone(&go));
    let puppet = Puppet::start(Offer::new("u", Era::Legacy).tools(&["t"]), move |seen, wire| {
        if seen.method() == "tools/call" {
            *running.lock() = Some(seen.clone());
            wire.stream();
            wire.piece(b"id: e-1\nretry: 50\ndata:\n\n");
            wire.end();
        } else if seen.header("last-event-id").is_some() {
            wire.stream();
            let end = clock::now() + PATIENCE;
            while !goes.load(Ordering::SeqCst) && clock::now() < end && wire.piece(b":\n\n") {
                std::thread::sleep(Duration::from_millis(5));
            }
            let of = running.lock().clone().unwrap();
            let answer = of.result(&json!({"content": [{"type": "text", "text": "at last"}]}));
            wire.piece(format!("id: e-2\ndata: {answer}\n\n").as_bytes());
            wire.end();
        } else {
            return false;
        }
        true
    });
    (puppet, go)
}

fn resumptions(server: &Puppet) -> usize {
    server.verbs("GET").iter().filter(|seen| seen.header("last-event-id").is_some()).count()
}

#[test]
fn a_client_is_sent_away_with_the_stream_of_the_server_and_gets_the_rest_once() {
    let (server, go) = server();
    let gateway = Gateway::start(&upstream("u", "", &[url(&server.url)]));
    listed(&gateway, "u__t");
    let client = Session::open(&gateway, "{}");
    let first = client.post(&call("1", "u__t", ""));
    assert!(first.messages().is_empty(), "{first:?}");
    let last = first.last_event().unwrap();
    assert_eq!(first.body, format!("id: {last}\nretry: 1000\ndata:\n\nretry: 50\n\n"));
    // Nothing is asked twice while it is away, and other calls are not held up.
    eventually("the server to be asked for the rest", || (resumptions(&server) == 1).then_some(()));
    assert!(!client.tools().is_empty());

    go.store(true, Ordering::SeqCst);
    let rest = || {
        let mut back = Http::come_back(&gateway.url(), &client.id, &last);
        std::iter::from_fn(|| back.event()).collect::<Vec<_>>()
    };
    let got = rest();
    assert_eq!(got.len(), 2, "{got:?}");
    assert_eq!(got[0], format!("id: {last}\nretry: 1000\ndata:"));
    let answer: Value = serde_json::from_str(got[1].split_once("data: ").unwrap().1).unwrap();
    assert_eq!(
        (&answer["id"], &answer["result"]["content"][0]["text"]),
        (&json!(1), &json!("at last"))
    );
    assert_eq!(rest(), got, "the same under the same ids");
    assert_eq!((server.requests("tools/call").len(), resumptions(&server)), (1, 1));
    assert!(server.requests("notifications/cancelled").is_empty());
}

#[test]
fn a_client_that_does_not_come_back_loses_its_answer_and_nothing_else() {
    let (server, go) = server();
    go.store(true, Ordering::SeqCst);
    let gateway = Gateway::start(&upstream("u", "", &[url(&server.url)]));
    listed(&gateway, "u__t");
    let client = Session::open(&gateway, "{}");
    for n in 1..=20 {
        let reply = client.post(&call(&n.to_string(), "u__t", ""));
        assert!(reply.messages().is_empty(), "{reply:?}");
    }
    let reply = client.post(&call("21", "u__t", ""));
    let mut back = Http::come_back(&gateway.url(), &client.id, &reply.last_event().unwrap());
    back.event().unwrap();
    assert_eq!(back.next().unwrap()["id"], 21);
    assert_eq!(server.requests("tools/call").len(), 21);
}

#[test]
fn older_clients_are_never_sent_away() {
    let (server, go) = server();
    go.store(true, Ordering::SeqCst);
    let gateway = Gateway::start(&upstream("u", "", &[url(&server.url)]));
    listed(&gateway, "u__t");
    let client = Session::of(&gateway, "2025-06-18", "{}");
    assert_eq!(
        client.post(&call("1", "u__t", "")).answer()["result"]["content"][0]["text"],
        "at last"
    );
}
