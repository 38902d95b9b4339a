//! Raw clients: what is sent is what the test wrote, byte for byte.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use serde_json::{Value, json};

use super::process::WAYPOST;
use super::{MODERN_META, PATIENCE};

/// The headers of a POST as MCP clients send it.
const JSON: [(&str, &str); 2] =
    [("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream")];

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// Chunks joined.
    pub(crate) body: String,
}

impl Reply {
    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Every JSON-RPC message in the body: one, or the data of each event.
    pub(crate) fn messages(&self) -> Vec<Value> {
        if !self.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream")) {
            return serde_json::from_str(&self.body).into_iter().collect();
        }
        let data = self.body.lines().filter_map(|line| line.strip_prefix("data:"));
        data.filter_map(|data| serde_json::from_str(data).ok()).collect()
    }

    /// The last message: the answer.
    #[track_caller]
    pub(crate) fn answer(&self) -> Value {
        self.messages().pop().unwrap_or_else(|| panic!("no answer in {self:?}"))
    }

    /// The id of the last event that has one.
    pub(crate) fn last_event(&self) -> Option<String> {
        self.body
            .lines()
            .filter_map(|line| line.strip_prefix("id: "))
            .next_back()
            .map(str::to_owned)
    }

    /// Status and JSON-RPC error code, 0 where there is none.
    pub(crate) fn verdict(&self) -> (u16, i64) {
        (self.status, self.messages().pop().and_then(|m| m["error"]["code"].as_i64()).unwrap_or(0))
    }
}

/// One HTTP exchange on a connection of its own.
pub(crate) struct Http;

impl Http {
    /// Sends bytes as they are and reads until the server closes or the body is complete.
    pub(crate) fn raw(addr: &str, bytes: &[u8]) -> Reply {
        let mut socket = TcpStream::connect(addr).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        // A server that refuses early may close before everything is written.
        drop(socket.write_all(bytes));
        let mut reader = BufReader::new(socket);
        read_reply(&mut reader)
    }

    /// A request with these headers; `Host`, `Content-Length` and `Connection: close` are added.
    pub(crate) fn send(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        Self::raw(split(url).0, &request(method, url, headers, body))
    }

    /// A POST as MCP clients send it, whose answer is read bit by bit. Dropping it hangs up.
    pub(crate) fn open(url: &str, more: &[(&str, &str)], body: &str) -> Open {
        Open::start("POST", url, &[&JSON, more].concat(), body)
    }

    /// A POST as MCP clients send it, whose answer is read as it comes over the wire.
    pub(crate) fn begin(url: &str, more: &[(&str, &str)], body: &str) -> TcpStream {
        let mut socket = TcpStream::connect(split(url).0).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(&request("POST", url, &[&JSON, more].concat(), body)).unwrap();
        socket
    }

    /// The legacy stream of a session.
    pub(crate) fn open_get(url: &str, session: &str) -> Open {
        Open::start("GET", url, &[("Accept", "text/event-stream"), ("Mcp-Session-Id", session)], "")
    }

    /// A GET whose answer is read bit by bit.
    pub(crate) fn get(url: &str, headers: &[(&str, &str)]) -> Open {
        Open::start("GET", url, headers, "")
    }

    /// A legacy client comes back to a stream of its session, after its event of this id.
    pub(crate) fn come_back(url: &str, session: &str, last: &str) -> Open {
        let headers =
            [("Accept", "text/event-stream"), ("Mcp-Session-Id", session), ("Last-Event-ID", last)];
        Self::get(url, &headers)
    }

    /// The headers and the body of a well-formed modern request.
    pub(crate) fn modern_parts<'a>(
        id: &str,
        method: &'a str,
        name: Option<&'a str>,
        params: &str,
    ) -> (Vec<(&'a str, &'a str)>, String) {
        let comma = if params.is_empty() { "" } else { "," };
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params}{comma}{MODERN_META}}}}}"#
        );
        let mut headers = vec![("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", method)];
        headers.extend(name.map(|name| ("Mcp-Name", name)));
        (headers, body)
    }

    /// A POST as MCP clients send it, with more headers.
    pub(crate) fn post(url: &str, more: &[(&str, &str)], body: &str) -> Reply {
        Self::send("POST", url, &[&JSON, more].concat(), body)
    }

    /// A well-formed modern request: `params` is the text of the members beside `_meta`.
    pub(crate) fn modern(
        url: &str,
        id: &str,
        method: &str,
        name: Option<&str>,
        params: &str,
    ) -> Reply {
        let (headers, body) = Self::modern_parts(id, method, name, params);
        Self::post(url, &headers, &body)
    }

    /// A modern tool call; `arguments` is raw JSON.
    pub(crate) fn modern_call(url: &str, tool: &str, arguments: &str) -> Reply {
        let params = format!(r#""name":"{tool}","arguments":{arguments}"#);
        Self::modern(url, "1", "tools/call", Some(tool), &params)
    }

    /// A legacy handshake; the session id.
    pub(crate) fn legacy_session(url: &str, version: &str) -> String {
        let reply = Self::post(url, &[], &initialize(version));
        assert_eq!(reply.status, 200, "{reply:?}");
        let session = reply.header("mcp-session-id").unwrap().to_owned();
        let note = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        assert_eq!(Self::post(url, &[("Mcp-Session-Id", &session)], note).status, 202);
        session
    }

    /// A legacy request in a session; `params` is the raw object.
    pub(crate) fn legacy(url: &str, session: &str, id: &str, method: &str, params: &str) -> Reply {
        let body =
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#);
        Self::post(url, &[("Mcp-Session-Id", session)], &body)
    }

    /// A legacy tool call; `arguments` is raw JSON.
    pub(crate) fn legacy_call(url: &str, session: &str, tool: &str, arguments: &str) -> Reply {
        let params = format!(r#"{{"name":"{tool}","arguments":{arguments}}}"#);
        Self::legacy(url, session, "1", "tools/call", &params)
    }

    /// The names that `tools/list` answers, all pages, to a modern client.
    pub(crate) fn tools(url: &str) -> Vec<String> {
        let answer = Self::modern(url, "1", "tools/list", None, "").answer();
        let tools = answer["result"]["tools"].as_array().cloned().unwrap_or_default();
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }
}

/// The answer to a request among the messages that come; what comes before is dropped.
pub(super) fn answer_to(request: &str, mut next: impl FnMut() -> Value) -> Value {
    let id = serde_json::from_str::<Value>(request).unwrap()["id"].clone();
    loop {
        let message = next();
        if message["id"] == id && message.get("method").is_none() {
            return message;
        }
    }
}

/// A legacy `initialize` that declares nothing.
pub(crate) fn initialize(version: &str) -> String {
    initialize_able(version, "{}")
}

/// A legacy `initialize` that declares these capabilities, raw JSON.
pub(crate) fn initialize_able(version: &str, capabilities: &str) -> String {
    let capabilities: Value = serde_json::from_str(capabilities).unwrap();
    json!({
        "jsonrpc": "2.0", "id": 0, "method": "initialize",
        "params": {"protocolVersion": version, "capabilities": capabilities, "clientInfo": {"name": "raw", "version": "1"}},
    })
    .to_string()
}

fn split(url: &str) -> (&str, String) {
    let rest = url.trim_start_matches("http://");
    match rest.split_once('/') {
        Some((addr, path)) => (addr, format!("/{path}")),
        None => (rest, "/".to_owned()),
    }
}

fn request(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let (addr, path) = split(url);
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head.extend(["Host: ", addr, "\r\n"]);
    }
    for (name, value) in headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    let length = body.len().to_string();
    head.extend(["Content-Length: ", &length, "\r\nConnection: close\r\n\r\n"]);
    [head.as_bytes(), body.as_bytes()].concat()
}

/// An answer that is still coming. The head is read when the first part of it is asked for.
pub(crate) struct Open {
    reader: BufReader<TcpStream>,
    head: Option<(u16, Headers)>,
    text: String,
}

/// Names in lower case, and values.
type Headers = Vec<(String, String)>;

impl Open {
    fn start(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Self {
        let mut socket = TcpStream::connect(split(url).0).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(&request(method, url, headers, body)).unwrap();
        Self { reader: BufReader::new(socket), head: None, text: String::new() }
    }

    fn head(&mut self) -> &(u16, Headers) {
        self.head.get_or_insert_with(|| read_head(&mut self.reader))
    }

    /// The status.
    pub(crate) fn status(&mut self) -> u16 {
        self.head().0
    }

    /// The first header of this name.
    pub(crate) fn header(&mut self, name: &str) -> Option<String> {
        self.head().1.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    /// Whether the server has closed it, not counting what was not read yet.
    pub(crate) fn is_over(&mut self) -> bool {
        self.head();
        self.reader.get_ref().set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        matches!(self.reader.read(&mut [0]), Ok(0))
    }

    /// The text of the next event, comments too; `None` at the end of the stream.
    #[track_caller]
    pub(crate) fn event(&mut self) -> Option<String> {
        self.head();
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(event);
            }
            let chunk = read_chunk(&mut self.reader)?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next message of an answer in either form: a stream has some, a document is the last.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Option<Value> {
        if self.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream")) {
            return self.message();
        }
        let (_, headers) = self.head().clone();
        serde_json::from_str(&read_body(&mut self.reader, &headers)).ok()
    }

    /// All messages that still come: those of the stream, or the one document.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<Value> {
        if self.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream")) {
            return std::iter::from_fn(|| self.message()).collect();
        }
        let length = self.header("content-length").and_then(|text| text.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        self.reader.read_exact(&mut body).unwrap();
        serde_json::from_slice(&body).into_iter().collect()
    }

    /// The next message on the stream; `None` at its end.
    #[track_caller]
    pub(crate) fn message(&mut self) -> Option<Value> {
        self.message_before(Instant::now() + PATIENCE).expect("a message or the end")
    }

    /// The outer `None`: nothing but comments came in time.
    #[expect(
        clippy::option_option,
        reason = "a message, the end of the stream, or neither in time"
    )]
    fn message_before(&mut self, deadline: Instant) -> Option<Option<Value>> {
        while Instant::now() < deadline {
            let Some(event) = self.event() else { return Some(None) };
            let data = event.lines().find_map(|line| line.strip_prefix("data:"));
            // One without data only gives an id to come back with.
            if let Some(data) = data.filter(|data| !data.is_empty()) {
                return Some(Some(serde_json::from_str(data).unwrap()));
            }
        }
        None
    }

    /// How the answer goes on within a time: the next message, if one comes.
    pub(crate) fn message_within(&mut self, time: Duration) -> Option<Value> {
        self.reader.get_ref().set_read_timeout(Some(time)).unwrap();
        let message = self.message_before(Instant::now() + time).flatten();
        self.reader.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
        message
    }
}

pub(super) fn read_head(reader: &mut BufReader<TcpStream>) -> (u16, Headers) {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap_or_default();
    let status = line.split_whitespace().nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    (status, headers)
}

pub(crate) fn read_reply(reader: &mut BufReader<TcpStream>) -> Reply {
    let (status, headers) = read_head(reader);
    let body = read_body(reader, &headers);
    Reply { status, headers, body }
}

fn read_body(reader: &mut BufReader<TcpStream>, headers: &Headers) -> String {
    let mut body = Vec::new();
    let find = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, v)| v.clone());
    if find("transfer-encoding").is_some_and(|kind| kind.contains("chunked")) {
        while let Some(chunk) = read_chunk(reader) {
            body.extend_from_slice(&chunk);
        }
    } else if let Some(length) = find("content-length").and_then(|text| text.parse().ok()) {
        body.resize(length, 0);
        let read = reader.read_exact(&mut body);
        assert!(read.is_ok(), "the body broke off: {read:?}");
    }
    String::from_utf8_lossy(&body).into_owned()
}

fn read_chunk(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let length = usize::from_str_radix(line.trim(), 16).ok()?;
    let mut chunk = vec![0; length + 2];
    reader.read_exact(&mut chunk).ok()?;
    chunk.truncate(length);
    (length > 0).then_some(chunk)
}

/// A `waypost stdio` that the test talks to line by line.
pub(crate) struct StdioClient {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    /// Whether nothing is read of its stdout, and who waits for the end of that.
    paused: Arc<(Mutex<bool>, Condvar)>,
    folder: tempfile::TempDir,
}

impl StdioClient {
    /// Starts it with the text of a gateway.toml.
    pub(crate) fn start(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.toml");
        std::fs::write(&file, config).unwrap();
        Self::spawn(folder, &file)
    }

    fn spawn(folder: tempfile::TempDir, file: &Path) -> Self {
        let mut child = Command::new(WAYPOST)
            .args(["stdio", "--config"])
            .arg(file)
            .env("XDG_CACHE_HOME", folder.path().join("cache"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        let paused = Arc::<(Mutex<bool>, Condvar)>::default();
        let pause = Arc::clone(&paused);
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                drop(sender.send(line));
                let mut paused = pause.0.lock();
                while *paused {
                    pause.1.wait(&mut paused);
                }
            }
        });
        Self { child, stdin, lines, paused, folder }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes another text into its gateway.toml.
    pub(crate) fn write(&self, config: &str) {
        std::fs::write(self.folder.path().join("gateway.toml"), config).unwrap();
    }

    /// Asks it to end with SIGTERM.
    pub(crate) fn ask_to_end(&self) {
        super::process::signal(self.child.id(), "-TERM");
    }

    /// Reads one line more of its stdout, and then nothing until [`Self::resume`].
    pub(crate) fn pause(&self) {
        *self.paused.0.lock() = true;
    }

    /// Reads on.
    pub(crate) fn resume(&self) {
        *self.paused.0.lock() = false;
        self.paused.1.notify_all();
    }

    /// Sends one line.
    pub(crate) fn send(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(line.as_bytes()).unwrap();
        stdin.write_all(b"\n").unwrap();
        stdin.flush().unwrap();
    }

    /// The next line, which must be JSON.
    #[track_caller]
    pub(crate) fn next(&self) -> Value {
        let line = self.lines.recv_timeout(PATIENCE).expect("a line on stdout");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line:?}"))
    }

    /// The next line, if one comes in time.
    pub(crate) fn next_within(&self, time: Duration) -> Option<Value> {
        let line = self.lines.recv_timeout(time).ok()?;
        Some(serde_json::from_str(&line).unwrap())
    }

    /// The next line as it came.
    #[track_caller]
    pub(crate) fn next_line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line on stdout")
    }

    /// Sends a request and waits for the answer with its id; what comes before is dropped.
    #[track_caller]
    pub(crate) fn ask(&mut self, request: &str) -> Value {
        self.send(request);
        answer_to(request, || self.next())
    }

    /// A legacy handshake.
    pub(crate) fn handshake(&mut self, version: &str) -> Value {
        self.handshake_able(version, "{}")
    }

    /// A legacy handshake that declares these capabilities, raw JSON.
    pub(crate) fn handshake_able(&mut self, version: &str, capabilities: &str) -> Value {
        let answer = self.ask(&initialize_able(version, capabilities));
        self.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        answer
    }

    /// Closes its stdin and waits for its end: exit code and what it still wrote.
    pub(crate) fn close(mut self) -> (i32, Vec<String>) {
        self.stdin = None;
        let code = super::eventually("waypost stdio to end", || self.child.try_wait().unwrap());
        (code.code().unwrap_or(-1), self.lines.try_iter().collect())
    }
}

impl Drop for StdioClient {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
