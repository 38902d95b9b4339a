//! The table for people and the summary for programs.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::cells::{Cell, Group};
use crate::footprint::Footprint;
use crate::lane::{Lane, System};
use crate::stats::{self, Figures, NAMES, Sample};

/// One cell on all lanes, in the order in which they were measured.
pub(crate) struct Row {
    pub(crate) cell: Cell,
    pub(crate) lanes: Vec<(Lane, Vec<Sample>)>,
}

const NAME_WIDTH: usize = 26;

/// A line of the table: what it is of, its figures, and how they compare with nginx.
struct Line {
    name: String,
    figures: Figures,
    ratio: Option<Figures>,
    spread: Option<Figures>,
}

impl Row {
    fn medians(&self, system: System) -> Option<Figures> {
        let found = self.lanes.iter().find(|(lane, _)| lane.system == system);
        found.map(|(_, rounds)| stats::medians(rounds))
    }

    fn lines(&self) -> Vec<Line> {
        let nginx = self.medians(System::Nginx);
        let mut lines: Vec<Line> =
            self.lanes.iter().map(|(lane, rounds)| line(lane, rounds, nginx)).collect();
        if self.cell.group == Group::Open {
            lines.extend(self.added());
        }
        lines
    }

    /// How much longer a call takes than without a proxy.
    fn added(&self) -> Vec<Line> {
        let Some(direct) = self.medians(System::Direct) else {
            return Vec::new();
        };
        let added = |rounds: &[Sample]| {
            let over = stats::medians(rounds).zip(&direct, |own, direct| own - direct);
            Figures { rate: f64::NAN, cpu: f64::NAN, ..over }
        };
        let of = |system| self.lanes.iter().find(|(lane, _)| lane.system == system);
        let nginx = of(System::Nginx).map(|(_, rounds)| added(rounds));
        let proxies = self.lanes.iter().filter(|(lane, _)| lane.system != System::Direct);
        let line = |(lane, rounds): &(Lane, Vec<Sample>)| {
            let figures = added(rounds);
            let ratio = nginx.map(|nginx| figures.ratio(&nginx));
            Line { name: format!("added by {}", lane.name()), figures, ratio, spread: None }
        };
        proxies.map(line).collect()
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

fn line(lane: &Lane, rounds: &[Sample], nginx: Option<Figures>) -> Line {
    let figures = stats::medians(rounds);
    Line {
        name: lane.name().to_owned(),
        figures,
        ratio: nginx.map(|nginx| figures.ratio(&nginx)),
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
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = format!("{}\n", titles());
    for row in rows {
        push(&mut text, &format!("{}\n", row.cell.name));
        for line in row.lines() {
            push(&mut text, &format!("{}\n", line.to_text()));
        }
    }
    text
}

pub(crate) fn footprint(footprint: &Footprint) -> String {
    let mut text = String::new();
    let Footprint { start_cold_ms, start_cached_ms, idle_kib, connected_session_kib, session_kib } =
        footprint;
    let lines = [
        ("exec to first answer, no cache", start_cold_ms, "ms"),
        ("exec to first answer, catalog cached", start_cached_ms, "ms"),
        ("idle memory (RSS)", &(idle_kib / 1024.0), "MiB"),
        ("memory of an idle legacy session", session_kib, "KiB"),
        ("the same with its own connection", connected_session_kib, "KiB"),
    ];
    for (name, value, unit) in lines {
        let written = writeln!(text, "  {name:<38}{value:>8.1} {unit}");
        debug_assert!(written.is_ok(), "a String takes all that is written to it");
    }
    text
}

pub(crate) fn summary(about: &Value, rows: &[Row], footprint: Option<&Footprint>) -> Value {
    let rows: Vec<Value> = rows.iter().map(Row::to_json).collect();
    let footprint = footprint.map(|footprint| {
        json!({
            "start_cold_ms": footprint.start_cold_ms,
            "start_cached_ms": footprint.start_cached_ms,
            "idle_kib": footprint.idle_kib,
            "session_kib": footprint.session_kib,
            "connected_session_kib": footprint.connected_session_kib,
        })
    });
    json!({ "about": about, "cells": rows, "waypost": footprint })
}
