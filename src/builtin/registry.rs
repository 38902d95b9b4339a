//! The built-in tools that are on, each behind its rate limit and its timeout.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::base::{Bucket, Fault, Kind, clock};
use crate::telemetry::Status;

use super::context7::Context7;
use super::coordination::{Aggregate, GatewayStatus, HealthCheck, RouteExplain};
use super::echo::Echo;
use super::spec::{BuiltinSpec, ToolSpec};
use super::standing::Standing;
use super::wait::secs_up;
use super::weather::Weather;
use super::{Builtin, CallFuture, Host, ToolReply, context7, coordination, echo, reply, weather};

/// How much longer than their own limit the tools of the gateway may take to tell what came.
const COORDINATION_GRACE: Duration = Duration::from_secs(1);

/// A tool that is enabled and yet not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Off {
    /// The tool's name.
    pub name: &'static str,
    /// Why it is off.
    pub reason: String,
}

/// How we stand with a service behind built-in tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// `weather` or `context7`.
    pub name: &'static str,
    /// As the last real calls found it; nothing is sent to find out.
    pub standing: Standing,
}

/// The built-in tools.
pub struct Builtins {
    tools: Vec<Arc<Guarded>>,
    off: Vec<Off>,
    weather: Option<Arc<Weather>>,
    context7: Option<Arc<Context7>>,
}

impl Builtins {
    /// The tools of a configuration. Nothing is opened or called. Caches, rate limits and what is
    /// known of the services start anew: keep the old value while the configuration is the same.
    pub fn new(spec: &BuiltinSpec) -> Self {
        let mut all = Self { tools: Vec::new(), off: Vec::new(), weather: None, context7: None };
        if all.wanted(&spec.echo.tool, &[echo::NAME]) {
            all.add(&Guard::new(&spec.echo.tool), Echo::new(&spec.echo));
        }
        if all.wanted(&spec.weather.tool, &[weather::NAME]) {
            let tool = Arc::new(Weather::new(&spec.weather));
            all.weather = Some(Arc::clone(&tool));
            all.add(&Guard::new(&spec.weather.tool), tool);
        }
        if all.wanted(&spec.context7.tool, &context7::NAMES) {
            let service = Arc::new(Context7::new(&spec.context7));
            all.context7 = Some(Arc::clone(&service));
            // One table, one allowance: the three tools share the calls a minute.
            let guard = Guard::new(&spec.context7.tool);
            all.add(&guard, context7::SearchLibraries::new(&service));
            all.add(&guard, context7::GetDocumentation::new(&service));
            all.add(&guard, context7::GetExamples::new(&service));
        }
        if all.wanted(&spec.gateway.tool, &coordination::NAMES) {
            // They keep to their own time limit, and say what came until then.
            let timeout = spec.gateway.tool.timeout + COORDINATION_GRACE;
            let guard = Guard::new(&ToolSpec { timeout, ..spec.gateway.tool.clone() });
            all.add(&guard, GatewayStatus::new());
            all.add(&guard, HealthCheck::new());
            all.add(&guard, Aggregate::new(&spec.gateway));
            all.add(&guard, RouteExplain::new());
        }
        all
    }

    /// The tools of a configuration that follows another one: those whose tables are the same stay
    /// as they are, with caches and rate limits.
    #[must_use]
    pub fn renewed(&self, before: &BuiltinSpec, now: &BuiltinSpec) -> Self {
        let mut all = Self::new(now);
        if before.echo == now.echo {
            all.keep(self, &[echo::NAME]);
        }
        if before.weather == now.weather {
            all.keep(self, &[weather::NAME]);
            all.weather.clone_from(&self.weather);
        }
        if before.context7 == now.context7 {
            all.keep(self, &context7::NAMES);
            all.context7.clone_from(&self.context7);
        }
        if before.gateway == now.gateway {
            all.keep(self, &coordination::NAMES);
        }
        all
    }

    fn keep(&mut self, old: &Self, names: &[&str]) {
        let same = |tool: &Guarded| old.tools.iter().find(|kept| kept.name() == tool.name());
        for tool in self.tools.iter_mut().filter(|tool| names.contains(&tool.name())) {
            if let Some(kept) = same(tool) {
                *tool = Arc::clone(kept);
            }
        }
    }

    /// The tools in their fixed order: echo, weather, Context7, those of the gateway.
    pub fn iter(&self) -> impl Iterator<Item = &dyn Builtin> {
        self.tools.iter().map(|tool| -> &dyn Builtin { &**tool })
    }

    /// The tool of this name.
    pub fn get(&self, name: &str) -> Option<&dyn Builtin> {
        self.iter().find(|tool| tool.name() == name)
    }

    /// Tools that are enabled and yet not there, with the reason. Disabled ones are not listed.
    pub fn off(&self) -> &[Off] {
        &self.off
    }

    /// The services behind the tools that are on.
    pub fn services(&self) -> Vec<Service> {
        let weather = self.weather.iter().map(|tool| ("weather", tool.standing()));
        let context7 = self.context7.iter().map(|tool| ("context7", tool.standing()));
        weather.chain(context7).map(|(name, standing)| Service { name, standing }).collect()
    }

    fn wanted(&mut self, spec: &ToolSpec, names: &[&'static str]) -> bool {
        if let (true, Some(reason)) = (spec.enabled, &spec.off) {
            self.off.extend(names.iter().map(|name| Off { name, reason: reason.clone() }));
        }
        spec.enabled && spec.off.is_none()
    }

    fn add(&mut self, guard: &Guard, tool: impl Builtin + 'static) {
        self.tools.push(Arc::new(Guarded { tool: Box::new(tool), guard: guard.clone() }));
    }
}

impl std::fmt::Debug for Builtins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|tool| tool.name().to_owned())).finish()
    }
}

/// What stands before a tool. Clones share the rate limit.
#[derive(Clone)]
struct Guard {
    bucket: Option<Arc<Mutex<Bucket>>>,
    rate: u32,
    timeout: Duration,
}

impl Guard {
    fn new(spec: &ToolSpec) -> Self {
        let bucket = spec.rate_limit.map(|rate| Arc::new(Mutex::new(Bucket::per_minute(rate))));
        Self { bucket, rate: spec.rate_limit.unwrap_or(0), timeout: spec.timeout }
    }

    fn admit(&self, name: &str) -> Result<(), Fault> {
        let Some(bucket) = &self.bucket else {
            return Ok(());
        };
        bucket.lock().take(clock::now()).map_err(|wait| {
            let rate = self.rate;
            let message = match wait {
                Some(wait) => {
                    let secs = secs_up(wait);
                    format!("{name} is limited to {rate} calls a minute; try again in {secs} s")
                }
                None => format!("{name} is limited to 0 calls a minute"),
            };
            Fault::gateway(Kind::RateLimited, message).retry_after(wait)
        })
    }
}

struct Guarded {
    tool: Box<dyn Builtin>,
    guard: Guard,
}

impl Builtin for Guarded {
    fn name(&self) -> &str {
        self.tool.name()
    }

    fn definition(&self) -> &Bytes {
        self.tool.definition()
    }

    fn call<'a>(&'a self, arguments: &'a [u8], host: &'a dyn Host) -> CallFuture<'a> {
        Box::pin(async move {
            self.guard.admit(self.name())?;
            let timeout = self.guard.timeout;
            match tokio::time::timeout(timeout, self.tool.call(arguments, host)).await {
                Ok(outcome) => outcome,
                Err(_elapsed) => Ok(timed_out(self.name(), timeout)),
            }
        })
    }
}

fn timed_out(name: &str, timeout: Duration) -> ToolReply {
    let text =
        format!("{name} gave no result within its time limit of {timeout:?}: nothing is known");
    reply::failure(Status::Timeout, &text)
}

impl<T: Builtin + ?Sized> Builtin for Arc<T> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn definition(&self) -> &Bytes {
        (**self).definition()
    }

    fn call<'a>(&'a self, arguments: &'a [u8], host: &'a dyn Host) -> CallFuture<'a> {
        (**self).call(arguments, host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Sent;
    use crate::builtin::spec::{EchoSpec, WeatherSpec};
    use crate::builtin::testing::{NoHost, call, definition};
    use serde_json::{Value, json};

    fn with_echo(tool: ToolSpec, max_message_length: usize) -> Builtins {
        let echo = EchoSpec { tool, max_message_length };
        Builtins::new(&BuiltinSpec { echo, ..BuiltinSpec::default() })
    }

    fn names(tools: &Builtins) -> Vec<&str> {
        tools.iter().map(Builtin::name).collect()
    }

    #[test]
    fn tools_come_in_their_order_and_are_found_by_name() {
        let tools = Builtins::new(&BuiltinSpec::default());
        let all = [
            "echo",
            "get_weather",
            "context7_search_libraries",
            "context7_get_documentation",
            "context7_get_examples",
            "gateway_status",
            "gateway_health_check",
            "gateway_aggregate",
            "gateway_route_explain",
        ];
        assert_eq!(names(&tools), all);
        assert!(all.iter().all(|name| tools.get(name).unwrap().name() == *name));
        assert!(tools.get("Echo").is_none());
        assert_eq!(tools.off(), []);
        let unknown = |name| Service { name, standing: Standing::Unknown };
        assert_eq!(tools.services(), [unknown("weather"), unknown("context7")]);
    }

    #[test]
    fn disabled_tools_are_not_there_and_switched_off_ones_say_why() {
        let mut spec = BuiltinSpec::default();
        spec.echo.tool.enabled = false;
        spec.echo.tool.off = Some("never mind".to_owned());
        spec.context7.tool.off = Some("CONTEXT7_KEY is not set".to_owned());
        spec.gateway.tool.enabled = false;
        let tools = Builtins::new(&spec);
        assert_eq!(names(&tools), ["get_weather"]);
        let off: Vec<_> = tools.off().iter().map(|off| off.name).collect();
        assert_eq!(off, context7::NAMES);
        assert!(tools.off().iter().all(|off| off.reason == "CONTEXT7_KEY is not set"));
    }

    #[test]
    fn definitions_are_complete_and_true_to_what_is_accepted() {
        let tools = Builtins::new(&BuiltinSpec::default());
        for tool in tools.iter() {
            let definition = definition(tool);
            assert_eq!(definition["name"], tool.name());
            assert!(definition["title"].is_string() && definition["description"].is_string());
            let changes = tool.name() == "gateway_aggregate";
            assert_eq!(definition["annotations"]["readOnlyHint"], !changes);
            assert_eq!(definition["annotations"]["idempotentHint"], !changes);
            assert_eq!(definition["annotations"]["destructiveHint"], changes);
            let shows = tool.name().starts_with("gateway_") && !changes;
            let open_world = tool.name() != "echo" && !shows;
            assert_eq!(definition["annotations"]["openWorldHint"], open_world);
            assert_eq!(definition["outputSchema"]["type"], "object");
            let input = &definition["inputSchema"];
            assert_eq!(input["additionalProperties"], false);
            for (name, property) in input["properties"].as_object().unwrap() {
                assert!(property["description"].is_string(), "{name}");
            }
            let all = ["gateway_status", "gateway_health_check"].contains(&tool.name());
            assert_eq!(input.get("required").is_none(), all, "{}", tool.name());
        }
    }

    #[tokio::test]
    async fn every_key_of_a_schema_is_accepted_and_no_other() {
        let tools = Builtins::new(&BuiltinSpec::default());
        for tool in tools.iter() {
            let told = call(&tools, tool.name(), json!({"zzzzzzzzzzzz": 1})).await;
            assert_eq!(told.status, Status::Invalid);
            let known = told.text.split_once("known keys: ").unwrap().1;
            let mut known: Vec<_> = known.split(", ").collect();
            let definition = definition(tool);
            let properties = definition["inputSchema"]["properties"].as_object().unwrap();
            let mut properties: Vec<_> = properties.keys().map(String::as_str).collect();
            known.sort_unstable();
            properties.sort_unstable();
            assert_eq!(known, properties, "{}", tool.name());
        }
    }

    #[tokio::test]
    async fn an_echo_has_text_and_structure() {
        let tools = Builtins::new(&BuiltinSpec::default());
        let told = call(&tools, "echo", json!({"message": "hé 😀"})).await;
        assert_eq!((told.status, told.text.as_str()), (Status::Success, "hé 😀"));
        assert_eq!(told.data, json!({"message": "hé 😀", "length": 4}));
    }

    #[tokio::test]
    async fn the_limit_of_an_echo_counts_characters_not_bytes() {
        let tools = with_echo(ToolSpec::default(), 1_000);
        let echo = |count| call(&tools, "echo", json!({"message": "😀".repeat(count)}));
        assert_eq!(echo(1_000).await.data["length"], 1_000);
        let told = echo(1_001).await;
        assert_eq!(told.status, Status::Invalid);
        assert!(told.text.contains("1001 characters"), "{}", told.text);
        assert!(told.text.contains("limit of 1000 characters"), "{}", told.text);
        let schema = &definition(tools.get("echo").unwrap())["inputSchema"];
        assert_eq!(schema["properties"]["message"]["maxLength"], 1_000);
        let short = with_echo(ToolSpec::default(), 3);
        let told = call(&short, "echo", json!({"message": "four"})).await;
        assert!(told.text.contains("limit of 3 characters"), "{}", told.text);
    }

    #[tokio::test]
    async fn bad_arguments_of_an_echo_name_the_key() {
        let tools = Builtins::new(&BuiltinSpec::default());
        for (arguments, says) in [
            (json!({"mesage": "x"}), "unknown key `mesage`; did you mean `message`?"),
            (json!({}), "`message` is missing: expected a string"),
            (json!({"message": 5}), "`message`: expected a string, found 5"),
            (json!(["x"]), "expected a JSON object"),
        ] {
            let told = call(&tools, "echo", arguments).await;
            assert_eq!(told.status, Status::Invalid);
            assert!(told.text.contains(says), "{}", told.text);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_limit_refuses_at_once_and_says_for_how_long() {
        let limited = ToolSpec { rate_limit: Some(100), ..ToolSpec::default() };
        let tools = with_echo(limited, 10);
        let echo = tools.get("echo").unwrap();
        for _ in 0..100 {
            assert!(echo.call(br#"{"message":"x"}"#, &NoHost).await.is_ok());
        }
        let fault = echo.call(br#"{"message":"x"}"#, &NoHost).await.unwrap_err();
        assert_eq!((fault.kind, fault.sent), (Kind::RateLimited, Sent::No));
        assert_eq!(fault.retry_after, Some(Duration::from_millis(600)));
        assert_eq!(fault.message, "echo is limited to 100 calls a minute; try again in 1 s");
        tokio::time::advance(Duration::from_millis(600)).await;
        assert!(echo.call(br#"{"message":"x"}"#, &NoHost).await.is_ok());
        assert!(echo.call(br#"{"message":"x"}"#, &NoHost).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_table_that_stays_the_same_keeps_its_state_in_a_new_configuration() {
        let mut spec = BuiltinSpec::default();
        spec.echo.tool.rate_limit = Some(1);
        spec.weather.tool.rate_limit = Some(1);
        let tools = Builtins::new(&spec);
        let mut next = spec.clone();
        next.weather.default_units = crate::builtin::spec::Units::Imperial;
        for name in ["echo", "get_weather"] {
            assert!(tools.get(name).unwrap().call(b"{}", &NoHost).await.is_ok());
        }
        let renewed = tools.renewed(&spec, &next);
        assert_eq!(names(&renewed), names(&tools));
        assert!(
            renewed.get("echo").unwrap().call(b"{}", &NoHost).await.is_err(),
            "its allowance is used"
        );
        assert!(
            renewed.get("get_weather").unwrap().call(b"{}", &NoHost).await.is_ok(),
            "a new one"
        );
        let kept = |old: &Builtins, new: &Builtins| {
            let same = |(a, b): (&Option<Arc<Context7>>, &Option<Arc<Context7>>)| {
                Arc::ptr_eq(a.as_ref().unwrap(), b.as_ref().unwrap())
            };
            same((&old.context7, &new.context7))
        };
        assert!(kept(&tools, &renewed), "with its cache");
    }

    #[tokio::test(start_paused = true)]
    async fn the_tools_of_one_table_share_its_allowance() {
        let mut spec = BuiltinSpec::default();
        spec.context7.tool.rate_limit = Some(3);
        let tools = Builtins::new(&spec);
        let mut taken = Vec::new();
        for name in context7::NAMES.iter().cycle().take(4) {
            // Refused for its arguments, but a call.
            taken.push(tools.get(name).unwrap().call(b"{}", &NoHost).await.is_ok());
        }
        assert_eq!(taken, [true, true, true, false]);
        assert!(tools.get("echo").unwrap().call(b"{}", &NoHost).await.is_ok(), "others do not");
    }

    struct Endless;

    impl Builtin for Endless {
        fn name(&self) -> &'static str {
            "endless"
        }

        fn definition(&self) -> &Bytes {
            static NONE: Bytes = Bytes::new();
            &NONE
        }

        fn call<'a>(&'a self, _: &'a [u8], _: &'a dyn Host) -> CallFuture<'a> {
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_takes_too_long_is_an_honest_failure() {
        let timeout = Duration::from_secs(30);
        let spec = ToolSpec { timeout, ..ToolSpec::default() };
        let tool = Guarded { tool: Box::new(Endless), guard: Guard::new(&spec) };
        let start = clock::now();
        let reply = tool.call(b"{}", &NoHost).await.unwrap();
        assert_eq!(clock::now() - start, timeout);
        assert_eq!(reply.status, Status::Timeout);
        let result: Value = serde_json::from_slice(&reply.result).unwrap();
        assert_eq!(result["isError"], true);
        let text = "endless gave no result within its time limit of 30s: nothing is known";
        assert_eq!(result["content"][0]["text"], text);
    }

    #[test]
    fn nothing_shows_a_key() {
        let mut spec = BuiltinSpec::default();
        spec.context7.api_key = Some(crate::base::Secret::new("ctx7sk-hunter2"));
        spec.weather =
            WeatherSpec { api_key: Some(crate::base::Secret::new("hunter2")), ..spec.weather };
        let tools = Builtins::new(&spec);
        let shown = format!("{tools:?} {:?} {:?}", tools.weather, tools.context7);
        assert!(shown.contains("get_weather") && !shown.contains("hunter2"), "{shown}");
    }
}
