//! The official Rust SDK as a client of `tests/interop/run`. It does the same steps as
//! `tests/interop/clients/drive.mjs` and prints the same JSON line.
//!
//! MODE is `legacy` (initialize), `modern` (server/discover and nothing else) or `auto`
//! (server/discover first).
//!
//! Usage: `interop_rmcp PLAN MODE http URL`, or `interop_rmcp PLAN MODE stdio COMMAND [ARG...]`

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{Write as _, stderr, stdout};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rmcp::model::{
    CallToolRequestParams, CallToolResult, CompleteRequestParams, ContentBlock,
    GetPromptRequestParams, JsonObject, PaginatedRequestParams, ProgressNotificationParam,
    ProtocolVersion, ReadResourceRequestParams, ReadResourceResult,
    ResourceUpdatedNotificationParam, ServerNotification, SubscribeRequestParams,
    SubscriptionFilter, UnsubscribeRequestParams,
};
use rmcp::service::{NotificationContext, QuitReason, RunningService, ServiceError, Subscription};
use rmcp::transport::{StreamableHttpClientTransport, TokioChildProcess};
use rmcp::{
    ClientCacheConfig, ClientHandler, ClientLifecycleMode, ClientServiceExt as _, RoleClient,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

type Client = RunningService<RoleClient, Ears>;
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
type Answer<T> = std::result::Result<T, ServiceError>;
type Lists = BTreeMap<Kind, Vec<String>>;

const USAGE: &str = "usage: interop_rmcp PLAN MODE (http URL | stdio COMMAND [ARG...])";
const PAGES: usize = 100;
/// How soon lists are asked for again while something is missing in them.
const AGAIN: Duration = Duration::from_millis(250);
/// Between two looks at whether notices came.
const LOOK: Duration = Duration::from_millis(20);

/// What the runner wants done.
#[derive(Debug, Deserialize)]
struct Plan {
    wait_seconds: f64,
    timeout_seconds: f64,
    told_seconds: f64,
    quiet_seconds: f64,
    steps_seconds: f64,
    listed: Lists,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Tools,
    Prompts,
    Resources,
    Templates,
}

#[derive(Debug, Deserialize)]
struct Step {
    title: String,
    #[serde(flatten)]
    what: What,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
enum What {
    Call(Call),
    Read {
        uri: String,
    },
    Prompt {
        prompt: String,
        args: JsonObject,
    },
    Complete {
        params: CompleteRequestParams,
    },
    /// Calls a tool and reads what its answer links to.
    Follow(Call),
    Progress(Call),
    Watch(Watch),
}

#[derive(Debug, Deserialize)]
struct Call {
    tool: String,
    args: JsonObject,
}

/// A call that changes something: what is told is counted until all is quiet.
#[derive(Debug, Deserialize)]
struct Watch {
    #[serde(flatten)]
    call: Call,
    kinds: Vec<Kind>,
    uri: Option<String>,
    told: BTreeMap<String, u64>,
}

/// What came. Judging it is the runner's work.
#[derive(Debug, Serialize)]
struct Report {
    client: &'static str,
    mode: String,
    transport: String,
    era_negotiated: Option<String>,
    lists: Lists,
    steps: Vec<Value>,
    stray_errors: Vec<String>,
    ok: bool,
    error: Option<String>,
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
        lists: Lists::new(),
        steps: Vec::new(),
        stray_errors: Vec::new(),
        ok: false,
        error: None,
    };
    // One thread, so that notices are heard in the order in which they came.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
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
    let limit = Duration::from_secs_f64(plan.timeout_seconds);
    notes.step("connecting");
    let ears = Ears::default();
    let connecting = connect(&report.mode, &report.transport, target, ears.clone());
    let client = tokio::time::timeout(limit, connecting).await??;
    let conversed = converse(&Talk { client: &client, ears, plan, limit }, notes, report).await;
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

async fn connect(mode: &str, transport: &str, target: &[String], ears: Ears) -> Result<Client> {
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
            Ok(ears.serve_with_lifecycle(transport, lifecycle).await?)
        }
        ("stdio", [program, arguments @ ..]) => {
            let mut command = tokio::process::Command::new(program);
            command.args(arguments);
            let child = TokioChildProcess::new(command)?;
            Ok(ears.serve_with_lifecycle(child, lifecycle).await?)
        }
        _ => Err(USAGE.into()),
    }
}

async fn converse(talk: &Talk<'_>, notes: &Notes, report: &mut Report) -> Result<()> {
    // Each answer comes from the gateway.
    talk.client.set_response_cache_config(ClientCacheConfig::disabled()).await;
    let revision = talk.client.peer_info().map(|server| server.protocol_version.clone());
    let modern = revision == Some(ProtocolVersion::V_2026_07_28);
    report.era_negotiated = revision.map(|revision| revision.to_string());

    // A gateway answers before slow upstreams are up, so ask again until all are there.
    notes.step("listing");
    let listing = async {
        loop {
            report.lists = talk.lists(talk.plan.listed.keys()).await?;
            if talk.plan.listed.iter().all(|(kind, names)| has(&report.lists, *kind, names)) {
                return Ok(());
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    // If something is still missing then, the runner sees it in the report.
    let wait = Duration::from_secs_f64(talk.plan.wait_seconds);
    tokio::time::timeout(wait, listing).await.unwrap_or(Ok::<_, ServiceError>(()))?;

    // An error must not cost the connection, so each is noted, and the next step is taken.
    let taking = async {
        for step in &talk.plan.steps {
            notes.step(&step.title);
            let taken = talk.take(&step.what, modern).await;
            report.steps.push(taken.unwrap_or_else(|error| told_of(&error)));
        }
    };
    let limit = Duration::from_secs_f64(talk.plan.steps_seconds);
    Ok(tokio::time::timeout(limit, taking).await?)
}

fn has(lists: &Lists, kind: Kind, names: &[String]) -> bool {
    lists.get(&kind).is_some_and(|found| names.iter().all(|name| found.contains(name)))
}

fn told_of(error: &ServiceError) -> Value {
    let code = match error {
        ServiceError::McpError(error) => Some(error.code.0),
        _ => None,
    };
    json!({ "error": { "code": code, "message": error.to_string() } })
}

/// A connection, and all that a step needs.
struct Talk<'a> {
    client: &'a Client,
    ears: Ears,
    plan: &'a Plan,
    /// For one request.
    limit: Duration,
}

impl Talk<'_> {
    async fn take(&self, what: &What, modern: bool) -> Answer<Value> {
        match what {
            What::Call(call) => Ok(json!({ "result": self.call(call).await? })),
            What::Read { uri } => Ok(json!({ "result": self.read(uri).await? })),
            What::Prompt { prompt, args } => {
                let params =
                    GetPromptRequestParams::new(prompt.as_str()).with_arguments(args.clone());
                let result = within(self.limit, self.client.get_prompt(params)).await?;
                Ok(json!({ "result": result }))
            }
            What::Complete { params } => {
                let result = within(self.limit, self.client.complete(params.clone())).await?;
                Ok(json!({ "result": result }))
            }
            What::Follow(call) => {
                let result = self.call(call).await?;
                let mut reads = Vec::new();
                for block in &result.content {
                    if let ContentBlock::ResourceLink(link) = block {
                        reads.push(self.read(&link.uri).await?);
                    }
                }
                Ok(json!({ "result": result, "reads": reads }))
            }
            What::Progress(call) => {
                self.ears.0.lock().notes.clear();
                // The SDK asks for progress with each request.
                let result = self.call(call).await?;
                // Notices are handled beside answers: let those that came before this one be heard.
                tokio::time::sleep(LOOK).await;
                Ok(json!({ "result": result, "notes": self.ears.0.lock().notes }))
            }
            What::Watch(watch) if modern => self.watch_modern(watch).await,
            What::Watch(watch) => self.watch_legacy(watch).await,
        }
    }

    async fn call(&self, call: &Call) -> Answer<CallToolResult> {
        let params =
            CallToolRequestParams::new(call.tool.clone()).with_arguments(call.args.clone());
        within(self.limit, self.client.call_tool(params)).await
    }

    async fn read(&self, uri: &str) -> Answer<ReadResourceResult> {
        let params = ReadResourceRequestParams::new(uri);
        within(self.limit, self.client.read_resource(params)).await
    }

    async fn watch_modern(&self, watch: &Watch) -> Answer<Value> {
        let asked = |kind| watch.kinds.contains(&kind).then_some(true);
        let mut filter = SubscriptionFilter::new();
        filter.tools_list_changed = asked(Kind::Tools);
        filter.prompts_list_changed = asked(Kind::Prompts);
        filter.resources_list_changed = asked(Kind::Resources);
        filter.resource_subscriptions = watch.uri.clone().map(|uri| vec![uri]);
        let mut subscription = within(self.limit, self.client.listen(filter)).await?;
        let watched = tokio::select! {
            watched = self.change(watch) => watched,
            ended = self.hear(&mut subscription) => Err(ended),
        };
        within(self.limit, subscription.cancel()).await?;
        watched
    }

    /// Notes what a subscription brings, which then does not come to the handler; gives why it ended.
    async fn hear(&self, subscription: &mut Subscription) -> ServiceError {
        loop {
            let what = match subscription.next().await {
                Ok(Some(ServerNotification::ToolListChangedNotification(_))) => "tools".to_owned(),
                Ok(Some(ServerNotification::PromptListChangedNotification(_))) => {
                    "prompts".to_owned()
                }
                Ok(Some(ServerNotification::ResourceListChangedNotification(_))) => {
                    "resources".to_owned()
                }
                Ok(Some(ServerNotification::ResourceUpdatedNotification(updated))) => {
                    format!("updated {}", updated.params.uri)
                }
                Ok(Some(other)) => format!("{other:?}"),
                Ok(None) => return ServiceError::TransportClosed,
                Err(error) => return error,
            };
            self.ears.told(what);
        }
    }

    #[expect(deprecated, reason = "what a legacy client has")]
    async fn watch_legacy(&self, watch: &Watch) -> Answer<Value> {
        // Changes of lists come unasked.
        if let Some(uri) = &watch.uri {
            let params = SubscribeRequestParams::new(uri.as_str());
            within(self.limit, self.client.subscribe(params)).await?;
        }
        let watched = self.change(watch).await;
        if let Some(uri) = &watch.uri {
            let params = UnsubscribeRequestParams::new(uri.as_str());
            within(self.limit, self.client.unsubscribe(params)).await?;
        }
        watched
    }

    async fn change(&self, watch: &Watch) -> Answer<Value> {
        self.ears.0.lock().told.clear();
        let result = self.call(&watch.call).await?;
        let telling = async {
            while !self.ears.heard(&watch.told) {
                tokio::time::sleep(LOOK).await;
            }
        };
        let limit = Duration::from_secs_f64(self.plan.told_seconds);
        // If nothing came, the runner sees it in the report.
        tokio::time::timeout(limit, telling).await.unwrap_or_default();
        let lists = self.lists(&watch.kinds).await?;
        tokio::time::sleep(Duration::from_secs_f64(self.plan.quiet_seconds)).await;
        Ok(json!({ "result": result, "told": self.ears.0.lock().told, "lists": lists }))
    }

    async fn lists(&self, kinds: impl IntoIterator<Item = &Kind>) -> Answer<Lists> {
        let mut lists = Lists::new();
        for kind in kinds {
            lists.insert(*kind, self.list(*kind).await?);
        }
        Ok(lists)
    }

    /// How the items of every page are called.
    async fn list(&self, kind: Kind) -> Answer<Vec<String>> {
        let (mut names, mut cursor) = (Vec::new(), None);
        for _ in 0..PAGES {
            cursor = within(self.limit, self.page(kind, cursor, &mut names)).await?;
            if cursor.is_none() {
                return Ok(names);
            }
        }
        // It never came to its last page.
        Err(ServiceError::UnexpectedResponse)
    }

    async fn page(
        &self,
        kind: Kind,
        cursor: Option<String>,
        names: &mut Vec<String>,
    ) -> Answer<Option<String>> {
        let params = Some(PaginatedRequestParams::default().with_cursor(cursor));
        let client = self.client;
        match kind {
            Kind::Tools => {
                let page = client.list_tools(params).await?;
                names.extend(page.tools.into_iter().map(|tool| tool.name.into_owned()));
                Ok(page.next_cursor)
            }
            Kind::Prompts => {
                let page = client.list_prompts(params).await?;
                names.extend(page.prompts.into_iter().map(|prompt| prompt.name));
                Ok(page.next_cursor)
            }
            Kind::Resources => {
                let page = client.list_resources(params).await?;
                names.extend(page.resources.into_iter().map(|resource| resource.uri));
                Ok(page.next_cursor)
            }
            Kind::Templates => {
                let page = client.list_resource_templates(params).await?;
                names.extend(page.resource_templates.into_iter().map(|each| each.uri_template));
                Ok(page.next_cursor)
            }
        }
    }
}

/// One request, in bounded time.
async fn within<T>(limit: Duration, request: impl Future<Output = Answer<T>>) -> Answer<T> {
    let answered = tokio::time::timeout(limit, request).await;
    answered.unwrap_or(Err(ServiceError::Timeout { timeout: limit }))
}

// === what comes unasked ===

/// Counts notices.
#[derive(Debug, Clone, Default)]
struct Ears(Arc<Mutex<Heard>>);

#[derive(Debug, Default)]
struct Heard {
    told: BTreeMap<String, u64>,
    /// Progress and total of each note.
    notes: Vec<(f64, Option<f64>)>,
}

impl Ears {
    fn told(&self, what: String) {
        let mut heard = self.0.lock();
        let count = heard.told.entry(what).or_default();
        *count = count.saturating_add(1);
    }

    fn heard(&self, wanted: &BTreeMap<String, u64>) -> bool {
        let heard = self.0.lock();
        wanted.keys().all(|what| heard.told.contains_key(what))
    }
}

type Beside = NotificationContext<RoleClient>;

impl ClientHandler for Ears {
    async fn on_progress(&self, note: ProgressNotificationParam, _: Beside) {
        self.0.lock().notes.push((note.progress, note.total));
    }

    async fn on_resource_updated(&self, updated: ResourceUpdatedNotificationParam, _: Beside) {
        self.told(format!("updated {}", updated.uri));
    }

    async fn on_resource_list_changed(&self, _: Beside) {
        self.told("resources".to_owned());
    }

    async fn on_tool_list_changed(&self, _: Beside) {
        self.told("tools".to_owned());
    }

    async fn on_prompt_list_changed(&self, _: Beside) {
        self.told("prompts".to_owned());
    }
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
/// No fault: an event without data, with which a server of 2025-11-25 begins a stream that can be
/// resumed. rmcp reports it in the same words as what it cannot read.
const PRIMING: &str = "EOF while parsing a value at line 1 column 0";

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
            || UNREADABLE.iter().any(|unreadable| words.contains(unreadable))
                && !words.contains(PRIMING);
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
