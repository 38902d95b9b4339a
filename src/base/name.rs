//! Checked names. A name that exists is valid.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// The longest name of an upstream, a replica or a principal, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// Why a name is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NameError {
    /// Nothing there.
    #[error("the name is empty")]
    Empty,
    /// Over [`NAME_BYTES_MAX`].
    #[error("the name is longer than {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// A character that metrics, logs and tool names cannot carry.
    #[error("`{0}` is not allowed in a name: use letters, digits, `-`, `_` and `.`")]
    Character(char),
}

fn checked(text: &str) -> Result<Arc<str>, NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong);
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match text.chars().find(|c| !allowed(*c)) {
        Some(bad) => Err(NameError::Character(bad)),
        None => Ok(Arc::from(text)),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The checked name: 1 to [`NAME_BYTES_MAX`] bytes of `A-Z a-z 0-9 - _ .`.
            pub fn new(text: &str) -> Result<Self, NameError> {
                checked(text).map(Self)
            }

            /// The text of the name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// One named MCP server as the gateway knows it: the key of `[upstreams.NAME]`.
    UpstreamName
}
name! {
    /// One running copy of an upstream: its configured name, else its index.
    ReplicaName
}
name! {
    /// One who may call: the `name` of an item of `[auth] keys`.
    PrincipalName
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_on_construction() {
        assert_eq!(UpstreamName::new("search-1").unwrap().as_str(), "search-1");
        assert_eq!(UpstreamName::new(""), Err(NameError::Empty));
        assert_eq!(UpstreamName::new("a b"), Err(NameError::Character(' ')));
        assert_eq!(ReplicaName::new(&"x".repeat(65)), Err(NameError::TooLong));
    }
}
