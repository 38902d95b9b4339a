//! Work that can outlive its call: the extension `io.modelcontextprotocol/tasks` (SEP-2663) of the
//! modern era, on the SDK's task manager. A client that does not name the extension waits for the
//! result instead, and so does a legacy one.

use std::fmt::{self, Formatter};
use std::time::Duration;

use rmcp::model::{
    CallToolResponse, CallToolResult, ClientCapabilities, ContentBlock, CreateTaskResult,
    InputRequest,
};
use rmcp::service::RequestContext;
use rmcp::task_manager::{TaskContext, TaskExit, TaskManager, TaskOptions};
use rmcp::{ErrorData, RoleServer};
use serde_json::{Value, json};

use crate::asks::{Asked, abilities, ask, form, is_modern, lacking, questions};
use crate::calls::{Call, Outcome, answer, refusal, text, told};
use crate::offer::typed;

/// How often a client may ask for a task, in milliseconds.
const POLL_MS: u64 = 200;
/// How long a task is kept at least, in milliseconds.
const KEPT_MS: u64 = 120_000;
/// Most tasks that run at once; one more is refused.
const RUNNING_MAX: usize = 1000;
/// Most that `slow_compute` waits, in seconds.
const SECONDS_MAX: f64 = 600.0;
/// How long the jobs work that are to fail.
const WORK: Duration = Duration::from_millis(500);

/// The tasks of all clients.
#[derive(Clone, Default)]
pub(crate) struct Tasks(pub(crate) TaskManager);

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tasks").field(&self.0.running_task_count()).finish()
    }
}

/// Whether the client of this request knows what to do with a task.
fn takes_tasks(context: &RequestContext<RoleServer>) -> bool {
    is_modern(context) && abilities(context).supports_tasks()
}

impl Call<'_> {
    /// Runs the tool of this name, if it is one whose work can be a task.
    pub(crate) async fn job(&self, name: &str) -> Option<Outcome> {
        Some(match name {
            "slow_compute" => self.slow_compute().await,
            "failing_job" => self.failing_job().await,
            "protocol_error_job" => self.protocol_error_job().await,
            "confirm_delete" => self.confirm_delete().await,
            "multi_input" => self.multi_input().await,
            "test_tool_with_task" => self.tool_with_task().await,
            _ => return None,
        })
    }

    /// Works for as many seconds as it is told, as a task that can be cancelled.
    async fn slow_compute(&self) -> Outcome {
        let seconds = self.arguments().get("seconds").and_then(Value::as_f64).unwrap_or(1.0);
        let work = Duration::from_secs_f64(seconds.clamp(0.0, SECONDS_MAX));
        let label = self.argument("label").unwrap_or_default();
        let done = success(format!("{label} took {seconds} s."));
        if takes_tasks(self.context) {
            return self.task(move |task| async move {
                tokio::select! {
                    () = tokio::time::sleep(work) => Ok(done),
                    () = task.cancelled() => Err(TaskExit::Cancelled),
                }
            });
        }
        tokio::select! {
            () = tokio::time::sleep(work) => Ok(done.into()),
            () = self.context.ct.cancelled() => Err(ErrorData::internal_error("cancelled", None)),
        }
    }

    /// Fails, and says so in its result. A modern client must take it as a task.
    async fn failing_job(&self) -> Outcome {
        const WHY: &str = "This job always fails.";
        if is_modern(self.context) {
            self.needs_tasks()?;
            return self.task(|_| async {
                tokio::time::sleep(WORK).await;
                Ok(CallToolResult::error(vec![ContentBlock::text(WHY)]))
            });
        }
        tokio::time::sleep(WORK).await;
        Ok(refusal(WHY))
    }

    /// Fails as a request does that cannot be answered.
    async fn protocol_error_job(&self) -> Outcome {
        let broke = || ErrorData::internal_error("This job always breaks.", None);
        if takes_tasks(self.context) {
            return self.task(move |_| async move {
                tokio::time::sleep(WORK).await;
                Err(TaskExit::Error(broke()))
            });
        }
        tokio::time::sleep(WORK).await;
        Err(broke())
    }

    /// Asks once, in the middle of its work.
    async fn confirm_delete(&self) -> Outcome {
        let filename = self.argument("filename")?;
        let question = form(&format!("Delete {filename}?"), &json!({ "confirm": boolean() }))?;
        let tell = move |answer: &Value| match answer.pointer("/content/confirm") {
            Some(Value::Bool(true)) => format!("{filename} is deleted."),
            _ => format!("{filename} stays."),
        };
        if takes_tasks(self.context) {
            self.can_answer(&question)?;
            return self.task(move |task| async move {
                let given = task.request_input("confirm", question).await?;
                Ok(success(tell(&given)))
            });
        }
        self.ask_now(question, tell).await
    }

    /// Asks for two things at once, in the middle of its work.
    async fn multi_input(&self) -> Outcome {
        let name = form("What is your name?", &json!({ "name": { "type": "string" } }))?;
        let confirm = form("Shall it go on?", &json!({ "confirm": boolean() }))?;
        if takes_tasks(self.context) {
            self.can_answer(&name)?;
            return self.task(move |task| async move {
                let (name, confirm) = tokio::try_join!(
                    task.request_input("name", name),
                    task.request_input("confirm", confirm)
                )?;
                Ok(success(both(&name, &confirm)))
            });
        }
        let wanted = questions([("name", name), ("confirm", confirm)]);
        let given = self.request.input_responses.as_ref();
        Ok(told(ask(self.context, wanted, given, None).await?, |answers| {
            both(&json!(answers.get("name")), &json!(answers.get("confirm")))
        }))
    }

    /// Asks as the result of its call, and works on as a task once it has the answer.
    async fn tool_with_task(&self) -> Outcome {
        if is_modern(self.context) {
            self.needs_tasks()?;
        }
        let fields = json!({ "name": { "type": "string" } });
        let wanted = questions([("user_name", form("What is your name?", &fields)?)]);
        let given = self.request.input_responses.as_ref();
        let asked = ask(self.context, wanted, given, None).await?;
        let Asked::Answered(answers) = asked else { return Ok(told(asked, |_| String::new())) };
        let hello = format!("Hello, {}!", answer(&answers, "user_name", "/content/name"));
        if !takes_tasks(self.context) {
            return Ok(text(hello));
        }
        self.task(move |_| async move {
            tokio::time::sleep(WORK).await;
            Ok(success(hello))
        })
    }

    /// Begins a task, which can be asked for before its handle is sent.
    fn task<F>(&self, work: impl FnOnce(TaskContext) -> F) -> Outcome
    where
        F: Future<Output = Result<CallToolResult, TaskExit>> + Send + 'static,
    {
        let tasks = &self.fixture.tasks.0;
        if tasks.running_task_count() >= RUNNING_MAX {
            return Err(ErrorData::internal_error("there are too many tasks", None));
        }
        let options = TaskOptions::new().with_ttl_ms(KEPT_MS).with_poll_interval_ms(POLL_MS);
        let task = tasks.spawn(options, |context| Box::pin(work(context)));
        Ok(CallToolResponse::Task(CreateTaskResult::new(task)))
    }

    /// Refuses a client that would not know what to do with a task.
    fn needs_tasks(&self) -> Result<(), ErrorData> {
        if takes_tasks(self.context) {
            return Ok(());
        }
        let required = ClientCapabilities::builder().enable_tasks().build();
        Err(ErrorData::missing_required_client_capability(required))
    }

    /// Refuses a client that could not answer the question later.
    fn can_answer(&self, question: &InputRequest) -> Result<(), ErrorData> {
        match lacking(&abilities(self.context), question) {
            Some(required) => Err(ErrorData::missing_required_client_capability(typed(required)?)),
            None => Ok(()),
        }
    }

    /// Asks as other tools do.
    async fn ask_now(
        &self,
        question: InputRequest,
        tell: impl FnOnce(&Value) -> String,
    ) -> Outcome {
        let wanted = questions([("confirm", question)]);
        let given = self.request.input_responses.as_ref();
        Ok(told(ask(self.context, wanted, given, None).await?, |answers| {
            tell(&json!(answers.get("confirm")))
        }))
    }
}

fn boolean() -> Value {
    json!({ "type": "boolean" })
}

fn both(name: &Value, confirm: &Value) -> String {
    let part = |of: &Value, pointer: &str| of.pointer(pointer).cloned().unwrap_or_default();
    format!("{}: {}", part(name, "/content/name"), part(confirm, "/content/confirm"))
}

fn success(text: String) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}
