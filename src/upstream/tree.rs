//! Which processes descend from one process, and signals that reach just those.
//!
//! Process ids are used again, so none is signalled on its number alone: each is held by a
//! descriptor and checked to be still the process that was listed.

use std::collections::HashMap;
use std::io;

use rustix::process::{Pid, Signal};

/// A process as it was listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pid: Pid,
    /// 0 at the top.
    parent: i32,
    session: i32,
    /// When it started, in ticks since boot: tells two bearers of one id apart.
    started: u64,
}

/// Every process below `root`, parents before their children, `root` not included. Those whose
/// parent died count where they were taken in: below `root`, if it is a subreaper.
pub fn below(root: Pid) -> io::Result<Vec<Member>> {
    Ok(walk(linux::all()?, root.as_raw_pid()))
}

/// Every process of the session `id`.
pub fn of_session(id: Pid) -> io::Result<Vec<Member>> {
    let mut all = linux::all()?;
    all.retain(|member| member.session == id.as_raw_pid());
    Ok(all)
}

fn walk(all: Vec<Member>, root: i32) -> Vec<Member> {
    let mut children: HashMap<i32, Vec<Member>> = HashMap::new();
    for member in all {
        children.entry(member.parent).or_default().push(member);
    }
    // Taking the lists out keeps this finite whatever the list claims.
    let mut found = children.remove(&root).unwrap_or_default();
    let mut at = 0;
    while let Some(member) = found.get(at) {
        let more = children.remove(&member.pid.as_raw_pid()).unwrap_or_default();
        found.extend(more);
        at += 1;
    }
    found
}

impl Member {
    /// Its process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Signals the process if it is still the one that was listed. One that ended is no error.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match linux::signal(self, signal) {
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {
                Ok(())
            }
            other => other,
        }
    }
}

#[cfg(target_os = "linux")]
mod linux {
    //! The list and the descriptors as Linux has them.

    use std::fs;

    use rustix::io::Errno;
    use rustix::process::{PidfdFlags, kill_process, pidfd_open, pidfd_send_signal};

    use super::{Member, Pid, Signal, io};

    pub(super) fn all() -> io::Result<Vec<Member>> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            // One that ends while we read is left out; everything else here is not a process.
            let pid = name.to_str().and_then(|name| name.parse().ok());
            found.extend(pid.and_then(Pid::from_raw).and_then(read));
        }
        Ok(found)
    }

    pub(super) fn signal(member: &Member, signal: Signal) -> io::Result<()> {
        let held = pidfd_open(member.pid, PidfdFlags::empty());
        let same = read(member.pid).is_some_and(|now| now.started == member.started);
        match held {
            _ if !same => Ok(()),
            Ok(held) => Ok(pidfd_send_signal(held, signal)?),
            // Kernels and sandboxes without process descriptors.
            Err(Errno::NOSYS | Errno::PERM) => Ok(kill_process(member.pid, signal)?),
            Err(error) => Err(error.into()),
        }
    }

    fn read(pid: Pid) -> Option<Member> {
        let stat = fs::read(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?;
        parse(pid, &String::from_utf8_lossy(&stat))
    }

    /// `pid (name) state ppid pgrp session …`; the name may hold anything, also `)`.
    pub(super) fn parse(pid: Pid, stat: &str) -> Option<Member> {
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_ascii_whitespace();
        let parent = fields.nth(1)?.parse().ok()?;
        let session = fields.nth(1)?.parse().ok()?;
        let started = fields.nth(15)?.parse().ok()?;
        Some(Member { pid, parent, session, started })
    }
}

#[cfg(not(target_os = "linux"))]
mod linux {
    //! Other systems have no list that we read; callers fall back to the process group.

    use super::{Member, Signal, io};

    pub(super) fn all() -> io::Result<Vec<Member>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn signal(_: &Member, _: Signal) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(raw: i32) -> Pid {
        Pid::from_raw(raw).unwrap()
    }

    fn member(id: i32, parent: i32) -> Member {
        Member { pid: pid(id), parent, session: 0, started: 0 }
    }

    #[test]
    fn descendants_are_found_at_any_depth_and_others_are_not() {
        let all = [(5, 4), (2, 1), (4, 2), (3, 1), (9, 8), (8, 3)].map(|(i, p)| member(i, p));
        let ids = |root| walk(all.to_vec(), root).iter().map(|m| m.pid.as_raw_pid()).collect();
        let (below_two, below_five): (Vec<_>, Vec<_>) = (ids(2), ids(5));
        assert_eq!(below_two, [4, 5]);
        assert!(below_five.is_empty());
        let circle = vec![member(2, 1), member(1, 2)];
        assert_eq!(walk(circle, 1).len(), 2);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_name_may_look_like_the_rest_of_the_line() {
        let stat = "7 (a) R 1 (b) S 3 7 6 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 777 1 2\n";
        let want = Member { pid: pid(7), parent: 3, session: 6, started: 777 };
        assert_eq!(linux::parse(pid(7), stat), Some(want));
        assert_eq!(linux::parse(pid(7), "7 (a) S"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_that_took_over_the_id_is_left_alone() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let us = rustix::process::getpid();
        let id = Pid::from_child(&child);
        let listed = below(us).unwrap().into_iter().find(|m| m.pid() == id).unwrap();
        let other = Member { started: listed.started + 1, ..listed };
        other.signal(Signal::KILL).unwrap();
        assert!(child.try_wait().unwrap().is_none());
        listed.signal(Signal::KILL).unwrap();
        assert!(!child.wait().unwrap().success());
        listed.signal(Signal::KILL).unwrap();
    }
}
