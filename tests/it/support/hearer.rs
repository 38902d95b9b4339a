//! One client of either era over either transport that hears everything it is told: notes on the
//! way of a call, questions in the middle of it, and news that belong to no call.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::client::Open;
use super::{Era, Gateway, Http, Over, StdioClient};

/// The members of `_meta` by which news names its subscription.
const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// A client with a gateway of its own.
pub(crate) struct Hearer {
    /// The era it speaks.
    pub(crate) era: Era,
    /// What it was greeted with: the result of `initialize` or `server/discover`.
    pub(crate) greeting: Value,
    /// The text of what it declares.
    capabilities: &'static str,
    via: Via,
    /// The last id that it used.
    last: u64,
    /// News that came while it listened for something else.
    news: VecDeque<Value>,
    /// Where news comes on, if not on the pipe.
    standing: Option<Open>,
    /// The id of its subscription.
    subscription: Option<u64>,
}

enum Via {
    Pipe(StdioClient),
    Http { gateway: Gateway, session: Option<String> },
}

/// A request that was sent.
pub(crate) struct Begun {
    id: u64,
    open: Option<Open>,
}

/// What came back on a request.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Notifications on its way, in order.
    pub(crate) notes: Vec<Value>,
    /// Questions on its way, in order.
    pub(crate) questions: Vec<Value>,
    /// The whole answer.
    pub(crate) answer: Value,
}

impl Heard {
    /// The result; there is no error.
    #[track_caller]
    pub(crate) fn result(&self) -> &Value {
        assert!(self.answer["result"].is_object(), "{self:?}");
        &self.answer["result"]
    }

    /// The error; there is no result.
    #[track_caller]
    pub(crate) fn error(&self) -> &Value {
        assert!(self.answer["error"].is_object(), "{self:?}");
        &self.answer["error"]
    }

    /// The notifications of a method.
    pub(crate) fn notes_of(&self, method: &str) -> Vec<&Value> {
        self.notes.iter().filter(|note| note["method"] == method).collect()
    }
}

impl Hearer {
    /// Starts a gateway with this configuration and greets it in the way of the era.
    pub(crate) fn start(era: Era, over: Over, config: &str, capabilities: &'static str) -> Self {
        let via = match over {
            Over::Stdio => Via::Pipe(StdioClient::start(config)),
            Over::Http => Via::Http { gateway: Gateway::start(config), session: None },
        };
        let mut peer = Self {
            era,
            greeting: Value::Null,
            capabilities,
            via,
            last: 0,
            news: VecDeque::new(),
            standing: None,
            subscription: None,
        };
        peer.greeting = match era {
            Era::Legacy => peer.initialize(),
            Era::Modern => peer.ask("server/discover", "").result().clone(),
        };
        peer
    }

    /// Shakes hands once more: what is offered now.
    pub(crate) fn greet_again(&mut self) -> Value {
        self.initialize()
    }

    fn initialize(&mut self) -> Value {
        let hello = format!(
            r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{{"name":"peer","version":"1"}}}}}}"#,
            self.capabilities
        );
        let answer = match &mut self.via {
            Via::Pipe(pipe) => pipe.ask(&hello),
            Via::Http { gateway, session } => {
                let reply = Http::post(&gateway.url(), &[], &hello);
                *session = reply.header("mcp-session-id").map(str::to_owned);
                reply.answer()
            }
        };
        self.tell(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        answer["result"].clone()
    }

    // === requests ===

    /// Sends a request. `params` and `meta` are the texts of their members; in `params` those beside
    /// `_meta`.
    pub(crate) fn begin(&mut self, method: &str, params: &str, meta: &str) -> Begun {
        self.last += 1;
        let id = self.last;
        let meta = self.meta(meta);
        let comma = if params.is_empty() || meta.is_empty() { "" } else { "," };
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params}{comma}{meta}}}}}"#
        );
        let open = match &mut self.via {
            Via::Pipe(pipe) => {
                pipe.send(&body);
                None
            }
            Via::Http { gateway, session } => {
                let name = name(method, params);
                let headers = match (session.as_deref(), name.as_deref()) {
                    (Some(session), _) => vec![("Mcp-Session-Id", session)],
                    (None, name) => [
                        vec![("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", method)],
                        name.map(|name| ("Mcp-Name", name)).into_iter().collect(),
                    ]
                    .concat(),
                };
                Some(Http::open(&gateway.url(), &headers, &body))
            }
        };
        Begun { id, open }
    }

    fn meta(&self, more: &str) -> String {
        match (self.era, more) {
            (Era::Legacy, "") => String::new(),
            (Era::Legacy, more) => format!(r#""_meta":{{{more}}}"#),
            (Era::Modern, more) => {
                let comma = if more.is_empty() { "" } else { "," };
                let capabilities = self.capabilities;
                format!(
                    r#""_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{capabilities},"io.modelcontextprotocol/clientInfo":{{"name":"peer","version":"1"}}{comma}{more}}}"#
                )
            }
        }
    }

    /// Waits for the answer. `reply` says what each question on the way is answered with: a result.
    #[track_caller]
    pub(crate) fn finish(
        &mut self,
        mut begun: Begun,
        reply: &mut dyn FnMut(&Value) -> Value,
    ) -> Heard {
        let mut heard = Heard::default();
        loop {
            let message = match (&mut begun.open, &self.via) {
                (Some(open), _) => open.next().expect("an answer"),
                (None, Via::Pipe(pipe)) => pipe.next(),
                (None, Via::Http { .. }) => unreachable!("no stream of the call"),
            };
            let (id, method) = (&message["id"], message["method"].as_str());
            match method {
                None if *id == begun.id => {
                    heard.answer = message;
                    return heard;
                }
                None => panic!("an answer to nothing that is open: {message}"),
                Some(_) if !id.is_null() => {
                    assert_eq!(self.era, Era::Legacy, "a modern client was asked: {message}");
                    let answer = json!({"jsonrpc": "2.0", "id": id, "result": reply(&message)});
                    heard.questions.push(message);
                    self.tell(&answer.to_string());
                }
                Some("notifications/progress" | "notifications/message") => {
                    heard.notes.push(message);
                }
                Some(_) if begun.open.is_none() => self.news.push_back(message),
                Some(_) => panic!("news on the stream of a call: {message}"),
            }
        }
    }

    /// A request, and what came back. Nobody is asked anything.
    #[track_caller]
    pub(crate) fn ask(&mut self, method: &str, params: &str) -> Heard {
        self.ask_with(method, params, "")
    }

    /// The same with members of `_meta`.
    #[track_caller]
    pub(crate) fn ask_with(&mut self, method: &str, params: &str, meta: &str) -> Heard {
        let begun = self.begin(method, params, meta);
        self.finish(begun, &mut |question| panic!("asked: {question}"))
    }

    /// A tool call; `arguments` is the text of an object.
    #[track_caller]
    pub(crate) fn call(&mut self, tool: &str, arguments: &str) -> Heard {
        self.ask("tools/call", &call_of(tool, arguments))
    }

    /// Gives up a request in the way of the era and the transport, and checks that no answer comes.
    #[track_caller]
    pub(crate) fn cancel(&mut self, begun: Begun) {
        let note = json!({
            "jsonrpc": "2.0", "method": "notifications/cancelled",
            "params": {"requestId": begun.id, "reason": "enough"},
        });
        match (begun.open, self.era) {
            (Some(open), Era::Modern) => drop(open),
            (Some(mut open), Era::Legacy) => {
                self.tell(&note.to_string());
                assert_eq!(open.next(), None, "no answer after a cancel");
            }
            // Were there an answer, it would come while the next one is waited for.
            (None, _) => self.tell(&note.to_string()),
        }
    }

    /// Sends a message that has no answer.
    fn tell(&mut self, message: &str) {
        match &mut self.via {
            Via::Pipe(pipe) => pipe.send(message),
            Via::Http { gateway, session } => {
                let headers = session.iter().map(|id| ("Mcp-Session-Id", id.as_str()));
                let reply = Http::post(&gateway.url(), &headers.collect::<Vec<_>>(), message);
                assert_eq!(reply.status, 202, "{message}: {reply:?}");
            }
        }
    }

    // === news ===

    /// Listens for news from now on. `wish` is what a modern client wants to hear.
    #[track_caller]
    pub(crate) fn listen(&mut self, wish: &Value) {
        self.news.clear();
        match (self.era, &self.via) {
            (Era::Modern, _) => self.subscribe(wish),
            (Era::Legacy, Via::Pipe(_)) => {}
            (Era::Legacy, Via::Http { gateway, session }) => {
                let mut open = Http::open_get(&gateway.url(), session.as_deref().unwrap());
                assert_eq!(open.event().as_deref(), Some(":"), "a comment says that it stands");
                self.standing = Some(open);
            }
        }
    }

    fn subscribe(&mut self, wish: &Value) {
        let Begun { id, open } =
            self.begin("subscriptions/listen", &format!(r#""notifications":{wish}"#), "");
        self.subscription = Some(id);
        self.standing = open;
        // On a pipe the last words of an old subscription may come before.
        let ours = |message: &Value| message["params"]["_meta"][SUBSCRIPTION] == id;
        let first = std::iter::repeat_with(|| self.message()).find(ours).unwrap();
        assert_eq!(first["method"], "notifications/subscriptions/acknowledged", "{first}");
        assert_eq!(&first["params"]["notifications"], wish, "all of it is honoured");
    }

    /// The next message that is no answer.
    #[track_caller]
    fn message(&mut self) -> Value {
        match (self.news.pop_front(), &mut self.standing, &self.via) {
            (Some(message), _, _) => message,
            (None, Some(open), _) => open.next().expect("news"),
            (None, None, Via::Pipe(pipe)) => pipe.next(),
            (None, None, Via::Http { .. }) => panic!("nobody listens"),
        }
    }

    /// The next message that belongs to no call.
    #[track_caller]
    pub(crate) fn news(&mut self) -> Value {
        let message = self.message();
        assert!(message["id"].is_null() && message["method"].is_string(), "no news: {message}");
        let named = message["params"]["_meta"].get(SUBSCRIPTION);
        assert_eq!(named, self.subscription.map(Value::from).as_ref(), "{message}");
        message
    }

    /// Listens no more.
    #[track_caller]
    pub(crate) fn unlisten(&mut self) {
        let open = self.standing.take();
        match (self.subscription.take(), open) {
            (Some(id), None) => self.cancel(Begun { id, open: None }),
            (_, open) => drop(open),
        }
    }
}

/// The params of a tool call; `arguments` is the text of an object.
pub(crate) fn call_of(tool: &str, arguments: &str) -> String {
    format!(r#""name":"{tool}","arguments":{arguments}"#)
}

/// What a modern request is about, for its header.
fn name(method: &str, params: &str) -> Option<String> {
    let key = match method {
        "tools/call" | "prompts/get" => "name",
        "resources/read" => "uri",
        "tasks/get" | "tasks/update" | "tasks/cancel" => "taskId",
        _ => return None,
    };
    let params: Value = serde_json::from_str(&format!("{{{params}}}")).unwrap();
    params[key].as_str().map(str::to_owned)
}
