//! Worlds of questions: servers of both eras that ask in the middle of a call, clients of both eras
//! that answer, come back, leave, cheat or never return, and the real gateway with its real fronts in
//! between. What must hold whatever they do:
//!
//! - Q1: a question reaches the client of its own call, once, and only if that can be asked; its server
//!   gets one answer to it, which that client gave, or is told that there is none.
//! - Q2: a call has one end for its client, and nothing comes for it after that.
//! - Q3: no call runs twice, whatever state is brought back by whom; each state serves once.
//! - Q4: ids, progress and its tokens are a call's own, with their types.
//! - Q5: tables keep their bounds, and are empty when all is over.

mod books;
mod caps;
mod client;
mod door;
mod order;
mod server;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use waypost::app::App;
use waypost::base::{PrincipalName, ReplicaName, Tasks, UpstreamName};
use waypost::catalog::spec::OfferSpec;
use waypost::fleet::spec::PoolSpec;
use waypost::front::member::Member;
use waypost::front::spec::ShareSpec;
use waypost::gateway::spec::{Bridge, CacheSpec, GatewaySpec, Start, UpstreamSpec};
use waypost::telemetry::Meters;
use waypost::upstream::connect::Means;
use waypost::upstream::replica::Link;
use waypost::upstream::spec::{
    EraPolicy, HttpSpec, LaunchSpec, Program, ReplicaKind, ReplicaSpec, START_TIMEOUT, Transport,
};

use crate::chance::Dice;
use crate::ledger::Ledger;
use crate::world::{End, simulated};

use self::books::Books;
use self::client::{Client, Way, Who, is_well};
use self::door::{Door, Pipe};
use self::order::Order;
use self::server::{Server, Traits};
use self::wire::{Cradle, Net, Servers};

/// Until every client that does not answer has been given up, round after round, and the gateway has
/// looked.
const REST: Duration = Duration::from_mins(40);
/// Most calls that one client may leave parked.
const PARKED_OWN: usize = 64;
/// Most that all may.
const PARKED_ALL: usize = 1_024;

/// What must have happened over some seeds, or nothing was tested.
pub(crate) const MUST_HAPPEN: [&str; 13] = [
    "a result",
    "progress",
    "asked by a request",
    "asked by a result",
    "returns",
    "is sent away",
    "two at once",
    "a state that must not serve",
    "a state of another gateway",
    "came too late",
    "never came back",
    "cancelled",
    "left",
];

/// Runs the world of a seed. `tell` = with the log of the gateway in its story.
pub(crate) fn run(seed: u64, tell: bool) -> End {
    simulated(seed, async {
        let world = World::new(seed);
        let _told = tell.then(|| tracing::subscriber::set_default(world.books.ledger.log()));
        world.live().await
    })
}

/// A gateway and the ways into it.
struct House {
    app: App,
    keepers: Tasks,
    door: Door,
    /// What serves the client on the pipe.
    front: Tasks,
    /// Calls that their clients left behind.
    left: Tasks,
}

struct World {
    dice: Dice,
    upstreams: usize,
    servers: Servers,
    books: Books,
    /// Everything that is no part of the gateway.
    outside: Tasks,
    /// Nothing goes wrong: then every call must succeed.
    peace: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let (books, outside) = (Books::new(Ledger::new()), Tasks::new());
        let peace = dice.percent(20);
        let upstreams = dice.pick(&[1, 1, 2, 3]);
        let mut servers = BTreeMap::new();
        for upstream in 0..upstreams {
            let (child, modern) = (dice.percent(40), dice.coin());
            let dawdles = dice.pick(&[0, 30, 200]);
            for replica in 0..dice.pick(&[1, 1, 2]) {
                let name = format!("s{upstream}{replica}");
                let traits = Traits { name: name.clone(), upstream, child, modern, dawdles };
                books.ledger.note(format!("{traits:?}"));
                let server = Server::new(traits, books.clone(), outside.clone(), dice.fork());
                servers.insert(name, Arc::new(server));
            }
        }
        Self { dice, upstreams, servers: Arc::new(servers), books, outside, peace }
    }

    async fn live(mut self) -> End {
        let house = self.opens().await;
        let clients = self.clients(&house).await;
        self.load(&house, &clients).await;
        // In half of the worlds the gateway is started anew while calls are parked.
        let house = if !self.peace && self.dice.coin() {
            self.closes(house).await;
            let house = self.opens().await;
            for client in &clients {
                client.after_restart(&house.door).await;
            }
            house
        } else {
            tokio::time::sleep(REST).await;
            for client in &clients {
                client.closes().await;
            }
            house
        };
        self.quiet(&house);
        self.closes(house).await;
        self.books.closes();
        self.outside.stop(Duration::from_secs(1)).await;
        let ledger = &self.books.ledger;
        End {
            breaches: ledger.breaches(),
            story: ledger.story(),
            digest: ledger.digest(),
            calls: self.books.calls(),
            tally: self.books.tally(),
        }
    }

    /// Starts a gateway in front of the servers.
    async fn opens(&self) -> House {
        let house = house(&self.spec(), &self.servers, &self.outside);
        house.app.gateway.settled().await;
        house.app.settled(Duration::from_secs(20)).await;
        house
    }

    /// Stops it, and looks that nothing is left of it.
    async fn closes(&self, house: House) {
        let House { app, keepers, door, front, left } = house;
        front.stop(Duration::from_secs(5)).await;
        left.stop(Duration::from_secs(1)).await;
        let gateway = app.gateway.clone();
        self.books.ledger.note("the gateway stops");
        app.stop().await;
        if !left.is_empty() {
            // One that a server asked by results waits for its client still.
            tokio::time::sleep(REST).await;
        }
        self.must(gateway.parked() == 0, "calls are parked at a gateway that has stopped");
        let tasks = [&keepers, &front, &left];
        self.must(tasks.iter().all(|tasks| tasks.is_empty()), "tasks outlive the gateway");
        let processes: usize = self.servers.values().map(|server| server.processes()).sum();
        self.must(processes == 0, format!("{processes} processes outlive the gateway"));
        drop(door);
    }

    fn must(&self, holds: bool, what: impl AsRef<str>) {
        if !holds {
            self.books.ledger.breach(format!("Q5: {}", what.as_ref()));
        }
    }

    fn spec(&self) -> GatewaySpec {
        let cache = CacheSpec { enabled: false, dir: None };
        let upstreams = (0..self.upstreams).map(|place| {
            let own = self.servers.values().filter(|server| server.traits.upstream == place);
            upstream(place, &own.map(|server| &server.traits).collect::<Vec<_>>())
        });
        let upstreams = upstreams.collect();
        let mut spec = GatewaySpec { upstreams, cache, ..GatewaySpec::default() };
        spec.builtins.echo.tool.enabled = false;
        spec
    }

    async fn clients(&mut self, house: &House) -> Vec<Arc<Client>> {
        let share = ShareSpec { inflight_max: 256, rate: 10_000, ..ShareSpec::default() };
        let member = |name| Arc::new(Member::new(PrincipalName::new(name).unwrap(), share));
        let known = self.dice.coin().then(|| [member("alice"), member("bob")]);
        let piped = self
            .dice
            .coin()
            .then(|| Pipe::open(&house.app, &self.books, &house.front, &self.outside));
        let mut clients = Vec::new();
        for number in 0..=self.dice.below(5) {
            let pipe = piped.clone().filter(|_| number == 0);
            let own = known.as_ref().filter(|_| pipe.is_none());
            let who = Who {
                number,
                modern: self.dice.coin(),
                capabilities: self.capabilities(),
                member: own.map(|members| Arc::clone(&members[number % 2])),
                stranger: own.map(|members| Arc::clone(&members[(number + 1) % 2])),
            };
            let way = pipe.map_or_else(|| Way::Http(house.door.clone()), Way::Pipe);
            let (books, outside) = (self.books.clone(), self.outside.clone());
            clients.push(Arc::new(Client::new(who, way, books, outside).await));
        }
        clients
    }

    fn capabilities(&mut self) -> Value {
        let mut all = json!({ "elicitation": { "form": {} }, "sampling": {}, "roots": {} });
        if self.dice.percent(30) {
            let without = self.dice.pick(&["elicitation", "sampling", "roots"]);
            all.as_object_mut().unwrap().remove(without);
        }
        if self.dice.percent(10) { json!({}) } else { all }
    }

    /// Clients call until each of them has made its calls.
    async fn load(&mut self, house: &House, clients: &[Arc<Client>]) {
        let mut working = Vec::new();
        for client in clients {
            for _ in 0..self.dice.between(1, 3) {
                let (client, mut dice) = (Arc::clone(client), self.dice.fork());
                let (upstreams, peace) = (self.upstreams, self.peace);
                let (gateway, ledger) = (house.app.gateway.clone(), self.books.ledger.clone());
                working.push(self.outside.spawn(async move {
                    for _ in 0..dice.between(1, 5) {
                        tokio::time::sleep(dice.millis(1_000)).await;
                        let order = Order::roll(&mut dice, upstreams, peace);
                        client.call(&order, peace && is_well(&order)).await;
                        if gateway.parked() > PARKED_ALL.min(PARKED_OWN * 5) {
                            ledger.breach(format!("Q5: {} calls are parked", gateway.parked()));
                        }
                    }
                }));
            }
        }
        for work in working {
            work.await.unwrap();
        }
    }

    /// What must be left when all calls are over: nothing.
    fn quiet(&self, house: &House) {
        let House { app, door, left, .. } = house;
        self.must(app.gateway.parked() == 0, format!("{} calls are parked", app.gateway.parked()));
        self.must(left.is_empty(), format!("{} calls were left behind and go on", left.len()));
        let sessions = door.mcp.sessions().len();
        self.must(sessions == 0, format!("{sessions} sessions are left"));
        for upstream in &app.gateway.snapshot().upstreams {
            let pool = &upstream.pool;
            let load = pool.load();
            self.must(load == (0, 0), format!("{load:?} calls run and wait at {}", pool.upstream));
            for member in &pool.members {
                let waiting = match member.replica.live().as_deref().map(|live| &live.link) {
                    Some(Link::Stdio(link)) => link.channel().waiting(),
                    _ => 0,
                };
                self.must(waiting <= 2, format!("{waiting} wait for answers of a child"));
            }
        }
        for server in self.servers.values() {
            let (name, active) = (server.name(), server.active());
            self.must(active == 0, format!("{name} still works on {active} calls"));
        }
    }
}

/// A gateway in front of these servers.
fn house(spec: &GatewaySpec, servers: &Servers, outside: &Tasks) -> House {
    let (keepers, front, left) = (Tasks::new(), Tasks::new(), Tasks::new());
    let means = Means {
        supervisor: Arc::new(Cradle(Arc::clone(servers))),
        dial: Some(Arc::new(Net(Arc::clone(servers)))),
        tasks: keepers.clone(),
        us: Arc::new(json!({ "name": "simulated", "version": "0" })),
    };
    let app = App::start_with(spec, means, None, Meters::new());
    let door = Door::new(&app, left.clone(), outside.clone());
    House { app, keepers, door, front, left }
}

fn upstream(place: usize, servers: &[&Traits]) -> UpstreamSpec {
    let replica = |traits: &&Traits| ReplicaSpec {
        name: ReplicaName::new(&traits.name).unwrap(),
        kind: if traits.child {
            ReplicaKind::Child(LaunchSpec {
                program: Program::Named(traits.name.clone()),
                args: Vec::new(),
                env: BTreeMap::new(),
                cwd: None,
                start_timeout: START_TIMEOUT,
            })
        } else {
            let url = format!("http://{}/mcp", traits.name).parse().unwrap();
            ReplicaKind::Http(HttpSpec {
                url,
                headers: Vec::new(),
                address: None,
                transport: Transport::Auto,
            })
        },
        era: if traits.modern { EraPolicy::Modern } else { EraPolicy::Legacy },
        weight: 1,
        tier: 0,
        labels: BTreeMap::new(),
    };
    let mut pool = PoolSpec::new(servers.iter().map(replica).collect());
    // Servers here die and hang on purpose: a gate that shuts would only keep calls from them.
    pool.breaker.consecutive = 10_000;
    pool.breaker.min_requests = 10_000;
    let name = format!("u{place}");
    UpstreamSpec {
        name: UpstreamName::new(&name).unwrap(),
        required: false,
        trust_annotations: false,
        effects: BTreeMap::new(),
        fallbacks: BTreeMap::new(),
        offer: OfferSpec::all(&name),
        bridge: Bridge::Park,
        start: Start::Eager,
        pool,
        names: Vec::new(),
        off: None,
    }
}
