//! From one configuration to the next while calls run: the new parts are built and brought up, then
//! taken in by one step of the director, then the old ones are left when nobody uses them any more.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::gateway::diff::{Diff, diff};
use crate::gateway::director::{Order, Turn, Turned};
use crate::gateway::memory::Memory;
use crate::gateway::spec::GatewaySpec;
use crate::store::Files;

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
        let diff = diff(&self.live.spec, new);
        if diff.is_empty() {
            return Ok(diff);
        }
        let built = self.live.build(new, &diff);
        self.warm(&built).await?;
        let turned = self.turn(new, &built).await?;
        self.live.adopt(new, &built);
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
        let fresh = built.fresh.iter();
        let replicas = fresh.map(|(replica, until)| (replica.place.replica, *until)).collect();
        self.order(Order::Expect { replicas, expected, ready }).await?;
        may_start.await.map_err(|_gone| ReloadError::Stopping)?;
        self.live.raise(&built.fresh);
        if tokio::time::timeout(WARM_MAX, warm).await.is_err() {
            for (replica, _) in built.fresh.iter().filter(|(replica, _)| !replica.is_up()) {
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
