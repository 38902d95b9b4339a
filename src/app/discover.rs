//! Host names whose addresses are replicas: they are looked up again and again, and whoever waits
//! is told when one of them stands for other addresses. What follows from that is a reload like any
//! other. There is no task behind it: lookups go on while somebody waits for them.

use std::collections::BTreeSet;
use std::fmt;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::base::{UpstreamName, rng};
use crate::egress::names::{Looked, Resolver};
use crate::gateway::addresses::{Answer, Found, Verdict, decide};
use crate::gateway::spec::GatewaySpec;
use crate::gateway::spread::{Known, Wanted, wanted};
use crate::telemetry::Meters;
use crate::telemetry::names::Lookup;

/// New names have so long to be looked up before a start or a reload goes on without them.
const FIRST_MAX: Duration = Duration::from_secs(2);
/// Least time between two lookups of one name.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Longest time between two lookups of a name of which no address is known.
const PAUSE_LOST_MAX: Duration = Duration::from_secs(5);
/// Lookups are so many percent earlier or later: many gateways do not ask all at once.
const JITTER_PERCENT: u32 = 10;

/// The names that are looked up, and what is known of them.
pub(super) struct Discovery {
    resolver: Resolver,
    /// Most addresses of one name.
    most: usize,
    known: Known,
    watches: Vec<Watch>,
    /// Something has changed since it was asked what is known.
    moved: bool,
    meters: Meters,
}

/// One name.
struct Watch {
    host: String,
    wanted: Wanted,
    /// It has been looked up once, with whatever success.
    tried: bool,
    /// What the log was told last.
    told: Told,
    /// The next lookup, and the time until then.
    looking: Pin<Box<dyn Future<Output = Looked> + Send>>,
}

/// What is told of a name when it becomes so, and not at each lookup.
#[derive(Default, PartialEq, Eq)]
struct Told {
    trouble: Option<String>,
    left_out: usize,
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery").field("known", &self.known).finish_non_exhaustive()
    }
}

impl Discovery {
    /// No name yet.
    pub(super) fn new(meters: &Meters) -> Self {
        Self {
            resolver: Resolver::default(),
            most: 0,
            known: Known::new(),
            watches: Vec::new(),
            moved: false,
            meters: meters.clone(),
        }
    }

    /// From now on the names of this configuration are looked up, new ones at once.
    pub(super) fn follow(&mut self, spec: &GatewaySpec) {
        let (resolver, most) = (Resolver { server: spec.dns.server }, spec.dns.addresses_max);
        let other = (self.resolver, self.most) != (resolver, most);
        (self.resolver, self.most) = (resolver, most);
        let mut wanted = wanted(spec);
        self.watches.retain_mut(|watch| {
            let Some(again) = wanted.remove(&watch.host) else { return false };
            watch.wanted = again;
            if other {
                watch.looking = look(resolver, &watch.host, Duration::ZERO);
            }
            true
        });
        for (host, wanted) in wanted {
            let looking = look(resolver, &host, Duration::ZERO);
            self.watches.push(Watch { host, wanted, tried: false, told: Told::default(), looking });
        }
        let Self { known, watches, .. } = self;
        known.retain(|host, _| watches.iter().any(|watch| watch.host == *host));
        for upstream in self.watches.iter().flat_map(|watch| &watch.wanted.upstreams) {
            for result in Lookup::ALL {
                self.meters.lookups(upstream.as_str(), result).increment(0);
            }
        }
    }

    /// Resolves when every name has been looked up once, or after [`FIRST_MAX`].
    pub(super) async fn first(&mut self) {
        let all = poll_fn(|cx| {
            self.poll(cx);
            if self.watches.iter().all(|watch| watch.tried) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        if tokio::time::timeout(FIRST_MAX, all).await.is_err() {
            let late = self.watches.iter().filter(|watch| !watch.tried);
            for Watch { host, .. } in late {
                tracing::warn!(host, "not looked up yet; its upstream begins without it");
            }
        }
    }

    /// Resolves when a name stands for other addresses than when it was asked what is known. Nothing
    /// is lost when it is dropped before.
    pub(super) async fn moved(&mut self) {
        poll_fn(|cx| {
            self.poll(cx);
            if self.moved { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// What is known of each name.
    pub(super) fn known(&mut self) -> &Known {
        self.moved = false;
        &self.known
    }

    /// Upstreams that need a name without a known address, with the reason.
    pub(super) fn lost(&self) -> impl Iterator<Item = (&UpstreamName, String)> {
        let lost = self.watches.iter().filter(|watch| !self.known.contains_key(&watch.host));
        lost.flat_map(|watch| {
            let why = watch.told.trouble.as_deref().unwrap_or("not looked up yet");
            let why = format!("no address of {} is known: {why}", watch.host);
            watch.wanted.upstreams.iter().map(move |upstream| (upstream, why.clone()))
        })
    }

    fn poll(&mut self, cx: &mut Context<'_>) {
        for watch in &mut self.watches {
            // Once more after an answer, so that the next lookup wakes us.
            while let Poll::Ready(looked) = watch.looking.as_mut().poll(cx) {
                let known = self.known.get(&watch.host).cloned().unwrap_or_default();
                let answer = Answer { v4: looked.v4, v6: looked.v6 };
                let verdict = decide(&known, &answer, self.most);
                watch.tried = true;
                watch.count(&self.meters, &verdict);
                watch.tell(&verdict, &known);
                if let Verdict::Found(found) = verdict {
                    self.moved |= found.addresses != known;
                    self.known.insert(watch.host.clone(), found.addresses);
                }
                let lost = !self.known.contains_key(&watch.host);
                let pause = pause(watch.wanted.every, lost, rng::draw());
                watch.looking = look(self.resolver, &watch.host, pause);
            }
        }
    }
}

impl Watch {
    fn count(&self, meters: &Meters, verdict: &Verdict) {
        let result = match verdict {
            Verdict::Found(Found { half: None, .. }) => Lookup::Found,
            Verdict::Nothing => Lookup::Nothing,
            Verdict::Found(_) | Verdict::Failed(_) => Lookup::Failed,
        };
        for upstream in &self.wanted.upstreams {
            meters.lookups(upstream.as_str(), result).increment(1);
        }
    }

    /// Tells the log what is new.
    fn tell(&mut self, verdict: &Verdict, known: &BTreeSet<IpAddr>) {
        let host = &self.host;
        let now = match verdict {
            Verdict::Found(found) => {
                if !(found.came.is_empty() && found.went.is_empty()) {
                    let (came, went) = (texts(&found.came), texts(&found.went));
                    tracing::info!(host, came, went, "the name stands for other addresses");
                }
                Told { trouble: found.half.clone(), left_out: found.left_out }
            }
            Verdict::Nothing => Told {
                trouble: Some("there is no address under this name".to_owned()),
                left_out: 0,
            },
            Verdict::Failed(why) => Told { trouble: Some(why.clone()), left_out: 0 },
        };
        if now == self.told {
            return;
        }
        let stay = known.len();
        match (&now.trouble, &self.told.trouble) {
            (Some(why), before) if before.as_ref() != Some(why) => {
                tracing::warn!(host, why, stay, "cannot look it up; what is known of it stays");
            }
            (None, Some(_)) => tracing::info!(host, "can be looked up again"),
            _ => {}
        }
        if now.left_out > 0 && now.left_out != self.told.left_out {
            let left_out = now.left_out;
            tracing::warn!(host, left_out, "more addresses than dns.addresses_max become replicas");
        }
        self.told = now;
    }
}

/// The time to the next lookup.
fn pause(every: Duration, lost: bool, draw: u64) -> Duration {
    let every = if lost { every.min(PAUSE_LOST_MAX) } else { every };
    rng::jitter(every.max(PAUSE_MIN), JITTER_PERCENT, draw)
}

/// Looks a name up after a pause.
fn look(
    resolver: Resolver,
    host: &str,
    pause: Duration,
) -> Pin<Box<dyn Future<Output = Looked> + Send>> {
    let host = host.to_owned();
    Box::pin(async move {
        tokio::time::sleep(pause).await;
        resolver.lookup(&host).await
    })
}

fn texts(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookups_keep_their_pace_give_or_take_a_tenth() {
        let secs = Duration::from_secs;
        for (every, lost, middle) in [
            (secs(30), false, 30_000),
            (secs(30), true, 5_000),
            (secs(2), true, 2_000),
            (Duration::from_millis(1), false, 1_000),
        ] {
            let pauses: Vec<_> =
                (0..200).map(|draw| pause(every, lost, draw).as_millis()).collect();
            let (least, most) = (pauses.iter().min().unwrap(), pauses.iter().max().unwrap());
            assert_eq!((*least, *most), (middle * 9 / 10, middle * 11 / 10), "{every:?} {lost}");
        }
    }
}
