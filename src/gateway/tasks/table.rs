//! Pure: which tasks a legacy client made: what `tasks/list` shows it (2025-11-25,
//! basic/utilities/tasks, "Task Listing"). Whether a task may be asked after is none of its business:
//! that stands in its name.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Most tasks of one client that are listed; the oldest gives way.
const TASKS_CLIENT_MAX: usize = 256;
/// Most tasks that are listed in all; the oldest gives way.
const TASKS_MAX: usize = 4_096;
/// A task is listed no longer than this, whatever its server says.
const LISTED_MAX: Duration = Duration::from_hours(24);
/// Tasks of one page of a list.
pub(super) const PAGE: usize = 16;

/// A task that is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// Counts up over all clients: what a cursor says.
    number: u64,
    name: String,
    until: Instant,
}

/// The tasks of all clients.
#[derive(Debug, Default)]
pub(super) struct Table {
    by_client: HashMap<u64, VecDeque<Entry>>,
    count: usize,
    next: u64,
}

impl Table {
    /// A client made a task, which its server keeps for so long.
    pub(super) fn made(&mut self, client: u64, name: String, ttl: Option<Duration>, now: Instant) {
        self.sweep(now);
        if self.count >= TASKS_MAX {
            self.drop_oldest();
        }
        self.next += 1;
        let until = now + ttl.unwrap_or(LISTED_MAX).min(LISTED_MAX);
        let own = self.by_client.entry(client).or_default();
        own.push_back(Entry { number: self.next, name, until });
        self.count += 1;
        if own.len() > TASKS_CLIENT_MAX {
            own.pop_front();
            self.count -= 1;
        }
    }

    /// A page of a client's tasks, those after `cursor`; and the cursor of the next page.
    pub(super) fn page(
        &self,
        client: u64,
        cursor: u64,
        now: Instant,
    ) -> (Vec<String>, Option<u64>) {
        let own = self.by_client.get(&client).into_iter().flatten();
        let mut rest = own.filter(|entry| entry.number > cursor && entry.until > now);
        let page: Vec<&Entry> = rest.by_ref().take(PAGE).collect();
        let next = page.last().map(|last| last.number).filter(|_| rest.next().is_some());
        (page.into_iter().map(|entry| entry.name.clone()).collect(), next)
    }

    /// A task is gone.
    pub(super) fn gone(&mut self, client: u64, name: &str) {
        self.retain(|of, entry| of != client || entry.name != name);
    }

    /// Lets go what its servers do not keep any more.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.retain(|_, entry| entry.until > now);
    }

    fn retain(&mut self, kept: impl Fn(u64, &Entry) -> bool) {
        self.by_client.retain(|client, own| {
            own.retain(|entry| kept(*client, entry));
            !own.is_empty()
        });
        self.count = self.by_client.values().map(VecDeque::len).sum();
    }

    fn drop_oldest(&mut self) {
        let oldest = |own: &VecDeque<Entry>| own.front().map_or(u64::MAX, |entry| entry.number);
        let client = self.by_client.iter().min_by_key(|(_, own)| oldest(own)).map(|(of, _)| *of);
        let Some(own) = client.and_then(|client| self.by_client.get_mut(&client)) else { return };
        own.pop_front();
        self.count -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    fn names(table: &Table, client: u64, now: Instant) -> Vec<String> {
        let (mut all, mut cursor) = (Vec::new(), 0);
        loop {
            let (page, next) = table.page(client, cursor, now);
            assert!(page.len() <= PAGE);
            all.extend(page);
            let Some(next) = next else { return all };
            cursor = next;
        }
    }

    #[test]
    fn a_client_sees_its_own_tasks_in_their_order_page_by_page() {
        let (mut table, now) = (Table::default(), clock::now());
        for number in 0..40 {
            table.made(number % 2, number.to_string(), None, now);
        }
        let own: Vec<_> = (0..40).step_by(2).map(|n| n.to_string()).collect();
        assert_eq!(names(&table, 0, now), own);
        assert!(names(&table, 7, now).is_empty());
        let (_, second) = table.page(0, 0, now);
        // One that is new does not move the pages before it.
        table.made(0, "new".to_owned(), None, now);
        table.gone(0, "0");
        assert_eq!(table.page(0, second.unwrap(), now).0, ["32", "34", "36", "38", "new"]);
    }

    #[test]
    fn tasks_are_listed_for_as_long_as_they_are_kept() {
        let (mut table, now) = (Table::default(), clock::now());
        let minute = Duration::from_mins(1);
        table.made(1, "short".to_owned(), Some(minute), now);
        table.made(1, "long".to_owned(), None, now);
        assert_eq!(names(&table, 1, now + minute), ["long"]);
        table.sweep(now + LISTED_MAX);
        assert_eq!((table.count, table.by_client.len()), (0, 0));
    }

    #[test]
    fn the_table_is_bounded_for_each_client_and_in_all() {
        let (mut table, now) = (Table::default(), clock::now());
        for number in 0..=TASKS_CLIENT_MAX {
            table.made(1, number.to_string(), None, now);
        }
        let own = names(&table, 1, now);
        assert_eq!((own.len(), own[0].as_str()), (TASKS_CLIENT_MAX, "1"));
        for number in 0..TASKS_MAX {
            table.made(u64::try_from(number).unwrap() + 10, "t".to_owned(), None, now);
        }
        assert_eq!(table.count, TASKS_MAX);
        assert!(names(&table, 1, now).is_empty());
    }
}
