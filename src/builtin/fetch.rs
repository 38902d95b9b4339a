//! Asks a service: GET requests within a deadline, repeated where that can help.
//!
//! What is asked changes nothing over there, so a repeat is always safe. A refused connection is
//! not repeated: it means "offline", and that should be said quickly.

use std::time::{Duration, Instant, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HeaderValue, USER_AGENT};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::Full;

use crate::base::{Fault, Kind, Sent, clock, rng};
use crate::egress::{ClientSpec, HttpClient, collect};

use super::wait;

/// Largest answer that is read.
const BODY_BYTES_MAX: usize = 4 << 20;
/// Tries in all.
const TRIES_MAX: u32 = 3;
/// The pause before a repeat is a random part of this, doubled with every try.
const BACKOFF: Duration = Duration::from_millis(200);
/// Who asks.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("waypost/", env!("CARGO_PKG_VERSION")));

/// A service's answer, whatever its status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// One tool's way to the internet.
#[derive(Clone, Debug)]
pub(super) struct Fetcher {
    http: HttpClient,
    /// `Authorization`, marked sensitive: its `Debug` form hides it.
    authorization: Option<HeaderValue>,
    /// Longest wait asked for with 429 that is waited out within the call; zero = none.
    limited_wait_max: Duration,
}

impl Fetcher {
    pub(super) fn new(authorization: Option<HeaderValue>, limited_wait_max: Duration) -> Self {
        let http = HttpClient::new(&ClientSpec::default());
        let authorization = authorization.map(|mut value| {
            value.set_sensitive(true);
            value
        });
        Self { http, authorization, limited_wait_max }
    }

    /// The answer to `GET url`, at the latest at `deadline`.
    pub(super) async fn get(&self, url: &str, deadline: Instant) -> Result<Answer, Fault> {
        let uri: Uri = url.parse().map_err(|_invalid| {
            Fault::gateway(Kind::Connect, "the configured address of the service is not a URL")
        })?;
        let mut tries = 1;
        loop {
            let outcome = self.once(&uri, deadline).await;
            let Some(pause) = self.pause(&outcome, tries) else {
                return outcome;
            };
            let left = deadline.saturating_duration_since(clock::now());
            if tries >= TRIES_MAX || pause >= left {
                return outcome;
            }
            tokio::time::sleep(pause).await;
            tries += 1;
        }
    }

    async fn once(&self, uri: &Uri, deadline: Instant) -> Result<Answer, Fault> {
        let left = deadline.saturating_duration_since(clock::now());
        tokio::time::timeout(left, self.exchange(uri)).await.unwrap_or_else(|_elapsed| {
            let host = uri.host().unwrap_or("the service");
            let message = format!("{host} did not answer within {:.1} s", left.as_secs_f64());
            Err(Fault::upstream(Kind::Timeout, Sent::Maybe, message))
        })
    }

    async fn exchange(&self, uri: &Uri) -> Result<Answer, Fault> {
        let mut request = Request::new(Full::<Bytes>::default());
        *request.uri_mut() = uri.clone();
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, AGENT);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let (head, body) = self.http.send(request).await?.into_parts();
        let body = collect(body, BODY_BYTES_MAX).await?;
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// How long to wait before asking again; `None` = the outcome stands.
    fn pause(&self, outcome: &Result<Answer, Fault>, tries: u32) -> Option<Duration> {
        match outcome {
            Ok(answer) if answer.status == StatusCode::TOO_MANY_REQUESTS => {
                let asked = wait::wait(&answer.headers, unix_now());
                let wait = asked.unwrap_or_else(|| backoff(tries, rng::draw()));
                (wait <= self.limited_wait_max && !self.limited_wait_max.is_zero()).then_some(wait)
            }
            Ok(answer) if answer.status.is_server_error() => Some(backoff(tries, rng::draw())),
            Err(fault) if fault.kind == Kind::Closed => Some(backoff(tries, rng::draw())),
            _ => None,
        }
    }
}

/// Seconds since 1970.
pub(super) fn unix_now() -> u64 {
    clock::wall().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Full jitter: anything from nothing to the whole pause of this try.
fn backoff(tries: u32, draw: u64) -> Duration {
    let whole = BACKOFF * 2_u32.saturating_pow(tries.saturating_sub(1));
    let thousandths = u32::try_from(draw % 1_001).unwrap_or(1_000);
    whole * thousandths / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_bounded() {
        assert_eq!(backoff(1, 0), Duration::ZERO);
        assert_eq!(backoff(1, 1_000), BACKOFF);
        assert_eq!(backoff(2, 1_000), 2 * BACKOFF);
        assert_eq!(backoff(2, 500), BACKOFF);
    }

    #[test]
    fn the_key_is_hidden() {
        let key = HeaderValue::from_static("Bearer ctx7sk-hunter2");
        let fetcher = Fetcher::new(Some(key), Duration::ZERO);
        assert!(!format!("{fetcher:?}").contains("hunter2"));
    }
}
