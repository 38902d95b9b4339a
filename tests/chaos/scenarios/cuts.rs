//! Connections that are cut in the middle of something.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::client::{Call, Kind, Told};
use crate::config;
use crate::ledger;
use crate::proxy::Toxic;
use crate::report::Figure;
use crate::rig::Rig;
use crate::time::{now_ms, sleep_ms};

/// A connection is reset within so many bytes, requests and answers together: some sixty calls, so
/// that a call has a chance of about two in a hundred.
const RESET_BELOW: u64 = 120_000;

/// C11
pub(super) async fn resets(rig: &mut Rig) -> anyhow::Result<Vec<Figure>> {
    rig.four(true).await?;
    let (steady, held) = rig.steady(rig.load("steady", &["h"]), 5).await;
    let running = rig.load("reset", &["h"]).start();
    rig.proxies.iter().for_each(|proxy| proxy.set(Toxic::Reset(RESET_BELOW)));
    sleep_ms(rig.options.seconds() * 1_000).await;
    rig.proxies.iter().for_each(|proxy| proxy.set(Toxic::None));
    let told = running.finish().await;
    let resets: u64 = rig.proxies.iter().map(crate::proxy::Proxy::cuts).sum();
    let all: Vec<Told> = steady.into_iter().chain(told.iter().cloned()).collect();
    let mut figures = rig.settled(&all, held).await;
    figures.push(Figure::at_least("connections reset", resets as f64, 10.0));
    figures.push(ledger::reads(&told, 0.9999));
    Ok(figures)
}

/// The answer is cut at each byte below this one, and at it.
const CUTS: u64 = 4_096;

/// Bytes that make the answer longer than that.
const PAD: u64 = 4_400;

/// Calls at once.
const LANES: u64 = 4;

/// What a scenario with a single replica needs to go on: its gate stays open.
const OPEN: &str = "[upstreams.h.breaker]\nconsecutive = 1000\nsuccess_rate = 0.0\n";

/// C12: for every call that is cut, two that are not: so the throttle sees an upstream that takes
/// most of what it is sent, and lets all through.
pub(super) async fn every_byte(rig: &mut Rig) -> anyhow::Result<Vec<Figure>> {
    rig.serve(&["a"]).await?;
    rig.proxied().await?;
    let replicas = rig.urls();
    let table = config::upstream("h", "", &replicas).replacen("[[", &format!("{OPEN}[["), 1);
    rig.gateway(&table).await?;
    let client = rig.client();
    rig.up(&client, "h", 1.0).await?;
    let (steady, held) = rig.steady(rig.load("steady", &["h"]), 3).await;
    rig.proxies[0].set(Toxic::CutMarked);
    let step = if rig.options.is_short() { 2 } else { 1 };
    let next = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let mut lanes = JoinSet::new();
    for _ in 0..LANES {
        let (client, next) = (rig.client(), Arc::clone(&next));
        lanes.spawn(async move {
            let mut told = Vec::new();
            loop {
                let cut = next.fetch_add(step, std::sync::atomic::Ordering::Relaxed);
                if cut > CUTS {
                    return told;
                }
                let mut call = Call::new(format!("cut-{cut}-c12"), "h", Kind::Slow, 0);
                (call.steps, call.pad) = (2, PAD);
                told.push(client.call(call).await);
                for good in ["one", "two"] {
                    let good = Call::new(format!("{good}-{cut}-c12"), "h", Kind::Append, 0);
                    told.push(client.call(good).await);
                }
            }
        });
    }
    let mut told = Vec::new();
    while let Some(lane) = lanes.join_next().await {
        told.extend(lane?);
    }
    rig.proxies[0].set(Toxic::None);
    let cut: Vec<&Told> = told.iter().filter(|one| one.call.kind == Kind::Slow).collect();
    let wanted = CUTS / step + 1;
    let unknown = cut.iter().filter(|one| one.delivery() == "unknown").count();
    let odd: Vec<String> = cut
        .iter()
        .filter(|one| one.delivery() != "unknown")
        .map(|one| format!("{} {:?}", one.call.op, one.end))
        .collect();
    let whole = told.iter().filter(|one| one.call.kind == Kind::Append);
    let slowest = cut.iter().map(|one| one.took).max().unwrap_or_default();
    let spoilt: Vec<String> = whole
        .filter(|one| !one.done() && one.delivery() == "unknown")
        .map(|one| format!("{} {:?}", one.call.op, one.end))
        .collect();
    let all: Vec<Told> = steady.into_iter().chain(told.iter().cloned()).collect();
    let mut figures = rig.settled(&all, held).await;
    figures.extend([
        Figure::at_least("cuts", rig.proxies[0].cuts() as f64, wanted as f64),
        Figure::at_least("cut calls told that they may have run", unknown as f64, wanted as f64),
        Figure::none("cut calls told anything else", &odd),
        Figure::none("calls between them that failed by a cut", &spoilt),
        Figure::at_most("longest cut call, ms", slowest.as_secs_f64() * 1e3, 10_000.0),
    ]);
    Ok(figures)
}

/// A half-open replica gets no new call after so many ms.
const HALF_OPEN_MS: u64 = 25_000;

/// C10
pub(super) async fn half_open(rig: &mut Rig) -> anyhow::Result<Vec<Figure>> {
    rig.four(true).await?;
    let (steady, held) = rig.steady(rig.load("steady", &["h"]), 5).await;
    let running = rig.load("open", &["h"]).start();
    sleep_ms(1_000).await;
    let from = now_ms();
    rig.proxies[1].set(Toxic::HalfOpen);
    sleep_ms(rig.options.seconds().max(30) * 1_000).await;
    let to = now_ms();
    rig.proxies[1].set(Toxic::None);
    sleep_ms(3_000).await;
    let told = running.finish().await;
    let passed = rig.proxies[1].passed();
    let last = passed.iter().map(|call| call.at_ms).filter(|at| *at > from && *at < to).max();
    let all: Vec<Told> = steady.into_iter().chain(told.iter().cloned()).collect();
    let mut figures = rig.settled(&all, held).await;
    figures.extend([
        ledger::reads(&told, 0.999),
        Figure::within("last call sent to it", Some(last.map_or(0, |at| at - from)), HALF_OPEN_MS),
    ]);
    Ok(figures)
}

/// Second calls, as a share of the calls that read, at most.
const HEDGED_MAX: f64 = 1.055;

/// C26: what tc would do, done by the proxies: 200 ms more, give or take 50, and slices.
pub(super) async fn far_away(rig: &mut Rig) -> anyhow::Result<Vec<Figure>> {
    rig.four(true).await?;
    let (steady, held) = rig.steady(rig.load("steady", &["h"]), 4).await;
    let toxics = [
        Toxic::Latency(150, 100),
        Toxic::Latency(150, 100),
        Toxic::Slicer(64),
        Toxic::Bandwidth(64 * 1024),
    ];
    rig.proxies.iter().zip(toxics).for_each(|(proxy, toxic)| proxy.set(toxic));
    let told = rig.load("far", &["h"]).start().finish_after(rig.options.seconds()).await;
    let reads = told.iter().filter(|one| one.call.kind == Kind::Read).count() as f64;
    let prefix = format!("{}-far-", "C26");
    let mut ran = std::collections::BTreeMap::new();
    for run in ledger::runs(&rig.journal) {
        if run.op.starts_with(&prefix) {
            *ran.entry(run.op).or_insert(0_usize) += 1;
        }
    }
    let of = |one: &&Told| one.call.kind == Kind::Read;
    let runs: usize =
        told.iter().filter(of).map(|one| ran.get(&one.call.op).copied().unwrap_or_default()).sum();
    let all: Vec<Told> = steady.into_iter().chain(told.iter().cloned()).collect();
    let mut figures = rig.settled(&all, held).await;
    figures.push(ledger::reads(&told, 1.0));
    figures.push(Figure::at_most("runs for each call that reads", runs as f64 / reads, HEDGED_MAX));
    Ok(figures)
}

/// The rest of what a network does: connections that end early, late, or not at all.
pub(super) async fn bad_lines(rig: &mut Rig) -> anyhow::Result<Vec<Figure>> {
    rig.four(true).await?;
    let (steady, held) = rig.steady(rig.load("steady", &["h"]), 4).await;
    let running = rig.load("lines", &["h"]).start();
    let toxics =
        [Toxic::LimitData(20_000), Toxic::SlowClose(300), Toxic::Timeout(700), Toxic::Slicer(7)];
    for turn in 0..rig.options.seconds() / 5 {
        let at = usize::try_from(turn).unwrap_or_default();
        // One bad line at a time, the others are well.
        rig.proxies[at % 4].set(toxics[at / 4 % 4]);
        sleep_ms(5_000).await;
        rig.proxies[at % 4].set(Toxic::None);
    }
    let told = running.finish().await;
    let all: Vec<Told> = steady.into_iter().chain(told.iter().cloned()).collect();
    let mut figures = rig.settled(&all, held).await;
    figures.push(ledger::reads(&told, 0.999));
    Ok(figures)
}
