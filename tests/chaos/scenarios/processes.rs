//! Replicas that die, stand still, come and go.

use crate::client::{End, Kind, Told};
use crate::config;
use crate::gateway::Metrics;
use crate::ledger;
use crate::proc;
use crate::proxy::{Passed, Toxic};
use crate::report::{Figure, NOISE_MS};
use crate::rig::Rig;
use crate::time::{now_ms, sleep_ms, until};

/// A killed replica gets no new call after so many ms.
const GONE_MS: u64 = 50;

/// A killed replica is started again after so many ms.
const DEAD_MS: u64 = 2_000;

/// What a moment of the rig may be off by, in ms.
const BLUR_MS: u64 = 100;

/// Requests of clients that came to their end at upstream `h`, with this label.
async fn ended_at(rig: &Rig, label: &str) -> anyhow::Result<f64> {
    let metrics = Metrics::read(&rig.client()).await?;
    Ok(metrics.sum("mcp_upstream_requests_total", &["upstream=\"h\"", label]))
}

/// Kills one replica after the other, until the time is over. Answers when, and what ended at a
/// dead one later than it may.
async fn kill_in_turn(rig: &mut Rig) -> anyhow::Result<(Vec<u64>, Vec<String>)> {
    let (mut kills, mut late) = (Vec::new(), Vec::new());
    let end = now_ms() + rig.options.seconds() * 1_000;
    for number in 0_usize.. {
        if now_ms() >= end {
            break;
        }
        let victim = number % rig.replicas.len();
        let name = rig.replicas[victim].name.clone();
        let label = format!("replica={name:?}");
        rig.replicas[victim].kill();
        let at = now_ms();
        kills.push(at);
        sleep_ms(GONE_MS).await;
        let mut before = ended_at(rig, &label).await?;
        while now_ms() < at + DEAD_MS {
            sleep_ms(if now_ms() < at + 400 { 10 } else { 200 }).await;
            let now = ended_at(rig, &label).await?;
            if now > before {
                late.push(format!("{} at {name}, {} ms after", now - before, now_ms() - at));
            }
            before = now;
        }
        rig.replicas[victim].start().await?;
        sleep_ms(5_000_u64.saturating_sub(now_ms().saturating_sub(at))).await;
    }
    Ok((kills, late))
}

/// C1
pub(super) async fn killed(rig: &mut Rig) -> anyhow::Result<Vec<Figure>> {
    rig.serve(&["a", "b", "c", "d"]).await?;
    let children: Vec<String> = ["w", "x", "y", "z"].map(|name| rig.child(name, &[])).to_vec();
    let tables = config::upstream("h", "", &rig.urls()) + &config::upstream("s", "", &children);
    rig.gateway(&tables).await?;
    let client = rig.client();
    rig.up(&client, "h", 4.0).await?;
    rig.up(&client, "s", 4.0).await?;
    let upstreams = ["h", "h", "h", "s"];
    let (steady, held) = rig.steady(rig.load("steady", &upstreams), 8).await;

    let running = rig.load("kill", &upstreams).start();
    let (kills, late) = kill_in_turn(rig).await?;
    let told = running.finish().await;
    let inside = |one: &Told| {
        kills.iter().any(|at| one.began_ms <= at + BLUR_MS && one.ended_ms() + BLUR_MS >= *at)
    };
    let outside: Vec<String> = told
        .iter()
        .filter(|one| one.delivery() == "unknown" && !inside(one))
        .map(|one| format!("{} {:?}", one.call.op, one.end))
        .collect();
    let all: Vec<Told> = steady.iter().chain(&told).cloned().collect();
    let mut figures = rig.settled(&all, held).await;
    figures.extend([
        Figure::told("kills", kills.len().to_string()),
        ledger::reads(&told, 1.0),
        Figure::none("delivery unknown, and not in flight at a kill", &outside),
        Figure::none("calls that ended at a dead replica after 50 ms", &late),
        ledger::slower("p99 of calls that read, ms", &told, &steady, 2.0),
    ]);
    Ok(figures)
}

/// A replica that stands still gets no new call after so many ms.
const OUT_MS: u64 = 12_000;

/// One that goes on is back after so many.
const BACK_MS: u64 = 35_000;

/// Waits until a replica behind a proxy gets and runs calls that came after a moment; how long.
async fn back(rig: &Rig, replica: usize, since: u64) -> Option<u64> {
    let name = &rig.replicas[replica].name;
    until(BACK_MS, async || {
        // What it had been sent before runs at once; what is new comes from now on.
        let passed = rig.proxies[replica].passed();
        passed.iter().any(|call| call.at_ms > since + BLUR_MS)
            && ledger::runs(&rig.journal)
                .iter()
                .any(|run| run.name == *name && run.at_ms > since + BLUR_MS)
    })
    .await
}

/// C2
pub(super) async fn stopped(rig: &mut Rig) -> anyhow::Result<Vec<Figure>> {
    rig.four(true).await?;
    let (steady, held) = rig.steady(rig.load("steady", &["h"]), 5).await;

    let running = rig.load("stop", &["h"]).start();
    sleep_ms(1_000).await;
    let stopped = now_ms();
    rig.replicas[1].freeze();
    sleep_ms(rig.options.seconds().clamp(20, 60) * 1_000).await;
    let resumed = now_ms();
    rig.replicas[1].thaw();
    let back = back(rig, 1, resumed).await;
    sleep_ms(1_000).await;
    let told = running.finish().await;
    let inside = |call: &Passed| call.at_ms > stopped && call.at_ms < resumed;
    let passed = rig.proxies[1].passed();
    let during: Vec<u64> =
        passed.iter().filter(|call| inside(call)).map(|call| call.at_ms).collect();
    let out = during.last().map_or(0, |last| last - stopped);
    let all: Vec<Told> = steady.into_iter().chain(told.iter().cloned()).collect();
    let mut figures = rig.settled(&all, held).await;
    figures.extend([
        Figure::told("stood still for, ms", (resumed - stopped).to_string()),
        ledger::reads(&told, 0.999),
        Figure::told("calls sent to it while it stood", during.len().to_string()),
        Figure::within("last call sent to it", Some(out), OUT_MS),
        Figure::within("back in rotation", back, BACK_MS),
    ]);
    Ok(figures)
}

/// C3
pub(super) async fn half_hangs(rig: &mut Rig) -> anyhow::Result<Vec<Figure>> {
    rig.four(true).await?;
    let (steady, held) = rig.steady(rig.load("steady", &["h"]), 5).await;
    let running = rig.load("hang", &["h"]).start();
    sleep_ms(1_000).await;
    let from = now_ms();
    rig.replicas.iter().take(2).for_each(crate::replica::Replica::freeze);
    sleep_ms(rig.options.seconds().max(20) * 1_000).await;
    let to = now_ms();
    rig.replicas.iter().take(2).for_each(crate::replica::Replica::thaw);
    sleep_ms(2_000).await;
    let told = running.finish().await;
    let late = |call: &Passed| call.at_ms > from + OUT_MS && call.at_ms < to;
    let unsafe_one = |call: &Passed| call.tool.ends_with("append") || call.tool.ends_with("slow");
    let passed: Vec<Passed> =
        rig.proxies.iter().take(2).flat_map(crate::proxy::Proxy::passed).filter(late).collect();
    let once: Vec<String> = passed
        .iter()
        .filter(|call| unsafe_one(call))
        .map(|call| format!("{} after {} ms", call.tool, call.at_ms - from))
        .collect();
    let all: Vec<Told> = steady.into_iter().chain(told.iter().cloned()).collect();
    let mut figures = rig.settled(&all, held).await;
    figures.extend([
        ledger::reads(&told, 0.99),
        Figure::told("calls sent to the hanging ones after 12 s", passed.len().to_string()),
        Figure::none("of these, calls that must not run twice", &once),
    ]);
    Ok(figures)
}

/// Dials of a replica that is down, a second.
const DIALS_MAX: f64 = 1.2;

/// C4: first with ports that refuse, then with ports that accept and reset, which can be counted.
pub(super) async fn all_down(rig: &mut Rig) -> anyhow::Result<Vec<Figure>> {
    rig.serve(&["a", "b", "c", "d"]).await?;
    let direct = config::upstream("h", "", &rig.urls());
    rig.proxied().await?;
    rig.gateway(&(direct + &config::upstream("p", "", &rig.urls()))).await?;
    let client = rig.client();
    rig.up(&client, "h", 4.0).await?;
    rig.up(&client, "p", 4.0).await?;
    let (steady, held) = rig.steady(rig.load("steady", &["h"]), 4).await;
    let seconds = rig.options.seconds().min(30);

    let attempts = ended_at(rig, "").await?;
    let running = rig.load("down", &["h"]).start();
    sleep_ms(500).await;
    let down = now_ms();
    rig.replicas.iter_mut().for_each(crate::replica::Replica::kill);
    sleep_ms(seconds * 1_000).await;
    let told = running.finish().await;
    let attempts = ended_at(rig, "").await? - attempts;
    for replica in &mut rig.replicas {
        replica.start().await?;
    }
    let up = now_ms();
    let running = rig.load("again", &["h"]).start();
    sleep_ms(8_000).await;
    let again = running.finish().await;
    let first = again.iter().filter(|one| one.done()).map(Told::ended_ms).min();

    rig.proxies.iter().for_each(|proxy| proxy.set(Toxic::Down));
    let running = rig.load("reset", &["p"]).start();
    sleep_ms(3_000).await;
    let from = now_ms();
    sleep_ms(10_000).await;
    let reset = running.finish().await;
    let dials: Vec<u64> = rig.proxies.iter().flat_map(crate::proxy::Proxy::accepted).collect();
    let dials = dials.iter().filter(|at| **at > from).count() as f64 / 10.0 / 4.0;
    rig.proxies.iter().for_each(|proxy| proxy.set(Toxic::None));

    let late: Vec<&Told> = told.iter().filter(|one| one.began_ms > down + 3_000).collect();
    let refused = late.iter().map(|one| one.took).collect();
    let done = late.iter().filter(|one| one.done()).count();
    let all: Vec<Told> = [steady, told.clone(), again, reset].concat();
    let mut figures = rig.settled(&all, held).await;
    figures.extend([
        Figure::told("calls after 3 s of outage; of them done", format!("{}; {done}", late.len())),
        Figure::at_most("p99 of their refusal, ms", ledger::rank(refused, 99), 20.0 + NOISE_MS),
        Figure::at_most("attempts for each call offered", attempts / told.len() as f64, 1.1),
        Figure::at_most("dials of a replica that resets them, a second", dials, DIALS_MAX),
        Figure::within(
            "first success after they are back",
            first.map(|at| at.saturating_sub(up)),
            3_000,
        ),
    ]);
    Ok(figures)
}

/// C5
pub(super) async fn flapping(rig: &mut Rig) -> anyhow::Result<Vec<Figure>> {
    rig.four(true).await?;
    let (steady, held) = rig.steady(rig.load("steady", &["h"]), 5).await;
    let heard = rig.client().hear("notifications/tools/list_changed").await?;
    let running = rig.load("flap", &["h"]).start();
    let end = now_ms() + rig.options.seconds() * 1_000;
    while now_ms() < end {
        rig.replicas[3].kill();
        sleep_ms(2_000).await;
        rig.replicas[3].start().await?;
        sleep_ms(2_000).await;
    }
    let told = running.finish().await;
    let changes = heard.count();
    drop(heard);
    let all: Vec<Told> = steady.into_iter().chain(told.iter().cloned()).collect();
    let mut figures = rig.settled(&all, held).await;
    figures.extend([
        ledger::reads(&told, 0.99),
        Figure::at_most("changes of the list told", changes as f64, 0.0),
    ]);
    Ok(figures)
}

/// C23
pub(super) async fn gateway_killed(rig: &mut Rig) -> anyhow::Result<Vec<Figure>> {
    rig.serve(&["a", "b"]).await?;
    let children = [rig.child("w", &[]), rig.child("x", &[])];
    let port = crate::replica::free_port()?;
    rig.port = port;
    let tables = config::upstream("h", "", &rig.urls()) + &config::upstream("s", "", &children);
    rig.gateway(&tables).await?;
    rig.up(&rig.client(), "h", 2.0).await?;
    rig.up(&rig.client(), "s", 2.0).await?;
    let (steady, held) = rig.steady(rig.load("steady", &["h", "s"]), 4).await;
    let servers = proc::marked(&rig.mark).len() - 1 - 2 * children.len();
    let rounds = if rig.options.is_short() { 3 } else { 10 };
    let (mut told, mut outages) = (Vec::new(), Vec::new());
    let (mut slowest, mut orphans) = (Some(0), 0);
    for round in 0..rounds {
        let running = rig.load(&format!("kill{round}"), &["h", "s"]).start();
        sleep_ms(1_500).await;
        let down = now_ms();
        rig.waypost_process()?.signal(rustix::process::Signal::KILL);
        let gone = until(2_000, async || {
            drop(rig.waypost_process().map(crate::gateway::Gateway::ended));
            proc::marked(&rig.mark).len() <= servers
        });
        if gone.await.is_none() {
            orphans += proc::marked(&rig.mark).len() - servers;
        }
        let from = now_ms();
        rig.gateway(&tables).await?;
        let probe = crate::client::Call::new(format!("first-{round}"), "h", Kind::Read, 0);
        let client = rig.client();
        let first = until(10_000, async || client.call(probe.clone()).await.done()).await;
        slowest = slowest.zip(first).map(|(slow, _): (u64, u64)| slow.max(now_ms() - from));
        outages.push((down, now_ms()));
        sleep_ms(1_000).await;
        told.extend(running.finish().await);
        rig.up(&rig.client(), "s", 2.0).await?;
    }
    // What was in flight or begun while nobody listened has no answer, and no other call may lack it.
    let out = |one: &Told| {
        outages.iter().any(|(from, to)| one.began_ms <= *to && one.ended_ms() + BLUR_MS >= *from)
    };
    let (lost, told): (Vec<Told>, Vec<Told>) =
        told.into_iter().partition(|one| matches!(one.end, End::Odd(_)) && out(one));
    let all: Vec<Told> = steady.into_iter().chain(told).collect();
    let mut figures = rig.settled(&all, held).await;
    figures.extend([
        Figure::told("calls without an answer, all in an outage", lost.len().to_string()),
        Figure::at_most("processes left 2 s after kill -9", orphans as f64, 0.0),
        Figure::within("start to the first success", slowest, 2_000),
    ]);
    Ok(figures)
}
