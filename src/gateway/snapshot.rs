//! One immutable view of everything a call needs. A call loads it once and keeps it to its end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::builtin::Builtins;
use crate::catalog::{CacheScope, Catalog, PageSpec, Pages};
use crate::fleet::Pool;
use crate::proto::{Era, Version, legacy, modern};
use crate::telemetry::{Meters, ToolMeters};

use super::spec::UpstreamSpec;

/// How long a client may keep a list before it asks again.
pub const LIST_TTL: Duration = Duration::from_mins(1);

/// One upstream in a snapshot.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// What it is made from.
    pub spec: Arc<UpstreamSpec>,
    /// Its replicas.
    pub pool: Arc<Pool>,
    /// It has listed its tools at least once.
    pub listed: bool,
    /// What it offers is known, from now or from before our start.
    pub known: bool,
}

/// One immutable view.
#[derive(Debug)]
pub struct Snapshot {
    /// What is on offer.
    pub catalog: Catalog,
    /// The upstreams, in the order of the configuration.
    pub upstreams: Vec<Upstream>,
    /// The tools that run in this process.
    pub builtins: Arc<Builtins>,
    /// Rendered tool lists.
    pub pages: Pages,
    /// What the merge had to decide: collisions, dropped tools, odd names. One sentence each.
    pub reports: Vec<String>,
    /// Between prefix and name of a tool.
    pub separator: String,
    /// Metric handles by exposed name.
    pub meters: HashMap<Arc<str>, ToolMeters>,
    fixed: Fixed,
}

/// Answers that do not depend on the request.
#[derive(Debug)]
struct Fixed {
    server_info: Value,
    instructions: String,
    discover: Bytes,
}

/// Who we are.
pub fn server_info() -> Value {
    json!({ "name": "waypost", "title": "waypost", "version": env!("CARGO_PKG_VERSION") })
}

impl Snapshot {
    /// Renders everything that can be rendered now instead of per call.
    pub fn build(
        catalog: Catalog,
        separator: &str,
        upstreams: Vec<Upstream>,
        builtins: Arc<Builtins>,
        meters: &Meters,
        before: Option<&Self>,
    ) -> Self {
        let server_info = server_info();
        let raw = RawValue::from_string(server_info.to_string()).unwrap_or_default();
        // What a client sees depends on nothing but the configuration; still, lists of legacy
        // upstreams may, so they are never called public.
        let spec = PageSpec { ttl: LIST_TTL, scope: CacheScope::Private, server_info: &raw };
        let pages = Pages::render(&catalog, &spec);
        let kept = |name: &Arc<str>| before.and_then(|b| b.meters.get(name)).cloned();
        let handles = catalog
            .tools()
            .iter()
            .map(|tool| {
                (
                    Arc::clone(&tool.name),
                    kept(&tool.name).unwrap_or_else(|| meters.tool(&tool.name)),
                )
            })
            .collect();
        let instructions = instructions(&upstreams);
        let ttl = u64::try_from(LIST_TTL.as_millis()).unwrap_or(u64::MAX);
        let discover = modern::discover_result(&server_info, Some(&instructions), ttl);
        let fixed =
            Fixed { discover: Bytes::from(discover.to_string()), server_info, instructions };
        Self {
            catalog,
            upstreams,
            builtins,
            pages,
            reports: Vec::new(),
            separator: separator.to_owned(),
            meters: handles,
            fixed,
        }
    }

    /// The result of `server/discover`.
    pub fn discover(&self) -> &Bytes {
        &self.fixed.discover
    }

    /// The result of a legacy `initialize`.
    pub fn initialize(&self, version: Version) -> Vec<u8> {
        let result = legacy::initialize_result(
            version,
            &self.fixed.server_info,
            Some(&self.fixed.instructions),
        );
        result.to_string().into_bytes()
    }

    /// The result of a list that is empty.
    pub fn empty_list(&self, kind: &str, era: Era) -> Vec<u8> {
        let result = match era {
            Era::Modern => modern::empty_list(kind, &self.fixed.server_info),
            Era::Legacy => json!({ kind: [] }),
        };
        result.to_string().into_bytes()
    }
}

/// What a model should know about the catalog as a whole.
fn instructions(upstreams: &[Upstream]) -> String {
    let names: Vec<&str> = upstreams.iter().map(|u| u.spec.name.as_str()).collect();
    if names.is_empty() {
        return "waypost offers its built-in tools.".to_owned();
    }
    format!(
        "waypost offers the tools of several MCP servers beside its own. The part of a tool's name \
         before \"__\" says which server it belongs to: {}.",
        names.join(", ")
    )
}
