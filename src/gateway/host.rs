//! The gateway as its built-in tools see it, on behalf of the client that called one.

use std::time::Duration;

use serde_json::{Value, json};

use crate::base::{Fault, clock, together};
use crate::builtin::{Host, HostCall, HostFuture, Outcome, Target};
use crate::fleet::Effect;
use crate::fleet::member::Member;
use crate::fleet::spec::Isolation;
use crate::proto::answer::Body;
use crate::proto::{Era, Method};
use crate::upstream::replica::State;
use crate::upstream::{Caller, Done};

use super::snapshot::{Snapshot, server_info};
use super::traced::millis;
use super::wish::{Wish, known};
use super::{Inner, nested, overview, route, status};

/// How many replicas are looked at at once.
const LOOKS_AT_ONCE: usize = 32;

/// The gateway for one call of a built-in tool.
pub(super) struct Hosted<'a> {
    pub(super) inner: &'a Inner,
    pub(super) snapshot: &'a Snapshot,
    pub(super) caller: &'a Caller,
    pub(super) nested: bool,
    /// The call stands in for another one: nothing stands in for what it calls.
    pub(super) stands_in: bool,
}

impl Host for Hosted<'_> {
    fn is_nested(&self) -> bool {
        self.nested
    }

    fn call<'a>(&'a self, call: HostCall<'a>) -> HostFuture<'a, Outcome> {
        let HostCall { tool, arguments, strategy, replica, bytes_max } = call;
        let stands_in = self.stands_in;
        let wish = Wish { strategy, replica, nested: true, stands_in, ..Wish::default() };
        let tool = nested::Tool { name: tool, arguments, bytes_max };
        nested::call(self.inner, self.caller, tool, wish)
    }

    fn target(&self, tool: &str, strategy: Option<&str>) -> Result<Target, String> {
        strategy.map_or(Ok(()), known).map_err(|error| error.message)?;
        let (tool, owner) = route::find(self.snapshot, self.caller.abilities, tool)
            .map_err(|error| error.message)?;
        let Some((_, upstream)) = owner else {
            let reads = tool.hints.read_only == Some(true);
            let effect = if reads { Effect::ReadOnly } else { Effect::Unsafe };
            let replicas = Err("runs inside the gateway: there are no replicas to ask");
            return Ok(Target { reads, effect: effect.as_str(), replicas });
        };
        let effect = route::nature(tool, upstream).effect;
        let names = || upstream.pool.replicas.iter().map(|r| r.spec.name.as_str().to_owned());
        let replicas = match upstream.spec.pool.isolation {
            Isolation::Shared => Ok(names().collect()),
            Isolation::Session => {
                Err("keeps state for each client session (isolation = \"session\"): \
                                       there is one replica for yours")
            }
        };
        Ok(Target { reads: effect == Effect::ReadOnly, effect: effect.as_str(), replicas })
    }

    fn overview(&self) -> Value {
        json!({
            "status": status::overall(self.snapshot).as_str(),
            "version": env!("CARGO_PKG_VERSION"),
            "upstreams": overview::upstreams(self.snapshot, clock::now()),
        })
    }

    fn upstreams(&self) -> Vec<String> {
        self.snapshot.upstreams.iter().map(|one| one.spec.name.as_str().to_owned()).collect()
    }

    fn look<'a>(
        &'a self,
        upstream: Option<&'a str>,
        limit: Duration,
    ) -> HostFuture<'a, Vec<Value>> {
        Box::pin(look(self.snapshot, upstream, limit))
    }

    fn explain(
        &self,
        tool: &str,
        arguments: &[u8],
        strategy: Option<&str>,
    ) -> Result<Value, String> {
        route::explain(self.snapshot, self.caller, (tool, arguments), strategy)
            .map_err(|error| error.message)
    }
}

/// Asks every replica whether it is there.
async fn look(snapshot: &Snapshot, upstream: Option<&str>, limit: Duration) -> Vec<Value> {
    let wanted = |name: &str| upstream.is_none_or(|wanted| wanted == name);
    let chosen = || snapshot.upstreams.iter().filter(|one| wanted(one.spec.name.as_str()));
    let members: Vec<&Member> =
        chosen().flat_map(|one| &one.pool.members).map(AsRef::as_ref).collect();
    let us = server_info();
    let found = together(members.len(), LOOKS_AT_ONCE, async |place| match members.get(place) {
        Some(member) => look_at(member, limit, &us).await,
        None => Value::Null,
    });
    let mut found = found.await.into_iter();
    chosen()
        .map(|one| {
            let replicas: Vec<Value> = found.by_ref().take(one.pool.members.len()).collect();
            json!({
                "name": one.spec.name.as_str(),
                "status": status::upstream(one).as_str(),
                "replicas": replicas,
            })
        })
        .collect()
}

/// Asks one replica whether it is there. One that does not answer is looked into by its keeper; one
/// that sleeps is left alone.
async fn look_at(member: &Member, limit: Duration, us: &Value) -> Value {
    let replica = &member.replica;
    let name = replica.spec.name.as_str();
    // It is not stopped while it is looked at.
    let glance = replica.glance();
    let Some(live) = replica.live().filter(|_| glance.is_some()) else {
        let why = match replica.state() {
            State::Asleep => {
                let why = "it is asleep: nobody uses it, and a call wakes it";
                return json!({ "name": name, "asleep": true, "detail": why });
            }
            State::Down(why) => why,
            State::Starting | State::Up { .. } => "it is still starting".to_owned(),
        };
        return json!({ "name": name, "answers": false, "detail": why });
    };
    let spec = replica.health();
    let own = if replica.is_child() { spec.timeout_child } else { spec.timeout };
    let method = match live.dialect().era {
        Era::Modern => Method::Discover,
        Era::Legacy => Method::Ping,
    };
    let began = clock::now();
    let answer = live.ask(method, None, own.min(limit), us).await;
    let took = millis(clock::now() - began);
    let (answers, detail) = judged(answer);
    if !answers {
        replica.doubt();
    }
    json!({ "name": name, "answers": answers, "took_ms": took, "detail": detail })
}

/// Any answer at all shows that the server is there.
fn judged(answer: Result<Done, Fault>) -> (bool, String) {
    match answer {
        Ok(done) => match &done.answer.body {
            Body::Result(_) => (true, "it answered".to_owned()),
            Body::Error(error) => (true, format!("it answered with error {}", error.code)),
        },
        Err(fault) => match fault.kind {
            crate::base::Kind::Status(status @ 400..=499) => {
                (true, format!("it answered with HTTP {status}"))
            }
            _ => (false, fault.message.into_owned()),
        },
    }
}
