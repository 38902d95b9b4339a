//! From one configuration to the next while calls run: the new parts are built and brought up, then
//! taken in by one step of the director, then the old ones are left when nobody uses them any more.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::gateway::diff::{Diff, diff};
use crate::gateway::director::{Order, Turn, Turned};
use crate::gateway::memory::Memory;
use crate::gateway::spec::GatewaySpec;
use crate::gateway::spread::spread;
use crate::store::Files;
use crate::upstream::nap::Phase;

use super::live::{Built, Gone};
use super::{App, cache_folder};

/// New replicas have so long to come up before the old ones leave; then they are taken in as they
/// are.
const WARM_MAX: Duration = Duration::from_secs(5);

/// A reload that did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReloadError {
    /// There is nobody to take it in.
    #[error("the gateway is stopping")]
    Stopping,
}

impl App {
    /// Goes over to another configuration, and answers what has changed. Calls that run go on to
    /// their end; what is no longer in the configuration is stopped when no call uses it, or after
    /// `grace`. An upstream that stays the same notices nothing.
    pub async fn reload(
        &mut self,
        new: &GatewaySpec,
        grace: Duration,
    ) -> Result<Diff, ReloadError> {
        self.discovery.follow(new);
        self.discovery.first().await;
        self.configured = new.clone();
        self.readdress(grace).await
    }

    /// Resolves when a host name whose addresses are replicas stands for other addresses. Nothing is
    /// lost when it is dropped before. Names are looked up while this is waited for.
    pub async fn moved(&mut self) {
        self.discovery.moved().await;
    }

    /// Goes over to the addresses that are known now, as a reload of the same configuration would.
    pub async fn readdress(&mut self, grace: Duration) -> Result<Diff, ReloadError> {
        let new = spread(&self.configured, self.discovery.known());
        self.go_over(&new, grace).await
    }

    async fn go_over(&mut self, new: &GatewaySpec, grace: Duration) -> Result<Diff, ReloadError> {
        let diff = diff(&self.live.spec, new);
        if diff.is_empty() {
            return Ok(diff);
        }
        let folder = cache_folder(&new.cache, self.cache_dir.clone());
        let built = self.live.build(new, &diff, &Memory::new(folder.map(Files::new)));
        self.warm(&built).await?;
        let turned = self.turn(new, &built).await?;
        self.live.adopt(new, &built);
        self.gateway.keep_at_most(new.keep);
        self.part(built, turned, grace);
        Ok(diff)
    }

    /// Brings the new replicas up.
    async fn warm(&mut self, built: &Built) -> Result<(), ReloadError> {
        if built.fresh.is_empty() {
            return Ok(());
        }
        let (expected, may_start) = oneshot::channel();
        let (ready, warm) = oneshot::channel();
        // One that begins asleep has nothing to tell.
        let fresh = built.fresh.iter().filter(|(replica, _)| replica.phase() != Phase::Asleep);
        let replicas = fresh.map(|(replica, until)| (replica.place.replica, *until)).collect();
        self.order(Order::Expect { replicas, expected, ready }).await?;
        may_start.await.map_err(|_gone| ReloadError::Stopping)?;
        self.live.raise(&built.fresh);
        if tokio::time::timeout(WARM_MAX, warm).await.is_err() {
            for (replica, _) in built.fresh.iter().filter(|(replica, _)| !replica.is_usable()) {
                let (upstream, replica) = (&replica.upstream, &replica.spec.name);
                tracing::warn!(%upstream, %replica, "not up yet; it is taken in as it is");
            }
        }
        Ok(())
    }

    /// Makes calls see the new parts.
    async fn turn(&self, new: &GatewaySpec, built: &Built) -> Result<Turned, ReloadError> {
        let elsewhere = (self.live.spec.cache != new.cache)
            .then(|| cache_folder(&new.cache, self.cache_dir.clone()).map(Files::new));
        let (turned, done) = oneshot::channel();
        let turn = Turn {
            naming: new.naming.clone(),
            members: built.members.clone(),
            builtins: std::sync::Arc::clone(&built.builtins),
            memory: elsewhere.map(Memory::new),
            turned,
        };
        self.order(Order::Turn(Box::new(turn))).await?;
        done.await.map_err(|_gone| ReloadError::Stopping)
    }

    async fn order(&self, order: Order) -> Result<(), ReloadError> {
        self.orders.send(order).await.map_err(|_gone| ReloadError::Stopping)
    }

    /// Lets the old parts go in their own time.
    fn part(&self, built: Built, turned: Turned, grace: Duration) {
        let stop = self.keepers.stop_token().clone();
        for (replica, before, now) in built.resized {
            let stop = stop.clone();
            self.keepers.spawn(async move {
                tokio::select! {
                    () = replica.resize(before, now) => {}
                    () = stop.cancelled() => {}
                }
            });
        }
        if built.gone.is_empty() {
            return;
        }
        let gone = built.gone;
        self.keepers.spawn(async move {
            tokio::select! {
                () = drain(gone, turned, grace) => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

/// Stops replicas when no call uses them any more, or after `grace`.
async fn drain(gone: Vec<Gone>, turned: Turned, grace: Duration) {
    let quiet = async {
        // Who began under the old configuration may still choose one of them.
        turned.over.cancelled().await;
        for gone in &gone {
            gone.replica.quiet(gone.bound).await;
        }
    };
    if tokio::time::timeout(grace, quiet).await.is_err() {
        tracing::warn!("calls did not end within the grace; their replicas are stopped");
    }
    let stops = gone.iter().map(|gone| &gone.stop).chain(&turned.beside);
    stops.for_each(CancellationToken::cancel);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use tokio::sync::watch;

    use super::*;
    use crate::base::{ReplicaName, UpstreamName};
    use crate::telemetry::Meters;
    use crate::upstream::Replica;
    use crate::upstream::place::Numbers;
    use crate::upstream::replica::Bonds;
    use crate::upstream::spec::{EraPolicy, HttpSpec, ReplicaKind, ReplicaSpec, Transport};

    const BOUND: usize = 3;

    fn gone(stop: &CancellationToken) -> Gone {
        let kind = HttpSpec {
            url: "http://127.0.0.1:1/mcp".parse().unwrap(),
            headers: Vec::new(),
            address: None,
            transport: Transport::Auto,
        };
        let spec = ReplicaSpec {
            name: ReplicaName::new("a").unwrap(),
            kind: ReplicaKind::Http(kind),
            era: EraPolicy::Auto,
            weight: 1,
            tier: 0,
            labels: BTreeMap::new(),
        };
        let mut numbers = Numbers::default();
        let id = numbers.upstream();
        let bonds = Bonds::new(BOUND, watch::channel(Arc::default()).1, Arc::default());
        let (upstream, meters) = (UpstreamName::new("u").unwrap(), Meters::new().replica("u", "a"));
        let replica = Arc::new(Replica::new(upstream, spec, meters, numbers.replica(id), bonds));
        Gone { replica, bound: BOUND, stop: stop.clone() }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_gone_stops_after_the_last_call_that_may_use_it_or_after_the_grace() {
        let grace = Duration::from_secs(30);
        for (old_calls, its_calls, longest) in
            [(2, 0, 2), (0, 3, 3), (2, 5, 5), (5, 2, 5), (90, 0, 30), (0, 90, 30)]
        {
            let (over, stop, beside) =
                (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
            let gone = gone(&stop);
            let permit = Arc::clone(&gone.replica.permits).try_acquire_owned().unwrap();
            let turned = Turned { over: over.clone(), beside: vec![beside.clone()] };
            let calls = async {
                tokio::time::sleep(Duration::from_secs(old_calls)).await;
                over.cancel();
            };
            let at_it = async {
                tokio::time::sleep(Duration::from_secs(its_calls)).await;
                drop(permit);
            };
            let began = crate::base::clock::now();
            let drained = async {
                drain(vec![gone], turned, grace).await;
                (
                    (crate::base::clock::now() - began).as_secs(),
                    stop.is_cancelled(),
                    beside.is_cancelled(),
                )
            };
            let (told, ..) = tokio::join!(drained, calls, at_it);
            assert_eq!(told, (longest, true, true), "{old_calls} {its_calls}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_bound_of_calls_grows_at_once_and_shrinks_as_calls_end() {
        let replica = gone(&CancellationToken::new()).replica;
        replica.resize(BOUND, 5).await;
        let taken: Vec<_> =
            (0..5).map(|_| Arc::clone(&replica.permits).try_acquire_owned().unwrap()).collect();
        let shrinking = tokio::time::timeout(Duration::from_secs(9), replica.resize(5, 2));
        let ending = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(taken);
        };
        assert!(tokio::join!(shrinking, ending).0.is_ok());
        assert_eq!(replica.permits.available_permits(), 2);
    }
}
