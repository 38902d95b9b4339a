//! Pure: `[server]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Context;
use crate::config::file::Time;
use crate::config::problem::{At, Findings};
use crate::config::text::{bare_host, is_host, is_loopback, item};
use crate::front::spec::{LimitSpec, ListenSpec};

/// Compiles `[server]`.
pub(super) fn compile(context: &Context<'_>, findings: &mut Findings<'_>) -> ListenSpec {
    let server = &context.read.file.server;
    let default = ListenSpec::default();
    let given = context.overrides.host.as_ref().map(|(host, at)| (host.as_str(), *at));
    let of_file = || server.host.as_deref().map(|host| (host, At::Value("server.host")));
    let (host, at) = given.or_else(of_file).unwrap_or((&default.host, At::Key("server")));
    let auth = super::auth::compile(context, findings);
    // Keys that something is wrong with are keys: one problem is enough.
    let asks = context.read.file.auth.keys.as_ref().is_some_and(|keys| !keys.is_empty())
        || findings.dropped_in("auth");
    check_host(host, at, asks || context.overrides.insecure_public, findings);
    let allowed_hosts = server.allowed_hosts.as_deref().unwrap_or_default();
    let allowed_origins = server.allowed_origins.as_deref().unwrap_or_default();
    check_allowed_hosts(allowed_hosts, findings);
    check_allowed_origins(allowed_origins, findings);
    ListenSpec {
        host: bare_host(host).to_owned(),
        port: context.overrides.port.or(server.port).unwrap_or(default.port),
        allowed_hosts: allowed_hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
        allowed_origins: allowed_origins.iter().map(|host| host.to_ascii_lowercase()).collect(),
        grace: server.grace.map_or(default.grace, |time| time.0),
        insecure_public: context.overrides.insecure_public,
        auth,
        limits: LimitSpec {
            session_idle_max: session_idle(server.session_idle, &default.limits, findings),
            memory_bytes_max: memory(server.max_memory_bytes, findings),
            ..default.limits
        },
    }
}

/// A client that thinks for a while must find its session again, and none is kept for ever.
const SESSION_IDLE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);

fn session_idle(time: Option<Time>, default: &LimitSpec, findings: &mut Findings<'_>) -> Duration {
    let time = time.map_or(default.session_idle_max, |time| time.0);
    if !SESSION_IDLE.contains(&time) {
        let hint = Some("\"1s\" to \"24h\"".to_owned());
        findings.problem(At::Value("server.session_idle"), "out of range", hint);
    }
    time
}

/// Less is what it takes to run at all.
const MEMORY_BYTES_MIN: u64 = 16 * 1024 * 1024;

fn memory(bytes: Option<u64>, findings: &mut Findings<'_>) -> Option<u64> {
    if bytes.is_some_and(|bytes| bytes != 0 && bytes < MEMORY_BYTES_MIN) {
        let hint = format!("{MEMORY_BYTES_MIN} (16 MiB) or more, or 0 for no limit");
        findings.problem(At::Value("server.max_memory_bytes"), "too little memory", Some(hint));
    }
    bytes
}

fn check_host(host: &str, at: At<'_>, may_be_public: bool, findings: &mut Findings<'_>) {
    if !is_host(host) {
        let hint = "an address or a host name, without port".to_owned();
        findings.problem(at, "not a host", Some(hint));
    } else if !is_loopback(bare_host(host)) && !may_be_public {
        let what = "other machines could reach the gateway, and nothing asks who they are";
        let hint = "use 127.0.0.1, name keys in [auth] keys, or accept it with --insecure-public"
            .to_owned();
        findings.problem(at, what, Some(hint));
    }
}

fn check_allowed_hosts(hosts: &[String], findings: &mut Findings<'_>) {
    for (index, host) in hosts.iter().enumerate() {
        if !is_host(host) {
            let path = item("server.allowed_hosts", index);
            let hint = "a name as it stands in `Host`, without port: \"gateway.example.com\"";
            findings.problem(At::Value(&path), "not a host", Some(hint.to_owned()));
        }
    }
}

fn check_allowed_origins(origins: &[String], findings: &mut Findings<'_>) {
    for (index, origin) in origins.iter().enumerate() {
        let host = origin.split_once("://").filter(|(scheme, _)| !scheme.is_empty());
        let plain = |host: &str| !host.is_empty() && !host.contains(['/', '?', '#', '*', ' ', '@']);
        if !host.is_some_and(|(_, host)| plain(host)) {
            let path = item("server.allowed_origins", index);
            let hint = "scheme, host and port, nothing after: \"https://app.example.com\"";
            findings.problem(At::Value(&path), "not an origin", Some(hint.to_owned()));
        }
    }
}
