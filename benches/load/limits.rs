//! How many descriptors a process may have: thousands of held connections need more than is usual.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Result;

/// What a process needs beside the connections that are held.
const SPARE: u64 = 300;

/// As many as the system allows, for this process and for all that it starts.
pub(crate) fn raise_descriptors() -> Result<()> {
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files })?;
    Ok(())
}

/// `wanted`, or as many connections as can be held.
pub(crate) fn connections(wanted: usize) -> usize {
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    wanted.min(usize::try_from(allowed.saturating_sub(SPARE)).unwrap_or(usize::MAX))
}
