//! Pure: what a gateway whose memory runs out still takes. A ladder: the nearer the limit, the less,
//! so that it never comes to the kernel, which would end everything at once.

use std::sync::atomic::{AtomicU8, Ordering};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// How near the limit the memory is. Each step includes the ones before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Enough.
    #[default]
    Calm,
    /// From 85 %: idle sessions are forgotten four times as soon.
    Thrifty,
    /// From 92 %: no new sessions and streams.
    Closed,
    /// From 95 %: no new requests.
    Refusing,
    /// From 98 %: standing streams end; their clients may come again.
    Shedding,
}

/// Each step and where it begins, in parts of a thousand of the limit.
const STEPS: [(Level, u64); 4] =
    [(Level::Shedding, 980), (Level::Refusing, 950), (Level::Closed, 920), (Level::Thrifty, 850)];

/// A step is left so many thousandths below where it begins, so that none of them flutters.
const SLACK: u64 = 20;

impl Level {
    /// Where one that was here is, with so many bytes used of the limit. No limit, no pressure.
    #[must_use]
    pub fn next(self, used: u64, limit: u64) -> Self {
        if limit == 0 {
            return Self::Calm;
        }
        let share = u128::from(used) * 1_000 / u128::from(limit);
        let holds = |(step, from): &(Self, u64)| {
            let from = if *step <= self { from - SLACK } else { *from };
            share >= u128::from(from)
        };
        STEPS.iter().find(|step| holds(step)).map_or(Self::Calm, |(step, _)| *step)
    }

    /// A number for the metric: 0 is calm, 4 the last step.
    pub fn number(self) -> u8 {
        match self {
            Self::Calm => 0,
            Self::Thrifty => 1,
            Self::Closed => 2,
            Self::Refusing => 3,
            Self::Shedding => 4,
        }
    }

    fn of(number: u8) -> Self {
        STEPS
            .map(|(step, _)| step)
            .into_iter()
            .find(|step| step.number() == number)
            .unwrap_or_default()
    }
}

/// The pressure that a front is under, for all its connections to see.
#[derive(Debug)]
pub struct Pressure {
    level: AtomicU8,
    /// Cancelled when everything stops.
    stop: CancellationToken,
    /// What ends the streams of now: a child of `stop`.
    streams: Mutex<CancellationToken>,
}

impl Pressure {
    /// None yet. `stop` ends all streams, whatever the pressure.
    pub fn new(stop: CancellationToken) -> Self {
        let streams = Mutex::new(stop.child_token());
        Self { level: AtomicU8::new(0), stop, streams }
    }

    /// The step it is at.
    pub fn level(&self) -> Level {
        Level::of(self.level.load(Ordering::Relaxed))
    }

    /// Whether a request is refused now.
    pub fn refuses(&self) -> bool {
        self.level() >= Level::Refusing
    }

    /// Whether a new session or stream is refused now.
    pub fn is_closed(&self) -> bool {
        self.level() >= Level::Closed
    }

    /// What ends a standing stream that begins now.
    pub fn stream(&self) -> CancellationToken {
        self.streams.lock().clone()
    }

    /// Goes to a step. At the last one the streams of now end.
    pub fn set(&self, level: Level) {
        self.level.store(level.number(), Ordering::Relaxed);
        if level >= Level::Shedding {
            std::mem::replace(&mut *self.streams.lock(), self.stop.child_token()).cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_begin_where_they_say_and_end_a_little_below() {
        let at = |level: Level, used| level.next(used, 1_000);
        for (used, step) in [
            (0, Level::Calm),
            (849, Level::Calm),
            (850, Level::Thrifty),
            (919, Level::Thrifty),
            (920, Level::Closed),
            (950, Level::Refusing),
            (979, Level::Refusing),
            (980, Level::Shedding),
            (5_000, Level::Shedding),
        ] {
            assert_eq!(at(Level::Calm, used), step, "{used}");
        }
        assert_eq!(at(Level::Shedding, 960), Level::Shedding);
        assert_eq!(at(Level::Shedding, 959), Level::Refusing);
        assert_eq!(at(Level::Refusing, 930), Level::Refusing);
        assert_eq!(at(Level::Refusing, 929), Level::Closed);
        assert_eq!(at(Level::Closed, 899), Level::Thrifty);
        assert_eq!(at(Level::Thrifty, 829), Level::Calm);
        assert_eq!(at(Level::Shedding, 0), Level::Calm);
    }

    #[test]
    fn without_a_limit_there_is_no_pressure_and_none_overflows() {
        assert_eq!(Level::Shedding.next(u64::MAX, 0), Level::Calm);
        assert_eq!(Level::Calm.next(u64::MAX, u64::MAX), Level::Shedding);
    }

    #[test]
    fn the_last_step_ends_the_streams_of_now_and_not_those_to_come() {
        let stop = CancellationToken::new();
        let pressure = Pressure::new(stop.clone());
        let first = pressure.stream();
        for level in [Level::Thrifty, Level::Closed, Level::Refusing] {
            pressure.set(level);
            assert_eq!(pressure.level(), level);
            assert!(!first.is_cancelled());
        }
        assert!(pressure.refuses() && pressure.is_closed());
        pressure.set(Level::Shedding);
        assert!(first.is_cancelled());
        let second = pressure.stream();
        assert!(!second.is_cancelled());
        pressure.set(Level::Calm);
        assert!(!pressure.refuses() && !pressure.is_closed());
        stop.cancel();
        assert!(second.is_cancelled());
    }
}
