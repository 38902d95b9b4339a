//! Walks all pages of an upstream's lists, within bounds.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::base::fault::brief;
use crate::base::{Fault, Kind, Sent};
use crate::proto::answer::Body;
use crate::proto::error::METHOD_NOT_FOUND;
use crate::proto::{Lists, Method};

use super::replica::Live;

/// Longest wait for one page.
pub const PAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for a whole list of tools.
pub const LIST_TIMEOUT: Duration = Duration::from_mins(1);
/// Longest wait for a page of any other list: it must not hold up the tools.
pub const OTHER_PAGE_TIMEOUT: Duration = Duration::from_secs(5);
/// Most pages of one list.
pub const PAGES_MAX: usize = 1_000;
/// Most bytes of one list.
pub const LIST_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What a replica offers, as it wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Its tools.
    pub tools: List,
    /// Its prompts.
    pub prompts: List,
    /// Its resources.
    pub resources: List,
    /// Its resource templates.
    pub templates: List,
}

/// One list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// The objects in the server's order.
    pub items: Vec<Bytes>,
    /// How long it may be kept, if the server says: the shortest of its pages.
    pub ttl: Option<Duration>,
    /// The server lets everybody share it.
    pub public: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(alias = "prompts", alias = "resources", alias = "resourceTemplates", default)]
    tools: Vec<Box<RawValue>>,
    #[serde(default)]
    next_cursor: Option<String>,
    #[serde(default)]
    ttl_ms: Option<Value>,
    #[serde(default)]
    cache_scope: Option<String>,
}

impl Listing {
    /// Everything that a replica lists, all lists at once. Lists that it does not announce are
    /// empty; tools are asked for in any case. A server that cannot list its tools is not up; of
    /// another list that it cannot give the others know nothing, and it is asked for again.
    pub async fn walk(live: &Live, us: &Value) -> Result<(Self, Lists), Fault> {
        let offered = live.offers.lists;
        let mut listing = Self::default();
        let tools = Lists { tools: true, ..Lists::NONE };
        let failed = listing.again(live, us, offered.or(tools)).await;
        match failed {
            Some((lists, fault)) if lists.tools => Err(fault),
            Some((lists, _)) => Ok((listing, lists)),
            None => Ok((listing, Lists::NONE)),
        }
    }

    /// Lists some of it anew. What cannot be listed stays as it was, and is answered with why.
    pub async fn again(&mut self, live: &Live, us: &Value, lists: Lists) -> Option<(Lists, Fault)> {
        let one = async |wanted: bool, method| {
            if !wanted {
                return Ok(None);
            }
            // Four of them side by side are large.
            Box::pin(list(live, method, us)).await.map(Some)
        };
        let (tools, prompts, resources, templates) = tokio::join!(
            one(lists.tools, Method::ToolsList),
            one(lists.prompts, Method::PromptsList),
            one(lists.resources, Method::ResourcesList),
            one(lists.resources, Method::TemplatesList),
        );
        let mut failed = None;
        let of = |tools, prompts, resources| Lists { tools, prompts, resources };
        for (slot, new, which) in [
            (&mut self.templates, templates, of(false, false, true)),
            (&mut self.resources, resources, of(false, false, true)),
            (&mut self.prompts, prompts, of(false, true, false)),
            (&mut self.tools, tools, of(true, false, false)),
        ] {
            match new {
                Ok(Some(new)) => *slot = new,
                Ok(None) => {}
                Err(fault) => {
                    let before =
                        failed.take().map_or(Lists::NONE, |(lists, _): (Lists, Fault)| lists);
                    failed = Some((before.or(which), fault));
                }
            }
        }
        failed
    }

    /// The lists, for all of which something holds.
    pub fn all(&self) -> [&List; 4] {
        [&self.tools, &self.prompts, &self.resources, &self.templates]
    }

    /// How long the shortest-lived list may be kept, if the server says.
    pub fn ttl(&self) -> Option<Duration> {
        self.all().into_iter().filter_map(|list| list.ttl).min()
    }
}

/// Every item of one list.
async fn list(live: &Live, method: Method, us: &Value) -> Result<List, Fault> {
    tokio::time::timeout(LIST_TIMEOUT, pages(live, method, us)).await.unwrap_or_else(|_elapsed| {
        Err(bad(format!("{} took longer than {} s", method.name(), LIST_TIMEOUT.as_secs())))
    })
}

async fn pages(live: &Live, method: Method, us: &Value) -> Result<List, Fault> {
    let mut list = List { public: true, ..List::default() };
    let mut cursors = HashSet::new();
    let mut cursor: Option<String> = None;
    let mut bytes = 0;
    let name = method.name();
    let tools = method == Method::ToolsList;
    let limit = if tools { PAGE_TIMEOUT } else { OTHER_PAGE_TIMEOUT };
    for _ in 0..PAGES_MAX {
        let done = live.ask(method, cursor.as_deref(), limit, us).await?;
        bytes += done.message.len();
        if bytes > LIST_BYTES_MAX {
            return Err(bad(format!("its {name} is larger than {LIST_BYTES_MAX} bytes")));
        }
        let result = match &done.answer.body {
            Body::Result(parts) => {
                parts.span.map(|span| span.of(&done.message)).unwrap_or_default()
            }
            Body::Error(error) if error.code == METHOD_NOT_FOUND => return Ok(list),
            Body::Error(error) => {
                let text = brief(error.span.of(&done.message));
                return Err(bad(format!("it refused {name}: {text}")));
            }
        };
        let page: Page = serde_json::from_slice(result)
            .map_err(|error| bad(format!("its {name} cannot be read: {error}")))?;
        list.items.extend(page.tools.iter().map(|i| Bytes::copy_from_slice(i.get().as_bytes())));
        list.public &= page.cache_scope.as_deref() == Some("public");
        let ttl = page.ttl_ms.and_then(|ttl| ttl.as_u64()).map(Duration::from_millis);
        list.ttl = [list.ttl, ttl].into_iter().flatten().min();
        match page.next_cursor {
            None => return Ok(list),
            Some(next) if !cursors.insert(next.clone()) => {
                tracing::warn!(list = name, "the list repeats a cursor; what came before is kept");
                return Ok(list);
            }
            Some(next) => cursor = Some(next),
        }
    }
    tracing::warn!(
        list = name,
        pages = PAGES_MAX,
        "the list has too many pages; the rest is left out"
    );
    Ok(list)
}

fn bad(message: String) -> Fault {
    Fault::upstream(Kind::Protocol, Sent::Maybe, message)
}
