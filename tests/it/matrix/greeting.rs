//! What a client does first: hello, and the methods that only its own era has.

use serde_json::json;

use crate::support::Era;

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
