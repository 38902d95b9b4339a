//! stdin and stdout as one client: a message a line.
//!
//! Nobody is asked for a key here: whoever started the process is the one who calls.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::base::{Fault, Kind, Tasks};
use crate::gateway::{Gateway, answer};
use crate::proto::frame::{FrameError, LineFramer, line};

use super::intake::Intake;
use super::outbox::Outgoing;
use super::pipe::{Eras, Guest, LAST_WORDS, Pipe};

/// How much is read at once.
const READ_BYTES: usize = 64 * 1024;

/// Serves one client until its input ends or `tasks` is told to stop. What it has asked by then has a
/// moment still.
pub async fn serve<R, W>(gateway: Gateway, intake: Intake, tasks: &Tasks, input: R, output: W)
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let line_bytes_max = intake.limits().body_bytes_max;
    let guest = Guest { who: None, connection: 0, eras: Eras::Both };
    let (pipe, outgoing) = Pipe::open(gateway, Arc::new(intake), guest);
    let writer = tasks.spawn(write(output, outgoing));
    let stop = tasks.stop_token().clone();
    tokio::select! {
        () = read(&pipe, input, line_bytes_max) => {}
        () = stop.cancelled() => {}
    }
    pipe.end(LAST_WORDS).await;
    if tokio::time::timeout(LAST_WORDS, writer).await.is_err() {
        tracing::debug!("the client does not read its last answers");
    }
}

async fn read<R: AsyncRead + Unpin>(pipe: &Arc<Pipe>, mut input: R, line_bytes_max: usize) {
    let mut framer = LineFramer::new(line_bytes_max);
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(READ_BYTES);
        match input.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(_) => framer.push(buffer.split().freeze()),
        }
        while let Some(line) = framer.next_line() {
            take(pipe, line).await;
        }
    }
    if let Some(line) = framer.finish() {
        take(pipe, line).await;
    }
}

async fn take(pipe: &Arc<Pipe>, line: Result<Bytes, FrameError>) {
    let taken = match line {
        Ok(body) => pipe.take(body).await,
        Err(error) => {
            let fault = Fault::gateway(Kind::TooLarge, error.to_string());
            Err(answer::error(&fault, None).message(None).into())
        }
    };
    if let Err(error) = taken {
        pipe.say(error).await;
    }
}

async fn write<W: AsyncWrite + Unpin>(mut output: W, mut outgoing: Outgoing) {
    while let Some(message) = outgoing.next().await {
        if output.write_all(&line(&message)).await.is_err() || output.flush().await.is_err() {
            return;
        }
    }
}
