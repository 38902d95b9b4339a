//! What waypost pays for clients that are there and do nothing, and whether all of it comes back
//! when they go.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::Result;
use crate::content::{Size, UPSTREAMS};
use crate::expected::Expected;
use crate::footprint;
use crate::gateway::{self, Gateway, Launch};
use crate::lane::{Lane, Step, Work};
use crate::limits;
use crate::procfs;
use crate::protocol::Era;
use crate::request::{Ask, Ids, Request};
use crate::session::{self, Session};
use crate::wire::Wire;

const STREAMS: usize = 1_000;
const SESSIONS: usize = 10_000;
/// Opened before the gateway hangs up on the first of them, which it does when one was idle for
/// 10 s.
const CONNECTIONS: usize = 1_000;

/// How often as many are held again.
const AGAIN: usize = 2;

/// Opened and closed before the first reading, so that what is made once is not counted.
const FIRST: usize = 20;

/// How long what was held may take to come back.
const BACK: Duration = Duration::from_secs(15);
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// Connections to upstreams may be opened meanwhile: one more to each is no leak.
const SPARE: usize = UPSTREAMS;

/// The gateway at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State {
    pub(crate) resident_kib: f64,
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
    /// As its metrics say.
    pub(crate) sessions: f64,
    pub(crate) connections: f64,
}

impl State {
    async fn read(gateway: &Gateway) -> Result<Self> {
        let resident_kib = footprint::resident_kib(gateway).await?;
        let metrics = gateway.metrics().await?;
        Ok(Self {
            resident_kib,
            descriptors: procfs::descriptors(gateway.process())?,
            threads: procfs::threads(gateway.process())?,
            sessions: gateway::sum(&metrics, "mcp_sessions{"),
            connections: gateway::sum(&metrics, "mcp_active_connections"),
        })
    }

    /// What of `self` is more than it was before.
    fn left_of(&self, before: &Self) -> Vec<String> {
        let mut left = Vec::new();
        if self.descriptors > before.descriptors + SPARE {
            left.push(format!("{} descriptors of {}", self.descriptors, before.descriptors));
        }
        if self.sessions > before.sessions {
            left.push(format!("mcp_sessions at {}, was {}", self.sessions, before.sessions));
        }
        // One more may be that of the last reading.
        if self.connections > before.connections + 1.0 {
            let (now, was) = (self.connections, before.connections);
            left.push(format!("mcp_active_connections at {now}, was {was}"));
        }
        left
    }
}

/// One kind of idle clients: how many there were, and the gateway before, with them and after.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) what: &'static str,
    pub(crate) count: usize,
    pub(crate) before: State,
    pub(crate) present: State,
    pub(crate) gone: State,
    /// With as many a second and a third time: a leak would make each larger than the last.
    pub(crate) again: Vec<State>,
}

impl Held {
    /// Memory of each, without what the kernel has for its socket.
    pub(crate) fn each_kib(&self) -> f64 {
        let count = f64::from(u32::try_from(self.count).unwrap_or(u32::MAX));
        (self.present.resident_kib - self.before.resident_kib) / count
    }

    pub(crate) fn complaints(&self) -> Vec<String> {
        let left = self.gone.left_of(&self.before);
        left.into_iter().map(|left| format!("after {} went: {left}", self.what)).collect()
    }
}

/// Waits until everything is back, or for as long as that may take.
async fn back(gateway: &Gateway, before: &State) -> Result<State> {
    let until = Instant::now() + BACK;
    loop {
        let state = State::read(gateway).await?;
        if state.left_of(before).is_empty() || Instant::now() > until {
            return Ok(state);
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

fn all_there(what: &str, count: usize, state: &State) -> Result<()> {
    let count = f64::from(u32::try_from(count)?);
    if state.connections < count {
        return Err(format!("of {count} {what} only {} are held", state.connections).into());
    }
    Ok(())
}

/// Modern clients that wait for changes of the list of tools, each on its own connection.
pub(crate) async fn streams(launch: &Launch) -> Result<Held> {
    let what = "listen streams";
    let gateway = launch.start()?;
    gateway.wait_for_tools().await?;
    let lane = gateway.lane(Era::Modern, None);
    drop(listen(&lane, FIRST).await?);
    let before = State::read(&gateway).await?;

    let count = limits::connections(STREAMS);
    let streams = listen(&lane, count).await?;
    let present = State::read(&gateway).await?;
    all_there(what, count, &present)?;
    drop(streams);
    let gone = back(&gateway, &before).await?;

    let mut again = Vec::new();
    for _ in 0..AGAIN {
        let streams = listen(&lane, count).await?;
        again.push(State::read(&gateway).await?);
        drop(streams);
        back(&gateway, &before).await?;
    }
    Ok(Held { what, count, before, present, gone, again })
}

/// Opens subscriptions, each acknowledged.
async fn listen(lane: &Lane, count: usize) -> Result<Vec<TcpStream>> {
    let mut streams = Vec::with_capacity(count);
    let mut outgoing = Vec::new();
    for number in 0..count {
        let mut ids = Ids::new(number);
        let id = ids.advance();
        let sender = session::sender(lane, "/mcp", None);
        Request::new(sender, &Ask::Listen, id.len()).write(id, &mut outgoing);
        let mut wire = Wire::connect(lane.address).await?;
        let event = String::from_utf8_lossy(wire.listen(&outgoing).await?).into_owned();
        let names_it = format!(r#""io.modelcontextprotocol/subscriptionId":{id}"#);
        if !event.contains("notifications/subscriptions/acknowledged") || !event.contains(&names_it)
        {
            return Err(format!("not the acknowledgement of {id}: {event}").into());
        }
        streams.push(wire.into_stream());
    }
    Ok(streams)
}

/// Legacy clients that have made one call each.
#[derive(Debug)]
pub(crate) struct Sessions {
    /// Without connections: theirs have ended.
    pub(crate) alone: Held,
    /// Then with a connection for each.
    pub(crate) connections: Held,
}

pub(crate) async fn sessions(launch: &Launch) -> Result<Sessions> {
    let gateway = launch.start()?;
    gateway.wait_for_tools().await?;
    let lane = gateway.lane(Era::Legacy, None);
    let steps: Vec<Step> = lane.steps(Work::Call(Size::Small)).into_iter().take(1).collect();
    let mut first = Session::open(&lane, 0, &steps).await?;
    let clients = Clients { expected: first.learn(&lane, &steps).await?, lane, steps };
    close(&clients.lane, &[first.into_parts().1]).await?;
    close(&clients.lane, &clients.open(FIRST).await?).await?;
    let before = State::read(&gateway).await?;

    let ids = clients.open(SESSIONS).await?;
    let present = State::read(&gateway).await?;
    let connections = connections(&gateway, &clients, &ids).await?;
    close(&clients.lane, &ids).await?;
    let gone = back(&gateway, &before).await?;

    let mut again = Vec::new();
    for _ in 0..AGAIN {
        let ids = clients.open(SESSIONS).await?;
        again.push(State::read(&gateway).await?);
        close(&clients.lane, &ids).await?;
    }
    let alone = Held { what: "legacy sessions", count: SESSIONS, before, present, gone, again };
    Ok(Sessions { alone, connections })
}

/// Gives sessions that are there a connection each.
async fn connections(gateway: &Gateway, clients: &Clients, ids: &[Option<String>]) -> Result<Held> {
    let what = "connections of sessions";
    let count = limits::connections(CONNECTIONS).min(ids.len());
    let ids = ids.get(..count).unwrap_or_default();
    drop(clients.connect(ids.get(..FIRST).unwrap_or_default()).await?);
    let before = State::read(gateway).await?;

    let streams = clients.connect(ids).await?;
    let present = State::read(gateway).await?;
    all_there(what, count, &present)?;
    drop(streams);
    let gone = back(gateway, &before).await?;

    let mut again = Vec::new();
    for _ in 0..AGAIN {
        let streams = clients.connect(ids).await?;
        again.push(State::read(gateway).await?);
        drop(streams);
        back(gateway, &before).await?;
    }
    Ok(Held { what, count, before, present, gone, again })
}

/// How legacy clients come and call.
struct Clients {
    lane: Lane,
    steps: Vec<Step>,
    expected: Vec<Expected>,
}

impl Clients {
    /// Opens sessions, each with one call so that it has what a used one has, one after the other
    /// on one connection.
    async fn open(&self, count: usize) -> Result<Vec<Option<String>>> {
        let mut ids = Vec::with_capacity(count);
        let mut wire = Wire::connect(self.lane.address).await?;
        for number in 0..count {
            let mut session = Session::open_on(wire, &self.lane, number, &self.steps).await?;
            session.call(0, &self.expected).await?;
            let id;
            (wire, id) = session.into_parts();
            ids.push(id);
        }
        Ok(ids)
    }

    /// A connection for each of these sessions, used for one call.
    async fn connect(&self, ids: &[Option<String>]) -> Result<Vec<TcpStream>> {
        let mut streams = Vec::with_capacity(ids.len());
        for (number, id) in ids.iter().enumerate() {
            let wire = Wire::connect(self.lane.address).await?;
            let mut session = Session::resume(wire, &self.lane, number, &self.steps, id.clone());
            session.call(0, &self.expected).await?;
            streams.push(session.into_parts().0.into_stream());
        }
        Ok(streams)
    }
}

/// Ends sessions as a client does that says goodbye.
async fn close(lane: &Lane, ids: &[Option<String>]) -> Result<()> {
    let mut wire = Wire::connect(lane.address).await?;
    for id in ids.iter().flatten() {
        let (address, version) = (lane.address, lane.era.version());
        let request = format!(
            "DELETE /mcp HTTP/1.1\r\nhost: {address}\r\nmcp-session-id: {id}\r\n\
             mcp-protocol-version: {version}\r\n\r\n"
        );
        let status = wire.exchange(request.as_bytes()).await?.status;
        if !(200..300).contains(&status) {
            return Err(format!("status {status} for the end of a session").into());
        }
    }
    Ok(())
}
