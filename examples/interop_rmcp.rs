//! The official Rust SDK as a client of `tests/interop/run`. It does the same steps as
//! `tests/interop/clients/drive.mjs` and prints the same JSON line.
//!
//! MODE is `legacy` (initialize), `modern` (server/discover and nothing else) or `auto`
//! (server/discover first).
//!
//! Usage: `interop_rmcp PLAN MODE http URL`, or `interop_rmcp PLAN MODE stdio COMMAND [ARG...]`

use std::fmt::Debug;
use std::io::{Write as _, stderr, stdout};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rmcp::model::{
    CallToolRequestParams, CallToolResult, JsonObject, PaginatedRequestParams, ProtocolVersion,
};
use rmcp::service::{QuitReason, RunningService, ServiceError};
use rmcp::transport::{StreamableHttpClientTransport, TokioChildProcess};
use rmcp::{ClientCacheConfig, ClientLifecycleMode, ClientServiceExt as _, RoleClient};
use serde::{Deserialize, Serialize};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

type Client = RunningService<RoleClient, ()>;
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const USAGE: &str = "usage: interop_rmcp PLAN MODE (http URL | stdio COMMAND [ARG...])";
const PAGES: usize = 100;
/// How soon the tools are asked for again while some are missing.
const AGAIN: Duration = Duration::from_millis(250);

/// What the runner wants done.
#[derive(Debug, Deserialize)]
struct Plan {
    wait_seconds: u64,
    timeout_seconds: u64,
    unknown: String,
    calls: Vec<Call>,
}

#[derive(Debug, Deserialize)]
struct Call {
    tool: String,
    args: JsonObject,
}

/// What came. Judging it is the runner's work.
#[derive(Debug, Serialize)]
struct Report {
    client: &'static str,
    mode: String,
    transport: String,
    era_negotiated: Option<String>,
    tools: Vec<String>,
    calls: Vec<Called>,
    unknown: Option<Unknown>,
    stray_errors: Vec<String>,
    ok: bool,
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Called {
    tool: String,
    is_error: bool,
    text: String,
}

#[derive(Debug, Serialize)]
struct Unknown {
    code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_error: Option<bool>,
    message: String,
}

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let told = writeln!(stderr(), "interop_rmcp: {error}");
            drop(told); // whoever would read it is gone
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> Result<bool> {
    let [plan, mode, transport, target @ ..] = arguments else {
        return Err(USAGE.into());
    };
    let plan: Plan = serde_json::from_slice(&std::fs::read(plan)?)?;
    let notes = Notes::default();
    let levels = Targets::new().with_target("rmcp", Level::WARN).with_targets(READERS);
    tracing_subscriber::registry().with(notes.clone().with_filter(levels)).try_init()?;

    let mut report = Report {
        client: "rmcp",
        mode: mode.clone(),
        transport: transport.clone(),
        era_negotiated: None,
        tools: Vec::new(),
        calls: Vec::new(),
        unknown: None,
        stray_errors: Vec::new(),
        ok: false,
        error: None,
    };
    let runtime = tokio::runtime::Runtime::new()?;
    let driven = runtime.block_on(drive(&plan, target, &notes, &mut report));
    // A stuck transport must not hold the process.
    runtime.shutdown_background();
    let noted = std::mem::take(&mut *notes.0.lock());
    report.ok = driven.is_ok();
    report.error = driven.err().map(|error| format!("{}: {error}", noted.step));
    report.stray_errors = noted.strays;
    writeln!(stdout(), "{}", serde_json::to_string(&report)?)?;
    Ok(report.ok)
}

// === the steps ===

async fn drive(plan: &Plan, target: &[String], notes: &Notes, report: &mut Report) -> Result<()> {
    let limit = Duration::from_secs(plan.timeout_seconds);
    notes.step("connecting");
    let connecting = connect(&report.mode, &report.transport, target);
    let client = tokio::time::timeout(limit, connecting).await??;
    let conversed = converse(&client, plan, notes, report).await;
    if conversed.is_ok() {
        notes.step(CLOSING);
    }
    let closed = tokio::time::timeout(limit, client.cancel()).await;
    conversed?;
    match closed?? {
        QuitReason::Cancelled => Ok(()),
        early => Err(format!("the connection had ended: {early:?}").into()),
    }
}

async fn connect(mode: &str, transport: &str, target: &[String]) -> Result<Client> {
    let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
    let lifecycle = match mode {
        "legacy" => ClientLifecycleMode::Initialize,
        "modern" => ClientLifecycleMode::Discover { preferred_versions },
        "auto" => ClientLifecycleMode::Auto { preferred_versions, legacy_version: None },
        _ => return Err(USAGE.into()),
    };
    match (transport, target) {
        ("http", [url]) => {
            let transport = StreamableHttpClientTransport::from_uri(url.as_str());
            Ok(().serve_with_lifecycle(transport, lifecycle).await?)
        }
        ("stdio", [program, arguments @ ..]) => {
            let mut command = tokio::process::Command::new(program);
            command.args(arguments);
            let child = TokioChildProcess::new(command)?;
            Ok(().serve_with_lifecycle(child, lifecycle).await?)
        }
        _ => Err(USAGE.into()),
    }
}

async fn converse(client: &Client, plan: &Plan, notes: &Notes, report: &mut Report) -> Result<()> {
    // Each list comes from the gateway.
    client.set_response_cache_config(ClientCacheConfig::disabled()).await;
    report.era_negotiated = client.peer_info().map(|server| server.protocol_version.to_string());

    // A gateway answers before slow upstreams are up, so ask again until all are there.
    notes.step("listing tools");
    let limit = Duration::from_secs(plan.timeout_seconds);
    let listing = async {
        loop {
            report.tools = list(client, limit).await?;
            if plan.calls.iter().all(|call| report.tools.contains(&call.tool)) {
                return Ok(());
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    // If some are still missing then, the runner sees it in the report.
    let wait = Duration::from_secs(plan.wait_seconds);
    tokio::time::timeout(wait, listing).await.unwrap_or(Ok::<_, ServiceError>(()))?;

    for each in &plan.calls {
        notes.step(&format!("calling {}", each.tool));
        report.calls.push(checked(client, each, limit).await?);
    }

    notes.step(&format!("calling the unknown tool {}", plan.unknown));
    report.unknown = Some(match call(client, &plan.unknown, JsonObject::new(), limit).await {
        Ok(result) => Unknown {
            code: None,
            is_error: Some(result.is_error == Some(true)),
            message: text_of(&result),
        },
        Err(ServiceError::McpError(error)) => {
            Unknown { code: Some(error.code.0), is_error: None, message: error.message.into() }
        }
        Err(error) => return Err(error.into()),
    });

    // The error must not have cost the connection.
    if let Some(first) = plan.calls.first() {
        notes.step(&format!("calling {} again", first.tool));
        report.calls.push(checked(client, first, limit).await?);
    }
    Ok(())
}

/// The names of the tools of every page.
async fn list(client: &Client, limit: Duration) -> std::result::Result<Vec<String>, ServiceError> {
    let (mut names, mut cursor) = (Vec::new(), None);
    for _ in 0..PAGES {
        let params = PaginatedRequestParams::default().with_cursor(cursor);
        let page = within(limit, client.list_tools(Some(params))).await?;
        names.extend(page.tools.into_iter().map(|tool| tool.name.into_owned()));
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(names);
        }
    }
    // It never came to its last page.
    Err(ServiceError::UnexpectedResponse)
}

async fn checked(client: &Client, each: &Call, limit: Duration) -> Result<Called> {
    let result = call(client, &each.tool, each.args.clone(), limit).await?;
    let is_error = result.is_error == Some(true);
    Ok(Called { tool: each.tool.clone(), is_error, text: text_of(&result) })
}

async fn call(
    client: &Client,
    tool: &str,
    arguments: JsonObject,
    limit: Duration,
) -> std::result::Result<CallToolResult, ServiceError> {
    let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
    within(limit, client.call_tool(params)).await
}

/// One request, in bounded time.
async fn within<T>(
    limit: Duration,
    request: impl Future<Output = std::result::Result<T, ServiceError>>,
) -> std::result::Result<T, ServiceError> {
    let answered = tokio::time::timeout(limit, request).await;
    answered.unwrap_or(Err(ServiceError::Timeout { timeout: limit }))
}

fn text_of(result: &CallToolResult) -> String {
    let texts = result.content.iter().filter_map(|block| block.as_text());
    texts.map(|block| block.text.as_str()).collect::<Vec<_>>().join("\n")
}

// === what goes wrong beside the steps ===

const CLOSING: &str = "closing";

/// What no request waits for is told by rmcp in its log alone: a broken stream or a message out of
/// turn as a warning, but what it cannot read at all, such as text on standard output that is no
/// message, at a lower level, from here and in these words.
const READERS: [(&str, Level); 2] = [
    ("rmcp::transport::async_rw", Level::DEBUG),
    ("rmcp::transport::common::client_side_sse", Level::DEBUG),
];
const UNREADABLE: [&str; 3] =
    ["Ignoring unparsable", "Protocol error on incoming", "failed to deserialize"];

/// The step that is under way and the complaints that came during the steps.
#[derive(Debug, Clone, Default)]
struct Notes(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    step: String,
    strays: Vec<String>,
}

impl Notes {
    fn step(&self, name: &str) {
        name.clone_into(&mut self.0.lock().step);
    }
}

impl<S: Subscriber> Layer<S> for Notes {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut words = Words(Vec::new());
        event.record(&mut words);
        let words = words.0.join(" ");
        let told = *event.metadata().level() <= Level::WARN
            || UNREADABLE.iter().any(|unreadable| words.contains(unreadable));
        let mut noted = self.0.lock();
        // What comes while closing is only the end of the streams we cut ourselves.
        if told && noted.step != CLOSING {
            let stray = format!("{}: {words}", noted.step);
            noted.strays.push(stray);
        }
    }
}

/// The message of an event and its fields.
struct Words(Vec<String>);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push(match field.name() {
            "message" => format!("{value:?}"),
            name => format!("{name}={value:?}"),
        });
    }
}
