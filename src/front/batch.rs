//! The messages of a batch run side by side and are answered together (2025-03-26, basic,
//! "Batching").

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;

use crate::proto::batch::join;

/// One message on its way to its answer; `None` where none is due.
pub type Part = Pin<Box<dyn Future<Output = Option<Bytes>> + Send>>;

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
