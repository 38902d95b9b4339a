//! A client of the modern era that keeps to the letter: one request, and everything that comes back
//! is held against it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::time::now_ms;

/// No answer may take longer, whatever the gateway waits for.
const ANSWER_MAX: Duration = Duration::from_mins(2);

/// No body of the suite comes near it.
const BODY_MAX: usize = 64 * 1024 * 1024;

/// What a call does at the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Set,
    Append,
    Slow,
}

impl Kind {
    pub(crate) const fn tool(self) -> &'static str {
        match self {
            Self::Read => "ledger_read",
            Self::Set => "ledger_set",
            Self::Append => "ledger_append",
            Self::Slow => "ledger_slow",
        }
    }

    /// Whether it must not run twice.
    pub(crate) const fn once(self) -> bool {
        matches!(self, Self::Append | Self::Slow)
    }
}

/// One call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// Unique over the run.
    pub(crate) op: String,
    pub(crate) upstream: String,
    pub(crate) kind: Kind,
    pub(crate) ms: u64,
    pub(crate) steps: u64,
    pub(crate) pad: u64,
    /// Bytes that make the arguments longer.
    pub(crate) fill: usize,
    /// The legacy session it belongs to; none: it is a modern one.
    pub(crate) session: Option<HeaderValue>,
    /// Whose call it is, where the gateway asks for keys.
    pub(crate) key: Option<usize>,
}

impl Call {
    pub(crate) fn new(op: impl Into<String>, upstream: &str, kind: Kind, ms: u64) -> Self {
        let upstream = upstream.to_owned();
        Self {
            op: op.into(),
            upstream,
            kind,
            ms,
            steps: 0,
            pad: 0,
            fill: 0,
            session: None,
            key: None,
        }
    }
}

/// How a call ended for its client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// With the name of the server.
    Done(String),
    /// An error of the gateway: code, kind, delivery.
    Refused(i64, String, String),
    /// Anything else: an error of the server, no answer, no HTTP.
    Odd(String),
}

/// What a client was told.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) call: Call,
    pub(crate) began_ms: u64,
    pub(crate) took: Duration,
    pub(crate) end: End,
    /// Answers with our id.
    pub(crate) answers: usize,
    /// What was not ours: a foreign id, a foreign word, a foreign note.
    pub(crate) alien: Vec<String>,
}

impl Told {
    pub(crate) fn done(&self) -> bool {
        matches!(self.end, End::Done(_))
    }

    pub(crate) fn ended_ms(&self) -> u64 {
        self.began_ms + u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn delivery(&self) -> &str {
        if let End::Refused(_, _, delivery) = &self.end { delivery } else { "" }
    }
}

/// What a stream was told so far.
#[derive(Debug)]
pub(crate) struct Heard {
    count: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Heard {
    /// How often.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connections to one gateway.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
    base: String,
    key: Option<fn(usize) -> String>,
}

impl Client {
    pub(crate) fn new(base: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(5))
            .build(connector);
        Self { pool, base: base.to_owned(), key: None }
    }

    /// With a key for each number.
    pub(crate) fn with_keys(mut self, key: fn(usize) -> String) -> Self {
        self.key = Some(key);
        self
    }

    /// The text of a page of the operator.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<String> {
        let mut request = Request::get(format!("{}{path}", self.base));
        if let Some(key) = self.key {
            request = request.header("authorization", format!("Bearer {}", key(0)));
        }
        let request = request.body(Full::default())?;
        let asked = tokio::time::timeout(Duration::from_secs(10), self.pool.request(request));
        let reply = asked.await.context("no answer within 10 s")??;
        let body = Limited::new(reply.into_body(), BODY_MAX).collect().await;
        let body = body.map_err(anyhow::Error::from_boxed)?.to_bytes();
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Opens a legacy session.
    pub(crate) async fn open(&self) -> anyhow::Result<HeaderValue> {
        let hello = json!({
            "jsonrpc": "2.0", "id": 0, "method": "initialize",
            "params": {
                "protocolVersion": "2025-11-25", "capabilities": {},
                "clientInfo": {"name": "chaos", "version": "1"},
            },
        });
        let reply = self.pool.request(self.post(&hello)?).await?;
        let session = reply.headers().get("mcp-session-id").context("no session")?.clone();
        reply.into_body().collect().await?;
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let mut ready = self.post(&ready)?;
        ready.headers_mut().insert("mcp-session-id", session.clone());
        self.pool.request(ready).await?.into_body().collect().await?;
        Ok(session)
    }

    fn post(&self, body: &Value) -> anyhow::Result<Request<Full<Bytes>>> {
        let request = Request::post(format!("{}/mcp", self.base))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        Ok(request.body(Full::from(body.to_string()))?)
    }

    /// Opens the stream of a legacy session, and counts how often it hears this word.
    pub(crate) async fn hear(&self, word: &'static str) -> anyhow::Result<Heard> {
        let session = self.open().await?;
        let get = Request::get(format!("{}/mcp", self.base))
            .header("accept", "text/event-stream")
            .header("mcp-session-id", session)
            .body(Full::default())?;
        let mut body = self.pool.request(get).await?.into_body();
        let count = Arc::new(AtomicUsize::new(0));
        let heard = Arc::clone(&count);
        let task = tokio::spawn(async move {
            while let Some(Ok(frame)) = body.frame().await {
                let data = frame.into_data().unwrap_or_default();
                let times = String::from_utf8_lossy(&data).matches(word).count();
                heard.fetch_add(times, Ordering::Relaxed);
            }
        });
        Ok(Heard { count, task })
    }

    /// Whether a tool is in the list.
    pub(crate) async fn lists(&self, tool: &str) -> anyhow::Result<bool> {
        let body = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta()},
        });
        let mut request = self.post(&body)?;
        modern(request.headers_mut(), "tools/list", None)?;
        let body = self.pool.request(request).await?.into_body().collect().await?.to_bytes();
        Ok(String::from_utf8_lossy(&body).contains(&format!("\"{tool}\"")))
    }

    /// Calls a tool, to its end.
    pub(crate) async fn call(&self, call: Call) -> Told {
        let (began_ms, began) = (now_ms(), Instant::now());
        let asked = tokio::time::timeout(ANSWER_MAX, self.ask(&call)).await;
        let took = began.elapsed();
        let mut told = Told {
            call,
            began_ms,
            took,
            end: End::Odd("no answer in the body".to_owned()),
            answers: 0,
            alien: Vec::new(),
        };
        match asked {
            Err(_elapsed) => told.end = End::Odd(format!("no answer within {ANSWER_MAX:?}")),
            Ok(Err(error)) => told.end = End::Odd(format!("{error:#}")),
            Ok(Ok(messages)) => messages.iter().for_each(|message| told.hear(message)),
        }
        told
    }

    async fn ask(&self, call: &Call) -> anyhow::Result<Vec<Value>> {
        let name = format!("{}__{}", call.upstream, call.kind.tool());
        let mut meta = if call.session.is_some() { json!({}) } else { meta() };
        if call.steps > 0 {
            meta["progressToken"] = json!(call.op);
        }
        let mut arguments =
            json!({"op": call.op, "ms": call.ms, "steps": call.steps, "pad": call.pad});
        if call.fill > 0 {
            arguments["fill"] = json!("f".repeat(call.fill));
        }
        let body = json!({
            "jsonrpc": "2.0", "id": call.op, "method": "tools/call",
            "params": {"name": name, "arguments": arguments, "_meta": meta},
        });
        let mut request = self.post(&body)?;
        let headers = request.headers_mut();
        match &call.session {
            Some(session) => drop(headers.insert("mcp-session-id", session.clone())),
            None => modern(headers, "tools/call", Some(&name))?,
        }
        if let (Some(key), Some(number)) = (self.key, call.key) {
            headers.insert("authorization", format!("Bearer {}", key(number)).parse()?);
        }
        let reply = self.pool.request(request).await?;
        let events = reply
            .headers()
            .get("content-type")
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        let body = Limited::new(reply.into_body(), BODY_MAX).collect().await;
        let body = body.map_err(anyhow::Error::from_boxed)?.to_bytes();
        let text = String::from_utf8_lossy(&body);
        if !events {
            let message = serde_json::from_str(&text);
            return Ok(vec![message.with_context(|| format!("not JSON: {text:.200}"))?]);
        }
        let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
        let read = |data: &str| {
            serde_json::from_str(data).with_context(|| format!("not JSON in an event: {data:.200}"))
        };
        data.map(read).collect()
    }
}

/// The headers of every modern request.
fn modern(headers: &mut HeaderMap, method: &str, name: Option<&str>) -> anyhow::Result<()> {
    headers.insert("mcp-protocol-version", HeaderValue::from_static("2026-07-28"));
    headers.insert("mcp-method", method.parse()?);
    if let Some(name) = name {
        headers.insert("mcp-name", name.parse()?);
    }
    Ok(())
}

/// What every modern request says of its client.
fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "chaos", "version": "1"},
    })
}

// === impl Told ===

impl Told {
    /// Takes one message of the answer.
    fn hear(&mut self, message: &Value) {
        let op = self.call.op.as_str();
        if let Some(method) = message["method"].as_str() {
            let params = &message["params"];
            let ours = params["progressToken"] == op && params["message"] == op;
            if method != "notifications/progress" || !ours {
                self.alien.push(format!("{op} heard {message}"));
            }
            if self.answers > 0 {
                self.alien.push(format!("{op} heard a note behind its answer"));
            }
            return;
        }
        if message["id"] != op {
            self.alien.push(format!("{op} heard {message:.200}"));
            return;
        }
        self.answers += 1;
        self.end = end_of(message);
        if let End::Done(_) = self.end
            && message["result"]["structuredContent"]["op"] != op
        {
            self.alien.push(format!("{op} got {:.200}", message["result"].to_string()));
        }
    }
}

fn end_of(message: &Value) -> End {
    let (result, error) = (&message["result"], &message["error"]);
    if result.is_object() && result["isError"] != true {
        let name = result["structuredContent"]["name"].as_str().unwrap_or_default();
        return End::Done(name.to_owned());
    }
    let data = &error["data"];
    if data["source"] != "gateway" {
        return End::Odd(format!("{message:.300}"));
    }
    let text = |key: &str| data[key].as_str().unwrap_or_default().to_owned();
    End::Refused(error["code"].as_i64().unwrap_or_default(), text("kind"), text("delivery"))
}
