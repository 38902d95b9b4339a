//! A call of a tool that this process makes itself, over the same path as a client's.

use std::pin::Pin;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::builtin::Outcome;
use crate::proto::answer::{Body, Incoming, read};
use crate::proto::envelope::split;
use crate::proto::error::{ErrorBody, INTERNAL};
use crate::proto::scan::quote;
use crate::upstream::{Caller, Told};

use super::call::{Call, Message};
use super::wish::Wish;
use super::{Inner, answer, dispatch};

/// The id of every such call: each is alone on its way.
const ID: &[u8] = b"1";

/// What is called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tool<'a> {
    /// The exposed name.
    pub(super) name: &'a str,
    /// Its arguments, a JSON object.
    pub(super) arguments: &'a str,
    /// Largest answer that is taken, in bytes.
    pub(super) bytes_max: usize,
}

/// Calls a tool as `caller`. What would come before the answer is dropped: a question of the server
/// is refused. Dropping the future cancels the call.
pub(super) fn call<'a>(
    inner: &'a Inner,
    caller: &'a Caller,
    tool: Tool<'a>,
    wish: Wish<'a>,
) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
    Box::pin(async move {
        let body = Bytes::from(format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":{},"arguments":{}}}}}"#,
            quote(tool.name),
            tool.arguments
        ));
        let shape = match split(&body) {
            Ok(shape) => shape,
            Err(error) => return failed(&ErrorBody::new(INTERNAL, error.why.to_string())),
        };
        let call = Call { body: &body, shape: &shape, caller, headers: None, wish };
        let reply = dispatch::dispatch(inner, call, drop::<Told>).await;
        let message = match reply.message {
            Message::Whole(message) => message,
            Message::Coming(mended) => match mended.gather(tool.bytes_max).await {
                Ok(message) => message,
                Err(fault) => answer::error(&fault, None).message(Some(ID)).into(),
            },
        };
        outcome(&message)
    })
}

fn outcome(message: &[u8]) -> Outcome {
    let raw = |span: crate::proto::Span| {
        let text = String::from_utf8_lossy(span.of(message)).into_owned();
        RawValue::from_string(text).ok()
    };
    let found = match read(message) {
        Ok(Incoming::Answer(answer)) => match answer.body {
            Body::Result(parts) => {
                parts.span.and_then(raw).map(|result| Outcome::Result(result, parts.is_error))
            }
            Body::Error(parts) => raw(parts.span).map(Outcome::Error),
        },
        _ => None,
    };
    found.unwrap_or_else(|| failed(&ErrorBody::new(INTERNAL, "the answer cannot be read")))
}

/// An error of ours.
fn failed(error: &ErrorBody) -> Outcome {
    let mut object = serde_json::json!({ "code": error.code, "message": error.message });
    if let (Some(data), Some(object)) = (&error.data, object.as_object_mut()) {
        object.insert("data".to_owned(), data.clone());
    }
    Outcome::Error(RawValue::from_string(object.to_string()).unwrap_or_default())
}
