//! An upstream over HTTP that a test plays itself: it sees each request with its headers and the
//! connection it came on, and writes whatever bytes it likes. What the test does not play is
//! answered as the offer says.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use serde_json::{Value, json};
use waypost::base::clock;

use super::{Era, PATIENCE};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// `POST`, `GET` or `DELETE`.
    pub(crate) verb: String,
    /// Path and query.
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// Null where there was none.
    pub(crate) body: Value,
    /// The number of the connection it came on.
    pub(crate) connection: usize,
    /// When it was read.
    pub(crate) at: Instant,
}

impl Seen {
    /// The JSON-RPC method; empty where there is none.
    pub(crate) fn method(&self) -> &str {
        self.body["method"].as_str().unwrap_or_default()
    }

    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A member of the params that is text.
    pub(crate) fn param(&self, key: &str) -> &str {
        self.body["params"][key].as_str().unwrap_or_default()
    }

    /// The token under which it wants progress.
    pub(crate) fn token(&self) -> &Value {
        &self.body["params"]["_meta"]["progressToken"]
    }

    /// Its answer with this result.
    pub(crate) fn result(&self, result: &Value) -> Value {
        json!({"jsonrpc": "2.0", "id": self.body["id"], "result": result})
    }

    /// Its answer with this error.
    pub(crate) fn error(&self, code: i64, message: &str) -> Value {
        let error = json!({"code": code, "message": message});
        json!({"jsonrpc": "2.0", "id": self.body["id"], "error": error})
    }

    /// Progress of it.
    pub(crate) fn progress(&self, progress: u64, message: &str) -> Value {
        let params =
            json!({"progressToken": self.token(), "progress": progress, "message": message});
        json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
    }
}

/// Where the answer to one request is written.
pub(crate) struct Wire {
    socket: TcpStream,
    reusable: bool,
}

impl Wire {
    /// Bytes as they are. Answers whether they were taken.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> bool {
        let taken = self.socket.write_all(bytes).is_ok();
        self.reusable &= taken;
        taken
    }

    /// A whole answer; `headers` are lines.
    pub(crate) fn whole(&mut self, status: u16, headers: &[&str], body: &str) -> bool {
        let mut head = format!("HTTP/1.1 {status} Puppet\r\nContent-Length: {}\r\n", body.len());
        for line in headers {
            head.extend([line, "\r\n"]);
        }
        head.push_str("\r\n");
        self.raw(&[head.as_bytes(), body.as_bytes()].concat())
    }

    /// A JSON document.
    pub(crate) fn json(&mut self, message: &Value) -> bool {
        self.whole(200, &["Content-Type: application/json"], &message.to_string())
    }

    /// The head of an answer that comes in chunks.
    pub(crate) fn chunked(&mut self, kind: &str) -> bool {
        self.raw(
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            .as_bytes(),
        )
    }

    /// The head of an event stream.
    pub(crate) fn stream(&mut self) -> bool {
        self.chunked("text/event-stream")
    }

    /// A chunk.
    pub(crate) fn piece(&mut self, bytes: &[u8]) -> bool {
        let head = format!("{:x}\r\n", bytes.len());
        self.raw(&[head.as_bytes(), bytes, b"\r\n"].concat())
    }

    /// A chunk that is one event.
    pub(crate) fn event(&mut self, message: &Value) -> bool {
        self.piece(format!("data: {message}\n\n").as_bytes())
    }

    /// The last chunk.
    pub(crate) fn end(&mut self) -> bool {
        self.raw(b"0\r\n\r\n")
    }

    /// Closes the connection in the middle of whatever it is in.
    pub(crate) fn hang_up(&mut self) {
        self.reusable = false;
        drop(self.socket.shutdown(Shutdown::Both));
    }

    /// Waits until the other side has closed the connection.
    pub(crate) fn until_closed(&mut self) {
        self.reusable = false;
        while self.socket.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
    }
}

/// What a puppet offers where the test does not play.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    /// Its name, which its answers give back.
    pub(crate) who: &'static str,
    pub(crate) era: Era,
    pub(crate) capabilities: Value,
    pub(crate) tools: Vec<Value>,
    pub(crate) prompts: Vec<Value>,
    pub(crate) resources: Vec<Value>,
    pub(crate) templates: Vec<Value>,
    /// Entries on a page.
    pub(crate) page: Option<usize>,
    /// The cursor of the second page; the others are numbers.
    pub(crate) second_page: &'static str,
    pub(crate) ttl_ms: u64,
    pub(crate) scope: &'static str,
    /// Legacy: gives sessions out.
    pub(crate) sessions: bool,
}

impl Offer {
    /// Everything is announced, and nothing listed.
    pub(crate) fn new(who: &'static str, era: Era) -> Self {
        Self {
            who,
            era,
            capabilities: json!({
                "tools": {"listChanged": true},
                "prompts": {"listChanged": true},
                "resources": {"listChanged": true, "subscribe": true},
                "completions": {},
            }),
            tools: Vec::new(),
            prompts: Vec::new(),
            resources: Vec::new(),
            templates: Vec::new(),
            page: None,
            second_page: "1",
            ttl_ms: 600_000,
            scope: "public",
            sessions: era == Era::Legacy,
        }
    }

    /// With these tools besides.
    pub(crate) fn tools(mut self, names: &[&str]) -> Self {
        self.tools.extend(names.iter().map(|name| tool(name)));
        self
    }

    /// With these prompts besides.
    pub(crate) fn prompts(mut self, names: &[&str]) -> Self {
        self.prompts.extend(names.iter().map(|name| json!({ "name": name })));
        self
    }

    /// With these resources besides.
    pub(crate) fn resources(mut self, uris: &[&str]) -> Self {
        self.resources.extend(uris.iter().map(|uri| resource(uri)));
        self
    }

    /// With these templates besides.
    pub(crate) fn templates(mut self, texts: &[&str]) -> Self {
        let template = |text: &&str| json!({"uriTemplate": text, "name": "t"});
        self.templates.extend(texts.iter().map(template));
        self
    }

    fn list(&self, member: &str, items: &[Value], seen: &Seen) -> Value {
        let size = self.page.unwrap_or(usize::MAX).max(1);
        let page = match seen.body["params"]["cursor"].as_str() {
            None => 0,
            Some(text) if text == self.second_page => 1,
            Some(text) => text.parse().unwrap_or(usize::MAX),
        };
        let mut pages = items.chunks(size.min(items.len().max(1)));
        let count = pages.len();
        let Some(items) = pages.nth(page).or_else(|| items.is_empty().then_some(items)) else {
            return json!({});
        };
        let mut result = json!({ member: items });
        if page + 1 < count {
            let next = if page == 0 { self.second_page.to_owned() } else { (page + 1).to_string() };
            result["nextCursor"] = json!(next);
        }
        self.cacheable(result)
    }

    fn cacheable(&self, mut result: Value) -> Value {
        if self.era == Era::Modern {
            result["ttlMs"] = json!(self.ttl_ms);
            result["cacheScope"] = json!(self.scope);
        }
        result
    }

    /// The result of what every server can do.
    pub(crate) fn result(&self, seen: &Seen) -> Option<Value> {
        let text = |text: String| json!({"type": "text", "text": text});
        let who = self.who;
        let mut result = match (seen.method(), self.era) {
            ("server/discover", Era::Modern) => self.cacheable(json!({
                "supportedVersions": ["2026-07-28"],
                "capabilities": self.capabilities,
            })),
            ("initialize", Era::Legacy) => json!({
                "protocolVersion": "2025-11-25",
                "capabilities": self.capabilities,
                "serverInfo": {"name": who, "version": "1"},
            }),
            ("ping" | "resources/subscribe" | "resources/unsubscribe", Era::Legacy) => json!({}),
            ("tools/list", _) => self.list("tools", &self.tools, seen),
            ("prompts/list", _) => self.list("prompts", &self.prompts, seen),
            ("resources/list", _) => self.list("resources", &self.resources, seen),
            ("resources/templates/list", _) => {
                self.list("resourceTemplates", &self.templates, seen)
            }
            ("tools/call", _) => {
                json!({"content": [text(format!("{who}:{}", seen.param("name")))]})
            }
            ("prompts/get", _) => {
                let content = text(format!("{who}:{}", seen.param("name")));
                json!({"messages": [{"role": "user", "content": content}]})
            }
            ("resources/read", _) => {
                let uri = seen.param("uri");
                self.cacheable(json!({"contents": [{"uri": uri, "text": format!("{who}:{uri}")}]}))
            }
            ("completion/complete", _) => json!({"completion": {"values": [who]}}),
            _ => return None,
        };
        if self.era == Era::Modern {
            result["resultType"] = json!("complete");
        }
        Some(result)
    }
}

/// A tool that takes nothing.
pub(crate) fn tool(name: &str) -> Value {
    json!({"name": name, "description": "d", "inputSchema": {"type": "object"}})
}

/// A resource that is named as its URI.
pub(crate) fn resource(uri: &str) -> Value {
    json!({"uri": uri, "name": uri})
}

/// Plays a request; answers whether it did.
type Scene = dyn Fn(&Seen, &mut Wire) -> bool + Send + Sync;

/// The server: a thread, and one more for each connection.
pub(crate) struct Puppet {
    /// Its MCP endpoint.
    pub(crate) url: String,
    /// Its port.
    pub(crate) port: u16,
    stage: Arc<Stage>,
    server: Option<std::thread::JoinHandle<()>>,
}

struct Stage {
    offer: Mutex<Offer>,
    scene: Box<Scene>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    sessions: AtomicUsize,
    /// Streams on which it tells what changed, with the id of the subscription.
    standing: Mutex<Vec<(TcpStream, Option<Value>)>>,
    sockets: Mutex<Vec<TcpStream>>,
    over: AtomicBool,
}

impl Puppet {
    /// One that only offers.
    pub(crate) fn offers(offer: Offer) -> Self {
        Self::start(offer, |_, _| false)
    }

    /// One that plays first.
    pub(crate) fn start(
        offer: Offer,
        scene: impl Fn(&Seen, &mut Wire) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::start_on(0, offer, scene)
    }

    /// The same on a port that was free a moment ago.
    pub(crate) fn start_on(
        port: u16,
        offer: Offer,
        scene: impl Fn(&Seen, &mut Wire) -> bool + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let stage = Arc::new(Stage {
            offer: Mutex::new(offer),
            scene: Box::new(scene),
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
            sessions: AtomicUsize::new(0),
            standing: Mutex::default(),
            sockets: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let open = Arc::clone(&stage);
        let server = std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if open.over.load(Ordering::SeqCst) {
                    return;
                }
                open.sockets.lock().extend(socket.try_clone());
                let stage = Arc::clone(&open);
                std::thread::spawn(move || stage.connection(socket));
            }
        });
        let url = format!("http://127.0.0.1:{port}/mcp");
        Self { url, port, stage, server: Some(server) }
    }

    /// Changes what it offers, and tells nobody.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Offer)) {
        change(&mut self.stage.offer.lock());
    }

    /// Sends a notification on every standing stream.
    pub(crate) fn tell(&self, method: &str) {
        self.stage.standing.lock().retain_mut(|(socket, subscription)| {
            let mut params = json!({});
            if let Some(id) = subscription {
                params["_meta"]["io.modelcontextprotocol/subscriptionId"] = id.clone();
            }
            let note = json!({"jsonrpc": "2.0", "method": method, "params": params});
            let event = format!("data: {note}\n\n");
            let chunk = format!("{:x}\r\n{event}\r\n", event.len());
            socket.write_all(chunk.as_bytes()).is_ok()
        });
    }

    /// How many standing streams are open.
    pub(crate) fn standing(&self) -> usize {
        self.stage.standing.lock().len()
    }

    /// Closes the standing streams.
    pub(crate) fn cut_streams(&self) {
        for (socket, _) in self.stage.standing.lock().drain(..) {
            drop(socket.shutdown(Shutdown::Both));
        }
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.stage.seen.lock().clone()
    }

    /// The requests of a method.
    pub(crate) fn requests(&self, method: &str) -> Vec<Seen> {
        self.stage.seen.lock().iter().filter(|seen| seen.method() == method).cloned().collect()
    }

    /// The requests of an HTTP verb.
    pub(crate) fn verbs(&self, verb: &str) -> Vec<Seen> {
        self.stage.seen.lock().iter().filter(|seen| seen.verb == verb).cloned().collect()
    }

    /// Takes no new connection.
    pub(crate) fn stop_listening(&mut self) {
        self.stage.over.store(true, Ordering::SeqCst);
        if let Some(server) = self.server.take() {
            drop(TcpStream::connect(("127.0.0.1", self.port)));
            server.join().unwrap();
        }
    }

    /// Stops listening and closes every connection.
    pub(crate) fn stop(&mut self) {
        self.stop_listening();
        for socket in self.stage.sockets.lock().drain(..) {
            drop(socket.shutdown(Shutdown::Both));
        }
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Stage {
    fn connection(&self, socket: TcpStream) {
        let connection = self.connections.fetch_add(1, Ordering::SeqCst);
        let Ok(writer) = socket.try_clone() else { return };
        drop(socket.set_nodelay(true));
        let mut wire = Wire { socket: writer, reusable: true };
        let mut reader = BufReader::new(socket);
        while wire.reusable
            && let Some(seen) = read(&mut reader, connection)
        {
            self.seen.lock().push(seen.clone());
            if !(self.scene)(&seen, &mut wire) {
                self.answer(&seen, &mut wire);
            }
        }
        drop(wire.socket.shutdown(Shutdown::Both));
    }

    /// Answers as the offer says.
    fn answer(&self, seen: &Seen, wire: &mut Wire) {
        let offer = self.offer.lock().clone();
        match (seen.verb.as_str(), seen.method(), offer.era) {
            ("GET", _, Era::Legacy) => self.stand(wire, None),
            ("DELETE", _, Era::Legacy) => {
                wire.whole(204, &[], "");
            }
            ("POST", "subscriptions/listen", Era::Modern) => self.stand(wire, Some(seen)),
            ("POST", "", _) => {
                wire.whole(202, &[], "");
            }
            ("POST", _, _) if seen.body["id"].is_null() => {
                wire.whole(202, &[], "");
            }
            ("POST", method, era) => match offer.result(seen) {
                Some(result) if method == "initialize" && offer.sessions => {
                    let number = self.sessions.fetch_add(1, Ordering::SeqCst);
                    let session = format!("Mcp-Session-Id: {}-{number}", offer.who);
                    let kind = "Content-Type: application/json";
                    wire.whole(200, &[kind, &session], &seen.result(&result).to_string());
                }
                Some(result) => {
                    wire.json(&seen.result(&result));
                }
                None => {
                    let status = if era == Era::Modern { 404 } else { 200 };
                    let text = seen.error(-32601, "Method not found").to_string();
                    wire.whole(status, &["Content-Type: application/json"], &text);
                }
            },
            _ => {
                wire.whole(405, &[], "");
            }
        }
    }

    /// Holds a stream open until either side closes it.
    fn stand(&self, wire: &mut Wire, listen: Option<&Seen>) {
        wire.stream();
        if let Some(seen) = listen {
            let id = &seen.body["id"];
            wire.event(&json!({
                "jsonrpc": "2.0",
                "method": "notifications/subscriptions/acknowledged",
                "params": {
                    "notifications": seen.body["params"]["notifications"],
                    "_meta": {"io.modelcontextprotocol/subscriptionId": id},
                },
            }));
        }
        let id = listen.map(|seen| seen.body["id"].clone());
        let Ok(teller) = wire.socket.try_clone() else { return };
        let own = teller.peer_addr().ok();
        self.standing.lock().push((teller, id));
        wire.until_closed();
        // One that was reset has no peer any more.
        let is_other = |socket: &TcpStream| socket.peer_addr().is_ok_and(|peer| Some(peer) != own);
        self.standing.lock().retain(|(socket, _)| is_other(socket));
    }
}

/// The next request; `None` when the other side has closed.
fn read(reader: &mut BufReader<TcpStream>, connection: usize) -> Option<Seen> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let mut words = line.split_whitespace();
    let (verb, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut headers, mut length) = (Vec::new(), 0);
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
        if name == "content-length" {
            length = value.parse().ok()?;
        }
        headers.push((name, value));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Some(Seen { verb, path, headers, body, connection, at: clock::now() })
}

/// A door that scenes wait at until the test opens it. Clones are the same door.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Lets everybody through from now on.
    pub(crate) fn open(&self) {
        *self.0.0.lock() = true;
        self.0.1.notify_all();
    }

    /// Waits until it is open, as long as a test waits for anything, or longer.
    pub(crate) fn pass(&self) {
        let mut open = self.0.0.lock();
        while !*open && !self.0.1.wait_for(&mut open, 2 * PATIENCE).timed_out() {}
    }
}
