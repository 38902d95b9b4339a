//! Demo servers behind a port, which can be killed, stopped and started again.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

use crate::proc::MARK;
use crate::time::until;

/// A demo server of its own port, which stays the same over its lives.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) name: String,
    pub(crate) port: u16,
    waypost: PathBuf,
    args: Vec<String>,
    mark: String,
    child: Option<Child>,
}

/// A port on which nothing listens.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Sends a signal to a process that is ours.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // One that is gone already needs no signal.
        kill_process(pid, signal).unwrap_or_default();
    }
}

impl Replica {
    /// One that writes what it runs into the journal; not started yet.
    pub(crate) fn new(
        name: &str,
        waypost: &Path,
        journal: &Path,
        mark: &str,
    ) -> anyhow::Result<Self> {
        let journal = journal.display().to_string();
        let args = ["--name", name, "--quirk", "ledger", "--journal", &journal];
        Ok(Self {
            name: name.to_owned(),
            port: free_port()?,
            waypost: waypost.to_owned(),
            args: args.map(str::to_owned).to_vec(),
            mark: mark.to_owned(),
            child: None,
        })
    }

    /// Starts it and waits until it listens.
    pub(crate) async fn start(&mut self) -> anyhow::Result<()> {
        self.start_with(&[]).await
    }

    /// The same with more arguments, for this life.
    pub(crate) async fn start_with(&mut self, more: &[&str]) -> anyhow::Result<()> {
        self.kill();
        let child = Command::new(&self.waypost)
            .args(["demo-server", "--port", &self.port.to_string()])
            .args(&self.args)
            .args(more)
            .env(MARK, &self.mark)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start a demo server")?;
        self.child = Some(child);
        let address = ("127.0.0.1", self.port);
        let up = until(20_000, async || tokio::net::TcpStream::connect(address).await.is_ok());
        up.await.context("a demo server does not listen")?;
        Ok(())
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Lets it stand still.
    pub(crate) fn freeze(&self) {
        self.child.iter().for_each(|child| signal(child.id(), Signal::STOP));
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.child.iter().for_each(|child| signal(child.id(), Signal::CONT));
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.kill();
    }
}
