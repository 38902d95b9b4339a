//! Pure: what the items of all lists have in common: whose they are, how a definition is read as
//! far as its name, why one is refused, and how a changed one is written.
//!
//! Only members that must change are touched; all others, numbers and the order of keys included,
//! are passed on byte for byte. Line breaks between tokens become spaces everywhere, so that a page
//! can travel on transports that end a message with a line break.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::Kind;
use super::spec::{
    DEFINITION_BYTES_MAX, DEFINITION_DEPTH_MAX, DESCRIPTION_BYTES_MAX, ORIGINAL_BYTES_MAX,
    SCHEMA_BYTES_MAX, SCHEMA_DEPTH_MAX, URI_BYTES_MAX,
};
use crate::proto::era::Era;
use crate::proto::headers::InvalidAnnotation;
use crate::proto::members::{self, Member};
use crate::proto::splice::one_line;

/// Whose an item is. Ordered as collisions are decided: what is built in comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// It runs in this process.
    Builtin,
    /// The upstream with this index in the order of the configuration file.
    Upstream(usize),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin => f.write_str("the built-in tools"),
            Self::Upstream(index) => write!(f, "upstream {index}"),
        }
    }
}

/// Why an item is not offered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Not JSON, or no object.
    #[error("its definition is not a JSON object")]
    NotObject,
    /// No name, an empty one, or one that is no text. Clients that check what they get refuse a
    /// whole list for it.
    #[error("it has no name")]
    NoName,
    /// Over [`ORIGINAL_BYTES_MAX`].
    #[error("its name is longer than {ORIGINAL_BYTES_MAX} bytes")]
    NameTooLong,
    /// A resource without `uri` or a template without `uriTemplate`, or it is empty or no text.
    #[error("it has no `{0}`")]
    NoUri(&'static str),
    /// Over [`URI_BYTES_MAX`].
    #[error("its `{0}` is longer than {URI_BYTES_MAX} bytes")]
    UriTooLong(&'static str),
    /// A member stands twice, or differs from one of the specification by the case of letters
    /// only: readers disagree about which one counts.
    #[error("`{0}` stands in its definition twice, or in another case")]
    Ambiguous(String),
    /// Over [`DEFINITION_BYTES_MAX`].
    #[error("its definition is larger than {DEFINITION_BYTES_MAX} bytes")]
    TooLarge,
    /// Over [`DEFINITION_DEPTH_MAX`].
    #[error("its definition is nested deeper than {DEFINITION_DEPTH_MAX} levels")]
    TooDeep,
    /// No `inputSchema`, or one whose root is not `"type": "object"`.
    #[error("its `inputSchema` is not a schema with `\"type\": \"object\"`")]
    InputSchema,
    /// Over [`SCHEMA_BYTES_MAX`] or [`SCHEMA_DEPTH_MAX`].
    #[error(
        "its `inputSchema` is larger than {SCHEMA_BYTES_MAX} bytes or nested deeper than \
         {SCHEMA_DEPTH_MAX} levels"
    )]
    InputSchemaBounds,
    /// A broken `x-mcp-header` annotation.
    #[error(transparent)]
    Annotation(#[from] InvalidAnnotation),
}

/// What is odd about an item that is offered all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Oddity {
    /// Over [`DESCRIPTION_BYTES_MAX`].
    #[error("its description has {0} bytes, more than {DESCRIPTION_BYTES_MAX}")]
    LongDescription(usize),
    /// Its `outputSchema` is over the bounds of a schema and was left out.
    #[error(
        "its `outputSchema` is larger than {SCHEMA_BYTES_MAX} bytes or nested deeper than \
         {SCHEMA_DEPTH_MAX} levels, and was left out"
    )]
    OutputSchemaLeftOut,
    /// Its exposed name is over the limit of some clients, or uses characters they refuse.
    #[error("some clients refuse its name: not `[A-Za-z0-9_-]` only, or too long")]
    Name,
}

/// One entry of a list that clients see.
pub(super) trait Item {
    /// What clients know it by; no two of a list share it.
    fn key(&self) -> &Arc<str>;

    /// Whose it is.
    fn owner(&self) -> Owner;

    /// The object as clients of an era see it.
    fn shown(&self, era: Era) -> &Bytes;

    /// For people and models.
    fn description(&self) -> Option<&str>;

    /// What the operator should know of its description.
    fn oddity(&self) -> Option<Oddity> {
        odd_description(self.description()?.len())
    }
}

// === Reading ===

/// Members of a definition that decide something here or in a client; the first one is what its
/// owner knows the item by.
fn known(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Tools => &[
            "name",
            "title",
            "description",
            "inputSchema",
            "outputSchema",
            "annotations",
            "execution",
            "icons",
            "_meta",
        ],
        Kind::Prompts => &["name", "title", "description", "arguments", "icons", "_meta"],
        Kind::Resources => &[
            "uri",
            "name",
            "title",
            "description",
            "mimeType",
            "annotations",
            "size",
            "icons",
            "_meta",
        ],
        Kind::Templates => &[
            "uriTemplate",
            "name",
            "title",
            "description",
            "mimeType",
            "annotations",
            "icons",
            "_meta",
        ],
    }
}

/// A definition whose name or URI is known, before anything else of it is looked at.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    /// As its owner wrote it.
    pub(super) definition: &'a Bytes,
    pub(super) members: Vec<Member<'a>>,
    /// What its owner knows it by: a name, a URI, the text of a template.
    pub(super) key: String,
}

impl<'a> Draft<'a> {
    /// Reads one definition as far as its key.
    pub(super) fn open(kind: Kind, definition: &'a Bytes) -> Result<Self, Unfit> {
        if definition.len() > DEFINITION_BYTES_MAX {
            return Err(Unfit::TooLarge);
        }
        let json = str::from_utf8(definition).map_err(|_detail| Unfit::NotObject)?;
        let members = members::members(json).map_err(|_detail| Unfit::NotObject)?;
        if members::depth(json) > DEFINITION_DEPTH_MAX {
            return Err(Unfit::TooDeep);
        }
        if let Some(key) = ambiguous(&members, known(kind)) {
            return Err(Unfit::Ambiguous(members::shown(key, 64)));
        }
        let key = key(kind, &members)?.into_owned();
        Ok(Self { definition, members, key })
    }

    pub(super) fn find(&self, key: &str) -> Option<&'a RawValue> {
        find(&self.members, key)
    }

    /// A member that is text.
    pub(super) fn text(&self, key: &str) -> Option<Cow<'a, str>> {
        self.find(key).and_then(members::text)
    }

    /// A member that is text, to be kept.
    pub(super) fn boxed(&self, key: &str) -> Option<Box<str>> {
        self.text(key).map(|text| Box::from(&*text))
    }

    /// The definition with nothing changed, on one line; shared with its owner's where it was.
    pub(super) fn untouched(&self) -> Bytes {
        if memchr::memchr2(b'\n', b'\r', self.definition).is_none() {
            return self.definition.clone();
        }
        Bytes::from(one_line(self.definition.to_vec()))
    }
}

/// What is odd about a description of this many bytes.
pub(super) fn odd_description(len: usize) -> Option<Oddity> {
    (len > DESCRIPTION_BYTES_MAX).then_some(Oddity::LongDescription(len))
}

pub(super) fn find<'a>(members: &[Member<'a>], key: &str) -> Option<&'a RawValue> {
    members.iter().find(|member| member.key == key).map(|member| member.value)
}

fn key<'a>(kind: Kind, members: &[Member<'a>]) -> Result<Cow<'a, str>, Unfit> {
    let (member, bytes_max, none, too_long) = match kind {
        Kind::Tools | Kind::Prompts => {
            ("name", ORIGINAL_BYTES_MAX, Unfit::NoName, Unfit::NameTooLong)
        }
        Kind::Resources => ("uri", URI_BYTES_MAX, Unfit::NoUri("uri"), Unfit::UriTooLong("uri")),
        Kind::Templates => (
            "uriTemplate",
            URI_BYTES_MAX,
            Unfit::NoUri("uriTemplate"),
            Unfit::UriTooLong("uriTemplate"),
        ),
    };
    match find(members, member).and_then(members::text) {
        None => Err(none),
        Some(text) if text.is_empty() => Err(none),
        Some(text) if text.len() > bytes_max => Err(too_long),
        Some(text) => Ok(text),
    }
}

/// A key that stands twice, or that some decoders take for a key of the specification because they
/// do not see the case of letters.
fn ambiguous<'m>(members: &'m [Member<'_>], known: &[&str]) -> Option<&'m str> {
    let mut seen = HashSet::with_capacity(members.len());
    let look_alike = |key: &str| known.iter().any(|k| *k != key && k.eq_ignore_ascii_case(key));
    members.iter().map(|member| &*member.key).find(|key| !seen.insert(*key) || look_alike(key))
}

// === Writing ===

/// The text of a JSON object as it grows.
pub(super) struct ObjectText(String);

impl ObjectText {
    pub(super) fn new() -> Self {
        Self("{".to_owned())
    }

    pub(super) fn put(&mut self, raw_key: &str, raw_value: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(raw_key);
        self.0.push(':');
        self.0.push_str(raw_value);
    }

    pub(super) fn end(mut self) -> Vec<u8> {
        self.0.push('}');
        one_line(self.0.into_bytes())
    }
}
