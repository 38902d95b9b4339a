//! The bounds of parked calls, at their edge: who parks one more than there may be loses the oldest,
//! whose server is told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use waypost::base::Tasks;
use waypost::gateway::spec::{CacheSpec, GatewaySpec};

use crate::chance::Dice;
use crate::ledger::Ledger;

use super::books::Books;
use super::client::{Client, Way, Who};
use super::order::{Comeback, Ending, KINDS, Order, Reply};
use super::server::{Server, Traits};
use super::wire::Servers;
use super::{House, PARKED_ALL, PARKED_OWN, house, upstream};

/// A call that asks once, and whose client does not come back.
fn forgets() -> Order {
    Order {
        upstream: 0,
        rounds: vec![vec![KINDS[0]]],
        ending: Ending::Well,
        pace: 0,
        reply: Reply::Answer,
        comebacks: vec![Comeback::Never],
        think: Duration::ZERO,
        leaves: None,
        cancels: None,
    }
}

/// A gateway in front of one legacy server, with room for many calls, and so many clients.
async fn stage(
    books: &Books,
    outside: &Tasks,
    clients: usize,
) -> (House, Servers, Vec<Arc<Client>>) {
    let traits =
        Traits { name: "s".to_owned(), upstream: 0, child: false, modern: false, dawdles: 0 };
    let server = Server::new(traits, books.clone(), outside.clone(), Dice::new(1));
    let servers = Arc::new(BTreeMap::from([("s".to_owned(), Arc::new(server))]));
    let mut own = upstream(0, &[&servers["s"].traits]);
    (own.pool.limits.inflight, own.pool.limits.inflight_http) = (2_000, 2_000);
    let cache = CacheSpec { enabled: false, dir: None };
    let spec = GatewaySpec { upstreams: vec![own], cache, ..GatewaySpec::default() };
    let house = house(&spec, &servers, outside);
    house.app.settled(Duration::from_secs(20)).await;
    let mut all = Vec::new();
    for number in 0..clients {
        let capabilities = json!({ "elicitation": { "form": {} } });
        let who = Who { number, modern: true, capabilities, member: None, stranger: None };
        let way = Way::Http(house.door.clone());
        all.push(Arc::new(Client::new(who, way, books.clone(), outside.clone()).await));
    }
    (house, servers, all)
}

#[tokio::test(start_paused = true)]
async fn a_call_that_asks_while_the_gateway_stops_is_not_parked_any_more() {
    let (books, outside) = (Books::new(Ledger::new()), Tasks::new());
    let (house, servers, clients) = stage(&books, &outside, 1).await;
    // Once, so that its kind has a session at the server.
    clients[0].call(&forgets(), false).await;
    let (client, order) = (Arc::clone(&clients[0]), Order { pace: 100, ..forgets() });
    let call = outside.spawn(async move { client.call(&order, false).await });
    let both = async {
        while server_waits(&servers) < 2 {
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), both).await.unwrap();
    let gateway = house.app.gateway.clone();
    house.app.stop().await;
    call.await.unwrap();
    assert_eq!(gateway.parked(), 0);
    let ends = books.tally();
    let ends = (ends.get("never came back"), ends.get("an error"));
    assert_eq!(ends, (Some(&1), Some(&1)), "the second one is told that the gateway stops");
    outside.stop(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn the_oldest_parked_call_of_a_client_and_of_all_gives_way_and_its_server_is_told() {
    let (books, outside) = (Books::new(Ledger::new()), Tasks::new());
    let clients = PARKED_ALL / PARKED_OWN + 2;
    let (house, servers, all) = stage(&books, &outside, clients).await;
    let (order, gateway) = (forgets(), &house.app.gateway);
    for round in 0..PARKED_OWN + 3 {
        for client in &all {
            client.call(&order, false).await;
        }
        let most = PARKED_ALL.min(clients * (round + 1).min(PARKED_OWN));
        // What gives way may still be on its way out; what is counted is the table.
        assert_eq!(gateway.parked(), most, "after {} calls of each", round + 1);
    }
    // Servers are told by messages of their own.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let parked = PARKED_ALL;
    assert_eq!(server_waits(&servers), parked, "those that gave way are over at their server");
    tokio::time::sleep(Duration::from_mins(11)).await;
    assert_eq!((gateway.parked(), server_waits(&servers)), (0, 0));
    house.app.stop().await;
    books.closes();
    assert_eq!(books.ledger.breaches(), Vec::<String>::new());
    outside.stop(Duration::from_secs(1)).await;
}

fn server_waits(servers: &Servers) -> usize {
    servers.values().map(|server| server.active()).sum()
}
