//! Every kind of result across the eras: what a client of one era must find, and must not, when its
//! upstream speaks the other (2025-11-25 and 2026-07-28, basic and server features).

use serde_json::{Value, json};

use crate::support::peer::{no_method, result};
use crate::support::upstream::config;
use crate::support::{Caller, Era, Over, Peer};

/// A request of a client, and what its upstream answers.
struct Kind {
    method: &'static str,
    name: Option<&'static str>,
    params: &'static str,
    result: Value,
    /// Modern clients may keep it, and must be told for how long.
    cacheable: bool,
}

/// One request for each kind of result that an upstream gives.
fn kinds() -> Vec<Kind> {
    let kind = |method, name, params, result| Kind {
        method,
        name,
        params,
        result,
        cacheable: method == "resources/read",
    };
    vec![
        kind(
            "tools/call",
            Some("u__t"),
            r#""name":"u__t","arguments":{}"#,
            json!({"content": [{"type": "text", "text": "é"}], "structuredContent": {"n": [1]}, "x.example": 1, "_meta": {"k": 1}}),
        ),
        kind(
            "tools/call",
            Some("u__failing"),
            r#""name":"u__failing","arguments":{}"#,
            json!({"content": [], "isError": true}),
        ),
        kind(
            "prompts/get",
            Some("u__p"),
            r#""name":"u__p","arguments":{}"#,
            json!({"description": "d", "messages": [{"role": "user", "content": {"type": "text", "text": "m"}}]}),
        ),
        kind(
            "resources/read",
            Some("test://one"),
            r#""uri":"test://one""#,
            json!({"contents": [{"uri": "test://one", "mimeType": "text/plain", "text": "r"}]}),
        ),
        kind(
            "completion/complete",
            None,
            r#""ref":{"type":"ref/prompt","name":"u__p"},"argument":{"name":"a","value":"x"}"#,
            json!({"completion": {"values": ["x1"], "total": 1, "hasMore": false}}),
        ),
        // A result without members is a result.
        kind("tools/call", Some("u__empty"), r#""name":"u__empty","arguments":{}"#, json!({})),
    ]
}

const LISTS: [(&str, &str); 4] = [
    ("tools/list", "tools"),
    ("prompts/list", "prompts"),
    ("resources/list", "resources"),
    ("resources/templates/list", "resourceTemplates"),
];

/// The members that are of the modern era only.
const MODERN_ONLY: [&str; 3] = ["resultType", "ttlMs", "cacheScope"];

fn listed(method: &str) -> Option<Value> {
    let tool = |name: &str| {
        json!({
            "name": name, "title": "T", "inputSchema": {"type": "object"},
            "execution": {"taskSupport": "optional"}, "x.example": 1,
        })
    };
    Some(match method {
        "tools/list" => json!({"tools": (["t", "failing", "empty"].map(tool))}),
        "prompts/list" => json!({"prompts": [{"name": "p", "arguments": [{"name": "a"}]}]}),
        "resources/list" => json!({"resources": [{"uri": "test://one", "name": "one"}]}),
        "resources/templates/list" => {
            json!({"resourceTemplates": [{"uriTemplate": "test://t/{id}", "name": "t"}]})
        }
        _ => return None,
    })
}

/// A server of these kinds. A modern one says of each result what its era requires; `notes` has it
/// send a log message before each answer, so that the answer comes on a stream.
fn server(era: Era, over: Over, notes: bool) -> Peer {
    let capabilities = json!({
        "tools": {}, "prompts": {}, "resources": {}, "completions": {}, "logging": {},
    });
    Peer::offering(era, over, capabilities, move |turn| {
        let lists = listed(turn.method());
        let (method, name) = (turn.method().to_owned(), format!("u__{}", turn.name()));
        let kinds = kinds();
        let same = |kind: &&Kind| {
            kind.method == method && (method != "tools/call" || kind.name == Some(&*name))
        };
        let kind = kinds.iter().find(same);
        if notes && lists.is_none() {
            turn.log("error", "soon");
        }
        let (mut found, keeps) = match (lists, kind) {
            (Some(list), _) => (list, true),
            (None, Some(kind)) => (kind.result.clone(), kind.cacheable),
            (None, None) => return no_method(),
        };
        if era == Era::Modern {
            let members = found.as_object_mut().unwrap();
            members.insert("resultType".to_owned(), json!("complete"));
            if keeps {
                members.insert("ttlMs".to_owned(), json!(5_000));
                members.insert("cacheScope".to_owned(), json!("public"));
            }
        }
        result(&found)
    })
}

/// A client with a gateway before this server, which has listed what it offers.
fn client(peer: &Peer, client: (Era, Over)) -> Caller {
    let mut caller = Caller::start(client.0, client.1, &config(&peer.tables("u", "")));
    assert!(caller.list().to_string().contains("u__t"));
    caller
}

fn cells(check: impl Fn((Era, Over), (Era, Over))) {
    let all = || {
        [Era::Legacy, Era::Modern]
            .into_iter()
            .flat_map(|era| [Over::Http, Over::Stdio].map(|over| (era, over)))
    };
    all().for_each(|client| all().for_each(|server| check(client, server)));
}

/// A result without the members that differ between the eras.
fn common(result: &Value) -> Value {
    let mut result = result.clone();
    if let Some(members) = result.as_object_mut() {
        members.retain(|key, _| !MODERN_ONLY.contains(&key.as_str()));
    }
    result
}

#[track_caller]
fn fits(result: &Value, era: Era, cacheable: bool, what: &str) {
    match era {
        Era::Legacy => {
            for member in MODERN_ONLY {
                assert!(result.get(member).is_none(), "{what}: {member} in {result}");
            }
        }
        Era::Modern => {
            assert_eq!(result["resultType"], "complete", "{what}: {result}");
            if cacheable {
                assert!(result["ttlMs"].is_u64(), "{what}: {result}");
                let scope = result["cacheScope"].as_str().unwrap_or_default();
                assert!(["public", "private"].contains(&scope), "{what}: {result}");
            }
        }
    }
}

#[test]
fn every_kind_of_result_has_what_the_clients_era_requires_and_nothing_of_the_other() {
    cells(|from, to| {
        let peer = server(to.0, to.1, false);
        let mut caller = client(&peer, from);
        for kind in kinds() {
            let what = format!("{from:?} to {to:?}: {} {:?}", kind.method, kind.name);
            let answer = caller.ask(kind.method, kind.name, kind.params);
            let found = &answer["result"];
            assert!(found.is_object(), "{what}: {answer}");
            fits(found, from.0, kind.cacheable, &what);
            assert_eq!(common(found), kind.result, "{what}");
            if to.0 == Era::Modern && from.0 == Era::Modern && kind.cacheable {
                assert_eq!(
                    (&found["ttlMs"], &found["cacheScope"]),
                    (&json!(5_000), &json!("public"))
                );
            }
            if to.0 == Era::Legacy && from.0 == Era::Modern && kind.cacheable {
                assert_eq!((&found["ttlMs"], &found["cacheScope"]), (&json!(0), &json!("private")));
            }
        }
    });
}

#[test]
fn every_list_has_what_the_clients_era_requires_and_nothing_of_the_other() {
    cells(|from, to| {
        let peer = server(to.0, to.1, false);
        let mut caller = client(&peer, from);
        for (method, member) in LISTS {
            let what = format!("{from:?} to {to:?}: {method}");
            let found = caller.ask(method, None, "")["result"].clone();
            fits(&found, from.0, true, &what);
            let items = found[member].as_array().unwrap();
            let own = |item: &&Value| !["echo"].contains(&item["name"].as_str().unwrap());
            assert_eq!(
                items.iter().filter(own).count(),
                listed(method).unwrap()[member].as_array().unwrap().len(),
                "{what}: {found}"
            );
            if to.0 == Era::Legacy && from.0 == Era::Modern {
                // What a legacy server lists may depend on who asks.
                assert_eq!(found["cacheScope"], "private", "{what}");
            }
            for tool in items.iter().filter(|_| method == "tools/list").filter(own) {
                assert_eq!(tool["x.example"], 1, "{what}: {tool}");
                // Tasks of the two eras are different things.
                if from.0 == Era::Modern && to.0 == Era::Legacy {
                    assert!(tool.get("execution").is_none(), "{what}: {tool}");
                }
                if from.0 == Era::Legacy && to.0 == Era::Legacy {
                    assert_eq!(tool["execution"]["taskSupport"], "optional", "{what}: {tool}");
                }
            }
        }
        let method = if from.0 == Era::Modern { "server/discover" } else { "ping" };
        let found = caller.ask(method, None, "")["result"].clone();
        fits(&found, from.0, method == "server/discover", method);
    });
}

#[test]
fn a_result_that_comes_on_a_stream_is_mended_like_any_other() {
    for from in [Over::Http, Over::Stdio] {
        let peer = server(Era::Legacy, Over::Http, true);
        let mut caller = client(&peer, (Era::Modern, from));
        for kind in kinds() {
            let found = caller.ask(kind.method, kind.name, kind.params)["result"].clone();
            fits(&found, Era::Modern, kind.cacheable, kind.method);
            assert_eq!(common(&found), kind.result, "{from:?} {}", kind.method);
        }
        let peer = server(Era::Modern, Over::Http, true);
        let mut caller = client(&peer, (Era::Legacy, from));
        for kind in kinds() {
            let found = caller.ask(kind.method, kind.name, kind.params)["result"].clone();
            fits(&found, Era::Legacy, kind.cacheable, kind.method);
            assert_eq!(common(&found), kind.result, "{from:?} {}", kind.method);
        }
    }
}

// === structured content that is no object ===

/// What a modern tool answers, and what a legacy client gets as its content.
fn structures() -> Vec<(&'static str, Value, Value)> {
    let text = |json: &str| json!({"type": "text", "text": json});
    let image = json!({"type": "image", "data": "AA==", "mimeType": "image/png"});
    let said = text("as text");
    vec![
        (
            "array",
            json!({"content": [], "structuredContent": [1, "b"]}),
            json!([text(r#"[1,"b"]"#)]),
        ),
        ("string", json!({"content": [], "structuredContent": "é\"x"}), json!([text(r#""é\"x""#)])),
        ("number", json!({"content": [], "structuredContent": 7}), json!([text("7")])),
        ("false", json!({"content": [], "structuredContent": false}), json!([text("false")])),
        ("null", json!({"content": [], "structuredContent": null}), json!([text("null")])),
        // Servers should say it as text themselves: then it is not said twice.
        ("said", json!({"content": [said], "structuredContent": [1]}), json!([said])),
        (
            "image",
            json!({"content": [image], "structuredContent": [1]}),
            json!([text("[1]"), image]),
        ),
        ("bare", json!({"structuredContent": [1]}), json!([text("[1]")])),
    ]
}

fn structured(over: Over) -> Peer {
    Peer::start(Era::Modern, over, |turn| {
        let rows = structures();
        let mut found = match turn.method() {
            "tools/list" => {
                let tool = |(name, _, _): &(&str, Value, Value)| json!({"name": name, "inputSchema": {"type": "object"}, "outputSchema": {"type": ["array", "string"]}});
                json!({"tools": rows.iter().map(tool).collect::<Vec<_>>(), "ttlMs": 0, "cacheScope": "private"})
            }
            "tools/call" => {
                let row = rows.iter().find(|(name, _, _)| *name == turn.name());
                row.unwrap().1.clone()
            }
            _ => return no_method(),
        };
        found.as_object_mut().unwrap().insert("resultType".to_owned(), json!("complete"));
        result(&found)
    })
}

fn structured_for(from: Over, to: Over, check: impl Fn(&str, &Value, &Value, &Value)) {
    let peer = structured(to);
    let mut caller = Caller::start(Era::Legacy, from, &config(&peer.tables("u", "")));
    let list = caller.list();
    for tool in list["tools"].as_array().unwrap().iter().filter(|tool| tool["name"] != "echo") {
        assert!(tool.get("outputSchema").is_none(), "{tool}");
    }
    for (name, whole, content) in structures() {
        let found = caller.call(&format!("u__{name}"), "{}")["result"].clone();
        check(name, &found, &whole, &content);
    }
}

#[test]
fn structured_content_that_is_no_object_becomes_text_for_a_legacy_client() {
    for from in [Over::Http, Over::Stdio] {
        for to in [Over::Http, Over::Stdio] {
            structured_for(from, to, |name, found, _, content| {
                if ["image", "bare"].contains(&name) {
                    return; // The next test.
                }
                assert!(found.get("structuredContent").is_none(), "{name}: {found}");
                assert_eq!(&found["content"], content, "{name}");
            });
        }
    }
}

#[test]
fn structured_content_without_a_text_beside_it_is_not_lost_to_a_legacy_client() {
    structured_for(Over::Http, Over::Http, |name, found, _, content| {
        assert!(found.get("structuredContent").is_none(), "{name}: {found}");
        let (found, wanted) = (found["content"].as_array(), content.as_array().unwrap());
        let Some(found) = found else { panic!("{name}: a result without content") };
        assert_eq!(found.len(), wanted.len(), "{name}: {found:?}");
        assert!(wanted.iter().all(|block| found.contains(block)), "{name}: {found:?}");
    });
}

#[test]
fn a_modern_client_gets_structured_content_of_any_kind_as_it_is() {
    for to in [Over::Http, Over::Stdio] {
        let peer = structured(to);
        let mut caller = Caller::start(Era::Modern, Over::Http, &config(&peer.tables("u", "")));
        for (name, whole, _) in structures() {
            let found = caller.call(&format!("u__{name}"), "{}")["result"].clone();
            assert_eq!(common(&found), whole, "{name}");
        }
    }
}

// === what is not there ===

/// A server that knows one resource and refuses all others with this error.
fn refusing(era: Era, over: Over, error: Value) -> Peer {
    let capabilities = json!({"tools": {}, "resources": {}});
    Peer::offering(era, over, capabilities, move |turn| match turn.method() {
        "tools/list" => result(&json!({"tools": [], "resultType": "complete"})),
        "resources/list" => result(&json!({
            "resources": [{"uri": "test://gone", "name": "gone"}], "resultType": "complete",
        })),
        "resources/templates/list" => {
            result(&json!({"resourceTemplates": [], "resultType": "complete"}))
        }
        "resources/read" => json!({ "error": error }),
        _ => no_method(),
    })
}

fn read(peer: &Peer, from: (Era, Over)) -> Value {
    let mut caller = Caller::start(from.0, from.1, &config(&peer.tables("u", "")));
    assert!(caller.ask("resources/list", None, "").to_string().contains("test://gone"));
    caller.ask("resources/read", Some("test://gone"), r#""uri":"test://gone""#)
}

#[test]
fn a_resource_that_a_legacy_server_does_not_find_is_an_invalid_parameter_to_a_modern_client() {
    let old = |data: Value| json!({"code": -32002, "message": "No such thing", "data": data});
    for (data, wanted) in [
        (json!({"uri": "test://gone", "n": 1}), json!({"uri": "test://gone", "n": 1})),
        (json!({"n": 1}), json!({"n": 1, "uri": "test://gone"})),
        (Value::Null, json!({"uri": "test://gone"})),
        (json!("gone"), json!({"uri": "test://gone"})),
    ] {
        for (from, to) in
            [(Over::Http, Over::Http), (Over::Stdio, Over::Http), (Over::Http, Over::Stdio)]
        {
            let peer = refusing(Era::Legacy, to, old(data.clone()));
            let answer = read(&peer, (Era::Modern, from));
            assert_eq!(answer["error"]["code"], -32602, "{answer}");
            assert_eq!(answer["error"]["message"], "No such thing", "{answer}");
            assert_eq!(answer["error"]["data"], wanted, "{data}");
            assert_eq!(answer["id"], "q");
        }
    }
}

#[test]
fn a_resource_that_is_not_found_says_so_in_the_words_of_its_server_within_one_era() {
    let old = json!({"code": -32002, "message": "No such thing", "data": {"uri": "test://gone"}});
    let new = json!({"code": -32602, "message": "No such thing", "data": {"uri": "test://gone"}});
    for to in [Over::Http, Over::Stdio] {
        let peer = refusing(Era::Legacy, to, old.clone());
        assert_eq!(read(&peer, (Era::Legacy, Over::Http))["error"], old);
        let peer = refusing(Era::Modern, to, new.clone());
        assert_eq!(read(&peer, (Era::Modern, Over::Http))["error"], new);
        // Both codes are known to legacy clients; either may reach them.
        let error = read(&peer, (Era::Legacy, Over::Http))["error"].clone();
        assert!(error["code"] == -32602 || error["code"] == -32002, "{error}");
        assert_eq!(error["data"]["uri"], "test://gone", "{error}");
    }
}
