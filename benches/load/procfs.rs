//! What the kernel says of a process: CPU time, memory, descriptors, threads, children.

use std::fs;
use std::time::Duration;

use crate::Result;

/// The unit of the times in `/proc/PID/stat`: 100 a second on every architecture we build for.
const TICK: Duration = Duration::from_millis(10);

/// Ticks that rounding of user and system time can hide.
const ROUNDING: Duration = Duration::from_millis(20);

/// User and system time used so far.
///
/// `stat` counts in steps of 10 ms, too coarse for a short run. `schedstat` has the same time in
/// nanoseconds, but only of threads that still live: where it falls behind, `stat` is taken.
pub(crate) fn cpu(process: u32) -> Result<Duration> {
    let coarse = coarse_cpu(process)?;
    let fine = fine_cpu(process).unwrap_or_default();
    Ok(if fine + ROUNDING < coarse { coarse } else { fine })
}

fn coarse_cpu(process: u32) -> Result<Duration> {
    let fields = stat(process).ok_or("the process is gone")?;
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u32>().ok());
    let user = ticks(11).ok_or("no user time")?;
    let system = ticks(12).ok_or("no system time")?;
    Ok(TICK * (user + system))
}

fn fine_cpu(process: u32) -> Option<Duration> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).ok()?;
    let of_thread = |thread: std::io::Result<fs::DirEntry>| {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
    };
    // A thread that ends while it is read is one that `stat` still counts.
    Some(threads.filter_map(of_thread).sum())
}

/// The fields after the name, which may itself hold spaces: state first, then parent.
fn stat(process: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

pub(crate) fn children(process: u32) -> Result<Vec<u32>> {
    let parent = process.to_string();
    let all =
        fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_child =
        |&candidate: &u32| stat(candidate).is_some_and(|fields| fields.get(1) == Some(&parent));
    Ok(all.filter(is_child).collect())
}

/// Resident memory in KiB. The rollup counts pages; `status` may lag behind by many of them.
pub(crate) fn resident_kib(process: u32) -> Result<u64> {
    let of = |file: &str, key: &str| {
        let text = fs::read_to_string(format!("/proc/{process}/{file}")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let found = of("smaps_rollup", "Rss:").or_else(|| of("status", "VmRSS:"));
    found.ok_or_else(|| "no resident memory".into())
}

/// How many files and sockets it has open.
pub(crate) fn descriptors(process: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{process}/fd"))?.count())
}

pub(crate) fn threads(process: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{process}/task"))?.count())
}

/// CPU time that all cores together have spent on work so far, this run's and everyone else's.
pub(crate) fn machine() -> Result<Duration> {
    // user, nice, system, idle, iowait, irq, softirq, steal: all but the two that are waiting.
    const WORK: [usize; 6] = [0, 1, 2, 5, 6, 7];
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().find_map(|line| line.strip_prefix("cpu ")).ok_or("no cpu line")?;
    let fields: Vec<&str> = line.split_whitespace().collect();
    let ticks = WORK.iter().filter_map(|&index| fields.get(index)?.parse::<u32>().ok());
    Ok(TICK * ticks.sum::<u32>())
}
