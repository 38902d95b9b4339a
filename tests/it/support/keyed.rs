//! A gateway with two keys, and clients that show one.

use std::time::Duration;

use serde_json::Value;

use super::client::{Open, initialize};
use super::upstream::config;
use super::{Gateway, Http, Reply};

/// The key of `alice`, which comes from a variable.
pub(crate) const ALICE: &str = "alices-Key-5f3a9c01d2";
/// The key of `bob`, which comes from a file.
pub(crate) const BOB: &str = "bobs-Key-77e0b4a6c8";

/// The keys of both.
const KEYS: &str = r#"keys = [{ name = "alice", key = "${ALICE_KEY}" }, { name = "bob", key = "${file:bob.key}" }]"#;

/// A gateway that asks for a key. `auth` are more keys of `[auth]`, `tables` the rest.
pub(crate) fn gateway(auth: &str, tables: &str) -> Gateway {
    gateway_with(auth, tables, &[])
}

/// The same with these variables.
pub(crate) fn gateway_with(auth: &str, tables: &str, variables: &[(&str, &str)]) -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bob.key"), format!("{BOB}\n")).unwrap();
    let variables = [&[("ALICE_KEY", ALICE)], variables].concat();
    Gateway::start_with(folder, &config(&format!("[auth]\n{KEYS}\n{auth}\n{tables}")), &variables)
}

/// A client that shows a key.
pub(crate) struct Shower {
    line: String,
    url: String,
}

impl Shower {
    /// One of a gateway.
    pub(crate) fn of(gateway: &Gateway, key: &str) -> Self {
        Self { line: format!("Bearer {key}"), url: gateway.url() }
    }

    fn with<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        [&[("Authorization", self.line.as_str())], more].concat()
    }

    /// A request to another path of the gateway.
    pub(crate) fn send(&self, method: &str, path: &str, more: &[(&str, &str)]) -> Reply {
        let url = self.url.replace("/mcp", path);
        Http::send(method, &url, &self.with(more), "")
    }

    /// A POST as MCP clients send it.
    pub(crate) fn post(&self, more: &[(&str, &str)], body: &str) -> Reply {
        Http::post(&self.url, &self.with(more), body)
    }

    /// A modern request: `params` is the text of the members beside `_meta`.
    pub(crate) fn modern(&self, method: &str, name: Option<&str>, params: &str) -> Reply {
        let (headers, body) = Http::modern_parts("1", method, name, params);
        self.post(&headers, &body)
    }

    /// A modern tool call; `arguments` is raw JSON.
    pub(crate) fn call(&self, tool: &str, arguments: &str) -> Reply {
        let params = format!(r#""name":"{tool}","arguments":{arguments}"#);
        self.modern("tools/call", Some(tool), &params)
    }

    /// The same, whose answer is read bit by bit. Dropping it hangs up, and so cancels.
    pub(crate) fn begin(&self, tool: &str, arguments: &str) -> Open {
        let params = format!(r#""name":"{tool}","arguments":{arguments}"#);
        let (headers, body) = Http::modern_parts("1", "tools/call", Some(tool), &params);
        Http::open(&self.url, &self.with(&headers), &body)
    }

    /// A legacy `initialize`.
    pub(crate) fn hello(&self, version: &str) -> Reply {
        self.post(&[], &initialize(version))
    }

    /// The id of a new session.
    #[track_caller]
    pub(crate) fn session(&self, version: &str) -> String {
        let hello = self.hello(version);
        assert_eq!(hello.verdict(), (200, 0), "{hello:?}");
        hello.header("mcp-session-id").unwrap().to_owned()
    }

    /// The standing stream of a session.
    pub(crate) fn stream(&self, session: &str) -> Open {
        let headers = [("Accept", "text/event-stream"), ("Mcp-Session-Id", session)];
        Http::get(&self.url, &self.with(&headers))
    }

    /// The value of one series of `GET /metrics`, 0 if it is not there.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let text = self.send("GET", "/metrics", &[]).body;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.and_then(|value| value.trim().parse().ok()).unwrap_or(0.0)
    }
}

/// The code, the kind and the wait of an error of the gateway's own.
#[track_caller]
pub(crate) fn refused(reply: &Reply) -> (i64, String, Duration) {
    let answer = reply.answer();
    refusal(&answer)
}

/// The same of a message.
#[track_caller]
pub(crate) fn refusal(answer: &Value) -> (i64, String, Duration) {
    let data = &answer["error"]["data"];
    assert_eq!(
        (&data["source"], &data["delivery"]),
        (&"gateway".into(), &"not_sent".into()),
        "{answer}"
    );
    let wait = Duration::from_millis(data["retryAfterMs"].as_u64().unwrap());
    (answer["error"]["code"].as_i64().unwrap(), data["kind"].as_str().unwrap().to_owned(), wait)
}
