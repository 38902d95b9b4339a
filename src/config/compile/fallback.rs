//! Pure: `[upstreams.NAME.fallback.TOOL]` and `[fallback]`.

use std::collections::{BTreeMap, HashMap};

use super::{Context, size};
use crate::catalog::spec::NamingSpec;
use crate::config::file::{self, Constant};
use crate::config::problem::{At, Findings};
use crate::config::text::join;
use crate::gateway::spec::{FallbackSpec, KeepSpec, StandIn, UpstreamSpec, fallback};
use crate::proto::mapping::Mapping;

/// How much is kept.
pub(super) fn keep(context: &Context<'_>, findings: &mut Findings<'_>) -> KeepSpec {
    let (own, default) = (&context.read.file.fallback, KeepSpec::default());
    let spec = KeepSpec {
        entries: own.cache_entries.map_or(default.entries, size),
        entry_bytes: own.cache_entry_bytes.map_or(default.entry_bytes, size),
        bytes: own.cache_bytes.map_or(default.bytes, size),
    };
    if spec.entry_bytes > spec.bytes {
        let at = if own.cache_bytes.is_some() { "cache_bytes" } else { "cache_entry_bytes" };
        let what = "one result may have more bytes (cache_entry_bytes) than all (cache_bytes)";
        findings.problem(At::Value(&join("fallback", at)), what, None);
    }
    spec
}

/// What stands in for the tools of one upstream.
pub(super) fn compile(
    upstream: &file::Upstream,
    path: &str,
    findings: &mut Findings<'_>,
) -> BTreeMap<String, FallbackSpec> {
    let table = join(path, "fallback");
    let mut all = BTreeMap::new();
    for (tool, own) in &upstream.fallback.0 {
        let path = join(&table, tool);
        let fallback = one(own, &path, findings);
        if fallback.stand_in.is_none() {
            unused(own, &path, findings);
        }
        if fallback.cached.is_some() {
            readable(upstream, tool, &path, findings);
        }
        let nothing = FallbackSpec::default();
        if fallback == nothing && !findings.dropped_in(&path) {
            let hint = "one of tool, cached and text".to_owned();
            findings.problem(At::Key(&path), "nothing stands in for the tool", Some(hint));
        }
        all.insert(tool.clone(), fallback);
    }
    all
}

fn one(own: &file::Fallback, path: &str, findings: &mut Findings<'_>) -> FallbackSpec {
    let said = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let stand_in = said(&own.tool).map(|tool| StandIn { tool, mapping: mapping(own) });
    check_names(own, path, findings);
    FallbackSpec {
        exposed: String::new(),
        stand_in,
        cached: own.cached.map(|time| time.0),
        text: said(&own.text),
    }
}

fn mapping(own: &file::Fallback) -> Mapping {
    let json = |(name, value): &(String, Constant)| {
        let value = match value {
            Constant::Flag(value) => (*value).into(),
            Constant::Whole(value) => (*value).into(),
            Constant::Number(value) => (*value).into(),
            Constant::Text(value) => serde_json::Value::from(value.as_str()),
        };
        (name.clone(), value.to_string())
    };
    Mapping::new(own.arguments.0.iter().cloned(), own.constants.0.iter().map(json))
}

/// No two arguments get the same name.
fn check_names(own: &file::Fallback, path: &str, findings: &mut Findings<'_>) {
    let table = join(path, "arguments");
    let mut taken: HashMap<&str, &str> = HashMap::new();
    for (ours, theirs) in own.arguments.0.iter().filter(|(_, theirs)| !theirs.is_empty()) {
        let path = join(&table, ours);
        if let Some(other) = taken.insert(theirs, ours) {
            let what = format!("the argument {other:?} gets the same name");
            findings.problem(At::Value(&path), what, None);
        }
        if own.constants.0.iter().any(|(constant, _)| constant == theirs) {
            let what = "the other tool gets a constant under this name";
            let hint = "take it out of constants, or leave the argument out with \"\"".to_owned();
            findings.problem(At::Value(&path), what, Some(hint));
        }
    }
}

/// Arguments are for another tool.
fn unused(own: &file::Fallback, path: &str, findings: &mut Findings<'_>) {
    let keys =
        [("arguments", own.arguments.0.is_empty()), ("constants", own.constants.0.is_empty())];
    for (key, _) in keys.iter().filter(|(_, empty)| !empty) {
        if !findings.dropped_in(path) {
            let hint = "it needs the name of another tool in tool".to_owned();
            findings.problem(At::Key(&join(path, key)), "it is not used", Some(hint));
        }
    }
}

/// Only of tools that only read a result may be used again.
fn readable(upstream: &file::Upstream, tool: &str, path: &str, findings: &mut Findings<'_>) {
    let at = join(path, "cached");
    let said = upstream.tools.effect.0.iter().find(|(named, _)| named == tool);
    let hint = format!("if it only reads, say so: tools.effect = {{ {tool:?} = \"read_only\" }}");
    match said.map(|(_, effect)| effect) {
        Some(file::Effect::ReadOnly) => {}
        Some(file::Effect::Idempotent | file::Effect::Unsafe) => {
            let what = "tools.effect says that the tool does more than read: an old result would \
                        say that it has run";
            findings.problem(At::Key(&at), what, Some(hint));
        }
        None if upstream.trust_annotations == Some(true) => {}
        None => {
            let what = "nothing is kept: it is not known that the tool only reads";
            findings.warn(At::Key(&at), what, Some(hint));
        }
    }
}

/// Gives every fallback its name, and looks where the tools that stand in lead to.
pub(super) fn link(
    naming: &NamingSpec,
    upstreams: &mut [UpstreamSpec],
    findings: &mut Findings<'_>,
) {
    fallback::name(naming, upstreams);
    for found in fallback::loops(upstreams) {
        let at = path_of(found.upstream.as_str(), &found.tool);
        let what = format!("it leads back to the tool itself: {}", found.way.join(" → "));
        findings.problem(At::Value(&at), what, None);
    }
    let begins = |name: &str, upstream: &UpstreamSpec| {
        let rest = name.strip_prefix(upstream.offer.prefix.as_str());
        rest.is_some_and(|rest| rest.starts_with(&naming.separator))
    };
    let open = upstreams.iter().any(|upstream| upstream.offer.prefix.is_empty());
    for upstream in upstreams.iter() {
        for (tool, fallback) in &upstream.fallbacks {
            let Some(name) = fallback.stand_in.as_ref().map(|one| one.tool.as_str()) else {
                continue;
            };
            let at = path_of(upstream.name.as_str(), tool);
            let same = !upstream.offer.prefix.is_empty() && begins(name, upstream);
            let known = open
                || !name.contains(naming.separator.as_str())
                || upstreams.iter().any(|upstream| begins(name, upstream));
            if same && name != fallback.exposed {
                let what = "a tool of the same upstream will most often be away too";
                findings.warn(At::Value(&at), what, None);
            } else if !known {
                let what = "no upstream has tools of such names";
                let hint = "the name as clients see it: `waypost list tools` shows all".to_owned();
                findings.warn(At::Value(&at), what, Some(hint));
            }
        }
    }
}

fn path_of(upstream: &str, tool: &str) -> String {
    let table = join(&join("upstreams", upstream), "fallback");
    join(&join(&table, tool), "tool")
}
