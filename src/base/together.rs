//! Work side by side within one task: so many at once, answers in order, and all of it given up when
//! the future is dropped.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use parking_lot::Mutex;

/// Runs `work` for 0 to `count`, at most `at_once` at a time, and answers in that order.
///
/// All of it runs on the task that polls; each wake polls whatever is under way, so keep `at_once`
/// small.
pub async fn together<T, F, W>(count: usize, at_once: usize, work: F) -> Vec<T>
where
    T: Send,
    F: Fn(usize) -> W + Sync,
    W: Future<Output = T> + Send,
{
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Option<T>>> = Mutex::new((0..count).map(|_| None).collect());
    let worker = async || {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            if place >= count {
                return;
            }
            let answer = work(place).await;
            if let Some(slot) = done.lock().get_mut(place) {
                *slot = Some(answer);
            }
        }
    };
    let mut workers: Vec<Option<Pin<Box<_>>>> =
        (0..at_once.clamp(1, count.max(1))).map(|_| Some(Box::pin(worker()))).collect();
    poll_fn(|context| {
        for slot in &mut workers {
            if slot.as_mut().is_some_and(|worker| worker.as_mut().poll(context).is_ready()) {
                *slot = None;
            }
        }
        if workers.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    drop(workers);
    done.into_inner().into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn answers_keep_their_order_and_no_more_run_at_once_than_allowed() {
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let got = together(20, 3, async |place| {
            let now = running.fetch_add(1, Ordering::Relaxed) + 1;
            most.fetch_max(now, Ordering::Relaxed);
            // Later ones end earlier.
            tokio::time::sleep(Duration::from_millis(u64::try_from(100 - place).unwrap())).await;
            running.fetch_sub(1, Ordering::Relaxed);
            place
        });
        assert_eq!(got.await, (0..20).collect::<Vec<_>>());
        assert_eq!(most.load(Ordering::Relaxed), 3);
        assert!(together(0, 3, async |place| place).await.is_empty());
        assert_eq!(together(2, 0, async |place| place).await, [0, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_dropped_is_given_up() {
        let begun = AtomicUsize::new(0);
        let all = together(10, 2, async |_| {
            begun.fetch_add(1, Ordering::Relaxed);
            std::future::pending::<()>().await;
        });
        drop(tokio::time::timeout(Duration::from_secs(1), all).await);
        assert_eq!(begun.load(Ordering::Relaxed), 2);
    }
}
