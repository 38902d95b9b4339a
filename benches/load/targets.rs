//! The targets and what was found of them, as Markdown.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::cells::Part;
use crate::growth::{Growth, Step};
use crate::protocol::Pair;
use crate::report::{Found, Row};
use crate::stats::Figures;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// Times what nginx has in the same run.
    Nginx,
    /// Times the smallest point of the line.
    Smallest,
    Megabytes,
    Kibibytes,
    Milliseconds,
    Count,
}

#[derive(Clone, Copy, Debug)]
enum Bound {
    Most {
        aim: f64,
        land: f64,
    },
    /// So far from 1 at most.
    Flat(f64),
}

/// One target with all that was found for it; the worst decides.
struct Target {
    what: &'static str,
    /// What it is of, if it is of several, and the figure.
    found: Vec<(String, f64)>,
    unit: Unit,
    bound: Bound,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Nginx | Self::Smallest => format!("{value:.2} ×"),
            Self::Megabytes => format!("{value:.1} MB"),
            Self::Kibibytes => format!("{value:.1} KiB"),
            Self::Milliseconds => format!("{value:.0} ms"),
            Self::Count => format!("{value:.0}"),
        }
    }
}

impl Target {
    fn verdict(&self) -> &'static str {
        let all = |within: &dyn Fn(f64) -> bool| self.found.iter().all(|(_, value)| within(*value));
        match self.bound {
            Bound::Most { aim, .. } if all(&|value| value <= aim) => "aim met",
            Bound::Most { land, .. } if all(&|value| value <= land) => "lands",
            Bound::Flat(most) if all(&|value| (value - 1.0).abs() <= most) => "aim met",
            _ => "missed",
        }
    }

    fn bounds(&self) -> (String, String) {
        match self.bound {
            Bound::Most { aim, land } => {
                (format!("≤ {}", self.unit.show(aim)), format!("≤ {}", self.unit.show(land)))
            }
            Bound::Flat(most) => (format!("1 ± {most:.2}"), String::new()),
        }
    }

    fn to_markdown(&self) -> String {
        let shown = self.found.iter().map(|(of, value)| {
            let value = self.unit.show(*value);
            if of.is_empty() { value } else { format!("{of} {value}") }
        });
        let found = shown.collect::<Vec<_>>().join(", ");
        let (aim, land) = self.bounds();
        format!("| {} | {found} | {aim} | {land} | {} |\n", self.what, self.verdict())
    }

    fn to_json(&self) -> Value {
        let found = self.found.iter().map(|(of, value)| json!({ "of": of, "value": value }));
        let (aim, land) = match self.bound {
            Bound::Most { aim, land } => (aim, Some(land)),
            Bound::Flat(most) => (most, None),
        };
        json!({
            "target": self.what,
            "unit": format!("{:?}", self.unit).to_lowercase(),
            "found": found.collect::<Vec<_>>(),
            "aim": aim,
            "to_land": land,
            "verdict": self.verdict(),
        })
    }
}

/// A target of one cell, of all pairs of eras that were measured there.
fn of_cell(
    found: &Found,
    part: Part,
    what: &'static str,
    pick: impl Fn(&Row, Pair) -> Option<f64>,
    bound: Bound,
) -> Option<Target> {
    let row = found.rows.iter().find(|row| row.cell.part == part)?;
    let pairs = Pair::EVERY.into_iter();
    let found: Vec<_> =
        pairs.filter_map(|pair| Some((pair.name().to_owned(), pick(row, pair)?))).collect();
    (!found.is_empty()).then_some(Target { what, found, unit: Unit::Nginx, bound })
}

const fn most(aim: f64, land: f64) -> Bound {
    Bound::Most { aim, land }
}

fn cpu(row: &Row, pair: Pair) -> Option<f64> {
    row.ratio(pair).map(|ratio| ratio.cpu)
}

fn cells(found: &Found) -> Vec<Option<Target>> {
    let added =
        |pick: fn(&Figures) -> f64| move |row: &Row, pair| row.added_ratio(pair).as_ref().map(pick);
    vec![
        of_cell(found, Part::Small16, "CPU per call, 16 sessions, 100 B", cpu, most(1.3, 1.7)),
        of_cell(
            found,
            Part::Small16,
            "the same with every reliability feature on (they are, by default)",
            cpu,
            most(1.45, 1.9),
        ),
        of_cell(found, Part::Large, "CPU per call, 4 sessions, 1 MiB", cpu, most(1.0, 1.5)),
        of_cell(found, Part::List, "CPU per tools/list of 500 tools", cpu, most(1.5, 3.0)),
        of_cell(
            found,
            Part::Open,
            "latency added at 1,000 calls/s, p50",
            added(|figures| figures.p50),
            most(1.3, 1.7),
        ),
        of_cell(
            found,
            Part::Open,
            "latency added at 1,000 calls/s, p99",
            added(|figures| figures.p99),
            most(1.3, 1.7),
        ),
    ]
}

fn one(what: &'static str, value: f64, unit: Unit, bound: Bound) -> Target {
    Target { what, found: vec![(String::new(), value)], unit, bound }
}

fn at_rest(found: &Found) -> Vec<Option<Target>> {
    let start = found.footprint.as_ref();
    let megabytes = |kib: f64| kib * 1024.0 / 1e6;
    vec![
        start.map(|start| {
            let idle = megabytes(start.idle_built_in_kib);
            one("idle memory, built-in default", idle, Unit::Megabytes, most(12.0, 20.0))
        }),
        found.streams.as_ref().map(|held| {
            one("memory per listen stream", held.each_kib(), Unit::Kibibytes, most(24.0, 48.0))
        }),
        found.sessions.as_ref().map(|sessions| {
            let alone = sessions.alone.each_kib();
            one("memory per idle legacy session", alone, Unit::Kibibytes, most(8.0, 16.0))
        }),
        found.sessions.as_ref().map(|sessions| {
            let both = sessions.alone.each_kib() + sessions.connections.each_kib();
            let what = "the same with a connection of its own";
            one(what, both, Unit::Kibibytes, most(8.0, 16.0))
        }),
        start.map(|start| {
            let time = start.start_cached_ms;
            one("exec to first answer, catalog cached", time, Unit::Milliseconds, most(50.0, 250.0))
        }),
    ]
}

/// Descriptors and gauges that did not come back; memory is judged by eye.
fn left(found: &Found) -> Option<Target> {
    let named = found.held().map(|held| {
        let left = u32::try_from(held.complaints().len()).unwrap_or(u32::MAX);
        (format!("{} {}", held.count, held.what), f64::from(left))
    });
    let found: Vec<_> = named.collect();
    let what = "what they left behind, of descriptors, connections, sessions";
    (!found.is_empty()).then_some(Target { what, found, unit: Unit::Count, bound: most(0.0, 0.0) })
}

fn growth(growth: &Growth) -> Vec<Option<Target>> {
    let line = |what, steps: Vec<Step>| {
        let named = steps.into_iter().map(|step| (format!("{}:", step.size), step.ratio));
        let found = named.collect();
        Some(Target { what, found, unit: Unit::Smallest, bound: Bound::Flat(0.10) })
    };
    vec![
        line("CPU per call as upstreams grow", growth.over_upstreams()),
        line("CPU per call as the catalog grows", growth.over_tools()),
    ]
}

fn all(found: &Found) -> Vec<Target> {
    let mut all = cells(found);
    all.extend(at_rest(found));
    all.push(left(found));
    all.extend(found.growth.iter().flat_map(growth));
    all.into_iter().flatten().collect()
}

/// Every target with a verdict, then the CPU of every cell beside nginx's.
pub(crate) fn markdown(found: &Found) -> String {
    let mut text = String::new();
    let targets = all(found);
    if !targets.is_empty() {
        text.push_str("| target | found | aim | to land | verdict |\n|---|---|---|---|---|\n");
        text.extend(targets.iter().map(Target::to_markdown));
        text.push('\n');
    }
    let rows: Vec<&Row> = found.rows.iter().filter(|row| row.compares()).collect();
    if !rows.is_empty() {
        text.push_str("| CPU per call, times nginx's | L>L | M>M | L>M | M>L |\n");
        text.push_str("|---|---|---|---|---|\n");
        text.extend(rows.into_iter().map(cpu_line));
    }
    text
}

fn cpu_line(row: &Row) -> String {
    let mut line = format!("| {} |", row.cell.name);
    for pair in Pair::EVERY {
        let shown = cpu(row, pair).map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        let written = write!(line, " {shown} |");
        debug_assert!(written.is_ok(), "a String takes all that is written to it");
    }
    line.push('\n');
    line
}

pub(crate) fn to_json(found: &Found) -> Vec<Value> {
    all(found).iter().map(Target::to_json).collect()
}
