//! Pure: one resource: what its owner wrote about it. Nothing of it is changed, least of all the
//! URI: clients fetch some kinds of URIs themselves, and results speak of them.

use std::sync::Arc;

use bytes::Bytes;

use super::item::{Draft, Item, Owner, Unfit};
use crate::proto::era::Era;

/// A resource on offer.
#[derive(Clone, Debug)]
pub struct Resource {
    /// What it is read by: everywhere the URI of its owner.
    pub uri: Arc<str>,
    /// Whose it is.
    pub owner: Owner,
    /// For programs and people; not unique, and perhaps empty.
    pub name: Box<str>,
    /// For people.
    pub title: Option<Box<str>>,
    /// For people and models.
    pub description: Option<Box<str>>,
    definition: Bytes,
}

impl Resource {
    /// Checks what stands beside the URI.
    pub(super) fn new(draft: &Draft<'_>, owner: Owner) -> Result<Self, Unfit> {
        Ok(Self {
            uri: Arc::from(draft.key.as_str()),
            owner,
            name: draft.boxed("name").ok_or(Unfit::NoName)?,
            title: draft.boxed("title"),
            description: draft.boxed("description"),
            definition: draft.untouched(),
        })
    }

    /// The resource object as `resources/list` shows it.
    pub fn definition(&self) -> &Bytes {
        &self.definition
    }
}

impl Item for Resource {
    fn key(&self) -> &Arc<str> {
        &self.uri
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
    use crate::catalog::spec::{DEFINITION_BYTES_MAX, URI_BYTES_MAX};

    fn resource(definition: &str) -> Result<Resource, Unfit> {
        let definition = Bytes::from(definition.to_owned());
        Resource::new(&Draft::open(Kind::Resources, &definition)?, Owner::Builtin)
    }

    #[test]
    fn a_resource_is_passed_on_as_it_is() {
        let written = r#"{ "uri" : "ui:\/\/app/x" ,"name":"X","size":1e2,"_meta":{"ui":{}} }"#;
        let definition = Bytes::from(written);
        let draft = Draft::open(Kind::Resources, &definition).unwrap();
        let resource = Resource::new(&draft, Owner::Builtin).unwrap();
        assert_eq!(resource.definition().as_ptr(), definition.as_ptr());
        assert_eq!(resource.definition().len(), definition.len());
        assert_eq!((&*resource.uri, &*resource.name), ("ui://app/x", "X"));
        let resource = self::resource(&written.replace(' ', "\r\n")).unwrap();
        assert_eq!(*resource.definition(), written.replace(' ', "  "));
    }

    #[test]
    fn what_is_no_resource_is_refused_with_the_reason() {
        let with = |len: usize| format!(r#"{{"name":"x","uri":"{}"}}"#, "x".repeat(len));
        assert!(resource(&with(URI_BYTES_MAX)).is_ok());
        let long = with(URI_BYTES_MAX + 1);
        let huge = with(DEFINITION_BYTES_MAX);
        let cases = [
            ("[]", Unfit::NotObject),
            (r#"{"name":"a"}"#, Unfit::NoUri("uri")),
            (r#"{"name":"a","uri":7}"#, Unfit::NoUri("uri")),
            (r#"{"name":"a","uri":""}"#, Unfit::NoUri("uri")),
            (r#"{"uri":"a:b"}"#, Unfit::NoName),
            (r#"{"uri":"a:b","name":null}"#, Unfit::NoName),
            (&long, Unfit::UriTooLong("uri")),
            (&huge, Unfit::TooLarge),
            (r#"{"uri":"a:b","name":"a","URI":"a:c"}"#, Unfit::Ambiguous("URI".into())),
            (r#"{"uri":"a:b","name":"a","ur\u0069":""}"#, Unfit::Ambiguous("uri".into())),
        ];
        for (definition, want) in cases {
            assert_eq!(resource(definition).unwrap_err(), want);
        }
    }
}
