//! What a child writes to stderr: read at all times, since a full pipe stops the child; kept as a
//! tail for error texts; shown in the log a few lines a second. A flood costs bounded memory, and
//! bounded work, because it is read no faster than [`READ_BYTES_PER_S`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use memchr::{memchr, memchr_iter, memrchr};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::base::{ReplicaName, Tasks, UpstreamName, clock};

/// How much of the last text is kept.
pub const TAIL_BYTES: usize = 64 * 1024;
/// How many lines of one child are logged a second.
pub const LOG_LINES_PER_S: u32 = 20;
/// How much of a line is logged.
pub const LOG_LINE_BYTES: usize = 2 * 1024;
/// How fast a child may write before it has to wait for us.
pub const READ_BYTES_PER_S: usize = 64 * 1024 * 1024;

const READ_BYTES: usize = 64 * 1024;
/// The share of a second over which the reading speed is measured.
const SLICE: Duration = Duration::from_millis(100);
const SLICE_BYTES: usize = READ_BYTES_PER_S / 10;

/// The last text a child wrote to stderr. Clones show the same child.
#[derive(Clone, Debug, Default)]
pub struct StderrTail(Arc<Mutex<Ring>>);

impl StderrTail {
    /// Starts reading `stderr` to its end on `tasks`, and answers the tail that it fills.
    pub fn drain(
        tasks: &Tasks,
        stderr: impl AsyncRead + Send + Unpin + 'static,
        upstream: UpstreamName,
        replica: ReplicaName,
    ) -> Self {
        let tail = Self::default();
        // Not ended by the stop token: the child must not block on stderr while it is stopped.
        // The end of its process tree is the end of the pipe.
        tasks.spawn(tail.clone().read(stderr, upstream, replica));
        tail
    }

    /// The last text, from the start of a line, with what is not UTF-8 replaced.
    pub fn text(&self) -> String {
        self.0.lock().text()
    }

    /// The last line that is not blank, as the log shows it: for one-line error texts.
    pub fn last_line(&self) -> Option<String> {
        let text = self.text();
        text.lines().rev().find(|line| !line.trim().is_empty()).map(|line| clean(line.as_bytes()))
    }

    async fn read(
        self,
        mut stderr: impl AsyncRead + Unpin,
        upstream: UpstreamName,
        replica: ReplicaName,
    ) {
        let mut buffer = BytesMut::with_capacity(READ_BYTES);
        let mut log = LineLog::new(clock::now());
        let (mut slice_end, mut slice_bytes) = (clock::now() + SLICE, 0);
        loop {
            buffer.clear();
            match stderr.read_buf(&mut buffer).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => break,
            }
            self.0.lock().push(&buffer);
            let now = clock::now();
            log.feed(&buffer, now, |entry| show(&upstream, &replica, entry));
            slice_bytes += buffer.len();
            if now >= slice_end {
                (slice_end, slice_bytes) = (now + SLICE, 0);
            } else if slice_bytes >= SLICE_BYTES {
                tokio::time::sleep_until(slice_end.into()).await;
            }
        }
        log.finish(|entry| show(&upstream, &replica, entry));
    }
}

fn show(upstream: &UpstreamName, replica: &ReplicaName, entry: Entry<'_>) {
    match entry {
        Entry::Line(line) => {
            tracing::info!(target: "waypost::stderr", %upstream, %replica, line = clean(line));
        }
        Entry::Hidden(lines) => {
            let note = "more lines on stderr than the log shows";
            tracing::info!(target: "waypost::stderr", %upstream, %replica, lines, note);
        }
    }
}

/// The line as text that is safe in a terminal and a log file: no control characters.
fn clean(line: &[u8]) -> String {
    let shown = line.get(..LOG_LINE_BYTES).unwrap_or(line);
    let text = String::from_utf8_lossy(shown);
    let blank = |c: char| if c.is_control() { ' ' } else { c };
    let text: String = text.chars().map(blank).collect();
    text.trim_end().to_owned()
}

/// The last [`TAIL_BYTES`] of a stream.
#[derive(Debug, Default)]
struct Ring {
    bytes: VecDeque<u8>,
    /// Something before them was dropped.
    cut: bool,
}

impl Ring {
    fn push(&mut self, chunk: &[u8]) {
        let skip = chunk.len().saturating_sub(TAIL_BYTES);
        let chunk = chunk.get(skip..).unwrap_or(chunk);
        let excess = (self.bytes.len() + chunk.len()).saturating_sub(TAIL_BYTES);
        self.cut |= skip + excess > 0;
        self.bytes.drain(..excess);
        self.bytes.extend(chunk);
    }

    fn text(&self) -> String {
        let (front, back) = self.bytes.as_slices();
        let bytes = [front, back].concat();
        let from = if self.cut { memchr(b'\n', &bytes).map_or(0, |at| at + 1) } else { 0 };
        String::from_utf8_lossy(bytes.get(from..).unwrap_or_default()).into_owned()
    }
}

/// What goes to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry<'a> {
    Line(&'a [u8]),
    /// So many lines were left out in the last second.
    Hidden(u64),
}

/// Cuts the stream into lines and lets [`LOG_LINES_PER_S`] of them through.
#[derive(Debug)]
struct LineLog {
    /// The start of a line whose end has not come, up to what is logged of it.
    carry: Vec<u8>,
    second_end: Instant,
    shown: u32,
    hidden: u64,
}

impl LineLog {
    fn new(now: Instant) -> Self {
        let second_end = now + Duration::from_secs(1);
        Self { carry: Vec::new(), second_end, shown: 0, hidden: 0 }
    }

    fn feed(&mut self, mut chunk: &[u8], now: Instant, mut out: impl FnMut(Entry<'_>)) {
        if now >= self.second_end {
            self.second_end = now + Duration::from_secs(1);
            self.shown = 0;
            let hidden = std::mem::take(&mut self.hidden);
            if hidden > 0 {
                out(Entry::Hidden(hidden));
            }
        }
        while self.shown < LOG_LINES_PER_S
            && let Some(end) = memchr(b'\n', chunk)
        {
            let (line, rest) = chunk.split_at(end);
            chunk = rest.get(1..).unwrap_or_default();
            self.show(line, &mut out);
        }
        if let Some(last) = memrchr(b'\n', chunk) {
            // The budget is spent: count the lines, look at none.
            self.carry.clear();
            self.hidden += memchr_iter(b'\n', chunk).map(|_| 1_u64).sum::<u64>();
            chunk = chunk.get(last + 1..).unwrap_or_default();
        }
        self.keep(chunk);
    }

    fn finish(mut self, mut out: impl FnMut(Entry<'_>)) {
        if self.hidden > 0 {
            out(Entry::Hidden(self.hidden));
        }
        self.show(&[], &mut out);
    }

    fn show(&mut self, end: &[u8], out: &mut impl FnMut(Entry<'_>)) {
        let carried = std::mem::take(&mut self.carry);
        let joined;
        let line = if carried.is_empty() {
            end
        } else {
            joined = [&carried, end].concat();
            &joined
        };
        if !line.trim_ascii().is_empty() {
            self.shown += 1;
            out(Entry::Line(line));
        }
    }

    fn keep(&mut self, chunk: &[u8]) {
        let room = LOG_LINE_BYTES.saturating_sub(self.carry.len());
        self.carry.extend_from_slice(chunk.get(..room).unwrap_or(chunk));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Instant {
        clock::now()
    }

    /// Feeds chunks at their milliseconds and answers what went to the log.
    fn logged(chunks: &[(u64, &[u8])]) -> Vec<String> {
        let start = start();
        let mut log = LineLog::new(start);
        let mut out = Vec::new();
        let mut take = |entry: Entry<'_>| {
            out.push(match entry {
                Entry::Line(line) => clean(line),
                Entry::Hidden(lines) => format!("+{lines}"),
            });
        };
        for (at, chunk) in chunks {
            log.feed(chunk, start + Duration::from_millis(*at), &mut take);
        }
        log.finish(&mut take);
        out
    }

    #[test]
    fn lines_are_put_together_over_chunks() {
        let got = logged(&[(0, b"one\r\ntw"), (1, b"o\n\n \nthr"), (2, b"ee")]);
        assert_eq!(got, ["one", "two", "three"]);
    }

    #[test]
    fn twenty_lines_a_second_are_shown_and_the_rest_is_counted() {
        let flood = b"x\n".repeat(1_000);
        let got = logged(&[(0, &flood), (500, &flood), (1_000, b"calm\n"), (1_100, b"again\n")]);
        assert_eq!(got[..20], vec!["x"; 20]);
        assert_eq!(got[20..], ["+1980", "calm", "again"]);
    }

    #[test]
    fn the_log_is_safe_from_control_characters_and_long_lines() {
        let got = logged(&[(0, b"\x1b[31mred\x07\0\n")]);
        assert_eq!(got, [" [31mred"]);
        let (long, mut log) = (vec![b'x'; 100_000], LineLog::new(start()));
        for _ in 0..10 {
            log.feed(&long, start(), |_| panic!("no line has ended"));
            assert!(log.carry.capacity() <= 2 * LOG_LINE_BYTES);
        }
        assert_eq!(logged(&[(0, &long)])[0].len(), LOG_LINE_BYTES);
    }

    #[test]
    fn the_ring_keeps_the_last_text_from_the_start_of_a_line() {
        let mut ring = Ring::default();
        ring.push(b"first\nsecond");
        assert_eq!(ring.text(), "first\nsecond");
        for line in 0..20_000 {
            ring.push(format!("line {line}\n").as_bytes());
        }
        assert_eq!(ring.bytes.len(), TAIL_BYTES);
        let text = ring.text();
        assert!(text.starts_with("line ") && text.ends_with("line 19999\n"), "{text:.20}");
        ring.push(&vec![b'x'; 3 * TAIL_BYTES]);
        assert_eq!(ring.text().len(), TAIL_BYTES);
        assert!(ring.bytes.capacity() <= 2 * TAIL_BYTES);
    }

    #[test]
    fn the_last_line_tells_why() {
        let tail = StderrTail::default();
        assert_eq!(tail.last_line(), None);
        tail.0.lock().push(b"npm error\n  code E404  \n\n");
        assert_eq!(tail.last_line().as_deref(), Some("  code E404"));
    }
}
