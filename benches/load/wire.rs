//! One keep-alive HTTP/1.1 connection of the driver. It is written by hand because driver and peer
//! share a core: what a full client would spend here is taken from what can be measured.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Result;

/// Beyond it a reply is not one of ours.
const REPLY_MAX: usize = 64 << 20;

const HEAD_END: &[u8] = b"\r\n\r\n";
const EVENT_END: &[u8] = b"\n\n";
const LINE_END: &[u8] = b"\r\n";

pub(crate) struct Wire {
    stream: TcpStream,
    /// Grows to the largest reply seen and stays, so that no call but the first allocates.
    buffer: Vec<u8>,
    filled: usize,
    /// A chunked body put together.
    joined: Vec<u8>,
}

pub(crate) struct Reply<'a> {
    pub(crate) status: u16,
    pub(crate) json: bool,
    pub(crate) session: Option<String>,
    pub(crate) body: &'a [u8],
}

/// What the head of a reply says of it.
#[derive(Default)]
struct Head {
    status: u16,
    length: usize,
    chunked: bool,
    json: bool,
    events: bool,
    session: Option<String>,
}

impl Wire {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; 16 << 10], filled: 0, joined: Vec::new() })
    }

    /// Sends one whole request and reads its whole reply.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<Reply<'_>> {
        self.stream.write_all(request).await?;
        self.filled = 0;
        let start = self.find(HEAD_END, 0).await? + HEAD_END.len();
        let head = parse_head(self.buffer.get(..start).unwrap_or_default())?;
        let end = if head.chunked {
            self.join_chunks(start).await?
        } else {
            self.fill_to(start + head.length).await?;
            start + head.length
        };
        if self.filled != end {
            return Err(format!("{} bytes follow the reply", self.filled.abs_diff(end)).into());
        }
        let body = if head.chunked {
            &self.joined
        } else {
            self.buffer.get(start..end).unwrap_or_default()
        };
        Ok(Reply { status: head.status, json: head.json, session: head.session, body })
    }

    /// Sends a request that is answered by a stream of events, and gives all bytes up to the end of
    /// the first event.
    pub(crate) async fn listen(&mut self, request: &[u8]) -> Result<&[u8]> {
        self.stream.write_all(request).await?;
        self.filled = 0;
        let start = self.find(HEAD_END, 0).await? + HEAD_END.len();
        let head = parse_head(self.buffer.get(..start).unwrap_or_default())?;
        if head.status != 200 || !head.events {
            let said = String::from_utf8_lossy(self.buffer.get(..self.filled).unwrap_or_default());
            return Err(format!("not a stream of events: {said}").into());
        }
        let end = self.find(EVENT_END, start).await? + EVENT_END.len();
        Ok(self.buffer.get(start..end).unwrap_or_default())
    }

    /// The connection alone, without the memory that replies need.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Where `wanted` begins at or after `from`, reading on until it is there.
    async fn find(&mut self, wanted: &[u8], from: usize) -> Result<usize> {
        let mut searched = from;
        loop {
            let seen = self.buffer.get(searched..self.filled).unwrap_or_default();
            if let Some(at) = seen.windows(wanted.len()).position(|window| window == wanted) {
                return Ok(searched + at);
            }
            // The end of what was seen may hold the beginning of what is wanted.
            searched = searched.max((self.filled + 1).saturating_sub(wanted.len()));
            self.fill_to(self.filled + 1).await?;
        }
    }

    async fn fill_to(&mut self, end: usize) -> Result<()> {
        if end > REPLY_MAX {
            return Err("a reply larger than any expected one".into());
        }
        if self.buffer.len() < end {
            self.buffer.resize(end.next_power_of_two(), 0);
        }
        while self.filled < end {
            let space = self.buffer.get_mut(self.filled..).unwrap_or_default();
            match self.stream.read(space).await? {
                0 => return Err("the connection ended before the reply did".into()),
                read => self.filled += read,
            }
        }
        Ok(())
    }

    /// Puts the chunks together and gives where they end. Trailers are not expected.
    async fn join_chunks(&mut self, start: usize) -> Result<usize> {
        self.joined.clear();
        let mut at = start;
        loop {
            let line = self.find(LINE_END, at).await?;
            let size = parse_chunk_size(self.buffer.get(at..line).unwrap_or_default())?;
            let data = line + LINE_END.len();
            at = data + size + LINE_END.len();
            self.fill_to(at).await?;
            if size == 0 {
                return Ok(at);
            }
            self.joined.extend_from_slice(self.buffer.get(data..data + size).unwrap_or_default());
        }
    }
}

fn parse_chunk_size(line: &[u8]) -> Result<usize> {
    let line = std::str::from_utf8(line)?;
    let digits = line.split(';').next().unwrap_or_default().trim();
    let size = usize::from_str_radix(digits, 16)?;
    if size > REPLY_MAX { Err("a chunk larger than any expected reply".into()) } else { Ok(size) }
}

fn parse_head(head: &[u8]) -> Result<Head> {
    let mut lines = std::str::from_utf8(head)?.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3));
    let mut parsed =
        Head { status: status.ok_or("the reply is not HTTP/1.1")?.parse()?, ..Head::default() };
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            parsed.length = value.parse()?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            parsed.chunked = value.eq_ignore_ascii_case("chunked");
        } else if name.eq_ignore_ascii_case("content-type") {
            parsed.json = value.starts_with("application/json");
            parsed.events = value.starts_with("text/event-stream");
        } else if name.eq_ignore_ascii_case("mcp-session-id") {
            parsed.session = Some(value.to_owned());
        }
    }
    Ok(parsed)
}
