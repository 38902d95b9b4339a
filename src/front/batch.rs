//! The messages of a batch run side by side and are answered together (2025-03-26, basic,
//! "Batching").

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;

use crate::gateway::Gateway;
use crate::proto::batch::{Item, join};
use crate::proto::error::{ErrorBody, INVALID_REQUEST};
use crate::proto::{Envelope, Method, Shape, Span};

use super::message::{malformed, notified, say};
use super::session::{Entered, Session};

/// One message on its way to its answer; `None` where none is due.
pub type Part = Pin<Box<dyn Future<Output = Option<Bytes>> + Send>>;

/// What a message of a batch comes to.
pub enum Taken {
    /// A request, which the session knows as running from now on.
    Call(Bytes, Envelope, Entered),
    /// All is done; its answer, if one is due.
    Over(Option<Part>),
}

/// Takes one message of a batch in, up to where a request has to be run.
pub fn take((body, shape): Item, session: &Arc<Session>, gateway: &Gateway) -> Taken {
    let told = |id: Option<Span>, error: &ErrorBody| {
        let reply = Bytes::from(error.message(id.map(|span| span.of(&body))));
        Taken::Over(Some(Box::pin(std::future::ready(Some(reply)))))
    };
    let shape = match shape {
        Ok(shape) => shape,
        Err(error) => return told(error.id, &malformed(&error.why)),
    };
    if shape.method == Method::Initialize {
        let text = "this message cannot be part of a batch";
        return told(shape.id, &ErrorBody::new(INVALID_REQUEST, text));
    }
    match shape.shape {
        Shape::Response => session.asks.answered(&body, shape.id),
        Shape::Notification => notified(session, &body, &shape),
        Shape::Request => {
            if let Err(error) = say(session, gateway, &body, &shape) {
                return told(shape.id, &error);
            }
            let id = shape.id.map(|span| span.of(&body)).unwrap_or_default();
            let entered = session.enter(Bytes::copy_from_slice(id));
            return Taken::Call(body, shape, entered);
        }
    }
    Taken::Over(None)
}

/// Runs all parts. Answers with the array of their answers, in the order of the requests; `None`
/// where no answer is due at all.
pub async fn all(parts: Vec<Part>) -> Option<Bytes> {
    let mut slots: Vec<Slot> = parts.into_iter().map(Slot::Runs).collect();
    poll_fn(|context| {
        let mut runs = false;
        for slot in &mut slots {
            let Slot::Runs(part) = slot else { continue };
            match part.as_mut().poll(context) {
                Poll::Ready(reply) => *slot = Slot::Done(reply),
                Poll::Pending => runs = true,
            }
        }
        if runs { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    let answers: Vec<Bytes> = slots.into_iter().filter_map(Slot::answer).collect();
    (!answers.is_empty()).then(|| join(&answers).into())
}

enum Slot {
    Runs(Part),
    Done(Option<Bytes>),
}

impl Slot {
    fn answer(self) -> Option<Bytes> {
        match self {
            Self::Runs(_) => None,
            Self::Done(answer) => answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(text: Option<&'static str>, turns: usize) -> Part {
        Box::pin(async move {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            text.map(|text| Bytes::from_static(text.as_bytes()))
        })
    }

    #[tokio::test]
    async fn answers_come_together_in_the_order_of_the_requests() {
        let parts = vec![part(Some("1"), 3), part(None, 0), part(Some("2"), 0)];
        assert_eq!(all(parts).await.unwrap(), "[1,2]");
        assert!(all(vec![part(None, 1)]).await.is_none());
    }
}
