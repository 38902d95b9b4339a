//! From one configuration to the next, in two steps: first the director is told which replicas are
//! about to come, and keeps what they list; then it takes all parts at once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::base::clock;
use crate::builtin::Builtins;
use crate::catalog::spec::NamingSpec;
use crate::gateway::Gateway;
use crate::gateway::listed::Listed;
use crate::gateway::memory::Memory;
use crate::upstream::report::Happening;
use crate::upstream::{Place, ReplicaId};

use super::{Director, Generation, Member, Standing, part_of};

/// What the director is told to do.
#[derive(Debug)]
pub enum Order {
    /// These replicas are about to come: what they list is kept for the turn.
    Expect {
        /// How far each must be before the turn.
        replicas: Vec<(ReplicaId, Until)>,
        /// Told when they may start.
        expected: oneshot::Sender<()>,
        /// Told when all of them are so far.
        ready: oneshot::Sender<()>,
    },
    /// Here is a new configuration.
    Turn(Box<Turn>),
}

/// How far a replica must be before it is taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Up, and listed: it takes the place of another one.
    Up,
    /// Up, or down for a reason: nobody misses it yet.
    Tried,
}

/// All parts of a new configuration.
#[derive(Debug)]
pub struct Turn {
    /// How exposed names are made.
    pub naming: NamingSpec,
    /// The upstreams, in the order of the configuration. Those that stay have their old number.
    pub members: Vec<Member>,
    /// The tools that run in this process.
    pub builtins: Arc<Builtins>,
    /// The last known catalog, if it is kept elsewhere from now on.
    pub memory: Option<Memory>,
    /// Told when calls see it.
    pub turned: oneshot::Sender<Turned>,
}

/// What is left of the configuration before.
#[derive(Debug)]
pub struct Turned {
    /// Cancelled when no call is left that began under it.
    pub over: CancellationToken,
    /// End what stands beside replicas that are gone.
    pub beside: Vec<CancellationToken>,
}

/// Replicas of a configuration that is about to come.
pub(super) struct Coming {
    replicas: HashMap<ReplicaId, (Until, Listed)>,
    ready: Option<oneshot::Sender<()>>,
}

impl Coming {
    fn is_ready(&self) -> bool {
        self.replicas.values().all(|(until, listed)| match until {
            Until::Up => listed.is_here(),
            Until::Tried => listed.tried,
        })
    }

    fn look(&mut self) {
        if self.is_ready()
            && let Some(ready) = self.ready.take()
        {
            // Whoever waits for it may have had enough.
            let _heard = ready.send(());
        }
    }
}

impl Director {
    pub(super) fn is_coming(&self, place: Place) -> bool {
        self.coming.as_ref().is_some_and(|coming| coming.replicas.contains_key(&place.replica))
    }

    /// Something happened to a replica that is about to come.
    pub(super) fn came(&mut self, place: Place, what: Happening) {
        let Some(coming) = &mut self.coming else { return };
        if let Some((_, listed)) = coming.replicas.get_mut(&place.replica) {
            listed.take(what, clock::now());
        }
        coming.look();
    }

    pub(super) fn obey(&mut self, order: Order, gateway: &Gateway) {
        match order {
            Order::Expect { replicas, expected, ready } => {
                let fresh = |(id, until)| (id, (until, Listed::default()));
                let replicas = replicas.into_iter().map(fresh).collect();
                let mut coming = Coming { replicas, ready: Some(ready) };
                coming.look();
                self.coming = Some(coming);
                // One that is gone will not start any.
                let _told = expected.send(());
            }
            Order::Turn(turn) => {
                let Turn { naming, members, builtins, memory, turned } = *turn;
                self.naming = naming;
                self.builtin_part = part_of(&builtins);
                self.builtins = builtins;
                let elsewhere = memory.is_some();
                self.memory = memory.unwrap_or_else(|| self.memory.clone());
                let beside = self.take(members, elsewhere);
                let before = std::mem::replace(&mut self.generation, Generation::new());
                self.publish(gateway);
                // One that is gone leaves the old replicas to the end of the gateway.
                let _told = turned.send(Turned { over: before.over, beside });
            }
        }
    }

    /// Takes the upstreams of a new configuration in. Answers what ends the replicas that stand
    /// beside those that are gone.
    fn take(&mut self, members: Vec<Member>, elsewhere: bool) -> Vec<CancellationToken> {
        let mut coming = self.coming.take().map(|coming| coming.replicas).unwrap_or_default();
        let there: HashSet<ReplicaId> =
            members.iter().flat_map(|m| &m.pool.replicas).map(|r| r.place.replica).collect();
        let ends = self.unseat(|replica| there.contains(&replica));
        let mut before: HashMap<_, _> =
            self.upstreams.drain(..).map(|standing| (standing.upstream.id, standing)).collect();
        let mut news = Vec::new();
        for (at, member) in members.into_iter().enumerate() {
            let mut standing = if let Some(standing) = before.remove(&member.id) {
                standing.turned(member, &self.memory)
            } else {
                let recalled = self.memory.recall(&member.spec);
                Standing::new(member, recalled)
            };
            standing.saved &= !elsewhere;
            for (replica, listed) in
                standing.upstream.pool.replicas.iter().zip(&mut standing.listed)
            {
                let Some((_, came)) = coming.remove(&replica.place.replica) else { continue };
                let known = came.known.as_ref().map(|known| known.part.era);
                news.extend(known.map(|era| (at, replica.place, era)));
                *listed = came;
            }
            self.seat_able(&standing.upstream.pool);
            self.upstreams.push(standing);
        }
        for (at, place, era) in news {
            self.heard(at, place, era);
        }
        for at in 0..self.upstreams.len() {
            self.remember(at);
            self.all_stand_beside(at);
        }
        ends
    }
}

impl Standing {
    /// The same upstream under a new configuration: what is known of replicas that stay is kept.
    fn turned(self, member: Member, memory: &Memory) -> Self {
        let Self { upstream: old, listed, recalled, saved } = self;
        let Member { id: _, spec, pool } = member;
        let known = old.pool.replicas.iter().map(|r| r.place.replica).zip(listed);
        let mut known: HashMap<ReplicaId, Listed> = known.collect();
        let listed = pool.replicas.iter().map(|r| known.remove(&r.place.replica));
        let listed = listed.map(Option::unwrap_or_default).collect();
        let same = old.spec.pool.replicas == spec.pool.replicas;
        let found = if same { None } else { memory.recall(&spec) };
        let saved = if same { saved } else { found.is_some() };
        // What is switched off offers nothing, whatever it did before.
        let recalled = found.or(recalled).filter(|_| spec.off.is_none());
        let upstream = super::Upstream { spec, pool, ..old };
        Self { upstream, listed, recalled, saved }
    }
}
