//! Pure: from the file as data to the checked [`Spec`]. Every check goes on after a problem, so
//! that one run names them all; the result counts only if there was none.

mod auth;
mod fallback;
mod policy;
mod replica;
mod server;
mod tools;
mod upstream;

use std::net::SocketAddr;
use std::time::Duration;

use super::Spec;
use super::overrides::Overrides;
use super::problem::{At, Findings};
use super::read::Read;
use super::text::{self, Folders};
use crate::catalog::spec::NamingSpec;
use crate::gateway::spec::{CacheSpec, DnsSpec, GatewaySpec};

/// What the parts of a configuration are compiled with.
pub(super) struct Context<'a> {
    /// The file, and what of it is off.
    pub(super) read: &'a Read,
    /// What goes before the file.
    pub(super) overrides: &'a Overrides,
    /// Where its paths start.
    pub(super) folders: &'a Folders<'a>,
}

impl Context<'_> {
    /// `[defaults] timeout`, or the variable that goes before it.
    fn default_timeout(&self) -> Option<Duration> {
        let of_file = self.read.file.defaults.timeout.map(|time| time.0);
        self.overrides.timeout.or(of_file)
    }

    /// Why the upstream or tool at a path is switched off.
    fn off(&self, path: &str) -> Option<String> {
        self.read.off.get(path).map(|reasons| reasons.join("; "))
    }
}

/// Compiles a whole file.
pub(super) fn compile(context: &Context<'_>, findings: &mut Findings<'_>) -> Spec {
    let naming = naming(context, findings);
    let upstreams = upstream::compile(context, &naming, findings);
    let builtins = tools::compile(context, findings);
    Spec {
        listen: server::compile(context, findings),
        gateway: GatewaySpec {
            naming,
            upstreams,
            builtins,
            cache: cache(context),
            keep: fallback::keep(context, findings),
            dns: dns(context, findings),
        },
        log: context.overrides.log.clone(),
    }
}

fn cache(context: &Context<'_>) -> CacheSpec {
    let catalog = &context.read.file.catalog;
    let dir = catalog.cache_dir.as_deref().filter(|dir| !dir.is_empty());
    CacheSpec {
        enabled: catalog.cache.unwrap_or(true),
        dir: dir.map(|dir| context.folders.resolve(dir)),
    }
}

fn dns(context: &Context<'_>, findings: &mut Findings<'_>) -> DnsSpec {
    /// Where name servers listen.
    const PORT: u16 = 53;
    let dns = &context.read.file.dns;
    let default = DnsSpec::default();
    let given = dns.server.as_deref().filter(|server| !server.is_empty());
    let server = given.and_then(|server| {
        let address = text::bare_host(server).parse().map(|address| SocketAddr::new(address, PORT));
        let found = server.parse().or(address).ok();
        if found.is_none() {
            let hint = r#""10.0.0.2" or "127.0.0.1:5353"; "" = those of the system"#.to_owned();
            findings.problem(At::Value("dns.server"), "not an address", Some(hint));
        }
        found
    });
    DnsSpec { server, addresses_max: dns.addresses_max.map_or(default.addresses_max, size) }
}

fn naming(context: &Context<'_>, findings: &mut Findings<'_>) -> NamingSpec {
    const SEPARATOR: &str = "catalog.separator";
    let catalog = &context.read.file.catalog;
    let default = NamingSpec::default();
    if let Some(separator) = &catalog.separator {
        if !(1..=4).contains(&separator.len()) {
            let hint = "1 to 4 characters".to_owned();
            findings.problem(At::Value(SEPARATOR), "wrong length", Some(hint));
        }
        name_characters(separator, SEPARATOR, findings);
    }
    NamingSpec {
        separator: catalog.separator.clone().unwrap_or(default.separator),
        name_max: catalog.name_max.map_or(default.name_max, size),
    }
}

/// Checks that a part of an exposed name has only characters that every client accepts.
fn name_characters(part: &str, path: &str, findings: &mut Findings<'_>) {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if let Some(bad) = part.chars().find(|c| !allowed(*c)) {
        let what = if findings.shown(path, part) == part {
            format!("{bad:?} is not allowed in names of tools")
        } else {
            "a character that is not allowed in names of tools".to_owned()
        };
        let hint = "letters, digits, `-` and `_`".to_owned();
        findings.problem(At::Value(path), what, Some(hint));
    }
}

/// A checked URL as text without a slash at its end, or `None` and a problem.
fn base_url(text: &str, at: At<'_>, findings: &mut Findings<'_>) -> Option<String> {
    let url = match text::http_url(text) {
        Ok(url) => url,
        Err(bad) => {
            findings.bad(at, bad);
            return None;
        }
    };
    if url.query().is_some() {
        let hint = "the base only; paths and queries are added to it".to_owned();
        findings.problem(at, "the URL has a query", Some(hint));
    }
    Some(text.trim_end_matches('/').to_owned())
}

/// A number of the file as a size. Each is bounded far below what a size can hold.
fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
