//! An upstream over HTTP that says just what a test makes it say.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use serde_json::{Value, json};

/// What it answers to a message: an HTTP status and a body. `None` never answers.
type Script = dyn Fn(&Value) -> Option<(u16, String)> + Send + Sync;

/// A server on a thread of its own, one thread more for each connection.
pub(crate) struct Fake {
    /// Its MCP endpoint.
    pub(crate) url: String,
    /// Its port.
    pub(crate) port: u16,
    received: Arc<Mutex<Vec<Value>>>,
    over: Arc<AtomicBool>,
    server: Option<std::thread::JoinHandle<()>>,
}

impl Fake {
    /// Serves on any free port.
    pub(crate) fn start(
        script: impl Fn(&Value) -> Option<(u16, String)> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (received, over) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (notes, stop): (Arc<Mutex<Vec<Value>>>, _) = (Arc::clone(&received), Arc::clone(&over));
        let script: Arc<Script> = Arc::new(script);
        let server = std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (script, notes) = (Arc::clone(&script), Arc::clone(&notes));
                std::thread::spawn(move || serve(socket, &*script, &notes));
            }
        });
        let url = format!("http://127.0.0.1:{port}/mcp");
        Self { url, port, received, over, server: Some(server) }
    }

    /// A legacy server with these tools; every call is answered with this result.
    pub(crate) fn legacy(tools: Value, called: Value) -> Self {
        Self::start(move |message| {
            let result = match message["method"].as_str().unwrap_or_default() {
                "initialize" => json!({
                    "protocolVersion": "2025-11-25",
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "fake", "version": "1"},
                }),
                "tools/list" => json!({ "tools": tools }),
                "tools/call" => called.clone(),
                "ping" => json!({}),
                _ if message["id"].is_null() => return Some((202, String::new())),
                method => {
                    let text = format!("Method not found: {method}");
                    let error = json!({"code": -32601, "message": text});
                    let answer = json!({"jsonrpc": "2.0", "id": message["id"], "error": error});
                    return Some((200, answer.to_string()));
                }
            };
            let answer = json!({"jsonrpc": "2.0", "id": message["id"], "result": result});
            Some((200, answer.to_string()))
        })
    }

    /// The messages that it got of a method.
    pub(crate) fn requests(&self, method: &str) -> Vec<Value> {
        let all = self.received.lock();
        all.iter().filter(|message| message["method"] == method).cloned().collect()
    }

    /// Stops listening; connections that wait for an answer are left as they are.
    pub(crate) fn stop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(server) = self.server.take() {
            drop(TcpStream::connect(("127.0.0.1", self.port)));
            server.join().unwrap();
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One request, one answer, and the connection is closed.
fn serve(socket: TcpStream, script: &Script, received: &Mutex<Vec<Value>>) {
    let mut reader = BufReader::new(socket);
    let (mut length, mut line) = (0, String::new());
    while reader.read_line(&mut line).is_ok_and(|read| read > 0) && !line.trim().is_empty() {
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        line.clear();
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let message = serde_json::from_slice(&body).unwrap_or(Value::Null);
    received.lock().push(message.clone());
    let mut socket = reader.into_inner();
    let Some((status, body)) = script(&message) else {
        // Holds the connection until the other side gives up.
        drop(socket.read(&mut [0]));
        return;
    };
    let head = format!(
        "HTTP/1.1 {status} Fake\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    drop(socket.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice()));
}
