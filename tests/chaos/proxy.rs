//! A TCP proxy that does to connections what networks do: it delays, cuts, resets, swallows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::time::{Draw, now_ms};

/// Connections at once.
const CONNECTIONS_MAX: usize = 2_000;

/// What is read at once.
const CHUNK: usize = 16 * 1024;

/// What happens to connections, those that stand included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Toxic {
    /// Nothing.
    None,
    /// Each piece of an answer waits so many ms, and a random part of so many more.
    Latency(u64, u64),
    /// Connections are reset as soon as they are accepted, and those that stand too.
    Down,
    /// So many bytes a second, each way.
    Bandwidth(u64),
    /// A connection that one side closed is closed to the other so many ms later.
    SlowClose(u64),
    /// Nothing passes, and after so many ms the connection is closed.
    Timeout(u64),
    /// A connection is reset at a random byte, below this, of what passes over it either way.
    Reset(u64),
    /// Answers arrive in pieces of so many bytes, 1 ms apart.
    Slicer(usize),
    /// A connection ends after so many bytes of answers.
    LimitData(u64),
    /// Everything vanishes, and nobody is told.
    HalfOpen,
    /// A request whose op is `cut-K-…` has its answer cut off at byte K: by a reset where that is an
    /// odd byte of the connection, else by a close.
    CutMarked,
}

/// What stands in place of a tool for a legacy handshake.
pub(crate) const INITIALIZE: &str = "(initialize)";

/// A call that passed towards the server, or a legacy handshake.
#[derive(Debug, Clone)]
pub(crate) struct Passed {
    pub(crate) at_ms: u64,
    /// The tool.
    pub(crate) tool: String,
}

#[derive(Debug)]
struct Shared {
    toxic: watch::Sender<Toxic>,
    passed: Mutex<Vec<Passed>>,
    accepted: Mutex<Vec<u64>>,
    draw: Mutex<Draw>,
    cuts: AtomicU64,
    target: u16,
}

/// The proxy; dropping it ends it and every connection.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// In front of a port of this machine.
    pub(crate) async fn start(target: u16, seed: u64) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            toxic: watch::Sender::new(Toxic::None),
            passed: Mutex::default(),
            accepted: Mutex::default(),
            draw: Mutex::new(Draw::new(seed)),
            cuts: AtomicU64::new(0),
            target,
        });
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { port, shared, task })
    }

    /// From now on, for standing connections too.
    pub(crate) fn set(&self, toxic: Toxic) {
        self.shared.toxic.send_replace(toxic);
    }

    /// The calls that passed towards the server.
    pub(crate) fn passed(&self) -> Vec<Passed> {
        self.shared.passed.lock().clone()
    }

    /// When connections were accepted.
    pub(crate) fn accepted(&self) -> Vec<u64> {
        self.shared.accepted.lock().clone()
    }

    /// Connections that were cut short.
    pub(crate) fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        shared.accepted.lock().push(now_ms());
        let room = connections.len() < CONNECTIONS_MAX;
        if *shared.toxic.borrow() == Toxic::Down || !room {
            drop(client.set_zero_linger());
            continue;
        }
        let shared = Arc::clone(&shared);
        connections.spawn(async move { connection(client, &shared).await });
    }
}

/// How a connection comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Close,
    Reset,
}

async fn connection(mut client: TcpStream, shared: &Shared) {
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", shared.target)).await else {
        drop(client.set_zero_linger());
        return;
    };
    drop(client.set_nodelay(true));
    drop(server.set_nodelay(true));
    let line = Line { shared, doom: AtomicU64::new(u64::MAX), bytes: AtomicU64::new(0) };
    let end = {
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = server.split();
        tokio::select! {
            end = line.pump(client_read, server_write, Way::Up) => end,
            end = line.pump(server_read, client_write, Way::Down) => end,
        }
    };
    let slow = *shared.toxic.borrow();
    if let Toxic::SlowClose(ms) = slow {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
    if end == End::Reset {
        drop(client.set_zero_linger());
        drop(server.set_zero_linger());
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Requests.
    Up,
    /// Answers.
    Down,
}

/// One connection.
struct Line<'s> {
    shared: &'s Shared,
    /// The byte of answers (or, for resets, of both) at which it ends.
    doom: AtomicU64,
    /// Bytes of answers so far (or, for resets, of both).
    bytes: AtomicU64,
}

impl Line<'_> {
    async fn pump(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        way: Way,
    ) -> End {
        let mut toxic = self.shared.toxic.subscribe();
        let mut buffer = vec![0; CHUNK];
        let mut swallowed = false;
        loop {
            let now = *toxic.borrow_and_update();
            if now == Toxic::Down
                || (swallowed && !matches!(now, Toxic::HalfOpen | Toxic::Timeout(_)))
            {
                return End::Reset;
            }
            let read = tokio::select! {
                read = from.read(&mut buffer) => read.unwrap_or(0),
                changed = toxic.changed() => {
                    if changed.is_err() { return End::Reset; }
                    continue;
                }
            };
            if read == 0 {
                return End::Close;
            }
            let chunk = buffer.get(..read).unwrap_or_default();
            if way == Way::Up {
                self.note(chunk, now);
            }
            match now {
                Toxic::HalfOpen => swallowed = true,
                Toxic::Timeout(ms) => {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    return End::Close;
                }
                _ => {
                    if let Some(end) = self.pass(chunk, &mut to, (way, now)).await {
                        return end;
                    }
                }
            }
        }
    }

    /// Passes a piece on, or as much of it as passes.
    async fn pass(
        &self,
        chunk: &[u8],
        to: &mut (impl AsyncWrite + Unpin),
        (way, toxic): (Way, Toxic),
    ) -> Option<End> {
        let pause = match toxic {
            Toxic::Latency(ms, jitter) if way == Way::Down => {
                ms + self.shared.draw.lock().below(jitter.max(1))
            }
            Toxic::Bandwidth(rate) => chunk.len() as u64 * 1000 / rate.max(1),
            _ => 0,
        };
        if pause > 0 {
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        if let (Toxic::Slicer(size), Way::Down) = (toxic, way) {
            for slice in chunk.chunks(size.max(1)) {
                if to.write_all(slice).await.is_err() {
                    return Some(End::Close);
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            return None;
        }
        let (left, end) = self.left(way, toxic);
        let passing = chunk.get(..usize::try_from(left).unwrap_or(usize::MAX)).unwrap_or(chunk);
        if to.write_all(passing).await.is_err() {
            return Some(End::Close);
        }
        if passing.len() < chunk.len() {
            self.shared.cuts.fetch_add(1, Ordering::Relaxed);
            return Some(end);
        }
        if way == Way::Down || matches!(toxic, Toxic::Reset(_)) {
            self.bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        }
        None
    }

    /// How many bytes may still pass, and how it ends then.
    fn left(&self, way: Way, toxic: Toxic) -> (u64, End) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        let doom = self.doom.load(Ordering::Relaxed);
        match (toxic, way) {
            (Toxic::Reset(below), _) => {
                if doom == u64::MAX {
                    let drawn = bytes + self.shared.draw.lock().below(below);
                    self.doom.store(drawn, Ordering::Relaxed);
                    return (drawn - bytes, End::Reset);
                }
                (doom.saturating_sub(bytes), End::Reset)
            }
            (Toxic::LimitData(limit), Way::Down) => (limit.saturating_sub(bytes), End::Close),
            (Toxic::CutMarked, Way::Down) => {
                let end = if doom % 2 == 1 { End::Reset } else { End::Close };
                (doom.saturating_sub(bytes), end)
            }
            _ => (u64::MAX, End::Close),
        }
    }

    /// Looks at what goes to the server: is it a call, and is it to be cut?
    fn note(&self, chunk: &[u8], toxic: Toxic) {
        let text = String::from_utf8_lossy(chunk);
        let lower = text.to_ascii_lowercase();
        if lower.contains("mcp-method: tools/call") {
            let tool = lower.split_once("mcp-name: ").map_or("", |(_, rest)| rest);
            let tool = tool.lines().next().unwrap_or_default().trim().to_owned();
            self.shared.passed.lock().push(Passed { at_ms: now_ms(), tool });
        }
        if lower.contains("\"method\":\"initialize\"") {
            let tool = INITIALIZE.to_owned();
            self.shared.passed.lock().push(Passed { at_ms: now_ms(), tool });
        }
        if toxic == Toxic::CutMarked
            && let Some((_, rest)) = text.split_once("\"op\":\"cut-")
            && let Some(offset) = rest.split('-').next().and_then(|digits| digits.parse().ok())
        {
            let bytes = self.bytes.load(Ordering::Relaxed);
            self.doom.store(bytes.saturating_add(offset), Ordering::Relaxed);
        }
    }
}
