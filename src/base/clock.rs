//! The only reader of time. Pure code takes `now` as an argument; shells ask here.

use std::time::{Instant, SystemTime};

/// The monotonic time now. Follows tokio's clock, so that a paused runtime pauses it too.
#[expect(clippy::disallowed_methods, reason = "this is the one reader of the monotonic clock")]
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The wall-clock time now.
#[expect(clippy::disallowed_methods, reason = "this is the one reader of the wall clock")]
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// The wall-clock time now as RFC 3339 text in UTC, for health answers and logs.
pub fn wall_rfc3339() -> String {
    jiff::Timestamp::try_from(wall())
        .map_or_else(|_| "1970-01-01T00:00:00Z".to_owned(), |stamp| format!("{stamp:.0}"))
}
