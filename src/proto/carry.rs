//! Pure: the start of a line or event whose end has not come.

use bytes::{BufMut as _, Bytes, BytesMut};

/// Up to so many bytes the carry is one buffer that grows.
const FIRST_BYTES: usize = 64 * 1024;
/// Bytes of each segment after the first. What it holds is not moved until the end has come.
const SEGMENT_BYTES: usize = 256 * 1024;

/// Bytes that wait for the rest of their line.
///
/// A buffer that doubles holds three times what it is for while it grows, and an allocator that is
/// asked for ever larger pieces keeps the smaller ones: endless lines of a few servers cost tens of
/// megabytes beyond their bound. Segments cost what they hold.
#[derive(Debug, Default)]
pub(super) struct Carry {
    /// Full segments, in order.
    full: Vec<BytesMut>,
    /// The one that is being filled.
    last: BytesMut,
}

impl Carry {
    /// How many bytes are held.
    pub(super) fn len(&self) -> usize {
        let full: usize = self.full.iter().map(BytesMut::len).sum();
        full + self.last.len()
    }

    /// Adds to the end.
    pub(super) fn put(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            let most = if self.full.is_empty() { FIRST_BYTES } else { SEGMENT_BYTES };
            let room = most.saturating_sub(self.last.len());
            let (fits, rest) = piece.split_at(room.min(piece.len()));
            self.last.extend_from_slice(fits);
            piece = rest;
            if self.last.len() >= most {
                let next = BytesMut::with_capacity(SEGMENT_BYTES);
                self.full.push(std::mem::replace(&mut self.last, next));
            }
        }
    }

    /// What is held with its last piece, as one; the piece itself if nothing is held. Afterwards the
    /// carry is empty.
    pub(super) fn join(&mut self, piece: Bytes) -> Bytes {
        let bytes = self.len();
        if bytes == 0 {
            return piece;
        }
        let mut whole = std::mem::take(&mut self.last);
        if !self.full.is_empty() {
            let last = std::mem::replace(&mut whole, BytesMut::with_capacity(bytes + piece.len()));
            for segment in self.full.drain(..) {
                whole.extend_from_slice(&segment);
            }
            whole.extend_from_slice(&last);
            self.full = Vec::new();
        }
        whole.put(piece);
        whole.freeze()
    }
}

#[cfg(test)]
impl Carry {
    /// How many bytes are set aside.
    pub(super) fn capacity(&self) -> usize {
        self.full.iter().map(BytesMut::capacity).sum::<usize>() + self.last.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that show where each of them belongs.
    fn pattern(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|at| u8::try_from(at % 251).unwrap()).collect()
    }

    #[test]
    fn what_comes_out_is_what_went_in() {
        for bytes in [
            0,
            1,
            FIRST_BYTES - 1,
            FIRST_BYTES,
            FIRST_BYTES + 1,
            FIRST_BYTES + SEGMENT_BYTES,
            3 * SEGMENT_BYTES + 7,
        ] {
            for step in [999, 65_536, 2 * SEGMENT_BYTES + 3] {
                let text = pattern(bytes);
                let mut carry = Carry::default();
                text.chunks(step).for_each(|chunk| carry.put(chunk));
                assert_eq!(carry.len(), bytes);
                let whole = carry.join(Bytes::from_static(b"end"));
                assert_eq!(whole, [&text[..], b"end"].concat(), "{bytes} bytes by {step}");
                assert_eq!(carry.len(), 0);
            }
        }
    }

    #[test]
    fn a_piece_with_nothing_before_it_is_not_copied() {
        let piece = Bytes::from(pattern(100));
        let at = piece.as_ptr();
        assert_eq!(Carry::default().join(piece).as_ptr(), at);
    }

    #[test]
    fn a_long_line_costs_what_it_holds() {
        let mut carry = Carry::default();
        for _ in 0..64 {
            carry.put(&pattern(100_000));
        }
        let (held, set_aside) = (carry.len(), carry.capacity());
        assert!(set_aside <= held + FIRST_BYTES + SEGMENT_BYTES, "{set_aside} bytes for {held}");
    }
}
