//! Starts children, each under a guard (`waypost guard`, our own binary), and stops them. The
//! guard is what is started, signalled and waited for here; it sees to it that the child and all
//! that descends from it are gone when it ends, and it ends when we do.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::Access;
use rustix::process::{Pid, Signal};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::spec::{LaunchSpec, Program};
use super::tree;
use crate::base::{Fault, Kind, Secret, Sent, clock};

/// What a guard needs beyond its own steps of [`StopPace`] to kill and to reap.
const KILL_WITHIN: Duration = Duration::from_secs(3);
/// How long a killed guard may take to be gone.
const REAP_WITHIN: Duration = Duration::from_secs(1);
/// How often the tree of a guard that does not answer is killed again.
const KILL_EVERY: Duration = Duration::from_millis(10);
/// Where programs are looked for when no `PATH` is set.
const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";

/// Whether a child may have this variable of ours. What the gateway itself was told in its
/// environment, keys of its own above all, stays with it.
pub fn is_inherited(name: &OsStr) -> bool {
    const NAMES: [&str; 9] =
        ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "LANG", "TZ", "TMPDIR"];
    // Without these, launchers such as npx and uvx do not get out of many networks.
    const NETWORK: [&str; 8] = [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "NODE_EXTRA_CA_CERTS",
        "REQUESTS_CA_BUNDLE",
    ];
    name.to_str().is_some_and(|name| {
        NAMES.contains(&name)
            || NETWORK.contains(&name.to_ascii_uppercase().as_str())
            || name.starts_with("LC_")
            || name.starts_with("XDG_")
    })
}

/// Starts children. One for the whole process.
#[derive(Debug)]
pub struct Supervisor {
    own_binary: PathBuf,
    inherited: BTreeMap<OsString, OsString>,
    starting: Arc<Semaphore>,
}

impl Supervisor {
    /// A supervisor whose children may inherit those of the given variables that
    /// [`is_inherited`] names. At most max(2, cores) children are in their start phase at once:
    /// thirty `npx` at boot would only slow each other down.
    pub fn new(
        own_binary: impl Into<PathBuf>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        let own_binary = own_binary.into();
        // A relative path would be looked for in the directory of the child.
        let own_binary = std::path::absolute(&own_binary).unwrap_or(own_binary);
        let inherited = variables.into_iter().filter(|(name, _)| is_inherited(name)).collect();
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self { own_binary, inherited, starting: Arc::new(Semaphore::new(cores.max(2))) }
    }

    /// Starts a child. Waits while too many others are in their start phase; its start timeout
    /// is best measured from the answer on. Dropping the future starts nothing.
    pub async fn launch(&self, spec: &LaunchSpec) -> Result<(Child, Pipes), Fault> {
        let permit = Arc::clone(&self.starting).acquire_owned().await;
        let permit = permit.map_err(|_closed| ours("the gateway is stopping"))?;
        let env = self.environment(spec);
        let program = self.program(spec, &env)?;
        let mut command = Command::new(&self.own_binary);
        command
            .args(["guard", "--parent"])
            .arg(std::process::id().to_string())
            .arg("--")
            .arg(program)
            .args(spec.args.iter().map(Secret::expose))
            .env_clear()
            .envs(env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(cwd) = &spec.cwd {
            command.current_dir(cwd);
        }
        let mut guard = command.spawn().map_err(|error| {
            ours(format!("cannot start {} for a child: {error}", self.own_binary.display()))
        })?;
        let pid = guard.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let pipes = (guard.stdin.take(), guard.stdout.take(), guard.stderr.take());
        match (pid, pipes) {
            (Some(pid), (Some(stdin), Some(stdout), Some(stderr))) => {
                let child = Child { guard, pid, permit: Some(permit), exit: None };
                Ok((child, Pipes { stdin, stdout, stderr }))
            }
            _ => Err(ours("a child was started without its pipes")),
        }
    }

    /// The variables of a child: the allowed ones of ours, then its own.
    fn environment(&self, spec: &LaunchSpec) -> BTreeMap<OsString, OsString> {
        let mut env = self.inherited.clone();
        env.extend(spec.env.iter().map(|(name, value)| (name.into(), value.expose().into())));
        env
    }

    fn program(
        &self,
        spec: &LaunchSpec,
        env: &BTreeMap<OsString, OsString>,
    ) -> Result<PathBuf, Fault> {
        let cwd = spec.cwd.as_deref().unwrap_or(Path::new("."));
        if !cwd.is_dir() {
            let why = if cwd.exists() { "is not a directory" } else { "does not exist" };
            return Err(theirs(format!("the working directory {} {why}", cwd.display())));
        }
        match &spec.program {
            Program::Waypost => Ok(self.own_binary.clone()),
            Program::Named(name) => {
                let path = env.get(OsStr::new("PATH")).map_or(OsStr::new(PATH_DEFAULT), |p| p);
                find(name, path, cwd).map_err(|why| theirs(format!("cannot start `{name}`: {why}")))
            }
        }
    }
}

fn ours(message: impl Into<std::borrow::Cow<'static, str>>) -> Fault {
    Fault::gateway(Kind::Connect, message)
}

fn theirs(message: String) -> Fault {
    Fault::upstream(Kind::Connect, Sent::No, message)
}

/// Finds a program as a shell would: a name with a slash is a path, seen from `cwd`; any other is
/// looked for in `path`. Found here, before anything is started, so that the answer is a reason.
fn find(name: &str, path: &OsStr, cwd: &Path) -> Result<PathBuf, String> {
    if name.contains('/') {
        return match runnable(&cwd.join(name)) {
            Ok(()) => Ok(PathBuf::from(name)),
            Err(why) => Err(why.to_owned()),
        };
    }
    let mut refused = None;
    for dir in std::env::split_paths(path) {
        // An empty entry means the working directory.
        let dir = if dir.as_os_str().is_empty() { PathBuf::from(".") } else { dir };
        let file = dir.join(name);
        match runnable(&cwd.join(&file)) {
            Ok(()) => return Ok(file),
            Err(NOT_THERE) => {}
            Err(why) => refused = refused.or(Some(format!("{} {why}", file.display()))),
        }
    }
    Err(refused.unwrap_or_else(|| "no such program in PATH".to_owned()))
}

const NOT_THERE: &str = "there is no such file";

fn runnable(file: &Path) -> Result<(), &'static str> {
    match file.metadata() {
        Ok(meta) if !meta.is_file() => Err("is not a file"),
        Ok(_) if rustix::fs::access(file, Access::EXEC_OK).is_err() => Err("is not executable"),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err("may not be read"),
        Err(_) => Err(NOT_THERE),
    }
}

/// The three ends we hold. The child itself holds the other ones, no process between.
#[derive(Debug)]
pub struct Pipes {
    /// To the child. Dropping it is the polite way to ask the child to end.
    pub stdin: ChildStdin,
    /// From the child; ends when the last process below it has closed it.
    pub stdout: ChildStdout,
    /// From the child; must be read at all times (`upstream::stderr`).
    pub stderr: ChildStderr,
}

/// How long each step of a stop may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopPace {
    /// From the end of stdin to SIGTERM.
    pub closed: Duration,
    /// From SIGTERM to SIGKILL; the guard itself waits no longer than 5 s.
    pub asked: Duration,
}

impl Default for StopPace {
    fn default() -> Self {
        Self { closed: Duration::from_secs(3), asked: Duration::from_secs(5) }
    }
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this exit code.
    Code(i32),
    /// By this signal (or with the exit code 128 + signal, as shells report it).
    Signal(i32),
    /// Its guard was killed, by this signal; the session of the child was killed after it.
    Guard(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
            Self::Guard(signal) => write!(f, "its guard was killed by signal {signal}"),
        }
    }
}

/// A running child. Dropping it asks the guard to end it: SIGTERM, after 5 s SIGKILL.
#[derive(Debug)]
pub struct Child {
    guard: tokio::process::Child,
    pid: Pid,
    permit: Option<OwnedSemaphorePermit>,
    exit: Option<Exit>,
}

impl Child {
    /// The process id of the guard, whose first child is the program.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_pid().unsigned_abs()
    }

    /// The child's place among the starting ones: dropping it lets the next one start. Without this
    /// the place is held until the child ends.
    pub fn start_share(&mut self) -> Option<OwnedSemaphorePermit> {
        self.permit.take()
    }

    /// Waits for the end of the child and of all that descends from it. May be dropped and
    /// called again.
    pub async fn wait(&mut self) -> Exit {
        if let Some(exit) = self.exit {
            return exit;
        }
        let status = self.guard.wait().await;
        let exit = status.map_or(Exit::Code(-1), exit_of);
        if let Exit::Guard(_) = exit {
            // Someone killed the guard alone. What it has not put into other sessions is found.
            for member in tree::of_session(self.pid).unwrap_or_default() {
                kill(&member);
            }
        }
        self.permit = None;
        self.exit = Some(exit);
        exit
    }

    /// Stops the child; drop its stdin first. Waits for it to end by itself, then SIGTERM, then
    /// SIGKILL to all of it. Answers `None` if even that leaves it (a process in the kernel's
    /// hands), after no more than the steps of `pace` and 6 s.
    pub async fn stop(&mut self, pace: StopPace) -> Option<Exit> {
        if let Ok(exit) = timeout(pace.closed, self.wait()).await {
            return Some(exit);
        }
        self.signal(Signal::TERM);
        if let Ok(exit) = timeout(pace.asked, self.wait()).await {
            return Some(exit);
        }
        // The second one means now.
        self.signal(Signal::TERM);
        if let Ok(exit) = timeout(KILL_WITHIN, self.wait()).await {
            return Some(exit);
        }
        self.kill_from_here().await;
        timeout(REAP_WITHIN, self.wait()).await.ok()
    }

    /// For a guard that does not answer, stopped by its child perhaps: what is below it goes
    /// first, since it could not be found once the guard is gone.
    async fn kill_from_here(&self) {
        let deadline = clock::now() + REAP_WITHIN * 2;
        while let Ok(tree) = tree::below(self.pid)
            && !tree.is_empty()
            && clock::now() < deadline
        {
            for member in &tree {
                kill(member);
            }
            tokio::time::sleep(KILL_EVERY).await;
        }
        self.signal(Signal::KILL);
    }

    /// Signals the guard unless it has been waited for; until then its id is not used again.
    fn signal(&self, signal: Signal) {
        if self.guard.id().is_some()
            && let Err(error) = rustix::process::kill_process(self.pid, signal)
        {
            tracing::debug!(pid = self.pid(), %error, "the guard of a child cannot be signalled");
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
    }
}

fn kill(member: &tree::Member) {
    if let Err(error) = member.signal(Signal::KILL) {
        tracing::warn!(pid = %member.pid(), %error, "a process of a child cannot be killed");
    }
}

fn exit_of(status: std::process::ExitStatus) -> Exit {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code @ 129..=192), _) => Exit::Signal(code - 128),
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Guard(signal.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_harmless_variables_are_inherited() {
        for name in ["PATH", "HOME", "LC_ALL", "XDG_RUNTIME_DIR", "TZ", "TMPDIR"] {
            assert!(is_inherited(OsStr::new(name)), "{name}");
        }
        for name in ["OPENAI_API_KEY", "WAYPOST_KEY", "LD_PRELOAD", "PATHS", "path", ""] {
            assert!(!is_inherited(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn exit_codes_of_the_guard_tell_how_the_child_ended() {
        use std::os::unix::process::ExitStatusExt as _;
        let exit = |raw| exit_of(std::process::ExitStatus::from_raw(raw));
        assert_eq!(exit(3 << 8), Exit::Code(3));
        assert_eq!(exit(137 << 8), Exit::Signal(9));
        assert_eq!(exit(9), Exit::Guard(9));
        assert_eq!(Exit::Signal(9).to_string(), "killed by signal 9");
    }

    #[test]
    fn programs_are_found_as_a_shell_finds_them() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("bin/folder")).unwrap();
        for (name, mode) in [("bin/tool", 0o755), ("bin/text", 0o644), ("tool2", 0o755)] {
            std::fs::write(at(name), "#!/bin/sh\n").unwrap();
            std::fs::set_permissions(at(name), PermissionsExt::from_mode(mode)).unwrap();
        }
        let path = OsString::from(format!("/nowhere:{}:", at("bin").display()));
        let find = |name| find(name, &path, dir.path());
        assert_eq!(find("tool"), Ok(at("bin/tool")));
        assert_eq!(find("tool2"), Ok("./tool2".into()), "an empty entry is the directory");
        assert_eq!(find("./bin/tool"), Ok("./bin/tool".into()));
        assert_eq!(find("bin/none"), Err("there is no such file".to_owned()));
        assert_eq!(find("bin/text"), Err("is not executable".to_owned()));
        assert!(find("text").unwrap_err().ends_with("bin/text is not executable"));
        assert!(find("folder").unwrap_err().ends_with("is not a file"));
        let missing = find("npx").unwrap_err();
        assert!(missing == "no such program in PATH", "{missing}");
    }
}
