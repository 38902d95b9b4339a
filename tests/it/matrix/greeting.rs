//! What a client does first: hello, and the methods that only its own era has.

use serde_json::json;

use crate::support::Era;
use crate::support::worker::TASKS;

use super::Cell;

/// The client is greeted in its own era, which has no method of the other one.
pub(super) fn greets_in_its_own_era(cell: &mut Cell) {
    let greeting = &cell.client.greeting;
    for ability in ["tools", "prompts", "resources", "completions", "logging"] {
        assert!(greeting["capabilities"][ability].is_object(), "{ability}: {greeting}");
    }
    assert_eq!(greeting["capabilities"]["resources"]["subscribe"], true, "{greeting}");
    for list in ["tools", "prompts", "resources"] {
        assert_eq!(greeting["capabilities"][list]["listChanged"], true, "{list}: {greeting}");
    }
    let others = match cell.client.era {
        Era::Legacy => {
            assert_eq!(greeting["protocolVersion"], "2025-11-25");
            assert_eq!(greeting["serverInfo"]["name"], "waypost");
            assert_eq!(cell.result("ping", ""), json!({}));
            assert_eq!(cell.result("logging/setLevel", r#""level":"error""#), json!({}));
            vec![("server/discover", ""), ("subscriptions/listen", r#""notifications":{}"#)]
        }
        Era::Modern => {
            assert_eq!(greeting["resultType"], "complete");
            assert_eq!(greeting["supportedVersions"], json!(["2026-07-28"]));
            let info = &greeting["_meta"]["io.modelcontextprotocol/serverInfo"];
            assert_eq!(info["name"], "waypost", "{greeting}");
            vec![
                ("ping", ""),
                ("logging/setLevel", r#""level":"error""#),
                ("initialize", r#""protocolVersion":"2025-11-25","capabilities":{}"#),
                ("resources/subscribe", r#""uri":"test://watched-resource""#),
            ]
        }
    };
    for (method, params) in others {
        assert_eq!(cell.error(method, params)["code"], -32601, "{method}");
    }
}

/// What a server can do beyond the core is offered to clients, but for tasks of the other era. What a
/// client can do is shown to servers that can do it too.
pub(super) fn extensions(cell: &mut Cell) {
    let offered = match cell.client_side.0 {
        Era::Legacy => cell.client.greet_again(),
        Era::Modern => cell.result("server/discover", ""),
    };
    let offered = offered["capabilities"]["extensions"].clone();
    assert_eq!(offered["x.example/own"], json!({"a": 1}), "{offered}");
    let modern = (cell.client_side.0, cell.upstream_side.0) == (Era::Modern, Era::Modern);
    assert_eq!(offered.get(TASKS).is_some(), modern, "{offered}");
    if modern {
        cell.client.call("t__must", "{}");
        let call = cell.worker.calls("must").pop().unwrap().message;
        let declared = &call["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"];
        assert_eq!(declared["extensions"], json!({TASKS: {}}), "{call}");
        cell.call("d__whoami", "{}");
        let whoami = cell.demo.of("tools/call").pop().unwrap().json();
        let declared = &whoami["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"];
        assert_eq!(declared["extensions"], json!({}), "{whoami}");
    }
}
