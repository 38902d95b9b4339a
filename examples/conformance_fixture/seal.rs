//! Pure: what a client must carry for us and may not change. A seal is the content, a dot, and a
//! keyed hash of it.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// A fixture has no secrets; a real server draws its key.
const KEY: &[u8] = b"waypost conformance fixture";

/// The content with its hash.
pub(crate) fn seal(content: &str) -> String {
    format!("{content}.{}", hash(content))
}

/// The content, if nobody changed it.
pub(crate) fn open(sealed: &str) -> Option<&str> {
    let (content, given) = sealed.rsplit_once('.')?;
    (given == hash(content)).then_some(content)
}

/// Two rounds, so that nothing can be appended to a known hash.
fn hash(content: &str) -> String {
    let inner = Sha256::new().chain_update(KEY).chain_update(content).finalize();
    let outer = Sha256::new().chain_update(KEY).chain_update(inner).finalize();
    BASE64_URL_SAFE_NO_PAD.encode(outer)
}
