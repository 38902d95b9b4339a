//! Whole configurations.

mod auth;
mod bad;
mod fallback;
mod good;
mod precedence;
mod reference;
mod variables;

use super::*;
use crate::base::Secret;
use crate::gateway::spec::UpstreamSpec;
use crate::upstream::spec::{LaunchSpec, Program, ReplicaKind};

const REPLICA: &str = "[[upstreams.a.replicas]]\ncommand = \"x\"\n";

fn fixed(text: &str, variables: &[(&str, &str)]) -> Environment {
    Environment::fixed(variables.iter().copied()).with_file("gateway.toml", text)
}

fn load_with(text: &str, variables: &[(&str, &str)]) -> Result<(Spec, Vec<Warning>), Problems> {
    load(None, &CliOverrides::default(), &fixed(text, variables))
}

/// A good configuration that gives no warning.
fn good(text: &str) -> Spec {
    let (spec, warnings) = load_with(text, &[]).unwrap_or_else(|bad| panic!("{text}\n{bad}"));
    assert_eq!(warnings, [], "{text}");
    spec
}

fn lines(findings: &[Finding]) -> Vec<String> {
    let first_line = |finding: &Finding| finding.to_string().lines().next().unwrap().to_owned();
    findings.iter().map(first_line).collect()
}

/// The problems, without the name of the file and without hints.
fn problems_with(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let problems = match load_with(text, variables) {
        Ok(_) => Vec::new(),
        Err(bad) => lines(&bad.problems),
    };
    problems.iter().map(|line| line.trim_start_matches("gateway.toml:").to_owned()).collect()
}

fn warnings_with(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let (_, warnings) = load_with(text, variables).unwrap_or_else(|bad| panic!("{text}\n{bad}"));
    lines(&warnings)
        .iter()
        .map(|line| line.trim_start_matches("gateway.toml:").to_owned())
        .collect()
}

fn children(upstream: &UpstreamSpec) -> Vec<(&str, &LaunchSpec)> {
    let replicas = upstream.pool.replicas.iter();
    replicas
        .filter_map(|replica| match &replica.kind {
            ReplicaKind::Child(launch) => Some((replica.name.as_str(), launch)),
            ReplicaKind::Http(_) => None,
        })
        .collect()
}
