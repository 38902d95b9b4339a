//! The official Rust SDK at both ends: as a client of the gateway in each way it can begin, over
//! both transports, and as a server behind it.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{
    CallToolRequestParams, CallToolResult, ErrorCode, ProgressNotificationParam, ProtocolVersion,
    RequestMetaObject, ServerCapabilities, ServerConfig,
};
use rmcp::service::{RunningService, ServiceError};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::transport::{StreamableHttpClientTransport, TokioChildProcess};
use rmcp::{
    ClientLifecycleMode, ClientServiceExt as _, ErrorData, Peer, RoleClient, RoleServer,
    ServerHandler, tool, tool_handler, tool_router,
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::support::process::WAYPOST;
use crate::support::{Gateway, Http, PATIENCE, Reply, eventually};

const DEFAULT: &str = include_str!("../../gateway.toml");

type Client = RunningService<RoleClient, ()>;

// === rmcp as client ===

/// The three ways in which rmcp begins, with the version that must come of it.
fn lifecycles() -> [(ClientLifecycleMode, &'static str); 3] {
    let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
    [
        // It asks for its newest version, which has no handshake: we answer our newest that has.
        (ClientLifecycleMode::Initialize, "2025-11-25"),
        (
            ClientLifecycleMode::Discover { preferred_versions: preferred_versions.clone() },
            "2026-07-28",
        ),
        (ClientLifecycleMode::Auto { preferred_versions, legacy_version: None }, "2026-07-28"),
    ]
}

/// Runs a conversation; one that hangs fails.
fn talk(conversation: impl Future<Output = ()>) {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let limit = 2 * PATIENCE;
        assert!(tokio::time::timeout(limit, conversation).await.is_ok(), "the peers hang");
    });
    runtime.shutdown_background();
}

async fn call(
    client: &Client,
    tool: &str,
    arguments: Value,
) -> Result<CallToolResult, ServiceError> {
    let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
    let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
    client.call_tool(params).await
}

/// Everything that a client does, whichever way it began.
async fn converse(client: &Client, version: &str) {
    let server = client.peer_info().expect("what the gateway says of itself");
    assert_eq!(server.protocol_version.as_str(), version);
    assert_eq!(server.server_info.as_ref().map(|info| info.name.as_str()), Some("waypost"));
    assert!(server.capabilities.tools.is_some());

    let tools = client.list_all_tools().await.unwrap();
    let names: BTreeSet<&str> = tools.iter().map(|tool| tool.name.as_ref()).collect();
    assert_eq!(names.len(), tools.len(), "a name is there twice");
    for name in ["echo", "get_weather", "demo__whoami", "demo__add", "demo__sleep"] {
        assert!(names.contains(name), "{name} is not among {names:?}");
    }

    echo(client).await;
    let mut replicas = BTreeSet::new();
    while replicas.len() < 3 {
        let result = call(client, "demo__whoami", json!({})).await.unwrap();
        let who = result.structured_content.unwrap();
        replicas.insert(who["name"].as_str().unwrap().to_owned());
    }
    assert_eq!(replicas.into_iter().collect::<Vec<_>>(), ["a", "b", "c"]);

    match call(client, "demo__nobody", json!({})).await {
        Err(ServiceError::McpError(error)) => {
            assert_eq!(error.code, ErrorCode::INVALID_PARAMS);
            assert!(error.message.contains("demo__nobody"), "{error:?}");
        }
        other => panic!("an unknown tool answers {other:?}"),
    }
    // Bad arguments are a result that a model can read.
    let refused = call(client, "echo", json!({ "message": 7 })).await.unwrap();
    assert_eq!(refused.is_error, Some(true), "{refused:?}");
    echo(client).await;
}

async fn echo(client: &Client) {
    let result = call(client, "echo", json!({ "message": "grüß dich" })).await.unwrap();
    assert_eq!(result.structured_content, Some(json!({ "message": "grüß dich", "length": 9 })));
    assert_eq!(result.content[0].as_text().unwrap().text, "grüß dich");
    assert_ne!(result.is_error, Some(true));
}

#[test]
fn rmcp_begins_in_all_its_ways_over_stdio() {
    for (lifecycle, version) in lifecycles() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.toml");
        std::fs::write(&file, DEFAULT).unwrap();
        talk(async {
            let mut command = tokio::process::Command::new(WAYPOST);
            command.args(["stdio", "--config"]).arg(&file);
            command.env("XDG_CACHE_HOME", folder.path().join("cache"));
            let builder = TokioChildProcess::builder(command).stderr(std::process::Stdio::null());
            let (child, _) = builder.spawn().unwrap();
            let client = ().serve_with_lifecycle(child, lifecycle).await.unwrap();
            converse(&client, version).await;
            client.cancel().await.unwrap();
        });
    }
}

#[test]
fn rmcp_begins_in_all_its_ways_over_http() {
    let gateway = Gateway::start(DEFAULT);
    for (lifecycle, version) in lifecycles() {
        talk(async {
            let transport = StreamableHttpClientTransport::from_uri(gateway.url());
            let client = ().serve_with_lifecycle(transport, lifecycle).await.unwrap();
            converse(&client, version).await;
            client.cancel().await.unwrap();
        });
    }
    // One handshake, and no more: the modern ways need none.
    let seen = metrics(&gateway);
    for (method, count) in [("initialize", 1), ("server/discover", 2)] {
        let key = format!(r#"mcp_method_requests_total{{method="{method}",status="success"}}"#);
        let line = seen.lines().find(|line| line.starts_with(&key));
        assert_eq!(line, Some(format!("{key} {count}").as_str()));
    }
    // rmcp ends its session when it goes.
    eventually("the session to end", || {
        metrics(&gateway)
            .lines()
            .any(|line| line == r#"mcp_sessions{era="legacy"} 0"#)
            .then_some(())
    });
}

fn metrics(gateway: &Gateway) -> String {
    Http::send("GET", &format!("{}/metrics", gateway.base), &[], "").body
}

#[test]
fn rmcp_may_ask_for_any_version_with_a_handshake() {
    let gateway = Gateway::start("");
    for version in [
        ProtocolVersion::V_2024_11_05,
        ProtocolVersion::V_2025_03_26,
        ProtocolVersion::V_2025_06_18,
        ProtocolVersion::V_2025_11_25,
    ] {
        talk(async {
            let mut config = rmcp::model::ClientConfig::default();
            config.protocol_version = version.clone();
            let transport = StreamableHttpClientTransport::from_uri(gateway.url());
            let lifecycle = ClientLifecycleMode::Initialize;
            let client = config.serve_with_lifecycle(transport, lifecycle).await.unwrap();
            assert_eq!(client.peer_info().unwrap().protocol_version, version);
            assert!(client.list_all_tools().await.unwrap().iter().any(|tool| tool.name == "echo"));
            client.cancel().await.unwrap();
        });
    }
}

// === rmcp as upstream ===

/// Two numbers.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
struct Numbers {
    a: i64,
    b: i64,
}

/// A small server as its authors show it.
#[derive(Debug, Clone)]
struct Adder {
    #[expect(dead_code, reason = "the macros take it from here")]
    tool_router: ToolRouter<Self>,
}

#[tool_router]
impl Adder {
    #[tool(description = "Adds two numbers.")]
    fn sum(Parameters(Numbers { a, b }): Parameters<Numbers>) -> String {
        (a + b).to_string()
    }

    #[tool(description = "Counts to three, and says so.")]
    async fn count(meta: RequestMetaObject, client: Peer<RoleServer>) -> Result<String, ErrorData> {
        let token = meta.get_progress_token();
        for step in [1.0, 2.0, 3.0] {
            if let Some(token) = token.clone() {
                let note = ProgressNotificationParam::new(token, step).with_total(3.0);
                client.notify_progress(note).await.map_err(|error| {
                    ErrorData::internal_error(format!("no progress: {error}"), None)
                })?;
            }
        }
        Ok("three".to_owned())
    }

    #[tool(description = "Refuses.")]
    fn refuse() -> Result<String, ErrorData> {
        Err(ErrorData::new(ErrorCode(-32_050), "as asked", Some(json!({ "why": "asked" }))))
    }
}

#[tool_handler]
impl ServerHandler for Adder {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }
}

/// An rmcp server in this process.
struct Server {
    runtime: Option<Runtime>,
    url: String,
}

impl Server {
    fn start(config: StreamableHttpServerConfig) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let service = StreamableHttpService::new(
            || Ok(Adder { tool_router: Adder::tool_router() }),
            Arc::<LocalSessionManager>::default(),
            config,
        );
        // The task lives as long as the runtime.
        drop(runtime.handle().spawn(serve(listener, service)));
        Self { runtime: Some(runtime), url }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(
    listener: tokio::net::TcpListener,
    service: StreamableHttpService<Adder, LocalSessionManager>,
) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let service = service.clone();
        let each = hyper::service::service_fn(move |request| {
            let service = service.clone();
            async move { Ok::<_, Infallible>(service.handle(request).await) }
        });
        let http = hyper::server::conn::http1::Builder::new();
        connections.spawn(http.serve_connection(TokioIo::new(socket), each));
    }
}

/// Who calls, from outside.
enum Caller<'g> {
    Modern(&'g Gateway),
    Legacy(&'g Gateway, String),
}

impl Caller<'_> {
    fn call(&self, tool: &str, arguments: &str, meta: &str) -> Reply {
        match self {
            Self::Modern(gateway) if meta.is_empty() => {
                Http::modern_call(&gateway.url(), tool, arguments)
            }
            Self::Modern(gateway) => {
                let body = format!(
                    r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments},"_meta":{{{meta},"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}},"io.modelcontextprotocol/clientInfo":{{"name":"raw","version":"1"}}}}}}}}"#
                );
                let headers = [
                    ("MCP-Protocol-Version", "2026-07-28"),
                    ("Mcp-Method", "tools/call"),
                    ("Mcp-Name", tool),
                ];
                Http::post(&gateway.url(), &headers, &body)
            }
            Self::Legacy(gateway, session) => {
                let params =
                    format!(r#"{{"name":"{tool}","arguments":{arguments},"_meta":{{{meta}}}}}"#);
                Http::legacy(&gateway.url(), session, "1", "tools/call", &params)
            }
        }
    }
}

/// What a caller of either era finds behind the gateway.
fn use_upstream(caller: &Caller<'_>) {
    let sum = caller.call("peer__sum", r#"{"a":40,"b":2}"#, "");
    assert_eq!(sum.answer()["result"]["content"][0]["text"], "42", "{sum:?}");
    let modern = matches!(caller, Caller::Modern(_));
    assert_eq!(sum.answer()["result"].get("resultType").is_some(), modern, "{sum:?}");

    let refused = caller.call("peer__refuse", "{}", "").answer();
    assert_eq!(refused["error"]["code"], -32_050, "{refused}");
    assert_eq!(refused["error"]["message"], "as asked");
    assert_eq!(refused["error"]["data"], json!({ "why": "asked" }));

    let counted = caller.call("peer__count", "{}", r#""progressToken":"mine""#);
    assert_eq!(counted.answer()["result"]["content"][0]["text"], "three", "{counted:?}");
    let messages = counted.messages();
    let steps: Vec<&Value> = messages
        .iter()
        .filter(|message| message["method"] == "notifications/progress")
        .map(|message| {
            assert_eq!(message["params"]["progressToken"], "mine");
            &message["params"]["progress"]
        })
        .collect();
    assert_eq!(steps.len(), 3, "{counted:?}");
    assert!(steps.iter().zip([1.0, 2.0, 3.0]).all(|(step, at)| step.as_f64() == Some(at)));

    let unknown = caller.call("peer__nobody", "{}", "").verdict();
    assert_eq!(unknown, (200, -32_602));
    let sum = caller.call("peer__sum", r#"{"a":-1,"b":1}"#, "");
    assert_eq!(sum.answer()["result"]["content"][0]["text"], "0");
}

/// One rmcp server behind the gateway, one era towards it, both eras in front.
fn behind(config: StreamableHttpServerConfig, era: &str, version: &str) {
    let server = Server::start(config);
    let gateway = Gateway::start(&format!(
        "[upstreams.peer]\nera = \"{era}\"\n[[upstreams.peer.replicas]]\nurl = \"{}\"\n",
        server.url
    ));
    eventually("the tools of the peer", || {
        let tools = Http::tools(&gateway.url());
        ["sum", "count", "refuse"]
            .iter()
            .all(|tool| tools.iter().any(|known| *known == format!("peer__{tool}")))
            .then_some(())
    });
    let health = Http::send("GET", &format!("{}/health", gateway.base), &[], "").answer();
    let replica = &health["services"]["peer"]["replicas"][0];
    assert_eq!((&replica["state"], &replica["version"]), (&json!("up"), &json!(version)));
    use_upstream(&Caller::Modern(&gateway));
    let session = Http::legacy_session(&gateway.url(), "2025-11-25");
    use_upstream(&Caller::Legacy(&gateway, session));
    assert_eq!(gateway.terminate(), 0);
}

fn with_sessions() -> StreamableHttpServerConfig {
    StreamableHttpServerConfig::default().with_sse_keep_alive(Some(Duration::from_secs(5)))
}

fn stateless() -> StreamableHttpServerConfig {
    StreamableHttpServerConfig::default().with_legacy_session_mode(false)
}

#[test]
fn rmcp_behind_us_with_sessions_is_asked_its_era() {
    behind(with_sessions(), "auto", "2026-07-28");
}

#[test]
fn rmcp_behind_us_with_sessions_speaks_legacy_if_told() {
    behind(with_sessions(), "legacy", "2025-11-25");
}

#[test]
fn rmcp_behind_us_without_sessions_is_asked_its_era() {
    behind(stateless(), "auto", "2026-07-28");
}

#[test]
fn rmcp_behind_us_without_sessions_speaks_legacy_if_told() {
    behind(stateless(), "legacy", "2025-11-25");
}

#[test]
fn rmcp_behind_us_may_answer_in_plain_json() {
    behind(stateless().with_json_response(true), "modern", "2026-07-28");
}
