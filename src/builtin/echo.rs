//! `echo`: gives a message back. The smallest tool there is, to try a connection with.

use bytes::Bytes;
use rmcp::model::ToolAnnotations;
use serde::Serialize;
use serde_json::json;

use crate::telemetry::Status;

use super::args::{Args, required};
use super::reply::{self, Definition};
use super::spec::EchoSpec;
use super::{Builtin, CallFuture, Host, ToolReply};

pub(super) const NAME: &str = "echo";

#[derive(Debug)]
pub(super) struct Echo {
    definition: Bytes,
    chars_max: usize,
}

#[derive(Serialize)]
struct Echoed<'a> {
    message: &'a str,
    /// In characters, as the limit counts.
    length: usize,
}

impl Echo {
    pub(super) fn new(spec: &EchoSpec) -> Self {
        let chars_max = spec.max_message_length;
        Self { definition: definition(chars_max), chars_max }
    }

    fn answer(&self, arguments: &[u8]) -> Result<ToolReply, ToolReply> {
        let args = Args::read(arguments, &["message"])?;
        let message = required(args.any_text("message")?, "message", "a string")?;
        let length = message.chars().count();
        if length > self.chars_max {
            let chars_max = self.chars_max;
            let text = format!(
                "`message` has {length} characters: longer than the limit of {chars_max} characters \
                 (tools.echo.max_message_length)"
            );
            return Err(reply::failure(Status::Invalid, &text));
        }
        Ok(reply::success(&message, &Echoed { message: &message, length }))
    }
}

impl Builtin for Echo {
    fn name(&self) -> &str {
        NAME
    }

    fn definition(&self) -> &Bytes {
        &self.definition
    }

    fn call<'a>(&'a self, arguments: &'a [u8], _host: &'a dyn Host) -> CallFuture<'a> {
        let reply = self.answer(arguments).unwrap_or_else(|refusal| refusal);
        Box::pin(std::future::ready(Ok(reply)))
    }
}

fn definition(chars_max: usize) -> Bytes {
    let annotations = ToolAnnotations::new()
        .read_only(true)
        .destructive(false)
        .idempotent(true)
        .open_world(false);
    Definition {
        name: NAME,
        title: "Echo",
        description: "Gives the message back unchanged, with its length.".to_owned(),
        input: json!({
            "type": "object",
            "properties": {
                "message": {
                    "type": "string",
                    "description": "The text to give back.",
                    "maxLength": chars_max,
                },
            },
            "required": ["message"],
            "additionalProperties": false,
        }),
        output: json!({
            "type": "object",
            "properties": {
                "message": { "type": "string", "description": "The text as it came." },
                "length": {
                    "type": "integer",
                    "minimum": 0,
                    "description": "Its length in characters (Unicode scalar values).",
                },
            },
            "required": ["message", "length"],
            "additionalProperties": false,
        }),
        annotations,
    }
    .into_bytes()
}
