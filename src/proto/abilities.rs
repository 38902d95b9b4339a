//! Pure: what a client can be asked for. Servers of the legacy era offer different tools to clients
//! of different abilities, so the gateway keeps a session for each set of them; only the few that
//! matter are told apart (2025-11-25, client features).

use serde_json::{Map, Value, json};

use super::method::Method;

/// What a client can be asked for.
#[expect(clippy::struct_excessive_bools, reason = "each is a capability of its own")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Abilities {
    /// `roots/list`
    pub roots: bool,
    /// `sampling/createMessage`
    pub sampling: bool,
    /// `sampling/createMessage` with tools
    pub sampling_tools: bool,
    /// `elicitation/create` with a form
    pub form: bool,
    /// `elicitation/create` with a URL
    pub url: bool,
}

impl Abilities {
    /// A client that can be asked for nothing.
    pub const NONE: Self =
        Self { roots: false, sampling: false, sampling_tools: false, form: false, url: false };

    /// Reads a `capabilities` object of a client. An empty `elicitation` means forms: revisions
    /// before 2025-11-25 have nothing else.
    pub fn read(capabilities: &[u8]) -> Self {
        if capabilities == b"{}" {
            return Self::NONE;
        }
        let Ok(Value::Object(all)) = serde_json::from_slice(capabilities) else {
            return Self::NONE;
        };
        let object = |key: &str| all.get(key).and_then(Value::as_object);
        let elicitation = object("elicitation");
        let names = |mode: &str| elicitation.is_some_and(|modes| modes.contains_key(mode));
        Self {
            roots: object("roots").is_some(),
            sampling: object("sampling").is_some(),
            sampling_tools: object("sampling").is_some_and(|s| s.contains_key("tools")),
            form: elicitation.is_some() && (names("form") || !names("url")),
            url: names("url"),
        }
    }

    /// Whether nothing can be asked for.
    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// The `capabilities` object that says the same.
    pub fn to_capabilities(self) -> Value {
        let mut all = Map::new();
        if self.roots {
            all.insert("roots".to_owned(), json!({ "listChanged": true }));
        }
        if self.sampling {
            let tools = if self.sampling_tools { json!({ "tools": {} }) } else { json!({}) };
            all.insert("sampling".to_owned(), tools);
        }
        if self.form || self.url {
            let mut modes = Map::new();
            for (mode, can) in [("form", self.form), ("url", self.url)] {
                if can {
                    modes.insert(mode.to_owned(), json!({}));
                }
            }
            all.insert("elicitation".to_owned(), Value::Object(modes));
        }
        Value::Object(all)
    }

    /// Whether a client with these abilities may be asked this. `url` = the question is an
    /// elicitation by URL.
    pub fn allow(self, method: Method, url: bool) -> bool {
        match method {
            Method::RootsList => self.roots,
            Method::Sampling => self.sampling,
            Method::Elicit if url => self.url,
            Method::Elicit => self.form,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_can_be_written_and_read_again() {
        for bits in 0..32_u8 {
            let bit = |place: u8| bits >> place & 1 == 1;
            let abilities = Abilities {
                roots: bit(0),
                sampling: bit(1),
                sampling_tools: bit(1) && bit(2),
                form: bit(3),
                url: bit(4),
            };
            let text = abilities.to_capabilities().to_string();
            assert_eq!(Abilities::read(text.as_bytes()), abilities, "{text}");
        }
    }

    #[test]
    fn an_empty_elicitation_means_forms_and_one_by_url_only_does_not() {
        let form = Abilities::read(br#"{"elicitation":{}}"#);
        assert!(form.form && !form.url);
        let url = Abilities::read(br#"{"elicitation":{"url":{}}}"#);
        assert!(!url.form && url.url);
        assert_eq!(Abilities::read(b"[1]"), Abilities::NONE);
        assert_eq!(Abilities::read(br#"{"elicitation":true}"#), Abilities::NONE);
    }

    #[test]
    fn only_what_was_declared_may_be_asked() {
        let form = Abilities { form: true, ..Abilities::NONE };
        assert!(form.allow(Method::Elicit, false));
        assert!(!form.allow(Method::Elicit, true));
        assert!(!form.allow(Method::Sampling, false) && !form.allow(Method::Ping, false));
    }
}
