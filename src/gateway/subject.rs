//! Requests about something that is no tool: a prompt to get, a resource to read or to watch, an
//! argument to complete. Which upstream owns it, and what is answered where nobody does.

use std::sync::Arc;

use serde_json::json;
use smallvec::SmallVec;

use crate::base::clock;
use crate::catalog::{Catalog, Owner, PromptLookup};
use crate::proto::complete::{Reference, reference};
use crate::proto::error::{ErrorBody, INVALID_PARAMS, LEGACY_NOT_FOUND, result_message};
use crate::proto::listen::URI_BYTES_MAX;
use crate::proto::scan::unquote;
use crate::proto::{Abilities, Era, Method, Span, ladder};
use crate::telemetry::Status;
use crate::upstream::Told;

use super::call::{Call, Reply};
use super::effect;
use super::errand::{Errand, refuse, upstream};
use super::hub::{WATCHED_MAX, Watching};
use super::names::{NEAREST, no_such, unlisted};
use super::snapshot::Snapshot;
use super::{Inner, answer as answers};

/// Upstreams that may own a resource, the likeliest first.
type Places = SmallVec<[usize; 8]>;

/// Answers a request about a prompt, a resource or an argument.
pub(super) async fn answer(
    inner: &Inner,
    snapshot: &Snapshot,
    call: Call<'_>,
    mut tell: impl FnMut(Told) + Send,
) -> Result<Reply, Reply> {
    ladder::subject(call.body, call.shape)
        .map_err(|refusal| refuse(call, refusal.status, &refusal.error))?;
    let named =
        |span: Option<Span>| span.and_then(|s| unquote(s.of(call.body))).unwrap_or_default();
    match call.shape.method {
        Method::PromptsGet => {
            let name = named(call.shape.name);
            let (place, original) = prompt(snapshot, call, &name)?;
            let errand = asked(call.shape.method, place, &original, call.shape.name);
            let end = upstream(inner, snapshot, errand, call, &mut tell).await;
            if end.status == Status::Success { Ok(end.reply) } else { Err(end.reply) }
        }
        Method::ResourcesRead => {
            let uri = named(call.shape.uri);
            read(inner, snapshot, &uri, call, &mut tell).await
        }
        _ => complete(inner, snapshot, call, &mut tell).await,
    }
}

/// A request about something that is mirrored in no parameter headers.
fn asked(method: Method, place: usize, name: &str, span: Option<Span>) -> Errand<'_> {
    Errand::new(place, name, span, effect::of_method(method), clock::now())
}

/// Who has the prompt of this name, and how they call it.
fn prompt(snapshot: &Snapshot, call: Call<'_>, name: &str) -> Result<(usize, Arc<str>), Reply> {
    let catalog = &snapshot.view(call.caller.abilities).catalog;
    match catalog.prompt(name) {
        PromptLookup::Prompt(prompt) => match prompt.owner {
            Owner::Upstream(place) => Ok((place, Arc::clone(&prompt.original))),
            Owner::Builtin => Err(refuse(call, 200, &no_prompt(catalog, name))),
        },
        PromptLookup::Transparent(place) => Ok((place, Arc::from(name))),
        PromptLookup::Unknown => Err(match unlisted(snapshot, name) {
            Some(upstream) => {
                let fault = upstream.pool.nobody();
                refuse(call, 200, &answers::error(&fault, Some(upstream.spec.name.as_str())))
            }
            None => refuse(call, 200, &no_prompt(catalog, name)),
        }),
    }
}

fn no_prompt(catalog: &Catalog, name: &str) -> ErrorBody {
    no_such("prompt", "prompts/list", name, &catalog.nearest_prompts(name, NEAREST))
}

// === resources ===

/// Upstreams that may own a resource, the likeliest first; the first alone if it surely does.
fn owners(inner: &Inner, snapshot: &Snapshot, abilities: Abilities, uri: &str) -> Places {
    let catalog = &snapshot.view(abilities).catalog;
    let sure = |owner| match owner {
        Owner::Upstream(place) => Some(place),
        Owner::Builtin => None,
    };
    let listed = catalog.resource(uri).and_then(|resource| sure(resource.owner));
    let named = listed.or_else(|| snapshot.place(inner.links.owner(uri)?));
    let made = named.or_else(|| catalog.matching(uri).and_then(|template| sure(template.owner)));
    match made {
        Some(place) => Places::from_slice(&[place]),
        None => catalog.candidates(uri).into_iter().collect(),
    }
}

/// Reads a resource. One that nobody lists is looked for at those who may have it, one after the
/// other, until one does.
async fn read(
    inner: &Inner,
    snapshot: &Snapshot,
    uri: &str,
    call: Call<'_>,
    tell: &mut (impl FnMut(Told) + Send),
) -> Result<Reply, Reply> {
    let places = owners(inner, snapshot, call.caller.abilities, uri);
    let alone = places.len() == 1;
    let mut first = None;
    for place in places {
        let errand = asked(call.shape.method, place, uri, call.shape.uri);
        let end = upstream(inner, snapshot, errand, call, tell).await;
        if end.status == Status::Success {
            if let Some(upstream) = snapshot.upstreams.get(place).filter(|_| !alone) {
                inner.links.remember(uri, upstream.id);
            }
            return Ok(end.reply);
        }
        if alone || !end.missing {
            return Err(end.reply);
        }
        first.get_or_insert(end.reply);
    }
    if let Some(first) = first {
        return Err(first); // the likeliest owner's own words
    }
    let code = match call.caller.era {
        Era::Legacy => LEGACY_NOT_FOUND,
        Era::Modern => INVALID_PARAMS,
    };
    let shown: String = uri.chars().take(256).collect();
    let error = ErrorBody::new(code, format!("Resource not found: {shown}"));
    Err(refuse(call, 200, &error.with(json!({ "uri": uri }))))
}

/// Watches a resource for a client.
pub(super) fn watch(inner: &Inner, abilities: Abilities, uri: &str) -> Result<Watching, ErrorBody> {
    let snapshot = inner.snapshot.load_full();
    let bad = |text: String| ErrorBody::new(INVALID_PARAMS, text).with(json!({ "uri": uri }));
    if uri.len() > URI_BYTES_MAX {
        return Err(bad(format!("a watched URI may have {URI_BYTES_MAX} bytes")));
    }
    let places = owners(inner, &snapshot, abilities, uri);
    let able = |place: &usize| snapshot.upstreams.get(*place).is_some_and(|u| u.offers.subscribe);
    let Some(place) = places.iter().copied().find(able) else {
        let text = if places.is_empty() {
            "nobody offers this resource"
        } else {
            "the server of this resource does not tell when it changes"
        };
        return Err(bad(text.to_owned()));
    };
    let upstream = snapshot.upstreams.get(place).ok_or_else(|| bad("it is gone".to_owned()))?;
    let watching = inner.hub.watch(&upstream.pool, upstream.id, uri);
    watching.ok_or_else(|| bad(format!("{WATCHED_MAX} resources are watched already")))
}

// === completion ===

/// Completes an argument of a prompt, or a variable of a template.
async fn complete(
    inner: &Inner,
    snapshot: &Snapshot,
    call: Call<'_>,
    tell: &mut (impl FnMut(Told) + Send),
) -> Result<Reply, Reply> {
    let (about, span) =
        reference(call.body, call.shape.reference).map_err(|error| refuse(call, 200, &error))?;
    let catalog = &snapshot.view(call.caller.abilities).catalog;
    let (place, name) = match about {
        Reference::Prompt(name) => prompt(snapshot, call, &name)?,
        Reference::Resource(uri) => {
            let place = match catalog.template(&uri).map(|template| template.owner) {
                Some(Owner::Upstream(place)) => Some(place),
                _ => owners(inner, snapshot, call.caller.abilities, &uri).first().copied(),
            };
            let nobody = || {
                let text = format!("nobody offers the resource or template {uri:?}");
                refuse(call, 200, &ErrorBody::new(INVALID_PARAMS, text))
            };
            (place.ok_or_else(nobody)?, Arc::from(uri.as_str()))
        }
    };
    let errand = asked(call.shape.method, place, &name, Some(span));
    let end = upstream(inner, snapshot, errand, call, tell).await;
    if end.no_method {
        // The gateway offers completion because some upstream may; this one has none to offer.
        let empty = match call.caller.era {
            Era::Legacy => r#"{"completion":{"values":[]}}"#,
            Era::Modern => r#"{"resultType":"complete","completion":{"values":[]}}"#,
        };
        return Ok(Reply::ok(result_message(call.id(), empty.as_bytes())));
    }
    if end.status == Status::Success { Ok(end.reply) } else { Err(end.reply) }
}
