//! What one demo server process is and remembers; every transport, session and call shares it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::catalog::Catalog;
use super::chance::Chance;
use super::era::Served;
use super::journal::Journal;
use super::quirks::{Quirk, Quirks};
use super::{DemoServerArgs, EraChoice};

/// Requests answered at the same time, in all.
const REQUESTS_MAX: usize = 4096;

/// Tools that `grow` may add.
const GROWN_MAX: usize = 1000;

/// The shared state of the process.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) name: String,
    pub(super) served: Served,
    pub(super) delay: Duration,
    pub(super) chance: Chance,
    pub(super) ttl_ms: u64,
    pub(super) get_stream: bool,
    pub(super) catalog: Catalog,
    pub(super) quirks: Quirks,
    pub(super) journal: Option<Journal>,
    pub(super) record: Option<Journal>,
    pub(super) counts: Counts,
    /// How many tools `grow` added. Watching it is how list changes are noticed.
    pub(super) grown: watch::Sender<usize>,
    /// Free places for requests.
    pub(super) places: Semaphore,
    /// Owns every task that this process starts.
    pub(super) tasks: TaskTracker,
    /// Cancelled when no more input will come: long streams end with a proper last word.
    pub(super) closing: CancellationToken,
}

/// What was counted since the process began.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) calls: Counter,
    pub(super) whoami: Counter,
    pub(super) append: Counter,
    pub(super) asks: Counter,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

// === impl Counter ===

impl Counter {
    /// Counts one more; the first gets 1.
    pub(super) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

// === impl Server ===

impl Server {
    pub(super) fn new(args: DemoServerArgs) -> anyhow::Result<Self> {
        let quirks = Quirks::new(args.quirks);
        let era =
            if quirks.has(&Quirk::ExitOnDiscover) { Some(EraChoice::Legacy) } else { args.era };
        let open =
            |path: Option<std::path::PathBuf>| path.map(|path| Journal::open(&path)).transpose();
        Ok(Self {
            name: args.name,
            served: Served {
                legacy: era != Some(EraChoice::Modern),
                modern: era != Some(EraChoice::Legacy),
            },
            delay: Duration::from_millis(args.delay),
            chance: Chance::new(args.fail, args.seed),
            ttl_ms: args.ttl,
            get_stream: !args.no_get_stream,
            catalog: Catalog::new(args.tools, args.page_size, &quirks),
            quirks,
            journal: open(args.journal)?,
            record: open(args.record)?,
            counts: Counts::default(),
            grown: watch::Sender::new(0),
            places: Semaphore::new(REQUESTS_MAX),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        })
    }

    /// Who this is, in the words of the protocol.
    pub(super) fn info(&self) -> Value {
        json!({
            "name": self.name,
            "title": "Waypost demo server",
            "version": env!("CARGO_PKG_VERSION"),
        })
    }

    pub(super) fn capabilities() -> Value {
        json!({"tools": {"listChanged": true}})
    }

    pub(super) fn instructions(&self) -> String {
        format!("A demo server named {}: small tools to try a gateway with.", self.name)
    }

    /// Adds one tool and tells all who watch. None when there are enough.
    pub(super) fn grow(&self) -> Option<usize> {
        let mut added = None;
        self.grown.send_if_modified(|grown| {
            if *grown < GROWN_MAX {
                *grown += 1;
                added = Some(*grown);
            }
            added.is_some()
        });
        added
    }

    /// Notes what arrived, if asked to. A full disk must not stop the server under test.
    pub(super) fn record(&self, entry: impl FnOnce() -> Value) {
        if let Some(journal) = &self.record
            && let Err(error) = journal.append(&entry())
        {
            self.say(&format!("cannot record: {error}"));
        }
    }

    /// One line on stderr.
    pub(super) fn say(&self, what: &str) {
        use std::io::Write;
        let line = format!("demo-server {} {what}\n", self.name);
        // A closed stderr is no reason to stop.
        drop(std::io::stderr().write_all(line.as_bytes()));
    }
}

/// Ends the process on the spot: what a crash looks like from outside.
#[expect(clippy::exit, reason = "dying in the middle of work is what is asked for")]
pub(super) fn leave(exit_code: i32) -> ! {
    std::process::exit(exit_code)
}
