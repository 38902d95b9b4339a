//! `context7_get_documentation`: prose and code of a library, for a topic.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use crate::builtin::args::Args;
use crate::builtin::context7::Context7;
use crate::builtin::context7::show::Shown;
use crate::builtin::reply::{self, Definition};
use crate::builtin::text::push;
use crate::builtin::{Builtin, CallFuture, Host, ToolReply};

use super::library::{
    Asked, Documentation, OUTPUT_REQUIRED, Pick, input_properties, output_properties,
};
use super::{GET_DOCUMENTATION, Origin, PRIVACY, TEXT_CHARS_MAX};

/// What is asked when the caller names no topic.
const OVERVIEW: &str = "overview, installation and getting started";
/// Tokens of a result, unless the caller says otherwise.
const TOKENS_DEFAULT: u32 = 10_000;

#[derive(Debug)]
pub(in crate::builtin) struct GetDocumentation {
    service: Arc<Context7>,
    definition: Bytes,
}

/// The result as data; the examples tool has the same shape.
#[derive(Serialize)]
pub(super) struct Result<'a> {
    library: &'a str,
    version: &'a str,
    query: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pick: Option<&'a Pick>,
    #[serde(flatten)]
    shown: &'a Shown<'a>,
    #[serde(flatten)]
    origin: Origin<'a>,
}

impl GetDocumentation {
    pub(in crate::builtin) fn new(service: &Arc<Context7>) -> Self {
        Self { service: Arc::clone(service), definition: definition() }
    }

    async fn answer(&self, arguments: &[u8]) -> std::result::Result<ToolReply, ToolReply> {
        let args = Args::read(arguments, &["library", "version", "topic", "max_tokens"])?;
        let asked = Asked::read(&args)?;
        let topic = args.text("topic", 1..=TEXT_CHARS_MAX)?;
        let tokens_max = args.integer("max_tokens", 100..=100_000)?.unwrap_or(TOKENS_DEFAULT);
        let query = topic.as_deref().unwrap_or(OVERVIEW);
        let documentation = asked.documentation(&self.service, query).await?;
        let shown = Shown::within(&documentation.found.value.context, u64::from(tokens_max));
        Ok(show(&documentation, query, &shown))
    }
}

impl Builtin for GetDocumentation {
    fn name(&self) -> &str {
        GET_DOCUMENTATION
    }

    fn definition(&self) -> &Bytes {
        &self.definition
    }

    fn call<'a>(&'a self, arguments: &'a [u8], _host: &'a dyn Host) -> CallFuture<'a> {
        Box::pin(async move { Ok(self.answer(arguments).await.unwrap_or_else(|refusal| refusal)) })
    }
}

/// A result with text and data.
pub(super) fn show(documentation: &Documentation, query: &str, shown: &Shown<'_>) -> ToolReply {
    let result = Result {
        library: documentation.id(),
        version: documentation.version(),
        query,
        pick: documentation.pick.as_ref(),
        shown,
        origin: Origin::new(&documentation.found, &documentation.attempted),
    };
    let mut text = documentation.heading();
    text.push_str(&shown.text());
    if shown.truncated {
        let (omitted, tokens) = (shown.omitted, shown.tokens);
        push(
            &mut text,
            format_args!("{tokens} tokens shown; {omitted} further pieces left out.\n"),
        );
    }
    text.push_str(&result.origin.text());
    reply::success(&text, &result)
}

fn definition() -> Bytes {
    Definition {
        name: GET_DOCUMENTATION,
        title: "Library documentation",
        description: format!(
            "Current documentation of a library from Context7, for a version and a topic. Says \
             which library was picked for a name and which were not. {PRIVACY}"
        ),
        input: input_schema(),
        output: super::output_schema(output_properties(), &OUTPUT_REQUIRED),
        annotations: reply::looks_up(),
    }
    .into_bytes()
}

fn input_schema() -> Value {
    let own = json!({
        "topic": super::text_schema("What it should be about; without: an overview."),
        "max_tokens": {
            "type": "integer",
            "description": "Longest result in tokens; whole snippets only.",
            "minimum": 100,
            "maximum": 100_000,
            "default": TOKENS_DEFAULT,
        },
    });
    json!({
        "type": "object",
        "properties": super::merged([input_properties(), own]),
        "required": ["library"],
        "additionalProperties": false,
    })
}
