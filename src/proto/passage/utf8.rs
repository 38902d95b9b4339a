//! Pure: UTF-8 checked piece by piece, at the speed of checking it whole.

/// The longest character, in bytes.
const CHAR_BYTES_MAX: usize = 4;

/// A check of a text that comes in pieces. A character may stand across pieces.
#[derive(Debug, Default)]
pub(super) struct Utf8 {
    /// The beginning of a character whose rest has not come, and how long it is.
    begun: [u8; CHAR_BYTES_MAX],
    len: usize,
}

impl Utf8 {
    /// Takes the next piece. The error is the place in the piece up to which the text is good.
    pub(super) fn check(&mut self, piece: &[u8]) -> Result<(), usize> {
        let took = self.go_on(piece)?;
        let rest = piece.get(took..).unwrap_or_default();
        let Err(error) = simdutf8::compat::from_utf8(rest) else {
            return Ok(());
        };
        if error.error_len().is_some() {
            return Err(took + error.valid_up_to());
        }
        for byte in rest.iter().skip(error.valid_up_to()) {
            self.keep(*byte);
        }
        Ok(())
    }

    /// Completes the character that was begun. Answers how many bytes of the piece it took.
    fn go_on(&mut self, piece: &[u8]) -> Result<usize, usize> {
        let mut took = 0;
        while self.len > 0 && took < piece.len() {
            self.keep(piece.get(took).copied().unwrap_or_default());
            took += 1;
            match std::str::from_utf8(self.begun.get(..self.len).unwrap_or_default()) {
                Ok(_) => self.len = 0,
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(took - 1),
            }
        }
        Ok(took)
    }

    fn keep(&mut self, byte: u8) {
        if let Some(place) = self.begun.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn good(pieces: &[&[u8]]) -> bool {
        let mut check = Utf8::default();
        pieces.iter().all(|piece| check.check(piece).is_ok()) && check.len == 0
    }

    #[test]
    fn bad_bytes_are_found_on_both_sides_of_a_cut() {
        for bad in
            [&b"a\xff"[..], b"\xc3(", b"\xe2\x82(", b"\xf0\x9f\x98 ", b"\xed\xa0\x80", b"\xc0\x80"]
        {
            for cut in 0..=bad.len() {
                let (a, b) = bad.split_at(cut);
                assert!(!good(&[a, b]), "{bad:?} at {cut}");
            }
        }
        let mut check = Utf8::default();
        assert_eq!(check.check(b"ab\xff"), Err(2));
        let mut check = Utf8::default();
        assert_eq!(check.check(b"ab\xe2"), Ok(()));
        assert_eq!(check.check(b"\x82\xac\xac"), Err(2));
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_check_of_the_whole(
            text in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0xe2), Just(0x82), Just(0xac), Just(0xf0), Just(0x9f)], 0..12),
            a in 0_usize..12,
            b in 0_usize..12,
        ) {
            let a = a.min(text.len());
            let b = b.clamp(a, text.len());
            let whole = std::str::from_utf8(&text).is_ok();
            prop_assert_eq!(good(&[&text[..a], &text[a..b], &text[b..]]), whole);
        }
    }
}
