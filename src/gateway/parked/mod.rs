//! Questions of a legacy server for a modern client. The server asks in the middle of a call, and
//! waits; the client is asked by the result of its call, and calls again with the answers
//! (2025-11-25, client features; 2026-07-28, basic/patterns/mrtr). In between the call is parked: it
//! runs on as a task of its own, under a ticket that the client brings back as `requestState`. It is
//! never run a second time.

mod tickets;
mod words;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::base::{Fault, Kind, Principal, Sent, Tasks, clock, rng};
use crate::catalog::{Lookup, Owner, PromptLookup};
use crate::proto::envelope::Envelope;
use crate::proto::error::{ErrorBody, INVALID_PARAMS};
use crate::proto::scan::{member, unquote};
use crate::proto::{Abilities, Era, Method, Span};
use crate::upstream::ask::ASKS_MAX;
use crate::upstream::{Ask, Caller, Told};

use super::call::{Call, Message, Reply};
use super::errand::refuse;
use super::snapshot::{Snapshot, Upstream};
use super::spec::Bridge;
use super::wish::Wish;
use super::{Inner, answer, dispatch};

use self::tickets::{Holder, PREFIX, Tickets};

pub(super) use self::words::{input_required, urls};

/// After a question its siblings are waited for so long, so that they go out together.
const GATHER: Duration = Duration::from_millis(20);
/// What a call may tell before somebody listens. Room for its questions is kept free.
const EVENTS_MAX: usize = 256;
/// How long parked calls may take to end when the gateway stops.
const STOP: Duration = Duration::from_millis(200);

/// The parked calls of a gateway.
#[derive(Debug, Default)]
pub(super) struct Parked {
    tickets: Mutex<Tickets<Running>>,
    tasks: Tasks,
}

impl Parked {
    /// How many calls are parked.
    pub(super) fn len(&self) -> usize {
        self.tickets.lock().len()
    }

    /// Ends those whose clients have not come back in time.
    pub(super) fn sweep(&self, now: Instant) {
        let late = self.tickets.lock().expired(now);
        late.into_iter().for_each(Running::give_up);
    }

    /// Ends them all: their servers are told that nobody answers.
    pub(super) async fn stop(&self) {
        // First: a call that asks from now on is not parked any more.
        self.tasks.stop_token().cancel();
        let all = self.tickets.lock().clear();
        all.into_iter().for_each(Running::give_up);
        self.tasks.stop(STOP).await;
    }
}

/// What a call tells whoever attends it.
#[derive(Debug)]
enum Event {
    Told(Told),
    Done(Reply),
}

/// A call that runs as a task of its own. Dropped, it is cancelled.
#[derive(Debug)]
struct Running {
    events: mpsc::Receiver<Event>,
    task: JoinHandle<()>,
    /// Open questions, by the keys under which the client is asked.
    asks: Vec<(String, Ask)>,
    /// How many questions there were.
    asked: u32,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    /// Its client does not come back: the server hears that nobody answers, and that the call is
    /// cancelled.
    fn give_up(mut self) {
        for (_, ask) in std::mem::take(&mut self.asks) {
            ask.give_up();
        }
    }

    /// A question, if the client that is there can be asked it; else the server is told so.
    fn asks(&mut self, ask: Ask, abilities: Abilities) {
        if !abilities.allow(ask.method, words::is_by_url(&ask.body)) {
            return ask.answerer.refuse();
        }
        self.asks.push((format!("r{}", self.asked), ask));
        self.asked += 1;
    }
}

/// What a client of the modern era can be asked for, if a call of it may meet a legacy server; or
/// if it brings answers to one. `None` for every other call: it goes the plain way.
pub(super) fn concerns(inner: &Inner, call: Call<'_>) -> Option<Abilities> {
    let Call { caller, shape, .. } = call;
    let Wish { nested, stands_in, .. } = call.wish;
    if caller.era == Era::Legacy || nested || stands_in {
        return None;
    }
    if shape.answers {
        return Some(Abilities::read(&caller.capabilities));
    }
    if caller.capabilities.as_ref() == b"{}" || !inner.snapshot.load().upstreams.iter().any(bridges)
    {
        return None;
    }
    Some(Abilities::read(&caller.capabilities)).filter(|abilities| !abilities.is_empty())
}

/// Whether an upstream may ask modern clients.
fn bridges(upstream: &Upstream) -> bool {
    upstream.spec.bridge == Bridge::Park && !upstream.modern
}

/// A call of a client that can be asked for something, or brings answers.
pub(super) async fn call(
    inner: &Arc<Inner>,
    call: Call<'_>,
    abilities: Abilities,
    tell: &mut (dyn FnMut(Told) + Send),
) -> Reply {
    let snapshot = inner.snapshot.load_full();
    // What a modern server calls its state may look like a ticket. Before any other one a ticket that
    // does not serve is refused, never run: the call that it was given to may have run.
    if let Some(ticket) = ticket(call)
        && (inner.parked.tickets.lock().knows(&ticket)
            || reaches(&snapshot, call, abilities, |upstream| !upstream.modern))
    {
        return resume(inner, call, &ticket, abilities, tell).await;
    }
    let apart = reaches(&snapshot, call, abilities, bridges);
    let lists = !matches!(
        call.shape.method,
        Method::ToolsCall | Method::PromptsGet | Method::ResourcesRead
    );
    if !apart && !lists {
        return dispatch::dispatch(inner, call, tell).await;
    }
    // As long as it comes back now and then, what legacy servers offer to its kind is kept ready.
    inner.demands.visit(abilities, clock::now());
    let caller = Caller { abilities, ..call.caller.clone() };
    if lists {
        // They show what is there for those who can be asked.
        return dispatch::dispatch(inner, Call { caller: &caller, ..call }, tell).await;
    }
    let running = start(inner, Owned::new(call, caller));
    attend(inner, running, call, abilities, tell).await
}

/// The ticket that a client brings back.
fn ticket(call: Call<'_>) -> Option<Cow<'_, str>> {
    let params = call.shape.params.filter(|_| call.shape.answers)?;
    let state = unquote(member(params.of(call.body), "requestState")?)?;
    state.starts_with(PREFIX).then_some(state)
}

/// Whether a call may go to an upstream like this.
fn reaches(
    snapshot: &Snapshot,
    call: Call<'_>,
    abilities: Abilities,
    like: impl Fn(&Upstream) -> bool,
) -> bool {
    let catalog = &snapshot.view(abilities).catalog;
    let named = |span: Option<Span>| unquote(span?.of(call.body));
    let owner = match call.shape.method {
        Method::ToolsCall => match named(call.shape.name).map(|name| catalog.lookup(&name)) {
            Some(Lookup::Tool(tool)) => Some(tool.owner),
            Some(Lookup::Transparent(place)) => Some(Owner::Upstream(place)),
            // It may be listed only for those who can be asked, and not yet.
            _ => None,
        },
        Method::PromptsGet => match named(call.shape.name).map(|name| catalog.prompt(&name)) {
            Some(PromptLookup::Prompt(prompt)) => Some(prompt.owner),
            _ => None,
        },
        Method::ResourcesRead => {
            let listed = named(call.shape.uri).map(|uri| catalog.resource(&uri).map(|r| r.owner));
            listed.flatten()
        }
        _ => return false,
    };
    match owner {
        Some(Owner::Upstream(place)) => snapshot.upstreams.get(place).is_some_and(like),
        Some(Owner::Builtin) => false,
        None => snapshot.upstreams.iter().any(like),
    }
}

/// A call that needs no client to hold it.
struct Owned {
    body: Bytes,
    shape: Envelope,
    caller: Caller,
    headers: Option<HeaderMap>,
}

impl Owned {
    fn new(call: Call<'_>, caller: Caller) -> Self {
        let (body, shape) = (call.body.clone(), call.shape.clone());
        Self { body, shape, caller, headers: call.headers.cloned() }
    }

    fn call(&self) -> Call<'_> {
        let Self { body, shape, caller, headers } = self;
        Call { body, shape, caller, headers: headers.as_ref(), wish: Wish::default() }
    }
}

/// Runs a call as a task of its own.
fn start(inner: &Arc<Inner>, owned: Owned) -> Running {
    let (sender, events) = mpsc::channel(EVENTS_MAX);
    let own = Arc::clone(inner);
    let task = inner.parked.tasks.spawn(async move {
        let questions = usize::try_from(ASKS_MAX).unwrap_or(EVENTS_MAX);
        let reply = dispatch::dispatch(&own, owned.call(), |told| {
            // While nobody listens notes are lost, and questions are not.
            if matches!(told, Told::Ask(_)) || sender.capacity() > questions {
                drop(sender.try_send(Event::Told(told)));
            }
        });
        let reply = reply.await;
        drop(sender.send(Event::Done(reply)).await);
    });
    Running { events, task, asks: Vec::new(), asked: 0 }
}

/// Stays with a call until it is over, or asks something: then it is parked.
async fn attend(
    inner: &Arc<Inner>,
    mut running: Running,
    call: Call<'_>,
    abilities: Abilities,
    tell: &mut (dyn FnMut(Told) + Send),
) -> Reply {
    let token = call.shape.keys.progress_token.map(|token| token.value.of(call.body));
    let least = call.caller.log_level;
    let mut gathered = None;
    loop {
        let event = match gathered {
            None => running.events.recv().await,
            Some(until) => match tokio::time::timeout_at(until, running.events.recv()).await {
                Ok(event) => event,
                Err(_) => return park(inner, running, call),
            },
        };
        match event {
            // Questions that are open are over with the call.
            Some(Event::Done(reply)) if running.asked == 0 => return reply,
            Some(Event::Done(reply)) => return over(reply, call).await,
            Some(Event::Told(Told::Note(note))) => {
                if let Some(note) = words::passed_on(&note, token, least) {
                    tell(Told::Note(note));
                }
            }
            // A modern client has one stream for each call.
            Some(Event::Told(Told::Away(_))) => {}
            Some(Event::Told(Told::Ask(ask))) => {
                running.asks(ask, abilities);
                if !running.asks.is_empty() && gathered.is_none() {
                    gathered = Some((clock::now() + GATHER).into());
                }
            }
            None => return ended(call),
        }
    }
}

/// The gateway stops: nobody could come back to the call.
fn ended(call: Call<'_>) -> Reply {
    let text = "the gateway ended the call, which was waiting for its client";
    let fault = Fault::upstream(Kind::Closed, Sent::Maybe, text);
    refuse(call, 200, &answer::error(&fault, None))
}

/// The end of a call that was parked, for the request that waits for it now.
async fn over(reply: Reply, call: Call<'_>) -> Reply {
    let status = reply.status;
    let whole = reply.whole(Some(call.id())).await;
    Reply { message: Message::Whole(words::readdressed(&whole, call.id())), status }
}

/// Asks the client: the call waits for it under a ticket.
fn park(inner: &Arc<Inner>, running: Running, call: Call<'_>) -> Reply {
    let ticket = format!("{PREFIX}{}", rng::token());
    let ask = |(key, ask): &(String, Ask)| (key.clone(), words::question(ask.method, &ask.body));
    let questions: Vec<_> = running.asks.iter().map(ask).collect();
    let message = input_required(call.id(), &questions, Some(&ticket));
    let who = (holder(call), call.caller.key);
    let lost = {
        let mut tickets = inner.parked.tickets.lock();
        if inner.parked.tasks.stop_token().is_cancelled() {
            drop(tickets);
            running.give_up();
            return ended(call);
        }
        tickets.park(ticket, who, running, clock::now())
    };
    for lost in lost {
        tracing::warn!("too many calls wait for their clients: the oldest is given up");
        lost.give_up();
    }
    Reply::ok(message)
}

/// Who may go on with a call.
fn holder(call: Call<'_>) -> Holder {
    let principal = call.caller.who.as_deref().map_or(0, Principal::key);
    let (text, shape) = (call.body, call.shape);
    let about = shape.name.or(shape.uri).map_or(b"".as_slice(), |span| span.of(text));
    let about = unquote(about).unwrap_or_default();
    // The same arguments, however they are written.
    let arguments = shape.arguments.map_or(b"".as_slice(), |span| span.of(text));
    let same = serde_json::from_slice::<Value>(arguments).map(|value| value.to_string());
    let arguments = same.as_deref().map_or(arguments, str::as_bytes);
    Holder::new(principal, [shape.method.name().as_bytes(), about.as_bytes(), arguments])
}

/// A client comes back with answers: the server gets them, and the call goes on under the new
/// request.
async fn resume(
    inner: &Arc<Inner>,
    call: Call<'_>,
    ticket: &str,
    abilities: Abilities,
    tell: &mut (dyn FnMut(Told) + Send),
) -> Reply {
    let taken = inner.parked.tickets.lock().take(ticket, &holder(call), clock::now());
    let mut running = match taken {
        Ok(running) => running,
        Err(why) => return refuse(call, 200, &refusal(why)),
    };
    let params = call.shape.params.map_or(b"{}".as_slice(), |span| span.of(call.body));
    for (key, ask) in std::mem::take(&mut running.asks) {
        match words::answer(params, &key) {
            Some(result) => ask.answerer.result(result),
            None => running.asks.push((key, ask)),
        }
    }
    if running.asks.is_empty() {
        return attend(inner, running, call, abilities, tell).await;
    }
    // What is missing is asked once more (2026-07-28, mrtr, "Server Requirements").
    park(inner, running, call)
}

fn refusal(why: tickets::Why) -> ErrorBody {
    let text = match why {
        tickets::Why::Unknown => {
            "requestState is not known: it was used already, is older than 10 minutes, or is none of \
             this gateway. The call is not run again; call anew without it"
        }
        tickets::Why::Foreign => {
            "requestState is for another request: bring it back with the same method, name and \
             arguments. Nothing was sent"
        }
    };
    ErrorBody::new(INVALID_PARAMS, text)
}
