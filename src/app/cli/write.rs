//! What verbs write: answers to stdout, everything else to stderr.

use std::io::Write as _;

/// One answer on stdout. A reader that went away is no error of ours.
pub(crate) fn out(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{}", text.trim_end_matches('\n')) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// One line for people on stderr.
pub(crate) fn err(text: &str) {
    // Without stderr there is nowhere left to complain.
    drop(writeln!(std::io::stderr(), "{}", text.trim_end_matches('\n')));
}
