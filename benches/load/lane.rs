//! A lane: one way from the driver to the peer that is measured, and how a client asks on it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::Result;
use crate::content::{self, ALL, Size, UPSTREAMS};
use crate::expected::{Expected, Want};
use crate::procfs;
use crate::protocol::{Era, Pair};
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
    /// Of the clients.
    pub(crate) era: Era,
    /// Of clients and upstreams, where both are measured; only waypost has it.
    pub(crate) pair: Option<Pair>,
    pub(crate) address: SocketAddr,
    /// The processes whose CPU time counts; none for direct.
    pub(crate) processes: Vec<u32>,
    pub(crate) upstreams: usize,
    /// Of each upstream.
    pub(crate) tools: usize,
}

/// Most tools that [`Work::Spread`] calls: each is a prepared request of every session.
const SPREAD_MAX: usize = 200;

/// What the calls of a cell ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// One tool of each upstream in turn.
    Call(Size),
    /// Tools with small results from the whole catalog, evenly spread.
    Spread,
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
        match (self.system, self.pair) {
            (System::Direct, _) => "direct",
            (System::Nginx, _) => "nginx",
            (System::Waypost, Some(Pair::Ll)) => "waypost L>L",
            (System::Waypost, Some(Pair::Mm)) => "waypost M>M",
            (System::Waypost, Some(Pair::Lm)) => "waypost L>M",
            (System::Waypost, Some(Pair::Ml)) => "waypost M>L",
            (System::Waypost, None) => "waypost",
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
            Work::Call(size) => {
                (0..self.upstreams).map(|index| self.call(index, size.tool(), size)).collect()
            }
            Work::Spread => self.spread(),
            Work::List => vec![self.list()],
        }
    }

    fn spread(&self) -> Vec<Step> {
        let names: Vec<String> = (0..self.tools).map(content::tool_name).collect();
        let small: Vec<&str> = names
            .iter()
            .map(String::as_str)
            .filter(|tool| Size::of_tool(tool) == Size::Small)
            .collect();
        let count = (small.len() * self.upstreams).min(SPREAD_MAX);
        let tool = |place: usize| small.get(place * small.len() / count).copied();
        let chosen = (0..count).filter_map(|place| Some((place % self.upstreams, tool(place)?)));
        chosen.map(|(upstream, tool)| self.call(upstream, tool, Size::Small)).collect()
    }

    fn call(&self, index: usize, tool: &str, size: Size) -> Step {
        let upstream = content::upstream(index);
        let (path, tool) = match self.system {
            System::Direct | System::Nginx => {
                (content::path(&upstream, self.tools), tool.to_owned())
            }
            System::Waypost => ("/mcp".to_owned(), content::exposed(&upstream, tool)),
        };
        Step { path, ask: Ask::Call(tool), want: Want::Content { upstream, size } }
    }

    fn list(&self) -> Step {
        let path = match self.system {
            System::Direct | System::Nginx => content::path(ALL, self.tools),
            System::Waypost => "/mcp".to_owned(),
        };
        debug_assert_eq!(self.upstreams, UPSTREAMS, "a list is of as many as the peer's page");
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
