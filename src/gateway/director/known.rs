//! What is known of the upstreams, and the catalogs that are made of it.

use std::sync::Arc;

use crate::catalog::spec::OfferSpec;
use crate::catalog::{Merged, Owner, Part, Report, Source, merge};
use crate::gateway::listed::{Known, Listed, kept};
use crate::gateway::snapshot::View;
use crate::proto::Abilities;

use super::Director;

impl Director {
    /// Whether nothing is to be waited for: every upstream has told what it offers, now or before,
    /// or has failed to.
    pub(super) fn all_known(&self) -> bool {
        self.upstreams.iter().enumerate().all(|(at, standing)| {
            self.offered(at, Abilities::NONE).is_some() || standing.listed.iter().all(|l| l.tried)
        })
    }

    /// Keeps what an upstream offers for the next start, if it is news.
    pub(super) fn remember(&mut self, at: usize) {
        let known = self.known(at, Abilities::NONE).map(|known| known.part.clone());
        let (Some(part), Some(standing)) = (known, self.upstreams.get_mut(at)) else { return };
        if standing.saved && standing.recalled.as_ref() == Some(&part) {
            return;
        }
        let (memory, spec) = (self.memory.clone(), Arc::clone(&standing.upstream.spec));
        (standing.saved, standing.recalled) = (true, Some(part.clone()));
        let write = tokio::task::spawn_blocking(move || memory.remember(&spec, &part));
        self.tasks.spawn(async move { drop(write.await) });
    }

    pub(super) fn view(&self, abilities: Abilities) -> (Vec<Report>, View) {
        let Merged { catalog, reports } = self.merge(abilities);
        let places = 0..self.upstreams.len();
        let known: Vec<_> = places.map(|at| self.known(at, abilities)).collect();
        (reports, View::build(catalog, kept(&known)))
    }

    fn merge(&self, abilities: Abilities) -> Merged {
        let everything = OfferSpec::all("");
        let mut sources = vec![Source {
            owner: Owner::Builtin,
            offer: &everything,
            part: Some(&self.builtin_part),
        }];
        for (at, standing) in self.upstreams.iter().enumerate() {
            let owner = Owner::Upstream(at);
            let part = self.offered(at, abilities);
            sources.push(Source { owner, offer: &standing.upstream.spec.offer, part });
        }
        merge(&self.naming, &sources)
    }

    /// What an upstream offers to clients of these abilities: what is known of its replicas, else
    /// what is remembered from before our start.
    pub(super) fn offered(&self, at: usize, abilities: Abilities) -> Option<&Part> {
        let known = self.known(at, abilities).map(|known| &known.part);
        known.or_else(|| self.upstreams.get(at)?.recalled.as_ref())
    }

    /// What is known of an upstream: of its first replica for these clients that is up, else of the
    /// first that was, else of those for everybody.
    pub(super) fn known(&self, at: usize, abilities: Abilities) -> Option<&Known> {
        let standing = self.upstreams.get(at)?;
        let replicas = standing.upstream.pool.replicas.iter();
        let own: Vec<&Listed> = match self.able.get(&abilities) {
            Some(able) => {
                let beside = replicas.filter_map(|r| able.beside.get(&r.place.replica));
                beside.map(|beside| &beside.listed).collect()
            }
            None => Vec::new(),
        };
        let all: Vec<&Listed> = standing.listed.iter().collect();
        best(&own).or_else(|| best(&all))
    }
}

/// The first of them that is there, else the first that was.
fn best<'a>(listed: &[&'a Listed]) -> Option<&'a Known> {
    let present = listed.iter().find(|l| l.is_here());
    let any = present.or_else(|| listed.iter().find(|l| l.known.is_some()));
    any.and_then(|l| l.known.as_ref())
}
