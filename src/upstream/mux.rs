//! Pure: who waits for which answer on a channel that many requests share. No id lives twice, and
//! closing the channel fails every waiter with the truth about what was written.

use std::collections::HashMap;

use crate::base::{Fault, Kind, Sent};

/// A waiter's place in the table.
#[derive(Debug)]
struct Entry<W> {
    waiter: W,
    /// Whether the first byte of the request may have left us.
    written: bool,
}

/// The table of one channel. `W` is what waits.
#[derive(Debug)]
pub struct Mux<W> {
    waiting: HashMap<u64, Entry<W>>,
    next: u64,
    closed: Option<Fault>,
}

impl<W> Default for Mux<W> {
    fn default() -> Self {
        Self { waiting: HashMap::new(), next: 1, closed: None }
    }
}

impl<W> Mux<W> {
    /// The next number: unique on this channel, never reused.
    pub fn number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    /// Enters a waiter. A closed channel refuses: nothing was sent.
    pub fn enter(&mut self, number: u64, waiter: W) -> Result<(), Fault> {
        if let Some(fault) = &self.closed {
            return Err(Fault { sent: Sent::No, ..fault.clone() });
        }
        let before = self.waiting.insert(number, Entry { waiter, written: false });
        debug_assert!(before.is_none(), "a number is given out once");
        Ok(())
    }

    /// The request is about to be written. Answers whether anybody still waits for it.
    pub fn writing(&mut self, number: u64) -> bool {
        match self.waiting.get_mut(&number) {
            Some(entry) => {
                entry.written = true;
                true
            }
            None => false,
        }
    }

    /// Not a byte of the request was taken after all.
    pub fn unwritten(&mut self, number: u64) {
        if let Some(entry) = self.waiting.get_mut(&number) {
            entry.written = false;
        }
    }

    /// The waiter of a notification that belongs to a request.
    pub fn peek(&mut self, number: u64) -> Option<&mut W> {
        self.waiting.get_mut(&number).map(|entry| &mut entry.waiter)
    }

    /// The one waiter that fits; `None` if there is none or more than one.
    pub fn only(&mut self, fits: impl Fn(&W) -> bool) -> Option<&mut W> {
        let mut all = self.waiting.values_mut().map(|entry| &mut entry.waiter);
        let found = all.find(|waiter| fits(waiter))?;
        if all.any(|waiter| fits(waiter)) { None } else { Some(found) }
    }

    /// Whether more than one waiter fits.
    pub fn several(&self, fits: impl Fn(&W) -> bool) -> bool {
        self.waiting.values().filter(|entry| fits(&entry.waiter)).nth(1).is_some()
    }

    /// Takes the waiter of an answer.
    pub fn take(&mut self, number: u64) -> Option<W> {
        self.waiting.remove(&number).map(|entry| entry.waiter)
    }

    /// Whether the request was entered and its answer is still awaited; used when it is given up.
    pub fn forget(&mut self, number: u64) -> Option<bool> {
        self.waiting.remove(&number).map(|entry| entry.written)
    }

    /// Closes the channel. Every waiter gets the fault with what is known about its own request,
    /// who asked first is told first.
    pub fn close(&mut self, fault: &Fault) -> Vec<(W, Fault)> {
        self.closed.get_or_insert_with(|| fault.clone());
        let told = |entry: Entry<W>| {
            let sent = if entry.written { Sent::Maybe } else { Sent::No };
            (entry.waiter, Fault { sent, ..fault.clone() })
        };
        let mut all: Vec<_> = self.waiting.drain().collect();
        all.sort_unstable_by_key(|(number, _)| *number);
        all.into_iter().map(|(_, entry)| told(entry)).collect()
    }

    /// How many requests wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Why the channel is closed, if it is.
    pub fn closed(&self) -> Option<&Fault> {
        self.closed.as_ref()
    }
}

/// The fault of a channel whose server ended.
pub fn ended(message: String) -> Fault {
    Fault::upstream(Kind::Closed, Sent::Maybe, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn closing_tells_each_waiter_whether_its_request_was_written() {
        let mut mux = Mux::default();
        let (a, b) = (mux.number(), mux.number());
        mux.enter(a, "a").unwrap();
        mux.enter(b, "b").unwrap();
        assert!(mux.writing(a));
        let told = mux.close(&ended("gone".into()));
        assert_eq!((told[0].0, told[1].0), ("a", "b"), "in their order");
        assert_eq!((told[0].1.sent, told[1].1.sent), (Sent::Maybe, Sent::No));
        assert_eq!(mux.enter(9, "c").unwrap_err().sent, Sent::No);
        assert!(!mux.writing(b));
    }

    #[test]
    fn a_request_of_which_not_a_byte_was_taken_was_not_sent() {
        let mut mux = Mux::default();
        let number = mux.number();
        mux.enter(number, ()).unwrap();
        assert!(mux.writing(number));
        mux.unwritten(number);
        assert_eq!(mux.close(&ended("gone".into()))[0].1.sent, Sent::No);
    }

    #[test]
    fn what_could_be_meant_for_two_is_meant_for_nobody() {
        let mut mux = Mux::default();
        let (a, b, c) = (mux.number(), mux.number(), mux.number());
        mux.enter(a, 'a').unwrap();
        mux.enter(b, 'b').unwrap();
        assert_eq!(mux.only(|w| *w == 'a'), Some(&mut 'a'));
        assert_eq!(mux.only(|_| true), None);
        mux.enter(c, 'c').unwrap();
        mux.take(a);
        assert_eq!(mux.only(|w| *w < 'c'), Some(&mut 'b'));
    }

    proptest! {
        #[test]
        fn every_waiter_is_told_exactly_once(steps in proptest::collection::vec(0_u8..4, 0..200)) {
            let mut mux = Mux::default();
            let mut alive = Vec::new();
            let mut told = 0_usize;
            let mut entered = 0_usize;
            for step in steps {
                match step {
                    0 => {
                        let number = mux.number();
                        mux.enter(number, ()).unwrap();
                        entered += 1;
                        alive.push(number);
                    }
                    1 => if let Some(number) = alive.first() { mux.writing(*number); },
                    2 => if !alive.is_empty() && mux.take(alive.remove(0)).is_some() { told += 1; },
                    _ => if let Some(number) = alive.pop() && mux.forget(number).is_some() { told += 1; },
                }
                prop_assert_eq!(mux.len(), alive.len());
            }
            told += mux.close(&ended(String::new())).len();
            prop_assert_eq!(told, entered);
        }
    }
}
