//! The HTTP+SSE transport of 2024-11-05 (basic/transports): what it has of its own. The rest is in
//! `duplex`.

use serde_json::json;

use crate::support::duplex::Sse;
use crate::support::keyed::{self, ALICE, BOB};
use crate::support::upstream::config;
use crate::support::{Gateway, Http, MODERN_META};

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

fn gateway() -> Gateway {
    Gateway::start(&config(""))
}

#[test]
fn the_stream_begins_with_the_place_to_post_to_and_messages_have_a_type() {
    let gateway = gateway();
    let (mut one, two) = (Sse::open(&gateway, &[]), Sse::open(&gateway, &[]));
    let id = one.place.strip_prefix("/messages?sessionId=").expect(&one.place);
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    assert_ne!(one.place, two.place);
    assert_eq!(one.stream.header("cache-control").as_deref(), Some("no-cache"));
    let reply = one.post(PING);
    assert_eq!((reply.status, reply.body.as_str()), (202, ""));
    let event = one.stream.event().unwrap();
    assert_eq!(event, "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}");
}

#[test]
fn a_message_needs_a_session_that_is_open() {
    let gateway = gateway();
    let sse = Sse::open(&gateway, &[]);
    assert_eq!(sse.post_to("/messages", PING).verdict(), (400, -32600));
    assert_eq!(sse.post_to("/messages?session=x", PING).verdict(), (400, -32600));
    for id in ["", "x", "00000000000000000000000000000000"] {
        let reply = sse.post_to(&format!("/messages?sessionId={id}"), PING);
        assert_eq!(reply.verdict(), (404, -32600), "{id}");
        assert!(reply.body.contains("/sse"), "{reply:?}");
    }
    // Other parameters are nobody's concern.
    let more = sse.place.replace('?', "?a=b&");
    assert_eq!(sse.post_to(&more, PING).status, 202);
    // A session of the other transport is none here, and the other way round.
    let session = Http::legacy_session(&gateway.url(), "2025-11-25");
    assert_eq!(sse.post_to(&format!("/messages?sessionId={session}"), PING).status, 404);
    let id = sse.place.rsplit('=').next().unwrap();
    assert_eq!(Http::legacy(&gateway.url(), id, "1", "ping", "{}").status, 404);
    let place = sse.place.clone();
    drop(sse);
    let after = Sse::open(&gateway, &[]);
    crate::support::eventually("the session to be over", || {
        (after.post_to(&place, PING).status == 404).then_some(())
    });
}

#[test]
fn a_session_is_there_for_its_principal_alone() {
    let gateway = keyed::gateway("", "");
    let (alice, bob) = (format!("Bearer {ALICE}"), format!("Bearer {BOB}"));
    let hers = Sse::open(&gateway, &[("Authorization", &alice)]);
    let his = Sse::open(&gateway, &[("Authorization", &bob)]);
    assert_eq!(hers.post(PING).status, 202);
    assert_eq!(his.post_to(&hers.place, PING).verdict(), (404, -32600));
    let json = [("Content-Type", "application/json")];
    let nobody = Http::send("POST", &format!("{}{}", gateway.base, hers.place), &json, PING);
    assert_eq!(nobody.status, 401);
    assert_eq!(hers.post(PING).status, 202);
}

#[test]
fn what_is_no_message_is_refused_where_it_was_posted() {
    let gateway = gateway();
    let mut sse = Sse::open(&gateway, &[]);
    for (body, code) in [
        ("this is no JSON", -32700),
        ("", -32700),
        ("[]", -32600),
        (r#"{"jsonrpc":"2.0","id":4}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600),
        ("[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}]", -32600),
    ] {
        assert_eq!(sse.post(body).verdict(), (400, code), "{body}");
    }
    let url = format!("{}{}", gateway.base, sse.place);
    let plain = Http::send("POST", &url, &[("Content-Type", "text/plain")], PING);
    assert_eq!(plain.verdict(), (415, -32600));
    let filler = "x".repeat(4 * 1024 * 1024 + 1);
    assert_eq!(sse.post(&filler).verdict(), (413, -31007));
    // Of all that nothing is said on the stream.
    assert_eq!(sse.post(PING).status, 202);
    assert_eq!(sse.stream.message().unwrap()["id"], 1);
}

#[test]
fn other_methods_are_refused_as_clients_that_look_for_the_transport_expect() {
    let gateway = gateway();
    for (method, path, allowed) in
        [("POST", "/sse", "GET"), ("DELETE", "/sse", "GET"), ("GET", "/messages", "POST")]
    {
        let reply = Http::send(method, &format!("{}{path}", gateway.base), &[], "");
        assert_eq!((reply.status, reply.header("allow")), (405, Some(allowed)), "{method} {path}");
    }
    let json = [("Accept", "application/json")];
    assert_eq!(Http::send("GET", &format!("{}/sse", gateway.base), &json, "").status, 406);
}

#[test]
fn a_modern_request_is_told_where_to_go() {
    let gateway = gateway();
    let mut sse = Sse::open(&gateway, &[]);
    for method in ["server/discover", "tools/list", "no/such"] {
        let request = format!(
            r#"{{"jsonrpc":"2.0","id":"m","method":"{method}","params":{{{MODERN_META}}}}}"#
        );
        assert_eq!(sse.post(&request).status, 202);
        let answer = sse.stream.message().unwrap();
        let got = (&answer["id"], &answer["error"]["code"]);
        assert_eq!(got, (&json!("m"), &json!(-32600)), "{method}");
        assert!(answer["error"]["message"].as_str().unwrap().contains("/mcp"), "{answer}");
    }
}
