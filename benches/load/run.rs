//! One run: start everything, measure in interleaved rounds, report.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use std::{env, fs, thread};

use serde_json::{Value, json};

use crate::Result;
use crate::bystanders::{self, Bystanders};
use crate::cells::{CELLS, Cell, Part};
use crate::content::UPSTREAMS;
use crate::driver;
use crate::footprint::{self, Footprint};
use crate::gateway::{self, Fleet, Gateway, Launch, Site};
use crate::growth;
use crate::held;
use crate::lane::{Lane, System};
use crate::nginx::{self, Installed, Nginx};
use crate::options::Options;
use crate::pinning;
use crate::protocol::Era;
use crate::report::{self, Found, Row};
use crate::scratch::Scratch;
use crate::server::{Server, Speaks};

const PEER_START: Duration = Duration::from_secs(10);

pub(crate) async fn run(options: &Options) -> Result<()> {
    let scratch = Scratch::new()?;
    let prefix = pinning::proxy_prefix(options.pinned);
    let peer = Peer::start()?;
    let installed = if options.waypost_only { None } else { nginx::installed() };
    let mut about = about(options, installed.as_ref());
    introduce(options, &about);

    let nginx = match &installed {
        Some(installed) => Some(Nginx::start(installed, &prefix, &scratch, peer.address).await?),
        None => None,
    };
    let site = if options.without_waypost {
        None
    } else {
        Some(Site { program: gateway::program()?, prefix, scratch: &scratch, peer: peer.address })
    };
    let mut found = Found::default();
    if let Some(site) = &site {
        at_rest(options, site, &mut found).await?;
    }
    let gateways = match &site {
        Some(site) => gateways(options, site).await?,
        None => Vec::new(),
    };
    let lanes = lanes(options, &peer, nginx.as_ref(), &gateways);
    let bystanders = Bystanders::watch(peer.server.process(), &lanes)?;
    let measured = measure(options, &lanes).await;
    found.rows = measured.map_err(|error| explain(&error, nginx.as_ref(), &gateways))?;
    let others = if found.rows.is_empty() { 0.0 } else { bystanders.cores()? };
    about["cores_used_by_others"] = others.into();
    drop(gateways);
    if let Some(site) = site.as_ref().filter(|_| options.wants(Part::Growth)) {
        println!("growth");
        let grown = growth::measure(site, options.rounds, options.amount()).await;
        found.growth = Some(grown.map_err(|error| format!("growth: {error}"))?);
    }
    show(&found, others);
    write_summary(options, &report::summary(&about, &found))?;
    let complaints = found.complaints();
    if complaints.is_empty() { Ok(()) } else { Err(complaints.join("; ").into()) }
}

/// The upstream's process and where it listens.
struct Peer {
    server: Server,
    address: SocketAddr,
}

impl Peer {
    /// This program again, with the argument that makes it the peer.
    fn start() -> Result<Self> {
        let command = vec![env::current_exe()?.into(), "--peer".into()];
        let server = Server::start("peer", &[], command, &[], Speaks::Stdout)?;
        let port: u16 = server.wait(PEER_START, |line| line.parse().ok())?;
        Ok(Self { server, address: (Ipv4Addr::LOCALHOST, port).into() })
    }

    fn lane(&self, tools: usize) -> Lane {
        Lane {
            system: System::Direct,
            era: Era::Legacy,
            pair: None,
            address: self.address,
            processes: Vec::new(),
            upstreams: UPSTREAMS,
            tools,
        }
    }
}

fn about(options: &Options, nginx: Option<&Installed>) -> Value {
    json!({
        "pinned": options.pinned,
        "calls": options.amount().calls,
        "rounds": options.rounds,
        "tools_per_upstream": options.tools(),
        "nginx": nginx.map(|nginx| nginx.version.as_str()),
    })
}

fn introduce(options: &Options, about: &Value) {
    println!("load: {about}");
    if about["nginx"].is_null() && !options.waypost_only {
        println!(
            "nginx is not installed (Debian: nginx-light): its column and all ratios are left out"
        );
    }
    println!();
}

fn fleet(options: &Options, era: Option<Era>) -> Fleet {
    let name = era.map_or_else(|| "auto".to_owned(), |era| format!("{era:?}").to_lowercase());
    Fleet { name, upstreams: UPSTREAMS, tools: options.tools(), era, builtins: true }
}

/// What is measured of waypost on its own.
async fn at_rest(options: &Options, site: &Site<'_>, found: &mut Found) -> Result<()> {
    let at_rest = |what, error| format!("waypost, {what}: {error}");
    let launch = Launch::new(site, fleet(options, None))?;
    if options.wants(Part::Start) {
        println!("start and idle memory");
        let footprint: Result<Footprint> =
            footprint::measure(&launch, &Launch::built_in(site)?).await;
        found.footprint = Some(footprint.map_err(|error| at_rest("start", error))?);
    }
    if options.wants(Part::Streams) {
        println!("listen streams");
        let streams = held::streams(&launch).await;
        found.streams = Some(streams.map_err(|error| at_rest("streams", error))?);
    }
    if options.wants(Part::Sessions) {
        println!("idle sessions");
        let sessions = held::sessions(&launch).await;
        found.sessions = Some(sessions.map_err(|error| at_rest("sessions", error))?);
    }
    Ok(())
}

/// One for each era of upstreams that is measured.
async fn gateways(options: &Options, site: &Site<'_>) -> Result<Vec<(Era, Gateway)>> {
    let mut gateways = Vec::new();
    if !CELLS.iter().any(|cell| options.wants(cell.part)) {
        return Ok(gateways);
    }
    for era in [Era::Legacy, Era::Modern] {
        if options.pairs().iter().any(|pair| pair.upstream() == era) {
            let gateway = Launch::new(site, fleet(options, Some(era)))?.start()?;
            gateway.wait_for_tools().await?;
            println!("waypost on {era:?} upstreams is process {}", gateway.process());
            gateways.push((era, gateway));
        }
    }
    Ok(gateways)
}

/// In the order in which each round measures them.
fn lanes(
    options: &Options,
    peer: &Peer,
    nginx: Option<&Nginx>,
    gateways: &[(Era, Gateway)],
) -> Vec<Lane> {
    let tools = options.tools();
    let mut lanes = Vec::new();
    if !options.waypost_only {
        lanes.push(peer.lane(tools));
    }
    lanes.extend(nginx.map(|nginx| nginx.lane(tools)));
    for &pair in options.pairs() {
        let of_era = gateways.iter().filter(|(era, _)| *era == pair.upstream());
        lanes.extend(of_era.map(|(_, gateway)| gateway.lane(pair.client(), Some(pair))));
    }
    lanes
}

/// A round measures every cell on every lane; a disturbance of some seconds then spoils one round
/// of a few cells, which the medians leave out.
async fn measure(options: &Options, lanes: &[Lane]) -> Result<Vec<Row>> {
    let empty = |cell: &Cell| {
        let taken = lanes.iter().filter(|lane| cell.takes(lane, options.chose_pairs()));
        Row { cell: *cell, lanes: taken.map(|lane| (lane.clone(), Vec::new())).collect() }
    };
    let wanted = CELLS.iter().filter(|cell| options.wants(cell.part));
    let mut rows: Vec<Row> = wanted.map(empty).collect();
    if rows.is_empty() {
        return Ok(rows);
    }
    for round in 1..=options.rounds {
        println!("round {round} of {}", options.rounds);
        for row in &mut rows {
            let amount = row.cell.amount(options.amount());
            for (lane, samples) in &mut row.lanes {
                let sample = driver::measure(lane, &row.cell, amount).await;
                let place = |error| format!("{}, {}: {error}", row.cell.name, lane.name());
                samples.push(sample.map_err(place)?);
            }
        }
    }
    Ok(rows)
}

/// The error with what the proxies said, which often tells why.
fn explain(
    error: &crate::Error,
    nginx: Option<&Nginx>,
    gateways: &[(Era, Gateway)],
) -> crate::Error {
    // What a proxy writes last may still be on its way.
    thread::sleep(Duration::from_millis(50));
    let nginx = nginx.map(Nginx::said).unwrap_or_default();
    let said: Vec<String> = gateways.iter().map(|(_, gateway)| gateway.said()).collect();
    format!("{error}\nnginx said:\n  {nginx}\nwaypost said:\n  {}", said.join("\n  ")).into()
}

fn show(found: &Found, others: f64) {
    let samples = found.rows.iter().flat_map(|row| &row.lanes).flat_map(|(_, samples)| samples);
    let grown = found.growth.iter().flat_map(|growth| &growth.0).flat_map(|point| &point.samples);
    let calls: usize = samples.chain(grown).map(|sample| sample.calls).sum();
    println!("\n{}", report::text(found));
    println!("{calls} replies measured, every one the expected bytes");
    if others > bystanders::TOLERABLE {
        println!(
            "warning: other processes used {others:.1} cores meanwhile; the figures are rough"
        );
    }
}

fn write_summary(options: &Options, summary: &Value) -> Result<()> {
    if let Some(file) = &options.json {
        fs::write(file, format!("{summary:#}\n"))?;
    }
    Ok(())
}
