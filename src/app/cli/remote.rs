//! A running waypost as the verbs talk to it: plain modern MCP over HTTP.

use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Request, Uri};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::egress::{ClientSpec, HttpClient, collect};
use crate::front::spec::ListenSpec;
use crate::proto::frame::SseFramer;
use crate::proto::headers::encode_value;
use crate::proto::{Version, meta};

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long a waypost at the configured address may take to show that it is there.
const LOOK: Duration = Duration::from_millis(500);

/// The address of the configured front.
pub(crate) fn configured(listen: &ListenSpec) -> String {
    let host = match listen.host.as_str() {
        "0.0.0.0" => "127.0.0.1".to_owned(),
        "::" => "[::1]".to_owned(),
        host if host.contains(':') => format!("[{host}]"),
        host => host.to_owned(),
    };
    format!("http://{host}:{}", listen.port)
}

/// The waypost to use: the one named, else one that answers at the configured address.
pub(crate) async fn find(named: Option<&str>, listen: &ListenSpec) -> Option<String> {
    if let Some(url) = named {
        return Some(url.to_owned());
    }
    if listen.port == 0 {
        return None;
    }
    let base = configured(listen);
    let answer = tokio::time::timeout(LOOK, get(&base, "/health")).await.ok()?.ok()?;
    let health: Value = serde_json::from_str(&answer.1).ok()?;
    health.get("services").map(|_| base)
}

/// A GET below a base address: status and text.
pub(crate) async fn get(base: &str, path: &str) -> anyhow::Result<(u16, String)> {
    let url: Uri = format!("{}{path}", root(base)).parse().context("the address is not a URL")?;
    let request = Request::builder().uri(url).body(Full::new(Bytes::new()))?;
    let response = HttpClient::new(&ClientSpec::default()).send(request).await?;
    let status = response.status().as_u16();
    let body = collect(response.into_body(), ANSWER_BYTES_MAX).await?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// The address without `/mcp`, which people like to give too.
fn root(base: &str) -> &str {
    base.trim_end_matches('/').trim_end_matches("/mcp")
}

/// One modern request: its whole JSON-RPC answer.
pub(crate) async fn ask(base: &str, method: &str, mut params: Value) -> anyhow::Result<Value> {
    let name =
        params.get("name").and_then(Value::as_str).map(|name| encode_value(name).into_owned());
    if let Some(object) = params.as_object_mut() {
        let about = json!({
            meta::VERSION: Version::MODERN_NEWEST.as_str(),
            meta::CAPABILITIES: {},
            meta::CLIENT_INFO: { "name": "waypost-cli", "version": env!("CARGO_PKG_VERSION") },
        });
        object.insert("_meta".to_owned(), about);
    }
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let mut request = Request::post(format!("{}/mcp", root(base)))
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "application/json, text/event-stream")
        .header("mcp-protocol-version", Version::MODERN_NEWEST.as_str())
        .header("mcp-method", method);
    if let Some(name) = name {
        request = request.header("mcp-name", name);
    }
    let request = request.body(Full::new(Bytes::from(body.to_string())))?;
    let response = HttpClient::new(&ClientSpec::default()).send(request).await?;
    let stream = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    let body = collect(response.into_body(), ANSWER_BYTES_MAX).await?;
    if !stream {
        return Ok(serde_json::from_slice(&body)?);
    }
    let mut framer = SseFramer::new(ANSWER_BYTES_MAX);
    framer.push(body);
    while let Some(event) = framer.next_event() {
        let message: Value = serde_json::from_slice(&event?.data).unwrap_or_default();
        if message.get("result").or(message.get("error")).is_some() {
            return Ok(message);
        }
    }
    bail!("the stream ended before the answer")
}
