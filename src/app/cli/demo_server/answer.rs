//! HTTP answers: one JSON text, or a stream of events that is fed while a call runs.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Response, StatusCode};
use hyper::body::{Body, Frame as BodyFrame, SizeHint};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Interval;

use super::outlet::Frame;
use super::wire::{RpcError, code};

/// Between two comments on a stream that has nothing to say.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The body of an answer.
pub(super) struct Answer {
    first: Option<Bytes>,
    rest: Option<Rest>,
}

struct Rest {
    frames: mpsc::Receiver<Frame>,
    keep_alive: Option<Interval>,
}

pub(super) type Reply = Response<Answer>;

/// A status with a body of text, empty or not.
pub(super) fn plain(status: StatusCode, text: &'static str) -> Reply {
    let first = (!text.is_empty()).then(|| Bytes::from_static(text.as_bytes()));
    let mut reply = Response::new(Answer { first, rest: None });
    *reply.status_mut() = status;
    if !text.is_empty() {
        let kind = if text.starts_with('<') { "text/html" } else { "text/plain" };
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    reply
}

/// One JSON text.
pub(super) fn json(status: StatusCode, value: &Value) -> Reply {
    let first = Some(Bytes::from(value.to_string()));
    let mut reply = Response::new(Answer { first, rest: None });
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

/// A JSON-RPC error.
pub(super) fn refusal(status: StatusCode, id: &Value, error: &RpcError) -> Reply {
    json(status, &error.response(id))
}

/// Waits for the first frame of a request: a lone answer goes as JSON, anything else as a stream.
pub(super) async fn from_frames(mut frames: mpsc::Receiver<Frame>) -> Reply {
    match frames.recv().await {
        Some(Frame::Last(answer)) => json(status_of(&answer), &answer),
        Some(Frame::Message(message)) => stream(Some(event(&message)), frames),
        Some(Frame::Raw(bytes)) => {
            let rest = Some(Rest { frames, keep_alive: None });
            let mut reply = Response::new(Answer { first: Some(bytes), rest });
            reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            reply
        }
        // Cancelled: a stream that ends without an answer.
        None => stream(None, frames),
    }
}

/// A stream of events.
pub(super) fn stream(first: Option<Bytes>, frames: mpsc::Receiver<Frame>) -> Reply {
    let mut keep_alive = tokio::time::interval(KEEP_ALIVE);
    keep_alive.reset();
    let rest = Some(Rest { frames, keep_alive: Some(keep_alive) });
    let mut reply = Response::new(Answer { first, rest });
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    reply
}

/// Errors of a handler travel in the body, at 200; a missing capability is the exception.
fn status_of(answer: &Value) -> StatusCode {
    let error = answer.get("error").and_then(|error| error.get("code")).and_then(Value::as_i64);
    if error == Some(code::MISSING_CAPABILITY) { StatusCode::BAD_REQUEST } else { StatusCode::OK }
}

fn event(message: &Value) -> Bytes {
    Bytes::from(format!("event: message\ndata: {message}\n\n"))
}

// === impl Rest ===

impl Rest {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Poll::Ready(frame) = self.frames.poll_recv(context) {
            return Poll::Ready(frame.map(|frame| match frame {
                Frame::Message(message) | Frame::Last(message) => event(&message),
                Frame::Raw(bytes) => bytes,
            }));
        }
        let Some(keep_alive) = &mut self.keep_alive else {
            return Poll::Pending;
        };
        ready!(keep_alive.poll_tick(context));
        Poll::Ready(Some(Bytes::from_static(b": still here\n\n")))
    }
}

// === impl Answer ===

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Infallible>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(BodyFrame::data(first))));
        }
        let Some(rest) = &mut self.rest else {
            return Poll::Ready(None);
        };
        let next = ready!(rest.poll_next(context));
        if next.is_none() {
            self.rest = None;
        }
        Poll::Ready(next.map(|bytes| Ok(BodyFrame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.rest.is_some() {
            return SizeHint::default();
        }
        let length = self.first.as_ref().map_or(0, Bytes::len);
        SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::outlet;
    use super::*;

    #[tokio::test]
    async fn a_lone_answer_is_json_and_a_note_before_it_makes_a_stream() {
        let kind = |reply: &Reply| reply.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
        let (out, frames) = outlet::pair();
        out.send(Frame::Last(json!({"result": {}}))).await;
        assert_eq!(kind(&from_frames(frames).await), "application/json");
        let (out, frames) = outlet::pair();
        out.send(Frame::Message(json!({}))).await;
        out.send(Frame::Last(json!({"result": {}}))).await;
        assert_eq!(kind(&from_frames(frames).await), "text/event-stream");
    }

    #[test]
    fn only_a_missing_capability_changes_the_status() {
        assert_eq!(status_of(&json!({"error": {"code": -32602}})), StatusCode::OK);
        assert_eq!(status_of(&json!({"error": {"code": -32021}})), StatusCode::BAD_REQUEST);
        assert_eq!(status_of(&json!({"result": {}})), StatusCode::OK);
    }
}
