//! Pure: cursors: what they are made of, and how a page is found by one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::Bounds;
use crate::catalog::{Digest, Kind};

/// Why a cursor leads to no page. Both are answered with -32602.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// We never made it, or for another list.
    #[error("the cursor is not valid")]
    Malformed,
    /// We made it for a list that has changed since.
    #[error("the list has changed since the cursor was made; ask again from its beginning")]
    Stale,
}

/// Eight bytes of the digest, four of the page, six that show whether anything was changed.
const CURSOR_BYTES: usize = 18;
/// The length of a cursor.
pub(super) const CURSOR_LEN: usize = CURSOR_BYTES / 3 * 4;

/// A list as its pages were made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edition {
    pub(super) kind: Kind,
    pub(super) digest: Digest,
    pub(super) bounds: Bounds,
}

impl Edition {
    /// The cursor that leads to this page.
    pub(super) fn cursor(&self, page: usize) -> String {
        let page = u32::try_from(page).unwrap_or(u32::MAX);
        URL_SAFE_NO_PAD.encode(self.sealed(self.short(), page))
    }

    /// The page that a cursor leads to.
    pub(super) fn open(&self, text: &str) -> Result<usize, CursorError> {
        if text.len() != CURSOR_LEN {
            return Err(CursorError::Malformed);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_detail| CursorError::Malformed)?;
        let bytes: [u8; CURSOR_BYTES] = bytes.try_into().map_err(|_len| CursorError::Malformed)?;
        let [d0, d1, d2, d3, d4, d5, d6, d7, p0, p1, p2, p3, ..] = bytes;
        let list = [d0, d1, d2, d3, d4, d5, d6, d7];
        let page = u32::from_be_bytes([p0, p1, p2, p3]);
        if self.sealed(list, page) != bytes {
            return Err(CursorError::Malformed);
        }
        if list != self.short() {
            return Err(CursorError::Stale);
        }
        usize::try_from(page).map_err(|_range| CursorError::Malformed)
    }

    fn short(&self) -> [u8; 8] {
        let mut first = [0; 8];
        for (slot, byte) in first.iter_mut().zip(self.digest.as_bytes()) {
            *slot = *byte;
        }
        first
    }

    /// The bytes of a cursor. The check is no secret, since a page is none either: it finds what
    /// was damaged or made up, what belongs to another list, and what was made with other bounds.
    fn sealed(&self, list: [u8; 8], page: u32) -> [u8; CURSOR_BYTES] {
        let mut hasher = Sha256::new();
        hasher.update(b"waypost list cursor ");
        hasher.update(self.kind.member());
        hasher.update([0]);
        hasher.update(list);
        hasher.update(page.to_be_bytes());
        for bound in [self.bounds.len, self.bounds.bytes] {
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
}
