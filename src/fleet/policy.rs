//! Running anything again by the rules that hold for calls: for programs that embed the gateway.

use std::time::Duration;

use parking_lot::Mutex;

use super::budget::Budget;
use super::effect::Effect;
use super::retry::{Tried, Verdict, decide};
use super::spec::{RetrySpec, TIMEOUT_MAX};
use crate::base::{Fault, Kind, Sent, clock, rng};

/// Runs work again when it failed, by the rules that hold for calls of tools: only while that does
/// no harm, after a wait with full jitter, within a budget and a deadline.
///
/// A policy may be shared. What it lets run again after it may have run is then bounded over all its
/// users: 5 at once and one a second, and a tenth of what went well.
///
/// ```
/// use std::time::Duration;
/// use waypost::RetryPolicy;
/// use waypost::base::{Fault, Kind, Sent};
///
/// # #[tokio::main]
/// # async fn main() {
/// let policy = RetryPolicy::new(3, 2.0, Duration::from_secs(60));
/// let mut runs = 0;
/// let answer = policy
///     .execute(|| {
///         runs += 1;
///         let answer = match runs {
///             1 => Err(Fault::upstream(Kind::Connect, Sent::No, "connection refused")),
///             _ => Ok("here it is"),
///         };
///         async move { answer }
///     })
///     .await;
/// assert_eq!(answer.unwrap(), "here it is");
/// assert_eq!(runs, 2);
/// # }
/// ```
#[derive(Debug)]
#[doc(alias = "RetryManager")]
pub struct RetryPolicy {
    spec: RetrySpec,
    effect: Effect,
    longest: Duration,
    budget: Mutex<Budget>,
}

impl RetryPolicy {
    /// At most `max_retries` runs after the first one; waits grow by `backoff_factor` up to
    /// `max_backoff`. The first wait is up to [`RetrySpec::backoff_base`] of the defaults.
    pub fn new(max_retries: u32, backoff_factor: f64, max_backoff: Duration) -> Self {
        let spec = RetrySpec {
            max_attempts: max_retries.saturating_add(1),
            backoff_factor,
            backoff_max: max_backoff,
            ..RetrySpec::default()
        };
        Self::of(spec)
    }

    /// The rules of a configuration.
    pub fn of(spec: RetrySpec) -> Self {
        let budget = Mutex::new(Budget::new(clock::now()));
        Self { spec, effect: Effect::Idempotent, longest: TIMEOUT_MAX, budget }
    }

    /// What a second run of the work would do; [`Effect::Idempotent`] unless said. Work that is
    /// [`Effect::Unsafe`] runs again only after a failure that says [`Sent::No`].
    #[must_use]
    pub fn with_effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    /// Longest duration of all runs and waits together; 15 minutes unless said.
    #[must_use]
    pub fn within(mut self, longest: Duration) -> Self {
        self.longest = longest;
        self
    }

    /// Runs `work` until it goes well or must not run again, and answers with its last end. A
    /// failure says by [`Fault::sent`] whether the work may have been done.
    pub async fn execute<T, W>(&self, mut work: impl FnMut() -> W) -> Result<T, Fault>
    where
        W: Future<Output = Result<T, Fault>>,
    {
        let deadline = clock::now() + self.longest;
        let mut attempts = 0;
        loop {
            let outcome = tokio::time::timeout_at(deadline.into(), work()).await;
            let fault = match outcome {
                Ok(Ok(answer)) => {
                    self.budget.lock().earn(self.spec.budget_ratio, clock::now());
                    return Ok(answer);
                }
                Ok(Err(fault)) => fault,
                Err(_elapsed) => {
                    let text = format!("no end within {} s", self.longest.as_secs_f32());
                    Fault::upstream(Kind::Timeout, Sent::Maybe, text)
                }
            };
            attempts += 1;
            match self.after(&fault, attempts, deadline) {
                Verdict::Again(wait) => tokio::time::sleep(wait).await,
                Verdict::Surface(_) => return Err(fault),
            }
        }
    }

    fn after(&self, fault: &Fault, attempts: u32, deadline: std::time::Instant) -> Verdict {
        let tried = Tried {
            effect: self.effect,
            committed: false,
            attempts,
            // There is one place where the work is done, and it is there.
            fresh: 0,
            up: 1,
            usual: None,
            deadline,
        };
        let moment = (clock::now(), rng::draw());
        decide(&self.spec, &tried, fault, &mut self.budget.lock(), moment)
    }
}

impl Default for RetryPolicy {
    /// Three retries, waits that double up to a minute.
    fn default() -> Self {
        Self::new(3, 2.0, Duration::from_mins(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    async fn runs(policy: &RetryPolicy, fault: Fault) -> (u32, Result<(), Fault>) {
        let runs = Cell::new(0);
        let end = policy.execute(async || {
            runs.set(runs.get() + 1);
            Err::<(), _>(fault.clone())
        });
        let end = end.await;
        (runs.get(), end)
    }

    #[tokio::test(start_paused = true)]
    async fn work_runs_again_as_often_as_said_and_waits_no_longer_than_its_steps() {
        let unsent = Fault::upstream(Kind::Connect, Sent::No, "x");
        let start = clock::now();
        let (count, end) = runs(&RetryPolicy::default(), unsent).await;
        assert_eq!((count, end.unwrap_err().kind), (4, Kind::Connect));
        let base = RetrySpec::default().backoff_base;
        assert!(clock::now() - start <= base * 7 + Duration::from_millis(3));
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_may_have_been_done_runs_again_only_if_that_does_no_harm() {
        let lost = Fault::upstream(Kind::Closed, Sent::Maybe, "x");
        let unsafe_work = RetryPolicy::default().with_effect(Effect::Unsafe);
        assert_eq!(runs(&unsafe_work, lost.clone()).await.0, 1);
        assert_eq!(runs(&RetryPolicy::default(), lost.clone()).await.0, 4);
        // The budget is shared: 5 at once.
        let shared = RetryPolicy::default();
        let mut count = 0;
        for _ in 0..4 {
            count += runs(&shared, lost.clone()).await.0 - 1;
        }
        assert!((5..=7).contains(&count), "{count}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_ends_a_run_and_all_that_would_follow() {
        let policy = RetryPolicy::default().within(Duration::from_secs(3));
        let start = clock::now();
        let end = policy.execute(std::future::pending::<Result<(), Fault>>).await;
        assert_eq!(end.unwrap_err().kind, Kind::Timeout);
        assert_eq!(clock::now() - start, Duration::from_secs(3));
    }
}
