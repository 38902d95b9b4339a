//! Pure: what one list of the catalog shows, as one number: did it change?

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::item::Item;
use crate::proto::era::Era;

/// The SHA-256 of all that clients can see of a list, in its order. Equal digests: no client can
/// tell the lists apart, so nobody need be told of a change and cursors stay good.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these entries.
    pub(super) fn of(items: &[impl Item]) -> Self {
        let mut hasher = Sha256::new();
        let mut put = |text: &[u8]| {
            // The length before the text: no two lists of texts run into one.
            hasher.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
            hasher.update(text);
        };
        for item in items {
            let (legacy, modern) = (item.shown(Era::Legacy), item.shown(Era::Modern));
            put(modern);
            // No definition is empty: an empty text says that both eras see the same.
            put(if legacy == modern { b"" } else { legacy });
        }
        Self(hasher.finalize().into())
    }

    /// All 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Default for Digest {
    /// Of an empty list.
    fn default() -> Self {
        Self(Sha256::new().finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
