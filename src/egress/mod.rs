//! Outbound HTTP/1.1: connections with keep-alive, TLS on demand, and failures told as facts.
//!
//! One [`HttpClient`] per replica or tool, never one for all: the pool inside is one lock.
//! Redirects are not followed, no proxy is asked, and no header is added but `Host`: what is sent is
//! what the caller built.

mod classify;
mod connect;
#[cfg(test)]
pub(crate) mod stub;

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::uri::Scheme;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::base::{Fault, Kind, Sent};

use self::connect::Connector;

/// The body of an answer.
pub type Body = Incoming;

/// How a client connects and how long it keeps connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSpec {
    /// Longest time to a usable connection: name, TCP and TLS together.
    pub connect_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// Most unused connections kept for one host.
    pub idle_max: usize,
}

impl Default for ClientSpec {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            // Under the 60 s after which common servers and load balancers hang up: a connection
            // should be dropped by us before it is dropped under a request.
            idle_timeout: Duration::from_secs(55),
            idle_max: 64,
        }
    }
}

/// An HTTP/1.1 client with its own connections. Clones share them.
#[derive(Clone)]
pub struct HttpClient {
    inner: Client<Connector, Full<Bytes>>,
}

impl HttpClient {
    /// A client; nothing is opened or loaded before the first request.
    pub fn new(spec: &ClientSpec) -> Self {
        let inner = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(spec.idle_timeout)
            .pool_max_idle_per_host(spec.idle_max)
            .build(Connector::new(spec.connect_timeout));
        Self { inner }
    }

    /// Sends a request with an absolute `http` or `https` URI and answers the head of the response
    /// as soon as it is there. The wait has no bound of its own once the connection stands.
    ///
    /// Faults: [`Kind::Connect`] with [`Sent::No`] when there was no connection, [`Kind::Closed`]
    /// when it broke ([`Sent::No`] if the request was surely not written yet, else
    /// [`Sent::Maybe`]), [`Kind::Protocol`] when the answer is not HTTP.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Body>, Fault> {
        let scheme = request.uri().scheme();
        let Some(secure) = scheme.and_then(secure) else {
            return Err(unsupported(scheme));
        };
        // A shared slice of the URI, not a copy: only a failure turns it into text.
        let authority = request.uri().authority().cloned();
        self.inner
            .request(request)
            .await
            .map_err(|error| classify::fault(&error, authority.as_ref(), secure))
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpClient")
    }
}

fn secure(scheme: &Scheme) -> Option<bool> {
    match scheme.as_str() {
        "http" => Some(false),
        "https" => Some(true),
        _ => None,
    }
}

#[cold]
fn unsupported(scheme: Option<&Scheme>) -> Fault {
    let message = match scheme {
        Some(scheme) => format!("cannot send to a `{scheme}` address: only http and https"),
        None => "cannot send to an address without http:// or https://".to_owned(),
    };
    Fault::gateway(Kind::Connect, message)
}

/// Reads a whole body of at most `bytes_max` bytes. Faults: [`Kind::TooLarge`] beyond that,
/// [`Kind::Closed`] when the body ends early.
pub async fn collect(mut body: Body, bytes_max: usize) -> Result<Bytes, Fault> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > bytes_max {
        return Err(too_large(bytes_max));
    }
    // Most answers come in one piece: it is handed on as it is. `rest` is for the others.
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| classify::broken_body(&error))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if first.len().max(rest.len()).saturating_add(data.len()) > bytes_max {
            return Err(too_large(bytes_max));
        }
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.reserve(announced.max(first.len() + data.len()));
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&data);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

#[cold]
fn too_large(bytes_max: usize) -> Fault {
    let message = format!("the answer is larger than {bytes_max} bytes");
    Fault::upstream(Kind::TooLarge, Sent::Maybe, message)
}

#[cfg(test)]
mod tests;
