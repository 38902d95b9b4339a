//! What really happened, and what clients were told: the two books that must agree.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use waypost::base::clock;

/// The gateway knows within this time that the other end of a pipe has broken.
const NOTICED_WITHIN: Duration = Duration::from_millis(20);

/// A call of a client, by its number.
pub(crate) type Op = u64;

/// What a second run of a call would do, by the configuration of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Read,
    Idempotent,
    Once,
    /// A tool that policy hides: nothing of it may reach a server.
    Denied,
}

/// How a call ended for its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A result of the tool.
    Result,
    /// An error that the server answered with.
    Theirs,
    /// An error of the gateway.
    Ours { code: i64, delivery: String },
    /// The client gave up.
    GivenUp,
}

/// Both books of one call.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) upstream: usize,
    pub(crate) class: Class,
    /// How many things had gone wrong in the world when it began.
    pub(crate) troubles_before: u64,
    /// When it ended for its client, how, and how many things had gone wrong by then.
    pub(crate) ended: Option<(Duration, Outcome, u64)>,
    /// Where and when it ran.
    pub(crate) runs: Vec<(String, Duration)>,
    /// Requests for it that reached a server whole, those left out that were refused unrun.
    pub(crate) taken: u32,
    /// Requests for it that reached a server whole.
    pub(crate) reached: u32,
    /// When a server learned that it is not wanted any more.
    pub(crate) cancelled: Vec<Duration>,
}

#[derive(Debug)]
struct Books {
    pages: BTreeMap<Op, Page>,
    events: Vec<String>,
    breaches: Vec<String>,
    troubles: u64,
    last_trouble: Duration,
}

/// The books of one world. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    start: Instant,
    books: Arc<Mutex<Books>>,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        let books = Books {
            pages: BTreeMap::new(),
            events: Vec::new(),
            breaches: Vec::new(),
            troubles: 0,
            last_trouble: Duration::ZERO,
        };
        Self { start: clock::now(), books: Arc::new(Mutex::new(books)) }
    }

    /// Time since the world began.
    pub(crate) fn now(&self) -> Duration {
        clock::now() - self.start
    }

    /// Writes an event down.
    pub(crate) fn note(&self, what: impl AsRef<str>) {
        let line = format!("{:>9} ms  {}", self.now().as_millis(), what.as_ref());
        self.books.lock().events.push(line);
    }

    /// Something went wrong in the world, so that whoever had a request on the way cannot know
    /// what became of it.
    pub(crate) fn trouble(&self, what: impl AsRef<str>) {
        let now = self.now();
        let mut books = self.books.lock();
        (books.troubles, books.last_trouble) = (books.troubles + 1, now);
        drop(books);
        self.note(what);
    }

    /// An invariant does not hold.
    pub(crate) fn breach(&self, what: impl AsRef<str>) {
        let what = what.as_ref();
        self.note(format!("BREACH {what}"));
        self.books.lock().breaches.push(what.to_owned());
    }

    /// A client begins a call.
    pub(crate) fn begins(&self, op: Op, upstream: usize, class: Class) {
        let now = self.now();
        let mut books = self.books.lock();
        // What broke a moment ago may still look whole to a call that begins now.
        let fresh = books.last_trouble + NOTICED_WITHIN > now;
        let page = Page {
            upstream,
            class,
            troubles_before: books.troubles - u64::from(fresh && books.troubles > 0),
            ended: None,
            runs: Vec::new(),
            taken: 0,
            reached: 0,
            cancelled: Vec::new(),
        };
        books.pages.insert(op, page);
        drop(books);
        self.note(format!("op {op} begins: {class:?} at upstream {upstream}"));
    }

    /// A client's call ended.
    pub(crate) fn ends(&self, op: Op, outcome: Outcome) {
        self.note(format!("op {op} ends: {outcome:?}"));
        let now = self.now();
        let mut books = self.books.lock();
        let troubles = books.troubles;
        let page = books.pages.get_mut(&op).unwrap();
        let twice = page.ended.replace((now, outcome, troubles)).is_some();
        drop(books);
        if twice {
            self.breach(format!("I3: op {op} ended twice"));
        }
    }

    fn on(&self, op: Op, what: &str, host: &str, write: impl FnOnce(&mut Page)) {
        self.note(format!("op {op} {what} {host}"));
        let known = self.books.lock().pages.get_mut(&op).map(write).is_some();
        if !known {
            self.breach(format!("I4: {host} got op {op}, which nobody called"));
        }
    }

    /// A request reached a server whole. `refused` = the server does not take it.
    pub(crate) fn reaches(&self, op: Op, host: &str, refused: bool) {
        self.on(op, if refused { "is refused by" } else { "reaches" }, host, |page| {
            page.reached += 1;
            page.taken += u32::from(!refused);
        });
    }

    /// A tool runs.
    pub(crate) fn runs(&self, op: Op, host: &str) {
        let now = self.now();
        self.on(op, "runs at", host, |page| page.runs.push((host.to_owned(), now)));
    }

    /// A server learned that a call is not wanted any more.
    pub(crate) fn cancels(&self, op: Op, host: &str) {
        let now = self.now();
        self.on(op, "is cancelled at", host, |page| page.cancelled.push(now));
    }

    /// All pages as they are now.
    pub(crate) fn pages(&self) -> BTreeMap<Op, Page> {
        self.books.lock().pages.clone()
    }

    /// One page as it is now.
    pub(crate) fn page(&self, op: Op) -> Option<Page> {
        self.books.lock().pages.get(&op).cloned()
    }

    pub(crate) fn breaches(&self) -> Vec<String> {
        self.books.lock().breaches.clone()
    }

    /// A subscriber that writes what the gateway logs into the story.
    pub(crate) fn log(&self) -> impl tracing::Subscriber + Send + Sync + use<> {
        let ledger = self.clone();
        let writer = move || Log(ledger.clone());
        let format = tracing_subscriber::fmt().without_time().with_ansi(false);
        format.with_max_level(tracing::Level::DEBUG).with_writer(writer).finish()
    }

    /// What happened, line by line.
    pub(crate) fn story(&self) -> String {
        let books = self.books.lock();
        books.events.iter().fold(String::new(), |mut text, line| {
            writeln!(text, "{line}").unwrap();
            text
        })
    }

    /// A number that is the same for the same story.
    pub(crate) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.books.lock().events.hash(&mut hasher);
        hasher.finish()
    }
}

/// Writes the log of the gateway into the story.
struct Log(Ledger);

impl std::io::Write for Log {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.note(format!("    {}", String::from_utf8_lossy(line).trim_end()));
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
