//! How a connection is made: name, TCP, and TLS for `https`, all within one time.
//!
//! TLS state is process-wide and made at the first `https` connection: reading the platform's
//! certificates costs milliseconds and about a megabyte, and a gateway without `https` never pays
//! that.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{error, io};

use http::Uri;
use http::uri::Scheme;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tower::Service;

use super::dial::{Dial, Stream};
use super::wire::Wire;

type BoxError = Box<dyn error::Error + Send + Sync>;
/// TCP, or TLS over it.
pub(super) type Net = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// Not within the time allowed.
    #[error("no connection within {0:?}")]
    TimedOut(Duration),
    /// The name or TCP.
    #[error("{0}")]
    Reach(#[source] BoxError),
    /// TCP stood, TLS did not.
    #[error("{0}")]
    Tls(#[source] BoxError),
    /// The platform has no certificates to trust.
    #[error("no certificates to trust: {0}")]
    Certificates(#[source] io::Error),
}

/// Makes connections for the pool.
#[derive(Debug)]
pub(super) struct Connector {
    http: HttpConnector,
    timeout: Duration,
    dial: Option<Arc<dyn Dial>>,
}

impl Connector {
    pub(super) fn new(timeout: Duration, dial: Option<Arc<dyn Dial>>) -> Self {
        let mut http = tcp();
        // Shared out over the addresses of a name: a dead one leaves time for the next.
        http.set_connect_timeout(Some(timeout));
        Self { http, timeout, dial }
    }

    /// A connection to the host of an absolute address. The future is on the heap: few requests
    /// need it, and none should carry it.
    pub(super) fn connect(&self, to: Uri) -> Dialing {
        let (http, timeout, other) = (self.http.clone(), self.timeout, self.dial.clone());
        Dialing(Mutex::new(Box::pin(async move {
            let dialed = async move {
                match other {
                    Some(other) => {
                        let made = other.dial(&to).await;
                        made.map(Stream::made).map_err(|error| DialError::Reach(error.into()))
                    }
                    None => dial(http, to).await.map(Stream::Net),
                }
            };
            let stream = tokio::time::timeout(timeout, dialed)
                .await
                .unwrap_or(Err(DialError::TimedOut(timeout)))?;
            Wire::new(stream).await.map_err(|error| DialError::Reach(error.into()))
        })))
    }
}

type Dialed = Result<Box<Wire>, DialError>;

/// A connection in the making. The mutex is never locked: it makes the future `Sync`, which the
/// connector's own futures are not and the exchanges that hold this one must be.
pub(super) struct Dialing(Mutex<Pin<Box<dyn Future<Output = Dialed> + Send>>>);

impl Future for Dialing {
    type Output = Dialed;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Dialed> {
        self.0.get_mut().as_mut().poll(cx)
    }
}

fn tcp() -> HttpConnector {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http
}

async fn dial(mut http: HttpConnector, to: Uri) -> Result<Net, DialError> {
    if to.scheme() == Some(&Scheme::HTTPS) {
        let mut https = secure().await?.clone();
        return https.call(to).await.map_err(dial_error);
    }
    let stream = http.call(to).await.map_err(|error| DialError::Reach(error.into()))?;
    Ok(MaybeHttpsStream::Http(stream))
}

/// The one TLS connector of the process. A failure is not kept: the certificates may come.
async fn secure() -> Result<&'static HttpsConnector<HttpConnector>, DialError> {
    static SECURE: OnceCell<HttpsConnector<HttpConnector>> = OnceCell::const_new();
    SECURE
        .get_or_try_init(|| async {
            // Reads files: off the runtime's workers.
            let roots =
                tokio::task::spawn_blocking(|| HttpsConnectorBuilder::new().with_native_roots());
            let builder = roots
                .await
                .map_err(io::Error::other)
                .and_then(|loaded| loaded)
                .map_err(DialError::Certificates)?;
            Ok(builder.https_or_http().enable_http1().wrap_connector(tcp()))
        })
        .await
}

/// The TLS connector reports both stages as one: an `io::Error` on top comes from the handshake.
fn dial_error(error: BoxError) -> DialError {
    if error.is::<io::Error>() { DialError::Tls(error) } else { DialError::Reach(error) }
}
