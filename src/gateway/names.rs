//! Names that lead nowhere: what their callers are told, and who might still have them.

use serde_json::json;

use crate::catalog::Owner;
use crate::proto::Abilities;
use crate::proto::error::{DENIED, ErrorBody, INVALID_PARAMS};

use super::snapshot::{Snapshot, Upstream};

/// How many names an unknown tool is answered with.
pub(super) const NEAREST: usize = 3;

/// The upstream that is known, and whose tools would begin like this name.
pub(super) fn begins_with_prefix(snapshot: &Snapshot, name: &str) -> Option<usize> {
    snapshot.upstreams.iter().position(|u| u.known && owns_prefix(snapshot, u, name))
}

fn owns_prefix(snapshot: &Snapshot, upstream: &Upstream, name: &str) -> bool {
    let prefix = &upstream.spec.offer.prefix;
    let rest = name.strip_prefix(prefix.as_str()).filter(|_| !prefix.is_empty());
    rest.is_some_and(|rest| rest.starts_with(&snapshot.separator))
}

/// The upstream that never told what it offers, and whose tools would begin like this name: nobody
/// can say whether it has the tool, only that it is not there.
pub(super) fn unlisted<'s>(snapshot: &'s Snapshot, name: &str) -> Option<&'s Upstream> {
    let off = |u: &&Upstream| !u.known && u.spec.off.is_none();
    snapshot.upstreams.iter().filter(off).find(|u| owns_prefix(snapshot, u, name))
}

/// A tool that the operator hides.
pub(super) fn denied(snapshot: &Snapshot, owner: Owner, name: &str) -> ErrorBody {
    let upstream = match owner {
        Owner::Upstream(place) => snapshot.upstreams.get(place).map(|u| u.spec.name.as_str()),
        Owner::Builtin => None,
    };
    let data = json!({
        "source": "gateway",
        "kind": "denied",
        "delivery": "not_sent",
        "retryable": false,
        "upstream": upstream,
    });
    ErrorBody::new(
        DENIED,
        format!("the tool {name:?} is filtered out by tools.include or tools.exclude"),
    )
    .with(data)
}

/// A tool that nobody offers.
pub(super) fn unknown(snapshot: &Snapshot, abilities: Abilities, name: &str) -> ErrorBody {
    let near = snapshot.view(abilities).catalog.nearest(name, NEAREST);
    no_such("tool", "tools/list", name, &near)
}

/// Nobody offers this. The nearest names help who mistyped.
pub(super) fn no_such(what: &str, list: &str, name: &str, near: &[&str]) -> ErrorBody {
    let shown: String = name.chars().take(128).collect();
    let hint = match near {
        [] => format!("; {list} names what there is"),
        near => format!("; the nearest names are {}", near.join(", ")),
    };
    ErrorBody::new(INVALID_PARAMS, format!("Unknown {what}: {shown}{hint}"))
}
