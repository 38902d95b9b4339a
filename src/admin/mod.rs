//! The operator routes: health and metrics. They read what is there and start nothing.

mod config;

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::base::clock;
use crate::gateway::gauges::Gauges;
use crate::gateway::status::{self, Health};
use crate::gateway::{Gateway, Snapshot, overview};
use crate::telemetry::Meters;

pub use config::ConfigStanding;

/// The operator routes as the front mounts them.
pub type Service = Arc<dyn Fn(&Parts) -> Option<Response<Bytes>> + Send + Sync>;

/// One upstream by its name.
const ONE_UPSTREAM: &str = "/api/v1/upstreams/";
/// Longest piece of a name that nobody has which an answer repeats, in characters.
const NAME_CHARS_SHOWN: usize = 60;
const PAGE: &str = include_str!("page.html");

/// The operator routes.
#[derive(Clone, Debug)]
pub struct Admin {
    gateway: Gateway,
    meters: Meters,
    gauges: Arc<Gauges>,
    config: Arc<ConfigStanding>,
    stopping: CancellationToken,
}

impl Admin {
    /// Routes over a gateway. `stopping` is cancelled when we stop taking calls.
    pub fn new(
        gateway: Gateway,
        meters: Meters,
        config: Arc<ConfigStanding>,
        stopping: CancellationToken,
    ) -> Self {
        let gauges = Arc::new(Gauges::new(meters.clone()));
        Self { gateway, meters, gauges, config, stopping }
    }

    /// The routes as one service; `None` where there is no such route.
    pub fn service(self) -> Service {
        Arc::new(move |parts| self.route(parts))
    }

    fn route(&self, parts: &Parts) -> Option<Response<Bytes>> {
        let answer = match parts.uri.path() {
            "/health" => self.health(),
            "/health/live" => json_answer(StatusCode::OK, &json!({ "status": "alive" })),
            "/health/ready" => self.ready(),
            "/api/v1/tools" => self.list(status::tools),
            "/api/v1/prompts" => self.list(status::prompts),
            "/api/v1/resources" => self.list(status::resources),
            "/api/v1/upstreams" => {
                self.list(|snapshot| overview::upstreams(snapshot, clock::now()))
            }
            path if path.starts_with(ONE_UPSTREAM) => {
                self.upstream(path.strip_prefix(ONE_UPSTREAM).unwrap_or_default())
            }
            "/metrics" => {
                self.gauges.show(&self.gateway, clock::now());
                text_answer("text/plain; version=0.0.4; charset=utf-8", self.meters.render())
            }
            "/" => text_answer("text/html; charset=utf-8", PAGE.to_owned()),
            _ => return None,
        };
        if matches!(parts.method, Method::GET | Method::HEAD) {
            return Some(answer);
        }
        let mut refused = Response::new(Bytes::new());
        *refused.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        refused.headers_mut().insert(http::header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        Some(refused)
    }

    fn list(&self, of: impl Fn(&Snapshot) -> Vec<Value>) -> Response<Bytes> {
        json_answer(StatusCode::OK, &Value::Array(of(&self.gateway.snapshot())))
    }

    fn upstream(&self, name: &str) -> Response<Bytes> {
        let snapshot = self.gateway.snapshot();
        if let Some(found) = overview::named(&snapshot, name, clock::now()) {
            return json_answer(StatusCode::OK, &found);
        }
        let known: Vec<&str> = snapshot.upstreams.iter().map(|u| u.spec.name.as_str()).collect();
        let name: String = name.chars().take(NAME_CHARS_SHOWN).collect();
        let detail = match known.as_slice() {
            [] => format!("there is no upstream {name:?}: none is configured"),
            known => format!("there is no upstream {name:?}; known: {}", known.join(", ")),
        };
        problem(StatusCode::NOT_FOUND, &detail)
    }

    fn health(&self) -> Response<Bytes> {
        let snapshot = self.gateway.snapshot();
        let health = status::overall(&snapshot);
        let code = match health {
            Health::Unhealthy => StatusCode::SERVICE_UNAVAILABLE,
            Health::Healthy | Health::Degraded | Health::Disabled => StatusCode::OK,
        };
        let mut body = json!({
            "status": health.as_str(),
            "timestamp": clock::wall_rfc3339(),
            "version": env!("CARGO_PKG_VERSION"),
            "services": status::services(&snapshot),
        });
        if let (Some(refused), Some(object)) = (self.config.refused(), body.as_object_mut()) {
            object.insert("config".to_owned(), refused);
        }
        json_answer(code, &body)
    }

    fn ready(&self) -> Response<Bytes> {
        if self.stopping.is_cancelled() {
            return json_answer(StatusCode::SERVICE_UNAVAILABLE, &json!({ "status": "stopping" }));
        }
        if status::ready(&self.gateway.snapshot()) {
            return json_answer(StatusCode::OK, &json!({ "status": "ready" }));
        }
        let body =
            json!({ "status": "waiting", "reason": "a required upstream has not answered yet" });
        json_answer(StatusCode::SERVICE_UNAVAILABLE, &body)
    }
}

/// A problem as RFC 9457 wants it.
fn problem(status: StatusCode, detail: &str) -> Response<Bytes> {
    let title = status.canonical_reason().unwrap_or_default();
    let body = json!({
        "type": "about:blank",
        "title": title,
        "status": status.as_u16(),
        "detail": detail,
    });
    let mut response = text_answer("application/problem+json", body.to_string());
    *response.status_mut() = status;
    response
}

fn json_answer(status: StatusCode, body: &Value) -> Response<Bytes> {
    let mut response = text_answer("application/json", body.to_string());
    *response.status_mut() = status;
    response
}

fn text_answer(kind: &'static str, body: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
