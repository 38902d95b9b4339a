//! What travels through the gateway: a call and its reply.

use bytes::Bytes;
use http::HeaderMap;

use crate::proto::{Envelope, Era};
use crate::upstream::Caller;
use crate::upstream::http::ANSWER_BYTES_MAX;
use crate::upstream::large::Mended;

use super::answer;
use super::wish::Wish;

/// A request of a client, split and judged.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The client's message.
    pub body: &'a Bytes,
    /// Its parts.
    pub shape: &'a Envelope,
    /// Who calls.
    pub caller: &'a Caller,
    /// The HTTP headers of a modern request, whose mirrored parameters must say what the body
    /// says; `None` on stdio and in the legacy era.
    pub headers: Option<&'a HeaderMap>,
    /// What a call from within the process asks for beside its message; nothing for clients.
    pub wish: Wish<'a>,
}

impl Call<'_> {
    /// The client's raw id.
    pub fn id(&self) -> &[u8] {
        self.shape.id.map_or(b"null", |span| span.of(self.body))
    }

    /// Whether its client wants it to run as a task. Only legacy clients say so: in the modern era the
    /// server decides (tasks extension, "Backward Compatibility").
    pub fn wants_task(&self) -> bool {
        self.caller.era == Era::Legacy && self.shape.task.is_some()
    }
}

/// The answer to a request.
#[derive(Debug)]
pub struct Reply {
    /// The message.
    pub message: Message,
    /// The HTTP status it goes out with.
    pub status: u16,
}

/// A JSON-RPC message for a client.
#[derive(Debug)]
pub enum Message {
    /// All of it.
    Whole(Bytes),
    /// A large one, which still comes in.
    Coming(Box<Mended>),
}

impl Reply {
    /// An answer in-band, which is the rule.
    pub fn ok(message: impl Into<Bytes>) -> Self {
        Self { message: Message::Whole(message.into()), status: 200 }
    }

    /// The whole message, for a client that cannot have it piece by piece. `id` is the raw id of the
    /// request, to say what went wrong on the way.
    pub async fn whole(self, id: Option<&[u8]>) -> Bytes {
        match self.message {
            Message::Whole(message) => message,
            Message::Coming(mended) => match mended.gather(ANSWER_BYTES_MAX).await {
                Ok(message) => message,
                Err(fault) => answer::error(&fault, None).message(id).into(),
            },
        }
    }
}
