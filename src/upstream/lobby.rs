//! Log messages that come outside of any call's stream: on the pipe of a child that several clients
//! share, or on the standing stream of a legacy session. They belong to the one client whose calls
//! run there, or whose last one has just ended; if that is more than one, to nobody, since they
//! must never reach the wrong client (2025-11-25, server/utilities/logging).
//!
//! So do questions on the standing stream: many servers ask there in the middle of a call, though
//! they should on the stream of that call (2025-11-25, basic/transports, "Listening for Messages").
//! They belong to the one call in flight whose client can be asked, if none can be of a call that was
//! given up a moment ago.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::{Notify, mpsc};

use crate::base::clock;
use crate::proto::{Abilities, Level, Method, Span};

use super::ask::{ASKS_MAX, Answerer, Ask, Back, Waiting, refusal, unclear};
use super::exchange::Caller;
use super::ghosts::Ghosts;

/// A call that ended may still be meant for so long.
pub const RECENT: Duration = Duration::from_secs(2);
/// Most messages that wait for one client; the oldest goes first.
pub const MAIL_MAX: usize = 64;
/// Largest message that waits for a client in bytes; larger ones are dropped.
pub const MAIL_BYTES_MAX: usize = 64 * 1024;

/// What waits for a client until one of its standing streams takes it.
#[derive(Debug, Default)]
pub struct Mailbox {
    messages: Mutex<VecDeque<Bytes>>,
    arrived: Notify,
}

impl Mailbox {
    /// Adds a message. One that is too large is dropped; where too many wait, the oldest is.
    pub(super) fn put(&self, message: Bytes) {
        if message.len() > MAIL_BYTES_MAX {
            return;
        }
        let mut messages = self.messages.lock();
        if messages.len() >= MAIL_MAX {
            messages.pop_front();
        }
        messages.push_back(message);
        drop(messages);
        self.arrived.notify_one();
    }

    /// Hands on all that comes, for as long as it is polled.
    pub async fn drain(&self, mut to: impl FnMut(Bytes)) {
        loop {
            to(self.next().await);
        }
    }

    /// Resolves with the oldest message, which is taken out.
    pub async fn next(&self) -> Bytes {
        loop {
            let oldest = self.messages.lock().pop_front();
            if let Some(message) = oldest {
                return message;
            }
            self.arrived.notified().await;
        }
    }
}

/// Who has calls at one server.
#[derive(Debug, Default)]
pub struct Lobby {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    seated: SmallVec<[Guest; 4]>,
    recent: Option<(Instant, Guest)>,
    ghosts: Ghosts,
}

/// A call at the server.
#[derive(Clone, Debug)]
struct Guest {
    number: u64,
    /// `None`: its client takes no such messages, or not outside of its call.
    mail: Option<Arc<Mailbox>>,
    least: Level,
    /// How its client is asked; `None`: not beside the stream of its call.
    asked: Option<Asked>,
}

/// A client that can be asked in the middle of its call.
#[derive(Clone, Debug)]
struct Asked {
    abilities: Abilities,
    to: mpsc::Sender<Ask>,
    waiting: Waiting,
    count: u32,
}

/// Questions that come beside the stream of one call.
#[derive(Debug)]
pub struct Questions {
    arrived: mpsc::Receiver<Ask>,
    waiting: Waiting,
}

impl Questions {
    /// Resolves with the next one; never, if there can be none any more.
    pub async fn next(&mut self) -> Ask {
        match self.arrived.recv().await {
            Some(ask) => ask,
            None => std::future::pending().await,
        }
    }

    /// Whether one has not been answered.
    pub fn any_open(&self) -> bool {
        self.waiting.any()
    }
}

/// A call's place in the lobby, as long as it is held.
#[derive(Debug)]
pub struct Seat {
    lobby: Arc<Lobby>,
    number: u64,
    /// The server will ask nothing about the call any more.
    over: bool,
}

impl Seat {
    /// The call was answered, or never reached the server: it asks nothing about it any more.
    pub fn over(&mut self) {
        self.over = true;
    }
}

impl Lobby {
    /// A call of this client begins. `own` = a mailbox of the call's own, where its client has none.
    pub fn sit(self: &Arc<Self>, caller: &Caller, own: Option<Arc<Mailbox>>) -> Seat {
        self.seat(caller, own, None)
    }

    /// The same for a call whose client can be asked for something.
    pub fn sit_and_hear(
        self: &Arc<Self>,
        caller: &Caller,
        own: Option<Arc<Mailbox>>,
    ) -> (Seat, Questions) {
        // Each has a place: more are not taken of one call.
        let (to, arrived) = mpsc::channel(usize::try_from(ASKS_MAX).unwrap_or(1));
        let waiting = Waiting::default();
        let abilities = caller.abilities;
        let asked = Asked { abilities, to, waiting: waiting.clone(), count: 0 };
        (self.seat(caller, own, Some(asked)), Questions { arrived, waiting })
    }

    fn seat(
        self: &Arc<Self>,
        caller: &Caller,
        own: Option<Arc<Mailbox>>,
        asked: Option<Asked>,
    ) -> Seat {
        let mut inner = self.inner.lock();
        inner.next += 1;
        let number = inner.next;
        let least = caller.log_level.unwrap_or(Level::Debug);
        inner.seated.push(Guest { number, mail: caller.mail.clone().or(own), least, asked });
        Seat { lobby: Arc::clone(self), number, over: false }
    }

    /// A log message has come.
    pub fn log(&self, message: &[u8], level: Level) {
        if let Some(mail) = self.meant(level, clock::now()) {
            mail.put(Bytes::copy_from_slice(message));
        }
    }

    /// A question has come, whose own id stands at `id`; `url` = it wants a URL to be opened. It is
    /// refused where it could be meant for nobody, or for two; answers whether for two, of which one
    /// may have been given up.
    pub fn ask(
        &self,
        message: &Bytes,
        id: Span,
        (method, url): (Method, bool),
        back: Back,
    ) -> bool {
        let mut inner = self.inner.lock();
        let haunted = inner.ghosts.may_ask(method, url, clock::now());
        let able = |asked: &&mut Asked| asked.abilities.allow(method, url);
        let mut all = inner.seated.iter_mut().filter_map(|guest| guest.asked.as_mut()).filter(able);
        let (first, second) = (all.next(), all.next());
        let crowded = second.is_some() || haunted && first.is_some();
        if let Some(asked) = first.filter(|_| !crowded)
            && asked.count < ASKS_MAX
            && let Ok(place) = asked.to.try_reserve()
        {
            asked.count += 1;
            let answerer = Answerer::new(back, id.of(message), &asked.waiting);
            place.send(Ask { body: message.clone(), id, method, answerer });
            return false;
        }
        drop(inner);
        let own = id.of(message);
        back.send(if crowded { unclear(own) } else { refusal(own, method) });
        crowded
    }

    /// Whether a question may be of a call that was given up.
    pub fn is_haunted(&self, now: Instant) -> bool {
        self.inner.lock().ghosts.any(now)
    }

    fn meant(&self, level: Level, now: Instant) -> Option<Arc<Mailbox>> {
        let inner = self.inner.lock();
        let recent = inner.recent.as_ref().filter(|(ended, _)| *ended + RECENT > now);
        // A call that has ended had its messages: whoever holds them went before its answer.
        let guest = inner.seated.first().or(recent.map(|(_, guest)| guest))?;
        let mail = guest.mail.as_ref()?;
        let same = |other: &Guest| other.mail.as_ref().is_some_and(|o| Arc::ptr_eq(o, mail));
        let alone = inner.seated.iter().all(same);
        (alone && level >= guest.least).then(|| Arc::clone(mail))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.lobby.inner.lock();
        if let Some(place) = inner.seated.iter().position(|guest| guest.number == self.number) {
            let (mut guest, now) = (inner.seated.swap_remove(place), clock::now());
            if let Some(asked) = guest.asked.take().filter(|_| !self.over) {
                inner.ghosts.note(asked.abilities, now);
            }
            inner.recent = Some((now, guest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Era;
    use crate::proto::answer::{Incoming, read};
    use crate::upstream::ghosts::GHOST_FOR;

    fn caller(mail: Option<&Arc<Mailbox>>, log_level: Option<Level>) -> Caller {
        Caller {
            who: None,
            era: Era::Legacy,
            capabilities: Bytes::from_static(b"{}"),
            info: None,
            log_level,
            abilities: Abilities::NONE,
            key: 0,
            home: 0,
            mail: mail.cloned(),
        }
    }

    #[test]
    fn a_message_belongs_to_the_one_client_that_is_there_or_was_last() {
        let lobby = Arc::new(Lobby::default());
        let (a, b) = (Arc::new(Mailbox::default()), Arc::new(Mailbox::default()));
        let now = clock::now();
        let whose = |level| lobby.meant(level, now);
        assert!(whose(Level::Error).is_none());
        let one = lobby.sit(&caller(Some(&a), Some(Level::Warning)), None);
        let two = lobby.sit(&caller(Some(&a), Some(Level::Warning)), None);
        assert!(Arc::ptr_eq(&whose(Level::Error).unwrap(), &a), "two calls of one client");
        assert!(whose(Level::Info).is_none(), "less severe than it wants");
        let other = lobby.sit(&caller(Some(&b), None), None);
        assert!(whose(Level::Error).is_none(), "two clients");
        drop((one, two));
        let later = now + RECENT + RECENT;
        assert!(Arc::ptr_eq(&whose(Level::Error).unwrap(), &b), "the one that is left");
        drop(other);
        assert!(lobby.meant(Level::Error, clock::now()).is_some());
        assert!(lobby.meant(Level::Error, later).is_none());
        let _modern = lobby.sit(&caller(None, None), None);
        assert!(lobby.meant(Level::Error, later).is_none());
    }

    #[tokio::test]
    async fn a_question_belongs_to_the_one_call_that_can_be_asked() {
        let lobby = Arc::new(Lobby::default());
        let abilities = Abilities { form: true, ..Abilities::NONE };
        let able = Caller { abilities, ..caller(None, None) };
        let (to, mut back) = mpsc::channel(1);
        let message =
            Bytes::from_static(br#"{"jsonrpc":"2.0","id":"q","method":"elicitation/create"}"#);
        let Ok(Incoming::Ask { id, method, url }) = read(&message) else { panic!() };
        let mut is_refused = || {
            lobby.ask(&message, id, (method, url), Back::Here(to.clone()));
            back.try_recv().is_ok()
        };
        assert!(is_refused(), "nobody is there");
        let _unable = lobby.sit(&caller(None, None), None);
        assert!(is_refused(), "nobody can be asked");
        let (one, mut questions) = lobby.sit_and_hear(&able, None);
        assert!(!is_refused());
        assert!(questions.any_open());
        assert_eq!(questions.next().await.body, message);
        assert!(!questions.any_open(), "dropped, it was answered");
        let (mut two, _) = lobby.sit_and_hear(&able, None);
        back.try_recv().unwrap();
        let mut is_refused = || {
            lobby.ask(&message, id, (method, url), Back::Here(to.clone()));
            back.try_recv().is_ok()
        };
        assert!(is_refused(), "it could be meant for two");
        two.over();
        drop(two);
        assert!((1..ASKS_MAX).all(|_| !is_refused()));
        assert!(is_refused(), "one too many");
        drop((one, questions));
        let now = clock::now();
        assert!(lobby.is_haunted(now) && !lobby.is_haunted(now + GHOST_FOR * 2));
    }

    #[tokio::test]
    async fn mail_waits_within_its_bounds() {
        let mail = Mailbox::default();
        for n in 0..=MAIL_MAX {
            mail.put(Bytes::from(n.to_string()));
        }
        mail.put(Bytes::from(vec![b'x'; MAIL_BYTES_MAX + 1]));
        assert_eq!(mail.next().await, "1");
        assert_eq!(mail.messages.lock().len(), MAIL_MAX - 1);
    }
}
