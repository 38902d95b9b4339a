//! Raw clients whose connection carries messages both ways: the HTTP+SSE transport of 2024-11-05, and
//! a WebSocket, frame by frame.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::client::{Open, answer_to, initialize_able, read_head};
use super::{Gateway, Http, PATIENCE, Reply};

/// The two kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sse,
    Socket,
}

/// Both.
pub(crate) const KINDS: [Kind; 2] = [Kind::Sse, Kind::Socket];

/// A client of either kind.
pub(crate) enum Duplex {
    Sse(Sse),
    Socket(Socket),
}

impl Duplex {
    /// Connects, and says nothing yet.
    pub(crate) fn connect(kind: Kind, gateway: &Gateway) -> Self {
        Self::connect_with(kind, gateway, &[])
    }

    /// The same with these headers in every request.
    pub(crate) fn connect_with(kind: Kind, gateway: &Gateway, more: &[(&str, &str)]) -> Self {
        match kind {
            Kind::Sse => Self::Sse(Sse::open(gateway, more)),
            Kind::Socket => Self::Socket(Socket::open(gateway, more)),
        }
    }

    /// Connects, and shakes hands as a client that declares these capabilities, raw JSON.
    #[track_caller]
    pub(crate) fn greeted(kind: Kind, gateway: &Gateway, capabilities: &str) -> Self {
        let mut client = Self::connect(kind, gateway);
        assert!(client.greet("2025-11-25", capabilities)["result"].is_object());
        client
    }

    /// A legacy handshake.
    #[track_caller]
    pub(crate) fn greet(&mut self, version: &str, capabilities: &str) -> Value {
        let answer = self.ask(&initialize_able(version, capabilities));
        self.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        answer
    }

    /// Sends one message, which is taken.
    #[track_caller]
    pub(crate) fn send(&mut self, message: &str) {
        match self {
            Self::Sse(sse) => {
                let reply = sse.post(message);
                assert_eq!((reply.status, reply.body.as_str()), (202, ""), "{message}");
            }
            Self::Socket(socket) => socket.text(message),
        }
    }

    /// The next message; `None` at the end.
    #[track_caller]
    pub(crate) fn message(&mut self) -> Option<Value> {
        match self {
            Self::Sse(sse) => sse.stream.message(),
            Self::Socket(socket) => socket.message(),
        }
    }

    /// The next message.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Value {
        self.message().expect("a message, and not the end")
    }

    /// Sends a request and waits for the answer with its id; what comes before is dropped.
    #[track_caller]
    pub(crate) fn ask(&mut self, request: &str) -> Value {
        self.send(request);
        answer_to(request, || self.next())
    }

    /// Closes the connection without a word.
    pub(crate) fn hang_up(self) {
        match self {
            Self::Sse(sse) => drop(sse),
            Self::Socket(socket) => drop(socket.reader.get_ref().shutdown(Shutdown::Both)),
        }
    }
}

// === HTTP+SSE ===

/// A client of the HTTP+SSE transport.
pub(crate) struct Sse {
    pub(crate) stream: Open,
    base: String,
    /// The URI that the first event says.
    pub(crate) place: String,
    headers: Vec<(String, String)>,
}

impl Sse {
    /// Opens the stream and takes its first event.
    #[track_caller]
    pub(crate) fn open(gateway: &Gateway, more: &[(&str, &str)]) -> Self {
        let headers = [&[("Accept", "text/event-stream")], more].concat();
        let mut stream = Http::get(&format!("{}/sse", gateway.base), &headers);
        assert_eq!(stream.status(), 200);
        assert_eq!(stream.header("content-type").as_deref(), Some("text/event-stream"));
        let first = stream.event().unwrap();
        let place = first.strip_prefix("event: endpoint\ndata: ").expect(&first).to_owned();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let headers = more.iter().map(owned).collect();
        Self { stream, base: gateway.base.clone(), place, headers }
    }

    /// Posts a body as it is.
    pub(crate) fn post(&self, body: &str) -> Reply {
        self.post_to(&self.place, body)
    }

    /// The same to another place.
    pub(crate) fn post_to(&self, place: &str, body: &str) -> Reply {
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let json = [("Content-Type", "application/json")];
        let headers: Vec<_> = json.into_iter().chain(headers).collect();
        Http::send("POST", &format!("{}{place}", self.base), &headers, body)
    }
}

// === WebSocket ===

/// What the server sends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A whole text message.
    Text(String),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// It closes, with this code and reason.
    Close(u16, String),
    /// The connection ended.
    End,
}

/// Codes of frames.
pub(crate) const CONTINUE: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// The lines of a good handshake, without `Host`.
pub(crate) const HANDSHAKE: [(&str, &str); 5] = [
    ("Connection", "keep-alive, Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Protocol", "mcp"),
];

/// The client of a WebSocket.
pub(crate) struct Socket {
    reader: BufReader<TcpStream>,
}

/// A request for a WebSocket with these header lines alone, `Host` where none is named.
pub(crate) fn handshake(addr: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut head = "GET /ws HTTP/1.1\r\n".to_owned();
    if !headers.iter().any(|(name, _)| *name == "Host") {
        head.extend(["Host: ", addr, "\r\n"]);
    }
    for (name, value) in headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    head.push_str("\r\n");
    head.into_bytes()
}

impl Socket {
    /// Connects with a good handshake and more headers.
    #[track_caller]
    pub(crate) fn open(gateway: &Gateway, more: &[(&str, &str)]) -> Self {
        let mut socket = TcpStream::connect(gateway.addr()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(&handshake(gateway.addr(), &[&HANDSHAKE, more].concat())).unwrap();
        let mut reader = BufReader::new(socket);
        let (status, headers) = read_head(&mut reader);
        assert_eq!(status, 101, "{headers:?}");
        let header =
            |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, v)| v.as_str());
        assert_eq!(header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(header("sec-websocket-protocol"), Some("mcp"));
        Self { reader }
    }

    /// Sends one frame.
    pub(crate) fn frame(&mut self, code: u8, last: bool, payload: &[u8]) {
        let mut bytes = vec![code | if last { 0x80 } else { 0 }];
        match payload.len() {
            len @ 0..=125 => bytes.push(0x80 | u8::try_from(len).unwrap()),
            len @ 126..=0xffff => {
                bytes.push(0x80 | 0x7e);
                bytes.extend(u16::try_from(len).unwrap().to_be_bytes());
            }
            len => {
                bytes.push(0x80 | 0x7f);
                bytes.extend(u64::try_from(len).unwrap().to_be_bytes());
            }
        }
        let mask = [1, 2, 3, 4];
        bytes.extend(mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.raw(&bytes);
    }

    /// Sends bytes as they are. A server that has closed may take nothing more.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        drop(self.reader.get_mut().write_all(bytes));
    }

    /// Sends a text message.
    pub(crate) fn text(&mut self, message: &str) {
        self.frame(TEXT, true, message.as_bytes());
    }

    /// What the server sends next; a message in several frames is one.
    pub(crate) fn next_frame(&mut self) -> Frame {
        let mut text = Vec::new();
        loop {
            let Some((code, last, payload)) = self.read_frame() else { return Frame::End };
            match code {
                TEXT | CONTINUE => {
                    text.extend(payload);
                    if last {
                        return Frame::Text(String::from_utf8(text).unwrap());
                    }
                }
                PING => return Frame::Ping(payload),
                PONG => return Frame::Pong(payload),
                CLOSE => {
                    let (code, reason) = payload.split_at(payload.len().min(2));
                    let code = code.try_into().map_or(1005, u16::from_be_bytes);
                    return Frame::Close(code, String::from_utf8(reason.to_vec()).unwrap());
                }
                other => panic!("a frame of code {other}"),
            }
        }
    }

    fn read_frame(&mut self) -> Option<(u8, bool, Vec<u8>)> {
        let mut head = [0; 2];
        self.reader.read_exact(&mut head).ok()?;
        assert_eq!(head[0] & 0x70, 0, "reserved bits");
        assert_eq!(head[1] & 0x80, 0, "servers do not mask");
        let length = match head[1] {
            126 => {
                let mut length = [0; 2];
                self.reader.read_exact(&mut length).ok()?;
                usize::from(u16::from_be_bytes(length))
            }
            127 => {
                let mut length = [0; 8];
                self.reader.read_exact(&mut length).ok()?;
                usize::try_from(u64::from_be_bytes(length)).unwrap()
            }
            length => usize::from(length),
        };
        let mut payload = vec![0; length];
        self.reader.read_exact(&mut payload).ok()?;
        Some((head[0] & 0x0f, head[0] & 0x80 != 0, payload))
    }

    /// The next text message; `None` if the server closes or is gone.
    #[track_caller]
    fn message(&mut self) -> Option<Value> {
        loop {
            match self.next_frame() {
                Frame::Text(text) => return Some(serde_json::from_str(&text).unwrap()),
                Frame::Ping(payload) => self.frame(PONG, true, &payload),
                Frame::Pong(_) => {}
                Frame::Close(..) | Frame::End => return None,
            }
        }
    }

    /// How the server closes.
    #[track_caller]
    pub(crate) fn closed(&mut self) -> (u16, String) {
        loop {
            match self.next_frame() {
                Frame::Close(code, reason) => {
                    assert_eq!(self.next_frame(), Frame::End, "nothing follows");
                    return (code, reason);
                }
                Frame::End => panic!("it ended without a word"),
                _ => {}
            }
        }
    }

    /// Nothing is read for longer than this.
    pub(crate) fn read_at_most(&self, time: Duration) {
        self.reader.get_ref().set_read_timeout(Some(time)).unwrap();
    }
}
