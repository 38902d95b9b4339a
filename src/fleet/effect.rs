//! Pure: what a second run of a call would do.

/// What a second run of a call would do. The words are those of `tools.effect` in the
/// configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Nothing: it only reads.
    ReadOnly,
    /// Nothing more than the first one did.
    Idempotent,
    /// Something again, or nobody knows: it must not run twice.
    #[default]
    Unsafe,
}

impl Effect {
    /// Whether a call that may have run may be sent again.
    pub fn is_repeatable(self) -> bool {
        self != Self::Unsafe
    }

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "read_only",
            Self::Idempotent => "idempotent",
            Self::Unsafe => "unsafe",
        }
    }
}
