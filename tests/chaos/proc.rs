//! What Linux tells of processes: which run, and what they hold.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// Every process that the suite starts, and all below it, inherits this variable.
pub(crate) const MARK: &str = "WAYPOST_CHAOS_MARK";

/// The processes that carry the mark and are not dead.
pub(crate) fn marked(mark: &str) -> Vec<u32> {
    let wanted = format!("{MARK}={mark}");
    let carries = |pid: &u32| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
    };
    all().into_iter().filter(carries).collect()
}

fn all() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// State and parent.
fn stat(pid: u32) -> Option<(String, u32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.to_owned();
    Some((state, fields.next()?.parse().ok()?))
}

/// Dead children of a process that it has not waited for.
pub(crate) fn zombies(parent: u32) -> usize {
    let is = |pid: &u32| stat(*pid).is_some_and(|(state, of)| state == "Z" && of == parent);
    all().iter().filter(|pid| is(pid)).count()
}

/// The command line of a process, its words joined by spaces.
pub(crate) fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// Open descriptors, without connections to these ports: those may rest for later calls.
pub(crate) fn descriptors(pid: u32, ports: &[u16]) -> usize {
    let resting = connections(ports);
    let Ok(all) = fs::read_dir(format!("/proc/{pid}/fd")) else { return 0 };
    let rests = |entry: &fs::DirEntry| {
        let target = fs::read_link(entry.path()).unwrap_or_default();
        let name = target.to_string_lossy();
        let inode = name.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        inode.is_some_and(|inode| resting.contains(inode))
    };
    all.filter_map(Result::ok).filter(|entry| !rests(entry)).count()
}

/// The sockets whose other end is one of these ports.
fn connections(ports: &[u16]) -> HashSet<String> {
    let text = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let ours = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let port = u16::from_str_radix(fields.get(2)?.rsplit_once(':')?.1, 16).ok()?;
        let inode = (*fields.get(9)?).to_owned();
        ports.contains(&port).then_some(inode)
    };
    text.lines().filter_map(ours).collect()
}

/// Threads.
pub(crate) fn threads(pid: u32) -> usize {
    entries(Path::new(&format!("/proc/{pid}/task")))
}

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

/// Memory in use, in MiB.
pub(crate) fn resident_mib(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}

/// User and system time so far, in seconds: 100 ticks each.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> =
        text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
    (ticks(11).unwrap_or_default() + ticks(12).unwrap_or_default()) / 100.0
}
