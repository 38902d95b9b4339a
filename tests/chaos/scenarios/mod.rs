//! The scenarios by name, and the run over them.

mod answers;
mod changes;
mod children;
mod cuts;
mod overload;
mod processes;
mod sessions;

use std::pin::Pin;
use std::time::Instant;

use crate::options::Options;
use crate::report::{Ending, Figure, HEAD, Row, summary};
use crate::rig::Rig;

/// A scenario at work.
type Work<'r> = Pin<Box<dyn Future<Output = anyhow::Result<Vec<Figure>>> + 'r>>;

/// What a scenario does, or why it does nothing.
enum Does {
    Run(fn(&mut Rig) -> Work<'_>),
    NotYet(&'static str),
}

struct Scenario {
    name: &'static str,
    injects: &'static str,
    /// Part of the short run.
    short: bool,
    does: Does,
}

const fn scenario(
    name: &'static str,
    injects: &'static str,
    short: bool,
    run: fn(&mut Rig) -> Work<'_>,
) -> Scenario {
    Scenario { name, injects, short, does: Does::Run(run) }
}

const fn not_yet(
    name: &'static str,
    injects: &'static str,
    short: bool,
    why: &'static str,
) -> Scenario {
    Scenario { name, injects, short, does: Does::NotYet(why) }
}

/// Every scenario, in the order of its number.
const ALL: &[Scenario] = &[
    scenario("C1", "kill -9 of one HTTP replica every 5 s", true, |rig| {
        Box::pin(processes::killed(rig))
    }),
    scenario("C2", "SIGSTOP of one replica, then SIGCONT", true, |rig| {
        Box::pin(processes::stopped(rig))
    }),
    scenario("C3", "two of four replicas hang", false, |rig| Box::pin(processes::half_hangs(rig))),
    scenario("C4", "all replicas down", false, |rig| Box::pin(processes::all_down(rig))),
    scenario("C5", "one replica dies and comes back every 2 s", false, |rig| {
        Box::pin(processes::flapping(rig))
    }),
    scenario("C6", "a child that exits as soon as it starts", true, |rig| {
        Box::pin(children::crash_loop(rig))
    }),
    scenario("C7", "children that ignore SIGTERM, hide and close stdout", true, |rig| {
        Box::pin(children::stubborn(rig))
    }),
    scenario("C8", "floods of stderr, garbage, lines without end", false, |rig| {
        Box::pin(children::floods(rig))
    }),
    scenario("C9", "a child that reads no more", false, |rig| Box::pin(children::deaf(rig))),
    scenario("C10", "a connection that swallows everything", false, |rig| {
        Box::pin(cuts::half_open(rig))
    }),
    scenario("C11", "resets at random bytes of requests and answers", true, |rig| {
        Box::pin(cuts::resets(rig))
    }),
    scenario("C12", "an event stream cut at every byte", true, |rig| {
        Box::pin(cuts::every_byte(rig))
    }),
    scenario("C13", "wrong ids, garbage, answers said twice", false, |rig| {
        Box::pin(answers::wrong(rig))
    }),
    scenario("C14", "answers too long, too deep, too wide, packed", false, |rig| {
        Box::pin(answers::monstrous(rig))
    }),
    scenario("C15", "slow headers, slow bodies, slow readers", true, |rig| {
        Box::pin(overload::slow_clients(rig))
    }),
    not_yet("C16", "10,000 idle streams", false, "measured by `cargo bench --bench load`"),
    scenario("C17", "five times more calls than can be served", true, |rig| {
        Box::pin(overload::five_times(rig))
    }),
    scenario("C18", "every call is answered 503", false, |rig| Box::pin(overload::storm(rig))),
    scenario("C19", "a stateful replica killed under 100 legacy sessions", true, |rig| {
        Box::pin(sessions::lost(rig))
    }),
    scenario("C20", "a roll-out that adds tools, and one that takes them away", false, |rig| {
        Box::pin(changes::skewed(rig))
    }),
    scenario("C21", "reloads of the configuration, a quarter of them broken", true, |rig| {
        Box::pin(changes::reloaded(rig))
    }),
    not_yet("C22", "upgrades of the binary", false, "no upgrade in place"),
    scenario("C23", "kill -9 of the gateway, and a new start", false, |rig| {
        Box::pin(processes::gateway_killed(rig))
    }),
    not_yet("C24", "an identity provider that is down", false, "no tokens of others"),
    not_yet("C25", "clock jumps, no descriptors, a full disk", false, "not written"),
    scenario("C26", "far away: 200 ms, slices, narrow lines", false, |rig| {
        Box::pin(cuts::far_away(rig))
    }),
    not_yet("C27", "50 upstreams change their lists for 200 clients", false, "not written"),
    scenario("C28", "lines that end early, late or not at all", false, |rig| {
        Box::pin(cuts::bad_lines(rig))
    }),
];

/// Runs what is asked for, and answers whether every figure is as demanded.
pub(crate) async fn run(options: &Options) -> anyhow::Result<bool> {
    let chosen: Vec<&Scenario> =
        ALL.iter().filter(|one| options.wants(one.name, one.short)).collect();
    for name in &options.only {
        if !ALL.iter().any(|one| one.name.eq_ignore_ascii_case(name)) {
            anyhow::bail!("no scenario {name}; --table names them");
        }
    }
    if options.table {
        for one in ALL {
            println!("{}{}\t{}", one.name, if one.short { " (short)" } else { "" }, one.injects);
        }
        return Ok(true);
    }
    println!(
        "chaos: {}, {} calls/s, faults for {} s, seed {}",
        options.waypost().display(),
        options.rate,
        options.seconds(),
        options.seed
    );
    println!("{HEAD}");
    let began = Instant::now();
    let noise = crate::noise::listen();
    let mut rows = Vec::new();
    for one in chosen {
        let from = Instant::now();
        let ending = match one.does {
            Does::NotYet(why) => Ending::NotYet(why),
            Does::Run(run) => play(one.name, options, run).await,
        };
        let seconds = from.elapsed().as_secs();
        let row = Row { name: one.name, injects: one.injects, ending, seconds };
        print!("{}", row.table());
        rows.push(row);
    }
    noise.abort();
    println!("\n{}, {} s", summary(&rows), began.elapsed().as_secs());
    Ok(!rows.iter().any(Row::failed))
}

async fn play(name: &'static str, options: &Options, run: fn(&mut Rig) -> Work<'_>) -> Ending {
    let ran = async {
        let mut rig = Rig::new(name, options)?;
        run(&mut rig).await
    };
    match ran.await {
        Ok(figures) => Ending::Ran(figures),
        Err(error) => Ending::Broke(format!("{error:#}")),
    }
}
