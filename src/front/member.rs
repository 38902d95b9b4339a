//! What one principal has in hand of the gateway, each with its bound: calls in flight, sessions,
//! streams, and how fast it asks. What one of them takes is not taken from the others.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::base::{Bucket, Fault, Kind, Principal, PrincipalName};

use super::body::Counted;
use super::spec::ShareSpec;

/// What a client that is at a bound should wait before it tries again.
const AT_A_BOUND: Duration = Duration::from_secs(1);

/// A principal and what it has in hand.
#[derive(Debug)]
pub struct Member {
    who: Arc<Principal>,
    share: ShareSpec,
    inflight: Arc<AtomicUsize>,
    sessions: Arc<AtomicUsize>,
    streams: Arc<AtomicUsize>,
    bucket: Mutex<Bucket>,
}

impl Member {
    /// The principal of this name, with nothing in hand.
    pub fn new(name: PrincipalName, share: ShareSpec) -> Self {
        let (inflight, sessions, streams) = Default::default();
        let bucket = Mutex::new(Bucket::per_second(share.rate, share.burst));
        Self { who: Arc::new(Principal::new(name)), share, inflight, sessions, streams, bucket }
    }

    /// Who it is.
    pub fn who(&self) -> &Arc<Principal> {
        &self.who
    }

    /// Whether it is the same principal with the same share.
    pub fn is_like(&self, other: &Self) -> bool {
        self.who == other.who && self.share == other.share
    }

    /// One more request. It counts as in flight as long as the answer is held; one that is refused
    /// counts as nothing.
    pub fn ask(&self, now: Instant) -> Result<Counted, Fault> {
        let max = self.share.inflight_max;
        let counted = self.enter(&self.inflight, max, "calls in flight")?;
        self.bucket.lock().take(now).map_err(|wait| {
            let text = format!(
                "{} asks more often than {} times a second",
                self.who.name(),
                self.share.rate
            );
            Fault::gateway(Kind::RateLimited, text).retry_after(wait)
        })?;
        Ok(counted)
    }

    /// One more session, as long as the answer is held.
    pub fn open_session(&self) -> Result<Counted, Fault> {
        self.enter(&self.sessions, self.share.sessions_max, "sessions")
    }

    /// One more stream, as long as the answer is held.
    pub fn open_stream(&self) -> Result<Counted, Fault> {
        self.enter(&self.streams, self.share.streams_max, "open streams")
    }

    fn enter(&self, count: &Arc<AtomicUsize>, max: usize, what: &str) -> Result<Counted, Fault> {
        Counted::enter(count, max).ok_or_else(|| {
            let text = format!("{} is at its bound of {max} {what}", self.who.name());
            Fault::gateway(Kind::Overloaded, text).retry_after(Some(AT_A_BOUND))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    fn member(share: ShareSpec) -> Member {
        Member::new(PrincipalName::new("alice").unwrap(), share)
    }

    #[test]
    fn calls_in_flight_are_bounded_and_given_back() {
        let member = member(ShareSpec { inflight_max: 2, ..ShareSpec::default() });
        let now = clock::now();
        let (one, _two) = (member.ask(now).unwrap(), member.ask(now).unwrap());
        let refused = member.ask(now).unwrap_err();
        assert_eq!(refused.to_string(), "alice is at its bound of 2 calls in flight");
        assert_eq!((refused.kind, refused.retry_after), (Kind::Overloaded, Some(AT_A_BOUND)));
        drop(one);
        assert!(member.ask(now).is_ok());
    }

    #[test]
    fn the_rate_is_bounded_and_a_refusal_takes_no_place() {
        let share = ShareSpec { inflight_max: 1, rate: 10, burst: 2, ..ShareSpec::default() };
        let (member, now) = (member(share), clock::now());
        assert!(member.ask(now).is_ok() && member.ask(now).is_ok());
        for _ in 0..5 {
            let refused = member.ask(now).unwrap_err();
            assert_eq!(refused.kind, Kind::RateLimited);
            assert_eq!(refused.retry_after, Some(Duration::from_millis(100)));
        }
        assert!(member.ask(now + Duration::from_millis(100)).is_ok());
    }

    #[test]
    fn a_call_that_finds_no_place_spends_no_token() {
        let share = ShareSpec { inflight_max: 1, rate: 1, burst: 2, ..ShareSpec::default() };
        let (member, now) = (member(share), clock::now());
        let one = member.ask(now).unwrap();
        assert_eq!(member.ask(now).unwrap_err().kind, Kind::Overloaded);
        drop(one);
        assert!(member.ask(now).is_ok());
    }

    #[test]
    fn sessions_and_streams_are_bounded_each_for_itself() {
        let share = ShareSpec { sessions_max: 1, streams_max: 1, ..ShareSpec::default() };
        let member = member(share);
        let (_session, _stream) = (member.open_session().unwrap(), member.open_stream().unwrap());
        assert!(member.open_session().is_err() && member.open_stream().is_err());
    }
}
