//! Children and their guards: real processes, and the promise that none of them stays.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use waypost::base::{Kind, ReplicaName, Secret, Sent, Side, Tasks, UpstreamName, clock};
use waypost::upstream::spec::{LaunchSpec, Program, START_TIMEOUT};
use waypost::upstream::stderr::{StderrTail, TAIL_BYTES};
use waypost::upstream::supervisor::{Child, Exit, Pipes, StopPace, Supervisor};

const WAYPOST: &str = env!("CARGO_BIN_EXE_waypost");
/// Every process below a child inherits it, so that those which hide are found.
const MARK: &str = "WAYPOST_TEST_MARK";
/// For steps that are not measured: only a broken build gets near it.
const PATIENCE: Duration = Duration::from_secs(30);
/// What may stay after the gateway was killed, and for how long.
const AFTER_KILL: Duration = Duration::from_secs(2);
/// A child that ignores SIGTERM and the end of stdin, closes stdout, and has a grandchild that
/// ignores SIGTERM in a session of its own, behind a double fork. Four processes and a guard.
const STUBBORN: &str = "trap '' TERM; (setsid sh -c 'trap \"\" TERM; sleep 600 & wait' &); \
    exec 1>&-; while :; do sleep 600; done";
const STUBBORN_PROCESSES: usize = 5;

fn supervisor() -> Supervisor {
    Supervisor::new(WAYPOST, std::env::vars_os())
}

fn spec(command: &[&str]) -> LaunchSpec {
    LaunchSpec {
        program: Program::Named(command[0].to_owned()),
        args: command[1..].iter().map(|arg| Secret::new(arg)).collect(),
        env: BTreeMap::new(),
        cwd: None,
        start_timeout: START_TIMEOUT,
    }
}

async fn launch(command: &[&str]) -> (Child, Pipes) {
    supervisor().launch(&spec(command)).await.unwrap()
}

/// Launches a shell whose tree is found by the mark that is answered.
async fn launch_marked(script: &str) -> (Child, Pipes, String) {
    let mark = mark();
    let mut spec = spec(&["sh", "-c", script]);
    spec.env.insert(MARK.to_owned(), Secret::new(&mark));
    let (child, pipes) = supervisor().launch(&spec).await.unwrap();
    (child, pipes, mark)
}

fn mark() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{}-{}.", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The processes that carry the mark.
fn marked(mark: &str) -> Vec<i32> {
    let entry = format!("{MARK}={mark}");
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        entry.ok().and_then(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
    });
    let carries = |id: &i32| {
        let environ = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|variable| variable == entry.as_bytes())
    };
    processes.filter(carries).collect()
}

/// Polls until it holds, and answers how long that took.
async fn until(within: Duration, what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let start = clock::now();
    while !holds() {
        assert!(start.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    start.elapsed()
}

async fn gone(mark: &str, within: Duration) {
    until(within, "every process is gone", || marked(mark).is_empty()).await;
}

async fn all_of(mark: &str, processes: usize) {
    until(PATIENCE, "every process runs", || marked(mark).len() >= processes).await;
}

async fn wait(child: &mut Child) -> Exit {
    tokio::time::timeout(PATIENCE, child.wait()).await.unwrap()
}

async fn text(pipe: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut text = String::new();
    tokio::time::timeout(PATIENCE, pipe.read_to_string(&mut text)).await.unwrap().unwrap();
    text
}

/// Runs an ignored test of this file in a process of its own, where nothing else runs.
fn alone(test: &str, mark: &str) -> tokio::process::Child {
    let binary = std::env::current_exe().unwrap();
    let name = format!("children::{test}");
    tokio::process::Command::new(binary)
        .args(["--exact", &name, "--ignored", "--nocapture"])
        .env(MARK, mark)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

// === what passes through ===

#[tokio::test]
async fn bytes_pass_both_ways_and_the_exit_code_comes_back() {
    let (mut child, mut pipes) = launch(&["sh", "-c", "cat; echo done >&2; exit 7"]).await;
    pipes.stdin.write_all(b"hello\n").await.unwrap();
    drop(pipes.stdin);
    assert_eq!(text(&mut pipes.stdout).await, "hello\n");
    assert_eq!(text(&mut pipes.stderr).await, "done\n");
    assert_eq!(wait(&mut child).await, Exit::Code(7));
    assert_eq!(wait(&mut child).await, Exit::Code(7), "asking again changes nothing");
}

#[tokio::test]
async fn a_signal_that_ended_the_child_is_told() {
    let (mut child, _pipes) = launch(&["sh", "-c", "kill -9 $$"]).await;
    assert_eq!(wait(&mut child).await, Exit::Signal(9));
}

#[tokio::test]
async fn the_ends_of_both_pipes_are_seen_while_the_child_runs_on() {
    let (mut child, mut pipes) =
        launch(&["sh", "-c", "exec <&- >&-; echo closed >&2; exec 2>&-; exec sleep 600"]).await;
    assert_eq!(text(&mut pipes.stderr).await, "closed\n");
    assert_eq!(text(&mut pipes.stdout).await, "");
    let written = pipes.stdin.write_all(b"x").await;
    assert_eq!(written.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    let pace = StopPace { closed: Duration::ZERO, asked: PATIENCE };
    assert_eq!(child.stop(pace).await, Some(Exit::Signal(15)));
}

#[tokio::test]
async fn the_environment_is_the_allow_list_and_the_childs_own() {
    let ours = [
        ("PATH", "/usr/bin:/bin"),
        ("HOME", "/home/someone"),
        ("LC_ALL", "C.UTF-8"),
        ("XDG_CACHE_HOME", "/tmp/cache"),
        ("LANG", "C"),
        ("WAYPOST_KEY", "secret"),
        ("OPENAI_API_KEY", "secret"),
        ("LD_LIBRARY_PATH", "/somewhere"),
    ];
    let ours = ours.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let mut spec = spec(&["env"]);
    spec.env.insert("TOKEN".to_owned(), Secret::new("of its own"));
    spec.env.insert("LANG".to_owned(), Secret::new("de_DE.UTF-8"));
    let (mut child, mut pipes) = Supervisor::new(WAYPOST, ours).launch(&spec).await.unwrap();
    let got = text(&mut pipes.stdout).await;
    let mut got: Vec<_> = got.lines().collect();
    got.sort_unstable();
    let want = [
        "HOME=/home/someone",
        "LANG=de_DE.UTF-8",
        "LC_ALL=C.UTF-8",
        "PATH=/usr/bin:/bin",
        "TOKEN=of its own",
        "XDG_CACHE_HOME=/tmp/cache",
    ];
    assert_eq!(got, want);
    assert_eq!(wait(&mut child).await, Exit::Code(0));
}

#[tokio::test]
async fn no_descriptor_of_the_gateway_reaches_a_child() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    // What this process was itself started with, open over exec, is not ours to judge.
    let leaked: Vec<PathBuf> = std::fs::read_dir("/proc/self/fdinfo")
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{name}")).ok()?;
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?.trim();
            let close_on_exec = i64::from_str_radix(flags, 8).unwrap() & 0o2_000_000 != 0;
            let target = std::fs::read_link(format!("/proc/self/fd/{name}")).ok()?;
            (!close_on_exec && name.parse::<u32>().unwrap() > 2).then_some(target)
        })
        .collect();
    let (mut child, mut pipes) = launch(&["ls", "-l", "/proc/self/fd"]).await;
    let got = text(&mut pipes.stdout).await;
    let open = got.lines().filter_map(|line| {
        let (line, target) = line.rsplit_once(" -> ")?;
        Some((line.rsplit_once(' ')?.1.parse::<u32>().ok()?, PathBuf::from(target)))
    });
    let (pipes, others): (Vec<_>, Vec<_>) = open.partition(|(fd, _)| *fd <= 2);
    assert_eq!(pipes.len(), 3, "{got}");
    // Of the others, one is the folder that is being listed.
    let extra =
        |(_, target): &&(_, PathBuf)| !target.starts_with("/proc") && !leaked.contains(target);
    assert_eq!(others.iter().filter(extra).count(), 0, "{got}");
    assert!(!got.contains("socket:"), "{got}");
    assert_eq!(wait(&mut child).await, Exit::Code(0));
    drop(listener);
}

#[tokio::test]
async fn a_child_has_the_usual_limits_and_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    let mut spec = spec(&["sh", "-c", "pwd; ulimit -c; ulimit -n"]);
    spec.cwd = Some(dir.clone());
    let (mut child, mut pipes) = supervisor().launch(&spec).await.unwrap();
    let got = text(&mut pipes.stdout).await;
    let got: Vec<_> = got.lines().collect();
    assert_eq!(got[..2], [dir.to_str().unwrap(), "0"]);
    assert!(got[2].parse::<u32>().unwrap() <= 1024, "{got:?}");
    assert_eq!(wait(&mut child).await, Exit::Code(0));
}

#[tokio::test]
async fn the_gateway_itself_can_be_the_child() {
    let spec = LaunchSpec { program: Program::Waypost, ..spec(&["", "--version"]) };
    let (mut child, mut pipes) = supervisor().launch(&spec).await.unwrap();
    assert!(text(&mut pipes.stdout).await.starts_with("waypost "));
    assert_eq!(wait(&mut child).await, Exit::Code(0));
}

// === what cannot start ===

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let fault = supervisor().launch(&spec(&["no-such-program"])).await.unwrap_err();
    assert_eq!((fault.kind, fault.side, fault.sent), (Kind::Connect, Side::Upstream, Sent::No));
    let message = fault.to_string();
    assert!(message == "cannot start `no-such-program`: no such program in PATH");
    let mut spec = spec(&["sh"]);
    spec.env.insert("PATH".to_owned(), Secret::new("/nowhere"));
    let message = supervisor().launch(&spec).await.unwrap_err().to_string();
    assert_eq!(message, "cannot start `sh`: no such program in PATH");
    spec.cwd = Some("/nowhere/at/all".into());
    let message = supervisor().launch(&spec).await.unwrap_err().to_string();
    assert_eq!(message, "the working directory /nowhere/at/all does not exist");
    let nowhere = Supervisor::new("/nowhere/waypost", std::env::vars_os());
    let fault = nowhere.launch(&self::spec(&["sh"])).await.unwrap_err();
    assert_eq!((fault.kind, fault.side, fault.sent), (Kind::Connect, Side::Gateway, Sent::No));
}

#[tokio::test]
async fn a_guard_starts_nothing_for_a_parent_that_is_gone() {
    let guard = |parent: u32| {
        let mut command = Command::new(WAYPOST);
        command.args(["guard", "--parent", &parent.to_string(), "--", "echo", "started"]);
        command.output().unwrap()
    };
    let mut ended = Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    // The first is nobody, the second is alive but not the parent.
    for parent in [ended.id(), 1] {
        let output = guard(parent);
        assert_eq!((output.status.code(), output.stdout), (Some(125), Vec::new()));
    }
    assert_eq!(guard(std::process::id()).stdout, b"started\n");
}

#[tokio::test]
async fn so_many_children_start_at_once_and_no_more() {
    let supervisor = supervisor();
    let cores = std::thread::available_parallelism().unwrap().get();
    let mut started = Vec::new();
    for _ in 0..cores.max(2) {
        started.push(supervisor.launch(&spec(&["cat"])).await.unwrap());
    }
    let next = spec(&["cat"]);
    let mut next = std::pin::pin!(supervisor.launch(&next));
    let waiting = tokio::time::timeout(Duration::from_millis(50), &mut next).await;
    assert!(waiting.is_err(), "one too many is in its start phase");
    drop(started[0].0.start_share());
    let (_child, _pipes) = tokio::time::timeout(PATIENCE, next).await.unwrap().unwrap();
}

// === what stays: nothing ===

#[tokio::test]
async fn what_a_child_leaves_behind_ends_with_it() {
    let (mut child, _pipes, mark) =
        launch_marked("(setsid sh -c 'trap \"\" TERM HUP; sleep 600' &); exit 3").await;
    assert_eq!(wait(&mut child).await, Exit::Code(3));
    assert_eq!(marked(&mark), [0; 0]);
}

#[tokio::test]
async fn a_killed_shell_that_started_guards_leaves_nothing() {
    let mark = mark();
    let script = "for n in 1 2 3; do \"$0\" guard --parent $$ -- sh -c \"$1\" & done; wait";
    let mut gateway = Command::new("sh")
        .args(["-c", script, WAYPOST, STUBBORN])
        .env(MARK, &mark)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    all_of(&mark, 1 + 3 * STUBBORN_PROCESSES).await;
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    gone(&mark, AFTER_KILL).await;
}

#[tokio::test]
async fn a_killed_gateway_leaves_nothing() {
    let mark = mark();
    let mut gateway = alone("stand_in_for_a_gateway", &mark);
    all_of(&mark, 1 + 2 * STUBBORN_PROCESSES).await;
    gateway.kill().await.unwrap();
    gone(&mark, AFTER_KILL).await;
}

/// Starts children as the gateway does, and waits to be killed.
#[tokio::test]
#[ignore = "a process of its own, for the test above"]
async fn stand_in_for_a_gateway() {
    let mark = std::env::var_os(MARK).unwrap().into_string().unwrap();
    let mut spec = spec(&["sh", "-c", STUBBORN]);
    spec.env.insert(MARK.to_owned(), Secret::new(&mark));
    let supervisor = supervisor();
    let mut children = Vec::new();
    for _ in 0..2 {
        children.push(supervisor.launch(&spec).await.unwrap());
    }
    tokio::time::sleep(PATIENCE * 2).await;
}

#[tokio::test]
async fn a_tree_that_keeps_forking_is_killed() {
    let forks = "trap '' TERM; while :; do (setsid sh -c 'trap \"\" TERM; sleep 600' &); done";
    let (mut child, _pipes, mark) = launch_marked(forks).await;
    all_of(&mark, 60).await;
    let pace = StopPace { closed: Duration::ZERO, asked: Duration::ZERO };
    assert_eq!(child.stop(pace).await, Some(Exit::Signal(9)));
    assert_eq!(marked(&mark), [0; 0]);
}

#[tokio::test]
async fn a_killed_guard_does_not_leave_its_session() {
    let (mut child, _pipes, mark) = launch_marked("sleep 600 & sleep 600 & wait").await;
    all_of(&mark, 4).await;
    let guard = Pid::from_raw(i32::try_from(child.pid()).unwrap()).unwrap();
    kill_process(guard, Signal::KILL).unwrap();
    assert_eq!(wait(&mut child).await, Exit::Guard(9));
    gone(&mark, PATIENCE).await;
}

#[tokio::test]
async fn a_child_that_signals_its_group_does_not_hit_its_guard() {
    // SIGUSR1 would end the guard, which does not listen to it.
    let script = "trap '' USR1; kill -s USR1 0; exit 5";
    let (mut child, _pipes) = launch(&["sh", "-c", script]).await;
    assert_eq!(wait(&mut child).await, Exit::Code(5));
}

#[tokio::test]
async fn orphans_are_reaped_while_the_child_runs() {
    let (child, _pipes, mark) =
        launch_marked("for n in 1 2 3 4 5 6 7 8 9; do (true &); done; exec sleep 600").await;
    let children = format!("/proc/{0}/task/{0}/children", child.pid());
    all_of(&mark, 2).await;
    let one_left = || {
        let list = std::fs::read_to_string(&children).unwrap_or_default();
        let sleeps = |id| std::fs::read(format!("/proc/{id}/comm")).is_ok_and(|c| c == b"sleep\n");
        list.split_ascii_whitespace().collect::<Vec<_>>().as_slice().iter().all(sleeps)
            && !list.is_empty()
    };
    until(PATIENCE, "only the child itself is left", one_left).await;
    drop(child);
    gone(&mark, PATIENCE).await;
}

// === stopping ===

#[tokio::test]
async fn a_child_that_ends_with_its_stdin_is_not_signalled() {
    let (mut child, pipes) = launch(&["sh", "-c", "trap 'exit 9' TERM; cat; exit 4"]).await;
    drop(pipes.stdin);
    assert_eq!(
        child.stop(StopPace { closed: PATIENCE, asked: PATIENCE }).await,
        Some(Exit::Code(4))
    );
}

#[tokio::test]
async fn sigterm_reaches_the_whole_tree() {
    let script = "sh -c 'trap \"echo inner; exit\" TERM; while :; do sleep 0.05; done' & \
        trap 'wait; echo outer; exit 6' TERM; while :; do sleep 0.05; done";
    let (mut child, mut pipes, mark) = launch_marked(script).await;
    all_of(&mark, 5).await;
    let pace = StopPace { closed: Duration::ZERO, asked: PATIENCE };
    assert_eq!(child.stop(pace).await, Some(Exit::Code(6)));
    assert_eq!(text(&mut pipes.stdout).await, "inner\nouter\n");
    assert_eq!(marked(&mark), [0; 0]);
}

#[tokio::test]
async fn a_stubborn_tree_is_killed_in_the_time_of_the_pace() {
    let (mut child, pipes, mark) = launch_marked(STUBBORN).await;
    all_of(&mark, STUBBORN_PROCESSES).await;
    drop(pipes.stdin);
    let start = clock::now();
    let pace = StopPace { closed: Duration::from_millis(200), asked: Duration::from_millis(300) };
    assert_eq!(child.stop(pace).await, Some(Exit::Signal(9)));
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(500) && took < AFTER_KILL, "{took:?}");
    assert_eq!(marked(&mark), [0; 0]);
}

#[tokio::test]
async fn the_usual_pace_ends_a_stubborn_tree_within_ten_seconds() {
    let (mut child, pipes, mark) = launch_marked(STUBBORN).await;
    all_of(&mark, STUBBORN_PROCESSES).await;
    drop(pipes.stdin);
    let start = clock::now();
    assert_eq!(child.stop(StopPace::default()).await, Some(Exit::Signal(9)));
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!(marked(&mark), [0; 0]);
}

#[tokio::test]
async fn a_guard_that_is_stopped_itself_saves_nobody() {
    let (mut child, _pipes, mark) = launch_marked(STUBBORN).await;
    all_of(&mark, STUBBORN_PROCESSES).await;
    let guard = Pid::from_raw(i32::try_from(child.pid()).unwrap()).unwrap();
    kill_process(guard, Signal::STOP).unwrap();
    let start = clock::now();
    let pace = StopPace { closed: Duration::ZERO, asked: Duration::ZERO };
    assert_eq!(child.stop(pace).await, Some(Exit::Guard(9)));
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    gone(&mark, PATIENCE).await;
}

#[tokio::test]
async fn a_dropped_child_is_gone_soon_and_a_stubborn_one_after_five_seconds() {
    let (soft, _soft_pipes, soft_mark) = launch_marked("sleep 600").await;
    let (hard, _hard_pipes, hard_mark) = launch_marked(STUBBORN).await;
    all_of(&soft_mark, 2).await;
    all_of(&hard_mark, STUBBORN_PROCESSES).await;
    drop((soft, hard));
    gone(&soft_mark, AFTER_KILL).await;
    gone(&hard_mark, Duration::from_secs(5) + AFTER_KILL).await;
}

// === what it costs ===

/// Runs a measuring test in its own process and expects it to pass.
async fn measured(test: &str) {
    let mark = mark();
    let mut run = alone(test, &mark);
    let status = tokio::time::timeout(PATIENCE * 4, run.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{test}: {:?} {:?}", status.code(), status.signal());
    gone(&mark, PATIENCE).await;
}

#[tokio::test]
async fn two_hundred_launches_leak_nothing() {
    measured("leaks_of_two_hundred_launches").await;
}

#[tokio::test]
#[ignore = "a process of its own, for the test above"]
async fn leaks_of_two_hundred_launches() {
    fn held() -> (usize, usize) {
        let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let children = tasks.map(|task| {
            let list = task.unwrap().path().join("children");
            std::fs::read_to_string(list).unwrap_or_default().split_ascii_whitespace().count()
        });
        (descriptors, children.sum())
    }
    let supervisor = supervisor();
    let run = async |nth: u32| {
        let (mut child, mut pipes) = supervisor.launch(&spec(&["cat"])).await.unwrap();
        drop(child.start_share());
        // A third each: waited for, stopped, dropped as it is.
        if nth.is_multiple_of(3) {
            drop(pipes.stdin);
            assert_eq!(text(&mut pipes.stdout).await, "");
            assert_eq!(wait(&mut child).await, Exit::Code(0));
        } else if nth % 3 == 1 {
            child.stop(StopPace { closed: Duration::ZERO, asked: PATIENCE }).await.unwrap();
        }
    };
    run(0).await; // what the runtime opens once is open now
    let before = held();
    for nth in 0..200 {
        run(nth).await;
    }
    until(PATIENCE, "no descriptor and no zombie is left", || held() <= before).await;
}

#[tokio::test]
async fn a_flood_on_stderr_is_bounded() {
    measured("cost_of_a_flood_on_stderr").await;
}

#[tokio::test]
#[ignore = "a process of its own, for the test above"]
async fn cost_of_a_flood_on_stderr() {
    const FLOOD: &str =
        "yes 'all work and no play' | head -c 104857600 >&2; (echo; echo last words) >&2";
    let lines = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&lines);
    tracing_subscriber::fmt()
        .with_writer(move || {
            count.fetch_add(1, Ordering::Relaxed);
            std::io::sink()
        })
        .init();
    let peak = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap()
    };
    let (tasks, before, start) = (Tasks::new(), peak(), clock::now());
    let (mut child, pipes) = launch(&["sh", "-c", FLOOD]).await;
    let names = (UpstreamName::new("flood").unwrap(), ReplicaName::new("0").unwrap());
    let tail = StderrTail::drain(&tasks, pipes.stderr, names.0, names.1);
    assert_eq!(wait(&mut child).await, Exit::Code(0));
    assert!(tasks.stop(PATIENCE).await, "the reader ends with the pipe");
    assert_eq!(tail.last_line().as_deref(), Some("last words"));
    assert!(tail.text().len() <= TAIL_BYTES);
    let grown = peak() - before;
    // Of 100 MiB: what is touched of our own code for the first time counts too.
    assert!(grown < 8 * 1024, "{grown} KiB more");
    let seconds = usize::try_from(start.elapsed().as_secs()).unwrap() + 1;
    let lines = lines.load(Ordering::Relaxed);
    assert!(lines >= 20 && lines <= seconds * 21 + 1, "{lines} lines in {seconds} s");
}
