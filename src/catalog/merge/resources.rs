//! Pure: the resources and resource templates of a merge. URIs are never rewritten, so where two
//! owners list the same one, the first has it.

use std::sync::Arc;

use super::Source;
use super::report::{Event, Reports};
use super::walk::walk;
use crate::catalog::item::{Item, Owner};
use crate::catalog::list::List;
use crate::catalog::resource::Resource;
use crate::catalog::template::Template;
use crate::catalog::{Catalog, Kind};

/// Takes over the resources of all sources.
pub(super) fn merge(catalog: &mut Catalog, sources: &[&Source<'_>], reports: &mut Reports) {
    for source in sources {
        let owner = source.owner;
        let take = |draft| Resource::new(&draft, owner);
        for resource in walk(source, Kind::Resources, reports, |_| true, take).taken {
            if let Owner::Upstream(upstream) = owner {
                catalog.places.put_uri(upstream, &resource.uri);
            }
            add(&mut catalog.resources, Kind::Resources, resource, reports);
        }
    }
}

/// Takes over the templates of all sources.
pub(super) fn merge_templates(
    catalog: &mut Catalog,
    sources: &[&Source<'_>],
    reports: &mut Reports,
) {
    for source in sources {
        let owner = source.owner;
        let take = |draft| Template::new(&draft, owner);
        for template in walk(source, Kind::Templates, reports, |_| true, take).taken {
            if let Owner::Upstream(upstream) = owner {
                catalog.places.put_prefix(upstream, template.prefix());
            }
            add(&mut catalog.templates, Kind::Templates, template, reports);
        }
    }
}

/// Notes who has resources at all.
pub(super) fn note(catalog: &mut Catalog, sources: &[&Source<'_>]) {
    for source in sources {
        let lists = |kind| source.part.is_some_and(|part| !part.list(kind).is_empty());
        if let Owner::Upstream(upstream) = source.owner
            && (lists(Kind::Resources) || lists(Kind::Templates))
        {
            catalog.places.note(upstream);
        }
    }
}

/// Adds an entry, and reports what is odd about it or why it is missing.
fn add<T: Item>(list: &mut List<T>, kind: Kind, item: T, reports: &mut Reports) {
    let (owner, key, oddity) = (item.owner(), Arc::clone(item.key()), item.oddity());
    match list.add(item) {
        Ok(()) => {
            if let Some(oddity) = oddity {
                reports.add(owner, kind, &key, Event::Odd(oddity));
            }
        }
        Err(winner) => reports.add(owner, kind, &key, Event::Shadowed { winner }),
    }
}
