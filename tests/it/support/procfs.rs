//! What Linux tells of processes: which run, and what they hold.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// Every process below one that was started with this variable inherits it.
pub(crate) const MARK: &str = "WAYPOST_IT_MARK";

/// A value of [`MARK`] that no other test has.
pub(crate) fn mark() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{}-{}.", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The line that marks a replica in its configuration.
pub(crate) fn marked_with(mark: &str) -> String {
    format!("env = {{ {MARK} = {mark:?} }}")
}

/// The processes that carry the mark.
pub(crate) fn marked(mark: &str) -> Vec<u32> {
    let wanted = format!("{MARK}={mark}");
    let carries = |pid: &u32| {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
    };
    let processes = std::fs::read_dir("/proc").unwrap();
    let pid = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.ok()?.file_name().to_str()?.parse::<u32>().ok()
    };
    processes.filter_map(pid).filter(carries).collect()
}

/// Processes whose parent this is, the dead ones that nobody has waited for included.
pub(crate) fn children(pid: u32) -> usize {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let count = |thread: std::fs::DirEntry| {
        let list = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        list.split_whitespace().count()
    };
    threads.filter_map(Result::ok).map(count).sum()
}

/// Open file descriptors.
pub(crate) fn descriptors(pid: u32) -> usize {
    entries(Path::new(&format!("/proc/{pid}/fd")))
}

/// Threads.
pub(crate) fn threads(pid: u32) -> usize {
    entries(Path::new(&format!("/proc/{pid}/task")))
}

/// Memory in use, in KiB.
pub(crate) fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}
