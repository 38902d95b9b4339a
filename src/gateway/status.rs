//! Pure: how healthy the gateway is, read from a snapshot.

use serde_json::{Map, Value, json};

use crate::builtin::Standing;
use crate::catalog::Owner;
use crate::proto::Era;
use crate::upstream::replica::State;

use super::snapshot::{Snapshot, Upstream};

/// The word for the whole gateway or one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// All is well.
    Healthy,
    /// Something is missing, and the rest works.
    Degraded,
    /// A required upstream is down, or all are.
    Unhealthy,
    /// Switched off.
    Disabled,
}

impl Health {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
            Self::Disabled => "disabled",
        }
    }
}

/// How one upstream is. A replica that sleeps is as good as one that is up: a call wakes it.
pub fn upstream(upstream: &Upstream) -> Health {
    if upstream.spec.off.is_some() {
        return Health::Disabled;
    }
    let replicas = &upstream.pool.replicas;
    match replicas.iter().filter(|replica| replica.is_usable()).count() {
        0 => Health::Unhealthy,
        up if up == replicas.len() => Health::Healthy,
        _ => Health::Degraded,
    }
}

/// How the whole gateway is: unhealthy when a required upstream is down or all are, degraded when
/// any replica is missing.
pub fn overall(snapshot: &Snapshot) -> Health {
    let on = || snapshot.upstreams.iter().filter(|u| u.spec.off.is_none());
    let down = |u: &&Upstream| upstream(u) == Health::Unhealthy;
    let required_down = on().filter(|u| u.spec.required).any(|u| down(&u));
    let all_down = on().count() > 0 && on().all(|u| down(&u));
    if required_down || all_down {
        return Health::Unhealthy;
    }
    if on().any(|u| upstream(u) != Health::Healthy) {
        return Health::Degraded;
    }
    Health::Healthy
}

/// Whether every required upstream has answered once.
pub fn ready(snapshot: &Snapshot) -> bool {
    snapshot.upstreams.iter().filter(|u| u.spec.required).all(|u| u.listed)
}

/// Whether every replica of every upstream has come up or failed at least once, or sleeps.
pub fn all_tried(snapshot: &Snapshot) -> bool {
    let ended = |state: &State| matches!(state, State::Down(_) | State::Asleep);
    let tried = |u: &Upstream| {
        u.pool.is_up() || u.pool.replicas.iter().all(|replica| ended(&replica.state()))
    };
    snapshot.upstreams.iter().all(|u| tried(u) && (u.listed || !u.pool.is_up()))
}

/// One upstream with its replicas, for health and lists.
pub fn describe(upstream_: &Upstream) -> Value {
    let replicas: Vec<Value> = upstream_
        .pool
        .replicas
        .iter()
        .map(|replica| {
            let mut entry = json!({ "name": replica.spec.name.as_str() });
            let (state, detail) = match replica.state() {
                State::Starting => ("starting", None),
                State::Up { version } => ("up", Some(("version", version.as_str().to_owned()))),
                State::Asleep => ("asleep", None),
                State::Down(why) => ("down", Some(("reason", why))),
            };
            if let Some(object) = entry.as_object_mut() {
                object.insert("state".to_owned(), state.into());
                if let Some((key, value)) = detail {
                    object.insert(key.to_owned(), value.into());
                }
                if replica.is_sse() {
                    object.insert("transport".to_owned(), "sse".into());
                }
            }
            entry
        })
        .collect();
    let mut entry = json!({ "status": upstream(upstream_).as_str(), "required": upstream_.spec.required, "replicas": replicas });
    let nowhere = upstream_.pool.replicas.is_empty() && !upstream_.spec.names.is_empty();
    let unknown = nowhere.then_some("no address of its host name is known");
    let reason = upstream_.spec.off.as_deref().or(unknown);
    if let (Some(reason), Some(object)) = (reason, entry.as_object_mut()) {
        object.insert("reason".to_owned(), reason.into());
    }
    entry
}

/// Every tool with its origin: what modern clients see of it, and the upstream it comes from.
pub fn tools(snapshot: &Snapshot) -> Vec<Value> {
    let tools = snapshot.view.catalog.tools().iter();
    tools.map(|tool| described(snapshot, tool.owner, tool.definition(Era::Modern))).collect()
}

/// Every prompt with its origin.
pub fn prompts(snapshot: &Snapshot) -> Vec<Value> {
    let prompts = snapshot.view.catalog.prompts().iter();
    prompts.map(|prompt| described(snapshot, prompt.owner, prompt.definition())).collect()
}

/// Every resource and every resource template with its origin.
pub fn resources(snapshot: &Snapshot) -> Vec<Value> {
    let catalog = &snapshot.view.catalog;
    let resources = catalog.resources().iter().map(|r| (r.owner, r.definition()));
    let templates = catalog.templates().iter().map(|t| (t.owner, t.definition()));
    resources
        .chain(templates)
        .map(|(owner, definition)| described(snapshot, owner, definition))
        .collect()
}

/// A definition with the upstream it comes from.
fn described(snapshot: &Snapshot, owner: Owner, definition: &[u8]) -> Value {
    let mut entry: Value = serde_json::from_slice(definition).unwrap_or_default();
    let origin = match owner {
        Owner::Builtin => "built-in",
        Owner::Upstream(place) => {
            snapshot.upstreams.get(place).map_or("", |u| u.spec.name.as_str())
        }
    };
    if let Some(object) = entry.as_object_mut() {
        object.insert("origin".to_owned(), origin.into());
    }
    entry
}

/// Every service by name, as `GET /health` shows them.
pub fn services(snapshot: &Snapshot) -> Map<String, Value> {
    let mut services = Map::new();
    for service in snapshot.builtins.services() {
        services.insert(service.name.to_owned(), standing(&service.standing));
    }
    for off in snapshot.builtins.off() {
        services.insert(off.name.to_owned(), json!({ "status": "disabled", "reason": off.reason }));
    }
    for one in &snapshot.upstreams {
        services.insert(one.spec.name.as_str().to_owned(), describe(one));
    }
    services
}

/// How we stand with a service behind a built-in tool, as its last real calls found it: nothing is
/// sent to find out.
fn standing(standing: &Standing) -> Value {
    match standing {
        Standing::Unknown => {
            json!({ "status": Health::Healthy.as_str(), "detail": "not called yet" })
        }
        Standing::Up => json!({ "status": Health::Healthy.as_str() }),
        Standing::Degraded(why) => json!({ "status": Health::Degraded.as_str(), "reason": why }),
    }
}
