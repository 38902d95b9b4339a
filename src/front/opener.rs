//! Opens pipes to clients that come by HTTP: within the bounds of all and of their principal, and
//! not while we stop.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::base::{Fault, Kind, Tasks, rng};
use crate::gateway::Gateway;

use super::body::Held;
use super::conn::Rules;
use super::intake::{Crowded, Intake};
use super::member::Member;
use super::outbox::Outgoing;
use super::pipe::{Eras, Guest, Pipe};

/// What pipes are made from.
#[derive(Debug)]
pub(super) struct Opener {
    pub(super) gateway: Gateway,
    pub(super) intake: Arc<Intake>,
    pub(super) rules: Rules,
    /// Where the tasks of pipes run that need one.
    pub(super) tasks: Tasks,
}

/// A pipe to a client.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) pipe: Arc<Pipe>,
    /// What is to be written to it.
    pub(super) outgoing: Outgoing,
    /// Its places among the streams, for as long as it is open.
    pub(super) held: Held,
    /// What ends it.
    stop: CancellationToken,
    rules: Rules,
}

impl Opener {
    /// Opens one to whoever this is.
    pub(super) fn open(&self, who: Option<Arc<Member>>, eras: Eras) -> Result<Opened, Crowded> {
        let stop = self.intake.pressure().stream();
        if self.tasks.stop_token().is_cancelled() {
            return Err(Crowded::All(Fault::gateway(Kind::Closed, "the gateway stops")));
        }
        let held = self.intake.open_stream(who.as_deref())?;
        let guest = Guest { who, connection: rng::draw(), eras };
        let (pipe, outgoing) = Pipe::open(self.gateway.clone(), Arc::clone(&self.intake), guest);
        Ok(Opened { pipe, outgoing, held, stop, rules: self.rules.clone() })
    }
}

impl Opened {
    /// Splits what writes off: what is left watches over the end of the pipe.
    pub(super) fn split(self) -> (Outgoing, Held, Life) {
        let Self { pipe, outgoing, held, stop, rules } = self;
        (outgoing, held, Life { pipe, stop, rules })
    }
}

/// The end of a pipe.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) pipe: Arc<Pipe>,
    stop: CancellationToken,
    rules: Rules,
}

impl Life {
    /// Resolves when the client has left, or when we stop and it has been told all there is to tell.
    pub(super) async fn last(&self) {
        self.pipe.last(&self.stop, || self.rules.grace()).await;
    }

    /// Nobody listens any more: what still runs is cancelled.
    pub(super) async fn end(&self) {
        self.pipe.end(Duration::ZERO).await;
    }
}
