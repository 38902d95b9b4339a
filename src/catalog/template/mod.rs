//! Pure: one resource template: what its owner wrote about it, unchanged, and which URIs it
//! stands for.

mod pattern;

use std::sync::Arc;

use bytes::Bytes;

use self::pattern::Pattern;
use super::item::{Draft, Item, Owner, Unfit};
use crate::proto::era::Era;

/// A resource template on offer.
#[derive(Clone, Debug)]
pub struct Template {
    /// The URI template (RFC 6570) as its owner wrote it.
    pub text: Arc<str>,
    /// Whose it is.
    pub owner: Owner,
    /// For programs and people; not unique, and perhaps empty.
    pub name: Box<str>,
    /// For people.
    pub title: Option<Box<str>>,
    /// For people and models.
    pub description: Option<Box<str>>,
    definition: Bytes,
    pattern: Pattern,
}

impl Template {
    /// Checks what stands beside the template text.
    pub(super) fn new(draft: &Draft<'_>, owner: Owner) -> Result<Self, Unfit> {
        Ok(Self {
            text: Arc::from(draft.key.as_str()),
            owner,
            name: draft.boxed("name").ok_or(Unfit::NoName)?,
            title: draft.boxed("title"),
            description: draft.boxed("description"),
            definition: draft.untouched(),
            pattern: Pattern::parse(&draft.key),
        })
    }

    /// The template object as `resources/templates/list` shows it.
    pub fn definition(&self) -> &Bytes {
        &self.definition
    }

    /// Whether the URI may be one that the template stands for.
    pub fn matches(&self, uri: &str) -> bool {
        self.pattern.matches(uri)
    }

    /// The text before the first expression.
    pub fn prefix(&self) -> &str {
        self.pattern.prefix()
    }
}

impl Item for Template {
    fn key(&self) -> &Arc<str> {
        &self.text
    }

    fn owner(&self) -> Owner {
        self.owner
    }

    fn shown(&self, _era: Era) -> &Bytes {
        &self.definition
    }

    fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Kind;
    use crate::catalog::spec::URI_BYTES_MAX;

    fn template(definition: &str) -> Result<Template, Unfit> {
        let definition = Bytes::from(definition.to_owned());
        Template::new(&Draft::open(Kind::Templates, &definition)?, Owner::Builtin)
    }

    #[test]
    fn a_template_is_passed_on_as_it_is() {
        let written = r#"{"uriTemplate": "file:///{+path}", "name":"files", "size":1.0}"#;
        let template = template(written).unwrap();
        assert_eq!(*template.definition(), written);
        assert_eq!((&*template.text, template.prefix()), ("file:///{+path}", "file:///"));
        assert!(template.matches("file:///a/b") && !template.matches("http://a/b"));
    }

    #[test]
    fn what_is_no_template_is_refused_with_the_reason() {
        let long = format!(r#"{{"name":"x","uriTemplate":"{}"}}"#, "x".repeat(URI_BYTES_MAX + 1));
        let cases = [
            ("null", Unfit::NotObject),
            (r#"{"name":"a","uri":"a:b"}"#, Unfit::NoUri("uriTemplate")),
            (r#"{"uriTemplate":"a:{b}"}"#, Unfit::NoName),
            (&long, Unfit::UriTooLong("uriTemplate")),
            (
                r#"{"name":"a","uriTemplate":"a:b","uritemplate":"c"}"#,
                Unfit::Ambiguous("uritemplate".into()),
            ),
        ];
        for (definition, want) in cases {
            assert_eq!(template(definition).unwrap_err(), want);
        }
    }
}
