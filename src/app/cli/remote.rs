//! A running waypost as the verbs talk to it: plain modern MCP over HTTP.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::config::Environment;
use crate::egress::{Body, ClientSpec, HttpClient, collect};
use crate::front::spec::ListenSpec;
use crate::proto::frame::SseFramer;
use crate::proto::headers::encode_value;
use crate::proto::{Version, meta};

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The variable with the key that a gateway with `[auth] keys` asks for.
const KEY: &str = "WAYPOST_KEY";
/// How long a waypost at the configured address may take to show that it is there.
const LOOK: Duration = Duration::from_millis(500);

/// The address of the configured front.
fn configured(listen: &ListenSpec) -> String {
    let host = match listen.host.as_str() {
        "0.0.0.0" => "127.0.0.1".to_owned(),
        "::" => "[::1]".to_owned(),
        host if host.contains(':') => format!("[{host}]"),
        host => host.to_owned(),
    };
    format!("http://{host}:{}", listen.port)
}

/// A running waypost.
pub(crate) struct Remote {
    base: String,
    /// What it is shown: `Bearer KEY`.
    shown: Option<HeaderValue>,
}

impl Remote {
    /// The waypost at an address, which is shown the key of the environment if there is one.
    pub(crate) fn at(base: &str, environment: &Environment) -> anyhow::Result<Self> {
        let shown = environment.var(KEY).map(|key| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", key.trim()))
                .map_err(|_odd| anyhow!("{KEY} holds a character that keys cannot have"))?;
            value.set_sensitive(true);
            anyhow::Ok(value)
        });
        Ok(Self { base: root(base).to_owned(), shown: shown.transpose()? })
    }

    /// What listens at the configured address. It is shown nothing.
    pub(crate) fn configured(listen: &ListenSpec) -> Self {
        Self { base: configured(listen), shown: None }
    }

    /// The waypost to use: the one named, else one that answers at the configured address.
    pub(crate) async fn find(
        named: Option<&str>,
        listen: &ListenSpec,
        environment: &Environment,
    ) -> anyhow::Result<Option<Self>> {
        if let Some(url) = named {
            return Self::at(url, environment).map(Some);
        }
        if listen.port == 0 {
            return Ok(None);
        }
        // Whatever listens there is not shown the key before it has shown that it is a waypost.
        let stranger = Self::configured(listen);
        if stranger.is_waypost().await {
            Self::at(&stranger.base, environment).map(Some)
        } else {
            Ok(None)
        }
    }

    async fn is_waypost(&self) -> bool {
        let answer = tokio::time::timeout(LOOK, self.get("/health")).await;
        let health = answer.ok().and_then(Result::ok);
        let health = health.and_then(|(_, text)| serde_json::from_str::<Value>(&text).ok());
        health.is_some_and(|health| health.get("services").is_some())
    }

    /// Its address, for messages.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// A GET below its address: status and text.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<(u16, String)> {
        let url: Uri =
            format!("{}{path}", self.base).parse().context("the address is not a URL")?;
        let request = Request::builder().uri(url).body(Full::new(Bytes::new()))?;
        let response = self.send(request).await?;
        let status = response.status().as_u16();
        let body = collect(response.into_body(), ANSWER_BYTES_MAX).await?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    /// One modern request: its whole JSON-RPC answer.
    pub(crate) async fn ask(&self, method: &str, mut params: Value) -> anyhow::Result<Value> {
        let name =
            params.get("name").and_then(Value::as_str).map(|name| encode_value(name).into_owned());
        if let Some(object) = params.as_object_mut() {
            let about = json!({
                meta::VERSION: Version::MODERN_NEWEST.as_str(),
                meta::CAPABILITIES: {},
                meta::CLIENT_INFO: { "name": "waypost-cli", "version": env!("CARGO_PKG_VERSION") },
            });
            // What the verb asks of the gateway stands there already.
            let own = object.entry("_meta").or_insert_with(|| json!({}));
            if let (Some(own), Value::Object(about)) = (own.as_object_mut(), about) {
                own.extend(about);
            }
        }
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let mut request = Request::post(format!("{}/mcp", self.base))
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream")
            .header("mcp-protocol-version", Version::MODERN_NEWEST.as_str())
            .header("mcp-method", method);
        if let Some(name) = name {
            request = request.header("mcp-name", name);
        }
        let request = request.body(Full::new(Bytes::from(body.to_string())))?;
        answer(self.send(request).await?).await
    }

    async fn send(&self, mut request: Request<Full<Bytes>>) -> anyhow::Result<Response<Body>> {
        if let Some(shown) = &self.shown {
            request.headers_mut().insert(AUTHORIZATION, shown.clone());
        }
        let response = HttpClient::new(&ClientSpec::default()).send(request).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            let base = &self.base;
            match self.shown {
                None => bail!(
                    "the gateway at {base} asks for a key: set {KEY} to one of its [auth] keys"
                ),
                Some(_) => bail!(
                    "the gateway at {base} does not know the key in {KEY}: set it to one of its [auth] keys"
                ),
            }
        }
        Ok(response)
    }
}

/// The address without `/mcp`, which people like to give too.
fn root(base: &str) -> &str {
    base.trim_end_matches('/').trim_end_matches("/mcp")
}

/// The JSON-RPC answer in a document or a stream.
async fn answer(response: Response<Body>) -> anyhow::Result<Value> {
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
