//! The log: to stderr, always.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// Starts the log. `filter` is in the form of `RUST_LOG`. Once a process; later calls change
/// nothing.
pub fn start(filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_span_events(FmtSpan::NONE)
        .with_target(false);
    // Colours are for people; files and other programs get plain text.
    let started = if std::io::stderr().is_terminal() {
        log.try_init()
    } else {
        log.with_ansi(false).try_init()
    };
    if let Err(error) = started {
        tracing::debug!(%error, "the log runs already");
    }
}
