//! How much the front takes at once, whichever way it comes in: calls, streams, sessions, of all and
//! of each principal, and less where memory is short. Each is held as long as its answer here is,
//! and what is refused is counted.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use metrics::{Counter, Gauge};
use tokio_util::sync::CancellationToken;

use crate::base::{Fault, Kind, clock};
use crate::proto::Era;
use crate::telemetry::Meters;

use super::body::{Counted, Held};
use super::member::Member;
use super::pressure::Pressure;
use super::spec::LimitSpec;

/// What a client that is refused should wait before it tries again.
const AT_A_BOUND: Duration = Duration::from_secs(1);

/// Why something is not taken.
#[derive(Clone, Debug)]
pub enum Crowded {
    /// The gateway is at a bound: whoever asks.
    All(Fault),
    /// The principal is at a bound of its own; nobody else is concerned.
    Own(Fault),
}

impl Crowded {
    /// What went wrong, for an answer in-band.
    pub fn fault(&self) -> &Fault {
        match self {
            Self::All(fault) | Self::Own(fault) => fault,
        }
    }
}

/// What is taken, and how much of it is held now.
#[derive(Debug)]
pub struct Intake {
    limits: LimitSpec,
    inflight: Arc<AtomicUsize>,
    streams: Arc<AtomicUsize>,
    pressure: Pressure,
    sessions: Gauge,
    shed: Counter,
    shed_principal: Counter,
    shed_memory: Counter,
}

impl Intake {
    /// Takes up to these limits. `stop` ends all streams.
    pub fn new(limits: LimitSpec, stop: CancellationToken, meters: &Meters) -> Self {
        let (inflight, streams) = Default::default();
        Self {
            limits,
            inflight,
            streams,
            pressure: Pressure::new(stop),
            sessions: meters.sessions(Era::Legacy.as_str()),
            shed: meters.shed("front"),
            shed_principal: meters.shed("principal"),
            shed_memory: meters.shed("memory"),
        }
    }

    /// Its limits.
    pub fn limits(&self) -> &LimitSpec {
        &self.limits
    }

    /// How near its limit the memory is: what is taken goes by that.
    pub fn pressure(&self) -> &Pressure {
        &self.pressure
    }

    /// One more message that may be a call, among those of all.
    pub fn enter(&self) -> Result<Counted, Fault> {
        Counted::enter(&self.inflight, self.limits.inflight_max)
            .ok_or_else(|| self.full("the gateway is at its bound of calls in flight"))
    }

    /// Takes the place of a request among those of its principal.
    pub fn ask(&self, who: Option<&Member>) -> Result<Option<Counted>, Fault> {
        let asked = who.map(|member| member.ask(clock::now())).transpose();
        asked.inspect_err(|_| self.shed_principal.increment(1))
    }

    /// One more call: its places among all and among those of its principal.
    pub fn call(&self, who: Option<&Member>) -> Result<Held, Fault> {
        self.has_memory()?;
        Ok(Held { all: Some(self.enter()?), own: self.ask(who)? })
    }

    /// Whether there is memory for one more request.
    pub fn has_memory(&self) -> Result<(), Fault> {
        if self.pressure.refuses() { Err(self.short_of_memory()) } else { Ok(()) }
    }

    /// One more open stream.
    pub fn open_stream(&self, who: Option<&Member>) -> Result<Held, Crowded> {
        let own = self.own(who.map(Member::open_stream))?;
        self.has_room()?;
        let all = Counted::enter(&self.streams, self.limits.streams_max);
        let full = || Crowded::All(self.full("the gateway is at its bound of open streams"));
        Ok(Held { all: Some(all.ok_or_else(full)?), own })
    }

    /// One more legacy session of its principal. How many there are of all is not asked here.
    pub fn open_session(&self, who: Option<&Member>) -> Result<Option<Counted>, Crowded> {
        self.has_room()?;
        self.own(who.map(Member::open_session))
    }

    /// The same for a client whose connection is its session: it is among the sessions that are
    /// shown, as long as the answer is held.
    pub fn take_seat(&self, who: Option<&Member>) -> Result<Seat, Crowded> {
        let own = self.open_session(who)?;
        self.sessions.increment(1.0);
        Ok(Seat { _own: own, sessions: self.sessions.clone() })
    }

    /// The gateway is at a bound, which is counted.
    pub fn full(&self, text: &'static str) -> Fault {
        self.shed.increment(1);
        overloaded(text)
    }

    /// Whether there is memory for one more session or stream.
    fn has_room(&self) -> Result<(), Crowded> {
        if self.pressure.is_closed() { Err(Crowded::All(self.short_of_memory())) } else { Ok(()) }
    }

    fn own(&self, taken: Option<Result<Counted, Fault>>) -> Result<Option<Counted>, Crowded> {
        taken.transpose().map_err(|fault| {
            self.shed_principal.increment(1);
            Crowded::Own(fault)
        })
    }

    fn short_of_memory(&self) -> Fault {
        self.shed_memory.increment(1);
        overloaded("the gateway is short of memory")
    }
}

fn overloaded(text: &'static str) -> Fault {
    Fault::gateway(Kind::Overloaded, text).retry_after(Some(AT_A_BOUND))
}

/// The session of a client whose connection is its session.
#[derive(Debug)]
pub struct Seat {
    _own: Option<Counted>,
    sessions: Gauge,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.sessions.decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::PrincipalName;
    use crate::front::pressure::Level;
    use crate::front::spec::ShareSpec;

    fn intake(limits: LimitSpec) -> (Intake, Meters) {
        let meters = Meters::new();
        (Intake::new(limits, CancellationToken::new(), &meters), meters)
    }

    fn counted(meters: &Meters, stage: &str) -> bool {
        meters.render().contains(&format!("mcp_shed_total{{stage=\"{stage}\"}} 1"))
    }

    #[test]
    fn what_is_over_a_bound_of_all_is_refused_and_counted() {
        let limits = LimitSpec { inflight_max: 1, streams_max: 1, ..LimitSpec::default() };
        let (calls, meters) = intake(limits);
        let held = calls.call(None).unwrap();
        assert_eq!(calls.call(None).unwrap_err().retry_after, Some(AT_A_BOUND));
        assert!(counted(&meters, "front"));
        drop(held);
        assert!(calls.call(None).is_ok());
        let (streams, meters) = intake(limits);
        let _held = streams.open_stream(None).unwrap();
        assert!(matches!(streams.open_stream(None), Err(Crowded::All(_))));
        assert!(counted(&meters, "front"));
    }

    #[test]
    fn a_principal_at_its_bound_takes_nothing_from_the_others() {
        let share = ShareSpec { sessions_max: 1, streams_max: 1, ..ShareSpec::default() };
        let alice = Member::new(PrincipalName::new("alice").unwrap(), share);
        let (intake, meters) = intake(LimitSpec::default());
        let seat = intake.take_seat(Some(&alice)).unwrap();
        assert!(meters.render().contains("mcp_sessions{era=\"legacy\"} 1"));
        assert!(matches!(intake.take_seat(Some(&alice)), Err(Crowded::Own(_))));
        assert!(counted(&meters, "principal"));
        let _stream = intake.open_stream(Some(&alice)).unwrap();
        assert!(matches!(intake.open_stream(Some(&alice)), Err(Crowded::Own(_))));
        assert!(intake.take_seat(None).is_ok() && intake.open_stream(None).is_ok());
        drop(seat);
        assert!(meters.render().contains("mcp_sessions{era=\"legacy\"} 0"));
        assert!(intake.take_seat(Some(&alice)).is_ok());
    }

    #[test]
    fn short_of_memory_sessions_and_streams_are_refused_before_calls() {
        let (intake, meters) = intake(LimitSpec::default());
        intake.pressure().set(Level::Closed);
        assert!(intake.open_stream(None).is_err());
        assert!(counted(&meters, "memory"));
        assert!(intake.take_seat(None).is_err() && intake.call(None).is_ok());
        intake.pressure().set(Level::Refusing);
        assert!(intake.call(None).is_err());
    }
}
