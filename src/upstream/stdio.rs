//! A child's pipes as a channel that many requests share: a writer task with a bounded queue, a
//! reader task, and the table of who waits for what.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::base::{Fault, Kind, Sent, Tasks};
use crate::proto::answer::{Incoming, read};
use crate::proto::frame::LineFramer;
use crate::proto::splice::one_line;
use crate::proto::{Method, Span, Version, id, legacy};

use super::exchange::{Dialect, Done, Frame, Request, prepare};
use super::http::{Notes, answer_ask};
use super::mux::{Mux, ended};

/// Most messages that wait to be written to one child.
pub const QUEUE_MAX: usize = 256;
/// Most bytes that wait to be written to one child.
pub const QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A child that does not read for so long hangs.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest line of a child in bytes.
pub const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// So many lines in a row that are no JSON-RPC are no banner any more.
pub const GARBAGE_LINES_MAX: u32 = 32;
/// So many bytes in a row that are no JSON-RPC are no banner any more.
pub const GARBAGE_BYTES_MAX: usize = 1024 * 1024;
/// Progress notes that wait for one slow caller; more are dropped.
const NOTES_MAX: usize = 64;
/// Largest progress note in bytes; larger ones are dropped.
const NOTE_BYTES_MAX: usize = 64 * 1024;
/// How much is read at once.
const READ_BYTES: usize = 64 * 1024;

/// A message on its way to the child.
#[derive(Debug)]
struct Line {
    body: Vec<u8>,
    /// The request it belongs to; `None` for notifications and our answers.
    number: Option<u64>,
}

/// Who waits for an answer.
#[derive(Debug)]
struct Waiter {
    done: oneshot::Sender<Result<Done, Fault>>,
    notes: Option<mpsc::Sender<Bytes>>,
    wanted: Notes,
}

/// The pipes of one child.
#[derive(Debug)]
pub struct Channel {
    lines: mpsc::Sender<Line>,
    queued_bytes: AtomicUsize,
    mux: Mutex<Mux<Waiter>>,
    closed: CancellationToken,
    spoke: CancellationToken,
    tools_changed: Notify,
}

impl Channel {
    /// Takes over the pipes. Its tasks end when the channel closes, and it closes when they end.
    pub fn open(stdin: ChildStdin, stdout: ChildStdout, tasks: &Tasks) -> Arc<Self> {
        let (lines, queue) = mpsc::channel(QUEUE_MAX);
        let channel = Arc::new(Self {
            lines,
            queued_bytes: AtomicUsize::new(0),
            mux: Mutex::default(),
            closed: CancellationToken::new(),
            spoke: CancellationToken::new(),
            tools_changed: Notify::new(),
        });
        tasks.spawn(Arc::clone(&channel).write(stdin, queue));
        tasks.spawn(Arc::clone(&channel).read(stdout));
        channel
    }

    /// Closes the channel: every waiter is told, the pipes are dropped, and the child with them.
    pub fn close(&self, fault: &Fault) {
        let told = self.mux.lock().close(fault);
        for (waiter, fault) in told {
            // A waiter that is gone gave up a moment ago.
            drop(waiter.done.send(Err(fault)));
        }
        self.closed.cancel();
    }

    /// Resolves when the channel is closed.
    pub async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Resolves when the child has written its first line.
    pub async fn spoke(&self) {
        self.spoke.cancelled().await;
    }

    /// Resolves when the child says that its tools changed.
    pub async fn tools_changed(&self) {
        self.tools_changed.notified().await;
    }

    /// Why the channel is closed.
    pub fn why_closed(&self) -> Option<Fault> {
        self.mux.lock().closed().cloned()
    }

    /// The next number of ours.
    pub fn number(&self) -> u64 {
        self.mux.lock().number()
    }

    /// Queues a message that nobody waits for.
    pub fn tell(&self, body: Vec<u8>) -> Result<(), Fault> {
        self.queue(Line { body, number: None })
    }

    fn queue(&self, line: Line) -> Result<(), Fault> {
        let full = || {
            Fault::upstream(Kind::Overloaded, Sent::No, "its queue of unwritten messages is full")
        };
        let bytes = line.body.len();
        let before = self.queued_bytes.fetch_add(bytes, Ordering::AcqRel);
        // One message alone always fits: its own size was bounded at the front.
        let fits = before == 0 || before + bytes <= QUEUE_BYTES_MAX;
        if fits && self.lines.try_send(line).is_ok() {
            return Ok(());
        }
        self.queued_bytes.fetch_sub(bytes, Ordering::AcqRel);
        Err(self.why_closed().map_or_else(full, |fault| Fault { sent: Sent::No, ..fault }))
    }

    fn begin(
        self: &Arc<Self>,
        body: Vec<u8>,
        number: u64,
        wanted: Notes,
    ) -> Result<StdioExchange, Fault> {
        let (done, answer) = oneshot::channel();
        let (notes_in, notes) = if wanted.any_progress() {
            let (sender, receiver) = mpsc::channel(NOTES_MAX);
            (Some(sender), Some(receiver))
        } else {
            (None, None)
        };
        self.mux.lock().enter(number, Waiter { done, notes: notes_in, wanted })?;
        let exchange =
            StdioExchange { channel: Arc::clone(self), number, answer, notes, over: false };
        let mut body = one_line(body);
        body.push(b'\n');
        self.queue(Line { body, number: Some(number) })?;
        Ok(exchange)
    }

    async fn write(self: Arc<Self>, mut stdin: ChildStdin, mut queue: mpsc::Receiver<Line>) {
        loop {
            let line = tokio::select! {
                line = queue.recv() => line,
                () = self.closed.cancelled() => None,
            };
            let Some(line) = line else { return };
            self.queued_bytes.fetch_sub(line.body.len(), Ordering::AcqRel);
            if line.number.is_some_and(|number| !self.mux.lock().writing(number)) {
                continue; // given up before it was written
            }
            let write = async {
                stdin.write_all(&line.body).await?;
                stdin.flush().await
            };
            let outcome = tokio::select! {
                outcome = tokio::time::timeout(WRITE_TIMEOUT, write) => outcome,
                () = self.closed.cancelled() => return,
            };
            match outcome {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    return self.close(&ended(format!("it closed its stdin: {error}")));
                }
                Err(_) => return self.close(&ended("it does not read its stdin".to_owned())),
            }
        }
    }

    async fn read(self: Arc<Self>, mut stdout: ChildStdout) {
        let mut framer = LineFramer::new(LINE_BYTES_MAX);
        let mut garbage = Garbage::default();
        let mut buffer = BytesMut::new();
        let fault = loop {
            buffer.reserve(READ_BYTES);
            let read = tokio::select! {
                read = stdout.read_buf(&mut buffer) => read,
                () = self.closed.cancelled() => return,
            };
            match read {
                Ok(0) => break ended("it ended".to_owned()),
                Ok(_) => framer.push(buffer.split().freeze()),
                Err(error) => break ended(format!("its stdout broke: {error}")),
            }
            if let Err(fault) = self.lines_of(&mut framer, &mut garbage) {
                break fault;
            }
        };
        self.close(&fault);
    }

    fn lines_of(&self, framer: &mut LineFramer, garbage: &mut Garbage) -> Result<(), Fault> {
        while let Some(line) = framer.next_line() {
            let line = line.map_err(|error| {
                Fault::upstream(
                    Kind::TooLarge,
                    Sent::Maybe,
                    format!("it wrote too long a line: {error}"),
                )
            })?;
            self.spoke.cancel();
            match read(&line) {
                Ok(message) => {
                    *garbage = Garbage::default();
                    self.route(&line, message);
                }
                Err(error) => {
                    tracing::debug!(why = %error.why, bytes = line.len(), "skipped a line that is no JSON-RPC");
                    garbage.count(line.len())?;
                }
            }
        }
        Ok(())
    }

    /// One message of the child to whom it belongs.
    fn route(&self, line: &Bytes, message: Incoming) {
        match message {
            Incoming::Answer(answer) => {
                let number = answer.id.and_then(|span| id::number(span.of(line)));
                let waiter = number.and_then(|number| self.mux.lock().take(number));
                let Some(waiter) = waiter else {
                    tracing::debug!("dropped an answer that nobody waits for");
                    return;
                };
                drop(waiter.done.send(Ok(Done { message: line.clone(), answer, status: 200 })));
            }
            Incoming::Ask { id, method } => {
                let mut body = answer_ask(id.of(line), method);
                body.push(b'\n');
                if let Err(fault) = self.tell(body) {
                    tracing::debug!(%fault, "could not answer a request of the child");
                }
            }
            Incoming::Note { method: Method::Progress, token: Some(span) } => {
                self.progress(line, span);
            }
            Incoming::Note { method: Method::ToolsChanged, .. } => self.tools_changed.notify_one(),
            Incoming::Note { .. } => {}
        }
    }

    fn progress(&self, line: &Bytes, span: Span) {
        if line.len() > NOTE_BYTES_MAX {
            return;
        }
        let Some(number) = id::number(span.of(line)) else { return };
        let mux = self.mux.lock();
        let Some(waiter) = mux.peek(number) else { return };
        if let (Some(notes), Some(note)) = (&waiter.notes, waiter.wanted.progress(line, span)) {
            // A full queue means a slow caller: progress is the first thing to go.
            drop(notes.try_send(note));
        }
    }
}

/// Lines in a row that are no JSON-RPC: a banner is forgiven, a flood is not.
#[derive(Debug, Default)]
struct Garbage {
    lines: u32,
    bytes: usize,
}

impl Garbage {
    fn count(&mut self, bytes: usize) -> Result<(), Fault> {
        self.lines += 1;
        self.bytes += bytes;
        if self.lines > GARBAGE_LINES_MAX || self.bytes > GARBAGE_BYTES_MAX {
            let message = format!("it wrote {} lines in a row that are no JSON-RPC", self.lines);
            return Err(Fault::upstream(Kind::Protocol, Sent::Maybe, message));
        }
        Ok(())
    }
}

/// A child and the dialect that was found out.
#[derive(Clone, Debug)]
pub struct StdioLink {
    channel: Arc<Channel>,
    dialect: Dialect,
}

impl StdioLink {
    /// A link over a channel. The channel is shared by nature, so ids are ours.
    pub fn new(channel: Arc<Channel>, version: Version) -> Self {
        Self { channel, dialect: Dialect { era: version.era(), version, shared: true } }
    }

    /// The dialect it speaks.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Its channel.
    pub fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }

    /// Starts a client's request.
    pub fn begin(&self, request: &Request<'_>) -> Result<StdioExchange, Fault> {
        let number = self.channel.number();
        let out = prepare(request, self.dialect, number);
        let wanted = Notes::of(request, out.token_replaced, number);
        self.channel.begin(out.body, number, wanted)
    }

    /// Starts a request of our own.
    pub fn ask(&self, body: Vec<u8>, number: u64) -> Result<StdioExchange, Fault> {
        self.channel.begin(body, number, Notes::default())
    }
}

/// One request on the channel.
#[derive(Debug)]
pub struct StdioExchange {
    channel: Arc<Channel>,
    number: u64,
    answer: oneshot::Receiver<Result<Done, Fault>>,
    notes: Option<mpsc::Receiver<Bytes>>,
    over: bool,
}

impl StdioExchange {
    /// The next thing that happens. Notes that came before the answer are told before it.
    pub async fn next(&mut self) -> Result<Frame, Fault> {
        let note = async {
            match &mut self.notes {
                Some(notes) => notes.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(note) = note => Ok(Frame::Note(note)),
            outcome = &mut self.answer => {
                self.over = true;
                outcome.unwrap_or_else(|_| Err(ended("it ended".to_owned()))).map(Frame::Done)
            }
        }
    }
}

impl Drop for StdioExchange {
    /// Given up before the answer: the child is told, if it can have seen the request.
    fn drop(&mut self) {
        if self.over || self.channel.mux.lock().forget(self.number) != Some(true) {
            return;
        }
        let mut body = legacy::cancelled(self.number.to_string().as_bytes(), "the client gave up");
        body.push(b'\n');
        if let Err(fault) = self.channel.tell(body) {
            tracing::debug!(%fault, "could not cancel a request");
        }
    }
}
