//! Where a call of a tool would go now, and why.

use serde_json::{Value, json};

use crate::base::{clock, rng};
use crate::catalog::skew::Copies;
use crate::catalog::{Lookup, Owner, Tool};
use crate::fleet::spec::Isolation;
use crate::fleet::{Effect, Terms};
use crate::proto::Abilities;
use crate::proto::error::ErrorBody;
use crate::upstream::Caller;

use super::effect::{self, Nature};
use super::names::{denied, unknown};
use super::overview;
use super::snapshot::{Snapshot, Upstream};
use super::wish::{Asked, Hashable, known};

/// Said of an upstream whose replicas are not chosen for each call.
const ONCE: &str = "isolation = \"session\": a client session is given a copy at its first call and \
                    stays there; what is told here holds for calls that choose";

/// A tool with the upstream it belongs to; `None` for a built-in one.
type Found<'s> = (&'s Tool, Option<(usize, &'s Upstream)>);

/// The tool of an exposed name.
pub(super) fn find<'s>(
    snapshot: &'s Snapshot,
    abilities: Abilities,
    name: &str,
) -> Result<Found<'s>, ErrorBody> {
    match snapshot.view(abilities).catalog.lookup(name) {
        Lookup::Tool(tool) => match tool.owner {
            Owner::Builtin => Ok((tool, None)),
            Owner::Upstream(place) => match snapshot.upstreams.get(place) {
                Some(upstream) => Ok((tool, Some((place, upstream)))),
                None => Err(unknown(snapshot, abilities, name)),
            },
        },
        Lookup::Denied(owner) => Err(denied(snapshot, owner, name)),
        Lookup::Transparent(_) | Lookup::Unknown => Err(unknown(snapshot, abilities, name)),
    }
}

/// What a second run of a tool of an upstream would do.
pub(super) fn nature(tool: &Tool, upstream: &Upstream) -> Nature {
    let spec = &upstream.spec;
    let operator = spec.effects.get(&*tool.original).copied();
    effect::of_tool(tool.hints, operator, spec.trust_annotations, false)
}

/// Where a call would go now, and why. Nothing is sent, and no turn is taken.
pub(super) fn explain(
    snapshot: &Snapshot,
    caller: &Caller,
    (name, arguments): (&str, &[u8]),
    strategy: Option<&str>,
) -> Result<Value, ErrorBody> {
    strategy.map_or(Ok(()), known)?;
    let (tool, owner) = find(snapshot, caller.abilities, name)?;
    let Some((place, upstream)) = owner else {
        return Ok(json!({ "tool": name, "origin": "built-in", "replicas": [] }));
    };
    let (pool, spec) = (&upstream.pool, &upstream.spec);
    let nature = nature(tool, upstream);
    let asked = Asked { strategy: strategy.map(Into::into), trace: false };
    let pace = snapshot.tools.get(&tool.name).map(|record| &record.pace);
    let told = Hashable { client: caller.key, arguments: Some(arguments), headers: None };
    let fits = snapshot.view(caller.abilities).fits(place, &tool.original);
    let terms = Terms {
        effect: nature.effect,
        hedge: nature.hedge,
        pace,
        key: told.key(pool.spec(), strategy),
        balancer: asked.balancer(pool)?,
        fits: fits.map(Copies::as_slice),
        ..Terms::default()
    };
    let now = clock::now();
    let forecast = pool.forecast(&terms, now, rng::draw());
    let view = pool.view(now);
    let replicas = view.replicas.iter().enumerate().map(|(place, replica)| {
        let mut entry = overview::replica(replica);
        if let Some(object) = entry.as_object_mut() {
            let share = forecast.shares.get(place).copied().unwrap_or(0);
            object.insert("share_percent".to_owned(), share.into());
        }
        entry
    });
    let operator = spec.effects.contains_key(&*tool.original);
    let mut answer = json!({
        "tool": name,
        "origin": spec.name.as_str(),
        "name_there": &*tool.original,
        "effect": nature.effect.as_str(),
        "effect_why": effect::why(tool.hints, operator, spec.trust_annotations),
        "sent_again": sent_again(nature.effect),
        "strategy": strategy.unwrap_or(view.strategy),
        "replicas": replicas.collect::<Vec<_>>(),
    });
    let picked = forecast.place.and_then(|place| view.replicas.get(place));
    if let Some(object) = answer.as_object_mut() {
        if spec.pool.isolation == Isolation::Session {
            object.insert("note".to_owned(), ONCE.into());
        }
        if let Some(picked) = picked {
            let name = picked.member.replica.spec.name.as_str();
            object.insert("pick".to_owned(), json!({ "replica": name, "why": forecast.why }));
        } else {
            let why = pool.nobody().message;
            object.insert("nobody_because".to_owned(), why.as_ref().into());
        }
    }
    Ok(answer)
}

/// When a call of this effect is sent again.
fn sent_again(effect: Effect) -> &'static str {
    match effect {
        Effect::ReadOnly | Effect::Idempotent => "also after it may have run",
        Effect::Unsafe => "only while it was surely not sent",
    }
}
