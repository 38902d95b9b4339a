//! `waypost call`: one tool call through the gateway.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::Args;
use serde_json::{Map, Value, json};

use super::list::SETTLE_MAX;
use super::remote::Remote;
use super::{ConfigArgs, write};
use crate::app::{App, Process};
use crate::gateway::{Call, Gateway};
use crate::proto::envelope::split;
use crate::proto::{Abilities, Era};
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
    /// Call so many times, one after the other.
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeat: u32,
}

/// Exit code 0 if every call went well, 1 if one was an error.
pub(crate) async fn run(args: CallArgs) -> anyhow::Result<ExitCode> {
    let arguments = arguments(&args)?;
    let (spec, environment) = args.config.load_quietly()?;
    let params = json!({ "name": args.tool, "arguments": arguments });
    let mut good = true;
    if let Some(remote) = Remote::find(args.url.as_deref(), &spec.listen, &environment).await? {
        for _ in 0..args.repeat {
            good &= show(&remote.ask("tools/call", params.clone()).await?, args.json)?;
        }
    } else {
        let app = App::start(&spec.gateway, Process::this(&environment)?, Meters::new());
        app.settled(SETTLE_MAX).await;
        for _ in 0..args.repeat {
            good &= show(&direct(&app.gateway, &params).await?, args.json)?;
        }
        app.stop_at_once().await;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
    let caller = Caller {
        who: None,
        era: Era::Legacy,
        capabilities: Bytes::from_static(b"{}"),
        info: Some(Bytes::from_static(
            concat!(r#"{"name":"waypost-cli","version":""#, env!("CARGO_PKG_VERSION"), r#""}"#)
                .as_bytes(),
        )),
        log_level: None,
        abilities: Abilities::NONE,
        key: 0,
        home: 0,
        mail: None,
    };
    let call = Call { body: &body, shape: &shape, caller: &caller, headers: None };
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
