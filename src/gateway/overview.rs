//! Every upstream and its replicas in numbers: what `/api/v1/upstreams`, `waypost list upstreams`
//! and `gateway_status` show.

use std::time::Instant;

use serde_json::{Map, Value, json};

use crate::fleet::member::Member;
use crate::fleet::pace::Window;
use crate::fleet::view::MemberView;
use crate::upstream::replica::State;
use crate::upstream::spec::{HttpSpec, ReplicaKind};

use super::snapshot::{Snapshot, Upstream};
use super::status;
use super::traced::{millis, rounded};

/// Every upstream, in the order of the configuration.
pub fn upstreams(snapshot: &Snapshot, now: Instant) -> Vec<Value> {
    snapshot.upstreams.iter().map(|one| upstream(one, now)).collect()
}

/// The upstream of this name.
pub fn named(snapshot: &Snapshot, name: &str, now: Instant) -> Option<Value> {
    let one = snapshot.upstreams.iter().find(|one| one.spec.name.as_str() == name)?;
    Some(upstream(one, now))
}

/// One upstream.
pub fn upstream(one: &Upstream, now: Instant) -> Value {
    let view = one.pool.view(now);
    let mut entry = json!({
        "name": one.spec.name.as_str(),
        "status": status::upstream(one).as_str(),
        "required": one.spec.required,
        "strategy": view.strategy,
        "in_flight": view.inflight,
        "in_flight_max": view.inflight_max,
        "waiting": view.waiting,
        "retry_budget": rounded(view.retry_budget),
        "panicking": view.panicking,
        "replicas": view.replicas.iter().map(replica).collect::<Vec<_>>(),
    });
    if let (Some(reason), Some(object)) = (&one.spec.off, entry.as_object_mut()) {
        object.insert("reason".to_owned(), reason.as_str().into());
    }
    entry
}

/// One replica.
pub(super) fn replica(view: &MemberView) -> Value {
    let member: &Member = &view.member;
    let replica = &member.replica;
    let mut entry = Map::new();
    let mut put = |key: &str, value: Value| {
        entry.insert(key.to_owned(), value);
    };
    put("name", replica.spec.name.as_str().into());
    let kind = match replica.spec.kind {
        ReplicaKind::Child(_) => "child",
        ReplicaKind::Http(_) => "http",
    };
    put("kind", kind.into());
    if let ReplicaKind::Http(HttpSpec { address: Some(address), .. }) = replica.spec.kind {
        put("address", address.to_string().into());
    }
    match &view.state {
        State::Starting => put("state", "starting".into()),
        State::Up { version } => {
            put("state", "up".into());
            put("version", version.as_str().into());
            put("era", version.era().as_str().into());
            if replica.is_sse() {
                put("transport", "sse".into());
            }
        }
        State::Asleep => put("state", "asleep".into()),
        State::Down(why) => {
            put("state", "down".into());
            put("reason", why.as_str().into());
        }
    }
    put("gate", view.gate.as_str().into());
    if let Some(left) = view.shut_for {
        put("gate_shut_for_ms", millis(left));
    }
    put("suspect", view.suspect.into());
    put("resting", view.resting.into());
    put("well", view.well.into());
    put("in_flight", view.numbers.busy.into());
    put("weight", member.weight().into());
    put("tier", view.numbers.tier.into());
    put("warmth", rounded(view.numbers.warmth.into()));
    put("errors", rounded(view.numbers.errors.into()));
    put("latency_relative", rounded(view.numbers.slowness.into()));
    if let Some(window) = view.window {
        put("latency_ms", latency(window));
    }
    put("lives", replica.lives().into());
    put("restarts", replica.restarts().into());
    put("trips", view.trips.into());
    Value::Object(entry)
}

fn latency(window: Window) -> Value {
    json!({
        "answers": window.count,
        "p50": millis(window.p50),
        "p95": millis(window.p95),
        "p99": millis(window.p99),
    })
}
