//! A child process of the run: started on its core, its lines read, ended by its id.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;

/// Lines kept for a report of what went wrong; later ones are read and dropped.
const LINES: usize = 1000;

const STOP: Duration = Duration::from_secs(5);

pub(crate) struct Server {
    name: &'static str,
    child: Child,
    lines: Receiver<String>,
}

/// Where to read the line that says a server is ready.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Stdout,
    Stderr,
}

impl Server {
    /// `prefix` is a command that runs the program, such as `taskset -c 0`.
    pub(crate) fn start(
        name: &'static str,
        prefix: &[&str],
        command: Vec<OsString>,
        envs: &[(&str, &str)],
        speaks: Speaks,
    ) -> Result<Self> {
        let mut words = prefix.iter().map(OsString::from).chain(command);
        let program = words.next().ok_or("no program")?;
        let mut command = Command::new(program);
        command.args(words).envs(envs.iter().copied()).stdin(Stdio::piped());
        match speaks {
            Speaks::Stdout => command.stdout(Stdio::piped()).stderr(Stdio::inherit()),
            Speaks::Stderr => command.stdout(Stdio::null()).stderr(Stdio::piped()),
        };
        let mut child = command.spawn().map_err(|error| format!("{name}: {error}"))?;
        let lines = match speaks {
            Speaks::Stdout => child.stdout.take().map(lines),
            Speaks::Stderr => child.stderr.take().map(lines),
        };
        let lines = lines.ok_or("no output to read")?;
        Ok(Self { name, child, lines })
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line from which `read` takes what is wanted.
    pub(crate) fn wait<T>(&self, limit: Duration, read: impl Fn(&str) -> Option<T>) -> Result<T> {
        let until = Instant::now() + limit;
        let mut seen = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => match read(&line) {
                    Some(found) => return Ok(found),
                    None => seen.push(line),
                },
                Err(why) => return Err(self.silent(why, &seen)),
            }
        }
    }

    fn silent(&self, why: RecvTimeoutError, seen: &[String]) -> crate::Error {
        let why = match why {
            RecvTimeoutError::Timeout => "said nothing of being ready",
            RecvTimeoutError::Disconnected => "ended before it was ready",
        };
        let said = if seen.is_empty() { "nothing at all".to_owned() } else { seen.join("\n  ") };
        format!("{} {why}; it said:\n  {said}", self.name).into()
    }

    /// What it has said since the last line that was waited for.
    pub(crate) fn said(&self) -> String {
        self.lines.try_iter().collect::<Vec<_>>().join("\n  ")
    }

    pub(crate) fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks it to end, as a service manager would.
    fn ask_to_end(&self) {
        let kill = format!("kill -TERM {}", self.child.id());
        let asked = Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status();
        // It may have ended by itself; the wait that follows finds out.
        drop(asked);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.running() {
            self.ask_to_end();
        }
        let until = Instant::now() + STOP;
        while self.running() {
            if Instant::now() > until {
                eprintln!("load: {} did not end when asked and is killed", self.name);
                drop(self.child.kill());
                drop(self.child.wait());
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Reads to the end on a thread of its own, so that a talkative server never waits for us.
fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = sync_channel(LINES);
    thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(std::result::Result::ok) {
            // Full or no longer wanted: the line is dropped, reading goes on.
            drop(sender.try_send(String::from_utf8_lossy(&line).into_owned()));
        }
    });
    receiver
}
