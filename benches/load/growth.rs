//! CPU for each call as upstreams and tools grow: it should not grow with them.

use crate::Result;
use crate::cells::SPREAD;
use crate::driver::{self, Amount};
use crate::gateway::{Fleet, Gateway, Launch, Site};
use crate::protocol::{Era, Pair};
use crate::stats::{self, Sample};

/// Upstreams and tools of each, chosen so that of two points of a line only one thing differs.
const POINTS: [(usize, usize); 6] =
    [(1, 1_000), (10, 100), (100, 10), (10, 1), (10, 10), (10, 1_000)];

/// The places of [`POINTS`] where upstreams grow and the catalog stays, the smallest first.
const UPSTREAMS_GROW: [usize; 3] = [0, 1, 2];
/// Where the catalog grows and the upstreams stay.
const TOOLS_GROW: [usize; 4] = [3, 4, 1, 5];

/// Each round measures each point so often: the differences looked for are small.
const REPEATS: u32 = 3;

/// One gateway and what was found of it.
#[derive(Debug)]
pub(crate) struct Point {
    pub(crate) upstreams: usize,
    /// Of all upstreams together.
    pub(crate) tools: usize,
    pub(crate) samples: Vec<Sample>,
}

#[derive(Debug)]
pub(crate) struct Growth(pub(crate) Vec<Point>);

/// A point with its CPU for each call over that of the smallest point of its line.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) size: usize,
    pub(crate) ratio: f64,
}

impl Growth {
    pub(crate) fn over_upstreams(&self) -> Vec<Step> {
        self.line(&UPSTREAMS_GROW, |point| point.upstreams)
    }

    pub(crate) fn over_tools(&self) -> Vec<Step> {
        self.line(&TOOLS_GROW, |point| point.tools)
    }

    fn line(&self, places: &[usize], size: fn(&Point) -> usize) -> Vec<Step> {
        let points: Vec<&Point> = places.iter().filter_map(|&place| self.0.get(place)).collect();
        let smallest = points.first().map(|point| point.samples.as_slice()).unwrap_or_default();
        let step = |point: &&Point| {
            let ratio = stats::ratios(&point.samples, smallest).cpu;
            Step { size: size(point), ratio }
        };
        points.iter().map(step).collect()
    }
}

/// All gateways run side by side and are measured in turn.
pub(crate) async fn measure(site: &Site<'_>, rounds: u32, asked: Amount) -> Result<Growth> {
    let mut gateways = Vec::with_capacity(POINTS.len());
    for (upstreams, tools) in POINTS {
        let gateway = start(site, upstreams, tools).await?;
        gateways.push((gateway, Vec::new()));
    }
    let amount = SPREAD.amount(asked);
    for _ in 0..rounds * REPEATS {
        for (gateway, samples) in &mut gateways {
            let lane = gateway.lane(Era::Modern, Some(Pair::Mm));
            let sample = driver::measure(&lane, &SPREAD, amount).await;
            samples.push(sample.map_err(|error| format!("{}: {error}", gateway.fleet.name))?);
        }
    }
    let point = |(gateway, samples): (Gateway, Vec<Sample>)| Point {
        upstreams: gateway.fleet.upstreams,
        tools: gateway.fleet.all_tools(),
        samples,
    };
    Ok(Growth(gateways.into_iter().map(point).collect()))
}

/// With no tools of its own, so that the catalog is as large as it is said to be.
async fn start(site: &Site<'_>, upstreams: usize, tools: usize) -> Result<Gateway> {
    let name = format!("growth-{upstreams}x{tools}");
    let era = Some(Era::Modern);
    let launch = Launch::new(site, Fleet { name, upstreams, tools, era, builtins: false })?;
    let gateway = launch.start()?;
    let all = f64::from(u32::try_from(gateway.fleet.all_tools())?);
    gateway.wait_for("mcp_catalog_items{", all).await?;
    Ok(gateway)
}
