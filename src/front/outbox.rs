//! What waits to be written to the client of a pipe: bounded in messages and in bytes. Whoever has
//! something to say waits for room; what may be lost is dropped where there is none.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Messages that wait to be written to one client.
pub const QUEUE_MAX: usize = 256;
/// Bytes that wait to be written to one client. A larger message waits alone.
pub const QUEUE_BYTES_MAX: u32 = 4 * 1024 * 1024;

/// Where messages are put in.
#[derive(Debug)]
pub struct Outbox {
    queue: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
    over: CancellationToken,
}

#[derive(Debug)]
struct Queued {
    message: Bytes,
    _room: OwnedSemaphorePermit,
}

/// Where they are taken out. Dropped, nobody takes them any more.
#[derive(Debug)]
pub struct Outgoing {
    queue: mpsc::Receiver<Queued>,
    room: Arc<Semaphore>,
    over: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Outbox {
    /// An empty queue.
    pub fn new() -> (Self, Outgoing) {
        let (sender, queue) = mpsc::channel(QUEUE_MAX);
        let bytes = usize::try_from(QUEUE_BYTES_MAX).unwrap_or(Semaphore::MAX_PERMITS);
        let (room, over) = (Arc::new(Semaphore::new(bytes)), CancellationToken::new());
        let outgoing = Outgoing {
            queue,
            room: Arc::clone(&room),
            over: Box::pin(over.clone().cancelled_owned()),
        };
        (Self { queue: sender, room, over }, outgoing)
    }

    /// Puts a message in as soon as there is room. It is dropped if nobody takes it any more.
    pub async fn put(&self, message: Bytes) {
        let room = Arc::clone(&self.room).acquire_many_owned(bytes_of(&message)).await;
        if let Ok(room) = room {
            drop(self.queue.send(Queued { message, _room: room }).await);
        }
    }

    /// Puts a message in if there is room now.
    pub fn offer(&self, message: Bytes) {
        let room = Arc::clone(&self.room).try_acquire_many_owned(bytes_of(&message));
        if let Ok(room) = room {
            drop(self.queue.try_send(Queued { message, _room: room }));
        }
    }

    /// Nothing more comes: whoever takes out is told so once the queue is empty.
    pub fn close(&self) {
        self.over.cancel();
    }

    /// Resolves when nobody takes out any more.
    pub async fn left(&self) {
        self.queue.closed().await;
    }
}

fn bytes_of(message: &[u8]) -> u32 {
    u32::try_from(message.len()).unwrap_or(u32::MAX).clamp(1, QUEUE_BYTES_MAX)
}

impl Outgoing {
    /// The oldest message; `None` when nothing more comes.
    pub async fn next(&mut self) -> Option<Bytes> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// The same, for whoever polls.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Poll::Ready(queued) = self.queue.poll_recv(context) {
            return Poll::Ready(queued.map(|queued| queued.message));
        }
        self.over.as_mut().poll(context).map(|()| None)
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        // Those who wait for room wait no longer.
        self.room.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    const SOON: Duration = Duration::from_millis(50);

    fn bytes(len: usize) -> Bytes {
        Bytes::from(vec![b'x'; len])
    }

    #[tokio::test]
    async fn what_is_put_in_comes_out_in_order_and_then_the_end() {
        let (outbox, mut outgoing) = Outbox::new();
        outbox.put(Bytes::from_static(b"a")).await;
        outbox.offer(Bytes::from_static(b"b"));
        assert!(timeout(SOON, outbox.left()).await.is_err());
        outbox.close();
        assert_eq!(outgoing.next().await.unwrap(), "a");
        assert_eq!(outgoing.next().await.unwrap(), "b");
        assert!(outgoing.next().await.is_none() && outgoing.next().await.is_none());
        drop(outgoing);
        outbox.left().await;
    }

    #[tokio::test]
    async fn messages_and_bytes_that_wait_are_bounded() {
        let (outbox, mut outgoing) = Outbox::new();
        for _ in 0..QUEUE_MAX {
            outbox.put(bytes(1)).await;
        }
        assert!(timeout(SOON, outbox.put(bytes(1))).await.is_err(), "too many");
        outbox.offer(bytes(1));
        while timeout(SOON, outgoing.next()).await.is_ok() {}
        // More than all the bytes there may be, and so alone.
        outbox.put(bytes(5 * 1024 * 1024)).await;
        assert!(timeout(SOON, outbox.put(bytes(1))).await.is_err(), "too much");
        outbox.offer(Bytes::from_static(b"note"));
        assert_eq!(outgoing.next().await.unwrap().len(), 5 * 1024 * 1024);
        outbox.put(Bytes::from_static(b"next")).await;
        assert_eq!(outgoing.next().await.unwrap(), "next", "the note was dropped");
    }

    #[tokio::test]
    async fn whoever_waits_for_room_is_let_go_when_nobody_reads() {
        let (outbox, outgoing) = Outbox::new();
        outbox.put(bytes(4 * 1024 * 1024)).await;
        let leaves = async {
            tokio::task::yield_now().await;
            drop(outgoing);
        };
        let both = async { tokio::join!(outbox.put(bytes(1)), leaves) };
        timeout(Duration::from_secs(5), both).await.unwrap();
    }
}
