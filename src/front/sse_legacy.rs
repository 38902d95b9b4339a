//! The HTTP+SSE transport (2024-11-05, basic/transports): a GET opens the stream that all messages to
//! the client go out on, and says where the client is to POST its own. The stream is the session: it
//! cannot be taken up again, and what a client that closes it had asked is cancelled.

#![expect(clippy::result_large_err, reason = "a refusal is a whole HTTP answer, made once")]

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use dashmap::DashMap;
use http::{Method, Request};
use hyper::body::Incoming;

use crate::base::{Principal, rng};
use crate::proto::error::{ErrorBody, INVALID_REQUEST};
use crate::proto::frame::sse_event_with;

use super::body::{Events, Stream};
use super::http::{Outcome, accepted, crowded, document, not_allowed, receive, refuse, stream};
use super::member::Member;
use super::negotiate::{accepts, is_json};
use super::opener::Opener;
use super::outbox::Outgoing;
use super::pipe::{Eras, Pipe};

/// Where streams are opened.
pub(super) const STREAM: &str = "/sse";
/// Where the messages of clients go.
pub(super) const MESSAGES: &str = "/messages";
/// The name of the session in the query there.
const SESSION: &str = "sessionId=";

/// Both routes. Clones share the sessions.
#[derive(Clone, Debug)]
pub(super) struct SseLegacy {
    opener: Arc<Opener>,
    /// Every stream that is open, by 128 unguessable bits. As many as there may be streams.
    sessions: Arc<DashMap<String, Arc<Pipe>>>,
}

impl SseLegacy {
    /// Nobody is there yet.
    pub(super) fn new(opener: Arc<Opener>) -> Self {
        Self { opener, sessions: Arc::default() }
    }

    /// Opens a stream, which is a session.
    pub(super) fn open(&self, request: &Request<Incoming>, who: Option<Arc<Member>>) -> Outcome {
        if request.method() != Method::GET {
            return not_allowed("GET");
        }
        if !accepts(request.headers(), "text/event-stream") {
            let text = "this is the stream of the HTTP+SSE transport: GET it with Accept: text/event-stream";
            return Err(refuse(406, None, &ErrorBody::new(INVALID_REQUEST, text)));
        }
        let opened = self.opener.open(who, Eras::Legacy).map_err(|full| crowded(None, &full))?;
        let (outgoing, held, life) = opened.split();
        let (id, sessions) = (rng::token(), Arc::clone(&self.sessions));
        let place = format!("{MESSAGES}?{SESSION}{id}");
        sessions.insert(id.clone(), Arc::clone(&life.pipe));
        self.opener.tasks.spawn(async move {
            life.last().await;
            sessions.remove(&id);
            life.end().await;
        });
        let first = Some(sse_event_with(place.as_bytes(), None, Some("endpoint")));
        Ok(stream(Stream::new(Telling { first, outgoing }, held)))
    }

    /// Takes a message of a client. What is to be said to it is said on its stream, but for what is
    /// no message at all.
    pub(super) async fn message(
        &self,
        request: Request<Incoming>,
        who: Option<Arc<Member>>,
    ) -> Outcome {
        if request.method() != Method::POST {
            return not_allowed("POST");
        }
        let refused = |status, text: &'static str| {
            refuse(status, None, &ErrorBody::new(INVALID_REQUEST, text))
        };
        if !is_json(request.headers()) {
            return Err(refused(415, "the Content-Type must be application/json"));
        }
        let query = request.uri().query().unwrap_or_default();
        let Some(id) = query.split('&').find_map(|part| part.strip_prefix(SESSION)) else {
            let text =
                "the query lacks sessionId; GET /sse first, and POST where its first event says";
            return Err(refused(400, text));
        };
        let Some(pipe) = self.session(id, who.as_deref()) else {
            return Err(refused(404, "there is no such session; GET /sse to begin a new one"));
        };
        let (body, counted) = receive(&self.opener.intake, request.into_body()).await?;
        // From here on it has a place of its own, if it needs one.
        drop(counted);
        match pipe.take(body).await {
            Ok(()) => Ok(accepted()),
            Err(error) => Err(document(400, error)),
        }
    }

    /// The session of this id, if it is one of `who`. To anybody else it is not there: an id is no
    /// proof of who one is.
    fn session(&self, id: &str, who: Option<&Member>) -> Option<Arc<Pipe>> {
        let pipe = Arc::clone(self.sessions.get(id)?.value());
        let principal =
            |member: Option<&Member>| member.map(|member| Principal::clone(member.who()));
        (principal(pipe.guest().who.as_deref()) == principal(who)).then_some(pipe)
    }
}

/// The stream of a session.
struct Telling {
    /// Where its client is to send messages.
    first: Option<Bytes>,
    outgoing: Outgoing,
}

impl Events for Telling {
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        let next = self.outgoing.poll_next(context);
        next.map(|message| message.map(|it| sse_event_with(&it, None, Some("message"))))
    }
}
