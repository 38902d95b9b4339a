//! A child's pipes as a channel that many requests share: a writer task with a bounded queue, a
//! reader task, and the table of who waits for what.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::base::{Fault, Kind, Sent, Tasks, clock};
use crate::proto::answer::{About, Incoming, read};
use crate::proto::frame::LineFramer;
use crate::proto::splice::one_line;
use crate::proto::{Abilities, Method, Span, Version, id, legacy};

use super::ask::{ASKS_MAX, Answerer, Ask, Back, Waiting, refusal};
use super::events::Events;
use super::exchange::{Dialect, Done, Frame, Request, prepare};
use super::ghosts::Ghosts;
use super::mux::{Mux, ended};
use super::sort::Wanted;

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
/// Notes and questions that wait for one slow caller; more notes are dropped, more questions
/// refused.
const NOTES_MAX: usize = 64;
/// Largest note in bytes; larger ones are dropped.
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
    told: Option<mpsc::Sender<Frame>>,
    wanted: Wanted,
    waiting: Waiting,
    asks: u32,
    /// It waits for a client's call, not for one of our own requests.
    client: bool,
}

/// The pipes of one child.
#[derive(Debug)]
pub struct Channel {
    lines: mpsc::Sender<Line>,
    queued_bytes: AtomicUsize,
    mux: Mutex<Mux<Waiter>>,
    /// What the child was told that its clients can be asked.
    declared: Abilities,
    ghosts: Mutex<Ghosts>,
    closed: CancellationToken,
    spoke: CancellationToken,
    events: Arc<Events>,
}

impl Channel {
    /// Takes over the pipes. Its tasks end when the channel closes, and it closes when they end. A
    /// question that is not among `declared` is refused, whoever calls.
    pub fn open(
        stdin: impl AsyncWrite + Send + Unpin + 'static,
        stdout: impl AsyncRead + Send + Unpin + 'static,
        declared: Abilities,
        tasks: &Tasks,
    ) -> Arc<Self> {
        let (lines, queue) = mpsc::channel(QUEUE_MAX);
        let channel = Arc::new(Self {
            lines,
            queued_bytes: AtomicUsize::new(0),
            mux: Mutex::default(),
            declared,
            ghosts: Mutex::default(),
            closed: CancellationToken::new(),
            spoke: CancellationToken::new(),
            events: Arc::default(),
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

    /// What the child tells of itself.
    pub fn events(&self) -> &Arc<Events> {
        &self.events
    }

    /// Why the channel is closed.
    pub fn why_closed(&self) -> Option<Fault> {
        self.mux.lock().closed().cloned()
    }

    /// How many requests wait for their answers.
    pub fn waiting(&self) -> usize {
        self.mux.lock().len()
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
        wanted: Wanted,
        client: bool,
    ) -> Result<StdioExchange, Fault> {
        let (done, answer) = oneshot::channel();
        let (teller, told) = if wanted.anything() {
            let (sender, receiver) = mpsc::channel(NOTES_MAX);
            (Some(sender), Some(receiver))
        } else {
            (None, None)
        };
        let (waiting, abilities) = (Waiting::default(), wanted.abilities);
        let waiter =
            Waiter { done, told: teller, wanted, waiting: waiting.clone(), asks: 0, client };
        self.mux.lock().enter(number, waiter)?;
        let channel = Arc::clone(self);
        let exchange =
            StdioExchange { channel, number, answer, told, waiting, abilities, over: false };
        let mut body = one_line(body);
        body.push(b'\n');
        self.queue(Line { body, number: Some(number) })?;
        Ok(exchange)
    }

    async fn write(
        self: Arc<Self>,
        mut stdin: impl AsyncWrite + Unpin,
        mut queue: mpsc::Receiver<Line>,
    ) {
        loop {
            let line = tokio::select! {
                biased;
                () = self.closed.cancelled() => None,
                line = queue.recv() => line,
            };
            let Some(line) = line else { return };
            self.queued_bytes.fetch_sub(line.body.len(), Ordering::AcqRel);
            if line.number.is_some_and(|number| !self.mux.lock().writing(number)) {
                continue; // given up before it was written
            }
            let mut written = 0;
            let write = async {
                while let Some(rest) = line.body.get(written..).filter(|rest| !rest.is_empty()) {
                    match stdin.write(rest).await? {
                        0 => return Err(std::io::ErrorKind::WriteZero.into()),
                        more => written += more,
                    }
                }
                stdin.flush().await
            };
            let outcome = tokio::select! {
                biased;
                () = self.closed.cancelled() => return,
                outcome = tokio::time::timeout(WRITE_TIMEOUT, write) => outcome,
            };
            let fault = match outcome {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => ended(format!("it closed its stdin: {error}")),
                Err(_) => ended("it does not read its stdin".to_owned()),
            };
            if let Some(number) = line.number.filter(|_| written == 0) {
                self.mux.lock().unwritten(number);
            }
            return self.close(&fault);
        }
    }

    async fn read(self: Arc<Self>, mut stdout: impl AsyncRead + Unpin) {
        let mut framer = LineFramer::new(LINE_BYTES_MAX);
        let mut garbage = Garbage::default();
        let mut buffer = BytesMut::new();
        let fault = loop {
            buffer.reserve(READ_BYTES);
            let read = tokio::select! {
                biased;
                () = self.closed.cancelled() => return,
                read = stdout.read_buf(&mut buffer) => read,
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

    fn lines_of(
        self: &Arc<Self>,
        framer: &mut LineFramer,
        garbage: &mut Garbage,
    ) -> Result<(), Fault> {
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
    fn route(self: &Arc<Self>, line: &Bytes, message: Incoming) {
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
            Incoming::Ask { id, method, url } => self.asked(line, id, method, url),
            Incoming::Note { method, about } => self.noted(line, method, about),
        }
    }

    /// A question carries no link to a call. If exactly one call in flight can be asked, and none that
    /// was given up a moment ago could, it is that one's; else nobody is asked, since it must never
    /// reach the wrong client.
    fn asked(self: &Arc<Self>, line: &Bytes, id: Span, method: Method, url: bool) {
        let back = Back::Stdio(Arc::clone(self));
        // One that it was told not to ask may be of a call whose client cannot be asked it.
        let barred = !self.declared.allow(method, url);
        if barred || self.ghosts.lock().may_ask(method, url, clock::now()) {
            return back.send(refusal(id.of(line), method));
        }
        let able = |waiter: &Waiter| waiter.wanted.abilities.allow(method, url);
        let mut mux = self.mux.lock();
        if let Some(waiter) = mux.only(able)
            && let Some(told) = &waiter.told
            && waiter.asks < ASKS_MAX
            && let Ok(place) = told.try_reserve()
        {
            waiter.asks += 1;
            let answerer = Answerer::new(back, id.of(line), &waiter.waiting);
            place.send(Frame::Ask(Ask { body: line.clone(), id, method, answerer }));
            return;
        }
        drop(mux);
        back.send(refusal(id.of(line), method));
    }

    fn noted(&self, line: &Bytes, method: Method, about: About) {
        match method {
            Method::Progress | Method::LogMessage if line.len() > NOTE_BYTES_MAX => {}
            Method::Progress => {
                let number = about.token.and_then(|span| id::number(span.of(line)));
                let mut mux = self.mux.lock();
                if let Some(waiter) = number.and_then(|number| mux.peek(number)) {
                    waiter.note(line, method, about);
                }
            }
            Method::LogMessage => {
                // It carries no link to a call either.
                match self.mux.lock().only(|waiter| waiter.client) {
                    Some(waiter) => waiter.note(line, method, about),
                    None => self.events.note(line, method, about),
                }
            }
            _ => self.events.note(line, method, about),
        }
    }
}

impl Waiter {
    fn note(&self, line: &Bytes, method: Method, about: About) {
        if let (Some(told), Some(note)) = (&self.told, self.wanted.note(line, method, about)) {
            // A full queue means a slow caller: notes are the first thing to go.
            drop(told.try_send(Frame::Note(note)));
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
        let wanted = Wanted::of(request, out.token_replaced, number);
        self.channel.begin(out.body, number, wanted, true)
    }

    /// Starts a request of our own.
    pub fn ask(&self, body: Vec<u8>, number: u64) -> Result<StdioExchange, Fault> {
        self.channel.begin(body, number, Wanted::default(), false)
    }
}

/// One request on the channel.
#[derive(Debug)]
pub struct StdioExchange {
    channel: Arc<Channel>,
    number: u64,
    answer: oneshot::Receiver<Result<Done, Fault>>,
    told: Option<mpsc::Receiver<Frame>>,
    waiting: Waiting,
    /// What its client can be asked.
    abilities: Abilities,
    over: bool,
}

impl StdioExchange {
    /// Whether the client has been asked something and has not answered.
    pub fn awaits_client(&self) -> bool {
        self.waiting.any()
    }

    /// The next thing that happens. Notes that came before the answer are told before it.
    pub async fn next(&mut self) -> Result<Frame, Fault> {
        let told = async {
            match &mut self.told {
                Some(told) => told.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(frame) = told => Ok(frame),
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
        self.channel.ghosts.lock().note(self.abilities, clock::now());
        let mut body = legacy::cancelled(self.number.to_string().as_bytes(), "the client gave up");
        body.push(b'\n');
        if let Err(fault) = self.channel.tell(body) {
            tracing::debug!(%fault, "could not cancel a request");
        }
    }
}
