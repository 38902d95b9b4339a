//! An upstream in the hands of a test, behind a URL or as a child: it says what a script makes it
//! say, before the answer too, asks its clients, and keeps all that reached it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::toml::{command, upstream, url};
use super::upstream::config;
use super::{Era, Gateway, Over, eventually, replicas_up};

/// What a script answers: `{"result": …}` or `{"error": …}`, with the HTTP `status` beside it where
/// that is not 200; `null` never answers.
type Script = dyn Fn(&mut Turn<'_>) -> Value + Send + Sync;

/// One message that reached it.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    /// The session or the process, counted from 0 in the order of their beginnings.
    pub(crate) session: usize,
    /// `name: value`, names in lower case; none on a pipe.
    pub(crate) headers: Vec<String>,
    /// The message.
    pub(crate) message: Value,
}

impl Heard {
    /// The value of a header, if it is there once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let values = self.headers.iter().filter_map(|line| line.split_once(": "));
        let mut values = values.filter(|(known, _)| *known == name).map(|(_, value)| value);
        values.next().filter(|_| values.next().is_none())
    }
}

/// How a peer is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Behind a URL, over Streamable HTTP.
    Http,
    /// As a child.
    Pipe,
    /// Behind a URL, over HTTP+SSE of 2024-11-05.
    Sse,
}

impl Way {
    /// Those by which legacy servers are reached.
    pub(crate) const LEGACY: [Self; 3] = [Self::Http, Self::Pipe, Self::Sse];
    /// Those by which modern servers are reached.
    pub(crate) const MODERN: [Self; 2] = [Self::Http, Self::Pipe];

    /// The eras of servers that are reached so.
    pub(crate) fn eras(self) -> &'static [Era] {
        if self == Self::Sse { &[Era::Legacy] } else { &[Era::Legacy, Era::Modern] }
    }
}

impl From<Over> for Way {
    fn from(over: Over) -> Self {
        match over {
            Over::Http => Self::Http,
            Over::Stdio => Self::Pipe,
        }
    }
}

/// The upstream. It listens as long as this lives; a child reaches it over a socket.
pub(crate) struct Peer {
    way: Way,
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    era: Era,
    capabilities: Value,
    script: Box<Script>,
    heard: Mutex<Vec<Heard>>,
    /// What the clients of each session declared; null before a handshake.
    sessions: Mutex<Vec<Value>>,
    /// Where each session hears what belongs to no call.
    standing: Mutex<BTreeMap<usize, Arc<Mutex<TcpStream>>>>,
    /// Words that scripts wait for.
    said: Mutex<BTreeSet<String>>,
    /// Calls whose connection was closed before they were answered.
    left: Mutex<usize>,
    /// Sessions that it knows no longer.
    forgotten: Mutex<BTreeSet<usize>>,
}

impl Peer {
    /// Starts one that offers tools.
    pub(crate) fn start(
        era: Era,
        way: impl Into<Way>,
        script: impl Fn(&mut Turn<'_>) -> Value + Send + Sync + 'static,
    ) -> Self {
        Self::offering(era, way, json!({"tools": {}}), script)
    }

    /// Starts one with these capabilities.
    pub(crate) fn offering(
        era: Era,
        way: impl Into<Way>,
        capabilities: Value,
        script: impl Fn(&mut Turn<'_>) -> Value + Send + Sync + 'static,
    ) -> Self {
        let way = way.into();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            era,
            capabilities,
            script: Box::new(script),
            heard: Mutex::default(),
            sessions: Mutex::default(),
            standing: Mutex::default(),
            said: Mutex::default(),
            left: Mutex::default(),
            forgotten: Mutex::default(),
        });
        let serving = Arc::downgrade(&shared);
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let Some(shared) = serving.upgrade() else { return };
                std::thread::spawn(move || match way {
                    Way::Http => post(&shared, socket),
                    Way::Pipe => lines(&shared, socket),
                    Way::Sse => events(&shared, socket),
                });
            }
        });
        Self { way, port, shared }
    }

    /// Its lines of a replica's table.
    pub(crate) fn replica(&self) -> String {
        match self.way {
            Way::Http => url(&format!("http://127.0.0.1:{}/mcp", self.port)),
            Way::Sse => {
                let url = url(&format!("http://127.0.0.1:{}/sse", self.port));
                format!("{url}\ntransport = \"sse\"")
            }
            // A dollar is written twice in a configuration.
            Way::Pipe => command(&[
                "bash",
                "-c",
                &format!(
                    "exec 3<>/dev/tcp/127.0.0.1/{}; {{ cat <&3; kill $$$$; }} & cat >&3; kill $!",
                    self.port
                ),
            ]),
        }
    }

    /// Its tables as the upstream of this name, with more keys. Its era is not asked for.
    pub(crate) fn tables(&self, name: &str, keys: &str) -> String {
        let era = if self.shared.era == Era::Legacy { "legacy" } else { "modern" };
        upstream(name, &format!("era = \"{era}\"\n{keys}"), &[self.replica()])
    }

    /// A gateway in front of it as `u`, which is up.
    pub(crate) fn gateway(&self, keys: &str) -> Gateway {
        let gateway = Gateway::start(&config(&self.tables("u", keys)));
        replicas_up(&gateway, "u", 1);
        gateway
    }

    /// All that it has heard of a method.
    pub(crate) fn heard(&self, method: &str) -> Vec<Heard> {
        let heard = self.shared.heard.lock();
        heard.iter().filter(|heard| heard.message["method"] == method).cloned().collect()
    }

    /// The first message of a method, which is waited for.
    #[track_caller]
    pub(crate) fn first(&self, method: &str) -> Heard {
        eventually(method, || self.heard(method).into_iter().next())
    }

    /// The calls of a tool.
    pub(crate) fn calls(&self, tool: &str) -> Vec<Heard> {
        let mut calls = self.heard("tools/call");
        calls.retain(|call| call.message["params"]["name"] == tool);
        calls
    }

    /// Waits until there were so many calls of a tool.
    #[track_caller]
    pub(crate) fn called(&self, tool: &str, times: usize) -> Vec<Heard> {
        eventually(&format!("{times} calls of {tool}"), || {
            let calls = self.calls(tool);
            (calls.len() >= times).then_some(calls)
        })
    }

    /// The answer to a question of its own, which is waited for.
    #[track_caller]
    pub(crate) fn answered(&self, id: &Value) -> Heard {
        self.shared.answered(id)
    }

    /// The answers to a question so far.
    pub(crate) fn answers(&self, id: &Value) -> Vec<Heard> {
        self.shared.answers(id)
    }

    /// What the clients of each handshake declared.
    pub(crate) fn handshakes(&self) -> Vec<Value> {
        self.shared.sessions.lock().iter().filter(|said| !said.is_null()).cloned().collect()
    }

    /// The session whose clients declared something, or nothing.
    #[track_caller]
    pub(crate) fn session(&self, able: bool) -> usize {
        eventually("a session of these clients", || {
            let sessions = self.shared.sessions.lock();
            let is = |said: &Value| said.as_object().is_some_and(|said| said.is_empty() != able);
            sessions.iter().position(is)
        })
    }

    /// Tells a session something outside of any call.
    #[track_caller]
    pub(crate) fn tell(&self, session: usize, message: &Value) {
        let stream = eventually("a standing stream", || {
            self.shared.standing.lock().get(&session).map(Arc::clone)
        });
        let text = match self.way {
            Way::Http | Way::Sse => event(message),
            Way::Pipe => format!("{message}\n"),
        };
        stream.lock().write_all(text.as_bytes()).unwrap();
    }

    /// Answers 404 to whatever comes in this session from now on.
    pub(crate) fn forget(&self, session: usize) {
        self.shared.forgotten.lock().insert(session);
    }

    /// The methods of all that was heard in a session, in order.
    pub(crate) fn methods(&self, session: usize) -> Vec<String> {
        let heard = self.shared.heard.lock();
        let here = heard.iter().filter(|heard| heard.session == session);
        here.filter_map(|heard| Some(heard.message["method"].as_str()?.to_owned())).collect()
    }

    /// Ends a child, or the standing stream of a session.
    pub(crate) fn hang_up(&self, session: usize) {
        let line = self.shared.standing.lock().get(&session).map(Arc::clone).unwrap();
        line.lock().shutdown(Shutdown::Both).unwrap();
    }

    /// Says a word that scripts wait for.
    pub(crate) fn say(&self, word: &str) {
        self.shared.said.lock().insert(word.to_owned());
    }

    /// How many calls were left by closing their connections.
    pub(crate) fn left(&self) -> usize {
        *self.shared.left.lock()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Scripts that still wait for a word go on, and the listener finds that we are gone.
        self.shared.said.lock().insert(OVER.to_owned());
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

/// The word that ends all waiting.
const OVER: &str = "over";

impl Shared {
    fn answers(&self, id: &Value) -> Vec<Heard> {
        let heard = self.heard.lock();
        let is = |message: &Value| message.get("method").is_none() && message["id"] == *id;
        heard.iter().filter(|heard| is(&heard.message)).cloned().collect()
    }

    #[track_caller]
    fn answered(&self, id: &Value) -> Heard {
        eventually(&format!("an answer to the question {id}"), || {
            self.answers(id).into_iter().next()
        })
    }

    fn begin(&self) -> usize {
        let mut sessions = self.sessions.lock();
        sessions.push(Value::Null);
        sessions.len() - 1
    }

    /// What any server answers, or what the script does.
    fn answer(&self, turn: &mut Turn<'_>) -> Value {
        let result = match (turn.method(), self.era) {
            ("initialize", Era::Legacy) => {
                let declared = turn.message["params"]["capabilities"].clone();
                if let Some(session) = self.sessions.lock().get_mut(turn.session) {
                    *session = declared;
                }
                json!({
                    "protocolVersion": "2025-11-25",
                    "capabilities": self.capabilities,
                    "serverInfo": {"name": "peer", "version": "1"},
                })
            }
            ("server/discover", Era::Modern) => json!({
                "resultType": "complete", "ttlMs": 0, "cacheScope": "private",
                "supportedVersions": ["2026-07-28"], "capabilities": self.capabilities,
            }),
            ("ping" | "logging/setLevel", Era::Legacy) => json!({}),
            ("initialize" | "server/discover", _) => return no_method(),
            _ => return (self.script)(turn),
        };
        json!({ "result": result })
    }
}

// === what scripts use ===

/// One request, while it is answered.
pub(crate) struct Turn<'a> {
    /// The request.
    pub(crate) message: Value,
    /// Its headers, as [`Heard`] has them.
    pub(crate) headers: Vec<String>,
    /// Its session or process.
    pub(crate) session: usize,
    shared: &'a Shared,
    out: Out,
}

/// Where messages of a turn go.
enum Out {
    Post { socket: TcpStream, streams: bool },
    Line(Arc<Mutex<TcpStream>>),
    Stream(Arc<Mutex<TcpStream>>),
}

impl Turn<'_> {
    /// Its method.
    pub(crate) fn method(&self) -> &str {
        self.message["method"].as_str().unwrap_or_default()
    }

    /// The name that it is about.
    pub(crate) fn name(&self) -> &str {
        self.message["params"]["name"].as_str().unwrap_or_default()
    }

    /// What its clients declared in the handshake.
    pub(crate) fn declared(&self) -> Value {
        self.shared.sessions.lock()[self.session].clone()
    }

    /// Sends a message before the answer.
    pub(crate) fn tell(&mut self, message: &Value) {
        match &mut self.out {
            Out::Line(line) => {
                drop(line.lock().write_all(format!("{message}\n").as_bytes()));
            }
            Out::Stream(stream) => drop(stream.lock().write_all(event(message).as_bytes())),
            Out::Post { socket, streams } => {
                let head = if *streams { "" } else { EVENTS };
                *streams = true;
                drop(socket.write_all(format!("{head}{}", event(message)).as_bytes()));
            }
        }
    }

    /// Asks the client without waiting for its answer.
    pub(crate) fn put(&mut self, id: &Value, method: &str, params: &Value) {
        self.tell(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
    }

    /// Asks the client and waits for its answer.
    pub(crate) fn ask(&mut self, id: &Value, method: &str, params: &Value) -> Value {
        self.put(id, method, params);
        self.shared.answered(id).message
    }

    /// Closes the connection, or ends the child, without an answer.
    pub(crate) fn hang_up(&mut self) {
        drop(match &mut self.out {
            Out::Line(line) | Out::Stream(line) => line.lock().shutdown(Shutdown::Both),
            Out::Post { socket, .. } => socket.shutdown(Shutdown::Both),
        });
    }

    /// Sends a log message.
    pub(crate) fn log(&mut self, level: &str, text: &str) {
        self.tell(&log(level, text));
    }

    /// Sends progress under this token.
    pub(crate) fn progress(&mut self, token: &Value, progress: u32) {
        self.tell(&progressed(token, progress));
    }

    /// Whether the test has said this word.
    pub(crate) fn was_said(&self, word: &str) -> bool {
        self.shared.said.lock().contains(word)
    }

    /// Waits until the test says this word.
    pub(crate) fn wait(&self, word: &str) {
        eventually(&format!("the word {word}"), || {
            let said = self.shared.said.lock();
            (said.contains(word) || said.contains(OVER)).then_some(())
        });
    }
}

/// Checks something over each way to a legacy server.
pub(crate) fn each(check: impl Fn(Way)) {
    Way::LEGACY.into_iter().for_each(check);
}

/// A log message.
pub(crate) fn log(level: &str, text: &str) -> Value {
    let params = json!({"level": level, "logger": "peer", "data": text});
    json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params})
}

/// A progress notification.
pub(crate) fn progressed(token: &Value, progress: u32) -> Value {
    let params = json!({"progressToken": token, "progress": progress});
    json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
}

/// A notification without params.
pub(crate) fn note(method: &str) -> Value {
    json!({"jsonrpc": "2.0", "method": method})
}

/// An answer.
pub(crate) fn result(result: &Value) -> Value {
    json!({ "result": result })
}

/// The answer of a tool that says a text.
pub(crate) fn text(text: &str) -> Value {
    result(&json!({"content": [{"type": "text", "text": text}]}))
}

/// The answer to `tools/list` with plain tools of these names.
pub(crate) fn tools(names: &[&str]) -> Value {
    let tool = |name: &&str| json!({"name": name, "inputSchema": {"type": "object"}});
    result(&json!({"tools": names.iter().map(tool).collect::<Vec<_>>()}))
}

/// The answer to what it does not know.
pub(crate) fn no_method() -> Value {
    json!({"error": {"code": -32601, "message": "Method not found"}})
}

// === the wire ===

const EVENTS: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";

fn event(message: &Value) -> String {
    format!("event: message\ndata: {message}\n\n")
}

/// A whole message from what a script answered.
fn whole(id: &Value, mut answer: Value) -> (u64, Value) {
    let status = answer.as_object_mut().and_then(|answer| answer.remove("status"));
    let mut message = json!({"jsonrpc": "2.0", "id": id});
    if let (Some(message), Some(answer)) = (message.as_object_mut(), answer.as_object()) {
        message.extend(answer.clone());
    }
    (status.and_then(|status| status.as_u64()).unwrap_or(200), message)
}

/// One child: a line is a message, and each request runs on a thread of its own.
fn lines(shared: &Arc<Shared>, socket: TcpStream) {
    // A pipe has no Nagle either.
    socket.set_nodelay(true).unwrap();
    let session = shared.begin();
    let line = Arc::new(Mutex::new(socket.try_clone().unwrap()));
    shared.standing.lock().insert(session, Arc::clone(&line));
    for text in BufReader::new(socket).lines().map_while(Result::ok) {
        let Ok(message) = serde_json::from_str::<Value>(&text) else { continue };
        let headers = Vec::new();
        shared.heard.lock().push(Heard { session, headers, message: message.clone() });
        if message.get("method").is_none() || message.get("id").is_none() {
            continue;
        }
        let (shared, line) = (Arc::clone(shared), Arc::clone(&line));
        std::thread::spawn(move || {
            let id = message["id"].clone();
            let out = Out::Line(Arc::clone(&line));
            let answer = shared.answer(&mut Turn {
                message,
                headers: Vec::new(),
                session,
                shared: &shared,
                out,
            });
            if !answer.is_null() {
                let (_, message) = whole(&id, answer);
                drop(line.lock().write_all(format!("{message}\n").as_bytes()));
            }
        });
    }
}

/// One HTTP request.
fn post(shared: &Arc<Shared>, socket: TcpStream) {
    let mut reader = BufReader::new(socket);
    let Some(Asked { verb, headers, body, .. }) = read_request(&mut reader) else { return };
    let socket = reader.into_inner();
    let given = headers.iter().find_map(|line| line.strip_prefix("mcp-session-id: s"));
    let given = given.and_then(|number| number.parse::<usize>().ok());
    let forgotten = given.is_some_and(|session| shared.forgotten.lock().contains(&session));
    match verb.as_str() {
        "GET" if forgotten => return empty(socket, 404),
        "GET" => return stand(shared, socket, given),
        "POST" => {}
        _ => return empty(socket, 200),
    }
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let session = match given {
        Some(session) => session,
        None => shared.begin(),
    };
    let heard = Heard { session, headers: headers.clone(), message: message.clone() };
    shared.heard.lock().push(heard);
    if forgotten {
        return empty(socket, 404);
    }
    if message.get("method").is_none() || message.get("id").is_none() {
        return empty(socket, 202);
    }
    let (id, greets) = (message["id"].clone(), message["method"] == "initialize");
    let out = Out::Post { socket, streams: false };
    let mut turn = Turn { message, headers, session, shared, out };
    let answer = shared.answer(&mut turn);
    let Out::Post { mut socket, streams } = turn.out else { return };
    if answer.is_null() {
        drop(socket.read(&mut [0]));
        *shared.left.lock() += 1;
        return;
    }
    let (status, message) = whole(&id, answer);
    let text = if streams {
        event(&message)
    } else {
        let own = if greets && shared.era == Era::Legacy {
            format!("Mcp-Session-Id: s{session}\r\n")
        } else {
            String::new()
        };
        let (body, json) = (message.to_string(), "Content-Type: application/json");
        let length = body.len();
        format!(
            "HTTP/1.1 {status} Peer\r\n{json}\r\n{own}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
    };
    drop(socket.write_all(text.as_bytes()));
}

/// One HTTP request of the HTTP+SSE transport. The stream is the session.
fn events(shared: &Arc<Shared>, socket: TcpStream) {
    let mut reader = BufReader::new(socket);
    let Some(Asked { verb, path, headers, body }) = read_request(&mut reader) else { return };
    let mut socket = reader.into_inner();
    let number = path.strip_prefix("/message?session=").and_then(|number| number.parse().ok());
    match (verb.as_str(), number) {
        ("GET", None) => {
            let session = shared.begin();
            let first = format!("event: endpoint\ndata: /message?session={session}\n\n");
            // It can be told something only when it knows where it is.
            let stream = Arc::new(Mutex::new(socket.try_clone().unwrap()));
            if socket.write_all(format!("{EVENTS}{first}").as_bytes()).is_ok() {
                shared.standing.lock().insert(session, stream);
            }
        }
        ("POST", Some(session)) if !shared.forgotten.lock().contains(&session) => {
            let message: Value = serde_json::from_slice(&body).unwrap_or_default();
            let heard = Heard { session, headers: headers.clone(), message: message.clone() };
            shared.heard.lock().push(heard);
            empty(socket, 202);
            if message.get("method").is_none() || message.get("id").is_none() {
                return;
            }
            let stream = eventually("its stream", || shared.standing.lock().get(&session).cloned());
            let (id, out) = (message["id"].clone(), Out::Stream(Arc::clone(&stream)));
            let answer = shared.answer(&mut Turn { message, headers, session, shared, out });
            if !answer.is_null() {
                drop(stream.lock().write_all(event(&whole(&id, answer).1).as_bytes()));
            }
        }
        _ => empty(socket, 404),
    }
}

/// The stream of a session for what belongs to no call.
fn stand(shared: &Shared, mut socket: TcpStream, session: Option<usize>) {
    let Some(session) = session else { return empty(socket, 405) };
    if socket.write_all(EVENTS.as_bytes()).is_ok() {
        shared.standing.lock().insert(session, Arc::new(Mutex::new(socket)));
    }
}

fn empty(mut socket: TcpStream, status: u16) {
    let head = format!("HTTP/1.1 {status} Peer\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    drop(socket.write_all(head.as_bytes()));
}

struct Asked {
    verb: String,
    path: String,
    headers: Vec<String>,
    body: Vec<u8>,
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Asked> {
    let (mut verb, mut path, mut headers) = (String::new(), String::new(), Vec::new());
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if verb.is_empty() {
            let mut words = line.split(' ');
            words.next()?.clone_into(&mut verb);
            words.next()?.clone_into(&mut path);
            continue;
        }
        let (name, value) = line.split_once(':')?;
        let (name, value) = (name.to_ascii_lowercase(), value.trim());
        if name == "content-length" {
            length = value.parse().ok()?;
        }
        headers.push(format!("{name}: {value}"));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { verb, path, headers, body })
}
