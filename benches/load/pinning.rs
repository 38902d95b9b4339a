//! Which core each process runs on: the proxy has one to itself, peer and driver share the other.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::Result;

const PROXY_CORE: &str = "0";
const OTHER_CORE: &str = "1";

/// Starts this program again on the core of peer and driver; gives back only if that cannot be.
pub(crate) fn restart_pinned() -> Result<()> {
    if ![PROXY_CORE, OTHER_CORE].into_iter().all(can_pin) {
        println!("note: two cores and taskset are needed to pin processes; running unpinned\n");
        return Ok(());
    }
    let program = env::current_exe()?;
    let mut again = Command::new("taskset");
    again.args(["-c", OTHER_CORE]).arg(program).args(env::args_os().skip(1)).arg("--pinned");
    Err(again.exec().into())
}

fn can_pin(core: &str) -> bool {
    succeeds(Command::new("taskset").args(["-c", core, "true"]))
}

fn succeeds(command: &mut Command) -> bool {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// The command words to put before a proxy's own.
pub(crate) fn proxy_prefix(pinned: bool) -> Vec<&'static str> {
    let mut prefix = Vec::new();
    // So that a run that is killed leaves no proxy behind.
    let end_with_us = ["setpriv", "--pdeathsig", "TERM"];
    if succeeds(Command::new("setpriv").args(["--pdeathsig", "TERM", "true"])) {
        prefix.extend(end_with_us);
    }
    if pinned {
        prefix.extend(["taskset", "-c", PROXY_CORE]);
    }
    prefix
}
