//! Pure: how we stand with a service on the internet: whether it may be called, and how it last
//! answered.

use std::time::{Duration, Instant};

use super::wait::secs_up;

/// How a service last answered. Told from real calls only: nothing is sent to find out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Not called yet.
    #[default]
    Unknown,
    /// It answers.
    Up,
    /// It does not, or it may not be called: why.
    Degraded(String),
}

/// Why a service is not called now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shut {
    pub(super) why: String,
    /// `None`: until the configuration changes.
    pub(super) wait: Option<Duration>,
}

impl Shut {
    /// The cause with the time of the next try.
    pub(super) fn text(&self) -> String {
        match self.wait {
            Some(wait) => format!("{}; next try in {} s", self.why, secs_up(wait)),
            None => format!("{}; live calls are stopped until the configuration changes", self.why),
        }
    }
}

/// The gate before a service.
#[derive(Debug, Default)]
pub(super) struct Gate {
    shut: Option<(String, Option<Instant>)>,
    standing: Standing,
}

impl Gate {
    /// Whether it may be called; a time that has passed opens the gate.
    pub(super) fn check(&mut self, now: Instant) -> Result<(), Shut> {
        match &self.shut {
            None => Ok(()),
            Some((_, Some(until))) if *until <= now => {
                self.shut = None;
                Ok(())
            }
            Some((why, until)) => {
                let wait = until.map(|until| until.saturating_duration_since(now));
                Err(Shut { why: why.clone(), wait })
            }
        }
    }

    /// No calls until then (`None`: until the configuration changes).
    pub(super) fn shut(&mut self, why: &str, until: Option<Instant>) {
        self.shut = Some((why.to_owned(), until));
        self.standing = Standing::Degraded(why.to_owned());
    }

    /// It answered.
    pub(super) fn answered(&mut self) {
        self.standing = Standing::Up;
    }

    /// It failed, and may be tried again.
    pub(super) fn failed(&mut self, why: &str) {
        self.standing = Standing::Degraded(why.to_owned());
    }

    pub(super) fn standing(&self) -> Standing {
        self.standing.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    #[test]
    fn a_shut_gate_opens_when_its_time_has_passed() {
        let (mut gate, now) = (Gate::default(), clock::now());
        assert_eq!(gate.check(now), Ok(()));
        let until = now + Duration::from_secs(30);
        gate.shut("rate limited", Some(until));
        let shut = gate.check(now).unwrap_err();
        assert_eq!(shut.text(), "rate limited; next try in 30 s");
        assert_eq!(gate.check(until), Ok(()));
        assert_eq!(gate.check(now), Ok(()), "and stays open");
        assert_eq!(gate.standing(), Standing::Degraded("rate limited".to_owned()));
        gate.answered();
        assert_eq!(gate.standing(), Standing::Up);
    }

    #[test]
    fn a_gate_without_a_time_stays_shut() {
        let (mut gate, now) = (Gate::default(), clock::now());
        gate.shut("bad key", None);
        let shut = gate.check(now + Duration::from_hours(1_000)).unwrap_err();
        assert_eq!(shut.text(), "bad key; live calls are stopped until the configuration changes");
    }
}
