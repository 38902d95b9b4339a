//! Pure: who calls, where clients have to show it.

use super::{PrincipalName, hash};

/// Somebody known. Made from the configuration alone, and handed out only to a request that showed
/// the key of this name: nothing that a client merely says becomes one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal {
    name: PrincipalName,
    key: u64,
}

impl Principal {
    /// The one of this name.
    pub fn new(name: PrincipalName) -> Self {
        let key = hash::stable(name.as_str().as_bytes());
        Self { name, key }
    }

    /// What tells it from others where a number is needed: shares, places of its calls.
    pub fn key(&self) -> u64 {
        self.key
    }

    /// Its name, for logs; it is no secret.
    pub fn name(&self) -> &PrincipalName {
        &self.name
    }
}
