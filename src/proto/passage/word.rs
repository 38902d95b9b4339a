//! Pure: a short word (a key, an id) that may stand across pieces.

use smallvec::SmallVec;

/// The longest word that is looked at, in bytes of JSON text. The longest key that means something
/// has 19 bytes, 104 if every character of it is escaped; an id that is passed on to an upstream
/// has at most 64, six times that if it comes back with every character escaped.
const WORD_BYTES_MAX: usize = 512;

/// A word that is gathered.
#[derive(Debug)]
pub(super) struct Word {
    /// What earlier pieces had of it.
    kept: SmallVec<[u8; 64]>,
    /// Where it goes on in this piece, if it is gathered.
    from: Option<usize>,
    long: bool,
}

impl Word {
    /// None is gathered.
    pub(super) fn new() -> Self {
        Self { kept: SmallVec::new(), from: None, long: false }
    }

    /// A word begins here.
    pub(super) fn begin(&mut self, at: usize) {
        self.kept.clear();
        self.long = false;
        self.from = Some(at);
    }

    /// The word ended before here. `None` if there is none or it is too long to be looked at.
    pub(super) fn end<'a>(&'a mut self, piece: &'a [u8], at: usize) -> Option<&'a [u8]> {
        let tail = piece.get(self.from.take()?..at)?;
        if self.long || self.kept.len() + tail.len() > WORD_BYTES_MAX {
            return None;
        }
        if self.kept.is_empty() {
            return Some(tail);
        }
        self.kept.extend_from_slice(tail);
        Some(&self.kept)
    }

    /// Whether a word is gathered.
    pub(super) fn is_open(&self) -> bool {
        self.from.is_some()
    }

    /// Where the word stands in this piece; its end, if none is gathered.
    pub(super) fn place(&self, piece: &[u8]) -> usize {
        self.from.unwrap_or(piece.len())
    }

    /// The piece is over. Answers whether the word, if there is one, is still short enough.
    pub(super) fn carry(&mut self, piece: &[u8]) -> bool {
        let Some(from) = self.from else { return true };
        let tail = piece.get(from..).unwrap_or_default();
        self.from = Some(0);
        self.long |= self.kept.len() + tail.len() > WORD_BYTES_MAX;
        if !self.long {
            self.kept.extend_from_slice(tail);
        }
        !self.long
    }
}
