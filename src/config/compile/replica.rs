//! Pure: `[[upstreams.NAME.replicas]]`.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::Context;
use crate::base::{ReplicaName, Secret};
use crate::config::file;
use crate::config::problem::{At, Findings};
use crate::config::text::{self, item, join};
use crate::gateway::spec::{ENTRY_BYTES_MAX, NameSpec};
use crate::upstream::spec::{
    EraPolicy, HttpSpec, LaunchSpec, Program, ReplicaKind, ReplicaSpec, Transport,
};

/// The command that stands for the running binary.
const OWN_COMMAND: &str = "waypost";

/// Least time between two lookups of one name.
const RESOLVE_MIN: Duration = Duration::from_secs(1);

/// Headers that the gateway sets itself, or that belong to the connection.
const OWN_HEADERS: [&str; 9] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
    "transfer-encoding",
];

/// The replicas of one upstream.
#[derive(Default)]
pub(super) struct Compiled {
    /// Those that are one each.
    pub(super) replicas: Vec<ReplicaSpec>,
    /// Host names whose addresses are one each.
    pub(super) names: Vec<NameSpec>,
}

/// Compiles the replicas of one upstream, each `count` times.
pub(super) fn compile(
    context: &Context<'_>,
    replicas: &[file::Replica],
    path: &str,
    era: EraPolicy,
    findings: &mut Findings<'_>,
) -> Compiled {
    let mut specs = Compiled::default();
    let mut names = HashSet::new();
    let mut next_index: usize = 0;
    for (index, replica) in replicas.iter().enumerate() {
        let path = item(path, index);
        let kind = kind(context, replica, &path, era, findings);
        let every = every(replica, kind.as_ref(), &path, findings);
        let count = replica.count.unwrap_or(1);
        for copy in 0..count {
            let text = match &replica.name {
                Some(name) if count > 1 => format!("{name}-{copy}"),
                Some(name) => name.clone(),
                None => next_index.to_string(),
            };
            next_index += 1;
            let name = name(&text, replica, &path, &mut names, findings);
            let Some((name, kind)) = name.zip(kind.clone()) else { continue };
            let spec = ReplicaSpec {
                name,
                kind,
                era,
                weight: replica.weight.unwrap_or(1),
                tier: replica.tier.unwrap_or(0),
                labels: replica.labels.0.iter().cloned().collect(),
            };
            match every {
                None => specs.replicas.push(spec),
                Some(every) => {
                    let place = specs.replicas.len();
                    check_entry(&spec, replica, &path, findings);
                    specs.names.push(NameSpec { place, every, replica: spec });
                }
            }
        }
    }
    check_apart(&specs, path, findings);
    specs
}

/// How often the host name is looked up whose addresses are replicas; `None` = it is not.
fn every(
    replica: &file::Replica,
    kind: Option<&ReplicaKind>,
    path: &str,
    findings: &mut Findings<'_>,
) -> Option<Duration> {
    let every = replica.resolve.map(|time| time.0).filter(|every| !every.is_zero())?;
    // One that belongs to no child was told of there.
    let ReplicaKind::Http(http) = kind? else { return None };
    let path = join(path, "resolve");
    if every < RESOLVE_MIN {
        let hint = r#""1s" or more; "0s" = one replica, whatever its name stands for"#.to_owned();
        findings.problem(At::Value(&path), "a name is not looked up so often", Some(hint));
    }
    let host = http.url.host().unwrap_or_default();
    if text::bare_host(host).parse::<IpAddr>().is_ok() {
        let hint = "leave it out: an address is one replica".to_owned();
        findings.problem(At::Key(&path), "the URL has an address, not a host name", Some(hint));
    }
    Some(every)
}

/// Checks that the name of an entry leaves room for addresses.
fn check_entry(
    spec: &ReplicaSpec,
    replica: &file::Replica,
    path: &str,
    findings: &mut Findings<'_>,
) {
    if spec.name.as_str().len() > ENTRY_BYTES_MAX && replica.name.is_some() {
        let what = "the name leaves no room for the addresses that follow it";
        let hint = format!("{ENTRY_BYTES_MAX} bytes at most, where there is resolve");
        findings.problem(At::Value(&join(path, "name")), what, Some(hint));
    }
}

/// Checks that no replica has a name that one of an address could get.
fn check_apart(specs: &Compiled, path: &str, findings: &mut Findings<'_>) {
    for name in &specs.names {
        if specs.replicas.iter().any(|fixed| name.may_be(fixed.name.as_str())) {
            let what = "two replicas could have the same name: one for an address, one by itself";
            let hint = "give one of them another name".to_owned();
            findings.problem(At::Key(path), what, Some(hint));
        }
    }
}

fn name(
    text: &str,
    replica: &file::Replica,
    path: &str,
    names: &mut HashSet<ReplicaName>,
    findings: &mut Findings<'_>,
) -> Option<ReplicaName> {
    let name_path = join(path, "name");
    let at = if replica.name.is_some() { At::Value(&name_path) } else { At::Key(path) };
    match ReplicaName::new(text) {
        Ok(name) => {
            if !names.insert(name.clone()) {
                // A name from a variable stays unsaid.
                let given = replica.name.as_deref();
                let plain = given.is_none_or(|given| findings.shown(&name_path, given) == given);
                let what = if plain {
                    format!("two replicas have the name {text:?}")
                } else {
                    "two replicas have the same name".to_owned()
                };
                findings.problem(at, what, None);
            }
            Some(name)
        }
        Err(error) => {
            findings.problem(at, error.to_string(), None);
            None
        }
    }
}

/// A child process or a URL: exactly one of them.
fn kind(
    context: &Context<'_>,
    replica: &file::Replica,
    path: &str,
    era: EraPolicy,
    findings: &mut Findings<'_>,
) -> Option<ReplicaKind> {
    match (&replica.command, &replica.url) {
        (Some(_), Some(_)) => {
            let what = "command and url: a replica is a child process or a server, not both";
            findings.problem(At::Key(path), what, Some("take one of them out".to_owned()));
            None
        }
        (None, None) => {
            if !findings.dropped_in(path) {
                let hint = r#"command = "npx" starts a child, url = "http://…" dials a server"#;
                let what = "neither command nor url";
                findings.problem(At::Key(path), what, Some(hint.to_owned()));
            }
            None
        }
        (Some(command), None) => {
            let resolves = replica.resolve.is_some_and(|time| !time.0.is_zero());
            let http_only = [
                ("headers", !replica.headers.0.is_empty()),
                ("resolve", resolves),
                ("transport", replica.transport.is_some()),
            ];
            misplaced(&http_only, "url", path, findings);
            Some(ReplicaKind::Child(launch(context, command, replica, path, findings)))
        }
        (None, Some(url)) => {
            let child_only = [
                ("args", replica.args.is_some()),
                ("env", !replica.env.0.is_empty()),
                ("cwd", replica.cwd.is_some()),
                ("count", replica.count.is_some()),
            ];
            misplaced(&child_only, "command", path, findings);
            http(url, replica, path, era, findings).map(ReplicaKind::Http)
        }
    }
}

/// Keys that mean nothing for this kind of replica.
fn misplaced(keys: &[(&str, bool)], owner: &str, path: &str, findings: &mut Findings<'_>) {
    for (key, _) in keys.iter().filter(|(_, is_set)| *is_set) {
        let path = join(path, key);
        findings.problem(At::Key(&path), format!("this key belongs to a {owner}"), None);
    }
}

fn launch(
    context: &Context<'_>,
    command: &str,
    replica: &file::Replica,
    path: &str,
    findings: &mut Findings<'_>,
) -> LaunchSpec {
    check_command(command, replica, &join(path, "command"), findings);
    let args = replica.args.as_deref().unwrap_or_default();
    let args_path = join(path, "args");
    for (index, arg) in args.iter().enumerate() {
        check_no_nul(arg, &item(&args_path, index), findings);
    }
    let env_path = join(path, "env");
    for (name, value) in &replica.env.0 {
        let path = join(&env_path, name);
        if name.is_empty() || name.contains(['=', '\0']) {
            findings.problem(At::Key(&path), "not a name of a variable", None);
        }
        check_no_nul(value, &path, findings);
    }
    let secret = |(name, value): &(String, String)| (name.clone(), Secret::new(value));
    LaunchSpec {
        program: match command {
            OWN_COMMAND => Program::Waypost,
            _ => Program::Named(command.to_owned()),
        },
        args: args.iter().map(|arg| Secret::new(arg)).collect(),
        env: replica.env.0.iter().map(secret).collect::<BTreeMap<_, _>>(),
        cwd: replica.cwd.as_deref().map(|cwd| context.folders.resolve(cwd)),
        start_timeout: LaunchSpec::default_start_timeout(command),
    }
}

fn check_command(command: &str, replica: &file::Replica, path: &str, findings: &mut Findings<'_>) {
    if command.trim().is_empty() {
        findings.problem(At::Value(path), "the command is empty", None);
    }
    check_no_nul(command, path, findings);
    // A path may hold spaces; a bare name before a space begins a whole command line.
    let first = command.trim().split_once(' ').map(|(first, _)| first);
    let is_line = first.is_some_and(|first| !first.contains(['/', '\\']));
    if is_line && replica.args.is_none() {
        let what = "the command holds spaces, and no shell splits it";
        let hint = r#"write command = "npx" and args = ["-y", "…"]"#.to_owned();
        findings.problem(At::Value(path), what, Some(hint));
    }
}

fn check_no_nul(text: &str, path: &str, findings: &mut Findings<'_>) {
    if text.contains('\0') {
        findings.problem(At::Value(path), "a zero byte cannot be passed to a process", None);
    }
}

fn http(
    url: &str,
    replica: &file::Replica,
    path: &str,
    era: EraPolicy,
    findings: &mut Findings<'_>,
) -> Option<HttpSpec> {
    let transport = match replica.transport {
        None => Transport::Auto,
        Some(file::Transport::Http) => Transport::Http,
        Some(file::Transport::Sse) => Transport::Sse,
    };
    if transport == Transport::Sse && era == EraPolicy::Modern {
        let what = r#"no modern server has this transport, and era is "modern""#;
        let hint = "take one of the two keys out".to_owned();
        findings.problem(At::Value(&join(path, "transport")), what, Some(hint));
    }
    let headers = headers(&replica.headers, &join(path, "headers"), findings);
    match text::http_url(url) {
        Ok(url) => Some(HttpSpec { url, headers, address: None, transport }),
        Err(bad) => {
            findings.bad(At::Value(&join(path, "url")), bad);
            None
        }
    }
}

fn headers(
    headers: &file::Named<String>,
    path: &str,
    findings: &mut Findings<'_>,
) -> Vec<(HeaderName, HeaderValue)> {
    let mut checked: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for (name, value) in &headers.0 {
        let path = join(path, name);
        let Ok(name) = name.parse::<HeaderName>() else {
            findings.problem(At::Key(&path), "not a name of a header", None);
            continue;
        };
        if OWN_HEADERS.contains(&name.as_str()) {
            findings.problem(At::Key(&path), "the gateway sets this header itself", None);
        }
        if checked.iter().any(|(other, _)| *other == name) {
            findings.problem(At::Key(&path), "the same header twice", None);
        }
        let Ok(mut value) = HeaderValue::from_str(value) else {
            let hint = "visible ASCII characters and spaces, on one line".to_owned();
            findings.problem(At::Value(&path), "not a value of a header", Some(hint));
            continue;
        };
        value.set_sensitive(true);
        checked.push((name, value));
    }
    checked
}
