//! What travels through the gateway: a call and its reply.

use bytes::Bytes;
use http::HeaderMap;

use crate::proto::Envelope;
use crate::upstream::Caller;

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
}

impl Call<'_> {
    /// The client's raw id.
    pub fn id(&self) -> &[u8] {
        self.shape.id.map_or(b"null", |span| span.of(self.body))
    }
}

/// The answer to a request: a whole JSON-RPC message.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The message.
    pub message: Bytes,
    /// The HTTP status it goes out with.
    pub status: u16,
}

impl Reply {
    /// An answer in-band, which is the rule.
    pub fn ok(message: impl Into<Bytes>) -> Self {
        Self { message: message.into(), status: 200 }
    }
}
