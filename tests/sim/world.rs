//! One world from one seed: its hosts, a gateway in front of them, clients, what goes wrong, and
//! what must hold in the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use waypost::app::App;
use waypost::base::{ReplicaName, Tasks, UpstreamName, clock, rng};
use waypost::catalog::spec::OfferSpec;
use waypost::fleet::Effect;
use waypost::fleet::breaker::Gate;
use waypost::fleet::spec::{BALANCES, PoolSpec};
use waypost::gateway::spec::{CacheSpec, GatewaySpec, Start, UpstreamSpec};
use waypost::proto;
use waypost::telemetry::Meters;
use waypost::upstream::backoff::LOOP_REST;
use waypost::upstream::connect::Means;
use waypost::upstream::replica::State;
use waypost::upstream::spec::{
    EraPolicy, HttpSpec, LaunchSpec, Program, ReplicaKind, ReplicaSpec, START_TIMEOUT, Transport,
};

use crate::chance::Dice;
use crate::check;
use crate::child::Cradle;
use crate::client::{Client, Desk, Offer, Order};
use crate::faults::{Blow, Ill, Mix, Strike, strikes};
use crate::host::{Era, Host, Traits};
use crate::ledger::{Class, Ledger, Outcome};
use crate::server::Net;

/// Once faults are over, calls that only read succeed again within this time (I10).
const HEALED_WITHIN: Duration = Duration::from_mins(1);
/// The same where nothing but old connections stand in the way.
const BACK_WITHIN: Duration = Duration::from_secs(35);
/// A server learns within this time that a call is not wanted any more (I7).
const CANCELLED_WITHIN: Duration = Duration::from_millis(100);

/// Longer than any world, in milliseconds.
const IDLE_NEVER: u64 = 36_000_000;
/// Children that nobody uses are gone so long after they fell asleep.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);

/// Calls at a replica that is no longer configured have so long to end.
const DRAIN: Duration = Duration::from_mins(1);

/// What became of a world.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) breaches: Vec<String>,
    pub(crate) story: String,
    pub(crate) digest: u64,
    pub(crate) calls: usize,
    /// How often what happened.
    pub(crate) tally: BTreeMap<&'static str, u64>,
}

/// Runs a world of this seed in virtual time.
pub(crate) fn simulated(seed: u64, world: impl Future<Output = End>) -> End {
    rng::seed(Some(seed));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let end = runtime.block_on(world);
    rng::seed(None);
    end
}

/// Runs the world of a seed. `tell` = with the log of the gateway in its story.
pub(crate) fn run(seed: u64, tell: bool) -> End {
    simulated(seed, async {
        let world = World::new(seed);
        let _told = tell.then(|| tracing::subscriber::set_default(world.ledger.log()));
        world.live().await
    })
}

/// How a world is made.
#[expect(clippy::struct_excessive_bools, reason = "each is one independent throw of the dice")]
struct Plan {
    traits: Vec<Traits>,
    upstreams: usize,
    trusted: bool,
    operator: bool,
    timeout: Duration,
    timeout_max: Duration,
    span: Duration,
    clients: usize,
    calls: usize,
    think: u64,
    give_up_percent: u64,
    /// Faults from the first moment on.
    ill_born: bool,
    /// Every server refuses for lack of room, under many calls.
    storm: bool,
    /// Clients only read, and much: slow calls may be asked twice.
    readers: bool,
    /// Nothing goes wrong: then every call must succeed.
    peace: bool,
    /// One replica fails every call at once, the others are well.
    lame: bool,
    /// A server behind a URL, alone, vanishes with its machine after much work and is back at once:
    /// all connections to it are half-open then.
    vanishes: bool,
    /// Children are stopped when nobody used them for so long.
    idle: Duration,
    /// How often another configuration is loaded.
    reloads: usize,
    strikes: Vec<Strike>,
}

impl Plan {
    fn roll(dice: &mut Dice) -> Self {
        let upstreams = dice.pick(&[1, 1, 2]);
        let mut traits = Vec::new();
        for upstream in 0..upstreams {
            for replica in 0..dice.between(1, 5) {
                traits.push(one_host(dice, upstream, replica));
            }
        }
        let vanishes = dice.percent(4);
        if vanishes {
            let one = Traits { child: false, fragile: false, ..one_host(dice, 0, 0) };
            traits = vec![Traits { stubborn: false, pace: 500, ..one }];
        }
        let upstreams = if vanishes { 1 } else { upstreams };
        let lame = !vanishes && dice.percent(10);
        if lame {
            traits.extend((5..8).map(|replica| one_host(dice, 0, replica)));
        }
        let storm = !lame && !vanishes && dice.percent(8);
        let readers = vanishes || (!storm && dice.percent(12));
        let peace = !storm && !lame && !vanishes && dice.percent(15);
        let span = if vanishes { 15 } else { dice.pick(&[15, 30, 60]) };
        let span = Duration::from_secs(if storm { 10 } else { span });
        let timeout = Duration::from_millis(dice.pick(&[1_500, 4_000, 10_000]));
        let harmless = peace || lame || vanishes;
        let strikes = strikes(dice, traits.len(), span, harmless);
        Self {
            upstreams,
            traits,
            trusted: !lame && dice.percent(75),
            operator: dice.coin(),
            timeout,
            timeout_max: timeout * u32::try_from(dice.between(1, 3)).unwrap(),
            span,
            clients: if vanishes { 5 } else { dice.below(5) + 1 },
            calls: if storm || readers { 60 } else { dice.below(30) + 5 },
            think: if storm || readers { 50 } else { dice.pick(&[200, 1_000, 3_000]) },
            give_up_percent: dice.pick(&[0, 10, 50]),
            ill_born: dice.coin(),
            storm,
            readers,
            peace,
            lame,
            vanishes,
            idle: Duration::from_millis(dice.pick(&[IDLE_NEVER, IDLE_NEVER, 20, 1_000, 5_000])),
            reloads: if peace { dice.below(9) } else { dice.pick(&[0, 0, 1, 4]) },
            strikes,
        }
    }

    /// Until streams are drained, notices of giving up are taken, and children that fall asleep are
    /// gone.
    fn rest(&self) -> Duration {
        let stops = if self.naps() { self.idle + STOPPED_WITHIN } else { Duration::ZERO };
        Duration::from_secs(5) + stops
    }

    /// Whether children fall asleep in it.
    fn naps(&self) -> bool {
        self.idle < Duration::from_millis(IDLE_NEVER)
    }

    fn classes(&self) -> (Class, Class) {
        let read = if self.trusted { Class::Read } else { Class::Once };
        let idem = if self.trusted || self.operator { Class::Idempotent } else { Class::Once };
        (read, idem)
    }
}

fn one_host(dice: &mut Dice, upstream: usize, replica: u64) -> Traits {
    let child = dice.percent(40);
    let era = if dice.coin() { Era::Legacy } else { Era::Modern };
    Traits {
        name: format!("h{upstream}{replica}"),
        upstream,
        child,
        era,
        has_sessions: !child && era == Era::Legacy && dice.coin(),
        tells_changes: dice.coin(),
        streams: dice.coin(),
        fragile: child && era == Era::Legacy && dice.percent(30),
        stubborn: child && dice.percent(30),
        pace: dice.pick(&[5, 50, 500]),
    }
}

struct World {
    dice: Dice,
    plan: Plan,
    ledger: Ledger,
    hosts: Arc<BTreeMap<String, Arc<Host>>>,
    /// Everything that is no part of the gateway.
    outside: Tasks,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let plan = Plan::roll(&mut dice);
        let (ledger, outside) = (Ledger::new(), Tasks::new());
        let mut hosts = BTreeMap::new();
        for traits in &plan.traits {
            ledger.note(format!("{traits:?}"));
            let host_dice = dice.fork();
            let host = Host::new(
                traits.clone(),
                Mix::default(),
                host_dice,
                ledger.clone(),
                outside.clone(),
            );
            hosts.insert(traits.name.clone(), Arc::new(host));
        }
        Self { dice, plan, ledger, hosts: Arc::new(hosts), outside }
    }

    fn all(&self) -> Vec<&Host> {
        self.hosts.values().map(AsRef::as_ref).collect()
    }

    /// Which faults each host has.
    fn mixes(&mut self) -> Vec<Mix> {
        let mut mixes: Vec<Mix> =
            self.plan.traits.iter().map(|_| Mix::roll(&mut self.dice)).collect();
        if self.plan.peace || self.plan.lame || self.plan.vanishes {
            mixes.fill(Mix::default());
        }
        if self.plan.lame {
            let ill = self.dice.pick(&[Ill::BadGateway, Ill::Internal, Ill::WrongId]);
            mixes.iter_mut().take(1).for_each(|mix| *mix = Mix::only(ill));
        }
        if self.plan.storm {
            mixes.fill(Mix::only(Ill::Unavailable));
        }
        mixes
    }

    async fn live(mut self) -> End {
        let mixes = self.mixes();
        let clear = mixes.iter().all(Mix::is_clear)
            && self.plan.strikes.iter().all(|s| !matches!(s.blow, Blow::Freeze | Blow::Vanish));
        let hosts: Vec<_> =
            self.plan.traits.iter().map(|t| Arc::clone(&self.hosts[&t.name])).collect();
        let ill = || hosts.iter().zip(&mixes).for_each(|(host, mix)| host.falls_ill(mix.clone()));
        if self.plan.ill_born && !self.plan.storm {
            ill();
        }
        let spec = self.spec();
        let (mut app, keepers) = self.start(&spec);
        app.gateway.settled().await;
        if !self.plan.ill_born || self.plan.storm {
            app.settled(Duration::from_secs(20)).await;
            ill();
        }
        let desk = self.desk(&app);
        self.strike(&hosts);
        let mut dice = self.dice.fork();
        let reloads = self.plan.reloads;
        let ledger = self.ledger.clone();
        let reload = async {
            for _ in 0..reloads {
                tokio::time::sleep(dice.millis(15_000)).await;
                ledger.note("another configuration");
                app.reload(&other(&spec, &mut dice), DRAIN).await.unwrap();
            }
            app.reload(&spec, DRAIN).await.unwrap();
        };
        tokio::join!(self.load(&desk), reload);
        if self.plan.vanishes {
            hosts[0].dies(true);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        for host in &hosts {
            host.heals();
        }
        self.ledger.note("all is healed");
        let healed = self.ledger.now();
        self.heals(&app, &desk, healed).await;
        self.cancels(&desk).await;
        tokio::time::sleep(self.plan.rest()).await;
        self.opens(&app);
        check::books(&self.ledger, self.plan.upstreams, healed, clear);
        if self.plan.peace {
            check::peace(&self.ledger);
        }
        check::quiet(&self.ledger, &app, &keepers, &self.all());
        app.stop().await;
        check::gone(&self.ledger, &keepers, &self.all());
        self.outside.stop(Duration::from_secs(1)).await;
        End {
            breaches: self.ledger.breaches(),
            story: self.ledger.story(),
            digest: self.ledger.digest(),
            calls: self.ledger.pages().len(),
            tally: BTreeMap::new(),
        }
    }

    fn spec(&mut self) -> GatewaySpec {
        let upstreams = (0..self.plan.upstreams).map(|place| self.upstream(place)).collect();
        let cache = CacheSpec { enabled: false, dir: None };
        let mut spec = GatewaySpec { upstreams, cache, ..GatewaySpec::default() };
        spec.builtins.echo.tool.enabled = false;
        spec
    }

    /// Starts the gateway with what it needs of this world.
    fn start(&self, spec: &GatewaySpec) -> (App, Tasks) {
        let keepers = Tasks::new();
        let means = Means {
            supervisor: Arc::new(Cradle(Arc::clone(&self.hosts))),
            dial: Some(Arc::new(Net(Arc::clone(&self.hosts)))),
            tasks: keepers.clone(),
            us: Arc::new(json!({ "name": "simulated", "version": "0" })),
        };
        (App::start_with(spec, means, None, Meters::new()), keepers)
    }

    fn upstream(&mut self, place: usize) -> UpstreamSpec {
        let mut replicas = Vec::new();
        for traits in self.plan.traits.iter().filter(|traits| traits.upstream == place) {
            let known = match traits.era {
                Era::Legacy => EraPolicy::Legacy,
                Era::Modern => EraPolicy::Modern,
            };
            let kind = if traits.child {
                ReplicaKind::Child(LaunchSpec {
                    program: Program::Named(traits.name.clone()),
                    args: Vec::new(),
                    env: BTreeMap::new(),
                    cwd: None,
                    start_timeout: START_TIMEOUT,
                })
            } else {
                let url = format!("http://{}/mcp", traits.name).parse().unwrap();
                let transport = Transport::Auto;
                ReplicaKind::Http(HttpSpec { url, headers: Vec::new(), address: None, transport })
            };
            replicas.push(ReplicaSpec {
                name: ReplicaName::new(&traits.name).unwrap(),
                kind,
                era: if self.dice.percent(70) { EraPolicy::Auto } else { known },
                weight: u32::try_from(self.dice.between(1, 3)).unwrap(),
                tier: 0,
                labels: BTreeMap::new(),
            });
        }
        let mut pool = PoolSpec::new(replicas);
        pool.balance = BALANCES[self.dice.pick(&[0, 0, 0, 1, 2, 3, 4, 5])].1.clone();
        (pool.timeout, pool.timeout_max) = (self.plan.timeout, self.plan.timeout_max);
        pool.retry.on_server_error = self.dice.coin();
        pool.idle_stop = self.plan.idle;
        let prefix = prefix(place);
        let mut effects = BTreeMap::new();
        if self.plan.operator {
            for tool in ["idem", "slow"] {
                effects.insert(tool.to_owned(), Effect::Idempotent);
            }
        }
        let exclude = vec!["secret".to_owned()];
        UpstreamSpec {
            name: UpstreamName::new(&prefix).unwrap(),
            required: false,
            trust_annotations: self.plan.trusted,
            effects,
            fallbacks: BTreeMap::new(),
            offer: OfferSpec { exclude, ..OfferSpec::all(&prefix) },
            bridge: waypost::gateway::spec::Bridge::Park,
            start: Start::Eager,
            pool,
            names: Vec::new(),
            off: None,
        }
    }

    fn desk(&self, app: &App) -> Desk {
        let (read, idem) = self.plan.classes();
        let offer = |place| Offer { prefix: prefix(place), read, idem };
        let offers = (0..self.plan.upstreams).map(offer).collect();
        let longest = self.plan.timeout_max + Duration::from_secs(1);
        Desk::new(app.gateway.clone(), self.ledger.clone(), offers, longest)
    }

    /// Lets the blows fall.
    fn strike(&self, hosts: &[Arc<Host>]) {
        for strike in &self.plan.strikes {
            let (host, strike) = (Arc::clone(&hosts[strike.host]), *strike);
            self.outside.spawn(async move {
                tokio::time::sleep(strike.at).await;
                match strike.blow {
                    Blow::Crash | Blow::Vanish => host.dies(strike.blow == Blow::Vanish),
                    Blow::Freeze => host.freezes(true),
                    Blow::Forget => host.forgets(),
                    Blow::Catalog => host.changes(),
                    Blow::Chatter => host.chatter.notify_waiters(),
                }
                tokio::time::sleep(strike.lasts).await;
                match strike.blow {
                    Blow::Crash | Blow::Vanish => host.rises(),
                    Blow::Freeze => host.freezes(false),
                    _ => {}
                }
            });
        }
    }

    /// Clients call until the span is over and each of their calls has ended.
    async fn load(&mut self, desk: &Desk) {
        let begun = self.ledger.now();
        let mut working = Vec::new();
        for name in 0..self.plan.clients {
            let era = if self.dice.coin() { proto::Era::Legacy } else { proto::Era::Modern };
            let client = Arc::new(Client::new(desk, name, era));
            for _ in 0..self.dice.between(1, 3) {
                let (client, mut dice) = (Arc::clone(&client), self.dice.fork());
                let (upstreams, give_up) = (self.plan.upstreams, self.plan.give_up_percent);
                let (calls, think, until) =
                    (self.plan.calls, self.plan.think, begun + self.plan.span);
                let (ledger, readers) = (self.ledger.clone(), self.plan.readers);
                working.push(self.outside.spawn(async move {
                    for _ in 0..calls {
                        tokio::time::sleep(dice.millis(think)).await;
                        if ledger.now() > until {
                            return;
                        }
                        let mut order = Order::roll(&mut dice, upstreams, give_up);
                        if readers {
                            order.tool = "read";
                        }
                        client.call(&order).await;
                    }
                }));
            }
        }
        for work in working {
            work.await.unwrap();
        }
        let left = (begun + self.plan.span).saturating_sub(self.ledger.now());
        tokio::time::sleep(left).await;
    }

    /// I10: when faults are over, calls that only read succeed again.
    async fn heals(&self, app: &App, desk: &Desk, healed: Duration) {
        let client = Client::new(desk, 100, proto::Era::Modern);
        // They are not asked all the time: what heals must heal by itself too.
        let within = if self.plan.vanishes { BACK_WITHIN } else { HEALED_WITHIN };
        let left = (healed + within).saturating_sub(self.ledger.now());
        tokio::time::sleep(left).await;
        // A child that did nothing but end is left alone for a while, by design.
        if any_rests(app) {
            self.ledger.note("a child rests");
            tokio::time::sleep(LOOP_REST).await;
        }
        for _ in 0..6 {
            for upstream in 0..self.plan.upstreams {
                let (op, outcome) = client.call(&Order::of(upstream, "read")).await;
                if outcome != Outcome::Result {
                    let text = format!("I10: op {op} failed though all is healed: {outcome:?}");
                    self.ledger.breach(text);
                }
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// I10: every replica is up again, and no gate stays as it is because nobody looks at it. One
    /// that shut for what calls failed at may still have its time.
    fn opens(&self, app: &App) {
        let now = clock::now();
        for upstream in &app.gateway.snapshot().upstreams {
            for member in &upstream.pool.members {
                let name = &member.replica.spec.name;
                if !member.replica.is_usable() {
                    let state = member.replica.state();
                    self.ledger.breach(format!("I10: {name} is {state:?}"));
                }
                let was_open = member.is_open();
                if !was_open && upstream.pool.look(member, now) == Gate::Open {
                    self.ledger.breach(format!("I10: nobody looked at the gate of {name}"));
                }
            }
        }
    }

    /// I7: what is given up is given up at the server too, at once.
    async fn cancels(&self, desk: &Desk) {
        let client = Client::new(desk, 101, proto::Era::Legacy);
        for upstream in (0..self.plan.upstreams).cycle().take(self.plan.traits.len() * 2) {
            let patience = Some(Duration::from_millis(500));
            let order = Order { patience, millis: Some(1_200), ..Order::of(upstream, "write") };
            let (op, outcome) = client.call(&order).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            let page = self.ledger.page(op).unwrap();
            let Some((ended, ..)) = page.ended else { continue };
            if self.plan.naps() && outcome == Outcome::GivenUp && page.reached == 0 {
                continue; // it was given up while it waited for a child to wake
            }
            if outcome != Outcome::GivenUp || page.reached == 0 {
                self.ledger.breach(format!("I10: op {op} did not get anywhere: {outcome:?}"));
                continue;
            }
            let told = page.cancelled.iter().any(|at| *at <= ended + CANCELLED_WITHIN);
            if !told {
                self.ledger.breach(format!("I7: the server of op {op} was not told to stop"));
            }
        }
    }
}

/// Whether a child rests because it did nothing but end.
fn any_rests(app: &App) -> bool {
    let snapshot = app.gateway.snapshot();
    let mut replicas = snapshot.upstreams.iter().flat_map(|upstream| &upstream.pool.replicas);
    replicas.any(|r| matches!(r.state(), State::Down(why) if why.contains("and rests for")))
}

/// Another configuration: other weights, another rule, and one replica of each upstream may be
/// missing where it has more than one.
fn other(spec: &GatewaySpec, dice: &mut Dice) -> GatewaySpec {
    let mut other = spec.clone();
    for upstream in &mut other.upstreams {
        let replicas = &mut upstream.pool.replicas;
        for replica in &mut *replicas {
            replica.weight = u32::try_from(dice.between(1, 3)).unwrap();
        }
        if replicas.len() > 1 && dice.coin() {
            replicas.remove(dice.below(replicas.len()));
        }
        upstream.pool.balance = BALANCES[dice.below(6)].1.clone();
    }
    other
}

fn prefix(place: usize) -> String {
    ["a", "b"][place].to_owned()
}
