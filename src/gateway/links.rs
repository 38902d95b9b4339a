//! Which upstream has named a resource that it does not list: a link or an embedded resource in a
//! result may be read although no list has it (2025-11-25 and 2026-07-28, server/tools, "Resource
//! Links"). Remembered for the last ones only.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;
use serde_json::Value;

use crate::upstream::UpstreamId;

/// Most links that are remembered.
pub const LINKS_MAX: usize = 4_096;
/// Most links that are taken from one result.
const LINKS_OF_RESULT_MAX: usize = 64;
/// Longest URI that is remembered in bytes.
const URI_BYTES_MAX: usize = 8 * 1_024;
/// Larger results are not looked through.
const RESULT_BYTES_MAX: usize = 256 * 1_024;

/// The remembered links.
#[derive(Debug, Default)]
pub struct Links {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    owners: HashMap<String, UpstreamId>,
    order: VecDeque<String>,
}

impl Links {
    /// The upstream that named it last.
    pub fn owner(&self, uri: &str) -> Option<UpstreamId> {
        self.inner.lock().owners.get(uri).copied()
    }

    /// An upstream knows this resource.
    pub fn remember(&self, uri: &str, upstream: UpstreamId) {
        if uri.len() > URI_BYTES_MAX {
            return;
        }
        let mut inner = self.inner.lock();
        if inner.owners.insert(uri.to_owned(), upstream).is_some() {
            return;
        }
        inner.order.push_back(uri.to_owned());
        if inner.order.len() > LINKS_MAX
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.owners.remove(&oldest);
        }
    }

    /// Remembers the links in a result of an upstream. Most results have none, which costs one
    /// search for a word.
    pub fn note(&self, result: &[u8], upstream: UpstreamId) {
        if result.len() > RESULT_BYTES_MAX || memchr::memmem::find(result, b"\"resource").is_none()
        {
            return;
        }
        let Ok(result) = serde_json::from_slice::<Value>(result) else { return };
        for uri in uris(&result).into_iter().take(LINKS_OF_RESULT_MAX) {
            self.remember(uri, upstream);
        }
    }
}

/// The URIs that the content blocks of a result, or of the messages of a prompt, name.
fn uris(result: &Value) -> Vec<&str> {
    let list = |key: &str| result.get(key).and_then(Value::as_array).into_iter().flatten();
    let messages = list("messages").filter_map(|message| message.get("content"));
    let blocks = list("content").chain(messages);
    let uri = |block| {
        let block: &Value = block;
        let own = block.get("uri").filter(|_| block["type"] == "resource_link");
        own.or_else(|| block.pointer("/resource/uri"))?.as_str()
    };
    blocks.filter_map(uri).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::place::Numbers;

    #[test]
    fn links_and_embedded_resources_are_remembered_with_their_owner() {
        let links = Links::default();
        let mut numbers = Numbers::default();
        let (three, four) = (numbers.upstream(), numbers.upstream());
        links.note(br#"{"content":[{"type":"text","text":"a:b"},{"type":"resource_link","uri":"a:1","name":"x"},{"type":"resource","resource":{"uri":"a:2","text":""}}]}"#, three);
        links.note(br#"{"messages":[{"role":"user","content":{"type":"resource","resource":{"uri":"a:3","text":""}}}]}"#, four);
        let owners = ["a:1", "a:2", "a:3", "a:b"].map(|uri| links.owner(uri));
        assert_eq!(owners, [Some(three), Some(three), Some(four), None]);
    }

    #[test]
    fn the_oldest_is_forgotten_first_and_memory_stays_bounded() {
        let links = Links::default();
        let one = Numbers::default().upstream();
        for n in 0..=LINKS_MAX {
            links.remember(&n.to_string(), one);
        }
        links.remember("7", one);
        assert_eq!((links.owner("0"), links.owner("1")), (None, Some(one)));
        assert_eq!(links.inner.lock().owners.len(), LINKS_MAX);
        assert_eq!(links.inner.lock().order.len(), LINKS_MAX);
    }
}
