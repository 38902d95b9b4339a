//! `context7_get_examples`: code snippets of a library, for a topic.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::builtin::args::{Args, required};
use crate::builtin::context7::show::Shown;
use crate::builtin::context7::verdict::Trouble;
use crate::builtin::context7::{Context7, Failure};
use crate::builtin::reply::{self, Definition};
use crate::builtin::{Builtin, CallFuture, Host, ToolReply};

use super::documentation::show;
use super::library::{Asked, OUTPUT_REQUIRED, input_properties, output_properties};
use super::{GET_EXAMPLES, PRIVACY, TEXT_CHARS_MAX};

/// The topic is part of what the service is asked, and that has a length.
const TOPIC_CHARS_MAX: usize = TEXT_CHARS_MAX - " code example".len();

#[derive(Debug)]
pub(in crate::builtin) struct GetExamples {
    service: Arc<Context7>,
    definition: Bytes,
}

impl GetExamples {
    pub(in crate::builtin) fn new(service: &Arc<Context7>) -> Self {
        Self { service: Arc::clone(service), definition: definition() }
    }

    async fn answer(&self, arguments: &[u8]) -> Result<ToolReply, ToolReply> {
        let args = Args::read(arguments, &["library", "topic", "version", "limit"])?;
        let asked = Asked::read(&args)?;
        let topic = args.text("topic", 1..=TOPIC_CHARS_MAX)?;
        let topic = required(topic, "topic", "what the examples should show")?;
        let limit = args.integer("limit", 1..=50)?.unwrap_or(5);
        let query = format!("{topic} code example");
        let documentation = asked.documentation(&self.service, &query).await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let shown = Shown::examples(&documentation.found.value.context, limit);
        if shown.snippets.is_empty() {
            let message = "there is text on this, but no code";
            let trouble = Trouble::missing("no_code_found", message);
            let failure = Failure { trouble, attempted: documentation.attempted };
            return Err(failure.into_reply(&topic));
        }
        Ok(show(&documentation, &query, &shown))
    }
}

impl Builtin for GetExamples {
    fn name(&self) -> &str {
        GET_EXAMPLES
    }

    fn definition(&self) -> &Bytes {
        &self.definition
    }

    fn call<'a>(&'a self, arguments: &'a [u8], _host: &'a dyn Host) -> CallFuture<'a> {
        Box::pin(async move { Ok(self.answer(arguments).await.unwrap_or_else(|refusal| refusal)) })
    }
}

fn definition() -> Bytes {
    Definition {
        name: GET_EXAMPLES,
        title: "Library code examples",
        description: format!(
            "Code examples of a library from Context7, for a topic: real ones, each with its \
             source. {PRIVACY}"
        ),
        input: input_schema(),
        output: super::output_schema(output_properties(), &OUTPUT_REQUIRED),
        annotations: reply::looks_up(),
    }
    .into_bytes()
}

fn input_schema() -> Value {
    let own = json!({
        "topic": {
            "type": "string",
            "description": "What the examples should show, such as middleware.",
            "minLength": 1,
            "maxLength": TOPIC_CHARS_MAX,
        },
        "limit": {
            "type": "integer",
            "description": "Most examples to show.",
            "minimum": 1,
            "maximum": 50,
            "default": 5,
        },
    });
    json!({
        "type": "object",
        "properties": super::merged([input_properties(), own]),
        "required": ["library", "topic"],
        "additionalProperties": false,
    })
}
