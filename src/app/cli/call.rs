//! `waypost call`: one tool call through the gateway.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::Args;
use serde_json::{Map, Value, json};

use super::list::SETTLE_MAX;
use super::remote::Remote;
use super::trace::{self, Shares};
use super::{ConfigArgs, write};
use crate::app::{App, Process};
use crate::gateway::{Call, Gateway, Wish};
use crate::proto::envelope::split;
use crate::proto::{Era, meta};
use crate::telemetry::Meters;
use crate::upstream::Caller;

/// Arguments of `waypost call`.
#[derive(Args, Debug)]
pub(crate) struct CallArgs {
    /// The tool's exposed name.
    tool: String,
    /// Arguments as key=value; a value that is JSON counts as such, any other one is text.
    #[arg(value_name = "KEY=VALUE")]
    pairs: Vec<String>,
    /// Arguments as one JSON object.
    #[arg(long, value_name = "JSON", conflicts_with = "pairs")]
    args: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Ask this running gateway; default: one at the configured address, else none is needed.
    /// It is shown the key in the variable `WAYPOST_KEY`.
    #[arg(long)]
    url: Option<String>,
    /// Print the whole result as JSON.
    #[arg(long)]
    json: bool,
    /// Call so many times, one after the other, and say on stderr who answered how many.
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeat: u32,
    /// Say on stderr which replicas were tried, and why; with --json it stands in the result.
    #[arg(long)]
    trace: bool,
    /// Choose the replica by this rule instead of the configured one: auto, `round_robin`, weighted,
    /// `least_busy`, `p2c_ewma`, random, `consistent_hash`, priority, expression.
    #[arg(long, value_name = "S")]
    strategy: Option<String>,
}

/// Exit code 0 if every call went well, 1 if one was an error.
pub(crate) async fn run(args: CallArgs) -> anyhow::Result<ExitCode> {
    let arguments = arguments(&args)?;
    let (spec, environment) = args.config.load_quietly()?;
    let params = params(&args, &arguments);
    let mut shown = Shown { args: &args, shares: Shares::default(), good: true };
    if let Some(remote) = Remote::find(args.url.as_deref(), &spec.listen, &environment).await? {
        for _ in 0..args.repeat {
            shown.answer(remote.ask("tools/call", params.clone()).await?)?;
        }
    } else {
        let app = App::start(&spec.gateway, Process::this(&environment)?, Meters::new()).await;
        app.settled(SETTLE_MAX).await;
        for _ in 0..args.repeat {
            shown.answer(direct(&app.gateway, &params).await?)?;
        }
        app.stop_at_once().await;
    }
    if let Some(line) = shown.shares.line().filter(|_| args.repeat > 1) {
        write::err(&line);
    }
    Ok(if shown.good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The parameters of the call, with what is asked of the gateway beside it.
fn params(args: &CallArgs, arguments: &Value) -> Value {
    let mut asked = Map::new();
    if args.trace || args.repeat > 1 {
        asked.insert(meta::TRACE.to_owned(), true.into());
    }
    if let Some(strategy) = &args.strategy {
        asked.insert(meta::STRATEGY.to_owned(), strategy.as_str().into());
    }
    let mut params = json!({ "name": args.tool, "arguments": arguments });
    if let (false, Some(object)) = (asked.is_empty(), params.as_object_mut()) {
        object.insert("_meta".to_owned(), asked.into());
    }
    params
}

/// The answers as they are printed.
struct Shown<'a> {
    args: &'a CallArgs,
    shares: Shares,
    /// None of them was an error.
    good: bool,
}

impl Shown<'_> {
    fn answer(&mut self, mut answer: Value) -> anyhow::Result<()> {
        let whole = (self.args.trace && self.args.json).then(|| answer.clone());
        let trace = trace::take(&mut answer);
        self.good &= show(whole.as_ref().unwrap_or(&answer), self.args.json)?;
        let Some(trace) = trace else { return Ok(()) };
        self.shares.count(&trace);
        if self.args.trace && !self.args.json {
            write::err(&trace::lines(&trace));
        }
        Ok(())
    }
}

fn arguments(args: &CallArgs) -> anyhow::Result<Value> {
    if let Some(text) = &args.args {
        let value: Value = serde_json::from_str(text).context("--args is not JSON")?;
        return if value.is_object() { Ok(value) } else { bail!("--args must be a JSON object") };
    }
    let pair = |pair: &String| match pair.split_once('=') {
        Some((key, value)) => {
            let json = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
            Ok((key.to_owned(), json))
        }
        None => bail!("{pair:?} is not key=value"),
    };
    args.pairs.iter().map(pair).collect::<anyhow::Result<Map<String, Value>>>().map(Value::Object)
}

/// A call of a gateway in this process.
async fn direct(gateway: &Gateway, params: &Value) -> anyhow::Result<Value> {
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let body = Bytes::from(message.to_string());
    let shape = split(&body).map_err(|error| anyhow::anyhow!("{}", error.why))?;
    let info = concat!(r#"{"name":"waypost-cli","version":""#, env!("CARGO_PKG_VERSION"), r#""}"#);
    let info = Some(Bytes::from_static(info.as_bytes()));
    let caller = Caller { info, ..Caller::silent(Era::Legacy) };
    let call =
        Call { body: &body, shape: &shape, caller: &caller, headers: None, wish: Wish::default() };
    let reply = gateway.call(call, |_| {}).await;
    Ok(serde_json::from_slice(&reply.whole(Some(b"1")).await)?)
}

/// Prints an answer. Answers whether it is a good one.
fn show(answer: &Value, json: bool) -> anyhow::Result<bool> {
    let error = answer.get("error");
    let failed = error.is_some() || answer.pointer("/result/isError") == Some(&Value::Bool(true));
    if json {
        let part = error.or(answer.get("result")).unwrap_or(answer);
        write::out(&serde_json::to_string_pretty(part)?)?;
    } else if let Some(error) = error {
        let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
        write::err(&format!("error {}: {message}", error.get("code").unwrap_or(&Value::Null)));
    } else {
        write::out(&content(answer))?;
    }
    Ok(!failed)
}

fn content(answer: &Value) -> String {
    let blocks = answer.pointer("/result/content").and_then(Value::as_array);
    let text = |block: &Value| match block.get("text").and_then(Value::as_str) {
        Some(text) => text.to_owned(),
        None => block.to_string(),
    };
    blocks.into_iter().flatten().map(text).collect::<Vec<_>>().join("\n")
}
