//! Walks all pages of an upstream's tool list, within bounds.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::base::fault::brief;
use crate::base::{Fault, Kind, Sent};
use crate::proto::Method;
use crate::proto::answer::Body;
use crate::proto::error::METHOD_NOT_FOUND;

use super::replica::Live;

/// Longest wait for one page.
pub const PAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Most pages of one list.
pub const PAGES_MAX: usize = 1_000;
/// Most bytes of one list.
pub const LIST_BYTES_MAX: usize = 32 * 1024 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    tools: Vec<Box<RawValue>>,
    #[serde(default)]
    next_cursor: Option<String>,
}

/// Every tool of a replica, as it wrote them.
pub async fn tools(live: &Live, us: &Value) -> Result<Vec<Bytes>, Fault> {
    let mut tools = Vec::new();
    let mut cursor: Option<String> = None;
    let mut bytes = 0;
    for _ in 0..PAGES_MAX {
        let done = live.ask(Method::ToolsList, cursor.as_deref(), PAGE_TIMEOUT, us).await?;
        bytes += done.message.len();
        if bytes > LIST_BYTES_MAX {
            return Err(bad(format!("its tool list is larger than {LIST_BYTES_MAX} bytes")));
        }
        let result = match &done.answer.body {
            Body::Result(parts) => {
                parts.span.map(|span| span.of(&done.message)).unwrap_or_default()
            }
            Body::Error(error) if error.code == METHOD_NOT_FOUND => return Ok(tools),
            Body::Error(error) => {
                let text = brief(error.span.of(&done.message));
                return Err(bad(format!("it refused tools/list: {text}")));
            }
        };
        let page: Page = serde_json::from_slice(result)
            .map_err(|error| bad(format!("its tool list cannot be read: {error}")))?;
        tools.extend(page.tools.iter().map(|tool| Bytes::copy_from_slice(tool.get().as_bytes())));
        match page.next_cursor {
            None => return Ok(tools),
            Some(next) if cursor.as_ref() == Some(&next) => {
                tracing::warn!("the tool list repeats its cursor; what came before is kept");
                return Ok(tools);
            }
            Some(next) => cursor = Some(next),
        }
    }
    tracing::warn!(pages = PAGES_MAX, "the tool list has too many pages; the rest is left out");
    Ok(tools)
}

fn bad(message: String) -> Fault {
    Fault::upstream(Kind::Protocol, Sent::Maybe, message)
}
