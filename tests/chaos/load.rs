//! Clients that call at a fixed rate, whatever the answers do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use crate::client::{Call, Client, Kind, Told};
use crate::time::Draw;

/// Calls in flight at once: with more of them the rig itself would be what is measured.
const INFLIGHT_MAX: usize = 3_000;

/// What is called, of a hundred calls: so many, of this kind.
pub(crate) type Mix = &'static [(u64, Kind)];

/// The mix of the suite: half read, a third must not run twice, some may, a few take long.
pub(crate) const MIX: Mix =
    &[(50, Kind::Read), (30, Kind::Append), (15, Kind::Set), (5, Kind::Slow)];

/// What to call, and how often.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) client: Client,
    /// First part of every op.
    pub(crate) tag: String,
    /// Calls a second.
    pub(crate) rate: f64,
    pub(crate) mix: Mix,
    /// Called in turn by chance; one that stands here twice is called twice as often.
    pub(crate) upstreams: Vec<String>,
    /// Numbers of the keys that call, by chance; none where none are asked for.
    pub(crate) keys: Vec<usize>,
    /// How long a call works in place of what its kind usually takes.
    pub(crate) ms: Option<u64>,
    /// How long the slow ones take, in ms.
    pub(crate) slow: (u64, u64),
    pub(crate) seed: u64,
}

/// A load that runs.
#[derive(Debug)]
pub(crate) struct Running {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Vec<Told>>,
}

impl Load {
    pub(crate) fn start(self) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(self.run(Arc::clone(&stop)));
        Running { stop, task }
    }

    async fn run(self, stop: Arc<AtomicBool>) -> Vec<Told> {
        let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / self.rate));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut draw = Draw::new(self.seed);
        let (mut calls, mut told) = (JoinSet::new(), Vec::new());
        for number in 0_u64.. {
            ticks.tick().await;
            if stop.load(Ordering::Relaxed) {
                break;
            }
            while let Some(done) = calls.try_join_next() {
                told.extend(done.ok());
            }
            if calls.len() >= INFLIGHT_MAX {
                continue;
            }
            let (client, call) = (self.client.clone(), self.next(number, &mut draw));
            calls.spawn(async move { client.call(call).await });
        }
        while let Some(done) = calls.join_next().await {
            told.extend(done.ok());
        }
        told
    }

    fn next(&self, number: u64, draw: &mut Draw) -> Call {
        let mut left = draw.below(100);
        let mut kind = Kind::Read;
        for (share, of) in self.mix {
            kind = *of;
            if left < *share {
                break;
            }
            left -= share;
        }
        let pick = |many: usize, draw: &mut Draw| {
            usize::try_from(draw.below(many as u64)).unwrap_or_default()
        };
        let upstream = &self.upstreams[pick(self.upstreams.len(), draw)];
        let slow = self.slow.0 + draw.below(self.slow.1.saturating_sub(self.slow.0));
        let usual = match kind {
            Kind::Read => 5,
            Kind::Append => 20,
            Kind::Set => 100,
            Kind::Slow => slow,
        };
        let op = format!("{}-{number}", self.tag);
        let mut call = Call::new(op, upstream, kind, self.ms.unwrap_or(usual));
        call.steps = if kind == Kind::Slow { 4 } else { 0 };
        if !self.keys.is_empty() {
            call.key = Some(self.keys[pick(self.keys.len(), draw)]);
        }
        call
    }
}

impl Running {
    /// Calls nothing more, and waits for every answer.
    pub(crate) async fn finish(self) -> Vec<Told> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap_or_default()
    }

    /// The same after so many seconds.
    pub(crate) async fn finish_after(self, seconds: u64) -> Vec<Told> {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        self.finish().await
    }
}
