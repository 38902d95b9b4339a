//! Outbound HTTP/1.1: connections with keep-alive, TLS on demand, and failures told as facts.
//!
//! One [`HttpClient`] per replica or tool, never one for all: the pool inside is one lock. A
//! connection belongs to the exchange on it and is moved by whoever waits for the answer: there are
//! no tasks behind a client.
//! Redirects are not followed, no proxy is asked, and no header is added but `Host`: what is sent is
//! what the caller built.

mod body;
mod classify;
mod connect;
mod dial;
pub mod names;
mod pool;
#[cfg(test)]
pub(crate) mod stub;
mod wire;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::HOST;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Body as _;

use crate::base::{Fault, Kind, Sent};

use self::pool::{Pool, Target};
use self::wire::{Failed, Wire};

pub use self::body::Body;
pub use self::dial::{Dial, Dialed, Duplex};

/// How a client connects and how long it keeps connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSpec {
    /// Longest time to a usable connection: name, TCP and TLS together.
    pub connect_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// Most unused connections kept for one host.
    pub idle_max: usize,
    /// The one address to connect to, whatever the name of the host stands for; `None` = ask the
    /// system at each connection. `Host` and the name in TLS are those of the URL.
    pub address: Option<IpAddr>,
}

impl Default for ClientSpec {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            // Under the 60 s after which common servers and load balancers hang up: a connection
            // should be dropped by us before it is dropped under a request.
            idle_timeout: Duration::from_secs(55),
            idle_max: 64,
            address: None,
        }
    }
}

/// An HTTP/1.1 client with its own connections. Clones share them.
#[derive(Clone, Debug)]
pub struct HttpClient {
    pool: Arc<Pool>,
}

impl HttpClient {
    /// A client; nothing is opened or loaded before the first request.
    pub fn new(spec: &ClientSpec) -> Self {
        Self::over(spec, None)
    }

    /// The same whose connections `dial` makes, if it is there, instead of TCP and TLS.
    pub fn over(spec: &ClientSpec, dial: Option<Arc<dyn Dial>>) -> Self {
        Self { pool: Arc::new(Pool::new(spec, dial)) }
    }

    /// Drops the connections that wait for a request: the server is in doubt, and they may be
    /// half-open. Each of them would cost a request its whole wait.
    pub fn forget_idle(&self) {
        self.pool.forget();
    }

    /// Sends a request with an absolute `http` or `https` URI and answers the head of the response
    /// as soon as it is there. The wait has no bound of its own once the connection stands.
    /// Dropping the future closes the connection.
    ///
    /// Faults: [`Kind::Connect`] with [`Sent::No`] when there was no connection, [`Kind::Closed`]
    /// when it broke ([`Sent::No`] if the request was surely not written yet, else
    /// [`Sent::Maybe`]), [`Kind::Protocol`] when the answer is not HTTP.
    ///
    /// A kept connection that the server has closed meanwhile is no fault as long as nothing was
    /// written on it: another one is used.
    pub async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Body>, Fault> {
        let to = std::mem::take(request.uri_mut());
        let Some(target) = Target::of(&to) else {
            return Err(unsupported(&to));
        };
        let Some((site, host)) = self.pool.site(target) else {
            return Err(unsupported(&to));
        };
        // To the server of the address itself goes only what it has to tell apart.
        if let Some(path) = to.path_and_query() {
            *request.uri_mut() = Uri::from(path.clone());
        }
        request.headers_mut().entry(HOST).or_insert(host);
        loop {
            let kept = self.pool.take(site);
            let fresh = kept.is_none();
            let wire = match kept {
                Some(wire) => wire,
                None => self.dial(&to, target).await?,
            };
            match wire.exchange(request).await {
                Ok((response, wire)) => {
                    return Ok(response.map(|body| Body::new(body, wire, &self.pool, site)));
                }
                Err(Failed::Unsent(_closed, back)) if !fresh => request = *back,
                Err(Failed::Unsent(error, _) | Failed::Broken(error)) => {
                    return Err(classify::broken(&error, target));
                }
            }
        }
    }

    async fn dial(&self, to: &Uri, target: Target<'_>) -> Result<Box<Wire>, Fault> {
        let dialed = self.pool.connector.connect(to.clone()).await;
        dialed.map_err(|error| classify::no_connection(&error, target))
    }
}

#[cold]
fn unsupported(uri: &Uri) -> Fault {
    let message = match uri.scheme_str() {
        Some("http" | "https") => "cannot send to an address without a usable host".to_owned(),
        Some(scheme) => format!("cannot send to a `{scheme}` address: only http and https"),
        None => "cannot send to an address without http:// or https://".to_owned(),
    };
    Fault::gateway(Kind::Connect, message)
}

/// Reads a whole body of at most `bytes_max` bytes. Faults: [`Kind::TooLarge`] beyond that,
/// [`Kind::Closed`] when the body ends early.
pub async fn collect(body: Body, bytes_max: usize) -> Result<Bytes, Fault> {
    collect_rest(BytesMut::new(), body, bytes_max).await
}

/// The same where the first bytes, `rest`, have been read already.
pub async fn collect_rest(
    mut rest: BytesMut,
    mut body: Body,
    bytes_max: usize,
) -> Result<Bytes, Fault> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > bytes_max {
        return Err(too_large(bytes_max));
    }
    // Most answers come in one piece: it is handed on as it is. `rest` is for the others.
    let mut first = Bytes::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
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
