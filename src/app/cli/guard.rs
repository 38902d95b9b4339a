//! `waypost guard`: stands between the gateway and one child process, and is the promise that
//! nothing of the child outlives either of them. Hidden; the gateway starts it.
//!
//! The guard leads a session of its own and takes in every orphan below it (subreaper), so that
//! a process which forked twice or opened its own session is still found. It ends all of it when
//! the gateway is gone, however it died; when the child has ended; or when it is asked to
//! (SIGTERM: the child is asked too, and killed after [`ASKED`] or at the second signal).
//!
//! The child has the guard's stdin, stdout and stderr. The guard gives up its own, so that each
//! side sees the other one close, and no byte passes through here.

use std::ffi::OsString;
use std::fs::File;
use std::future::pending;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus, getpid, getppid, getrlimit,
    kill_process_group, setrlimit, setsid, wait,
};
use tokio::signal::unix::{self, SignalKind};
use tokio::time::{sleep, sleep_until, timeout};

use crate::base::clock;
use crate::upstream::tree;

/// How long the child may take to end once it was asked to.
pub const ASKED: Duration = Duration::from_secs(5);
/// How long killing may take in all. Only a process in the kernel's hands needs more.
const KILL_WITHIN: Duration = Duration::from_secs(2);
/// How soon what is left is looked for again.
const KILL_EVERY: Duration = Duration::from_millis(10);
/// How often the parent is looked at where the system cannot tell us of its end.
const PARENT_EVERY: Duration = Duration::from_millis(200);
/// Open files of a child, unless it asks for more itself; what the gateway raised is not for it.
const OPEN_FILES: u64 = 1024;

// As `env` and `timeout` of the coreutils report it.
const EXIT_GUARD_FAILED: u8 = 125;
const EXIT_CANNOT_RUN: u8 = 126;
const EXIT_NOT_FOUND: u8 = 127;

/// The command line of a guard.
#[derive(Debug, clap::Args)]
pub struct GuardArgs {
    /// The process that started the guard and whose end ends the child.
    #[arg(long)]
    parent: i32,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Runs the child to its end. The exit code is the child's, or 128 and the signal that ended it.
pub fn run(args: &GuardArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.map_err(Failure::from).and_then(|rt| rt.block_on(guard(args)));
    ExitCode::from(ended.unwrap_or_else(|failure| {
        let told = writeln!(io::stderr(), "waypost guard: {}", failure.why);
        drop(told); // whoever would read it is gone
        failure.code
    }))
}

/// Why no child was started.
struct Failure {
    code: u8,
    why: String,
}

impl Failure {
    fn new(why: impl Into<String>) -> Self {
        Self { code: EXIT_GUARD_FAILED, why: why.into() }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<Errno> for Failure {
    fn from(error: Errno) -> Self {
        Self::new(error.to_string())
    }
}

async fn guard(args: &GuardArgs) -> Result<u8, Failure> {
    // From before the child starts: no signal finds the guard unprepared.
    let mut ended = unix::signal(SignalKind::child())?;
    let mut asked = Asked::listen()?;
    let parent = Pid::from_raw(args.parent).ok_or_else(|| Failure::new("no such parent"))?;
    let gone = parent::Watch::new(parent)?;
    // Our parent holds its id from before our start until it ends. If it is still our parent now,
    // the watch is on it; else it has ended already, and nobody needs a child.
    if getppid() != Some(parent) {
        return Err(Failure::new("the gateway is gone"));
    }
    setsid()?;
    parent::prepare()?;
    limit()?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    let mut child = Tree { main: start(&args.command)?, status: None };
    if let Err(error) = let_go_of_stdio(&null) {
        child.kill(&mut ended).await;
        return Err(error.into());
    }
    let mut gone = std::pin::pin!(gone.ended());
    let mut deadline = None;
    loop {
        tokio::select! {
            () = &mut gone => break,
            _ = ended.recv() => {
                if !child.reap() || child.status.is_some() {
                    break;
                }
            }
            () = asked.recv() => {
                if deadline.is_some() {
                    break;
                }
                deadline = Some(clock::now() + ASKED);
                child.signal(Signal::TERM);
            }
            () = reached(deadline) => break,
        }
    }
    child.kill(&mut ended).await;
    Ok(child.exit_code())
}

async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => pending().await,
    }
}

/// No core files of a child, whose memory holds keys, and the usual number of open files.
fn limit() -> Result<(), Errno> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    let files = getrlimit(Resource::Nofile);
    let current = files.current.map_or(OPEN_FILES, |now| now.min(OPEN_FILES));
    setrlimit(Resource::Nofile, Rlimit { current: Some(current), ..files })
}

/// Starts the child with our stdin, stdout and stderr, in a process group of its own: a child
/// that signals its whole group must not hit the guard. [`Tree::reap`] waits for it.
fn start(command: &[OsString]) -> Result<Pid, Failure> {
    let (program, args) = command.split_first().ok_or_else(|| Failure::new("no program"))?;
    match Command::new(program).args(args).process_group(0).spawn() {
        Ok(child) => Ok(Pid::from_child(&child)),
        Err(error) => {
            let missing = error.kind() == io::ErrorKind::NotFound;
            let code = if missing { EXIT_NOT_FOUND } else { EXIT_CANNOT_RUN };
            Err(Failure { code, why: format!("cannot start {}: {error}", program.display()) })
        }
    }
}

/// With our copies open, the gateway would never see the child close its stdout.
fn let_go_of_stdio(null: &File) -> Result<(), Errno> {
    rustix::stdio::dup2_stdin(null)?;
    rustix::stdio::dup2_stdout(null)?;
    rustix::stdio::dup2_stderr(null)
}

/// The signals that ask a guard to end.
struct Asked {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hangup: unix::Signal,
}

impl Asked {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            hangup: unix::signal(SignalKind::hangup())?,
        })
    }

    async fn recv(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// The child and all that descends from it.
struct Tree {
    /// The program that was started.
    main: Pid,
    /// How it ended.
    status: Option<WaitStatus>,
}

impl Tree {
    /// Reaps what has ended. Answers whether anything is left: whatever descends from a subreaper
    /// is its child or below one.
    fn reap(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.main => self.status = Some(status),
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    /// Signals everything that is left. What cannot be signalled is not ours to report: the next
    /// round tries again, and the deadline ends it.
    fn signal(&self, signal: Signal) {
        if let Ok(members) = tree::below(getpid()) {
            for member in members {
                drop(member.signal(signal));
            }
        } else {
            // No list of processes here: at least the group, which keeps its id while it lives.
            drop(kill_process_group(self.main, signal).map_err(io::Error::from));
        }
    }

    /// Kills until nothing is left. What a killed process leaves behind comes to us, so the next
    /// round finds it.
    async fn kill(&mut self, ended: &mut unix::Signal) {
        let deadline = clock::now() + KILL_WITHIN;
        loop {
            self.signal(Signal::KILL);
            if !self.reap() || clock::now() >= deadline {
                return;
            }
            // Either answer means the same: look again.
            drop(timeout(KILL_EVERY, ended.recv()).await);
        }
    }

    fn exit_code(&self) -> u8 {
        let code = self.status.and_then(|status| {
            let signal = status.terminating_signal().map(|signal| 128 + signal);
            status.exit_status().or(signal)
        });
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(EXIT_GUARD_FAILED)
    }
}

#[cfg(target_os = "linux")]
mod parent {
    //! The end of the parent as Linux tells it: a descriptor of the process becomes readable.

    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::process::{PidfdFlags, pidfd_open, set_child_subreaper};
    use tokio::sync::oneshot;

    use super::{Errno, Pid, getpid, io};

    /// Makes the guard the one that takes in orphans, under a name of its own: `killall waypost`
    /// must not end the guards, which then could not do their work.
    pub(super) fn prepare() -> Result<(), Errno> {
        rustix::thread::set_name(c"mcp-guard")?;
        set_child_subreaper(Some(getpid()))
    }

    /// Watches the parent.
    pub(super) enum Watch {
        /// A thread that sleeps in one system call and then drops its end: the runtime takes in
        /// foreign descriptors by unsafe calls only.
        Thread(oneshot::Receiver<()>),
        /// Kernels and sandboxes without process descriptors.
        Poll(Pid),
    }

    impl Watch {
        pub(super) fn new(parent: Pid) -> io::Result<Self> {
            let held = match pidfd_open(parent, PidfdFlags::empty()) {
                Ok(held) => held,
                Err(Errno::NOSYS | Errno::PERM) => return Ok(Self::Poll(parent)),
                Err(error) => return Err(error.into()),
            };
            let (told, hear) = oneshot::channel::<()>();
            std::thread::Builder::new().name("parent".to_owned()).spawn(move || {
                let mut fds = [PollFd::new(&held, PollFlags::IN)];
                while let Ok(0) | Err(Errno::INTR) = poll(&mut fds, None) {}
                drop(told);
            })?;
            Ok(Self::Thread(hear))
        }

        /// Waits for the end of the parent.
        pub(super) async fn ended(self) {
            match self {
                Self::Thread(hear) => drop(hear.await),
                Self::Poll(parent) => super::poll_parent(parent).await,
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod parent {
    //! Other systems: the parent is looked at now and then, orphans are not taken in, and what
    //! leaves the process group of the child is not found.

    use super::{Errno, Pid, io};

    pub(super) fn prepare() -> Result<(), Errno> {
        Ok(())
    }

    pub(super) struct Watch(Pid);

    impl Watch {
        pub(super) fn new(parent: Pid) -> io::Result<Self> {
            Ok(Self(parent))
        }

        pub(super) async fn ended(self) {
            super::poll_parent(self.0).await;
        }
    }
}

async fn poll_parent(parent: Pid) {
    while getppid() == Some(parent) {
        sleep(PARENT_EVERY).await;
    }
}
