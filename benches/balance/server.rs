//! A simulated replica: workers, and calls that wait their turn.

use std::collections::VecDeque;

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Well,
    Fails,
    Hangs,
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) mode: Mode,
    /// How many times slower than it should be, for good.
    pub(crate) slow: f64,
    pub(crate) brown: bool,
    /// It accepts calls.
    pub(crate) up: bool,
    pub(crate) workers: u32,
    pub(crate) working: u32,
    /// Attempts that wait.
    pub(crate) waiting: VecDeque<u32>,
    /// Attempts here that nobody has given up, and the most there were.
    pub(crate) held: u32,
    pub(crate) most: u32,
    /// Attempts that came.
    pub(crate) came: u64,
    /// Seconds that its workers worked.
    pub(crate) worked: f64,
}

impl Server {
    pub(crate) fn new(workers: u32, slow: f64) -> Self {
        Self {
            mode: Mode::Well,
            slow,
            brown: false,
            up: true,
            workers,
            working: 0,
            waiting: VecDeque::new(),
            held: 0,
            most: 0,
            came: 0,
            worked: 0.0,
        }
    }

    pub(crate) fn comes(&mut self) {
        self.came += 1;
        self.held += 1;
        self.most = self.most.max(self.held);
    }
}
