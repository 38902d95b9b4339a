//! `waypost demo-server`: a small real MCP server for demos, drills and tests.
//!
//! It speaks both eras on stdio and Streamable HTTP, and shares no protocol code with the gateway,
//! whose peer it is. Faults that a gateway has to survive are asked for by hidden `--quirk` flags.
//!
//! A line or an HTTP body becomes a message (`wire`), gets its era (`era`, `headers`), is answered
//! by that era's rules (`legacy`, `modern`) and, if it is a call, by a tool (`tools`). What goes
//! out passes an `outlet`, which `stdio` or `http` empties.

mod answer;
mod ask;
mod catalog;
mod chance;
mod era;
mod headers;
mod http;
mod inflight;
mod journal;
mod ledger;
mod legacy;
mod modern;
mod outlet;
mod quirks;
mod server;
mod session;
mod stdio;
mod tools;
mod wire;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use self::quirks::Quirk;
use self::server::Server;

/// What `waypost demo-server` is asked to be.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoServerArgs {
    /// Serve on stdin and stdout (the default)
    #[arg(long, conflicts_with = "port")]
    stdio: bool,
    /// Serve Streamable HTTP at this port; 0 takes any free one
    #[arg(long, value_name = "P")]
    port: Option<u16>,
    /// The address to serve on, one of this machine's own
    #[arg(long, value_name = "IP", default_value = "127.0.0.1", value_parser = own_address)]
    host: IpAddr,
    /// The name that the server goes by
    #[arg(long, value_name = "N", default_value = "demo")]
    name: String,
    /// Wait so many milliseconds before each tool call
    #[arg(long, value_name = "MS", default_value_t = 0)]
    delay: u64,
    /// Let this share of tool calls (0 to 1) fail with a JSON-RPC error
    #[arg(long, value_name = "RATE", default_value = "0", value_parser = chance::parse_rate)]
    fail: f64,
    /// Which calls fail: the same seed picks the same ones
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Speak one era only (default: both)
    #[arg(long, value_name = "ERA")]
    era: Option<EraChoice>,
    /// Add so many plain tools, `tool_0001` and on
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    tools: u32,
    /// Tools on one page of tools/list (default: all)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    page_size: Option<u32>,
    /// How long modern clients may keep a list
    #[arg(long, value_name = "MS", default_value_t = 60_000)]
    ttl: u64,
    /// HTTP: answer GET with 405 instead of an event stream
    #[arg(long)]
    no_get_stream: bool,
    /// Append one JSON line for each run of the tool `append`
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Append one JSON line for each HTTP request or stdin line that arrives
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// A fault to show; may be given more than once
    #[arg(long = "quirk", value_name = "NAME", hide = true)]
    quirks: Vec<Quirk>,
}

/// The value of `--era`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum EraChoice {
    Modern,
    Legacy,
}

/// An address that only this machine reaches: nothing here asks who calls.
fn own_address(text: &str) -> Result<IpAddr, &'static str> {
    let address = text.parse::<IpAddr>().map_err(|_odd| "not an address")?;
    if address.is_loopback() { Ok(address) } else { Err("not a loopback address, like 127.0.0.2") }
}

/// Serves until stdin ends, or for ever on HTTP.
pub(crate) async fn run(args: DemoServerArgs) -> anyhow::Result<()> {
    let (host, port) = (args.host, args.port);
    let server = Arc::new(Server::new(args)?);
    server.quirks.start(&server).await?;
    match port {
        Some(port) => http::serve(server, host, port).await,
        None => stdio::serve(server).await,
    }
}
