//! One immutable view of everything a call needs. A call loads it once and keeps it to its end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::base::UpstreamName;
use crate::builtin::Builtins;
use crate::catalog::skew::{Copies, Fits};
use crate::catalog::{CacheScope, Catalog, Kind, PageSpec, Pages, PerKind};
use crate::fleet::{Pace, Pool};
use crate::proto::{Abilities, Extensions, Offers, Version, legacy, modern};
use crate::telemetry::{Meters, ToolMeters};
use crate::upstream::UpstreamId;

use super::spec::UpstreamSpec;

/// How long a client may keep what changes only by our own word: lists that are announced when they
/// change, and `server/discover`.
pub const LIST_TTL: Duration = Duration::from_mins(1);
/// How long a client may keep a list with something of a legacy server in it that does not announce
/// its changes.
pub const SILENT_TTL: Duration = Duration::from_secs(15);

/// One upstream in a snapshot.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Which one it is.
    pub id: UpstreamId,
    /// What it is made from.
    pub spec: Arc<UpstreamSpec>,
    /// Its replicas.
    pub pool: Arc<Pool>,
    /// It has listed what it offers at least once.
    pub listed: bool,
    /// What it offers is known, from now or from before our start.
    pub known: bool,
    /// What it can do, as far as it was heard.
    pub offers: Offers,
    /// Every replica listed last in the modern era: none asks in the middle of a call.
    pub modern: bool,
    /// How often it was heard listing what it offers.
    pub listings: u64,
}

/// How long clients may keep one list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// What all its parts that have no time of their own allow.
    pub longest: Duration,
    /// When the first part that has one is over.
    pub until: Option<Instant>,
    /// A part of it belongs to one authorization context.
    pub private: bool,
}

impl Keep {
    /// What is left of it at this moment, in milliseconds. `draw` takes a little off, so that not
    /// all clients ask again at once.
    pub fn left_ms(self, now: Instant, draw: u64) -> u64 {
        let until = self.until.map(|until| until.saturating_duration_since(now));
        let left = until.map_or(self.longest, |until| until.min(self.longest));
        let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        millis - millis / 1_000 * (draw % 100)
    }
}

/// What clients of some abilities see.
#[derive(Debug)]
pub struct View {
    /// What is on offer.
    pub catalog: Catalog,
    /// Its lists, rendered.
    pub pages: Pages,
    /// How long they may be kept.
    pub keep: PerKind<Keep>,
    /// Tools that not all replicas of an upstream offer alike, by the upstream's place.
    pub fits: Vec<Fits>,
}

impl View {
    /// Renders everything that can be rendered now instead of per call.
    pub fn build(catalog: Catalog, keep: PerKind<Keep>, fits: Vec<Fits>) -> Self {
        let raw = RawValue::from_string(server_info().to_string()).unwrap_or_default();
        let scope = |kind: Kind| {
            if keep[kind].private { CacheScope::Private } else { CacheScope::Public }
        };
        let scopes = PerKind::from_fn(scope);
        let pages = Pages::render(&catalog, &PageSpec { scopes, server_info: &raw });
        Self { catalog, pages, keep, fits }
    }

    /// The replicas that a tool of an upstream may be called at; `None` = all of them.
    pub fn fits(&self, place: usize, tool: &str) -> Option<&Copies> {
        // Most often there is nothing to look up.
        self.fits.get(place).filter(|fits| !fits.is_empty())?.get(tool)
    }
}

/// One immutable view of everything.
#[derive(Debug)]
pub struct Snapshot {
    /// What clients see that can be asked for nothing, and all for whom there is no other view.
    pub view: Arc<View>,
    /// What others see.
    pub views: HashMap<Abilities, Arc<View>>,
    /// The upstreams, in the order of the configuration.
    pub upstreams: Vec<Upstream>,
    /// The tools that run in this process.
    pub builtins: Arc<Builtins>,
    /// What the merge had to decide: collisions, dropped tools, odd names. One sentence each.
    pub reports: Vec<String>,
    /// Between prefix and name of a tool.
    pub separator: String,
    /// What is counted and known of each tool, by exposed name.
    pub tools: HashMap<Arc<str>, ToolRecord>,
    /// Held by all snapshots of one configuration: when it is dropped, no call is left that began
    /// under that one.
    pub generation: Arc<DropGuard>,
    fixed: Arc<Fixed>,
}

/// What is counted and known of a tool. It outlives the snapshots that show the tool.
#[derive(Clone, Debug)]
pub struct ToolRecord {
    /// Its handles on the metrics.
    pub meters: ToolMeters,
    /// How long its answers take, over all replicas.
    pub pace: Arc<Pace>,
}

impl ToolRecord {
    /// Of a tool that was never called.
    pub fn new(meters: &Meters, name: &str) -> Self {
        Self { meters: meters.tool(name), pace: Arc::default() }
    }
}

/// Answers that do not depend on the request.
#[derive(Debug)]
struct Fixed {
    reach: Reach,
    server_info: Value,
    instructions: String,
    discover: Bytes,
}

/// What the upstreams make of the gateway: whom its instructions speak of, and what it can do beyond
/// the core because one of them can.
#[derive(Debug, PartialEq)]
struct Reach {
    names: Vec<UpstreamName>,
    extensions: Extensions,
}

impl Reach {
    fn of(upstreams: &[Upstream]) -> Self {
        Self {
            names: upstreams.iter().map(|u| u.spec.name.clone()).collect(),
            extensions: Extensions::union(upstreams.iter().map(|u| u.offers.extensions.clone())),
        }
    }
}

/// Who we are.
pub fn server_info() -> Value {
    json!({ "name": "waypost", "title": "waypost", "version": env!("CARGO_PKG_VERSION") })
}

impl Snapshot {
    /// A snapshot of these views, in a generation of its own.
    pub fn build(
        (view, views): (View, HashMap<Abilities, Arc<View>>),
        separator: &str,
        upstreams: Vec<Upstream>,
        builtins: Arc<Builtins>,
        meters: &Meters,
        before: Option<&Self>,
    ) -> Self {
        let view = Arc::new(view);
        let kept = |name: &Arc<str>| before.and_then(|b| b.tools.get(name)).cloned();
        let mut handles = HashMap::new();
        for tool in views.values().chain([&view]).flat_map(|view| view.catalog.tools()) {
            handles.entry(Arc::clone(&tool.name)).or_insert_with(|| {
                kept(&tool.name).unwrap_or_else(|| ToolRecord::new(meters, &tool.name))
            });
        }
        let reach = Reach::of(&upstreams);
        let same = before.filter(|before| before.fixed.reach == reach);
        let fixed = same.map_or_else(|| Arc::new(fixed(reach)), |before| Arc::clone(&before.fixed));
        Self {
            view,
            views,
            upstreams,
            builtins,
            reports: Vec::new(),
            separator: separator.to_owned(),
            tools: handles,
            generation: Arc::new(CancellationToken::new().drop_guard()),
            fixed,
        }
    }

    /// What a client of these abilities sees.
    pub fn view(&self, abilities: Abilities) -> &View {
        if abilities.is_empty() {
            return &self.view;
        }
        self.views.get(&abilities).unwrap_or(&self.view)
    }

    /// The place of an upstream, if it is still there.
    pub fn place(&self, id: UpstreamId) -> Option<usize> {
        self.upstreams.iter().position(|upstream| upstream.id == id)
    }

    /// An upstream, if it is still there.
    pub fn of(&self, id: UpstreamId) -> Option<&Upstream> {
        self.upstreams.iter().find(|upstream| upstream.id == id)
    }

    /// Whether some upstream has this extension.
    pub fn has_extension(&self, name: &str) -> bool {
        self.fixed.reach.extensions.has(name)
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
            &self.fixed.reach.extensions,
        );
        result.to_string().into_bytes()
    }
}

fn fixed(reach: Reach) -> Fixed {
    let (server_info, instructions) = (server_info(), instructions(&reach.names));
    let ttl = u64::try_from(LIST_TTL.as_millis()).unwrap_or(u64::MAX);
    let discover =
        modern::discover_result(&server_info, Some(&instructions), &reach.extensions, ttl);
    Fixed { reach, discover: Bytes::from(discover.to_string()), server_info, instructions }
}

/// What a model should know about the catalog as a whole.
fn instructions(names: &[UpstreamName]) -> String {
    let names: Vec<&str> = names.iter().map(UpstreamName::as_str).collect();
    if names.is_empty() {
        return "waypost offers its built-in tools.".to_owned();
    }
    format!(
        "waypost offers the tools of several MCP servers beside its own. The part of a tool's name \
         before \"__\" says which server it belongs to: {}.",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    #[test]
    fn a_list_may_be_kept_as_long_as_its_shortest_part_and_no_longer() {
        let now = clock::now();
        let minute = Keep { longest: LIST_TTL, ..Keep::default() };
        assert_eq!(minute.left_ms(now, 0), 60_000);
        let part = Keep { until: Some(now + Duration::from_secs(20)), ..minute };
        assert_eq!(part.left_ms(now, 0), 20_000);
        assert_eq!(part.left_ms(now + Duration::from_secs(30), 0), 0);
        for draw in 0..200 {
            let left = minute.left_ms(now, draw);
            assert!((54_000..=60_000).contains(&left), "{left}");
        }
    }
}
