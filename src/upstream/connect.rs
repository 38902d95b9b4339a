//! Brings one replica up: starts or dials it, finds its era, greets it. The verdicts are in
//! `greet`; here are the messages and the waits.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::base::fault::brief;
use crate::base::{Fault, Kind, Sent, Tasks};
use crate::egress::{Dial, HttpClient};
use crate::proto::answer::Body;
use crate::proto::legacy::{self, Welcome};
use crate::proto::listen::Filter;
use crate::proto::modern::{self, Discovered};
use crate::proto::{Abilities, Method, Offers, Version};

use super::channel::{Channel, ChannelLink};
use super::exchange::{Done, Exchange, Frame};
use super::greet::{self, Verdict};
use super::http::{HttpExchange, HttpLink};
use super::launch::{Launch, Process};
use super::replica::{Link, Live, Replica};
use super::spec::{EraPolicy, HttpSpec, LaunchSpec, ReplicaKind, Transport};
use super::sse::{self, SseSession};
use super::stderr::StderrTail;
use super::stdio;
use super::supervisor::{Exit, StopPace};

/// Longest wait for `server/discover` and `initialize` of a server that runs.
pub const GREET_TIMEOUT: Duration = Duration::from_secs(10);
/// A starting child holds a place among the starting ones no longer than this.
const START_SHARE: Duration = Duration::from_secs(2);
/// How long an ended child may take to tell how it ended.
const EXIT_WAIT: Duration = Duration::from_secs(1);

/// A child that could not be greeted: it has nothing to finish.
const STOP_UNGREETED: StopPace =
    StopPace { closed: Duration::from_millis(200), asked: Duration::from_secs(5) };
/// A probe: nothing of it is needed any more.
const STOP_PROBE: StopPace =
    StopPace { closed: Duration::from_millis(200), asked: Duration::from_secs(1) };

/// What is needed to bring replicas up. One for the whole process.
#[derive(Clone, Debug)]
pub struct Means {
    /// Starts children.
    pub supervisor: Arc<dyn Launch>,
    /// Makes the connections to servers behind URLs in the place of TCP; `None` = TCP.
    pub dial: Option<Arc<dyn Dial>>,
    /// Every task of this floor.
    pub tasks: Tasks,
    /// Who we are, for `clientInfo`.
    pub us: Arc<Value>,
}

/// A running child with its channel.
#[derive(Debug)]
pub struct Running {
    child: Box<dyn Process>,
    channel: Arc<Channel>,
    stderr: StderrTail,
}

/// A greeted replica.
#[derive(Debug)]
pub struct Session {
    /// What calls use.
    pub live: Arc<Live>,
    /// The process behind it, where there is one.
    pub child: Option<Running>,
    /// The stream behind it, where that is the whole session.
    pub stream: Option<SseSession>,
    /// Its era was asked for, and may change when it is asked again.
    pub probed: bool,
}

/// Connects and greets a replica.
pub async fn connect(
    replica: &Replica,
    means: &Means,
    client: Option<&HttpClient>,
) -> Result<Session, Fault> {
    match (&replica.spec.kind, client) {
        (ReplicaKind::Child(launch), _) => connect_child(replica, launch, means).await,
        (ReplicaKind::Http(spec), Some(client)) => {
            let link = HttpLink::new(spec, client.clone(), means.tasks.clone());
            match spec.transport {
                Transport::Sse => connect_sse(replica, link, means).await,
                Transport::Auto | Transport::Http => connect_http(replica, spec, link, means).await,
            }
        }
        (ReplicaKind::Http(_), None) => Err(Fault::gateway(Kind::Connect, "it has no HTTP client")),
    }
}

// === children ===

async fn connect_child(
    replica: &Replica,
    launch: &LaunchSpec,
    means: &Means,
) -> Result<Session, Fault> {
    let verdict = match replica.spec.era {
        // Only legacy servers are told of abilities in advance.
        _ if !replica.place.abilities.is_empty() => Verdict::Legacy,
        EraPolicy::Legacy => Verdict::Legacy,
        EraPolicy::Modern => Verdict::Modern(assumed_modern()),
        EraPolicy::Auto => probe_child(replica, launch, means).await?,
    };
    let running = start(replica, launch, means).await?;
    let outcome = match verdict {
        Verdict::Modern(found) => {
            let (link, offers) = modern_child(&running, &found);
            let unasked = replica.spec.era == EraPolicy::Modern;
            let told = if unasked { offers_of(&link, launch, means).await } else { None };
            Ok((link, told.unwrap_or(offers)))
        }
        Verdict::Legacy => {
            greet_legacy_child(&running, launch, means, replica.place.abilities).await
        }
        Verdict::Incompatible(why) => Err(Fault::upstream(Kind::Protocol, Sent::No, why)),
        Verdict::Unknown(fault) => Err(fault),
    };
    match outcome {
        Ok((link, offers)) => {
            let events = Arc::clone(running.channel.events());
            let live = Arc::new(Live::new(Link::Stdio(link), offers, events));
            let probed = replica.spec.era == EraPolicy::Auto;
            Ok(Session { live, child: Some(running), stream: None, probed })
        }
        Err(fault) => Err(running.end(fault).await),
    }
}

/// What a modern child that nobody asked for its era says that it offers; `None` if it does not say.
async fn offers_of(link: &ChannelLink, launch: &LaunchSpec, means: &Means) -> Option<Offers> {
    let number = link.channel().number();
    let body = modern::request(number, Method::Discover.name(), None, &means.us);
    let exchange = Exchange::Channel(link.ask(body, number).ok()?);
    let done = tokio::select! {
        biased;
        outcome = exchange.finish() => outcome.ok()?,
        _ = first_byte_then(link.channel(), launch.start_timeout) => return None,
    };
    Some(modern::read_discovered(done.result()?)?.offers)
}

/// What is assumed of a server that the operator calls modern, and that does not say: its list will
/// show the rest.
fn assumed_modern() -> Discovered {
    Discovered { version: Some(Version::MODERN_NEWEST), offers: Offers::EVERYTHING }
}

/// Asks a disposable sibling for its era. The child that is kept never sees the question: some
/// legacy servers die from it, and some dual-era ones lock on the first message.
async fn probe_child(
    replica: &Replica,
    launch: &LaunchSpec,
    means: &Means,
) -> Result<Verdict, Fault> {
    let running = start(replica, launch, means).await?;
    let link = ChannelLink::new(Arc::clone(&running.channel), Version::MODERN_NEWEST);
    let number = running.channel.number();
    let ask = link.ask(modern::request(number, Method::Discover.name(), None, &means.us), number);
    let outcome = match ask {
        Ok(exchange) => {
            let limit = first_byte_then(&running.channel, launch.start_timeout);
            tokio::select! {
                biased;
                outcome = Exchange::Channel(exchange).finish() => outcome,
                fault = limit => Err(fault),
            }
        }
        Err(fault) => Err(fault),
    };
    let verdict = greet::over_stdio(outcome);
    tracing::debug!(upstream = %replica.upstream, replica = %replica.spec.name, ?verdict, "probed");
    running.throw_away(&means.tasks);
    Ok(verdict)
}

/// Resolves when a child has taken too long: the start timeout to its first byte, then
/// [`GREET_TIMEOUT`].
async fn first_byte_then(channel: &Channel, start_timeout: Duration) -> Fault {
    if tokio::time::timeout(start_timeout, channel.spoke()).await.is_ok() {
        tokio::time::sleep(GREET_TIMEOUT).await;
    }
    Fault::upstream(Kind::Timeout, Sent::Maybe, "it did not answer in time after its start")
}

async fn start(replica: &Replica, launch: &LaunchSpec, means: &Means) -> Result<Running, Fault> {
    let (mut child, pipes) = means.supervisor.launch(launch).await?;
    let declared = replica.place.abilities;
    let channel = stdio::open(pipes.stdin, pipes.stdout, declared, &means.tasks);
    let (share, starting) = (child.start_share(), Arc::clone(&channel));
    means.tasks.spawn(async move {
        tokio::select! {
            biased;
            () = starting.spoke() => {}
            () = starting.closed() => {}
            () = tokio::time::sleep(START_SHARE) => {}
        }
        drop(share);
    });
    let names = (replica.upstream.clone(), replica.spec.name.clone());
    let stderr = StderrTail::drain(&means.tasks, pipes.stderr, names.0, names.1);
    Ok(Running { child, channel, stderr })
}

type GreetedChild = (ChannelLink, Offers);

fn modern_child(running: &Running, found: &Discovered) -> GreetedChild {
    let version = found.version.unwrap_or(Version::MODERN_NEWEST);
    (ChannelLink::new(Arc::clone(&running.channel), version), found.offers.clone())
}

/// Asks a modern child to tell of changes: the number of the request comes with it. Dropping the
/// exchange ends the subscription.
pub fn listen_child(
    link: &ChannelLink,
    filter: &Filter,
    means: &Means,
) -> Result<(u64, Exchange), Fault> {
    let number = link.channel().number();
    let body = modern::listen_request(number, &means.us, filter);
    link.ask(body, number).map(|exchange| (number, Exchange::Channel(exchange)))
}

async fn greet_legacy_child(
    running: &Running,
    launch: &LaunchSpec,
    means: &Means,
    abilities: Abilities,
) -> Result<GreetedChild, Fault> {
    let channel = &running.channel;
    let link = ChannelLink::new(Arc::clone(channel), Version::LEGACY_NEWEST);
    let number = channel.number();
    let exchange = link.ask(legacy::initialize_request(number, &means.us, abilities), number)?;
    let done = tokio::select! {
        biased;
        outcome = Exchange::Channel(exchange).finish() => outcome?,
        fault = first_byte_then(channel, launch.start_timeout) => return Err(fault),
    };
    if greet::refused_handshake(&done) {
        // The probe ran out of time on a modern server that was slow to start.
        return Ok(modern_child(running, &assumed_modern()));
    }
    let welcome = welcome(&done)?;
    channel.tell(legacy::INITIALIZED.to_vec())?;
    Ok((ChannelLink::new(Arc::clone(channel), welcome.version), welcome.offers))
}

impl Running {
    /// Its channel.
    pub fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }

    /// Waits until the child or its channel ends, and tells how.
    pub async fn ended(&mut self) -> Fault {
        tokio::select! {
            biased;
            exit = self.child.wait() => return self.obituary(Some(exit)),
            () = self.channel.closed() => {}
        }
        let exit = tokio::time::timeout(EXIT_WAIT, self.child.wait()).await.ok();
        self.obituary(exit)
    }

    /// Why the child is no longer there: its own last words count most.
    fn obituary(&self, exit: Option<Exit>) -> Fault {
        let why = self.channel.why_closed();
        let mut message = match (&why, exit) {
            (Some(fault), _) if fault.kind != Kind::Closed => fault.message.clone().into_owned(),
            (_, Some(exit)) => format!("it ended ({exit})"),
            (Some(fault), None) => fault.message.clone().into_owned(),
            (None, None) => "it ended".to_owned(),
        };
        if let Some(words) = self.stderr.last_line() {
            message = format!("{message}; its last words: {words}");
        }
        let kind = why.map_or(Kind::Closed, |fault| fault.kind);
        Fault::upstream(kind, Sent::Maybe, message)
    }

    /// Stops a child that could not be greeted. The fault learns how the child ended, if it did.
    async fn end(mut self, fault: Fault) -> Fault {
        let fault = match fault.kind {
            Kind::Closed => match tokio::time::timeout(EXIT_WAIT, self.ended()).await {
                Ok(how) => how,
                Err(_) => fault,
            },
            _ => fault,
        };
        self.stop(STOP_UNGREETED, &fault).await;
        fault
    }

    /// Stops the child: its stdin is closed first, then it is asked, then it is killed.
    pub async fn stop(mut self, pace: StopPace, why: &Fault) {
        self.channel.close(why);
        if self.child.stop(pace).await.is_none() {
            tracing::warn!(pid = self.child.pid(), "a child could not be ended");
        }
    }

    /// The same for a child that nobody uses. As soon as somebody wants it again it is not given
    /// more time to end by itself, but asked: the call waits until it is gone.
    pub async fn stop_idle(mut self, why: &Fault, wanted: impl Future<Output = ()>) {
        let pace = StopPace::default();
        self.channel.close(why);
        tokio::select! {
            biased;
            ended = tokio::time::timeout(pace.closed, self.child.wait()) => {
                if ended.is_ok() {
                    return;
                }
            }
            () = wanted => {}
        }
        self.stop(StopPace { closed: Duration::ZERO, ..pace }, why).await;
    }

    /// Stops a probe in the background: nobody waits for it.
    fn throw_away(self, tasks: &Tasks) {
        tasks.spawn(async move {
            let why = Fault::gateway(Kind::Cancelled, "the probe is over");
            self.stop(STOP_PROBE, &why).await;
        });
    }
}

// === URLs ===

async fn connect_http(
    replica: &Replica,
    spec: &HttpSpec,
    mut link: HttpLink,
    means: &Means,
) -> Result<Session, Fault> {
    let (policy, abilities) = (replica.spec.era, replica.place.abilities);
    let probed = policy == EraPolicy::Auto && abilities.is_empty();
    let verdict = match policy {
        // Only legacy servers are told of abilities in advance.
        _ if !abilities.is_empty() => Verdict::Legacy,
        EraPolicy::Legacy => Verdict::Legacy,
        EraPolicy::Auto | EraPolicy::Modern => probe_http(&link, means).await,
    };
    let offers = match verdict {
        Verdict::Modern(found) => {
            link.speak(found.version.unwrap_or(Version::MODERN_NEWEST), None);
            found.offers
        }
        Verdict::Legacy if policy == EraPolicy::Modern => {
            return Err(protocol(format!("{} does not speak the modern era", spec.url)));
        }
        Verdict::Legacy => match greet_http(&mut link, means, abilities).await? {
            Greeted::Welcome(welcome) => welcome.offers,
            Greeted::Refused(refusal) if spec.transport == Transport::Auto => {
                return match connect_sse(replica, link, means).await {
                    Ok(session) => Ok(Session { probed, ..session }),
                    Err(fault) => Err(neither(&refusal, &fault)),
                };
            }
            Greeted::Refused(refusal) => return Err(refusal),
        },
        Verdict::Incompatible(why) => return Err(protocol(why)),
        Verdict::Unknown(fault) => return Err(fault),
    };
    let live = Arc::new(Live::new(Link::Http(link), offers, Arc::default()));
    Ok(Session { live, child: None, stream: None, probed })
}

/// Asks a server behind a URL for its era.
pub async fn probe_http(link: &HttpLink, means: &Means) -> Verdict {
    let number = link.number();
    let body = modern::request(number, Method::Discover.name(), None, &means.us);
    let exchange = Exchange::Http(link.ask(body, number, Method::Discover));
    greet::over_http(bounded(exchange.finish()).await)
}

/// How a legacy server behind a URL took the handshake of Streamable HTTP.
enum Greeted {
    Welcome(Welcome),
    /// Not at all: it may be older than that transport.
    Refused(Fault),
}

async fn greet_http(
    link: &mut HttpLink,
    means: &Means,
    abilities: Abilities,
) -> Result<Greeted, Fault> {
    link.speak_handshake();
    let number = link.number();
    let body = legacy::initialize_request(number, &means.us, abilities);
    let mut exchange = link.ask(body, number, Method::Initialize);
    let outcome = bounded(finish(&mut exchange)).await;
    let may_be_older = greet::may_be_older(&outcome);
    let welcome = match outcome.and_then(|done| welcome(&done)) {
        Ok(welcome) => welcome,
        Err(fault) if may_be_older => return Ok(Greeted::Refused(fault)),
        Err(fault) => return Err(fault),
    };
    link.speak(welcome.version, exchange.session().cloned());
    if let Err(fault) = link.tell(legacy::INITIALIZED).await {
        link.end_session().await;
        return Err(fault);
    }
    Ok(Greeted::Welcome(welcome))
}

/// Opens a session of the HTTP+SSE transport and greets its server. One session, one stream.
async fn connect_sse(
    replica: &Replica,
    mut http: HttpLink,
    means: &Means,
) -> Result<Session, Fault> {
    http.speak_handshake();
    let stream = sse::open(&http, replica.place.abilities, &means.tasks).await?;
    let channel = stream.channel();
    let link = ChannelLink::new(Arc::clone(channel), Version::LEGACY_NEWEST);
    let number = channel.number();
    let hello = legacy::initialize_request(number, &means.us, replica.place.abilities);
    let done = bounded(Exchange::Channel(link.ask(hello, number)?).finish()).await?;
    let welcome = welcome(&done)?;
    stream.agree(welcome.version).tell(legacy::INITIALIZED).await?;
    let link = ChannelLink::new(Arc::clone(channel), welcome.version);
    let events = Arc::clone(channel.events());
    let live = Arc::new(Live::new(Link::Sse(link, http), welcome.offers, events));
    Ok(Session { live, child: None, stream: Some(stream), probed: false })
}

/// A server that is spoken to in neither of the ways there are.
fn neither(streamable: &Fault, sse: &Fault) -> Fault {
    let message = format!(
        "it speaks neither Streamable HTTP (POST of initialize: {}) nor HTTP+SSE ({}): check its url, or name its transport",
        streamable.message, sse.message
    );
    Fault { message: message.into(), ..streamable.clone() }
}

async fn finish(exchange: &mut HttpExchange) -> Result<Done, Fault> {
    loop {
        if let Frame::Done(done) = exchange.next().await? {
            return Ok(done);
        }
    }
}

async fn bounded<T>(work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    tokio::time::timeout(GREET_TIMEOUT, work).await.unwrap_or_else(|_| {
        let message = format!("it did not answer within {} s", GREET_TIMEOUT.as_secs());
        Err(Fault::upstream(Kind::Timeout, Sent::Maybe, message))
    })
}

fn welcome(done: &Done) -> Result<Welcome, Fault> {
    match &done.answer.body {
        Body::Result(parts) => {
            let result = parts.span.map(|span| span.of(&done.message)).unwrap_or_default();
            legacy::read_welcome(result).map_err(protocol)
        }
        Body::Error(error) => {
            let text = brief(error.span.of(&done.message));
            Err(protocol(format!("it refused initialize: {text}")))
        }
    }
}

fn protocol(message: String) -> Fault {
    Fault::upstream(Kind::Protocol, Sent::No, message)
}
