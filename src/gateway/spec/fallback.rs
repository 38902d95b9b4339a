//! Pure: what stands in for a tool while its upstream does not answer.

use std::time::Duration;

use crate::base::UpstreamName;
use crate::catalog::naming::{Given, Wanted, expose};
use crate::catalog::spec::NamingSpec;
use crate::proto::mapping::Mapping;

use super::UpstreamSpec;

/// What stands in for one tool, step by step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FallbackSpec {
    /// The name under which clients know the tool.
    pub exposed: String,
    /// Another tool.
    pub stand_in: Option<StandIn>,
    /// The last good result, if it is no older than this. Only for tools that only read.
    pub cached: Option<Duration>,
    /// A text.
    pub text: Option<String>,
}

/// Another tool that can answer instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandIn {
    /// Its exposed name.
    pub tool: String,
    /// How it gets the arguments.
    pub mapping: Mapping,
}

/// How much is kept of good results, over all tools with [`FallbackSpec::cached`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepSpec {
    /// Most results.
    pub entries: usize,
    /// Most bytes of one result, with the arguments that it belongs to.
    pub entry_bytes: usize,
    /// Most bytes of all of them.
    pub bytes: usize,
}

impl Default for KeepSpec {
    fn default() -> Self {
        Self { entries: 1_000, entry_bytes: 64 * 1024, bytes: 16 * 1024 * 1024 }
    }
}

/// A way from a tool over its stand-ins back to itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loop {
    /// The upstream.
    pub upstream: UpstreamName,
    /// Its own name of the tool.
    pub tool: String,
    /// The exposed names on the way, the first one again at the end.
    pub way: Vec<String>,
}

/// Tells each tool with a fallback the name under which clients know it.
pub fn name(naming: &NamingSpec, upstreams: &mut [UpstreamSpec]) {
    let wanted: Vec<Wanted<'_>> = upstreams.iter().flat_map(wanted).collect();
    let given = expose(naming, &wanted);
    drop(wanted);
    let fallbacks = upstreams.iter_mut().flat_map(|upstream| upstream.fallbacks.values_mut());
    for (fallback, given) in fallbacks.zip(given) {
        if let Given::Name(name) = given {
            fallback.exposed = name;
        }
    }
}

fn wanted(upstream: &UpstreamSpec) -> impl Iterator<Item = Wanted<'_>> {
    let prefix = upstream.offer.prefix.as_str();
    upstream.fallbacks.keys().map(move |tool| {
        let name = upstream.offer.rename.get(tool).unwrap_or(tool);
        Wanted { prefix, name }
    })
}

/// Tools whose stand-ins lead back to them. They have their names already.
pub fn loops(upstreams: &[UpstreamSpec]) -> Vec<Loop> {
    let all = || {
        upstreams.iter().flat_map(|upstream| {
            upstream.fallbacks.iter().map(move |(tool, fallback)| (&upstream.name, tool, fallback))
        })
    };
    let next = |name: &str| {
        let (.., found) = all().find(|(.., fallback)| fallback.exposed == name)?;
        found.stand_in.as_ref().map(|stand_in| stand_in.tool.as_str())
    };
    let back = |start: &FallbackSpec| {
        let mut way = vec![start.exposed.clone()];
        let mut at = start.exposed.as_str();
        for _ in 0..all().count() {
            at = next(at)?;
            way.push(at.to_owned());
            if at == start.exposed {
                return Some(way);
            }
        }
        None
    };
    let looped = all().filter_map(|(upstream, tool, fallback)| {
        let way = back(fallback)?;
        Some(Loop { upstream: upstream.clone(), tool: tool.clone(), way })
    });
    looped.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::spec::OfferSpec;
    use crate::fleet::spec::PoolSpec;

    fn upstream(name: &str, ways: &[(&str, &str)]) -> UpstreamSpec {
        let fallback = |to: &str| FallbackSpec {
            stand_in: Some(StandIn { tool: to.to_owned(), mapping: Mapping::default() }),
            ..FallbackSpec::default()
        };
        UpstreamSpec {
            name: UpstreamName::new(name).unwrap(),
            required: false,
            trust_annotations: false,
            effects: std::collections::BTreeMap::new(),
            fallbacks: ways.iter().map(|(tool, to)| ((*tool).to_owned(), fallback(to))).collect(),
            offer: OfferSpec::all(name),
            bridge: crate::gateway::spec::Bridge::Park,
            start: crate::gateway::spec::Start::Eager,
            pool: PoolSpec::new(Vec::new()),
            names: Vec::new(),
            off: None,
        }
    }

    #[test]
    fn a_way_that_comes_back_is_found_and_one_that_ends_is_not() {
        let mut renamed = upstream("c", &[("z", "a__x"), ("end", "d__any")]);
        renamed.offer.rename.insert("z".to_owned(), "new".to_owned());
        let mut all = [
            upstream("a", &[("x", "b__y"), ("self", "a__self"), ("into", "a__x")]),
            upstream("b", &[("y", "c__new"), ("on", "c__end")]),
            renamed,
        ];
        name(&NamingSpec::default(), &mut all);
        assert_eq!(all[2].fallbacks["z"].exposed, "c__new");
        let found: Vec<_> = loops(&all).into_iter().map(|found| found.way.join(" ")).collect();
        let want = [
            "a__self a__self",
            "a__x b__y c__new a__x",
            "b__y c__new a__x b__y",
            "c__new a__x b__y c__new",
        ];
        assert_eq!(found, want);
    }

    #[test]
    fn a_name_that_is_cut_is_the_one_that_clients_see() {
        let long = "t".repeat(60);
        let mut all = [upstream("a", &[(&long, "b__y")])];
        name(&NamingSpec::default(), &mut all);
        let exposed = &all[0].fallbacks[&long].exposed;
        assert_eq!(exposed.len(), 48, "{exposed}");
        assert!(exposed.starts_with("a__ttt"), "{exposed}");
    }
}
