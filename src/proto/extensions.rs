//! Pure: extensions: what peers can do beyond the core protocol, by name (2026-07-28,
//! basic/versioning, "Extensions"). A server lists those it has; a client's are told only to servers
//! that list them too.

use std::collections::BTreeMap;
use std::sync::Arc;

use memchr::memmem;
use serde_json::{Map, Value, json};

use super::scan::{Span, members, unquote, within};
use super::splice::Splice;

/// Calls of tools that become tasks (SEP-2663).
pub const TASKS: &str = "io.modelcontextprotocol/tasks";

/// The member of `capabilities` that lists them.
const KEY: &str = "extensions";
/// Most extensions of one server that are known; more are left out.
const EXTENSIONS_MAX: usize = 32;
/// Largest settings of one extension in bytes; one with larger ones is left out.
const SETTINGS_BYTES_MAX: usize = 4_096;

/// The extensions that a server, or the gateway, offers. Clones share them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extensions(Option<Arc<BTreeMap<String, Value>>>);

impl Extensions {
    /// No extension.
    pub const NONE: Self = Self(None);

    /// Reads a `capabilities` object of a server.
    pub fn read(capabilities: &Value) -> Self {
        let all = capabilities.get(KEY).and_then(Value::as_object);
        let fits = |settings: &Value| {
            settings.is_object() && settings.to_string().len() <= SETTINGS_BYTES_MAX
        };
        let listed = all.into_iter().flatten().filter(|(_, settings)| fits(settings));
        let listed = listed.take(EXTENSIONS_MAX).map(|(name, set)| (name.clone(), set.clone()));
        Self::of(listed.collect())
    }

    fn of(all: BTreeMap<String, Value>) -> Self {
        Self((!all.is_empty()).then(|| Arc::new(all)))
    }

    /// All but one.
    #[must_use]
    pub fn without(self, name: &str) -> Self {
        if !self.has(name) {
            return self;
        }
        let all = self.0.map(Arc::unwrap_or_clone).unwrap_or_default();
        Self::of(all.into_iter().filter(|(known, _)| known != name).collect())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether this one is there.
    pub fn has(&self, name: &str) -> bool {
        self.0.as_ref().is_some_and(|all| all.contains_key(name))
    }

    /// What any of these servers offers. Who comes first decides on the settings.
    pub fn union(all: impl IntoIterator<Item = Self>) -> Self {
        let mut merged = BTreeMap::new();
        for (name, settings) in
            all.into_iter().filter_map(|one| one.0).flat_map(Arc::unwrap_or_clone)
        {
            merged.entry(name).or_insert(settings);
        }
        Self::of(merged)
    }

    /// Puts them into a `capabilities` object.
    pub fn put_into(&self, capabilities: &mut Value) {
        if let (Some(all), Some(object)) = (self.0.as_deref(), capabilities.as_object_mut()) {
            let all: Map<_, _> =
                all.iter().map(|(name, set)| (name.clone(), set.clone())).collect();
            object.insert(KEY.to_owned(), Value::Object(all));
        }
    }

    /// A client's raw `capabilities` less the extensions that are not among these, and the `hidden`
    /// one; `None` if there is nothing to take out.
    pub fn narrowed(&self, capabilities: &[u8], hidden: Option<&str>) -> Option<Vec<u8>> {
        // Most clients have none: not even the members are looked at.
        memmem::find(capabilities, KEY.as_bytes())?;
        let listed = within(capabilities, whole(capabilities), KEY)?.value;
        let text = listed.of(capabilities);
        let shown = |name: &str| self.has(name) && hidden != Some(name);
        let unknown = |key: &[u8]| unquote(key).is_none_or(|name| !shown(&name));
        let mut splice = Splice::new(capabilities);
        for member in members(text).ok()?.iter().filter(|member| unknown(member.key.of(text))) {
            splice.cut(member.moved(listed.start));
        }
        (!splice.is_empty()).then(|| splice.apply(0))
    }
}

fn whole(text: &[u8]) -> Span {
    Span { start: 0, end: text.len() }
}

/// Whether a client's raw `capabilities` declare an extension.
pub fn declares(capabilities: &[u8], name: &str) -> bool {
    memmem::find(capabilities, KEY.as_bytes()).is_some()
        && within(capabilities, whole(capabilities), KEY)
            .and_then(|listed| within(capabilities, listed.value, name))
            .is_some_and(|member| member.value.of(capabilities).first() == Some(&b'{'))
}

/// A client's raw `capabilities` that declare an extension too.
pub fn declaring(capabilities: &[u8], name: &str) -> Vec<u8> {
    let mut all = serde_json::from_slice(capabilities).unwrap_or_else(|_odd| json!({}));
    if let Some(object) = all.as_object_mut() {
        let listed = object.entry(KEY).or_insert_with(|| json!({}));
        if let Some(listed) = listed.as_object_mut() {
            listed.insert(name.to_owned(), json!({}));
        }
    }
    all.to_string().into_bytes()
}

/// What a client that calls a method of an extension without declaring it lacks: the `data` of
/// error -32021.
pub fn lacking(name: &str) -> Value {
    json!({ "requiredCapabilities": { KEY: { name: {} } } })
}

/// Whether the raw error of a server says that the client should declare this extension.
pub fn is_lacking(error: &[u8], name: &str) -> bool {
    let error: Value = serde_json::from_slice(error).unwrap_or_default();
    let wanted = error.pointer("/data/requiredCapabilities").and_then(|all| all.get(KEY));
    wanted.is_some_and(|wanted| wanted.get(name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UI: &str = "io.modelcontextprotocol/ui";

    fn read(all: &Value) -> Extensions {
        Extensions::read(&json!({ "extensions": all }))
    }

    #[test]
    fn what_a_server_lists_is_read_within_bounds() {
        let listed = read(&json!({ TASKS: {}, UI: {"a": 1}, "odd": 7 }));
        assert!(listed.has(TASKS) && listed.has(UI) && !listed.has("odd"));
        assert_eq!(Extensions::read(&json!({})), Extensions::NONE);
        assert!(read(&json!({ "x": { "a": "b".repeat(SETTINGS_BYTES_MAX) } })).is_empty());
        let many: Map<_, _> = (0..50).map(|n| (format!("x/{n}"), json!({}))).collect();
        assert_eq!(read(&Value::Object(many)).0.unwrap().len(), EXTENSIONS_MAX);
    }

    #[test]
    fn the_first_server_decides_on_settings() {
        let (one, two) =
            (read(&json!({ UI: {"a": 1} })), read(&json!({ UI: {"a": 2}, TASKS: {} })));
        let all = Extensions::union([one, two, Extensions::NONE]);
        let mut capabilities = json!({ "tools": {} });
        all.put_into(&mut capabilities);
        assert_eq!(capabilities["extensions"], json!({ UI: {"a": 1}, TASKS: {} }));
        Extensions::NONE.put_into(&mut capabilities);
        assert_eq!(capabilities["extensions"], json!({ UI: {"a": 1}, TASKS: {} }));
    }

    #[test]
    fn a_client_shows_an_extension_only_to_servers_that_have_it() {
        let tasks = read(&json!({ TASKS: {} }));
        let both =
            format!(r#"{{"roots":{{}}, "extensions":{{"{UI}":{{"n":1e2}},"{TASKS}":{{}}}}}}"#);
        let narrow = |server: &Extensions, text: &str| {
            let narrowed = server.narrowed(text.as_bytes(), None);
            narrowed.map(|text| serde_json::from_slice::<Value>(&text).unwrap())
        };
        assert_eq!(narrow(&tasks, &both).unwrap()["extensions"], json!({ TASKS: {} }));
        let none = narrow(&Extensions::NONE, &both).unwrap();
        assert_eq!(none, json!({ "roots": {}, "extensions": {} }));
        assert_eq!(narrow(&read(&json!({ TASKS: {}, UI: {} })), &both), None);
        let odd = r#"{"extensions":{"\ud800":{},"x":{},"x":{}}}"#;
        assert_eq!(narrow(&tasks, odd).unwrap(), json!({ "extensions": {} }));
        let hidden = tasks.narrowed(both.as_bytes(), Some(TASKS)).unwrap();
        assert!(!declares(&hidden, TASKS));
        for nothing in ["{}", r#"{"roots":{}}"#, r#"{"x":"extensions"}"#, r#"{"extensions":3}"#] {
            assert_eq!(narrow(&Extensions::NONE, nothing), None, "{nothing}");
        }
    }

    #[test]
    fn what_is_declared_is_seen_and_can_be_added() {
        assert!(
            !declares(b"{}", TASKS)
                && !declares(format!(r#"{{"{TASKS}":{{}}}}"#).as_bytes(), TASKS)
        );
        let escaped = br#"{"extensions":{"io.modelcontextprotocol\/tasks":{}}}"#;
        assert!(declares(escaped, TASKS));
        for before in ["{}", r#"{"roots":{},"extensions":{"x":{}}}"#] {
            let after = declaring(before.as_bytes(), TASKS);
            assert!(declares(&after, TASKS), "{before}");
        }
        let error = json!({ "code": -32021, "message": "m", "data": lacking(TASKS) });
        assert!(is_lacking(error.to_string().as_bytes(), TASKS));
        assert!(!is_lacking(br#"{"code":-32021,"data":{"requiredCapabilities":{}}}"#, TASKS));
    }
}
