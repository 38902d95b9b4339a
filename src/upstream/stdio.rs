//! A child's pipes as a channel: a writer task with a bounded queue, and a reader task. One message
//! is one line.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

use crate::base::{Fault, Kind, Sent, Tasks};
use crate::proto::Abilities;
use crate::proto::frame::LineFramer;
use crate::proto::splice::one_line;

use super::channel::{Channel, Garbage, Outlet, Sending};
use super::mux::ended;

/// Most messages that wait to be written to one child.
pub const QUEUE_MAX: usize = 256;
/// Most bytes that wait to be written to one child.
pub const QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A child that does not read for so long hangs.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest line of a child in bytes.
pub const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How much is read at once.
const READ_BYTES: usize = 64 * 1024;

/// Takes over the pipes of a child. The tasks end when the channel closes, and it closes when they
/// end. `declared` = what the child is told that its clients can be asked.
pub fn open(
    stdin: impl AsyncWrite + Send + Unpin + 'static,
    stdout: impl AsyncRead + Send + Unpin + 'static,
    declared: Abilities,
    tasks: &Tasks,
) -> Arc<Channel> {
    let (lines, waiting) = mpsc::channel(QUEUE_MAX);
    let bytes = Arc::new(AtomicUsize::new(0));
    let channel = Channel::new(Queue { lines, bytes: Arc::clone(&bytes) }, declared);
    tasks.spawn(write(Arc::clone(&channel), stdin, waiting, bytes));
    tasks.spawn(read(Arc::clone(&channel), stdout));
    channel
}

/// A message on its way to the child.
#[derive(Debug)]
struct Line {
    body: Vec<u8>,
    /// The request it belongs to; `None` for notifications and our answers.
    number: Option<u64>,
}

/// What waits to be written.
#[derive(Debug)]
struct Queue {
    lines: mpsc::Sender<Line>,
    bytes: Arc<AtomicUsize>,
}

impl Queue {
    fn put(&self, number: Option<u64>, body: Vec<u8>) -> Result<(), Fault> {
        let mut body = one_line(body);
        body.push(b'\n');
        let bytes = body.len();
        let before = self.bytes.fetch_add(bytes, Ordering::AcqRel);
        // One message alone always fits: its own size was bounded at the front.
        let fits = before == 0 || before + bytes <= QUEUE_BYTES_MAX;
        if fits && self.lines.try_send(Line { body, number }).is_ok() {
            return Ok(());
        }
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        let text = "its queue of unwritten messages is full";
        Err(Fault::upstream(Kind::Overloaded, Sent::No, text))
    }
}

impl Outlet for Queue {
    fn send(&self, number: u64, body: Vec<u8>) -> Result<Option<Sending>, Fault> {
        self.put(Some(number), body).map(|()| None)
    }

    fn tell(&self, body: Vec<u8>) -> Result<(), Fault> {
        self.put(None, body)
    }

    fn let_go(&self, _sending: Sending, _last: Option<Vec<u8>>) {
        debug_assert!(false, "what is queued goes out by itself");
    }
}

async fn write(
    channel: Arc<Channel>,
    mut stdin: impl AsyncWrite + Unpin,
    mut waiting: mpsc::Receiver<Line>,
    bytes: Arc<AtomicUsize>,
) {
    loop {
        let line = tokio::select! {
            biased;
            () = channel.closed() => None,
            line = waiting.recv() => line,
        };
        let Some(line) = line else { return };
        bytes.fetch_sub(line.body.len(), Ordering::AcqRel);
        if line.number.is_some_and(|number| !channel.writing(number)) {
            continue; // given up before it was written
        }
        let mut written = 0;
        let write = async {
            while let Some(rest) = line.body.get(written..).filter(|rest| !rest.is_empty()) {
                match stdin.write(rest).await? {
                    0 => return Err(std::io::ErrorKind::WriteZero.into()),
                    more => written += more,
                }
            }
            stdin.flush().await
        };
        let outcome = tokio::select! {
            biased;
            () = channel.closed() => return,
            outcome = tokio::time::timeout(WRITE_TIMEOUT, write) => outcome,
        };
        let fault = match outcome {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => ended(format!("it closed its stdin: {error}")),
            Err(_) => ended("it does not read its stdin".to_owned()),
        };
        if let Some(number) = line.number.filter(|_| written == 0) {
            channel.unwritten(number);
        }
        return channel.close(&fault);
    }
}

async fn read(channel: Arc<Channel>, mut stdout: impl AsyncRead + Unpin) {
    let mut framer = LineFramer::new(LINE_BYTES_MAX);
    let mut garbage = Garbage::default();
    let mut buffer = BytesMut::new();
    let fault = loop {
        buffer.reserve(READ_BYTES);
        let read = tokio::select! {
            biased;
            () = channel.closed() => return,
            read = stdout.read_buf(&mut buffer) => read,
        };
        match read {
            Ok(0) => break ended("it ended".to_owned()),
            Ok(_) => framer.push(buffer.split().freeze()),
            Err(error) => break ended(format!("its stdout broke: {error}")),
        }
        if let Err(fault) = take_lines(&channel, &mut framer, &mut garbage) {
            break fault;
        }
    };
    channel.close(&fault);
}

fn take_lines(
    channel: &Arc<Channel>,
    framer: &mut LineFramer,
    garbage: &mut Garbage,
) -> Result<(), Fault> {
    while let Some(line) = framer.next_line() {
        let line = line.map_err(|error| {
            let message = format!("it wrote too long a line: {error}");
            Fault::upstream(Kind::TooLarge, Sent::Maybe, message)
        })?;
        channel.take(&line, garbage)?;
    }
    Ok(())
}
