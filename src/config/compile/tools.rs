//! Pure: `[tools.…]`, the tools that run inside the gateway.

use super::{Context, base_url, size};
use crate::base::Secret;
use crate::builtin::spec::{
    BuiltinSpec, Context7Spec, CoordinationSpec, EchoSpec, ToolSpec, Units, WEATHER_URL,
    WeatherSpec,
};
use crate::config::file;
use crate::config::problem::{At, Findings};

/// Compiles `[tools]`.
pub(super) fn compile(context: &Context<'_>, findings: &mut Findings<'_>) -> BuiltinSpec {
    BuiltinSpec {
        echo: echo(context),
        weather: weather(context, findings),
        context7: context7(context, findings),
        gateway: gateway(context),
    }
}

/// The keys that every tool has.
struct Common<'a> {
    path: &'a str,
    enabled: Option<bool>,
    rate_limit: Option<u32>,
    timeout: Option<file::PositiveTime>,
}

/// A tool with its keys over its defaults.
fn tool(context: &Context<'_>, common: &Common<'_>, default: &ToolSpec) -> ToolSpec {
    let timeout = common.timeout.map(|time| time.0).or_else(|| context.default_timeout());
    let no_limit_at_zero = |calls: u32| (calls > 0).then_some(calls);
    ToolSpec {
        enabled: common.enabled.unwrap_or(default.enabled),
        rate_limit: common.rate_limit.map_or(default.rate_limit, no_limit_at_zero),
        timeout: timeout.unwrap_or(default.timeout),
        off: context.off(common.path),
    }
}

fn echo(context: &Context<'_>) -> EchoSpec {
    let file::Echo { enabled, rate_limit, timeout, max_message_length } =
        context.read.file.tools.echo;
    let common = Common { path: "tools.echo", enabled, rate_limit, timeout };
    let default = EchoSpec::default();
    EchoSpec {
        tool: tool(context, &common, &default.tool),
        max_message_length: max_message_length.map_or(default.max_message_length, size),
    }
}

fn gateway(context: &Context<'_>) -> CoordinationSpec {
    let file::Coordination { enabled, rate_limit, timeout, .. } = context.read.file.tools.gateway;
    let common = Common { path: "tools.gateway", enabled, rate_limit, timeout };
    let default = CoordinationSpec::default();
    let file = &context.read.file.tools.gateway;
    CoordinationSpec {
        tool: tool(context, &common, &default.tool),
        max_calls: file.max_calls.map_or(default.max_calls, size),
        max_concurrency: file.max_concurrency.map_or(default.max_concurrency, size),
        max_answer_bytes: file.max_answer_bytes.map_or(default.max_answer_bytes, size),
    }
}

fn weather(context: &Context<'_>, findings: &mut Findings<'_>) -> WeatherSpec {
    let weather = &context.read.file.tools.weather;
    let file::Weather { enabled, rate_limit, timeout, .. } = *weather;
    let common = Common { path: "tools.weather", enabled, rate_limit, timeout };
    let default = WeatherSpec::default();
    let mut url = |text: &Option<String>, path| {
        text.as_deref().and_then(|text| base_url(text, At::Value(path), findings))
    };
    let base = url(&weather.base_url, "tools.weather.base_url");
    let geocoding = url(&weather.geocoding_url, "tools.weather.geocoding_url");
    // A stand-in for the forecast service stands in for its sister too.
    let stand_in = base.clone().filter(|base| base != WEATHER_URL);
    WeatherSpec {
        tool: tool(context, &common, &default.tool),
        default_units: match weather.default_units {
            Some(file::Units::Metric) => Units::Metric,
            Some(file::Units::Imperial) => Units::Imperial,
            None => default.default_units,
        },
        geocoding_url: geocoding.or(stand_in).unwrap_or(default.geocoding_url),
        base_url: base.unwrap_or(default.base_url),
        api_key: key(weather.api_key.as_deref(), At::Value("tools.weather.api_key"), findings),
    }
}

fn context7(context: &Context<'_>, findings: &mut Findings<'_>) -> Context7Spec {
    const KEY: &str = "tools.context7.api_key";
    const URL: &str = "tools.context7.base_url";
    let context7 = &context.read.file.tools.context7;
    let file::Context7 { enabled, rate_limit, timeout, .. } = *context7;
    let common = Common { path: "tools.context7", enabled, rate_limit, timeout };
    let default = Context7Spec::default();
    let (url, url_at) = match &context.overrides.context7_url {
        Some(url) => (Some(url), At::Variable("CONTEXT7_API_URL")),
        None => (context7.base_url.as_ref(), At::Value(URL)),
    };
    let (api_key, key_at) = match &context.overrides.context7_key {
        Some(key) => (Some(key.expose()), At::Variable("CONTEXT7_API_KEY")),
        None => (context7.api_key.as_deref(), At::Value(KEY)),
    };
    let spec = Context7Spec {
        tool: tool(context, &common, &default.tool),
        base_url: url.and_then(|url| base_url(url, url_at, findings)).unwrap_or(default.base_url),
        api_key: key(api_key, key_at, findings),
        api_key_required: context7.api_key_required.unwrap_or(default.api_key_required),
    };
    if spec.api_key_required && spec.api_key.is_none() && spec.tool.enabled {
        let what = "there is no key, so the service is never called";
        let hint = "set CONTEXT7_API_KEY or tools.context7.api_key".to_owned();
        findings.warn(At::Key("tools.context7.api_key_required"), what, Some(hint));
    }
    spec
}

/// A key of a service; none if it is empty. Headers carry it, so it must fit into one.
fn key(text: Option<&str>, at: At<'_>, findings: &mut Findings<'_>) -> Option<Secret> {
    let text = text.map(str::trim).filter(|text| !text.is_empty())?;
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let hint = "letters, digits and signs of ASCII, without spaces".to_owned();
        findings.problem(at, "the key holds a character that keys cannot have", Some(hint));
    }
    Some(Secret::new(text))
}
