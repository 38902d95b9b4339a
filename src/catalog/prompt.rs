//! Pure: one prompt: what its owner wrote about it, under the name that clients see. The same for
//! both eras.

use std::sync::Arc;

use bytes::Bytes;

use super::item::{Draft, Item, ObjectText, Owner};
use crate::proto::era::Era;
use crate::proto::scan::quote;

/// A prompt on offer.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// The name clients see and ask for.
    pub name: Arc<str>,
    /// The name its owner knows.
    pub original: Arc<str>,
    /// Whose it is.
    pub owner: Owner,
    /// For people.
    pub title: Option<Box<str>>,
    /// For people and models.
    pub description: Option<Box<str>>,
    definition: Bytes,
}

impl Prompt {
    /// The prompt under its exposed name.
    pub(super) fn new(draft: &Draft<'_>, owner: Owner, name: &str) -> Self {
        let mut out = ObjectText::new();
        for member in &draft.members {
            match &*member.key {
                "name" => out.put(member.raw_key, &quote(name)),
                _ => out.put(member.raw_key, member.value.get()),
            }
        }
        Self {
            name: Arc::from(name),
            original: Arc::from(draft.key.as_str()),
            owner,
            title: draft.boxed("title"),
            description: draft.boxed("description"),
            definition: Bytes::from(out.end()),
        }
    }

    /// The prompt object as `prompts/list` shows it.
    pub fn definition(&self) -> &Bytes {
        &self.definition
    }
}

impl Item for Prompt {
    fn key(&self) -> &Arc<str> {
        &self.name
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
    use crate::catalog::item::Unfit;
    use crate::catalog::spec::ORIGINAL_BYTES_MAX;

    fn prompt(definition: &str) -> Result<Prompt, Unfit> {
        let definition = Bytes::from(definition.to_owned());
        let draft = Draft::open(Kind::Prompts, &definition)?;
        Ok(Prompt::new(&draft, Owner::Upstream(3), "up__name"))
    }

    #[test]
    fn only_the_name_is_rewritten() {
        let definition = concat!(
            "{ \"title\" : \"T\",\r\n \"n\\u0061me\": \"a\\nb\", \"arguments\": [ {\"name\":\"x\",\n",
            "\"required\" : true} ], \"_meta\":{\"z\":1e2,\"a\":123456789012345678901234567890} }"
        );
        let prompt = prompt(definition).unwrap();
        let want = concat!(
            "{\"title\":\"T\",\"n\\u0061me\":\"up__name\",\"arguments\":[ {\"name\":\"x\", ",
            "\"required\" : true} ],\"_meta\":{\"z\":1e2,\"a\":123456789012345678901234567890}}"
        );
        assert_eq!(str::from_utf8(prompt.definition()).unwrap(), want);
        assert_eq!((&*prompt.original, prompt.owner), ("a\nb", Owner::Upstream(3)));
        assert_eq!(prompt.title.as_deref(), Some("T"));
        assert_eq!(prompt.description, None);
    }

    #[test]
    fn what_is_no_prompt_is_refused_with_the_reason() {
        let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(ORIGINAL_BYTES_MAX + 1));
        let cases = [
            ("7", Unfit::NotObject),
            ("{", Unfit::NotObject),
            ("{}", Unfit::NoName),
            (r#"{"name":""}"#, Unfit::NoName),
            (r#"{"name":["a"]}"#, Unfit::NoName),
            (&long, Unfit::NameTooLong),
            (r#"{"name":"a","name":"b"}"#, Unfit::Ambiguous("name".into())),
            (r#"{"name":"a","Arguments":[]}"#, Unfit::Ambiguous("Arguments".into())),
        ];
        for (definition, want) in cases {
            assert_eq!(prompt(definition).unwrap_err(), want, "{definition}");
        }
        // Known to tools, not to prompts.
        assert!(prompt(r#"{"name":"a","INPUTSCHEMA":{}}"#).is_ok());
    }
}
