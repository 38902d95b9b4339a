//! Pure: a client's call written anew, for another request to the same upstream: with answers to
//! questions, or as a task. And requests of our own on behalf of a client.

use bytes::Bytes;

use crate::proto::envelope::{Envelope, split};
use crate::upstream::{Caller, Mirrored, Request, Subject};

use super::call::Call;
use super::wish::Wish;

/// A message that is not the client's own any more.
#[derive(Debug)]
pub(super) struct Rewritten {
    body: Bytes,
    shape: Envelope,
}

impl Rewritten {
    /// A message; `None` if it is none.
    pub(super) fn new(text: impl Into<Bytes>) -> Option<Self> {
        let body = text.into();
        let shape = split(&body).ok()?;
        Some(Self { body, shape })
    }

    /// The same as a call of a client.
    pub(super) fn call<'a>(&'a self, caller: &'a Caller) -> Call<'a> {
        let (body, shape) = (&self.body, &self.shape);
        Call { body, shape, caller, headers: None, wish: Wish::default() }
    }

    /// The request that is about what `first` is about.
    pub(super) fn about<'a>(&'a self, first: &Request<'a>) -> Request<'a> {
        let span = self.shape.subject();
        let subject = first.subject.and_then(|subject| Some(Subject { span: span?, ..subject }));
        Request { body: &self.body, shape: &self.shape, subject, ..*first }
    }

    /// The request that is about what this name stands for at the upstream.
    pub(super) fn named<'a>(&'a self, name: &'a str, caller: &'a Caller) -> Request<'a> {
        let subject = self.shape.subject().map(|span| Subject { span, name });
        let (body, shape, mirrored) = (&self.body, &self.shape, Mirrored::Nothing);
        Request { body, shape, subject, caller, mirrored }
    }
}
