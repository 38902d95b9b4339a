//! The key that the names of tasks are sealed with. It is kept beside the catalog, so that clients
//! find their tasks again after a restart, at any gateway that shares the folder.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::base::{Sealer, rng, seal::KEY_BYTES};
use crate::store::Files;

/// What it is kept as.
const KEPT_AS: &str = "seal";

/// A sealer with the key of this folder, which is made if there is none; without a folder, or where
/// it cannot be kept, with one of its own.
pub(super) fn sealer(files: Option<&Files>) -> Sealer {
    let Some(files) = files else { return Sealer::random() };
    let kept = match files.get(KEPT_AS) {
        Ok(kept) => kept.and_then(|text| STANDARD.decode(text).ok()),
        Err(error) => {
            // It may be a good one, that others go by: it is not replaced.
            tracing::warn!(%error, "cannot read the key of the names of tasks: they end with this process; make catalog.cache_dir readable");
            return Sealer::random();
        }
    };
    if let Some(key) = kept.and_then(|key| <[u8; KEY_BYTES]>::try_from(key).ok()) {
        return Sealer::new(&key);
    }
    let key = rng::secret();
    if let Err(error) = files.put(KEPT_AS, STANDARD.encode(key).as_bytes()) {
        tracing::warn!(%error, "cannot keep the key of the names of tasks: they end with this process; make catalog.cache_dir writable");
    }
    Sealer::new(&key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_gateway_with_the_folder_opens_what_was_sealed_and_others_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path());
        let name = sealer(Some(&files)).seal("t", b"x").unwrap();
        assert_eq!(sealer(Some(&files)).open("t", &name).as_deref(), Some(b"x".as_slice()));
        assert_eq!(sealer(None).open("t", &name), None);
        files.put(KEPT_AS, b"torn").unwrap();
        assert_eq!(sealer(Some(&files)).open("t", &name), None);
        let made = sealer(Some(&files)).seal("t", b"y").unwrap();
        assert!(sealer(Some(&files)).open("t", &made).is_some(), "a new one is kept");
    }
}
