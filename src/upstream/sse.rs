//! The HTTP+SSE transport of 2024-11-05 as a channel: one GET is the session, whose messages come as
//! the events of that stream, and each message of ours is a POST to the address that its first event
//! says (2024-11-05, basic/transports, "HTTP with SSE"). When the stream ends, all is over.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http_body_util::BodyExt as _;
use tokio::sync::Semaphore;

use crate::base::{Fault, Kind, Sent, Tasks};
use crate::egress::{Body as HttpBody, collect};
use crate::proto::frame::{SseEvent, SseFramer};
use crate::proto::{Abilities, Version};

use super::channel::{Channel, Garbage, Outlet, Sending};
use super::endpoint::resolve;
use super::http::{DRAIN_MAX, EVENT_BYTES_MAX, HttpLink};
use super::mux::ended;

/// Longest wait for a stream and the `endpoint` event on it.
pub const ENDPOINT_TIMEOUT: Duration = Duration::from_secs(10);
/// Most messages to one server that nobody waits for and that it has not taken yet; more are dropped.
pub const TELLS_MAX: usize = 256;
/// Largest text behind the status that takes a message; what is larger costs its connection.
const TAKEN_BYTES_MAX: usize = 64 * 1024;

/// A session. It ends when this is dropped.
#[derive(Debug)]
pub struct SseSession {
    channel: Arc<Channel>,
    /// Where our messages go.
    endpoint: HttpLink,
    /// The same, once a revision is agreed on.
    agreed: Arc<OnceLock<HttpLink>>,
}

/// Opens a session at the address of `link`, which speaks as before a handshake.
/// `declared` = what the server is told that its clients can be asked.
pub async fn open(
    link: &HttpLink,
    declared: Abilities,
    tasks: &Tasks,
) -> Result<SseSession, Fault> {
    let opening = tokio::time::timeout(ENDPOINT_TIMEOUT, greeted(link)).await;
    let (stream, endpoint) = opening.unwrap_or_else(|_elapsed| {
        let seconds = ENDPOINT_TIMEOUT.as_secs();
        let message = format!("it sent no stream with an `endpoint` event within {seconds} s");
        Err(Fault::upstream(Kind::Timeout, Sent::No, message))
    })?;
    let agreed = Arc::new(OnceLock::new());
    let posts = Posts {
        endpoint: endpoint.clone(),
        agreed: Arc::clone(&agreed),
        tells: Arc::new(Semaphore::new(TELLS_MAX)),
        tasks: tasks.clone(),
    };
    let channel = Channel::new(posts, declared);
    tasks.spawn(read(Arc::clone(&channel), stream));
    Ok(SseSession { channel, endpoint, agreed })
}

/// A stream, and where its first event leads. Whatever else comes before that is of no use.
async fn greeted(link: &HttpLink) -> Result<(Stream, HttpLink), Fault> {
    let opened = link.open_session().await.map_err(|fault| match fault.kind {
        Kind::Status(status) if !matches!(status, 401 | 403) => {
            let message = format!("it answered the GET of its stream with HTTP {status}");
            Fault { message: message.into(), ..fault }
        }
        _ => fault,
    })?;
    let mut stream = Stream::new(opened);
    loop {
        let event = stream.next().await?;
        if event.event.as_deref() == Some(b"endpoint") {
            let endpoint = resolve(link.url(), &event.data)
                .map_err(|why| Fault::upstream(Kind::Protocol, Sent::No, why))?;
            return Ok((stream, link.at(endpoint)));
        }
    }
}

impl SseSession {
    /// Its channel.
    pub fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }

    /// A revision is agreed on: those that know the header see it from now on, though this
    /// transport is older than it, as they do from other clients.
    pub fn agree(&self, version: Version) -> &HttpLink {
        self.agreed.get_or_init(|| {
            let mut link = self.endpoint.clone();
            if version >= Version::V2025_06_18 {
                link.speak(version, None);
            }
            link
        })
    }

    /// Ends it: every waiter is told, and the stream is closed.
    pub fn close(&self, why: &Fault) {
        self.channel.close(why);
    }
}

impl Drop for SseSession {
    fn drop(&mut self) {
        self.close(&Fault::gateway(Kind::Cancelled, "its session is over"));
    }
}

// === out ===

/// A message is a POST of its own, so that none waits for another: some servers take a request only
/// when they have answered it, and ask something in between.
#[derive(Debug)]
struct Posts {
    endpoint: HttpLink,
    agreed: Arc<OnceLock<HttpLink>>,
    /// Room for messages that nobody waits for.
    tells: Arc<Semaphore>,
    tasks: Tasks,
}

impl Posts {
    fn link(&self) -> HttpLink {
        self.agreed.get().unwrap_or(&self.endpoint).clone()
    }

    /// Lets a request out whose sender is gone, for [`DRAIN_MAX`], and then tells something.
    fn in_background(&self, first: Option<Sending>, then: Option<Vec<u8>>) -> Result<(), Fault> {
        let Ok(place) = Arc::clone(&self.tells).try_acquire_owned() else {
            let text = "too many of our messages wait until it takes them";
            return Err(Fault::upstream(Kind::Overloaded, Sent::No, text));
        };
        let link = self.link();
        self.tasks.spawn(async move {
            if let Some(sending) = first {
                drop(tokio::time::timeout(DRAIN_MAX, sending).await);
            }
            if let Some(body) = then
                && let Err(fault) = link.tell(body).await
            {
                tracing::debug!(%fault, "a server did not take a message");
            }
            drop(place);
        });
        Ok(())
    }
}

impl Outlet for Posts {
    fn send(&self, _number: u64, body: Vec<u8>) -> Result<Option<Sending>, Fault> {
        Ok(Some(Box::pin(post(self.link(), body))))
    }

    fn tell(&self, body: Vec<u8>) -> Result<(), Fault> {
        self.in_background(None, Some(body))
    }

    fn let_go(&self, sending: Sending, last: Option<Vec<u8>>) {
        if let Err(fault) = self.in_background(Some(sending), last) {
            tracing::debug!(%fault, "could not cancel a request");
        }
    }
}

/// Posts a request. It has no bound of its own: whoever waits for the answer has.
async fn post(link: HttpLink, body: Vec<u8>) -> Result<(), Fault> {
    let rest = link.put(body).await.map_err(|fault| match fault.kind {
        Kind::Status(status @ (404 | 410)) => {
            let text = format!("it does not know our session (HTTP {status})");
            Fault::upstream(Kind::SessionLost, Sent::Rejected, text)
        }
        _ => fault,
    })?;
    // It is read to its end so that the connection is used again.
    drop(tokio::time::timeout(DRAIN_MAX, collect(rest, TAKEN_BYTES_MAX)).await);
    Ok(())
}

// === in ===

/// The events of a session.
struct Stream {
    body: HttpBody,
    framer: SseFramer,
}

impl Stream {
    fn new(body: HttpBody) -> Self {
        Self { body, framer: SseFramer::new(EVENT_BYTES_MAX) }
    }

    /// The next event. Nothing is lost if the future is dropped.
    async fn next(&mut self) -> Result<SseEvent, Fault> {
        loop {
            if let Some(event) = self.framer.next_event() {
                return event.map_err(|error| {
                    let message = format!("an event of its stream is too long: {error}");
                    Fault::upstream(Kind::TooLarge, Sent::Maybe, message)
                });
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.framer.push(data);
                    }
                }
                Some(Err(fault)) => return Err(fault),
                None => {
                    // Some servers forget the blank line behind their last event.
                    let rest = std::mem::replace(&mut self.framer, SseFramer::new(0)).finish();
                    let end = || ended("its stream of events ended".to_owned());
                    return rest.and_then(Result::ok).ok_or_else(end);
                }
            }
        }
    }
}

async fn read(channel: Arc<Channel>, mut stream: Stream) {
    let mut garbage = Garbage::default();
    let fault = loop {
        let event = tokio::select! {
            biased;
            () = channel.closed() => return,
            event = stream.next() => event,
        };
        let taken = match event {
            Ok(event) if event.is_message() && !event.data.is_empty() => {
                channel.take(&event.data, &mut garbage)
            }
            Ok(_) => Ok(()),
            Err(fault) => Err(fault),
        };
        if let Err(fault) = taken {
            break fault;
        }
    };
    channel.close(&fault);
}
