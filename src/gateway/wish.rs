//! Pure: what a request asks of the gateway itself: another balancer and a trace by its `_meta`; a
//! certain replica and a number of attempts only from within the process.

use std::borrow::Cow;

use http::HeaderMap;

use crate::base::hash;
use crate::fleet::pick::Balancer;
use crate::fleet::spec::{Balance, HashOn, PoolSpec};
use crate::fleet::{Pool, strategies};
use crate::proto::error::{ErrorBody, INVALID_PARAMS};
use crate::proto::meta;
use crate::proto::scan::{member, unquote};

use super::call::Call;

/// What a call from within the process asks for beside its message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish<'a> {
    /// Another balancer than the upstream's own, by its name; goes before `_meta`.
    pub strategy: Option<&'a str>,
    /// The place of the only replica that may take it.
    pub replica: Option<usize>,
    /// Attempts in all instead of what is configured, 1 to 20.
    pub attempts: Option<u32>,
    /// A tool of the gateway makes the call.
    pub nested: bool,
    /// It stands in for a call of another tool that failed: nothing stands in for it.
    pub stands_in: bool,
}

/// What a request asks for, checked.
#[derive(Debug, Default)]
pub(super) struct Asked<'a> {
    pub(super) strategy: Option<Cow<'a, str>>,
    pub(super) trace: bool,
}

/// What a request asks for; refused if it cannot be meant.
pub(super) fn asked(call: Call<'_>) -> Result<Asked<'_>, ErrorBody> {
    let keys = &call.shape.keys;
    let trace = match keys.trace.map(|member| member.value.of(call.body)) {
        None | Some(b"false") => false,
        Some(b"true") => true,
        Some(_) => return Err(refusal(meta::TRACE, "must be true or false")),
    };
    let wished = match keys.strategy.map(|member| unquote(member.value.of(call.body))) {
        None => None,
        Some(Some(name)) => Some(name),
        Some(None) => return Err(refusal(meta::STRATEGY, "must be a string")),
    };
    let strategy = call.wish.strategy.map(Cow::Borrowed).or(wished);
    if let Some(name) = &strategy {
        known(name)?;
    }
    Ok(Asked { strategy, trace })
}

impl Asked<'_> {
    /// The balancer that was asked for.
    pub(super) fn balancer<'p>(
        &self,
        pool: &'p Pool,
    ) -> Result<Option<&'p dyn Balancer>, ErrorBody> {
        let Some(name) = &self.strategy else { return Ok(None) };
        pool.strategy(name).map(Some).ok_or_else(|| {
            let what = format!("is {name:?}, and {} has no expression", pool.upstream);
            refusal(meta::STRATEGY, &what)
        })
    }
}

/// Whether there is such a balancer.
pub(super) fn known(name: &str) -> Result<(), ErrorBody> {
    if strategies().any(|known| known == name) {
        return Ok(());
    }
    let all: Vec<_> = strategies().collect();
    let name: String = name.chars().take(60).collect();
    let what = format!("is {name:?}, which is not known; one of {}", all.join(", "));
    Err(refusal(meta::STRATEGY, &what))
}

fn refusal(key: &str, what: &str) -> ErrorBody {
    ErrorBody::new(INVALID_PARAMS, format!("_meta[{key:?}] {what}"))
}

/// What `hash_on` may name in a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hashable<'a> {
    /// What tells its client from others.
    pub(super) client: u64,
    pub(super) arguments: Option<&'a [u8]>,
    pub(super) headers: Option<&'a HeaderMap>,
}

impl Hashable<'_> {
    /// What the calls have in common that go to the same replica, where that is the rule: the
    /// upstream's own, or the one that was asked for.
    pub(super) fn key(self, spec: &PoolSpec, strategy: Option<&str>) -> Option<u64> {
        let rule = strategy.unwrap_or(spec.balance.as_str());
        if rule != Balance::ConsistentHash.as_str() {
            return None;
        }
        match &spec.hash_on {
            HashOn::Client => Some(self.client),
            HashOn::Argument(name) => member(self.arguments?, name).map(hash::stable),
            HashOn::Header(name) => {
                self.headers?.get(name).map(|value| hash::stable(value.as_bytes()))
            }
        }
    }
}
