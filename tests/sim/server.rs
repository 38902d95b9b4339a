//! Simulated servers behind URLs: a dialler that makes pipes, and HTTP/1.1 at their other end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use serde_json::Value;
use tokio::io::{
    AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, duplex, split,
};
use tokio_util::sync::CancellationToken;
use waypost::egress::{Dial, Dialed, Duplex};

use crate::chance::Dice;
use crate::faults::Dialled;
use crate::host::{Era, Host, Hosts, NO_SESSION, Script, Step};

/// Connects to the hosts.
#[derive(Debug)]
pub(crate) struct Net(pub(crate) Hosts);

impl Dial for Net {
    fn dial(&self, to: &Uri) -> Dialed {
        let host = Arc::clone(&self.0[to.host().unwrap_or_default()]);
        Box::pin(async move { connect(host).await })
    }
}

async fn connect(host: Arc<Host>) -> io::Result<Box<dyn Duplex>> {
    let mut dice = host.dice();
    tokio::time::sleep(dice.millis(10)).await;
    let dialled = host.dialled();
    if dialled != Dialled::Well {
        host.ledger.note(format!("a connection to {}: {dialled:?}", host.name()));
    }
    match dialled {
        Dialled::Refused => return Err(io::ErrorKind::ConnectionRefused.into()),
        Dialled::Hole => return std::future::pending().await,
        Dialled::Well | Dialled::Cut(_) | Dialled::Deaf(_) => {}
    }
    let (ours, theirs) = duplex(dice.pick(&[128, 2_048, 65_536]));
    let life = host.life();
    let served = Arc::clone(&host);
    host.tasks.spawn(async move {
        let (from, to) = split(theirs);
        let mut connection = Connection {
            host: served,
            from,
            to,
            left: dialled,
            limit: None,
            head: Vec::new(),
            dice,
        };
        tokio::select! {
            biased;
            () = life.cancelled() => {}
            () = connection.serve(&life) => return,
        }
        if connection.host.is_silent() {
            // Half-open: nothing comes any more, and nothing is closed.
            connection.host.tasks.stop_token().cancelled().await;
        }
    });
    Ok(Box::new(ours))
}

struct Connection {
    host: Arc<Host>,
    from: ReadHalf<DuplexStream>,
    to: WriteHalf<DuplexStream>,
    left: Dialled,
    /// How much may still be written, and whether it stops or breaks then.
    limit: Option<(usize, bool)>,
    head: Vec<u8>,
    dice: Dice,
}

/// The connection is over.
struct Over;

struct Asked {
    method: String,
    session: Option<String>,
    body: Vec<u8>,
}

impl Connection {
    async fn serve(&mut self, life: &CancellationToken) {
        while let Ok(asked) = self.request().await {
            if self.respond(asked, life).await.is_err() {
                return;
            }
        }
    }

    /// The next bytes of the client.
    async fn more(&mut self) -> Result<(), Over> {
        self.host.thaw().await;
        let mut buffer = [0_u8; 512];
        if self.host.is_healed() {
            self.left = Dialled::Well;
        }
        let most = match self.left {
            Dialled::Cut(0) => {
                self.host.ledger.trouble(format!("{} cuts a request off", self.host.name()));
                return Err(Over);
            }
            Dialled::Deaf(0) => {
                self.host.ledger.trouble(format!("{} reads no more", self.host.name()));
                self.host.healed().await;
                return Err(Over);
            }
            Dialled::Cut(left) | Dialled::Deaf(left) => left.min(buffer.len()),
            _ => buffer.len(),
        };
        let count = self.from.read(&mut buffer[..most]).await.map_err(|_closed| Over)?;
        if count == 0 {
            return Err(Over);
        }
        match &mut self.left {
            Dialled::Cut(left) | Dialled::Deaf(left) => *left -= count,
            _ => {}
        }
        self.head.extend_from_slice(&buffer[..count]);
        Ok(())
    }

    async fn request(&mut self) -> Result<Asked, Over> {
        let end = loop {
            if let Some(at) = self.head.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        let head = String::from_utf8(self.head[..end].to_vec()).unwrap();
        let header = |wanted: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            let mut values = lines.filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            values.next().map(|(_, value)| value.to_owned())
        };
        let length = header("content-length").map_or(0, |text| text.parse::<usize>().unwrap());
        let (session, method) = (header("mcp-session-id"), head.split(' ').next().unwrap());
        let method = method.to_owned();
        while self.head.len() < end + length {
            self.more().await?;
        }
        let body = self.head[end..end + length].to_vec();
        self.head.drain(..end + length);
        self.host.thaw().await;
        Ok(Asked { method, session, body })
    }

    async fn respond(&mut self, asked: Asked, life: &CancellationToken) -> Result<(), Over> {
        match asked.method.as_str() {
            "DELETE" => return self.write(&status(200, None)).await,
            "GET" if self.host.traits.tells_changes => return self.stand(false).await,
            "GET" => return self.write(&status(405, None)).await,
            _ => {}
        }
        let message: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        let script = self.host.plan(&message, asked.session.as_deref());
        if script.stands {
            return self.stand(true).await;
        }
        if message.get("id").is_none() && script.steps.is_empty() {
            return self.write(&status(202, None)).await;
        }
        let Some(op) = script.op else {
            return self.follow(script).await;
        };
        let id = message["id"].clone();
        let channel = match (self.host.traits.era, asked.session) {
            (Era::Legacy, session) => session.unwrap_or_else(|| NO_SESSION.to_owned()),
            // Nothing but the connection tells two clients apart.
            (Era::Modern, _) => format!("connection {}", self.dice.between(0, 1 << 60)),
        };
        let unwanted = self.host.enters(&channel, &id, op);
        let host = Arc::clone(&self.host);
        let outcome = tokio::select! {
            biased;
            () = unwanted.cancelled() => Err(Over),
            () = life.cancelled() => return Err(Over),
            outcome = self.follow_or_closed(script, op) => outcome,
        };
        host.leaves(&channel, &id);
        outcome
    }

    /// Follows a script until the client closes the connection: a modern server stops then, a
    /// legacy one goes on with what it does.
    async fn follow_or_closed(&mut self, script: Script, op: u64) -> Result<(), Over> {
        let rest: Vec<Step> = script.steps.clone();
        let mut done = 0;
        let closed = {
            let Self { host, from, to, limit, .. } = self;
            let mut byte = [0_u8; 1];
            let mut out = Out { host, to, limit, stream: None };
            tokio::select! {
                biased;
                outcome = out.follow(&rest, &mut done) => return outcome,
                read = from.read(&mut byte) => read,
            }
        };
        if matches!(closed, Ok(1)) {
            self.host.ledger.breach(format!("{} got a request too early", self.host.name()));
        }
        if self.host.traits.era == Era::Modern {
            self.host.thaw().await;
            self.host.ledger.cancels(op, self.host.name());
            return Err(Over);
        }
        self.host.ledger.note(format!("{} goes on alone with op {op}", self.host.name()));
        for step in rest.into_iter().skip(done) {
            match step {
                Step::Wait(time) => tokio::time::sleep(time).await,
                Step::Run(op) => {
                    self.host.thaw().await;
                    self.host.ledger.runs(op, self.host.name());
                }
                _ => {}
            }
        }
        Err(Over)
    }

    async fn follow(&mut self, script: Script) -> Result<(), Over> {
        let Self { host, to, limit, .. } = self;
        let mut out = Out { host, to, limit, stream: None };
        if let Some(session) = &script.session {
            out.stream = Some(format!("mcp-session-id: {session}\r\n"));
        }
        out.follow(&script.steps, &mut 0).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Over> {
        let Self { host, to, limit, .. } = self;
        Out { host, to, limit, stream: None }.write(bytes).await
    }

    /// A stream that tells when lists change.
    async fn stand(&mut self, modern: bool) -> Result<(), Over> {
        self.write(SSE_HEAD).await?;
        if modern {
            let text = r#"{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{}}"#;
            self.write(&chunk(text)).await?;
        }
        let host = Arc::clone(&self.host);
        let mut byte = [0_u8; 1];
        loop {
            tokio::select! {
                biased;
                _ = self.from.read(&mut byte) => return Err(Over),
                () = host.changed.notified() => {}
            }
            let text = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
            self.write(&chunk(text)).await?;
        }
    }
}

const SSE_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// An event as one chunk.
fn chunk(message: &str) -> Vec<u8> {
    let event = format!("data: {message}\n\n");
    format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()
}

fn status(status: u16, after: Option<u64>) -> Vec<u8> {
    let after = after.map_or_else(String::new, |after| format!("retry-after: {after}\r\n"));
    format!("HTTP/1.1 {status} X\r\n{after}content-length: 0\r\n\r\n").into_bytes()
}

fn document(status: u16, extra: &str, body: &str) -> Vec<u8> {
    let kind = "content-type: application/json";
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\n{kind}\r\n{extra}content-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// The way out of one response.
struct Out<'a> {
    host: &'a Arc<Host>,
    to: &'a mut WriteHalf<DuplexStream>,
    limit: &'a mut Option<(usize, bool)>,
    /// More lines of the head.
    stream: Option<String>,
}

impl Out<'_> {
    /// Does what a script says; `done` counts its steps.
    async fn follow(&mut self, steps: &[Step], done: &mut usize) -> Result<(), Over> {
        let tells = steps.iter().any(|step| matches!(step, Step::Tell(_)));
        let answers = steps.iter().filter(|step| matches!(step, Step::Answer(_))).count();
        let called = steps.iter().any(|step| matches!(step, Step::Run(_)));
        let streams = tells || answers > 1 || (called && self.host.traits.streams);
        let mut headed = false;
        for step in steps {
            if let Step::Wait(time) = step {
                tokio::time::sleep(*time).await;
            }
            self.host.thaw().await;
            *done += 1;
            match step {
                Step::Run(op) => self.host.ledger.runs(*op, self.host.name()),
                Step::Tell(message) | Step::Answer(message) if streams => {
                    if !std::mem::replace(&mut headed, true) {
                        self.write(SSE_HEAD).await?;
                    }
                    self.write(&chunk(&message.to_string())).await?;
                }
                Step::Wait(_) | Step::Tell(_) => {}
                Step::Answer(message) => {
                    let extra = self.stream.take().unwrap_or_default();
                    let answer = document(200, &extra, &message.to_string());
                    return self.write(&answer).await;
                }
                Step::Refuse(status, message) => {
                    return self.write(&document(*status, "", &message.to_string())).await;
                }
                Step::Garbage if headed => self.write(&chunk("<html>oops</html>")).await?,
                Step::Garbage => {
                    return self.write(&document(200, "", "<html>oops</html>")).await;
                }
                // A stream that began has no status any more: it breaks.
                Step::Status(..) if headed => return Err(Over),
                Step::Status(code, after) => return self.write(&status(*code, *after)).await,
                Step::Limit { bytes, stall } => *self.limit = Some((*bytes, *stall)),
                Step::Hang => return std::future::pending().await,
                Step::Crash => {
                    self.host.dies(false);
                    let host = Arc::clone(self.host);
                    self.host.tasks.spawn(async move {
                        tokio::time::sleep(Duration::from_millis(300)).await;
                        host.rises();
                    });
                    return std::future::pending().await;
                }
            }
        }
        if headed {
            self.write(b"0\r\n\r\n").await?;
        }
        if headed { Ok(()) } else { Err(Over) }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Over> {
        self.host.thaw().await;
        let (bytes, end) = match self.limit.filter(|_| !self.host.is_healed()) {
            Some((left, stall)) if left < bytes.len() => (&bytes[..left], Some(stall)),
            Some((left, stall)) => {
                *self.limit = Some((left - bytes.len(), stall));
                (bytes, None)
            }
            None => (bytes, None),
        };
        self.to.write_all(bytes).await.map_err(|_closed| Over)?;
        match end {
            None => Ok(()),
            Some(false) => {
                self.host.ledger.trouble(format!("{} breaks within an answer", self.host.name()));
                Err(Over)
            }
            Some(true) => {
                self.host.ledger.trouble(format!("{} stops within an answer", self.host.name()));
                self.host.healed().await;
                Err(Over)
            }
        }
    }
}
