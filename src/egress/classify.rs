//! Errors of the HTTP library as facts: what failed, whether the request can have been seen, and a
//! sentence that names host and cause and nothing that may be secret.

use std::error::Error;
use std::io;

use crate::base::{Fault, Kind, Sent};

use super::connect::DialError;
use super::pool::Target;

/// Longest cause taken over from a library, in characters.
const CAUSE_CHARS_MAX: usize = 200;

/// Why there was no connection for a request.
#[cold]
pub(super) fn no_connection(error: &DialError, host: Target<'_>) -> Fault {
    let message = format!("cannot connect to {host}: {}", connect_cause(error));
    Fault::upstream(Kind::Connect, Sent::No, message)
}

/// Why a connection that stood gave no answer.
#[cold]
pub(super) fn broken(error: &hyper::Error, host: Target<'_>) -> Fault {
    if error.is_canceled() {
        // The library hands the message back: not one byte was written.
        let message = format!("{host} closed the connection before the request was sent");
        return Fault::upstream(Kind::Closed, Sent::No, message);
    }
    if error.is_parse() {
        let message = format!("{host} did not answer in HTTP: {}", deepest(error));
        return Fault::upstream(Kind::Protocol, Sent::Maybe, message);
    }
    let message = if error.is_incomplete_message() {
        format!("{host} closed the connection before it answered")
    } else {
        format!("the connection to {host} broke before the answer: {}", cause(error))
    };
    Fault::upstream(Kind::Closed, Sent::Maybe, message)
}

/// Why a body ended early.
#[cold]
pub(super) fn broken_body(error: &hyper::Error) -> Fault {
    let message = format!("the connection broke within the answer: {}", cause(error));
    Fault::upstream(Kind::Closed, Sent::Maybe, message)
}

fn connect_cause(error: &DialError) -> String {
    match error {
        timed_out @ DialError::TimedOut(_) => timed_out.to_string(),
        DialError::Tls(tls) => format!("TLS: {}", cause(tls.as_ref())),
        DialError::Certificates(none) => format!("no certificates to trust: {none}"),
        DialError::Reach(reach) => reach_cause(reach.as_ref()),
    }
}

fn reach_cause(error: &(dyn Error + 'static)) -> String {
    // The resolver's failure has no kind of its own; the connector marks it by this text.
    if error.to_string() != "dns error" {
        return cause(error);
    }
    let text = deepest(error);
    let detail = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
    format!("the name cannot be resolved ({detail})")
}

/// The cause in plain words where the system's kind is known, else the innermost text.
fn cause(error: &(dyn Error + 'static)) -> String {
    let known = find::<io::Error>(error).and_then(|io| match io.kind() {
        io::ErrorKind::ConnectionRefused => Some("connection refused"),
        io::ErrorKind::ConnectionReset => Some("connection reset"),
        io::ErrorKind::ConnectionAborted => Some("connection aborted"),
        io::ErrorKind::BrokenPipe => Some("connection closed"),
        io::ErrorKind::UnexpectedEof => Some("connection closed early"),
        io::ErrorKind::HostUnreachable => Some("no route to the host"),
        io::ErrorKind::NetworkUnreachable => Some("network unreachable"),
        io::ErrorKind::TimedOut => Some("timed out"),
        _ => None,
    });
    known.map_or_else(|| deepest(error), str::to_owned)
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    chain(error).find_map(|error| error.downcast_ref::<E>())
}

fn deepest(error: &(dyn Error + 'static)) -> String {
    let text = chain(error).last().map(ToString::to_string).unwrap_or_default();
    text.chars().filter(|c| !c.is_control()).take(CAUSE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::Request;
    use http_body_util::Full;
    use hyper_util::rt::TokioIo;

    #[tokio::test]
    async fn a_request_that_was_never_written_sent_nothing() {
        let (io, _other_end) = tokio::io::duplex(64);
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(io));
        let (mut sender, connection) = handshake.await.unwrap();
        drop(connection);
        let error = sender.send_request(Request::new(Full::<Bytes>::default())).await.unwrap_err();
        let authority = "host.example".parse().unwrap();
        let fault = broken(&error, Target { secure: true, authority: &authority });
        assert_eq!((fault.kind, fault.sent), (Kind::Closed, Sent::No));
        let expected = "host.example:443 closed the connection before the request was sent";
        assert_eq!(fault.message, expected);
    }

    #[test]
    fn causes_are_in_plain_words() {
        let plain = |kind: io::ErrorKind| cause(&io::Error::from(kind));
        assert_eq!(plain(io::ErrorKind::ConnectionRefused), "connection refused");
        assert_eq!(plain(io::ErrorKind::HostUnreachable), "no route to the host");
        let long = io::Error::other(format!("a\n{}", "b".repeat(300)));
        assert_eq!(cause(&long), format!("a{}", "b".repeat(199)), "bounded, on one line");
    }
}
