//! Child processes that misbehave.

use rustix::process::Signal;

use crate::client::{Kind, Told};
use crate::config;
use crate::ledger;
use crate::proc;
use crate::report::Figure;
use crate::rig::Rig;
use crate::time::{now_ms, sleep_ms, until};

/// Starts of a child that never comes up, at most, whatever the time.
const SPAWNS_MAX: f64 = 12.0;

/// C6
pub(super) async fn crash_loop(rig: &mut Rig) -> anyhow::Result<Vec<Figure>> {
    rig.serve(&["a", "b"]).await?;
    let good = config::upstream("h", "", &rig.urls());
    rig.gateway(&good).await?;
    rig.up(&rig.client(), "h", 2.0).await?;
    let (steady, held) = rig.steady(rig.load("steady", &["h"]), 8).await;

    let starts = rig.folder().join("starts");
    let script = format!("echo x >> {}; exit 1", starts.display());
    let bad = config::command("bad", &["sh", "-c", &script], &rig.mark);
    rig.gateway(&format!("{good}{}", config::upstream("bad", "", &[bad]))).await?;
    rig.up(&rig.client(), "h", 2.0).await?;
    let running = rig.load("loop", &["h"]).start();
    let end = now_ms() + rig.options.seconds() * 1_000;
    let mut zombies = 0;
    while now_ms() < end {
        sleep_ms(500).await;
        // One that died this very moment is no zombie yet.
        if proc::zombies(rig.pid()) > 0 {
            sleep_ms(200).await;
            zombies = zombies.max(proc::zombies(rig.pid()));
        }
    }
    let told = running.finish().await;
    let spawns = std::fs::read_to_string(&starts).unwrap_or_default().lines().count();
    let slower = ledger::slower("p99 of the other upstream's reads, ms", &told, &steady, 1.05);
    let all: Vec<Told> = steady.into_iter().chain(told.iter().cloned()).collect();
    // Its next start may fall into the moment of counting: a guard and a shell.
    let mut figures = rig.settled(&all, held).await;
    figures.extend([
        ledger::reads(&told, 1.0),
        Figure::at_most("starts of the child", spawns as f64, SPAWNS_MAX),
        Figure::at_least("starts of the child", spawns as f64, 2.0),
        Figure::at_most("zombies at any time", zombies as f64, 0.0),
        slower,
    ]);
    Ok(figures)
}

/// Ignores SIGTERM and the end of stdin, closes stdout, and has a grandchild that ignores SIGTERM in
/// a session of its own, behind a double fork.
const STUBBORN: &str = "trap '' TERM; (setsid sh -c 'trap \"\" TERM; sleep 600 & wait' &); \
    exec 1>&-; while :; do sleep 600; done";

/// After SIGTERM nothing is left after so many ms, and after SIGKILL after so many.
const AFTER_TERM_MS: u64 = 10_000;
const AFTER_KILL_MS: u64 = 2_000;

/// C7
pub(super) async fn stubborn(rig: &mut Rig) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let rounds = if rig.options.is_short() { 3 } else { 10 };
    let hiding = ["--quirk", "double-fork", "--quirk", "ignore-sigterm"];
    let children = [rig.child("w", &hiding), rig.child("x", &hiding)];
    let stubborn = config::command("stubborn", &["sh", "-c", STUBBORN], &rig.mark);
    let tables = config::upstream("s", "", &children) + &config::upstream("bad", "", &[stubborn]);
    let mut told = Vec::new();
    for (signal, within) in [(Signal::TERM, AFTER_TERM_MS), (Signal::KILL, AFTER_KILL_MS)] {
        let (mut slowest, mut least) = (Some(0), usize::MAX);
        for round in 0..rounds {
            rig.gateway(&tables).await?;
            rig.up(&rig.client(), "s", 2.0).await?;
            let mut load = rig.load(&format!("{}-{round}", signal.as_raw()), &["s"]);
            load.rate = 20.0;
            load.slow = (100, 200);
            told.extend(load.start().finish_after(1).await);
            least = least.min(proc::marked(&rig.mark).len());
            rig.waypost_process()?.signal(signal);
            let gone = until(20_000, async || {
                rig.waypost_process().is_ok_and(|waypost| waypost.ended().is_some())
                    && proc::marked(&rig.mark).is_empty()
            });
            let gone = gone.await;
            slowest = slowest.zip(gone).map(|(slowest, gone): (u64, u64)| slowest.max(gone));
        }
        let word = if signal == Signal::TERM { "SIGTERM" } else { "kill -9" };
        figures.push(Figure::within(&format!("no process left after {word}"), slowest, within));
        // Gateway, three guards, two servers with a grandchild each, a shell with three below it.
        figures.push(Figure::at_least(&format!("processes before {word}"), least as f64, 10.0));
    }
    figures.extend(ledger::clean(&rig.journal, &told));
    Ok(figures)
}

/// What floods, garbage and endless lines may cost: memory in MiB, and a share of one core.
const FLOOD_MIB: f64 = 24.0;
const FLOOD_CORE: f64 = 0.2;

/// C8
pub(super) async fn floods(rig: &mut Rig) -> anyhow::Result<Vec<Figure>> {
    rig.serve(&["a", "b"]).await?;
    let good = config::upstream("h", "", &rig.urls());
    rig.gateway(&good).await?;
    rig.up(&rig.client(), "h", 2.0).await?;
    let cpu = proc::cpu_seconds(rig.pid());
    let (steady, held) = rig.steady(rig.load("steady", &["h"]), 8).await;
    let quiet = (proc::cpu_seconds(rig.pid()) - cpu) / 8.0;
    let calm = proc::resident_mib(rig.pid());

    let bad = |name: &str, quirk: &str| {
        config::upstream(name, "", &[rig.child(name, &["--quirk", quirk])])
    };
    let tables = good.clone()
        + &bad("flood", "flood-stderr")
        + &bad("garbage", "garbage")
        + &bad("line", "long-line");
    rig.gateway(&tables).await?;
    rig.up(&rig.client(), "h", 2.0).await?;
    rig.up(&rig.client(), "flood", 1.0).await?;
    rig.up(&rig.client(), "line", 1.0).await?;
    let cpu = proc::cpu_seconds(rig.pid());
    let from = now_ms();
    let running = rig.load("flood", &["h"]).start();
    let (client, mut most, mut lines) = (rig.client(), 0.0_f64, Vec::new());
    while now_ms() < from + rig.options.seconds() * 1_000 {
        let number = lines.len();
        let endless = crate::client::Call::new(format!("line-{number}"), "line", Kind::Append, 0);
        let flooding =
            crate::client::Call::new(format!("noise-{number}"), "flood", Kind::Append, 0);
        lines.push(client.call(endless).await);
        lines.push(client.call(flooding).await);
        most = most.max(proc::resident_mib(rig.pid()));
        sleep_ms(2_000).await;
    }
    let told = running.finish().await;
    let seconds = (now_ms() - from) as f64 / 1e3;
    let share = (proc::cpu_seconds(rig.pid()) - cpu) / seconds - quiet;
    let slower = ledger::slower("p99 of the other upstream's reads, ms", &told, &steady, 1.2);
    let quiet_ones: Vec<Told> = steady.into_iter().chain(told.iter().cloned()).collect();
    let words = ledger::endings(&lines);
    rig.gateway(&good).await?;
    let mut figures = rig.settled(&[quiet_ones, lines].concat(), held).await;
    figures.extend([
        ledger::reads(&told, 1.0),
        Figure::told("endings at the bad ones", words),
        Figure::at_most("memory more than without, MiB", most - calm, FLOOD_MIB),
        Figure::at_most("CPU more than without, of a core", share, FLOOD_CORE),
        slower,
    ]);
    Ok(figures)
}

/// Arguments so long that a few calls fill a pipe, and how long a call at a child that reads no more
/// may take to be refused.
const FILL: usize = 24 * 1024;
const REFUSED_MS: f64 = 6_000.0;

/// The server processes of a child of this name.
fn servers(rig: &Rig, name: &str) -> Vec<u32> {
    let wanted = format!("demo-server --stdio --name {name} ");
    let is = |pid: &u32| {
        let line = proc::command_line(*pid);
        line.contains(&wanted) && !line.contains(" guard ")
    };
    proc::marked(&rig.mark).into_iter().filter(is).collect()
}

/// C9: a child that is stopped reads no more, and its pipe fills.
pub(super) async fn deaf(rig: &mut Rig) -> anyhow::Result<Vec<Figure>> {
    let child = rig.child("w", &[]);
    rig.gateway(&config::upstream("s", "", &[child])).await?;
    rig.up(&rig.client(), "s", 1.0).await?;
    let (steady, held) = rig.steady(rig.load("steady", &["s"]), 4).await;
    let before = servers(rig, "w");
    let from = now_ms();
    for pid in &before {
        crate::replica::signal(*pid, Signal::STOP);
    }
    let (client, mut calls) = (rig.client(), tokio::task::JoinSet::new());
    for number in 0..40 {
        let client = client.clone();
        let mut call = crate::client::Call::new(format!("deaf-{number}"), "s", Kind::Append, 0);
        call.fill = FILL;
        calls.spawn(async move { client.call(call).await });
        sleep_ms(50).await;
    }
    let told = calls.join_all().await;
    let slowest = told.iter().map(|one| one.took).max().unwrap_or_default();
    let again = until(20_000, async || {
        let op = format!("again-{}", now_ms());
        client.call(crate::client::Call::new(op, "s", Kind::Read, 0)).await.done()
    });
    let again = again.await.map(|_| now_ms() - from);
    let after = servers(rig, "w");
    for pid in &before {
        crate::replica::signal(*pid, Signal::KILL);
    }
    let refused = told.iter().filter(|one| !one.done()).count();
    let words = ledger::endings(&told);
    let all: Vec<Told> = steady.into_iter().chain(told).collect();
    let mut figures = rig.settled(&all, held).await;
    figures.extend([
        Figure::told("endings at the deaf one", words),
        Figure::at_least("calls refused", refused as f64, 1.0),
        Figure::at_most("longest wait of a call, ms", slowest.as_secs_f64() * 1e3, REFUSED_MS),
        Figure::within("served again after", again, 20_000),
        Figure::holds("another process serves", before != after, format!("{before:?}, {after:?}")),
    ]);
    Ok(figures)
}
