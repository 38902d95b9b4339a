//! More calls than can be served.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{End, Kind, Told};
use crate::config;
use crate::ledger;
use crate::load::Load;
use crate::report::{Figure, NOISE_MS};
use crate::rig::Rig;
use crate::time::{now_ms, sleep_ms};

/// Clients, each with a key of its own.
const CLIENTS: usize = 10;

/// Places at each of the two replicas, and how long a call holds one.
const PLACES: u64 = 2;
const WORK_MS: u64 = 100;

/// What two replicas can serve in a second, at most.
const CAPACITY: f64 = 2.0 * PLACES as f64 * 1_000.0 / WORK_MS as f64;

/// Calls that must not run twice, and nothing else: no repetition, no second asking.
const ONCE: crate::load::Mix = &[(100, Kind::Append)];

fn key(number: usize) -> String {
    format!("key-of-client-number-{number:04}")
}

fn auth() -> String {
    let keys: Vec<String> = (0..CLIENTS)
        .map(|number| format!("{{ name = \"k{number}\", key = \"${{CHAOS_KEY_{number}}}\" }}"))
        .collect();
    format!("[auth]\nkeys = [{}]\ninflight = 1000\nrate = 2000\nburst = 2000\n", keys.join(", "))
}

fn successes(told: &[Told]) -> f64 {
    told.iter().filter(|one| one.done()).count() as f64
}

/// Successes a second between the first of them and the last.
fn goodput(told: &[Told]) -> f64 {
    let ends = || told.iter().filter(|one| one.done()).map(Told::ended_ms);
    let (first, last) = (ends().min().unwrap_or_default(), ends().max().unwrap_or_default());
    successes(told) * 1_000.0 / (last.saturating_sub(first).max(1)) as f64
}

/// Jain's index over the successes of each client: 1 where all have the same.
fn jain(told: &[Told], clients: impl Iterator<Item = usize>) -> f64 {
    let of = |client: usize| {
        told.iter().filter(|one| one.done() && one.call.key == Some(client)).count() as f64
    };
    let each: Vec<f64> = clients.map(of).collect();
    let (sum, squares) =
        (each.iter().sum::<f64>(), each.iter().map(|value| value * value).sum::<f64>());
    if squares > 0.0 { sum * sum / (each.len() as f64 * squares) } else { 0.0 }
}

/// C17
pub(super) async fn five_times(rig: &mut Rig) -> anyhow::Result<Vec<Figure>> {
    rig.serve(&["a", "b"]).await?;
    let limits = format!("[upstreams.h.limits]\ninflight_replica = {PLACES}\nqueue = 16\n");
    let table = config::upstream("h", "", &rig.urls()).replacen("[[", &format!("{limits}[["), 1);
    let variable = |number| (format!("CHAOS_KEY_{number}"), key(number));
    rig.variables = (0..CLIENTS).map(variable).collect();
    rig.gateway(&format!("{}{table}", auth())).await?;
    let client = rig.client().with_keys(key);
    rig.up(&client, "h", 2.0).await?;
    let load = |tag: &str, rate: f64, keys: Vec<usize>| {
        let load = rig.load(tag, &["h"]);
        let client = client.clone();
        Load { client, rate, mix: ONCE, keys, ms: Some(WORK_MS), ..load }
    };
    let everyone = || (0..CLIENTS).collect::<Vec<_>>();
    let seconds = rig.options.seconds();
    let (peak, held) = rig.steady(load("peak", CAPACITY * 1.2, everyone()), 8).await;
    let over = load("over", CAPACITY * 5.0, everyone()).start().finish_after(seconds * 2 / 3).await;
    let after = load("after", CAPACITY * 0.5, everyone()).start().finish_after(8).await;
    // One client asks for five times what there is; the nine others for little.
    let greedy = load("greedy", CAPACITY * 4.5, vec![0]).start();
    let modest = load("modest", CAPACITY * 0.5, (1..CLIENTS).collect()).start();
    let modest = modest.finish_after(seconds / 3).await;
    let greedy = greedy.finish().await;

    let began = after.iter().map(|one| one.began_ms).min().unwrap_or_default();
    let late = |one: &&Told| !one.done() && one.began_ms > began + 5_000;
    let late: Vec<String> =
        after.iter().filter(late).map(|one| format!("{} {:?}", one.call.op, one.end)).collect();
    let shed = |one: &&Told| matches!(&one.end, End::Refused(-31_001, _, _));
    let shed: Vec<_> = over.iter().filter(shed).map(|one| one.took).collect();
    let (shed_count, offered) = (shed.len(), over.len());
    let (peak_rate, over_rate) = (goodput(&peak), goodput(&over));
    let served = successes(&modest) / (modest.len().max(1)) as f64;
    let told: Vec<Told> = [peak, over.clone(), after, greedy, modest].concat();
    let mut figures = rig.settled_by(&client, &told, held).await;
    let half = ledger::rank(shed.clone(), 50);
    figures.extend([
        Figure::told("offered, shed", format!("{offered}, {shed_count}")),
        Figure::told("peak, calls/s", format!("{peak_rate:.1} of {CAPACITY}")),
        Figure::at_least("goodput at five times, of the peak", over_rate / peak_rate, 0.9),
        Figure::at_most(
            "p99 of what was taken, ms",
            ledger::percentile(&over, Kind::Append, 99),
            1_500.0 + NOISE_MS,
        ),
        Figure::at_most("half of what was shed was told within, ms", half, 10.0 + NOISE_MS),
        Figure::told("p99 of what was shed, ms", format!("{:.0}", ledger::rank(shed, 99))),
        Figure::none("failed later than 5 s after it was over", &late),
        Figure::at_least("Jain's index over equal clients", jain(&over, 0..CLIENTS), 0.95),
        Figure::at_least("success of the others beside a greedy client", served, 0.95),
    ]);
    Ok(figures)
}

/// C18
pub(super) async fn storm(rig: &mut Rig) -> anyhow::Result<Vec<Figure>> {
    rig.four(true).await?;
    let (steady, held) = rig.steady(rig.load("steady", &["h"]), 5).await;
    for replica in &mut rig.replicas {
        replica.start_with(&["--quirk", "status=503"]).await?;
    }
    let from = now_ms();
    let seconds = rig.options.seconds();
    let told = rig.load("storm", &["h"]).start().finish_after(seconds).await;
    let passed: usize = rig
        .proxies
        .iter()
        .map(|proxy| proxy.passed().iter().filter(|call| call.at_ms >= from).count())
        .sum();
    for replica in &mut rig.replicas {
        replica.start().await?;
    }
    let back = rig.load("back", &["h"]).start().finish_after(10).await;
    let began = back.iter().map(|one| one.began_ms).min().unwrap_or_default();
    let after: Vec<Told> =
        back.iter().filter(|one| one.began_ms > began + 8_000).cloned().collect();
    let most = told.len() as f64 * 1.1 + seconds as f64;
    let all: Vec<Told> = [steady, told.clone(), back].concat();
    let mut figures = rig.settled(&all, held).await;
    figures.extend([
        Figure::told("endings in the storm", ledger::endings(&told)),
        Figure::told("calls offered", told.len().to_string()),
        Figure::at_most("calls that reached the upstream", passed as f64, most),
        Figure::told(
            "success from 8 s after it",
            format!("{:.3}", ledger::success(&after, Kind::Read)),
        ),
    ]);
    Ok(figures)
}

/// Slow clients of each kind in a short run; a whole one has five times as many.
const SLOW_HEADS: usize = 400;
const SLOW_BODIES: usize = 400;
const SLOW_READERS: usize = 20;

/// All of them are closed after so many ms.
const CLOSED_MS: u64 = 65_000;

/// Bytes of an answer that a slow reader does not read: more than the kernel takes for it.
const UNREAD: u64 = 6 * 1024 * 1024;

/// What the kernel takes for a slow reader.
const WINDOW: u32 = 8 * 1024;

/// Clients of each kind that begin in the same moment.
const AT_ONCE: usize = 50;

/// What a slow client is slow at.
#[derive(Debug, Clone, Copy)]
enum Slow {
    Head,
    Body,
    Reading,
}

/// Is slow until it is closed, and answers after how many ms that was.
async fn dawdle(address: String, what: Slow) -> Option<u64> {
    let from = now_ms();
    let socket = tokio::net::TcpSocket::new_v4().ok()?;
    socket.set_recv_buffer_size(WINDOW).ok()?;
    let mut socket = socket.connect(address.parse().ok()?).await.ok()?;
    let read = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"h__ledger_read","arguments":{{"op":"slow-reader","pad":{UNREAD}}},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}},"io.modelcontextprotocol/clientInfo":{{"name":"slow","version":"1"}}}}}}}}"#
    );
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: h__ledger_read\r\nContent-Length: {}\r\n",
        read.len()
    );
    let bytes = match what {
        Slow::Head => head,
        Slow::Body => format!("{head}\r\n{{"),
        Slow::Reading => format!("{head}\r\n{read}"),
    };
    socket.write_all(bytes.as_bytes()).await.ok()?;
    let mut buffer = [0; 256];
    loop {
        let wait = Duration::from_secs(4);
        match what {
            // One byte every four seconds says that somebody is there.
            Slow::Head | Slow::Body => {
                match tokio::time::timeout(wait, socket.read(&mut buffer)).await {
                    Ok(Ok(0) | Err(_)) => return Some(now_ms() - from),
                    Ok(Ok(_)) => continue,
                    Err(_elapsed) => {}
                }
                let filler: &[u8] = if matches!(what, Slow::Head) { b"X" } else { b" " };
                if socket.write_all(filler).await.is_err() {
                    return Some(now_ms() - from);
                }
            }
            Slow::Reading => {
                tokio::time::sleep(wait).await;
                // Reading would let it go on; whether it is closed shows in the state of the socket.
                if socket.take_error().ok().flatten().is_some()
                    || socket.write_all(b"\r\n").await.is_err()
                {
                    return Some(now_ms() - from);
                }
            }
        }
        if now_ms() - from > CLOSED_MS + 10_000 {
            return None;
        }
    }
}

/// C15
pub(super) async fn slow_clients(rig: &mut Rig) -> anyhow::Result<Vec<Figure>> {
    rig.four(false).await?;
    let (steady, held) = rig.steady(rig.load("steady", &["h"]), 6).await;
    let times = if rig.options.is_short() { 1 } else { 5 };
    let mut slow = tokio::task::JoinSet::new();
    let address = rig.address();
    for (what, count) in
        [(Slow::Head, SLOW_HEADS), (Slow::Body, SLOW_BODIES), (Slow::Reading, SLOW_READERS)]
    {
        for number in 0..count * times {
            let address = address.clone();
            slow.spawn(async move { (what, dawdle(address, what).await) });
            if number % AT_ONCE == AT_ONCE - 1 {
                sleep_ms(100).await;
            }
        }
    }
    let running = rig.load("good", &["h"]).start();
    let mut most = 0.0_f64;
    let (mut open, mut slowest) = (Vec::new(), [0_u64; 3]);
    while let Some(done) = slow.join_next().await {
        most = most.max(crate::proc::resident_mib(rig.pid()));
        let (what, closed) = done?;
        match closed {
            Some(ms) => slowest[what as usize] = slowest[what as usize].max(ms),
            None => open.push(format!("{what:?}")),
        }
    }
    let told = running.finish().await;
    let slower = ledger::slower("p99 of the good clients' reads, ms", &told, &steady, 1.2);
    let all: Vec<Told> = steady.into_iter().chain(told.iter().cloned()).collect();
    let mut figures = rig.settled(&all, held).await;
    let [heads, bodies, readers] = slowest;
    figures.extend([
        ledger::reads(&told, 1.0),
        Figure::none("slow clients still open after 75 s", &open),
        Figure::within("last slow head closed", Some(heads), CLOSED_MS),
        Figure::within("last slow body closed", Some(bodies), CLOSED_MS),
        Figure::within("last slow reader closed", Some(readers), CLOSED_MS),
        Figure::told("most memory, MiB", format!("{most:.0}")),
        slower,
    ]);
    Ok(figures)
}
