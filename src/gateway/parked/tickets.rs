//! Pure: the table of calls that wait for their client to come back. A ticket is 128 random bits and
//! means nothing outside of this table: there is nothing in it to forge. It serves once, for the
//! principal and the request that it was given to, and not for ever.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

/// A parked call waits so long for its client.
pub(super) const PARKED_FOR: Duration = Duration::from_mins(10);
/// Most parked calls. The oldest gives way.
pub(super) const PARKED_MAX: usize = 1_024;
/// Most parked calls of one client. Its oldest gives way.
pub(super) const PARKED_OWN_MAX: usize = 64;

/// How every ticket begins: what begins otherwise is a state of an upstream.
pub(super) const PREFIX: &str = "wp1.";

/// Who may use a ticket, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    /// The principal; 0 where nobody is asked who they are.
    principal: u64,
    request: [u8; 32],
}

impl Holder {
    /// Of a request: its method, what it is about, and its arguments.
    pub(super) fn new(principal: u64, request: [&[u8]; 3]) -> Self {
        let mut digest = Sha256::new();
        for part in request {
            digest.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            digest.update(part);
        }
        Self { principal, request: digest.finalize().into() }
    }
}

/// Why a ticket does not serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It was never given out, or is used, or too old.
    Unknown,
    /// It is for another request, or for somebody else.
    Foreign,
}

/// What waits.
#[derive(Debug)]
pub(super) struct Tickets<T> {
    open: HashMap<String, Open<T>>,
    count: u64,
}

#[derive(Debug)]
struct Open<T> {
    holder: Holder,
    /// Which client gave way for its next one: the same for all calls of one.
    client: u64,
    number: u64,
    until: Instant,
    what: T,
}

impl<T> Default for Tickets<T> {
    fn default() -> Self {
        Self { open: HashMap::new(), count: 0 }
    }
}

impl<T> Tickets<T> {
    /// Something waits under a new ticket. Answers what had to give way.
    pub(super) fn park(
        &mut self,
        ticket: String,
        (holder, client): (Holder, u64),
        what: T,
        now: Instant,
    ) -> Vec<T> {
        self.count += 1;
        let open = Open { holder, client, number: self.count, until: now + PARKED_FOR, what };
        self.open.insert(ticket, open);
        let own = |open: &Open<T>| open.client == client;
        let mut lost = Vec::new();
        if self.open.values().filter(|open| own(open)).count() > PARKED_OWN_MAX {
            lost.extend(self.oldest(own));
        }
        if self.open.len() > PARKED_MAX {
            lost.extend(self.oldest(|_| true));
        }
        lost
    }

    fn oldest(&mut self, of: impl Fn(&Open<T>) -> bool) -> Option<T> {
        let among = self.open.iter().filter(|(_, open)| of(open));
        let ticket = among.min_by_key(|(_, open)| open.number)?.0.clone();
        self.open.remove(&ticket).map(|open| open.what)
    }

    /// Uses a ticket up. One that is shown by somebody else stays good.
    pub(super) fn take(&mut self, ticket: &str, holder: &Holder, now: Instant) -> Result<T, Why> {
        let open = self.open.get(ticket).filter(|open| open.until > now).ok_or(Why::Unknown)?;
        if open.holder != *holder {
            return Err(Why::Foreign);
        }
        self.open.remove(ticket).map(|open| open.what).ok_or(Why::Unknown)
    }

    /// Whether there is such a ticket.
    pub(super) fn knows(&self, ticket: &str) -> bool {
        self.open.contains_key(ticket)
    }

    /// Takes out what has waited too long, the oldest first.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<T> {
        in_order(self.open.extract_if(|_, open| open.until <= now).map(|(_, open)| open))
    }

    /// Takes out everything, the oldest first.
    pub(super) fn clear(&mut self) -> Vec<T> {
        in_order(self.open.drain().map(|(_, open)| open))
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }
}

fn in_order<T>(open: impl Iterator<Item = Open<T>>) -> Vec<T> {
    let mut all: Vec<Open<T>> = open.collect();
    all.sort_unstable_by_key(|open| open.number);
    all.into_iter().map(|open| open.what).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    fn holder(principal: u64, arguments: &str) -> Holder {
        Holder::new(principal, [b"tools/call", b"t", arguments.as_bytes()])
    }

    #[test]
    fn a_ticket_serves_once_its_holder_for_its_request_in_time() {
        let (mut tickets, now) = (Tickets::default(), clock::now());
        let mine = holder(1, "{}");
        assert!(tickets.park("a".to_owned(), (mine, 1), 'a', now).is_empty());
        for (ticket, holder, why) in [
            ("b", mine, Why::Unknown),
            ("", mine, Why::Unknown),
            ("a", holder(2, "{}"), Why::Foreign),
            ("a", holder(1, r#"{"x":1}"#), Why::Foreign),
        ] {
            assert_eq!(tickets.take(ticket, &holder, now), Err(why), "{ticket}");
        }
        assert_eq!(tickets.take("a", &mine, now), Ok('a'));
        assert_eq!(tickets.take("a", &mine, now), Err(Why::Unknown));

        tickets.park("c".to_owned(), (mine, 1), 'c', now);
        let late = now + PARKED_FOR;
        assert_eq!(tickets.take("c", &mine, late), Err(Why::Unknown));
        assert!(tickets.expired(now + PARKED_FOR / 2).is_empty());
        assert_eq!((tickets.expired(late), tickets.len()), (vec!['c'], 0));
    }

    #[test]
    fn what_is_given_up_together_is_given_up_in_the_order_in_which_it_was_parked() {
        let now = clock::now();
        let parked = || {
            let mut tickets = Tickets::default();
            for number in 0..50_u64 {
                tickets.park(format!("{number}"), (holder(number, "{}"), number), number, now);
            }
            tickets
        };
        let all: Vec<u64> = (0..50).collect();
        assert_eq!(parked().expired(now + PARKED_FOR), all);
        assert_eq!(parked().clear(), all);
    }

    #[test]
    fn parts_of_a_request_cannot_be_shifted_into_each_other() {
        let one = Holder::new(0, [b"ab", b"c", b""]);
        assert_ne!(one, Holder::new(0, [b"a", b"bc", b""]));
        assert_ne!(one, Holder::new(0, [b"ab", b"", b"c"]));
    }

    #[test]
    fn the_oldest_of_a_client_and_the_oldest_of_all_give_way() {
        let (mut tickets, now) = (Tickets::default(), clock::now());
        let mine = holder(1, "{}");
        for number in 0..PARKED_OWN_MAX {
            assert!(tickets.park(format!("own {number}"), (mine, 1), number, now).is_empty());
        }
        assert_eq!(tickets.park("own".to_owned(), (mine, 1), 1_000_000, now), [0]);
        let rest = PARKED_MAX - PARKED_OWN_MAX;
        for number in 0..rest {
            let client = 2 + u64::try_from(number / PARKED_OWN_MAX).unwrap();
            assert!(tickets.park(format!("{number}"), (mine, client), 0, now).is_empty());
        }
        assert_eq!(tickets.park("more".to_owned(), (mine, 9_999), 0, now), [1]);
        assert_eq!(tickets.len(), PARKED_MAX);
    }
}
