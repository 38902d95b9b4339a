//! Pure: growing a text.

use std::fmt::{Arguments, Write as _};

/// Appends words to a text, without a text between.
pub(super) fn push(text: &mut String, words: Arguments<'_>) {
    // Only a `Display` that fails could fail here, and no such is passed.
    let written = text.write_fmt(words);
    debug_assert!(written.is_ok());
}
