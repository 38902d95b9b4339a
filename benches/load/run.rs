//! One run: start everything, measure in interleaved rounds, report.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use std::{env, fs, thread};

use serde_json::{Value, json};

use crate::Result;
use crate::bystanders::{self, Bystanders};
use crate::cells::{CELLS, Cell};
use crate::driver;
use crate::footprint::{self, Footprint};
use crate::gateway::{self, Gateway, Launch};
use crate::lane::{Lane, System};
use crate::nginx::{self, Installed, Nginx};
use crate::options::Options;
use crate::pinning;
use crate::protocol::Era;
use crate::report::{self, Row};
use crate::scratch::Scratch;
use crate::server::{Server, Speaks};

const PEER_START: Duration = Duration::from_secs(10);

pub(crate) async fn run(options: &Options) -> Result<()> {
    let scratch = Scratch::new()?;
    let prefix = pinning::proxy_prefix(options.pinned);
    let peer = Peer::start(options.tools())?;
    let installed = if options.waypost_only { None } else { nginx::installed() };
    let mut about = about(options, installed.as_ref());
    introduce(options, &about);

    let nginx = match &installed {
        Some(installed) => Some(Nginx::start(installed, &prefix, &scratch, peer.address).await?),
        None => None,
    };
    let launch = launch(options, prefix, &scratch, peer.address)?;
    let footprint = match &launch {
        Some(launch) => Some(at_rest(launch).await?),
        None => None,
    };
    let gateway = match &launch {
        Some(launch) => Some(start(launch).await?),
        None => None,
    };
    let lanes = lanes(options, &peer, nginx.as_ref(), gateway.as_ref());
    let bystanders = Bystanders::watch(peer.server.process(), &lanes)?;
    let measured = measure(options, &lanes).await;
    let rows = measured.map_err(|error| explain(&error, nginx.as_ref(), gateway.as_ref()))?;
    let others = bystanders.cores()?;
    about["cores_used_by_others"] = others.into();
    show(&rows, footprint.as_ref(), others);
    write_summary(options, &report::summary(&about, &rows, footprint.as_ref()))
}

/// The upstream's process and where it listens.
struct Peer {
    server: Server,
    address: SocketAddr,
}

impl Peer {
    /// This program again, with the argument that makes it the peer.
    fn start(tools: usize) -> Result<Self> {
        let tools = tools.to_string();
        let command =
            vec![env::current_exe()?.into(), "--peer".into(), "--tools".into(), tools.into()];
        let server = Server::start("peer", &[], command, &[], Speaks::Stdout)?;
        let port: u16 = server.wait(PEER_START, |line| line.parse().ok())?;
        Ok(Self { server, address: (Ipv4Addr::LOCALHOST, port).into() })
    }

    fn lane(&self, tools: usize) -> Lane {
        Lane {
            system: System::Direct,
            era: Era::Legacy,
            address: self.address,
            processes: Vec::new(),
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
        "upstream_era": format!("{:?}", options.upstream_era).to_lowercase(),
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

fn launch(
    options: &Options,
    prefix: Vec<&'static str>,
    scratch: &Scratch,
    peer: SocketAddr,
) -> Result<Option<Launch>> {
    if options.without_waypost {
        return Ok(None);
    }
    let launch = Launch::new(gateway::program()?, prefix, scratch, peer, options.upstream_era)?;
    Ok(Some(launch.with_tools(options.tools())))
}

async fn at_rest(launch: &Launch) -> Result<Footprint> {
    footprint::measure(launch).await.map_err(|error| format!("waypost at rest: {error}").into())
}

async fn start(launch: &Launch) -> Result<Gateway> {
    let gateway = launch.start()?;
    gateway.wait_for_tools().await?;
    println!("waypost is process {}", gateway.process());
    Ok(gateway)
}

/// In the order in which each round measures them.
fn lanes(
    options: &Options,
    peer: &Peer,
    nginx: Option<&Nginx>,
    gateway: Option<&Gateway>,
) -> Vec<Lane> {
    let tools = options.tools();
    let mut lanes = Vec::new();
    if !options.waypost_only {
        lanes.push(peer.lane(tools));
    }
    lanes.extend(nginx.map(|nginx| nginx.lane(tools)));
    if let Some(gateway) = gateway {
        lanes.extend(options.eras().into_iter().map(|era| gateway.lane(era)));
    }
    lanes
}

/// A round measures every cell on every lane; a disturbance of some seconds then spoils one round
/// of a few cells, which the medians leave out.
async fn measure(options: &Options, lanes: &[Lane]) -> Result<Vec<Row>> {
    let empty = |cell: &Cell| {
        let lanes = lanes.iter().map(|lane| (lane.clone(), Vec::new()));
        Row { cell: *cell, lanes: lanes.collect() }
    };
    let wanted = CELLS.iter().filter(|cell| options.wants(cell.group));
    let mut rows: Vec<Row> = wanted.map(empty).collect();
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
fn explain(error: &crate::Error, nginx: Option<&Nginx>, gateway: Option<&Gateway>) -> crate::Error {
    // What a proxy writes last may still be on its way.
    thread::sleep(Duration::from_millis(50));
    let nginx = nginx.map(Nginx::said).unwrap_or_default();
    let gateway = gateway.map(Gateway::said).unwrap_or_default();
    format!("{error}\nnginx said:\n  {nginx}\nwaypost said:\n  {gateway}").into()
}

fn show(rows: &[Row], footprint: Option<&Footprint>, others: f64) {
    let calls: usize = rows
        .iter()
        .flat_map(|row| &row.lanes)
        .flat_map(|(_, samples)| samples)
        .map(|sample| sample.calls)
        .sum();
    println!("\n{}", report::table(rows));
    if let Some(footprint) = footprint {
        println!("waypost at rest\n{}", report::footprint(footprint));
    }
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
