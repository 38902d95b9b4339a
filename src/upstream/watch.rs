//! Watches a replica that is up, until it is not.

use std::sync::Arc;
use std::time::Duration;

use crate::base::{Fault, Kind, Sent, rng};
use crate::proto::answer::Body;
use crate::proto::{Era, Method, Version};

use super::changes::Changes;
use super::connect::{Means, Running, Session, probe_http};
use super::greet::Verdict;
use super::http::HttpLink;
use super::listing;
use super::replica::{Link, Live, Replica};
use super::report::Report;

/// How often a server behind a URL is looked at.
pub const WATCH_INTERVAL: Duration = Duration::from_secs(10);
/// Longest wait for the answer to a look.
pub const WATCH_TIMEOUT: Duration = Duration::from_secs(2);
/// So many looks in a row without an answer take a replica down; one refused connection does too.
pub const WATCH_FALL: u32 = 3;
/// A legacy verdict on a URL is asked for again this often: the server may have been replaced.
pub const REPROBE_INTERVAL: Duration = Duration::from_mins(15);
/// Changes within this time are listed once.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// Why watching ended.
#[derive(Debug)]
pub enum End {
    /// The replica is down.
    Down(Fault),
    /// The replica must be greeted anew, at once: it speaks another era, or lost our session.
    Greet(Fault),
}

/// Watches a session. Every new tool list is reported.
pub async fn watch(
    session: &mut Session,
    replica: &Replica,
    means: &Means,
    report: &Report,
) -> End {
    let live = Arc::clone(&session.live);
    match (&live.link, &mut session.child) {
        (Link::Stdio(_), Some(running)) => {
            watch_child(running, &live, replica, means, report).await
        }
        (Link::Http(link), _) => {
            watch_http(
                &Watched { link, live: &live, probed: session.probed },
                replica,
                means,
                report,
            )
            .await
        }
        (Link::Stdio(_), None) => End::Down(Fault::gateway(Kind::Closed, "it has no process")),
    }
}

async fn watch_child(
    running: &mut Running,
    live: &Live,
    replica: &Replica,
    means: &Means,
    report: &Report,
) -> End {
    let channel = Arc::clone(running.channel());
    let mut ended = std::pin::pin!(running.ended());
    loop {
        tokio::select! {
            fault = &mut ended => return End::Down(fault),
            () = channel.tools_changed() => {}
        }
        list_again(live, replica, means, report).await;
    }
}

/// Lists anew after a change, and reports what there is.
async fn list_again(live: &Live, replica: &Replica, means: &Means, report: &Report) {
    tokio::time::sleep(DEBOUNCE).await;
    match listing::tools(live, &means.us).await {
        Ok(tools) => report.listed(replica, live, tools).await,
        Err(fault) => tracing::warn!(%fault, "could not list the tools again"),
    }
}

/// A server behind a URL while it is watched.
struct Watched<'a> {
    link: &'a HttpLink,
    live: &'a Live,
    /// Its era was asked for.
    probed: bool,
}

async fn watch_http(
    session: &Watched<'_>,
    replica: &Replica,
    means: &Means,
    report: &Report,
) -> End {
    let Watched { link, live, probed } = *session;
    let mut changes = Changes::new(link, &means.us);
    let mut misses = 0;
    let mut reprobe = std::pin::pin!(tokio::time::sleep(REPROBE_INTERVAL));
    loop {
        let mut suspect = false;
        let interval = rng::jitter(WATCH_INTERVAL, 20, rng::draw());
        tokio::select! {
            () = changes.next(), if live.tools_changed => {
                list_again(live, replica, means, report).await;
                continue;
            }
            () = &mut reprobe, if probed && live.dialect().era == Era::Legacy => {
                reprobe.as_mut().reset(tokio::time::Instant::from_std(crate::base::clock::now()) + REPROBE_INTERVAL);
                if let Some(era) = other_era(link, means).await {
                    return End::Greet(era);
                }
                continue;
            }
            () = replica.doubted() => suspect = true,
            () = tokio::time::sleep(interval) => {}
        }
        match look(live, means).await {
            Ok(content) => {
                misses = 0;
                if probed
                    && (suspect || !content)
                    && let Some(era) = other_era(link, means).await
                {
                    return End::Greet(era);
                }
            }
            Err(fault) if fault.kind == Kind::SessionLost => return End::Greet(fault),
            Err(fault) => {
                misses += 1;
                if fault.kind == Kind::Connect || misses >= WATCH_FALL {
                    return End::Down(fault);
                }
            }
        }
    }
}

/// Asks a server for its era anew: what is to be said if it is another one than we speak. A server
/// can be replaced by one of the other era so fast that nobody sees it gone.
async fn other_era(link: &HttpLink, means: &Means) -> Option<Fault> {
    let mut fresh = link.clone();
    fresh.speak(Version::MODERN_NEWEST, None);
    let era = match (probe_http(&fresh, means).await, link.dialect().era) {
        (Verdict::Modern(_), Era::Legacy) => "modern",
        (Verdict::Legacy, Era::Modern) => "legacy",
        _ => return None,
    };
    Some(Fault::upstream(Kind::Protocol, Sent::No, format!("it speaks the {era} era now")))
}

/// Asks whether the server is there: `server/discover` or `ping`. Any answer at all is a yes;
/// `false` if the answer was an error.
async fn look(live: &Live, means: &Means) -> Result<bool, Fault> {
    let method = match live.dialect().era {
        Era::Modern => Method::Discover,
        Era::Legacy => Method::Ping,
    };
    match live.ask(method, None, WATCH_TIMEOUT, &means.us).await {
        // Some legacy servers know no ping.
        Ok(done) => Ok(method == Method::Ping || matches!(done.answer.body, Body::Result(_))),
        // The server is there and busy with refusing us: calls will tell the client why.
        Err(fault) if matches!(fault.kind, Kind::Status(401 | 403 | 405 | 429)) => Ok(true),
        Err(fault) if matches!(fault.kind, Kind::Status(400..=499)) => Ok(method == Method::Ping),
        Err(fault) => Err(fault),
    }
}
