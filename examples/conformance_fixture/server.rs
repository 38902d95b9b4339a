//! The fixture as a handler of the SDK.
#![expect(deprecated, reason = "logging and legacy subscriptions still have to be served")]

use std::borrow::Cow;
use std::sync::Arc;

use parking_lot::Mutex;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CancelTaskParams, CompleteRequestParams,
    CompleteResult, CompletionInfo, ExtensionCapabilities, GetPromptRequestParams,
    GetPromptResponse, GetPromptResult, GetTaskParams, GetTaskResult, Implementation, JsonObject,
    ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
    LoggingLevel, PaginatedRequestParams, PromptMessage, ProtocolVersion,
    ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, Reference,
    ResourceContents, ServerCapabilities, ServerConfig, SetLevelRequestParams,
    SubscribeRequestParams, SubscriptionFilter, TASKS_EXTENSION_ID, Tool, UnsubscribeRequestParams,
    UpdateTaskParams,
};
use rmcp::service::{NotificationContext, RequestContext, SubscriptionContext};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::{Value, json};

use crate::Eras;
use crate::asks::{Asked, ask, form, is_modern, questions};
use crate::calls::Call;
use crate::changes::{Changes, Uris};
use crate::offer::{self, PNG, typed};
use crate::tasks::Tasks;

/// How long a modern client may keep what it got. Legacy ones have no such hints, but the SDK would
/// send them on.
const FRESH_MS: u64 = 60_000;

/// One session's view, or one modern request's; all share `changes` and `tasks`.
#[derive(Debug, Clone)]
pub(crate) struct Fixture {
    pub(crate) eras: Eras,
    pub(crate) changes: Arc<Changes>,
    pub(crate) tasks: Tasks,
    /// From which level on a legacy session wants to have logs.
    pub(crate) level: Arc<Mutex<LoggingLevel>>,
    uris: Uris,
}

impl Fixture {
    pub(crate) fn new(eras: Eras) -> Self {
        Self {
            eras,
            changes: Arc::default(),
            tasks: Tasks::default(),
            level: Arc::new(Mutex::new(LoggingLevel::Debug)),
            uris: Uris::default(),
        }
    }

    /// For another session.
    pub(crate) fn session(&self) -> Self {
        let (changes, tasks) = (Arc::clone(&self.changes), self.tasks.clone());
        Self { changes, tasks, ..Self::new(self.eras) }
    }

    async fn contents(
        &self,
        request: &ReadResourceRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let uri = request.uri.as_str();
        let contents = match uri {
            "test://static-text" => {
                text_of(uri, "text/plain", "This is the content of the static text resource.")
            }
            "test://stateless-static-text" => text_of(uri, "text/plain", "Another static text."),
            "test://static-binary" => ResourceContents::blob(PNG, uri).with_mime_type("image/png"),
            offer::WATCHED => {
                text_of(uri, "text/plain", &format!("Revision {}", self.changes.revision()))
            }
            offer::ADDED if self.changes.more_resources() => {
                text_of(uri, "text/plain", "Here for now.")
            }
            offer::ASKING => return asking(request, context).await,
            _ => match offer::template_id(uri) {
                Some(id) => {
                    let data = format!("Data for ID: {id}");
                    let text = json!({ "id": id, "templateTest": true, "data": data });
                    text_of(uri, "application/json", &text.to_string())
                }
                None => return Err(not_found(uri)),
            },
        };
        let read = ReadResourceResult::new(vec![contents]);
        Ok(if is_modern(context) {
            read.with_ttl_ms(FRESH_MS).with_cache_scope(CacheScope::Public).into()
        } else {
            read.into()
        })
    }
}

fn text_of(uri: &str, kind: &str, text: &str) -> ResourceContents {
    ResourceContents::text(text, uri).with_mime_type(kind)
}

fn not_found(uri: &str) -> ErrorData {
    ErrorData::resource_not_found("Resource not found", Some(json!({ "uri": uri })))
}

/// A resource that can be read once the user has said his name.
async fn asking(
    request: &ReadResourceRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<ReadResourceResponse, ErrorData> {
    let fields = json!({ "name": { "type": "string" } });
    let wanted = questions([("user_name", form("What is your name?", &fields)?)]);
    match ask(context, wanted, request.input_responses.as_ref(), None).await? {
        Asked::Answered(answers) => {
            let said = json!(answers).to_string();
            // The SDK adds hints where they are due: not to be kept, and private.
            Ok(ReadResourceResult::new(vec![text_of(&request.uri, "text/plain", &said)]).into())
        }
        Asked::Later(result) => Ok((*result).into()),
        Asked::Refused(why) => Err(ErrorData::internal_error(why, None)),
    }
}

/// A prompt that is there once the user has given its context.
async fn asking_prompt(
    request: &GetPromptRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<GetPromptResponse, ErrorData> {
    let fields = json!({ "context": { "type": "string" } });
    let question = form("What context should the prompt use?", &fields)?;
    let wanted = questions([("user_context", question)]);
    match ask(context, wanted, request.input_responses.as_ref(), None).await? {
        Asked::Answered(answers) => {
            let said = format!("In this context: {}", json!(answers));
            messages(json!([{ "role": "user", "content": { "type": "text", "text": said } }]))
        }
        Asked::Later(result) => Ok((*result).into()),
        Asked::Refused(why) => Err(ErrorData::internal_error(why, None)),
    }
}

fn messages(messages: Value) -> Result<GetPromptResponse, ErrorData> {
    Ok(GetPromptResult::new(typed::<Vec<PromptMessage>>(messages)?).into())
}

fn prompt(
    request: &GetPromptRequestParams,
    changes: &Changes,
) -> Result<GetPromptResponse, ErrorData> {
    let argument = |name: &str| {
        let value = request.arguments.as_ref().and_then(|given| given.get(name));
        value.and_then(Value::as_str).ok_or_else(|| {
            ErrorData::invalid_params(format!("the argument {name} must be a text"), None)
        })
    };
    let said = |text: &str| json!({ "role": "user", "content": { "type": "text", "text": text } });
    match request.name.as_str() {
        "test_simple_prompt" => messages(json!([said("This is a simple prompt for testing.")])),
        "test_prompt_with_arguments" => {
            let (first, second) = (argument("arg1")?, argument("arg2")?);
            messages(json!([said(&format!(
                "Prompt with arguments: arg1='{first}', arg2='{second}'"
            ))]))
        }
        "test_prompt_with_embedded_resource" => messages(json!([
            { "role": "user", "content": { "type": "resource", "resource": {
                "uri": argument("resourceUri")?,
                "mimeType": "text/plain",
                "text": "Embedded resource content for testing."
            }}},
            said("Please process the embedded resource above.")
        ])),
        "test_prompt_with_image" => messages(json!([
            { "role": "user", "content": { "type": "image", "data": PNG, "mimeType": "image/png" } },
            said("Please analyze the image above.")
        ])),
        "test_added_prompt" if changes.more_prompts() => messages(json!([said("Here for now.")])),
        name => Err(ErrorData::invalid_params(format!("Unknown prompt: {name}"), None)),
    }
}

/// What could stand where the cursor is, by what is written already.
fn completions(request: &CompleteRequestParams) -> Result<Vec<String>, ErrorData> {
    let known: &[&str] = match (&request.r#ref, request.argument.name.as_str()) {
        (Reference::Prompt(prompt), "arg1" | "arg2")
            if prompt.name == "test_prompt_with_arguments" =>
        {
            &["paris", "park", "party", "test", "testing"]
        }
        (Reference::Resource(template), "id") if template.uri == "test://template/{id}/data" => {
            &["1", "12", "123"]
        }
        _ => {
            return Err(ErrorData::invalid_params("nothing to complete under that name", None));
        }
    };
    let begun = request.argument.value.as_str();
    Ok(known.iter().filter(|each| each.starts_with(begun)).map(|&each| each.to_owned()).collect())
}

impl ServerHandler for Fixture {
    fn get_info(&self) -> ServerConfig {
        let mut capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_resources_list_changed()
            .enable_prompts()
            .enable_prompts_list_changed()
            .enable_completions()
            .enable_logging()
            .build();
        // The legacy era has tasks of another kind, which are not offered.
        if self.eras != Eras::Legacy {
            let tasks = (TASKS_EXTENSION_ID.to_owned(), JsonObject::new());
            capabilities.extensions = Some(ExtensionCapabilities::from([tasks]));
        }
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("conformance-fixture", env!("CARGO_PKG_VERSION")))
            .with_instructions("A server for tests: it offers what the conformance suite needs.")
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        let known = ProtocolVersion::KNOWN_VERSIONS;
        let modern = |version: &ProtocolVersion| *version >= ProtocolVersion::V_2026_07_28;
        match self.eras {
            Eras::Both => Cow::Borrowed(known),
            Eras::Legacy => known.iter().filter(|version| !modern(version)).cloned().collect(),
            Eras::Modern => known.iter().filter(|version| modern(version)).cloned().collect(),
        }
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        self.changes.join(context.peer, Uris::clone(&self.uris));
    }

    async fn set_level(
        &self,
        request: SetLevelRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        *self.level.lock() = request.level;
        Ok(())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let list = ListToolsResult::with_all_items(offer::tools(self.changes.more_tools())?);
        Ok(if is_modern(&context) {
            list.with_ttl_ms(FRESH_MS).with_cache_scope(CacheScope::Public)
        } else {
            list
        })
    }

    /// The SDK holds the headers against the schema of the tool.
    fn get_tool(&self, name: &str) -> Option<Tool> {
        offer::tools(true).ok()?.into_iter().find(|tool| tool.name == name)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        Call { fixture: self, context: &context, request: &request }.run().await
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        self.tasks.0.get_task(&request.task_id).map(GetTaskResult::new)
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.tasks.0.update_task(&request.task_id, request.input_responses)
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.tasks.0.cancel_task(&request.task_id)
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let resources = offer::resources(self.changes.more_resources())?;
        let list = ListResourcesResult::with_all_items(resources);
        Ok(if is_modern(&context) {
            list.with_ttl_ms(FRESH_MS).with_cache_scope(CacheScope::Public)
        } else {
            list
        })
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let list = ListResourceTemplatesResult::with_all_items(offer::templates()?);
        Ok(if is_modern(&context) {
            list.with_ttl_ms(FRESH_MS).with_cache_scope(CacheScope::Public)
        } else {
            list
        })
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        self.contents(&request, &context).await
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.uris.lock().insert(request.uri);
        Ok(())
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.uris.lock().remove(&request.uri);
        Ok(())
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let number = self.changes.listen(context.sink().clone());
        context.cancelled().await;
        self.changes.unlisten(number);
        Ok(())
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let list = ListPromptsResult::with_all_items(offer::prompts(self.changes.more_prompts())?);
        Ok(if is_modern(&context) {
            list.with_ttl_ms(FRESH_MS).with_cache_scope(CacheScope::Public)
        } else {
            list
        })
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        if request.name == "test_input_required_result_prompt" {
            return asking_prompt(&request, &context).await;
        }
        prompt(&request, &self.changes)
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let info = CompletionInfo::with_all_values(completions(&request)?)
            .map_err(|error| ErrorData::internal_error(error, None))?;
        Ok(CompleteResult::new(info))
    }
}
