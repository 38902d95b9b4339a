//! A large answer that is passed on while it comes in: its first bytes have shown that it can be.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use smallvec::SmallVec;
use tokio::time::Sleep;

use crate::base::{Fault, Kind, Sent, clock};
use crate::egress::Body;
use crate::proto::Era;
use crate::proto::passage::{Passage, Summary};

use super::exchange::RawId;

/// Answers larger than this are passed on while they come in; smaller ones are read whole, so that
/// what is wrong with them can be told.
pub const LARGE_FROM: usize = 256 * 1024;

/// Largest answer that is passed on in bytes: one without an end must end.
pub const LARGE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// A large answer as it comes in.
#[derive(Debug)]
pub struct Large {
    /// The id that it must carry.
    pub id: RawId,
    /// Its first bytes.
    pub first: Bytes,
    /// The rest.
    pub rest: Body,
}

impl Large {
    /// Mends it for a client from now on. `silence` = longest time without a byte, `guard` is held
    /// until the end.
    pub fn mend(
        self,
        client_id: &[u8],
        era: Era,
        silence: Duration,
        guard: Guard,
    ) -> Result<Mended, Fault> {
        let mut mended = Mended {
            passage: Some(Passage::new(&self.id, client_id, era)),
            ready: VecDeque::new(),
            bytes: 0,
            rest: self.rest,
            silence,
            timer: Box::pin(tokio::time::sleep(silence)),
            guard: Some(guard),
        };
        mended.pass(self.first)?;
        Ok(mended)
    }
}

/// What is held while an answer passes: it is told how the answer ended.
pub type Guard = Box<dyn Ending>;

/// Hears how an answer ended. Dropped unheard, the answer was given up.
pub trait Ending: Send {
    /// The answer has passed, or broke off.
    fn ended(&mut self, how: Result<Summary, &Fault>);
}

/// A large answer as its client gets it.
pub struct Mended {
    passage: Option<Passage>,
    ready: VecDeque<Bytes>,
    /// How many have come.
    bytes: u64,
    rest: Body,
    silence: Duration,
    timer: Pin<Box<Sleep>>,
    guard: Option<Guard>,
}

impl Mended {
    /// The next bytes; `None` at the end. After a fault nothing follows, and what has come before it
    /// is no answer.
    pub fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(piece)));
            }
            if self.passage.is_none() {
                return Poll::Ready(None);
            }
            let outcome = match ready!(self.poll_rest(context)) {
                Some(Ok(piece)) => self.pass(piece),
                Some(Err(fault)) => Err(fault),
                None => self.finish(),
            };
            if let Err(fault) = outcome {
                self.passage = None;
                self.ready.clear();
                if let Some(mut guard) = self.guard.take() {
                    guard.ended(Err(&fault));
                }
                return Poll::Ready(Some(Err(fault)));
            }
        }
    }

    /// The next bytes of the upstream, or that it is silent for too long.
    fn poll_rest(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        loop {
            match Pin::new(&mut self.rest).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(piece) = frame.into_data() {
                        self.timer.as_mut().reset((clock::now() + self.silence).into());
                        return Poll::Ready(Some(Ok(piece)));
                    }
                }
                Poll::Ready(Some(Err(fault))) => return Poll::Ready(Some(Err(fault))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    ready!(self.timer.as_mut().poll(context));
                    let text = format!("its answer stopped for {} s", self.silence.as_secs_f32());
                    let fault = Fault::upstream(Kind::Timeout, Sent::Maybe, text);
                    return Poll::Ready(Some(Err(fault)));
                }
            }
        }
    }

    fn pass(&mut self, piece: Bytes) -> Result<(), Fault> {
        self.bytes = self.bytes.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        if self.bytes > LARGE_BYTES_MAX {
            let text = format!("its answer is larger than {LARGE_BYTES_MAX} bytes");
            return Err(Fault::upstream(Kind::TooLarge, Sent::Maybe, text));
        }
        let mut out = SmallVec::new();
        if let Some(passage) = &mut self.passage {
            passage.push(piece, &mut out).map_err(|broken| broke(broken.to_string()))?;
        }
        self.ready.extend(out);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Fault> {
        let Some(passage) = self.passage.take() else { return Ok(()) };
        let summary = passage.finish().map_err(|broken| broke(broken.to_string()))?;
        if !summary.id_seen {
            return Err(broke("the answer carries no id".to_owned()));
        }
        if let Some(mut guard) = self.guard.take() {
            guard.ended(Ok(summary));
        }
        Ok(())
    }

    /// All of it at once, up to so many bytes, for a client that cannot have it piece by piece.
    pub async fn gather(mut self, bytes_max: usize) -> Result<Bytes, Fault> {
        let mut whole = BytesMut::new();
        loop {
            match std::future::poll_fn(|context| self.poll_piece(context)).await {
                Some(Ok(piece)) if whole.len() + piece.len() > bytes_max => {
                    let text = "its answer is too large for a client that must get it whole";
                    return Err(Fault::upstream(Kind::TooLarge, Sent::Maybe, text));
                }
                Some(Ok(piece)) => whole.extend_from_slice(&piece),
                Some(Err(fault)) => return Err(fault),
                None => return Ok(whole.freeze()),
            }
        }
    }
}

fn broke(message: String) -> Fault {
    Fault::upstream(Kind::Protocol, Sent::Maybe, message)
}

impl fmt::Debug for Mended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mended").field("rest", &self.rest).finish_non_exhaustive()
    }
}
