//! What starts children, as the floor sees it: a supervisor with processes, or a simulation with
//! tasks in their place.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;

use super::spec::LaunchSpec;
use super::supervisor::{Child, Exit, StopPace, Supervisor};
use crate::base::Fault;

/// A future on the heap: starts and ends of children are rare.
pub type Soon<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A child that was started, and the three ends that we hold.
pub type Launched = (Box<dyn Process>, Ends);

/// The ends of a child's pipes.
pub struct Ends {
    /// To the child. Dropping it is the polite way to ask the child to end.
    pub stdin: Box<dyn AsyncWrite + Send + Unpin>,
    /// From the child.
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    /// From the child; must be read at all times (`upstream::stderr`).
    pub stderr: Box<dyn AsyncRead + Send + Unpin>,
}

/// Starts children.
pub trait Launch: fmt::Debug + Send + Sync {
    /// Starts one. Dropping the future starts nothing.
    fn launch<'a>(&'a self, spec: &'a LaunchSpec) -> Soon<'a, Result<Launched, Fault>>;
}

/// A running child.
pub trait Process: fmt::Debug + Send + Sync {
    /// Its process id, for the log.
    fn pid(&self) -> u32;
    /// Its place among the starting ones, if there are places: dropping it lets the next one start.
    fn start_share(&mut self) -> Option<OwnedSemaphorePermit>;
    /// Waits for its end. May be dropped and called again.
    fn wait(&mut self) -> Soon<'_, Exit>;
    /// Stops it, no slower than `pace`; `None` if it could not be ended.
    fn stop(&mut self, pace: StopPace) -> Soon<'_, Option<Exit>>;
}

impl Launch for Supervisor {
    fn launch<'a>(&'a self, spec: &'a LaunchSpec) -> Soon<'a, Result<Launched, Fault>> {
        Box::pin(async move {
            let (child, pipes) = Self::launch(self, spec).await?;
            let ends = Ends {
                stdin: Box::new(pipes.stdin),
                stdout: Box::new(pipes.stdout),
                stderr: Box::new(pipes.stderr),
            };
            let child: Box<dyn Process> = Box::new(child);
            Ok((child, ends))
        })
    }
}

impl Process for Child {
    fn pid(&self) -> u32 {
        Self::pid(self)
    }

    fn start_share(&mut self) -> Option<OwnedSemaphorePermit> {
        Self::start_share(self)
    }

    fn wait(&mut self) -> Soon<'_, Exit> {
        Box::pin(Self::wait(self))
    }

    fn stop(&mut self, pace: StopPace) -> Soon<'_, Option<Exit>> {
        Box::pin(Self::stop(self, pace))
    }
}
