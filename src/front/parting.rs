//! Pure: when the gateway ends the stream of a call before its answer, so that its client comes back
//! for the rest (2025-11-25, basic/transports, "Sending Messages to the Server").

use std::time::Duration;

/// A stream of a call is open for so long at most. Many proxies cut an answer that lasts 5 minutes,
/// and some of them tell nobody: it is better to end it in good order.
pub const STREAM_MAX: Duration = Duration::from_mins(4);
/// How soon a client may come back, unless its upstream is away for longer or shorter.
pub const COME_BACK: Duration = Duration::from_secs(1);

/// Whether a stream ends that was open for so long and has nothing to say: after how long its client
/// may come back. `away` = its upstream ended its own stream, and is asked again after so long.
pub fn parting(open: Duration, away: Option<Duration>) -> Option<Duration> {
    away.or((open >= STREAM_MAX).then_some(COME_BACK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_ends_after_its_time_or_with_that_of_its_upstream() {
        let (short, wait) = (STREAM_MAX.mul_f64(0.999), Duration::from_secs(7));
        assert_eq!(parting(short, None), None);
        assert_eq!(parting(STREAM_MAX, None), Some(COME_BACK));
        for open in [Duration::ZERO, STREAM_MAX] {
            assert_eq!(parting(open, Some(wait)), Some(wait));
        }
    }
}
