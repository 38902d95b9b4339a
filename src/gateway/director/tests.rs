//! A turn from one configuration to the next, as calls see it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, broadcast, oneshot, watch};

use super::*;
use crate::base::{ReplicaName, UpstreamName};
use crate::builtin::spec::BuiltinSpec;
use crate::catalog::spec::OfferSpec;
use crate::fleet::spec::PoolSpec;
use crate::proto::Offers;
use crate::upstream::listing::{List, Listing};
use crate::upstream::place::Numbers;
use crate::upstream::replica::Bonds;
use crate::upstream::report::Happening;
use crate::upstream::spec::{EraPolicy, HttpSpec, ReplicaKind, ReplicaSpec, Transport};

/// A director at work over nothing, and what a reload does with it.
struct Stage {
    numbers: Numbers,
    gateway: Gateway,
    events: mpsc::Sender<Event>,
    orders: mpsc::Sender<Order>,
    builtins: Arc<Builtins>,
    tasks: Tasks,
}

impl Stage {
    fn new() -> Self {
        let (meters, tasks) = (Meters::new(), Tasks::new());
        let builtins = Arc::new(Builtins::new(&BuiltinSpec::default()));
        let parts = Parts {
            naming: NamingSpec::default(),
            members: Vec::new(),
            builtins: Arc::clone(&builtins),
            memory: Memory::default(),
            spawn: Box::new(|_, _, _| unreachable!("no client can be asked")),
            keepers: CancellationToken::new(),
            tasks: tasks.clone(),
        };
        let mut director = Director::new(parts, &meters);
        let (events, happened) = mpsc::channel(EVENTS_MAX);
        let (demands, demanded) = mpsc::channel(1);
        let (orders, ordered) = mpsc::channel(ORDERS_MAX);
        let first = director.build(None);
        let gateway = Gateway::new(first, demands, broadcast::channel(1).0, &meters);
        let inbox = Inbox { events: happened, demands: demanded, orders: ordered };
        tasks.spawn(director.run(gateway.clone(), inbox, tasks.stop_token().clone()));
        Self { numbers: Numbers::default(), gateway, events, orders, builtins, tasks }
    }

    /// An upstream of this name with one replica.
    fn member(&mut self, name: &str) -> Member {
        let kind = HttpSpec {
            url: "http://127.0.0.1:1/mcp".parse().unwrap(),
            headers: Vec::new(),
            address: None,
            transport: Transport::Auto,
        };
        let replica = ReplicaSpec {
            name: ReplicaName::new("a").unwrap(),
            kind: ReplicaKind::Http(kind),
            era: EraPolicy::Auto,
            weight: 1,
            tier: 0,
            labels: BTreeMap::new(),
        };
        let spec = UpstreamSpec {
            name: UpstreamName::new(name).unwrap(),
            required: false,
            trust_annotations: false,
            effects: BTreeMap::new(),
            fallbacks: BTreeMap::new(),
            offer: OfferSpec::all(name),
            bridge: crate::gateway::spec::Bridge::Park,
            start: crate::gateway::spec::Start::Eager,
            pool: PoolSpec::new(vec![replica.clone()]),
            names: Vec::new(),
            off: None,
        };
        let (id, meters) = (self.numbers.upstream(), Meters::new());
        let (watched, watching) = watch::channel(Arc::default());
        let (place, stir) = (self.numbers.replica(id), Arc::new(Notify::new()));
        let bonds = Bonds::new(1, watching, Arc::clone(&stir));
        let handles = meters.replica(name, "a");
        let replica = Arc::new(Replica::new(spec.name.clone(), replica, handles, place, bonds));
        let rules = spec.pool.clone();
        let counted = meters.pool(name);
        let pool = Pool::new(spec.name.clone(), rules, vec![replica], watched, stir, counted);
        Member { id, spec: Arc::new(spec), pool: Arc::new(pool) }
    }

    /// The first replica of an upstream lists one tool.
    async fn lists(&self, member: &Member, tool: &str) {
        let tool = format!(r#"{{"name":"{tool}","inputSchema":{{"type":"object"}}}}"#);
        let tools = List { items: vec![Bytes::from(tool)], ttl: None, public: true };
        let listing = Listing { tools, ..Listing::default() };
        let what = Happening::Listed { era: Era::Modern, offers: Offers::default(), listing };
        self.events.send(Event { place: member.pool.replicas[0].place, what }).await.unwrap();
    }

    /// Tells that the replicas of an upstream are about to come; resolves when they may start.
    async fn expect(&self, member: &Member, until: Until) -> oneshot::Receiver<()> {
        let replicas = vec![(member.pool.replicas[0].place.replica, until)];
        let ((expected, may_start), (ready, warm)) = (oneshot::channel(), oneshot::channel());
        self.orders.send(Order::Expect { replicas, expected, ready }).await.unwrap();
        may_start.await.unwrap();
        warm
    }

    async fn turn(&self, members: &[&Member]) -> Turned {
        let (turned, done) = oneshot::channel();
        let turn = Turn {
            naming: NamingSpec::default(),
            members: members.iter().copied().cloned().collect(),
            builtins: Arc::clone(&self.builtins),
            memory: None,
            turned,
        };
        self.orders.send(Order::Turn(Box::new(turn))).await.unwrap();
        done.await.unwrap()
    }

    /// The tools that calls see of upstreams.
    fn tools(&self) -> Vec<String> {
        let snapshot = self.gateway.snapshot();
        let names = snapshot.view.catalog.tools().iter().map(|tool| tool.name.to_string());
        names.filter(|name| name.contains("__")).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn what_replicas_list_before_the_turn_is_seen_with_it_and_not_before() {
    let mut stage = Stage::new();
    let (one, two) = (stage.member("one"), stage.member("two"));
    let warm = stage.expect(&one, Until::Tried).await;
    stage.lists(&one, "t").await;
    warm.await.unwrap();
    assert_eq!(stage.tools(), [""; 0]);
    stage.turn(&[&one]).await;
    assert_eq!(stage.tools(), ["one__t"]);
    // The places change, the numbers do not.
    let warm = stage.expect(&two, Until::Up).await;
    stage.lists(&two, "t").await;
    warm.await.unwrap();
    stage.turn(&[&two, &one]).await;
    assert_eq!(stage.tools(), ["two__t", "one__t"]);
    let mut published = stage.gateway.inner.published.subscribe();
    stage.lists(&one, "u").await;
    published.changed().await.unwrap();
    assert_eq!(stage.tools(), ["two__t", "one__u"], "an event finds its upstream");
    stage.turn(&[&two]).await;
    let seen = *stage.gateway.inner.published.borrow();
    stage.lists(&one, "v").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(stage.tools(), ["two__t"], "an event of one that is gone is about nobody");
    assert_eq!(*stage.gateway.inner.published.borrow(), seen);
    assert!(stage.tasks.stop(Duration::from_secs(1)).await);
}

#[tokio::test(start_paused = true)]
async fn a_configuration_is_over_when_the_last_call_that_began_under_it_is() {
    let mut stage = Stage::new();
    let one = stage.member("one");
    let call = stage.gateway.snapshot();
    let first = stage.turn(&[&one]).await;
    let later = stage.gateway.snapshot();
    let second = stage.turn(&[]).await;
    assert!(!first.over.is_cancelled() && !second.over.is_cancelled());
    drop(later);
    assert!(!first.over.is_cancelled() && second.over.is_cancelled());
    drop(call);
    assert!(first.over.is_cancelled());
}

#[tokio::test]
async fn what_was_learned_of_a_replica_stays_when_its_rules_change() {
    let mut stage = Stage::new();
    let (one, two) = (stage.member("one"), stage.member("two"));
    let (known, fresh) = (&one.pool.members[0], &two.pool.replicas[0]);
    known.vital.load.begin();
    let mut spec = one.pool.spec().clone();
    spec.replicas[0].weight = 7;
    spec.replicas.push(spec.replicas[0].clone());
    let replicas = vec![Arc::clone(&known.replica), Arc::clone(fresh)];
    let pool = one.pool.retuned(spec, replicas);
    let busy: Vec<u32> = pool.members.iter().map(|member| member.vital.load.busy()).collect();
    assert_eq!((busy, pool.members[0].weight()), (vec![1, 0], 7));
    known.vital.load.end();
    assert_eq!(pool.members[0].vital.load.busy(), 0, "the call that ended counts at both");
    let again = pool.retuned(pool.spec().clone(), pool.replicas.clone());
    assert!(Arc::ptr_eq(&again.members[0], &pool.members[0]), "nothing has changed");
}
