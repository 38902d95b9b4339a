//! Pure: `[upstreams.NAME]`.

use std::collections::HashMap;
use std::time::Duration;

use super::{Context, name_characters, replica, size};
use crate::base::UpstreamName;
use crate::catalog::spec::{NamingSpec, OfferSpec};
use crate::config::file;
use crate::config::problem::{At, Findings};
use crate::config::text::join;
use crate::fleet::spec::{Balance, PoolSpec, TIMEOUT, TIMEOUT_MAX};
use crate::gateway::spec::UpstreamSpec;
use crate::upstream::spec::{EraPolicy, ReplicaSpec};

/// What must be left of `name_max` for the name of a tool.
const TOOL_NAME_MIN: usize = 8;

/// Compiles `[upstreams]`, in the order of the file.
pub(super) fn compile(
    context: &Context<'_>,
    naming: &NamingSpec,
    findings: &mut Findings<'_>,
) -> Vec<UpstreamSpec> {
    let mut upstreams = Vec::new();
    let mut prefixes: HashMap<String, String> = HashMap::new();
    for (name, upstream) in &context.read.file.upstreams.0 {
        let path = join("upstreams", name);
        let offer = offer(name, upstream, &path, findings);
        check_prefix(&offer.prefix, upstream, &path, naming, findings);
        match prefixes.get(&offer.prefix) {
            Some(other) => equal_prefixes(&offer.prefix, upstream, &path, other, findings),
            None => {
                prefixes.insert(offer.prefix.clone(), path.clone());
            }
        }
        check_hash_on(upstream.hash_on.as_deref(), &path, findings);
        let off = context.off(&path);
        let pool = pool(context, upstream, &path, off.is_some(), findings);
        match UpstreamName::new(name) {
            Ok(name) => upstreams.push(UpstreamSpec {
                name,
                required: upstream.required.unwrap_or(false),
                trust_annotations: upstream.trust_annotations.unwrap_or(false),
                offer,
                pool,
                off,
            }),
            Err(error) => findings.problem(At::Key(&path), error.to_string(), None),
        }
    }
    upstreams
}

// === names ===

fn offer(
    name: &str,
    upstream: &file::Upstream,
    path: &str,
    findings: &mut Findings<'_>,
) -> OfferSpec {
    // Names of upstreams may hold dots, names of tools may not.
    let prefix = upstream.prefix.clone().unwrap_or_else(|| name.replace('.', "_"));
    let all = OfferSpec::all(&prefix);
    let tools = &upstream.tools;
    let tools_path = join(path, "tools");
    check_renames(&tools.rename, &join(&tools_path, "rename"), findings);
    for (list, key) in [(&tools.include, "include"), (&tools.exclude, "exclude")] {
        if list.iter().flatten().any(String::is_empty) {
            let path = join(&tools_path, key);
            let hint = "\"*\" matches every name".to_owned();
            findings.problem(At::Value(&path), "an empty pattern matches nothing", Some(hint));
        }
    }
    OfferSpec {
        include: tools.include.clone().unwrap_or(all.include),
        exclude: tools.exclude.clone().unwrap_or(all.exclude),
        rename: tools.rename.0.iter().cloned().collect(),
        describe: tools.describe.0.iter().cloned().collect(),
        prefix,
    }
}

fn check_renames(rename: &file::Named<String>, path: &str, findings: &mut Findings<'_>) {
    let mut taken: HashMap<&str, &str> = HashMap::new();
    for (old, new) in &rename.0 {
        let path = join(path, old);
        if new.is_empty() {
            findings.problem(At::Value(&path), "the new name is empty", None);
        } else if let Some(other) = taken.insert(new, old) {
            let what = format!("the tool {other:?} gets the same new name");
            findings.problem(At::Value(&path), what, None);
        }
    }
}

fn check_prefix(
    prefix: &str,
    upstream: &file::Upstream,
    path: &str,
    naming: &NamingSpec,
    findings: &mut Findings<'_>,
) {
    let prefix_path = join(path, "prefix");
    let at = if upstream.prefix.is_some() { At::Value(&prefix_path) } else { At::Key(path) };
    // A name that is no prefix is no name either, and that is said once.
    if upstream.prefix.is_some() {
        name_characters(prefix, &prefix_path, findings);
    }
    if prefix.is_empty() && upstream.prefix.is_some() {
        let what = "without a prefix its names are neither made unique nor shortened";
        findings.warn(at, what, None);
    }
    if prefix.len() + naming.separator.len() + TOOL_NAME_MIN > naming.name_max {
        let what = "the prefix leaves no room for names of tools";
        let hint = format!("names have {} bytes in all (catalog.name_max)", naming.name_max);
        findings.problem(at, what, Some(hint));
    }
}

fn equal_prefixes(
    prefix: &str,
    upstream: &file::Upstream,
    path: &str,
    other: &str,
    findings: &mut Findings<'_>,
) {
    let prefix_path = join(path, "prefix");
    let at = if upstream.prefix.is_some() { At::Value(&prefix_path) } else { At::Key(path) };
    let what = match prefix {
        "" => format!("{other} has no prefix either"),
        _ if findings.shown(&prefix_path, prefix) == prefix => {
            format!("{other} has the prefix {prefix:?} too")
        }
        _ => format!("{other} has the same prefix"),
    };
    let hint = "give each upstream a prefix of its own".to_owned();
    findings.problem(at, what, Some(hint));
}

// === the pool ===

fn pool(
    context: &Context<'_>,
    upstream: &file::Upstream,
    path: &str,
    is_off: bool,
    findings: &mut Findings<'_>,
) -> PoolSpec {
    let replicas = replicas(context, upstream, path, findings);
    if replicas.is_empty() && !is_off && !findings.dropped_in(path) && !has_entries(upstream) {
        let hint = format!("add [[{}]] with a command or a url", join(path, "replicas"));
        findings.problem(At::Key(path), "no replica", Some(hint));
    }
    let (timeout, timeout_max) = timeouts(context, upstream, path, findings);
    let default = PoolSpec::new(replicas);
    let common = &context.read.file.defaults.limits;
    let inflight = upstream.limits.inflight.or(common.inflight);
    let inflight_replica = upstream.limits.inflight_replica.or(common.inflight_replica);
    PoolSpec {
        balance: balance(upstream.balance),
        timeout,
        timeout_max,
        inflight_max: inflight.map_or(default.inflight_max, size),
        inflight_http_max: inflight_replica.map_or(default.inflight_http_max, size),
        inflight_child_max: inflight_replica.map_or(default.inflight_child_max, size),
        replicas: default.replicas,
    }
}

/// Entries that could not be compiled have their own problems.
fn has_entries(upstream: &file::Upstream) -> bool {
    !upstream.replicas.is_empty()
}

fn replicas(
    context: &Context<'_>,
    upstream: &file::Upstream,
    path: &str,
    findings: &mut Findings<'_>,
) -> Vec<ReplicaSpec> {
    let era = match upstream.era {
        None | Some(file::Era::Auto) => EraPolicy::Auto,
        Some(file::Era::Modern) => EraPolicy::Modern,
        Some(file::Era::Legacy) => EraPolicy::Legacy,
    };
    replica::compile(context, &upstream.replicas, &join(path, "replicas"), era, findings)
}

/// Checked, but without effect until calls are balanced by a hash.
fn check_hash_on(hash_on: Option<&str>, path: &str, findings: &mut Findings<'_>) {
    let named = |text: &str| {
        let name = text.strip_prefix("arg:").or_else(|| text.strip_prefix("header:"));
        name.is_some_and(|name| !name.is_empty())
    };
    if hash_on.is_some_and(|text| text != "client" && !named(text)) {
        let hint = "client, arg:NAME or header:NAME".to_owned();
        let what = "not something to hash";
        findings.problem(At::Value(&join(path, "hash_on")), what, Some(hint));
    }
}

/// The rules that do not exist yet have their warning; the gateway's own rule stands in.
fn balance(balance: Option<file::Balance>) -> Balance {
    match balance {
        Some(file::Balance::RoundRobin) => Balance::RoundRobin,
        None
        | Some(
            file::Balance::Auto
            | file::Balance::Weighted
            | file::Balance::LeastBusy
            | file::Balance::P2cEwma
            | file::Balance::Random
            | file::Balance::ConsistentHash
            | file::Balance::Priority
            | file::Balance::Expression,
        ) => Balance::Auto,
    }
}

/// The longest silence and the longest duration of a call. The first never exceeds the second:
/// where only one of them is the upstream's own, the other one gives way.
fn timeouts(
    context: &Context<'_>,
    upstream: &file::Upstream,
    path: &str,
    findings: &mut Findings<'_>,
) -> (Duration, Duration) {
    let own = upstream.timeout.map(|time| time.0);
    let own_max = upstream.timeout_max.map(|time| time.0);
    let silence = own.or_else(|| context.default_timeout()).unwrap_or(TIMEOUT);
    match own_max {
        None => (silence, TIMEOUT_MAX.max(silence)),
        Some(max) => {
            if own.is_some_and(|own| own > max) {
                let path = join(path, "timeout_max");
                let what = "shorter than timeout, the longest silence";
                findings.problem(At::Value(&path), what, None);
            }
            (silence.min(max), max)
        }
    }
}
