//! What one call is to bring: what its server asks, and how it ends there; how its client behaves. All
//! of it is thrown beforehand, and what the server needs to know travels in the arguments.

use std::time::Duration;

use serde_json::{Value, json};

use crate::chance::Dice;

use super::books::Op;

/// What servers ask for.
pub(crate) const KINDS: [&str; 3] = ["elicitation/create", "sampling/createMessage", "roots/list"];

/// How a call ends at its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With a result, when all is answered.
    Well,
    /// With a result, though the last questions are open.
    Alone,
    /// Its server dies while the last questions are open.
    Dies,
    /// It never ends.
    Hangs,
    /// With a result, and one more question after it.
    AsksOn,
}

/// What a legacy client does about a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Answer,
    Decline,
    Error,
    /// It answers, and then answers the same otherwise.
    Twice,
    /// It answers a question that nobody asked, and then this one.
    Stray,
    Nothing,
}

/// What a modern client does when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comeback {
    Answers,
    /// With one answer less than it was asked.
    Partly,
    /// With an answer more.
    Extra,
    Declines,
    Never,
    /// When its state has expired.
    Late,
    /// Two times at once.
    Twice,
    /// With a state that differs by one character, and then rightly.
    Flipped,
    /// As another principal, and then rightly.
    Stranger,
    /// With other arguments, and then rightly.
    Otherwise,
    /// It leaves as soon as it has come back.
    Leaves,
    /// After the gateway was started anew.
    Restarted,
}

/// One call.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) upstream: usize,
    /// The kinds of questions of each round.
    pub(crate) rounds: Vec<Vec<&'static str>>,
    pub(crate) ending: Ending,
    /// How long the server works before each step, in milliseconds at most.
    pub(crate) pace: u64,
    pub(crate) reply: Reply,
    pub(crate) comebacks: Vec<Comeback>,
    /// How long a client thinks.
    pub(crate) think: Duration,
    /// It closes its stream after this time; a legacy one may come back after another.
    pub(crate) leaves: Option<(Duration, Option<Duration>)>,
    /// It cancels after this time.
    pub(crate) cancels: Option<Duration>,
}

impl Order {
    /// One of many.
    pub(crate) fn roll(dice: &mut Dice, upstreams: usize, peace: bool) -> Self {
        use Comeback::{
            Answers, Declines, Extra, Flipped, Late, Leaves, Never, Otherwise, Partly, Restarted,
            Stranger, Twice,
        };
        let mut rounds = Vec::new();
        for _ in 0..dice.pick(&[0, 1, 1, 1, 2, 3]) {
            rounds.push((0..dice.pick(&[1, 1, 2, 3])).map(|_| dice.pick(&KINDS)).collect());
        }
        let endings = [Ending::Well, Ending::Alone, Ending::Dies, Ending::Hangs, Ending::AsksOn];
        let unwell = !peace && dice.percent(25);
        let ending = if unwell { dice.pick(&endings) } else { Ending::Well };
        let replies = [Reply::Decline, Reply::Error, Reply::Twice, Reply::Stray, Reply::Nothing];
        let odd = !peace && dice.percent(40);
        let reply = if odd { dice.pick(&replies) } else { Reply::Answer };
        let all = [
            Partly, Extra, Declines, Never, Late, Twice, Flipped, Stranger, Otherwise, Leaves,
            Restarted,
        ];
        let comeback =
            |dice: &mut Dice| if peace || dice.coin() { Answers } else { dice.pick(&all) };
        let comebacks = (0..12).map(|_| comeback(dice)).collect();
        let leaving = !peace && dice.percent(20);
        let leaves = leaving.then(|| {
            let back = dice.percent(70).then(|| dice.millis(4_000));
            (dice.millis(1_500), back)
        });
        let cancels = (!peace && !leaving && dice.percent(15)).then(|| dice.millis(2_000));
        let (upstream, pace) = (dice.below(upstreams), dice.pick(&[0, 15, 300]));
        let think = dice.millis(2_000);
        Self { upstream, rounds, ending, pace, reply, comebacks, think, leaves, cancels }
    }

    /// What the server is told.
    pub(crate) fn arguments(&self, op: Op) -> Value {
        let ending = format!("{:?}", self.ending);
        json!({ "op": op, "rounds": self.rounds, "ending": ending, "pace": self.pace })
    }
}
