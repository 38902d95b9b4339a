//! Pure: `[….retry]`, `[….breaker]`, `[….health]`, `[….hedge]` and `[….limits]`. An upstream's own
//! key goes before that of `[defaults]`, and that before the default.

use super::{Context, size};
use crate::config::file;
use crate::config::problem::{At, Findings};
use crate::config::text::join;
use crate::fleet::spec::{BreakerSpec, HedgeSpec, LimitSpec, RetrySpec};
use crate::upstream::spec::HealthSpec;

/// When a call is sent again. The variable `MCP_MAX_RETRIES` goes before `[defaults]`.
pub(super) fn retry(
    context: &Context<'_>,
    own: &file::Retry,
    path: &str,
    findings: &mut Findings<'_>,
) -> RetrySpec {
    let (common, default) = (&context.read.file.defaults.retry, RetrySpec::default());
    let attempts = context.overrides.max_attempts.or(common.max_attempts);
    let time = |own: Option<file::Time>, common: Option<file::Time>| own.or(common).map(|t| t.0);
    let spec = RetrySpec {
        max_attempts: own.max_attempts.or(attempts).unwrap_or(default.max_attempts),
        backoff_base: time(own.backoff_base, common.backoff_base).unwrap_or(default.backoff_base),
        backoff_factor: own
            .backoff_factor
            .or(common.backoff_factor)
            .unwrap_or(default.backoff_factor),
        backoff_max: time(own.backoff_max, common.backoff_max).unwrap_or(default.backoff_max),
        budget_ratio: own.budget_ratio.or(common.budget_ratio).unwrap_or(default.budget_ratio),
        retry_after_max: time(own.retry_after_max, common.retry_after_max)
            .unwrap_or(default.retry_after_max),
        on_server_error: own
            .on_server_error
            .or(common.on_server_error)
            .unwrap_or(default.on_server_error),
    };
    if own.backoff_base.is_some()
        && own.backoff_max.is_some()
        && spec.backoff_base > spec.backoff_max
    {
        let what = "shorter than backoff_base, the first wait";
        findings.problem(At::Value(&join(path, "backoff_max")), what, None);
    }
    spec
}

/// When a replica gets no calls for a while.
pub(super) fn breaker(
    context: &Context<'_>,
    own: &file::Breaker,
    path: &str,
    findings: &mut Findings<'_>,
) -> BreakerSpec {
    let (common, default) = (&context.read.file.defaults.breaker, BreakerSpec::default());
    let time = |own: Option<file::PositiveTime>, common: Option<file::PositiveTime>| {
        own.or(common).map(|t| t.0)
    };
    let spec = BreakerSpec {
        consecutive: own.consecutive.or(common.consecutive).unwrap_or(default.consecutive),
        window: time(own.window, common.window).unwrap_or(default.window),
        success_rate: own.success_rate.or(common.success_rate).unwrap_or(default.success_rate),
        min_requests: own.min_requests.or(common.min_requests).unwrap_or(default.min_requests),
        eject_base: time(own.eject_base, common.eject_base).unwrap_or(default.eject_base),
        eject_max: time(own.eject_max, common.eject_max).unwrap_or(default.eject_max),
        eject_max_percent: own
            .eject_max_percent
            .or(common.eject_max_percent)
            .unwrap_or(default.eject_max_percent),
        panic_percent: own.panic_percent.or(common.panic_percent).unwrap_or(default.panic_percent),
    };
    if own.eject_base.is_some() && own.eject_max.is_some() && spec.eject_base > spec.eject_max {
        let what = "shorter than eject_base, the first time";
        findings.problem(At::Value(&join(path, "eject_max")), what, None);
    }
    spec
}

/// How replicas are looked at.
pub(super) fn health(context: &Context<'_>, own: &file::Health) -> HealthSpec {
    let (common, default) = (&context.read.file.defaults.health, HealthSpec::default());
    let time = |own: Option<file::PositiveTime>, common: Option<file::PositiveTime>| {
        own.or(common).map(|t| t.0)
    };
    let timeout = time(own.timeout, common.timeout);
    let tool = own.tool.clone().or_else(|| common.tool.clone());
    HealthSpec {
        interval: time(own.interval, common.interval).unwrap_or(default.interval),
        fast_interval: time(own.fast_interval, common.fast_interval)
            .unwrap_or(default.fast_interval),
        down_interval: time(own.down_interval, common.down_interval)
            .unwrap_or(default.down_interval),
        timeout: timeout.unwrap_or(default.timeout),
        timeout_child: timeout.unwrap_or(default.timeout_child),
        fall: own.fall.or(common.fall).unwrap_or(default.fall),
        rise: own.rise.or(common.rise).unwrap_or(default.rise),
        skip_if_traffic: own
            .skip_if_traffic
            .or(common.skip_if_traffic)
            .unwrap_or(default.skip_if_traffic),
        tool: tool.filter(|tool| !tool.is_empty()),
    }
}

/// When a slow call is asked a second time.
pub(super) fn hedge(context: &Context<'_>, own: &file::Hedge) -> HedgeSpec {
    let (common, default) = (&context.read.file.defaults.hedge, HedgeSpec::default());
    let delay = own.delay_min.or(common.delay_min).map(|time| time.0);
    HedgeSpec {
        enabled: !matches!(own.enabled.or(common.enabled), Some(file::HedgeMode::Off)),
        budget: own.budget.or(common.budget).unwrap_or(default.budget),
        delay_min: delay.unwrap_or(default.delay_min),
    }
}

/// Bounds.
pub(super) fn limits(context: &Context<'_>, own: &file::Limits) -> LimitSpec {
    let (common, default) = (&context.read.file.defaults.limits, LimitSpec::default());
    let replica = own.inflight_replica.or(common.inflight_replica);
    LimitSpec {
        inflight: own.inflight.or(common.inflight).map_or(default.inflight, size),
        inflight_http: replica.map_or(default.inflight_http, size),
        inflight_child: replica.map_or(default.inflight_child, size),
        queue: own.queue.or(common.queue).map_or(default.queue, size),
        sessions_replica: own
            .sessions_replica
            .or(common.sessions_replica)
            .map_or(default.sessions_replica, size),
    }
}
