//! Legacy sessions over HTTP and the streams on which clients hear that the tools changed
//! (2025-11-25, basic/transports; 2026-07-28, basic/patterns/subscriptions).

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::{Open, initialize};
use crate::support::upstream::{Upstream, gateway, gateway_to};
use crate::support::{Gateway, Http};

/// How long a test listens for what must not come.
const A_MOMENT: Duration = Duration::from_millis(400);

const ID: &str = "io.modelcontextprotocol/subscriptionId";

fn post(gateway: &Gateway, session: &str, body: &str) -> (u16, i64) {
    Http::post(&gateway.url(), &[("Mcp-Session-Id", session)], body).verdict()
}

const LIST: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#;

#[test]
fn a_session_is_asked_for_known_and_gone_after_its_end() {
    let gateway = gateway("");
    let url = gateway.url();
    let missing = Http::post(&url, &[], LIST);
    assert_eq!((missing.verdict(), &missing.answer()["id"]), ((400, -32600), &json!(7)));
    let unknown = Http::post(&url, &[("Mcp-Session-Id", "nobody")], LIST);
    assert_eq!((unknown.verdict(), &unknown.answer()["id"]), ((404, -32600), &json!(7)));
    let note = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    assert_eq!(post(&gateway, "nobody", note), (404, -32600));
    assert_eq!(post(&gateway, "nobody", r#"{"jsonrpc":"2.0","id":1,"result":{}}"#), (404, -32600));

    let session = Http::legacy_session(&url, "2025-11-25");
    assert!(session.len() >= 16 && session.bytes().all(|byte| (0x21..=0x7E).contains(&byte)));
    assert_eq!(post(&gateway, &session, LIST), (200, 0));
    assert_eq!(post(&gateway, &session.to_ascii_uppercase().replace('-', "_"), LIST).0, 404);
    let other = Http::legacy_session(&url, "2025-11-25");
    assert_ne!(session, other);

    let mut stream = Http::open_get(&url, &session);
    assert_eq!(stream.status(), 200);
    let gone = Http::send("DELETE", &url, &[("Mcp-Session-Id", &session)], "");
    assert!((200..300).contains(&gone.status), "{gone:?}");
    assert_eq!(stream.message(), None, "its stream ends with it");
    assert_eq!(post(&gateway, &session, LIST), (404, -32600));
    assert_eq!(Http::send("DELETE", &url, &[("Mcp-Session-Id", &session)], "").status, 404);
    let accept = ("Accept", "text/event-stream");
    assert_eq!(Http::send("GET", &url, &[accept, ("Mcp-Session-Id", &session)], "").status, 404);
    assert_eq!(post(&gateway, &other, LIST), (200, 0), "the other one lives");
}

#[test]
fn a_handshake_in_a_session_opens_a_new_one_and_a_modern_client_gets_none() {
    let gateway = gateway("");
    let url = gateway.url();
    let session = Http::legacy_session(&url, "2025-11-25");
    let again = Http::post(&url, &[("Mcp-Session-Id", &session)], &initialize("2025-06-18"));
    assert_eq!(again.verdict(), (200, 0));
    assert_ne!(again.header("mcp-session-id").unwrap(), session);
    assert_eq!(post(&gateway, &session, LIST), (200, 0));
    for (method, name, params) in [
        ("server/discover", None, ""),
        ("tools/list", None, ""),
        ("tools/call", Some("echo"), r#""name":"echo""#),
    ] {
        let reply = Http::modern(&url, "1", method, name, params);
        assert_eq!(reply.header("mcp-session-id"), None, "{method}");
    }
    let bad = r#"{"jsonrpc":"2.0","id":7,"method":"initialize","params":{"capabilities":{}}}"#;
    let refused = Http::post(&url, &[], bad);
    assert_eq!((refused.verdict(), refused.header("mcp-session-id")), ((400, -32602), None));
}

fn grow(gateway: &Gateway) {
    assert_eq!(Http::modern_call(&gateway.url(), "u__grow", "{}").verdict(), (200, 0));
}

/// The next message, which tells that the tools changed.
#[track_caller]
fn told(stream: &mut Open, subscription: Option<&Value>, kind: &str) {
    let note = stream.message().unwrap();
    assert_eq!(note["method"], "notifications/tools/list_changed", "{kind}: {note}");
    assert_eq!(note["params"]["_meta"].get(ID), subscription, "{kind}: {note}");
}

#[test]
fn a_legacy_stream_tells_once_that_the_tools_changed_and_the_new_tool_is_there() {
    for (kind, upstream) in Upstream::every_kind() {
        let gateway = gateway_to(&upstream);
        let url = gateway.url();
        let session = Http::legacy_session(&url, "2025-11-25");
        let mut stream = Http::open_get(&url, &session);
        assert_eq!(stream.status(), 200, "{kind}");
        assert_eq!(stream.header("content-type").unwrap(), "text/event-stream");
        assert_eq!(stream.header("cache-control").unwrap(), "no-cache");
        assert_eq!(stream.event().unwrap(), ":", "a comment says that it stands");
        grow(&gateway);
        told(&mut stream, None, kind);
        assert_eq!(stream.message_within(A_MOMENT), None, "{kind}: once");
        assert!(Http::tools(&url).contains(&"u__extra_1".to_owned()), "{kind}");
    }
}

#[test]
fn of_two_streams_of_a_session_one_is_told_and_each_session_is_told() {
    let upstream = Upstream::pipe(&[]);
    let gateway = gateway_to(&upstream);
    let url = gateway.url();
    let (one, two) =
        (Http::legacy_session(&url, "2025-11-25"), Http::legacy_session(&url, "2025-06-18"));
    let mut streams = [&one, &one, &two].map(|session| {
        let mut stream = Http::open_get(&url, session);
        assert_eq!(stream.event().unwrap(), ":", "it stands before the next is opened");
        stream
    });
    grow(&gateway);
    let [first, second, other] = &mut streams;
    told(other, None, "another session");
    told(second, None, "the newest stream of a session");
    assert_eq!(first.message_within(A_MOMENT), None, "the older one");
    assert_eq!(second.message_within(Duration::from_millis(10)), None, "once");
}

fn listen(gateway: &Gateway, id: &str, notifications: &str) -> Open {
    let params = format!(r#""notifications":{notifications}"#);
    let (headers, body) = Http::modern_parts(id, "subscriptions/listen", None, &params);
    Http::open(&gateway.url(), &headers, &body)
}

/// The acknowledgement, which comes before everything else.
#[track_caller]
fn acknowledged(stream: &mut Open, id: &Value, honoured: &Value) {
    let first = stream.message().unwrap();
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged", "{first}");
    assert_eq!(&first["params"]["_meta"][ID], id);
    assert_eq!(&first["params"]["notifications"], honoured);
}

#[test]
fn a_subscription_is_acknowledged_first_and_told_under_its_own_id() {
    for (kind, upstream) in Upstream::every_kind() {
        let gateway = gateway_to(&upstream);
        let ids = [json!(5), json!("5"), json!("")];
        let mut streams = ids.clone().map(|id| {
            let all = r#"{"toolsListChanged":true,"promptsListChanged":true,"resourceSubscriptions":["a:b"]}"#;
            let mut stream = listen(&gateway, &id.to_string(), all);
            assert_eq!(stream.status(), 200, "{kind}");
            assert_eq!(stream.header("x-accel-buffering").unwrap(), "no");
            // Nobody owns `a:b`, so it is not honoured; lists may always change.
            let honoured = json!({"toolsListChanged": true, "promptsListChanged": true});
            acknowledged(&mut stream, &id, &honoured);
            stream
        });
        let mut deaf = listen(&gateway, "9", r#"{"toolsListChanged":false}"#);
        acknowledged(&mut deaf, &json!(9), &json!({}));
        grow(&gateway);
        for (stream, id) in streams.iter_mut().zip(&ids) {
            told(stream, Some(id), kind);
        }
        assert_eq!(deaf.message_within(A_MOMENT), None, "{kind}: not asked for");
        for stream in &mut streams {
            assert_eq!(stream.message_within(Duration::from_millis(10)), None, "{kind}: once");
        }
    }
}

#[test]
fn a_subscription_without_a_wish_is_refused() {
    let gateway = gateway("");
    for params in ["", r#""notifications":[]"#, r#""notifications":null"#] {
        let reply = Http::modern(&gateway.url(), "7", "subscriptions/listen", None, params);
        assert_eq!((reply.verdict(), &reply.answer()["id"]), ((400, -32602), &json!(7)));
    }
}

#[test]
fn a_stop_ends_every_stream_and_a_subscription_with_its_result() {
    let gateway = gateway("[server]\ngrace = \"20s\"\n");
    let mut subscription = listen(&gateway, "\"s\"", r#"{"toolsListChanged":true}"#);
    acknowledged(&mut subscription, &json!("s"), &json!({"toolsListChanged": true}));
    let session = Http::legacy_session(&gateway.url(), "2025-11-25");
    let mut stream = Http::open_get(&gateway.url(), &session);
    assert_eq!(stream.event().unwrap(), ":");
    let stopping = std::thread::spawn(move || gateway.terminate());
    let last = subscription.message().unwrap();
    assert_eq!((&last["id"], &last["result"]["_meta"][ID]), (&json!("s"), &json!("s")));
    assert_eq!(last["result"]["resultType"], "complete");
    assert_eq!(subscription.message(), None);
    // Well before the grace is over: nobody is waited for.
    assert_eq!(stream.message_within(Duration::from_secs(10)), None);
    assert!(stream.is_over(), "the stream stands in the way of the stop");
    assert_eq!(stopping.join().unwrap(), 0);
}
