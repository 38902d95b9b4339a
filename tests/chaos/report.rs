//! Figures: what was demanded, what was found, and whether that is enough.

use std::fmt::Write as _;

/// What a shared machine may add to any single time, in ms, before a time counts against us.
pub(crate) const NOISE_MS: f64 = 50.0;

/// One figure of a scenario.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    what: String,
    wanted: String,
    found: String,
    pub(crate) ok: bool,
}

fn short(value: f64) -> String {
    let digits = if value.fract().abs() < 1e-9 { 0 } else { 2 };
    format!("{value:.digits$}")
}

impl Figure {
    fn new(what: &str, wanted: String, found: String, ok: bool) -> Self {
        Self { what: what.to_owned(), wanted, found, ok }
    }

    pub(crate) fn at_most(what: &str, found: f64, most: f64) -> Self {
        Self::new(what, format!("<= {}", short(most)), short(found), found <= most)
    }

    pub(crate) fn at_least(what: &str, found: f64, least: f64) -> Self {
        Self::new(what, format!(">= {}", short(least)), short(found), found >= least)
    }

    /// None of these may be; what they are is shown.
    pub(crate) fn none(what: &str, found: &[String]) -> Self {
        let mut shown = found.len().to_string();
        for one in found.iter().take(3) {
            write!(shown, "; {one}").unwrap_or_default();
        }
        Self::new(what, "0".to_owned(), shown, found.is_empty())
    }

    pub(crate) fn holds(what: &str, holds: bool, found: impl Into<String>) -> Self {
        Self::new(what, "yes".to_owned(), found.into(), holds)
    }

    /// A time in ms within so long; never (`None`) is too long.
    pub(crate) fn within(what: &str, found: Option<u64>, most_ms: u64) -> Self {
        let shown = found.map_or("never".to_owned(), |ms| ms.to_string());
        let ok = found.is_some_and(|ms| ms <= most_ms);
        Self::new(what, format!("<= {most_ms} ms"), shown, ok)
    }

    /// A time in ms against that of a steady run, with so much on top for the machine.
    pub(crate) fn times(what: &str, (found, steady): (f64, f64), factor: f64, noise: f64) -> Self {
        let wanted = format!("<= {factor} x {} + {}", short(steady), short(noise));
        let ratio = if steady > 0.0 { found / steady } else { f64::NAN };
        let shown = format!("{} ({ratio:.2} x)", short(found));
        Self::new(what, wanted, shown, found <= steady * factor + noise)
    }

    /// Told, not demanded.
    pub(crate) fn told(what: &str, found: impl Into<String>) -> Self {
        Self::new(what, "-".to_owned(), found.into(), true)
    }
}

/// How a scenario ended.
#[derive(Debug)]
pub(crate) enum Ending {
    Ran(Vec<Figure>),
    /// The rig itself failed: nothing was found out.
    Broke(String),
    /// What it needs does not exist yet.
    NotYet(&'static str),
}

/// A scenario that was asked for.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) injects: &'static str,
    pub(crate) ending: Ending,
    pub(crate) seconds: u64,
}

impl Row {
    /// Whether nothing was found wrong. A scenario that did not run has not passed, and not failed.
    pub(crate) fn failed(&self) -> bool {
        match &self.ending {
            Ending::Ran(figures) => figures.iter().any(|figure| !figure.ok),
            Ending::Broke(_) => true,
            Ending::NotYet(_) => false,
        }
    }

    fn verdict(&self) -> &'static str {
        match &self.ending {
            Ending::NotYet(_) => "not yet",
            Ending::Broke(_) => "BROKE",
            Ending::Ran(_) if self.failed() => "FAILED",
            Ending::Ran(_) => "passed",
        }
    }

    /// The scenario as rows of a Markdown table.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        let mut line = |what: &str, wanted: &str, found: &str, verdict: &str| {
            let found = found.replace('|', "/").replace('\n', " ");
            writeln!(text, "| {} | {what} | {wanted} | {found} | {verdict} |", self.name)
                .unwrap_or_default();
        };
        match &self.ending {
            Ending::NotYet(why) => line(self.injects, "", why, "not yet"),
            Ending::Broke(why) => line(self.injects, "", why, "BROKE"),
            Ending::Ran(figures) => {
                line(
                    &format!("**{}**", self.injects),
                    "",
                    &format!("{} s", self.seconds),
                    self.verdict(),
                );
                for figure in figures {
                    let verdict = if figure.ok { "" } else { "FAILED" };
                    line(&figure.what, &figure.wanted, &figure.found, verdict);
                }
            }
        }
        text
    }
}

/// The head of the table.
pub(crate) const HEAD: &str =
    "| # | injected, and what was looked at | demanded | found | verdict |\n|---|---|---|---|---|";

/// One line over all rows.
pub(crate) fn summary(rows: &[Row]) -> String {
    let count = |verdict: &str| rows.iter().filter(|row| row.verdict() == verdict).count();
    format!(
        "chaos: {} passed, {} failed, {} broke, {} not yet",
        count("passed"),
        count("FAILED"),
        count("BROKE"),
        count("not yet")
    )
}
