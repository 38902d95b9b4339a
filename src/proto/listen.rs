//! Pure: subscriptions: what a `subscriptions/listen` asks for, and the messages that go over it
//! (2026-07-28, basic/patterns/subscriptions). The same notifications without a subscription are
//! what legacy clients get.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::error::{ErrorBody, INVALID_PARAMS, result_message};
use super::meta;
use super::method::Method;
use super::offers::Lists;
use super::scan::quote;

/// Longest id of a subscription in bytes: it is kept, and sent with every change.
pub const ID_BYTES_MAX: usize = 1_024;
/// Most resources that one subscription or one session may watch.
pub const URIS_MAX: usize = 1_024;
/// Longest URI that may be watched in bytes.
pub const URI_BYTES_MAX: usize = 8 * 1_024;

/// What somebody wants to be told of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Lists that change.
    pub lists: Lists,
    /// Resources that change.
    pub uris: BTreeSet<String>,
}

impl Filter {
    /// Reads the params of a listen request. Members that we do not know are not honoured.
    pub fn read(params: &[u8]) -> Result<Self, ErrorBody> {
        let bad = |text: String| ErrorBody::new(INVALID_PARAMS, text);
        let params: Value = serde_json::from_slice(params).unwrap_or_default();
        let Some(wanted) = params.get("notifications").and_then(Value::as_object) else {
            return Err(bad("params.notifications must be an object".to_owned()));
        };
        let flag = |key: &str| wanted.get(key) == Some(&Value::Bool(true));
        let lists = Lists {
            tools: flag("toolsListChanged"),
            prompts: flag("promptsListChanged"),
            resources: flag("resourcesListChanged"),
        };
        let uris = match wanted.get("resourceSubscriptions") {
            None | Some(Value::Null) => BTreeSet::new(),
            Some(Value::Array(all)) => all
                .iter()
                .map(|uri| uri.as_str().map(str::to_owned))
                .collect::<Option<BTreeSet<String>>>()
                .ok_or_else(|| {
                    bad("params.notifications.resourceSubscriptions must hold strings".to_owned())
                })?,
            Some(_) => {
                let text = "params.notifications.resourceSubscriptions must be an array";
                return Err(bad(text.to_owned()));
            }
        };
        if uris.len() > URIS_MAX {
            return Err(bad(format!("a subscription may watch {URIS_MAX} resources")));
        }
        if uris.iter().any(|uri| uri.len() > URI_BYTES_MAX) {
            return Err(bad(format!("a watched URI may have {URI_BYTES_MAX} bytes")));
        }
        Ok(Self { lists, uris })
    }

    /// Whether nothing is wanted.
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty() && self.uris.is_empty()
    }

    /// The `notifications` object that asks for this.
    pub fn to_value(&self) -> Value {
        let mut wanted = serde_json::Map::new();
        for (on, key) in [
            (self.lists.tools, "toolsListChanged"),
            (self.lists.prompts, "promptsListChanged"),
            (self.lists.resources, "resourcesListChanged"),
        ] {
            if on {
                wanted.insert(key.to_owned(), Value::Bool(true));
            }
        }
        if !self.uris.is_empty() {
            wanted.insert("resourceSubscriptions".to_owned(), json!(self.uris));
        }
        Value::Object(wanted)
    }
}

/// The first message of a subscription: what of it is honoured. `id` is raw.
pub fn acknowledged(id: &[u8], honoured: &Filter) -> Vec<u8> {
    let notifications = honoured.to_value().to_string();
    let name = Method::Acknowledged.name();
    tagged(name, &format!(r#""notifications":{notifications},"#), Some(id))
}

/// The last message of a subscription that we end.
pub fn ended(id: &[u8]) -> Vec<u8> {
    let tag = String::from_utf8_lossy(id);
    let key = quote(meta::SUBSCRIPTION_ID);
    let result = format!(r#"{{"resultType":"complete","_meta":{{{key}:{tag}}}}}"#);
    result_message(id, result.as_bytes())
}

/// A list changed; `method` is one of the `list_changed` notifications. Tagged with its
/// subscription where there is one.
pub fn list_changed(method: Method, subscription: Option<&[u8]>) -> Vec<u8> {
    tagged(method.name(), "", subscription)
}

/// A resource changed.
pub fn updated(uri: &str, subscription: Option<&[u8]>) -> Vec<u8> {
    tagged(Method::ResourceUpdated.name(), &format!(r#""uri":{},"#, quote(uri)), subscription)
}

/// A notification. `members` are params that end in a comma.
fn tagged(method: &str, members: &str, subscription: Option<&[u8]>) -> Vec<u8> {
    let mut out = format!(r#"{{"jsonrpc":"2.0","method":"{method}""#).into_bytes();
    match subscription {
        Some(id) => {
            let key = quote(meta::SUBSCRIPTION_ID);
            let head = format!(r#","params":{{{members}"_meta":{{{key}:"#);
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(id);
            out.extend_from_slice(b"}}");
        }
        None if members.is_empty() => {}
        None => {
            let members = members.trim_end_matches(',');
            out.extend_from_slice(format!(r#","params":{{{members}}}"#).as_bytes());
        }
    }
    out.push(b'}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &[u8]) -> Value {
        serde_json::from_slice(text).unwrap()
    }

    #[test]
    fn a_filter_is_read_and_what_is_unknown_is_not_honoured() {
        let params = br#"{"notifications":{"toolsListChanged":true,"promptsListChanged":false,"x":true,"resourceSubscriptions":["b","a","b"]}}"#;
        let filter = Filter::read(params).unwrap();
        assert_eq!(
            filter.to_value(),
            json!({"toolsListChanged": true, "resourceSubscriptions": ["a", "b"]})
        );
        for bad in [
            r"{}",
            r#"{"notifications":[]}"#,
            r#"{"notifications":{"resourceSubscriptions":"a"}}"#,
            r#"{"notifications":{"resourceSubscriptions":[1]}}"#,
        ] {
            assert!(Filter::read(bad.as_bytes()).is_err(), "{bad}");
        }
        let many: Vec<String> = (0..=URIS_MAX).map(|n| n.to_string()).collect();
        let many = json!({"notifications": {"resourceSubscriptions": many}});
        assert!(Filter::read(many.to_string().as_bytes()).is_err());
    }

    #[test]
    fn every_message_of_a_subscription_carries_its_id_with_its_type() {
        for id in ["7", "\"7\"", "12345678901234567890123"] {
            let key = r#""io.modelcontextprotocol/subscriptionId":"#;
            let filter = Filter { lists: Lists::ALL, ..Filter::default() };
            let messages = [
                acknowledged(id.as_bytes(), &filter),
                list_changed(Method::PromptsChanged, Some(id.as_bytes())),
                updated("a\"b", Some(id.as_bytes())),
                ended(id.as_bytes()),
            ];
            for message in messages {
                let text = String::from_utf8(message.clone()).unwrap();
                assert!(text.contains(&format!("{key}{id}}}")), "{text}");
                json(&message);
            }
        }
    }

    #[test]
    fn legacy_clients_get_the_same_without_a_subscription() {
        let note = json(&list_changed(Method::ResourcesChanged, None));
        assert_eq!(
            note,
            json!({"jsonrpc": "2.0", "method": "notifications/resources/list_changed"})
        );
        assert_eq!(json(&updated("u:x", None))["params"], json!({"uri": "u:x"}));
    }
}
