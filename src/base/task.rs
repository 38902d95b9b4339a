//! Owned tasks: everything that is spawned is tracked, and is told to stop.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A group of tasks with one owner. Cloning it shares the group.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// An empty group.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task that the owner waits for.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tracker.spawn(task)
    }

    /// The token that is cancelled when the group is told to stop.
    pub fn stop_token(&self) -> &CancellationToken {
        &self.stop
    }

    /// How many tasks of the group are running.
    pub fn len(&self) -> usize {
        self.tracker.len()
    }

    /// Whether no task of the group is running.
    pub fn is_empty(&self) -> bool {
        self.tracker.is_empty()
    }

    /// Waits up to `grace` for the tasks to end by themselves, then tells the rest to stop and
    /// waits no longer than it takes them to say their last words.
    pub async fn finish(&self, grace: Duration) {
        self.tracker.close();
        let quiet = async {
            // Tasks that only wait for events never end by themselves.
            while !self.tracker.is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(grace, quiet).await.is_err() {
            tracing::debug!(left = self.tracker.len(), "some tasks are told to stop");
        }
        self.stop(Duration::from_millis(200)).await;
    }

    /// Tells every task to stop and waits up to `grace`. Answers whether all of them ended.
    pub async fn stop(&self, grace: Duration) -> bool {
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout(grace, self.tracker.wait()).await.is_ok()
    }
}
