//! MCP Apps: tools that name a page of theirs by a `ui://` URI, in either form, and pages and resources
//! that only results name. What a client is told of it can read, through the aggregate.

use serde_json::{Value, json};

use crate::support::caller::tool;
use crate::support::puppet::{Offer, Puppet, Seen, Wire};
use crate::support::toml::{upstream, url};
use crate::support::upstream::config;
use crate::support::{Caller, Era, Over, eventually};

const PAGE: &str = "ui://weather/forecast.html";
const LINKED: &str = "ui://weather/result/7";
const EMBEDDED: &str = "file:///weather/report.txt";

/// A server with a page, a tool that names it, and a tool whose result names more.
fn apps(who: &'static str, era: Era) -> Puppet {
    let mut offer = Offer::new(who, era).resources(&[&format!("{PAGE}?of={who}")]);
    let page = format!("{PAGE}?of={who}");
    offer.tools = vec![
        json!({"name": "now", "inputSchema": {"type": "object"},
               "_meta": {"ui": {"resourceUri": page, "visibility": ["model", "app"]}}}),
        json!({"name": "flat", "inputSchema": {"type": "object"},
               "_meta": {"ui/resourceUri": page}}),
        json!({"name": "links", "inputSchema": {"type": "object"}}),
    ];
    let scene = move |seen: &Seen, wire: &mut Wire| {
        let complete = |mut result: Value| {
            if era == Era::Modern {
                result["resultType"] = "complete".into();
            }
            seen.result(&result)
        };
        match seen.method() {
            "tools/call" => {
                let embedded = json!({"uri": format!("{EMBEDDED}?of={who}"), "text": "t"});
                let content = json!([
                    {"type": "resource_link", "uri": format!("{LINKED}?of={who}"), "name": "n"},
                    {"type": "resource", "resource": embedded},
                ]);
                wire.json(&complete(json!({ "content": content })))
            }
            "resources/read" => {
                let uri = seen.param("uri");
                if !uri.ends_with(&format!("of={who}")) {
                    return wire.json(&seen.error(-32602, "no such resource"));
                }
                let kind = "text/html;profile=mcp-app";
                let contents = json!([{"uri": uri, "mimeType": kind, "text": who}]);
                wire.json(&complete(json!({ "contents": contents })))
            }
            _ => false,
        }
    };
    Puppet::start(offer, scene)
}

#[test]
fn pages_of_tools_and_what_results_name_can_be_read_by_the_client_that_was_told_of_them() {
    for (client_era, over) in [
        (Era::Modern, Over::Http),
        (Era::Modern, Over::Stdio),
        (Era::Legacy, Over::Http),
        (Era::Legacy, Over::Stdio),
    ] {
        let servers = [apps("a", Era::Legacy), apps("b", Era::Modern)];
        let tables: String = servers
            .iter()
            .zip(["a", "b"])
            .map(|(server, name)| upstream(name, "", &[url(&server.url)]))
            .collect();
        let mut client = Caller::start(client_era, over, &config(&tables));
        let list = eventually("all tools", || {
            let list = client.list();
            (tool(&list, "a__now").is_some() && tool(&list, "b__now").is_some()).then_some(list)
        });
        for who in ["a", "b"] {
            let what = format!("{client_era:?} {over:?} {who}");
            let page = format!("{PAGE}?of={who}");
            let meta =
                |name: &str| tool(&list, &format!("{who}__{name}")).unwrap()["_meta"].clone();
            let ui = json!({"resourceUri": page, "visibility": ["model", "app"]});
            assert_eq!(meta("now")["ui"], ui, "{what}");
            assert_eq!(meta("flat")["ui/resourceUri"], page, "{what}");

            let called = client.call(&format!("{who}__links"), "{}");
            let content = &called["result"]["content"];
            let named = [&content[0]["uri"], &content[1]["resource"]["uri"]];
            let named = named.map(|uri| uri.as_str().unwrap().to_owned());
            let expected = [LINKED, EMBEDDED].map(|uri| format!("{uri}?of={who}"));
            assert_eq!(named, expected, "{what}: names pass as they are");

            for uri in [&page, &named[0], &named[1]] {
                let read = client.ask("resources/read", Some(uri), &format!(r#""uri":"{uri}""#));
                let contents = &read["result"]["contents"][0];
                assert_eq!(contents["text"], who, "{what} {uri}: {read}");
                assert_eq!(contents["mimeType"], "text/html;profile=mcp-app", "{what}");
                assert_eq!(contents["uri"], uri.as_str(), "{what}");
            }
        }
        // Each was asked for its own only.
        for (server, who) in servers.iter().zip(["a", "b"]) {
            let read = server.requests("resources/read");
            assert_eq!(read.len(), 3, "{client_era:?} {over:?}");
            assert!(read.iter().all(|seen| seen.param("uri").ends_with(&format!("of={who}"))));
        }
    }
}
