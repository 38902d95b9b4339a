//! An upstream's replicas and the rules over them: who there is, and what became of calls. The
//! calls themselves are in `tries`.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::admit::Admission;
use super::asked::Asked;
use super::breaker::{Gate, Pass, Turn, Why};
use super::budget::Budget;
use super::member::Member;
use super::outcome::{Outcome, Signal};
use super::overrides::Overrides;
use super::pace::Pace;
use super::pick::{Balancer, balancer};
use super::private::{Private, Raise, Whose};
use super::seats::{Able, Seats};
use super::spec::{Isolation, PoolSpec};
use super::throttle::Throttle;
use crate::base::{Fault, Kind, Sent, UpstreamName, clock};
use crate::proto::Abilities;
use crate::telemetry::PoolMeters;
use crate::upstream::Replica;
use crate::upstream::nap::Phase;
use crate::upstream::replica::State;
use crate::upstream::spec::ReplicaSpec;

pub use super::attempt::{Answered, Held, INPUT_WAIT};

/// A call waits so long for an upstream that is starting.
pub const START_WAIT: Duration = Duration::from_secs(30);
/// The first call of the first client of its abilities waits so long for it to be decided whether
/// it has replicas of its own.
const KNOWN_WAIT: Duration = Duration::from_secs(2);
/// A client that subscribes waits so long for the server to be asked.
pub const TAKEN_WAIT: Duration = Duration::from_secs(2);

/// Most second calls that can be saved up.
const HEDGE_BURST: f64 = 10.0;

/// An upstream's replicas and the rules over them.
#[derive(Debug)]
pub struct Pool {
    /// The upstream.
    pub upstream: UpstreamName,
    /// Its replicas, in the order of the configuration.
    pub replicas: Vec<Arc<Replica>>,
    /// The same, with what the fleet knows of each.
    pub members: Vec<Arc<Member>>,
    able: ArcSwap<Able>,
    /// Resources that somebody watches: what the replicas are asked to tell.
    watched: watch::Sender<Arc<BTreeSet<String>>>,
    pub(super) spec: PoolSpec,
    /// The weight of the heaviest replica.
    pub(super) heaviest: f32,
    pub(super) balancer: Arc<dyn Balancer>,
    pub(super) admission: Arc<Admission>,
    overrides: Arc<Overrides>,
    /// Members whose gate is not open.
    not_open: AtomicUsize,
    stir: Arc<Notify>,
    relisted: Mutex<Option<Instant>>,
    /// What may be sent again.
    pub(super) budget: Arc<Mutex<Budget>>,
    /// What may be asked a second time while it runs.
    pub(super) hedges: Arc<Mutex<Budget>>,
    /// What it takes.
    pub(super) throttle: Arc<Mutex<Throttle>>,
    /// How long requests take that are no calls of tools.
    pub(super) pace: Arc<Pace>,
    /// Who asked clients for input.
    pub(super) asked: Arc<Mutex<Asked<Weak<Replica>>>>,
    /// Its handles on the metrics.
    pub meters: PoolMeters,
    /// Makes replicas for single client sessions.
    raise: Option<Raise>,
    /// What belongs to single client sessions.
    pub(super) private: Option<Arc<Private>>,
    /// What belongs to single calls.
    pub(super) leases: Option<Arc<Private>>,
}

impl Pool {
    /// A pool over replicas that their keepers bring up. `stir` is what its replicas tell their
    /// changes to, `watched` what they are asked to watch.
    pub fn new(
        upstream: UpstreamName,
        spec: PoolSpec,
        replicas: Vec<Arc<Replica>>,
        watched: watch::Sender<Arc<BTreeSet<String>>>,
        stir: Arc<Notify>,
        meters: PoolMeters,
    ) -> Self {
        let now = clock::now();
        let member = |replica: &Arc<Replica>| {
            rule(replica, &spec);
            Arc::new(Member::new(Arc::clone(replica), 1.0, now))
        };
        let admission = Arc::new(Admission::new(spec.limits.inflight, spec.limits.queue));
        Self {
            upstream,
            heaviest: heaviest(&spec),
            members: replicas.iter().map(member).collect(),
            replicas,
            able: ArcSwap::default(),
            watched,
            balancer: balancer(&spec.balance),
            overrides: Arc::default(),
            spec,
            admission,
            throttle: Arc::default(),
            hedges: Arc::new(Mutex::new(Budget::earned_only(now, HEDGE_BURST))),
            not_open: AtomicUsize::new(0),
            stir,
            relisted: Mutex::default(),
            budget: Arc::new(Mutex::new(Budget::new(now))),
            pace: Arc::default(),
            asked: Arc::default(),
            meters,
            raise: None,
            private: None,
            leases: None,
        }
    }

    /// The same with the means to give client sessions replicas of their own.
    #[must_use]
    pub fn with_raise(mut self, raise: Raise) -> Self {
        let leases = Private::new(self.upstream.clone(), raise.clone(), Whose::Call);
        (self.raise, self.leases) = (Some(raise), Some(Arc::new(leases)));
        self.private = self.private_for(&self.spec);
        self
    }

    /// What belongs to single client sessions by these rules: what there is goes on.
    fn private_for(&self, spec: &PoolSpec) -> Option<Arc<Private>> {
        if spec.isolation == Isolation::Shared {
            return None;
        }
        let raise = self.raise.clone()?;
        let fresh = || Arc::new(Private::new(self.upstream.clone(), raise, Whose::Session));
        Some(self.private.clone().unwrap_or_else(fresh))
    }

    /// A client session is over.
    pub fn left(&self, home: u64) {
        self.private.iter().for_each(|private| private.left(home));
    }

    /// Ends what belongs to client sessions that have not called for long, and what single calls
    /// had that have ended.
    pub fn sweep(&self, now: Instant) {
        self.private.iter().chain(&self.leases).for_each(|private| private.sweep(now));
    }

    /// How many client sessions have something of their own here.
    pub fn sessions(&self) -> usize {
        self.private.as_ref().map_or(0, |private| private.len())
    }

    /// What it is made from.
    pub fn spec(&self) -> &PoolSpec {
        &self.spec
    }

    /// The same upstream by new rules, or with other replicas. What is counted, known or watched
    /// goes on: calls that are in flight at this one count at the new one too, and a gate that is
    /// shut stays shut.
    #[must_use]
    pub fn retuned(&self, spec: PoolSpec, replicas: Vec<Arc<Replica>>) -> Self {
        self.admission.set_bounds(spec.limits.inflight, spec.limits.queue);
        let able = self.able.load_full();
        let beside = able.values().flatten().flatten().map(|member| &member.replica);
        replicas.iter().chain(beside).for_each(|replica| rule(replica, &spec));
        let (now, middle) = (clock::now(), self.middle());
        let member = |(replica, spec): (&Arc<Replica>, &ReplicaSpec)| {
            let known = self.members.iter().find(|known| Arc::ptr_eq(&known.replica, replica));
            let fresh = || Arc::new(Member::new(Arc::clone(replica), middle, now));
            known.map_or_else(fresh, |known| known.under(spec))
        };
        let members: Vec<_> = replicas.iter().zip(&spec.replicas).map(member).collect();
        let private = self.private_for(&spec);
        self.leases.iter().for_each(|leases| leases.keep(&members));
        let same = self.spec.balance == spec.balance;
        Self {
            upstream: self.upstream.clone(),
            heaviest: heaviest(&spec),
            not_open: AtomicUsize::new(members.iter().filter(|member| !member.is_open()).count()),
            members,
            replicas,
            able: ArcSwap::new(able),
            watched: self.watched.clone(),
            overrides: Arc::clone(&self.overrides),
            balancer: if same { Arc::clone(&self.balancer) } else { balancer(&spec.balance) },
            spec,
            admission: Arc::clone(&self.admission),
            throttle: Arc::clone(&self.throttle),
            hedges: Arc::clone(&self.hedges),
            stir: Arc::clone(&self.stir),
            relisted: Mutex::new(*self.relisted.lock()),
            budget: Arc::clone(&self.budget),
            pace: Arc::clone(&self.pace),
            asked: Arc::clone(&self.asked),
            meters: self.meters.clone(),
            raise: self.raise.clone(),
            private,
            leases: self.leases.clone(),
        }
    }

    /// What its replicas tell their changes to.
    pub fn stir(&self) -> &Arc<Notify> {
        &self.stir
    }

    /// Resolves when a server watches this resource for us, or after [`TAKEN_WAIT`].
    pub async fn taken(&self, uri: &str) {
        let taken = async {
            loop {
                let stirred = self.stir.notified();
                if self.replicas.iter().any(|replica| replica.has_taken(uri)) {
                    return;
                }
                stirred.await;
            }
        };
        drop(tokio::time::timeout(TAKEN_WAIT, taken).await);
    }

    /// What its replicas are asked to watch.
    pub fn watched(&self) -> &watch::Sender<Arc<BTreeSet<String>>> {
        &self.watched
    }

    /// Replicas for clients of these abilities; `None` takes them away. Only the director calls
    /// this.
    pub fn set_able(&self, abilities: Abilities, able: Option<Vec<Option<Arc<Replica>>>>) {
        let mut all = HashMap::clone(&self.able.load());
        let before = all.remove(&abilities).unwrap_or_default();
        if let Some(able) = able {
            let member = |(place, replica): (usize, Arc<Replica>)| {
                let known = before.iter().flatten().find(|m| Arc::ptr_eq(&m.replica, &replica));
                // One that stands beside another has the share of that one.
                let known = known.map(|known| match self.spec.replicas.get(place) {
                    Some(spec) => known.under(spec),
                    None => Arc::clone(known),
                });
                known.unwrap_or_else(|| {
                    rule(&replica, &self.spec);
                    Arc::new(Member::new(replica, self.middle(), clock::now()))
                })
            };
            let seats = able.into_iter().enumerate();
            let seats = seats.map(|(place, seat)| seat.map(|replica| member((place, replica))));
            all.insert(abilities, seats.collect());
        }
        self.able.store(Arc::new(all));
        self.stir.notify_waiters();
    }

    /// The replicas for clients of these abilities, by place.
    pub fn able(&self, abilities: Abilities) -> Vec<Option<Arc<Replica>>> {
        let able = self.able.load();
        let seats = able.get(&abilities).map(Vec::as_slice).unwrap_or_default();
        seats.iter().map(|seat| seat.as_ref().map(|member| Arc::clone(&member.replica))).collect()
    }

    /// The replica at a place, for clients of these abilities; `None` where sessions have their own.
    pub fn at(&self, abilities: Abilities, place: usize) -> Option<Arc<Replica>> {
        if self.private.is_some() {
            return None;
        }
        self.seats(abilities).get(place).map(|member| Arc::clone(&member.replica))
    }

    /// Calls found its lists to be old: every replica lists at once, unless they did so within
    /// `rest`. Answers whether they do.
    pub fn relist(&self, rest: Duration) -> bool {
        let now = clock::now();
        {
            let mut last = self.relisted.lock();
            if last.is_some_and(|last| now.saturating_duration_since(last) < rest) {
                return false;
            }
            *last = Some(now);
        }
        let able = self.able.load();
        let beside = able.values().flatten().flatten().map(|member| &member.replica);
        self.replicas.iter().chain(beside).for_each(|replica| replica.relist());
        true
    }

    /// The balancer of this name, for a call that asks for it; `None` if there is no such one, or
    /// if it is `expression` and the upstream has none.
    pub fn strategy(&self, name: &str) -> Option<&dyn Balancer> {
        self.overrides.get(name, (&self.spec.balance, &self.balancer))
    }

    /// The replicas for these abilities, as far as they are known.
    pub(super) fn plain_seats(&self, abilities: Abilities) -> Seats<'_> {
        self.seats(abilities)
    }

    fn seats(&self, abilities: Abilities) -> Seats<'_> {
        let able = (!abilities.is_empty()).then(|| self.able.load_full());
        Seats { members: &self.members, able, abilities, own: false }
    }

    /// The replicas beside which one stands that asks such clients, if two calls have met at one of
    /// them when it did.
    pub(super) fn interactive(
        &self,
        abilities: Abilities,
        fits: Option<&[usize]>,
    ) -> Vec<Arc<Member>> {
        let able = self.able.load();
        let seats = able.get(&abilities).map(Vec::as_slice).unwrap_or_default();
        let asks = |own: &Arc<Member>| own.replica.is_interactive();
        if !seats.iter().flatten().any(asks) {
            return Vec::new();
        }
        let own = seats.iter().zip(&self.members).enumerate();
        let own = own.filter(|(place, (own, _))| {
            own.is_some() && fits.is_none_or(|fits| fits.contains(place))
        });
        let own = own.filter(|(_, (_, base))| base.weight() > 0);
        own.map(|(_, (_, base))| Arc::clone(base)).collect()
    }

    /// The replicas for these abilities, once it is known whether there are any: the first client of
    /// its kind may call before they are told of.
    pub(super) async fn known_seats(&self, abilities: Abilities) -> Seats<'_> {
        let known = async {
            loop {
                let stirred = self.stir.notified();
                let seats = self.seats(abilities);
                if seats.is_known() {
                    return seats;
                }
                stirred.await;
            }
        };
        if abilities.is_empty() {
            return self.seats(abilities);
        }
        let known = tokio::time::timeout(KNOWN_WAIT, known).await;
        known.unwrap_or_else(|_elapsed| self.seats(abilities))
    }

    /// Waits while nothing is up and something is starting, no longer than [`Self::start_wait`]: a
    /// call right after our start, or of the first client of its abilities, must not fail for being
    /// early.
    pub(super) async fn starting(&self, seats: &Seats<'_>, deadline: Instant) {
        let until = self.start_wait(deadline).into();
        loop {
            let stirred = self.stir.notified();
            if !seats.is_early() {
                return;
            }
            if tokio::time::timeout_at(until, stirred).await.is_err() {
                return;
            }
        }
    }

    /// How long a call waits for a start that begins now: up to [`START_WAIT`], and no longer than
    /// it may be silent.
    pub(super) fn start_wait(&self, deadline: Instant) -> Instant {
        (clock::now() + START_WAIT.min(self.spec.timeout)).min(deadline)
    }

    /// Waits until a replica that was woken is up, or down; no longer than until then. Answers
    /// whether it is up.
    pub(super) async fn woken(&self, replica: &Replica, until: Instant) -> bool {
        loop {
            let stirred = self.stir.notified();
            if replica.is_up() || replica.phase() == Phase::Awake {
                return replica.is_up();
            }
            if tokio::time::timeout_at(until.into(), stirred).await.is_err() {
                return false;
            }
        }
    }

    /// Whether any replica takes calls.
    pub fn is_up(&self) -> bool {
        self.replicas.iter().any(|replica| replica.is_up())
    }

    /// Whether some gate may not be open.
    pub(super) fn any_not_open(&self) -> bool {
        self.not_open.load(Ordering::Relaxed) > 0
    }

    // === what becomes of replicas ===

    /// What a member's gate answers now.
    pub fn look(&self, member: &Member, now: Instant) -> Gate {
        let (gate, turn) = member.look(now, self.has_warm(member, now));
        self.turned(member, turn);
        gate
    }

    /// A call at a member came to its end.
    pub(super) fn settle(
        &self,
        member: &Member,
        outcome: &Outcome,
        (pass, took): (Pass, Duration),
        pace: &Pace,
    ) {
        let now = clock::now();
        let may_shut = outcome.failed() && self.may_shut(member);
        let warm = pass.is_probe() && self.has_warm(member, now);
        let turn =
            member.record(&self.spec.breaker, outcome, (pass, took), pace, (now, may_shut, warm));
        self.turned(member, turn);
        // Many calls that one death ends say nothing of what the others take.
        let news = !outcome.broke || member.vital.broke(now.checked_sub(took).unwrap_or(now), now);
        if outcome.signal != Signal::Nothing && news {
            let away = matches!(outcome.signal, Signal::Hard | Signal::Protocol);
            let taken = !away && outcome.rest.is_none();
            self.throttle.lock().count(taken, pace.p99().unwrap_or_default(), now);
        }
        if outcome.earns {
            self.budget.lock().earn(self.spec.retry.budget_ratio, now);
        }
    }

    /// A member hangs.
    pub(super) fn hangs(&self, member: &Member) {
        let (now, may_shut) = (clock::now(), self.may_shut(member));
        let turn = member.trip(&self.spec.breaker, Why::Hang, now, may_shut);
        self.turned(member, turn);
    }

    /// Whether the group can do without a member.
    fn may_shut(&self, member: &Member) -> bool {
        let others = || self.members.iter().filter(|other| !std::ptr::eq(other.as_ref(), member));
        let kept = others().filter(|other| other.replica.is_usable() && other.is_open()).count();
        let shut = others().filter(|other| !other.is_open()).count();
        self.spec.breaker.may_shut(self.members.len(), kept, shut)
    }

    /// Whether a member has a sibling that is well and warm, so that it may take its share slowly.
    fn has_warm(&self, member: &Member, now: Instant) -> bool {
        let warm = |other: &&Arc<Member>| {
            !std::ptr::eq(other.as_ref(), member) && other.is_well(now) && other.warmth(now) >= 1.0
        };
        self.members.iter().any(|other| warm(&other))
    }

    /// Whether so few replicas are well that calls go to all that are up.
    pub(super) fn is_panicking(&self, now: Instant) -> bool {
        let well = self.members.iter().filter(|member| member.is_ready(now)).count();
        let percent = usize::try_from(self.spec.breaker.panic_percent).unwrap_or(0);
        well * 100 < percent * self.members.len()
    }

    /// The middle of the group's slowness, for one of which nothing is known.
    fn middle(&self) -> f32 {
        let now = clock::now();
        let mut all: Vec<f32> = self.members.iter().map(|m| m.vital.load.slowness(now)).collect();
        all.sort_unstable_by(f32::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or(1.0)
    }

    fn turned(&self, member: &Member, turn: Option<Turn>) {
        let Some(turn) = turn else { return };
        let (upstream, replica) = (&self.upstream, &member.replica.spec.name);
        match turn {
            Turn::Shut(why) => {
                self.meters.ejected(why.as_str());
                tracing::warn!(%upstream, %replica, why = why.as_str(), "its gate shut");
            }
            Turn::Probing => tracing::info!(%upstream, %replica, "its gate lets a probe through"),
            Turn::Opened => tracing::info!(%upstream, %replica, "its gate opened"),
            Turn::Spared => {
                tracing::warn!(%upstream, %replica, "it fails and cannot be spared; it gets little");
            }
        }
        let not_open = self.members.iter().filter(|member| !member.is_open()).count();
        self.not_open.store(not_open, Ordering::Relaxed);
    }

    /// Calls that run at it, and calls that wait for a place.
    pub fn load(&self) -> (usize, usize) {
        (self.admission.running(), self.admission.waiting())
    }

    /// Why nobody takes a call: nothing was sent.
    pub fn nobody(&self) -> Fault {
        let now = clock::now();
        let down = self.replicas.iter().find_map(|replica| match replica.state() {
            State::Down(why) => Some(why),
            _ => None,
        });
        let shut = self.members.iter().filter_map(|member| match self.look(member, now) {
            Gate::Shut { until } => Some(until.saturating_duration_since(now)),
            Gate::Probing { .. } => Some(Duration::from_secs(1)),
            Gate::Open => None,
        });
        let (name, shut) = (&self.upstream, shut.min());
        let drained = self.members.iter().all(|member| member.weight() == 0);
        let message = match (down, shut) {
            _ if self.members.is_empty() => {
                format!("no replica of {name} is known yet")
            }
            _ if drained => {
                format!("every replica of {name} is drained (weight = 0)")
            }
            (_, Some(_)) if self.replicas.iter().any(|replica| replica.is_usable()) => {
                format!("the replicas of {name} that are up failed too often and rest")
            }
            (Some(why), _) => format!("no replica of {name} is up; {why}"),
            (None, _) => format!("{name} is still starting"),
        };
        let wait = shut.unwrap_or_default().max(Duration::from_secs(1));
        Fault::upstream(Kind::NoReplica, Sent::No, message).retry_after(Some(wait))
    }

    /// How many replicas would take any call now, or as soon as they are awake.
    pub fn well(&self) -> usize {
        let now = clock::now();
        self.members.iter().filter(|member| member.is_ready(now)).count()
    }
}

/// Puts a replica under these rules. One beside which client sessions get their own must be there.
fn rule(replica: &Arc<Replica>, spec: &PoolSpec) {
    replica.set_health(spec.health.clone());
    let shared = spec.isolation == Isolation::Shared;
    replica.set_idle_stop(shared.then_some(spec.idle_stop));
    if !shared {
        drop(replica.rouse());
    }
}

/// The weight of the heaviest replica.
fn heaviest(spec: &PoolSpec) -> f32 {
    let weights = spec.replicas.iter().map(|replica| replica.weight);
    f32::from(u16::try_from(weights.max().unwrap_or(1)).unwrap_or(u16::MAX))
}
