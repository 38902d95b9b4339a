//! Pure: the pages of the four lists, rendered when the catalog is built and copied into answers as
//! they are (specification 2026-07-28, server/tools, "Listing Tools", and its siblings;
//! server/utilities/pagination; server/utilities/caching).
//!
//! Both eras have the same number of pages with the same entries on each, so a cursor means the
//! same to both. It names the content of its list, not the moment: after a rebuild with equal
//! content, or at another instance with it, it is as good as before.

mod cursor;

use bytes::Bytes;
use serde_json::value::RawValue;

pub use self::cursor::CursorError;

use self::cursor::{CURSOR_LEN, Edition};
use super::item::Item;
use super::spec::{PAGE_BYTES_MAX, PAGE_LEN_MAX};
use super::{Catalog, Kind, PerKind};
use crate::proto::era::Era;
use crate::proto::meta::SERVER_INFO;
use crate::proto::splice::one_line;

/// Who may share a cached page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheScope {
    /// One authorization context.
    #[default]
    Private,
    /// Everybody.
    Public,
}

impl CacheScope {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Public => "public",
        }
    }
}

/// Who may share the pages of each list.
pub type Scopes = PerKind<CacheScope>;

/// What modern pages say besides their entries; how long they may be kept is said when they are
/// sent.
#[derive(Clone, Copy, Debug)]
pub struct PageSpec<'a> {
    /// Who may share them.
    pub scopes: Scopes,
    /// Our `Implementation` object, for `_meta`.
    pub server_info: &'a RawValue,
}

/// The rendered lists.
#[derive(Clone, Debug)]
pub struct Pages(PerKind<List>);

impl Pages {
    /// Renders the lists of a catalog.
    pub fn render(catalog: &Catalog, spec: &PageSpec<'_>) -> Self {
        Self::render_within(catalog, spec, Bounds { len: PAGE_LEN_MAX, bytes: PAGE_BYTES_MAX })
    }

    fn render_within(catalog: &Catalog, spec: &PageSpec<'_>, bounds: Bounds) -> Self {
        let edition = |kind| Edition { kind, digest: catalog.digest(kind), bounds };
        Self(PerKind {
            tools: List::render(catalog.tools(), edition(Kind::Tools), spec),
            prompts: List::render(catalog.prompts(), edition(Kind::Prompts), spec),
            resources: List::render(catalog.resources(), edition(Kind::Resources), spec),
            templates: List::render(catalog.templates(), edition(Kind::Templates), spec),
        })
    }

    /// The whole answer to a list request with this id: the first page, or the one that a cursor
    /// names. A cursor is whatever the client sent as one: the empty text is a cursor too, and not
    /// one of ours. Modern clients are told to keep the page for `ttl_ms` milliseconds at most.
    pub fn message(
        &self,
        kind: Kind,
        era: Era,
        cursor: Option<&str>,
        id: &[u8],
        ttl_ms: u64,
    ) -> Result<Vec<u8>, CursorError> {
        self.0[kind].message(era, cursor, id, ttl_ms)
    }

    /// How many pages a list has; at least one.
    pub fn count(&self, kind: Kind) -> usize {
        self.0[kind].pages.len()
    }
}

/// How much fits on a page.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    len: usize,
    bytes: usize,
}

/// One rendered list.
#[derive(Clone, Debug)]
struct List {
    pages: Vec<Page>,
    /// What stands behind the entries of every modern page, as far as the number of milliseconds.
    tail: Vec<u8>,
    edition: Edition,
}

/// The beginning of a result: all entries, and the cursor of the next page.
#[derive(Clone, Debug)]
struct Page {
    legacy: Bytes,
    /// The same bytes as `legacy` where both eras see the same.
    modern: Bytes,
}

impl Page {
    fn of(&self, era: Era) -> &Bytes {
        match era {
            Era::Legacy => &self.legacy,
            Era::Modern => &self.modern,
        }
    }
}

impl List {
    fn render<T: Item>(items: &[T], edition: Edition, spec: &PageSpec<'_>) -> Self {
        let tail = modern_tail(spec.scopes[edition.kind], spec.server_info);
        // Rounded up, so that another name or scope of ours does not move entries from page to
        // page under a cursor.
        let member = edition.kind.member().len();
        let frame = (FRAME_BYTES + member + tail.len()).next_multiple_of(FRAME_STEP_BYTES);
        let room = edition.bounds.bytes.saturating_sub(frame);
        let chunks = split(items, edition.bounds.len, room);
        let page = |(index, chunk): (usize, &&[T])| {
            let next = (index + 1 < chunks.len()).then(|| edition.cursor(index + 1));
            Page::render(edition.kind, chunk, next.as_deref())
        };
        let pages = chunks.iter().enumerate().map(page).collect();
        Self { pages, tail, edition }
    }

    fn message(
        &self,
        era: Era,
        cursor: Option<&str>,
        id: &[u8],
        ttl_ms: u64,
    ) -> Result<Vec<u8>, CursorError> {
        let index = cursor.map_or(Ok(0), |cursor| self.edition.open(cursor))?;
        let page = self.pages.get(index).ok_or(CursorError::Malformed)?.of(era);
        let ttl = ttl_ms.to_string();
        let (head, result) = (br#"{"jsonrpc":"2.0","id":"#, br#","result":"#);
        Ok(match era {
            Era::Legacy => [head, id, result, page, b"}}"].concat(),
            Era::Modern => [head, id, result, page, &self.tail, ttl.as_bytes(), b"}}"].concat(),
        })
    }
}

// === Rendering ===

/// Room for all that is not entries, but the name of the list and what modern pages end with.
const FRAME_BYTES: usize = r#"{"":[],"nextCursor":""}"#.len() + CURSOR_LEN + TTL_LEN_MAX;
/// The longest number of milliseconds.
const TTL_LEN_MAX: usize = 20;
/// What is not entries takes a multiple of this.
const FRAME_STEP_BYTES: usize = 4 * 1024;

/// The entries of each page; one page without entries if there are none. A page has at least one
/// entry, however large.
fn split<T: Item>(items: &[T], len: usize, room: usize) -> Vec<&[T]> {
    let mut chunks = Vec::new();
    let mut rest = items;
    loop {
        let (mut count, mut used) = (0, 0_usize);
        for item in rest.iter().take(len.max(1)) {
            let size = item.shown(Era::Legacy).len().max(item.shown(Era::Modern).len());
            used = used.saturating_add(size + 1);
            if count > 0 && used > room {
                break;
            }
            count += 1;
        }
        let (chunk, after) = rest.split_at_checked(count).unwrap_or((rest, &[]));
        chunks.push(chunk);
        rest = after;
        if rest.is_empty() {
            return chunks;
        }
    }
}

impl Page {
    fn render<T: Item>(kind: Kind, items: &[T], next: Option<&str>) -> Self {
        let text = |era| {
            let size: usize = items.iter().map(|item| item.shown(era).len() + 1).sum();
            let mut out = Vec::with_capacity(size + FRAME_BYTES + kind.member().len());
            for text in ["{\"", kind.member(), "\":["] {
                out.extend_from_slice(text.as_bytes());
            }
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(item.shown(era));
            }
            out.push(b']');
            if let Some(cursor) = next {
                for text in [",\"nextCursor\":\"", cursor, "\""] {
                    out.extend_from_slice(text.as_bytes());
                }
            }
            Bytes::from(out)
        };
        let legacy = text(Era::Legacy);
        let alike = items.iter().all(|item| item.shown(Era::Legacy) == item.shown(Era::Modern));
        let modern = if alike { legacy.clone() } else { text(Era::Modern) };
        Self { legacy, modern }
    }
}

/// What stands behind the entries on every modern page, as far as the number of milliseconds.
fn modern_tail(scope: CacheScope, server_info: &RawValue) -> Vec<u8> {
    let tail = format!(
        r#","resultType":"complete","cacheScope":"{}","_meta":{{"{SERVER_INFO}":{}}},"ttlMs":"#,
        scope.as_str(),
        server_info.get(),
    );
    one_line(tail.into_bytes())
}

#[cfg(test)]
mod tests;
