//! Pure: `[upstreams.NAME]`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::replica::Compiled;
use super::{Context, fallback, name_characters, policy, replica};
use crate::base::UpstreamName;
use crate::catalog::spec::{NamingSpec, OfferSpec};
use crate::config::file;
use crate::config::problem::{At, Findings};
use crate::config::text::join;
use crate::fleet::spec::{
    Balance, Effect, Expression, HashOn, IDLE_STOP, Isolation, PoolSpec, TIMEOUT, TIMEOUT_MAX,
};
use crate::gateway::spec::{Bridge, NameSpec, Start, UpstreamSpec};
use crate::upstream::spec::EraPolicy;

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
        let off = context.off(&path);
        let (pool, names) = pool(context, upstream, &path, off.is_some(), findings);
        match UpstreamName::new(name) {
            Ok(name) => upstreams.push(UpstreamSpec {
                name,
                required: upstream.required.unwrap_or(false),
                trust_annotations: upstream.trust_annotations.unwrap_or(false),
                effects: upstream.tools.effect.0.iter().map(effect).collect(),
                fallbacks: fallback::compile(upstream, &path, findings),
                offer,
                bridge: match upstream.interactive_bridge {
                    None | Some(file::Bridge::Park) => Bridge::Park,
                    Some(file::Bridge::Refuse) => Bridge::Refuse,
                },
                start: match upstream.start {
                    None | Some(file::Start::Eager) => Start::Eager,
                    Some(file::Start::Lazy) => Start::Lazy,
                },
                pool,
                names,
                off,
            }),
            Err(error) => findings.problem(At::Key(&path), error.to_string(), None),
        }
    }
    fallback::link(naming, &mut upstreams, findings);
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
) -> (PoolSpec, Vec<NameSpec>) {
    let Compiled { replicas, names } = replicas(context, upstream, path, findings);
    if replicas.is_empty()
        && names.is_empty()
        && !is_off
        && !findings.dropped_in(path)
        && !has_entries(upstream)
    {
        let hint = format!("add [[{}]] with a command or a url", join(path, "replicas"));
        findings.problem(At::Key(path), "no replica", Some(hint));
    }
    let (timeout, timeout_max) = timeouts(context, upstream, path, findings);
    let pool = PoolSpec {
        isolation: match upstream.isolation {
            None | Some(file::Isolation::Shared) => Isolation::Shared,
            Some(file::Isolation::Session) => Isolation::Session,
        },
        idle_stop: upstream.idle_stop.map_or(IDLE_STOP, |time| time.0),
        balance: balance(upstream, path, findings),
        hash_on: hash_on(upstream, path, findings),
        timeout,
        timeout_max,
        retry: policy::retry(context, &upstream.retry, &join(path, "retry"), findings),
        breaker: policy::breaker(context, &upstream.breaker, &join(path, "breaker"), findings),
        health: policy::health(context, &upstream.health),
        hedge: policy::hedge(context, &upstream.hedge),
        limits: policy::limits(context, &upstream.limits),
        replicas,
    };
    (pool, names)
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
) -> Compiled {
    let era = match upstream.era {
        None | Some(file::Era::Auto) => EraPolicy::Auto,
        Some(file::Era::Modern) => EraPolicy::Modern,
        Some(file::Era::Legacy) => EraPolicy::Legacy,
    };
    replica::compile(context, &upstream.replicas, &join(path, "replicas"), era, findings)
}

/// What the calls of `consistent_hash` have in common that go to the same replica.
fn hash_on(upstream: &file::Upstream, path: &str, findings: &mut Findings<'_>) -> HashOn {
    let Some(text) = upstream.hash_on.as_deref() else { return HashOn::default() };
    let named = |prefix: &str| text.strip_prefix(prefix).filter(|name| !name.is_empty());
    let header = named("header:").map(str::parse::<HeaderName>);
    match (text, named("arg:"), header) {
        ("client", _, _) => HashOn::Client,
        (_, Some(argument), _) => HashOn::Argument(argument.to_owned()),
        (_, _, Some(Ok(header))) => HashOn::Header(header),
        _ => {
            let hint = "client, arg:NAME or header:NAME".to_owned();
            let what = "not something to hash";
            findings.problem(At::Value(&join(path, "hash_on")), what, Some(hint));
            HashOn::default()
        }
    }
}

/// How a replica is chosen.
fn balance(upstream: &file::Upstream, path: &str, findings: &mut Findings<'_>) -> Balance {
    let text = upstream.expression.as_deref().filter(|text| !text.is_empty());
    let at = join(path, "expression");
    let expression = text.and_then(|text| match Expression::new(text) {
        Ok(expression) => Some(Arc::new(expression)),
        Err(bad) => {
            let what = format!("{} (at character {})", bad.what, bad.at + 1);
            let hint = r#"for example "busy * latency / weight"; the lowest value wins"#.to_owned();
            findings.problem(At::Value(&at), what, Some(hint));
            None
        }
    });
    match (upstream.balance, expression) {
        (Some(file::Balance::Expression), Some(expression)) => Balance::Expression(expression),
        (Some(file::Balance::Expression), None) => {
            if text.is_none() && !findings.dropped_in(&at) {
                let hint = r#"add expression = "busy * latency / weight""#.to_owned();
                let what = "there is no expression";
                findings.problem(At::Value(&join(path, "balance")), what, Some(hint));
            }
            Balance::Auto
        }
        (balance, unused) => {
            if unused.is_some() {
                let what = "it is not used";
                let hint = r#"it needs balance = "expression""#.to_owned();
                findings.warn(At::Key(&at), what, Some(hint));
            }
            match balance {
                None | Some(file::Balance::Auto | file::Balance::Expression) => Balance::Auto,
                Some(file::Balance::RoundRobin) => Balance::RoundRobin,
                Some(file::Balance::Weighted) => Balance::Weighted,
                Some(file::Balance::LeastBusy) => Balance::LeastBusy,
                Some(file::Balance::P2cEwma) => Balance::P2cEwma,
                Some(file::Balance::Random) => Balance::Random,
                Some(file::Balance::ConsistentHash) => Balance::ConsistentHash,
                Some(file::Balance::Priority) => Balance::Priority,
            }
        }
    }
}

/// The operator's word about a tool.
fn effect((tool, effect): &(String, file::Effect)) -> (String, Effect) {
    let effect = match effect {
        file::Effect::ReadOnly => Effect::ReadOnly,
        file::Effect::Idempotent => Effect::Idempotent,
        file::Effect::Unsafe => Effect::Unsafe,
    };
    (tool.clone(), effect)
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
