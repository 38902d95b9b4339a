//! One client of either era over either transport, so that a test can be written once for all four.

use serde_json::Value;

use super::{Gateway, Http, MODERN_META, StdioClient};

/// The era that a client or an upstream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Era {
    Legacy,
    Modern,
}

/// How bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    Stdio,
    Http,
}

/// A client with a gateway of its own.
pub(crate) struct Caller {
    era: Era,
    via: Via,
}

enum Via {
    Stdio(StdioClient),
    Http { gateway: Gateway, session: Option<String> },
}

impl Caller {
    /// Starts a gateway with this configuration, and greets it where the era wants that.
    pub(crate) fn start(era: Era, over: Over, config: &str) -> Self {
        let via = match over {
            Over::Stdio => {
                let mut pipe = StdioClient::start(config);
                if era == Era::Legacy {
                    assert!(pipe.handshake("2025-11-25")["result"].is_object());
                }
                Via::Stdio(pipe)
            }
            Over::Http => {
                let gateway = Gateway::start(config);
                let open = || Http::legacy_session(&gateway.url(), "2025-11-25");
                let session = (era == Era::Legacy).then(open);
                Via::Http { gateway, session }
            }
        };
        Self { era, via }
    }

    /// The whole answer to a request; `params` is the text of its members beside `_meta`.
    #[track_caller]
    pub(crate) fn ask(&mut self, method: &str, name: Option<&str>, params: &str) -> Value {
        let comma = if params.is_empty() { "" } else { "," };
        match self.era {
            Era::Legacy => self.ask_as(method, name, params),
            Era::Modern => self.ask_as(method, name, &format!("{params}{comma}{MODERN_META}")),
        }
    }

    /// The same where `params` is the text of all members.
    #[track_caller]
    pub(crate) fn ask_as(&mut self, method: &str, name: Option<&str>, params: &str) -> Value {
        let body =
            format!(r#"{{"jsonrpc":"2.0","id":"q","method":"{method}","params":{{{params}}}}}"#);
        match &mut self.via {
            Via::Stdio(pipe) => pipe.ask(&body),
            Via::Http { gateway, session: Some(session) } => {
                Http::post(&gateway.url(), &[("Mcp-Session-Id", session)], &body).answer()
            }
            Via::Http { gateway, session: None } => {
                let mut headers =
                    vec![("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", method)];
                headers.extend(name.map(|name| ("Mcp-Name", name)));
                Http::post(&gateway.url(), &headers, &body).answer()
            }
        }
    }

    /// The answer to a tool call; `arguments` is raw JSON.
    #[track_caller]
    pub(crate) fn call(&mut self, tool: &str, arguments: &str) -> Value {
        let params = format!(r#""name":"{tool}","arguments":{arguments}"#);
        self.ask("tools/call", Some(tool), &params)
    }

    /// The result of `tools/list`.
    #[track_caller]
    pub(crate) fn list(&mut self) -> Value {
        self.ask("tools/list", None, "")["result"].clone()
    }
}

/// The definition of a tool in the result of `tools/list`.
pub(crate) fn tool<'a>(list: &'a Value, name: &str) -> Option<&'a Value> {
    list["tools"].as_array()?.iter().find(|tool| tool["name"] == name)
}
