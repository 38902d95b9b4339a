//! A WebSocket as one client: a JSON-RPC message a text message, under the subprotocol `mcp`. No
//! revision of the specification has this transport; it follows what published clients do and what
//! SEP-1288 proposes, but for the key, which is shown in `Authorization` as everywhere.
//!
//! A page of somewhere else may open a WebSocket, since browsers ask no server whether it may: what
//! keeps it out is `Origin`, which [`super::guard`] has judged before ([RFC 6455, 10.2]).
//!
//! [RFC 6455, 10.2]: https://www.rfc-editor.org/rfc/rfc6455#section-10.2

#![expect(clippy::result_large_err, reason = "a refusal is a whole HTTP answer, made once")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

use crate::base::clock;
use crate::proto::error::{ErrorBody, INVALID_REQUEST};

use super::body::{Answer, KEEP_ALIVE};
use super::http::{Outcome, crowded, empty, not_allowed, refuse};
use super::member::Member;
use super::negotiate::tokens;
use super::opener::{Life, Opened, Opener};
use super::outbox::Outgoing;
use super::pipe::{Eras, LAST_WORDS, Pipe};

/// The route.
pub(super) const PATH: &str = "/ws";

/// The subprotocol.
const MCP: &str = "mcp";
/// The one version of the protocol (RFC 6455, 4.1).
const VERSION: &str = "13";
/// A connection on which nothing comes for so long, no pong either, is given up.
const SILENCE_MAX: Duration = Duration::from_mins(1);
/// How long the end of a connection may take: a client that hears of it closes too.
const GOODBYE_MAX: Duration = Duration::from_secs(1);
/// Larger messages go out in several frames, so that no buffer grows to their size.
const FRAME_BYTES_MAX: usize = 256 * 1024;
/// How much is read at once.
const READ_BYTES: usize = 8 * 1024;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Why the exchange of messages is over.
#[derive(Debug)]
enum End {
    /// The client has closed it, or is gone.
    Left,
    /// We close it.
    Close(CloseCode, &'static str),
}

/// Answers a request for a WebSocket. What is answered beside is to go on with the connection once
/// the answer is written.
pub(super) fn open(
    opener: &Opener,
    request: &mut Request<Incoming>,
    who: Option<Arc<Member>>,
) -> Result<(Response<Answer>, impl Future<Output = ()> + Send + use<>), Response<Answer>> {
    if request.method() != Method::GET {
        return Err(not_allowed("GET").unwrap_or_else(|refused| refused));
    }
    let response = handshake(request.headers())?;
    let opened = opener.open(who, Eras::Both).map_err(|full| crowded(None, &full))?;
    let message_bytes_max = opener.intake.limits().body_bytes_max;
    Ok((response, serve(hyper::upgrade::on(request), opened, message_bytes_max)))
}

/// The opening handshake (RFC 6455, 4.2).
fn handshake(headers: &HeaderMap) -> Outcome {
    let refused =
        |status, text: &'static str| refuse(status, None, &ErrorBody::new(INVALID_REQUEST, text));
    let names = |name, wanted: &str| {
        tokens(headers, name).any(|it| it.eq_ignore_ascii_case(wanted.as_bytes()))
    };
    if !names(UPGRADE, "websocket") || !names(CONNECTION, "upgrade") {
        let text =
            "this is a WebSocket: ask for it with `Connection: Upgrade` and `Upgrade: websocket`";
        return Err(upgrade_required(refused(426, text)));
    }
    if !names(SEC_WEBSOCKET_VERSION, VERSION) {
        let text = "the Sec-WebSocket-Version must be 13";
        return Err(upgrade_required(refused(426, text)));
    }
    let key = match headers.get_all(SEC_WEBSOCKET_KEY).iter().collect::<Vec<_>>()[..] {
        [key] if key.len() == 24 => key,
        _ => return Err(refused(400, "one Sec-WebSocket-Key of 16 bytes in base64 is expected")),
    };
    if !tokens(headers, SEC_WEBSOCKET_PROTOCOL).any(|it| it == MCP.as_bytes()) {
        let text =
            "the subprotocol \"mcp\" is the only one here: offer it in Sec-WebSocket-Protocol";
        return Err(refused(400, text));
    }
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
        .map_err(|_odd| refused(400, "the Sec-WebSocket-Key is odd"))?;
    let mut response = empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(MCP));
    Ok(response)
}

fn upgrade_required(mut refused: Response<Answer>) -> Response<Answer> {
    let headers = refused.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
    refused
}

/// Serves the client of a connection that becomes a WebSocket.
async fn serve(upgrade: OnUpgrade, opened: Opened, message_bytes_max: usize) {
    let (outgoing, _held, life) = opened.split();
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_message_size(Some(message_bytes_max))
        .max_frame_size(Some(message_bytes_max));
    match upgrade.await {
        Ok(upgraded) => {
            let io = TokioIo::new(upgraded);
            let socket = Socket::from_raw_socket(io, Role::Server, Some(config)).await;
            talk(socket, outgoing, &life).await;
        }
        Err(error) => {
            tracing::debug!(%error, "a connection did not become a WebSocket");
            drop(outgoing);
            life.end().await;
        }
    }
}

/// Exchanges messages until one side ends that. What the client had asked ends before we say goodbye.
async fn talk(socket: Socket, outgoing: Outgoing, life: &Life) {
    let (mut sink, mut stream) = socket.split();
    let end = {
        let mut writing = std::pin::pin!(write(&mut sink, outgoing));
        let end = tokio::select! {
            end = read(&life.pipe, &mut stream) => end,
            () = &mut writing => End::Left,
            () = life.last() => End::Close(CloseCode::Away, "the gateway stops"),
        };
        if matches!(end, End::Close(CloseCode::Away, _)) {
            drop(tokio::time::timeout(LAST_WORDS, writing).await);
        }
        end
    };
    // Nobody writes any more, so whoever has something to say is let go.
    life.end().await;
    if let Ok(socket) = sink.reunite(stream) {
        drop(tokio::time::timeout(GOODBYE_MAX, goodbye(socket, end)).await);
    }
}

/// Takes in what the client sends.
async fn read<S>(pipe: &Arc<Pipe>, stream: &mut S) -> End
where
    S: Stream<Item = Result<Message, SocketError>> + Unpin,
{
    loop {
        let Ok(next) = tokio::time::timeout(SILENCE_MAX, stream.next()).await else {
            tracing::debug!("the client of a WebSocket answers no ping");
            return End::Left;
        };
        match next {
            Some(Ok(Message::Text(text))) => {
                if let Err(error) = pipe.take(text.into()).await {
                    pipe.say(error).await;
                }
            }
            Some(Ok(Message::Binary(_))) => {
                return End::Close(CloseCode::Unsupported, "messages are text, not binary");
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Close(_))) | None => return End::Left,
            Some(Err(error)) => return broken(&error),
        }
    }
}

/// What a client that sends something else than it should is told.
fn broken(error: &SocketError) -> End {
    tracing::debug!(%error, "a WebSocket ended");
    match error {
        SocketError::Capacity(_) => End::Close(CloseCode::Size, "the message is too large"),
        SocketError::Utf8(_) => End::Close(CloseCode::Invalid, "the message is no UTF-8"),
        SocketError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::Left,
        SocketError::Protocol(_) => End::Close(CloseCode::Protocol, "this is no WebSocket frame"),
        _ => End::Left,
    }
}

/// Writes what goes out, and asks from time to time whether the client is still there.
async fn write<S>(sink: &mut S, mut outgoing: Outgoing)
where
    S: Sink<Message, Error = SocketError> + Unpin,
{
    let mut ping = clock::now() + KEEP_ALIVE;
    loop {
        let message = tokio::select! {
            message = outgoing.next() => message,
            () = tokio::time::sleep_until(ping.into()) => Some(Bytes::new()),
        };
        let Some(message) = message else { return };
        for frame in frames(message) {
            if sink.send(frame).await.is_err() || keep_alive(sink, &mut ping).await.is_err() {
                return;
            }
        }
        if keep_alive(sink, &mut ping).await.is_err() {
            return;
        }
    }
}

/// Sends a ping if it is time.
async fn keep_alive<S>(sink: &mut S, ping: &mut Instant) -> Result<(), SocketError>
where
    S: Sink<Message, Error = SocketError> + Unpin,
{
    let now = clock::now();
    if now < *ping {
        return Ok(());
    }
    *ping = now + KEEP_ALIVE;
    sink.send(Message::Ping(Bytes::new())).await
}

/// A message as one text message, in several frames if it is large; nothing for nothing.
fn frames(mut message: Bytes) -> impl Iterator<Item = Message> {
    let mut kind = Data::Text;
    std::iter::from_fn(move || {
        if message.is_empty() {
            return None;
        }
        let frame = message.split_to(message.len().min(FRAME_BYTES_MAX));
        let kind = OpCode::Data(std::mem::replace(&mut kind, Data::Continue));
        Some(Message::Frame(Frame::message(frame, kind, message.is_empty())))
    })
}

/// The closing handshake (RFC 6455, 7). Then the rest of what the client has sent is read, since a
/// socket that is closed over it takes back what was written.
async fn goodbye(mut socket: Socket, end: End) {
    if let End::Close(code, reason) = end {
        drop(socket.close(Some(CloseFrame { code, reason: reason.into() })).await);
    }
    while let Some(Ok(_)) = socket.next().await {}
    let io = socket.get_mut();
    drop(io.shutdown().await);
    let mut rest = [0; 1_024];
    while io.read(&mut rest).await.is_ok_and(|bytes| bytes > 0) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::intake::Intake;
    use crate::front::pipe::Guest;
    use crate::front::spec::LimitSpec;
    use crate::gateway::Gateway;
    use crate::telemetry::Meters;
    use tokio_util::sync::CancellationToken;

    fn pipe() -> (Arc<Pipe>, Outgoing) {
        let meters = Meters::new();
        let intake = Intake::new(LimitSpec::default(), CancellationToken::new(), &meters);
        let guest = Guest { who: None, connection: 1, eras: Eras::Both };
        Pipe::open(Gateway::bare(&meters), Arc::new(intake), guest)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_of_which_nothing_is_heard_is_given_up() {
        let (pipe, _outgoing) = pipe();
        let began = tokio::time::Instant::from_std(clock::now());
        let mut silent = futures_util::stream::pending();
        assert!(matches!(read(&pipe, &mut silent).await, End::Left));
        assert!(began.elapsed() >= SILENCE_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_answers_pings_is_not() {
        let (pipe, _outgoing) = pipe();
        let pong = async |left: u32| {
            tokio::time::sleep(SILENCE_MAX / 2).await;
            (left > 0).then(|| (Ok(Message::Pong(Bytes::new())), left - 1))
        };
        let began = tokio::time::Instant::from_std(clock::now());
        let mut pongs = Box::pin(futures_util::stream::unfold(10, pong));
        assert!(matches!(read(&pipe, &mut pongs).await, End::Left));
        assert!(began.elapsed() >= SILENCE_MAX * 5, "until the end of the stream");
    }

    #[test]
    fn a_large_message_goes_out_in_frames_and_nothing_in_none() {
        let message: Vec<u8> = (0..=250).cycle().take(2 * FRAME_BYTES_MAX + 1).collect();
        let frames: Vec<Frame> = frames(Bytes::from(message.clone()))
            .map(|frame| match frame {
                Message::Frame(frame) => frame,
                other => panic!("{other:?}"),
            })
            .collect();
        let heads: Vec<_> =
            frames.iter().map(|f| (f.header().opcode, f.header().is_final)).collect();
        let (text, more) = (OpCode::Data(Data::Text), OpCode::Data(Data::Continue));
        assert_eq!(heads, [(text, false), (more, false), (more, true)]);
        assert_eq!(frames.iter().map(Frame::payload).collect::<Vec<_>>().concat(), message);
        assert_eq!(super::frames(Bytes::new()).count(), 0);
    }
}
