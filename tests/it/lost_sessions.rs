//! A legacy server that answers 404 in our session is greeted anew, and what clients had set up in
//! the old session is in force in the new one (2025-11-25, basic/transports, "Session Management").

use serde_json::{Value, json};

use crate::support::client::Open;
use crate::support::peer::{no_method, result, text, tools};
use crate::support::upstream::config;
use crate::support::{Era, Gateway, Over, Peer, Session, eventually, listed, replicas_up};

/// A server that logs and whose resources can be watched.
fn server(name: &'static str) -> Peer {
    let capabilities = json!({"tools": {}, "logging": {}, "resources": {"subscribe": true}});
    let resource = |what| json!({"uri": format!("{name}:{what}"), "name": what});
    let resources = json!({"resources": [resource("kept"), resource("let-go")]});
    Peer::offering(Era::Legacy, Over::Http, capabilities, move |turn| match turn.method() {
        "tools/list" => tools(&["t"]),
        "tools/call" => text("done"),
        "resources/list" => result(&resources),
        "resources/templates/list" => result(&json!({"resourceTemplates": []})),
        "resources/subscribe" | "resources/unsubscribe" => result(&json!({})),
        _ => no_method(),
    })
}

/// Two of them behind a gateway, and a client that has set something up at both.
struct Scene {
    u: Peer,
    v: Peer,
    _gateway: Gateway,
    client: Session,
    stream: Open,
}

impl Scene {
    fn start() -> Self {
        let (u, v) = (server("u"), server("v"));
        let gateway = Gateway::start(&config(&[u.tables("u", ""), v.tables("v", "")].concat()));
        for name in ["u", "v"] {
            replicas_up(&gateway, name, 1);
            listed(&gateway, &format!("{name}__t"));
        }
        let client = Session::open(&gateway, "{}");
        let mut stream = client.stream();
        assert_eq!(stream.event().unwrap(), ":");
        done(&client, "logging/setLevel", r#"{"level":"warning"}"#);
        for (name, server) in [("u", &u), ("v", &v)] {
            let uri = |what: &str| format!(r#"{{"uri":"{name}:{what}"}}"#);
            done(&client, "resources/subscribe", &uri("let-go"));
            done(&client, "resources/subscribe", &uri("kept"));
            done(&client, "resources/unsubscribe", &uri("let-go"));
            call(&client, name);
            let set_up = || server.heard("resources/unsubscribe").len() == 1;
            eventually("all to be set up", || set_up().then_some(()));
            assert_eq!(asked(server, "logging/setLevel", "level", 0), ["warning"]);
        }
        Self { u, v, _gateway: gateway, client, stream }
    }
}

#[track_caller]
fn done(client: &Session, method: &str, params: &str) {
    let answer = client.ask(method, params).answer();
    assert_eq!(answer["result"], json!({}), "{method}: {answer}");
}

#[track_caller]
fn call(client: &Session, name: &str) {
    let answer = client.call(&format!("{name}__t"), "{}").answer();
    assert_eq!(answer["result"]["content"][0]["text"], "done", "{answer}");
}

/// What requests of a method in a session were about.
fn asked(server: &Peer, method: &str, key: &str, session: usize) -> Vec<String> {
    let heard = server.heard(method).into_iter().filter(|heard| heard.session == session);
    heard.map(|heard| heard.message["params"][key].as_str().unwrap().to_owned()).collect()
}

fn updated(uri: &str) -> Value {
    let params = json!({ "uri": uri });
    json!({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": params})
}

#[test]
fn a_new_session_gets_the_level_and_the_subscriptions_again_and_other_sessions_nothing() {
    // The loss is found by a call, or by the end of the standing stream while nobody calls.
    for by_call in [true, false] {
        let Scene { u, v, _gateway, client, mut stream } = Scene::start();
        let untouched = v.methods(0);
        u.forget(0);
        if by_call {
            call(&client, "u");
        } else {
            u.hang_up(0);
        }
        let new = eventually("a new session", || Some(u.heard("initialize").get(1)?.session));
        assert_eq!(u.heard("initialize")[1].header("mcp-session-id"), None);
        let watched = || asked(&u, "resources/subscribe", "uri", new);
        eventually("the subscription", || (!watched().is_empty()).then_some(()));
        call(&client, "u");
        assert_eq!(watched(), ["u:kept"], "what was let go is not asked for again");
        assert_eq!(asked(&u, "logging/setLevel", "level", new), ["warning"]);
        let methods = u.methods(new);
        let place = |method: &str| methods.iter().position(|known| known == method).unwrap();
        assert!(place("logging/setLevel") < place("tools/call"), "{methods:?}");
        let calls: Vec<usize> = u.calls("t").iter().map(|call| call.session).collect();
        let refused_and_sent_again = [0, 0, new, new];
        let never_refused = [0, new];
        assert_eq!(calls, if by_call { &refused_and_sent_again[..] } else { &never_refused });
        // It may have changed while nobody listened; then it is heard of in the new session.
        assert_eq!(stream.message().unwrap(), updated("u:kept"));
        u.tell(new, &updated("u:kept"));
        assert_eq!(stream.message().unwrap(), updated("u:kept"));
        assert_eq!(u.heard("initialize").len(), 2, "once");
        call(&client, "v");
        let mut since = v.methods(0).split_off(untouched.len());
        since.retain(|method| method != "ping");
        assert_eq!(since, ["tools/call"], "{untouched:?}");
        assert_eq!(v.heard("initialize").len(), 1);
    }
}
