//! Looks at a replica that is up, on time and when a call has doubts: `server/discover` or `ping`,
//! or the tool that the operator chose.

use std::pin::Pin;

use tokio::time::Sleep;

use super::connect::Means;
use super::pulse::Pulse;
use super::replica::{Live, Replica};
use super::spec::HealthSpec;
use crate::base::{Fault, Kind, Sent, clock, rng};
use crate::proto::answer::Body;
use crate::proto::{Era, Method};

/// Spread of the time between two looks, in percent: looks of many replicas must not fall into step.
const JITTER_PERCENT: u32 = 20;

/// What a look found.
pub(super) struct Found {
    /// `false` if the answer was an error; a fault if there was none.
    pub(super) answer: Result<bool, Fault>,
    /// A call had doubts.
    pub(super) doubted: bool,
    /// Looks in a row without an answer.
    pub(super) misses: u32,
}

/// Looks at one replica for one of its lives.
pub(super) struct Looks<'a> {
    live: &'a Live,
    replica: &'a Replica,
    means: &'a Means,
    pulse: Pulse,
    doubted: bool,
    present: Present<'a>,
}

enum Present<'a> {
    Waiting(Pin<Box<Sleep>>),
    Looking(Pin<Box<dyn Future<Output = Result<bool, Fault>> + Send + 'a>>),
}

impl<'a> Looks<'a> {
    pub(super) fn new(live: &'a Live, replica: &'a Replica, means: &'a Means) -> Self {
        let pulse = Pulse::default();
        let present = Present::Waiting(wait(&pulse, &replica.health()));
        Self { live, replica, means, pulse, doubted: false, present }
    }

    /// The next look. Nothing is lost if the future is dropped.
    pub(super) async fn next(&mut self) -> Found {
        loop {
            match &mut self.present {
                Present::Looking(look) => {
                    let answer = look.await;
                    let spec = self.replica.health();
                    if answer.is_err() {
                        self.live.forget_connections();
                    }
                    self.pulse.looked(answer.is_ok(), &spec);
                    self.replica.looked(self.pulse.good(), self.pulse.is_suspect());
                    self.present = Present::Waiting(wait(&self.pulse, &spec));
                    let doubted = std::mem::take(&mut self.doubted);
                    return Found { answer, doubted, misses: self.pulse.misses() };
                }
                Present::Waiting(sleep) => {
                    let doubted = tokio::select! {
                        biased;
                        () = self.replica.doubted() => true,
                        () = sleep => false,
                    };
                    self.due(doubted);
                }
            }
        }
    }

    /// It is time for a look, or somebody wants one.
    fn due(&mut self, doubted: bool) {
        let spec = self.replica.health();
        let traffic = self.replica.take_traffic();
        if doubted {
            self.pulse.doubt();
            self.doubted = true;
        } else if traffic && spec.skip_if_traffic && self.pulse.is_calm() {
            self.pulse.looked(true, &spec);
            self.replica.looked(self.pulse.good(), false);
            self.present = Present::Waiting(wait(&self.pulse, &spec));
            return;
        }
        let (live, means, child) = (self.live, self.means, self.replica.is_child());
        self.present =
            Present::Looking(Box::pin(async move { look(live, means, &spec, child).await }));
    }
}

fn wait(pulse: &Pulse, spec: &HealthSpec) -> Pin<Box<Sleep>> {
    let wait = rng::jitter(pulse.wait(spec), JITTER_PERCENT, rng::draw());
    Box::pin(tokio::time::sleep_until((clock::now() + wait).into()))
}

/// A look. One whose connection broke tells nothing of the server but that the connection was old: it
/// is repeated on a new one, at once. A server that was just killed is found out by that.
async fn look(live: &Live, means: &Means, spec: &HealthSpec, child: bool) -> Result<bool, Fault> {
    let found = ask(live, means, spec, child).await;
    match &found {
        Err(fault) if fault.kind == Kind::Closed && !child => {
            live.forget_connections();
            ask(live, means, spec, child).await
        }
        _ => found,
    }
}

/// Asks whether the server is there. Any answer at all is a yes; `false` if the answer was an
/// error.
async fn ask(live: &Live, means: &Means, spec: &HealthSpec, child: bool) -> Result<bool, Fault> {
    let limit = if child { spec.timeout_child } else { spec.timeout };
    if let Some(tool) = &spec.tool {
        let done = live.ask_tool(tool, limit, &means.us).await?;
        return match &done.answer.body {
            Body::Result(parts) if !parts.is_error => Ok(true),
            _ => {
                let text = format!("the tool {tool}, which is its probe, failed");
                Err(Fault::upstream(Kind::Status(500), Sent::Maybe, text))
            }
        };
    }
    let method = match live.dialect().era {
        Era::Modern => Method::Discover,
        Era::Legacy => Method::Ping,
    };
    match live.ask(method, None, limit, &means.us).await {
        // Some legacy servers know no ping.
        Ok(done) => Ok(method == Method::Ping || matches!(done.answer.body, Body::Result(_))),
        // The server is there and busy with refusing us: calls will tell the client why.
        Err(fault) if matches!(fault.kind, Kind::Status(401 | 403 | 405 | 429)) => Ok(true),
        // A session that takes none of our messages is of no use, whoever holds its stream open.
        Err(fault) if matches!(fault.kind, Kind::Status(400..=499)) && !live.is_sse() => {
            Ok(method == Method::Ping)
        }
        Err(fault) => Err(fault),
    }
}
