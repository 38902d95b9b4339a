//! Calls of tools for programs that embed the gateway: the ways to choose a replica as verbs.

use std::fmt;

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::base::together;
use crate::builtin::Outcome;
use crate::catalog::Lookup;
use crate::proto::Era;
use crate::proto::error::INVALID_PARAMS;
use crate::upstream::Caller;
use crate::upstream::http::ANSWER_BYTES_MAX;

use super::wish::Wish;
use super::{Gateway, nested};

/// Calls of one aggregate that run at once, unless [`Coordinator::at_once`] says otherwise.
pub const AT_ONCE: usize = 8;
/// Most of them, whatever is asked for.
pub const AT_ONCE_MAX: usize = 32;

/// Calls tools of a gateway in this process. Each call goes the way of a client's: the same policy,
/// retries and metrics. Dropping a future cancels its calls.
///
/// ```no_run
/// use serde_json::json;
/// use waypost::Coordinator;
///
/// # async fn example(app: waypost::app::App) -> Result<(), waypost::CallError> {
/// let coordinator = Coordinator::new(app.gateway.clone());
/// let who = coordinator.round_robin_request("demo__whoami", &json!({})).await?;
/// println!("{}", who["structuredContent"]["name"]);
/// let sums = [json!({ "a": 1, "b": 2 }), json!({ "a": 3, "b": 4 })];
/// for sum in coordinator.aggregate_request("demo__add", &sums).await {
///     match sum {
///         Ok(result) => println!("{}", result["structuredContent"]["sum"]),
///         Err(error) => eprintln!("{error} (delivery: {})", error.delivery),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Coordinator {
    gateway: Gateway,
    caller: Caller,
    at_once: usize,
}

/// Why a call has no result. A tool that ran and failed has one, with `isError`.
#[derive(Clone, Debug, PartialEq)]
pub struct CallError {
    /// The code of the JSON-RPC error.
    pub code: i64,
    /// What happened.
    pub message: String,
    /// `not_sent`, `rejected`, `unknown` (it may have run), or `answered` for an error of the
    /// upstream itself.
    pub delivery: String,
    /// What else is known.
    pub data: Option<Value>,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error {}: {}", self.code, self.message)
    }
}

impl std::error::Error for CallError {}

impl Coordinator {
    /// Over a running gateway.
    pub fn new(gateway: Gateway) -> Self {
        let info = json!({ "name": "waypost-embedded", "version": env!("CARGO_PKG_VERSION") });
        let info = Some(Bytes::from(info.to_string()));
        let caller = Caller { info, ..Caller::silent(Era::Legacy) };
        Self { gateway, caller, at_once: AT_ONCE }
    }

    /// Calls of an aggregate that run at once, 1 to [`AT_ONCE_MAX`].
    #[must_use]
    pub fn at_once(mut self, calls: usize) -> Self {
        self.at_once = calls.clamp(1, AT_ONCE_MAX);
        self
    }

    /// Calls a tool by its exposed name; a replica is chosen as configured. Answers with the whole
    /// result object.
    #[doc(alias = "execute_tool")]
    pub async fn call_tool(&self, tool: &str, arguments: &Value) -> Result<Value, CallError> {
        self.request(tool, arguments, Wish::default()).await
    }

    /// The same; each replica that is well in turn, whatever is configured.
    pub async fn round_robin_request(
        &self,
        tool: &str,
        arguments: &Value,
    ) -> Result<Value, CallError> {
        let wish = Wish { strategy: Some("round_robin"), ..Wish::default() };
        self.request(tool, arguments, wish).await
    }

    /// The same; each replica as often as its weight says.
    pub async fn weighted_request(
        &self,
        tool: &str,
        arguments: &Value,
    ) -> Result<Value, CallError> {
        let wish = Wish { strategy: Some("weighted"), ..Wish::default() };
        self.request(tool, arguments, wish).await
    }

    /// Calls a tool with this many attempts at most, 1 to 20, each at another replica as long as
    /// there is one. A call that may have run is sent again only if a second run does no harm; one
    /// that must not run twice has three attempts at most, while nothing was sent.
    pub async fn failover_request(
        &self,
        tool: &str,
        arguments: &Value,
        max_attempts: u32,
    ) -> Result<Value, CallError> {
        let wish = Wish { attempts: Some(max_attempts), ..Wish::default() };
        self.request(tool, arguments, wish).await
    }

    /// Calls a tool with each set of arguments, [`AT_ONCE`] at a time. The results keep the order of
    /// the arguments, and each call has its own.
    pub async fn aggregate_request(
        &self,
        tool: &str,
        arguments_list: &[Value],
    ) -> Vec<Result<Value, CallError>> {
        let all = together(arguments_list.len(), self.at_once, async |place| {
            Some(self.call_tool(tool, arguments_list.get(place)?).await)
        });
        all.await.into_iter().flatten().collect()
    }

    /// The same error; where nobody has the tool nothing was sent, and the error does not say so.
    fn known(&self, error: CallError, tool: &str) -> CallError {
        let snapshot = self.gateway.snapshot();
        let nobody = matches!(snapshot.view.catalog.lookup(tool), Lookup::Unknown);
        let delivery = if nobody { "not_sent".to_owned() } else { error.delivery };
        CallError { delivery, ..error }
    }

    async fn request(
        &self,
        tool: &str,
        arguments: &Value,
        wish: Wish<'_>,
    ) -> Result<Value, CallError> {
        if !arguments.is_object() {
            let message = "the arguments must be a JSON object".to_owned();
            let delivery = "not_sent".to_owned();
            return Err(CallError { code: INVALID_PARAMS, message, delivery, data: None });
        }
        let arguments = arguments.to_string();
        let tool = nested::Tool { name: tool, arguments: &arguments, bytes_max: ANSWER_BYTES_MAX };
        match nested::call(&self.gateway.inner, &self.caller, tool, wish).await {
            Outcome::Result(result, _) => {
                Ok(serde_json::from_str(result.get()).unwrap_or_default())
            }
            Outcome::Error(error) => Err(self.known(CallError::of(&error), tool.name)),
        }
    }
}

impl CallError {
    fn of(error: &RawValue) -> Self {
        let error: Value = serde_json::from_str(error.get()).unwrap_or_default();
        let ours = error.pointer("/data/source").is_some_and(|source| source == "gateway");
        let delivery = error.pointer("/data/delivery").and_then(Value::as_str);
        Self {
            code: error.get("code").and_then(Value::as_i64).unwrap_or_default(),
            message: error.get("message").and_then(Value::as_str).unwrap_or_default().to_owned(),
            delivery: delivery.filter(|_| ours).unwrap_or("answered").to_owned(),
            data: error.get("data").cloned(),
        }
    }
}
