//! Client sessions whose server keeps something for them, and dies.

use std::collections::BTreeMap;

use http::HeaderValue;
use tokio::task::JoinSet;

use crate::client::{Call, Client, End, Kind, Told};
use crate::config;
use crate::ledger;
use crate::proxy::INITIALIZE;
use crate::report::Figure;
use crate::rig::Rig;
use crate::time::{now_ms, sleep_ms};

/// Sessions; every second one has written something.
const SESSIONS: usize = 100;

/// All of them go on after so many ms.
const BACK_MS: u64 = 3_000;

/// A session gives up after so many ms.
const PATIENCE_MS: u64 = 15_000;

/// One session over the loss of its server.
struct Story {
    number: usize,
    /// The server that it had before.
    had: String,
    back_ms: Option<u64>,
    notices: usize,
    told: Vec<Told>,
}

fn noticed(told: &Told) -> bool {
    matches!(&told.end, End::Odd(text) if text.contains("was lost"))
}

/// Calls of session `number` before the loss.
async fn begin(client: &Client, session: &HeaderValue, number: usize) -> Vec<Told> {
    let call = |upstream: &str, kind: Kind| {
        let op = format!("{upstream}-{number}-{kind:?}-before");
        let session = Some(session.clone());
        client.call(Call { session, ..Call::new(op, upstream, kind, 0) })
    };
    let mut told = vec![call("u", Kind::Read).await, call("v", Kind::Read).await];
    if number.is_multiple_of(2) {
        told.push(call("u", Kind::Append).await);
    }
    told
}

/// Calls on until it is served, and three times more.
async fn go_on(client: Client, session: HeaderValue, number: usize, had: String) -> Story {
    let from = now_ms();
    let mut story = Story { number, had, back_ms: None, notices: 0, told: Vec::new() };
    let kind = if number.is_multiple_of(2) { Kind::Append } else { Kind::Read };
    let mut served = 0;
    for turn in 0_u32.. {
        let op = format!("u-{number}-{turn}-after");
        let session = Some(session.clone());
        let told = client.call(Call { session, ..Call::new(op, "u", kind, 0) }).await;
        story.notices += usize::from(noticed(&told));
        if told.done() {
            served += 1;
            story.back_ms = story.back_ms.or(Some(now_ms() - from));
        }
        story.told.push(told);
        if served == 4 || now_ms() - from > PATIENCE_MS {
            break;
        }
        sleep_ms(100).await;
    }
    let other = Call::new(format!("v-{number}-after"), "v", Kind::Read, 0);
    story.told.push(client.call(Call { session: Some(session), ..other }).await);
    story
}

fn greetings(rig: &Rig, replica: usize) -> Vec<u64> {
    let passed = rig.proxies[replica].passed();
    passed.iter().filter(|call| call.tool == INITIALIZE).map(|call| call.at_ms).collect()
}

/// C19
pub(super) async fn lost(rig: &mut Rig) -> anyhow::Result<Vec<Figure>> {
    rig.serve(&["a", "b", "v"]).await?;
    for replica in &mut rig.replicas {
        replica.start_with(&["--era", "legacy"]).await?;
    }
    rig.proxied().await?;
    let urls = rig.urls();
    let keys = "isolation = \"session\"\n";
    let tables = config::upstream("u", keys, &urls[..2]) + &config::upstream("v", keys, &urls[2..]);
    rig.gateway(&tables).await?;
    let client = rig.client();
    rig.up(&client, "u", 2.0).await?;
    rig.up(&client, "v", 1.0).await?;
    let (mut sessions, mut told) = (Vec::new(), Vec::new());
    for number in 0..SESSIONS {
        let session = client.open().await?;
        let begun = begin(&client, &session, number).await;
        let had = match begun.first().map(|one| &one.end) {
            Some(End::Done(name)) => name.clone(),
            other => anyhow::bail!("session {number} cannot begin: {other:?}"),
        };
        told.extend(begun);
        sessions.push((session, had));
    }
    let held = rig.baseline();
    let (others, before) = (greetings(rig, 2).len(), now_ms());

    rig.replicas[0].kill();
    let mut stories = JoinSet::new();
    for (number, (session, had)) in sessions.into_iter().enumerate() {
        stories.spawn(go_on(client.clone(), session, number, had));
    }
    let stories = stories.join_all().await;
    let after = greetings(rig, 1).into_iter().filter(|at| *at > before);
    let mut seconds: BTreeMap<u64, usize> = BTreeMap::new();
    after.for_each(|at| *seconds.entry(at / 1_000).or_default() += 1);
    let storm = seconds.values().max().copied().unwrap_or_default();
    let others = greetings(rig, 2).len() - others;
    let mut figures = judge(&stories);
    told.extend(stories.into_iter().flat_map(|story| story.told));
    figures.push(Figure::told("most handshakes in a second", storm.to_string()));
    figures.push(Figure::at_most("handshakes at the other upstream", others as f64, 0.0));
    let ran: Vec<String> = ledger::runs(&rig.journal).into_iter().map(|run| run.op).collect();
    let notices = told.iter().filter(|one| noticed(one));
    let lied: Vec<String> =
        notices.map(|one| one.call.op.clone()).filter(|op| ran.contains(op)).collect();
    figures.push(Figure::none("calls that got a notice and ran", &lied));
    // One server is dead now.
    figures.extend(rig.settled(&told, held).await);
    Ok(figures)
}

fn judge(stories: &[Story]) -> Vec<Figure> {
    let hit = |story: &&Story| story.had == "a";
    let slowest = |of: &dyn Fn(&&Story) -> bool| {
        let times = stories.iter().filter(|story| of(story)).map(|story| story.back_ms);
        times.collect::<Option<Vec<u64>>>().map(|all| all.into_iter().max().unwrap_or_default())
    };
    let wrong: Vec<String> = stories
        .iter()
        .filter(|story| {
            let due = usize::from(story.had == "a" && story.number.is_multiple_of(2));
            story.notices != due
        })
        .map(|story| format!("session {} at {}: {}", story.number, story.had, story.notices))
        .collect();
    // The throttle sees the upstream as a whole: for a moment it may refuse calls of others too.
    let throttled = |one: &&Told| matches!(&one.end, End::Refused(-31_001, _, _));
    let (throttled, spoilt): (Vec<&Told>, Vec<&Told>) = stories
        .iter()
        .filter(|story| !hit(story))
        .flat_map(|story| story.told.iter().filter(|one| !one.done()))
        .partition(throttled);
    let spoilt: Vec<String> =
        spoilt.iter().map(|one| format!("{} {:?}", one.call.op, one.end)).collect();
    let lost = stories.iter().filter(hit).count();
    vec![
        Figure::at_least("sessions that lost their server", lost as f64, SESSIONS as f64 / 4.0),
        Figure::within("the last of them goes on after", slowest(&|story| hit(story)), BACK_MS),
        Figure::none("sessions without exactly the notices they are due", &wrong),
        Figure::none("failed calls of sessions at the other server", &spoilt),
        Figure::told("of these sessions, calls throttled", throttled.len().to_string()),
    ]
}
