//! A legacy client over HTTP: one session, in which several calls can run and be asked about.

use serde_json::{Value, json};

use super::client::{Open, initialize_able};
use super::{Gateway, Http, Reply};

/// One session.
pub(crate) struct Session {
    url: String,
    /// Its id.
    pub(crate) id: String,
}

impl Session {
    /// Shakes hands as a client that declares these capabilities, raw JSON.
    #[track_caller]
    pub(crate) fn open(gateway: &Gateway, capabilities: &str) -> Self {
        Self::of(gateway, "2025-11-25", capabilities)
    }

    /// The same in another revision.
    #[track_caller]
    pub(crate) fn of(gateway: &Gateway, version: &str, capabilities: &str) -> Self {
        let url = gateway.url();
        let hello = Http::post(&url, &[], &initialize_able(version, capabilities));
        assert_eq!(hello.verdict(), (200, 0), "{hello:?}");
        let id = hello.header("mcp-session-id").unwrap().to_owned();
        let session = Self { url, id };
        let note = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        assert_eq!(session.post(note).status, 202);
        session
    }

    fn headers(&self) -> [(&'static str, &str); 1] {
        [("Mcp-Session-Id", self.id.as_str())]
    }

    /// Posts a body as it is.
    pub(crate) fn post(&self, body: &str) -> Reply {
        Http::post(&self.url, &self.headers(), body)
    }

    /// Posts a body whose answer is read bit by bit.
    pub(crate) fn begin(&self, body: &str) -> Open {
        Http::open(&self.url, &self.headers(), body)
    }

    /// A request; `params` is a raw object.
    pub(crate) fn ask(&self, method: &str, params: &str) -> Reply {
        Http::legacy(&self.url, &self.id, "1", method, params)
    }

    /// A call; `arguments` is raw JSON.
    pub(crate) fn call(&self, tool: &str, arguments: &str) -> Reply {
        Http::legacy_call(&self.url, &self.id, tool, arguments)
    }

    /// A call under this raw id whose answer is read bit by bit.
    pub(crate) fn start(&self, id: &str, tool: &str) -> Open {
        self.begin(&call(id, tool, ""))
    }

    /// Answers a question; `body` is `{"result": …}` or `{"error": …}`.
    #[track_caller]
    pub(crate) fn answer(&self, question: &Value, body: &Value) {
        let mut message = json!({"jsonrpc": "2.0", "id": question["id"]});
        message.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let reply = self.post(&message.to_string());
        assert_eq!((reply.status, reply.body.as_str()), (202, ""), "{message}");
    }

    /// Cancels the request of this raw id.
    #[track_caller]
    pub(crate) fn cancel(&self, id: &str) {
        let reply = self.post(&cancel(id));
        assert_eq!((reply.status, reply.body.as_str()), (202, ""));
    }

    /// Its standing stream.
    pub(crate) fn stream(&self) -> Open {
        Http::open_get(&self.url, &self.id)
    }

    /// The names of the tools it sees.
    #[track_caller]
    pub(crate) fn tools(&self) -> Vec<String> {
        let answer = self.ask("tools/list", "{}").answer();
        let tools = answer["result"]["tools"].as_array().unwrap().clone();
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }
}

/// A `tools/call` under this raw id; `more` is the text of params beside the name.
pub(crate) fn call(id: &str, tool: &str, more: &str) -> String {
    let comma = if more.is_empty() { "" } else { "," };
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}"{comma}{more}}}}}"#
    )
}

/// A cancellation of the request of this raw id.
pub(crate) fn cancel(id: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#
    )
}
