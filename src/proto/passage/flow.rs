//! Pure: what of the pieces goes on. A piece that is not changed goes on as it is, without a copy;
//! what is not decided yet is held back, within bounds.

use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

/// How many bytes of blanks are held back as they stand; of longer ones the rest is left out.
const BLANK_BYTES_MAX: usize = 1024;

/// What becomes of the bytes under the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// They go on.
    Pass,
    /// Those from here are not decided.
    Hold(usize),
    /// They are left out.
    Drop,
}

/// What outlives a piece.
#[derive(Debug)]
pub(super) struct Flow {
    mode: Mode,
    /// What is held back of earlier pieces.
    held: Vec<u8>,
}

impl Flow {
    /// Everything goes on.
    pub(super) fn new() -> Self {
        Self { mode: Mode::Pass, held: Vec::new() }
    }

    /// How many bytes are held back of earlier pieces.
    #[cfg(test)]
    pub(super) fn held_len(&self) -> usize {
        self.held.len()
    }

    /// Begins a piece.
    pub(super) fn cut<'a>(
        &'a mut self,
        piece: &'a Bytes,
        out: &'a mut SmallVec<[Bytes; 4]>,
    ) -> Cut<'a> {
        Cut { flow: self, piece, out, from: 0 }
    }
}

/// One piece, while it is cut.
pub(super) struct Cut<'a> {
    flow: &'a mut Flow,
    piece: &'a Bytes,
    out: &'a mut SmallVec<[Bytes; 4]>,
    /// Up to here the piece is dealt with.
    from: usize,
}

impl<'a> Cut<'a> {
    /// The piece.
    pub(super) fn piece(&self) -> &'a [u8] {
        self.piece
    }

    /// Whether bytes are held back.
    pub(super) fn holds(&self) -> bool {
        matches!(self.flow.mode, Mode::Hold(_))
    }

    /// Whether bytes are left out.
    pub(super) fn drops(&self) -> bool {
        self.flow.mode == Mode::Drop
    }

    /// Holds back what stands from here.
    pub(super) fn hold(&mut self, at: usize) {
        self.flow.mode = Mode::Hold(at);
    }

    /// What was held back goes on.
    pub(super) fn release(&mut self) {
        if !self.flow.held.is_empty() {
            self.out.push(Bytes::from(std::mem::take(&mut self.flow.held)));
        }
        self.flow.mode = Mode::Pass;
    }

    /// What was held back is left out, and what follows too.
    pub(super) fn drop_held(&mut self) {
        if let Mode::Hold(at) = self.flow.mode {
            self.pass_to(at);
        }
        self.flow.held.clear();
        self.flow.mode = Mode::Drop;
    }

    /// From here bytes go on again.
    pub(super) fn resume(&mut self, at: usize) {
        self.from = at;
        self.flow.mode = Mode::Pass;
    }

    /// Leaves out one byte.
    pub(super) fn skip(&mut self, at: usize) {
        self.pass_to(at);
        self.from = at + 1;
    }

    /// Puts bytes of our own here.
    pub(super) fn put(&mut self, at: usize, what: Bytes) {
        self.pass_to(at);
        self.out.push(what);
    }

    /// The piece is over. Answers what of its end goes on. What is held back before `word` is a
    /// separator with blanks around it.
    pub(super) fn finish(self, word: usize) -> Range<usize> {
        let len = self.piece.len();
        let at = match self.flow.mode {
            Mode::Pass => return self.from..len,
            Mode::Drop => return len..len,
            Mode::Hold(at) => at,
        };
        let blanks = self.piece.get(at..word).unwrap_or_default();
        let held = &mut self.flow.held;
        if held.len() + blanks.len() <= BLANK_BYTES_MAX {
            held.extend_from_slice(blanks);
        } else {
            held.extend(blanks.iter().filter(|byte| !byte.is_ascii_whitespace()));
        }
        held.extend_from_slice(self.piece.get(word.max(at)..).unwrap_or_default());
        self.flow.mode = Mode::Hold(0);
        self.from..at
    }

    fn pass_to(&mut self, to: usize) {
        if to > self.from {
            self.out.push(self.piece.slice(self.from..to));
        }
        self.from = to;
    }
}
