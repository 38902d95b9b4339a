//! Pure: what looks at a replica found, and when the next one is due.

use std::time::Duration;

use super::spec::HealthSpec;

/// Looks in a row without an answer that make a replica suspect.
pub const SUSPECT_AFTER: u32 = 2;

/// What looks found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulse {
    /// Looks in a row that were answered.
    good: u32,
    /// Looks in a row that were not.
    misses: u32,
    /// A call had doubts: looks come fast until enough of them were answered.
    doubted: bool,
}

impl Pulse {
    /// A call had doubts.
    pub fn doubt(&mut self) {
        self.doubted = true;
        self.good = 0;
    }

    /// A look was answered or not.
    pub fn looked(&mut self, answered: bool, spec: &HealthSpec) {
        if answered {
            (self.good, self.misses) = (self.good.saturating_add(1), 0);
            self.doubted &= self.good < spec.rise;
        } else {
            (self.good, self.misses) = (0, self.misses.saturating_add(1));
        }
    }

    /// Looks in a row that were answered.
    pub fn good(&self) -> u32 {
        self.good
    }

    /// Looks in a row that were not answered.
    pub fn misses(&self) -> u32 {
        self.misses
    }

    /// It does not answer. It may be busy: the first answer clears it.
    pub fn is_suspect(&self) -> bool {
        self.misses >= SUSPECT_AFTER
    }

    /// Whether all is well, so that a look may be left out where calls succeed.
    pub fn is_calm(&self) -> bool {
        self.misses == 0 && !self.doubted
    }

    /// How long until the next look. One that does not answer is asked more and more rarely: each
    /// question waits in its pipe.
    pub fn wait(&self, spec: &HealthSpec) -> Duration {
        if self.is_calm() {
            return spec.interval;
        }
        let doubled = 1 << self.misses.saturating_sub(SUSPECT_AFTER).min(16);
        spec.fast_interval.saturating_mul(doubled).min(spec.interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_misses_make_it_suspect_and_one_answer_clears_it() {
        let (mut pulse, spec) = (Pulse::default(), HealthSpec::default());
        pulse.looked(false, &spec);
        assert!(!pulse.is_suspect() && !pulse.is_calm());
        pulse.looked(false, &spec);
        assert!(pulse.is_suspect());
        pulse.looked(true, &spec);
        assert!(!pulse.is_suspect());
        assert_eq!((pulse.good(), pulse.misses()), (1, 0));
    }

    #[test]
    fn looks_come_fast_while_there_is_doubt_and_rarely_while_there_is_no_answer() {
        let (mut pulse, spec) = (Pulse::default(), HealthSpec::default());
        assert_eq!(pulse.wait(&spec), spec.interval);
        pulse.doubt();
        assert_eq!(pulse.wait(&spec), spec.fast_interval);
        pulse.looked(true, &spec);
        assert_eq!(pulse.wait(&spec), spec.fast_interval, "one good look is not enough");
        pulse.looked(true, &spec);
        assert_eq!(pulse.wait(&spec), spec.interval);
        let waits: Vec<u64> = (0..7)
            .map(|_| {
                pulse.looked(false, &spec);
                pulse.wait(&spec).as_secs()
            })
            .collect();
        assert_eq!(waits, [1, 1, 2, 4, 8, 10, 10]);
    }
}
