//! The driver: sessions that call as fast as replies come, or at a fixed rate.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::Result;
use crate::cells::Cell;
use crate::expected::Expected;
use crate::lane::Lane;
use crate::session::Session;
use crate::stats::{self, Sample};

/// What a reply may take beyond the time of its cell before the run has failed.
const REPLY_MAX: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// Each session sends its next call when it has the reply to the last one.
    Closed,
    /// So many calls a second over all sessions, whatever the replies do.
    Open { rate: u32 },
}

/// How many calls to make, and how long at most: a slow proxy makes fewer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amount {
    pub(crate) calls: usize,
    pub(crate) time: Duration,
}

impl Amount {
    /// Enough to open every connection on both sides and to settle.
    const fn warm_up(self, sessions: usize) -> Self {
        Self { calls: self.calls / 10 + 2 * sessions, time: self.time }
    }
}

/// What all sessions of a run share.
#[derive(Clone)]
struct Plan {
    expected: Arc<[Expected]>,
    pace: Pace,
    calls: usize,
    sessions: usize,
    left: Arc<AtomicUsize>,
    start: Instant,
    /// When the last call may start.
    until: Instant,
}

impl Plan {
    fn new(expected: &Arc<[Expected]>, pace: Pace, amount: Amount, sessions: usize) -> Self {
        let start = Instant::now();
        Self {
            expected: Arc::clone(expected),
            pace,
            calls: amount.calls,
            sessions,
            left: Arc::new(AtomicUsize::new(amount.calls)),
            start,
            until: start + amount.time,
        }
    }

    /// Whether another call is to be made.
    fn take(&self) -> bool {
        let one_less = |left: usize| left.checked_sub(1);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }
}

#[derive(Default)]
struct Run {
    sessions: Vec<Session>,
    times: Vec<Duration>,
}

/// Measures one cell on one lane.
pub(crate) async fn measure(lane: &Lane, cell: &Cell, amount: Amount) -> Result<Sample> {
    let steps = lane.steps(cell.work);
    let mut sessions = Vec::with_capacity(cell.sessions);
    for number in 0..cell.sessions {
        sessions.push(Session::open(lane, number, &steps).await?);
    }
    let first = sessions.first_mut().ok_or("a cell without sessions")?;
    let expected: Arc<[Expected]> = first.learn(lane, &steps).await?.into();

    let plan = |pace, amount| Plan::new(&expected, pace, amount, cell.sessions);
    let warm = run(sessions, &plan(Pace::Closed, amount.warm_up(cell.sessions))).await?;

    let cpu_before = lane.cpu()?;
    let started = Instant::now();
    let mut run = run(warm.sessions, &plan(cell.pace, amount)).await?;
    let elapsed = started.elapsed();
    let cpu = lane.cpu()?.zip(cpu_before).map(|(after, before)| after.saturating_sub(before));
    stats::sample(&mut run.times, elapsed, cpu)
}

/// Runs all sessions together until so many calls are made; gives them back with all times.
async fn run(sessions: Vec<Session>, plan: &Plan) -> Result<Run> {
    let mut tasks: JoinSet<Result<(Session, Vec<Duration>)>> = JoinSet::new();
    for (number, session) in sessions.into_iter().enumerate() {
        let plan = plan.clone();
        match plan.pace {
            Pace::Closed => tasks.spawn(closed(session, number, plan)),
            Pace::Open { rate } => tasks.spawn(open(session, number, plan, rate)),
        };
    }
    let finish = async {
        let mut run = Run::default();
        while let Some(done) = tasks.join_next().await {
            let (session, times) = done??;
            run.sessions.push(session);
            run.times.extend(times);
        }
        Ok(run)
    };
    let end = plan.until + REPLY_MAX;
    let done = tokio::time::timeout_at(end.into(), finish).await;
    done.unwrap_or_else(|_| Err("a reply never came".into()))
}

/// One session in a closed loop. All sessions take from one count, so that all are busy to the end.
async fn closed(
    mut session: Session,
    number: usize,
    plan: Plan,
) -> Result<(Session, Vec<Duration>)> {
    let mut times = Vec::new();
    let mut step = number;
    while Instant::now() < plan.until && plan.take() {
        let started = Instant::now();
        session.call(step % plan.expected.len(), &plan.expected).await?;
        times.push(started.elapsed());
        step += 1;
    }
    Ok((session, times))
}

/// One session's share of a fixed schedule. A call that a slow reply delays is timed from when it
/// was due: waiting for the gateway is part of what a client sees.
async fn open(
    mut session: Session,
    number: usize,
    plan: Plan,
    rate: u32,
) -> Result<(Session, Vec<Duration>)> {
    let mut times = Vec::new();
    for call in (number..plan.calls).step_by(plan.sessions) {
        let due = plan.start + Duration::from_secs(1) * u32::try_from(call)? / rate;
        if due > plan.until {
            break;
        }
        let late = Instant::now() > due;
        tokio::time::sleep_until(due.into()).await;
        // The timer's own lateness, up to a millisecond, is no proxy's.
        let from = if late { due } else { Instant::now() };
        session.call(call % plan.expected.len(), &plan.expected).await?;
        times.push(from.elapsed());
    }
    Ok((session, times))
}
