//! Pure: JSON-RPC batches, which one revision has (2025-03-26, basic, "Batching"): an array of
//! messages in one body, answered by an array. Later revisions took them back.

use bytes::Bytes;

use super::envelope::{self, Envelope, SplitError};
use super::scan::{Limits, ScanError, Scanner, Span};

/// Most messages in one batch.
pub const BATCH_LEN_MAX: usize = 100;

/// Why a batch is refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Not JSON, or over a bound.
    #[error("the batch is {0}")]
    Scan(ScanError),
    /// JSON-RPC has no empty batch.
    #[error("a batch must hold a message")]
    Empty,
    /// Over [`BATCH_LEN_MAX`].
    #[error("a batch may hold {BATCH_LEN_MAX} messages")]
    TooLong,
    /// A message of the modern era is in it.
    #[error("a batch with a message of a revision that has no batches")]
    Modern,
}

/// Whether a body is a batch and not one message.
pub fn is_batch(text: &[u8]) -> bool {
    text.trim_ascii_start().first() == Some(&b'[')
}

/// Where the messages of a batch stand.
pub fn split(text: &[u8]) -> Result<Vec<Span>, BatchError> {
    let mut scanner = Scanner::new(text, Limits::REQUEST).map_err(BatchError::Scan)?;
    let all = scanner.elements(BATCH_LEN_MAX + 1).map_err(BatchError::Scan)?;
    match all.len() {
        0 => Err(BatchError::Empty),
        len if len > BATCH_LEN_MAX => Err(BatchError::TooLong),
        _ => Ok(all),
    }
}

/// One message of a batch, split, or why it is none.
pub type Item = (Bytes, Result<Envelope, SplitError>);

/// The messages of a batch. A modern one among them spoils all: that era has no batches, and
/// nothing of the batch must run.
pub fn items(body: &Bytes) -> Result<Vec<Item>, BatchError> {
    let items: Vec<Item> = split(body)?
        .into_iter()
        .map(|span| {
            let message = body.slice(span.start..span.end);
            let shape = envelope::split(&message);
            (message, shape)
        })
        .collect();
    let modern = |(_, shape): &Item| shape.as_ref().is_ok_and(|s| s.keys.version.is_some());
    if items.iter().any(modern) { Err(BatchError::Modern) } else { Ok(items) }
}

/// The answer to a batch: an array of answers.
pub fn join(answers: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let size: usize = answers.iter().map(|answer| answer.as_ref().len() + 1).sum();
    let mut out = Vec::with_capacity(size + 1);
    for answer in answers {
        out.push(if out.is_empty() { b'[' } else { b',' });
        out.extend_from_slice(answer.as_ref());
    }
    out.push(b']');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_cut_into_its_messages() {
        let text = br#" [ {"a":[1,"]"]} ,{"b":2}, 3 ] "#;
        assert!(is_batch(text) && !is_batch(b"{}"));
        let all = split(text).unwrap();
        let texts: Vec<&[u8]> = all.iter().map(|span| span.of(text)).collect();
        assert_eq!(texts, [br#"{"a":[1,"]"]}"#.as_slice(), br#"{"b":2}"#, b"3"]);
        assert_eq!(join(&texts), br#"[{"a":[1,"]"]},{"b":2},3]"#);
    }

    #[test]
    fn a_modern_message_spoils_the_whole_batch() {
        let legacy = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        let modern = r#"{"jsonrpc":"2.0","id":2,"method":"ping","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
        let items = |text: String| items(&Bytes::from(text));
        assert_eq!(items(format!("[{legacy},7]")).unwrap().len(), 2);
        assert_eq!(items(format!("[{legacy},{modern}]")).unwrap_err(), BatchError::Modern);
    }

    #[test]
    fn what_is_empty_endless_or_broken_is_refused() {
        assert_eq!(split(b"[]"), Err(BatchError::Empty));
        let many = |count: usize| format!("[{}]", vec!["{}"; count].join(","));
        assert_eq!(split(many(BATCH_LEN_MAX).as_bytes()).map(|all| all.len()), Ok(BATCH_LEN_MAX));
        assert_eq!(split(many(BATCH_LEN_MAX + 1).as_bytes()), Err(BatchError::TooLong));
        for bad in ["[1", "[1,]", "[1] 2", "[1 2]"] {
            assert!(matches!(split(bad.as_bytes()), Err(BatchError::Scan(_))), "{bad}");
        }
    }
}
