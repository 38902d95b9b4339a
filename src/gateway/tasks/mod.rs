//! Calls of tools that run as tasks: those of 2025-11-25 between legacy peers, those of the tasks
//! extension between modern ones (2025-11-25, basic/utilities/tasks; SEP-2663). The upstream holds
//! the task; what the gateway adds is a name that leads back to it ([`ids`]). Across the eras there
//! are no tasks: a tool that needs one is seen to its end within the call ([`driven`]).

mod driven;
mod ids;
mod table;
mod words;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::base::{Principal, Sealer, clock, together};
use crate::fleet::Pace;
use crate::fleet::spec::Isolation;
use crate::proto::answer::Body;
use crate::proto::error::{
    ErrorBody, INTERNAL, INVALID_PARAMS, MISSING_CAPABILITY, result_message,
};
use crate::proto::extensions::{TASKS, declares, lacking};
use crate::proto::scan::{member, quote, says, unquote};
use crate::proto::{Era, Method, id, ladder};
use crate::telemetry::Status;
use crate::upstream::followers::Follower;
use crate::upstream::{Caller, Done, Told};

use super::Inner;
use super::call::{Call, Message, Reply};
use super::effect;
use super::errand::{End, Errand, refuse, upstream};
use super::rewritten::Rewritten;
use super::snapshot::{Snapshot, Upstream};
use super::wish::Wish;

use self::ids::Task;
use self::table::Table;

pub(super) use self::driven::{extension, required};

/// Most tasks of a list that are asked after at once.
const STATES_AT_ONCE: usize = 8;
/// A list waits so long for the state of one task.
const STATE_WAIT: Duration = Duration::from_secs(5);

/// What the gateway knows of tasks.
#[derive(Debug)]
pub(super) struct Tasks {
    sealer: Sealer,
    table: Mutex<Table>,
    /// How long clients wait for results of tasks: nothing that says how fast a server is.
    pace: Arc<Pace>,
    /// Cancels tasks whose calls were given up.
    runs: crate::base::Tasks,
}

impl Tasks {
    /// Nothing is known yet.
    pub(super) fn new(sealer: Sealer) -> Self {
        let (table, pace, runs) = Default::default();
        Self { sealer, table, pace, runs }
    }

    /// Lets go what servers do not keep any more.
    pub(super) fn sweep(&self, now: Instant) {
        self.table.lock().sweep(now);
    }
}

/// Whose a task is.
fn holder(caller: &Caller) -> u64 {
    caller.who.as_deref().map_or(0, Principal::key)
}

// === a call became a task ===

/// Whether the answer to a call of a tool is a task. Almost always it is not.
pub(super) fn is_created(done: &Done, call: Call<'_>) -> bool {
    let Body::Result(parts) = &done.answer.body else { return false };
    parts.result_type.is_some_and(|kind| says(kind.value.of(&done.message), "task"))
        || call.wants_task() && words::created(done, words::CREATED_LEGACY).is_some()
}

/// A call that became a task, for its client: under a name that leads back to it. `at` = the place
/// of the replica that holds it.
pub(super) fn created(
    inner: &Inner,
    (upstream, at): (&Upstream, usize),
    done: &Done,
    end: End,
    call: Call<'_>,
) -> End {
    let (caller, era) = (call.caller, call.caller.era);
    let path = match era {
        Era::Legacy => words::CREATED_LEGACY,
        Era::Modern => words::STATE,
    };
    let asked = match era {
        Era::Legacy => call.wants_task(),
        Era::Modern => declares(&caller.capabilities, TASKS),
    };
    let shared = upstream.pool.spec().isolation == Isolation::Shared;
    let replica = upstream.pool.replicas.get(at).filter(|_| shared);
    let name = words::created(done, path).filter(|_| asked).and_then(|own| {
        let upstream = ids::upstream(&upstream.spec.name);
        let replica = replica.map(|one| one.spec.name.as_str().to_owned()).unwrap_or_default();
        Task { era, upstream, holder: holder(caller), replica, own }.seal(&inner.tasks.sealer)
    });
    let Some(name) = name else {
        let name = &upstream.spec.name;
        let text = format!(
            "{name} made a task of the call, which its client cannot follow; the call may have run"
        );
        return End::new(refuse(call, 200, &ErrorBody::new(INTERNAL, text)), Status::Error);
    };
    let reply = renamed(end.reply, path, &quote(&name));
    if era == Era::Legacy {
        let ttl = words::at(&done.message, &["result", "task", "ttl"]);
        let ttl = ttl.and_then(|ttl| serde_json::from_slice(ttl.value.of(&done.message)).ok());
        let ttl = ttl.map(Duration::from_millis);
        // It hears nothing where its session has a replica of its own: it asks.
        let _heard = follow((upstream, at), done, &name, call);
        inner.tasks.table.lock().made(caller.key, name, ttl, clock::now());
    }
    End { reply, ..end }
}

/// From now on a legacy client is told what the server says of the task that it made.
fn follow(
    (upstream, at): (&Upstream, usize),
    done: &Done,
    name: &str,
    call: Call<'_>,
) -> Option<()> {
    let mail = Arc::downgrade(call.caller.mail.as_ref()?);
    let replica = upstream.pool.at(call.caller.abilities, at)?;
    let own = words::created(done, words::CREATED_LEGACY)?;
    // On a channel that is shared, the token is the number that the call went out with.
    let number = done.answer.id.and_then(|id| id::number(id.of(&done.message)));
    let token = call.shape.keys.progress_token.map(|token| token.value.of(call.body));
    let token = number.zip(token.map(Bytes::copy_from_slice));
    let name = Bytes::from(quote(name));
    replica.live()?.events.followers.add(Follower { own, name, token, mail });
    Some(())
}

/// A reply that names a task otherwise. Replies about tasks are never passed on in pieces.
fn renamed(reply: Reply, path: &[&str], name: &str) -> Reply {
    match &reply.message {
        Message::Whole(text) => {
            let message = Message::Whole(words::renamed(text, path, name.as_bytes()));
            Reply { message, ..reply }
        }
        Message::Coming(_) => reply,
    }
}

// === requests about tasks ===

/// Answers a request about a task, or for the list of them.
pub(super) async fn answer(
    inner: &Inner,
    snapshot: &Snapshot,
    call: Call<'_>,
    tell: &mut (dyn FnMut(Told) + Send),
) -> Result<Reply, Reply> {
    let (method, caller) = (call.shape.method, call.caller);
    // To legacy clients tasks are always offered: what cannot be taken back cannot wait for those who
    // have some.
    let has = caller.era == Era::Legacy || snapshot.has_extension(TASKS);
    if !has || !method.served_to(caller.era) {
        let refusal = ladder::unknown_method(call.body, call.shape);
        let status = if caller.era == Era::Modern { refusal.status } else { 200 };
        return Err(refuse(call, status, &refusal.error));
    }
    if caller.era == Era::Modern && !declares(&caller.capabilities, TASKS) {
        let text = format!("{} is of an extension that the client must declare", method.name());
        let error = ErrorBody::new(MISSING_CAPABILITY, text).with(lacking(TASKS));
        return Err(refuse(call, 400, &error));
    }
    if method == Method::TasksList {
        return list(inner, snapshot, call).await;
    }
    ladder::subject(call.body, call.shape)
        .map_err(|refusal| refuse(call, refusal.status, &refusal.error))?;
    let raw = call.shape.task_id.map(|span| span.of(call.body)).unwrap_or_default();
    let name = unquote(raw).unwrap_or_default();
    let (task, target) = find(inner, snapshot, &name, caller).ok_or_else(|| no_task(call))?;
    let related = method == Method::TasksResult;
    let mut tell_as = |told: Told| tell(if related { renamed_told(told, raw) } else { told });
    let end = ask(inner, snapshot, (&task, target), call, &mut tell_as).await;
    if end.missing && caller.era == Era::Legacy && method != Method::TasksCancel {
        inner.tasks.table.lock().gone(caller.key, &name);
    }
    let ok = end.status == Status::Success;
    let path = if related { words::RELATED_RESULT } else { words::STATE };
    let reply = renamed(end.reply, path, std::str::from_utf8(raw).unwrap_or("\"\""));
    if ok { Ok(reply) } else { Err(reply) }
}

/// Where a task is: the place of its upstream, and that of its replica there.
#[derive(Clone, Copy, Debug)]
struct Target {
    place: usize,
    replica: Option<usize>,
}

/// The task of a name, if it is one of this client, and its upstream and replica are still there.
fn find(inner: &Inner, snapshot: &Snapshot, name: &str, caller: &Caller) -> Option<(Task, Target)> {
    let task = Task::open(name, &inner.tasks.sealer)?;
    if task.era != caller.era || task.holder != holder(caller) {
        return None;
    }
    let is_here = |one: &Upstream| ids::upstream(&one.spec.name) == task.upstream;
    let place = snapshot.upstreams.iter().position(is_here)?;
    let replicas = &snapshot.upstreams.get(place)?.pool.replicas;
    let replica = match task.replica.as_str() {
        "" => None,
        name => Some(replicas.iter().position(|one| one.spec.name.as_str() == name)?),
    };
    Some((task, Target { place, replica }))
}

fn no_task(call: Call<'_>) -> Reply {
    let text = "there is no such task: it was made by another client or another gateway, or its \
                server is not there any more";
    refuse(call, 200, &ErrorBody::new(INVALID_PARAMS, text))
}

/// Asks the replica that holds a task.
async fn ask(
    inner: &Inner,
    snapshot: &Snapshot,
    (task, target): (&Task, Target),
    call: Call<'_>,
    tell: &mut (dyn FnMut(Told) + Send),
) -> End {
    let method = call.shape.method;
    let waits = method == Method::TasksResult;
    let (span, nature) = (call.shape.task_id, effect::of_method(method));
    // It waits for the task, not for the server.
    let pace = waits.then_some(&inner.tasks.pace);
    let errand = Errand::new(target.place, &task.own, span, nature, clock::now());
    let errand = Errand { pace, ..errand };
    let call = Call { wish: Wish { replica: target.replica, ..call.wish }, ..call };
    upstream(inner, snapshot, errand, call, &mut |told| tell(told)).await
}

/// What comes while a client waits for the result of a task, under the name that it knows the task
/// by.
fn renamed_told(told: Told, name: &[u8]) -> Told {
    let path = words::RELATED_PARAMS;
    match told {
        Told::Away(_) => told,
        Told::Note(note) => Told::Note(words::renamed(&note, path, name)),
        Told::Ask(mut ask) => {
            if let Some(own) = words::at(&ask.body, path) {
                let own = Bytes::copy_from_slice(own.value.of(&ask.body));
                ask.body = words::renamed(&ask.body, path, name);
                if let Some(id) = words::at(&ask.body, &["id"]) {
                    ask.id = id.value;
                }
                ask.answerer.relates_to(own);
            }
            Told::Ask(ask)
        }
    }
}

// === the list ===

/// The tasks of a client, each in the state that its server tells now.
async fn list(inner: &Inner, snapshot: &Snapshot, call: Call<'_>) -> Result<Reply, Reply> {
    let cursor = match call.shape.cursor.map(|span| unquote(span.of(call.body))) {
        None => Some(0),
        Some(cursor) => cursor.and_then(|cursor| cursor.parse().ok()),
    };
    let Some(cursor) = cursor else {
        let error = ErrorBody::new(INVALID_PARAMS, "the cursor is not valid");
        return Err(refuse(call, 200, &error));
    };
    let (names, next) = inner.tasks.table.lock().page(call.caller.key, cursor, clock::now());
    let states = together(names.len(), STATES_AT_ONCE, async |place| {
        let name = names.get(place)?;
        let state = state(inner, snapshot, name, call.caller);
        tokio::time::timeout(STATE_WAIT, state).await.ok().flatten()
    });
    let states: Vec<String> = states.await.into_iter().flatten().collect();
    let next = next.map(|next| format!(r#","nextCursor":"{next}""#)).unwrap_or_default();
    let result = format!(r#"{{"tasks":[{}]{next}}}"#, states.join(","));
    Ok(Reply::ok(result_message(call.id(), result.as_bytes())))
}

/// The state of a task as its server tells it; `None` if it tells none.
async fn state(inner: &Inner, snapshot: &Snapshot, name: &str, caller: &Caller) -> Option<String> {
    let (task, target) = find(inner, snapshot, name, caller)?;
    let message = Rewritten::new(words::request(0, Method::TasksGet.name(), name, ""))?;
    let call = message.call(caller);
    let end = ask(inner, snapshot, (&task, target), call, &mut |_| {}).await;
    if end.missing {
        inner.tasks.table.lock().gone(caller.key, name);
    }
    let Message::Whole(text) = renamed(end.reply, words::STATE, &quote(name)).message else {
        return None;
    };
    let result = member(&text, "result").filter(|raw| raw.first() == Some(&b'{'))?;
    String::from_utf8(result.to_vec()).ok()
}
