//! What is known of the upstreams, and the catalogs that are made of it.

use std::sync::Arc;

use crate::base::clock;
use crate::catalog::skew::{Copy, United, unite};
use crate::catalog::spec::OfferSpec;
use crate::catalog::{Merged, Owner, Part, Report, Source, merge};
use crate::gateway::listed::{Known, Listed, kept};
use crate::gateway::memory::Remembered;
use crate::gateway::snapshot::View;
use crate::proto::Abilities;
use crate::upstream::Replica;

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
        let known = self.known(at, Abilities::NONE).map(|known| Remembered {
            part: known.part.clone(),
            subscribe: known.offers.subscribe,
            tasks: known.offers.tasks,
            extensions: known.offers.extensions.clone(),
        });
        let (Some(news), Some(standing)) = (known, self.upstreams.get_mut(at)) else { return };
        if standing.saved && standing.recalled.as_ref() == Some(&news) {
            return;
        }
        let (memory, spec) = (self.memory.clone(), Arc::clone(&standing.upstream.spec));
        (standing.saved, standing.recalled) = (true, Some(news.clone()));
        if !memory.keeps() {
            return;
        }
        let write = tokio::task::spawn_blocking(move || memory.remember(&spec, &news));
        self.tasks.spawn(async move { drop(write.await) });
    }

    pub(super) fn view(&self, abilities: Abilities) -> (Vec<Report>, View) {
        let places = || 0..self.upstreams.len();
        let united: Vec<_> = places().map(|at| self.united(at, abilities)).collect();
        let Merged { catalog, reports } = self.merge(abilities, &united);
        let known: Vec<_> = places().map(|at| self.known(at, abilities)).collect();
        let fits = united.into_iter().map(|united| united.map(|u| u.fits).unwrap_or_default());
        (reports, View::build(catalog, kept(&known), fits.collect()))
    }

    /// What the replicas of an upstream offer together, where they differ.
    fn united(&self, at: usize, abilities: Abilities) -> Option<United> {
        let best = &self.known(at, abilities)?.part;
        let standing = self.upstreams.get(at)?;
        let replicas = &standing.upstream.pool.replicas;
        let beside = |replica: &Arc<Replica>| {
            let beside = self.able.get(&abilities)?.beside.get(&replica.place.replica)?;
            Some(&beside.listed)
        };
        let own: Vec<_> = replicas.iter().map(beside).collect();
        // What servers list for clients of these abilities is not compared with what they list for
        // others.
        let any_own = own.iter().flatten().any(|listed| listed.known.is_some());
        let all: Vec<Option<&Listed>> =
            if any_own { own } else { standing.listed.iter().map(Some).collect() };
        let now = clock::now();
        let mut copies = Vec::with_capacity(replicas.len());
        for ((place, replica), listed) in replicas.iter().enumerate().zip(all) {
            let Some(listed) = listed.filter(|listed| listed.counts(now)) else { continue };
            let weight = if listed.is_here() { replica.spec.weight.max(1) } else { 0 };
            let known = listed.known.as_ref();
            copies.extend(known.map(|known| Copy { place, part: &known.part, weight }));
        }
        unite(best, &copies)
    }

    fn merge(&self, abilities: Abilities, united: &[Option<United>]) -> Merged {
        let everything = OfferSpec::all("");
        let mut sources = vec![Source {
            owner: Owner::Builtin,
            offer: &everything,
            part: Some(&self.builtin_part),
        }];
        for (at, standing) in self.upstreams.iter().enumerate() {
            let owner = Owner::Upstream(at);
            let whole = united.get(at).and_then(Option::as_ref).map(|united| &united.part);
            let part = whole.or_else(|| self.offered(at, abilities));
            sources.push(Source { owner, offer: &standing.upstream.spec.offer, part });
        }
        merge(&self.naming, &sources)
    }

    /// What an upstream offers to clients of these abilities: what is known of its replicas, else
    /// what is remembered from before our start.
    pub(super) fn offered(&self, at: usize, abilities: Abilities) -> Option<&Part> {
        let known = self.known(at, abilities).map(|known| &known.part);
        known.or_else(|| Some(&self.upstreams.get(at)?.recalled.as_ref()?.part))
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
