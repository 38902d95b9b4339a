//! The living parts behind the fronts, and what they were made from. Parts of a new configuration
//! are built beside them; what is the same in both goes over as it is.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::builtin::Builtins;
use crate::fleet::Pool;
use crate::gateway::diff::{Diff, Seat, Step};
use crate::gateway::director::{Member, Until};
use crate::gateway::memory::Memory;
use crate::gateway::spec::{GatewaySpec, UpstreamSpec};
use crate::upstream::place::Numbers;
use crate::upstream::{Replica, ReplicaId};

use super::nursery::{Nest, Nursery, bound};

/// The living parts of the configuration in force.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) nursery: Nursery,
    numbers: Numbers,
    /// Told when the gateway stops: all keepers end.
    keepers: CancellationToken,
    pub(super) spec: GatewaySpec,
    pub(super) members: Vec<Member>,
    pub(super) builtins: Arc<Builtins>,
    /// What ends the keeper of each replica.
    stops: HashMap<ReplicaId, CancellationToken>,
}

/// Parts of a new configuration that nobody sees yet.
pub(super) struct Built {
    pub(super) members: Vec<Member>,
    pub(super) builtins: Arc<Builtins>,
    /// Replicas that have to be started, and how far each must be before calls find it.
    pub(super) fresh: Vec<(Arc<Replica>, Until)>,
    /// Replicas that go.
    pub(super) gone: Vec<Gone>,
    /// Replicas that stay with another bound of calls in flight: the old one and the new one.
    pub(super) resized: Vec<(Arc<Replica>, usize, usize)>,
}

/// A replica that is no longer in the configuration.
pub(super) struct Gone {
    pub(super) replica: Arc<Replica>,
    /// Most calls in flight at it.
    pub(super) bound: usize,
    pub(super) stop: CancellationToken,
}

impl Live {
    /// Nothing yet.
    pub(super) fn new(nursery: Nursery, keepers: CancellationToken) -> Self {
        let spec = GatewaySpec::default();
        let builtins = Arc::new(Builtins::new(&spec.builtins));
        let (numbers, members, stops) = (Numbers::default(), Vec::new(), HashMap::new());
        Self { nursery, numbers, keepers, spec, members, builtins, stops }
    }

    /// Builds the parts of a new configuration. Nothing is started. `memory` knows of which upstreams
    /// nobody has to ask what they offer.
    pub(super) fn build(&mut self, new: &GatewaySpec, diff: &Diff, memory: &Memory) -> Built {
        let builtins = if self.spec.builtins == new.builtins {
            Arc::clone(&self.builtins)
        } else {
            Arc::new(self.builtins.renewed(&self.spec.builtins, &new.builtins))
        };
        let (members, fresh) = (Vec::with_capacity(new.upstreams.len()), Vec::new());
        let mut built = Built { members, builtins, fresh, gone: Vec::new(), resized: Vec::new() };
        for (step, spec) in diff.upstreams.iter().zip(&new.upstreams) {
            let member = match self.members.iter().find(|m| m.spec.name == spec.name).cloned() {
                None => self.add(spec, memory, &mut built),
                Some(member) if *member.spec == *spec => member,
                Some(member) => self.change(&member, spec, step, &mut built),
            };
            built.members.push(member);
        }
        for member in self.members.iter().filter(|m| diff.removed.contains(&m.spec.name)) {
            built.gone.extend(member.pool.replicas.iter().filter_map(|r| self.gone(member, r)));
        }
        built
    }

    fn add(&mut self, spec: &UpstreamSpec, memory: &Memory, built: &mut Built) -> Member {
        let (id, nest) = (self.numbers.upstream(), Nest::new());
        let sleeps = spec.may_sleep() && memory.recall(spec).is_some();
        let mut replicas = Vec::new();
        for replica in spec.running() {
            let place = self.numbers.replica(id);
            let replica = self.nursery.replica(spec, replica, place, &nest);
            if sleeps && replica.is_child() {
                replica.begin_asleep();
            }
            built.fresh.push((Arc::clone(&replica), Until::Tried));
            replicas.push(replica);
        }
        let pool = Arc::new(self.nursery.pool(spec, replicas, nest));
        Member { id, spec: Arc::new(spec.clone()), pool }
    }

    fn change(
        &mut self,
        old: &Member,
        spec: &UpstreamSpec,
        step: &Step,
        built: &mut Built,
    ) -> Member {
        let nest = Nest::of(&old.pool);
        // Where one goes, calls go on at it until the new one is up.
        let until = if step.gone.is_empty() { Until::Tried } else { Until::Up };
        let mut replicas = Vec::new();
        for (replica, seat) in spec.running().iter().zip(&step.replicas) {
            let kept = match seat {
                Seat::Kept(place) => old.pool.replicas.get(*place),
                Seat::New => None,
            };
            if let Some(kept) = kept {
                let (before, now) = (bound(&old.spec.pool, replica), bound(&spec.pool, replica));
                if before != now {
                    built.resized.push((Arc::clone(kept), before, now));
                }
                replicas.push(Arc::clone(kept));
            } else {
                let place = self.numbers.replica(old.id);
                let fresh = self.nursery.replica(spec, replica, place, &nest);
                built.fresh.push((Arc::clone(&fresh), until));
                replicas.push(fresh);
            }
        }
        let gone = step.gone.iter().filter_map(|place| old.pool.replicas.get(*place));
        built.gone.extend(gone.filter_map(|replica| self.gone(old, replica)));
        let pool: Pool = old.pool.retuned(spec.pool.clone(), replicas);
        Member { id: old.id, spec: Arc::new(spec.clone()), pool: Arc::new(pool) }
    }

    fn gone(&self, member: &Member, replica: &Arc<Replica>) -> Option<Gone> {
        let stop = self.stops.get(&replica.place.replica)?.clone();
        let bound = bound(&member.spec.pool, &replica.spec);
        Some(Gone { replica: Arc::clone(replica), bound, stop })
    }

    /// Starts the replicas that are new.
    pub(super) fn raise(&mut self, fresh: &[(Arc<Replica>, Until)]) {
        for (replica, _) in fresh {
            let stop = self.keepers.child_token();
            self.stops.insert(replica.place.replica, stop.clone());
            self.nursery.keep(Arc::clone(replica), stop);
        }
    }

    /// The parts of a new configuration are in force.
    pub(super) fn adopt(&mut self, new: &GatewaySpec, built: &Built) {
        self.spec = new.clone();
        self.members.clone_from(&built.members);
        self.builtins = Arc::clone(&built.builtins);
        for gone in &built.gone {
            self.stops.remove(&gone.replica.place.replica);
            // The one that takes its name says in the metrics whether it is up.
            gone.replica.count(false);
        }
        built.fresh.iter().for_each(|(replica, _)| replica.count(true));
    }
}
