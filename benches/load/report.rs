//! The table for people and the summary for programs.

use serde_json::{Value, json};

use crate::cells::{Cell, Part};
use crate::footprint::Footprint;
use crate::growth::{Growth, Point, Step};
use crate::held::{Held, Sessions, State};
use crate::lane::{Lane, System};
use crate::protocol::Pair;
use crate::stats::{self, Figures, NAMES, Sample};
use crate::targets;

/// All that a run has found.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) rows: Vec<Row>,
    pub(crate) footprint: Option<Footprint>,
    pub(crate) streams: Option<Held>,
    pub(crate) sessions: Option<Sessions>,
    pub(crate) growth: Option<Growth>,
}

impl Found {
    pub(crate) fn held(&self) -> impl Iterator<Item = &Held> {
        let sessions = self.sessions.iter();
        let both = sessions.flat_map(|sessions| [&sessions.alone, &sessions.connections]);
        self.streams.iter().chain(both)
    }

    /// What did not come back when it should have.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.held().flat_map(Held::complaints).collect()
    }
}

/// One cell on all lanes, in the order in which they were measured.
pub(crate) struct Row {
    pub(crate) cell: Cell,
    pub(crate) lanes: Vec<(Lane, Vec<Sample>)>,
}

const NAME_WIDTH: usize = 22;

/// A line of the table: what it is of, its figures, and how they compare with nginx.
struct Line {
    name: String,
    figures: Figures,
    ratio: Option<Figures>,
    spread: Option<Figures>,
}

impl Row {
    fn of(&self, system: System) -> Option<&[Sample]> {
        let found = self.lanes.iter().find(|(lane, _)| lane.system == system);
        found.map(|(_, rounds)| rounds.as_slice())
    }

    fn of_pair(&self, pair: Pair) -> Option<&[Sample]> {
        let found = self.lanes.iter().find(|(lane, _)| lane.pair == Some(pair));
        found.map(|(_, rounds)| rounds.as_slice())
    }

    /// Whether both nginx and waypost were measured.
    pub(crate) fn compares(&self) -> bool {
        Pair::EVERY.into_iter().any(|pair| self.ratio(pair).is_some())
    }

    /// Times what nginx has.
    pub(crate) fn ratio(&self, pair: Pair) -> Option<Figures> {
        Some(stats::ratios(self.of_pair(pair)?, self.of(System::Nginx)?))
    }

    /// The same of what is added to a call without a proxy.
    pub(crate) fn added_ratio(&self, pair: Pair) -> Option<Figures> {
        let direct = self.of(System::Direct)?;
        let nginx = stats::added(self.of(System::Nginx)?, direct);
        Some(stats::ratios(&stats::added(self.of_pair(pair)?, direct), &nginx))
    }

    fn lines(&self) -> Vec<Line> {
        let nginx = self.of(System::Nginx);
        let mut lines: Vec<Line> =
            self.lanes.iter().map(|(lane, rounds)| line(lane.name(), rounds, nginx)).collect();
        if self.cell.part == Part::Open {
            lines.extend(self.added());
        }
        lines
    }

    /// How much longer a call takes than without a proxy.
    fn added(&self) -> Vec<Line> {
        let Some(direct) = self.of(System::Direct) else {
            return Vec::new();
        };
        let nginx = self.of(System::Nginx).map(|nginx| stats::added(nginx, direct));
        let proxies = self.lanes.iter().filter(|(lane, _)| lane.system != System::Direct);
        let added = |(lane, rounds): &(Lane, Vec<Sample>)| {
            let name = format!("added by {}", lane.name());
            let rounds = stats::added(rounds, direct);
            Line { spread: None, ..line(&name, &rounds, nginx.as_deref()) }
        };
        proxies.map(added).collect()
    }

    fn to_json(&self) -> Value {
        let lines: Vec<Value> = self.lines().iter().map(Line::to_json).collect();
        let rounds = self.lanes.iter().map(|(lane, rounds)| {
            let rounds: Vec<Value> = rounds.iter().map(sample_json).collect();
            (lane.name().to_owned(), Value::from(rounds))
        });
        json!({
            "cell": self.cell.name,
            "sessions": self.cell.sessions,
            "lines": lines,
            "rounds": Value::Object(rounds.collect()),
        })
    }
}

fn line(name: &str, rounds: &[Sample], nginx: Option<&[Sample]>) -> Line {
    Line {
        name: name.to_owned(),
        figures: stats::medians(rounds),
        ratio: nginx.map(|nginx| stats::ratios(rounds, nginx)),
        spread: Some(stats::spreads(rounds)),
    }
}

fn sample_json(sample: &Sample) -> Value {
    let mut value = figures_json(&sample.figures);
    value["calls"] = sample.calls.into();
    value
}

/// Figures that do not exist become null.
fn figures_json(figures: &Figures) -> Value {
    let members = NAMES.into_iter().zip(figures.all());
    Value::Object(members.map(|(name, value)| (name.to_owned(), value.into())).collect())
}

impl Line {
    fn to_json(&self) -> Value {
        json!({
            "lane": self.name,
            "median": figures_json(&self.figures),
            "ratio_to_nginx": self.ratio.as_ref().map(figures_json),
            "spread": self.spread.as_ref().map(figures_json),
        })
    }

    fn to_text(&self) -> String {
        let ratios = self.ratio.map_or([f64::NAN; 4], |ratio| ratio.all());
        let mut text = format!("  {:<NAME_WIDTH$}", self.name);
        for (value, ratio) in self.figures.all().into_iter().zip(ratios) {
            push(&mut text, &format!("{:>9}{:>8}", whole(value), times(ratio)));
        }
        if let Some(spread) = self.spread {
            push(&mut text, &format!("  {:>12}{:>5}", percent(spread.rate), percent(spread.cpu)));
        }
        text.trim_end().to_owned()
    }
}

fn push(text: &mut String, more: &str) {
    text.push_str(more);
}

fn whole(value: f64) -> String {
    if value.is_nan() {
        "-".to_owned()
    } else if value.abs() < 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

fn times(ratio: f64) -> String {
    if ratio.is_finite() { format!("x{ratio:.2}") } else { String::new() }
}

fn percent(part: f64) -> String {
    if part.is_finite() { format!("{:.0}%", part * 100.0) } else { "-".to_owned() }
}

/// The first line, in the columns of [`Line::to_text`].
fn titles() -> String {
    let mut text = " ".repeat(NAME_WIDTH + 2);
    for title in ["calls/s", "p50 us", "p99 us", "cpu us"] {
        push(&mut text, &format!("{title:>9}{:>8}", "xnginx"));
    }
    push(&mut text, "  spread: rate, cpu");
    text
}

/// All cells, each with a line for every lane.
fn table(rows: &[Row]) -> String {
    let mut text = format!("{}\n", titles());
    for row in rows {
        push(&mut text, &format!("{}\n", row.cell.name));
        for line in row.lines() {
            push(&mut text, &format!("{}\n", line.to_text()));
        }
    }
    text
}

fn of_footprint(footprint: &Footprint) -> String {
    let mut text = String::new();
    let Footprint { start_cold_ms, start_cached_ms, idle_built_in_kib, idle_kib } = footprint;
    let lines = [
        ("exec to first answer, no cache", *start_cold_ms, "ms"),
        ("exec to first answer, catalog cached", *start_cached_ms, "ms"),
        ("idle memory (RSS), built-in default", idle_built_in_kib / 1024.0, "MiB"),
        ("idle memory, ten upstreams", idle_kib / 1024.0, "MiB"),
    ];
    for (name, value, unit) in lines {
        push(&mut text, &format!("  {name:<38}{value:>8.1} {unit}\n"));
    }
    text
}

fn of_held(held: &Held) -> String {
    let mut text = format!("{} {}: {:.1} KiB each\n", held.count, held.what, held.each_kib());
    push(&mut text, "                RSS KiB  descriptors  threads  sessions  connections\n");
    let first = [("before", held.before), ("held", held.present), ("gone", held.gone)];
    let again = held.again.iter().map(|&state| ("held again", state));
    for (name, state) in first.into_iter().chain(again) {
        let State { resident_kib, descriptors, threads, sessions, connections } = state;
        push(
            &mut text,
            &format!(
                "  {name:<11}{resident_kib:>10.0}{descriptors:>13}{threads:>9}{sessions:>10}{connections:>13}\n"
            ),
        );
    }
    text
}

fn of_growth(growth: &Growth) -> String {
    let mut text = "CPU for each call as upstreams and tools grow, M>M, 16 sessions\n".to_owned();
    for point in &growth.0 {
        let (cpu, spread) =
            (stats::medians(&point.samples).cpu, stats::spreads(&point.samples).cpu);
        let (upstreams, tools, spread) = (point.upstreams, point.tools, percent(spread));
        push(
            &mut text,
            &format!(
                "  {upstreams:>4} upstreams {tools:>6} tools {cpu:>8.1} us  spread {spread}\n"
            ),
        );
    }
    text
}

/// Everything for people, the targets last.
pub(crate) fn text(found: &Found) -> String {
    let mut text = String::new();
    if !found.rows.is_empty() {
        push(&mut text, &format!("{}\n", table(&found.rows)));
    }
    if let Some(footprint) = &found.footprint {
        push(&mut text, &format!("waypost at rest\n{}\n", of_footprint(footprint)));
    }
    for held in found.held() {
        push(&mut text, &format!("{}\n", of_held(held)));
    }
    if let Some(growth) = &found.growth {
        push(&mut text, &format!("{}\n", of_growth(growth)));
    }
    push(&mut text, &targets::markdown(found));
    text
}

fn footprint_json(footprint: &Footprint) -> Value {
    json!({
        "start_cold_ms": footprint.start_cold_ms,
        "start_cached_ms": footprint.start_cached_ms,
        "idle_built_in_kib": footprint.idle_built_in_kib,
        "idle_kib": footprint.idle_kib,
    })
}

fn state_json(state: &State) -> Value {
    json!({
        "resident_kib": state.resident_kib,
        "descriptors": state.descriptors,
        "threads": state.threads,
        "sessions": state.sessions,
        "connections": state.connections,
    })
}

fn held_json(held: &Held) -> Value {
    json!({
        "what": held.what,
        "count": held.count,
        "each_kib": held.each_kib(),
        "before": state_json(&held.before),
        "held": state_json(&held.present),
        "gone": state_json(&held.gone),
        "again": held.again.iter().map(state_json).collect::<Vec<_>>(),
        "complaints": held.complaints(),
    })
}

fn growth_json(growth: &Growth) -> Value {
    let steps = |steps: Vec<Step>| -> Vec<Value> {
        steps.iter().map(|step| json!({ "size": step.size, "ratio": step.ratio })).collect()
    };
    let point = |point: &Point| {
        json!({
            "upstreams": point.upstreams,
            "tools": point.tools,
            "median": figures_json(&stats::medians(&point.samples)),
            "rounds": point.samples.iter().map(sample_json).collect::<Vec<_>>(),
        })
    };
    json!({
        "points": growth.0.iter().map(point).collect::<Vec<_>>(),
        "over_upstreams": steps(growth.over_upstreams()),
        "over_tools": steps(growth.over_tools()),
    })
}

pub(crate) fn summary(about: &Value, found: &Found) -> Value {
    json!({
        "about": about,
        "targets": targets::to_json(found),
        "cells": found.rows.iter().map(Row::to_json).collect::<Vec<_>>(),
        "waypost": found.footprint.as_ref().map(footprint_json),
        "held": found.held().map(held_json).collect::<Vec<_>>(),
        "growth": found.growth.as_ref().map(growth_json),
    })
}
