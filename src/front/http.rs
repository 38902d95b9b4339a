//! What all MCP routes over HTTP share: bodies read within their bounds, and the forms of answers.

#![expect(clippy::result_large_err, reason = "a refusal is a whole HTTP answer, made once")]

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};

use crate::base::{Fault, Kind};
use crate::gateway::answer;
use crate::proto::error::{ErrorBody, PARSE};

use super::body::{Answer, Counted, Stream};
use super::intake::{Crowded, Intake};
use super::spec::LimitSpec;

/// Bodies of up to so many bytes are read whatever the pressure: what is no request, a cancellation
/// say, is never refused, and shows by its body.
const SMALL_BYTES: u64 = 64 * 1024;

const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// An answer, or the one that refuses.
pub(super) type Outcome = Result<Response<Answer>, Response<Answer>>;

/// Reads the body of a POST. It has its place among the calls from its first byte on.
pub(super) async fn receive(
    intake: &Intake,
    body: Incoming,
) -> Result<(Bytes, Counted), Response<Answer>> {
    let counted = intake.enter().map_err(|fault| overloaded(None, &fault))?;
    if body.size_hint().upper().is_none_or(|bytes| bytes > SMALL_BYTES) {
        intake.has_memory().map_err(|fault| overloaded(None, &fault))?;
    }
    Ok((read(intake.limits(), body).await?, counted))
}

async fn read(limits: &LimitSpec, body: Incoming) -> Result<Bytes, Response<Answer>> {
    let max = limits.body_bytes_max;
    let too_large = || {
        let text = format!("the request is larger than {max} bytes");
        let error = answer::error(&Fault::gateway(Kind::TooLarge, text), None);
        let mut refused = refuse(413, None, &error);
        refused.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        refused
    };
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > max {
        return Err(too_large());
    }
    let whole = Limited::new(body, max).collect();
    match tokio::time::timeout(limits.body_timeout, whole).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(refuse(400, None, &ErrorBody::new(PARSE, "the request body broke off"))),
        Err(_) => Err(refuse(408, None, &ErrorBody::new(PARSE, "the request body took too long"))),
    }
}

// === answers ===

pub(super) fn document(status: u16, body: impl Into<Bytes>) -> Response<Answer> {
    let mut response = Response::new(Answer::whole(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An error. `id` is the raw one of the request that it answers.
pub(super) fn refuse(status: u16, id: Option<&[u8]>, error: &ErrorBody) -> Response<Answer> {
    document(status, error.message(id))
}

/// The gateway is at a bound: whoever asks may come again.
pub(super) fn overloaded(id: Option<&[u8]>, fault: &Fault) -> Response<Answer> {
    later(refuse(503, id, &answer::error(fault, None)))
}

/// A session or a stream is not taken. `asked` is the id of the request that wants it.
pub(super) fn crowded(asked: Option<&[u8]>, crowded: &Crowded) -> Response<Answer> {
    match crowded {
        Crowded::All(fault) => overloaded(asked, fault),
        Crowded::Own(fault) if asked.is_some() => refuse(200, asked, &answer::error(fault, None)),
        // A GET is no message that could be answered in-band.
        Crowded::Own(fault) => later(refuse(429, None, &answer::error(fault, None))),
    }
}

fn later(mut refused: Response<Answer>) -> Response<Answer> {
    refused.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    refused
}

pub(super) fn empty(status: StatusCode) -> Response<Answer> {
    let mut response = Response::new(Answer::whole(Bytes::new()));
    *response.status_mut() = status;
    response
}

/// A message was taken, and nothing is to be said to it here.
pub(super) fn accepted() -> Response<Answer> {
    empty(StatusCode::ACCEPTED)
}

/// The route has these methods alone.
pub(super) fn not_allowed(methods: &'static str) -> Outcome {
    let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    Err(response)
}

pub(super) fn stream(stream: Stream) -> Response<Answer> {
    let mut response = Response::new(Answer::Stream(stream));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(BUFFERING, HeaderValue::from_static("no"));
    response
}
