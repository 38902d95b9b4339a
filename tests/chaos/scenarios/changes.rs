//! Configurations and catalogs that change while calls run.

use crate::client::Told;
use crate::config;
use crate::gateway::Metrics;
use crate::ledger;
use crate::proc;
use crate::report::Figure;
use crate::rig::Rig;
use crate::time::{now_ms, sleep_ms, until};

/// Reloads in a whole run; a short one has as many as fit, at one a second.
const RELOADS: usize = 200;

/// The longest that a reload may take to be over.
const RELOAD_MS: u64 = 10_000;

/// The text that reload number `n` brings: every fourth is broken, the others tune, take away and
/// bring back a replica, and take away and bring back an upstream nobody calls.
fn text(rig: &Rig, n: usize) -> (String, bool) {
    let mut urls = rig.urls();
    let keys = format!("timeout = \"{}s\"\n", 60 + n % 7);
    if n % 4 == 1 {
        urls.truncate(3);
    }
    let mut tables = config::upstream("h", &keys, &urls);
    if n % 4 == 2 {
        tables += &config::upstream("extra", "", &[rig.child("extra", &[])]);
    }
    let broken = n % 4 == 3;
    if broken {
        tables += "[upstreams.h.nonsense]\nkey = 1\n";
    }
    (tables, broken)
}

async fn reloads(rig: &Rig, result: &str) -> anyhow::Result<f64> {
    let metrics = Metrics::read(&rig.client()).await?;
    Ok(metrics.sum("mcp_config_reloads_total", &[result]))
}

/// C21
pub(super) async fn reloaded(rig: &mut Rig) -> anyhow::Result<Vec<Figure>> {
    rig.four(false).await?;
    let (steady, held) = rig.steady(rig.load("steady", &["h"]), 8).await;
    let running = rig.load("reload", &["h"]).start();
    let end = now_ms() + rig.options.seconds() * 1_000;
    let (mut valid, mut broken, mut hung) = (0, 0, Vec::new());
    let mut descriptors = Vec::new();
    for n in 0..RELOADS {
        if rig.options.is_short() && now_ms() >= end {
            break;
        }
        let (tables, is_broken) = text(rig, n);
        let before = reloads(rig, "").await?;
        rig.reconfigure(&tables)?;
        let over = until(RELOAD_MS, async || reloads(rig, "").await.is_ok_and(|now| now > before));
        if over.await.is_none() {
            hung.push(format!("reload {n}"));
        }
        if is_broken {
            broken += 1;
        } else {
            valid += 1;
        }
        descriptors.push(proc::descriptors(rig.pid(), &rig.ports()));
    }
    rig.reconfigure(&text(rig, 0).0)?;
    sleep_ms(2_500).await;
    let told = running.finish().await;
    let failed: Vec<String> = told
        .iter()
        .filter(|one| !one.done())
        .map(|one| format!("{} {:?}", one.call.op, one.end))
        .collect();
    let (applied, invalid) = (
        reloads(rig, "result=\"applied\"").await? + reloads(rig, "result=\"unchanged\"").await?,
        reloads(rig, "result=\"invalid\"").await?,
    );
    let third = descriptors.len().div_ceil(3).max(1);
    let most = |part: &[usize]| part.iter().max().copied().unwrap_or_default() as f64;
    let (first, last) =
        (most(&descriptors[..third]), most(&descriptors[descriptors.len() - third..]));
    let slower = ledger::slower("p99 of calls that read, ms", &told, &steady, 1.2);
    let all: Vec<Told> = steady.into_iter().chain(told).collect();
    let mut figures = rig.settled(&all, held).await;
    figures.extend([
        Figure::none("calls that failed", &failed),
        Figure::none("reloads that did not end within 10 s", &hung),
        Figure::at_least("reloads applied", applied, f64::from(valid)),
        Figure::at_least("reloads refused as broken", invalid, f64::from(broken)),
        Figure::at_most("refused, of those that were broken", invalid, f64::from(broken)),
        Figure::at_most("descriptors in the last third, of the first", last - first, 24.0),
        slower,
    ]);
    Ok(figures)
}

/// C20: one replica after the other comes back with more tools, then with the old ones again.
pub(super) async fn skewed(rig: &mut Rig) -> anyhow::Result<Vec<Figure>> {
    rig.four(false).await?;
    let (steady, held) = rig.steady(rig.load("steady", &["h"]), 4).await;
    let heard = rig.client().hear("notifications/tools/list_changed").await?;
    let running = rig.load("roll", &["h"]).start();
    let mut missing = Vec::new();
    for (round, more) in [(0, &["--tools", "3"][..]), (1, &[][..])] {
        for at in 0..rig.replicas.len() {
            rig.replicas[at].start_with(more).await?;
            // The rollout waits for each: a list of its own, and some calls.
            sleep_ms(3_000).await;
        }
        let client = rig.client();
        let listed = until(15_000, async || {
            let has = client.lists("h__tool_0003").await.unwrap_or(round == 1);
            has == (round == 0)
        });
        if listed.await.is_none() {
            missing.push(format!("round {round}"));
        }
    }
    let told = running.finish().await;
    let changes = heard.count();
    drop(heard);
    let unknown: Vec<String> = told
        .iter()
        .filter(|one| matches!(&one.end, crate::client::End::Odd(_)))
        .map(|one| format!("{} {:?}", one.call.op, one.end))
        .collect();
    let all: Vec<Told> = steady.into_iter().chain(told.iter().cloned()).collect();
    let mut figures = rig.settled(&all, held).await;
    figures.extend([
        ledger::reads(&told, 1.0),
        Figure::none("answers of a server that lacks the tool", &unknown),
        Figure::none("lists that did not follow", &missing),
        Figure::at_most("changes of the list told, for two roll-outs", changes as f64, 4.0),
    ]);
    Ok(figures)
}
