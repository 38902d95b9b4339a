//! An upstream and its replicas in numbers, for people and programs that look from outside. Looking
//! does to a gate what a call does that looks at it, and nothing else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::breaker::Gate;
use super::member::Member;
use super::pace::Window;
use super::pick::Candidate;
use super::pool::Pool;
use crate::base::{Fault, Kind, Sent};
use crate::upstream::replica::State;

/// An upstream in numbers.
#[derive(Clone, Debug)]
pub struct PoolView {
    /// How a replica is chosen.
    pub strategy: &'static str,
    /// Calls in flight.
    pub inflight: usize,
    /// Calls that wait for a place.
    pub waiting: usize,
    /// Most calls in flight.
    pub inflight_max: usize,
    /// Calls that may be sent again now.
    pub retry_budget: f64,
    /// So few replicas are well that calls which can be repeated go to all that are up.
    pub panicking: bool,
    /// The replicas, in the order of the configuration.
    pub replicas: Vec<MemberView>,
}

/// A replica in numbers.
#[derive(Clone, Debug)]
pub struct MemberView {
    /// The replica, with what the fleet knows of it.
    pub member: Arc<Member>,
    /// What it is doing.
    pub state: State,
    /// What its gate answers.
    pub gate: Gate,
    /// How long its gate stays shut.
    pub shut_for: Option<Duration>,
    /// It does not answer when asked.
    pub suspect: bool,
    /// The server asked for a rest that is not over.
    pub resting: bool,
    /// It would take any call now, or as soon as it is awake.
    pub well: bool,
    /// What a balancer sees of it; as if it were up where it is not.
    pub numbers: Candidate,
    /// How long its last answers took.
    pub window: Option<Window>,
    /// How often its gate shut, less what was forgiven.
    pub trips: u32,
}

impl Pool {
    /// The upstream as it is now.
    pub fn view(&self, now: Instant) -> PoolView {
        let (inflight, waiting) = self.load();
        PoolView {
            strategy: self.spec.balance.as_str(),
            inflight,
            waiting,
            inflight_max: self.spec.limits.inflight,
            retry_budget: self.budget.lock().left(now),
            panicking: self.is_panicking(now),
            replicas: self.members.iter().map(|member| self.view_of(member, now)).collect(),
        }
    }

    /// Why the replica at a place takes no calls: nothing was sent.
    pub(super) fn away(&self, place: usize) -> Fault {
        let upstream = &self.upstream;
        let Some(member) = self.members.get(place) else {
            let text = format!("{upstream} has no replica number {place}");
            return Fault::upstream(Kind::NoReplica, Sent::No, text);
        };
        self.away_at(member)
    }

    /// The same of a replica that is the client session's or the call's own.
    pub(super) fn away_at(&self, member: &Member) -> Fault {
        let upstream = &self.upstream;
        let why = match member.replica.state() {
            State::Down(why) => format!("is down; {why}"),
            State::Starting => "is still starting".to_owned(),
            State::Up { .. } | State::Asleep if member.weight() == 0 => {
                "is drained (weight = 0)".to_owned()
            }
            State::Up { .. } if member.is_open() => {
                "does not offer this as it is listed".to_owned()
            }
            State::Up { .. } | State::Asleep => "failed too often and rests".to_owned(),
        };
        let text = format!("the replica {} of {upstream} {why}", member.replica.spec.name);
        Fault::upstream(Kind::NoReplica, Sent::No, text)
    }

    fn view_of(&self, member: &Arc<Member>, now: Instant) -> MemberView {
        let gate = self.look(member, now);
        let shut_for = match gate {
            Gate::Shut { until } => Some(until.saturating_duration_since(now)),
            Gate::Open | Gate::Probing { .. } => None,
        };
        MemberView {
            state: member.replica.state(),
            gate,
            shut_for,
            suspect: member.replica.is_suspect(),
            resting: member.rests(now),
            well: member.is_ready(now),
            numbers: member.numbers(now),
            window: member.vital.pace.window(),
            trips: member.trips(),
            member: Arc::clone(member),
        }
    }
}
