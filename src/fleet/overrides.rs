//! Pure: balancers for calls that ask for another one than their upstream's own. Each is built when
//! it is first asked for, and kept, so that taking turns works over many calls.

use std::sync::{Arc, OnceLock};

use super::pick::{Balancer, balancer};
use super::spec::{BALANCES, Balance};

/// One place for each rule that needs no text of its own.
#[derive(Debug, Default)]
pub(super) struct Overrides {
    built: [OnceLock<Arc<dyn Balancer>>; BALANCES.len()],
}

impl Overrides {
    /// The balancer of this name; `own` is the upstream's own rule with its balancer, which is the
    /// only one that an expression can come from.
    pub(super) fn get<'a>(
        &'a self,
        name: &str,
        own: (&Balance, &'a Arc<dyn Balancer>),
    ) -> Option<&'a dyn Balancer> {
        if own.0.as_str() == name {
            return Some(own.1.as_ref());
        }
        let place = BALANCES.iter().position(|(known, _)| *known == name)?;
        let rule = &BALANCES.get(place)?.1;
        Some(self.built.get(place)?.get_or_init(|| balancer(rule)).as_ref())
    }
}

/// Every name that a call may ask for.
pub fn names() -> impl Iterator<Item = &'static str> {
    BALANCES.iter().map(|(name, _)| *name).chain(["expression"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::pick::Ask;
    use crate::fleet::pick::testing::Fleet;

    #[test]
    fn an_override_is_built_once_and_the_upstreams_own_is_its_own() {
        let (overrides, own) = (Overrides::default(), balancer(&Balance::Weighted));
        let get = |name: &str| overrides.get(name, (&Balance::Weighted, &own));
        let fleet = Fleet::of(3);
        let turns: Vec<_> = (0..3)
            .map(|_| get("round_robin").unwrap().pick(&fleet, &Ask::default()).unwrap())
            .collect();
        assert_eq!(turns, [0, 1, 2], "the same balancer each time");
        assert!(std::ptr::addr_eq(get("weighted").unwrap(), own.as_ref()));
        assert!(get("expression").is_none() && get("fastest").is_none());
        assert!(names().all(|name| name == "expression" || get(name).is_some()));
    }
}
