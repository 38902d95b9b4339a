//! The simulation: calls come, gateways choose, replicas work.

use std::sync::Arc;
use std::time::{Duration, Instant};

use waypost::base::{Fault, Kind, Sent, clock};
use waypost::fleet::Effect;
use waypost::fleet::breaker::Pass;
use waypost::fleet::checks::Checks;
use waypost::fleet::outcome::Outcome;
use waypost::fleet::retry::{Tried, Verdict, decide};
use waypost::fleet::spec::{HedgeSpec, RetrySpec, TIMEOUT_MAX};

use crate::chance::Chance;
use crate::gateway::{Gateway, Keepers, Places, Wish};
use crate::prequal::Truth;
use crate::queue::{Event, Queue, Time, nanos};
use crate::rule::Rule;
use crate::server::{Mode, Server};
use crate::world::{Spread, Trouble, World};

/// A refusal or a failure takes so long.
const FAST: Time = 1_000_000;
/// The keeper finds out so long after a replica went: the first refused call makes it look.
const SEEN_GONE: Time = 100_000_000;
/// …and so long after it came back.
const SEEN_BACK: Time = 500_000_000;
/// Hedging needs to know a tool so well, and is for tools whose p95 lies between these.
const HEDGE_KNOWN: u32 = 100;
const HEDGE_FOR: std::ops::Range<Duration> = Duration::from_millis(20)..Duration::from_secs(10);

/// What a run adds up to.
pub(crate) struct Totals {
    /// Nanoseconds of each call that was answered or still waits at the end, by tool.
    pub(crate) times: Vec<Vec<Time>>,
    pub(crate) failed: u64,
    pub(crate) attempts: u64,
    /// Seconds that each replica worked, as a share of what it could.
    pub(crate) worked: Vec<f64>,
    pub(crate) most: u32,
    pub(crate) found_after: u32,
}

struct Call {
    /// Counts the calls that used this slot.
    turn: u32,
    open: bool,
    gateway: usize,
    tool: usize,
    came: Time,
    /// The replica of its session.
    home: Option<usize>,
    /// Seconds of work, if the call decides that and not chance.
    work: Option<f64>,
    attempts: u32,
    tried: Places,
    /// Attempts that it waits for.
    live: Places,
}

struct Attempt {
    turn: u32,
    call: u32,
    place: usize,
    began: Time,
    pass: Pass,
    checks: Checks,
    /// Nobody waits for it any more.
    over: bool,
    /// Calls at the replica when it came.
    held: u32,
    /// A worker is at it.
    worked_at: bool,
}

/// Chance, apart for each purpose: what comes is the same whatever a balancer does with it.
struct Chances {
    calls: Chance,
    work: Chance,
    brown: Chance,
    pick: Chance,
}

pub(crate) struct Sim {
    world: World,
    start: Instant,
    now: Time,
    queue: Queue,
    chances: Chances,
    gateways: Vec<Gateway>,
    keepers: Keepers,
    servers: Vec<Server>,
    calls: Vec<Call>,
    free_calls: Vec<u32>,
    attempts: Vec<Attempt>,
    free_attempts: Vec<u32>,
    truth: Option<Arc<Truth>>,
    totals: Totals,
}

/// Runs a scenario under a rule.
pub(crate) fn run(world: &World, rule: Rule, seed: u64) -> Totals {
    let mut sim = Sim::new(world, rule, seed);
    sim.set_up();
    let end = nanos(world.length);
    while let Some((at, event)) = sim.queue.pop() {
        if at > end {
            break;
        }
        sim.now = at;
        sim.step(event);
    }
    sim.now = end;
    sim.finish()
}

impl Sim {
    fn new(world: &World, rule: Rule, seed: u64) -> Self {
        let start = clock::now();
        let truth = Arc::new(Truth::new(world.replicas));
        let gateway = |_| Gateway::new(world, rule, &truth, start);
        let server = |place| Server::new(world.workers, world.slowness(place));
        let chance = |purpose: u64| Chance::new(seed * 16 + purpose);
        Self {
            world: *world,
            start,
            now: 0,
            queue: Queue::default(),
            chances: Chances {
                calls: chance(1),
                work: chance(2),
                brown: chance(3),
                pick: chance(4),
            },
            gateways: (0..world.gateways).map(gateway).collect(),
            keepers: Keepers { up: vec![true; world.replicas], lives: vec![1; world.replicas] },
            servers: (0..world.replicas).map(server).collect(),
            calls: Vec::new(),
            free_calls: Vec::new(),
            attempts: Vec::new(),
            free_attempts: Vec::new(),
            truth: (rule == Rule::Prequal).then_some(truth),
            totals: Totals {
                times: vec![Vec::new(); world.tools.len()],
                failed: 0,
                attempts: 0,
                worked: Vec::new(),
                most: 0,
                found_after: 0,
            },
        }
    }

    fn set_up(&mut self) {
        let first = nanos(self.chances.calls.exponential(1.0 / self.world.rate()));
        self.queue.push(first, Event::Arrive);
        if let Some(brown) = self.world.brown {
            for place in 0..self.world.replicas {
                let share = brown.lasts / (brown.lasts + brown.every);
                self.servers[place].brown = self.chances.brown.unit() < share;
                self.next_brown(place);
            }
        }
        // The slow replicas come first; trouble comes to those in the middle.
        let middle = |count: usize| {
            let first = self.world.replicas / 2;
            first..(first + count)
        };
        match self.world.trouble {
            Trouble::None => {}
            Trouble::Fail(count) => middle(count).for_each(|p| self.servers[p].mode = Mode::Fails),
            Trouble::Hang(count) => middle(count).for_each(|p| self.servers[p].mode = Mode::Hangs),
            Trouble::Roll { every, .. } => self.queue.push(nanos(every), Event::Roll(0)),
            Trouble::Flap { count, up, .. } => {
                for place in middle(count) {
                    let spread = self.chances.brown.unit() * up;
                    self.queue.push(nanos(spread), Event::Down(place as u32));
                }
            }
        }
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Arrive => self.arrive(),
            Event::Done(attempt) => self.done(attempt as usize),
            Event::Failed(attempt) => self.refused(attempt as usize),
            Event::Check(attempt, turn) => self.check(attempt as usize, turn),
            Event::Timeout(attempt, turn) => self.time_out(attempt as usize, turn),
            Event::Hedge(call, turn) => self.hedge(call as usize, turn),
            Event::Again(call, turn) => {
                if self.calls[call as usize].turn == turn {
                    self.dispatch(call as usize);
                }
            }
            Event::Brown(place) => {
                let server = &mut self.servers[place as usize];
                server.brown = !server.brown;
                self.next_brown(place as usize);
            }
            Event::Down(place) => self.down(place as usize),
            Event::Up(place) => self.up(place as usize),
            Event::Seen(place) => {
                let (place, up) = (place as usize, self.servers[place as usize].up);
                if up && !self.keepers.up[place] {
                    self.keepers.lives[place] += 1;
                }
                self.keepers.up[place] = up;
            }
            Event::Roll(first) => self.roll(first as usize),
        }
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_nanos(self.now)
    }

    // === what happens to replicas ===

    fn next_brown(&mut self, place: usize) {
        let Some(brown) = self.world.brown else { return };
        let mean = if self.servers[place].brown { brown.lasts } else { brown.every };
        let wait = nanos(self.chances.brown.exponential(mean));
        self.queue.push(self.now + wait, Event::Brown(place as u32));
    }

    fn roll(&mut self, first: usize) {
        let Trouble::Roll { percent, every, .. } = self.world.trouble else { return };
        let count = self.world.replicas * percent / 100;
        for nth in first..first + count {
            // Spread over the fleet, so that slow ones are not replaced together.
            let place = nth * 37 % self.world.replicas;
            self.queue.push(self.now, Event::Down(place as u32));
        }
        let next = (first + count) % self.world.replicas;
        self.queue.push(self.now + nanos(every), Event::Roll(next as u32));
    }

    fn down(&mut self, place: usize) {
        self.servers[place].up = false;
        self.queue.push(self.now + SEEN_GONE, Event::Seen(place as u32));
        let (Trouble::Roll { away, .. } | Trouble::Flap { away, .. }) = self.world.trouble else {
            return;
        };
        self.queue.push(self.now + nanos(away), Event::Up(place as u32));
        if matches!(self.world.trouble, Trouble::Flap { .. }) {
            // It dies: what it had is lost.
            let there = |a: &Attempt| !a.over && a.place == place;
            let lost: Vec<_> =
                (0..self.attempts.len()).filter(|n| there(&self.attempts[*n])).collect();
            for attempt in lost {
                let fault = Fault::upstream(Kind::Closed, Sent::Maybe, "");
                self.failed(attempt, &fault);
            }
        }
    }

    fn up(&mut self, place: usize) {
        self.servers[place].up = true;
        self.queue.push(self.now + SEEN_BACK, Event::Seen(place as u32));
        if let Trouble::Flap { up, .. } = self.world.trouble {
            self.queue.push(self.now + nanos(up), Event::Down(place as u32));
        }
    }

    // === what happens to calls ===

    fn arrive(&mut self) {
        let chance = &mut self.chances.calls;
        let wait = nanos(chance.exponential(1.0 / self.world.rate()));
        self.queue.push(self.now + wait, Event::Arrive);
        let (gateway, mut share) = (chance.below(self.world.gateways), chance.unit());
        let mut tool = 0;
        while tool + 1 < self.world.tools.len() && share >= self.world.tools[tool].share {
            share -= self.world.tools[tool].share;
            tool += 1;
        }
        let (sticks, home) = (chance.unit(), chance.below(self.world.replicas));
        let kind = &self.world.tools[tool];
        let work = match kind.spread {
            Spread::Pareto(shape) => Some(chance.pareto(kind.mean, shape)),
            Spread::Lognormal(_) => None,
        };
        let id = self.free_calls.pop().unwrap_or_else(|| {
            self.calls.push(Call::unused());
            (self.calls.len() - 1) as u32
        });
        let turn = self.calls[id as usize].turn;
        self.calls[id as usize] = Call {
            open: true,
            gateway,
            tool,
            came: self.now,
            home: (sticks < self.world.sticky).then_some(home),
            work,
            turn,
            ..Call::unused()
        };
        self.dispatch(id as usize);
    }

    /// Sends a call to a replica; `false` if there is none.
    fn dispatch(&mut self, id: usize) -> bool {
        let now = self.instant();
        let call = &self.calls[id];
        let gateway = &mut self.gateways[call.gateway];
        if let Some(raw) = &gateway.working.raw {
            raw.at(self.now);
        }
        if let Some(truth) = &self.truth {
            truth.at(self.now);
        }
        let wish = Wish {
            tried: &call.tried,
            tool: call.tool,
            half: self.world.tools[call.tool].half,
            first: call.attempts == 0,
            draw: self.chances.pick.bits(),
        };
        let chosen = match call.home {
            Some(home) => Some((home, gateway.vitals[home].pass())),
            None => gateway.choose(&self.keepers, &wish, now).map(|c| (c.place, c.pass)),
        };
        let Some((place, pass)) = chosen else {
            self.lose(id);
            return false;
        };
        gateway.vitals[place].load.begin();
        let checks = Checks::new(now, gateway.paces[call.tool].p99());
        let (call_id, began) = (id as u32, self.now);
        let attempt = self.free_attempts.pop().unwrap_or(self.attempts.len() as u32);
        let turn = self.attempts.get(attempt as usize).map_or(0, |old| old.turn);
        let due = self.after(now, checks.due());
        let held = self.servers[place].held;
        let new = Attempt {
            turn,
            call: call_id,
            place,
            began,
            pass,
            checks,
            over: false,
            held,
            worked_at: false,
        };
        if let Some(slot) = self.attempts.get_mut(attempt as usize) {
            *slot = new;
        } else {
            self.attempts.push(new);
        }
        self.queue.push(due, Event::Check(attempt, turn));
        if let Some(timeout) = self.world.timeout {
            self.queue.push(self.now + nanos(timeout), Event::Timeout(attempt, turn));
        }
        self.calls[id].live.push(attempt as usize);
        self.calls[id].attempts += 1;
        self.plan_hedge(id);
        self.reach(attempt, place);
        true
    }

    /// An attempt reaches its replica.
    fn reach(&mut self, attempt: u32, place: usize) {
        let server = &mut self.servers[place];
        server.comes();
        if !server.up || server.mode == Mode::Fails {
            self.queue.push(self.now + FAST, Event::Failed(attempt));
        } else if server.mode == Mode::Well {
            if server.working < server.workers {
                self.work(attempt, place);
            } else {
                server.waiting.push_back(attempt);
            }
        }
        self.tell(place);
    }

    fn work(&mut self, attempt: u32, place: usize) {
        let call = &self.calls[self.attempts[attempt as usize].call as usize];
        let tool = &self.world.tools[call.tool];
        let alone = call.work.unwrap_or_else(|| match tool.spread {
            Spread::Lognormal(sigma) => self.chances.work.lognormal(tool.mean, sigma),
            Spread::Pareto(shape) => self.chances.work.pareto(tool.mean, shape),
        });
        let server = &mut self.servers[place];
        let brown = self.world.brown.filter(|_| server.brown).map_or(1.0, |brown| brown.times);
        let takes = alone * server.slow * brown;
        server.working += 1;
        server.worked += takes;
        self.attempts[attempt as usize].worked_at = true;
        self.queue.push(self.now + nanos(takes).max(1), Event::Done(attempt));
    }

    fn done(&mut self, id: usize) {
        let attempt = &self.attempts[id];
        if attempt.worked_at {
            self.next_of(attempt.place);
        }
        if !self.attempts[id].over {
            self.answered(id);
        }
        self.release(id);
    }

    /// A worker has done with a call and takes the next one.
    fn next_of(&mut self, place: usize) {
        self.servers[place].working -= 1;
        while let Some(next) = self.servers[place].waiting.pop_front() {
            // One that was given up while it waited is not begun.
            if self.attempts[next as usize].over {
                self.release(next as usize);
                continue;
            }
            self.work(next, place);
            break;
        }
    }

    fn answered(&mut self, id: usize) {
        let (took, place, held) =
            (self.now - self.attempts[id].began, self.attempts[id].place, self.attempts[id].held);
        let call_id = self.attempts[id].call as usize;
        self.settle(id, &Outcome::RESULT);
        let call = &mut self.calls[call_id];
        let (gateway, tool) = (call.gateway, call.tool);
        if let Some(raw) = &self.gateways[gateway].working.raw {
            raw.record(place, took as f64 / 1e9, self.now);
        }
        if let Some(truth) = &self.truth {
            let relative = took as f64 / 1e9 / self.world.tools[tool].mean;
            truth.answered(place, held, relative, self.now);
        }
        let others = std::mem::take(&mut call.live);
        for other in others.into_iter().filter(|other| *other != id) {
            self.settle(other, &Outcome::GIVEN_UP);
            // To close its stream is to cancel it, and the replica stops.
            if std::mem::take(&mut self.attempts[other].worked_at) {
                self.next_of(self.attempts[other].place);
            }
        }
        let came = self.calls[call_id].came;
        if came >= nanos(self.world.from) {
            self.totals.times[tool].push(self.now - came);
            self.totals.attempts += u64::from(self.calls[call_id].attempts);
        }
        self.close(call_id);
    }

    /// The gateway has done with an attempt.
    fn settle(&mut self, id: usize, outcome: &Outcome) {
        let now = self.instant();
        let attempt = &mut self.attempts[id];
        attempt.over = true;
        attempt.turn += 1;
        let (place, pass) = (attempt.place, attempt.pass);
        let took = Duration::from_nanos(self.now - attempt.began);
        let call = &self.calls[attempt.call as usize];
        let gateway = &mut self.gateways[call.gateway];
        let what = (place, call.tool, pass);
        let draw = if outcome.failed() { self.chances.pick.bits() } else { 0 };
        gateway.settle(&self.keepers, what, outcome, took, (now, draw));
        gateway.vitals[place].load.end();
        self.servers[place].held -= 1;
        self.tell(place);
    }

    fn tell(&self, place: usize) {
        if let Some(truth) = &self.truth {
            truth.holds(place, self.servers[place].held);
        }
    }

    /// A replica refused an attempt, or failed at it.
    fn refused(&mut self, id: usize) {
        if !self.attempts[id].over {
            let fault = if self.servers[self.attempts[id].place].mode == Mode::Fails {
                Fault::upstream(Kind::Closed, Sent::Maybe, "")
            } else {
                Fault::upstream(Kind::Connect, Sent::No, "")
            };
            self.failed(id, &fault);
        }
        self.release(id);
    }

    fn time_out(&mut self, id: usize, turn: u32) {
        if self.attempts[id].turn == turn {
            let hangs = self.servers[self.attempts[id].place].mode == Mode::Hangs;
            self.failed(id, &Fault::upstream(Kind::Timeout, Sent::Maybe, ""));
            if hangs {
                self.release(id);
            }
        }
    }

    fn failed(&mut self, id: usize, fault: &Fault) {
        self.settle(id, &Outcome::of_fault(fault));
        let (call_id, place) = (self.attempts[id].call as usize, self.attempts[id].place);
        let call = &mut self.calls[call_id];
        call.live.retain(|other| *other != id);
        call.tried.push(place);
        if !call.live.is_empty() {
            return;
        }
        if !self.world.retries {
            return self.lose(call_id);
        }
        let (now, draw) = (self.instant(), self.chances.pick.bits());
        let call = &mut self.calls[call_id];
        let up = |place: &usize| self.keepers.up[*place];
        let tried = Tried {
            effect: Effect::ReadOnly,
            committed: false,
            attempts: call.attempts,
            fresh: (0..self.world.replicas).filter(|p| up(p) && !call.tried.contains(p)).count(),
            up: (0..self.world.replicas).filter(up).count(),
            usual: self.gateways[call.gateway].paces[call.tool].p50(),
            deadline: self.start + Duration::from_nanos(call.came) + TIMEOUT_MAX,
        };
        let budget = &mut self.gateways[call.gateway].retries;
        match decide(&RetrySpec::default(), &tried, fault, budget, (now, draw)) {
            Verdict::Again(wait) => {
                let at = self.now + wait.as_nanos() as Time;
                self.queue.push(at, Event::Again(call_id as u32, call.turn));
            }
            Verdict::Surface(_) => self.lose(call_id),
        }
    }

    /// A call failed for good.
    fn lose(&mut self, id: usize) {
        if self.calls[id].came >= nanos(self.world.from) {
            self.totals.failed += 1;
            self.totals.attempts += u64::from(self.calls[id].attempts);
            // It is a call all the same; how long a failure took says nothing.
        }
        self.close(id);
    }

    fn check(&mut self, id: usize, turn: u32) {
        if self.attempts[id].turn != turn {
            return;
        }
        let now = self.instant();
        let attempt = &mut self.attempts[id];
        let age = attempt.checks.pass(now);
        let call = &self.calls[attempt.call as usize];
        let gateway = &self.gateways[call.gateway];
        gateway.vitals[attempt.place].load.at_least(age.relative(&gateway.paces[call.tool]), now);
        let due = attempt.checks.due();
        let due = self.after(now, due);
        self.queue.push(due, Event::Check(id as u32, turn));
    }

    fn plan_hedge(&mut self, id: usize) {
        let call = &self.calls[id];
        if !self.world.hedge || call.attempts != 1 {
            return;
        }
        let pace = &self.gateways[call.gateway].paces[call.tool];
        let p95 = pace.p95().filter(|p95| pace.count() >= HEDGE_KNOWN && HEDGE_FOR.contains(p95));
        if let Some(p95) = p95 {
            let wait = p95.max(HedgeSpec::default().delay_min);
            let at = self.now + wait.as_nanos() as Time;
            self.queue.push(at, Event::Hedge(id as u32, call.turn));
        }
    }

    fn hedge(&mut self, id: usize, turn: u32) {
        if self.calls[id].turn != turn {
            return;
        }
        let now = self.instant();
        let call = &mut self.calls[id];
        if !self.gateways[call.gateway].hedges.spend(1.0, now) {
            return;
        }
        let places = call.live.iter().map(|attempt| self.attempts[*attempt].place);
        let places: Places = places.collect();
        call.tried.extend(places);
        self.dispatch(id);
    }

    fn after(&self, now: Instant, due: Instant) -> Time {
        self.now + due.saturating_duration_since(now).as_nanos() as Time
    }

    fn close(&mut self, id: usize) {
        self.calls[id].open = false;
        self.calls[id].turn += 1;
        self.free_calls.push(id as u32);
    }

    fn release(&mut self, id: usize) {
        self.attempts[id].turn += 1;
        self.free_attempts.push(id as u32);
    }

    fn finish(mut self) -> Totals {
        let from = nanos(self.world.from);
        for call in self.calls.iter().filter(|call| call.open && call.came >= from) {
            self.totals.times[call.tool].push(self.now - call.came);
            self.totals.attempts += u64::from(call.attempts);
        }
        let length = self.world.length;
        let share = |s: &Server| (s.worked / f64::from(s.workers) / length).min(1.0);
        self.totals.worked = self.servers.iter().map(share).collect();
        self.totals.most = self.servers.iter().map(|server| server.most).max().unwrap_or(0);
        let first = self.gateways.iter().flat_map(|gateway| &gateway.first);
        self.totals.found_after = first.map(|(count, _)| *count).max().unwrap_or(0);
        self.totals
    }
}

impl Call {
    fn unused() -> Self {
        Self {
            turn: 0,
            open: false,
            gateway: 0,
            tool: 0,
            came: 0,
            home: None,
            work: None,
            attempts: 0,
            tried: Places::new(),
            live: Places::new(),
        }
    }
}
