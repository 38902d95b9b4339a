//! The stdio transport: one JSON-RPC message a line, one task that writes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::era::{self, Era};
use super::inflight::Inflight;
use super::outlet::{self, Frame, Outlet};
use super::quirks::{CRASH_CODE, Quirk};
use super::server::{Server, leave};
use super::session::Session;
use super::wire::{self, Inbound, Notification, Request, RpcError, code};
use super::{legacy, modern};

/// The longest line that is read as a message.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long running calls may go on after stdin ended.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The one peer at the other end.
struct Peer {
    server: Arc<Server>,
    out: Outlet,
    calls: TaskTracker,
    session: Option<Arc<Session>>,
    /// Modern requests; legacy ones belong to their session.
    inflight: Arc<Inflight>,
    /// The era of the first accepted message, if that binds.
    locked: Option<Era>,
}

/// Serves until stdin ends.
pub(super) async fn serve(server: Arc<Server>) -> anyhow::Result<()> {
    let (out, frames) = outlet::pair();
    let mut writer = server.tasks.spawn(write(frames, server.quirks.has(&Quirk::DoubleAnswer)));
    noise(&server, &out).await;
    let mut peer = Peer {
        server: Arc::clone(&server),
        out,
        calls: TaskTracker::new(),
        session: None,
        inflight: Arc::default(),
        locked: None,
    };
    let mut lines = Lines { from: BufReader::new(tokio::io::stdin()), line: Vec::new() };
    loop {
        let line = tokio::select! {
            line = lines.next() => line?,
            // Nobody reads: stdin may stay open for ever, and a return would wait for it.
            _ = &mut writer => leave(0),
        };
        match line {
            Line::Text(line) => peer.take(&line).await,
            Line::TooLong => peer.refuse_line().await,
            Line::End => break,
        }
    }
    if server.quirks.has(&Quirk::IgnoreSigterm) {
        std::future::pending::<()>().await;
    }
    server.closing.cancel();
    peer.calls.close();
    // Calls that hang are let go: their client left without them.
    drop(tokio::time::timeout(LAST_WORDS, peer.calls.wait()).await);
    drop(peer);
    if tokio::time::timeout(LAST_WORDS, writer).await.is_err() {
        leave(0);
    }
    Ok(())
}

/// What the quirks print that is no message.
async fn noise(server: &Arc<Server>, out: &Outlet) {
    if server.quirks.has(&Quirk::Banner) {
        let banner = "Demo server starting up...\nlistening {on stdio}\n";
        out.send(Frame::Raw(Bytes::from_static(banner.as_bytes()))).await;
    }
    if server.quirks.has(&Quirk::Garbage) {
        let (out, closing) = (out.clone(), server.closing.clone());
        server.tasks.spawn(async move {
            while !closing.is_cancelled() {
                out.send(Frame::Raw(Bytes::from_static(b"debug: this is no JSON\n"))).await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }
}

/// The only place that touches stdout. Ends when nobody sends or nobody reads.
async fn write(mut frames: mpsc::Receiver<Frame>, twice: bool) {
    let mut stdout = tokio::io::stdout();
    while let Some(frame) = frames.recv().await {
        let bytes = match frame {
            Frame::Last(message) if twice => Bytes::from(format!("{message}\n{message}\n")),
            Frame::Message(message) | Frame::Last(message) => Bytes::from(format!("{message}\n")),
            Frame::Raw(bytes) => bytes,
        };
        if stdout.write_all(&bytes).await.is_err() || stdout.flush().await.is_err() {
            return;
        }
    }
}

// === impl Peer ===

impl Peer {
    async fn take(&mut self, line: &[u8]) {
        if line.trim_ascii().is_empty() {
            return;
        }
        self.server.record(|| json!({"line": String::from_utf8_lossy(line)}));
        if wire::is_batch(line) {
            let error = RpcError::new(code::INVALID_REQUEST, "Batches are not supported");
            return self.answer(error.response(&Value::Null)).await;
        }
        match wire::parse(line) {
            Ok(Inbound::Request(request)) => self.request(request).await,
            Ok(Inbound::Notification(notification)) => self.notified(&notification),
            Ok(Inbound::Response(response)) => {
                if let Some(session) = &self.session {
                    session.answered(&response.id, response.body);
                }
            }
            Err(unread) => self.answer(unread.error.response(&unread.id)).await,
        }
    }

    async fn refuse_line(&self) {
        let error = RpcError::new(code::INVALID_REQUEST, "The line is too long");
        self.answer(error.response(&Value::Null)).await;
    }

    async fn answer(&self, answer: Value) {
        self.out.send(Frame::Last(answer)).await;
    }

    async fn request(&mut self, request: Request) {
        let quirks = &self.server.quirks;
        let early = self.session.is_none() && request.method != "initialize";
        if early && quirks.has(&Quirk::ExitOnDiscover) {
            self.server.say("exits: this request came before initialize");
            leave(CRASH_CODE);
        }
        let id = request.id.clone();
        let done = match self.accept(&request) {
            Ok(Era::Legacy) if request.method == "initialize" => self.initialize(&request),
            Ok(Era::Legacy) => self.legacy(request),
            Ok(Era::Modern) => self.modern(request),
            Err(error) => Err(error),
        };
        match done {
            Ok(Some(answer)) => self.answer(answer).await,
            Ok(None) => {}
            Err(error) => self.answer(error.response(&id)).await,
        }
    }

    /// The era of a request, if it may be served at all.
    fn accept(&mut self, request: &Request) -> Result<Era, RpcError> {
        let era = era::classify(request, None, self.server.served)?;
        match (self.locked, era) {
            (Some(Era::Modern), Era::Legacy) if request.method == "initialize" => {
                return Err(era::unsupported_version(request.params.get("protocolVersion")));
            }
            (Some(locked), era) if locked != era => {
                let message = "This connection serves the other protocol era";
                return Err(RpcError::new(code::INVALID_REQUEST, message));
            }
            _ => {}
        }
        if era == Era::Modern {
            era::check_modern(request, |_| Ok(()))?;
        }
        if self.server.quirks.has(&Quirk::LockEra) {
            self.locked = Some(era);
        }
        Ok(era)
    }

    fn initialize(&mut self, request: &Request) -> Result<Option<Value>, RpcError> {
        let (session, result) = legacy::initialize(&self.server, &request.params)?;
        if let Some(before) = self.session.replace(session) {
            before.end();
        }
        Ok(Some(wire::response(&request.id, &result)))
    }

    fn legacy(&self, request: Request) -> Result<Option<Value>, RpcError> {
        if request.method == "server/discover" {
            return self.discover_in_vain(&request);
        }
        let Some(session) = &self.session else {
            if request.method == "ping" {
                return Ok(Some(wire::response(&request.id, &json!({}))));
            }
            let message = "Invalid request: initialize comes first";
            return Err(RpcError::new(code::INVALID_REQUEST, message));
        };
        let ticket = session.inflight.enter(&request.id);
        let (server, session) = (Arc::clone(&self.server), Arc::clone(session));
        self.start(legacy::answer(server, session, request, self.out.clone(), ticket))?;
        Ok(None)
    }

    /// What a server says that has never heard of the modern era.
    fn discover_in_vain(&self, request: &Request) -> Result<Option<Value>, RpcError> {
        if self.server.quirks.has(&Quirk::IgnoreDiscover) {
            return Ok(None);
        }
        if self.server.quirks.has(&Quirk::Discover32000) {
            return Err(RpcError::new(code::LEGACY_BAD_REQUEST, "Failed as asked"));
        }
        Err(RpcError::method_not_found(&request.method))
    }

    fn modern(&self, request: Request) -> Result<Option<Value>, RpcError> {
        let ticket = self.inflight.enter(&request.id);
        let (server, out) = (Arc::clone(&self.server), self.out.clone());
        self.start(async move {
            tokio::select! {
                () = modern::answer(server, request, out) => {}
                () = ticket.cancelled() => {}
            }
        })?;
        Ok(None)
    }

    fn start(&self, work: impl Future<Output = ()> + Send + 'static) -> Result<(), RpcError> {
        let server = Arc::clone(&self.server);
        if server.places.available_permits() == 0 {
            return Err(RpcError::new(code::INTERNAL, "Too many requests at once"));
        }
        self.calls.spawn(async move {
            let _place = server.places.acquire().await;
            work.await;
        });
        Ok(())
    }

    fn notified(&self, notification: &Notification) {
        if notification.method == "notifications/cancelled"
            && let Some(id) = notification.params.get("requestId")
        {
            self.inflight.cancel(id);
        }
        let Some(session) = &self.session else { return };
        legacy::notified(session, notification);
        if notification.method == "notifications/initialized" && session.starts_telling() {
            let (session, out) = (Arc::clone(session), self.out.clone());
            let closing = self.server.closing.clone();
            self.calls.spawn(async move {
                tokio::select! {
                    () = legacy::tell_changes(&session, &out) => {}
                    () = closing.cancelled() => {}
                }
            });
        }
    }
}

/// Lines with a bound.
struct Lines<R> {
    from: BufReader<R>,
    line: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
enum Line {
    Text(Vec<u8>),
    TooLong,
    End,
}

// === impl Lines ===

impl<R: AsyncRead + Unpin> Lines<R> {
    async fn next(&mut self) -> std::io::Result<Line> {
        self.line.clear();
        let mut whole = true;
        loop {
            let room = u64::try_from(LINE_BYTES_MAX + 1 - self.line.len()).unwrap_or_default();
            let read = (&mut self.from).take(room).read_until(b'\n', &mut self.line).await?;
            let ended = self.line.pop_if(|last| *last == b'\n').is_some();
            match (read, ended) {
                (0, _) if self.line.is_empty() && whole => return Ok(Line::End),
                (0, _) | (_, true) if whole => {
                    return Ok(Line::Text(std::mem::take(&mut self.line)));
                }
                (0, _) | (_, true) => return Ok(Line::TooLong),
                (_, false) if self.line.len() > LINE_BYTES_MAX => {
                    // Read on to the end of the line, but keep none of it.
                    self.line.clear();
                    whole = false;
                }
                (_, false) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Lines<&[u8]> {
        let (from, line) = (BufReader::new(text), Vec::new());
        Lines { from, line }
    }

    #[tokio::test]
    async fn the_last_line_may_end_with_the_stream() {
        let mut lines = lines(b"one\n\ntwo");
        for wanted in ["one", "", "two"] {
            assert_eq!(lines.next().await.unwrap(), Line::Text(wanted.into()));
        }
        assert_eq!(lines.next().await.unwrap(), Line::End);
    }

    #[tokio::test]
    async fn a_line_over_the_bound_is_skipped_whole() {
        let longest = vec![b'x'; LINE_BYTES_MAX];
        let text = [&longest[..], b"\n", &longest[..], b"xyz\nafter"].concat();
        let mut lines = lines(&text);
        assert_eq!(lines.next().await.unwrap(), Line::Text(longest.clone()));
        assert_eq!(lines.next().await.unwrap(), Line::TooLong);
        assert_eq!(lines.next().await.unwrap(), Line::Text(b"after".to_vec()));
    }
}
