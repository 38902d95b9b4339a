//! Pure: calls that wait for a place at an upstream, each client in turn (deficit round robin), so
//! that one that asks for much makes the others wait for its calls no longer than for their own.
//!
//! While all is well the oldest call of a client goes first. When calls have had to wait for a
//! while the newest does: the oldest will be given up soon, and serving it first would make every
//! call late.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// What a client's turn is worth; a call costs 1 and up to [`COST_MAX`].
const QUANTUM: u32 = 1;
/// The most a call costs: one that usually takes ten seconds or more.
pub const COST_MAX: u32 = 10;
/// A call that waits longer than this makes the queue a standing one…
pub const STANDING_WAIT: Duration = Duration::from_millis(100);
/// …if that stays so for this time.
pub const STANDING_FOR: Duration = Duration::from_secs(1);

/// Calls that wait.
#[derive(Debug, Default)]
pub struct Queue {
    lanes: HashMap<u64, Lane>,
    /// Clients with calls that wait, in the order of their turns.
    turns: VecDeque<u64>,
    len: usize,
    standing_since: Option<Instant>,
}

#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<Waiter>,
    deficit: u32,
}

#[derive(Clone, Copy, Debug)]
struct Waiter {
    ticket: u64,
    since: Instant,
    cost: u32,
}

impl Queue {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A call of a client waits from now on. `ticket` names it.
    pub fn push(&mut self, client: u64, ticket: u64, cost: u32, now: Instant) {
        let lane = self.lanes.entry(client).or_default();
        if lane.waiting.is_empty() {
            self.turns.push_back(client);
        }
        let cost = cost.clamp(1, COST_MAX);
        lane.waiting.push_back(Waiter { ticket, since: now, cost });
        self.len += 1;
    }

    /// Makes room in a full queue for one more call of a client, if another client has so many that
    /// it would still have no fewer: whoever asks for much fills the queue for himself only. Answers
    /// the call that has to go, the one of that client that would have been served last.
    pub fn displace(&mut self, client: u64, now: Instant) -> Option<u64> {
        let own = self.lanes.get(&client).map_or(0, |lane| lane.waiting.len());
        let newest_first = self.is_standing(now);
        let (fattest, lane) = self.lanes.iter().max_by_key(|(_, lane)| lane.waiting.len())?;
        if lane.waiting.len() < own + 2 {
            return None;
        }
        let last = if newest_first { lane.waiting.front() } else { lane.waiting.back() };
        let (fattest, ticket) = (*fattest, last?.ticket);
        self.remove(fattest, ticket);
        Some(ticket)
    }

    /// The call whose turn it is.
    pub fn pop(&mut self, now: Instant) -> Option<u64> {
        let newest = self.is_standing(now);
        loop {
            let client = *self.turns.front()?;
            let Some(lane) = self.lanes.get_mut(&client) else {
                self.turns.pop_front();
                continue;
            };
            let next = if newest { lane.waiting.back() } else { lane.waiting.front() };
            let Some(next) = next.copied() else {
                self.lanes.remove(&client);
                self.turns.pop_front();
                continue;
            };
            if lane.deficit < next.cost {
                // Not yet: it saves up, and the others go first.
                lane.deficit += QUANTUM;
                if lane.deficit < next.cost || self.turns.len() > 1 {
                    self.turns.rotate_left(1);
                }
                continue;
            }
            lane.deficit -= next.cost;
            if newest {
                lane.waiting.pop_back()
            } else {
                lane.waiting.pop_front()
            };
            self.len -= 1;
            if lane.waiting.is_empty() {
                // Who has nothing to ask saves nothing up.
                self.lanes.remove(&client);
                self.turns.pop_front();
            }
            return Some(next.ticket);
        }
    }

    /// A call waits no longer. Answers whether it did.
    pub fn remove(&mut self, client: u64, ticket: u64) -> bool {
        let Some(lane) = self.lanes.get_mut(&client) else { return false };
        let Some(place) = lane.waiting.iter().position(|w| w.ticket == ticket) else {
            return false;
        };
        lane.waiting.remove(place);
        self.len -= 1;
        if lane.waiting.is_empty() {
            self.lanes.remove(&client);
            self.turns.retain(|waiting| *waiting != client);
        }
        true
    }

    /// Whether calls have had to wait for a while.
    fn is_standing(&mut self, now: Instant) -> bool {
        let oldest = self.lanes.values().filter_map(|lane| lane.waiting.front()).map(|w| w.since);
        let waits = oldest.min().map_or(Duration::ZERO, |o| now.saturating_duration_since(o));
        if waits <= STANDING_WAIT {
            self.standing_since = None;
            return false;
        }
        let since = *self.standing_since.get_or_insert(now);
        now.saturating_duration_since(since) >= STANDING_FOR
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;
    use crate::base::rng::Draws;

    #[test]
    fn clients_take_turns_however_many_calls_one_of_them_has() {
        let (mut queue, now) = (Queue::default(), clock::now());
        (0..100).for_each(|n| queue.push(1, n, 1, now));
        (100..103).for_each(|n| queue.push(2, n, 1, now));
        queue.push(3, 200, 1, now);
        let order: Vec<_> = (0..8).filter_map(|_| queue.pop(now)).collect();
        assert_eq!(order, [0, 100, 200, 1, 101, 2, 102, 3]);
        assert_eq!(queue.len(), 96);
    }

    #[test]
    fn a_dear_call_makes_its_client_wait_and_nobody_else() {
        let (mut queue, now) = (Queue::default(), clock::now());
        (0..10).for_each(|n| queue.push(1, n, 5, now));
        (100..150).for_each(|n| queue.push(2, n, 1, now));
        let first: Vec<_> = (0..30).filter_map(|_| queue.pop(now)).collect();
        let dear = first.iter().filter(|ticket| **ticket < 10).count();
        assert!((4..=6).contains(&dear), "{dear} of 30: {first:?}");
    }

    #[test]
    fn alone_a_dear_call_goes_at_once() {
        let (mut queue, now) = (Queue::default(), clock::now());
        queue.push(1, 7, COST_MAX, now);
        assert_eq!(queue.pop(now), Some(7));
        assert_eq!(queue.pop(now), None);
        assert!(queue.is_empty());
    }

    #[test]
    fn in_a_standing_queue_the_newest_goes_first() {
        let (mut queue, start) = (Queue::default(), clock::now());
        let at = |millis| start + Duration::from_millis(millis);
        (0..20).for_each(|n| queue.push(1, n, 1, at(n)));
        assert_eq!(queue.pop(at(50)), Some(0));
        assert_eq!(queue.pop(at(200)), Some(1), "it stands since now");
        queue.push(1, 99, 1, at(1_150));
        assert_eq!(queue.pop(at(1_201)), Some(99));
    }

    #[test]
    fn in_a_full_queue_who_has_most_makes_room_for_who_has_less() {
        let (mut queue, start) = (Queue::default(), clock::now());
        let at = |millis| start + Duration::from_millis(millis);
        (0..4).for_each(|n| queue.push(1, n, 1, start));
        assert_eq!(queue.displace(1, start), None, "not for more of the same");
        assert_eq!(queue.displace(2, start), Some(3), "the newest, while the oldest goes first");
        queue.push(2, 10, 1, start);
        assert_eq!(queue.displace(2, start), Some(2));
        queue.push(2, 11, 1, start);
        assert_eq!(queue.displace(2, start), None, "both have two");
        queue.displace(3, at(200));
        assert_eq!(queue.len(), 3);
        let (mut standing, late) = (Queue::default(), at(2_000));
        (0..3).for_each(|n| standing.push(1, n, 1, start));
        assert_eq!(standing.displace(2, at(500)), Some(2));
        assert_eq!(standing.displace(2, late), Some(0), "the oldest, while the newest goes first");
    }

    #[test]
    fn who_gives_up_is_gone() {
        let (mut queue, now) = (Queue::default(), clock::now());
        (0..3).for_each(|n| queue.push(1, n, 1, now));
        assert!(queue.remove(1, 1));
        assert!(!queue.remove(1, 1) && !queue.remove(2, 0));
        assert_eq!((queue.pop(now), queue.pop(now), queue.pop(now)), (Some(0), Some(2), None));
    }

    #[test]
    fn every_call_comes_out_once_and_shares_are_fair() {
        for seed in 0..200 {
            let mut draws = Draws::new(seed);
            let (mut queue, now) = (Queue::default(), clock::now());
            let mut waiting = std::collections::BTreeMap::new();
            let mut served = [0_u32; 4];
            for ticket in 0..400 {
                let client = draws.below(4);
                queue.push(u64::try_from(client).unwrap(), ticket, 1, now);
                waiting.insert(ticket, client);
            }
            // As long as all have calls that wait, no two are further apart than one turn.
            while let Some(ticket) = queue.pop(now) {
                let client = waiting.remove(&ticket).expect("it came out twice");
                served[client] += 1;
                let all_wait = (0..4).all(|c| waiting.values().any(|w| *w == c));
                if all_wait {
                    let (least, most) = (served.iter().min(), served.iter().max());
                    assert!(most.unwrap() - least.unwrap() <= 1, "seed {seed}: {served:?}");
                }
            }
            assert!(waiting.is_empty() && queue.is_empty());
        }
    }

    /// What one other client may be served for while a client with calls that wait gets nothing.
    /// The round that comes to a lane whose call is not paid for yet gives it [`QUANTUM`], so the
    /// dearest call is served in round `COST_MAX / QUANTUM + 1` at the latest. In so many rounds
    /// the other one is given as many quanta, and it may have saved up [`COST_MAX`] before.
    const GAP: u32 = (COST_MAX / QUANTUM + 1) * QUANTUM + COST_MAX;

    /// Calls at the queue as a test knows them, and what others were served for since a client that
    /// has some was last served.
    struct Known {
        waiting: std::collections::BTreeMap<u64, (usize, u32)>,
        gaps: Vec<Vec<u32>>,
    }

    impl Known {
        fn has_work(&self, client: usize) -> bool {
            self.waiting.values().any(|(of, _)| *of == client)
        }

        fn push(&mut self, client: usize, ticket: u64, cost: u32) {
            if !self.has_work(client) {
                self.gaps[client].fill(0);
            }
            self.waiting.insert(ticket, (client, cost));
        }

        fn served(&mut self, ticket: u64) {
            let (client, cost) = self.waiting.remove(&ticket).expect("it came out twice");
            self.gaps[client].fill(0);
            for other in (0..self.gaps.len()).filter(|other| *other != client) {
                if self.has_work(other) {
                    self.gaps[other][client] += cost;
                }
            }
        }
    }

    #[test]
    fn who_has_work_waits_for_a_bounded_cost_of_each_other_client() {
        for seed in 0..200 {
            let mut draws = Draws::new(seed);
            let (mut queue, mut now) = (Queue::default(), clock::now());
            let clients = 2 + draws.below(5);
            // Some ask for dear things, others for cheap ones, and some for both.
            let dearest: Vec<usize> = (0..clients).map(|_| 1 + draws.below(10)).collect();
            let (waiting, gaps) =
                (std::collections::BTreeMap::new(), vec![vec![0; clients]; clients]);
            let mut known = Known { waiting, gaps };
            // In every other one calls wait so long that the newest goes first.
            let step = Duration::from_millis(if seed % 2 == 0 { 0 } else { 20 });
            for ticket in 0..600 {
                now += step;
                let client = draws.below(clients);
                match draws.below(10) {
                    0..=4 => {
                        let cost = u32::try_from(1 + draws.below(dearest[client])).unwrap();
                        queue.push(u64::try_from(client).unwrap(), ticket, cost, now);
                        known.push(client, ticket, cost);
                    }
                    5 => {
                        // Somebody gives up.
                        let nth = draws.below(known.waiting.len().max(1));
                        let Some((ticket, (client, _))) = known.waiting.iter().nth(nth) else {
                            continue;
                        };
                        let (ticket, client) = (*ticket, u64::try_from(*client).unwrap());
                        assert!(queue.remove(client, ticket));
                        known.waiting.remove(&ticket);
                    }
                    _ => {
                        if let Some(ticket) = queue.pop(now) {
                            known.served(ticket);
                        }
                    }
                }
                let most = known.gaps.iter().flatten().max();
                assert!(most.is_some_and(|most| *most <= GAP), "seed {seed}: {:?}", known.gaps);
            }
            while let Some(ticket) = queue.pop(now) {
                known.served(ticket);
                let most = known.gaps.iter().flatten().max();
                assert!(most.is_some_and(|most| *most <= GAP), "seed {seed}: {:?}", known.gaps);
            }
            assert!(known.waiting.is_empty(), "seed {seed}: {:?}", known.waiting);
        }
    }

    /// While all have calls that wait, each was given the same, but for one round, and has spent it
    /// but for what it has saved up.
    #[test]
    fn shares_are_of_cost_and_not_of_calls() {
        for seed in 0..100 {
            let mut draws = Draws::new(seed);
            let (mut queue, now) = (Queue::default(), clock::now());
            let (mut known, mut left, mut served) = (HashMap::new(), [50; 4], [0_u32; 4]);
            for ticket in 0..200 {
                let client = usize::try_from(ticket % 4).unwrap();
                // 0 asks for the dearest, 1 for the cheapest, the others for anything.
                let cost = [COST_MAX, 1, 0, 0][client];
                let any = u32::try_from(1 + draws.below(10)).unwrap();
                let cost = if cost == 0 { any } else { cost };
                queue.push(ticket % 4, ticket, cost, now);
                known.insert(ticket, (client, cost));
            }
            while left.iter().all(|left| *left > 0) {
                let (client, cost) = known[&queue.pop(now).unwrap()];
                left[client] -= 1;
                served[client] += cost;
                let apart = served.iter().max().unwrap() - served.iter().min().unwrap();
                assert!(apart <= QUANTUM + COST_MAX, "seed {seed}: {served:?}");
            }
        }
    }

    #[test]
    fn light_clients_do_not_starve_beside_a_heavy_one() {
        const HEAVY: u64 = 0;
        let (mut queue, now) = (Queue::default(), clock::now());
        (0..1_000).for_each(|ticket| queue.push(HEAVY, ticket, COST_MAX, now));
        // Each of them asks for one cheap thing after the other.
        (1..6).for_each(|light| queue.push(light, 1_000 * light, 1, now));
        let (mut heavy, mut light, mut since) = (0_u32, [0_u32; 6], [0_u32; 6]);
        for _ in 0..600 {
            let ticket = queue.pop(now).unwrap();
            let client = usize::try_from(ticket / 1_000).unwrap();
            if client == 0 {
                heavy += 1;
                for since in &mut since {
                    *since += 1;
                }
                assert!(since[1..].iter().all(|since| *since <= 1), "one waited: {since:?}");
            } else {
                (light[client], since[client]) = (light[client] + 1, 0);
                queue.push(u64::try_from(client).unwrap(), ticket + 1, 1, now);
            }
        }
        assert!(heavy > 0, "nor does the heavy one");
        assert!(light[1..].iter().all(|light| *light >= 4 * heavy), "{heavy} {light:?}");
    }
}
