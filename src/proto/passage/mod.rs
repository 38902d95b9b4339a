//! Pure: a large answer, mended while it streams through. The outcome is that of
//! [`answer::mend`](super::answer::mend()) on the whole text; the bytes go on as they come.
//!
//! What differs from reading it whole:
//! - A breach shows when bytes have gone on already. [`Passage::push`] then refuses for good, and
//!   the caller must break the stream off. What stands in the first bytes is seen before any of
//!   them goes on, if the caller pushes what it has gathered for [`peek`] in one piece.
//! - `resultType` for a modern client stands last in the result, not first.
//! - For a legacy client a `structuredContent` that is not an object is left out, and no text block
//!   takes its place in an empty `content`: that would have to be held back until the end.
//!   [`Summary::structured_dropped`] tells.
//! - If a member stands twice in the result, all of its kind are left out, not the last one only.

mod flow;
mod name;
mod peek;
#[cfg(test)]
mod tests;
mod utf8;
mod walk;
mod word;

use std::fmt;
use std::ops::Range;

use bytes::{Buf, Bytes};
use smallvec::SmallVec;

pub use peek::{Peek, peek};

use super::answer::ResultKind;
use super::era::Era;
use super::id;
use super::scan::ScanError;
use flow::{Cut, Flow};
use name::Name;
use utf8::Utf8;
use walk::{Event, Walker, What};
use word::Word;

/// An answer on its way through.
#[derive(Debug)]
pub struct Passage {
    walker: Walker,
    utf8: Utf8,
    flow: Flow,
    rules: Rules,
    /// How many bytes earlier pieces had.
    done: usize,
    broken: Option<Broken>,
}

/// What is known of an answer that has gone through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// `result.isError` is true.
    pub is_error: bool,
    /// What kind of result it is.
    pub kind: ResultKind,
    /// It carried its id. Without one it cannot be known whose answer it is.
    pub id_seen: bool,
    /// A `structuredContent` was left out that a legacy client cannot have.
    pub structured_dropped: bool,
}

/// Why an answer cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Not JSON at this byte offset.
    Syntax(usize),
    /// Not UTF-8 at this byte offset.
    Utf8(usize),
    /// Nested deeper than so many levels.
    TooDeep(usize),
    /// It ends before it is complete.
    Truncated,
    /// It carries an id that is not the request's.
    ForeignId,
    /// This member of the message stands twice.
    Twice(&'static str),
    /// It is not a message with a result object and nothing else.
    NotAResult,
    /// It asks for input in a way that a legacy client does not know.
    InputRequired,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(at) => write!(f, "the answer is not valid JSON at byte {at}"),
            Self::Utf8(at) => write!(f, "the answer is not valid UTF-8 at byte {at}"),
            Self::TooDeep(max) => write!(f, "the answer is nested deeper than {max} levels"),
            Self::Truncated => f.write_str("the answer ends before it is complete"),
            Self::ForeignId => f.write_str("the answer carries an id that is not the request's"),
            Self::Twice(key) => write!(f, "the answer has \"{key}\" twice"),
            Self::NotAResult => f.write_str("the answer has no result object, or more than that"),
            Self::InputRequired => {
                f.write_str("the answer asks for input in a way that its client does not know")
            }
        }
    }
}

impl std::error::Error for Broken {}

impl Passage {
    /// For the answer to a request that went out under the raw id `upstream_id`, on its way to a
    /// client of era `client` that knows it as `client_id`.
    pub fn new(upstream_id: &[u8], client_id: &[u8], client: Era) -> Self {
        Self {
            walker: Walker::new(),
            utf8: Utf8::default(),
            flow: Flow::new(),
            rules: Rules::new(upstream_id, client_id, client),
            done: 0,
            broken: None,
        }
    }

    /// Takes the next piece and appends what goes on to the client: slices of the piece where
    /// nothing changes, small pieces of our own where something does. After a breach what was
    /// appended is worth nothing, and every later call answers the same.
    pub fn push(&mut self, mut piece: Bytes, out: &mut SmallVec<[Bytes; 4]>) -> Result<(), Broken> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        let len = piece.len();
        let passed = self.pass(&piece, out);
        self.broken = passed.as_ref().err().copied();
        self.done += len;
        let rest = passed?;
        if !rest.is_empty() {
            piece.truncate(rest.end);
            piece.advance(rest.start);
            out.push(piece);
        }
        Ok(())
    }

    /// The input is over: the message must be complete. Nothing is held back then.
    pub fn finish(self) -> Result<Summary, Broken> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        if !self.walker.is_done() {
            return Err(Broken::Truncated);
        }
        Ok(self.rules.summary)
    }

    /// Takes a piece, and answers what of its end goes on as it is.
    fn pass(
        &mut self,
        piece: &Bytes,
        out: &mut SmallVec<[Bytes; 4]>,
    ) -> Result<Range<usize>, Broken> {
        let done = self.done;
        self.utf8.check(piece).map_err(|at| Broken::Utf8(done + at))?;
        let mut cut = self.flow.cut(piece, out);
        let mut at = 0;
        while let Some(event) = self.walker.next(piece, &mut at).map_err(|e| broken(e, done))? {
            self.rules.meet(event, &mut cut)?;
        }
        self.rules.carry(cut)
    }
}

/// What a breach of the scan is, in a piece that begins at byte `done` of the answer.
fn broken(error: ScanError, done: usize) -> Broken {
    match error {
        ScanError::TooDeep(max) => Broken::TooDeep(max),
        ScanError::Syntax(at) | ScanError::Utf8(at) | ScanError::TooManyKeys(at) => {
            Broken::Syntax(done + at)
        }
    }
}

/// What is to be done where. `depth` 1 is inside the message, 2 inside its result.
#[derive(Debug)]
struct Rules {
    upstream_id: Box<[u8]>,
    client_id: Bytes,
    client: Era,
    /// The key whose value stands under the cursor, on the innermost level that matters.
    name: Name,
    word: Word,
    place: Place,
    /// The result has members, and of these some went on, and one is `resultType`.
    members: bool,
    passed: bool,
    typed: bool,
    summary: Summary,
}

/// Where the cursor stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The result has not come.
    Before,
    /// In the result.
    Inside,
    /// The result is over.
    Behind,
}

impl Rules {
    fn new(upstream_id: &[u8], client_id: &[u8], client: Era) -> Self {
        Self {
            upstream_id: upstream_id.into(),
            client_id: Bytes::copy_from_slice(client_id),
            client,
            name: Name::Other,
            word: Word::new(),
            place: Place::Before,
            members: false,
            passed: false,
            typed: false,
            summary: Summary {
                is_error: false,
                kind: ResultKind::Complete,
                id_seen: false,
                structured_dropped: false,
            },
        }
    }

    fn meet(&mut self, event: Event, cut: &mut Cut<'_>) -> Result<(), Broken> {
        match (event.depth, event.what) {
            (0, What::Value(b'{')) => Ok(()),
            (0, What::End) if self.place == Place::Behind => Ok(()),
            (0, _) => Err(Broken::NotAResult),
            (1, What::Key) => {
                self.word.begin(event.at);
                Ok(())
            }
            (1, What::Named) => self.named(event.at, cut),
            (1, What::Value(byte)) => self.value(byte, event.at, cut),
            (1, What::End) => self.ended(event.at, cut),
            (_, what) if self.place == Place::Inside => self.meet_inside(what, event.at, cut),
            _ => Ok(()),
        }
    }

    /// The piece is over. A word that is too long is none of ours.
    fn carry(&mut self, mut cut: Cut<'_>) -> Result<Range<usize>, Broken> {
        let piece = cut.piece();
        let word = self.word.place(piece);
        if !self.word.carry(piece) && cut.holds() {
            if self.place != Place::Inside {
                return Err(Broken::ForeignId);
            }
            cut.release();
        }
        Ok(cut.finish(word))
    }

    // === the message ===

    fn named(&mut self, at: usize, cut: &Cut<'_>) -> Result<(), Broken> {
        self.name = Name::of(self.word.end(cut.piece(), at));
        match self.name {
            Name::Id if self.summary.id_seen => Err(Broken::Twice("id")),
            Name::Result if self.place != Place::Before => Err(Broken::Twice("result")),
            Name::Error | Name::Method => Err(Broken::NotAResult),
            _ => Ok(()),
        }
    }

    fn value(&mut self, first: u8, at: usize, cut: &mut Cut<'_>) -> Result<(), Broken> {
        match self.name {
            Name::Id if !id::allowed(&[first]) => Err(Broken::ForeignId),
            Name::Id => {
                self.summary.id_seen = true;
                self.word.begin(at);
                cut.hold(at);
                Ok(())
            }
            Name::Result if first != b'{' => Err(Broken::NotAResult),
            Name::Result => {
                self.place = Place::Inside;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn ended(&mut self, at: usize, cut: &mut Cut<'_>) -> Result<(), Broken> {
        if self.place == Place::Inside {
            // The closing brace is the last byte, so it stands in this piece.
            self.close(at.saturating_sub(1), cut);
            self.place = Place::Behind;
        } else if self.name == Name::Id {
            let raw = self.word.end(cut.piece(), at);
            let raw = raw.filter(|raw| id::same(raw, &self.upstream_id));
            let raw = raw.ok_or(Broken::ForeignId)?;
            if *raw == self.client_id {
                cut.release();
            } else {
                cut.drop_held();
                cut.resume(at);
                cut.put(at, self.client_id.clone());
            }
        }
        self.name = Name::Other;
        Ok(())
    }

    /// Before the closing brace of the result.
    fn close(&self, at: usize, cut: &mut Cut<'_>) {
        if self.client == Era::Modern && !self.typed {
            let what: &'static [u8] = if self.members {
                br#","resultType":"complete""#
            } else {
                br#""resultType":"complete""#
            };
            cut.put(at, Bytes::from_static(what));
        }
    }

    // === the result ===

    fn meet_inside(&mut self, what: What, at: usize, cut: &mut Cut<'_>) -> Result<(), Broken> {
        let legacy = self.client == Era::Legacy;
        match what {
            // The comma belongs to the member behind it. If none went on yet, it goes.
            What::Comma if legacy && self.passed => cut.hold(at),
            What::Comma if legacy => cut.skip(at),
            What::Comma => {}
            What::Key => {
                self.word.begin(at);
                if legacy && !cut.holds() {
                    cut.hold(at);
                }
            }
            What::Named => self.named_inside(at, cut),
            What::Value(first) => self.value_inside(first, at, cut),
            What::End => {
                self.read(at, cut.piece())?;
                if cut.drops() {
                    cut.resume(at);
                }
            }
        }
        Ok(())
    }

    fn named_inside(&mut self, at: usize, cut: &mut Cut<'_>) {
        self.name = Name::of(self.word.end(cut.piece(), at));
        self.members = true;
        self.typed |= self.name == Name::ResultType;
        if self.client == Era::Modern {
            return;
        }
        match self.name {
            Name::ResultType | Name::Ttl | Name::Scope => cut.drop_held(),
            Name::Structured => {} // its value tells
            _ => self.let_pass(cut),
        }
    }

    fn value_inside(&mut self, first: u8, at: usize, cut: &mut Cut<'_>) {
        match self.name {
            Name::ResultType => {
                self.summary.kind = ResultKind::Complete;
                self.begin_if(first == b'"', at);
            }
            Name::IsError => {
                self.summary.is_error = false;
                self.begin_if(first == b't', at);
            }
            Name::Structured if self.client == Era::Legacy => {
                if first == b'{' {
                    self.let_pass(cut);
                } else {
                    self.summary.structured_dropped = true;
                    cut.drop_held();
                }
            }
            _ => {}
        }
    }

    fn begin_if(&mut self, matters: bool, at: usize) {
        if matters {
            self.word.begin(at);
        }
    }

    fn let_pass(&mut self, cut: &mut Cut<'_>) {
        self.passed = true;
        cut.release();
    }

    /// Reads a value that tells something of the answer.
    fn read(&mut self, at: usize, piece: &[u8]) -> Result<(), Broken> {
        if !self.word.is_open() {
            return Ok(());
        }
        let raw = self.word.end(piece, at);
        if self.name == Name::IsError {
            self.summary.is_error = raw == Some(b"true");
            return Ok(());
        }
        self.summary.kind = raw.map_or(ResultKind::Other, ResultKind::of);
        if self.summary.kind == ResultKind::InputRequired && self.client == Era::Legacy {
            return Err(Broken::InputRequired);
        }
        Ok(())
    }
}
