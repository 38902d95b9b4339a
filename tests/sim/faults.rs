//! The alphabet of faults: what a host does to one request, to one connection, and to all of it.

use std::time::Duration;

use crate::chance::Dice;

/// What a host does to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ill {
    /// HTTP 401: it did not run.
    Unauthorised,
    /// 404 for the session: it did not run, and the session is gone.
    SessionLost,
    /// 429 with or without `Retry-After`; it may have run.
    TooMany,
    /// 503 with or without `Retry-After`; it may have run.
    Unavailable,
    /// HTTP 500; it may have run.
    Broken,
    /// 502: something in front of it failed; it may have run.
    BadGateway,
    /// -32603; it may have run.
    Internal,
    /// -32020: it did not run.
    Mismatch,
    /// It ran, and the answer carries another id and other content.
    WrongId,
    /// It ran, and the answer is no JSON.
    Garbage,
    /// It ran, and is answered twice.
    Twice,
    /// It ran, and the answer breaks off, if it is long enough.
    CutAnswer,
    /// It ran, and the answer stops half-way for good, if it is long enough.
    StallAnswer,
    /// It may have run, and nothing comes.
    Hang,
    /// It may have run, and the host dies.
    Crash,
    /// It runs late.
    Slow,
}

const ILLS: [Ill; 16] = [
    Ill::Unauthorised,
    Ill::SessionLost,
    Ill::TooMany,
    Ill::Unavailable,
    Ill::Broken,
    Ill::BadGateway,
    Ill::Internal,
    Ill::Mismatch,
    Ill::WrongId,
    Ill::Garbage,
    Ill::Twice,
    Ill::CutAnswer,
    Ill::StallAnswer,
    Ill::Hang,
    Ill::Crash,
    Ill::Slow,
];

/// What happens to one connection, or to one start of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialled {
    Well,
    Refused,
    /// Nobody answers.
    Hole,
    /// It breaks after so many bytes of a request.
    Cut(usize),
    /// Nothing is read any more after so many bytes of a request.
    Deaf(usize),
}

/// How likely which fault is. Each seed has few kinds of them, often: what comes together should.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mix {
    ills: Vec<Ill>,
    ill_percent: u64,
    dial_percent: u64,
}

impl Mix {
    pub(crate) fn roll(dice: &mut Dice) -> Self {
        let share = dice.pick(&[5, 20, 50, 100]);
        let ills = ILLS.into_iter().filter(|_| dice.percent(share)).collect();
        let ill_percent = dice.pick(&[0, 2, 10, 30, 60]);
        let dial_percent = dice.pick(&[0, 0, 5, 30]);
        Self { ills, ill_percent, dial_percent }
    }

    /// One fault, always.
    pub(crate) fn only(ill: Ill) -> Self {
        Self { ills: vec![ill], ill_percent: 100, dial_percent: 0 }
    }

    /// Whether every request either reaches a server whole or is known not to.
    pub(crate) fn is_clear(&self) -> bool {
        self.dial_percent == 0
    }

    pub(crate) fn ill(&self, dice: &mut Dice) -> Option<Ill> {
        let ill = dice.percent(self.ill_percent.max(1)) && self.ill_percent > 0;
        (ill && !self.ills.is_empty()).then(|| dice.pick(&self.ills))
    }

    pub(crate) fn dialled(&self, dice: &mut Dice) -> Dialled {
        if self.dial_percent == 0 || !dice.percent(self.dial_percent) {
            return Dialled::Well;
        }
        let cut = dice.below(1_400);
        dice.pick(&[Dialled::Refused, Dialled::Hole, Dialled::Cut(cut), Dialled::Deaf(cut)])
    }
}

/// What happens to a whole host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
    /// It dies; its connections are closed by the system.
    Crash,
    /// It dies with its machine: its connections stay half-open.
    Vanish,
    /// It is stopped (SIGSTOP) and goes on later.
    Freeze,
    /// It forgets all sessions.
    Forget,
    /// It offers other tools, and says so where it can.
    Catalog,
    /// It writes to its log.
    Chatter,
}

/// What happens to a host at a moment of its life.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strike {
    pub(crate) at: Duration,
    pub(crate) host: usize,
    pub(crate) blow: Blow,
    /// How long it is down or stopped.
    pub(crate) lasts: Duration,
}

/// The blows of one world within `span`; in `peace` only such as do no harm.
pub(crate) fn strikes(dice: &mut Dice, hosts: usize, span: Duration, peace: bool) -> Vec<Strike> {
    const ALL: [Blow; 6] =
        [Blow::Crash, Blow::Vanish, Blow::Freeze, Blow::Forget, Blow::Catalog, Blow::Chatter];
    let harmless = |blow: &Blow| matches!(blow, Blow::Catalog | Blow::Chatter);
    let kinds = ALL.into_iter().filter(|blow| dice.coin() && (!peace || harmless(blow)));
    let kinds: Vec<Blow> = kinds.collect();
    let count = dice.pick(&[0, 1, 3, 10]);
    let millis = u64::try_from(span.as_millis()).unwrap();
    let mut all = Vec::new();
    for _ in 0..if kinds.is_empty() { 0 } else { count } {
        let at = Duration::from_millis(dice.between(0, millis));
        let lasts = Duration::from_millis(dice.pick(&[50, 500, 3_000, 20_000]));
        all.push(Strike { at, host: dice.below(hosts), blow: dice.pick(&kinds), lasts });
    }
    all.sort_by_key(|strike| strike.at);
    all
}
