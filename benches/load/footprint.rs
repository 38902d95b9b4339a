//! What waypost costs before anyone calls: start, idle memory, idle sessions.

use std::time::{Duration, Instant};

use crate::Result;
use crate::content::Size;
use crate::gateway::{Gateway, Launch};
use crate::lane::{Lane, Step, Work};
use crate::protocol::Era;
use crate::session::Session;
use crate::stats;
use crate::wire::Wire;

const STARTS: usize = 5;
const SESSIONS: u32 = 500;

/// Sessions opened before the first reading, so that what is made once is not counted as theirs.
const FIRST_SESSIONS: u32 = 20;

/// Enough for what a request leaves behind to be put away.
const SETTLE: Duration = Duration::from_millis(300);

/// Times in milliseconds, memory in KiB.
#[derive(Debug)]
pub(crate) struct Footprint {
    pub(crate) start_cold_ms: f64,
    pub(crate) start_cached_ms: f64,
    pub(crate) idle_kib: f64,
    /// For each idle legacy session, with its own connection and without one.
    pub(crate) connected_session_kib: f64,
    pub(crate) session_kib: f64,
}

pub(crate) async fn measure(launch: &Launch) -> Result<Footprint> {
    let (start_cold_ms, gateway) = start(launch).await?;
    gateway.wait_for_tools().await?;
    drop(gateway);

    let mut starts = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        let (time, _gateway) = start(launch).await?;
        starts.push(time);
    }
    let (idle_kib, connected_session_kib) = sessions(launch, Connections::OneEach).await?;
    let (_, session_kib) = sessions(launch, Connections::OneForAll).await?;
    let start_cached_ms = stats::median(&mut starts);
    Ok(Footprint { start_cold_ms, start_cached_ms, idle_kib, connected_session_kib, session_kib })
}

/// Starts it and gives the milliseconds until the first request was answered.
async fn start(launch: &Launch) -> Result<(f64, Gateway)> {
    let started = Instant::now();
    let gateway = launch.start()?;
    Session::open(&gateway.lane(Era::Legacy), 0, &[]).await?;
    Ok((started.elapsed().as_secs_f64() * 1e3, gateway))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Connections {
    OneEach,
    OneForAll,
}

/// Memory of a fresh gateway, and what each session adds to it.
async fn sessions(launch: &Launch, connections: Connections) -> Result<(f64, f64)> {
    let gateway = launch.start()?;
    gateway.wait_for_tools().await?;
    let idle = resident(&gateway).await?;

    let lane = gateway.lane(Era::Legacy);
    let steps = lane.steps(Work::Call(Size::Small));
    let _first = open(&lane, &steps, connections, FIRST_SESSIONS).await?;
    let before = resident(&gateway).await?;
    let _held = open(&lane, &steps, connections, SESSIONS).await?;
    let after = resident(&gateway).await?;
    Ok((idle, (after - before) / f64::from(SESSIONS)))
}

async fn resident(gateway: &Gateway) -> Result<f64> {
    tokio::time::sleep(SETTLE).await;
    Ok(f64::from(u32::try_from(gateway.resident_kib()?)?))
}

/// Opens sessions, each with one call so that it has what a used one has, and gives back their
/// connections, still open.
async fn open(
    lane: &Lane,
    steps: &[Step],
    connections: Connections,
    count: u32,
) -> Result<Vec<Wire>> {
    let mut wires = Vec::new();
    for number in 0..usize::try_from(count)? {
        let shared = if connections == Connections::OneForAll { wires.pop() } else { None };
        let wire = match shared {
            Some(wire) => wire,
            None => Wire::connect(lane.address).await?,
        };
        let mut session = Session::open_on(wire, lane, number, steps).await?;
        session.learn(lane, steps.get(..1).unwrap_or_default()).await?;
        wires.push(session.into_wire());
    }
    Ok(wires)
}
