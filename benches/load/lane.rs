//! A lane: one way from the driver to the peer that is measured, and how a client asks on it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::Result;
use crate::content::{self, ALL, Size, UPSTREAMS};
use crate::expected::{Expected, Want};
use crate::procfs;
use crate::protocol::Era;
use crate::request::Ask;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    Direct,
    Nginx,
    Waypost,
}

#[derive(Clone, Debug)]
pub(crate) struct Lane {
    pub(crate) system: System,
    pub(crate) era: Era,
    pub(crate) address: SocketAddr,
    /// The processes whose CPU time counts; none for direct.
    pub(crate) processes: Vec<u32>,
    /// Tools of each upstream.
    pub(crate) tools: usize,
}

/// What the calls of a cell ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Call(Size),
    List,
}

/// One kind of request of a cell and what must come back.
pub(crate) struct Step {
    pub(crate) path: String,
    pub(crate) ask: Ask,
    pub(crate) want: Want,
}

impl Lane {
    pub(crate) const fn name(&self) -> &'static str {
        match (self.system, self.era) {
            (System::Direct, _) => "direct",
            (System::Nginx, _) => "nginx",
            (System::Waypost, Era::Legacy) => "waypost legacy",
            (System::Waypost, Era::Modern) => "waypost modern",
        }
    }

    /// The CPU time its processes have used so far.
    pub(crate) fn cpu(&self) -> Result<Option<Duration>> {
        if self.processes.is_empty() {
            return Ok(None);
        }
        let times: Result<Vec<_>> = self.processes.iter().map(|&id| procfs::cpu(id)).collect();
        Ok(Some(times?.into_iter().sum()))
    }

    /// Calls go round all upstreams; a list is one page.
    pub(crate) fn steps(&self, work: Work) -> Vec<Step> {
        match work {
            Work::Call(size) => (0..UPSTREAMS).map(|index| self.call(index, size)).collect(),
            Work::List => vec![self.list()],
        }
    }

    fn call(&self, index: usize, size: Size) -> Step {
        let upstream = content::upstream(index);
        let tool = size.tool();
        let (path, tool) = match self.system {
            System::Direct | System::Nginx => (format!("/{upstream}/mcp"), tool.to_owned()),
            System::Waypost => ("/mcp".to_owned(), content::exposed(&upstream, tool)),
        };
        Step { path, ask: Ask::Call(tool), want: Want::Content { upstream, size } }
    }

    fn list(&self) -> Step {
        let path = match self.system {
            System::Direct | System::Nginx => format!("/{ALL}/mcp"),
            System::Waypost => "/mcp".to_owned(),
        };
        Step { path, ask: Ask::List, want: Want::Tools(content::tools(ALL, self.tools)) }
    }

    /// What a reply must be, from the first one.
    pub(crate) fn expect(&self, want: &Want, id: &str, body: &[u8]) -> Result<Expected> {
        match self.system {
            System::Direct | System::Nginx => Ok(Expected::exact(self.era, want)),
            System::Waypost => Expected::learn(self.era, want, id, body),
        }
    }
}
