//! What each tool does.
#![expect(deprecated, reason = "sampling, roots and logging still have to be served")]

use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, InputRequest,
    InputRequests, JsonObject, LoggingLevel, LoggingMessageNotificationParam,
    ProgressNotificationParam,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::{Value, json};

use crate::asks::{
    Answers, Asked, abilities, ask, form, form_of, is_modern, questions, roots, sample,
};
use crate::changes::Change;
use crate::offer::{PNG, WAV, typed};
use crate::seal;
use crate::server::Fixture;

/// Between two steps of a tool that has some.
const STEP: Duration = Duration::from_millis(50);
/// How long `test_reconnection` works on after its stream was ended.
const AFTER_DISCONNECT: Duration = Duration::from_millis(500);

/// What every tool may use.
pub(crate) struct Call<'c> {
    pub(crate) fixture: &'c Fixture,
    pub(crate) context: &'c RequestContext<RoleServer>,
    pub(crate) request: &'c CallToolRequestParams,
}

pub(crate) type Outcome = Result<CallToolResponse, ErrorData>;

impl Call<'_> {
    /// Runs the tool that the request names.
    pub(crate) async fn run(&self) -> Outcome {
        let name = self.request.name.as_ref();
        if let Some(kind) = name.strip_prefix("test_input_required_result_") {
            return self.input_required(kind).await;
        }
        match name {
            "test_tool_with_progress" => self.with_progress().await,
            "test_tool_with_logging" => self.with_logging().await,
            "test_logging_tool" => {
                self.log("One message").await;
                Ok(text("Logged, if a level was asked for."))
            }
            "test_reconnection" => {
                tokio::time::sleep(AFTER_DISCONNECT).await;
                Ok(text("Reconnected."))
            }
            "greet" => Ok(text(format!("Hello, {}!", self.argument("name")?))),
            "test_missing_capability" => self.missing_capability(),
            "test_sampling" => self.sampling().await,
            "test_elicitation" => self.elicitation().await,
            "test_streaming_elicitation" => {
                self.progress(1.0, "About to ask").await;
                let wanted = form("Provide a value", &json!({ "value": { "type": "string" } }))?;
                self.ask_user("Asked", wanted).await
            }
            "test_elicitation_sep1034_defaults" => {
                let wanted = form_of("All fields have a default", &defaults())?;
                self.ask_user("Elicitation completed", wanted).await
            }
            "test_elicitation_sep1330_enums" => {
                let wanted = form_of("Choose", &choices())?;
                self.ask_user("Elicitation completed", wanted).await
            }
            "test_trigger_tool_change" => self.trigger(Change::Tools).await,
            "test_trigger_prompt_change" => self.trigger(Change::Prompts).await,
            "test_trigger_resource_list_change" => self.trigger(Change::Resources).await,
            "test_trigger_resource_change" => self.trigger(Change::Watched).await,
            _ => match self.job(name).await {
                Some(outcome) => outcome,
                None => self.plain(name),
            },
        }
    }

    /// Tools that only give something back.
    fn plain(&self, name: &str) -> Outcome {
        let content = match name {
            "test_simple_text" => {
                json!([{ "type": "text", "text": "This is a simple text response for testing." }])
            }
            "test_image_content" => {
                json!([{ "type": "image", "data": PNG, "mimeType": "image/png" }])
            }
            "test_audio_content" => {
                json!([{ "type": "audio", "data": WAV, "mimeType": "audio/wav" }])
            }
            "test_embedded_resource" => json!([{ "type": "resource", "resource": {
                "uri": "test://embedded-resource",
                "mimeType": "text/plain",
                "text": "This is an embedded resource content."
            }}]),
            "test_multiple_content_types" => json!([
                { "type": "text", "text": "Multiple content types test:" },
                { "type": "image", "data": PNG, "mimeType": "image/png" },
                { "type": "resource", "resource": {
                    "uri": "test://mixed-content-resource",
                    "mimeType": "application/json",
                    "text": "{\"test\":\"data\",\"value\":123}"
                }}
            ]),
            "test_error_handling" => {
                return Ok(refusal("This tool intentionally returns an error for testing"));
            }
            "json_schema_2020_12_tool" | "test_custom_header" => {
                let arguments = Value::Object(self.arguments());
                return Ok(text(format!("Arguments: {arguments}")));
            }
            "test_added_tool" if self.fixture.changes.more_tools() => {
                return Ok(text("Here for now."));
            }
            _ => {
                return Err(ErrorData::invalid_params(format!("Unknown tool: {name}"), None));
            }
        };
        Ok(CallToolResult::success(typed::<Vec<ContentBlock>>(content)?).into())
    }

    pub(crate) fn arguments(&self) -> JsonObject {
        self.request.arguments.clone().unwrap_or_default()
    }

    pub(crate) fn argument(&self, name: &str) -> Result<String, ErrorData> {
        let value = self.request.arguments.as_ref().and_then(|given| given.get(name));
        value.and_then(Value::as_str).map(str::to_owned).ok_or_else(|| {
            ErrorData::invalid_params(format!("the argument {name} must be a text"), None)
        })
    }

    async fn trigger(&self, change: Change) -> Outcome {
        self.fixture.changes.make(change).await;
        Ok(text("Changed."))
    }

    fn missing_capability(&self) -> Outcome {
        if abilities(self.context).sampling.is_some() {
            return Ok(text("The client can sample."));
        }
        if is_modern(self.context) {
            let required = typed(json!({ "sampling": {} }))?;
            return Err(ErrorData::missing_required_client_capability(required));
        }
        Ok(refusal("The client cannot sample."))
    }

    // === notes on the way ===

    async fn with_progress(&self) -> Outcome {
        for (progress, message) in [(0.0, "begun"), (50.0, "half done"), (100.0, "done")] {
            self.progress(progress, message).await;
            tokio::time::sleep(STEP).await;
        }
        Ok(text("Progress was reported, if a token was given."))
    }

    /// Of 100, if the client gave a token. A client that is gone hears nothing.
    async fn progress(&self, progress: f64, message: &str) {
        if let Some(token) = self.context.meta.get_progress_token() {
            let note = ProgressNotificationParam::new(token, progress)
                .with_total(100.0)
                .with_message(message);
            drop(self.context.peer.notify_progress(note).await);
        }
    }

    async fn with_logging(&self) -> Outcome {
        for message in
            ["Tool execution started", "Tool processing data", "Tool execution completed"]
        {
            self.log(message).await;
            tokio::time::sleep(STEP).await;
        }
        Ok(text("Three messages were logged, if the level allows it."))
    }

    /// At level info, if the client wants that: a modern one says so with each request.
    async fn log(&self, message: &str) {
        let level = if is_modern(self.context) {
            self.context.meta.log_level()
        } else {
            Some(*self.fixture.level.lock())
        };
        if matches!(level, Some(LoggingLevel::Debug | LoggingLevel::Info)) {
            let note = LoggingMessageNotificationParam::new(LoggingLevel::Info, json!(message))
                .with_logger("fixture");
            drop(self.context.peer.notify_logging_message(note).await);
        }
    }

    // === questions ===

    async fn ask(&self, wanted: InputRequests, state: Option<String>) -> Result<Asked, ErrorData> {
        ask(self.context, wanted, self.request.input_responses.as_ref(), state).await
    }

    async fn sampling(&self) -> Outcome {
        let wanted = questions([("sample", sample(&self.argument("prompt")?, 100)?)]);
        Ok(told(self.ask(wanted, None).await?, |answers| {
            format!("LLM response: {}", answer(answers, "sample", "/content/text"))
        }))
    }

    async fn elicitation(&self) -> Outcome {
        let fields = json!({
            "username": { "type": "string", "description": "User's response" },
            "email": { "type": "string", "description": "User's email address" }
        });
        self.ask_user("User response", form(&self.argument("message")?, &fields)?).await
    }

    /// Asks one thing and tells what the user did.
    async fn ask_user(&self, label: &str, wanted: InputRequest) -> Outcome {
        Ok(told(self.ask(questions([("input", wanted)]), None).await?, |answers| {
            let action = answer(answers, "input", "/action");
            format!("{label}: action={action}, content={}", answer(answers, "input", "/content"))
        }))
    }

    async fn input_required(&self, kind: &str) -> Outcome {
        match kind {
            "elicitation" => {
                let wanted = questions([("user_name", name_form()?)]);
                Ok(told(self.ask(wanted, None).await?, |answers| {
                    format!("Hello, {}!", answer(answers, "user_name", "/content/name"))
                }))
            }
            "sampling" => {
                let wanted = questions([(
                    "capital_question",
                    sample("What is the capital of France?", 100)?,
                )]);
                Ok(told(self.ask(wanted, None).await?, |answers| {
                    answer(answers, "capital_question", "/content/text")
                }))
            }
            "list_roots" => {
                let wanted = questions([("client_roots", roots()?)]);
                Ok(told(self.ask(wanted, None).await?, |answers| {
                    format!("Roots: {}", answer(answers, "client_roots", "/roots"))
                }))
            }
            "request_state" | "tampered_state" => self.with_state().await,
            "multiple_inputs" => self.multiple_inputs().await,
            "multi_round" => self.multi_round().await,
            "capabilities" => self.capabilities().await,
            _ => {
                Err(ErrorData::invalid_params(format!("Unknown tool: {}", self.request.name), None))
            }
        }
    }

    /// What the client brought back, if it is what this tool gave it.
    fn state(&self) -> Result<Option<&str>, ErrorData> {
        let Some(sealed) = self.request.request_state.as_deref() else { return Ok(None) };
        let state = seal::open(sealed).and_then(|content| content.split_once(' '));
        match state {
            Some((tool, state)) if tool == self.request.name => Ok(Some(state)),
            _ => Err(ErrorData::invalid_params("requestState is not what was given", None)),
        }
    }

    fn sealed(&self, state: &str) -> String {
        seal::seal(&format!("{} {state}", self.request.name))
    }

    async fn with_state(&self) -> Outcome {
        let known = self.state()?.is_some() || !is_modern(self.context);
        let fields = json!({ "ok": { "type": "boolean" } });
        let wanted = questions([("confirm", form("Please confirm", &fields)?)]);
        let asked = if known {
            self.ask(wanted, Some(self.sealed("confirm"))).await?
        } else {
            // An answer to a question that nobody remembers does not count.
            ask(self.context, wanted, None, Some(self.sealed("confirm"))).await?
        };
        Ok(told(asked, |answers| {
            format!("state-ok, confirmed: {}", answer(answers, "confirm", "/content/ok"))
        }))
    }

    async fn multiple_inputs(&self) -> Outcome {
        self.state()?;
        let wanted = questions([
            ("user_name", name_form()?),
            ("greeting", sample("Generate a greeting", 50)?),
            ("client_roots", roots()?),
        ]);
        Ok(told(self.ask(wanted, Some(self.sealed("three"))).await?, |answers| {
            let name = answer(answers, "user_name", "/content/name");
            let greeting = answer(answers, "greeting", "/content/text");
            format!("{name}: {greeting} {}", answer(answers, "client_roots", "/roots"))
        }))
    }

    /// The state of the second round carries the answer of the first.
    async fn multi_round(&self) -> Outcome {
        let first = self.state()?.and_then(|state| state.strip_prefix("step2 "));
        let name = if let Some(name) = first {
            name.to_owned()
        } else {
            let fields = json!({ "name": { "type": "string" } });
            let wanted = questions([("step1", form("Step 1: What is your name?", &fields)?)]);
            match self.ask(wanted, Some(self.sealed("step1"))).await? {
                Asked::Answered(answers) => answer(&answers, "step1", "/content/name"),
                asked => return Ok(told(asked, |_| String::new())),
            }
        };
        let fields = json!({ "color": { "type": "string" } });
        let wanted = questions([("step2", form("Step 2: What is your favorite color?", &fields)?)]);
        let asked = self.ask(wanted, Some(self.sealed(&format!("step2 {name}")))).await?;
        Ok(told(asked, |answers| {
            format!("{name} likes {}.", answer(answers, "step2", "/content/color"))
        }))
    }

    async fn capabilities(&self) -> Outcome {
        let able = abilities(self.context);
        let mut wanted = InputRequests::new();
        if able.elicitation.is_some() {
            wanted.insert("user_name".to_owned(), name_form()?);
        }
        if able.sampling.is_some() {
            wanted.insert("greeting".to_owned(), sample("Generate a greeting", 50)?);
        }
        if able.roots.is_some() {
            wanted.insert("client_roots".to_owned(), roots()?);
        }
        Ok(told(self.ask(wanted, None).await?, |answers| {
            let keys: Vec<&str> = answers.keys().map(String::as_str).collect();
            format!("Answered: {}", keys.join(", "))
        }))
    }
}

/// The result of a call that asked: what `tell` makes of the answers, if they are there.
pub(crate) fn told(asked: Asked, tell: impl FnOnce(&Answers) -> String) -> CallToolResponse {
    match asked {
        Asked::Answered(answers) => text(tell(&answers)),
        Asked::Later(result) => (*result).into(),
        Asked::Refused(why) => refusal(&format!("No answer: {why}")),
    }
}

fn name_form() -> Result<InputRequest, ErrorData> {
    form("What is your name?", &json!({ "name": { "type": "string" } }))
}

/// SEP-1034: a default for each primitive type.
fn defaults() -> Value {
    let kind = |kind: &str, default: Value| json!({ "type": kind, "default": default });
    json!({ "type": "object", "properties": {
        "name": kind("string", json!("John Doe")),
        "age": kind("integer", json!(30)),
        "score": kind("number", json!(95.5)),
        "status": {
            "type": "string", "enum": ["active", "inactive", "pending"], "default": "active"
        },
        "verified": kind("boolean", json!(true))
    }})
}

/// SEP-1330: each way to offer a choice.
fn choices() -> Value {
    let plain = json!(["option1", "option2", "option3"]);
    let titled = json!([
        { "const": "value1", "title": "First" },
        { "const": "value2", "title": "Second" },
        { "const": "value3", "title": "Third" }
    ]);
    json!({ "type": "object", "properties": {
        "untitledSingle": { "type": "string", "enum": plain },
        "titledSingle": { "type": "string", "oneOf": titled },
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"]
        },
        "untitledMulti": { "type": "array", "items": { "type": "string", "enum": plain } },
        "titledMulti": { "type": "array", "items": { "anyOf": titled } }
    }})
}

/// A part of an answer as text; what is not there is empty.
pub(crate) fn answer(answers: &Answers, key: &str, pointer: &str) -> String {
    let whole = answers.get(key).cloned().map(Value::Object).unwrap_or_default();
    match whole.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

pub(crate) fn text(text: impl Into<String>) -> CallToolResponse {
    CallToolResult::success(vec![ContentBlock::text(text)]).into()
}

pub(crate) fn refusal(text: &str) -> CallToolResponse {
    CallToolResult::error(vec![ContentBlock::text(text)]).into()
}
