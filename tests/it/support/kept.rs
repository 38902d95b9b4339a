//! A client that sends request after request on one connection.

use std::io::{BufReader, Write as _};
use std::net::TcpStream;

use super::client::{Reply, read_reply};
use super::{Gateway, PATIENCE};

/// One connection to the endpoint of a gateway.
pub(crate) struct Kept {
    addr: String,
    reader: BufReader<TcpStream>,
}

impl Kept {
    /// Connects.
    pub(crate) fn to(gateway: &Gateway) -> Self {
        Self::open(gateway.addr()).unwrap()
    }

    /// Connects, if somebody listens there.
    pub(crate) fn open(addr: &str) -> Option<Self> {
        let socket = TcpStream::connect(addr).ok()?;
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Some(Self { addr: addr.to_owned(), reader: BufReader::new(socket) })
    }

    /// A GET.
    pub(crate) fn get(&mut self, path: &str) -> Reply {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.addr);
        self.exchange(head.as_bytes())
    }

    /// A POST as MCP clients send it, with more headers.
    pub(crate) fn post(&mut self, more: &[(&str, &str)], body: &str) -> Reply {
        let mut head = format!(
            "POST /mcp HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nContent-Length: {}\r\n",
            self.addr,
            body.len()
        );
        for (name, value) in more {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head.push_str("\r\n");
        self.exchange(&[head.as_bytes(), body.as_bytes()].concat())
    }

    fn exchange(&mut self, request: &[u8]) -> Reply {
        // A connection that breaks off shows as an answer without a status.
        drop(self.reader.get_mut().write_all(request));
        read_reply(&mut self.reader)
    }
}
