//! What waypost costs before anyone calls: start and idle memory.

use std::time::{Duration, Instant};

use crate::Result;
use crate::gateway::{Gateway, Launch};
use crate::protocol::Era;
use crate::session::Session;
use crate::stats;

const STARTS: usize = 5;

/// Enough for what a request leaves behind to be put away.
pub(crate) const SETTLE: Duration = Duration::from_millis(300);

/// Children of the configuration that is built in.
const BUILT_IN_REPLICAS: f64 = 3.0;

/// Times in milliseconds, memory in KiB.
#[derive(Debug)]
pub(crate) struct Footprint {
    pub(crate) start_cold_ms: f64,
    pub(crate) start_cached_ms: f64,
    /// With the configuration that is built in, its children up; theirs is not in it.
    pub(crate) idle_built_in_kib: f64,
    /// With the upstreams of the bench, all their tools listed.
    pub(crate) idle_kib: f64,
}

pub(crate) async fn measure(launch: &Launch, built_in: &Launch) -> Result<Footprint> {
    let (start_cold_ms, gateway) = start(launch).await?;
    gateway.wait_for_tools().await?;
    let idle_kib = resident_kib(&gateway).await?;
    drop(gateway);

    let mut starts = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        let (time, _gateway) = start(launch).await?;
        starts.push(time);
    }
    let start_cached_ms = stats::median(&mut starts);

    let gateway = built_in.start()?;
    gateway.wait_for("mcp_upstream_up{", BUILT_IN_REPLICAS).await?;
    let idle_built_in_kib = resident_kib(&gateway).await?;
    Ok(Footprint { start_cold_ms, start_cached_ms, idle_built_in_kib, idle_kib })
}

/// Starts it and gives the milliseconds until the first request was answered.
async fn start(launch: &Launch) -> Result<(f64, Gateway)> {
    let started = Instant::now();
    let gateway = launch.start()?;
    Session::open(&gateway.lane(Era::Legacy, None), 0, &[]).await?;
    Ok((started.elapsed().as_secs_f64() * 1e3, gateway))
}

/// Of a gateway that has come to rest.
pub(crate) async fn resident_kib(gateway: &Gateway) -> Result<f64> {
    tokio::time::sleep(SETTLE).await;
    Ok(f64::from(u32::try_from(gateway.resident_kib()?)?))
}
