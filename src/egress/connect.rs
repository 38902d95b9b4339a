//! How a connection is made: name, TCP, and TLS for `https`, all within one time.
//!
//! TLS state is process-wide and made at the first `https` connection: reading the platform's
//! certificates costs milliseconds and about a megabyte, and a gateway without `https` never pays
//! that.

use std::future::{Future, ready};
use std::iter::once;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{error, io};

use http::Uri;
use http::uri::Scheme;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tower::{Service, service_fn};

use super::ClientSpec;
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
    /// Where to connect, whatever a name says.
    address: Option<IpAddr>,
    dial: Option<Arc<dyn Dial>>,
}

impl Connector {
    pub(super) fn new(spec: &ClientSpec, dial: Option<Arc<dyn Dial>>) -> Self {
        let (timeout, address) = (spec.connect_timeout, spec.address);
        // Shared out over the addresses of a name: a dead one leaves time for the next.
        let http = tcp(HttpConnector::new(), Some(timeout));
        Self { http, timeout, address, dial }
    }

    /// A connection to the host of an absolute address. The future is on the heap: few requests
    /// need it, and none should carry it.
    pub(super) fn connect(&self, to: Uri) -> Dialing {
        let (http, timeout, other) = (self.http.clone(), self.timeout, self.dial.clone());
        let address = self.address;
        Dialing(Mutex::new(Box::pin(async move {
            let dialed = async move {
                match (other, address) {
                    (Some(other), _) => {
                        let made = other.dial(&to).await;
                        made.map(Stream::made).map_err(|error| DialError::Reach(error.into()))
                    }
                    (None, Some(address)) => dial(at(address), to).await.map(Stream::Net),
                    (None, None) => dial(http, to).await.map(Stream::Net),
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

/// TCP as we want it; `timeout` is that for all the addresses of a name.
fn tcp<R>(mut http: HttpConnector<R>, timeout: Option<Duration>) -> HttpConnector<R> {
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(timeout);
    http
}

/// Connects to one address, whatever the name stands for. The port is that of the URL, and who is
/// spoken to (`Host`, the name in TLS) is too.
fn at(address: IpAddr) -> impl Tcp {
    // Port 0: the connector fills in that of the URL.
    let there = SocketAddr::new(address, 0);
    let name = service_fn(move |_: Name| ready(Ok::<_, io::Error>(once(there))));
    tcp(HttpConnector::new_with_resolver(name), None)
}

/// Makes TCP connections to the host of a URL.
trait Tcp:
    Service<Uri, Response = TokioIo<TcpStream>, Error: Into<BoxError>, Future: Send> + Send + 'static
{
}

impl<T> Tcp for T where
    T: Service<Uri, Response = TokioIo<TcpStream>, Error: Into<BoxError>, Future: Send>
        + Send
        + 'static
{
}

async fn dial(mut tcp: impl Tcp, to: Uri) -> Result<Net, DialError> {
    if to.scheme() == Some(&Scheme::HTTPS) {
        let mut https = HttpsConnector::from((tcp, secure().await?));
        return https.call(to).await.map_err(dial_error);
    }
    let stream = tcp.call(to).await.map_err(|error| DialError::Reach(error.into()))?;
    Ok(MaybeHttpsStream::Http(stream))
}

/// What the process trusts and speaks in TLS. A failure is not kept: the certificates may come.
async fn secure() -> Result<Arc<ClientConfig>, DialError> {
    static SECURE: OnceCell<Arc<ClientConfig>> = OnceCell::const_new();
    let secure = SECURE.get_or_try_init(|| async {
        // Reads files: off the runtime's workers.
        let roots = tokio::task::spawn_blocking(|| ClientConfig::builder().with_native_roots());
        let trusting =
            roots.await.map_err(io::Error::other).flatten().map_err(DialError::Certificates)?;
        Ok(Arc::new(trusting.with_no_client_auth()))
    });
    secure.await.cloned()
}

/// The TLS connector reports both stages as one: an `io::Error` on top comes from the handshake.
fn dial_error(error: BoxError) -> DialError {
    if error.is::<io::Error>() { DialError::Tls(error) } else { DialError::Reach(error) }
}
