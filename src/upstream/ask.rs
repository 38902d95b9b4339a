//! A question in the middle of a legacy client's call (2025-11-25, client features): what it
//! asks, and the way back for the answer. Whoever drops a question unanswered answers it with an
//! error, so that no upstream waits for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::base::Tasks;
use crate::proto::error::{ErrorBody, INTERNAL, METHOD_NOT_FOUND, result_message};
use crate::proto::meta::RELATED_TASK;
use crate::proto::scan::within;
use crate::proto::splice::Splice;
use crate::proto::{Method, Span};

use super::channel::Channel;
use super::exchange::RawId;
use super::http::HttpLink;

/// Most questions of an upstream in the middle of one call.
pub const ASKS_MAX: u32 = 64;

/// One question.
#[derive(Debug)]
pub struct Ask {
    /// The upstream's request as it came.
    pub body: Bytes,
    /// Where its own id stands in it.
    pub id: Span,
    /// What it asks for.
    pub method: Method,
    /// The way back.
    pub answerer: Answerer,
}

impl Ask {
    /// Nobody will answer: an elicitation is cancelled, all else is an error.
    pub fn give_up(self) {
        if self.method == Method::Elicit {
            self.answerer.result(br#"{"action":"cancel"}"#);
        }
    }
}

/// How many questions of a call are open. Clones share the number.
#[derive(Clone, Debug, Default)]
pub struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    /// Whether any is.
    pub fn any(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }
}

/// How an answer reaches the upstream.
#[derive(Clone, Debug)]
pub enum Back {
    /// Into the channel that it came from.
    Channel(Arc<Channel>),
    /// By a POST in the session of the call.
    Http(HttpLink, Tasks),
    /// To the gateway, which asks for a server that asks by results. There is room for one answer
    /// to each question.
    Here(mpsc::Sender<Vec<u8>>),
}

impl Back {
    /// Sends a whole answer. It is not waited for.
    pub fn send(&self, answer: Vec<u8>) {
        match self {
            Self::Channel(channel) => {
                if let Err(fault) = channel.tell(answer) {
                    tracing::debug!(%fault, "could not answer a question of a server");
                }
            }
            Self::Http(link, tasks) => {
                let link = link.clone();
                tasks.spawn(async move {
                    if let Err(fault) = link.tell(answer).await {
                        tracing::debug!(%fault, "could not answer a question of a server");
                    }
                });
            }
            Self::Here(asked) => {
                if asked.try_send(answer).is_err() {
                    tracing::debug!("dropped an answer to a question of a call that is over");
                }
            }
        }
    }
}

/// The way back for one answer.
#[derive(Debug)]
pub struct Answerer {
    back: Back,
    id: RawId,
    waiting: Waiting,
    answered: bool,
    /// The task that the answer belongs to, as the upstream calls it: a raw string.
    task: Option<Bytes>,
}

impl Answerer {
    /// A way back; the call counts as waiting for its client until it is used or dropped.
    pub fn new(back: Back, id: &[u8], waiting: &Waiting) -> Self {
        waiting.0.fetch_add(1, Ordering::AcqRel);
        let (id, waiting) = (RawId::from_slice(id), waiting.clone());
        Self { back, id, waiting, answered: false, task: None }
    }

    /// The question belongs to a task, which the upstream calls by this raw string and its client
    /// otherwise.
    pub fn relates_to(&mut self, task: Bytes) {
        self.task = Some(task);
    }

    /// Passes on a client's response: only its id, which stands at `id`, changes, and the name of the
    /// task that it says it belongs to.
    pub fn answer(mut self, response: &[u8], id: Span) {
        let task = self.task.take();
        let mut splice = Splice::new(response);
        splice.put(id, &self.id);
        if let (Some(task), Some(named)) = (&task, related_task(response)) {
            splice.put(named, task);
        }
        self.send(splice.apply(1));
    }

    /// Answers with a raw result.
    pub fn result(mut self, result: &[u8]) {
        let answer = result_message(&self.id, result);
        self.send(answer);
    }

    /// Refuses: the client cannot be asked this.
    pub fn refuse(mut self) {
        self.send(refusal(&self.id, Method::Other));
    }

    fn send(&mut self, answer: Vec<u8>) {
        self.answered = true;
        self.back.send(answer);
    }
}

impl Drop for Answerer {
    fn drop(&mut self) {
        if !self.answered {
            let text = "the client did not answer; its call is over";
            self.send(ErrorBody::new(INTERNAL, text).message(Some(&self.id)));
        }
        self.waiting.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Where a response names the task that it belongs to (2025-11-25, basic/utilities/tasks,
/// "Associating Task-Related Messages").
fn related_task(response: &[u8]) -> Option<Span> {
    let mut span = Span { start: 0, end: response.len() };
    for name in ["result", "_meta", RELATED_TASK, "taskId"] {
        span = within(response, span, name)?.value;
    }
    Some(span)
}

/// Our own answer to a request of an upstream: a ping is answered, all else is refused.
pub fn refusal(id: &[u8], method: Method) -> Vec<u8> {
    if method == Method::Ping {
        return result_message(id, b"{}");
    }
    refused(id, "the client did not declare the capability that this request needs")
}

/// The same to one that could be meant for the client of one call or of another.
pub fn unclear(id: &[u8]) -> Vec<u8> {
    refused(
        id,
        "this could be about one of several calls; nobody is asked what another one must not hear",
    )
}

fn refused(id: &[u8], text: &'static str) -> Vec<u8> {
    ErrorBody::new(METHOD_NOT_FOUND, text).message(Some(id))
}
