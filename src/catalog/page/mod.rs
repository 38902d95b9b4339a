//! Pure: the pages of `tools/list`, rendered when the catalog is built and sent as they are
//! (specification 2026-07-28, server/tools, "Listing Tools"; server/utilities/pagination;
//! server/utilities/caching).
//!
//! Both eras have the same number of pages with the same tools on each, so a cursor means the same
//! to both. It names the content, not the moment: after a rebuild with equal content, or at
//! another instance with it, it is as good as before.

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::item::on_one_line;
use super::spec::{PAGE_BYTES_MAX, PAGE_LEN_MAX};
use super::{Catalog, Digest, Tool};
use crate::proto::era::Era;

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

/// What modern pages say besides the tools.
#[derive(Clone, Copy, Debug)]
pub struct PageSpec<'a> {
    /// How long a client may keep a page.
    pub ttl: Duration,
    /// Who may share it.
    pub scope: CacheScope,
    /// Our `Implementation` object, for `_meta`.
    pub server_info: &'a RawValue,
}

/// Why a cursor leads to no page. Both are answered with -32602.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// We never made it.
    #[error("the cursor is not valid")]
    Malformed,
    /// We made it for a list that has changed since.
    #[error("the list has changed since the cursor was made; ask again from its beginning")]
    Stale,
}

/// The rendered list.
#[derive(Clone, Debug)]
pub struct Pages {
    legacy: Vec<Bytes>,
    modern: Vec<Bytes>,
    digest: Digest,
    bounds: Bounds,
}

impl Pages {
    /// Renders the list of a catalog.
    pub fn render(catalog: &Catalog, spec: &PageSpec<'_>) -> Self {
        Self::render_within(catalog, spec, Bounds { len: PAGE_LEN_MAX, bytes: PAGE_BYTES_MAX })
    }

    fn render_within(catalog: &Catalog, spec: &PageSpec<'_>, bounds: Bounds) -> Self {
        let digest = catalog.digest();
        let tail = modern_tail(spec);
        // Rounded up, so that another ttl does not move tools from page to page under a cursor.
        let frame = (HEAD.len() + FRAME_BYTES + tail.len()).next_multiple_of(FRAME_STEP_BYTES);
        let room = bounds.bytes.saturating_sub(frame);
        let chunks = split(catalog.tools(), bounds.len, room);
        let mut pages = Self { legacy: Vec::new(), modern: Vec::new(), digest, bounds };
        for (index, chunk) in chunks.iter().enumerate() {
            let next = (index + 1 < chunks.len()).then(|| cursor(&digest, bounds, index + 1));
            pages.legacy.push(page(chunk, Era::Legacy, next.as_deref(), ""));
            pages.modern.push(page(chunk, Era::Modern, next.as_deref(), &tail));
        }
        pages
    }

    /// The result of a `tools/list`: the first page, or the one that a cursor names. A cursor is
    /// whatever the client sent as one: the empty text is a cursor too, and not one of ours.
    pub fn get(&self, era: Era, cursor: Option<&str>) -> Result<&Bytes, CursorError> {
        let index = match cursor {
            None => 0,
            Some(cursor) => self.open(cursor)?,
        };
        let pages = match era {
            Era::Legacy => &self.legacy,
            Era::Modern => &self.modern,
        };
        pages.get(index).ok_or(CursorError::Malformed)
    }

    /// How many pages there are; at least one.
    pub fn count(&self) -> usize {
        self.modern.len()
    }

    fn open(&self, text: &str) -> Result<usize, CursorError> {
        if text.len() != CURSOR_LEN {
            return Err(CursorError::Malformed);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_detail| CursorError::Malformed)?;
        let bytes: [u8; CURSOR_BYTES] = bytes.try_into().map_err(|_len| CursorError::Malformed)?;
        let [d0, d1, d2, d3, d4, d5, d6, d7, p0, p1, p2, p3, ..] = bytes;
        let list = [d0, d1, d2, d3, d4, d5, d6, d7];
        let page = u32::from_be_bytes([p0, p1, p2, p3]);
        if sealed(list, page, self.bounds) != bytes {
            return Err(CursorError::Malformed);
        }
        if list != short(&self.digest) {
            return Err(CursorError::Stale);
        }
        usize::try_from(page).map_err(|_range| CursorError::Malformed)
    }
}

/// How much fits on a page.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    len: usize,
    bytes: usize,
}

// === Rendering ===

const HEAD: &str = r#"{"tools":["#;
/// Room for the end of the array and `nextCursor`.
const FRAME_BYTES: usize = r#"],"nextCursor":"","#.len() + CURSOR_LEN + 1;

/// What is not tools takes a multiple of this.
const FRAME_STEP_BYTES: usize = 4 * 1024;

/// The tools of each page; one page without tools if there are none. A page has at least one tool,
/// however large.
fn split(tools: &[Tool], len: usize, room: usize) -> Vec<&[Tool]> {
    let mut chunks = Vec::new();
    let mut rest = tools;
    loop {
        let (mut count, mut used) = (0, 0_usize);
        for tool in rest.iter().take(len.max(1)) {
            let sizes = [Era::Legacy, Era::Modern].map(|era| tool.definition(era).len());
            used = used.saturating_add(sizes.into_iter().max().unwrap_or_default() + 1);
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

fn page(tools: &[Tool], era: Era, next: Option<&str>, tail: &str) -> Bytes {
    let size: usize = tools.iter().map(|tool| tool.definition(era).len() + 1).sum();
    let mut out = Vec::with_capacity(size + HEAD.len() + FRAME_BYTES + tail.len());
    out.extend_from_slice(HEAD.as_bytes());
    for (index, tool) in tools.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(tool.definition(era));
    }
    out.push(b']');
    if let Some(cursor) = next {
        for text in [",\"nextCursor\":\"", cursor, "\""] {
            out.extend_from_slice(text.as_bytes());
        }
    }
    out.extend_from_slice(tail.as_bytes());
    out.push(b'}');
    Bytes::from(out)
}

/// What stands behind the tools on every modern page.
fn modern_tail(spec: &PageSpec<'_>) -> String {
    let mut tail = String::new();
    // Writing to a `String` cannot fail.
    let _written: Result<(), std::fmt::Error> = write!(
        tail,
        r#","resultType":"complete","ttlMs":{},"cacheScope":"{}","_meta":{{"{SERVER_INFO}":{}}}"#,
        spec.ttl.as_millis(),
        spec.scope.as_str(),
        spec.server_info.get(),
    );
    on_one_line(tail)
}

const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

// === Cursors ===

/// Eight bytes of the digest, four of the page, six that show whether anything was changed.
const CURSOR_BYTES: usize = 18;
const CURSOR_LEN: usize = CURSOR_BYTES / 3 * 4;

fn cursor(digest: &Digest, bounds: Bounds, page: usize) -> String {
    let page = u32::try_from(page).unwrap_or(u32::MAX);
    URL_SAFE_NO_PAD.encode(sealed(short(digest), page, bounds))
}

fn short(digest: &Digest) -> [u8; 8] {
    let mut first = [0; 8];
    for (slot, byte) in first.iter_mut().zip(digest.as_bytes()) {
        *slot = *byte;
    }
    first
}

/// The bytes of a cursor. The check is no secret, since a page is none either: it finds what was
/// damaged or made up, what belongs to another method, and what was made with other bounds.
fn sealed(list: [u8; 8], page: u32, bounds: Bounds) -> [u8; CURSOR_BYTES] {
    let mut hasher = Sha256::new();
    hasher.update(b"waypost tools/list cursor");
    hasher.update(list);
    hasher.update(page.to_be_bytes());
    for bound in [bounds.len, bounds.bytes] {
        hasher.update(u64::try_from(bound).unwrap_or(u64::MAX).to_be_bytes());
    }
    let check = hasher.finalize();
    let mut bytes = [0; CURSOR_BYTES];
    let content = list.into_iter().chain(page.to_be_bytes()).chain(check);
    for (slot, byte) in bytes.iter_mut().zip(content) {
        *slot = byte;
    }
    bytes
}

#[cfg(test)]
mod tests;
