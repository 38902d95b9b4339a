//! One client: its connection, its MCP session if the era has them, and its prepared requests.

use crate::Result;
use crate::expected::Expected;
use crate::lane::{Lane, Step};
use crate::protocol::Era;
use crate::request::{Ask, Ids, Request, Sender};
use crate::wire::Wire;

/// Enough of a wrong reply to see what it is.
const SHOWN: usize = 300;

pub(crate) struct Session {
    wire: Wire,
    /// What the server calls it, if it does.
    id: Option<String>,
    ids: Ids,
    requests: Vec<Request>,
    /// The request being sent; kept, so that no call but the first allocates.
    outgoing: Vec<u8>,
}

impl Session {
    /// `number` makes its ids differ from those of the other sessions.
    pub(crate) async fn open(lane: &Lane, number: usize, steps: &[Step]) -> Result<Self> {
        Self::open_on(Wire::connect(lane.address).await?, lane, number, steps).await
    }

    /// The same on a connection that is already there.
    pub(crate) async fn open_on(
        wire: Wire,
        lane: &Lane,
        number: usize,
        steps: &[Step],
    ) -> Result<Self> {
        let mut session = Self::bare(wire, number, None);
        let path = steps.first().map_or("/mcp", |step| step.path.as_str());
        if lane.era == Era::Legacy {
            session.id = session.greet(lane, path).await?;
        }
        Ok(session.prepared(lane, steps))
    }

    /// One that is known to the server already, on another connection.
    pub(crate) fn resume(
        wire: Wire,
        lane: &Lane,
        number: usize,
        steps: &[Step],
        id: Option<String>,
    ) -> Self {
        Self::bare(wire, number, id).prepared(lane, steps)
    }

    const fn bare(wire: Wire, number: usize, id: Option<String>) -> Self {
        Self { wire, id, ids: Ids::new(number), requests: Vec::new(), outgoing: Vec::new() }
    }

    fn prepared(mut self, lane: &Lane, steps: &[Step]) -> Self {
        let length = self.ids.advance().len();
        let id = self.id.as_deref();
        let request = |step: &Step| Request::new(sender(lane, &step.path, id), &step.ask, length);
        self.requests = steps.iter().map(request).collect();
        self
    }

    /// Its connection and what the server calls it.
    pub(crate) fn into_parts(self) -> (Wire, Option<String>) {
        (self.wire, self.id)
    }

    /// `initialize` and `notifications/initialized`; gives the session's id.
    async fn greet(&mut self, lane: &Lane, path: &str) -> Result<Option<String>> {
        let id = self.ids.advance();
        let hello = Request::new(sender(lane, path, None), &Ask::Initialize, id.len());
        hello.write(id, &mut self.outgoing);
        let reply = self.wire.exchange(&self.outgoing).await?;
        if reply.status != 200 {
            return Err(wrong("initialize", reply.status, reply.body));
        }
        let session = reply.session;
        let done = Request::new(sender(lane, path, session.as_deref()), &Ask::Initialized, 0);
        done.write("", &mut self.outgoing);
        let reply = self.wire.exchange(&self.outgoing).await?;
        if reply.status != 202 {
            return Err(wrong("notifications/initialized", reply.status, reply.body));
        }
        Ok(session)
    }

    /// Sends each request once and learns what its reply must be from now on.
    pub(crate) async fn learn(&mut self, lane: &Lane, steps: &[Step]) -> Result<Vec<Expected>> {
        let mut expected = Vec::with_capacity(steps.len());
        for (index, step) in steps.iter().enumerate() {
            let (id, body) = self.send(index).await?;
            let learned = lane.expect(&step.want, id, body).and_then(|expect| {
                if expect.matches(id, body) { Ok(expect) } else { Err("other bytes".into()) }
            });
            let explain =
                |error| format!("{error}; {}", wrong(&format!("{:?}", step.ask), 200, body));
            expected.push(learned.map_err(explain)?);
        }
        Ok(expected)
    }

    /// One call, its reply checked.
    pub(crate) async fn call(&mut self, index: usize, expected: &[Expected]) -> Result<()> {
        let expect = expected.get(index).ok_or("no such call")?;
        let (id, body) = self.send(index).await?;
        if expect.matches(id, body) { Ok(()) } else { Err(wrong(id, 200, body)) }
    }

    /// Sends a prepared request and gives its id and the body of its reply.
    async fn send(&mut self, index: usize) -> Result<(&str, &[u8])> {
        let Self { wire, ids, requests, outgoing, .. } = self;
        let request = requests.get(index).ok_or("no such request")?;
        let id = ids.advance();
        request.write(id, outgoing);
        let reply = wire.exchange(outgoing).await?;
        if reply.status == 200 && reply.json {
            Ok((id, reply.body))
        } else {
            Err(wrong(id, reply.status, reply.body))
        }
    }
}

pub(crate) fn sender<'a>(lane: &Lane, path: &'a str, session: Option<&'a str>) -> Sender<'a> {
    Sender { address: lane.address, path, era: lane.era, session }
}

fn wrong(what: &str, status: u16, body: &[u8]) -> crate::Error {
    let start = String::from_utf8_lossy(body.get(..SHOWN).unwrap_or(body)).into_owned();
    format!("wrong reply to {what}: status {status}, {} bytes: {start}", body.len()).into()
}
