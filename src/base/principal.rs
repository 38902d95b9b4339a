//! Pure: who calls, where clients have to show it.

use super::PrincipalName;

/// Somebody known. Made from the configuration alone, and handed out only to a request that showed
/// the key of this name: nothing that a client merely says becomes one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal {
    name: PrincipalName,
}

impl Principal {
    /// The one of this name.
    pub fn new(name: PrincipalName) -> Self {
        Self { name }
    }

    /// Its name, for logs; it is no secret.
    pub fn name(&self) -> &PrincipalName {
        &self.name
    }
}
