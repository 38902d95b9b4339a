//! One task per replica owns its life: connect, greet, list, watch, and again after a wait.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::base::{Fault, Kind, clock, rng};
use crate::egress::{ClientSpec, HttpClient};

use super::backoff::{Ends, GREET_AT_ONCE_MAX, LOOP_ENDS, LOOP_REST, What, delay, failures_after};
use super::connect::{Means, Session, connect};
use super::listing::Listing;
use super::replica::{Link, Replica, State};
use super::report::Report;
use super::spec::ReplicaKind;
use super::supervisor::StopPace;
use super::watch::{End, watch};

/// The task that owns a replica.
#[derive(Debug)]
pub struct Keeper {
    /// What it keeps up.
    pub replica: Arc<Replica>,
    /// What it works with.
    pub means: Means,
    /// Where it tells what happens.
    pub report: Report,
    /// Ends it: when the gateway stops, or when nobody needs this replica any more.
    pub stop: CancellationToken,
}

impl Keeper {
    /// Runs until it is told to stop; then the replica is gone.
    pub async fn run(self) {
        let stop = self.stop.clone();
        let mut client = self.client();
        let mut failures = 0_u32;
        let mut ends = Ends::default();
        let mut told = String::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.replica.wakes() => {}
            }
            let life = self.life(client.as_ref()).await;
            if stop.is_cancelled() {
                return;
            }
            let uptime = life.up_since.map_or(Duration::ZERO, |since| clock::now() - since);
            failures = failures_after(failures, uptime);
            let again = matches!(life.end, End::Greet(_));
            let fault = match life.end {
                End::Down(fault) | End::Greet(fault) => fault,
                End::Idle => {
                    // It did nothing wrong: nothing is counted, and nothing waited for.
                    failures = 0;
                    continue;
                }
            };
            if again {
                // It is there and is greeted anew at once: calls that wait go on waiting.
                tracing::info!(upstream = %self.replica.upstream, %fault, "greeting again");
                self.replica.set_down(State::Starting);
            } else {
                self.down(fault, life.up_since.is_some(), &mut told).await;
                // Connections that were kept may be half-open: each would cost a whole greeting.
                client = self.client();
            }
            let longest = self.replica.health().down_interval;
            let what = if client.is_some() { What::Url { longest } } else { What::Child };
            let loops = client.is_none() && !again && ends.note(clock::now());
            let wait = if loops {
                self.rests();
                LOOP_REST
            } else if again && failures < GREET_AT_ONCE_MAX {
                Duration::ZERO
            } else {
                delay(what, failures, uptime, rng::draw())
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn client(&self) -> Option<HttpClient> {
        let ReplicaKind::Http(http) = &self.replica.spec.kind else { return None };
        let spec = ClientSpec { address: http.address, ..ClientSpec::default() };
        Some(HttpClient::over(&spec, self.means.dial.clone()))
    }

    /// One life of the replica, from its start to its end.
    async fn life(&self, client: Option<&HttpClient>) -> Life {
        self.replica.set_down(State::Starting);
        let stop = self.stop.clone();
        let connected = tokio::select! {
            biased;
            connected = connect(&self.replica, &self.means, client) => connected,
            () = stop.cancelled() => Err(stopping()),
        };
        let mut session = match connected {
            Ok(session) => session,
            Err(fault) => return Life { up_since: None, end: End::Down(fault) },
        };
        let listed = tokio::select! {
            biased;
            listed = Listing::walk(&session.live, &self.means.us) => listed,
            () = stop.cancelled() => Err(stopping()),
        };
        let end = match listed {
            Ok((listing, missing)) => {
                let up_since = Some(clock::now());
                self.replica.set_up(Arc::clone(&session.live));
                self.report.listed(&self.replica, &session.live, listing.clone()).await;
                let (replica, means, report) = (&self.replica, &self.means, &self.report);
                let end = tokio::select! {
                    biased;
                    end = watch(&mut session, (listing, missing), replica, means, report) => end,
                    () = stop.cancelled() => End::Down(stopping()),
                };
                Life { up_since, end }
            }
            Err(fault) => Life { up_since: None, end: End::Down(fault) },
        };
        self.part(session, &end).await;
        end
    }

    /// Tells that the replica is down. The log is told of a cause once, not at every try.
    async fn down(&self, fault: Fault, was_up: bool, told: &mut String) {
        let (upstream, replica) = (&self.replica.upstream, &self.replica.spec.name);
        if was_up || *told != fault.message {
            fault.message.as_ref().clone_into(told);
            tracing::warn!(%upstream, %replica, %fault, "down; it is tried again");
        } else {
            tracing::debug!(%upstream, %replica, %fault, "still down");
        }
        if was_up && self.replica.is_child() {
            self.replica.meters.restarted(fault.kind);
        }
        self.replica.set_down(State::Down(fault.message.clone().into_owned()));
        self.report.down(fault).await;
    }

    /// The child does nothing but end.
    fn rests(&self) {
        let (upstream, replica) = (&self.replica.upstream, &self.replica.spec.name);
        let (ends, minutes) = (LOOP_ENDS, LOOP_REST.as_secs() / 60);
        tracing::warn!(%upstream, %replica, ends, minutes, "a crash loop; it rests");
        if let State::Down(why) = self.replica.state() {
            let why = format!("{why}; it ended {ends} times in a row and rests for {minutes} min");
            self.replica.set_down(State::Down(why));
        }
    }

    /// Leaves a replica in order: nothing of it stays behind.
    async fn part(&self, session: Session, life: &Life) {
        let (End::Down(why) | End::Greet(why)) = &life.end else {
            // Calls see it asleep already, and may wake it again while it is stopped.
            let (upstream, replica) = (&self.replica.upstream, &self.replica.spec.name);
            tracing::info!(%upstream, %replica, "nobody uses it; it is stopped until a call");
            self.replica.meters.stopped_idle();
            let why = Fault::gateway(Kind::Cancelled, "it is stopped because nobody uses it");
            if let Some(running) = session.child {
                running.stop_idle(&why, self.replica.wakes()).await;
            }
            return;
        };
        self.replica.set_down(State::Starting);
        if let Some(running) = session.child {
            running.stop(StopPace::default(), why).await;
        }
        if let Some(stream) = &session.stream {
            stream.close(why);
        }
        if let Link::Http(link) = &session.live.link
            && !matches!(why.kind, Kind::SessionLost | Kind::Connect)
        {
            link.end_session().await;
        }
    }
}

fn stopping() -> Fault {
    Fault::gateway(Kind::Cancelled, "the gateway stops it")
}

struct Life {
    up_since: Option<std::time::Instant>,
    end: End,
}
