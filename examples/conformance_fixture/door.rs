//! The fixture over Streamable HTTP, at `/mcp` on 127.0.0.1.
//!
//! What the SDK's service cannot do is done around it: a server of one era, and a stream that ends
//! before its answer.

use std::convert::Infallible;
use std::io::{Write as _, stderr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::server::Fixture;
use crate::{Eras, Result};

/// Most bytes of a request.
const BODY_MAX: usize = 4 * 1024 * 1024;
/// How soon a client may come back to a stream that was ended: well before its tool is done, since the
/// SDK forgets an answer for which nobody is there.
const RETRY: Duration = Duration::from_millis(100);
const SESSION: &str = "mcp-session-id";

type Answer = Response<BoxBody<Bytes, Infallible>>;

#[derive(Clone)]
struct Door {
    eras: Eras,
    service: StreamableHttpService<Fixture, LocalSessionManager>,
}

/// Serves for ever.
pub(crate) async fn serve(fixture: Fixture, port: u16) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let own = listener.local_addr()?.port();
    let mut config = StreamableHttpServerConfig::default()
        .with_json_response(true)
        .with_sse_retry(Some(RETRY))
        .with_allowed_origins([
            format!("http://localhost:{own}"),
            format!("http://127.0.0.1:{own}"),
            format!("http://[::1]:{own}"),
        ]);
    if fixture.eras == Eras::Modern {
        config =
            config.with_legacy_session_mode(false).with_stateless_protocol_metadata_required(true);
    }
    let eras = fixture.eras;
    let mut sessions = LocalSessionManager::default();
    sessions.session_config.sse_retry = Some(RETRY);
    let sessions = Arc::new(sessions);
    let service = StreamableHttpService::new(move || Ok(fixture.session()), sessions, config);
    let door = Door { eras, service };

    writeln!(stderr(), "conformance_fixture ready on http://127.0.0.1:{own}/mcp")?;
    let mut connections = JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let door = door.clone();
        let each = hyper::service::service_fn(move |request| {
            let door = door.clone();
            async move { Ok::<_, Infallible>(door.answer(request).await) }
        });
        let http = hyper::server::conn::http1::Builder::new();
        connections.spawn(http.serve_connection(TokioIo::new(socket), each));
        while connections.try_join_next().is_some() {} // those that have ended
    }
}

impl Door {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        if request.uri().path() != "/mcp" {
            return refusal(StatusCode::NOT_FOUND, "Not found");
        }
        if request.method() != Method::POST {
            return self.service.handle(request).await;
        }
        let (head, body) = request.into_parts();
        let Ok(body) = Limited::new(body, BODY_MAX).collect().await else {
            return refusal(StatusCode::PAYLOAD_TOO_LARGE, "Payload too large");
        };
        let body = body.to_bytes();
        let message: Value = serde_json::from_slice(&body).unwrap_or_default();
        let in_session = head.headers.contains_key(SESSION);
        let opens = message.get("method").is_some_and(|method| method == "initialize");
        if self.eras == Eras::Legacy && !in_session && !opens {
            // As servers answer that have never heard of requests without a session.
            return refusal(StatusCode::BAD_REQUEST, "Bad Request: no session");
        }
        let answer = self.service.handle(Request::from_parts(head, Full::new(body))).await;
        let reconnects =
            message.pointer("/params/name").is_some_and(|name| name == "test_reconnection");
        if in_session && reconnects { answer.map(|body| First(Some(body)).boxed()) } else { answer }
    }
}

fn refusal(status: StatusCode, message: &str) -> Answer {
    let error = json!({ "code": -32000, "message": message });
    let body = json!({ "jsonrpc": "2.0", "id": null, "error": error }).to_string();
    let mut answer = Response::new(Full::from(body).boxed());
    *answer.status_mut() = status;
    let kind = http::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    answer
}

/// A body that ends after its first frame: the event that tells a client where to go on.
struct First<B>(Option<B>);

impl<B: Body<Data = Bytes> + Unpin> Body for First<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, B::Error>>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
