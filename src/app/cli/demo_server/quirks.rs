//! Faults on demand: what real servers do wrong, so that tests can do it to the gateway.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use super::server::{Server, leave};

/// The exit code of every crash that was asked for.
pub(super) const CRASH_CODE: i32 = 3;

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Quirk {
    /// Adds the tool `ask`, which needs an answer from the user in mid-call.
    Ask,
    /// Prints two lines that are no JSON before anything else.
    Banner,
    /// Dies at the call after so many, before it is answered.
    CrashAfter(u64),
    /// Dies before it says anything.
    CrashAtStart,
    /// Answers `server/discover` with -32000.
    Discover32000,
    /// HTTP: answers `server/discover` with this status and an HTML page.
    DiscoverStatus(StatusCode),
    /// stdio: says every answer twice.
    DoubleAnswer,
    /// Starts a grandchild that outlives its parent and ignores SIGTERM.
    DoubleFork,
    /// Legacy stdio: dies of any request before `initialize`.
    ExitOnDiscover,
    /// Writes to stderr without end.
    FloodStderr,
    /// Prints lines that are no JSON for ever, between its answers.
    Garbage,
    /// Never answers `server/discover`.
    IgnoreDiscover,
    /// Ignores SIGTERM and the end of stdin.
    IgnoreSigterm,
    /// Adds the tools `ledger_…`, whose every run is in the journal with time and the caller's word.
    Ledger,
    /// stdio: the first accepted message locks the era.
    LockEra,
    /// Answers a call with a line that never ends.
    LongLine,
    /// tools/list has the same next page for ever.
    LoopCursor,
    /// Answers the handshake and nothing else.
    NeverAnswer,
    /// Modern results without `resultType`.
    NoResultType,
    /// Adds the modern tool `array_result`, whose structured content is an array.
    ObjectOutput,
    /// tools/list is never answered.
    SlowList,
    /// Waits so many milliseconds before it reads or answers anything.
    SlowStart(u64),
    /// HTTP: every POST gets this status.
    Status(StatusCode),
    /// Answers calls under another id.
    WrongId,
    /// Adds tools with good and bad `x-mcp-header` annotations.
    XMcpHeader,
}

// === impl Quirk ===

impl FromStr for Quirk {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let number = || value.parse::<u64>().map_err(|error| format!("{name}=NUMBER: {error}"));
        let status =
            || value.parse::<StatusCode>().map_err(|error| format!("{name}=CODE: {error}"));
        Ok(match name {
            "ask" => Self::Ask,
            "banner" => Self::Banner,
            "crash-after" => Self::CrashAfter(number()?),
            "crash-at-start" => Self::CrashAtStart,
            "discover-32000" => Self::Discover32000,
            "discover-status" => Self::DiscoverStatus(status()?),
            "double-answer" => Self::DoubleAnswer,
            "double-fork" => Self::DoubleFork,
            "exit-on-discover" => Self::ExitOnDiscover,
            "flood-stderr" => Self::FloodStderr,
            "garbage" => Self::Garbage,
            "ignore-discover" => Self::IgnoreDiscover,
            "ignore-sigterm" => Self::IgnoreSigterm,
            "ledger" => Self::Ledger,
            "lock-era" => Self::LockEra,
            "long-line" => Self::LongLine,
            "loop-cursor" => Self::LoopCursor,
            "never-answer" => Self::NeverAnswer,
            "no-result-type" => Self::NoResultType,
            "object-output" => Self::ObjectOutput,
            "slow-list" => Self::SlowList,
            "slow-start" => Self::SlowStart(number()?),
            "status" => Self::Status(status()?),
            "wrong-id" => Self::WrongId,
            "x-mcp-header" => Self::XMcpHeader,
            _ => return Err(format!("no such quirk: {name}")),
        })
    }
}

/// The faults that were asked for.
#[derive(Debug)]
pub(super) struct Quirks(Vec<Quirk>);

// === impl Quirks ===

impl Quirks {
    pub(super) const fn new(quirks: Vec<Quirk>) -> Self {
        Self(quirks)
    }

    pub(super) fn has(&self, quirk: &Quirk) -> bool {
        self.0.contains(quirk)
    }

    /// The call after which the process dies.
    pub(super) fn crash_after(&self) -> Option<u64> {
        self.find(|quirk| if let Quirk::CrashAfter(calls) = quirk { Some(*calls) } else { None })
    }

    /// The status of every POST.
    pub(super) fn status(&self) -> Option<StatusCode> {
        self.find(|quirk| if let Quirk::Status(status) = quirk { Some(*status) } else { None })
    }

    /// The status of `server/discover`.
    pub(super) fn discover_status(&self) -> Option<StatusCode> {
        self.find(
            |quirk| {
                if let Quirk::DiscoverStatus(status) = quirk { Some(*status) } else { None }
            },
        )
    }

    fn find<T>(&self, pick: impl FnMut(&Quirk) -> Option<T>) -> Option<T> {
        self.0.iter().find_map(pick)
    }

    /// What has to go wrong before the server serves.
    pub(super) async fn start(&self, server: &Arc<Server>) -> anyhow::Result<()> {
        if self.has(&Quirk::CrashAtStart) {
            server.say("crashes, as asked");
            leave(CRASH_CODE);
        }
        if self.has(&Quirk::IgnoreSigterm) {
            // Signals that nobody takes from here do no harm: the default action is off.
            let mut terms = signal(SignalKind::terminate())?;
            server.tasks.spawn(async move { while terms.recv().await.is_some() {} });
        }
        if self.has(&Quirk::FloodStderr) {
            std::thread::Builder::new().spawn(flood_stderr)?;
        }
        if self.has(&Quirk::DoubleFork) {
            leave_grandchild(&server.name).await?;
        }
        let slow = |quirk: &Quirk| {
            if let Quirk::SlowStart(ms) = quirk { Some(*ms) } else { None }
        };
        if let Some(ms) = self.find(slow) {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
        Ok(())
    }
}

/// On a thread of its own: a write to a full pipe blocks, and must block nothing else.
fn flood_stderr() {
    use std::io::Write;
    let burst = "stderr is being flooded, as asked; this is only noise\n".repeat(1214);
    while std::io::stderr().write_all(burst.as_bytes()).is_ok() {
        // A breath, or the flood takes a whole core when stderr goes nowhere.
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// The shell in the middle is gone when this returns; the grandchild's pid goes to stderr.
async fn leave_grandchild(name: &str) -> std::io::Result<()> {
    let script = "setsid sh -c 'trap \"\" TERM; exec sleep 1000' </dev/null >/dev/null 2>&1 & \
                  echo \"demo-server $0 grandchild $!\" >&2";
    Command::new("sh").args(["-c", script, name]).status().await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_read() {
        assert_eq!("banner".parse(), Ok(Quirk::Banner));
        assert_eq!("crash-after=3".parse(), Ok(Quirk::CrashAfter(3)));
        assert_eq!("status=503".parse(), Ok(Quirk::Status(StatusCode::SERVICE_UNAVAILABLE)));
        for bad in ["", "nope", "crash-after", "crash-after=x", "status=99"] {
            assert!(bad.parse::<Quirk>().is_err(), "{bad}");
        }
    }

    #[test]
    fn values_are_found_again() {
        let quirks = Quirks::new(vec![Quirk::Banner, Quirk::CrashAfter(2)]);
        assert!(quirks.has(&Quirk::Banner));
        assert_eq!(quirks.crash_after(), Some(2));
        assert_eq!(quirks.status(), None);
    }
}
