//! Pure: message framing over bytes. One message a line for stdio, Server-Sent Events for HTTP.
//!
//! Both framers take chunks as they come and hand out slices of them; bytes are copied only where
//! a line crosses from one chunk into the next. Every byte is searched once. What is kept is
//! bounded: a line or event over the bound is reported once and skipped without buffering it.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use memchr::{memchr, memchr2};

use super::carry::Carry;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Why a frame cannot be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than the bound; it is skipped up to its end.
    #[error("a message is longer than the {0} bytes allowed")]
    TooLong(usize),
}

/// Cuts a byte stream into lines, one message each.
///
/// `\n` and `\r\n` end a line, blank lines are skipped, and so is a byte order mark at the start
/// of the stream. A line handed out is a slice of the chunk it came in: keep it for long only as
/// a copy, else the whole chunk stays in memory.
#[derive(Debug)]
pub struct LineFramer {
    line_bytes_max: usize,
    /// What was pushed and not searched yet.
    chunk: Bytes,
    /// The start of a line whose end has not come; searched already, holds no `\n`.
    carry: Carry,
    /// Within a line over the bound: drop everything to its end.
    skipping: bool,
    /// No line seen yet, so a byte order mark may come.
    fresh: bool,
}

impl LineFramer {
    /// A framer for lines of up to `line_bytes_max` bytes, all but the `\n` counted.
    pub fn new(line_bytes_max: usize) -> Self {
        let (chunk, carry) = (Bytes::new(), Carry::default());
        Self { line_bytes_max, chunk, carry, skipping: false, fresh: true }
    }

    /// Adds the next bytes of the stream. Cheapest once `next_line` has answered `None`.
    pub fn push(&mut self, chunk: impl Into<Bytes>) {
        append(&mut self.chunk, chunk.into());
    }

    /// The next whole line without its end, or `None` until more is pushed.
    pub fn next_line(&mut self) -> Option<Result<Bytes, FrameError>> {
        loop {
            let Some(at) = memchr(b'\n', &self.chunk) else {
                return self.keep_rest();
            };
            let piece = self.chunk.split_to(at);
            self.chunk.advance(1);
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            let line = self.carry.join(piece);
            if line.len() > self.line_bytes_max {
                self.fresh = false;
                return Some(Err(FrameError::TooLong(self.line_bytes_max)));
            }
            if let Some(line) = self.trimmed(line) {
                return Some(Ok(line));
            }
        }
    }

    /// The last line if the stream ended without ending it.
    pub fn finish(mut self) -> Option<Result<Bytes, FrameError>> {
        if let Some(line) = self.next_line() {
            debug_assert!(line.is_err(), "finish comes after next_line has answered None");
            return Some(line);
        }
        let line = self.carry.join(Bytes::new());
        self.trimmed(line).map(Ok)
    }

    /// Moves what is left of the chunk, which holds no line end, to the carry.
    fn keep_rest(&mut self) -> Option<Result<Bytes, FrameError>> {
        let rest = std::mem::take(&mut self.chunk);
        if self.skipping {
            return None;
        }
        if self.carry.len() + rest.len() > self.line_bytes_max {
            self.carry = Carry::default();
            (self.skipping, self.fresh) = (true, false);
            return Some(Err(FrameError::TooLong(self.line_bytes_max)));
        }
        self.carry.put(&rest);
        None
    }

    /// The line without `\r` and byte order mark; `None` if nothing is left.
    fn trimmed(&mut self, mut line: Bytes) -> Option<Bytes> {
        if std::mem::take(&mut self.fresh) && line.starts_with(BOM) {
            line.advance(BOM.len());
        }
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        (!line.trim_ascii().is_empty()).then_some(line)
    }
}

/// One event of a Server-Sent Events stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// Its type; `None` or empty means `message`.
    pub event: Option<Bytes>,
    /// The id it sets; empty resets the last event id.
    pub id: Option<Bytes>,
    /// How long to wait before connecting again.
    pub retry: Option<Duration>,
    /// The data lines, joined by `\n`. Empty for a priming event, and for one that carries only
    /// an id or a retry time.
    pub data: Bytes,
}

impl SseEvent {
    /// Whether this is an ordinary event, which in MCP carries a message if its data is not empty.
    pub fn is_message(&self) -> bool {
        self.event.as_ref().is_none_or(|name| name.is_empty() || name.as_ref() == b"message")
    }
}

/// The data of an event while its lines come in.
#[derive(Debug, Default)]
enum Data {
    #[default]
    Absent,
    /// One line: still a slice of what was pushed.
    One(Bytes),
    Joined(BytesMut),
}

/// Cuts a byte stream into Server-Sent Events, by the rules of the HTML standard.
///
/// Two things differ, since the reader here is a program: an event that only sets an id or a
/// retry time is handed out too, and what stands unfinished at the end can be had by `finish`.
#[derive(Debug)]
pub struct SseFramer {
    event_bytes_max: usize,
    /// What was pushed and not searched yet.
    chunk: Bytes,
    /// The start of a line whose end has not come; searched already, holds no line end.
    carry: Carry,
    line: Line,
    /// The last line ended in `\r` at the end of a chunk: a `\n` now belongs to it.
    after_cr: bool,
    /// No line seen yet, so a byte order mark may come.
    fresh: bool,
    /// Within an event over the bound: drop everything to its end.
    skipping: bool,
    data: Data,
    event: SseEvent,
}

/// What is known of the line that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// Nothing of it has come.
    Empty,
    /// It is kept.
    Kept,
    /// A comment, or part of an event that is skipped: it is not kept.
    Dropped,
}

impl SseFramer {
    /// A framer for events of up to `event_bytes_max` bytes: data, id and type, and the line that
    /// is being read. Comments do not count.
    pub fn new(event_bytes_max: usize) -> Self {
        Self {
            event_bytes_max,
            chunk: Bytes::new(),
            carry: Carry::default(),
            line: Line::Empty,
            after_cr: false,
            fresh: true,
            skipping: false,
            data: Data::Absent,
            event: SseEvent::default(),
        }
    }

    /// Adds the next bytes of the stream. Cheapest once `next_event` has answered `None`.
    pub fn push(&mut self, chunk: impl Into<Bytes>) {
        append(&mut self.chunk, chunk.into());
    }

    /// The next whole event, or `None` until more is pushed.
    pub fn next_event(&mut self) -> Option<Result<SseEvent, FrameError>> {
        loop {
            if self.after_cr && !self.chunk.is_empty() {
                self.after_cr = false;
                if self.chunk.first() == Some(&b'\n') {
                    self.chunk.advance(1);
                }
            }
            let Some(at) = memchr2(b'\n', b'\r', &self.chunk) else {
                let rest = std::mem::take(&mut self.chunk);
                return self.keep(&rest).err().map(Err);
            };
            let piece = self.chunk.split_to(at);
            self.after_cr = self.chunk.first() == Some(&b'\r');
            self.chunk.advance(1);
            match self.end_line(piece) {
                Ok(None) => {}
                Ok(Some(event)) => return Some(Ok(event)),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// What stands unfinished when the stream has ended. The standard drops it, since it may be
    /// cut short; some servers forget the last blank line, and JSON shows whether it is whole.
    pub fn finish(mut self) -> Option<Result<SseEvent, FrameError>> {
        if let Some(event) = self.next_event() {
            debug_assert!(event.is_err(), "finish comes after next_event has answered None");
            return Some(event);
        }
        match self.end_line(Bytes::new()) {
            Ok(None) => self.end_event().map(Ok),
            Ok(Some(event)) => Some(Ok(event)),
            Err(error) => Some(Err(error)),
        }
    }

    /// Takes a piece of a line whose end has not come.
    fn keep(&mut self, piece: &[u8]) -> Result<(), FrameError> {
        let Some(first) = piece.first() else {
            return Ok(());
        };
        if self.line == Line::Empty {
            // A comment shows by its first byte; behind a byte order mark it is kept, once.
            let drop = self.skipping || *first == b':';
            self.line = if drop { Line::Dropped } else { Line::Kept };
        }
        if self.line == Line::Dropped {
            return Ok(());
        }
        let fits = self.check(self.carry.len() + piece.len());
        if fits.is_ok() {
            self.carry.put(piece);
        } else {
            self.line = Line::Dropped;
        }
        fits
    }

    /// Takes the last piece of a line.
    fn end_line(&mut self, piece: Bytes) -> Result<Option<SseEvent>, FrameError> {
        let line = std::mem::replace(&mut self.line, Line::Empty);
        if self.skipping {
            if line == Line::Empty && piece.is_empty() {
                self.skipping = false;
            }
            return Ok(None);
        }
        if line == Line::Dropped || (line == Line::Empty && piece.first() == Some(&b':')) {
            self.fresh = false;
            return Ok(None);
        }
        let mut whole = self.carry.join(piece);
        self.check(whole.len())?;
        if std::mem::take(&mut self.fresh) && whole.starts_with(BOM) {
            whole.advance(BOM.len());
        }
        if whole.is_empty() {
            return Ok(self.end_event());
        }
        if whole.first() != Some(&b':') {
            self.field(whole);
        }
        Ok(None)
    }

    /// Refuses the event if a line of `line_bytes` makes it too long.
    fn check(&mut self, line_bytes: usize) -> Result<(), FrameError> {
        let data = match &self.data {
            Data::Absent => 0,
            Data::One(data) => data.len() + 1,
            Data::Joined(data) => data.len() + 1,
        };
        let text = |field: &Option<Bytes>| field.as_ref().map_or(0, Bytes::len);
        let held = data + text(&self.event.event) + text(&self.event.id);
        if held + line_bytes <= self.event_bytes_max {
            return Ok(());
        }
        self.carry = Carry::default();
        (self.data, self.event) = (Data::Absent, SseEvent::default());
        (self.skipping, self.fresh) = (true, false);
        Err(FrameError::TooLong(self.event_bytes_max))
    }

    fn field(&mut self, mut line: Bytes) {
        let colon = memchr(b':', &line).unwrap_or(line.len());
        let name = line.split_to(colon);
        let mut value = line;
        if !value.is_empty() {
            value.advance(1);
        }
        if value.first() == Some(&b' ') {
            value.advance(1);
        }
        match name.as_ref() {
            b"data" => self.add_data(value),
            b"event" => self.event.event = Some(value),
            b"id" if memchr(0, &value).is_none() => self.event.id = Some(value),
            b"retry" => self.event.retry = milliseconds(&value).or(self.event.retry),
            _ => {}
        }
    }

    fn add_data(&mut self, value: Bytes) {
        self.data = match std::mem::take(&mut self.data) {
            Data::Absent => Data::One(value),
            Data::One(first) => {
                let mut joined = BytesMut::with_capacity(first.len() + 1 + value.len());
                joined.put(first);
                joined.put_u8(b'\n');
                joined.put(value);
                Data::Joined(joined)
            }
            Data::Joined(mut joined) => {
                joined.put_u8(b'\n');
                joined.put(value);
                Data::Joined(joined)
            }
        };
    }

    fn end_event(&mut self) -> Option<SseEvent> {
        let mut event = std::mem::take(&mut self.event);
        let (data, any) = match std::mem::take(&mut self.data) {
            Data::Absent => (Bytes::new(), event.id.is_some() || event.retry.is_some()),
            Data::One(data) => (data, true),
            Data::Joined(data) => (data.freeze(), true),
        };
        event.data = data;
        any.then_some(event)
    }
}

/// Appends to what is left of the last chunk; a copy only if something is.
fn append(rest: &mut Bytes, chunk: Bytes) {
    if rest.is_empty() {
        *rest = chunk;
    } else {
        let mut both = BytesMut::with_capacity(rest.len() + chunk.len());
        both.put(std::mem::take(rest));
        both.put(chunk);
        *rest = both.freeze();
    }
}

fn milliseconds(digits: &[u8]) -> Option<Duration> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok().map(Duration::from_millis)
}

/// A message as one line of a stdio transport. Raw line ends stand between tokens of JSON only,
/// where a space means the same; they become spaces.
pub fn line(message: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(message.len() + 1);
    put_blanked(&mut out, message);
    out.put_u8(b'\n');
    out.freeze()
}

/// A message as an event with nothing but data.
pub fn sse_event(message: &[u8]) -> Bytes {
    sse_event_with(message, None, None)
}

/// A message as an event with an id or a type. Line ends in any part become spaces (see [`line()`]).
pub fn sse_event_with(message: &[u8], id: Option<&str>, event: Option<&str>) -> Bytes {
    let extra = id.map_or(0, |id| id.len() + 5) + event.map_or(0, |event| event.len() + 8);
    let mut out = BytesMut::with_capacity(message.len() + extra + 8);
    for (name, value) in [(&b"event: "[..], event), (&b"id: "[..], id)] {
        if let Some(value) = value {
            out.put_slice(name);
            put_blanked(&mut out, value.as_bytes());
            out.put_u8(b'\n');
        }
    }
    out.put_slice(b"data: ");
    put_blanked(&mut out, message);
    out.put_slice(b"\n\n");
    out.freeze()
}

fn put_blanked(out: &mut BytesMut, mut text: &[u8]) {
    while let Some(at) = memchr2(b'\n', b'\r', text) {
        let (before, after) = text.split_at(at);
        out.put_slice(before);
        out.put_u8(b' ');
        text = after.get(1..).unwrap_or_default();
    }
    out.put_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Lines = Vec<Result<Bytes, FrameError>>;
    type Events = Vec<Result<SseEvent, FrameError>>;

    /// Pushes the stream in pieces cut at `cuts`; `late` drains only after every second piece.
    fn lines(stream: &[u8], cuts: &[usize], late: bool, max: usize) -> Lines {
        let (mut framer, mut out) = (LineFramer::new(max), Vec::new());
        for (at, piece) in pieces(stream, cuts).into_iter().enumerate() {
            framer.push(piece);
            if !late || at % 2 == 1 {
                out.extend(std::iter::from_fn(|| framer.next_line()));
            }
        }
        out.extend(std::iter::from_fn(|| framer.next_line()));
        out.extend(framer.finish());
        out
    }

    fn events(stream: &[u8], cuts: &[usize], late: bool, max: usize) -> Events {
        let (mut framer, mut out) = (SseFramer::new(max), Vec::new());
        for (at, piece) in pieces(stream, cuts).into_iter().enumerate() {
            framer.push(piece);
            if !late || at % 2 == 1 {
                out.extend(std::iter::from_fn(|| framer.next_event()));
            }
        }
        out.extend(std::iter::from_fn(|| framer.next_event()));
        out.extend(framer.finish());
        out
    }

    fn pieces(stream: &[u8], cuts: &[usize]) -> Vec<Bytes> {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        cuts.windows(2).map(|w| Bytes::copy_from_slice(&stream[w[0]..w[1]])).collect()
    }

    fn data(events: &Events) -> Vec<&[u8]> {
        events.iter().map(|event| event.as_ref().unwrap().data.as_ref()).collect()
    }

    fn text(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn lines_lose_their_ends_and_blank_ones_vanish() {
        let got = lines(b"\xEF\xBB\xBF{}\r\n\n \t\r\n[1]\nlast", &[], false, 100);
        let want: Vec<_> = ["{}", "[1]", "last"].map(|l| Ok(Bytes::from(l))).into();
        assert_eq!(got, want);
    }

    #[test]
    fn a_line_over_the_bound_is_told_once_and_not_kept() {
        let mut framer = LineFramer::new(10);
        framer.push(&b"0123456789\n0123456789"[..]);
        assert_eq!(framer.next_line(), Some(Ok(Bytes::from("0123456789"))));
        assert_eq!(framer.next_line(), None);
        framer.push(&b"x"[..]);
        assert_eq!(framer.next_line(), Some(Err(FrameError::TooLong(10))));
        for _ in 0..1_000 {
            framer.push(vec![b'x'; 4_096]);
            assert_eq!(framer.next_line(), None);
        }
        assert_eq!(framer.carry.capacity(), 0);
        framer.push(&b"end\nnext\n"[..]);
        assert_eq!(framer.next_line(), Some(Ok(Bytes::from("next"))));
        assert_eq!(framer.finish(), None);
    }

    #[test]
    fn a_line_within_one_chunk_is_not_copied() {
        let chunk = Bytes::from(b"{\"a\":1}\r\n{}\n".to_vec());
        let mut framer = LineFramer::new(100);
        framer.push(chunk.clone());
        let line = framer.next_line().unwrap().unwrap();
        assert_eq!(line.as_ptr(), chunk.as_ptr());
    }

    #[test]
    fn data_within_one_chunk_is_not_copied() {
        let chunk = Bytes::from(b"event: message\ndata: {}\n\n".to_vec());
        let mut framer = SseFramer::new(100);
        framer.push(chunk.clone());
        let event = framer.next_event().unwrap().unwrap();
        assert_eq!(event.data.as_ptr(), chunk[21..].as_ptr());
        assert!(event.is_message());
    }

    #[test]
    fn events_follow_the_standard() {
        // The four examples of the HTML standard, and a comment within an event.
        let got = events(b"data: YHOO\ndata: +2\ndata: 10\n\n", &[], false, 100);
        assert_eq!(data(&got), [b"YHOO\n+2\n10"]);
        let got = events(b": c\n\ndata: a\nid: 1\n\ndata:b\nid\n\ndata:  c\n\n", &[], false, 100);
        assert_eq!(data(&got), [&b"a"[..], b"b", b" c"]);
        let ids: Vec<_> = got.iter().map(|event| event.clone().unwrap().id).collect();
        assert_eq!(ids, [Some(text("1")), Some(text("")), None]);
        let got = events(b"data\n\ndata\ndata\n\n", &[], false, 100);
        assert_eq!(data(&got), [&b""[..], b"\n"]);
        let got = events(b"data:test\n\ndata: te\n: ping\ndata:st\n\n", &[], false, 100);
        assert_eq!(data(&got), [&b"test"[..], b"te\nst"]);
    }

    #[test]
    fn every_line_end_and_a_byte_order_mark_are_understood() {
        let stream = b"\xEF\xBB\xBFdata: 1\r\rdata: 2\r\n\r\ndata: 3\n\ndata: 4\r\n\n";
        let got = events(stream, &[], false, 100);
        assert_eq!(data(&got), [b"1", b"2", b"3", b"4"]);
    }

    #[test]
    fn fields_beside_the_data() {
        let stream = b"retry: 250\n\nid: 7\ndata:\n\nevent: x\n\nevent: x\nfoo: y\ndata: z\n\n\
            id: a\0b\nretry: 1s\n\nretry: \n\n";
        let got = events(stream, &[], false, 100);
        let wait = SseEvent { retry: Some(Duration::from_millis(250)), ..SseEvent::default() };
        let prime = SseEvent { id: Some(text("7")), ..SseEvent::default() };
        let typed = SseEvent { event: Some(text("x")), data: "z".into(), ..SseEvent::default() };
        assert_eq!(got, [Ok(wait), Ok(prime), Ok(typed.clone())]);
        assert!(!typed.is_message());
    }

    #[test]
    fn an_event_over_the_bound_is_told_once_and_comments_do_not_count() {
        let mut stream = b"data: 1\n".to_vec();
        stream.extend(b": keep-alive, quite long\n".repeat(100));
        stream.extend(b"data: 2\n\ndata: ");
        stream.extend([b'x'; 100]);
        stream.extend(b"\ndata: more\n\ndata: 3\n\n");
        let got = events(&stream, &[], false, 20);
        assert_eq!(data(&vec![got[0].clone(), got[2].clone()]), [&b"1\n2"[..], b"3"]);
        assert_eq!(got[1], Err(FrameError::TooLong(20)));
        assert_eq!(got.len(), 3);
    }

    #[test]
    fn an_unfinished_event_is_had_at_the_end_only() {
        let mut framer = SseFramer::new(100);
        framer.push(&b"id: 1\ndata: {}"[..]);
        assert_eq!(framer.next_event(), None);
        let last = SseEvent { id: Some(text("1")), data: "{}".into(), ..SseEvent::default() };
        assert_eq!(framer.finish(), Some(Ok(last)));
    }

    #[test]
    fn a_stream_cut_anywhere_ends_without_a_whole_event_too_many() {
        let stream = b"data: {\"id\":1}\n\nid: 4\nevent: message\r\ndata: {\"id\":2}\r\n\r\n";
        for cut in 0..=stream.len() {
            let mut framer = SseFramer::new(100);
            framer.push(Bytes::copy_from_slice(&stream[..cut]));
            let whole = std::iter::from_fn(|| framer.next_event()).count();
            // The `\r` of the last blank line ends the event already.
            let want = usize::from(cut >= 16) + usize::from(cut >= stream.len() - 1);
            assert_eq!(whole, want, "cut at {cut}");
        }
    }

    #[test]
    fn what_we_write_is_read_back() {
        let pretty = b"{\n  \"a\": 1\r\n}";
        let want: &[u8] = b"{   \"a\": 1  }";
        assert_eq!(line(pretty), [want, b"\n"].concat());
        let got = events(&sse_event(pretty), &[], false, 100);
        assert_eq!(got, [Ok(SseEvent { data: want.to_vec().into(), ..SseEvent::default() })]);
        let got = events(&sse_event_with(pretty, Some("a\nb"), Some("message")), &[], false, 100);
        assert_eq!(data(&got), [want]);
        assert_eq!(got[0].as_ref().unwrap().id, Some(text("a b")));
        assert!(got[0].as_ref().unwrap().is_message());
    }

    /// The standard's rules over the whole stream at once, without bounds.
    fn by_the_book(stream: &str) -> Vec<SseEvent> {
        let stream = stream.strip_prefix('\u{FEFF}').unwrap_or(stream);
        let unified = stream.replace("\r\n", "\n").replace('\r', "\n");
        let mut out = Vec::new();
        for block in unified.split("\n\n").map(|block| block.trim_start_matches('\n')) {
            let (mut event, mut lines, mut worth) = (SseEvent::default(), Vec::new(), false);
            for line in block.split('\n').filter(|line| !line.is_empty()) {
                let (name, value) = line.split_once(':').unwrap_or((line, ""));
                let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
                match name {
                    "data" => lines.push(value),
                    "event" => event.event = Some(value.into()),
                    "id" => (event.id, worth) = (Some(value.into()), true),
                    "retry" => {
                        if let Ok(wait) = value.parse() {
                            (event.retry, worth) = (Some(Duration::from_millis(wait)), true);
                        }
                    }
                    _ => {}
                }
            }
            if worth || !lines.is_empty() {
                event.data = lines.join("\n").into();
                out.push(event);
            }
        }
        out
    }

    fn streams() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            3 => Just("\n"), 2 => Just("\r\n"), 2 => Just("\r"), 3 => Just("data: "),
            2 => Just("data:"), 1 => Just("id: "), 1 => Just("event:"), 1 => Just("retry: 12"),
            1 => Just(":"), 1 => Just(": "), 2 => Just("x"), 1 => Just("{\"a\":1}"),
            1 => Just("\u{FEFF}"), 1 => Just("caf\u{e9}"), 1 => Just(" "),
        ];
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_lines(
            stream in streams(), cuts in prop::collection::vec(0_usize..400, 0..20),
            late: bool, max in 0_usize..30,
        ) {
            let whole = lines(stream.as_bytes(), &[], false, max);
            prop_assert_eq!(lines(stream.as_bytes(), &cuts, late, max), whole);
        }

        #[test]
        fn any_split_gives_the_same_events(
            stream in streams(), cuts in prop::collection::vec(0_usize..400, 0..20),
            late: bool, max in 0_usize..30,
        ) {
            let whole = events(stream.as_bytes(), &[], false, max);
            prop_assert_eq!(events(stream.as_bytes(), &cuts, late, max), whole);
        }

        #[test]
        fn events_are_those_of_the_standard(
            stream in streams(), cuts in prop::collection::vec(0_usize..400, 0..20),
        ) {
            let want: Events = by_the_book(&stream).into_iter().map(Ok).collect();
            prop_assert_eq!(events(stream.as_bytes(), &cuts, false, 10_000), want);
        }

        #[test]
        fn any_bytes_are_survived(stream: Vec<u8>, cuts in prop::collection::vec(0_usize..400, 0..9)) {
            let whole = events(&stream, &[], false, 16);
            prop_assert_eq!(events(&stream, &cuts, true, 16), whole);
            let whole = lines(&stream, &[], false, 16);
            prop_assert_eq!(lines(&stream, &cuts, true, 16), whole);
        }
    }
}
