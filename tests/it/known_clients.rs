//! Known clients in an interactive call, from their greeting on to the answer of a question. Nothing
//! here was recorded: the bytes are rebuilt from descriptions of what those clients send, as in
//! `handshakes`, so they show the shape of a conversation, not every detail of a release.

use serde_json::{Value, json};

use crate::support::client::Open;
use crate::support::upstream::{Upstream, config};
use crate::support::{Gateway, Http, Over, StdioClient, eventually};

const NOTE: &str = r#"{"method":"notifications/initialized","jsonrpc":"2.0"}"#;

/// A client with a gateway of its own, in front of a server whose tool `ask` asks for a word.
struct Client {
    way: Way,
    /// What its requests carry over HTTP since its handshake.
    session: Option<(String, &'static str)>,
    _upstream: Upstream,
}

enum Way {
    Pipe(StdioClient),
    Http(Gateway),
}

/// What comes for one request.
enum Coming {
    Pipe,
    Http(Box<Open>),
}

impl Client {
    fn start(over: Over, era: &str) -> Self {
        let args = ["--quirk", "ask", "--era", era];
        // Whatever the client's transport is, the server has the other one.
        let (upstream, way) = match over {
            Over::Stdio => {
                let upstream = Upstream::url(&args);
                let pipe = StdioClient::start(&config(&upstream.replica("u")));
                (upstream, Way::Pipe(pipe))
            }
            Over::Http => {
                let upstream = Upstream::pipe(&args);
                let gateway = Gateway::start(&config(&upstream.replica("u")));
                (upstream, Way::Http(gateway))
            }
        };
        Self { way, session: None, _upstream: upstream }
    }

    fn begins(&mut self, headers: &[(&str, &str)], body: &str) -> Coming {
        match &mut self.way {
            Way::Pipe(pipe) => {
                pipe.send(body);
                Coming::Pipe
            }
            Way::Http(gateway) => {
                let session = self.session.as_ref().map(|(id, version)| {
                    [("mcp-session-id", id.as_str()), ("mcp-protocol-version", *version)]
                });
                let headers = [session.iter().flatten().copied().collect(), headers.to_vec()];
                Coming::Http(Box::new(Http::open(&gateway.url(), &headers.concat(), body)))
            }
        }
    }

    #[track_caller]
    fn next(&mut self, coming: &mut Coming) -> Value {
        match (coming, &mut self.way) {
            (Coming::Http(open), _) => open.next().unwrap(),
            (Coming::Pipe, Way::Pipe(pipe)) => pipe.next(),
            (Coming::Pipe, Way::Http(_)) => unreachable!("it has no pipe"),
        }
    }

    /// The whole answer to a request.
    #[track_caller]
    fn asks(&mut self, headers: &[(&str, &str)], body: &str) -> Value {
        let mut coming = self.begins(headers, body);
        self.next(&mut coming)
    }

    /// Something without an answer.
    #[track_caller]
    fn says(&mut self, body: &str) {
        if let Coming::Http(mut open) = self.begins(&[], body) {
            assert_eq!(open.status(), 202, "{body}");
        }
    }

    /// A legacy handshake in the client's own words.
    #[track_caller]
    fn greets(&mut self, hello: &str, version: &'static str) {
        let mut coming = self.begins(&[], hello);
        if let Coming::Http(open) = &mut coming {
            self.session = Some((open.header("mcp-session-id").unwrap(), version));
        }
        let welcome = self.next(&mut coming);
        assert_eq!(welcome["result"]["protocolVersion"], version, "{welcome}");
        self.says(NOTE);
    }

    /// A call of `ask` that is asked on the way, and answered: its id, and the rest of its params.
    #[track_caller]
    fn is_asked(&mut self, id: u64, more: &str) {
        let call = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"u__ask","arguments":{{}},{more}}}}}"#
        );
        let mut coming = self.begins(&[], &call);
        let question = self.next(&mut coming);
        assert_eq!(question["method"], "elicitation/create", "{question}");
        assert!(question["params"]["requestedSchema"].is_object(), "{question}");
        let answer = json!({"action": "accept", "content": {"word": "ü"}});
        let answer = json!({"jsonrpc": "2.0", "id": question["id"], "result": answer});
        self.says(&answer.to_string());
        let done = self.next(&mut coming);
        assert_eq!(
            (&done["id"], &done["result"]["structuredContent"]["action"]),
            (&json!(id), &json!("accept")),
            "{done}"
        );
        assert!(done["result"].get("resultType").is_none(), "{done}");
    }
}

/// Both transports of the client, with servers of both eras.
fn each(check: impl Fn(Client)) {
    for over in [Over::Stdio, Over::Http] {
        for era in ["legacy", "modern"] {
            check(Client::start(over, era));
        }
    }
}

#[test]
fn claude_code_is_asked_in_the_middle_of_a_call() {
    each(|mut client| {
        client.greets(
            r#"{"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"roots":{},"elicitation":{"form":{},"url":{}}},"clientInfo":{"name":"claude-code","title":"Claude Code","version":"2.1.258","websiteUrl":"https://claude.com/claude-code"}},"jsonrpc":"2.0","id":0}"#,
            "2025-11-25",
        );
        client.is_asked(3, r#""_meta":{"claudecode/toolUseId":"toolu_01A"}"#);
    });
}

#[test]
fn codex_is_asked_in_the_middle_of_a_call() {
    each(|mut client| {
        client.greets(
            r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{"elicitation":{}},"clientInfo":{"name":"codex-mcp-client","title":"Codex","version":"0.130.0"}}}"#,
            "2025-06-18",
        );
        client.is_asked(2, r#""_meta":{"x-codex-turn-metadata":{"turn_id":"t"}}"#);
    });
}

/// What a modern client says of itself in each request.
fn claim(name: &str, version: &str) -> String {
    format!(
        r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{"elicitation":{{"form":{{}},"url":{{}}}}}},"io.modelcontextprotocol/clientInfo":{{"name":"{name}","version":"{version}"}}"#
    )
}

const MODERN: (&str, &str) = ("mcp-protocol-version", "2026-07-28");

#[track_caller]
fn discovers(client: &mut Client, claim: &str) {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":"discover-1","method":"server/discover","params":{{"_meta":{{{claim}}}}}}}"#
    );
    let found = client.asks(&[MODERN, ("mcp-method", "server/discover")], &body);
    assert_eq!(found["result"]["supportedVersions"], json!(["2026-07-28"]), "{found}");
}

#[test]
fn copilot_discovers_shakes_hands_and_is_asked_in_the_middle_of_a_call() {
    each(|mut client| {
        discovers(&mut client, &claim("copilot-cli", "1.0.0"));
        client.greets(
            r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"elicitation":{"form":{},"url":{}}},"clientInfo":{"name":"copilot-cli","version":"1.0.0"}}}"#,
            "2025-11-25",
        );
        client.is_asked(3, r#""_meta":{}"#);
    });
}

#[test]
fn claude_code_discovers_is_asked_by_a_result_and_comes_back() {
    each(|mut client| {
        let claim = claim("claude-code", "2.1.317");
        discovers(&mut client, &claim);
        let headers = [MODERN, ("mcp-method", "tools/call"), ("mcp-name", "u__ask")];
        let meta = format!(r#""_meta":{{{claim},"claudecode/toolUseId":"toolu_01A"}}"#);
        let call = |id: u64, more: &str| {
            format!(
                r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"u__ask","arguments":{{}}{more},{meta}}}}}"#
            )
        };
        let asked = eventually("the question", || {
            let asked = client.asks(&headers, &call(2, ""));
            (asked["result"]["resultType"] == "input_required").then_some(asked)
        });
        let result = &asked["result"];
        let answers: serde_json::Map<String, Value> = result["inputRequests"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(key, question)| {
                assert_eq!(question["method"], "elicitation/create", "{asked}");
                (key.clone(), json!({"action": "accept", "content": {"word": "ü"}}))
            })
            .collect();
        let more = format!(
            r#","inputResponses":{},"requestState":{}"#,
            Value::Object(answers),
            result["requestState"]
        );
        let done = client.asks(&headers, &call(3, &more));
        assert_eq!(done["id"], 3, "{done}");
        assert_eq!(done["result"]["resultType"], "complete", "{done}");
        assert_eq!(done["result"]["structuredContent"]["action"], "accept", "{done}");
    });
}
