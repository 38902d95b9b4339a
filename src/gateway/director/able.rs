//! Replicas for clients of some abilities: legacy upstreams may offer them other things, so beside
//! each legacy replica stands one for each kind of clients.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::base::clock;
use crate::fleet::Pool;
use crate::gateway::Gateway;
use crate::gateway::demand::Wanted;
use crate::gateway::listed::Listed;
use crate::proto::{Abilities, Era};
use crate::upstream::{Place, Replica, ReplicaId};

use super::{ABLE_IDLE, ABLE_MAX, Director, FIRST_LIST_WAIT, GATHER, SWEEP};

/// Replicas for clients of one set of abilities.
pub(super) struct Able {
    wanted: Wanted,
    /// By the replica beside which they stand, where there is one.
    pub(super) beside: HashMap<ReplicaId, Beside>,
    /// Since when no client has them.
    idle: Option<Instant>,
    /// First lists wait no longer than this.
    settles: Instant,
    settled: bool,
}

/// A replica that stands beside the one for everybody.
pub(super) struct Beside {
    replica: Arc<Replica>,
    pub(super) listed: Listed,
    stop: CancellationToken,
}

impl Director {
    /// The first client of some abilities has come: legacy upstreams may offer it other things.
    pub(super) fn demand(&mut self, wanted: Wanted) -> bool {
        let abilities = wanted.abilities();
        if let Some(able) = self.able.get_mut(&abilities) {
            (able.wanted, able.idle) = (wanted, None);
            return false;
        }
        if self.able.len() >= ABLE_MAX {
            self.alike.insert(abilities);
            self.upstreams.iter().for_each(|s| nobody_beside(&s.upstream.pool, abilities));
            tracing::warn!(
                max = ABLE_MAX,
                "too many kinds of clients at once; one sees what all see"
            );
            return false;
        }
        self.alike.remove(&abilities);
        let (beside, settles) = (HashMap::new(), clock::now() + FIRST_LIST_WAIT);
        let able = Able { wanted, beside, idle: None, settles, settled: false };
        self.able.insert(abilities, able);
        for at in 0..self.upstreams.len() {
            self.all_stand_beside(at);
        }
        for standing in &self.upstreams {
            if standing.upstream.pool.able(abilities).is_empty() {
                nobody_beside(&standing.upstream.pool, abilities);
            }
        }
        true
    }

    /// Beside every replica whose era is known stands what has to.
    pub(super) fn all_stand_beside(&mut self, at: usize) {
        let Some(pool) = self.upstreams.get(at).map(|s| Arc::clone(&s.upstream.pool)) else {
            return;
        };
        for (seat, replica) in pool.replicas.iter().enumerate() {
            if let Some(era) = self.era_of(at, seat) {
                self.stand_beside(at, replica.place.replica, era);
            }
        }
    }

    /// The era of a replica, from what it listed, else from what its upstream was before our start.
    fn era_of(&self, at: usize, seat: usize) -> Option<Era> {
        let standing = self.upstreams.get(at)?;
        let known = standing.listed.get(seat)?.known.as_ref().map(|known| known.part.era);
        known.or_else(|| Some(standing.recalled.as_ref()?.part.era))
    }

    /// A replica is of this era: beside a legacy one stands one for each kind of clients.
    pub(super) fn stand_beside(&mut self, at: usize, replica: ReplicaId, era: Era) {
        let Some(pool) = self.upstreams.get(at).map(|s| Arc::clone(&s.upstream.pool)) else {
            return;
        };
        let Some(base) = pool.replicas.iter().find(|r| r.place.replica == replica) else { return };
        for (abilities, able) in &mut self.able {
            match (era, able.beside.contains_key(&replica)) {
                (Era::Legacy, true) | (Era::Modern, false) => continue,
                (Era::Modern, true) => {
                    able.beside.remove(&replica).iter().for_each(|beside| beside.stop.cancel());
                }
                (Era::Legacy, false) => {
                    let stop = self.keepers.child_token();
                    let place = Place { abilities: *abilities, ..base.place };
                    let beside = (self.spawn)(place, base, stop.clone());
                    let beside = Beside { replica: beside, listed: Listed::default(), stop };
                    able.beside.insert(replica, beside);
                }
            }
            pool.set_able(*abilities, Some(able.seats(&pool)));
        }
    }

    /// A pool that is new has the replicas for each kind of clients that stand beside its own.
    pub(super) fn seat_able(&self, pool: &Pool) {
        for (abilities, able) in &self.able {
            pool.set_able(*abilities, Some(able.seats(pool)));
        }
        for abilities in &self.alike {
            nobody_beside(pool, *abilities);
        }
    }

    /// What stands beside replicas that are there no more: what ends each.
    pub(super) fn unseat(
        &mut self,
        is_there: impl Fn(ReplicaId) -> bool,
    ) -> Vec<CancellationToken> {
        let mut ends = Vec::new();
        for able in self.able.values_mut() {
            able.beside.retain(|replica, beside| {
                let stays = is_there(*replica);
                if !stays {
                    ends.push(beside.stop.clone());
                }
                stays
            });
        }
        ends
    }

    /// First lists of some clients wait no longer, because all is known or the time is over.
    pub(super) fn settle_able(&mut self, gateway: &Gateway, now: Instant) {
        let based = gateway.is_settled(Abilities::NONE);
        for (abilities, able) in &mut self.able {
            let known = able.beside.values().all(|beside| beside.listed.tried);
            if !able.settled && based && (known || now >= able.settles) {
                able.settled = true;
                gateway.settle(*abilities);
            }
        }
    }

    /// When to look again whether first lists have waited long enough.
    pub(super) fn next_look(&self, gateway: &Gateway, began: Instant, now: Instant) -> Duration {
        let base = (!gateway.is_settled(Abilities::NONE)).then_some(began + FIRST_LIST_WAIT);
        let able = self.able.values().filter(|able| !able.settled).map(|able| able.settles);
        let next = base.into_iter().chain(able).min();
        next.map_or(SWEEP, |next| next.saturating_duration_since(now).max(GATHER))
    }

    /// Ends the replicas of clients that have been away for long enough. Answers whether there were
    /// any.
    pub(super) fn forget_able(&mut self, now: Instant) -> bool {
        let mut gone = Vec::new();
        for (abilities, able) in &mut self.able {
            able.idle = (!able.wanted.is_alive()).then(|| able.idle.unwrap_or(now));
            if able.idle.is_some_and(|since| now.saturating_duration_since(since) > ABLE_IDLE) {
                gone.push(*abilities);
            }
        }
        for abilities in &gone {
            self.dismiss(*abilities);
        }
        !gone.is_empty()
    }

    fn dismiss(&mut self, gone: Abilities) {
        let Some(able) = self.able.remove(&gone) else { return };
        able.beside.values().for_each(|beside| beside.stop.cancel());
        for standing in &self.upstreams {
            standing.upstream.pool.set_able(gone, None);
        }
    }
}

impl Able {
    /// What stands beside the replicas of a pool, in their order.
    fn seats(&self, pool: &Pool) -> Vec<Option<Arc<Replica>>> {
        let beside = |replica: &Arc<Replica>| self.beside.get(&replica.place.replica);
        pool.replicas.iter().map(|r| beside(r).map(|b| Arc::clone(&b.replica))).collect()
    }
}

/// The replicas of a pool serve clients of these abilities like all others.
fn nobody_beside(pool: &Pool, abilities: Abilities) {
    pool.set_able(abilities, Some(pool.replicas.iter().map(|_| None).collect()));
}
