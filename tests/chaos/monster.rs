//! A server whose answers are monstrous: a modern MCP server of one tool, behind a port.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// What it answers a call with, by the op of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Text of so many bytes, sent as fast as it is taken.
    Long(usize),
    /// Arrays within arrays, so many.
    Deep(usize),
    /// An object of so many members.
    Wide(usize),
    /// Bytes that call themselves gzip.
    Packed,
}

/// The names that ops begin with.
pub(crate) const ANSWERS: [(&str, Answer); 4] = [
    ("long", Answer::Long(1 << 30)),
    ("deep", Answer::Deep(100_000)),
    ("wide", Answer::Wide(1_000_000)),
    ("packed", Answer::Packed),
];

/// The server; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Monster {
    pub(crate) port: u16,
    task: JoinHandle<()>,
}

impl Monster {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let Ok((socket, _)) = listener.accept().await else { continue };
                while connections.try_join_next().is_some() {}
                connections.spawn(async move { drop(serve(socket).await) });
            }
        });
        Ok(Self { port, task })
    }
}

impl Drop for Monster {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers requests until the other side closes.
async fn serve(mut socket: TcpStream) -> std::io::Result<()> {
    let mut held = Vec::new();
    loop {
        let Some(body) = request(&mut socket, &mut held).await? else { return Ok(()) };
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let id = body["id"].to_string();
        let common = r#""resultType":"complete","ttlMs":60000,"cacheScope":"public""#;
        let schema = r#"{"type":"object"}"#;
        let result = match body["method"].as_str() {
            Some("server/discover") => format!(
                r#"{{{common},"supportedVersions":["2026-07-28"],"capabilities":{{"tools":{{}}}}}}"#
            ),
            Some("tools/list") => format!(
                r#"{{{common},"tools":[{{"name":"ledger_append","inputSchema":{schema}}}]}}"#
            ),
            Some("tools/call") => {
                let op = body["params"]["arguments"]["op"].as_str().unwrap_or_default();
                let found = ANSWERS.iter().find(|(name, _)| op.starts_with(name));
                if let Some((_, answer)) = found {
                    return call(&mut socket, &id, *answer).await;
                }
                "{}".to_owned()
            }
            _ => "{}".to_owned(),
        };
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
        socket.write_all(head("", text.len()).as_bytes()).await?;
        socket.write_all(text.as_bytes()).await?;
    }
}

/// One call, after which the connection ends.
async fn call(socket: &mut TcpStream, id: &str, answer: Answer) -> std::io::Result<()> {
    let begin = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"complete","#);
    let text = match answer {
        Answer::Long(bytes) => {
            let begin = format!(r#"{begin}"content":[{{"type":"text","text":""#);
            let end = r#""}]}}"#;
            socket.write_all(head("", begin.len() + bytes + end.len()).as_bytes()).await?;
            socket.write_all(begin.as_bytes()).await?;
            let piece = vec![b'x'; 64 * 1024];
            let mut left = bytes;
            while left > 0 {
                let now = left.min(piece.len());
                socket.write_all(piece.get(..now).unwrap_or_default()).await?;
                left -= now;
            }
            return socket.write_all(end.as_bytes()).await;
        }
        Answer::Deep(levels) => {
            let (open, close) = ("[".repeat(levels), "]".repeat(levels));
            format!(r#"{begin}"content":[],"structuredContent":{{"x":{open}{close}}}}}}}"#)
        }
        Answer::Wide(members) => {
            let all: Vec<String> = (0..members).map(|n| format!(r#""k{n}":{n}"#)).collect();
            format!(r#"{begin}"content":[],"structuredContent":{{{}}}}}}}"#, all.join(","))
        }
        Answer::Packed => {
            // The head of a gzip file, and what would be a bomb behind it.
            let bytes = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &vec![0; 100_000]].concat();
            let head = head("Content-Encoding: gzip\r\n", bytes.len());
            socket.write_all(head.as_bytes()).await?;
            return socket.write_all(&bytes).await;
        }
    };
    socket.write_all(head("", text.len()).as_bytes()).await?;
    socket.write_all(text.as_bytes()).await?;
    // What is in flight must not be cut off by a reset.
    tokio::time::sleep(Duration::from_millis(500)).await;
    Ok(())
}

fn head(more: &str, length: usize) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{more}Content-Length: {length}\r\n\r\n"
    )
}

/// The body of the next request; nothing at the end.
async fn request(socket: &mut TcpStream, held: &mut Vec<u8>) -> std::io::Result<Option<Vec<u8>>> {
    loop {
        if let Some(at) = held.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(held.get(..at).unwrap_or_default());
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.and_then(|n| n.trim().parse().ok()).unwrap_or_default();
            let end = at + 4 + length;
            if held.len() >= end {
                let rest = held.split_off(end);
                let body = held.split_off(at + 4);
                *held = rest;
                return Ok(Some(body));
            }
        }
        let mut buffer = [0; 4096];
        match socket.read(&mut buffer).await? {
            0 => return Ok(None),
            read => held.extend_from_slice(buffer.get(..read).unwrap_or_default()),
        }
    }
}
