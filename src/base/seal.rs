//! Names that carry what they stand for, and that nobody else can read, make or change: what the
//! gateway hands to a client, and wants back as it was.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::rng;

/// Length of a key in bytes.
pub const KEY_BYTES: usize = 32;

/// Seals and opens with one key.
#[derive(Debug)]
pub struct Sealer {
    /// `None` only if the library refuses a key of the right length: then nothing opens.
    key: Option<LessSafeKey>,
}

impl Sealer {
    /// A sealer with this key.
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).ok().map(LessSafeKey::new);
        Self { key }
    }

    /// A sealer whose names mean nothing to any other one.
    pub fn random() -> Self {
        Self::new(&rng::secret())
    }

    /// A name for `content`. `purpose` tells kinds of names apart: one does not open as another.
    pub fn seal(&self, purpose: &str, content: &[u8]) -> Option<String> {
        let mut text = content.to_vec();
        let nonce: [u8; NONCE_LEN] = rng::secret();
        let unique = Nonce::assume_unique_for_key(nonce);
        let key = self.key.as_ref()?;
        key.seal_in_place_append_tag(unique, Aad::from(purpose), &mut text).ok()?;
        Some(URL_SAFE_NO_PAD.encode([&nonce[..], &text].concat()))
    }

    /// What a name stands for; `None` if it is none of ours, or was changed.
    pub fn open(&self, purpose: &str, name: &str) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(name).ok()?;
        let (nonce, text) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        let opened = self.key.as_ref()?.open_in_place(nonce, Aad::from(purpose), &mut text).ok()?;
        Some(opened.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_and_purpose_open_what_was_sealed() {
        let (one, two) = (Sealer::random(), Sealer::random());
        let name = one.seal("task", b"content").unwrap();
        assert_eq!(one.open("task", &name).as_deref(), Some(b"content".as_slice()));
        assert_eq!((one.open("cursor", &name), two.open("task", &name)), (None, None));
        assert_ne!(one.seal("task", b"content").unwrap(), name, "no two names are alike");
        for place in 0..name.len() {
            let mut changed = name.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(one.open("task", &changed), None, "changed at {place}");
        }
        for odd in ["", "A", "====", "ä", name.split_at(name.len() - 1).0, &"A".repeat(1 << 20)] {
            assert_eq!(one.open("task", odd), None);
        }
    }
}
