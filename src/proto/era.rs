//! Pure: the two eras and the versions of the protocol.

/// Which half of the protocol's history a peer speaks (2026-07-28, basic/versioning).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Era {
    /// 2025-11-25 and earlier: handshake, sessions.
    Legacy,
    /// 2026-07-28 and later: self-contained requests.
    Modern,
}

impl Era {
    /// The word of the specification; the label of `mcp_sessions`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Modern => "modern",
        }
    }
}

/// A revision of the protocol that the gateway speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// 2024-11-05
    V2024_11_05,
    /// 2025-03-26
    V2025_03_26,
    /// 2025-06-18
    V2025_06_18,
    /// 2025-11-25
    V2025_11_25,
    /// 2026-07-28
    V2026_07_28,
}

/// Every revision, oldest first.
pub const VERSIONS: [Version; 5] = [
    Version::V2024_11_05,
    Version::V2025_03_26,
    Version::V2025_06_18,
    Version::V2025_11_25,
    Version::V2026_07_28,
];

/// The modern revisions that the gateway serves inline: `server/discover` and -32022 list these.
pub const MODERN_VERSIONS: [Version; 1] = [Version::V2026_07_28];

impl Version {
    /// The newest legacy revision: what an unknown version in `initialize` is answered with.
    pub const LEGACY_NEWEST: Self = Self::V2025_11_25;
    /// The newest modern revision.
    pub const MODERN_NEWEST: Self = Self::V2026_07_28;

    /// The revision of this name.
    pub fn parse(text: &str) -> Option<Self> {
        VERSIONS.into_iter().find(|version| version.as_str() == text)
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// Its era.
    pub fn era(self) -> Era {
        if self >= Self::V2026_07_28 { Era::Modern } else { Era::Legacy }
    }

    /// What to answer a legacy `initialize` that asks for `requested` (2025-11-25, lifecycle,
    /// "Version Negotiation"): the same if we speak it, else our newest legacy revision. A modern
    /// name in a legacy handshake is answered likewise.
    pub fn negotiate_legacy(requested: &str) -> Self {
        match Self::parse(requested) {
            Some(version) if version.era() == Era::Legacy => version,
            _ => Self::LEGACY_NEWEST,
        }
    }
}

/// Whether a version text names a modern revision, known to us or not: revisions are dates.
pub fn names_modern(text: &str) -> bool {
    let dated = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    dated && text >= Version::V2026_07_28.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_legacy_handshake_negotiates_down_and_never_up() {
        for (asked, got) in [
            ("2024-11-05", Version::V2024_11_05),
            ("2025-03-26", Version::V2025_03_26),
            ("2025-06-18", Version::V2025_06_18),
            ("2025-11-25", Version::V2025_11_25),
            ("2099-01-01", Version::V2025_11_25),
            ("2026-07-28", Version::V2025_11_25),
            ("", Version::V2025_11_25),
        ] {
            assert_eq!(Version::negotiate_legacy(asked), got, "{asked}");
        }
    }

    #[test]
    fn modern_names_are_dates_from_2026_07_28_on() {
        assert!(names_modern("2026-07-28") && names_modern("2099-01-01"));
        assert!(!names_modern("2025-11-25") && !names_modern("zzzz") && !names_modern(""));
    }
}
