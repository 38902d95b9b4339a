//! Servers whose answers are wrong or monstrous.

use crate::client::{Call, Client, End, Kind, Told};
use crate::config;
use crate::ledger;
use crate::monster::{ANSWERS, Monster};
use crate::proc;
use crate::proxy::Passed;
use crate::report::Figure;
use crate::rig::Rig;
use crate::time::{now_ms, sleep_ms};

/// C13
pub(super) async fn wrong(rig: &mut Rig) -> anyhow::Result<Vec<Figure>> {
    rig.serve(&["a", "b", "c", "d"]).await?;
    rig.proxied().await?;
    let quirk = |name: &str, quirk: &str| rig.child(name, &["--quirk", quirk]);
    // Without the one with garbage, which is ended at times, the others have places enough.
    let (y, z) = (rig.child("y", &[]), rig.child("z", &[]));
    let children = [quirk("w", "double-answer"), quirk("x", "garbage"), y, z];
    let tables = config::upstream("h", "", &rig.urls()) + &config::upstream("s", "", &children);
    rig.gateway(&tables).await?;
    let client = rig.client();
    rig.up(&client, "h", 4.0).await?;
    rig.up(&client, "s", 3.0).await?;
    let (steady, held) = rig.steady(rig.load("steady", &["h", "s"]), 4).await;
    rig.replicas[3].start_with(&["--quirk", "wrong-id"]).await?;
    let from = now_ms();
    let told = rig.load("wrong", &["h", "s"]).start().finish_after(rig.options.seconds()).await;
    let passed = rig.proxies[3].passed();
    let called = |call: &&Passed| call.at_ms >= from;
    let called = passed.iter().filter(called).count();
    // What would have been its share.
    let share = told.iter().filter(|one| one.call.upstream == "h").count() / 4;
    let all: Vec<Told> = steady.into_iter().chain(told.iter().cloned()).collect();
    // A child that prints nothing but garbage beside its answers is started anew at times.
    let mut figures = rig.settled(&all, held).await;
    figures.extend([
        ledger::reads(&told, 0.999),
        Figure::told("its share would have been", share.to_string()),
        Figure::at_most("calls sent to the one with wrong ids", called as f64, share as f64 / 5.0),
    ]);
    Ok(figures)
}

/// What an answer may cost at most: memory in MiB, and CPU in seconds. The second is told only: it
/// is meant for an optimised binary.
const MONSTER_MIB: f64 = 64.0;

async fn one(client: &Client, rig: &Rig, name: &str) -> (Told, f64, f64) {
    let (cpu, mut most) = (proc::cpu_seconds(rig.pid()), 0.0_f64);
    let call = Call::new(format!("{name}-1"), "m", Kind::Append, 0);
    let client = client.clone();
    let asked = tokio::spawn(async move { client.call(call).await });
    while !asked.is_finished() {
        most = most.max(proc::resident_mib(rig.pid()));
        sleep_ms(20).await;
    }
    let told = asked.await;
    let cpu = proc::cpu_seconds(rig.pid()) - cpu;
    let lost = || unreachable_told(name);
    (told.unwrap_or_else(|_| lost()), most, cpu)
}

fn unreachable_told(name: &str) -> Told {
    Told {
        call: Call::new(name, "m", Kind::Append, 0),
        began_ms: now_ms(),
        took: std::time::Duration::ZERO,
        end: End::Odd("the client failed".to_owned()),
        answers: 0,
        alien: Vec::new(),
    }
}

/// C14
pub(super) async fn monstrous(rig: &mut Rig) -> anyhow::Result<Vec<Figure>> {
    let monster = Monster::start().await?;
    rig.serve(&["a"]).await?;
    let tables = config::upstream("h", "", &rig.urls())
        + &config::upstream("m", "", &[config::url("m", monster.port)]);
    rig.gateway(&tables).await?;
    let client = rig.client();
    rig.up(&client, "h", 1.0).await?;
    rig.up(&client, "m", 1.0).await?;
    let (steady, held) = rig.steady(rig.load("steady", &["h"]), 4).await;
    let calm = proc::resident_mib(rig.pid());
    let running = rig.load("beside", &["h"]).start();
    let mut figures = Vec::new();
    for (name, _) in ANSWERS {
        let (told, most, cpu) = one(&client, rig, name).await;
        let code = if let End::Refused(code, _, _) = told.end { code } else { 0 };
        let said = format!("{:.100}, {cpu:.2} s of CPU", format!("{:?}", told.end));
        match name {
            "deep" => {
                figures.push(Figure::holds("deep: refused as too large", code == -31_007, said));
            }
            "packed" => figures.push(Figure::holds("packed: refused", code != 0, said)),
            // These pass in pieces; the client of the suite has enough after 64 MiB.
            _ => figures.push(Figure::told(&format!("{name}: how it ended"), said)),
        }
        let what = format!("{name}: memory more than before, MiB");
        figures.push(Figure::at_most(&what, most - calm, MONSTER_MIB));
        figures.push(Figure::at_most(&format!("{name}: answers"), told.answers as f64, 1.0));
    }
    let told = running.finish().await;
    figures.push(ledger::reads(&told, 1.0));
    let all: Vec<Told> = steady.into_iter().chain(told).collect();
    figures.extend(rig.settled(&all, held).await);
    Ok(figures)
}
