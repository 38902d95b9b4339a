//! The try loop of one upstream: pick, admit, exchange, decide.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use metrics::Counter;
use smallvec::SmallVec;
use tokio::sync::Notify;

use crate::base::{Fault, Kind, Sent, UpstreamName, clock};
use crate::upstream::replica::State;
use crate::upstream::{Done, Frame, Replica, Request};

use super::pick::{Candidate, pick};
use super::retry::{Verdict, decide};
use super::spec::PoolSpec;

/// A call waits so long for an upstream that is starting.
pub const START_WAIT: Duration = Duration::from_secs(30);

/// An upstream's replicas and the rules over them.
#[derive(Debug)]
pub struct Pool {
    /// The upstream.
    pub upstream: UpstreamName,
    /// Its replicas, in the order of the configuration.
    pub replicas: Vec<Arc<Replica>>,
    spec: PoolSpec,
    turn: AtomicUsize,
    inflight: AtomicUsize,
    stir: Arc<Notify>,
    /// Calls that were refused at a bound.
    pub shed: Counter,
}

/// A call that was answered, and by whom.
#[derive(Debug)]
pub struct Answered {
    /// The answer.
    pub done: Done,
    /// The place of the replica that gave it.
    pub replica: usize,
}

impl Pool {
    /// A pool over replicas that their keepers bring up.
    /// `stir` is what its replicas tell their changes to.
    pub fn new(
        upstream: UpstreamName,
        spec: PoolSpec,
        replicas: Vec<Arc<Replica>>,
        stir: Arc<Notify>,
        shed: Counter,
    ) -> Self {
        let (turn, inflight) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { upstream, replicas, spec, turn, inflight, stir, shed }
    }

    /// Waits while nothing is up and something is starting, up to [`START_WAIT`] and no longer than
    /// a call may be silent: a call right after our start finds the catalog from before, and must
    /// not fail for being early.
    async fn starting(&self) {
        let longest = START_WAIT.min(self.spec.timeout).min(self.spec.timeout_max);
        let until = tokio::time::Instant::from_std(clock::now() + longest);
        loop {
            let stirred = self.stir.notified();
            let starting = |r: &Arc<Replica>| r.state() == State::Starting;
            if self.is_up() || !self.replicas.iter().any(starting) {
                return;
            }
            if tokio::time::timeout_at(until, stirred).await.is_err() {
                return;
            }
        }
    }

    /// Whether any replica takes calls.
    pub fn is_up(&self) -> bool {
        self.replicas.iter().any(|replica| replica.is_up())
    }

    /// Sends a request to one of the replicas and waits for its answer. `note` gets what comes
    /// before it; once it was called the try is committed. Dropping the future cancels the request.
    pub async fn call(
        &self,
        request: &Request<'_>,
        mut note: impl FnMut(Bytes) + Send,
    ) -> Result<Answered, Fault> {
        let _counted = self.enter()?;
        let deadline = clock::now() + self.spec.timeout_max;
        if !self.is_up() {
            self.starting().await;
        }
        let mut tried: SmallVec<[usize; 4]> = SmallVec::new();
        let mut committed = false;
        let mut last = None;
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        while let Some(place) = self.pick(&tried, turn)
            && let Some(replica) = self.replicas.get(place)
        {
            let mut told = |bytes| {
                committed = true;
                note(bytes);
            };
            let fault = match self.attempt(replica, request, deadline, &mut told).await {
                Ok(done) => {
                    return Ok(Answered { done, replica: place });
                }
                Err(fault) => fault,
            };
            if doubtful(&fault) {
                replica.doubt();
            }
            tried.push(place);
            if decide(&fault, committed, self.left(&tried)) == Verdict::Surface {
                return Err(fault);
            }
            replica.meters.failovers.increment(1);
            last = Some(fault);
        }
        Err(last.unwrap_or_else(|| self.nobody()))
    }

    fn enter(&self) -> Result<Counted<'_>, Fault> {
        let counted = Counted(&self.inflight);
        if self.inflight.fetch_add(1, Ordering::Relaxed) >= self.spec.inflight_max {
            let message =
                format!("{} calls are in flight at {}", self.spec.inflight_max, self.upstream);
            let wait = Some(Duration::from_secs(1));
            return Err(Fault::gateway(Kind::Overloaded, message).retry_after(wait));
        }
        Ok(counted)
    }

    fn pick(&self, tried: &[usize], turn: usize) -> Option<usize> {
        let candidate = |(place, replica): (usize, &Arc<Replica>)| Candidate {
            eligible: replica.is_up() && !tried.contains(&place),
            has_room: replica.permits.available_permits() > 0,
        };
        let candidates: SmallVec<[Candidate; 8]> =
            self.replicas.iter().enumerate().map(candidate).collect();
        pick(self.spec.balance, &candidates, turn)
    }

    fn left(&self, tried: &[usize]) -> usize {
        let fresh =
            |(place, replica): &(usize, &Arc<Replica>)| replica.is_up() && !tried.contains(place);
        self.replicas.iter().enumerate().filter(fresh).count()
    }

    /// One try at one replica.
    async fn attempt(
        &self,
        replica: &Replica,
        request: &Request<'_>,
        deadline: Instant,
        note: &mut (dyn FnMut(Bytes) + Send),
    ) -> Result<Done, Fault> {
        let until =
            |limit: Duration| tokio::time::Instant::from_std((clock::now() + limit).min(deadline));
        let permit =
            tokio::time::timeout_at(until(self.spec.timeout), replica.permits.acquire()).await;
        let Ok(Ok(_permit)) = permit else {
            return Err(Fault::gateway(
                Kind::Overloaded,
                format!("no place became free at {}", self.upstream),
            ));
        };
        let live = replica.live().ok_or_else(|| self.nobody())?;
        let mut flight = Flight::start(replica);
        let mut exchange = live.begin(request).map_err(|fault| {
            flight.end(false);
            self.named(&fault)
        })?;
        loop {
            let frame =
                match tokio::time::timeout_at(until(self.spec.timeout), exchange.next()).await {
                    Ok(frame) => frame,
                    Err(_) => Err(self.silence(deadline)),
                };
            match frame {
                Ok(Frame::Note(bytes)) => note(bytes),
                Ok(Frame::Alive) => {}
                Ok(Frame::Done(done)) => {
                    flight.end(true);
                    if done.status >= 400 {
                        // It refuses our way of asking: another server may stand there now.
                        replica.doubt();
                    }
                    return Ok(done);
                }
                Err(fault) => {
                    flight.end(false);
                    return Err(self.named(&fault));
                }
            }
        }
    }

    fn silence(&self, deadline: Instant) -> Fault {
        let message = if clock::now() >= deadline {
            format!("no answer within {} s in all", self.spec.timeout_max.as_secs_f32())
        } else {
            format!("no sign of life for {} s", self.spec.timeout.as_secs_f32())
        };
        Fault::upstream(Kind::Timeout, Sent::Maybe, message)
    }

    fn named(&self, fault: &Fault) -> Fault {
        Fault { message: format!("{}: {}", self.upstream, fault.message).into(), ..fault.clone() }
    }

    /// Why nobody takes a call: nothing was sent.
    pub fn nobody(&self) -> Fault {
        let why = self.replicas.iter().find_map(|replica| match replica.state() {
            State::Down(why) => Some(why),
            _ => None,
        });
        let message = match why {
            Some(why) => format!("no replica of {} is up; {why}", self.upstream),
            None => format!("{} is still starting", self.upstream),
        };
        let wait = Some(Duration::from_secs(1));
        Fault::upstream(Kind::NoReplica, Sent::No, message).retry_after(wait)
    }
}

/// Whether a fault says something about the replica that its keeper should look into at once.
fn doubtful(fault: &Fault) -> bool {
    match fault.kind {
        Kind::Connect | Kind::SessionLost | Kind::Closed | Kind::Protocol => true,
        Kind::Status(status) => (400..500).contains(&status) && status != 429,
        _ => false,
    }
}

/// Counts a call while it is in flight at the upstream.
struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts a request while it is in flight at a replica; one that is dropped was given up.
struct Flight<'a> {
    replica: &'a Replica,
    began: Instant,
    over: bool,
}

impl<'a> Flight<'a> {
    fn start(replica: &'a Replica) -> Self {
        replica.meters.inflight.increment(1.0);
        Self { replica, began: clock::now(), over: false }
    }

    fn end(&mut self, answered: bool) {
        self.over = true;
        let meters = &self.replica.meters;
        if answered { &meters.answered } else { &meters.failed }.increment(1);
        meters.duration.record((clock::now() - self.began).as_secs_f64());
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.replica.meters.inflight.decrement(1.0);
        if !self.over {
            self.replica.meters.given_up.increment(1);
        }
    }
}
