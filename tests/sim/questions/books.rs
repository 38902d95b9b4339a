//! The book of questions: what servers asked, who was asked, and what became of it. Its rules hold at
//! every moment; a breach of one is written into the story.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::ledger::Ledger;

/// A call of a client, by its number.
pub(crate) type Op = u64;

/// What became of a question at its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Open,
    /// The client answered.
    Answered,
    /// The gateway did, with an error: nobody could be asked, or nobody answered.
    Refused,
    /// The gateway did, as a client that cancels would.
    Cancelled,
    /// Its server is gone, or cut the session of it.
    Void,
}

#[derive(Debug)]
struct Question {
    op: Op,
    /// Where it was asked, by its server's name for the session, the process or the connection.
    channel: String,
    /// A server that waits must be answered. One that asks by results may be left alone, and one
    /// that asks when its call is over breaks the rules itself.
    must_end: bool,
    fate: Fate,
    /// How often a client was shown it, and gave its answer.
    shown: u32,
    given: u32,
}

#[derive(Debug)]
struct Call {
    client: usize,
    runs: u32,
    over: bool,
}

#[derive(Debug, Default)]
struct Pages {
    calls: BTreeMap<Op, Call>,
    questions: BTreeMap<String, Question>,
    tally: BTreeMap<&'static str, u64>,
}

/// The book of one world. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Books {
    pub(crate) ledger: Ledger,
    pages: Arc<Mutex<Pages>>,
}

impl Books {
    pub(crate) fn new(ledger: Ledger) -> Self {
        Self { ledger, pages: Arc::default() }
    }

    fn breach(&self, what: impl AsRef<str>) {
        self.ledger.breach(what);
    }

    /// Counts that something has happened, so that it shows whether it ever does.
    pub(crate) fn count(&self, what: &'static str) {
        *self.pages.lock().tally.entry(what).or_default() += 1;
    }

    pub(crate) fn tally(&self) -> BTreeMap<&'static str, u64> {
        self.pages.lock().tally.clone()
    }

    // === calls ===

    /// A client makes a call.
    pub(crate) fn begins(&self, client: usize) -> Op {
        let mut pages = self.pages.lock();
        let op = u64::try_from(pages.calls.len()).unwrap() + 1;
        pages.calls.insert(op, Call { client, runs: 0, over: false });
        op
    }

    pub(crate) fn calls(&self) -> usize {
        self.pages.lock().calls.len()
    }

    /// A server begins to work on a call.
    pub(crate) fn runs(&self, op: Op, server: &str) {
        self.ledger.note(format!("op {op} runs at {server}"));
        let runs = self.pages.lock().calls.get_mut(&op).map(|call| {
            call.runs += 1;
            call.runs
        });
        match runs {
            None => self.breach(format!("Q3: {server} got op {op}, which nobody called")),
            Some(1) => {}
            Some(runs) => self.breach(format!("Q3: op {op} runs for the {runs}. time")),
        }
    }

    /// A call is over for its client.
    pub(crate) fn ends(&self, op: Op, how: &'static str) {
        self.ledger.note(format!("op {op} is over: {how}"));
        self.count(how);
        let before = self
            .pages
            .lock()
            .calls
            .get_mut(&op)
            .map(|call| std::mem::replace(&mut call.over, true));
        if before != Some(false) {
            self.breach(format!("Q2: op {op} is over twice"));
        }
    }

    // === questions ===

    /// A server asks.
    pub(crate) fn asks(&self, q: &str, op: Op, channel: &str, must_end: bool) {
        self.ledger.note(format!("{q} is asked on {channel}"));
        let (channel, fate) = (channel.to_owned(), Fate::Open);
        let question = Question { op, channel, must_end, fate, shown: 0, given: 0 };
        let before = self.pages.lock().questions.insert(q.to_owned(), question);
        assert!(before.is_none(), "the simulated servers name each question once");
    }

    /// A client is asked, in a call of its own. `again` = it may have been asked before, as long as
    /// it has not answered.
    pub(crate) fn shown(&self, q: &str, op: Op, client: usize, again: bool) {
        self.ledger.note(format!("client {client} is asked {q}"));
        let mut pages = self.pages.lock();
        let Pages { calls, questions, .. } = &mut *pages;
        let Some(question) = questions.get_mut(q) else {
            drop(pages);
            return self.breach(format!("Q1: client {client} is asked {q}, which nobody asked"));
        };
        question.shown += 1;
        let stray = question.must_end && question.op != op;
        let over = calls.get(&op).is_none_or(|call| call.over || call.client != client);
        let twice = question.shown > 1 && (!again || question.given > 0);
        drop(pages);
        if stray {
            self.breach(format!("Q1: op {op} of client {client} is asked {q}"));
        }
        if over {
            self.breach(format!("Q2: op {op} is over, and client {client} is asked {q}"));
        }
        if twice {
            self.breach(format!("Q1: client {client} is asked {q} once more"));
        }
    }

    /// A client gives its answer.
    pub(crate) fn gives(&self, q: &str) {
        self.ledger.note(format!("{q} is answered"));
        if let Some(question) = self.pages.lock().questions.get_mut(q) {
            question.given += 1;
        }
    }

    /// An answer comes back to the server. `by` = the op whose client gave it.
    pub(crate) fn comes_back(&self, q: &str, fate: Fate, by: Option<(&str, Op)>) {
        self.ledger.note(format!("{q} comes back: {fate:?}"));
        let mut pages = self.pages.lock();
        let question = pages.questions.get_mut(q).unwrap();
        let before = std::mem::replace(&mut question.fate, fate);
        let (given, op, must_end) = (question.given, question.op, question.must_end);
        drop(pages);
        if before != Fate::Open {
            self.breach(format!("Q1: {q} has two answers: {before:?} and {fate:?}"));
        }
        if fate != Fate::Answered {
            return;
        }
        if given == 0 {
            self.breach(format!("Q1: {q} has an answer that its client did not give"));
        }
        match by {
            Some((of, by)) if of == q && (by == op || !must_end) => {}
            other => self.breach(format!("Q1: {q} of op {op} has the answer {other:?}")),
        }
    }

    /// A channel of a server is gone: nobody can answer what was asked there.
    pub(crate) fn void(&self, channel: &str) {
        for question in self.pages.lock().questions.values_mut() {
            if question.channel == channel && question.fate == Fate::Open {
                question.fate = Fate::Void;
            }
        }
    }

    /// When all is over: every call has ended, and every question that must has come back.
    pub(crate) fn closes(&self) {
        let pages = self.pages.lock();
        let open = pages.questions.iter().filter(|(_, q)| q.must_end && q.fate == Fate::Open);
        let mut lines: Vec<String> =
            open.map(|(q, _)| format!("Q1: {q} was never answered")).collect();
        let unended = pages.calls.iter().filter(|(_, call)| !call.over);
        lines.extend(unended.map(|(op, _)| format!("Q2: op {op} never ended")));
        drop(pages);
        for line in lines {
            self.breach(line);
        }
    }
}
