//! A way to a server that many requests share: who waits for which answer, what else comes in, and
//! whose it is. How bytes travel is an [`Outlet`] for what goes out and a reader task for what comes
//! in: the pipes of a child (`stdio`), or a stream of events and POSTs (`sse`).

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::base::{Fault, Kind, Sent, clock};
use crate::proto::answer::{About, Incoming, read};
use crate::proto::{Abilities, Method, Span, Version, id, legacy};

use super::ask::{ASKS_MAX, Answerer, Ask, Back, Waiting, refusal, unclear};
use super::events::Events;
use super::exchange::{Dialect, Done, Frame, Request, prepare};
use super::ghosts::Ghosts;
use super::mux::{Mux, ended};
use super::sort::Wanted;

/// So many messages in a row that are no JSON-RPC are no banner any more.
pub const GARBAGE_MESSAGES_MAX: u32 = 32;
/// So many bytes in a row that are no JSON-RPC are no banner any more.
pub const GARBAGE_BYTES_MAX: usize = 1024 * 1024;
/// Notes and questions that wait for one slow caller; more notes are dropped, more questions
/// refused.
const NOTES_MAX: usize = 64;
/// Largest note in bytes; larger ones are dropped.
const NOTE_BYTES_MAX: usize = 64 * 1024;

/// A request on its way out. Whoever waits for the answer moves it; its end says whether the server
/// took the request.
pub(super) type Sending = Pin<Box<dyn Future<Output = Result<(), Fault>> + Send + Sync>>;

/// Where the messages of a channel go out.
pub(super) trait Outlet: fmt::Debug + Send + Sync {
    /// Sends a request, by itself or as it is moved.
    fn send(&self, number: u64, body: Vec<u8>) -> Result<Option<Sending>, Fault>;

    /// Sends a message that nobody waits for.
    fn tell(&self, body: Vec<u8>) -> Result<(), Fault>;

    /// Nobody moves a request any more. It is let out, and then `last` is told.
    fn let_go(&self, sending: Sending, last: Option<Vec<u8>>);
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

/// The way to one server.
#[derive(Debug)]
pub struct Channel {
    out: Box<dyn Outlet>,
    mux: Mutex<Mux<Waiter>>,
    /// What the server was told that its clients can be asked.
    declared: Abilities,
    ghosts: Mutex<Ghosts>,
    closed: CancellationToken,
    spoke: CancellationToken,
    events: Arc<Events>,
}

impl Channel {
    /// A channel whose messages go out there. Whoever opens it starts a task that [reads](Self::take)
    /// what comes in, and closes the channel when that ends. A question that is not among `declared` is
    /// refused, whoever calls.
    pub(super) fn new(out: impl Outlet + 'static, declared: Abilities) -> Arc<Self> {
        Arc::new(Self {
            out: Box::new(out),
            mux: Mutex::default(),
            declared,
            ghosts: Mutex::default(),
            closed: CancellationToken::new(),
            spoke: CancellationToken::new(),
            events: Arc::default(),
        })
    }

    /// Whether a question may be of a call that was given up.
    pub(super) fn is_haunted(&self, now: Instant) -> bool {
        self.ghosts.lock().any(now)
    }

    /// Closes the channel: every waiter is told, and what carries it is dropped.
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

    /// Resolves when the server has sent something.
    pub async fn spoke(&self) {
        self.spoke.cancelled().await;
    }

    /// What the server tells of itself.
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

    /// Sends a message that nobody waits for.
    pub fn tell(&self, body: Vec<u8>) -> Result<(), Fault> {
        self.out.tell(body).map_err(|fault| self.or_closed(fault))
    }

    /// Why a message did not go out: first of all, because the channel is closed.
    fn or_closed(&self, fault: Fault) -> Fault {
        self.why_closed().map_or(fault, |why| Fault { sent: Sent::No, ..why })
    }

    /// The request is about to be written. Answers whether anybody still waits for its answer.
    pub(super) fn writing(&self, number: u64) -> bool {
        self.mux.lock().writing(number)
    }

    /// Not a byte of the request was taken after all.
    pub(super) fn unwritten(&self, number: u64) {
        self.mux.lock().unwritten(number);
    }

    fn begin(
        self: &Arc<Self>,
        body: Vec<u8>,
        number: u64,
        wanted: Wanted,
        client: bool,
    ) -> Result<ChannelExchange, Fault> {
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
        let (sending, over) = (None, false);
        let mut exchange =
            ChannelExchange { channel, number, answer, told, waiting, abilities, sending, over };
        let sending = self.out.send(number, body);
        exchange.sending = sending.map_err(|fault| self.or_closed(fault))?;
        Ok(exchange)
    }

    /// Takes a message in. What is no JSON-RPC is skipped, and a fault if there is no end of it.
    pub(super) fn take(
        self: &Arc<Self>,
        message: &Bytes,
        garbage: &mut Garbage,
    ) -> Result<(), Fault> {
        self.spoke.cancel();
        match read(message) {
            Ok(known) => {
                *garbage = Garbage::default();
                self.route(message, known);
            }
            Err(error) => {
                tracing::debug!(why = %error.why, bytes = message.len(), "skipped what is no JSON-RPC");
                garbage.count(message.len())?;
            }
        }
        Ok(())
    }

    /// One message of the server to whom it belongs.
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
    /// reach the wrong client. Where two could be, such calls do not meet there again.
    fn asked(self: &Arc<Self>, line: &Bytes, id: Span, method: Method, url: bool) {
        let back = Back::Channel(Arc::clone(self));
        // One that it was told not to ask may be of a call whose client cannot be asked it.
        let barred = !self.declared.allow(method, url);
        let able = |waiter: &Waiter| waiter.wanted.abilities.allow(method, url);
        // One lock over both looks: a call that is given up is a ghost before it is forgotten.
        let mut mux = self.mux.lock();
        let haunted = !barred && self.ghosts.lock().may_ask(method, url, clock::now());
        if !barred
            && !haunted
            && let Some(waiter) = mux.only(able)
            && let Some(told) = &waiter.told
            && waiter.asks < ASKS_MAX
            && let Ok(place) = told.try_reserve()
        {
            waiter.asks += 1;
            let answerer = Answerer::new(back, id.of(line), &waiter.waiting);
            place.send(Frame::Ask(Ask { body: line.clone(), id, method, answerer }));
            return;
        }
        let crowded = !barred && (mux.several(able) || haunted && mux.only(able).is_some());
        drop(mux);
        if crowded {
            self.events.crowded();
            return back.send(unclear(id.of(line)));
        }
        back.send(refusal(id.of(line), method));
    }

    fn noted(&self, line: &Bytes, method: Method, about: About) {
        match method {
            Method::Progress | Method::LogMessage | Method::TaskStatus
                if line.len() > NOTE_BYTES_MAX => {}
            Method::Progress => {
                let number = about.token.and_then(|span| id::number(span.of(line)));
                let mut mux = self.mux.lock();
                match number.and_then(|number| mux.peek(number)) {
                    Some(waiter) => waiter.note(line, method, about),
                    None => self.events.note(line, method, about),
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

/// Messages in a row that are no JSON-RPC: a banner is forgiven, a flood is not.
#[derive(Debug, Default)]
pub(super) struct Garbage {
    messages: u32,
    bytes: usize,
}

impl Garbage {
    fn count(&mut self, bytes: usize) -> Result<(), Fault> {
        self.messages += 1;
        self.bytes += bytes;
        if self.messages > GARBAGE_MESSAGES_MAX || self.bytes > GARBAGE_BYTES_MAX {
            let count = self.messages;
            let message = format!("it wrote {count} messages in a row that are no JSON-RPC");
            return Err(Fault::upstream(Kind::Protocol, Sent::Maybe, message));
        }
        Ok(())
    }
}

/// A channel and the dialect that was found out.
#[derive(Clone, Debug)]
pub struct ChannelLink {
    channel: Arc<Channel>,
    dialect: Dialect,
}

impl ChannelLink {
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
    pub fn begin(&self, request: &Request<'_>) -> Result<ChannelExchange, Fault> {
        let number = self.channel.number();
        let out = prepare(request, self.dialect, number);
        let wanted = Wanted::of(request, out.token_replaced, number);
        self.channel.begin(out.body, number, wanted, true)
    }

    /// Starts a request of our own.
    pub fn ask(&self, body: Vec<u8>, number: u64) -> Result<ChannelExchange, Fault> {
        self.channel.begin(body, number, Wanted::default(), false)
    }
}

/// One request on the channel.
pub struct ChannelExchange {
    channel: Arc<Channel>,
    number: u64,
    answer: oneshot::Receiver<Result<Done, Fault>>,
    told: Option<mpsc::Receiver<Frame>>,
    waiting: Waiting,
    /// What its client can be asked.
    abilities: Abilities,
    /// The request, until the server has taken it.
    sending: Option<Sending>,
    over: bool,
}

impl fmt::Debug for ChannelExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelExchange").field("number", &self.number).finish_non_exhaustive()
    }
}

impl ChannelExchange {
    /// Whether the client has been asked something and has not answered.
    pub fn awaits_client(&self) -> bool {
        self.waiting.any()
    }

    /// The next thing that happens. Notes that came before the answer are told before it.
    pub async fn next(&mut self) -> Result<Frame, Fault> {
        loop {
            let Self { channel, number, answer, told, sending, .. } = self;
            let told = async {
                match told {
                    Some(told) => told.recv().await,
                    None => std::future::pending().await,
                }
            };
            let sent = async {
                match sending {
                    // Of a channel that closed a moment ago nothing is sent: its waiter was told so.
                    Some(sending) if channel.writing(*number) => sending.await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(frame) = told => return Ok(frame),
                outcome = answer => {
                    self.over = true;
                    let outcome = outcome.unwrap_or_else(|_| Err(ended("it ended".to_owned())));
                    // What was said not to be sent is not sent.
                    if outcome.as_ref().is_err_and(|fault| fault.sent == Sent::No) {
                        self.sending = None;
                    }
                    return outcome.map(Frame::Done);
                }
                outcome = sent => {
                    self.sending = None;
                    if let Err(fault) = outcome {
                        // What was surely not taken needs no cancelling, and asks nothing.
                        if fault.sent != Sent::Maybe {
                            self.over = true;
                            self.channel.mux.lock().forget(self.number);
                        }
                        return Err(fault);
                    }
                }
            }
        }
    }
}

impl Drop for ChannelExchange {
    /// Given up before the answer: the server is told, if it can have seen the request.
    fn drop(&mut self) {
        let sending = self.sending.take();
        let mut gave_up = false;
        if !self.over {
            let mut mux = self.channel.mux.lock();
            gave_up = mux.forget(self.number) == Some(true);
            if gave_up {
                self.channel.ghosts.lock().note(self.abilities, clock::now());
            }
        }
        let last = gave_up
            .then(|| legacy::cancelled(self.number.to_string().as_bytes(), "the client gave up"));
        match (sending, last) {
            // Not yet begun, and nobody was told how it ended: it is not sent at all.
            (Some(_), None) if !self.over => {}
            (Some(sending), last) => self.channel.out.let_go(sending, last),
            (None, Some(last)) => {
                if let Err(fault) = self.channel.tell(last) {
                    tracing::debug!(%fault, "could not cancel a request");
                }
            }
            (None, None) => {}
        }
    }
}
