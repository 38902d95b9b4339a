//! News: what changed of the lists, and of one resource that the client watches.

use serde_json::{Value, json};

use crate::support::Era;

use super::Cell;

const WATCHED: &str = "test://watched-resource";

/// A list, and how the fixture is made to change it.
struct Changing {
    /// As a modern client wishes to hear of it.
    wish: &'static str,
    news: &'static str,
    trigger: &'static str,
    /// Method, member and key of the list.
    list: [&'static str; 3],
    /// What comes and goes.
    added: &'static str,
}

/// Makes something come and go; both times the client is told, and what it was told is true.
#[track_caller]
fn comes_and_goes(cell: &mut Cell, changing: &Changing) {
    let [method, member, key] = changing.list;
    cell.client.listen(&json!({changing.wish: true}));
    for there in [true, false] {
        assert_eq!(cell.call(changing.trigger, "{}")["content"][0]["text"], "Changed.");
        loop {
            // What came late of an earlier change may be told before.
            let news = cell.client.news();
            if news["method"] == changing.news
                && cell.names(method, member, key).iter().any(|name| name == changing.added)
                    == there
            {
                break;
            }
        }
    }
    cell.client.unlisten();
}

/// Of the tools.
pub(super) fn tools(cell: &mut Cell) {
    let changing = Changing {
        wish: "toolsListChanged",
        news: "notifications/tools/list_changed",
        trigger: "u__test_trigger_tool_change",
        list: ["tools/list", "tools", "name"],
        added: "u__test_added_tool",
    };
    comes_and_goes(cell, &changing);
}

/// Of the prompts.
pub(super) fn prompts(cell: &mut Cell) {
    let changing = Changing {
        wish: "promptsListChanged",
        news: "notifications/prompts/list_changed",
        trigger: "u__test_trigger_prompt_change",
        list: ["prompts/list", "prompts", "name"],
        added: "u__test_added_prompt",
    };
    comes_and_goes(cell, &changing);
}

/// Of the resources.
pub(super) fn resources(cell: &mut Cell) {
    let changing = Changing {
        wish: "resourcesListChanged",
        news: "notifications/resources/list_changed",
        trigger: "u__test_trigger_resource_list_change",
        list: ["resources/list", "resources", "uri"],
        added: "test://added-resource",
    };
    comes_and_goes(cell, &changing);
}

/// Of one resource, as long as the client watches it.
pub(super) fn one_resource(cell: &mut Cell) {
    cell.client.listen(&json!({"resourceSubscriptions": [WATCHED]}));
    let watch = format!(r#""uri":"{WATCHED}""#);
    if cell.client.era == Era::Legacy {
        cell.result("resources/subscribe", &watch);
    }
    let before = revision(cell);
    cell.call("u__test_trigger_resource_change", "{}");
    let news = loop {
        let news = cell.client.news();
        if news["method"] == "notifications/resources/updated" {
            break news;
        }
    };
    assert_eq!(news["params"]["uri"], WATCHED, "{news}");
    assert_eq!(revision(cell), before + 1);
    if cell.client.era == Era::Legacy {
        cell.result("resources/unsubscribe", &watch);
    }
    cell.client.unlisten();
}

fn revision(cell: &mut Cell) -> u64 {
    let read: Value = cell.result("resources/read", &format!(r#""uri":"{WATCHED}""#));
    let text = read["contents"][0]["text"].as_str().unwrap();
    text.strip_prefix("Revision ").unwrap().parse().unwrap()
}
