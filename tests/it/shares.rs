//! What each principal gets: calls in flight, a rate, sessions, streams. What one takes is not taken
//! from the others.

use std::time::Duration;

use crate::support::client::initialize;
use crate::support::eventually;
use crate::support::keyed::{ALICE, BOB, Shower, gateway, refusal, refused};
use crate::support::upstream::Upstream;

const SHED: &str = r#"mcp_shed_total{stage="principal"}"#;

/// A call that costs the gateway next to nothing.
const ECHO: (&str, &str) = ("echo", r#"{"message":"x"}"#);

#[test]
fn a_principal_over_its_rate_is_refused_and_told_when_to_come_again() {
    let gateway = gateway("rate = 1\nburst = 3", "");
    let (alice, bob) = (Shower::of(&gateway, ALICE), Shower::of(&gateway, BOB));
    let session = alice.session("2025-11-25");
    let mut served = 0;
    // On a slow machine tokens come back meanwhile, but calls are faster.
    let last = loop {
        let reply = alice.call(ECHO.0, ECHO.1);
        if reply.verdict() != (200, 0) {
            break reply;
        }
        served += 1;
        assert!(served < 1_000, "it is never refused");
    };
    assert!(served >= 2, "{last:?}");
    let (code, kind, wait) = refused(&last);
    assert_eq!((last.status, code, kind.as_str()), (200, -31001, "rate_limited"));
    assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
    // What is no request is never refused.
    let named = [("Mcp-Session-Id", session.as_str())];
    for body in [
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
    ] {
        for _ in 0..5 {
            assert_eq!(alice.post(&named, body).status, 202, "{body}");
        }
    }
    // Nor is anybody else.
    assert_eq!(bob.call(ECHO.0, ECHO.1).verdict(), (200, 0));
    assert!((bob.metric(SHED) - 1.0).abs() < f64::EPSILON, "{}", bob.metric(SHED));
    eventually("a token", || (alice.call(ECHO.0, ECHO.1).verdict() == (200, 0)).then_some(()));
}

#[test]
fn each_request_of_a_batch_counts() {
    let gateway = gateway("rate = 1\nburst = 3", "");
    let alice = Shower::of(&gateway, ALICE);
    let session = alice.session("2025-03-26");
    let ping = |id: u8| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
    let note = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_owned();
    let all: Vec<String> = [note].into_iter().chain((1..=8).map(ping)).collect();
    let reply = alice.post(&[("Mcp-Session-Id", &session)], &format!("[{}]", all.join(",")));
    let answers = reply.answer();
    let answers = answers.as_array().unwrap();
    assert_eq!((reply.status, answers.len()), (200, 8), "{reply:?}");
    for (answer, id) in answers.iter().zip(1..) {
        assert_eq!(answer["id"], id);
    }
    let served = answers.iter().take_while(|answer| answer["result"].is_object()).count();
    assert!((2..=3).contains(&served), "{answers:?}");
    for answer in &answers[served..] {
        let (code, kind, _) = refusal(answer);
        assert_eq!((code, kind.as_str()), (-31001, "rate_limited"));
    }
}

#[test]
fn a_principal_at_its_bound_of_calls_gets_on_when_one_ends() {
    let upstream = Upstream::pipe(&[]);
    let share = "inflight = 2\nrate = 100000\nburst = 100000";
    let gateway = gateway(share, &upstream.replica("u"));
    let (alice, bob) = (Shower::of(&gateway, ALICE), Shower::of(&gateway, BOB));
    eventually("the tools", || {
        alice.modern("tools/list", None, "").body.contains("u__sleep").then_some(())
    });
    let one = alice.begin("u__sleep", r#"{"ms":60000}"#);
    let _two = alice.begin("u__sleep", r#"{"ms":60000}"#);
    eventually("both calls", || (upstream.of("tools/call").len() == 2).then_some(()));
    let reply = alice.call(ECHO.0, ECHO.1);
    let (code, kind, wait) = refused(&reply);
    assert_eq!((reply.status, code, kind.as_str()), (200, -31001, "overloaded"));
    assert_eq!(wait, Duration::from_secs(1));
    assert_eq!(refused(&alice.hello("2025-11-25")).1, "overloaded");
    assert_eq!(bob.call(ECHO.0, ECHO.1).verdict(), (200, 0));
    assert!((bob.metric(SHED) - 2.0).abs() < f64::EPSILON);
    drop(one);
    eventually("a place", || (alice.call(ECHO.0, ECHO.1).verdict() == (200, 0)).then_some(()));
}

#[test]
fn a_principal_at_its_bound_of_sessions_gets_one_when_one_ends() {
    let gateway = gateway("sessions = 2", "");
    let (alice, bob) = (Shower::of(&gateway, ALICE), Shower::of(&gateway, BOB));
    let (one, _two) = (alice.session("2025-11-25"), alice.session("2025-06-18"));
    let reply = alice.hello("2025-11-25");
    let (code, kind, _) = refused(&reply);
    assert_eq!((reply.status, code, kind.as_str()), (200, -31001, "overloaded"));
    assert_eq!(reply.header("mcp-session-id"), None);
    bob.session("2025-11-25");
    assert_eq!(alice.send("DELETE", "/mcp", &[("Mcp-Session-Id", &one)]).status, 204);
    alice.session("2025-11-25");
    assert_eq!(refused(&alice.post(&[], &initialize("2024-11-05"))).1, "overloaded");
}

#[test]
fn a_principal_at_its_bound_of_streams_gets_one_when_one_ends() {
    let gateway = gateway("streams = 1", "");
    let (alice, bob) = (Shower::of(&gateway, ALICE), Shower::of(&gateway, BOB));
    let (hers, his) = (alice.session("2025-11-25"), bob.session("2025-11-25"));
    let mut stream = alice.stream(&hers);
    assert_eq!(stream.status(), 200);
    let mut second = alice.stream(&hers);
    assert_eq!((second.status(), second.header("retry-after").as_deref()), (429, Some("1")));
    assert_eq!(refusal(&second.next().unwrap()).1, "overloaded");
    let listen = alice.modern("subscriptions/listen", None, r#""notifications":{}"#);
    assert_eq!((listen.status, refused(&listen).1.as_str()), (200, "overloaded"));
    assert_eq!(bob.stream(&his).status(), 200);
    drop(stream);
    eventually("a stream", || (alice.stream(&hers).status() == 200).then_some(()));
}
