//! Pure: edits by span. A message is changed by copying what stays and writing what is new; the
//! bytes between the edits reach the other side untouched.

use bytes::Bytes;
use smallvec::SmallVec;

use super::scan::{Member, Span};

/// One change.
#[derive(Debug)]
enum Edit<'a> {
    /// Replaces a span.
    Put(Span, &'a [u8]),
    /// Removes a member of an object together with the comma that belongs to it.
    Cut(Span, bool),
}

impl Edit<'_> {
    fn span(&self) -> Span {
        match self {
            Self::Put(span, _) | Self::Cut(span, _) => *span,
        }
    }
}

/// A list of changes to one text. They may be added in any order and must not overlap.
#[derive(Debug)]
pub struct Splice<'a> {
    text: &'a [u8],
    edits: SmallVec<[Edit<'a>; 6]>,
}

impl<'a> Splice<'a> {
    /// No change yet.
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, edits: SmallVec::new() }
    }

    /// Replaces the bytes of `span`.
    pub fn put(&mut self, span: Span, with: &'a [u8]) {
        self.edits.push(Edit::Put(span, with));
    }

    /// Writes `what` at byte offset `at`.
    pub fn insert(&mut self, at: usize, what: &'a [u8]) {
        self.put(Span { start: at, end: at }, what);
    }

    /// Removes a member from its object, with its comma.
    pub fn cut(&mut self, member: Member) {
        let mut end = member.value.end;
        while self.text.get(end).is_some_and(u8::is_ascii_whitespace) {
            end += 1;
        }
        let comma_follows = self.text.get(end) == Some(&b',');
        let end = if comma_follows { end + 1 } else { member.value.end };
        self.edits.push(Edit::Cut(Span { start: member.key.start, end }, comma_follows));
    }

    /// Whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// The changed text. `tail_room` bytes are kept free at the end for the caller.
    pub fn apply(mut self, tail_room: usize) -> Vec<u8> {
        self.edits.sort_by_key(|edit| edit.span().start);
        let grown: usize = self
            .edits
            .iter()
            .map(|e| if let Edit::Put(_, with) = e { with.len() } else { 0 })
            .sum();
        let mut out = Vec::with_capacity(self.text.len() + grown + tail_room);
        let mut done = 0;
        for edit in &self.edits {
            let span = edit.span();
            debug_assert!(span.start >= done, "edits must not overlap");
            out.extend_from_slice(self.text.get(done..span.start).unwrap_or_default());
            match edit {
                Edit::Put(_, with) => out.extend_from_slice(with),
                Edit::Cut(_, true) => {}
                Edit::Cut(_, false) => drop_last_comma(&mut out),
            }
            done = span.end.max(done);
        }
        out.extend_from_slice(self.text.get(done..).unwrap_or_default());
        out
    }

    /// The changed text, or `whole` itself where nothing changes.
    pub fn apply_to(self, whole: &Bytes) -> Bytes {
        if self.is_empty() { whole.clone() } else { Bytes::from(self.apply(0)) }
    }
}

/// The last member of an object was cut: the comma before it has nothing to separate any more.
fn drop_last_comma(out: &mut Vec<u8>) {
    let kept = out.trim_ascii_end().len();
    if out.get(kept.wrapping_sub(1)) == Some(&b',') {
        out.truncate(kept - 1);
    }
}

/// Blanks raw line breaks, for transports that end a message with one. They can stand only between
/// tokens: inside a JSON string a raw line break is not valid, and the text was scanned before.
pub fn one_line(mut text: Vec<u8>) -> Vec<u8> {
    let mut from = 0;
    while let Some(found) = text.get(from..).and_then(|rest| memchr::memchr2(b'\n', b'\r', rest)) {
        from += found;
        if let Some(byte) = text.get_mut(from) {
            *byte = b' ';
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::scan::{members, unquote};
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    #[test]
    fn puts_inserts_and_cuts() {
        let text = br#"{"a":1, "b":2 ,"c":3}"#;
        let m = members(text).unwrap();
        let mut splice = Splice::new(text);
        splice.cut(m[2]);
        splice.put(m[0].value, b"10");
        splice.insert(1, br#""z":0,"#);
        assert_eq!(splice.apply(0), br#"{"z":0,"a":10, "b":2 }"#);
    }

    #[test]
    fn line_breaks_between_tokens_become_spaces() {
        assert_eq!(one_line(b"{\n \"a\":\r\n1}".to_vec()), b"{  \"a\":  1}");
    }

    proptest! {
        #[test]
        fn cutting_members_equals_removing_them(keep in proptest::collection::vec(any::<bool>(), 0..8)) {
            let whole: Map<String, Value> =
                keep.iter().enumerate().map(|(i, k)| (format!("k{i}"), Value::Bool(*k))).collect();
            for text in [serde_json::to_string(&whole).unwrap(), serde_json::to_string_pretty(&whole).unwrap()] {
                let text = text.as_bytes();
                let mut splice = Splice::new(text);
                splice.insert(1, if keep.is_empty() { br#""new":1"# } else { br#""new":1,"# });
                for (member, kept) in members(text).unwrap().into_iter().zip(&keep) {
                    if !kept {
                        splice.cut(member);
                    }
                }
                let got: Map<String, Value> = serde_json::from_slice(&splice.apply(0)).unwrap();
                let names: Vec<_> = got.keys().cloned().collect();
                let mut want = vec!["new".to_owned()];
                want.extend(members(text).unwrap().iter().zip(&keep).filter(|(_, k)| **k)
                    .map(|(m, _)| unquote(m.key.of(text)).unwrap().into_owned()));
                prop_assert_eq!(names, want);
            }
        }
    }
}
